/*
 * The store contract, part 5: runs of graphs with runs inside them, kept as the job runner keeps them. Each
 * claim of a job lives for so many saves, whatever comes after is refused; the next goes on at what the
 * store gives back. Run by every store's suite through store_contract.h.
 */
#include "store_fixture.h"

#include "graph_shelf.h"
#include "graph_waiting.h"
#include "job_saver.h"
#include <aiplat/graph_run.h>

#define SLOW_MS 1

/* ── the graph: fan ─► sub, twice side by side; inside: slow ─► ask ─► last ──────────────────── */

struct world {
        int n_slow; /* ended */
        int asks;
};

static void work(aip_graph_task *task, aip_error **err)
{
        struct world *world = aip_graph_task_context(task);

        (void)err;
        world->n_slow++;
        aip_graph_task_write(task, "log", aip_value_string(S(aip_graph_task_node(task))));
}

static int64_t delay_ms(const aip_graph_task *task)
{
        (void)task;
        return SLOW_MS;
}

static const struct waiting_node waiting = {delay_ms, work};

static int ask(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const struct world *world = aip_graph_task_context(task);
        const aip_value *answer = NULL;

        (void)user, (void)ret_update, (void)err;
        if (world->asks &&
            !(answer = aip_graph_task_interrupt(task, aip_graph_task_get(task, "name"))))
                return 0;
        aip_graph_task_write(task, "log",
                             answer ? aip_value_ref(answer) : aip_value_string(S("ask")));
        return 0;
}

static void add_slow(aip_graph_builder *b, const char *name)
{
        struct aip_node_options o = waiting_options(&waiting);

        aip_graph_builder_add_node(b, name, &o);
}

static aip_graph *build_inner(void)
{
        aip_graph_builder *b = aip_graph_builder_new();

        aip_graph_builder_add_channel(b, "name", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        add_slow(b, "slow");
        aip_graph_builder_add_function(b, "ask", ask, NULL);
        add_slow(b, "last");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "slow");
        aip_graph_builder_add_edge(b, "slow", "ask");
        aip_graph_builder_add_edge(b, "ask", "last");
        aip_graph_builder_add_edge(b, "last", AIP_GRAPH_END);
        return compile(b);
}

static int enter(void *user, aip_graph_task *task, aip_value **ret_input, aip_error **err)
{
        (void)user;
        *ret_input = aip_value_object();
        return *ret_input ? aip_value_object_set_cstr(ret_input, "name",
                                                      aip_value_ref(aip_graph_task_input(task)))
                          : aip_error_set_nomem(err);
}

/* What was said inside, as one element. */
static int leave(void *user, aip_graph_task *task, const aip_value *state, aip_value **ret_update,
                 aip_error **err)
{
        aip_value *element = aip_value_list();

        (void)user, (void)ret_update, (void)err;
        cr_assert_eq(
                aip_value_list_append(&element, aip_value_ref(aip_value_get_cstr(state, "log"))),
                0);
        aip_graph_task_write(task, "log", element);
        return 0;
}

static int send_two(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        aip_graph_route_send(route, "sub", aip_value_string(S("x")));
        aip_graph_route_send(route, "sub", aip_value_string(S("ÿ")));
        return 0;
}

static aip_graph *build_graph(void)
{
        struct aip_node_options o = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph *inner = build_inner(), *graph;

        o.subgraph.graph = inner;
        o.enter = enter;
        o.leave = leave;
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_function(b, "fan", do_nothing, NULL);
        aip_graph_builder_add_node(b, "sub", &o);
        aip_graph_builder_add_function(b, "after", write_json, (void *)"{\"log\":\"after\"}");
        add_router(b, "fan", send_two, NULL, "sub", NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "fan");
        aip_graph_builder_add_edge(b, "sub", "after");
        aip_graph_builder_add_edge(b, "after", AIP_GRAPH_END);
        graph = compile(b);
        aip_graph_unref(inner);
        return graph;
}

/* ── lives ───────────────────────────────────────────────────────────────────────────────────── */

/* A claim of the job, and the run under it. */
struct life {
        struct store_fixture *f;
        struct aip_id job_id, session;
        aip_job *job;
        struct aip_job_saver saver;
        struct aip_graph_run run;
        struct shelf *shelf;     /* what should be in the store */
        int n_saves, most_saves; /* then it is dead; 0: it lives on */
        int has_loaded, has_ended;
};

