/*
 * One MCP server (see mcp_server.h). A call that comes while there is no connection waits for the next attempt,
 * which it brings forward, and fails with it. What the server last listed stays in the registry while it
 * is away. It must never trust what a server sends: names, schemas and sizes are checked.
 *
 *     DOWN ──► INITIALIZING ──► LISTING ──► UP ◄──► LISTING again (the list has changed)
 *      ▲            │              │         │
 *      └── pause ◄──┴──────────────┴─────────┘  on_down
 */
#include "tools/mcp_server.h"
#include "macros.h"
#include "mem.h"
#include "tools/mcp_message.h"
#include "trouble.h"
#include <ctype.h>
#include <stdio.h>

#define CONNECT_MS     30000 /* from open to UP */
#define PAUSE_MIN_MS   1000
#define PAUSE_MAX_MS   60000
#define PAGES_MAX      100
#define TOOLS_MAX      1000
#define CALL_TRIES_MAX 2
#define COMPONENT      "mcp"

enum state { DOWN = 0, INITIALIZING, LISTING, UP, LEAVING, CLOSED };

struct mcp_server {
        struct mcp_host host;
        struct mcp_server_options options;
        struct aip_loop loop;
        char *name;
        struct mcp_transport transport;
        enum state state;
        int is_open, is_closing, was_tried;
        int is_relisting;         /* UP all the same: calls go on */
        int has_changed;          /* the list, while it was read */
        int64_t last_id, list_id; /* of the request whose answer goes on with the connection */
        aip_value *listed;        /* so far */
        size_t n_pages;
        struct aip_list waiting, sent; /* calls */
        struct aip_timer timer;        /* DOWN: the next attempt; before UP: its end */
        int64_t pause_ms, tried_ms;
        struct aip_task closed_task;
        aip_error *why; /* it is being left */
        struct aip_trouble trouble;
};

/* What the registry has for a tool of a server. */
struct mcp_tool {
        struct mcp_server *server;
        char name[]; /* the server's */
};

struct mcp_call {
        struct aip_tool_call *call;
        struct mcp_server *server;
        struct mcp_tool *tool;
        int64_t id; /* 0 while it waits */
        int tries;
        struct aip_list link;
};

static void connect_soon(struct mcp_server *server);

static int fail_set(aip_error **err, int code, const char *kind, const char *name, const char *why)
{
        int r = aip_error_set(err, code, "MCP server %s: %s", name, why);

        if (err && r != AIP_ENOMEM) {
                aip_error_set_kind(*err, kind);
                aip_error_set_retryable(*err, code == AIP_EUNAVAILABLE || code == AIP_ETIMEOUT, 0);
        }
        return r;
}

/* ── calls ───────────────────────────────────────────────────────────────────────────────────── */

/* Consumes `c` and `err`. */
static void end_call(struct mcp_call *c, aip_error *err)
{
        struct aip_tool_call *call = c->call;
        struct aip_loop loop = c->server->loop;

        aip_list_remove(&c->link);
        aip_timer_clear(loop, &call->timer);
        call->impl = NULL;
        aip_free(c);
        aip_op_finish(loop, &call->op, err);
}

static void end_call_because(struct mcp_call *c, int code, const char *kind, const char *why)
{
        aip_error *err = NULL;

        fail_set(&err, code, kind, c->server->name, why);
        end_call(c, err);
}

static void end_calls(struct mcp_server *server, struct aip_list *calls, const char *why)
{
        struct aip_list *node;

        while ((node = aip_list_first(calls)))
                end_call_because(AIP_LIST_ENTRY(node, struct mcp_call, link), AIP_EUNAVAILABLE,
                                 "tool_unreachable", why);
        (void)server;
}

static int send_request(struct mcp_server *server, const char *method, aip_value *params,
                        int64_t timeout_ms, int64_t *ret_id, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf json = AIP_BUF_INIT(MCP_MESSAGE_MAX_BYTES);
        int64_t id = ++server->last_id;
        int r = params ? mcp_print_request(&json, id, method, params) : AIP_ENOMEM;

        if (r == AIP_ELIMIT)
                return aip_error_set(err, AIP_ELIMIT, "MCP server %s: the request is too large",
                                     server->name);
        if (r < 0)
                return aip_error_set_nomem(err);
        if ((r = server->transport.ops->send(server->transport.self, aip_buf_str(&json), id,
                                             timeout_ms, err)) == 0)
                *ret_id = id;
        return r;
}

