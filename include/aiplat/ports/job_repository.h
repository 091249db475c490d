/*
 * Port: where jobs are kept, with their outbox and the leases of their workers. PostgreSQL, SQLite
 * and memory implement it. It speaks of jobs, never of SQL. For consumers: the application services;
 * for implementers: every method below is required unless marked optional.
 *
 * All methods follow the rules of op.h. One operation is one job's concern (or one set); it is the
 * adapter's business to gather what arrives while a batch is in flight into the next one. A
 * transition and its outbox row are one transaction. A row may hold all transitions of a transaction:
 * they have the same outbox_id then, and outbox_n says how many they are. Errors: AIP_EUNAVAILABLE (nothing happened, or
 * it is not known whether it did: every method may be called again safely as its note says),
 * AIP_ETIMEOUT likewise, AIP_ENOMEM, AIP_ELIMIT (the adapter's queue is full), AIP_EINVAL.
 */
#ifndef AIPLAT_PORTS_JOB_REPOSITORY_H
#define AIPLAT_PORTS_JOB_REPOSITORY_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/job.h>
#include <aiplat/op.h>

AIP_BEGIN_DECLS

#define AIP_STORE_BATCH_MAX          512  /* operations in one transaction */
#define AIP_STORE_QUEUE_MAX          20000 /* operations waiting; beyond: AIP_ELIMIT */
#define AIP_IDEMPOTENCY_KEY_MAX_BYTES 255

/* Store a new job. Repeating it with the same id is harmless: it answers CREATED again, with the
 * job's present status, and changes nothing (outbox_id is then 0 or that of the first time).
 *
 * When a job of a thread ends, by whatever way, the next one that waits takes its turn in the same
 * transaction: it is due then, and promote() tells of it. */
enum aip_create_outcome {
        AIP_CREATE_CREATED = 0,
        AIP_CREATE_REPLAYED,  /* the key was used before with the same fingerprint */
        AIP_CREATE_KEY_REUSED, /* the key was used before with another fingerprint */
        AIP_CREATE_THREAD_BUSY /* REJECT: nothing happened */
};

/* A thread has one active job: one that has not ended and does not wait. What becomes of a new job when
 * there is one: */
enum aip_thread_strategy {
        AIP_THREAD_ENQUEUE = 0, /* it waits (AIP_JOB_WAITS_US) until all before it have ended */
        AIP_THREAD_REJECT,      /* it is refused, unless all of the thread have ended */
        /* All others of the thread that have not ended are cancelled, those that wait included, in the
         * transaction that stores it. It goes on from the state that they have left. */
        AIP_THREAD_INTERRUPT,
        /* Likewise, but unless it has a checkpoint of its own it begins at the one before theirs. */
        AIP_THREAD_ROLLBACK
};

struct aip_job_create {
        struct aip_op op;
        const aip_job *job;             /* QUEUED, version 1 */
        struct aip_str idempotency_key; /* empty: none */
        uint64_t fingerprint[2];        /* of the request, with the key */
        /* The job's run_at means "so long after created_at": a store with a clock of its own counts from
         * when it stores the job. (A retry's run_at always means that, from updated_at.) */
        int is_delay;
        enum aip_thread_strategy strategy; /* of a job with a thread */
        enum aip_create_outcome ret_outcome;
        struct aip_id ret_job_id; /* the first job's when the key was used before */
        enum aip_job_status ret_status; /* of that job, now */
        struct aip_transition ret_transition; /* with outbox_id, when CREATED */
};

struct aip_job_fetch {
        struct aip_op op;
        struct aip_id id;
        aip_job *ret_job; /* NULL: no such job */
};

/* Newest first (by id, which sorts by time). */
#define AIP_JOB_LIST_MAX 1000
struct aip_job_list {
        struct aip_op op;
        uint32_t status_mask;         /* 1u << status; 0: every */
        struct aip_str config_name;   /* empty: every */
        struct aip_str template_name; /* empty: every */
        struct aip_id thread_id;      /* nil: every */
        int64_t created_from_us;      /* 0: no bound; inclusive */
        int64_t created_until_us;     /* 0: no bound; exclusive */
        struct aip_id before;         /* only ids below this one; nil: from the newest */
        uint32_t limit;               /* 1–AIP_JOB_LIST_MAX */
        aip_job **ret_jobs;           /* array (free()) of jobs, owned by caller */
        size_t ret_n;
        int ret_has_more;
};

enum aip_cancel_outcome {
        AIP_CANCEL_CANCELLED = 0,
        AIP_CANCEL_ALREADY_ENDED,
        AIP_CANCEL_NOT_FOUND
};

