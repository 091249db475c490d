/* See simulated_answer.h. It must never pass for a model: every text begins with the label, and so
 * do the strings of structured output. */
#include "llm/simulated_answer.h"
#include "llm/provider_error.h"
#include "llm/schema_example.h"
#include "macros.h"
#include <stdio.h>

#define ANSWER_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define QUOTE_BYTES      60

/* ---- words of the model name ---- */

static int64_t read_number(struct aip_str text, int64_t fallback)
{
        int64_t n = 0;
        if (text.n == 0 || text.n > 12)
                return fallback;
        for (size_t i = 0; i < text.n; i++) {
                if (text.p[i] < '0' || text.p[i] > '9')
                        return fallback;
                n = n * 10 + (text.p[i] - '0');
        }
        return n;
}

/* "name=value": whether the word is `name`, and its value. */
static int is_word(struct aip_str word, const char *name, struct aip_str *ret_value)
{
        size_t n = strlen(name);
        if (word.n <= n || memcmp(word.p, name, n) != 0 || word.p[n] != '=')
                return 0;
        *ret_value = aip_str_make(word.p + n + 1, word.n - n - 1);
        return 1;
}

static void read_word(struct aip_str word, struct aip_simulated_plan *plan)
{
        struct aip_str value;
        if (aip_str_eq(word, AIP_STR("echo")))
                plan->echo = 1;
        else if (is_word(word, "latency", &value))
                plan->latency_ms = read_number(value, plan->latency_ms);
        else if (is_word(word, "tokens", &value))
                plan->tokens = read_number(value, plan->tokens);
        else if (is_word(word, "failures", &value))
                plan->failures = read_number(value, plan->failures);
        else if (is_word(word, "pace", &value))
                plan->pace_ms = read_number(value, plan->pace_ms);
        else if (is_word(word, "after", &value))
                plan->deltas_before_failure = read_number(value, plan->deltas_before_failure);
        else if (is_word(word, "rounds", &value))
                plan->rounds = read_number(value, plan->rounds);
        else if (aip_str_eq(word, AIP_STR("call")))
                plan->is_calling = 1;
        else if (is_word(word, "call", &plan->tool_names))
                plan->is_calling = 1;
        else if (is_word(word, "retry-after", &value))
                plan->retry_after_ms = read_number(value, plan->retry_after_ms);
        else if (is_word(word, "fail", &value) && aip_llm_kind_find(value))
                plan->fail_kind = aip_llm_kind_find(value);
}

static struct aip_simulated_plan read_plan(struct aip_str model_name)
{
        struct aip_simulated_plan plan = {.tokens = -1, .failures = -1, .rounds = 1};
        while (model_name.n > 0) {
                const char *comma = memchr(model_name.p, ',', model_name.n);
                size_t n = comma ? (size_t)(comma - model_name.p) : model_name.n;
                size_t used = comma ? n + 1 : n;
                read_word(aip_str_make(model_name.p, n), &plan);
                model_name = aip_str_make(model_name.p + used, model_name.n - used);
        }
        if (plan.failures > 0 && !plan.fail_kind)
                plan.fail_kind = AIP_LLM_PROVIDER_OVERLOADED;
        return plan;
}

struct aip_simulated_plan aip_simulated_plan_of(const struct aip_llm_call *call)
{
        return read_plan(aip_llm_config_fields(call->config)->model_name);
}

/* ---- answers ---- */

/* FNV-1a: the same in every process, unlike the kernel's keyed hash. */
static uint64_t hash(uint64_t h, struct aip_str text)
{
        for (size_t i = 0; i < text.n; i++)
                h = (h ^ (unsigned char)text.p[i]) * 0x100000001b3;
        return h;
}

uint64_t aip_simulated_hash(const struct aip_llm_call *call)
{
        uint64_t h = 0xcbf29ce484222325;
        for (size_t i = 0; i < call->n_messages; i++) {
                char role = (char)call->messages[i].role;
                h = hash(hash(h, aip_str_make(&role, 1)), call->messages[i].content);
        }
        return h;
}

static const char *pick(const char *const *lines, size_t n, uint64_t *h)
{
        *h = (*h ^ (*h >> 29)) * 0xbf58476d1ce4e5b9;
        return lines[(*h >> 32) % n];
}

static int append_haiku(struct aip_buf *out, uint64_t h)
{
        static const char *const first[] = {
                "Quiet cursor blinks",   "A prompt drifts in late",  "Keys rest in moonlight",
                "Rain on the server",    "One small question waits", "Morning in the logs",
                "The queue hums softly", "Snow on the console",
        };
        static const char *const second[] = {
                "no model was asked today",        "words made up from a table",
                "a stand-in bows and answers",     "loops unwind into silence",
                "bytes settle like autumn leaves", "the build turns green, then quiet",
                "somewhere a compiler sighs",      "the stack remembers its steps",
        };
        static const char *const third[] = {
                "the real one sleeps on", "all the same, hello",   "tests pass in the dark",
                "a key opens more",       "tomorrow, new prompts", "the cursor blinks on",
                "return zero, rest",      "spring merges to main",
        };
        const char *a = pick(first, AIP_ARRAY_SIZE(first), &h);
        const char *b = pick(second, AIP_ARRAY_SIZE(second), &h);
        return aip_buf_printf(out, "%s —\n%s,\n%s.", a, b, pick(third, AIP_ARRAY_SIZE(third), &h));
}

