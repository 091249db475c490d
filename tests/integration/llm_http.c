/* The OpenAI and Anthropic adapters over real sockets, against our model server. */
#include "model_fixture.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

TestSuite(llm_http, .init = model_fixture_start, .fini = model_fixture_stop, .timeout = 60);

static const struct aip_llm *both(size_t i)
{
        return i == 0 ? &fixture.openai : i == 1 ? &fixture.anthropic : NULL;
}

#define FOR_BOTH(llm)                                                                              \
        for (size_t i_ = 0; both(i_); i_++)                                                        \
                for (const struct aip_llm *llm = both(i_); llm; llm = NULL)

/* Ask once under a rule; the caller deinits. */
static void ask(struct model_call *c, const struct aip_llm *llm, const char *prompt,
                const char *rule)
{
        char text[256];
        snprintf(text, sizeof(text), "%s with %s", prompt, llm->ops->name);
        model_rule(text, rule);
        model_call_init(c, *llm, text);
        model_call_run(c);
}

static void assert_kind(const struct model_call *c, const char *kind, int is_retryable)
{
        const aip_error *err = c->call.op.err;
        cr_assert_not_null(err, "%s was expected", kind);
        cr_expect_str_eq(aip_error_kind(err), kind, "%s", aip_error_message(err));
        cr_expect_eq(aip_error_is_retryable(err), is_retryable, "%s", aip_error_message(err));
        cr_expect_null(c->call.ret_answer.content);
        cr_expect_null(strstr(aip_error_message(err), KEY));
}

Test(llm_http, an_answer_comes_whole)
{
        FOR_BOTH(llm)
        {
                struct model_call c;
                ask(&c, llm, "come whole", "\"text\": \"an \\u00e4nswer\", \"tokens\": 7");
                const struct aip_llm_answer *answer = &c.call.ret_answer;
                cr_assert_null(c.call.op.err, "%s", aip_error_message(c.call.op.err));
                cr_expect_str_eq(answer->content, "an änswer");
                cr_expect_eq(answer->content_bytes, strlen("an änswer"));
                cr_expect_eq(answer->finish_reason, AIP_LLM_FINISH_STOP);
                cr_expect_eq(answer->output_tokens, 7);
                cr_expect_gt(answer->input_tokens, 0);
                cr_expect_str_eq(answer->model_name, "test-model");
                cr_expect_not_null(answer->response_id);
                cr_expect_str_eq(answer->provider, llm->ops->name);
                cr_expect_eq(c.call.ret_tries, 1);
                model_call_deinit(&c);
        }
}

Test(llm_http, a_request_carries_what_it_must)
{
        FOR_BOTH(llm)
        {
                struct model_call c;
                char text[64];
                snprintf(text, sizeof(text), "carry %s", llm->ops->name);
                model_call_init(&c, *llm, text);
                c.call.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
                model_call_run(&c);
                char *log = model_log(text);
                cr_expect_not_null(strstr(log, "00-4bf92f3577b34da6a3ce929d0e0e4736-"));
                cr_expect_not_null(strstr(log, "aiplat/0."));
                cr_expect_not_null(strstr(log, "\"temperature\": 0.7"));
                cr_expect_not_null(strstr(log, "\"system\": \"Be brief.\""));
                cr_expect_null(strstr(log, "\"expect\""));
                free(log);
                model_call_deinit(&c);
        }
}

