/*
 * The assistant graph and its one node, the agent: template and prompt to messages, one model call,
 * its answer to channels. Called by the processing service through the graph runner. It neither
 * retries nor stores anything; retries are the port's (a decorator) and the job's.
 */
#include "agent/assistant_graph.h"
#include "macros.h"
#include "mem.h"

#define AGENT "agent"

enum channel {
        PROMPT,
        MESSAGES,
        ANSWER,
        INPUT_TOKENS,
        OUTPUT_TOKENS,
        PROVIDER,
        MODEL_NAME,
        FINISH_REASON
};

/* One call of the agent: the task's memory. */
struct agent_call {
        struct aip_llm_call call;
        struct aip_llm llm;
        aip_graph_task *task;
        struct aip_llm_message messages[2];
        struct aip_buf system, user;
};

/* Free what the call holds and finish its task; `err` is consumed always. */
static void end_call(struct agent_call *agent, aip_error *err)
{
        aip_llm_answer_deinit(&agent->call.ret_answer);
        aip_buf_deinit(&agent->system);
        aip_buf_deinit(&agent->user);
        aip_graph_task_finish(agent->task, NULL, err);
}

static void write_text(aip_graph_task *task, enum channel channel, struct aip_str text)
{
        aip_graph_task_write_at(task, channel, aip_value_string(text));
}

static void write_tokens(aip_graph_task *task, enum channel channel, int64_t tokens)
{
        if (tokens >= 0)
                aip_graph_task_write_at(task, channel, aip_value_int(tokens));
}

/* Failures to allocate are kept by the task. */
static void write_answer(struct agent_call *agent)
{
        const struct aip_llm_answer *answer = &agent->call.ret_answer;
        struct aip_str content = aip_str_make(answer->content, answer->content_bytes);
        aip_graph_task *task = agent->task;

        aip_graph_task_write_at(task, MESSAGES,
                                aip_message("user", aip_buf_str(&agent->user), NULL));
        aip_graph_task_write_at(task, MESSAGES, aip_message("assistant", content, NULL));
        write_text(task, ANSWER, content);
        write_tokens(task, INPUT_TOKENS, answer->input_tokens);
        write_tokens(task, OUTPUT_TOKENS, answer->output_tokens);
        write_text(task, PROVIDER, aip_answer_provider(&agent->call));
        write_text(task, MODEL_NAME, aip_answer_model(&agent->call));
        write_text(task, FINISH_REASON, aip_str_of(aip_finish_reason_name(answer->finish_reason)));
}

static void answered(struct aip_op *op)
{
        struct agent_call *agent = AIP_CONTAINER_OF(op, struct agent_call, call.op);
        aip_error *err = AIP_TAKE(agent->call.op.err);
        if (!err && aip_answer_check(&agent->call.ret_answer, &err) == 0)
                write_answer(agent);
        end_call(agent, err);
}

static int render(struct agent_call *agent, const struct aip_agent_context *context,
                  aip_error **err)
{
        const aip_value *prompt = aip_graph_task_get_at(agent->task, PROMPT);
        aip_buf_init(&agent->system, AIP_RENDERED_MAX_BYTES);
        aip_buf_init(&agent->user, AIP_RENDERED_MAX_BYTES);
        if (aip_value_type(prompt) != AIP_VALUE_STRING)
                return aip_error_set(err, AIP_EINVAL, "prompt must be a string, not of type %s",
                                     aip_value_type_name(aip_value_type(prompt)));
        int code =
                aip_prompt_template_render(context->prompt_template, aip_value_as_string(prompt),
                                           context->variables, &agent->system, &agent->user, err);
        if (code < 0)
                return code;
        agent->messages[0] = (struct aip_llm_message){.role = AIP_LLM_SYSTEM,
                                                      .content = aip_buf_str(&agent->system)};
        agent->messages[1] = (struct aip_llm_message){.role = AIP_LLM_USER,
                                                      .content = aip_buf_str(&agent->user)};
        return 0;
}

static void answer_grows(struct aip_llm_call *call, const struct aip_llm_delta *delta)
{
        struct agent_call *agent = AIP_CONTAINER_OF(call, struct agent_call, call);
        const struct aip_agent_context *context = aip_graph_task_context(agent->task);

        aip_job_progress_delta(context->progress, AGENT, delta);
}

static void agent_start(void *user, aip_graph_task *task)
{
        (void)user;
        const struct aip_agent_context *context = aip_graph_task_context(task);
        struct agent_call *agent = aip_graph_task_memory(task);
        agent->task = task;
        agent->llm = context->llm;
        aip_error *err = NULL;
        if (render(agent, context, &err) < 0) {
                end_call(agent, err);
                return;
        }
        struct aip_llm_call *call = &agent->call;
        call->op.done = answered;
        call->op.deadline_ms = aip_sooner(context->deadline_ms, aip_graph_task_deadline_ms(task));
        call->config = context->config;
        call->messages = agent->messages;
        call->n_messages = AIP_ARRAY_SIZE(agent->messages);
        call->job_id = context->job_id;
        call->trace_id = context->trace_id;
        call->on_delta = context->progress ? answer_grows : NULL;
        agent->llm.ops->complete(agent->llm.self, call);
}

static void agent_cancel(void *user, aip_graph_task *task)
{
        (void)user;
        struct agent_call *agent = aip_graph_task_memory(task);
        agent->llm.ops->cancel(agent->llm.self, &agent->call);
}

int aip_assistant_graph_new(aip_graph **ret_graph, aip_error **err)
{
        struct aip_node_options agent = AIP_NODE_OPTIONS_INIT;
        agent.start = agent_start;
        agent.cancel = agent_cancel;
        agent.task_bytes = sizeof(struct agent_call);

        aip_graph_builder *b = aip_graph_builder_new();
        /* in the order of enum channel */
        aip_graph_builder_add_channel(b, "prompt", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "messages", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_channel(b, "answer", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "input_tokens", AIP_CHANNEL_ADD);
        aip_graph_builder_add_channel(b, "output_tokens", AIP_CHANNEL_ADD);
        aip_graph_builder_add_channel(b, "provider", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "model_name", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "finish_reason", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_node(b, AGENT, &agent);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "agent");
        aip_graph_builder_add_edge(b, "agent", AIP_GRAPH_END);
        return aip_graph_compile(b, ret_graph, err);
}
