/* Subgraphs: nodes whose work is a run of another graph. State in and out, names, questions inside, Commands
 * to the parent, failures and cancels, and lives that end at any moment. */
#include "alloc_fail.h"
#include "graph_fixture.h"
#include "graph_shelf.h"
#include "graph_waiting.h"
#include "macros.h"
#include <aiplat/graph_run.h>
#include <aiplat/loops.h>

/* What all nodes of a run share. */
struct world {
        int n_slow; /* ended */
        int n_fail; /* the slow node fails so many times */
        int asks;   /* the node "ask" asks */
        int64_t delay_ms;
        int commands; /* the node "ask" has Commands for the parent */
        aip_graph *recursive;
};

static void work(aip_graph_task *task, aip_error **err)
{
        struct world *world = aip_graph_task_context(task);

        world->n_slow++;
        if (world->n_fail > 0) {
                world->n_fail--;
                aip_error_set(err, AIP_EUPSTREAM, "not this time");
                aip_error_set_retryable(*err, 1, 0);
        }
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(aip_graph_task_node(task))));
}

static int64_t delay_ms(const aip_graph_task *task)
{
        const struct world *world = aip_graph_task_context(task);

        return world->delay_ms;
}

static const struct waiting_node waiting = {delay_ms, work};

static int ask(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const struct world *world = aip_graph_task_context(task);

        (void)user, (void)ret_update, (void)err;
        if (world->commands) {
                aip_graph_task_parent_write(task, "log", aip_value_string(AIP_STR("up")));
                aip_graph_task_parent_goto(task, "other");
                aip_graph_task_parent_send(task, "sent", aip_value_int(7));
        }
        if (world->asks) {
                const aip_value *answer =
                        aip_graph_task_interrupt(task, aip_graph_task_get(task, "name"));
                if (!answer)
                        return 0;
                aip_graph_task_write(task, "log", aip_value_ref(answer));
        }
        aip_graph_task_write(task, "log", aip_value_string(AIP_STR("ask")));
        return 0;
}

static void add_slow(aip_graph_builder *b, const char *name)
{
        struct aip_node_options o = waiting_options(&waiting);
        aip_graph_builder_add_node(b, name, &o);
}

/* slow ─► ask ─► last: channels name and log */
static aip_graph *build_inner(void)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "name", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        add_slow(b, "slow");
        add_slow(b, "last");
        aip_graph_builder_add_function(b, "ask", ask, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "slow");
        aip_graph_builder_add_edge(b, "slow", "ask");
        aip_graph_builder_add_edge(b, "ask", "last");
        aip_graph_builder_add_edge(b, "last", AIP_GRAPH_END);
        return compile(b);
}

/* {"name": what was sent, or the node's name} */
static int enter(void *user, aip_graph_task *task, aip_value **ret_input, aip_error **err)
{
        const aip_value *sent = aip_graph_task_input(task);
        (void)user;
        *ret_input = aip_value_object();
        if (!*ret_input ||
            aip_value_object_set_cstr(
                    ret_input, "name",
                    sent ? aip_value_ref(sent)
                         : aip_value_string(aip_str_of(aip_graph_task_node(task)))) < 0)
                return aip_error_set_nomem(err);
        return 0;
}

/* What the subgraph's log came to, as one element. */
static int leave(void *user, aip_graph_task *task, const aip_value *state, aip_value **ret_update,
                 aip_error **err)
{
        aip_value *element = aip_value_list();
        (void)user, (void)ret_update, (void)err;
        if (element &&
            aip_value_list_append(&element, aip_value_ref(aip_value_get_cstr(state, "log"))) < 0)
                aip_value_unref(AIP_TAKE(element));
        aip_graph_task_write(task, "log", element);
        return 0;
}

static struct aip_node_options subgraph_of(aip_graph *graph)
{
        struct aip_node_options o = AIP_NODE_OPTIONS_INIT;
        o.subgraph.graph = graph;
        o.enter = enter;
        o.leave = leave;
        return o;
}

static int note_sent(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        aip_graph_task_write(task, "log",
                             aip_graph_task_input(task) ? aip_value_ref(aip_graph_task_input(task))
                                                        : aip_value_string(AIP_STR("other")));
        return 0;
}

