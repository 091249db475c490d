/*
 * Images of runs (graph_image.h): going on from one. What an image says is checked here, for it comes
 * from a store that others can write.
 */
#include "graph/channels.h"
#include "graph/graph_image.h"
#include "macros.h"
#include "mem.h"

static int fail_image(const char *what, aip_error **err)
{
        return aip_error_set(err, AIP_EINVAL, "the image of a run %s", what);
}

/* Channels. */

static int load_channels(struct aip_graph_state *state, const aip_value *channels, aip_error **err)
{
        size_t n = aip_value_size(channels);
        if (aip_value_type(channels) != AIP_VALUE_OBJECT)
                return fail_image("has no channels", err);
        for (uint32_t i = 0; i < state->graph->n_channels; i++) {
                /* Others that the image does not have are new to the graph, or untracked. */
                if (aip_channel_is_passing(&state->graph->channels[i]))
                        aip_value_unref(AIP_TAKE(state->slots[i].value));
        }
        uint32_t hint = 0;
        for (size_t i = 0; i < n; i++) {
                struct aip_str name;
                const aip_value *value = aip_value_member(channels, i, &name);
                uint32_t channel = aip_graph_find_channel(state->graph, name, hint);
                hint = channel + 1;
                if (channel == AIP_GRAPH_NO_INDEX)
                        continue;
                struct aip_graph_slot *slot = &state->slots[channel];
                int code = aip_channel_overwrite(&state->graph->channels[channel], &slot->value,
                                                 aip_value_ref(value), err);
                if (code < 0)
                        return code;
                slot->is_changed = 1;
        }
        aip_graph_mark_saved(state);
        return 0;
}

/* Nodes. */

/* The node's index, or AIP_GRAPH_NO_INDEX with *err set. */
static uint32_t find_node(const struct aip_graph_state *state, const aip_value *name,
                          aip_error **err)
{
        struct aip_str text = aip_value_as_string(name);
        char node[256];
        if (!text.p || text.n >= sizeof(node)) {
                fail_image("names a node by something else than a short string", err);
                return AIP_GRAPH_NO_INDEX;
        }
        memcpy(node, text.p, text.n);
        node[text.n] = '\0';
        uint32_t index = aip_graph_find_node(state->graph->nodes, state->graph->n_nodes, node);
        if (index == AIP_GRAPH_NO_INDEX)
                aip_error_set(err, AIP_ESTATE,
                              "the run is to go on at node \"%s\", which the graph does not have",
                              node);
        return index;
}

static int load_next(struct aip_graph_state *state, const aip_value *next, aip_error **err)
{
        for (size_t i = 0; i < aip_value_size(next); i++) {
                uint32_t node = find_node(state, aip_value_at(next, i), err);
                if (node == AIP_GRAPH_NO_INDEX)
                        return aip_error_code(*err);
                aip_graph_name_next(state, node);
        }
        return 0;
}

static int load_sends(struct aip_graph_state *state, const aip_value *sends, aip_error **err)
{
        for (size_t i = 0; i < aip_value_size(sends); i++) {
                const aip_value *send = aip_value_at(sends, i);
                const aip_value *input = aip_value_get_cstr(send, "input");
                uint32_t node = find_node(state, aip_value_get_cstr(send, "node"), err);
                if (node == AIP_GRAPH_NO_INDEX)
                        return aip_error_code(*err);
                if (!input)
                        return fail_image("has a send without an input", err);
                int code = aip_graph_send_next(state, node, aip_value_ref(input), err);
                if (code < 0)
                        return code;
        }
        return 0;
}

static int is_name(const aip_value *value, const char *name)
{
        return aip_str_eq(aip_value_as_string(value), aip_str_of(name));
}

/* Sources and joins that the graph has no more are left out: nobody waits for them. */
static void load_arrival(struct aip_graph_state *state, const struct aip_graph_join *join,
                         const aip_value *source)
{
        const aip_graph *graph = state->graph;
        for (uint32_t i = 0; i < graph->n_arrivals; i++) {
                const struct aip_graph_arrival *arrival = &graph->arrivals[i];
                uint32_t bit = arrival->bit;
                if (bit >= join->first_bit && bit < join->first_bit + join->n_bits &&
                    is_name(source, graph->nodes[arrival->source].name))
                        state->arrived[bit / 64] |= UINT64_C(1) << (bit % 64);
        }
}

