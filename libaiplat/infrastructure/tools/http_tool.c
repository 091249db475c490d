/*
 * HTTP tools of graph documents (aiplat/adapters.h): the life of a call. What the arguments make of the URL and
 * what the answer is, goes to the model; what keeps the request from being answered is an error of the
 * call. Values of headers are read from the environment for each call; they must never get into an
 * error, a log or an answer.
 *
 *     call ──► [headers, URL, body] ──► aip_http_start ──► [answered] ──► done
 */
#include "llm/http_client.h"
#include "llm/provider_error.h"
#include "llm/provider_fault.h"
#include "macros.h"
#include "mem.h"
#include "tools/http_tool_spec.h"
#include "tools/tool_error.h"
#include "tools/tool_hosts.h"
#include "tools/tool_url.h"
#include <stdio.h>

#define BODY_MAX_BYTES   ((size_t)1024 * 1024) /* of a request */
#define URL_MAX_BYTES    ((size_t)32 * 1024)
#define TOLD_MAX_BYTES   4096 /* of an answer that is an error */
#define SECRET_MIN_BYTES 8    /* shorter ones are too likely to stand in an answer by chance */

struct aip_http_tools {
        aip_http_client *client;
        char *hosts;
};

struct http_tool {
        aip_http_client *client;
        struct http_tool_spec spec;
};

struct http_call {
        struct aip_http_request request;
        struct aip_tool_call *call;
        const struct http_tool *tool;
        struct aip_buf url, body;
        struct aip_buf values[TOOL_HEADERS_MAX]; /* of the tool's headers, prefix included */
        char traceparent[56];
        struct aip_http_header headers[TOOL_HEADERS_MAX + 3];
};

static void http_call_free(struct http_call *c)
{
        aip_buf_deinit(&c->url);
        aip_buf_deinit(&c->body);
        for (size_t i = 0; i < TOOL_HEADERS_MAX; i++)
                aip_buf_deinit(&c->values[i]);
        aip_free(c);
}
AIP_DEFINE_CLEANUP(struct http_call *, http_call_free);

/* Consumes `c` and `err`. */
static void end(struct http_call *c, aip_error *err)
{
        struct aip_tool_call *call = c->call;
        struct aip_loop loop = aip_http_client_loop(c->tool->client);

        call->impl = NULL;
        http_call_free(c);
        aip_op_finish(loop, &call->op, err);
}

/* ── the answer ──────────────────────────────────────────────────────────────────────────────── */

static int is_json(const struct aip_http_response *response)
{
        struct aip_str type = aip_http_header_find(response, "Content-Type");

        return type.n > 0 && memmem(type.p, type.n, "json", 4);
}

/* What the headers held stays with us, even if the host sends it back. */
static int append_clean(const struct http_call *c, struct aip_str text, struct aip_buf *out)
{
        int r = aip_buf_append(out, text);

        for (size_t i = 0; r == 0 && i < c->tool->spec.headers.n; i++) {
                size_t n_prefix = strlen(c->tool->spec.headers.items[i].prefix);
                struct aip_str secret = aip_buf_str(&c->values[i]);
                struct aip_buf clean = AIP_BUF_INIT(out->max_bytes);
                secret = aip_str_make(secret.p + n_prefix, secret.n - n_prefix);
                if (secret.n < SECRET_MIN_BYTES || !memmem(out->p, out->n, secret.p, secret.n))
                        continue;
                r = aip_llm_append_redacted(&clean, aip_buf_str(out), secret);
                aip_buf_deinit(out);
                *out = clean;
        }
        return r;
}

/* JSON as it reads, if it does; else the text. Nothing is null. */
static int read_body(const struct aip_http_response *response, struct aip_str text,
                     aip_value **ret_value, aip_error **err)
{
        if (text.n == 0)
                *ret_value = aip_value_null();
        else if (is_json(response) && aip_value_parse(text, ret_value, NULL) == 0)
                return 0;
        else if (aip_str_utf8_length(text) < 0 || memchr(text.p, '\0', text.n))
                return aip_error_set(err, AIP_EUPSTREAM, "the answer is neither JSON nor text");
        else
                *ret_value = aip_value_string(text);
        return *ret_value ? 0 : aip_error_set_nomem(err);
}

static int take_good(const struct http_call *c, const struct aip_http_response *response,
                     aip_error **err)
{
        /* "[redacted]" may be longer than what it stands for. */
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(c->tool->spec.max_bytes * 2);
        aip_error *cause = NULL;
        aip_value *value = NULL;
        int r = append_clean(c, response->body, &text);

        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        if (r == 0)
                r = read_body(response, aip_buf_str(&text), &value, &cause);
        if (r == 0) {
                c->call->ret_content = value;
                return 0;
        }
        r = aip_error_set(err, r, "%s: %s", c->tool->spec.label, aip_error_message(cause));
        aip_error_free(cause);
        if (err)
                aip_error_set_kind(*err, "tool_bad_answer");
        return r;
}