/* sub ─► after, and what Commands lead to; `inner` is consumed. */
static aip_graph *build_around(aip_graph *inner, const struct aip_node_retry *retry,
                               uint32_t timeout_ms)
{
        static const char *const targets[] = {"other", "sent"};
        struct aip_node_options o = subgraph_of(inner);
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "name", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        o.targets = targets;
        o.n_targets = 2;
        if (retry)
                o.retry = *retry;
        o.timeout_ms = timeout_ms;
        aip_graph_builder_add_node(b, "sub", &o);
        aip_graph_builder_add_function(b, "other", note_sent, NULL);
        aip_graph_builder_add_function(b, "sent", note_sent, NULL);
        aip_graph_builder_add_function(b, "after", write_json, (void *)"{\"log\":\"after\"}");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "sub");
        aip_graph_builder_add_edge(b, "sub", "after");
        aip_graph_builder_add_edge(b, "other", AIP_GRAPH_END);
        aip_graph_builder_add_edge(b, "sent", AIP_GRAPH_END);
        aip_graph_builder_add_edge(b, "after", AIP_GRAPH_END);
        aip_graph_unref(inner);
        return compile(b);
}

/* fan sends "x" and "y" to sub, whose graph has a subgraph: two levels, twice. `inner` is consumed. */
static int send_two(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        aip_graph_route_send(route, "sub", aip_value_string(AIP_STR("x")));
        aip_graph_route_send(route, "sub", aip_value_string(AIP_STR("y")));
        return 0;
}

/* The middle one hands its own name on. */
static int enter_named(void *user, aip_graph_task *task, aip_value **ret_input, aip_error **err)
{
        (void)user;
        *ret_input = aip_value_object();
        if (!*ret_input ||
            aip_value_object_set_cstr(ret_input, "name",
                                      aip_value_ref(aip_graph_task_get(task, "name"))) < 0)
                return aip_error_set_nomem(err);
        return 0;
}

static aip_graph *build_deep(void)
{
        aip_graph *inner = build_inner(), *middle = NULL;
        struct aip_node_options o = subgraph_of(inner);
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "name", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        o.enter = enter_named;
        add_slow(b, "first");
        aip_graph_builder_add_node(b, "deep", &o);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "first");
        aip_graph_builder_add_edge(b, "first", "deep");
        aip_graph_builder_add_edge(b, "deep", AIP_GRAPH_END);
        middle = compile(b);
        aip_graph_unref(inner);

        b = aip_graph_builder_new();
        o = subgraph_of(middle);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_function(b, "fan", do_nothing, NULL);
        aip_graph_builder_add_node(b, "sub", &o);
        add_router(b, "fan", send_two, NULL, "sub", NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "fan");
        aip_graph_builder_add_edge(b, "sub", AIP_GRAPH_END);
        aip_graph_unref(middle);
        return compile(b);
}

static void count_done(struct aip_op *op)
{
        ++*(int *)op->user;
}

static void run_clear(struct aip_graph_run *run)
{
        aip_value_unref(AIP_TAKE(run->ret_state));
        aip_value_unref(AIP_TAKE(run->ret_questions));
        aip_value_unref(AIP_TAKE(run->ret_image));
        aip_error_free(AIP_TAKE(run->op.err));
}

/* Run to the end, or cancel it after so many events (negative: never). */
static void go(struct aip_graph_run *run, int n_events)
{
        aip_sim_loop *sim = NULL;
        int n_done = 0;

        cr_assert_eq(aip_sim_loop_new(0, &sim, NULL), 0);
        run->op.done = count_done;
        run->op.user = &n_done;
        aip_graph_run_start(aip_sim_loop_port(sim), run);
        while (n_events-- != 0 && aip_sim_loop_step(sim))
                ;
        if (!n_done)
                aip_graph_run_cancel(run);
        while (aip_sim_loop_step(sim))
                ;
        cr_assert_eq(n_done, 1);
        aip_sim_loop_free(sim);
}

