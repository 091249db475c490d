/*
 * An MCP server behind a URL: "streamable HTTP" (see mcp_transport.h). Each message is a POST; what it is answered
 * with is nothing, one message, or a stream of events that ends with the answer. The session that
 * a server gives us goes with every later request, and is deleted when we leave. Of the protocol, what
 * is optional is left out: a stream that only listens, and resuming one that broke.
 */
#include "llm/http_client.h"
#include "llm/provider_error.h"
#include "llm/sse_parser.h"
#include "macros.h"
#include "mem.h"
#include "tools/mcp_transport.h"
#include "tools/tool_error.h"
#include <strings.h>

#define SESSION_MAX_BYTES 1024
#define TOLD_MAX_BYTES    500
#define LEAVE_MS          2000

struct mcp_http {
        struct mcp_transport_options options;
        char *label, *url;
        struct tool_headers headers;
        char *session; /* or NULL */
        unsigned
                n_sessions; /* that there were: a late refusal of an old one says nothing of the new */
        char version[16]; /* agreed on; "": not yet */
        struct aip_list exchanges;
        int is_open;
        aip_error *why; /* it is being left */
        struct aip_task down_task;
};

/* One message of ours and what comes back. */
struct exchange {
        struct mcp_http *t;
        struct mcp_host tap; /* looks at messages on their way to the host */
        int64_t id;
        unsigned session; /* that it went out with; 0: none */
        struct aip_http_request request;
        struct aip_buf body, arrived;
        struct aip_buf values[TOOL_HEADERS_MAX];
        struct aip_http_header headers[TOOL_HEADERS_MAX + 5];
        struct aip_sse_parser parser;
        struct aip_task task; /* to look at what has arrived */
        int is_stream, is_answered;
        int is_busy,
                is_dropped; /* in the middle of handing out messages; nobody wants it any more */
        struct aip_list link;
};

static void exchange_free(struct exchange *e)
{
        aip_undefer(e->t->options.loop, &e->task);
        aip_list_remove(&e->link);
        aip_buf_deinit(&e->body);
        aip_buf_deinit(&e->arrived);
        for (size_t i = 0; i < TOOL_HEADERS_MAX; i++)
                aip_buf_deinit(&e->values[i]);
        aip_sse_parser_deinit(&e->parser);
        aip_free(e);
}
AIP_DEFINE_CLEANUP(struct exchange *, exchange_free);

/* Its request is on its way. */
static void drop(struct exchange *e)
{
        if (e->is_busy) {
                e->is_dropped = 1;
                return;
        }
        aip_http_cancel(&e->request);
        exchange_free(e);
}

/* ── what comes back ─────────────────────────────────────────────────────────────────────────── */

static void tap_message(struct mcp_host *tap, const aip_value *message)
{
        struct exchange *e = AIP_CONTAINER_OF(tap, struct exchange, tap);
        struct mcp_host *host = e->t->options.host;

        if (e->is_dropped)
                return;
        if (!aip_value_get_cstr(message, "method") && e->id &&
            aip_value_as_int(aip_value_get_cstr(message, "id"), 0) == e->id)
                e->is_answered = 1;
        host->on_message(host, message);
}

static int take_event(void *user, const struct aip_sse_event *event)
{
        struct exchange *e = user;
        aip_error *err = NULL;

        if (mcp_take_text(&e->tap, event->data, &err) < 0)
                aip_log_write(e->t->options.log, AIP_LOG_DEBUG, "mcp", "server %s: %s",
                              e->t->options.name, aip_error_message(err));
        aip_error_free(err);
        return e->is_dropped || e->is_answered ? AIP_ECANCELLED : 0;
}

static int is_type(const struct aip_http_response *response, const char *type)
{
        struct aip_str value = aip_http_header_find(response, "Content-Type");
        size_t n = strlen(type);

        return value.n >= n && strncasecmp(value.p, type, n) == 0;
}

/* Visible characters only. */
static int is_session(struct aip_str session)
{
        for (size_t i = 0; i < session.n; i++)
                if (session.p[i] < 0x21 || session.p[i] > 0x7e)
                        return 0;
        return session.n > 0 && session.n <= SESSION_MAX_BYTES;
}

