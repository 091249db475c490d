/*
 * GET /v1/jobs/{id}/events: a feed of a job as Server-Sent Events. It translates, and keeps no events:
 * the next ones are asked for when the last have gone to the client. Ids are the feed's, so a client
 * that comes back with Last-Event-ID, to whichever gateway, gets what it has not had.
 */
#include "controllers.h"
#include "macros.h"
#include "mem.h"

#define HEARTBEAT_MS    15000
#define RETRY_MS        1000 /* before the client comes back */
#define PIECE_MAX_BYTES ((size_t)8 << 20)
#define ALWAYS          (1u << AIP_STREAM_END | 1u << AIP_STREAM_GAP)

struct events_work {
        struct http_request *request;
        aip_job_feed *feed;
        struct aip_job_feed_next next;
        uint32_t types; /* 1u << type */
        int has_answered;
};

static void events_free(void *work)
{
        struct events_work *w = work;

        aip_job_feed_close(w->feed);
}

/* ── pieces ──────────────────────────────────────────────────────────────────────────────────── */

static int put_event(const struct aip_stream_event *event, struct aip_buf *out)
{
        char id[AIP_STREAM_ID_TEXT_BYTES];
        int r = 0;

        if (event->type != AIP_STREAM_GAP)
                r = aip_buf_printf(out, "id: %s\n", aip_stream_id_format(event->id, id));
        if (r < 0 ||
            (r = aip_buf_printf(out, "event: %s\ndata: ", aip_stream_type_name(event->type))) < 0 ||
            (r = aip_buf_append(out, event->data)) < 0)
                return r;
        return aip_buf_append_cstr(out, "\n\n");
}

static int put_events(struct events_work *w, struct aip_buf *out)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < w->next.ret_n; i++)
                if (w->types & 1u << w->next.ret_events[i].type)
                        r = put_event(&w->next.ret_events[i], out);
        return r;
}

static void ask(struct events_work *w, int64_t wait_ms);

/* The last piece; the client is told to come back where the job goes on. */
static void end_stream(struct events_work *w, int comes_back)
{
        struct http_request *request = w->request;

        request->is_last_piece = 1;
        /* Without the memory for it the client comes back after a time of its own. */
        if (comes_back && aip_buf_printf(&request->piece, "retry: %d\n", RETRY_MS) < 0)
                aip_buf_clear(&request->piece);
}

static void more(struct http_request *request)
{
        struct events_work *w = request->work;

        aip_buf_init(&request->piece, PIECE_MAX_BYTES);
        if (http_is_closing(request))
                end_stream(w, 1);
        else
                ask(w, HEARTBEAT_MS);
}

static void send_piece(struct events_work *w)
{
        struct http_request *request = w->request;

        if (w->has_answered) {
                http_piece_ready(request);
                return;
        }
        w->has_answered = 1;
        http_answer_stream(request, "text/event-stream", more);
}

static void take_events(struct events_work *w)
{
        struct aip_buf *piece = &w->request->piece;
        int r = 0;

        if (!w->has_answered)
                r = aip_buf_printf(piece, "retry: %d\n", RETRY_MS);
        else if (w->next.ret_n == 0)
                r = aip_buf_append_cstr(piece, ": still here\n\n");
        if (r >= 0)
                r = put_events(w, piece);
        if (r < 0) {
                aip_buf_clear(piece);
                end_stream(w, 1);
        } else if (w->next.ret_is_over) {
                end_stream(w, 0);
        } else if (piece->n == 0) {
                ask(w, HEARTBEAT_MS); /* nothing of what it wants */
                return;
        }
        send_piece(w);
}

static void nexted(struct aip_op *op)
{
        struct events_work *w = AIP_CONTAINER_OF(op, struct events_work, next.op);
        aip_error *err = AIP_TAKE(op->err);

        if (err && !w->has_answered) {
                http_answer_error(w->request, err);
        } else if (err) {
                aip_error_free(err);
                end_stream(w, 1);
                http_piece_ready(w->request);
        } else if (w->next.ret_is_over && w->next.ret_n == 0 && !w->has_answered) {
                http_answer_empty(w->request,
                                  204); /* it has had everything: an EventSource stops */
        } else {
                take_events(w);
        }
}

static void ask(struct events_work *w, int64_t wait_ms)
{
        w->next = (struct aip_job_feed_next){.op = {.done = nexted}, .wait_ms = wait_ms};
        aip_job_feed_next(w->feed, &w->next);
}

static void hurry_events(struct http_request *request)
{
        struct events_work *w = request->work;

        aip_job_feed_stop(w->feed);
}

/* ── the request ─────────────────────────────────────────────────────────────────────────────── */

/* ?types=token,status; the end and gaps come always. */
static int read_types(struct http_request *request, uint32_t *ret_types, aip_error **err)
{
        struct aip_str text = http_query(request, "types");
        const char *comma = text.n > 0 ? text.p : NULL;

        *ret_types = comma ? ALWAYS : UINT32_MAX;
        while (comma) {
                enum aip_stream_type type;
                size_t n;
                aip_error *why = NULL;

                comma = memchr(text.p, ',', text.n);
                n = comma ? (size_t)(comma - text.p) : text.n;
                if (aip_stream_type_parse(aip_str_make(text.p, n), &type, &why) < 0)
                        return aip_error_wrap(err, why, AIP_EINVAL, "types");
                *ret_types |= 1u << type;
                if (comma)
                        text = aip_str_make(comma + 1, text.n - n - 1);
        }
        return 0;
}

static int parse_after(const char *name, struct aip_str text, struct aip_stream_id *ret_after,
                       aip_error **err)
{
        aip_error *why = NULL;

        if (text.n == 0 || aip_stream_id_parse(text, ret_after, &why) == 0)
                return 0;
        return aip_error_wrap(err, why, AIP_EINVAL, "%s", name);
}

/* The argument, where headers cannot be set; the header, as an EventSource sends it, which is newer. */
static int read_after(struct http_request *request, struct aip_stream_id *ret_after,
                      aip_error **err)
{
        int r = parse_after("last_event_id", http_query(request, "last_event_id"), ret_after, err);

        return r < 0 ? r
                     : parse_after("Last-Event-ID", http_header(request, "Last-Event-ID"),
                                   ret_after, err);
}

static void open_feed(struct events_work *w, const struct aip_id *id, struct aip_stream_id after)
{
        w->feed = aip_job_feed_open(http_options(w->request)->feeds, id, after);
        if (!w->feed) {
                http_answer_problem(w->request, 503, "OVERLOADED", "out of memory");
                return;
        }
        w->request->hurry = hurry_events;
        aip_buf_init(&w->request->piece, PIECE_MAX_BYTES);
        ask(w, 0); /* the answer begins at once */
}

void http_job_events(struct http_request *request)
{
        struct events_work *w = http_work_new(request, sizeof(*w), events_free);
        struct aip_stream_id after = {0, 0};
        struct aip_id id;
        aip_error *err = NULL;

        if (!w)
                return;
        w->request = request;
        if (read_types(request, &w->types, &err) < 0 || read_after(request, &after, &err) < 0) {
                http_answer_error(request, err);
        } else if (!http_options(request)->feeds) {
                http_answer_problem(request, 503, "UNAVAILABLE", "events are not served here");
        } else if (aip_id_parse(request->segment, &id, NULL) < 0) {
                http_answer_problem(request, 404, "NOT_FOUND", "there is no job '%.*s'",
                                    (int)AIP_MIN(request->segment.n, (size_t)64),
                                    request->segment.p);
        } else {
                open_feed(w, &id, after);
        }
}
