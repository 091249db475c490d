/* New jobs: defaults, every field's limits, older and newer callers' structs, copies. */
#include "domain_support.h"

Test(job_spec, defaults)
{
        struct aip_job_spec spec = spec_of("hello");
        _cleanup_job_ aip_job *job = job_of(&spec);
        const struct aip_job_fields *f = aip_job_fields(job);
        cr_expect_eq(f->self_size, sizeof(*f));
        cr_expect(aip_id_equal(&f->id, &job_id));
        cr_expect_eq(f->status, AIP_JOB_QUEUED);
        cr_expect_eq(f->version, 1);
        cr_expect_eq(f->attempt, 0);
        cr_expect_eq(f->max_attempts, 3);
        cr_expect_eq(f->retry_delay_ms, 5000);
        cr_expect(str_is(f->prompt, "hello"));
        cr_expect(str_is(f->config_name, "default-smart"));
        cr_expect(str_is(f->template_name, "default-assistant"));
        cr_expect(str_is(f->graph_name, "assistant"));
        struct aip_str none[] = {f->variables_json, f->metadata_json, f->trace_id, f->result,
                                 f->error_code,     f->error_message, f->provider, f->model_name};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(none); i++)
                cr_expect(none[i].p == NULL && none[i].n == 0, "string %zu is not none", i);
        cr_expect_eq(f->created_at_us, T0);
        cr_expect_eq(f->updated_at_us, T0);
        cr_expect_eq(f->run_at_us, T0);
        cr_expect_eq(f->started_at_us, 0);
        cr_expect_eq(f->finished_at_us, 0);
}

Test(job_spec, strings_are_copied_and_terminated)
{
        char prompt[] = "prompt", config[] = "c", trace[] = "0123456789ABCDEF0123456789abcdef";
        struct aip_job_spec spec = spec_of(prompt);
        spec.config_name = aip_str_of(config);
        spec.trace_id = aip_str_of(trace);
        spec.variables_json = aip_str_of("{\"a\":1}");
        spec.metadata_json = aip_str_of("{}");
        _cleanup_job_ aip_job *job = job_of(&spec);
        memset(prompt, 'x', sizeof(prompt));
        memset(config, 'x', sizeof(config));
        memset(trace, 'x', sizeof(trace));
        const struct aip_job_fields *f = aip_job_fields(job);
        cr_expect_str_eq(f->prompt.p, "prompt");
        cr_expect_str_eq(f->config_name.p, "c");
        cr_expect_str_eq(f->trace_id.p, "0123456789abcdef0123456789abcdef");
        cr_expect_str_eq(f->variables_json.p, "{\"a\":1}");
        cr_expect_str_eq(f->metadata_json.p, "{}");
}

static void refuse(struct aip_job_spec spec, const char *why)
{
        aip_error *err = NULL;
        aip_job *job = (aip_job *)&spec;
        expect_refused(aip_job_new(job_id, &spec, T0, &job, &err), &err, AIP_EINVAL, why);
        cr_expect_eq(job, (aip_job *)&spec, "an output was touched on failure");
}

Test(job_spec, input_makes_the_prompt_optional)
{
        struct aip_job_spec spec = spec_of("");
        refuse(spec, "prompt: ");
        spec.input_json = AIP_STR("{}");
        _cleanup_job_ aip_job *job = job_of(&spec);
        cr_expect(str_is(aip_job_fields(job)->prompt, ""));
        spec.prompt = (struct aip_str){NULL, 0};
        _cleanup_job_ aip_job *without = job_of(&spec);
        cr_expect_not_null(aip_job_fields(without)->prompt.p, "stores keep no null");
        cr_expect(str_is(aip_job_fields(job)->input_json, "{}"));
        spec.prompt = AIP_STR(" ");
        refuse(spec, "prompt: ");
        spec = spec_of("p");
        spec.input_json = AIP_STR("{\"\xc0\"}");
        refuse(spec, "input: ");
}

Test(job_spec, every_text_is_checked_by_name)
{
        struct aip_job_spec spec = spec_of("");
        refuse(spec, "prompt: ");
        spec = spec_of("x");
        spec.config_name = aip_str_of(" ");
        refuse(spec, "config_name: ");
        spec = spec_of("x");
        spec.template_name = aip_str_of("\xff");
        refuse(spec, "template_name: ");
        spec = spec_of("x");
        spec.graph_name = aip_str_of("a\tb");
        refuse(spec, "graph_name: ");
}

Test(job_spec, documents_have_a_limit)
{
        char *text = repeat("x", AIP_JOB_DOCUMENT_MAX_BYTES + 1);
        struct aip_job_spec spec = spec_of("x");
        spec.variables_json = aip_str_of(text);
        refuse(spec, "variables: is 65537 bytes long; at most 65536");
        spec.variables_json.n--;
        spec.metadata_json = aip_str_of(text);
        refuse(spec, "metadata: is 65537 bytes long");
        spec.metadata_json.n--;
        aip_job_free(job_of(&spec));
        spec.metadata_json = aip_str_make("{\0}", 3);
        refuse(spec, "metadata: must not contain the NUL");
        spec.metadata_json = aip_str_of("{\"\xc0\xaf\"}");
        refuse(spec, "metadata: is not valid UTF-8");
        free(text);
}

