/* Transitions: each from every status, what it changes, retries and their delays. */
#include "domain_support.h"

enum act { START, COMPLETE, FAIL_RETRYABLE, FAIL_FINAL, RELEASE, LOSE, CANCEL, INTERRUPT, RESUME, N_ACTS };

static const char *const act_names[] = {"start",   "complete", "fail, retryable", "fail, final",
                                        "release", "lose",     "cancel",          "interrupt",
                                        "resume"};

static int fail(aip_job *job, int is_retryable, int64_t now_us, struct aip_transition *t,
                aip_error **err)
{
        aip_error *e = failure(AIP_EUPSTREAM, "provider_overloaded", is_retryable, 0);
        int r = aip_job_fail(job, e, now_us, t, err);
        aip_error_free(e);
        return r;
}

#define QUESTIONS "[{\"id\":\"q\",\"node\":\"n\",\"value\":1}]"
#define ANSWERS   "{\"q\":true}"

static int perform(enum act act, aip_job *job, int64_t now_us, struct aip_transition *t,
                   aip_error **err)
{
        struct aip_job_outcome outcome = {
                sizeof(outcome), AIP_STR("answer"), AIP_STR("openai"), AIP_STR("gpt-4"), 10, 20};
        switch (act) {
        case START:
                return aip_job_start(job, now_us, t, err);
        case COMPLETE:
                return aip_job_complete(job, &outcome, now_us, t, err);
        case FAIL_RETRYABLE:
                return fail(job, 1, now_us, t, err);
        case FAIL_FINAL:
                return fail(job, 0, now_us, t, err);
        case RELEASE:
                return aip_job_release(job, now_us, t, err);
        case LOSE:
                return aip_job_lose_worker(job, now_us, t, err);
        case CANCEL:
                return aip_job_cancel(job, now_us, t, err);
        case INTERRUPT:
                return aip_job_interrupt(job, AIP_STR(QUESTIONS), now_us, t, err);
        case RESUME:
                return aip_job_resume(job, AIP_STR(ANSWERS), now_us, t, err);
        case N_ACTS:
                break;
        }
        return AIP_EINTERNAL;
}

static aip_job *job_in(enum aip_job_status status)
{
        static const enum act last[] = {[AIP_JOB_PROCESSING] = START,
                                        [AIP_JOB_COMPLETED] = COMPLETE,
                                        [AIP_JOB_FAILED] = FAIL_FINAL,
                                        [AIP_JOB_CANCELLED] = CANCEL,
                                        [AIP_JOB_INTERRUPTED] = INTERRUPT};
        struct aip_job_spec spec = spec_of("x");
        aip_error *err = NULL;
        struct aip_transition t;
        if (status == AIP_JOB_QUEUED)
                return job_of(&spec);
        aip_job *job = job_started(&spec);
        if (status != AIP_JOB_PROCESSING)
                expect_ok(perform(last[status], job, T0 + 1, &t, &err), &err);
        cr_assert_eq(aip_job_fields(job)->status, status);
        return job;
}

#define REFUSED 99

struct expectation {
        int to; /* a status, or REFUSED */
        enum aip_transition_kind kind;
};

#define ALL_REFUSED                                                                                \
        {                                                                                          \
                {REFUSED, 0}, {REFUSED, 0}, {REFUSED, 0}, {REFUSED, 0}, {REFUSED, 0},              \
                        {REFUSED, 0}, {REFUSED, 0}, {REFUSED, 0}, {REFUSED, 0}                     \
        }

