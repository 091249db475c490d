/*
 * One connection to the broker (see rabbitmq_link.h). Called by the publisher and the consumer,
 * each on its own thread. It must never let the password reach a log, and never wait without an
 * end: the calls that have time limits of their own are given them, the others are watched.
 */
#include "rabbitmq_link.h"

#include "macros.h"
#include "mem.h"

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_S   4
#define CLOSE_TIMEOUT_S     1
#define FRAME_MAX_BYTES     131072
#define POLL_LIMIT_MS       1000
#define BACKOFF_MIN_MS      100
#define BACKOFF_MAX_MS      5000
#define STEADY_MS           5000  /* a connection that held so long starts the back-off anew */
#define LOG_AGAIN_MS        60000 /* the same trouble, while it lasts */
#define CONNECTION_CHANNELS 8

/*
 * How often the broker may deliver one message again before it drops it. A count is added each
 * time a consumer goes away with the message unacknowledged; this program never hands one back by
 * nack, so a message that reaches the limit stands for a worker that dies on it, or a network
 * that flaps. Dropping it ends the loop and loses no job: the job is still QUEUED in the store,
 * and every worker also claims from the store what has been due for a while. RabbitMQ 3.10 has no
 * limit by default, 4.0 this one. It is an argument of the queue: to change it, the queue must be
 * made anew.
 */
#define DELIVERY_LIMIT 20

/* Of a cluster; a broker with fewer nodes uses those it has. Three survive the loss of any one; more
 * cost throughput with each. An operator who wants more grows the queue: rabbitmq-queues grow. */
#define QUORUM_NODES 3

int64_t rabbitmq_link_now_ms(void)
{
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- from other threads ---- */

int rabbitmq_link_init(struct rabbitmq_link *link, const struct rabbitmq_settings *settings,
                       const struct aip_log *log, const char *role, uint64_t seed, aip_error **err)
{
        *link = (struct rabbitmq_link){
                .settings = settings,
                .node = settings,
                .log = log,
                .role = role,
                .jitter = seed | 1,
                .backoff_ms = BACKOFF_MIN_MS,
                .socket = -1,
                .reason = "not connected yet",
        };
        link->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (link->wake_fd < 0)
                return aip_error_set(err, AIP_EIO, "cannot make an eventfd: %s", strerror(errno));
        pthread_mutex_init(&link->lock, NULL);
        return 0;
}

void rabbitmq_link_deinit(struct rabbitmq_link *link)
{
        close(link->wake_fd);
        pthread_mutex_destroy(&link->lock);
}

void rabbitmq_link_wake(struct rabbitmq_link *link)
{
        /* Fails only when the counter is full, and then the thread is woken anyway. */
        if (eventfd_write(link->wake_fd, 1) < 0)
                assert(errno == EAGAIN);
}

void rabbitmq_link_stop(struct rabbitmq_link *link)
{
        __atomic_store_n(&link->must_stop, 1, __ATOMIC_RELEASE);
        rabbitmq_link_wake(link);
}

int rabbitmq_link_is_stopping(struct rabbitmq_link *link)
{
        return __atomic_load_n(&link->must_stop, __ATOMIC_ACQUIRE);
}

int rabbitmq_link_is_up(struct rabbitmq_link *link)
{
        return __atomic_load_n(&link->is_up, __ATOMIC_ACQUIRE);
}

static void cut(struct rabbitmq_link *link)
{
        pthread_mutex_lock(&link->lock);
        if (link->socket >= 0)
                shutdown(link->socket, SHUT_RDWR);
        pthread_mutex_unlock(&link->lock);
}

void rabbitmq_link_watch(struct rabbitmq_link *link, int64_t limit_ms)
{
        int64_t since_ms = __atomic_load_n(&link->busy_since_ms, __ATOMIC_ACQUIRE);
        if (since_ms != 0 && rabbitmq_link_now_ms() - since_ms >= limit_ms)
                cut(link);
}

void rabbitmq_link_set_reason(struct rabbitmq_link *link, const char *reason)
{
        pthread_mutex_lock(&link->lock);
        snprintf(link->reason, sizeof(link->reason), "%s", reason);
        pthread_mutex_unlock(&link->lock);
}

int rabbitmq_link_error(struct rabbitmq_link *link, aip_error **err)
{
        pthread_mutex_lock(&link->lock);
        int r = aip_error_set(err, AIP_EUNAVAILABLE, "RabbitMQ %s: %s", link->node->address,
                              link->reason);
        pthread_mutex_unlock(&link->lock);
        if (err)
                aip_error_set_retryable(*err, 1, 0);
        return r;
}

/* ---- errors ---- */

void rabbitmq_link_enter(struct rabbitmq_link *link)
{
        __atomic_store_n(&link->busy_since_ms, rabbitmq_link_now_ms(), __ATOMIC_RELEASE);
}

void rabbitmq_link_leave(struct rabbitmq_link *link)
{
        __atomic_store_n(&link->busy_since_ms, 0, __ATOMIC_RELEASE);
}

int rabbitmq_link_fail(struct rabbitmq_link *link, int status, const char *what, aip_error **err)
{
        (void)link;
        const char *text = status == AMQP_STATUS_SOCKET_ERROR || status == AMQP_STATUS_TCP_ERROR
                                   ? "the connection is broken or refused"
                                   : amqp_error_string2(status);
        return aip_error_set(err, AIP_EUNAVAILABLE, "%s: %s", what, text);
}

static int closed_by_broker(const char *what, int code, amqp_bytes_t text, aip_error **err)
{
        return aip_error_set(err, AIP_EUNAVAILABLE, "%s: the broker answered %d %.*s", what, code,
                             AIP_STR_ARG(aip_str_make(text.bytes, text.len)));
}

/* The code of the broker's refusal, 0 when it is none. */
static int refusal(amqp_rpc_reply_t reply)
{
        if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION)
                return 0;
        if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
                return ((amqp_channel_close_t *)reply.reply.decoded)->reply_code;
        if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
                return ((amqp_connection_close_t *)reply.reply.decoded)->reply_code;
        return -1;
}

