/* Job: the aggregate's memory. Who may change a job, and how, is in job_transitions.c. */
#include "job/job_impl.h"

static const size_t string_members[] = {
        offsetof(struct aip_job_fields, prompt),
        offsetof(struct aip_job_fields, config_name),
        offsetof(struct aip_job_fields, template_name),
        offsetof(struct aip_job_fields, graph_name),
        offsetof(struct aip_job_fields, variables_json),
        offsetof(struct aip_job_fields, metadata_json),
        offsetof(struct aip_job_fields, input_json),
        offsetof(struct aip_job_fields, trace_id),
        offsetof(struct aip_job_fields, result),
        offsetof(struct aip_job_fields, error_code),
        offsetof(struct aip_job_fields, error_message),
        offsetof(struct aip_job_fields, provider),
        offsetof(struct aip_job_fields, model_name),
        offsetof(struct aip_job_fields, questions_json),
        offsetof(struct aip_job_fields, answers_json),
};

static struct aip_str *string_member(struct aip_job_fields *fields, size_t i)
{
        return (struct aip_str *)(void *)((char *)fields + string_members[i]);
}

aip_job *aip_job_pack(const struct aip_job_fields *fields)
{
        struct aip_job_fields copy = *fields;
        size_t bytes = sizeof(aip_job);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(string_members); i++)
                bytes += aip_text_packed_bytes(*string_member(&copy, i));
        aip_job *job = aip_alloc(bytes);
        if (!job)
                return NULL;
        *job = (aip_job){.fields = copy};
        char *at = (char *)(job + 1);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(string_members); i++)
                at = aip_text_pack(string_member(&job->fields, i), at);
        return job;
}

int aip_job_copy(const aip_job *job, aip_job **ret_job, aip_error **err)
{
        aip_job *copy = aip_job_pack(&job->fields);
        if (!copy)
                return aip_error_set_nomem(err);
        *ret_job = copy;
        return 0;
}

void aip_job_free(aip_job *job)
{
        if (!job)
                return;
        aip_free(job->outcome_text);
        aip_free(job->error_text);
        aip_free(job->dialogue_text);
        aip_free(job);
}

const struct aip_job_fields *aip_job_fields(const aip_job *job)
{
        return &job->fields;
}
