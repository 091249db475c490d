/*
 * Retry decorator around a model provider (see aiplat/llm_retry.h). Made by the composition root,
 * called like any provider. It never looks into requests or answers. A stream that breaks midway
 * begins again too, but never silently: a RESTART delta goes ahead of what comes then.
 *
 *     [start] ──► [ask] ──► [answered] ── success, hopeless, tries used up ──► [finish]
 *                   ▲            │
 *                   └── timer ◄──┘ passing error: wait
 *
 * cancel: while asking it is handed to the inner provider, while waiting it ends the call.
 */
#include "macros.h"
#include "mem.h"
#include <aiplat/llm_retry.h>

struct retrying_llm {
        struct aip_llm_ops ops; /* its own, for the inner's name */
        struct aip_llm inner;
        struct aip_loop loop;
        struct aip_random random;
        struct aip_llm_retry_options options;
};

/* One call on its way. Lives in call->impl until the call is finished. */
struct retry {
        struct retrying_llm *llm;
        struct aip_llm_call *call;
        struct aip_llm_call inner; /* the request in flight */
        struct aip_timer timer;    /* the wait for the next one */
        int32_t n_tries;           /* calls of the inner provider so far */
        int is_waiting;            /* on the timer, not on the inner provider */
        int is_cancelled;
        int has_deltas; /* some of the try were passed on */
        int is_telling; /* a RESTART is being passed on */
};

/* `err` is consumed always. The call belongs to its owner again; `retry` is gone. */
static void finish(struct retry *retry, aip_error *err)
{
        struct aip_llm_call *call = retry->call;
        struct aip_loop loop = retry->llm->loop;
        call->impl = NULL;
        aip_free(retry);
        aip_op_finish(loop, &call->op, err);
}

static void finish_cancelled(struct retry *retry)
{
        aip_error *err = NULL;
        aip_error_set(&err, AIP_ECANCELLED, "the call was cancelled");
        aip_error_set_kind(err, AIP_LLM_INTERNAL_CANCELLED);
        finish(retry, err);
}

/* An even number from 0 to limit_ms. */
static int64_t draw_ms(struct aip_random random, int64_t limit_ms)
{
        /* 53 bits, as many as a double holds: [0, 1) */
        double share = (double)(aip_random_u64(random) >> 11) / 9007199254740992.0;
        return (int64_t)(share * (double)(limit_ms + 1));
}

static int64_t wait_ms(const struct retry *retry, const aip_error *error)
{
        const struct aip_llm_retry_options *options = &retry->llm->options;
        double max_ms = (double)options->max_wait_ms;
        double limit_ms = (double)options->initial_wait_ms;
        for (int32_t i = 1; i < retry->n_tries && limit_ms < max_ms; i++)
                limit_ms *= options->factor;
        limit_ms = AIP_MIN(limit_ms, max_ms);
        return aip_error_retry_after_ms(error) + draw_ms(retry->llm->random, (int64_t)limit_ms);
}

/* Whether to try again, and after which wait. */
static int may_retry(const struct retry *retry, const aip_error *error, int64_t *ret_wait_ms)
{
        const struct aip_llm_retry_options *options = &retry->llm->options;
        if (!aip_error_is_retryable(error) || retry->n_tries >= options->max_tries ||
            aip_error_retry_after_ms(error) > options->max_wait_ms)
                return 0;
        int64_t ms = wait_ms(retry, error), deadline_ms = retry->call->op.deadline_ms;
        if (deadline_ms != 0 && ms >= deadline_ms - aip_now_ms(retry->llm->loop))
                return 0;
        *ret_wait_ms = ms;
        return 1;
}

static void answered(struct aip_op *op)
{
        struct aip_llm_call *inner = AIP_CONTAINER_OF(op, struct aip_llm_call, op);
        struct retry *retry = AIP_CONTAINER_OF(inner, struct retry, inner);
        aip_error *err = AIP_TAKE(inner->op.err);
        int64_t ms;
        retry->call->ret_tries += inner->ret_tries;
        if (!err) {
                retry->call->ret_answer = inner->ret_answer;
                finish(retry, NULL);
        } else if (retry->is_cancelled) {
                aip_error_free(err);
                finish_cancelled(retry);
        } else if (may_retry(retry, err, &ms)) {
                aip_error_free(err);
                retry->is_waiting = 1;
                aip_timer_set(retry->llm->loop, &retry->timer, ms);
        } else {
                finish(retry, err);
        }
}

static void pass_on(struct aip_llm_call *inner, const struct aip_llm_delta *delta)
{
        struct retry *retry = AIP_CONTAINER_OF(inner, struct retry, inner);
        retry->has_deltas = delta->kind != AIP_LLM_DELTA_RESTART;
        retry->call->on_delta(retry->call, delta);
}

