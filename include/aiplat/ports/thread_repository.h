/*
 * Port: threads as a whole: which there are, how each stands, and a state that somebody writes to one while
 * none of its jobs is active. The stores of jobs implement it; that jobs take turns is job_repository.h, what
 * runs leave behind is checkpoint_store.h. For implementers: every method is required.
 *
 * All methods follow the rules of op.h.
 */
#ifndef AIPLAT_PORTS_THREAD_REPOSITORY_H
#define AIPLAT_PORTS_THREAD_REPOSITORY_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/ports/checkpoint_store.h>

AIP_BEGIN_DECLS

/* A thread comes into being with its first job, or with a state that is written to it. Plain data. */
struct aip_thread {
        struct aip_id id;
        int64_t created_at_us;
        int64_t updated_at_us; /* when it was given a job, or a state, last */
        struct aip_id job_id;  /* the active one, else the last that is kept; nil: none is */
        enum aip_job_status job_status; /* of that job */
        int64_t n_waiting;              /* jobs that wait for their turn */
        int64_t checkpoint;             /* its last; 0: it has none */
};

/* By creation, newest first. */
#define AIP_THREAD_LIST_MAX 1000
struct aip_thread_list {
        struct aip_op op;
        struct aip_id id;          /* only this one; nil: all */
        int64_t before_created_us; /* only those after this one in the list; 0: from the newest */
        struct aip_id before_id;
        uint32_t limit;                 /* 1–AIP_THREAD_LIST_MAX */
        struct aip_thread *ret_threads; /* owned by caller (free()); NULL: none */
        size_t ret_n;
        int ret_has_more;
};

enum aip_thread_update_outcome {
        AIP_THREAD_UPDATED = 0,
        AIP_THREAD_UPDATE_BUSY,   /* a job of the thread has not ended */
        AIP_THREAD_UPDATE_CHANGED /* it has a checkpoint of that number already */
};

/*
 * Store a checkpoint (source UPDATE) that no run has made; owner is the thread, which is made when it is not
 * there. Repeating the same is harmless.
 */
struct aip_thread_update {
        struct aip_op op;
        struct aip_checkpoint checkpoint;
        enum aip_thread_update_outcome ret_outcome;
};

struct aip_thread_repository_ops {
        size_t self_size;
        void (*list)(void *self, struct aip_thread_list *list);
        void (*update)(void *self, struct aip_thread_update *update);
};

struct aip_thread_repository {
        const struct aip_thread_repository_ops *ops;
        void *self;
};

AIP_END_DECLS

#endif
