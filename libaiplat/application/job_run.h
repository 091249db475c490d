/*
 * One claimed job on its way to its recorded outcome: what the processing service starts and stops.
 * Loop thread only.
 */
#ifndef AIPLAT_APPLICATION_JOB_RUN_H
#define AIPLAT_APPLICATION_JOB_RUN_H

#include "fair_share.h"
#include <aiplat/graph_run.h>
#include <aiplat/processing_service.h>

#include "agent/assistant_graph.h"
#include "agent/graph_factory.h"
#include "hash_map.h"
#include "job_saver.h"
#include "list.h"
#include "trouble.h"
#include "worker_metrics.h"

/* What every run needs, shared by all of a service. */
struct aip_run_ports {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_job_repository jobs;
        struct aip_cache cache;
        int32_t cache_ttl_s;
        aip_catalog_service *catalog;
        aip_outbox_relay *relay;
        aip_llm_registry *llms;
        struct aip_event_stream events; /* ops NULL: none */
        int64_t job_timeout_ms;
        aip_graph *assistant;
        struct aip_checkpoint_store checkpoints;
        const aip_graph_registry *graphs;
        struct aip_graph_factory factory; /* of the catalog's graphs */
        struct aip_hash_map runs;         /* by job id */
        struct aip_fair_share shares;     /* of the slots, by configuration */
        struct aip_worker_metrics metrics;
        size_t n_recording;               /* runs whose outcome is known and not recorded yet */
        struct aip_task *slot_free;       /* deferred when a run has come so far */
        /* Lines of jobs: so many in a second, the others are counted. */
        struct aip_timer log_timer;                    /* armed: a second has begun */
        uint32_t n_logged, n_unlogged;                 /* completed */
        uint32_t n_logged_trouble, n_unlogged_trouble; /* failed, to be retried, too late */
        struct aip_trouble record_trouble;             /* the store does not take outcomes */
};

void aip_run_ports_init(struct aip_run_ports *ports,
                        const struct aip_processing_service_options *o);
int aip_run_ports_load_graphs(struct aip_run_ports *ports, aip_error **err);
void aip_run_ports_deinit(struct aip_run_ports *ports);

/* The graph that a run runs. */
struct aip_run_graph {
        aip_graph *graph;                   /* a reference */
        const aip_graph_document *document; /* the catalog's; NULL: the graph is made of code */
        const struct aip_registered_graph *code; /* the program's; NULL: it is none of these */
        int is_assistant;                   /* the one that ships: one step, nothing to keep */
        int is_kept;                        /* between its steps */
        enum aip_graph_durability durability;
};

/* Why a run is to stop before its end. */
enum aip_run_stop {
        AIP_RUN_GOES_ON = 0,
        AIP_RUN_HAND_BACK, /* we are leaving: the job goes back, the attempt does not count */
        AIP_RUN_GONE       /* cancelled, or taken away: nothing is recorded any more */
};

struct aip_job_run {
        struct aip_list link; /* the service's */
        struct aip_fence fence;
        struct aip_run_ports *ports;
        void (*ended)(void *user, struct aip_job_run *run);
        void *user;

        aip_job *job;
        int64_t catalog_revision; /* as the claim saw it; set before the start */
        uint64_t beat;            /* the service's: the last heartbeat that spoke of this run */
        aip_catalog *catalog;     /* the snapshot that this run is wholly on */
        struct aip_op refresh;
        int has_refreshed;
        aip_value *variables;
        aip_value *input;
        aip_value *answers; /* by question; NULL: none were given */
        char trace_id_text[AIP_TRACE_ID_BYTES];
        struct aip_buf cache_space; /* what is kept of its nodes holds for runs of the same alone */
        const char *trace_id; /* NULL: none */
        struct aip_agent_context agent;
        struct aip_run_graph graph;
        struct aip_job_saver saver; /* of a graph whose runs are kept */
        struct aip_graph_run graph_run;
        struct aip_job_progress *progress; /* NULL: nobody wants to know */
        struct aip_slot_holder *slot;      /* its configuration's; NULL once the outcome is known */
        int is_recording;
        int is_in_graph;
        int goes_on; /* where its thread stands: it has no input */

        struct aip_job_finish finish;
        struct aip_transition transition;
        struct aip_timer retry_timer; /* before the outcome is sent to the store again */
        int64_t retry_ms;
        enum aip_run_stop stop;
        struct aip_task task;
};

/* `job` is PROCESSING and consumed on success. NULL: out of memory. */
struct aip_job_run *aip_job_run_new(struct aip_run_ports *ports, aip_job *job,
                                    void (*ended)(void *user, struct aip_job_run *run), void *user);
/* `ended` is called once, never from within this call. */
void aip_job_run_start(struct aip_job_run *run);
/* The model call in flight is cancelled; the run ends soon. GONE overrides HAND_BACK. */
void aip_job_run_stop(struct aip_job_run *run, enum aip_run_stop why);
/* Whether the store should still have the job as ours (its outcome has not been sent yet). */
int aip_job_run_holds_claim(const struct aip_job_run *run);
void aip_job_run_free(struct aip_job_run *run);

#endif
