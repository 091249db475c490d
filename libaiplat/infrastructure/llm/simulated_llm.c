/*
 * The simulated provider (see aiplat/adapters.h): for demos without a key, for tests and
 * benchmarks. It has no network and no clock of its own, and answers the same prompt with the same
 * words. It must never pass for a model: every answer begins with LABEL.
 *
 *     complete ──► [timer of the call, when a latency is asked for] ──► respond ──► done
 *                                                                         │ on_delta
 *                                                                         └──► [play] ──► done
 *
 * A waiting call costs no memory beyond its own, so that 100,000 may wait; one that streams has a
 * small block from its first delta on.
 */
#include "hash_map.h"
#include "llm/provider_error.h"
#include "llm/simulated_answer.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/adapters.h>

#define NAME AIP_SIMULATED_NAME
/* Jobs whose failures are counted: this many to twice as many of the latest are remembered. */
#define COUNTED_JOBS_MAX 65536

struct simulated_llm {
        struct aip_loop loop;
        struct aip_hash_map counts, older_counts; /* job id → calls so far, as a pointer's value */
};

/* ---- failures ---- */

/* Count one more call of this job; the number before. When memory is out, nothing is counted. */
static int64_t count_call(struct simulated_llm *llm, const struct aip_id *job_id)
{
        static const struct aip_id no_job = {{0}};
        const struct aip_id *id = job_id ? job_id : &no_job;
        void *found = aip_hash_map_get_id(&llm->counts, id);
        if (!found)
                found = aip_hash_map_get_id(&llm->older_counts, id);
        uintptr_t count = (uintptr_t)found;
        if (llm->counts.n >= COUNTED_JOBS_MAX) {
                aip_hash_map_deinit(&llm->older_counts);
                llm->older_counts = llm->counts;
                llm->counts = (struct aip_hash_map){0};
        }
        int r = aip_hash_map_set_id(&llm->counts, id, (void *)(count + 1), NULL);
        return r < 0 ? INT64_MAX : (int64_t)count;
}

static int must_fail(struct simulated_llm *llm, const struct aip_llm_call *call,
                     const struct aip_simulated_plan *plan)
{
        if (!plan->fail_kind)
                return 0;
        return plan->failures < 0 || count_call(llm, call->job_id) < plan->failures;
}

static aip_error *planned_failure(const struct aip_simulated_plan *plan)
{
        aip_error *err = NULL;
        aip_llm_error_set(&err, plan->fail_kind, NAME ": told to fail with %s", plan->fail_kind);
        aip_error_set_retryable(err, aip_error_is_retryable(err), plan->retry_after_ms);
        return err;
}

/* ---- streaming ---- */

/* An answer that is being told in pieces. In call->op.impl from its first piece on. */
struct play {
        struct simulated_llm *llm;
        struct aip_llm_call *call;
        struct aip_simulated_plan plan;
        struct aip_llm_answer answer;
        aip_error *failure; /* how it is to end, or NULL */
        int64_t n_deltas;
        size_t at;     /* bytes of the text that were told */
        size_t n_told; /* tool calls that were told */
        int64_t end_ms;
        int is_telling, is_cancelled;
};

/* `err` is consumed always; the play is gone. Without one the answer is the call's. */
static void end_play(struct play *play, aip_error *err)
{
        struct aip_llm_call *call = play->call;
        struct aip_loop loop = play->llm->loop;
        aip_timer_clear(loop, &call->timer);
        call->impl = NULL;
        call->op.impl = NULL;
        call->ret_tries = 1;
        if (err)
                aip_llm_answer_deinit(&play->answer);
        else
                call->ret_answer = play->answer;
        aip_error_free(play->failure);
        aip_free(play);
        aip_op_finish(loop, &call->op, err);
}

static void tell(struct play *play, struct aip_llm_delta delta)
{
        play->n_deltas++;
        play->is_telling = 1;
        play->call->on_delta(play->call, &delta);
        play->is_telling = 0;
}

/* A word with the blanks behind it. */
static void tell_word(struct play *play)
{
        const char *text = play->answer.content + play->at;
        size_t left = play->answer.content_bytes - play->at, n = 0;
        while (n < left && text[n] != ' ' && text[n] != '\n')
                n++;
        while (n < left && (text[n] == ' ' || text[n] == '\n'))
                n++;
        play->at += n;
        tell(play,
             (struct aip_llm_delta){.kind = AIP_LLM_DELTA_TEXT, .text = aip_str_make(text, n)});
}

