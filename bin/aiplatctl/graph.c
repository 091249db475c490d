/*
 * graph …: what the gateway keeps under /v1/graphs. `get` prints a document as `put` reads it, so that
 * one can be changed in an editor; `check` says what `put` would say and stores nothing.
 */
#include <aiplat/graph_document.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "output.h"
#include "text.h"

#define PATH_MAX_BYTES 65536

enum { KEY_LIMIT = 0x400, KEY_CURSOR, KEY_OFFLINE };

struct arguments {
        struct common common;
        const char *words[2]; /* NAME, FILE */
        int n_words, n_wanted;
        const char *limit, *cursor;
        int is_offline;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
        struct arguments *a = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &a->common;
                return 0;
        case ARGP_KEY_ARG:
                if (a->n_words == a->n_wanted)
                        argp_error(state, "there is no use for '%s'", argument);
                a->words[a->n_words++] = argument;
                return 0;
        case ARGP_KEY_END:
                if (a->n_words < a->n_wanted)
                        argp_error(state, "too few arguments");
                return 0;
        case KEY_LIMIT:
                a->limit = argument;
                return 0;
        case KEY_CURSOR:
                a->cursor = argument;
                return 0;
        case KEY_OFFLINE:
                a->is_offline = 1;
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

/* ── calls ───────────────────────────────────────────────────────────────────────────────────── */

/* /v1/graphs, or /v1/graphs/NAME, and a query whose values are escaped here; `query` may be NULL. */
static int call(const struct arguments *a, const char *method, const char *name,
                const char *query, const aip_value *body, struct reply *ret_reply)
{
        struct aip_buf path = AIP_BUF_INIT(PATH_MAX_BYTES);
        struct call c = {a->common.url, method, {NULL, 0}, body, NULL, 0};
        aip_error *err = NULL;
        int r = aip_buf_append_cstr(&path, "/v1/graphs"), code = EXIT_OK;

        if (r >= 0 && name && (r = aip_buf_append_char(&path, '/')) >= 0)
                r = client_escape(&path, aip_str_of(name));
        if (r >= 0 && query)
                r = aip_buf_append_cstr(&path, query);
        if (r >= 0 && a->limit && (r = aip_buf_append_cstr(&path, "?limit=")) >= 0)
                r = client_escape(&path, aip_str_of(a->limit));
        if (r >= 0 && a->cursor &&
            (r = aip_buf_append_cstr(&path, a->limit ? "&cursor=" : "?cursor=")) >= 0)
                r = client_escape(&path, aip_str_of(a->cursor));
        c.path = aip_buf_str(&path);
        if (r < 0)
                code = EXIT_FAILED;
        else if (client_call(&c, ret_reply, &err) < 0)
                code = program_fail(err);
        aip_buf_deinit(&path);
        return code;
}

/* The answer to a GET of one graph; EXIT_OK when it is there. */
static int fetch(const struct arguments *a, const char *name, struct reply *ret_reply)
{
        int code = call(a, "GET", name, NULL, NULL, ret_reply);

        if (code == EXIT_OK && ret_reply->status != 200) {
                code = client_refused(ret_reply);
                reply_deinit(ret_reply);
        }
        return code;
}

/* {"document": …}; `document` is consumed always. NULL when out of memory. */
static aip_value *body_of(aip_value *document)
{
        aip_value *body = aip_value_object();

        if (aip_value_object_set_cstr(&body, "document", document) < 0) {
                aip_value_unref(body);
                return NULL;
        }
        return body;
}

/* PUT the document of `file` under `name`; EXIT_OK says that the gateway took it. */
static int put_file(const struct arguments *a, const char *name, const char *file,
                    const char *query, struct reply *ret_reply)
{
        aip_value *document = NULL, *body;
        int code = text_json_file(file, &document);

        if (code != EXIT_OK)
                return code;
        body = body_of(document);
        code = body ? call(a, "PUT", name, query, body, ret_reply) : EXIT_FAILED;
        aip_value_unref(body);
        if (code == EXIT_OK && ret_reply->status >= 300) {
                code = client_refused(ret_reply);
                reply_deinit(ret_reply);
        }
        return code;
}

/* ── commands ────────────────────────────────────────────────────────────────────────────────── */

int cmd_graph_ls(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"limit", KEY_LIMIT, "N", 0, "So many at most, 1–1000 (100)", 0},
                {"cursor", KEY_CURSOR, "CURSOR", 0, "The next page: what the last one ended with",
                 0},
                {0}};
        static const struct argp argp = {
                options,         parse, NULL, "List the graphs by name; version 0 ships.",
                common_children, NULL,  NULL};
        static const struct column columns[] = {
                {"name", "NAME", 32}, {"version", "VERSION", 8}, {"description", "DESCRIPTION", 80}};
        struct arguments a = {.n_wanted = 0};
        struct aip_str cursor;
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = call(&a, "GET", NULL, NULL, NULL, &reply)) != EXIT_OK)
                return code;
        cursor = aip_value_as_string(aip_value_get_cstr(reply.value, "next_cursor"));
        if (reply.status != 200)
                code = client_refused(&reply);
        else if (a.common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                output_table(columns, sizeof(columns) / sizeof(columns[0]),
                             aip_value_get_cstr(reply.value, "graphs"));
        if (code == EXIT_OK && !a.common.is_json && cursor.p)
                fprintf(stderr, "there are more: --cursor %.*s\n", (int)cursor.n, cursor.p);
        reply_deinit(&reply);
        return code;
}

