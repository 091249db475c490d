/*
 * Stream a run: asynchronous nodes on a libuv loop, whose work goes on side by side, and an observer that
 * tells of everything as it happens.
 *
 *     __start__ ─┬→ slow ─┬→ join → __end__
 *                └→ fast ─┘
 *
 * Build: cc graph_stream.c $(pkg-config --cflags --libs aiplat)
 */
#include <aiplat/aiplat.h>
#include <stdio.h>

/* ---- an asynchronous node: start begins the work, aip_graph_task_finish() ends it ---- */

/* What it remembers of one execution: the task is the handle with which it is completed. */
struct work {
        struct aip_timer timer;
        aip_graph_task *task;
};

static void finished(struct aip_timer *timer)
{
        aip_graph_task *task = AIP_CONTAINER_OF(timer, struct work, timer)->task;
        aip_value *word = aip_value_string(aip_str_of("nearly done"));

        aip_graph_task_emit(task, word);
        aip_value_unref(word);
        aip_graph_task_write(task, "done", aip_value_string(aip_str_of(aip_graph_task_node(task))));
        aip_graph_task_finish(task, NULL, NULL);
}

/* `user` is how many milliseconds the work takes. A real node would begin a request here. */
static void start(void *user, aip_graph_task *task)
{
        struct work *work = aip_graph_task_memory(task); /* node.task_bytes of it, zeroed */

        work->task = task;
        work->timer.fire = finished;
        aip_timer_set(aip_graph_task_loop(task), &work->timer, *(const int *)user);
}

/* The run is to stop: end the work, and finish all the same. */
static void cancel(void *user, aip_graph_task *task)
{
        struct work *work = aip_graph_task_memory(task);
        aip_error *err = NULL;

        (void)user;
        aip_timer_clear(aip_graph_task_loop(task), &work->timer);
        aip_error_set(&err, AIP_ECANCELLED, "stopped");
        aip_graph_task_finish(task, NULL, err);
}

static int build(aip_graph **ret_graph, aip_error **err)
{
        static const char *const workers[] = {"slow", "fast"};
        static int ms[] = {80, 20};
        struct aip_node_options node = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();

        aip_graph_builder_add_channel(b, "done", AIP_CHANNEL_APPEND);
        node.start = start;
        node.cancel = cancel;
        node.task_bytes = sizeof(struct work);
        for (int i = 0; i < 2; i++) {
                node.user = &ms[i];
                aip_graph_builder_add_node(b, workers[i], &node);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, workers[i]);
        }
        node.user = &ms[1];
        aip_graph_builder_add_node(b, "join", &node);
        aip_graph_builder_add_join(b, workers, 2, "join");
        aip_graph_builder_add_edge(b, "join", AIP_GRAPH_END);
        return aip_graph_compile(b, ret_graph, err);
}

/* ---- the observer ---- */

static void print(const char *what, const char *node, const aip_value *value)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 20);

        if (aip_value_print(value, &text, NULL) == 0)
                printf("%s %s %s\n", what, node, text.p);
        aip_buf_deinit(&text);
}

static void step_started(void *self, int32_t step, const char *const *nodes, size_t n)
{
        (void)self;
        printf("step %d:", (int)step);
        for (size_t i = 0; i < n; i++)
                printf(" %s", nodes[i]);
        printf("\n");
}

static void custom(void *self, const char *node, const char *task_id, const aip_value *value)
{
        (void)self, (void)task_id;
        print("  said by", node, value);
}

static void task_ended(void *self, const char *node, const char *task_id, const aip_value *updates,
                       const aip_error *err)
{
        (void)self, (void)task_id;
        if (err)
                printf("  failed %s: %s\n", node, aip_error_message(err));
        else
                print("  ended", node, updates);
}

static const struct aip_graph_observer_ops observer_ops = {
        .self_size = sizeof(observer_ops),
        .step_started = step_started,
        .task_ended = task_ended,
        .custom = custom,
};

/* ---- the program ---- */

static void run_done(struct aip_op *op)
{
        aip_uv_loop_stop(op->user);
}

int main(void)
{
        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
        aip_uv_loop *loop = NULL;
        aip_graph *graph = NULL;
        aip_error *err = NULL;

        if (aip_uv_loop_new(&loop, &err) == 0 && build(&graph, &err) == 0) {
                run.op.done = run_done;
                run.op.user = loop;
                run.op.deadline_ms = aip_now_ms(aip_uv_loop_port(loop)) + 5000;
                run.graph = graph;
                run.observer = (struct aip_graph_observer){&observer_ops, NULL};
                aip_graph_run_start(aip_uv_loop_port(loop), &run);
                aip_uv_loop_run(loop);
                err = run.op.err;
        }
        if (err)
                fprintf(stderr, "%s\n", aip_error_message(err));
        else
                print("it ended", "with", run.ret_state);
        int is_good = err == NULL;
        aip_value_unref(run.ret_state);
        aip_graph_unref(graph);
        aip_uv_loop_free(loop);
        aip_error_free(err);
        return is_good ? 0 : 1;
}
