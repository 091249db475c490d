/*
 * The HTTP server: libmicrohttpd's epoll descriptor on the event loop (http_server.h). It receives
 * requests, finds their route, lets the controller work while the connection is suspended, and sends
 * the answer. It knows connections, limits and time-outs, and nothing of jobs.
 *
 *     request line ──► request_new
 *     headers      ──► request_begin ──► no route, or too large: answered at once
 *     body         ──► take_body
 *     its end      ──► dispatch ──► (more came in this turn of the loop than it may hold: suspended,
 *                                   and worked on in the next) ──► controller: answers within the call, or
 *                                   the connection is suspended … http_answered ──► resumed ──► sent
 *     a streamed answer is sent piece by piece, suspended between them
 *
 * libmicrohttpd drops a connection on which nothing moves for a while. One that moves a byte now and
 * then is dropped by the watch below: no request may take longer to arrive than the time-out.
 */
#include "request_metrics.h"
#include "server.h"

#include <ctype.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "macros.h"
#include "mem.h"

/* Of a connection: request line and headers must fit. libmicrohttpd clears it for each request. */
#define POOL_BYTES         (16 * 1024)
#define WATCH_EVERY_MS     1000
#define NO_ROOM            "other requests take all memory there is for bodies and answers"
#define BACKLOG            1024
#define SMALL_BYTES        4096
#define STREAM_BLOCK_BYTES 8192
/* libmicrohttpd hands over all requests that have arrived, in one call. Thousands of them, even if they
 * are only refused, would keep the loop from the store's answers for so long that the store, which has one
 * transaction in flight, does next to nothing. */
#define TURN_REQUESTS 256
/* Bodies and answers of all requests together; small ones never run into it, as connections are
 * limited. */
#define HELD_MAX_BYTES ((size_t)256 << 20)

struct aip_http_server {
        struct aip_http_server_options options;
        struct MHD_Daemon *daemon;
        int port;
        struct aip_watch watch;
        struct aip_timer timer;   /* when libmicrohttpd wants to be run next */
        struct aip_task run_task; /* connections were resumed */
        struct aip_task turn_task;
        struct aip_list for_next_turn; /* requests that are whole */
        int n_in_turn;
        struct aip_timer slow_timer;
        struct aip_list requests; /* begun and not yet over */
        struct aip_list connections;
        int32_t n_connections;
        size_t held_bytes; /* by all requests: bodies, and answers until they are sent */
        struct aip_op *closing;
        struct aip_timer close_timer;
        struct aip_metrics_source metrics;
        struct http_request_metrics request_metrics;
        size_t n_requests; /* begun and not yet over */
};

/* A connection, for the watch on slow clients. */
struct connection {
        struct aip_list link;
        int fd;
        int64_t since_ms; /* it waits for, or receives, a request since then; 0: we are at work on one */
};

/* ── running libmicrohttpd ───────────────────────────────────────────────────────────────────── */

static void run(struct aip_http_server *s)
{
        MHD_UNSIGNED_LONG_LONG timeout_ms;

        s->n_in_turn = 0;
        MHD_run(s->daemon);
        if (MHD_get_timeout(s->daemon, &timeout_ms) == MHD_YES)
                aip_timer_set(s->options.loop, &s->timer, (int64_t)AIP_MIN(timeout_ms, 60000ULL));
        else
                aip_timer_clear(s->options.loop, &s->timer);
}

static void on_ready(struct aip_watch *watch, unsigned events)
{
        (void)events;
        run(AIP_CONTAINER_OF(watch, struct aip_http_server, watch));
}

static void on_timer(struct aip_timer *timer)
{
        run(AIP_CONTAINER_OF(timer, struct aip_http_server, timer));
}

static void on_task(struct aip_task *task)
{
        run(AIP_CONTAINER_OF(task, struct aip_http_server, run_task));
}

/* ── requests ────────────────────────────────────────────────────────────────────────────────── */

const struct aip_http_server_options *http_options(const struct http_request *request)
{
        return &request->server->options;
}

void *http_work_new(struct http_request *request, size_t bytes, void (*free_work)(void *work))
{
        request->work = aip_calloc(1, bytes);
        request->free_work = free_work;
        if (!request->work)
                http_answer_problem(request, 503, "OVERLOADED", "out of memory");
        return request->work;
}

struct aip_str http_query(const struct http_request *request, const char *name)
{
        const char *value = NULL;
        size_t bytes = 0;

