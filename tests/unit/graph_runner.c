/* The runner on the virtual clock: asynchronous nodes that finish in any order, cancels at every
 * point, deadlines, failures, double finishes. */
#include "alloc_fail.h"
#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_run.h>
#include <aiplat/loops.h>
#include <pthread.h>
#include <unistd.h>

/* An asynchronous node that waits on a timer, then logs its name. Its user pointer says how long,
 * and how it ends. */
struct waiter {
        int64_t delay_ms;   /* negative: finish within start */
        const char *error;  /* fail with it */
        int ignores_cancel; /* go on to the end; else finish within cancel */
        int finishes_twice;
        int n_started, n_cancelled, n_finished;
};

struct waiting {
        struct aip_timer timer;
        struct waiter *waiter;
        aip_graph_task *task;
};

static void finish_waiting(struct waiting *w)
{
        struct waiter *waiter = w->waiter;
        aip_graph_task *task = w->task;
        aip_error *err = NULL;
        waiter->n_finished++;
        if (waiter->error)
                aip_error_set(&err, AIP_EUPSTREAM, "%s", waiter->error);
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(aip_graph_task_node(task))));
        aip_value *update = aip_value_object();
        if (update && aip_value_object_set_cstr(&update, "n", aip_value_int(1)) < 0) {
                aip_value_unref(update);
                update = NULL;
        }
        if (!update && !err)
                aip_error_set_nomem(&err);
        aip_value *again = waiter->finishes_twice ? aip_value_ref(update) : NULL;
        aip_graph_task_finish(task, update, err);
        if (waiter->finishes_twice)
                aip_graph_task_finish(task, again, NULL);
}

static void waited(struct aip_timer *timer)
{
        finish_waiting(AIP_CONTAINER_OF(timer, struct waiting, timer));
}

static void start_waiting(void *user, aip_graph_task *task)
{
        struct waiting *w = aip_graph_task_memory(task);
        w->waiter = user;
        w->task = task;
        w->waiter->n_started++;
        w->timer.fire = waited;
        if (w->waiter->delay_ms < 0)
                finish_waiting(w);
        else
                aip_timer_set(aip_graph_task_loop(task), &w->timer, w->waiter->delay_ms);
}

static void cancel_waiting(void *user, aip_graph_task *task)
{
        struct waiter *waiter = user;
        struct waiting *w = aip_graph_task_memory(task);
        waiter->n_cancelled++;
        if (waiter->ignores_cancel)
                return;
        aip_error *err = NULL;
        aip_error_set(&err, AIP_ECANCELLED, "cancelled");
        aip_timer_clear(aip_graph_task_loop(task), &w->timer);
        waiter->n_finished++;
        aip_graph_task_finish(task, NULL, err);
}

static void add_waiter(aip_graph_builder *b, const char *name, struct waiter *waiter)
{
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        options.start = start_waiting;
        options.cancel = cancel_waiting;
        options.task_bytes = sizeof(struct waiting);
        options.user = waiter;
        aip_graph_builder_add_node(b, name, &options);
}

#define N_WAITERS 5

/* begin → a…e side by side → end; all but the last are asynchronous. */
static aip_graph_builder *fan_builder(struct waiter waiters[N_WAITERS], struct waiter *begin)
{
        static const char *const names[N_WAITERS] = {"a", "b", "c", "d", "e"};
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_ADD);
        add_waiter(b, "begin", begin);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "begin");
        for (int i = 0; i < N_WAITERS; i++) {
                add_waiter(b, names[i], &waiters[i]);
                aip_graph_builder_add_edge(b, "begin", names[i]);
                aip_graph_builder_add_edge(b, names[i], "end");
        }
        aip_graph_builder_add_function(b, "end", write_json, (void *)"{\"log\":\"end\"}");
        aip_graph_builder_add_edge(b, "end", AIP_GRAPH_END);
        return b;
}

#define FAN_STATE "{\"log\":[\"begin\",\"a\",\"b\",\"c\",\"d\",\"e\",\"end\"],\"n\":6}"

/* A run with everything around it. */
struct bench {
        aip_sim_loop *sim;
        struct aip_loop loop;
        aip_graph *graph;
        struct aip_graph_run run;
        int n_done;
};

