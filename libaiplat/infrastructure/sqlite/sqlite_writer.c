/*
 * The write thread. One batch is one transaction: what gathered while the previous one was being
 * committed, up to AIP_STORE_BATCH_MAX, so that a lone request pays one fsync and many share one.
 * Each request runs in a savepoint: one that fails takes only itself back. Started by
 * sqlite_store.c. It must never take a request out of the queue before it holds the write lock:
 * those that wait behind another process stay under the deadlines that the loop watches.
 *
 *     open ──► wait ──► begin ──► look what others changed ──► run each ──► commit ──► answer
 *               ▲         │ locked                                                       │
 *               └─────────┴──────────────────────────────────────────────────────────────┘
 *
 * It is also this connection that notices other processes' changes: its data_version moves for
 * every commit but its own, which no other connection could tell.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"
#include <time.h>

#define POLL_MS       200   /* how often to look for changes by others while somebody watches */
#define REOPEN_MS     100   /* between attempts to open */
#define RELOCK_MS     5     /* between attempts to lock, each of SQLITE_STORE_BUSY_MS */
#define OUTSIDERS_MAX 10000 /* rows of others' outbox looked at; beyond: "look at everything" */

struct writer {
        struct sqlite_store *store;
        struct sqlite_db db;
        struct sqlite_request *batch[AIP_STORE_BATCH_MAX];
        size_t n;
        int failed_rc;    /* SQLite's word for what spoilt the last transaction */
        int has_baseline; /* the three below are what was seen last */
        int64_t data_version, revision, last_outbox_id;
};

static int64_t wall_clock_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* What watchers must know of, as of now. Tables may not be there yet: then nothing is seen. */
static void read_marks(struct sqlite_db *db, int64_t *ret_revision, int64_t *ret_last_outbox_id)
{
        *ret_revision = *ret_last_outbox_id = 0;
        if (aip_sqlite_read_int(db, SQL_REVISION, ret_revision, NULL) < 0)
                return;
        aip_sqlite_read_int(db, SQL_LAST_OUTBOX_ID, ret_last_outbox_id, NULL);
}

/* Note the outbox rows that others wrote after `last_seen`; how many of them are still there. */
static int64_t note_outsiders(struct sqlite_db *db, int64_t last_seen)
{
        struct aip_transition t;
        sqlite3_stmt *s = NULL;
        int64_t n = 0;

        if (aip_sqlite_prepare(db, SQL_OUTBOX_SINCE, &s, NULL) < 0)
                return 0;
        sqlite3_bind_int64(s, 1, last_seen);
        for (; aip_sqlite_step(db, s, NULL) > 0; n++)
                if (aip_sqlite_outbox_read(s, &t, NULL) >= 0)
                        aip_hints_note(&db->hints, &t);
        sqlite3_reset(s);
        return n;
}

/* Outbox ids are given without gaps, in the order of commits. So the rows after the last one seen
 * tell exactly what others did, unless some were published and forgotten already: then watchers
 * must look for themselves. */
static void notice_others(struct writer *w)
{
        struct sqlite_db *db = &w->db;
        int64_t version = 0, revision, last_outbox_id, n_new;

        if (aip_sqlite_read_int(db, SQL_DATA_VERSION, &version, NULL) <= 0 ||
            (w->has_baseline && version == w->data_version))
                return;
        read_marks(db, &revision, &last_outbox_id);
        n_new = last_outbox_id - w->last_outbox_id;
        if (w->has_baseline && revision != w->revision)
                db->hints.is_catalog_changed = 1;
        if (w->has_baseline && n_new > 0 &&
            (n_new > OUTSIDERS_MAX || note_outsiders(db, w->last_outbox_id) != n_new))
                db->hints.must_look = 1;
        w->has_baseline = 1;
        w->data_version = version;
        w->revision = revision;
        w->last_outbox_id = last_outbox_id;
}

