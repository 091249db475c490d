/*
 * Retention: partitions made ahead of time and dropped when their time is over, old idempotency keys
 * deleted in small batches. On a connection of its own, which is made for it and closed after it, so
 * that nobody waits behind a long step. Called through ports/job_repository.h (retain). The server's
 * functions (sql/postgres/0002) know what is to be done and do it, a transaction a step; here is only
 * the order: lock, plan, each step of the plan, a deletion again while it finds a whole batch.
 */
#include "pg.h"
#include <inttypes.h>
#include <stdio.h>

#define RETAIN_MS   INT64_C(300000) /* when the caller sets no deadline */
#define DELETE_ROWS 1000            /* of one batch, as the plan says */

enum step { LOCK, PLAN, RUN };

struct pg_retention {
        struct pg_connection connection;
        struct aip_retention *caller; /* NULL: finished */
        struct aip_timer deadline;
        struct aip_task release;
        enum step step;
        struct aip_buf sql;
        struct aip_retention_entry *entries;
        char **statements; /* one an entry; NULL: nothing to do */
        size_t n, at;
};

static struct pg_retention *retention_of(struct pg_connection *connection)
{
        return AIP_CONTAINER_OF(connection, struct pg_retention, connection);
}

static void retention_free(struct pg_retention *r)
{
        struct pg_store *store = r->connection.store;
        store->retention = NULL;
        aip_timer_clear(store->loop, &r->deadline);
        aip_undefer(store->loop, &r->release);
        pg_connection_stop(&r->connection);
        aip_buf_deinit(&r->sql);
        for (size_t i = 0; i < r->n; i++)
                free(r->statements[i]);
        free(r->statements);
        free(r->entries);
        free(r);
}

static void run_release(struct aip_task *task)
{
        retention_free(AIP_CONTAINER_OF(task, struct pg_retention, release));
}

/* `err` is consumed always. The object lives on until the connection's callers have returned. */
static void finish(struct pg_retention *r, aip_error *err)
{
        struct pg_store *store = r->connection.store;
        if (!r->caller) {
                aip_error_free(err);
                return;
        }
        if (!err) {
                r->caller->ret_entries = AIP_TAKE(r->entries);
                r->caller->ret_n = r->n;
        }
        aip_op_finish(store->loop, &AIP_TAKE(r->caller)->op, err);
        pg_connection_stop(&r->connection);
        aip_defer(store->loop, &r->release);
}

static void finish_nomem(struct pg_retention *r)
{
        aip_error *error = NULL;
        aip_error_set_nomem(&error);
        finish(r, error);
}

static int append_interval(struct aip_buf *sql, int64_t ms, const char *end)
{
        int r = ms > 0 ? aip_buf_printf(sql, "interval '%" PRId64 " milliseconds'", ms)
                       : aip_buf_append_cstr(sql, "NULL::interval");
        return r < 0 ? r : aip_buf_append_cstr(sql, end);
}

static int compose(struct pg_retention *r)
{
        struct aip_buf *sql = &r->sql;
        aip_buf_clear(sql);
        if (r->step == LOCK)
                return aip_buf_append_cstr(
                        sql, "SELECT pg_try_advisory_lock(702195861, hashtext(current_schema()))");
        if (r->step == RUN)
                return aip_buf_append_cstr(sql, r->statements[r->at]);
        int result = aip_buf_append_cstr(
                sql, "SELECT name, (extract(epoch FROM from_time) * 1000000)::bigint, "
                     "(extract(epoch FROM until_time) * 1000000)::bigint, bytes, action, statement "
                     "FROM aiplat_retention_plan(");
        if (result < 0 || (result = append_interval(sql, r->caller->keep_jobs_ms, ", ")) < 0 ||
            (result = append_interval(sql, r->caller->keep_keys_ms, ", ")) < 0)
                return result;
        return append_interval(sql, r->caller->partition_ms, ")");
}

static void send_step(struct pg_retention *r)
{
        if (compose(r) < 0)
                finish_nomem(r);
        else if (!PQsendQuery(r->connection.pg, r->sql.p))
                pg_connection_drop(&r->connection, NULL);
        else
                pg_connection_flush(&r->connection);
}

/* The next entry that has something to do; when there is none, it is over. */
static void send_next(struct pg_retention *r)
{
        while (r->at < r->n && (r->caller->is_dry_run || !r->statements[r->at]))
                r->at++;
        if (r->at < r->n)
                send_step(r);
        else
                finish(r, NULL);
}

/* ---- answers ---- */

static int64_t number_at(const PGresult *result, int row, int column)
{
        return strtoll(PQgetvalue(result, row, column), NULL, 10); /* null reads as 0 */
}

static void copy_text(char *to, size_t max_bytes, const PGresult *result, int row, int column)
{
        snprintf(to, max_bytes, "%s", PQgetvalue(result, row, column));
}

