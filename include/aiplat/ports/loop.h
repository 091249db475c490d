/*
 * Port: the event loop, which is also the clock. One loop thread owns everything that is attached to
 * it. Production runs on libuv (aip_uv_loop_new), simulations on a virtual clock (aip_sim_loop_new).
 *
 * Tasks, timers and watches are intrusive: the caller embeds the struct and keeps it alive; arming
 * a task or a timer allocates nothing and cannot fail.
 */
#ifndef AIPLAT_PORTS_LOOP_H
#define AIPLAT_PORTS_LOOP_H

#include <aiplat/error.h>
#include <stddef.h>

AIP_BEGIN_DECLS

/* Runs once, soon, on the loop thread. */
struct aip_task {
        void (*run)(struct aip_task *task); /* set by the caller */
        struct aip_task *next;              /* the loop's */
        int is_queued;                      /* the loop's */
};

/* Runs once when its time has come. Zero it, set `fire`, then arm it. */
struct aip_timer {
        void (*fire)(struct aip_timer *timer); /* set by the caller */
        int64_t due_ms;                        /* the loop's from here on */
        uint64_t order;                        /* among timers due together: first armed, first fired */
        struct aip_timer *child, *sibling, *previous;
        int is_armed;
};

#define AIP_READABLE 1u
#define AIP_WRITABLE 2u

/* Watches a file descriptor, level-triggered. */
struct aip_watch {
        void (*ready)(struct aip_watch *watch, unsigned events); /* set by the caller */
        int fd;                                                  /* set by the caller */
        unsigned events;                                         /* the loop's */
        void *impl;                                              /* the loop's */
};

struct aip_loop_ops {
        size_t self_size;
        /* Required, loop thread only unless said otherwise. */

        /* Monotonic milliseconds; does not jump. Read fresh at each call. */
        int64_t (*now_ms)(void *self);
        /* Wall clock, microseconds since 1970-01-01 UTC. */
        int64_t (*wall_us)(void *self);
        /* Queue a task behind those already queued. Queuing a queued task does nothing. It runs in a
         * later turn than the caller. */
        void (*defer)(void *self, struct aip_task *task);
        /* Take a queued task off the queue; does nothing when it is not queued. */
        void (*undefer)(void *self, struct aip_task *task);
        /* Any thread: like defer. The task must not be queued by two threads at once. */
        void (*post)(void *self, struct aip_task *task);
        /* Arm (or arm anew) to fire in delay_ms ≥ 0. */
        void (*timer_set)(void *self, struct aip_timer *timer, int64_t delay_ms);
        void (*timer_clear)(void *self, struct aip_timer *timer); /* idempotent */
        /* Watch for `events`; 0 stops. Always stop before the descriptor is closed. May fail with
         * AIP_ENOMEM or AIP_EIO the first time a watch is set; changing events does not fail. */
        int (*watch_set)(void *self, struct aip_watch *watch, unsigned events, aip_error **err);
};

struct aip_loop {
        const struct aip_loop_ops *ops;
        void *self;
};

static inline int64_t aip_now_ms(struct aip_loop loop)
{
        return loop.ops->now_ms(loop.self);
}

static inline int64_t aip_wall_us(struct aip_loop loop)
{
        return loop.ops->wall_us(loop.self);
}

static inline void aip_defer(struct aip_loop loop, struct aip_task *task)
{
        loop.ops->defer(loop.self, task);
}

static inline void aip_undefer(struct aip_loop loop, struct aip_task *task)
{
        loop.ops->undefer(loop.self, task);
}

static inline void aip_post(struct aip_loop loop, struct aip_task *task)
{
        loop.ops->post(loop.self, task);
}

static inline void aip_timer_set(struct aip_loop loop, struct aip_timer *timer, int64_t delay_ms)
{
        loop.ops->timer_set(loop.self, timer, delay_ms);
}

static inline void aip_timer_clear(struct aip_loop loop, struct aip_timer *timer)
{
        loop.ops->timer_clear(loop.self, timer);
}

static inline int aip_watch_set(struct aip_loop loop, struct aip_watch *watch, unsigned events,
                                aip_error **err)
{
        return loop.ops->watch_set(loop.self, watch, events, err);
}

AIP_END_DECLS

#endif
