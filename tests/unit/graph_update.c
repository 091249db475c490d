/* Writing to the state of a run that stands still: as a node, or where it stands. */
#include "alloc_fail.h"
#include "graph_fixture.h"
#include <aiplat/graph_run.h>

/* "big" or "small", by the number that is there. */
static int by_size(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        int is_big = aip_value_as_int(aip_graph_route_get(route, "n"), 0) > 9;
        aip_graph_route_to(route, is_big ? "big" : "small");
        return 0;
}

static int ask(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        aip_value *question = aip_value_string(aip_str_of(user));
        const aip_value *answer = aip_graph_task_interrupt(task, question);
        (void)ret_update, (void)err;
        aip_value_unref(question);
        if (answer)
                aip_graph_task_write(task, "log", aip_value_ref(answer));
        return 0;
}

/* count ─by_size─► big | small; big and small ─► join when both have run; ask beside big */
static aip_graph *build(void)
{
        static const char *const both[] = {"big", "small"};
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_function(b, "count", write_json, (void *)"{\"n\":3}");
        aip_graph_builder_add_function(b, "big", write_json, (void *)"{\"log\":\"big\"}");
        aip_graph_builder_add_function(b, "small", write_json, (void *)"{\"log\":\"small\"}");
        aip_graph_builder_add_function(b, "ask", ask, (void *)"go on?");
        aip_graph_builder_add_function(b, "join", write_json, (void *)"{\"log\":\"join\"}");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "count");
        add_router(b, "count", by_size, NULL, "big", "small");
        aip_graph_builder_add_edge(b, "big", "ask");
        aip_graph_builder_add_edge(b, "ask", AIP_GRAPH_END);
        aip_graph_builder_add_join(b, both, 2, "join");
        aip_graph_builder_add_edge(b, "join", AIP_GRAPH_END);
        return compile(b);
}

#define AT_BIG "{\"step\":1,\"next\":[\"big\"],\"channels\":{\"n\":12,\"log\":[\"x\"]}}"

static const struct {
        const char *what, *image, *values, *as_node, *expected, *changes;
} updates[] = {
        {"a router of the node decides", AT_BIG, "{\"n\":4}", "count",
         "{\"step\":2,\"next\":[\"small\"],\"channels\":{\"n\":4,\"log\":[\"x\"]}}",
         "{\"set\":{\"n\":4}}"},
        {"a list is added to, and a join has one arrival", AT_BIG, "{\"log\":\"me\"}", "small",
         "{\"step\":2,\"arrived\":[{\"to\":\"join\",\"from\":[\"small\"]}],"
         "\"channels\":{\"n\":12,\"log\":[\"x\",\"me\"]}}",
         "{\"append\":{\"log\":[\"me\"]}}"},
        {"the join's last arrival",
         "{\"step\":3,\"arrived\":[{\"to\":\"join\",\"from\":[\"small\"]}],"
         "\"channels\":{\"n\":1,\"log\":[]}}",
         NULL, "big", "{\"step\":4,\"next\":[\"ask\",\"join\"],\"channels\":{\"n\":1,\"log\":[]}}",
         "{}"},
        {"where it stands", AT_BIG, "{\"n\":1,\"log\":[\"a\",\"b\"]}", NULL,
         "{\"step\":1,\"next\":[\"big\"],\"channels\":{\"n\":1,\"log\":[\"x\",\"a\",\"b\"]}}",
         "{\"set\":{\"n\":1},\"append\":{\"log\":[\"a\",\"b\"]}}"},
        {"an overwrite", AT_BIG, "{\"log\":{\"" AIP_GRAPH_OVERWRITE "\":[]}}", NULL,
         "{\"step\":1,\"next\":[\"big\"],\"channels\":{\"n\":12,\"log\":[]}}",
         "{\"set\":{\"log\":[]}}"},
        {"an open question stays open",
         "{\"step\":2,\"tasks\":[{\"node\":\"ask\",\"question\":\"go on?\"}],"
         "\"channels\":{\"n\":12,\"log\":[]}}",
         "{\"n\":2}", NULL,
         "{\"step\":2,\"tasks\":[{\"node\":\"ask\",\"question\":\"go on?\"}],"
         "\"channels\":{\"n\":2,\"log\":[]}}",
         "{\"set\":{\"n\":2}}"},
        {"as the start", AT_BIG, "{\"n\":2}", AIP_GRAPH_START,
         "{\"step\":1,\"next\":[\"count\"],\"channels\":{\"n\":2,\"log\":[\"x\"]}}",
         "{\"set\":{\"n\":2}}"},
        {"as the end", AT_BIG, "{\"n\":2}", AIP_GRAPH_END,
         "{\"step\":1,\"channels\":{\"n\":2,\"log\":[\"x\"]}}", "{\"set\":{\"n\":2}}"},
        {"a run that has not begun", NULL, "{\"n\":10}", "count",
         "{\"step\":1,\"next\":[\"big\"],\"channels\":{\"n\":10,\"log\":[]}}",
         "{\"set\":{\"n\":10,\"log\":[]}}"},
};

