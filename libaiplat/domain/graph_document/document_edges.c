/*
 * The edges of a graph document: read and checked (document_impl.h). Called once a document, after its
 * nodes are known. Whether the graph makes sense as a whole is not asked here.
 *
 *     {"from": NAME, "to": NAMES}                                        fixed
 *     {"from": [NAME, …], "to": NAMES}                                   a join
 *     {"from": NAME, "when": [{"if": EXPR, "to": NAMES}, …], "else": NAMES}
 *     {"from": NAME, "send": {"items": EXPR, "to": NAME}, "else": NAMES}
 */
#include "graph_document/document_impl.h"
#include "macros.h"
#include "mem.h"

static const char *const edge_members[] = {"from", "to",          "when", "send",
                                           "else", "description", NULL};
static const char *const case_members[] = {"if", "to", "description", NULL};
static const char *const send_members[] = {"items", "to", NULL};

void aip_doc_edge_deinit(struct aip_doc_edge *edge)
{
        for (uint32_t i = 0; edge->cases && i < edge->n_cases; i++)
                aip_expression_unref(edge->cases[i].condition);
        aip_free(edge->cases);
        aip_free(edge->from);
        aip_free(edge->targets);
        aip_expression_unref(edge->items);
}

/* What is being read, and where. */
struct reader {
        const aip_graph_document *document;
        const struct aip_place *at; /* of the edge */
        const aip_value *value;
        struct aip_doc_edge *edge;
        uint32_t targets_capacity;
};

static int add_target(struct reader *r, const struct aip_place *at, const aip_value *value,
                      struct aip_doc_range *range, aip_error **err)
{
        struct aip_doc_edge *edge = r->edge;
        const char *name = NULL;
        int is_end = aip_str_eq(aip_value_as_string(value), AIP_STR(AIP_GRAPH_END));
        int code = is_end ? 0 : aip_doc_node_name(r->document, at, value, &name, err);
        if (code < 0)
                return code;
        if (edge->n_targets == AIP_GRAPH_DOCUMENT_MAX_TARGETS)
                return aip_place_fail(at, AIP_ELIMIT, err, "an edge may name at most %d targets",
                                      AIP_GRAPH_DOCUMENT_MAX_TARGETS);
        if (edge->n_targets == r->targets_capacity) {
                uint32_t more = r->targets_capacity ? r->targets_capacity * 2 : 4;
                void *block = aip_realloc_array(edge->targets, more, sizeof(*edge->targets));
                if (!block)
                        return aip_error_set_nomem(err);
                edge->targets = block;
                r->targets_capacity = more;
        }
        edge->targets[edge->n_targets++] = is_end ? AIP_GRAPH_END : name;
        range->n++;
        return 0;
}

/* A name or a list of names, in the member `key` of `object`, which must be there. */
static int read_targets(struct reader *r, const struct aip_place *at, const aip_value *object,
                        const char *key, struct aip_doc_range *ret_range, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(object, key);
        struct aip_place here = aip_place_member(at, key);
        size_t n = aip_value_size(value);
        int code = 0;
        *ret_range = (struct aip_doc_range){r->edge->n_targets, 0};
        if (!value)
                return aip_place_fail(&here, AIP_EINVAL, err,
                                      "is missing; it must be a node's name, or a list of them");
        if (aip_value_type(value) != AIP_VALUE_LIST)
                return add_target(r, &here, value, ret_range, err);
        if (n == 0)
                return aip_place_fail(&here, AIP_EINVAL, err, "must name a node or \"%s\"",
                                      AIP_GRAPH_END);
        for (size_t i = 0; code == 0 && i < n; i++) {
                struct aip_place element = aip_place_element(&here, i);
                code = add_target(r, &element, aip_value_at(value, i), ret_range, err);
        }
        return code;
}

/* "else" may be left out: then it ends there. */
static int read_else(struct reader *r, aip_error **err)
{
        struct aip_doc_range *range = &r->edge->otherwise;
        if (aip_value_get_cstr(r->value, "else"))
                return read_targets(r, r->at, r->value, "else", range, err);
        _cleanup_(aip_value_unref_p) aip_value *end = aip_value_string(AIP_STR(AIP_GRAPH_END));
        if (!end)
                return aip_error_set_nomem(err);
        *range = (struct aip_doc_range){r->edge->n_targets, 0};
        return add_target(r, r->at, end, range, err);
}

