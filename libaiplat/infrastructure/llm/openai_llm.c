/*
 * OpenAI Chat Completions, as OpenAI and the servers that speak like it (Ollama, llama.cpp, vLLM,
 * gateways) have it. The composition root makes it; chat_llm.c drives it. What is here is pure.
 */
#include "llm/chat_llm.h"
#include "llm/provider_error.h"
#include "macros.h"

/* ---- the request ---- */

static int begins_with(struct aip_str text, const char *start)
{
        size_t n = strlen(start);
        return text.n >= n && memcmp(text.p, start, n) == 0;
}

/* Without what gateways and fine-tuning put before a model's name: "openai/o3", "ft:o4-mini:…". */
static struct aip_str bare_name(struct aip_str name)
{
        for (size_t i = name.n; i-- > 0;) {
                if (name.p[i] == '/') {
                        name = aip_str_make(name.p + i + 1, name.n - i - 1);
                        break;
                }
        }
        return begins_with(name, "ft:") ? aip_str_make(name.p + 3, name.n - 3) : name;
}

/* o1, o3-mini, o4 …, gpt-5 and later but for their chat variants: they want max_completion_tokens
 * and refuse any temperature but 1. */
static int is_reasoning_model(struct aip_str model_name)
{
        struct aip_str name = bare_name(model_name);
        if (name.n >= 2 && name.p[0] == 'o' && name.p[1] >= '1' && name.p[1] <= '9')
                return 1;
        if (!begins_with(name, "gpt-") || name.n < 5 || name.p[4] < '5' || name.p[4] > '9')
                return 0;
        return !memmem(name.p, name.n, "-chat", 5);
}

static int takes_temperature(struct aip_str model_name)
{
        return !is_reasoning_model(model_name);
}

static int append_model(struct aip_buf *out, const struct aip_llm_config_fields *config)
{
        int r = aip_buf_append_cstr(out, "{\"model\":");
        return r < 0 ? r : aip_json_append_string(out, config->model_name);
}

static int append_body(struct aip_buf *out, const struct aip_llm_call *call, int with_temperature,
                       aip_error **err)
{
        const struct aip_llm_config_fields *config = aip_llm_config_fields(call->config);
        const char *limit =
                is_reasoning_model(config->model_name) ? "max_completion_tokens" : "max_tokens";
        int r = append_model(out, config);
        if (r == 0)
                r = aip_buf_printf(out, ",\"%s\":%d", limit, config->max_tokens);
        if (r == 0 && with_temperature)
                r = aip_chat_append_temperature(out, call);
        if (r == 0)
                r = aip_buf_append_cstr(out, ",\"messages\":");
        if (r < 0)
                return aip_chat_append_failed(r, "openai", err);
        r = aip_chat_append_messages(out, call, 1, "openai", err);
        if (r < 0)
                return r;
        r = aip_buf_append_char(out, '}');
        return r < 0 ? aip_chat_append_failed(r, "openai", err) : 0;
}

/* ---- the answer ---- */

static enum aip_llm_finish_reason finish_reason(struct aip_str reason)
{
        static const struct {
                const char *name;
                enum aip_llm_finish_reason reason;
        } reasons[] = {
                {"stop", AIP_LLM_FINISH_STOP},
                {"length", AIP_LLM_FINISH_LENGTH},
                {"tool_calls", AIP_LLM_FINISH_TOOL_CALLS},
                {"function_call", AIP_LLM_FINISH_TOOL_CALLS},
                {"content_filter", AIP_LLM_FINISH_CONTENT_FILTER},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(reasons); i++) {
                if (aip_str_eq(aip_str_of(reasons[i].name), reason))
                        return reasons[i].reason;
        }
        return AIP_LLM_FINISH_OTHER;
}

static void read_usage(const aip_value *usage, struct aip_llm_answer *answer)
{
        const aip_value *prompt = aip_value_get_cstr(usage, "prompt_tokens_details");
        const aip_value *completion = aip_value_get_cstr(usage, "completion_tokens_details");
        answer->input_tokens = aip_chat_tokens(usage, "prompt_tokens");
        answer->output_tokens = aip_chat_tokens(usage, "completion_tokens");
        answer->cached_tokens = aip_chat_tokens(prompt, "cached_tokens");
        answer->reasoning_tokens = aip_chat_tokens(completion, "reasoning_tokens");
}

/* The text parts of a content that is a list; a few servers answer like that. */
static int join_parts(const aip_value *content, struct aip_buf *out)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < aip_value_size(content); i++) {
                const aip_value *part = aip_value_at(content, i);
                r = aip_buf_append(out, aip_value_as_string(aip_value_get_cstr(part, "text")));
        }
        return r;
}

static int read_content(const aip_value *message, struct aip_buf *out)
{
        const aip_value *content = aip_value_get_cstr(message, "content");
        if (aip_value_type(content) == AIP_VALUE_LIST)
                return join_parts(content, out);
        return aip_buf_append(out, aip_value_as_string(content));
}

/* No text: why? */
static int complain_empty(const struct aip_provider_reply *reply, const aip_value *message,
                          enum aip_llm_finish_reason reason, aip_error **err)
{
        struct aip_str refusal = aip_value_as_string(aip_value_get_cstr(message, "refusal"));
        const aip_value *tools = aip_value_get_cstr(message, "tool_calls");
        if (refusal.n > 0)
                return aip_provider_complain(reply, AIP_LLM_POLICY_REFUSED, "the model refused",
                                             refusal, err);
        return aip_chat_complain_empty(reply, reason, aip_value_size(tools) > 0, err);
}

static int parse(const struct aip_provider_reply *reply, const aip_value *root,
                 struct aip_llm_answer *ret_answer, aip_error **err)
{
        const aip_value *choice = aip_value_at(aip_value_get_cstr(root, "choices"), 0);
        const aip_value *message = aip_value_get_cstr(choice, "message");
        _cleanup_(aip_buf_deinit) struct aip_buf content = AIP_BUF_INIT(SIZE_MAX / 4);
        struct aip_llm_answer answer = {0};
        if (aip_value_type(message) != AIP_VALUE_OBJECT)
                return aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                             "the answer has no choices[0].message",
                                             (struct aip_str){NULL, 0}, err);
        answer.finish_reason =
                finish_reason(aip_value_as_string(aip_value_get_cstr(choice, "finish_reason")));
        if (read_content(message, &content) < 0)
                return aip_error_set_nomem(err);
        if (aip_chat_is_blank(aip_buf_str(&content)))
                return complain_empty(reply, message, answer.finish_reason, err);
        read_usage(aip_value_get_cstr(root, "usage"), &answer);
        return aip_chat_fill_answer(reply, root, aip_buf_str(&content), &answer, ret_answer, err);
}

const struct aip_chat_protocol aip_openai_protocol = {
        .name = "openai",
        .version = "",
        .path = "/chat/completions",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .append_body = append_body,
        .takes_temperature = takes_temperature,
        .parse = parse,
};

int aip_openai_llm_new(aip_http_client *client, const char *base_url, struct aip_llm *ret_llm,
                       aip_error **err)
{
        return aip_chat_llm_new(&aip_openai_protocol, client, base_url, ret_llm, err);
}
