/* Streamed answers of both adapters over real sockets, against our model server. */
#include "model_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(llm_stream_http, .init = model_fixture_start, .fini = model_fixture_stop, .timeout = 60);

/* A call and the text that was told of it. */
struct heard {
        struct model_call c;
        struct aip_buf text;
        char prompt[256];
        int n_deltas, n_tool_calls;
        int cancel_at; /* the delta to cancel at; 0: none */
};

static void hear(struct aip_llm_call *call, const struct aip_llm_delta *delta)
{
        struct model_call *c = AIP_CONTAINER_OF(call, struct model_call, call);
        struct heard *heard = AIP_CONTAINER_OF(c, struct heard, c);
        cr_assert(!c->is_done);
        heard->n_deltas++;
        heard->n_tool_calls += delta->kind == AIP_LLM_DELTA_TOOL_CALL_BEGIN;
        if (delta->kind == AIP_LLM_DELTA_TEXT)
                cr_assert_eq(aip_buf_append(&heard->text, delta->text), 0);
        if (heard->cancel_at > 0)
                cr_assert_leq(heard->n_deltas, heard->cancel_at, "a delta after the cancel");
        if (heard->n_deltas == heard->cancel_at)
                model_call_cancel(c);
}

static void begin(struct heard *heard, struct aip_llm llm, const char *prompt, const char *rule)
{
        *heard = (struct heard){0};
        snprintf(heard->prompt, sizeof(heard->prompt), "%s with %s", prompt, llm.ops->name);
        model_rule(heard->prompt, rule);
        aip_buf_init(&heard->text, 1 << 20);
        model_call_init(&heard->c, llm, heard->prompt);
        heard->c.call.on_delta = hear;
}

static void end(struct heard *heard)
{
        model_call_deinit(&heard->c);
        aip_buf_deinit(&heard->text);
}

#define FOR_BOTH(llm)                                                                              \
        for (size_t i_ = 0; i_ < 2; i_++)                                                          \
                for (const struct aip_llm *llm = i_ ? &fixture.anthropic : &fixture.openai; llm;   \
                     llm = NULL)

static void expect_answer(const struct heard *heard, const char *content)
{
        const struct aip_llm_call *call = &heard->c.call;
        cr_assert_null(call->op.err, "%s", aip_error_message(call->op.err));
        cr_expect_str_eq(call->ret_answer.content, content);
        cr_expect_str_eq(aip_buf_str(&heard->text).p, content);
        cr_expect_eq(call->ret_answer.finish_reason, AIP_LLM_FINISH_STOP);
        cr_expect_str_eq(call->ret_answer.model_name, "test-model");
}

Test(llm_stream_http, an_answer_in_pieces_of_any_size)
{
        static const int splits[] = {0, 1, 7, 100};
        FOR_BOTH(llm)
        {
                for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
                        struct heard heard;
                        char prompt[64], rule[200];
                        snprintf(prompt, sizeof(prompt), "split %d", splits[i]);
                        snprintf(rule, sizeof(rule),
                                 "\"text\": \"w\\u00f6rd by w\\u00f6rd\", \"tokens\": 7, "
                                 "\"reasoning\": \"hm, well\", \"split\": %d",
                                 splits[i]);
                        begin(&heard, *llm, prompt, rule);
                        model_call_run(&heard.c);
                        expect_answer(&heard, "wörd by wörd");
                        cr_expect_eq(heard.n_deltas, 5);
                        cr_expect_eq(heard.c.call.ret_answer.output_tokens, 7);
                        cr_expect_gt(heard.c.call.ret_answer.input_tokens, 0);
                        end(&heard);
                }
        }
}

Test(llm_stream_http, tools)
{
        aip_value *tools = NULL, *expected = NULL;
        cr_assert_eq(aip_value_parse(aip_str_of("[{\"name\":\"weather\"},{\"name\":\"time\"}]"),
                                     &tools, NULL),
                     0);
        cr_assert_eq(aip_value_parse(aip_str_of("{\"city\":\"Köln\"}"), &expected, NULL), 0);
        FOR_BOTH(llm)
        {
                struct heard heard;
                begin(&heard, *llm, "call tools",
                      "\"tool_calls\": [{\"name\": \"weather\", \"arguments\": "
                      "{\"city\": \"K\\u00f6ln\"}}, {\"name\": \"time\"}]");
                heard.c.call.tools = tools;
                model_call_run(&heard.c);
                cr_assert_null(heard.c.call.op.err);
                const struct aip_llm_answer *answer = &heard.c.call.ret_answer;
                const aip_value *call = aip_value_at(answer->tool_calls, 0);
                cr_expect_eq(answer->finish_reason, AIP_LLM_FINISH_TOOL_CALLS);
                cr_expect_eq(aip_value_size(answer->tool_calls), 2u);
                cr_expect_eq(heard.n_tool_calls, 2);
                cr_expect(aip_value_equal(aip_value_get_cstr(call, "arguments"), expected));
                end(&heard);
        }
        aip_value_unref(tools);
        aip_value_unref(expected);
}

