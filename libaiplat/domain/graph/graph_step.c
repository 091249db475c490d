/*
 * The pure core of a run: one super-step at a time over a compiled graph. Called by the drivers in
 * application/graph_runner.c. Everything is an index here; names appear only in errors and in
 * update objects. A run's arrays live in one block that the driver gives; they move to the heap
 * only when a step has more tasks or writes than usual.
 */
#include "graph/graph_step.h"
#include "graph/channels.h"
#include "macros.h"
#include "mem.h"

#define INLINE_TASKS  4u
#define INLINE_WRITES 8u

static size_t words_of(const aip_graph *graph)
{
        return ((size_t)graph->n_nodes + 63) / 64;
}

static uint32_t inline_tasks_of(const aip_graph *graph)
{
        return AIP_MIN(graph->n_nodes, INLINE_TASKS);
}

size_t aip_graph_state_bytes(const aip_graph *graph)
{
        return graph->n_channels * sizeof(struct aip_graph_slot) +
               words_of(graph) * sizeof(uint64_t) +
               inline_tasks_of(graph) * sizeof(struct aip_graph_task) +
               INLINE_WRITES * sizeof(struct aip_graph_write);
}

/* Point the arrays into the block. */
static void lay_out(struct aip_graph_state *state, char *memory)
{
        const aip_graph *graph = state->graph;
        state->block = memory;
        state->slots = (void *)memory;
        memory += graph->n_channels * sizeof(struct aip_graph_slot);
        state->next = (void *)memory;
        memory += words_of(graph) * sizeof(uint64_t);
        state->tasks = (void *)memory;
        state->tasks_capacity = state->inline_tasks = inline_tasks_of(graph);
        memory += state->tasks_capacity * sizeof(struct aip_graph_task);
        state->writes = (void *)memory;
        state->writes_capacity = INLINE_WRITES;
}

int aip_graph_state_init(struct aip_graph_state *state, const aip_graph *graph, void *memory,
                         void *context, int32_t step_limit, aip_error **err)
{
        memset(state, 0, sizeof(*state));
        memset(memory, 0, aip_graph_state_bytes(graph));
        state->graph = graph;
        state->context = context;
        state->step_limit = step_limit ? step_limit : AIP_GRAPH_DEFAULT_STEP_LIMIT;
        lay_out(state, memory);
        for (uint32_t i = 0; i < graph->n_channels; i++) {
                state->slots[i].written_step = -1;
                int code = aip_channel_begin(&graph->channels[i], &state->slots[i].value, err);
                if (code < 0)
                        return code;
        }
        return 0;
}

static void release_tasks(struct aip_graph_state *state)
{
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                aip_free(state->tasks[i].memory);
                aip_error_free(state->tasks[i].err);
        }
        state->n_tasks = 0;
}

static void release_writes(struct aip_graph_state *state)
{
        for (uint32_t i = 0; i < state->n_writes; i++)
                aip_value_unref(state->writes[i].value);
        state->n_writes = 0;
}

static void release_overlay(struct aip_graph_state *state)
{
        for (uint32_t i = 0; state->overlay && i < state->graph->n_channels; i++)
                aip_value_unref(AIP_TAKE(state->overlay[i]));
}

void aip_graph_state_deinit(struct aip_graph_state *state)
{
        if (!state->graph)
                return;
        release_tasks(state);
        release_writes(state);
        release_overlay(state);
        for (uint32_t i = 0; i < state->graph->n_channels; i++)
                aip_value_unref(state->slots[i].value);
        aip_free(state->overlay);
        if (state->tasks_capacity > state->inline_tasks)
                aip_free(state->tasks);
        if (state->writes_capacity > INLINE_WRITES)
                aip_free(state->writes);
        state->graph = NULL;
}

const char *aip_graph_first_async(const aip_graph *graph)
{
        return graph->first_async < graph->n_nodes ? graph->nodes[graph->first_async].name : NULL;
}

/* Errors. */

static const struct aip_graph_node *node_of(const aip_graph_task *task)
{
        return &task->state->graph->nodes[task->node];
}

