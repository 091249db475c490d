/*
 * From a document to a graph: its channels, its nodes by the types that the caller has, its edges. Called
 * when a document is written, to find what only node types can find, and when one is first run. The builder
 * does the work; here its parts are named, and its refusals pointed to.
 */
#include "graph/graph_model.h"
#include "graph_document/document_impl.h"
#include "macros.h"
#include "mem.h"

AIP_DEFINE_CLEANUP(aip_graph_builder *, aip_graph_builder_free);

static const struct aip_graph_node_type *find_type(const struct aip_graph_node_type *types,
                                                   size_t n, struct aip_str name)
{
        for (size_t i = 0; i < n; i++) {
                if (aip_str_eq(aip_str_of(types[i].type), name))
                        return &types[i];
        }
        return NULL;
}

static int fail_type(const struct aip_place *at, const struct aip_graph_node_type *types, size_t n,
                     aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf names = AIP_BUF_INIT(800);
        struct aip_place here = aip_place_member(at, "type");
        int r = 0;
        for (size_t i = 0; r == 0 && i < n; i++)
                r = aip_buf_printf(&names, "%s%s", i ? ", " : "", types[i].type);
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        return aip_place_fail(&here, AIP_EINVAL, err, "must be one of %s",
                              names.n ? names.p : "none");
}

/* What `make` has refused without saying where stands at the node. */
static int place_refusal(const struct aip_place *at, aip_error *cause, aip_error **err)
{
        if (strncmp(aip_error_message(cause), "/nodes/", 7) == 0 ||
            strncmp(aip_error_message(cause), "/tools/", 7) == 0)
                return aip_error_propagate(err, cause);
        return aip_place_wrap(at, cause, err);
}

static int check_times(const struct aip_place *at, const struct aip_doc_node *node,
                       const struct aip_node_options *options, aip_error **err)
{
        const char *member = node->timeout_ms ? "timeout_ms" : "idle_timeout_ms";
        if (!options->run || !(node->timeout_ms || node->idle_timeout_ms))
                return 0;
        struct aip_place here = aip_place_member(at, member);
        return aip_place_fail(&here, AIP_EINVAL, err,
                              "a node of type %.*s cannot have a time-out: it waits for nothing",
                              AIP_STR_ARG(node->type));
}

static int make_node(const aip_graph_document *document, const struct aip_doc_node *node,
                     const struct aip_graph_node_type *type, void *self, const struct aip_place *at,
                     struct aip_node_options *options, aip_error **err)
{
        struct aip_graph_node_spec spec = {node->name, node->type, node->fields, document};
        aip_error *cause = NULL;
        int r = type->members ? aip_place_members(at, node->fields, aip_doc_node_members,
                                                  type->members, err)
                              : 0;
        if (r < 0)
                return r;
        r = type->make(self, &spec, options, &cause);
        if (r < 0)
                return place_refusal(at, cause, err);
        r = check_times(at, node, options, err);
        if (r < 0 && options->free_user)
                options->free_user(options->user);
        return r;
}

/* The document says how often and when, the type which errors may pass. */
static void set_retry(const struct aip_doc_node *node, struct aip_node_retry *retry)
{
        struct aip_node_retry own = node->retry;
        own.is_retryable = retry->is_retryable;
        if (own.max_attempts)
                *retry = own;
}

static int add_node(aip_graph_builder *builder, const aip_graph_document *document,
                    const struct aip_doc_node *node, const struct aip_graph_node_type *types,
                    size_t n_types, void *self, aip_error **err)
{
        struct aip_place nodes = aip_place_member(&aip_doc_root, "nodes");
        struct aip_place at = {&nodes, node->name, 0};
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        const struct aip_graph_node_type *type = find_type(types, n_types, node->type);
        if (!type)
                return fail_type(&at, types, n_types, err);
        int r = make_node(document, node, type, self, &at, &options, err);
        if (r < 0)
                return r;
        set_retry(node, &options.retry);
        options.timeout_ms = node->timeout_ms ? node->timeout_ms : options.timeout_ms;
        options.idle_timeout_ms =
                node->idle_timeout_ms ? node->idle_timeout_ms : options.idle_timeout_ms;
        options.is_deferred |= node->is_deferred;
        r = node->on_error ? aip_doc_handle_errors(document, node, &options, err) : 0;
        if (r < 0)
                return r;
        r = aip_doc_cache(document, node, &options.cache, err);
        if (r < 0) {
                if (options.free_user)
                        options.free_user(options.user);
                return r;
        }
        aip_graph_builder_add_node(builder, node->name.p, &options);
        return 0;
}

static int add_edge(aip_graph_builder *builder, const aip_graph_document *document,
                    const struct aip_doc_edge *edge, aip_error **err)
{
        if (edge->kind == AIP_DOC_EDGE_WHEN || edge->kind == AIP_DOC_EDGE_SEND)
                return aip_doc_add_router(builder, document, edge, err);
        for (uint32_t i = 0; i < edge->n_targets; i++) {
                if (edge->kind == AIP_DOC_EDGE_JOIN)
                        aip_graph_builder_add_join(builder, edge->from, edge->n_from,
                                                   edge->targets[i]);
                else
                        aip_graph_builder_add_edge(builder, edge->from[0], edge->targets[i]);
        }
        return 0;
}

static void add_channel(aip_graph_builder *builder, const struct aip_doc_channel *channel)
{
        struct aip_channel_options options = AIP_CHANNEL_OPTIONS_INIT;
        options.kind = channel->kind;
        options.initial = channel->initial;
        aip_graph_builder_add_channel_with(builder, channel->name.p, &options);
}

/* The builder knows nothing of the document: its refusal is put where the fault is. */
static int place_fault(const char *culprit, aip_error *cause, aip_error **err)
{
        static const char prefix[] = "graph: ";
        struct aip_place nodes = aip_place_member(&aip_doc_root, *culprit ? "nodes" : "edges");
        struct aip_place node = aip_place_member(&nodes, culprit);
        const char *message = aip_error_message(cause);
        int code = aip_error_code(cause);
        if (code == AIP_ENOMEM)
                return aip_error_propagate(err, cause);
        if (strncmp(message, prefix, strlen(prefix)) == 0)
                message += strlen(prefix);
        code = aip_place_fail(*culprit ? &node : &nodes, code, err, "%s", message);
        aip_error_free(cause);
        return code;
}

static int finish(aip_graph_builder *builder, aip_graph **ret_graph, aip_error **err)
{
        char culprit[AIP_GRAPH_NAME_ROOM];
        aip_error *cause = NULL;
        int r = aip_graph_compile_telling(builder, culprit, ret_graph, &cause);
        return r < 0 ? place_fault(culprit, cause, err) : 0;
}

int aip_graph_document_compile(const aip_graph_document *document,
                               const struct aip_graph_node_type *types, size_t n_types, void *self,
                               aip_graph **ret_graph, aip_error **err)
{
        _cleanup_(aip_graph_builder_free_p) aip_graph_builder *builder = aip_graph_builder_new();
        int r = builder ? 0 : aip_error_set_nomem(err);
        for (uint32_t i = 0; r == 0 && i < document->n_channels; i++)
                add_channel(builder, &document->channels[i]);
        for (uint32_t i = 0; r == 0 && i < document->n_nodes; i++)
                r = add_node(builder, document, &document->nodes[i], types, n_types, self, err);
        for (uint32_t i = 0; r == 0 && i < document->n_edges; i++)
                r = add_edge(builder, document, &document->edges[i], err);
        return r < 0 ? r : finish(AIP_TAKE(builder), ret_graph, err);
}
