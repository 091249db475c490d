/* Anthropic Messages: requests written and answers read, without a network. */
#include "llm_support.h"

#define MESSAGE(role_, text)                                                                       \
        {                                                                                          \
                .role = role_, .content = { text, sizeof(text) - 1 }                               \
        }

static void expect_body(const char *model, const struct aip_llm_message *messages, size_t n,
                        const char *expected)
{
        aip_error *err = NULL;
        char *body = llm_body_of(&aip_anthropic_protocol, model, messages, n, &err);
        cr_assert_not_null(body, "%s", aip_error_message(err));
        cr_expect_str_eq(body, expected);
        free(body);
}

Test(llm_anthropic, request)
{
        static const struct aip_llm_message talk[] = {
                MESSAGE(AIP_LLM_SYSTEM, "Be brief."), MESSAGE(AIP_LLM_USER, "hi"),
                MESSAGE(AIP_LLM_SYSTEM, "And kind."), MESSAGE(AIP_LLM_ASSISTANT, "hello"),
                MESSAGE(AIP_LLM_USER, "bye")};
        expect_body("claude-3-opus", talk, 5,
                    "{\"model\":\"claude-3-opus\",\"max_tokens\":100,\"temperature\":0.7,"
                    "\"system\":\"Be brief.\\n\\nAnd kind.\",\"messages\":["
                    "{\"role\":\"user\",\"content\":\"hi\"},"
                    "{\"role\":\"assistant\",\"content\":\"hello\"},"
                    "{\"role\":\"user\",\"content\":\"bye\"}]}");
}

Test(llm_anthropic, request_without_system_and_temperature)
{
        static const struct aip_llm_message talk[] = {MESSAGE(AIP_LLM_SYSTEM, ""),
                                                      MESSAGE(AIP_LLM_USER, "hi")};
        expect_body("claude-opus-4-7", talk, 2,
                    "{\"model\":\"claude-opus-4-7\",\"max_tokens\":100,"
                    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
}

Test(llm_anthropic, a_system_message_alone_is_no_request)
{
        static const struct aip_llm_message talk[] = {MESSAGE(AIP_LLM_SYSTEM, "Be brief.")};
        aip_error *err = NULL;
        cr_expect_null(llm_body_of(&aip_anthropic_protocol, "claude-3-opus", talk, 1, &err));
        cr_expect_str_eq(aip_error_kind(err), AIP_LLM_CALLER_INVALID_REQUEST);
        aip_error_free(err);
}

Test(llm_anthropic, models_without_temperature_are_known_by_name)
{
        static const char *const with[] = {"claude-3-opus-20240229",
                                           "claude-3-5-sonnet-latest",
                                           "claude-2.1",
                                           "claude-opus-4-20250514",
                                           "claude-opus-4-1",
                                           "claude-sonnet-4-6",
                                           "claude-haiku-4-5-20251001",
                                           "anthropic.claude-sonnet-4-5-v1:0",
                                           "claude",
                                           "claude-instant",
                                           "claude-next-",
                                           "mock"};
        static const char *const without[] = {"claude-opus-4-7",          "claude-opus-4.7",
                                              "claude-opus-4-8-20260901", "claude-sonnet-5",
                                              "claude-sonnet-5-5",        "claude-haiku-5-20270101",
                                              "anthropic/claude-opus-10"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(with); i++)
                cr_expect(aip_anthropic_protocol.takes_temperature(aip_str_of(with[i])), "%s",
                          with[i]);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(without); i++)
                cr_expect(!aip_anthropic_protocol.takes_temperature(aip_str_of(without[i])), "%s",
                          without[i]);
}

#define ANSWER(content, reason, usage)                                                             \
        "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\","    \
        "\"content\":[" content "],\"stop_reason\":" reason ",\"stop_sequence\":null,"             \
        "\"usage\":" usage "}"
#define TEXT(text) "{\"type\":\"text\",\"text\":\"" text "\"}"
#define TOOL       "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"x\":1}}"