static struct aip_graph_run run_of(const aip_graph *graph, struct world *world)
{
        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
        run.graph = graph;
        run.context = world;
        return run;
}

Test(graph_subgraphs, state_goes_in_and_out)
{
        aip_graph *graph = build_around(build_inner(), NULL, 0);
        struct world world = {.delay_ms = 3};
        struct aip_graph_run run = run_of(graph, &world);
        go(&run, -1);
        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
        assert_value(aip_value_ref(run.ret_state),
                     "{\"log\":[[\"slow\",\"ask\",\"last\"],\"after\"]}", "state");
        cr_assert_eq(run.ret_steps, 2);
        cr_assert_not(aip_graph_is_synchronous(graph));
        run_clear(&run);
        aip_graph_unref(graph);
}

Test(graph_subgraphs, a_question_inside_has_its_own_name)
{
        aip_graph *graph = build_deep();
        struct world world = {.delay_ms = 1, .asks = 1};
        struct aip_graph_run run = run_of(graph, &world);
        go(&run, -1);
        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
        cr_assert_eq(run.ret_outcome, AIP_GRAPH_INTERRUPTED);
        assert_value(
                aip_value_ref(run.ret_questions),
                "[{\"id\":\"sub:2:sub:0|deep:2:deep|2:ask:0\",\"node\":\"ask\",\"value\":\"x\"},"
                "{\"id\":\"sub:2:sub:1|deep:2:deep|2:ask:0\",\"node\":\"ask\",\"value\":\"y\"}]",
                "questions");
        aip_value *image = through_text(run.ret_image);
        const aip_value *subgraphs = aip_value_get_cstr(image, "subgraphs");
        cr_assert_eq(aip_value_size(subgraphs), 4);
        assert_value(aip_value_ref(aip_value_get_cstr(subgraphs, "sub:2:sub:1|deep:2:deep")),
                     "{\"step\":2,\"tasks\":[{\"node\":\"ask\",\"question\":\"y\"}],"
                     "\"channels\":{\"name\":\"y\",\"log\":[\"slow\"]}}",
                     "image inside");
        run_clear(&run);

        /* One answer: that one goes on to its end, the other still asks. */
        aip_value *answers = value_of("{\"sub:2:sub:1|deep:2:deep|2:ask:0\":\"yes\"}");
        run = run_of(graph, &world);
        run.image = image;
        run.answers = answers;
        go(&run, -1);
        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
        assert_value(
                aip_value_ref(run.ret_questions),
                "[{\"id\":\"sub:2:sub:0|deep:2:deep|2:ask:0\",\"node\":\"ask\",\"value\":\"x\"}]",
                "the other question");
        aip_value_unref(image);
        aip_value_unref(answers);
        image = through_text(run.ret_image);
        run_clear(&run);

        /* The only question takes any answer. */
        answers = value_of("\"no\"");
        run = run_of(graph, &world);
        run.image = image;
        run.answers = answers;
        go(&run, -1);
        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
        assert_value(aip_value_ref(run.ret_state),
                     "{\"log\":[[\"first\",[\"slow\",\"no\",\"ask\",\"last\"]],"
                     "[\"first\",[\"slow\",\"yes\",\"ask\",\"last\"]]]}",
                     "state");
        cr_assert_eq(world.n_slow, 6, "what had finished ran again");
        aip_value_unref(image);
        aip_value_unref(answers);
        run_clear(&run);
        aip_graph_unref(graph);
}

Test(graph_subgraphs, halts_inside)
{
        static const char *const before[] = {"last"};
        aip_graph *inner = build_inner();
        struct aip_node_options o = subgraph_of(inner);
        struct world world = {.delay_ms = 1};
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        o.subgraph.interrupt_before = before;
        o.subgraph.n_interrupt_before = 1;
        aip_graph_builder_add_node(b, "sub", &o);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "sub");
        aip_graph_builder_add_edge(b, "sub", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        struct aip_graph_run run = run_of(graph, &world);
        go(&run, -1);
        assert_value(aip_value_ref(run.ret_questions),
                     "[{\"id\":\"sub:1:sub|2:last:before\",\"node\":\"last\","
                     "\"value\":{\"interrupt\":\"before\",\"nodes\":[\"last\"]}}]",
                     "question");
        aip_value *image = through_text(run.ret_image), *answers = value_of("true");
        run_clear(&run);
        run = run_of(graph, &world);
        run.image = image;
        run.answers = answers;
        go(&run, -1);
        assert_value(aip_value_ref(run.ret_state), "{\"log\":[[\"slow\",\"ask\",\"last\"]]}",
                     "state");
        run_clear(&run);
        aip_value_unref(image);
        aip_value_unref(answers);
        aip_graph_unref(graph);
        aip_graph_unref(inner);
}

