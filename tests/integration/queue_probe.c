/*
 * The RabbitMQ queue behind a line of commands (see probe.h). Run by test_rabbitmq.py.
 *
 *     queue_probe URL TASK_QUEUE EVENT_EXCHANGE
 *
 *     publish N            N tasks                →  published OUTCOME MS ID
 *     flow N               keep N tasks in flight (0: no more), each reported like the above
 *     event N BYTES KEY    N events               →  published MS -[ unbound] OUTCOME
 *     consume PREFETCH ack|hold                   →  delivered ID REDELIVERED, lost
 *     acknowledge          all that is held
 *     stop                                        →  stopped
 *     ping                                        →  ping OUTCOME
 *     connected                                   →  connected 0|1
 *     measure N WINDOW     N tasks, not reported  →  measured N per second RATE
 *     quit                                        →  closed
 */
#include "probe.h"

#define HELD_MAX 65536

struct queue_probe {
        struct probe probe;
        struct aip_queue_handle handle;
        struct aip_id_source ids;
        size_t flow, n_flowing;
        struct aip_consumer consumer;
        int holds;
        struct aip_delivery held[HELD_MAX];
        size_t n_held;
        size_t to_measure, measured, n_delivered;
        int64_t since_ms;
        int is_quiet;
};

struct sent {
        struct aip_publish publish;
        struct queue_probe *q;
        int64_t since_ms;
        int is_flow;
        char id[AIP_ID_TEXT_BYTES];
        char body[AIP_MESSAGE_MAX_BYTES];
};

static void publish_task(struct queue_probe *q, int is_flow);

static void keep_flowing(struct queue_probe *q)
{
        while (q->n_flowing < q->flow)
                publish_task(q, 1);
}

static void count_measured(struct queue_probe *q)
{
        if (++q->measured < q->to_measure)
                return;
        int64_t ms = aip_now_ms(q->probe.loop) - q->since_ms;
        q->flow = 0;
        q->is_quiet = 0;
        say("measured %zu in %lld ms", q->measured, (long long)ms);
}

static void published(struct aip_op *op)
{
        struct sent *sent = AIP_CONTAINER_OF(op, struct sent, publish.op);
        struct queue_probe *q = sent->q;
        char text[512];
        if (!q->is_quiet)
                say("published %lld %s %s", (long long)(aip_now_ms(q->probe.loop) - sent->since_ms),
                    !sent->publish.routing_key     ? sent->id
                    : sent->publish.ret_is_unbound ? "- unbound"
                                                   : "-",
                    outcome(op->err, text));
        aip_error_free(op->err);
        if (sent->is_flow)
                q->n_flowing--;
        free(sent);
        if (q->is_quiet)
                count_measured(q);
        keep_flowing(q);
}

static struct sent *sent_new(struct queue_probe *q)
{
        struct sent *sent = calloc(1, sizeof(*sent));
        if (!sent)
                exit(1);
        sent->q = q;
        sent->since_ms = aip_now_ms(q->probe.loop);
        sent->publish.op.done = published;
        struct aip_id id = aip_id_next(&q->ids, aip_wall_us(q->probe.loop));
        aip_id_format(&id, sent->id);
        sent->publish.message_id = aip_str_of(sent->id);
        return sent;
}

static void publish_task(struct queue_probe *q, int is_flow)
{
        struct sent *sent = sent_new(q);
        sent->is_flow = is_flow;
        q->n_flowing += (size_t)is_flow;
        sent->publish.body = aip_str_of(sent->id);
        q->handle.queue.ops->publish(q->handle.queue.self, &sent->publish);
}

static void publish_event(struct queue_probe *q, size_t bytes)
{
        struct sent *sent = sent_new(q);
        memset(sent->body, 'e', bytes);
        sent->publish.body = aip_str_make(sent->body, bytes);
        sent->publish.routing_key = "job.created";
        q->handle.queue.ops->publish(q->handle.queue.self, &sent->publish);
}

static void hold(struct queue_probe *q, const struct aip_delivery *deliveries, size_t n)
{
        if (q->n_held + n > HELD_MAX)
                exit(1);
        memcpy(q->held + q->n_held, deliveries, n * sizeof(*deliveries));
        q->n_held += n;
}

