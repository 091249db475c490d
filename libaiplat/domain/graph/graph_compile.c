/*
 * The graph compiler: resolves a builder's names to indexes, checks that the whole makes sense, and
 * lays it out for graph_step.c. Also the graph's reference count. Errors are written for the person
 * who drew the graph: they name the node and the reason. Nothing here runs a node.
 *
 *     aip_graph_compile ─► name_channels ─► sort_nodes ─► lay_edges ─► lay_branches ─► lay_commands ─► lay_joins
 *                                                                                    └─► check_paths
 */
#include "graph/channels.h"
#include "macros.h"
#include "mem.h"

AIP_DEFINE_CLEANUP(aip_graph *, aip_graph_unref);
AIP_DEFINE_CLEANUP(aip_graph_builder *, aip_graph_builder_free);

static void branch_deinit(struct aip_graph_branch *branch)
{
        aip_free(branch->targets);
        aip_graph_router_deinit(&branch->options);
}

static void graph_free(aip_graph *graph)
{
        for (uint32_t i = 0; i < graph->n_channels; i++)
                aip_graph_channel_deinit(&graph->channels[i]);
        for (uint32_t i = 0; graph->nodes && i < graph->n_nodes; i++)
                aip_graph_node_deinit(&graph->nodes[i]);
        for (uint32_t i = 0; i < graph->n_branches; i++)
                branch_deinit(&graph->branches[i]);
        aip_free(graph->channels);
        aip_free(graph->nodes);
        aip_free(graph->branches);
        aip_free(graph->edges);
        aip_free(graph->joins);
        aip_free(graph->arrivals);
        aip_free(graph->deferred);
        aip_free(graph->channels_by_name);
        aip_free(graph);
}

aip_graph *aip_graph_ref(const aip_graph *graph)
{
        aip_graph *counted = (aip_graph *)graph; /* the count is not part of what const protects */
        if (counted)
                atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed);
        return counted;
}

void aip_graph_unref(aip_graph *graph)
{
        if (graph && atomic_fetch_sub_explicit(&graph->refs, 1, memory_order_acq_rel) == 1)
                graph_free(graph);
}

int aip_graph_is_synchronous(const aip_graph *graph)
{
        return graph->first_async == graph->n_nodes;
}

