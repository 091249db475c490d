/* The outbox relay: what is confirmed is forgotten, what is not is swept, memory stays bounded, and
 * closing has an end. */
#include "one_node.h"

static struct one_node one;

static void open_relay(void)
{
        one_node_open(&one, (struct node_options){.seed = 1, .relay_max_waiting = 600});
}

static void close_relay(void)
{
        one_node_close(&one);
}

TestSuite(outbox_relay, .init = open_relay, .fini = close_relay);

Test(outbox_relay, publishes_then_forgets)
{
        submit(&one, submit_of("p", "fast"));
        cr_expect_eq(one.memory->outbox.n, 1u);
        pass_ms(&one, 1);
        cr_expect_eq(one.broker.n_tasks, 1u);
        cr_expect_eq(broker_events(&one.broker, "job.created"), 1u);
        pass_ms(&one, 25);
        cr_expect_eq(one.memory->outbox.n, 0u);
        cr_expect_eq(aip_outbox_relay_waiting(one.node.relay), 0u);
}

Test(outbox_relay, what_is_not_confirmed_stays_and_is_swept)
{
        one.broker.refused_permille = 1000;
        submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 3000);
        cr_expect_eq(one.memory->outbox.n, 1u);
        one.broker.refused_permille = 0;
        pass_ms(&one, 4000);
        cr_expect_eq(one.memory->outbox.n, 0u);
        cr_expect_geq(one.broker.n_tasks, 1u);
}

Test(outbox_relay, rows_that_could_not_be_removed_are_published_once_more)
{
        one.node.jobs.script[CALL_FORGET].fault = FAULT_BEFORE;
        one.node.jobs.script[CALL_FORGET].n = 1;
        submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 100);
        cr_expect_eq(one.memory->outbox.n, 1u);
        pass_ms(&one, 7000);
        cr_expect_eq(one.memory->outbox.n, 0u);
        cr_expect_eq(one.broker.n_tasks, 2u);
}

static void submit_many(int n)
{
        for (int i = 0; i < n; i++)
                submit(&one, submit_of("p", "fast"));
}

Test(outbox_relay, holds_no_more_than_it_may_and_loses_nothing)
{
        one.broker.delay_ms = 200000; /* confirms take for ever */
        submit_many(1500);
        cr_expect_leq(aip_outbox_relay_waiting(one.node.relay), 600u);
        cr_expect_leq(one.broker.n_tasks, 600u);
        one.broker.delay_ms = 0;
        pass_ms(&one, 300000);
        cr_expect_eq(one.memory->outbox.n, 0u);
        cr_expect_geq(one.broker.n_tasks, 1500u);
}

Test(outbox_relay, rows_of_processes_that_died_are_swept)
{
        struct aip_job_create create = {.op.done = count_done};
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        aip_job *job = NULL;

        spec.prompt = aip_str_of("p");
        cr_assert_eq(aip_job_new((struct aip_id){{7}}, &spec, aip_wall_us(one.loop.port), &job, NULL), 0);
        create.job = job;
        one.store.jobs.ops->create(one.store.jobs.self, &create);
        await(&one, &create.op);
        cr_assert_null(create.op.err);
        aip_job_free(job);
        pass_ms(&one, 4000);
        cr_expect_eq(one.broker.n_tasks, 0u);
        pass_ms(&one, 3000);
        cr_expect_eq(one.broker.n_tasks, 1u);
        cr_expect_eq(one.memory->outbox.n, 0u);
}

Test(outbox_relay, nothing_is_swept_while_the_broker_is_away)
{
        one.broker.is_down = 1;
        submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 20000);
        cr_expect_eq(one.node.jobs.n_calls[CALL_SWEEP], 1u, "at the start only");
        one.broker.is_down = 0;
        pass_ms(&one, 7000);
        cr_expect_eq(one.memory->outbox.n, 0u);
}

Test(outbox_relay, delayed_jobs_are_promoted_when_they_are_due)
{
        struct aip_job_submit s = submit_of("p", "fast");

        s.delay_ms = 3210;
        submit(&one, s);
        pass_ms(&one, 3200);
        cr_expect_eq(one.broker.n_tasks, 0u);
        pass_ms(&one, 11);
        cr_expect_eq(one.broker.n_tasks, 1u);
}

Test(outbox_relay, chores_that_fail_are_tried_again)
{
        struct aip_job_submit s = submit_of("p", "fast");

        for (int i = CALL_PROMOTE; i <= CALL_SWEEP; i++) {
                one.node.jobs.script[i].fault = FAULT_BEFORE;
                one.node.jobs.script[i].n = 3;
        }
        s.delay_ms = 100;
        submit(&one, s);
        pass_ms(&one, 5000);
        cr_expect_eq(one.broker.n_tasks, 1u);
        cr_expect_eq(one.memory->outbox.n, 0u);
}

Test(outbox_relay, transitions_without_a_row_are_not_published)
{
        struct aip_transition t = {.job_id = {{1}}, .is_runnable = 1};

        aip_outbox_relay_push(one.node.relay, &t);
        cr_expect_eq(aip_outbox_relay_waiting(one.node.relay), 0u);
}

/* ── closing ─────────────────────────────────────────────────────────────────────────────────── */

Test(outbox_relay, closing_publishes_and_forgets_what_is_held)
{
        for (int i = 0; i < 200; i++) {
                struct aip_job_submit *s = calloc(1, sizeof(*s));

                *s = submit_of("p", "fast");
                aip_job_service_submit(one.node.service, s);
                await(&one, &s->op);
                free(s);
        }
        node_begin_close(&one.node, 0);
        cr_assert(test_loop_wait(&one.loop, 10, node_is_closed, &one.node));
        cr_expect_eq(one.broker.n_tasks, 200u);
        cr_expect_eq(one.memory->outbox.n, 0u);
}

Test(outbox_relay, closing_ends_soon_after_its_deadline)
{
        int64_t began_ms;

        one.broker.delay_ms = 4000;
        for (int i = 0; i < 550; i++)
                submit(&one, submit_of("p", "fast"));
        one.node.jobs.delay_ms = 3000;
        began_ms = now_ms(&one);
        node_begin_close(&one.node, 0); /* gives the relay a second */
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &one.node));
        cr_expect_leq(now_ms(&one) - began_ms, 1000 + 4000 + 6000, "%lld ms",
                      (long long)(now_ms(&one) - began_ms));
}
