/*
 * Intrusive asynchronous operations. Every asynchronous request of aiplat is a struct that starts
 * with an `aip_op`, is owned by the caller, and stays in place from the call until `done`.
 * Starting one allocates nothing. `done` is called exactly once, always later than the call that
 * started it, on the loop thread, also after a cancel.
 *
 * Inputs of an operation (strings, arrays, objects it points to) are borrowed until `done`.
 * Results (`ret_*`) are owned by the caller from `done` on; on failure (`err` set) they are untouched.
 */
#ifndef AIPLAT_OP_H
#define AIPLAT_OP_H

#include <aiplat/ports/loop.h>

AIP_BEGIN_DECLS

struct aip_op {
        /* set by the caller */
        void (*done)(struct aip_op *op);
        int64_t deadline_ms; /* loop time after which it ends with AIP_ETIMEOUT; 0: the adapter's own */

        /* result: NULL on success; owned by the caller, who frees it with aip_error_free() */
        aip_error *err;

        /* the adapter's, from the call until `done` */
        struct aip_task task;
        struct aip_op *next, *previous;
        void *impl;

        /* the caller's own, untouched by everybody else */
        void *user;
};

/* For adapters: finish `op` from the loop thread; `err` (NULL: success) is consumed always.
 * `done` runs in a later turn of the loop. */
AIP_API void aip_op_finish(struct aip_loop loop, struct aip_op *op, aip_error *err);
/* The same, callable from any thread. */
AIP_API void aip_op_finish_from_thread(struct aip_loop loop, struct aip_op *op, aip_error *err);

/* A first-in first-out queue of operations, intrusive. Zeroed memory is an empty queue. */
struct aip_op_queue {
        struct aip_op *first, *last;
        size_t n;
};

AIP_API void aip_op_queue_push(struct aip_op_queue *queue, struct aip_op *op);
AIP_API struct aip_op *aip_op_queue_pop(struct aip_op_queue *queue); /* NULL when empty */
AIP_API void aip_op_queue_remove(struct aip_op_queue *queue, struct aip_op *op);

/* The struct that `member` (an aip_op, a task, a timer …) is embedded in. */
#define AIP_CONTAINER_OF(pointer, type, member)                                                    \
        ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

AIP_END_DECLS

#endif