int cmd_graph_get(int argc, char **argv)
{
        static const struct argp argp = {
                NULL,   parse,
                "NAME", "Print a graph's document, as 'graph put' reads it; with --json all of it.",
                common_children, NULL, NULL};
        struct arguments a = {.n_wanted = 1};
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = fetch(&a, a.words[0], &reply)) != EXIT_OK)
                return code;
        if (a.common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                output_json_indented(aip_value_get_cstr(reply.value, "document"));
        reply_deinit(&reply);
        return code;
}

int cmd_graph_put(int argc, char **argv)
{
        static const struct argp argp = {
                NULL,
                parse,
                "NAME FILE|-",
                "Create or replace a graph by the JSON document in FILE. The next job runs it.",
                common_children,
                NULL,
                NULL};
        struct arguments a = {.n_wanted = 2};
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = put_file(&a, a.words[0], a.words[1], NULL, &reply)) != EXIT_OK)
                return code;
        if (a.common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                printf("%s: version %lld\n", a.words[0],
                       (long long)aip_value_as_int(aip_value_get_cstr(reply.value, "version"), 0));
        reply_deinit(&reply);
        return code;
}

int cmd_graph_rm(int argc, char **argv)
{
        static const struct argp argp = {
                NULL,   parse,
                "NAME", "Delete a graph. One that ships with the platform is back in its place.",
                common_children, NULL, NULL};
        struct arguments a = {.n_wanted = 1};
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = call(&a, "DELETE", a.words[0], NULL, NULL, &reply)) != EXIT_OK)
                return code;
        if (reply.status != 204)
                code = client_refused(&reply);
        reply_deinit(&reply);
        return code;
}

/* What a document checks of itself. */
static int check_offline(const char *file, aip_graph_document **ret_document)
{
        aip_error *err = NULL;
        aip_value *value = NULL;
        int code = text_json_file(file, &value);

        if (code != EXIT_OK)
                return code;
        if (aip_graph_document_new(aip_str_of("graph"), value, ret_document, &err) < 0) {
                fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, file,
                        aip_error_message(err));
                aip_error_free(err);
                code = EXIT_USAGE;
        }
        aip_value_unref(value);
        return code;
}

int cmd_graph_check(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"offline", KEY_OFFLINE, NULL, 0,
                 "Without a gateway: the document's shape, not what its nodes name", 0},
                {0}};
        static const struct argp argp = {
                options, parse,
                "FILE",  "Say whether 'graph put' would take FILE, and where it is wrong.",
                common_children, NULL, NULL};
        struct arguments a = {.n_wanted = 1};
        aip_graph_document *document = NULL;
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if (!a.is_offline && strcmp(a.words[0], "-") == 0) {
                code = put_file(&a, "graph", "-", "?dry_run=true", &reply);
        } else {
                code = check_offline(a.words[0], &document);
                aip_graph_document_unref(document);
                if (code != EXIT_OK || a.is_offline)
                        return code;
                code = put_file(&a, "graph", a.words[0], "?dry_run=true", &reply);
        }
        if (code == EXIT_OK)
                reply_deinit(&reply);
        return code;
}
