/* Jobs whose graphs take many steps: a worker that dies at any moment, or hands its jobs back, is followed
 * by one that goes on at the last step that was kept; what had finished does not run again. */
#include "one_node.h"

#include "graph_waiting.h"

#define LEASE_MS     3000
#define HEARTBEAT_MS 1000
#define ROUNDS       4
#define N_NODES      3

static struct one_node one;
static int n_runs[N_NODES], n_joins, n_fails; /* of the nodes; failures still to come */

/* ── the graph: a, b and c side by side, then join; four times ───────────────────────────────── */

static void work(aip_graph_task *task, aip_error **err)
{
        int i = aip_graph_task_node(task)[0] - 'a';

        n_runs[i]++;
        if (i == 1 && n_fails > 0) {
                n_fails--;
                aip_error_set(err, AIP_EUPSTREAM, "not this time");
                aip_error_set_retryable(*err, 1, 0);
        }
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(aip_graph_task_node(task))));
}

static int64_t delay_ms(const aip_graph_task *task)
{
        return 20 + 30 * (aip_graph_task_node(task)[0] - 'a');
}

static const struct waiting_node waiting = {delay_ms, work};

static int join(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        n_joins++;
        aip_graph_task_write(task, "round", aip_value_int(1));
        return 0;
}

static int again_or_end(void *user, aip_graph_route *route, aip_error **err)
{
        int has_ended = aip_value_as_int(aip_graph_route_get(route, "round"), 0) >= ROUNDS;

        (void)user, (void)err;
        for (unsigned i = has_ended ? N_NODES : 0; i < (has_ended ? N_NODES + 1u : N_NODES); i++)
                aip_graph_route_to_nth(route, i);
        return 0;
}

static aip_graph *build(void)
{
        static const char *const targets[] = {"a", "b", "c", AIP_GRAPH_END};
        struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph *graph = NULL;
        aip_error *err = NULL;

        aip_graph_builder_add_channel(b, "prompt", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "round", AIP_CHANNEL_ADD);
        for (int i = 0; i < N_NODES; i++) {
                struct aip_node_options o = waiting_options(&waiting);
                aip_graph_builder_add_node(b, targets[i], &o);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, targets[i]);
        }
        aip_graph_builder_add_join(b, targets, N_NODES, "join");
        aip_graph_builder_add_function(b, "join", join, NULL);
        router.route = again_or_end;
        router.targets = targets;
        router.n_targets = N_NODES + 1;
        aip_graph_builder_add_router(b, "join", &router);
        cr_assert_eq(aip_graph_compile(b, &graph, &err), 0, "%s", aip_error_message(err));
        return graph;
}

#define RESULT                                                                                     \
        "{\"prompt\":\"p\",\"log\":[\"a\",\"b\",\"c\",\"a\",\"b\",\"c\",\"a\",\"b\",\"c\",\"a\","  \
        "\"b\",\"c\"],\"round\":4}"

/* ── a checkpoint store that a dead process does not reach ───────────────────────────────────── */

struct gate {
        struct aip_loop loop;
        struct aip_checkpoint_store inner;
        int is_shut, n_saves, n_loads;
};

static int is_refused(struct gate *gate, struct aip_op *op)
{
        aip_error *err = NULL;

        if (!gate->is_shut)
                return 0;
        aip_error_set(&err, AIP_EUNAVAILABLE, "shut");
        aip_op_finish(gate->loop, op, err);
        return 1;
}

static void gate_save(void *self, struct aip_checkpoint_save *save)
{
        struct gate *gate = self;

        gate->n_saves++;
        if (!is_refused(gate, &save->op))
                gate->inner.ops->save(gate->inner.self, save);
}

static void gate_load(void *self, struct aip_checkpoint_load *load)
{
        struct gate *gate = self;

        gate->n_loads++;
        if (!is_refused(gate, &load->op))
                gate->inner.ops->load(gate->inner.self, load);
}

static const struct aip_checkpoint_store_ops gate_ops = {
        .self_size = sizeof(gate_ops), .save = gate_save, .load = gate_load};

static struct gate gates[2];
static struct aip_registered_graph graphs[1];

static struct node_options options(int nth)
{
        return (struct node_options){.seed = 1 + (uint64_t)nth * 100,
                                     .has_worker = 1,
                                     .concurrency = 4,
                                     .lease_ms = LEASE_MS,
                                     .heartbeat_ms = HEARTBEAT_MS,
                                     .job_timeout_ms = 100000,
                                     .graphs = graphs,
                                     .n_graphs = 1,
                                     .log = &one.log,
                                     .checkpoints = {&gate_ops, &gates[nth]}};
}

static void open_gate(struct gate *gate)
{
        *gate = (struct gate){one.loop.port, one.store.checkpoints, 0, 0, 0};
}

