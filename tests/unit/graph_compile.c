/* The compiler: every mistake of whoever draws a graph is found and named before anything runs. */
#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_run.h>

/* A graph as a table row: names and arrows separated by spaces, "a>b" an edge, "a?b" a router after
 * a that may go to b. */
static aip_graph_builder *draw(const char *nodes, const char *arrows)
{
        char text[512], *rest = NULL;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "x", AIP_CHANNEL_LAST_VALUE);
        snprintf(text, sizeof(text), "%s", nodes);
        for (char *name = strtok_r(text, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
                aip_graph_builder_add_function(b, name, do_nothing, NULL);
        snprintf(text, sizeof(text), "%s", arrows);
        for (char *from = strtok_r(text, " ", &rest); from; from = strtok_r(NULL, " ", &rest)) {
                size_t n = strcspn(from, ">?");
                int is_router = from[n] == '?';
                from[n] = '\0';
                const char *to = from + n + 1;
                from = strcmp(from, "S") == 0 ? (char *)AIP_GRAPH_START : from;
                from = strcmp(from, "E") == 0 ? (char *)AIP_GRAPH_END : from;
                to = strcmp(to, "E") == 0 ? AIP_GRAPH_END : to;
                to = strcmp(to, "S") == 0 ? AIP_GRAPH_START : to;
                if (is_router)
                        add_router(b, from, go_to, (void *)"a", to, NULL);
                else
                        aip_graph_builder_add_edge(b, from, to);
        }
        return b;
}

static const struct {
        const char *nodes, *arrows;
        int code;
        const char *message;
} bad[] = {
        {"a", "a>E", AIP_EINVAL, "no edge leads from __start__ to a node"},
        {"", "", AIP_EINVAL, "no edge leads from __start__ to a node"},
        {"a b", "S>a a>E b>E", AIP_EINVAL, "node \"b\" cannot be reached from __start__"},
        {"a b c", "S>a a>E b>c c>b", AIP_EINVAL, "nodes \"b\", \"c\" cannot be reached"},
        {"a b", "S>a a>b", AIP_EINVAL, "nodes \"a\", \"b\" can never get to __end__"},
        {"a b", "S>a a>b a>E", AIP_EINVAL, "node \"b\" can never get to __end__"},
        {"a b c", "S>a a>E a>b b>c c>b", AIP_EINVAL, "nodes \"b\", \"c\" can never get to __end__"},
        {"a", "S>a a>z a>E", AIP_EINVAL,
         "the edge from \"a\" leads to \"z\", but there is no such node"},
        {"a", "S>a a>E z>a", AIP_EINVAL, "an edge begins at \"z\", but there is no such node"},
        {"a", "S>a a>E a?z", AIP_EINVAL,
         "the router after \"a\" leads to \"z\", but there is no such node"},
        {"a", "S>a a>E z?a", AIP_EINVAL, "a router begins at \"z\", but there is no such node"},
        {"a", "S>a a>E E>a", AIP_EINVAL, "an edge cannot begin at __end__"},
        {"a", "S>a a>E a>S", AIP_EINVAL, "the edge from \"a\" cannot lead to __start__"},
        {"a", "S>a a>E a?S", AIP_EINVAL, "the router after \"a\" cannot lead to __start__"},
        {"a b a", "S>a a>E S>b b>E", AIP_ECONFLICT, "there are two nodes \"a\""},
        {"__a", "S>__a __a>E", AIP_EINVAL, "node name \"__a\" begins with \"__\""},
        {"a:b", "S>a:b a:b>E", AIP_EINVAL, "node name \"a:b\" has ':' or '|'"},
        {"a|b", "S>a|b a|b>E", AIP_EINVAL, "node name \"a|b\" has ':' or '|'"},
        {"a\xff", "S>a", AIP_EINVAL, "is not valid UTF-8"},
        {"a\tb", "S>a", AIP_EINVAL, "has a control character"},
        {"a b c d e f g h i j k", "S>a a>E", AIP_EINVAL,
         "nodes \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\" and 2 more cannot be"},
};

Test(graph_compile, names_the_mistake)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++) {
                char what[32];
                aip_graph *graph = NULL;
                aip_error *err = NULL;
                snprintf(what, sizeof(what), "row %zu", i);
                cr_assert_lt(aip_graph_compile(draw(bad[i].nodes, bad[i].arrows), &graph, &err), 0,
                             "%s compiled", what);
                cr_assert_null(graph);
                assert_error(err, bad[i].code, bad[i].message, what);
        }
}

static const struct {
        const char *nodes, *arrows;
} good[] = {
        {"a", "S>a a>E"},
        {"a", "S>a a>a a>E"},
        {"a", "S>a a>E S>a a>E"}, /* the same edge twice is one edge */
        {"a b c", "S>b S>c c>a b>a a>E"},
        {"a b", "S?a a?b b?E"},
        {"b a", "S>a a?b b>a b?E"},
        {"", "S>E"},
        {"\xc3\xa4gent", "S>\xc3\xa4gent \xc3\xa4gent>E"},
};

