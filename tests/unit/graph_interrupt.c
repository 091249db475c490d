/* Interrupts and images: a run stops with questions, and goes on from its image as if it had never
 * stopped. Every image goes through its text, as it does in a store. */
#include "alloc_fail.h"
#include "graph/graph_image.h"
#include "graph_fixture.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/graph_run.h>

/* The same value, read back from its text. Consumes `value`. */
static aip_value *through_text(aip_value *value)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 20);
        cr_assert_not_null(value);
        cr_assert_eq(aip_value_print(value, &text, NULL), 0);
        aip_value_unref(value);
        aip_value *back = value_of(text.p);
        aip_buf_deinit(&text);
        return back;
}

/* One run: what it came to. */
struct outcome {
        aip_value *state, *questions, *image;
        aip_error *err;
        int32_t steps;
};

static void outcome_deinit(struct outcome *o)
{
        aip_value_unref(o->state);
        aip_value_unref(o->questions);
        aip_value_unref(o->image);
        aip_error_free(o->err);
}

static struct outcome invoke(aip_graph *graph, const char *input, const aip_value *image,
                             const char *answers)
{
        struct outcome o = {0};
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        aip_value *in = input ? value_of(input) : NULL;
        aip_value *said = answers ? value_of(answers) : NULL;
        options.image = image;
        options.answers = said;
        options.ret_questions = &o.questions;
        options.ret_image = &o.image;
        options.ret_steps = &o.steps;
        if (aip_graph_invoke(graph, in, &options, &o.state, &o.err) == 0)
                o.image = through_text(o.image);
        aip_value_unref(in);
        aip_value_unref(said);
        return o;
}

static void assert_member(const aip_value *object, const char *key, const char *expected)
{
        assert_value(aip_value_ref(aip_value_get_cstr(object, key)), expected, key);
}

/* Asks as many questions as `user` points to, and appends the answers to "log"; counts its runs. */
struct asker {
        unsigned n_questions, n_runs;
};

static int ask(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        struct asker *asker = user;
        asker->n_runs++;
        (void)ret_update;
        for (unsigned i = 0; i < asker->n_questions; i++) {
                char text[64];
                snprintf(text, sizeof(text), "%s?%u", aip_graph_task_node(task), i);
                aip_value *question = aip_value_string(aip_str_of(text));
                if (!question)
                        return aip_error_set_nomem(err);
                const aip_value *answer = aip_graph_task_interrupt(task, question);
                aip_value_unref(question);
                if (!answer)
                        return 0;
                aip_graph_task_write(task, "log", aip_value_ref(answer));
        }
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(aip_graph_task_node(task))));
        return 0;
}

/* before ─► a, b, c side by side ─► after */
static aip_graph *build(struct asker askers[3])
{
        static const char *const names[] = {"a", "b", "c"};
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "secret", AIP_CHANNEL_UNTRACKED);
        aip_graph_builder_add_function(b, "before", write_json,
                                       (void *)"{\"log\":\"before\",\"secret\":1}");
        aip_graph_builder_add_function(b, "after", write_json, (void *)"{\"log\":\"after\"}");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "before");
        aip_graph_builder_add_edge(b, "after", AIP_GRAPH_END);
        for (int i = 0; i < 3; i++) {
                aip_graph_builder_add_function(b, names[i], ask, &askers[i]);
                aip_graph_builder_add_edge(b, "before", names[i]);
                aip_graph_builder_add_edge(b, names[i], "after");
        }
        return compile(b);
}

