/* The retry decorator, on the virtual clock, around a provider that does as it is told. */
#include "llm_calls.h"
#include <aiplat/llm_retry.h>

static struct aip_llm simulated, llm;
static struct aip_seeded_random generator;

static void start_with(struct aip_llm_retry_options options)
{
        sim_start();
        cr_assert_eq(aip_simulated_llm_new(loop, &simulated, NULL), 0);
        cr_assert_eq(aip_retrying_llm_new(simulated, loop, aip_random_seeded(&generator, 7),
                                          &options, &llm, NULL),
                     0);
}

static void start(void)
{
        start_with((struct aip_llm_retry_options)AIP_LLM_RETRY_OPTIONS_INIT);
}

static void stop(void)
{
        llm.ops->free(llm.self);
        sim_stop();
}

TestSuite(llm_retry, .init = start, .fini = stop);
TestSuite(llm_retry_options);

Test(llm_retry, success_at_once)
{
        struct sim_call c;
        sim_call_init(&c, "simulated", "Hello");
        sim_call_run(&c, llm);
        cr_expect_null(c.call.op.err);
        cr_expect_eq(c.call.ret_tries, 1);
        cr_expect_str_eq(c.call.ret_answer.provider, "simulated");
        cr_expect_str_eq(llm.ops->name, "simulated");
        sim_call_deinit(&c);
}

Test(llm_retry, success_at_the_third_try)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "failures=2", "Hello");
        sim_call_run(&c, llm);
        cr_expect_null(c.call.op.err);
        cr_expect_eq(c.call.ret_tries, 3);
        cr_expect_gt(c.done_ms - start_ms, 0);
        cr_expect_leq(c.done_ms - start_ms, 500 + 1000);
        sim_call_deinit(&c);
}

Test(llm_retry, tries_are_used_up)
{
        struct sim_call c;
        sim_call_init(&c, "failures=3,fail=provider_failed", "Hello");
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_FAILED);
        cr_expect(aip_error_is_retryable(c.call.op.err));
        cr_expect_eq(c.call.ret_tries, 3);
        sim_call_deinit(&c);
}

Test(llm_retry, what_will_not_pass_is_not_tried_again)
{
        struct sim_call c;
        sim_call_init(&c, "fail=caller_invalid_request", "Hello");
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_CALLER_INVALID_REQUEST);
        cr_expect_eq(c.call.ret_tries, 1);
        sim_call_deinit(&c);
}

Test(llm_retry, the_wait_asked_for_is_waited)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "failures=1,retry-after=20000", "Hello");
        sim_call_run(&c, llm);
        cr_expect_null(c.call.op.err);
        cr_expect_geq(c.done_ms - start_ms, 20000);
        cr_expect_leq(c.done_ms - start_ms, 20500);
        sim_call_deinit(&c);
}

Test(llm_retry, too_long_a_wait_is_the_callers_to_decide)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "failures=1,retry-after=60001", "Hello");
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_OVERLOADED);
        cr_expect_eq(aip_error_retry_after_ms(c.call.op.err), 60001);
        cr_expect_eq(c.done_ms, start_ms);
        sim_call_deinit(&c);
}

Test(llm_retry, a_wait_beyond_the_deadline_is_not_begun)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "failures=1,retry-after=5000", "Hello");
        c.call.op.deadline_ms = start_ms + 5000;
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_PROVIDER_OVERLOADED);
        cr_expect_eq(c.done_ms, start_ms);
        cr_expect_eq(c.call.ret_tries, 1);
        sim_call_deinit(&c);
}

Test(llm_retry, the_deadline_bounds_every_try)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "latency=400,fail=provider_failed", "Hello");
        c.call.op.deadline_ms = start_ms + 900;
        sim_call_run(&c, llm);
        cr_expect_not_null(c.call.op.err);
        cr_expect_leq(c.done_ms - start_ms, 900);
        sim_call_deinit(&c);
}

