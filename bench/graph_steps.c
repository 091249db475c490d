/*
 * Graphs in memory: nanoseconds a step, or a run. Not a test; prints a table. Each figure is the
 * best of several rounds, for the machine's noise only ever adds. Public API only.
 *
 *     ninja -C build bench/graph-steps && build/bench/graph-steps
 */
#include <aiplat/graph_document.h>
#include <aiplat/graph_run.h>
#include <aiplat/loops.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS        7
#define MESSAGE_BYTES 100

static double now_ns(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(int code, aip_error *err)
{
        if (code == 0 && !err)
                return;
        fprintf(stderr, "%s\n", aip_error_message(err));
        exit(1);
}

/* The loop: one integer channel, counted up to the context's limit. */

static int count_by_index(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        int64_t n = aip_value_as_int(aip_graph_task_get_at(task, 0), 0);
        aip_graph_task_write_at(task, 0, aip_value_int(n + 1));
        return 0;
}

static int count_by_name(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        int64_t n = aip_value_as_int(aip_graph_task_get(task, "n"), 0);
        if (!(*ret_update = aip_value_object()) ||
            aip_value_object_set_cstr(ret_update, "n", aip_value_int(n + 1)) < 0)
                return aip_error_set_nomem(err);
        return 0;
}

static int count_and_append(void *user, aip_graph_task *task, aip_value **ret_update,
                            aip_error **err)
{
        static const char message[] =
                "A message of a hundred bytes, as a conversation has them: it "
                "says something, and then much more too.";
        aip_graph_task_write_at(task, 1, aip_value_string(aip_str_make(message, MESSAGE_BYTES)));
        _Static_assert(sizeof(message) - 1 == MESSAGE_BYTES, "says what it is");
        return count_by_index(user, task, ret_update, err);
}

static int until_limit(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        int64_t n = aip_value_as_int(aip_graph_route_get_at(route, 0), 0);
        aip_graph_route_to_nth(route, n >= *(const int *)aip_graph_route_context(route));
        return 0;
}

static int until_limit_by_name(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        int64_t n = aip_value_as_int(aip_graph_route_get(route, "n"), 0);
        int is_over = n >= *(const int *)aip_graph_route_context(route);
        aip_graph_route_to(route, is_over ? AIP_GRAPH_END : "count");
        return 0;
}

static aip_graph *loop_graph(aip_graph_function run, aip_graph_router route)
{
        static const char *const targets[] = {"count", AIP_GRAPH_END};
        struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
        aip_graph *graph = NULL;
        aip_error *err = NULL;
        router.route = route;
        router.targets = targets;
        router.n_targets = 2;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "messages", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_function(b, "count", run, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "count");
        aip_graph_builder_add_router(b, "count", &router);
        must(aip_graph_compile(b, &graph, &err), err);
        return graph;
}

/* Best time of one invocation. */
static double time_invoke(const aip_graph *graph, void *context, const aip_value *input,
                          int repeats)
{
        double best = 1e18;
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        options.context = context;
        options.step_limit = INT32_MAX;
        for (int round = 0; round < ROUNDS; round++) {
                double begin = now_ns();
                for (int i = 0; i < repeats; i++) {
                        aip_value *state = NULL;
                        aip_error *err = NULL;
                        must(aip_graph_invoke(graph, input, &options, &state, &err), err);
                        aip_value_unref(state);
                }
                double each = (now_ns() - begin) / repeats;
                best = each < best ? each : best;
        }
        return best;
}

static void bench_loop(const char *what, aip_graph_function run, aip_graph_router route, int steps)
{
        aip_graph *graph = loop_graph(run, route);
        double ns = time_invoke(graph, &steps, NULL, 2000000 / steps / ROUNDS + 1);
        printf("%-58s %8.1f ns a step\n", what, ns / steps);
        aip_graph_unref(graph);
}

/* What a step costs when the list has already grown: the difference of two lengths. */
static void bench_late_steps(int steps)
{
        aip_graph *graph = loop_graph(count_and_append, until_limit);
        int more = steps + steps / 2;
        int repeats = 400000 / steps + 1;
        double ns = time_invoke(graph, &more, NULL, repeats) -
                    time_invoke(graph, &steps, NULL, repeats);
        printf("loop appending 100 bytes, steps %5d to %5d %15s %8.1f ns a step\n", steps, more, "",
               ns / (more - steps));
        aip_graph_unref(graph);
}

/* Whole runs, from fresh input to final state. */

static aip_graph *chain_graph(void)
{
        static const char *const names[] = {"a", "b", "c"};
        aip_graph *graph = NULL;
        aip_error *err = NULL;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_LAST_VALUE);
        for (int i = 0; i < 3; i++) {
                aip_graph_builder_add_function(b, names[i], count_by_index, NULL);
                aip_graph_builder_add_edge(b, i ? names[i - 1] : AIP_GRAPH_START, names[i]);
        }
        aip_graph_builder_add_edge(b, "c", AIP_GRAPH_END);
        must(aip_graph_compile(b, &graph, &err), err);
        return graph;
}