/* Who wrote: the node, or the run's input. */
static int fail_at(const struct aip_graph_state *state, uint32_t node, aip_error *cause,
                   aip_error **err)
{
        int code = aip_error_code(cause);
        const char *message = aip_error_message(cause);
        if (node == state->graph->n_nodes)
                return aip_error_wrap(err, cause, code, "input: %s", message);
        return aip_error_wrap(err, cause, code, "node \"%s\": %s", state->graph->nodes[node].name,
                              message);
}

/* Keep the first thing that went wrong in a task. */
static void keep_error(aip_graph_task *task, aip_error *err)
{
        if (task->err)
                aip_error_free(err);
        else
                task->err = err;
}

static void keep_nomem(aip_graph_task *task)
{
        if (!task->err)
                aip_error_set_nomem(&task->err);
}

/* Tasks: reading. */

static uint32_t find(const struct aip_graph_state *state, const char *channel)
{
        return aip_graph_find_channel(state->graph, aip_str_of(channel), 0);
}

static void fail_channel(const struct aip_graph_state *state, const char *channel, uint32_t index,
                         aip_error **err)
{
        if (*err)
                return;
        if (channel)
                aip_error_set(err, AIP_EINVAL, "the graph has no channel \"%s\"", channel);
        else
                aip_error_set(err, AIP_EINVAL, "the graph has no channel %u, it has %u", index,
                              state->graph->n_channels);
        aip_error_set_kind(*err, AIP_GRAPH_INVALID_UPDATE);
}

const aip_value *aip_graph_task_get_at(aip_graph_task *task, uint32_t channel)
{
        struct aip_graph_state *state = task->state;
        if (channel < state->graph->n_channels)
                return state->slots[channel].value;
        fail_channel(state, NULL, channel, &task->err);
        return NULL;
}

const aip_value *aip_graph_task_get(aip_graph_task *task, const char *channel)
{
        uint32_t index = find(task->state, channel);
        if (index != AIP_GRAPH_NO_INDEX)
                return task->state->slots[index].value;
        fail_channel(task->state, channel, 0, &task->err);
        return NULL;
}

void *aip_graph_task_context(const aip_graph_task *task)
{
        return task->state->context;
}

const char *aip_graph_task_node(const aip_graph_task *task)
{
        return aip_graph_source_name(task->state->graph, task->node);
}

int32_t aip_graph_task_step(const aip_graph_task *task)
{
        return task->state->step;
}

void *aip_graph_task_memory(const aip_graph_task *task)
{
        return task->memory;
}

struct aip_loop aip_graph_task_loop(const aip_graph_task *task)
{
        const struct aip_graph_host *host = task->state->host;
        return host ? host->loop : (struct aip_loop){NULL, NULL};
}

int64_t aip_graph_task_deadline_ms(const aip_graph_task *task)
{
        const struct aip_graph_host *host = task->state->host;
        return host ? host->deadline_ms : 0;
}

/* Tasks: writing. */

/* Room for one more of `n`; arrays that outgrow the run's block move to the heap. */
static void *make_room(void *array, uint32_t n, uint32_t *capacity, uint32_t in_block, size_t bytes)
{
        if (n < *capacity)
                return array;
        uint32_t more = *capacity ? *capacity * 2 : INLINE_TASKS;
        if (more > UINT32_MAX / 4)
                return NULL;
        int is_in_block = *capacity == in_block;
        void *grown = aip_realloc_array(is_in_block ? NULL : array, more, bytes);
        if (!grown)
                return NULL;
        if (is_in_block && n > 0)
                memcpy(grown, array, n * bytes);
        *capacity = more;
        return grown;
}

/* `value` is consumed always. */
static void add_write(aip_graph_task *task, uint32_t channel, aip_value *value)
{
        struct aip_graph_state *state = task->state;
        struct aip_graph_write *writes =
                make_room(state->writes, state->n_writes, &state->writes_capacity, INLINE_WRITES,
                          sizeof(*writes));
        if (!value || !writes) {
                aip_value_unref(value);
                keep_nomem(task);
                if (writes)
                        state->writes = writes;
                return;
        }
        state->writes = writes;
        writes[state->n_writes++] = (struct aip_graph_write){value, channel, 0};
        if (task->last_write)
                writes[task->last_write - 1].next = state->n_writes;
        else
                task->first_write = state->n_writes;
        task->last_write = state->n_writes;
}