static void run_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct bench, run.op)->n_done++;
}

static void bench_init(struct bench *bench, aip_graph *graph)
{
        *bench = (struct bench){.graph = graph};
        cr_assert_eq(aip_sim_loop_new(0, &bench->sim, NULL), 0);
        bench->loop = aip_sim_loop_port(bench->sim);
        bench->run = (struct aip_graph_run)AIP_GRAPH_RUN_INIT;
        bench->run.op.done = run_done;
        bench->run.graph = graph;
}

static void bench_deinit(struct bench *bench)
{
        cr_assert_eq(bench->n_done, 1, "done ran %d times", bench->n_done);
        aip_value_unref(bench->run.ret_state);
        aip_error_free(bench->run.op.err);
        aip_graph_unref(bench->graph);
        aip_sim_loop_free(bench->sim);
}

static void run_to_end(struct bench *bench)
{
        aip_graph_run_start(bench->loop, &bench->run);
        cr_assert_eq(bench->n_done, 0, "done within start");
        while (aip_sim_loop_step(bench->sim))
                ;
}

static void assert_waiters_ended(const struct waiter *waiters, size_t n)
{
        for (size_t i = 0; i < n; i++)
                cr_assert_eq(waiters[i].n_started, waiters[i].n_finished,
                             "waiter %zu started %d times, finished %d times", i,
                             waiters[i].n_started, waiters[i].n_finished);
}

Test(graph_runner, tasks_may_finish_in_any_order)
{
        struct aip_seeded_random generator;
        struct aip_random random = aip_random_seeded(&generator, 42);
        for (int seed = 0; seed < 300; seed++) {
                struct waiter waiters[N_WAITERS] = {0}, begin = {0};
                struct bench bench;
                begin.delay_ms = (int64_t)(aip_random_u64(random) % 3) - 1;
                for (int i = 0; i < N_WAITERS; i++)
                        waiters[i].delay_ms = (int64_t)(aip_random_u64(random) % 8) - 2;
                bench_init(&bench, compile(fan_builder(waiters, &begin)));
                run_to_end(&bench);
                cr_assert_null(bench.run.op.err, "%s", aip_error_message(bench.run.op.err));
                cr_assert_eq(bench.run.ret_steps, 3);
                assert_value(aip_value_ref(bench.run.ret_state), FAN_STATE, "state");
                bench_deinit(&bench);
        }
}

/* A cancel before every single event of a run: it ends once, with AIP_ECANCELLED or, if it had
 * settled before, with its result; whatever started also finished. */
Test(graph_runner, may_be_cancelled_at_any_point)
{
        int n_cancelled = 0, n_completed = 0;
        for (int variant = 0; variant < 2; variant++) {
                for (int point = 0; n_completed <= variant; point++) {
                        struct waiter waiters[N_WAITERS] = {{.delay_ms = 3},
                                                            {.delay_ms = 1},
                                                            {.delay_ms = 2},
                                                            {.delay_ms = -1},
                                                            {.delay_ms = 3}};
                        struct waiter begin = {.delay_ms = 1, .ignores_cancel = variant};
                        waiters[1].ignores_cancel = waiters[4].ignores_cancel = variant;
                        struct bench bench;
                        bench_init(&bench, compile(fan_builder(waiters, &begin)));
                        aip_graph_run_start(bench.loop, &bench.run);
                        for (int i = 0; i < point && bench.n_done == 0; i++)
                                aip_sim_loop_step(bench.sim);
                        if (bench.n_done == 0) {
                                aip_graph_run_cancel(&bench.run);
                                aip_graph_run_cancel(&bench.run);
                        }
                        while (aip_sim_loop_step(bench.sim))
                                ;
                        if (bench.run.op.err) {
                                n_cancelled++;
                                cr_assert_eq(aip_error_code(bench.run.op.err), AIP_ECANCELLED);
                                cr_assert_null(bench.run.ret_state);
                        } else {
                                n_completed++;
                                assert_value(aip_value_ref(bench.run.ret_state), FAN_STATE,
                                             "state");
                        }
                        assert_waiters_ended(waiters, N_WAITERS);
                        assert_waiters_ended(&begin, 1);
                        bench_deinit(&bench);
                }
        }
        cr_assert_geq(n_cancelled, 10, "only %d points", n_cancelled);
}

