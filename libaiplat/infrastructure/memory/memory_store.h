/*
 * The in-memory store's private parts, shared by its files:
 *   memory_store.c     the constructor, the queue of operations, watchers, closing
 *   memory_jobs.c      jobs: create, fetch, list, cancel, claim, finish, resume, and how a job is moved
 *   memory_sessions.c  worker sessions: heartbeat, release, recover
 *   memory_outbox.c    outbox rows: sweep, forget, promote
 *   memory_checkpoints.c  runs between their steps
 *   memory_threads.c   threads as a whole
 *   memory_catalog.c   configurations, templates and graphs, with the shipped ones
 * Everything belongs to the loop thread. Jobs are moved by the domain's own methods, so that what
 * this store does is the rule that the others are measured against.
 */
#ifndef AIPLAT_MEMORY_STORE_H
#define AIPLAT_MEMORY_STORE_H

#include "hash_map.h"
#include "list.h"
#include "store/watchers.h"
#include "timer_queue.h"
#include <aiplat/adapters.h>

/* The QUEUED jobs of one configuration. Kept while the store is: configurations are few. */
struct memory_backlog {
        struct aip_timer_queue queued; /* by run_at */
        char name[];
};

struct memory_job {
        aip_job *job;
        struct memory_backlog *backlog; /* of its configuration */
        struct memory_session *session; /* while PROCESSING */
        struct aip_list in_session;     /* while PROCESSING */
        /* Heap nodes of the two indexes below. Keys are run_at in microseconds of the wall clock.
         */
        struct aip_timer by_run_at;   /* while QUEUED */
        struct aip_timer by_due_time; /* while QUEUED and delayed */
        struct memory_thread *thread; /* NULL: none */
        struct aip_list in_thread;    /* until it has ended */
};

struct memory_thread {
        struct aip_id id;
        struct aip_list live;          /* jobs that have not ended, by id */
        const struct memory_job *last; /* of all its jobs; NULL: none */
        int64_t created_at_us, updated_at_us;
};

struct memory_session {
        struct aip_id id;
        int64_t lease_until_ms; /* loop time */
        int is_lost;            /* kept as a tombstone: it can never claim again */
        struct aip_list jobs;   /* PROCESSING under it */
};

struct memory_key {
        struct aip_id job_id;
        uint64_t fingerprint[2];
};

struct memory_outbox_row {
        struct aip_list node; /* least recently touched first */
        struct aip_transition transition;
        int64_t touched_at_ms; /* loop time */
};

/* Things with a name, sorted by it. */
struct memory_names {
        void **items;
        size_t n, capacity;
};

struct memory_store {
        struct aip_loop loop;
        struct aip_op_queue waiting;
        struct aip_task turn;
        struct aip_watchers watchers;
        struct aip_hints hints;

        struct memory_job **jobs; /* sorted by id */
        size_t n_jobs, jobs_capacity;
        struct aip_hash_map backlogs;   /* configuration's name → memory_backlog */
        struct aip_timer_queue delayed; /* those among them that wait to be promoted */
        struct aip_hash_map threads;    /* id → memory_thread */
        struct aip_hash_map keys;       /* idempotency key → memory_key */
        struct aip_hash_map sessions;   /* id → memory_session */
        struct aip_hash_map outbox;     /* outbox id → memory_outbox_row */
        struct aip_list outbox_order;
        int64_t last_outbox_id;

        struct memory_names configs, templates, graphs;
        int64_t catalog_revision, last_config_id, last_template_id, last_graph_id;
        struct aip_hash_map checkpoints; /* owner → memory_owner */
};

/* What op->impl points to: how the store carries the operation out when its turn comes. */
struct memory_call {
        int (*run)(struct memory_store *store, struct aip_op *op, aip_error **err);
};

/* memory_store.c: queue `op`, or finish it when there is no room. */
void aip_memory_submit(struct memory_store *store, struct aip_op *op,
                       const struct memory_call *call);
/* memory_store.c: watchers hear of `store->hints` in a later turn. */
void aip_memory_tell_later(struct memory_store *store);

/* memory_jobs.c */
extern const struct memory_call aip_memory_create, aip_memory_fetch, aip_memory_list,
        aip_memory_cancel, aip_memory_claim, aip_memory_finish, aip_memory_resume;
typedef int aip_memory_move(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                            aip_error **err);
/* Move a job by a method of the domain, with its outbox row; `session` is the one it enters.
 * Nothing has changed when this fails. */
int aip_memory_job_move(struct memory_store *store, struct memory_job *known, aip_memory_move *move,
                        struct memory_session *session, struct aip_transition *ret_transition,
                        aip_error **err);
struct memory_job *aip_memory_job_find(const struct memory_store *store, const struct aip_id *id);
void aip_memory_jobs_deinit(struct memory_store *store);

/* memory_sessions.c */
extern const struct memory_call aip_memory_heartbeat, aip_memory_release, aip_memory_recover;
/* The session, made or renewed; AIP_ESTATE when it was lost. */
int aip_memory_session_renew(struct memory_store *store, const struct aip_id *id, int64_t lease_ms,
                             struct memory_session **ret_session, aip_error **err);
void aip_memory_sessions_deinit(struct memory_store *store);

/* memory_outbox.c */
extern const struct memory_call aip_memory_promote, aip_memory_sweep;
/* A row that is not in the outbox yet: dropped or committed next. */
int aip_memory_outbox_prepare(struct memory_store *store, struct memory_outbox_row **ret_row,
                              aip_error **err);
void aip_memory_outbox_drop(struct memory_store *store, struct memory_outbox_row *row);
/* Sets transition->outbox_id. */
void aip_memory_outbox_commit(struct memory_store *store, struct memory_outbox_row *row,
                              struct aip_transition *transition);
void aip_memory_outbox_forget(struct memory_store *store, int64_t outbox_id);
void aip_memory_outbox_deinit(struct memory_store *store);

/* memory_checkpoints.c */
extern const struct memory_call aip_memory_save, aip_memory_load_checkpoint,
        aip_memory_list_checkpoints;
/* Keep one that no run has made; *ret_is_there: another has the number. */
int aip_memory_checkpoint_add(struct memory_store *store, const struct aip_checkpoint *checkpoint,
                              int *ret_is_there, aip_error **err);
/* The number of the first that the job has made; 0: none. */
int64_t aip_memory_checkpoint_first(const struct memory_store *store, const struct aip_id *owner,
                                    const struct aip_id *job_id);
/* The number of the owner's last; 0: none. */
int64_t aip_memory_checkpoint_last(const struct memory_store *store, const struct aip_id *owner);
void aip_memory_checkpoints_deinit(struct memory_store *store);

/* memory_threads.c */
extern const struct memory_call aip_memory_list_threads, aip_memory_update_thread;
/* The thread, made when it is not there; NULL: out of memory. */
struct memory_thread *aip_memory_thread_make(struct memory_store *store, const struct aip_id *id);
/* The first of its jobs that has not ended and does not wait, or NULL. */
struct memory_job *aip_memory_thread_active(const struct memory_thread *thread);

/* memory_catalog.c */
extern const struct memory_call aip_memory_load, aip_memory_put_config, aip_memory_delete_config,
        aip_memory_put_template, aip_memory_delete_template, aip_memory_put_graph,
        aip_memory_delete_graph;
/* Put the shipped configurations and templates into an empty catalog. */
int aip_memory_catalog_init(struct memory_store *store, aip_error **err);
void aip_memory_catalog_deinit(struct memory_store *store);

#endif
