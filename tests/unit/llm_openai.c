/* OpenAI Chat Completions: requests written and answers read, without a network. */
#include "llm_support.h"

#define SYSTEM(text)                                                                               \
        {                                                                                          \
                .role = AIP_LLM_SYSTEM, .content = { text, sizeof(text) - 1 }                      \
        }
#define USER(text)                                                                                 \
        {                                                                                          \
                .role = AIP_LLM_USER, .content = { text, sizeof(text) - 1 }                        \
        }
#define ASSISTANT(text)                                                                            \
        {                                                                                          \
                .role = AIP_LLM_ASSISTANT, .content = { text, sizeof(text) - 1 }                   \
        }

static const struct aip_llm_message small_talk[] = {SYSTEM("Be brief."), USER("Say \"hi\"\n"),
                                                    ASSISTANT("hi"), USER("Again")};

static void expect_body(const char *model, const char *expected)
{
        aip_error *err = NULL;
        char *body = llm_body_of(&aip_openai_protocol, model, small_talk, 4, &err);
        cr_assert_not_null(body, "%s", aip_error_message(err));
        cr_expect_str_eq(body, expected);
        free(body);
}

#define MESSAGES                                                                                   \
        "\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"                           \
        "{\"role\":\"user\",\"content\":\"Say \\\"hi\\\"\\n\"},"                                   \
        "{\"role\":\"assistant\",\"content\":\"hi\"},{\"role\":\"user\",\"content\":\"Again\"}]}"

Test(llm_openai, request)
{
        expect_body("gpt-4-turbo", "{\"model\":\"gpt-4-turbo\",\"max_tokens\":100,"
                                   "\"temperature\":0.7," MESSAGES);
}

Test(llm_openai, request_to_a_reasoning_model)
{
        expect_body("o3-mini", "{\"model\":\"o3-mini\",\"max_completion_tokens\":100," MESSAGES);
}

Test(llm_openai, reasoning_models_are_known_by_name)
{
        static const char *const reasoning[] = {
                "o1",         "o1-preview", "o3-mini",   "o4-mini-2025-04-16", "gpt-5",
                "gpt-5-mini", "gpt-5.1",    "openai/o3", "ft:o4-mini:org::id", "gpt-6"};
        static const char *const others[] = {"gpt-4o",
                                             "gpt-4-turbo",
                                             "gpt-3.5-turbo",
                                             "gpt-5-chat",
                                             "gpt-5-chat-latest",
                                             "llama3",
                                             "omni",
                                             "o",
                                             "ol3",
                                             "gpt-oss:20b",
                                             "mistral/open-mixtral",
                                             "gpt-"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(reasoning); i++)
                cr_expect(!aip_openai_protocol.takes_temperature(aip_str_of(reasoning[i])), "%s",
                          reasoning[i]);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(others); i++)
                cr_expect(aip_openai_protocol.takes_temperature(aip_str_of(others[i])), "%s",
                          others[i]);
}

Test(llm_openai, requests_that_cannot_be_made)
{
        static const struct aip_llm_message tool = {.role = AIP_LLM_TOOL, .content = {"42", 2}};
        aip_error *err = NULL;
        cr_expect_null(llm_body_of(&aip_openai_protocol, "gpt-4o", &tool, 1, &err));
        cr_expect_str_eq(aip_error_kind(err), AIP_LLM_CALLER_INVALID_REQUEST);
        aip_error_free(err);
        err = NULL;
        cr_expect_null(llm_body_of(&aip_openai_protocol, "gpt-4o", NULL, 0, &err));
        cr_expect_str_eq(aip_error_kind(err), AIP_LLM_CALLER_INVALID_REQUEST);
        aip_error_free(err);
}

#define CHOICE(message, reason)                                                                    \
        "{\"id\":\"c1\",\"object\":\"chat.completion\",\"model\":\"gpt-4o-2024\",\"choices\":["    \
        "{\"index\":0,\"message\":" message ",\"finish_reason\":" reason "}]"
