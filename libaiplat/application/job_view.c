/*
 * The job as the JSON document that clients get: printed once, sent as it is, and kept in the read
 * cache in the same form. Called by the job service, the processing service (which fills the cache)
 * and the HTTP controllers. It formats; it decides nothing.
 */
#include "job_view.h"

#include "macros.h"

#define FIXED_BYTES 1280 /* names of members, times, ids, and some room for escapes */

static int put_name(struct aip_buf *out, const char *name)
{
        int r = aip_buf_append_cstr(out, name);
        return r < 0 ? r : aip_buf_append_char(out, ':');
}

static int put_string(struct aip_buf *out, const char *name, struct aip_str value)
{
        int r = put_name(out, name);

        if (r < 0)
                return r;
        return value.p ? aip_json_append_string(out, value) : aip_buf_append_cstr(out, "null");
}

/* `value` is JSON already. */
static int put_document(struct aip_buf *out, const char *name, struct aip_str value)
{
        int r = put_name(out, name);

        if (r < 0)
                return r;
        return value.n > 0 ? aip_buf_append(out, value) : aip_buf_append_cstr(out, "null");
}

static int put_time(struct aip_buf *out, const char *name, int64_t wall_us)
{
        int r = put_name(out, name);

        if (r < 0)
                return r;
        if (wall_us == 0)
                return aip_buf_append_cstr(out, "null");
        if ((r = aip_buf_append_char(out, '"')) < 0 || (r = aip_time_print(wall_us, out, NULL)) < 0)
                return r;
        return aip_buf_append_char(out, '"');
}

static int put_int(struct aip_buf *out, const char *name, int64_t value)
{
        int r = put_name(out, name);

        return r < 0 ? r : aip_buf_append_int(out, value);
}

static int put_identity(const struct aip_job_fields *f, struct aip_buf *out)
{
        /* What an earlier attempt failed with is no news once one has succeeded. */
        static const struct aip_str none = {NULL, 0};
        int has_succeeded = f->status == AIP_JOB_COMPLETED;
        char id[AIP_ID_TEXT_BYTES];
        int r;

        if ((r = aip_buf_append_cstr(out, "{\"job_id\":\"")) < 0 ||
            (r = aip_buf_append_cstr(out, aip_id_format(&f->id, id))) < 0 ||
            (r = aip_buf_append_cstr(out, "\",\"status\":\"")) < 0 ||
            (r = aip_buf_append_cstr(out, aip_job_status_name(f->status))) < 0 ||
            (r = aip_buf_append_cstr(out, "\",")) < 0 ||
            (r = put_string(out, "\"result\"", f->result)) < 0 ||
            (r = put_string(out, ",\"error\"", has_succeeded ? none : f->error_message)) < 0 ||
            (r = put_string(out, ",\"error_code\"", has_succeeded ? none : f->error_code)) < 0 ||
            (r = put_document(out, ",\"questions\"", f->questions_json)) < 0)
                return r;
        return 0;
}

static int put_thread(const struct aip_job_fields *f, struct aip_buf *out)
{
        char id[AIP_ID_TEXT_BYTES];

        if (aip_id_is_nil(&f->thread_id))
                return aip_buf_append_cstr(out, ",\"thread_id\":null,\"checkpoint\":null");
        if (f->checkpoint <= 0)
                return aip_buf_printf(out, ",\"thread_id\":\"%s\",\"checkpoint\":null",
                                      aip_id_format(&f->thread_id, id));
        return aip_buf_printf(out, ",\"thread_id\":\"%s\",\"checkpoint\":%lld",
                              aip_id_format(&f->thread_id, id), (long long)f->checkpoint);
}