/* Nobody waits for an answer, so nobody is told of a failure: if the connection is gone, on_down comes. */
static void send_notification(struct mcp_server *server, const char *method, aip_value *params)
{
        _cleanup_(aip_buf_deinit) struct aip_buf json = AIP_BUF_INIT(MCP_MESSAGE_MAX_BYTES);

        if (mcp_print_notification(&json, method, params) == 0)
                (void)server->transport.ops->send(server->transport.self, aip_buf_str(&json), 0,
                                                  server->options.timeout_ms, NULL);
}

static void send_call(struct mcp_call *c)
{
        struct mcp_server *server = c->server;
        aip_error *err = NULL;
        int64_t timeout_ms = c->call->timer.due_ms - aip_now_ms(server->loop);

        aip_list_remove(&c->link);
        c->tries++;
        if (send_request(server, "tools/call",
                         mcp_call_params(aip_str_of(c->tool->name), c->call->arguments),
                         AIP_MAX(timeout_ms, (int64_t)1) + 1000, &c->id, &err) < 0)
                end_call(c, err);
        else
                aip_list_append(&server->sent, &c->link);
}

static void abandon(struct mcp_call *c, const char *reason)
{
        struct mcp_server *server = c->server;

        if (c->id == 0)
                return;
        send_notification(server, "notifications/cancelled", mcp_cancel_params(c->id, reason));
        server->transport.ops->forget(server->transport.self, c->id);
}

static void call_timed_out(struct aip_timer *timer)
{
        struct aip_tool_call *call = AIP_CONTAINER_OF(timer, struct aip_tool_call, timer);
        struct mcp_call *c = call->impl;

        abandon(c, "no answer in time");
        end_call_because(c, AIP_ETIMEOUT, "tool_timeout", "no answer in time");
}

static void tool_call(void *self, struct aip_tool_call *call)
{
        struct mcp_tool *tool = self;
        struct mcp_server *server = tool->server;
        struct mcp_call *c = aip_calloc(1, sizeof(*c));
        int64_t left_ms = server->options.timeout_ms;
        aip_error *err = NULL;

        call->impl = c;
        if (!c || server->is_closing) {
                call->impl = NULL;
                aip_free(c);
                fail_set(&err, c ? AIP_EUNAVAILABLE : AIP_ENOMEM, "tool_unreachable", server->name,
                         "is being left");
                aip_op_finish(server->loop, &call->op, err);
                return;
        }
        *c = (struct mcp_call){.call = call, .server = server, .tool = tool};
        if (call->op.deadline_ms)
                left_ms = AIP_MIN(left_ms, call->op.deadline_ms - aip_now_ms(server->loop));
        call->timer = (struct aip_timer){.fire = call_timed_out};
        aip_timer_set(server->loop, &call->timer, AIP_MAX(left_ms, (int64_t)0));
        aip_list_append(&server->waiting, &c->link);
        if (server->state == UP || (server->state == LISTING && server->is_relisting))
                send_call(c);
        else if (server->state == DOWN)
                connect_soon(server);
}

static void tool_cancel(void *self, struct aip_tool_call *call)
{
        struct mcp_call *c = call->impl;

        (void)self;
        if (!c)
                return;
        abandon(c, "cancelled");
        end_call_because(c, AIP_ECANCELLED, "cancelled", "the call was cancelled");
}

static void tool_free(void *self)
{
        aip_free(self);
}

static const struct aip_tool_ops tool_ops = {sizeof(tool_ops), tool_call, tool_cancel, tool_free};

static struct mcp_call *find_sent(struct mcp_server *server, int64_t id)
{
        AIP_LIST_FOREACH (node, &server->sent) {
                struct mcp_call *c = AIP_LIST_ENTRY(node, struct mcp_call, link);
                if (c->id == id)
                        return c;
        }
        return NULL;
}

