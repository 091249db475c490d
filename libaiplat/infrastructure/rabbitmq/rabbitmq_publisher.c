/*
 * Publishing to RabbitMQ. A message is a copy of what the caller asked for, so that the operation
 * can end at its deadline on the loop, whatever the thread, the socket and the broker are doing:
 *
 *     loop thread                                publisher thread
 *
 *     publish() ──► [inbox] ── taken, up to ───► written, in the window by its delivery tag
 *        │             │       WINDOW               │
 *        │             │                            ├── basic.ack ──────────────► CONFIRMED
 *        │             │                            ├── basic.return, then ack ─► RETURNED
 *        │             │                            ├── basic.nack ─────────────► REFUSED
 *        │             │                            └── connection lost ────────► LOST
 *     deadline:     deadline:                       │
 *     AIP_ETIMEOUT  AIP_EUNAVAILABLE,            [results] ──► the operation ends on the loop
 *     when sent     and the message goes
 *
 * While there is no connection, or the broker blocks publishers (connection.blocked, at a memory or
 * disk alarm), messages wait in the inbox until their deadlines. Only a confirm counts as success;
 * a lost message may have been taken all the same, so whoever publishes again makes duplicates.
 */
#include "rabbitmq_publisher.h"

#include "fault_point.h"
#include "list.h"
#include "macros.h"
#include "mem.h"
#include "rabbitmq_frames.h"

#include <stdio.h>

#define WINDOW              1000  /* unconfirmed messages, counted from the oldest */
#define RING                1024  /* ≥ WINDOW, a power of two */
#define SEND_BATCH          256   /* sent before confirms are looked at */
#define WRITE_BYTES         65536 /* encoded messages are written when there is so much */
#define MESSAGES_MAX        10000 /* waiting and unconfirmed; beyond: AIP_ELIMIT */
#define DEFAULT_DEADLINE_MS 5000
#define NAME_MAX_BYTES      255 /* an AMQP short string */
#define TAG_TEXT_BYTES      24
#define TOO_SLOW            "the broker confirms too slowly" /* when the link is up */

AIP_STATIC_ASSERT(WINDOW <= RING, "every unconfirmed message has its place in the ring");

enum outcome { CONFIRMED = 0, RETURNED, REFUSED, LOST };

struct message {
        /* loop thread only */
        struct aip_publish *publish; /* NULL once it was answered */
        struct rabbitmq_publisher *publisher;
        struct aip_timer deadline;
        struct aip_list all;

        /* locked */
        struct aip_list queued; /* staged, in the inbox or among the results */
        int is_taken;           /* the thread has had it */

        /* whoever holds the message */
        enum outcome outcome;

        /* unchanging */
        int is_task;
        size_t key_bytes, id_bytes, body_bytes;
        char bytes[]; /* routing key, message id, body */
};

struct rabbitmq_publisher {
        struct rabbitmq_link link;
        struct aip_loop loop;
        struct rabbitmq_publisher_options options;

        /* loop thread only */
        struct aip_list all;
        size_t n_messages;
        struct aip_list staged; /* published in this turn of the loop */
        struct aip_task hand_in_task;
        struct aip_task results_task;
        struct aip_task stopped_task;
        pthread_t thread;

        /* publisher thread only */
        struct message *window[RING];
        uint64_t oldest_tag, next_tag; /* unconfirmed: [oldest, next) */
        int must_declare;              /* a task came back: the queue has gone */
        struct aip_list finished;      /* results not handed over yet */
        struct aip_buf encoded;        /* frames to be written */

        /* atomic */
        int is_blocked;
        int is_stalled; /* a sent message's deadline passed, and nothing was confirmed since */

        /* link.lock */
        struct aip_list inbox;
        struct aip_list results;
};

/* ---- messages ---- */