static struct aip_str last_user_message(const struct aip_llm_call *call)
{
        struct aip_str found = {NULL, 0};
        for (size_t i = 0; i < call->n_messages; i++) {
                if (call->messages[i].role == AIP_LLM_USER)
                        found = call->messages[i].content;
        }
        return found;
}

static int append_poem(struct aip_buf *out, const struct aip_llm_call *call)
{
        struct aip_str prompt = last_user_message(call);
        int r = append_haiku(out, aip_simulated_hash(call));
        if (r == 0)
                r = aip_buf_append_cstr(out, "\n\n(in place of an answer to: ");
        if (r == 0)
                r = aip_llm_append_foreign(out, prompt, QUOTE_BYTES, (struct aip_str){NULL, 0});
        return r < 0 ? r : aip_buf_append_char(out, ')');
}

static int append_words(struct aip_buf *out, int64_t n, uint64_t h)
{
        static const char *const words[] = {"lorem", "ipsum",  "dolor", "sit",  "amet", "sed",
                                            "magna", "aliqua", "quis",  "nisi", "urna", "vita"};
        int r = 0;
        for (int64_t i = 0; r == 0 && i < n; i++)
                r = aip_buf_printf(out, i ? " %s" : "%s", pick(words, AIP_ARRAY_SIZE(words), &h));
        return r;
}

static int append_echo(struct aip_buf *out, const struct aip_llm_call *call)
{
        static const char *const labels[] = {"system: ", "user: ", "assistant: ", "tool: "};
        int r = 0;
        for (size_t i = 0; r == 0 && i < call->n_messages; i++) {
                if (i > 0)
                        r = aip_buf_append_char(out, '\n');
                if (r == 0)
                        r = aip_buf_append_cstr(out, labels[call->messages[i].role]);
                if (r == 0)
                        r = aip_buf_append(out, call->messages[i].content);
        }
        return r;
}

static int64_t tokens_of_bytes(size_t n)
{
        return (int64_t)((n + 3) / 4);
}

static int64_t input_tokens(const struct aip_llm_call *call)
{
        size_t bytes = 0;
        for (size_t i = 0; i < call->n_messages; i++)
                bytes += call->messages[i].content.n;
        return tokens_of_bytes(bytes);
}

/* ---- tools ---- */

/* The JSON object that the user wrote, if the last message has one: arguments to call with. */
static aip_value *written_object(const struct aip_llm_call *call)
{
        struct aip_str text = last_user_message(call);
        const char *begin = text.n ? memchr(text.p, '{', text.n) : NULL;
        const char *end = text.n ? memrchr(text.p, '}', text.n) : NULL;
        aip_value *value = NULL;
        if (!begin || !end || end < begin)
                return NULL;
        aip_value_parse(aip_str_make(begin, (size_t)(end - begin) + 1), &value, NULL);
        return value;
}

/* The same call always has the same id, and each of a conversation its own. */
static aip_value *call_id(const struct aip_llm_call *call, size_t index)
{
        char id[64];
        snprintf(id, sizeof(id), "sim-%016llx-%zu", (unsigned long long)aip_simulated_hash(call),
                 index);
        return aip_value_string(aip_str_of(id));
}

static int append_call(aip_value **calls, const struct aip_llm_call *call, const aip_value *tool)
{
        _cleanup_(aip_value_unref_p) aip_value *made = aip_value_object();
        aip_value *arguments = written_object(call);
        if (!arguments)
                arguments = aip_schema_example(aip_value_get_cstr(tool, "parameters"));
        int r = made ? aip_value_object_set_cstr(&made, "id", call_id(call, aip_value_size(*calls)))
                     : AIP_ENOMEM;
        if (r == 0)
                r = aip_value_object_set_cstr(&made, "name",
                                              aip_value_ref(aip_value_get_cstr(tool, "name")));
        if (r == 0)
                r = aip_value_object_set_cstr(&made, "arguments", AIP_TAKE(arguments));
        aip_value_unref(arguments);
        return r < 0 ? r : aip_value_list_append(calls, AIP_TAKE(made));
}

