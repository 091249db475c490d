/*
 * The HTTP interface: routes, controllers and schemas on libmicrohttpd, driven by the event loop.
 * docs/openapi.yaml is its contract; it is also served under /openapi.yaml. Loop thread only.
 */
#ifndef AIPLAT_HTTP_SERVER_H
#define AIPLAT_HTTP_SERVER_H

#if defined(AIP_LAYER) && AIP_LAYER < 5
#error "interface: not for this layer"
#endif

#include <aiplat/catalog_service.h>
#include <aiplat/job_feed.h>
#include <aiplat/job_service.h>
#include <aiplat/metrics.h>
#include <aiplat/ports/cache.h>
#include <aiplat/ports/queue.h>
#include <aiplat/thread_service.h>

AIP_BEGIN_DECLS

typedef struct aip_http_server aip_http_server;

struct aip_http_server_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random; /* for trace ids */
        aip_job_service *jobs;        /* borrowed, as are the following */
        aip_catalog_service *catalog;
        struct aip_job_repository store; /* for /ready */
        struct aip_queue queue;          /* for /ready */
        struct aip_cache cache;          /* for /ready; ops NULL: none */
        const char *host;
        int32_t port;                 /* 0: any free one */
        int32_t max_body_bytes;       /* 413 beyond */
        int32_t max_connections;      /* beyond: not accepted until one closes */
        int32_t request_timeout_ms;   /* a client that sends or reads nothing for so long is dropped */
        int32_t max_wait_ms;          /* of ?wait=; 0: 60,000 */
        aip_job_feeds *feeds;         /* for events; NULL: they are answered with 503 */
        aip_metrics *metrics;         /* for /metrics; NULL: it is answered with 404 */
        const char *service;          /* how /health calls it; NULL: "gateway" */
        int32_t is_monitor;           /* serves /health, /ready and /metrics alone; `jobs` may be NULL */
        aip_thread_service *threads;  /* NULL: they are answered with 404 */
};

/* Listens at once. AIP_EIO names the address when it cannot. */
AIP_API int aip_http_server_new(const struct aip_http_server_options *options,
                                aip_http_server **ret_server, aip_error **err);
AIP_API int32_t aip_http_server_port(const aip_http_server *server);
/* Stop accepting, answer what is in flight (until op.deadline_ms; waits are answered at once), close
 * the connections, free the server; then `op`. */
AIP_API void aip_http_server_close(aip_http_server *server, struct aip_op *op);

AIP_END_DECLS

#endif
