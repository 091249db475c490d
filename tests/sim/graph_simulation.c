/*
 * Graphs of random shapes under crashes, on a virtual clock. Each seed draws a graph (sends, joins, deferred
 * nodes, routers, Commands, questions; tests/differential/graph_generator.c) and runs it once straight through,
 * synchronously, for what must come out. Then it is run again and again as a job's run is: kept by the worker's
 * own saver in the store in memory, by nodes that take their time and fail in passing, with a store that is
 * slow, away, or takes a save and says that it did not. At random moments the run is lost: the job is given to
 * another claim, which goes on from what the store has; the lost run may go on for a while beside it, or ends.
 * Runs that ask are answered, not always all at once, and go on as another claim, too. Whatever happens:
 *
 *     the end is the same · every checkpoint has the state of its step, none is missing · a step begins with
 *     exactly the tasks of which nothing was kept · nothing is kept of a run that has lost its job · no task
 *     begins after its run's end · nothing is left that could happen
 *
 *     graph_simulation [--seed N] [--seeds N] [--try FIRST] [--tries N] [--verbose]
 *
 * A seed does the same each time. A sanitized build finds what leaks.
 */
#include "checkpoint_image.h"
#include "graph_case.h"
#include "job_saver.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/adapters.h>
#include <aiplat/loops.h>

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WALL_START_US INT64_C(1700000000000000)
#define STEPS_MAX     40  /* graphs that take more are left out */
#define TASKS_MAX     300 /* likewise */
#define LIVES_MAX     400
#define LOSSES_MAX    12
#define SOME_MAX      20 /* so often only some of the questions are answered */
#define EVENTS_MAX    100000
#define LEASE_MS      60000 /* nobody looks for sessions that are over */

/* What came out of the run straight through. */
struct reference {
        aip_value *tasks;  /* a list, by step (0: the input's, none), of lists of nodes' names */
        aip_value *states; /* a list, by step, of objects of channels */
        aip_value *channels;
        aip_value *end; /* NULL: it failed */
        char *kind;     /* of its error */
        int n_tasks, is_done;
};

/* What the store has kept of a task of the step after checkpoint n. */
struct kept {
        int64_t n;
        int32_t place;
        int is_finished, has_input;
        int n_answered; /* of its questions; when it has not finished, it asks the next one */
};

/* One claim of the job, and the run that it has begun. */
struct life {
        struct graph_case_world context;
        struct sim *sim;
        struct aip_job_saver saver;
        struct aip_graph_run run;
        struct aip_timer cancel; /* of one that is lost */
        struct aip_timer slow;
        struct aip_checkpoint_save inner, *outer; /* what the store is asked, for whom */
        int is_slow_to_answer, fails_after;
        int has_begun, has_ended, is_done, is_lost;
        int32_t first_step; /* the step in which it goes on */
};

struct sim {
        uint64_t seed;
        int nth, is_verbose;
        const struct reference *expected;
        struct graph_case graph;
        struct aip_seeded_random generator;
        struct aip_random random;
        aip_sim_loop *loop;
        struct aip_loop port;
        struct aip_store store;
        struct aip_id session;
        struct aip_fence fence;
        int faults_percent; /* of saves, percent */
        int64_t slowest_ms;
        enum aip_graph_durability durability;
        struct life *lives[LIVES_MAX];
        int n_lives, n_losses, n_interrupts;
        aip_value *answers;
        struct kept *kept;
        size_t n_kept, kept_capacity;
};

static struct {
        unsigned long long n_graphs, n_left_out, n_failing, n_runs, n_lost, n_interrupts, n_tasks;
} totals;

static _Noreturn void broken(const struct sim *s, const char *what)
{
        fflush(stdout);
        fprintf(stderr,
                "seed %llu, try %d: %s\n"
                "again:  graph_simulation --seed %llu --try %d --tries 1 --verbose\n"
                "the graph, for tests/differential/run --case, or to be made smaller by hand:\n",
                (unsigned long long)s->seed, s->nth, what, (unsigned long long)s->seed, s->nth);
        struct aip_buf text = AIP_BUF_INIT(1 << 20);
        if (s->graph.spec && aip_value_print(s->graph.spec, &text, NULL) == 0)
                fprintf(stderr, "%.*s\n", (int)text.n, text.p);
        abort();
}

