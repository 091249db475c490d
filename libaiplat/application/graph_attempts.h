/*
 * Attempts of a graph's tasks: when a failed one is tried again, how long one may take, and who is told
 * in the end. Used by graph_runner.c alone. Tasks of nodes that ask for none of it cost nothing here.
 */
#ifndef AIPLAT_APPLICATION_GRAPH_ATTEMPTS_H
#define AIPLAT_APPLICATION_GRAPH_ATTEMPTS_H

#include "graph/graph_step.h"
#include <aiplat/ports/random.h>

struct aip_graph_attempt;

/* Of one run; one attempt at most a task of the present step. */
struct aip_graph_attempts {
        struct aip_loop loop;
        struct aip_random random;
        int64_t deadline_ms;            /* of the run; 0: none */
        struct aip_graph_attempt *list; /* one a task; NULL: none of the step's nodes asks for it */
        uint32_t n;
        /* A synchronous task that was tried again has finished. */
        void (*finished)(struct aip_graph_attempts *attempts, aip_graph_task *task);
};

/* A step's tasks are planned, and none has begun. */
int aip_graph_attempts_plan(struct aip_graph_attempts *attempts, struct aip_graph_state *state,
                            aip_error **err);
/* A task has begun, and may have finished: watch its time. */
void aip_graph_attempts_watch(struct aip_graph_attempts *attempts, aip_graph_task *task);
void aip_graph_attempts_progress(struct aip_graph_attempts *attempts, aip_graph_task *task);
/* A task has finished. Non-zero: it will be tried again, and has not ended. Else its error, if it has
 * one still, is the last word. */
int aip_graph_attempts_finish(struct aip_graph_attempts *attempts, aip_graph_task *task);
/* Whether the task waits for its next attempt. */
int aip_graph_attempts_is_waiting(const struct aip_graph_attempts *attempts,
                                  const aip_graph_task *task);
/* It will not be tried again; its error stays. */
void aip_graph_attempts_give_up(struct aip_graph_attempts *attempts, aip_graph_task *task);
/* The step is over. */
void aip_graph_attempts_release(struct aip_graph_attempts *attempts);

/* Without a loop: whether a finished task is to be tried again, and after which wait. */
int aip_graph_attempt_may_repeat(const aip_graph_task *task, struct aip_random random,
                                 int64_t *ret_wait_ms);

#endif
