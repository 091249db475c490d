/* See provider_fault.h. */
#include "llm/provider_fault.h"
#include "llm/provider_error.h"
#include "macros.h"

#define FOREIGN_MESSAGE_BYTES 500
#define FOREIGN_WORD_BYTES    100
#define EXCERPT_BYTES         160
#define EXCERPT_SOURCE_BYTES  ((size_t)64 * 1024)
#define WHOLE_MESSAGE_BYTES   2000
/* Shorter keys ("none", "ollama") are no secrets, and cutting them out would garble answers. */
#define SECRET_MIN_BYTES 8

/* ---- reading ---- */

static int read_error_object(const aip_value *error, struct aip_provider_fault *ret_fault)
{
        const aip_value *code = aip_value_get_cstr(error, "code");
        ret_fault->type = aip_value_as_string(aip_value_get_cstr(error, "type"));
        ret_fault->code = aip_value_as_string(code);
        ret_fault->status = aip_value_as_int(code, 0);
        ret_fault->message = aip_value_as_string(aip_value_get_cstr(error, "message"));
        return 1;
}

int aip_provider_fault_read(const aip_value *root, struct aip_provider_fault *ret_fault)
{
        const aip_value *error = aip_value_get_cstr(root, "error");
        *ret_fault = (struct aip_provider_fault){0};
        if (aip_value_type(error) == AIP_VALUE_OBJECT)
                return read_error_object(error, ret_fault);
        ret_fault->message = aip_value_as_string(error); /* Ollama: {"error": "words"} */
        if (ret_fault->message.n > 0)
                return 1;
        /* Older vLLM: {"object": "error", "message": …, "code": 400} */
        if (aip_str_eq(aip_value_as_string(aip_value_get_cstr(root, "object")), AIP_STR("error")))
                return read_error_object(root, ret_fault);
        /* FastAPI, gateways */
        ret_fault->message = aip_value_as_string(aip_value_get_cstr(root, "detail"));
        if (ret_fault->message.n == 0)
                ret_fault->message = aip_value_as_string(aip_value_get_cstr(root, "message"));
        return 0;
}

/* ---- kinds ---- */

/* Codes and types that say more than the status they come with. */
static const char *kind_of_name(struct aip_str name)
{
        static const struct {
                const char *name, *kind;
        } names[] = {
                {"insufficient_quota", AIP_LLM_CALLER_QUOTA},
                {"billing_hard_limit_reached", AIP_LLM_CALLER_QUOTA},
                {"billing_not_active", AIP_LLM_CALLER_QUOTA},
                {"billing_error", AIP_LLM_CALLER_QUOTA},
                {"context_length_exceeded", AIP_LLM_CALLER_TOO_LARGE},
                {"exceed_context_size_error", AIP_LLM_CALLER_TOO_LARGE},
                {"string_above_max_length", AIP_LLM_CALLER_TOO_LARGE},
                {"request_too_large", AIP_LLM_CALLER_TOO_LARGE},
                {"content_filter", AIP_LLM_POLICY_REFUSED},
                {"content_policy_violation", AIP_LLM_POLICY_REFUSED},
                {"invalid_api_key", AIP_LLM_CALLER_AUTHENTICATION},
                {"authentication_error", AIP_LLM_CALLER_AUTHENTICATION},
                {"permission_error", AIP_LLM_CALLER_PERMISSION},
                {"model_not_found", AIP_LLM_CALLER_NOT_FOUND},
                {"not_found_error", AIP_LLM_CALLER_NOT_FOUND},
                {"rate_limit_exceeded", AIP_LLM_PROVIDER_RATE_LIMITED},
                {"rate_limit_error", AIP_LLM_PROVIDER_RATE_LIMITED},
                {"overloaded_error", AIP_LLM_PROVIDER_OVERLOADED},
                {"unavailable_error", AIP_LLM_PROVIDER_OVERLOADED},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(names); i++) {
                if (aip_str_eq(aip_str_of(names[i].name), name))
                        return names[i].kind;
        }
        return NULL;
}

/* What providers tell in words only. */
static const char *kind_of_words(struct aip_str message)
{
        static const struct {
                const char *words, *kind;
        } phrases[] = {
                {"maximum context length", AIP_LLM_CALLER_TOO_LARGE},        /* OpenAI, vLLM */
                {"exceeds the available context", AIP_LLM_CALLER_TOO_LARGE}, /* llama.cpp */
                {"prompt is too long", AIP_LLM_CALLER_TOO_LARGE},            /* Anthropic */
                {"credit balance is too low", AIP_LLM_CALLER_QUOTA},         /* Anthropic */
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(phrases); i++) {
                if (message.n &&
                    memmem(message.p, message.n, phrases[i].words, strlen(phrases[i].words)))
                        return phrases[i].kind;
        }
        return NULL;
}

static int is_success(int64_t status)
{
        return status >= 200 && status < 300;
}