/* Before the answer is handed out: what the host sends next needs it. */
static void take_session(struct exchange *e, const struct aip_http_response *response)
{
        struct aip_str session = aip_http_header_find(response, "Mcp-Session-Id");

        if (!e->session && !e->t->session && is_session(session))
                e->t->session = aip_str_dup(session), e->t->n_sessions++;
}

static aip_error *failure(const struct exchange *e, int code, const char *kind, const char *why)
{
        aip_error *err = NULL;

        aip_error_set(&err, code, "%s: %s", e->t->label, why);
        aip_error_set_kind(err, kind);
        aip_error_set_retryable(err, code == AIP_EUNAVAILABLE, 0);
        return err;
}

/* The session is over: the host begins another one. */
static aip_error *status_error(struct exchange *e, const struct aip_http_response *response)
{
        _cleanup_(aip_buf_deinit) struct aip_buf why = AIP_BUF_INIT(TOLD_MAX_BYTES + 64);
        int is_passing = response->status >= 500 || response->status == 429;

        if (response->status == 404 && e->session && e->id) {
                if (e->session == e->t->n_sessions) {
                        aip_free(AIP_TAKE(e->t->session));
                        e->t->version[0] = '\0';
                }
                return failure(e, AIP_ESTATE, "tool_unreachable", "the session is over");
        }
        if (aip_buf_printf(&why, "status %d: ", response->status) < 0 ||
            aip_llm_append_foreign(&why, aip_buf_str(&e->arrived), TOLD_MAX_BYTES,
                                   (struct aip_str){NULL, 0}) == AIP_ENOMEM)
                return failure(e, AIP_EUNAVAILABLE, "tool_failed", "it refused the request");
        return failure(e, is_passing ? AIP_EUNAVAILABLE : AIP_EUPSTREAM, "tool_failed", why.p);
}

/* What is left when all has arrived; NULL: the host has its answer, or none is due. */
static aip_error *take_rest(struct exchange *e, const struct aip_http_response *response)
{
        aip_error *err = NULL;

        if (response->status < 200 || response->status > 299)
                return status_error(e, response);
        take_session(e, response);
        if (e->is_stream || is_type(response, "text/event-stream")) {
                if (aip_sse_parser_feed(&e->parser, aip_buf_str(&e->arrived)) < 0 ||
                    aip_sse_parser_end(&e->parser) < 0)
                        e->is_stream = 0; /* it is answered, dropped, or not to be read any more */
        } else if (e->arrived.n > 0 && is_type(response, "application/json")) {
                if (mcp_take_text(&e->tap, aip_buf_str(&e->arrived), &err) < 0)
                        return err;
        }
        if (!e->id || e->is_answered)
                return NULL;
        return failure(e, AIP_EUNAVAILABLE, "tool_bad_answer",
                       "the answer ended without a response to the request");
}

static void fail_exchange(struct exchange *e, aip_error *err)
{
        struct mcp_host *host = e->t->options.host;
        int64_t id = e->id;

        exchange_free(e);
        if (id)
                host->on_failed(host, id, err);
        else
                aip_error_free(err);
}

static void answered(struct aip_http_request *request, const struct aip_http_response *response,
                     aip_error *err)
{
        struct exchange *e = AIP_CONTAINER_OF(request, struct exchange, request);

        aip_undefer(e->t->options.loop, &e->task);
        e->is_busy = 1;
        if (err)
                tool_error_rename(err);
        else
                err = take_rest(e, response);
        e->is_busy = 0;
        if (err && !e->is_dropped) {
                fail_exchange(e, err);
                return;
        }
        aip_error_free(err);
        exchange_free(e);
}

