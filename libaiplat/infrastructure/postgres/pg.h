/*
 * The PostgreSQL store, from the inside. Everything here belongs to the loop thread.
 *
 *     aip_store ──► kinds (create, claim, finish …): one first-in first-out queue each
 *                     │  natural batching: one batch of a kind in flight, the rest waits
 *                     ▼
 *     lanes (accept, results, work, chores, read, browse): one connection each, in pipeline mode; a batch
 *                     is one or a few prepared statements and a sync, hence one transaction
 *     listener: one connection that only LISTENs          migrator: one while it migrates
 *
 * Files: connection.c connects and reconnects; lane.c sends batches and reads answers; batch.c
 * gathers, repeats and halves them; accept.c, claim.c, finish.c, cancel.c, resume.c, sessions.c, chores.c,
 * reads.c, catalog.c, checkpoints.c and threads.c hold the statements of each kind; params.c and rows.c speak the binary
 * format; fault.c is the only place that knows SQLSTATEs.
 */
#ifndef AIP_POSTGRES_PG_H
#define AIP_POSTGRES_PG_H

#include "macros.h"
#include "store/watchers.h"
#include <aiplat/adapters.h>
#include <libpq-fe.h>

#define PG_DEFAULT_DEADLINE_MS 5000
#define PG_CONNECT_MS          10000 /* one attempt, all addresses */
#define PG_BACKOFF_MIN_MS      100
#define PG_BACKOFF_MAX_MS      5000
#define PG_STATEMENT_MS        8000  /* the server gives up first … */
#define PG_SILENCE_MS          10000 /* … then we drop the connection */
#define PG_BATCH_BYTES         (8u << 20)
#define PG_PARAMS_MAX          24
#define PG_RESULTS_MAX         4
#define PG_TRIES_MAX           5

struct pg_store;
struct pg_batch;

/* ---- connection.c ---- */

enum pg_state { PG_OFF = 0, PG_WAITING, PG_CONNECTING, PG_SETTING_UP, PG_READY };

struct pg_connection;
struct pg_connection_ops {
        void (*on_ready)(struct pg_connection *connection);
        void (*on_input)(struct pg_connection *connection);  /* something was read */
        void (*on_lost)(struct pg_connection *connection);   /* was PG_READY, is not any more */
        void (*on_failed)(struct pg_connection *connection); /* an attempt failed; may be NULL */
};

struct pg_connection {
        const struct pg_connection_ops *ops;
        struct pg_store *store;
        const char *name;  /* static */
        const char *setup; /* SQL run after connecting; static */
        int is_pipelined;
        PGconn *pg;
        enum pg_state state;
        struct aip_watch watch;
        unsigned events;
        struct aip_timer timer; /* back-off, or the limit of one attempt */
        unsigned failures;      /* in a row */
        char reason[256];       /* of the last failure, one line */
};

void pg_connection_init(struct pg_connection *connection, struct pg_store *store, const char *name,
                        const char *setup, const struct pg_connection_ops *ops);
/* Connect in the background, until it succeeds or is stopped. Does nothing unless PG_OFF. */
void pg_connection_start(struct pg_connection *connection);
void pg_connection_stop(struct pg_connection *connection);
/* Send what waits and watch accordingly. After it the connection may be lost. */
void pg_connection_flush(struct pg_connection *connection);
/* Give it up and connect anew after a back-off. `reason` is copied; NULL: libpq's. */
void pg_connection_drop(struct pg_connection *connection, const char *reason);
/* AIP_EUNAVAILABLE with the reason why there is no connection. */
aip_error *pg_connection_error(const struct pg_connection *connection);

/* ---- params.c: binary parameters of one statement; errors stick ---- */

struct pg_params {
        int n;
        int is_out_of_memory;
        struct pg_param {
                struct aip_buf bytes;
                int32_t n_elements; /* -1: a scalar */
                int is_null;
        } params[PG_PARAMS_MAX];
};

enum pg_type { /* OIDs of built-in types never change */
               PG_BOOL = 16,
               PG_BYTEA = 17,
               PG_INT8 = 20,
               PG_INT4 = 23,
               PG_TEXT = 25,
               PG_FLOAT8 = 701,
               PG_TIMESTAMPTZ = 1184,
               PG_UUID = 2950
};

