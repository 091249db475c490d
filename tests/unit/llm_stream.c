/*
 * Streamed answers of both protocols, without a network: whatever the pieces the bytes come in, the
 * answer is that of the same answer sent whole, and the deltas make it up.
 */
#include "llm/chat_stream.h"
#include "llm_support.h"

#define SECRET "sk-secret-key"

/* A call with its deltas as a text: T(…) R(…) B0(id,name) A0(…), neighbours of a kind joined. */
struct heard {
        struct aip_llm_call call;
        struct aip_buf deltas, text;
        enum aip_llm_delta_kind last;
        int32_t last_index;
        int has_last;
};

static void hear(struct aip_llm_call *call, const struct aip_llm_delta *delta)
{
        static const char *const names[] = {"T", "R", "B", "A", "X"};
        struct heard *heard = AIP_CONTAINER_OF(call, struct heard, call);
        int is_begin = delta->kind == AIP_LLM_DELTA_TOOL_CALL_BEGIN;
        int is_more = heard->has_last && heard->last == delta->kind && !is_begin &&
                      heard->last_index == delta->index;
        cr_assert_geq(aip_str_utf8_length(delta->text), 0);
        int r = heard->has_last && !is_more ? aip_buf_append_char(&heard->deltas, ')') : 0;
        if (r == 0 && !is_more)
                r = aip_buf_printf(&heard->deltas, "%s%d(", names[delta->kind], delta->index);
        if (r == 0 && is_begin)
                r = aip_buf_printf(&heard->deltas, "%.*s,%.*s", AIP_STR_ARG(delta->tool_call_id),
                                   AIP_STR_ARG(delta->tool_name));
        if (r == 0)
                r = aip_buf_append(&heard->deltas, delta->text);
        if (r == 0 && delta->kind == AIP_LLM_DELTA_TEXT)
                r = aip_buf_append(&heard->text, delta->text);
        cr_assert_eq(r, 0);
        heard->has_last = 1;
        heard->last = delta->kind;
        heard->last_index = delta->index;
}

/* What is asked for, beside the stream. */
struct wish {
        const char *tools, *schema; /* JSON, or NULL */
};

static aip_value *value_of(const char *json)
{
        aip_value *value = NULL;
        aip_error *err = NULL;
        if (json)
                aip_value_parse(aip_str_of(json), &value, &err);
        cr_assert_null(err, "%s: %s", json, aip_error_message(err));
        return value;
}

static void heard_init(struct heard *heard, const struct wish *wish)
{
        *heard = (struct heard){.call = {.on_delta = hear}};
        aip_buf_init(&heard->deltas, 1 << 20);
        aip_buf_init(&heard->text, 1 << 20);
        heard->call.tools = value_of(wish->tools);
        heard->call.output_schema = value_of(wish->schema);
}

static void heard_deinit(struct heard *heard)
{
        aip_value_unref((aip_value *)(uintptr_t)heard->call.tools);
        aip_value_unref((aip_value *)(uintptr_t)heard->call.output_schema);
        aip_buf_deinit(&heard->deltas);
        aip_buf_deinit(&heard->text);
}

#define HEADERS "content-type: text/event-stream\r\nx-request-id: req_7\r\n"

static const struct aip_http_response head = {
        .status = 200,
        .headers = {HEADERS, sizeof(HEADERS) - 1},
};

/* Feed in pieces of `step` bytes after a first one of `first`. */
static int run(const struct aip_chat_protocol *protocol, struct heard *heard, struct aip_str text,
               size_t first, size_t step, struct aip_llm_answer *ret_answer, aip_error **err)
{
        struct aip_chat_stream stream;
        size_t at = 0, n = AIP_MIN(first, text.n);
        int r = 0;
        aip_chat_stream_init(&stream, protocol, &heard->call, AIP_STR(SECRET));
        while (r == 0 && at < text.n) {
                r = aip_chat_stream_feed(&stream, &head, aip_str_make(text.p + at, n), err);
                at += n;
                n = AIP_MIN(step, text.n - at);
        }
        if (r == 0)
                r = aip_chat_stream_end(&stream, &head, NULL, ret_answer, err);
        aip_chat_stream_deinit(&stream);
        return r;
}

