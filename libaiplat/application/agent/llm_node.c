/*
 * "llm": asks a model once. {"config": NAMES, "template": NAMES, "messages": CHANNEL,
 * "system": EXPRESSION, "prompt": EXPRESSION, "tools": [TOOL], "tool_choice": …, "output_schema": JSON Schema, "write": {CHANNEL: EXPRESSION}}.
 * NAMES is a name, true for the job's own, or a list of these, of which the first that there is counts.
 * It neither retries nor stores anything: retries are the port's, the node's ("retry") and the job's.
 */
#include "agent/llm_node.h"

#include <aiplat/llm_registry.h>

/* ── one call ────────────────────────────────────────────────────────────────────────────────── */

/* Free what the call holds and finish its task; both are consumed always. */
static void end_call(struct aip_llm_node_call *c, aip_value *update, aip_error *err)
{
        aip_llm_answer_deinit(&c->call.ret_answer);
        aip_node_sight_deinit(&c->sight);
        aip_value_unref(c->system_text);
        aip_value_unref(c->prompt_text);
        aip_value_unref(c->tools);
        aip_buf_deinit(&c->system);
        aip_buf_deinit(&c->user);
        aip_free(c->messages);
        aip_graph_task_finish(c->task, update, err);
}

static void answered(struct aip_op *op)
{
        struct aip_llm_node_call *c = AIP_CONTAINER_OF(op, struct aip_llm_node_call, call.op);
        struct aip_agent_context *context = aip_graph_task_context(c->task);
        aip_error *err = AIP_TAKE(c->call.op.err);
        aip_value *update = NULL;

        if (!err && aip_agent_usage_add(&context->usage, &c->call, &err) == 0 &&
            aip_llm_node_take(c, &update, &err) < 0)
                aip_value_unref(AIP_TAKE(update));
        end_call(c, update, err);
}

static void answer_grows(struct aip_llm_call *call, const struct aip_llm_delta *delta)
{
        struct aip_llm_node_call *c = AIP_CONTAINER_OF(call, struct aip_llm_node_call, call);
        const struct aip_agent_context *context = aip_graph_task_context(c->task);

        aip_graph_task_progress(c->task);
        aip_job_progress_delta(context->progress, c->node->name, delta);
}

static const aip_llm_config *active_config(const struct aip_agent_context *context,
                                           const aip_value *name)
{
        const aip_llm_config *config =
                aip_value_type(name) == AIP_VALUE_BOOL
                        ? context->config
                        : aip_catalog_config(context->catalog, aip_value_as_string(name));

        return config && aip_llm_config_fields(config)->is_active ? config : NULL;
}

static int pick_config(struct aip_llm_node_call *c, const struct aip_agent_context *context,
                       aip_error **err)
{
        const aip_value *names = c->node->configs;
        const aip_llm_config *config = NULL;

        if (!names) {
                c->call.config = context->config;
                c->llm = context->llm;
                return 0;
        }
        if (aip_value_type(names) != AIP_VALUE_LIST)
                config = active_config(context, names);
        for (size_t i = 0; !config && i < aip_value_size(names); i++)
                config = active_config(context, aip_value_at(names, i));
        if (!config)
                return aip_node_fail_missing(err, "caller_config_not_found",
                                             "no active configuration", names);
        c->call.config = config;
        return aip_llm_registry_find(context->llms, config, &c->llm, err);
}

/* As they are now: tools may come and go. */
static int offer_tools(struct aip_llm_node_call *c, aip_error **err)
{
        const struct aip_llm_node *node = c->node;
        const aip_value *tools = NULL;
        int r = node->tools ? aip_tool_set_describe(node->tools, &tools, err) : 0;

        if (r < 0 || aip_value_size(tools) == 0)
                return r;
        c->tools = aip_value_ref(tools);
        c->call.tools = tools;
        c->call.tool_choice = node->tool_choice;
        c->call.tool_choice_name = node->tool_choice_name;
        return 0;
}

static void ask(struct aip_llm_node_call *c, const struct aip_agent_context *context)
{
        struct aip_llm_call *call = &c->call;

        call->op.done = answered;
        call->op.deadline_ms =
                aip_sooner(context->deadline_ms, aip_graph_task_deadline_ms(c->task));
        call->job_id = context->job_id;
        call->trace_id = context->trace_id;
        call->output_schema = c->node->output_schema;
        call->on_delta = context->progress ? answer_grows : NULL;
        c->llm.ops->complete(c->llm.self, call);
}

static void llm_start(void *user, aip_graph_task *task)
{
        const struct aip_agent_context *context = aip_graph_task_context(task);
        struct aip_llm_node_call *c = aip_graph_task_memory(task);
        aip_error *err = NULL;

        c->node = user;
        c->task = task;
        aip_buf_init(&c->system, AIP_RENDERED_MAX_BYTES);
        aip_buf_init(&c->user, AIP_RENDERED_MAX_BYTES);
        if (aip_node_look(c->node->document, task, &c->sight, &err) < 0 ||
            pick_config(c, context, &err) < 0 || aip_llm_node_tell(c, context, &err) < 0 ||
            offer_tools(c, &err) < 0)
                end_call(c, NULL, err);
        else
                ask(c, context);
}

static void llm_cancel(void *user, aip_graph_task *task)
{
        struct aip_llm_node_call *c = aip_graph_task_memory(task);

        (void)user;
        c->llm.ops->cancel(c->llm.self, &c->call);
}

/* ── the node's members ──────────────────────────────────────────────────────────────────────── */

