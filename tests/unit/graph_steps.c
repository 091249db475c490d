/* Super-steps: what runs when, what it sees, in which order writes merge, and where a run ends. */
#include "alloc_fail.h"
#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_run.h>
#include <pthread.h>

/* Appends its own name and the step to "log", and what it sees of "log"'s length to "seen". */
static int log_self(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        (void)ret_update;
        (void)err;
        char text[64];
        snprintf(text, sizeof(text), "%s%d", aip_graph_task_node(task), aip_graph_task_step(task));
        size_t seen = aip_value_size(aip_graph_task_get(task, "log"));
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(text)));
        aip_graph_task_write(task, "seen", aip_value_int((int64_t)seen));
        return 0;
}

static aip_graph_builder *begin_log(const char *const *nodes, size_t n)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "seen", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_LAST_VALUE);
        for (size_t i = 0; i < n; i++)
                aip_graph_builder_add_function(b, nodes[i], log_self, NULL);
        return b;
}

static void assert_runs(aip_graph *graph, const char *input, const char *expected, int32_t steps)
{
        aip_value *in = input ? value_of(input) : NULL, *state = NULL;
        aip_error *err = NULL;
        int32_t ret_steps = -1;
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        options.ret_steps = &ret_steps;
        cr_assert_eq(aip_graph_invoke(graph, in, &options, &state, &err), 0, "%s",
                     aip_error_message(err));
        assert_value(state, expected, "state");
        cr_assert_eq(ret_steps, steps, "%d steps", ret_steps);
        aip_value_unref(in);
}

static void assert_fails(aip_graph *graph, const char *input, int code, const char *message)
{
        aip_value *in = input ? value_of(input) : NULL, *state = NULL;
        aip_error *err = NULL;
        cr_assert_eq(aip_graph_invoke(graph, in, NULL, &state, &err), code, "%s",
                     aip_error_message(err));
        cr_assert_null(state);
        assert_error(err, code, message, "invoke");
        aip_value_unref(in);
}

Test(graph_steps, chain)
{
        const char *nodes[] = {"c", "a", "b"};
        aip_graph_builder *b = begin_log(nodes, 3);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "c");
        aip_graph_builder_add_edge(b, "c", "a");
        aip_graph_builder_add_edge(b, "a", "b");
        aip_graph_builder_add_edge(b, "b", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        assert_runs(graph, NULL, "{\"log\":[\"c1\",\"a2\",\"b3\"],\"seen\":[0,1,2]}", 3);
        assert_runs(graph, "{\"log\":[\"in\"],\"n\":7}",
                    "{\"log\":[\"in\",\"c1\",\"a2\",\"b3\"],\"seen\":[1,2,3],\"n\":7}", 3);
        aip_graph_unref(graph);
}

/* Writes of a step are seen in the next, and merged by name, not by the order of edges. A node that
 * several lead to runs once. */
Test(graph_steps, fan_out_and_join)
{
        const char *nodes[] = {"z", "m", "b", "a", "join"};
        aip_graph_builder *b = begin_log(nodes, 5);
        for (int i = 0; i < 4; i++) {
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, nodes[i]);
                aip_graph_builder_add_edge(b, nodes[i], "join");
        }
        aip_graph_builder_add_edge(b, "join", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        assert_runs(graph, NULL,
                    "{\"log\":[\"a1\",\"b1\",\"m1\",\"z1\",\"join2\"],\"seen\":[0,0,0,0,4]}", 2);
        aip_graph_unref(graph);
}

/* Branches of different length meet a common node once each. */
Test(graph_steps, uneven_branches_run_the_join_twice)
{
        const char *nodes[] = {"long1", "long2", "short", "join"};
        aip_graph_builder *b = begin_log(nodes, 4);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "long1");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "short");
        aip_graph_builder_add_edge(b, "long1", "long2");
        aip_graph_builder_add_edge(b, "long2", "join");
        aip_graph_builder_add_edge(b, "short", "join");
        aip_graph_builder_add_edge(b, "join", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        assert_runs(graph, NULL,
                    "{\"log\":[\"long11\",\"short1\",\"join2\",\"long22\",\"join3\"],"
                    "\"seen\":[0,0,2,2,4]}",
                    3);
        aip_graph_unref(graph);
}