/* {"status": …, "body": its beginning}: for the model to do better. */
static int tell_refusal(const struct http_call *c, const struct aip_http_response *response,
                        aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text =
                AIP_BUF_INIT(c->tool->spec.max_bytes * 2 + TOLD_MAX_BYTES);
        _cleanup_(aip_buf_deinit) struct aip_buf told = AIP_BUF_INIT(TOLD_MAX_BYTES + 64);
        aip_value *value = aip_value_object();

        if (!value || append_clean(c, response->body, &text) == AIP_ENOMEM ||
            aip_llm_append_foreign(&told, aip_buf_str(&text), TOLD_MAX_BYTES,
                                   (struct aip_str){NULL, 0}) == AIP_ENOMEM ||
            aip_value_object_set_cstr(&value, "status", aip_value_int(response->status)) < 0 ||
            aip_value_object_set_cstr(&value, "body", aip_value_string(aip_buf_str(&told))) < 0) {
                aip_value_unref(value);
                return aip_error_set_nomem(err);
        }
        c->call->ret_content = value;
        c->call->ret_is_error = 1;
        return 0;
}

/* The host is there, and cannot answer now. */
static int fail_status(const struct http_call *c, const struct aip_http_response *response,
                       aip_error **err)
{
        int r = aip_error_set(err, AIP_EUNAVAILABLE, "%s: the host answered with status %d",
                              c->tool->spec.label, response->status);

        if (err && r != AIP_ENOMEM) {
                aip_error_set_kind(*err,
                                   response->status == 429 ? "tool_rate_limited" : "tool_failed");
                aip_error_set_retryable(*err, 1, aip_provider_retry_after_ms(response));
        }
        return r;
}

static void answered(struct aip_http_request *request, const struct aip_http_response *response,
                     aip_error *err)
{
        struct http_call *c = AIP_CONTAINER_OF(request, struct http_call, request);
        int32_t status = response->status;

        if (err)
                tool_error_rename(err);
        else if (status >= 200 && status < 300)
                (void)take_good(c, response, &err);
        else if (status >= 500 || status == 408 || status == 425 || status == 429)
                (void)fail_status(c, response, &err);
        else
                (void)tell_refusal(c, response, &err);
        end(c, err);
}

/* ── the request ─────────────────────────────────────────────────────────────────────────────── */

static void add_header(struct http_call *c, const char *name, const char *value)
{
        c->headers[c->request.n_headers++] = (struct aip_http_header){name, value};
}

static int add_secret(struct http_call *c, size_t i, aip_error **err)
{
        const struct tool_header *header = &c->tool->spec.headers.items[i];
        int r = tool_header_value(header, c->tool->spec.label, &c->values[i], err);

        if (r == 0)
                add_header(c, header->name, c->values[i].p);
        return r;
}

static int make_headers(struct http_call *c, aip_error **err)
{
        const char *trace_id = c->call->trace_id;
        int r = 0;

        add_header(c, "Accept", "application/json, text/*;q=0.9");
        if (http_tool_has_body(&c->tool->spec))
                add_header(c, "Content-Type", "application/json");
        if (trace_id && strlen(trace_id) == 32 && strspn(trace_id, "0123456789abcdef") == 32) {
                snprintf(c->traceparent, sizeof(c->traceparent), "00-%s-%016llx-01", trace_id,
                         (unsigned long long)(aip_random_u64(aip_random_system()) | 1));
                add_header(c, "traceparent", c->traceparent);
        }
        for (size_t i = 0; r == 0 && i < c->tool->spec.headers.n; i++)
                r = add_secret(c, i, err);
        return r;
}

/* The arguments that the URL does not hold. */
static int make_body(struct http_call *c, aip_error **err)
{
        const aip_value *arguments = c->call->arguments;
        _cleanup_(aip_value_unref_p) aip_value *rest = aip_value_object();
        int r = rest ? 0 : AIP_ENOMEM;

        for (size_t i = 0; r == 0 && i < aip_value_size(arguments); i++) {
                struct aip_str name;
                const aip_value *value = aip_value_member(arguments, i, &name);
                if (!aip_tool_url_names(c->tool->spec.url, name))
                        r = aip_value_object_set(&rest, name, aip_value_ref(value));
        }
        if (r == 0)
                r = aip_value_print(rest, &c->body, NULL);
        if (r == AIP_ELIMIT)
                return aip_error_set(err, AIP_EINVAL, "the arguments are too long");
        return r < 0 ? aip_error_set_nomem(err) : 0;
}

/* AIP_EINVAL is the model's mistake. */
static int make_request(struct http_call *c, aip_error **err)
{
        const struct http_tool_spec *spec = &c->tool->spec;
        int has_body = http_tool_has_body(spec);
        int r = aip_tool_url_expand(spec->url, c->call->arguments, !has_body, &c->url, err);

        if (r == 0 && has_body)
                r = make_body(c, err);
        if (r == 0)
                r = make_headers(c, err);
        if (r < 0)
                return r;
        c->request.label = spec->label;
        c->request.url = c->url.p;
        c->request.method = spec->method;
        c->request.headers = c->headers;
        c->request.body = aip_buf_str(&c->body);
        c->request.max_response_bytes = spec->max_bytes;
        c->request.done = answered;
        return 0;
}