Test(graph_interrupt, asks_and_goes_on_with_the_answer)
{
        struct asker askers[3] = {{0, 0}, {1, 0}, {0, 0}};
        aip_graph *graph = build(askers);
        struct outcome first = invoke(graph, "{\"log\":\"in\"}", NULL, NULL);
        cr_assert_null(first.err, "%s", aip_error_message(first.err));
        assert_value(aip_value_ref(first.questions),
                     "[{\"id\":\"2:b:0\",\"node\":\"b\",\"value\":\"b?0\"}]", "questions");
        assert_member(first.state, "log", "[\"in\",\"before\"]");
        assert_value(aip_value_ref(first.image),
                     "{\"step\":2,\"tasks\":[{\"node\":\"a\",\"writes\":[[\"log\",\"a\"]]},"
                     "{\"node\":\"b\",\"question\":\"b?0\"},"
                     "{\"node\":\"c\",\"writes\":[[\"log\",\"c\"]]}],"
                     "\"channels\":{\"log\":[\"in\",\"before\"]}}",
                     "image");
        for (int again = 0; again < 2; again++) { /* an image may be gone on from more than once */
                struct outcome second = invoke(graph, NULL, first.image, "\"yes\"");
                cr_assert_null(second.err, "%s", aip_error_message(second.err));
                cr_assert_null(second.questions);
                assert_value(aip_value_ref(second.state),
                             "{\"log\":[\"in\",\"before\",\"a\",\"yes\",\"b\",\"c\",\"after\"]}",
                             "state");
                outcome_deinit(&second);
        }
        cr_assert_eq(askers[0].n_runs, 1, "what had finished ran %u times", askers[0].n_runs);
        cr_assert_eq(askers[1].n_runs, 3);
        outcome_deinit(&first);
        aip_graph_unref(graph);
}

static int leave_for_z(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        (void)ret_update;
        (void)err;
        aip_graph_task_leave(task);
        aip_graph_task_goto(task, "z");
        return 0;
}

static aip_graph *build_leaving(struct asker *asker)
{
        static const char *const targets[] = {"z"};
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        options.run = leave_for_z;
        options.targets = targets;
        options.n_targets = 1;
        aip_graph_builder_add_node(b, "a", &options);
        aip_graph_builder_add_function(b, "b", ask, asker);
        aip_graph_builder_add_function(b, "y", write_json, (void *)"{\"log\":\"y\"}");
        aip_graph_builder_add_function(b, "z", write_json, (void *)"{\"log\":\"z\"}");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "b");
        aip_graph_builder_add_edge(b, "a", "y");
        aip_graph_builder_add_edge(b, "b", AIP_GRAPH_END);
        aip_graph_builder_add_edge(b, "y", AIP_GRAPH_END);
        aip_graph_builder_add_edge(b, "z", AIP_GRAPH_END);
        return compile(b);
}

Test(graph_interrupt, a_task_that_left_its_edges_aside_still_does)
{
        struct asker asker = {1, 0};
        aip_graph *graph = build_leaving(&asker);
        struct outcome first = invoke(graph, NULL, NULL, NULL);
        assert_value(aip_value_ref(first.image),
                     "{\"step\":1,\"tasks\":[{\"node\":\"a\",\"writes\":[],\"goto\":[\"z\"],"
                     "\"leaves\":true},{\"node\":\"b\",\"question\":\"b?0\"}],\"channels\":{"
                     "\"log\":[]}}",
                     "image");
        struct outcome second = invoke(graph, NULL, first.image, "\"yes\"");
        cr_assert_null(second.err, "%s", aip_error_message(second.err));
        assert_member(second.state, "log", "[\"yes\",\"b\",\"z\"]");
        outcome_deinit(&first);
        outcome_deinit(&second);
        aip_graph_unref(graph);
}

Test(graph_interrupt, several_questions_of_one_node_are_answered_in_order)
{
        struct asker askers[3] = {{3, 0}, {0, 0}, {0, 0}};
        aip_graph *graph = build(askers);
        struct outcome now = invoke(graph, NULL, NULL, NULL);
        for (int i = 0; i < 3; i++) {
                char id[64], answer[16];
                snprintf(id, sizeof(id), "[{\"id\":\"2:a:%d\",\"node\":\"a\",\"value\":\"a?%d\"}]",
                         i, i);
                assert_value(aip_value_ref(now.questions), id, "questions");
                snprintf(answer, sizeof(answer), "%d", i + 10);
                struct outcome next = invoke(graph, NULL, now.image, answer);
                cr_assert_null(next.err, "%s", aip_error_message(next.err));
                outcome_deinit(&now);
                now = next;
        }
        assert_member(now.state, "log", "[\"before\",10,11,12,\"a\",\"b\",\"c\",\"after\"]");
        cr_assert_eq(askers[0].n_runs, 4);
        cr_assert_eq(askers[1].n_runs, 1);
        outcome_deinit(&now);
        aip_graph_unref(graph);
}

