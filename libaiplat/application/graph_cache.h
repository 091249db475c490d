/*
 * What nodes have written, kept for the next time (aip_node_cache): looked up before a task begins, stored when
 * it has ended well. Used by graph_runner.c alone. Tasks of nodes that are not kept cost nothing here.
 */
#ifndef AIPLAT_APPLICATION_GRAPH_CACHE_H
#define AIPLAT_APPLICATION_GRAPH_CACHE_H

#include "graph/graph_step.h"
#include <aiplat/ports/cache.h>

struct aip_graph_lookup;

/* Of one run; one lookup at most a task of the present step. */
struct aip_graph_cache {
        struct aip_loop loop;
        struct aip_cache cache; /* ops NULL: nothing is kept */
        struct aip_str space;
        struct aip_graph_lookup *list; /* one a task; NULL: none of the step's nodes is kept */
        uint32_t n;
        /* A lookup has ended: the task has finished, by what was found, or is to begin. Never from within a
         * call. */
        void (*looked)(struct aip_graph_cache *cache, aip_graph_task *task);
};

/* A step's tasks are planned, and none has begun. */
int aip_graph_cache_plan(struct aip_graph_cache *cache, const struct aip_graph_state *state,
                         aip_error **err);
/* Non-zero: the task is looked up, and `looked` will come. */
int aip_graph_cache_look(struct aip_graph_cache *cache, aip_graph_task *task);
/* A task has ended well. */
void aip_graph_cache_keep(struct aip_graph_cache *cache, const aip_graph_task *task);
/* The step is over; nothing is being looked up. */
void aip_graph_cache_release(struct aip_graph_cache *cache);

#endif