void aip_llm_node_free(struct aip_llm_node *node)
{
        aip_value_unref(node->own_schema);
        aip_buf_deinit(&node->instructions);
        aip_free(node->targets);
        aip_expression_unref(node->system);
        aip_expression_unref(node->prompt);
        aip_json_schema_unref(node->schema);
        aip_graph_writes_free(node->writes);
        aip_tool_set_free(node->tools);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(struct aip_llm_node *, aip_llm_node_free);

static void free_user(void *user)
{
        aip_llm_node_free(user);
}

static int is_name(const aip_value *name)
{
        return aip_value_type(name) == AIP_VALUE_STRING || aip_value_as_bool(name, 0);
}

static int read_names(const struct aip_graph_node_spec *spec, const char *member,
                      const aip_value **ret_names, aip_error **err)
{
        const aip_value *names = aip_value_get_cstr(spec->fields, member);
        size_t n = aip_value_size(names);
        int is_good =
                !names || is_name(names) || (aip_value_type(names) == AIP_VALUE_LIST && n > 0);

        if (aip_value_type(names) == AIP_VALUE_LIST)
                for (size_t i = 0; is_good && i < n; i++)
                        is_good = is_name(aip_value_at(names, i));
        *ret_names = names;
        return is_good ? 0
                       : aip_graph_spec_error(spec, member, err,
                                              "must be a name, true for the job's own, or a list "
                                              "of these");
}

static int read_tool_choice(struct aip_llm_node *node, const struct aip_graph_node_spec *spec,
                            aip_error **err)
{
        struct aip_str choice = AIP_STR("auto");
        int r = aip_node_text(spec, "tool_choice", &choice, err);

        if (r < 0)
                return r;
        if (!node->tools && aip_value_get_cstr(spec->fields, "tool_choice"))
                return aip_graph_spec_error(spec, "tool_choice", err, "there are no \"tools\"");
        node->tool_choice = aip_str_eq(choice, AIP_STR("auto"))       ? AIP_LLM_TOOLS_AUTO
                            : aip_str_eq(choice, AIP_STR("none"))     ? AIP_LLM_TOOLS_NONE
                            : aip_str_eq(choice, AIP_STR("required")) ? AIP_LLM_TOOLS_REQUIRED
                                                                      : AIP_LLM_TOOLS_NAMED;
        if (node->tool_choice == AIP_LLM_TOOLS_NAMED)
                node->tool_choice_name = choice;
        return 0;
}

/* A channel that sums what the calls used, if the document has one. */
static uint32_t sum_channel(const aip_graph_document *document, const char *name)
{
        uint32_t channel = aip_graph_document_channel(document, aip_str_of(name));

        return channel != AIP_GRAPH_DOCUMENT_NO_CHANNEL &&
                               aip_graph_document_channel_kind(document, channel) == AIP_CHANNEL_ADD
                       ? channel
                       : AIP_GRAPH_DOCUMENT_NO_CHANNEL;
}

static int read_members(struct aip_llm_node *node, const struct aip_node_maker *maker,
                        const struct aip_graph_node_spec *spec, aip_error **err)
{
        static const char *const variables[] = {"answer", "value", "tool_calls", "finish_reason"};
        int r = read_names(spec, "config", &node->configs, err);

        if (r == 0)
                r = read_names(spec, "template", &node->templates, err);
        if (r == 0)
                r = aip_node_messages(spec, &node->messages, err);
        if (r == 0)
                r = aip_node_tools(maker, spec, "tools", NULL, &node->tools, err);
        if (r == 0)
                r = read_tool_choice(node, spec, err);
        if (r == 0)
                r = aip_graph_spec_expression(spec, "system", NULL, 0, &node->system, err);
        if (r == 0)
                r = aip_graph_spec_expression(spec, "prompt", NULL, 0, &node->prompt, err);
        if (r == 0)
                r = aip_node_schema(spec, "output_schema", &node->output_schema, &node->schema,
                                    err);
        if (r == 0)
                r = aip_graph_spec_writes(spec, "write", variables, AIP_ARRAY_SIZE(variables),
                                          &node->writes, err);
        return r;
}

int aip_llm_node_new(const struct aip_node_maker *maker, const struct aip_graph_node_spec *spec,
                     struct aip_llm_node **ret_node, aip_error **err)
{
        _cleanup_(aip_llm_node_free_p) struct aip_llm_node *node = aip_calloc(1, sizeof(*node));
        int r;

        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        node->name = spec->name.p;
        node->input_tokens = sum_channel(spec->document, "input_tokens");
        node->output_tokens = sum_channel(spec->document, "output_tokens");
        if ((r = read_members(node, maker, spec, err)) == 0)
                *ret_node = AIP_TAKE(node);
        return r;
}

void aip_llm_node_options(struct aip_llm_node *node, struct aip_node_options *options)
{
        options->start = llm_start;
        options->cancel = llm_cancel;
        options->task_bytes = sizeof(struct aip_llm_node_call);
        options->free_user = free_user;
        options->user = node;
}

static int llm_make(void *self, const struct aip_graph_node_spec *spec,
                    struct aip_node_options *options, aip_error **err)
{
        struct aip_llm_node *node = NULL;
        int r = aip_llm_node_new(self, spec, &node, err);

        if (r == 0 && !node->writes && node->messages == AIP_GRAPH_DOCUMENT_NO_CHANNEL)
                r = aip_graph_spec_error(spec, NULL, err,
                                         "nothing is done with the answer: give \"write\" or "
                                         "\"messages\"");
        if (r == 0)
                aip_llm_node_options(node, options);
        else if (node)
                aip_llm_node_free(node);
        return r;
}

static const char *const members[] = {"config", "template",    "messages",      "system", "prompt",
                                      "tools",  "tool_choice", "output_schema", "write",  NULL};

const struct aip_graph_node_type aip_llm_node = {"llm", llm_make, members};
