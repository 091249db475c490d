/*
 * A model provider over HTTP: the life of a call, whatever the protocol (see chat_llm.h). The API
 * key is read from the environment for each call and lives as long as the call does; it must never
 * get into an error, a log or an answer.
 *
 *     complete ──► [prepare: key, address, headers, body] ──► aip_http_start
 *                                                                   │
 *     finish ◄── [answered: parse] ◄────────────────────────────────┘
 *                    │ the model takes no temperature: once more without, and remember it
 *                    └──────────────────────────────────────────────► aip_http_start
 */
#include "hash_map.h"
#include "llm/chat_stream.h"
#include "llm/provider_error.h"
#include "macros.h"
#include "mem.h"
#include <stdio.h>

#define COMPONENT          "llm"
#define REQUEST_MAX_BYTES  ((size_t)64 * 1024 * 1024)
#define RESPONSE_MAX_BYTES AIP_CHAT_ANSWER_MAX_BYTES
#define URL_MAX_BYTES      8192
#define KEY_MAX_BYTES      8192
#define HEADERS_MAX        4
/* Streaming: the longest pause, unless the call says otherwise. */
#define IDLE_TIMEOUT_MS 60000
/* After an answer that is whole, how long its connection may take to be of use again. */
#define TRAILING_MS 1000
/* Models that said they take no temperature; when there are more, all are forgotten. */
#define LEARNT_MAX 256

struct chat_llm {
        struct aip_llm_ops ops; /* its own, for the protocol's name */
        const struct aip_chat_protocol *protocol;
        aip_http_client *client;
        char *base_url;
        struct aip_hash_map without_temperature;
};

enum body_kind {
        BODY_UNKNOWN = 0,
        BODY_WHOLE, /* an error, or of a server that does not stream */
        BODY_STREAM
};

struct chat_call {
        struct aip_http_request request;
        struct chat_llm *llm;
        struct aip_llm_call *call;
        struct aip_buf url, body;
        struct aip_buf key; /* as the header has it, prefix included */
        size_t key_prefix_bytes;
        char traceparent[56];
        struct aip_http_header headers[HEADERS_MAX];
        size_t n_headers;
        int has_temperature;
        int64_t started_ms;

        /* streaming: what came and was not looked at yet, or, if it is no stream, all of it */
        struct aip_buf arrived;
        enum body_kind body_kind;
        struct aip_chat_stream stream; /* of BODY_STREAM */
        struct aip_task feed_task;
        struct aip_timer idle_timer;
        int is_on_its_way;            /* the request */
        struct aip_chat_draft *draft; /* while on_delta may be called: what calls it */
        int is_cancelled;             /* by on_delta */
        int append_failure;           /* of `arrived` */
};

static struct aip_loop loop_of(const struct chat_llm *llm)
{
        return aip_http_client_loop(llm->client);
}

/* The key itself, for keeping it out of texts. */
static struct aip_str secret_of(const struct chat_call *c)
{
        if (c->key.n <= c->key_prefix_bytes)
                return (struct aip_str){NULL, 0};
        return aip_str_make(c->key.p + c->key_prefix_bytes, c->key.n - c->key_prefix_bytes);
}

static void free_chat_call(struct chat_call *c)
{
        if (c->body_kind == BODY_STREAM)
                aip_chat_stream_deinit(&c->stream);
        aip_buf_deinit(&c->arrived);
        if (c->key.p)
                explicit_bzero(c->key.p, c->key.capacity);
        aip_buf_deinit(&c->key);
        aip_buf_deinit(&c->url);
        aip_buf_deinit(&c->body);
        aip_free(c);
}
AIP_DEFINE_CLEANUP(struct chat_call *, free_chat_call);

/* ---- preparing a request ---- */

static int refuse_key(const struct chat_call *c, const char *variable, const char *what,
                      aip_error **err)
{
        return aip_llm_error_set(err, AIP_LLM_CALLER_AUTHENTICATION,
                                 "%s: the environment variable %s, which configuration \"%.*s\" "
                                 "names for its API key, %s",
                                 c->llm->protocol->name, variable,
                                 AIP_STR_ARG(aip_llm_config_fields(c->call->config)->name), what);
}

/* A line break at the end is what files with keys in them usually add. */
static struct aip_str trimmed(const char *value)
{
        struct aip_str key = aip_str_of(value);
        while (key.n > 0 && strchr(" \t\r\n", key.p[key.n - 1]))
                key.n--;
        return key;
}