        if (MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, name,
                                          strlen(name), &value, &bytes) != MHD_YES)
                return aip_str_make(NULL, 0);
        return aip_str_make(value ? value : "", value ? bytes : 0);
}

struct aip_str http_header(const struct http_request *request, const char *name)
{
        return aip_str_of(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name));
}

void http_answered(struct http_request *request)
{
        if (!request->is_suspended)
                return; /* still inside the controller's call: sent when it returns */
        request->is_suspended = 0;
        MHD_resume_connection(request->connection);
        aip_defer(request->server->options.loop, &request->server->run_task);
}

/* All pieces together are bounded like answers; a stream that finds no room ends. */
void http_piece_ready(struct http_request *request)
{
        struct aip_http_server *s = request->server;

        if (request->piece.n > SMALL_BYTES && s->held_bytes + request->piece.n > HELD_MAX_BYTES) {
                aip_buf_deinit(&request->piece);
                request->is_last_piece = 1;
        }
        request->answer_bytes = request->piece.n;
        s->held_bytes += request->answer_bytes;
        http_answered(request);
}

int http_is_closing(const struct http_request *request)
{
        return request->server->closing != NULL;
}

static void free_request(struct http_request *request)
{
        request->server->n_requests -= request->has_begun ? 1 : 0;
        if (request->work && request->free_work)
                request->free_work(request->work);
        aip_free(request->work);
        request->server->held_bytes -= request->body.n + request->answer_bytes;
        aip_buf_deinit(&request->body);
        aip_buf_deinit(&request->answer.body);
        aip_buf_deinit(&request->piece);
        aip_list_remove(&request->link);
        aip_list_remove(&request->turn_link);
        aip_free(request->path);
        aip_free(request);
}

/* The first that is heard of a request: its target as it was sent. The path is kept undecoded, so that
 * %2F in a name is no slash of the path. NULL (no memory) is noticed by request_begin. */
static void *request_new(void *user, const char *uri, struct MHD_Connection *connection)
{
        struct http_request *request = aip_calloc(1, sizeof(*request));

        if (!request)
                return NULL;
        request->server = user;
        request->connection = connection;
        request->path = aip_str_dup(aip_str_make(uri, strcspn(uri, "?")));
        if (request->path)
                return request;
        aip_free(request);
        return NULL;
}

/* The trace id of the caller's traceparent header (W3C Trace Context), or a new one. */
static void take_trace_id(struct http_request *request)
{
        static const char digits[] = "0123456789abcdef";
        struct aip_str parent = http_header(request, "traceparent");
        struct aip_random random = request->server->options.random;
        unsigned char bytes[16];
        int is_given = parent.n >= 55 && parent.p[2] == '-' && parent.p[35] == '-';

        for (size_t i = 0; is_given && i < 32; i++)
                is_given = parent.p[3 + i] != '\0' && strchr(digits, parent.p[3 + i]) != NULL;
        if (is_given && strspn(parent.p + 3, "0") < 32) {
                memcpy(request->trace_id, parent.p + 3, 32);
                return;
        }
        random.ops->fill(random.self, bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++) {
                request->trace_id[2 * i] = digits[bytes[i] >> 4];
                request->trace_id[2 * i + 1] = digits[bytes[i] & 15];
        }
}

static int is_json(const char *type)
{
        static const char json[] = "application/json";
        size_t n = strcspn(type, "; \t");

        return n == sizeof(json) - 1 && strncasecmp(type, json, n) == 0;
}

static void check_body_headers(struct http_request *request)
{
        struct aip_str length = http_header(request, "Content-Length");
        struct aip_str type = http_header(request, "Content-Type");
        int32_t max = request->server->options.max_body_bytes;

        if (length.n > 0 && strtoull(length.p, NULL, 10) > (unsigned long long)max)
                http_answer_problem(request, 413, "PAYLOAD_TOO_LARGE",
                                    "the body is larger than %d bytes", max);
        else if (request->route->takes_body && type.n > 0 && !is_json(type.p))
                http_answer_problem(request, 415, "UNSUPPORTED_MEDIA_TYPE",
                                    "Content-Type must be application/json, not %.100s", type.p);
}

