/*
 * Jobs whose graphs ask: they rest, INTERRUPTED, until they are answered, whatever happens to whoever ran
 * them, and go on where they asked. Answered questions are not asked again; attempts are not spent.
 */
#include "one_node.h"

#include "graph_waiting.h"

#define LEASE_MS     3000
#define HEARTBEAT_MS 1000

static struct one_node one;
static int n_before, n_after; /* runs of the nodes beside the asking ones */

/* ── the graph: before, then left (asks twice) and right (asks once), then after ─────────────── */

static int before(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        n_before++;
        aip_graph_task_write(task, "log", aip_value_string(AIP_STR("before")));
        return 0;
}

/* As many questions as its name says, "left2": left/0, left/1. */
static int ask(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const char *node = aip_graph_task_node(task);
        const aip_value *answer = NULL;

        (void)user, (void)ret_update, (void)err;
        for (int i = 0; i < node[strlen(node) - 1] - '0'; i++) {
                char text[32];
                snprintf(text, sizeof(text), "%s/%d", node, i);
                aip_value *question = aip_value_string(aip_str_of(text));
                answer = aip_graph_task_interrupt(task, question);
                aip_value_unref(question);
                if (!answer)
                        return 0;
        }
        aip_graph_task_write(task, "log", aip_value_ref(answer));
        return 0;
}

static void work(aip_graph_task *task, aip_error **err)
{
        (void)err;
        n_after++;
        aip_graph_task_write(task, "log", aip_value_string(AIP_STR("after")));
}

static int64_t delay_ms(const aip_graph_task *task)
{
        (void)task;
        return 50;
}

static const struct waiting_node waiting = {delay_ms, work};

static aip_graph *build(void)
{
        static const char *const asking[] = {"left2", "right1"};
        struct aip_node_options o = waiting_options(&waiting);
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph *graph = NULL;
        aip_error *err = NULL;

        aip_graph_builder_add_channel(b, "prompt", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_function(b, "before", before, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "before");
        for (int i = 0; i < 2; i++) {
                aip_graph_builder_add_function(b, asking[i], ask, NULL);
                aip_graph_builder_add_edge(b, "before", asking[i]);
        }
        aip_graph_builder_add_node(b, "after", &o);
        aip_graph_builder_add_join(b, asking, 2, "after");
        aip_graph_builder_add_edge(b, "after", AIP_GRAPH_END);
        cr_assert_eq(aip_graph_compile(b, &graph, &err), 0, "%s", aip_error_message(err));
        return graph;
}

#define RESULT "{\"prompt\":\"p\",\"log\":[\"before\",\"L1\",\"R\",\"after\"]}"

/* ── the world ───────────────────────────────────────────────────────────────────────────────── */

static const char *const halts_before[] = {"before"};
static struct aip_registered_graph graphs[4];

static struct node_options options(int nth)
{
        return (struct node_options){.seed = 1 + (uint64_t)nth * 100,
                                     .has_worker = 1,
                                     .concurrency = 4,
                                     .lease_ms = LEASE_MS,
                                     .heartbeat_ms = HEARTBEAT_MS,
                                     .job_timeout_ms = 100000,
                                     .graphs = graphs,
                                     .n_graphs = 4,
                                     .log = &one.log,
                                     .checkpoints = one.store.checkpoints};
}

static void open_world(void)
{
        struct node_options o;

        n_before = n_after = 0;
        graphs[0] = (struct aip_registered_graph)AIP_REGISTERED_GRAPH_INIT;
        graphs[0].name = "asks";
        graphs[0].graph = build();
        graphs[1] = graphs[0];
        graphs[1].name = "unkept";
        graphs[1].is_unkept = 1;
        graphs[2] = graphs[0];
        graphs[2].name = "halts";
        graphs[2].interrupt_before = halts_before;
        graphs[2].n_interrupt_before = 1;
        graphs[3] = graphs[0];
        graphs[3].name = "short";
        graphs[3].step_limit = 1;
        o = options(0);
        o.does_not_start = 1;
        one_node_open(&one, o);
        /* The store is there now, with its checkpoints. */
        node_begin_close(&one.node, 0);
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &one.node));
        node_free(&one.node);
        o = options(0);
        node_open(&one.node, one.loop.port, &one.store, &one.broker, &o);
        pass_ms(&one, 10);
}

