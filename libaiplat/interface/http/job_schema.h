/* The body of POST /v1/jobs as a job specification. */
#ifndef AIPLAT_INTERFACE_HTTP_JOB_SCHEMA_H
#define AIPLAT_INTERFACE_HTTP_JOB_SCHEMA_H

#include <aiplat/ports/job_repository.h>
#include <aiplat/value.h>

#define JOB_DELAY_MAX_MS (366LL * 24 * 3600 * 1000)

struct job_body {
        struct aip_job_spec spec; /* strings are views of the body and of the buffers below */
        int64_t delay_ms;
        enum aip_thread_strategy strategy;
        struct aip_buf variables, metadata, input;
};

/* `body` is borrowed for as long as the result is used. AIP_EINVAL names the member. The result is to
 * be deinitialised also on failure. */
int job_body_read(const aip_value *body, struct job_body *ret_job, aip_error **err);
/* The body of POST /v1/jobs/{id}/resume: exactly one of `value` (anything, also null) and `answers`. What is
 * read is borrowed from the body. */
int resume_body_read(const aip_value *body, const aip_value **ret_value,
                     const aip_value **ret_answers, aip_error **err);
void job_body_deinit(struct job_body *job);

#endif
