/*
 * /health says that the process lives and touches nothing; /ready asks every dependency and tells its
 * state and latency; /openapi.yaml is the contract of all of it.
 *
 * Ready means: jobs can be accepted. That takes the database and the catalog; without the queue jobs
 * wait in the database, without the cache reads are slower. Both are told as "degraded".
 */
#include <aiplat/version.h>

#include "controllers.h"
#include "macros.h"

#define PING_WAIT_MS 2000

extern const char aip_openapi_yaml[];

void http_health(struct http_request *request)
{
        const char *service = http_options(request)->service;
        struct aip_buf body = AIP_BUF_INIT(256);

        if (aip_buf_printf(&body,
                           "{\"status\":\"healthy\",\"service\":\"%s\",\"version\":\"%s\"}",
                           service ? service : "gateway", AIPLAT_VERSION) < 0)
                http_answer_problem(request, 503, "OVERLOADED", "out of memory");
        else
                http_answer_json(request, 200, &body);
}

void http_openapi(struct http_request *request)
{
        http_answer_text(request, "application/yaml", aip_str_of(aip_openapi_yaml));
}

/* ── readiness ───────────────────────────────────────────────────────────────────────────────── */

enum { DATABASE, QUEUE, CACHE, N_DEPENDENCIES };

struct ping {
        struct aip_op op;
        struct ready_work *work;
        const char *adapter; /* NULL: not configured */
        int64_t began_us, took_us;
        aip_error *err;
};

struct ready_work {
        struct http_request *request;
        struct ping pings[N_DEPENDENCIES];
        int n_unanswered;
};

static void ready_free(void *work)
{
        struct ready_work *w = work;

        for (int i = 0; i < N_DEPENDENCIES; i++)
                aip_error_free(w->pings[i].err);
}

static int print_ping(const struct ping *ping, const char *name, struct aip_buf *out)
{
        int r = aip_buf_printf(
                out, ",\"%s\":{\"adapter\":\"%s\",\"state\":\"%s\",\"latency_ms\":%.3f", name,
                ping->adapter, ping->err ? "down" : "up", (double)ping->took_us / 1000);

        if (r < 0 || !ping->err)
                return r < 0 ? r : aip_buf_append_char(out, '}');
        if ((r = aip_buf_append_cstr(out, ",\"error\":")) < 0 ||
            (r = aip_json_append_string(out, aip_str_of(aip_error_message(ping->err)))) < 0)
                return r;
        return aip_buf_append_char(out, '}');
}

static int print_ready(const struct ready_work *w, const char *status, struct aip_buf *out)
{
        static const char *const names[N_DEPENDENCIES] = {"database", "queue", "cache"};
        const aip_catalog *catalog = aip_catalog_service_current(http_options(w->request)->catalog);
        int r = aip_buf_printf(out,
                               "{\"status\":\"%s\",\"dependencies\":{\"catalog\":{\"state\":\"%s\","
                               "\"revision\":%lld}",
                               status, catalog ? "up" : "down",
                               (long long)(catalog ? aip_catalog_revision(catalog) : 0));

        for (int i = 0; r >= 0 && i < N_DEPENDENCIES; i++)
                if (w->pings[i].adapter)
                        r = print_ping(&w->pings[i], names[i], out);
        return r < 0 ? r : aip_buf_append_cstr(out, "}}");
}

static void answer_ready(struct ready_work *w)
{
        struct aip_buf body = AIP_BUF_INIT(8192);
        int has_catalog = aip_catalog_service_current(http_options(w->request)->catalog) != NULL;
        int is_ready = has_catalog && !w->pings[DATABASE].err;
        int is_whole = is_ready && !w->pings[QUEUE].err && !w->pings[CACHE].err;
        const char *status = is_whole ? "ready" : is_ready ? "degraded" : "unavailable";

        if (!is_ready)
                w->request->answer.retry_after_s = 1;
        if (print_ready(w, status, &body) < 0) {
                aip_buf_deinit(&body);
                http_answer_problem(w->request, 503, "OVERLOADED", "out of memory");
                return;
        }
        http_answer_json(w->request, is_ready ? 200 : 503, &body);
}

static void pinged(struct aip_op *op)
{
        struct ping *ping = AIP_CONTAINER_OF(op, struct ping, op);
        struct aip_loop loop = http_options(ping->work->request)->loop;

        ping->took_us = aip_wall_us(loop) - ping->began_us;
        ping->err = AIP_TAKE(op->err);
        if (--ping->work->n_unanswered == 0)
                answer_ready(ping->work);
}

static void start_ping(struct ready_work *w, int which, const char *adapter,
                       void (*ping_op)(void *self, struct aip_op *op), void *self)
{
        struct aip_loop loop = http_options(w->request)->loop;
        struct ping *ping = &w->pings[which];

        ping->work = w;
        ping->adapter = adapter;
        ping->began_us = aip_wall_us(loop);
        ping->op.done = pinged;
        ping->op.deadline_ms = aip_now_ms(loop) + PING_WAIT_MS;
        w->n_unanswered++;
        ping_op(self, &ping->op);
}

void http_ready(struct http_request *request)
{
        const struct aip_http_server_options *o = http_options(request);
        struct ready_work *w = http_work_new(request, sizeof(*w), ready_free);

        if (!w)
                return;
        w->request = request;
        start_ping(w, DATABASE, o->store.ops->name, o->store.ops->ping, o->store.self);
        start_ping(w, QUEUE, o->queue.ops->name, o->queue.ops->ping, o->queue.self);
        if (o->cache.ops)
                start_ping(w, CACHE, o->cache.ops->name, o->cache.ops->ping, o->cache.self);
}