static const struct expectation expectations[AIP_JOB_STATUSES][N_ACTS] = {
        [AIP_JOB_QUEUED] =
                {
                        [START] = {AIP_JOB_PROCESSING, AIP_TRANSITION_STARTED},
                        [COMPLETE] = {REFUSED, 0},
                        [FAIL_RETRYABLE] = {REFUSED, 0},
                        [FAIL_FINAL] = {REFUSED, 0},
                        [RELEASE] = {REFUSED, 0},
                        [LOSE] = {REFUSED, 0},
                        [CANCEL] = {AIP_JOB_CANCELLED, AIP_TRANSITION_CANCELLED},
                        [INTERRUPT] = {REFUSED, 0},
                        [RESUME] = {REFUSED, 0},
                },
        [AIP_JOB_PROCESSING] =
                {
                        [START] = {REFUSED, 0},
                        [COMPLETE] = {AIP_JOB_COMPLETED, AIP_TRANSITION_COMPLETED},
                        [FAIL_RETRYABLE] = {AIP_JOB_QUEUED, AIP_TRANSITION_RETRY},
                        [FAIL_FINAL] = {AIP_JOB_FAILED, AIP_TRANSITION_FAILED},
                        [RELEASE] = {AIP_JOB_QUEUED, AIP_TRANSITION_RELEASED},
                        [LOSE] = {AIP_JOB_QUEUED, AIP_TRANSITION_RELEASED},
                        [CANCEL] = {AIP_JOB_CANCELLED, AIP_TRANSITION_CANCELLED},
                        [INTERRUPT] = {AIP_JOB_INTERRUPTED, AIP_TRANSITION_INTERRUPTED},
                        [RESUME] = {REFUSED, 0},
                },
        [AIP_JOB_INTERRUPTED] =
                {
                        [START] = {REFUSED, 0},
                        [COMPLETE] = {REFUSED, 0},
                        [FAIL_RETRYABLE] = {REFUSED, 0},
                        [FAIL_FINAL] = {REFUSED, 0},
                        [RELEASE] = {REFUSED, 0},
                        [LOSE] = {REFUSED, 0},
                        [CANCEL] = {AIP_JOB_CANCELLED, AIP_TRANSITION_CANCELLED},
                        [INTERRUPT] = {REFUSED, 0},
                        [RESUME] = {AIP_JOB_QUEUED, AIP_TRANSITION_RESUMED},
                },
        [AIP_JOB_COMPLETED] = ALL_REFUSED,
        [AIP_JOB_FAILED] = ALL_REFUSED,
        [AIP_JOB_CANCELLED] = ALL_REFUSED,
};

static void check_refusal(enum act act, aip_job *job)
{
        aip_error *err = NULL;
        struct aip_transition t;
        memset(&t, 0x5a, sizeof(t));
        struct aip_transition before_t = t;
        struct aip_job_fields before = *aip_job_fields(job);
        expect_refused(perform(act, job, T0 + 50, &t, &err), &err, AIP_ESTATE,
                       aip_job_status_name(before.status));
        cr_expect_eq(memcmp(&before, aip_job_fields(job), sizeof(before)), 0, "the job changed");
        cr_expect_eq(memcmp(&before_t, &t, sizeof(t)), 0, "the output changed");
}

static void check_move(enum act act, aip_job *job, struct expectation expected)
{
        aip_error *err = NULL;
        struct aip_transition t;
        struct aip_job_fields before = *aip_job_fields(job);
        expect_ok(perform(act, job, T0 + 50, &t, &err), &err);
        const struct aip_job_fields *f = aip_job_fields(job);
        cr_expect_eq((int)f->status, expected.to);
        cr_expect_eq(f->version, before.version + 1);
        cr_expect_eq(f->updated_at_us, T0 + 50);
        cr_expect_eq(f->finished_at_us, aip_job_status_is_terminal(f->status) ? T0 + 50 : 0);
        cr_expect_eq(t.kind, expected.kind);
        cr_expect_eq(t.from, before.status);
        cr_expect_eq(t.to, f->status);
        cr_expect_eq(t.version, f->version);
        cr_expect_eq(t.attempt, f->attempt);
        cr_expect_eq(t.at_us, T0 + 50);
        cr_expect_eq(t.outbox_id, 0);
        cr_expect(aip_id_equal(&t.job_id, &job_id));
        int shows_error = t.kind == AIP_TRANSITION_RETRY || t.kind == AIP_TRANSITION_FAILED;
        cr_expect_str_eq(t.error_code, shows_error ? "provider_overloaded" : "");
        cr_expect_eq(t.is_runnable,
                     t.kind == AIP_TRANSITION_RELEASED || t.kind == AIP_TRANSITION_RESUMED);
}

