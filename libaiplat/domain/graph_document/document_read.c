/*
 * Reading a graph document: its channels, nodes and the members that stand beside them (document_impl.h).
 * Called once a document, by aip_graph_document_new(). Every refusal points to what is wrong. What only a
 * node's type knows is left to it.
 */
#include "graph/channels.h"
#include "graph_document/document_impl.h"
#include "macros.h"
#include "mem.h"

static const char *const document_members[] = {
        "$schema",    "description",      "state",           "nodes",
        "edges",      "result",           "tools",           "input_schema",
        "step_limit", "interrupt_before", "interrupt_after", NULL};

static const char *const channel_members[] = {"type", "initial", "description", NULL};

const char *const aip_doc_node_members[] = {"type",       "description",     "retry",
                                            "timeout_ms", "idle_timeout_ms", "defer",
                                            "on_error",   "cache",           NULL};

static const char *const retry_members[] = {"max_attempts", "initial_ms", "max_ms", "factor", NULL};

int aip_doc_expression(const struct aip_place *at, const aip_value *object, const char *key,
                       const char *const *variables, size_t n_variables,
                       aip_expression **ret_expression, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(object, key);
        struct aip_place here = aip_place_member(at, key);
        aip_error *cause = NULL;
        int r = aip_place_type(&here, value, AIP_VALUE_STRING, err);
        if (r < 0)
                return r;
        r = aip_expression_parse(aip_value_as_string(value), variables, n_variables, ret_expression,
                                 &cause);
        return r < 0 ? aip_place_wrap(&here, cause, err) : 0;
}

int aip_doc_node_name(const aip_graph_document *document, const struct aip_place *at,
                      const aip_value *value, const char **ret_name, aip_error **err)
{
        int r = aip_place_type(at, value, AIP_VALUE_STRING, err);
        struct aip_str name = aip_value_as_string(value);
        if (r < 0)
                return r;
        if (!aip_value_get(aip_value_get_cstr(document->value, "nodes"), name))
                return aip_place_fail(at, AIP_EINVAL, err, "there is no node \"%.*s\"",
                                      AIP_STR_ARG(name));
        *ret_name = name.p;
        return 0;
}

/* Channels. */

struct kind_name {
        const char *name;
        enum aip_channel_kind kind;
};

static const struct kind_name kinds[] = {
        {"last_value", AIP_CHANNEL_LAST_VALUE},
        {"append", AIP_CHANNEL_APPEND},
        {"add", AIP_CHANNEL_ADD},
        {"min", AIP_CHANNEL_MIN},
        {"max", AIP_CHANNEL_MAX},
        {"merge", AIP_CHANNEL_MERGE},
        {"topic", AIP_CHANNEL_TOPIC},
        {"ephemeral", AIP_CHANNEL_EPHEMERAL},
        {"untracked", AIP_CHANNEL_UNTRACKED},
        {"messages", AIP_CHANNEL_MESSAGES},
};

static int find_kind(const struct aip_place *at, struct aip_str name, enum aip_channel_kind *ret,
                     aip_error **err)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(kinds); i++) {
                if (aip_str_eq(aip_str_of(kinds[i].name), name)) {
                        *ret = kinds[i].kind;
                        return 0;
                }
        }
        return aip_place_fail(at, AIP_EINVAL, err,
                              "must be one of last_value, append, add, min, max, merge, topic, "
                              "ephemeral, untracked and messages");
}

/* That the initial value fits its kind is asked by the channel itself. */
static int check_initial(const struct aip_place *at, const struct aip_doc_channel *channel,
                         aip_error **err)
{
        struct aip_place here = aip_place_member(at, "initial");
        const char *wanted =
                channel->initial ? aip_channel_wants(channel->kind, channel->initial) : NULL;
        if (!wanted)
                return 0;
        return aip_place_fail(&here, AIP_EINVAL, err, "must be %s, not %s", wanted,
                              aip_place_a(aip_value_type(channel->initial)));
}

static int check_name(const struct aip_place *at, struct aip_str name, aip_error **err)
{
        const char *wrong = aip_graph_name_problem(name);
        return wrong ? aip_place_fail(at, AIP_EINVAL, err, "the name %s", wrong) : 0;
}