Test(graph_compile, accepts_what_makes_sense)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(good); i++)
                aip_graph_unref(compile(draw(good[i].nodes, good[i].arrows)));
}

Test(graph_compile, passes_on_the_first_mistake_of_the_builder)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph *graph = NULL;
        aip_error *err = NULL;
        aip_graph_builder_add_function(b, "", do_nothing, NULL);
        aip_graph_builder_add_function(b, "a:b", do_nothing, NULL);
        cr_assert_lt(aip_graph_compile(b, &graph, &err), 0);
        assert_error(err, AIP_EINVAL, "must have 1 to 255 bytes", "empty name");
        aip_graph_builder_free(NULL);
        aip_graph_builder_add_edge(NULL, "a", "b");
        aip_graph_builder_add_function(NULL, "a", do_nothing, NULL);
        cr_assert_eq(aip_graph_compile(NULL, &graph, NULL), AIP_ENOMEM);
}

static void start_nothing(void *user, aip_graph_task *task)
{
        (void)user;
        (void)task;
}

Test(graph_compile, refuses_half_nodes)
{
        static const struct {
                aip_graph_function run;
                void (*start)(void *user, aip_graph_task *task);
                void (*cancel)(void *user, aip_graph_task *task);
                const char *message;
        } table[] = {
                {NULL, NULL, NULL, "node \"a\" needs a function"},
                {do_nothing, start_nothing, start_nothing, "node \"a\" needs a function"},
                {NULL, start_nothing, NULL, "node \"a\" has start, so it needs cancel"},
                {do_nothing, NULL, start_nothing, "node \"a\" has cancel without start"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
                options.run = table[i].run;
                options.start = table[i].start;
                options.cancel = table[i].cancel;
                aip_graph_builder *b = aip_graph_builder_new();
                aip_graph_builder_add_node(b, "a", &options);
                aip_graph *graph = NULL;
                aip_error *err = NULL;
                cr_assert_lt(aip_graph_compile(b, &graph, &err), 0);
                assert_error(err, AIP_EINVAL, table[i].message, "node");
        }
}

static void count_free(void *user)
{
        ++*(int *)user;
}

/* Whatever becomes of builder and graph, each user pointer is freed exactly once. */
Test(graph_compile, frees_users_once)
{
        for (int variant = 0; variant < 4; variant++) {
                int freed = 0;
                const char *targets[] = {variant == 1 ? "missing" : AIP_GRAPH_END};
                struct aip_node_options node = AIP_NODE_OPTIONS_INIT;
                struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
                struct aip_channel_options channel = AIP_CHANNEL_OPTIONS_INIT;
                node.run = do_nothing;
                router.route = go_to;
                router.targets = targets;
                router.n_targets = 1;
                node.user = router.user = channel.user = &freed;
                node.free_user = router.free_user = channel.free_user = count_free;
                aip_graph_builder *b = aip_graph_builder_new();
                if (variant == 2)
                        aip_graph_builder_add_channel(b, "", AIP_CHANNEL_ADD);
                aip_graph_builder_add_channel_with(b, "x", &channel);
                aip_graph_builder_add_node(b, "a", &node);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
                aip_graph_builder_add_router(b, "a", &router);
                aip_graph *graph = NULL;
                if (variant == 3)
                        aip_graph_builder_free(b);
                else
                        cr_assert_eq(aip_graph_compile(b, &graph, NULL) == 0, variant == 0);
                aip_graph *second = aip_graph_ref(graph);
                aip_graph_unref(graph);
                cr_assert_eq(freed, variant == 0 ? 0 : 3, "variant %d: %d", variant, freed);
                aip_graph_unref(second);
                cr_assert_eq(freed, 3, "variant %d: %d", variant, freed);
        }
}

Test(graph_compile, refuses_duplicate_channels_however_many)
{
        for (int n = 1; n < 40; n += 13) {
                aip_graph_builder *b = aip_graph_builder_new();
                for (int i = 0; i < n; i++) {
                        char name[16];
                        snprintf(name, sizeof(name), "c%d", i);
                        aip_graph_builder_add_channel(b, name, AIP_CHANNEL_ADD);
                }
                aip_graph_builder_add_channel(b, "c0", AIP_CHANNEL_ADD);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, AIP_GRAPH_END);
                aip_graph *graph = NULL;
                aip_error *err = NULL;
                cr_assert_lt(aip_graph_compile(b, &graph, &err), 0);
                assert_error(err, AIP_ECONFLICT, "there are two channels \"c0\"", "channels");
        }
}
