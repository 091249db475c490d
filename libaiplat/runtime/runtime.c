/*
 * The composition root: makes adapters by the URLs of the settings, wires them to the services, runs
 * the loop and takes everything down in the right order (runtime.h). Called by the programs in bin/
 * and by C programs that want the whole platform in-process. No rule of the platform lives here.
 *
 *     made:    loop ─ store ─ queue ─ cache ─ events ─ catalog ─ relay ─ job service ─ models ─ tools
 *     started: migration, then catalog and relay, then the worker; the gateway at once
 *     closed:  gateway and worker, which drain ─ MCP servers ─ relay and catalog ─ queue ─ cache ─ events ─ store ─ loop
 */
#include <aiplat/llm_retry.h>
#include <aiplat/retention_service.h>
#include <aiplat/runtime.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "adapters_by_url.h"
#include "fault_store.h"
#include "macros.h"
#include "mem.h"
#include "trouble.h"

#define MONITOR_BODY_BYTES  1024
#define MONITOR_CONNECTIONS 100
#define MIGRATE_WAIT_MS  10000
#define MIGRATE_PAUSE_MS 500
#define MCP_WAIT_MS      10000 /* before the worker takes jobs whose tools may not be there */
#define CLOSE_WAIT_MS    5000  /* for the relay to get rid of what it holds, after the drain */

enum part {
        PART_GATEWAY,
        PART_MONITOR,
        PART_WORKER,
        PART_TOOLS,
        PART_RELAY,
        PART_CATALOG,
        PART_QUEUE,
        PART_CACHE,
        PART_EVENTS,
        PART_STORE,
        N_PARTS
};

struct aip_runtime {
        const aip_settings *settings_object;
        const struct aip_settings_values *settings;
        struct aip_log log;
        const char *component;
        struct aip_random random;

        aip_uv_loop *uv;
        struct aip_loop loop;
        struct aip_store store;
#ifdef AIP_FAULT_POINTS
        runtime_fault_store *fault_store;
#endif
        struct aip_queue_handle queue;
        struct aip_cache_handle cache;
        struct aip_events_handle events;
        aip_http_client *http;
        aip_llm_registry *llms;
        aip_graph_registry *graphs; /* of code */
        aip_http_client *tools_http; /* goes where documents say: not with the client of models */
        aip_http_tools *http_tools;
        aip_tool_registry *tools;
        aip_mcp_servers *mcp;
        struct aip_op mcp_op;
        int has_mcp_tried; /* each of them has been connected, or has failed once */

        aip_catalog_service *catalog;
        aip_outbox_relay *relay;
        aip_retention_service *retention;
        aip_job_service *jobs;
        aip_thread_service *threads;
        aip_job_feeds *feeds;
        aip_processing_service *worker;
        aip_http_server *gateway, *monitor;
        aip_metrics *metrics;

        struct aip_op migrate_op;
        struct aip_timer migrate_timer;
        struct aip_trouble store_trouble;
        int is_migrated;
        int is_migrating;
        int wants_worker;

        struct aip_op close_ops[N_PARTS];
        unsigned is_open; /* 1u << part */
        int is_closing;
        int64_t drain_until_ms;
        int n_signals;
};

/* ── models ──────────────────────────────────────────────────────────────────────────────────── */

/* Register a provider with retries around it. `llm` is consumed always. */
static int add_llm(struct aip_runtime *r, struct aip_llm llm, aip_error **err)
{
        struct aip_llm_retry_options retry = AIP_LLM_RETRY_OPTIONS_INIT;
        struct aip_llm retrying;
        int result = aip_retrying_llm_new(llm, r->loop, r->random, &retry, &retrying, err);

        if (result < 0) {
                llm.ops->free(llm.self);
                return result;
        }
        result = aip_llm_registry_add(r->llms, retrying, err);
        if (result < 0)
                retrying.ops->free(retrying.self);
        return result;
}

