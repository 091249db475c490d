/*
 * Graph documents: graphs as data. A document is a JSON object (docs/graphs.md) that names channels, nodes
 * by their types, and edges; it is checked when it is made, is immutable then, and compiles to a graph with
 * the node types that one has. Every refusal begins with a JSON pointer to what is wrong:
 *
 *     /nodes/draft/retry/factor: must be a number from 1 to 100, not a string
 *
 * The catalog keeps documents, application/agent gives them node types and runs them.
 */
#ifndef AIPLAT_GRAPH_DOCUMENT_H
#define AIPLAT_GRAPH_DOCUMENT_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/expression.h>
#include <aiplat/graph.h>

AIP_BEGIN_DECLS

typedef struct aip_graph_document aip_graph_document;

#define AIP_GRAPH_DOCUMENT_MAX_BYTES    (1u << 20) /* of its JSON */
#define AIP_GRAPH_DOCUMENT_MAX_CHANNELS 256
#define AIP_GRAPH_DOCUMENT_MAX_NODES    1000
#define AIP_GRAPH_DOCUMENT_MAX_EDGES    4000
#define AIP_GRAPH_DOCUMENT_MAX_TARGETS  1000    /* of one edge, and names at its beginning */
#define AIP_GRAPH_DOCUMENT_MAX_STEPS    1000000 /* the greatest step_limit */

/*
 * Check `value` (borrowed, copied) and make a document of it: its shape, names, expressions and limits,
 * but not what only node types know. AIP_EINVAL, or AIP_ELIMIT for one that is too large; the message
 * begins with a JSON pointer ("document" stands for the whole).
 */
AIP_API int aip_graph_document_new(struct aip_str name, const aip_value *value,
                                   aip_graph_document **ret_document, aip_error **err);
/* The same from JSON text of at most AIP_GRAPH_DOCUMENT_MAX_BYTES. */
AIP_API int aip_graph_document_parse(struct aip_str name, struct aip_str json,
                                     aip_graph_document **ret_document, aip_error **err);
/* Counted atomically: any thread. */
AIP_API aip_graph_document *aip_graph_document_ref(const aip_graph_document *document);
AIP_API void aip_graph_document_unref(aip_graph_document *document); /* accepts NULL */

/* Borrowed, as long as the document. Values are for reading only: other threads may read them too, so
 * take no references to them, but copy (aip_value_copy_deep). */
AIP_API struct aip_str aip_graph_document_name(const aip_graph_document *document);
AIP_API struct aip_str aip_graph_document_description(const aip_graph_document *document);
AIP_API const aip_value *aip_graph_document_value(const aip_graph_document *document);
/* "tools": an object of objects; NULL: it has none. */
AIP_API const aip_value *aip_graph_document_tools(const aip_graph_document *document);
/* 0: it does not say. */
AIP_API int32_t aip_graph_document_step_limit(const aip_graph_document *document);
/* The nodes before or after which a run stops to be looked at ("*": all of them). */
AIP_API const char *const *aip_graph_document_interrupt_before(const aip_graph_document *document,
                                                               size_t *ret_n);
AIP_API const char *const *aip_graph_document_interrupt_after(const aip_graph_document *document,
                                                              size_t *ret_n);

/* Channels are numbered as in the compiled graph, in the order of "state". */
#define AIP_GRAPH_DOCUMENT_NO_CHANNEL UINT32_MAX
AIP_API uint32_t aip_graph_document_n_channels(const aip_graph_document *document);
AIP_API uint32_t aip_graph_document_channel(const aip_graph_document *document,
                                            struct aip_str name);
AIP_API const char *aip_graph_document_channel_name(const aip_graph_document *document,
                                                    uint32_t channel);
AIP_API enum aip_channel_kind aip_graph_document_channel_kind(const aip_graph_document *document,
                                                              uint32_t channel);

/*
 * What a run is fed: the members of `input` (an object, or NULL), and `prompt` (empty: none) for the
 * channel of that name if there is one. AIP_EINVAL, pointing into the input, when it is not as
 * "input_schema" says, or a member is not a channel. *ret_channels is an object, owned by caller.
 */
