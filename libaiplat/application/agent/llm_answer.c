/*
 * What a node of type "llm" makes of the model's answer: messages of the conversation, and what "write"
 * computes from it.
 *
 *     $answer       its text
 *     $value        with "output_schema": the text as the value that it is
 *     $tool_calls   the tools it calls: [{"id", "name", "arguments"}]
 *     $finish_reason   stop, length, tool_calls, other
 */
#include "agent/llm_node.h"

/* It may be asked again. `cause` is consumed always. */
static int fail_schema(aip_error *cause, aip_error **err)
{
        aip_error_set(err, AIP_EUPSTREAM, "the answer is not as output_schema says: %s",
                      aip_error_message(cause));
        if (err) {
                aip_error_set_kind(*err, AIP_LLM_PROVIDER_BAD_ANSWER);
                aip_error_set_retryable(*err, 1, 0);
        }
        aip_error_free(cause);
        return AIP_EUPSTREAM;
}

/* The answer as a value of the schema; *ret_value stays NULL where there is none to read. */
static int read_value(const struct aip_llm_node *node, const struct aip_llm_answer *answer,
                      aip_value **ret_value, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        aip_error *cause = NULL;
        int r;

        if (!node->schema || answer->content_bytes == 0)
                return 0;
        r = aip_value_parse(aip_str_make(answer->content, answer->content_bytes), &value, &cause);
        if (r == 0)
                r = aip_json_schema_check(node->schema, "answer", value, &cause);
        if (r == AIP_ENOMEM)
                return aip_error_propagate(err, cause);
        if (r < 0)
                return fail_schema(cause, err);
        *ret_value = AIP_TAKE(value);
        return 0;
}

/* The schema has let only names of choices pass. */
static void go_where_chosen(struct aip_llm_node_call *c, const aip_value *value)
{
        struct aip_str choice = aip_value_as_string(aip_value_get_cstr(value, "choice"));

        for (size_t i = 0; i < c->node->n_targets; i++)
                if (aip_str_eq(choice, aip_str_of(c->node->targets[i])))
                        aip_graph_task_goto(c->task, c->node->targets[i]);
}

/* The user's message, if this node has added one, and the answer. Failures are kept by the task. */
static void go_on_with_conversation(struct aip_llm_node_call *c, struct aip_str content)
{
        const struct aip_llm_message *last = &c->messages[c->call.n_messages - 1];

        if (c->node->messages == AIP_GRAPH_DOCUMENT_NO_CHANNEL || c->node->targets)
                return;
        if (c->prompt_text)
                aip_graph_task_write_at(c->task, c->node->messages,
                                        aip_message("user", last->content, NULL));
        aip_graph_task_write_at(c->task, c->node->messages,
                                aip_message("assistant", content, c->call.ret_answer.tool_calls));
}

static void count_tokens(struct aip_llm_node_call *c, uint32_t channel, int64_t tokens)
{
        if (channel != AIP_GRAPH_DOCUMENT_NO_CHANNEL && tokens >= 0)
                aip_graph_task_write_at(c->task, channel, aip_value_int(tokens));
}

static int eval_writes(struct aip_llm_node_call *c, struct aip_str content, const aip_value *value,
                       aip_value **ret_update, aip_error **err)
{
        const struct aip_llm_answer *answer = &c->call.ret_answer;
        const char *why = aip_finish_reason_name(answer->finish_reason);
        _cleanup_(aip_value_unref_p) aip_value *text = aip_value_string(content),
                                               *reason = aip_value_string(aip_str_of(why));
        const aip_value *variables[] = {c->sight.item, text, value, answer->tool_calls, reason};

        if (!text || !reason)
                return aip_error_set_nomem(err);
        return aip_graph_writes_eval(c->node->writes, c->sight.state, variables, ret_update, err);
}

int aip_llm_node_take(struct aip_llm_node_call *c, aip_value **ret_update, aip_error **err)
{
        const struct aip_llm_answer *answer = &c->call.ret_answer;
        struct aip_str content = aip_str_make(answer->content, answer->content_bytes);
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        int r = aip_answer_check(answer, err);

        if (r == 0)
                r = read_value(c->node, answer, &value, err);
        if (r < 0)
                return r;
        if (c->node->targets)
                go_where_chosen(c, value);
        go_on_with_conversation(c, content);
        count_tokens(c, c->node->input_tokens, answer->input_tokens);
        count_tokens(c, c->node->output_tokens, answer->output_tokens);
        return c->node->writes ? eval_writes(c, content, value, ret_update, err) : 0;
}