static void open_worker(enum aip_graph_durability durability)
{
        memset(n_runs, 0, sizeof(n_runs));
        n_joins = n_fails = 0;
        graphs[0] = (struct aip_registered_graph)AIP_REGISTERED_GRAPH_INIT;
        graphs[0].name = "rounds";
        graphs[0].graph = build();
        graphs[0].durability = durability;
        one_node_open(&one, options(0));
        open_gate(&gates[0]);
        open_gate(&gates[1]);
}

static void close_worker(void)
{
        one_node_close(&one);
        aip_graph_unref((aip_graph *)graphs[0].graph);
}

/* A `checkpoint` of the thread: it goes on there. */
static struct aip_id create_in(struct aip_id thread, int64_t checkpoint)
{
        struct aip_job_submit request = submit_of(checkpoint == 0 ? "p" : "", "fast");

        request.spec.thread_id = thread;
        request.spec.checkpoint = checkpoint;
        request.spec.graph_name = AIP_STR("rounds");
        return submit(&one, request);
}

static struct aip_id create(void)
{
        return create_in((struct aip_id){{0}}, 0);
}

static void expect_result(const struct aip_id *id)
{
        expect_status(&one, id, AIP_JOB_COMPLETED);
        cr_expect(aip_str_eq(stored(&one, id)->result, aip_str_of(RESULT)), "%.*s",
                  AIP_STR_ARG(stored(&one, id)->result));
}

static int has_ended(void *id)
{
        return aip_job_status_is_terminal(stored(&one, id)->status);
}

/* ── the cases ───────────────────────────────────────────────────────────────────────────────── */

Test(processing_durable, a_job_of_many_steps_is_kept_and_completes)
{
        open_worker(AIP_GRAPH_SYNC);
        struct aip_id id = create();
        cr_assert(test_loop_wait(&one.loop, 20000, has_ended, &id));
        expect_result(&id);
        cr_expect_eq(n_runs[0], ROUNDS);
        cr_expect_geq(gates[0].n_saves, 2 * ROUNDS);
        cr_expect_eq(gates[0].n_loads, 0, "a first claim looks for nothing");
        close_worker();
}

/* What is not kept pays nothing: no save, no load. */
Test(processing_durable, the_assistant_is_not_kept)
{
        open_worker(AIP_GRAPH_SYNC);
        struct aip_id id = submit(&one, submit_of("p", "slow"));
        cr_assert(test_loop_wait(&one.loop, 20000, has_ended, &id));
        expect_status(&one, &id, AIP_JOB_COMPLETED);
        cr_expect_eq(gates[0].n_saves + gates[0].n_loads, 0);
        close_worker();
}

/* A thread in which one job has run to its end, and another begins without an input at its second checkpoint. */
static struct aip_id create_fork(void)
{
        struct aip_id thread = {{1}}, first = create_in(thread, 0);

        cr_assert(test_loop_wait(&one.loop, 20000, has_ended, &first));
        memset(n_runs, 0, sizeof(n_runs));
        return create_in(thread, 2);
}

static void die(int64_t after_ms, enum aip_graph_durability durability, int is_fork)
{
        struct node_options o;
        struct node other;

        open_worker(durability);
        struct aip_id id = is_fork ? create_fork() : create();
        while (stored(&one, &id)->status == AIP_JOB_QUEUED)
                pass_ms(&one, 1);
        pass_ms(&one, after_ms);
        if (has_ended(&id)) {
                close_worker();
                return;
        }
        /* To the world it is dead; in fact it runs on, and all it says is lost, or too late. */
        gates[0].is_shut = one.node.jobs.is_cut_off = 1;
        o = options(1);
        node_open(&other, one.loop.port, &one.store, &one.broker, &o);
        cr_assert(test_loop_wait(&one.loop, 60000, has_ended, &id), "after %d", (int)after_ms);
        expect_result(&id);
        cr_expect_leq(gates[1].n_loads, is_fork ? 2 : 1);
        gates[0].is_shut = one.node.jobs.is_cut_off = 0;
        pass_ms(&one, 10000); /* the first hears that it has lost the job */
        cr_expect_eq(aip_processing_service_running(one.node.worker), 0u);
        expect_result(&id);
        node_begin_close(&other, 0);
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &other));
        node_free(&other);
        close_worker();
}

Test(processing_durable, another_worker_goes_on_after_a_death_at_any_moment, .timeout = 120)
{
        for (int ms = 0; ms < 400; ms += 13)
                die(ms, (enum aip_graph_durability)(ms % 2), 0);
}

Test(processing_durable, a_fork_goes_on_after_a_death_at_any_moment, .timeout = 120)
{
        for (int ms = 0; ms < 400; ms += 13)
                die(ms, (enum aip_graph_durability)(ms % 2), 1);
}