#define TEXT(text) "{\"role\":\"assistant\",\"content\":\"" text "\",\"refusal\":null}"

Test(llm_openai, good_answers)
{
        static const struct llm_good goods[] = {
                {CHOICE(TEXT("hi"),
                        "\"stop\"") ",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3,"
                                    "\"total_tokens\":13,"
                                    "\"prompt_tokens_details\":{\"cached_tokens\":4},"
                                    "\"completion_tokens_details\":{\"reasoning_tokens\":2}}}",
                 "hi", AIP_LLM_FINISH_STOP, 10, 3, 4, 2, "c1", "gpt-4o-2024"},
                /* no usage, or nonsense in it */
                {CHOICE(TEXT("hi"), "\"length\"") "}", "hi", AIP_LLM_FINISH_LENGTH, -1, -1, -1, -1,
                 "c1", "gpt-4o-2024"},
                {CHOICE(TEXT("hi"), "\"length\"") ",\"usage\":null}", "hi", AIP_LLM_FINISH_LENGTH,
                 -1, -1, -1, -1, "c1", "gpt-4o-2024"},
                {CHOICE(TEXT("hi"), "\"length\"") ",\"usage\":{\"prompt_tokens\":-5,"
                                                  "\"completion_tokens\":\"many\"}}",
                 "hi", AIP_LLM_FINISH_LENGTH, -1, -1, -1, -1, "c1", "gpt-4o-2024"},
                {CHOICE(TEXT("hi"), "\"stop\"") ",\"usage\":{\"prompt_tokens\":10,"
                                                "\"prompt_tokens_details\":null}}",
                 "hi", AIP_LLM_FINISH_STOP, 10, -1, -1, -1, "c1", "gpt-4o-2024"},
                /* reasons */
                {CHOICE(TEXT("hi"), "\"tool_calls\"") "}", "hi", AIP_LLM_FINISH_TOOL_CALLS, -1, -1,
                 -1, -1, "c1", "gpt-4o-2024"},
                {CHOICE(TEXT("hi"), "\"content_filter\"") "}", "hi", AIP_LLM_FINISH_CONTENT_FILTER,
                 -1, -1, -1, -1, "c1", "gpt-4o-2024"},
                {CHOICE(TEXT("hi"), "\"eos\"") "}", "hi", AIP_LLM_FINISH_OTHER, -1, -1, -1, -1,
                 "c1", "gpt-4o-2024"},
                {CHOICE(TEXT("hi"), "null") "}", "hi", AIP_LLM_FINISH_OTHER, -1, -1, -1, -1, "c1",
                 "gpt-4o-2024"},
                /* the least that is an answer; text in parts; an id that is no string */
                {"{\"choices\":[{\"message\":{\"content\":\"x\"}}]}", "x", AIP_LLM_FINISH_OTHER, -1,
                 -1, -1, -1, NULL, NULL},
                {"{\"id\":7,\"model\":null,\"error\":null,\"choices\":[{\"message\":{\"content\":["
                 "{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image\"},7,"
                 "{\"type\":\"text\",\"text\":\"b\"}]}}]}",
                 "ab", AIP_LLM_FINISH_OTHER, -1, -1, -1, -1, NULL, NULL},
                /* the key, should a model repeat it */
                {"{\"choices\":[{\"message\":{\"content\":\"<sk-secret-key>\"}}]}", "<[redacted]>",
                 AIP_LLM_FINISH_OTHER, -1, -1, -1, -1, NULL, NULL},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(goods); i++)
                llm_expect_good(&aip_openai_protocol, &goods[i]);
}