/* More tasks and writes than a run's block holds, and more nodes than one word of bits. */
Test(graph_steps, wide)
{
        enum { N = 150 };
        char names[N][8];
        aip_graph_builder *b = begin_log(NULL, 0);
        for (int i = 0; i < N; i++) {
                snprintf(names[i], sizeof(names[i]), "w%03d", i);
                aip_graph_builder_add_function(b, names[i], log_self, NULL);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, names[i]);
                aip_graph_builder_add_edge(b, names[i], "x");
        }
        aip_graph_builder_add_function(b, "x", do_nothing, NULL);
        aip_graph_builder_add_edge(b, "x", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        aip_value *state = NULL;
        cr_assert_eq(aip_graph_invoke(graph, NULL, NULL, &state, NULL), 0);
        const aip_value *log = aip_value_get_cstr(state, "log");
        cr_assert_eq(aip_value_size(log), (size_t)N);
        for (int i = 0; i < N; i++) {
                char expected[16];
                snprintf(expected, sizeof(expected), "w%03d1", i);
                cr_assert(aip_str_eq(aip_value_as_string(aip_value_at(log, (size_t)i)),
                                     aip_str_of(expected)));
        }
        aip_value_unref(state);
        aip_graph_unref(graph);
}

static int count_up(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        (void)err;
        int64_t n = aip_value_as_int(aip_graph_task_get(task, "n"), 0);
        *ret_update = aip_value_object();
        if (!*ret_update || aip_value_object_set_cstr(ret_update, "n", aip_value_int(n + 1)) < 0)
                return AIP_ENOMEM;
        return 0;
}

/* Again until n has reached the context's limit. */
static int again_or_end(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)err;
        const int *limit = aip_graph_route_context(route);
        int64_t n = aip_value_as_int(aip_graph_route_get(route, "n"), 0);
        aip_graph_route_to(route, n < *limit ? "count" : AIP_GRAPH_END);
        return 0;
}

static aip_graph *counting_graph(void)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_function(b, "count", count_up, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "count");
        add_router(b, "count", again_or_end, NULL, "count", AIP_GRAPH_END);
        return compile(b);
}

Test(graph_steps, loop_until_a_router_ends_it)
{
        aip_graph *graph = counting_graph();
        int limit = 1000;
        int32_t steps = 0;
        aip_value *state = NULL;
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        options.context = &limit;
        options.ret_steps = &steps;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, NULL), 0);
        assert_value(state, "{\"n\":1000}", "n");
        cr_assert_eq(steps, 1000);
        aip_graph_unref(graph);
}

Test(graph_steps, stop_at_the_step_limit_and_name_it)
{
        static const struct {
                int32_t step_limit;
                int32_t steps;
                const char *message;
        } table[] = {
                {0, 1000, "GRAPH_RECURSION_LIMIT: the run has not ended after 1000 steps"},
                {1, 1, "after 1 steps, its step limit; next was node \"count\""},
                {70, 70, "after 70 steps"},
        };
        aip_graph *graph = counting_graph();
        int limit = INT32_MAX;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                int32_t steps = 0;
                aip_value *state = NULL;
                aip_error *err = NULL;
                struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
                options.context = &limit;
                options.step_limit = table[i].step_limit;
                options.ret_steps = &steps;
                cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, &err), AIP_ELIMIT);
                cr_assert_str_eq(aip_error_kind(err), AIP_GRAPH_STEP_LIMIT_REACHED);
                assert_error(err, AIP_ELIMIT, table[i].message, "limit");
                cr_assert_eq(steps, table[i].steps);
        }
        aip_graph_unref(graph);
}

/* A run that ends in its last allowed step has not passed the limit. */
Test(graph_steps, may_use_all_steps)
{
        aip_graph *graph = counting_graph();
        int limit = 5;
        aip_value *state = NULL;
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        options.context = &limit;
        options.step_limit = 5;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, NULL), 0);
        assert_value(state, "{\"n\":5}", "n");
        options.step_limit = -1;
        aip_error *err = NULL;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, &err), AIP_EINVAL);
        assert_error(err, AIP_EINVAL, "step_limit is -1", "limit");
        aip_graph_unref(graph);
}

/* A router sees its own node's writes at once, its neighbours' not. */
static int route_by_log(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)err;
        const aip_value *log = aip_graph_route_get_at(route, 0);
        size_t n = aip_value_size(log);
        aip_graph_route_to(route, n == 1 ? "one" : "many");
        return 0;
}

Test(graph_steps, routers_see_their_own_nodes_writes_only)
{
        const char *nodes[] = {"a", "b", "one", "many"};
        aip_graph_builder *b = begin_log(nodes, 4);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "b");
        add_router(b, "a", route_by_log, NULL, "one", "many");
        add_router(b, "b", route_by_log, NULL, "one", "many");
        aip_graph_builder_add_edge(b, "one", AIP_GRAPH_END);
        aip_graph_builder_add_edge(b, "many", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        assert_runs(graph, NULL, "{\"log\":[\"a1\",\"b1\",\"one2\"],\"seen\":[0,0,2]}", 2);
        assert_runs(graph, "{\"log\":[0,0]}",
                    "{\"log\":[0,0,\"a1\",\"b1\",\"many2\"],\"seen\":[2,2,4]}", 2);
        aip_graph_unref(graph);
}

