/*
 * Job, seen from inside: shared by the files of this folder, no one else's. A job is one allocation
 * that holds the struct and every string it was made with; the outcome and the last error, which
 * come later, are at most one allocation each, as are questions or answers. Starting, releasing, cancelling
 * allocate nothing.
 */
#ifndef AIPLAT_DOMAIN_JOB_IMPL_H
#define AIPLAT_DOMAIN_JOB_IMPL_H

#include "macros.h"
#include "mem.h"
#include "text/text.h"
#include "text/timestamp.h"
#include <aiplat/job.h>

struct aip_job {
        struct aip_job_fields fields; /* strings point behind the struct or into those below */
        char *outcome_text;           /* result, provider, model_name; or NULL */
        char *error_text;             /* error_code, error_message; or NULL */
        char *dialogue_text;          /* questions or answers; or NULL */
};

/* Longer ones are cut, and end in "…". */
#define AIP_JOB_ERROR_CODE_MAX_BYTES    (sizeof(((struct aip_transition *)0)->error_code) - 1)
#define AIP_JOB_ERROR_MESSAGE_MAX_BYTES 8192
AIP_STATIC_ASSERT(AIP_JOB_WAITS_US == AIP_TIMESTAMP_MAX_US, "no job is due later");

#define AIP_JOB_RETRY_DELAY_MAX_MS      300000

/* A job with these fields, unchecked; strings are copied. NULL when out of memory. */
aip_job *aip_job_pack(const struct aip_job_fields *fields);

/* What a spec and a stored record have in common. */
int aip_job_check_common(const struct aip_job_fields *fields, aip_error **err);

/* 32 hexadecimal digits, not all zero (W3C trace context). */
int aip_trace_id_check(struct aip_str trace_id, aip_error **err);

/* How long to wait before the attempt after `attempt` (from 1): doubles from retry_delay_ms, at
 * most AIP_JOB_RETRY_DELAY_MAX_MS, but no sooner than the provider asked. */
int64_t aip_job_retry_delay_ms(int32_t retry_delay_ms, int32_t attempt, int64_t retry_after_ms);

#endif