static void find_route(struct http_request *request, const char *method)
{
        const char *allow = NULL;

        request->route = http_route_find(method, request->path, request->server->options.is_monitor,
                                         &request->segment, &allow);
        if (request->route && request->segment.p && http_decode_segment(&request->segment) < 0) {
                request->route = NULL;
                http_answer_problem(request, 400, "BAD_REQUEST",
                                    "the path holds a malformed or a zero %%-escape");
        } else if (request->route) {
                check_body_headers(request);
        } else if (allow) {
                request->answer.allow = allow;
                http_answer_problem(request, 405, "METHOD_NOT_ALLOWED",
                                    "%s is not allowed here, only %s", method, allow);
        } else {
                http_answer_problem(request, 404, "NOT_FOUND", "there is nothing under %.200s",
                                    request->path);
        }
}

static void request_begin(struct http_request *request, const char *method)
{
        struct aip_http_server *s = request->server;

        request->has_begun = 1;
        request->began_ms = aip_now_ms(s->options.loop);
        aip_buf_init(&request->body, (size_t)s->options.max_body_bytes);
        aip_list_append(&s->requests, &request->link);
        s->n_requests++;
        take_trace_id(request);
        find_route(request, method);
}

static void take_body(struct http_request *request, const char *data, size_t bytes)
{
        size_t *held = &request->server->held_bytes;
        int r;

        if (request->answer.status)
                return;
        if (request->body.n + bytes > SMALL_BYTES && *held + bytes > HELD_MAX_BYTES) {
                http_answer_problem(request, 503, "OVERLOADED", NO_ROOM);
                return;
        }
        r = aip_buf_append(&request->body, aip_str_make(data, bytes));
        *held += r < 0 ? 0 : bytes;
        if (r == AIP_ELIMIT)
                http_answer_problem(request, 413, "PAYLOAD_TOO_LARGE",
                                    "the body is larger than %zu bytes", request->body.max_bytes);
        else if (r < 0)
                http_answer_problem(request, 503, "OVERLOADED", "out of memory");
}

/* ── sending ─────────────────────────────────────────────────────────────────────────────────── */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
        if (response && value && *value)
                MHD_add_response_header(response, name, value);
}

static void piece_sent(struct http_request *request)
{
        request->server->held_bytes -= request->answer_bytes;
        request->answer_bytes = 0;
        request->piece_at = 0;
        aip_buf_deinit(&request->piece);
}

/* libmicrohttpd has room for more of the body. */
static ssize_t read_stream(void *user, uint64_t position, char *to, size_t max)
{
        struct http_request *request = user;
        size_t n;

        (void)position;
        if (request->piece.n == 0 && !request->is_last_piece)
                request->more(request);
        n = AIP_MIN(request->piece.n - request->piece_at, max);
        if (n > 0) {
                memcpy(to, request->piece.p + request->piece_at, n);
                request->piece_at += n;
                if (request->piece_at == request->piece.n)
                        piece_sent(request);
                return (ssize_t)n;
        }
        if (request->is_last_piece)
                return MHD_CONTENT_READER_END_OF_STREAM;
        request->is_suspended = 1;
        MHD_suspend_connection(request->connection);
        return 0;
}

static struct MHD_Response *make_stream(struct http_request *request)
{
        struct MHD_Response *response = MHD_create_response_from_callback(
                MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, request, NULL);

        add_header(response, "Content-Type", request->answer.content_type);
        add_header(response, "Cache-Control", "no-store");
        add_header(response, "X-Accel-Buffering", "no"); /* nginx would wait for more */
        return response;
}

static struct MHD_Response *make_response(struct http_answer *answer)
{
        size_t bytes = answer->body.n;
        char *body = aip_buf_take(&answer->body);
        struct MHD_Response *response;
        char seconds[16] = "";

        if (!body)
                return NULL;
        response = MHD_create_response_from_buffer(bytes, body, MHD_RESPMEM_MUST_FREE);
        if (!response) {
                free(body);
                return NULL;
        }
        if (answer->retry_after_s > 0)
                snprintf(seconds, sizeof(seconds), "%d", answer->retry_after_s);
        add_header(response, "Content-Type", answer->content_type);
        add_header(response, "Location", answer->location);
        add_header(response, "Allow", answer->allow);
        add_header(response, "Retry-After", seconds);
        add_header(response, "Idempotency-Replayed", answer->is_replay ? "true" : "");
        return response;
}

/* Clients that are slow to read hold their answers. What only reads may be asked again. */
static void hold_answer(struct http_request *request)
{
        struct aip_http_server *s = request->server;
        size_t bytes = request->answer.body.n;

        if (bytes > SMALL_BYTES && s->held_bytes + bytes > HELD_MAX_BYTES && request->route &&
            strcmp(request->route->method, "GET") == 0) {
                aip_buf_deinit(&request->answer.body);
                http_answer_problem(request, 503, "OVERLOADED", NO_ROOM);
        }
        request->answer_bytes = request->answer.body.n;
        s->held_bytes += request->answer_bytes;
}

