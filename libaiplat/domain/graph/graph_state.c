/*
 * The memory of a run: its arrays, which live in one block that the driver gives and move to the heap
 * only when a step has more tasks or writes than usual. Called by the drivers through graph_step.h.
 */
#include "graph/channels.h"
#include "graph/graph_step.h"
#include "macros.h"
#include "mem.h"

static uint32_t inline_tasks_of(const aip_graph *graph)
{
        return AIP_MIN(graph->n_nodes, AIP_GRAPH_INLINE_TASKS);
}

size_t aip_graph_state_bytes(const aip_graph *graph)
{
        return graph->n_channels * sizeof(struct aip_graph_slot) +
               aip_graph_words(graph->n_nodes) * sizeof(uint64_t) +
               aip_graph_words(graph->n_arrivals) * sizeof(uint64_t) +
               inline_tasks_of(graph) * sizeof(struct aip_graph_task) +
               AIP_GRAPH_INLINE_WRITES * sizeof(struct aip_graph_write);
}

/* Point the arrays into the block. */
static void lay_out(struct aip_graph_state *state, char *memory)
{
        const aip_graph *graph = state->graph;
        state->block = memory;
        state->slots = (void *)memory;
        memory += graph->n_channels * sizeof(struct aip_graph_slot);
        state->next = (void *)memory;
        memory += aip_graph_words(graph->n_nodes) * sizeof(uint64_t);
        state->arrived = (void *)memory;
        memory += aip_graph_words(graph->n_arrivals) * sizeof(uint64_t);
        state->tasks = (void *)memory;
        state->tasks_capacity = state->inline_tasks = inline_tasks_of(graph);
        memory += state->tasks_capacity * sizeof(struct aip_graph_task);
        state->writes = (void *)memory;
        state->writes_capacity = AIP_GRAPH_INLINE_WRITES;
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
                state->slots[i].written_step = state->slots[i].overwritten_step = -1;
                int code = aip_channel_begin(&graph->channels[i], &state->slots[i].value, err);
                if (code < 0)
                        return code;
        }
        return 0;
}

void aip_graph_release_tasks(struct aip_graph_state *state)
{
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                aip_free(state->tasks[i].memory);
                aip_value_unref(state->tasks[i].input);
                aip_value_unref(state->tasks[i].question);
                aip_value_unref(state->tasks[i].answers);
                aip_value_unref(state->tasks[i].up);
                aip_graph_inside_free(&state->tasks[i]);
                aip_error_free(state->tasks[i].err);
        }
        state->n_tasks = 0;
        state->n_pieces = 0;
}

void aip_graph_release_writes(struct aip_graph_state *state)
{
        for (uint32_t i = 0; i < state->n_writes; i++)
                aip_value_unref(state->writes[i].value);
        for (uint32_t i = 0; i < state->n_jumps; i++)
                aip_value_unref(state->jumps[i].input);
        state->n_writes = state->n_jumps = 0;
}

void aip_graph_release_overlay(struct aip_graph_state *state)
{
        for (uint32_t i = 0; state->overlay && i < state->graph->n_channels; i++)
                aip_value_unref(AIP_TAKE(state->overlay[i]));
}

void aip_graph_state_deinit(struct aip_graph_state *state)
{
        if (!state->graph)
                return;
        aip_graph_release_tasks(state);
        aip_graph_release_writes(state);
        aip_graph_release_overlay(state);
        for (uint32_t i = 0; i < state->n_sends; i++)
                aip_value_unref(state->sends[i].input);
        for (uint32_t i = 0; i < state->graph->n_channels; i++)
                aip_value_unref(state->slots[i].value);
        aip_value_unref(AIP_TAKE(state->held));
        aip_value_unref(AIP_TAKE(state->ups));
        aip_free(state->halts);
        aip_free(state->overlay);
        aip_free(state->jumps);
        aip_free(state->sends);
        if (state->tasks_capacity > state->inline_tasks)
                aip_free(state->tasks);
        if (state->writes_capacity > AIP_GRAPH_INLINE_WRITES)
                aip_free(state->writes);
        state->graph = NULL;
}

void *aip_graph_make_room(void *array, uint32_t n, uint32_t *capacity, uint32_t in_block,
                          size_t bytes)
{
        if (n < *capacity)
                return array;
        uint32_t more = *capacity ? *capacity * 2 : AIP_GRAPH_INLINE_TASKS;
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

