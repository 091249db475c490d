/*
 * One connection to an SQLite file: opening it as durably as SQLite can, the texts of all
 * statements, binding and reading values, and the translation of SQLite's errors. Called by the
 * store's two threads, each with a connection of its own. Must never let an SQLite code out of this
 * folder.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"

/* In the order in which sqlite_rows.c reads them. */
#define IF_HELD_BY_RIGHT                                                                           \
        "WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.id = ?4 AND j.version = ?5 "                   \
        "AND j.status = 'PROCESSING') "
#define JOB_COLUMNS                                                                                \
        "id, status, version, attempt, max_attempts, retry_delay_ms, created_at, updated_at, "     \
        "run_at, started_at, finished_at, config_name, template_name, graph_name, trace_id, "      \
        "error_code, provider, model_name, input_tokens, output_tokens, error_message, "           \
        "variables, metadata, prompt, result, is_streamed, input, "          \
        "questions, answers, thread_id, checkpoint "
#define OUTBOX_COLUMNS                                                                             \
        "id, job_id, version, kind, from_status, to_status, attempt, is_runnable, error_code, at "
#define CONFIG_COLUMNS                                                                             \
        "id, name, provider, model_name, api_key_env, temperature, max_tokens, is_active, "        \
        "timeout_seconds, base_url, created_at, updated_at "
#define GRAPH_COLUMNS    "id, name, document, version, created_at, updated_at "
#define TEMPLATE_COLUMNS "id, name, content, user_content, description, created_at, updated_at "

#define IS_LIVE "IN ('QUEUED', 'PROCESSING', 'INTERRUPTED')"
#define IS_WAITING "status = 'QUEUED' AND run_at = 253402300799999999"
/* ?1 `which` threads, with their active job, how many wait, their last job and their last checkpoint. */
#define THREADS(which)                                                                             \
        "SELECT t.id, t.created_at, t.updated_at, a.id, a.status, (SELECT count(*) FROM jobs "     \
        "WHERE thread_id = t.id AND " IS_WAITING "), "                       \
        "coalesce((SELECT n FROM checkpoints WHERE owner = t.id AND ns = '' "                      \
        "ORDER BY n DESC LIMIT 1), 0), l.id, l.status "                                            \
        "FROM (SELECT * FROM threads WHERE " which " "                                             \
        "ORDER BY created_at DESC, id DESC LIMIT ?1) AS t "                                        \
        "LEFT JOIN jobs AS a ON a.id = (SELECT id FROM jobs WHERE thread_id = t.id "               \
        "AND status " IS_LIVE " AND NOT (" IS_WAITING ") ORDER BY id LIMIT 1) "                    \
        "LEFT JOIN jobs AS l ON l.id = (SELECT id FROM jobs WHERE thread_id = t.id "               \
        "ORDER BY id DESC LIMIT 1) ORDER BY t.created_at DESC, t.id DESC"