Test(graph_interrupt, open_questions_are_answered_by_id_and_bit_by_bit)
{
        struct asker askers[3] = {{1, 0}, {1, 0}, {1, 0}};
        aip_graph *graph = build(askers);
        struct outcome first = invoke(graph, NULL, NULL, NULL);
        cr_assert_eq(aip_value_size(first.questions), 3);
        struct outcome second =
                invoke(graph, NULL, first.image, "{\"2:c:0\":\"C\",\"2:a:0\":\"A\"}");
        assert_value(aip_value_ref(second.questions),
                     "[{\"id\":\"2:b:0\",\"node\":\"b\",\"value\":\"b?0\"}]", "questions");
        struct outcome third = invoke(graph, NULL, second.image, "{\"n\":1}");
        cr_assert_null(third.err, "%s", aip_error_message(third.err));
        assert_member(third.state, "log",
                      "[\"before\",\"A\",\"a\",{\"n\":1},\"b\",\"C\",\"c\",\"after\"]");
        cr_assert_eq(askers[0].n_runs, 2);
        cr_assert_eq(askers[1].n_runs, 2);
        outcome_deinit(&first);
        outcome_deinit(&second);
        outcome_deinit(&third);
        aip_graph_unref(graph);
}

static void assert_refuses(aip_graph *graph, const char *input, const char *image,
                           const char *answers, int code, const char *message)
{
        aip_value *from = image ? value_of(image) : NULL;
        struct outcome o = invoke(graph, input, from, answers);
        cr_assert_null(o.state, "%s", message);
        assert_error(AIP_TAKE(o.err), code, message, "refuses");
        outcome_deinit(&o);
        aip_value_unref(from);
}

static const struct {
        const char *input, *image, *answers;
        int code;
        const char *message;
} refused[] = {
        {NULL, NULL, "1", AIP_EINVAL, "answers need the image"},
        {"{}", "{\"step\":1,\"channels\":{}}", "1", AIP_EINVAL, "an input or answers, not both"},
        {NULL, "{\"step\":1,\"channels\":{}}", "1", AIP_ESTATE, "waits for no answer"},
        {NULL, "{\"channels\":{}}", NULL, AIP_EINVAL, "has no step"},
        {NULL, "{\"step\":-1,\"channels\":{}}", NULL, AIP_EINVAL, "has no step"},
        {NULL, "{\"step\":1}", NULL, AIP_EINVAL, "has no channels"},
        {NULL, "[]", NULL, AIP_EINVAL, "has no step"},
        {NULL, "{\"step\":1,\"channels\":{\"log\":1}}", NULL, AIP_EINVAL, "takes a list"},
        {NULL, "{\"step\":1,\"channels\":{},\"next\":[\"z\"]}", NULL, AIP_ESTATE,
         "go on at node \"z\", which the graph does not have"},
        {NULL, "{\"step\":1,\"channels\":{},\"next\":[7]}", NULL, AIP_EINVAL, "names a node by"},
        {NULL, "{\"step\":1,\"channels\":{},\"sends\":[{\"node\":\"a\"}]}", NULL, AIP_EINVAL,
         "a send without an input"},
        {NULL, "{\"step\":1,\"channels\":{},\"tasks\":[{\"node\":\"z\"}]}", NULL, AIP_ESTATE,
         "\"z\""},
        {NULL, "{\"step\":1,\"channels\":{},\"tasks\":[{\"node\":\"a\",\"writes\":[[1]]}]}", NULL,
         AIP_EINVAL, "a write that is not"},
        {NULL, "{\"step\":1,\"channels\":{},\"tasks\":[{\"node\":\"a\",\"answers\":1}]}", NULL,
         AIP_EINVAL, "answers that are no list"},
        {NULL,
         "{\"step\":1,\"channels\":{},\"tasks\":[{\"node\":\"a\",\"question\":1},"
         "{\"node\":\"b\",\"question\":2}]}",
         "\"yes\"", AIP_EINVAL, "2 questions are open"},
        {NULL,
         "{\"step\":1,\"channels\":{},\"tasks\":[{\"node\":\"a\",\"writes\":[],\"goto\":[\"b\"]}]}",
         NULL, AIP_EINVAL, "not among its declared targets"},
};

Test(graph_interrupt, refuses_what_makes_no_sense)
{
        struct asker askers[3] = {{0, 0}, {0, 0}, {0, 0}};
        aip_graph *graph = build(askers);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(refused); i++)
                assert_refuses(graph, refused[i].input, refused[i].image, refused[i].answers,
                               refused[i].code, refused[i].message);
        aip_graph_unref(graph);
}

