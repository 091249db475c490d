/*
 * The C engine's half of the differential suite (run):
 *
 *     graph-cases generate SEED N      N cases, from this seed on, a line each
 *     graph-cases run                  reads cases, a line each; prints what happened, a line each
 *
 * What happened is a list, in order:
 *
 *     ["start", STEP, [NODE, …]]          ["end", STEP, NODE, UPDATES]
 *     ["state", STEP, {CHANNEL: VALUE}]   as it would be read from a checkpoint; step 0 is the input
 *     ["ask", [[NODE, QUESTION], …]]      then all are answered and the run goes on
 *     ["done"] or ["error", KIND]
 */
#include "graph_case.h"
#include "macros.h"
#include <aiplat/loops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 12
#define LINE_MAX (8u << 20)

struct record {
        struct graph_case graph;
        aip_sim_loop *sim;
        aip_value *log;      /* a list */
        aip_value *channels; /* as saved */
        int32_t step;
        int is_done;
};

static void must(int code)
{
        if (code < 0) {
                fprintf(stderr, "graph-cases: out of memory\n");
                exit(2);
        }
}

static aip_value *number(int64_t n)
{
        return aip_value_int(n);
}

static aip_value *string(const char *text)
{
        return aip_value_string(aip_str_of(text));
}

/* One entry of the log; NULL elements are left out. All are consumed. */
static void note(struct record *r, const char *what, aip_value *a, aip_value *b, aip_value *c)
{
        aip_value *entry = aip_value_list();

        must(aip_value_list_append(&entry, string(what)));
        if (a)
                must(aip_value_list_append(&entry, a));
        if (b)
                must(aip_value_list_append(&entry, b));
        if (c)
                must(aip_value_list_append(&entry, c));
        must(aip_value_list_append(&r->log, entry));
}

static void step_started(void *self, int32_t step, const char *const *nodes, size_t n)
{
        struct record *r = self;
        aip_value *names = aip_value_list();

        for (size_t i = 0; i < n; i++)
                must(aip_value_list_append(&names, string(nodes[i])));
        r->step = step;
        note(r, "start", number(step), names, NULL);
}

static void task_ended(void *self, const char *node, const char *task_id, const aip_value *updates,
                       const aip_error *err)
{
        struct record *r = self;

        (void)task_id;
        (void)err;
        if (updates)
                note(r, "end", number(r->step), string(node), aip_value_ref(updates));
}

static void save(void *self, struct aip_graph_save *saved)
{
        struct record *r = self;

        if (saved->kind == AIP_GRAPH_SAVE_STEP) {
                must(aip_graph_apply_changes(&r->channels, saved->changes, NULL));
                aip_value *copy = aip_value_ref(r->channels);
                note(r, "state", number(saved->step), copy, NULL);
        }
        aip_op_finish(aip_sim_loop_port(r->sim), &saved->op, NULL);
}

static void on_done(struct aip_op *op)
{
        ((struct record *)op->user)->is_done = 1;
}

static const struct aip_graph_observer_ops OBSERVER = {
        .self_size = sizeof(struct aip_graph_observer_ops),
        .step_started = step_started,
        .task_ended = task_ended,
};
static const struct aip_graph_saver_ops SAVER = {sizeof(struct aip_graph_saver_ops), save};

/* The answers to all questions; what was asked goes to the log. */
static aip_value *answer_all(struct record *r, const aip_value *questions)
{
        aip_value *answers = aip_value_object(), *asked = aip_value_list();

        for (size_t i = 0; i < aip_value_size(questions); i++) {
                const aip_value *q = aip_value_at(questions, i);
                const aip_value *value = aip_value_get_cstr(q, "value");
                aip_value *pair = aip_value_list();
                must(aip_value_list_append(&pair, aip_value_ref(aip_value_get_cstr(q, "node"))));
                must(aip_value_list_append(&pair, aip_value_ref(value)));
                must(aip_value_list_append(&asked, pair));
                must(aip_value_object_set(&answers,
                                          aip_value_as_string(aip_value_get_cstr(q, "id")),
                                          graph_case_answer(value)));
        }
        note(r, "ask", asked, NULL, NULL);
        return answers;
}

