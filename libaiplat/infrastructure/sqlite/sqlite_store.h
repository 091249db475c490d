/*
 * The SQLite store's private parts, shared by its files:
 *   sqlite_store.c      loop thread: the constructor, the ports, deadlines, watchers, closing
 *   sqlite_writer.c     write thread: batches, and what other processes have changed
 *   sqlite_reader.c     read thread
 *   sqlite_db.c         one connection: opening, statements, binding, errors
 *   sqlite_rows.c       rows of jobs and of the outbox
 *   sqlite_checkpoints.c, sqlite_jobs.c, sqlite_sessions.c, sqlite_outbox.c, sqlite_catalog.c, sqlite_migrate.c,
 *   sqlite_threads.c
 *                       the operations, run on the threads
 *
 * An operation becomes a request in one of two queues. The thread that takes it reads the
 * operation's inputs (borrowed until done), keeps the answer in the request, and only after the
 * commit puts it into the operation and finishes it. Nothing else of the loop's is touched off it.
 */
#ifndef AIPLAT_SQLITE_STORE_H
#define AIPLAT_SQLITE_STORE_H

#include "store/checkpoint_rows.h"
#include "store/fences.h"
#include "store/watchers.h"
#include <aiplat/adapters.h>
#include <pthread.h>
#include <sqlite3.h>

struct sqlite_store;
struct sqlite_request;

/* Statements that are prepared once a connection; their texts are in sqlite_db.c. */
enum sqlite_sql {
        SQL_BEGIN_WRITE,
        SQL_BEGIN_READ,
        SQL_COMMIT,
        SQL_ROLLBACK,
        SQL_SAVEPOINT,
        SQL_RELEASE_SAVEPOINT,
        SQL_ROLLBACK_TO_SAVEPOINT,
        SQL_DATA_VERSION,
        SQL_PING,
        SQL_LAST_OUTBOX_ID,
        SQL_OUTBOX_SINCE,
        SQL_KEY_FIND,
        SQL_KEY_INSERT,
        SQL_THREAD_USE,
        SQL_THREAD_IS_BUSY,
        SQL_THREAD_LIVE,
        SQL_THREAD_FIRST_LIVE,
        SQL_JOB_INSERT,
        SQL_JOB_STATUS,
        SQL_JOB_FETCH,
        SQL_JOB_LIST,
        SQL_JOB_SAVE,
        SQL_JOB_FETCH_QUEUED,
        SQL_JOBS_DUE,
        SQL_JOBS_NEXT_CONFIG,
        SQL_JOBS_OF_SESSION,
        SQL_JOBS_OF_LOST_SESSIONS,
        SQL_JOBS_DELAYED_DUE,
        SQL_JOB_PROMOTE,
        SQL_JOBS_DELAYED_NEXT,
        SQL_FENCES_OF_SESSION,
        SQL_SESSION_STATE,
        SQL_SESSION_RENEW,
        SQL_SESSION_KEEP,
        SQL_SESSION_LEAVE,
        SQL_SESSIONS_EXPIRE,
        SQL_SESSIONS_PRUNE,
        SQL_OUTBOX_INSERT,
        SQL_OUTBOX_STALE,
        SQL_OUTBOX_TOUCH,
        SQL_OUTBOX_DELETE,
        SQL_REVISION,
        SQL_CONFIGS,
        SQL_CONFIG_FETCH,
        SQL_CONFIG_INSERT,
        SQL_CONFIG_UPDATE,
        SQL_CONFIG_DELETE,
        SQL_TEMPLATES,
        SQL_TEMPLATE_FETCH,
        SQL_TEMPLATE_INSERT,
        SQL_TEMPLATE_UPDATE,
        SQL_TEMPLATE_DELETE,
        SQL_GRAPHS,
        SQL_GRAPH_FETCH,
        SQL_GRAPH_INSERT,
        SQL_GRAPH_UPDATE,
        SQL_GRAPH_DELETE,
        SQL_JOBS_OLD,
        SQL_JOBS_EXPIRE,
        SQL_KEYS_OLD,
        SQL_KEYS_EXPIRE,
        SQL_CHECKPOINT_SAVE,
        SQL_CHECKPOINT_SAVE_TASK,
        SQL_CHECKPOINT_LOAD,
        SQL_CHECKPOINT_TASKS,
        SQL_CHECKPOINT_LIST,
        SQL_CHECKPOINT_ADD,
        SQL_CHECKPOINT_IS_SAME,
        SQL_THREAD_LIST,
        SQL_THREAD_FETCH,
        SQL_CHECKPOINTS_EXPIRE,
        SQL_THREADS_EXPIRE,
        SQL_CHECKPOINT_TASKS_EXPIRE,
        SQL_COUNT
};