void aip_graph_image_load_arrived(struct aip_graph_state *state, const aip_value *image)
{
        const aip_value *arrived = aip_value_get_cstr(image, "arrived");
        const aip_graph *graph = state->graph;
        uint32_t n_taken = 0; /* joins to one target are told apart by their order */
        for (size_t i = 0; i < aip_value_size(arrived); i++) {
                const aip_value *entry = aip_value_at(arrived, i);
                const aip_value *from = aip_value_get_cstr(entry, "from");
                uint32_t at = n_taken;
                while (at < graph->n_joins &&
                       !is_name(aip_value_get_cstr(entry, "to"),
                                aip_graph_target_name(graph, graph->joins[at].target)))
                        at++;
                if (at == graph->n_joins)
                        continue;
                for (size_t j = 0; j < aip_value_size(from); j++)
                        load_arrival(state, &graph->joins[at], aip_value_at(from, j));
                n_taken = at + 1;
        }
}

/* Tasks of a step that had begun. */

static int load_writes(aip_graph_task *task, const aip_value *writes)
{
        for (size_t i = 0; i < aip_value_size(writes); i++) {
                const aip_value *pair = aip_value_at(writes, i);
                struct aip_str name = aip_value_as_string(aip_value_at(pair, 0));
                const aip_value *value = aip_value_at(pair, 1);
                uint32_t channel = aip_graph_find_channel(task->state->graph, name, 0);
                if (!name.p || !value)
                        return fail_image("has a write that is not a channel and a value",
                                          &task->err);
                if (channel != AIP_GRAPH_NO_INDEX)
                        aip_graph_task_write_at(task, channel, aip_value_ref(value));
        }
        return 0;
}

/* A name as C needs it; "" for what is none, which nobody declared. */
static void copy_name(const aip_value *name, char ret_name[256])
{
        struct aip_str text = aip_value_as_string(name);
        size_t n = AIP_MIN(text.n, (size_t)255);
        if (n > 0)
                memcpy(ret_name, text.p, n);
        ret_name[n] = '\0';
}

static void load_jumps(aip_graph_task *task, const aip_value *gotos, const aip_value *sends)
{
        char name[256];
        for (size_t i = 0; i < aip_value_size(gotos); i++) {
                copy_name(aip_value_at(gotos, i), name);
                aip_graph_task_goto(task, name);
        }
        for (size_t i = 0; i < aip_value_size(sends); i++) {
                const aip_value *pair = aip_value_at(sends, i);
                const aip_value *input = aip_value_at(pair, 1);
                copy_name(aip_value_at(pair, 0), name);
                aip_graph_task_send(task, name, input ? aip_value_ref(input) : aip_value_null());
        }
}

static int fill_task(aip_graph_task *task, const aip_value *saved, aip_error **err)
{
        const aip_value *up = aip_value_get_cstr(saved, "up");
        const aip_value *question = aip_value_get_cstr(saved, "question");
        const aip_value *answers = aip_value_get_cstr(saved, "answers");
        const aip_value *writes = aip_value_get_cstr(saved, "writes");
        if (answers && aip_value_type(answers) != AIP_VALUE_LIST)
                return fail_image("has answers that are no list", err);
        if (up && aip_value_type(up) != AIP_VALUE_LIST)
                return fail_image("has Commands to a parent that are no list", err);
        aip_value_unref(task->answers);
        aip_value_unref(task->question);
        task->answers = aip_value_ref(answers);
        task->question = aip_value_ref(question);
        if (!question && !writes)
                return 0; /* it has not finished: it runs (again) */
        task->phase = AIP_TASK_FINISHED;
        task->up = aip_value_ref(up);
        task->is_leaving = aip_value_as_bool(aip_value_get_cstr(saved, "leaves"), 0) != 0;
        if (writes && load_writes(task, writes) == 0)
                load_jumps(task, aip_value_get_cstr(saved, "goto"),
                           aip_value_get_cstr(saved, "sends"));
        return task->err ? aip_error_propagate(err, AIP_TAKE(task->err)) : 0;
}

