/*
 * The pure core of a run: one super-step at a time over a compiled graph. Called by the drivers in
 * application/graph_runner.c. Everything is an index here; names appear only in errors and in
 * update objects.
 */
#include "graph/graph_step.h"
#include "graph/channels.h"
#include "macros.h"
#include "mem.h"

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

static int fail_second_overwrite(const struct aip_graph_state *state, uint32_t channel,
                                 aip_error **err)
{
        int code = aip_error_set(err, AIP_ESTATE, "channel \"%s\" was overwritten twice in step %d",
                                 state->graph->channels[channel].name, state->step);
        if (err)
                aip_error_set_kind(*err, AIP_GRAPH_INVALID_UPDATE);
        return code;
}

/* One write to a slot, whose value it may be the first of this step to touch. Of a step's writes to
 * a channel that it overwrites, only the overwrite counts. */
static int apply_write(struct aip_graph_state *state, struct aip_graph_write *write,
                       aip_error **err)
{
        const struct aip_graph_channel *channel = &state->graph->channels[write->channel];
        struct aip_graph_slot *slot = &state->slots[write->channel];
        int is_first = slot->written_step != state->step;
        slot->written_step = state->step;
        slot->is_changed = 1;
        if (write->is_overwrite) {
                if (slot->overwritten_step == state->step)
                        return fail_second_overwrite(state, write->channel, err);
                slot->overwritten_step = state->step;
                slot->is_rewritten = 1;
                return aip_channel_overwrite(channel, &slot->value, AIP_TAKE(write->value), err);
        }
        if (slot->overwritten_step == state->step)
                return 0;
        if (is_first && aip_channel_is_passing(channel))
                aip_value_unref(AIP_TAKE(slot->value));
        int code = aip_channel_apply(channel, &slot->value, AIP_TAKE(write->value), err);
        slot->is_rewritten |= code == AIP_CHANNEL_REWRITTEN;
        return code;
}

/* Apply a task's writes in the order in which it made them. */
static int apply_writes(struct aip_graph_state *state, aip_graph_task *task, aip_error **err)
{
        for (uint32_t at = task->first_write; at; at = state->writes[at - 1].next) {
                struct aip_graph_write *write = &state->writes[at - 1];
                const struct aip_graph_channel *channel = &state->graph->channels[write->channel];
                if (!write->is_overwrite && aip_channel_is_single(channel) &&
                    state->slots[write->channel].written_step == state->step)
                        return fail_concurrent(state, task, write->channel, err);
                aip_error *cause = NULL;
                if (apply_write(state, write, &cause) < 0)
                        return aip_graph_fail_at(state, task->node, cause, err);
        }
        return 0;
}

/* What only one step sees goes when a step has not written it again. */
static void pass(struct aip_graph_state *state)
{
        const aip_graph *graph = state->graph;
        for (uint32_t i = 0; graph->n_passing > 0 && i < graph->n_channels; i++) {
                struct aip_graph_slot *slot = &state->slots[i];
                if (!slot->value || slot->written_step == state->step ||
                    !aip_channel_is_passing(&graph->channels[i]))
                        continue;
                aip_value_unref(AIP_TAKE(slot->value));
                slot->is_changed = 1;
        }
}

/* One write to a router's private view. */
static int view_write(struct aip_graph_state *state, const struct aip_graph_write *write,
                      aip_error **err)
{
        const struct aip_graph_channel *channel = &state->graph->channels[write->channel];
        aip_value **view = &state->overlay[write->channel];
        aip_value *value = aip_value_ref(write->value);
        if (write->is_overwrite)
                return aip_channel_overwrite(channel, view, value, err);
        if (!*view && !aip_channel_is_passing(channel))
                *view = aip_value_ref(state->slots[write->channel].value);
        return aip_channel_apply(channel, view, value, err);
}

/* Make the router's private view: the state with the task's own writes. */
static int overlay_writes(struct aip_graph_state *state, aip_graph_task *task, aip_error **err)
{
        if (!state->overlay)
                state->overlay = aip_calloc(state->graph->n_channels + 1u, sizeof(aip_value *));
        if (!state->overlay)
                return aip_error_set_nomem(err);
        for (uint32_t at = task->first_write; at; at = state->writes[at - 1].next) {
                aip_error *cause = NULL;
                if (view_write(state, &state->writes[at - 1], &cause) < 0)
                        return aip_graph_fail_at(state, task->node, cause, err);
        }
        return 0;
}