/* A refusal of the protocol (no such tool, wrong arguments) is for the model to read. */
static void take_answer(struct mcp_call *c, const aip_value *message)
{
        const aip_value *error = aip_value_get_cstr(message, "error");
        const aip_value *result = aip_value_get_cstr(message, "result");
        aip_error *err = NULL;
        aip_value *content;

        if (!error && aip_value_type(result) != AIP_VALUE_OBJECT) {
                end_call_because(c, AIP_EUPSTREAM, "tool_bad_answer", "the answer has no result");
                return;
        }
        content = error ? aip_value_ref(aip_value_get_cstr(error, "message"))
                        : mcp_call_content(result);
        if (!content && !(content = aip_value_string(AIP_STR("the server refused the call"))))
                aip_error_set_nomem(&err);
        if (!err) {
                c->call->ret_content = content;
                c->call->ret_is_error =
                        error || aip_value_as_bool(aip_value_get_cstr(result, "isError"), 0);
        }
        end_call(c, err);
}

/* ── tools ───────────────────────────────────────────────────────────────────────────────────── */

/* "SERVER__TOOL", of characters that models' providers let names have. */
static int append_shown_name(const struct mcp_server *server, struct aip_str tool,
                             struct aip_buf *out)
{
        int r = aip_buf_printf(out, "%s__", server->name);

        for (size_t i = 0; r == 0 && i < tool.n; i++) {
                unsigned char c = (unsigned char)tool.p[i];
                r = aip_buf_append_char(out, c < 0x80 && (isalnum(c) || c == '-') ? (char)c : '_');
        }
        return r;
}

static int add_tool(struct mcp_server *server, const aip_value *listed, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf shown = AIP_BUF_INIT(AIP_TOOL_NAME_MAX_BYTES);
        struct aip_str name = aip_value_as_string(aip_value_get_cstr(listed, "name"));
        struct aip_tool_options options = {.self_size = sizeof(options)};
        struct mcp_tool *tool;
        int r = name.n > 0 && !memchr(name.p, '\0', name.n)
                        ? append_shown_name(server, name, &shown)
                        : AIP_EINVAL;

        if (r == AIP_ENOMEM || !(tool = aip_calloc(1, sizeof(*tool) + name.n + 1)))
                return aip_error_set_nomem(err);
        tool->server = server;
        memcpy(tool->name, name.p ? name.p : "", name.n);
        options.name = aip_buf_str(&shown);
        options.group = aip_str_of(server->name);
        options.description = aip_value_as_string(aip_value_get_cstr(listed, "description"));
        options.parameters = aip_value_get_cstr(listed, "inputSchema");
        options.tool = (struct aip_tool){&tool_ops, tool};
        if (r == 0)
                r = aip_tool_registry_add(server->options.registry, &options, NULL);
        if (r == AIP_EINVAL && shown.n > 0) {
                /* A schema with words that we do not know: the server checks by itself. */
                options.is_unchecked = 1;
                r = aip_tool_registry_add(server->options.registry, &options, NULL);
        }
        if (r == 0)
                return 0;
        aip_free(tool);
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        aip_log_write(server->options.transport.log, AIP_LOG_WARNING, COMPONENT,
                      "server %s: its tool \"%.*s\" is left out: %s", server->name,
                      (int)AIP_MIN(name.n, (size_t)100), name.p ? name.p : "",
                      r == AIP_ECONFLICT
                              ? "another one has the same name here"
                              : "its name is missing, or too long, or its schema is no object");
        return 0;
}

static int register_tools(struct mcp_server *server, aip_error **err)
{
        size_t n = aip_value_size(server->listed);
        int r = 0;

        aip_tool_registry_remove_group(server->options.registry, aip_str_of(server->name));
        for (size_t i = 0; r == 0 && i < n; i++)
                r = add_tool(server, aip_value_at(server->listed, i), err);
        return r;
}

/* ── connecting ──────────────────────────────────────────────────────────────────────────────── */

static void tell_tried(struct mcp_server *server)
{
        if (server->was_tried)
                return;
        server->was_tried = 1;
        server->options.tried(server->options.user);
}

/* The attempt has failed, or the connection; consumes `err`. */
static void went_down(struct mcp_server *server, aip_error *err)
{
        int64_t now = aip_now_ms(server->loop);

        server->state = DOWN;
        server->is_open = server->is_relisting = 0;
        server->list_id = 0;
        aip_value_unref(AIP_TAKE(server->listed));
        end_calls(server, &server->sent, aip_error_message(err));
        end_calls(server, &server->waiting, aip_error_message(err));
        if (server->is_closing) {
                server->state = CLOSED;
                aip_timer_clear(server->loop, &server->timer);
                aip_defer(server->loop, &server->closed_task);
        } else {
                aip_trouble_occurred(&server->trouble, server->options.transport.log, COMPONENT,
                                     now, server->name, aip_error_message(err));
                aip_timer_set(server->loop, &server->timer, server->pause_ms);
                server->pause_ms = AIP_MIN(server->pause_ms * 2, (int64_t)PAUSE_MAX_MS);
        }
        aip_error_free(err);
        tell_tried(server);
}

