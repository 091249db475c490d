/*
 * Requests by route and status, and how long they took (request_metrics.h). Called by server.c for each
 * answer and at each scrape. The labels are the routes of routes.c, never what a client has sent, so
 * that nobody can make more of them.
 */
#include "request_metrics.h"

#include <stdio.h>

#include "macros.h"
#include "mem.h"
#include "server.h"

/* The last one stands for all others. */
static const unsigned statuses[HTTP_COUNTED_STATUSES] = {200, 201, 202, 204, 304, 400, 404,
                                                         405, 406, 409, 411, 412, 413, 415,
                                                         422, 428, 429, 500, 503, 0};

static size_t index_of_status(unsigned status)
{
        size_t i = 0;

        while (i < HTTP_COUNTED_STATUSES - 1 && statuses[i] != status)
                i++;
        return i;
}

int http_request_metrics_init(struct http_request_metrics *m)
{
        m->n_routes = http_route_count() + 1;
        m->routes = aip_calloc(m->n_routes, sizeof(*m->routes));
        return m->routes ? 0 : AIP_ENOMEM;
}

void http_request_metrics_deinit(struct http_request_metrics *m)
{
        aip_free(m->routes);
}

void http_request_metrics_add(struct http_request_metrics *m, const struct http_request *request)
{
        size_t i = request->route ? http_route_index(request->route) : m->n_routes - 1;
        struct http_route_metrics *route = &m->routes[i];

        route->n[index_of_status(request->answer.status)]++;
        if (!request->more && !request->is_to_wait)
                aip_times_add(&route->times,
                              aip_now_ms(http_options(request)->loop) - request->began_ms);
}

static const char *method_of(const struct http_request_metrics *m, size_t i)
{
        return i < m->n_routes - 1 ? http_route_at(i)->method : "other";
}

static const char *pattern_of(const struct http_request_metrics *m, size_t i)
{
        return i < m->n_routes - 1 ? http_route_at(i)->pattern : "other";
}

static void write_counts(const struct http_request_metrics *m, struct aip_metrics_writer *w)
{
        aip_metrics_family(w, "aiplat_http_requests_total", AIP_METRICS_COUNTER,
                           "Answered requests, by route and status.");
        for (size_t i = 0; i < m->n_routes; i++)
                for (size_t j = 0; j < HTTP_COUNTED_STATUSES; j++)
                        if (m->routes[i].n[j] > 0)
                                aip_metrics_sample(w, (int64_t)m->routes[i].n[j],
                                                   "aiplat_http_requests_total{method=\"%s\","
                                                   "route=\"%s\",status=\"%u\"}",
                                                   method_of(m, i), pattern_of(m, i), statuses[j]);
}

void http_request_metrics_write(const struct http_request_metrics *m, struct aip_metrics_writer *w)
{
        char labels[256];

        write_counts(m, w);
        aip_metrics_family(w, "aiplat_http_request_duration_seconds", AIP_METRICS_HISTOGRAM,
                           "From a request's headers to its answer, but for those that are asked "
                           "to wait and for streams.");
        for (size_t i = 0; i < m->n_routes; i++) {
                if (aip_times_count(&m->routes[i].times) == 0)
                        continue;
                snprintf(labels, sizeof(labels), "method=\"%s\",route=\"%s\"", method_of(m, i),
                         pattern_of(m, i));
                aip_metrics_times(w, "aiplat_http_request_duration_seconds", labels,
                                  &m->routes[i].times);
        }
}
