/*
 * Writing requests of Anthropic Messages (see anthropic_request.h): system text apart, answers of
 * tools as turns of the user, structured output through a tool of ours, streaming.
 */
#include "llm/anthropic_request.h"
#include "llm/chat_llm.h"
#include "llm/chat_writer.h"
#include "macros.h"

/* ---- models ---- */

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
int aip_anthropic_takes_temperature(struct aip_str name)
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

/* ---- messages ---- */

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

/* `input` must be an object; what was none is shown to the model as it wrote it. */
static void put_input(struct aip_chat_writer *w, const aip_value *call)
{
        const aip_value *arguments = aip_value_get_cstr(call, "arguments");
        const aip_value *wrong = aip_value_get_cstr(call, "arguments_text");
        if (aip_value_type(arguments) == AIP_VALUE_OBJECT) {
                aip_chat_put_value(w, arguments);
        } else if (aip_value_type(wrong) == AIP_VALUE_STRING) {
                aip_chat_put(w, "{\"arguments_text\":");
                aip_chat_put_value(w, wrong);
                aip_chat_put(w, "}");
        } else {
                aip_chat_put(w, "{}");
        }
}

static void put_tool_use(struct aip_chat_writer *w, const aip_value *call)
{
        aip_chat_put(w, "{\"type\":\"tool_use\",\"id\":");
        aip_chat_put_string(w, aip_value_as_string(aip_value_get_cstr(call, "id")));
        aip_chat_put(w, ",\"name\":");
        aip_chat_put_string(w, aip_value_as_string(aip_value_get_cstr(call, "name")));
        aip_chat_put(w, ",\"input\":");
        put_input(w, call);
        aip_chat_put(w, "}");
}

/* Text blocks may not be empty. */
static void put_blocks(struct aip_chat_writer *w, const struct aip_llm_message *message)
{
        int is_first = aip_chat_is_blank(message->content);
        aip_chat_put(w, "[");
        if (!is_first) {
                aip_chat_put(w, "{\"type\":\"text\",\"text\":");
                aip_chat_put_string(w, message->content);
                aip_chat_put(w, "}");
        }
        for (size_t i = 0; i < aip_value_size(message->tool_calls); i++) {
                aip_chat_put_comma(w, is_first && i == 0);
                put_tool_use(w, aip_value_at(message->tool_calls, i));
        }
        aip_chat_put(w, "]");
}

static void put_tool_result(struct aip_chat_writer *w, const struct aip_llm_message *message)
{
        aip_chat_put(w, "{\"type\":\"tool_result\",\"tool_use_id\":");
        aip_chat_put_string(w, message->tool_call_id);
        aip_chat_put(w, ",\"content\":");
        aip_chat_put_string(w, message->content);
        aip_chat_put(w, message->is_error ? ",\"is_error\":true}" : "}");
}

/* The results of all tools of a turn belong into one. Returns how many messages it took. */
static size_t put_tool_results(struct aip_chat_writer *w, const struct aip_llm_message *messages,
                               size_t n)
{
        size_t used = 0;
        aip_chat_put(w, "{\"role\":\"user\",\"content\":[");
        for (; used < n && messages[used].role == AIP_LLM_TOOL; used++) {
                aip_chat_put_comma(w, used == 0);
                put_tool_result(w, &messages[used]);
        }
        aip_chat_put(w, "]}");
        return used;
}

static void put_talk(struct aip_chat_writer *w, const struct aip_llm_message *message)
{
        int is_assistant = message->role == AIP_LLM_ASSISTANT;
        aip_chat_put(w, is_assistant ? "{\"role\":\"assistant\",\"content\":"
                                     : "{\"role\":\"user\",\"content\":");
        if (is_assistant && aip_value_size(message->tool_calls) > 0)
                put_blocks(w, message);
        else
                aip_chat_put_string(w, message->content);
        aip_chat_put(w, "}");
}

static void put_messages(struct aip_chat_writer *w, const struct aip_llm_call *call)
{
        int is_first = 1;
        aip_chat_put(w, ",\"messages\":[");
        for (size_t i = 0; i < call->n_messages;) {
                const struct aip_llm_message *message = &call->messages[i];
                if (message->role == AIP_LLM_SYSTEM) {
                        i++;
                        continue;
                }
                aip_chat_put_comma(w, is_first);
                is_first = 0;
                if (message->role == AIP_LLM_TOOL) {
                        i += put_tool_results(w, message, call->n_messages - i);
                } else {
                        put_talk(w, message);
                        i++;
                }
        }
        aip_chat_put(w, "]");
}

