/* When a failed attempt is repeated. Called by job_transitions.c. One formula, no state; jitter is
 * the business of those who call servers, not of the time a job becomes due. */
#include "job/job_impl.h"

int64_t aip_job_retry_delay_ms(int32_t retry_delay_ms, int32_t attempt, int64_t retry_after_ms)
{
        /* 2^19 ms already passes the maximum, so the shift can neither overflow nor matter. */
        int doublings = AIP_MIN(AIP_MAX(attempt - 1, 0), 19);
        int64_t delay_ms = (int64_t)retry_delay_ms << doublings;
        return AIP_MAX(AIP_MIN(delay_ms, (int64_t)AIP_JOB_RETRY_DELAY_MAX_MS), retry_after_ms);
}