/* A stream is looked at while it arrives: answers need not be its end. */
static void look(struct aip_task *task)
{
        struct exchange *e = AIP_CONTAINER_OF(task, struct exchange, task);
        struct aip_http_response head;
        aip_error *err = NULL;
        int r;

        aip_http_head(&e->request, &head);
        if (head.status != 200 || !is_type(&head, "text/event-stream"))
                return;
        take_session(e, &head);
        e->is_stream = e->is_busy = 1;
        r = aip_sse_parser_feed(&e->parser, aip_buf_str(&e->arrived));
        aip_buf_clear(&e->arrived);
        e->is_busy = 0;
        if (r == 0)
                return;
        aip_http_cancel(&e->request);
        if (e->is_dropped || e->is_answered) {
                exchange_free(e);
                return;
        }
        err = failure(e, AIP_EUNAVAILABLE, "tool_bad_answer", "an event is larger than 16 MB");
        fail_exchange(e, err);
}

static int on_body(struct aip_http_request *request, struct aip_str piece)
{
        struct exchange *e = AIP_CONTAINER_OF(request, struct exchange, request);

        if (aip_buf_append(&e->arrived, piece) < 0)
                return -1;
        aip_defer(e->t->options.loop, &e->task);
        return 0;
}

/* ── what is sent ────────────────────────────────────────────────────────────────────────────── */

static void add_header(struct exchange *e, const char *name, const char *value)
{
        e->headers[e->request.n_headers++] = (struct aip_http_header){name, value};
}

static int set_headers(struct exchange *e, aip_error **err)
{
        const struct mcp_http *t = e->t;
        int r = 0;

        add_header(e, "Content-Type", "application/json");
        add_header(e, "Accept", "application/json, text/event-stream");
        if (t->session)
                add_header(e, "Mcp-Session-Id", t->session);
        if (t->version[0])
                add_header(e, "MCP-Protocol-Version", t->version);
        for (size_t i = 0; r == 0 && i < t->headers.n; i++) {
                r = tool_header_value(&t->headers.items[i], t->label, &e->values[i], err);
                if (r == 0)
                        add_header(e, t->headers.items[i].name, e->values[i].p);
        }
        return r;
}

static int start(struct exchange *e, const char *method, int64_t timeout_ms, aip_error **err)
{
        struct mcp_http *t = e->t;
        int r = set_headers(e, err);

        if (r < 0)
                return r;
        e->session = t->session ? t->n_sessions : 0;
        e->request.label = t->label;
        e->request.url = t->url;
        e->request.method = method;
        e->request.headers = e->headers;
        e->request.body = aip_buf_str(&e->body);
        e->request.timeout_ms = timeout_ms;
        e->request.max_response_bytes = MCP_MESSAGE_MAX_BYTES;
        e->request.done = answered;
        e->request.on_body = on_body;
        if ((r = aip_http_start(t->options.client, &e->request, err)) == 0)
                aip_list_append(&t->exchanges, &e->link);
        return r;
}

static struct exchange *exchange_new(struct mcp_http *t, int64_t id)
{
        struct exchange *e = aip_calloc(1, sizeof(*e));

        if (!e)
                return NULL;
        e->t = t;
        e->id = id;
        e->tap.on_message = tap_message;
        e->task.run = look;
        aip_buf_init(&e->body, MCP_MESSAGE_MAX_BYTES);
        aip_buf_init(&e->arrived, MCP_MESSAGE_MAX_BYTES);
        aip_sse_parser_init(&e->parser, MCP_MESSAGE_MAX_BYTES, take_event, e);
        return e;
}

static int http_send(void *self, struct aip_str json, int64_t id, int64_t timeout_ms,
                     aip_error **err)
{
        struct mcp_http *t = self;
        _cleanup_(exchange_free_p) struct exchange *e = exchange_new(t, id);
        int r;

        if (!t->is_open || t->why)
                return aip_error_set(err, AIP_EUNAVAILABLE, "%s: is being left", t->label);
        if (!e || aip_buf_append(&e->body, json) < 0)
                return aip_error_set_nomem(err);
        if ((r = start(e, "POST", timeout_ms, err)) == 0)
                (void)AIP_TAKE(e);
        return r;
}

static void http_forget(void *self, int64_t id)
{
        struct mcp_http *t = self;

        AIP_LIST_FOREACH (node, &t->exchanges) {
                struct exchange *e = AIP_LIST_ENTRY(node, struct exchange, link);
                if (e->id == id) {
                        drop(e);
                        return;
                }
        }
}