static struct message *message_new(const struct aip_publish *publish)
{
        struct aip_str key = aip_str_of(publish->routing_key);
        size_t n = key.n + publish->message_id.n + publish->body.n;
        struct message *message = aip_alloc(sizeof(*message) + n);
        if (!message)
                return NULL;
        *message = (struct message){
                .is_task = !publish->routing_key,
                .key_bytes = key.n,
                .id_bytes = publish->message_id.n,
                .body_bytes = publish->body.n,
        };
        char *to = message->bytes;
        if (key.n > 0)
                to = mempcpy(to, key.p, key.n);
        if (publish->message_id.n > 0)
                to = mempcpy(to, publish->message_id.p, publish->message_id.n);
        if (publish->body.n > 0)
                memcpy(to, publish->body.p, publish->body.n);
        return message;
}

static struct aip_str part(const struct message *message, size_t offset, size_t n)
{
        return aip_str_make(message->bytes + offset, n);
}

/* Loop thread: the message is nobody's any more. */
static void message_free(struct message *message)
{
        struct rabbitmq_publisher *publisher = message->publisher;
        aip_timer_clear(publisher->loop, &message->deadline);
        aip_list_remove(&message->all);
        publisher->n_messages--;
        aip_free(message);
}

static void answer(struct message *message, aip_error *err)
{
        struct aip_publish *publish = AIP_TAKE(message->publish);
        if (publish)
                aip_op_finish(message->publisher->loop, &publish->op, err);
        else
                aip_error_free(err);
}

/* ---- loop thread: publishing ---- */

static int check_publish(struct rabbitmq_publisher *publisher, const struct aip_publish *publish,
                         aip_error **err)
{
        if (publish->body.n > AIP_MESSAGE_MAX_BYTES)
                return aip_error_set(err, AIP_ELIMIT, "a message of %zu bytes; %d are allowed",
                                     publish->body.n, AIP_MESSAGE_MAX_BYTES);
        if (publish->message_id.n > NAME_MAX_BYTES ||
            aip_str_of(publish->routing_key).n > NAME_MAX_BYTES)
                return aip_error_set(err, AIP_EINVAL,
                                     "routing key and message id may have %d bytes",
                                     NAME_MAX_BYTES);
        if (publisher->n_messages >= MESSAGES_MAX)
                return aip_error_set(err, AIP_ELIMIT, "%d messages wait for RabbitMQ already",
                                     MESSAGES_MAX);
        return 0;
}

/* Returns whether the thread sent the message, or was about to, and may not have been heard. */
static int take_back(struct rabbitmq_publisher *publisher, struct message *message)
{
        pthread_mutex_lock(&publisher->link.lock);
        int is_taken = message->is_taken;
        if (!is_taken)
                aip_list_remove(&message->queued);
        pthread_mutex_unlock(&publisher->link.lock);
        return is_taken;
}

static void deadline_passed(struct aip_timer *timer)
{
        struct message *message = AIP_CONTAINER_OF(timer, struct message, deadline);
        struct rabbitmq_publisher *publisher = message->publisher;
        aip_error *err = NULL;
        if (take_back(publisher, message)) {
                __atomic_store_n(&publisher->is_stalled, 1, __ATOMIC_RELEASE);
                aip_error_set(&err, AIP_ETIMEOUT,
                              "RabbitMQ did not confirm the message in time; it may have it");
                aip_error_set_retryable(err, 1, 0);
                answer(message, err);
                return;
        }
        rabbitmq_link_error(&publisher->link, &err);
        answer(message, err);
        message_free(message);
}

static void splice(struct aip_list *to, struct aip_list *from)
{
        if (aip_list_is_empty(from))
                return;
        from->next->previous = to->previous;
        to->previous->next = from->next;
        from->previous->next = to;
        to->previous = from->previous;
        aip_list_init(from);
}

/* All that was published in one turn of the loop, by one wake-up. */
static void hand_in(struct aip_task *task)
{
        struct rabbitmq_publisher *publisher =
                AIP_CONTAINER_OF(task, struct rabbitmq_publisher, hand_in_task);
        pthread_mutex_lock(&publisher->link.lock);
        int was_empty = aip_list_is_empty(&publisher->inbox);
        splice(&publisher->inbox, &publisher->staged);
        int is_empty = aip_list_is_empty(&publisher->inbox);
        pthread_mutex_unlock(&publisher->link.lock);
        if (was_empty && !is_empty)
                rabbitmq_link_wake(&publisher->link);
}

