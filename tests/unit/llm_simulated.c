/* The simulated provider: the same answer to the same prompt, labelled, and misbehaving as told. */
#include "llm_calls.h"

static struct aip_llm llm;

static void start(void)
{
        sim_start();
        cr_assert_eq(aip_simulated_llm_new(loop, &llm, NULL), 0);
}

static void stop(void)
{
        llm.ops->free(llm.self);
        sim_stop();
}

TestSuite(llm_simulated, .init = start, .fini = stop);

static void run(struct sim_call *c, const char *model, const char *prompt)
{
        sim_call_init(c, model, prompt);
        sim_call_run(c, llm);
}

Test(llm_simulated, answers_are_labelled_and_repeatable)
{
        struct sim_call a, b, other;
        run(&a, "simulated", "Write a haiku about programming");
        run(&b, "any-model", "Write a haiku about programming");
        run(&other, "simulated", "Write a haiku about the sea");
        cr_assert_null(a.call.op.err);
        cr_expect_eq(strncmp(a.call.ret_answer.content, "[simulated] ", 12), 0);
        cr_expect_str_eq(a.call.ret_answer.content, b.call.ret_answer.content);
        cr_expect_str_neq(a.call.ret_answer.content, other.call.ret_answer.content);
        cr_expect_str_eq(a.call.ret_answer.response_id, b.call.ret_answer.response_id);
        cr_expect_str_eq(a.call.ret_answer.model_name, "simulated");
        cr_expect_str_eq(b.call.ret_answer.model_name, "any-model");
        cr_expect_str_eq(a.call.ret_answer.provider, "simulated");
        cr_expect_eq(a.call.ret_answer.finish_reason, AIP_LLM_FINISH_STOP);
        cr_expect_eq(a.call.ret_answer.input_tokens, 10);
        cr_expect_gt(a.call.ret_answer.output_tokens, 0);
        cr_expect_eq(a.call.ret_tries, 1);
        cr_expect_eq(a.done_ms, b.done_ms);
        sim_call_deinit(&a);
        sim_call_deinit(&b);
        sim_call_deinit(&other);
}

/* The words must stay the same from release to release: people compare them in their tests. */
Test(llm_simulated, the_words_are_a_promise)
{
        struct sim_call c;
        run(&c, "simulated", "Write a haiku about programming");
        cr_expect_str_eq(c.call.ret_answer.content,
                         "[simulated] The queue hums softly —\n"
                         "words made up from a table,\n"
                         "all the same, hello.\n\n"
                         "(in place of an answer to: Write a haiku about programming)");
        sim_call_deinit(&c);
}

Test(llm_simulated, echo)
{
        struct sim_call c;
        run(&c, "simulated,echo", "Hello");
        cr_expect_str_eq(c.call.ret_answer.content, "[simulated] system: Be brief.\nuser: Hello");
        cr_expect_eq(c.call.ret_answer.content_bytes, strlen(c.call.ret_answer.content));
        sim_call_deinit(&c);
}

Test(llm_simulated, tokens)
{
        struct sim_call c;
        run(&c, "tokens=3", "Hello");
        cr_expect_eq(c.call.ret_answer.output_tokens, 3);
        cr_expect_eq(c.call.ret_answer.finish_reason, AIP_LLM_FINISH_STOP);
        int n_spaces = 0;
        for (const char *p = c.call.ret_answer.content; *p; p++)
                n_spaces += *p == ' ';
        cr_expect_eq(n_spaces, 3);
        sim_call_deinit(&c);
        run(&c, "tokens=1000", "Hello"); /* of at most 100 */
        cr_expect_eq(c.call.ret_answer.output_tokens, 100);
        cr_expect_eq(c.call.ret_answer.finish_reason, AIP_LLM_FINISH_LENGTH);
        sim_call_deinit(&c);
        run(&c, "tokens=0", "Hello");
        cr_expect_str_eq(c.call.ret_answer.content, "[simulated] ");
        sim_call_deinit(&c);
}

