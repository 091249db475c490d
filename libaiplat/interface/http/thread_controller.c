/*
 * /v1/threads: which there are, how one stands, its state at any checkpoint, its history, and writing to its state.
 * Called by the router; the thread service does the work.
 */
#include "controllers.h"

#include "fields.h"
#include "macros.h"
#include "paging.h"
#include "server.h"
#include <stdio.h>
#include <stdlib.h>

#define PAGE_DEFAULT    20
#define PAGE_MAX        100
#define STORE_WAIT_MS   5000
#define ROW_BYTES       512
#define STATE_MAX_BYTES ((size_t)256 << 20)
#define CHECKPOINT_MAX  (INT64_C(1) << 53)

/* ── what all of them need ───────────────────────────────────────────────────────────────────── */

static void no_such_thread(struct http_request *request)
{
        http_answer_problem(request, 404, "NOT_FOUND", "there is no thread '%.*s'",
                            (int)AIP_MIN(request->segment.n, (size_t)64), request->segment.p);
}

/* 0 when it was answered: it is no thread's, or there are none here. */
static int read_thread(struct http_request *request, struct aip_id *ret_id)
{
        if (http_options(request)->threads && aip_id_parse(request->segment, ret_id, NULL) == 0 &&
            !aip_id_is_nil(ret_id))
                return 1;
        no_such_thread(request);
        return 0;
}

static int64_t deadline_of(const struct http_request *request)
{
        return aip_now_ms(http_options(request)->loop) + STORE_WAIT_MS;
}

/* A number from 1 on, of decimal digits. */
static int parse_number(struct aip_str digits, int64_t *ret_number)
{
        int64_t number = 0;

        for (size_t i = 0; i < digits.n; i++) {
                if (digits.p[i] < '0' || digits.p[i] > '9' || number > CHECKPOINT_MAX / 10)
                        return AIP_EINVAL;
                number = number * 10 + (digits.p[i] - '0');
        }
        if (number < 1 || number > CHECKPOINT_MAX)
                return AIP_EINVAL;
        *ret_number = number;
        return 0;
}

/* Answers with a page, or says that there is no memory for it. `body` is consumed always. */
static void answer_printed(struct http_request *request, struct aip_buf *body, int r)
{
        if (r >= 0) {
                http_answer_json(request, 200, body);
                return;
        }
        aip_buf_deinit(body);
        http_answer_problem(request, 503, "OVERLOADED", "out of memory");
}

static int put_id(struct aip_buf *out, const char *name, const struct aip_id *id)
{
        char text[AIP_ID_TEXT_BYTES];

        if (aip_id_is_nil(id))
                return aip_buf_printf(out, "\"%s\":null", name);
        return aip_buf_printf(out, "\"%s\":\"%s\"", name, aip_id_format(id, text));
}

static int put_time(struct aip_buf *out, const char *name, int64_t time_us)
{
        int r = aip_buf_printf(out, ",\"%s\":\"", name);

        if (r >= 0)
                r = aip_time_print(time_us, out, NULL);
        return r < 0 ? r : aip_buf_append_char(out, '"');
}

/* ── threads ─────────────────────────────────────────────────────────────────────────────────── */

struct list_work {
        struct http_request *request;
        struct aip_thread_list list;
};

static void list_free(void *work)
{
        struct list_work *w = work;

        free(w->list.ret_threads);
}

/* As its active job has it, or the last one. */
static const char *status_of(const struct aip_thread *thread)
{
        if (aip_id_is_nil(&thread->job_id))
                return "idle";
        switch (thread->job_status) {
        case AIP_JOB_QUEUED:
        case AIP_JOB_PROCESSING:
                return "busy";
        case AIP_JOB_INTERRUPTED:
                return "interrupted";
        case AIP_JOB_FAILED:
                return "error";
        case AIP_JOB_COMPLETED:
        case AIP_JOB_CANCELLED:
                break;
        }
        return "idle";
}

