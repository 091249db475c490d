/*
 * "tools": carries out what the model has asked for. {"messages": CHANNEL, "tools": [TOOL]}. All tool calls of
 * the conversation's last message run side by side; their answers are added in the order of the calls. What
 * fails is told to the model as well, so that it can do better; only a cancel, or the end of the job's time,
 * ends the run.
 */
#include "agent/agent_node.h"

struct tools {
        aip_graph_document *document;
        uint32_t messages;
        aip_value *all; /* the names of a node that gives none: "*" */
        aip_tool_set *set;
};

struct tools_run;

struct one_call {
        struct aip_tool_call call;
        struct tools_run *run;
        const aip_value *wish; /* {"id", "name", "arguments"}, the conversation's */
        int is_running;
};

/* The task's memory. */
struct tools_run {
        const struct tools *node;
        aip_graph_task *task;
        struct one_call *calls;
        size_t n, n_running;
};

/* NULL when out of memory. Consumes `content`. */
static aip_value *answer_message(const struct one_call *one, aip_value *content, int is_error)
{
        aip_value *message = aip_value_object();
        struct aip_str id = aip_value_as_string(aip_value_get_cstr(one->wish, "id"));
        struct aip_str name = aip_value_as_string(aip_value_get_cstr(one->wish, "name"));
        int r = message ? aip_value_object_set_cstr(&message, "role",
                                                    aip_value_string(AIP_STR("tool")))
                        : AIP_ENOMEM;

        if (r == 0)
                r = aip_value_object_set_cstr(&message, "content", AIP_TAKE(content));
        if (r == 0)
                r = aip_value_object_set_cstr(&message, "tool_call_id", aip_value_string(id));
        if (r == 0)
                r = aip_value_object_set_cstr(&message, "name", aip_value_string(name));
        if (r == 0 && is_error)
                r = aip_value_object_set_cstr(&message, "is_error", aip_value_bool(1));
        aip_value_unref(content);
        if (r == 0)
                return message;
        aip_value_unref(message);
        return NULL;
}

/* As text, which is all that models read. NULL when out of memory. */
static aip_value *text_of(const aip_value *content)
{
        _cleanup_(aip_buf_deinit) struct aip_buf json = AIP_BUF_INIT(AIP_RENDERED_MAX_BYTES);

        if (aip_value_type(content) == AIP_VALUE_STRING)
                return aip_value_ref(content);
        if (aip_value_print(content, &json, NULL) == AIP_ENOMEM)
                return NULL;
        return aip_value_string(aip_buf_str(&json));
}

static aip_value *answer_of(const struct one_call *one)
{
        const struct aip_tool_call *call = &one->call;

        return call->op.err
                       ? answer_message(
                                 one, aip_value_string(aip_str_of(aip_error_message(call->op.err))),
                                 1)
                       : answer_message(one, text_of(call->ret_content), call->ret_is_error);
}

static void end_run(struct tools_run *run, aip_error *err)
{
        for (size_t i = 0; i < run->n; i++) {
                struct one_call *one = &run->calls[i];
                if (!err && aip_error_code(one->call.op.err) == AIP_ECANCELLED)
                        err = AIP_TAKE(one->call.op.err);
                if (!err)
                        aip_graph_task_write_at(run->task, run->node->messages, answer_of(one));
                aip_error_free(AIP_TAKE(one->call.op.err));
                aip_value_unref(AIP_TAKE(one->call.ret_content));
        }
        aip_free(AIP_TAKE(run->calls));
        aip_graph_task_finish(run->task, NULL, err);
}

static void call_done(struct aip_op *op)
{
        struct one_call *one = AIP_CONTAINER_OF(op, struct one_call, call.op);

        one->is_running = 0;
        aip_graph_task_progress(one->run->task);
        if (--one->run->n_running == 0)
                end_run(one->run, NULL);
}

/* What the model wrote for arguments and is no object was refused before it came here. */
static int is_malformed(struct one_call *one)
{
        const aip_value *why = aip_value_get_cstr(one->wish, "arguments_error");

        if (!why)
                return 0;
        aip_error_set(&one->call.op.err, AIP_EINVAL, "the arguments are no JSON object: %.*s",
                      AIP_STR_ARG(aip_value_as_string(why)));
        return 1;
}

static void start_call(struct tools_run *run, struct one_call *one)
{
        const struct aip_agent_context *context = aip_graph_task_context(run->task);

        if (is_malformed(one))
                return;
        one->call.op.done = call_done;
        one->call.op.deadline_ms = context->deadline_ms;
        one->call.arguments = aip_value_get_cstr(one->wish, "arguments");
        one->call.job_id = context->job_id;
        one->call.trace_id = context->trace_id;
        one->is_running = 1;
        run->n_running++;
        aip_tool_set_call(run->node->set, aip_graph_task_loop(run->task),
                          aip_value_as_string(aip_value_get_cstr(one->wish, "name")), &one->call);
}

static void tools_start(void *user, aip_graph_task *task)
{
        struct tools_run *run = aip_graph_task_memory(task);
        const aip_value *messages, *wishes;
        aip_error *err = NULL;

        run->node = user;
        run->task = task;
        messages = aip_graph_task_get_at(task, run->node->messages);
        wishes = aip_value_get_cstr(aip_value_at(messages, aip_value_size(messages) - 1),
                                    "tool_calls");
        run->n = aip_value_size(wishes);
        run->calls = run->n ? aip_calloc(run->n, sizeof(run->calls[0])) : NULL;
        if (run->n && !run->calls) {
                run->n = 0;
                aip_error_set_nomem(&err);
        }
        for (size_t i = 0; i < run->n; i++) {
                run->calls[i].run = run;
                run->calls[i].wish = aip_value_at(wishes, i);
                start_call(run, &run->calls[i]);
        }
        if (run->n_running == 0)
                end_run(run, err);
}

static void tools_cancel(void *user, aip_graph_task *task)
{
        struct tools_run *run = aip_graph_task_memory(task);

        (void)user;
        for (size_t i = 0; i < run->n; i++)
                if (run->calls[i].is_running)
                        aip_tool_call_cancel(&run->calls[i].call);
}

static void tools_free(void *user)
{
        struct tools *node = user;

        aip_tool_set_free(node->set);
        aip_value_unref(node->all);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(void *, tools_free);

static int tools_make(void *self, const struct aip_graph_node_spec *spec,
                      struct aip_node_options *options, aip_error **err)
{
        struct tools *node = aip_calloc(1, sizeof(*node));
        _cleanup_(tools_free_p) void *kept = node;
        int r;

        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        if ((node->all = aip_value_list()) == NULL ||
            aip_value_list_append(&node->all, aip_value_string(AIP_STR("*"))) < 0)
                return aip_error_set_nomem(err);
        r = aip_node_messages(spec, &node->messages, err);
        if (r == 0 && node->messages == AIP_GRAPH_DOCUMENT_NO_CHANNEL)
                r = aip_graph_spec_error(spec, "messages", err,
                                         "is missing: the channel of the conversation");
        if (r == 0)
                r = aip_node_tools(self, spec, "tools", node->all, &node->set, err);
        if (r < 0)
                return r;
        options->start = tools_start;
        options->cancel = tools_cancel;
        options->task_bytes = sizeof(struct tools_run);
        options->free_user = tools_free;
        options->user = AIP_TAKE(kept);
        return 0;
}

static const char *const members[] = {"messages", "tools", NULL};

const struct aip_graph_node_type aip_tools_node = {"tools", tools_make, members};