Test(graph_subgraphs, commands_go_to_the_parent)
{
        aip_graph *inner = build_inner(), *graph = build_around(aip_graph_ref(inner), NULL, 0);
        struct world world = {.delay_ms = 1, .commands = 1};
        struct aip_graph_run run = run_of(graph, &world);
        go(&run, -1);
        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
        assert_value(aip_value_ref(run.ret_state), "{\"log\":[\"up\",\"after\",\"other\",7]}",
                     "state");
        cr_assert_eq(world.n_slow, 1, "the subgraph went on after a Command to the parent");
        run_clear(&run);

        run = run_of(inner, &world); /* there is none */
        go(&run, -1);
        cr_assert_str_eq(aip_error_kind(run.op.err), AIP_GRAPH_INVALID_ROUTE);
        assert_error(AIP_TAKE(run.op.err), AIP_EINVAL, "node \"ask\": it has a Command",
                     "without a parent");
        run_clear(&run);

        aip_graph *deep = build_deep(); /* whose nodes have declared no targets */
        run = run_of(deep, &world);
        go(&run, -1);
        assert_error(AIP_TAKE(run.op.err), AIP_EINVAL, "node \"deep\": it named \"other\"",
                     "undeclared target");
        run_clear(&run);
        aip_graph_unref(deep);
        aip_graph_unref(graph);
        aip_graph_unref(inner);
}

Test(graph_subgraphs, fails_with_the_error_inside_and_is_tried_anew)
{
        struct aip_node_retry retry = {.max_attempts = 3};
        aip_graph *graph = build_around(build_inner(), NULL, 0);
        struct world world = {.delay_ms = 1, .n_fail = 1};
        struct aip_graph_run run = run_of(graph, &world);
        go(&run, -1);
        assert_error(AIP_TAKE(run.op.err), AIP_EUPSTREAM,
                     "node \"sub\": node \"slow\": not this time", "one attempt");
        run_clear(&run);
        aip_graph_unref(graph);

        graph = build_around(build_inner(), &retry, 0);
        world = (struct world){.delay_ms = 1, .n_fail = 2};
        struct shelf shelf = {.delay_ms = 1};
        run = run_of(graph, &world);
        aip_sim_loop *sim = NULL;
        cr_assert_eq(aip_sim_loop_new(0, &sim, NULL), 0);
        int n_done = 0;
        shelf.loop = aip_sim_loop_port(sim);
        run.saver = (struct aip_graph_saver){&shelf_ops, &shelf};
        run.op.done = count_done;
        run.op.user = &n_done;
        aip_graph_run_start(shelf.loop, &run);
        while (aip_sim_loop_step(sim))
                ;
        cr_assert_eq(n_done, 1);
        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
        assert_value(aip_value_ref(run.ret_state),
                     "{\"log\":[[\"slow\",\"ask\",\"last\"],\"after\"]}", "state");
        cr_assert_eq(world.n_slow, 4);
        run_clear(&run);
        shelf_clear(&shelf);
        aip_sim_loop_free(sim);
        aip_graph_unref(graph);
}