int aip_graph_image_say(aip_graph_task *task, const aip_value *said, aip_error **err)
{
        int code = aip_value_get_cstr(said, "writes")
                           ? fill_task(task, said, err)
                           : fail_image("has a task that says nothing", err);
        if (code < 0) {
                aip_graph_take_back(task);
                task->phase = AIP_TASK_PLANNED;
        }
        return code;
}

static int load_tasks(struct aip_graph_state *state, const aip_value *tasks, aip_error **err)
{
        int code = 0;
        for (size_t i = 0; code == 0 && i < aip_value_size(tasks); i++) {
                const aip_value *saved = aip_value_at(tasks, i);
                uint32_t node = find_node(state, aip_value_get_cstr(saved, "node"), err);
                if (node == AIP_GRAPH_NO_INDEX)
                        return aip_error_code(*err);
                code = aip_graph_add_task(state, node,
                                          aip_value_ref(aip_value_get_cstr(saved, "input")), err);
        }
        /* Filled when all are there: writes of a task in an array that moved would be lost. */
        for (uint32_t i = 0; code == 0 && i < state->n_tasks; i++)
                code = fill_task(&state->tasks[i], aip_value_at(tasks, i), err);
        return code;
}

/* What a subgraph had come to. */
static int load_insides(struct aip_graph_state *state, const aip_value *subgraphs, aip_error **err)
{
        int code = 0;
        for (uint32_t i = 0; code == 0 && i < state->n_tasks && subgraphs; i++) {
                if (aip_graph_task_is_subgraph(&state->tasks[i]))
                        code = aip_graph_image_load_inside(&state->tasks[i], subgraphs, err);
        }
        return code;
}

static int load_piece(aip_graph_task *task, const aip_value *piece, aip_error **err)
{
        struct aip_graph_inside *inside =
                aip_graph_task_is_subgraph(task) ? aip_graph_inside_of(task) : NULL;
        if (!aip_graph_task_is_subgraph(task))
                return 0; /* the graph has changed */
        return inside ? aip_graph_image_advance(&inside->image, piece, err)
                      : aip_error_set_nomem(err);
}

/* One element; what was said later takes the place of a question. */
static int load_said(struct aip_graph_state *state, int64_t key, const aip_value *saved,
                     aip_error **err)
{
        const aip_value *piece = aip_value_get_cstr(saved, "inside");
        int64_t place = piece ? aip_value_as_int(aip_value_get_cstr(saved, "at"), -1) : key;
        if (piece && key >= state->n_tasks + (int64_t)state->n_pieces && key < INT32_MAX / 2)
                state->n_pieces = (int32_t)(key - state->n_tasks) + 1;
        if (place < 0 || place >= state->n_tasks)
                return 0;
        struct aip_graph_task *task = &state->tasks[place];
        if ((task->phase == AIP_TASK_FINISHED && !task->question) ||
            !is_name(aip_value_get_cstr(saved, "node"), aip_graph_task_node(task)))
                return 0;
        if (piece)
                return load_piece(task, piece, err);
        task->is_saved = 1;
        return fill_task(task, saved, err);
}

/* What was saved of the tasks of the step that comes next. One that is not planned any more, for the graph
 * has changed, does not count. */
static int load_pending(struct aip_graph_state *state, const aip_value *pending, aip_error **err)
{
        size_t n = aip_value_size(pending);
        int code = n > 0 && state->n_tasks == 0 ? aip_graph_plan(state, err) : 0;
        for (size_t i = 0; code == 0 && i < n; i++) {
                const aip_value *pair = aip_value_at(pending, i);
                int64_t key = aip_value_as_int(aip_value_at(pair, 0), -1);
                code = load_said(state, key, aip_value_at(pair, 1), err);
        }
        return code;
}

int aip_graph_image_load_channels(struct aip_graph_state *state, const aip_value *image,
                                  aip_error **err)
{
        int64_t step = aip_value_as_int(aip_value_get_cstr(image, "step"), -1);
        if (step < 0 || step >= INT32_MAX / 2)
                return fail_image("has no step", err);
        state->step = state->first_step = (int32_t)step;
        return load_channels(state, aip_value_get_cstr(image, "channels"), err);
}