uint32_t aip_graph_find_node(const struct aip_graph_node *nodes, uint32_t n_nodes, const char *name)
{
        uint32_t low = 0, high = n_nodes;
        while (low < high) {
                uint32_t middle = low + (high - low) / 2;
                int order = strcmp(name, nodes[middle].name);
                if (order == 0)
                        return middle;
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return AIP_GRAPH_NO_INDEX;
}

static int is_channel(const struct aip_graph_channel *channel, struct aip_str name)
{
        return channel->name_bytes == name.n && memcmp(channel->name, name.p, name.n) == 0;
}

static int compare_names(struct aip_str a, struct aip_str b)
{
        int order = memcmp(a.p, b.p, AIP_MIN(a.n, b.n));
        return order ? order : (a.n > b.n) - (a.n < b.n);
}

static struct aip_str channel_name(const struct aip_graph_channel *channel)
{
        return aip_str_make(channel->name, channel->name_bytes);
}

/* Few channels are searched in order, many by halves. */
#define CHANNELS_IN_ORDER 8

static uint32_t find_channel_by_halves(const aip_graph *graph, struct aip_str name)
{
        uint32_t low = 0, high = graph->n_channels;
        while (low < high) {
                uint32_t middle = low + (high - low) / 2;
                uint32_t channel = graph->channels_by_name[middle];
                int order = compare_names(name, channel_name(&graph->channels[channel]));
                if (order == 0)
                        return channel;
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return AIP_GRAPH_NO_INDEX;
}

uint32_t aip_graph_find_channel(const aip_graph *graph, struct aip_str name, uint32_t hint)
{
        if (hint < graph->n_channels && is_channel(&graph->channels[hint], name))
                return hint;
        if (graph->n_channels > CHANNELS_IN_ORDER)
                return find_channel_by_halves(graph, name);
        for (uint32_t i = 0; i < graph->n_channels; i++) {
                if (is_channel(&graph->channels[i], name))
                        return i;
        }
        return AIP_GRAPH_NO_INDEX;
}

int aip_graph_has_channel(const aip_graph *graph, struct aip_str name)
{
        return aip_graph_find_channel(graph, name, 0) != AIP_GRAPH_NO_INDEX;
}

static int compare_channels(const void *a, const void *b, void *channels)
{
        const struct aip_graph_channel *all = channels;
        return compare_names(channel_name(&all[*(const uint32_t *)a]),
                             channel_name(&all[*(const uint32_t *)b]));
}

/* Take the builder's channels and make the index by name. */
static int name_channels(aip_graph *graph, aip_graph_builder *builder, aip_error **err)
{
        graph->channels = AIP_TAKE(builder->channels);
        graph->n_channels = builder->n_channels;
        builder->n_channels = 0;
        uint32_t n = graph->n_channels;
        graph->channels_by_name = aip_calloc(n + 1, sizeof(uint32_t));
        if (!graph->channels_by_name)
                return aip_error_set_nomem(err);
        uint32_t *order = graph->channels_by_name;
        for (uint32_t i = 0; i < n; i++) {
                order[i] = i;
                graph->n_passing += (uint32_t)aip_channel_is_passing(&graph->channels[i]);
        }
        if (n > 1)
                qsort_r(order, n, sizeof(*order), compare_channels, graph->channels);
        for (uint32_t i = 1; i < n; i++) {
                if (compare_channels(&order[i - 1], &order[i], graph->channels) == 0)
                        return aip_error_set(err, AIP_ECONFLICT,
                                             "graph: there are two channels \"%s\"",
                                             graph->channels[order[i]].name);
        }
        return 0;
}

static int compare_nodes(const void *a, const void *b)
{
        const struct aip_graph_node *x = a, *y = b;
        return strcmp(x->name, y->name);
}

/* Take the builder's nodes, in the order of their names, and the boundary behind them. */
static int sort_nodes(aip_graph *graph, aip_graph_builder *builder, aip_error **err)
{
        uint32_t n = builder->n_nodes;
        if (n > 1)
                qsort(builder->nodes, n, sizeof(*builder->nodes), compare_nodes);
        for (uint32_t i = 1; i < n; i++) {
                if (compare_nodes(&builder->nodes[i - 1], &builder->nodes[i]) == 0)
                        return aip_error_set(err, AIP_ECONFLICT,
                                             "graph: there are two nodes \"%s\"",
                                             builder->nodes[i].name);
        }
        graph->nodes = aip_calloc((size_t)n + 1, sizeof(*graph->nodes));
        graph->deferred = aip_calloc(aip_graph_words(n) + 1, sizeof(uint64_t));
        if (!graph->nodes || !graph->deferred)
                return aip_error_set_nomem(err);
        if (n > 0)
                memcpy(graph->nodes, builder->nodes, n * sizeof(*graph->nodes));
        graph->n_nodes = n;
        builder->n_nodes = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (graph->nodes[i].options.is_deferred)
                        graph->deferred[i / 64] |= UINT64_C(1) << (i % 64);
        }
        graph->first_async = 0;
        while (graph->first_async < n && graph->nodes[graph->first_async].options.run)
                graph->first_async++;
        return 0;
}

/* An arrow of the graph, whichever kind of edge it comes from. */
struct arc {
        uint32_t from, to;
};

static int compare_arcs(const void *a, const void *b)
{
        const struct arc *x = a, *y = b;
        if (x->from != y->from)
                return x->from < y->from ? -1 : 1;
        return (x->to > y->to) - (x->to < y->to);
}

/* Where an edge begins: a node, or the boundary for __start__. */
static int find_source(const aip_graph *graph, const char *name, const char *what,
                       uint32_t *ret_node, aip_error **err)
{
        if (strcmp(name, AIP_GRAPH_END) == 0)
                return aip_error_set(err, AIP_EINVAL, "graph: %s cannot begin at %s", what,
                                     AIP_GRAPH_END);
        uint32_t node = strcmp(name, AIP_GRAPH_START) == 0
                                ? graph->n_nodes
                                : aip_graph_find_node(graph->nodes, graph->n_nodes, name);
        if (node == AIP_GRAPH_NO_INDEX)
                return aip_error_set(err, AIP_EINVAL,
                                     "graph: %s begins at \"%s\", but there is no such node", what,
                                     name);
        *ret_node = node;
        return 0;
}

/* Where an edge ends: a node, or the boundary for __end__. */
static int find_target(const aip_graph *graph, const char *name, const char *what, const char *from,
                       uint32_t *ret_node, aip_error **err)
{
        if (strcmp(name, AIP_GRAPH_START) == 0)
                return aip_error_set(err, AIP_EINVAL, "graph: %s \"%s\" cannot lead to %s", what,
                                     from, AIP_GRAPH_START);
        uint32_t node = strcmp(name, AIP_GRAPH_END) == 0
                                ? graph->n_nodes
                                : aip_graph_find_node(graph->nodes, graph->n_nodes, name);
        if (node == AIP_GRAPH_NO_INDEX)
                return aip_error_set(err, AIP_EINVAL,
                                     "graph: %s \"%s\" leads to \"%s\", but there is no such node",
                                     what, from, name);
        *ret_node = node;
        return 0;
}

static int resolve_edges(const aip_graph *graph, const aip_graph_builder *builder, struct arc *arcs,
                         aip_error **err)
{
        for (uint32_t i = 0; i < builder->n_edges; i++) {
                const struct aip_graph_pending_edge *edge = &builder->edges[i];
                int code = find_source(graph, edge->from, "an edge", &arcs[i].from, err);
                if (code == 0)
                        code = find_target(graph, edge->to, "the edge from", edge->from,
                                           &arcs[i].to, err);
                if (code < 0)
                        return code;
        }
        qsort(arcs, builder->n_edges, sizeof(*arcs), compare_arcs);
        return 0;
}

/* Fixed edges, grouped by where they begin; each once; those to __end__ need no entry. */
static int lay_edges(aip_graph *graph, const aip_graph_builder *builder, struct arc **ret_arcs,
                     aip_error **err)
{
        struct arc *arcs = *ret_arcs;
        int code = resolve_edges(graph, builder, arcs, err);
        if (code < 0)
                return code;
        *ret_arcs += builder->n_edges;
        graph->edges = aip_calloc((size_t)builder->n_edges + 1, sizeof(uint32_t));
        if (!graph->edges)
                return aip_error_set_nomem(err);
        uint32_t used = 0;
        for (uint32_t i = 0; i < builder->n_edges; i++) {
                if (i > 0 && compare_arcs(&arcs[i - 1], &arcs[i]) == 0)
                        continue;
                if (arcs[i].to == graph->n_nodes)
                        continue;
                struct aip_graph_node *node = &graph->nodes[arcs[i].from];
                if (node->n_edges++ == 0)
                        node->first_edge = used;
                graph->edges[used++] = arcs[i].to;
        }
        return 0;
}

/* One router: resolve its targets, take it over, and draw its arcs. */
static int lay_branch(aip_graph *graph, struct aip_graph_pending_branch *pending, struct arc *arcs,
                      aip_error **err)
{
        struct aip_graph_branch *branch = &graph->branches[graph->n_branches];
        int code = find_source(graph, pending->from, "a router", &branch->source, err);
        if (code < 0)
                return code;
        uint32_t n = (uint32_t)pending->options.n_targets;
        branch->targets = aip_calloc(n, sizeof(uint32_t));
        if (!branch->targets)
                return aip_error_set_nomem(err);
        for (uint32_t i = 0; code == 0 && i < n; i++) {
                code = find_target(graph, pending->targets[i], "the router after", pending->from,
                                   &branch->targets[i], err);
                arcs[i] = (struct arc){branch->source, branch->targets[i]};
        }
        if (code < 0) {
                aip_free(AIP_TAKE(branch->targets));
                return code;
        }
        branch->n_targets = n;
        branch->options = pending->options;
        pending->options.free_user = NULL;
        graph->n_branches++;
        return 0;
}

/* Stable: routers of one node run in the order in which they were added. */
static void group_branches(aip_graph *graph)
{
        for (uint32_t i = 1; i < graph->n_branches; i++) {
                struct aip_graph_branch branch = graph->branches[i];
                uint32_t at = i;
                for (; at > 0 && graph->branches[at - 1].source > branch.source; at--)
                        graph->branches[at] = graph->branches[at - 1];
                graph->branches[at] = branch;
        }
        for (uint32_t i = 0; i < graph->n_branches; i++) {
                struct aip_graph_node *node = &graph->nodes[graph->branches[i].source];
                if (node->n_branches++ == 0)
                        node->first_branch = i;
        }
}

static int lay_branches(aip_graph *graph, aip_graph_builder *builder, struct arc **arcs,
                        aip_error **err)
{
        graph->branches = aip_calloc((size_t)builder->n_branches + 1, sizeof(*graph->branches));
        if (!graph->branches)
                return aip_error_set_nomem(err);
        for (uint32_t i = 0; i < builder->n_branches; i++) {
                int code = lay_branch(graph, &builder->branches[i], *arcs, err);
                if (code < 0)
                        return code;
                *arcs += builder->branches[i].options.n_targets;
        }
        group_branches(graph);
        return 0;
}

/* Where the Commands of a node may lead. */
static int lay_command(aip_graph *graph, struct aip_graph_node *node, struct arc *arcs,
                       aip_error **err)
{
        uint32_t n = (uint32_t)node->options.n_targets, source = (uint32_t)(node - graph->nodes);
        node->targets = aip_calloc(n, sizeof(uint32_t));
        if (!node->targets)
                return aip_error_set_nomem(err);
        int code = 0;
        for (uint32_t i = 0; code == 0 && i < n; i++) {
                code = find_target(graph, node->target_names[i], "node", node->name,
                                   &node->targets[i], err);
                arcs[i] = (struct arc){source, node->targets[i]};
        }
        aip_graph_names_free(AIP_TAKE(node->target_names), n);
        return code;
}

static int lay_commands(aip_graph *graph, struct arc **arcs, aip_error **err)
{
        for (uint32_t i = 0; i < graph->n_nodes; i++) {
                struct aip_graph_node *node = &graph->nodes[i];
                if (node->options.n_targets == 0)
                        continue;
                int code = lay_command(graph, node, *arcs, err);
                if (code < 0)
                        return code;
                *arcs += node->options.n_targets;
        }
        return 0;
}

/* One join: a bit a source. A source that is named twice has two bits, set together. */
static int lay_join(aip_graph *graph, const struct aip_graph_pending_join *pending,
                    struct arc *arcs, aip_error **err)
{
        struct aip_graph_join *join = &graph->joins[graph->n_joins];
        uint32_t n = (uint32_t)pending->n_from;
        int code = 0;
        join->first_bit = graph->n_arrivals;
        join->n_bits = n;
        code = find_target(graph, pending->to, "the join from", pending->from[0], &join->target,
                           err);
        for (uint32_t i = 0; code == 0 && i < n; i++) {
                uint32_t source = 0;
                code = find_source(graph, pending->from[i], "a join", &source, err);
                if (code == 0 && source == graph->n_nodes)
                        code = aip_error_set(err, AIP_EINVAL, "graph: a join cannot begin at %s",
                                             AIP_GRAPH_START);
                arcs[i] = (struct arc){source, join->target};
                graph->arrivals[graph->n_arrivals] =
                        (struct aip_graph_arrival){source, graph->n_arrivals};
                graph->n_arrivals++;
        }
        graph->n_joins++;
        return code;
}

static int compare_arrivals(const void *a, const void *b)
{
        const struct aip_graph_arrival *x = a, *y = b;
        if (x->source != y->source)
                return x->source < y->source ? -1 : 1;
        return (x->bit > y->bit) - (x->bit < y->bit);
}

static size_t n_join_sources(const aip_graph_builder *builder)
{
        size_t n = 0;
        for (uint32_t i = 0; i < builder->n_joins; i++)
                n += builder->joins[i].n_from;
        return n;
}

static int lay_joins(aip_graph *graph, const aip_graph_builder *builder, struct arc *arcs,
                     aip_error **err)
{
        graph->joins = aip_calloc((size_t)builder->n_joins + 1, sizeof(*graph->joins));
        graph->arrivals = aip_calloc(n_join_sources(builder) + 1, sizeof(*graph->arrivals));
        if (!graph->joins || !graph->arrivals)
                return aip_error_set_nomem(err);
        for (uint32_t i = 0; i < builder->n_joins; i++) {
                int code = lay_join(graph, &builder->joins[i], arcs, err);
                if (code < 0)
                        return code;
                arcs += builder->joins[i].n_from;
        }
        qsort(graph->arrivals, graph->n_arrivals, sizeof(*graph->arrivals), compare_arrivals);
        for (uint32_t i = 0; i < graph->n_arrivals; i++) {
                struct aip_graph_node *node = &graph->nodes[graph->arrivals[i].source];
                if (node->n_arrivals++ == 0)
                        node->first_arrival = i;
        }
        return 0;
}

/* The arcs of a graph, sorted by `from`, and the first of each node. */
struct map {
        struct arc *arcs;
        size_t n_arcs;
        uint32_t *first;    /* n_nodes + 2 */
        uint32_t *worklist; /* n_nodes + 1 */
        char *is_marked;    /* n_nodes + 1 */
        char *culprit;      /* receives the name of a node that is not as it should be; or NULL */
};

static void map_deinit(struct map *map)
{
        aip_free(map->arcs);
        aip_free(map->first);
        aip_free(map->worklist);
        aip_free(map->is_marked);
}

/* Mark all that can be reached from the boundary along the arcs. */
static void mark_from_boundary(struct map *map, uint32_t boundary)
{
        qsort(map->arcs, map->n_arcs, sizeof(*map->arcs), compare_arcs);
        memset(map->is_marked, 0, (size_t)boundary + 1);
        size_t at = 0;
        for (uint32_t node = 0; node <= boundary + 1; node++) {
                while (at < map->n_arcs && map->arcs[at].from < node)
                        at++;
                map->first[node] = (uint32_t)at;
        }
        uint32_t n = 1;
        map->worklist[0] = boundary;
        map->is_marked[boundary] = 1;
        while (n > 0) {
                uint32_t node = map->worklist[--n];
                for (uint32_t i = map->first[node]; i < map->first[node + 1]; i++) {
                        uint32_t to = map->arcs[i].to;
                        if (map->is_marked[to])
                                continue;
                        map->is_marked[to] = 1;
                        map->worklist[n++] = to;
                }
        }
}

#define NAMES_SHOWN 8

/* Fail naming the nodes without a mark; 0 when there is none. */
static int require_marks(const aip_graph *graph, const struct map *map, const char *reason,
                         aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf names = AIP_BUF_INIT(NAMES_SHOWN * 300);
        uint32_t n = 0;
        int code = 0;
        for (uint32_t i = 0; i < graph->n_nodes; i++) {
                if (map->is_marked[i])
                        continue;
                if (n == 0 && map->culprit)
                        stpncpy(map->culprit, graph->nodes[i].name, AIP_GRAPH_NAME_ROOM - 1);
                if (n++ >= NAMES_SHOWN)
                        continue;
                code |= aip_buf_printf(&names, "%s\"%s\"", n > 1 ? ", " : "", graph->nodes[i].name);
        }
        if (n == 0)
                return 0;
        if (n > NAMES_SHOWN)
                code |= aip_buf_printf(&names, " and %u more", n - NAMES_SHOWN);
        if (code < 0)
                return aip_error_set_nomem(err);
        return aip_error_set(err, AIP_EINVAL, "graph: node%s %s %s", n > 1 ? "s" : "", names.p,
                             reason);
}

static int has_entry(const aip_graph *graph, const struct map *map)
{
        for (size_t i = 0; i < map->n_arcs; i++) {
                if (map->arcs[i].from == graph->n_nodes)
                        return 1;
        }
        return 0;
}

static int check_paths(const aip_graph *graph, struct map *map, aip_error **err)
{
        uint32_t boundary = graph->n_nodes;
        if (!has_entry(graph, map))
                return aip_error_set(err, AIP_EINVAL, "graph: no edge leads from %s to a node",
                                     AIP_GRAPH_START);
        mark_from_boundary(map, boundary);
        int code = require_marks(graph, map, "cannot be reached from " AIP_GRAPH_START, err);
        if (code < 0)
                return code;
        for (size_t i = 0; i < map->n_arcs; i++)
                map->arcs[i] = (struct arc){map->arcs[i].to, map->arcs[i].from};
        mark_from_boundary(map, boundary);
        return require_marks(graph, map, "can never get to " AIP_GRAPH_END ": add an edge", err);
}

static int map_init(struct map *map, const aip_graph_builder *builder, aip_error **err)
{
        size_t n_nodes = builder->n_nodes;
        map->n_arcs = builder->n_edges;
        for (uint32_t i = 0; i < builder->n_branches; i++)
                map->n_arcs += builder->branches[i].options.n_targets;
        for (size_t i = 0; i < n_nodes; i++)
                map->n_arcs += builder->nodes[i].options.n_targets;
        map->n_arcs += n_join_sources(builder);
        if (map->n_arcs > UINT32_MAX / 4)
                return aip_error_set(err, AIP_ELIMIT, "graph: more than 2^30 edges");
        map->arcs = aip_calloc(map->n_arcs + 1, sizeof(*map->arcs));
        map->first = aip_calloc(n_nodes + 2, sizeof(*map->first));
        map->worklist = aip_calloc(n_nodes + 1, sizeof(*map->worklist));
        map->is_marked = aip_calloc(n_nodes + 1, 1);
        if (!map->arcs || !map->first || !map->worklist || !map->is_marked)
                return aip_error_set_nomem(err);
        return 0;
}

/* Builder to graph; what was taken over by the graph is no longer the builder's. */
static int fill(aip_graph *graph, aip_graph_builder *builder, char *culprit, aip_error **err)
{
        _cleanup_(map_deinit) struct map map = {.culprit = culprit};
        int code = map_init(&map, builder, err);
        struct arc *arcs = map.arcs; /* where the next ones go */
        if (code == 0)
                code = name_channels(graph, builder, err);
        if (code == 0)
                code = sort_nodes(graph, builder, err);
        if (code == 0)
                code = lay_edges(graph, builder, &arcs, err);
        if (code == 0)
                code = lay_branches(graph, builder, &arcs, err);
        if (code == 0)
                code = lay_commands(graph, &arcs, err);
        if (code == 0)
                code = lay_joins(graph, builder, arcs, err);
        return code == 0 ? check_paths(graph, &map, err) : code;
}

int aip_graph_compile(aip_graph_builder *builder, aip_graph **ret_graph, aip_error **err)
{
        return aip_graph_compile_telling(builder, NULL, ret_graph, err);
}

int aip_graph_compile_telling(aip_graph_builder *builder, char ret_culprit[AIP_GRAPH_NAME_ROOM],
                              aip_graph **ret_graph, aip_error **err)
{
        _cleanup_(aip_graph_builder_free_p) aip_graph_builder *consumed = builder;
        if (!consumed)
                return aip_error_set_nomem(err);
        if (ret_culprit)
                memset(ret_culprit, 0, AIP_GRAPH_NAME_ROOM);
        if (consumed->err)
                return aip_error_propagate(err, AIP_TAKE(consumed->err));
        _cleanup_(aip_graph_unref_p) aip_graph *graph = aip_calloc(1, sizeof(*graph));
        if (!graph)
                return aip_error_set_nomem(err);
        atomic_init(&graph->refs, 1);
        int code = fill(graph, consumed, ret_culprit, err);
        if (code == 0)
                *ret_graph = AIP_TAKE(graph);
        return code;
}
