/*
 * A job as a store remembers it. Called by stores and caches for every record they read. Refuses
 * what no sequence of transitions could have produced; what operators change by hand in a database
 * (fewer max_attempts, a failed job queued again with its attempts used up, clocks that disagree)
 * is let through.
 */
#include "job/job_impl.h"

static int impossible(const struct aip_job_fields *f, const char *why, aip_error **err)
{
        char id[AIP_ID_TEXT_BYTES];
        return aip_error_set(err, AIP_EINVAL, "job %s cannot have been: %s",
                             aip_id_format(&f->id, id), why);
}

static int check_counts(const struct aip_job_fields *f, aip_error **err)
{
        if (aip_id_is_nil(&f->id))
                return impossible(f, "its id is nil", err);
        if ((unsigned)f->status >= AIP_JOB_STATUSES)
                return impossible(f, "its status is unknown", err);
        if (f->version < 1)
                return impossible(f, "its version is below 1", err);
        if (f->attempt < 0)
                return impossible(f, "its attempt is negative", err);
        /* Every start raises the version, which begins at 1. */
        if (f->attempt >= f->version)
                return impossible(f, "it has more attempts than transitions", err);
        if (f->input_tokens < 0 || f->output_tokens < 0)
                return impossible(f, "it has a negative number of tokens", err);
        return 0;
}

static int is_time(int64_t at_us)
{
        return at_us >= 0 && at_us <= AIP_TIMESTAMP_MAX_US;
}

static int check_times(const struct aip_job_fields *f, aip_error **err)
{
        if (!is_time(f->created_at_us) || !is_time(f->updated_at_us) ||
            !is_time(f->started_at_us) || !is_time(f->finished_at_us))
                return impossible(f, "a time is out of range", err);
        if (aip_job_status_is_terminal(f->status) && f->finished_at_us == 0)
                return impossible(f, "it ended, but at no time", err);
        if (!aip_job_status_is_terminal(f->status) && f->finished_at_us != 0)
                return impossible(f, "it has not ended, but has a time of its end", err);
        return 0;
}

static int has_run(const struct aip_job_fields *f)
{
        return f->attempt > 0 && f->started_at_us > 0;
}

static int check_status(const struct aip_job_fields *f, aip_error **err)
{
        int was_attempted = f->status == AIP_JOB_PROCESSING || f->status == AIP_JOB_COMPLETED ||
                            f->status == AIP_JOB_FAILED || f->status == AIP_JOB_INTERRUPTED;
        if (was_attempted && !has_run(f))
                return impossible(f, "its status needs an attempt, and it has none", err);
        if (f->status != AIP_JOB_COMPLETED && f->result.n)
                return impossible(f, "it has a result, but is not COMPLETED", err);
        if ((f->status == AIP_JOB_INTERRUPTED) != (f->questions_json.n > 0))
                return impossible(f, "it has questions exactly while it is INTERRUPTED", err);
        if (f->status == AIP_JOB_FAILED && !f->error_code.n)
                return impossible(f, "it is FAILED without an error code", err);
        return 0;
}

static int check_outcome(const struct aip_job_fields *f, aip_error **err)
{
        int r = aip_text_check("result", f->result, AIP_JOB_RESULT_MAX_BYTES, err);
        if (r == 0)
                r = aip_text_check("error_code", f->error_code, AIP_JOB_ERROR_CODE_MAX_BYTES, err);
        if (r == 0)
                r = aip_text_check("error_message", f->error_message, SIZE_MAX, err);
        if (r == 0)
                r = aip_text_check("provider", f->provider, AIP_NAME_MAX_BYTES, err);
        if (r == 0)
                r = aip_text_check("model_name", f->model_name, AIP_NAME_MAX_BYTES, err);
        if (r == 0)
                r = aip_text_check("questions", f->questions_json, AIP_JOB_QUESTIONS_MAX_BYTES,
                                   err);
        if (r == 0)
                r = aip_text_check("answers", f->answers_json, AIP_JOB_QUESTIONS_MAX_BYTES, err);
        return r;
}

/* Stores differ in whether "none" comes back as NULL or as an empty string. */
static void normalise(struct aip_job_fields *f)
{
        struct aip_str *optional[] = {&f->variables_json, &f->metadata_json, &f->trace_id,
                                      &f->result,         &f->error_code,    &f->error_message,
                                      &f->provider,       &f->model_name,    &f->input_json,
                                      &f->questions_json, &f->answers_json};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(optional); i++) {
                if (optional[i]->n == 0)
                        optional[i]->p = NULL;
        }
        if (f->status == AIP_JOB_COMPLETED && !f->result.p)
                f->result.p = "";
}

int aip_job_restore(const struct aip_job_fields *fields, aip_job **ret_job, aip_error **err)
{
        struct aip_job_fields f = {0};
        aip_fields_merge(&f, sizeof(f), fields);
        normalise(&f);
        int r = check_counts(&f, err);
        if (r == 0)
                r = check_times(&f, err);
        if (r == 0)
                r = check_status(&f, err);
        if (r == 0)
                r = check_outcome(&f, err);
        if (r == 0)
                r = aip_job_check_common(&f, err);
        if (r < 0)
                return r;
        aip_job *job = aip_job_pack(&f);
        if (!job)
                return aip_error_set_nomem(err);
        *ret_job = job;
        return 0;
}
