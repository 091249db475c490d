/*
 * A worker whose job takes many steps is killed (SIGKILL) again and again at any moment, on a real
 * PostgreSQL: each next one goes on at the last step that was kept, until the job has its result. Every
 * execution of a node leaves a byte in a file, so that repetitions are counted.
 */
#include "app/node.h"
#include "graph_waiting.h"
#include "postgres_schema.h"
#include "require_env.h"
#include <aiplat/loops.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS 40

static struct postgres_schema schema;
static int journal; /* appended to by every process */

static void work(aip_graph_task *task, aip_error **err)
{
        (void)err;
        cr_assert_eq(write(journal, "x", 1), 1);
        aip_graph_task_write(task, "log", aip_value_int(aip_graph_task_step(task)));
}

static int64_t delay_ms(const aip_graph_task *task)
{
        (void)task;
        return 10;
}

static const struct waiting_node waiting = {delay_ms, work};

static int again_or_end(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        aip_graph_route_to_nth(route,
                               aip_value_size(aip_graph_route_get(route, "log")) >= STEPS);
        return 0;
}

static aip_graph *build(void)
{
        static const char *const targets[] = {"work", AIP_GRAPH_END};
        struct aip_node_options node = waiting_options(&waiting);
        struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph *graph = NULL;

        aip_graph_builder_add_channel(b, "prompt", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_node(b, "work", &node);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "work");
        router.route = again_or_end;
        router.targets = targets;
        router.n_targets = 2;
        aip_graph_builder_add_router(b, "work", &router);
        cr_assert_eq(aip_graph_compile(b, &graph, NULL), 0);
        return graph;
}

static aip_uv_loop *uv;

static void stop_loop(struct aip_op *op)
{
        cr_assert_null(op->err, "%s", aip_error_message(op->err));
        aip_uv_loop_stop(uv);
}

static void open_store(struct aip_random random, struct aip_store *ret_store)
{
        struct aip_store_options o = {.self_size = sizeof(o)};
        struct aip_op migrate = {.done = stop_loop};

        cr_assert_eq(aip_uv_loop_new(&uv, NULL), 0);
        o.loop = aip_uv_loop_port(uv);
        o.url = schema.url;
        o.random = random;
        cr_assert_eq(aip_postgres_store_new(&o, ret_store, NULL), 0);
        ret_store->migrate(ret_store->self, &migrate);
        aip_uv_loop_run(uv);
}

static void close_store(struct aip_store *store)
{
        struct aip_op op = {.done = stop_loop};

        store->close(store->self, &op);
        aip_uv_loop_run(uv);
        aip_uv_loop_free(uv);
}

/* The killed process: until it is. */
static void work_until_killed(int nth)
{
        struct aip_registered_graph graph = AIP_REGISTERED_GRAPH_INIT;
        struct node_options o = {.seed = (uint64_t)nth + 1, .has_worker = 1, .concurrency = 4};
        struct broker broker;
        struct aip_store store;
        struct node node;

        graph.name = "steps";
        graph.graph = build();
        open_store(aip_random_system(), &store);
        o.lease_ms = 600;
        o.heartbeat_ms = 200;
        o.job_timeout_ms = 60000;
        o.graphs = &graph;
        o.n_graphs = 1;
        o.checkpoints = store.checkpoints;
        broker_open(&broker, aip_uv_loop_port(uv), 7);
        node_open(&node, aip_uv_loop_port(uv), &store, &broker, &o);
        aip_uv_loop_run(uv);
        _exit(0);
}

static struct aip_id create(void)
{
        struct aip_job_create create = {.op.done = stop_loop};
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        struct aip_id_source ids;
        struct aip_store store;
        aip_job *job = NULL;

        open_store(aip_random_system(), &store);
        aip_id_source_init(&ids, aip_random_system());
        spec.prompt = aip_str_of("p");
        spec.config_name = aip_str_of("simulated");
        spec.graph_name = aip_str_of("steps");
        spec.max_attempts = AIP_JOB_MAX_ATTEMPTS; /* a lost worker costs one */
        struct aip_id id = aip_id_next(&ids, aip_wall_us(aip_uv_loop_port(uv)));
        cr_assert_eq(aip_job_new(id, &spec, aip_wall_us(aip_uv_loop_port(uv)), &job, NULL), 0);
        create.job = job;
        store.jobs.ops->create(store.jobs.self, &create);
        aip_uv_loop_run(uv);
        aip_job_free(job);
        close_store(&store);
        return id;
}

static aip_job *fetch(const struct aip_id *id)
{
        struct aip_job_fetch fetch = {.op.done = stop_loop, .id = *id};
        struct aip_store store;

        open_store(aip_random_system(), &store);
        store.jobs.ops->fetch(store.jobs.self, &fetch);
        aip_uv_loop_run(uv);
        close_store(&store);
        cr_assert_not_null(fetch.ret_job);
        return fetch.ret_job;
}

static off_t n_executions(void)
{
        return lseek(journal, 0, SEEK_END);
}

static pid_t begin_worker(int nth)
{
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0)
                work_until_killed(nth);
        return pid;
}

static void kill_worker(pid_t pid)
{
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

Test(postgres_killed_runs, a_run_goes_on_after_every_kill, .timeout = 180)
{
        char path[] = "/tmp/aiplat-killed-XXXXXX";
        int n_kills = 0, has_ended = 0;
        struct aip_id id;
        pid_t pid;

        journal = mkstemp(path);
        cr_assert_geq(journal, 0);
        unlink(path);
        fcntl(journal, F_SETFL, O_APPEND);
        postgres_schema_make(&schema);
        id = create();
        while (!has_ended) {
                off_t before = n_executions();
                pid = begin_worker(n_kills);
                /* Long enough to take the job over; then some steps, another number each time. */
                for (int i = 0; i < 1000 && n_executions() < before + 3 + n_kills % 4; i++)
                        usleep(10000);
                usleep((useconds_t)(n_kills * 1237 % 10000));
                kill_worker(pid);
                n_kills++;
                aip_job *job = fetch(&id);
                has_ended = aip_job_status_is_terminal(aip_job_fields(job)->status);
                aip_job_free(job);
                cr_assert_lt(n_kills, 40);
        }
        aip_job *job = fetch(&id);
        const struct aip_job_fields *f = aip_job_fields(job);
        cr_assert_eq(f->status, AIP_JOB_COMPLETED, "%.*s", (int)f->error_message.n,
                     f->error_message.p);
        cr_assert_gt(n_kills, 4);
        cr_assert_geq(n_executions(), STEPS);
        cr_assert_leq(n_executions(), STEPS + n_kills, "a kill costs the step that was not kept");
        for (int step = 1; step <= STEPS; step++) {
                char entry[16];
                snprintf(entry, sizeof(entry), step < STEPS ? "%d," : "%d]", step);
                cr_assert(memmem(f->result.p, f->result.n, entry, strlen(entry)), "step %d", step);
        }
        aip_job_free(job);
        postgres_schema_drop(&schema);
}

REQUIRE_ENV("AIPLAT_TEST_DATABASE_URL");