static int read_channel(const struct aip_place *at, const aip_value *value,
                        struct aip_doc_channel *channel, aip_error **err)
{
        struct aip_str type = AIP_STR("last_value"), description;
        struct aip_place type_at = aip_place_member(at, "type");
        int r = check_name(at, at->key, err);
        channel->name = at->key;
        if (r == 0)
                r = aip_place_type(at, value, AIP_VALUE_OBJECT, err);
        if (r == 0)
                r = aip_place_members(at, value, channel_members, NULL, err);
        if (r == 0)
                r = aip_place_string(at, value, "description", &description, err);
        if (r == 0)
                r = aip_place_string(at, value, "type", &type, err);
        if (r == 0)
                r = find_kind(&type_at, type, &channel->kind, err);
        channel->initial = aip_value_get_cstr(value, "initial");
        return r < 0 ? r : check_initial(at, channel, err);
}

static int check_count(const struct aip_place *at, size_t n, size_t max, const char *what,
                       aip_error **err)
{
        if (n <= max)
                return 0;
        return aip_place_fail(at, AIP_ELIMIT, err, "has %zu %s, more than %zu", n, what, max);
}

static int read_channels(aip_graph_document *d, aip_error **err)
{
        const aip_value *state = aip_value_get_cstr(d->value, "state");
        struct aip_place here = aip_place_member(&aip_doc_root, "state");
        size_t n = aip_value_size(state);
        int r = state ? aip_place_type(&here, state, AIP_VALUE_OBJECT, err) : 0;
        if (r == 0)
                r = check_count(&here, n, AIP_GRAPH_DOCUMENT_MAX_CHANNELS, "channels", err);
        if (r < 0)
                return r;
        d->channels = aip_calloc(n + 1, sizeof(*d->channels));
        if (!d->channels)
                return aip_error_set_nomem(err);
        d->n_channels = (uint32_t)n;
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_place at = {&here, {NULL, 0}, 0};
                const aip_value *value = aip_value_member(state, i, &at.key);
                r = read_channel(&at, value, &d->channels[i], err);
        }
        return r;
}

/* Nodes. */

static int read_factor(const struct aip_place *at, const aip_value *retry, double *ret_factor,
                       aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(retry, "factor");
        struct aip_place here = aip_place_member(at, "factor");
        double factor = aip_value_as_double(value, 0);
        if (!value)
                return 0;
        *ret_factor = factor;
        if (factor >= 1 && factor <= 100)
                return 0;
        return aip_place_fail(&here, AIP_EINVAL, err, "must be a number from 1 to 100");
}

static int read_u32(const struct aip_place *at, const aip_value *object, const char *key,
                    int64_t max, uint32_t *ret, aip_error **err)
{
        int64_t i = *ret;
        int r = aip_place_int(at, object, key, 1, max, &i, err);
        *ret = (uint32_t)i;
        return r;
}

#define DAY_MS      86400000
#define CACHE_MAX_S 31536000 /* a year */

static int read_retry(const struct aip_place *at, const aip_value *fields,
                      struct aip_node_retry *retry, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(fields, "retry");
        struct aip_place here = aip_place_member(at, "retry");
        int r = value ? aip_place_type(&here, value, AIP_VALUE_OBJECT, err) : 0;
        if (r == 0)
                r = aip_place_members(&here, value, retry_members, NULL, err);
        if (r == 0)
                r = read_u32(&here, value, "max_attempts", 100, &retry->max_attempts, err);
        if (r == 0)
                r = read_u32(&here, value, "initial_ms", DAY_MS, &retry->initial_ms, err);
        if (r == 0)
                r = read_u32(&here, value, "max_ms", DAY_MS, &retry->max_ms, err);
        return r < 0 ? r : read_factor(&here, value, &retry->factor, err);
}

static const char *const on_error_members[] = {"to", "write", NULL};