static void close_world(void)
{
        one_node_close(&one);
        aip_graph_unref((aip_graph *)graphs[0].graph);
}

/* Everything but the store is new. */
static void restart(void)
{
        static int nth;
        struct node_options o = options(++nth);

        node_begin_close(&one.node, 0);
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &one.node));
        node_free(&one.node);
        node_open(&one.node, one.loop.port, &one.store, &one.broker, &o);
        pass_ms(&one, 10);
}

static struct aip_id create_with(const char *graph, int max_attempts)
{
        struct aip_job_submit request = submit_of("p", "fast");

        request.spec.graph_name = aip_str_of(graph);
        request.spec.max_attempts = max_attempts;
        return submit(&one, request);
}

static struct aip_id create(const char *graph)
{
        return create_with(graph, 1);
}

static int is_at_rest(void *id)
{
        return aip_job_status_is_at_rest(stored(&one, id)->status);
}

static void expect_rest(struct aip_id *id, enum aip_job_status status)
{
        cr_assert(test_loop_wait(&one.loop, 60000, is_at_rest, id));
        expect_status(&one, id, status);
}

static struct aip_job_resume resume(const struct aip_id *id, const char *value, const char *answers)
{
        struct aip_job_resume r = {.op.done = count_done, .id = *id};
        aip_value *parsed = NULL;

        cr_assert_eq(aip_value_parse(aip_str_of(value ? value : answers), &parsed, NULL), 0);
        r.value = value ? parsed : NULL;
        r.answers = answers ? parsed : NULL;
        aip_job_service_resume(one.node.service, &r);
        await(&one, &r.op);
        aip_value_unref(parsed);
        return r;
}

static void expect_resumed(const struct aip_id *id, const char *value, const char *answers)
{
        struct aip_job_resume r = resume(id, value, answers);

        cr_assert_null(r.op.err, "%s", aip_error_message(r.op.err));
        cr_expect_eq(r.ret_outcome, AIP_RESUME_RESUMED);
        cr_expect_eq(r.ret_status, AIP_JOB_QUEUED);
}

static void expect_invalid(const struct aip_id *id, const char *value, const char *answers,
                           const char *why)
{
        struct aip_job_resume r = resume(id, value, answers);

        cr_expect_eq(aip_error_code(r.op.err), AIP_EINVAL);
        cr_expect_not_null(strstr(aip_error_message(r.op.err), why), "%s",
                           aip_error_message(r.op.err));
        aip_error_free(r.op.err);
}

/* The id of the question that asks `text`, in what the job shows. */
static const char *question(const struct aip_id *id, const char *text)
{
        static char found[400];
        aip_value *questions = NULL;

        found[0] = '\0';
        cr_assert_eq(aip_value_parse(stored(&one, id)->questions_json, &questions, NULL), 0);
        for (size_t i = 0; i < aip_value_size(questions); i++) {
                const aip_value *q = aip_value_at(questions, i);
                struct aip_str name = aip_value_as_string(aip_value_get_cstr(q, "id"));
                if (aip_str_eq(aip_value_as_string(aip_value_get_cstr(q, "value")),
                               aip_str_of(text)))
                        snprintf(found, sizeof(found), "%.*s", (int)name.n, name.p);
        }
        aip_value_unref(questions);
        return found;
}

static char *answers_to(const struct aip_id *id, const char *first, const char *a,
                        const char *second, const char *b)
{
        static char text[1000];
        int n = snprintf(text, sizeof(text), "{\"%s\":\"%s\"", question(id, first), a);

        if (second)
                n += snprintf(text + n, sizeof(text) - (size_t)n, ",\"%s\":\"%s\"",
                              question(id, second), b);
        snprintf(text + n, sizeof(text) - (size_t)n, "}");
        return text;
}

static void expect_result(struct aip_id *id, int attempts)
{
        expect_rest(id, AIP_JOB_COMPLETED);
        cr_expect(aip_str_eq(stored(&one, id)->result, aip_str_of(RESULT)), "%.*s",
                  AIP_STR_ARG(stored(&one, id)->result));
        cr_expect_eq(stored(&one, id)->attempt, attempts);
        cr_expect_eq(n_before, 1, "before ran %d times", n_before);
}

/* ── the cases ───────────────────────────────────────────────────────────────────────────────── */

TestSuite(processing_interrupts, .init = open_world, .fini = close_world, .timeout = 120);

