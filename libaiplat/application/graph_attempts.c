/*
 * Attempts of a graph's tasks (graph_attempts.h).
 *
 *     watch ──► running ── time is up ──► the node is cancelled ──► finish
 *                  │                                                  │
 *                  └── finish ── may pass, attempts left ──► waiting ─┤ timer: reset, run or begin
 *                         │                                           ▼
 *                         └── no error, or the last ──► handler     watch …
 */
#include "graph_attempts.h"
#include "macros.h"
#include "mem.h"

#define INITIAL_MS 500
#define MAX_MS     128000
#define FACTOR     2.0

enum purpose { NONE = 0, RETRY, TIMEOUT };

struct aip_graph_attempt {
        struct aip_graph_attempts *all;
        aip_graph_task *task;
        struct aip_timer timer;
        enum purpose purpose; /* of the timer */
        uint32_t passed_ms;   /* the time-out that has passed; 0: none */
        int64_t began_ms, alive_ms;
};

static const struct aip_node_options *options_of(const aip_graph_task *task)
{
        return &aip_graph_node_of(task)->options;
}

static int is_governed(const struct aip_node_options *o)
{
        return o->retry.max_attempts > 1 || o->timeout_ms || o->idle_timeout_ms;
}

static struct aip_graph_attempt *attempt_of(const struct aip_graph_attempts *all,
                                            const aip_graph_task *task)
{
        return all->list && is_governed(options_of(task)) ? &all->list[task - task->state->tasks]
                                                          : NULL;
}

/* Repeating. */

static int64_t draw_wait_ms(const struct aip_node_retry *retry, struct aip_random random,
                            uint32_t n_attempts)
{
        double most = retry->max_ms ? retry->max_ms : MAX_MS;
        double limit = retry->initial_ms ? retry->initial_ms : INITIAL_MS;
        double factor = retry->factor != 0 ? retry->factor : FACTOR;
        for (uint32_t i = 1; i < n_attempts && limit < most; i++)
                limit *= factor;
        /* 53 bits, as many as a double holds: [0, 1) */
        double share = (double)(aip_random_u64(random) >> 11) / 9007199254740992.0;
        return (int64_t)(share * (AIP_MIN(limit, most) + 1));
}

int aip_graph_attempt_may_repeat(const aip_graph_task *task, struct aip_random random,
                                 int64_t *ret_wait_ms)
{
        const struct aip_node_options *o = options_of(task);
        if (!task->err || task->n_attempts >= o->retry.max_attempts)
                return 0;
        int is_retryable = o->retry.is_retryable ? o->retry.is_retryable(o->user, task->err)
                                                 : aip_error_is_retryable(task->err);
        if (!is_retryable)
                return 0;
        *ret_wait_ms = aip_error_retry_after_ms(task->err) +
                       draw_wait_ms(&o->retry, random, task->n_attempts);
        return 1;
}

static void try_again(struct aip_graph_attempt *attempt)
{
        aip_graph_task *task = attempt->task;
        aip_graph_task_reset(task);
        if (aip_graph_task_is_async(task)) {
                aip_graph_task_begin(task);
                aip_graph_attempts_watch(attempt->all, task);
        } else {
                aip_graph_task_run(task);
                attempt->all->finished(attempt->all, task);
        }
}

/* Time. */