Test(llm_anthropic, good_answers)
{
        static const struct llm_good goods[] = {
                {ANSWER(TEXT("hi"), "\"end_turn\"",
                        "{\"input_tokens\":10,\"cache_creation_input_tokens\":20,"
                        "\"cache_read_input_tokens\":30,\"output_tokens\":3}"),
                 "hi", AIP_LLM_FINISH_STOP, 60, 3, 30, -1, "msg_1", "claude-x"},
                {ANSWER(TEXT("hi"), "\"max_tokens\"", "{\"input_tokens\":10}"), "hi",
                 AIP_LLM_FINISH_LENGTH, 10, -1, -1, -1, "msg_1", "claude-x"},
                {ANSWER(TEXT("hi"), "\"stop_sequence\"", "null"), "hi", AIP_LLM_FINISH_STOP, -1, -1,
                 -1, -1, "msg_1", "claude-x"},
                {ANSWER(TEXT("hi"), "\"pause_turn\"", "7"), "hi", AIP_LLM_FINISH_STOP, -1, -1, -1,
                 -1, "msg_1", "claude-x"},
                {ANSWER(TEXT("hi"), "\"refusal\"", "{}"), "hi", AIP_LLM_FINISH_CONTENT_FILTER, -1,
                 -1, -1, -1, "msg_1", "claude-x"},
                {ANSWER(TEXT("hi"), "\"new_reason\"", "{}"), "hi", AIP_LLM_FINISH_OTHER, -1, -1, -1,
                 -1, "msg_1", "claude-x"},
                {ANSWER("{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"}," TEXT(
                                "a") ",7,{\"type\":\"new\"}," TEXT("b") "," TOOL,
                        "\"tool_use\"", "{}"),
                 "ab", AIP_LLM_FINISH_TOOL_CALLS, -1, -1, -1, -1, "msg_1", "claude-x"},
                {"{\"content\":[" TEXT("x") "]}", "x", AIP_LLM_FINISH_OTHER, -1, -1, -1, -1, NULL,
                 NULL},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(goods); i++)
                llm_expect_good(&aip_anthropic_protocol, &goods[i]);
}

#define ERROR(type, message)                                                                       \
        "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message              \
        "\"},\"request_id\":\"req_9\"}"

Test(llm_anthropic, bad_answers)
{
#define BAD AIP_LLM_PROVIDER_BAD_ANSWER
        static const struct llm_bad bads[] = {
                {200, "", BAD, 1, "no JSON"},
                {200, "{", BAD, 1, "no JSON"},
                {200, "\"hi\"", BAD, 1, "string"},
                {200, "{}", BAD, 1, "content"},
                {200, "{\"content\":\"hi\"}", BAD, 1, "content"},
                {200, "{\"content\":[]}", BAD, 1, "empty"},
                {200, "{\"content\":[{}]}", BAD, 1, "empty"},
                {200, ANSWER(TEXT(" "), "\"end_turn\"", "{}"), BAD, 1, "empty"},
                {200, ANSWER("", "\"max_tokens\"", "{}"), BAD, 0, "max_tokens"},
                {200, ANSWER(TOOL, "\"tool_use\"", "{}"), BAD, 1, "tools"},
                {200, ANSWER("", "\"refusal\"", "{}"), AIP_LLM_POLICY_REFUSED, 0, "refused"},
                {200, ERROR("overloaded_error", "Overloaded"), AIP_LLM_PROVIDER_OVERLOADED, 1,
                 "Overloaded"},
                {200, ERROR("api_error", "oops"), AIP_LLM_PROVIDER_FAILED, 1, "oops"},
                {200, ERROR("invalid_request_error", "no"), AIP_LLM_CALLER_INVALID_REQUEST, 0,
                 "no"},
        };
#undef BAD
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bads); i++)
                llm_expect_bad(&aip_anthropic_protocol, &bads[i]);
}

