/*
 * Where a run goes on: fixed edges, routers, joins and Commands name the nodes of the next step. Called
 * by graph_step.c when a step is merged.
 */
#include "graph/graph_step.h"
#include "macros.h"
#include "mem.h"

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
                aip_graph_fail_channel(state, NULL, channel, &route->err);
                return NULL;
        }
        if (route->has_overlay && state->overlay[channel])
                return state->overlay[channel];
        return state->slots[channel].value;
}

const aip_value *aip_graph_route_get(aip_graph_route *route, const char *channel)
{
        uint32_t index = aip_graph_find_channel(route->state->graph, aip_str_of(channel), 0);
        if (index != AIP_GRAPH_NO_INDEX)
                return aip_graph_route_get_at(route, index);
        aip_graph_fail_channel(route->state, channel, 0, &route->err);
        return NULL;
}

void *aip_graph_route_context(const aip_graph_route *route)
{
        return route->state->context;
}

void aip_graph_name_next(struct aip_graph_state *state, uint32_t node)
{
        if (node != state->graph->n_nodes)
                state->next[node / 64] |= UINT64_C(1) << (node % 64);
}

int aip_graph_send_next(struct aip_graph_state *state, uint32_t node, aip_value *input,
                        aip_error **err)
{
        struct aip_graph_send *sends =
                input ? aip_graph_make_room(state->sends, state->n_sends, &state->sends_capacity, 0,
                                            sizeof(*sends))
                      : NULL;
        if (!sends) {
                aip_value_unref(input);
                return aip_error_set_nomem(err);
        }
        state->sends = sends;
        sends[state->n_sends++] = (struct aip_graph_send){input, node};
        return 0;
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
        aip_graph_name_next(route->state, route->branch->targets[nth]);
        route->n_named++;
}

/* The place of a name among declared targets; `n` when it is not there. */
static uint32_t find_target(const aip_graph *graph, const uint32_t *targets, uint32_t n,
                            const char *name)
{
        uint32_t i = 0;
        while (i < n && strcmp(aip_graph_target_name(graph, targets[i]), name) != 0)
                i++;
        return i;
}

static void fail_target(const char *target, aip_error **err)
{
        if (!*err)
                aip_error_set(err, AIP_EINVAL,
                              "it named \"%s\", which is not among its declared targets", target);
}

static void fail_send_to_end(aip_error **err)
{
        if (!*err)
                aip_error_set(err, AIP_EINVAL, "it sent an input to %s, which is not a node",
                              AIP_GRAPH_END);
}

void aip_graph_route_to(aip_graph_route *route, const char *target)
{
        const struct aip_graph_branch *branch = route->branch;
        uint32_t nth = find_target(route->state->graph, branch->targets, branch->n_targets, target);
        if (nth < branch->n_targets)
                aip_graph_route_to_nth(route, nth);
        else
                fail_target(target, &route->err);
}

void aip_graph_route_send(aip_graph_route *route, const char *target, aip_value *input)
{
        struct aip_graph_state *state = route->state;
        const struct aip_graph_branch *branch = route->branch;
        uint32_t nth = find_target(state->graph, branch->targets, branch->n_targets, target);
        int is_node = nth < branch->n_targets && branch->targets[nth] != state->graph->n_nodes;
        route->n_named++;
        if (route->err || !is_node) {
                aip_value_unref(input);
                if (nth == branch->n_targets)
                        fail_target(target, &route->err);
                else
                        fail_send_to_end(&route->err);
                return;
        }
        (void)aip_graph_send_next(state, branch->targets[nth], input, &route->err);
}

void aip_graph_route_nowhere(aip_graph_route *route)
{
        route->n_named++;
}

/* Commands. */

/* `input` is consumed always. */
static void add_jump(aip_graph_task *task, uint32_t node, aip_value *input)
{
        struct aip_graph_state *state = task->state;
        struct aip_graph_jump *jumps = aip_graph_make_room(
                state->jumps, state->n_jumps, &state->jumps_capacity, 0, sizeof(*jumps));
        if (!jumps) {
                aip_value_unref(input);
                if (!task->err)
                        aip_error_set_nomem(&task->err);
                return;
        }
        state->jumps = jumps;
        jumps[state->n_jumps++] = (struct aip_graph_jump){input, node, 0};
        if (task->last_jump)
                jumps[task->last_jump - 1].next = state->n_jumps;
        else
                task->first_jump = state->n_jumps;
        task->last_jump = state->n_jumps;
}

