/*
 * State graphs: nodes that read and write channels, and edges that say which nodes follow. A graph
 * is described with a builder, checked and compiled once, and then immutable: any number of runs,
 * on any threads, share it. graph_run.h runs it.
 *
 * A run goes in super-steps. All nodes of a step run side by side and see the state as it was when
 * the step began; when the last has finished, their writes are merged in the order of the nodes'
 * names (bytewise), and the edges of the nodes that ran decide the next step. A node that is named
 * by several of them runs once; one that was sent an input (a *send*) runs once for each, after the
 * others of the step and in the order of sending. The run ends when no node is next.
 *
 *      aip_graph_builder *b = aip_graph_builder_new();
 *      aip_graph_builder_add_channel(b, "count", AIP_CHANNEL_LAST_VALUE);
 *      aip_graph_builder_add_function(b, "work", work, NULL);
 *      aip_graph_builder_add_edge(b, AIP_GRAPH_START, "work");
 *      aip_graph_builder_add_edge(b, "work", AIP_GRAPH_END);
 *      if (aip_graph_compile(b, &graph, &err) < 0) …
 */
#ifndef AIPLAT_GRAPH_H
#define AIPLAT_GRAPH_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/ports/loop.h>
#include <aiplat/str.h>
#include <aiplat/value.h>

AIP_BEGIN_DECLS

typedef struct aip_graph aip_graph;
typedef struct aip_graph_builder aip_graph_builder;
typedef struct aip_graph_task aip_graph_task;   /* one execution of one node in one run */
typedef struct aip_graph_route aip_graph_route; /* one decision of one router */

#define AIP_GRAPH_START "__start__"
#define AIP_GRAPH_END   "__end__"

/* Steps a run may take unless it says otherwise. */
#define AIP_GRAPH_DEFAULT_STEP_LIMIT 1000

/* aip_error_kind() of what a run may fail with, beside its nodes' own errors. Static strings. */
#define AIP_GRAPH_INVALID_CONCURRENT_UPDATE "invalid_concurrent_graph_update"
#define AIP_GRAPH_INVALID_UPDATE            "invalid_graph_update"
#define AIP_GRAPH_INVALID_ROUTE             "invalid_graph_route"
#define AIP_GRAPH_STEP_LIMIT_REACHED        "graph_recursion_limit"

/*
 * Channels. The kind says how a write changes the value.
 */
enum aip_channel_kind {
        AIP_CHANNEL_LAST_VALUE = 0, /* replaced; two writes in one step are an error */
        AIP_CHANNEL_APPEND, /* a list; a written list is added element by element, anything else as
                             * one element; begins as [] */
        AIP_CHANNEL_ADD,    /* numbers summed; begins as 0; an integer overflow is an error */
        AIP_CHANNEL_MIN,    /* the least number written */
        AIP_CHANNEL_MAX,    /* the greatest number written */
        AIP_CHANNEL_MERGE,  /* an object; members of a written object are set in it; begins as {} */
        AIP_CHANNEL_REDUCER, /* your function decides */
        AIP_CHANNEL_MESSAGES, /* a list of chat messages: objects, merged by their "id"; begins as [] */
        AIP_CHANNEL_TOPIC,     /* the list of all that was written in the last step, and no more */
        AIP_CHANNEL_EPHEMERAL, /* as last value, but only the next step sees it */
        AIP_CHANNEL_UNTRACKED  /* as last value, but never part of a checkpoint */
};

/*
 * Messages. A message whose id is in the list takes that one's place, any other is added; one without
 * an id is given one, made of the step and the task, so that a step that is run again after a crash
 * makes the same. A string stands for a user's message. An object whose "role" or "type" is "remove"
 * removes the message that has its id, or, with the id below, all that came before it.
 */
#define AIP_GRAPH_REMOVE_ALL "__remove_all__"

/* An object with this one member, written to a channel, replaces its value, whatever the kind would
 * do: {"__overwrite__": […]}. At most once in a step and channel; the step's other writes to it are
 * lost. */
#define AIP_GRAPH_OVERWRITE "__overwrite__"

/*
 * Change *value by `update` (borrowed). *value is NULL when the channel has none yet; it is owned
 * by the function while it runs and may be changed in place or replaced. Return 0 or an AIP_E… code
 * with *err set. Several threads may call it at once when runs of several threads share the graph.
 */
typedef int (*aip_graph_reducer)(void *user, aip_value **value, const aip_value *update,
                                 aip_error **err);

