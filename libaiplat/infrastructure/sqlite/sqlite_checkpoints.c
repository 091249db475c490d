/*
 * Checkpoints of runs: save, under the fence, on the write thread; load and list on the read thread. What
 * is read is gathered in the request and handed over after the transaction.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"

/* --- save ---------------------------------------------------------------------------------- */

static struct aip_checkpoint_save *save_of(struct sqlite_request *rq)
{
        return AIP_CONTAINER_OF(rq->op, struct aip_checkpoint_save, op);
}

static void bind_key(sqlite3_stmt *s, const struct aip_checkpoint_save *save)
{
        const struct aip_checkpoint *c = &save->checkpoint;

        aip_sqlite_bind_id(s, 1, &c->owner);
        aip_sqlite_bind_text(s, 2, aip_str_make(c->ns.p ? c->ns.p : "", c->ns.n));
        sqlite3_bind_int64(s, 3, c->n);
        aip_sqlite_bind_id(s, 4, &save->fence.job_id);
        sqlite3_bind_int64(s, 5, save->fence.version);
}

/* Run a statement that writes one row, if the fence lets it. */
static int step_fenced(struct sqlite_db *db, sqlite3_stmt *s, int *ret_is_stale, aip_error **err)
{
        int r = aip_sqlite_step(db, s, err);

        if (r >= 0 && sqlite3_changes(db->handle) == 0)
                *ret_is_stale = 1;
        return r;
}

static int save_step(struct sqlite_db *db, const struct aip_checkpoint_save *save,
                     int *ret_is_stale, aip_error **err)
{
        const struct aip_checkpoint *c = &save->checkpoint;
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_CHECKPOINT_SAVE, &s, err);

        if (r < 0)
                return r;
        bind_key(s, save);
        sqlite3_bind_int64(s, 6, c->base);
        sqlite3_bind_int64(s, 7, c->parent);
        sqlite3_bind_int(s, 8, c->step);
        sqlite3_bind_int(s, 9, (int)c->source);
        aip_sqlite_bind_text(s, 10, c->place);
        aip_sqlite_bind_text(s, 11, c->changes);
        sqlite3_bind_int64(s, 12, db->now_us);
        return step_fenced(db, s, ret_is_stale, err);
}

static int save_task(struct sqlite_db *db, const struct aip_checkpoint_save *save,
                     const struct aip_checkpoint_task *task, int *ret_is_stale, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_CHECKPOINT_SAVE_TASK, &s, err);

        if (r < 0)
                return r;
        bind_key(s, save);
        sqlite3_bind_int(s, 6, task->place);
        aip_sqlite_bind_text(s, 7, task->value);
        return step_fenced(db, s, ret_is_stale, err);
}

static int run_save(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_checkpoint_save *save = save_of(rq);
        int r = 0;

        rq->answer.flag = 0;
        if (save->n_tasks == 0)
                return save_step(db, save, &rq->answer.flag, err);
        for (size_t i = 0; r >= 0 && i < save->n_tasks; i++)
                r = save_task(db, save, &save->tasks[i], &rq->answer.flag, err);
        return r;
}

static void deliver_save(struct sqlite_request *rq)
{
        save_of(rq)->ret_is_stale = rq->answer.flag;
}

const struct sqlite_call aip_sqlite_save = {1, run_save, deliver_save};

/* --- reading ------------------------------------------------------------------------------- */

static int read_row(sqlite3_stmt *s, struct aip_checkpoint_rows *rows, aip_error **err)
{
        struct aip_checkpoint c = {
                .owner = aip_sqlite_id(s, 0),
                .ns = aip_sqlite_text(s, 1),
                .n = sqlite3_column_int64(s, 2),
                .parent = sqlite3_column_int64(s, 3),
                .base = sqlite3_column_int64(s, 4),
                .job_id = aip_sqlite_id(s, 5),
                .step = sqlite3_column_int(s, 6),
                .source = (enum aip_checkpoint_source)sqlite3_column_int(s, 7),
                .created_at_us = sqlite3_column_int64(s, 8),
                .place = aip_sqlite_text(s, 9),
                .changes = aip_sqlite_text(s, 10),
        };

        return aip_checkpoint_rows_add(rows, &c) < 0 ? aip_error_set_nomem(err) : 0;
}

static int read_task(sqlite3_stmt *s, struct aip_checkpoint_rows *rows, aip_error **err)
{
        int r = aip_checkpoint_rows_add_task(rows, sqlite3_column_int(s, 0), aip_sqlite_text(s, 1));

        return r < 0 ? aip_error_set_nomem(err) : 0;
}

