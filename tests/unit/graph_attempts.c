/* Attempts of tasks: retries and their waits, time-outs, error handlers; on the virtual clock, and
 * without a loop. */
#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_run.h>
#include <aiplat/loops.h>

/* A node that fails some times before it succeeds. */
struct shaky {
        int n_failures;      /* attempts that fail */
        int is_hopeless;     /* with an error that does not pass */
        int64_t delay_ms;    /* an asynchronous one's attempt takes so long */
        int64_t progress_ms; /* and shows progress that often; 0: never */
        uint32_t n_runs, n_cancelled;
        int64_t at_ms[16]; /* when each attempt began */
};

struct attempt {
        struct aip_timer timer, progress;
        struct shaky *shaky;
        aip_graph_task *task;
};

static int fail_or_not(struct shaky *shaky, aip_graph_task *task, aip_error **err)
{
        cr_assert_eq(aip_graph_task_attempt(task), shaky->n_runs);
        aip_graph_task_write(task, "log", aip_value_int(shaky->n_runs));
        if ((int)shaky->n_runs > shaky->n_failures)
                return 0;
        int code = aip_error_set(err, AIP_EUPSTREAM, "failure %u", shaky->n_runs);
        aip_error_set_retryable(*err, !shaky->is_hopeless, 0);
        return code;
}

static int run_shaky(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        struct shaky *shaky = user;
        (void)ret_update;
        shaky->n_runs++;
        return fail_or_not(shaky, task, err);
}

static void attempt_over(struct aip_timer *timer)
{
        struct attempt *a = AIP_CONTAINER_OF(timer, struct attempt, timer);
        aip_error *err = NULL;
        aip_timer_clear(aip_graph_task_loop(a->task), &a->progress);
        (void)fail_or_not(a->shaky, a->task, &err);
        aip_graph_task_finish(a->task, NULL, err);
}

static void show_progress(struct aip_timer *timer)
{
        struct attempt *a = AIP_CONTAINER_OF(timer, struct attempt, progress);
        aip_graph_task_progress(a->task);
        aip_timer_set(aip_graph_task_loop(a->task), timer, a->shaky->progress_ms);
}

static void start_shaky(void *user, aip_graph_task *task)
{
        struct attempt *a = aip_graph_task_memory(task);
        struct aip_loop loop = aip_graph_task_loop(task);
        struct shaky *shaky = user;
        *a = (struct attempt){.timer = {.fire = attempt_over}, .progress = {.fire = show_progress}};
        a->shaky = shaky;
        a->task = task;
        shaky->at_ms[shaky->n_runs++ % AIP_ARRAY_SIZE(shaky->at_ms)] = aip_now_ms(loop);
        aip_timer_set(loop, &a->timer, shaky->delay_ms);
        if (shaky->progress_ms)
                aip_timer_set(loop, &a->progress, shaky->progress_ms);
}

static void cancel_shaky(void *user, aip_graph_task *task)
{
        struct attempt *a = aip_graph_task_memory(task);
        aip_error *err = NULL;
        ((struct shaky *)user)->n_cancelled++;
        aip_timer_clear(aip_graph_task_loop(task), &a->timer);
        aip_timer_clear(aip_graph_task_loop(task), &a->progress);
        aip_error_set(&err, AIP_ECANCELLED, "cancelled");
        aip_graph_task_finish(task, NULL, err);
}

static int handle(void *user, aip_graph_task *task, const aip_error *error, aip_value **ret_update,
                  aip_error **err)
{
        (void)user;
        (void)ret_update;
        (void)err;
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(aip_error_message(error))));
        aip_graph_task_goto(task, "rescue");
        return 0;
}

static int refuse(void *user, aip_graph_task *task, const aip_error *error, aip_value **ret_update,
                  aip_error **err)
{
        (void)user;
        (void)task;
        (void)ret_update;
        return aip_error_set(err, AIP_EINVAL, "refused: %s", aip_error_message(error));
}