Test(graph_runner, ends_at_its_deadline)
{
        static const struct {
                int64_t deadline_ms;
                int ignores_cancel;
                int64_t ends_at_ms;
                int32_t steps;
        } table[] = {
                {5, 0, 5, 1},   /* in the first node */
                {15, 0, 15, 2}, /* in the fan */
                {15, 1, 30, 2}, /* the slow one does not let go before its end */
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                struct waiter waiters[N_WAITERS] = {{.delay_ms = 20}, {.delay_ms = 1}};
                struct waiter begin = {.delay_ms = 10};
                waiters[0].ignores_cancel = table[i].ignores_cancel;
                struct bench bench;
                bench_init(&bench, compile(fan_builder(waiters, &begin)));
                bench.run.op.deadline_ms = table[i].deadline_ms;
                run_to_end(&bench);
                cr_assert_eq(aip_error_code(bench.run.op.err), AIP_ETIMEOUT);
                cr_assert_eq(aip_now_ms(bench.loop), table[i].ends_at_ms);
                cr_assert_eq(bench.run.ret_steps, table[i].steps);
                assert_waiters_ended(waiters, N_WAITERS);
                bench_deinit(&bench);
        }
}

Test(graph_runner, leaves_no_timer_behind)
{
        struct waiter waiters[N_WAITERS] = {{.delay_ms = 1}}, begin = {.delay_ms = 1};
        struct bench bench;
        bench_init(&bench, compile(fan_builder(waiters, &begin)));
        bench.run.op.deadline_ms = 1000000;
        run_to_end(&bench);
        cr_assert_null(bench.run.op.err);
        cr_assert_eq(aip_now_ms(bench.loop), 2, "the deadline's timer is still armed");
        bench_deinit(&bench);
}

/* A failed task ends the run at once: its neighbours are cancelled, and its error comes out with
 * the node's name, though the cancelled ones stand before it. */
Test(graph_runner, fails_with_the_node_that_failed)
{
        for (int within_start = 0; within_start < 2; within_start++) {
                struct waiter waiters[N_WAITERS] = {{.delay_ms = 50},
                                                    {.delay_ms = 60},
                                                    {.delay_ms = 2, .error = "the model is asleep"},
                                                    {.delay_ms = 1},
                                                    {.delay_ms = 70}};
                struct waiter begin = {.delay_ms = 0};
                if (within_start)
                        waiters[2].delay_ms = -1;
                struct bench bench;
                bench_init(&bench, compile(fan_builder(waiters, &begin)));
                run_to_end(&bench);
                cr_assert_null(bench.run.ret_state);
                cr_assert_leq(aip_now_ms(bench.loop), 2);
                assert_error(AIP_TAKE(bench.run.op.err), AIP_EUPSTREAM,
                             "node \"c\": the model is asleep", "failure");
                cr_assert_eq(waiters[0].n_cancelled, 1);
                cr_assert_eq(waiters[3].n_cancelled, 0);
                assert_waiters_ended(waiters, N_WAITERS);
                bench_deinit(&bench);
        }
}

static int fail_with_advice(void *user, aip_graph_task *task, aip_value **ret_update,
                            aip_error **err)
{
        (void)user;
        (void)task;
        (void)ret_update;
        aip_error_set(err, AIP_EUPSTREAM, "slow down");
        aip_error_set_kind(*err, "provider_rate_limited");
        aip_error_set_retryable(*err, 1, 1500);
        aip_error_set_provider_status(*err, 429);
        return AIP_EUPSTREAM;
}

Test(graph_runner, keeps_what_the_error_advises)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_function(b, "n", fail_with_advice, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "n");
        aip_graph_builder_add_edge(b, "n", AIP_GRAPH_END);
        struct bench bench;
        bench_init(&bench, compile(b));
        run_to_end(&bench);
        const aip_error *err = bench.run.op.err;
        cr_assert_str_eq(aip_error_message(err), "node \"n\": slow down");
        cr_assert_str_eq(aip_error_kind(err), "provider_rate_limited");
        cr_assert_eq(aip_error_is_retryable(err), 1);
        cr_assert_eq(aip_error_retry_after_ms(err), 1500);
        cr_assert_eq(aip_error_provider_status(err), 429);
        bench_deinit(&bench);
}