Test(llm_http, statuses_say_whose_fault_it_is)
{
        static const struct {
                int status;
                const char *kind;
                int is_retryable;
        } cases[] = {
                {400, AIP_LLM_CALLER_INVALID_REQUEST, 0}, {401, AIP_LLM_CALLER_AUTHENTICATION, 0},
                {403, AIP_LLM_CALLER_PERMISSION, 0},      {404, AIP_LLM_CALLER_NOT_FOUND, 0},
                {408, AIP_LLM_PROVIDER_FAILED, 1},        {409, AIP_LLM_PROVIDER_FAILED, 1},
                {413, AIP_LLM_CALLER_TOO_LARGE, 0},       {422, AIP_LLM_CALLER_INVALID_REQUEST, 0},
                {429, AIP_LLM_PROVIDER_RATE_LIMITED, 1},  {500, AIP_LLM_PROVIDER_FAILED, 1},
                {502, AIP_LLM_PROVIDER_FAILED, 1},        {503, AIP_LLM_PROVIDER_OVERLOADED, 1},
                {529, AIP_LLM_PROVIDER_OVERLOADED, 1},    {302, AIP_LLM_CALLER_INVALID_REQUEST, 0},
        };
        FOR_BOTH(llm)
        {
                for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                        struct model_call c;
                        char prompt[32], rule[32];
                        snprintf(prompt, sizeof(prompt), "status %d", cases[i].status);
                        snprintf(rule, sizeof(rule), "\"status\": %d", cases[i].status);
                        ask(&c, llm, prompt, rule);
                        assert_kind(&c, cases[i].kind, cases[i].is_retryable);
                        cr_expect_eq(aip_error_provider_status(c.call.op.err), cases[i].status);
                        cr_expect_not_null(strstr(aip_error_message(c.call.op.err), "req_"));
                        model_call_deinit(&c);
                }
        }
}

Test(llm_http, retry_after_is_passed_on)
{
        static const struct {
                const char *header, *value;
                int64_t from_ms, to_ms;
        } cases[] = {
                {"Retry-After", "2", 2000, 2000},
                {"Retry-After", "0.25", 250, 250},
                {"Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT", 86400000, 86400000},
                {"retry-after-ms", "120", 120, 120},
                {"x-ms-retry-after-ms", "121", 121, 121},
                {"Retry-After", "soon", 0, 0},
        };
        FOR_BOTH(llm)
        {
                for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                        struct model_call c;
                        char prompt[32], rule[128];
                        snprintf(prompt, sizeof(prompt), "retry after %zu", i);
                        snprintf(rule, sizeof(rule),
                                 "\"status\": 429, \"headers\": {\"%s\": \"%s\"}", cases[i].header,
                                 cases[i].value);
                        ask(&c, llm, prompt, rule);
                        assert_kind(&c, AIP_LLM_PROVIDER_RATE_LIMITED, 1);
                        int64_t ms = aip_error_retry_after_ms(c.call.op.err);
                        cr_expect(ms >= cases[i].from_ms && ms <= cases[i].to_ms, "%s: %lld",
                                  cases[i].value, (long long)ms);
                        model_call_deinit(&c);
                }
        }
}

Test(llm_http, what_is_no_answer_is_called_so)
{
        static const char *const rules[] = {
                "\"malformed\": true",  "\"html\": true", "\"empty\": true",
                "\"no_choices\": true", "\"body\": \"\"", "\"body\": \"[]\"",
                "\"body\": \"null\"",
        };
        FOR_BOTH(llm)
        {
                for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
                        struct model_call c;
                        char prompt[32];
                        snprintf(prompt, sizeof(prompt), "no answer %zu", i);
                        ask(&c, llm, prompt, rules[i]);
                        assert_kind(&c, AIP_LLM_PROVIDER_BAD_ANSWER, 1);
                        model_call_deinit(&c);
                }
        }
}

Test(llm_http, the_key_is_never_repeated)
{
        FOR_BOTH(llm)
        {
                struct model_call c;
                ask(&c, llm, "echo the key in an error",
                    "\"status\": 401, \"error\": {\"message\": \"bad key " KEY " given\"}");
                assert_kind(&c, AIP_LLM_CALLER_AUTHENTICATION, 0);
                cr_expect_not_null(strstr(aip_error_message(c.call.op.err), "[redacted]"));
                model_call_deinit(&c);
                ask(&c, llm, "echo the key in a page", "\"body\": \"<html>" KEY "</html>\"");
                assert_kind(&c, AIP_LLM_PROVIDER_BAD_ANSWER, 1);
                model_call_deinit(&c);
                ask(&c, llm, "echo the key in an answer", "\"text\": \"it is " KEY "!\"");
                cr_assert_null(c.call.op.err);
                cr_expect_str_eq(c.call.ret_answer.content, "it is [redacted]!");
                model_call_deinit(&c);
        }
}

