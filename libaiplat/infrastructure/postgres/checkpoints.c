/*
 * Checkpoints of runs: saved many at once, under the fence, by one statement; read by one. The fence is
 * read without a lock: a save that passes it while the job is being taken away may still land, and is then
 * what the next worker goes on from, or is replaced by it (job and fence of the row decide).
 */
#include "pg.h"
#include "store/checkpoint_rows.h"

static struct aip_checkpoint_save *save_of(struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, struct aip_checkpoint_save, op);
}

static const struct aip_id *id_of(const struct aip_op *op)
{
        return &AIP_CONTAINER_OF(op, const struct aip_checkpoint_save, op)->checkpoint.owner;
}

/* ---- save ---- */

static size_t bytes_of(const struct aip_op *op)
{
        const struct aip_checkpoint_save *save =
                AIP_CONTAINER_OF(op, const struct aip_checkpoint_save, op);
        return save->checkpoint.place.n + save->checkpoint.changes.n + 256;
}

/* A session has it: it is being processed. */
#define HELD_BY_RIGHT(low, high)                                                                   \
        "JOIN jobs j ON j.id = i.job_id AND j.version = i.fence AND j.session IS NOT NULL "        \
        "WHERE j.id = ANY ($5::uuid[]) AND " PG_SPAN(low, high) " "

static const struct pg_statement save_statement = {
        PG_STATEMENT_SAVE,
        "INSERT INTO checkpoints AS c (owner, ns, n, fence, job_id, base, parent, step, source, "
        "place, changes) SELECT i.* FROM unnest($1::uuid[], $2::text[], $3::bigint[], "
        "$4::bigint[], $5::uuid[], $6::bigint[], $7::bigint[], $8::integer[], $9::integer[], "
        "$10::text[], $11::text[]) AS i(owner, ns, n, fence, job_id, base, parent, step, source, "
        "place, changes) " HELD_BY_RIGHT("$12", "$13")
        "ON CONFLICT (owner, ns, n) DO UPDATE SET job_id = EXCLUDED.job_id, "
        "fence = EXCLUDED.fence, base = EXCLUDED.base, parent = EXCLUDED.parent, "
        "step = EXCLUDED.step, source = EXCLUDED.source, place = EXCLUDED.place, "
        "changes = EXCLUDED.changes, created_at = now() "
        "WHERE (c.job_id, c.fence) <= (EXCLUDED.job_id, EXCLUDED.fence) RETURNING owner",
};

static const struct pg_statement save_tasks_statement = {
        PG_STATEMENT_SAVE_TASKS,
        "INSERT INTO checkpoint_tasks AS c (owner, ns, n, fence, job_id, place, value) "
        "SELECT i.* FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::uuid[], "
        "$6::integer[], $7::text[]) AS i(owner, ns, n, fence, job_id, place, value) " HELD_BY_RIGHT(
                "$8", "$9")
        "ON CONFLICT (owner, ns, n, place) DO UPDATE SET job_id = EXCLUDED.job_id, "
        "fence = EXCLUDED.fence, value = EXCLUDED.value "
        "WHERE (c.job_id, c.fence) <= (EXCLUDED.job_id, EXCLUDED.fence) RETURNING owner",
};

/* A column with an element for each save, or for each task of each. */
#define COLUMN(params, type, batch, rows, put_statement)                                           \
        do {                                                                                       \
                pg_array(params, type);                                                            \
                for (size_t i_ = 0; i_ < (batch)->n_slots; i_++) {                                 \
                        const struct aip_checkpoint_save *save = save_of((batch)->slots[i_]);      \
                        const struct aip_checkpoint *c = &save->checkpoint;                        \
                        (void)c;                                                                   \
                        for (size_t row = 0; row < (rows); row++)                                  \
                                put_statement;                                                     \
                }                                                                                  \
        } while (0)

#define KEYS(p, batch, rows)                                                                       \
        do {                                                                                       \
                COLUMN(p, PG_UUID, batch, rows, pg_put_id(p, &c->owner));                          \
                COLUMN(p, PG_TEXT, batch, rows, pg_put_text(p, c->ns));                            \
                COLUMN(p, PG_INT8, batch, rows, pg_put_int8(p, c->n));                             \
                COLUMN(p, PG_INT8, batch, rows, pg_put_int8(p, save->fence.version));              \
                COLUMN(p, PG_UUID, batch, rows, pg_put_id(p, &save->fence.job_id));                \
        } while (0)