const char *aip_provider_fault_kind(const struct aip_provider_fault *fault, int32_t http_status)
{
        int64_t status = http_status;
        const char *kind = kind_of_name(fault->code);
        if (!kind)
                kind = kind_of_name(fault->type);
        /* Within an answer that calls itself a success the body is all there is to go by. */
        if (is_success(status))
                status = fault->status >= 400 && fault->status < 600 ? fault->status : 0;
        if (!kind && (status == 0 || status == 400 || status == 413 || status == 422))
                kind = kind_of_words(fault->message);
        if (kind)
                return kind;
        if (status != 0)
                return aip_llm_kind_of_status((int32_t)status);
        return aip_str_eq(fault->type, AIP_STR("invalid_request_error"))
                       ? AIP_LLM_CALLER_INVALID_REQUEST
                       : AIP_LLM_PROVIDER_FAILED;
}

/* ---- errors ---- */

static struct aip_str request_id(const struct aip_http_response *response)
{
        struct aip_str id = aip_http_header_find(response, "x-request-id");
        return id.n ? id : aip_http_header_find(response, "request-id");
}

/* Whether anything comes out of it does not matter: the words are help, the kind is what counts. */
static void append_words(struct aip_buf *out, const char *before, struct aip_str words, size_t max,
                         const char *after, struct aip_str secret)
{
        if (words.n == 0)
                return;
        words.n = AIP_MIN(words.n, EXCERPT_SOURCE_BYTES);
        if (aip_buf_append_cstr(out, before) < 0 ||
            aip_llm_append_foreign(out, words, max, secret) < 0 ||
            aip_buf_append_cstr(out, after) < 0)
                return;
}

static int finish_complaint(const struct aip_provider_reply *reply, const char *kind,
                            struct aip_buf *text, aip_error **err)
{
        append_words(text, " (request id ", request_id(reply->response), FOREIGN_WORD_BYTES, ")",
                     reply->secret);
        int r = aip_llm_error_set(err, kind, "%s", text->n ? text->p : reply->provider);
        if (err && r != AIP_ENOMEM) {
                aip_error_set_provider_status(*err, reply->response->status);
                aip_error_set_retryable(*err, aip_error_is_retryable(*err),
                                        aip_provider_retry_after_ms(reply->response));
        }
        return r;
}

int aip_provider_complain(const struct aip_provider_reply *reply, const char *kind,
                          const char *words, struct aip_str foreign, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(WHOLE_MESSAGE_BYTES);
        if (aip_buf_printf(&text, "%s: %s", reply->provider, words) == 0)
                append_words(&text, ": ", foreign, FOREIGN_MESSAGE_BYTES, "", reply->secret);
        return finish_complaint(reply, kind, &text, err);
}

int aip_provider_complain_no_json(const struct aip_provider_reply *reply, aip_error *parse_error,
                                  aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(WHOLE_MESSAGE_BYTES);
        struct aip_str body = reply->response->body;
        if (aip_error_code(parse_error) == AIP_ENOMEM)
                return aip_error_propagate(err, parse_error);
        if (aip_buf_printf(&text, "%s: the answer is no JSON", reply->provider) == 0) {
                append_words(&text, " (", aip_str_of(aip_error_message(parse_error)), EXCERPT_BYTES,
                             ")", reply->secret);
                append_words(&text, ": ", body, EXCERPT_BYTES, "", reply->secret);
                if (body.n == 0)
                        append_words(&text, ": ", AIP_STR("it is empty"), EXCERPT_BYTES, "",
                                     reply->secret);
        }
        aip_error_free(parse_error);
        return finish_complaint(reply, AIP_LLM_PROVIDER_BAD_ANSWER, &text, err);
}

int aip_provider_refuse(const struct aip_provider_reply *reply, const aip_value *root,
                        aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(WHOLE_MESSAGE_BYTES);
        const struct aip_http_response *response = reply->response;
        struct aip_provider_fault fault;
        aip_provider_fault_read(root, &fault);
        struct aip_str name = fault.code.n ? fault.code : fault.type;
        struct aip_str message = fault.message;
        size_t max = FOREIGN_MESSAGE_BYTES;
        if (message.n == 0 && response->status >= 300 && response->status < 400)
                message = AIP_STR(
                        "a redirect, which is not followed; set base_url to where it points");
        if (message.n == 0 && !root) {
                message = response->body;
                max = EXCERPT_BYTES;
        }
        if (aip_buf_printf(&text, "%s: HTTP %d", reply->provider, response->status) == 0) {
                append_words(&text, " ", name, FOREIGN_WORD_BYTES, "", reply->secret);
                append_words(&text, ": ", message, max, "", reply->secret);
        }
        return finish_complaint(reply, aip_provider_fault_kind(&fault, response->status), &text,
                                err);
}

int aip_provider_is_secret(struct aip_str secret)
{
        return secret.n >= SECRET_MIN_BYTES;
}

int aip_provider_append_clean(struct aip_buf *out, struct aip_str text, struct aip_str secret)
{
        if (!aip_provider_is_secret(secret))
                secret.n = 0;
        return aip_llm_append_redacted(out, text, secret);
}

char *aip_provider_copy(const struct aip_provider_reply *reply, struct aip_str text,
                        size_t *ret_bytes)
{
        _cleanup_(aip_buf_deinit) struct aip_buf clean = AIP_BUF_INIT(SIZE_MAX / 4);
        if (aip_provider_append_clean(&clean, text, reply->secret) < 0)
                return NULL;
        *ret_bytes = clean.n;
        return aip_buf_take(&clean);
}