/* The node's index, or AIP_GRAPH_NO_INDEX with the task's error set. */
static uint32_t jump_target(aip_graph_task *task, const char *target)
{
        const struct aip_graph_node *node = aip_graph_node_of(task);
        uint32_t n = (uint32_t)node->options.n_targets;
        uint32_t nth = find_target(task->state->graph, node->targets, n, target);
        if (nth < n)
                return node->targets[nth];
        if (!task->err) {
                fail_target(target, &task->err);
                aip_error_set_kind(task->err, AIP_GRAPH_INVALID_ROUTE);
        }
        return AIP_GRAPH_NO_INDEX;
}

void aip_graph_task_goto(aip_graph_task *task, const char *target)
{
        uint32_t node = jump_target(task, target);
        if (node != AIP_GRAPH_NO_INDEX)
                add_jump(task, node, NULL);
}

void aip_graph_task_leave(aip_graph_task *task)
{
        task->is_leaving = 1;
}

void aip_graph_task_send(aip_graph_task *task, const char *target, aip_value *input)
{
        uint32_t node = jump_target(task, target);
        if (input && node < task->state->graph->n_nodes) {
                add_jump(task, node, input);
                return;
        }
        if (!task->err && !input)
                aip_error_set_nomem(&task->err);
        if (node == task->state->graph->n_nodes)
                fail_send_to_end(&task->err);
        aip_value_unref(input);
}

int aip_graph_follow_jumps(struct aip_graph_state *state, aip_graph_task *task, aip_error **err)
{
        int code = 0;
        for (uint32_t at = task->first_jump; code == 0 && at; at = state->jumps[at - 1].next) {
                struct aip_graph_jump *jump = &state->jumps[at - 1];
                if (jump->input)
                        code = aip_graph_send_next(state, jump->node, AIP_TAKE(jump->input), err);
                else
                        aip_graph_name_next(state, jump->node);
        }
        return code;
}

/* Routers. */

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
                if (aip_error_code(cause) == AIP_EINVAL)
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

/* That a node has run, for the joins that wait for it. */
static void arrive(struct aip_graph_state *state, const struct aip_graph_node *node)
{
        for (uint32_t i = 0; i < node->n_arrivals; i++) {
                uint32_t bit = state->graph->arrivals[node->first_arrival + i].bit;
                state->arrived[bit / 64] |= UINT64_C(1) << (bit % 64);
        }
}

int aip_graph_follow(struct aip_graph_state *state, uint32_t from, int has_overlay, aip_error **err)
{
        const aip_graph *graph = state->graph;
        const struct aip_graph_node *node = &graph->nodes[from];
        for (uint32_t i = 0; i < node->n_edges; i++)
                aip_graph_name_next(state, graph->edges[node->first_edge + i]);
        for (uint32_t i = 0; i < node->n_branches; i++) {
                int code =
                        decide(state, &graph->branches[node->first_branch + i], has_overlay, err);
                if (code < 0)
                        return code;
        }
        arrive(state, node);
        return 0;
}

int aip_graph_follow_task(struct aip_graph_state *state, const aip_graph_task *task,
                          int has_overlay, aip_error **err)
{
        return task->is_leaving ? 0 : aip_graph_follow(state, task->node, has_overlay, err);
}

static int have_all_arrived(const struct aip_graph_state *state, const struct aip_graph_join *join)
{
        for (uint32_t bit = join->first_bit; bit < join->first_bit + join->n_bits; bit++) {
                if (!(state->arrived[bit / 64] >> (bit % 64) & 1))
                        return 0;
        }
        return 1;
}

void aip_graph_follow_joins(struct aip_graph_state *state)
{
        for (uint32_t i = 0; i < state->graph->n_joins; i++) {
                const struct aip_graph_join *join = &state->graph->joins[i];
                if (!have_all_arrived(state, join))
                        continue;
                aip_graph_name_next(state, join->target);
                for (uint32_t bit = join->first_bit; bit < join->first_bit + join->n_bits; bit++)
                        state->arrived[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
        }
}