Test(graph_interrupt, a_caller_that_expects_no_questions_is_told)
{
        struct asker askers[3] = {{1, 0}, {0, 0}, {0, 0}};
        aip_graph *graph = build(askers);
        aip_value *state = NULL;
        aip_error *err = NULL;
        cr_assert_lt(aip_graph_invoke(graph, NULL, NULL, &state, &err), 0);
        assert_error(err, AIP_ESTATE, "the run was interrupted", "invoke");
        aip_graph_unref(graph);
}

/* A thread: the state of one run is where the next one begins. */
Test(graph_interrupt, a_new_input_keeps_the_channels)
{
        struct asker askers[3] = {{0, 0}, {0, 0}, {0, 0}};
        aip_graph *graph = build(askers);
        struct outcome first = invoke(graph, "{\"log\":1}", NULL, NULL);
        struct outcome second = invoke(graph, "{\"log\":2}", first.image, NULL);
        cr_assert_null(second.err, "%s", aip_error_message(second.err));
        assert_member(second.state, "log",
                      "[1,\"before\",\"a\",\"b\",\"c\",\"after\",2,\"before\",\"a\",\"b\",\"c\","
                      "\"after\"]");
        cr_assert_eq(second.steps, 3);
        outcome_deinit(&first);
        outcome_deinit(&second);
        aip_graph_unref(graph);
}

/* ── images at every step ────────────────────────────────────────────────────────────────────── */

/* Every kind of channel, sends, Commands, a join and a deferred node. */
static int wander(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        int64_t n = aip_value_as_int(aip_graph_task_get(task, "n"), 0);
        (void)user;
        (void)ret_update;
        (void)err;
        aip_graph_task_write(task, "n", aip_value_int(1));
        aip_graph_task_write(task, "topic", aip_value_int(n));
        if (n % 3 == 2)
                aip_graph_task_overwrite(task, "log", aip_value_list());
        else
                aip_graph_task_write(task, "log", aip_value_int(n));
        aip_graph_task_write(task, "messages", aip_value_string(aip_str_of("hello")));
        if (n > 6) {
                aip_graph_task_goto(task, AIP_GRAPH_END);
                return 0;
        }
        aip_graph_task_send(task, "w", aip_value_int(n));
        aip_graph_task_send(task, "w", aip_value_int(-n));
        return 0;
}

static int work(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        (void)ret_update;
        (void)err;
        aip_graph_task_write(task, "topic", aip_value_ref(aip_graph_task_input(task)));
        aip_graph_task_write(task, "seen", aip_value_ref(aip_graph_task_get(task, "topic")));
        return 0;
}

static aip_graph *wandering(void)
{
        static const char *const targets[] = {"w", AIP_GRAPH_END}, *const sources[] = {"w", "side"};
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_ADD);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "seen", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "topic", AIP_CHANNEL_TOPIC);
        aip_graph_builder_add_channel(b, "messages", AIP_CHANNEL_MESSAGES);
        options.run = wander;
        options.targets = targets;
        options.n_targets = 2;
        aip_graph_builder_add_node(b, "wander", &options);
        aip_graph_builder_add_function(b, "w", work, NULL);
        aip_graph_builder_add_function(b, "side", do_nothing, NULL);
        options = (struct aip_node_options)AIP_NODE_OPTIONS_INIT;
        options.run = do_nothing;
        options.is_deferred = 1;
        aip_graph_builder_add_node(b, "last", &options);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "wander");
        aip_graph_builder_add_edge(b, "wander", "side");
        aip_graph_builder_add_edge(b, "wander", "last");
        aip_graph_builder_add_join(b, sources, 2, "wander");
        aip_graph_builder_add_edge(b, "last", AIP_GRAPH_END);
        return compile(b);
}

static void step(struct aip_graph_state *state)
{
        aip_error *err = NULL;
        for (uint32_t i = 0; i < state->n_tasks; i++)
                if (state->tasks[i].phase == AIP_TASK_PLANNED)
                        aip_graph_task_run(&state->tasks[i]);
        cr_assert_eq(aip_graph_merge(state, &err), 0, "%s", aip_error_message(err));
}

struct machine {
        struct aip_graph_state state;
        void *block;
};

