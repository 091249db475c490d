/*
 * /v1/jobs: submit, read, wait, list, cancel, resume. Translates between HTTP and the job service and decides
 * nothing: what is accepted, and why not, is the service's business.
 */
#include <stdio.h>
#include <strings.h>

#include "controllers.h"
#include "job_schema.h"
#include "macros.h"
#include "mem.h"
#include "paging.h"

#define LIST_DEFAULT  20
#define LIST_MAX      100
#define STORE_WAIT_MS 5000 /* a store that does not answer in this time: 503 */

/* ── submit ──────────────────────────────────────────────────────────────────────────────────── */

struct submit_work {
        struct http_request *request;
        struct aip_job_submit submit;
        aip_value *body; /* holds the strings of the job */
        struct job_body job;
};

static void submit_free(void *work)
{
        struct submit_work *w = work;

        aip_value_unref(w->body);
        job_body_deinit(&w->job);
}

static void answer_job_status(struct http_request *request, unsigned status,
                              const struct aip_id *id, enum aip_job_status job_status)
{
        struct aip_buf body = AIP_BUF_INIT(256);
        char text[AIP_ID_TEXT_BYTES];

        if (aip_buf_printf(&body, "{\"job_id\":\"%s\",\"status\":\"%s\"}", aip_id_format(id, text),
                           aip_job_status_name(job_status)) < 0)
                http_answer_problem(request, 503, "OVERLOADED", "out of memory");
        else
                http_answer_json(request, status, &body);
}

static void submitted(struct aip_op *op)
{
        struct submit_work *w = AIP_CONTAINER_OF(op, struct submit_work, submit.op);
        struct http_request *request = w->request;
        char id[AIP_ID_TEXT_BYTES];

        if (op->err) {
                http_answer_unprocessable(request, AIP_TAKE(op->err));
                return;
        }
        snprintf(request->answer.location, sizeof(request->answer.location), "/v1/jobs/%s",
                 aip_id_format(&w->submit.ret_job_id, id));
        request->answer.is_replay = w->submit.ret_is_replay;
        answer_job_status(request, 201, &w->submit.ret_job_id, w->submit.ret_status);
}

