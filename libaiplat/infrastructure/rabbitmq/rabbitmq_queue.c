/*
 * The message queue on RabbitMQ: puts the publishing and the consuming half together behind the
 * port (ports/queue.h). They have a thread and a connection each, because a broker that blocks a
 * publisher stops reading its connection, acknowledgements included. Loop thread only; nothing
 * here blocks.
 *
 * A timer looks every second whether a thread hangs in a call of librabbitmq and breaks its socket
 * then. Closing: operations end at once, the threads as soon as they can, the object after them.
 */
#include <aiplat/adapters.h>

#include "macros.h"
#include "mem.h"
#include "rabbitmq_consumer.h"
#include "rabbitmq_publisher.h"
#include "rabbitmq_settings.h"

#define WATCH_MS         1000
#define CLOSING_LIMIT_MS 1000 /* in one call, once the queue is being closed */

struct rabbitmq_queue {
        struct aip_loop loop;
        struct rabbitmq_settings settings;
        struct rabbitmq_publisher *publisher;
        struct rabbitmq_consumer *consumer;
        struct aip_timer watch;
        struct aip_op *closing; /* NULL: open */
        int n_threads;
};

static void publish(void *self, struct aip_publish *publish)
{
        struct rabbitmq_queue *queue = self;
        rabbitmq_publisher_publish(queue->publisher, publish);
}

static void consume(void *self, struct aip_consumer *consumer)
{
        struct rabbitmq_queue *queue = self;
        assert(!rabbitmq_consumer_get(queue->consumer) && "one consumer at a time");
        assert(consumer->prefetch > 0);
        rabbitmq_consumer_set(queue->consumer, consumer);
}

static void stop_consuming(void *self, struct aip_consumer *consumer)
{
        struct rabbitmq_queue *queue = self;
        if (rabbitmq_consumer_get(queue->consumer) == consumer)
                rabbitmq_consumer_set(queue->consumer, NULL);
}

static void acknowledge(void *self, const struct aip_delivery *deliveries, size_t n)
{
        struct rabbitmq_queue *queue = self;
        rabbitmq_consumer_acknowledge(queue->consumer, deliveries, n);
}

static int check(struct rabbitmq_queue *queue, aip_error **err)
{
        int r = rabbitmq_publisher_check(queue->publisher, err);
        return r < 0 ? r : rabbitmq_consumer_check(queue->consumer, err);
}

static int is_connected(void *self)
{
        return check(self, NULL) == 0;
}

static void ping(void *self, struct aip_op *op)
{
        struct rabbitmq_queue *queue = self;
        aip_error *err = NULL;
        check(queue, &err);
        aip_op_finish(queue->loop, op, err);
}

/* ---- life ---- */

static void watch(struct aip_timer *timer)
{
        struct rabbitmq_queue *queue = AIP_CONTAINER_OF(timer, struct rabbitmq_queue, watch);
        int64_t limit_ms = queue->closing ? CLOSING_LIMIT_MS : RABBITMQ_STUCK_LIMIT_MS;
        rabbitmq_publisher_watch(queue->publisher, limit_ms);
        rabbitmq_consumer_watch(queue->consumer, limit_ms);
        aip_timer_set(queue->loop, timer, WATCH_MS);
}

static void queue_free(struct rabbitmq_queue *queue)
{
        if (queue->publisher)
                rabbitmq_publisher_free(queue->publisher);
        if (queue->consumer)
                rabbitmq_consumer_free(queue->consumer);
        rabbitmq_settings_deinit(&queue->settings);
        aip_free(queue);
}

static void thread_stopped(void *user)
{
        struct rabbitmq_queue *queue = user;
        if (--queue->n_threads > 0)
                return;
        struct aip_loop loop = queue->loop;
        struct aip_op *op = queue->closing;
        aip_timer_clear(loop, &queue->watch);
        queue_free(queue);
        if (op)
                aip_op_finish(loop, op, NULL);
}

static void queue_close(void *self, struct aip_op *op)
{
        struct rabbitmq_queue *queue = self;
        queue->closing = op;
        rabbitmq_publisher_stop(queue->publisher);
        rabbitmq_consumer_stop(queue->consumer);
}

static const struct aip_queue_ops rabbitmq_queue_ops = {
        .self_size = sizeof(rabbitmq_queue_ops),
        .name = "rabbitmq",
        .publish = publish,
        .consume = consume,
        .stop_consuming = stop_consuming,
        .acknowledge = acknowledge,
        .is_connected = is_connected,
        .ping = ping,
};

static int start_threads(struct rabbitmq_queue *queue, const struct aip_queue_options *options,
                         aip_error **err)
{
        struct aip_random random = options->random.ops ? options->random : aip_random_system();
        const struct rabbitmq_consumer_options consumer = {
                .loop = options->loop,
                .log = options->log,
                .settings = &queue->settings,
                .seed = aip_random_u64(random),
                .on_stopped = thread_stopped,
                .user = queue,
        };
        const struct rabbitmq_publisher_options publisher = {
                .loop = options->loop,
                .log = options->log,
                .settings = &queue->settings,
                .seed = aip_random_u64(random),
                .on_stopped = thread_stopped,
                .user = queue,
        };
        int r = rabbitmq_consumer_new(&consumer, &queue->consumer, err);
        if (r < 0)
                return r;
        queue->n_threads++;
        r = rabbitmq_publisher_new(&publisher, &queue->publisher, err);
        if (r == 0)
                queue->n_threads++;
        return r;
}

int aip_rabbitmq_queue_new(const struct aip_queue_options *options,
                           struct aip_queue_handle *ret_queue, aip_error **err)
{
        if (!options || !options->loop.ops || !options->url || !ret_queue)
                return aip_error_set(err, AIP_EINVAL, "a RabbitMQ queue needs a loop and a URL");
        struct rabbitmq_queue *queue = aip_calloc(1, sizeof(*queue));
        if (!queue)
                return aip_error_set_nomem(err);
        queue->loop = options->loop;
        int r = rabbitmq_settings_init(&queue->settings, options->url, options->task_queue,
                                       options->event_exchange, err);
        if (r < 0) {
                aip_free(queue);
                return r;
        }
        r = start_threads(queue, options, err);
        if (r < 0) {
                /* A thread that did start frees the rest when it has ended. */
                if (queue->n_threads > 0)
                        rabbitmq_consumer_stop(queue->consumer);
                else
                        queue_free(queue);
                return r;
        }
        queue->watch.fire = watch;
        aip_timer_set(queue->loop, &queue->watch, WATCH_MS);
        ret_queue->queue.ops = &rabbitmq_queue_ops;
        ret_queue->queue.self = queue;
        ret_queue->close = queue_close;
        ret_queue->self = queue;
        return 0;
}
