/*
 * The graph builder: collects channels, nodes, edges and routers under their names and keeps the
 * first thing that goes wrong for aip_graph_compile() to report. Whether the parts fit together is
 * not asked here.
 */
#include "graph/channels.h"
#include "macros.h"
#include "mem.h"

#define NAME_MAX_BYTES 255

aip_graph_builder *aip_graph_builder_new(void)
{
        return aip_calloc(1, sizeof(aip_graph_builder));
}

static void free_user(void (*free_function)(void *user), void *user)
{
        if (free_function)
                free_function(user);
}

void aip_graph_channel_deinit(struct aip_graph_channel *channel)
{
        aip_free(channel->name);
        /* The options' `initial` is const for callers; ours is an owned copy. */
        aip_value_unref((aip_value *)channel->options.initial);
        free_user(channel->options.free_user, channel->options.user);
}

void aip_graph_names_free(char **names, size_t n)
{
        for (size_t i = 0; names && i < n; i++)
                aip_free(names[i]);
        aip_free(names);
}

void aip_graph_node_deinit(struct aip_graph_node *node)
{
        aip_free(node->name);
        aip_free(node->targets);
        aip_graph_names_free(node->target_names, node->options.n_targets);
        aip_graph_unref(node->options.subgraph.graph);
        free_user(node->options.free_user, node->options.user);
        free_user(node->options.cache.free_user, node->options.cache.user);
}

void aip_graph_router_deinit(struct aip_router_options *options)
{
        free_user(options->free_user, options->user);
}

static void branch_deinit(struct aip_graph_pending_branch *branch)
{
        aip_free(branch->from);
        aip_graph_names_free(branch->targets, branch->options.n_targets);
        aip_graph_router_deinit(&branch->options);
}

void aip_graph_builder_free(aip_graph_builder *builder)
{
        if (!builder)
                return;
        for (uint32_t i = 0; i < builder->n_channels; i++)
                aip_graph_channel_deinit(&builder->channels[i]);
        for (uint32_t i = 0; i < builder->n_nodes; i++)
                aip_graph_node_deinit(&builder->nodes[i]);
        for (uint32_t i = 0; i < builder->n_edges; i++) {
                aip_free(builder->edges[i].from);
                aip_free(builder->edges[i].to);
        }
        for (uint32_t i = 0; i < builder->n_branches; i++)
                branch_deinit(&builder->branches[i]);
        for (uint32_t i = 0; i < builder->n_joins; i++) {
                aip_graph_names_free(builder->joins[i].from, builder->joins[i].n_from);
                aip_free(builder->joins[i].to);
        }
        aip_free(builder->joins);
        aip_free(builder->channels);
        aip_free(builder->nodes);
        aip_free(builder->edges);
        aip_free(builder->branches);
        aip_error_free(builder->err);
        aip_free(builder);
}

/* A zeroed new last element of *array, or NULL with the error kept. */
static void *grow(aip_graph_builder *builder, void **array, uint32_t *n, uint32_t *capacity,
                  size_t bytes)
{
        if (*n == *capacity) {
                uint32_t more = *capacity ? *capacity * 2 : 4;
                void *block = more < UINT32_MAX / 4 ? aip_realloc_array(*array, more, bytes) : NULL;
                if (!block) {
                        aip_error_set_nomem(&builder->err);
                        return NULL;
                }
                *array = block;
                *capacity = more;
        }
        return memset((char *)*array + bytes * (*n)++, 0, bytes);
}

static char *keep_text(aip_graph_builder *builder, const char *text)
{
        char *copy = text ? aip_strdup(text) : NULL;
        if (!copy && !builder->err) {
                if (text)
                        aip_error_set_nomem(&builder->err);
                else
                        aip_error_set(&builder->err, AIP_EINVAL, "graph: a name is NULL");
        }
        return copy;
}