Test(job_transitions, every_act_in_every_status)
{
        for (int status = 0; status < AIP_JOB_STATUSES; status++) {
                for (int act = 0; act < N_ACTS; act++) {
                        _cleanup_job_ aip_job *job = job_in((enum aip_job_status)status);
                        struct expectation expected = expectations[status][act];
                        cr_log_info("%s in %s", act_names[act],
                                    aip_job_status_name((enum aip_job_status)status));
                        if (expected.to == REFUSED)
                                check_refusal((enum act)act, job);
                        else
                                check_move((enum act)act, job, expected);
                }
        }
}

Test(job_transitions, start)
{
        struct aip_job_spec spec = spec_of("x");
        spec.run_at_us = T0 + 1000000;
        _cleanup_job_ aip_job *job = job_of(&spec);
        aip_error *err = NULL;
        struct aip_transition t;
        expect_refused(aip_job_start(job, T0 + 999999, &t, &err), &err, AIP_ESTATE,
                       "not due before 2023-11-14T22:13:21.000000Z");
        expect_ok(aip_job_start(job, T0 + 1000000, &t, &err), &err);
        cr_expect_eq(aip_job_fields(job)->attempt, 1);
        cr_expect_eq(aip_job_fields(job)->started_at_us, T0 + 1000000);
        cr_expect_eq(aip_job_fields(job)->version, 2);
}

Test(job_transitions, times_never_run_backwards)
{
        struct aip_job_spec spec = spec_of("x");
        _cleanup_job_ aip_job *job = job_of(&spec);
        aip_error *err = NULL;
        struct aip_transition t;
        expect_ok(aip_job_start(job, T0 - 5000000, &t, &err), &err);
        cr_expect_eq(t.at_us, T0);
        cr_expect_eq(aip_job_fields(job)->started_at_us, T0);
        expect_ok(aip_job_cancel(job, 1, &t, &err), &err);
        cr_expect_eq(aip_job_fields(job)->finished_at_us, T0);
}

Test(job_transitions, complete_keeps_the_outcome)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        aip_error *err = NULL;
        struct aip_transition t;
        char result[] = "Code flows like water";
        struct aip_job_outcome outcome = {
                sizeof(outcome), aip_str_of(result), AIP_STR("openai"), AIP_STR("gpt-4"), 12, 34};
        expect_ok(aip_job_complete(job, &outcome, T0 + 9, &t, &err), &err);
        memset(result, 'x', sizeof(result));
        const struct aip_job_fields *f = aip_job_fields(job);
        cr_expect_str_eq(f->result.p, "Code flows like water");
        cr_expect_str_eq(f->provider.p, "openai");
        cr_expect_str_eq(f->model_name.p, "gpt-4");
        cr_expect_eq(f->input_tokens, 12);
        cr_expect_eq(f->output_tokens, 34);
}

Test(job_transitions, an_empty_result_is_a_result)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        aip_error *err = NULL;
        struct aip_transition t;
        struct aip_job_outcome outcome = {.self_size = sizeof(outcome)};
        expect_ok(aip_job_complete(job, &outcome, T0 + 9, &t, &err), &err);
        cr_expect_not_null(aip_job_fields(job)->result.p);
        cr_expect_eq(aip_job_fields(job)->result.n, 0);
        cr_expect_null(aip_job_fields(job)->provider.p);
        cr_expect_null(aip_job_fields(job)->model_name.p);
}

static void refuse_outcome(struct aip_job_outcome outcome, const char *why)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        aip_error *err = NULL;
        struct aip_transition t;
        outcome.self_size = sizeof(outcome);
        expect_refused(aip_job_complete(job, &outcome, T0 + 9, &t, &err), &err, AIP_EINVAL, why);
        cr_expect_eq(aip_job_fields(job)->status, AIP_JOB_PROCESSING);
        cr_expect_eq(aip_job_fields(job)->version, 2);
        cr_expect_null(aip_job_fields(job)->result.p);
}

Test(job_transitions, outcomes_that_a_store_could_not_keep)
{
        refuse_outcome((struct aip_job_outcome){.result = AIP_STR("a\0b")}, "result: must not");
        refuse_outcome((struct aip_job_outcome){.result = AIP_STR("\xed\xa0\x80")},
                       "result: is not");
        refuse_outcome((struct aip_job_outcome){.result = {NULL, 1}}, "result: ");
        refuse_outcome((struct aip_job_outcome){.provider = AIP_STR("\xff")}, "provider: ");
        refuse_outcome((struct aip_job_outcome){.model_name = AIP_STR("\xff")}, "model_name: ");
        refuse_outcome((struct aip_job_outcome){.input_tokens = -1}, "tokens: ");
        refuse_outcome((struct aip_job_outcome){.output_tokens = -1}, "tokens: ");
        char *large = repeat("x", AIP_JOB_RESULT_MAX_BYTES + 1);
        refuse_outcome((struct aip_job_outcome){.result = aip_str_of(large)},
                       "result: is 16777217 bytes long; at most 16777216");
        free(large);
}