void http_submit_job(struct http_request *request)
{
        const struct aip_http_server_options *o = http_options(request);
        struct submit_work *w;
        aip_error *err = NULL;

        /* Within the call and before the body is parsed: refusals take time from what is accepted. */
        if (aip_job_service_admit(o->jobs, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w = http_work_new(request, sizeof(*w), submit_free);
        if (!w || !(w->body = http_body_object(request)))
                return;
        w->request = request;
        if (job_body_read(w->body, &w->job, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->submit.spec = w->job.spec;
        w->submit.delay_ms = w->job.delay_ms;
        w->submit.strategy = w->job.strategy;
        w->submit.spec.trace_id = aip_str_of(request->trace_id);
        w->submit.idempotency_key = http_header(request, "Idempotency-Key");
        /* Absent is fine; empty is a client's mistake that would cost it the safety it asked for. */
        if (w->submit.idempotency_key.p && w->submit.idempotency_key.n == 0) {
                http_answer_problem(request, 422, "VALIDATION_ERROR", "Idempotency-Key is empty");
                return;
        }
        w->submit.op.done = submitted;
        w->submit.op.deadline_ms = aip_now_ms(o->loop) + STORE_WAIT_MS;
        aip_job_service_submit(o->jobs, &w->submit);
}

/* ── read and wait ───────────────────────────────────────────────────────────────────────────── */

struct view_work {
        struct http_request *request;
        struct aip_job_view view;
        int is_started;
        int is_hurried;
        int is_last_look; /* after a wait that was cut short */
};

static void view_free(void *work)
{
        struct view_work *w = work;

        if (w->is_started)
                aip_buf_deinit(&w->view.ret_view);
}

static void not_a_job(struct http_request *request)
{
        http_answer_problem(request, 404, "NOT_FOUND", "there is no job '%.*s'",
                            (int)AIP_MIN(request->segment.n, (size_t)64), request->segment.p);
}

static void start_view(struct view_work *w);

static void viewed(struct aip_op *op)
{
        struct view_work *w = AIP_CONTAINER_OF(op, struct view_work, view.op);
        aip_error *err = AIP_TAKE(op->err);

        if (aip_error_code(err) == AIP_ECANCELLED && !w->is_last_look) {
                /* The wait was cut short because we are leaving: tell how the job stands. */
                aip_error_free(err);
                aip_buf_deinit(&w->view.ret_view);
                w->is_last_look = 1;
                w->view.wait_ms = 0;
                start_view(w);
        } else if (err) {
                http_answer_error(w->request, err);
        } else if (!w->view.ret_is_found) {
                not_a_job(w->request);
        } else {
                http_answer_json(w->request, 200, &w->view.ret_view);
        }
}

static void start_view(struct view_work *w)
{
        const struct aip_http_server_options *o = http_options(w->request);

        w->is_started = 1;
        w->view.op = (struct aip_op){.done = viewed};
        aip_job_service_view(o->jobs, &w->view);
}

static void hurry_view(struct http_request *request)
{
        struct view_work *w = request->work;

        if (!w->is_hurried)
                aip_job_service_view_cancel(&w->view);
        w->is_hurried = 1;
}

/* ?wait=30: seconds, at most what the server allows. */
static int read_wait(struct http_request *request, int64_t *ret_wait_ms, aip_error **err)
{
        struct aip_str text = http_query(request, "wait");
        char *end = NULL;
        double seconds, max_s = http_options(request)->max_wait_ms / 1000.0;

        if (!text.p)
                return 0;
        seconds = text.n > 0 && text.n < 20 ? strtod(text.p, &end) : -1;
        if (!end || end != text.p + text.n || !(seconds >= 0 && seconds <= max_s))
                return aip_error_set(err, AIP_EINVAL, "wait: must be from 0 to %.0f seconds",
                                     max_s);
        *ret_wait_ms = (int64_t)(seconds * 1000);
        return 0;
}

void http_get_job(struct http_request *request)
{
        struct view_work *w = http_work_new(request, sizeof(*w), view_free);
        aip_error *err = NULL;

        if (!w)
                return;
        w->request = request;
        if (aip_id_parse(request->segment, &w->view.id, NULL) < 0) {
                not_a_job(request);
                return;
        }
        request->is_to_wait = http_query(request, "wait").p != NULL;
        if (read_wait(request, &w->view.wait_ms, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        request->hurry = hurry_view;
        start_view(w);
}

/* ── list ────────────────────────────────────────────────────────────────────────────────────── */

struct list_work {
        struct http_request *request;
        struct aip_job_list list;
};

static void list_free(void *work)
{
        struct list_work *w = work;

        for (size_t i = 0; i < w->list.ret_n; i++)
                aip_job_free(w->list.ret_jobs[i]);
        free(w->list.ret_jobs);
}

/* ?status=QUEUED,PROCESSING */
static int read_statuses(struct aip_str text, uint32_t *ret_mask, aip_error **err)
{
        const char *comma = text.p;

        while (comma) {
                enum aip_job_status status;
                size_t n;
                int r;

                comma = memchr(text.p, ',', text.n);
                n = comma ? (size_t)(comma - text.p) : text.n;
                r = aip_job_status_parse(aip_str_make(text.p, n), &status, err);
                if (r < 0)
                        return r;
                *ret_mask |= 1u << status;
                if (comma)
                        text = aip_str_make(comma + 1, text.n - n - 1);
        }
        return 0;
}

static int read_time(struct http_request *request, const char *name, int64_t *ret_us,
                     aip_error **err)
{
        struct aip_str text = http_query(request, name);
        aip_error *why = NULL;

        if (!text.p || aip_time_parse(text, ret_us, &why) == 0)
                return 0;
        return aip_error_wrap(err, why, AIP_EINVAL, "%s: must be an RFC 3339 time with an offset",
                              name);
}

/* ?config_name=…: what could not be a name finds nothing; it is refused, and spares the store. */
static int read_name(struct http_request *request, const char *what, struct aip_str *ret_name,
                     aip_error **err)
{
        *ret_name = http_query(request, what);
        return ret_name->n > 0 ? aip_name_check(what, *ret_name, err) : 0;
}

static int read_thread(struct http_request *request, struct aip_id *ret_id, aip_error **err)
{
        struct aip_str text = http_query(request, "thread_id");

        if (!text.p || (aip_id_parse(text, ret_id, NULL) == 0 && !aip_id_is_nil(ret_id)))
                return 0;
        return aip_error_set(err, AIP_EINVAL, "thread_id: must be a UUID, not nil");
}

static int read_list(struct list_work *w, aip_error **err)
{
        struct aip_job_list *list = &w->list;
        struct aip_str cursor = http_query(w->request, "cursor");
        int r;

        if ((r = read_name(w->request, "config_name", &list->config_name, err)) < 0 ||
            (r = read_name(w->request, "template_name", &list->template_name, err)) < 0 ||
            (r = read_thread(w->request, &list->thread_id, err)) < 0 ||
            (r = paging_limit(w->request, LIST_DEFAULT, LIST_MAX, &list->limit, err)) < 0 ||
            (r = read_statuses(http_query(w->request, "status"), &list->status_mask, err)) < 0 ||
            (r = read_time(w->request, "created_after", &list->created_from_us, err)) < 0 ||
            (r = read_time(w->request, "created_before", &list->created_until_us, err)) < 0)
                return r;
        return cursor.p ? paging_parse_id(cursor, &list->before, err) : 0;
}

static int print_list(const struct aip_job_list *list, struct aip_buf *out)
{
        int r = aip_buf_append_cstr(out, "{\"jobs\":[");

        for (size_t i = 0; r >= 0 && i < list->ret_n; i++) {
                if (i > 0 && (r = aip_buf_append_char(out, ',')) < 0)
                        break;
                r = aip_job_view_print(list->ret_jobs[i], out, NULL);
        }
        if (r < 0)
                return r;
        if (!list->ret_has_more || list->ret_n == 0)
                return aip_buf_append_cstr(out, "],\"next_cursor\":null}");
        if ((r = aip_buf_append_cstr(out, "],\"next_cursor\":\"")) < 0 ||
            (r = paging_print_id(&aip_job_fields(list->ret_jobs[list->ret_n - 1])->id, out)) < 0)
                return r;
        return aip_buf_append_cstr(out, "\"}");
}

static void listed(struct aip_op *op)
{
        struct list_work *w = AIP_CONTAINER_OF(op, struct list_work, list.op);
        struct aip_buf body = AIP_BUF_INIT((size_t)256 << 20);

        if (op->err) {
                http_answer_error(w->request, AIP_TAKE(op->err));
                return;
        }
        if (print_list(&w->list, &body) < 0) {
                aip_buf_deinit(&body);
                http_answer_problem(w->request, 503, "OVERLOADED",
                                    "the page is too large; ask for fewer jobs with limit");
                return;
        }
        http_answer_json(w->request, 200, &body);
}

void http_list_jobs(struct http_request *request)
{
        const struct aip_http_server_options *o = http_options(request);
        struct list_work *w = http_work_new(request, sizeof(*w), list_free);
        aip_error *err = NULL;

        if (!w)
                return;
        w->request = request;
        if (read_list(w, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->list.op.done = listed;
        w->list.op.deadline_ms = aip_now_ms(o->loop) + STORE_WAIT_MS;
        aip_job_service_list(o->jobs, &w->list);
}

/* ── cancel ──────────────────────────────────────────────────────────────────────────────────── */

struct cancel_work {
        struct http_request *request;
        struct aip_job_cancel cancel;
};

static void answer_cancelled(struct cancel_work *w)
{
        switch (w->cancel.ret_outcome) {
        case AIP_CANCEL_CANCELLED:
                answer_job_status(w->request, 200, &w->cancel.id, w->cancel.ret_status);
                break;
        case AIP_CANCEL_ALREADY_ENDED:
                if (w->cancel.ret_status == AIP_JOB_CANCELLED)
                        answer_job_status(w->request, 200, &w->cancel.id, w->cancel.ret_status);
                else
                        http_answer_problem(w->request, 409, "CONFLICT",
                                            "the job has ended already: %s",
                                            aip_job_status_name(w->cancel.ret_status));
                break;
        case AIP_CANCEL_NOT_FOUND:
                not_a_job(w->request);
                break;
        }
}

static void cancelled(struct aip_op *op)
{
        struct cancel_work *w = AIP_CONTAINER_OF(op, struct cancel_work, cancel.op);

        if (op->err)
                http_answer_error(w->request, AIP_TAKE(op->err));
        else
                answer_cancelled(w);
}

void http_cancel_job(struct http_request *request)
{
        const struct aip_http_server_options *o = http_options(request);
        struct cancel_work *w = http_work_new(request, sizeof(*w), NULL);

        if (!w)
                return;
        w->request = request;
        if (aip_id_parse(request->segment, &w->cancel.id, NULL) < 0) {
                not_a_job(request);
                return;
        }
        w->cancel.op.done = cancelled;
        w->cancel.op.deadline_ms = aip_now_ms(o->loop) + STORE_WAIT_MS;
        aip_job_service_cancel(o->jobs, &w->cancel);
}

/* ── resume ──────────────────────────────────────────────────────────────────────────────────── */

struct resume_work {
        struct http_request *request;
        struct aip_job_resume resume;
        aip_value *body; /* holds the answers */
};

static void resume_free(void *work)
{
        struct resume_work *w = work;

        aip_value_unref(w->body);
}

static void answer_resumed(struct resume_work *w)
{
        switch (w->resume.ret_outcome) {
        case AIP_RESUME_RESUMED:
                answer_job_status(w->request, 200, &w->resume.id, w->resume.ret_status);
                break;
        case AIP_RESUME_NOT_INTERRUPTED:
                http_answer_problem(w->request, 409, "CONFLICT",
                                    "the job waits for no answer: it is %s",
                                    aip_job_status_name(w->resume.ret_status));
                break;
        case AIP_RESUME_NOT_FOUND:
                not_a_job(w->request);
                break;
        }
}

static void resumed(struct aip_op *op)
{
        struct resume_work *w = AIP_CONTAINER_OF(op, struct resume_work, resume.op);

        if (op->err)
                http_answer_error(w->request, AIP_TAKE(op->err));
        else
                answer_resumed(w);
}

void http_resume_job(struct http_request *request)
{
        const struct aip_http_server_options *o = http_options(request);
        struct resume_work *w = http_work_new(request, sizeof(*w), resume_free);
        aip_error *err = NULL;

        if (!w)
                return;
        w->request = request;
        if (aip_id_parse(request->segment, &w->resume.id, NULL) < 0) {
                not_a_job(request);
                return;
        }
        if (!(w->body = http_body_object(request)))
                return;
        if (resume_body_read(w->body, &w->resume.value, &w->resume.answers, &err) < 0) {
                http_answer_error(request, err);
                return;
        }
        w->resume.op.done = resumed;
        w->resume.op.deadline_ms = aip_now_ms(o->loop) + STORE_WAIT_MS;
        aip_job_service_resume(o->jobs, &w->resume);
}