Test(graph_subgraphs, a_time_out_and_a_cancel_reach_inside)
{
        aip_graph *graph = build_around(build_inner(), NULL, 5);
        struct world world = {.delay_ms = 1000};
        struct aip_graph_run run = run_of(graph, &world);
        go(&run, -1);
        assert_error(AIP_TAKE(run.op.err), AIP_ETIMEOUT, "took longer than 5 ms", "time-out");
        cr_assert_eq(world.n_slow, 0);
        run_clear(&run);
        aip_graph_unref(graph);

        graph = build_deep();
        for (int n = 1, is_over = 0; !is_over; n++) {
                world = (struct world){.delay_ms = 2};
                run = run_of(graph, &world);
                go(&run, n);
                is_over = !run.op.err;
                cr_assert(is_over || aip_error_code(run.op.err) == AIP_ECANCELLED);
                run_clear(&run);
        }
        aip_graph_unref(graph);
}

static int find_again(void *user, aip_graph_task *task, struct aip_subgraph *ret, aip_error **err)
{
        const struct world *world = aip_graph_task_context(task);
        (void)user, (void)err;
        ret->graph = aip_graph_ref(world->recursive);
        return 0;
}

Test(graph_subgraphs, nest_so_deep_and_no_deeper)
{
        struct aip_node_options o = AIP_NODE_OPTIONS_INIT;
        struct world world = {0};
        aip_graph_builder *b = aip_graph_builder_new();
        o.find_subgraph = find_again;
        aip_graph_builder_add_node(b, "again", &o);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "again");
        aip_graph_builder_add_edge(b, "again", AIP_GRAPH_END);
        world.recursive = compile(b);
        struct aip_graph_run run = run_of(world.recursive, &world);
        go(&run, -1);
        assert_error(AIP_TAKE(run.op.err), AIP_ELIMIT, "nested deeper than 8 levels", "depth");
        run_clear(&run);
        aip_graph_unref(world.recursive);
}

Test(graph_subgraphs, a_node_is_one_thing)
{
        aip_graph *inner = build_inner(), *graph = NULL;
        struct aip_node_options o = subgraph_of(inner);
        aip_error *err = NULL;
        aip_graph_builder *b = aip_graph_builder_new();
        o.run = do_nothing;
        aip_graph_builder_add_node(b, "sub", &o);
        cr_assert_eq(aip_graph_compile(b, &graph, &err), AIP_EINVAL);
        assert_error(err, AIP_EINVAL, "or a subgraph", "two ways");
        aip_graph_unref(inner);
}

static int say(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        aip_graph_task_write(task, "log", aip_value_string(AIP_STR("hello")));
        return 0;
}

static int leave_all(void *user, aip_graph_task *task, const aip_value *state,
                     aip_value **ret_update, aip_error **err)
{
        (void)user, (void)task, (void)err;
        *ret_update = aip_value_ref(state);
        return 0;
}

/* The same node and step inside and around: their messages are not taken for each other. */
Test(graph_subgraphs, messages_of_several_levels_stay_apart)
{
        aip_graph *graph = NULL;
        for (int level = 0; level < 3; level++) {
                struct aip_node_options o = AIP_NODE_OPTIONS_INIT;
                struct aip_graph_builder *b = aip_graph_builder_new();
                aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_MESSAGES);
                aip_graph_builder_add_function(b, "say", say, NULL);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, "say");
                if (graph) {
                        o.subgraph.graph = graph;
                        o.leave = leave_all;
                        aip_graph_builder_add_node(b, "sub", &o);
                        aip_graph_builder_add_edge(b, "say", "sub");
                        aip_graph_builder_add_edge(b, "sub", AIP_GRAPH_END);
                        aip_graph_unref(graph);
                } else {
                        aip_graph_builder_add_edge(b, "say", AIP_GRAPH_END);
                }
                graph = compile(b);
        }
        struct world world = {0};
        struct aip_graph_run run = run_of(graph, &world);
        go(&run, -1);
        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
        cr_assert_eq(aip_value_size(aip_value_get_cstr(run.ret_state, "log")), 3);
        run_clear(&run);
        aip_graph_unref(graph);
}

/* Observers. */

static void note_started(void *self, const char *node, const char *task_id)
{
        (void)!aip_buf_printf(self, "%s>%s;", node, task_id);
}

static void note_ended(void *self, const char *node, const char *task_id, const aip_value *updates,
                       const aip_error *err)
{
        (void)updates, (void)err, (void)node;
        (void)!aip_buf_printf(self, "<%s;", task_id);
}

