/*
 * The graph runner: drives a run's pure core (domain/graph/graph_step.h) on a loop, or at once in
 * the caller's thread. Called by the processing service and by programs that embed aiplat. It
 * decides when things happen, never what: which nodes follow and how writes merge is the core's
 * business.
 *
 *   start* ─► begin ─► plan ─┬─► launch ─► await* ─┬─► merge ─┬─► plan …
 *                            │                     │          └─► rest* ─► plan …
 *                            └─► finish            └─► interrupt
 *   any failure ─► fail           cancel, deadline, and nothing in flight ─► stop
 *   merge, of a run that is watched or kept ─► record* ─► plan …
 *
 * A star marks the suspensions; each is spelt suspend(…). Whatever wakes a run (a task that
 * finished, a cancel, the deadline) only queues drive(), which looks at the run between two steps.
 */
#include "fault_point.h"
#include "graph/graph_image.h"
#include "graph_attempts.h"
#include "graph_cache.h"
#include "graph_invoke.h"
#include "graph_keeper.h"
#include "graph_subrun.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/graph_run.h>
#include <errno.h>
#include <time.h>

/* Super-steps in one turn of the loop, before others get theirs. */
#define STEPS_A_TURN 64

struct driver;

struct step {
        const char *name; /* for debuggers */
        const struct step *(*go)(struct driver *d);
};

struct driver {
        struct aip_graph_run *run;
        struct aip_graph_subrun *inside; /* the run is a subgraph's; or NULL */
        struct aip_graph_host host;      /* what tasks see of us */
        const struct step *next;         /* goes on there when woken */
        struct aip_task wake;
        struct aip_timer deadline;
        struct aip_graph_attempts attempts;
        struct aip_graph_cache cache;
        struct aip_graph_keeper keeper;
        aip_error *err;         /* on the way to fail() */
        int stop_code;          /* AIP_ECANCELLED, AIP_ETIMEOUT; 0: go on */
        int has_failed;         /* a task of this step failed */
        int is_suspended;       /* drive() is not on the stack */
        uint32_t n_running;     /* tasks in flight, looked up, or waiting for their next attempt */
        uint32_t steps_in_turn; /* super-steps since drive() began */
        struct aip_graph_state state;
};

static const struct step *begin(struct driver *d);
static const struct step *plan(struct driver *d);
static const struct step *launch(struct driver *d);
static const struct step *await(struct driver *d);
static const struct step *merge(struct driver *d);
static const struct step *record(struct driver *d);
static const struct step *recorded(struct driver *d);
static const struct step *rest(struct driver *d);
static const struct step *interrupt(struct driver *d);
static const struct step *finish(struct driver *d);
static const struct step *fail(struct driver *d);
static const struct step *stop(struct driver *d);

static const struct step STEP_BEGIN = {"begin", begin};
static const struct step STEP_PLAN = {"plan", plan};
static const struct step STEP_LAUNCH = {"launch", launch};
static const struct step STEP_AWAIT = {"await", await};
static const struct step STEP_MERGE = {"merge", merge};
static const struct step STEP_RECORD = {"record", record};
static const struct step STEP_RECORDED = {"recorded", recorded};
static const struct step STEP_REST = {"rest", rest};
static const struct step STEP_INTERRUPT = {"interrupt", interrupt};
static const struct step STEP_FINISH = {"finish", finish};
static const struct step STEP_FAIL = {"fail", fail};
static const struct step STEP_STOP = {"stop", stop};

static const struct step *suspend(struct driver *d, const struct step *next)
{
        d->next = next;
        d->is_suspended = 1;
        return NULL;
}

static void wake(struct driver *d)
{
        if (d->is_suspended)
                aip_defer(d->host.loop, &d->wake);
}

/* Where a run begins: at __start__ with its input, or where its image stands. */
static int begin_at(struct aip_graph_state *state, const aip_value *input, const aip_value *image,
                    const aip_value *answers, int passes_over, aip_error **err)
{
        if (!image && answers)
                return aip_error_set(err, AIP_EINVAL,
                                     "answers need the image of the run that asked");
        if (!image)
                return aip_graph_feed(state, input, err);
        if (input && answers)
                return aip_error_set(err, AIP_EINVAL, "a run takes an input or answers, not both");
        if (!input) {
                int code = aip_graph_image_load(state, image, err);
                if (code < 0 || !answers)
                        return code;
                return passes_over ? aip_graph_answer_open(state, answers, err)
                                   : aip_graph_answer(state, answers, err);
        }
        int code = aip_graph_image_load_channels(state, image, err);
        if (code < 0)
                return code;
        state->first_step = ++state->step;
        return aip_graph_feed(state, input, err);
}

