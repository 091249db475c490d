/* Observers and savers of runs: what they are told, and that a run which is killed at any event goes on from
 * what was saved, to the same end, without running again what had finished. */
#include "alloc_fail.h"
#include "graph_fixture.h"
#include "graph_shelf.h"
#include "graph_waiting.h"
#include "macros.h"
#include <aiplat/graph_run.h>
#include <aiplat/loops.h>

#define N_NODES 3
static const char *const names[N_NODES] = {"a", "b", "c"};

/* What the nodes share: how often each has run, and how long it takes. */
struct world {
        int n_runs[N_NODES], n_joins;
        int64_t delay_ms[N_NODES];
        int fails[N_NODES]; /* so many times */
        int asks;
};

static int index_of(const aip_graph_task *task)
{
        return aip_graph_task_node(task)[0] - 'a';
}

static void work(aip_graph_task *task, aip_error **err)
{
        struct world *world = aip_graph_task_context(task);
        int i = index_of(task);

        world->n_runs[i]++;
        if (world->fails[i] > 0) {
                world->fails[i]--;
                aip_error_set(err, AIP_EUPSTREAM, "not this time");
        }
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(names[i])));
        aip_graph_task_write(task, "n", aip_value_int(i + 1));
}

static int64_t delay_ms(const aip_graph_task *task)
{
        const struct world *world = aip_graph_task_context(task);

        return world->delay_ms[index_of(task)];
}

static const struct waiting_node waiting = {delay_ms, work};

static int join(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        struct world *world = aip_graph_task_context(task);

        (void)user;
        (void)ret_update;
        (void)err;
        world->n_joins++;
        for (int i = 0; i < world->asks; i++) {
                const aip_value *answer = aip_graph_task_interrupt(task, NULL);
                if (!answer)
                        return 0;
                if (i == world->asks - 1)
                        aip_graph_task_write(task, "answer", aip_value_ref(answer));
        }
        aip_graph_task_write(task, "log", aip_value_string(AIP_STR("join")));
        return 0;
}

static int again_or_end(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user;
        (void)err;
        int64_t n = aip_value_as_int(aip_graph_route_get(route, "n"), 0);
        if (n < 18) {
                for (int i = 0; i < N_NODES; i++)
                        aip_graph_route_to(route, names[i]);
        } else {
                aip_graph_route_to(route, AIP_GRAPH_END);
        }
        return 0;
}

/* Three rounds of: a, b and c side by side, then join. */
static aip_graph *build(void)
{
        const char *targets[] = {"a", "b", "c", AIP_GRAPH_END};
        struct aip_router_options router = AIP_ROUTER_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_ADD);
        aip_graph_builder_add_channel(b, "answer", AIP_CHANNEL_LAST_VALUE);
        for (int i = 0; i < N_NODES; i++) {
                struct aip_node_options o = waiting_options(&waiting);
                aip_graph_builder_add_node(b, names[i], &o);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, names[i]);
        }
        aip_graph_builder_add_join(b, names, N_NODES, "join");
        aip_graph_builder_add_function(b, "join", join, NULL);
        router.route = again_or_end;
        router.targets = targets;
        router.n_targets = 4;
        aip_graph_builder_add_router(b, "join", &router);
        return compile(b);
}

#define END_STATE                                                                                  \
        "{\"log\":[\"a\",\"b\",\"c\",\"join\",\"a\",\"b\",\"c\",\"join\",\"a\",\"b\",\"c\",\"join\"],"             \
        "\"n\":18}"

static void count_done(struct aip_op *op)
{
        ++*(int *)op->user;
}

/* One life of a process: it goes on from the shelf, and is killed after so many events (negative: never).
 * Whether it came to its end. */
static int live(const aip_graph *graph, struct world *world, struct shelf *shelf,
                enum aip_graph_durability durability, const aip_value *answers, int n_events,
                struct aip_graph_run *run)
{
        aip_sim_loop *sim = NULL;
        int n_done = 0;
        aip_value *image = shelf_image(shelf);

