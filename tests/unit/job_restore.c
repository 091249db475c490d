/* Restoring: records that were, records that could never have been. */
#include "domain_support.h"
#include <stdlib.h>

static struct aip_job_fields record(enum aip_job_status status)
{
        int has_run = status != AIP_JOB_QUEUED;
        int has_ended = status > AIP_JOB_PROCESSING;
        struct aip_job_fields f = {
                .self_size = sizeof(f),
                .id = job_id,
                .status = status,
                .attempt = has_run,
                .max_attempts = 3,
                .retry_delay_ms = 5000,
                .version = 1 + has_run + has_ended,
                .prompt = AIP_STR("x"),
                .config_name = AIP_STR("c"),
                .template_name = AIP_STR("t"),
                .graph_name = AIP_STR("g"),
                .created_at_us = T0,
                .updated_at_us = T0,
                .run_at_us = T0,
                .started_at_us = has_run ? T0 : 0,
                .finished_at_us = has_ended ? T0 : 0,
        };
        if (status == AIP_JOB_COMPLETED)
                f.result = AIP_STR("r");
        if (status == AIP_JOB_FAILED)
                f.error_code = AIP_STR("provider_failed");
        return f;
}

static aip_job *restored(const struct aip_job_fields *fields)
{
        aip_error *err = NULL;
        aip_job *job = NULL;
        expect_ok(aip_job_restore(fields, &job, &err), &err);
        return job;
}

static void refuse(const struct aip_job_fields *fields, const char *why)
{
        aip_error *err = NULL;
        aip_job *job = (aip_job *)&job;
        expect_refused(aip_job_restore(fields, &job, &err), &err, AIP_EINVAL, why);
        cr_expect_eq(job, (aip_job *)&job, "an output was touched on failure");
}

Test(job_restore, every_status)
{
        for (int status = 0; status <= AIP_JOB_CANCELLED; status++) {
                struct aip_job_fields f = record((enum aip_job_status)status);
                _cleanup_job_ aip_job *job = restored(&f);
                cr_expect_eq(aip_job_fields(job)->status, f.status);
                cr_expect_eq(aip_job_fields(job)->version, f.version);
        }
}

Test(job_restore, all_fields_come_back)
{
        struct aip_job_fields f = record(AIP_JOB_COMPLETED);
        f.variables_json = AIP_STR("{\"v\":1}");
        f.metadata_json = AIP_STR("{\"m\":1}");
        f.input_json = AIP_STR("{\"i\":1}");
        f.trace_id = AIP_STR("0123456789abcdef0123456789abcdef");
        f.error_code = AIP_STR("provider_failed");
        f.error_message = AIP_STR("the first time");
        f.provider = AIP_STR("openai");
        f.model_name = AIP_STR("gpt-4");
        f.input_tokens = 1;
        f.output_tokens = 2;
        _cleanup_job_ aip_job *job = restored(&f);
        const struct aip_job_fields *g = aip_job_fields(job);
        const struct {
                struct aip_str was, is;
        } strings[] = {
                {f.prompt, g->prompt},
                {f.config_name, g->config_name},
                {f.template_name, g->template_name},
                {f.graph_name, g->graph_name},
                {f.variables_json, g->variables_json},
                {f.metadata_json, g->metadata_json},
                {f.input_json, g->input_json},
                {f.trace_id, g->trace_id},
                {f.result, g->result},
                {f.error_code, g->error_code},
                {f.error_message, g->error_message},
                {f.provider, g->provider},
                {f.model_name, g->model_name},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(strings); i++) {
                cr_expect(aip_str_eq(strings[i].was, strings[i].is), "string %zu", i);
                cr_expect_neq(strings[i].was.p, strings[i].is.p, "string %zu is borrowed", i);
        }
        cr_expect_eq(g->input_tokens, 1);
        cr_expect_eq(g->output_tokens, 2);
        cr_expect_eq(g->started_at_us, T0);
}

Test(job_restore, empty_strings_mean_none)
{
        struct aip_job_fields f = record(AIP_JOB_QUEUED);
        f.variables_json = f.result = f.error_code = f.trace_id = aip_str_make("", 0);
        _cleanup_job_ aip_job *job = restored(&f);
        cr_expect_null(aip_job_fields(job)->variables_json.p);
        cr_expect_null(aip_job_fields(job)->result.p);
        cr_expect_null(aip_job_fields(job)->trace_id.p);
        f = record(AIP_JOB_COMPLETED);
        f.result = aip_str_make(NULL, 0);
        _cleanup_job_ aip_job *completed = restored(&f);
        cr_expect_not_null(aip_job_fields(completed)->result.p);
}

