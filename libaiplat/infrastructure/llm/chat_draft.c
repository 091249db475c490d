/* See chat_draft.h. */
#include "llm/chat_draft.h"
#include "llm/chat_llm.h"
#include "llm/provider_error.h"
#include "macros.h"
#include "mem.h"

#define TOOL_CALLS_MAX 1000
#define NO_WORDS       ((struct aip_str){NULL, 0})

void aip_chat_draft_init(struct aip_chat_draft *draft, struct aip_llm_call *call,
                         struct aip_str secret)
{
        *draft = (struct aip_chat_draft){
                .call = call,
                .secret = secret,
                .usage = {-1, -1, -1, -1, -1, 0},
                .finish_reason = AIP_LLM_FINISH_OTHER,
                .output_key = -1,
        };
        aip_buf_init(&draft->content, AIP_CHAT_ANSWER_MAX_BYTES);
        aip_buf_init(&draft->aside, AIP_CHAT_ANSWER_MAX_BYTES);
        aip_buf_init(&draft->refusal, AIP_CHAT_ANSWER_MAX_BYTES);
        aip_buf_init(&draft->response_id, AIP_CHAT_ANSWER_MAX_BYTES);
        aip_buf_init(&draft->model_name, AIP_CHAT_ANSWER_MAX_BYTES);
        aip_buf_init(&draft->scratch, SIZE_MAX / 4);
        aip_buf_init(&draft->clean, SIZE_MAX / 4);
}

void aip_chat_draft_deinit(struct aip_chat_draft *draft)
{
        for (size_t i = 0; i < draft->n_tools; i++) {
                aip_buf_deinit(&draft->tools[i].id);
                aip_buf_deinit(&draft->tools[i].name);
                aip_buf_deinit(&draft->tools[i].arguments);
        }
        aip_free(draft->tools);
        aip_buf_deinit(&draft->content);
        aip_buf_deinit(&draft->aside);
        aip_buf_deinit(&draft->refusal);
        aip_buf_deinit(&draft->response_id);
        aip_buf_deinit(&draft->model_name);
        aip_buf_deinit(&draft->scratch);
        aip_buf_deinit(&draft->clean);
}

int aip_chat_offers_tools(const struct aip_llm_call *call)
{
        return aip_value_size(call->tools) > 0;
}

int aip_chat_draft_failed(int code, const struct aip_provider_reply *reply, aip_error **err)
{
        if (code == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        int r = aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                      "the answer is larger than the limit", NO_WORDS, err);
        if (err)
                aip_error_set_retryable(*err, 0, 0);
        return r;
}

/* ---- deltas ---- */

static int is_listening(const struct aip_chat_draft *draft)
{
        return draft->call->on_delta && !draft->is_muted;
}

static void pass_on(struct aip_chat_draft *draft, enum aip_llm_delta_kind kind, int32_t index,
                    struct aip_str text)
{
        const struct aip_llm_delta delta = {.kind = kind, .text = text, .index = index};
        if (text.n > 0 && is_listening(draft))
                draft->call->on_delta(draft->call, &delta);
}

/* The longest end of `text` that a key may begin with. */
static size_t secret_begun(struct aip_str text, struct aip_str secret)
{
        size_t n = AIP_MIN(text.n, secret.n - 1);
        while (n > 0 && memcmp(text.p + text.n - n, secret.p, n) != 0)
                n--;
        return n;
}

/* What of `text` cannot be part of a key that goes on in the next piece. */
static struct aip_str without_begun_secret(struct aip_str text, struct aip_str secret)
{
        struct aip_str rest = text;
        const char *found;
        while (rest.n > 0 && (found = memmem(rest.p, rest.n, secret.p, secret.n))) {
                size_t used = (size_t)(found - rest.p) + secret.n;
                rest = aip_str_make(rest.p + used, rest.n - used);
        }
        return aip_str_make(text.p, text.n - secret_begun(rest, secret));
}

