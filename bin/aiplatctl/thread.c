/*
 * thread …: what the gateway keeps under /v1/threads: which threads there are, the state of one at any of its
 * checkpoints, and writing to it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client.h"
#include "command.h"
#include "output.h"
#include "text.h"

#define PATH_MAX_BYTES 65536

enum { KEY_LIMIT = 0x400, KEY_CURSOR, KEY_CHECKPOINT, KEY_NODE, KEY_GRAPH };

struct arguments {
        struct common common;
        const char *words[2]; /* ID, VALUES */
        int n_words, n_wanted;
        struct aip_buf query; /* "?a=b&c=d" */
        const char *checkpoint, *as_node, *graph;
        int is_body; /* the checkpoint belongs into it */
};

#define ARGUMENTS_INIT(n)                                                                          \
        {                                                                                          \
                .n_wanted = (n), .query = AIP_BUF_INIT(PATH_MAX_BYTES)                             \
        }

static void add_query(struct arguments *a, const char *name, const char *value)
{
        if (aip_buf_printf(&a->query, "%c%s=", a->query.n ? '&' : '?', name) < 0 ||
            client_escape(&a->query, aip_str_of(value)) < 0)
                exit(EXIT_FAILED);
}

static error_t parse_word(struct arguments *a, char *argument, struct argp_state *state)
{
        if (a->n_words == a->n_wanted)
                argp_error(state, "there is no use for '%s'", argument);
        a->words[a->n_words++] = argument;
        return 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
        struct arguments *a = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &a->common;
                return 0;
        case ARGP_KEY_ARG:
                return parse_word(a, argument, state);
        case ARGP_KEY_END:
                if (a->n_words < a->n_wanted)
                        argp_error(state, "too few arguments");
                return 0;
        case KEY_LIMIT:
                add_query(a, "limit", argument);
                return 0;
        case KEY_CURSOR:
                add_query(a, "cursor", argument);
                return 0;
        case KEY_CHECKPOINT:
                a->checkpoint = argument;
                if (!a->is_body)
                        add_query(a, "checkpoint", argument);
                return 0;
        case KEY_NODE:
                a->as_node = argument;
                return 0;
        case KEY_GRAPH:
                a->graph = argument;
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

/* /v1/threads, of one (`id`), and what of it (`tail`); EXIT_OK when the gateway did as it was asked. */
static int call(struct arguments *a, const char *method, const char *id, const char *tail,
                const aip_value *body, struct reply *ret_reply)
{
        struct aip_buf path = AIP_BUF_INIT(PATH_MAX_BYTES);
        struct call c = {a->common.url, method, {NULL, 0}, body, NULL, 0};
        aip_error *err = NULL;
        int r = aip_buf_append_cstr(&path, "/v1/threads"), code = EXIT_OK;

        if (r >= 0 && id && (r = aip_buf_append_char(&path, '/')) >= 0)
                r = client_escape(&path, aip_str_of(id));
        if (r >= 0)
                r = aip_buf_append_cstr(&path, tail);
        if (r >= 0)
                r = aip_buf_append(&path, aip_buf_str(&a->query));
        c.path = aip_buf_str(&path);
        if (r < 0)
                code = EXIT_FAILED;
        else if (client_call(&c, ret_reply, &err) < 0)
                code = program_fail(err);
        aip_buf_deinit(&path);
        aip_buf_deinit(&a->query);
        if (code == EXIT_OK && ret_reply->status != 200) {
                code = client_refused(ret_reply);
                reply_deinit(ret_reply);
        }
        return code;
}

/* ── pages ───────────────────────────────────────────────────────────────────────────────────── */

static const struct argp_option page_options[] = {
        {"limit", KEY_LIMIT, "N", 0, "So many at most, 1–100 (20)", 0},
        {"cursor", KEY_CURSOR, "CURSOR", 0, "The next page: what the last one ended with", 0},
        {0}};

static void print_page(const struct arguments *a, struct reply *reply, const char *member,
                       const struct column *columns, size_t n_columns)
{
        struct aip_str cursor =
                aip_value_as_string(aip_value_get_cstr(reply->value, "next_cursor"));

        if (a->common.is_json)
                output_json(aip_buf_str(&reply->body));
        else
                output_table(columns, n_columns, aip_value_get_cstr(reply->value, member));
        if (!a->common.is_json && cursor.p)
                fprintf(stderr, "there are more: --cursor %.*s\n", (int)cursor.n, cursor.p);
        reply_deinit(reply);
}

int cmd_thread_list(int argc, char **argv)
{
        static const struct argp argp = {
                page_options,    parse, NULL, "List the threads, newest first.",
                common_children, NULL,  NULL};
        static const struct column columns[] = {{"thread_id", "THREAD", 36},
                                                {"status", "STATUS", 11},
                                                {"checkpoint", "CHECKPOINT", 10},
                                                {"jobs_waiting", "WAITING", 7},
                                                {"updated_at", "USED", 27}};
        struct arguments a = ARGUMENTS_INIT(0);
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = call(&a, "GET", NULL, "", NULL, &reply)) == EXIT_OK)
                print_page(&a, &reply, "threads", columns, sizeof(columns) / sizeof(columns[0]));
        return code;
}

