/*
 * One process of the platform on the virtual loop: a faulty view of a shared store, a client of a
 * shared broker, a cache, and the services on top. For the suites of the services and for the
 * simulation, which has several.
 */
#ifndef AIPLAT_TESTS_NODE_H
#define AIPLAT_TESTS_NODE_H

#include "broker.h"
#include "faulty_jobs.h"
#include <aiplat/adapters.h>
#include <aiplat/job_service.h>
#include <aiplat/processing_service.h>

struct node_options {
        uint64_t seed;
        int has_worker;
        uint32_t concurrency;
        int64_t lease_ms, heartbeat_ms, job_timeout_ms;
        int64_t sweep_age_ms;
        size_t relay_max_waiting;
        const struct aip_log *log;
        const struct aip_registered_graph *graphs; /* that jobs may name, kept in these: */
        size_t n_graphs;
        aip_tool_registry *tools; /* or NULL */
        struct aip_checkpoint_store checkpoints;
        int does_not_start; /* the suite starts the services itself */
};

struct node {
        struct aip_loop loop;
        struct aip_seeded_random generator;
        struct aip_random random;
        struct faulty_jobs jobs;
        struct broker_client client;
        struct aip_cache_handle cache;
        aip_catalog_service *catalog;
        aip_outbox_relay *relay;
        aip_job_service *service;
        aip_llm_registry *llms;
        aip_graph_registry *graphs;
        aip_processing_service *worker; /* NULL: none, or closed */
        struct aip_op close_op;
        int n_closed; /* parts */
        int is_open;
};

void node_open(struct node *node, struct aip_loop loop, const struct aip_store *store,
               struct broker *broker, const struct node_options *options);
/* Begin to close: worker (for drain_ms), relay, catalog, cache, one after the other. */
void node_begin_close(struct node *node, int64_t drain_ms);
int node_is_closed(void *node);
/* After node_is_closed. */
void node_free(struct node *node);

#endif