static amqp_bytes_t refusal_text(amqp_rpc_reply_t reply)
{
        if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
                return ((amqp_channel_close_t *)reply.reply.decoded)->reply_text;
        if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
                return ((amqp_connection_close_t *)reply.reply.decoded)->reply_text;
        return amqp_empty_bytes;
}

int rabbitmq_link_check(struct rabbitmq_link *link, amqp_rpc_reply_t reply, const char *what,
                        aip_error **err)
{
        if (reply.reply_type == AMQP_RESPONSE_NORMAL)
                return 0;
        if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
                return rabbitmq_link_fail(link, reply.library_error, what, err);
        return closed_by_broker(what, refusal(reply), refusal_text(reply), err);
}

static int is_new_trouble(struct rabbitmq_link *link, const char *text)
{
        int64_t time_ms = rabbitmq_link_now_ms();
        if (strncmp(link->logged, text, sizeof(link->logged) - 1) == 0 &&
            time_ms - link->logged_ms < LOG_AGAIN_MS)
                return 0;
        snprintf(link->logged, sizeof(link->logged), "%s", text);
        link->logged_ms = time_ms;
        return 1;
}

/* A consumer_timeout is no fault: the broker took back what was held for half an hour. */
static enum aip_log_level level_of(const aip_error *trouble)
{
        if (aip_error_code(trouble) != AIP_EUNAVAILABLE)
                return AIP_LOG_ERROR;
        return strstr(aip_error_message(trouble), "delivery acknowledgement") ? AIP_LOG_INFO
                                                                              : AIP_LOG_WARNING;
}

void rabbitmq_link_report(struct rabbitmq_link *link, aip_error *trouble)
{
        const char *text = aip_error_message(trouble);
        rabbitmq_link_set_reason(link, text);
        if (is_new_trouble(link, text))
                aip_log_write(link->log, level_of(trouble), RABBITMQ_COMPONENT, "%s at %s: %s",
                              link->role, link->node->address, text);
        aip_error_free(trouble);
}