/* Take back what a failed request wrote; its own error stays the one that is told. */
static int undo_one(struct sqlite_db *db, aip_error **err)
{
        int r;

        if (sqlite3_get_autocommit(db->handle))
                return aip_error_set(err, AIP_EUNAVAILABLE,
                                     "database %s: the transaction was rolled back", db->path);
        r = aip_sqlite_run(db, SQL_ROLLBACK_TO_SAVEPOINT, err);
        return r < 0 ? r : aip_sqlite_run(db, SQL_RELEASE_SAVEPOINT, err);
}

/* Run one request. Fails only when the whole transaction is spoilt. */
static int run_one(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        int r = aip_sqlite_run(db, SQL_SAVEPOINT, err);

        if (r < 0)
                return r;
        if (rq->call->run(db, rq, &rq->err) >= 0)
                return aip_sqlite_run(db, SQL_RELEASE_SAVEPOINT, err);
        aip_sqlite_answer_discard(&rq->answer);
        r = undo_one(db, err);
        if (r < 0 && err && sqlite3_get_autocommit(db->handle)) {
                /* what spoilt it is what the request ran into */
                aip_error_free(*err);
                *err = AIP_TAKE(rq->err);
                r = aip_error_code(*err);
        }
        return r;
}

static void rollback(struct sqlite_db *db)
{
        if (!sqlite3_get_autocommit(db->handle))
                aip_sqlite_run(db, SQL_ROLLBACK, NULL);
        aip_hints_deinit(&db->hints);
}

/* Run requests in the transaction that has begun, and commit it. */
static int commit_all(struct writer *w, struct sqlite_request **batch, size_t n, aip_error **err)
{
        struct sqlite_db *db = &w->db;
        int64_t revision, last_outbox_id;
        int r = 0;

        db->now_us = wall_clock_us();
        notice_others(w);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = run_one(db, batch[i], err);
        if (r >= 0) {
                read_marks(db, &revision, &last_outbox_id);
                r = aip_sqlite_run(db, SQL_COMMIT, err);
        }
        if (r < 0) {
                w->failed_rc = sqlite3_errcode(db->handle);
                rollback(db);
                w->has_baseline = 0;
                db->hints.must_look = 1; /* what others did was noted in the hints that are gone */
                return r;
        }
        w->revision = revision;
        w->last_outbox_id = last_outbox_id;
        return 0;
}

static void forget_outcomes(struct sqlite_request **batch, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                aip_sqlite_answer_discard(&batch[i]->answer);
                aip_error_free(AIP_TAKE(batch[i]->err));
        }
}

/* The transaction failed as a whole. One request may be to blame (too much for the disk or for the
 * memory that is left): each half gets a transaction of its own. Otherwise all have failed. */
static void divide_or_fail(struct writer *w, struct sqlite_request **batch, size_t n,
                           aip_error *problem);

static void run_divided(struct writer *w, struct sqlite_request **batch, size_t n)
{
        aip_error *err = NULL;
        int r = aip_sqlite_run(&w->db, SQL_BEGIN_WRITE, &err);

        if (r < 0)
                w->failed_rc = sqlite3_errcode(w->db.handle);
        else
                r = commit_all(w, batch, n, &err);
        if (r < 0)
                divide_or_fail(w, batch, n, err);
}

static void divide_or_fail(struct writer *w, struct sqlite_request **batch, size_t n,
                           aip_error *problem)
{
        int rc = w->failed_rc & 0xff;

        forget_outcomes(batch, n);
        if (n > 1 && (rc == SQLITE_FULL || rc == SQLITE_NOMEM || rc == SQLITE_TOOBIG)) {
                run_divided(w, batch, n / 2);
                run_divided(w, batch + n / 2, n - n / 2);
        } else {
                for (size_t i = 0; i < n; i++)
                        batch[i]->err = aip_error_copy(problem);
        }
        aip_error_free(problem);
}

static void take_batch(struct writer *w)
{
        struct sqlite_store *store = w->store;

        w->n = 0;
        pthread_mutex_lock(&store->lock);
        while (!store->is_closing && w->n < AIP_STORE_BATCH_MAX && store->writes.first)
                w->batch[w->n++] = aip_sqlite_queue_pop(&store->writes);
        pthread_mutex_unlock(&store->lock);
}

