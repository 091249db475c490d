/*
 * "tool": calls one tool. {"tool": TOOL, "arguments": EXPRESSION, "write": {CHANNEL: EXPRESSION over $result}}.
 * A tool that says it failed fails the node ("retry", "on_error"), with what it said.
 */
#include "agent/agent_node.h"

struct tool {
        aip_graph_document *document;
        struct aip_str name;       /* the document's */
        aip_value *names;          /* it alone */
        aip_expression *arguments; /* or NULL */
        aip_graph_writes *writes;
        aip_tool_set *set;
};

/* The task's memory. */
struct tool_run {
        struct aip_tool_call call;
        const struct tool *node;
        aip_graph_task *task;
        struct aip_node_sight sight;
        aip_value *arguments;
};

static void end_run(struct tool_run *run, aip_value *update, aip_error *err)
{
        aip_node_sight_deinit(&run->sight);
        aip_value_unref(AIP_TAKE(run->arguments));
        aip_value_unref(AIP_TAKE(run->call.ret_content));
        aip_graph_task_finish(run->task, update, err);
}

static int fail_told(const struct tool_run *run, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(4000);
        struct aip_str said = aip_value_as_string(run->call.ret_content);

        if (!said.p && aip_value_print(run->call.ret_content, &text, NULL) == 0)
                said = aip_buf_str(&text);
        aip_error_set(err, AIP_EUPSTREAM, "the tool %.*s failed: %.*s",
                      AIP_STR_ARG(run->node->name), (int)AIP_MIN(said.n, (size_t)4000),
                      said.p ? said.p : "");
        if (err)
                aip_error_set_kind(*err, "tool_failed");
        return AIP_EUPSTREAM;
}

static void called(struct aip_op *op)
{
        struct tool_run *run = AIP_CONTAINER_OF(op, struct tool_run, call.op);
        const aip_value *variables[] = {run->sight.item, run->call.ret_content};
        aip_error *err = AIP_TAKE(run->call.op.err);
        aip_value *update = NULL;

        if (!err && !(run->call.ret_is_error && fail_told(run, &err) < 0) &&
            aip_graph_writes_eval(run->node->writes, run->sight.state, variables, &update, &err) <
                    0)
                aip_value_unref(AIP_TAKE(update));
        end_run(run, update, err);
}

static void tool_start(void *user, aip_graph_task *task)
{
        const struct aip_agent_context *context = aip_graph_task_context(task);
        struct tool_run *run = aip_graph_task_memory(task);
        aip_error *err = NULL;
        int r;

        run->node = user;
        run->task = task;
        r = aip_node_look(run->node->document, task, &run->sight, &err);
        if (r == 0 && run->node->arguments) {
                const aip_value *variables[] = {run->sight.item};
                r = aip_expression_eval(run->node->arguments, run->sight.state, variables,
                                        &run->arguments, &err);
        }
        if (r < 0) {
                end_run(run, NULL, err);
                return;
        }
        run->call.op.done = called;
        run->call.op.deadline_ms = context->deadline_ms;
        run->call.arguments = run->arguments;
        run->call.job_id = context->job_id;
        run->call.trace_id = context->trace_id;
        aip_tool_set_call(run->node->set, aip_graph_task_loop(task), run->node->name, &run->call);
}

static void tool_cancel(void *user, aip_graph_task *task)
{
        struct tool_run *run = aip_graph_task_memory(task);

        (void)user;
        aip_tool_call_cancel(&run->call);
}

static void tool_free(void *user)
{
        struct tool *node = user;

        aip_tool_set_free(node->set);
        aip_value_unref(node->names);
        aip_expression_unref(node->arguments);
        aip_graph_writes_free(node->writes);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(void *, tool_free);

static int read_tool(struct tool *node, const struct aip_node_maker *maker,
                     const struct aip_graph_node_spec *spec, aip_error **err)
{
        int r = aip_node_text(spec, "tool", &node->name, err);

        if (r < 0)
                return r;
        if (!node->name.p)
                return aip_graph_spec_error(spec, "tool", err, "is missing: a tool's name");
        node->names = aip_value_list();
        if (!node->names || aip_value_list_append(&node->names, aip_value_string(node->name)) < 0)
                return aip_error_set_nomem(err);
        return aip_tool_set_new(maker->tools, node->names, aip_graph_document_tools(spec->document),
                                &node->set, err);
}

static int tool_make(void *self, const struct aip_graph_node_spec *spec,
                     struct aip_node_options *options, aip_error **err)
{
        static const char *const variables[] = {"result"};
        struct tool *node = aip_calloc(1, sizeof(*node));
        _cleanup_(tool_free_p) void *kept = node;
        int r;

        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        r = read_tool(node, self, spec, err);
        if (r == 0)
                r = aip_graph_spec_expression(spec, "arguments", NULL, 0, &node->arguments, err);
        if (r == 0)
                r = aip_graph_spec_writes(spec, "write", variables, AIP_ARRAY_SIZE(variables),
                                          &node->writes, err);
        if (r < 0)
                return r;
        options->start = tool_start;
        options->cancel = tool_cancel;
        options->task_bytes = sizeof(struct tool_run);
        options->free_user = tool_free;
        options->user = AIP_TAKE(kept);
        return 0;
}

static const char *const members[] = {"tool", "arguments", "write", NULL};

const struct aip_graph_node_type aip_tool_node = {"tool", tool_make, members};