static const struct step *begin(struct driver *d)
{
        const struct aip_graph_run *run = d->run;
        if (aip_graph_set_halts(&d->state, run->interrupt_before, run->n_interrupt_before,
                                run->interrupt_after, run->n_interrupt_after, &d->err) < 0 ||
            begin_at(&d->state, run->input, run->image, run->answers, run->passes_over_answers,
                     &d->err) < 0)
                return &STEP_FAIL;
        if (d->keeper.is_needed && (run->input || !run->image) &&
            aip_graph_keeper_step(&d->keeper, 1, &d->err) < 0)
                return &STEP_FAIL;
        if (d->state.held)
                return &STEP_INTERRUPT;
        return d->state.n_tasks > 0 ? &STEP_LAUNCH : &STEP_PLAN;
}

/* Which nodes run next? */
static const struct step *plan(struct driver *d)
{
        if (aip_graph_plan(&d->state, &d->err) < 0)
                return &STEP_FAIL;
        d->has_failed = 0;
        return d->state.n_tasks > 0 ? &STEP_LAUNCH : &STEP_FINISH;
}

/* A task has finished, and is tried again or has ended. */
static void end_task(struct driver *d, aip_graph_task *task)
{
        int may_repeat = !d->has_failed && !d->stop_code;
        int has_done_well = !task->err; /* by itself: what an error's handler says is not kept */
        if (may_repeat && aip_graph_attempts_finish(&d->attempts, task)) {
                d->n_running++;
                return;
        }
        AIP_FAULT_POINT("graph.task");
        if (has_done_well)
                aip_graph_cache_keep(&d->cache, task);
        d->has_failed |= task->err != NULL;
        if (d->keeper.is_needed && !d->err &&
            aip_graph_keeper_tell_ended(&d->keeper, task, &d->err) < 0)
                d->has_failed = 1;
}

static void start_task(struct driver *d, aip_graph_task *task)
{
        if (aip_graph_task_is_async(task)) {
                d->n_running++;
                aip_graph_task_begin(task);
                aip_graph_attempts_watch(&d->attempts, task);
        } else {
                aip_graph_task_run(task);
                end_task(d, task);
        }
}

/* Start them all: asynchronous ones begin, synchronous ones run to their end; those that may have been kept
 * are looked up first. */
static const struct step *launch(struct driver *d)
{
        if (aip_graph_attempts_plan(&d->attempts, &d->state, &d->err) < 0 ||
            aip_graph_cache_plan(&d->cache, &d->state, &d->err) < 0)
                return &STEP_FAIL;
        if (d->keeper.is_needed && aip_graph_keeper_tell_started(&d->keeper, &d->err) < 0)
                return &STEP_FAIL;
        AIP_FAULT_POINT("graph.step");
        for (uint32_t i = 0; i < d->state.n_tasks; i++) {
                aip_graph_task *task = &d->state.tasks[i];
                if (d->has_failed || d->stop_code)
                        break;
                if (task->phase != AIP_TASK_PLANNED)
                        continue; /* it had finished when the image was made */
                if (aip_graph_cache_look(&d->cache, task))
                        d->n_running++;
                else
                        start_task(d, task);
        }
        return &STEP_AWAIT;
}

static void cancel_tasks(struct driver *d)
{
        for (uint32_t i = 0; i < d->state.n_tasks; i++) {
                aip_graph_task *task = &d->state.tasks[i];
                if (aip_graph_attempts_is_waiting(&d->attempts, task)) {
                        aip_graph_attempts_give_up(&d->attempts, task);
                        d->n_running--;
                }
                aip_graph_task_cancel(task);
        }
}

/* The step may end without being merged: what some of its tasks have said will be needed again. */
static int may_not_merge(struct driver *d)
{
        return d->n_running > 0 || d->has_failed || d->stop_code ||
               aip_graph_is_interrupted(&d->state);
}

/* A save that failed before, or here, is the run's failure. */
static int save_tasks(struct driver *d)
{
        if (!d->err)
                d->err = AIP_TAKE(d->keeper.err);
        if (d->err || d->keeper.is_saving || !may_not_merge(d))
                return d->err ? AIP_EUNAVAILABLE : 0;
        if (d->run->durability != AIP_GRAPH_EXIT)
                return aip_graph_keeper_tasks(&d->keeper, &d->err);
        return d->n_running == 0 ? aip_graph_keeper_last(&d->keeper, &d->err) : 0;
}