Test(llm_openai, bad_answers)
{
#define BAD AIP_LLM_PROVIDER_BAD_ANSWER
        static const struct llm_bad bads[] = {
                {200, "", BAD, 1, "empty"},
                {200, "<html>\n<b>502</b>", BAD, 1, "<html> <b>502</b>"},
                {200, "{\"choices\":[", BAD, 1, "no JSON"},
                {200, "\xff\xfe\"", BAD, 1, "??"},
                {200, "[]", BAD, 1, "list"},
                {200, "null", BAD, 1, "null"},
                {200, "{}", BAD, 1, "choices[0].message"},
                {200, "{\"choices\":7}", BAD, 1, "choices[0].message"},
                {200, "{\"choices\":[]}", BAD, 1, "choices[0].message"},
                {200, "{\"choices\":[{}]}", BAD, 1, "choices[0].message"},
                {200, "{\"choices\":[{\"message\":\"hi\"}]}", BAD, 1, "choices[0].message"},
                {200, CHOICE(TEXT(""), "\"stop\"") "}", BAD, 1, "empty"},
                {200, CHOICE(TEXT(" \\n\\t"), "\"stop\"") "}", BAD, 1, "empty"},
                {200, CHOICE("{\"content\":null}", "\"stop\"") "}", BAD, 1, "empty"},
                {200, CHOICE("{\"content\":7}", "\"stop\"") "}", BAD, 1, "empty"},
                {200, CHOICE(TEXT(""), "\"length\"") "}", BAD, 0, "max_tokens"},
                {200,
                 CHOICE("{\"content\":null,\"tool_calls\":[{\"id\":\"\",\"function\":{\"name\":"
                        "\"f\",\"arguments\":\"{}\"}}]}",
                        "\"tool_calls\"") "}",
                 BAD, 1, "tools"},
                {200, CHOICE(TEXT(""), "\"content_filter\"") "}", AIP_LLM_POLICY_REFUSED, 0,
                 "refused"},
                {200, CHOICE("{\"content\":null,\"refusal\":\"I will not.\"}", "\"stop\"") "}",
                 AIP_LLM_POLICY_REFUSED, 0, "I will not."},
                {200, "{\"error\":{\"message\":\"busy\",\"code\":503}}",
                 AIP_LLM_PROVIDER_OVERLOADED, 1, "busy"},
                {200, "{\"error\":{\"message\":\"lost\",\"code\":null}}", AIP_LLM_PROVIDER_FAILED,
                 1, "lost"},
        };
#undef BAD
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bads); i++)
                llm_expect_bad(&aip_openai_protocol, &bads[i]);
}

#define ERROR(message, type, code)                                                                 \
        "{\"error\":{\"message\":\"" message "\",\"type\":" type ",\"param\":null,\"code\":" code  \
        "}}"

