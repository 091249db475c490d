/* What both HTTP providers share: addresses, headers, waits asked for, foreign text. */
#include "llm/provider_error.h"
#include "llm_support.h"

static void expect_url(const struct aip_chat_protocol *protocol, const char *base_url,
                       const char *expected)
{
        struct aip_buf url = AIP_BUF_INIT(1024);
        cr_assert_eq(aip_chat_append_url(protocol, aip_str_of(base_url), &url), 0);
        cr_expect_str_eq(url.p, expected);
        aip_buf_deinit(&url);
}

Test(llm_wire, addresses)
{
        expect_url(&aip_openai_protocol, "https://api.openai.com/v1",
                   "https://api.openai.com/v1/chat/completions");
        expect_url(&aip_openai_protocol, "http://localhost:11434/v1/",
                   "http://localhost:11434/v1/chat/completions");
        expect_url(&aip_openai_protocol, "http://h/v1/chat/completions",
                   "http://h/v1/chat/completions");
        expect_url(&aip_openai_protocol, "https://x.azure.com/openai/deployments/d?api-version=1",
                   "https://x.azure.com/openai/deployments/d/chat/completions?api-version=1");
        expect_url(&aip_anthropic_protocol, "https://api.anthropic.com",
                   "https://api.anthropic.com/v1/messages");
        expect_url(&aip_anthropic_protocol, "https://api.anthropic.com/v1//",
                   "https://api.anthropic.com/v1/messages");
        expect_url(&aip_anthropic_protocol, "https://h/v1/messages", "https://h/v1/messages");
}

Test(llm_wire, headers_are_found_whatever_their_case)
{
        struct aip_http_response response =
                llm_response_of(200,
                                "HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Request-ID:  a b \r\nx: 1\r\n"
                                "X-Request-Id: later\r\n\r\n",
                                "");
        cr_expect(aip_str_eq(aip_http_header_find(&response, "x-request-id"), AIP_STR("a b")));
        cr_expect(aip_str_eq(aip_http_header_find(&response, "X"), AIP_STR("1")));
        cr_expect_eq(aip_http_header_find(&response, "x-empty").n, 0u);
        cr_expect_null(aip_http_header_find(&response, "x-request").p);
        response.headers = AIP_STR("");
        cr_expect_null(aip_http_header_find(&response, "x").p);
}

Test(llm_wire, waits)
{
        static const struct {
                int32_t status;
                const char *headers;
                int64_t ms;
        } cases[] = {
                {503, "", 0},
                {503, "Retry-After: 7\r\n", 7000},
                {503, "Retry-After: 1.5\r\n", 1500},
                {503, "Retry-After: 0\r\n", 0},
                {503, "Retry-After: -3\r\n", 0},
                {503, "Retry-After: 1e3\r\n", 0},
                {503, "Retry-After: 99999999999999999999\r\n", 86400000},
                {503, "Retry-After: Tue, 01 Jan 2030 00:00:10 GMT\r\n", 10000},
                {503, "Retry-After: Tue, 01 Jan 2029 00:00:10 GMT\r\n", 0},
                {503, "Retry-After: when we are ready\r\n", 0},
                {429, "retry-after-ms: 20\r\nRetry-After: 7\r\n", 20},
                {429, "x-ms-retry-after-ms: 30\r\nRetry-After: 7\r\n", 30},
                {429, "retry-after-ms: x\r\nRetry-After: 7\r\n", 7000},
                /* limits that are used up, and only those */
                {429,
                 "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 12ms\r\n"
                 "x-ratelimit-remaining-tokens: 5\r\nx-ratelimit-reset-tokens: 6m0s\r\n",
                 12},
                {429, "x-ratelimit-reset-requests: 1s\r\nx-ratelimit-reset-tokens: 6m0s\r\n",
                 360000},
                {429, "x-ratelimit-reset-requests: 1h2m3.5s\r\n", 3723500},
                {429, "x-ratelimit-reset-requests: 250us\r\n", 1},
                {429, "x-ratelimit-reset-requests: 5 parsecs\r\n", 0},
                {429, "x-ratelimit-reset-requests: 5\r\n", 0},
                {500, "x-ratelimit-reset-requests: 1s\r\n", 0},
                {429,
                 "anthropic-ratelimit-requests-remaining: 0\r\n"
                 "anthropic-ratelimit-requests-reset: 2030-01-01T00:00:02Z\r\n"
                 "anthropic-ratelimit-tokens-remaining: 9\r\n"
                 "anthropic-ratelimit-tokens-reset: 2030-01-01T00:10:00Z\r\n",
                 2000},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                struct aip_http_response response =
                        llm_response_of(cases[i].status, cases[i].headers, "");
                cr_expect_eq(aip_provider_retry_after_ms(&response), cases[i].ms, "%s: %lld",
                             cases[i].headers, (long long)aip_provider_retry_after_ms(&response));
        }
}

Test(llm_wire, waits_are_in_the_error)
{
        struct aip_http_response response = llm_response_of(429, "retry-after-ms: 77\r\n", "{}");
        struct aip_llm_call call = {0};
        struct aip_llm_answer answer;
        aip_error *err = NULL;
        cr_assert_lt(
                aip_chat_parse(&aip_openai_protocol, &response, AIP_STR(""), &call, &answer, &err),
                0);
        cr_expect_eq(aip_error_retry_after_ms(err), 77);
        aip_error_free(err);
}

static void expect_foreign(const char *text, size_t max, const char *secret, const char *expected)
{
        struct aip_buf out = AIP_BUF_INIT(1024);
        cr_assert_eq(aip_llm_append_foreign(&out, aip_str_of(text), max, aip_str_of(secret)), 0);
        cr_expect_str_eq(out.p ? out.p : "", expected);
        aip_buf_deinit(&out);
}

Test(llm_wire, foreign_text)
{
        expect_foreign("plain", 10, NULL, "plain");
        expect_foreign("", 10, "key", "");
        expect_foreign("key", 10, "key", "[redacted]");
        expect_foreign("akeybkeyc", 40, "key", "a[redacted]b[redacted]c");
        expect_foreign("keykey", 14, "key", "[redacted][red…");
        expect_foreign("a\r\n\tb\x7f", 10, NULL, "a   b ");
        expect_foreign("\xc3\xa4\xc3", 10, NULL, "ä?");
        expect_foreign("ää", 3, NULL, "ä…");
        expect_foreign("\xc2\x9b"
                       "31m",
                       10, NULL, " 31m");
        expect_foreign("\xc0\x80\xed\xa0\x80", 10, NULL, "?????");
        expect_foreign("abc", 3, NULL, "abc");
        expect_foreign("abcd", 3, NULL, "abc…");
}

Test(llm_wire, error_kinds_are_a_closed_set)
{
        aip_error *err = NULL;
        cr_expect_eq(aip_llm_error_set(&err, AIP_LLM_PROVIDER_TIMEOUT, "%d", 7), AIP_ETIMEOUT);
        cr_expect_str_eq(aip_error_kind(err), "provider_timeout");
        cr_expect(aip_error_is_retryable(err));
        aip_error_free(err);
        cr_expect_eq(aip_llm_error_set(NULL, AIP_LLM_INTERNAL_CANCELLED, "x"), AIP_ECANCELLED);
        cr_expect_null(aip_llm_kind_find(AIP_STR("provider_")));
        cr_expect_str_eq(aip_llm_kind_find(AIP_STR("policy_refused")), AIP_LLM_POLICY_REFUSED);
}