/* A save is in flight, and more is to be saved after it before the step may end. */
static int must_save_tasks(struct driver *d)
{
        return d->keeper.is_saving && !d->err && may_not_merge(d) &&
               aip_graph_keeper_has_tasks(&d->keeper);
}

/* Wait for those in flight; when the step has lost its purpose, ask them to stop and still wait. */
static const struct step *await(struct driver *d)
{
        if (d->n_running > 0 && (d->has_failed || d->stop_code))
                cancel_tasks(d);
        if (aip_graph_keeper_saves(&d->keeper) && save_tasks(d) < 0) {
                d->has_failed = 1;
                aip_graph_subrun_refuse_all(&d->state);
        }
        if (d->n_running > 0 || must_save_tasks(d))
                return suspend(d, &STEP_AWAIT);
        return !d->has_failed && aip_graph_is_interrupted(&d->state) ? &STEP_INTERRUPT
                                                                     : &STEP_MERGE;
}

/* The step's writes become the state. */
static const struct step *merge(struct driver *d)
{
        aip_graph_attempts_release(&d->attempts);
        aip_graph_cache_release(&d->cache);
        if (d->err || aip_graph_merge(&d->state, &d->err) < 0)
                return &STEP_FAIL;
        if (d->keeper.is_needed)
                return &STEP_RECORD;
        if (d->state.held)
                return &STEP_INTERRUPT;
        return ++d->steps_in_turn < STEPS_A_TURN ? &STEP_PLAN : &STEP_REST;
}

/* Tell those who watch what the step has changed, and have it kept; one save at a time. */
static const struct step *record(struct driver *d)
{
        if (d->keeper.is_saving)
                return suspend(d, &STEP_RECORD);
        d->err = AIP_TAKE(d->keeper.err);
        if (d->err || aip_graph_keeper_step(&d->keeper, 0, &d->err) < 0)
                return &STEP_FAIL;
        return &STEP_RECORDED;
}

static const struct step *recorded(struct driver *d)
{
        if (d->keeper.is_saving && d->run->durability == AIP_GRAPH_SYNC)
                return suspend(d, &STEP_RECORDED);
        d->err = AIP_TAKE(d->keeper.err);
        if (d->err)
                return &STEP_FAIL;
        if (d->state.held)
                return &STEP_INTERRUPT;
        return ++d->steps_in_turn < STEPS_A_TURN ? &STEP_PLAN : &STEP_REST;
}

/* A long run of synchronous steps lets the loop's other work pass. */
static const struct step *rest(struct driver *d)
{
        const struct step *nothing = suspend(d, &STEP_PLAN);
        wake(d);
        return nothing;
}

/* The end of every run: give the outcome to the caller, free everything. */
static const struct step *settle(struct driver *d, aip_error *err)
{
        struct aip_graph_run *run = d->run;
        struct aip_loop loop = d->host.loop;
        aip_timer_clear(loop, &d->deadline);
        aip_graph_attempts_release(&d->attempts);
        aip_graph_cache_release(&d->cache);
        aip_graph_keeper_deinit(&d->keeper);
        run->ret_steps = d->state.step - d->state.first_step;
        run->impl = NULL;
        if (d->inside)
                d->inside->ups = AIP_TAKE(d->state.ups);
        aip_graph_state_deinit(&d->state);
        aip_free(d);
        aip_op_finish(loop, &run->op, err);
        return NULL;
}

/* Before a run ends: what it has come to is to be kept, and no save may be in flight. Whether to wait. */
static int must_wait(struct driver *d, aip_error **err)
{
        if (!aip_graph_keeper_saves(&d->keeper))
                return 0;
        if (!d->keeper.is_saving && !d->keeper.err && !*err &&
            aip_graph_keeper_last(&d->keeper, err) == 0 && d->run->durability != AIP_GRAPH_EXIT)
                (void)aip_graph_keeper_tasks(&d->keeper, err);
        if (d->keeper.is_saving)
                return 1;
        if (!*err)
                *err = AIP_TAKE(d->keeper.err);
        return 0;
}