Test(processing_interrupts, a_job_asks_is_answered_and_completes)
{
        struct aip_id id = create("asks");

        expect_rest(&id, AIP_JOB_INTERRUPTED);
        pass_ms(&one, 1);
        cr_expect_eq(aip_processing_service_running(one.node.worker), 0u);
        cr_expect_gt(strlen(question(&id, "left2/0")), 0u);
        cr_expect_gt(strlen(question(&id, "right1/0")), 0u);
        expect_resumed(&id, NULL, answers_to(&id, "left2/0", "L0", "right1/0", "R"));
        expect_rest(&id, AIP_JOB_INTERRUPTED);
        cr_expect_gt(strlen(question(&id, "left2/1")), 0u);
        cr_expect_eq(strlen(question(&id, "right1/0")), 0u, "it was answered");
        expect_resumed(&id, "\"L1\"", NULL);
        expect_result(&id, 1);
        pass_ms(&one, 5000);
        cr_expect_eq(broker_events(&one.broker, "job.interrupted"), 2u);
}

Test(processing_interrupts, everything_is_restarted_between_question_and_answer)
{
        struct aip_id id = create("asks");

        expect_rest(&id, AIP_JOB_INTERRUPTED);
        restart();
        pass_ms(&one, 3 * LEASE_MS);
        expect_status(&one, &id, AIP_JOB_INTERRUPTED);
        expect_resumed(&id, NULL, answers_to(&id, "left2/0", "L0", NULL, NULL));
        restart();
        expect_rest(&id, AIP_JOB_INTERRUPTED);
        restart();
        expect_resumed(&id, NULL, answers_to(&id, "left2/1", "L1", "right1/0", "R"));
        restart();
        expect_result(&id, 1);
}

Test(processing_interrupts, answers_that_do_not_fit_are_refused)
{
        struct aip_id id = create("asks"), nobody = {{1, 2, 3}};

        cr_expect_eq(resume(&nobody, "1", NULL).ret_outcome, AIP_RESUME_NOT_FOUND);
        struct aip_job_resume early = resume(&id, "1", NULL);
        cr_expect_eq(early.ret_outcome, AIP_RESUME_NOT_INTERRUPTED);
        cr_expect_neq(early.ret_status, AIP_JOB_INTERRUPTED);
        expect_rest(&id, AIP_JOB_INTERRUPTED);
        expect_invalid(&id, "1", NULL, "value: 2 questions are open");
        expect_invalid(&id, NULL, "{}", "answers: must be an object");
        expect_invalid(&id, NULL, "[1]", "answers: must be an object");
        expect_invalid(&id, NULL, "{\"who\":1}", "no open question 'who'");
        expect_status(&one, &id, AIP_JOB_INTERRUPTED);
}

Test(processing_interrupts, the_second_resumption_is_refused)
{
        struct aip_id id = create("asks");
        struct aip_job_resume both[2];
        aip_value *answers = NULL;

        expect_rest(&id, AIP_JOB_INTERRUPTED);
        const char *text = answers_to(&id, "left2/0", "L0", "right1/0", "R");
        cr_assert_eq(aip_value_parse(aip_str_of(text), &answers, NULL), 0);
        for (int i = 0; i < 2; i++) {
                both[i] = (struct aip_job_resume){
                        .op.done = count_done, .id = id, .answers = answers};
                aip_job_service_resume(one.node.service, &both[i]);
        }
        for (int i = 0; i < 2; i++) {
                await(&one, &both[i].op);
                cr_assert_null(both[i].op.err);
        }
        cr_expect_eq(both[0].ret_outcome, AIP_RESUME_RESUMED);
        cr_expect_eq(both[1].ret_outcome, AIP_RESUME_NOT_INTERRUPTED);
        expect_rest(&id, AIP_JOB_INTERRUPTED);
        /* It was for the questions before these. */
        struct aip_job_resume late = {.op.done = count_done, .id = id, .answers = answers};
        aip_job_service_resume(one.node.service, &late);
        await(&one, &late.op);
        cr_expect_eq(aip_error_code(late.op.err), AIP_EINVAL);
        aip_error_free(late.op.err);
        aip_value_unref(answers);
        expect_resumed(&id, "\"L1\"", NULL);
        expect_result(&id, 1);
        cr_expect_eq(resume(&id, "1", NULL).ret_outcome, AIP_RESUME_NOT_INTERRUPTED);
}