static int is_printable(struct aip_str key)
{
        for (size_t i = 0; i < key.n; i++) {
                if (key.p[i] <= ' ' || key.p[i] > '~')
                        return 0;
        }
        return 1;
}

static int read_key(struct chat_call *c, aip_error **err)
{
        const struct aip_chat_protocol *protocol = c->llm->protocol;
        struct aip_str variable = aip_llm_config_fields(c->call->config)->api_key_env;
        if (aip_str_is_empty(variable))
                return 0;
        _cleanup_(aip_free_p) char *name = aip_str_dup(variable);
        if (!name)
                return aip_error_set_nomem(err);
        struct aip_str key = trimmed(getenv(name));
        if (key.n == 0)
                return refuse_key(c, name, "is not set", err);
        if (!is_printable(key) || key.n > KEY_MAX_BYTES)
                return refuse_key(c, name, "holds characters that no key has", err);
        c->key_prefix_bytes = strlen(protocol->key_prefix);
        if (aip_buf_append_cstr(&c->key, protocol->key_prefix) < 0 ||
            aip_buf_append(&c->key, key) < 0)
                return aip_error_set_nomem(err);
        return 0;
}

static void add_header(struct chat_call *c, const char *name, const char *value)
{
        assert(c->n_headers < HEADERS_MAX);
        c->headers[c->n_headers++] = (struct aip_http_header){name, value};
}

static int is_trace_id(const char *text)
{
        size_t n = strspn(text, "0123456789abcdef");
        return n == 32 && !text[32] && strspn(text, "0") < 32;
}

/* W3C trace context: the trace goes on, this request is a span of its own. */
static void add_traceparent(struct chat_call *c)
{
        const char *trace_id = c->call->trace_id;
        if (!trace_id || !is_trace_id(trace_id))
                return;
        uint64_t span = aip_random_u64(aip_random_system());
        snprintf(c->traceparent, sizeof(c->traceparent), "00-%s-%016llx-01", trace_id,
                 (unsigned long long)(span ? span : 1));
        add_header(c, "traceparent", c->traceparent);
}

static void add_headers(struct chat_call *c)
{
        const struct aip_chat_protocol *protocol = c->llm->protocol;
        add_header(c, "Content-Type", "application/json");
        if (c->key.n > 0)
                add_header(c, protocol->key_header, c->key.p);
        if (protocol->extra_header.name)
                add_header(c, protocol->extra_header.name, protocol->extra_header.value);
        add_traceparent(c);
}

static int make_url(struct chat_call *c, aip_error **err)
{
        struct aip_str base_url = aip_llm_config_fields(c->call->config)->base_url;
        if (aip_str_is_empty(base_url))
                base_url = aip_str_of(c->llm->base_url);
        int r = aip_chat_append_url(c->llm->protocol, base_url, &c->url);
        return r < 0 ? aip_chat_append_failed(r, c->llm->protocol->name, err) : 0;
}

static int make_body(struct chat_call *c, aip_error **err)
{
        struct aip_str model = aip_llm_config_fields(c->call->config)->model_name;
        c->has_temperature = c->llm->protocol->takes_temperature(model) &&
                             !aip_hash_map_get(&c->llm->without_temperature, model);
        aip_buf_clear(&c->body);
        return c->llm->protocol->append_body(&c->body, c->call, c->has_temperature, err);
}

static int prepare(struct chat_call *c, aip_error **err)
{
        int r = read_key(c, err);
        if (r == 0)
                r = make_url(c, err);
        if (r == 0)
                r = make_body(c, err);
        if (r == 0)
                add_headers(c);
        return r;
}

/* What is left of the configuration's time limit and of the call's own. */
static int64_t time_left_ms(const struct chat_call *c)
{
        int64_t now_ms = aip_now_ms(loop_of(c->llm));
        int64_t end_ms = c->started_ms + aip_llm_config_fields(c->call->config)->timeout_ms;
        int64_t deadline_ms = c->call->op.deadline_ms;
        return (deadline_ms && deadline_ms < end_ms ? deadline_ms : end_ms) - now_ms;
}

static int is_past_deadline(const struct chat_call *c)
{
        int64_t deadline_ms = c->call->op.deadline_ms;
        return deadline_ms && aip_now_ms(loop_of(c->llm)) >= deadline_ms;
}