/* What a run has come to; *ret_image and *ret_questions only when they are asked for. */
static int conclude(struct aip_graph_state *state, aip_value **ret_image, aip_value **ret_questions,
                    aip_value **ret_state, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *image = ret_image ? aip_graph_image(state) : NULL;
        _cleanup_(aip_value_unref_p) aip_value *questions =
                ret_questions ? aip_graph_questions(state) : NULL;
        if ((ret_image && !image) || (ret_questions && !questions))
                return aip_error_set_nomem(err);
        aip_value *object = aip_graph_state_take_object(state);
        if (!object)
                return aip_error_set_nomem(err);
        *ret_state = object;
        if (ret_image)
                *ret_image = AIP_TAKE(image);
        if (ret_questions)
                *ret_questions = AIP_TAKE(questions);
        return 0;
}

/* Some of the step's tasks wait for answers, or the run has halted. */
static const struct step *interrupt(struct driver *d)
{
        struct aip_graph_run *run = d->run;
        if (must_wait(d, &d->err))
                return suspend(d, &STEP_INTERRUPT);
        if (d->err)
                return &STEP_FAIL;
        aip_error *err = NULL;
        if (conclude(&d->state, &run->ret_image, &run->ret_questions, &run->ret_state, &err) == 0)
                run->ret_outcome = AIP_GRAPH_INTERRUPTED;
        return settle(d, err);
}

static const struct step *finish(struct driver *d)
{
        struct aip_graph_run *run = d->run;
        if (must_wait(d, &d->err))
                return suspend(d, &STEP_FINISH);
        if (d->err)
                return &STEP_FAIL;
        aip_error *err = NULL;
        (void)conclude(&d->state, run->wants_image ? &run->ret_image : NULL, NULL, &run->ret_state,
                       &err);
        return settle(d, err);
}

static const struct step *fail(struct driver *d)
{
        if (d->keeper.is_saving)
                return suspend(d, &STEP_FAIL);
        return settle(d, d->err);
}

static const struct step *stop(struct driver *d)
{
        aip_error *err = NULL;
        /* After a save that failed there is none: what tasks have said would be kept with another step. */
        if (must_wait(d, &d->err))
                return suspend(d, &STEP_STOP);
        aip_error_free(AIP_TAKE(d->err)); /* why it stops says more */
        aip_error_set(&err, d->stop_code,
                      d->stop_code == AIP_ETIMEOUT ? "the run's deadline passed in step %d"
                                                   : "the run was cancelled in step %d",
                      d->state.step);
        return settle(d, err);
}

/* Cancelled or out of time, with nothing in flight: the only place where a run is cut short. */
static int must_stop(struct driver *d, const struct step *step)
{
        if (d->n_running > 0 || step == &STEP_FINISH || step == &STEP_INTERRUPT ||
            step == &STEP_FAIL)
                return 0;
        if (!d->stop_code && step == &STEP_PLAN && d->host.deadline_ms &&
            aip_now_ms(d->host.loop) >= d->host.deadline_ms)
                d->stop_code = AIP_ETIMEOUT;
        return d->stop_code != 0;
}

static void drive(struct aip_task *task)
{
        struct driver *d = AIP_CONTAINER_OF(task, struct driver, wake);
        const struct step *step = d->next;
        d->is_suspended = 0;
        d->steps_in_turn = 0;
        while (step) {
                AIP_FAULT_POINT("run.step");
                step = must_stop(d, step) ? STEP_STOP.go(d) : step->go(d);
        }
}

static void task_finished(struct aip_graph_host *host, aip_graph_task *task)
{
        struct driver *d = AIP_CONTAINER_OF(host, struct driver, host);
        d->n_running--;
        if (d->inside)
                aip_graph_task_progress(d->inside->task);
        end_task(d, task);
        if (d->n_running == 0 || d->has_failed || aip_graph_keeper_saves(&d->keeper))
                wake(d);
}

static void task_progressed(struct aip_graph_host *host, aip_graph_task *task)
{
        struct driver *d = AIP_CONTAINER_OF(host, struct driver, host);
        aip_graph_attempts_progress(&d->attempts, task);
        if (d->inside)
                aip_graph_task_progress(d->inside->task);
}

static void begin_inside(struct aip_graph_host *host, aip_graph_task *task)
{
        const struct driver *d = AIP_CONTAINER_OF(host, struct driver, host);
        aip_graph_subrun_begin(task, d->run, d->inside ? d->inside->depth + 1 : 1);
}

static void cancel_inside(struct aip_graph_host *host, aip_graph_task *task)
{
        (void)host;
        aip_graph_subrun_cancel(task);
}