/* ---- opening ---- */

static int make_tls_socket(struct rabbitmq_link *link, amqp_socket_t **ret_socket, aip_error **err)
{
        const struct rabbitmq_settings *settings = link->node;
        amqp_socket_t *socket = amqp_ssl_socket_new(link->connection);
        if (!socket)
                return aip_error_set_nomem(err);
        amqp_ssl_socket_set_verify_peer(socket, 1);
        amqp_ssl_socket_set_verify_hostname(socket, 1);
        amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
        if (amqp_ssl_socket_set_cacert(socket, settings->ca_file) != AMQP_STATUS_OK)
                return aip_error_set(err, AIP_EINVAL, "cannot read the trusted certificates in %s",
                                     settings->ca_file);
        if (settings->certificate_file &&
            amqp_ssl_socket_set_key(socket, settings->certificate_file, settings->key_file) !=
                    AMQP_STATUS_OK)
                return aip_error_set(err, AIP_EINVAL, "cannot use the certificate in %s",
                                     settings->certificate_file);
        *ret_socket = socket;
        return 0;
}

static int make_socket(struct rabbitmq_link *link, amqp_socket_t **ret_socket, aip_error **err)
{
        if (link->node->server.ssl)
                return make_tls_socket(link, ret_socket, err);
        *ret_socket = amqp_tcp_socket_new(link->connection);
        return *ret_socket ? 0 : aip_error_set_nomem(err);
}

/* What rabbitmq_link_watch() cuts. */
static int keep_duplicate(struct rabbitmq_link *link, aip_error **err)
{
        int duplicate = fcntl(amqp_get_sockfd(link->connection), F_DUPFD_CLOEXEC, 0);
        if (duplicate < 0)
                return aip_error_set(err, AIP_EIO, "cannot duplicate the socket: %s",
                                     strerror(errno));
        pthread_mutex_lock(&link->lock);
        link->socket = duplicate;
        pthread_mutex_unlock(&link->lock);
        return 0;
}

static int open_socket(struct rabbitmq_link *link, aip_error **err)
{
        const struct timeval limit = {.tv_sec = CONNECT_TIMEOUT_S};
        amqp_socket_t *socket = NULL;
        int r = make_socket(link, &socket, err);
        if (r < 0)
                return r;
        int status = amqp_socket_open_noblock(socket, link->node->server.host,
                                              link->node->server.port, &limit);
        if (status != AMQP_STATUS_OK)
                return rabbitmq_link_fail(link, status, "cannot connect", err);
        return keep_duplicate(link, err);
}

static amqp_table_entry_t yes(const char *name)
{
        return (amqp_table_entry_t){
                .key = amqp_cstring_bytes(name),
                .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1},
        };
}

static amqp_table_entry_t text(const char *name, const char *value)
{
        return (amqp_table_entry_t){
                .key = amqp_cstring_bytes(name),
                .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(value)},
        };
}

/* connection.blocked and basic.cancel are sent only to clients that say they know them. */
static int log_in(struct rabbitmq_link *link, aip_error **err)
{
        const struct rabbitmq_settings *settings = link->node;
        char name[32];
        snprintf(name, sizeof(name), "aiplat %s", link->role);
        amqp_table_entry_t known[] = {
                yes("publisher_confirms"),           yes("basic.nack"),
                yes("connection.blocked"),           yes("consumer_cancel_notify"),
                yes("authentication_failure_close"),
        };
        amqp_table_entry_t about[] = {
                text("product", "aiplat"),
                text("connection_name", name),
                {.key = amqp_cstring_bytes("capabilities"),
                 .value = {.kind = AMQP_FIELD_KIND_TABLE,
                           .value.table = {AIP_ARRAY_SIZE(known), known}}},
        };
        const amqp_table_t properties = {AIP_ARRAY_SIZE(about), about};
        rabbitmq_link_enter(link);
        amqp_rpc_reply_t reply = amqp_login_with_properties(
                link->connection, settings->server.vhost, CONNECTION_CHANNELS, FRAME_MAX_BYTES,
                settings->heartbeat_s, &properties, AMQP_SASL_METHOD_PLAIN, settings->server.user,
                settings->server.password);
        rabbitmq_link_leave(link);
        return rabbitmq_link_check(link, reply, "cannot log in", err);
}