Test(llm_http, a_missing_key_is_named_and_nothing_is_sent)
{
        FOR_BOTH(llm)
        {
                struct model_call c;
                model_call_init(&c, *llm, "key missing");
                unsetenv(KEY_VARIABLE);
                model_call_run(&c);
                setenv(KEY_VARIABLE, KEY, 1);
                assert_kind(&c, AIP_LLM_CALLER_AUTHENTICATION, 0);
                cr_expect_eq(aip_error_code(c.call.op.err), AIP_EUPSTREAM);
                cr_expect_not_null(strstr(aip_error_message(c.call.op.err), KEY_VARIABLE));
                cr_expect_eq(c.call.ret_tries, 0);
                cr_expect_eq(model_seen("key missing"), 0);
                model_call_deinit(&c);
        }
}

Test(llm_http, a_key_may_end_in_a_line_break_but_not_hold_one)
{
        struct model_call c;
        setenv(KEY_VARIABLE, KEY "\n", 1);
        model_call_init(&c, fixture.openai, "line break");
        model_call_run(&c);
        cr_expect_null(c.call.op.err, "%s", aip_error_message(c.call.op.err));
        model_call_deinit(&c);
        setenv(KEY_VARIABLE, "sk-1\r\nX-Evil: 1", 1);
        model_call_init(&c, fixture.openai, "line break");
        model_call_run(&c);
        assert_kind(&c, AIP_LLM_CALLER_AUTHENTICATION, 0);
        cr_expect_null(strstr(aip_error_message(c.call.op.err), "Evil"));
        model_call_deinit(&c);
}

/* The server refuses calls without a key, and so tells that none came. */
Test(llm_http, without_a_variable_no_key_is_sent)
{
        struct model_call c;
        model_call_init(&c, fixture.openai, "no key at all");
        struct aip_llm_config_fields fields = model_call_fields(&c);
        fields.api_key_env = (struct aip_str){NULL, 0};
        model_call_configure(&c, fields);
        model_call_run(&c);
        assert_kind(&c, AIP_LLM_CALLER_AUTHENTICATION, 0);
        char *log = model_log("no key at all");
        cr_expect_null(strstr(log, "\"authorization\""));
        free(log);
        model_call_deinit(&c);
}

Test(llm_http, broken_connections_are_the_providers_fault)
{
        FOR_BOTH(llm)
        {
                struct model_call c;
                ask(&c, llm, "hang up", "\"disconnect\": \"before\"");
                assert_kind(&c, AIP_LLM_PROVIDER_UNREACHABLE, 1);
                model_call_deinit(&c);
                ask(&c, llm, "hang up halfway", "\"disconnect\": \"mid\"");
                assert_kind(&c, AIP_LLM_PROVIDER_UNREACHABLE, 1);
                model_call_deinit(&c);
        }
}

Test(llm_http, nobody_there)
{
        struct model_call c;
        model_call_init(&c, fixture.openai, "nobody");
        struct aip_llm_config_fields fields = model_call_fields(&c);
        fields.base_url = aip_str_of("http://127.0.0.1:1/v1");
        model_call_configure(&c, fields);
        model_call_run(&c);
        assert_kind(&c, AIP_LLM_PROVIDER_UNREACHABLE, 1);
        model_call_deinit(&c);
}