/* What only fails when memory runs out, or by a bug of the simulation. */
static void must_at(int is_so, int line)
{
        if (!is_so) {
                fprintf(stderr, "graph_simulation.c, line %d: out of memory?\n", line);
                abort();
        }
}
#define must(is_so) must_at((is_so), __LINE__)

AIP_PRINTF(2, 3) static void say(const struct sim *s, const char *format, ...)
{
        va_list args;

        if (!s->is_verbose)
                return;
        printf("  %6lld ms  life %d: ", (long long)aip_now_ms(s->port), s->n_lives);
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        printf("\n");
}

static int64_t below(struct sim *s, int64_t n)
{
        return (int64_t)(aip_random_u64(s->random) % (uint64_t)n);
}

static int happens(struct sim *s, int percent)
{
        return below(s, 100) < percent;
}

static void count_done(struct aip_op *op)
{
        ++*(int *)op->user;
}

/* ── straight through ────────────────────────────────────────────────────────────────────────── */

static void reference_step(void *self, int32_t step, const char *const *nodes, size_t n)
{
        struct reference *ref = self;
        aip_value *names = aip_value_list();

        /* One that goes on after a question tells only what runs again. */
        if (aip_value_size(ref->tasks) > (size_t)step) {
                aip_value_unref(names);
                return;
        }
        for (size_t i = 0; i < n; i++)
                must(aip_value_list_append(&names, aip_value_string(aip_str_of(nodes[i]))) == 0);
        must(aip_value_list_append(&ref->tasks, names) == 0);
        ref->n_tasks += (int)n;
}

static const struct aip_graph_observer_ops reference_observer = {
        .self_size = sizeof(struct aip_graph_observer_ops),
        .step_started = reference_step,
};

struct reference_saver {
        struct reference *ref;
        struct aip_loop loop;
};

static void reference_save(void *self, struct aip_graph_save *save)
{
        struct reference_saver *saver = self;
        struct reference *ref = saver->ref;

        if (save->kind == AIP_GRAPH_SAVE_STEP) {
                must(aip_graph_apply_changes(&ref->channels, save->changes, NULL) == 0);
                must(aip_value_size(ref->states) == (size_t)save->step);
                must(aip_value_list_append(&ref->states, aip_value_ref(ref->channels)) == 0);
        }
        aip_op_finish(saver->loop, &save->op, NULL);
}

static const struct aip_graph_saver_ops reference_saver_ops = {sizeof(struct aip_graph_saver_ops),
                                                               reference_save};

/* Adds the answer to every question, or to some of them. */
static void answer(struct sim *s, const aip_value *questions, int percent, aip_value **answers)
{
        size_t n = aip_value_size(questions),
               one = percent < 100 ? (size_t)below(s, (int64_t)n) : 0;

        for (size_t i = 0; i < n; i++) {
                const aip_value *q = aip_value_at(questions, i);
                if (i != one && percent < 100 && !happens(s, percent))
                        continue;
                must(aip_value_object_set(answers, aip_value_as_string(aip_value_get_cstr(q, "id")),
                                          graph_case_answer(aip_value_get_cstr(q, "value"))) == 0);
        }
}