#define REFUSE(status, change, why)                                                                \
        do {                                                                                       \
                struct aip_job_fields f = record(status);                                          \
                change;                                                                            \
                refuse(&f, why);                                                                   \
        } while (0)

Test(job_restore, impossible_counts)
{
        REFUSE(AIP_JOB_QUEUED, f.id = (struct aip_id){{0}}, "nil");
        REFUSE(AIP_JOB_QUEUED, f.status = (enum aip_job_status)6, "status is unknown");
        REFUSE(AIP_JOB_QUEUED, f.version = 0, "version");
        REFUSE(AIP_JOB_QUEUED, f.attempt = -1, "attempt is negative");
        REFUSE(AIP_JOB_PROCESSING, f.attempt = 2, "more attempts than transitions");
        REFUSE(AIP_JOB_QUEUED, f.max_attempts = 0, "max_attempts: 0");
        REFUSE(AIP_JOB_QUEUED, f.max_attempts = 101, "max_attempts: 101");
        REFUSE(AIP_JOB_QUEUED, f.retry_delay_ms = -1, "retry_delay_ms: -1");
        REFUSE(AIP_JOB_COMPLETED, f.input_tokens = -1, "negative number of tokens");
        REFUSE(AIP_JOB_COMPLETED, f.output_tokens = -1, "negative number of tokens");
}

Test(job_restore, impossible_times)
{
        REFUSE(AIP_JOB_QUEUED, f.created_at_us = -1, "a time is out of range");
        REFUSE(AIP_JOB_QUEUED, f.updated_at_us = INT64_MAX, "a time is out of range");
        REFUSE(AIP_JOB_PROCESSING, f.started_at_us = -1, "a time is out of range");
        REFUSE(AIP_JOB_FAILED, f.finished_at_us = INT64_MIN, "a time is out of range");
        REFUSE(AIP_JOB_QUEUED, f.run_at_us = -1, "run_at: ");
        REFUSE(AIP_JOB_COMPLETED, f.finished_at_us = 0, "ended, but at no time");
        REFUSE(AIP_JOB_FAILED, f.finished_at_us = 0, "ended, but at no time");
        REFUSE(AIP_JOB_CANCELLED, f.finished_at_us = 0, "ended, but at no time");
        REFUSE(AIP_JOB_QUEUED, f.finished_at_us = T0, "has not ended");
        REFUSE(AIP_JOB_PROCESSING, f.finished_at_us = T0, "has not ended");
}

Test(job_restore, impossible_for_the_status)
{
        REFUSE(AIP_JOB_PROCESSING, f.attempt = 0, "needs an attempt");
        REFUSE(AIP_JOB_PROCESSING, f.started_at_us = 0, "needs an attempt");
        REFUSE(AIP_JOB_COMPLETED, f.attempt = 0, "needs an attempt");
        REFUSE(AIP_JOB_FAILED, f.started_at_us = 0, "needs an attempt");
        REFUSE(AIP_JOB_FAILED, f.error_code = aip_str_make(NULL, 0), "without an error code");
        REFUSE(AIP_JOB_QUEUED, f.result = AIP_STR("r"), "has a result");
        REFUSE(AIP_JOB_FAILED, f.result = AIP_STR("r"), "has a result");
}

Test(job_restore, impossible_texts)
{
        REFUSE(AIP_JOB_QUEUED, f.prompt = AIP_STR(" "), "prompt: ");
        REFUSE(AIP_JOB_QUEUED, f.config_name = AIP_STR(""), "config_name: ");
        REFUSE(AIP_JOB_QUEUED, f.template_name = AIP_STR(""), "template_name: ");
        REFUSE(AIP_JOB_QUEUED, f.graph_name = AIP_STR(""), "graph_name: ");
        REFUSE(AIP_JOB_QUEUED, f.trace_id = AIP_STR("z"), "trace_id: ");
        REFUSE(AIP_JOB_QUEUED, f.trace_id = aip_str_make(NULL, 32), "trace_id: ");
        REFUSE(AIP_JOB_QUEUED, f.variables_json = aip_str_make(NULL, 1), "variables: ");
        REFUSE(AIP_JOB_COMPLETED, f.result = AIP_STR("\xff"), "result: ");
        REFUSE(AIP_JOB_FAILED, f.error_code = AIP_STR("\xff"), "error_code: ");
        REFUSE(AIP_JOB_FAILED, f.error_message = AIP_STR("\xff"), "error_message: ");
        REFUSE(AIP_JOB_COMPLETED, f.provider = AIP_STR("\xff"), "provider: ");
        REFUSE(AIP_JOB_COMPLETED, f.model_name = AIP_STR("\xff"), "model_name: ");
}