Test(job_spec, trace_ids)
{
        static const char *const bad[] = {
                "0123456789abcdef0123456789abcde",   "0123456789abcdef0123456789abcdef0",
                "0123456789abcdef0123456789abcdeg",  "01234567-89ab-cdef-0123-456789abcdef",
                "00000000000000000000000000000000",  "\xff",
                "0123456789abcdef0123456789abcde\n",
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++) {
                struct aip_job_spec spec = spec_of("x");
                spec.trace_id = aip_str_of(bad[i]);
                refuse(spec, "trace_id: ");
        }
}

Test(job_spec, numbers)
{
        static const struct {
                int32_t max_attempts, retry_delay_ms;
                int64_t run_at_us;
                const char *why; /* NULL: accepted */
        } cases[] = {
                {1, 0, 0, NULL},
                {100, 300000, INT64_C(253402300799999999), NULL},
                {0, 0, 0, "max_attempts: 0 is out of range; allowed are 1 to 100"},
                {-1, 0, 0, "max_attempts: "},
                {101, 0, 0, "max_attempts: 101"},
                {INT32_MIN, 0, 0, "max_attempts: "},
                {1, -1, 0, "retry_delay_ms: -1"},
                {1, 300001, 0, "retry_delay_ms: 300001"},
                {1, 0, -1, "run_at: "},
                {1, 0, INT64_C(253402300800000000), "run_at: "},
                {1, 0, INT64_MAX, "run_at: "},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                struct aip_job_spec spec = spec_of("x");
                spec.max_attempts = cases[i].max_attempts;
                spec.retry_delay_ms = cases[i].retry_delay_ms;
                spec.run_at_us = cases[i].run_at_us;
                if (cases[i].why)
                        refuse(spec, cases[i].why);
                else
                        aip_job_free(job_of(&spec));
        }
}

Test(job_spec, a_time_that_passed_means_at_once)
{
        struct aip_job_spec spec = spec_of("x");
        spec.run_at_us = T0 - 1;
        _cleanup_job_ aip_job *past = job_of(&spec);
        cr_expect_eq(aip_job_fields(past)->run_at_us, T0);
        cr_expect(aip_job_created(past).is_runnable);
        spec.run_at_us = T0 + 1;
        _cleanup_job_ aip_job *future = job_of(&spec);
        cr_expect_eq(aip_job_fields(future)->run_at_us, T0 + 1);
        cr_expect_not(aip_job_created(future).is_runnable);
}

Test(job_spec, the_clock_must_be_set)
{
        static const int64_t clocks[] = {0, -1, INT64_MAX};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(clocks); i++) {
                aip_error *err = NULL;
                aip_job *job = NULL;
                struct aip_job_spec spec = spec_of("x");
                expect_refused(aip_job_new(job_id, &spec, clocks[i], &job, &err), &err, AIP_EINVAL,
                               "now_us: ");
        }
}

Test(job_spec, older_and_newer_callers)
{
        struct {
                struct aip_job_spec spec;
                char of_the_future[64];
        } newer = {spec_of("x"), "unknown to us"};
        newer.spec.self_size = sizeof(newer);
        newer.spec.max_attempts = 7;
        _cleanup_job_ aip_job *a = job_of(&newer.spec);
        cr_expect_eq(aip_job_fields(a)->max_attempts, 7);

        struct aip_job_spec older = spec_of("x");
        older.max_attempts = -5; /* not in the struct that this caller knows */
        older.self_size = offsetof(struct aip_job_spec, max_attempts);
        _cleanup_job_ aip_job *b = job_of(&older);
        cr_expect_eq(aip_job_fields(b)->max_attempts, 3);
        cr_expect_eq(aip_job_fields(b)->retry_delay_ms, 5000);
}

Test(job_spec, created_transition)
{
        struct aip_job_spec spec = spec_of("x");
        _cleanup_job_ aip_job *job = job_of(&spec);
        struct aip_transition t = aip_job_created(job);
        cr_expect_eq(t.kind, AIP_TRANSITION_CREATED);
        cr_expect_eq(t.version, 1);
        cr_expect_eq(t.at_us, T0);
        cr_expect_eq(t.to, AIP_JOB_QUEUED);
        cr_expect_eq(t.attempt, 0);
        cr_expect_eq(t.outbox_id, 0);
        cr_expect_str_empty(t.error_code);
        cr_expect(aip_id_equal(&t.job_id, &job_id));
}

Test(job_spec, a_copy_stands_alone)
{
        aip_error *err = NULL;
        struct aip_job_spec spec = spec_of("x");
        spec.metadata_json = aip_str_of("{}");
        aip_job *job = job_started(&spec);
        struct aip_job_outcome outcome = {
                sizeof(outcome), AIP_STR("answer"), AIP_STR("openai"), AIP_STR("gpt"), 1, 2};
        struct aip_transition t;
        expect_ok(aip_job_complete(job, &outcome, T0 + 5, &t, &err), &err);
        aip_job *allocated = NULL;
        expect_ok(aip_job_copy(job, &allocated, &err), &err);
        _cleanup_job_ aip_job *copy = allocated;
        aip_job_free(job);
        const struct aip_job_fields *f = aip_job_fields(copy);
        cr_expect(str_is(f->result, "answer"));
        cr_expect(str_is(f->provider, "openai"));
        cr_expect(str_is(f->metadata_json, "{}"));
        cr_expect_null(f->variables_json.p);
        cr_expect_eq(f->version, 3);
        cr_expect_eq(f->status, AIP_JOB_COMPLETED);
        cr_expect_eq(f->output_tokens, 2);
}

Test(job_spec, free_accepts_null)
{
        aip_job_free(NULL);
}