static int open_channel(struct rabbitmq_link *link, amqp_channel_t channel, aip_error **err)
{
        rabbitmq_link_enter(link);
        amqp_channel_open(link->connection, channel);
        rabbitmq_link_leave(link);
        return rabbitmq_link_check(link, amqp_get_rpc_reply(link->connection),
                                   "cannot open a channel", err);
}

/* The broker refuses what exists with other properties, and closes the channel over it. */
static int check_declared(struct rabbitmq_link *link, const char *what, const char *name,
                          aip_error **err)
{
        amqp_rpc_reply_t reply = amqp_get_rpc_reply(link->connection);
        if (refusal(reply) != AMQP_PRECONDITION_FAILED)
                return rabbitmq_link_check(link, reply, "cannot declare queue and exchange", err);
        amqp_bytes_t reason = refusal_text(reply);
        return aip_error_set(err, AIP_ESTATE,
                             "the %s '%s' exists with other properties than aiplat needs (%.*s). "
                             "Delete it (rabbitmqctl delete_queue, or the management page; no job "
                             "is lost by it, they are in the database) or choose another name for "
                             "the %s; aiplat goes on trying",
                             what, name, AIP_STR_ARG(aip_str_make(reason.bytes, reason.len)), what);
}

static int declare_queue(struct rabbitmq_link *link, aip_error **err)
{
        amqp_table_entry_t entries[] = {
                text("x-queue-type", "quorum"),
                {.key = amqp_cstring_bytes("x-quorum-initial-group-size"),
                 .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = QUORUM_NODES}},
                {.key = amqp_cstring_bytes("x-delivery-limit"),
                 .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = DELIVERY_LIMIT}},
        };
        const amqp_table_t arguments = {AIP_ARRAY_SIZE(entries), entries};
        const char *name = link->settings->task_queue;
        rabbitmq_link_enter(link);
        amqp_queue_declare(link->connection, RABBITMQ_DECLARE_CHANNEL, amqp_cstring_bytes(name), 0,
                           1, 0, 0, arguments);
        rabbitmq_link_leave(link);
        return check_declared(link, "task queue", name, err);
}

static int declare_exchange(struct rabbitmq_link *link, aip_error **err)
{
        const char *name = link->settings->event_exchange;
        rabbitmq_link_enter(link);
        amqp_exchange_declare(link->connection, RABBITMQ_DECLARE_CHANNEL, amqp_cstring_bytes(name),
                              amqp_cstring_bytes("topic"), 0, 1, 0, 0, amqp_empty_table);
        rabbitmq_link_leave(link);
        return check_declared(link, "event exchange", name, err);
}

int rabbitmq_link_declare(struct rabbitmq_link *link, aip_error **err)
{
        int r = open_channel(link, RABBITMQ_DECLARE_CHANNEL, err);
        if (r == 0)
                r = declare_queue(link, err);
        if (r == 0 && link->wants_exchange)
                r = declare_exchange(link, err);
        if (r < 0)
                return r;
        rabbitmq_link_enter(link);
        amqp_rpc_reply_t reply =
                amqp_channel_close(link->connection, RABBITMQ_DECLARE_CHANNEL, AMQP_REPLY_SUCCESS);
        rabbitmq_link_leave(link);
        return rabbitmq_link_check(link, reply, "cannot close a channel", err);
}