Test(llm_openai, refusals)
{
        static const struct llm_bad bads[] = {
                {400, ERROR("bad", "\"invalid_request_error\"", "null"),
                 AIP_LLM_CALLER_INVALID_REQUEST, 0, "invalid_request_error: bad"},
                {400, ERROR("too long", "\"invalid_request_error\"", "\"context_length_exceeded\""),
                 AIP_LLM_CALLER_TOO_LARGE, 0, "context_length_exceeded"},
                {400, ERROR("filtered", "null", "\"content_filter\""), AIP_LLM_POLICY_REFUSED, 0,
                 "filtered"},
                {401,
                 ERROR("Incorrect API key provided: sk-secret-key.", "\"x\"",
                       "\"invalid_api_key\""),
                 AIP_LLM_CALLER_AUTHENTICATION, 0, "provided: [redacted]."},
                {403, ERROR("no", "\"x\"", "\"unsupported_country\""), AIP_LLM_CALLER_PERMISSION, 0,
                 "no"},
                {404, ERROR("no such model", "\"x\"", "\"model_not_found\""),
                 AIP_LLM_CALLER_NOT_FOUND, 0, "no such model"},
                {402, "{}", AIP_LLM_CALLER_QUOTA, 0, "402"},
                {429,
                 ERROR("You exceeded your quota", "\"insufficient_quota\"",
                       "\"insufficient_quota\""),
                 AIP_LLM_CALLER_QUOTA, 0, "quota"},
                {429, ERROR("slow down", "\"requests\"", "\"rate_limit_exceeded\""),
                 AIP_LLM_PROVIDER_RATE_LIMITED, 1, "slow down"},
                {500, ERROR("oops", "\"server_error\"", "null"), AIP_LLM_PROVIDER_FAILED, 1,
                 "oops"},
                {504, "<html>gateway</html>", AIP_LLM_PROVIDER_FAILED, 1, "gateway"},
                {503, "", AIP_LLM_PROVIDER_OVERLOADED, 1, "503"},
                {301, "", AIP_LLM_CALLER_INVALID_REQUEST, 0, "redirect"},
                {418, "[1]", AIP_LLM_CALLER_INVALID_REQUEST, 0, "418"},
                /* llama.cpp */
                {503, ERROR("Loading model", "\"unavailable_error\"", "503"),
                 AIP_LLM_PROVIDER_OVERLOADED, 1, "Loading model"},
                {400,
                 ERROR("the request exceeds the available context size",
                       "\"exceed_context_size_error\"", "400"),
                 AIP_LLM_CALLER_TOO_LARGE, 0, "context size"},
                /* vLLM */
                {400,
                 "{\"object\":\"error\",\"message\":\"This model's maximum context length is 2048 "
                 "tokens\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
                 AIP_LLM_CALLER_TOO_LARGE, 0, "maximum context length"},
                /* Ollama, FastAPI */
                {404, "{\"error\":\"model 'x' not found\"}", AIP_LLM_CALLER_NOT_FOUND, 0,
                 "model 'x' not found"},
                {422, "{\"detail\":\"field required\"}", AIP_LLM_CALLER_INVALID_REQUEST, 0,
                 "field required"},
                /* control characters do not get through */
                {400, ERROR("a\\u001b[31mb\\u0085c\\nd", "null", "null"),
                 AIP_LLM_CALLER_INVALID_REQUEST, 0, "a [31mb c d"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bads); i++)
                llm_expect_bad(&aip_openai_protocol, &bads[i]);
}

Test(llm_openai, messages_of_errors_are_bounded)
{
        char body[8192] = "{\"error\":{\"message\":\"";
        for (int i = 0; i < 1000; i++)
                strcat(body, "äöü");
        strcat(body, "\"}}");
        struct aip_http_response response = llm_response_of(400, "", body);
        struct aip_llm_call call = {0};
        struct aip_llm_answer answer;
        aip_error *err = NULL;
        cr_assert_lt(
                aip_chat_parse(&aip_openai_protocol, &response, AIP_STR(""), &call, &answer, &err),
                0);
        struct aip_str message = aip_str_of(aip_error_message(err));
        cr_expect_lt(message.n, 600u);
        cr_expect_gt(message.n, 400u);
        cr_expect_geq(aip_str_utf8_length(message), 0);
        cr_expect_not_null(strstr(message.p, "…"));
        aip_error_free(err);
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
        cr_assert_eq(aip_openai_protocol.append_body(&body, &call, 0, NULL), 0);
        const char *rest = strstr(body.p, "\"content\":\"hi\"}]");
        cr_assert_not_null(rest);
        cr_expect_str_eq(rest + 16, wish->rest);
        aip_buf_deinit(&body);
        aip_llm_config_unref(config);
        aip_value_unref(tools);
        aip_value_unref(schema);
}

#define F "{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"}}"