static int make_llms(struct aip_runtime *r, aip_error **err)
{
        struct aip_http_client_options http = AIP_HTTP_CLIENT_OPTIONS_INIT;
        struct aip_llm_registry_options registry = AIP_LLM_REGISTRY_OPTIONS_INIT;
        struct aip_llm llm;
        int result;

        http.loop = r->loop;
        http.log = &r->log;
        http.ca_file =
                getenv("SSL_CERT_FILE"); /* as all of OpenSSL's users; libcurl does not ask */
        /* All jobs of a worker may be at one host. */
        http.max_connections_per_host =
                AIP_MAX(http.max_connections_per_host, r->settings->concurrency);
        registry.simulate_missing_keys = r->settings->simulate_missing_keys;
        if ((result = aip_llm_registry_new(&registry, &r->llms, err)) < 0 ||
            (result = aip_http_client_new(&http, &r->http, err)) < 0 ||
            (result = aip_openai_llm_new(r->http, r->settings->openai_base_url, &llm, err)) < 0 ||
            (result = add_llm(r, llm, err)) < 0 ||
            (result = aip_anthropic_llm_new(r->http, r->settings->anthropic_base_url, &llm, err)) <
                    0 ||
            (result = add_llm(r, llm, err)) < 0 ||
            (result = aip_simulated_llm_new(r->loop, &llm, err)) < 0)
                return result;
        return add_llm(r, llm, err);
}

/* ── tools ───────────────────────────────────────────────────────────────────────────────────── */

static int make_mcp(struct aip_runtime *r, aip_error **err)
{
        struct aip_mcp_servers_options o = {.self_size = sizeof(o)};

        o.loop = r->loop;
        o.log = &r->log;
        o.client = r->http;
        o.registry = r->tools;
        o.file = r->settings->mcp_servers;
        return aip_mcp_servers_new(&o, &r->mcp, err);
}

static int make_tools(struct aip_runtime *r, aip_error **err)
{
        struct aip_http_client_options http = AIP_HTTP_CLIENT_OPTIONS_INIT;
        int result;

        http.loop = r->loop;
        http.log = &r->log;
        http.ca_file = getenv("SSL_CERT_FILE");
        http.public_addresses_only = !r->settings->tool_private_addresses;
        if ((result = aip_tool_registry_new(r->loop, &r->tools, err)) < 0 ||
            (result = aip_http_client_new(&http, &r->tools_http, err)) < 0 ||
            (result = aip_http_tools_new(r->tools_http, r->settings->tool_hosts, &r->http_tools,
                                         err)) < 0)
                return result;
        if ((result = aip_http_tools_register(r->http_tools, r->tools, err)) < 0)
                return result;
        return make_mcp(r, err);
}

/* ── services ────────────────────────────────────────────────────────────────────────────────── */

static int make_retention(struct aip_runtime *r, aip_error **err)
{
        struct aip_retention_service_options o = {.self_size = sizeof(o)};
        struct aip_retention keep;

        aip_retention_of_settings(r->settings_object, &keep);
        o.loop = r->loop;
        o.log = &r->log;
        o.random = r->random;
        o.jobs = r->store.jobs;
        o.keep_jobs_ms = keep.keep_jobs_ms;
        o.keep_keys_ms = keep.keep_keys_ms;
        o.partition_ms = keep.partition_ms;
        return aip_retention_service_new(&o, &r->retention, err);
}

static int make_feeds(struct aip_runtime *r, aip_error **err)
{
        struct aip_job_feeds_options o = {.self_size = sizeof(o)};

        o.loop = r->loop;
        o.jobs = r->store.jobs;
        o.events = r->events.events;
        return aip_job_feeds_new(&o, &r->feeds, err);
}

static int make_threads(struct aip_runtime *r, aip_error **err)
{
        struct aip_thread_service_options o = {.self_size = sizeof(o)};

        o.loop = r->loop;
        o.threads = r->store.threads;
        o.checkpoints = r->store.checkpoints;
        o.jobs = r->store.jobs;
        o.catalog = r->catalog;
        o.tools = r->tools;
        o.graphs = r->graphs;
        return aip_thread_service_new(&o, &r->threads, err);
}

static int make_services(struct aip_runtime *r, aip_error **err)
{
        struct aip_catalog_service_options catalog = {.self_size = sizeof(catalog)};
        struct aip_outbox_relay_options relay = {.self_size = sizeof(relay)};
        struct aip_job_service_options jobs = {.self_size = sizeof(jobs)};
        int result;

        catalog.loop = relay.loop = jobs.loop = r->loop;
        catalog.log = relay.log = jobs.log = &r->log;
        catalog.catalog = r->store.catalog;
        catalog.jobs = relay.jobs = jobs.jobs = r->store.jobs;
        catalog.tools = r->tools;
        relay.queue = r->queue.queue;
        relay.metrics = r->metrics;
        if ((result = aip_job_events_parse(aip_str_of(r->settings->events), &relay.muted_events,
                                           err)) < 0)
                return result;
        jobs.random = r->random;
        jobs.cache = r->cache.cache;
        jobs.events = r->events.events;
        jobs.cache_ttl_s = r->settings->redis_job_ttl_s;
        if ((result = aip_catalog_service_new(&catalog, &r->catalog, err)) < 0)
                return result;
        r->is_open |= 1u << PART_CATALOG;
        if ((result = aip_outbox_relay_new(&relay, &r->relay, err)) < 0)
                return result;
        r->is_open |= 1u << PART_RELAY;
        if ((result = make_retention(r, err)) < 0)
                return result;
        jobs.metrics = r->metrics;
        jobs.catalog = r->catalog;
        jobs.graphs = r->graphs;
        jobs.relay = r->relay;
        if ((result = aip_job_service_new(&jobs, &r->jobs, err)) < 0 ||
            (result = make_threads(r, err)) < 0)
                return result;
        return make_feeds(r, err);
}

