/*
 * The body of POST /v1/jobs (job_schema.h). Called by the job controller. Types and the ranges of
 * numbers are checked here; what the domain knows (prompts, names, what may run) is left to it.
 */
#include "job_schema.h"

#include "fields.h"
#include "macros.h"

#define RETRY_DELAY_MAX_MS 300000
#define CHECKPOINT_MAX     (INT64_C(1) << 53)

/* {} says as little as nothing. */
static struct aip_str document_of(const struct aip_buf *text)
{
        return text->n > 2 ? aip_buf_str(text) : aip_str_make(NULL, 0);
}

static void read_strategy(struct fields *f, enum aip_thread_strategy *ret_strategy)
{
        static const char *const names[] = {[AIP_THREAD_ENQUEUE] = "enqueue",
                                            [AIP_THREAD_REJECT] = "reject",
                                            [AIP_THREAD_INTERRUPT] = "interrupt",
                                            [AIP_THREAD_ROLLBACK] = "rollback"};
        struct aip_str name = {0};

        fields_string(f, "multitask_strategy", &name);
        if (f->code < 0 || !name.p)
                return;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(names); i++)
                if (aip_str_eq(name, aip_str_of(names[i]))) {
                        *ret_strategy = (enum aip_thread_strategy)i;
                        return;
                }
        f->code =
                aip_error_set(&f->err, AIP_EINVAL,
                              "multitask_strategy: is not enqueue, reject, interrupt or rollback");
}

static void read_members(struct fields *f, struct job_body *job)
{
        struct aip_job_spec *spec = &job->spec;
        int64_t max_attempts = spec->max_attempts, retry_delay_ms = spec->retry_delay_ms;

        fields_string(f, "prompt", &spec->prompt);
        fields_string(f, "config_name", &spec->config_name);
        fields_string(f, "template_name", &spec->template_name);
        fields_string(f, "graph_name", &spec->graph_name);
        fields_document(f, "variables", &job->variables);
        fields_document(f, "metadata", &job->metadata);
        fields_document(f, "input", &job->input);
        fields_int(f, "max_attempts", 1, AIP_JOB_MAX_ATTEMPTS, &max_attempts);
        fields_seconds(f, "retry_delay", RETRY_DELAY_MAX_MS, &retry_delay_ms);
        fields_time(f, "run_at", &spec->run_at_us);
        fields_seconds(f, "delay", JOB_DELAY_MAX_MS, &job->delay_ms);
        fields_bool(f, "stream", &spec->is_streamed);
        fields_id(f, "thread_id", &spec->thread_id);
        fields_int(f, "checkpoint", 1, CHECKPOINT_MAX, &spec->checkpoint);
        read_strategy(f, &job->strategy);
        spec->max_attempts = (int32_t)max_attempts;
        spec->retry_delay_ms = (int32_t)retry_delay_ms;
}

int job_body_read(const aip_value *body, struct job_body *job, aip_error **err)
{
        struct fields f = {.object = body};

        *job = (struct job_body){.spec = AIP_JOB_SPEC_INIT};
        aip_buf_init(&job->variables, AIP_JOB_DOCUMENT_MAX_BYTES);
        aip_buf_init(&job->metadata, AIP_JOB_DOCUMENT_MAX_BYTES);
        aip_buf_init(&job->input, AIP_JOB_INPUT_MAX_BYTES);
        read_members(&f, job);
        if (f.code == 0 && !job->spec.prompt.p && job->input.n == 0 &&
            aip_id_is_nil(&job->spec.thread_id))
                f.code = aip_error_set(&f.err, AIP_EINVAL,
                                       "prompt: is required, or input, or thread_id");
        if (f.code == 0 && job->spec.prompt.p && job->input.n == 0)
                f.code = aip_prompt_check(job->spec.prompt, &f.err);
        if (f.code == 0 && job->spec.run_at_us != 0 && job->delay_ms != 0)
                f.code = aip_error_set(&f.err, AIP_EINVAL, "run_at and delay: only one of them");
        job->spec.variables_json = document_of(&job->variables);
        job->spec.metadata_json = document_of(&job->metadata);
        job->spec.input_json =
                job->spec.prompt.p ? document_of(&job->input) : aip_buf_str(&job->input);
        return fields_end(&f, err);
}

void job_body_deinit(struct job_body *job)
{
        aip_buf_deinit(&job->variables);
        aip_buf_deinit(&job->metadata);
        aip_buf_deinit(&job->input);
}

int resume_body_read(const aip_value *body, const aip_value **ret_value,
                     const aip_value **ret_answers, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(body, "value");
        const aip_value *answers = aip_value_get_cstr(body, "answers");
        struct fields f = {.object = body};
        int r;

        fields_ignore(&f, "value");
        fields_ignore(&f, "answers");
        if ((r = fields_end(&f, err)) < 0)
                return r;
        if (!value == !answers)
                return aip_error_set(err, AIP_EINVAL, "value or answers: exactly one of them");
        *ret_value = value;
        *ret_answers = answers;
        return 0;
}