/* Whether it is to go on, from *image. */
static int reference_run(struct reference *ref, const struct graph_case *c, aip_sim_loop *loop,
                         aip_value **image)
{
        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
        struct reference_saver saver = {ref, aip_sim_loop_port(loop)};
        aip_value *answers = aip_value_object();

        answer(NULL, aip_value_get_cstr(*image, "questions"), 100, &answers);
        run.op.done = count_done;
        run.op.user = &ref->is_done;
        run.graph = c->graph;
        run.step_limit = STEPS_MAX;
        run.input = *image ? NULL : graph_case_input(c);
        run.image = aip_value_get_cstr(*image, "image");
        run.answers = *image ? answers : NULL;
        run.observer = (struct aip_graph_observer){&reference_observer, ref};
        run.saver = (struct aip_graph_saver){&reference_saver_ops, &saver};
        ref->is_done = 0;
        aip_graph_run_start(saver.loop, &run);
        while (!ref->is_done && aip_sim_loop_step(loop))
                if (!ref->is_done && ref->n_tasks > TASKS_MAX)
                        aip_graph_run_cancel(&run);
        must(ref->is_done);
        aip_value_unref(AIP_TAKE(*image));
        aip_value_unref(answers);
        if (run.op.err)
                must((ref->kind = aip_str_dup(aip_str_of(aip_error_kind(run.op.err)))) != NULL);
        aip_error_free(run.op.err);
        if (!run.ret_questions) {
                ref->end = run.ret_state;
                return 0;
        }
        *image = aip_value_object();
        must(aip_value_object_set_cstr(image, "questions", run.ret_questions) == 0);
        must(aip_value_object_set_cstr(image, "image", run.ret_image) == 0);
        aip_value_unref(run.ret_state);
        return 1;
}

static void reference_make(struct reference *ref, const aip_value *spec)
{
        struct graph_case c;
        aip_sim_loop *loop = NULL;
        aip_value *image = NULL;

        *ref = (struct reference){.tasks = aip_value_list(), .states = aip_value_list()};
        must(aip_value_list_append(&ref->tasks, aip_value_list()) == 0);
        must(graph_case_init(&c, spec, 0, NULL) == 0 && aip_sim_loop_new(0, &loop, NULL) == 0);
        must((ref->channels = graph_case_initial(&c)) != NULL);
        while (reference_run(ref, &c, loop, &image))
                ;
        aip_sim_loop_free(loop);
        graph_case_deinit(&c);
}

static void reference_deinit(struct reference *ref)
{
        aip_value_unref(ref->tasks);
        aip_value_unref(ref->states);
        aip_value_unref(ref->channels);
        aip_value_unref(ref->end);
        aip_free(ref->kind);
}

/* ── the store ───────────────────────────────────────────────────────────────────────────────── */

static void await(struct sim *s, const int *is_done)
{
        while (!*is_done)
                if (!aip_sim_loop_step(s->loop))
                        broken(s, "a call of the store is never done");
}

#define DO(s, port, method, request)                                                               \
        do {                                                                                       \
                int do_is_done = 0;                                                                \
                (request)->op.done = count_done;                                                   \
                (request)->op.user = &do_is_done;                                                  \
                (s)->store.port.ops->method((s)->store.port.self, (request));                      \
                await((s), &do_is_done);                                                           \
                must((request)->op.err == NULL);                                                   \
        } while (0)

/* The job is another's from here on. */
static void claim(struct sim *s)
{
        struct aip_job_claim claim = {.session = s->session,
                                      .lease_ms = LEASE_MS,
                                      .ids = &s->fence.job_id,
                                      .n_ids = 1,
                                      .limit = 1};

        if (s->fence.version > 0) {
                struct aip_release release = {
                        .session = s->session, .fences = &s->fence, .n_fences = 1};
                DO(s, jobs, release, &release);
                must(release.ret_n == 1);
                free(release.ret_transitions);
        }
        DO(s, jobs, claim, &claim);
        must(claim.ret_n == 1);
        s->fence.version = aip_job_fields(claim.ret_jobs[0])->version;
        aip_job_free(claim.ret_jobs[0]);
        free(claim.ret_jobs);
        free(claim.ret_transitions);
}

static void create_job(struct sim *s)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        struct aip_job_create create = {.job = NULL};
        struct aip_id_source ids;
        aip_job *job = NULL;

        aip_id_source_init(&ids, s->random);
        s->session = aip_id_next(&ids, WALL_START_US);
        s->fence.job_id = aip_id_next(&ids, WALL_START_US);
        spec.prompt = aip_str_of("x");
        must(aip_job_new(s->fence.job_id, &spec, aip_wall_us(s->port), &job, NULL) == 0);
        create.job = job;
        DO(s, jobs, create, &create);
        aip_job_free(job);
        claim(s);
}