/* Follow the edges of one of several tasks, before any of their writes is merged. */
static int follow_apart(struct aip_graph_state *state, aip_graph_task *task, aip_error **err)
{
        int has_overlay = aip_graph_node_of(task)->n_branches > 0;
        int code = has_overlay ? overlay_writes(state, task, err) : 0;
        if (code == 0)
                code = aip_graph_follow_jumps(state, task, err);
        if (code == 0)
                code = aip_graph_follow_task(state, task, has_overlay, err);
        if (has_overlay)
                aip_graph_release_overlay(state);
        return code;
}

/* The steps. */

int aip_graph_write_input(struct aip_graph_state *state, const aip_value *input, aip_error **err)
{
        aip_graph_task task = aip_graph_task_make(state, state->graph->n_nodes, NULL);
        if (input)
                aip_graph_write_object(&task, input);
        if (task.err)
                return aip_graph_fail_at(state, task.node, task.err, err);
        int code = apply_writes(state, &task, err);
        aip_graph_release_writes(state);
        return code;
}

int aip_graph_feed(struct aip_graph_state *state, const aip_value *input, aip_error **err)
{
        int code = aip_graph_write_input(state, input, err);
        if (code == 0)
                code = aip_graph_follow(state, state->graph->n_nodes, 0, err);
        return code == 0 && state->halts ? aip_graph_halt(state, err) : code;
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

int aip_graph_add_task(struct aip_graph_state *state, uint32_t node, aip_value *input,
                       aip_error **err)
{
        struct aip_graph_task *tasks =
                aip_graph_make_room(state->tasks, state->n_tasks, &state->tasks_capacity,
                                    state->inline_tasks, sizeof(*tasks));
        if (!tasks) {
                aip_value_unref(input);
                return aip_error_set_nomem(err);
        }
        state->tasks = tasks;
        tasks[state->n_tasks++] = aip_graph_task_make(state, node, input);
        return 0;
}

/* The same, if the run may go on so far. */
static int begin_task(struct aip_graph_state *state, uint32_t node, aip_value *input,
                      aip_error **err)
{
        if (state->step - state->first_step < state->step_limit)
                return aip_graph_add_task(state, node, input, err);
        aip_value_unref(input);
        return fail_step_limit(state, node, err);
}

/* Nodes that are not deferred, or all, become tasks; those that must wait stay named. */
static int add_named(struct aip_graph_state *state, int with_deferred, aip_error **err)
{
        size_t n_words = aip_graph_words(state->graph->n_nodes);
        for (size_t word = 0; word < n_words; word++) {
                uint64_t wait = with_deferred ? 0 : state->graph->deferred[word];
                uint64_t bits = state->next[word] & ~wait;
                state->next[word] &= wait;
                for (; bits; bits &= bits - 1) {
                        uint32_t node = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(bits);
                        int code = begin_task(state, node, NULL, err);
                        if (code < 0)
                                return code;
                }
        }
        return 0;
}

static int add_sent(struct aip_graph_state *state, aip_error **err)
{
        int code = 0;
        for (uint32_t i = 0; code == 0 && i < state->n_sends; i++)
                code = begin_task(state, state->sends[i].node, AIP_TAKE(state->sends[i].input),
                                  err);
        if (code == 0)
                state->n_sends = 0;
        return code;
}

int aip_graph_plan(struct aip_graph_state *state, aip_error **err)
{
        if (state->ups)
                return 0; /* what comes next is for the parent to say */
        int code = add_named(state, 0, err);
        if (code == 0)
                code = add_sent(state, err);
        if (code == 0 && state->n_tasks == 0)
                code = add_named(state, 1, err);
        if (code == 0 && state->n_tasks > 0)
                state->step++;
        return code;
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
        if (code == 0)
                code = aip_graph_follow_jumps(state, &state->tasks[0], err);
        return code < 0 ? code : aip_graph_follow_task(state, &state->tasks[0], 0, err);
}

int aip_graph_merge(struct aip_graph_state *state, aip_error **err)
{
        aip_graph_task *failed = find_failed(state);
        if (failed)
                return aip_graph_fail_at(state, failed->node, AIP_TAKE(failed->err), err);
        int code = state->n_tasks == 1 ? merge_one(state, err) : merge_many(state, err);
        if (code < 0)
                return code;
        aip_graph_follow_joins(state);
        pass(state);
        if (state->ns)
                code = aip_graph_gather_ups(state, err);
        if (code == 0 && state->halts && !state->ups)
                code = aip_graph_halt(state, err);
        aip_graph_release_tasks(state);
        aip_graph_release_writes(state);
        return code;
}
