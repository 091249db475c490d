/*
 * Runs inside tasks: what a node that is a subgraph does (graph.h). Called by the graph runner and by the
 * keeper of the run around; loop thread only. The run inside is a run like any other, whose observer and
 * saver are those of the run around: this stands between them.
 */
#ifndef AIPLAT_APPLICATION_GRAPH_SUBRUN_H
#define AIPLAT_APPLICATION_GRAPH_SUBRUN_H

#include "graph/graph_step.h"
#include <aiplat/graph_run.h>

/* The memory of such a task. */
struct aip_graph_subrun {
        struct aip_graph_run run;
        aip_graph_task *task;
        const struct aip_graph_run *outer;
        struct aip_subgraph subgraph; /* the graph: a reference */
        aip_value *ns;                /* a string: struct aip_graph_state's */
        aip_value *input, *image, *answers;
        struct aip_graph_save
                *save;  /* of the run inside, until the one around has saved it; or NULL */
        aip_value *ups; /* its Commands to the parent: the runner gives them; or NULL */
        int depth;      /* 1: directly inside a run that is inside none */
};

/* Begin the task, which is one of `outer`'s; `depth` is the new run's. It may have finished on return. */
void aip_graph_subrun_begin(aip_graph_task *task, const struct aip_graph_run *outer, int depth);
void aip_graph_subrun_cancel(aip_graph_task *task);
/* The task's piece was saved, or could not be. */
void aip_graph_subrun_saved(aip_graph_task *task, int has_failed);
/* Nothing will be saved any more: those that wait for it are told. */
void aip_graph_subrun_refuse_all(struct aip_graph_state *state);

/* The runner's: as aip_graph_run_start(), of the run inside. */
void aip_graph_run_start_inside(struct aip_loop loop, struct aip_graph_subrun *subrun);

#endif