struct aip_job_cancellation {
        struct aip_op op;
        struct aip_id id;
        enum aip_cancel_outcome ret_outcome;
        enum aip_job_status ret_status;       /* after the call */
        struct aip_transition ret_transition; /* when CANCELLED */
};

/*
 * Claim: QUEUED and due → PROCESSING for a worker session. The session's lease is created or
 * renewed in the same transaction; a session that was lost (see heartbeat) claims nothing and gets
 * AIP_ESTATE. With n_ids > 0 only those ids; with 0, those that have been due for at least
 * `min_due_ms`, spread evenly over the configurations that have such jobs, the longest due of each
 * first (what others have locked is skipped). Repeating it claims others: what an unanswered claim
 * took comes back when its lease expires or at the next heartbeat (ret_unknown).
 */
struct aip_job_claim {
        struct aip_op op;
        struct aip_id session;
        int64_t lease_ms;
        const struct aip_id *ids;
        size_t n_ids;
        int64_t min_due_ms;
        const struct aip_str *without_configs; /* n_ids == 0: none of these */
        size_t n_without_configs;
        size_t limit;        /* jobs at most; ≤ AIP_STORE_BATCH_MAX */
        aip_job **ret_jobs;  /* array (free()) of jobs in PROCESSING, owned by caller */
        struct aip_transition *ret_transitions; /* array (free()), one a job */
        size_t ret_n;        /* ids that could not be claimed are simply not there */
        /* Of the catalog as the claim saw it: a worker whose snapshot is older reads the catalog again
         * before it runs these jobs, so that a change applies to every job accepted after it. */
        int64_t ret_catalog_revision;
};

/*
 * Record the end of an attempt under the fence: `job` has been moved by aip_job_complete, _fail,
 * _interrupt or _release; the store records it only if its copy is still PROCESSING with version job.version - 1.
 * Repeating it is harmless: it answers RECORDED or STALE, and changes nothing twice.
 */
enum aip_finish_outcome {
        AIP_FINISH_RECORDED = 0,
        AIP_FINISH_STALE /* the job was cancelled, taken over, or ended: the result is dropped */
};

struct aip_job_finish {
        struct aip_op op;
        const aip_job *job;
        struct aip_transition transition; /* from the move; the store sets its outbox_id */
        enum aip_finish_outcome ret_outcome;
};

/*
 * Record answers: `job` has been moved by aip_job_resume; the store records it only if its copy is still
 * INTERRUPTED with version job.version - 1. Repeating it is harmless: it may then answer REFUSED although the
 * first time went through.
 */
enum aip_resumption_outcome {
        AIP_RESUMPTION_RECORDED = 0,
        AIP_RESUMPTION_REFUSED /* it was resumed or cancelled meanwhile, or is gone */
};

struct aip_job_resumption {
        struct aip_op op;
        const aip_job *job;
        struct aip_transition transition; /* from the move; the store sets its outbox_id */
        enum aip_resumption_outcome ret_outcome;
        enum aip_job_status ret_status; /* when REFUSED: as it is now; of one that is gone: CANCELLED */
};

/* What a worker believes it is running. */
struct aip_fence {
        struct aip_id job_id;
        int64_t version; /* after the claim */
};

/* Renew the session's lease (one row a process, whatever the number of jobs) and reconcile. A
 * session that the store has never seen is an idle worker's, not a lost one, while n_running is 0. */
struct aip_heartbeat {
        struct aip_op op;
        struct aip_id session;
        int64_t lease_ms;
        const struct aip_fence *running;
        size_t n_running;
        int ret_is_lost;           /* the lease had expired and was taken away: stop every run, start a
                                    * new session */
        struct aip_id *ret_gone;   /* array (free()): running ones that are not ours any more */
        size_t ret_n_gone;
        struct aip_fence *ret_unknown; /* array (free()): PROCESSING under this session but not in
                                        * `running`: claims whose answer was lost. Hand them back. */
        size_t ret_n_unknown;
};

/* Hand jobs back by fence: PROCESSING → QUEUED, the attempt not counted. Stale fences are ignored.
 * With `is_leaving` the session ends too (as if lost: it can claim no more), and what else is
 * PROCESSING under it, claims whose answer never arrived, is handed back as well. */
struct aip_release {
        struct aip_op op;
        struct aip_id session;
        const struct aip_fence *fences;
        size_t n_fences;
        int is_leaving;
        struct aip_transition *ret_transitions; /* array (free()) */
        size_t ret_n;
};