static int add_one(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        aip_graph_task_write_at(task, 0, aip_value_int(1));
        return 0;
}

static aip_graph *fan_graph(void)
{
        static const char *const names[] = {"a", "b", "c", "d", "e"};
        aip_graph *graph = NULL;
        aip_error *err = NULL;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_ADD);
        aip_graph_builder_add_function(b, "join", add_one, NULL);
        for (int i = 0; i < 5; i++) {
                aip_graph_builder_add_function(b, names[i], add_one, NULL);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, names[i]);
                aip_graph_builder_add_edge(b, names[i], "join");
        }
        aip_graph_builder_add_edge(b, "join", AIP_GRAPH_END);
        must(aip_graph_compile(b, &graph, &err), err);
        return graph;
}

/* Builds its input anew each time, as a caller does. */
static void bench_run(const char *what, aip_graph *graph)
{
        double best = 1e18;
        for (int round = 0; round < ROUNDS; round++) {
                enum { N = 100000 };
                double begin = now_ns();
                for (int i = 0; i < N; i++) {
                        aip_error *err = NULL;
                        aip_value *state = NULL, *input = aip_value_object();
                        must(aip_value_object_set_cstr(&input, "n", aip_value_int(i)), NULL);
                        must(aip_graph_invoke(graph, input, NULL, &state, &err), err);
                        aip_value_unref(state);
                        aip_value_unref(input);
                }
                double each = (now_ns() - begin) / N;
                best = each < best ? each : best;
        }
        printf("%-58s %8.1f ns a run\n", what, best);
        aip_graph_unref(graph);
}

static void bench_compile(const char *what, aip_graph *(*make)(void))
{
        double best = 1e18;
        for (int round = 0; round < 40 * ROUNDS; round++) {
                enum { N = 200 }; /* short: one of the rounds is left alone by others */
                double begin = now_ns();
                for (int i = 0; i < N; i++)
                        aip_graph_unref(make());
                double each = (now_ns() - begin) / N;
                best = each < best ? each : best;
        }
        printf("%-58s %8.1f ns a graph\n", what, best);
}

/* Graphs as data: three nodes that compute, one condition. */

static const char document_json[] =
        "{\"state\": {\"prompt\": {}, \"parts\": {}, \"count\": {\"type\": \"add\"}, \"answer\": "
        "{}},"
        " \"nodes\": {"
        "  \"split\": {\"type\": \"set\", \"write\": {\"parts\": \".prompt | split(\\\" \\\")\"}},"
        "  \"count\": {\"type\": \"set\", \"write\": {\"count\": \".parts | length\"},"
        "            \"retry\": {\"max_attempts\": 3}},"
        "  \"join\": {\"type\": \"set\", \"write\": {\"answer\": \"\\\"\\\\(.count): "
        "\\\\(.prompt)\\\"\"}}},"
        " \"edges\": [{\"from\": \"__start__\", \"to\": \"split\"}, {\"from\": \"split\", \"to\": "
        "\"count\"},"
        "  {\"from\": \"count\", \"when\": [{\"if\": \".count > 3\", \"to\": \"join\"}], \"else\": "
        "\"split\"},"
        "  {\"from\": \"join\", \"to\": \"__end__\"}]}";

struct set_node {
        aip_graph_document *document;
        aip_graph_writes *writes;
};

static int set_run(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const struct set_node *node = user;
        const aip_value *variables[] = {aip_graph_task_input(task)};
        aip_value *state = NULL;
        int r = aip_graph_document_task_state(node->document, task, &state, err);
        if (r == 0)
                r = aip_graph_writes_eval(node->writes, state, variables, ret_update, err);
        aip_value_unref(state);
        return r;
}

static void set_free(void *user)
{
        struct set_node *node = user;
        aip_graph_writes_free(node->writes);
        aip_graph_document_unref(node->document);
        free(node);
}

static int set_make(void *self, const struct aip_graph_node_spec *spec,
                    struct aip_node_options *options, aip_error **err)
{
        (void)self;
        struct set_node *node = calloc(1, sizeof(*node));
        node->document = aip_graph_document_ref(spec->document);
        options->run = set_run;
        options->user = node;
        options->free_user = set_free;
        return aip_graph_spec_writes(spec, "write", NULL, 0, &node->writes, err);
}