/* What is tried again from one checkpoint runs again: it does not find what an earlier try has said. */
Test(processing_durable, each_fork_runs_for_itself)
{
        open_worker(AIP_GRAPH_SYNC);
        struct aip_id thread = {{1}}, id = create_fork();
        cr_assert(test_loop_wait(&one.loop, 60000, has_ended, &id));
        for (int i = 0; i < 2; i++) {
                memset(n_runs, 0, sizeof(n_runs));
                n_joins = 0;
                id = create_in(thread, 1);
                cr_assert(test_loop_wait(&one.loop, 60000, has_ended, &id));
                expect_result(&id);
                cr_expect_eq(n_joins, ROUNDS, "join ran %d times", n_joins);
                cr_expect_eq(n_runs[0], ROUNDS, "a ran %d times", n_runs[0]);
        }
        close_worker();
}

/* The next job of a thread does not wait for the regular look at what is due. */
Test(processing_durable, a_turn_follows_at_once)
{
        open_worker(AIP_GRAPH_SYNC);
        struct aip_id thread = {{1}}, first = create_in(thread, 0), second = create_in(thread, 1);
        cr_assert(test_loop_wait(&one.loop, 20000, has_ended, &first));
        expect_status(&one, &second, AIP_JOB_QUEUED);
        pass_ms(&one, 30);
        expect_status(&one, &second, AIP_JOB_PROCESSING);
        cr_assert(test_loop_wait(&one.loop, 20000, has_ended, &second));
        close_worker();
}

/* Drained in mid-step: the job goes back, and what had finished is kept. */
Test(processing_durable, a_drained_worker_loses_nothing_that_has_finished)
{
        open_worker(AIP_GRAPH_SYNC);
        struct aip_id id = create();
        struct node other;

        while (n_runs[1] < 2)
                pass_ms(&one, 1);
        node_begin_close(&one.node, 0);
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &one.node));
        expect_status(&one, &id, AIP_JOB_QUEUED);
        struct node_options o = options(1);
        node_open(&other, one.loop.port, &one.store, &one.broker, &o);
        cr_assert(test_loop_wait(&one.loop, 60000, has_ended, &id));
        expect_result(&id);
        cr_expect_eq(n_runs[0], ROUNDS, "a ran %d times", n_runs[0]);
        cr_expect_eq(n_runs[1], ROUNDS, "b ran %d times", n_runs[1]);
        cr_expect_eq(n_joins, ROUNDS);
        node_begin_close(&other, 0);
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &other));
        node_free(&other);
        close_worker();
}

/* An attempt fails in the middle of a step: the next one runs what failed, and nothing else again. */
Test(processing_durable, a_failed_attempt_is_taken_up_where_it_failed)
{
        open_worker(AIP_GRAPH_SYNC);
        struct aip_id id = create();
        while (n_runs[1] < 2)
                pass_ms(&one, 1);
        n_fails = 1;
        cr_assert(test_loop_wait(&one.loop, 60000, has_ended, &id));
        expect_result(&id);
        cr_expect_eq(stored(&one, &id)->attempt, 2);
        cr_expect_eq(n_runs[0], ROUNDS);
        cr_expect_eq(n_runs[1], ROUNDS + 1);
        cr_expect_eq(n_runs[2], ROUNDS, "it was cancelled before it had finished");
        close_worker();
}

/* The store of checkpoints is away for a while: the run waits. */
Test(processing_durable, waits_for_a_store_that_is_away)
{
        open_worker(AIP_GRAPH_SYNC);
        struct aip_id id = create();
        while (n_runs[1] < 2)
                pass_ms(&one, 1);
        gates[0].is_shut = 1;
        pass_ms(&one, 3000);
        cr_expect_leq(n_joins, 2);
        gates[0].is_shut = 0;
        cr_assert(test_loop_wait(&one.loop, 60000, has_ended, &id));
        expect_result(&id);
        cr_expect_eq(n_runs[0], ROUNDS);
        close_worker();
}

Test(processing_durable, a_cancelled_job_stops_and_stays_readable)
{
        open_worker(AIP_GRAPH_SYNC);
        struct aip_id id = create();
        struct aip_checkpoint_load load = {.op.done = count_done, .owner = id};
        while (n_runs[1] < 2)
                pass_ms(&one, 1);
        cancel(&one, &id);
        pass_ms(&one, 100);
        cr_expect_eq(aip_processing_service_running(one.node.worker), 0u);
        one.store.checkpoints.ops->load(one.store.checkpoints.self, &load);
        await(&one, &load.op);
        cr_expect_gt(load.ret_n, 0u);
        free(load.ret_checkpoints);
        free(load.ret_tasks);
        close_worker();
}
