/* Times as text both ways, and the job as the JSON that clients get. */
#include "job_view.h"
#include "macros.h"
#include <criterion/criterion.h>

/* ── times ───────────────────────────────────────────────────────────────────────────────────── */

struct time_case {
        const char *text;
        int64_t us;
};

Test(job_texts, times_are_read)
{
        static const struct time_case cases[] = {
                {"1970-01-01T00:00:00Z", 0},
                {"1970-01-01T00:00:00.000001Z", 1},
                {"1969-12-31T23:59:59.999999Z", -1},
                {"2024-01-15T10:30:00Z", INT64_C(1705314600000000)},
                {"2024-01-15t10:30:00z", INT64_C(1705314600000000)},
                {"2024-01-15 10:30:00Z", INT64_C(1705314600000000)},
                {"2024-01-15T10:30:00.5Z", INT64_C(1705314600500000)},
                {"2024-01-15T10:30:00.123456789Z", INT64_C(1705314600123456)},
                {"2024-01-15T12:30:00+02:00", INT64_C(1705314600000000)},
                {"2024-01-15T04:00:00-06:30", INT64_C(1705314600000000)},
                {"2024-02-29T00:00:00Z", INT64_C(1709164800000000)},
                {"2000-02-29T00:00:00Z", INT64_C(951782400000000)},
                {"2016-12-31T23:59:60Z", INT64_C(1483228800000000)},
                {"0000-01-01T00:00:00Z", INT64_C(-62167219200000000)},
                {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)},
        };

        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                int64_t us = 42;

                cr_expect_eq(aip_time_parse(aip_str_of(cases[i].text), &us, NULL), 0, "%s", cases[i].text);
                cr_expect_eq(us, cases[i].us, "%s: %lld", cases[i].text, (long long)us);
        }
}

Test(job_texts, what_is_no_time_is_refused)
{
        static const char *const cases[] = {
                "", "now", "2024-01-15", "2024-01-15T10:30:00", "2024-01-15T10:30Z", "2024-1-15T10:30:00Z",
                "2024-13-15T10:30:00Z", "2024-00-15T10:30:00Z", "2024-01-32T10:30:00Z",
                "2024-01-00T10:30:00Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
                "2024-01-15T24:30:00Z", "2024-01-15T10:60:00Z", "2024-01-15T10:30:61Z",
                "2024-01-15T10:30:00.Z", "2024-01-15T10:30:00.1234567890Z", "2024-01-15T10:30:00+2:00",
                "2024-01-15T10:30:00+0200", "2024-01-15T10:30:00+24:00", "2024-01-15T10:30:00+02:60",
                "2024-01-15T10:30:00Z ", " 2024-01-15T10:30:00Z", "2024-01-15X10:30:00Z",
                "+024-01-15T10:30:00Z", "-001-01-15T10:30:00Z", "2024-01-15T10:30:00ZZ",
                "2024-01-15T10:30:00,5Z",
        };

        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_error *err = NULL;
                int64_t us = 42;

                cr_expect_eq(aip_time_parse(aip_str_of(cases[i]), &us, &err), AIP_EINVAL, "%s", cases[i]);
                cr_expect_eq(us, 42, "touched on failure");
                cr_expect_not_null(strstr(aip_error_message(err), "RFC 3339"));
                aip_error_free(err);
        }
}

Test(job_texts, what_is_printed_is_read_again)
{
        static const int64_t times[] = {0, 1, -1, -1000001, INT64_C(1705314600123456),
                                        INT64_C(253402300799999999), INT64_C(-62167219200000000)};

        for (size_t i = 0; i < AIP_ARRAY_SIZE(times); i++) {
                _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(64);
                int64_t us = 42;

                cr_assert_eq(aip_time_print(times[i], &text, NULL), 0);
                cr_expect_eq(text.n, 27u, "%s", text.p);
                cr_expect_eq(aip_time_parse(aip_buf_str(&text), &us, NULL), 0, "%s", text.p);
                cr_expect_eq(us, times[i], "%s", text.p);
        }
}

Test(job_texts, no_room_for_a_time_is_told)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(26);

        cr_expect_eq(aip_time_print(0, &text, NULL), AIP_ELIMIT);
        cr_expect_eq(text.n, 0u);
}

/* ── views ───────────────────────────────────────────────────────────────────────────────────── */

#define NOW INT64_C(1705314600123456)

static aip_job *new_job(const char *prompt)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        aip_job *job = NULL;

        spec.prompt = aip_str_of(prompt);
        spec.metadata_json = aip_str_of("{\"a\":[1,\"é\"]}");
        cr_assert_eq(aip_job_new((struct aip_id){{1, 2, 3}}, &spec, NOW, &job, NULL), 0);
        return job;
}

static aip_value *view_of(const aip_job *job)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_JOB_VIEW_MAX_BYTES);
        aip_value *value = NULL;

        cr_assert_eq(aip_job_view_print(job, &text, NULL), 0);
        cr_assert_eq(aip_value_parse(aip_buf_str(&text), &value, NULL), 0, "%s", text.p);
        return value;
}