static void check_changes(const aip_value *image, const aip_value *changes, const aip_value *after,
                          const char *what)
{
        aip_value *channels =
                image ? aip_value_ref(aip_value_get_cstr(image, "channels")) : aip_value_object();
        cr_assert_eq(aip_graph_apply_changes(&channels, changes, NULL), 0);
        cr_assert(aip_value_equal(channels, aip_value_get_cstr(after, "channels")),
                  "%s: the changes do not make the image", what);
        aip_value_unref(channels);
}

Test(graph_update, becomes)
{
        aip_graph *graph = build();
        for (size_t i = 0; i < sizeof(updates) / sizeof(*updates); i++) {
                struct aip_graph_update update = AIP_GRAPH_UPDATE_INIT;
                aip_value *image = updates[i].image ? value_of(updates[i].image) : NULL;
                aip_value *values = updates[i].values ? value_of(updates[i].values) : NULL;
                aip_error *err = NULL;
                update.image = image;
                update.values = values;
                update.as_node = updates[i].as_node;
                cr_assert_eq(aip_graph_update_state(graph, &update, &err), 0, "%s: %s",
                             updates[i].what, aip_error_message(err));
                check_changes(image, update.ret_changes, update.ret_image, updates[i].what);
                assert_value(update.ret_image, updates[i].expected, updates[i].what);
                assert_value(update.ret_changes, updates[i].changes, updates[i].what);
                aip_value_unref(image);
                aip_value_unref(values);
        }
        aip_graph_unref(graph);
}

static const struct {
        const char *what, *image, *values, *as_node, *message;
} refusals[] = {
        {"unknown node", AT_BIG, "{}", "nobody", "no node \"nobody\""},
        {"unknown channel", AT_BIG, "{\"m\":1}", "count", "no such channel"},
        {"unknown channel, in place", AT_BIG, "{\"m\":1}", NULL, "no such channel"},
        {"no object", AT_BIG, "[1]", NULL, "values: must be an object"},
        {"no image", "{\"channels\":{}}", "{}", NULL, "has no step"},
};

Test(graph_update, refuses)
{
        aip_graph *graph = build();
        for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
                struct aip_graph_update update = AIP_GRAPH_UPDATE_INIT;
                aip_value *image = value_of(refusals[i].image);
                aip_value *values = value_of(refusals[i].values);
                aip_error *err = NULL;
                update.image = image;
                update.values = values;
                update.as_node = refusals[i].as_node;
                cr_assert_lt(aip_graph_update_state(graph, &update, &err), 0, "%s",
                             refusals[i].what);
                assert_error(err, AIP_EINVAL, refusals[i].message, refusals[i].what);
                cr_assert_null(update.ret_image);
                cr_assert_null(update.ret_changes);
                aip_value_unref(image);
                aip_value_unref(values);
        }
        aip_graph_unref(graph);
}

/* A question is asked, the state is edited, the answer comes: the run goes on with what was edited. */
Test(graph_update, a_run_goes_on_from_it)
{
        aip_graph *graph = build();
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        struct aip_graph_update update = AIP_GRAPH_UPDATE_INIT;
        aip_value *at_ask = value_of("{\"step\":2,\"next\":[\"ask\"],\"channels\":{\"n\":12}}");
        aip_value *questions = NULL, *image = NULL, *state = NULL;
        aip_value *answer = value_of("\"yes\""), *values = value_of("{\"n\":77}");
        options.image = at_ask;
        options.ret_questions = &questions;
        options.ret_image = &image;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, NULL), 0);
        cr_assert_eq(aip_value_size(questions), 1u);
        aip_value_unref(state);
        aip_value_unref(questions);
        questions = NULL;
        update.image = image;
        update.values = values;
        cr_assert_eq(aip_graph_update_state(graph, &update, NULL), 0);
        aip_value_unref(image);
        options.image = update.ret_image;
        options.answers = answer;
        options.ret_image = NULL;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, NULL), 0);
        cr_assert_null(questions);
        assert_value(state, "{\"n\":77,\"log\":[\"yes\"]}", "state");
        aip_value_unref(update.ret_image);
        aip_value_unref(update.ret_changes);
        aip_value_unref(values);
        aip_value_unref(answer);
        aip_value_unref(at_ask);
        aip_graph_unref(graph);
}

static int update_once(void *user, aip_error **err)
{
        struct aip_graph_update update = AIP_GRAPH_UPDATE_INIT;
        aip_value *image = NULL, *values = NULL;
        int r = aip_value_parse(aip_str_of(AT_BIG), &image, err);
        if (r == 0)
                r = aip_value_parse(aip_str_of("{\"n\":4,\"log\":[1,2]}"), &values, err);
        update.image = image;
        update.values = values;
        update.as_node = "count";
        if (r == 0)
                r = aip_graph_update_state(user, &update, err);
        aip_value_unref(update.ret_image);
        aip_value_unref(update.ret_changes);
        aip_value_unref(image);
        aip_value_unref(values);
        return r;
}

Test(graph_update, survives_allocation_failure)
{
        aip_graph *graph = build();
        ASSERT_SURVIVES_ALLOC_FAILURE(update_once, graph);
        aip_graph_unref(graph);
}
