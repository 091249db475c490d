/*
 * A loop for tests that wait for something: libuv's for adapters with sockets and threads, the
 * virtual one for those in memory. Called by the contract and integration suites. Waiting always
 * has an end, in seconds of the loop's clock.
 */
#ifndef AIPLAT_TESTS_TEST_LOOP_H
#define AIPLAT_TESTS_TEST_LOOP_H

#include <aiplat/loops.h>
#include <aiplat/op.h>
#include <assert.h>

struct test_loop {
        struct aip_loop port;
        aip_uv_loop *uv;
        aip_sim_loop *sim;
        struct aip_timer tick;
        int (*is_reached)(void *user);
        void *user;
        int64_t give_up_ms;
};

static inline void test_loop_open(struct test_loop *loop, int is_virtual)
{
        *loop = (struct test_loop){0};
        int r = is_virtual ? aip_sim_loop_new(1700000000000000, &loop->sim, NULL)
                           : aip_uv_loop_new(&loop->uv, NULL);
        assert(r == 0);
        (void)r;
        loop->port = is_virtual ? aip_sim_loop_port(loop->sim) : aip_uv_loop_port(loop->uv);
}

static inline void test_loop_close(struct test_loop *loop)
{
        aip_sim_loop_free(loop->sim);
        aip_uv_loop_free(loop->uv);
}

static inline void test_loop_tick(struct aip_timer *timer)
{
        struct test_loop *loop = AIP_CONTAINER_OF(timer, struct test_loop, tick);
        if (loop->is_reached(loop->user) || aip_now_ms(loop->port) >= loop->give_up_ms)
                aip_uv_loop_stop(loop->uv);
        else
                aip_timer_set(loop->port, timer, 1);
}

/* Run until `is_reached` says so; returns what it says in the end. */
static inline int test_loop_wait(struct test_loop *loop, int timeout_s,
                                 int (*is_reached)(void *user), void *user)
{
        loop->is_reached = is_reached;
        loop->user = user;
        loop->give_up_ms = aip_now_ms(loop->port) + (int64_t)timeout_s * 1000;
        if (loop->sim) {
                while (!is_reached(user) && aip_now_ms(loop->port) < loop->give_up_ms)
                        if (!aip_sim_loop_step(loop->sim))
                                break;
        } else if (!is_reached(user)) {
                loop->tick.fire = test_loop_tick;
                aip_timer_set(loop->port, &loop->tick, 0);
                aip_uv_loop_run(loop->uv);
                aip_timer_clear(loop->port, &loop->tick);
        }
        return is_reached(user);
}

static inline int test_loop_never(void *user)
{
        (void)user;
        return 0;
}

/* Let time pass, and whatever happens in it. */
static inline void test_loop_pass_ms(struct test_loop *loop, int64_t ms)
{
        if (loop->sim) {
                aip_sim_loop_run_until(loop->sim, aip_now_ms(loop->port) + ms);
                return;
        }
        loop->is_reached = test_loop_never;
        loop->give_up_ms = aip_now_ms(loop->port) + ms;
        loop->tick.fire = test_loop_tick;
        aip_timer_set(loop->port, &loop->tick, 0);
        aip_uv_loop_run(loop->uv);
}

/* An operation that remembers how often and how it ended. */
struct test_op {
        struct aip_op op;
        int n_done;
};

static inline void test_op_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct test_op, op)->n_done++;
}

static inline int test_op_is_done(void *user)
{
        return ((struct test_op *)user)->n_done > 0;
}

/* Close a store, a queue, a cache … and wait for it. */
static inline int test_loop_close_with(struct test_loop *loop,
                                       void (*close)(void *self, struct aip_op *op), void *self)
{
        struct test_op op = {.op.done = test_op_done};
        close(self, &op.op);
        int is_closed = test_loop_wait(loop, 20, test_op_is_done, &op);
        aip_error_free(op.op.err);
        return is_closed;
}

#endif