/* ---- tools ---- */

static void put_tool(struct aip_chat_writer *w, struct aip_str name, const aip_value *description,
                     const aip_value *schema)
{
        aip_chat_put(w, "{\"name\":");
        aip_chat_put_string(w, name);
        if (description) {
                aip_chat_put(w, ",\"description\":");
                aip_chat_put_value(w, description);
        }
        aip_chat_put(w, ",\"input_schema\":");
        if (schema)
                aip_chat_put_value(w, schema);
        else
                aip_chat_put(w, "{\"type\":\"object\",\"properties\":{}}");
        aip_chat_put(w, "}");
}

static void put_tool_list(struct aip_chat_writer *w, const struct aip_llm_call *call)
{
        size_t n = aip_value_size(call->tools);
        aip_chat_put(w, ",\"tools\":[");
        for (size_t i = 0; i < n; i++) {
                const aip_value *tool = aip_value_at(call->tools, i);
                aip_chat_put_comma(w, i == 0);
                put_tool(w, aip_value_as_string(aip_value_get_cstr(tool, "name")),
                         aip_value_get_cstr(tool, "description"),
                         aip_value_get_cstr(tool, "parameters"));
        }
        if (call->output_schema) {
                aip_chat_put_comma(w, n == 0);
                put_tool(w, AIP_STR(AIP_ANTHROPIC_OUTPUT_TOOL), NULL, call->output_schema);
        }
        aip_chat_put(w, "]");
}

/* With structured output the model must call something: a tool, or ours. */
static const char *choice_type(const struct aip_llm_call *call, struct aip_str *ret_name)
{
        int offers_tools = aip_chat_offers_tools(call);
        if (offers_tools && call->tool_choice == AIP_LLM_TOOLS_NAMED) {
                *ret_name = call->tool_choice_name;
                return "tool";
        }
        if (call->output_schema && (!offers_tools || call->tool_choice == AIP_LLM_TOOLS_NONE)) {
                *ret_name = AIP_STR(AIP_ANTHROPIC_OUTPUT_TOOL);
                return "tool";
        }
        if (call->tool_choice == AIP_LLM_TOOLS_NONE)
                return "none";
        return call->output_schema || call->tool_choice == AIP_LLM_TOOLS_REQUIRED ? "any" : "auto";
}

static void put_tool_choice(struct aip_chat_writer *w, const struct aip_llm_call *call)
{
        struct aip_str name = {NULL, 0};
        const char *type = choice_type(call, &name);
        int is_serial = call->is_serial && strcmp(type, "none") != 0;
        if (!is_serial && strcmp(type, "auto") == 0)
                return;
        aip_chat_put(w, ",\"tool_choice\":{\"type\":\"");
        aip_chat_put(w, type);
        aip_chat_put(w, "\"");
        if (name.n > 0) {
                aip_chat_put(w, ",\"name\":");
                aip_chat_put_string(w, name);
        }
        aip_chat_put(w, is_serial ? ",\"disable_parallel_tool_use\":true}" : "}");
}

/* ---- the whole ---- */

int aip_anthropic_append_body(struct aip_buf *out, const struct aip_llm_call *call,
                              int with_temperature, aip_error **err)
{
        const struct aip_llm_config_fields *config = aip_llm_config_fields(call->config);
        struct aip_chat_writer w = {out, 0};
        int r = aip_chat_check_call(call, 0, "anthropic", err);
        if (r < 0)
                return r;
        aip_chat_put(&w, "{\"model\":");
        aip_chat_put_string(&w, config->model_name);
        aip_chat_put(&w, ",\"max_tokens\":");
        if (w.r == 0)
                w.r = aip_buf_append_int(out, config->max_tokens);
        if (w.r == 0 && with_temperature)
                w.r = aip_chat_append_temperature(out, call);
        if (w.r == 0)
                w.r = append_system(out, call);
        put_messages(&w, call);
        if (aip_chat_offers_tools(call) || call->output_schema) {
                put_tool_list(&w, call);
                put_tool_choice(&w, call);
        }
        aip_chat_put(&w, call->on_delta ? ",\"stream\":true}" : "}");
        return w.r < 0 ? aip_chat_append_failed(w.r, "anthropic", err) : 0;
}
