/*
 * The routes of the HTTP interface: every path that exists, and its controller. docs/openapi.yaml
 * describes the same ones; a test compares the two.
 */
#include <strings.h>

#include "controllers.h"
#include "macros.h"
#include "server.h"

static const struct http_route routes[] = {
        {"POST", "/v1/jobs", http_submit_job, 1},
        {"GET", "/v1/jobs", http_list_jobs, 0},
        {"GET", "/v1/jobs/{}", http_get_job, 0},
        {"GET", "/v1/jobs/{}/events", http_job_events, 0},
        {"POST", "/v1/jobs/{}/cancel", http_cancel_job, 1},
        {"POST", "/v1/jobs/{}/resume", http_resume_job, 1},
        {"GET", "/v1/threads", http_list_threads, 0},
        {"GET", "/v1/threads/{}", http_get_thread, 0},
        {"GET", "/v1/threads/{}/history", http_thread_history, 0},
        {"GET", "/v1/threads/{}/state", http_get_thread_state, 0},
        {"POST", "/v1/threads/{}/state", http_put_thread_state, 1},
        {"GET", "/v1/llm-configs", http_list_configs, 0},
        {"POST", "/v1/llm-configs", http_create_config, 1},
        {"GET", "/v1/llm-configs/{}", http_get_config, 0},
        {"PUT", "/v1/llm-configs/{}", http_put_config, 1},
        {"DELETE", "/v1/llm-configs/{}", http_delete_config, 0},
        {"GET", "/v1/prompt-templates", http_list_templates, 0},
        {"POST", "/v1/prompt-templates", http_create_template, 1},
        {"GET", "/v1/prompt-templates/{}", http_get_template, 0},
        {"PUT", "/v1/prompt-templates/{}", http_put_template, 1},
        {"DELETE", "/v1/prompt-templates/{}", http_delete_template, 0},
        {"GET", "/v1/graphs", http_list_graphs, 0},
        {"POST", "/v1/graphs", http_create_graph, 1},
        {"GET", "/v1/graphs/{}", http_get_graph, 0},
        {"PUT", "/v1/graphs/{}", http_put_graph, 1},
        {"DELETE", "/v1/graphs/{}", http_delete_graph, 0},
        {"GET", "/health", http_health, 0},
        {"GET", "/ready", http_ready, 0},
        {"GET", "/metrics", http_metrics, 0},
        {"GET", "/openapi.yaml", http_openapi, 0},
};

/* Of a server that is there for monitoring alone. */
static int is_monitoring(const struct http_route *route)
{
        return route->handle == http_health || route->handle == http_ready ||
               route->handle == http_metrics;
}

/* Whether `path` has the shape of `pattern`; the segment under {} is not empty. */
static int matches(const char *pattern, const char *path, struct aip_str *ret_segment)
{
        const char *hole = strstr(pattern, "{}");
        size_t before = hole ? (size_t)(hole - pattern) : 0;
        const char *end;

        if (!hole)
                return strcmp(pattern, path) == 0;
        if (strncmp(pattern, path, before) != 0)
                return 0;
        end = strchrnul(path + before, '/');
        if (end == path + before || strcmp(hole + 2, end) != 0)
                return 0;
        *ret_segment = aip_str_make(path + before, (size_t)(end - (path + before)));
        return 1;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int http_decode_segment(struct aip_str *segment)
{
        /* A view of the request's own path; what is written is never longer than what was read. */
        char *to = (char *)(uintptr_t)segment->p;
        const char *from = segment->p, *end = segment->p + segment->n;

        while (from < end) {
                int high, low;

                if (*from != '%') {
                        *to++ = *from++;
                        continue;
                }
                high = end - from > 2 ? hex_digit(from[1]) : -1;
                low = high < 0 ? -1 : hex_digit(from[2]);
                if (low < 0 || high + low == 0)
                        return AIP_EINVAL;
                *to++ = (char)(high * 16 + low);
                from += 3;
        }
        segment->n = (size_t)(to - segment->p);
        return 0;
}

/* The Allow header of every set of methods that occurs above; HEAD goes with GET. */
static const char *allow_of(unsigned has_get, unsigned has_post, unsigned has_put)
{
        if (has_put)
                return "GET, HEAD, PUT, DELETE";
        if (has_get)
                return has_post ? "GET, HEAD, POST" : "GET, HEAD";
        return "POST";
}

size_t http_route_count(void)
{
        return AIP_ARRAY_SIZE(routes);
}

const struct http_route *http_route_at(size_t index)
{
        return &routes[index];
}

size_t http_route_index(const struct http_route *route)
{
        return (size_t)(route - routes);
}

const struct http_route *http_route_find(const char *method, const char *path, int is_monitor,
                                         struct aip_str *ret_segment, const char **ret_allow)
{
        const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
        unsigned get = 0, post = 0, put = 0;

        for (size_t i = 0; i < AIP_ARRAY_SIZE(routes); i++) {
                if ((is_monitor && !is_monitoring(&routes[i])) ||
                    !matches(routes[i].pattern, path, ret_segment))
                        continue;
                if (strcmp(routes[i].method, wanted) == 0)
                        return &routes[i];
                get |= strcmp(routes[i].method, "GET") == 0;
                post |= strcmp(routes[i].method, "POST") == 0;
                put |= strcmp(routes[i].method, "PUT") == 0;
        }
        *ret_allow = get | post | put ? allow_of(get, post, put) : NULL;
        return NULL;
}
