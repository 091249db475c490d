/*
 * Anthropic Messages. The composition root makes it; chat_llm.c drives it. What is here is pure.
 */
#include "llm/chat_llm.h"
#include "llm/provider_error.h"
#include "macros.h"

/* ---- the request ---- */

static int is_digit(struct aip_str s, size_t i)
{
        return i < s.n && s.p[i] >= '0' && s.p[i] <= '9';
}

/* A number of one or two digits at *at, or -1; longer ones are dates. */
static int read_version(struct aip_str name, size_t *at)
{
        size_t i = *at;
        int number = 0;
        for (; is_digit(name, i) && i - *at < 3; i++)
                number = number * 10 + (name.p[i] - '0');
        if (i == *at || i - *at > 2)
                return -1;
        *at = i;
        return number;
}

/* Claude 4.7 and later ("claude-opus-4-7", "claude-sonnet-5") answer 400 to any temperature. Names
 * of the years before put the version first ("claude-3-5-sonnet-20241022"). */
static int takes_temperature(struct aip_str name)
{
        const char *claude = name.n ? memmem(name.p, name.n, "claude-", 7) : NULL;
        size_t at = claude ? (size_t)(claude - name.p) + 7 : name.n;
        while (at < name.n && name.p[at] >= 'a' && name.p[at] <= 'z')
                at++;
        if (at >= name.n || name.p[at++] != '-')
                return 1;
        int major = read_version(name, &at), minor = 0;
        if (major >= 0 && at < name.n && (name.p[at] == '-' || name.p[at] == '.')) {
                at++;
                minor = read_version(name, &at);
        }
        return major < 4 || (major == 4 && minor < 7);
}

/* The system messages, which are no part of the conversation here. */
static int append_system(struct aip_buf *out, const struct aip_llm_call *call)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(out->max_bytes);
        int r = 0;
        for (size_t i = 0; r == 0 && i < call->n_messages; i++) {
                if (call->messages[i].role != AIP_LLM_SYSTEM || call->messages[i].content.n == 0)
                        continue;
                if (text.n > 0)
                        r = aip_buf_append_cstr(&text, "\n\n");
                if (r == 0)
                        r = aip_buf_append(&text, call->messages[i].content);
        }
        if (r < 0 || text.n == 0)
                return r;
        r = aip_buf_append_cstr(out, ",\"system\":");
        return r < 0 ? r : aip_json_append_string(out, aip_buf_str(&text));
}

static int append_body(struct aip_buf *out, const struct aip_llm_call *call, int with_temperature,
                       aip_error **err)
{
        const struct aip_llm_config_fields *config = aip_llm_config_fields(call->config);
        int r = aip_buf_append_cstr(out, "{\"model\":");
        if (r == 0)
                r = aip_json_append_string(out, config->model_name);
        if (r == 0)
                r = aip_buf_printf(out, ",\"max_tokens\":%d", config->max_tokens);
        if (r == 0 && with_temperature)
                r = aip_chat_append_temperature(out, call);
        if (r == 0)
                r = append_system(out, call);
        if (r == 0)
                r = aip_buf_append_cstr(out, ",\"messages\":");
        if (r < 0)
                return aip_chat_append_failed(r, "anthropic", err);
        r = aip_chat_append_messages(out, call, 0, "anthropic", err);
        if (r < 0)
                return r;
        r = aip_buf_append_char(out, '}');
        return r < 0 ? aip_chat_append_failed(r, "anthropic", err) : 0;
}

/* ---- the answer ---- */

static enum aip_llm_finish_reason finish_reason(struct aip_str reason)
{
        static const struct {
                const char *name;
                enum aip_llm_finish_reason reason;
        } reasons[] = {
                {"end_turn", AIP_LLM_FINISH_STOP},
                {"stop_sequence", AIP_LLM_FINISH_STOP},
                {"pause_turn", AIP_LLM_FINISH_STOP},
                {"max_tokens", AIP_LLM_FINISH_LENGTH},
                {"model_context_window_exceeded", AIP_LLM_FINISH_LENGTH},
                {"tool_use", AIP_LLM_FINISH_TOOL_CALLS},
                {"refusal", AIP_LLM_FINISH_CONTENT_FILTER},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(reasons); i++) {
                if (aip_str_eq(aip_str_of(reasons[i].name), reason))
                        return reasons[i].reason;
        }
        return AIP_LLM_FINISH_OTHER;
}

/* The whole prompt is what was read anew, what went into the cache and what came out of it. */
static void read_usage(const aip_value *usage, struct aip_llm_answer *answer)
{
        int64_t fresh = aip_chat_tokens(usage, "input_tokens");
        int64_t written = aip_chat_tokens(usage, "cache_creation_input_tokens");
        int64_t cached = aip_chat_tokens(usage, "cache_read_input_tokens");
        answer->input_tokens =
                fresh < 0 ? -1 : fresh + AIP_MAX(written, INT64_C(0)) + AIP_MAX(cached, INT64_C(0));
        answer->output_tokens = aip_chat_tokens(usage, "output_tokens");
        answer->cached_tokens = cached;
        answer->reasoning_tokens = -1; /* counted within output_tokens, never told apart */
}

/* Thinking and other blocks are passed over. */
static int read_content(const aip_value *blocks, struct aip_buf *out, int *ret_wants_tools)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < aip_value_size(blocks); i++) {
                const aip_value *block = aip_value_at(blocks, i);
                struct aip_str type = aip_value_as_string(aip_value_get_cstr(block, "type"));
                if (aip_str_eq(type, AIP_STR("text")))
                        r = aip_buf_append(out,
                                           aip_value_as_string(aip_value_get_cstr(block, "text")));
                else if (aip_str_eq(type, AIP_STR("tool_use")))
                        *ret_wants_tools = 1;
        }
        return r;
}

static int parse(const struct aip_provider_reply *reply, const aip_value *root,
                 struct aip_llm_answer *ret_answer, aip_error **err)
{
        const aip_value *blocks = aip_value_get_cstr(root, "content");
        _cleanup_(aip_buf_deinit) struct aip_buf content = AIP_BUF_INIT(SIZE_MAX / 4);
        struct aip_llm_answer answer = {0};
        int wants_tools = 0;
        if (aip_value_type(blocks) != AIP_VALUE_LIST)
                return aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                             "the answer has no list of content",
                                             (struct aip_str){NULL, 0}, err);
        if (read_content(blocks, &content, &wants_tools) < 0)
                return aip_error_set_nomem(err);
        answer.finish_reason =
                finish_reason(aip_value_as_string(aip_value_get_cstr(root, "stop_reason")));
        if (aip_chat_is_blank(aip_buf_str(&content)))
                return aip_chat_complain_empty(reply, answer.finish_reason, wants_tools, err);
        read_usage(aip_value_get_cstr(root, "usage"), &answer);
        return aip_chat_fill_answer(reply, root, aip_buf_str(&content), &answer, ret_answer, err);
}

const struct aip_chat_protocol aip_anthropic_protocol = {
        .name = "anthropic",
        .version = "/v1",
        .path = "/messages",
        .key_header = "x-api-key",
        .key_prefix = "",
        .extra_header = {"anthropic-version", "2023-06-01"},
        .append_body = append_body,
        .takes_temperature = takes_temperature,
        .parse = parse,
};

int aip_anthropic_llm_new(aip_http_client *client, const char *base_url, struct aip_llm *ret_llm,
                          aip_error **err)
{
        return aip_chat_llm_new(&aip_anthropic_protocol, client, base_url, ret_llm, err);
}
