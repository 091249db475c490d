/*
 * "tool": calls one tool. {"tool": TOOL, "arguments": EXPRESSION, "write": {CHANNEL: EXPRESSION over $result}}.
 * A tool that says it failed fails the node ("retry", "on_error"), with what it said.
 *
 * "http": the same with an HTTP tool that the node itself describes (docs/tools.md): {"url", "method", "headers",
 * "max_bytes", "arguments", "write"}; each {name} in the URL is an argument.
 */
#include <stdio.h>

#include "agent/agent_node.h"

struct tool {
        aip_graph_document *document;
        struct aip_str name;       /* the document's */
        aip_value *names;          /* it alone */
        aip_value *own;            /* of a node that describes its tool: {name: description} */
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
        aip_value_unref(node->own);
        aip_expression_unref(node->arguments);
        aip_graph_writes_free(node->writes);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(void *, tool_free);

/* {"type": "object", "properties": {each {name} of the URL: {}}} */
static aip_value *parameters_of(struct aip_str url)
{
        aip_value *schema = aip_value_object(), *properties = aip_value_object();
        int r = schema && properties ? aip_value_object_set_cstr(
                                               &schema, "type", aip_value_string(AIP_STR("object")))
                                     : AIP_ENOMEM;

        for (size_t i = 0; r == 0 && i < url.n; i++) {
                size_t n = 0;
                if (url.p[i] != '{')
                        continue;
                while (i + 1 + n < url.n && url.p[i + 1 + n] != '}')
                        n++;
                r = aip_value_object_set(&properties, aip_str_make(url.p + i + 1, n),
                                         aip_value_object());
                i += n;
        }
        if (r == 0)
                r = aip_value_object_set_cstr(&schema, "properties", AIP_TAKE(properties));
        aip_value_unref(properties);
        if (r == 0)
                return schema;
        aip_value_unref(schema);
        return NULL;
}

/* The node's members that describe its tool, as a document's "tools" would have them. */
static int describe(struct tool *node, const struct aip_graph_node_spec *spec, aip_error **err)
{
        static const char *const copied[] = {"url", "method", "headers", "max_bytes"};
        aip_value *tool = aip_value_object();
        struct aip_str url = aip_value_as_string(aip_value_get_cstr(spec->fields, "url"));
        int r = tool ? aip_value_object_set_cstr(&tool, "type", aip_value_string(AIP_STR("http")))
                     : AIP_ENOMEM;

        for (size_t i = 0; r == 0 && i < AIP_ARRAY_SIZE(copied); i++) {
                const aip_value *member = aip_value_get_cstr(spec->fields, copied[i]);
                if (member)
                        r = aip_value_object_set_cstr(&tool, copied[i],
                                                      aip_value_copy_deep(member));
        }
        if (r == 0)
                r = aip_value_object_set_cstr(&tool, "parameters", parameters_of(url));
        if (r == 0 && !(node->own = aip_value_object()))
                r = AIP_ENOMEM;
        if (r == 0)
                r = aip_value_object_set(&node->own, node->name, AIP_TAKE(tool));
        aip_value_unref(tool);
        return r < 0 ? aip_error_set_nomem(err) : 0;
}

static int make_set(struct tool *node, const struct aip_node_maker *maker,
                    const aip_value *described, aip_error **err)
{
        node->names = aip_value_list();
        if (!node->names || aip_value_list_append(&node->names, aip_value_string(node->name)) < 0)
                return aip_error_set_nomem(err);
        return aip_tool_set_new(maker->tools, node->names, described, &node->set, err);
}

/* What the node describes was refused: at a place that the document does not have. */
static int point_at_node(const struct aip_graph_node_spec *spec, aip_error *cause, aip_error **err)
{
        static const char place[] = "/tools/request/";
        const char *why = aip_error_message(cause);
        char member[64];
        size_t n;
        int r;

        if (strncmp(why, place, strlen(place)) != 0)
                return aip_error_propagate(err, cause);
        why += strlen(place);
        n = strcspn(why, ":/ ");
        snprintf(member, sizeof(member), "%.*s", (int)AIP_MIN(n, sizeof(member) - 1), why);
        r = aip_graph_spec_error(spec, member, err, "%s", why + n + (why[n] == ':' ? 2 : 0));
        aip_error_free(cause);
        return r;
}

static int read_request(struct tool *node, const struct aip_node_maker *maker,
                        const struct aip_graph_node_spec *spec, aip_error **err)
{
        aip_error *cause = NULL;
        int r;

        node->name = AIP_STR("request");
        if ((r = describe(node, spec, err)) < 0)
                return r;
        r = make_set(node, maker, node->own, &cause);
        return r < 0 ? point_at_node(spec, cause, err) : 0;
}

static int read_tool(struct tool *node, const struct aip_node_maker *maker,
                     const struct aip_graph_node_spec *spec, aip_error **err)
{
        int r = aip_node_text(spec, "tool", &node->name, err);

        if (r < 0)
                return r;
        if (!node->name.p)
                return aip_graph_spec_error(spec, "tool", err, "is missing: a tool's name");
        return make_set(node, maker, aip_graph_document_tools(spec->document), err);
}

static int make(const struct aip_node_maker *maker, const struct aip_graph_node_spec *spec,
                int (*read)(struct tool *node, const struct aip_node_maker *maker,
                            const struct aip_graph_node_spec *spec, aip_error **err),
                struct aip_node_options *options, aip_error **err)
{
        static const char *const variables[] = {"result"};
        struct tool *node = aip_calloc(1, sizeof(*node));
        _cleanup_(tool_free_p) void *kept = node;
        int r;

        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        r = read(node, maker, spec, err);
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

static int tool_make(void *self, const struct aip_graph_node_spec *spec,
                     struct aip_node_options *options, aip_error **err)
{
        return make(self, spec, read_tool, options, err);
}

static int http_make(void *self, const struct aip_graph_node_spec *spec,
                     struct aip_node_options *options, aip_error **err)
{
        return make(self, spec, read_request, options, err);
}

static const char *const tool_members[] = {"tool", "arguments", "write", NULL};
static const char *const http_members[] = {"url",       "method", "headers", "max_bytes",
                                           "arguments", "write",  NULL};

const struct aip_graph_node_type aip_tool_node = {"tool", tool_make, tool_members};
const struct aip_graph_node_type aip_http_node = {"http", http_make, http_members};
