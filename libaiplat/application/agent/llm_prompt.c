/*
 * What a node of type "llm" tells the model: a system message, the conversation so far, the user's message.
 *
 *     template   renders the first and the last of them, around the prompt
 *     messages   a channel: the conversation
 *     system, prompt   expressions: the first and the last, in the place of what the template gives
 *
 * A node that says none of these is told the job's prompt through the job's template.
 */
#include "agent/llm_node.h"

static struct aip_str text_of(const aip_value *value)
{
        return value ? aip_value_as_string(value) : (struct aip_str){NULL, 0};
}

static const aip_prompt_template *named_template(const struct aip_agent_context *context,
                                                 const aip_value *name)
{
        return aip_value_type(name) == AIP_VALUE_BOOL
                       ? context->prompt_template
                       : aip_catalog_template(context->catalog, aip_value_as_string(name));
}

/* The first of the names that the catalog has. */
static const aip_prompt_template *find_template(const struct aip_agent_context *context,
                                                const aip_value *names)
{
        const aip_prompt_template *found = NULL;

        if (aip_value_type(names) != AIP_VALUE_LIST)
                return named_template(context, names);
        for (size_t i = 0; !found && i < aip_value_size(names); i++)
                found = named_template(context, aip_value_at(names, i));
        return found;
}

static int pick_template(const struct aip_llm_node *node, const struct aip_agent_context *context,
                         const aip_prompt_template **ret_template, aip_error **err)
{
        int is_bare =
                !node->system && !node->prompt && node->messages == AIP_GRAPH_DOCUMENT_NO_CHANNEL;

        *ret_template = node->templates ? find_template(context, node->templates)
                        : is_bare       ? context->prompt_template
                                        : NULL;
        if (*ret_template || !node->templates)
                return 0;
        return aip_node_fail_missing(err, "caller_template_not_found", "no template",
                                     node->templates);
}

/* What stands in the state for a node without "prompt". */
static struct aip_str own_prompt(const struct aip_llm_node_call *c)
{
        return text_of(aip_value_get_cstr(c->sight.state, "prompt"));
}

static int render(struct aip_llm_node_call *c, const struct aip_agent_context *context,
                  const aip_prompt_template *template, aip_error **err)
{
        struct aip_str prompt = c->node->prompt ? text_of(c->prompt_text) : own_prompt(c);

        return aip_prompt_template_render(template, prompt, context->variables, &c->system,
                                          &c->user, err);
}

static int fail_message(size_t nth, const char *what, aip_error **err)
{
        return aip_error_set(err, AIP_EINVAL, "message %zu of the conversation: %s", nth, what);
}

static int read_role(const aip_value *message, size_t nth, enum aip_llm_role *ret_role,
                     aip_error **err)
{
        static const struct {
                const char *name;
                enum aip_llm_role role;
        } roles[] = {{"system", AIP_LLM_SYSTEM},
                     {"developer", AIP_LLM_SYSTEM},
                     {"user", AIP_LLM_USER},
                     {"human", AIP_LLM_USER},
                     {"assistant", AIP_LLM_ASSISTANT},
                     {"ai", AIP_LLM_ASSISTANT},
                     {"tool", AIP_LLM_TOOL}};
        const aip_value *role = aip_value_get_cstr(message, "role");
        struct aip_str name =
                aip_value_as_string(role ? role : aip_value_get_cstr(message, "type"));

        for (size_t i = 0; i < AIP_ARRAY_SIZE(roles); i++) {
                if (!aip_str_eq(name, aip_str_of(roles[i].name)))
                        continue;
                *ret_role = roles[i].role;
                return 0;
        }
        return fail_message(nth, "role must be system, user, assistant or tool", err);
}

static int read_message(const aip_value *value, size_t nth, struct aip_llm_message *message,
                        aip_error **err)
{
        const aip_value *content = aip_value_get_cstr(value, "content");
        const aip_value *calls = aip_value_get_cstr(value, "tool_calls");
        int r;

        if (aip_value_type(value) == AIP_VALUE_STRING) {
                *message = (struct aip_llm_message){.role = AIP_LLM_USER,
                                                    .content = aip_value_as_string(value)};
                return 0;
        }
        *message = (struct aip_llm_message){.content = text_of(content)};
        if ((r = read_role(value, nth, &message->role, err)) < 0)
                return r;
        if (content && aip_value_type(content) != AIP_VALUE_STRING &&
            aip_value_type(content) != AIP_VALUE_NULL)
                return fail_message(nth, "content must be a string", err);
        if (aip_value_size(calls) > 0)
                message->tool_calls = calls;
        message->tool_call_id = text_of(aip_value_get_cstr(value, "tool_call_id"));
        message->tool_name = text_of(aip_value_get_cstr(value, "name"));
        message->is_error = aip_value_as_bool(aip_value_get_cstr(value, "is_error"), 0);
        if (message->role == AIP_LLM_TOOL && message->tool_call_id.n == 0)
                return fail_message(nth, "one of a tool needs a tool_call_id", err);
        return 0;
}