static struct machine *machine_new(aip_graph *graph)
{
        struct machine *m = calloc(1, sizeof(*m));
        m->block = malloc(aip_graph_state_bytes(graph) + 1);
        cr_assert_eq(aip_graph_state_init(&m->state, graph, m->block, NULL, 0, NULL), 0);
        return m;
}

static void machine_free(struct machine *m)
{
        aip_graph_state_deinit(&m->state);
        free(m->block);
        free(m);
}

static void assert_same_channels(const aip_value *stored, const struct aip_graph_state *state)
{
        struct aip_buf got = AIP_BUF_INIT(1 << 20), wanted = AIP_BUF_INIT(1 << 20);
        aip_value *image = through_text(aip_graph_image(state));
        const aip_value *channels = aip_value_get_cstr(image, "channels");
        const aip_value *kept = aip_value_get_cstr(stored, "channels");
        cr_assert_eq(aip_value_print(kept, &got, NULL), 0);
        cr_assert_eq(aip_value_print(channels, &wanted, NULL), 0);
        cr_assert(aip_value_equal(kept, channels), "step %d: got %s, expected %s", state->step,
                  got.p, wanted.p);
        aip_buf_deinit(&got);
        aip_buf_deinit(&wanted);
        aip_value_unref(image);
}

/* The same run, moved at each step to another machine, in the middle of the step as well, and kept as a
 * first image and changes. */
Test(graph_interrupt, a_run_that_moves_at_every_step_is_the_same_run)
{
        aip_graph *graph = wandering();
        aip_error *err = NULL;
        struct machine *stays = machine_new(graph), *moves = machine_new(graph);
        cr_assert_eq(aip_graph_feed(&stays->state, NULL, NULL), 0);
        cr_assert_eq(aip_graph_feed(&moves->state, NULL, NULL), 0);
        aip_value *stored = aip_graph_image(&moves->state);
        aip_graph_mark_saved(&moves->state);
        int n_steps = 0;
        for (;; n_steps++) {
                cr_assert_eq(aip_graph_plan(&stays->state, NULL), 0);
                cr_assert_eq(aip_graph_plan(&moves->state, NULL), 0);
                if (stays->state.n_tasks == 0)
                        break;
                if (n_steps % 2)
                        aip_graph_task_run(&moves->state.tasks[0]);
                aip_value *image = through_text(aip_graph_image(&moves->state));
                machine_free(moves);
                moves = machine_new(graph);
                cr_assert_eq(aip_graph_image_load(&moves->state, image, &err), 0, "%s",
                             aip_error_message(err));
                aip_value_unref(image);
                step(&stays->state);
                step(&moves->state);
                aip_value *changes = through_text(aip_graph_image_changes(&moves->state));
                cr_assert_eq(aip_graph_image_apply(&stored, changes, NULL), 0);
                aip_value_unref(changes);
                assert_same_channels(stored, &stays->state);
        }
        cr_assert_gt(n_steps, 15);
        aip_value_unref(stored);
        machine_free(stays);
        machine_free(moves);
        aip_graph_unref(graph);
}

/* Ask, and go on from the image; every allocation fails once. */
static int ask_and_go_on(void *user, aip_error **err)
{
        aip_value *state = NULL, *questions = NULL, *image = NULL, *answer = NULL;
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        aip_graph *graph = user;
        options.ret_questions = &questions;
        options.ret_image = &image;
        int code = aip_graph_invoke(graph, NULL, &options, &state, err);
        aip_value_unref(AIP_TAKE(state));
        options = (struct aip_graph_invoke_options)AIP_GRAPH_INVOKE_OPTIONS_INIT;
        options.image = image;
        if (code == 0 && !(answer = aip_value_int(1)))
                code = aip_error_set_nomem(err);
        options.answers = answer;
        if (code == 0)
                code = aip_graph_invoke(graph, NULL, &options, &state, err);
        aip_value_unref(state);
        aip_value_unref(questions);
        aip_value_unref(image);
        aip_value_unref(answer);
        return code;
}

Test(graph_interrupt, survives_allocation_failure)
{
        struct asker askers[3] = {{1, 0}, {0, 0}, {0, 0}};
        aip_graph *graph = build(askers);
        ASSERT_SURVIVES_ALLOC_FAILURE(ask_and_go_on, graph);
        aip_graph_unref(graph);
}

/* ── halts ───────────────────────────────────────────────────────────────────────────────────── */

