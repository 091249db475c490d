/* Writing and reading what all chat protocols share (see chat_llm.h). Pure. */
#include "llm/chat_llm.h"
#include "llm/provider_error.h"
#include "macros.h"

#define NO_WORDS ((struct aip_str){NULL, 0})

int aip_chat_append_failed(int code, const char *provider, aip_error **err)
{
        if (code == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        return aip_llm_error_set(err, AIP_LLM_CALLER_TOO_LARGE, "%s: the request is too large",
                                 provider);
}

static int refuse(const char *provider, const char *what, aip_error **err)
{
        return aip_llm_error_set(err, AIP_LLM_CALLER_INVALID_REQUEST, "%s: %s", provider, what);
}

static int is_tool(const aip_value *tool)
{
        return aip_value_as_string(aip_value_get_cstr(tool, "name")).n > 0;
}

static int are_tools(const aip_value *tools)
{
        for (size_t i = 0; i < aip_value_size(tools); i++) {
                if (!is_tool(aip_value_at(tools, i)))
                        return 0;
        }
        return !tools || aip_value_type(tools) == AIP_VALUE_LIST;
}

int aip_chat_check_call(const struct aip_llm_call *call, int with_system, const char *provider,
                        aip_error **err)
{
        size_t n_sent = 0;
        for (size_t i = 0; i < call->n_messages; i++) {
                const struct aip_llm_message *message = &call->messages[i];
                n_sent += with_system || message->role != AIP_LLM_SYSTEM;
                if (message->role == AIP_LLM_TOOL && message->tool_call_id.n == 0)
                        return refuse(provider, "a tool's answer has no tool_call_id", err);
                if (!are_tools(message->tool_calls))
                        return refuse(provider, "a message's tool_calls are no list of calls", err);
        }
        if (n_sent == 0)
                return refuse(provider, "there is no message to send", err);
        if (!are_tools(call->tools))
                return refuse(provider, "the tools are no list of objects with a name", err);
        if (call->output_schema && aip_value_type(call->output_schema) != AIP_VALUE_OBJECT)
                return refuse(provider, "the output schema is no object", err);
        return 0;
}

int aip_chat_append_temperature(struct aip_buf *out, const struct aip_llm_call *call)
{
        /* Through a value: printf would follow the locale's decimal point. */
        _cleanup_(aip_value_unref_p) aip_value *temperature =
                aip_value_double(aip_llm_config_fields(call->config)->temperature);
        if (!temperature)
                return AIP_ENOMEM;
        int r = aip_buf_append_cstr(out, ",\"temperature\":");
        return r < 0 ? r : aip_value_print(temperature, out, NULL);
}

int64_t aip_chat_tokens(const aip_value *usage, const char *name)
{
        int64_t n = aip_value_as_int(aip_value_get_cstr(usage, name), -1);
        return n < 0 ? -1 : n;
}

int aip_chat_is_blank(struct aip_str text)
{
        size_t i = 0;
        while (i < text.n && strchr(" \t\r\n", text.p[i]) && text.p[i])
                i++;
        return i == text.n;
}

/* Asking again helps against chance only: not against a limit, and not against a refusal. */
int aip_chat_complain_empty(const struct aip_provider_reply *reply,
                            enum aip_llm_finish_reason reason, int wants_tools, aip_error **err)
{
        if (reason == AIP_LLM_FINISH_CONTENT_FILTER)
                return aip_provider_complain(reply, AIP_LLM_POLICY_REFUSED,
                                             "the provider refused to answer this prompt", NO_WORDS,
                                             err);
        if (wants_tools || reason == AIP_LLM_FINISH_TOOL_CALLS)
                return aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                             "the model calls tools, though none were offered",
                                             NO_WORDS, err);
        if (reason != AIP_LLM_FINISH_LENGTH)
                return aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                             "the answer is empty", NO_WORDS, err);
        int r = aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                      "max_tokens were used up before any text was written",
                                      NO_WORDS, err);
        if (err)
                aip_error_set_retryable(*err, 0, 0);
        return r;
}

static int ends_with(struct aip_str text, const char *end)
{
        size_t n = strlen(end);
        return text.n >= n && memcmp(text.p + text.n - n, end, n) == 0;
}

int aip_chat_append_url(const struct aip_chat_protocol *protocol, struct aip_str base_url,
                        struct aip_buf *out)
{
        const char *mark = base_url.n ? memchr(base_url.p, '?', base_url.n) : NULL;
        struct aip_str path = {base_url.p, mark ? (size_t)(mark - base_url.p) : base_url.n};
        struct aip_str query = {base_url.p + path.n, base_url.n - path.n};
        while (path.n > 0 && path.p[path.n - 1] == '/')
                path.n--;
        int r = aip_buf_append(out, path);
        if (r == 0 && !ends_with(path, protocol->path)) {
                if (!ends_with(path, protocol->version))
                        r = aip_buf_append_cstr(out, protocol->version);
                if (r == 0)
                        r = aip_buf_append_cstr(out, protocol->path);
        }
        return r < 0 ? r : aip_buf_append(out, query);
}

int aip_chat_parse_into(const struct aip_chat_protocol *protocol,
                        const struct aip_http_response *response, struct aip_chat_draft *draft,
                        struct aip_llm_answer *ret_answer, aip_error **err)
{
        const struct aip_provider_reply reply = {protocol->name, response, draft->secret};
        _cleanup_(aip_value_unref_p) aip_value *root = NULL;
        struct aip_provider_fault fault;
        aip_error *parse_error = NULL;
        int is_success = response->status >= 200 && response->status < 300;
        int r = aip_value_parse(response->body, &root, &parse_error);
        if (r < 0 && is_success)
                return aip_provider_complain_no_json(&reply, parse_error, err);
        aip_error_free(parse_error);
        if (!is_success || aip_provider_fault_read(root, &fault))
                return aip_provider_refuse(&reply, root, err);
        if (aip_value_type(root) != AIP_VALUE_OBJECT)
                return aip_provider_complain(
                        &reply, AIP_LLM_PROVIDER_BAD_ANSWER, "the answer is no object",
                        aip_str_of(aip_value_type_name(aip_value_type(root))), err);
        r = protocol->take_answer(draft, &reply, root, err);
        return r < 0 ? r : aip_chat_draft_finish(draft, &reply, ret_answer, err);
}

int aip_chat_parse(const struct aip_chat_protocol *protocol,
                   const struct aip_http_response *response, struct aip_str secret,
                   struct aip_llm_call *call, struct aip_llm_answer *ret_answer, aip_error **err)
{
        _cleanup_(aip_chat_draft_deinit) struct aip_chat_draft draft;
        aip_chat_draft_init(&draft, call, secret);
        return aip_chat_parse_into(protocol, response, &draft, ret_answer, err);
}