Test(graph_runner, ignores_a_second_finish)
{
        struct waiter waiters[N_WAITERS] = {{.delay_ms = 1, .finishes_twice = 1},
                                            {.delay_ms = -1, .finishes_twice = 1},
                                            {.delay_ms = 3, .finishes_twice = 1}};
        struct waiter begin = {.delay_ms = 1, .finishes_twice = 1};
        struct bench bench;
        bench_init(&bench, compile(fan_builder(waiters, &begin)));
        run_to_end(&bench);
        cr_assert_null(bench.run.op.err);
        assert_value(aip_value_ref(bench.run.ret_state), FAN_STATE, "state");
        bench_deinit(&bench);
}

static int count_up(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        (void)ret_update;
        (void)err;
        int64_t n = aip_value_as_int(aip_graph_task_get_at(task, 0), 0);
        aip_graph_task_write_at(task, 0, aip_value_int(n + 1));
        return 0;
}

/* Goes round for ever. */
static aip_graph *endless_graph(void)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_function(b, "count", count_up, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "count");
        add_router(b, "count", go_to, (void *)"count", "count", AIP_GRAPH_END);
        return compile(b);
}

Test(graph_runner, stops_at_the_step_limit)
{
        struct bench bench;
        bench_init(&bench, endless_graph());
        bench.run.step_limit = 500;
        run_to_end(&bench);
        cr_assert_eq(bench.run.ret_steps, 500);
        assert_error(AIP_TAKE(bench.run.op.err), AIP_ELIMIT, "after 500 steps", "limit");
        bench_deinit(&bench);
}

struct ticker {
        struct aip_task task;
        struct bench *bench;
        int n;
};

/* Shares the loop with a run; cancels it at its tenth turn. */
static void tick(struct aip_task *task)
{
        struct ticker *ticker = AIP_CONTAINER_OF(task, struct ticker, task);
        if (++ticker->n == 10)
                aip_graph_run_cancel(&ticker->bench->run);
        else
                aip_defer(ticker->bench->loop, task);
}

Test(graph_runner, lets_others_have_their_turn)
{
        struct bench bench;
        struct ticker ticker = {.task.run = tick, .bench = &bench};
        bench_init(&bench, endless_graph());
        bench.run.step_limit = INT32_MAX;
        aip_defer(bench.loop, &ticker.task);
        run_to_end(&bench);
        cr_assert_eq(aip_error_code(bench.run.op.err), AIP_ECANCELLED);
        cr_assert_lt(bench.run.ret_steps, 1000, "%d steps", bench.run.ret_steps);
        cr_assert_gt(bench.run.ret_steps, 100, "%d steps", bench.run.ret_steps);
        bench_deinit(&bench);
}

/* The virtual clock stands still while a run computes, so an expired deadline is the only way to
 * see that it is looked at between synchronous steps. */
Test(graph_runner, looks_at_the_deadline_between_synchronous_steps)
{
        struct bench bench;
        bench_init(&bench, endless_graph());
        bench.run.step_limit = INT32_MAX;
        bench.run.op.deadline_ms = -1;
        run_to_end(&bench);
        assert_error(AIP_TAKE(bench.run.op.err), AIP_ETIMEOUT, "deadline passed in step 0", "time");
        bench_deinit(&bench);
}

