/*
 * Running graphs (graph.h): as an asynchronous operation on a loop, or at once in the caller's
 * thread when no node is asynchronous.
 */
#ifndef AIPLAT_GRAPH_RUN_H
#define AIPLAT_GRAPH_RUN_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/graph.h>
#include <aiplat/op.h>
#include <aiplat/ports/cache.h>
#include <aiplat/ports/random.h>

AIP_BEGIN_DECLS

/*
 * How a run that did not fail has come to its end. An interrupted one has asked questions
 * (aip_graph_task_interrupt) and goes on from its image, with answers, as another run: at once or in
 * another process, once or several times.
 */
enum aip_graph_outcome { AIP_GRAPH_ENDED = 0, AIP_GRAPH_INTERRUPTED };

/*
 * Images. A run between two steps, or interrupted within one, as a value (plain JSON): all its channels
 * but the untracked ones, and where it stands. A run that is given an image and no input goes on there; with
 * an input, it keeps the channels, writes the input to them and begins at __start__ again. An image is
 * read by names: channels that the graph no longer has are left out; AIP_ESTATE when a node that is to
 * run is gone.
 *
 * Answers: an object whose members are ids of open questions; or, when one question is open, its answer.
 */

/*
 * Observers: who wants to see a run go. All is told on the loop thread and borrowed for the call, in the
 * order in which it happens; an observer must not end the run from within. Members may be NULL.
 */
struct aip_graph_observer_ops {
        size_t self_size;
        /* The nodes whose tasks begin now, one entry a task; those that had finished before the run went
         * on from its image are not among them. */
        void (*step_started)(void *self, int32_t step, const char *const *nodes, size_t n);
        void (*task_started)(void *self, const char *node, const char *task_id);
        /* Once a task, after its last attempt. `updates`: an object with what it wrote, a member a channel;
         * of several writes to one channel all, in a list, where the kind collects, else the last. NULL
         * when it failed, and (with `err` NULL too) when it asks a question. */
        void (*task_ended)(void *self, const char *node, const char *task_id,
                           const aip_value *updates, const aip_error *err);
        /* {"set": {…}, "append": {…}, "unset": […]}: how the step has changed the channels. */
        void (*step_ended)(void *self, int32_t step, const aip_value *changes);
        void (*custom)(void *self, const char *node, const char *task_id, const aip_value *value);
};

struct aip_graph_observer {
        const struct aip_graph_observer_ops *ops; /* NULL: nobody looks */
        void *self;
};

/*
 * Savers: who keeps a run, so that it can go on elsewhere after a crash. Each save is an operation: the
 * saver finishes it (aip_op_finish) when what it says is kept, or with the error with which the run then
 * fails. One is in flight at a time. What a save points to is borrowed until it is done.
 *
 * A run can go on from an image that has: the members of the last `place`; under "channels" what
 * the `changes` up to it make (aip_graph_apply_changes); under "pending" the elements of `tasks` saved since.
 */
enum aip_graph_save_kind {
        AIP_GRAPH_SAVE_STEP = 0, /* the input was written, or a step was merged */
        AIP_GRAPH_SAVE_TASKS     /* some tasks of the step that runs have finished, or ask */
};

struct aip_graph_save {
        struct aip_op op;
        enum aip_graph_save_kind kind;
        int32_t step;             /* of the last one that was merged */
        int is_input;             /* STEP: nothing has run since the input was written */
        int is_whole;             /* STEP: `changes` sets all there is; what was before does not count */
        const aip_value *place;   /* STEP: where the run stands: an image without channels */
        const aip_value *changes; /* STEP: {"set": {…}, "append": {…}, "unset": […]} */
        const aip_value *tasks;   /* TASKS: a list of [place among the step's tasks, what it has said] */
        int wants_whole;          /* set by the saver: let the next STEP be whole */
};

struct aip_graph_saver_ops {
        size_t self_size;
        void (*save)(void *self, struct aip_graph_save *save);
};

struct aip_graph_saver {
        const struct aip_graph_saver_ops *ops; /* NULL: the run is not kept */
        void *self;
};

/* When steps are saved. The first save, of the input, and those of tasks are never waited for, but they
 * are done before the run is. */
enum aip_graph_durability {
        AIP_GRAPH_SYNC = 0, /* before the next step begins */
        AIP_GRAPH_ASYNC,    /* while the next step runs */
        AIP_GRAPH_EXIT      /* once, before the run is done, however it ends */
};

/*
 * One run. Set op.done, and op.deadline_ms if it must end by then: between two steps it then ends
 * with AIP_ETIMEOUT; nodes in flight are cancelled first and waited for. The error of a failed node
 * begins with the node's name and keeps its code, kind and retry advice; it is the cause.
 */
struct aip_graph_run {
        struct aip_op op;
        size_t self_size; /* sizeof(struct aip_graph_run): AIP_GRAPH_RUN_INIT sets it */

        /* set by the caller, borrowed until done */
        const aip_graph *graph;
        const aip_value *input; /* an object: one member a channel to write first; or NULL */
        void *context;          /* for nodes and routers */
        int32_t step_limit;     /* 0: AIP_GRAPH_DEFAULT_STEP_LIMIT */

