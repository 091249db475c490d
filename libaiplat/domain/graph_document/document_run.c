/*
 * What runs of a document's graph ask of it: what to feed, what its routers see and decide, what the
 * result is. Called on the loop that runs the graph, by several at once: the document is only read.
 */
#include "graph_document/document_impl.h"
#include "macros.h"
#include "mem.h"
#include "text/text.h"

int aip_doc_state(const aip_graph_document *document,
                  const aip_value *(*get)(void *from, uint32_t channel), void *from,
                  aip_value **ret_state, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *state = aip_value_object();
        int r = state ? 0 : AIP_ENOMEM;
        for (uint32_t i = 0; r == 0 && i < document->n_channels; i++) {
                const aip_value *value = get(from, i);
                if (value)
                        r = aip_value_object_set(&state, document->channels[i].name,
                                                 aip_value_ref(value));
        }
        if (r < 0)
                return aip_error_set_nomem(err);
        *ret_state = AIP_TAKE(state);
        return 0;
}

static const aip_value *get_of_task(void *task, uint32_t channel)
{
        return aip_graph_task_get_at(task, channel);
}

int aip_graph_document_task_state(const aip_graph_document *document, aip_graph_task *task,
                                  aip_value **ret_state, aip_error **err)
{
        return aip_doc_state(document, get_of_task, task, ret_state, err);
}

/* Routers. */

struct router {
        aip_graph_document *document; /* a reference */
        const struct aip_doc_edge *edge;
};

static void router_free(void *user)
{
        struct router *router = user;
        aip_graph_document_unref(router->document);
        aip_free(router);
}

static const aip_value *get_of_route(void *route, uint32_t channel)
{
        return aip_graph_route_get_at(route, channel);
}

static void go(aip_graph_route *route, struct aip_doc_range to)
{
        for (uint32_t i = 0; i < to.n; i++)
                aip_graph_route_to_nth(route, to.first + i);
}

/* The place of an edge of the document, and of a member within it. */
struct edge_place {
        struct aip_place edges, edge;
};

static struct edge_place *place_edge(const struct router *router, struct edge_place *place)
{
        place->edges = aip_place_member(&aip_doc_root, "edges");
        place->edge =
                aip_place_element(&place->edges, (size_t)(router->edge - router->document->edges));
        return place;
}

static int fail_case(const struct router *router, uint32_t nth, aip_error *cause, aip_error **err)
{
        struct edge_place place;
        struct aip_place when = aip_place_member(&place_edge(router, &place)->edge, "when");
        struct aip_place element = aip_place_element(&when, nth);
        struct aip_place condition = aip_place_member(&element, "if");
        return aip_place_wrap(&condition, cause, err);
}

static int decide(const struct router *router, aip_graph_route *route, const aip_value *state,
                  aip_error **err)
{
        const struct aip_doc_edge *edge = router->edge;
        for (uint32_t i = 0; i < edge->n_cases; i++) {
                aip_error *cause = NULL;
                int r = aip_expression_test(edge->cases[i].condition, state, NULL, &cause);
                if (r < 0)
                        return fail_case(router, i, cause, err);
                if (r > 0) {
                        go(route, edge->cases[i].to);
                        return 0;
                }
        }
        go(route, edge->otherwise);
        return 0;
}

static int fail_items(const struct router *router, const aip_value *items, aip_error *cause,
                      aip_error **err)
{
        struct edge_place place;
        struct aip_place send = aip_place_member(&place_edge(router, &place)->edge, "send");
        struct aip_place here = aip_place_member(&send, "items");
        if (cause)
                return aip_place_wrap(&here, cause, err);
        int r = aip_place_fail(&here, AIP_EINVAL, err, "must give a list, not %s",
                               aip_place_a(aip_value_type(items)));
        if (err)
                aip_error_set_kind(*err, AIP_GRAPH_INVALID_ROUTE);
        return r;
}

static int send(const struct router *router, aip_graph_route *route, const aip_value *state,
                aip_error **err)
{
        const struct aip_doc_edge *edge = router->edge;
        _cleanup_(aip_value_unref_p) aip_value *items = NULL;
        aip_error *cause = NULL;
        if (aip_expression_eval(edge->items, state, NULL, &items, &cause) < 0)
                return fail_items(router, NULL, cause, err);
        if (aip_value_type(items) != AIP_VALUE_LIST)
                return fail_items(router, items, NULL, err);
        size_t n = aip_value_size(items);
        for (size_t i = 0; i < n; i++)
                aip_graph_route_send(route, edge->targets[0],
                                     aip_value_ref(aip_value_at(items, i)));
        if (n == 0)
                go(route, edge->otherwise);
        return 0;
}

