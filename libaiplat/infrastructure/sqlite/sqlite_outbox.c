/*
 * The outbox: sweep, forget, and the promotion of delayed jobs. Run by the write thread inside a
 * transaction.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"

static struct aip_chores *chores_of(struct sqlite_request *rq)
{
        return AIP_CONTAINER_OF(rq->op, struct aip_chores, op);
}

static int reserve_transition(struct sqlite_answer *answer, size_t *capacity, aip_error **err)
{
        struct aip_transition *grown;

        if (answer->n < *capacity)
                return 0;
        grown = aip_realloc_array(answer->transitions, 2 * *capacity + 64, sizeof(*grown));
        if (!grown)
                return aip_error_set_nomem(err);
        answer->transitions = grown;
        *capacity = 2 * *capacity + 64;
        return 0;
}

/* The rows of a statement, each turned into a transition of the answer by `read`. */
static int collect(struct sqlite_db *db, sqlite3_stmt *s, struct sqlite_answer *answer,
                   int (*read)(sqlite3_stmt *row, struct aip_transition *ret_transition,
                               aip_error **err),
                   aip_error **err)
{
        size_t capacity = 0;
        int r;

        while ((r = aip_sqlite_step(db, s, err)) > 0) {
                r = reserve_transition(answer, &capacity, err);
                if (r >= 0)
                        r = read(s, &answer->transitions[answer->n], err);
                if (r < 0)
                        break;
                answer->n++;
        }
        sqlite3_reset(s);
        return r;
}

/* The rows of SQL_OUTBOX_STALE or SQL_JOBS_DELAYED_DUE up to a time. */
static int collect_until(struct sqlite_db *db, enum sqlite_sql sql, int64_t until_us, size_t limit,
                         struct sqlite_answer *answer,
                         int (*read)(sqlite3_stmt *row, struct aip_transition *ret_transition,
                                     aip_error **err),
                         aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, sql, &s, err);

        if (r < 0)
                return r;
        sqlite3_bind_int64(s, 1, until_us);
        sqlite3_bind_int64(s, 2, (int64_t)AIP_MIN(limit, (size_t)INT32_MAX));
        return collect(db, s, answer, read, err);
}

static int touch(struct sqlite_db *db, int64_t outbox_id, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_OUTBOX_TOUCH, &s, err);

        if (r < 0)
                return r;
        sqlite3_bind_int64(s, 1, outbox_id);
        sqlite3_bind_int64(s, 2, db->now_us);
        return aip_sqlite_step(db, s, err);
}

static int run_sweep(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_chores *chores = chores_of(rq);
        struct sqlite_answer *answer = &rq->answer;
        int r = collect_until(db, SQL_OUTBOX_STALE, db->now_us - chores->min_age_ms * 1000,
                              chores->limit, answer, aip_sqlite_outbox_read, err);

        for (size_t i = 0; r >= 0 && i < answer->n; i++)
                r = touch(db, answer->transitions[i].outbox_id, err);
        return r;
}

static void deliver_sweep(struct sqlite_request *rq)
{
        chores_of(rq)->ret_transitions = AIP_TAKE(rq->answer.transitions);
        chores_of(rq)->ret_n = rq->answer.n;
}

const struct sqlite_call aip_sqlite_sweep = {1, run_sweep, deliver_sweep};

static int run_forget(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < rq->n_outbox_ids; i++) {
                sqlite3_stmt *s = NULL;
                r = aip_sqlite_prepare(db, SQL_OUTBOX_DELETE, &s, err);
                if (r < 0)
                        return r;
                sqlite3_bind_int64(s, 1, rq->outbox_ids[i]);
                r = aip_sqlite_step(db, s, err);
        }
        return r;
}

const struct sqlite_call aip_sqlite_forget = {1, run_forget, NULL};

/* What a job's time having come looks like in the outbox: a task to publish, no move of the job. */
static int read_due(sqlite3_stmt *row, struct aip_transition *ret_transition, aip_error **err)
{
        (void)err;
        *ret_transition = (struct aip_transition){
                .job_id = aip_sqlite_id(row, 0),
                .version = sqlite3_column_int64(row, 1),
                .attempt = sqlite3_column_int(row, 2),
                .kind = AIP_TRANSITION_DUE,
                .from = AIP_JOB_QUEUED,
                .to = AIP_JOB_QUEUED,
                .is_runnable = 1,
        };
        return 0;
}

static int promote_one(struct sqlite_db *db, struct aip_transition *due, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOB_PROMOTE, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, &due->job_id);
        r = aip_sqlite_step(db, s, err);
        if (r < 0)
                return r;
        due->at_us = db->now_us;
        return aip_sqlite_outbox_insert(db, due, err);
}

/* Milliseconds until the next delayed job is due; -1 when there is none. */
static int find_next(struct sqlite_db *db, int64_t *ret_next_ms, aip_error **err)
{
        int64_t run_at_us = 0;
        int r = aip_sqlite_read_int(db, SQL_JOBS_DELAYED_NEXT, &run_at_us, err);

        if (r < 0)
                return r;
        if (r == 0)
                *ret_next_ms = -1;
        else
                *ret_next_ms = AIP_MAX(0, (run_at_us - db->now_us + 999) / 1000);
        return 0;
}

static int run_promote(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct sqlite_answer *answer = &rq->answer;
        int r = collect_until(db, SQL_JOBS_DELAYED_DUE, db->now_us, chores_of(rq)->limit, answer,
                              read_due, err);

        for (size_t i = 0; r >= 0 && i < answer->n; i++)
                r = promote_one(db, &answer->transitions[i], err);
        return r < 0 ? r : find_next(db, &answer->number, err);
}

static void deliver_promote(struct sqlite_request *rq)
{
        deliver_sweep(rq);
        chores_of(rq)->ret_next_ms = rq->answer.number;
}

const struct sqlite_call aip_sqlite_promote = {1, run_promote, deliver_promote};
