/* Where a run goes on beyond fixed edges: sends, Commands, joins, deferred nodes. Nodes are scripts in
 * JSON, so that a graph is a row of a table. */
#include "alloc_fail.h"
#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_run.h>

/* A node's script is an object, or a list of them, one for each time the node runs (the last stays):
 * "write": an update; "goto": names; "send": pairs of a name and an input; "say": append "NODESTEP", and
 * the input, to "log". */
struct script {
        const char *name, *json;
        const char *targets; /* names separated by spaces */
        int is_deferred;
        size_t n_runs;
};

static void say(aip_graph_task *task)
{
        char text[200];
        struct aip_buf input = AIP_BUF_INIT(100);
        if (aip_graph_task_input(task))
                cr_assert_eq(aip_value_print(aip_graph_task_input(task), &input, NULL), 0);
        snprintf(text, sizeof(text), "%s%d%s%.*s", aip_graph_task_node(task),
                 aip_graph_task_step(task), input.n ? ":" : "", (int)input.n,
                 input.n ? input.p : "");
        aip_buf_deinit(&input);
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(text)));
}

static void lead(aip_graph_task *task, const aip_value *script)
{
        char name[100];
        const aip_value *names = aip_value_get_cstr(script, "goto");
        const aip_value *sends = aip_value_get_cstr(script, "send");
        for (size_t i = 0; i < aip_value_size(names); i++) {
                struct aip_str target = aip_value_as_string(aip_value_at(names, i));
                snprintf(name, sizeof(name), "%.*s", AIP_STR_ARG(target));
                aip_graph_task_goto(task, name);
        }
        for (size_t i = 0; i < aip_value_size(sends); i++) {
                const aip_value *pair = aip_value_at(sends, i);
                struct aip_str target = aip_value_as_string(aip_value_at(pair, 0));
                snprintf(name, sizeof(name), "%.*s", AIP_STR_ARG(target));
                aip_graph_task_send(task, name, aip_value_ref(aip_value_at(pair, 1)));
        }
}

static int play(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        struct script *script = user;
        aip_value *all = NULL;
        int code = aip_value_parse(aip_str_of(script->json), &all, err);
        if (code < 0)
                return code;
        const aip_value *now = all;
        if (aip_value_type(all) == AIP_VALUE_LIST)
                now = aip_value_at(all, AIP_MIN(script->n_runs, aip_value_size(all) - 1));
        script->n_runs++;
        if (aip_value_as_bool(aip_value_get_cstr(now, "say"), 1))
                say(task);
        lead(task, now);
        *ret_update = aip_value_ref(aip_value_get_cstr(now, "write"));
        aip_value_unref(all);
        return 0;
}

static void add_script(aip_graph_builder *b, struct script *script)
{
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        const char *targets[8];
        char text[200], *rest = NULL;
        snprintf(text, sizeof(text), "%s", script->targets ? script->targets : "");
        for (char *name = strtok_r(text, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
                targets[options.n_targets++] = name;
        script->n_runs = 0;
        options.targets = targets;
        options.run = play;
        options.user = script;
        options.is_deferred = script->is_deferred;
        aip_graph_builder_add_node(b, script->name, &options);
}

/* Arrows: "a>b" an edge, "a+b>c" a join; S and E are __start__ and __end__. */
static void add_arrows(aip_graph_builder *b, const char *arrows)
{
        char text[300], *rest = NULL;
        snprintf(text, sizeof(text), "%s", arrows);
        for (char *arrow = strtok_r(text, " ", &rest); arrow; arrow = strtok_r(NULL, " ", &rest)) {
                char *to = strchr(arrow, '>'), *more = NULL;
                const char *from[8];
                size_t n = 0;
                *to++ = '\0';
                for (char *name = strtok_r(arrow, "+", &more); name;
                     name = strtok_r(NULL, "+", &more))
                        from[n++] = strcmp(name, "S") == 0 ? AIP_GRAPH_START : name;
                const char *target = strcmp(to, "E") == 0 ? AIP_GRAPH_END : to;
                if (n == 1)
                        aip_graph_builder_add_edge(b, from[0], target);
                else
                        aip_graph_builder_add_join(b, from, n, target);
        }
}

struct graph_row {
        const char *what;
        struct script nodes[6];
        const char *arrows;
        const char *expected; /* the final "log"; or the error's message */
};

static int build(const struct graph_row *row, struct script *scripts, aip_graph **ret_graph,
                 aip_error **err)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "x", AIP_CHANNEL_LAST_VALUE);
        memcpy(scripts, row->nodes, sizeof(row->nodes));
        for (size_t i = 0; i < AIP_ARRAY_SIZE(row->nodes) && scripts[i].name; i++)
                add_script(b, &scripts[i]);
        add_arrows(b, row->arrows);
        return aip_graph_compile(b, ret_graph, err);
}

static int run(const struct graph_row *row, aip_value **ret_state, aip_error **err)
{
        struct script scripts[AIP_ARRAY_SIZE(row->nodes)];
        aip_graph *graph = NULL;
        int code = build(row, scripts, &graph, err);
        if (code == 0)
                code = aip_graph_invoke(graph, NULL, NULL, ret_state, err);
        aip_graph_unref(graph);
        return code;
}