static int route_edge(void *user, aip_graph_route *route, aip_error **err)
{
        const struct router *router = user;
        _cleanup_(aip_value_unref_p) aip_value *state = NULL;
        int r = aip_doc_state(router->document, get_of_route, route, &state, err);
        if (r < 0)
                return r;
        return router->edge->kind == AIP_DOC_EDGE_SEND ? send(router, route, state, err)
                                                       : decide(router, route, state, err);
}

int aip_doc_add_router(aip_graph_builder *builder, const aip_graph_document *document,
                       const struct aip_doc_edge *edge, aip_error **err)
{
        struct aip_router_options options = AIP_ROUTER_OPTIONS_INIT;
        struct router *router = aip_alloc(sizeof(*router));
        if (!router)
                return aip_error_set_nomem(err);
        *router = (struct router){aip_graph_document_ref(document), edge};
        options.route = route_edge;
        options.targets = edge->targets;
        options.n_targets = edge->n_targets;
        options.user = router;
        options.free_user = router_free;
        aip_graph_builder_add_router(builder, edge->from[0], &options);
        return 0;
}

/* What goes in, and what comes out. */

static int set(aip_value **object, struct aip_str key, aip_value *value, aip_error **err)
{
        return aip_value_object_set(object, key, value) < 0 ? aip_error_set_nomem(err) : 0;
}

static int take_input(const aip_graph_document *document, const aip_value *input,
                      aip_value **channels, aip_error **err)
{
        int r = 0;
        size_t n = aip_value_size(input);
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_str key;
                const aip_value *member = aip_value_member(input, i, &key);
                struct aip_place top = aip_place_member(&aip_doc_root, "input");
                struct aip_place here = {&top, key, 0};
                if (aip_graph_document_channel(document, key) == AIP_GRAPH_DOCUMENT_NO_CHANNEL)
                        r = aip_place_fail(&here, AIP_EINVAL, err,
                                           "the graph '%s' has no such channel", document->name);
                else
                        r = set(channels, key, aip_value_ref(member), err);
        }
        return r;
}

/* No input is an empty one. */
static int check_input(const aip_graph_document *document, const struct aip_place *at,
                       const aip_value *input, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *none = aip_value_object();
        if (!none)
                return aip_error_set_nomem(err);
        return aip_schema_check_at(document->input_schema, at, input ? input : none, err);
}

int aip_graph_document_input(const aip_graph_document *document, struct aip_str prompt,
                             const aip_value *input, aip_value **ret_channels, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *channels = aip_value_object();
        struct aip_place top = aip_place_member(&aip_doc_root, "input");
        int r = channels ? 0 : aip_error_set_nomem(err);
        if (r == 0 && input)
                r = aip_place_type(&top, input, AIP_VALUE_OBJECT, err);
        if (r == 0 && document->input_schema)
                r = check_input(document, &top, input, err);
        if (r == 0 && prompt.n > 0 &&
            aip_graph_document_channel(document, AIP_STR("prompt")) !=
                    AIP_GRAPH_DOCUMENT_NO_CHANNEL)
                r = set(&channels, AIP_STR("prompt"), aip_value_string(prompt), err);
        if (r == 0)
                r = take_input(document, input, &channels, err);
        if (r == 0)
                *ret_channels = AIP_TAKE(channels);
        return r;
}

static int print_result(const aip_value *value, struct aip_buf *out, aip_error **err)
{
        struct aip_str text = aip_value_as_string(value);
        int r = text.p ? aip_buf_append(out, text) : aip_value_print(value, out, err);
        if (!text.p || r == 0)
                return r;
        return r == AIP_ENOMEM ? aip_error_set_nomem(err)
                               : aip_error_set(err, r, "the result has more than %zu bytes",
                                               out->max_bytes);
}

int aip_graph_document_result(const aip_graph_document *document, const aip_value *state,
                              struct aip_buf *out, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        aip_error *cause = NULL;
        if (!document->result) {
                const aip_value *answer = aip_value_get_cstr(state, "answer");
                return print_result(aip_value_as_string(answer).p ? answer : state, out, err);
        }
        if (aip_expression_eval(document->result, state, NULL, &value, &cause) < 0) {
                struct aip_place here = aip_place_member(&aip_doc_root, "result");
                return aip_place_wrap(&here, cause, err);
        }
        return print_result(value, out, err);
}