const char *aip_graph_name_problem(struct aip_str name)
{
        if (name.n == 0 || name.n > NAME_MAX_BYTES)
                return "must have 1 to 255 bytes";
        if (aip_str_utf8_length(name) < 0)
                return "is not valid UTF-8";
        if (name.n >= 2 && memcmp(name.p, "__", 2) == 0)
                return "begins with \"__\", which is reserved";
        for (size_t i = 0; i < name.n; i++) {
                unsigned char c = (unsigned char)name.p[i];
                if (c < 0x20 || c == 0x7f)
                        return "has a control character";
                if (c == ':' || c == '|')
                        return "has ':' or '|', which are reserved";
        }
        return NULL;
}

static char *keep_name(aip_graph_builder *builder, const char *what, const char *name)
{
        const char *wrong = name ? aip_graph_name_problem(aip_str_of(name)) : NULL;
        if (wrong) {
                aip_error_set(&builder->err, AIP_EINVAL, "graph: %s name \"%.255s\" %s", what, name,
                              wrong);
                return NULL;
        }
        return keep_text(builder, name);
}

/* Copies min(self_size, bytes) of the caller's options over `options`, which holds the defaults.
 * Non-zero when the builder can go on with them. */
static int take_options(aip_graph_builder *builder, void *options, size_t bytes, const void *from)
{
        size_t self_size = 0;
        if (from)
                memcpy(&self_size, from, sizeof(self_size));
        int are_good = self_size > sizeof(self_size);
        if (are_good)
                memcpy(options, from, AIP_MIN(self_size, bytes));
        if (!builder || builder->err)
                return 0;
        if (!are_good)
                aip_error_set(
                        &builder->err, AIP_EINVAL,
                        "graph: options are missing, or were not made with their _INIT macro");
        return are_good;
}

/* Copies of n names; elements may be NULL, and the result too, when the error is kept. */
static char **keep_names(aip_graph_builder *builder, const char *const *names, size_t n)
{
        char **copies = names && n < UINT32_MAX / 4 ? aip_calloc(n, sizeof(char *)) : NULL;
        if (!copies && !builder->err) {
                if (names)
                        aip_error_set_nomem(&builder->err);
                else
                        aip_error_set(&builder->err, AIP_EINVAL, "graph: a list of names is NULL");
        }
        for (size_t i = 0; copies && i < n && !builder->err; i++)
                copies[i] = keep_text(builder, names[i]);
        return copies;
}

void aip_graph_builder_add_channel(aip_graph_builder *builder, const char *name,
                                   enum aip_channel_kind kind)
{
        struct aip_channel_options options = AIP_CHANNEL_OPTIONS_INIT;
        options.kind = kind;
        aip_graph_builder_add_channel_with(builder, name, &options);
}

static void keep_initial(aip_graph_builder *builder, struct aip_graph_channel *channel)
{
        const aip_value *initial = channel->options.initial;
        channel->options.initial = NULL;
        if (!initial || builder->err)
                return;
        channel->options.initial = aip_value_copy_deep(initial);
        if (!channel->options.initial)
                aip_error_set_nomem(&builder->err);
}

void aip_graph_builder_add_channel_with(aip_graph_builder *builder, const char *name,
                                        const struct aip_channel_options *options)
{
        struct aip_channel_options taken = AIP_CHANNEL_OPTIONS_INIT;
        struct aip_graph_channel *channel = NULL;
        if (take_options(builder, &taken, sizeof(taken), options))
                channel = grow(builder, (void **)&builder->channels, &builder->n_channels,
                               &builder->channels_capacity, sizeof(*channel));
        if (!channel) {
                free_user(taken.free_user, taken.user);
                return;
        }
        channel->options = taken;
        channel->name = keep_name(builder, "channel", name);
        channel->name_bytes = channel->name ? strlen(channel->name) : 0;
        keep_initial(builder, channel);
        if (!builder->err)
                aip_channel_check(channel, &builder->err);
}

void aip_graph_builder_add_function(aip_graph_builder *builder, const char *name,
                                    aip_graph_function run, void *user)
{
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        options.run = run;
        options.user = user;
        aip_graph_builder_add_node(builder, name, &options);
}