Test(llm_http, time_limits)
{
        FOR_BOTH(llm)
        {
                struct model_call c;
                char text[64];
                snprintf(text, sizeof(text), "too slow %s", llm->ops->name);
                model_rule(text, "\"hang\": true");
                model_call_init(&c, *llm, text);
                struct aip_llm_config_fields fields = model_call_fields(&c);
                fields.timeout_ms = 150;
                model_call_configure(&c, fields);
                int64_t start_ms = aip_now_ms(fixture.loop);
                model_call_run(&c);
                assert_kind(&c, AIP_LLM_PROVIDER_TIMEOUT, 1);
                cr_expect_eq(aip_error_code(c.call.op.err), AIP_ETIMEOUT);
                cr_expect(c.done_ms - start_ms >= 150 && c.done_ms - start_ms < 1000);
                model_call_deinit(&c);

                model_call_init(&c, *llm, text);
                start_ms = aip_now_ms(fixture.loop);
                c.call.op.deadline_ms = start_ms + 100;
                model_call_run(&c);
                assert_kind(&c, AIP_LLM_PROVIDER_TIMEOUT, 0); /* no time is left to try again */
                cr_expect(c.done_ms - start_ms >= 100 && c.done_ms - start_ms < 1000);
                model_call_deinit(&c);

                model_call_init(&c, *llm, text);
                c.call.op.deadline_ms = start_ms;
                model_call_run(&c);
                assert_kind(&c, AIP_LLM_PROVIDER_TIMEOUT, 0);
                cr_expect_eq(c.call.ret_tries, 0);
                model_call_deinit(&c);
        }
}

Test(llm_http, an_answer_in_drips)
{
        struct model_call c;
        ask(&c, &fixture.openai, "drip", "\"drip_ms\": 5, \"text\": \"slowly\"");
        cr_assert_null(c.call.op.err);
        cr_expect_str_eq(c.call.ret_answer.content, "slowly");
        model_call_deinit(&c);
}

/* The server repeats the prompt, so a prompt of that size makes an answer of that size. */
static void ask_for_bytes(struct model_call *c, size_t n)
{
        static const char text[] = "repeat at length: ";
        char *prompt = malloc(n + 1);
        memset(prompt, 'x', n);
        prompt[n] = '\0';
        memcpy(prompt, text, strlen(text));
        model_rule(text, "\"echo\": true");
        model_call_init(c, fixture.openai, prompt);
        model_call_run(c);
        free(prompt);
}

Test(llm_http, an_answer_may_not_be_larger_than_the_limit)
{
        struct model_call c;
        ask_for_bytes(&c, 17 * 1024 * 1024);
        assert_kind(&c, AIP_LLM_PROVIDER_BAD_ANSWER, 0);
        cr_expect_not_null(strstr(aip_error_message(c.call.op.err), "larger than the limit"));
        model_call_deinit(&c);
        ask_for_bytes(&c, 8 * 1024 * 1024);
        cr_assert_null(c.call.op.err);
        cr_expect_gt(c.call.ret_answer.content_bytes, 8u * 1024 * 1024);
        model_call_deinit(&c);
}

static int occurrences(const char *text, const char *words)
{
        int n = 0;
        for (const char *p = text; (p = strstr(p, words)); p++)
                n++;
        return n;
}

Test(llm_http, a_model_that_takes_no_temperature_is_asked_without)
{
        struct model_call c, again;
        const char *prompt = model_unique("tepid");
        model_rule(prompt, "\"times\": 1, \"status\": 400, \"error\": {\"message\": "
                           "\"`temperature` is deprecated for this model.\"}");
        model_call_init(&c, fixture.anthropic, prompt);
        model_call_run(&c);
        cr_expect_null(c.call.op.err, "%s", aip_error_message(c.call.op.err));
        cr_expect_eq(c.call.ret_tries, 2);
        model_call_init(&again, fixture.anthropic, prompt);
        model_call_run(&again);
        cr_expect_eq(again.call.ret_tries, 1);
        char *log = model_log(prompt);
        cr_expect_eq(occurrences(log, "\"user\": \"tepid"), 3);
        cr_expect_eq(occurrences(log, "\"temperature\": 0.7"), 1);
        free(log);
        model_call_deinit(&c);
        model_call_deinit(&again);
}

