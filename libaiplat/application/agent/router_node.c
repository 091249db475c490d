/*
 * "router": asks a model where to go. {"choices": {NODE: "when to go there", …}, "config": NAMES, "template":
 * NAMES, "messages": CHANNEL, "system": EXPRESSION, "prompt": EXPRESSION}. The model must name one of the
 * choices; nothing is written. Where conditions decide, edges with "when" do it without a node.
 */
#include "agent/llm_node.h"

#define ASK            "Choose the one of these that fits what the user says best, and answer with its name:\n"
#define TEXT_MAX_BYTES 65536

static int fail(const struct aip_graph_node_spec *spec, aip_error **err)
{
        return aip_graph_spec_error(spec, "choices", err,
                                    "must be an object: nodes to go to, and when to go there, as "
                                    "strings");
}

/* {"choice": one of the names} */
static int make_schema(struct aip_llm_node *node, const aip_value *names, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *schema = NULL, *choice = NULL;
        static const char text[] = "{\"type\": \"object\", \"properties\": {\"choice\": {}}, "
                                   "\"required\": [\"choice\"], \"additionalProperties\": false}";
        _cleanup_(aip_value_unref_p) aip_value *properties = aip_value_object();
        int r = aip_value_parse(aip_str_of(text), &schema, err);

        if (r < 0)
                return r;
        choice = aip_value_object();
        if (!choice || !properties ||
            aip_value_object_set_cstr(&choice, "type", aip_value_string(AIP_STR("string"))) < 0 ||
            aip_value_object_set_cstr(&choice, "enum", aip_value_ref(names)) < 0 ||
            aip_value_object_set_cstr(&properties, "choice", AIP_TAKE(choice)) < 0 ||
            aip_value_object_set_cstr(&schema, "properties", AIP_TAKE(properties)) < 0)
                return aip_error_set_nomem(err);
        if ((r = aip_json_schema_new("choices", schema, &node->schema, err)) < 0)
                return r;
        node->output_schema = node->own_schema = AIP_TAKE(schema);
        return 0;
}

static int read_choice(struct aip_llm_node *node, struct aip_str name, const aip_value *when,
                       aip_value **names)
{
        if (aip_value_list_append(names, aip_value_string(name)) < 0)
                return AIP_ENOMEM;
        node->targets[node->n_targets++] = name.p; /* the document's */
        return aip_buf_printf(&node->instructions, "- %.*s: %.*s\n", AIP_STR_ARG(name),
                              AIP_STR_ARG(aip_value_as_string(when)));
}

static int read_choices(struct aip_llm_node *node, const struct aip_graph_node_spec *spec,
                        aip_error **err)
{
        const aip_value *choices = aip_value_get_cstr(spec->fields, "choices");
        _cleanup_(aip_value_unref_p) aip_value *names = aip_value_list();
        size_t n = aip_value_size(choices);
        int r = 0;

        if (aip_value_type(choices) != AIP_VALUE_OBJECT || n == 0)
                return fail(spec, err);
        aip_buf_init(&node->instructions, TEXT_MAX_BYTES);
        node->targets = aip_calloc(n, sizeof(node->targets[0]));
        if (!names || !node->targets || aip_buf_append_cstr(&node->instructions, ASK) < 0)
                return aip_error_set_nomem(err);
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_str name;
                const aip_value *when = aip_value_member(choices, i, &name);
                if (aip_value_type(when) != AIP_VALUE_STRING)
                        return fail(spec, err);
                r = read_choice(node, name, when, &names);
        }
        if (r == AIP_ELIMIT)
                return aip_graph_spec_error(spec, "choices", err, "are more than %d bytes of text",
                                            TEXT_MAX_BYTES);
        return r < 0 ? aip_error_set_nomem(err) : make_schema(node, names, err);
}

static int router_make(void *self, const struct aip_graph_node_spec *spec,
                       struct aip_node_options *options, aip_error **err)
{
        struct aip_llm_node *node = NULL;
        int r = aip_llm_node_new(self, spec, &node, err);

        if (r < 0)
                return r;
        if ((r = read_choices(node, spec, err)) < 0) {
                aip_llm_node_free(node);
                return r;
        }
        aip_llm_node_options(node, options);
        options->targets = node->targets;
        options->n_targets = node->n_targets;
        return 0;
}

static const char *const members[] = {"choices", "config", "template", "messages",
                                      "system",  "prompt", NULL};

const struct aip_graph_node_type aip_router_node = {"router", router_make, members};