        /* result */
        int32_t ret_steps;    /* steps begun; set also on failure */
        aip_value *ret_state; /* an object: every channel that has a value, in declared order */

        void *impl; /* the runner's */

        /* set by the caller, borrowed until done */
        const aip_value *image;   /* where the run begins; NULL: at __start__ */
        const aip_value *answers; /* to the image's questions; or NULL */
        int wants_image;          /* also when it was not interrupted */
        struct aip_random
                random; /* for the waits of nodes that are tried again; without ops: the system's */

        /* result; values are owned by caller */
        enum aip_graph_outcome ret_outcome;
        aip_value *ret_questions; /* when interrupted: a list of {"id", "node", "value"} */
        aip_value *ret_image;     /* when interrupted, or wanted */

        /* set by the caller, borrowed until done */
        struct aip_graph_observer observer;
        struct aip_graph_saver saver;
        enum aip_graph_durability durability;
        /* `answers` are by id, and those whose question is not open (any more) are passed over: a run that goes
         * on once more, from wherever it had come to, is given what it was given before. */
        int passes_over_answers;

        /* Stop to be looked at before a step in which one of these nodes is to run, and after one in which
         * one has run; "*": all nodes. The run is then interrupted with one question, {"id", "node": the first
         * of them, "value": {"interrupt": "before" or "after", "nodes": […]}}; any answer lets it go on.
         * Borrowed until done. */
        const char *const *interrupt_before;
        size_t n_interrupt_before;
        const char *const *interrupt_after;
        size_t n_interrupt_after;
        int first_save_is_whole; /* the saver keeps it apart from what the image was made of */

        /* For nodes that are kept (aip_node_cache); ops NULL: none is. What runs of one space keep is found by
         * others of it: the graph's name, and what tells its versions apart. Of subgraphs the node is kept,
         * not those within it. Borrowed until done. */
        struct aip_cache cache;
        struct aip_str cache_space;
};

#ifdef __cplusplus
#define AIP_GRAPH_RUN_INIT                                                                         \
        {                                                                                          \
                {}, sizeof(struct aip_graph_run), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0},            \
                        AIP_GRAPH_ENDED, 0, 0, {0, 0}, {0, 0}, AIP_GRAPH_SYNC, 0, 0, 0, 0, 0, 0,   \
                        {0, 0}, {0, 0}                                                             \
        }
#else
#define AIP_GRAPH_RUN_INIT                                                                         \
        {                                                                                          \
                {0}, sizeof(struct aip_graph_run), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0},           \
                        AIP_GRAPH_ENDED, 0, 0, {0, 0}, {0, 0}, AIP_GRAPH_SYNC, 0, 0, 0, 0, 0, 0,   \
                        {0, 0}, {0, 0}                                                             \
        }
#endif

/* Begin; nodes start in later turns of the loop. Loop thread only. */
AIP_API void aip_graph_run_start(struct aip_loop loop, struct aip_graph_run *run);
/* Stop: nodes in flight are cancelled and waited for, then the run ends with AIP_ECANCELLED unless
 * its outcome was settled before. Idempotent; not before start nor after done. Loop thread only. */
AIP_API void aip_graph_run_cancel(struct aip_graph_run *run);

struct aip_graph_invoke_options {
        size_t self_size;
        void *context;            /* for nodes and routers */
        int32_t step_limit;       /* 0: AIP_GRAPH_DEFAULT_STEP_LIMIT */
        int32_t *ret_steps;       /* receives the steps begun, also on failure; or NULL */
        const aip_value *image;   /* as in a run */
        const aip_value *answers; /* likewise */
        /* Receive what a run's members of these names do; or NULL. Without ret_questions a graph that is
         * interrupted fails with AIP_ESTATE. */
        aip_value **ret_questions; /* stays NULL when the run was not interrupted */
        aip_value **ret_image;
        /* As in a run. */
        const char *const *interrupt_before;
        size_t n_interrupt_before;
        const char *const *interrupt_after;
        size_t n_interrupt_after;
        struct aip_graph_observer observer; /* told in the calling thread, while the graph runs */
};

#define AIP_GRAPH_INVOKE_OPTIONS_INIT                                                              \
        {                                                                                          \
                sizeof(struct aip_graph_invoke_options), NULL, 0, NULL, NULL, NULL, NULL, NULL,    \
                        NULL, 0, NULL, 0, {NULL, NULL}                                             \
        }

/*
 * Run to the end in the calling thread. `input` and `options` may be NULL. *ret_state is owned by caller.
 *
 * A graph of synchronous nodes that nobody watches runs at once, without any loop. Others get a loop of their own
 * meanwhile, the one of aip_graph_task_loop(): it has timers, and other threads may post to it, but no
 * descriptors (AIP_EUNSUPPORTED). A node that waits for something on another loop of this thread waits for
 * ever: run its graph there (aip_graph_run_start()).
 */
AIP_API int aip_graph_invoke(const aip_graph *graph, const aip_value *input,
                             const struct aip_graph_invoke_options *options, aip_value **ret_state,
                             aip_error **err);

AIP_END_DECLS

#endif