static void assert_same(const struct aip_llm_answer *a, const struct aip_llm_answer *b)
{
        cr_assert_str_eq(a->content, b->content);
        cr_assert_eq(a->content_bytes, b->content_bytes);
        cr_assert(llm_same_text(a->response_id, b->response_id));
        cr_assert(llm_same_text(a->model_name, b->model_name));
        cr_assert_eq(a->finish_reason, b->finish_reason);
        cr_assert_eq(a->input_tokens, b->input_tokens);
        cr_assert_eq(a->output_tokens, b->output_tokens);
        cr_assert_eq(a->cached_tokens, b->cached_tokens);
        cr_assert_eq(a->reasoning_tokens, b->reasoning_tokens);
        cr_assert_str_eq(a->provider, b->provider);
        cr_assert(aip_value_equal(a->tool_calls, b->tool_calls));
        cr_assert_eq(!a->tool_calls, !b->tool_calls);
}

/* A stream, the same answer as a whole, and the deltas. */
struct pair {
        const struct aip_chat_protocol *protocol;
        struct wish wish;
        const char *stream, *whole, *deltas;
};

static void check_split(const struct pair *pair, const struct aip_llm_answer *whole, size_t first,
                        size_t step)
{
        struct heard heard;
        struct aip_llm_answer answer = {0};
        aip_error *err = NULL;
        heard_init(&heard, &pair->wish);
        int r = run(pair->protocol, &heard, aip_str_of(pair->stream), first, step, &answer, &err);
        cr_assert_eq(r, 0, "%s", aip_error_message(err));
        assert_same(&answer, whole);
        cr_assert_eq(aip_buf_append_char(&heard.deltas, ')'), 0);
        cr_assert_str_eq(heard.deltas.p, pair->deltas);
        cr_assert_str_eq(aip_buf_str(&heard.text).p, answer.content);
        aip_llm_answer_deinit(&answer);
        heard_deinit(&heard);
}

static void check_pair(const struct pair *pair)
{
        struct heard heard;
        struct aip_llm_answer whole = {0};
        aip_error *err = NULL;
        struct aip_http_response response = llm_response_of(200, "", pair->whole);
        size_t n = strlen(pair->stream);
        heard_init(&heard, &pair->wish);
        aip_chat_parse(pair->protocol, &response, AIP_STR(SECRET), &heard.call, &whole, &err);
        cr_assert_null(err, "%s", aip_error_message(err));
        cr_assert_str_eq(aip_buf_str(&heard.text).p, whole.content);
        for (size_t first = 0; first <= n; first++)
                check_split(pair, &whole, first, n);
        for (size_t step = 1; step < 8; step++)
                check_split(pair, &whole, step, step);
        aip_llm_answer_deinit(&whole);
        heard_deinit(&heard);
}

/* ---- OpenAI ---- */

#define CHUNK_OF(choices)                                                                          \
        "data: "                                                                                   \
        "{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":"         \
        "[" choices "]}\n\n"
#define CHUNK(delta, reason)                                                                       \
        CHUNK_OF("{\"index\":0,\"delta\":" delta ",\"finish_reason\":" reason "}")
#define USAGE                                                                                      \
        "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3,"                                 \
        "\"prompt_tokens_details\":{\"cached_tokens\":4},"                                         \
        "\"completion_tokens_details\":{\"reasoning_tokens\":2}}"
#define LAST_USAGE "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[]," USAGE "}\n\n"
#define DONE       "data: [DONE]\n\n"
#define WHOLE(message, reason)                                                                     \
        "{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":" message            \
        ",\"finish_reason\":\"" reason "\"}]," USAGE "}"
#define WEATHER "[{\"name\":\"weather\"},{\"name\":\"time\"}]"

#define CALL_0                                                                                     \
        "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"weather\","                  \
        "\"arguments\":\"{\\\"city\\\": \\\"Köln\\\"}\"}}"
#define CALL_1                                                                                     \
        "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"time\","                     \
        "\"arguments\":\"\"}}"

