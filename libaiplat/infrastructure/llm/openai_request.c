/*
 * Writing requests of OpenAI Chat Completions (see openai_request.h): messages, tools, structured
 * output, streaming. It sends what the call says and leaves out what is the provider's default, for
 * servers that speak like OpenAI know fewer parameters.
 */
#include "llm/openai_request.h"
#include "llm/chat_llm.h"
#include "llm/chat_writer.h"
#include "macros.h"

#define OUTPUT_NAME      "answer"
#define SCHEMA_DEPTH_MAX 64

/* ---- models ---- */

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

int aip_openai_takes_temperature(struct aip_str model_name)
{
        return !is_reasoning_model(model_name);
}

/* ---- messages ---- */

/* The text that the model wrote for arguments, whether or not it is JSON. */
static void put_arguments(struct aip_chat_writer *w, const aip_value *call)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(w->out->max_bytes);
        const aip_value *wrong = aip_value_get_cstr(call, "arguments_text");
        const aip_value *arguments = aip_value_get_cstr(call, "arguments");
        if (aip_value_type(wrong) == AIP_VALUE_STRING) {
                aip_chat_put_value(w, wrong);
                return;
        }
        struct aip_chat_writer inner = {&text, w->r};
        if (arguments)
                aip_chat_put_value(&inner, arguments);
        else
                aip_chat_put(&inner, "{}");
        w->r = inner.r;
        aip_chat_put_string(w, aip_buf_str(&text));
}

static void put_tool_call(struct aip_chat_writer *w, const aip_value *call)
{
        aip_chat_put(w, "{\"id\":");
        aip_chat_put_string(w, aip_value_as_string(aip_value_get_cstr(call, "id")));
        aip_chat_put(w, ",\"type\":\"function\",\"function\":{\"name\":");
        aip_chat_put_string(w, aip_value_as_string(aip_value_get_cstr(call, "name")));
        aip_chat_put(w, ",\"arguments\":");
        put_arguments(w, call);
        aip_chat_put(w, "}}");
}

static void put_tool_calls(struct aip_chat_writer *w, const aip_value *calls)
{
        size_t n = aip_value_size(calls);
        if (n == 0)
                return;
        aip_chat_put(w, ",\"tool_calls\":[");
        for (size_t i = 0; i < n; i++) {
                aip_chat_put_comma(w, i == 0);
                put_tool_call(w, aip_value_at(calls, i));
        }
        aip_chat_put(w, "]");
}

static const char *role_name(enum aip_llm_role role)
{
        switch (role) {
        case AIP_LLM_SYSTEM:
                return "system";
        case AIP_LLM_USER:
                return "user";
        case AIP_LLM_ASSISTANT:
                return "assistant";
        case AIP_LLM_TOOL:
                break;
        }
        return "tool";
}

static void put_message(struct aip_chat_writer *w, const struct aip_llm_message *message)
{
        int has_calls = aip_value_size(message->tool_calls) > 0;
        aip_chat_put(w, "{\"role\":\"");
        aip_chat_put(w, role_name(message->role));
        aip_chat_put(w, "\",\"content\":");
        if (has_calls && message->content.n == 0)
                aip_chat_put(w, "null");
        else
                aip_chat_put_string(w, message->content);
        if (message->role == AIP_LLM_ASSISTANT)
                put_tool_calls(w, message->tool_calls);
        if (message->role == AIP_LLM_TOOL) {
                aip_chat_put(w, ",\"tool_call_id\":");
                aip_chat_put_string(w, message->tool_call_id);
        }
        aip_chat_put(w, "}");
}

static void put_messages(struct aip_chat_writer *w, const struct aip_llm_call *call)
{
        aip_chat_put(w, ",\"messages\":[");
        for (size_t i = 0; i < call->n_messages; i++) {
                aip_chat_put_comma(w, i == 0);
                put_message(w, &call->messages[i]);
        }
        aip_chat_put(w, "]");
}

/* ---- tools ---- */

static void put_tool(struct aip_chat_writer *w, const aip_value *tool)
{
        const aip_value *description = aip_value_get_cstr(tool, "description");
        const aip_value *parameters = aip_value_get_cstr(tool, "parameters");
        aip_chat_put(w, "{\"type\":\"function\",\"function\":{\"name\":");
        aip_chat_put_value(w, aip_value_get_cstr(tool, "name"));
        if (description) {
                aip_chat_put(w, ",\"description\":");
                aip_chat_put_value(w, description);
        }
        if (parameters) {
                aip_chat_put(w, ",\"parameters\":");
                aip_chat_put_value(w, parameters);
        }
        aip_chat_put(w, "}}");
}