static int accept_publish(struct rabbitmq_publisher *publisher, struct aip_publish *publish,
                          aip_error **err)
{
        int r = check_publish(publisher, publish, err);
        if (r < 0)
                return r;
        struct message *message = message_new(publish);
        if (!message)
                return aip_error_set_nomem(err);
        message->publish = publish;
        message->publisher = publisher;
        message->deadline.fire = deadline_passed;
        aip_list_append(&publisher->all, &message->all);
        publisher->n_messages++;
        int64_t deadline_ms = publish->op.deadline_ms;
        int64_t delay_ms =
                deadline_ms ? deadline_ms - aip_now_ms(publisher->loop) : DEFAULT_DEADLINE_MS;
        aip_timer_set(publisher->loop, &message->deadline, AIP_MAX(delay_ms, 0));
        aip_list_append(&publisher->staged, &message->queued);
        aip_defer(publisher->loop, &publisher->hand_in_task);
        return 0;
}

void rabbitmq_publisher_publish(struct rabbitmq_publisher *publisher, struct aip_publish *publish)
{
        aip_error *err = NULL;
        if (accept_publish(publisher, publish, &err) < 0)
                aip_op_finish(publisher->loop, &publish->op, err);
}

/* ---- loop thread: results ---- */

static aip_error *error_of(struct rabbitmq_publisher *publisher, const struct message *message)
{
        aip_error *err = NULL;
        switch (message->outcome) {
        case CONFIRMED:
                return NULL;
        case RETURNED:
                if (!message->is_task)
                        return NULL;
                aip_error_set(&err, AIP_EUNAVAILABLE,
                              "RabbitMQ has no queue '%s' to put the task in",
                              publisher->link.settings->task_queue);
                break;
        case REFUSED:
                aip_error_set(&err, AIP_EUNAVAILABLE, "RabbitMQ refused the message (basic.nack)");
                break;
        case LOST:
                rabbitmq_link_error(&publisher->link, &err);
                break;
        }
        aip_error_set_retryable(err, 1, 0);
        return err;
}

static void take_results(struct aip_task *task)
{
        struct rabbitmq_publisher *publisher =
                AIP_CONTAINER_OF(task, struct rabbitmq_publisher, results_task);
        struct aip_list results = AIP_LIST_INIT(results);
        pthread_mutex_lock(&publisher->link.lock);
        splice(&results, &publisher->results);
        pthread_mutex_unlock(&publisher->link.lock);
        for (struct aip_list *node; (node = aip_list_pop(&results));) {
                struct message *message = AIP_LIST_ENTRY(node, struct message, queued);
                if (message->outcome != LOST)
                        __atomic_store_n(&publisher->is_stalled, 0, __ATOMIC_RELEASE);
                if (message->publish)
                        message->publish->ret_is_unbound =
                                !message->is_task && message->outcome == RETURNED;
                if (message->publish)
                        answer(message, error_of(publisher, message));
                message_free(message);
        }
}

int rabbitmq_publisher_check(struct rabbitmq_publisher *publisher, aip_error **err)
{
        if (!rabbitmq_link_is_up(&publisher->link))
                return rabbitmq_link_error(&publisher->link, err);
        if (__atomic_load_n(&publisher->is_blocked, __ATOMIC_ACQUIRE))
                return rabbitmq_link_error(&publisher->link, err);
        if (__atomic_load_n(&publisher->is_stalled, __ATOMIC_ACQUIRE))
                return aip_error_set(err, AIP_EUNAVAILABLE,
                                     "RabbitMQ confirms nothing at the moment");
        return 0;
}

void rabbitmq_publisher_watch(struct rabbitmq_publisher *publisher, int64_t limit_ms)
{
        rabbitmq_link_watch(&publisher->link, limit_ms);
}

/* ---- publisher thread: results ---- */