Test(job_restore, what_operators_and_clocks_do_is_let_through)
{
        struct aip_job_fields f = record(AIP_JOB_FAILED);
        f.status = AIP_JOB_QUEUED; /* queued again by hand, attempts used up */
        f.finished_at_us = 0;
        f.attempt = 3;
        f.version = 7;
        _cleanup_job_ aip_job *again = restored(&f);
        aip_error *err = NULL;
        struct aip_transition t;
        expect_ok(aip_job_start(again, T0 + 1, &t, &err), &err);
        struct aip_job_fields running = *aip_job_fields(again);
        cr_expect_eq(running.attempt, 4);
        _cleanup_job_ aip_job *reread = restored(&running);
        expect_ok(aip_job_lose_worker(reread, T0 + 2, &t, &err), &err);
        cr_expect_eq(t.kind, AIP_TRANSITION_FAILED);

        f = record(AIP_JOB_PROCESSING);
        f.started_at_us = T0 - 1000; /* the worker's clock is behind the gateway's */
        f.max_attempts = 1;
        aip_job_free(restored(&f));
        f = record(AIP_JOB_QUEUED);
        f.started_at_us = T0; /* released: the attempt was given back */
        f.version = 3;
        aip_job_free(restored(&f));
        f = record(AIP_JOB_CANCELLED); /* before it ever ran */
        f.attempt = 0;
        f.started_at_us = 0;
        aip_job_free(restored(&f));
}

/* Whatever random acts make of a job, its record is accepted and comes back the same. */
Test(job_restore, every_reachable_job_is_accepted)
{
        unsigned short seed[3] = {1, 2, 3};
        aip_error *failures[2] = {failure(AIP_EUPSTREAM, "provider_failed", 1, 0),
                                  failure(AIP_EUPSTREAM, "caller_invalid_request", 0, 0)};
        for (int round = 0; round < 500; round++) {
                struct aip_job_spec spec = spec_of("x");
                spec.max_attempts = 1 + (int32_t)(nrand48(seed) % 5);
                spec.retry_delay_ms = 0;
                aip_job *job = job_of(&spec);
                for (int step = 0; step < 20; step++) {
                        struct aip_transition t;
                        struct aip_job_outcome outcome = {.self_size = sizeof(outcome)};
                        int64_t now_us = T0 + nrand48(seed) % 100;
                        int64_t version = aip_job_fields(job)->version;
                        int r = 0;
                        switch (nrand48(seed) % 12) {
                        case 0:
                                r = aip_job_cancel(job, now_us, &t, NULL);
                                break;
                        case 1:
                                r = aip_job_complete(job, &outcome, now_us, &t, NULL);
                                break;
                        case 2:
                        case 3:
                                r = aip_job_release(job, now_us, &t, NULL);
                                break;
                        case 4:
                        case 5:
                                r = aip_job_lose_worker(job, now_us, &t, NULL);
                                break;
                        case 6:
                        case 7:
                                r = aip_job_fail(job, failures[nrand48(seed) % 2], now_us, &t,
                                                 NULL);
                                break;
                        default:
                                r = aip_job_start(job, now_us, &t, NULL);
                        }
                        cr_assert(r == 0 || r == AIP_ESTATE);
                        cr_assert_eq(aip_job_fields(job)->version, version + (r == 0));
                        cr_assert_leq(aip_job_fields(job)->attempt,
                                      aip_job_fields(job)->max_attempts);
                        aip_job *copy = restored(aip_job_fields(job));
                        cr_assert_eq(aip_job_fields(copy)->status, aip_job_fields(job)->status);
                        aip_job_free(job);
                        job = copy;
                }
                aip_job_free(job);
        }
        aip_error_free(failures[0]);
        aip_error_free(failures[1]);
}