void pg_params_clear(struct pg_params *params);
void pg_params_deinit(struct pg_params *params);
/* Begin the next parameter; what is put next belongs to it. */
void pg_array(struct pg_params *params, enum pg_type type);
void pg_scalar(struct pg_params *params);
void pg_put_null(struct pg_params *params);
void pg_put_bool(struct pg_params *params, int b);
void pg_put_int4(struct pg_params *params, int32_t i);
void pg_put_int8(struct pg_params *params, int64_t i);
void pg_put_float8(struct pg_params *params, double d);
void pg_put_time(struct pg_params *params, int64_t us); /* 0: null */
void pg_put_text(struct pg_params *params, struct aip_str s);
void pg_put_text_or_null(struct pg_params *params, struct aip_str s); /* s.p NULL: null */
void pg_put_bytes(struct pg_params *params, const void *bytes, size_t n);
void pg_put_id(struct pg_params *params, const struct aip_id *id);
/* Two parameters more: the lowest and the highest of the ids in the array `nth` ($1: 1). */
void pg_put_span(struct pg_params *params, int nth);
#define PG_SPAN(low, high) "j.id BETWEEN " low "::uuid AND " high "::uuid"
/* Threads are locked in the order of their ids, and before the jobs of theirs that end: the first part of a
 * statement that ends jobs, and the condition of the part that locks these. */
#define PG_TURNS(ids)                                                                              \
        "turns AS MATERIALIZED (SELECT t.id FROM threads t WHERE t.id = ANY (" ids ") "            \
        "ORDER BY t.id FOR UPDATE)"
#define PG_TURNS_HELD "(SELECT count(*) FROM turns) >= 0"
/* A parameter of its own: the kinds of transitions of whose events none is published. */
void pg_put_silent(struct pg_params *params, uint32_t muted_events);

/* ---- rows.c: binary results ---- */

int pg_get_bool(const PGresult *result, int row, int column);
int32_t pg_get_int4(const PGresult *result, int row, int column);
int64_t pg_get_int8(const PGresult *result, int row, int column);
double pg_get_float8(const PGresult *result, int row, int column);
int64_t pg_get_time(const PGresult *result, int row, int column);        /* null: 0 */
struct aip_str pg_get_text(const PGresult *result, int row, int column); /* null: {NULL,0} */
struct aip_id pg_get_id(const PGresult *result, int row, int column);    /* null: nil */

#define PG_JOB_COLUMNS(t)                                                                          \
        t ".id, " t ".status, " t ".version, " t ".attempt, " t ".max_attempts, " t                \
          ".retry_delay_ms, " t ".prompt, " t ".config_name, " t ".template_name, " t              \
          ".graph_name, " t ".variables::text, " t ".metadata::text, " t ".trace_id, " t           \
          ".result, " t ".error_code, " t ".error_message, " t ".provider, " t ".model_name, " t   \
          ".input_tokens, " t ".output_tokens, " t ".created_at, " t ".updated_at, " t             \
          ".run_at, " t ".started_at, " t ".finished_at, " t                         \
          ".is_streamed, " t ".input::text, " t ".questions, " t ".answers, " t ".thread_id, " t    \
          ".checkpoint"
/* Columns from `first` on are PG_JOB_COLUMNS. */
int pg_get_job(const PGresult *result, int row, int first, aip_job **ret_job, aip_error **err);

/*
 * For statements whose CTE `moved` holds these columns: one outbox row with the transitions of which
 * something is to be published, and what pg_get_transition() reads. `silent` is a text[] parameter:
 * the kinds of transitions whose events nobody wants (pg_put_silent()).
 */
#define PG_TRANSITION                                                                              \
        "job_id, version, at, kind, from_status, to_status, attempt, is_runnable, error_code"
#define PG_IS_TOLD(silent) "(is_runnable OR kind <> ALL (" silent "))"
#define PG_POSTED(silent)                                                                          \
        "posted AS (INSERT INTO outbox (n, transitions) SELECT count(*), "                         \
        "array_agg(ROW(" PG_TRANSITION ")::job_transition) FROM moved WHERE " PG_IS_TOLD(          \
                silent) " HAVING count(*) > 0 RETURNING id, n)"
#define PG_POSTED_AS(silent)                                                                       \
        "CASE WHEN " PG_IS_TOLD(silent) " THEN (SELECT id FROM posted) END, (SELECT n FROM "       \
                                        "posted)"
#define PG_MOVED_COLUMNS(silent) PG_POSTED_AS(silent) ", " PG_TRANSITION
/* One notification for at most 240 ids of 32 hexadecimal digits: payloads end below 8000 bytes. */
#define PG_TOLD(channel, condition)                                                                \
        "told AS MATERIALIZED (SELECT pg_notify('" channel                                         \
        "', string_agg(replace(job_id::text, '-', ''), '')) FROM (SELECT job_id, row_number() "    \
        "OVER () - 1 AS nth FROM moved WHERE " condition ") AS numbered GROUP BY nth / 240)"