Test(graph_runner, refuses_bad_arguments)
{
        static const struct {
                size_t self_size;
                int has_graph;
                int32_t step_limit;
                const char *input;
                const char *message;
        } table[] = {
                {0, 1, 0, NULL, "a run needs a graph and AIP_GRAPH_RUN_INIT"},
                {sizeof(struct aip_graph_run), 0, 0, NULL, "a run needs a graph"},
                {sizeof(struct aip_graph_run), 1, -5, NULL, "step_limit is -5"},
                {sizeof(struct aip_graph_run), 1, 0, "{\"typo\":1}",
                 "input: the update has a member"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                aip_value *input = table[i].input ? value_of(table[i].input) : NULL;
                struct bench bench;
                bench_init(&bench, endless_graph());
                bench.run.self_size = table[i].self_size;
                bench.run.graph = table[i].has_graph ? bench.graph : NULL;
                bench.run.step_limit = table[i].step_limit;
                bench.run.input = input;
                run_to_end(&bench);
                assert_error(AIP_TAKE(bench.run.op.err), AIP_EINVAL, table[i].message, "start");
                aip_graph_run_cancel(&bench.run);
                bench_deinit(&bench);
                aip_value_unref(input);
        }
}

Test(graph_runner, invoke_runs_asynchronous_nodes)
{
        struct waiter waiters[N_WAITERS] = {{.delay_ms = 4}, {.delay_ms = -1}, {.delay_ms = 2}};
        struct waiter begin = {.delay_ms = 1};
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        aip_graph *graph = compile(fan_builder(waiters, &begin));
        int32_t steps = 0;
        aip_value *state = NULL;
        aip_error *err = NULL;
        cr_assert_not(aip_graph_is_synchronous(graph));
        options.ret_steps = &steps;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, &err), 0, "%s",
                     aip_error_message(err));
        assert_value(state, FAN_STATE, "invoke");
        cr_assert_eq(steps, 3);
        waiters[2].error = "out of order";
        state = NULL;
        cr_assert_lt(aip_graph_invoke(graph, NULL, &options, &state, &err), 0);
        cr_assert_null(state);
        cr_assert_not_null(strstr(aip_error_message(err), "out of order"));
        aip_error_free(err);
        assert_waiters_ended(waiters, N_WAITERS);
        aip_graph_unref(graph);
}

/* A node whose work is done by a thread of its own, which hands over by a post. */
struct errand {
        struct aip_task task;
        struct aip_watch watch;
        aip_graph_task *of;
        struct aip_loop loop;
        pthread_t thread;
};

static void errand_over(struct aip_task *task)
{
        struct errand *errand = AIP_CONTAINER_OF(task, struct errand, task);
        pthread_join(errand->thread, NULL);
        aip_graph_task_write(errand->of, "n", aip_value_int(1));
        aip_graph_task_finish(errand->of, NULL, NULL);
}

static void *run_errand(void *user)
{
        struct errand *errand = user;
        usleep(3000);
        aip_post(errand->loop, &errand->task);
        return NULL;
}

static void start_errand(void *user, aip_graph_task *task)
{
        struct errand *errand = aip_graph_task_memory(task);
        (void)user;
        errand->of = task;
        errand->loop = aip_graph_task_loop(task);
        errand->task.run = errand_over;
        cr_assert_eq(aip_watch_set(errand->loop, &errand->watch, AIP_READABLE, NULL),
                     AIP_EUNSUPPORTED);
        cr_assert_eq(pthread_create(&errand->thread, NULL, run_errand, errand), 0);
}

static void leave_errand(void *user, aip_graph_task *task)
{
        (void)user, (void)task;
}

Test(graph_runner, invoke_waits_for_other_threads, .timeout = 30)
{
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        options.start = start_errand;
        options.cancel = leave_errand;
        options.task_bytes = sizeof(struct errand);
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_ADD);
        aip_graph_builder_add_node(b, "a", &options);
        aip_graph_builder_add_node(b, "b", &options);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "b");
        aip_graph_builder_add_edge(b, "a", AIP_GRAPH_END);
        aip_graph_builder_add_edge(b, "b", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        aip_value *state = NULL;
        cr_assert_eq(aip_graph_invoke(graph, NULL, NULL, &state, NULL), 0);
        assert_value(state, "{\"n\":2}", "invoke");
        aip_graph_unref(graph);
}