void aip_graph_task_write_at(aip_graph_task *task, uint32_t channel, aip_value *value)
{
        if (channel < task->state->graph->n_channels) {
                add_write(task, channel, value);
                return;
        }
        aip_value_unref(value);
        fail_channel(task->state, NULL, channel, &task->err);
}

void aip_graph_task_write(aip_graph_task *task, const char *channel, aip_value *value)
{
        uint32_t index = find(task->state, channel);
        if (index != AIP_GRAPH_NO_INDEX) {
                add_write(task, index, value);
                return;
        }
        aip_value_unref(value);
        fail_channel(task->state, channel, 0, &task->err);
}

static void fail_update_type(aip_graph_task *task, const aip_value *update)
{
        if (task->err)
                return;
        aip_error_set(&task->err, AIP_EINVAL,
                      "an update is an object with one member a channel, not a value of type %s",
                      aip_value_type_name(aip_value_type(update)));
        aip_error_set_kind(task->err, AIP_GRAPH_INVALID_UPDATE);
}

static void fail_update_channel(aip_graph_task *task, struct aip_str channel)
{
        if (task->err)
                return;
        aip_error_set(&task->err, AIP_EINVAL,
                      "the update has a member \"%.*s\", but the graph has no such channel",
                      AIP_STR_ARG(channel));
        aip_error_set_kind(task->err, AIP_GRAPH_INVALID_UPDATE);
}

/* An update object's members become writes, in order. */
static void write_object(aip_graph_task *task, const aip_value *update)
{
        if (aip_value_type(update) != AIP_VALUE_OBJECT) {
                fail_update_type(task, update);
                return;
        }
        size_t n = aip_value_size(update);
        uint32_t hint = 0;
        for (size_t i = 0; i < n && !task->err; i++) {
                struct aip_str key;
                const aip_value *member = aip_value_member(update, i, &key);
                uint32_t channel = aip_graph_find_channel(task->state->graph, key, hint);
                if (channel == AIP_GRAPH_NO_INDEX)
                        fail_update_channel(task, key);
                else
                        add_write(task, channel, aip_value_ref(member));
                hint = channel + 1;
        }
}

/* The node is done with its task. `update` and `err` are consumed always. */
static void conclude(aip_graph_task *task, aip_value *update, aip_error *err)
{
        task->phase = AIP_TASK_FINISHED;
        if (err)
                keep_error(task, err);
        else if (update)
                write_object(task, update);
        aip_value_unref(update);
}

int aip_graph_task_is_async(const aip_graph_task *task)
{
        return node_of(task)->options.start != NULL;
}

void aip_graph_task_run(aip_graph_task *task)
{
        const struct aip_node_options *options = &node_of(task)->options;
        aip_value *update = NULL;
        aip_error *err = NULL;
        if (options->task_bytes) {
                task->memory = aip_calloc(1, options->task_bytes);
                if (!task->memory)
                        aip_error_set_nomem(&err);
        }
        task->phase = AIP_TASK_RUNNING;
        int code = err ? 0 : options->run(options->user, task, &update, &err);
        if (code != 0 && !err)
                aip_error_set(&err, code < 0 ? code : AIP_EINTERNAL,
                              "the function failed with %d (%s)", code, aip_error_code_name(code));
        conclude(task, update, err);
}

void aip_graph_task_begin(aip_graph_task *task)
{
        const struct aip_node_options *options = &node_of(task)->options;
        task->phase = AIP_TASK_RUNNING;
        if (options->task_bytes) {
                task->memory = aip_calloc(1, options->task_bytes);
                if (!task->memory) {
                        aip_error *err = NULL;
                        aip_error_set_nomem(&err);
                        aip_graph_task_finish(task, NULL, err);
                        return;
                }
        }
        options->start(options->user, task);
}

