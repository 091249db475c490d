/* The outbox relay by itself, on a queue whose confirms a test gives: what it sends when, and that
 * nothing is sent any more once its closing deadline has passed. */
#include "macros.h"
#include "test_loop.h"
#include <aiplat/outbox_relay.h>
#include <criterion/criterion.h>

#define HELD_MAX 4096

static struct test_loop loop;
static struct aip_publish *held[HELD_MAX];
#define GATHER_MS 25 /* a little longer than rows to remove are gathered */

static size_t n_held, n_published, n_forgotten, n_removals;
static aip_outbox_relay *relay;

static void hold(void *self, struct aip_publish *publish)
{
        (void)self;
        cr_assert_lt(n_held, (size_t)HELD_MAX);
        held[n_held++] = publish;
        n_published++;
}

/* The latest `n`. */
static void confirm(size_t n, int is_refused)
{
        n_held -= n;
        for (size_t i = n_held; i < n_held + n; i++) {
                aip_error *err = NULL;

                if (is_refused)
                        aip_error_set(&err, AIP_EUNAVAILABLE, "refused");
                aip_op_finish(loop.port, &held[i]->op, err);
        }
}

static int is_connected(void *self)
{
        (void)self;
        return 1;
}

static void forget(void *self, struct aip_op *op, const int64_t *ids, size_t n)
{
        (void)self, (void)ids;
        n_forgotten += n;
        n_removals++;
        aip_op_finish(loop.port, op, NULL);
}

static size_t n_sweeps;

static void count_sweep(void *self, struct aip_chores *chores)
{
        (void)self;
        n_sweeps++;
        aip_op_finish(loop.port, &chores->op, NULL);
}

static void no_chores(void *self, struct aip_chores *chores)
{
        (void)self;
        aip_op_finish(loop.port, &chores->op, NULL);
}

static void open_relay(void)
{
        static const struct aip_queue_ops queue = {.self_size = sizeof(queue),
                                                   .name = "held",
                                                   .publish = hold,
                                                   .is_connected = is_connected};
        static const struct aip_job_repository_ops jobs = {.self_size = sizeof(jobs),
                                                           .name = "none",
                                                           .forget = forget,
                                                           .sweep = count_sweep,
                                                           .promote = no_chores,
                                                           .recover = no_chores};
        struct aip_outbox_relay_options o = {.self_size = sizeof(o)};

        test_loop_open(&loop, 1);
        o.loop = loop.port;
        o.jobs.ops = &jobs;
        o.queue.ops = &queue;
        cr_assert_eq(aip_outbox_relay_new(&o, &relay, NULL), 0);
}

static void push(int64_t n)
{
        for (int64_t i = 1; i <= n; i++) {
                struct aip_transition t = {.outbox_id = i, .version = 1, .is_runnable = 1};

                t.kind = AIP_TRANSITION_CREATED;
                t.to = AIP_JOB_QUEUED;
                t.at_us = 1;
                aip_outbox_relay_push(relay, &t);
        }
}

TestSuite(relay_alone, .init = open_relay);

Test(relay_alone, a_row_is_forgotten_when_all_its_messages_are_confirmed)
{
        struct test_op op = {.op.done = test_op_done};

        push(1);
        test_loop_pass_ms(&loop, 1);
        cr_assert_eq(n_held, 1u, "the task");
        aip_op_finish(loop.port, &held[0]->op, NULL);
        test_loop_pass_ms(&loop, 1);
        cr_assert_eq(n_held, 2u, "then the event");
        cr_expect_eq(n_forgotten, 0u);
        aip_op_finish(loop.port, &held[1]->op, NULL);
        test_loop_pass_ms(&loop, GATHER_MS);
        cr_expect_eq(n_forgotten, 1u);
        aip_outbox_relay_close(relay, &op.op);
        cr_expect(test_loop_wait(&loop, 1, test_op_is_done, &op));
        test_loop_close(&loop);
}

static void live_one_job(void)
{
        push(1);
        for (int i = 0; i < 2; i++) { /* the task, then the event */
                test_loop_pass_ms(&loop, 1);
                confirm(n_held, 0);
        }
}

/* Rows of lone jobs, one after the other, do not cost a removal each; closing does not wait. */
Test(relay_alone, rows_are_gathered_before_they_are_forgotten)
{
        struct test_op op = {.op.done = test_op_done};

        for (int i = 0; i < 5; i++)
                live_one_job();
        cr_expect_eq(n_removals, 0u);
        test_loop_pass_ms(&loop, GATHER_MS);
        cr_expect_eq(n_removals, 1u);
        cr_expect_eq(n_forgotten, 5u);
        live_one_job();
        aip_outbox_relay_close(relay, &op.op);
        cr_expect(test_loop_wait(&loop, 1, test_op_is_done, &op));
        cr_expect_eq(n_removals, 2u);
        test_loop_close(&loop);
}

