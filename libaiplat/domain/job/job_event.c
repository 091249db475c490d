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
        [AIP_EVENT_JOB_INTERRUPTED] = "job.interrupted",
};

const char *aip_job_event_name(enum aip_job_event_type type)
{
        return (size_t)type < AIP_ARRAY_SIZE(names) ? names[type] : "unknown";
}

static uint32_t bit_of(struct aip_str name)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(names); i++)
                if (aip_str_eq(name, aip_str_of(names[i])))
                        return 1u << i;
        return 0;
}

/* The next name of a list, without white space around it. */
static struct aip_str next_name(struct aip_str *rest)
{
        const char *comma = rest->n ? memchr(rest->p, ',', rest->n) : NULL;
        size_t n = comma ? (size_t)(comma - rest->p) : rest->n, used = comma ? n + 1 : n;
        struct aip_str name = aip_str_make(rest->p, n);

        *rest = aip_str_make(rest->p + used, rest->n - used);
        while (name.n && (*name.p == ' ' || *name.p == '\t'))
                name = aip_str_make(name.p + 1, name.n - 1);
        while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
                name.n--;
        return name;
}

int aip_job_events_parse(struct aip_str text, uint32_t *ret_muted, aip_error **err)
{
        const uint32_t all = (1u << AIP_ARRAY_SIZE(names)) - 1;
        uint32_t wanted = aip_str_eq(text, aip_str_of("all")) ? all : 0;

        if (!wanted && !aip_str_eq(text, aip_str_of("none"))) {
                while (text.n) {
                        struct aip_str name = next_name(&text);
                        uint32_t bit = bit_of(name);
                        char quoted[AIP_TEXT_QUOTED_BYTES];

                        if (!bit)
                                return aip_error_set(err, AIP_EINVAL,
                                                     "AIPLAT_EVENTS: %s is neither all, none nor "
                                                     "an event",
                                                     aip_text_quote(name, quoted));
                        wanted |= bit;
                }
        }
        *ret_muted = all & ~wanted;
        return 0;
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