Test(job_transitions, fail_records_the_error)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        aip_error *err = NULL;
        struct aip_transition t;
        expect_ok(fail(job, 1, T0 + 1, &t, &err), &err);
        cr_expect_str_eq(aip_job_fields(job)->error_code.p, "provider_overloaded");
        cr_expect_str_eq(aip_job_fields(job)->error_message.p, "the model did not answer");
        cr_expect_eq(aip_job_fields(job)->attempt, 1, "the attempt counts");
        /* The next failure replaces it. */
        expect_ok(aip_job_start(job, t.at_us + 5000000, &t, &err), &err);
        aip_error *e = NULL;
        aip_error_set(&e, AIP_ETIMEOUT, "too slow");
        expect_ok(aip_job_fail(job, e, t.at_us + 1, &t, &err), &err);
        aip_error_free(e);
        cr_expect_str_eq(aip_job_fields(job)->error_code.p, aip_error_code_name(AIP_ETIMEOUT));
        cr_expect_str_eq(aip_job_fields(job)->error_message.p, "too slow");
        cr_expect_eq(t.kind, AIP_TRANSITION_FAILED, "a timeout is not retryable unless it says so");
        cr_expect_str_eq(t.error_code, aip_error_code_name(AIP_ETIMEOUT));
}

Test(job_transitions, fail_needs_an_error)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        aip_error *err = NULL;
        struct aip_transition t;
        expect_refused(aip_job_fail(job, NULL, T0 + 1, &t, &err), &err, AIP_EINVAL, "failure: ");
        cr_expect_eq(aip_job_fields(job)->status, AIP_JOB_PROCESSING);
}

static void fail_with(const char *message, const char *kind, struct aip_transition *t, aip_job *job)
{
        aip_error *err = NULL, *e = NULL;
        aip_error_set(&e, AIP_EUPSTREAM, "%s", message);
        aip_error_set_kind(e, kind);
        expect_ok(aip_job_fail(job, e, T0 + 1, t, &err), &err);
        aip_error_free(e);
}

Test(job_transitions, a_peers_bytes_in_a_message_are_cleaned)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        struct aip_transition t;
        fail_with("said \xff\xc0\xaf and é\xe2\x82", "k", &t, job);
        cr_expect_str_eq(aip_job_fields(job)->error_message.p, "said ��� and é��");
}

Test(job_transitions, long_messages_and_kinds_are_cut_visibly)
{
        struct aip_transition t;
        for (size_t n = 8190; n <= 8194; n++) {
                _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
                char *text = repeat("x", n);
                fail_with(text, "k", &t, job);
                struct aip_str message = aip_job_fields(job)->error_message;
                cr_expect_eq(message.n, AIP_MIN(n, (size_t)8192));
                if (n > 8192)
                        cr_expect_str_eq(message.p + message.n - 4, "x…");
                free(text);
        }
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        fail_with("m", "a_kind_that_is_much_longer_than_forty_seven_bytes", &t, job);
        cr_expect_str_eq(t.error_code, "a_kind_that_is_much_longer_than_forty_seven_…");
        cr_expect(str_is(aip_job_fields(job)->error_code, t.error_code));
}

Test(job_transitions, an_error_without_a_kind_is_called_by_its_code)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        struct aip_transition t;
        fail_with("m", "", &t, job);
        cr_expect_str_eq(t.error_code, aip_error_code_name(AIP_EUPSTREAM));
}