        cr_assert_eq(aip_sim_loop_new(0, &sim, NULL), 0);
        shelf->loop = aip_sim_loop_port(sim);
        shelf->is_dead = 0;
        *run = (struct aip_graph_run)AIP_GRAPH_RUN_INIT;
        run->op.done = count_done;
        run->op.user = &n_done;
        run->graph = graph;
        run->context = world;
        run->image = image;
        run->answers = answers;
        run->saver = (struct aip_graph_saver){&shelf_ops, shelf};
        run->durability = durability;
        aip_graph_run_start(shelf->loop, run);
        while (n_events-- != 0 && aip_sim_loop_step(sim))
                ;
        int has_ended = n_done;
        if (!has_ended) {
                shelf->is_dead = 1;
                aip_graph_run_cancel(run);
                while (aip_sim_loop_step(sim))
                        ;
        }
        cr_assert_eq(n_done, 1);
        aip_value_unref(image);
        aip_sim_loop_free(sim);
        return has_ended;
}

static void run_clear(struct aip_graph_run *run)
{
        aip_value_unref(run->ret_state);
        aip_value_unref(run->ret_questions);
        aip_value_unref(run->ret_image);
        aip_error_free(run->op.err);
}

Test(graph_keeper, goes_on_after_a_kill_at_any_event)
{
        aip_graph *graph = build();
        for (int variant = 0; variant < 18; variant++) {
                for (int event = 0, is_over = 0; !is_over; event++) {
                        struct world world = {.delay_ms = {variant % 3, 2, 1 + variant % 2}};
                        struct shelf shelf = {.delay_ms = variant % 5, .wants_whole = variant % 2};
                        struct aip_graph_run run;
                        enum aip_graph_durability durability = variant % 3;
                        int n_lives = 1;
                        while (!live(graph, &world, &shelf, durability, NULL,
                                     n_lives < 3 ? event : -1, &run)) {
                                run_clear(&run);
                                n_lives++;
                        }
                        is_over = n_lives == 1;
                        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
                        assert_value(aip_value_ref(run.ret_state), END_STATE, "state");
                        cr_assert_leq(world.n_runs[1], durability == AIP_GRAPH_EXIT ? 9 : 5);
                        run_clear(&run);
                        shelf_clear(&shelf);
                }
        }
        aip_graph_unref(graph);
}

/* One of three fails: the others do not run again when the run is tried again. */
Test(graph_keeper, finished_siblings_do_not_run_again)
{
        aip_graph *graph = build();
        for (enum aip_graph_durability how = AIP_GRAPH_SYNC; how <= AIP_GRAPH_EXIT; how++) {
                struct world world = {.delay_ms = {1, 5, 1}, .fails = {0, 1, 0}};
                struct shelf shelf = {.delay_ms = 1};
                struct aip_graph_run run;
                cr_assert(live(graph, &world, &shelf, how, NULL, -1, &run));
                assert_error(AIP_TAKE(run.op.err), AIP_EUPSTREAM, "not this time", "first try");
                run_clear(&run);
                cr_assert(live(graph, &world, &shelf, how, NULL, -1, &run));
                cr_assert_null(run.op.err);
                assert_value(aip_value_ref(run.ret_state), END_STATE, "state");
                cr_assert_eq(world.n_runs[0], 3);
                cr_assert_eq(world.n_runs[1], 4);
                cr_assert_eq(world.n_runs[2], 3);
                run_clear(&run);
                shelf_clear(&shelf);
        }
        aip_graph_unref(graph);
}

/* A node that asks twice is interrupted twice in one step: the second run merges nothing before it ends. */
Test(graph_keeper, every_question_is_kept)
{
        aip_graph *graph = build();
        for (enum aip_graph_durability how = AIP_GRAPH_SYNC; how <= AIP_GRAPH_EXIT; how++) {
                struct world world = {.delay_ms = {1, 1, 1}, .asks = 2};
                struct shelf shelf = {.delay_ms = 1};
                struct aip_graph_run run;
                aip_value *answer = value_of("\"yes\"");
                cr_assert(live(graph, &world, &shelf, how, NULL, -1, &run));
                for (int n = 0; n < 6; n++) {
                        cr_assert_eq(run.ret_outcome, AIP_GRAPH_INTERRUPTED, "%d answers", n);
                        run_clear(&run);
                        cr_assert(live(graph, &world, &shelf, how, answer, -1, &run));
                        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
                }
                cr_assert_eq(run.ret_outcome, AIP_GRAPH_ENDED, "durability %d", (int)how);
                run_clear(&run);
                shelf_clear(&shelf);
                aip_value_unref(answer);
        }
        aip_graph_unref(graph);
}