static void expect_text(const aip_value *view, const char *member, const char *wanted)
{
        const aip_value *value = aip_value_get_cstr(view, member);

        cr_assert_not_null(value, "%s is missing", member);
        if (!wanted)
                cr_expect_eq(aip_value_type(value), AIP_VALUE_NULL, "%s", member);
        else
                cr_expect(aip_str_eq(aip_value_as_string(value), aip_str_of(wanted)), "%s: %.*s", member,
                          AIP_STR_ARG(aip_value_as_string(value)));
}

Test(job_texts, a_queued_job_has_every_member)
{
        aip_job *job = new_job("say \"hi\"\n\t\xf0\x9f\x98\x80");
        aip_value *view = view_of(job);

        expect_text(view, "job_id", "01020300-0000-0000-0000-000000000000");
        expect_text(view, "status", "QUEUED");
        expect_text(view, "prompt", "say \"hi\"\n\t\xf0\x9f\x98\x80");
        expect_text(view, "config_name", "default-smart");
        expect_text(view, "template_name", "default-assistant");
        expect_text(view, "graph_name", "assistant");
        expect_text(view, "created_at", "2024-01-15T10:30:00.123456Z");
        expect_text(view, "updated_at", "2024-01-15T10:30:00.123456Z");
        static const char *const nulls[] = {"result",     "error",      "error_code", "questions", "variables", "input",
                                            "provider",   "model_name", "usage",      "started_at",
                                            "finished_at", "trace_id",   "thread_id", "checkpoint"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(nulls); i++)
                expect_text(view, nulls[i], NULL);
        cr_expect_eq(aip_value_as_int(aip_value_get_cstr(view, "attempt"), -1), 0);
        cr_expect_eq(aip_value_as_int(aip_value_get_cstr(view, "max_attempts"), -1), 3);
        cr_expect_eq(aip_value_size(aip_value_get_cstr(aip_value_get_cstr(view, "metadata"), "a")), 2u);
        cr_expect_eq(aip_value_size(view), 27u, "%zu members", aip_value_size(view));
        aip_value_unref(view);
        aip_job_free(job);
}

static void fail_once(aip_job *job)
{
        struct aip_transition t;
        aip_error *why = NULL;

        aip_error_set(&why, AIP_EUNAVAILABLE, "the model is \"busy\"");
        cr_assert_eq(aip_job_start(job, NOW + 1, &t, NULL), 0);
        cr_assert_eq(aip_job_fail(job, why, NOW + 2, &t, NULL), 0);
        aip_error_free(why);
}

Test(job_texts, a_failed_attempt_is_told_until_one_succeeds)
{
        struct aip_job_outcome outcome = {.self_size = sizeof(outcome)};
        struct aip_transition t;
        aip_job *job = new_job("p");
        aip_value *view;

        fail_once(job);
        view = view_of(job);
        expect_text(view, "status", "QUEUED");
        expect_text(view, "error", "the model is \"busy\"");
        cr_expect_neq(aip_value_type(aip_value_get_cstr(view, "error_code")), AIP_VALUE_NULL);
        aip_value_unref(view);
        cr_assert_eq(aip_job_start(job, NOW + 100000000, &t, NULL), 0);
        outcome.result = aip_str_of("done");
        outcome.provider = aip_str_of("simulated");
        outcome.model_name = aip_str_of("m");
        outcome.input_tokens = 7;
        outcome.output_tokens = 8;
        cr_assert_eq(aip_job_complete(job, &outcome, NOW + 100000001, &t, NULL), 0);
        view = view_of(job);
        expect_text(view, "status", "COMPLETED");
        expect_text(view, "result", "done");
        expect_text(view, "error", NULL);
        expect_text(view, "error_code", NULL);
        expect_text(view, "provider", "simulated");
        cr_expect_eq(aip_value_as_int(aip_value_get_cstr(aip_value_get_cstr(view, "usage"), "output_tokens"), -1),
                     8);
        aip_value_unref(view);
        aip_job_free(job);
}

Test(job_texts, a_view_that_finds_no_room_says_so)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(300);
        aip_job *job = new_job("p");
        aip_error *err = NULL;

        cr_expect_eq(aip_job_view_print(job, &text, &err), AIP_ELIMIT);
        cr_expect_not_null(strstr(aip_error_message(err), "300"));
        aip_error_free(err);
        aip_job_free(job);
}

Test(job_texts, cache_keys_name_the_job)
{
        char key[AIP_JOB_CACHE_KEY_BYTES];
        struct aip_id id = {{0xab}};
        struct aip_str text = aip_job_cache_key(&id, key);

        cr_expect(aip_str_eq(text, aip_str_of("aiplat:job:ab000000-0000-0000-0000-000000000000")), "%s", key);
}