Test(llm_anthropic, refusals)
{
        static const struct llm_bad bads[] = {
                {400, ERROR("invalid_request_error", "temperature: range: 0..1"),
                 AIP_LLM_CALLER_INVALID_REQUEST, 0, "temperature"},
                {400,
                 ERROR("invalid_request_error",
                       "prompt is too long: 210000 tokens > 200000 maximum"),
                 AIP_LLM_CALLER_TOO_LARGE, 0, "prompt is too long"},
                {400, ERROR("invalid_request_error", "Your credit balance is too low to access"),
                 AIP_LLM_CALLER_QUOTA, 0, "credit balance"},
                {401, ERROR("authentication_error", "invalid x-api-key"),
                 AIP_LLM_CALLER_AUTHENTICATION, 0, "invalid x-api-key"},
                {402, ERROR("billing_error", "pay"), AIP_LLM_CALLER_QUOTA, 0, "pay"},
                {403, ERROR("permission_error", "no"), AIP_LLM_CALLER_PERMISSION, 0, "no"},
                {404, ERROR("not_found_error", "model: x"), AIP_LLM_CALLER_NOT_FOUND, 0, "model"},
                {413, ERROR("request_too_large", "big"), AIP_LLM_CALLER_TOO_LARGE, 0, "big"},
                {429, ERROR("rate_limit_error", "slow"), AIP_LLM_PROVIDER_RATE_LIMITED, 1, "slow"},
                {500, ERROR("api_error", "oops"), AIP_LLM_PROVIDER_FAILED, 1, "oops"},
                {529, ERROR("overloaded_error", "Overloaded"), AIP_LLM_PROVIDER_OVERLOADED, 1,
                 "Overloaded"},
                {529, "", AIP_LLM_PROVIDER_OVERLOADED, 1, "529"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bads); i++)
                llm_expect_bad(&aip_anthropic_protocol, &bads[i]);
}

/* ---- tools and structured output ---- */

static aip_value *value_of(const char *json)
{
        aip_value *value = NULL;
        aip_error *err = NULL;
        if (json)
                aip_value_parse(aip_str_of(json), &value, &err);
        cr_assert_null(err, "%s: %s", json, aip_error_message(err));
        return value;
}

static void hear(struct aip_llm_call *call, const struct aip_llm_delta *delta)
{
        (void)call;
        (void)delta;
}

/* What is asked for, beside a message "hi", and what of the request comes behind the messages. */
struct wish {
        const char *tools;
        enum aip_llm_tool_choice choice;
        int is_serial;
        const char *schema;
        int is_streamed;
        const char *rest;
};

static void expect_rest(const struct wish *wish)
{
        static const struct aip_llm_message talk[] = {{.role = AIP_LLM_USER, .content = {"hi", 2}}};
        aip_value *tools = value_of(wish->tools), *schema = value_of(wish->schema);
        aip_llm_config *config = llm_config_of("x", "model");
        struct aip_buf body = AIP_BUF_INIT(1 << 16);
        struct aip_llm_call call = {.config = config,
                                    .messages = talk,
                                    .n_messages = 1,
                                    .tools = tools,
                                    .tool_choice = wish->choice,
                                    .tool_choice_name = AIP_STR("f"),
                                    .is_serial = wish->is_serial,
                                    .output_schema = schema,
                                    .on_delta = wish->is_streamed ? hear : NULL};
        cr_assert_eq(aip_anthropic_protocol.append_body(&body, &call, 0, NULL), 0);
        const char *rest = strstr(body.p, "\"content\":\"hi\"}]");
        cr_assert_not_null(rest);
        cr_expect_str_eq(rest + 16, wish->rest);
        aip_buf_deinit(&body);
        aip_llm_config_unref(config);
        aip_value_unref(tools);
        aip_value_unref(schema);
}

#define F "{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"}}"

