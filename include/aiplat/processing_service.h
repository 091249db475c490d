/*
 * Processing service: the worker. It consumes task messages, claims their jobs, acknowledges, runs
 * each job's graph on the catalog snapshot of that moment, records the outcome under the fence, and
 * keeps the lease alive. Thousands of jobs may be in flight on its one loop. Loop thread only.
 */
#ifndef AIPLAT_PROCESSING_SERVICE_H
#define AIPLAT_PROCESSING_SERVICE_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/catalog_service.h>
#include <aiplat/graph_registry.h>
#include <aiplat/llm_registry.h>
#include <aiplat/log.h>
#include <aiplat/metrics.h>
#include <aiplat/outbox_relay.h>
#include <aiplat/ports/cache.h>
#include <aiplat/ports/checkpoint_store.h>
#include <aiplat/ports/event_stream.h>
#include <aiplat/ports/job_repository.h>
#include <aiplat/ports/queue.h>
#include <aiplat/ports/random.h>
#include <aiplat/tool_registry.h>

AIP_BEGIN_DECLS

typedef struct aip_processing_service aip_processing_service;

struct aip_processing_service_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random;
        struct aip_job_repository jobs;
        struct aip_queue queue;
        struct aip_cache cache;       /* ops NULL: none */
        aip_catalog_service *catalog; /* borrowed, as are the following */
        aip_outbox_relay *relay;
        aip_llm_registry *llms;
        int32_t cache_ttl_s;
        uint32_t concurrency;  /* jobs at once; 0: 256 */
        int64_t lease_ms;      /* 0: 10,000 */
        int64_t heartbeat_ms;  /* 0: 3,000 */
        int64_t job_timeout_ms; /* one attempt, all its calls and waits; 0: 3,600,000 */
        /* Where runs are kept between their steps, so that another worker goes on at the last; ops NULL: not. */
        struct aip_checkpoint_store checkpoints;
        const aip_graph_registry *graphs; /* graphs of code that jobs may name; borrowed; NULL: none */
        struct aip_event_stream events; /* for jobs that are followed; ops NULL: none */
        aip_metrics *metrics;     /* borrowed; NULL: nobody asks */
        aip_tool_registry *tools; /* borrowed; NULL: graphs have only the tools of their documents */
};

AIP_API int aip_processing_service_new(const struct aip_processing_service_options *options,
                                       aip_processing_service **ret_service, aip_error **err);
/* Begin to consume. */
AIP_API void aip_processing_service_start(aip_processing_service *service);
/* Jobs in flight. */
AIP_API size_t aip_processing_service_running(const aip_processing_service *service);

/*
 * Drain: stop consuming, let running jobs end until op.deadline_ms, then stop their calls and hand
 * them back (not counting the attempt), end the session; then `op` is done and the service is freed.
 */
AIP_API void aip_processing_service_close(aip_processing_service *service, struct aip_op *op);

AIP_END_DECLS

#endif