static void hand_over(struct rabbitmq_publisher *publisher)
{
        if (aip_list_is_empty(&publisher->finished))
                return;
        pthread_mutex_lock(&publisher->link.lock);
        splice(&publisher->results, &publisher->finished);
        pthread_mutex_unlock(&publisher->link.lock);
        aip_post(publisher->loop, &publisher->results_task);
}

static void settle(struct rabbitmq_publisher *publisher, uint64_t tag, enum outcome outcome)
{
        struct message *message = AIP_TAKE(publisher->window[tag % RING]);
        if (!message)
                return; /* confirmed before, out of order */
        if (message->outcome != RETURNED)
                message->outcome = outcome;
        aip_list_append(&publisher->finished, &message->queued);
}

static void move_window(struct rabbitmq_publisher *publisher)
{
        while (publisher->oldest_tag < publisher->next_tag &&
               !publisher->window[publisher->oldest_tag % RING])
                publisher->oldest_tag++;
}

/* Confirms come in any order, and one may stand for all up to its tag. */
static void confirm(struct rabbitmq_publisher *publisher, uint64_t tag, int is_multiple,
                    enum outcome outcome)
{
        uint64_t first = is_multiple ? publisher->oldest_tag : tag;
        if (is_multiple && tag == 0) /* "all there are" */
                tag = publisher->next_tag - 1;
        for (uint64_t t = first; t <= tag && t < publisher->next_tag; t++)
                if (t >= publisher->oldest_tag)
                        settle(publisher, t, outcome);
        move_window(publisher);
}

static void lose_all(struct rabbitmq_publisher *publisher)
{
        for (uint64_t t = publisher->oldest_tag; t < publisher->next_tag; t++)
                settle(publisher, t, LOST);
        publisher->oldest_tag = publisher->next_tag = 1;
        hand_over(publisher);
}

/* ---- publisher thread: frames ---- */

/* The correlation id is the message's delivery tag: by it the broker's answer finds the message. */
static void got_returned(struct rabbitmq_publisher *publisher, const amqp_frame_t *frame)
{
        const amqp_basic_properties_t *properties = frame->payload.properties.decoded;
        if (!(properties->_flags & AMQP_BASIC_CORRELATION_ID_FLAG))
                return;
        char text[TAG_TEXT_BYTES];
        snprintf(text, sizeof(text), "%.*s",
                 AIP_STR_ARG(aip_str_make(properties->correlation_id.bytes,
                                          properties->correlation_id.len)));
        uint64_t tag = strtoull(text, NULL, 10);
        if (tag < publisher->oldest_tag || tag >= publisher->next_tag)
                return;
        struct message *message = publisher->window[tag % RING];
        if (!message)
                return;
        message->outcome = RETURNED;
        publisher->must_declare |= message->is_task;
}

static void got_blocked(struct rabbitmq_publisher *publisher, const amqp_connection_blocked_t *why)
{
        char reason[RABBITMQ_REASON_BYTES];
        snprintf(reason, sizeof(reason), "publishing is blocked by the broker: %.*s",
                 AIP_STR_ARG(aip_str_make(why->reason.bytes, why->reason.len)));
        rabbitmq_link_set_reason(&publisher->link, reason);
        __atomic_store_n(&publisher->is_blocked, 1, __ATOMIC_RELEASE);
        aip_log_write(publisher->link.log, AIP_LOG_WARNING, RABBITMQ_COMPONENT, "%s", reason);
}

static void got_unblocked(struct rabbitmq_publisher *publisher)
{
        rabbitmq_link_set_reason(&publisher->link, TOO_SLOW);
        __atomic_store_n(&publisher->is_blocked, 0, __ATOMIC_RELEASE);
        aip_log_write(publisher->link.log, AIP_LOG_INFO, RABBITMQ_COMPONENT,
                      "publishing is possible again");
}