static const struct pair openai_pairs[] = {
        {&aip_openai_protocol,
         {NULL, NULL},
         CHUNK("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null")
                 CHUNK("{\"content\":\"Hello \"}",
                       "null") ": ping\n\n" CHUNK("{\"content\":\"wörld\\n\"}", "null")
                         CHUNK("{}", "\"stop\"") LAST_USAGE DONE,
         WHOLE("{\"content\":\"Hello wörld\\n\"}", "stop"),
         "T0(Hello wörld\n)"},
        /* reasoning first; the key, whole and in pieces; no [DONE] */
        {&aip_openai_protocol,
         {NULL, NULL},
         CHUNK("{\"reasoning_content\":\"hm sk-sec\"}", "null")
                 CHUNK("{\"content\":\"<sk-sec\"}", "null") CHUNK("{\"content\":\"ret-\"}", "null")
                         CHUNK("{\"content\":\"key> sk-secret-key, sk-\"}", "null")
                                 CHUNK("{}", "\"length\"") LAST_USAGE,
         WHOLE("{\"reasoning\":\"hm sk-sec\",\"content\":\"<sk-secret-key> sk-secret-key, sk-\"}",
               "length"),
         "R0(hm sk-sec)T0(<[redacted]> [redacted], sk-)"},
        /* two tools at once, in fragments that alternate */
        {&aip_openai_protocol,
         {WEATHER, NULL},
         CHUNK("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"a\","
               "\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":\"\"}}]}",
               "null") CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":"
                             "\"{\\\"city\\\": \"}}]}",
                             "null")
                 CHUNK("{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"type\":\"function\","
                       "\"function\":{\"name\":\"time\",\"arguments\":\"\"}}]}",
                       "null") CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{"
                                     "\"name\":\"weather\",\"arguments\":\"\\\"Köln\\\"}\"}}]}",
                                     "null") CHUNK("{}", "\"tool_calls\"") LAST_USAGE DONE,
         WHOLE("{\"content\":null,\"tool_calls\":[" CALL_0 "," CALL_1 "]}", "tool_calls"),
         "B0(a,weather)A0({\"city\": )B1(b,time)A0(\"Köln\"})"},
        /* tools that nobody offered are not told of */
        {&aip_openai_protocol,
         {NULL, NULL},
         CHUNK("{\"content\":\"hi\"}", "null") CHUNK(
                 "{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"weather\","
                 "\"arguments\":\"{}\"}}]}",
                 "null") CHUNK("{}", "\"tool_calls\"") LAST_USAGE DONE,
         WHOLE("{\"content\":\"hi\",\"tool_calls\":[" CALL_0 "]}", "tool_calls"),
         "T0(hi)"},
};

Test(llm_stream, openai)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(openai_pairs); i++)
                check_pair(&openai_pairs[i]);
}

/* ---- Anthropic ---- */

#define EVENT(name, members) "event: " name "\ndata: {\"type\":\"" name "\"" members "}\n\n"
#define START                                                                                      \
        EVENT("message_start",                                                                     \
              ",\"message\":{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\","           \
              "\"model\":\"claude\",\"content\":[],\"stop_reason\":null,"                          \
              "\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":5,"                  \
              "\"cache_read_input_tokens\":7,\"output_tokens\":1}}")
#define BLOCK(i, block)     EVENT("content_block_start", ",\"index\":" i ",\"content_block\":" block)
#define DELTA(i, delta)     EVENT("content_block_delta", ",\"index\":" i ",\"delta\":" delta)
#define TEXT_DELTA(i, text) DELTA(i, "{\"type\":\"text_delta\",\"text\":\"" text "\"}")
#define JSON_DELTA(i, text)                                                                        \
        DELTA(i, "{\"type\":\"input_json_delta\",\"partial_json\":\"" text "\"}")
#define TEXT_BLOCK(i) BLOCK(i, "{\"type\":\"text\",\"text\":\"\"}")
#define TOOL_BLOCK(i, id, name)                                                                    \
        BLOCK(i, "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\",\"input\":{}}")
