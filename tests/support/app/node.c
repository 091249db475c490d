/* A process of the platform for tests (node.h): what the runtime does, on given parts. */
#include "node.h"

#include <aiplat/llm_retry.h>
#include <assert.h>

#define CHECK(call)                                                                                \
        do {                                                                                       \
                int check_ = (call);                                                               \
                assert(check_ >= 0);                                                               \
                (void)check_;                                                                      \
        } while (0)

static void make_graphs(struct node *n, const struct node_options *o)
{
        CHECK(aip_graph_registry_new(&n->graphs, NULL));
        for (size_t i = 0; i < o->n_graphs; i++)
                CHECK(aip_graph_registry_add(n->graphs, &o->graphs[i], NULL));
}

static void make_llms(struct node *n)
{
        struct aip_llm simulated, retrying;
        struct aip_llm_retry_options retry = AIP_LLM_RETRY_OPTIONS_INIT;

        retry.max_tries = 1;
        CHECK(aip_llm_registry_new(NULL, &n->llms, NULL));
        CHECK(aip_simulated_llm_new(n->loop, &simulated, NULL));
        CHECK(aip_retrying_llm_new(simulated, n->loop, n->random, &retry, &retrying, NULL));
        CHECK(aip_llm_registry_add(n->llms, retrying, NULL));
}

static void make_services(struct node *n, const struct aip_store *store, const struct node_options *o)
{
        struct aip_cache_options cache = {.self_size = sizeof(cache), .loop = n->loop, .url = "memory:"};
        struct aip_catalog_service_options catalog = {.self_size = sizeof(catalog)};
        struct aip_outbox_relay_options relay = {.self_size = sizeof(relay)};
        struct aip_job_service_options jobs = {.self_size = sizeof(jobs)};

        CHECK(aip_memory_cache_new(&cache, &n->cache, NULL));
        catalog.loop = relay.loop = jobs.loop = n->loop;
        catalog.log = relay.log = jobs.log = o->log;
        catalog.catalog = store->catalog;
        catalog.jobs = relay.jobs = jobs.jobs = faulty_jobs_port(&n->jobs);
        relay.queue = broker_port(&n->client);
        relay.sweep_age_ms = o->sweep_age_ms;
        relay.max_waiting = o->relay_max_waiting;
        CHECK(aip_catalog_service_new(&catalog, &n->catalog, NULL));
        CHECK(aip_outbox_relay_new(&relay, &n->relay, NULL));
        jobs.random = n->random;
        jobs.cache = n->cache.cache;
        jobs.catalog = n->catalog;
        jobs.graphs = n->graphs;
        jobs.relay = n->relay;
        CHECK(aip_job_service_new(&jobs, &n->service, NULL));
}

static void make_worker(struct node *n, const struct node_options *o)
{
        struct aip_processing_service_options worker = {.self_size = sizeof(worker)};

        worker.loop = n->loop;
        worker.log = o->log;
        worker.random = n->random;
        worker.jobs = faulty_jobs_port(&n->jobs);
        worker.queue = broker_port(&n->client);
        worker.cache = n->cache.cache;
        worker.catalog = n->catalog;
        worker.relay = n->relay;
        worker.llms = n->llms;
        worker.checkpoints = o->checkpoints;
        worker.graphs = n->graphs;
        worker.tools = o->tools;
        worker.concurrency = o->concurrency;
        worker.lease_ms = o->lease_ms;
        worker.heartbeat_ms = o->heartbeat_ms;
        worker.job_timeout_ms = o->job_timeout_ms;
        CHECK(aip_processing_service_new(&worker, &n->worker, NULL));
}

void node_open(struct node *n, struct aip_loop loop, const struct aip_store *store,
               struct broker *broker, const struct node_options *o)
{
        *n = (struct node){.loop = loop, .is_open = 1};
        n->random = aip_random_seeded(&n->generator, o->seed);
        faulty_jobs_open(&n->jobs, loop, store->jobs, o->seed + 1);
        broker_connect(broker, &n->client);
        make_llms(n);
        make_graphs(n, o);
        make_services(n, store, o);
        if (o->has_worker)
                make_worker(n, o);
        if (o->does_not_start)
                return;
        aip_catalog_service_start(n->catalog);
        aip_outbox_relay_start(n->relay);
        if (n->worker)
                aip_processing_service_start(n->worker);
}

static void close_next(struct aip_op *op)
{
        struct node *n = AIP_CONTAINER_OF(op, struct node, close_op);

        assert(!op->err);
        n->close_op = (struct aip_op){.done = close_next, .deadline_ms = aip_now_ms(n->loop) + 1000};
        switch (++n->n_closed) {
        case 1:
                n->worker = NULL;
                aip_outbox_relay_close(n->relay, &n->close_op);
                break;
        case 2:
                aip_job_service_free(n->service);
                aip_catalog_service_close(n->catalog, &n->close_op);
                break;
        case 3:
                n->cache.close(n->cache.self, &n->close_op);
                break;
        default:
                break;
        }
}

void node_begin_close(struct node *n, int64_t drain_ms)
{
        n->close_op = (struct aip_op){.done = close_next,
                                      .deadline_ms = aip_now_ms(n->loop) + drain_ms};
        if (n->worker)
                aip_processing_service_close(n->worker, &n->close_op);
        else
                aip_op_finish(n->loop, &n->close_op, NULL);
}

int node_is_closed(void *node)
{
        struct node *n = node;

        return n->n_closed == 4 && n->jobs.n_in_flight == 0 && n->client.n_publishing == 0;
}

void node_free(struct node *n)
{
        aip_llm_registry_free(n->llms);
        aip_graph_registry_free(n->graphs);
        broker_leave(&n->client);
        faulty_jobs_close(&n->jobs);
        n->is_open = 0;
}