static void got_method(struct rabbitmq_publisher *publisher, const amqp_method_t *method)
{
        const amqp_basic_ack_t *ack = method->decoded;
        const amqp_basic_nack_t *nack = method->decoded;
        if (method->id == AMQP_BASIC_ACK_METHOD)
                confirm(publisher, ack->delivery_tag, ack->multiple, CONFIRMED);
        else if (method->id == AMQP_BASIC_NACK_METHOD)
                confirm(publisher, nack->delivery_tag, nack->multiple, REFUSED);
        else if (method->id == AMQP_CONNECTION_BLOCKED_METHOD)
                got_blocked(publisher, method->decoded);
        else if (method->id == AMQP_CONNECTION_UNBLOCKED_METHOD)
                got_unblocked(publisher);
}

/* The only content that comes to a publisher is that of returned messages. */
static int read_frames(struct rabbitmq_publisher *publisher, aip_error **err)
{
        amqp_frame_t frame;
        int r = rabbitmq_link_read(&publisher->link, 1, &frame, err);
        while (r > 0) {
                if (frame.frame_type == AMQP_FRAME_METHOD)
                        got_method(publisher, &frame.payload.method);
                else if (frame.frame_type == AMQP_FRAME_HEADER)
                        got_returned(publisher, &frame);
                r = rabbitmq_link_read(&publisher->link, 0, &frame, err);
        }
        hand_over(publisher);
        return r;
}

/* ---- publisher thread: sending ---- */

static size_t room(const struct rabbitmq_publisher *publisher)
{
        if (__atomic_load_n(&publisher->is_blocked, __ATOMIC_ACQUIRE))
                return 0;
        return WINDOW - (size_t)(publisher->next_tag - publisher->oldest_tag);
}

static size_t take_inbox(struct rabbitmq_publisher *publisher, size_t limit,
                         struct message **ret_messages)
{
        size_t n = 0;
        pthread_mutex_lock(&publisher->link.lock);
        for (struct aip_list *node; n < limit && (node = aip_list_pop(&publisher->inbox)); n++) {
                ret_messages[n] = AIP_LIST_ENTRY(node, struct message, queued);
                ret_messages[n]->is_taken = 1;
        }
        pthread_mutex_unlock(&publisher->link.lock);
        return n;
}

/* A message says its tag, so that it can be told when it is returned. */
static struct rabbitmq_message describe(const struct rabbitmq_publisher *publisher,
                                        const struct message *message, uint64_t tag,
                                        char tag_text[TAG_TEXT_BYTES])
{
        const struct rabbitmq_settings *settings = publisher->link.settings;
        size_t body_offset = message->key_bytes + message->id_bytes;
        struct rabbitmq_message it = {
                .message_id = part(message, message->key_bytes, message->id_bytes),
                .routing_key = aip_str_of(settings->task_queue),
                .body = part(message, body_offset, message->body_bytes),
                .is_mandatory = 1,
        };
        int n = snprintf(tag_text, TAG_TEXT_BYTES, "%llu", (unsigned long long)tag);
        it.correlation_id = aip_str_make(tag_text, (size_t)n);
        if (!message->is_task) {
                it.exchange = aip_str_of(settings->event_exchange);
                it.routing_key = part(message, 0, message->key_bytes);
        }
        return it;
}

static amqp_bytes_t bytes_of(struct aip_str text)
{
        return (amqp_bytes_t){.len = text.n, .bytes = (void *)(uintptr_t)text.p};
}

/* Over TLS: one by one, by librabbitmq. */
static int send_message(struct rabbitmq_publisher *publisher, const struct rabbitmq_message *it,
                        aip_error **err)
{
        amqp_basic_properties_t properties = {
                ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG,
                .delivery_mode = AMQP_DELIVERY_PERSISTENT,
                .message_id = bytes_of(it->message_id),
                .correlation_id = bytes_of(it->correlation_id),
        };
        if (it->correlation_id.n > 0)
                properties._flags |= AMQP_BASIC_CORRELATION_ID_FLAG;
        rabbitmq_link_enter(&publisher->link);
        int status = amqp_basic_publish(publisher->link.connection, RABBITMQ_CHANNEL,
                                        bytes_of(it->exchange), bytes_of(it->routing_key),
                                        it->is_mandatory, 0, &properties, bytes_of(it->body));
        rabbitmq_link_leave(&publisher->link);
        return status == AMQP_STATUS_OK
                       ? 0
                       : rabbitmq_link_fail(&publisher->link, status, "cannot publish", err);
}