static int go_both(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)err;
        aip_graph_route_to_nth(route, 1);
        aip_graph_route_to_nth(route, 0);
        aip_graph_route_to_nth(route, 1);
        return 0;
}

Test(graph_steps, routers_may_name_several_targets_and_stand_beside_edges)
{
        const char *nodes[] = {"a", "b", "c"};
        aip_graph_builder *b = begin_log(nodes, 3);
        add_router(b, AIP_GRAPH_START, go_both, NULL, "a", "b");
        aip_graph_builder_add_edge(b, "a", "c");
        add_router(b, "a", go_to, (void *)AIP_GRAPH_END, AIP_GRAPH_END, NULL);
        aip_graph_builder_add_edge(b, "b", AIP_GRAPH_END);
        aip_graph_builder_add_edge(b, "c", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        assert_runs(graph, NULL, "{\"log\":[\"a1\",\"b1\",\"c2\"],\"seen\":[0,0,2]}", 2);
        aip_graph_unref(graph);
}

static int go_nowhere(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)route;
        (void)err;
        return 0;
}

static int go_too_far(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)err;
        aip_graph_route_to_nth(route, 2);
        return 0;
}

static int read_wrongly(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)err;
        aip_graph_route_get(route, "wrong");
        aip_graph_route_to_nth(route, 0);
        return 0;
}

static int refuse_to_route(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)route;
        return aip_error_set(err, AIP_EUNAVAILABLE, "not today");
}

static int fail_silently(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)route;
        (void)err;
        return AIP_EIO;
}

Test(graph_steps, routers_mistakes_are_named)
{
        static const struct {
                aip_graph_router route;
                const char *user;
                int code;
                const char *message;
        } table[] = {
                {go_nowhere, NULL, AIP_EINVAL, "the router after \"a\": it named no target"},
                {go_to, "b", AIP_EINVAL, "it named \"b\", which is not among its declared targets"},
                {go_too_far, NULL, AIP_EINVAL, "it named target 2, but declared only 2"},
                {read_wrongly, NULL, AIP_EINVAL, "the graph has no channel \"wrong\""},
                {refuse_to_route, NULL, AIP_EUNAVAILABLE, "the router after \"a\": not today"},
                {fail_silently, NULL, AIP_EIO, "it failed with -13 (io_error)"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                const char *nodes[] = {"a", "b"};
                aip_graph_builder *b = begin_log(nodes, 2);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, "b");
                add_router(b, "a", table[i].route, (void *)table[i].user, "a", AIP_GRAPH_END);
                aip_graph_builder_add_edge(b, "b", AIP_GRAPH_END);
                aip_graph *graph = compile(b);
                assert_fails(graph, NULL, table[i].code, table[i].message);
                aip_graph_unref(graph);
        }
}

static int misbehave(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        switch (*(const char *)user) {
        case 'r':
                aip_graph_task_get(task, "wrong");
                return 0;
        case 'i':
                aip_graph_task_get_at(task, 99);
                return 0;
        case 'w':
                aip_graph_task_write(task, "wrong", aip_value_int(1));
                return 0;
        case 'x':
                aip_graph_task_write_at(task, 3, aip_value_int(1));
                return 0;
        case 't':
                aip_graph_task_write(task, "n", aip_value_int(1));
                aip_graph_task_write(task, "n", aip_value_int(2));
                return 0;
        case 'c':
                return AIP_EIO;
        case 'p':
                return 3;
        case 'u':
                *ret_update = aip_value_object();
                return aip_error_set(err, AIP_EUPSTREAM, "no model");
        case 'f':
                aip_graph_task_finish(task, aip_value_null(), NULL);
                return 0;
        default:
                return 0;
        }
}