static void forget_kept(struct sim *s, int64_t n)
{
        for (size_t i = s->n_kept; i > 0; i--)
                if (s->kept[i - 1].n == n)
                        s->kept[i - 1] = s->kept[--s->n_kept];
}

static void note_task(struct sim *s, int64_t n, int32_t place, const aip_value *said)
{
        size_t i = 0;

        while (i < s->n_kept && (s->kept[i].n != n || s->kept[i].place != place))
                i++;
        if (i == s->kept_capacity) {
                s->kept_capacity = 2 * s->kept_capacity + 16;
                s->kept = aip_realloc_array(s->kept, s->kept_capacity, sizeof(*s->kept));
                must(s->kept != NULL);
        }
        s->n_kept += i == s->n_kept;
        s->kept[i] = (struct kept){
                .n = n,
                .place = place,
                .is_finished = aip_value_get_cstr(said, "writes") != NULL,
                .has_input = aip_value_get_cstr(said, "input") != NULL,
                .n_answered = aip_value_get_cstr(said, "question")
                                      ? (int)aip_value_size(aip_value_get_cstr(said, "answers"))
                                      : -1,
        };
}

static aip_value *parsed(struct aip_str json)
{
        aip_value *value = NULL;

        must(aip_value_parse(json, &value, NULL) == 0);
        return value;
}

/* What tasks have said is beside the place of a run that was saved in mid-step. */
static void note_place(struct sim *s, const struct aip_checkpoint *checkpoint)
{
        aip_value *place = parsed(checkpoint->place);
        const aip_value *tasks = aip_value_get_cstr(place, "tasks");

        forget_kept(s, checkpoint->n);
        for (size_t i = 0; i < aip_value_size(tasks); i++)
                note_task(s, checkpoint->n, (int32_t)i, aip_value_at(tasks, i));
        aip_value_unref(place);
}

/* The store has taken it. */
static void note_saved(struct life *l)
{
        struct sim *s = l->sim;
        const struct aip_checkpoint_save *save = &l->inner;

        if (l->is_lost)
                broken(s, "something was kept of a run that had lost its job");
        say(s, "%s %lld kept", save->n_tasks ? "tasks after" : "checkpoint",
            (long long)save->checkpoint.n);
        if (save->n_tasks == 0)
                note_place(s, &save->checkpoint);
        for (size_t i = 0; i < save->n_tasks; i++) {
                aip_value *said = parsed(save->tasks[i].value);
                note_task(s, save->checkpoint.n, save->tasks[i].place, said);
                aip_value_unref(said);
        }
}

static void answer_save(struct life *l)
{
        struct aip_checkpoint_save *outer = AIP_TAKE(l->outer);
        aip_error *err = NULL;

        outer->ret_is_stale = l->inner.ret_is_stale;
        if (l->fails_after) {
                aip_error_set(&err, AIP_EUNAVAILABLE, "the store is away");
                outer->ret_is_stale = 0;
        }
        aip_op_finish(l->sim->port, &outer->op, err);
}

static void inner_done(struct aip_op *op)
{
        struct life *l = op->user;

        if (op->err)
                fprintf(stderr, "the store: %s\n", aip_error_message(op->err));
        if (op->err)
                broken(l->sim, "a save fails");
        if (!l->inner.ret_is_stale)
                note_saved(l);
        l->is_slow_to_answer = 1;
        aip_timer_set(l->sim->port, &l->slow, below(l->sim, l->sim->slowest_ms + 1));
}

static void slow_due(struct aip_timer *timer)
{
        struct life *l = AIP_CONTAINER_OF(timer, struct life, slow);
        struct sim *s = l->sim;

        if (l->is_slow_to_answer) {
                answer_save(l);
                return;
        }
        l->fails_after = happens(s, s->faults_percent);
        if (happens(s, s->faults_percent)) {
                l->fails_after = 1; /* and before, too */
                answer_save(l);
                return;
        }
        l->inner = *l->outer;
        l->inner.op = (struct aip_op){.done = inner_done, .user = l};
        s->store.checkpoints.ops->save(s->store.checkpoints.self, &l->inner);
}