static aip_graph *graph_of_document(void)
{
        static const char *const members[] = {"write", NULL};
        static const struct aip_graph_node_type types[] = {{"set", set_make, members}};
        aip_graph_document *document = NULL;
        aip_graph *graph = NULL;
        aip_error *err = NULL;
        must(aip_graph_document_parse(aip_str_of("bench"), aip_str_of(document_json), &document,
                                      &err),
             err);
        must(aip_graph_document_compile(document, types, 1, NULL, &graph, &err), err);
        aip_graph_document_unref(document);
        return graph;
}

/* On a loop. */

static void on_done(struct aip_op *op)
{
        must(0, op->err);
        ++*(int *)op->user;
}

static void bench_on_loop(int steps)
{
        aip_graph *graph = loop_graph(count_by_index, until_limit);
        aip_sim_loop *sim = NULL;
        must(aip_sim_loop_new(0, &sim, NULL), NULL);
        double best = 1e18;
        for (int round = 0; round < 300; round++) {
                int n_done = 0;
                struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
                run.op.done = on_done;
                run.op.user = &n_done;
                run.graph = graph;
                run.context = &steps;
                double begin = now_ns();
                aip_graph_run_start(aip_sim_loop_port(sim), &run);
                while (!n_done)
                        aip_sim_loop_step(sim);
                double each = now_ns() - begin;
                best = each < best ? each : best;
                aip_value_unref(run.ret_state);
        }
        printf("%-58s %8.1f ns a step\n", "loop of 1000 steps, one integer, driven on a loop",
               best / steps);
        aip_sim_loop_free(sim);
        aip_graph_unref(graph);
}

/* Runs in flight, each waiting on a timer. */

struct wait {
        struct aip_timer timer;
        aip_graph_task *task;
};

static void waited(struct aip_timer *timer)
{
        aip_graph_task_finish(AIP_CONTAINER_OF(timer, struct wait, timer)->task, NULL, NULL);
}

static void start_wait(void *user, aip_graph_task *task)
{
        (void)user;
        struct wait *wait = aip_graph_task_memory(task);
        *wait = (struct wait){.timer.fire = waited, .task = task};
        aip_timer_set(aip_graph_task_loop(task), &wait->timer, 1000);
}

static void cancel_wait(void *user, aip_graph_task *task)
{
        (void)user;
        struct wait *wait = aip_graph_task_memory(task);
        aip_timer_clear(aip_graph_task_loop(task), &wait->timer);
        aip_graph_task_finish(task, NULL, NULL);
}

static void bench_in_flight(void)
{
        enum { N = 10000 };
        struct aip_node_options node = AIP_NODE_OPTIONS_INIT;
        node.start = start_wait;
        node.cancel = cancel_wait;
        node.task_bytes = sizeof(struct wait);
        aip_graph *graph = NULL;
        aip_error *err = NULL;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_ADD);
        aip_graph_builder_add_node(b, "wait", &node);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "wait");
        aip_graph_builder_add_edge(b, "wait", AIP_GRAPH_END);
        must(aip_graph_compile(b, &graph, &err), err);
        aip_sim_loop *sim = NULL;
        must(aip_sim_loop_new(0, &sim, NULL), NULL);
        struct aip_graph_run *runs = calloc(N, sizeof(*runs));
        int n_done = 0;
        size_t before = mallinfo2().uordblks;
        for (int i = 0; i < N; i++) {
                runs[i] = (struct aip_graph_run)AIP_GRAPH_RUN_INIT;
                runs[i].op.done = on_done;
                runs[i].op.user = &n_done;
                runs[i].graph = graph;
                aip_graph_run_start(aip_sim_loop_port(sim), &runs[i]);
        }
        aip_sim_loop_run_until(sim, 500);
        double bytes = (double)(mallinfo2().uordblks - before) / N + sizeof(*runs);
        aip_sim_loop_run_until(sim, 2000);
        printf("%-58s %8.0f bytes a run (%d done)\n", "10,000 runs in flight", bytes, n_done);
        for (int i = 0; i < N; i++)
                aip_value_unref(runs[i].ret_state);
        free(runs);
        aip_sim_loop_free(sim);
        aip_graph_unref(graph);
}

int main(void)
{
        bench_loop("loop of 1000 steps, one integer, by index", count_by_index, until_limit, 1000);
        bench_loop("the same with update objects and names", count_by_name, until_limit_by_name,
                   1000);
        bench_on_loop(1000);
        bench_loop("loop of 10 steps appending 100 bytes", count_and_append, until_limit, 10);
        bench_loop("loop of 1000 steps appending 100 bytes", count_and_append, until_limit, 1000);
        bench_late_steps(1000);
        bench_late_steps(10000);
        bench_run("chain of 3, fresh input to final state", chain_graph());
        bench_run("fan-out of 5 and join, fresh input to final state", fan_graph());
        bench_compile("build, compile and free a chain of 3", chain_graph);
        bench_compile("the same of 3 nodes, from JSON text", graph_of_document);
        bench_in_flight();
        return 0;
}