static int is_named(struct aip_str names, struct aip_str name)
{
        while (names.n > 0) {
                const char *plus = memchr(names.p, '+', names.n);
                size_t n = plus ? (size_t)(plus - names.p) : names.n;
                size_t used = plus ? n + 1 : n;
                if (aip_str_eq(aip_str_make(names.p, n), name))
                        return 1;
                names = aip_str_make(names.p + used, names.n - used);
        }
        return 0;
}

/* How often tools were called since the user spoke last. */
static int64_t rounds_so_far(const struct aip_llm_call *call)
{
        int64_t n = 0;
        for (size_t i = call->n_messages; i-- > 0 && call->messages[i].role != AIP_LLM_USER;)
                n += aip_value_size(call->messages[i].tool_calls) > 0;
        return n;
}

static int calls_tools(const struct aip_llm_call *call, const struct aip_simulated_plan *plan)
{
        if (aip_value_size(call->tools) == 0 || call->tool_choice == AIP_LLM_TOOLS_NONE)
                return 0;
        return (plan->is_calling || call->tool_choice != AIP_LLM_TOOLS_AUTO) &&
               rounds_so_far(call) < plan->rounds;
}

static int make_calls(const struct aip_llm_call *call, const struct aip_simulated_plan *plan,
                      aip_value **ret_calls)
{
        _cleanup_(aip_value_unref_p) aip_value *calls = aip_value_list();
        struct aip_str names = plan->tool_names;
        int r = calls ? 0 : AIP_ENOMEM;
        if (call->tool_choice == AIP_LLM_TOOLS_NAMED)
                names = call->tool_choice_name;
        for (size_t i = 0; r == 0 && i < aip_value_size(call->tools); i++) {
                const aip_value *tool = aip_value_at(call->tools, i);
                if (names.n == 0 ? i == 0
                                 : is_named(names,
                                            aip_value_as_string(aip_value_get_cstr(tool, "name"))))
                        r = append_call(&calls, call, tool);
        }
        if (r == 0 && aip_value_size(calls) > 0)
                *ret_calls = AIP_TAKE(calls);
        return r;
}

/* Structured output: made from the schema; its strings carry the label. */
static int append_example(struct aip_buf *out, const aip_value *schema)
{
        _cleanup_(aip_value_unref_p) aip_value *example = aip_schema_example(schema);
        return example ? aip_value_print(example, out, NULL) : AIP_ENOMEM;
}

/* Writes the text; a token asked for by "tokens=n" is a word. */
static int append_text(struct aip_buf *out, const struct aip_llm_call *call,
                       const struct aip_simulated_plan *plan, struct aip_llm_answer *answer)
{
        int64_t max_tokens = aip_llm_config_fields(call->config)->max_tokens;
        int r = 0;
        if (call->output_schema)
                r = append_example(out, call->output_schema);
        else
                r = aip_buf_append_cstr(out, AIP_SIMULATED_LABEL);
        if (r < 0)
                return r;
        if (call->output_schema)
                answer->finish_reason = AIP_LLM_FINISH_STOP;
        else if (plan->echo)
                r = append_echo(out, call);
        else if (plan->tokens >= 0)
                r = append_words(out, AIP_MIN(plan->tokens, max_tokens), aip_simulated_hash(call));
        else
                r = append_poem(out, call);
        answer->finish_reason =
                plan->tokens > max_tokens ? AIP_LLM_FINISH_LENGTH : AIP_LLM_FINISH_STOP;
        answer->output_tokens =
                plan->tokens >= 0 ? AIP_MIN(plan->tokens, max_tokens) : tokens_of_bytes(out->n);
        return r;
}

int aip_simulated_answer(const struct aip_llm_call *call, const struct aip_simulated_plan *plan,
                         struct aip_llm_answer *ret_answer)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(ANSWER_MAX_BYTES);
        _cleanup_(aip_buf_deinit) struct aip_buf id = AIP_BUF_INIT(64);
        struct aip_llm_answer answer = {.provider = AIP_SIMULATED_NAME,
                                        .input_tokens = input_tokens(call)};
        int r = calls_tools(call, plan) ? make_calls(call, plan, &answer.tool_calls) : 0;
        if (r == 0 && answer.tool_calls)
                answer.finish_reason = AIP_LLM_FINISH_TOOL_CALLS;
        else if (r == 0)
                r = append_text(&text, call, plan, &answer);
        if (r == 0)
                r = aip_buf_printf(&id, "sim-%016llx",
                                   (unsigned long long)aip_simulated_hash(call));
        if (r < 0) {
                aip_value_unref(answer.tool_calls);
                return r;
        }
        answer.content_bytes = text.n;
        answer.content = aip_buf_take(&text);
        answer.response_id = aip_buf_take(&id);
        answer.model_name = aip_str_dup(aip_llm_config_fields(call->config)->model_name);
        if (!answer.content || !answer.response_id || !answer.model_name) {
                aip_llm_answer_deinit(&answer);
                return AIP_ENOMEM;
        }
        *ret_answer = answer;
        return 0;
}