struct aip_channel_options {
        size_t self_size;
        enum aip_channel_kind kind;
        const aip_value *initial; /* borrowed, copied deeply; NULL: as the kind says */
        aip_graph_reducer reduce; /* for AIP_CHANNEL_REDUCER, else NULL */
        void *user;               /* for reduce */
        /* Called once when the graph, or the builder, is freed; or NULL. */
        void (*free_user)(void *user);
};

#define AIP_CHANNEL_OPTIONS_INIT                                                                   \
        {                                                                                          \
                sizeof(struct aip_channel_options), AIP_CHANNEL_LAST_VALUE, NULL, NULL, NULL, NULL \
        }

/*
 * Nodes. A node is either a function that returns its update, or asynchronous: `start` begins the
 * work and aip_graph_task_finish() ends it, once, from within start or later on the loop thread.
 */

/* Runs to its end. *ret_update (NULL when called): an object, one member a channel to write, owned
 * by the engine from then on; or leave it NULL. Return 0 or an AIP_E… code with *err set. */
typedef int (*aip_graph_function)(void *user, aip_graph_task *task, aip_value **ret_update,
                                  aip_error **err);

/*
 * Failed attempts. A task whose error may pass (aip_error_is_retryable(), or what is_retryable says)
 * runs again from its start, after a wait: an even draw from nothing to initial_ms × factor^(attempts
 * so far − 1), at most max_ms ("full jitter"), beside what a peer has asked for (retry_after_ms). It does
 * not when the run's deadline would pass meanwhile. What the failed attempt wrote does not count.
 */
struct aip_node_retry {
        uint32_t max_attempts;                                   /* in all; 0 and 1: one */
        uint32_t initial_ms;                                     /* 0: 500 */
        uint32_t max_ms;                                         /* 0: 128,000 */
        double factor;                                           /* 0: 2; else from 1 to 100 */
        int (*is_retryable)(void *user, const aip_error *error); /* NULL: as the error says */
};

/* What to do when the last attempt has failed: write and name nodes as the node itself may, and return
 * 0; or return an error, with *err set, that takes the place of `error`. */
typedef int (*aip_graph_error_handler)(void *user, aip_graph_task *task, const aip_error *error,
                                       aip_value **ret_update, aip_error **err);

/*
 * Subgraphs: a node whose work is a run of another graph, of which every task of the node has its own.
 * It shares the outer run's context, deadline, observer, saver and cancel; its steps are counted by
 * themselves. In the outer run's image it has a name, NODE:TASK_ID, which for a subgraph within a subgraph
 * is joined to the outer one's by '|' ("plan:2:plan|ask:1:ask"); what is told of it to an observer, and the
 * ids of its questions, begin with that and a '|'. A run that goes on from an image goes on inside, too. A
 * node that is tried again begins its subgraph anew; one that fails has the error of the node inside.
 */
#define AIP_GRAPH_MAX_DEPTH 8 /* levels of subgraphs below a run */

struct aip_subgraph {
        aip_graph *graph;
        int32_t step_limit; /* 0: the default; the others: as in a run (graph_run.h) */
        /* Borrowed while the graph that has the node lives; of find_subgraph: while the subgraph does. */
        const char *const *interrupt_before;
        size_t n_interrupt_before;
        const char *const *interrupt_after;
        size_t n_interrupt_after;
};

/* Set ret_subgraph->graph to a reference, which the engine owns from then on, when the node begins; also
 * when it goes on from an image. Return 0 or an AIP_E… code with *err set. */
typedef int (*aip_subgraph_finder)(void *user, aip_graph_task *task,
                                   struct aip_subgraph *ret_subgraph, aip_error **err);
/* State in: what the subgraph is fed, an object of its channels; or leave *ret_input NULL. */
typedef int (*aip_subgraph_input)(void *user, aip_graph_task *task, aip_value **ret_input,
                                  aip_error **err);
/* State out: `state` is what the subgraph ended with; write as a node's function does. */
typedef int (*aip_subgraph_output)(void *user, aip_graph_task *task, const aip_value *state,
                                   aip_value **ret_update, aip_error **err);

/*
 * What a node has written may be kept, and written again instead of running it: of a run that has a cache
 * (graph_run.h), when the node finds the same key again within the time. Kept is what a task has said that
 * succeeded and asked nothing: its writes and Commands. A cache that is away, or has forgotten, costs a run of
 * the node and nothing else. (LangGraph's CachePolicy.)
 */