static const struct graph_row rows[] = {
        {"a Command names the next node, beside the edges",
         {{"a", "{\"goto\":[\"c\"]}", "c", 0, 0}, {"b", "{}", NULL, 0, 0}, {"c", "{}", NULL, 0, 0}},
         "S>a a>b b>E c>E",
         "[\"a1\",\"b2\",\"c2\"]"},
        {"a Command to __end__ names nothing",
         {{"a", "{\"goto\":[\"__end__\"]}", "b __end__", 0, 0}, {"b", "{}", NULL, 0, 0}},
         "S>a b>E",
         "[\"a1\"]"},
        {"a loop by Commands, with writes",
         {{"a", "[{\"goto\":[\"a\"]},{\"goto\":[\"a\"]},{}]", "a __end__", 0, 0}},
         "S>a",
         "[\"a1\",\"a2\",\"a3\"]"},
        {"sends run after the others of their step, in their order",
         {{"a", "{\"send\":[[\"w\",2],[\"w\",1]]}", "w", 0, 0},
          {"w", "{}", NULL, 0, 0},
          {"z", "{}", NULL, 0, 0}},
         "S>a a>z a>w w>E z>E",
         "[\"a1\",\"w2\",\"z2\",\"w2:2\",\"w2:1\"]"},
        {"sends of several senders, in the senders' order",
         {{"a", "{\"send\":[[\"w\",\"a\"]]}", "w", 0, 0},
          {"b", "{\"send\":[[\"w\",\"b\"]]}", "w", 0, 0},
          {"w", "{}", NULL, 0, 0}},
         "S>b S>a w>E",
         "[\"a1\",\"b1\",\"w2:\\\"a\\\"\",\"w2:\\\"b\\\"\"]"},
        {"what was sent may send on, and its edges are followed once",
         {{"a", "{\"send\":[[\"w\",1],[\"w\",2]]}", "w", 0, 0},
          {"w", "{\"send\":[[\"v\",3]]}", "v", 0, 0},
          {"v", "{}", NULL, 0, 0},
          {"z", "{}", NULL, 0, 0}},
         "S>a w>z v>E z>E",
         "[\"a1\",\"w2:1\",\"w2:2\",\"z3\",\"v3:3\",\"v3:3\"]"},
        {"a join waits for branches of different length",
         {{"a", "{}", NULL, 0, 0},
          {"b", "{}", NULL, 0, 0},
          {"b2", "{}", NULL, 0, 0},
          {"j", "{}", NULL, 0, 0}},
         "S>a S>b b>b2 a+b2>j j>E",
         "[\"a1\",\"b1\",\"b22\",\"j3\"]"},
        {"an edge beside a join does not wait",
         {{"a", "{}", NULL, 0, 0},
          {"b", "{}", NULL, 0, 0},
          {"b2", "{}", NULL, 0, 0},
          {"j", "{}", NULL, 0, 0}},
         "S>a S>b b>b2 a>j b2>j j>E",
         "[\"a1\",\"b1\",\"b22\",\"j2\",\"j3\"]"},
        {"a join of which one source never runs never runs",
         {{"a", "{\"goto\":[\"__end__\"]}", "b __end__", 0, 0},
          {"b", "{}", NULL, 0, 0},
          {"j", "{}", NULL, 0, 0}},
         "S>a a+b>j j>E",
         "[\"a1\"]"},
        {"a join in a loop waits anew",
         {{"a", "{}", NULL, 0, 0},
          {"b", "{}", NULL, 0, 0},
          {"j", "[{\"goto\":[\"a\",\"b\"]},{}]", "a b __end__", 0, 0}},
         "S>a S>b a+b>j",
         "[\"a1\",\"b1\",\"j2\",\"a3\",\"b3\",\"j4\"]"},
        {"a deferred node waits for the longest branch",
         {{"a", "{}", NULL, 0, 0},
          {"b", "{}", NULL, 0, 0},
          {"b2", "{}", NULL, 0, 0},
          {"d", "{}", NULL, 1, 0}},
         "S>a S>b b>b2 a>d b2>d d>E",
         "[\"a1\",\"b1\",\"b22\",\"d3\"]"},
        {"deferred nodes run side by side and may go on",
         {{"a", "{}", NULL, 0, 0},
          {"d1", "{}", NULL, 1, 0},
          {"d2", "{}", NULL, 1, 0},
          {"z", "{}", NULL, 0, 0}},
         "S>d2 S>a a>d1 d1>z d2>E z>E",
         "[\"a1\",\"d12\",\"d22\",\"z3\"]"},
        {"a deferred node that was sent an input does not wait",
         {{"a", "{\"send\":[[\"d\",1]]}", "d", 0, 0},
          {"b", "{}", NULL, 0, 0},
          {"d", "{}", NULL, 1, 0}},
         "S>a a>b b>E d>E",
         "[\"a1\",\"b2\",\"d2:1\"]"},
};