/* Remember (NULL: forget) why requests wait; the loop tells it to those whose time is over. */
static void set_problem(struct sqlite_store *store, aip_error *problem)
{
        aip_error *old;

        pthread_mutex_lock(&store->lock);
        old = store->problem;
        store->problem = problem;
        pthread_mutex_unlock(&store->lock);
        aip_error_free(old);
}

/* Nothing can be done with the database now. When it may pass (a lock), requests wait for their
 * deadlines; otherwise they learn it at once. `problem` is consumed. */
static void give_up_for_now(struct writer *w, aip_error *problem)
{
        struct sqlite_store *store = w->store;

        if (!aip_sqlite_is_locked(&w->db)) {
                aip_sqlite_queue_fail(store, &store->writes, problem);
                aip_sqlite_queue_fail(store, &store->reads, problem);
        }
        set_problem(store, problem);
}

static void run_batch(struct writer *w)
{
        aip_error *err = NULL;
        int r = aip_sqlite_run(&w->db, SQL_BEGIN_WRITE, &err);

        if (r < 0) {
                give_up_for_now(w, err);
                return;
        }
        set_problem(w->store, NULL);
        take_batch(w);
        r = commit_all(w, w->batch, w->n, &err);
        if (r < 0)
                divide_or_fail(w, w->batch, w->n, err);
        aip_sqlite_tell(w->store, &w->db.hints);
        for (size_t i = 0; i < w->n; i++)
                aip_sqlite_request_end(w->store, w->batch[i]);
}

static int open_database(struct writer *w)
{
        struct sqlite_store *store = w->store;
        aip_error *err = NULL;

        if (aip_sqlite_open(&w->db, &err) < 0) {
                give_up_for_now(w, err);
                return 0;
        }
        set_problem(store, NULL);
        notice_others(w);
        pthread_mutex_lock(&store->lock);
        store->is_open = 1;
        pthread_cond_broadcast(&store->reads.changed);
        pthread_mutex_unlock(&store->lock);
        return 1;
}

enum task { TASK_CLOSE, TASK_WRITE, TASK_LOOK };

/* Before the database is open every request is a reason to try, whichever queue it is in. */
static int has_requests(const struct sqlite_store *store)
{
        return store->writes.first || (!store->is_open && store->reads.first);
}

static enum task wait_for_task(struct writer *w)
{
        struct sqlite_store *store = w->store;
        enum task task = TASK_LOOK;

        pthread_mutex_lock(&store->lock);
        if (!store->is_closing && !has_requests(store) && !store->must_greet)
                aip_sqlite_queue_wait(store, &store->writes, store->is_watched ? POLL_MS : -1);
        else if (!store->is_closing && store->problem)
                aip_sqlite_queue_wait(store, &store->writes, w->db.handle ? RELOCK_MS : REOPEN_MS);
        if (store->is_closing)
                task = TASK_CLOSE;
        else if (has_requests(store))
                task = TASK_WRITE;
        pthread_mutex_unlock(&store->lock);
        return task;
}

static void look_around(struct writer *w)
{
        struct sqlite_store *store = w->store;

        notice_others(w);
        pthread_mutex_lock(&store->lock);
        w->db.hints.must_look |= store->must_greet;
        store->must_greet = 0;
        pthread_mutex_unlock(&store->lock);
        aip_sqlite_tell(store, &w->db.hints);
}

void *aip_sqlite_writer_main(void *arg)
{
        struct sqlite_store *store = arg;
        struct writer *w = aip_calloc(1, sizeof(*w));
        enum task task;

        if (!w) {
                aip_sqlite_thread_ends(store);
                return NULL;
        }
        w->store = store;
        w->db.path = store->path;
        w->db.log = store->log;
        while ((task = wait_for_task(w)) != TASK_CLOSE) {
                if (!w->db.handle && !open_database(w))
                        continue;
                if (task == TASK_WRITE)
                        run_batch(w);
                look_around(w);
        }
        aip_sqlite_close(&w->db);
        aip_free(w);
        aip_sqlite_thread_ends(store);
        return NULL;
}
