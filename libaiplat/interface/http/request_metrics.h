/* Requests of one server by route and status, and what they took. */
#ifndef AIPLAT_INTERFACE_HTTP_REQUEST_METRICS_H
#define AIPLAT_INTERFACE_HTTP_REQUEST_METRICS_H

#include "request.h"

#define HTTP_COUNTED_STATUSES 20

struct http_route_metrics {
        uint64_t n[HTTP_COUNTED_STATUSES];
        struct aip_times times;
};

struct http_request_metrics {
        struct http_route_metrics *routes; /* owned; as routes.c has them, and one for none of them */
        size_t n_routes;
};

int http_request_metrics_init(struct http_request_metrics *metrics);
void http_request_metrics_deinit(struct http_request_metrics *metrics);

/* It is answered. A request that was asked to wait, and a stream, are counted and not timed. */
void http_request_metrics_add(struct http_request_metrics *metrics,
                              const struct http_request *request);
void http_request_metrics_write(const struct http_request_metrics *metrics,
                                struct aip_metrics_writer *writer);

#endif
