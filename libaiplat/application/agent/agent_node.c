/* What node types share; see agent_node.h. */
#include "agent/agent_node.h"

int aip_node_look(const aip_graph_document *document, aip_graph_task *task,
                  struct aip_node_sight *ret_sight, aip_error **err)
{
        ret_sight->item = aip_graph_task_input(task);
        return aip_graph_document_task_state(document, task, &ret_sight->state, err);
}

void aip_node_sight_deinit(struct aip_node_sight *sight)
{
        aip_value_unref(AIP_TAKE(sight->state));
}

int aip_node_text(const struct aip_graph_node_spec *spec, const char *member,
                  struct aip_str *ret_text, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(spec->fields, member);

        if (!value)
                return 0;
        if (aip_value_type(value) != AIP_VALUE_STRING)
                return aip_graph_spec_error(spec, member, err, "must be a string, not of type %s",
                                            aip_value_type_name(aip_value_type(value)));
        *ret_text = aip_value_as_string(value);
        return 0;
}

int aip_node_eval_text(const aip_expression *expression, const struct aip_node_sight *sight,
                       aip_value **ret_text, aip_error **err)
{
        const aip_value *variables[] = {sight->item};
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        _cleanup_(aip_buf_deinit) struct aip_buf json = AIP_BUF_INIT(AIP_RENDERED_MAX_BYTES);
        int r;

        if (!expression)
                return 0;
        r = aip_expression_eval(expression, sight->state, variables, &value, err);
        if (r == 0 && aip_value_type(value) == AIP_VALUE_NULL)
                return 0;
        if (r == 0 && aip_value_type(value) != AIP_VALUE_STRING) {
                if ((r = aip_value_print(value, &json, err)) < 0)
                        return r;
                aip_value_unref(AIP_TAKE(value));
                if (!(value = aip_value_string(aip_buf_str(&json))))
                        return aip_error_set_nomem(err);
        }
        if (r == 0)
                *ret_text = AIP_TAKE(value);
        return r;
}

int aip_node_fail_missing(aip_error **err, const char *kind, const char *what,
                          const aip_value *names)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(1000);

        (void)aip_value_print(names, &text, NULL);
        aip_error_set(err, AIP_ENOTFOUND, "%s %s", what, text.n ? text.p : "of many names");
        if (err)
                aip_error_set_kind(*err, kind);
        return AIP_ENOTFOUND;
}

int aip_node_tools(const struct aip_node_maker *maker, const struct aip_graph_node_spec *spec,
                   const char *member, const aip_value *fallback, aip_tool_set **ret_set,
                   aip_error **err)
{
        const aip_value *names = aip_value_get_cstr(spec->fields, member);
        int is_good = !names || aip_value_type(names) == AIP_VALUE_LIST;

        for (size_t i = 0; is_good && i < aip_value_size(names); i++)
                is_good = aip_value_type(aip_value_at(names, i)) == AIP_VALUE_STRING;
        if (!is_good)
                return aip_graph_spec_error(spec, member, err, "must be a list of tools' names");
        names = names ? names : fallback;
        return names ? aip_tool_set_new(maker->tools, names,
                                        aip_graph_document_tools(spec->document), ret_set, err)
                     : 0;
}

int aip_node_schema(const struct aip_graph_node_spec *spec, const char *member,
                    const aip_value **ret_value, aip_json_schema **ret_schema, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(spec->fields, member);
        aip_error *cause = NULL;
        int r = value ? aip_json_schema_new("", value, ret_schema, &cause) : 0;

        if (r < 0) {
                r = aip_graph_spec_error(spec, member, err, "%s", aip_error_message(cause));
                aip_error_free(cause);
        } else if (value) {
                *ret_value = value;
        }
        return r;
}

int aip_node_messages(const struct aip_graph_node_spec *spec, uint32_t *ret_channel,
                      aip_error **err)
{
        struct aip_str name = {NULL, 0};
        enum aip_channel_kind kind;
        int r = aip_node_text(spec, "messages", &name, err);

        *ret_channel = AIP_GRAPH_DOCUMENT_NO_CHANNEL;
        if (r < 0 || !name.p)
                return r;
        *ret_channel = aip_graph_document_channel(spec->document, name);
        if (*ret_channel == AIP_GRAPH_DOCUMENT_NO_CHANNEL)
                return aip_graph_spec_error(spec, "messages", err, "there is no channel \"%.*s\"",
                                            AIP_STR_ARG(name));
        kind = aip_graph_document_channel_kind(spec->document, *ret_channel);
        if (kind == AIP_CHANNEL_MESSAGES || kind == AIP_CHANNEL_APPEND)
                return 0;
        return aip_graph_spec_error(spec, "messages", err,
                                    "the channel must be of type messages or append");
}
