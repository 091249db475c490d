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
};

#ifdef __cplusplus
#define AIP_GRAPH_RUN_INIT                                                                         \
        {                                                                                          \
                {}, sizeof(struct aip_graph_run), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0},            \
                        AIP_GRAPH_ENDED, 0, 0                                                      \
        }
#else
#define AIP_GRAPH_RUN_INIT                                                                         \
        {                                                                                          \
                {0}, sizeof(struct aip_graph_run), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0},           \
                        AIP_GRAPH_ENDED, 0, 0                                                      \
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
};

#define AIP_GRAPH_INVOKE_OPTIONS_INIT                                                              \
        {                                                                                          \
                sizeof(struct aip_graph_invoke_options), NULL, 0, NULL, NULL, NULL, NULL, NULL     \
        }

/* Run to the end in the calling thread, without a loop. AIP_EUNSUPPORTED, naming it, when a node is
 * asynchronous. `input` and `options` may be NULL. *ret_state is owned by caller. */
AIP_API int aip_graph_invoke(const aip_graph *graph, const aip_value *input,
                             const struct aip_graph_invoke_options *options, aip_value **ret_state,
                             aip_error **err);

AIP_END_DECLS

#endif
