/*
 * The state of one run, and the pure core that moves it: plan the tasks of a step, take their
 * writes, merge them. No loop, no clock, no waiting: whoever drives (application/graph_runner.c)
 * does that.
 *
 *     init ─► feed ─► plan ─► all tasks: run, or begin … finish ─► merge ─► plan …
 *                      └── no tasks: the run is over ─► take_object
 *
 * After a failure of any of them only deinit is allowed.
 */
#ifndef AIPLAT_DOMAIN_GRAPH_STEP_H
#define AIPLAT_DOMAIN_GRAPH_STEP_H

#include <aiplat/graph.h>

struct aip_graph_slot {
        aip_value *value;     /* NULL: none */
        int32_t written_step; /* the last step in which it was written; -1: never */
};

struct aip_graph_write {
        aip_value *value;
        uint32_t channel;
        uint32_t next; /* of the same task; index + 1, 0: the last */
};

enum aip_graph_task_phase { AIP_TASK_PLANNED = 0, AIP_TASK_RUNNING, AIP_TASK_FINISHED };

struct aip_graph_task {
        struct aip_graph_state *state;
        void *memory; /* the node's task_bytes, or NULL */
        aip_error *err;
        uint32_t node;
        uint32_t first_write, last_write; /* index + 1; 0: none */
        uint8_t phase;                    /* enum aip_graph_task_phase */
        uint8_t is_cancelled;             /* the node's cancel was called */
};

/* What asynchronous tasks ask of whoever drives the run. */
struct aip_graph_host {
        struct aip_loop loop;
        int64_t deadline_ms;
        void (*finished)(struct aip_graph_host *host, aip_graph_task *task);
};

struct aip_graph_state {
        const aip_graph *graph; /* borrowed */
        void *context;
        struct aip_graph_host *host; /* NULL: no asynchronous nodes */
        int32_t step;                /* 0 before the first */
        int32_t step_limit;
        struct aip_graph_slot *slots; /* one a channel */
        uint64_t *next;               /* a bit a node: runs in the next step */
        struct aip_graph_task *tasks; /* of this step, in node order */
        struct aip_graph_write *writes;
        aip_value **overlay; /* one a channel: a router's private view; NULL until needed */
        uint32_t n_tasks, tasks_capacity, inline_tasks;
        uint32_t n_writes, writes_capacity;
        void *block; /* the memory given to init; arrays that outgrew it are on the heap */
};

/* Bytes of memory a run needs besides struct aip_graph_state. */
size_t aip_graph_state_bytes(const aip_graph *graph);

/* Begin: channels take their initial values. `memory` has aip_graph_state_bytes() bytes, aligned as
 * by malloc, and outlives the state. step_limit 0: the default. */
int aip_graph_state_init(struct aip_graph_state *state, const aip_graph *graph, void *memory,
                         void *context, int32_t step_limit, aip_error **err);
/* Works on a state whose init failed. No task may be running. */
void aip_graph_state_deinit(struct aip_graph_state *state);

/* Write the input (an object, or NULL) and follow the edges of __start__. */
int aip_graph_feed(struct aip_graph_state *state, const aip_value *input, aip_error **err);

/* Make the tasks of the next step: state->tasks, state->n_tasks; none: the run is over. */
int aip_graph_plan(struct aip_graph_state *state, aip_error **err);

/* Whether the task's node is asynchronous. */
int aip_graph_task_is_async(const aip_graph_task *task);
/* Run a synchronous task to its end. */
void aip_graph_task_run(aip_graph_task *task);
/* Start an asynchronous one; it may have finished on return. */
void aip_graph_task_begin(aip_graph_task *task);
/* Ask a running one to stop; at most once reaches the node. */
void aip_graph_task_cancel(aip_graph_task *task);

/* All tasks have finished: merge their writes and follow their edges. A failed task fails it: the
 * first by order that was not just cancelled. */
int aip_graph_merge(struct aip_graph_state *state, aip_error **err);

/* The channels as one object, owned by caller; NULL when out of memory. The state is left empty. */
aip_value *aip_graph_state_take_object(struct aip_graph_state *state);

/* Name of the first asynchronous node; NULL when there is none. */
const char *aip_graph_first_async(const aip_graph *graph);

#endif