/* The other text begins, or there is no more. */
static void flush_held(struct aip_chat_draft *draft)
{
        size_t n = draft->n_held;
        draft->n_held = 0;
        pass_on(draft, draft->held_kind, draft->held_index, aip_str_make(draft->secret.p, n));
}

static int pass_on_redacted(struct aip_chat_draft *draft, struct aip_str text)
{
        struct aip_str secret = draft->secret;
        aip_buf_clear(&draft->scratch);
        aip_buf_clear(&draft->clean);
        int r = aip_buf_append(&draft->scratch, aip_str_make(secret.p, draft->n_held));
        if (r == 0)
                r = aip_buf_append(&draft->scratch, text);
        struct aip_str all = aip_buf_str(&draft->scratch);
        struct aip_str ready = without_begun_secret(all, secret);
        if (r == 0)
                r = aip_llm_append_redacted(&draft->clean, ready, secret);
        if (r < 0)
                return r;
        draft->n_held = all.n - ready.n;
        pass_on(draft, draft->held_kind, draft->held_index, aip_buf_str(&draft->clean));
        return 0;
}

static int emit(struct aip_chat_draft *draft, enum aip_llm_delta_kind kind, int32_t index,
                struct aip_str text)
{
        if (text.n == 0 || !is_listening(draft))
                return 0;
        if (!aip_provider_is_secret(draft->secret)) {
                pass_on(draft, kind, index, text);
                return 0;
        }
        if (draft->held_kind != kind || draft->held_index != index)
                flush_held(draft);
        draft->held_kind = kind;
        draft->held_index = index;
        return pass_on_redacted(draft, text);
}

/* ---- text ---- */

int aip_chat_draft_text(struct aip_chat_draft *draft, struct aip_str text)
{
        int r = aip_buf_append(&draft->content, text);
        return r < 0 ? r : emit(draft, AIP_LLM_DELTA_TEXT, 0, text);
}

int aip_chat_draft_aside(struct aip_chat_draft *draft, struct aip_str text)
{
        return aip_buf_append(&draft->aside, text);
}

int aip_chat_draft_reasoning(struct aip_chat_draft *draft, struct aip_str text)
{
        return emit(draft, AIP_LLM_DELTA_REASONING, 0, text);
}

int aip_chat_draft_refusal(struct aip_chat_draft *draft, struct aip_str text)
{
        return aip_buf_append(&draft->refusal, text);
}

int aip_chat_draft_identity(struct aip_chat_draft *draft, const aip_value *root)
{
        int r = 0;
        if (draft->response_id.n == 0)
                r = aip_buf_append(&draft->response_id,
                                   aip_value_as_string(aip_value_get_cstr(root, "id")));
        if (r == 0 && draft->model_name.n == 0)
                r = aip_buf_append(&draft->model_name,
                                   aip_value_as_string(aip_value_get_cstr(root, "model")));
        return r;
}

void aip_chat_draft_count(int64_t *count, const aip_value *usage, const char *name)
{
        int64_t n = aip_chat_tokens(usage, name);
        if (n >= 0)
                *count = n;
}

void aip_chat_draft_reason(struct aip_chat_draft *draft, const struct aip_chat_reason *table,
                           const aip_value *word)
{
        if (aip_value_type(word) != AIP_VALUE_STRING)
                return;
        draft->has_finish_reason = 1;
        draft->finish_reason = AIP_LLM_FINISH_OTHER;
        for (; table->name; table++) {
                if (aip_str_eq(aip_str_of(table->name), aip_value_as_string(word)))
                        draft->finish_reason = table->reason;
        }
}

/* ---- tool calls ---- */

static struct aip_chat_tool_draft *find_tool(struct aip_chat_draft *draft, int64_t key)
{
        for (size_t i = draft->n_tools; i-- > 0;) {
                if (draft->tools[i].key == key)
                        return &draft->tools[i];
        }
        return NULL;
}