Test(job_transitions, retry_delays)
{
        static const struct {
                int32_t retry_delay_ms;
                int failures_before; /* attempt - 1 */
                int64_t retry_after_ms, delay_ms;
        } cases[] = {
                {5000, 0, 0, 5000},         {5000, 1, 0, 10000},   {5000, 2, 0, 20000},
                {5000, 5, 0, 160000},       {5000, 6, 0, 300000},  {5000, 98, 0, 300000},
                {1, 18, 0, 262144},         {1, 19, 0, 300000},    {1, 70, 0, 300000},
                {300000, 0, 0, 300000},     {0, 0, 0, 0},          {0, 50, 0, 0},
                {5000, 0, 4999, 5000},      {5000, 0, 5001, 5001}, {0, 0, 60000, 60000},
                {5000, 20, 301000, 301000}, /* no sooner than asked, even beyond the maximum */
                {5000, 0, -7, 5000},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_error *err = NULL;
                struct aip_transition t;
                struct aip_job_spec spec = spec_of("x");
                spec.max_attempts = 100;
                spec.retry_delay_ms = cases[i].retry_delay_ms;
                _cleanup_job_ aip_job *job = job_started(&spec);
                for (int n = 0; n < cases[i].failures_before; n++) {
                        expect_ok(fail(job, 1, T0, &t, &err), &err);
                        expect_ok(aip_job_start(job, aip_job_fields(job)->run_at_us, &t, &err),
                                  &err);
                }
                int64_t now_us = aip_job_fields(job)->updated_at_us + 1;
                aip_error *e = failure(AIP_EUPSTREAM, NULL, 1, cases[i].retry_after_ms);
                expect_ok(aip_job_fail(job, e, now_us, &t, &err), &err);
                aip_error_free(e);
                cr_expect_eq(t.kind, AIP_TRANSITION_RETRY);
                cr_expect_eq(aip_job_fields(job)->run_at_us, now_us + cases[i].delay_ms * 1000,
                             "case %zu: %lld ms", i,
                             (long long)(aip_job_fields(job)->run_at_us - now_us) / 1000);
                cr_expect_eq(t.is_runnable, cases[i].delay_ms == 0);
        }
}

Test(job_transitions, an_absurd_retry_after_does_not_overflow)
{
        static const int64_t asked_ms[] = {INT64_MAX, INT64_MAX / 1000, INT64_C(300000000000000)};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(asked_ms); i++) {
                _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
                aip_error *err = NULL, *e = failure(AIP_EUPSTREAM, NULL, 1, asked_ms[i]);
                struct aip_transition t;
                expect_ok(aip_job_fail(job, e, T0 + 1, &t, &err), &err);
                aip_error_free(e);
                cr_expect_eq(aip_job_fields(job)->run_at_us, INT64_C(253402300799999999));
        }
}

Test(job_transitions, attempts_end)
{
        struct aip_job_spec spec = spec_of("x");
        spec.max_attempts = 2;
        spec.retry_delay_ms = 0;
        _cleanup_job_ aip_job *job = job_started(&spec);
        aip_error *err = NULL;
        struct aip_transition t;
        expect_ok(fail(job, 1, T0 + 1, &t, &err), &err);
        cr_expect_eq(t.kind, AIP_TRANSITION_RETRY);
        expect_ok(aip_job_start(job, T0 + 2, &t, &err), &err);
        expect_ok(fail(job, 1, T0 + 3, &t, &err), &err);
        cr_expect_eq(t.kind, AIP_TRANSITION_FAILED);
        cr_expect_eq(t.attempt, 2);
        cr_expect_eq(aip_job_fields(job)->finished_at_us, T0 + 3);
}

Test(job_transitions, release_gives_the_attempt_back)
{
        struct aip_job_spec spec = spec_of("x");
        spec.max_attempts = 1;
        _cleanup_job_ aip_job *job = job_started(&spec);
        aip_error *err = NULL;
        struct aip_transition t;
        for (int i = 0; i < 3; i++) {
                expect_ok(aip_job_release(job, T0 + 10 + i, &t, &err), &err);
                cr_expect_eq(t.attempt, 0);
                cr_expect_eq(aip_job_fields(job)->attempt, 0);
                cr_expect_eq(aip_job_fields(job)->run_at_us, T0 + 10 + i);
                expect_ok(aip_job_start(job, T0 + 10 + i, &t, &err), &err);
        }
        cr_expect_eq(aip_job_fields(job)->attempt, 1);
        cr_expect_eq(aip_job_fields(job)->version, 8);
}

