/* Calls on the virtual loop, for the suites of the simulated provider and of the retry decorator.
 */
#ifndef TESTS_UNIT_LLM_CALLS_H
#define TESTS_UNIT_LLM_CALLS_H

#include "llm_support.h"
#include <aiplat/loops.h>

static aip_sim_loop *sim;
static struct aip_loop loop;

struct sim_call {
        struct aip_llm_call call;
        struct aip_llm_message messages[2];
        aip_llm_config *config;
        struct aip_id job_id;
        int n_done;
        int64_t done_ms;
        struct aip_buf told; /* deltas as text, if sim_call_hear() */
        struct aip_llm cancel_from_delta;
};

static inline void sim_start(void)
{
        cr_assert_eq(aip_sim_loop_new(INT64_C(1893456000000000), &sim, NULL), 0);
        loop = aip_sim_loop_port(sim);
}

static inline void sim_stop(void)
{
        aip_sim_loop_free(sim);
}

static inline void sim_call_done(struct aip_op *op)
{
        struct aip_llm_call *call = AIP_CONTAINER_OF(op, struct aip_llm_call, op);
        struct sim_call *c = AIP_CONTAINER_OF(call, struct sim_call, call);
        c->n_done++;
        c->done_ms = aip_now_ms(loop);
}

static inline void sim_call_init(struct sim_call *c, const char *model, const char *prompt)
{
        *c = (struct sim_call){.config = llm_config_of("simulated", model)};
        c->messages[0] =
                (struct aip_llm_message){.role = AIP_LLM_SYSTEM, .content = AIP_STR("Be brief.")};
        c->messages[1] =
                (struct aip_llm_message){.role = AIP_LLM_USER, .content = aip_str_of(prompt)};
        c->call.op.done = sim_call_done;
        c->call.config = c->config;
        c->call.messages = c->messages;
        c->call.n_messages = 2;
        c->call.job_id = &c->job_id;
}

/* X: restart; [name arguments]: a tool call; text as it stands, '|' after each piece. */
static inline void sim_call_told(struct aip_llm_call *call, const struct aip_llm_delta *delta)
{
        struct sim_call *c = AIP_CONTAINER_OF(call, struct sim_call, call);
        int r = 0;
        cr_assert_eq(c->n_done, 0);
        if (delta->kind == AIP_LLM_DELTA_RESTART)
                r = aip_buf_append_char(&c->told, 'X');
        else if (delta->kind == AIP_LLM_DELTA_TOOL_CALL_BEGIN)
                r = aip_buf_printf(&c->told, "[%.*s ", AIP_STR_ARG(delta->tool_name));
        else
                r = aip_buf_append(&c->told, delta->text);
        if (r == 0 && delta->kind == AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS)
                r = aip_buf_append_char(&c->told, ']');
        if (r == 0 && delta->kind == AIP_LLM_DELTA_TEXT)
                r = aip_buf_append_char(&c->told, '|');
        cr_assert_eq(r, 0);
        if (c->cancel_from_delta.ops)
                c->cancel_from_delta.ops->cancel(c->cancel_from_delta.self, call);
}

static inline void sim_call_hear(struct sim_call *c)
{
        aip_buf_init(&c->told, 1 << 20);
        c->call.on_delta = sim_call_told;
}

static inline void sim_call_deinit(struct sim_call *c)
{
        aip_llm_answer_deinit(&c->call.ret_answer);
        aip_error_free(c->call.op.err);
        c->call.op.err = NULL;
        aip_llm_config_unref(c->config);
        aip_buf_deinit(&c->told);
}

static inline void sim_call_begin(struct sim_call *c, struct aip_llm llm)
{
        c->n_done = 0;
        llm.ops->complete(llm.self, &c->call);
        cr_assert_eq(c->told.n, 0u, "a delta came within the call");
        cr_assert_eq(c->n_done, 0, "done came within the call");
}

static inline void sim_run(void)
{
        while (aip_sim_loop_step(sim))
                ;
}

/* Ask and wait; what an earlier try left is freed. */
static inline void sim_call_run(struct sim_call *c, struct aip_llm llm)
{
        aip_llm_answer_deinit(&c->call.ret_answer);
        aip_error_free(c->call.op.err);
        c->call.op.err = NULL;
        sim_call_begin(c, llm);
        sim_run();
        cr_assert_eq(c->n_done, 1);
}

static inline void sim_call_expect_kind(const struct sim_call *c, const char *kind)
{
        cr_assert_not_null(c->call.op.err, "%s was expected", kind);
        cr_expect_str_eq(aip_error_kind(c->call.op.err), kind, "%s",
                         aip_error_message(c->call.op.err));
        cr_expect_null(c->call.ret_answer.content);
}

#endif