struct aip_node_cache {
        int32_t ttl_s; /* how long; 0: not kept */
        /* Append what the result depends on; an empty key, or a failure: this task is not kept. NULL: the
         * whole state, but for untracked channels, and what was sent to the task. */
        int (*key)(void *user, aip_graph_task *task, struct aip_buf *key, aip_error **err);
        void *user;                    /* for key */
        void (*free_user)(void *user); /* called once when the graph, or the builder, is freed; or NULL */
};

struct aip_node_options {
        size_t self_size;
        aip_graph_function run; /* a synchronous node; or NULL, and: */
        void (*start)(void *user, aip_graph_task *task);
        /* Required with start. Called at most once, between start's return and the finish; the task
         * must still finish, soon, with AIP_ECANCELLED or with whatever it had reached. */
        void (*cancel)(void *user, aip_graph_task *task);
        size_t task_bytes; /* zeroed memory for each task of the node: aip_graph_task_memory() */
        void *user;        /* shared by all runs */
        /* Called once when the graph, or the builder, is freed; or NULL. */
        void (*free_user)(void *user);
        /* Every node, and AIP_GRAPH_END, that the node itself may go to or send to (a Command); borrowed
         * during the call. */
        const char *const *targets;
        size_t n_targets;
        int is_deferred; /* when its turn comes, it waits until nothing else is left to run */
        struct aip_node_retry retry;
        /* Of one attempt, asynchronous nodes only; 0: none. When one passes, the node is cancelled, and
         * the attempt has failed with AIP_ETIMEOUT, which may be tried again. */
        uint32_t timeout_ms;      /* from its start */
        uint32_t idle_timeout_ms; /* from its start, or its last aip_graph_task_progress() */
        aip_graph_error_handler on_error; /* or NULL */
        /* A subgraph, instead of run and start: either the graph (the node takes a reference), or a function
         * that finds it. enter NULL: it is fed nothing; leave NULL: nothing is written. */
        struct aip_subgraph subgraph;
        aip_subgraph_finder find_subgraph;
        aip_subgraph_input enter;
        aip_subgraph_output leave;
        struct aip_node_cache cache;
};

#define AIP_NODE_OPTIONS_INIT                                                                      \
        {                                                                                          \
                sizeof(struct aip_node_options), NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, 0,      \
                        {0, 0, 0, 0, NULL}, 0, 0, NULL, {NULL, 0, NULL, 0, NULL, 0}, NULL, NULL,   \
                        NULL, {0, NULL, NULL, NULL}                                                \
        }

/* What a node may do with its task: from run or start until it has finished. Loop thread only. */

/* The channel's value when the step began; NULL: it has none. Borrowed until the task finishes;
 * take a reference to keep it. A channel that the graph does not have fails the task. */
AIP_API const aip_value *aip_graph_task_get(aip_graph_task *task, const char *channel);
/* The same by index: channels are numbered from 0 in the order in which they were added. */
AIP_API const aip_value *aip_graph_task_get_at(aip_graph_task *task, uint32_t channel);

/* Write a channel, beside or instead of an update object. `value` is consumed always; NULL means
 * out of memory, so that aip_value_int(…) can be passed as it is. Failures (also: no such channel)
 * are kept and fail the task when it finishes. */
AIP_API void aip_graph_task_write(aip_graph_task *task, const char *channel, aip_value *value);
AIP_API void aip_graph_task_write_at(aip_graph_task *task, uint32_t channel, aip_value *value);

/* Replace the channel's value, whatever its kind would do with a write (AIP_GRAPH_OVERWRITE). */
AIP_API void aip_graph_task_overwrite(aip_graph_task *task, const char *channel, aip_value *value);

/* What was sent to this task; NULL for a task that an edge or a router named. Borrowed likewise. */
AIP_API const aip_value *aip_graph_task_input(const aip_graph_task *task);

/* Name a node that runs in the next step, beside those that the node's edges name (a Command), or
 * AIP_GRAPH_END, which names none. A target that the node did not declare fails the task. */
AIP_API void aip_graph_task_goto(aip_graph_task *task, const char *target);
/* Leave the node's edges, routers and joins aside: only what the task itself names comes next. */
AIP_API void aip_graph_task_leave(aip_graph_task *task);
/* Run `target` in the next step with an input of its own, once for each call. `input` is consumed
 * always; NULL means out of memory. */
AIP_API void aip_graph_task_send(aip_graph_task *task, const char *target, aip_value *input);