static int print_thread(const struct aip_thread *t, struct aip_buf *out)
{
        int r = aip_buf_append_char(out, '{');

        if (r >= 0)
                r = put_id(out, "thread_id", &t->id);
        if (r >= 0)
                r = aip_buf_printf(out, ",\"status\":\"%s\",", status_of(t));
        if (r >= 0)
                r = put_id(out, "job_id", &t->job_id);
        if (r >= 0)
                r = aip_buf_printf(
                        out, ",\"jobs_waiting\":%lld,\"checkpoint\":", (long long)t->n_waiting);
        if (r >= 0)
                r = t->checkpoint ? aip_buf_append_int(out, t->checkpoint)
                                  : aip_buf_append_cstr(out, "null");
        if (r >= 0)
                r = put_time(out, "created_at", t->created_at_us);
        if (r >= 0)
                r = put_time(out, "updated_at", t->updated_at_us);
        return r < 0 ? r : aip_buf_append_char(out, '}');
}

/* A cursor is when the page's last thread was made, and its id. */
static int print_thread_cursor(const struct aip_thread_list *list, struct aip_buf *out)
{
        const struct aip_thread *last = &list->ret_threads[list->ret_n - 1];
        char id[AIP_ID_TEXT_BYTES], text[AIP_ID_TEXT_BYTES + 24];
        int r, n;

        if (!list->ret_has_more || list->ret_n == 0)
                return aip_buf_append_cstr(out, "],\"next_cursor\":null}");
        n = snprintf(text, sizeof(text), "%s%lld", aip_id_format(&last->id, id),
                     (long long)last->created_at_us);
        if ((r = aip_buf_append_cstr(out, "],\"next_cursor\":\"")) < 0 ||
            (r = paging_print_name(aip_str_make(text, (size_t)n), out)) < 0)
                return r;
        return aip_buf_append_cstr(out, "\"}");
}

static int parse_thread_cursor(struct aip_str cursor, struct aip_thread_list *list, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(128);
        const size_t id_bytes = AIP_ID_TEXT_BYTES - 1;
        int r = paging_parse_name(cursor, &text, err);

        if (r < 0)
                return r;
        if (text.n > id_bytes &&
            aip_id_parse(aip_str_make(text.p, id_bytes), &list->before_id, NULL) == 0 &&
            parse_number(aip_str_make(text.p + id_bytes, text.n - id_bytes),
                         &list->before_created_us) == 0)
                return 0;
        return aip_error_set(err, AIP_EINVAL, "cursor: is none of ours");
}

static int print_threads(const struct aip_thread_list *list, struct aip_buf *out)
{
        int r = aip_buf_append_cstr(out, "{\"threads\":[");

        for (size_t i = 0; r >= 0 && i < list->ret_n; i++) {
                if (i > 0 && (r = aip_buf_append_char(out, ',')) < 0)
                        break;
                r = print_thread(&list->ret_threads[i], out);
        }
        return r < 0 ? r : print_thread_cursor(list, out);
}

static void threads_listed(struct aip_op *op)
{
        struct list_work *w = AIP_CONTAINER_OF(op, struct list_work, list.op);
        struct aip_buf body = AIP_BUF_INIT((PAGE_MAX + 1) * ROW_BYTES);

        if (op->err)
                http_answer_error(w->request, AIP_TAKE(op->err));
        else
                answer_printed(w->request, &body, print_threads(&w->list, &body));
}

static void thread_found(struct aip_op *op)
{
        struct list_work *w = AIP_CONTAINER_OF(op, struct list_work, list.op);
        struct aip_buf body = AIP_BUF_INIT(ROW_BYTES);

        if (op->err)
                http_answer_error(w->request, AIP_TAKE(op->err));
        else if (w->list.ret_n == 0)
                no_such_thread(w->request);
        else
                answer_printed(w->request, &body, print_thread(&w->list.ret_threads[0], &body));
}

