/* Names that take long to resolve: nothing may wait for them, neither the loop nor a cancel. The
 * program brings its own getaddrinfo(), which libcurl's resolver thread then finds. */
#include "model_fixture.h"
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <netdb.h>
#include <time.h>

#define SLOW_HOST "slow.test"
#define SLOW_S    3

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **ret)
{
        static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
        if (node && strcmp(node, SLOW_HOST) == 0) {
                nanosleep(&(struct timespec){.tv_sec = SLOW_S}, NULL);
                return EAI_NONAME;
        }
        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(node, service, hints, ret);
}

/* These tests need no server; the fixture wants a name. */
static void start(void)
{
        setenv("AIPLAT_TEST_MODEL_URL", "http://127.0.0.1:1", 0);
        model_fixture_start();
}

TestSuite(llm_dns, .init = start, .timeout = 30);

static void begin(struct model_call *c)
{
        model_call_init(c, fixture.openai, "Hello");
        struct aip_llm_config_fields fields = model_call_fields(c);
        fields.base_url = aip_str_of("http://" SLOW_HOST "/v1");
        model_call_configure(c, fields);
        model_call_begin(c);
}

Test(llm_dns, cancel_does_not_wait)
{
        struct model_call c;
        begin(&c);
        model_run_ms(100);
        cr_assert(!c.is_done);
        int64_t start_ms = aip_now_ms(fixture.loop);
        model_call_cancel(&c);
        model_wait();
        cr_expect_eq(aip_error_code(c.call.op.err), AIP_ECANCELLED);
        model_call_deinit(&c);
        model_fixture_stop();
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - start_ms;
        cr_expect_lt(ms, 1000, "it took %lld ms", (long long)ms);
}

Test(llm_dns, the_time_limit_holds)
{
        struct model_call c;
        int64_t start_ms = aip_now_ms(fixture.loop);
        begin(&c);
        model_call_cancel(&c);
        model_wait();
        model_call_deinit(&c);
        model_call_init(&c, fixture.openai, "Hello");
        struct aip_llm_config_fields fields = model_call_fields(&c);
        fields.base_url = aip_str_of("http://" SLOW_HOST "/v1");
        fields.timeout_ms = 200;
        model_call_configure(&c, fields);
        model_call_run(&c);
        cr_expect_str_eq(aip_error_kind(c.call.op.err), AIP_LLM_PROVIDER_TIMEOUT);
        cr_expect_lt(c.done_ms - start_ms, 1000);
        model_call_deinit(&c);
        model_fixture_stop();
}

Test(llm_dns, a_name_that_does_not_exist)
{
        struct model_call c;
        begin(&c);
        model_wait();
        cr_expect_str_eq(aip_error_kind(c.call.op.err), AIP_LLM_PROVIDER_UNREACHABLE);
        cr_expect_not_null(strstr(aip_error_message(c.call.op.err), SLOW_HOST));
        model_call_deinit(&c);
        model_fixture_stop();
}