static int say_name(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of(aip_graph_task_node(task))));
        return 0;
}

/* a, then b and c side by side, then d when both have run */
static aip_graph *diamond(void)
{
        static const char *const both[] = {"b", "c"};
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph *graph = NULL;

        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        for (const char *name = "a\0b\0c\0d\0"; *name; name += 2)
                aip_graph_builder_add_function(b, name, say_name, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, "a", "b");
        aip_graph_builder_add_edge(b, "a", "c");
        aip_graph_builder_add_join(b, both, 2, "d");
        aip_graph_builder_add_edge(b, "d", AIP_GRAPH_END);
        cr_assert_eq(aip_graph_compile(b, &graph, NULL), 0);
        return graph;
}

/* Run on until the end, with an answer at each halt; what was asked, in one text. */
static void halt_through(const char *const *before, size_t n_before, const char *const *after,
                         size_t n_after, char *ret_asked, size_t bytes)
{
        aip_graph *graph = diamond();
        struct outcome o = {0};
        aip_value *go_on = value_of("\"yes\"");

        ret_asked[0] = '\0';
        for (int i = 0; i < 20; i++) {
                struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
                struct outcome next = {0};
                aip_value *in = o.image ? NULL : value_of("{}");
                options.image = o.image;
                options.answers = o.image ? go_on : NULL;
                options.ret_questions = &next.questions;
                options.ret_image = &next.image;
                options.interrupt_before = before;
                options.n_interrupt_before = n_before;
                options.interrupt_after = after;
                options.n_interrupt_after = n_after;
                int r = aip_graph_invoke(graph, in, &options, &next.state, &next.err);
                cr_assert_eq(r, 0, "%s", aip_error_message(next.err));
                aip_value_unref(in);
                outcome_deinit(&o);
                o = next;
                if (!o.questions)
                        break;
                o.image = through_text(o.image);
                struct aip_buf text = AIP_BUF_INIT(4096);
                cr_assert_eq(aip_value_size(o.questions), 1u);
                (void)aip_value_print(aip_value_get_cstr(aip_value_at(o.questions, 0), "value"),
                                      &text, NULL);
                snprintf(ret_asked + strlen(ret_asked), bytes - strlen(ret_asked), "%s;", text.p);
                aip_buf_deinit(&text);
        }
        assert_member(o.state, "log", "[\"a\",\"b\",\"c\",\"d\"]");
        outcome_deinit(&o);
        aip_value_unref(go_on);
        aip_graph_unref(graph);
}

Test(graph_interrupt, a_run_halts_before_and_after_the_nodes_that_it_is_told)
{
        static const char *const b_and_d[] = {"b", "d"}, *const c[] = {"c"}, *const all[] = {"*"};
        char asked[2000];

        halt_through(b_and_d, 2, NULL, 0, asked, sizeof(asked));
        cr_expect_str_eq(asked, "{\"interrupt\":\"before\",\"nodes\":[\"b\"]};"
                                "{\"interrupt\":\"before\",\"nodes\":[\"d\"]};");
        halt_through(NULL, 0, c, 1, asked, sizeof(asked));
        cr_expect_str_eq(asked, "{\"interrupt\":\"after\",\"nodes\":[\"c\"]};");
        halt_through(all, 1, NULL, 0, asked, sizeof(asked));
        cr_expect_str_eq(asked, "{\"interrupt\":\"before\",\"nodes\":[\"a\"]};"
                                "{\"interrupt\":\"before\",\"nodes\":[\"b\",\"c\"]};"
                                "{\"interrupt\":\"before\",\"nodes\":[\"d\"]};");
        halt_through(NULL, 0, NULL, 0, asked, sizeof(asked));
        cr_expect_str_eq(asked, "");
}

Test(graph_interrupt, halts_name_nodes_that_there_are)
{
        static const char *const gone[] = {"nobody"};
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        aip_graph *graph = diamond();
        aip_value *state = NULL;
        aip_error *err = NULL;

        options.interrupt_before = gone;
        options.n_interrupt_before = 1;
        cr_expect_eq(aip_graph_invoke(graph, NULL, &options, &state, &err), AIP_EINVAL);
        cr_expect_not_null(strstr(aip_error_message(err), "\"nobody\""));
        aip_error_free(err);
        aip_graph_unref(graph);
}