static int load_held(struct aip_graph_state *state, const aip_value *held, aip_error **err)
{
        if (held && !aip_value_as_string(aip_value_get_cstr(held, "id")).p)
                return fail_image("has halted with a question that has no id", err);
        state->held = aip_value_ref(held);
        return 0;
}

static int load_ups(struct aip_graph_state *state, const aip_value *ups, aip_error **err)
{
        if (ups && aip_value_type(ups) != AIP_VALUE_LIST)
                return fail_image("has Commands to a parent that are no list", err);
        state->ups = aip_value_ref(ups);
        return 0;
}

int aip_graph_image_load(struct aip_graph_state *state, const aip_value *image, aip_error **err)
{
        int code = aip_graph_image_load_channels(state, image, err);
        if (code == 0)
                code = load_next(state, aip_value_get_cstr(image, "next"), err);
        if (code == 0)
                code = load_sends(state, aip_value_get_cstr(image, "sends"), err);
        if (code == 0)
                code = load_tasks(state, aip_value_get_cstr(image, "tasks"), err);
        if (code == 0)
                code = load_insides(state, aip_value_get_cstr(image, "subgraphs"), err);
        if (code == 0)
                code = load_ups(state, aip_value_get_cstr(image, "ups"), err);
        if (code == 0)
                code = load_held(state, aip_value_get_cstr(image, "held"), err);
        if (code < 0)
                return code;
        aip_graph_image_load_arrived(state, image);
        return load_pending(state, aip_value_get_cstr(image, "pending"), err);
}

/* Changes to an image that was stored apart from them. */

/* What `changes` has under `key` becomes the members of the channels. */
static int apply_set(aip_value **channels, const aip_value *set)
{
        int code = 0;
        for (size_t i = 0; code == 0 && i < aip_value_size(set); i++) {
                struct aip_str name;
                const aip_value *value = aip_value_member(set, i, &name);
                code = aip_value_object_set(channels, name, aip_value_ref(value));
        }
        return code;
}

/* Taken out of the object while it grows, so that it has one owner and grows in place. */
static int apply_append(aip_value **channels, const aip_value *append, aip_error **err)
{
        for (size_t i = 0; i < aip_value_size(append); i++) {
                struct aip_str name;
                const aip_value *tail = aip_value_member(append, i, &name);
                aip_value *list = aip_value_ref(aip_value_get(*channels, name));
                int code = aip_value_type(list) == AIP_VALUE_LIST
                                   ? aip_value_object_set(channels, name, aip_value_null())
                                   : fail_image("has no list to add to", err);
                for (size_t j = 0; code == 0 && j < aip_value_size(tail); j++)
                        code = aip_value_list_append(&list, aip_value_ref(aip_value_at(tail, j)));
                if (code < 0) {
                        aip_value_unref(list);
                        return code == AIP_ENOMEM ? aip_error_set_nomem(err) : code;
                }
                if (aip_value_object_set(channels, name, list) < 0)
                        return aip_error_set_nomem(err);
        }
        return 0;
}

static int apply_unset(aip_value **channels, const aip_value *unset)
{
        int code = 0;
        for (size_t i = 0; code == 0 && i < aip_value_size(unset); i++) {
                struct aip_str name = aip_value_as_string(aip_value_at(unset, i));
                if (aip_value_get(*channels, name))
                        code = aip_value_object_remove(channels, name);
        }
        return code;
}

int aip_graph_apply_changes(aip_value **channels, const aip_value *changes, aip_error **err)
{
        int code = apply_set(channels, aip_value_get_cstr(changes, "set"));
        if (code == 0)
                code = apply_unset(channels, aip_value_get_cstr(changes, "unset"));
        if (code < 0)
                return aip_error_set_nomem(err);
        return apply_append(channels, aip_value_get_cstr(changes, "append"), err);
}

int aip_graph_image_apply(aip_value **image, const aip_value *changes, aip_error **err)
{
        aip_value *channels = aip_value_ref(aip_value_get_cstr(*image, "channels"));
        if (!channels)
                channels = aip_value_object();
        if (!channels || aip_value_object_set_cstr(image, "channels", aip_value_null()) < 0) {
                aip_value_unref(channels);
                return aip_error_set_nomem(err);
        }
        int code = aip_graph_apply_changes(&channels, changes, err);
        if (code < 0) {
                aip_value_unref(channels);
                return code;
        }
        return aip_value_object_set_cstr(image, "channels", channels) < 0 ? aip_error_set_nomem(err)
                                                                          : 0;
}