static int on_body(struct aip_http_request *request, struct aip_str piece);
static void answered(struct aip_http_request *request, const struct aip_http_response *response,
                     aip_error *err);

static int send_request(struct chat_call *c, aip_error **err)
{
        int64_t timeout_ms = time_left_ms(c);
        if (timeout_ms <= 0)
                return aip_llm_error_set(err, AIP_LLM_PROVIDER_TIMEOUT,
                                         "%s: no time is left for a call", c->llm->protocol->name);
        c->request = (struct aip_http_request){
                .label = c->llm->protocol->name,
                .url = c->url.p,
                .headers = c->headers,
                .n_headers = c->n_headers,
                .body = aip_buf_str(&c->body),
                .timeout_ms = timeout_ms,
                .max_response_bytes = RESPONSE_MAX_BYTES,
                .on_body = c->call->on_delta ? on_body : NULL,
                .done = answered,
        };
        int r = aip_http_start(c->llm->client, &c->request, err);
        if (r < 0)
                return r;
        c->is_on_its_way = 1;
        c->call->ret_tries++;
        return 0;
}

/* ---- the end of a call ---- */

static void log_end(const struct chat_call *c, const aip_error *err)
{
        struct aip_str model = aip_llm_config_fields(c->call->config)->model_name;
        int64_t ms = aip_now_ms(loop_of(c->llm)) - c->started_ms;
        aip_log_job(aip_http_client_log(c->llm->client), AIP_LOG_DEBUG, COMPONENT, c->call->job_id,
                    c->call->trace_id, "%s %.*s: %s after %lld ms", c->llm->protocol->name,
                    AIP_STR_ARG(model), err ? aip_error_kind(err) : "answered", (long long)ms);
}

/* `err` is consumed always; `c` is gone. */
static void finish(struct chat_call *c, aip_error *err)
{
        struct aip_llm_call *call = c->call;
        struct aip_loop loop = loop_of(c->llm);
        log_end(c, err);
        /* A time limit that was the whole call's leaves no time for another try. */
        if (aip_error_code(err) == AIP_ETIMEOUT && is_past_deadline(c))
                aip_error_set_retryable(err, 0, 0);
        aip_undefer(loop, &c->feed_task);
        aip_timer_clear(loop, &c->idle_timer);
        call->impl = NULL;
        free_chat_call(c);
        aip_op_finish(loop, &call->op, err);
}

/* End a call whose request is on its way. `err` is consumed always. */
static void break_off(struct chat_call *c, aip_error *err)
{
        if (c->is_on_its_way)
                aip_http_cancel(&c->request);
        c->is_on_its_way = 0;
        finish(c, err);
}

static void finish_cancelled(struct chat_call *c)
{
        aip_error *err = NULL;
        aip_llm_error_set(&err, AIP_LLM_INTERNAL_CANCELLED, "%s: the call was cancelled",
                          c->llm->protocol->name);
        break_off(c, err);
}

static int has_words(struct aip_str text, const char *words)
{
        return text.n > 0 && memmem(text.p, text.n, words, strlen(words)) != NULL;
}

/* "`temperature` is deprecated for this model.", "'temperature' does not support 0.7 …" */
static int refuses_temperature(const struct chat_call *c, const struct aip_http_response *response)
{
        return c->has_temperature && response->status == 400 &&
               has_words(response->body, "temperature") &&
               (has_words(response->body, "deprecated") || has_words(response->body, "support"));
}

/* 0 when the request is on its way again. */
static int send_without_temperature(struct chat_call *c)
{
        struct aip_hash_map *learnt = &c->llm->without_temperature;
        struct aip_str model = aip_llm_config_fields(c->call->config)->model_name;
        if (learnt->n >= LEARNT_MAX)
                aip_hash_map_deinit(learnt);
        if (aip_hash_map_set(learnt, model, c->llm, NULL) < 0)
                return AIP_ENOMEM;
        aip_log_job(aip_http_client_log(c->llm->client), AIP_LOG_WARNING, COMPONENT,
                    c->call->job_id, c->call->trace_id,
                    "%s %.*s takes no temperature; it is asked without from now on",
                    c->llm->protocol->name, AIP_STR_ARG(model));
        int r = make_body(c, NULL);
        aip_buf_clear(&c->arrived);
        c->body_kind = BODY_UNKNOWN;
        return r < 0 ? r : send_request(c, NULL);
}

/* ---- streams ---- */