static void note_custom(void *self, const char *node, const char *task_id, const aip_value *value)
{
        (void)value;
        (void)!aip_buf_printf(self, "%s!%s;", node, task_id);
}

Test(graph_subgraphs, observers_see_inside)
{
        static const struct aip_graph_observer_ops ops = {.self_size = sizeof(ops),
                                                          .task_started = note_started,
                                                          .task_ended = note_ended,
                                                          .custom = note_custom};
        struct aip_buf notes = AIP_BUF_INIT(1 << 16);
        aip_graph *graph = build_around(build_inner(), NULL, 0);
        struct world world = {.delay_ms = 1};
        struct aip_graph_run run = run_of(graph, &world);
        run.observer = (struct aip_graph_observer){&ops, &notes};
        go(&run, -1);
        cr_assert_str_eq(aip_buf_str(&notes).p,
                         "sub>1:sub;slow>sub:1:sub|1:slow;slow!sub:1:sub|1:slow;"
                         "<sub:1:sub|1:slow;ask>sub:1:sub|2:ask;<sub:1:sub|2:ask;"
                         "last>sub:1:sub|3:last;last!sub:1:sub|3:last;<sub:1:sub|3:last;"
                         "<1:sub;after>2:after;<2:after;");
        run_clear(&run);
        aip_buf_deinit(&notes);
        aip_graph_unref(graph);
}

/* Lives. */

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
        *run = run_of(graph, world);
        run->op.done = count_done;
        run->op.user = &n_done;
        run->image = image;
        run->answers = image ? answers : NULL;
        run->passes_over_answers = 1;
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

#define DEEP_STATE                                                                                 \
        "{\"log\":[[\"first\",[\"slow\",\"ask\",\"last\"]],[\"first\",[\"slow\",\"ask\",\"last\"]" \
        "]]}"

Test(graph_subgraphs, go_on_inside_after_a_kill_at_any_event)
{
        aip_graph *graph = build_deep();
        int n_most = 0;
        for (int variant = 0; variant < 12; variant++) {
                enum aip_graph_durability durability = variant % 3;
                for (int event = 0, is_over = 0; !is_over; event++) {
                        struct world world = {.delay_ms = variant % 4};
                        struct shelf shelf = {.delay_ms = variant % 5, .wants_whole = variant % 2};
                        struct aip_graph_run run;
                        int n_lives = 1;
                        while (!live(graph, &world, &shelf, durability, NULL,
                                     n_lives < 3 ? event : -1, &run)) {
                                run_clear(&run);
                                n_lives++;
                        }
                        is_over = n_lives == 1;
                        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
                        assert_value(aip_value_ref(run.ret_state), DEEP_STATE, "state");
                        if (durability == AIP_GRAPH_SYNC)
                                n_most = AIP_MAX(n_most, world.n_slow);
                        run_clear(&run);
                        shelf_clear(&shelf);
                }
        }
        /* Each of two kills may cost each of two subgraphs its task in flight, and one whose end was
         * on its way to the saver. */
        cr_assert_leq(n_most, 6 + 4, "%d tasks ran", n_most);
        aip_graph_unref(graph);
}

/* A planned end (a cancel that the saver outlives) loses nothing, whatever the durability. */
Test(graph_subgraphs, a_cancelled_run_goes_on_where_it_was)
{
        aip_graph *graph = build_around(build_inner(), NULL, 0);
        for (enum aip_graph_durability how = AIP_GRAPH_SYNC; how <= AIP_GRAPH_EXIT; how++) {
                struct world world = {.delay_ms = 10};
                struct shelf shelf = {.delay_ms = 1};
                struct aip_graph_run run = run_of(graph, &world);
                aip_sim_loop *sim = NULL;
                int n_done = 0;
                cr_assert_eq(aip_sim_loop_new(0, &sim, NULL), 0);
                shelf.loop = aip_sim_loop_port(sim);
                run.op.done = count_done;
                run.op.user = &n_done;
                run.saver = (struct aip_graph_saver){&shelf_ops, &shelf};
                run.durability = how;
                aip_graph_run_start(shelf.loop, &run);
                aip_sim_loop_run_until(sim, 18); /* in "last" */
                cr_assert_eq(world.n_slow, 1);
                aip_graph_run_cancel(&run);
                while (aip_sim_loop_step(sim))
                        ;
                cr_assert_eq(n_done, 1);
                cr_assert_eq(aip_error_code(run.op.err), AIP_ECANCELLED);
                run_clear(&run);
                aip_sim_loop_free(sim);
                cr_assert(live(graph, &world, &shelf, how, NULL, -1, &run));
                cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
                assert_value(aip_value_ref(run.ret_state),
                             "{\"log\":[[\"slow\",\"ask\",\"last\"],\"after\"]}", "state");
                cr_assert_eq(world.n_slow, 2, "how %d: %d", how, world.n_slow);
                run_clear(&run);
                shelf_clear(&shelf);
        }
        aip_graph_unref(graph);
}

