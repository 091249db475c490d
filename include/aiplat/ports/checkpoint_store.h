/*
 * Port: where runs of graphs are kept between their steps, so that they go on after a crash, in another
 * process, from any step. The stores of jobs implement it (PostgreSQL, SQLite, memory), in the same place,
 * for the jobs' fence guards it. For consumers: the application services; for implementers: every method
 * is required.
 *
 * All methods follow the rules of op.h. What is kept are documents (JSON) that the store does not look
 * into: it knows ids, numbers and order.
 *
 * Checkpoints of one owner (a job, or a thread of jobs) and namespace ("": the graph itself) are numbered from
 * 1. Each says what its step has changed, or, at some, the *base*, all there was: the state at number n
 * is the base of n, changed by all after it up to n. So a checkpoint whose parent is not the number below
 * it is a base itself, and storage grows with what changes.
 */
#ifndef AIPLAT_PORTS_CHECKPOINT_STORE_H
#define AIPLAT_PORTS_CHECKPOINT_STORE_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/id.h>
#include <aiplat/op.h>
#include <aiplat/ports/job_repository.h>

AIP_BEGIN_DECLS

#define AIP_CHECKPOINT_NS_MAX_BYTES 1024

/* What made a checkpoint. */
enum aip_checkpoint_source {
        AIP_CHECKPOINT_INPUT = 0,
        AIP_CHECKPOINT_LOOP,
        AIP_CHECKPOINT_UPDATE, /* somebody wrote to the state, as a node */
        AIP_CHECKPOINT_FORK    /* a run that began at an older one */
};

/* "input" …; static. */
AIP_API const char *aip_checkpoint_source_name(enum aip_checkpoint_source source);

/* What one task of the step after a checkpoint has said. */
struct aip_checkpoint_task {
        int32_t place;        /* among the step's tasks */
        struct aip_str value; /* JSON */
};

struct aip_checkpoint {
        struct aip_id owner;  /* the job's, or the thread's */
        struct aip_str ns;
        int64_t n;            /* 1: the first */
        int64_t parent;       /* 0: none */
        int64_t base;         /* n itself, or below */
        struct aip_id job_id; /* whose run made it */
        int32_t step;
        enum aip_checkpoint_source source;
        int64_t created_at_us;  /* set by the store */
        struct aip_str place;   /* JSON: where the run stands */
        struct aip_str changes; /* JSON: since the parent; of a base: all there is */
};

/*
 * Save, under the fence: only while the job is PROCESSING with that version, that is, while the
 * worker has it by right. Either a checkpoint, or (n_tasks > 0) what tasks of the step after checkpoint
 * `owner, ns, n` have said. Repeating it is harmless. What an older claim of the job left under the same
 * number is replaced.
 */
struct aip_checkpoint_save {
        struct aip_op op;
        struct aip_fence fence;
        struct aip_checkpoint checkpoint; /* of tasks: owner, ns and n count */
        const struct aip_checkpoint_task *tasks;
        size_t n_tasks;
        int ret_is_stale; /* refused: the job is not ours any more */
};

/*
 * Load what is needed to know the state at a number: its base and all up to it, by number, then what tasks
 * of the step after it have said.
 */
struct aip_checkpoint_load {
        struct aip_op op;
        struct aip_id owner;
        struct aip_str ns;
        int64_t n; /* 0: the last */
        /* One block (free()), with all its texts in it; NULL: there is no such checkpoint. */
        struct aip_checkpoint *ret_checkpoints;
        size_t ret_n;
        struct aip_checkpoint_task *ret_tasks; /* one block (free()); NULL: none */
        size_t ret_n_tasks;
};

/* Newest first. Without `changes`. */
#define AIP_CHECKPOINT_LIST_MAX 1000
struct aip_checkpoint_list {
        struct aip_op op;
        struct aip_id owner;
        struct aip_str ns;
        int64_t before; /* only numbers below; 0: from the newest */
        uint32_t limit; /* 1–AIP_CHECKPOINT_LIST_MAX */
        struct aip_checkpoint *ret_checkpoints; /* as above */
        size_t ret_n;
        int ret_has_more;
};

struct aip_checkpoint_store_ops {
        size_t self_size;
        void (*save)(void *self, struct aip_checkpoint_save *save);
        void (*load)(void *self, struct aip_checkpoint_load *load);
        void (*list)(void *self, struct aip_checkpoint_list *list);
};

struct aip_checkpoint_store {
        const struct aip_checkpoint_store_ops *ops;
        void *self;
};

AIP_END_DECLS

#endif
