/*
 * Durable runs: a loop of one integer channel, each step kept in a store before the next begins, as a
 * worker keeps it (libaiplat/application/job_saver.c), one run alone or many at once. For whoever changes
 * the graph runner, the saver or a store:
 *
 *     build/bench/checkpoints URL [--runs N] [--steps S] [--append BYTES]
 *
 * It answers with one line of JSON. With --append each step also adds a message of so many bytes to a
 * list. It must be given a database of its own: it migrates it and fills it.
 */
#include "job_saver.h"
#include <aiplat/adapters.h>
#include <aiplat/loops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct run {
        struct aip_graph_run run;
        struct aip_job_saver saver;
        struct bench *bench;
};

struct bench {
        const char *url;
        size_t n_runs, n_steps, append_bytes;
        aip_uv_loop *uv;
        struct aip_loop loop;
        struct aip_store store;
        struct aip_id_source ids;
        struct aip_id session;
        aip_graph *graph;
        aip_value *input;
        struct run *runs;
        size_t n_done;
};

static void give_up(const char *what, const aip_error *err)
{
        fprintf(stderr, "checkpoints: %s: %s\n", what,
                err ? aip_error_message(err) : "not as expected");
        exit(1);
}

static void stop_loop(struct aip_op *op)
{
        if (op->err)
                give_up("an operation failed", op->err);
        aip_uv_loop_stop(op->user);
}

/* ── the graph ───────────────────────────────────────────────────────────────────────────────── */

static int work(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        static const char filler[4096];
        const struct bench *b = user;

        (void)ret_update, (void)err;
        int64_t count = aip_value_as_int(aip_graph_task_get_at(task, 0), 0);
        aip_graph_task_write_at(task, 0, aip_value_int(count + 1));
        if (b->append_bytes > 0) {
                char text[sizeof(filler)];
                memset(text, 'x', b->append_bytes);
                aip_graph_task_write_at(task, 1,
                                        aip_value_string(aip_str_make(text, b->append_bytes)));
        }
        return 0;
}

static int again(void *user, aip_graph_route *route, aip_error **err)
{
        const struct bench *b = user;

        (void)err;
        int64_t count = aip_value_as_int(aip_graph_route_get_at(route, 0), 0);
        aip_graph_route_to_nth(route, count < (int64_t)b->n_steps ? 0 : 1);
        return 0;
}

