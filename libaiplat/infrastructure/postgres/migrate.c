/*
 * Migrations: on a connection of their own, under an advisory lock, each in one transaction. Called
 * through aip_store.migrate. A connection that is lost midway is made anew and everything looked at
 * again; the server has undone the unfinished migration by then.
 */
#include "migrations.h"
#include "pg.h"

#define MIGRATE_MS INT64_C(60000) /* when the caller sets no deadline; others may be migrating */

enum step { LOCK, LOOK, APPLY };

struct pg_migration {
        struct pg_connection connection;
        struct pg_migration *next;
        struct aip_op *op; /* NULL: finished */
        struct aip_timer deadline;
        struct aip_task release;
        enum step step;
        int version; /* of the schema, as far as known */
        struct aip_buf sql;
};

static struct pg_migration *migration_of(struct pg_connection *connection)
{
        return AIP_CONTAINER_OF(connection, struct pg_migration, connection);
}

static void migration_free(struct pg_migration *migration)
{
        struct pg_store *store = migration->connection.store;
        struct pg_migration **link = &store->migrations;
        while (*link != migration)
                link = &(*link)->next;
        *link = migration->next;
        aip_timer_clear(store->loop, &migration->deadline);
        aip_undefer(store->loop, &migration->release);
        pg_connection_stop(&migration->connection);
        aip_buf_deinit(&migration->sql);
        free(migration);
}

static void run_release(struct aip_task *task)
{
        migration_free(AIP_CONTAINER_OF(task, struct pg_migration, release));
}

/* `err` is consumed always. The object lives on until the connection's callers have returned. */
static void finish(struct pg_migration *migration, aip_error *err)
{
        struct pg_store *store = migration->connection.store;
        aip_op_finish(store->loop, AIP_TAKE(migration->op), err);
        pg_connection_stop(&migration->connection);
        aip_defer(store->loop, &migration->release);
}

static void fail(struct pg_migration *migration, const PGresult *failure)
{
        aip_error *error = NULL, *cause = pg_fault_error(failure);
        int code = pg_fault_of(failure) == PG_FAULT_SERVER ? AIP_EUNAVAILABLE : AIP_EINTERNAL;
        char line[256];
        pg_one_line(PQresultErrorField(failure, PG_DIAG_MESSAGE_PRIMARY), line, sizeof(line));
        aip_error_wrap(&error, cause, code, "migration %d (%s): %s", migration->version + 1,
                       migration->step == APPLY ? aip_migrations_postgres[migration->version].name
                                                : "looking",
                       line);
        finish(migration, error);
}

static int compose(struct pg_migration *migration)
{
        const struct aip_migration *next = &aip_migrations_postgres[migration->version];
        struct aip_buf *sql = &migration->sql;
        aip_buf_clear(sql);
        switch (migration->step) {
        case LOCK:
                return aip_buf_append_cstr(sql, "SELECT pg_advisory_lock(7021958613417)");
        case LOOK:
                return aip_buf_append_cstr(
                        sql, "CREATE TABLE IF NOT EXISTS schema_migrations ("
                             "version integer PRIMARY KEY, name text NOT NULL, "
                             "applied_at timestamptz NOT NULL DEFAULT now()); "
                             "SELECT coalesce(max(version), 0) FROM schema_migrations");
        case APPLY:
                break;
        }
        if (aip_buf_append_cstr(sql, "BEGIN;\n") < 0 || aip_buf_append_cstr(sql, next->sql) < 0)
                return AIP_ENOMEM;
        return aip_buf_printf(sql,
                              "\n;INSERT INTO schema_migrations (version, name) VALUES (%d, '%s');"
                              "COMMIT",
                              next->version, next->name);
}

static void send_step(struct pg_migration *migration)
{
        if (compose(migration) < 0) {
                aip_error *error = NULL;
                aip_error_set_nomem(&error);
                finish(migration, error);
                return;
        }
        if (!PQsendQuery(migration->connection.pg, migration->sql.p))
                pg_connection_drop(&migration->connection, NULL);
        else
                pg_connection_flush(&migration->connection);
}