static int take_plan(struct pg_retention *r, const PGresult *result)
{
        size_t n = (size_t)PQntuples(result);
        r->entries = calloc(n + 1, sizeof(*r->entries));
        r->statements = calloc(n + 1, sizeof(*r->statements));
        if (!r->entries || !r->statements)
                return AIP_ENOMEM;
        for (; r->n < n; r->n++) {
                struct aip_retention_entry *entry = &r->entries[r->n];
                int row = (int)r->n;
                copy_text(entry->name, sizeof(entry->name), result, row, 0);
                entry->from_us = number_at(result, row, 1);
                entry->until_us = number_at(result, row, 2);
                entry->bytes = number_at(result, row, 3);
                copy_text(entry->outcome, sizeof(entry->outcome), result, row, 4);
                if (PQgetisnull(result, row, 5))
                        continue;
                r->statements[r->n] = strdup(PQgetvalue(result, row, 5));
                if (!r->statements[r->n])
                        return AIP_ENOMEM;
        }
        return 0;
}

static void take_outcome(struct pg_retention *r, const PGresult *result)
{
        struct aip_retention_entry *entry = &r->entries[r->at];
        int64_t n = number_at(result, 0, 1);
        copy_text(entry->outcome, sizeof(entry->outcome), result, 0, 0);
        entry->n += n;
        if (strcmp(entry->outcome, "deleted") != 0 || n < DELETE_ROWS)
                r->at++;
}

/* -1 when it is over, or the connection is. */
static int take_result(struct pg_retention *r, const PGresult *result)
{
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
                finish(r, pg_fault_error(result));
                return -1;
        }
        if (r->step == PLAN) {
                if (take_plan(r, result) == 0)
                        return 0;
                finish_nomem(r);
                return -1;
        }
        if (r->step == RUN) {
                take_outcome(r, result);
        } else if (strcmp(PQgetvalue(result, 0, 0), "t") != 0 && !r->caller->is_dry_run) {
                r->caller->ret_is_elsewhere = 1;
                finish(r, NULL);
                return -1;
        }
        return 0;
}

static void next_step(struct pg_retention *r)
{
        if (r->step == LOCK) {
                r->step = PLAN;
                send_step(r);
        } else {
                r->step = RUN;
                send_next(r);
        }
}

static void on_input(struct pg_connection *connection)
{
        struct pg_retention *r = retention_of(connection);
        while (r->caller && !PQisBusy(connection->pg)) {
                PGresult *result = PQgetResult(connection->pg);
                if (!result) {
                        next_step(r);
                        return;
                }
                int end = take_result(r, result);
                PQclear(result);
                if (end < 0)
                        return;
        }
}

/* ---- life ---- */

static void on_ready(struct pg_connection *connection)
{
        send_step(retention_of(connection));
}

/* Not tried again: the next round does. */
static void on_lost(struct pg_connection *connection)
{
        finish(retention_of(connection), pg_connection_error(connection));
}

static void on_deadline(struct aip_timer *timer)
{
        struct pg_retention *r = AIP_CONTAINER_OF(timer, struct pg_retention, deadline);
        aip_error *error = NULL;
        aip_error_set(&error, AIP_ETIMEOUT, "retention took too long; what was done stays done");
        finish(r, error);
}

void pg_retain(struct pg_store *store, struct aip_retention *retention)
{
        static const struct pg_connection_ops ops = {.on_ready = on_ready,
                                                     .on_input = on_input,
                                                     .on_lost = on_lost,
                                                     .on_failed = on_lost};
        struct pg_retention *r = store->retention ? NULL : calloc(1, sizeof(*r));
        struct aip_op *op = &retention->op;
        if (!r) {
                aip_error *error = NULL;
                if (store->retention)
                        aip_error_set(&error, AIP_ESTATE, "retention is running already");
                else
                        aip_error_set_nomem(&error);
                aip_op_finish(store->loop, op, error);
                return;
        }
        /* Its steps search whole partitions, and wait for locks as their functions say. */
        pg_connection_init(&r->connection, store, "retention",
                           "SET statement_timeout = 0; SET TimeZone = 'UTC'; SET jit = off; "
                           "SET client_min_messages = warning",
                           &ops);
        aip_buf_init(&r->sql, 1u << 20);
        r->caller = retention;
        r->deadline.fire = on_deadline;
        r->release.run = run_release;
        store->retention = r;
        retention->ret_entries = NULL;
        retention->ret_n = 0;
        retention->ret_is_elsewhere = retention->ret_has_more = 0;
        int64_t wait_ms = op->deadline_ms ? op->deadline_ms - aip_now_ms(store->loop) : RETAIN_MS;
        aip_timer_set(store->loop, &r->deadline, AIP_MAX(wait_ms, INT64_C(0)));
        pg_connection_start(&r->connection);
}

void pg_retain_stop(struct pg_store *store)
{
        struct pg_retention *r = store->retention;
        if (!r)
                return;
        if (r->caller) {
                aip_error *error = NULL;
                aip_error_set(&error, AIP_ECANCELLED, "the store was closed");
                aip_op_finish(store->loop, &AIP_TAKE(r->caller)->op, error);
        }
        retention_free(r);
}