#define PG_MOVED_AND_TOLD(silent)                                                                  \
        "SELECT " PG_MOVED_COLUMNS(silent) ", (SELECT count(*) FROM told) FROM moved"
int pg_get_transition(const PGresult *result, int row, struct aip_transition *ret_transition,
                      aip_error **err);
/* Every row; *ret_transitions is NULL when there are none. */
int pg_get_transitions(const PGresult *result, struct aip_transition **ret_transitions,
                       size_t *ret_n, aip_error **err);

/* ---- fault.c: what a failed statement means ---- */

enum pg_fault {
        PG_FAULT_ROW = 0,    /* this input is refused; others may not be */
        PG_FAULT_REPEAT,     /* deadlock and the like: nothing happened, repeat */
        PG_FAULT_CONNECTION, /* this connection is of no use any more */
        PG_FAULT_SERVER,     /* it cannot now, or its schema is not ours */
        PG_FAULT_TIMEOUT
};
enum pg_fault pg_fault_of(const PGresult *failure);
/* A unique key is there already. */
int pg_fault_is_duplicate(const PGresult *failure);
/* The error for callers. Never NULL. */
aip_error *pg_fault_error(const PGresult *failure);
/* libpq's message as one line without trailing white space. */
void pg_one_line(const char *message, char *ret_line, size_t max_bytes);

/* ---- kinds, batches and lanes ---- */

enum pg_lane_name { PG_ACCEPT, PG_RESULTS, PG_WORK, PG_CHORES, PG_READ, PG_BROWSE, PG_N_LANES };

/* In the order in which a free lane looks at them. */
enum pg_kind_name {
        PG_CREATE,
        PG_CREATE_IN_THREAD,
        PG_SAVE, /* before the end of the same run */
        PG_SAVE_TASKS,
        PG_FINISH,
        PG_CANCEL,
        PG_RESUME,
        PG_UPDATE_THREAD,
        PG_RELEASE,
        PG_CLAIM,     /* by ids, many at once */
        PG_CLAIM_ONE, /* what is due, or some of many ids */
        PG_HEARTBEAT, /* after the claims: it reports what no answer told of */
        PG_PUT_CONFIG,
        PG_PUT_TEMPLATE,
        PG_PUT_GRAPH,
        PG_DELETE_CONFIG,
        PG_DELETE_TEMPLATE,
        PG_DELETE_GRAPH,
        PG_PROMOTE,
        PG_RECOVER,
        PG_SWEEP,
        PG_FORGET,
        PG_PING,
        PG_FETCH,
        PG_REVISION,
        PG_LOAD,
        PG_LIST,
        PG_LOAD_CHECKPOINT,
        PG_LIST_CHECKPOINTS,
        PG_LIST_THREADS,
        PG_N_KINDS
};

enum pg_statement_name {
        PG_STATEMENT_CREATE,
        PG_STATEMENT_CREATE_AGAIN,
        PG_STATEMENT_CREATE_RESOLVE,
        PG_STATEMENT_CREATE_IN_THREAD,
        PG_STATEMENT_PLAN_ANEW,
        PG_STATEMENT_FINISH,
        PG_STATEMENT_FINISH_RESOLVE,
        PG_STATEMENT_CANCEL,
        PG_STATEMENT_CANCEL_RESOLVE,
        PG_STATEMENT_RESUME,
        PG_STATEMENT_RESUME_RESOLVE,
        PG_STATEMENT_RELEASE,
        PG_STATEMENT_LEAVE,
        PG_STATEMENT_CLAIM,
        PG_STATEMENT_CLAIM_DUE,
        PG_STATEMENT_CLAIM_SOME,
        PG_STATEMENT_RENEW,
        PG_STATEMENT_MINE,
        PG_STATEMENT_CONFIG_CREATE,
        PG_STATEMENT_CONFIG_REPLACE,
        PG_STATEMENT_CONFIG_UPSERT,
        PG_STATEMENT_CONFIG_DELETE,
        PG_STATEMENT_TEMPLATE_CREATE,
        PG_STATEMENT_TEMPLATE_REPLACE,
        PG_STATEMENT_TEMPLATE_UPSERT,
        PG_STATEMENT_TEMPLATE_DELETE,
        PG_STATEMENT_GRAPH_CREATE,
        PG_STATEMENT_GRAPH_REPLACE,
        PG_STATEMENT_GRAPH_UPSERT,
        PG_STATEMENT_GRAPH_DELETE,
        PG_STATEMENT_PROMOTE,
        PG_STATEMENT_NEXT_DELAYED,
        PG_STATEMENT_END_SESSIONS,
        PG_STATEMENT_RECOVER,
        PG_STATEMENT_BURY_SESSIONS,
        PG_STATEMENT_LAZY_COMMIT,
        PG_STATEMENT_SWEEP,
        PG_STATEMENT_FORGET,
        PG_STATEMENT_PING,
        PG_STATEMENT_FETCH,
        PG_STATEMENT_REVISION,
        PG_STATEMENT_LOAD,
        PG_STATEMENT_LIST,
        PG_STATEMENT_SAVE,
        PG_STATEMENT_SAVE_TASKS,
        PG_STATEMENT_LOAD_CHECKPOINT,
        PG_STATEMENT_LIST_CHECKPOINTS,
        PG_STATEMENT_LIST_THREADS,
        PG_STATEMENT_LIST_THREADS_ON,
        PG_STATEMENT_FETCH_THREAD,
        PG_STATEMENT_UPDATE_THREAD,
        PG_N_STATEMENTS
};