static void on_deliveries(struct aip_consumer *consumer, const struct aip_delivery *deliveries,
                          size_t n)
{
        struct queue_probe *q = AIP_CONTAINER_OF(consumer, struct queue_probe, consumer);
        char id[AIP_ID_TEXT_BYTES];
        q->n_delivered += n;
        for (size_t i = 0; i < n && !q->is_quiet; i++)
                say("delivered %s %d", aip_id_format(&deliveries[i].job_id, id),
                    deliveries[i].is_redelivered);
        if (q->holds)
                hold(q, deliveries, n);
        else
                q->handle.queue.ops->acknowledge(q->handle.queue.self, deliveries, n);
        if (q->is_quiet)
                for (size_t i = 0; i < n; i++)
                        count_measured(q);
}

static void on_lost(struct aip_consumer *consumer)
{
        (void)consumer;
        say("lost");
}

static void pinged(struct aip_op *op)
{
        char text[512];
        say("ping %s", outcome(op->err, text));
        aip_error_free(op->err);
        free(op);
}

static void consume(struct queue_probe *q, const char *arguments)
{
        char how[16] = "";
        sscanf(arguments, "%u %15s", &q->consumer.prefetch, how);
        q->holds = strcmp(how, "hold") == 0;
        q->n_held = 0;
        q->handle.queue.ops->consume(q->handle.queue.self, &q->consumer);
}

static void ping(struct queue_probe *q)
{
        struct aip_op *op = calloc(1, sizeof(*op));
        if (!op)
                exit(1);
        op->done = pinged;
        q->handle.queue.ops->ping(q->handle.queue.self, op);
}

static void start_measuring(struct queue_probe *q, size_t n)
{
        q->is_quiet = 1;
        q->to_measure = n;
        q->measured = 0;
        q->since_ms = aip_now_ms(q->probe.loop);
}

static void obey(struct probe *probe, char *line)
{
        struct queue_probe *q = AIP_CONTAINER_OF(probe, struct queue_probe, probe);
        const struct aip_queue_ops *ops = q->handle.queue.ops;
        void *self = q->handle.queue.self;
        size_t n = 0, bytes = 0;
        if (sscanf(line, "publish %zu", &n) == 1) {
                for (size_t i = 0; i < n; i++)
                        publish_task(q, 0);
        } else if (sscanf(line, "event %zu %zu", &n, &bytes) == 2) {
                for (size_t i = 0; i < n; i++)
                        publish_event(q, bytes);
        } else if (sscanf(line, "flow %zu", &q->flow) == 1) {
                keep_flowing(q);
        } else if (sscanf(line, "measure publish %zu %zu", &n, &q->flow) == 2) {
                start_measuring(q, n);
                keep_flowing(q);
        } else if (sscanf(line, "measure consume %zu", &n) == 1) {
                start_measuring(q, n);
                consume(q, "500 ack");
        } else if (strncmp(line, "consume ", 8) == 0) {
                consume(q, line + 8);
        } else if (strcmp(line, "acknowledge") == 0) {
                ops->acknowledge(self, q->held, q->n_held);
                q->n_held = 0;
        } else if (strcmp(line, "stop") == 0) {
                ops->stop_consuming(self, &q->consumer);
                say("stopped");
        } else if (strcmp(line, "ping") == 0) {
                ping(q);
        } else if (strcmp(line, "connected") == 0) {
                say("connected %d", ops->is_connected(self));
        } else if (strcmp(line, "quit") == 0) {
                q->flow = 0;
                q->handle.close(q->handle.self, &probe->closed);
        } else {
                say("unknown %s", line);
        }
}

int main(int argc, char **argv)
{
        static struct queue_probe q;
        aip_error *err = NULL;
        if (argc != 4 || probe_open(&q.probe) < 0)
                return 2;
        aip_id_source_init(&q.ids, aip_random_system());
        q.probe.command = obey;
        q.consumer.on_deliveries = on_deliveries;
        q.consumer.on_lost = on_lost;
        const struct aip_queue_options options = {
                .self_size = sizeof(options),
                .loop = q.probe.loop,
                .log = &q.probe.log,
                .random = aip_random_system(),
                .url = argv[1],
                .task_queue = argv[2],
                .event_exchange = argv[3],
        };
        if (aip_rabbitmq_queue_new(&options, &q.handle, &err) < 0) {
                say("refused %s", aip_error_message(err));
                aip_error_free(err);
                return 3;
        }
        return probe_run(&q.probe);
}