static int tell_tool_call(struct play *play)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(SIZE_MAX / 4);
        int32_t index = (int32_t)play->n_told;
        const aip_value *call = aip_value_at(play->answer.tool_calls, play->n_told++);
        int r = aip_value_print(aip_value_get_cstr(call, "arguments"), &text, NULL);
        if (r < 0)
                return r;
        tell(play, (struct aip_llm_delta){
                           .kind = AIP_LLM_DELTA_TOOL_CALL_BEGIN,
                           .index = index,
                           .tool_call_id = aip_value_as_string(aip_value_get_cstr(call, "id")),
                           .tool_name = aip_value_as_string(aip_value_get_cstr(call, "name"))});
        if (!play->is_cancelled)
                tell(play, (struct aip_llm_delta){.kind = AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS,
                                                  .index = index,
                                                  .text = aip_buf_str(&text)});
        return 0;
}

static int has_more(const struct play *play)
{
        if (play->failure && play->n_deltas >= play->plan.deltas_before_failure)
                return 0;
        return play->at < play->answer.content_bytes ||
               play->n_told < aip_value_size(play->answer.tool_calls);
}

static aip_error *cancelled_error(void)
{
        aip_error *err = NULL;
        aip_llm_error_set(&err, AIP_LLM_INTERNAL_CANCELLED, NAME ": the call was cancelled");
        return err;
}

static aip_error *late_error(const struct simulated_llm *llm, const struct aip_llm_call *call)
{
        aip_error *err = NULL;
        int64_t deadline_ms = call->op.deadline_ms;
        aip_llm_error_set(&err, AIP_LLM_PROVIDER_TIMEOUT, NAME ": no answer in time");
        if (deadline_ms && aip_now_ms(llm->loop) >= deadline_ms)
                aip_error_set_retryable(err, 0, 0);
        return err;
}

static int tell_next(struct play *play)
{
        if (play->at == play->answer.content_bytes)
                return tell_tool_call(play);
        tell_word(play);
        return 0;
}

static void play_on(struct aip_timer *timer)
{
        struct aip_llm_call *call = AIP_CONTAINER_OF(timer, struct aip_llm_call, timer);
        struct play *play = call->op.impl;
        aip_error *err = NULL;
        int r = 0;
        do {
                if (has_more(play))
                        r = tell_next(play);
        } while (r == 0 && !play->is_cancelled && play->plan.pace_ms == 0 && has_more(play));
        if (r < 0)
                aip_error_set_nomem(&err);
        if (play->is_cancelled)
                end_play(play, cancelled_error());
        else if (r < 0 || !has_more(play))
                end_play(play, err ? err : AIP_TAKE(play->failure));
        else if (aip_now_ms(play->llm->loop) + play->plan.pace_ms >= play->end_ms)
                end_play(play, late_error(play->llm, call));
        else
                aip_timer_set(play->llm->loop, timer, play->plan.pace_ms);
}

/* Never from within `complete`: the first piece comes by the timer too. `failure` is consumed
 * always. */
static int begin_play(struct simulated_llm *llm, struct aip_llm_call *call,
                      const struct aip_simulated_plan *plan, struct aip_llm_answer *answer,
                      aip_error *failure, int64_t left_ms)
{
        struct play *play = aip_calloc(1, sizeof(*play));
        if (!play) {
                aip_error_free(failure);
                return AIP_ENOMEM;
        }
        *play = (struct play){.llm = llm,
                              .call = call,
                              .plan = *plan,
                              .answer = *answer,
                              .failure = failure,
                              .end_ms = aip_now_ms(llm->loop) + left_ms};
        call->impl = llm;
        call->op.impl = play;
        call->timer = (struct aip_timer){.fire = play_on};
        aip_timer_set(llm->loop, &call->timer, plan->pace_ms);
        return 0;
}

/* ---- the port ---- */

static void finish(struct simulated_llm *llm, struct aip_llm_call *call, aip_error *err)
{
        call->impl = NULL;
        call->ret_tries = 1;
        aip_op_finish(llm->loop, &call->op, err);
}