/* The same in the run around this one, of a node inside a subgraph: a Command to the parent. The subgraph
 * ends with this step: what was said so takes the place of its output (`leave`), of all tasks of the step in
 * their order. The targets are those that the subgraph's node has declared. In a run that is not inside
 * another it fails the task. `value` and `input` are consumed always. */
AIP_API void aip_graph_task_parent_write(aip_graph_task *task, const char *channel,
                                         aip_value *value);
AIP_API void aip_graph_task_parent_goto(aip_graph_task *task, const char *target);
AIP_API void aip_graph_task_parent_send(aip_graph_task *task, const char *target, aip_value *input);

/*
 * Ask whoever watches the run, and wait for the answer: the step's other tasks go on, then the run ends
 * *interrupted*, with `question` (borrowed; NULL reads as null) for all to see. Returns NULL: finish at
 * once, what you say is dropped. When the run is resumed the node runs again from its start, and the
 * call returns the answer, borrowed until the task finishes. Several calls in one task are answered in
 * their order, so a node must ask the same questions each time it runs.
 */
AIP_API const aip_value *aip_graph_task_interrupt(aip_graph_task *task, const aip_value *question);

/* Tell the run's observer something (graph_run.h) while the task goes on; nobody else sees it, and it is
 * no part of the state. `value` is borrowed for the call. */
AIP_API void aip_graph_task_emit(aip_graph_task *task, const aip_value *value);

AIP_API void *aip_graph_task_context(const aip_graph_task *task); /* the run's context pointer */
AIP_API const char *aip_graph_task_node(const aip_graph_task *task);
AIP_API int32_t aip_graph_task_step(const aip_graph_task *task);     /* 1: the first */
AIP_API uint32_t aip_graph_task_attempt(const aip_graph_task *task); /* 1: the first */

/* For asynchronous nodes. */

/* The node's task_bytes, zeroed before start, in place until the task has finished. */
AIP_API void *aip_graph_task_memory(const aip_graph_task *task);
AIP_API struct aip_loop aip_graph_task_loop(const aip_graph_task *task);
/* Loop time at which the run ends with AIP_ETIMEOUT; 0: never. */
AIP_API int64_t aip_graph_task_deadline_ms(const aip_graph_task *task);
/* The task is alive: its idle time-out begins anew. */
AIP_API void aip_graph_task_progress(aip_graph_task *task);
/*
 * The task is done. `update` (an object, or NULL) and `err` (NULL: success) are consumed always;
 * the task and its memory must not be used afterwards. Exactly once: a second call while the step
 * lasts is ignored, later it is an error of the caller like any use of freed memory.
 */
AIP_API void aip_graph_task_finish(aip_graph_task *task, aip_value *update, aip_error *err);

/*
 * Routers: conditional edges. A router runs after its node and sees the state with that node's own
 * writes (not those of its neighbours in the step). It names one or several of its declared
 * targets. Return 0 or an AIP_E… code with *err set.
 */
typedef int (*aip_graph_router)(void *user, aip_graph_route *route, aip_error **err);

AIP_API const aip_value *aip_graph_route_get(aip_graph_route *route, const char *channel);
AIP_API const aip_value *aip_graph_route_get_at(aip_graph_route *route, uint32_t channel);
AIP_API void *aip_graph_route_context(const aip_graph_route *route); /* the run's */
/* Go to `target`, a node's name or AIP_GRAPH_END. One that was not declared fails the run, and so
 * does a router that names none. */
AIP_API void aip_graph_route_to(aip_graph_route *route, const char *target);
/* The same by its place in the router's list of targets, from 0. */
AIP_API void aip_graph_route_to_nth(aip_graph_route *route, uint32_t nth);
/* Run `target`, a declared node, in the next step with an input of its own, once for each call.
 * `input` is consumed always; NULL means out of memory. */
AIP_API void aip_graph_route_send(aip_graph_route *route, const char *target, aip_value *input);
/* Name no target: the branch ends here. */
AIP_API void aip_graph_route_nowhere(aip_graph_route *route);

struct aip_router_options {
        size_t self_size;
        aip_graph_router route;
        const char *const *targets; /* every target it may name; borrowed during the call */
        size_t n_targets;
        void *user;
        /* Called once when the graph, or the builder, is freed; or NULL. */
        void (*free_user)(void *user);
};

#define AIP_ROUTER_OPTIONS_INIT                                                                    \
        {                                                                                          \
                sizeof(struct aip_router_options), NULL, NULL, 0, NULL, NULL                       \
        }