/* ---- cancel ---- */

Test(llm_http, cancel_in_flight_ends_the_request_at_once)
{
        FOR_BOTH(llm)
        {
                struct model_call c;
                char text[64];
                snprintf(text, sizeof(text), "%s", model_unique("cancelled"));
                model_rule(text, "\"hang\": true");
                model_call_init(&c, *llm, text);
                model_call_begin(&c);
                model_run_ms(100);
                cr_assert_eq(model_seen(text), 1);
                cr_assert(!c.is_done);
                int64_t start_ms = aip_now_ms(fixture.loop);
                model_call_cancel(&c);
                model_call_cancel(&c);
                model_wait();
                cr_expect_lt(c.done_ms - start_ms, 100);
                cr_expect_eq(aip_error_code(c.call.op.err), AIP_ECANCELLED);
                cr_expect_str_eq(aip_error_kind(c.call.op.err), AIP_LLM_INTERNAL_CANCELLED);
                model_run_ms(50);
                char *log = model_log(text);
                cr_expect_not_null(strstr(log, "client_closed"));
                free(log);
                model_call_deinit(&c);
        }
}

Test(llm_http, cancel_at_once_sends_nothing)
{
        struct model_call c;
        model_call_init(&c, fixture.openai, "stillborn");
        model_call_begin(&c);
        model_call_cancel(&c);
        model_wait();
        cr_expect_eq(aip_error_code(c.call.op.err), AIP_ECANCELLED);
        model_run_ms(50);
        cr_expect_eq(model_seen("stillborn"), 0);
        model_call_deinit(&c);
}

Test(llm_http, cancel_of_a_call_that_has_failed_already_changes_nothing)
{
        struct model_call c;
        model_call_init(&c, fixture.openai, "late cancel");
        unsetenv(KEY_VARIABLE);
        model_call_begin(&c);
        model_call_cancel(&c);
        model_wait();
        setenv(KEY_VARIABLE, KEY, 1);
        assert_kind(&c, AIP_LLM_CALLER_AUTHENTICATION, 0);
        model_call_deinit(&c);
}

/* ---- many ---- */

static struct model_call *many(size_t n, const struct aip_llm *llm, const char *prompt)
{
        struct model_call *calls = calloc(n, sizeof(*calls));
        for (size_t i = 0; i < n; i++) {
                model_call_init(&calls[i], llm[i % 2], prompt);
                model_call_begin(&calls[i]);
        }
        return calls;
}

static void free_many(struct model_call *calls, size_t n)
{
        for (size_t i = 0; i < n; i++)
                model_call_deinit(&calls[i]);
        free(calls);
}

Test(llm_http, calls_beyond_the_connections_wait_and_all_are_answered)
{
        struct aip_llm llms[] = {fixture.openai, fixture.anthropic};
        model_rule("in line", "\"latency_ms\": 100");
        size_t n = 1000;
        struct model_call *calls = many(n, llms, "in line");
        model_wait();
        for (size_t i = 0; i < n; i++)
                cr_assert_null(calls[i].call.op.err, "%s", aip_error_message(calls[i].call.op.err));
        free_many(calls, n);
}

