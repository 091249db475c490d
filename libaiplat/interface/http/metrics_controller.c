/*
 * GET /metrics: what the parts of this process count, as Prometheus reads it, and whether the servers it
 * depends on answer. They are asked at each scrape, as /ready asks them, so that what is told is true at
 * that moment; a server that does not answer holds the scrape up for a second.
 */
#include "controllers.h"
#include "macros.h"
#include "server.h"

#define PING_WAIT_MS      1000
#define METRICS_MAX_BYTES ((size_t)4 << 20)

enum { STORE, QUEUE, CACHE, N_SERVERS };

struct ping {
        struct aip_op op;
        struct scrape *scrape;
        const char *adapter; /* NULL: not configured */
        int64_t began_ms, took_ms;
        int is_up;
};

struct scrape {
        struct http_request *request;
        struct ping pings[N_SERVERS];
        int n_unanswered;
};

static void write_servers(const struct scrape *scrape, struct aip_metrics_writer *w)
{
        static const char *const names[N_SERVERS] = {"store", "queue", "cache"};

        aip_metrics_family(w, "aiplat_server_up", AIP_METRICS_GAUGE,
                           "Whether a server that we depend on answers: 1, or 0.");
        for (int i = 0; i < N_SERVERS; i++)
                if (scrape->pings[i].adapter)
                        aip_metrics_sample(w, scrape->pings[i].is_up,
                                           "aiplat_server_up{server=\"%s\",adapter=\"%s\"}",
                                           names[i], scrape->pings[i].adapter);
        aip_metrics_family(w, "aiplat_server_ping_seconds", AIP_METRICS_GAUGE,
                           "How long it took to answer, or to fail.");
        for (int i = 0; i < N_SERVERS; i++)
                if (scrape->pings[i].adapter)
                        aip_metrics_sample_ms(
                                w, scrape->pings[i].took_ms,
                                "aiplat_server_ping_seconds{server=\"%s\",adapter=\"%s\"}",
                                names[i], scrape->pings[i].adapter);
}

static void answer(struct scrape *scrape)
{
        struct http_request *request = scrape->request;
        struct aip_buf text = AIP_BUF_INIT(METRICS_MAX_BYTES);
        struct aip_metrics_writer writer = {&text, 0};

        writer.r = aip_metrics_print(http_options(request)->metrics, &text);
        write_servers(scrape, &writer);
        if (writer.r < 0) {
                aip_buf_deinit(&text);
                http_answer_problem(request, 503, "OVERLOADED", "no memory for the metrics");
                return;
        }
        request->answer.status = 200;
        request->answer.content_type = AIP_METRICS_CONTENT_TYPE;
        request->answer.body = text;
        http_answered(request);
}

static void pinged(struct aip_op *op)
{
        struct ping *ping = AIP_CONTAINER_OF(op, struct ping, op);

        ping->took_ms = aip_now_ms(http_options(ping->scrape->request)->loop) - ping->began_ms;
        ping->is_up = !op->err;
        aip_error_free(AIP_TAKE(op->err));
        if (--ping->scrape->n_unanswered == 0)
                answer(ping->scrape);
}

static void start_ping(struct scrape *scrape, int which, const char *adapter,
                       void (*ping_op)(void *self, struct aip_op *op), void *self)
{
        struct ping *ping = &scrape->pings[which];

        ping->scrape = scrape;
        ping->adapter = adapter;
        ping->began_ms = aip_now_ms(http_options(scrape->request)->loop);
        ping->op.done = pinged;
        ping->op.deadline_ms = ping->began_ms + PING_WAIT_MS;
        scrape->n_unanswered++;
        ping_op(self, &ping->op);
}

void http_metrics(struct http_request *request)
{
        const struct aip_http_server_options *o = http_options(request);
        struct scrape *scrape;

        if (!o->metrics) {
                http_answer_problem(request, 404, "NOT_FOUND", "nothing is counted here");
                return;
        }
        scrape = http_work_new(request, sizeof(*scrape), NULL);
        if (!scrape)
                return;
        scrape->request = request;
        start_ping(scrape, STORE, o->store.ops->name, o->store.ops->ping, o->store.self);
        start_ping(scrape, QUEUE, o->queue.ops->name, o->queue.ops->ping, o->queue.self);
        if (o->cache.ops)
                start_ping(scrape, CACHE, o->cache.ops->name, o->cache.ops->ping, o->cache.self);
}