/* Between the saver and the store: slow, and at times away. */
static void slow_save(void *self, struct aip_checkpoint_save *save)
{
        struct life *l = self;

        if (l->outer)
                broken(l->sim, "two saves at once");
        l->outer = save;
        l->is_slow_to_answer = 0;
        l->slow.fire = slow_due;
        aip_timer_set(l->sim->port, &l->slow, below(l->sim, l->sim->slowest_ms + 1));
}

static void plain_load(void *self, struct aip_checkpoint_load *load)
{
        const struct life *l = self;

        l->sim->store.checkpoints.ops->load(l->sim->store.checkpoints.self, load);
}

static const struct aip_checkpoint_store_ops slow_store = {
        .self_size = sizeof(struct aip_checkpoint_store_ops),
        .save = slow_save,
        .load = plain_load,
};

/* ── checks ──────────────────────────────────────────────────────────────────────────────────── */

/* An image's channels, those too that still are what they began as. Owned by caller. */
static aip_value *channels_of(const struct sim *s, const aip_value *image)
{
        aip_value *all = graph_case_initial(&s->graph);
        const aip_value *channels = aip_value_get_cstr(image, "channels");
        struct aip_str name;

        for (size_t i = 0; i < aip_value_size(channels); i++) {
                const aip_value *value = aip_value_member(channels, i, &name);
                must(aip_value_object_set(&all, name, aip_value_ref(value)) == 0);
        }
        return all;
}

/* Of the last step that was merged; one that was saved in mid-step has the tasks of the step beside it. */
static int64_t step_of(const aip_value *image)
{
        return aip_value_as_int(aip_value_get_cstr(image, "step"), 0) -
               (aip_value_size(aip_value_get_cstr(image, "tasks")) > 0);
}

static void show(const char *what, const aip_value *value)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 20);

        if (value && aip_value_print(value, &text, NULL) == 0)
                fprintf(stderr, "%s: %.*s\n", what, (int)text.n, text.p);
        aip_buf_deinit(&text);
}

static void check_image(const struct sim *s, const aip_value *image)
{
        aip_value *channels = channels_of(s, image);
        const aip_value *state = aip_value_at(s->expected->states, (size_t)step_of(image));

        if (!state || !aip_value_equal(channels, state)) {
                show("the checkpoint", image);
                show("straight through", state);
                broken(s, "a checkpoint has not the state of its step");
        }
        aip_value_unref(channels);
}

/* Whether there is an answer to what the task asks. */
static int is_answered(const struct sim *s, const struct kept *kept, int32_t step, const char *node)
{
        char id[64];

        if (kept->has_input)
                snprintf(id, sizeof(id), "%d:%s:%d:%d", (int)step, node, (int)kept->place,
                         kept->n_answered);
        else
                snprintf(id, sizeof(id), "%d:%s:%d", (int)step, node, kept->n_answered);
        return aip_value_get_cstr(s->answers, id) != NULL;
}

/* Whether a task of the step begins in this life: not one that had finished, or that waits for an answer. */
static int is_to_begin(const struct life *l, int32_t step, int32_t place, const char *node)
{
        const struct sim *s = l->sim;

        for (size_t i = 0; step == l->first_step && i < s->n_kept; i++) {
                const struct kept *kept = &s->kept[i];
                if (kept->n != l->saver.n || kept->place != place)
                        continue;
                return !kept->is_finished &&
                       (kept->n_answered < 0 || is_answered(s, kept, step, node));
        }
        return 1;
}