/* Interrupted, and the process ends; the answer is given to another one. */
Test(graph_keeper, an_interrupted_run_goes_on_with_answers_elsewhere)
{
        aip_graph *graph = build();
        for (enum aip_graph_durability how = AIP_GRAPH_SYNC; how <= AIP_GRAPH_EXIT; how++) {
                struct world world = {.delay_ms = {1, 1, 1}, .asks = 1};
                struct shelf shelf = {.delay_ms = 1};
                struct aip_graph_run run;
                aip_value *answer = value_of("\"yes\"");
                int n = 0;
                cr_assert(live(graph, &world, &shelf, how, NULL, -1, &run));
                for (; run.ret_outcome == AIP_GRAPH_INTERRUPTED; n++) {
                        cr_assert_eq(aip_value_size(run.ret_questions), 1);
                        run_clear(&run);
                        cr_assert(live(graph, &world, &shelf, how, answer, -1, &run));
                }
                cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
                cr_assert_eq(n, 3);
                cr_assert_eq(world.n_runs[0], 3);
                aip_value_unref(answer);
                run_clear(&run);
                shelf_clear(&shelf);
        }
        aip_graph_unref(graph);
}

/* Whichever save is refused, the run ends with that error, and nothing else happens. */
Test(graph_keeper, fails_when_a_save_is_refused)
{
        aip_graph *graph = build();
        for (enum aip_graph_durability how = AIP_GRAPH_SYNC; how <= AIP_GRAPH_EXIT; how++) {
                int n_refused = 0;
                for (int nth = 1, is_over = 0; !is_over; nth++) {
                        struct world world = {.delay_ms = {1, 3, 2}};
                        struct shelf shelf = {.delay_ms = 2, .n_fail_at = nth};
                        struct aip_graph_run run;
                        cr_assert(live(graph, &world, &shelf, how, NULL, -1, &run));
                        is_over = run.op.err == NULL;
                        n_refused += !is_over;
                        if (!is_over)
                                assert_error(AIP_TAKE(run.op.err), AIP_ESTATE, "refused", "save");
                        run_clear(&run);
                        shelf_clear(&shelf);
                }
                cr_assert_geq(n_refused, how == AIP_GRAPH_EXIT ? 1 : 7);
        }
        aip_graph_unref(graph);
}

/* A run that is cancelled while a save of it is refused: whichever, and whenever. What its tasks have said would
 * be kept beside a step that is not theirs. */
Test(graph_keeper, saves_nothing_after_a_refused_save_when_cancelled)
{
        aip_graph *graph = build();
        for (int nth = 1; nth <= 4; nth++) {
                for (int event = 1; event < 60; event++) {
                        struct world world = {.delay_ms = {1, 3, 2}};
                        struct shelf shelf = {.delay_ms = 2, .n_fail_at = nth};
                        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
                        aip_sim_loop *sim = NULL;
                        int n_done = 0, n = event;
                        cr_assert_eq(aip_sim_loop_new(0, &sim, NULL), 0);
                        shelf.loop = aip_sim_loop_port(sim);
                        run.op.done = count_done;
                        run.op.user = &n_done;
                        run.graph = graph;
                        run.context = &world;
                        run.saver = (struct aip_graph_saver){&shelf_ops, &shelf};
                        run.durability = AIP_GRAPH_ASYNC;
                        aip_graph_run_start(shelf.loop, &run);
                        while (n-- > 0 && aip_sim_loop_step(sim))
                                ;
                        if (n_done == 0)
                                aip_graph_run_cancel(&run);
                        while (aip_sim_loop_step(sim))
                                ;
                        cr_assert_eq(n_done, 1);
                        cr_assert_leq(shelf.n_saves, nth, "%d saves, of which the %d. was refused",
                                      shelf.n_saves, nth);
                        run_clear(&run);
                        shelf_clear(&shelf);
                        aip_sim_loop_free(sim);
                }
        }
        aip_graph_unref(graph);
}

/* Observing. */

struct notes {
        struct aip_buf text;
};

static void note(struct notes *notes, const char *what, const char *node)
{
        cr_assert_eq(aip_buf_append(&notes->text, aip_str_of(what)), 0);
        cr_assert_eq(aip_buf_append(&notes->text, aip_str_of(node)), 0);
        cr_assert_eq(aip_buf_append(&notes->text, AIP_STR(";")), 0);
}