#define BLOCK_STOP(i) EVENT("content_block_stop", ",\"index\":" i)
#define STOP(reason)                                                                               \
        EVENT("message_delta",                                                                     \
              ",\"delta\":{\"stop_reason\":\"" reason "\",\"stop_sequence\":null}"                 \
              ",\"usage\":{\"output_tokens\":15}")                                                 \
        EVENT("message_stop", "")
#define MESSAGE(content, reason)                                                                   \
        "{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\","         \
        "\"content\":[" content "],\"stop_reason\":\"" reason "\",\"usage\":{"                     \
        "\"input_tokens\":10,\"cache_creation_input_tokens\":5,\"cache_read_input_tokens\":7,"     \
        "\"output_tokens\":15}}"
#define TEXT(text) "{\"type\":\"text\",\"text\":\"" text "\"}"
#define SCHEMA     "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}}}"

static const struct pair anthropic_pairs[] = {
        {&aip_anthropic_protocol,
         {NULL, NULL},
         START TEXT_BLOCK("0") EVENT("ping", "") TEXT_DELTA("0", "Hello ") TEXT_DELTA("0", "wörld")
                 BLOCK_STOP("0") EVENT("news_of_2027", ",\"x\":1") STOP("end_turn"),
         MESSAGE(TEXT("Hello wörld"), "end_turn"),
         "T0(Hello wörld)"},
        {&aip_anthropic_protocol,
         {WEATHER, NULL},
         START BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\"}") DELTA(
                 "0", "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")
                 DELTA("0", "{\"type\":\"signature_delta\",\"signature\":\"xyz\"}") BLOCK_STOP("0")
                         TEXT_BLOCK("1") TEXT_DELTA("1", "Let me see.") BLOCK_STOP("1")
                                 TOOL_BLOCK("2", "a", "weather") JSON_DELTA("2", "")
                                         JSON_DELTA("2", "{\\\"city\\\": \\\"K\\u00f6")
                                                 JSON_DELTA("2", "ln\\\"}") BLOCK_STOP("2")
                                                         TOOL_BLOCK("3", "b", "time")
                                                                 BLOCK_STOP("3") STOP("tool_use"),
         MESSAGE("{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"xyz\"}," TEXT(
                         "Let me see.") ",{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"weather\","
                                        "\"input\":{\"city\":\"Köln\"}},{\"type\":\"tool_use\","
                                        "\"id\":\"b\",\"name\":\"time\",\"input\":{}}",
                 "tool_use"),
         "R0(hm)T0(Let me see.)B0(a,weather)A0({\"city\": \"Köln\"})B1(b,time)"},
        /* structured output */
        {&aip_anthropic_protocol,
         {NULL, SCHEMA},
         START TEXT_BLOCK("0") TEXT_DELTA("0", "Well:") BLOCK_STOP("0")
                 TOOL_BLOCK("1", "a", "structured_output") JSON_DELTA("1", "{\\\"n\\\"")
                         JSON_DELTA("1", ":7}") BLOCK_STOP("1") STOP("tool_use"),
         MESSAGE(TEXT("Well:") ",{\"type\":\"tool_use\",\"id\":\"a\","
                               "\"name\":\"structured_output\",\"input\":{\"n\":7}}",
                 "tool_use"),
         "T0({\"n\":7})"},
        /* … which the model does without */
        {&aip_anthropic_protocol,
         {NULL, SCHEMA},
         START TEXT_BLOCK("0") TEXT_DELTA("0", "{\\\"n\\\":") TEXT_DELTA("0", "7}") BLOCK_STOP("0")
                 STOP("end_turn"),
         MESSAGE(TEXT("{\\\"n\\\":7}"), "end_turn"),
         "T0({\"n\":7})"},
};

Test(llm_stream, anthropic)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(anthropic_pairs); i++)
                check_pair(&anthropic_pairs[i]);
}

/* ---- what goes wrong ---- */

struct bad_stream {
        const struct aip_chat_protocol *protocol;
        const char *stream, *kind;
        int is_retryable;
        const char *words;
};