/* The tasks that begin are those of the step, in their order, less what was kept of it. */
static void check_step(void *self, int32_t step, const char *const *nodes, size_t n)
{
        const struct life *l = self;
        const struct sim *s = l->sim;
        const aip_value *tasks = aip_value_at(s->expected->tasks, (size_t)step);
        size_t at = 0;

        say(s, "step %d, %zu of %zu tasks", (int)step, n, aip_value_size(tasks));
        for (size_t i = 0; i < n; i++)
                say(s, "  %s", nodes[i]);
        for (size_t i = 0; i < aip_value_size(tasks); i++) {
                const char *node = aip_value_as_string(aip_value_at(tasks, i)).p;
                if (!is_to_begin(l, step, (int32_t)i, node))
                        continue;
                if (at >= n || strcmp(node, nodes[at]) != 0)
                        broken(s, "a step has not the tasks that it should have");
                at++;
        }
        if (at != n)
                broken(s, "tasks begin whose writes had been kept, or that are none of the step's");
}

static const struct aip_graph_observer_ops observer = {
        .self_size = sizeof(struct aip_graph_observer_ops),
        .step_started = check_step,
};

/* Every checkpoint, as it is read. */
static void check_checkpoints(struct sim *s)
{
        int64_t n = 0, last_step = -1;

        for (;;) {
                struct aip_checkpoint_load load = {.owner = s->fence.job_id, .n = n + 1};
                aip_value *image = NULL;
                DO(s, checkpoints, load, &load);
                if (load.ret_n == 0)
                        break;
                must(aip_checkpoint_image(&load, &image, NULL) == 0);
                check_image(s, image);
                if (s->durability == AIP_GRAPH_EXIT ? step_of(image) < last_step
                                                    : step_of(image) != last_step + 1)
                        broken(s, "a step has no checkpoint, or two");
                last_step = step_of(image);
                aip_value_unref(image);
                free(load.ret_checkpoints);
                free(load.ret_tasks);
                n++;
        }
        /* One that is saved only in the end, and whose merge fails, has no state that could be saved. */
        if (s->expected->kind && s->durability == AIP_GRAPH_EXIT)
                return;
        if (last_step + 1 != (int64_t)aip_value_size(s->expected->states))
                broken(s, "the last checkpoint is not that of the last step");
}

static void check_end(struct sim *s, struct life *l)
{
        const struct reference *ref = s->expected;
        const aip_error *err = l->run.op.err;

        if (err && !ref->kind) {
                fprintf(stderr, "it failed: %s\n", aip_error_message(err));
                broken(s, "a run failed that should not");
        }
        if (!err && ref->kind)
                broken(s, "a run ended well that should have failed");
        if (err && !aip_str_eq(aip_str_of(aip_error_kind(err)), aip_str_of(ref->kind)))
                broken(s, "a run failed in another way");
        if (!err && !aip_value_equal(l->run.ret_state, ref->end)) {
                show("the end", l->run.ret_state);
                show("straight through", ref->end);
                broken(s, "the end is another");
        }
        check_checkpoints(s);
}

/* ── lives ───────────────────────────────────────────────────────────────────────────────────── */

static void task_started(struct graph_case_world *context, const aip_graph_task *task)
{
        struct life *l = AIP_CONTAINER_OF(context, struct life, context);

        (void)task;
        totals.n_tasks++;
        if (l->is_done)
                broken(l->sim, "a task begins after its run's end");
}

static void life_done(struct aip_op *op)
{
        struct life *l = op->user;

        if (l->is_done)
                broken(l->sim, "a run has ended twice");
        if (l->outer)
                broken(l->sim, "a run has ended with a save in flight");
        l->is_done = l->has_ended = 1;
        say(l->sim, "its run ends: %s", op->err ? aip_error_message(op->err) : "well");
}

