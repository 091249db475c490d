/* The composition root: what it makes, that it leaves soon whatever is away, and that nothing is left
 * behind. On the real loop. */
#include "macros.h"
#include <aiplat/runtime.h>
#include <criterion/criterion.h>

struct stopper {
        struct aip_timer timer;
        aip_runtime *runtime;
};

static void stop(struct aip_timer *timer)
{
        aip_runtime_stop(AIP_CONTAINER_OF(timer, struct stopper, timer)->runtime);
}

static aip_settings *settings_of(const char *database)
{
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        static const char *const environment[] = {"HOME=/nowhere", NULL};
        const char *overrides[] = {database, "AIPLAT_LISTEN=127.0.0.1:0", "AIPLAT_DRAIN_TIMEOUT_MS=1000", NULL};
        aip_settings *settings = NULL;
        aip_error *err = NULL;

        source.env_file = "";
        source.environ = environment;
        source.overrides = overrides;
        cr_assert_eq(aip_settings_load(&source, &settings, &err), 0, "%s", aip_error_message(err));
        return settings;
}

static aip_runtime *runtime_of(const aip_settings *settings)
{
        struct aip_runtime_options options = {.self_size = sizeof(options)};
        aip_runtime *runtime = NULL;

        cr_assert_eq(aip_runtime_new(settings, &options, &runtime, NULL), 0);
        return runtime;
}

/* Run for `ms`, then leave; how long leaving took. */
static int64_t leave_after(aip_runtime *runtime, int64_t ms)
{
        struct stopper stopper = {{.fire = stop}, runtime};
        struct aip_loop loop = aip_runtime_loop(runtime);
        int64_t began_ms = aip_now_ms(loop);
        aip_error *err = NULL;

        aip_timer_set(loop, &stopper.timer, ms);
        cr_expect_eq(aip_runtime_run(runtime, &err), 0, "%s", aip_error_message(err));
        aip_error_free(err);
        return aip_now_ms(loop) - began_ms - ms;
}

Test(runtime, leaves_at_once_when_nothing_is_going_on, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);

        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_start_gateway(runtime, NULL), 0);
        cr_expect_gt(aip_runtime_gateway_port(runtime), 0);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        cr_expect_lt(leave_after(runtime, 100), 1000);
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}

Test(runtime, leaves_soon_when_the_database_was_never_there, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=postgresql://u:p@127.0.0.1:1/d");
        aip_runtime *runtime = runtime_of(settings);
        int64_t took_ms;

        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_start_gateway(runtime, NULL), 0);
        took_ms = leave_after(runtime, 300);
        cr_expect_lt(took_ms, 5000, "%lld ms", (long long)took_ms);
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}

Test(runtime, is_freed_at_any_point, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);

        aip_runtime_free(runtime);
        runtime = runtime_of(settings);
        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        aip_runtime_free(runtime);
        runtime = runtime_of(settings);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        aip_runtime_free(runtime);
        aip_runtime_free(NULL);
        aip_settings_free(settings);
}

Test(runtime, runs_a_job_in_process, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);
        struct aip_job_submit submit = {.spec = AIP_JOB_SPEC_INIT};
        struct aip_job_read read = {.wait_ms = 10000};

        /* Without a key it fails, which is an end as well. */
        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        submit.spec.prompt = aip_str_of("p");
        aip_job_service_submit(aip_runtime_jobs(runtime), &submit);
        aip_runtime_run_until(runtime, &submit.op);
        cr_assert_null(submit.op.err, "%s", aip_error_message(submit.op.err));
        read.id = submit.ret_job_id;
        aip_job_service_read(aip_runtime_jobs(runtime), &read);
        aip_runtime_run_until(runtime, &read.op);
        cr_assert_null(read.op.err);
        cr_expect(aip_job_status_is_terminal(aip_job_fields(read.ret_job)->status));
        aip_job_free(read.ret_job);
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}