static int add_tool(struct aip_chat_draft *draft, int64_t key,
                    struct aip_chat_tool_draft **ret_tool)
{
        if (draft->n_tools >= TOOL_CALLS_MAX)
                return AIP_ELIMIT;
        if (draft->n_tools == draft->tools_capacity) {
                size_t capacity = draft->tools_capacity ? draft->tools_capacity * 2 : 4;
                void *tools = aip_realloc_array(draft->tools, capacity, sizeof(*draft->tools));
                if (!tools)
                        return AIP_ENOMEM;
                draft->tools = tools;
                draft->tools_capacity = capacity;
        }
        struct aip_chat_tool_draft *tool = &draft->tools[draft->n_tools++];
        *tool = (struct aip_chat_tool_draft){.key = key};
        aip_buf_init(&tool->id, AIP_CHAT_ANSWER_MAX_BYTES);
        aip_buf_init(&tool->name, AIP_CHAT_ANSWER_MAX_BYTES);
        aip_buf_init(&tool->arguments, AIP_CHAT_ANSWER_MAX_BYTES);
        *ret_tool = tool;
        return 0;
}

static int32_t tool_index(const struct aip_chat_draft *draft,
                          const struct aip_chat_tool_draft *tool)
{
        return (int32_t)(tool - draft->tools);
}

/* Some servers send no ids, but the answer of a tool must be able to name its call. */
static int make_up_id(struct aip_chat_draft *draft, struct aip_chat_tool_draft *tool)
{
        int r = aip_buf_append_cstr(&tool->id, "call_");
        if (r == 0 && draft->response_id.n > 0)
                r = aip_buf_append(&tool->id, aip_buf_str(&draft->response_id));
        if (r == 0 && draft->response_id.n > 0)
                r = aip_buf_append_char(&tool->id, '_');
        return r < 0 ? r : aip_buf_append_int(&tool->id, tool_index(draft, tool));
}

static int pass_on_begin(struct aip_chat_draft *draft, const struct aip_chat_tool_draft *tool)
{
        aip_buf_clear(&draft->scratch);
        aip_buf_clear(&draft->clean);
        int r = aip_provider_append_clean(&draft->scratch, aip_buf_str(&tool->id), draft->secret);
        if (r == 0)
                r = aip_provider_append_clean(&draft->clean, aip_buf_str(&tool->name),
                                              draft->secret);
        if (r < 0)
                return r;
        const struct aip_llm_delta delta = {
                .kind = AIP_LLM_DELTA_TOOL_CALL_BEGIN,
                .index = tool_index(draft, tool),
                .tool_call_id = aip_buf_str(&draft->scratch),
                .tool_name = aip_buf_str(&draft->clean),
        };
        draft->call->on_delta(draft->call, &delta);
        return 0;
}

/* Its name is known: from now on its arguments are passed on as they come. */
static int begin_tool(struct aip_chat_draft *draft, struct aip_chat_tool_draft *tool)
{
        int r = tool->id.n == 0 ? make_up_id(draft, tool) : 0;
        tool->is_begun = 1;
        if (r < 0 || !is_listening(draft) || !aip_chat_offers_tools(draft->call))
                return r;
        flush_held(draft);
        if (is_listening(draft))
                r = pass_on_begin(draft, tool);
        if (r < 0 || tool->arguments.n == 0)
                return r;
        return emit(draft, AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS, tool_index(draft, tool),
                    aip_buf_str(&tool->arguments));
}

static int is_another(const struct aip_chat_tool_draft *tool, struct aip_str id,
                      struct aip_str name)
{
        return tool->is_begun && id.n > 0 && name.n > 0 && !aip_str_eq(aip_buf_str(&tool->id), id);
}

int aip_chat_draft_tool(struct aip_chat_draft *draft, int64_t key, struct aip_str id,
                        struct aip_str name)
{
        struct aip_chat_tool_draft *tool = find_tool(draft, key);
        int r = 0;
        if (!tool || is_another(tool, id, name))
                r = add_tool(draft, key, &tool);
        if (r == 0 && tool->id.n == 0)
                r = aip_buf_append(&tool->id, id);
        if (r < 0 || tool->is_begun || name.n == 0)
                return r;
        r = aip_buf_append(&tool->name, name);
        return r < 0 ? r : begin_tool(draft, tool);
}