static int read_case(struct reader *r, const struct aip_place *at, const aip_value *value,
                     struct aip_doc_case *one, aip_error **err)
{
        struct aip_str description;
        int code = aip_place_type(at, value, AIP_VALUE_OBJECT, err);
        if (code == 0)
                code = aip_place_members(at, value, case_members, NULL, err);
        if (code == 0)
                code = aip_place_string(at, value, "description", &description, err);
        if (code == 0)
                code = aip_doc_expression(at, value, "if", NULL, 0, &one->condition, err);
        return code < 0 ? code : read_targets(r, at, value, "to", &one->to, err);
}

static int read_when(struct reader *r, const aip_value *cases, aip_error **err)
{
        struct aip_place here = aip_place_member(r->at, "when");
        size_t n = aip_value_size(cases);
        int code = aip_place_type(&here, cases, AIP_VALUE_LIST, err);
        if (code == 0 && n == 0)
                code = aip_place_fail(&here, AIP_EINVAL, err, "must have at least one condition");
        if (code < 0)
                return code;
        if (n > AIP_GRAPH_DOCUMENT_MAX_TARGETS)
                return aip_place_fail(&here, AIP_ELIMIT, err, "has more than %d conditions",
                                      AIP_GRAPH_DOCUMENT_MAX_TARGETS);
        r->edge->kind = AIP_DOC_EDGE_WHEN;
        r->edge->cases = aip_calloc(n, sizeof(*r->edge->cases));
        if (!r->edge->cases)
                return aip_error_set_nomem(err);
        r->edge->n_cases = (uint32_t)n;
        for (size_t i = 0; code == 0 && i < n; i++) {
                struct aip_place element = aip_place_element(&here, i);
                code = read_case(r, &element, aip_value_at(cases, i), &r->edge->cases[i], err);
        }
        return code < 0 ? code : read_else(r, err);
}

static int read_send(struct reader *r, const aip_value *value, aip_error **err)
{
        struct aip_place here = aip_place_member(r->at, "send");
        struct aip_place to = aip_place_member(&here, "to");
        const aip_value *target = aip_value_get_cstr(value, "to");
        struct aip_doc_range range = {0, 0};
        r->edge->kind = AIP_DOC_EDGE_SEND;
        int code = aip_place_type(&here, value, AIP_VALUE_OBJECT, err);
        if (code == 0)
                code = aip_place_members(&here, value, send_members, NULL, err);
        if (code == 0)
                code = aip_doc_expression(&here, value, "items", NULL, 0, &r->edge->items, err);
        if (code == 0)
                code = aip_place_type(&to, target, AIP_VALUE_STRING, err);
        if (code == 0 && aip_str_eq(aip_value_as_string(target), AIP_STR(AIP_GRAPH_END)))
                code = aip_place_fail(&to, AIP_EINVAL, err,
                                      "must be a node: nothing can be sent to %s", AIP_GRAPH_END);
        if (code == 0)
                code = add_target(r, &to, target, &range, err);
        return code < 0 ? code : read_else(r, err);
}

static int read_source(struct reader *r, const struct aip_place *at, const aip_value *value,
                       int is_join, aip_error **err)
{
        const char **slot = &r->edge->from[r->edge->n_from];
        int is_start = aip_str_eq(aip_value_as_string(value), AIP_STR(AIP_GRAPH_START));
        if (is_start && is_join)
                return aip_place_fail(at, AIP_EINVAL, err, "a join cannot begin at %s",
                                      AIP_GRAPH_START);
        int code = is_start ? 0 : aip_doc_node_name(r->document, at, value, slot, err);
        if (is_start)
                *slot = AIP_GRAPH_START;
        if (code == 0)
                r->edge->n_from++;
        return code;
}

