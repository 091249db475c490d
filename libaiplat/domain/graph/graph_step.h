/*
 * The state of one run, and the pure core that moves it: plan the tasks of a step, take their
 * writes, merge them. No loop, no clock, no waiting: whoever drives (application/graph_runner.c)
 * does that. The state's memory is graph_state.c, what a node does with its task graph_task.c, what
 * it asks graph_interrupt.c, where edges, routers and Commands lead graph_route.c, and the steps
 * themselves graph_step.c.
 *
 *     init ─► feed ─► plan ─► all tasks: run, or begin … finish ─► merge ─► plan …
 *                      │               └── some have asked: interrupted ─► answer ─► tasks …
 *                      └── no tasks: the run is over ─► take_object
 *
 * After a failure of any of them only deinit is allowed.
 */
#ifndef AIPLAT_DOMAIN_GRAPH_STEP_H
#define AIPLAT_DOMAIN_GRAPH_STEP_H

#include "graph_model.h"

struct aip_graph_slot {
        aip_value *value;         /* NULL: none */
        int32_t written_step;     /* the last step in which it was written; -1: never */
        int32_t overwritten_step; /* likewise, by an overwrite */
        uint32_t saved_size;      /* elements of a list that the last image has */
        uint8_t is_changed;       /* since the last image */
        uint8_t is_rewritten;     /* since then by more than adding to a list's end */
};

struct aip_graph_write {
        aip_value *value;
        uint32_t channel : 31;
        uint32_t is_overwrite : 1;
        uint32_t next; /* of the same task; index + 1, 0: the last */
};

/* Where a task's Command leads. */
struct aip_graph_jump {
        aip_value *input; /* NULL: no send */
        uint32_t node;
        uint32_t next; /* as in a write */
};

/* A task of the next step that has an input of its own. */
struct aip_graph_send {
        aip_value *input;
        uint32_t node;
};

/* Of a subgraph's node: where the run inside has come to, and what is on its way in and out. */
struct aip_graph_inside {
        aip_value *image;   /* it goes on from there; NULL: it begins */
        aip_value *answers; /* to its questions, an object by their ids inside; or NULL */
        aip_value *piece;   /* what it has come to since, to be saved (graph_image.h); or NULL */
        int is_sent;        /* the piece is on its way */
};

enum aip_graph_task_phase { AIP_TASK_PLANNED = 0, AIP_TASK_RUNNING, AIP_TASK_FINISHED };

struct aip_graph_task {
        struct aip_graph_state *state;
        void *memory;     /* the node's task_bytes, or NULL */
        aip_value *input; /* what was sent to it, or NULL */
        aip_value *
                question; /* it was interrupted and asks this (a subgraph: a list of what it asks); NULL: it was not */
        aip_value *answers;              /* a list, to its first questions; or NULL */
        aip_value *up;                   /* Commands to the parent (graph_inside.c), or NULL */
        struct aip_graph_inside *inside; /* of a subgraph's node, or NULL */
        aip_error *err;
        uint32_t node;
        uint32_t first_write, last_write; /* index + 1; 0: none */
        uint32_t first_jump, last_jump;   /* likewise */
        uint32_t n_asked;                 /* questions since it began */
        uint32_t n_attempts;              /* begun */
        uint8_t phase;                    /* enum aip_graph_task_phase */
        uint8_t is_cancelled;             /* the node's cancel was called */
        uint8_t is_saved;                 /* what it has said was told to the run's saver */
        uint8_t is_leaving;               /* its node's edges are not followed */
};

/* What asynchronous tasks ask of whoever drives the run. */
struct aip_graph_host {
        struct aip_loop loop;
        int64_t deadline_ms;
        void (*finished)(struct aip_graph_host *host, aip_graph_task *task);
        void (*progressed)(struct aip_graph_host *host, aip_graph_task *task);
        void (*emitted)(struct aip_graph_host *host, const aip_graph_task *task,
                        const aip_value *value); /* NULL: nobody listens */
        /* Of tasks that are subgraphs: run what is inside; ask it to stop; there is a piece to save. */
        void (*begin_inside)(struct aip_graph_host *host, aip_graph_task *task);
        void (*cancel_inside)(struct aip_graph_host *host, aip_graph_task *task);
        void (*inside_came)(struct aip_graph_host *host, aip_graph_task *task);
};