static enum MHD_Result send_answer(struct http_request *request)
{
        struct aip_http_server *s = request->server;
        struct MHD_Response *response;
        enum MHD_Result result;

        if (!request->more)
                hold_answer(request);
        http_request_metrics_add(&s->request_metrics, request);
        response = request->more ? make_stream(request) : make_response(&request->answer);
        if (!response)
                return MHD_NO; /* the connection is closed: out of memory */
        if (s->closing)
                add_header(response, "Connection", "close");
        aip_log_write(s->options.log, AIP_LOG_DEBUG, "http", "%s %s: %u in %lld ms",
                      request->route ? request->route->method : "-", request->path,
                      request->answer.status,
                      (long long)(aip_now_ms(s->options.loop) - request->began_ms));
        result = MHD_queue_response(request->connection, request->answer.status, response);
        MHD_destroy_response(response);
        return result;
}

static void set_waiting(struct http_request *request, int64_t since_ms)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        if (info && info->socket_context)
                ((struct connection *)info->socket_context)->since_ms = since_ms;
}

static void suspend(struct http_request *request)
{
        request->is_suspended = 1;
        MHD_suspend_connection(request->connection);
}

/* It came on a kept connection while we leave. */
static void hurry_if_closing(struct http_request *request)
{
        if (request->server->closing && !request->answer.status && request->hurry)
                request->hurry(request);
}

static int must_wait_its_turn(struct aip_http_server *s)
{
        return s->n_in_turn++ >= TURN_REQUESTS || !aip_list_is_empty(&s->for_next_turn);
}

static void on_turn(struct aip_task *task)
{
        struct aip_http_server *s = AIP_CONTAINER_OF(task, struct aip_http_server, turn_task);
        struct aip_list *node = NULL;

        for (int n = 0; n < TURN_REQUESTS && (node = aip_list_pop(&s->for_next_turn)); n++) {
                struct http_request *request = AIP_LIST_ENTRY(node, struct http_request, turn_link);

                request->route->handle(request);
                hurry_if_closing(request);
        }
        if (!aip_list_is_empty(&s->for_next_turn))
                aip_defer(s->options.loop, task);
}

static enum MHD_Result dispatch(struct http_request *request)
{
        struct aip_http_server *s = request->server;

        set_waiting(request, 0);
        if (!request->answer.status && must_wait_its_turn(s)) {
                suspend(request);
                aip_list_append(&s->for_next_turn, &request->turn_link);
                aip_defer(s->options.loop, &s->turn_task);
                return MHD_YES;
        }
        if (!request->answer.status)
                request->route->handle(request);
        if (request->answer.status)
                return send_answer(request);
        suspend(request);
        hurry_if_closing(request);
        return MHD_YES;
}

static int has_body(const struct http_request *request)
{
        return http_header(request, "Content-Length").n > 0 ||
               http_header(request, "Transfer-Encoding").n > 0;
}

/* libmicrohttpd calls this when the headers are there, for each piece of the body, when the request
 * is whole, and once more after a resume. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **state)
{
        struct http_request *request = *state;

        (void)user, (void)connection, (void)url, (void)version;
        if (!request)
                return MHD_NO; /* out of memory */
        if (!request->has_begun) {
                request_begin(request, method);
                /* Refused before the body: answered at once, and the connection is closed. */
                return request->answer.status && has_body(request) ? send_answer(request) : MHD_YES;
        }
        if (*upload_data_size > 0) {
                take_body(request, upload_data, *upload_data_size);
                *upload_data_size = 0;
                return MHD_YES;
        }
        return dispatch(request);
}

static void close_when_idle(struct aip_http_server *s);

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
        struct aip_http_server *s = user;
        struct http_request *request = *state;

        (void)connection;
        (void)code;
        if (!request)
                return;
        set_waiting(request, aip_now_ms(s->options.loop));
        free_request(request);
        *state = NULL;
        if (s->closing)
                close_when_idle(s);
}

/* ── connections, and clients that are too slow ──────────────────────────────────────────────── */