static void note_value(struct notes *notes, const char *what, const aip_value *value)
{
        cr_assert_eq(aip_buf_append(&notes->text, aip_str_of(what)), 0);
        cr_assert_eq(aip_value_print(value, &notes->text, NULL), 0);
        cr_assert_eq(aip_buf_append(&notes->text, AIP_STR(";")), 0);
}

static void on_step(void *self, int32_t step, const char *const *nodes, size_t n)
{
        (void)step;
        for (size_t i = 0; i < n; i++)
                note(self, "step ", nodes[i]);
}

static void on_task(void *self, const char *node, const char *task_id)
{
        (void)node;
        note(self, "task ", task_id);
}

static void on_task_end(void *self, const char *node, const char *task_id, const aip_value *updates,
                        const aip_error *err)
{
        (void)task_id;
        note(self, err ? "failed " : updates ? "end " : "asks ", node);
        if (updates)
                note_value(self, "", updates);
}

static void on_step_end(void *self, int32_t step, const aip_value *changes)
{
        (void)step;
        note_value(self, "changes ", changes);
}

static void on_custom(void *self, const char *node, const char *task_id, const aip_value *value)
{
        (void)task_id;
        (void)value;
        note(self, "custom ", node);
}

static const struct aip_graph_observer_ops note_ops = {
        sizeof(note_ops), on_step, on_task, on_task_end, on_step_end, on_custom};

static int write_twice(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        (void)ret_update;
        aip_value *said = aip_value_int(7);
        if (!said)
                return aip_error_set_nomem(err);
        aip_graph_task_emit(task, said);
        aip_value_unref(said);
        aip_graph_task_write(task, "log", aip_value_int(1));
        aip_graph_task_write(task, "log", aip_value_int(2));
        aip_graph_task_write(task, "x", aip_value_int(3));
        return 0;
}

static void observe(const aip_graph *graph, const struct aip_graph_observer_ops *ops,
                    struct notes *notes, int *ret_code)
{
        aip_sim_loop *sim = NULL;
        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
        int n_done = 0;
        if (aip_sim_loop_new(0, &sim, NULL) < 0) {
                *ret_code = AIP_ENOMEM;
                return;
        }
        run.op.done = count_done;
        run.op.user = &n_done;
        run.graph = graph;
        run.observer = (struct aip_graph_observer){ops, notes};
        aip_graph_run_start(aip_sim_loop_port(sim), &run);
        while (aip_sim_loop_step(sim))
                ;
        cr_assert_eq(n_done, 1);
        *ret_code = run.op.err ? aip_error_code(run.op.err) : 0;
        run_clear(&run);
        aip_sim_loop_free(sim);
}

static aip_graph *build_observed(void)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "x", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_function(b, "one", write_twice, NULL);
        aip_graph_builder_add_function(b, "two", write_json, (void *)"{\"log\":[4,5]}");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "one");
        aip_graph_builder_add_edge(b, "one", "two");
        aip_graph_builder_add_edge(b, "two", AIP_GRAPH_END);
        return compile(b);
}

Test(graph_keeper, an_observer_is_told_all_in_order)
{
        aip_graph *graph = build_observed();
        struct notes notes = {AIP_BUF_INIT(1 << 20)};
        struct aip_graph_observer_ops nothing = {.self_size = sizeof(nothing)};
        int code;
        observe(graph, &note_ops, &notes, &code);
        cr_assert_eq(code, 0);
        cr_assert_str_eq(aip_buf_str(&notes.text).p,
                         "step one;task 1:one;custom one;end one;{\"log\":[1,2],\"x\":3};"
                         "changes {\"set\":{\"log\":[1,2],\"x\":3}};"
                         "step two;task 2:two;end two;{\"log\":[4,5]};"
                         "changes {\"append\":{\"log\":[4,5]}};");
        observe(graph, &nothing, &notes, &code);
        cr_assert_eq(code, 0);
        aip_buf_deinit(&notes.text);
        aip_graph_unref(graph);
}

static int observe_and_fail(void *user, aip_error **err)
{
        struct aip_graph_observer_ops nothing = {.self_size = sizeof(nothing)};
        int code = 0;
        observe(user, &nothing, NULL, &code);
        return code < 0 ? aip_error_set(err, code, "failed") : 0;
}

Test(graph_keeper, survives_allocation_failure)
{
        aip_graph *graph = build_observed();
        ASSERT_SURVIVES_ALLOC_FAILURE(observe_and_fail, graph);
        aip_graph_unref(graph);
}