int rabbitmq_link_open(struct rabbitmq_link *link, aip_error **err)
{
        const struct timeval limit = {.tv_sec = CONNECT_TIMEOUT_S};
        link->connection = amqp_new_connection();
        if (!link->connection)
                return aip_error_set_nomem(err);
        amqp_set_handshake_timeout(link->connection, &limit);
        amqp_set_rpc_timeout(link->connection, &limit);
        int r = open_socket(link, err);
        if (r == 0)
                r = log_in(link, err);
        if (r == 0)
                r = rabbitmq_link_declare(link, err);
        if (r == 0)
                r = open_channel(link, RABBITMQ_CHANNEL, err);
        if (r < 0) {
                rabbitmq_link_close(link, 0);
                return r;
        }
        link->opened_ms = rabbitmq_link_now_ms();
        return 0;
}

/* ---- closing ---- */

static void close_duplicate(struct rabbitmq_link *link)
{
        pthread_mutex_lock(&link->lock);
        if (link->socket >= 0)
                close(link->socket);
        link->socket = -1;
        pthread_mutex_unlock(&link->lock);
}

void rabbitmq_link_close(struct rabbitmq_link *link, int is_polite)
{
        __atomic_store_n(&link->is_up, 0, __ATOMIC_RELEASE);
        if (!link->connection)
                return;
        const struct timeval limit = {.tv_sec = CLOSE_TIMEOUT_S};
        if (is_polite) {
                amqp_set_rpc_timeout(link->connection, &limit);
                rabbitmq_link_enter(link);
                amqp_connection_close(link->connection, AMQP_REPLY_SUCCESS);
                rabbitmq_link_leave(link);
        } else {
                cut(link);
        }
        amqp_destroy_connection(link->connection);
        link->connection = NULL;
        close_duplicate(link);
}

/* ---- waiting ---- */

static void drain_wakeups(struct rabbitmq_link *link)
{
        eventfd_t n;
        if (eventfd_read(link->wake_fd, &n) < 0)
                assert(errno == EAGAIN || errno == EINTR);
}

static uint64_t next_random(struct rabbitmq_link *link)
{
        link->jitter ^= link->jitter << 13;
        link->jitter ^= link->jitter >> 7;
        link->jitter ^= link->jitter << 17;
        return link->jitter;
}

/* Errors name the node, on the loop's thread too. */
static void next_node(struct rabbitmq_link *link)
{
        pthread_mutex_lock(&link->lock);
        link->node = link->node->next ? link->node->next : link->settings;
        pthread_mutex_unlock(&link->lock);
}

/* Half to all of the present back-off, which doubles from try to try. Where there are more nodes, the
 * next try goes to the next one. */
void rabbitmq_link_back_off(struct rabbitmq_link *link)
{
        if (link->opened_ms != 0 && rabbitmq_link_now_ms() - link->opened_ms >= STEADY_MS)
                link->backoff_ms = BACKOFF_MIN_MS;
        link->opened_ms = 0;
        next_node(link);
        uint64_t half_ms = (uint64_t)link->backoff_ms / 2;
        int64_t until_ms = rabbitmq_link_now_ms() + (int64_t)(half_ms + next_random(link) % (half_ms + 1));
        link->backoff_ms = AIP_MIN(link->backoff_ms * 2, BACKOFF_MAX_MS);
        for (;;) {
                int64_t left_ms = until_ms - rabbitmq_link_now_ms();
                if (left_ms <= 0 || rabbitmq_link_is_stopping(link))
                        return;
                struct pollfd wake = {.fd = link->wake_fd, .events = POLLIN};
                poll(&wake, 1, (int)left_ms);
                drain_wakeups(link);
        }
}

int rabbitmq_link_poll(struct rabbitmq_link *link, int timeout_ms)
{
        struct pollfd fds[] = {
                {.fd = link->wake_fd, .events = POLLIN},
                {.fd = amqp_get_sockfd(link->connection), .events = POLLIN},
        };
        int has_more =
                amqp_frames_enqueued(link->connection) || amqp_data_in_buffer(link->connection);
        if (has_more)
                timeout_ms = 0;
        poll(fds, AIP_ARRAY_SIZE(fds), AIP_MIN(timeout_ms, POLL_LIMIT_MS));
        if (fds[0].revents)
                drain_wakeups(link);
        int64_t time_ms = rabbitmq_link_now_ms();
        if (!has_more && !fds[1].revents && !link->node->server.ssl &&
            time_ms - link->read_ms < POLL_LIMIT_MS)
                return 0;
        link->read_ms = time_ms;
        return 1;
}

