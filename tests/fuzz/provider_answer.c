/*
 * Answers of model providers, read as both protocols. An input is a status, headers, an empty line
 * and a body, as in corpus/provider_answer. What is taken for an answer has text; whatever is not,
 * ends in one of the error kinds, with a short printable message; the API key is in neither.
 */
#include "fuzz.h"
#include "llm/chat_llm.h"
#include "llm/provider_error.h"
#include <string.h>

#define SECRET "sk-fuzz-secret"

static int has_secret(struct aip_str text)
{
        return text.n > 0 && memmem(text.p, text.n, SECRET, strlen(SECRET)) != NULL;
}

static void check_answer(const struct aip_chat_protocol *protocol,
                         const struct aip_llm_answer *answer)
{
        struct aip_str content = aip_str_make(answer->content, answer->content_bytes);
        MUST(answer->content && answer->content[answer->content_bytes] == '\0');
        MUST(!aip_chat_is_blank(content) && aip_str_utf8_length(content) >= 0);
        MUST(!has_secret(content) && !has_secret(aip_str_of(answer->response_id)));
        MUST(!has_secret(aip_str_of(answer->model_name)));
        MUST(answer->input_tokens >= -1 && answer->output_tokens >= -1);
        MUST(answer->cached_tokens >= -1 && answer->reasoning_tokens >= -1);
        MUST(strcmp(answer->provider, protocol->name) == 0);
}

static void check_error(int r, const aip_error *err)
{
        struct aip_str message = aip_str_of(aip_error_message(err));
        MUST(r == AIP_EUPSTREAM && aip_error_code(err) == r);
        MUST(aip_llm_kind_find(aip_str_of(aip_error_kind(err))));
        MUST(message.n > 0 && message.n < 1024 && aip_str_utf8_length(message) >= 0);
        MUST(!has_secret(message));
        for (size_t i = 0; i < message.n; i++)
                MUST((unsigned char)message.p[i] >= ' ');
        MUST(aip_error_retry_after_ms(err) >= 0 && aip_error_retry_after_ms(err) <= 86400000);
}

static void check(const struct aip_chat_protocol *protocol,
                  const struct aip_http_response *response)
{
        struct aip_llm_answer answer = {0};
        aip_error *err = NULL;
        struct aip_str secret = aip_str_of(SECRET);
        struct aip_llm_call call = {0};
        int r = aip_chat_parse(protocol, response, secret, &call, &answer, &err);
        if (r == 0)
                check_answer(protocol, &answer);
        else
                check_error(r, err);
        aip_llm_answer_deinit(&answer);
        aip_error_free(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct aip_http_response response = {.wall_us = INT64_C(1893456000000000)};
        struct aip_str rest = {(const char *)data, size};
        while (rest.n > 0 && *rest.p >= '0' && *rest.p <= '9' && response.status < 1000) {
                response.status = response.status * 10 + (*rest.p - '0');
                rest = aip_str_make(rest.p + 1, rest.n - 1);
        }
        const char *empty_line = rest.n ? memmem(rest.p, rest.n, "\n\n", 2) : NULL;
        size_t head = empty_line ? (size_t)(empty_line - rest.p) + 2 : 0;
        response.headers = aip_str_make(rest.p, head);
        response.body = aip_str_make(rest.p + head, rest.n - head);
        check(&aip_openai_protocol, &response);
        check(&aip_anthropic_protocol, &response);
        return 0;
}
