/*
 * The simulated provider (see aiplat/adapters.h): for demos without a key, for tests and
 * benchmarks. It has no network and no clock of its own, and answers the same prompt with the same
 * words. It must never pass for a model: every answer begins with LABEL.
 *
 *     complete ──► [timer of the call, when a latency is asked for] ──► respond ──► done
 *
 * A waiting call costs no memory beyond its own, so that 100,000 may wait.
 */
#include "hash_map.h"
#include "llm/provider_error.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/adapters.h>

#define NAME             "simulated"
#define LABEL            "[simulated] "
#define ANSWER_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define QUOTE_BYTES      60
/* Jobs whose failures are counted: this many to twice as many of the latest are remembered. */
#define COUNTED_JOBS_MAX 65536

struct simulated_llm {
        struct aip_loop loop;
        struct aip_hash_map counts, older_counts; /* job id → calls so far, as a pointer's value */
};

/* What the model name asks for. */
struct plan {
        int echo;
        int64_t latency_ms, retry_after_ms;
        int64_t tokens;        /* -1: as it comes */
        int64_t failures;      /* -1: all calls, if any */
        const char *fail_kind; /* NULL: no failure */
};

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

static void read_word(struct aip_str word, struct plan *plan)
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
        else if (is_word(word, "retry-after", &value))
                plan->retry_after_ms = read_number(value, plan->retry_after_ms);
        else if (is_word(word, "fail", &value) && aip_llm_kind_find(value))
                plan->fail_kind = aip_llm_kind_find(value);
}