static const char *const texts[SQL_COUNT] = {
        [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
        [SQL_BEGIN_READ] = "BEGIN",
        [SQL_COMMIT] = "COMMIT",
        [SQL_ROLLBACK] = "ROLLBACK",
        [SQL_SAVEPOINT] = "SAVEPOINT op",
        [SQL_RELEASE_SAVEPOINT] = "RELEASE op",
        [SQL_ROLLBACK_TO_SAVEPOINT] = "ROLLBACK TO op",
        [SQL_DATA_VERSION] = "PRAGMA data_version",
        [SQL_PING] = "SELECT count(*) FROM sqlite_schema",
        [SQL_LAST_OUTBOX_ID] = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'",
        [SQL_OUTBOX_SINCE] = "SELECT " OUTBOX_COLUMNS "FROM outbox WHERE id > ?1",
        [SQL_KEY_FIND] = "SELECT k.job_id, k.fingerprint, j.status FROM idempotency_keys k "
                         "JOIN jobs j ON j.id = k.job_id WHERE k.key = ?1",
        [SQL_KEY_INSERT] = "INSERT INTO idempotency_keys (key, job_id, fingerprint, created_at) "
                           "VALUES (?1, ?2, ?3, ?4)",
        [SQL_JOB_INSERT] = "INSERT INTO jobs (" JOB_COLUMNS ", is_delayed) VALUES (?1, ?2, ?3, ?4, "
                           "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, "
                           "?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, NULL, NULL, ?29, ?30, ?28)",
        [SQL_THREAD_USE] = "INSERT INTO threads (id, created_at, updated_at) VALUES (?1, ?2, ?2) "
                           "ON CONFLICT (id) DO UPDATE SET updated_at = ?2",
        [SQL_THREAD_IS_BUSY] = "SELECT 1 FROM jobs WHERE thread_id = ?1 "
                               "AND status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED') LIMIT 1",
        /* Last first, so that none is given a turn. */
        [SQL_THREAD_LIVE] = "SELECT " JOB_COLUMNS "FROM jobs WHERE thread_id = ?1 AND status " IS_LIVE
                            " ORDER BY id DESC",
        [SQL_THREAD_FIRST_LIVE] =
                "SELECT coalesce(min(n), 0) FROM checkpoints WHERE owner = ?1 AND ns = '' AND job_id IN "
                "(SELECT id FROM jobs WHERE thread_id = ?1 AND status " IS_LIVE ")",
        [SQL_JOB_STATUS] = "SELECT status FROM jobs WHERE id = ?1",
        [SQL_JOB_FETCH] = "SELECT " JOB_COLUMNS ", session FROM jobs WHERE id = ?1",
        /* ?1 is always there, so that the primary key is walked from it; ?2 is a list like
         * ",QUEUED,FAILED,"; of the others, NULL does not filter. */
        [SQL_JOB_LIST] = "SELECT " JOB_COLUMNS "FROM jobs WHERE id < ?1 "
                         "AND (?2 IS NULL OR instr(?2, ',' || status || ',') > 0) "
                         "AND (?3 IS NULL OR config_name = ?3) "
                         "AND (?4 IS NULL OR template_name = ?4) "
                         "AND (?5 IS NULL OR created_at >= ?5) "
                         "AND (?6 IS NULL OR created_at < ?6) "
                         "AND (?8 IS NULL OR thread_id = ?8) ORDER BY id DESC LIMIT ?7",
        /* The fence: the row must still be what the job was moved from. */
        [SQL_JOB_SAVE] = "UPDATE jobs SET status = ?3, version = ?4, attempt = ?5, "
                         "updated_at = ?6, run_at = ?7, started_at = ?8, finished_at = ?9, "
                         "error_code = ?10, provider = ?11, model_name = ?12, input_tokens = ?13, "
                         "output_tokens = ?14, error_message = ?15, result = ?16, "
                         "is_delayed = ?17, session = ?18, questions = ?19, answers = ?20 "
                         "WHERE id = ?1 AND version = ?4 - 1 AND status = ?2",
        [SQL_JOB_FETCH_QUEUED] = "SELECT " JOB_COLUMNS "FROM jobs "
                                 "WHERE id = ?1 AND status = 'QUEUED' AND run_at <= ?2",
        [SQL_JOBS_DUE] = "SELECT " JOB_COLUMNS "FROM jobs WHERE status = 'QUEUED' "
                         "AND config_name = ?3 AND run_at <= ?1 ORDER BY run_at LIMIT ?2",
        /* The next configuration with jobs in the queue, step by step through the index. */
        [SQL_JOBS_NEXT_CONFIG] = "SELECT config_name FROM jobs WHERE status = 'QUEUED' "
                                 "AND config_name > ?1 ORDER BY config_name LIMIT 1",
        [SQL_JOBS_OF_SESSION] = "SELECT " JOB_COLUMNS "FROM jobs "
                                "WHERE status = 'PROCESSING' AND session = ?1",
        [SQL_JOBS_OF_LOST_SESSIONS] = "SELECT " JOB_COLUMNS "FROM jobs WHERE status = 'PROCESSING' "
                                      "AND session IN (SELECT id FROM worker_sessions "
                                      "WHERE state = 'lost') LIMIT ?1",
        [SQL_JOBS_DELAYED_DUE] = "SELECT id, version, attempt FROM jobs WHERE status = 'QUEUED' "
                                 "AND is_delayed = 1 AND run_at <= ?1 ORDER BY run_at LIMIT ?2",
        [SQL_JOB_PROMOTE] = "UPDATE jobs SET is_delayed = 0 WHERE id = ?1",
        [SQL_JOBS_DELAYED_NEXT] = "SELECT min(run_at) FROM jobs "
                                  "WHERE status = 'QUEUED' AND is_delayed = 1",
        [SQL_FENCES_OF_SESSION] = "SELECT id, version FROM jobs "
                                  "WHERE status = 'PROCESSING' AND session = ?1",
        [SQL_SESSION_STATE] = "SELECT state FROM worker_sessions WHERE id = ?1",
        [SQL_SESSION_RENEW] = "INSERT INTO worker_sessions (id, lease_until, started_at) "
                              "VALUES (?1, ?2, ?3) "
                              "ON CONFLICT (id) DO UPDATE SET lease_until = ?2",
        [SQL_SESSION_KEEP] = "UPDATE worker_sessions SET lease_until = ?2 "
                             "WHERE id = ?1 AND state = 'active'",
        [SQL_SESSION_LEAVE] = "UPDATE worker_sessions SET state = 'lost', lease_until = ?2 "
                              "WHERE id = ?1 AND state = 'active'",
        [SQL_SESSIONS_EXPIRE] = "UPDATE worker_sessions SET state = 'lost' "
                                "WHERE state = 'active' AND lease_until <= ?1",
        [SQL_SESSIONS_PRUNE] = "DELETE FROM worker_sessions AS s "
                               "WHERE s.state = 'lost' AND s.lease_until < ?1 "
                               "AND NOT EXISTS (SELECT 1 FROM jobs "
                               "WHERE status = 'PROCESSING' AND session = s.id)",
        [SQL_OUTBOX_INSERT] = "INSERT INTO outbox (job_id, version, kind, from_status, to_status, "
                              "attempt, is_runnable, error_code, at, touched_at) "
                              "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        [SQL_OUTBOX_STALE] = "SELECT id, job_id, version, kind, from_status, to_status, attempt, "
                             "is_runnable AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = job_id "
                             "AND j.status = 'QUEUED'), error_code, at "
                             "FROM outbox WHERE touched_at <= ?1 "
                             "ORDER BY touched_at, id LIMIT ?2",
        [SQL_OUTBOX_TOUCH] = "UPDATE outbox SET touched_at = ?2 WHERE id = ?1",
        [SQL_OUTBOX_DELETE] = "DELETE FROM outbox WHERE id = ?1",
        /* ?1: before then; ?2: at most; ?3: the lowest id of that time */
        [SQL_JOBS_OLD] = "SELECT count(*), ?2 FROM jobs WHERE id < ?3 AND finished_at < ?1",
        [SQL_JOBS_EXPIRE] = "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE id < ?3 "
                            "AND finished_at < ?1 ORDER BY id LIMIT ?2)",
        [SQL_KEYS_OLD] = "SELECT count(*), ?2 FROM idempotency_keys WHERE created_at < ?1",
        [SQL_KEYS_EXPIRE] = "DELETE FROM idempotency_keys WHERE key IN (SELECT key FROM "
                            "idempotency_keys WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
        /* ?4 and ?5: the fence; what a later claim has written stays. */
        [SQL_CHECKPOINT_SAVE] =
                "INSERT INTO checkpoints (owner, ns, n, job_id, fence, base, parent, step, source, "
                "place, changes, created_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
                "?12 " IF_HELD_BY_RIGHT "ON CONFLICT (owner, ns, n) DO UPDATE SET job_id = ?4, "
                "fence = ?5, base = ?6, parent = ?7, step = ?8, source = ?9, place = ?10, "
                "changes = ?11, created_at = ?12 WHERE (job_id, fence) <= (?4, ?5)",
        [SQL_CHECKPOINT_SAVE_TASK] =
                "INSERT INTO checkpoint_tasks (owner, ns, n, job_id, fence, place, value) "
                "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 " IF_HELD_BY_RIGHT
                "ON CONFLICT (owner, ns, n, place) DO UPDATE SET job_id = ?4, fence = ?5, "
                "value = ?7 WHERE (job_id, fence) <= (?4, ?5)",
        /* The last up to ?3, and all from its base on. */
        [SQL_CHECKPOINT_LOAD] =
                "SELECT c.owner, c.ns, c.n, c.parent, c.base, c.job_id, c.step, c.source, "
                "c.created_at, c.place, c.changes FROM (SELECT n, base FROM checkpoints "
                "WHERE owner = ?1 AND ns = ?2 AND n <= ?3 ORDER BY n DESC LIMIT 1) AS top "
                "CROSS JOIN checkpoints AS c WHERE c.owner = ?1 AND c.ns = ?2 "
                "AND c.n BETWEEN top.base AND top.n ORDER BY c.n",
        [SQL_CHECKPOINT_TASKS] =
                "SELECT t.place, t.value FROM checkpoints AS c CROSS JOIN checkpoint_tasks AS t "
                "WHERE c.owner = ?1 AND c.ns = ?2 AND c.n = ?3 AND t.owner = ?1 AND t.ns = ?2 "
                "AND t.n = ?3 AND (t.job_id, t.fence) >= (c.job_id, c.fence) ORDER BY t.place",
        [SQL_CHECKPOINT_LIST] =
                "SELECT owner, ns, n, parent, base, job_id, step, source, created_at, place, '' "
                "FROM checkpoints WHERE owner = ?1 AND ns = ?2 AND n < ?3 ORDER BY n DESC LIMIT ?4",
        [SQL_CHECKPOINT_ADD] =
                "INSERT INTO checkpoints (owner, ns, n, parent, base, job_id, fence, step, source, "
                "place, changes, created_at) VALUES (?1, '', ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, "
                "?10) ON CONFLICT DO NOTHING",
        [SQL_CHECKPOINT_IS_SAME] =
                "SELECT 1 FROM checkpoints WHERE owner = ?1 AND ns = '' AND n = ?2 AND fence = 0 "
                "AND place = ?8 AND changes = ?9",
        [SQL_THREAD_LIST] = THREADS("?2 IS NULL OR (created_at, id) < (?2, ?3)"),
        [SQL_THREAD_FETCH] = THREADS("id = ?2"),
        /* Of jobs that are gone. ?2, ?3 as above. */
        [SQL_CHECKPOINTS_EXPIRE] =
                "DELETE FROM checkpoints WHERE (owner, ns, n) IN (SELECT owner, ns, n "
                "FROM checkpoints WHERE owner < ?3 AND owner = job_id AND ?1 IS NOT NULL "
                "AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = owner) LIMIT ?2)",
        [SQL_CHECKPOINT_TASKS_EXPIRE] =
                "DELETE FROM checkpoint_tasks WHERE (owner, ns, n, place) IN (SELECT owner, ns, n, "
                "place FROM checkpoint_tasks WHERE owner < ?3 AND owner = job_id "
                "AND ?1 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = owner) LIMIT ?2)",
        /* Threads that were not used since ?1 and whose jobs are gone, then what was theirs. ?2 as above. */
        [SQL_THREADS_EXPIRE] =
                "DELETE FROM threads WHERE id IN (SELECT id FROM threads AS t WHERE t.updated_at < ?1 "
                "AND NOT EXISTS (SELECT 1 FROM jobs WHERE thread_id = t.id) LIMIT ?2)",
        [SQL_REVISION] = "SELECT revision FROM catalog_revision",
        [SQL_CONFIGS] = "SELECT " CONFIG_COLUMNS "FROM llm_configs ORDER BY name",
        [SQL_CONFIG_FETCH] = "SELECT " CONFIG_COLUMNS "FROM llm_configs WHERE name = ?1",
        [SQL_CONFIG_INSERT] = "INSERT INTO llm_configs (name, provider, model_name, api_key_env, "
                              "temperature, max_tokens, is_active, timeout_seconds, base_url) "
                              "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        [SQL_CONFIG_UPDATE] = "UPDATE llm_configs SET provider = ?2, model_name = ?3, "
                              "api_key_env = ?4, temperature = ?5, max_tokens = ?6, "
                              "is_active = ?7, timeout_seconds = ?8, base_url = ?9 "
                              "WHERE name = ?1",
        [SQL_CONFIG_DELETE] = "DELETE FROM llm_configs WHERE name = ?1",
        [SQL_TEMPLATES] = "SELECT " TEMPLATE_COLUMNS "FROM prompt_templates ORDER BY name",
        [SQL_TEMPLATE_FETCH] = "SELECT " TEMPLATE_COLUMNS "FROM prompt_templates WHERE name = ?1",
        [SQL_TEMPLATE_INSERT] = "INSERT INTO prompt_templates (name, content, user_content, "
                                "description) VALUES (?1, ?2, ?3, ?4)",
        [SQL_TEMPLATE_UPDATE] = "UPDATE prompt_templates SET content = ?2, user_content = ?3, "
                                "description = ?4 WHERE name = ?1",
        [SQL_TEMPLATE_DELETE] = "DELETE FROM prompt_templates WHERE name = ?1",
        [SQL_GRAPHS] = "SELECT " GRAPH_COLUMNS "FROM graphs ORDER BY name",
        [SQL_GRAPH_FETCH] = "SELECT " GRAPH_COLUMNS "FROM graphs WHERE name = ?1",
        [SQL_GRAPH_INSERT] = "INSERT INTO graphs (name, document) VALUES (?1, ?2)",
        [SQL_GRAPH_UPDATE] = "UPDATE graphs SET document = ?2 WHERE name = ?1",
        [SQL_GRAPH_DELETE] = "DELETE FROM graphs WHERE name = ?1",
};

/* What an SQLite result means to us. The text names the file, for those who have to look after it.
 */
static const struct {
        int rc, code;
        const char *meaning;
} translations[] = {
        {SQLITE_BUSY, AIP_EUNAVAILABLE, "locked by another process"},
        {SQLITE_LOCKED, AIP_EUNAVAILABLE, "locked"},
        {SQLITE_FULL, AIP_EUNAVAILABLE, "the disk is full"},
        {SQLITE_CANTOPEN, AIP_EUNAVAILABLE, "cannot be opened"},
        {SQLITE_PERM, AIP_EUNAVAILABLE, "permission denied"},
        {SQLITE_AUTH, AIP_EUNAVAILABLE, "permission denied"},
        {SQLITE_READONLY, AIP_EUNAVAILABLE, "read-only"},
        {SQLITE_IOERR, AIP_EUNAVAILABLE, "input or output failed"},
        {SQLITE_CORRUPT, AIP_EIO, "damaged"},
        {SQLITE_NOTADB, AIP_EIO, "not an SQLite database"},
        {SQLITE_TOOBIG, AIP_ELIMIT, "a value is too large"},
        {SQLITE_CONSTRAINT, AIP_EINVAL, "a value breaks a rule of the schema"},
};

int aip_sqlite_error(struct sqlite_db *db, int rc, aip_error **err)
{
        const char *detail = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
        int code;

        db->failed_rc = rc;
        if ((rc & 0xff) == SQLITE_NOMEM)
                return aip_error_set_nomem(err);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(translations); i++) {
                if ((rc & 0xff) != translations[i].rc)
                        continue;
                code = aip_error_set(err, translations[i].code, "database %s: %s (%s)", db->path,
                                     translations[i].meaning, detail);
                if (err && code == AIP_EUNAVAILABLE)
                        aip_error_set_retryable(*err, 1, 0);
                return code;
        }
        if (strncmp(detail, "no such table", strlen("no such table")) == 0)
                return aip_error_set(err, AIP_ESTATE,
                                     "database %s: the migrations have not been applied (%s)",
                                     db->path, detail);
        return aip_error_set(err, AIP_EINTERNAL, "database %s: %s", db->path, detail);
}

