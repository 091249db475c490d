/*
 * What a builder collects and what it compiles to. Private to domain/graph: graph_builder.c fills
 * the builder, graph_compile.c turns it into a graph, everyone else only reads the graph.
 */
#ifndef AIPLAT_DOMAIN_GRAPH_MODEL_H
#define AIPLAT_DOMAIN_GRAPH_MODEL_H

#include <aiplat/graph.h>
#include <stdatomic.h>

struct aip_graph_channel {
        char *name;
        size_t name_bytes;
        struct aip_channel_options options; /* options.initial is owned, and never handed to a run:
                                             * counts of values are not atomic */
};

struct aip_graph_branch {
        uint32_t source;
        uint32_t n_targets;
        uint32_t *targets; /* node indexes; the boundary stands for __end__ */
        struct aip_router_options options;
};

struct aip_graph_node {
        char *name;
        struct aip_node_options options;    /* options.targets is NULL: see below */
        uint32_t first_edge, n_edges;       /* into graph->edges */
        uint32_t first_branch, n_branches;  /* into graph->branches */
        uint32_t first_arrival, n_arrivals; /* into graph->arrivals */
        uint32_t *targets;                  /* node indexes that a Command may name */
        char **target_names;                /* the builder's, until they are resolved */
};

/* One source of one join: the bit of the run's `arrived` that says that the node has run. */
struct aip_graph_arrival {
        uint32_t source, bit;
};

struct aip_graph_join {
        uint32_t target;
        uint32_t first_bit, n_bits;
};

/*
 * Nodes are numbered in the bytewise order of their names, so that a set of bits is already the
 * order in which a step's writes are merged. One index beyond them, the boundary, is __start__
 * where an edge begins and __end__ where one ends; nodes[boundary] holds the edges of __start__.
 */
struct aip_graph {
        atomic_uint refs;
        uint32_t n_channels, n_nodes, n_branches, n_joins, n_arrivals;
        uint32_t
                n_passing; /* channels that forget what no step repeats: topics and ephemeral ones */
        uint32_t first_async; /* the first asynchronous node, n_nodes when there is none */
        struct aip_graph_channel *channels;
        struct aip_graph_node *nodes;      /* n_nodes + 1 */
        struct aip_graph_branch *branches; /* by source, then in the order they were added */
        uint32_t *edges;                   /* targets; those to __end__ are left out */
        struct aip_graph_join *joins;
        struct aip_graph_arrival *arrivals; /* by source */
        uint64_t *deferred;                 /* a bit a node */
        uint32_t *channels_by_name;         /* channel indexes in bytewise order of their names */
};

/* Edges and routers as they were given: names are resolved when all nodes are known. */
struct aip_graph_pending_edge {
        char *from, *to;
};

struct aip_graph_pending_branch {
        char *from;
        char **targets;
        struct aip_router_options options;
};

struct aip_graph_pending_join {
        char **from;
        size_t n_from;
        char *to;
};

struct aip_graph_builder {
        struct aip_graph_channel *channels;
        struct aip_graph_node *nodes;
        struct aip_graph_pending_edge *edges;
        struct aip_graph_pending_branch *branches;
        struct aip_graph_pending_join *joins;
        uint32_t n_channels, n_nodes, n_edges, n_branches, n_joins;
        uint32_t channels_capacity, nodes_capacity, edges_capacity, branches_capacity;
        uint32_t joins_capacity;
        aip_error *err; /* the first thing that went wrong */
};

#define AIP_GRAPH_NO_INDEX UINT32_MAX

/* Words of a set of bits. */
static inline size_t aip_graph_words(uint32_t n_bits)
{
        return ((size_t)n_bits + 63) / 64;
}

/* Index of a node, or AIP_GRAPH_NO_INDEX. `nodes` is sorted by name. */
uint32_t aip_graph_find_node(const struct aip_graph_node *nodes, uint32_t n_nodes,
                             const char *name);
/* Index of a channel, or AIP_GRAPH_NO_INDEX. `hint` is tried first. */
uint32_t aip_graph_find_channel(const aip_graph *graph, struct aip_str name, uint32_t hint);

/* Name of a node, __start__ for the boundary. */
static inline const char *aip_graph_source_name(const aip_graph *graph, uint32_t node)
{
        return node == graph->n_nodes ? AIP_GRAPH_START : graph->nodes[node].name;
}

static inline const char *aip_graph_target_name(const aip_graph *graph, uint32_t node)
{
        return node == graph->n_nodes ? AIP_GRAPH_END : graph->nodes[node].name;
}

/* aip_graph_compile(), which besides tells which node has the fault, where it is one of the paths.
 * `ret_culprit` has room for the longest name and is "" when there is none; or NULL. */
#define AIP_GRAPH_NAME_ROOM 256
int aip_graph_compile_telling(aip_graph_builder *builder, char ret_culprit[AIP_GRAPH_NAME_ROOM],
                              aip_graph **ret_graph, aip_error **err);

/* What is wrong with a channel's or node's name, to follow it in a message; NULL: nothing. */
const char *aip_graph_name_problem(struct aip_str name);

/* Free what one element owns. */
void aip_graph_channel_deinit(struct aip_graph_channel *channel);
void aip_graph_node_deinit(struct aip_graph_node *node);
void aip_graph_router_deinit(struct aip_router_options *options);
void aip_graph_names_free(char **names, size_t n); /* accepts NULL */

#endif
