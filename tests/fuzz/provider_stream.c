/*
 * Streamed answers, read as both protocols. An input is how the stream is cut (one byte) and the
 * stream. However it is cut, what is told and the outcome are those of the stream in one piece; the
 * text that was told is the content, and the API key is in none of it.
 */
#include "fuzz.h"
#include "llm/chat_stream.h"
#include <aiplat/value.h>
#include <string.h>

#define SECRET "sk-fuzz-secret"

#define TOOLS_MAX 1000 /* that the adapters take */

struct told {
        struct aip_llm_call call;
        struct aip_buf text;
        struct aip_buf everything; /* each delta, as it came */
        unsigned char has_begun[TOOLS_MAX];
};

static int has_secret(struct aip_str text)
{
        return text.n > 0 && memmem(text.p, text.n, SECRET, strlen(SECRET)) != NULL;
}

static void note(struct aip_buf *out, struct aip_str text)
{
        MUST(!has_secret(text) && aip_str_utf8_length(text) >= 0);
        MUST(aip_buf_printf(out, " %zu:", text.n) == 0 && aip_buf_append(out, text) == 0);
}

/* A call of a tool is begun once, and before its arguments come; not all that are begun by the
 * provider are told in order, for some have no name yet. */
static void check_tool(struct told *told, const struct aip_llm_delta *delta)
{
        MUST(delta->index >= 0 && delta->index < TOOLS_MAX);
        int is_begin = delta->kind == AIP_LLM_DELTA_TOOL_CALL_BEGIN;
        MUST(told->has_begun[delta->index] == !is_begin);
        told->has_begun[delta->index] = 1;
}

static void hear(struct aip_llm_call *call, const struct aip_llm_delta *delta)
{
        struct told *told = AIP_CONTAINER_OF(call, struct told, call);
        MUST(aip_buf_printf(&told->everything, "\n%d %d", (int)delta->kind, (int)delta->index) ==
             0);
        note(&told->everything, delta->text);
        note(&told->everything, delta->tool_call_id);
        note(&told->everything, delta->tool_name);
        if (delta->kind == AIP_LLM_DELTA_TOOL_CALL_BEGIN ||
            delta->kind == AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS)
                check_tool(told, delta);
        if (delta->kind == AIP_LLM_DELTA_TEXT)
                MUST(aip_buf_append(&told->text, delta->text) == 0);
}

/* The bytes of the next piece: all of one size for a small seed, then of all sizes, none included.
 * Seed 0 is no cut at all. */
static size_t piece_bytes(uint32_t *state, unsigned seed, size_t left)
{
        if (seed == 0)
                return left;
        *state = *state * 1664525u + 1013904223u;
        size_t n = seed <= 32 ? seed : (*state >> 16) % (seed - 31);
        return n < left ? n : left;
}

static int run(const struct aip_chat_protocol *protocol, struct told *told, struct aip_str stream,
               unsigned seed, struct aip_llm_answer *ret_answer, aip_error **err)
{
        static const struct aip_http_response head = {.status = 200};
        struct aip_chat_stream reader;
        uint32_t state = seed;
        int r = 0;
        aip_chat_stream_init(&reader, protocol, &told->call, aip_str_of(SECRET));
        while (r == 0 && stream.n > 0) {
                size_t n = piece_bytes(&state, seed, stream.n);
                r = aip_chat_stream_feed(&reader, &head, aip_str_make(stream.p, n), err);
                stream = aip_str_make(stream.p + n, stream.n - n);
        }
        if (r == 0)
                r = aip_chat_stream_end(&reader, &head, NULL, ret_answer, err);
        aip_chat_stream_deinit(&reader);
        return r;
}

static void check_answer(const struct told *told, const struct aip_llm_answer *answer)
{
        struct aip_str content = aip_str_make(answer->content, answer->content_bytes);
        MUST(aip_str_eq(content, aip_buf_str(&told->text)));
        MUST(!has_secret(content) && aip_str_utf8_length(content) >= 0);
        size_t n_calls = aip_value_size(answer->tool_calls);
        MUST(n_calls <= TOOLS_MAX);
        MUST(memchr(told->has_begun + n_calls, 1, TOOLS_MAX - n_calls) == NULL);
        MUST(answer->input_tokens >= -1 && answer->output_tokens >= -1);
}

static void told_init(struct told *told)
{
        aip_buf_init(&told->text, SIZE_MAX / 4);
        aip_buf_init(&told->everything, SIZE_MAX / 4);
}

static void told_deinit(struct told *told)
{
        aip_buf_deinit(&told->text);
        aip_buf_deinit(&told->everything);
}

static void check(const struct aip_chat_protocol *protocol, const aip_value *tools,
                  struct aip_str stream, unsigned seed)
{
        struct told whole = {.call = {.on_delta = hear, .tools = tools}}, cut = whole;
        struct aip_llm_answer a = {0}, b = {0};
        aip_error *err_a = NULL, *err_b = NULL;
        told_init(&whole);
        told_init(&cut);
        int r = run(protocol, &whole, stream, 0, &a, &err_a);
        MUST(run(protocol, &cut, stream, seed, &b, &err_b) == r);
        MUST(strcmp(aip_error_message(err_a), aip_error_message(err_b)) == 0);
        MUST(aip_str_eq(aip_buf_str(&whole.everything), aip_buf_str(&cut.everything)));
        MUST(aip_value_equal(a.tool_calls, b.tool_calls));
        MUST(!has_secret(aip_str_of(aip_error_message(err_a))));
        if (r == 0) {
                check_answer(&whole, &a);
                check_answer(&cut, &b);
        }
        aip_llm_answer_deinit(&a);
        aip_llm_answer_deinit(&b);
        aip_error_free(err_a);
        aip_error_free(err_b);
        told_deinit(&whole);
        told_deinit(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        aip_value *tools = NULL;
        if (size < 2)
                return 0;
        MUST(aip_value_parse(aip_str_of("[{\"name\":\"f\"}]"), &tools, NULL) == 0);
        unsigned seed = data[0];
        struct aip_str stream = aip_str_make((const char *)data + 1, size - 1);
        check(&aip_openai_protocol, tools, stream, seed);
        check(&aip_anthropic_protocol, tools, stream, seed);
        aip_value_unref(tools);
        return 0;
}