static void decide_body_kind(struct chat_call *c)
{
        struct aip_http_response head;
        aip_http_head(&c->request, &head);
        c->body_kind = BODY_WHOLE;
        if (head.status < 200 || head.status >= 300 ||
            !aip_chat_is_stream(&head, aip_buf_str(&c->arrived)))
                return;
        c->body_kind = BODY_STREAM;
        aip_chat_stream_init(&c->stream, c->llm->protocol, c->call, secret_of(c));
}

/* What arrives is looked at in a turn of its own: here libcurl is in the middle of something, and
 * on_delta may want to start or cancel calls. */
static int on_body(struct aip_http_request *request, struct aip_str piece)
{
        struct chat_call *c = AIP_CONTAINER_OF(request, struct chat_call, request);
        c->append_failure = aip_buf_append(&c->arrived, piece);
        if (c->body_kind == BODY_UNKNOWN)
                decide_body_kind(c);
        aip_defer(loop_of(c->llm), &c->feed_task);
        return c->append_failure;
}

/* Negative: the stream is no answer; or on_delta has cancelled the call, which comes first. */
static int feed(struct chat_call *c, const struct aip_http_response *head, aip_error **err)
{
        if (c->body_kind != BODY_STREAM)
                return 0;
        c->draft = &c->stream.draft;
        int r = aip_chat_stream_feed(&c->stream, head, aip_buf_str(&c->arrived), err);
        c->draft = NULL;
        aip_buf_clear(&c->arrived);
        return r;
}

static int64_t idle_timeout_ms(const struct chat_call *c)
{
        return c->call->idle_timeout_ms > 0 ? c->call->idle_timeout_ms : IDLE_TIMEOUT_MS;
}

static void set_idle_timer(struct chat_call *c)
{
        int64_t ms = idle_timeout_ms(c);
        if (c->body_kind == BODY_STREAM && aip_chat_stream_is_complete(&c->stream))
                ms = TRAILING_MS;
        aip_timer_set(loop_of(c->llm), &c->idle_timer, ms);
}

static void feed_task_run(struct aip_task *task)
{
        struct chat_call *c = AIP_CONTAINER_OF(task, struct chat_call, feed_task);
        struct aip_http_response head;
        aip_error *err = NULL;
        aip_http_head(&c->request, &head);
        int r = feed(c, &head, &err);
        if (c->is_cancelled) {
                aip_error_free(err);
                finish_cancelled(c);
        } else if (r < 0) {
                break_off(c, err);
        } else {
                set_idle_timer(c);
        }
}

/* The body of a stream is over. `err` says why, or is NULL; consumed always. */
static void end_stream(struct chat_call *c, const struct aip_http_response *head, aip_error *err)
{
        aip_error *failure = NULL;
        c->draft = &c->stream.draft;
        int r = aip_chat_stream_end(&c->stream, head, err, &c->call->ret_answer, &failure);
        c->draft = NULL;
        if (!c->is_cancelled) {
                break_off(c, failure);
                return;
        }
        if (r == 0)
                aip_llm_answer_deinit(&c->call->ret_answer);
        aip_error_free(failure);
        finish_cancelled(c);
}

static void idle_timer_fired(struct aip_timer *timer)
{
        struct chat_call *c = AIP_CONTAINER_OF(timer, struct chat_call, idle_timer);
        struct aip_http_response head;
        aip_error *err = NULL;
        aip_http_head(&c->request, &head);
        aip_llm_error_set(&err, AIP_LLM_PROVIDER_TIMEOUT, "%s: the answer stood still for %lld ms",
                          c->llm->protocol->name, (long long)idle_timeout_ms(c));
        if (c->body_kind == BODY_STREAM)
                end_stream(c, &head, err);
        else
                break_off(c, err);
}

/* The request has ended; true when the stream is all there is to it. `err` is consumed then. */
static int take_stream_end(struct chat_call *c, const struct aip_http_response *response,
                           aip_error *err)
{
        aip_error *failure = NULL;
        int r = feed(c, response, &failure);
        if (c->body_kind != BODY_STREAM)
                return 0;
        if (c->is_cancelled || r < 0) {
                aip_error_free(err);
                if (!c->is_cancelled) {
                        finish(c, failure);
                        return 1;
                }
                aip_error_free(failure);
                finish_cancelled(c);
                return 1;
        }
        end_stream(c, response, err);
        return 1;
}