static void start_worker_if_ready(struct aip_runtime *r)
{
        if (r->wants_worker && r->is_migrated && r->has_mcp_tried && !r->is_closing)
                aip_processing_service_start(r->worker);
}

static void mcp_tried(struct aip_op *op)
{
        struct aip_runtime *r = AIP_CONTAINER_OF(op, struct aip_runtime, mcp_op);

        r->has_mcp_tried = 1;
        start_worker_if_ready(r);
}

/* A worker without the tools of its servers would fail jobs for want of them. */
static void start_mcp(struct aip_runtime *r)
{
        r->is_open |= 1u << PART_TOOLS;
        aip_mcp_servers_start(r->mcp);
        r->mcp_op = (struct aip_op){.done = mcp_tried};
        r->mcp_op.deadline_ms = aip_now_ms(r->loop) + MCP_WAIT_MS;
        aip_mcp_servers_wait(r->mcp, &r->mcp_op);
}

static void start_services(struct aip_runtime *r)
{
        r->is_migrated = 1;
        aip_catalog_service_start(r->catalog);
        aip_outbox_relay_start(r->relay);
        aip_retention_service_start(r->retention);
        start_worker_if_ready(r);
}

/* ── migration: until it has worked, as the store may come up after us ───────────────────────── */

static void migrate(struct aip_timer *timer);
static void close_parts(struct aip_runtime *r);

static void migrated(struct aip_op *op)
{
        struct aip_runtime *r = AIP_CONTAINER_OF(op, struct aip_runtime, migrate_op);
        _cleanup_(aip_error_free_p) aip_error *err = AIP_TAKE(op->err);

        r->is_migrating = 0;
        if (r->is_closing) {
                close_parts(r);
        } else if (err) {
                aip_trouble_occurred(&r->store_trouble, &r->log, r->component, aip_now_ms(r->loop),
                                     "the store is not ready", aip_error_message(err));
                aip_timer_set(r->loop, &r->migrate_timer, MIGRATE_PAUSE_MS);
        } else {
                aip_trouble_over(&r->store_trouble, &r->log, r->component,
                                 "the store is not ready");
                start_services(r);
        }
}

static void migrate(struct aip_timer *timer)
{
        struct aip_runtime *r = AIP_CONTAINER_OF(timer, struct aip_runtime, migrate_timer);

        r->is_migrating = 1;
        r->migrate_op = (struct aip_op){.done = migrated};
        r->migrate_op.deadline_ms = aip_now_ms(r->loop) + MIGRATE_WAIT_MS;
        r->store.migrate(r->store.self, &r->migrate_op);
}

/* ── taking part ─────────────────────────────────────────────────────────────────────────────── */

/* /health, /ready and /metrics on an address of their own, if one is set: for programs that serve nothing else,
 * and where the gateway's port is everybody's. */
static int start_monitor(struct aip_runtime *r, aip_error **err)
{
        struct aip_http_server_options o = {.self_size = sizeof(o)};
        int result;

        if (r->monitor || !r->settings->monitor_host[0])
                return 0;
        o.loop = r->loop;
        o.log = &r->log;
        o.random = r->random;
        o.catalog = r->catalog;
        o.store = r->store.jobs;
        o.queue = r->queue.queue;
        o.cache = r->cache.cache;
        o.metrics = r->metrics;
        o.service = r->component;
        o.is_monitor = 1;
        o.host = r->settings->monitor_host;
        o.port = r->settings->monitor_port;
        o.max_body_bytes = MONITOR_BODY_BYTES;
        o.max_connections = MONITOR_CONNECTIONS;
        o.request_timeout_ms = r->settings->request_timeout_ms;
        if ((result = aip_http_server_new(&o, &r->monitor, err)) < 0)
                return result;
        r->is_open |= 1u << PART_MONITOR;
        aip_log_write(&r->log, AIP_LOG_INFO, r->component, "monitored on http://%s:%d", o.host,
                      aip_http_server_port(r->monitor));
        return 0;
}