static void check_node(aip_graph_builder *builder, const struct aip_graph_node *node)
{
        const struct aip_node_options *o = &node->options;
        const char *wrong = NULL;
        int n_ways = !!o->run + !!o->start + !!o->subgraph.graph + !!o->find_subgraph;
        if (n_ways != 1)
                wrong = "needs a function: either run, or start and cancel, or a subgraph";
        else if (o->subgraph.step_limit < 0)
                wrong = "has a step_limit below 0";
        else if (!o->start != !o->cancel)
                wrong = o->start ? "has start, so it needs cancel" : "has cancel without start";
        else if (o->run && (o->timeout_ms || o->idle_timeout_ms))
                wrong = "cannot have a time-out: it runs to its end within a call";
        else if (o->retry.factor != 0 && !(o->retry.factor >= 1 && o->retry.factor <= 100))
                wrong = "has a retry factor that is not from 1 to 100";
        else if (o->cache.ttl_s < 0)
                wrong = "is to be kept for less than no time";
        if (wrong)
                aip_error_set(&builder->err, AIP_EINVAL, "graph: node \"%s\" %s", node->name,
                              wrong);
}

void aip_graph_builder_add_node(aip_graph_builder *builder, const char *name,
                                const struct aip_node_options *options)
{
        struct aip_node_options taken = AIP_NODE_OPTIONS_INIT;
        struct aip_graph_node *node = NULL;
        if (take_options(builder, &taken, sizeof(taken), options))
                node = grow(builder, (void **)&builder->nodes, &builder->n_nodes,
                            &builder->nodes_capacity, sizeof(*node));
        if (!node) {
                free_user(taken.free_user, taken.user);
                free_user(taken.cache.free_user, taken.cache.user);
                return;
        }
        node->options = taken;
        node->options.targets = NULL;
        node->options.subgraph.graph = aip_graph_ref(taken.subgraph.graph);
        node->name = keep_name(builder, "node", name);
        if (!builder->err)
                check_node(builder, node);
        if (taken.n_targets > 0)
                node->target_names = keep_names(builder, taken.targets, taken.n_targets);
}

void aip_graph_builder_add_edge(aip_graph_builder *builder, const char *from, const char *to)
{
        struct aip_graph_pending_edge *edge = NULL;
        if (builder && !builder->err)
                edge = grow(builder, (void **)&builder->edges, &builder->n_edges,
                            &builder->edges_capacity, sizeof(*edge));
        if (!edge)
                return;
        edge->from = keep_text(builder, from);
        edge->to = keep_text(builder, to);
}

static void keep_targets(aip_graph_builder *builder, struct aip_graph_pending_branch *branch)
{
        const char *const *from = branch->options.targets;
        size_t n = branch->options.n_targets;
        branch->options.targets = NULL;
        if (builder->err)
                return;
        if (!branch->options.route || !from || n == 0 || n > UINT32_MAX / 4) {
                aip_error_set(&builder->err, AIP_EINVAL,
                              "graph: the router after \"%s\" needs a function and its targets",
                              branch->from);
                return;
        }
        branch->targets = keep_names(builder, from, n);
}

void aip_graph_builder_add_router(aip_graph_builder *builder, const char *from,
                                  const struct aip_router_options *options)
{
        struct aip_router_options taken = AIP_ROUTER_OPTIONS_INIT;
        struct aip_graph_pending_branch *branch = NULL;
        if (take_options(builder, &taken, sizeof(taken), options))
                branch = grow(builder, (void **)&builder->branches, &builder->n_branches,
                              &builder->branches_capacity, sizeof(*branch));
        if (!branch) {
                free_user(taken.free_user, taken.user);
                return;
        }
        branch->options = taken;
        branch->from = keep_text(builder, from);
        keep_targets(builder, branch);
}

void aip_graph_builder_add_join(aip_graph_builder *builder, const char *const *from, size_t n_from,
                                const char *to)
{
        struct aip_graph_pending_join *join = NULL;
        if (builder && !builder->err && n_from == 0)
                aip_error_set(&builder->err, AIP_EINVAL,
                              "graph: a join needs the names of the nodes it waits for");
        if (builder && !builder->err)
                join = grow(builder, (void **)&builder->joins, &builder->n_joins,
                            &builder->joins_capacity, sizeof(*join));
        if (!join)
                return;
        join->n_from = n_from;
        join->to = keep_text(builder, to);
        join->from = keep_names(builder, from, n_from);
}