static void take_whole(struct chat_call *c, const struct aip_http_response *response)
{
        _cleanup_(aip_chat_draft_deinit) struct aip_chat_draft draft;
        aip_error *err = NULL;
        aip_chat_draft_init(&draft, c->call, secret_of(c));
        c->draft = &draft;
        int r = aip_chat_parse_into(c->llm->protocol, response, &draft, &c->call->ret_answer, &err);
        c->draft = NULL;
        if (c->is_cancelled) {
                if (r == 0)
                        aip_llm_answer_deinit(&c->call->ret_answer);
                aip_error_free(err);
                finish_cancelled(c);
                return;
        }
        if (r < 0 && refuses_temperature(c, response) && send_without_temperature(c) == 0) {
                aip_error_free(err);
                return;
        }
        finish(c, err);
}

static void answered(struct aip_http_request *request, const struct aip_http_response *response,
                     aip_error *err)
{
        struct chat_call *c = AIP_CONTAINER_OF(request, struct chat_call, request);
        struct aip_http_response whole = *response;
        c->is_on_its_way = 0;
        aip_undefer(loop_of(c->llm), &c->feed_task);
        aip_timer_clear(loop_of(c->llm), &c->idle_timer);
        if (c->append_failure) {
                const struct aip_provider_reply reply = {c->llm->protocol->name, response,
                                                         secret_of(c)};
                aip_error_free(AIP_TAKE(err));
                aip_chat_draft_failed(c->append_failure, &reply, &err);
        }
        if (c->call->on_delta && take_stream_end(c, response, err))
                return;
        if (err) {
                finish(c, err);
                return;
        }
        if (c->call->on_delta)
                whole.body = aip_buf_str(&c->arrived);
        take_whole(c, &whole);
}

/* ---- the port ---- */

static struct chat_call *new_chat_call(struct chat_llm *llm, struct aip_llm_call *call)
{
        struct chat_call *c = aip_calloc(1, sizeof(*c));
        if (!c)
                return NULL;
        c->llm = llm;
        c->call = call;
        c->started_ms = aip_now_ms(loop_of(llm));
        aip_buf_init(&c->url, URL_MAX_BYTES);
        aip_buf_init(&c->body, REQUEST_MAX_BYTES);
        aip_buf_init(&c->key, KEY_MAX_BYTES + 64);
        aip_buf_init(&c->arrived, RESPONSE_MAX_BYTES);
        c->feed_task.run = feed_task_run;
        c->idle_timer.fire = idle_timer_fired;
        return c;
}

static void complete(void *self, struct aip_llm_call *call)
{
        struct chat_llm *llm = self;
        aip_error *err = NULL;
        struct chat_call *c = new_chat_call(llm, call);
        call->impl = c;
        call->ret_tries = 0;
        if (!c) {
                aip_error_set_nomem(&err);
                aip_op_finish(loop_of(llm), &call->op, err);
                return;
        }
        if (prepare(c, &err) < 0 || send_request(c, &err) < 0)
                finish(c, err);
}

static void cancel(void *self, struct aip_llm_call *call)
{
        (void)self;
        struct chat_call *c = call->impl;
        if (!c || c->is_cancelled)
                return;
        if (c->draft) { /* by on_delta: it ends where that was brought about */
                c->is_cancelled = 1;
                c->draft->is_muted = 1;
                return;
        }
        finish_cancelled(c);
}

static void free_llm(void *self)
{
        struct chat_llm *llm = self;
        aip_hash_map_deinit(&llm->without_temperature);
        aip_free(llm->base_url);
        aip_free(llm);
}

int aip_chat_llm_new(const struct aip_chat_protocol *protocol, aip_http_client *client,
                     const char *base_url, struct aip_llm *ret_llm, aip_error **err)
{
        if (!client || !base_url || !*base_url)
                return aip_error_set(err, AIP_EINVAL,
                                     "%s: an HTTP client and a base URL are needed",
                                     protocol->name);
        struct chat_llm *llm = aip_calloc(1, sizeof(*llm));
        char *copy = aip_strdup(base_url);
        if (!llm || !copy) {
                aip_free(llm);
                aip_free(copy);
                return aip_error_set_nomem(err);
        }
        *llm = (struct chat_llm){
                .ops = {sizeof(llm->ops), protocol->name, complete, cancel, free_llm},
                .protocol = protocol,
                .client = client,
                .base_url = copy,
        };
        *ret_llm = (struct aip_llm){&llm->ops, llm};
        return 0;
}
