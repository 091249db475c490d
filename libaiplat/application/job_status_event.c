/* Status events of a job (see job_status_event.h). */
#include "job_status_event.h"

#include <aiplat/job_service.h>

#include "macros.h"

/* Not through the middle of a character. */
static struct aip_str cut(struct aip_str text)
{
        size_t n = AIP_MIN(text.n, (size_t)AIP_STATUS_EVENT_ERROR_BYTES);

        while (n > 0 && n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
                n--;
        return aip_str_make(text.p, n);
}

static int put_string(struct aip_buf *out, const char *name, struct aip_str text)
{
        _cleanup_(aip_value_unref_p) aip_value *value = aip_value_string(text);
        int r;

        if (!value)
                return AIP_ENOMEM;
        if ((r = aip_buf_append_cstr(out, name)) < 0)
                return r;
        return aip_value_print(value, out, NULL);
}

static int put_error(const struct aip_job_fields *job, struct aip_buf *out)
{
        int r;

        if (!job->error_code.p || job->status == AIP_JOB_COMPLETED)
                return 0;
        if ((r = put_string(out, ",\"error_code\":", job->error_code)) < 0)
                return r;
        return put_string(out, ",\"error\":", cut(job->error_message));
}

static int put_questions(const struct aip_job_fields *job, struct aip_buf *out)
{
        int r;

        if (job->questions_json.n == 0 || job->questions_json.n > AIP_STATUS_EVENT_QUESTIONS_BYTES)
                return 0;
        if ((r = aip_buf_append_cstr(out, ",\"questions\":")) < 0)
                return r;
        return aip_buf_append(out, job->questions_json);
}

int aip_job_status_event_print(const struct aip_job_fields *job, struct aip_buf *out)
{
        int r;

        if ((r = aip_buf_printf(out, "{\"status\":\"%s\",\"attempt\":%d,\"version\":%lld,\"at\":\"",
                                aip_job_status_name(job->status), job->attempt,
                                (long long)job->version)) < 0 ||
            (r = aip_time_print(job->updated_at_us, out, NULL)) < 0 ||
            (r = aip_buf_append_char(out, '"')) < 0 || (r = put_error(job, out)) < 0 ||
            (r = put_questions(job, out)) < 0)
                return r;
        return aip_buf_append_char(out, '}');
}

void aip_job_status_event_append(struct aip_event_stream events, const aip_job *job)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        _cleanup_(aip_buf_deinit) struct aip_buf data = AIP_BUF_INIT(AIP_STATUS_EVENT_MAX_BYTES);
        struct aip_stream_event event = {.id = {f->version, 0}, .type = AIP_STREAM_STATUS};

        if (!events.ops || !f->is_streamed || aip_job_status_event_print(f, &data) < 0)
                return;
        event.data = aip_buf_str(&data);
        if (events.ops->append(events.self, &f->id, &event) < 0 ||
            !aip_job_status_is_terminal(f->status))
                return;
        event.id.n = 1;
        event.type = AIP_STREAM_END;
        events.ops->append(events.self, &f->id, &event);
}