static void life_begin(struct aip_job_saver *saver)
{
        struct life *l = AIP_CONTAINER_OF(saver, struct life, saver);
        struct sim *s = l->sim;
        struct aip_graph_run *run = &l->run;

        must(l->saver.load.op.err == NULL);
        if (l->is_lost) {
                l->has_ended = 1;
                return;
        }
        if (saver->image)
                check_image(s, saver->image);
        l->first_step = (int32_t)step_of(saver->image) + 1;
        l->has_begun = 1;
        *run = (struct aip_graph_run)AIP_GRAPH_RUN_INIT;
        run->op.done = life_done;
        run->op.user = l;
        run->graph = s->graph.graph;
        run->context = &l->context;
        run->step_limit = STEPS_MAX;
        run->input = saver->image ? NULL : graph_case_input(&s->graph);
        run->image = saver->image;
        run->answers = aip_value_size(s->answers) > 0 ? s->answers : NULL;
        run->passes_over_answers = 1;
        run->random = s->random;
        run->durability = s->durability;
        run->observer = (struct aip_graph_observer){&observer, l};
        run->saver = aip_job_saver_port(saver);
        aip_graph_run_start(s->port, run);
}

static void life_cancel(struct aip_timer *timer)
{
        struct life *l = AIP_CONTAINER_OF(timer, struct life, cancel);

        if (!l->has_begun || l->is_done)
                return;
        aip_job_saver_give_up(&l->saver);
        aip_graph_run_cancel(&l->run);
}

static struct life *life_start(struct sim *s)
{
        struct life *l = aip_calloc(1, sizeof(*l));

        must(l != NULL);
        l->sim = s;
        l->context = (struct graph_case_world){.random = s->random,
                                               .longest_ms = 1 + below(s, 200),
                                               .failure_percent = (int)below(s, 3) * 15,
                                               .started = task_started};
        aip_job_saver_init(&l->saver, s->port, (struct aip_checkpoint_store){&slow_store, l},
                           &s->fence, &s->fence.job_id);
        l->saver.loaded = life_begin;
        s->lives[s->n_lives++] = l;
        aip_job_saver_load(&l->saver);
        return l;
}

/* Its process is gone, or believes that it is not, for a while. */
static void life_lose(struct life *l)
{
        struct sim *s = l->sim;

        say(s, "is lost");
        totals.n_lost++;
        s->n_losses++;
        claim(s);
        l->is_lost = 1;
        l->cancel.fire = life_cancel;
        aip_timer_set(s->port, &l->cancel, happens(s, 50) ? 0 : below(s, 500));
}

static void life_free(struct life *l)
{
        struct aip_graph_run *run = &l->run;

        aip_timer_clear(l->sim->port, &l->cancel);
        aip_value_unref(run->ret_state);
        aip_value_unref(run->ret_questions);
        aip_value_unref(run->ret_image);
        aip_error_free(run->op.err);
        aip_job_saver_deinit(&l->saver);
        aip_free(l);
}

/* Lives on until it has ended or so many events have passed (negative: any number). */
static void live(struct sim *s, struct life *l, int64_t n_events)
{
        for (int64_t n = 0; !l->has_ended && n != n_events; n++) {
                if (!aip_sim_loop_step(s->loop))
                        broken(s, "nothing is left to happen, and the run has not ended");
                if (n > EVENTS_MAX)
                        broken(s, "a run does not end");
        }
}

/* ── one try ─────────────────────────────────────────────────────────────────────────────────── */

static void sim_open(struct sim *s, const aip_value *spec)
{
        struct aip_store_options o = {.self_size = sizeof(o), .url = "memory:"};

        s->random = aip_random_seeded(&s->generator, s->seed * 1000 + (uint64_t)s->nth);
        must(graph_case_init(&s->graph, spec, 1, NULL) == 0);
        must(aip_sim_loop_new(WALL_START_US, &s->loop, NULL) == 0);
        s->port = o.loop = aip_sim_loop_port(s->loop);
        o.random = s->random;
        must(aip_memory_store_new(&o, &s->store, NULL) == 0);
        s->durability = (enum aip_graph_durability)below(s, 3);
        s->faults_percent = (int)below(s, 3) * 5;
        s->slowest_ms = below(s, 4) * 40;
        must((s->answers = aip_value_object()) != NULL);
        create_job(s);
}

