/*
 * Run a graph in this process, with C functions as nodes: a text is written, two reviewers look at
 * it side by side, and it is written again until both approve.
 *
 *     __start__ → write ─┬→ facts ─┬→ decide ─┬→ __end__
 *                   ↑    └→ style ─┘          │
 *                   └─────────────────────────┘
 *
 * Build: cc graph_in_process.c $(pkg-config --cflags --libs aiplat)
 */
#include <aiplat/graph_run.h>
#include <stdio.h>

/* Channels are numbered in the order in which they are added below. */
enum { TOPIC, DRAFT, TEXT, NOTES, APPROVED };

/* An update object, one member a channel, is the plainest way to change the state. */
static int write_text(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        char text[100];
        struct aip_str topic = aip_value_as_string(aip_graph_task_get(task, "topic"));
        int64_t draft = aip_value_as_int(aip_graph_task_get(task, "draft"), 0) + 1;
        snprintf(text, sizeof(text), "On %.*s, draft %d", (int)topic.n, topic.p, (int)draft);
        if (!(*ret_update = aip_value_object()) ||
            aip_value_object_set_cstr(ret_update, "draft", aip_value_int(1)) < 0 ||
            aip_value_object_set_cstr(ret_update, "text", aip_value_string(aip_str_of(text))) < 0)
                return aip_error_set_nomem(err);
        return 0;
}

/* Writing channels by their number is the fastest. A failure to allocate is kept by the task. */
static void give_opinion(aip_graph_task *task, const char *reviewer, int is_content)
{
        char note[100];
        struct aip_str text = aip_value_as_string(aip_graph_task_get_at(task, TEXT));
        snprintf(note, sizeof(note), "%s: \"%.*s\" %s", reviewer, (int)text.n, text.p,
                 is_content ? "is fine" : "needs work");
        aip_graph_task_write_at(task, NOTES, aip_value_string(aip_str_of(note)));
        aip_value *opinion = aip_value_object();
        if (opinion &&
            aip_value_object_set_cstr(&opinion, reviewer, aip_value_bool(is_content)) < 0) {
                aip_value_unref(opinion);
                opinion = NULL;
        }
        aip_graph_task_write_at(task, APPROVED, opinion);
}

/* One function for both reviewers: `user` is how many drafts this one wants to see. */
static int review(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)ret_update, (void)err;
        int64_t draft = aip_value_as_int(aip_graph_task_get_at(task, DRAFT), 0);
        give_opinion(task, aip_graph_task_node(task), draft >= *(const int *)user);
        return 0;
}

/* A node may leave the state alone; this one is where the reviewers meet. */
static int decide(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)task, (void)ret_update, (void)err;
        return 0;
}

/* The conditional edge after it. */
static int again_or_end(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        const aip_value *approved = aip_graph_route_get_at(route, APPROVED);
        int is_done = aip_value_as_bool(aip_value_get_cstr(approved, "facts"), 0) &&
                      aip_value_as_bool(aip_value_get_cstr(approved, "style"), 0);
        aip_graph_route_to(route, is_done ? AIP_GRAPH_END : "write");
        return 0;
}

static int build(aip_graph **ret_graph, aip_error **err)
{
        static int facts_wants = 2, style_wants = 3;
        static const char *const targets[] = {"write", AIP_GRAPH_END};
        struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
        router.route = again_or_end;
        router.targets = targets;
        router.n_targets = 2;

        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "topic", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "draft", AIP_CHANNEL_ADD);
        aip_graph_builder_add_channel(b, "text", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "notes", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "approved", AIP_CHANNEL_MERGE);
        aip_graph_builder_add_function(b, "write", write_text, NULL);
        aip_graph_builder_add_function(b, "facts", review, &facts_wants);
        aip_graph_builder_add_function(b, "style", review, &style_wants);
        aip_graph_builder_add_function(b, "decide", decide, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "write");
        aip_graph_builder_add_edge(b, "write", "facts");
        aip_graph_builder_add_edge(b, "write", "style");
        aip_graph_builder_add_edge(b, "facts", "decide");
        aip_graph_builder_add_edge(b, "style", "decide");
        aip_graph_builder_add_router(b, "decide", &router);
        return aip_graph_compile(b, ret_graph, err); /* reports whatever went wrong above */
}

int main(void)
{
        aip_error *err = NULL;
        aip_graph *graph = NULL;
        aip_value *input = NULL, *state = NULL;
        struct aip_buf text = AIP_BUF_INIT(1 << 20);

        if (build(&graph, &err) == 0 &&
            aip_value_parse(aip_str_of("{\"topic\": \"rivers\"}"), &input, &err) == 0 &&
            aip_graph_invoke(graph, input, NULL, &state, &err) == 0 &&
            aip_value_print(state, &text, &err) == 0)
                puts(text.p);
        else
                fprintf(stderr, "%s\n", aip_error_message(err));

        int is_good = err == NULL;
        aip_buf_deinit(&text);
        aip_value_unref(state);
        aip_value_unref(input);
        aip_graph_unref(graph);
        aip_error_free(err);
        return is_good ? 0 : 1;
}