static void check_bad(const struct bad_stream *bad, size_t step)
{
        static const struct wish plain = {NULL, NULL};
        struct heard heard;
        struct aip_llm_answer answer = {0};
        aip_error *err = NULL;
        heard_init(&heard, &plain);
        int r = run(bad->protocol, &heard, aip_str_of(bad->stream), step, step, &answer, &err);
        cr_assert_lt(r, 0, "taken for an answer: %s", bad->stream);
        cr_expect_str_eq(aip_error_kind(err), bad->kind, "%s: %s", bad->stream,
                         aip_error_message(err));
        cr_expect_eq(aip_error_is_retryable(err), bad->is_retryable, "%s", bad->stream);
        cr_expect_not_null(strstr(aip_error_message(err), bad->words), "%s: %s", bad->stream,
                           aip_error_message(err));
        cr_expect_not_null(strstr(aip_error_message(err), "req_7"), "%s", aip_error_message(err));
        cr_expect_null(strstr(aip_error_message(err), SECRET));
        cr_expect_null(answer.content);
        aip_error_free(err);
        heard_deinit(&heard);
}

Test(llm_stream, bad_streams)
{
        static const struct bad_stream bads[] = {
                {&aip_openai_protocol, "", AIP_LLM_PROVIDER_UNREACHABLE, 1, "before the answer"},
                {&aip_openai_protocol, CHUNK("{\"content\":\"half\"}", "null"),
                 AIP_LLM_PROVIDER_UNREACHABLE, 1, "before the answer"},
                {&aip_openai_protocol, CHUNK("{\"content\":\"half\"}", "null") "data: {\"choi",
                 AIP_LLM_PROVIDER_UNREACHABLE, 1, "before the answer"},
                {&aip_openai_protocol, DONE, AIP_LLM_PROVIDER_BAD_ANSWER, 1, "empty"},
                {&aip_openai_protocol, CHUNK("{}", "\"length\"") DONE, AIP_LLM_PROVIDER_BAD_ANSWER,
                 0, "max_tokens"},
                {&aip_openai_protocol, "data: <html>sk-secret-key</html>\n\n",
                 AIP_LLM_PROVIDER_BAD_ANSWER, 1, "no JSON"},
                {&aip_openai_protocol,
                 CHUNK("{\"content\":\"half\"}",
                       "null") "data: {\"error\":{\"message\":\"The server had an error, "
                               "sk-secret-key\",\"type\":\"server_error\",\"code\":null}}\n\n" DONE,
                 AIP_LLM_PROVIDER_FAILED, 1, "The server had an error"},
                {&aip_openai_protocol,
                 CHUNK("{\"refusal\":\"I \"}", "null") CHUNK("{\"refusal\":\"cannot\"}", "null")
                         CHUNK("{}", "\"stop\"") DONE,
                 AIP_LLM_POLICY_REFUSED, 0, "I cannot"},
                {&aip_openai_protocol, CHUNK("{}", "\"content_filter\"") DONE,
                 AIP_LLM_POLICY_REFUSED, 0, "refused"},
                {&aip_anthropic_protocol, START TEXT_BLOCK("0") TEXT_DELTA("0", "half"),
                 AIP_LLM_PROVIDER_UNREACHABLE, 1, "before the answer"},
                {&aip_anthropic_protocol,
                 START TEXT_BLOCK("0") TEXT_DELTA("0", "half")
                         EVENT("error", ",\"error\":{\"type\":\"overloaded_error\","
                                        "\"message\":\"Overloaded\"}"),
                 AIP_LLM_PROVIDER_OVERLOADED, 1, "Overloaded"},
                {&aip_anthropic_protocol, START STOP("refusal"), AIP_LLM_POLICY_REFUSED, 0,
                 "refused"},
                {&aip_anthropic_protocol,
                 START TOOL_BLOCK("0", "a", "weather") BLOCK_STOP("0") STOP("tool_use"),
                 AIP_LLM_PROVIDER_BAD_ANSWER, 1, "none were offered"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bads); i++) {
                check_bad(&bads[i], SIZE_MAX / 2);
                check_bad(&bads[i], 1);
        }
}

