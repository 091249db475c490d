/*
 * Images of runs (graph_image.h): the making of them. Reading them is graph_restore.c. A failure to
 * allocate is the only one there is; `put` and `add` consume what they are given and keep it.
 */
#include "graph/graph_image.h"
#include "graph/channels.h"
#include "macros.h"

/* Set a member; `value` is consumed always. *object becomes NULL when out of memory, and stays so. */
static void put(aip_value **object, const char *key, aip_value *value)
{
        if (*object && aip_value_object_set_cstr(object, key, value) == 0)
                return;
        if (!*object)
                aip_value_unref(value);
        aip_value_unref(AIP_TAKE(*object));
}

/* Likewise an element of a list. */
static void add(aip_value **list, aip_value *value)
{
        if (*list && aip_value_list_append(list, value) == 0)
                return;
        if (!*list)
                aip_value_unref(value);
        aip_value_unref(AIP_TAKE(*list));
}

/* Set a member unless it is empty. `value` is consumed always; NULL is out of memory. */
static void put_unless_empty(aip_value **object, const char *key, aip_value *value)
{
        if (value && aip_value_size(value) == 0)
                aip_value_unref(value);
        else
                put(object, key, value);
}

static aip_value *text(const char *s)
{
        return aip_value_string(aip_str_of(s));
}

static int is_tracked(const struct aip_graph_channel *channel)
{
        return channel->options.kind != AIP_CHANNEL_UNTRACKED;
}

static aip_value *channels_of(const struct aip_graph_state *state)
{
        aip_value *channels = aip_value_object();
        for (uint32_t i = 0; i < state->graph->n_channels; i++) {
                const struct aip_graph_channel *channel = &state->graph->channels[i];
                if (state->slots[i].value && is_tracked(channel))
                        put(&channels, channel->name, aip_value_ref(state->slots[i].value));
        }
        return channels;
}

static aip_value *next_of(const struct aip_graph_state *state)
{
        aip_value *next = aip_value_list();
        for (uint32_t i = 0; i < state->graph->n_nodes; i++) {
                if (state->next[i / 64] >> (i % 64) & 1)
                        add(&next, text(state->graph->nodes[i].name));
        }
        return next;
}

static aip_value *sends_of(const struct aip_graph_state *state)
{
        aip_value *sends = aip_value_list();
        for (uint32_t i = 0; i < state->n_sends; i++) {
                aip_value *send = aip_value_object();
                put(&send, "node", text(state->graph->nodes[state->sends[i].node].name));
                put(&send, "input", aip_value_ref(state->sends[i].input));
                add(&sends, send);
        }
        return sends;
}

/* Names of the sources of a join that have run. */
static aip_value *arrivals_of(const struct aip_graph_state *state,
                              const struct aip_graph_join *join)
{
        const aip_graph *graph = state->graph;
        aip_value *from = aip_value_list();
        for (uint32_t i = 0; i < graph->n_arrivals; i++) {
                const struct aip_graph_arrival *arrival = &graph->arrivals[i];
                int is_of_join = arrival->bit >= join->first_bit &&
                                 arrival->bit < join->first_bit + join->n_bits;
                if (is_of_join && state->arrived[arrival->bit / 64] >> (arrival->bit % 64) & 1)
                        add(&from, text(graph->nodes[arrival->source].name));
        }
        return from;
}

static aip_value *arrived_of(const struct aip_graph_state *state)
{
        aip_value *arrived = aip_value_list();
        for (uint32_t i = 0; i < state->graph->n_joins; i++) {
                const struct aip_graph_join *join = &state->graph->joins[i];
                aip_value *from = arrivals_of(state, join);
                if (from && aip_value_size(from) == 0) {
                        aip_value_unref(from);
                        continue;
                }
                aip_value *entry = aip_value_object();
                put(&entry, "to", text(aip_graph_target_name(state->graph, join->target)));
                put(&entry, "from", from);
                add(&arrived, entry);
        }
        return arrived;
}

static aip_value *overwrite(const aip_value *value)
{
        aip_value *object = aip_value_object();
        put(&object, AIP_GRAPH_OVERWRITE, aip_value_ref(value));
        return object;
}

static aip_value *writes_of(const aip_graph_task *task)
{
        const struct aip_graph_state *state = task->state;
        aip_value *writes = aip_value_list();
        for (uint32_t at = task->first_write; at; at = state->writes[at - 1].next) {
                const struct aip_graph_write *write = &state->writes[at - 1];
                aip_value *pair = aip_value_list();
                add(&pair, text(state->graph->channels[write->channel].name));
                add(&pair,
                    write->is_overwrite ? overwrite(write->value) : aip_value_ref(write->value));
                add(&writes, pair);
        }
        return writes;
}

