/*
 * Images: a run between two tasks as a value, from which it goes on elsewhere, later, or more than
 * once. Pure functions, called by the runner, which stores what they make. Everything is by name, so
 * that an image outlives a change of its graph as far as it can.
 *
 *      {"step": 3, "channels": {"log": [1, 2]}, "next": ["b"],
 *       "sends": [{"node": "w", "input": 7}], "arrived": [{"to": "j", "from": ["a"]}],
 *       "tasks": [{"node": "a", "writes": [["log", 3]], "goto": ["c"], "sends": [["w", 1]]},
 *                 {"node": "b", "input": 5, "question": "go on?", "answers": ["yes"]}]}
 *
 * "subgraphs" is there when a subgraph has begun and not ended: an image under each one's name,
 *      {"plan:2:plan": {…}, "plan:2:plan|ask:1:ask": {…}}
 * "up" of a task, "ups" of a subgraph that ends so, are Commands to the parent (graph_inside.c).
 * "held" is there when the run has halted between two steps: the question that it asks.
 * "tasks" is there when a step has begun: those of it that finished have their "writes", those that
 * were interrupted their "question". "pending" is there instead when an image was put together from what
 * was saved step by step: a list of [place among the tasks of the next step, element of "tasks"]. Empty members are left out. Untracked channels are never in it.
 */
#ifndef AIPLAT_DOMAIN_GRAPH_IMAGE_H
#define AIPLAT_DOMAIN_GRAPH_IMAGE_H

#include "graph/graph_step.h"

/* The whole run, owned by caller; NULL when out of memory. No task may be running. */
aip_value *aip_graph_image(const struct aip_graph_state *state);

/* An image without its channels: where the run stands. */
aip_value *aip_graph_image_place(const struct aip_graph_state *state);

/*
 * What the channels have become since the last call, or since the state was made or loaded, owned by
 * caller; NULL when out of memory, and then nothing is forgotten:
 *      {"set": {"x": 1}, "append": {"log": [3]}, "unset": ["y"]}
 * A list that was only added to is told by what was added. Empty members are left out.
 */
aip_value *aip_graph_image_changes(struct aip_graph_state *state);

/* All there is, told as a change: {"set": …}. NULL when out of memory. */
aip_value *aip_graph_image_whole(const struct aip_graph_state *state);

/* What a finished task has written, for those who watch: an object, a member a channel. NULL when out of
 * memory. */
aip_value *aip_graph_image_updates(const aip_graph_task *task);

/* Change the channels of an image by changes: {"channels": …} of the one and the members of the other.
 * *image is owned, and changed in place where it can be. */
int aip_graph_image_apply(aip_value **image, const aip_value *changes, aip_error **err);

/* What is inside the step's tasks: an object, a member a subgraph; NULL when out of memory. */
aip_value *aip_graph_image_insides(const struct aip_graph_state *state);
/* Give a task what is inside it, out of the "subgraphs" of an image. */
int aip_graph_image_load_inside(aip_graph_task *task, const aip_value *subgraphs, aip_error **err);

/*
 * Pieces: what a run inside a task has come to, a save at a time. Applied to an image in their order they
 * make the one from which it goes on.
 *      {"place": {…}, "changes": {…}, "is_whole": true}     after a step
 *      {"tasks": [[0, {"node": "a", "writes": […]}]]}       what its tasks have said
 */
int aip_graph_image_advance(aip_value **image, const aip_value *piece, aip_error **err);
/* An element of "pending" for the piece of a task: {"at": place of the task, "node", "inside": piece}. NULL
 * when out of memory. */
aip_value *aip_graph_image_piece(const aip_graph_task *task);

/* What one finished task of the step has said: an element of an image's "tasks". NULL when out of
 * memory. */
aip_value *aip_graph_image_task(const aip_graph_task *task);
/* Let a task that has not begun say what another of its node has said: it has finished then. Nothing has
 * changed when this fails. */
int aip_graph_image_say(aip_graph_task *task, const aip_value *said, aip_error **err);

/* Go on from an image: `state` is fresh from init. Channels that the graph has no more are left out,
 * AIP_ESTATE when it has no more a node that is to run. Afterwards plan, if the state has no tasks, else
 * run those that are planned. `image` is borrowed. */
int aip_graph_image_load(struct aip_graph_state *state, const aip_value *image, aip_error **err);

/* Only its channels and its step: a new input is fed next, and what was to run does not. */
int aip_graph_image_load_channels(struct aip_graph_state *state, const aip_value *image,
                                  aip_error **err);
/* Besides, what its joins have waited for. */
void aip_graph_image_load_arrived(struct aip_graph_state *state, const aip_value *image);

#endif
