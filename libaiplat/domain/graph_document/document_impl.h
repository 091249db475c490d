/*
 * What a graph document consists of, between the files of domain/graph_document: document.c makes and
 * frees it, document_read.c and document_edges.c fill it, the others read it. Names and values point into
 * the document's own copy of the JSON, whose strings are NUL-terminated.
 */
#ifndef AIPLAT_DOMAIN_GRAPH_DOCUMENT_IMPL_H
#define AIPLAT_DOMAIN_GRAPH_DOCUMENT_IMPL_H

#include "json_schema/schema_impl.h"
#include "text/place.h"
#include <aiplat/graph_document.h>
#include <stdatomic.h>

struct aip_doc_channel {
        struct aip_str name;
        enum aip_channel_kind kind;
        const aip_value *initial; /* or NULL */
};

struct aip_doc_node {
        struct aip_str name, type;
        const aip_value *fields;
        struct aip_node_retry retry;
        uint32_t timeout_ms, idle_timeout_ms;
        int is_deferred;
        int32_t cache_ttl_s;       /* 0: what it writes is not kept */
        aip_expression *cache_key; /* or NULL */
        const char *on_error; /* the node that comes next when it has failed, or __end__; or NULL */
};

/* A range of an edge's targets. */
struct aip_doc_range {
        uint32_t first, n;
};

struct aip_doc_case {
        aip_expression *condition;
        struct aip_doc_range to;
};

enum aip_doc_edge_kind {
        AIP_DOC_EDGE_FIXED = 0,
        AIP_DOC_EDGE_JOIN,
        AIP_DOC_EDGE_WHEN,
        AIP_DOC_EDGE_SEND
};

struct aip_doc_edge {
        enum aip_doc_edge_kind kind;
        uint32_t n_from, n_targets, n_cases;
        const char **from; /* one, but for a join */
        const char *
                *targets; /* all that it may lead to, in the order of the document; "else" last */
        struct aip_doc_case *cases;
        struct aip_doc_range
                otherwise;     /* WHEN: no condition held; SEND: there was nothing to send */
        aip_expression *items; /* SEND: a list, for targets[0] */
};

struct aip_doc_names {
        const char **names;
        size_t n;
};

struct aip_graph_document {
        atomic_uint n_refs;
        char *name;
        aip_value *value; /* ours alone */
        struct aip_doc_channel *channels;
        struct aip_doc_node *nodes;
        struct aip_doc_edge *edges;
        uint32_t n_channels, n_nodes, n_edges;
        int32_t step_limit;
        struct aip_doc_names interrupt_before, interrupt_after;
        aip_expression *result;        /* or NULL */
        aip_json_schema *input_schema; /* or NULL */
};

/* The whole document, as a place. */
extern const struct aip_place aip_doc_root;

/* Fill an empty document from its value. */
int aip_doc_read(aip_graph_document *document, aip_error **err);
int aip_doc_read_edges(aip_graph_document *document, aip_error **err);
void aip_doc_edge_deinit(struct aip_doc_edge *edge);

/* What nodes of all types have, NULL at the end. */
extern const char *const aip_doc_node_members[];

/* Refuse what is not the name of a node; `ret_name` points into the document. */
int aip_doc_node_name(const aip_graph_document *document, const struct aip_place *at,
                      const aip_value *value, const char **ret_name, aip_error **err);
/* The expression in a member that must be there, and a string. The error tells where. */
int aip_doc_expression(const struct aip_place *at, const aip_value *object, const char *key,
                       const char *const *variables, size_t n_variables,
                       aip_expression **ret_expression, aip_error **err);

/* A state as an object, from whatever reads channels by number. *ret_state is owned by caller. */
int aip_doc_state(const aip_graph_document *document,
                  const aip_value *(*get)(void *from, uint32_t channel), void *from,
                  aip_value **ret_state, aip_error **err);

/* "on_error": let `options`, as the node's type has made them, handle failures. On failure they are
 * released. */
int aip_doc_handle_errors(const aip_graph_document *document, const struct aip_doc_node *node,
                          struct aip_node_options *options, aip_error **err);
/* "cache": what the node's key is. Nothing happens without it. */
int aip_doc_cache(const aip_graph_document *document, const struct aip_doc_node *node,
                  struct aip_node_cache *cache, aip_error **err);
/* The object of writes in `member` of the node's member `outer`, or of the node itself if that is NULL;
 * both names are static. */
int aip_doc_read_writes(const struct aip_graph_node_spec *spec, const char *outer,
                        const char *member, const char *const *variables, size_t n_variables,
                        aip_graph_writes **ret_writes, aip_error **err);
/* Add an edge with an expression to a builder. */
int aip_doc_add_router(aip_graph_builder *builder, const aip_graph_document *document,
                       const struct aip_doc_edge *edge, aip_error **err);

#endif