/* Housekeeping: each is safe to run in any number of processes at once (locked rows are skipped). */
struct aip_chores {
        struct aip_op op;
        size_t limit;                           /* of transitions or rows */
        int64_t min_age_ms;                     /* sweep only */
        struct aip_transition *ret_transitions; /* array (free()): to be published by the caller */
        size_t ret_n;
        int64_t ret_next_ms; /* promote only: until the next delayed job is due; -1: none known */
};

/*
 * Retention: what has been kept long enough leaves, and room for what comes is made ahead (where the
 * store has partitions). Short steps, none of which holds traffic up; one process at a time does it.
 * Jobs that have not ended stay, whatever their age. Repeating it is harmless.
 */
struct aip_retention_entry {
        char name[64];            /* of a partition, or "idempotency_keys", "jobs" … */
        int64_t from_us, until_us; /* the times it covers; 0: no such bound */
        int64_t bytes;            /* with indexes, before; 0: not known */
        /* "kept", "made", "dropped", "deleted"; "busy": others hold it, later; "crowded": too many jobs
         * in it have not ended, later. A dry run: "kept", or "make", "drop", "delete": what it would. */
        char outcome[16];
        int64_t n; /* rows deleted, or moved out of what was dropped */
};

struct aip_retention {
        struct aip_op op;
        int64_t keep_jobs_ms; /* after their end; 0: for ever */
        int64_t keep_keys_ms; /* idempotency keys, from their use; 0: for ever */
        int64_t partition_ms; /* width of the partitions to make; > 0 */
        int is_dry_run;       /* report only */
        struct aip_retention_entry *ret_entries; /* array (free()), owned by caller */
        size_t ret_n;
        int ret_is_elsewhere; /* another process is at it: nothing was done */
        int ret_has_more;     /* call again soon */
};

/* Calls from the store, on the loop thread, never from inside a call to it. Fields may be NULL. Ids
 * are borrowed for the call. They are hints: some may be missing after a lost connection (then
 * `on_connected` comes), some may be repeated. */
struct aip_store_watcher {
        /* COMPLETED, FAILED or CANCELLED; or INTERRUPTED: at rest. */
        void (*on_jobs_ended)(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n);
        void (*on_jobs_cancelled)(struct aip_store_watcher *watcher, const struct aip_id *ids,
                                  size_t n);
        void (*on_catalog_changed)(struct aip_store_watcher *watcher);
        void (*on_connected)(struct aip_store_watcher *watcher); /* watching (again): look at everything */
        struct aip_store_watcher *next;                          /* the store's */
};

struct aip_job_repository_ops {
        size_t self_size;
        const char *name; /* "postgres"; static */
        void (*create)(void *self, struct aip_job_create *create);
        void (*fetch)(void *self, struct aip_job_fetch *fetch);
        void (*list)(void *self, struct aip_job_list *list);
        void (*cancel)(void *self, struct aip_job_cancellation *cancellation);
        void (*claim)(void *self, struct aip_job_claim *claim);
        void (*finish)(void *self, struct aip_job_finish *finish);
        void (*resume)(void *self, struct aip_job_resumption *resumption);
        void (*heartbeat)(void *self, struct aip_heartbeat *heartbeat);
        void (*release)(void *self, struct aip_release *release);
        /* Delayed jobs (QUEUED by a transition that was not runnable) whose time has come: a DUE
         * transition each, with the job's version as it is. */
        void (*promote)(void *self, struct aip_chores *chores);
        /* Jobs of sessions whose lease expired: aip_job_lose_worker. Ends the sessions. */
        void (*recover)(void *self, struct aip_chores *chores);
        /* Outbox rows that nobody touched for min_age_ms: touched, returned whole (so that there may be more
         * than `limit`), not removed. They are runnable
         * only while their job is QUEUED: a task that a worker has found without its message is not
         * published any more, so that the outbox drains even where the queue takes nothing. */
        void (*sweep)(void *self, struct aip_chores *chores);
        /* Remove rows of which every transition is published; unknown ids are ignored. `op` owns nothing of `outbox_ids`. */
        void (*forget)(void *self, struct aip_op *op, const int64_t *outbox_ids, size_t n);
        /* One round trip. */
        void (*ping)(void *self, struct aip_op *op);
        /* Watchers are called until unwatched; first on_connected, as soon as changes are heard. */
        void (*watch)(void *self, struct aip_store_watcher *watcher);
        void (*unwatch)(void *self, struct aip_store_watcher *watcher);
        /* Optional: NULL keeps everything. Members from here on are there when self_size says so. */
        void (*retain)(void *self, struct aip_retention *retention);
};

struct aip_job_repository {
        const struct aip_job_repository_ops *ops;
        void *self;
};

AIP_END_DECLS

#endif