AIP_API int aip_graph_document_input(const aip_graph_document *document, struct aip_str prompt,
                                     const aip_value *input, aip_value **ret_channels,
                                     aip_error **err);

/* Append the result of a run that ended in `state`: what "result" gives, as it is if it is a string, else
 * as JSON. Without "result": the channel `answer` if it holds a string, else the whole state. */
AIP_API int aip_graph_document_result(const aip_graph_document *document, const aip_value *state,
                                      struct aip_buf *out, aip_error **err);

/* A picture of the nodes and edges, as text for Mermaid or Graphviz; where a node itself goes (a Command)
 * is not drawn. On failure (out of memory, `out` is full) `out` is as it was. */
enum aip_draw_format { AIP_DRAW_MERMAID = 0, AIP_DRAW_GRAPHVIZ };
AIP_API int aip_graph_document_draw(const aip_graph_document *document, enum aip_draw_format format,
                                    struct aip_buf *out, aip_error **err);

/*
 * Node types: what "type" may say.
 */

/* One node of a document that is being compiled. Borrowed during the call. */
struct aip_graph_node_spec {
        struct aip_str name, type;          /* NUL-terminated; they live as long as the document */
        const aip_value *fields;            /* the node as the document has it: for reading only */
        const aip_graph_document *document; /* take a reference to keep it */
};

struct aip_graph_node_type {
        const char *type;
        /*
         * Read the node's own members and fill `options` (made with AIP_NODE_OPTIONS_INIT): run, or start
         * and cancel; user, free_user, task_bytes; targets (they must live until compile returns). What all
         * nodes have (retry, time-outs, defer, on_error) is set afterwards. On failure nothing is kept.
         */
        int (*make)(void *self, const struct aip_graph_node_spec *spec,
                    struct aip_node_options *options, aip_error **err);
        /* Names of the type's own members, NULL at the end; any other is refused. */
        const char *const *members;
};

/* The document's graph. `types` and `self` are borrowed during the call. */
AIP_API int aip_graph_document_compile(const aip_graph_document *document,
                                       const struct aip_graph_node_type *types, size_t n_types,
                                       void *self, aip_graph **ret_graph, aip_error **err);

/* For `make`. Returns AIP_EINVAL with an error that points to a member of the node ("write/answer"; NULL:
 * the node itself). */
AIP_API int aip_graph_spec_error(const struct aip_graph_node_spec *spec, const char *member_path,
                                 aip_error **err, const char *format, ...) AIP_PRINTF(4, 5);

/*
 * Members that are expressions, over the state as an object: what the channels are when the step begins.
 * Their variables are $item, what was sent to the task (null: nothing), and then `variables`.
 */

/* The expression of a member (a name, no path), which must be a string if it is there; *ret_expression
 * stays as it is if it is not. */
AIP_API int aip_graph_spec_expression(const struct aip_graph_node_spec *spec, const char *member,
                                      const char *const *variables, size_t n_variables,
                                      aip_expression **ret_expression, aip_error **err);

/* An object of a channel's name and an expression each: {"write": {"answer": "$answer.text"}}. */
typedef struct aip_graph_writes aip_graph_writes;

/* *ret_writes stays as it is if there is no such member. `member` must live as long as the writes. */
AIP_API int aip_graph_spec_writes(const struct aip_graph_node_spec *spec, const char *member,
                                  const char *const *variables, size_t n_variables,
                                  aip_graph_writes **ret_writes, aip_error **err);
AIP_API void aip_graph_writes_free(aip_graph_writes *writes); /* accepts NULL */
/* Set the members of *update (an object, or NULL for a new one) to what the expressions give; one that gives
 * nothing (`empty`) writes nothing. `variables` begin with the value of $item. `writes` may be NULL. */
AIP_API int aip_graph_writes_eval(const aip_graph_writes *writes, const aip_value *state,
                                  const aip_value *const *variables, aip_value **update,
                                  aip_error **err);

/* The state as an object, for expressions: a member each channel that has a value. *ret_state is owned by
 * caller. The graph is the document's. */
AIP_API int aip_graph_document_task_state(const aip_graph_document *document, aip_graph_task *task,
                                          aip_value **ret_state, aip_error **err);

AIP_END_DECLS

#endif