Test(job_transitions, a_lost_worker_costs_an_attempt)
{
        struct aip_job_spec spec = spec_of("x");
        spec.max_attempts = 2;
        _cleanup_job_ aip_job *job = job_started(&spec);
        aip_error *err = NULL;
        struct aip_transition t;
        expect_ok(aip_job_lose_worker(job, T0 + 7, &t, &err), &err);
        cr_expect_eq(t.kind, AIP_TRANSITION_RELEASED);
        cr_expect_eq(t.attempt, 1);
        cr_expect(t.is_runnable);
        cr_expect_str_empty(t.error_code);
        cr_expect_eq(aip_job_fields(job)->run_at_us, T0 + 7);
        cr_expect_str_eq(aip_job_fields(job)->error_code.p, "internal_worker_lost");
        expect_ok(aip_job_start(job, T0 + 8, &t, &err), &err);
        expect_ok(aip_job_lose_worker(job, T0 + 9, &t, &err), &err);
        cr_expect_eq(t.kind, AIP_TRANSITION_FAILED);
        cr_expect_str_eq(t.error_code, "internal_worker_lost");
        cr_expect_eq(aip_job_fields(job)->status, AIP_JOB_FAILED);
}

Test(job_transitions, a_lost_worker_replaces_an_older_error)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        aip_error *err = NULL;
        struct aip_transition t;
        expect_ok(fail(job, 1, T0 + 1, &t, &err), &err);
        expect_ok(aip_job_start(job, aip_job_fields(job)->run_at_us, &t, &err), &err);
        expect_ok(aip_job_lose_worker(job, t.at_us, &t, &err), &err);
        cr_expect_str_eq(aip_job_fields(job)->error_message.p,
                         "the worker that ran the job was lost");
}

Test(job_transitions, questions_and_answers)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_INTERRUPTED), *copy = NULL;
        aip_error *err = NULL;
        struct aip_transition t;
        const struct aip_job_fields *f = aip_job_fields(job);
        cr_expect_str_eq(f->questions_json.p, QUESTIONS);
        cr_expect_eq(f->attempt, 1);
        expect_ok(aip_job_resume(job, AIP_STR(ANSWERS), T0 + 5, &t, &err), &err);
        cr_expect_null(f->questions_json.p);
        cr_expect_str_eq(f->answers_json.p, ANSWERS);
        cr_expect_eq(f->attempt, 0, "the attempt goes on");
        cr_expect_eq(f->run_at_us, T0 + 5);
        expect_ok(aip_job_start(job, T0 + 6, &t, &err), &err);
        expect_ok(aip_job_copy(job, &copy, &err), &err);
        cr_expect_str_eq(aip_job_fields(copy)->answers_json.p, ANSWERS);
        expect_ok(fail(job, 1, T0 + 7, &t, &err), &err);
        cr_expect_str_eq(f->answers_json.p, ANSWERS, "the next attempt needs them, too");
        expect_ok(aip_job_interrupt(copy, AIP_STR("[2]"), T0 + 7, &t, &err), &err);
        cr_expect_null(aip_job_fields(copy)->answers_json.p);
        cr_expect_str_eq(aip_job_fields(copy)->questions_json.p, "[2]");
        expect_ok(aip_job_cancel(copy, T0 + 8, &t, &err), &err);
        cr_expect_null(aip_job_fields(copy)->questions_json.p);
}

Test(job_transitions, questions_that_cannot_be_kept)
{
        _cleanup_job_ aip_job *job = job_in(AIP_JOB_PROCESSING);
        aip_error *err = NULL;
        struct aip_transition t;
        char *large = repeat("x", AIP_JOB_QUESTIONS_MAX_BYTES + 1);
        expect_refused(aip_job_interrupt(job, aip_str_of(large), T0 + 9, &t, &err), &err,
                       AIP_ELIMIT, "questions: at most");
        expect_refused(aip_job_interrupt(job, AIP_STR(""), T0 + 9, &t, &err), &err, AIP_EINVAL,
                       "questions: there are none");
        expect_refused(aip_job_interrupt(job, AIP_STR("\xff"), T0 + 9, &t, &err), &err, AIP_EINVAL,
                       "questions: ");
        cr_expect_eq(aip_job_fields(job)->status, AIP_JOB_PROCESSING);
        free(large);
}
