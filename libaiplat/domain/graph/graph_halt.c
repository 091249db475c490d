/*
 * Halts: a run that is to stop before or after certain nodes, for somebody to look at. Called by the
 * core between two steps; a run that asked for none pays one test of a pointer. A halt is a question like
 * those that tasks ask, but of the run: whatever the answer, it goes on. Nothing runs here.
 */
#include "graph/graph_step.h"
#include "macros.h"
#include "mem.h"
#include <stdio.h>

static uint64_t *after_of(const struct aip_graph_state *state)
{
        return state->halts + aip_graph_words(state->graph->n_nodes);
}

static int mark(const aip_graph *graph, uint64_t *bits, const char *const *names, size_t n,
                aip_error **err)
{
        for (size_t i = 0; i < n; i++) {
                if (strcmp(names[i], "*") == 0) {
                        memset(bits, 0xff, aip_graph_words(graph->n_nodes) * sizeof(*bits));
                        continue;
                }
                uint32_t node = aip_graph_find_node(graph->nodes, graph->n_nodes, names[i]);
                if (node == AIP_GRAPH_NO_INDEX)
                        return aip_error_set(err, AIP_EINVAL,
                                             "the run is to be interrupted at node \"%s\", which "
                                             "the graph does not have",
                                             names[i]);
                bits[node / 64] |= UINT64_C(1) << (node % 64);
        }
        return 0;
}

int aip_graph_set_halts(struct aip_graph_state *state, const char *const *before, size_t n_before,
                        const char *const *after, size_t n_after, aip_error **err)
{
        if (n_before + n_after == 0)
                return 0;
        state->halts =
                aip_calloc(2 * aip_graph_words(state->graph->n_nodes) + 1, sizeof(*state->halts));
        if (!state->halts)
                return aip_error_set_nomem(err);
        int code = mark(state->graph, state->halts, before, n_before, err);
        return code < 0 ? code : mark(state->graph, after_of(state), after, n_after, err);
}

static int is_in(const uint64_t *bits, uint32_t node)
{
        return (int)(bits[node / 64] >> (node % 64) & 1);
}

/* Add a node's name once; lists are short. *names becomes NULL when out of memory, and stays so. */
static void add_name(const struct aip_graph_state *state, aip_value **names, uint32_t node)
{
        struct aip_str name = aip_str_of(state->graph->nodes[node].name);
        for (size_t i = 0; i < aip_value_size(*names); i++) {
                if (aip_str_eq(aip_value_as_string(aip_value_at(*names, i)), name))
                        return;
        }
        if (*names && aip_value_list_append(names, aip_value_string(name)) < 0)
                aip_value_unref(AIP_TAKE(*names));
}

/* Nodes of the step that has just run. */
static aip_value *halting_after(const struct aip_graph_state *state)
{
        aip_value *names = aip_value_list();
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                if (is_in(after_of(state), state->tasks[i].node))
                        add_name(state, &names, state->tasks[i].node);
        }
        return names;
}

static int is_next(const struct aip_graph_state *state, uint32_t node, int with_deferred)
{
        return is_in(state->next, node) && (with_deferred || !is_in(state->graph->deferred, node));
}

/* Nodes of the step that comes next: deferred ones only when they are all there is. */
static aip_value *halting_before(const struct aip_graph_state *state)
{
        aip_value *names = aip_value_list();
        int with_deferred = state->n_sends == 0;
        for (uint32_t i = 0; with_deferred && i < state->graph->n_nodes; i++)
                with_deferred = !is_next(state, i, 0);
        for (uint32_t i = 0; i < state->graph->n_nodes; i++) {
                if (is_in(state->halts, i) && is_next(state, i, with_deferred))
                        add_name(state, &names, i);
        }
        for (uint32_t i = 0; i < state->n_sends; i++) {
                if (is_in(state->halts, state->sends[i].node))
                        add_name(state, &names, state->sends[i].node);
        }
        return names;
}

/* {"id", "node", "value": {"interrupt", "nodes"}}; `names` are consumed always. NULL: out of memory. */
static aip_value *question(const struct aip_graph_state *state, const char *when, aip_value *names)
{
        char id[AIP_GRAPH_TASK_ID_BYTES];
        aip_value *node = aip_value_ref(aip_value_at(names, 0));
        aip_value *object = aip_value_object(), *value = aip_value_object();
        snprintf(id, sizeof(id), "%d:%.255s:%s", state->step, aip_value_as_string(node).p, when);
        int r = object && value ? 0 : AIP_ENOMEM;
        if (r == 0)
                r = aip_value_object_set_cstr(&value, "interrupt",
                                              aip_value_string(aip_str_of(when)));
        if (r == 0)
                r = aip_value_object_set_cstr(&value, "nodes", AIP_TAKE(names));
        if (r == 0)
                r = aip_value_object_set_cstr(&object, "id", aip_value_string(aip_str_of(id)));
        if (r == 0)
                r = aip_value_object_set_cstr(&object, "node", AIP_TAKE(node));
        if (r == 0)
                r = aip_value_object_set_cstr(&object, "value", AIP_TAKE(value));
        aip_value_unref(names);
        aip_value_unref(node);
        aip_value_unref(value);
        if (r < 0)
                aip_value_unref(AIP_TAKE(object));
        return object;
}

/* Halt for these nodes, if there are any. `names` are consumed always. */
static int hold(struct aip_graph_state *state, const char *when, aip_value *names, aip_error **err)
{
        if (!names)
                return aip_error_set_nomem(err);
        if (aip_value_size(names) == 0) {
                aip_value_unref(names);
                return 0;
        }
        state->held = question(state, when, names);
        return state->held ? 0 : aip_error_set_nomem(err);
}

int aip_graph_halt(struct aip_graph_state *state, aip_error **err)
{
        int code = hold(state, "after", halting_after(state), err);
        return code < 0 || state->held ? code : hold(state, "before", halting_before(state), err);
}

int aip_graph_is_halted_by(const struct aip_graph_state *state, struct aip_str id)
{
        return state->held &&
               aip_str_eq(aip_value_as_string(aip_value_get_cstr(state->held, "id")), id);
}