/* What runs inside a task waits for the run to be saved. */
static void inside_came(struct aip_graph_host *host, aip_graph_task *task)
{
        (void)task;
        wake(AIP_CONTAINER_OF(host, struct driver, host));
}

static void task_emitted(struct aip_graph_host *host, const aip_graph_task *task,
                         const aip_value *value)
{
        struct driver *d = AIP_CONTAINER_OF(host, struct driver, host);
        aip_graph_keeper_tell_custom(&d->keeper, task, value);
}

static void save_ended(struct aip_graph_keeper *keeper)
{
        wake(AIP_CONTAINER_OF(keeper, struct driver, keeper));
}

/* A synchronous task that had to wait for its next attempt. */
static void attempt_finished(struct aip_graph_attempts *attempts, aip_graph_task *task)
{
        struct driver *d = AIP_CONTAINER_OF(attempts, struct driver, attempts);
        task_finished(&d->host, task);
}

/* A step that has lost its purpose meanwhile begins nothing more. */
static void task_looked(struct aip_graph_cache *cache, aip_graph_task *task)
{
        struct driver *d = AIP_CONTAINER_OF(cache, struct driver, cache);
        if (task->phase == AIP_TASK_FINISHED) {
                task_finished(&d->host, task);
                return;
        }
        d->n_running--;
        if (!d->has_failed && !d->stop_code)
                start_task(d, task);
        if (d->n_running == 0 || d->has_failed || aip_graph_keeper_saves(&d->keeper))
                wake(d);
}

static void request_stop(struct driver *d, int code)
{
        if (!d->stop_code)
                d->stop_code = code;
        wake(d);
}

static void deadline_passed(struct aip_timer *timer)
{
        request_stop(AIP_CONTAINER_OF(timer, struct driver, deadline), AIP_ETIMEOUT);
}

static int check_run(const struct aip_graph_run *run, aip_error **err)
{
        if (run->self_size < sizeof(*run) || !run->graph)
                return aip_error_set(err, AIP_EINVAL, "a run needs a graph and AIP_GRAPH_RUN_INIT");
        if (run->step_limit < 0)
                return aip_error_set(err, AIP_EINVAL, "step_limit is %d, below 0", run->step_limit);
        return 0;
}

/* One block holds the driver and all arrays of the run. */
static int new_driver(struct aip_loop loop, struct aip_graph_run *run, struct driver **ret_driver,
                      aip_error **err)
{
        int code = check_run(run, err);
        if (code < 0)
                return code;
        struct driver *d = aip_alloc(sizeof(*d) + aip_graph_state_bytes(run->graph));
        if (!d)
                return aip_error_set_nomem(err);
        memset(d, 0, sizeof(*d));
        code = aip_graph_state_init(&d->state, run->graph, d + 1, run->context, run->step_limit,
                                    err);
        if (code < 0) {
                aip_graph_state_deinit(&d->state);
                aip_free(d);
                return code;
        }
        d->run = run;
        d->host = (struct aip_graph_host){loop,
                                          run->op.deadline_ms,
                                          task_finished,
                                          task_progressed,
                                          run->observer.ops ? task_emitted : NULL,
                                          begin_inside,
                                          cancel_inside,
                                          inside_came};
        aip_graph_keeper_init(&d->keeper, loop, run, &d->state);
        d->keeper.saved = save_ended;
        d->attempts = (struct aip_graph_attempts){.loop = loop,
                                                  .random = run->random.ops ? run->random
                                                                            : aip_random_system(),
                                                  .deadline_ms = run->op.deadline_ms,
                                                  .finished = attempt_finished};
        d->cache = (struct aip_graph_cache){.loop = loop,
                                            .cache = run->cache,
                                            .space = run->cache_space,
                                            .looked = task_looked};
        d->state.host = &d->host;
        d->wake.run = drive;
        d->deadline.fire = deadline_passed;
        *ret_driver = d;
        return 0;
}

static void start_run(struct aip_loop loop, struct aip_graph_run *run,
                      struct aip_graph_subrun *inside)
{
        struct driver *d = NULL;
        aip_error *err = NULL;
        run->impl = NULL;
        run->ret_steps = 0;
        run->ret_outcome = AIP_GRAPH_ENDED;
        if (new_driver(loop, run, &d, &err) < 0) {
                aip_op_finish(loop, &run->op, err);
                return;
        }
        run->impl = d;
        d->inside = inside;
        d->state.ns = inside ? aip_value_as_string(inside->ns).p : NULL;
        if (d->host.deadline_ms)
                aip_timer_set(loop, &d->deadline,
                              AIP_MAX(d->host.deadline_ms - aip_now_ms(loop), (int64_t)0));
        suspend(d, &STEP_BEGIN);
        wake(d);
}

