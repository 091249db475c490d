/*
 * Consuming from RabbitMQ. The thread reads deliveries and gathers them; the loop takes what has
 * been gathered in one turn, and sends acknowledgements back the same way:
 *
 *     consumer thread                                loop thread
 *
 *     basic.deliver ──► [gathered] ── one post ────► on_deliveries()
 *     basic.ack     ◄── [acks]     ◄── one wake-up ── acknowledge()
 *
 * Every connection, and every call of rabbitmq_consumer_set(), begins a new generation.
 * Deliveries and acknowledgements of an older one mean nothing: the broker has put those messages
 * back. A connection that is lost, a queue that is deleted, and a channel that is closed because
 * something was held too long (consumer_timeout) are one case: connect anew, declare, go on.
 *
 * When consuming stops, acknowledgements that are waiting go out first; closing the connection puts
 * the rest back into the queue.
 */
#include "rabbitmq_consumer.h"

#include <stdio.h>

#include "macros.h"
#include "mem.h"
#include "rabbitmq_outstanding.h"
#include "trouble.h"

#define PREFETCH_MAX 65535u /* 16 bits in the protocol; 0 there means "no limit" */

#define NO_GENERATION 0 /* the first call of rabbitmq_consumer_set() begins with 1 */

/* A growing array of acknowledgements or deliveries; at most prefetch of them can be there. */
struct tag_array {
        uint64_t *items;
        size_t n, capacity;
};
struct delivery_array {
        struct aip_delivery *items;
        size_t n, capacity;
};

/* What the loop wants of the thread. */
struct request {
        uint64_t number; /* counts the calls of rabbitmq_consumer_set() */
        int is_wanted;
        uint32_t prefetch;
};

/* A message between its first and its last frame. */
struct incoming {
        uint64_t tag;
        int is_redelivered;
        size_t body_bytes; /* announced */
        size_t n;          /* received */
        char body[AIP_ID_TEXT_BYTES];
};

struct rabbitmq_consumer {
        struct rabbitmq_link link;
        struct aip_loop loop;
        struct rabbitmq_consumer_options options;

        /* loop thread only */
        struct aip_consumer *consumer;
        struct delivery_array handed; /* being given to the consumer */
        struct aip_task events_task;
        struct aip_task stopped_task;
        pthread_t thread;

        /* consumer thread only */
        struct request serving;
        uint64_t serving_generation;
        struct rabbitmq_outstanding outstanding;
        struct incoming incoming;
        struct aip_trouble rubbish; /* messages that are no tasks */
        struct delivery_array gathered;
        struct tag_array sending;

        /* link.lock */
        struct request request;
        uint64_t generation;
        struct tag_array acks; /* of the present generation */
        struct delivery_array ready;
        int is_lost;        /* tell the consumer */
        int must_reconnect; /* no memory for an acknowledgement: give all back instead */
};

static void lock(struct rabbitmq_consumer *self)
{
        pthread_mutex_lock(&self->link.lock);
}

static void unlock(struct rabbitmq_consumer *self)
{
        pthread_mutex_unlock(&self->link.lock);
}

static int reserve(void **items, size_t *capacity, size_t n, size_t item_bytes)
{
        if (n <= *capacity)
                return 0;
        size_t larger = AIP_MAX(*capacity * 2, (size_t)64);
        larger = AIP_MAX(larger, n);
        void *grown = aip_realloc_array(*items, larger, item_bytes);
        if (!grown)
                return AIP_ENOMEM;
        *items = grown;
        *capacity = larger;
        return 0;
}

static int add_tag(struct tag_array *array, uint64_t tag)
{
        if (reserve((void **)&array->items, &array->capacity, array->n + 1, sizeof(tag)) < 0)
                return AIP_ENOMEM;
        array->items[array->n++] = tag;
        return 0;
}

static int add_deliveries(struct delivery_array *array, const struct aip_delivery *items, size_t n)
{
        if (reserve((void **)&array->items, &array->capacity, array->n + n, sizeof(*items)) < 0)
                return AIP_ENOMEM;
        memcpy(array->items + array->n, items, n * sizeof(*items));
        array->n += n;
        return 0;
}

/* ---- loop thread ---- */

void rabbitmq_consumer_set(struct rabbitmq_consumer *self, struct aip_consumer *consumer)
{
        self->consumer = consumer;
        lock(self);
        self->request.number++;
        self->request.is_wanted = consumer != NULL;
        if (consumer)
                self->request.prefetch = AIP_MIN(consumer->prefetch, PREFETCH_MAX);
        self->generation++;
        self->ready.n = 0;
        self->is_lost = 0;
        unlock(self);
        rabbitmq_link_wake(&self->link);
}