/* Subgraphs. */

/* Those of `subgraphs` that are inside the task's, by what is left of their names. */
static int collect_deeper(const aip_graph_task *task, const aip_value *subgraphs,
                          aip_value **deeper)
{
        int code = 0;
        for (size_t i = 0; code == 0 && i < aip_value_size(subgraphs); i++) {
                struct aip_str name, rest;
                const aip_value *image = aip_value_member(subgraphs, i, &name);
                if (aip_graph_is_inside_name(task, name, &rest))
                        code = aip_value_object_set(deeper, rest, aip_value_ref(image));
        }
        return code;
}

int aip_graph_image_load_inside(aip_graph_task *task, const aip_value *subgraphs, aip_error **err)
{
        char ns[AIP_GRAPH_NAMESPACE_BYTES];
        aip_graph_namespace(task, ns);
        const aip_value *image = aip_value_get_cstr(subgraphs, ns);
        if (!image)
                return 0;
        if (aip_value_type(image) != AIP_VALUE_OBJECT)
                return fail_image("has a subgraph that is no object", err);
        struct aip_graph_inside *inside = aip_graph_inside_of(task);
        _cleanup_(aip_value_unref_p) aip_value *deeper = aip_value_object();
        if (!inside || !deeper || collect_deeper(task, subgraphs, &deeper) < 0)
                return aip_error_set_nomem(err);
        inside->image = aip_value_ref(image);
        if (aip_value_size(deeper) > 0 &&
            aip_value_object_set_cstr(&inside->image, "subgraphs", AIP_TAKE(deeper)) < 0)
                return aip_error_set_nomem(err);
        return 0;
}

/* What tasks have said goes to the end of the image's "pending". */
static int advance_tasks(aip_value **image, const aip_value *tasks, aip_error **err)
{
        aip_value *pending = aip_value_ref(aip_value_get_cstr(*image, "pending"));
        if (!pending)
                pending = aip_value_list();
        int code = aip_value_type(*image) == AIP_VALUE_OBJECT &&
                                   aip_value_type(pending) == AIP_VALUE_LIST
                           ? 0
                           : fail_image("has a piece that belongs to nothing", err);
        /* Taken out while it grows, so that it has one owner and grows in place. */
        if (code == 0 && aip_value_object_set_cstr(image, "pending", aip_value_null()) < 0)
                code = aip_error_set_nomem(err);
        for (size_t i = 0; code == 0 && i < aip_value_size(tasks); i++) {
                if (aip_value_list_append(&pending, aip_value_ref(aip_value_at(tasks, i))) < 0)
                        code = aip_error_set_nomem(err);
        }
        if (code < 0) {
                aip_value_unref(pending);
                return code;
        }
        return aip_value_object_set_cstr(image, "pending", pending) < 0 ? aip_error_set_nomem(err)
                                                                        : 0;
}

int aip_graph_image_advance(aip_value **image, const aip_value *piece, aip_error **err)
{
        const aip_value *tasks = aip_value_get_cstr(piece, "tasks");
        const aip_value *place = aip_value_get_cstr(piece, "place");
        if (tasks)
                return advance_tasks(image, tasks, err);
        if (aip_value_type(place) != AIP_VALUE_OBJECT)
                return fail_image("has a piece that is neither a step nor tasks", err);
        int is_whole = aip_value_as_bool(aip_value_get_cstr(piece, "is_whole"), 0);
        aip_value *next = aip_value_ref(place);
        aip_value *channels =
                is_whole ? NULL : aip_value_ref(aip_value_get_cstr(*image, "channels"));
        aip_value_unref(AIP_TAKE(*image)); /* the channels have one owner, and grow in place */
        int code = channels ? aip_value_object_set_cstr(&next, "channels", channels) : 0;
        code = code < 0 ? aip_error_set_nomem(err)
                        : aip_graph_image_apply(&next, aip_value_get_cstr(piece, "changes"), err);
        if (code < 0) {
                aip_value_unref(next);
                return code;
        }
        *image = next;
        return 0;
}