void aip_graph_task_finish(aip_graph_task *task, aip_value *update, aip_error *err)
{
        if (task->phase != AIP_TASK_RUNNING || !aip_graph_task_is_async(task)) {
                aip_value_unref(update);
                aip_error_free(err);
                return;
        }
        conclude(task, update, err);
        task->state->host->finished(task->state->host, task);
}

void aip_graph_task_cancel(aip_graph_task *task)
{
        if (task->phase != AIP_TASK_RUNNING || task->is_cancelled)
                return;
        task->is_cancelled = 1;
        node_of(task)->options.cancel(node_of(task)->options.user, task);
}

/* Routers. */

struct aip_graph_route {
        struct aip_graph_state *state;
        const struct aip_graph_branch *branch;
        int has_overlay; /* read state->overlay before the slots */
        uint32_t n_named;
        aip_error *err; /* the first misuse */
};

const aip_value *aip_graph_route_get_at(aip_graph_route *route, uint32_t channel)
{
        struct aip_graph_state *state = route->state;
        if (channel >= state->graph->n_channels) {
                fail_channel(state, NULL, channel, &route->err);
                return NULL;
        }
        if (route->has_overlay && state->overlay[channel])
                return state->overlay[channel];
        return state->slots[channel].value;
}

const aip_value *aip_graph_route_get(aip_graph_route *route, const char *channel)
{
        uint32_t index = find(route->state, channel);
        if (index != AIP_GRAPH_NO_INDEX)
                return aip_graph_route_get_at(route, index);
        fail_channel(route->state, channel, 0, &route->err);
        return NULL;
}

void *aip_graph_route_context(const aip_graph_route *route)
{
        return route->state->context;
}

static void set_next(struct aip_graph_state *state, uint32_t node)
{
        state->next[node / 64] |= UINT64_C(1) << (node % 64);
}

void aip_graph_route_to_nth(aip_graph_route *route, uint32_t nth)
{
        if (nth >= route->branch->n_targets) {
                if (!route->err)
                        aip_error_set(&route->err, AIP_EINVAL,
                                      "it named target %u, but declared only %u", nth,
                                      route->branch->n_targets);
                return;
        }
        uint32_t node = route->branch->targets[nth];
        if (node != route->state->graph->n_nodes)
                set_next(route->state, node);
        route->n_named++;
}

void aip_graph_route_to(aip_graph_route *route, const char *target)
{
        const struct aip_graph_branch *branch = route->branch;
        for (uint32_t i = 0; i < branch->n_targets; i++) {
                const char *name = aip_graph_target_name(route->state->graph, branch->targets[i]);
                if (strcmp(name, target) == 0) {
                        aip_graph_route_to_nth(route, i);
                        return;
                }
        }
        if (!route->err)
                aip_error_set(&route->err, AIP_EINVAL,
                              "it named \"%s\", which is not among its declared targets", target);
}

static int fail_route(const struct aip_graph_state *state, uint32_t node, aip_error *cause,
                      aip_error **err)
{
        return aip_error_wrap(err, cause, aip_error_code(cause), "the router after \"%s\": %s",
                              aip_graph_source_name(state->graph, node), aip_error_message(cause));
}

static int decide(struct aip_graph_state *state, const struct aip_graph_branch *branch,
                  int has_overlay, aip_error **err)
{
        struct aip_graph_route route = {state, branch, has_overlay, 0, NULL};
        aip_error *cause = NULL;
        int code = branch->options.route(branch->options.user, &route, &cause);
        if (code == 0 && !cause && !route.err && route.n_named > 0)
                return 0;
        if (cause) {
                aip_error_free(route.err);
        } else if (route.err) {
                cause = route.err;
                aip_error_set_kind(cause, AIP_GRAPH_INVALID_ROUTE);
        } else if (code != 0) {
                aip_error_set(&cause, code < 0 ? code : AIP_EINTERNAL, "it failed with %d (%s)",
                              code, aip_error_code_name(code));
        } else {
                aip_error_set(&cause, AIP_EINVAL, "it named no target");
                aip_error_set_kind(cause, AIP_GRAPH_INVALID_ROUTE);
        }
        return fail_route(state, branch->source, cause, err);
}

