/* What happens in the run of one job, as events (see job_progress.h). Called by job_run.c. */
#include "job_progress.h"

#include "job_status_event.h"
#include "macros.h"
#include "mem.h"

/* Of text held back within a turn: six times as many are written at worst (\u0000). */
#define HELD_MAX_BYTES ((size_t)8192)
#define ERROR_BYTES    ((size_t)2048)

struct aip_job_progress {
        struct aip_loop loop;
        struct aip_event_stream events;
        struct aip_id job_id;
        struct aip_stream_id last;
        int32_t attempt;
        /* Held until the end of the turn: pieces of one kind, of one node. */
        struct aip_task flush_task;
        struct aip_buf held;
        enum aip_llm_delta_kind held_kind;
        int32_t held_index;
        const char *held_node;
};

/* A lost one leaves a hole in the numbers, by which readers know. */
static void append(struct aip_job_progress *p, enum aip_stream_type type, struct aip_str data)
{
        struct aip_stream_event event = {.type = type, .data = data};

        p->last.n++;
        event.id = p->last;
        (void)p->events.ops->append(p->events.self, &p->job_id, &event);
}

static void append_buf(struct aip_job_progress *p, enum aip_stream_type type, int r,
                       const struct aip_buf *data)
{
        if (r < 0)
                p->last.n++; /* no memory: lost */
        else
                append(p, type, aip_buf_str(data));
}

/* ── pieces of an answer ─────────────────────────────────────────────────────────────────────── */

static int put_text(struct aip_buf *out, const char *name, struct aip_str text)
{
        _cleanup_(aip_value_unref_p) aip_value *value = aip_value_string(text);
        int r;

        if (!value)
                return AIP_ENOMEM;
        if ((r = aip_buf_printf(out, ",\"%s\":", name)) < 0)
                return r;
        return aip_value_print(value, out, NULL);
}

static int begin(struct aip_job_progress *p, const char *node, struct aip_buf *out)
{
        int r = aip_buf_printf(out, "{\"attempt\":%d", p->attempt);

        return r < 0 || !node ? r : put_text(out, "node", aip_str_of(node));
}

static int put_held(struct aip_job_progress *p, struct aip_buf *out)
{
        int r = begin(p, p->held_node, out);

        if (r >= 0 && p->held_kind == AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS)
                r = aip_buf_printf(out, ",\"index\":%d", p->held_index);
        if (r < 0 || (r = put_text(out,
                                   p->held_kind == AIP_LLM_DELTA_TEXT        ? "text"
                                   : p->held_kind == AIP_LLM_DELTA_REASONING ? "reasoning"
                                                                             : "arguments",
                                   aip_buf_str(&p->held))) < 0)
                return r;
        return aip_buf_append_char(out, '}');
}

static void flush(struct aip_job_progress *p)
{
        _cleanup_(aip_buf_deinit) struct aip_buf data = AIP_BUF_INIT(AIP_STREAM_EVENT_MAX_BYTES);

        aip_undefer(p->loop, &p->flush_task);
        if (p->held.n == 0)
                return;
        append_buf(p,
                   p->held_kind == AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS ? AIP_STREAM_TOOL_CALL
                                                                     : AIP_STREAM_TOKEN,
                   put_held(p, &data), &data);
        aip_buf_clear(&p->held);
}

static void flush_later(struct aip_task *task)
{
        flush(AIP_CONTAINER_OF(task, struct aip_job_progress, flush_task));
}

static int goes_with_held(const struct aip_job_progress *p, const char *node,
                          const struct aip_llm_delta *delta)
{
        return p->held_kind == delta->kind && p->held_node == node && p->held_index == delta->index;
}