struct aip_consumer *rabbitmq_consumer_get(struct rabbitmq_consumer *self)
{
        return self->consumer;
}

void rabbitmq_consumer_acknowledge(struct rabbitmq_consumer *self,
                                   const struct aip_delivery *deliveries, size_t n)
{
        lock(self);
        int was_empty = self->acks.n == 0;
        for (size_t i = 0; i < n; i++)
                if (deliveries[i].generation == self->generation &&
                    add_tag(&self->acks, deliveries[i].tag) < 0)
                        self->must_reconnect = 1;
        int must_wake = (was_empty && self->acks.n > 0) || self->must_reconnect;
        unlock(self);
        if (must_wake)
                rabbitmq_link_wake(&self->link);
}

/* The consumer may do anything in its callbacks; what belongs to an earlier one is not given to
 * it. */
static void tell_consumer(struct aip_task *task)
{
        struct rabbitmq_consumer *self =
                AIP_CONTAINER_OF(task, struct rabbitmq_consumer, events_task);
        lock(self);
        int is_lost = self->is_lost;
        self->is_lost = 0;
        struct delivery_array handed = self->ready;
        self->ready = self->handed;
        self->ready.n = 0;
        self->handed = handed;
        uint64_t number = self->request.number;
        unlock(self);
        if (is_lost && self->consumer)
                self->consumer->on_lost(self->consumer);
        lock(self);
        int is_same = self->request.number == number;
        unlock(self);
        if (handed.n > 0 && is_same && self->consumer)
                self->consumer->on_deliveries(self->consumer, handed.items, handed.n);
}

int rabbitmq_consumer_check(struct rabbitmq_consumer *self, aip_error **err)
{
        if (!self->consumer || rabbitmq_link_is_up(&self->link))
                return 0;
        return rabbitmq_link_error(&self->link, err);
}

void rabbitmq_consumer_watch(struct rabbitmq_consumer *self, int64_t limit_ms)
{
        rabbitmq_link_watch(&self->link, limit_ms);
}

/* ---- consumer thread: acknowledgements ---- */

static int send_ack(void *user, uint64_t tag, int is_multiple)
{
        struct rabbitmq_consumer *self = user;
        rabbitmq_link_enter(&self->link);
        int status = amqp_basic_ack(self->link.connection, RABBITMQ_CHANNEL, tag, is_multiple);
        rabbitmq_link_leave(&self->link);
        return status; /* negative on failure */
}

/* Swap what the loop has gathered for the empty array of the last time. */
static void take_acks(struct rabbitmq_consumer *self)
{
        lock(self);
        struct tag_array empty = self->sending;
        empty.n = 0;
        self->sending = self->acks;
        self->acks = empty;
        unlock(self);
}

static int send_acks(struct rabbitmq_consumer *self, aip_error **err)
{
        take_acks(self);
        if (self->sending.n == 0)
                return 0;
        rabbitmq_link_cork(&self->link, 1);
        int status = rabbitmq_outstanding_acknowledge(&self->outstanding, self->sending.items,
                                                      self->sending.n, send_ack, self);
        rabbitmq_link_cork(&self->link, 0);
        self->sending.n = 0;
        return status < 0 ? rabbitmq_link_fail(&self->link, status, "cannot acknowledge", err) : 0;
}

/* ---- consumer thread: deliveries ---- */

/* All that came in one go, as one event for the loop. */
static int hand_over(struct rabbitmq_consumer *self, aip_error **err)
{
        if (self->gathered.n == 0)
                return 0;
        int r = 0;
        lock(self);
        if (self->generation == self->serving_generation)
                r = add_deliveries(&self->ready, self->gathered.items, self->gathered.n);
        unlock(self);
        self->gathered.n = 0;
        if (r < 0)
                return aip_error_set_nomem(err);
        aip_post(self->loop, &self->events_task);
        return 0;
}

static int drop_message(struct rabbitmq_consumer *self, aip_error **err)
{
        uint64_t tag = self->incoming.tag;
        char why[RABBITMQ_REASON_BYTES];
        snprintf(why, sizeof(why), "%zu bytes from '%s' that hold no job id",
                 self->incoming.body_bytes, self->link.settings->task_queue);
        aip_trouble_occurred(&self->rubbish, self->link.log, RABBITMQ_COMPONENT,
                             rabbitmq_link_now_ms(), "dropped a message", why);
        int status = rabbitmq_outstanding_acknowledge(&self->outstanding, &tag, 1, send_ack, self);
        return status < 0 ? rabbitmq_link_fail(&self->link, status, "cannot acknowledge", err) : 0;
}