static struct plan read_plan(struct aip_str model_name)
{
        struct plan plan = {.tokens = -1, .failures = -1};
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

static struct plan plan_of(const struct aip_llm_call *call)
{
        return read_plan(aip_llm_config_fields(call->config)->model_name);
}

/* ---- failures ---- */

/* Count one more call of this job; the number before. When memory is out, nothing is counted. */
static int64_t count_call(struct simulated_llm *llm, const struct aip_id *job_id)
{
        static const struct aip_id no_job = {{0}};
        const struct aip_id *id = job_id ? job_id : &no_job;
        void *found = aip_hash_map_get_id(&llm->counts, id);
        if (!found)
                found = aip_hash_map_get_id(&llm->older_counts, id);
        uintptr_t count = (uintptr_t)found;
        if (llm->counts.n >= COUNTED_JOBS_MAX) {
                aip_hash_map_deinit(&llm->older_counts);
                llm->older_counts = llm->counts;
                llm->counts = (struct aip_hash_map){0};
        }
        int r = aip_hash_map_set_id(&llm->counts, id, (void *)(count + 1), NULL);
        return r < 0 ? INT64_MAX : (int64_t)count;
}

static int must_fail(struct simulated_llm *llm, const struct aip_llm_call *call,
                     const struct plan *plan)
{
        if (!plan->fail_kind)
                return 0;
        return plan->failures < 0 || count_call(llm, call->job_id) < plan->failures;
}

static aip_error *planned_failure(const struct plan *plan)
{
        aip_error *err = NULL;
        aip_llm_error_set(&err, plan->fail_kind, NAME ": told to fail with %s", plan->fail_kind);
        aip_error_set_retryable(err, aip_error_is_retryable(err), plan->retry_after_ms);
        return err;
}

/* ---- answers ---- */

/* FNV-1a: the same in every process, unlike the kernel's keyed hash. */
static uint64_t hash(uint64_t h, struct aip_str text)
{
        for (size_t i = 0; i < text.n; i++)
                h = (h ^ (unsigned char)text.p[i]) * 0x100000001b3;
        return h;
}

static uint64_t hash_messages(const struct aip_llm_call *call)
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
        int r = append_haiku(out, hash_messages(call));
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

/* Writes the text; a token asked for by "tokens=n" is a word. */
static int append_text(struct aip_buf *out, const struct aip_llm_call *call,
                       const struct plan *plan, struct aip_llm_answer *answer)
{
        int64_t max_tokens = aip_llm_config_fields(call->config)->max_tokens;
        int r = aip_buf_append_cstr(out, LABEL);
        if (r < 0)
                return r;
        if (plan->echo)
                r = append_echo(out, call);
        else if (plan->tokens >= 0)
                r = append_words(out, AIP_MIN(plan->tokens, max_tokens), hash_messages(call));
        else
                r = append_poem(out, call);
        answer->finish_reason =
                plan->tokens > max_tokens ? AIP_LLM_FINISH_LENGTH : AIP_LLM_FINISH_STOP;
        answer->output_tokens =
                plan->tokens >= 0 ? AIP_MIN(plan->tokens, max_tokens) : tokens_of_bytes(out->n);
        return r;
}

static int make_answer(const struct aip_llm_call *call, const struct plan *plan,
                       struct aip_llm_answer *ret_answer)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(ANSWER_MAX_BYTES);
        _cleanup_(aip_buf_deinit) struct aip_buf id = AIP_BUF_INIT(64);
        struct aip_llm_answer answer = {.provider = NAME, .input_tokens = input_tokens(call)};
        int r = append_text(&text, call, plan, &answer);
        if (r == 0)
                r = aip_buf_printf(&id, "sim-%016llx", (unsigned long long)hash_messages(call));
        if (r < 0)
                return r;
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

/* ---- the port ---- */

static void respond(struct simulated_llm *llm, struct aip_llm_call *call)
{
        struct plan plan = plan_of(call);
        aip_error *err = NULL;
        call->impl = NULL;
        call->ret_tries = 1;
        if (must_fail(llm, call, &plan)) {
                err = planned_failure(&plan);
        } else {
                int r = make_answer(call, &plan, &call->ret_answer);
                if (r == AIP_ELIMIT)
                        aip_llm_error_set(&err, AIP_LLM_CALLER_TOO_LARGE,
                                          NAME ": the answer would be too large");
                else if (r < 0)
                        aip_error_set_nomem(&err);
        }
        aip_op_finish(llm->loop, &call->op, err);
}

static void time_out(struct simulated_llm *llm, struct aip_llm_call *call)
{
        aip_error *err = NULL;
        int64_t deadline_ms = call->op.deadline_ms;
        call->impl = NULL;
        call->ret_tries = 1;
        aip_llm_error_set(&err, AIP_LLM_PROVIDER_TIMEOUT, NAME ": no answer in time");
        if (deadline_ms && aip_now_ms(llm->loop) >= deadline_ms)
                aip_error_set_retryable(err, 0, 0);
        aip_op_finish(llm->loop, &call->op, err);
}

/* How long the call may take: the configuration's time limit or what is left until its deadline. */
static int64_t time_left_ms(const struct simulated_llm *llm, const struct aip_llm_call *call)
{
        int64_t timeout_ms = aip_llm_config_fields(call->config)->timeout_ms;
        if (!call->op.deadline_ms)
                return timeout_ms;
        int64_t left_ms = call->op.deadline_ms - aip_now_ms(llm->loop);
        return AIP_MAX(AIP_MIN(left_ms, timeout_ms), INT64_C(0));
}

static void latency_passed(struct aip_timer *timer)
{
        struct aip_llm_call *call = AIP_CONTAINER_OF(timer, struct aip_llm_call, timer);
        respond(call->impl, call);
}

static void limit_passed(struct aip_timer *timer)
{
        struct aip_llm_call *call = AIP_CONTAINER_OF(timer, struct aip_llm_call, timer);
        time_out(call->impl, call);
}

static void complete(void *self, struct aip_llm_call *call)
{
        struct simulated_llm *llm = self;
        int64_t latency_ms = plan_of(call).latency_ms, left_ms = time_left_ms(llm, call);
        int is_late = left_ms <= latency_ms && (latency_ms > 0 || left_ms == 0);
        call->impl = llm;
        call->ret_tries = 0;
        if (latency_ms == 0 && !is_late) {
                respond(llm, call);
                return;
        }
        call->timer = (struct aip_timer){.fire = is_late ? limit_passed : latency_passed};
        aip_timer_set(llm->loop, &call->timer, is_late ? left_ms : latency_ms);
}

static void cancel(void *self, struct aip_llm_call *call)
{
        struct simulated_llm *llm = self;
        aip_error *err = NULL;
        if (!call->impl)
                return;
        call->impl = NULL;
        aip_timer_clear(llm->loop, &call->timer);
        call->ret_tries = 1;
        aip_llm_error_set(&err, AIP_LLM_INTERNAL_CANCELLED, NAME ": the call was cancelled");
        aip_op_finish(llm->loop, &call->op, err);
}

static void free_llm(void *self)
{
        struct simulated_llm *llm = self;
        aip_hash_map_deinit(&llm->counts);
        aip_hash_map_deinit(&llm->older_counts);
        aip_free(llm);
}

static const struct aip_llm_ops simulated_ops = {
        .self_size = sizeof(simulated_ops),
        .name = NAME,
        .complete = complete,
        .cancel = cancel,
        .free = free_llm,
};

int aip_simulated_llm_new(struct aip_loop loop, struct aip_llm *ret_llm, aip_error **err)
{
        struct simulated_llm *llm = aip_calloc(1, sizeof(*llm));
        if (!llm)
                return aip_error_set_nomem(err);
        llm->loop = loop;
        *ret_llm = (struct aip_llm){&simulated_ops, llm};
        return 0;
}
