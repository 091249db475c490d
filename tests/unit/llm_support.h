/* What the unit suites of the model providers share: configurations, calls, answers from literals.
 */
#ifndef TESTS_UNIT_LLM_SUPPORT_H
#define TESTS_UNIT_LLM_SUPPORT_H

#include "llm/chat_llm.h"
#include "macros.h"
#include <criterion/criterion.h>

AIP_DEFINE_CLEANUP(aip_llm_config *, aip_llm_config_unref);

static inline aip_llm_config *llm_config_of(const char *provider, const char *model)
{
        struct aip_llm_config_fields fields = AIP_LLM_CONFIG_FIELDS_INIT;
        aip_llm_config *config = NULL;
        aip_error *err = NULL;
        fields.name = AIP_STR("test");
        fields.provider = aip_str_of(provider);
        fields.model_name = aip_str_of(model);
        fields.max_tokens = 100;
        aip_llm_config_new(&fields, &config, &err);
        cr_assert_null(err, "%s", aip_error_message(err));
        return config;
}

/* An answer of the time 2030-01-01T00:00:00Z. `headers`: lines ending in "\r\n". */
static inline struct aip_http_response llm_response_of(int32_t status, const char *headers,
                                                       const char *body)
{
        return (struct aip_http_response){
                .status = status,
                .headers = aip_str_of(headers),
                .body = aip_str_of(body),
                .wall_us = INT64_C(1893456000000000),
        };
}

static inline int llm_parse(const struct aip_chat_protocol *protocol, const char *body,
                            struct aip_llm_answer *ret_answer, aip_error **err)
{
        struct aip_http_response response = llm_response_of(200, "", body);
        struct aip_llm_call call = {0};
        return aip_chat_parse(protocol, &response, AIP_STR("sk-secret-key"), &call, ret_answer,
                              err);
}

/* An answer with all that is told of it. */
struct llm_good {
        const char *body, *content;
        enum aip_llm_finish_reason finish_reason;
        int64_t input_tokens, output_tokens, cached_tokens, reasoning_tokens;
        const char *response_id, *model_name;
};

static inline int llm_same_text(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

static inline void llm_expect_good(const struct aip_chat_protocol *protocol,
                                   const struct llm_good *good)
{
        struct aip_llm_answer answer = {0};
        aip_error *err = NULL;
        cr_assert_eq(llm_parse(protocol, good->body, &answer, &err), 0, "%s: %s", good->body,
                     aip_error_message(err));
        cr_expect_str_eq(answer.content, good->content, "%s", good->body);
        cr_expect_eq(answer.content_bytes, strlen(good->content), "%s", good->body);
        cr_expect_eq(answer.finish_reason, good->finish_reason, "%s", good->body);
        cr_expect_eq(answer.input_tokens, good->input_tokens, "%s", good->body);
        cr_expect_eq(answer.output_tokens, good->output_tokens, "%s", good->body);
        cr_expect_eq(answer.cached_tokens, good->cached_tokens, "%s", good->body);
        cr_expect_eq(answer.reasoning_tokens, good->reasoning_tokens, "%s", good->body);
        cr_expect(llm_same_text(answer.response_id, good->response_id), "%s", good->body);
        cr_expect(llm_same_text(answer.model_name, good->model_name), "%s", good->body);
        cr_expect_str_eq(answer.provider, protocol->name);
        aip_llm_answer_deinit(&answer);
}

/* An answer that is none. */
struct llm_bad {
        int32_t status;
        const char *body;
        const char *kind;
        int is_retryable;
        const char *words; /* in the message */
};

static inline void llm_expect_bad(const struct aip_chat_protocol *protocol,
                                  const struct llm_bad *bad)
{
        struct aip_http_response response =
                llm_response_of(bad->status, "x-request-id: req_7\r\n", bad->body);
        struct aip_llm_answer answer = {0};
        struct aip_llm_call call = {0};
        aip_error *err = NULL;
        int r = aip_chat_parse(protocol, &response, AIP_STR("sk-secret-key"), &call, &answer, &err);
        cr_assert_lt(r, 0, "taken for an answer: %s", bad->body);
        cr_expect_null(answer.content);
        cr_expect_str_eq(aip_error_kind(err), bad->kind, "%s: %s", bad->body,
                         aip_error_message(err));
        cr_expect_eq(aip_error_is_retryable(err), bad->is_retryable, "%s", bad->body);
        cr_expect_eq(aip_error_provider_status(err), bad->status);
        cr_expect_not_null(strstr(aip_error_message(err), bad->words), "%s",
                           aip_error_message(err));
        cr_expect_not_null(strstr(aip_error_message(err), "req_7"), "%s", aip_error_message(err));
        cr_expect_null(strstr(aip_error_message(err), "sk-secret-key"));
        cr_expect_eq(strncmp(aip_error_message(err), protocol->name, strlen(protocol->name)), 0);
        aip_error_free(err);
}

/* The body of a request, or NULL and an error. Owned by caller. */
static inline char *llm_body_of(const struct aip_chat_protocol *protocol, const char *model,
                                const struct aip_llm_message *messages, size_t n, aip_error **err)
{
        _cleanup_(aip_llm_config_unref_p) aip_llm_config *config =
                llm_config_of(protocol->name, model);
        _cleanup_(aip_buf_deinit) struct aip_buf body = AIP_BUF_INIT(1 << 20);
        struct aip_llm_call call = {.config = config, .messages = messages, .n_messages = n};
        int with_temperature = protocol->takes_temperature(aip_str_of(model));
        if (protocol->append_body(&body, &call, with_temperature, err) < 0)
                return NULL;
        return aip_buf_take(&body);
}

#endif