static int write_encoded(struct rabbitmq_publisher *publisher, aip_error **err)
{
        struct aip_str bytes = aip_buf_str(&publisher->encoded);
        publisher->encoded.n = 0;
        return bytes.n ? rabbitmq_link_write(&publisher->link, bytes, err) : 0;
}

static int encode_message(struct rabbitmq_publisher *publisher, const struct rabbitmq_message *it,
                          aip_error **err)
{
        size_t frame_max = (size_t)amqp_get_frame_max(publisher->link.connection);
        if (rabbitmq_frames_append(&publisher->encoded, RABBITMQ_CHANNEL, frame_max, it) < 0)
                return aip_error_set_nomem(err);
        return publisher->encoded.n >= WRITE_BYTES ? write_encoded(publisher, err) : 0;
}

static int send_batch(struct rabbitmq_publisher *publisher, struct message *const *batch, size_t n,
                      uint64_t first_tag, aip_error **err)
{
        int can_write = rabbitmq_link_can_write(&publisher->link), r = 0;
        publisher->encoded.n = 0;
        for (size_t i = 0; i < n && r == 0; i++) {
                char tag_text[TAG_TEXT_BYTES];
                struct rabbitmq_message it = describe(publisher, batch[i], first_tag + i, tag_text);
                r = can_write ? encode_message(publisher, &it, err)
                              : send_message(publisher, &it, err);
        }
        return r == 0 ? write_encoded(publisher, err) : r;
}

static int send_some(struct rabbitmq_publisher *publisher, aip_error **err)
{
        struct message *batch[SEND_BATCH];
        size_t n = take_inbox(publisher, AIP_MIN(room(publisher), (size_t)SEND_BATCH), batch);
        if (n == 0)
                return 0;
        uint64_t first = publisher->next_tag;
        for (size_t i = 0; i < n; i++)
                publisher->window[publisher->next_tag++ % RING] = batch[i];
        int r = send_batch(publisher, batch, n, first, err);
        AIP_FAULT_POINT("publish.sent");
        return r;
}

static int has_work(struct rabbitmq_publisher *publisher)
{
        if (room(publisher) == 0)
                return 0;
        pthread_mutex_lock(&publisher->link.lock);
        int is_waiting = !aip_list_is_empty(&publisher->inbox);
        pthread_mutex_unlock(&publisher->link.lock);
        return is_waiting;
}

/* ---- publisher thread: life ---- */

static int begin_confirms(struct rabbitmq_publisher *publisher, aip_error **err)
{
        rabbitmq_link_enter(&publisher->link);
        amqp_confirm_select(publisher->link.connection, RABBITMQ_CHANNEL);
        rabbitmq_link_leave(&publisher->link);
        return rabbitmq_link_check(&publisher->link, amqp_get_rpc_reply(publisher->link.connection),
                                   "cannot ask for confirms", err);
}

static int open_publisher(struct rabbitmq_publisher *publisher, aip_error **err)
{
        int r = rabbitmq_link_open(&publisher->link, err);
        if (r == 0)
                r = begin_confirms(publisher, err);
        if (r < 0)
                return r;
        publisher->must_declare = 0;
        rabbitmq_link_set_reason(&publisher->link, TOO_SLOW);
        __atomic_store_n(&publisher->is_blocked, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&publisher->is_stalled, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&publisher->link.is_up, 1, __ATOMIC_RELEASE);
        aip_log_write(publisher->link.log, AIP_LOG_INFO, RABBITMQ_COMPONENT,
                      "publisher connected to %s", publisher->link.node->address);
        return 0;
}

static int declare_again(struct rabbitmq_publisher *publisher, aip_error **err)
{
        aip_log_write(publisher->link.log, AIP_LOG_WARNING, RABBITMQ_COMPONENT,
                      "the queue '%s' has gone; declaring it again",
                      publisher->link.settings->task_queue);
        publisher->must_declare = 0;
        return rabbitmq_link_declare(&publisher->link, err);
}