/* What is said under a number again takes the place of what was. */
static void forget_said(struct shelf *shelf, const aip_value *tasks)
{
        aip_value *rest = aip_value_list();

        for (size_t i = 0; i < aip_value_size(shelf->pending); i++) {
                const aip_value *pair = aip_value_at(shelf->pending, i);
                int is_same = 0;
                for (size_t j = 0; j < aip_value_size(tasks); j++)
                        is_same |= aip_value_equal(aip_value_at(aip_value_at(tasks, j), 0),
                                                   aip_value_at(pair, 0));
                if (!is_same)
                        cr_assert_eq(aip_value_list_append(&rest, aip_value_ref(pair)), 0);
        }
        aip_value_unref(shelf->pending);
        shelf->pending = rest;
}

/* What it has to save is kept on the shelf too, or is refused. */
static void life_save(void *self, struct aip_graph_save *save)
{
        struct life *life = self;
        struct aip_graph_saver port = aip_job_saver_port(&life->saver);
        aip_error *err = NULL;

        if (life->most_saves && life->n_saves >= life->most_saves) {
                aip_error_set(&err, AIP_ESTATE, "dead");
                aip_op_finish(life->f->loop, &save->op, err);
                return;
        }
        life->n_saves++;
        if (save->kind == AIP_GRAPH_SAVE_STEP) {
                keep_step(life->shelf, save);
        } else {
                forget_said(life->shelf, save->tasks);
                keep_tasks(life->shelf, save);
        }
        port.ops->save(port.self, save);
}

static const struct aip_graph_saver_ops life_ops = {sizeof(life_ops), life_save};

static void saver_loaded(struct aip_job_saver *saver)
{
        AIP_CONTAINER_OF(saver, struct life, saver)->has_loaded = 1;
}

static void run_ended(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct life, run.op)->has_ended = 1;
}

static void expect_same_pending(const aip_value *found, const aip_value *kept)
{
        cr_assert_eq(aip_value_size(found), aip_value_size(kept), "%zu of %zu tasks are there",
                     aip_value_size(found), aip_value_size(kept));
        for (size_t i = 0; i < aip_value_size(kept); i++) {
                int n = 0;
                for (size_t j = 0; j < aip_value_size(found); j++)
                        n += aip_value_equal(aip_value_at(found, j), aip_value_at(kept, i)) != 0;
                cr_assert_eq(n, 1, "what task %zu said is there %d times", i, n);
        }
}

/* The image that the store gives is the one that was saved. Of what tasks said the order is the store's. */
static void expect_image(const aip_value *image, const struct shelf *shelf)
{
        _cleanup_(aip_value_unref_p) aip_value *kept = shelf_image(shelf);
        _cleanup_(aip_value_unref_p) aip_value *found = image ? through_text(image) : NULL;

        cr_assert_eq(found == NULL, kept == NULL);
        if (!kept)
                return;
        expect_same_pending(aip_value_get_cstr(found, "pending"),
                            aip_value_get_cstr(kept, "pending"));
        cr_assert_eq(aip_value_object_set_cstr(&kept, "pending", aip_value_list()), 0);
        cr_assert_eq(aip_value_object_set_cstr(&found, "pending", aip_value_list()), 0);
        cr_assert(aip_value_equal(found, kept));
}

static void life_begin(struct life *life)
{
        struct aip_fence fence;

        life->session = next_id(life->f);
        life->job = job_claim(life->f, life->session, life->job_id, LEASE_LONG_MS);
        fence = fence_of(life->job);
        aip_job_saver_init(&life->saver, life->f->loop, life->f->store.checkpoints, &fence,
                           &life->job_id);
        life->saver.loaded = saver_loaded;
        aip_job_saver_load(&life->saver);
        run_until(life->f, &life->has_loaded);
        cr_assert_null(life->saver.load.op.err);
        expect_image(life->saver.image, life->shelf);
}