static int read_all(struct sqlite_db *db, sqlite3_stmt *s,
                    int (*read)(sqlite3_stmt *s, struct aip_checkpoint_rows *rows,
                                aip_error **err),
                    struct aip_checkpoint_rows *rows, aip_error **err)
{
        int r;

        while ((r = aip_sqlite_step(db, s, err)) > 0)
                if ((r = read(s, rows, err)) < 0)
                        break;
        sqlite3_reset(s);
        return r;
}

/* The owner, the namespace, and two numbers. */
static int read_of(struct sqlite_db *db, enum sqlite_sql sql, const struct aip_id *owner,
                   struct aip_str ns, int64_t a, int64_t b,
                   int (*read)(sqlite3_stmt *s, struct aip_checkpoint_rows *rows, aip_error **err),
                   struct aip_checkpoint_rows *rows, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, sql, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, owner);
        aip_sqlite_bind_text(s, 2, aip_str_make(ns.p ? ns.p : "", ns.n));
        sqlite3_bind_int64(s, 3, a);
        sqlite3_bind_int64(s, 4, b);
        return read_all(db, s, read, rows, err);
}

static struct aip_checkpoint_load *load_of(struct sqlite_request *rq)
{
        return AIP_CONTAINER_OF(rq->op, struct aip_checkpoint_load, op);
}

static int load_in(struct sqlite_db *db, const struct aip_checkpoint_load *load,
                   struct aip_checkpoint_rows *rows, aip_error **err)
{
        int r = read_of(db, SQL_CHECKPOINT_LOAD, &load->owner, load->ns,
                        load->n > 0 ? load->n : INT64_MAX, 0, read_row, rows, err);

        if (r < 0 || rows->n == 0)
                return r;
        int64_t n = rows->rows[rows->n - 1].n;
        if (load->n > 0 && n != load->n) { /* the last before it was found */
                rows->n = 0;
                return 0;
        }
        return read_of(db, SQL_CHECKPOINT_TASKS, &load->owner, load->ns, n, 0, read_task, rows,
                       err);
}

/* Both statements see the same: a reading transaction of their own. */
static int run_load(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        int r = aip_sqlite_run(db, SQL_BEGIN_READ, err), end;

        if (r < 0)
                return r;
        r = load_in(db, load_of(rq), &rq->answer.checkpoints, err);
        end = aip_sqlite_run(db, SQL_COMMIT, r < 0 ? NULL : err);
        return r < 0 ? r : end;
}

static void deliver_load(struct sqlite_request *rq)
{
        struct aip_checkpoint_load *load = load_of(rq);
        struct aip_checkpoint_rows *rows = &rq->answer.checkpoints;

        if (aip_checkpoint_rows_take(rows, &load->ret_checkpoints, &load->ret_n) == 0 &&
            aip_checkpoint_rows_take_tasks(rows, &load->ret_tasks, &load->ret_n_tasks) < 0)
                free(AIP_TAKE(load->ret_checkpoints));
        if (rows->n > 0 && !load->ret_checkpoints)
                aip_error_set_nomem(&rq->err);
        aip_checkpoint_rows_deinit(rows);
}

const struct sqlite_call aip_sqlite_load_checkpoint = {0, run_load, deliver_load};

static struct aip_checkpoint_list *list_of(struct sqlite_request *rq)
{
        return AIP_CONTAINER_OF(rq->op, struct aip_checkpoint_list, op);
}

static int run_list(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_checkpoint_list *list = list_of(rq);

        return read_of(db, SQL_CHECKPOINT_LIST, &list->owner, list->ns,
                       list->before > 0 ? list->before : INT64_MAX, (int64_t)list->limit + 1,
                       read_row, &rq->answer.checkpoints, err);
}

static void deliver_list(struct sqlite_request *rq)
{
        struct aip_checkpoint_list *list = list_of(rq);
        struct aip_checkpoint_rows *rows = &rq->answer.checkpoints;

        list->ret_has_more = rows->n > list->limit;
        rows->n = AIP_MIN(rows->n, (size_t)list->limit);
        if (aip_checkpoint_rows_take(rows, &list->ret_checkpoints, &list->ret_n) < 0)
                aip_error_set_nomem(&rq->err);
        aip_checkpoint_rows_deinit(rows);
}

const struct sqlite_call aip_sqlite_list_checkpoints = {0, run_list, deliver_list};