static void on_connection(void *user, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
        struct aip_http_server *s = user;
        const union MHD_ConnectionInfo *info;
        struct connection *c = *context;

        if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
                /* At its limit libmicrohttpd stops watching the listening socket, and watches it
                 * again only when it is run once more, for which nothing else may give a reason. */
                if (s->n_connections-- >= s->options.max_connections)
                        aip_defer(s->options.loop, &s->run_task);
                if (c)
                        aip_list_remove(&c->link);
                aip_free(c);
                *context = NULL;
                return;
        }
        s->n_connections++;
        info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        c = info ? aip_calloc(1, sizeof(*c)) : NULL;
        if (!c)
                return; /* it is still bound by libmicrohttpd's own time-out */
        c->fd = info->connect_fd;
        c->since_ms = aip_now_ms(s->options.loop);
        aip_list_append(&s->connections, &c->link);
        *context = c;
}

static int has_gone(const struct http_request *request)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        char byte;
        ssize_t n = info ? recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) : 1;

        return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static void drop_slow(struct aip_http_server *s)
{
        int64_t now_ms = aip_now_ms(s->options.loop);
        int is_over = s->closing && now_ms > s->closing->deadline_ms;
        int64_t oldest_ms = now_ms - s->options.request_timeout_ms;

        AIP_LIST_FOREACH (node, &s->connections) {
                struct connection *c = AIP_LIST_ENTRY(node, struct connection, link);

                /* libmicrohttpd sees the end of the stream and closes the connection. */
                if (is_over || (c->since_ms != 0 && c->since_ms < oldest_ms))
                        shutdown(c->fd, SHUT_RDWR);
        }
}

static void on_slow_timer(struct aip_timer *timer)
{
        struct aip_http_server *s = AIP_CONTAINER_OF(timer, struct aip_http_server, slow_timer);

        drop_slow(s);
        AIP_LIST_FOREACH (node, &s->requests) {
                struct http_request *request = AIP_LIST_ENTRY(node, struct http_request, link);

                if (request->is_suspended && request->hurry && has_gone(request))
                        request->hurry(request);
        }
        aip_timer_set(s->options.loop, &s->slow_timer, WATCH_EVERY_MS);
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

static AIP_PRINTF(2, 0) void on_error_log(void *user, const char *format, va_list arguments)
{
        struct aip_http_server *s = user;
        char text[512];

        vsnprintf(text, sizeof(text), format, arguments);
        text[strcspn(text, "\n")] = '\0';
        aip_log_write(s->options.log, AIP_LOG_DEBUG, "http", "%s", text);
}

static int bind_socket(const struct addrinfo *address)
{
        int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;

        if (fd < 0)
                return -1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
                return fd;
        int reason = errno;

        close(fd);
        errno = reason;
        return -1;
}

static int listen_on(const char *host, int32_t port, int *ret_fd, aip_error **err)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
        char service[16];
        int r, fd = -1;

        snprintf(service, sizeof(service), "%d", port);
        r = getaddrinfo(host, service, &hints, &found);
        if (r != 0)
                return aip_error_set(err, AIP_EINVAL, "cannot listen on %s: %s", host,
                                     gai_strerror(r));
        for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
                fd = bind_socket(a);
        r = errno;
        freeaddrinfo(found);
        if (fd < 0)
                return aip_error_set(err, AIP_EIO, "cannot listen on %s port %d: %s", host, port,
                                     strerror(r));
        *ret_fd = fd;
        return 0;
}

static int port_of(int fd)
{
        struct sockaddr_storage address;
        socklen_t bytes = sizeof(address);
        char service[16] = "0";

        if (getsockname(fd, (struct sockaddr *)&address, &bytes) == 0)
                getnameinfo((struct sockaddr *)&address, bytes, NULL, 0, service, sizeof(service),
                            NI_NUMERICSERV);
        return atoi(service);
}

static struct MHD_Daemon *start_daemon(struct aip_http_server *s, int fd)
{
        const struct aip_http_server_options *o = &s->options;

        return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
                                NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_error_log,
                                s, MHD_OPTION_URI_LOG_CALLBACK, request_new, s,
                                MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
                                on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
                                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
                                MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->max_connections,
                                MHD_OPTION_CONNECTION_TIMEOUT,
                                (unsigned)((o->request_timeout_ms + 999) / 1000), MHD_OPTION_END);
}