Test(graph_flow, leads_on)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(rows); i++) {
                aip_value *state = NULL;
                aip_error *err = NULL;
                cr_assert_eq(run(&rows[i], &state, &err), 0, "%s: %s", rows[i].what,
                             aip_error_message(err));
                assert_value(aip_value_ref(aip_value_get_cstr(state, "log")), rows[i].expected,
                             rows[i].what);
                aip_value_unref(state);
        }
}

static const struct graph_row bad[] = {
        {"a Command that was not declared",
         {{"a", "{\"goto\":[\"b\"]}", NULL, 0, 0}, {"b", "{}", NULL, 0, 0}},
         "S>a a>b b>E",
         "node \"a\": it named \"b\", which is not among its declared targets"},
        {"a send that was not declared",
         {{"a", "{\"send\":[[\"b\",1]]}", "__end__", 0, 0}, {"b", "{}", NULL, 0, 0}},
         "S>a a>b b>E",
         "node \"a\": it named \"b\", which is not among its declared targets"},
        {"a send to __end__",
         {{"a", "{\"send\":[[\"__end__\",1]]}", "__end__", 0, 0}},
         "S>a",
         "node \"a\": it sent an input to __end__, which is not a node"},
        {"a target that is missing",
         {{"a", "{}", "z", 0, 0}},
         "S>a a>E",
         "node \"a\" leads to \"z\", but there is no such node"},
        {"a join from a node that is missing",
         {{"a", "{}", NULL, 0, 0}},
         "S>a a>E a+z>a",
         "a join begins at \"z\", but there is no such node"},
        {"a join to a node that is missing",
         {{"a", "{}", NULL, 0, 0}, {"b", "{}", NULL, 0, 0}},
         "S>a S>b a+b>z",
         "the join from \"a\" leads to \"z\", but there is no such node"},
        {"a join from __start__",
         {{"a", "{}", NULL, 0, 0}},
         "S>a a>E a+S>a",
         "a join cannot begin at __start__"},
        {"a node that only a Command of an unreachable one names",
         {{"a", "{}", NULL, 0, 0}, {"b", "{}", "c", 0, 0}, {"c", "{}", NULL, 0, 0}},
         "S>a a>E c>E",
         "nodes \"b\", \"c\" cannot be reached from __start__"},
};

Test(graph_flow, says_what_is_wrong)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++) {
                aip_value *state = NULL;
                aip_error *err = NULL;
                cr_assert_lt(run(&bad[i], &state, &err), 0, "%s", bad[i].what);
                assert_error(err, AIP_EINVAL, bad[i].expected, bad[i].what);
        }
}

/* A router that sends each element of "items" to "w", or nothing. */
static int map_items(void *user, aip_graph_route *route, aip_error **err)
{
        const aip_value *items = aip_graph_route_get(route, "items");
        (void)user;
        (void)err;
        for (size_t i = 0; i < aip_value_size(items); i++)
                aip_graph_route_send(route, "w", aip_value_ref(aip_value_at(items, i)));
        if (aip_value_size(items) == 0)
                aip_graph_route_nowhere(route);
        return 0;
}

static int double_input(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        (void)ret_update;
        (void)err;
        int64_t n = aip_value_as_int(aip_graph_task_input(task), -1);
        aip_graph_task_write(task, "doubled", aip_value_int(2 * n));
        return 0;
}

static aip_graph_builder *map_reduce(void)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "items", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "doubled", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_function(b, "w", double_input, NULL);
        add_router(b, AIP_GRAPH_START, map_items, NULL, "w", NULL);
        aip_graph_builder_add_edge(b, "w", AIP_GRAPH_END);
        return b;
}

static int map_numbers(void *user, aip_error **err)
{
        aip_graph *graph = NULL;
        aip_value *input = NULL, *state = NULL;
        int code = aip_value_parse(aip_str_of(user), &input, err);
        if (code == 0)
                code = aip_graph_compile(map_reduce(), &graph, err);
        if (code == 0)
                code = aip_graph_invoke(graph, input, NULL, &state, err);
        aip_value_unref(state);
        aip_value_unref(input);
        aip_graph_unref(graph);
        return code;
}

Test(graph_flow, a_router_maps)
{
        static const char *const inputs[][2] = {
                {"{\"items\":[3,1,2]}", "[6,2,4]"},
                {"{\"items\":[1,2,3,4,5,6,7,8,9]}", "[2,4,6,8,10,12,14,16,18]"},
                {"{\"items\":[]}", "[]"},
        };
        aip_graph *graph = compile(map_reduce());
        for (size_t i = 0; i < AIP_ARRAY_SIZE(inputs); i++) {
                aip_value *input = value_of(inputs[i][0]), *state = NULL;
                cr_assert_eq(aip_graph_invoke(graph, input, NULL, &state, NULL), 0);
                assert_value(aip_value_ref(aip_value_get_cstr(state, "doubled")), inputs[i][1],
                             inputs[i][0]);
                aip_value_unref(state);
                aip_value_unref(input);
        }
        aip_graph_unref(graph);
}

Test(graph_flow, survives_allocation_failure)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(map_numbers, (void *)"{\"items\":[1,2,3,4,5,6,7,8,9]}");
}