/* As much of the text as may be held, but no part of a character. */
static size_t room_for(const struct aip_job_progress *p, struct aip_str text)
{
        size_t n = AIP_MIN(text.n, HELD_MAX_BYTES - p->held.n);

        while (n > 0 && n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
                n--;
        return n;
}

static void hold(struct aip_job_progress *p, const char *node, const struct aip_llm_delta *delta)
{
        struct aip_str text = delta->text;

        if (!goes_with_held(p, node, delta))
                flush(p);
        p->held_kind = delta->kind;
        p->held_index = delta->index;
        p->held_node = node;
        while (text.n > 0) {
                size_t n = room_for(p, text);

                if (aip_buf_append(&p->held, aip_str_make(text.p, n)) < 0) {
                        p->last.n++; /* no memory: lost */
                        return;
                }
                text = aip_str_make(text.p + n, text.n - n);
                if (text.n > 0)
                        flush(p);
        }
        aip_defer(p->loop, &p->flush_task);
}

static void tool_call_begins(struct aip_job_progress *p, const char *node,
                             const struct aip_llm_delta *delta)
{
        _cleanup_(aip_buf_deinit) struct aip_buf data = AIP_BUF_INIT(AIP_STREAM_EVENT_MAX_BYTES);
        int r = begin(p, node, &data);

        if (r >= 0 && (r = aip_buf_printf(&data, ",\"index\":%d", delta->index)) >= 0 &&
            (r = put_text(&data, "id", delta->tool_call_id)) >= 0 &&
            (r = put_text(&data, "name", delta->tool_name)) >= 0)
                r = aip_buf_append_char(&data, '}');
        append_buf(p, AIP_STREAM_TOOL_CALL, r, &data);
}

static void answer_restarts(struct aip_job_progress *p, const char *node)
{
        _cleanup_(aip_buf_deinit) struct aip_buf data = AIP_BUF_INIT(AIP_STREAM_EVENT_MAX_BYTES);
        int r = begin(p, node, &data);

        if (r >= 0)
                r = aip_buf_append_cstr(&data, ",\"restart\":true}");
        append_buf(p, AIP_STREAM_TOKEN, r, &data);
}

void aip_job_progress_delta(struct aip_job_progress *p, const char *node,
                            const struct aip_llm_delta *delta)
{
        switch (delta->kind) {
        case AIP_LLM_DELTA_TEXT:
        case AIP_LLM_DELTA_REASONING:
        case AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS:
                hold(p, node, delta);
                break;
        case AIP_LLM_DELTA_TOOL_CALL_BEGIN:
                flush(p);
                tool_call_begins(p, node, delta);
                break;
        case AIP_LLM_DELTA_RESTART:
                flush(p);
                answer_restarts(p, node);
                break;
        }
}

/* ── other events ────────────────────────────────────────────────────────────────────────────── */

/* {"attempt": 1, …the members of an object} */
static int put_members(struct aip_job_progress *p, const aip_value *members, struct aip_buf *out)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_STREAM_EVENT_MAX_BYTES);
        int r = begin(p, NULL, out);

        if (r >= 0 && members && aip_value_size(members) > 0) {
                if ((r = aip_value_print(members, &text, NULL)) < 0 ||
                    (r = aip_buf_append_char(out, ',')) < 0)
                        return r;
                return aip_buf_append(out, aip_str_make(text.p + 1, text.n - 1));
        }
        return r < 0 ? r : aip_buf_append_char(out, '}');
}

void aip_job_progress_event(struct aip_job_progress *p, enum aip_stream_type type,
                            const aip_value *members)
{
        _cleanup_(aip_buf_deinit) struct aip_buf data = AIP_BUF_INIT(AIP_STREAM_EVENT_MAX_BYTES);
        int r = put_members(p, members, &data);

        flush(p);
        if (r == AIP_ELIMIT) {
                aip_buf_clear(&data);
                r = begin(p, NULL, &data);
                if (r >= 0)
                        r = aip_buf_append_cstr(&data, ",\"too_large\":true}");
        }
        append_buf(p, type, r, &data);
}

void aip_job_progress_error(struct aip_job_progress *p, const aip_error *error)
{
        _cleanup_(aip_buf_deinit) struct aip_buf data = AIP_BUF_INIT(AIP_STREAM_EVENT_MAX_BYTES);
        struct aip_str message = aip_str_of(aip_error_message(error));
        const char *kind = aip_error_kind(error);
        int r = begin(p, NULL, &data);

        flush(p);
        if (message.n > ERROR_BYTES) {
                message.n = ERROR_BYTES;
                while (message.n > 0 && ((unsigned char)message.p[message.n] & 0xc0) == 0x80)
                        message.n--;
        }
        if (r >= 0 && kind)
                r = put_text(&data, "error_code", aip_str_of(kind));
        if (r >= 0 && (r = put_text(&data, "error", message)) >= 0)
                r = aip_buf_append_char(&data, '}');
        append_buf(p, AIP_STREAM_ERROR, r, &data);
}