/* One connection; belongs to its thread. */
struct sqlite_db {
        sqlite3 *handle; /* NULL: not open */
        const char *path;
        const struct aip_log *log;
        sqlite3_stmt *statements[SQL_COUNT];
        int failed_rc;          /* SQLite's word for the last failure */
        int64_t now_us;         /* wall clock, of the present transaction */
        struct aip_hints hints; /* of the present transaction */
};

/* What an operation will answer; which members it uses is the call's business. */
struct sqlite_answer {
        int outcome;
        struct aip_id job_id;
        enum aip_job_status status;
        struct aip_transition transition;
        aip_job **jobs;
        struct aip_transition *transitions;
        size_t n;
        int64_t number;
        int flag;
        struct aip_fence_diff fences;
        aip_catalog *catalog;
        struct aip_buf invalid;
        aip_llm_config *config;
        aip_prompt_template *prompt_template;
        struct aip_graph_entry graph;
        struct aip_checkpoint_rows checkpoints;
        struct aip_thread *threads;
};

struct sqlite_call {
        int is_write;
        /* On the thread, in a transaction: fills rq->answer. */
        int (*run)(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err);
        /* On the thread, after the commit: moves the answer into the operation, or sets rq->err. NULL:
         * none. */
        void (*deliver)(struct sqlite_request *rq);
};

struct sqlite_request {
        struct sqlite_request *next, *previous;
        struct aip_op *op;
        const struct sqlite_call *call;
        int64_t deadline_ms;
        const int64_t *outbox_ids; /* forget */
        size_t n_outbox_ids;
        int64_t *ret_revision; /* revision */
        struct sqlite_answer answer;
        aip_error *err;
};

struct sqlite_queue {
        struct sqlite_request *first, *last;
        size_t n;
        pthread_cond_t changed;
};

struct sqlite_store {
        /* set once */
        struct aip_loop loop;
        const struct aip_log *log;
        char *path;
        pthread_t writer, reader;

        /* loop thread only */
        struct aip_watchers watchers;
        struct aip_timer deadline_timer;
        struct aip_op *close_op;

        /* held by `lock` */
        pthread_mutex_t lock;
        struct sqlite_queue writes, reads;
        int is_closing;
        int is_open;        /* the writer has opened the database: the reader may */
        int is_watched;     /* somebody watches: look for what other processes change */
        int must_greet;     /* somebody began to watch: on_connected as soon as that is true */
        int n_threads;      /* still running */
        aip_error *problem; /* why nothing gets on just now; NULL: it does */
        struct aip_hints hints;
        int is_telling; /* tell_task is posted */

        struct aip_task tell_task, gone_task;
};

/* sqlite_store.c */
struct sqlite_request *aip_sqlite_queue_pop(struct sqlite_queue *queue); /* lock held */
/* Deliver or fail the request, finish its operation and free it. Any thread, lock not held. */
void aip_sqlite_request_end(struct sqlite_store *store, struct sqlite_request *rq);
/* Forget an answer that was not delivered. */
void aip_sqlite_answer_discard(struct sqlite_answer *answer);
/* End all of a queue with copies of `error`. */
void aip_sqlite_queue_fail(struct sqlite_store *store, struct sqlite_queue *queue,
                           const aip_error *error);
/* Hand hints (emptied) to the loop. Any thread. */
void aip_sqlite_tell(struct sqlite_store *store, struct aip_hints *hints);
/* A thread's last words. */
void aip_sqlite_thread_ends(struct sqlite_store *store);
/* Wait for `queue` to change, at most `ms` (negative: for ever). Lock held. */
void aip_sqlite_queue_wait(struct sqlite_store *store, struct sqlite_queue *queue, int64_t ms);

/* sqlite_writer.c, sqlite_reader.c: arg is the store. */
void *aip_sqlite_writer_main(void *arg);
void *aip_sqlite_reader_main(void *arg);