static int got_message(struct rabbitmq_consumer *self, aip_error **err)
{
        const struct incoming *incoming = &self->incoming;
        if (rabbitmq_outstanding_add(&self->outstanding, incoming->tag) < 0)
                return aip_error_set(err, AIP_EPROTOCOL, "the broker delivers beyond the prefetch");
        struct aip_delivery delivery = {
                .tag = incoming->tag,
                .generation = self->serving_generation,
                .is_redelivered = incoming->is_redelivered,
        };
        struct aip_str body = aip_str_make(incoming->body, incoming->n);
        if (incoming->body_bytes != incoming->n || aip_id_parse(body, &delivery.job_id, NULL) < 0)
                return drop_message(self, err);
        if (add_deliveries(&self->gathered, &delivery, 1) < 0)
                return aip_error_set_nomem(err);
        return 0;
}

static int got_header(struct rabbitmq_consumer *self, const amqp_frame_t *frame, aip_error **err)
{
        self->incoming.body_bytes = (size_t)frame->payload.properties.body_size;
        return self->incoming.body_bytes == 0 ? got_message(self, err) : 0;
}

/* Keeps what an id's text needs; a longer body is no id, whatever else it is. */
static int got_body(struct rabbitmq_consumer *self, amqp_bytes_t fragment, size_t *received,
                    aip_error **err)
{
        struct incoming *incoming = &self->incoming;
        size_t n = AIP_MIN(fragment.len, sizeof(incoming->body) - incoming->n);
        memcpy(incoming->body + incoming->n, fragment.bytes, n);
        incoming->n += n;
        *received += fragment.len;
        return *received >= incoming->body_bytes ? got_message(self, err) : 0;
}

static int got_method(struct rabbitmq_consumer *self, const amqp_method_t *method, aip_error **err)
{
        if (method->id == AMQP_BASIC_CANCEL_METHOD)
                return aip_error_set(err, AIP_EUNAVAILABLE,
                                     "the queue '%s' was deleted or moved; declaring it again",
                                     self->link.settings->task_queue);
        if (method->id == AMQP_BASIC_DELIVER_METHOD) {
                const amqp_basic_deliver_t *deliver = method->decoded;
                self->incoming = (struct incoming){
                        .tag = deliver->delivery_tag,
                        .is_redelivered = deliver->redelivered != 0,
                };
        }
        return 0;
}

static int read_frames(struct rabbitmq_consumer *self, size_t *received, aip_error **err)
{
        amqp_frame_t frame;
        int r = rabbitmq_link_read(&self->link, 1, &frame, err);
        while (r > 0) {
                if (frame.frame_type == AMQP_FRAME_METHOD) {
                        *received = 0;
                        r = got_method(self, &frame.payload.method, err);
                } else if (frame.frame_type == AMQP_FRAME_HEADER) {
                        r = got_header(self, &frame, err);
                } else if (frame.frame_type == AMQP_FRAME_BODY) {
                        r = got_body(self, frame.payload.body_fragment, received, err);
                }
                if (r == 0)
                        r = rabbitmq_link_read(&self->link, 0, &frame, err);
        }
        return r < 0 ? r : hand_over(self, err);
}

/* ---- consumer thread: life ---- */

static int subscribe(struct rabbitmq_consumer *self, aip_error **err)
{
        amqp_connection_state_t connection = self->link.connection;
        rabbitmq_link_enter(&self->link);
        amqp_basic_qos(connection, RABBITMQ_CHANNEL, 0, (uint16_t)self->serving.prefetch, 0);
        rabbitmq_link_leave(&self->link);
        int r = rabbitmq_link_check(&self->link, amqp_get_rpc_reply(connection),
                                    "cannot set the prefetch", err);
        if (r < 0)
                return r;
        rabbitmq_link_enter(&self->link);
        amqp_basic_consume(connection, RABBITMQ_CHANNEL,
                           amqp_cstring_bytes(self->link.settings->task_queue), amqp_empty_bytes, 0,
                           0, 0, amqp_empty_table);
        rabbitmq_link_leave(&self->link);
        return rabbitmq_link_check(&self->link, amqp_get_rpc_reply(connection), "cannot consume",
                                   err);
}

static int is_request_current(struct rabbitmq_consumer *self)
{
        lock(self);
        int is_current = self->request.number == self->serving.number;
        unlock(self);
        return is_current && !rabbitmq_link_is_stopping(&self->link);
}

static void begin_generation(struct rabbitmq_consumer *self)
{
        lock(self);
        int is_current = self->request.number == self->serving.number;
        self->serving_generation = is_current ? ++self->generation : NO_GENERATION;
        self->acks.n = 0;
        self->must_reconnect = 0;
        unlock(self);
        self->gathered.n = 0;
        self->incoming = (struct incoming){0};
}