static void build(struct bench *b)
{
        static const char *const targets[] = {"work", AIP_GRAPH_END};
        struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
        aip_graph_builder *builder = aip_graph_builder_new();
        aip_error *err = NULL;

        aip_graph_builder_add_channel(builder, "count", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(builder, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_function(builder, "work", work, b);
        aip_graph_builder_add_edge(builder, AIP_GRAPH_START, "work");
        router.route = again;
        router.user = b;
        router.targets = targets;
        router.n_targets = 2;
        aip_graph_builder_add_router(builder, "work", &router);
        if (aip_graph_compile(builder, &b->graph, &err) < 0)
                give_up("the graph", err);
}

/* ── jobs, whose fence the saves need ────────────────────────────────────────────────────────── */

static void create_job(struct bench *b, struct aip_id id)
{
        struct aip_job_create create = {.op = {.done = stop_loop, .user = b->uv}};
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        aip_job *job = NULL;
        aip_error *err = NULL;

        spec.prompt = aip_str_of("p");
        spec.config_name = aip_str_of("simulated");
        if (aip_job_new(id, &spec, aip_wall_us(b->loop), &job, &err) < 0)
                give_up("a job", err);
        create.job = job;
        b->store.jobs.ops->create(b->store.jobs.self, &create);
        aip_uv_loop_run(b->uv);
        aip_job_free(job);
}

static struct aip_fence claim_job(struct bench *b, struct aip_id id)
{
        struct aip_job_claim claim = {.op = {.done = stop_loop, .user = b->uv}};
        struct aip_fence fence;

        claim.session = b->session;
        claim.lease_ms = 3600000;
        claim.ids = &id;
        claim.n_ids = claim.limit = 1;
        b->store.jobs.ops->claim(b->store.jobs.self, &claim);
        aip_uv_loop_run(b->uv);
        if (claim.ret_n != 1)
                give_up("a job was not claimed", NULL);
        fence = (struct aip_fence){id, aip_job_fields(claim.ret_jobs[0])->version};
        aip_job_free(claim.ret_jobs[0]);
        free(claim.ret_jobs);
        free(claim.ret_transitions);
        return fence;
}

/* ── the runs ────────────────────────────────────────────────────────────────────────────────── */

static void run_done(struct aip_op *op)
{
        struct run *run = op->user;
        struct bench *b = run->bench;

        if (op->err || run->run.ret_steps != (int32_t)b->n_steps)
                give_up("a run", op->err);
        aip_value_unref(run->run.ret_state);
        aip_job_saver_deinit(&run->saver);
        if (++b->n_done == b->n_runs)
                aip_uv_loop_stop(b->uv);
}

static void start_run(struct bench *b, struct run *run)
{
        run->run = (struct aip_graph_run)AIP_GRAPH_RUN_INIT;
        run->run.op.done = run_done;
        run->run.op.user = run;
        run->run.graph = b->graph;
        run->run.input = b->input;
        run->run.step_limit = (int32_t)b->n_steps + 1;
        run->run.saver = aip_job_saver_port(&run->saver);
        aip_graph_run_start(b->loop, &run->run);
}

static void prepare(struct bench *b)
{
        struct aip_op migrate = {.done = stop_loop, .user = b->uv};

        b->store.migrate(b->store.self, &migrate);
        aip_uv_loop_run(b->uv);
        build(b);
        b->session = aip_id_next(&b->ids, aip_wall_us(b->loop));
        if (!(b->input = aip_value_object()) || !(b->runs = calloc(b->n_runs, sizeof(*b->runs))))
                give_up("out of memory", NULL);
        for (size_t i = 0; i < b->n_runs; i++) {
                struct aip_id id = aip_id_next(&b->ids, aip_wall_us(b->loop));
                create_job(b, id);
                struct aip_fence fence = claim_job(b, id);
                b->runs[i].bench = b;
                aip_job_saver_init(&b->runs[i].saver, b->loop, b->store.checkpoints, &fence,
                                   &fence.job_id);
        }
}

static double seconds_now(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void measure(struct bench *b)
{
        struct rusage before, after;

        getrusage(RUSAGE_SELF, &before);
        double began = seconds_now();
        for (size_t i = 0; i < b->n_runs; i++)
                start_run(b, &b->runs[i]);
        aip_uv_loop_run(b->uv);
        double wall = seconds_now() - began;
        getrusage(RUSAGE_SELF, &after);
        double n = (double)b->n_runs * (double)b->n_steps;
        double own = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec +
                              after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
                     (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec +
                              after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
                             1e6;
        printf("{\"runs\": %zu, \"steps\": %zu, \"append_bytes\": %zu, \"seconds\": %.3f, "
               "\"steps_per_s\": %.0f, \"own_us_per_step\": %.1f}\n",
               b->n_runs, b->n_steps, b->append_bytes, wall, n / wall, 1e6 * own / n);
}

static void close_all(struct bench *b)
{
        struct aip_op close = {.done = stop_loop, .user = b->uv};

        b->store.close(b->store.self, &close);
        aip_uv_loop_run(b->uv);
        aip_value_unref(b->input);
        aip_graph_unref(b->graph);
        aip_uv_loop_free(b->uv);
        free(b->runs);
}

static int (*maker_of(const char *url))(const struct aip_store_options *, struct aip_store *,
                                        aip_error **)
{
        return strncmp(url, "sqlite:", 7) == 0   ? aip_sqlite_store_new
               : strncmp(url, "memory:", 7) == 0 ? aip_memory_store_new
                                                 : aip_postgres_store_new;
}

static void parse(struct bench *b, int argc, char **argv)
{
        for (int i = 2; i + 1 < argc; i += 2) {
                size_t n = strtoul(argv[i + 1], NULL, 10);
                if (strcmp(argv[i], "--runs") == 0)
                        b->n_runs = n;
                else if (strcmp(argv[i], "--steps") == 0)
                        b->n_steps = n;
                else if (strcmp(argv[i], "--append") == 0)
                        b->append_bytes = n;
                else
                        give_up(argv[i], NULL);
        }
        if (b->n_runs == 0 || b->n_steps == 0 || b->append_bytes > 4096)
                give_up("at least one run of one step, messages of at most 4096 bytes", NULL);
}

int main(int argc, char **argv)
{
        struct bench b = {.n_runs = 1, .n_steps = 1000};
        struct aip_store_options options = {.self_size = sizeof(options)};
        aip_error *err = NULL;

        if (argc < 2) {
                fprintf(stderr, "usage: checkpoints URL [--runs N] [--steps S] [--append BYTES]\n");
                return 2;
        }
        b.url = argv[1];
        parse(&b, argc, argv);
        if (aip_uv_loop_new(&b.uv, &err) < 0)
                give_up("the loop", err);
        b.loop = aip_uv_loop_port(b.uv);
        options.loop = b.loop;
        options.url = b.url;
        options.random = aip_random_system();
        aip_id_source_init(&b.ids, options.random);
        if (maker_of(b.url)(&options, &b.store, &err) < 0)
                give_up("the store", err);
        prepare(&b);
        measure(&b);
        close_all(&b);
        return 0;
}
