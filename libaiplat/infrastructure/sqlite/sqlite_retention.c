/*
 * Retention: deletes ended jobs and idempotency keys that were kept long enough, a small batch a call,
 * and gives the room back to the file system bit by bit. Run by the write thread inside a transaction;
 * the caller comes again while there is more, so that other writers get in between. Must never delete a
 * job that has not ended.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include <stdio.h>

#define BATCH_ROWS   500
#define VACUUM_PAGES "1000"

static struct aip_retention *retention_of(const struct sqlite_request *rq)
{
        return AIP_CONTAINER_OF(rq->op, struct aip_retention, op);
}

/* The lowest id of a time (UUIDv7: milliseconds first). */
static struct aip_id id_floor(int64_t time_us)
{
        struct aip_id id = {{0}};
        uint64_t ms = (uint64_t)AIP_MAX(time_us, INT64_C(0)) / 1000;

        for (int i = 0; i < 6; i++)
                id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
        return id;
}

/* Run a deletion, or the count that it would delete; ids are searched by time first. */
static int run_bounded(struct sqlite_db *db, enum sqlite_sql sql, int64_t since_us, int has_ids,
                       int64_t *ret_n, aip_error **err)
{
        struct aip_id floor = id_floor(since_us);
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, sql, &s, err);

        if (r < 0)
                return r;
        sqlite3_bind_int64(s, 1, since_us);
        sqlite3_bind_int64(s, 2, BATCH_ROWS);
        if (has_ids)
                aip_sqlite_bind_id(s, 3, &floor);
        r = aip_sqlite_step(db, s, err);
        *ret_n = r > 0 ? sqlite3_column_int64(s, 0) : sqlite3_changes(db->handle);
        sqlite3_reset(s);
        return r < 0 ? r : 0;
}

static int give_back(struct sqlite_db *db, aip_error **err)
{
        int rc = sqlite3_exec(db->handle, "PRAGMA incremental_vacuum(" VACUUM_PAGES ")", NULL, NULL,
                              NULL);

        return rc == SQLITE_OK ? 0 : aip_sqlite_error(db, rc, err);
}

/* What was kept of the runs of jobs that are gone; with threads, their triggers delete it. */
static int expire_checkpoints(struct sqlite_db *db, int64_t since_us, int *ret_has_more,
                              aip_error **err)
{
        int64_t tasks = 0, steps = 0, threads = 0;
        int r = run_bounded(db, SQL_CHECKPOINT_TASKS_EXPIRE, since_us, 1, &tasks, err);

        if (r >= 0)
                r = run_bounded(db, SQL_CHECKPOINTS_EXPIRE, since_us, 1, &steps, err);
        if (r >= 0)
                r = run_bounded(db, SQL_THREADS_EXPIRE, since_us, 0, &threads, err);
        *ret_has_more = tasks == BATCH_ROWS || steps == BATCH_ROWS || threads == BATCH_ROWS;
        return r;
}

static int run_retain(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_retention *retention = retention_of(rq);
        int64_t jobs = 0, keys = 0;
        int r = 0;

        if (retention->keep_jobs_ms > 0)
                r = run_bounded(db, retention->is_dry_run ? SQL_JOBS_OLD : SQL_JOBS_EXPIRE,
                                db->now_us - retention->keep_jobs_ms * 1000, 1, &jobs, err);
        if (r >= 0 && retention->keep_keys_ms > 0)
                r = run_bounded(db, retention->is_dry_run ? SQL_KEYS_OLD : SQL_KEYS_EXPIRE,
                                db->now_us - retention->keep_keys_ms * 1000, 0, &keys, err);
        if (r >= 0 && !retention->is_dry_run && retention->keep_jobs_ms > 0)
                r = expire_checkpoints(db, db->now_us - retention->keep_jobs_ms * 1000,
                                       &rq->answer.flag, err);
        if (r >= 0 && !retention->is_dry_run)
                r = give_back(db, err);
        rq->answer.number = jobs;
        rq->answer.n = (size_t)keys;
        return r;
}

static void describe(struct aip_retention_entry *entry, const char *name,
                     const struct aip_retention *retention, int64_t keep_ms, int64_t n)
{
        const char *outcome = keep_ms == 0 ? "kept" : retention->is_dry_run ? "delete" : "deleted";

        snprintf(entry->name, sizeof(entry->name), "%s", name);
        snprintf(entry->outcome, sizeof(entry->outcome), "%s", outcome);
        entry->n = n;
}

static void deliver_retain(struct sqlite_request *rq)
{
        struct aip_retention *retention = retention_of(rq);
        int64_t jobs = rq->answer.number, keys = (int64_t)rq->answer.n;

        rq->answer.n = 0;
        retention->ret_entries = calloc(2, sizeof(*retention->ret_entries));
        retention->ret_n = retention->ret_entries ? 2 : 0; /* without memory: without a report */
        retention->ret_is_elsewhere = 0;
        retention->ret_has_more =
                !retention->is_dry_run && (jobs == BATCH_ROWS || keys == BATCH_ROWS || rq->answer.flag);
        if (retention->ret_n == 0)
                return;
        describe(&retention->ret_entries[0], "jobs", retention, retention->keep_jobs_ms, jobs);
        describe(&retention->ret_entries[1], "idempotency_keys", retention, retention->keep_keys_ms,
                 keys);
}

const struct sqlite_call aip_sqlite_retain = {1, run_retain, deliver_retain};
