/*
 * Graphs of code by name: those that a program builds itself (graph.h) and runs as jobs, beside the graphs of
 * the catalog. One registry is given to the job service, which accepts jobs that name them, to the worker, which
 * runs them, and to the thread service, which writes to their states; a runtime has one
 * (aip_runtime_graphs()). Every process that takes such jobs or runs them must register them: elsewhere
 * their names are unknown. Of several graphs of one name the registry's counts, then the
 * store's, then the one that ships. Loop thread only.
 */
#ifndef AIPLAT_GRAPH_REGISTRY_H
#define AIPLAT_GRAPH_REGISTRY_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/graph_run.h>

AIP_BEGIN_DECLS

typedef struct aip_graph_registry aip_graph_registry;

/*
 * One of them. A job's prompt is written to the channel "prompt", if there is one, and each member of its input
 * to the channel of that name. Its result is the channel "answer" when that is a string, else the whole state as
 * JSON; "provider", "model_name", "input_tokens" and "output_tokens", where they are channels, are told with it.
 */
struct aip_registered_graph {
        size_t self_size;
        const char *name;       /* as aip_name_check() wants it; copied */
        const aip_graph *graph; /* the registry takes a reference */
        int is_unkept; /* its runs are not kept: they ask no questions, and after a crash begin anew */
        enum aip_graph_durability durability;
        void *context; /* aip_graph_task_context() of its nodes; borrowed for the registry's life */
        int32_t step_limit; /* of its runs; 0: AIP_GRAPH_DEFAULT_STEP_LIMIT */
        /* Nodes before and after which its runs stop, to be looked at, and ask to go on: as in a run
         * (graph_run.h). Borrowed for the registry's life. */
        const char *const *interrupt_before;
        size_t n_interrupt_before;
        const char *const *interrupt_after;
        size_t n_interrupt_after;
};

#define AIP_REGISTERED_GRAPH_INIT                                                                  \
        {                                                                                          \
                sizeof(struct aip_registered_graph), NULL, NULL, 0, AIP_GRAPH_SYNC, NULL, 0, NULL, \
                        0, NULL, 0                                                                 \
        }

AIP_API int aip_graph_registry_new(aip_graph_registry **ret_registry, aip_error **err);
/* The services that were given it must be gone. Accepts NULL. */
AIP_API void aip_graph_registry_free(aip_graph_registry *registry);

/* `graph` is borrowed during the call. AIP_EINVAL: the name is none, there is no graph, its
 * step limit is below 0, or it lacks a node to be interrupted at; AIP_ECONFLICT: the name is taken. */
AIP_API int aip_graph_registry_add(aip_graph_registry *registry,
                                   const struct aip_registered_graph *graph, aip_error **err);
/* Borrowed for the registry's life. NULL: there is none of that name, or `registry` is NULL. */
AIP_API const struct aip_registered_graph *
aip_graph_registry_find(const aip_graph_registry *registry, struct aip_str name);

/* The channels that a job with this prompt (may be empty) and input (an object, or NULL) begins with; owned by
 * caller. AIP_EINVAL names the member that is no channel of the graph. */
AIP_API int aip_registered_graph_input(const struct aip_registered_graph *graph,
                                       struct aip_str prompt, const aip_value *input,
                                       aip_value **ret_channels, aip_error **err);

AIP_END_DECLS

#endif