Test(llm_simulated, latency)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        run(&c, "simulated,latency=250", "Hello");
        cr_expect_null(c.call.op.err);
        cr_expect_eq(c.done_ms - start_ms, 250);
        sim_call_deinit(&c);
}

Test(llm_simulated, time_limits)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "latency=250", "Hello");
        c.call.op.deadline_ms = start_ms + 100;
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_TIMEOUT);
        cr_expect(!aip_error_is_retryable(c.call.op.err));
        cr_expect_eq(c.done_ms - start_ms, 100);
        sim_call_deinit(&c);
        run(&c, "latency=130000", "Hello"); /* the configuration's limit is 120 s */
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_TIMEOUT);
        cr_expect(aip_error_is_retryable(c.call.op.err));
        sim_call_deinit(&c);
        sim_call_init(&c, "simulated", "Hello");
        c.call.op.deadline_ms = aip_now_ms(loop) - 5;
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_TIMEOUT);
        sim_call_deinit(&c);
}

Test(llm_simulated, failures)
{
        struct sim_call c;
        run(&c, "fail=caller_too_large", "Hello");
        sim_call_expect_kind(&c, AIP_LLM_CALLER_TOO_LARGE);
        cr_expect(!aip_error_is_retryable(c.call.op.err));
        sim_call_deinit(&c);
        run(&c, "fail=provider_rate_limited,retry-after=50", "Hello");
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_RATE_LIMITED);
        cr_expect(aip_error_is_retryable(c.call.op.err));
        cr_expect_eq(aip_error_retry_after_ms(c.call.op.err), 50);
        sim_call_deinit(&c);
}

Test(llm_simulated, failures_are_counted_for_each_job)
{
        struct sim_call a, b;
        sim_call_init(&a, "failures=2,fail=provider_failed", "Hello");
        sim_call_init(&b, "failures=2", "Hello");
        a.job_id.bytes[0] = 1;
        b.job_id.bytes[0] = 2;
        for (int i = 0; i < 2; i++) {
                sim_call_run(&a, llm);
                sim_call_expect_kind(&a, AIP_LLM_PROVIDER_FAILED);
                sim_call_run(&b, llm);
                sim_call_expect_kind(&b, AIP_LLM_PROVIDER_OVERLOADED);
        }
        sim_call_run(&a, llm);
        cr_expect_null(a.call.op.err);
        sim_call_run(&b, llm);
        cr_expect_null(b.call.op.err);
        sim_call_deinit(&a);
        sim_call_deinit(&b);
}

Test(llm_simulated, counts_of_the_latest_jobs_are_kept_and_memory_is_bounded)
{
        struct sim_call c;
        sim_call_init(&c, "failures=1", "Hello");
        for (uint32_t i = 0; i < 200000; i++) {
                memcpy(c.job_id.bytes, &i, sizeof(i));
                sim_call_run(&c, llm);
                cr_assert_not_null(c.call.op.err);
        }
        for (uint32_t i = 200000 - 65536; i < 200000; i++) {
                memcpy(c.job_id.bytes, &i, sizeof(i));
                sim_call_run(&c, llm);
                cr_assert_null(c.call.op.err);
        }
        sim_call_deinit(&c);
}

Test(llm_simulated, unknown_words_are_ignored)
{
        struct sim_call c;
        run(&c, "gpt-4,latency=,tokens=x,fail=nonsense,,latency=12345678901234,=", "Hello");
        cr_expect_null(c.call.op.err);
        sim_call_deinit(&c);
}

Test(llm_simulated, cancel)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "latency=1000", "Hello");
        sim_call_begin(&c, llm);
        aip_sim_loop_run_until(sim, start_ms + 10);
        llm.ops->cancel(llm.self, &c.call);
        llm.ops->cancel(llm.self, &c.call);
        cr_assert_eq(c.n_done, 0);
        sim_run();
        cr_assert_eq(c.n_done, 1);
        cr_expect_eq(aip_error_code(c.call.op.err), AIP_ECANCELLED);
        cr_expect_lt(c.done_ms - start_ms, 1000);
        sim_call_deinit(&c);
}