/* `n` of the transitions that one row of `of` holds. */
static void push_of_row(int64_t id, int n, int of)
{
        for (int i = 0; i < n; i++) {
                struct aip_transition t = {.outbox_id = id, .outbox_n = of, .version = 1};

                t.kind = AIP_TRANSITION_CREATED;
                t.at_us = 1;
                aip_outbox_relay_push(relay, &t);
        }
}

static void confirm_one(size_t i, int is_refused)
{
        aip_error *err = NULL;

        if (is_refused)
                aip_error_set(&err, AIP_EUNAVAILABLE, "refused");
        aip_op_finish(loop.port, &held[i]->op, err);
        test_loop_pass_ms(&loop, GATHER_MS);
}

static void close_alone(void)
{
        struct test_op op = {.op.done = test_op_done};

        aip_outbox_relay_close(relay, &op.op);
        cr_expect(test_loop_wait(&loop, 1, test_op_is_done, &op));
        test_loop_close(&loop);
}

Test(relay_alone, a_row_of_many_is_forgotten_when_all_came_and_are_confirmed)
{
        push_of_row(7, 2, 3);
        test_loop_pass_ms(&loop, 1);
        confirm_one(0, 0);
        confirm_one(1, 0);
        cr_expect_eq(n_forgotten, 0u, "one is still to come");
        push_of_row(7, 1, 3);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_forgotten, 0u);
        confirm_one(2, 0);
        cr_expect_eq(n_forgotten, 1u);
        close_alone();
}

Test(relay_alone, a_row_of_many_stays_when_one_is_refused)
{
        push_of_row(7, 2, 2);
        test_loop_pass_ms(&loop, 1);
        confirm_one(0, 1);
        confirm_one(1, 0);
        cr_expect_eq(n_forgotten, 0u);
        push_of_row(7, 2, 2); /* published again: a row like any other */
        test_loop_pass_ms(&loop, 1);
        confirm_one(2, 0);
        confirm_one(3, 0);
        cr_expect_eq(n_forgotten, 1u);
        push_of_row(8, 1, 2); /* of this one a transition never comes */
        test_loop_pass_ms(&loop, 1);
        confirm_one(4, 0);
        cr_expect_eq(n_forgotten, 1u);
        close_alone();
}

Test(relay_alone, one_refused_message_keeps_the_row)
{
        struct test_op op = {.op.done = test_op_done};
        aip_error *err = NULL;

        push(1);
        test_loop_pass_ms(&loop, 1);
        aip_error_set(&err, AIP_EUNAVAILABLE, "refused");
        aip_op_finish(loop.port, &held[0]->op, err);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_published, 1u, "no event without its task");
        cr_expect_eq(n_forgotten, 0u);
        aip_outbox_relay_close(relay, &op.op);
        cr_expect(test_loop_wait(&loop, 1, test_op_is_done, &op));
        test_loop_close(&loop);
}

static void confirm_to_the_end(void)
{
        while (n_held > 0) {
                confirm(n_held, 0);
                test_loop_pass_ms(&loop, 1);
        }
        test_loop_pass_ms(&loop, GATHER_MS);
}

static void push_events(int64_t from, int64_t n)
{
        for (int64_t i = from; i < from + n; i++) {
                struct aip_transition t = {.outbox_id = i, .version = 1};

                t.kind = AIP_TRANSITION_CREATED;
                t.at_us = 1;
                aip_outbox_relay_push(relay, &t);
        }
}

/* Until an event has been routed, one asks for all. */
static void learn_that_somebody_is_bound(void)
{
        push_events(1000000, 1);
        test_loop_pass_ms(&loop, 1);
        confirm(1, 0);
        test_loop_pass_ms(&loop, GATHER_MS);
        n_published = n_forgotten = n_removals = 0;
}

Test(relay_alone, a_thousand_tasks_and_a_few_events_are_unconfirmed_at_most)
{
        learn_that_somebody_is_bound();
        push(1700);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_held, 1000u);
        confirm(n_held, 0);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_held, 700u + 64u);
        confirm_to_the_end();
        cr_expect_eq(n_published, 2u * 1700u);
        cr_expect_eq(n_forgotten, 1700u);
        close_alone();
}

Test(relay_alone, the_window_of_events_opens_as_they_wait)
{
        learn_that_somebody_is_bound();
        push_events(1, 2000);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_held, 64u);
        test_loop_pass_ms(&loop, 1100);
        confirm(64, 0);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_held, 200u);
        test_loop_pass_ms(&loop, 1000);
        confirm(200, 0);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_held, 400u);
        confirm_to_the_end();
        cr_expect_eq(n_forgotten, 2000u);
        close_alone();
}