/* Edges and routers of a node that ran (or of __start__) name the nodes of the next step. */
static int follow(struct aip_graph_state *state, uint32_t from, int has_overlay, aip_error **err)
{
        const aip_graph *graph = state->graph;
        const struct aip_graph_node *node = &graph->nodes[from];
        for (uint32_t i = 0; i < node->n_edges; i++)
                set_next(state, graph->edges[node->first_edge + i]);
        for (uint32_t i = 0; i < node->n_branches; i++) {
                int code =
                        decide(state, &graph->branches[node->first_branch + i], has_overlay, err);
                if (code < 0)
                        return code;
        }
        return 0;
}

/* Writes. */

/* The node that wrote a last-value channel first in this step. */
static const char *first_writer(const struct aip_graph_state *state, uint32_t channel)
{
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                uint32_t at = state->tasks[i].first_write;
                for (; at; at = state->writes[at - 1].next) {
                        if (state->writes[at - 1].channel == channel)
                                return aip_graph_source_name(state->graph, state->tasks[i].node);
                }
        }
        return AIP_GRAPH_START;
}

static int fail_concurrent(const struct aip_graph_state *state, const aip_graph_task *task,
                           uint32_t channel, aip_error **err)
{
        const char *first = first_writer(state, channel);
        const char *second = aip_graph_source_name(state->graph, task->node);
        int code =
                aip_error_set(err, AIP_ESTATE,
                              "INVALID_CONCURRENT_GRAPH_UPDATE: channel \"%s\" takes one value a "
                              "step, but step %d wrote it twice: node \"%s\" and node \"%s\"; "
                              "give it a kind that combines writes",
                              state->graph->channels[channel].name, state->step, first, second);
        if (err)
                aip_error_set_kind(*err, AIP_GRAPH_INVALID_CONCURRENT_UPDATE);
        return code;
}

/* Apply a task's writes in the order in which it made them. */
static int apply_writes(struct aip_graph_state *state, aip_graph_task *task, aip_error **err)
{
        for (uint32_t at = task->first_write; at; at = state->writes[at - 1].next) {
                struct aip_graph_write *write = &state->writes[at - 1];
                const struct aip_graph_channel *channel = &state->graph->channels[write->channel];
                struct aip_graph_slot *slot = &state->slots[write->channel];
                if (slot->written_step == state->step &&
                    channel->options.kind == AIP_CHANNEL_LAST_VALUE)
                        return fail_concurrent(state, task, write->channel, err);
                slot->written_step = state->step;
                aip_error *cause = NULL;
                if (aip_channel_apply(channel, &slot->value, AIP_TAKE(write->value), &cause) < 0)
                        return fail_at(state, task->node, cause, err);
        }
        return 0;
}

/* Make the router's private view: the state with the task's own writes. */
static int overlay_writes(struct aip_graph_state *state, aip_graph_task *task, aip_error **err)
{
        if (!state->overlay)
                state->overlay = aip_calloc(state->graph->n_channels + 1u, sizeof(aip_value *));
        if (!state->overlay)
                return aip_error_set_nomem(err);
        for (uint32_t at = task->first_write; at; at = state->writes[at - 1].next) {
                const struct aip_graph_write *write = &state->writes[at - 1];
                aip_value **view = &state->overlay[write->channel];
                if (!*view)
                        *view = aip_value_ref(state->slots[write->channel].value);
                aip_error *cause = NULL;
                if (aip_channel_apply(&state->graph->channels[write->channel], view,
                                      aip_value_ref(write->value), &cause) < 0)
                        return fail_at(state, task->node, cause, err);
        }
        return 0;
}

/* Follow the edges of one of several tasks, before any of their writes is merged. */
static int follow_apart(struct aip_graph_state *state, aip_graph_task *task, aip_error **err)
{
        int has_overlay = node_of(task)->n_branches > 0;
        int code = has_overlay ? overlay_writes(state, task, err) : 0;
        if (code == 0)
                code = follow(state, task->node, has_overlay, err);
        if (has_overlay)
                release_overlay(state);
        return code;
}

/* The steps. */