Test(processing_interrupts, a_wait_ends_with_the_question)
{
        struct aip_id id = create("asks");
        struct aip_job_read read = {.op.done = count_done, .id = id, .wait_ms = 60000};

        aip_job_service_read(one.node.service, &read);
        await(&one, &read.op);
        cr_assert_not_null(read.ret_job);
        cr_expect_eq(aip_job_fields(read.ret_job)->status, AIP_JOB_INTERRUPTED);
        aip_job_free(read.ret_job);
}

Test(processing_interrupts, an_interrupted_job_can_be_cancelled)
{
        struct aip_id id = create("asks");

        expect_rest(&id, AIP_JOB_INTERRUPTED);
        cancel(&one, &id);
        expect_status(&one, &id, AIP_JOB_CANCELLED);
        cr_expect_null(stored(&one, &id)->questions_json.p);
        cr_expect_eq(resume(&id, "1", NULL).ret_status, AIP_JOB_CANCELLED);
}

Test(processing_interrupts, a_graph_whose_runs_are_not_kept_cannot_ask)
{
        struct aip_id id = create("unkept");

        expect_rest(&id, AIP_JOB_FAILED);
        cr_expect_str_eq(stored(&one, &id)->error_code.p, "graph_interrupted");
}

/* What the program has said of the graph's runs holds for each claim of a job. */
Test(processing_interrupts, a_graph_of_code_halts_where_its_program_says)
{
        struct aip_id id = create("halts");

        expect_rest(&id, AIP_JOB_INTERRUPTED);
        cr_expect_not_null(strstr(stored(&one, &id)->questions_json.p,
                                  "{\"interrupt\":\"before\",\"nodes\":[\"before\"]}"));
        cr_expect_eq(n_before, 0);
        expect_resumed(&id, "true", NULL);
        expect_rest(&id, AIP_JOB_INTERRUPTED);
        cr_expect_eq(n_before, 1);
        cr_expect_gt(strlen(question(&id, "left2/0")), 0u);
}

Test(processing_interrupts, a_graph_of_code_has_its_own_step_limit)
{
        struct aip_id id = create("short");

        expect_rest(&id, AIP_JOB_FAILED);
        cr_expect_str_eq(stored(&one, &id)->error_code.p, "graph_recursion_limit");
}

/* The worker that was given the answer dies: the next one is given it again, for as long as the question is
 * open, and only then. A lost worker costs an attempt. */
static void die_after_the_answer(int64_t after_ms)
{
        struct node other;
        struct aip_id id = create_with("asks", 2);

        n_before = n_after = 0;
        expect_rest(&id, AIP_JOB_INTERRUPTED);
        expect_resumed(&id, NULL, answers_to(&id, "left2/0", "L0", "right1/0", "R"));
        expect_rest(&id, AIP_JOB_INTERRUPTED);
        expect_resumed(&id, "\"L1\"", NULL);
        while (stored(&one, &id)->status == AIP_JOB_QUEUED)
                pass_ms(&one, 1);
        pass_ms(&one, after_ms);
        int has_ended = is_at_rest(&id);
        one.node.jobs.is_cut_off = 1;
        struct node_options o = options(1 + (int)after_ms);
        node_open(&other, one.loop.port, &one.store, &one.broker, &o);
        expect_result(&id, has_ended ? 1 : 2);
        one.node.jobs.is_cut_off = 0;
        pass_ms(&one, 10000);
        node_begin_close(&other, 0);
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &other));
        node_free(&other);
}

Test(processing_interrupts, a_worker_dies_with_the_answer)
{
        for (int ms = 0; ms < 120; ms += 7)
                die_after_the_answer(ms);
}

/* Drained in mid-run after the answer: the job goes back with its answers, and goes on elsewhere. */
Test(processing_interrupts, an_answered_job_is_handed_back)
{
        struct aip_id id = create("asks");

        expect_rest(&id, AIP_JOB_INTERRUPTED);
        expect_resumed(&id, NULL, answers_to(&id, "left2/0", "L0", "right1/0", "R"));
        expect_rest(&id, AIP_JOB_INTERRUPTED);
        expect_resumed(&id, "\"L1\"", NULL);
        while (stored(&one, &id)->status == AIP_JOB_QUEUED)
                pass_ms(&one, 1);
        pass_ms(&one, 10);
        restart();
        expect_result(&id, 1);
}