static int send_save(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        KEYS(p, batch, 1u);
        COLUMN(p, PG_INT8, batch, 1u, pg_put_int8(p, c->base));
        COLUMN(p, PG_INT8, batch, 1u, pg_put_int8(p, c->parent));
        COLUMN(p, PG_INT4, batch, 1u, pg_put_int4(p, c->step));
        COLUMN(p, PG_INT4, batch, 1u, pg_put_int4(p, (int32_t)c->source));
        COLUMN(p, PG_TEXT, batch, 1u, pg_put_text(p, c->place));
        COLUMN(p, PG_TEXT, batch, 1u, pg_put_text(p, c->changes));
        pg_put_span(p, 5);
        return pg_lane_send(lane, batch, &save_statement);
}

static size_t task_rows_of(const struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, const struct aip_checkpoint_save, op)->n_tasks;
}

static size_t task_bytes_of(const struct aip_op *op)
{
        const struct aip_checkpoint_save *save =
                AIP_CONTAINER_OF(op, const struct aip_checkpoint_save, op);
        size_t n = 0;
        for (size_t i = 0; i < save->n_tasks; i++)
                n += save->tasks[i].value.n + 128;
        return n;
}

static int send_tasks(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        KEYS(p, batch, save->n_tasks);
        COLUMN(p, PG_INT4, batch, save->n_tasks, pg_put_int4(p, save->tasks[row].place));
        COLUMN(p, PG_TEXT, batch, save->n_tasks, pg_put_text(p, save->tasks[row].value));
        pg_put_span(p, 5);
        return pg_lane_send(lane, batch, &save_tasks_statement);
}

/* Who is not among the rows was refused. */
static void save_answered(struct pg_store *store, struct pg_batch *batch)
{
        const PGresult *result = batch->results[0];
        pg_slot_map_of(store, batch);
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id id = pg_get_id(result, row, 0);
                int64_t slot = pg_slot_map_find(&store->map, &id);
                if (slot < 0 || !batch->slots[slot])
                        continue;
                save_of(batch->slots[slot])->ret_is_stale = 0;
                pg_batch_finish(store, batch, (size_t)slot, NULL);
        }
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (!batch->slots[i])
                        continue;
                save_of(batch->slots[i])->ret_is_stale = 1;
                pg_batch_finish(store, batch, i, NULL);
        }
}

const struct pg_kind pg_save_kind = {
        .lane = PG_RESULTS,
        .max_rows = AIP_STORE_BATCH_MAX,
        .is_repeatable = 1,
        .bytes = bytes_of,
        .id = id_of,
        .send = send_save,
        .answered = save_answered,
};

const struct pg_kind pg_save_tasks_kind = {
        .lane = PG_RESULTS,
        .max_rows = AIP_STORE_BATCH_MAX,
        .is_repeatable = 1,
        .rows = task_rows_of,
        .bytes = task_bytes_of,
        .id = id_of,
        .send = send_tasks,
        .answered = save_answered,
};

/* ---- load ---- */

#define COLUMNS "owner, ns, n, parent, base, job_id, step, source::integer, created_at, place, "

static const struct pg_statement load_statement = {
        PG_STATEMENT_LOAD_CHECKPOINT,
        "WITH top AS MATERIALIZED (SELECT n, base, job_id, fence FROM checkpoints "
        "WHERE owner = $1::uuid AND ns = $2::text AND n <= coalesce($3::bigint, n) "
        "ORDER BY n DESC LIMIT 1) "
        "SELECT * FROM (SELECT " COLUMNS "changes, NULL::integer AS task FROM checkpoints "
        "WHERE owner = $1::uuid AND ns = $2::text AND n >= (SELECT base FROM top) "
        "AND n <= (SELECT n FROM top) UNION ALL "
        "SELECT owner, ns, n, 0, 0, job_id, 0, 0, NULL, '', value, place FROM checkpoint_tasks t "
        "WHERE owner = $1::uuid AND ns = $2::text AND n = (SELECT n FROM top) "
        "AND (t.job_id, t.fence) >= (SELECT job_id, fence FROM top)) AS found "
        "ORDER BY task NULLS FIRST, n",
};

static struct aip_checkpoint_load *load_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_checkpoint_load, op);
}