/* ── opening and leaving ─────────────────────────────────────────────────────────────────────── */

static int http_open(void *self, aip_error **err)
{
        struct mcp_http *t = self;

        (void)err;
        t->is_open = 1;
        return 0;
}

static void http_agreed(void *self, struct aip_str version)
{
        struct mcp_http *t = self;
        size_t n = AIP_MIN(version.n, sizeof(t->version) - 1);

        memcpy(t->version, version.p, n);
        t->version[n] = '\0';
}

static void down(struct aip_task *task)
{
        struct mcp_http *t = AIP_CONTAINER_OF(task, struct mcp_http, down_task);
        aip_error *why = AIP_TAKE(t->why);

        t->is_open = 0;
        t->version[0] = '\0';
        aip_free(AIP_TAKE(t->session));
        t->options.host->on_down(t->options.host, why);
}

/* Whatever it says to that. */
static void session_deleted(struct aip_http_request *request,
                            const struct aip_http_response *response, aip_error *err)
{
        struct exchange *e = AIP_CONTAINER_OF(request, struct exchange, request);
        struct mcp_http *t = e->t;

        (void)response;
        aip_error_free(err);
        exchange_free(e);
        aip_defer(t->options.loop, &t->down_task);
}

static int ignore_body(struct aip_http_request *request, struct aip_str piece)
{
        (void)request, (void)piece;
        return 0;
}

static int delete_session(struct mcp_http *t)
{
        _cleanup_(exchange_free_p) struct exchange *e = exchange_new(t, 0);

        if (!e || start(e, "DELETE", LEAVE_MS, NULL) < 0)
                return -1;
        e->request.done = session_deleted;
        e->request.on_body = ignore_body;
        (void)AIP_TAKE(e);
        return 0;
}

static void http_close(void *self)
{
        struct mcp_http *t = self;

        if (t->why)
                return;
        AIP_LIST_FOREACH (node, &t->exchanges)
                drop(AIP_LIST_ENTRY(node, struct exchange, link));
        aip_error_set(&t->why, AIP_ECANCELLED, "%s: was left", t->label);
        if (!t->session || delete_session(t) < 0)
                aip_defer(t->options.loop, &t->down_task);
}

static void http_free(void *self)
{
        struct mcp_http *t = self;

        tool_headers_deinit(&t->headers);
        aip_undefer(t->options.loop, &t->down_task);
        aip_free(t->label);
        aip_free(t->url);
        aip_free(t->session);
        aip_free(t);
}
AIP_DEFINE_CLEANUP(void *, http_free);

static const struct mcp_transport_ops ops = {http_open,   http_send,  http_forget,
                                             http_agreed, http_close, http_free};

int mcp_http_new(const struct mcp_transport_options *options, struct aip_str url,
                 const aip_value *headers, struct mcp_transport *ret_transport, aip_error **err)
{
        struct mcp_http *t = aip_calloc(1, sizeof(*t));
        _cleanup_(http_free_p) void *kept = t;
        _cleanup_(aip_buf_deinit) struct aip_buf label = AIP_BUF_INIT(256);
        int r;

        if (!t)
                return aip_error_set_nomem(err);
        t->options = *options;
        t->down_task.run = down;
        aip_list_init(&t->exchanges);
        if (url.n < 8 || (memcmp(url.p, "http://", 7) != 0 && memcmp(url.p, "https://", 8) != 0) ||
            memchr(url.p, '\0', url.n))
                return aip_error_set(err, AIP_EINVAL, "url: must begin with http:// or https://");
        if ((r = tool_headers_read(headers, &t->headers, err)) < 0)
                return r;
        if (aip_buf_printf(&label, "MCP server %s", options->name) < 0 ||
            !(t->label = aip_buf_take(&label)) || !(t->url = aip_str_dup(url)))
                return aip_error_set_nomem(err);
        *ret_transport = (struct mcp_transport){&ops, AIP_TAKE(kept)};
        return 0;
}
