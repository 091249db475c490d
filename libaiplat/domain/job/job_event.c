/*
 * Domain events as JSON: what the outside hears of a transition, on the event exchange, webhooks
 * and streams. Called by the outbox publisher. An event may be published more than once; its id
 * says so to those who care, which is why it is computed and not drawn.
 */
#include "job/job_impl.h"
#include <stdio.h>

static const char *const names[] = {
        [AIP_EVENT_JOB_CREATED] = "job.created",
        [AIP_EVENT_JOB_STATUS_CHANGED] = "job.status_changed",
        [AIP_EVENT_JOB_COMPLETED] = "job.completed",
        [AIP_EVENT_JOB_FAILED] = "job.failed",
};

const char *aip_job_event_name(enum aip_job_event_type type)
{
        return (size_t)type < AIP_ARRAY_SIZE(names) ? names[type] : "unknown";
}

/* The version 5 UUID of "<version>:<type>" in the job's id: a consumer can compute it, too. */
static struct aip_id event_id(const struct aip_transition *t, enum aip_job_event_type type)
{
        char name[48];
        int n = snprintf(name, sizeof(name), "%lld:%s", (long long)t->version,
                         aip_job_event_name(type));
        return aip_id_from_name(&t->job_id, aip_str_make(name, (size_t)n));
}

#define HEAD_MAX_BYTES 384 /* every part of it has a length of its own */

/* By hand rather than with snprintf: a job has four events or more. */
static int print_head(const struct aip_transition *t, enum aip_job_event_type type,
                      struct aip_buf *out)
{
        struct aip_id id = event_id(t, type);
        char id_text[AIP_ID_TEXT_BYTES], time_text[AIP_TIMESTAMP_TEXT_BYTES];
        int r;

        if ((r = aip_buf_reserve(out, HEAD_MAX_BYTES)) < 0 ||
            (r = aip_buf_append_cstr(out, "{\"event_id\":\"")) < 0 ||
            (r = aip_buf_append_cstr(out, aip_id_format(&id, id_text))) < 0 ||
            (r = aip_buf_append_cstr(out, "\",\"type\":\"")) < 0 ||
            (r = aip_buf_append_cstr(out, aip_job_event_name(type))) < 0 ||
            (r = aip_buf_append_cstr(out, "\",\"job_id\":\"")) < 0 ||
            (r = aip_buf_append_cstr(out, aip_id_format(&t->job_id, id_text))) < 0 ||
            (r = aip_buf_append_cstr(out, "\",\"sequence\":")) < 0 ||
            (r = aip_buf_append_int(out, t->version)) < 0 ||
            (r = aip_buf_append_cstr(out, ",\"occurred_at\":\"")) < 0 ||
            (r = aip_buf_append_cstr(out, aip_timestamp_format(t->at_us, time_text))) < 0 ||
            (r = aip_buf_append_cstr(out, "\",\"attempt\":")) < 0 ||
            (r = aip_buf_append_int(out, t->attempt)) < 0 ||
            (r = aip_buf_append_cstr(out, ",\"status\":\"")) < 0 ||
            (r = aip_buf_append_cstr(out, aip_job_status_name(t->to))) < 0)
                return r;
        return aip_buf_append_char(out, '"');
}

static int print_previous_status(const struct aip_transition *t, struct aip_buf *out)
{
        int r = aip_buf_append_cstr(out, ",\"previous_status\":\"");
        if (r == 0)
                r = aip_buf_append_cstr(out, aip_job_status_name(t->from));
        return r < 0 ? r : aip_buf_append_char(out, '"');
}

static int print_error_code(const struct aip_transition *t, struct aip_buf *out)
{
        int r = aip_buf_append_cstr(out, ",\"error_code\":");
        return r < 0 ? r : aip_json_append_string(out, aip_str_of(t->error_code));
}

static int print_event(const struct aip_transition *t, enum aip_job_event_type type,
                       struct aip_buf *out)
{
        int r = print_head(t, type, out);
        if (r == 0 && t->kind != AIP_TRANSITION_CREATED)
                r = print_previous_status(t, out);
        if (r == 0 && t->error_code[0])
                r = print_error_code(t, out);
        return r < 0 ? r : aip_buf_append_char(out, '}');
}

int aip_job_event_print(const struct aip_transition *transition, enum aip_job_event_type type,
                        struct aip_buf *out, aip_error **err)
{
        int r = print_event(transition, type, out);
        if (r == AIP_ELIMIT)
                return aip_error_set(err, AIP_ELIMIT,
                                     "an event is longer than its buffer may grow");
        return r < 0 ? aip_error_set_nomem(err) : 0;
}