static const aip_value *conversation(const struct aip_llm_node_call *c)
{
        return c->node->messages == AIP_GRAPH_DOCUMENT_NO_CHANNEL
                       ? NULL
                       : aip_graph_task_get_at(c->task, c->node->messages);
}

static void add(struct aip_llm_node_call *c, enum aip_llm_role role, struct aip_str content)
{
        c->messages[c->call.n_messages++] =
                (struct aip_llm_message){.role = role, .content = content};
}

static int list_messages(struct aip_llm_node_call *c, struct aip_str system, struct aip_str user,
                         aip_error **err)
{
        const aip_value *before = conversation(c);
        size_t n = aip_value_size(before);
        int r = 0;

        if (!(c->messages = aip_calloc(n + 2, sizeof(c->messages[0]))))
                return aip_error_set_nomem(err);
        if (system.n > 0)
                add(c, AIP_LLM_SYSTEM, system);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = read_message(aip_value_at(before, i), i, &c->messages[c->call.n_messages++],
                                 err);
        if (r < 0)
                return r;
        if (user.n > 0)
                add(c, AIP_LLM_USER, user);
        c->call.messages = c->messages;
        if (c->call.n_messages > (size_t)(system.n > 0))
                return 0;
        return aip_error_set(err, AIP_EINVAL,
                             "there is nothing to ask the model: no prompt, and no messages");
}

/* The user's message: with a conversation, only a node that says "prompt" adds one. */
static struct aip_str user_message(const struct aip_llm_node_call *c,
                                   const aip_prompt_template *template)
{
        const struct aip_llm_node *node = c->node;

        if (node->prompt)
                return !c->prompt_text ? (struct aip_str){NULL, 0}
                       : template      ? aip_buf_str(&c->user)
                                       : text_of(c->prompt_text);
        if (node->messages != AIP_GRAPH_DOCUMENT_NO_CHANNEL)
                return (struct aip_str){NULL, 0};
        return template ? aip_buf_str(&c->user) : own_prompt(c);
}

static struct aip_str system_message(const struct aip_llm_node_call *c)
{
        return c->system_text ? text_of(c->system_text) : aip_buf_str(&c->system);
}

/* What a router asks stands behind what the system message says otherwise. */
static int instruct(struct aip_llm_node_call *c, aip_error **err)
{
        struct aip_str said = system_message(c);
        struct aip_buf both = AIP_BUF_INIT(AIP_RENDERED_MAX_BYTES);

        if (c->node->instructions.n == 0)
                return 0;
        if (aip_buf_append(&both, said) < 0 ||
            aip_buf_append_cstr(&both, said.n > 0 ? "\n\n" : "") < 0 ||
            aip_buf_append(&both, aip_buf_str(&c->node->instructions)) < 0) {
                aip_buf_deinit(&both);
                return aip_error_set_nomem(err);
        }
        aip_value_unref(AIP_TAKE(c->system_text));
        aip_buf_deinit(&c->system);
        c->system = both;
        return 0;
}

int aip_llm_node_tell(struct aip_llm_node_call *c, const struct aip_agent_context *context,
                      aip_error **err)
{
        const struct aip_llm_node *node = c->node;
        const aip_prompt_template *template = NULL;
        int r = pick_template(node, context, &template, err);

        if (r == 0)
                r = aip_node_eval_text(node->system, &c->sight, &c->system_text, err);
        if (r == 0)
                r = aip_node_eval_text(node->prompt, &c->sight, &c->prompt_text, err);
        if (r == 0 && template)
                r = render(c, context, template, err);
        if (r < 0 || (r = instruct(c, err)) < 0)
                return r;
        return list_messages(c, system_message(c), user_message(c, template), err);
}