/*
 * The builder. Its functions return nothing: the first thing that goes wrong is kept and reported
 * by aip_graph_compile(). Names are copied: 1–255 bytes of valid UTF-8 without control characters,
 * ':' and '|', and not beginning with "__". A NULL builder is taken for out of memory. `user`
 * pointers given with a free_user are consumed always.
 */
AIP_API aip_graph_builder *aip_graph_builder_new(void); /* NULL when out of memory */
/* For a builder that is not compiled after all; accepts NULL. */
AIP_API void aip_graph_builder_free(aip_graph_builder *builder);

AIP_API void aip_graph_builder_add_channel(aip_graph_builder *builder, const char *name,
                                           enum aip_channel_kind kind);
AIP_API void aip_graph_builder_add_channel_with(aip_graph_builder *builder, const char *name,
                                                const struct aip_channel_options *options);
AIP_API void aip_graph_builder_add_function(aip_graph_builder *builder, const char *name,
                                            aip_graph_function run, void *user);
AIP_API void aip_graph_builder_add_node(aip_graph_builder *builder, const char *name,
                                        const struct aip_node_options *options);
/* `from` may be AIP_GRAPH_START, `to` AIP_GRAPH_END. Nodes may be added before or after. */
AIP_API void aip_graph_builder_add_edge(aip_graph_builder *builder, const char *from,
                                        const char *to);
AIP_API void aip_graph_builder_add_router(aip_graph_builder *builder, const char *from,
                                          const struct aip_router_options *options);
/* A join: `to` runs in the step after the last of the nodes `from` has run, whichever step each of
 * them ran in; then it waits for all of them again. */
AIP_API void aip_graph_builder_add_join(aip_graph_builder *builder, const char *const *from,
                                        size_t n_from, const char *to);

/*
 * Check and compile. The builder is consumed always. Errors name the node or channel and the
 * reason: AIP_EINVAL for a bad name, an edge from or to something missing, no edge from __start__,
 * nodes that cannot be reached, nodes from which __end__ cannot be reached, initial values that do
 * not fit their channel; AIP_ECONFLICT for a name used twice.
 */
AIP_API int aip_graph_compile(aip_graph_builder *builder, aip_graph **ret_graph, aip_error **err);

AIP_API aip_graph *aip_graph_ref(const aip_graph *graph); /* any thread; NULL for NULL */
AIP_API void aip_graph_unref(aip_graph *graph);           /* any thread; accepts NULL */

/*
 * Change an object of channels, as an image has it, by what a run has told of a step (graph_run.h):
 * {"set": {…}, "append": {…}, "unset": […]}. *channels is owned, and changed in place where it can be;
 * after a failure it is still owned by the caller, and good for nothing but to be released.
 */
AIP_API int aip_graph_apply_changes(aip_value **channels, const aip_value *changes,
                                    aip_error **err);

/*
 * Write to the state of a run that stands still, as LangGraph's update_state does: the image of it (graph_run.h)
 * becomes another, from which a run goes on as from any. Pure; any thread, but for what the graph's routers
 * do. Reducers see the values as they see those of a node.
 *
 * as_node NULL: what comes next stays as it was, open questions and what finished tasks of the step have said
 * included. A node's name: as if that node had run and written them: what comes next is where its edges lead,
 * and nothing else; AIP_GRAPH_START likewise, with the edges of the start; AIP_GRAPH_END: nothing comes next.
 */
struct aip_graph_update {
        size_t self_size;

        /* set by the caller, borrowed */
        const aip_value *image;  /* NULL: of a run that has not begun */
        const aip_value *values; /* an object, a member a channel; or NULL */
        const char *as_node;
        void *context; /* for routers */

        /* result, owned by caller */
        aip_value *ret_image;
        aip_value *ret_changes; /* of its channels: for aip_graph_apply_changes() on the former ones */
};

#define AIP_GRAPH_UPDATE_INIT                                                                      \
        {                                                                                          \
                sizeof(struct aip_graph_update), NULL, NULL, NULL, NULL, NULL, NULL                \
        }

/* AIP_EINVAL: the graph has no such node or channel, or the channel cannot take the value; AIP_ESTATE: the
 * image goes on at a node that the graph has no more. */
AIP_API int aip_graph_update_state(const aip_graph *graph, struct aip_graph_update *update,
                                   aip_error **err);

AIP_API int aip_graph_has_channel(const aip_graph *graph, struct aip_str name);
/* Non-zero: no node is asynchronous or a subgraph, so that aip_graph_invoke() needs no loop. */
AIP_API int aip_graph_is_synchronous(const aip_graph *graph);

AIP_END_DECLS

#endif