/* One run, from the input or an image. Returns whether it was interrupted. */
static int run_once(struct record *r, aip_value **image, aip_value **answers)
{
        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
        int is_interrupted;

        run.op.done = on_done;
        run.op.user = r;
        run.graph = r->graph.graph;
        run.step_limit = graph_case_step_limit(&r->graph);
        run.input = *image ? NULL : graph_case_input(&r->graph);
        run.image = *image;
        run.answers = *answers;
        run.observer = (struct aip_graph_observer){&OBSERVER, r};
        run.saver = (struct aip_graph_saver){&SAVER, r};
        r->is_done = 0;
        aip_graph_run_start(aip_sim_loop_port(r->sim), &run);
        while (!r->is_done && aip_sim_loop_step(r->sim))
                ;
        aip_value_unref(*image);
        aip_value_unref(*answers);
        *image = run.ret_image;
        *answers = NULL;
        is_interrupted = !run.op.err && run.ret_outcome == AIP_GRAPH_INTERRUPTED;
        if (run.op.err)
                note(r, "error", string(aip_error_kind(run.op.err) ? aip_error_kind(run.op.err) : ""),
                     string(aip_error_message(run.op.err)), NULL);
        else if (is_interrupted)
                *answers = answer_all(r, run.ret_questions);
        else
                note(r, "done", NULL, NULL, NULL);
        aip_error_free(run.op.err);
        aip_value_unref(run.ret_state);
        aip_value_unref(run.ret_questions);
        return is_interrupted;
}

static aip_value *run_case(const aip_value *spec)
{
        struct record r = {.log = aip_value_list()};
        aip_value *image = NULL, *answers = NULL;
        aip_error *err = NULL;
        int n_runs = 0;

        if (graph_case_init(&r.graph, spec, 0, &err) < 0) {
                note(&r, "error", string("compile"), string(aip_error_message(err)), NULL);
                aip_error_free(err);
        } else {
                r.channels = graph_case_initial(&r.graph);
                must(r.channels ? 0 : AIP_ENOMEM);
                must(aip_sim_loop_new(0, &r.sim, NULL));
                while (run_once(&r, &image, &answers) && ++n_runs < RUNS_MAX)
                        ;
                aip_sim_loop_free(r.sim);
        }
        aip_value_unref(image);
        aip_value_unref(answers);
        aip_value_unref(r.channels);
        graph_case_deinit(&r.graph);
        return r.log;
}

/* `value` is consumed. */
static void print_line(aip_value *value)
{
        struct aip_buf text = AIP_BUF_INIT(LINE_MAX);

        must(value ? aip_value_print(value, &text, NULL) : AIP_ENOMEM);
        printf("%.*s\n", (int)text.n, text.p);
        aip_buf_deinit(&text);
        aip_value_unref(value);
}

static int run_all(void)
{
        char *line = NULL;
        size_t capacity = 0;
        ssize_t n;

        while ((n = getline(&line, &capacity, stdin)) > 0) {
                aip_value *spec = NULL;
                aip_error *err = NULL;
                if (aip_value_parse(aip_str_make(line, (size_t)n), &spec, &err) < 0) {
                        fprintf(stderr, "graph-cases: %s\n", aip_error_message(err));
                        return 1;
                }
                print_line(run_case(spec));
                aip_value_unref(spec);
        }
        free(line);
        return 0;
}

int main(int argc, char **argv)
{
        if (argc == 2 && strcmp(argv[1], "run") == 0)
                return run_all();
        if (argc != 4 || strcmp(argv[1], "generate") != 0) {
                fprintf(stderr, "usage: graph-cases generate SEED N | graph-cases run\n");
                return 64;
        }
        uint64_t seed = strtoull(argv[2], NULL, 10), n = strtoull(argv[3], NULL, 10);
        for (uint64_t i = 0; i < n; i++)
                print_line(graph_case_generate(seed + i, 0));
        return 0;
}
