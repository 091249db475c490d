/*
 * An asynchronous node for tests of graphs: it waits on its loop's timer, then does its work and finishes; it
 * can be cancelled while it waits. Needs no more than the public headers.
 */
#ifndef TESTS_SUPPORT_GRAPH_WAITING_H
#define TESTS_SUPPORT_GRAPH_WAITING_H

#include <aiplat/graph.h>
#include <aiplat/op.h>

struct waiting_node {
        int64_t (*delay_ms)(const aip_graph_task *task); /* called when the task begins */
        /* Writes; with *err set the task fails. */
        void (*work)(aip_graph_task *task, aip_error **err);
};

struct waiting {
        struct aip_timer timer;
        aip_graph_task *task;
        const struct waiting_node *node;
};

static inline void waiting_over(struct aip_timer *timer)
{
        const struct waiting *w = AIP_CONTAINER_OF(timer, struct waiting, timer);
        aip_error *err = NULL;

        w->node->work(w->task, &err);
        aip_graph_task_finish(w->task, NULL, err);
}

/* Tells the run's observer that it has begun. */
static inline void waiting_start(void *user, aip_graph_task *task)
{
        struct waiting *w = aip_graph_task_memory(task);

        w->node = user;
        w->task = task;
        w->timer.fire = waiting_over;
        aip_graph_task_emit(task, NULL);
        aip_timer_set(aip_graph_task_loop(task), &w->timer, w->node->delay_ms(task));
}

static inline void waiting_cancel(void *user, aip_graph_task *task)
{
        struct waiting *w = aip_graph_task_memory(task);
        aip_error *err = NULL;

        (void)user;
        aip_timer_clear(aip_graph_task_loop(task), &w->timer);
        aip_error_set(&err, AIP_ECANCELLED, "cancelled");
        aip_graph_task_finish(task, NULL, err);
}

/* `node` is static. */
static inline struct aip_node_options waiting_options(const struct waiting_node *node)
{
        struct aip_node_options o = AIP_NODE_OPTIONS_INIT;

        o.start = waiting_start;
        o.cancel = waiting_cancel;
        o.task_bytes = sizeof(struct waiting);
        o.user = (void *)node;
        return o;
}

#endif