static void put_tool_choice(struct aip_chat_writer *w, const struct aip_llm_call *call)
{
        switch (call->tool_choice) {
        case AIP_LLM_TOOLS_AUTO:
                return;
        case AIP_LLM_TOOLS_NONE:
                aip_chat_put(w, ",\"tool_choice\":\"none\"");
                return;
        case AIP_LLM_TOOLS_REQUIRED:
                aip_chat_put(w, ",\"tool_choice\":\"required\"");
                return;
        case AIP_LLM_TOOLS_NAMED:
                aip_chat_put(w, ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":");
                aip_chat_put_string(w, call->tool_choice_name);
                aip_chat_put(w, "}}");
                return;
        }
}

static void put_tools(struct aip_chat_writer *w, const struct aip_llm_call *call)
{
        if (!aip_chat_offers_tools(call))
                return;
        aip_chat_put(w, ",\"tools\":[");
        for (size_t i = 0; i < aip_value_size(call->tools); i++) {
                aip_chat_put_comma(w, i == 0);
                put_tool(w, aip_value_at(call->tools, i));
        }
        aip_chat_put(w, "]");
        put_tool_choice(w, call);
        if (call->is_serial)
                aip_chat_put(w, ",\"parallel_tool_calls\":false");
}

/* ---- structured output ---- */

static int is_listed(const aip_value *list, struct aip_str name)
{
        for (size_t i = 0; i < aip_value_size(list); i++) {
                if (aip_str_eq(aip_value_as_string(aip_value_at(list, i)), name))
                        return 1;
        }
        return 0;
}

/* An object that names all its members and requires each. */
static int is_closed(const aip_value *schema)
{
        const aip_value *properties = aip_value_get_cstr(schema, "properties");
        const aip_value *more = aip_value_get_cstr(schema, "additionalProperties");
        if (aip_value_type(more) != AIP_VALUE_BOOL || aip_value_as_bool(more, 1))
                return 0;
        for (size_t i = 0; i < aip_value_size(properties); i++) {
                struct aip_str name;
                aip_value_member(properties, i, &name);
                if (!is_listed(aip_value_get_cstr(schema, "required"), name))
                        return 0;
        }
        return 1;
}

/* Whether all of a schema is such as OpenAI's strict mode takes; it refuses others. */
static int is_strict(const aip_value *schema, int depth)
{
        int is_object = aip_value_type(schema) == AIP_VALUE_OBJECT;
        if (depth > SCHEMA_DEPTH_MAX)
                return 0;
        if (is_object && (aip_value_get_cstr(schema, "properties") ||
                          aip_str_eq(aip_value_as_string(aip_value_get_cstr(schema, "type")),
                                     AIP_STR("object")))) {
                if (!is_closed(schema))
                        return 0;
        }
        for (size_t i = 0; i < aip_value_size(schema); i++) {
                const aip_value *inner =
                        is_object ? aip_value_member(schema, i, NULL) : aip_value_at(schema, i);
                if (!is_strict(inner, depth + 1))
                        return 0;
        }
        return 1;
}

static void put_output(struct aip_chat_writer *w, const struct aip_llm_call *call)
{
        if (!call->output_schema)
                return;
        aip_chat_put(w, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
                        "\"name\":\"" OUTPUT_NAME "\",\"schema\":");
        aip_chat_put_value(w, call->output_schema);
        aip_chat_put(w, is_strict(call->output_schema, 0) ? ",\"strict\":true}}" : "}}");
}

/* ---- the whole ---- */

static void put_limits(struct aip_chat_writer *w, const struct aip_llm_call *call,
                       int with_temperature)
{
        const struct aip_llm_config_fields *config = aip_llm_config_fields(call->config);
        aip_chat_put(w, is_reasoning_model(config->model_name) ? ",\"max_completion_tokens\":"
                                                               : ",\"max_tokens\":");
        if (w->r == 0)
                w->r = aip_buf_append_int(w->out, config->max_tokens);
        if (w->r == 0 && with_temperature)
                w->r = aip_chat_append_temperature(w->out, call);
}

int aip_openai_append_body(struct aip_buf *out, const struct aip_llm_call *call,
                           int with_temperature, aip_error **err)
{
        struct aip_chat_writer w = {out, 0};
        int r = aip_chat_check_call(call, 1, "openai", err);
        if (r < 0)
                return r;
        aip_chat_put(&w, "{\"model\":");
        aip_chat_put_string(&w, aip_llm_config_fields(call->config)->model_name);
        put_limits(&w, call, with_temperature);
        put_messages(&w, call);
        put_tools(&w, call);
        put_output(&w, call);
        if (call->on_delta)
                aip_chat_put(&w, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
        aip_chat_put(&w, "}");
        return w.r < 0 ? aip_chat_append_failed(w.r, "openai", err) : 0;
}