/* One shaky node, and "rescue", which its handler may go to. */
static aip_graph *build(struct shaky *shaky, const struct aip_node_options *policies)
{
        static const char *const targets[] = {"rescue", AIP_GRAPH_END};
        struct aip_node_options options = *policies;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        options.user = shaky;
        options.targets = targets;
        options.n_targets = 2;
        if (!options.run) {
                options.start = start_shaky;
                options.cancel = cancel_shaky;
                options.task_bytes = sizeof(struct attempt);
        }
        aip_graph_builder_add_node(b, "shaky", &options);
        aip_graph_builder_add_function(b, "rescue", write_json, (void *)"{\"log\":\"rescued\"}");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "shaky");
        aip_graph_builder_add_edge(b, "rescue", AIP_GRAPH_END);
        return compile(b);
}

struct bench {
        aip_sim_loop *sim;
        struct aip_seeded_random generator;
        struct aip_graph_run run;
        int n_done;
};

static void run_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct bench, run.op)->n_done++;
}

static void bench_start(struct bench *bench, aip_graph *graph, int64_t deadline_ms)
{
        *bench = (struct bench){.run = AIP_GRAPH_RUN_INIT};
        cr_assert_eq(aip_sim_loop_new(1000, &bench->sim, NULL), 0);
        bench->run.op.done = run_done;
        bench->run.op.deadline_ms = deadline_ms;
        bench->run.graph = graph;
        bench->run.random = aip_random_seeded(&bench->generator, 7);
        aip_graph_run_start(aip_sim_loop_port(bench->sim), &bench->run);
}

static void bench_end(struct bench *bench, aip_graph *graph)
{
        cr_assert_eq(bench->n_done, 1);
        aip_value_unref(bench->run.ret_state);
        aip_error_free(bench->run.op.err);
        aip_sim_loop_free(bench->sim);
        aip_graph_unref(graph);
}

#define ASYNC NULL

static const struct {
        const char *what;
        aip_graph_function run; /* ASYNC: an asynchronous node */
        struct shaky shaky;
        struct aip_node_retry retry;
        uint32_t timeout_ms, idle_timeout_ms;
        aip_graph_error_handler on_error;
        const char *log;   /* NULL: it fails, */
        const char *error; /* with this */
        uint32_t n_runs;
} rows[] = {
        {"no retry",
         ASYNC,
         {.n_failures = 1},
         {0},
         0,
         0,
         NULL,
         NULL,
         "node \"shaky\": failure 1",
         1},
        {"the third attempt",
         ASYNC,
         {.n_failures = 2},
         {.max_attempts = 3},
         0,
         0,
         NULL,
         "[3]",
         NULL,
         3},
        {"used up",
         ASYNC,
         {.n_failures = 3},
         {.max_attempts = 3},
         0,
         0,
         NULL,
         NULL,
         "failure 3",
         3},
        {"hopeless",
         ASYNC,
         {.n_failures = 1, .is_hopeless = 1},
         {.max_attempts = 3},
         0,
         0,
         NULL,
         NULL,
         "failure 1",
         1},
        {"synchronous",
         run_shaky,
         {.n_failures = 2},
         {.max_attempts = 3},
         0,
         0,
         NULL,
         "[3]",
         NULL,
         3},
        {"synchronous, used up",
         run_shaky,
         {.n_failures = 9},
         {.max_attempts = 2},
         0,
         0,
         NULL,
         NULL,
         "failure 2",
         2},
        {"too long", ASYNC, {.delay_ms = 100}, {0}, 50, 0, NULL, NULL, "took longer than 50 ms", 1},
        {"too long, thrice",
         ASYNC,
         {.delay_ms = 100},
         {.max_attempts = 3},
         50,
         0,
         NULL,
         NULL,
         "took longer than 50 ms",
         3},
        {"in time", ASYNC, {.delay_ms = 40}, {0}, 50, 0, NULL, "[1]", NULL, 1},
        {"idle", ASYNC, {.delay_ms = 100}, {0}, 0, 30, NULL, NULL, "made no progress for 30 ms", 1},
        {"never idle",
         ASYNC,
         {.delay_ms = 100, .progress_ms = 20},
         {0},
         0,
         30,
         NULL,
         "[1]",
         NULL,
         1},
        {"never idle, but too long",
         ASYNC,
         {.delay_ms = 100, .progress_ms = 20},
         {0},
         70,
         30,
         NULL,
         NULL,
         "took longer than 70 ms",
         1},
        {"handled",
         ASYNC,
         {.n_failures = 9},
         {.max_attempts = 2},
         0,
         0,
         handle,
         "[\"failure 2\",\"rescued\"]",
         NULL,
         2},
        {"handled at once",
         run_shaky,
         {.n_failures = 9},
         {0},
         0,
         0,
         handle,
         "[\"failure 1\",\"rescued\"]",
         NULL,
         1},
        {"handled time-out",
         ASYNC,
         {.delay_ms = 9},
         {0},
         5,
         0,
         handle,
         "[\"took longer than 5 ms\",\"rescued\"]",
         NULL,
         1},
        {"refused by the handler",
         ASYNC,
         {.n_failures = 1},
         {0},
         0,
         0,
         refuse,
         NULL,
         "node \"shaky\": refused: failure 1",
         1},
        {"no error to handle", ASYNC, {0}, {0}, 0, 0, handle, "[1]", NULL, 1},
};