int aip_sqlite_is_locked(const struct sqlite_db *db)
{
        int rc = db->failed_rc & 0xff;

        return rc == SQLITE_BUSY || rc == SQLITE_LOCKED;
}

static int read_page_count(sqlite3 *handle, int64_t *ret_n)
{
        sqlite3_stmt *s = NULL;
        int rc = sqlite3_prepare_v2(handle, "PRAGMA page_count", -1, &s, NULL);

        if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
                *ret_n = sqlite3_column_int64(s, 0);
        return rc == SQLITE_OK ? sqlite3_finalize(s) : rc;
}

/* How a file gives room back is settled with its first page. Only a new file is told: the pragma
 * writes, so on any other it would wait for whoever holds the write lock. */
static int settle_vacuum(sqlite3 *handle)
{
        int64_t n_pages = 0;
        int rc = read_page_count(handle, &n_pages);

        if (rc != SQLITE_OK || n_pages > 0)
                return rc;
        return sqlite3_exec(handle, "PRAGMA auto_vacuum = INCREMENTAL", NULL, NULL, NULL);
}

/* Of several that open a new file at once, one makes it a WAL and the others may be told that it is
 * locked, without any waiting: the caller tries again. */
static int set_pragmas(struct sqlite_db *db)
{
        int rc = settle_vacuum(db->handle);

        if (rc == SQLITE_OK)
                rc = sqlite3_exec(db->handle,
                                  "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                                  "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
                                  NULL, NULL, NULL);
        if (rc == SQLITE_OK && sqlite3_db_readonly(db->handle, "main"))
                rc = SQLITE_READONLY;
        return rc;
}