static int send_load(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_checkpoint_load *load = load_of(batch);
        pg_scalar(p);
        pg_put_id(p, &load->owner);
        pg_scalar(p);
        pg_put_text(p, load->ns);
        pg_scalar(p);
        if (load->n > 0)
                pg_put_int8(p, load->n);
        else
                pg_put_null(p);
        return pg_lane_send(lane, batch, &load_statement);
}

static struct aip_checkpoint row_of(const PGresult *result, int row)
{
        return (struct aip_checkpoint){
                .owner = pg_get_id(result, row, 0),
                .ns = pg_get_text(result, row, 1),
                .n = pg_get_int8(result, row, 2),
                .parent = pg_get_int8(result, row, 3),
                .base = pg_get_int8(result, row, 4),
                .job_id = pg_get_id(result, row, 5),
                .step = pg_get_int4(result, row, 6),
                .source = (enum aip_checkpoint_source)pg_get_int4(result, row, 7),
                .created_at_us = pg_get_time(result, row, 8),
                .place = pg_get_text(result, row, 9),
                .changes = pg_get_text(result, row, 10),
        };
}

static int read_rows(const PGresult *result, int n, struct aip_checkpoint_rows *rows)
{
        int r = 0;
        for (int row = 0; r == 0 && row < n; row++) {
                struct aip_checkpoint c = row_of(result, row);
                if (PQgetisnull(result, row, 11))
                        r = aip_checkpoint_rows_add(rows, &c);
                else
                        r = aip_checkpoint_rows_add_task(rows, pg_get_int4(result, row, 11),
                                                         c.changes);
        }
        return r;
}

static int read_load(struct aip_checkpoint_load *load, const PGresult *result, aip_error **err)
{
        struct aip_checkpoint_rows rows = {0};
        int r = read_rows(result, PQntuples(result), &rows);
        /* The one that was asked for, not the last before it. */
        if (r == 0 && load->n > 0 && rows.n > 0 && rows.rows[rows.n - 1].n != load->n)
                rows.n = rows.n_tasks = 0;
        if (r == 0)
                r = aip_checkpoint_rows_take(&rows, &load->ret_checkpoints, &load->ret_n);
        if (r == 0)
                r = aip_checkpoint_rows_take_tasks(&rows, &load->ret_tasks, &load->ret_n_tasks);
        if (r < 0) {
                free(AIP_TAKE(load->ret_checkpoints));
                aip_error_set_nomem(err);
        }
        aip_checkpoint_rows_deinit(&rows);
        return r;
}

static void load_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        struct aip_checkpoint_load *load = load_of(batch);
        aip_error *error = NULL;
        load->ret_checkpoints = NULL;
        read_load(load, batch->results[0], &error);
        pg_batch_finish(store, batch, 0, error);
}

const struct pg_kind pg_load_checkpoint_kind = {
        .lane = PG_READ,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_load,
        .answered = load_answered,
};

/* ---- list ---- */

static const struct pg_statement list_statement = {
        PG_STATEMENT_LIST_CHECKPOINTS,
        "SELECT " COLUMNS "'', NULL::integer FROM checkpoints WHERE owner = $1::uuid "
        "AND ns = $2::text AND n < coalesce($3::bigint, 9223372036854775807) "
        "ORDER BY n DESC LIMIT $4::bigint + 1",
};

static struct aip_checkpoint_list *list_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_checkpoint_list, op);
}

static int send_list(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_checkpoint_list *list = list_of(batch);
        pg_scalar(p);
        pg_put_id(p, &list->owner);
        pg_scalar(p);
        pg_put_text(p, list->ns);
        pg_scalar(p);
        if (list->before > 0)
                pg_put_int8(p, list->before);
        else
                pg_put_null(p);
        pg_scalar(p);
        pg_put_int8(p, list->limit);
        return pg_lane_send(lane, batch, &list_statement);
}

static void list_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        struct aip_checkpoint_list *list = list_of(batch);
        struct aip_checkpoint_rows rows = {0};
        aip_error *error = NULL;
        int n = PQntuples(batch->results[0]);
        list->ret_has_more = n > (int)list->limit;
        if (read_rows(batch->results[0], AIP_MIN(n, (int)list->limit), &rows) < 0 ||
            aip_checkpoint_rows_take(&rows, &list->ret_checkpoints, &list->ret_n) < 0)
                aip_error_set_nomem(&error);
        aip_checkpoint_rows_deinit(&rows);
        pg_batch_finish(store, batch, 0, error);
}

const struct pg_kind pg_list_checkpoints_kind = {
        .lane = PG_BROWSE,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_list,
        .answered = list_answered,
};
