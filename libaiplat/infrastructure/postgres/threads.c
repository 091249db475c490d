/*
 * Threads as a whole: pages of them, one row a thread with what is known of its jobs and its state; and a state
 * that somebody writes to one, under the lock of its row (aiplat_update_thread).
 */
#include "mem.h"
#include "pg.h"

/* ---- list ---- */

/* `which` threads, with their active job, else their last, how many wait, and their last checkpoint. */
#define THREADS(which)                                                                             \
        "SELECT t.id, t.created_at, t.updated_at, coalesce(a.id, l.id), "                          \
        "coalesce(a.status, l.status)::text, (SELECT count(*) FROM jobs w "                        \
        "WHERE w.thread_id = t.id AND w.status = 'QUEUED' AND w.run_at = aiplat_waits()), "        \
        "coalesce((SELECT c.n FROM checkpoints c WHERE c.owner = t.id AND c.ns = '' "              \
        "ORDER BY c.n DESC LIMIT 1), 0) FROM (SELECT * FROM threads WHERE " which " "              \
        "ORDER BY created_at DESC, id DESC LIMIT $1::bigint + 1) AS t "                            \
        "LEFT JOIN LATERAL (SELECT j.id, j.status FROM jobs j WHERE j.thread_id = t.id "           \
        "AND j.status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED') "                                 \
        "AND NOT (j.status = 'QUEUED' AND j.run_at = aiplat_waits()) "                             \
        "ORDER BY j.id LIMIT 1) AS a ON true "                                                     \
        "LEFT JOIN LATERAL (SELECT j.id, j.status FROM jobs j WHERE j.thread_id = t.id "           \
        "ORDER BY j.id DESC LIMIT 1) AS l ON true ORDER BY t.created_at DESC, t.id DESC"

static const struct pg_statement list_statement = {PG_STATEMENT_LIST_THREADS, THREADS("true")};
static const struct pg_statement list_on_statement = {
        PG_STATEMENT_LIST_THREADS_ON,
        THREADS("(created_at, id) < ($2::timestamptz, $3::uuid)"),
};
static const struct pg_statement fetch_statement = {
        PG_STATEMENT_FETCH_THREAD,
        THREADS("id = $2::uuid"),
};

static struct aip_thread_list *list_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_thread_list, op);
}

static int send_list(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_thread_list *list = list_of(batch);
        pg_scalar(p);
        pg_put_int8(p, list->limit);
        if (!aip_id_is_nil(&list->id)) {
                pg_scalar(p);
                pg_put_id(p, &list->id);
                return pg_lane_send(lane, batch, &fetch_statement);
        }
        if (list->before_created_us == 0)
                return pg_lane_send(lane, batch, &list_statement);
        pg_scalar(p);
        pg_put_time(p, list->before_created_us);
        pg_scalar(p);
        pg_put_id(p, &list->before_id);
        return pg_lane_send(lane, batch, &list_on_statement);
}

static struct aip_thread row_of(const PGresult *result, int row)
{
        struct aip_thread t = {
                .id = pg_get_id(result, row, 0),
                .created_at_us = pg_get_time(result, row, 1),
                .updated_at_us = pg_get_time(result, row, 2),
                .job_id = pg_get_id(result, row, 3),
                .n_waiting = pg_get_int8(result, row, 5),
                .checkpoint = pg_get_int8(result, row, 6),
        };
        if (!aip_id_is_nil(&t.job_id))
                (void)aip_job_status_parse(pg_get_text(result, row, 4), &t.job_status, NULL);
        return t;
}

static void list_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        struct aip_thread_list *list = list_of(batch);
        aip_error *error = NULL;
        int n = AIP_MIN(PQntuples(batch->results[0]), (int)list->limit);
        struct aip_thread *threads = n > 0 ? aip_calloc((size_t)n, sizeof(*threads)) : NULL;
        for (int row = 0; threads && row < n; row++)
                threads[row] = row_of(batch->results[0], row);
        if (n > 0 && !threads)
                aip_error_set_nomem(&error);
        list->ret_threads = threads;
        list->ret_n = threads ? (size_t)n : 0;
        list->ret_has_more = PQntuples(batch->results[0]) > n;
        pg_batch_finish(store, batch, 0, error);
}

const struct pg_kind pg_list_threads_kind = {
        .lane = PG_BROWSE,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_list,
        .answered = list_answered,
};

/* ---- update ---- */

static const struct pg_statement update_statement = {
        PG_STATEMENT_UPDATE_THREAD,
        "SELECT aiplat_update_thread($1::uuid, $2::bigint, $3::bigint, $4::bigint, $5::uuid, "
        "$6::integer, $7::integer, $8::text, $9::text)",
};

static struct aip_thread_update *update_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_thread_update, op);
}

static int send_update(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_checkpoint *c = &update_of(batch)->checkpoint;
        pg_scalar(p);
        pg_put_id(p, &c->owner);
        pg_scalar(p);
        pg_put_int8(p, c->n);
        pg_scalar(p);
        pg_put_int8(p, c->parent);
        pg_scalar(p);
        pg_put_int8(p, c->base);
        pg_scalar(p);
        pg_put_id(p, &c->job_id);
        pg_scalar(p);
        pg_put_int4(p, c->step);
        pg_scalar(p);
        pg_put_int4(p, AIP_CHECKPOINT_UPDATE);
        pg_scalar(p);
        pg_put_text(p, c->place);
        pg_scalar(p);
        pg_put_text(p, c->changes);
        return pg_lane_send(lane, batch, &update_statement);
}

static void update_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        update_of(batch)->ret_outcome =
                (enum aip_thread_update_outcome)pg_get_int4(batch->results[0], 0, 0);
        pg_batch_finish(store, batch, 0, NULL);
}

const struct pg_kind pg_update_thread_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_update,
        .answered = update_answered,
};