static int start(struct aip_http_server *s, aip_error **err)
{
        const union MHD_DaemonInfo *info;
        int fd = -1, r = listen_on(s->options.host, s->options.port, &fd, err);

        if (r < 0)
                return r;
        s->port = port_of(fd);
        s->daemon = start_daemon(s, fd);
        if (!s->daemon) {
                close(fd);
                return aip_error_set(err, AIP_EIO, "the HTTP server cannot be started: %s",
                                     strerror(errno));
        }
        info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        s->watch.fd = info->epoll_fd;
        r = aip_watch_set(s->options.loop, &s->watch, AIP_READABLE, err);
        if (r < 0)
                MHD_stop_daemon(s->daemon);
        return r;
}

static void write_metrics(struct aip_metrics_source *source, struct aip_metrics_writer *w)
{
        struct aip_http_server *s = AIP_CONTAINER_OF(source, struct aip_http_server, metrics);

        http_request_metrics_write(&s->request_metrics, w);
        aip_metrics_one(w, "aiplat_http_requests_in_flight", AIP_METRICS_GAUGE,
                        "Requests that are not wholly answered, those that wait included.",
                        (int64_t)s->n_requests);
        aip_metrics_one(w, "aiplat_http_connections", AIP_METRICS_GAUGE, "Connections of clients.",
                        s->n_connections);
        aip_metrics_one(w, "aiplat_http_connections_max", AIP_METRICS_GAUGE,
                        "Connections of clients that may be there at once.",
                        s->options.max_connections);
        aip_metrics_one(w, "aiplat_http_held_bytes", AIP_METRICS_GAUGE,
                        "Bodies of requests and answers in memory.", (int64_t)s->held_bytes);
}

int aip_http_server_new(const struct aip_http_server_options *options, aip_http_server **ret_server,
                        aip_error **err)
{
        struct aip_http_server *s = aip_calloc(1, sizeof(*s));
        int r;

        if (!s)
                return aip_error_set_nomem(err);
        s->options = *options;
        if (s->options.max_wait_ms <= 0)
                s->options.max_wait_ms = 60000;
        s->watch.ready = on_ready;
        s->timer.fire = on_timer;
        s->run_task.run = on_task;
        s->turn_task.run = on_turn;
        s->slow_timer.fire = on_slow_timer;
        aip_list_init(&s->requests);
        aip_list_init(&s->for_next_turn);
        aip_list_init(&s->connections);
        if (http_request_metrics_init(&s->request_metrics) < 0) {
                aip_free(s);
                return aip_error_set_nomem(err);
        }
        if ((r = start(s, err)) < 0) {
                http_request_metrics_deinit(&s->request_metrics);
                aip_free(s);
                return r;
        }
        s->metrics.write = write_metrics;
        if (!s->options.is_monitor)
                aip_metrics_add(s->options.metrics, &s->metrics);
        aip_timer_set(s->options.loop, &s->slow_timer, WATCH_EVERY_MS);
        *ret_server = s;
        return 0;
}

int32_t aip_http_server_port(const aip_http_server *server)
{
        return server->port;
}

/* Idle connections do not hold the close up; requests do. Not from within libmicrohttpd's calls. */
static void finish_close(struct aip_timer *timer)
{
        struct aip_http_server *s = AIP_CONTAINER_OF(timer, struct aip_http_server, close_timer);
        struct aip_op *closing = s->closing;
        struct aip_loop loop = s->options.loop;

        if (!aip_list_is_empty(&s->requests))
                return;
        aip_watch_set(loop, &s->watch, 0, NULL);
        aip_timer_clear(loop, &s->timer);
        aip_timer_clear(loop, &s->slow_timer);
        s->closing = NULL;
        MHD_stop_daemon(s->daemon);
        aip_undefer(loop,
                    &s->run_task); /* the connections that were closed just now may ask for it */
        aip_undefer(loop, &s->turn_task);
        aip_metrics_remove(s->options.metrics, &s->metrics);
        http_request_metrics_deinit(&s->request_metrics);
        aip_free(s);
        aip_op_finish(loop, closing, NULL);
}

static void close_when_idle(struct aip_http_server *s)
{
        if (aip_list_is_empty(&s->requests))
                aip_timer_set(s->options.loop, &s->close_timer, 0);
}

void aip_http_server_close(aip_http_server *s, struct aip_op *op)
{
        MHD_socket listening = MHD_quiesce_daemon(s->daemon);

        if (listening != MHD_INVALID_SOCKET)
                close(listening);
        s->closing = op;
        s->close_timer.fire = finish_close;
        AIP_LIST_FOREACH (node, &s->requests) {
                struct http_request *request = AIP_LIST_ENTRY(node, struct http_request, link);

                if (request->is_suspended && request->hurry)
                        request->hurry(request);
        }
        close_when_idle(s);
}