Test(graph_steps, nodes_mistakes_are_named)
{
        static const struct {
                const char *what;
                int code;
                const char *message;
        } table[] = {
                {"read", AIP_EINVAL, "node \"a\": the graph has no channel \"wrong\""},
                {"index", AIP_EINVAL, "node \"a\": the graph has no channel 99, it has 3"},
                {"write", AIP_EINVAL, "node \"a\": the graph has no channel \"wrong\""},
                {"xindex", AIP_EINVAL, "node \"a\": the graph has no channel 3, it has 3"},
                {"twice", AIP_ESTATE, "wrote it twice: node \"a\" and node \"a\""},
                {"code", AIP_EIO, "node \"a\": the function failed with -13 (io_error)"},
                {"positive", AIP_EINTERNAL, "node \"a\": the function failed with 3"},
                {"upstream", AIP_EUPSTREAM, "node \"a\": no model"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                aip_graph_builder *b = begin_log(NULL, 0);
                aip_graph_builder_add_function(b, "a", misbehave, (void *)table[i].what);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
                aip_graph_builder_add_edge(b, "a", AIP_GRAPH_END);
                aip_graph *graph = compile(b);
                assert_fails(graph, NULL, table[i].code, table[i].message);
                aip_graph_unref(graph);
        }
}

/* aip_graph_task_finish() is for asynchronous nodes; from a synchronous one it does nothing. */
Test(graph_steps, finish_from_a_function_is_ignored)
{
        aip_graph_builder *b = begin_log(NULL, 0);
        aip_graph_builder_add_function(b, "a", misbehave, (void *)"finish");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, "a", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        assert_runs(graph, NULL, "{\"log\":[],\"seen\":[]}", 1);
        aip_graph_unref(graph);
}

Test(graph_steps, bad_input_is_named)
{
        const char *nodes[] = {"a"};
        aip_graph_builder *b = begin_log(nodes, 1);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, "a", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        assert_fails(graph, "{\"typo\":1}", AIP_EINVAL, "input: the update has a member \"typo\"");
        assert_fails(graph, "[]", AIP_EINVAL, "input: an update is an object");
        aip_value *state = NULL;
        cr_assert_eq(aip_graph_invoke(NULL, NULL, NULL, &state, NULL), AIP_EINVAL);
        aip_graph_unref(graph);
}

/* The initial value is the run's own: what one run makes of it, another does not see. */
Test(graph_steps, runs_share_nothing)
{
        struct aip_channel_options options = AIP_CHANNEL_OPTIONS_INIT;
        aip_value *initial = value_of("[{\"deep\":[1,2.5,true,null,\"s\"]}]");
        options.kind = AIP_CHANNEL_APPEND;
        options.initial = initial;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel_with(b, "log", &options);
        aip_graph_builder_add_function(b, "a", write_json, (void *)"{\"log\":1}");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, "a", AIP_GRAPH_END);
        aip_value_unref(initial);
        aip_graph *graph = compile(b);
        for (int i = 0; i < 3; i++)
                assert_runs(graph, NULL, "{\"log\":[{\"deep\":[1,2.5,true,null,\"s\"]},1]}", 1);
        aip_graph_unref(graph);
}

/* One graph, runs on several threads. */
static void *invoke_often(void *graph)
{
        for (int i = 0; i < 200; i++) {
                aip_graph *counted = aip_graph_ref(graph);
                assert_runs(counted, NULL, "{\"log\":[{\"deep\":[1]},\"a\",\"b\"]}", 1);
                aip_graph_unref(counted);
        }
        return NULL;
}

Test(graph_steps, threads_share_a_graph)
{
        struct aip_channel_options options = AIP_CHANNEL_OPTIONS_INIT;
        aip_value *initial = value_of("[{\"deep\":[1]}]");
        options.kind = AIP_CHANNEL_APPEND;
        options.initial = initial;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel_with(b, "log", &options);
        aip_graph_builder_add_function(b, "a", write_json, (void *)"{\"log\":\"a\"}");
        aip_graph_builder_add_function(b, "b", write_json, (void *)"{\"log\":\"b\"}");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "b");
        aip_graph_builder_add_edge(b, "a", AIP_GRAPH_END);
        aip_graph_builder_add_edge(b, "b", AIP_GRAPH_END);
        aip_value_unref(initial);
        aip_graph *graph = compile(b);
        pthread_t threads[4];
        for (size_t i = 0; i < AIP_ARRAY_SIZE(threads); i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, invoke_often, graph), 0);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(threads); i++)
                pthread_join(threads[i], NULL);
        aip_graph_unref(graph);
}

/* Compile and invoke a graph that uses everything; every allocation fails once. */
static int compile_and_invoke(void *user, aip_error **err)
{
        static const char *const nodes[] = {"a", "b", "c", "d", "e", "f"};
        (void)user;
        aip_graph_builder *b = begin_log(nodes, AIP_ARRAY_SIZE(nodes));
        for (size_t i = 0; i < AIP_ARRAY_SIZE(nodes); i++) {
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, nodes[i]);
                add_router(b, nodes[i], go_to, (void *)"last", "last", AIP_GRAPH_END);
        }
        aip_graph_builder_add_function(b, "last", count_up, NULL);
        aip_graph_builder_add_edge(b, "last", AIP_GRAPH_END);
        aip_graph *graph = NULL;
        int code = aip_graph_compile(b, &graph, err);
        aip_value *state = NULL;
        if (code == 0)
                code = aip_graph_invoke(graph, NULL, NULL, &state, err);
        aip_value_unref(state);
        aip_graph_unref(graph);
        return code;
}

Test(graph_steps, survive_allocation_failure)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(compile_and_invoke, NULL);
}