Test(llm_http, calls_in_line_can_be_cancelled_and_run_out_of_time)
{
        struct aip_llm llms[] = {fixture.openai, fixture.anthropic};
        model_rule("stuck", "\"hang\": true");
        size_t n = 600; /* of which 256 get a connection */
        struct model_call *calls = many(n, llms, "stuck");
        struct model_call timed;
        model_call_init(&timed, fixture.openai, "stuck");
        timed.call.op.deadline_ms = aip_now_ms(fixture.loop) + 200;
        model_call_begin(&timed);
        model_run_ms(400);
        assert_kind(&timed, AIP_LLM_PROVIDER_TIMEOUT, 0);
        cr_expect_not_null(strstr(aip_error_message(timed.call.op.err), "waiting"));
        cr_expect_eq(timed.call.ret_tries, 1);
        for (size_t i = n; i-- > 0;)
                model_call_cancel(&calls[i]);
        model_wait();
        for (size_t i = 0; i < n; i++)
                cr_assert_eq(aip_error_code(calls[i].call.op.err), AIP_ECANCELLED);
        model_call_deinit(&timed);
        free_many(calls, n);
}

/* The same server by another name is another host to the client. */
Test(llm_http, a_host_that_hangs_holds_up_no_other)
{
        struct aip_llm llms[] = {fixture.openai, fixture.openai};
        model_rule("deaf", "\"hang\": true");
        size_t n = 600;
        struct model_call *calls = many(n, llms, "deaf"), c;
        char base_url[300];
        const char *port = strrchr(fixture.url, ':');
        snprintf(base_url, sizeof(base_url), "http://localhost%s/v1", port);
        model_run_ms(300);
        model_call_init(&c, fixture.openai, "through");
        struct aip_llm_config_fields fields = model_call_fields(&c);
        fields.base_url = aip_str_of(base_url);
        model_call_configure(&c, fields);
        model_call_begin(&c);
        model_run_ms(1000);
        cr_expect(c.is_done);
        cr_expect_null(c.call.op.err, "%s", aip_error_message(c.call.op.err));
        for (size_t i = 0; i < n; i++)
                model_call_cancel(&calls[i]);
        model_wait();
        model_call_deinit(&c);
        free_many(calls, n);
}

static void start_wide(void)
{
        struct rlimit limit;
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        model_fixture_start_with(4000, NULL);
}

TestSuite(llm_http_wide, .init = start_wide, .fini = model_fixture_stop, .timeout = 120);

Test(llm_http_wide, two_thousand_in_flight)
{
        struct aip_llm llms[] = {fixture.openai, fixture.anthropic};
        model_rule("all at once", "\"latency_ms\": 3000");
        size_t n = 2000;
        int64_t start_ms = aip_now_ms(fixture.loop);
        struct model_call *calls = many(n, llms, "all at once");
        model_wait();
        int64_t ms = aip_now_ms(fixture.loop) - start_ms;
        for (size_t i = 0; i < n; i++)
                cr_assert_null(calls[i].call.op.err, "%s", aip_error_message(calls[i].call.op.err));
        cr_expect_lt(ms, 15000, "%lld ms: they went one after the other", (long long)ms);
        free_many(calls, n);
}

/* ---- idle connections ---- */

static int n_descriptors(void)
{
        int n = 0;
        for (int fd = 0; fd < 1024; fd++)
                n += fcntl(fd, F_GETFD) != -1;
        return n;
}

TestSuite(llm_http_idle, .timeout = 30);

Test(llm_http_idle, connections_are_closed_when_no_call_is_on_its_way)
{
        struct model_call calls[8], again;

        model_fixture_start_idle(300);
        int n_before = n_descriptors();
        for (size_t i = 0; i < 8; i++) {
                model_call_init(&calls[i], fixture.openai, "Hello");
                model_call_begin(&calls[i]);
        }
        model_wait();
        int n_after = n_descriptors();
        cr_expect_geq(n_after, n_before + 8, "they are kept for the next calls: %d", n_after);
        model_run_ms(1000);
        cr_expect_leq(n_descriptors(), n_after - 8, "%d, then %d", n_after, n_descriptors());
        model_call_init(&again, fixture.openai, "Hello");
        model_call_run(&again);
        cr_expect_null(again.call.op.err, "calls go on with new connections");
        model_call_deinit(&again);
        for (size_t i = 0; i < 8; i++)
                model_call_deinit(&calls[i]);
        model_fixture_stop();
}