/* Give the connection up; the transport says when it is gone. Consumes `err`. */
static void give_up(struct mcp_server *server, aip_error *err)
{
        if (!server->is_open) {
                went_down(server, err);
                return;
        }
        server->state = LEAVING;
        server->list_id = 0;
        aip_timer_clear(server->loop, &server->timer);
        aip_error_free(server->why);
        server->why = err;
        server->transport.ops->close(server->transport.self);
}

static void give_up_because(struct mcp_server *server, const char *why)
{
        aip_error *err = NULL;

        fail_set(&err, AIP_EUNAVAILABLE, "tool_unreachable", server->name, why);
        give_up(server, err);
}

static void begin_session(struct mcp_server *server)
{
        aip_error *err = NULL;

        server->state = INITIALIZING;
        server->is_relisting = 0;
        aip_timer_set(server->loop, &server->timer, CONNECT_MS);
        if (send_request(server, "initialize", mcp_initialize_params(), CONNECT_MS,
                         &server->list_id, &err) < 0)
                give_up(server, err);
}

static void connect_now(struct mcp_server *server)
{
        aip_error *err = NULL;

        server->tried_ms = aip_now_ms(server->loop);
        if (server->transport.ops->open(server->transport.self, &err) < 0) {
                went_down(server, err);
                return;
        }
        server->is_open = 1;
        begin_session(server);
}

static void timer_fired(struct aip_timer *timer)
{
        struct mcp_server *server = AIP_CONTAINER_OF(timer, struct mcp_server, timer);

        if (server->state == DOWN)
                connect_now(server);
        else
                give_up_because(server, "it did not list its tools in time");
}

/* Somebody calls a tool: do not sit out the whole pause. */
static void connect_soon(struct mcp_server *server)
{
        int64_t due_ms = server->tried_ms + PAUSE_MIN_MS - aip_now_ms(server->loop);

        aip_timer_set(server->loop, &server->timer, AIP_MAX(due_ms, (int64_t)0));
}

static void list_tools(struct mcp_server *server, struct aip_str cursor)
{
        aip_error *err = NULL;

        if (send_request(server, "tools/list", mcp_list_params(cursor), CONNECT_MS,
                         &server->list_id, &err) < 0)
                give_up(server, err);
}

static void begin_list(struct mcp_server *server)
{
        server->state = LISTING;
        server->n_pages = 0;
        aip_value_unref(server->listed);
        server->listed = aip_value_list();
        aip_timer_set(server->loop, &server->timer, CONNECT_MS);
        if (server->listed)
                list_tools(server, (struct aip_str){NULL, 0});
        else
                give_up_because(server, "out of memory");
}

static void initialized(struct mcp_server *server, const aip_value *result)
{
        struct aip_str version = aip_value_as_string(aip_value_get_cstr(result, "protocolVersion"));

        if (!mcp_is_version_known(version)) {
                give_up_because(server, "it speaks no revision of the protocol that we do");
                return;
        }
        server->transport.ops->agreed(server->transport.self, version);
        send_notification(server, "notifications/initialized", NULL);
        begin_list(server);
}

static void came_up(struct mcp_server *server)
{
        aip_error *err = NULL;
        struct aip_list *node;

        if (register_tools(server, &err) < 0) {
                give_up(server, err);
                return;
        }
        aip_timer_clear(server->loop, &server->timer);
        aip_log_write(server->options.transport.log, AIP_LOG_INFO, COMPONENT,
                      "server %s: %zu tools", server->name, aip_value_size(server->listed));
        aip_trouble_over(&server->trouble, server->options.transport.log, COMPONENT, server->name);
        aip_value_unref(AIP_TAKE(server->listed));
        server->state = UP;
        server->is_relisting = 0;
        server->pause_ms = PAUSE_MIN_MS;
        while ((node = aip_list_first(&server->waiting)))
                send_call(AIP_LIST_ENTRY(node, struct mcp_call, link));
        tell_tried(server);
        if (server->has_changed) {
                server->has_changed = 0;
                server->is_relisting = 1;
                begin_list(server);
        }
}