static int send_request(struct http_call *c, aip_error **err)
{
        struct aip_loop loop = aip_http_client_loop(c->tool->client);
        int64_t left_ms = c->call->op.deadline_ms ? c->call->op.deadline_ms - aip_now_ms(loop)
                                                  : c->tool->spec.timeout_ms;
        int r;

        if (left_ms <= 0) {
                r = aip_error_set(err, AIP_ETIMEOUT, "%s: no time is left for it",
                                  c->tool->spec.label);
                if (err)
                        aip_error_set_kind(*err, "tool_timeout");
                return r;
        }
        c->request.timeout_ms = AIP_MIN(left_ms, (int64_t)c->tool->spec.timeout_ms);
        return aip_http_start(c->tool->client, &c->request, err);
}

/* The arguments cannot be sent: the model is told. Consumes `why`. */
static aip_error *tell(struct aip_tool_call *call, aip_error *why)
{
        aip_value *text = aip_value_string(aip_str_of(aip_error_message(why)));
        aip_error *err = NULL;

        aip_error_free(why);
        if (!text) {
                aip_error_set_nomem(&err);
                return err;
        }
        call->ret_content = text;
        call->ret_is_error = 1;
        return NULL;
}

static void http_tool_call(void *self, struct aip_tool_call *call)
{
        const struct http_tool *tool = self;
        _cleanup_(http_call_free_p) struct http_call *c = aip_calloc(1, sizeof(*c));
        aip_error *err = NULL;
        int r;

        call->impl = NULL;
        if (!c) {
                aip_error_set_nomem(&err);
                aip_op_finish(aip_http_client_loop(tool->client), &call->op, err);
                return;
        }
        c->call = call;
        c->tool = tool;
        aip_buf_init(&c->url, URL_MAX_BYTES);
        aip_buf_init(&c->body, BODY_MAX_BYTES);
        r = make_request(c, &err);
        if (r == AIP_EINVAL)
                err = tell(call, err);
        else if (r == 0)
                r = send_request(c, &err);
        if (r < 0)
                aip_op_finish(aip_http_client_loop(tool->client), &call->op, err);
        else
                call->impl = AIP_TAKE(c);
}

static void http_tool_cancel(void *self, struct aip_tool_call *call)
{
        struct http_call *c = call->impl;
        aip_error *err = NULL;

        (void)self;
        if (!c)
                return;
        aip_http_cancel(&c->request);
        aip_error_set(&err, AIP_ECANCELLED, "%s: cancelled", c->tool->spec.label);
        end(c, err);
}

static void http_tool_free(void *self)
{
        struct http_tool *tool = self;

        http_tool_spec_deinit(&tool->spec);
        aip_free(tool);
}
AIP_DEFINE_CLEANUP(void *, http_tool_free);

static const struct aip_tool_ops ops = {sizeof(ops), http_tool_call, http_tool_cancel,
                                        http_tool_free};

/* ── the type ────────────────────────────────────────────────────────────────────────────────── */

static int make(void *self, const struct aip_tool_spec *spec, struct aip_tool *ret_tool,
                aip_error **err)
{
        const struct aip_http_tools *tools = self;
        struct http_tool *tool = aip_calloc(1, sizeof(*tool));
        _cleanup_(http_tool_free_p) void *kept = tool;
        int r;

        if (!tool)
                return aip_error_set_nomem(err);
        tool->client = tools->client;
        if ((r = http_tool_spec_read(spec, tools->hosts, &tool->spec, err)) < 0)
                return r;
        *ret_tool = (struct aip_tool){&ops, AIP_TAKE(kept)};
        return 0;
}

int aip_http_tools_new(aip_http_client *client, const char *hosts, aip_http_tools **ret_tools,
                       aip_error **err)
{
        int r = aip_tool_hosts_check(hosts, err);
        aip_http_tools *tools;

        if (r < 0)
                return r;
        if (!(tools = aip_calloc(1, sizeof(*tools))) ||
            !(tools->hosts = aip_strdup(hosts ? hosts : ""))) {
                aip_free(tools);
                return aip_error_set_nomem(err);
        }
        tools->client = client;
        *ret_tools = tools;
        return 0;
}

int aip_http_tools_register(aip_http_tools *tools, aip_tool_registry *registry, aip_error **err)
{
        const struct aip_tool_type type = {"http", make, tools};

        return aip_tool_registry_add_type(registry, &type, err);
}

void aip_http_tools_free(aip_http_tools *tools)
{
        if (!tools)
                return;
        aip_free(tools->hosts);
        aip_free(tools);
}