int aip_chat_draft_arguments(struct aip_chat_draft *draft, int64_t key, struct aip_str text)
{
        struct aip_chat_tool_draft *tool = find_tool(draft, key);
        if (!tool)
                return 0;
        int r = aip_buf_append(&tool->arguments, text);
        if (r < 0 || !tool->is_begun || !aip_chat_offers_tools(draft->call))
                return r;
        return emit(draft, AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS, tool_index(draft, tool), text);
}

/* ---- the end ---- */

/* Set a member to a copy of foreign text, without the key. */
static int set_text(aip_value **object, const char *member, struct aip_str text,
                    struct aip_str secret)
{
        _cleanup_(aip_buf_deinit) struct aip_buf clean = AIP_BUF_INIT(SIZE_MAX / 4);
        if (aip_provider_append_clean(&clean, text, secret) < 0)
                return AIP_ENOMEM;
        return aip_value_object_set_cstr(object, member, aip_value_string(aip_buf_str(&clean)));
}

static int set_bad_arguments(aip_value **call, struct aip_str text, const char *why)
{
        int r = aip_value_object_set_cstr(call, "arguments_text", aip_value_string(text));
        return r < 0 ? r
                     : aip_value_object_set_cstr(call, "arguments_error",
                                                 aip_value_string(aip_str_of(why)));
}

/* A tool without arguments is called with none at all by some. */
static int set_arguments(aip_value **call, struct aip_str text, struct aip_str secret)
{
        _cleanup_(aip_buf_deinit) struct aip_buf clean = AIP_BUF_INIT(SIZE_MAX / 4);
        _cleanup_(aip_error_free_p) aip_error *why = NULL;
        _cleanup_(aip_value_unref_p) aip_value *arguments = NULL;
        if (aip_provider_append_clean(&clean, text, secret) < 0)
                return AIP_ENOMEM;
        text = aip_buf_str(&clean);
        if (aip_chat_is_blank(text))
                return aip_value_object_set_cstr(call, "arguments", aip_value_object());
        int r = aip_value_parse(text, &arguments, &why);
        if (r == AIP_ENOMEM)
                return r;
        if (r < 0)
                return set_bad_arguments(call, text, aip_error_message(why));
        if (aip_value_type(arguments) != AIP_VALUE_OBJECT)
                return set_bad_arguments(call, text, "the arguments are no JSON object");
        return aip_value_object_set_cstr(call, "arguments", AIP_TAKE(arguments));
}

static int append_tool_call(aip_value **calls, const struct aip_chat_tool_draft *tool,
                            struct aip_str secret)
{
        _cleanup_(aip_value_unref_p) aip_value *call = aip_value_object();
        int r = call ? set_text(&call, "id", aip_buf_str(&tool->id), secret) : AIP_ENOMEM;
        if (r == 0)
                r = set_text(&call, "name", aip_buf_str(&tool->name), secret);
        if (r == 0)
                r = set_arguments(&call, aip_buf_str(&tool->arguments), secret);
        return r < 0 ? r : aip_value_list_append(calls, AIP_TAKE(call));
}

static int make_tool_calls(const struct aip_chat_draft *draft, aip_value **ret_calls)
{
        _cleanup_(aip_value_unref_p) aip_value *calls = NULL;
        if (draft->n_tools == 0 || !aip_chat_offers_tools(draft->call))
                return 0;
        calls = aip_value_list();
        int r = calls ? 0 : AIP_ENOMEM;
        for (size_t i = 0; r == 0 && i < draft->n_tools; i++)
                r = append_tool_call(&calls, &draft->tools[i], draft->secret);
        if (r == 0)
                *ret_calls = AIP_TAKE(calls);
        return r;
}

/* Servers that were told which tool to call say "stop" afterwards; structured output that came as a
 * call of a tool is no call. */