/* Interrupted inside, resumed elsewhere, and killed at every event of that. */
Test(graph_subgraphs, answers_survive_kills)
{
        aip_graph *graph = build_deep();
        aip_value *answers = value_of("{\"sub:2:sub:0|deep:2:deep|2:ask:0\":\"X\","
                                      "\"sub:2:sub:1|deep:2:deep|2:ask:0\":\"Y\"}");
        for (int variant = 0; variant < 6; variant++) {
                for (int event = 0, is_over = 0; !is_over; event++) {
                        struct world world = {.delay_ms = variant, .asks = 1};
                        struct shelf shelf = {.delay_ms = 2};
                        struct aip_graph_run run;
                        enum aip_graph_durability durability = variant % 3;
                        int n_lives = 1;
                        cr_assert(live(graph, &world, &shelf, durability, NULL, -1, &run));
                        cr_assert_eq(run.ret_outcome, AIP_GRAPH_INTERRUPTED);
                        run_clear(&run);
                        while (!live(graph, &world, &shelf, durability, answers,
                                     n_lives < 2 ? event : -1, &run)) {
                                run_clear(&run);
                                n_lives++;
                        }
                        is_over = n_lives == 1;
                        cr_assert_null(run.op.err, "%s", aip_error_message(run.op.err));
                        cr_assert_eq(run.ret_outcome, AIP_GRAPH_ENDED);
                        assert_value(aip_value_ref(run.ret_state),
                                     "{\"log\":[[\"first\",[\"slow\",\"X\",\"ask\",\"last\"]],"
                                     "[\"first\",[\"slow\",\"Y\",\"ask\",\"last\"]]]}",
                                     "state");
                        run_clear(&run);
                        shelf_clear(&shelf);
                }
        }
        aip_value_unref(answers);
        aip_graph_unref(graph);
}

/* A saver that fails at any of its saves: the run fails with its error, and nothing hangs. */
Test(graph_subgraphs, a_save_that_fails_is_the_runs_failure)
{
        aip_graph *graph = build_deep();
        int is_over = 0;
        for (int at = 1; !is_over; at++) {
                struct world world = {.delay_ms = 1};
                struct shelf shelf = {.delay_ms = 1, .n_fail_at = at};
                struct aip_graph_run run;
                cr_assert(live(graph, &world, &shelf, AIP_GRAPH_SYNC, NULL, -1, &run));
                is_over = !run.op.err;
                if (!is_over)
                        assert_error(AIP_TAKE(run.op.err), AIP_ESTATE, "refused", "save");
                run_clear(&run);
                shelf_clear(&shelf);
        }
        aip_graph_unref(graph);
}

