/*
 * Graphs of code by name (graph_registry.h). Filled by programs that build graphs of their own; asked by the
 * job service before it takes a job, by the worker before it runs one, and by the thread service before it
 * writes to a state. It must never forget a graph: jobs in flight point into it.
 */
#include <aiplat/graph_registry.h>
#include <aiplat/job.h>

#include "graph/graph_model.h"
#include "macros.h"
#include "mem.h"

/* A handful of graphs, so they are looked for one by one; each has a place of its own, as it is pointed to
 * while others are added. */
struct aip_graph_registry {
        struct aip_registered_graph **graphs;
        size_t n;
};

int aip_graph_registry_new(aip_graph_registry **ret_registry, aip_error **err)
{
        aip_graph_registry *registry = aip_calloc(1, sizeof(*registry));

        if (!registry)
                return aip_error_set_nomem(err);
        *ret_registry = registry;
        return 0;
}

static void graph_free(struct aip_registered_graph *graph)
{
        aip_graph_unref((aip_graph *)graph->graph);
        aip_free((char *)graph->name);
        aip_free(graph);
}

void aip_graph_registry_free(aip_graph_registry *registry)
{
        if (!registry)
                return;
        for (size_t i = 0; i < registry->n; i++)
                graph_free(registry->graphs[i]);
        aip_free(registry->graphs);
        aip_free(registry);
}

const struct aip_registered_graph *aip_graph_registry_find(const aip_graph_registry *registry,
                                                           struct aip_str name)
{
        for (size_t i = 0; registry && i < registry->n; i++)
                if (aip_str_eq(name, aip_str_of(registry->graphs[i]->name)))
                        return registry->graphs[i];
        return NULL;
}

static int check_nodes(const struct aip_registered_graph *graph, const char *const *names, size_t n,
                       aip_error **err)
{
        const struct aip_graph *g = graph->graph;

        for (size_t i = 0; i < n; i++)
                if (strcmp(names[i], "*") != 0 &&
                    aip_graph_find_node(g->nodes, g->n_nodes, names[i]) == AIP_GRAPH_NO_INDEX)
                        return aip_error_set(err, AIP_EINVAL,
                                             "the graph '%s' is to be interrupted at node \"%s\", "
                                             "which it does not have",
                                             graph->name, names[i]);
        return 0;
}

static int check_terms(const struct aip_registered_graph *graph, aip_error **err)
{
        int r;

        if (graph->step_limit < 0)
                return aip_error_set(err, AIP_EINVAL, "the step_limit of the graph '%s' is %d",
                                     graph->name, graph->step_limit);
        r = check_nodes(graph, graph->interrupt_before, graph->n_interrupt_before, err);
        return r < 0 ? r
                     : check_nodes(graph, graph->interrupt_after, graph->n_interrupt_after, err);
}

static int check(const aip_graph_registry *registry, const struct aip_registered_graph *graph,
                 aip_error **err)
{
        int r = aip_name_check("graph_name", aip_str_of(graph->name), err);

        if (r < 0)
                return r;
        if (!graph->graph)
                return aip_error_set(err, AIP_EINVAL, "no graph is given for the name '%s'",
                                     graph->name);
        if (aip_graph_registry_find(registry, aip_str_of(graph->name)))
                return aip_error_set(err, AIP_ECONFLICT, "a graph '%s' is registered already",
                                     graph->name);
        return check_terms(graph, err);
}

int aip_graph_registry_add(aip_graph_registry *registry, const struct aip_registered_graph *graph,
                           aip_error **err)
{
        struct aip_registered_graph given = AIP_REGISTERED_GRAPH_INIT;
        struct aip_registered_graph *own, **more;
        int r;

        memcpy(&given, graph, AIP_MIN(graph->self_size, sizeof(given)));
        if ((r = check(registry, &given, err)) < 0)
                return r;
        more = aip_realloc_array(registry->graphs, registry->n + 1,
                                 sizeof(struct aip_registered_graph *));
        if (!more)
                return aip_error_set_nomem(err);
        registry->graphs = more;
        own = aip_alloc(sizeof(*own));
        if (!own)
                return aip_error_set_nomem(err);
        *own = given;
        own->name = aip_str_dup(aip_str_of(given.name));
        own->graph = aip_graph_ref(given.graph);
        if (!own->name) {
                graph_free(own);
                return aip_error_set_nomem(err);
        }
        registry->graphs[registry->n++] = own;
        return 0;
}

/* ── what a job begins with ──────────────────────────────────────────────────────────────────── */

static int take_input(const struct aip_registered_graph *graph, const aip_value *input,
                      aip_value **channels, aip_error **err)
{
        for (size_t i = 0, n = aip_value_size(input); i < n; i++) {
                struct aip_str key;
                const aip_value *member = aip_value_member(input, i, &key);

                if (!aip_graph_has_channel(graph->graph, key))
                        return aip_error_set(err, AIP_EINVAL,
                                             "input: the graph '%s' has no channel '%.*s'",
                                             graph->name, AIP_STR_ARG(key));
                if (aip_value_object_set(channels, key, aip_value_ref(member)) < 0)
                        return aip_error_set_nomem(err);
        }
        return 0;
}

int aip_registered_graph_input(const struct aip_registered_graph *graph, struct aip_str prompt,
                               const aip_value *input, aip_value **ret_channels, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *channels = aip_value_object();
        int has_prompt = prompt.n > 0 && aip_graph_has_channel(graph->graph, AIP_STR("prompt"));
        int r;

        if (input && aip_value_type(input) != AIP_VALUE_OBJECT)
                return aip_error_set(err, AIP_EINVAL, "input: must be an object");
        if (!channels || (has_prompt && aip_value_object_set_cstr(&channels, "prompt",
                                                                  aip_value_string(prompt)) < 0))
                return aip_error_set_nomem(err);
        if ((r = take_input(graph, input, &channels, err)) < 0)
                return r;
        *ret_channels = AIP_TAKE(channels);
        return 0;
}