struct pg_statement {
        enum pg_statement_name name;
        const char *sql;
};

struct pg_lane;
struct pg_kind {
        enum pg_lane_name lane;
        size_t max_rows;            /* of one batch */
        int is_repeatable;          /* sent again when the answer was lost with the connection */
        int is_repeated_when_there; /* also when a row is there already: another statement then */
        /* What an operation adds to a batch; NULL: one row, no bytes to speak of. */
        size_t (*rows)(const struct aip_op *op);
        size_t (*bytes)(const struct aip_op *op);
        /* Two operations on one id are never in one batch; NULL: they may be. */
        const struct aip_id *(*id)(const struct aip_op *op);
        /* Put the statements on the lane. AIP_ENOMEM: nothing was sent. */
        int (*send)(struct pg_lane *lane, struct pg_batch *batch);
        /* All statements succeeded: finish the operations. */
        void (*answered)(struct pg_store *store, struct pg_batch *batch);
};
extern const struct pg_kind *const pg_kinds[PG_N_KINDS];

/* Operations that travel together. A slot is NULL once its operation has been finished. */
struct pg_batch {
        struct pg_batch *next;
        enum pg_kind_name kind;
        int stage;    /* 0; 1: what the first statement left open */
        int is_again; /* set by `answered`: send what is left once more, in the new stage */
        int tries;
        PGresult *results[PG_RESULTS_MAX]; /* of the statements, without preparations */
        int n_results;
        PGresult *failure;                    /* the first error */
        /* Statements on the wire; -1 - name: its preparation, or one whose result is nobody's. */
        int16_t expected[2 * PG_RESULTS_MAX + 2];
        int n_expected, n_seen;
        int is_planned_anew; /* what is sent from now on */
        size_t n_slots;
        struct aip_op *slots[];
};

struct pg_batch_list {
        struct pg_batch *first, *last;
};

struct pg_queue {
        struct aip_op_queue waiting;
        struct pg_batch_list again; /* batches to send before anything that waits */
        int is_in_flight;
};

struct pg_lane {
        struct pg_connection connection;
        enum pg_lane_name name;
        struct pg_batch_list in_flight; /* in the order of their answers */
        struct aip_timer watchdog;
        struct aip_task pump; /* what is submitted in one turn of the loop leaves together */
        unsigned char is_prepared[PG_N_STATEMENTS];
        struct pg_params params; /* of the statement that is being sent */
};

/* lane.c */
void pg_lane_init(struct pg_lane *lane, struct pg_store *store, enum pg_lane_name name);
void pg_lane_stop(struct pg_lane *lane);
/* Send what can be sent, soon; connects when it must. */
void pg_lane_wake(struct pg_lane *lane);
/* Send one statement of `batch` with lane->params, preparing it if need be. Unless it keeps its plan, it
 * and those after it are planned anew. */
int pg_lane_send(struct pg_lane *lane, struct pg_batch *batch,
                 const struct pg_statement *statement);