int aip_sqlite_open(struct sqlite_db *db, aip_error **err)
{
        int rc = sqlite3_open_v2(db->path, &db->handle,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                 NULL);
        int code;

        if (rc == SQLITE_OK) {
                sqlite3_busy_timeout(db->handle, SQLITE_STORE_BUSY_MS);
                rc = set_pragmas(db);
        }
        if (rc == SQLITE_OK)
                return 0;
        code = aip_sqlite_error(db, rc, err);
        aip_sqlite_close(db);
        return code;
}

void aip_sqlite_close(struct sqlite_db *db)
{
        for (int i = 0; i < SQL_COUNT; i++)
                sqlite3_finalize(AIP_TAKE(db->statements[i]));
        sqlite3_close(AIP_TAKE(db->handle));
        aip_hints_deinit(&db->hints);
}

int aip_sqlite_prepare(struct sqlite_db *db, enum sqlite_sql sql, sqlite3_stmt **ret_statement,
                       aip_error **err)
{
        sqlite3_stmt **cached = &db->statements[sql];

        if (!*cached) {
                int rc = sqlite3_prepare_v3(db->handle, texts[sql], -1, SQLITE_PREPARE_PERSISTENT,
                                            cached, NULL);
                if (rc != SQLITE_OK)
                        return aip_sqlite_error(db, rc, err);
        }
        sqlite3_reset(*cached);
        sqlite3_clear_bindings(*cached);
        *ret_statement = *cached;
        return 0;
}