void rabbitmq_link_sleep(struct rabbitmq_link *link)
{
        struct pollfd wake = {.fd = link->wake_fd, .events = POLLIN};
        poll(&wake, 1, -1);
        drain_wakeups(link);
}

/* ---- writing ---- */

int rabbitmq_link_can_write(const struct rabbitmq_link *link)
{
        return !link->node->server.ssl;
}

static int write_some(struct rabbitmq_link *link, struct aip_str *bytes)
{
        struct pollfd writable = {.fd = amqp_get_sockfd(link->connection), .events = POLLOUT};
        ssize_t n = send(writable.fd, bytes->p, bytes->n, MSG_NOSIGNAL);
        if (n >= 0) {
                *bytes = aip_str_make(bytes->p + n, bytes->n - (size_t)n);
                return 0;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK)
                poll(&writable, 1, POLL_LIMIT_MS);
        else if (errno != EINTR)
                return AMQP_STATUS_SOCKET_ERROR;
        return 0;
}

int rabbitmq_link_write(struct rabbitmq_link *link, struct aip_str bytes, aip_error **err)
{
        int status = 0;
        rabbitmq_link_enter(link);
        while (bytes.n > 0 && status == 0)
                status = write_some(link, &bytes);
        rabbitmq_link_leave(link);
        return status ? rabbitmq_link_fail(link, status, "cannot publish", err) : 0;
}

void rabbitmq_link_cork(struct rabbitmq_link *link, int on)
{
        int fd = amqp_get_sockfd(link->connection);
        if (fd >= 0) /* a failure costs packets, nothing else */
                setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

/* ---- reading ---- */

static int got_close(struct rabbitmq_link *link, const amqp_frame_t *frame, aip_error **err)
{
        const amqp_method_t *method = &frame->payload.method;
        if (method->id == AMQP_CONNECTION_CLOSE_METHOD) {
                const amqp_connection_close_t *closing = method->decoded;
                amqp_connection_close_ok_t ok = {0};
                int r = closed_by_broker("connection closed", closing->reply_code,
                                         closing->reply_text, err);
                rabbitmq_link_enter(link);
                amqp_send_method(link->connection, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
                rabbitmq_link_leave(link);
                return r;
        }
        const amqp_channel_close_t *closing = method->decoded;
        return closed_by_broker("channel closed", closing->reply_code, closing->reply_text, err);
}

static int is_close(const amqp_frame_t *frame)
{
        return frame->frame_type == AMQP_FRAME_METHOD &&
               (frame->payload.method.id == AMQP_CONNECTION_CLOSE_METHOD ||
                frame->payload.method.id == AMQP_CHANNEL_CLOSE_METHOD);
}

int rabbitmq_link_read(struct rabbitmq_link *link, int is_first, amqp_frame_t *ret_frame,
                       aip_error **err)
{
        const struct timeval at_once = {0, 0};
        amqp_maybe_release_buffers(link->connection);
        if (!is_first && !amqp_frames_enqueued(link->connection) &&
            !amqp_data_in_buffer(link->connection))
                return 0;
        rabbitmq_link_enter(link);
        int status = amqp_simple_wait_frame_noblock(link->connection, ret_frame, &at_once);
        rabbitmq_link_leave(link);
        if (status == AMQP_STATUS_TIMEOUT)
                return 0;
        if (status == AMQP_STATUS_HEARTBEAT_TIMEOUT)
                return aip_error_set(err, AIP_EUNAVAILABLE,
                                     "the broker has not been heard for two heartbeats");
        if (status != AMQP_STATUS_OK)
                return rabbitmq_link_fail(link, status, "connection lost", err);
        return is_close(ret_frame) ? got_close(link, ret_frame, err) : 1;
}