/* Many runs of one graph on one loop do not disturb each other. */
Test(graph_runner, many_runs_share_a_graph)
{
        enum { N = 500 };
        struct waiter waiters[N_WAITERS] = {{.delay_ms = 4}, {.delay_ms = 2}, {.delay_ms = 3}};
        struct waiter begin = {.delay_ms = 1};
        struct bench first;
        bench_init(&first, compile(fan_builder(waiters, &begin)));
        static struct bench all[N];
        for (int i = 0; i < N; i++) {
                all[i] = first;
                if (i % 7 == 0)
                        all[i].run.op.deadline_ms = 2;
                aip_graph_run_start(first.loop, &all[i].run);
        }
        while (aip_sim_loop_step(first.sim))
                ;
        for (int i = 0; i < N; i++) {
                cr_assert_eq(all[i].n_done, 1);
                if (i % 7 == 0)
                        cr_assert_eq(aip_error_code(all[i].run.op.err), AIP_ETIMEOUT);
                else
                        assert_value(all[i].run.ret_state, FAN_STATE, "state");
                aip_error_free(all[i].run.op.err);
        }
        first.n_done = 1;
        bench_deinit(&first);
}

/* Random graphs: the same graph once with functions, once with asynchronous nodes that finish in
 * random order, must end in the same way. */

#define SHAPE_NODES 10

struct shape {
        int n_nodes;
        unsigned edges[SHAPE_NODES + 1];   /* a bit a target; the last row is __start__ */
        unsigned routers[SHAPE_NODES + 1]; /* targets of a router; 0: no router */
        struct aip_random random;          /* for delays */
};

static const char *const shape_names[SHAPE_NODES + 1] = {"n0", "n1", "n2", "n3", "n4",         "n5",
                                                         "n6", "n7", "n8", "n9", AIP_GRAPH_END};

static void draw_shape(struct shape *shape, struct aip_random random)
{
        shape->n_nodes = 2 + (int)(aip_random_u64(random) % (SHAPE_NODES - 1));
        for (int i = 0; i <= shape->n_nodes; i++) {
                uint64_t bits = aip_random_u64(random) & aip_random_u64(random);
                uint64_t all = (2u << shape->n_nodes) - 1;
                shape->edges[i] = (unsigned)(bits & all);
                shape->routers[i] = bits >> 63 ? (unsigned)((bits >> 20) & all) : 0;
        }
}

static void log_name(aip_graph_task *task)
{
        size_t seen = aip_value_size(aip_graph_task_get(task, "log"));
        const char *name = aip_graph_task_node(task);
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(name)));
        aip_graph_task_write(task, "n", aip_value_int((int64_t)seen));
}

static int log_now(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        (void)ret_update;
        (void)err;
        log_name(task);
        return 0;
}

static void log_after_wait(struct aip_timer *timer)
{
        aip_graph_task *task = AIP_CONTAINER_OF(timer, struct waiting, timer)->task;
        log_name(task);
        aip_graph_task_finish(task, NULL, NULL);
}

static void log_later(void *user, aip_graph_task *task)
{
        const struct shape *shape = user;
        struct waiting *w = aip_graph_task_memory(task);
        w->task = task;
        w->timer.fire = log_after_wait;
        int64_t delay = (int64_t)(aip_random_u64(shape->random) % 6) - 1;
        if (delay < 0)
                log_after_wait(&w->timer);
        else
                aip_timer_set(aip_graph_task_loop(task), &w->timer, delay);
}

static void never_cancelled(void *user, aip_graph_task *task)
{
        (void)user;
        cr_assert_fail("%s was cancelled", aip_graph_task_node(task));
}

/* One or two of the targets, by what the router sees. */
static int route_by_state(void *user, aip_graph_route *route, aip_error **err)
{
        (void)err;
        unsigned targets = (unsigned)__builtin_popcount(*(const unsigned *)user);
        uint64_t n = aip_value_size(aip_graph_route_get(route, "log")) * 7 +
                     (uint64_t)aip_value_as_int(aip_graph_route_get(route, "n"), 0);
        aip_graph_route_to_nth(route, (uint32_t)(n % targets));
        if (n % 3 == 0)
                aip_graph_route_to_nth(route, (uint32_t)((n / 3) % targets));
        return 0;
}

static void add_shape_router(aip_graph_builder *b, const char *from, unsigned *targets, int n_nodes)
{
        const char *names[SHAPE_NODES + 1];
        struct aip_router_options options = AIP_ROUTER_OPTIONS_INIT;
        for (int i = 0; i <= n_nodes; i++)
                if (*targets >> i & 1)
                        names[options.n_targets++] = shape_names[i == n_nodes ? SHAPE_NODES : i];
        options.route = route_by_state;
        options.user = targets;
        options.targets = names;
        if (options.n_targets > 0)
                aip_graph_builder_add_router(b, from, &options);
}