/* ── the run of a graph ──────────────────────────────────────────────────────────────────────── */

/* Sets one member more; `value` is consumed always. Out of memory, the members are given up. */
static void set_member(aip_value **members, const char *name, aip_value *value)
{
        if (*members && aip_value_object_set_cstr(members, name, value) == 0)
                return;
        if (!*members)
                aip_value_unref(value);
        aip_value_unref(AIP_TAKE(*members));
}

/* `members` is consumed always. */
static void tell(struct aip_job_progress *p, enum aip_stream_type type, aip_value *members)
{
        if (members)
                aip_job_progress_event(p, type, members);
        else
                p->last.n++; /* no memory: lost */
        aip_value_unref(members);
}

static void step_started(void *self, int32_t step, const char *const *nodes, size_t n)
{
        aip_value *members = aip_value_object(), *list = aip_value_list();

        for (size_t i = 0; list && i < n; i++)
                if (aip_value_list_append(&list, aip_value_string(aip_str_of(nodes[i]))) < 0)
                        aip_value_unref(AIP_TAKE(list));
        set_member(&members, "step", aip_value_int(step));
        set_member(&members, "nodes", list);
        tell(self, AIP_STREAM_STEP_STARTED, members);
}

static void task_ended(void *self, const char *node, const char *task_id, const aip_value *updates,
                       const aip_error *err)
{
        aip_value *members = aip_value_object();

        if (!updates && !err) {
                aip_value_unref(members);
                return; /* it asks a question: the job's status will tell */
        }
        set_member(&members, "node", aip_value_string(aip_str_of(node)));
        set_member(&members, "task_id", aip_value_string(aip_str_of(task_id)));
        if (updates)
                set_member(&members, "updates", aip_value_ref(updates));
        else
                set_member(&members, "error", aip_value_string(aip_str_of(aip_error_message(err))));
        tell(self, AIP_STREAM_UPDATE, members);
}

static void step_ended(void *self, int32_t step, const aip_value *changes)
{
        aip_value *members = aip_value_object();

        (void)changes; /* told by the updates */
        set_member(&members, "step", aip_value_int(step));
        tell(self, AIP_STREAM_STEP_ENDED, members);
}

static void custom(void *self, const char *node, const char *task_id, const aip_value *value)
{
        aip_value *members = aip_value_object();

        set_member(&members, "node", aip_value_string(aip_str_of(node)));
        set_member(&members, "task_id", aip_value_string(aip_str_of(task_id)));
        set_member(&members, "value", aip_value_ref(value));
        tell(self, AIP_STREAM_CUSTOM, members);
}

struct aip_graph_observer aip_job_progress_observer(struct aip_job_progress *progress)
{
        static const struct aip_graph_observer_ops ops = {
                .self_size = sizeof(ops),
                .step_started = step_started,
                .task_ended = task_ended,
                .step_ended = step_ended,
                .custom = custom,
        };

        return (struct aip_graph_observer){&ops, progress};
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

struct aip_job_progress *aip_job_progress_new(struct aip_loop loop, struct aip_event_stream events,
                                              const aip_job *job)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        struct aip_job_progress *p;

        if (!events.ops || !f->is_streamed)
                return NULL;
        p = aip_calloc(1, sizeof(*p));
        if (!p)
                return NULL;
        p->loop = loop;
        p->events = events;
        p->job_id = f->id;
        p->last.run = f->version;
        p->attempt = f->attempt;
        p->flush_task.run = flush_later;
        aip_buf_init(&p->held, HELD_MAX_BYTES);
        aip_job_status_event_append(events, job);
        return p;
}

void aip_job_progress_free(struct aip_job_progress *p)
{
        if (!p)
                return;
        flush(p);
        aip_buf_deinit(&p->held);
        aip_free(p);
}