/* 0 when stopped, else why the connection cannot go on. */
static int serve(struct rabbitmq_publisher *publisher, aip_error **err)
{
        int r = open_publisher(publisher, err);
        while (r == 0 && !rabbitmq_link_is_stopping(&publisher->link)) {
                r = send_some(publisher, err);
                if (r < 0)
                        break;
                if (rabbitmq_link_poll(&publisher->link, has_work(publisher) ? 0 : INT32_MAX))
                        r = read_frames(publisher, err);
                if (r == 0 && publisher->must_declare && room(publisher) > 0)
                        r = declare_again(publisher, err);
        }
        return r;
}

static void *run(void *user)
{
        struct rabbitmq_publisher *publisher = user;
        while (!rabbitmq_link_is_stopping(&publisher->link)) {
                aip_error *trouble = NULL;
                int r = serve(publisher, &trouble);
                if (r < 0)
                        rabbitmq_link_report(&publisher->link, trouble);
                rabbitmq_link_close(&publisher->link, r == 0);
                lose_all(publisher);
                if (r < 0)
                        rabbitmq_link_back_off(&publisher->link);
        }
        aip_post(publisher->loop, &publisher->stopped_task);
        return NULL;
}

/* ---- loop thread: life ---- */

static void thread_stopped(struct aip_task *task)
{
        struct rabbitmq_publisher *publisher =
                AIP_CONTAINER_OF(task, struct rabbitmq_publisher, stopped_task);
        pthread_join(publisher->thread, NULL);
        publisher->options.on_stopped(publisher->options.user);
}

int rabbitmq_publisher_new(const struct rabbitmq_publisher_options *options,
                           struct rabbitmq_publisher **ret_publisher, aip_error **err)
{
        struct rabbitmq_publisher *publisher = aip_calloc(1, sizeof(*publisher));
        if (!publisher)
                return aip_error_set_nomem(err);
        publisher->options = *options;
        publisher->loop = options->loop;
        aip_list_init(&publisher->all);
        aip_list_init(&publisher->finished);
        aip_list_init(&publisher->staged);
        aip_list_init(&publisher->inbox);
        aip_list_init(&publisher->results);
        aip_buf_init(&publisher->encoded, 2 * (size_t)WRITE_BYTES);
        publisher->oldest_tag = publisher->next_tag = 1;
        publisher->hand_in_task.run = hand_in;
        publisher->results_task.run = take_results;
        publisher->stopped_task.run = thread_stopped;
        int r = rabbitmq_link_init(&publisher->link, options->settings, options->log, "publisher",
                                   options->seed, err);
        if (r < 0) {
                aip_free(publisher);
                return r;
        }
        publisher->link.wants_exchange = 1;
        if (pthread_create(&publisher->thread, NULL, run, publisher) != 0) {
                rabbitmq_link_deinit(&publisher->link);
                aip_free(publisher);
                return aip_error_set(err, AIP_EIO, "cannot start a thread");
        }
        *ret_publisher = publisher;
        return 0;
}

void rabbitmq_publisher_stop(struct rabbitmq_publisher *publisher)
{
        AIP_LIST_FOREACH (node, &publisher->all) {
                struct message *message = AIP_LIST_ENTRY(node, struct message, all);
                aip_timer_clear(publisher->loop, &message->deadline);
                aip_error *err = NULL;
                aip_error_set(&err, AIP_ECANCELLED, "the queue was closed");
                answer(message, err);
                if (!take_back(publisher, message))
                        message_free(message);
        }
        rabbitmq_link_stop(&publisher->link);
}

void rabbitmq_publisher_free(struct rabbitmq_publisher *publisher)
{
        aip_undefer(publisher->loop, &publisher->hand_in_task);
        aip_undefer(publisher->loop, &publisher->results_task);
        AIP_LIST_FOREACH (node, &publisher->all)
                message_free(AIP_LIST_ENTRY(node, struct message, all));
        aip_buf_deinit(&publisher->encoded);
        rabbitmq_link_deinit(&publisher->link);
        aip_free(publisher);
}
