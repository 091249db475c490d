/* Allocation-failure injection; alloc_fail.h says how it is used. Single-threaded tests only. */
#include "alloc_fail.h"
#include "mem.h"
#include <cjson/cJSON.h>
#include <stdio.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_LEAK_CHECK 1
#endif
#endif

#ifdef HAS_LEAK_CHECK
#include <sanitizer/lsan_interface.h>
#endif

#define RUNS_MAX 100000 /* a body that never gets through is a mistake of the test */

static unsigned long countdown; /* the allocation at which it reaches 0 fails; 0: none */
static int has_failed;

static int hook(size_t bytes)
{
        (void)bytes;
        if (countdown == 0 || --countdown > 0)
                return 0;
        has_failed = 1;
        return 1;
}

/* cJSON allocates by itself; through these it fails like the rest. */
static void *cjson_alloc(size_t bytes)
{
        return aip_alloc(bytes);
}

void alloc_fail_arm(unsigned long n)
{
        cJSON_Hooks hooks = {cjson_alloc, free};
        cJSON_InitHooks(&hooks);
        countdown = n;
        has_failed = 0;
        aip_mem_fail_hook = hook;
}

int alloc_fail_disarm(void)
{
        aip_mem_fail_hook = NULL;
        cJSON_InitHooks(NULL);
        countdown = 0;
        return has_failed;
}

static int problem(struct alloc_fail_report *report, const char *what, int code)
{
        snprintf(report->problem, sizeof(report->problem),
                 "failing allocation %lu: %s (code %d, %s)", report->n_failures + 1, what, code,
                 aip_error_code_name(code));
        return -1;
}

/* One run that failed an allocation, judged. */
static int judge(struct alloc_fail_report *report, int r, const aip_error *err)
{
        if (r != AIP_ENOMEM)
                return problem(report, "was not reported as AIP_ENOMEM", r);
        if (err && aip_error_code(err) != AIP_ENOMEM)
                return problem(report, "the error object has another code", aip_error_code(err));
        return 0;
}

static int check_leaks(struct alloc_fail_report *report)
{
#ifdef HAS_LEAK_CHECK
        if (__lsan_do_recoverable_leak_check())
                return problem(report, "something leaked, see standard error", 0);
#endif
        (void)report;
        return 0;
}

int alloc_fail_each(alloc_fail_body body, void *user, struct alloc_fail_report *report)
{
        *report = (struct alloc_fail_report){0};
        for (unsigned long n = 1; n <= RUNS_MAX; n++) {
                aip_error *err = NULL;
                alloc_fail_arm(n);
                int r = body(user, &err);
                int has_injected = alloc_fail_disarm();
                int verdict = has_injected ? judge(report, r, err) : 0;
                aip_error_free(err);
                if (verdict < 0)
                        return -1;
                if (!has_injected)
                        return r == 0 ? check_leaks(report)
                                      : problem(report, "fails without an injected failure", r);
                report->n_failures++;
        }
        return problem(report, "the body never gets through", 0);
}
