/*
 * Anthropic Messages: reading answers, whole and streamed. The composition root makes it;
 * chat_llm.c drives it; anthropic_request.c writes the requests. What is here is pure.
 *
 * Structured output is a call of a tool that is ours (AIP_ANTHROPIC_OUTPUT_TOOL): its arguments are
 * the answer's content. What the model says beside it is put aside.
 */
#include "llm/anthropic_request.h"
#include "llm/chat_llm.h"
#include "macros.h"

static struct aip_str member(const aip_value *object, const char *name)
{
        return aip_value_as_string(aip_value_get_cstr(object, name));
}

static int is_type(const aip_value *object, const char *type)
{
        return aip_str_eq(member(object, "type"), aip_str_of(type));
}

static void read_reason(struct aip_chat_draft *draft, const aip_value *reason)
{
        static const struct aip_chat_reason reasons[] = {
                {"end_turn", AIP_LLM_FINISH_STOP},
                {"stop_sequence", AIP_LLM_FINISH_STOP},
                {"pause_turn", AIP_LLM_FINISH_STOP},
                {"max_tokens", AIP_LLM_FINISH_LENGTH},
                {"model_context_window_exceeded", AIP_LLM_FINISH_LENGTH},
                {"tool_use", AIP_LLM_FINISH_TOOL_CALLS},
                {"refusal", AIP_LLM_FINISH_CONTENT_FILTER},
                {NULL, AIP_LLM_FINISH_OTHER},
        };
        aip_chat_draft_reason(draft, reasons, reason);
}

/* The whole prompt is what was read anew, what went into the cache and what came out of it. Thinking
 * is counted within output_tokens, never told apart. */
static void read_usage(struct aip_chat_draft *draft, const aip_value *usage)
{
        draft->usage.is_cached_apart = 1;
        aip_chat_draft_count(&draft->usage.input, usage, "input_tokens");
        aip_chat_draft_count(&draft->usage.cache_written, usage, "cache_creation_input_tokens");
        aip_chat_draft_count(&draft->usage.cached, usage, "cache_read_input_tokens");
        aip_chat_draft_count(&draft->usage.output, usage, "output_tokens");
}

static int read_text(struct aip_chat_draft *draft, struct aip_str text)
{
        return draft->call->output_schema ? aip_chat_draft_aside(draft, text)
                                          : aip_chat_draft_text(draft, text);
}

static int read_input(struct aip_chat_draft *draft, int64_t index, struct aip_str json)
{
        if (index == draft->output_key)
                return aip_chat_draft_text(draft, json);
        return aip_chat_draft_arguments(draft, index, json);
}

static int begin_tool(struct aip_chat_draft *draft, int64_t index, const aip_value *block)
{
        struct aip_str name = member(block, "name");
        if (draft->call->output_schema && !draft->has_output &&
            aip_str_eq(name, AIP_STR(AIP_ANTHROPIC_OUTPUT_TOOL))) {
                draft->output_key = index;
                draft->has_output = 1;
                return 0;
        }
        return aip_chat_draft_tool(draft, index, member(block, "id"), name);
}

/* In streams `input` is empty and comes in pieces; should a server send it whole, that is it. */
static int read_whole_input(struct aip_chat_draft *draft, int64_t index, const aip_value *input,
                            int is_stream)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_CHAT_ANSWER_MAX_BYTES);
        if (aip_value_type(input) != AIP_VALUE_OBJECT || (is_stream && aip_value_size(input) == 0))
                return 0;
        int r = aip_value_print(input, &text, NULL);
        return r < 0 ? r : read_input(draft, index, aip_buf_str(&text));
}

/* A block of the content, or its beginning. Blocks that we know nothing of are passed over. */
static int read_block(struct aip_chat_draft *draft, int64_t index, const aip_value *block,
                      int is_stream)
{
        if (is_type(block, "text"))
                return read_text(draft, member(block, "text"));
        if (is_type(block, "thinking"))
                return aip_chat_draft_reasoning(draft, member(block, "thinking"));
        if (!is_type(block, "tool_use"))
                return 0;
        int r = begin_tool(draft, index, block);
        return r < 0 ? r
                     : read_whole_input(draft, index, aip_value_get_cstr(block, "input"),
                                        is_stream);
}

static int take_answer(struct aip_chat_draft *draft, const struct aip_provider_reply *reply,
                       const aip_value *root, aip_error **err)
{
        const aip_value *blocks = aip_value_get_cstr(root, "content");
        if (aip_value_type(blocks) != AIP_VALUE_LIST)
                return aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                             "the answer has no list of content",
                                             (struct aip_str){NULL, 0}, err);
        read_reason(draft, aip_value_get_cstr(root, "stop_reason"));
        read_usage(draft, aip_value_get_cstr(root, "usage"));
        int r = aip_chat_draft_identity(draft, root);
        for (size_t i = 0; r == 0 && i < aip_value_size(blocks); i++)
                r = read_block(draft, (int64_t)i, aip_value_at(blocks, i), 0);
        return r < 0 ? aip_chat_draft_failed(r, reply, err) : 0;
}

/* ---- streams ---- */

static int take_message_start(struct aip_chat_draft *draft, const aip_value *message)
{
        read_usage(draft, aip_value_get_cstr(message, "usage"));
        return aip_chat_draft_identity(draft, message);
}

static int take_block_delta(struct aip_chat_draft *draft, int64_t index, const aip_value *delta)
{
        if (is_type(delta, "text_delta"))
                return read_text(draft, member(delta, "text"));
        if (is_type(delta, "input_json_delta"))
                return read_input(draft, index, member(delta, "partial_json"));
        if (is_type(delta, "thinking_delta"))
                return aip_chat_draft_reasoning(draft, member(delta, "thinking"));
        return 0;
}

/* Counts in it are those of the whole answer so far. */
static void take_message_delta(struct aip_chat_draft *draft, const aip_value *root)
{
        const aip_value *delta = aip_value_get_cstr(root, "delta");
        read_reason(draft, aip_value_get_cstr(delta, "stop_reason"));
        read_usage(draft, aip_value_get_cstr(root, "usage"));
}

/* Kinds of events that we know nothing of may come at any time. */
static int take_event(struct aip_chat_draft *draft, const aip_value *root)
{
        int64_t index = aip_value_as_int(aip_value_get_cstr(root, "index"), 0);
        if (is_type(root, "content_block_delta"))
                return take_block_delta(draft, index, aip_value_get_cstr(root, "delta"));
        if (is_type(root, "message_start"))
                return take_message_start(draft, aip_value_get_cstr(root, "message"));
        if (is_type(root, "content_block_start"))
                return read_block(draft, index, aip_value_get_cstr(root, "content_block"), 1);
        if (is_type(root, "message_delta"))
                take_message_delta(draft, root);
        else if (is_type(root, "message_stop"))
                draft->is_complete = 1;
        return 0;
}

const struct aip_chat_protocol aip_anthropic_protocol = {
        .name = "anthropic",
        .version = "/v1",
        .path = "/messages",
        .key_header = "x-api-key",
        .key_prefix = "",
        .extra_header = {"anthropic-version", "2023-06-01"},
        .append_body = aip_anthropic_append_body,
        .takes_temperature = aip_anthropic_takes_temperature,
        .take_answer = take_answer,
        .take_event = take_event,
};

int aip_anthropic_llm_new(aip_http_client *client, const char *base_url, struct aip_llm *ret_llm,
                          aip_error **err)
{
        return aip_chat_llm_new(&aip_anthropic_protocol, client, base_url, ret_llm, err);
}