static int read_list(struct list_work *w, aip_error **err)
{
        struct aip_str cursor = http_query(w->request, "cursor");
        int r = paging_limit(w->request, PAGE_DEFAULT, PAGE_MAX, &w->list.limit, err);

        return r < 0 || !cursor.p ? r : parse_thread_cursor(cursor, &w->list, err);
}

void http_list_threads(struct http_request *request)
{
        struct list_work *w = http_work_new(request, sizeof(*w), list_free);
        aip_error *err = NULL;

        if (!w)
                return;
        w->request = request;
        if (!http_options(request)->threads) {
                http_answer_problem(request, 503, "UNAVAILABLE", "no threads are kept here");
                return;
        }
        if (read_list(w, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->list.op = (struct aip_op){.done = threads_listed, .deadline_ms = deadline_of(request)};
        aip_thread_service_list(http_options(request)->threads, &w->list);
}

void http_get_thread(struct http_request *request)
{
        struct list_work *w = http_work_new(request, sizeof(*w), list_free);

        if (!w || !read_thread(request, &w->list.id))
                return;
        w->request = request;
        w->list.limit = 1;
        w->list.op = (struct aip_op){.done = thread_found, .deadline_ms = deadline_of(request)};
        aip_thread_service_list(http_options(request)->threads, &w->list);
}

/* ── history ─────────────────────────────────────────────────────────────────────────────────── */

struct history_work {
        struct http_request *request;
        struct aip_thread_history history;
};

static void history_free(void *work)
{
        struct history_work *w = work;

        free(w->history.list.ret_checkpoints);
}

static int parse_cursor(struct aip_str cursor, int64_t *ret_before, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf digits = AIP_BUF_INIT(64);
        int r = paging_parse_name(cursor, &digits, err);

        if (r < 0 || parse_number(aip_buf_str(&digits), ret_before) == 0)
                return r;
        return aip_error_set(err, AIP_EINVAL, "cursor: is none of ours");
}

/* What is known of a checkpoint, as members of an object. */
static int print_facts(const struct aip_checkpoint *c, struct aip_buf *out)
{
        int r = aip_buf_printf(out, "\"checkpoint\":%lld,\"parent\":", (long long)c->n);

        if (r >= 0)
                r = c->parent ? aip_buf_append_int(out, c->parent)
                              : aip_buf_append_cstr(out, "null");
        if (r >= 0)
                r = aip_buf_append_char(out, ',');
        if (r >= 0)
                r = put_id(out, "job_id", &c->job_id);
        if (r >= 0)
                r = aip_buf_printf(out, ",\"step\":%d,\"source\":\"%s\"", c->step,
                                   aip_checkpoint_source_name(c->source));
        return r < 0 ? r : put_time(out, "created_at", c->created_at_us);
}

static int print_checkpoint(const struct aip_checkpoint *c, struct aip_buf *out)
{
        int r = aip_buf_append_char(out, '{');

        if (r >= 0)
                r = print_facts(c, out);
        return r < 0 ? r : aip_buf_append_char(out, '}');
}

static int print_cursor(const struct aip_checkpoint_list *list, struct aip_buf *out)
{
        char digits[24];
        int n, r;

        if (!list->ret_has_more || list->ret_n == 0)
                return aip_buf_append_cstr(out, "],\"next_cursor\":null}");
        n = snprintf(digits, sizeof(digits), "%lld",
                     (long long)list->ret_checkpoints[list->ret_n - 1].n);
        if ((r = aip_buf_append_cstr(out, "],\"next_cursor\":\"")) < 0 ||
            (r = paging_print_name(aip_str_make(digits, (size_t)n), out)) < 0)
                return r;
        return aip_buf_append_cstr(out, "\"}");
}

static int print_history(const struct aip_checkpoint_list *list, struct aip_buf *out)
{
        int r = aip_buf_append_cstr(out, "{\"checkpoints\":[");

        for (size_t i = 0; r >= 0 && i < list->ret_n; i++) {
                if (i > 0 && (r = aip_buf_append_char(out, ',')) < 0)
                        break;
                r = print_checkpoint(&list->ret_checkpoints[i], out);
        }
        return r < 0 ? r : print_cursor(list, out);
}

static void history_read(struct aip_op *op)
{
        struct history_work *w = AIP_CONTAINER_OF(op, struct history_work, history.op);
        struct aip_buf body = AIP_BUF_INIT((PAGE_MAX + 1) * ROW_BYTES);

        if (op->err)
                http_answer_error(w->request, AIP_TAKE(op->err));
        else if (!w->history.ret_is_found)
                no_such_thread(w->request);
        else
                answer_printed(w->request, &body, print_history(&w->history.list, &body));
}

static int read_history(struct history_work *w, aip_error **err)
{
        struct aip_checkpoint_list *list = &w->history.list;
        struct aip_str cursor = http_query(w->request, "cursor");
        int r = paging_limit(w->request, PAGE_DEFAULT, PAGE_MAX, &list->limit, err);

        return r < 0 || !cursor.p ? r : parse_cursor(cursor, &list->before, err);
}

void http_thread_history(struct http_request *request)
{
        struct history_work *w = http_work_new(request, sizeof(*w), history_free);
        aip_error *err = NULL;

        if (!w || !read_thread(request, &w->history.list.owner))
                return;
        w->request = request;
        if (read_history(w, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->history.op = (struct aip_op){.done = history_read, .deadline_ms = deadline_of(request)};
        aip_thread_service_history(http_options(request)->threads, &w->history);
}

/* ── state ───────────────────────────────────────────────────────────────────────────────────── */

struct state_work {
        struct http_request *request;
        struct aip_thread_state state;
};

static void state_free(void *work)
{
        struct state_work *w = work;

        aip_value_unref(w->state.ret_image);
}

static int print_name(struct aip_str name, int *is_first, struct aip_buf *out)
{
        int r = *is_first ? 0 : aip_buf_append_char(out, ',');

        *is_first = 0;
        return r < 0 ? r : aip_json_append_string(out, name);
}

/* The "node" of each of a list; of tasks only those that have not finished. */
static int print_nodes(const aip_value *list, int *is_first, struct aip_buf *out)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < aip_value_size(list); i++) {
                const aip_value *each = aip_value_at(list, i);
                if (!aip_value_get_cstr(each, "writes"))
                        r = print_name(aip_value_as_string(aip_value_get_cstr(each, "node")),
                                       is_first, out);
        }
        return r;
}

/* Which nodes run next: named ones, those that were sent an input, those of a step that has begun. */
static int print_next(const aip_value *image, struct aip_buf *out)
{
        const aip_value *next = aip_value_get_cstr(image, "next");
        int is_first = 1, r = aip_buf_append_char(out, '[');

        for (size_t i = 0; r >= 0 && i < aip_value_size(next); i++)
                r = print_name(aip_value_as_string(aip_value_at(next, i)), &is_first, out);
        if (r >= 0)
                r = print_nodes(aip_value_get_cstr(image, "sends"), &is_first, out);
        if (r >= 0)
                r = print_nodes(aip_value_get_cstr(image, "tasks"), &is_first, out);
        return r < 0 ? r : aip_buf_append_char(out, ']');
}

static int print_state(const struct aip_thread_state *state, struct aip_buf *out)
{
        int r = aip_buf_append_char(out, '{');

        if (r >= 0)
                r = put_id(out, "thread_id", &state->id);
        if (r >= 0)
                r = aip_buf_append_char(out, ',');
        if (r >= 0)
                r = print_facts(&state->ret_checkpoint, out);
        if (r >= 0)
                r = aip_buf_append_cstr(out, ",\"values\":");
        if (r >= 0)
                r = aip_value_print(aip_value_get_cstr(state->ret_image, "channels"), out, NULL);
        if (r >= 0)
                r = aip_buf_append_cstr(out, ",\"next\":");
        if (r >= 0)
                r = print_next(state->ret_image, out);
        return r < 0 ? r : aip_buf_append_char(out, '}');
}

static void state_read(struct aip_op *op)
{
        struct state_work *w = AIP_CONTAINER_OF(op, struct state_work, state.op);
        struct aip_buf body = AIP_BUF_INIT(STATE_MAX_BYTES);

        if (op->err)
                http_answer_error(w->request, AIP_TAKE(op->err));
        else if (!w->state.ret_is_found)
                http_answer_problem(w->request, 404, "NOT_FOUND",
                                    "the thread has no such checkpoint");
        else
                answer_printed(w->request, &body, print_state(&w->state, &body));
}

/* ?checkpoint=3 */
static int read_checkpoint(struct http_request *request, int64_t *ret_n, aip_error **err)
{
        struct aip_str text = http_query(request, "checkpoint");

        if (!text.p || parse_number(text, ret_n) == 0)
                return 0;
        return aip_error_set(err, AIP_EINVAL, "checkpoint: must be a number from 1 on");
}

void http_get_thread_state(struct http_request *request)
{
        struct state_work *w = http_work_new(request, sizeof(*w), state_free);
        aip_error *err = NULL;

        if (!w || !read_thread(request, &w->state.id))
                return;
        w->request = request;
        if (read_checkpoint(request, &w->state.checkpoint, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->state.op = (struct aip_op){.done = state_read, .deadline_ms = deadline_of(request)};
        aip_thread_service_state(http_options(request)->threads, &w->state);
}

/* ── writing to a state ──────────────────────────────────────────────────────────────────────── */

struct write_work {
        struct http_request *request;
        struct aip_thread_write write;
        aip_value *body;
};

static void write_free(void *work)
{
        struct write_work *w = work;

        aip_value_unref(w->body);
}

static void written(struct aip_op *op)
{
        struct write_work *w = AIP_CONTAINER_OF(op, struct write_work, write.op);
        struct aip_buf body = AIP_BUF_INIT(ROW_BYTES);
        int r;

        if (op->err) {
                http_answer_unprocessable(w->request, AIP_TAKE(op->err));
                return;
        }
        r = aip_buf_append_char(&body, '{');
        if (r >= 0)
                r = put_id(&body, "thread_id", &w->write.id);
        if (r >= 0)
                r = aip_buf_printf(&body, ",\"checkpoint\":%lld}",
                                   (long long)w->write.ret_checkpoint);
        answer_printed(w->request, &body, r);
}

static int read_write(struct write_work *w, aip_error **err)
{
        struct fields f = {.object = w->body};
        struct aip_str as_node = {0};

        w->write.values = aip_value_get_cstr(w->body, "values");
        fields_ignore(&f, "values");
        fields_string(&f, "as_node", &as_node);
        fields_string(&f, "graph_name", &w->write.graph_name);
        fields_int(&f, "checkpoint", 1, CHECKPOINT_MAX, &w->write.checkpoint);
        w->write.as_node = as_node;
        if (f.code == 0 && as_node.p && as_node.n == 0)
                f.code = aip_error_set(&f.err, AIP_EINVAL, "as_node: is empty");
        if (f.code == 0 && !as_node.p && !w->write.values)
                f.code = aip_error_set(&f.err, AIP_EINVAL, "values: are required, or as_node");
        if (aip_value_type(w->write.values) == AIP_VALUE_NULL)
                w->write.values = NULL;
        return fields_end(&f, err);
}

void http_put_thread_state(struct http_request *request)
{
        struct write_work *w = http_work_new(request, sizeof(*w), write_free);
        aip_error *err = NULL;

        if (!w || !read_thread(request, &w->write.id))
                return;
        w->request = request;
        if (!(w->body = http_body_object(request)))
                return;
        if (read_write(w, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->write.op = (struct aip_op){.done = written, .deadline_ms = deadline_of(request)};
        aip_thread_service_write(http_options(request)->threads, &w->write);
}