int aip_runtime_start_worker(aip_runtime *r, aip_error **err)
{
        struct aip_processing_service_options o = {.self_size = sizeof(o)};
        int result;

        if (r->worker)
                return aip_error_set(err, AIP_ESTATE, "the worker has been started already");
        o.loop = r->loop;
        o.log = &r->log;
        o.random = r->random;
        o.jobs = r->store.jobs;
        o.checkpoints = r->store.checkpoints;
        o.queue = r->queue.queue;
        o.cache = r->cache.cache;
        o.catalog = r->catalog;
        o.relay = r->relay;
        o.llms = r->llms;
        o.tools = r->tools;
        o.graphs = r->graphs;
        o.metrics = r->metrics;
        o.events = r->events.events;
        o.cache_ttl_s = r->settings->redis_job_ttl_s;
        o.concurrency = (uint32_t)r->settings->concurrency;
        o.lease_ms = r->settings->lease_ms;
        o.heartbeat_ms = r->settings->heartbeat_ms;
        if ((result = aip_processing_service_new(&o, &r->worker, err)) < 0)
                return result;
        r->is_open |= 1u << PART_WORKER;
        r->wants_worker = 1;
        start_mcp(r);
        return start_monitor(r, err);
}

int aip_runtime_start_gateway(aip_runtime *r, aip_error **err)
{
        struct aip_http_server_options o = {.self_size = sizeof(o)};
        int result;

        if (r->gateway)
                return aip_error_set(err, AIP_ESTATE, "the gateway has been started already");
        o.loop = r->loop;
        o.log = &r->log;
        o.random = r->random;
        o.jobs = r->jobs;
        o.catalog = r->catalog;
        o.store = r->store.jobs;
        o.queue = r->queue.queue;
        o.cache = r->cache.cache;
        o.threads = r->threads;
        o.feeds = r->feeds;
        o.metrics = r->metrics;
        o.host = r->settings->listen_host;
        o.port = r->settings->listen_port;
        o.max_body_bytes = r->settings->max_body_bytes;
        o.max_connections = r->settings->max_connections;
        o.request_timeout_ms = r->settings->request_timeout_ms;
        if ((result = aip_http_server_new(&o, &r->gateway, err)) < 0)
                return result;
        r->is_open |= 1u << PART_GATEWAY;
        aip_log_write(&r->log, AIP_LOG_INFO, r->component, "listening on http://%s:%d", o.host,
                      aip_http_server_port(r->gateway));
        return start_monitor(r, err);
}

/* ── closing: each part when all those above it are closed ───────────────────────────────────── */

static void part_closed(struct aip_op *op)
{
        struct aip_runtime *r = op->user;
        enum part part = (enum part)(op - r->close_ops);

        if (op->err)
                aip_log_write(&r->log, AIP_LOG_WARNING, r->component, "closing: %s",
                              aip_error_message(op->err));
        aip_error_free(AIP_TAKE(op->err));
        r->is_open &= ~(1u << part);
        close_parts(r);
}

static void close_part(struct aip_runtime *r, enum part part, struct aip_op *op)
{
        switch (part) {
        case PART_MONITOR:
                aip_http_server_close(AIP_TAKE(r->monitor), op);
                break;
        case PART_GATEWAY:
                aip_http_server_close(AIP_TAKE(r->gateway), op);
                break;
        case PART_WORKER:
                aip_processing_service_close(AIP_TAKE(r->worker), op);
                break;
        case PART_TOOLS:
                aip_mcp_servers_close(r->mcp, op);
                break;
        case PART_RELAY:
                aip_outbox_relay_close(r->relay, op);
                break;
        case PART_CATALOG:
                aip_job_service_free(AIP_TAKE(r->jobs));
                aip_thread_service_free(AIP_TAKE(r->threads));
                aip_job_feeds_free(AIP_TAKE(r->feeds));
                aip_catalog_service_close(r->catalog, op);
                break;
        case PART_QUEUE:
                r->queue.close(r->queue.self, op);
                break;
        case PART_CACHE:
                r->cache.close(r->cache.self, op);
                break;
        case PART_EVENTS:
                r->events.close(r->events.self, op);
                break;
        case PART_STORE:
                r->store.close(r->store.self, op);
                break;
        case N_PARTS:
                break;
        }
}

