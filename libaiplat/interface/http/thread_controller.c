/*
 * GET /v1/threads/{thread_id}/history: the checkpoints of a thread, newest first. Called by the router;
 * reads the checkpoint store and nothing else. Must never show what a state holds: that may be large.
 */
#include "controllers.h"

#include "macros.h"
#include "paging.h"
#include "server.h"
#include <stdio.h>
#include <stdlib.h>

#define HISTORY_DEFAULT   20
#define HISTORY_MAX       100
#define STORE_WAIT_MS     5000
#define ROW_BYTES         512
#define CURSOR_MAX_DIGITS 18

struct history_work {
        struct http_request *request;
        struct aip_checkpoint_list list;
};

static void history_free(void *work)
{
        struct history_work *w = work;

        free(w->list.ret_checkpoints);
}

static int parse_cursor(struct aip_str cursor, int64_t *ret_before, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf digits = AIP_BUF_INIT(64);
        int64_t before = 0;
        int r = paging_parse_name(cursor, &digits, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < digits.n; i++) {
                if (digits.p[i] < '0' || digits.p[i] > '9' || i >= CURSOR_MAX_DIGITS)
                        return aip_error_set(err, AIP_EINVAL, "cursor: is none of ours");
                before = before * 10 + (digits.p[i] - '0');
        }
        if (before < 1)
                return aip_error_set(err, AIP_EINVAL, "cursor: is none of ours");
        *ret_before = before;
        return 0;
}

static int print_checkpoint(const struct aip_checkpoint *c, struct aip_buf *out)
{
        char job[AIP_ID_TEXT_BYTES];
        int r = aip_buf_printf(out, "{\"checkpoint\":%lld,\"parent\":", (long long)c->n);

        if (r >= 0)
                r = c->parent ? aip_buf_printf(out, "%lld", (long long)c->parent)
                              : aip_buf_append_cstr(out, "null");
        if (r >= 0)
                r = aip_buf_printf(out, ",\"job_id\":\"%s\",\"step\":%d,\"source\":\"%s\",",
                                   aip_id_format(&c->job_id, job), c->step,
                                   aip_checkpoint_source_name(c->source));
        if (r >= 0)
                r = aip_buf_append_cstr(out, "\"created_at\":\"");
        if (r >= 0)
                r = aip_time_print(c->created_at_us, out, NULL);
        return r < 0 ? r : aip_buf_append_cstr(out, "\"}");
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

static void listed(struct aip_op *op)
{
        struct history_work *w = AIP_CONTAINER_OF(op, struct history_work, list.op);
        struct aip_buf body = AIP_BUF_INIT((HISTORY_MAX + 1) * ROW_BYTES);

        if (op->err) {
                http_answer_error(w->request, AIP_TAKE(op->err));
                return;
        }
        if (print_history(&w->list, &body) < 0) {
                aip_buf_deinit(&body);
                http_answer_problem(w->request, 503, "OVERLOADED", "out of memory");
                return;
        }
        http_answer_json(w->request, 200, &body);
}

static int read_history(struct history_work *w, aip_error **err)
{
        struct aip_checkpoint_list *list = &w->list;
        struct aip_str cursor = http_query(w->request, "cursor");
        int r = paging_limit(w->request, HISTORY_DEFAULT, HISTORY_MAX, &list->limit, err);

        return r < 0 || !cursor.p ? r : parse_cursor(cursor, &list->before, err);
}

void http_thread_history(struct http_request *request)
{
        const struct aip_http_server_options *o = http_options(request);
        struct history_work *w = http_work_new(request, sizeof(*w), history_free);
        aip_error *err = NULL;

        if (!w)
                return;
        w->request = request;
        if (!o->checkpoints.ops || aip_id_parse(request->segment, &w->list.owner, NULL) < 0) {
                http_answer_problem(request, 404, "NOT_FOUND", "there is no such thread");
                return;
        }
        if (read_history(w, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->list.op.done = listed;
        w->list.op.deadline_ms = aip_now_ms(o->loop) + STORE_WAIT_MS;
        o->checkpoints.ops->list(o->checkpoints.self, &w->list);
}
