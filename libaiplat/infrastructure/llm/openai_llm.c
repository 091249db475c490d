/*
 * OpenAI Chat Completions, as OpenAI and the servers that speak like it (Ollama, llama.cpp, vLLM,
 * gateways) have it: reading answers, whole and streamed. The composition root makes it; chat_llm.c
 * drives it; openai_request.c writes the requests. What is here is pure.
 */
#include "llm/chat_llm.h"
#include "llm/openai_request.h"
#include "macros.h"

static void read_usage(struct aip_chat_draft *draft, const aip_value *usage)
{
        const aip_value *prompt = aip_value_get_cstr(usage, "prompt_tokens_details");
        const aip_value *completion = aip_value_get_cstr(usage, "completion_tokens_details");
        aip_chat_draft_count(&draft->usage.input, usage, "prompt_tokens");
        aip_chat_draft_count(&draft->usage.output, usage, "completion_tokens");
        aip_chat_draft_count(&draft->usage.cached, prompt, "cached_tokens");
        aip_chat_draft_count(&draft->usage.reasoning, completion, "reasoning_tokens");
}

static void read_reason(struct aip_chat_draft *draft, const aip_value *choice)
{
        static const struct aip_chat_reason reasons[] = {
                {"stop", AIP_LLM_FINISH_STOP},
                {"length", AIP_LLM_FINISH_LENGTH},
                {"tool_calls", AIP_LLM_FINISH_TOOL_CALLS},
                {"function_call", AIP_LLM_FINISH_TOOL_CALLS},
                {"content_filter", AIP_LLM_FINISH_CONTENT_FILTER},
                {NULL, AIP_LLM_FINISH_OTHER},
        };
        aip_chat_draft_reason(draft, reasons, aip_value_get_cstr(choice, "finish_reason"));
}

/* A few servers answer with a list of parts. */
static int read_content(struct aip_chat_draft *draft, const aip_value *content)
{
        int r = 0;
        if (aip_value_type(content) != AIP_VALUE_LIST)
                return aip_chat_draft_text(draft, aip_value_as_string(content));
        for (size_t i = 0; r == 0 && i < aip_value_size(content); i++) {
                const aip_value *part = aip_value_at(content, i);
                r = aip_chat_draft_text(draft,
                                        aip_value_as_string(aip_value_get_cstr(part, "text")));
        }
        return r;
}

/* Two names for the same: DeepSeek's and vLLM's of old; OpenRouter's and vLLM's of now. */
static int read_reasoning(struct aip_chat_draft *draft, const aip_value *message)
{
        struct aip_str text = aip_value_as_string(aip_value_get_cstr(message, "reasoning_content"));
        if (text.n == 0)
                text = aip_value_as_string(aip_value_get_cstr(message, "reasoning"));
        return aip_chat_draft_reasoning(draft, text);
}

/* An object where a string belongs is what some servers send. */
static int read_arguments(struct aip_chat_draft *draft, int64_t key, const aip_value *arguments)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_CHAT_ANSWER_MAX_BYTES);
        if (aip_value_type(arguments) != AIP_VALUE_OBJECT)
                return aip_chat_draft_arguments(draft, key, aip_value_as_string(arguments));
        int r = aip_value_print(arguments, &text, NULL);
        return r < 0 ? r : aip_chat_draft_arguments(draft, key, aip_buf_str(&text));
}

/* A whole call or a fragment of one, known by `key`. */
static int read_tool_call(struct aip_chat_draft *draft, int64_t key, const aip_value *call)
{
        const aip_value *function = aip_value_get_cstr(call, "function");
        int r = aip_chat_draft_tool(draft, key, aip_value_as_string(aip_value_get_cstr(call, "id")),
                                    aip_value_as_string(aip_value_get_cstr(function, "name")));
        return r < 0 ? r : read_arguments(draft, key, aip_value_get_cstr(function, "arguments"));
}

/* Fragments are told apart by their index; without one, a name begins the next call. */
static int64_t fragment_key(const struct aip_chat_draft *draft, const aip_value *fragment)
{
        const aip_value *function = aip_value_get_cstr(fragment, "function");
        int64_t key = aip_value_as_int(aip_value_get_cstr(fragment, "index"), -1);
        if (key >= 0)
                return key;
        int is_new = aip_value_as_string(aip_value_get_cstr(function, "name")).n > 0;
        return (int64_t)draft->n_tools - (is_new || draft->n_tools == 0 ? 0 : 1);
}

/* A message, or what a delta adds to it. */
static int read_message(struct aip_chat_draft *draft, const aip_value *message, int is_delta)
{
        const aip_value *calls = aip_value_get_cstr(message, "tool_calls");
        int r = read_reasoning(draft, message);
        if (r == 0)
                r = read_content(draft, aip_value_get_cstr(message, "content"));
        if (r == 0)
                r = aip_chat_draft_refusal(
                        draft, aip_value_as_string(aip_value_get_cstr(message, "refusal")));
        for (size_t i = 0; r == 0 && i < aip_value_size(calls); i++) {
                const aip_value *call = aip_value_at(calls, i);
                r = read_tool_call(draft, is_delta ? fragment_key(draft, call) : (int64_t)i, call);
        }
        return r;
}

static int take_answer(struct aip_chat_draft *draft, const struct aip_provider_reply *reply,
                       const aip_value *root, aip_error **err)
{
        const aip_value *choice = aip_value_at(aip_value_get_cstr(root, "choices"), 0);
        const aip_value *message = aip_value_get_cstr(choice, "message");
        if (aip_value_type(message) != AIP_VALUE_OBJECT)
                return aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                             "the answer has no choices[0].message",
                                             (struct aip_str){NULL, 0}, err);
        read_reason(draft, choice);
        read_usage(draft, aip_value_get_cstr(root, "usage"));
        int r = aip_chat_draft_identity(draft, root);
        if (r == 0)
                r = read_message(draft, message, 0);
        return r < 0 ? aip_chat_draft_failed(r, reply, err) : 0;
}

/* The last one has usage and no choices. */
static int take_event(struct aip_chat_draft *draft, const aip_value *root)
{
        const aip_value *choice = aip_value_at(aip_value_get_cstr(root, "choices"), 0);
        int r = aip_chat_draft_identity(draft, root);
        read_usage(draft, aip_value_get_cstr(root, "usage"));
        if (r < 0 || aip_value_as_int(aip_value_get_cstr(choice, "index"), 0) != 0)
                return r;
        read_reason(draft, choice);
        return read_message(draft, aip_value_get_cstr(choice, "delta"), 1);
}

const struct aip_chat_protocol aip_openai_protocol = {
        .name = "openai",
        .version = "",
        .path = "/chat/completions",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .append_body = aip_openai_append_body,
        .takes_temperature = aip_openai_takes_temperature,
        .take_answer = take_answer,
        .take_event = take_event,
};

int aip_openai_llm_new(aip_http_client *client, const char *base_url, struct aip_llm *ret_llm,
                       aip_error **err)
{
        return aip_chat_llm_new(&aip_openai_protocol, client, base_url, ret_llm, err);
}