static int put_request(const struct aip_job_fields *f, struct aip_buf *out)
{
        int r;

        if ((r = put_string(out, ",\"prompt\"", f->prompt)) < 0 ||
            (r = put_string(out, ",\"config_name\"", f->config_name)) < 0 ||
            (r = put_string(out, ",\"template_name\"", f->template_name)) < 0 ||
            (r = put_string(out, ",\"graph_name\"", f->graph_name)) < 0 ||
            (r = put_document(out, ",\"variables\"", f->variables_json)) < 0 ||
            (r = put_document(out, ",\"metadata\"", f->metadata_json)) < 0 ||
            (r = put_document(out, ",\"input\"", f->input_json)) < 0 ||
            (r = put_int(out, ",\"attempt\"", f->attempt)) < 0 ||
            (r = put_int(out, ",\"max_attempts\"", f->max_attempts)) < 0)
                return r;
        if ((r = put_thread(f, out)) < 0)
                return r;
        return aip_buf_append_cstr(out, f->is_streamed ? ",\"stream\":true" : ",\"stream\":false");
}

static int put_usage(const struct aip_job_fields *f, struct aip_buf *out)
{
        int r;

        if (!f->provider.p)
                return aip_buf_append_cstr(out, ",\"usage\":null");
        if ((r = put_int(out, ",\"usage\":{\"input_tokens\"", f->input_tokens)) < 0 ||
            (r = put_int(out, ",\"output_tokens\"", f->output_tokens)) < 0)
                return r;
        return aip_buf_append_char(out, '}');
}

static int put_all(const struct aip_job_fields *f, struct aip_buf *out)
{
        /* Rarely too little: then the buffer grows. */
        size_t guess = f->prompt.n + f->result.n + f->variables_json.n + f->metadata_json.n +
                       f->input_json.n + f->error_message.n + f->questions_json.n + FIXED_BYTES;
        int r;

        if (guess <= out->max_bytes - out->n && (r = aip_buf_reserve(out, guess)) < 0)
                return r;
        if ((r = put_identity(f, out)) < 0 || (r = put_request(f, out)) < 0 ||
            (r = put_string(out, ",\"provider\"", f->provider)) < 0 ||
            (r = put_string(out, ",\"model_name\"", f->model_name)) < 0 ||
            (r = put_usage(f, out)) < 0 ||
            (r = put_time(out, ",\"created_at\"", f->created_at_us)) < 0 ||
            (r = put_time(out, ",\"updated_at\"", f->updated_at_us)) < 0 ||
            (r = put_time(out, ",\"run_at\"",
                          f->run_at_us == AIP_JOB_WAITS_US ? 0 : f->run_at_us)) < 0 ||
            (r = put_time(out, ",\"started_at\"", f->started_at_us)) < 0 ||
            (r = put_time(out, ",\"finished_at\"", f->finished_at_us)) < 0 ||
            (r = put_string(out, ",\"trace_id\"", f->trace_id)) < 0)
                return r;
        return aip_buf_append_char(out, '}');
}

int aip_job_view_print(const aip_job *job, struct aip_buf *out, aip_error **err)
{
        int r = put_all(aip_job_fields(job), out);

        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        if (r < 0)
                return aip_error_set(err, r, "the job's view passes %zu bytes", out->max_bytes);
        return 0;
}

struct aip_str aip_job_cache_key(const struct aip_id *id, char ret_key[AIP_JOB_CACHE_KEY_BYTES])
{
        static const char space[] = "aiplat:job:";

        AIP_STATIC_ASSERT(AIP_JOB_CACHE_KEY_BYTES >= sizeof(space) - 1 + AIP_ID_TEXT_BYTES,
                          "a key holds the space and an id");
        memcpy(ret_key, space, sizeof(space) - 1);
        aip_id_format(id, ret_key + sizeof(space) - 1);
        return aip_str_make(ret_key, sizeof(space) - 1 + AIP_ID_TEXT_BYTES - 1);
}

void aip_job_cache_fill(struct aip_cache cache, const aip_job *job, int32_t ttl_s)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        _cleanup_(aip_buf_deinit) struct aip_buf view = AIP_BUF_INIT(AIP_JOB_VIEW_MAX_BYTES);
        char key[AIP_JOB_CACHE_KEY_BYTES];

        /* Only what can change no more: so the cache can be stale in no way that matters. */
        if (!cache.ops || !aip_job_status_is_terminal(f->status))
                return;
        if (aip_job_view_print(job, &view, NULL) < 0)
                return;
        cache.ops->put(cache.self, aip_job_cache_key(&f->id, key), aip_buf_str(&view), ttl_s);
}