Test(llm_retry, cancel_while_asking)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "latency=1000", "Hello");
        sim_call_begin(&c, llm);
        aip_sim_loop_run_until(sim, start_ms + 10);
        llm.ops->cancel(llm.self, &c.call);
        llm.ops->cancel(llm.self, &c.call);
        sim_run();
        cr_expect_eq(c.n_done, 1);
        sim_call_expect_kind(&c, AIP_LLM_INTERNAL_CANCELLED);
        cr_expect_eq(aip_error_code(c.call.op.err), AIP_ECANCELLED);
        cr_expect_lt(c.done_ms - start_ms, 1000);
        cr_expect_eq(c.call.ret_tries, 1);
        sim_call_deinit(&c);
}

Test(llm_retry, cancel_while_waiting)
{
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "failures=1,retry-after=30000", "Hello");
        sim_call_begin(&c, llm);
        aip_sim_loop_run_until(sim, start_ms + 10000);
        cr_assert_eq(c.n_done, 0);
        llm.ops->cancel(llm.self, &c.call);
        llm.ops->cancel(llm.self, &c.call);
        cr_assert_eq(c.n_done, 0);
        sim_run();
        cr_expect_eq(c.n_done, 1);
        cr_expect_eq(aip_error_code(c.call.op.err), AIP_ECANCELLED);
        cr_expect_lt(c.done_ms - start_ms, 30000);
        sim_call_deinit(&c);
}

/* The provider's answer may be on its way already; it is an answer then, not a failure to retry. */
Test(llm_retry, cancel_of_a_failure_on_its_way_is_a_cancel)
{
        struct sim_call c;
        sim_call_init(&c, "failures=1", "Hello");
        sim_call_begin(&c, llm); /* the inner call has failed, its done is queued */
        llm.ops->cancel(llm.self, &c.call);
        sim_run();
        cr_expect_eq(c.n_done, 1);
        cr_expect_eq(aip_error_code(c.call.op.err), AIP_ECANCELLED);
        sim_call_deinit(&c);
        sim_call_init(&c, "simulated", "Hello");
        sim_call_begin(&c, llm);
        llm.ops->cancel(llm.self, &c.call);
        sim_run();
        cr_expect_eq(c.n_done, 1);
        cr_expect_null(c.call.op.err);
        sim_call_deinit(&c);
}

/* Full jitter: waits spread evenly from nothing to the limit, which doubles up to the maximum. */
Test(llm_retry_options, waits_are_spread)
{
        struct aip_llm_retry_options options = AIP_LLM_RETRY_OPTIONS_INIT;
        options.max_tries = 2;
        start_with(options);
        int64_t sum_ms = 0, least_ms = INT64_MAX, most_ms = 0;
        for (int i = 0; i < 2000; i++) {
                struct sim_call c;
                int64_t start_ms = aip_now_ms(loop);
                sim_call_init(&c, "fail=provider_failed", "Hello");
                sim_call_run(&c, llm);
                int64_t ms = c.done_ms - start_ms;
                sum_ms += ms;
                least_ms = AIP_MIN(least_ms, ms);
                most_ms = AIP_MAX(most_ms, ms);
                sim_call_deinit(&c);
        }
        cr_expect(least_ms <= 5 && most_ms >= 495 && most_ms <= 500, "%lld to %lld",
                  (long long)least_ms, (long long)most_ms);
        cr_expect(sum_ms / 2000 > 235 && sum_ms / 2000 < 265);
        stop();
}

Test(llm_retry_options, waits_grow_up_to_the_maximum)
{
        struct aip_llm_retry_options options = AIP_LLM_RETRY_OPTIONS_INIT;
        options.max_tries = 100;
        options.max_wait_ms = 1000;
        start_with(options);
        struct sim_call c;
        int64_t start_ms = aip_now_ms(loop);
        sim_call_init(&c, "fail=provider_failed", "Hello");
        sim_call_run(&c, llm);
        cr_expect_eq(c.call.ret_tries, 100);
        cr_expect_leq(c.done_ms - start_ms, 98 * 1000 + 500);
        cr_expect_gt(c.done_ms - start_ms, 35 * 1000);
        sim_call_deinit(&c);
        stop();
}