static void page_listed(struct mcp_server *server, const aip_value *result)
{
        const aip_value *tools = aip_value_get_cstr(result, "tools");
        struct aip_str cursor = aip_value_as_string(aip_value_get_cstr(result, "nextCursor"));

        for (size_t i = 0; i < aip_value_size(tools); i++) {
                if (aip_value_list_append(&server->listed, aip_value_ref(aip_value_at(tools, i))) <
                    0) {
                        give_up_because(server, "out of memory");
                        return;
                }
        }
        if (aip_value_size(server->listed) > TOOLS_MAX || ++server->n_pages > PAGES_MAX)
                give_up_because(server, "it lists more than 1000 tools, or 100 pages");
        else if (cursor.p)
                list_tools(server, cursor);
        else
                came_up(server);
}

/* ── what the server says ────────────────────────────────────────────────────────────────────── */

static void take_connection_answer(struct mcp_server *server, const aip_value *message)
{
        const aip_value *result = aip_value_get_cstr(message, "result");
        const aip_value *error = aip_value_get_cstr(message, "error");

        server->list_id = 0;
        if (aip_value_type(result) != AIP_VALUE_OBJECT) {
                struct aip_str why = aip_value_as_string(aip_value_get_cstr(error, "message"));
                char text[256];
                snprintf(text, sizeof(text), "it refused to begin: %.*s",
                         (int)AIP_MIN(why.n, (size_t)200), why.p ? why.p : "no result");
                give_up_because(server, text);
        } else if (server->state == INITIALIZING) {
                initialized(server, result);
        } else {
                page_listed(server, result);
        }
}

/* We offer nothing that a server could ask for, but a ping is always answered. */
static void answer_request(struct mcp_server *server, const aip_value *id, struct aip_str method)
{
        _cleanup_(aip_buf_deinit) struct aip_buf json = AIP_BUF_INIT(64 * 1024);
        int is_ping = aip_str_eq(method, AIP_STR("ping"));

        if (mcp_print_answer(&json, id, is_ping ? aip_value_object() : NULL) == 0)
                (void)server->transport.ops->send(server->transport.self, aip_buf_str(&json), 0,
                                                  server->options.timeout_ms, NULL);
}

static void take_notification(struct mcp_server *server, struct aip_str method)
{
        if (!aip_str_eq(method, AIP_STR("notifications/tools/list_changed")))
                return;
        server->has_changed = server->state == LISTING;
        if (server->state == UP) {
                server->is_relisting = 1;
                begin_list(server);
        }
}

static void on_message(struct mcp_host *host, const aip_value *message)
{
        struct mcp_server *server = AIP_CONTAINER_OF(host, struct mcp_server, host);
        struct aip_str method = aip_value_as_string(aip_value_get_cstr(message, "method"));
        const aip_value *id = aip_value_get_cstr(message, "id");
        int64_t number = aip_value_as_int(id, 0);
        struct mcp_call *c;

        if (!server->is_open || server->is_closing)
                return;
        if (method.p && id)
                answer_request(server, id, method);
        else if (method.p)
                take_notification(server, method);
        else if (number > 0 && number == server->list_id)
                take_connection_answer(server, message);
        else if (number > 0 && (c = find_sent(server, number)))
                take_answer(c, message);
}

static void wait_again(struct mcp_call *c)
{
        c->id = 0;
        aip_list_remove(&c->link);
        aip_list_append(&c->server->waiting, &c->link);
}

/* Unless that is under way. */
static void renew_session(struct mcp_server *server)
{
        if (server->state == UP || (server->state == LISTING && server->is_relisting))
                begin_session(server);
}

/* AIP_ESTATE: the server does not know our session any more, so it has not looked at the request. */
static void on_failed(struct mcp_host *host, int64_t id, aip_error *err)
{
        struct mcp_server *server = AIP_CONTAINER_OF(host, struct mcp_server, host);
        struct mcp_call *c = find_sent(server, id);
        int is_over;

        if (id == server->list_id) {
                server->list_id = 0;
                give_up(server, err);
        } else if (!c) {
                aip_error_free(err);
        } else if (aip_error_code(err) == AIP_ESTATE && c->tries < CALL_TRIES_MAX) {
                aip_error_free(err);
                wait_again(c);
                renew_session(server);
        } else {
                is_over = aip_error_code(err) == AIP_ESTATE;
                end_call(c, err);
                if (is_over)
                        renew_session(server);
        }
}