static int ask_and_go_on(void *user, aip_error **err)
{
        struct world world = {.delay_ms = 1, .asks = 1};
        struct aip_graph_run run = run_of(user, &world);
        aip_value *image = NULL;
        int code = 0;
        for (int i = 0; i < 2 && code == 0; i++) {
                aip_value *answers = i ? aip_value_int(5) : NULL;
                run = run_of(user, &world);
                run.image = image;
                run.answers = answers;
                if (i && !answers)
                        code = aip_error_set_nomem(err);
                if (code == 0) {
                        aip_sim_loop *sim = NULL;
                        int n_done = 0;
                        code = aip_sim_loop_new(0, &sim, err);
                        run.op.done = count_done;
                        run.op.user = &n_done;
                        if (code == 0) {
                                aip_graph_run_start(aip_sim_loop_port(sim), &run);
                                while (aip_sim_loop_step(sim))
                                        ;
                                cr_assert_eq(n_done, 1);
                        }
                        aip_sim_loop_free(sim);
                }
                if (run.op.err)
                        code = aip_error_propagate(err, AIP_TAKE(run.op.err));
                aip_value_unref(answers);
                aip_value_unref(image);
                image = AIP_TAKE(run.ret_image);
                run_clear(&run);
        }
        aip_value_unref(image);
        return code;
}

Test(graph_subgraphs, survives_allocation_failure)
{
        aip_graph *graph = build_around(build_inner(), NULL, 0);
        ASSERT_SURVIVES_ALLOC_FAILURE(ask_and_go_on, graph);
        aip_graph_unref(graph);
}

/* ── invoke ──────────────────────────────────────────────────────────────────────────────────── */

static void tell_ended(void *self, const char *node, const char *task_id, const aip_value *updates,
                       const aip_error *err)
{
        struct aip_buf *heard = self;

        (void)node, (void)updates, (void)err;
        cr_assert_eq(aip_buf_printf(heard, "%s ", task_id), 0);
}

static const struct aip_graph_observer_ops tell_ops = {.self_size = sizeof(tell_ops),
                                                       .task_ended = tell_ended};

/* It asks, in the subgraph; the image goes on with the answer; and all of it is watched. */
Test(graph_subgraphs, are_invoked_and_watched, .timeout = 30)
{
        struct world world = {.delay_ms = 1, .asks = 1};
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        struct aip_buf heard = AIP_BUF_INIT(1000);
        aip_graph *graph = build_around(build_inner(), NULL, 0);
        aip_value *state = NULL, *questions = NULL, *image = NULL, *answer = value_of("\"yes\"");
        aip_error *err = NULL;

        options.context = &world;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, &err), AIP_ESTATE);
        assert_error(err, AIP_ESTATE, "the run was interrupted", "invoke");
        err = NULL;
        options.observer = (struct aip_graph_observer){&tell_ops, &heard};
        options.ret_questions = &questions;
        options.ret_image = &image;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, &err), 0);
        assert_value(questions,
                     "[{\"id\":\"sub:1:sub|2:ask:0\",\"node\":\"ask\",\"value\":\"sub\"}]",
                     "questions");
        aip_value_unref(state);
        questions = state = NULL;
        options.image = image;
        options.answers = answer;
        options.ret_image = NULL;
        cr_assert_eq(aip_graph_invoke(graph, NULL, &options, &state, &err), 0);
        cr_assert_null(questions);
        assert_value(state, "{\"log\":[[\"slow\",\"yes\",\"ask\",\"last\"],\"after\"]}", "state");
        cr_expect_str_eq(heard.p, "sub:1:sub|1:slow sub:1:sub|2:ask 1:sub "
                                  "sub:1:sub|2:ask sub:1:sub|3:last 1:sub 2:after ");
        aip_buf_deinit(&heard);
        aip_value_unref(image);
        aip_value_unref(answer);
        aip_graph_unref(graph);
}

static int invoke_watched(void *user, aip_error **err)
{
        struct world world = {.delay_ms = 0, .asks = 1};
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        static const struct aip_graph_observer_ops deaf = {.self_size = sizeof(deaf)};
        aip_value *state = NULL, *questions = NULL, *image = NULL;

        options.context = &world;
        options.observer.ops = &deaf;
        options.ret_questions = &questions;
        options.ret_image = &image;
        int r = aip_graph_invoke(user, NULL, &options, &state, err);
        aip_value_unref(state);
        aip_value_unref(questions);
        aip_value_unref(image);
        return r;
}

Test(graph_subgraphs, invoking_survives_allocation_failure)
{
        aip_graph *graph = build_around(build_inner(), NULL, 0);

        ASSERT_SURVIVES_ALLOC_FAILURE(invoke_watched, graph);
        aip_graph_unref(graph);
}
