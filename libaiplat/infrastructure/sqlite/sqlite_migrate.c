/*
 * Applying the embedded migrations, and the ping. Run by the threads inside a transaction: the
 * write lock that it holds keeps other processes from migrating at the same time, and what was
 * applied halfway is rolled back with everything else.
 */
#include "sqlite/sqlite_store.h"

#include "migrations.h"

static int exec(struct sqlite_db *db, const char *sql, aip_error **err)
{
        int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

        return rc == SQLITE_OK ? 0 : aip_sqlite_error(db, rc, err);
}

/* Prepared anew each time: the table may not be there when the store begins. */
static int prepare_once(struct sqlite_db *db, const char *sql, int64_t number,
                        sqlite3_stmt **ret_statement, aip_error **err)
{
        int rc = sqlite3_prepare_v2(db->handle, sql, -1, ret_statement, NULL);

        if (rc != SQLITE_OK)
                return aip_sqlite_error(db, rc, err);
        sqlite3_bind_int64(*ret_statement, 1, number);
        return 0;
}

/* 1 when the migration was applied before. */
static int is_applied(struct sqlite_db *db, int version, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = prepare_once(db, "SELECT 1 FROM schema_migrations WHERE version = ?1", version, &s,
                             err);

        if (r >= 0)
                r = aip_sqlite_step(db, s, err);
        sqlite3_finalize(s);
        return r;
}

static int remember(struct sqlite_db *db, const struct aip_migration *migration, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = prepare_once(db,
                             "INSERT INTO schema_migrations (version, name, applied_at) "
                             "VALUES (?1, ?2, ?3)",
                             migration->version, &s, err);

        if (r >= 0) {
                aip_sqlite_bind_text(s, 2, aip_str_of(migration->name));
                sqlite3_bind_int64(s, 3, db->now_us);
                r = aip_sqlite_step(db, s, err);
        }
        sqlite3_finalize(s);
        return r;
}

static int apply(struct sqlite_db *db, const struct aip_migration *migration, aip_error **err)
{
        int r = is_applied(db, migration->version, err);

        if (r != 0)
                return r < 0 ? r : 0;
        r = exec(db, migration->sql, err);
        if (r >= 0)
                r = remember(db, migration, err);
        db->hints.is_catalog_changed = 1;
        if (r >= 0)
                aip_log_write(db->log, AIP_LOG_INFO, "sqlite", "%s: applied migration %d, %s",
                              db->path, migration->version, migration->name);
        return r;
}

static int run_migrate(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        int r = exec(db,
                     "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, "
                     "name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
                     err);

        (void)rq;
        for (size_t i = 0; r >= 0 && i < aip_migrations_sqlite_n; i++)
                r = apply(db, &aip_migrations_sqlite[i], err);
        return r;
}

const struct sqlite_call aip_sqlite_migrate = {1, run_migrate, NULL};

static int run_ping(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        int64_t n_tables = 0;
        int r = aip_sqlite_read_int(db, SQL_PING, &n_tables, err);

        (void)rq;
        return r < 0 ? r : 0;
}

const struct sqlite_call aip_sqlite_ping = {0, run_ping, NULL};