int aip_sqlite_step(struct sqlite_db *db, sqlite3_stmt *statement, aip_error **err)
{
        int rc = sqlite3_step(statement), code;

        if (rc == SQLITE_ROW)
                return 1;
        code = rc == SQLITE_DONE ? 0 : aip_sqlite_error(db, rc, err);
        sqlite3_reset(statement);
        return code;
}

int aip_sqlite_run(struct sqlite_db *db, enum sqlite_sql sql, aip_error **err)
{
        sqlite3_stmt *statement = NULL;
        int r = aip_sqlite_prepare(db, sql, &statement, err);

        return r < 0 ? r : aip_sqlite_step(db, statement, err);
}

int aip_sqlite_read_int(struct sqlite_db *db, enum sqlite_sql sql, int64_t *ret_value,
                        aip_error **err)
{
        sqlite3_stmt *statement = NULL;
        int r = aip_sqlite_prepare(db, sql, &statement, err);

        if (r < 0)
                return r;
        r = aip_sqlite_step(db, statement, err);
        if (r > 0) {
                r = sqlite3_column_type(statement, 0) != SQLITE_NULL;
                *ret_value = sqlite3_column_int64(statement, 0);
                sqlite3_reset(statement);
        }
        return r;
}

/* Binding fails only when memory is out or a value is too large; a parameter that is not bound is
 * NULL, which the tables' NOT NULL refuse. Values are borrowed until the statement was reset. */