Test(llm_simulated, cancel_of_a_call_that_has_ended_changes_nothing)
{
        struct sim_call c;
        sim_call_init(&c, "simulated", "Hello");
        sim_call_begin(&c, llm);
        llm.ops->cancel(llm.self, &c.call);
        sim_run();
        cr_expect_eq(c.n_done, 1);
        cr_expect_null(c.call.op.err);
        sim_call_deinit(&c);
}

Test(llm_simulated, a_hundred_thousand_in_flight)
{
        size_t n = 100000;
        struct sim_call *calls = calloc(n, sizeof(*calls));
        aip_llm_config *config = llm_config_of("simulated", "latency=1000");
        for (size_t i = 0; i < n; i++) {
                struct aip_llm_call *call = &calls[i].call;
                call->op.done = sim_call_done;
                call->config = config;
                sim_call_begin(&calls[i], llm);
        }
        sim_run();
        for (size_t i = 0; i < n; i++) {
                cr_assert_eq(calls[i].n_done, 1);
                cr_assert_null(calls[i].call.op.err);
                aip_llm_answer_deinit(&calls[i].call.ret_answer);
        }
        aip_llm_config_unref(config);
        free(calls);
}

/* ---- streaming and tools ---- */

static aip_value *value_of(const char *json)
{
        aip_value *value = NULL;
        aip_error *err = NULL;
        aip_value_parse(aip_str_of(json), &value, &err);
        cr_assert_null(err, "%s: %s", json, aip_error_message(err));
        return value;
}

Test(llm_simulated, a_stream_tells_the_answer_word_by_word)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "echo,pace=20", "Hello you");
        sim_call_hear(&c);
        sim_call_run(&c, llm);
        cr_assert_null(c.call.op.err);
        cr_expect_str_eq(c.call.ret_answer.content,
                         "[simulated] system: Be brief.\nuser: Hello you");
        cr_expect_str_eq(c.told.p, "[simulated] |system: |Be |brief.\n|user: |Hello |you|");
        cr_expect_eq(c.done_ms - start_ms, 7 * 20);
        sim_call_deinit(&c);
}

Test(llm_simulated, a_stream_without_a_pace_comes_in_one_turn)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "tokens=3,latency=50", "x");
        sim_call_hear(&c);
        sim_call_run(&c, llm);
        cr_assert_null(c.call.op.err);
        cr_expect_eq(c.done_ms - start_ms, 50);
        sim_call_deinit(&c);
}

Test(llm_simulated, a_stream_can_fail_midway_be_late_and_be_cancelled)
{
        struct sim_call c;
        sim_call_init(&c, "tokens=9,pace=10,fail=provider_unreachable,after=3", "x");
        sim_call_hear(&c);
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_UNREACHABLE);
        cr_expect_eq(strlen(c.told.p) - strlen(strrchr(c.told.p, '|')) + 1, c.told.n);
        sim_call_deinit(&c);

        sim_call_init(&c, "tokens=9,pace=10", "x");
        sim_call_hear(&c);
        c.call.op.deadline_ms = aip_now_ms(loop) + 35;
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_TIMEOUT);
        sim_call_deinit(&c);

        sim_call_init(&c, "tokens=9,pace=10", "x");
        sim_call_hear(&c);
        c.cancel_from_delta = llm;
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_INTERNAL_CANCELLED);
        cr_expect_str_eq(c.told.p, "[simulated] |");
        sim_call_deinit(&c);

        sim_call_init(&c, "tokens=9,pace=10", "x");
        sim_call_hear(&c);
        sim_call_begin(&c, llm);
        aip_sim_loop_step(sim);
        llm.ops->cancel(llm.self, &c.call);
        llm.ops->cancel(llm.self, &c.call);
        sim_run();
        cr_expect_eq(c.n_done, 1);
        sim_call_expect_kind(&c, AIP_LLM_INTERNAL_CANCELLED);
        sim_call_deinit(&c);
}

