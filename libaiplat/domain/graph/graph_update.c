/*
 * Writing to the state of a run that stands still (aip_graph_update_state): what a node would have written is
 * merged as a step of that one node. Called by whoever edits threads, and by C programs. It must run no
 * node.
 */
#include "graph/graph_image.h"
#include "macros.h"
#include "mem.h"

static int is_named(const char *name, const char *other)
{
        return name && strcmp(name, other) == 0;
}

static uint32_t find_node(const aip_graph *graph, const char *name, aip_error **err)
{
        uint32_t node = aip_graph_find_node(graph->nodes, graph->n_nodes, name);
        if (node == AIP_GRAPH_NO_INDEX)
                aip_error_set(err, AIP_EINVAL, "as_node: the graph has no node \"%s\"", name);
        return node;
}

/* A step in which that one node has run. */
static int write_as(struct aip_graph_state *state, const char *name, const aip_value *values,
                    aip_error **err)
{
        uint32_t node = find_node(state->graph, name, err);
        if (node == AIP_GRAPH_NO_INDEX)
                return AIP_EINVAL;
        int code = aip_graph_add_task(state, node, NULL, err);
        if (code < 0)
                return code;
        state->step++;
        state->tasks[0].phase = AIP_TASK_FINISHED;
        if (values)
                aip_graph_write_object(&state->tasks[0], values);
        return aip_graph_merge(state, err);
}

/* What comes next is known from here on; what was to come is forgotten. */
static int update_as(struct aip_graph_state *state, const struct aip_graph_update *update,
                     aip_error **err)
{
        const char *name = update->as_node;
        int code = update->image ? aip_graph_image_load_channels(state, update->image, err) : 0;
        if (code < 0)
                return code;
        if (is_named(name, AIP_GRAPH_START))
                return aip_graph_feed(state, update->values, err);
        if (is_named(name, AIP_GRAPH_END))
                return aip_graph_write_input(state, update->values, err);
        if (update->image)
                aip_graph_image_load_arrived(state, update->image);
        return write_as(state, name, update->values, err);
}

static int update_in_place(struct aip_graph_state *state, const struct aip_graph_update *update,
                           aip_error **err)
{
        int code = update->image ? aip_graph_image_load(state, update->image, err) : 0;
        return code < 0 ? code : aip_graph_write_input(state, update->values, err);
}

static int take_results(struct aip_graph_state *state, struct aip_graph_update *update,
                        aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *image = aip_graph_image(state);
        aip_value *changes =
                update->image ? aip_graph_image_changes(state) : aip_graph_image_whole(state);
        if (!image || !changes) {
                aip_value_unref(changes);
                return aip_error_set_nomem(err);
        }
        update->ret_image = AIP_TAKE(image);
        update->ret_changes = changes;
        return 0;
}

int aip_graph_update_state(const aip_graph *graph, struct aip_graph_update *update, aip_error **err)
{
        struct aip_graph_state state;
        void *memory = aip_alloc(aip_graph_state_bytes(graph));
        if (!memory)
                return aip_error_set_nomem(err);
        int code = aip_graph_state_init(&state, graph, memory, update->context, 0, err);
        if (code == 0 && update->values && aip_value_type(update->values) != AIP_VALUE_OBJECT)
                code = aip_error_set(err, AIP_EINVAL, "values: must be an object");
        if (code == 0)
                code = update->as_node ? update_as(&state, update, err)
                                       : update_in_place(&state, update, err);
        if (code == 0)
                code = take_results(&state, update, err);
        aip_graph_state_deinit(&state);
        aip_free(memory);
        return code;
}
