/* The registry of graphs of code: what it takes, what jobs may feed them, and no memory. */
#include "alloc_fail.h"
#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_registry.h>

static int nothing(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)task, (void)ret_update, (void)err;
        return 0;
}

/* Channels: `channel`, and n. */
static int build(const char *channel, aip_graph **ret_graph, aip_error **err)
{
        aip_graph_builder *b = aip_graph_builder_new();

        aip_graph_builder_add_channel(b, channel, AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_ADD);
        aip_graph_builder_add_function(b, "a", nothing, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, "a", AIP_GRAPH_END);
        return aip_graph_compile(b, ret_graph, err);
}

static int add(aip_graph_registry *registry, const char *name, const char *channel, aip_error **err)
{
        struct aip_registered_graph own = AIP_REGISTERED_GRAPH_INIT;
        aip_graph *graph = NULL;
        int r = build(channel, &graph, err);

        own.name = name;
        own.graph = graph;
        if (r == 0)
                r = aip_graph_registry_add(registry, &own, err);
        aip_graph_unref(graph);
        return r;
}

static aip_graph_registry *registry_of(void)
{
        aip_graph_registry *registry = NULL;

        cr_assert_eq(aip_graph_registry_new(&registry, NULL), 0);
        cr_assert_eq(add(registry, "asks", "prompt", NULL), 0);
        cr_assert_eq(add(registry, "plain", "text", NULL), 0);
        return registry;
}

Test(graph_registry, knows_graphs_by_name)
{
        aip_graph_registry *registry = registry_of();
        const struct aip_registered_graph *asks =
                aip_graph_registry_find(registry, AIP_STR("asks"));
        aip_error *err = NULL;

        cr_assert_not_null(asks);
        cr_expect_str_eq(asks->name, "asks");
        cr_expect_null(aip_graph_registry_find(registry, AIP_STR("ask")));
        cr_expect_null(aip_graph_registry_find(registry, AIP_STR("")));
        cr_expect_null(aip_graph_registry_find(NULL, AIP_STR("asks")));
        cr_expect_eq(add(registry, "plain", "text", &err), AIP_ECONFLICT);
        assert_error(err, AIP_ECONFLICT, "a graph 'plain' is registered already", "twice");
        for (int i = 0; i < 100; i++) {
                char name[20];
                snprintf(name, sizeof(name), "more-%d", i);
                cr_assert_eq(add(registry, name, "text", NULL), 0);
        }
        cr_expect_eq(aip_graph_registry_find(registry, AIP_STR("asks")), asks, "it stays in place");
        aip_graph_registry_free(registry);
        aip_graph_registry_free(NULL);
}

/* A struct of an older program is shorter: what it does not have is as by default. */
Test(graph_registry, takes_shorter_structs)
{
        struct aip_registered_graph own = AIP_REGISTERED_GRAPH_INIT;
        aip_graph_registry *registry = registry_of();
        aip_graph *graph = NULL;

        cr_assert_eq(build("text", &graph, NULL), 0);
        own.self_size = offsetof(struct aip_registered_graph, is_unkept);
        own.name = "short";
        own.graph = graph;
        own.is_unkept = 1;
        cr_assert_eq(aip_graph_registry_add(registry, &own, NULL), 0);
        cr_expect_eq(aip_graph_registry_find(registry, AIP_STR("short"))->is_unkept, 0);
        aip_graph_unref(graph);
        aip_graph_registry_free(registry);
}

Test(graph_registry, terms_of_runs_are_checked)
{
        static const char *const good[] = {"a", "*"}, *const bad[] = {"b"};
        struct aip_registered_graph own = AIP_REGISTERED_GRAPH_INIT;
        aip_graph_registry *registry = registry_of();
        aip_graph *graph = NULL;
        aip_error *err = NULL;

        cr_assert_eq(build("text", &graph, NULL), 0);
        own.name = "terms";
        own.graph = graph;
        own.step_limit = -1;
        cr_expect_eq(aip_graph_registry_add(registry, &own, &err), AIP_EINVAL);
        assert_error(err, AIP_EINVAL, "the step_limit of the graph 'terms' is -1", "limit");
        err = NULL;
        own.step_limit = 1;
        own.interrupt_before = good;
        own.n_interrupt_before = 2;
        own.interrupt_after = bad;
        own.n_interrupt_after = 1;
        cr_expect_eq(aip_graph_registry_add(registry, &own, &err), AIP_EINVAL);
        assert_error(err, AIP_EINVAL, "interrupted at node \"b\", which it does not have", "node");
        own.interrupt_after = good;
        cr_expect_eq(aip_graph_registry_add(registry, &own, NULL), 0);
        aip_graph_unref(graph);
        aip_graph_registry_free(registry);
}

static void expect_input(const char *name, const char *prompt, const char *input,
                         const char *expected)
{
        aip_graph_registry *registry = registry_of();
        aip_value *given = input ? value_of(input) : NULL, *channels = NULL;

        cr_assert_eq(aip_registered_graph_input(aip_graph_registry_find(registry, aip_str_of(name)),
                                                aip_str_of(prompt), given, &channels, NULL),
                     0);
        assert_value(channels, expected, name);
        aip_value_unref(given);
        aip_graph_registry_free(registry);
}

Test(graph_registry, prompt_and_input_go_to_channels)
{
        expect_input("asks", "p", NULL, "{\"prompt\":\"p\"}");
        expect_input("asks", "", NULL, "{}");
        expect_input("asks", "p", "{\"n\":1}", "{\"prompt\":\"p\",\"n\":1}");
        expect_input("asks", "p", "{\"prompt\":[1]}", "{\"prompt\":[1]}");
        expect_input("plain", "p", "{\"text\":null}", "{\"text\":null}");
}

Test(graph_registry, what_is_no_channel_is_refused)
{
        aip_graph_registry *registry = registry_of();
        const struct aip_registered_graph *plain =
                aip_graph_registry_find(registry, AIP_STR("plain"));
        aip_value *input = value_of("{\"n\":1,\"prompt\":\"p\"}"), *list = value_of("[1]");
        aip_value *channels = NULL;
        aip_error *err = NULL;

        aip_registered_graph_input(plain, AIP_STR(""), input, &channels, &err);
        assert_error(err, AIP_EINVAL, "input: the graph 'plain' has no channel 'prompt'", "member");
        err = NULL;
        aip_registered_graph_input(plain, AIP_STR(""), list, &channels, &err);
        assert_error(err, AIP_EINVAL, "input: must be an object", "list");
        cr_expect_null(channels);
        aip_value_unref(input);
        aip_value_unref(list);
        aip_graph_registry_free(registry);
}

static int use(void *user, aip_error **err)
{
        aip_graph_registry *registry = NULL;
        aip_value *channels = NULL;
        int r = aip_graph_registry_new(&registry, err);

        if (r == 0 && (r = add(registry, "asks", "prompt", err)) == 0)
                r = aip_registered_graph_input(aip_graph_registry_find(registry, AIP_STR("asks")),
                                               AIP_STR("p"), user, &channels, err);
        aip_value_unref(channels);
        aip_graph_registry_free(registry);
        return r;
}

Test(graph_registry, survives_allocation_failure)
{
        aip_value *input = value_of("{\"n\":1}");

        ASSERT_SURVIVES_ALLOC_FAILURE(use, input);
        aip_value_unref(input);
}