/* A node's name, or {"to": NAME, "write": {CHANNEL: EXPR}}, whose expressions the compiler reads. */
static int read_on_error(const aip_graph_document *d, const struct aip_place *at,
                         struct aip_doc_node *node, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(node->fields, "on_error"), *to = value;
        struct aip_place here = aip_place_member(at, "on_error");
        struct aip_place to_at = aip_place_member(&here, "to");
        int is_object = aip_value_type(value) == AIP_VALUE_OBJECT;
        int r = is_object ? aip_place_members(&here, value, on_error_members, NULL, err) : 0;
        if (r < 0 || !value)
                return r;
        if (is_object)
                to = aip_value_get_cstr(value, "to");
        if (aip_str_eq(aip_value_as_string(to), AIP_STR(AIP_GRAPH_END))) {
                node->on_error = AIP_GRAPH_END;
                return 0;
        }
        return aip_doc_node_name(d, is_object ? &to_at : &here, to, &node->on_error, err);
}

static const char *const cache_members[] = {"key", "ttl_s", NULL};

static int read_cache(const struct aip_place *at, struct aip_doc_node *node, aip_error **err)
{
        static const char *const variables[] = {"item"};
        const aip_value *value = aip_value_get_cstr(node->fields, "cache");
        struct aip_place here = aip_place_member(at, "cache");
        uint32_t ttl_s = 0;
        int r = value ? aip_place_type(&here, value, AIP_VALUE_OBJECT, err) : 0;
        if (r < 0 || !value)
                return r;
        r = aip_place_members(&here, value, cache_members, NULL, err);
        if (r == 0)
                r = read_u32(&here, value, "ttl_s", CACHE_MAX_S, &ttl_s, err);
        if (r == 0 && ttl_s == 0)
                r = aip_place_fail(&here, AIP_EINVAL, err,
                                   "needs ttl_s, the seconds to keep it for");
        if (r == 0 && aip_value_get_cstr(value, "key"))
                r = aip_doc_expression(&here, value, "key", variables, 1, &node->cache_key, err);
        node->cache_ttl_s = (int32_t)ttl_s;
        return r;
}

static int read_common(const aip_graph_document *d, const struct aip_place *at,
                       struct aip_doc_node *node, aip_error **err)
{
        const aip_value *fields = node->fields;
        struct aip_str description;
        int r = aip_place_string(at, fields, "description", &description, err);
        if (r == 0)
                r = read_retry(at, fields, &node->retry, err);
        if (r == 0)
                r = read_u32(at, fields, "timeout_ms", DAY_MS, &node->timeout_ms, err);
        if (r == 0)
                r = read_u32(at, fields, "idle_timeout_ms", DAY_MS, &node->idle_timeout_ms, err);
        if (r == 0)
                r = aip_place_bool(at, fields, "defer", &node->is_deferred, err);
        if (r == 0)
                r = read_cache(at, node, err);
        return r < 0 ? r : read_on_error(d, at, node, err);
}

static int read_node(const aip_graph_document *d, const struct aip_place *at,
                     const aip_value *fields, struct aip_doc_node *node, aip_error **err)
{
        struct aip_place type_at = aip_place_member(at, "type");
        int r = check_name(at, at->key, err);
        node->name = at->key;
        node->fields = fields;
        if (r == 0)
                r = aip_place_type(at, fields, AIP_VALUE_OBJECT, err);
        if (r == 0)
                r = aip_place_type(&type_at, aip_value_get_cstr(fields, "type"), AIP_VALUE_STRING,
                                   err);
        node->type = aip_value_as_string(aip_value_get_cstr(fields, "type"));
        return r < 0 ? r : read_common(d, at, node, err);
}

static int read_nodes(aip_graph_document *d, aip_error **err)
{
        const aip_value *nodes = aip_value_get_cstr(d->value, "nodes");
        struct aip_place here = aip_place_member(&aip_doc_root, "nodes");
        size_t n = aip_value_size(nodes);
        int r = aip_place_type(&here, nodes, AIP_VALUE_OBJECT, err);
        if (r == 0 && n == 0)
                r = aip_place_fail(&here, AIP_EINVAL, err, "must have at least one node");
        if (r == 0)
                r = check_count(&here, n, AIP_GRAPH_DOCUMENT_MAX_NODES, "nodes", err);
        if (r < 0)
                return r;
        d->nodes = aip_calloc(n, sizeof(*d->nodes));
        if (!d->nodes)
                return aip_error_set_nomem(err);
        d->n_nodes = (uint32_t)n;
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_place at = {&here, {NULL, 0}, 0};
                const aip_value *fields = aip_value_member(nodes, i, &at.key);
                r = read_node(d, &at, fields, &d->nodes[i], err);
        }
        return r;
}

