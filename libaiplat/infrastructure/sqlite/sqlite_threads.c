/*
 * Threads as a whole: pages of them on the read thread, a state that somebody writes to one on the write
 * thread. That jobs take turns is sqlite_jobs.c and the schema's triggers.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"
#include <stdlib.h>

/* --- list ---------------------------------------------------------------------------------- */

static struct aip_thread_list *list_of(struct sqlite_request *rq)
{
        return AIP_CONTAINER_OF(rq->op, struct aip_thread_list, op);
}

/* The active job's columns, or the last one's. */
static struct aip_thread read_row(sqlite3_stmt *s)
{
        int is_active = sqlite3_column_type(s, 3) != SQLITE_NULL;
        int job = is_active ? 3 : 7;
        struct aip_thread t = {
                .id = aip_sqlite_id(s, 0),
                .created_at_us = sqlite3_column_int64(s, 1),
                .updated_at_us = sqlite3_column_int64(s, 2),
                .n_waiting = sqlite3_column_int64(s, 5),
                .checkpoint = sqlite3_column_int64(s, 6),
        };

        if (sqlite3_column_type(s, job) != SQLITE_NULL) {
                t.job_id = aip_sqlite_id(s, job);
                (void)aip_job_status_parse(aip_sqlite_text(s, job + 1), &t.job_status, NULL);
        }
        return t;
}

static int prepare_list(struct sqlite_db *db, const struct aip_thread_list *list,
                        sqlite3_stmt **ret_statement, aip_error **err)
{
        int is_one = !aip_id_is_nil(&list->id);
        int r = aip_sqlite_prepare(db, is_one ? SQL_THREAD_FETCH : SQL_THREAD_LIST, ret_statement,
                                   err);

        if (r < 0)
                return r;
        sqlite3_bind_int64(*ret_statement, 1, (int64_t)list->limit + 1);
        if (is_one) {
                aip_sqlite_bind_id(*ret_statement, 2, &list->id);
        } else if (list->before_created_us != 0) {
                sqlite3_bind_int64(*ret_statement, 2, list->before_created_us);
                aip_sqlite_bind_id(*ret_statement, 3, &list->before_id);
        }
        return 0;
}

static int run_list(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_thread_list *list = list_of(rq);
        struct sqlite_answer *answer = &rq->answer;
        sqlite3_stmt *s = NULL;
        int r = prepare_list(db, list, &s, err);

        if (r < 0)
                return r;
        answer->threads = aip_calloc((size_t)list->limit + 1, sizeof(*answer->threads));
        if (!answer->threads)
                r = aip_error_set_nomem(err);
        while (r >= 0 && (r = aip_sqlite_step(db, s, err)) > 0)
                answer->threads[answer->n++] = read_row(s);
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        return r;
}

static void deliver_list(struct sqlite_request *rq)
{
        struct aip_thread_list *list = list_of(rq);

        list->ret_has_more = rq->answer.n > list->limit;
        list->ret_n = AIP_MIN(rq->answer.n, (size_t)list->limit);
        list->ret_threads = AIP_TAKE(rq->answer.threads);
}

const struct sqlite_call aip_sqlite_list_threads = {0, run_list, deliver_list};

/* --- update -------------------------------------------------------------------------------- */

static struct aip_thread_update *update_of(struct sqlite_request *rq)
{
        return AIP_CONTAINER_OF(rq->op, struct aip_thread_update, op);
}

/* 1: it is stored; 0: it is not, or is not the same. */
static int run_on(struct sqlite_db *db, enum sqlite_sql sql, const struct aip_checkpoint *c,
                  aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, sql, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, &c->owner);
        sqlite3_bind_int64(s, 2, c->n);
        aip_sqlite_bind_text(s, 8, c->place);
        aip_sqlite_bind_text(s, 9, c->changes);
        if (sql == SQL_CHECKPOINT_ADD) {
                sqlite3_bind_int64(s, 3, c->parent);
                sqlite3_bind_int64(s, 4, c->base);
                aip_sqlite_bind_id(s, 5, &c->job_id);
                sqlite3_bind_int(s, 6, c->step);
                sqlite3_bind_int(s, 7, AIP_CHECKPOINT_UPDATE);
                sqlite3_bind_int64(s, 10, db->now_us);
        }
        r = aip_sqlite_step(db, s, err);
        sqlite3_reset(s);
        if (r == 0 && sql == SQL_CHECKPOINT_ADD)
                return sqlite3_changes(db->handle) > 0;
        return r;
}

static int run_update(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_checkpoint *c = &update_of(rq)->checkpoint;
        int r = aip_sqlite_thread_is_busy(db, &c->owner, err);

        if (r != 0) {
                rq->answer.outcome = AIP_THREAD_UPDATE_BUSY;
                return r < 0 ? r : 0;
        }
        r = aip_sqlite_thread_use(db, &c->owner, err);
        if (r >= 0)
                r = run_on(db, SQL_CHECKPOINT_ADD, c, err);
        if (r == 0)
                r = run_on(db, SQL_CHECKPOINT_IS_SAME, c, err);
        rq->answer.outcome = r > 0 ? AIP_THREAD_UPDATED : AIP_THREAD_UPDATE_CHANGED;
        return r < 0 ? r : 0;
}

static void deliver_update(struct sqlite_request *rq)
{
        update_of(rq)->ret_outcome = (enum aip_thread_update_outcome)rq->answer.outcome;
}

const struct sqlite_call aip_sqlite_update_thread = {1, run_update, deliver_update};