static void answer(struct simulated_llm *llm, struct aip_llm_call *call,
                   const struct aip_simulated_plan *plan, aip_error *failure, int64_t left_ms)
{
        struct aip_llm_answer made = {0};
        aip_error *err = NULL;
        int r = aip_simulated_answer(call, plan, &made);
        if (r == 0 && call->on_delta) {
                r = begin_play(llm, call, plan, &made, AIP_TAKE(failure), left_ms);
                if (r == 0)
                        return;
                aip_llm_answer_deinit(&made);
        }
        aip_error_free(failure);
        if (r == AIP_ELIMIT)
                aip_llm_error_set(&err, AIP_LLM_CALLER_TOO_LARGE,
                                  NAME ": the answer would be too large");
        else if (r < 0)
                aip_error_set_nomem(&err);
        else
                call->ret_answer = made;
        finish(llm, call, err);
}

/* left_ms: of the time for it. */
static void respond(struct simulated_llm *llm, struct aip_llm_call *call, int64_t left_ms)
{
        struct aip_simulated_plan plan = aip_simulated_plan_of(call);
        aip_error *failure = must_fail(llm, call, &plan) ? planned_failure(&plan) : NULL;
        int is_midway = call->on_delta && plan.deltas_before_failure > 0;
        if (failure && !is_midway)
                finish(llm, call, failure);
        else
                answer(llm, call, &plan, failure, left_ms);
}

/* How long the call may take: the configuration's time limit or what is left until its deadline. */
static int64_t time_left_ms(const struct simulated_llm *llm, const struct aip_llm_call *call)
{
        int64_t timeout_ms = aip_llm_config_fields(call->config)->timeout_ms;
        if (!call->op.deadline_ms)
                return timeout_ms;
        int64_t left_ms = call->op.deadline_ms - aip_now_ms(llm->loop);
        return AIP_MAX(AIP_MIN(left_ms, timeout_ms), INT64_C(0));
}

static void latency_passed(struct aip_timer *timer)
{
        struct aip_llm_call *call = AIP_CONTAINER_OF(timer, struct aip_llm_call, timer);
        struct simulated_llm *llm = call->impl;
        int64_t timeout_ms = aip_llm_config_fields(call->config)->timeout_ms;
        int64_t waited_ms = aip_simulated_plan_of(call).latency_ms;
        respond(llm, call, AIP_MIN(time_left_ms(llm, call), timeout_ms - waited_ms));
}

static void limit_passed(struct aip_timer *timer)
{
        struct aip_llm_call *call = AIP_CONTAINER_OF(timer, struct aip_llm_call, timer);
        finish(call->impl, call, late_error(call->impl, call));
}

static void complete(void *self, struct aip_llm_call *call)
{
        struct simulated_llm *llm = self;
        int64_t latency_ms = aip_simulated_plan_of(call).latency_ms,
                left_ms = time_left_ms(llm, call);
        int is_late = left_ms <= latency_ms && (latency_ms > 0 || left_ms == 0);
        call->impl = llm;
        call->op.impl = NULL;
        call->ret_tries = 0;
        if (latency_ms == 0 && !is_late) {
                respond(llm, call, left_ms);
                return;
        }
        call->timer = (struct aip_timer){.fire = is_late ? limit_passed : latency_passed};
        aip_timer_set(llm->loop, &call->timer, is_late ? left_ms : latency_ms);
}

static void cancel(void *self, struct aip_llm_call *call)
{
        struct simulated_llm *llm = self;
        struct play *play = call->impl ? call->op.impl : NULL;
        if (!call->impl || (play && play->is_cancelled))
                return;
        if (play && play->is_telling) {
                play->is_cancelled = 1; /* the teller ends it */
                return;
        }
        if (play) {
                end_play(play, cancelled_error());
                return;
        }
        aip_timer_clear(llm->loop, &call->timer);
        finish(llm, call, cancelled_error());
}

static void free_llm(void *self)
{
        struct simulated_llm *llm = self;
        aip_hash_map_deinit(&llm->counts);
        aip_hash_map_deinit(&llm->older_counts);
        aip_free(llm);
}

static const struct aip_llm_ops simulated_ops = {
        .self_size = sizeof(simulated_ops),
        .name = NAME,
        .complete = complete,
        .cancel = cancel,
        .free = free_llm,
};

int aip_simulated_llm_new(struct aip_loop loop, struct aip_llm *ret_llm, aip_error **err)
{
        struct simulated_llm *llm = aip_calloc(1, sizeof(*llm));
        if (!llm)
                return aip_error_set_nomem(err);
        llm->loop = loop;
        *ret_llm = (struct aip_llm){&simulated_ops, llm};
        return 0;
}