/* sqlite_db.c */
#define SQLITE_STORE_BUSY_MS 200 /* how long one statement waits for another process */
int aip_sqlite_open(struct sqlite_db *db, aip_error **err);
void aip_sqlite_close(struct sqlite_db *db);
/* The error of the connection's last failure, translated; returns its code. */
int aip_sqlite_error(struct sqlite_db *db, int rc, aip_error **err);
/* Whether the last failure was another's lock, which passes. */
int aip_sqlite_is_locked(const struct sqlite_db *db);
/* A statement without bindings from before; it is reset when its rows are used up. */
int aip_sqlite_prepare(struct sqlite_db *db, enum sqlite_sql sql, sqlite3_stmt **ret_statement,
                       aip_error **err);
/* 1: a row; 0: done (reset); negative: failed (reset). */
int aip_sqlite_step(struct sqlite_db *db, sqlite3_stmt *statement, aip_error **err);
/* Prepare and run a statement that takes nothing and answers nothing. */
int aip_sqlite_run(struct sqlite_db *db, enum sqlite_sql sql, aip_error **err);
/* One integer: 1 when there is a row, else 0. */
int aip_sqlite_read_int(struct sqlite_db *db, enum sqlite_sql sql, int64_t *ret_value,
                        aip_error **err);
void aip_sqlite_bind_text(sqlite3_stmt *statement, int at, struct aip_str text); /* {NULL}: NULL */
void aip_sqlite_bind_id(sqlite3_stmt *statement, int at, const struct aip_id *id);
void aip_sqlite_bind_time(sqlite3_stmt *statement, int at, int64_t time_us); /* 0: NULL */
struct aip_str aip_sqlite_text(sqlite3_stmt *statement, int column);
struct aip_id aip_sqlite_id(sqlite3_stmt *statement, int column);

/* sqlite_rows.c. Jobs are owned by caller. */
int aip_sqlite_job_read(sqlite3_stmt *row, aip_job **ret_job, aip_error **err);
int aip_sqlite_job_insert(struct sqlite_db *db, const aip_job *job, int is_delayed,
                          aip_error **err);
/* All rows of a statement on jobs; rows that break the domain's rules are logged and left out. */
int aip_sqlite_jobs_read(struct sqlite_db *db, sqlite3_stmt *statement, aip_job ***ret_jobs,
                         size_t *ret_n, aip_error **err);
void aip_sqlite_jobs_free(aip_job **jobs, size_t n);
/* Save a moved job with its outbox row (sets transition->outbox_id), if the store's copy is what
 * it was moved from: 1, else 0. `session`: NULL unless it is PROCESSING now. */
int aip_sqlite_job_save(struct sqlite_db *db, const aip_job *job, enum aip_job_status from,
                        const struct aip_id *session, struct aip_transition *transition,
                        aip_error **err);
int aip_sqlite_outbox_insert(struct sqlite_db *db, struct aip_transition *transition,
                             aip_error **err);
int aip_sqlite_outbox_read(sqlite3_stmt *row, struct aip_transition *ret_transition,
                           aip_error **err);

/* The operations. */
extern const struct sqlite_call aip_sqlite_create, aip_sqlite_fetch, aip_sqlite_list,
        aip_sqlite_cancel, aip_sqlite_claim, aip_sqlite_finish, aip_sqlite_resume;
extern const struct sqlite_call aip_sqlite_heartbeat, aip_sqlite_release, aip_sqlite_recover;
extern const struct sqlite_call aip_sqlite_promote, aip_sqlite_sweep, aip_sqlite_forget;
extern const struct sqlite_call aip_sqlite_load, aip_sqlite_revision, aip_sqlite_put_config,
        aip_sqlite_delete_config, aip_sqlite_put_template, aip_sqlite_delete_template,
        aip_sqlite_put_graph, aip_sqlite_delete_graph;
extern const struct sqlite_call aip_sqlite_save, aip_sqlite_load_checkpoint,
        aip_sqlite_list_checkpoints, aip_sqlite_list_threads, aip_sqlite_update_thread;
extern const struct sqlite_call aip_sqlite_migrate, aip_sqlite_ping, aip_sqlite_retain;
/* sqlite_jobs.c: a thread is used, and made when it is not there; 1 when a job of it has not ended. */
int aip_sqlite_thread_use(struct sqlite_db *db, const struct aip_id *thread_id, aip_error **err);
int aip_sqlite_thread_is_busy(struct sqlite_db *db, const struct aip_id *thread_id,
                              aip_error **err);
/* sqlite_sessions.c: makes or renews it; AIP_ESTATE when it was lost. */
int aip_sqlite_session_renew(struct sqlite_db *db, const struct aip_id *session, int64_t lease_ms,
                             aip_error **err);

#endif