void aip_graph_run_start(struct aip_loop loop, struct aip_graph_run *run)
{
        start_run(loop, run, NULL);
}

void aip_graph_run_start_inside(struct aip_loop loop, struct aip_graph_subrun *subrun)
{
        start_run(loop, &subrun->run, subrun);
}

void aip_graph_run_cancel(struct aip_graph_run *run)
{
        if (run->impl)
                request_stop(run->impl, AIP_ECANCELLED);
}

/* Without a loop. */

/* All attempts of one task; between two of them the calling thread sleeps. */
static void run_here(aip_graph_task *task)
{
        int64_t wait_ms;
        aip_graph_task_run(task);
        while (aip_graph_attempt_may_repeat(task, aip_random_system(), &wait_ms)) {
                struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * 1000000};
                while (nanosleep(&wait, &wait) < 0 && errno == EINTR)
                        ;
                aip_graph_task_reset(task);
                aip_graph_task_run(task);
        }
        aip_graph_task_handle_error(task);
}

/* The tasks of a step that have not finished yet. */
static int run_tasks(struct aip_graph_state *state)
{
        int has_failed = 0;
        for (uint32_t i = 0; i < state->n_tasks && !has_failed; i++) {
                aip_graph_task *task = &state->tasks[i];
                if (task->phase == AIP_TASK_PLANNED)
                        run_here(task);
                has_failed = task->err != NULL;
        }
        return has_failed;
}

/* All steps from where the state stands to the end, or to an interrupt. */
static int run_through(struct aip_graph_state *state, aip_error **err)
{
        for (;;) {
                if (state->held)
                        return 0;
                int code = state->n_tasks > 0 ? 0 : aip_graph_plan(state, err);
                if (code < 0 || state->n_tasks == 0)
                        return code;
                if (!run_tasks(state) && aip_graph_is_interrupted(state))
                        return 0;
                code = aip_graph_merge(state, err);
                if (code < 0)
                        return code;
        }
}

static int invoke_in(struct aip_graph_state *state, const aip_value *input,
                     const struct aip_graph_invoke_options *o, aip_value **ret_state,
                     aip_error **err)
{
        int code = aip_graph_set_halts(state, o->interrupt_before, o->n_interrupt_before,
                                       o->interrupt_after, o->n_interrupt_after, err);
        if (code == 0)
                code = begin_at(state, input, o->image, o->answers, 0, err);
        if (code == 0)
                code = run_through(state, err);
        if (code < 0)
                return code;
        int is_interrupted = aip_graph_is_interrupted(state);
        if (is_interrupted && !o->ret_questions)
                return aip_graph_invoke_unexpected(err);
        return conclude(state, o->ret_image, is_interrupted ? o->ret_questions : NULL, ret_state,
                        err);
}

static int check_invoke(const aip_graph *graph, const struct aip_graph_invoke_options *options,
                        aip_error **err)
{
        if (!graph)
                return aip_error_set(err, AIP_EINVAL, "there is no graph to invoke");
        if (options->step_limit < 0)
                return aip_error_set(err, AIP_EINVAL, "step_limit is %d, below 0",
                                     options->step_limit);
        return 0;
}

int aip_graph_invoke(const aip_graph *graph, const aip_value *input,
                     const struct aip_graph_invoke_options *options, aip_value **ret_state,
                     aip_error **err)
{
        struct aip_graph_invoke_options o = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        if (options)
                memcpy(&o, options, AIP_MIN(options->self_size, sizeof(o)));
        int code = check_invoke(graph, &o, err);
        if (code < 0)
                return code;
        if (!aip_graph_is_synchronous(graph) || o.observer.ops)
                return aip_graph_invoke_on_loop(graph, input, &o, ret_state, err);
        struct aip_graph_state state;
        _cleanup_(aip_free_p) void *block = aip_alloc(aip_graph_state_bytes(graph) + 1);
        if (!block)
                return aip_error_set_nomem(err);
        code = aip_graph_state_init(&state, graph, block, o.context, o.step_limit, err);
        if (code == 0)
                code = invoke_in(&state, input, &o, ret_state, err);
        if (o.ret_steps)
                *o.ret_steps = state.step - state.first_step;
        aip_graph_state_deinit(&state);
        return code;
}
