/*
 * A run that survives its process. A graph of code is registered with the runtime, which keeps its runs in
 * the store of the settings (without any: the user's SQLite database), step by step. Kill this program
 * while it counts, start it again, and it goes on where it was.
 *
 *     cc durable_run.c $(pkg-config --cflags --libs aiplat) -o durable_run
 *     ./durable_run first & sleep 1; kill -9 $!
 *     ./durable_run first
 */
#include <aiplat/aiplat.h>
#include <stdio.h>

#define STEPS 20

/* ---- the graph: __start__ → count ⟲ → __end__ ---- */

struct pause {
        struct aip_timer timer;
        aip_graph_task *task;
};

static void counted(struct aip_timer *timer)
{
        aip_graph_task *task = AIP_CONTAINER_OF(timer, struct pause, timer)->task;
        int64_t n = aip_value_as_int(aip_graph_task_get(task, "n"), 0) + 1;

        printf("%d\n", (int)n);
        fflush(stdout);
        aip_graph_task_write(task, "n", aip_value_int(n));
        aip_graph_task_finish(task, NULL, NULL);
}

/* A tenth of a second's work. What a node does outside may happen twice, when the process dies before
 * the step is kept: the node's work should be such that this does no harm. */
static void count(void *user, aip_graph_task *task)
{
        struct pause *pause = aip_graph_task_memory(task);

        (void)user;
        pause->task = task;
        pause->timer.fire = counted;
        aip_timer_set(aip_graph_task_loop(task), &pause->timer, 100);
}

static void stop_counting(void *user, aip_graph_task *task)
{
        struct pause *pause = aip_graph_task_memory(task);
        aip_error *err = NULL;

        (void)user;
        aip_timer_clear(aip_graph_task_loop(task), &pause->timer);
        aip_error_set(&err, AIP_ECANCELLED, "stopped");
        aip_graph_task_finish(task, NULL, err);
}

static int again_or_end(void *user, aip_graph_route *route, aip_error **err)
{
        int64_t n = aip_value_as_int(aip_graph_route_get(route, "n"), 0);

        (void)user, (void)err;
        aip_graph_route_to(route, n < STEPS ? "count" : AIP_GRAPH_END);
        return 0;
}

static int build(aip_graph **ret_graph, aip_error **err)
{
        static const char *const targets[] = {"count", AIP_GRAPH_END};
        struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
        struct aip_node_options node = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();

        node.start = count;
        node.cancel = stop_counting;
        node.task_bytes = sizeof(struct pause);
        router.route = again_or_end;
        router.targets = targets;
        router.n_targets = 2;
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_node(b, "count", &node);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "count");
        aip_graph_builder_add_router(b, "count", &router);
        return aip_graph_compile(b, ret_graph, err);
}

/* Give it a name that jobs can use. */
static int add_graph(aip_runtime *runtime, aip_error **err)
{
        struct aip_registered_graph own = AIP_REGISTERED_GRAPH_INIT;
        aip_graph *graph = NULL;
        int code = build(&graph, err);

        own.name = "counter";
        own.graph = graph;
        if (code == 0)
                code = aip_graph_registry_add(aip_runtime_graphs(runtime), &own, err);
        aip_graph_unref(graph); /* the registry has a reference of its own */
        return code;
}

/* ---- the program ---- */

static int fail(aip_error *err)
{
        fprintf(stderr, "durable_run: %s\n", aip_error_message(err));
        aip_error_free(err);
        return 1;
}

/* The key names the job: whoever submits it again, after a crash for one, is given the same. */
static int run_job(aip_runtime *runtime, const char *key)
{
        struct aip_job_submit submit = {.spec = AIP_JOB_SPEC_INIT};
        struct aip_job_read read = {.wait_ms = 600000};
        const struct aip_job_fields *job;
        int is_good;

        submit.spec.graph_name = aip_str_of("counter");
        submit.spec.input_json = aip_str_of("{}");
        submit.idempotency_key = aip_str_of(key);
        aip_job_service_submit(aip_runtime_jobs(runtime), &submit);
        aip_runtime_run_until(runtime, &submit.op);
        if (submit.op.err)
                return fail(submit.op.err);
        printf("%s\n", submit.ret_is_replay ? "it is known: going on" : "it is new");
        fflush(stdout);

        read.id = submit.ret_job_id;
        aip_job_service_read(aip_runtime_jobs(runtime), &read);
        aip_runtime_run_until(runtime, &read.op);
        if (read.op.err)
                return fail(read.op.err);
        job = aip_job_fields(read.ret_job);
        is_good = job->status == AIP_JOB_COMPLETED;
        printf("%s %.*s\n", aip_job_status_name(job->status),
               (int)(is_good ? job->result.n : job->error_message.n),
               is_good ? job->result.p : job->error_message.p);
        aip_job_free(read.ret_job);
        return is_good ? 0 : 1;
}

int main(int argc, char **argv)
{
        /* A dead worker's jobs are taken over when its lease is over: here after three
         * seconds. */
        static const char *const defaults[] = {"AIPLAT_LEASE_MS=3000", "AIPLAT_HEARTBEAT_MS=1000",
                                               "LOG_LEVEL=error", NULL};
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        struct aip_runtime_options options = {.self_size = sizeof(options)};
        aip_settings *settings = NULL;
        aip_runtime *runtime = NULL;
        aip_error *err = NULL;
        int code;

        source.overrides = defaults;
        if (aip_settings_load(&source, &settings, &err) < 0)
                return fail(err);
        if (aip_runtime_new(settings, &options, &runtime, &err) < 0 ||
            add_graph(runtime, &err) < 0 || aip_runtime_start_worker(runtime, &err) < 0 ||
            aip_runtime_wait_ready(runtime, 10000, &err) < 0)
                code = fail(err);
        else
                code = run_job(runtime, argc > 1 ? argv[1] : "first");
        aip_runtime_free(runtime);
        aip_settings_free(settings);
        return code;
}