Test(llm_openai, tools_and_output)
{
        static const struct wish wishes[] = {
                {NULL, AIP_LLM_TOOLS_REQUIRED, 1, NULL, 0, "}"},
                {"[]", AIP_LLM_TOOLS_REQUIRED, 0, NULL, 0, "}"},
                {"[" F ",{\"name\":\"g\"}]", AIP_LLM_TOOLS_AUTO, 0, NULL, 0,
                 ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
                 "\"d\",\"parameters\":{\"type\":\"object\"}}},{\"type\":\"function\",\"function\":"
                 "{\"name\":\"g\"}}]}"},
                {"[" F ",{\"name\":\"g\"}]", AIP_LLM_TOOLS_AUTO, 1, NULL, 1,
                 ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
                 "\"d\",\"parameters\":{\"type\":\"object\"}}},{\"type\":\"function\",\"function\":"
                 "{\"name\":\"g\"}}],\"parallel_tool_calls\":false,\"stream\":true,\"stream_"
                 "options\":{\"include_usage\":true}}"},
                {"[" F "]", AIP_LLM_TOOLS_NONE, 0, NULL, 0,
                 ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
                 "\"d\",\"parameters\":{\"type\":\"object\"}}}],\"tool_choice\":\"none\"}"},
                {"[" F "]", AIP_LLM_TOOLS_REQUIRED, 0, NULL, 0,
                 ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
                 "\"d\",\"parameters\":{\"type\":\"object\"}}}],\"tool_choice\":\"required\"}"},
                {"[" F "]", AIP_LLM_TOOLS_NAMED, 0, NULL, 0,
                 ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
                 "\"d\",\"parameters\":{\"type\":\"object\"}}}],\"tool_choice\":{\"type\":"
                 "\"function\",\"function\":{\"name\":\"f\"}}}"},
                {NULL, AIP_LLM_TOOLS_AUTO, 0, "{\"type\":\"object\"}", 0,
                 ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                 "\"answer\",\"schema\":{\"type\":\"object\"}}}}"},
                {NULL, AIP_LLM_TOOLS_AUTO, 0,
                 "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},\"required\":["
                 "\"n\"],\"additionalProperties\":false}",
                 0,
                 ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                 "\"answer\",\"schema\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":"
                 "\"integer\"}},\"required\":[\"n\"],\"additionalProperties\":false},\"strict\":"
                 "true}}}"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(wishes); i++)
                expect_rest(&wishes[i]);
}

Test(llm_openai, a_talk_with_tools)
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
        char *body = llm_body_of(&aip_openai_protocol, "model", talk, AIP_ARRAY_SIZE(talk), &err);
        cr_assert_not_null(body, "%s", aip_error_message(err));
        cr_expect_str_eq(strstr(body, "\"messages\""),
                         "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":"
                         "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":"
                         "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"n\\\":1}"
                         "\"}},{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\","
                         "\"arguments\":\"{\\\"n\"}},{\"id\":\"c\",\"type\":\"function\","
                         "\"function\":{\"name\":\"h\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
                         "\"content\":\"1\",\"tool_call_id\":\"a\"},{\"role\":\"tool\",\"content\":"
                         "\"no JSON\",\"tool_call_id\":\"b\"},{\"role\":\"user\",\"content\":\"go "
                         "on\"},{\"role\":\"assistant\",\"content\":\"so\",\"tool_calls\":[{\"id\":"
                         "\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
                         "\"{\\\"n\\\":1}\"}},{\"id\":\"b\",\"type\":\"function\",\"function\":{"
                         "\"name\":\"g\",\"arguments\":\"{\\\"n\"}},{\"id\":\"c\",\"type\":"
                         "\"function\",\"function\":{\"name\":\"h\",\"arguments\":\"{}\"}}]}]}");
        free(body);
        aip_value_unref(calls);
}

Test(llm_openai, tools_that_are_none)
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
                cr_expect_lt(aip_openai_protocol.append_body(&body, &call, 0, &err), 0, "%s",
                             wrong[i]);
                cr_expect_str_eq(aip_error_kind(err), AIP_LLM_CALLER_INVALID_REQUEST);
                aip_error_free(err);
                aip_buf_deinit(&body);
                aip_value_unref(tools);
        }
        aip_llm_config_unref(config);
}