/* NULL when the shape is no graph. */
static aip_graph *shape_graph(struct shape *shape, int is_async)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_MAX);
        for (int i = 0; i <= shape->n_nodes; i++) {
                struct aip_node_options node = AIP_NODE_OPTIONS_INIT;
                const char *from = i == shape->n_nodes ? AIP_GRAPH_START : shape_names[i];
                node.run = is_async ? NULL : log_now;
                node.start = is_async ? log_later : NULL;
                node.cancel = is_async ? never_cancelled : NULL;
                node.task_bytes = sizeof(struct waiting);
                node.user = shape;
                if (i < shape->n_nodes)
                        aip_graph_builder_add_node(b, from, &node);
                for (int to = 0; to <= shape->n_nodes; to++)
                        if (shape->edges[i] >> to & 1)
                                aip_graph_builder_add_edge(
                                        b, from,
                                        shape_names[to == shape->n_nodes ? SHAPE_NODES : to]);
                add_shape_router(b, from, &shape->routers[i], shape->n_nodes);
        }
        aip_graph *graph = NULL;
        aip_graph_compile(b, &graph, NULL);
        return graph;
}

static void compare_with_invoke(struct shape *shape, aip_graph *graph)
{
        struct bench bench;
        aip_value *state = NULL;
        aip_error *err = NULL;
        int32_t steps = 0;
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        options.step_limit = 25;
        options.ret_steps = &steps;
        int code = aip_graph_invoke(graph, NULL, &options, &state, &err);
        bench_init(&bench, shape_graph(shape, 1));
        bench.run.step_limit = 25;
        run_to_end(&bench);
        cr_assert_eq(aip_error_code(bench.run.op.err), code);
        cr_assert_str_eq(aip_error_message(bench.run.op.err), aip_error_message(err));
        cr_assert(aip_value_equal(state, bench.run.ret_state));
        cr_assert_eq(bench.run.ret_steps, steps);
        bench_deinit(&bench);
        aip_error_free(err);
        aip_value_unref(state);
}

Test(graph_runner, random_graphs_end_alike_whatever_the_interleaving)
{
        struct aip_seeded_random generator;
        struct aip_random random = aip_random_seeded(&generator, 2026);
        int n_graphs = 0;
        for (int i = 0; i < 4000; i++) {
                struct shape shape = {.random = random};
                draw_shape(&shape, random);
                aip_graph *graph = shape_graph(&shape, 0);
                if (!graph)
                        continue;
                n_graphs++;
                compare_with_invoke(&shape, graph);
                aip_graph_unref(graph);
        }
        cr_assert_gt(n_graphs, 200, "only %d shapes were graphs", n_graphs);
}

/* Compile and run on a loop; every allocation fails once. The loop's own are made beforehand. */
static int compile_and_run(void *user, aip_error **err)
{
        struct bench *bench = user;
        struct waiter waiters[N_WAITERS] = {{.delay_ms = 2}, {.delay_ms = 1}};
        struct waiter begin = {.delay_ms = -1};
        aip_graph *graph = NULL;
        int code = aip_graph_compile(fan_builder(waiters, &begin), &graph, err);
        if (code < 0)
                return code;
        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
        bench->run = run;
        bench->run.op.done = run_done;
        bench->run.graph = graph;
        bench->n_done = 0;
        run_to_end(bench);
        cr_assert_eq(bench->n_done, 1);
        assert_waiters_ended(waiters, N_WAITERS);
        aip_value_unref(AIP_TAKE(bench->run.ret_state));
        aip_graph_unref(graph);
        return aip_error_propagate(err, AIP_TAKE(bench->run.op.err));
}

Test(graph_runner, survives_allocation_failure)
{
        struct bench bench;
        bench_init(&bench, NULL);
        ASSERT_SURVIVES_ALLOC_FAILURE(compile_and_run, &bench);
        bench_deinit(&bench);
}
