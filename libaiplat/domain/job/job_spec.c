/* A new job from what a caller asks for. Called by the job service for every accepted request: all
 * that a stranger can send is checked here, and the message names the field he knows it by. */
#include "job/job_impl.h"

static struct aip_str or_default(struct aip_str given, struct aip_str fallback)
{
        return given.n ? given : fallback;
}

static struct aip_str or_none(struct aip_str given)
{
        return given.n ? given : aip_str_make(NULL, 0);
}

static int check_range(const char *what, int64_t value, int64_t low, int64_t high, aip_error **err)
{
        if (value >= low && value <= high)
                return 0;
        return aip_error_set(err, AIP_EINVAL, "%s: %lld is out of range; allowed are %lld to %lld",
                             what, (long long)value, (long long)low, (long long)high);
}

static int check_names(const struct aip_job_fields *f, aip_error **err)
{
        int r = aip_name_check("config_name", f->config_name, err);
        if (r == 0)
                r = aip_name_check("template_name", f->template_name, err);
        if (r == 0)
                r = aip_name_check("graph_name", f->graph_name, err);
        return r;
}

static int check_documents(const struct aip_job_fields *f, aip_error **err)
{
        int r = aip_text_check("variables", f->variables_json, AIP_JOB_DOCUMENT_MAX_BYTES, err);
        if (r == 0)
                r = aip_text_check("metadata", f->metadata_json, AIP_JOB_DOCUMENT_MAX_BYTES, err);
        if (r == 0)
                r = aip_text_check("input", f->input_json, AIP_JOB_INPUT_MAX_BYTES, err);
        if (r == 0 && f->trace_id.n)
                r = aip_trace_id_check(f->trace_id, err);
        return r;
}

static int check_schedule(const struct aip_job_fields *f, aip_error **err)
{
        int r = check_range("max_attempts", f->max_attempts, 1, AIP_JOB_MAX_ATTEMPTS, err);
        if (r == 0)
                r = check_range("retry_delay_ms", f->retry_delay_ms, 0, AIP_JOB_RETRY_DELAY_MAX_MS,
                                err);
        if (r == 0)
                r = check_range("run_at", f->run_at_us, 0, AIP_TIMESTAMP_MAX_US, err);
        if (r == 0)
                r = check_range("checkpoint", f->checkpoint, AIP_JOB_NO_STATE, INT64_MAX, err);
        if (r == 0 && f->checkpoint != 0 && aip_id_is_nil(&f->thread_id))
                r = aip_error_set(err, AIP_EINVAL, "checkpoint: is that of a thread_id");
        return r;
}

int aip_job_fields_go_on(const struct aip_job_fields *fields)
{
        return fields->prompt.n == 0 && fields->input_json.n == 0 &&
               !aip_id_is_nil(&fields->thread_id);
}

int aip_job_check_common(const struct aip_job_fields *fields, aip_error **err)
{
        /* A graph may do with its input alone, and a job that goes on in its thread with neither. */
        int is_promptless =
                fields->prompt.n == 0 && (fields->input_json.n > 0 || aip_job_fields_go_on(fields));
        int r = is_promptless ? 0 : aip_prompt_check(fields->prompt, err);
        if (r == 0)
                r = check_names(fields, err);
        if (r == 0)
                r = check_documents(fields, err);
        if (r == 0)
                r = check_schedule(fields, err);
        return r;
}

static struct aip_job_fields fields_of_spec(const struct aip_job_spec *spec)
{
        return (struct aip_job_fields){
                .self_size = sizeof(struct aip_job_fields),
                .status = AIP_JOB_QUEUED,
                .max_attempts = spec->max_attempts,
                .retry_delay_ms = spec->retry_delay_ms,
                .version = 1,
                .prompt = spec->prompt.p ? spec->prompt : AIP_STR(""), /* none is no text */
                .config_name = or_default(spec->config_name, AIP_STR("default-smart")),
                .template_name = or_default(spec->template_name, AIP_STR("default-assistant")),
                .graph_name = or_default(spec->graph_name, AIP_STR("assistant")),
                .variables_json = or_none(spec->variables_json),
                .metadata_json = or_none(spec->metadata_json),
                .input_json = or_none(spec->input_json),
                .trace_id = or_none(spec->trace_id),
                .run_at_us = spec->run_at_us,
                .is_streamed = spec->is_streamed != 0,
                .thread_id = spec->thread_id,
                .checkpoint = spec->checkpoint,
        };
}

/* traceparent headers are lower case. `text` is the job's own copy. */
static void lower_case(struct aip_str text)
{
        char *c = (char *)text.p;
        for (size_t i = 0; i < text.n; i++)
                c[i] = (char)(c[i] >= 'A' && c[i] <= 'F' ? c[i] - 'A' + 'a' : c[i]);
}

int aip_job_new(struct aip_id id, const struct aip_job_spec *spec, int64_t now_us,
                aip_job **ret_job, aip_error **err)
{
        struct aip_job_spec full = AIP_JOB_SPEC_INIT;
        aip_fields_merge(&full, sizeof(full), spec);
        struct aip_job_fields fields = fields_of_spec(&full);
        int r = aip_job_check_common(&fields, err);
        if (r == 0)
                r = check_range("now_us", now_us, 1, AIP_TIMESTAMP_MAX_US, err);
        if (r < 0)
                return r;
        fields.id = id;
        fields.created_at_us = fields.updated_at_us = now_us;
        /* A time that has passed means "at once"; were it kept, the job would overtake others. */
        fields.run_at_us = AIP_MAX(fields.run_at_us, now_us);
        aip_job *job = aip_job_pack(&fields);
        if (!job)
                return aip_error_set_nomem(err);
        lower_case(job->fields.trace_id);
        *ret_job = job;
        return 0;
}