static int begin_close(struct aip_runtime *r, enum part part, int64_t deadline_ms)
{
        struct aip_op *op = &r->close_ops[part];

        if (!(r->is_open & (1u << part)))
                return 0;
        if (!op->done) {
                op->done = part_closed;
                op->user = r;
                op->deadline_ms = deadline_ms;
                close_part(r, part, op);
        }
        return 1;
}

/* Called whenever something has ended; does what can be done next. */
static void close_parts(struct aip_runtime *r)
{
        int is_draining = begin_close(r, PART_GATEWAY, r->drain_until_ms);

        /* Gateway and worker drain side by side, then so do the services, then the servers' adapters go
         * one by one. */
        is_draining |= begin_close(r, PART_WORKER, r->drain_until_ms);
        if (is_draining || begin_close(r, PART_MONITOR, aip_now_ms(r->loop) + CLOSE_WAIT_MS))
                return;
        if (begin_close(r, PART_TOOLS, aip_now_ms(r->loop) + CLOSE_WAIT_MS))
                return;
        is_draining = begin_close(r, PART_RELAY, aip_now_ms(r->loop) + CLOSE_WAIT_MS);
        is_draining |= begin_close(r, PART_CATALOG, aip_now_ms(r->loop) + CLOSE_WAIT_MS);
        if (is_draining)
                return;
        for (enum part part = PART_QUEUE; part < N_PARTS; part++)
                if (begin_close(r, part, aip_now_ms(r->loop) + CLOSE_WAIT_MS))
                        return;
        /* A migration that still waits for its database was ended by the store's closing. */
        if (!r->is_migrating)
                aip_uv_loop_stop(r->uv);
}

void aip_runtime_stop(aip_runtime *r)
{
        if (r->is_closing)
                return;
        r->is_closing = 1;
        r->drain_until_ms = aip_now_ms(r->loop) + r->settings->drain_timeout_ms;
        aip_timer_clear(r->loop, &r->migrate_timer);
        aip_retention_service_free(AIP_TAKE(r->retention));
        if (r->jobs)
                aip_job_service_end_waits(r->jobs);
        close_parts(r);
}

static void on_signal(int signal_number, void *user)
{
        struct aip_runtime *r = user;

        if (++r->n_signals > 1)
                _exit(1);
        aip_log_write(&r->log, AIP_LOG_INFO, r->component, "%s: draining, for %d s at most",
                      signal_number == SIGINT ? "interrupt" : "asked to end",
                      (r->settings->drain_timeout_ms + 999) / 1000);
        aip_runtime_stop(r);
}

/* ── running ─────────────────────────────────────────────────────────────────────────────────── */

static void awaited(struct aip_op *op)
{
        struct aip_runtime *r = op->user;

        op->user = NULL;
        aip_uv_loop_stop(r->uv);
}

void aip_runtime_run_until(aip_runtime *r, struct aip_op *op)
{
        op->done = awaited;
        op->user = r;
        while (op->user == r)
                aip_uv_loop_run(r->uv);
}

int aip_runtime_wait_ready(aip_runtime *r, int64_t timeout_ms, aip_error **err)
{
        struct aip_op op = {.done = awaited, .user = r};

        op.deadline_ms = aip_now_ms(r->loop) + timeout_ms;
        aip_catalog_service_wait(r->catalog, &op);
        while (op.user == r)
                aip_uv_loop_run(r->uv);
        return aip_error_propagate(err, op.err);
}

