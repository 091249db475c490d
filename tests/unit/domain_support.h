/* What the suites of the domain share: a job to begin with, and one way to look at a refusal. */
#ifndef AIPLAT_TESTS_DOMAIN_SUPPORT_H
#define AIPLAT_TESTS_DOMAIN_SUPPORT_H

#include "macros.h"
#include "mem.h"
#include <aiplat/job.h>
#include <criterion/criterion.h>
#include <stdio.h>

#define T0 INT64_C(1700000000000000) /* 2023-11-14T22:13:20Z */

AIP_DEFINE_CLEANUP(aip_job *, aip_job_free);
#define _cleanup_job_ _cleanup_(aip_job_free_p)

static const struct aip_id job_id = {
        {0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, 0x70, 0x01, 0x80, 1, 2, 3, 4, 5, 6, 7}};

/* The call must have been refused with `code` and a message that contains `text`. */
static inline void expect_refused(int result, aip_error **err, int code, const char *text)
{
        cr_assert_eq(result, code, "%d instead of %d: %s", result, code, aip_error_message(*err));
        cr_assert_eq(aip_error_code(*err), code);
        cr_assert(strstr(aip_error_message(*err), text), "\"%s\" lacks \"%s\"",
                  aip_error_message(*err), text);
        aip_error_free(*err);
        *err = NULL;
}

static inline void expect_ok(int result, aip_error **err)
{
        cr_assert_eq(result, 0, "%d: %s", result, aip_error_message(*err));
        cr_assert_null(*err);
}

/* `n` times `piece`, owned by caller. */
static inline char *repeat(const char *piece, size_t n)
{
        size_t bytes = strlen(piece);
        char *text = malloc(n * bytes + 1);
        cr_assert_not_null(text);
        for (size_t i = 0; i < n; i++)
                memcpy(text + i * bytes, piece, bytes);
        text[n * bytes] = '\0';
        return text;
}

static inline struct aip_job_spec spec_of(const char *prompt)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        spec.prompt = aip_str_of(prompt);
        return spec;
}

static inline aip_job *job_of(const struct aip_job_spec *spec)
{
        aip_error *err = NULL;
        aip_job *job = NULL;
        expect_ok(aip_job_new(job_id, spec, T0, &job, &err), &err);
        return job;
}

static inline aip_job *job_started(const struct aip_job_spec *spec)
{
        aip_error *err = NULL;
        struct aip_transition t;
        aip_job *job = job_of(spec);
        expect_ok(aip_job_start(job, aip_job_fields(job)->run_at_us, &t, &err), &err);
        return job;
}

static inline aip_error *failure(int code, const char *kind, int is_retryable,
                                 int64_t retry_after_ms)
{
        aip_error *e = NULL;
        aip_error_set(&e, code, "the model did not answer");
        if (kind)
                aip_error_set_kind(e, kind);
        aip_error_set_retryable(e, is_retryable, retry_after_ms);
        return e;
}

static inline int str_is(struct aip_str s, const char *text)
{
        return aip_str_eq(s, aip_str_of(text));
}

#endif