Test(llm_anthropic, tools_and_output)
{
        static const struct wish wishes[] = {
                {NULL, AIP_LLM_TOOLS_REQUIRED, 1, NULL, 0, "}"},
                {"[" F ",{\"name\":\"g\"}]", AIP_LLM_TOOLS_AUTO, 0, NULL, 0,
                 ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":"
                 "\"object\"}},{\"name\":\"g\",\"input_schema\":{\"type\":\"object\","
                 "\"properties\":{}}}]}"},
                {"[" F ",{\"name\":\"g\"}]", AIP_LLM_TOOLS_AUTO, 1, NULL, 1,
                 ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":"
                 "\"object\"}},{\"name\":\"g\",\"input_schema\":{\"type\":\"object\","
                 "\"properties\":{}}}],\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_"
                 "use\":true},\"stream\":true}"},
                {"[" F "]", AIP_LLM_TOOLS_NONE, 1, NULL, 0,
                 ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":"
                 "\"object\"}}],\"tool_choice\":{\"type\":\"none\"}}"},
                {"[" F "]", AIP_LLM_TOOLS_REQUIRED, 0, NULL, 0,
                 ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":"
                 "\"object\"}}],\"tool_choice\":{\"type\":\"any\"}}"},
                {"[" F "]", AIP_LLM_TOOLS_NAMED, 1, NULL, 0,
                 ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":"
                 "\"object\"}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\",\"disable_"
                 "parallel_tool_use\":true}}"},
                {NULL, AIP_LLM_TOOLS_AUTO, 0, "{\"type\":\"object\"}", 0,
                 ",\"tools\":[{\"name\":\"structured_output\",\"input_schema\":{\"type\":"
                 "\"object\"}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"structured_output\"}"
                 "}"},
                {"[" F "]", AIP_LLM_TOOLS_AUTO, 0, "{\"type\":\"object\"}", 0,
                 ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":"
                 "\"object\"}},{\"name\":\"structured_output\",\"input_schema\":{\"type\":"
                 "\"object\"}}],\"tool_choice\":{\"type\":\"any\"}}"},
                {"[" F "]", AIP_LLM_TOOLS_NONE, 0, "{\"type\":\"object\"}", 0,
                 ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":"
                 "\"object\"}},{\"name\":\"structured_output\",\"input_schema\":{\"type\":"
                 "\"object\"}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"structured_output\"}"
                 "}"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(wishes); i++)
                expect_rest(&wishes[i]);
}

Test(llm_anthropic, a_talk_with_tools)
{
        aip_value *calls = value_of("[{\"id\":\"a\",\"name\":\"f\",\"arguments\":{\"n\":1}},"
                                    "{\"id\":\"b\",\"name\":\"g\",\"arguments_text\":\"{\\\"n\","
                                    "\"arguments_error\":\"x\"},"
                                    "{\"id\":\"c\",\"name\":\"h\"}]");
        const struct aip_llm_message talk[] = {
                {.role = AIP_LLM_USER, .content = AIP_STR("hi")},
                {.role = AIP_LLM_ASSISTANT, .tool_calls = calls},
                {.role = AIP_LLM_TOOL, .content = AIP_STR("1"), .tool_call_id = AIP_STR("a")},
                {.role = AIP_LLM_TOOL,
                 .content = AIP_STR("no JSON"),
                 .tool_call_id = AIP_STR("b"),
                 .is_error = 1},
                {.role = AIP_LLM_USER, .content = AIP_STR("go on")},
                {.role = AIP_LLM_ASSISTANT, .content = AIP_STR("so"), .tool_calls = calls},
        };
        aip_error *err = NULL;
        char *body =
                llm_body_of(&aip_anthropic_protocol, "model", talk, AIP_ARRAY_SIZE(talk), &err);
        cr_assert_not_null(body, "%s", aip_error_message(err));
        cr_expect_str_eq(
                strstr(body, "\"messages\""),
                "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\","
                "\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"n\":"
                "1}},{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"g\",\"input\":{\"arguments_"
                "text\":\"{\\\"n\"}},{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"h\",\"input\":{"
                "}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                "\"a\",\"content\":\"1\"},{\"type\":\"tool_result\",\"tool_use_id\":\"b\","
                "\"content\":\"no JSON\",\"is_error\":true}]},{\"role\":\"user\",\"content\":\"go "
                "on\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"so\"},{"
                "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"n\":1}},{\"type\":"
                "\"tool_use\",\"id\":\"b\",\"name\":\"g\",\"input\":{\"arguments_text\":\"{\\\"n\"}"
                "},{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"h\",\"input\":{}}]}]}");
        free(body);
        aip_value_unref(calls);
}

Test(llm_anthropic, tools_that_are_none)
{
        static const struct aip_llm_message talk[] = {{.role = AIP_LLM_USER, .content = {"hi", 2}}};
        static const char *const wrong[] = {"{}", "[7]", "[{}]", "[{\"name\":7}]"};
        aip_llm_config *config = llm_config_of("x", "model");
        for (size_t i = 0; i < AIP_ARRAY_SIZE(wrong); i++) {
                aip_value *tools = value_of(wrong[i]);
                struct aip_buf body = AIP_BUF_INIT(1 << 16);
                struct aip_llm_call call = {
                        .config = config, .messages = talk, .n_messages = 1, .tools = tools};
                aip_error *err = NULL;
                cr_expect_lt(aip_anthropic_protocol.append_body(&body, &call, 0, &err), 0, "%s",
                             wrong[i]);
                cr_expect_str_eq(aip_error_kind(err), AIP_LLM_CALLER_INVALID_REQUEST);
                aip_error_free(err);
                aip_buf_deinit(&body);
                aip_value_unref(tools);
        }
        aip_llm_config_unref(config);
}