/* Of 20,000 places events may have half; the rest of them is left to the sweep. */
Test(relay_alone, a_task_finds_room_beside_any_number_of_events)
{
        learn_that_somebody_is_bound();
        push_events(1, 30000);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(aip_outbox_relay_waiting(relay), 10000u);
        push(1);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_held, 65u);
        confirm_to_the_end();
        close_alone();
}

static void confirm_unbound(size_t i)
{
        held[i]->ret_is_unbound = 1;
        confirm_one(i, 0);
}

Test(relay_alone, one_event_asks_for_all_whether_anybody_is_bound)
{
        push_events(1, 500);
        test_loop_pass_ms(&loop, 1);
        cr_assert_eq(n_published, 1u);
        push_events(501, 10); /* began to wait after it was asked: they ask again */
        confirm_unbound(0);
        cr_expect_eq(n_forgotten, 500u);
        cr_assert_eq(n_published, 2u);
        push_events(511, 10);
        confirm_one(1, 0); /* now somebody is */
        cr_expect_eq(n_forgotten, 501u);
        cr_expect_eq(n_published, 2u + 9u + 10u);
        confirm_unbound(2); /* and has gone: those on their way are answered each, the next asks */
        push_events(521, 10);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_published, 2u + 9u + 10u + 1u);
        for (size_t i = 3; i < 22; i++)
                confirm_unbound(i);
        cr_expect_eq(n_forgotten, 530u);
        cr_expect_eq(n_published, 22u);
        close_alone();
}

/* "Changed" has a listener, "completed" has none. */
Test(relay_alone, each_kind_of_event_is_asked_for_by_itself)
{
        for (int64_t i = 1; i <= 10; i++) {
                struct aip_transition t = {.outbox_id = i, .version = 3};

                t.kind = AIP_TRANSITION_COMPLETED;
                t.from = AIP_JOB_PROCESSING;
                t.to = AIP_JOB_COMPLETED;
                t.at_us = 1;
                aip_outbox_relay_push(relay, &t);
        }
        test_loop_pass_ms(&loop, 1);
        cr_assert_eq(n_published, 2u);
        confirm_one(0, 0);
        confirm_unbound(1);
        cr_expect_eq(n_published, 2u + 9u);
        for (size_t i = 2; i < 11; i++) {
                cr_expect_str_eq(held[i]->routing_key, "job.status_changed");
                confirm_one(i, 0);
        }
        cr_expect_eq(n_forgotten, 10u);
        close_alone();
}

Test(relay_alone, an_event_that_failed_says_nothing_about_others)
{
        push_events(1, 3);
        test_loop_pass_ms(&loop, 1);
        confirm_one(0, 1);
        cr_expect_eq(n_published, 2u, "the next one asks");
        confirm_unbound(1);
        cr_expect_eq(n_forgotten, 2u);
        cr_expect_eq(n_published, 2u);
        close_alone();
}

Test(relay_alone, nothing_is_sent_after_the_closing_deadline)
{
        struct test_op op = {.op = {.done = test_op_done, .deadline_ms = 50}};

        push(3000);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(n_published, 1000u);
        aip_outbox_relay_close(relay, &op.op);
        test_loop_pass_ms(&loop, 100);
        cr_expect_eq(op.n_done, 0, "what was sent is waited for");
        confirm(500, 1);
        test_loop_pass_ms(&loop, 1);
        confirm(n_held, 1);
        test_loop_pass_ms(&loop, 1);
        cr_expect_eq(op.n_done, 1);
        cr_expect_eq(n_published, 1000u, "%zu", n_published);
        test_loop_close(&loop);
}

Test(relay_alone, nothing_is_swept_while_rows_as_old_wait_here)
{
        aip_outbox_relay_start(relay);
        push(1200);
        test_loop_pass_ms(&loop, 2000);
        cr_expect_eq(n_sweeps, 3u);
        test_loop_pass_ms(&loop, 10000);
        cr_expect_eq(n_sweeps, 3u, "it would find what waits here: %zu", n_sweeps);
        confirm_to_the_end();
        test_loop_pass_ms(&loop, 2000);
        cr_expect_eq(n_sweeps, 5u);
        close_alone();
}

Test(relay_alone, transitions_without_messages_are_forgotten_also_while_closing)
{
        struct test_op op = {.op.done = test_op_done};
        struct aip_transition t = {.outbox_id = 5, .version = 2, .kind = AIP_TRANSITION_DUE};

        aip_outbox_relay_push(relay, &t); /* no task, no event */
        aip_outbox_relay_close(relay, &op.op);
        cr_expect(test_loop_wait(&loop, 1, test_op_is_done, &op));
        cr_expect_eq(n_forgotten, 1u);
        test_loop_close(&loop);
}