Test(llm_stream, arguments_that_are_no_json)
{
        static const struct wish wish = {WEATHER, NULL};
        static const char stream[] = CHUNK(
                "{\"tool_calls\":[{\"index\":0,\"id\":\"\",\"function\":{\"name\":\"weather\","
                "\"arguments\":\"{\\\"city\\\": \"}},{\"index\":1,\"id\":\"b\",\"function\":{"
                "\"name\":\"time\",\"arguments\":\"[7]\"}}]}",
                "\"stop\"") DONE;
        struct heard heard;
        struct aip_llm_answer answer = {0};
        aip_error *err = NULL;
        heard_init(&heard, &wish);
        cr_assert_eq(run(&aip_openai_protocol, &heard, aip_str_of(stream), 1, 1, &answer, &err), 0);
        const aip_value *call = aip_value_at(answer.tool_calls, 0);
        cr_expect_null(aip_value_get_cstr(call, "arguments"));
        cr_expect(aip_str_eq(aip_value_as_string(aip_value_get_cstr(call, "arguments_text")),
                             AIP_STR("{\"city\": ")));
        cr_expect_gt(aip_value_as_string(aip_value_get_cstr(call, "arguments_error")).n, 0u);
        cr_expect(aip_str_eq(aip_value_as_string(aip_value_get_cstr(call, "id")),
                             AIP_STR("call_c1_0")));
        call = aip_value_at(answer.tool_calls, 1);
        cr_expect(aip_str_eq(aip_value_as_string(aip_value_get_cstr(call, "arguments_text")),
                             AIP_STR("[7]")));
        cr_expect_eq(answer.finish_reason, AIP_LLM_FINISH_TOOL_CALLS);
        aip_llm_answer_deinit(&answer);
        heard_deinit(&heard);
}

/* Servers that give every call the same index, or none. */
Test(llm_stream, calls_are_told_apart_by_id_or_name)
{
        static const struct wish wish = {WEATHER, NULL};
        static const char *const streams[] = {
                CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":"
                      "\"weather\",\"arguments\":\"{\\\"n\\\":1}\"}}]}",
                      "null")
                        CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"name\":"
                              "\"time\",\"arguments\":\"{\\\"n\\\":2}\"}}]}",
                              "\"stop\"") DONE,
                CHUNK("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"weather\","
                      "\"arguments\":\"{\\\"n\\\":\"}}]}",
                      "null")
                        CHUNK("{\"tool_calls\":[{\"function\":{\"arguments\":\"1}\"}}]}", "null")
                                CHUNK("{\"tool_calls\":[{\"id\":\"b\",\"function\":{\"name\":"
                                      "\"time\",\"arguments\":{\"n\":2}}}]}",
                                      "\"stop\"") DONE,
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(streams); i++) {
                struct heard heard;
                struct aip_llm_answer answer = {0};
                aip_error *err = NULL;
                aip_value *expected =
                        value_of("[{\"id\":\"a\",\"name\":\"weather\",\"arguments\":{\"n\":1}},"
                                 "{\"id\":\"b\",\"name\":\"time\",\"arguments\":{\"n\":2}}]");
                heard_init(&heard, &wish);
                cr_assert_eq(run(&aip_openai_protocol, &heard, aip_str_of(streams[i]), 1, 1,
                                 &answer, &err),
                             0);
                cr_expect(aip_value_equal(answer.tool_calls, expected), "%s", heard.deltas.p);
                aip_value_unref(expected);
                aip_llm_answer_deinit(&answer);
                heard_deinit(&heard);
        }
}

Test(llm_stream, kinds_of_bodies)
{
        static const struct {
                const char *headers, *body;
                int is_stream;
        } cases[] = {
                {"Content-Type: text/event-stream; charset=utf-8\r\n", "{", 1},
                {"content-type: application/json\r\n", "data: x", 0},
                {"content-type: text/plain\r\n", "data: x", 1},
                {"", "\r\n event: x", 1},
                {"", " {\"id\":1}", 0},
                {"", "<html>", 0},
                {"", "", 0},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                struct aip_http_response response = llm_response_of(200, cases[i].headers, "");
                cr_expect_eq(aip_chat_is_stream(&response, aip_str_of(cases[i].body)),
                             cases[i].is_stream, "%s%s", cases[i].headers, cases[i].body);
        }
}
