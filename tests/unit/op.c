/* Operations: `done` comes later and once, also from another thread; queues keep order. */
#include <aiplat/loops.h>
#include <aiplat/op.h>
#include <criterion/criterion.h>

struct probe {
        struct aip_op op;
        int n_done;
};

static void done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct probe, op)->n_done++;
}

Test(op, done_comes_later_exactly_once)
{
        aip_sim_loop *sim = NULL;
        aip_sim_loop_new(0, &sim, NULL);
        struct probe probe = {.op.done = done};
        aip_op_finish(aip_sim_loop_port(sim), &probe.op, NULL);
        cr_assert_eq(probe.n_done, 0);
        while (aip_sim_loop_step(sim))
                ;
        cr_assert_eq(probe.n_done, 1);
        cr_assert_null(probe.op.err);
        aip_sim_loop_free(sim);
}

Test(op, an_error_is_handed_to_the_caller_and_the_struct_may_serve_again)
{
        aip_sim_loop *sim = NULL;
        aip_sim_loop_new(0, &sim, NULL);
        struct probe probe = {.op.done = done};
        for (int i = 1; i <= 3; i++) {
                aip_error *err = NULL;
                aip_error_set(&err, AIP_ECANCELLED, "round %d", i);
                aip_op_finish_from_thread(aip_sim_loop_port(sim), &probe.op, err);
                aip_sim_loop_step(sim);
                cr_assert_eq(probe.n_done, i);
                cr_assert_eq(aip_error_code(probe.op.err), AIP_ECANCELLED);
                aip_error_free(probe.op.err);
        }
        aip_sim_loop_free(sim);
}

Test(op, queues_are_first_in_first_out_and_let_go_of_any)
{
        struct aip_op_queue queue = {0};
        struct aip_op ops[5] = {{0}};
        cr_assert_null(aip_op_queue_pop(&queue));
        for (int i = 0; i < 5; i++)
                aip_op_queue_push(&queue, &ops[i]);
        cr_assert_eq(queue.n, 5u);
        aip_op_queue_remove(&queue, &ops[2]);
        aip_op_queue_remove(&queue, &ops[0]);
        aip_op_queue_remove(&queue, &ops[4]);
        cr_assert_eq(aip_op_queue_pop(&queue), &ops[1]);
        cr_assert_eq(aip_op_queue_pop(&queue), &ops[3]);
        cr_assert_null(aip_op_queue_pop(&queue));
        cr_assert_eq(queue.n, 0u);
        cr_assert_null(queue.last);
        aip_op_queue_push(&queue, &ops[0]);
        cr_assert_eq(aip_op_queue_pop(&queue), &ops[0]);
}