/* The rest. */

static int read_all_names(const aip_graph_document *d, struct aip_doc_names *names, aip_error **err)
{
        names->names = aip_calloc(d->n_nodes, sizeof(*names->names));
        if (!names->names)
                return aip_error_set_nomem(err);
        for (uint32_t i = 0; i < d->n_nodes; i++)
                names->names[i] = d->nodes[i].name.p;
        names->n = d->n_nodes;
        return 0;
}

static int read_interrupts(const aip_graph_document *d, const char *key,
                           struct aip_doc_names *names, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(d->value, key);
        struct aip_place here = aip_place_member(&aip_doc_root, key);
        size_t n = aip_value_size(value);
        if (!value)
                return 0;
        if (aip_str_eq(aip_value_as_string(value), AIP_STR("*")))
                return read_all_names(d, names, err);
        if (aip_value_type(value) != AIP_VALUE_LIST)
                return aip_place_fail(&here, AIP_EINVAL, err,
                                      "must be \"*\" or a list of nodes' names");
        int r = check_count(&here, n, AIP_GRAPH_DOCUMENT_MAX_NODES, "names", err);
        if (r < 0)
                return r;
        names->names = aip_calloc(n + 1, sizeof(*names->names));
        if (!names->names)
                return aip_error_set_nomem(err);
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_place at = aip_place_element(&here, i);
                r = aip_doc_node_name(d, &at, aip_value_at(value, i), &names->names[i], err);
        }
        names->n = n;
        return r;
}

static int check_tools(const aip_value *tools, aip_error **err)
{
        struct aip_place here = aip_place_member(&aip_doc_root, "tools");
        size_t n = aip_value_size(tools);
        int r = tools ? aip_place_type(&here, tools, AIP_VALUE_OBJECT, err) : 0;
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_place at = {&here, {NULL, 0}, 0};
                const aip_value *tool = aip_value_member(tools, i, &at.key);
                struct aip_str description;
                r = aip_place_type(&at, tool, AIP_VALUE_OBJECT, err);
                if (r == 0)
                        r = aip_place_string(&at, tool, "description", &description, err);
        }
        return r;
}

static int read_input_schema(aip_graph_document *d, aip_error **err)
{
        const aip_value *schema = aip_value_get_cstr(d->value, "input_schema");
        struct aip_place here = aip_place_member(&aip_doc_root, "input_schema");
        return schema ? aip_schema_new_at(&here, schema, &d->input_schema, err) : 0;
}

static int read_others(aip_graph_document *d, aip_error **err)
{
        struct aip_str text;
        int64_t step_limit = 0;
        int r = aip_place_string(&aip_doc_root, d->value, "$schema", &text, err);
        if (r == 0)
                r = aip_place_string(&aip_doc_root, d->value, "description", &text, err);
        if (r == 0)
                r = aip_place_int(&aip_doc_root, d->value, "step_limit", 1,
                                  AIP_GRAPH_DOCUMENT_MAX_STEPS, &step_limit, err);
        d->step_limit = (int32_t)step_limit;
        if (r == 0)
                r = read_interrupts(d, "interrupt_before", &d->interrupt_before, err);
        if (r == 0)
                r = read_interrupts(d, "interrupt_after", &d->interrupt_after, err);
        if (r == 0)
                r = check_tools(aip_value_get_cstr(d->value, "tools"), err);
        if (r == 0)
                r = read_input_schema(d, err);
        if (r == 0 && aip_value_get_cstr(d->value, "result"))
                r = aip_doc_expression(&aip_doc_root, d->value, "result", NULL, 0, &d->result, err);
        return r;
}

int aip_doc_read(aip_graph_document *d, aip_error **err)
{
        int r = aip_place_type(&aip_doc_root, d->value, AIP_VALUE_OBJECT, err);
        if (r == 0)
                r = aip_place_members(&aip_doc_root, d->value, document_members, NULL, err);
        if (r == 0)
                r = read_channels(d, err);
        if (r == 0)
                r = read_nodes(d, err);
        if (r == 0)
                r = aip_doc_read_edges(d, err);
        return r < 0 ? r : read_others(d, err);
}