static struct aip_node_options policies_of(size_t i)
{
        struct aip_node_options policies = AIP_NODE_OPTIONS_INIT;
        policies.run = rows[i].run;
        policies.retry = rows[i].retry;
        policies.timeout_ms = rows[i].timeout_ms;
        policies.idle_timeout_ms = rows[i].idle_timeout_ms;
        policies.on_error = rows[i].on_error;
        return policies;
}

Test(graph_attempts, are_made_watched_and_handled)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(rows); i++) {
                struct shaky shaky = rows[i].shaky;
                struct aip_node_options policies = policies_of(i);
                struct bench bench;
                aip_graph *graph = build(&shaky, &policies);
                bench_start(&bench, graph, 0);
                while (aip_sim_loop_step(bench.sim))
                        ;
                if (rows[i].log)
                        assert_value(aip_value_ref(aip_value_get_cstr(bench.run.ret_state, "log")),
                                     rows[i].log, rows[i].what);
                else
                        assert_error(AIP_TAKE(bench.run.op.err), aip_error_code(bench.run.op.err),
                                     rows[i].error, rows[i].what);
                cr_assert_eq(shaky.n_runs, rows[i].n_runs, "%s: %u runs", rows[i].what,
                             shaky.n_runs);
                bench_end(&bench, graph);
        }
}

/* Each wait is between 0 and its limit, which doubles up to the most; over many runs they are spread. */
Test(graph_attempts, wait_longer_each_time)
{
        struct aip_node_options policies = AIP_NODE_OPTIONS_INIT;
        int64_t longest[4] = {0};
        policies.retry =
                (struct aip_node_retry){.max_attempts = 5, .initial_ms = 100, .max_ms = 300};
        struct aip_seeded_random generator;
        struct aip_random random = aip_random_seeded(&generator, 99);
        for (int n = 0; n < 200; n++) {
                struct shaky shaky = {.n_failures = 4};
                struct bench bench;
                aip_graph *graph = build(&shaky, &policies);
                bench_start(&bench, graph, 0);
                bench.generator = (struct aip_seeded_random){0};
                (void)aip_random_seeded(&bench.generator, aip_random_u64(random));
                while (aip_sim_loop_step(bench.sim))
                        ;
                for (int i = 0; i < 4; i++)
                        longest[i] = AIP_MAX(longest[i], shaky.at_ms[i + 1] - shaky.at_ms[i]);
                bench_end(&bench, graph);
        }
        static const int64_t limits[] = {100, 200, 300, 300};
        for (int i = 0; i < 4; i++)
                cr_assert(longest[i] <= limits[i] && longest[i] > limits[i] * 8 / 10,
                          "wait %d: at most %lld ms", i, (long long)longest[i]);
}