#define TOOLS                                                                                      \
        "[{\"name\":\"weather\",\"parameters\":{\"type\":\"object\",\"properties\":{"              \
        "\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\",\"minimum\":2},"            \
        "\"unit\":{\"enum\":[\"C\",\"F\"]}},\"required\":[\"days\",\"unit\"]}},"                   \
        "{\"name\":\"time\"}]"

static void expect_calls(const char *model, const char *prompt, enum aip_llm_tool_choice choice,
                         const char *told)
{
        struct sim_call c;
        aip_value *tools = value_of(TOOLS);
        sim_call_init(&c, model, prompt);
        c.call.tools = tools;
        c.call.tool_choice = choice;
        c.call.tool_choice_name = AIP_STR("time");
        sim_call_hear(&c);
        sim_call_run(&c, llm);
        cr_assert_null(c.call.op.err);
        cr_expect_str_eq(c.told.p, told, "%s", c.told.p);
        cr_expect_eq(c.call.ret_answer.finish_reason, c.call.ret_answer.tool_calls
                                                              ? AIP_LLM_FINISH_TOOL_CALLS
                                                              : AIP_LLM_FINISH_STOP);
        aip_value_unref(tools);
        sim_call_deinit(&c);
}

Test(llm_simulated, tools)
{
        expect_calls("call", "x", AIP_LLM_TOOLS_AUTO, "[weather {\"days\":2,\"unit\":\"C\"}]");
        expect_calls("call=time+weather", "with {\"n\": 7} please", AIP_LLM_TOOLS_AUTO,
                     "[weather {\"n\":7}][time {\"n\":7}]");
        expect_calls("any", "x", AIP_LLM_TOOLS_NAMED, "[time {}]");
        expect_calls("tokens=1,call", "x", AIP_LLM_TOOLS_NONE, "[simulated] |urna|");
}

Test(llm_simulated, tools_are_called_once_after_each_word_of_the_user)
{
        aip_value *tools = value_of(TOOLS);
        aip_value *calls = value_of("[{\"id\":\"a\",\"name\":\"time\",\"arguments\":{}}]");
        struct aip_llm_message talk[] = {
                {.role = AIP_LLM_USER, .content = AIP_STR("When?")},
                {.role = AIP_LLM_ASSISTANT, .tool_calls = calls},
                {.role = AIP_LLM_TOOL, .content = AIP_STR("7"), .tool_call_id = AIP_STR("a")},
        };
        static const char *const models[] = {"call=time", "call=time,rounds=2"};
        for (size_t i = 0; i < 2; i++) {
                struct sim_call c;
                sim_call_init(&c, models[i], "");
                c.call.tools = tools;
                c.call.messages = talk;
                c.call.n_messages = AIP_ARRAY_SIZE(talk);
                sim_call_run(&c, llm);
                cr_assert_null(c.call.op.err);
                cr_expect_eq(aip_value_size(c.call.ret_answer.tool_calls), i);
                sim_call_deinit(&c);
        }
        aip_value_unref(tools);
        aip_value_unref(calls);
}

Test(llm_simulated, structured_output_fits_its_schema)
{
        struct sim_call c;
        aip_value *schema = value_of(
                "{\"type\":\"object\",\"properties\":{\"tags\":{\"type\":\"array\",\"items\":"
                "{\"$ref\":\"#/$defs/tag\"}},\"ok\":{\"type\":[\"boolean\",\"null\"]},"
                "\"self\":{\"$ref\":\"#\"}},\"required\":[\"tags\",\"ok\"],"
                "\"$defs\":{\"tag\":{\"anyOf\":[{\"type\":\"string\"}]}}}");
        sim_call_init(&c, "simulated", "x");
        c.call.output_schema = schema;
        sim_call_run(&c, llm);
        cr_assert_null(c.call.op.err);
        cr_expect_str_eq(c.call.ret_answer.content,
                         "{\"tags\":[\"[simulated] text\"],\"ok\":true}");
        aip_value_unref(schema);
        sim_call_deinit(&c);
}