static void sim_close(struct sim *s)
{
        int is_closed = 0;
        struct aip_op closing = {.done = count_done, .user = &is_closed};

        for (int i = 0; i < s->n_lives; i++)
                live(s, s->lives[i], -1);
        for (int i = 0; i < s->n_lives; i++)
                life_free(s->lives[i]);
        s->store.close(s->store.self, &closing);
        await(s, &is_closed);
        if (aip_sim_loop_step(s->loop))
                broken(s, "something happens after the end");
        aip_sim_loop_free(s->loop);
        graph_case_deinit(&s->graph);
        aip_value_unref(s->answers);
        aip_free(s->kept);
}

/* Once more, with the answers; what was asked before is asked again by those that were not answered. */
static void go_on_answered(struct sim *s, struct life *l)
{
        aip_value *answers = aip_value_ref(s->answers);

        say(s, "asks %zu questions", aip_value_size(l->run.ret_questions));
        totals.n_interrupts++;
        answer(s, l->run.ret_questions, ++s->n_interrupts < SOME_MAX ? 60 : 100, &answers);
        aip_value_unref(s->answers);
        s->answers = answers;
        claim(s);
}

static void try_once(uint64_t seed, int nth, int is_verbose, const aip_value *spec,
                     const struct reference *ref)
{
        struct sim s = {.seed = seed, .nth = nth, .is_verbose = is_verbose, .expected = ref};
        struct life *l;
        int64_t patience;

        sim_open(&s, spec);
        patience = 5 + below(&s, 30 * (1 + ref->n_tasks));
        for (;;) {
                int is_last = s.n_losses == LOSSES_MAX;
                l = life_start(&s);
                live(&s, l, is_last || happens(&s, 20) ? -1 : 1 + below(&s, patience));
                if (!l->has_ended) {
                        life_lose(l);
                        continue;
                }
                if (l->run.op.err || l->run.ret_outcome != AIP_GRAPH_INTERRUPTED)
                        break;
                if (s.n_lives == LIVES_MAX)
                        broken(&s, "it asks and asks");
                go_on_answered(&s, l);
        }
        check_end(&s, l);
        sim_close(&s);
        totals.n_runs++;
}

static void run_seed(uint64_t seed, int first_try, int n_tries, int is_verbose)
{
        aip_value *spec = graph_case_generate(seed, 1);
        struct reference ref;

        must(spec != NULL);
        reference_make(&ref, spec);
        if (ref.n_tasks > TASKS_MAX ||
            (ref.kind && strcmp(ref.kind, AIP_GRAPH_STEP_LIMIT_REACHED) == 0)) {
                totals.n_left_out++;
        } else {
                totals.n_graphs++;
                totals.n_failing += ref.kind != NULL;
                for (int i = first_try; i < first_try + n_tries; i++)
                        try_once(seed, i, is_verbose, spec, &ref);
        }
        reference_deinit(&ref);
        aip_value_unref(spec);
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"seed", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'n'},
                {"try", required_argument, NULL, 'o'},  {"tries", required_argument, NULL, 't'},
                {"verbose", no_argument, NULL, 'v'},    {0}};
        unsigned long long seed = 1, n_seeds = 1;
        int first_try = 1, n_tries = 5, is_verbose = 0, key;

        while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (key == 's')
                        seed = strtoull(optarg, NULL, 0);
                else if (key == 'n')
                        n_seeds = strtoull(optarg, NULL, 0);
                else if (key == 'o')
                        first_try = (int)strtol(optarg, NULL, 0);
                else if (key == 't')
                        n_tries = (int)strtol(optarg, NULL, 0);
                else if (key == 'v')
                        is_verbose = 1;
                else
                        return 64;
        }
        for (unsigned long long i = 0; i < n_seeds; i++)
                run_seed(seed + i, first_try, n_tries, is_verbose);
        printf("%llu graphs from seed %llu on, %llu of them fail, %llu more left out: %llu runs, "
               "%llu times lost, %llu times asked, %llu tasks\n",
               totals.n_graphs, seed, totals.n_failing, totals.n_left_out, totals.n_runs,
               totals.n_lost, totals.n_interrupts, totals.n_tasks);
        return 0;
}