int aip_runtime_run(aip_runtime *r, aip_error **err)
{
        int result;

        if ((result = aip_uv_loop_on_signal(r->uv, SIGTERM, on_signal, r, err)) < 0 ||
            (result = aip_uv_loop_on_signal(r->uv, SIGINT, on_signal, r, err)) < 0)
                return result;
        while (!r->is_closing || r->is_open)
                aip_uv_loop_run(r->uv);
        if (aip_now_ms(r->loop) > r->drain_until_ms + CLOSE_WAIT_MS)
                return aip_error_set(err, AIP_ETIMEOUT, "not everything ended in time");
        aip_log_write(&r->log, AIP_LOG_INFO, r->component, "ended");
        return 0;
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

static int make_parts(struct aip_runtime *r, aip_error **err)
{
        struct runtime_base base = {{NULL, NULL}, &r->log, r->random};
        int result;

        if ((result = aip_uv_loop_new(&r->uv, err)) < 0 ||
            (result = aip_metrics_new(&r->metrics, err)) < 0)
                return result;
        r->loop = base.loop = aip_uv_loop_port(r->uv);
        if ((result = runtime_make_store(r->settings, &base, &r->store, err)) < 0)
                return result;
        r->is_open |= 1u << PART_STORE;
#ifdef AIP_FAULT_POINTS
        if ((result = runtime_fault_store_new(r->loop, &r->store.jobs, &r->fault_store, err)) < 0)
                return result;
#endif
        if ((result = runtime_make_queue(r->settings, &base, &r->queue, err)) < 0)
                return result;
        r->is_open |= 1u << PART_QUEUE;
        if ((result = runtime_make_cache(r->settings, &base, &r->cache, err)) < 0)
                return result;
        r->is_open |= 1u << PART_CACHE;
        if ((result = runtime_make_events(r->settings, &base, &r->events, err)) < 0)
                return result;
        r->is_open |= 1u << PART_EVENTS;
        if ((result = make_llms(r, err)) < 0 || (result = make_tools(r, err)) < 0 ||
            (result = aip_graph_registry_new(&r->graphs, err)) < 0)
                return result;
        return make_services(r, err);
}

int aip_runtime_new(const aip_settings *settings, const struct aip_runtime_options *options,
                    aip_runtime **ret_runtime, aip_error **err)
{
        struct aip_runtime *r = aip_calloc(1, sizeof(*r));
        int result;

        if (!r)
                return aip_error_set_nomem(err);
        signal(SIGPIPE, SIG_IGN);
        r->settings_object = settings;
        r->settings = aip_settings_values(settings);
        r->log = options->log;
        r->component = options->component ? options->component : "aiplat";
        r->random = aip_random_system();
        r->migrate_timer.fire = migrate;
        if ((result = make_parts(r, err)) < 0) {
                aip_runtime_free(r);
                return result;
        }
        if (r->settings->migrate)
                aip_timer_set(r->loop, &r->migrate_timer, 0);
        else
                start_services(r);
        *ret_runtime = r;
        return 0;
}

void aip_runtime_free(aip_runtime *r)
{
        if (!r)
                return;
        if (r->is_open)
                aip_runtime_stop(r);
        while (r->is_open)
                aip_uv_loop_run(r->uv);
        aip_job_service_free(r->jobs);
        aip_thread_service_free(r->threads);
        aip_job_feeds_free(r->feeds);
        aip_llm_registry_free(r->llms);
        aip_graph_registry_free(r->graphs);
        aip_tool_registry_free(r->tools);
        aip_http_tools_free(r->http_tools);
        aip_mcp_servers_free(r->mcp);
        aip_http_client_free(r->tools_http);
        aip_http_client_free(r->http);
        aip_metrics_free(r->metrics);
        aip_uv_loop_free(r->uv);
#ifdef AIP_FAULT_POINTS
        runtime_fault_store_free(r->fault_store);
#endif
        aip_free(r);
}

aip_uv_loop *aip_runtime_uv_loop(aip_runtime *r)
{
        return r->uv;
}

struct aip_loop aip_runtime_loop(aip_runtime *r)
{
        return r->loop;
}

const struct aip_log *aip_runtime_log(aip_runtime *r)
{
        return &r->log;
}

struct aip_store *aip_runtime_store(aip_runtime *r)
{
        return &r->store;
}

struct aip_queue aip_runtime_queue(aip_runtime *r)
{
        return r->queue.queue;
}

struct aip_cache aip_runtime_cache(aip_runtime *r)
{
        return r->cache.cache;
}

aip_job_service *aip_runtime_jobs(aip_runtime *r)
{
        return r->jobs;
}

aip_thread_service *aip_runtime_threads(aip_runtime *r)
{
        return r->threads;
}

aip_catalog_service *aip_runtime_catalog(aip_runtime *r)
{
        return r->catalog;
}

aip_job_feeds *aip_runtime_feeds(aip_runtime *r)
{
        return r->feeds;
}

aip_graph_registry *aip_runtime_graphs(aip_runtime *r)
{
        return r->graphs;
}

aip_llm_registry *aip_runtime_llms(aip_runtime *r)
{
        return r->llms;
}

aip_tool_registry *aip_runtime_tools(aip_runtime *r)
{
        return r->tools;
}

int32_t aip_runtime_gateway_port(const aip_runtime *r)
{
        return r->gateway ? aip_http_server_port(r->gateway) : 0;
}
