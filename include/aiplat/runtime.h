/*
 * Runtime: the composition root. Picks adapters by the URLs of the settings, wires them to the
 * services, and takes everything down again in the right order. The programs in bin/ are thin
 * wrappers around it; a C program that wants the whole platform in-process uses it the same way.
 *
 *     aip_settings *settings; aip_runtime *runtime;
 *     aip_settings_load(&source, &settings, &err);
 *     aip_runtime_new(settings, &options, &runtime, &err);
 *     aip_runtime_start_worker(runtime, &err);
 *     aip_runtime_wait_ready(runtime, 10000, &err);
 *     struct aip_job_submit submit = {…};
 *     aip_job_service_submit(aip_runtime_jobs(runtime), &submit);
 *     aip_runtime_run_until(runtime, &submit.op);
 */
#ifndef AIPLAT_RUNTIME_H
#define AIPLAT_RUNTIME_H

#if defined(AIP_LAYER) && AIP_LAYER < 6
#error "runtime: not for this layer"
#endif

#include <aiplat/adapters.h>
#include <aiplat/http_server.h>
#include <aiplat/job_feed.h>
#include <aiplat/job_service.h>
#include <aiplat/llm_registry.h>
#include <aiplat/loops.h>
#include <aiplat/processing_service.h>
#include <aiplat/settings.h>
#include <aiplat/thread_service.h>
#include <aiplat/tool_registry.h>

AIP_BEGIN_DECLS

typedef struct aip_runtime aip_runtime;

struct aip_runtime_options {
        size_t self_size;
        struct aip_log log;    /* copied */
        const char *component; /* "gateway", "worker" …: how the program calls itself in logs */
};

/*
 * Makes the loop, the store, the queue, the cache and the services. Nothing is connected yet when it
 * returns, and servers need not be up. With settings.migrate the store is migrated as soon as it is
 * reachable; services wait for that. `settings` is borrowed for the runtime's life.
 */
AIP_API int aip_runtime_new(const aip_settings *settings,
                            const struct aip_runtime_options *options, aip_runtime **ret_runtime,
                            aip_error **err);

/* Parts, borrowed. */
AIP_API aip_uv_loop *aip_runtime_uv_loop(aip_runtime *runtime);
AIP_API struct aip_loop aip_runtime_loop(aip_runtime *runtime);
AIP_API const struct aip_log *aip_runtime_log(aip_runtime *runtime);
AIP_API struct aip_store *aip_runtime_store(aip_runtime *runtime);
AIP_API struct aip_queue aip_runtime_queue(aip_runtime *runtime);
AIP_API struct aip_cache aip_runtime_cache(aip_runtime *runtime);
AIP_API aip_job_service *aip_runtime_jobs(aip_runtime *runtime);
AIP_API aip_thread_service *aip_runtime_threads(aip_runtime *runtime);
AIP_API aip_catalog_service *aip_runtime_catalog(aip_runtime *runtime);
/* For following jobs; their feeds are closed before the runtime is freed. */
AIP_API aip_job_feeds *aip_runtime_feeds(aip_runtime *runtime);
/* Register providers of your own here, before the worker starts. */
AIP_API aip_llm_registry *aip_runtime_llms(aip_runtime *runtime);
/* The tools that graphs may call: register functions and types of your own here, before the worker starts. */
AIP_API aip_tool_registry *aip_runtime_tools(aip_runtime *runtime);

/* The graphs of code that jobs of this process may name, through the job service and the gateway alike: register
 * yours here, before the worker starts and before jobs that name them are submitted. */
AIP_API aip_graph_registry *aip_runtime_graphs(aip_runtime *runtime);

/* Run the loop until the store is migrated and the catalog is loaded, so that jobs can be submitted;
 * AIP_EUNAVAILABLE with the reason when that takes longer than timeout_ms. */
AIP_API int aip_runtime_wait_ready(aip_runtime *runtime, int64_t timeout_ms, aip_error **err);

/* Take part as a worker, as an HTTP gateway, or as both. */
AIP_API int aip_runtime_start_worker(aip_runtime *runtime, aip_error **err);
AIP_API int aip_runtime_start_gateway(aip_runtime *runtime, aip_error **err);
/* The port the gateway listens on; 0 without one. */
AIP_API int32_t aip_runtime_gateway_port(const aip_runtime *runtime);

/* Run the loop until `op` (started by the caller, whose `done` is set by this call) is done. Not to be
 * called from within the loop. */
AIP_API void aip_runtime_run_until(aip_runtime *runtime, struct aip_op *op);

/* Run until SIGTERM, SIGINT or aip_runtime_stop(), then drain. A second signal ends the process at
 * once with status 1. Returns 0 after a whole drain, AIP_ETIMEOUT when something had to be left. */
AIP_API int aip_runtime_run(aip_runtime *runtime, aip_error **err);
AIP_API void aip_runtime_stop(aip_runtime *runtime); /* loop thread */

/* Drains whatever still runs, closes everything, frees. Accepts NULL. */
AIP_API void aip_runtime_free(aip_runtime *runtime);

/* What the settings say of retention, without anything else of it touched. */
AIP_API void aip_retention_of_settings(const aip_settings *settings,
                                       struct aip_retention *ret_retention);
/* One round of retention on the store of the settings, which must have its schema; nothing else is
 * started. `retention` says how long to keep what, and takes the report. `log` may be NULL. */
AIP_API int aip_retain(const aip_settings *settings, const struct aip_log *log, int64_t timeout_ms,
                       struct aip_retention *retention, aip_error **err);

/* Apply the migrations that the store of the settings lacks, and nothing else; the store must become
 * reachable within timeout_ms. `log` may be NULL. */
AIP_API int aip_migrate(const aip_settings *settings, const struct aip_log *log, int64_t timeout_ms,
                        aip_error **err);

AIP_END_DECLS

#endif