/* batch.c */
void pg_batch_list_append(struct pg_batch_list *list, struct pg_batch *batch);
struct pg_batch *pg_batch_list_pop(struct pg_batch_list *list);
void pg_batch_free(struct pg_batch *batch); /* its operations are not finished by it */
/* What is to be sent next of a kind; NULL when there is nothing, or no memory (operations fail). */
struct pg_batch *pg_batch_next(struct pg_store *store, enum pg_kind_name kind);
int pg_batch_is_any_left(const struct pg_batch *batch);
/* Finish an operation and empty its slot; `err` is consumed always. */
void pg_batch_finish(struct pg_store *store, struct pg_batch *batch, size_t slot, aip_error *err);
/* Finish all that are left, each with a copy of `err` (consumed always). */
void pg_batch_finish_all(struct pg_store *store, struct pg_batch *batch, aip_error *err);
/* Send the operations that are left again, before what waits. Takes the batch. */
void pg_batch_again(struct pg_store *store, struct pg_batch *batch);
/* A statement of the batch failed: repeat it, halve it, or finish it. Takes the batch. */
void pg_batch_failed(struct pg_store *store, struct pg_batch *batch);
/* The connection went away under the batch. Takes the batch. */
void pg_batch_lost(struct pg_store *store, struct pg_batch *batch,
                   const struct pg_connection *connection);

/* Slots by job id, for answers that come back in any order. */
struct pg_slot_map {
        struct pg_entry {
                struct aip_id id;
                uint32_t slot; /* + 1; 0: empty */
        } entries[2048];       /* at most AIP_STORE_BATCH_MAX in use */
};
/* 0 when the id is there already. */
int pg_slot_map_add(struct pg_slot_map *map, const struct aip_id *id, size_t slot);
/* Fill the store's map from a batch's operations. */
void pg_slot_map_of(struct pg_store *store, const struct pg_batch *batch);
/* -1 when there is none. */
int64_t pg_slot_map_find(const struct pg_slot_map *map, const struct aip_id *id);

/* ---- store.c ---- */

struct pg_store {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random;
        uint32_t muted_events;
        char **keywords, **values; /* of the connection string, NULL-terminated */
        struct pg_lane lanes[PG_N_LANES];
        struct pg_queue queues[PG_N_KINDS];
        struct pg_slot_map map; /* of the batch that is being gathered or answered */
        struct aip_timer deadlines;
        int64_t deadlines_at_ms;
        struct pg_connection listener;
        struct aip_watchers watchers;
        struct aip_hints hints;
        struct aip_task tell;
        struct pg_migration *migrations;
        struct pg_retention *retention; /* NULL: none runs */
        struct aip_op *close_op;
        struct aip_task close_task;
};

/* Operations whose own struct has no room for what they need (forget, ping, revision). */
struct pg_request {
        struct aip_op op; /* in our queues */
        struct aip_op *user;
        const int64_t *outbox_ids;
        size_t n;
        int64_t *ret_revision;
};

/* Queue an operation. */
void pg_submit(struct pg_store *store, enum pg_kind_name kind, struct aip_op *op);
static inline int64_t pg_deadline_ms(const struct aip_op *op)
{
        return (int64_t)(intptr_t)op->impl;
}

/* The kinds, by file. */
extern const struct pg_kind pg_create_kind, pg_create_in_thread_kind;
extern const struct pg_kind pg_finish_kind, pg_cancel_kind, pg_resume_kind, pg_release_kind, pg_heartbeat_kind;
extern const struct pg_kind pg_claim_kind, pg_claim_one_kind;
extern const struct pg_kind pg_put_config_kind, pg_put_template_kind, pg_delete_config_kind,
        pg_delete_template_kind, pg_put_graph_kind, pg_delete_graph_kind, pg_load_kind,
        pg_revision_kind;
extern const struct pg_kind pg_promote_kind, pg_recover_kind, pg_sweep_kind, pg_forget_kind;
extern const struct pg_kind pg_save_kind, pg_save_tasks_kind, pg_load_checkpoint_kind,
        pg_list_checkpoints_kind, pg_list_threads_kind, pg_update_thread_kind;
extern const struct pg_kind pg_ping_kind, pg_fetch_kind, pg_list_kind;

/* listen.c */
void pg_listener_init(struct pg_store *store);
void pg_watch(struct pg_store *store, struct aip_store_watcher *watcher);
void pg_unwatch(struct pg_store *store, struct aip_store_watcher *watcher);

/* migrate.c */
void pg_migrate(struct pg_store *store, struct aip_op *op);
void pg_migrate_stop_all(struct pg_store *store); /* each ends with AIP_ECANCELLED */

/* ---- retention.c ---- */

/* Starts it; refuses (AIP_ESTATE) while one runs. */
void pg_retain(struct pg_store *store, struct aip_retention *retention);
void pg_retain_stop(struct pg_store *store);

#endif
