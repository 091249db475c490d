/* What model calls say of themselves, what a run has used of them, and which answers can be used; see
 * agent_context.h. */
#include "agent/agent_context.h"
#include "macros.h"

const char *aip_finish_reason_name(enum aip_llm_finish_reason reason)
{
        switch (reason) {
        case AIP_LLM_FINISH_STOP:
                return "stop";
        case AIP_LLM_FINISH_LENGTH:
                return "length";
        case AIP_LLM_FINISH_TOOL_CALLS:
                return "tool_calls";
        case AIP_LLM_FINISH_CONTENT_FILTER:
                return "content_filter";
        case AIP_LLM_FINISH_OTHER:
                break;
        }
        return "other";
}

struct aip_str aip_answer_provider(const struct aip_llm_call *call)
{
        const char *provider = call->ret_answer.provider;

        return provider ? aip_str_of(provider) : aip_llm_config_fields(call->config)->provider;
}

struct aip_str aip_answer_model(const struct aip_llm_call *call)
{
        const char *model = call->ret_answer.model_name;

        return model ? aip_str_of(model) : aip_llm_config_fields(call->config)->model_name;
}

static int put_text(aip_value **kept, struct aip_str text, aip_error **err)
{
        aip_value *value = aip_value_string(text);

        if (!value)
                return aip_error_set_nomem(err);
        aip_value_unref(*kept);
        *kept = value;
        return 0;
}

int aip_agent_usage_add(struct aip_agent_usage *usage, const struct aip_llm_call *call,
                        aip_error **err)
{
        const struct aip_llm_answer *answer = &call->ret_answer;
        int r = put_text(&usage->provider, aip_answer_provider(call), err);

        if (r == 0)
                r = put_text(&usage->model_name, aip_answer_model(call), err);
        if (r < 0)
                return r;
        usage->input_tokens += AIP_MAX(answer->input_tokens, (int64_t)0);
        usage->output_tokens += AIP_MAX(answer->output_tokens, (int64_t)0);
        return 0;
}

void aip_agent_usage_deinit(struct aip_agent_usage *usage)
{
        aip_value_unref(AIP_TAKE(usage->provider));
        aip_value_unref(AIP_TAKE(usage->model_name));
}

static int fail_upstream(const char *kind, int is_retryable, const char *message, aip_error **err)
{
        aip_error_set(err, AIP_EUPSTREAM, "%s", message);
        if (err) {
                aip_error_set_kind(*err, kind);
                aip_error_set_retryable(*err, is_retryable, 0);
        }
        return AIP_EUPSTREAM;
}

int aip_answer_check(const struct aip_llm_answer *answer, aip_error **err)
{
        if (answer->finish_reason == AIP_LLM_FINISH_CONTENT_FILTER)
                return fail_upstream(AIP_LLM_POLICY_REFUSED, 0,
                                     "the provider's content filter stopped the answer", err);
        if (answer->content_bytes == 0 && aip_value_size(answer->tool_calls) == 0)
                return fail_upstream(AIP_LLM_PROVIDER_BAD_ANSWER, 1,
                                     "the provider answered without any text", err);
        return 0;
}

aip_value *aip_message(const char *role, struct aip_str content, const aip_value *tool_calls)
{
        aip_value *message = aip_value_object();

        if (message &&
            aip_value_object_set_cstr(&message, "role", aip_value_string(aip_str_of(role))) == 0 &&
            aip_value_object_set_cstr(&message, "content", aip_value_string(content)) == 0 &&
            (aip_value_size(tool_calls) == 0 ||
             aip_value_object_set_cstr(&message, "tool_calls", aip_value_ref(tool_calls)) == 0))
                return message;
        aip_value_unref(message);
        return NULL;
}

int64_t aip_sooner(int64_t a, int64_t b)
{
        if (a == 0 || b == 0)
                return a ? a : b;
        return AIP_MIN(a, b);
}