int aip_graph_feed(struct aip_graph_state *state, const aip_value *input, aip_error **err)
{
        aip_graph_task task = {.state = state, .node = state->graph->n_nodes};
        if (input)
                write_object(&task, input);
        if (task.err)
                return fail_at(state, task.node, task.err, err);
        int code = apply_writes(state, &task, err);
        release_writes(state);
        return code < 0 ? code : follow(state, task.node, 0, err);
}

static int fail_step_limit(const struct aip_graph_state *state, uint32_t node, aip_error **err)
{
        int code = aip_error_set(err, AIP_ELIMIT,
                                 "GRAPH_RECURSION_LIMIT: the run has not ended after %d steps, its "
                                 "step limit; next was node \"%s\". If it should go on for longer, "
                                 "raise step_limit",
                                 state->step_limit, state->graph->nodes[node].name);
        if (err)
                aip_error_set_kind(*err, AIP_GRAPH_STEP_LIMIT_REACHED);
        return code;
}

static int add_task(struct aip_graph_state *state, uint32_t node, aip_error **err)
{
        struct aip_graph_task *tasks =
                make_room(state->tasks, state->n_tasks, &state->tasks_capacity, state->inline_tasks,
                          sizeof(*tasks));
        if (!tasks)
                return aip_error_set_nomem(err);
        state->tasks = tasks;
        tasks[state->n_tasks++] = (struct aip_graph_task){.state = state, .node = node};
        return 0;
}

int aip_graph_plan(struct aip_graph_state *state, aip_error **err)
{
        size_t n_words = words_of(state->graph);
        for (size_t word = 0; word < n_words; word++) {
                uint64_t bits = state->next[word];
                state->next[word] = 0;
                for (; bits; bits &= bits - 1) {
                        uint32_t node = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(bits);
                        if (state->step == state->step_limit)
                                return fail_step_limit(state, node, err);
                        int code = add_task(state, node, err);
                        if (code < 0)
                                return code;
                }
        }
        if (state->n_tasks > 0)
                state->step++;
        return 0;
}

/* The failed task that says most: the first that failed by itself, else the first. */
static aip_graph_task *find_failed(struct aip_graph_state *state)
{
        aip_graph_task *failed = NULL;
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                aip_graph_task *task = &state->tasks[i];
                if (!task->err)
                        continue;
                if (aip_error_code(task->err) != AIP_ECANCELLED)
                        return task;
                if (!failed)
                        failed = task;
        }
        return failed;
}

static int merge_many(struct aip_graph_state *state, aip_error **err)
{
        int code = 0;
        for (uint32_t i = 0; code == 0 && i < state->n_tasks; i++)
                code = follow_apart(state, &state->tasks[i], err);
        for (uint32_t i = 0; code == 0 && i < state->n_tasks; i++)
                code = apply_writes(state, &state->tasks[i], err);
        return code;
}

/* With one task the merged state is what its router may see: no view apart is needed. */
static int merge_one(struct aip_graph_state *state, aip_error **err)
{
        int code = apply_writes(state, &state->tasks[0], err);
        return code < 0 ? code : follow(state, state->tasks[0].node, 0, err);
}

int aip_graph_merge(struct aip_graph_state *state, aip_error **err)
{
        aip_graph_task *failed = find_failed(state);
        if (failed)
                return fail_at(state, failed->node, AIP_TAKE(failed->err), err);
        int code = state->n_tasks == 1 ? merge_one(state, err) : merge_many(state, err);
        if (code < 0)
                return code;
        release_tasks(state);
        release_writes(state);
        return 0;
}

aip_value *aip_graph_state_take_object(struct aip_graph_state *state)
{
        aip_value *object = aip_value_object();
        for (uint32_t i = 0; object && i < state->graph->n_channels; i++) {
                const struct aip_graph_channel *channel = &state->graph->channels[i];
                if (!state->slots[i].value)
                        continue;
                if (aip_value_object_set(&object, aip_str_make(channel->name, channel->name_bytes),
                                         AIP_TAKE(state->slots[i].value)) < 0) {
                        aip_value_unref(object);
                        return NULL;
                }
        }
        return object;
}