static int read_from(struct reader *r, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(r->value, "from");
        struct aip_place here = aip_place_member(r->at, "from");
        int is_join = aip_value_type(value) == AIP_VALUE_LIST;
        size_t n = is_join ? aip_value_size(value) : 1;
        int code = 0;
        if (!value)
                return aip_place_fail(&here, AIP_EINVAL, err,
                                      "is missing; it must be a node's name, or a list of them");
        if (n == 0)
                return aip_place_fail(&here, AIP_EINVAL, err, "must name a node");
        if (n > AIP_GRAPH_DOCUMENT_MAX_TARGETS)
                return aip_place_fail(&here, AIP_ELIMIT, err, "names more than %d nodes",
                                      AIP_GRAPH_DOCUMENT_MAX_TARGETS);
        r->edge->from = aip_calloc(n, sizeof(*r->edge->from));
        if (!r->edge->from)
                return aip_error_set_nomem(err);
        if (!is_join)
                return read_source(r, &here, value, 0, err);
        r->edge->kind = AIP_DOC_EDGE_JOIN;
        for (size_t i = 0; code == 0 && i < n; i++) {
                struct aip_place element = aip_place_element(&here, i);
                code = read_source(r, &element, aip_value_at(value, i), 1, err);
        }
        return code;
}

/* Exactly one of "to", "when" and "send"; "else" goes with the latter two, a join with "to" alone. */
static int check_shape(const struct reader *r, aip_error **err)
{
        const aip_value *v = r->value;
        int has_when = aip_value_get_cstr(v, "when") != NULL;
        int has_send = aip_value_get_cstr(v, "send") != NULL;
        int has_to = aip_value_get_cstr(v, "to") != NULL;
        if (has_when + has_send + has_to != 1)
                return aip_place_fail(r->at, AIP_EINVAL, err,
                                      "must have exactly one of to, when and send");
        struct aip_place otherwise = aip_place_member(r->at, "else");
        if (has_to && aip_value_get_cstr(v, "else"))
                return aip_place_fail(&otherwise, AIP_EINVAL, err,
                                      "stands only beside when or send");
        struct aip_place from = aip_place_member(r->at, "from");
        if (!has_to && aip_value_type(aip_value_get_cstr(v, "from")) == AIP_VALUE_LIST)
                return aip_place_fail(&from, AIP_EINVAL, err,
                                      "must be one node's name beside when or send");
        return 0;
}

static int read_edge(struct reader *r, aip_error **err)
{
        struct aip_str description;
        int code = aip_place_type(r->at, r->value, AIP_VALUE_OBJECT, err);
        if (code == 0)
                code = aip_place_members(r->at, r->value, edge_members, NULL, err);
        if (code == 0)
                code = aip_place_string(r->at, r->value, "description", &description, err);
        if (code == 0)
                code = check_shape(r, err);
        if (code == 0)
                code = read_from(r, err);
        if (code < 0)
                return code;
        const aip_value *cases = aip_value_get_cstr(r->value, "when");
        const aip_value *sent = aip_value_get_cstr(r->value, "send");
        struct aip_doc_range range;
        if (cases)
                return read_when(r, cases, err);
        if (sent)
                return read_send(r, sent, err);
        return read_targets(r, r->at, r->value, "to", &range, err);
}

int aip_doc_read_edges(aip_graph_document *document, aip_error **err)
{
        const aip_value *edges = aip_value_get_cstr(document->value, "edges");
        struct aip_place here = aip_place_member(&aip_doc_root, "edges");
        size_t n = aip_value_size(edges);
        int code = aip_place_type(&here, edges, AIP_VALUE_LIST, err);
        if (code < 0)
                return code;
        if (n > AIP_GRAPH_DOCUMENT_MAX_EDGES)
                return aip_place_fail(&here, AIP_ELIMIT, err, "has %zu edges, more than %d", n,
                                      AIP_GRAPH_DOCUMENT_MAX_EDGES);
        document->edges = aip_calloc(n + 1, sizeof(*document->edges));
        if (!document->edges)
                return aip_error_set_nomem(err);
        document->n_edges = (uint32_t)n;
        for (size_t i = 0; code == 0 && i < n; i++) {
                struct aip_place at = aip_place_element(&here, i);
                struct reader r = {document, &at, aip_value_at(edges, i), &document->edges[i], 0};
                code = read_edge(&r, err);
        }
        return code;
}
