/* Transitions as data: their names in stores and messages, and the domain events each of them
 * yields. Called by stores, by the outbox publisher and by job_event.c. */
#include "macros.h"
#include "text/text.h"
#include <aiplat/job.h>
#include <strings.h>

#define N_KINDS AIP_TRANSITION_KINDS

static const char *const names[N_KINDS] = {
        [AIP_TRANSITION_CREATED] = "created",   [AIP_TRANSITION_DUE] = "due",
        [AIP_TRANSITION_STARTED] = "started",   [AIP_TRANSITION_RETRY] = "retry",
        [AIP_TRANSITION_RELEASED] = "released", [AIP_TRANSITION_COMPLETED] = "completed",
        [AIP_TRANSITION_FAILED] = "failed",     [AIP_TRANSITION_CANCELLED] = "cancelled",
        [AIP_TRANSITION_INTERRUPTED] = "interrupted", [AIP_TRANSITION_RESUMED] = "resumed",
};

const char *aip_transition_kind_name(enum aip_transition_kind kind)
{
        return (unsigned)kind < N_KINDS ? names[kind] : "unknown";
}

int aip_transition_kind_parse(struct aip_str text, enum aip_transition_kind *ret_kind,
                              aip_error **err)
{
        for (unsigned i = 0; i < N_KINDS; i++) {
                if (strlen(names[i]) == text.n && strncasecmp(names[i], text.p, text.n) == 0) {
                        *ret_kind = (enum aip_transition_kind)i;
                        return 0;
                }
        }
        char quoted[AIP_TEXT_QUOTED_BYTES];
        return aip_error_set(err, AIP_EINVAL, "transition kind: %s is not known",
                             aip_text_quote(text, quoted));
}

size_t aip_transition_events(const struct aip_transition *transition,
                             enum aip_job_event_type ret_types[AIP_JOB_EVENTS_PER_TRANSITION])
{
        switch (transition->kind) {
        case AIP_TRANSITION_CREATED:
                ret_types[0] = AIP_EVENT_JOB_CREATED;
                return 1;
        case AIP_TRANSITION_DUE:
                return 0;
        case AIP_TRANSITION_STARTED:
        case AIP_TRANSITION_RETRY:
        case AIP_TRANSITION_RELEASED:
        case AIP_TRANSITION_CANCELLED:
        case AIP_TRANSITION_RESUMED:
                ret_types[0] = AIP_EVENT_JOB_STATUS_CHANGED;
                return 1;
        case AIP_TRANSITION_COMPLETED:
                ret_types[0] = AIP_EVENT_JOB_STATUS_CHANGED;
                ret_types[1] = AIP_EVENT_JOB_COMPLETED;
                return 2;
        case AIP_TRANSITION_FAILED:
                ret_types[0] = AIP_EVENT_JOB_STATUS_CHANGED;
                ret_types[1] = AIP_EVENT_JOB_FAILED;
                return 2;
        case AIP_TRANSITION_INTERRUPTED:
                ret_types[0] = AIP_EVENT_JOB_STATUS_CHANGED;
                ret_types[1] = AIP_EVENT_JOB_INTERRUPTED;
                return 2;
        }
        return 0;
}