static aip_value *gotos_of(const aip_graph_task *task)
{
        const struct aip_graph_state *state = task->state;
        aip_value *names = aip_value_list();
        for (uint32_t at = task->first_jump; at; at = state->jumps[at - 1].next) {
                const struct aip_graph_jump *jump = &state->jumps[at - 1];
                if (!jump->input)
                        add(&names, text(aip_graph_target_name(state->graph, jump->node)));
        }
        return names;
}

static aip_value *task_sends_of(const aip_graph_task *task)
{
        const struct aip_graph_state *state = task->state;
        aip_value *sends = aip_value_list();
        for (uint32_t at = task->first_jump; at; at = state->jumps[at - 1].next) {
                const struct aip_graph_jump *jump = &state->jumps[at - 1];
                if (!jump->input)
                        continue;
                aip_value *pair = aip_value_list();
                add(&pair, text(state->graph->nodes[jump->node].name));
                add(&pair, aip_value_ref(jump->input));
                add(&sends, pair);
        }
        return sends;
}

aip_value *aip_graph_image_task(const aip_graph_task *task)
{
        aip_value *object = aip_value_object();
        put(&object, "node", text(aip_graph_task_node(task)));
        if (task->input)
                put(&object, "input", aip_value_ref(task->input));
        if (task->answers)
                put(&object, "answers", aip_value_ref(task->answers));
        if (task->question)
                put(&object, "question", aip_value_ref(task->question));
        if (task->question || task->phase != AIP_TASK_FINISHED || task->err)
                return object;
        put(&object, "writes", writes_of(task)); /* also when empty: it has finished */
        put_unless_empty(&object, "goto", gotos_of(task));
        if (task->up)
                put(&object, "up", aip_value_ref(task->up));
        if (task->is_leaving)
                put(&object, "leaves", aip_value_bool(1));
        put_unless_empty(&object, "sends", task_sends_of(task));
        return object;
}

static aip_value *tasks_of(const struct aip_graph_state *state)
{
        aip_value *tasks = aip_value_list();
        for (uint32_t i = 0; i < state->n_tasks; i++)
                add(&tasks, aip_graph_image_task(&state->tasks[i]));
        return tasks;
}

aip_value *aip_graph_image_place(const struct aip_graph_state *state)
{
        aip_value *image = aip_value_object();
        put(&image, "step", aip_value_int(state->step));
        put_unless_empty(&image, "next", next_of(state));
        put_unless_empty(&image, "sends", sends_of(state));
        put_unless_empty(&image, "arrived", arrived_of(state));
        put_unless_empty(&image, "tasks", tasks_of(state));
        if (state->n_tasks > 0)
                put_unless_empty(&image, "subgraphs", aip_graph_image_insides(state));
        if (state->ups)
                put(&image, "ups", aip_value_ref(state->ups));
        if (state->held)
                put(&image, "held", aip_value_ref(state->held));
        return image;
}

aip_value *aip_graph_image(const struct aip_graph_state *state)
{
        aip_value *image = aip_graph_image_place(state);
        put(&image, "channels", channels_of(state));
        return image;
}

/* Subgraphs. */

/* One task's subgraph, and those inside it by their longer names. */
static void add_inside(aip_value **subgraphs, const aip_graph_task *task)
{
        char ns[AIP_GRAPH_NAMESPACE_BYTES];
        aip_value *image = aip_value_ref(task->inside->image);
        const aip_value *deeper = aip_value_get_cstr(image, "subgraphs");
        for (size_t i = 0; i < aip_value_size(deeper); i++) {
                struct aip_str key;
                const aip_value *inner = aip_value_member(deeper, i, &key);
                aip_value *name = aip_graph_inside_name(task, key);
                aip_value *member = name ? aip_value_ref(inner) : NULL;
                if (*subgraphs &&
                    aip_value_object_set(subgraphs, aip_value_as_string(name), member) < 0)
                        aip_value_unref(AIP_TAKE(*subgraphs));
                aip_value_unref(name);
        }
        if (deeper && aip_value_object_remove(&image, AIP_STR("subgraphs")) < 0)
                aip_value_unref(AIP_TAKE(image));
        aip_graph_namespace(task, ns);
        put(subgraphs, ns, image);
}