static enum aip_llm_finish_reason finish_reason(const struct aip_chat_draft *draft)
{
        enum aip_llm_finish_reason reason = draft->finish_reason;
        int has_calls = draft->n_tools > 0 && aip_chat_offers_tools(draft->call);
        if (has_calls && (reason == AIP_LLM_FINISH_STOP || reason == AIP_LLM_FINISH_OTHER))
                return AIP_LLM_FINISH_TOOL_CALLS;
        if (draft->has_output && !has_calls && reason == AIP_LLM_FINISH_TOOL_CALLS)
                return AIP_LLM_FINISH_STOP;
        return reason;
}

static int64_t whole_input(const struct aip_chat_usage *usage)
{
        int64_t n = usage->input;
        if (n < 0 || !usage->is_cached_apart)
                return n;
        return n + AIP_MAX(usage->cache_written, INT64_C(0)) + AIP_MAX(usage->cached, INT64_C(0));
}

/* "" stays NULL. */
static int copy_optional(const struct aip_provider_reply *reply, const struct aip_buf *text,
                         char **ret_copy)
{
        size_t n;
        if (text->n == 0)
                return 0;
        *ret_copy = aip_provider_copy(reply, aip_buf_str(text), &n);
        return *ret_copy ? 0 : AIP_ENOMEM;
}

static int fill(const struct aip_chat_draft *draft, const struct aip_provider_reply *reply,
                struct aip_llm_answer *answer)
{
        answer->provider = reply->provider;
        answer->finish_reason = finish_reason(draft);
        answer->input_tokens = whole_input(&draft->usage);
        answer->output_tokens = draft->usage.output;
        answer->cached_tokens = draft->usage.cached;
        answer->reasoning_tokens = draft->usage.reasoning;
        answer->content =
                aip_provider_copy(reply, aip_buf_str(&draft->content), &answer->content_bytes);
        int r = answer->content ? 0 : AIP_ENOMEM;
        if (r == 0)
                r = copy_optional(reply, &draft->response_id, &answer->response_id);
        if (r == 0)
                r = copy_optional(reply, &draft->model_name, &answer->model_name);
        return r < 0 ? r : make_tool_calls(draft, &answer->tool_calls);
}

static int has_nameless_tool(const struct aip_chat_draft *draft)
{
        for (size_t i = 0; i < draft->n_tools; i++) {
                if (!draft->tools[i].is_begun)
                        return 1;
        }
        return 0;
}

/* No text and no tools to call: why? */
static int complain_empty(const struct aip_chat_draft *draft,
                          const struct aip_provider_reply *reply, aip_error **err)
{
        if (draft->refusal.n > 0)
                return aip_provider_complain(reply, AIP_LLM_POLICY_REFUSED, "the model refused",
                                             aip_buf_str(&draft->refusal), err);
        return aip_chat_complain_empty(reply, draft->finish_reason, draft->n_tools > 0, err);
}

int aip_chat_draft_finish(struct aip_chat_draft *draft, const struct aip_provider_reply *reply,
                          struct aip_llm_answer *ret_answer, aip_error **err)
{
        struct aip_llm_answer answer = {0};
        int r = 0;
        if (aip_chat_is_blank(aip_buf_str(&draft->content)) && draft->aside.n > 0)
                r = aip_chat_draft_text(draft, aip_buf_str(&draft->aside));
        if (r < 0)
                return aip_chat_draft_failed(r, reply, err);
        flush_held(draft);
        int offers_tools = aip_chat_offers_tools(draft->call);
        if (offers_tools && has_nameless_tool(draft))
                return aip_provider_complain(reply, AIP_LLM_PROVIDER_BAD_ANSWER,
                                             "the model calls a tool without a name", NO_WORDS,
                                             err);
        if (aip_chat_is_blank(aip_buf_str(&draft->content)) &&
            !(offers_tools && draft->n_tools > 0))
                return complain_empty(draft, reply, err);
        if (fill(draft, reply, &answer) < 0) {
                aip_llm_answer_deinit(&answer);
                return aip_error_set_nomem(err);
        }
        *ret_answer = answer;
        return 0;
}