static void warn_if_newer(const struct pg_migration *migration)
{
        if (migration->step == LOOK && migration->version > (int)aip_migrations_postgres_n)
                aip_log_write(migration->connection.store->log, AIP_LOG_WARNING, "postgres",
                              "the database's schema (%d) is newer than this program's (%zu)",
                              migration->version, aip_migrations_postgres_n);
}

static void next_step(struct pg_migration *migration)
{
        warn_if_newer(migration);
        if (migration->step == APPLY)
                migration->version++;
        else
                migration->step++;
        if (migration->step == APPLY && migration->version >= (int)aip_migrations_postgres_n)
                finish(migration, NULL);
        else
                send_step(migration);
}

static void on_ready(struct pg_connection *connection)
{
        struct pg_migration *migration = migration_of(connection);
        migration->step = LOCK;
        migration->version = 0;
        send_step(migration);
}

/* -1 when the migration is over, or the connection is. */
static int take_result(struct pg_migration *migration, const PGresult *result)
{
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
                if (migration->step == LOOK && status == PGRES_TUPLES_OK)
                        migration->version = atoi(PQgetvalue(result, 0, 0));
                return 0;
        }
        enum pg_fault fault = pg_fault_of(result);
        if (fault == PG_FAULT_CONNECTION || fault == PG_FAULT_REPEAT)
                pg_connection_drop(&migration->connection, PQresultErrorMessage(result));
        else
                fail(migration, result);
        return -1;
}

static void on_input(struct pg_connection *connection)
{
        struct pg_migration *migration = migration_of(connection);
        while (!PQisBusy(connection->pg)) {
                PGresult *result = PQgetResult(connection->pg);
                if (!result) {
                        next_step(migration);
                        return;
                }
                int r = take_result(migration, result);
                PQclear(result);
                if (r < 0)
                        return;
        }
}

static void on_lost(struct pg_connection *connection)
{
        (void)connection; /* it connects anew; then on_ready */
}

static void on_deadline(struct aip_timer *timer)
{
        struct pg_migration *migration = AIP_CONTAINER_OF(timer, struct pg_migration, deadline);
        aip_error *error = NULL;
        if (!migration->op)
                return;
        if (migration->connection.state != PG_READY) {
                finish(migration, pg_connection_error(&migration->connection));
                return;
        }
        aip_error_set(&error, AIP_ETIMEOUT,
                      migration->step == LOCK
                              ? "another process is migrating the database, for too long"
                              : "the migration took too long; it was undone");
        finish(migration, error);
}

void pg_migrate(struct pg_store *store, struct aip_op *op)
{
        static const struct pg_connection_ops ops = {
                .on_ready = on_ready, .on_input = on_input, .on_lost = on_lost};
        struct pg_migration *migration = calloc(1, sizeof(*migration));
        if (!migration) {
                aip_error *error = NULL;
                aip_error_set_nomem(&error);
                aip_op_finish(store->loop, op, error);
                return;
        }
        pg_connection_init(&migration->connection, store, "migrate",
                           "SET statement_timeout = 0; SET lock_timeout = 0; "
                           "SET client_min_messages = warning",
                           &ops);
        aip_buf_init(&migration->sql, 16u << 20);
        migration->op = op;
        migration->deadline.fire = on_deadline;
        migration->release.run = run_release;
        migration->next = store->migrations;
        store->migrations = migration;
        int64_t wait_ms = op->deadline_ms ? op->deadline_ms - aip_now_ms(store->loop) : MIGRATE_MS;
        aip_timer_set(store->loop, &migration->deadline, AIP_MAX(wait_ms, INT64_C(0)));
        pg_connection_start(&migration->connection);
}

void pg_migrate_stop_all(struct pg_store *store)
{
        while (store->migrations) {
                struct pg_migration *migration = store->migrations;
                if (migration->op) {
                        aip_error *error = NULL;
                        aip_error_set(&error, AIP_ECANCELLED, "the store was closed");
                        aip_op_finish(store->loop, AIP_TAKE(migration->op), error);
                }
                migration_free(migration);
        }
}