static int64_t sooner(int64_t a, int64_t b)
{
        return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When the attempt's time is up; 0: never. */
static int64_t end_ms(const struct aip_graph_attempt *attempt, uint32_t *ret_limit_ms)
{
        const struct aip_node_options *o = options_of(attempt->task);
        int64_t whole = o->timeout_ms ? attempt->began_ms + o->timeout_ms : 0;
        int64_t idle = o->idle_timeout_ms ? attempt->alive_ms + o->idle_timeout_ms : 0;
        int64_t end = sooner(whole, idle);
        *ret_limit_ms = end == whole ? o->timeout_ms : o->idle_timeout_ms;
        return end;
}

static void arm(struct aip_graph_attempt *attempt)
{
        uint32_t limit_ms;
        int64_t end = end_ms(attempt, &limit_ms);
        if (end == 0)
                return;
        attempt->purpose = TIMEOUT;
        aip_timer_set(attempt->all->loop, &attempt->timer,
                      AIP_MAX(end - aip_now_ms(attempt->all->loop), (int64_t)0));
}

/* Progress only moves the mark; the timer looks at it when it fires. */
static void time_is_up(struct aip_graph_attempt *attempt)
{
        uint32_t limit_ms;
        if (end_ms(attempt, &limit_ms) > aip_now_ms(attempt->all->loop)) {
                arm(attempt);
                return;
        }
        attempt->passed_ms = limit_ms;
        aip_graph_task_cancel(attempt->task);
}

static void fire(struct aip_timer *timer)
{
        struct aip_graph_attempt *attempt =
                AIP_CONTAINER_OF(timer, struct aip_graph_attempt, timer);
        enum purpose purpose = attempt->purpose;
        attempt->purpose = NONE;
        if (purpose == RETRY)
                try_again(attempt);
        else
                time_is_up(attempt);
}

static void fail_timeout(struct aip_graph_attempt *attempt)
{
        aip_graph_task *task = attempt->task;
        const struct aip_node_options *o = options_of(task);
        int is_idle = attempt->passed_ms != o->timeout_ms;
        aip_error_free(AIP_TAKE(task->err));
        aip_error_set(&task->err, AIP_ETIMEOUT,
                      is_idle ? "made no progress for %u ms" : "took longer than %u ms",
                      attempt->passed_ms);
        aip_error_set_retryable(task->err, 1, 0);
}

/* What the runner calls. */

int aip_graph_attempts_plan(struct aip_graph_attempts *all, struct aip_graph_state *state,
                            aip_error **err)
{
        int is_any = 0;
        for (uint32_t i = 0; i < state->n_tasks && !is_any; i++)
                is_any = is_governed(options_of(&state->tasks[i]));
        if (!is_any)
                return 0;
        all->list = aip_calloc(state->n_tasks, sizeof(*all->list));
        if (!all->list)
                return aip_error_set_nomem(err);
        all->n = state->n_tasks;
        for (uint32_t i = 0; i < all->n; i++)
                all->list[i] = (struct aip_graph_attempt){
                        .all = all, .task = &state->tasks[i], .timer = {.fire = fire}};
        return 0;
}

void aip_graph_attempts_watch(struct aip_graph_attempts *all, aip_graph_task *task)
{
        struct aip_graph_attempt *attempt = attempt_of(all, task);
        if (!attempt || task->phase != AIP_TASK_RUNNING)
                return;
        attempt->passed_ms = 0;
        attempt->began_ms = attempt->alive_ms = aip_now_ms(all->loop);
        arm(attempt);
}

void aip_graph_attempts_progress(struct aip_graph_attempts *all, aip_graph_task *task)
{
        struct aip_graph_attempt *attempt = attempt_of(all, task);
        if (attempt)
                attempt->alive_ms = aip_now_ms(all->loop);
}

int aip_graph_attempts_finish(struct aip_graph_attempts *all, aip_graph_task *task)
{
        struct aip_graph_attempt *attempt = attempt_of(all, task);
        int64_t wait_ms = 0;
        if (attempt) {
                aip_timer_clear(all->loop, &attempt->timer);
                attempt->purpose = NONE;
                if (attempt->passed_ms && task->err)
                        fail_timeout(attempt);
                attempt->passed_ms = 0;
        }
        if (attempt && aip_graph_attempt_may_repeat(task, all->random, &wait_ms) &&
            (all->deadline_ms == 0 || aip_now_ms(all->loop) + wait_ms < all->deadline_ms)) {
                attempt->purpose = RETRY;
                aip_timer_set(all->loop, &attempt->timer, wait_ms);
                return 1;
        }
        aip_graph_task_handle_error(task);
        return 0;
}

int aip_graph_attempts_is_waiting(const struct aip_graph_attempts *all, const aip_graph_task *task)
{
        const struct aip_graph_attempt *attempt = attempt_of(all, task);
        return attempt && attempt->purpose == RETRY;
}

void aip_graph_attempts_give_up(struct aip_graph_attempts *all, aip_graph_task *task)
{
        struct aip_graph_attempt *attempt = attempt_of(all, task);
        aip_timer_clear(all->loop, &attempt->timer);
        attempt->purpose = NONE;
}

void aip_graph_attempts_release(struct aip_graph_attempts *all)
{
        for (uint32_t i = 0; all->list && i < all->n; i++)
                aip_timer_clear(all->loop, &all->list[i].timer);
        aip_free(AIP_TAKE(all->list));
        all->n = 0;
}