int cmd_thread_history(int argc, char **argv)
{
        static const struct argp argp = {
                page_options,    parse, "THREAD_ID", "List a thread's checkpoints, newest first.",
                common_children, NULL,  NULL};
        static const struct column columns[] = {
                {"checkpoint", "CHECKPOINT", 10}, {"parent", "PARENT", 6},
                {"source", "SOURCE", 6},          {"step", "STEP", 5},
                {"created_at", "CREATED", 27},    {"job_id", "JOB", 36}};
        struct arguments a = ARGUMENTS_INIT(1);
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = call(&a, "GET", a.words[0], "/history", NULL, &reply)) == EXIT_OK)
                print_page(&a, &reply, "checkpoints", columns,
                           sizeof(columns) / sizeof(columns[0]));
        return code;
}

/* ── one thread ──────────────────────────────────────────────────────────────────────────────── */

int cmd_thread_show(int argc, char **argv)
{
        static const struct argp argp = {
                NULL, parse, "THREAD_ID", "Show how a thread stands.", common_children, NULL, NULL};
        struct arguments a = ARGUMENTS_INIT(1);
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = call(&a, "GET", a.words[0], "", NULL, &reply)) != EXIT_OK)
                return code;
        if (a.common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                output_object(reply.value);
        reply_deinit(&reply);
        return code;
}

int cmd_thread_state(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"checkpoint", KEY_CHECKPOINT, "N", 0, "At this one (the last)", 0}, {0}};
        static const struct argp argp = {
                options,
                parse,
                "THREAD_ID",
                "Print the values of a thread's state; with --json all about it.",
                common_children,
                NULL,
                NULL};
        struct arguments a = ARGUMENTS_INIT(1);
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = call(&a, "GET", a.words[0], "/state", NULL, &reply)) != EXIT_OK)
                return code;
        if (a.common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                output_json_indented(aip_value_get_cstr(reply.value, "values"));
        reply_deinit(&reply);
        return code;
}

/* ── writing ─────────────────────────────────────────────────────────────────────────────────── */

static int put_text(aip_value **body, const char *member, const char *text)
{
        return text ? aip_value_object_set_cstr(body, member, aip_value_string(aip_str_of(text)))
                    : 0;
}

/* {"values": …, "as_node": …, "graph_name": …, "checkpoint": …}; `values` is consumed always. */
static int make_body(const struct arguments *a, aip_value *values, aip_value **ret_body)
{
        aip_value *body = aip_value_object();
        char *end = NULL;
        long long n = a->checkpoint ? strtoll(a->checkpoint, &end, 10) : 0;
        int r = aip_value_object_set_cstr(&body, "values", values);

        if (end && (*end || end == a->checkpoint)) {
                fprintf(stderr, "%s: --checkpoint: is no number: %s\n",
                        program_invocation_short_name, a->checkpoint);
                aip_value_unref(body);
                return EXIT_USAGE;
        }
        if (r >= 0)
                r = put_text(&body, "as_node", a->as_node);
        if (r >= 0)
                r = put_text(&body, "graph_name", a->graph);
        if (r >= 0 && a->checkpoint)
                r = aip_value_object_set_cstr(&body, "checkpoint", aip_value_int(n));
        if (r < 0) {
                aip_value_unref(body);
                return EXIT_FAILED;
        }
        *ret_body = body;
        return EXIT_OK;
}

/* What was said on the command line, from standard input (-) or a file (@FILE). */
static int read_body(const struct arguments *a, aip_value **ret_body)
{
        struct aip_buf text = AIP_BUF_INIT(TEXT_MAX_BYTES);
        aip_value *values = NULL;
        aip_error *err = NULL;
        int code = text_argument(a->words[1], &text);

        if (code == EXIT_OK && aip_value_parse(aip_buf_str(&text), &values, &err) < 0) {
                fprintf(stderr, "%s: VALUES: %s\n", program_invocation_short_name,
                        aip_error_message(err));
                aip_error_free(err);
                code = EXIT_USAGE;
        }
        aip_buf_deinit(&text);
        return code == EXIT_OK ? make_body(a, values, ret_body) : code;
}

int cmd_thread_update(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"as-node", KEY_NODE, "NODE", 0,
                 "As if this node had written them: it goes on where its edges lead", 0},
                {"checkpoint", KEY_CHECKPOINT, "N", 0, "To the state at this one (the last)", 0},
                {"graph", KEY_GRAPH, "NAME", 0, "Whose state it is (that of the last job)", 0},
                {0}};
        static const struct argp argp = {
                options,
                parse,
                "THREAD_ID VALUES|-|@FILE",
                "Write VALUES, a JSON object with a member a channel, to a thread's state.",
                common_children,
                NULL,
                NULL};
        struct arguments a = ARGUMENTS_INIT(2);
        aip_value *body = NULL;
        struct reply reply;
        int code;

        a.is_body = 1;
        command_parse(&argp, argc, argv, &a);
        if ((code = read_body(&a, &body)) != EXIT_OK)
                return code;
        code = call(&a, "POST", a.words[0], "/state", body, &reply);
        aip_value_unref(body);
        if (code != EXIT_OK)
                return code;
        if (a.common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                printf("checkpoint %lld\n",
                       (long long)aip_value_as_int(aip_value_get_cstr(reply.value, "checkpoint"),
                                                   0));
        reply_deinit(&reply);
        return code;
}
