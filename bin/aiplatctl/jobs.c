/* submit, status, wait, list, cancel: jobs, by way of the gateway. */
#include <aiplat/id.h>
#include <aiplat/job.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "command.h"
#include "output.h"
#include "text.h"
#include "watch.h"

#define WAIT_STEP_S 1 /* a wait goes by steps, so that progress can be shown */

enum {
        KEY_CONFIG = 'c',
        KEY_TEMPLATE = 't',
        KEY_VARIABLE = 'v',
        KEY_WAIT = 'w',
        KEY_GRAPH = 'g',
        KEY_INPUT = 'i',
        KEY_METADATA = 0x300,
        KEY_MAX_ATTEMPTS,
        KEY_DELAY,
        KEY_RUN_AT,
        KEY_IDEMPOTENCY_KEY,
        KEY_TIMEOUT,
        KEY_VALUE,
        KEY_ANSWERS,
        KEY_STATUS,
        KEY_LIMIT,
        KEY_CURSOR,
        KEY_STREAM,
        KEY_THREAD,
        KEY_STRATEGY,
        KEY_CHECKPOINT,
};

static double now_s(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ── one job, as an answer ───────────────────────────────────────────────────────────────────── */

static int job_path(const char *job_id, const char *after, struct aip_buf *path)
{
        int r;

        if ((r = aip_buf_append_cstr(path, "/v1/jobs/")) < 0 ||
            (r = client_escape(path, aip_str_of(job_id))) < 0)
                return r;
        return aip_buf_append_cstr(path, after);
}

static int is_at_rest(const aip_value *job)
{
        enum aip_job_status status;

        return aip_job_status_parse(aip_value_as_string(aip_value_get_cstr(job, "status")), &status,
                                    NULL) == 0 &&
               aip_job_status_is_at_rest(status);
}

/* What an interrupted job asks, a line a question. */
static void print_questions(const aip_value *questions)
{
        for (size_t i = 0; i < aip_value_size(questions); i++) {
                const aip_value *question = aip_value_at(questions, i);
                struct aip_str id = aip_value_as_string(aip_value_get_cstr(question, "id"));
                struct aip_buf text = AIP_BUF_INIT(TEXT_MAX_BYTES);

                if (aip_value_print(aip_value_get_cstr(question, "value"), &text, NULL) == 0)
                        fprintf(stderr, "%.*s asks: %s\n", (int)id.n, id.p ? id.p : "",
                                text.p ? text.p : "");
                aip_buf_deinit(&text);
        }
}

/* The answer on standard output; why there is none on standard error. */
static int print_answer(const struct reply *reply, int is_json)
{
        const aip_value *job = reply->value;
        struct aip_str status = aip_value_as_string(aip_value_get_cstr(job, "status"));
        struct aip_str result = aip_value_as_string(aip_value_get_cstr(job, "result"));
        struct aip_str error = aip_value_as_string(aip_value_get_cstr(job, "error"));
        int is_completed = aip_str_eq(status, aip_str_of("COMPLETED"));

        if (is_json) {
                output_json(aip_buf_str(&reply->body));
        } else if (is_completed) {
                printf("%.*s\n", (int)result.n, result.p);
        } else {
                fprintf(stderr, "%s: the job is %.*s%s%.*s\n", program_invocation_short_name,
                        (int)status.n, status.p, error.p ? ": " : "", (int)error.n,
                        error.p ? error.p : "");
                print_questions(aip_value_get_cstr(job, "questions"));
        }
        return is_completed ? EXIT_OK : EXIT_FAILED;
}

/* Poll with ?wait= until the job has ended or asks, or the time is over. */
static int wait_for(const struct common *common, const char *job_id, double timeout_s)
{
        struct aip_buf path = AIP_BUF_INIT(4096);
        struct call call = {common->url, "GET", {NULL, 0}, NULL, NULL, 60};
        double began = now_s();
        int code = EXIT_FAILED, is_over = 0;
        char after[32];

        snprintf(after, sizeof(after), "?wait=%d", WAIT_STEP_S);
        if (job_path(job_id, after, &path) < 0)
                return EXIT_FAILED;
        call.path = aip_buf_str(&path);
        while (!is_over) {
                struct reply reply;
                aip_error *err = NULL;

                progress_show("waiting", now_s() - began);
                if (client_call(&call, &reply, &err) < 0) {
                        progress_end();
                        code = program_fail(err);
                        break;
                }
                is_over = reply.status != 200 || is_at_rest(reply.value);
                if (is_over)
                        progress_end();
                if (reply.status != 200) {
                        code = client_refused(&reply);
                } else if (is_over) {
                        code = print_answer(&reply, common->is_json);
                } else if (timeout_s > 0 && now_s() - began >= timeout_s) {
                        progress_end();
                        fprintf(stderr, "%s: the job has not ended within %g s\n",
                                program_invocation_short_name, timeout_s);
                        code = EXIT_TIMED_OUT;
                        is_over = 1;
                }
                reply_deinit(&reply);
        }
        aip_buf_deinit(&path);
        return code;
}

/* ── submit ──────────────────────────────────────────────────────────────────────────────────── */

struct submit {
        struct common common;
        const char *prompt;
        aip_value *body;
        aip_value *variables;
        const char *idempotency_key;
        int is_waiting;
        double timeout_s;
        int is_streaming;
};

static const struct argp_option submit_options[] = {
        {"config", KEY_CONFIG, "NAME", 0, "LLM configuration (default-smart)", 0},
        {"template", KEY_TEMPLATE, "NAME", 0, "Prompt template (default-assistant)", 0},
        {"var", KEY_VARIABLE, "NAME=VALUE", 0, "A variable of the template; may be repeated", 0},
        {"graph", KEY_GRAPH, "NAME", 0, "The graph to run (assistant)", 0},
        {"input", KEY_INPUT, "JSON", 0,
         "An object for the graph; with it, or with --thread, the prompt may be left out", 0},
        {"metadata", KEY_METADATA, "JSON", 0, "An object that is kept with the job", 0},
        {"max-attempts", KEY_MAX_ATTEMPTS, "N", 0, "Attempts in all (3)", 0},
        {"delay", KEY_DELAY, "SECONDS", 0, "Run it so much later", 0},
        {"run-at", KEY_RUN_AT, "TIME", 0, "Run it then, RFC 3339", 0},
        {"idempotency-key", KEY_IDEMPOTENCY_KEY, "KEY", 0,
         "Submit once, however often this is called with the same key", 0},
        {"wait", KEY_WAIT, NULL, 0, "Wait for the end and print the answer", 0},
        {"timeout", KEY_TIMEOUT, "SECONDS", 0, "Wait at most so long", 0},
        {"stream", KEY_STREAM, NULL, 0, "Print the answer as it is written", 0},
        {"thread", KEY_THREAD, "ID", 0,
         "The thread whose state it goes on from; its jobs run one after the other", 0},
        {"strategy", KEY_STRATEGY, "WORD", 0,
         "When a job of the thread has not ended: enqueue (wait), reject, interrupt (cancel that one), "
         "rollback (and what it did)",
         0},
        {"checkpoint", KEY_CHECKPOINT, "N", 0, "Begin with this state of the thread", 0},
        {0}};

static void set_member(struct argp_state *state, aip_value **object, const char *name,
                       aip_value *value)
{
        if (aip_value_object_set_cstr(object, name, value) < 0)
                argp_failure(state, EXIT_FAILED, 0, "out of memory");
}

static void set_variable(struct argp_state *state, aip_value **variables, const char *pair)
{
        const char *equals = strchr(pair, '=');

        if (!equals || equals == pair)
                argp_error(state, "--var wants NAME=VALUE, not '%s'", pair);
        if (aip_value_object_set(variables, aip_str_make(pair, (size_t)(equals - pair)),
                                 aip_value_string(aip_str_of(equals + 1))) < 0)
                argp_failure(state, EXIT_FAILED, 0, "out of memory");
}

static void set_json(struct argp_state *state, aip_value **body, const char *name, const char *json)
{
        aip_value *value = NULL;
        aip_error *err = NULL;

        if (aip_value_parse(aip_str_of(json), &value, &err) < 0)
                argp_error(state, "--%s: %s", name, aip_error_message(err));
        set_member(state, body, name, value);
}

static void set_text(struct argp_state *state, aip_value **body, const char *name, const char *text)
{
        set_member(state, body, name, aip_value_string(aip_str_of(text)));
}

static void set_number(struct argp_state *state, aip_value **body, const char *name,
                       const char *option, const char *text)
{
        set_member(state, body, name, aip_value_double(text_number(state, option, text)));
}

static error_t parse_submit(int key, char *argument, struct argp_state *state)
{
        struct submit *s = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &s->common;
                return 0;
        case KEY_CONFIG:
                set_text(state, &s->body, "config_name", argument);
                return 0;
        case KEY_TEMPLATE:
                set_text(state, &s->body, "template_name", argument);
                return 0;
        case KEY_VARIABLE:
                set_variable(state, &s->variables, argument);
                return 0;
        case KEY_GRAPH:
                set_text(state, &s->body, "graph_name", argument);
                return 0;
        case KEY_INPUT:
                set_json(state, &s->body, "input", argument);
                return 0;
        case KEY_METADATA:
                set_json(state, &s->body, "metadata", argument);
                return 0;
        case KEY_MAX_ATTEMPTS:
                set_number(state, &s->body, "max_attempts", "--max-attempts", argument);
                return 0;
        case KEY_DELAY:
                set_number(state, &s->body, "delay", "--delay", argument);
                return 0;
        case KEY_RUN_AT:
                set_text(state, &s->body, "run_at", argument);
                return 0;
        case KEY_IDEMPOTENCY_KEY:
                s->idempotency_key = argument;
                return 0;
        case KEY_WAIT:
                s->is_waiting = 1;
                return 0;
        case KEY_STREAM:
                s->is_streaming = 1;
                set_member(state, &s->body, "stream", aip_value_bool(1));
                return 0;
        case KEY_THREAD:
                set_text(state, &s->body, "thread_id", argument);
                return 0;
        case KEY_STRATEGY:
                set_text(state, &s->body, "multitask_strategy", argument);
                return 0;
        case KEY_CHECKPOINT:
                set_number(state, &s->body, "checkpoint", "--checkpoint", argument);
                return 0;
        case KEY_TIMEOUT:
                s->timeout_s = text_number(state, "--timeout", argument);
                return 0;
        case ARGP_KEY_ARG:
                if (s->prompt)
                        argp_error(state, "one prompt only; quote it");
                s->prompt = argument;
                return 0;
        case ARGP_KEY_NO_ARGS:
                if (aip_value_get_cstr(s->body, "input") ||
                    aip_value_get_cstr(s->body, "thread_id"))
                        return 0;
                argp_error(state, "a prompt is wanted, or - to read it from standard input");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static int print_submitted(const struct submit *s, const struct reply *reply)
{
        struct aip_str id = aip_value_as_string(aip_value_get_cstr(reply->value, "job_id"));
        char job_id[AIP_ID_TEXT_BYTES];

        snprintf(job_id, sizeof(job_id), "%.*s", (int)id.n, id.p ? id.p : "");
        if (s->is_streaming)
                return watch_job(&s->common, job_id);
        if (s->is_waiting) {
                return wait_for(&s->common, job_id, s->timeout_s);
        }
        if (s->common.is_json)
                output_json(aip_buf_str(&reply->body));
        else
                printf("%.*s\n", (int)id.n, id.p);
        return EXIT_OK;
}

/* A key of our own makes it safe to send again when the connection breaks. */
static const char *key_of(const struct submit *s, char own[AIP_ID_TEXT_BYTES])
{
        struct aip_id_source source;
        struct aip_id id;
        struct timespec t;

        if (s->idempotency_key)
                return s->idempotency_key;
        clock_gettime(CLOCK_REALTIME, &t);
        aip_id_source_init(&source, aip_random_system());
        id = aip_id_next(&source, (int64_t)t.tv_sec * 1000000);
        return aip_id_format(&id, own);
}

static int send_submit(struct submit *s, struct aip_str prompt)
{
        char own_key[AIP_ID_TEXT_BYTES];
        struct call call = {s->common.url,      "POST", aip_str_of("/v1/jobs"), NULL,
                            key_of(s, own_key), 0};
        struct reply reply;
        aip_error *err = NULL;
        int code;

        if (s->prompt &&
            aip_value_object_set_cstr(&s->body, "prompt", aip_value_string(prompt)) < 0)
                return EXIT_FAILED;
        if (aip_value_size(s->variables) > 0 &&
            aip_value_object_set_cstr(&s->body, "variables", aip_value_ref(s->variables)) < 0)
                return EXIT_FAILED;
        call.body = s->body;
        if (client_call(&call, &reply, &err) < 0)
                return program_fail(err);
        code = reply.status == 201 ? print_submitted(s, &reply) : client_refused(&reply);
        reply_deinit(&reply);
        return code;
}

int cmd_submit(int argc, char **argv)
{
        static const struct argp argp = {submit_options,
                                         parse_submit,
                                         "PROMPT|-",
                                         "Submit a job to the gateway and print its id.",
                                         common_children,
                                         NULL,
                                         NULL};
        struct submit s = {COMMON_INIT, NULL, aip_value_object(), aip_value_object(), NULL, 0,
                           0,           0};
        struct aip_buf text = AIP_BUF_INIT(TEXT_MAX_BYTES);
        int code;

        command_parse(&argp, argc, argv, &s);
        code = s.prompt ? text_argument(s.prompt, &text) : EXIT_OK;
        if (code == EXIT_OK)
                code = send_submit(&s, aip_buf_str(&text));
        aip_buf_deinit(&text);
        aip_value_unref(s.body);
        aip_value_unref(s.variables);
        return code;
}

/* ── status, wait, cancel: commands about one job ────────────────────────────────────────────── */

struct one_job {
        struct common common;
        const char *job_id;
        double timeout_s;
};

static error_t parse_one_job(int key, char *argument, struct argp_state *state)
{
        struct one_job *o = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &o->common;
                return 0;
        case KEY_TIMEOUT:
                o->timeout_s = text_number(state, "--timeout", argument);
                return 0;
        case ARGP_KEY_ARG:
                if (o->job_id)
                        argp_error(state, "one job id only");
                o->job_id = argument;
                return 0;
        case ARGP_KEY_NO_ARGS:
                argp_error(state, "a job id is wanted");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static int call_job(const struct one_job *o, const char *method, const char *after,
                    const aip_value *body)
{
        struct aip_buf path = AIP_BUF_INIT(4096);
        struct call call = {o->common.url, method, {NULL, 0}, body, NULL, 0};
        struct reply reply;
        aip_error *err = NULL;
        int code = EXIT_OK;

        if (job_path(o->job_id, after, &path) < 0)
                return EXIT_FAILED;
        call.path = aip_buf_str(&path);
        if (client_call(&call, &reply, &err) < 0) {
                aip_buf_deinit(&path);
                return program_fail(err);
        }
        if (reply.status != 200)
                code = client_refused(&reply);
        else if (o->common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                output_object(reply.value);
        reply_deinit(&reply);
        aip_buf_deinit(&path);
        return code;
}

int cmd_status(int argc, char **argv)
{
        static const struct argp argp = {
                NULL, parse_one_job, "JOB_ID", "Show a job.", common_children, NULL, NULL};
        struct one_job o = {COMMON_INIT, NULL, 0};

        command_parse(&argp, argc, argv, &o);
        return call_job(&o, "GET", "", NULL);
}

int cmd_cancel(int argc, char **argv)
{
        static const struct argp argp = {NULL,
                                         parse_one_job,
                                         "JOB_ID",
                                         "Cancel a job; a model call in flight is stopped.",
                                         common_children,
                                         NULL,
                                         NULL};
        struct one_job o = {COMMON_INIT, NULL, 0};

        command_parse(&argp, argc, argv, &o);
        return call_job(&o, "POST", "/cancel", NULL);
}

int cmd_wait(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"timeout", KEY_TIMEOUT, "SECONDS", 0, "Wait at most so long (for ever)", 0}, {0}};
        static const struct argp argp = {
                options,
                parse_one_job,
                "JOB_ID",
                "Wait for the end of a job and print its answer, or, where it is interrupted, what "
                "it asks. Exits with 0 only when it completed.",
                common_children,
                NULL,
                NULL};
        struct one_job o = {COMMON_INIT, NULL, 0};

        command_parse(&argp, argc, argv, &o);
        return wait_for(&o.common, o.job_id, o.timeout_s);
}

/* ── resume ──────────────────────────────────────────────────────────────────────────────────── */

struct resume {
        struct common common;
        const char *job_id, *text;
        aip_value *body;
};

static const struct argp_option resume_options[] = {
        {"value", KEY_VALUE, "JSON", 0, "The answer, as JSON", 0},
        {"answers", KEY_ANSWERS, "JSON", 0,
         "An object: an answer under the id of each question, when there are several", 0},
        {0}};

static error_t parse_resume(int key, char *argument, struct argp_state *state)
{
        struct resume *r = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &r->common;
                return 0;
        case KEY_VALUE:
                set_json(state, &r->body, "value", argument);
                return 0;
        case KEY_ANSWERS:
                set_json(state, &r->body, "answers", argument);
                return 0;
        case ARGP_KEY_ARG:
                if (r->job_id && r->text)
                        argp_error(state, "a job id and one answer only; quote it");
                if (r->job_id)
                        r->text = argument;
                else
                        r->job_id = argument;
                return 0;
        case ARGP_KEY_END:
                if (!r->job_id)
                        argp_error(state, "a job id is wanted");
                if ((r->text != NULL) + aip_value_size(r->body) != 1)
                        argp_error(state, "an answer is wanted: a text, --value or --answers");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

int cmd_resume(int argc, char **argv)
{
        static const struct argp argp = {resume_options,
                                         parse_resume,
                                         "JOB_ID [TEXT|-]",
                                         "Answer what an interrupted job asks; it goes on then.",
                                         common_children,
                                         NULL,
                                         NULL};
        struct resume r = {COMMON_INIT, NULL, NULL, aip_value_object()};
        struct aip_buf text = AIP_BUF_INIT(TEXT_MAX_BYTES);
        struct one_job o;
        int code;

        command_parse(&argp, argc, argv, &r);
        code = r.text ? text_argument(r.text, &text) : EXIT_OK;
        if (code == EXIT_OK && r.text &&
            aip_value_object_set_cstr(&r.body, "value", aip_value_string(aip_buf_str(&text))) < 0)
                code = EXIT_FAILED;
        o = (struct one_job){r.common, r.job_id, 0};
        if (code == EXIT_OK)
                code = call_job(&o, "POST", "/resume", r.body);
        aip_buf_deinit(&text);
        aip_value_unref(r.body);
        return code;
}

/* ── list ────────────────────────────────────────────────────────────────────────────────────── */

struct list {
        struct common common;
        struct aip_buf path;
        int n_arguments;
};

static const struct argp_option list_options[] = {
        {"status", KEY_STATUS, "STATUS[,STATUS]", 0, "Only jobs in these", 0},
        {"config", KEY_CONFIG, "NAME", 0, "Only jobs with this LLM configuration", 0},
        {"template", KEY_TEMPLATE, "NAME", 0, "Only jobs with this template", 0},
        {"thread", KEY_THREAD, "ID", 0, "Only jobs of this thread", 0},
        {"limit", KEY_LIMIT, "N", 0, "So many at most, 1–100 (20)", 0},
        {"cursor", KEY_CURSOR, "CURSOR", 0, "The next page: what the last one ended with", 0},
        {0}};

static void add_query(struct list *l, const char *name, const char *value)
{
        if (aip_buf_printf(&l->path, "%c%s=", l->n_arguments++ ? '&' : '?', name) < 0 ||
            client_escape(&l->path, aip_str_of(value)) < 0)
                exit(EXIT_FAILED);
}

static error_t parse_list(int key, char *argument, struct argp_state *state)
{
        struct list *l = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &l->common;
                return 0;
        case KEY_STATUS:
                add_query(l, "status", argument);
                return 0;
        case KEY_CONFIG:
                add_query(l, "config_name", argument);
                return 0;
        case KEY_TEMPLATE:
                add_query(l, "template_name", argument);
                return 0;
        case KEY_THREAD:
                add_query(l, "thread_id", argument);
                return 0;
        case KEY_LIMIT:
                add_query(l, "limit", argument);
                return 0;
        case KEY_CURSOR:
                add_query(l, "cursor", argument);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static void print_page(const struct list *l, const struct reply *reply)
{
        static const struct column columns[] = {
                {"job_id", "JOB", 36},         {"status", "STATUS", 11},
                {"created_at", "CREATED", 19}, {"config_name", "CONFIG", 24},
                {"attempt", "TRY", 3},         {"prompt", "PROMPT", 50}};
        struct aip_str cursor =
                aip_value_as_string(aip_value_get_cstr(reply->value, "next_cursor"));

        if (l->common.is_json) {
                output_json(aip_buf_str(&reply->body));
                return;
        }
        output_table(columns, sizeof(columns) / sizeof(columns[0]),
                     aip_value_get_cstr(reply->value, "jobs"));
        if (cursor.p)
                fprintf(stderr, "there are more: --cursor %.*s\n", (int)cursor.n, cursor.p);
}

int cmd_list(int argc, char **argv)
{
        static const struct argp argp = {
                list_options,    parse_list, NULL, "List jobs, newest first.",
                common_children, NULL,       NULL};
        struct list l = {COMMON_INIT, AIP_BUF_INIT(65536), 0};
        struct call call = {NULL, "GET", {NULL, 0}, NULL, NULL, 0};
        struct reply reply;
        aip_error *err = NULL;
        int code = EXIT_OK;

        if (aip_buf_append_cstr(&l.path, "/v1/jobs") < 0)
                return EXIT_FAILED;
        command_parse(&argp, argc, argv, &l);
        call.url = l.common.url;
        call.path = aip_buf_str(&l.path);
        if (client_call(&call, &reply, &err) < 0) {
                code = program_fail(err);
        } else {
                if (reply.status == 200)
                        print_page(&l, &reply);
                else
                        code = client_refused(&reply);
                reply_deinit(&reply);
        }
        aip_buf_deinit(&l.path);
        return code;
}