/* Calls that were sent may have been carried out: they fail. */
static void on_down(struct mcp_host *host, aip_error *err)
{
        struct mcp_server *server = AIP_CONTAINER_OF(host, struct mcp_server, host);

        if (server->why) { /* we left it */
                aip_error_free(err);
                err = AIP_TAKE(server->why);
        }
        went_down(server, err);
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

static void closed_task_run(struct aip_task *task)
{
        struct mcp_server *server = AIP_CONTAINER_OF(task, struct mcp_server, closed_task);

        server->options.closed(server->options.user);
}

static int check_members(const aip_value *spec, aip_error **err)
{
        static const char *const known[] = {"command", "env", "url", "headers", "timeout_ms"};
        int has_url = aip_value_get_cstr(spec, "url") != NULL;

        for (size_t i = 0; i < aip_value_size(spec); i++) {
                struct aip_str name;
                size_t k = 0;
                (void)aip_value_member(spec, i, &name);
                while (k < AIP_ARRAY_SIZE(known) && !aip_str_eq(aip_str_of(known[k]), name))
                        k++;
                if (k == AIP_ARRAY_SIZE(known) || (has_url ? k < 2 : k == 3))
                        return aip_error_set(err, AIP_EINVAL, "%.*s: does not belong here",
                                             AIP_STR_ARG(name));
        }
        return 0;
}

static int make_transport(struct mcp_server *server, const aip_value *spec, aip_error **err)
{
        struct mcp_transport_options options = server->options.transport;
        const aip_value *url = aip_value_get_cstr(spec, "url");
        int64_t timeout_ms = aip_value_as_int(aip_value_get_cstr(spec, "timeout_ms"),
                                              server->options.timeout_ms);
        int r = check_members(spec, err);

        if (r < 0)
                return r;
        if (timeout_ms < 1 || timeout_ms > 3600000)
                return aip_error_set(err, AIP_EINVAL,
                                     "timeout_ms: must be a whole number from 1 to 3600000");
        server->options.timeout_ms = timeout_ms;
        options.name = server->name;
        options.host = &server->host;
        return url ? mcp_http_new(&options, aip_value_as_string(url),
                                  aip_value_get_cstr(spec, "headers"), &server->transport, err)
                   : mcp_stdio_new(&options, aip_value_get_cstr(spec, "command"),
                                   aip_value_get_cstr(spec, "env"), &server->transport, err);
}

int mcp_server_new(const struct mcp_server_options *options, const aip_value *spec,
                   struct mcp_server **ret_server, aip_error **err)
{
        struct mcp_server *server = aip_calloc(1, sizeof(*server));
        int r;

        if (!server || !(server->name = aip_strdup(options->transport.name))) {
                aip_free(server);
                return aip_error_set_nomem(err);
        }
        server->options = *options;
        server->options.transport.name = server->name;
        server->loop = options->transport.loop;
        server->host = (struct mcp_host){on_message, on_failed, on_down};
        server->timer.fire = timer_fired;
        server->closed_task.run = closed_task_run;
        server->pause_ms = PAUSE_MIN_MS;
        aip_list_init(&server->waiting);
        aip_list_init(&server->sent);
        if ((r = make_transport(server, spec, err)) < 0)
                mcp_server_free(server);
        else
                *ret_server = server;
        return r;
}

void mcp_server_start(struct mcp_server *server)
{
        aip_timer_set(server->loop, &server->timer, 0);
}

void mcp_server_close(struct mcp_server *server)
{
        aip_error *err = NULL;

        if (server->is_closing)
                return;
        server->is_closing = 1;
        end_calls(server, &server->sent, "is being left");
        end_calls(server, &server->waiting, "is being left");
        fail_set(&err, AIP_ECANCELLED, "cancelled", server->name, "is being left");
        give_up(server, err);
}

void mcp_server_free(struct mcp_server *server)
{
        if (!server)
                return;
        aip_timer_clear(server->loop, &server->timer);
        aip_undefer(server->loop, &server->closed_task);
        if (server->transport.ops)
                server->transport.ops->free(server->transport.self);
        aip_value_unref(server->listed);
        aip_free(server->name);
        aip_free(server);
}