static int open_consumer(struct rabbitmq_consumer *self, aip_error **err)
{
        if (rabbitmq_outstanding_init(&self->outstanding, self->serving.prefetch) < 0)
                return aip_error_set_nomem(err);
        int r = rabbitmq_link_open(&self->link, err);
        if (r == 0)
                r = subscribe(self, err);
        if (r < 0)
                return r;
        begin_generation(self);
        rabbitmq_link_set_reason(&self->link, "not consuming");
        __atomic_store_n(&self->link.is_up, 1, __ATOMIC_RELEASE);
        aip_log_write(self->link.log, AIP_LOG_INFO, RABBITMQ_COMPONENT,
                      "consuming '%s' at %s, prefetch %u", self->link.settings->task_queue,
                      self->link.node->address, self->serving.prefetch);
        return 0;
}

static int check_memory(struct rabbitmq_consumer *self, aip_error **err)
{
        lock(self);
        int must_reconnect = self->must_reconnect;
        unlock(self);
        return must_reconnect ? aip_error_set_nomem(err) : 0;
}

/* 0 when it was asked to end, else why the connection cannot go on. */
static int serve(struct rabbitmq_consumer *self, aip_error **err)
{
        size_t received = 0;
        int r = open_consumer(self, err);
        while (r == 0 && is_request_current(self)) {
                if (rabbitmq_link_poll(&self->link, INT32_MAX))
                        r = read_frames(self, &received, err);
                if (r == 0)
                        r = send_acks(self, err);
                if (r == 0)
                        r = check_memory(self, err);
        }
        return r < 0 ? r : send_acks(self, err);
}

/* The consumer hears of it, unless it went first. */
static void lose_generation(struct rabbitmq_consumer *self)
{
        lock(self);
        int must_tell = self->generation == self->serving_generation;
        if (must_tell) {
                self->generation++;
                self->ready.n = 0;
                self->is_lost = 1;
        }
        self->acks.n = 0;
        unlock(self);
        if (must_tell)
                aip_post(self->loop, &self->events_task);
}

static void serve_request(struct rabbitmq_consumer *self)
{
        aip_error *trouble = NULL;
        int r = serve(self, &trouble);
        int was_up = rabbitmq_link_is_up(&self->link);
        if (r < 0 && is_request_current(self))
                rabbitmq_link_report(&self->link, AIP_TAKE(trouble));
        aip_error_free(trouble);
        rabbitmq_link_close(&self->link, r == 0);
        rabbitmq_outstanding_deinit(&self->outstanding);
        if (was_up)
                lose_generation(self);
        if (r < 0 && is_request_current(self))
                rabbitmq_link_back_off(&self->link);
}

static void *run(void *user)
{
        struct rabbitmq_consumer *self = user;
        while (!rabbitmq_link_is_stopping(&self->link)) {
                lock(self);
                self->serving = self->request;
                unlock(self);
                if (self->serving.is_wanted)
                        serve_request(self);
                else
                        rabbitmq_link_sleep(&self->link);
        }
        aip_post(self->loop, &self->stopped_task);
        return NULL;
}

/* ---- loop thread: life ---- */

static void thread_stopped(struct aip_task *task)
{
        struct rabbitmq_consumer *self =
                AIP_CONTAINER_OF(task, struct rabbitmq_consumer, stopped_task);
        pthread_join(self->thread, NULL);
        self->options.on_stopped(self->options.user);
}

int rabbitmq_consumer_new(const struct rabbitmq_consumer_options *options,
                          struct rabbitmq_consumer **ret_consumer, aip_error **err)
{
        struct rabbitmq_consumer *self = aip_calloc(1, sizeof(*self));
        if (!self)
                return aip_error_set_nomem(err);
        self->options = *options;
        self->loop = options->loop;
        self->events_task.run = tell_consumer;
        self->stopped_task.run = thread_stopped;
        int r = rabbitmq_link_init(&self->link, options->settings, options->log, "consumer",
                                   options->seed, err);
        if (r < 0) {
                aip_free(self);
                return r;
        }
        if (pthread_create(&self->thread, NULL, run, self) != 0) {
                rabbitmq_link_deinit(&self->link);
                aip_free(self);
                return aip_error_set(err, AIP_EIO, "cannot start a thread");
        }
        *ret_consumer = self;
        return 0;
}

void rabbitmq_consumer_stop(struct rabbitmq_consumer *self)
{
        if (self->consumer)
                rabbitmq_consumer_set(self, NULL);
        rabbitmq_link_stop(&self->link);
}

void rabbitmq_consumer_free(struct rabbitmq_consumer *self)
{
        aip_undefer(self->loop, &self->events_task);
        aip_free(self->handed.items);
        aip_free(self->ready.items);
        aip_free(self->gathered.items);
        aip_free(self->sending.items);
        aip_free(self->acks.items);
        rabbitmq_link_deinit(&self->link);
        aip_free(self);
}