struct aip_graph_state {
        const aip_graph *graph; /* borrowed */
        void *context;
        struct aip_graph_host *host;  /* NULL: no asynchronous nodes */
        int32_t step;                 /* 0 before the first */
        int32_t first_step;           /* where this run began: 0, or its image's */
        int32_t step_limit;           /* counted from there */
        struct aip_graph_slot *slots; /* one a channel */
        uint64_t *next;               /* a bit a node: runs in the next step */
        uint64_t *arrived;            /* a bit a source of a join: has run */
        struct aip_graph_task *tasks; /* of this step: in node order, then sends in their order */
        struct aip_graph_write *writes;
        struct aip_graph_jump *jumps; /* of this step's tasks */
        struct aip_graph_send *sends; /* to the next step */
        uint64_t
                *halts; /* a bit a node before which the run halts, then one after which; or NULL */
        aip_value *held; /* the run has halted, and this is its question; NULL: it has not */
        aip_value
                *ups; /* a list: Commands to the parent; the run has ended; NULL: there were none */
        aip_value **overlay; /* one a channel: a router's private view; NULL until needed */
        uint32_t n_tasks, tasks_capacity, inline_tasks;
        uint32_t n_writes, writes_capacity;
        uint32_t n_jumps, jumps_capacity;
        uint32_t n_sends, sends_capacity;
        int32_t n_pieces; /* saved of runs inside this step's tasks */
        const char *
                ns; /* of a subgraph's run: its name and those around it, each before a '|'; or NULL */
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

/* Write the input (an object, or NULL): its members go to the channels. No edge is followed. */
int aip_graph_write_input(struct aip_graph_state *state, const aip_value *input, aip_error **err);
/* The same, and follow the edges of __start__. */
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
/* One that has finished is as if it had not begun, but for its count of attempts and its answers. */
void aip_graph_task_reset(aip_graph_task *task);
/* Give a failed task's error to its node's handler, if it has one: its error is then gone, or another. */
void aip_graph_task_handle_error(aip_graph_task *task);

/* Halt before, and after, the nodes of these names ("*": all). Before feed or load, at most once. */
int aip_graph_set_halts(struct aip_graph_state *state, const char *const *before, size_t n_before,
                        const char *const *after, size_t n_after, aip_error **err);

/* All tasks have finished, or the run has halted: whether an answer is waited for. Then there is nothing
 * to merge yet: the run ends here, and goes on from its image. */
int aip_graph_is_interrupted(const struct aip_graph_state *state);
/* The open questions, a list of {"id", "node", "value"}, owned by caller; NULL when out of memory. */
aip_value *aip_graph_questions(const struct aip_graph_state *state);
/* Give answers: an object with ids of open questions as members, or, to the only question, anything. The
 * tasks that got one are planned again; those that finished, or got none, stay as they are. */
int aip_graph_answer(struct aip_graph_state *state, const aip_value *answers, aip_error **err);
/* Those of `answers` (an object with ids of questions as members) whose question is open. */
int aip_graph_answer_open(struct aip_graph_state *state, const aip_value *answers, aip_error **err);

/* "STEP:NODE", and ":PLACE" for one that was sent an input: the same when the step runs again. */
#define AIP_GRAPH_TASK_ID_BYTES 320
void aip_graph_task_id(const aip_graph_task *task, char ret_id[AIP_GRAPH_TASK_ID_BYTES]);

/* All tasks have finished: merge their writes and follow their edges. A failed task fails it: the
 * first by order that was not just cancelled. */
int aip_graph_merge(struct aip_graph_state *state, aip_error **err);

/* The channels as one object, owned by caller; NULL when out of memory. The state is left empty. */
aip_value *aip_graph_state_take_object(struct aip_graph_state *state);

/* Between the files of the core. */

/* Inline room of a run's block. */
#define AIP_GRAPH_INLINE_TASKS  4u
#define AIP_GRAPH_INLINE_WRITES 8u

void aip_graph_release_tasks(struct aip_graph_state *state);
void aip_graph_release_writes(struct aip_graph_state *state);
void aip_graph_release_overlay(struct aip_graph_state *state);

/* Room for one more of `n` elements of `bytes` each; an array that outgrows the run's block, where it
 * had `in_block` elements, moves to the heap. NULL when out of memory; the old one then stays. */
void *aip_graph_make_room(void *array, uint32_t n, uint32_t *capacity, uint32_t in_block,
                          size_t bytes);

static inline const struct aip_graph_node *aip_graph_node_of(const aip_graph_task *task)
{
        return &task->state->graph->nodes[task->node];
}

static inline int aip_graph_task_is_subgraph(const aip_graph_task *task)
{
        const struct aip_node_options *options = &aip_graph_node_of(task)->options;
        return options->subgraph.graph || options->find_subgraph;
}

/* Keep the first error: a task or a route named a channel (by name, or else by index) that is not. */
void aip_graph_fail_channel(const struct aip_graph_state *state, const char *channel,
                            uint32_t index, aip_error **err);
/* Fail with what a node, or the run's input, did wrong. `cause` is consumed always. */
int aip_graph_fail_at(const struct aip_graph_state *state, uint32_t node, aip_error *cause,
                      aip_error **err);

/* What the task has said so far does not count. */
void aip_graph_take_back(aip_graph_task *task);
/* An update object's members become the task's writes, in order. */
void aip_graph_write_object(aip_graph_task *task, const aip_value *update);
/* Make a task of the state; the node's index may be the boundary's, for the input. */
aip_graph_task aip_graph_task_make(struct aip_graph_state *state, uint32_t node, aip_value *input);

/* Add a task to the step that begins. `input` is consumed always. */
int aip_graph_add_task(struct aip_graph_state *state, uint32_t node, aip_value *input,
                       aip_error **err);
/* From here on, what channels become is a change. */
void aip_graph_mark_saved(struct aip_graph_state *state);

/* The tasks of a step were merged (there are none after the input), and it is known what is next: halt
 * here? Only with state->halts. */
int aip_graph_halt(struct aip_graph_state *state, aip_error **err);
int aip_graph_is_halted_by(const struct aip_graph_state *state, struct aip_str id);

/* Subgraphs (graph_inside.c). */

/* The task's, made when it has none; NULL when out of memory. */
struct aip_graph_inside *aip_graph_inside_of(aip_graph_task *task);
void aip_graph_inside_free(aip_graph_task *task);
/* The name of what runs inside, "NODE:TASK_ID". */
#define AIP_GRAPH_NAMESPACE_BYTES 580
void aip_graph_namespace(const aip_graph_task *task, char ret_ns[AIP_GRAPH_NAMESPACE_BYTES]);
/* A text behind the namespace, "NODE:TASK_ID|TEXT"; NULL when out of memory. */
aip_value *aip_graph_inside_name(const aip_graph_task *task, struct aip_str text);
/* Whether `name` is such a text; *ret_text is what is behind. */
int aip_graph_is_inside_name(const aip_graph_task *task, struct aip_str name,
                             struct aip_str *ret_text);
/* The run inside was interrupted: finish the task next. The values are consumed always. */
void aip_graph_inside_ask(aip_graph_task *task, aip_value *questions, aip_value *image);
/* One of its questions is answered. */
int aip_graph_inside_answer(aip_graph_task *task, struct aip_str id, const aip_value *answer,
                            aip_error **err);
/* Add what the run inside asks to a list of questions; *list becomes NULL when out of memory. */
void aip_graph_inside_add_questions(const aip_graph_task *task, aip_value **list);
/* The task's Commands to the parent, out of the step's order of tasks, become the run's. */
int aip_graph_gather_ups(struct aip_graph_state *state, aip_error **err);
/* What a run inside had to say to its parent becomes what the task says. */
void aip_graph_take_ups(aip_graph_task *task, const aip_value *ups);

/* Name nodes of the next step. `input` is consumed always. */
void aip_graph_name_next(struct aip_graph_state *state, uint32_t node);
int aip_graph_send_next(struct aip_graph_state *state, uint32_t node, aip_value *input,
                        aip_error **err);
/* Edges, routers and joins of a node that ran (or of __start__). With `has_overlay` routers read
 * state->overlay before the slots. */
int aip_graph_follow(struct aip_graph_state *state, uint32_t from, int has_overlay,
                     aip_error **err);
/* The same for a task that has finished, unless it leaves them aside. */
int aip_graph_follow_task(struct aip_graph_state *state, const aip_graph_task *task,
                          int has_overlay, aip_error **err);
/* The task's own Commands. */
int aip_graph_follow_jumps(struct aip_graph_state *state, aip_graph_task *task, aip_error **err);
/* Joins of which the last source has run name their targets. */
void aip_graph_follow_joins(struct aip_graph_state *state);

#endif