Test(graph_attempts, none_is_made_that_the_deadline_would_cut_short)
{
        struct aip_node_options policies = AIP_NODE_OPTIONS_INIT;
        struct shaky shaky = {.n_failures = 99};
        struct bench bench;
        policies.retry =
                (struct aip_node_retry){.max_attempts = 99, .initial_ms = 1000, .factor = 1};
        aip_graph *graph = build(&shaky, &policies);
        bench_start(&bench, graph, 5000);
        while (aip_sim_loop_step(bench.sim))
                ;
        cr_assert_eq(aip_error_code(bench.run.op.err), AIP_EUPSTREAM, "%s",
                     aip_error_message(bench.run.op.err));
        cr_assert_gt(shaky.n_runs, 2);
        bench_end(&bench, graph);
}

/* A cancel before every single event: the wait between two attempts is no exception. */
Test(graph_attempts, may_be_cancelled_at_any_point)
{
        struct aip_node_options policies = AIP_NODE_OPTIONS_INIT;
        policies.retry = (struct aip_node_retry){.max_attempts = 4};
        policies.timeout_ms = 50;
        for (int point = 0, has_ended = 0; !has_ended; point++) {
                struct shaky shaky = {.n_failures = 2, .delay_ms = 10};
                struct bench bench;
                aip_graph *graph = build(&shaky, &policies);
                bench_start(&bench, graph, 0);
                for (int i = 0; i < point && bench.n_done == 0; i++)
                        aip_sim_loop_step(bench.sim);
                has_ended = bench.n_done;
                if (!has_ended)
                        aip_graph_run_cancel(&bench.run);
                int64_t now_ms = aip_now_ms(aip_sim_loop_port(bench.sim));
                while (aip_sim_loop_step(bench.sim))
                        ;
                cr_assert_eq(aip_now_ms(aip_sim_loop_port(bench.sim)), now_ms, "it waited");
                cr_assert(aip_error_code(bench.run.op.err) == (has_ended ? 0 : AIP_ECANCELLED) ||
                                  bench.run.ret_state,
                          "point %d: %s", point, aip_error_message(bench.run.op.err));
                bench_end(&bench, graph);
        }
}

Test(graph_attempts, are_made_without_a_loop_too)
{
        struct aip_node_options policies = AIP_NODE_OPTIONS_INIT;
        struct shaky shaky = {.n_failures = 2};
        aip_value *state = NULL;
        policies.run = run_shaky;
        policies.retry = (struct aip_node_retry){.max_attempts = 3, .initial_ms = 2};
        aip_graph *graph = build(&shaky, &policies);
        cr_assert_eq(aip_graph_invoke(graph, NULL, NULL, &state, NULL), 0);
        assert_value(state, "{\"log\":[3]}", "state");
        shaky = (struct shaky){.n_failures = 9};
        aip_error *err = NULL;
        cr_assert_lt(aip_graph_invoke(graph, NULL, NULL, &state, &err), 0);
        assert_error(err, AIP_EUPSTREAM, "failure 3", "invoke");
        aip_graph_unref(graph);
}

Test(graph_attempts, policies_that_cannot_be_are_refused)
{
        static const struct {
                uint32_t timeout_ms;
                double factor;
                const char *message;
        } bad[] = {{5, 0, "node \"n\" cannot have a time-out"},
                   {0, 0.5, "node \"n\" has a retry factor that is not from 1 to 100"}};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++) {
                struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
                aip_graph *graph = NULL;
                aip_error *err = NULL;
                aip_graph_builder *b = aip_graph_builder_new();
                options.run = do_nothing;
                options.timeout_ms = bad[i].timeout_ms;
                options.retry.factor = bad[i].factor;
                aip_graph_builder_add_node(b, "n", &options);
                cr_assert_lt(aip_graph_compile(b, &graph, &err), 0);
                assert_error(err, AIP_EINVAL, bad[i].message, "compile");
        }
}
