/*
 * Small graphs that are described by data, so that two engines can be given the same one: the C engine
 * by graph_case.c, LangGraph.js by langgraph/run.js. Used by the differential suite (graph_cases.c, run) and
 * by tests/sim/graph_simulation.c, whose nodes are asynchronous, take their time and fail in passing. A case is one JSON object:
 *
 *   {"channels": [{"name": "c0", "kind": "append", "initial": …}, …],
 *    "nodes": [{"name": "n0", "reads": ["c0"], "defer": true, "fails": 5, "asks": 1,
 *               "writes": [{"channel": "c0", "make": "list", "overwrite": true}], "choices": …}, …],
 *    "edges": [["__start__", "n0"], …], "joins": [{"from": ["n0", "n1"], "to": "n2"}],
 *    "routers": [{"from": "n0", "reads": ["c0"], "choices": [[{"to": "n1"}, {"send": "n2"}], []]}],
 *    "input": {"c0": 1}, "step_limit": 8}
 *
 * What a node writes, asks, chooses, and whether it fails, follows from a digest of what it reads: its
 * input when it was sent one, else the channels under "reads". So one different value anywhere changes
 * all that comes after it.
 */
#ifndef TESTS_DIFFERENTIAL_GRAPH_CASE_H
#define TESTS_DIFFERENTIAL_GRAPH_CASE_H

#include <aiplat/graph_run.h>

struct graph_case {
        const aip_value *spec; /* borrowed */
        aip_graph *graph;
        struct graph_case_node *nodes;
};

/* How asynchronous nodes behave in one run, which has it as its context. What they write stays the same. */
struct graph_case_world {
        struct aip_random random;
        int64_t longest_ms;  /* a task takes from nothing to this */
        int failure_percent; /* of attempts, while another is left */
        /* An attempt of a task begins. */
        void (*started)(struct graph_case_world *world, const aip_graph_task *task);
};

/* With is_async every node takes time and may fail in passing, as its run's world says. */
int graph_case_init(struct graph_case *c, const aip_value *spec, int is_async, aip_error **err);
void graph_case_deinit(struct graph_case *c);

int32_t graph_case_step_limit(const struct graph_case *c);
const aip_value *graph_case_input(const struct graph_case *c);
/* What the channels have before anything is written, for savers are told of what was. Owned by caller; NULL
 * when out of memory. */
aip_value *graph_case_initial(const struct graph_case *c);
/* What everybody answers to this question; NULL when out of memory. */
aip_value *graph_case_answer(const aip_value *question);

/* FNV-1a over the canonical text: compact, members by name, "~" where there is no value. */
#define GRAPH_CASE_DIGEST UINT32_C(2166136261)
uint32_t graph_case_digest(uint32_t digest, const aip_value *value);

/* The case of a seed, owned by caller: it compiles, and is the same each time. With is_ours it may have the
 * shapes, too, in which LangGraph.js is known to do otherwise. */
aip_value *graph_case_generate(uint64_t seed, int is_ours);

#endif