/* Run as far as it may; `run` holds how it ended. */
static void life_run(struct life *life, const aip_graph *graph, struct world *world,
                     const aip_value *answers)
{
        struct aip_graph_run *run = &life->run;

        *run = (struct aip_graph_run)AIP_GRAPH_RUN_INIT;
        run->op.done = run_ended;
        run->graph = graph;
        run->context = world;
        run->image = life->saver.image;
        run->answers = run->image ? answers : NULL;
        run->passes_over_answers = 1;
        run->saver = (struct aip_graph_saver){&life_ops, life};
        aip_graph_run_start(life->f->loop, run);
        run_until(life->f, &life->has_ended);
}

/* The job is another's, or nobody's. */
static void life_end(struct life *life)
{
        struct aip_fence fence = fence_of(life->job);
        struct aip_release release = {.session = life->session, .fences = &fence, .n_fences = 1};

        DO(life->f, release, &release);
        free(release.ret_transitions);
        aip_value_unref(AIP_TAKE(life->run.ret_state));
        aip_value_unref(AIP_TAKE(life->run.ret_questions));
        aip_value_unref(AIP_TAKE(life->run.ret_image));
        aip_error_free(AIP_TAKE(life->run.op.err));
        aip_job_saver_deinit(&life->saver);
        aip_job_free(life->job);
}

/* How many lives of so many saves it takes, to the end or to a question. */
static int live_on(struct store_fixture *f, struct aip_id job_id, const aip_graph *graph,
                   struct world *world, struct shelf *shelf, const aip_value *answers,
                   int most_saves, const char *outcome)
{
        for (int n_lives = 1;; n_lives++) {
                struct life life = {
                        .f = f, .job_id = job_id, .shelf = shelf, .most_saves = most_saves};
                int is_over;

                cr_assert_lt(n_lives, 100, "it does not go on");
                life_begin(&life);
                life_run(&life, graph, world, answers);
                is_over = !life.run.op.err;
                if (is_over)
                        assert_value(aip_value_ref(life.run.ret_questions ? life.run.ret_questions
                                                                          : life.run.ret_state),
                                     outcome, "outcome");
                else
                        cr_assert_eq(aip_error_code(life.run.op.err), AIP_ESTATE, "%s",
                                     aip_error_message(life.run.op.err));
                life_end(&life);
                if (is_over)
                        return n_lives;
        }
}

#define INSIDE "[\"slow\",\"ask\",\"last\"]"

void store_contract_runs_inside_runs_go_on_after_any_save(struct store_fixture *f)
{
        aip_graph *graph = build_graph();
        int n_lives = 0;

        for (int most_saves = 1; n_lives != 1; most_saves++) {
                struct world world = {0};
                struct shelf shelf = {0};

                n_lives = live_on(f, job_create(f, "a", 0), graph, &world, &shelf, NULL, most_saves,
                                  "{\"log\":[" INSIDE "," INSIDE ",\"after\"]}");
                /* A death may cost each of the two what it was at. */
                cr_assert_leq(world.n_slow, 4 + 2 * (n_lives - 1), "%d lives of %d saves: %d ran",
                              n_lives, most_saves, world.n_slow);
                cr_assert_lt(most_saves, 100);
                shelf_clear(&shelf);
        }
        aip_graph_unref(graph);
}

void store_contract_runs_inside_runs_keep_their_questions(struct store_fixture *f)
{
        aip_graph *graph = build_graph();
        aip_value *answers = value_of("{\"sub:2:sub:0|2:ask:0\":1,\"sub:2:sub:1|2:ask:0\":\"2\"}");

        for (int most_saves = 1; most_saves <= 5; most_saves++) {
                struct world world = {.asks = 1};
                struct shelf shelf = {0};
                struct aip_id id = job_create(f, "a", 0);

                live_on(f, id, graph, &world, &shelf, NULL, most_saves,
                        "[{\"id\":\"sub:2:sub:0|2:ask:0\",\"node\":\"ask\",\"value\":\"x\"},"
                        "{\"id\":\"sub:2:sub:1|2:ask:0\",\"node\":\"ask\",\"value\":\"ÿ\"}]");
                live_on(f, id, graph, &world, &shelf, answers, most_saves,
                        "{\"log\":[[\"slow\",1,\"last\"],[\"slow\",\"2\",\"last\"],\"after\"]}");
                shelf_clear(&shelf);
        }
        aip_value_unref(answers);
        aip_graph_unref(graph);
}
