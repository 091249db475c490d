/* JobStatus: the states of a job and the table of allowed transitions. Everything that moves a job
 * asks this table; nothing else knows what may follow what. */
#include "macros.h"
#include "text/text.h"
#include <aiplat/job.h>
#include <strings.h>

#define N_STATUSES AIP_JOB_STATUSES

static const char *const names[N_STATUSES] = {
        [AIP_JOB_QUEUED] = "QUEUED",       [AIP_JOB_PROCESSING] = "PROCESSING",
        [AIP_JOB_COMPLETED] = "COMPLETED", [AIP_JOB_FAILED] = "FAILED",
        [AIP_JOB_CANCELLED] = "CANCELLED", [AIP_JOB_INTERRUPTED] = "INTERRUPTED",
};

static const unsigned char allowed[N_STATUSES][N_STATUSES] = {
        [AIP_JOB_QUEUED] = {[AIP_JOB_PROCESSING] = 1, [AIP_JOB_CANCELLED] = 1},
        [AIP_JOB_PROCESSING] = {[AIP_JOB_QUEUED] = 1,
                                [AIP_JOB_COMPLETED] = 1,
                                [AIP_JOB_FAILED] = 1,
                                [AIP_JOB_CANCELLED] = 1,
                                [AIP_JOB_INTERRUPTED] = 1},
        [AIP_JOB_INTERRUPTED] = {[AIP_JOB_QUEUED] = 1, [AIP_JOB_CANCELLED] = 1},
        /* COMPLETED, FAILED and CANCELLED are final. */
};

static int is_status(enum aip_job_status status)
{
        return (unsigned)status < N_STATUSES;
}

const char *aip_job_status_name(enum aip_job_status status)
{
        return is_status(status) ? names[status] : "UNKNOWN";
}

int aip_job_status_parse(struct aip_str text, enum aip_job_status *ret_status, aip_error **err)
{
        for (unsigned i = 0; i < N_STATUSES; i++) {
                if (strlen(names[i]) == text.n && strncasecmp(names[i], text.p, text.n) == 0) {
                        *ret_status = (enum aip_job_status)i;
                        return 0;
                }
        }
        char quoted[AIP_TEXT_QUOTED_BYTES];
        return aip_error_set(
                err, AIP_EINVAL,
                "status: %s is none of QUEUED, PROCESSING, COMPLETED, FAILED, CANCELLED, "
                "INTERRUPTED",
                aip_text_quote(text, quoted));
}

int aip_job_status_is_terminal(enum aip_job_status status)
{
        return status == AIP_JOB_COMPLETED || status == AIP_JOB_FAILED ||
               status == AIP_JOB_CANCELLED;
}

int aip_job_status_is_at_rest(enum aip_job_status status)
{
        return status == AIP_JOB_INTERRUPTED || aip_job_status_is_terminal(status);
}

int aip_job_status_may_become(enum aip_job_status from, enum aip_job_status to)
{
        return is_status(from) && is_status(to) && allowed[from][to];
}