/* What was passed on of the try that failed is void. False when that made the caller cancel. */
static int tell_restart(struct retry *retry)
{
        static const struct aip_llm_delta restart = {.kind = AIP_LLM_DELTA_RESTART};
        if (!retry->has_deltas)
                return 1;
        retry->has_deltas = 0;
        retry->is_telling = 1;
        retry->call->on_delta(retry->call, &restart);
        retry->is_telling = 0;
        return !retry->is_cancelled;
}

static void ask(struct retry *retry)
{
        const struct aip_llm_call *call = retry->call;
        struct aip_llm inner = retry->llm->inner;
        retry->n_tries++;
        retry->is_waiting = 0;
        retry->inner = (struct aip_llm_call){
                .op = {.done = answered, .deadline_ms = call->op.deadline_ms},
                .config = call->config,
                .messages = call->messages,
                .n_messages = call->n_messages,
                .job_id = call->job_id,
                .trace_id = call->trace_id,
                .tools = call->tools,
                .tool_choice = call->tool_choice,
                .tool_choice_name = call->tool_choice_name,
                .is_serial = call->is_serial,
                .output_schema = call->output_schema,
                .on_delta = call->on_delta ? pass_on : NULL,
                .idle_timeout_ms = call->idle_timeout_ms,
        };
        inner.ops->complete(inner.self, &retry->inner);
}

static void waited(struct aip_timer *timer)
{
        struct retry *retry = AIP_CONTAINER_OF(timer, struct retry, timer);
        if (tell_restart(retry))
                ask(retry);
        else
                finish_cancelled(retry);
}

static void complete(void *self, struct aip_llm_call *call)
{
        struct retrying_llm *llm = self;
        struct retry *retry = aip_calloc(1, sizeof(*retry));
        call->impl = retry;
        call->ret_tries = 0;
        if (!retry) {
                aip_error *err = NULL;
                aip_error_set_nomem(&err);
                aip_op_finish(llm->loop, &call->op, err);
                return;
        }
        retry->llm = llm;
        retry->call = call;
        retry->timer.fire = waited;
        ask(retry);
}

static void cancel(void *self, struct aip_llm_call *call)
{
        struct retrying_llm *llm = self;
        struct retry *retry = call->impl;
        if (!retry || retry->is_cancelled)
                return;
        retry->is_cancelled = 1;
        if (retry->is_telling)
                return; /* the teller ends it */
        if (!retry->is_waiting) {
                llm->inner.ops->cancel(llm->inner.self, &retry->inner);
                return;
        }
        aip_timer_clear(llm->loop, &retry->timer);
        finish_cancelled(retry);
}

static void free_llm(void *self)
{
        struct retrying_llm *llm = self;
        llm->inner.ops->free(llm->inner.self);
        aip_free(llm);
}

static int check_options(const struct aip_llm_retry_options *options, aip_error **err)
{
        if (options->max_tries < 1 || options->max_tries > 100)
                return aip_error_set(err, AIP_EINVAL, "max_tries: %d is not from 1 to 100",
                                     options->max_tries);
        if (options->initial_wait_ms < 0 || options->initial_wait_ms > 3600000)
                return aip_error_set(err, AIP_EINVAL, "initial_wait_ms is not from 0 to 3600000");
        if (options->max_wait_ms < options->initial_wait_ms || options->max_wait_ms > 3600000)
                return aip_error_set(err, AIP_EINVAL,
                                     "max_wait_ms is not from initial_wait_ms to 3600000");
        if (!(options->factor >= 1 && options->factor <= 100))
                return aip_error_set(err, AIP_EINVAL, "factor: %g is not from 1 to 100",
                                     options->factor);
        return 0;
}

int aip_retrying_llm_new(struct aip_llm inner, struct aip_loop loop, struct aip_random random,
                         const struct aip_llm_retry_options *options, struct aip_llm *ret_llm,
                         aip_error **err)
{
        struct aip_llm_retry_options merged = AIP_LLM_RETRY_OPTIONS_INIT;
        if (options)
                memcpy(&merged, options, AIP_MIN(options->self_size, sizeof(merged)));
        int r = check_options(&merged, err);
        if (r < 0)
                return r;
        struct retrying_llm *llm = aip_calloc(1, sizeof(*llm));
        if (!llm)
                return aip_error_set_nomem(err);
        *llm = (struct retrying_llm){
                .ops = {sizeof(llm->ops), inner.ops->name, complete, cancel, free_llm},
                .inner = inner,
                .loop = loop,
                .random = random,
                .options = merged,
        };
        *ret_llm = (struct aip_llm){&llm->ops, llm};
        return 0;
}