Test(llm_stream_http, streams_that_go_wrong)
{
        static const struct {
                const char *rule, *kind;
        } cases[] = {
                {"\"stream_error\": true", NULL},
                {"\"disconnect\": \"mid\"", AIP_LLM_PROVIDER_UNREACHABLE},
                {"\"stall\": true", AIP_LLM_PROVIDER_TIMEOUT},
                {"\"status\": 429", AIP_LLM_PROVIDER_RATE_LIMITED},
                {"\"finish\": \"content_filter\", \"text\": \"\"", AIP_LLM_POLICY_REFUSED},
                {"\"html\": true", AIP_LLM_PROVIDER_BAD_ANSWER},
        };
        FOR_BOTH(llm)
        {
                for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                        struct heard heard;
                        char prompt[64];
                        snprintf(prompt, sizeof(prompt), "go wrong %zu", i);
                        begin(&heard, *llm, prompt, cases[i].rule);
                        heard.c.call.idle_timeout_ms = 200;
                        model_call_run(&heard.c);
                        const char *kind = cases[i].kind            ? cases[i].kind
                                           : llm == &fixture.openai ? AIP_LLM_PROVIDER_FAILED
                                                                    : AIP_LLM_PROVIDER_OVERLOADED;
                        cr_assert_not_null(heard.c.call.op.err, "%s", cases[i].rule);
                        cr_expect_str_eq(aip_error_kind(heard.c.call.op.err), kind, "%s: %s",
                                         cases[i].rule, aip_error_message(heard.c.call.op.err));
                        end(&heard);
                }
        }
}

Test(llm_stream_http, a_missing_end_mark_does_not_matter)
{
        FOR_BOTH(llm)
        {
                struct heard heard;
                begin(&heard, *llm, "no end", "\"text\": \"all of it\", \"no_end\": true");
                model_call_run(&heard.c);
                expect_answer(&heard, "all of it");
                end(&heard);
        }
}

/* Pauses shorter than the limit add up to more than it. */
Test(llm_stream_http, a_slow_stream_is_not_an_idle_one)
{
        FOR_BOTH(llm)
        {
                struct heard heard;
                begin(&heard, *llm, "slow", "\"text\": \"a b c d e\", \"drip_ms\": 60");
                heard.c.call.idle_timeout_ms = 400;
                model_call_run(&heard.c);
                expect_answer(&heard, "a b c d e");
                end(&heard);
        }
}

Test(llm_stream_http, an_answer_that_is_not_streamed_is_one_too)
{
        struct heard heard;
        begin(&heard, fixture.openai, "whole",
              "\"body\": {\"choices\": [{\"message\": {\"content\": \"at once\"}}]}");
        model_call_run(&heard.c);
        cr_assert_null(heard.c.call.op.err);
        cr_expect_str_eq(heard.c.call.ret_answer.content, "at once");
        cr_expect_str_eq(heard.text.p, "at once");
        cr_expect_eq(heard.n_deltas, 1);
        end(&heard);
}

Test(llm_stream_http, cancel_from_a_delta_and_from_outside)
{
        FOR_BOTH(llm)
        {
                struct heard heard;
                begin(&heard, *llm, "cancel in delta", "\"text\": \"a b c d e f\"");
                heard.cancel_at = 2;
                model_call_run(&heard.c);
                cr_expect_eq(heard.n_deltas, 2);
                cr_expect_str_eq(aip_error_kind(heard.c.call.op.err), AIP_LLM_INTERNAL_CANCELLED);
                end(&heard);

                begin(&heard, *llm, "cancel outside", "\"text\": \"a b c\", \"stall\": true");
                model_call_begin(&heard.c);
                model_run_ms(150);
                cr_expect_gt(heard.n_deltas, 0);
                model_call_cancel(&heard.c);
                model_wait();
                cr_expect_str_eq(aip_error_kind(heard.c.call.op.err), AIP_LLM_INTERNAL_CANCELLED);
                end(&heard);
        }
}

Test(llm_stream_http, many_at_once)
{
        static struct heard heard[200];
        for (size_t i = 0; i < 200; i++) {
                begin(&heard[i], i % 2 ? fixture.openai : fixture.anthropic, "many",
                      "\"text\": \"a b c d\", \"split\": 50");
                model_call_begin(&heard[i].c);
        }
        model_wait();
        for (size_t i = 0; i < 200; i++) {
                expect_answer(&heard[i], "a b c d");
                end(&heard[i]);
        }
}