aip_value *aip_graph_image_insides(const struct aip_graph_state *state)
{
        aip_value *subgraphs = aip_value_object();
        for (uint32_t i = 0; subgraphs && i < state->n_tasks; i++) {
                const aip_graph_task *task = &state->tasks[i];
                int has_ended = task->phase == AIP_TASK_FINISHED && !task->question && !task->err;
                if (task->inside && task->inside->image && !has_ended)
                        add_inside(&subgraphs, task);
        }
        return subgraphs;
}

aip_value *aip_graph_image_piece(const aip_graph_task *task)
{
        aip_value *object = aip_value_object();
        put(&object, "at", aip_value_int(task - task->state->tasks));
        put(&object, "node", text(aip_graph_task_node(task)));
        put(&object, "inside", aip_value_ref(task->inside->piece));
        return object;
}

/* Changes. */

/* The elements of a list from `first` on. */
static aip_value *tail_of(const aip_value *list, size_t first)
{
        aip_value *tail = aip_value_list();
        for (size_t i = first; i < aip_value_size(list); i++)
                add(&tail, aip_value_ref(aip_value_at(list, i)));
        return tail;
}

/* Of two writes to a channel: both, where it collects, else the last. `before` is consumed always. */
static aip_value *joined(const struct aip_graph_channel *channel, aip_value *before,
                         const aip_value *value)
{
        enum aip_channel_kind kind = channel->options.kind;
        if (!before || (kind != AIP_CHANNEL_APPEND && kind != AIP_CHANNEL_MESSAGES &&
                        kind != AIP_CHANNEL_TOPIC)) {
                aip_value_unref(before);
                return aip_value_ref(value);
        }
        aip_value *list = aip_value_type(before) == AIP_VALUE_LIST ? tail_of(before, 0) : NULL;
        if (!list && aip_value_type(before) != AIP_VALUE_LIST) {
                list = aip_value_list();
                add(&list, aip_value_ref(before));
        }
        aip_value_unref(before);
        if (aip_value_type(value) != AIP_VALUE_LIST)
                add(&list, aip_value_ref(value));
        for (size_t i = 0; aip_value_type(value) == AIP_VALUE_LIST && i < aip_value_size(value);
             i++)
                add(&list, aip_value_ref(aip_value_at(value, i)));
        return list;
}

struct changes {
        aip_value *set, *append, *unset;
};

static void add_change(struct changes *changes, const struct aip_graph_channel *channel,
                       const struct aip_graph_slot *slot)
{
        if (!slot->value)
                add(&changes->unset, text(channel->name));
        else if (!slot->is_rewritten && slot->saved_size > 0)
                put(&changes->append, channel->name, tail_of(slot->value, slot->saved_size));
        else
                put(&changes->set, channel->name, aip_value_ref(slot->value));
}

void aip_graph_mark_saved(struct aip_graph_state *state)
{
        for (uint32_t i = 0; i < state->graph->n_channels; i++) {
                struct aip_graph_slot *slot = &state->slots[i];
                if (!slot->is_changed)
                        continue;
                slot->is_changed = slot->is_rewritten = 0;
                slot->saved_size = aip_value_type(slot->value) == AIP_VALUE_LIST
                                           ? (uint32_t)aip_value_size(slot->value)
                                           : 0;
        }
}

aip_value *aip_graph_image_whole(const struct aip_graph_state *state)
{
        aip_value *object = aip_value_object();
        put(&object, "set", channels_of(state));
        return object;
}

aip_value *aip_graph_image_updates(const aip_graph_task *task)
{
        const struct aip_graph_state *state = task->state;
        aip_value *object = aip_value_object();
        for (uint32_t at = task->first_write; at; at = state->writes[at - 1].next) {
                const struct aip_graph_write *write = &state->writes[at - 1];
                const struct aip_graph_channel *channel = &state->graph->channels[write->channel];
                aip_value *before = aip_value_ref(aip_value_get_cstr(object, channel->name));
                put(&object, channel->name, joined(channel, before, write->value));
        }
        return object;
}

aip_value *aip_graph_image_changes(struct aip_graph_state *state)
{
        struct changes changes = {aip_value_object(), aip_value_object(), aip_value_list()};
        for (uint32_t i = 0; i < state->graph->n_channels; i++) {
                const struct aip_graph_channel *channel = &state->graph->channels[i];
                if (state->slots[i].is_changed && is_tracked(channel))
                        add_change(&changes, channel, &state->slots[i]);
        }
        aip_value *object = aip_value_object();
        put_unless_empty(&object, "set", changes.set);
        put_unless_empty(&object, "append", changes.append);
        put_unless_empty(&object, "unset", changes.unset);
        if (object)
                aip_graph_mark_saved(state);
        return object;
}