void aip_sqlite_bind_text(sqlite3_stmt *statement, int at, struct aip_str text)
{
        sqlite3_bind_text64(statement, at, text.p, text.n, SQLITE_STATIC, SQLITE_UTF8);
}

void aip_sqlite_bind_id(sqlite3_stmt *statement, int at, const struct aip_id *id)
{
        if (id)
                sqlite3_bind_blob(statement, at, id->bytes, sizeof(id->bytes), SQLITE_STATIC);
}

void aip_sqlite_bind_time(sqlite3_stmt *statement, int at, int64_t time_us)
{
        if (time_us != 0)
                sqlite3_bind_int64(statement, at, time_us);
}

struct aip_str aip_sqlite_text(sqlite3_stmt *statement, int column)
{
        const char *text = (const char *)sqlite3_column_text(statement, column);

        return aip_str_make(text, text ? (size_t)sqlite3_column_bytes(statement, column) : 0);
}

struct aip_id aip_sqlite_id(sqlite3_stmt *statement, int column)
{
        struct aip_id id = {{0}};
        const void *blob = sqlite3_column_blob(statement, column);

        if (blob && sqlite3_column_bytes(statement, column) == sizeof(id.bytes))
                memcpy(id.bytes, blob, sizeof(id.bytes));
        return id;
}
