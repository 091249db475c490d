/*
 * Domain events as JSON: what the outside hears of a transition, on the event exchange, webhooks and
 * streams. Called by the outbox publisher. An event may be published more than once; its id says so
 * to those who care, which is why it is computed and not drawn.
 */
#include "job/job_impl.h"

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

static uint64_t load_be64(const uint8_t *p)
{
        uint64_t x = 0;
        for (int i = 0; i < 8; i++)
                x = x << 8 | p[i];
        return x;
}

static void store_be64(uint8_t *p, uint64_t x)
{
        for (int i = 7; i >= 0; i--, x >>= 8)
                p[i] = (uint8_t)x;
}

/* The finaliser of SplitMix64: a bijection in which every bit of the input moves half of the output. */
static uint64_t mix(uint64_t x)
{
        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
        return x ^ x >> 31;
}

/* UUIDv8 (RFC 9562, 5.8) from job id, version and type. Nobody gains by making two of them collide:
 * speed and spread are enough. For one job, version and type enter as one number that is mixed
 * one-to-one, so only the six bits of UUID version and variant are lost. */
static struct aip_id event_id(const struct aip_transition *t, enum aip_job_event_type type)
{
        uint64_t high = load_be64(t->job_id.bytes), low = load_be64(t->job_id.bytes + 8);
        uint64_t which = mix((uint64_t)t->version * AIP_ARRAY_SIZE(names) + (uint64_t)type +
                             UINT64_C(0x9e3779b97f4a7c15));
        low = mix(low ^ which);
        high = mix(high ^ low);
        low = mix(low + high);
        struct aip_id id;
        store_be64(id.bytes, high);
        store_be64(id.bytes + 8, low);
        id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x80);
        id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
        return id;
}

static int print_head(const struct aip_transition *t, enum aip_job_event_type type,
                      struct aip_buf *out)
{
        struct aip_id id = event_id(t, type);
        char id_text[AIP_ID_TEXT_BYTES], job_text[AIP_ID_TEXT_BYTES];
        char time_text[AIP_TIMESTAMP_TEXT_BYTES];
        return aip_buf_printf(out,
                              "{\"event_id\":\"%s\",\"type\":\"%s\",\"job_id\":\"%s\","
                              "\"sequence\":%lld,\"occurred_at\":\"%s\",\"attempt\":%d,"
                              "\"status\":\"%s\"",
                              aip_id_format(&id, id_text), aip_job_event_name(type),
                              aip_id_format(&t->job_id, job_text), (long long)t->version,
                              aip_timestamp_format(t->at_us, time_text), t->attempt,
                              aip_job_status_name(t->to));
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
                r = aip_buf_printf(out, ",\"previous_status\":\"%s\"", aip_job_status_name(t->from));
        if (r == 0 && t->error_code[0])
                r = print_error_code(t, out);
        return r < 0 ? r : aip_buf_append_char(out, '}');
}

int aip_job_event_print(const struct aip_transition *transition, enum aip_job_event_type type,
                        struct aip_buf *out, aip_error **err)
{
        int r = print_event(transition, type, out);
        if (r == AIP_ELIMIT)
                return aip_error_set(err, AIP_ELIMIT, "an event is longer than its buffer may grow");
        return r < 0 ? aip_error_set_nomem(err) : 0;
}