Test(llm_retry_options, nonsense_is_refused)
{
        struct aip_llm_retry_options bads[5];
        for (size_t i = 0; i < 5; i++)
                bads[i] = (struct aip_llm_retry_options)AIP_LLM_RETRY_OPTIONS_INIT;
        bads[0].max_tries = 0;
        bads[1].max_tries = 101;
        bads[2].initial_wait_ms = -1;
        bads[3].max_wait_ms = 499;
        bads[4].factor = 0.5;
        sim_start();
        cr_assert_eq(aip_simulated_llm_new(loop, &simulated, NULL), 0);
        for (size_t i = 0; i < 5; i++)
                cr_expect_eq(aip_retrying_llm_new(simulated, loop, aip_random_system(), &bads[i],
                                                  &llm, NULL),
                             AIP_EINVAL);
        simulated.ops->free(simulated.self);
        sim_stop();
}

Test(llm_retry, a_stream_that_breaks_begins_again_and_says_so)
{
        struct sim_call c;
        sim_call_init(&c, "tokens=2,failures=2,fail=provider_unreachable,after=2", "Hello");
        sim_call_hear(&c);
        sim_call_run(&c, llm);
        cr_assert_null(c.call.op.err);
        cr_expect_eq(c.call.ret_tries, 3);
        const char *last = strrchr(c.told.p, 'X');
        cr_assert_not_null(last);
        cr_expect_neq(strchr(c.told.p, 'X'), last, "%s", c.told.p);
        cr_expect_eq(strncmp(last + 1, "[simulated] |", 13), 0, "%s", c.told.p);
        sim_call_deinit(&c);
}

Test(llm_retry, a_stream_that_fails_before_its_first_delta_begins_again_silently)
{
        struct sim_call c;
        sim_call_init(&c, "tokens=2,failures=2", "Hello");
        sim_call_hear(&c);
        sim_call_run(&c, llm);
        cr_assert_null(c.call.op.err);
        cr_expect_null(strchr(c.told.p, 'X'), "%s", c.told.p);
        sim_call_deinit(&c);
}

static int n_heard;

static void cancel_at_restart(struct aip_llm_call *call, const struct aip_llm_delta *delta)
{
        n_heard++;
        if (delta->kind == AIP_LLM_DELTA_RESTART)
                llm.ops->cancel(llm.self, call);
}

Test(llm_retry, a_restart_may_be_the_moment_to_cancel)
{
        struct sim_call c;
        sim_call_init(&c, "tokens=2,failures=2,fail=provider_unreachable,after=2", "Hello");
        c.call.on_delta = cancel_at_restart;
        sim_call_run(&c, llm);
        sim_call_expect_kind(&c, AIP_LLM_INTERNAL_CANCELLED);
        cr_expect_eq(n_heard, 3);
        sim_call_deinit(&c);
}

Test(llm_retry, all_of_a_call_is_handed_on)
{
        struct sim_call c;
        aip_value *tools = NULL;
        cr_assert_eq(aip_value_parse(AIP_STR("[{\"name\":\"a\"},{\"name\":\"b\"}]"), &tools, NULL),
                     0);
        sim_call_init(&c, "failures=1", "Hello");
        c.call.tools = tools;
        c.call.tool_choice = AIP_LLM_TOOLS_NAMED;
        c.call.tool_choice_name = AIP_STR("b");
        sim_call_run(&c, llm);
        cr_assert_null(c.call.op.err);
        const aip_value *called = aip_value_at(c.call.ret_answer.tool_calls, 0);
        cr_expect(
                aip_str_eq(aip_value_as_string(aip_value_get_cstr(called, "name")), AIP_STR("b")));
        sim_call_deinit(&c);
        aip_value_unref(tools);
}
