/*
 * config … and template …: what the gateway keeps under /v1/llm-configs and /v1/prompt-templates.
 * `set` reads what is there, changes what was named, and puts it back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "output.h"
#include "text.h"

enum value_kind { TEXT, NUMBER, BOOLEAN };

struct field {
        const char *option;
        int key;
        const char *member;
        const char *argument;
        enum value_kind kind;
        const char *help;
};

struct kind {
        const char *path;
        const char *list_name;
        const struct column *columns;
        size_t n_columns;
        const struct field *fields;
        size_t n_fields;
        const char *set_doc;
};

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct column config_columns[] = {
        {"name", "NAME", 32},       {"provider", "PROVIDER", 16}, {"model_name", "MODEL", 36},
        {"temperature", "TEMP", 5}, {"max_tokens", "TOKENS", 8},  {"api_key_env", "KEY", 24},
        {"is_active", "ACTIVE", 6}};
static const struct field config_fields[] = {
        {"provider", 'p', "provider", "NAME", TEXT, "openai, anthropic, simulated"},
        {"model", 'm', "model_name", "NAME", TEXT, "The provider's name for the model"},
        {"api-key-env", 'k', "api_key_env", "VARIABLE", TEXT,
         "Environment variable that holds the key; empty for none"},
        {"base-url", 'b', "base_url", "URL", TEXT,
         "For servers that speak the provider's protocol"},
        {"temperature", 'T', "temperature", "N", NUMBER, "0.0–2.0"},
        {"max-tokens", 'n', "max_tokens", "N", NUMBER, "Of the answer"},
        {"timeout", 's', "timeout_seconds", "SECONDS", NUMBER, "For one call"},
        {"active", 'a', "is_active", "true|false", BOOLEAN, "Whether jobs may use it"}};
static const struct kind configs = {
        "/v1/llm-configs",
        "llm_configs",
        config_columns,
        N(config_columns),
        config_fields,
        N(config_fields),
        "Create or change an LLM configuration. Workers use it within a second."};

static const struct column template_columns[] = {
        {"name", "NAME", 32}, {"description", "DESCRIPTION", 40}, {"content", "CONTENT", 60}};
static const struct field template_fields[] = {
        {"content", 'c', "content", "TEXT|@FILE|-", TEXT, "The system part, with {{variables}}"},
        {"user-content", 'u', "user_content", "TEXT|@FILE|-", TEXT,
         "The user part, with {{prompt}}"},
        {"description", 'd', "description", "TEXT", TEXT, "What it is for"}};
static const struct kind templates = {"/v1/prompt-templates",
                                      "prompt_templates",
                                      template_columns,
                                      N(template_columns),
                                      template_fields,
                                      N(template_fields),
                                      "Create or change a prompt template. The next job uses it."};

/* ── arguments ───────────────────────────────────────────────────────────────────────────────── */

enum { KEY_LIMIT = 0x400, KEY_CURSOR };

struct arguments {
        struct common common;
        const struct kind *kind;
        const char *name;
        aip_value *changes;
        const char *limit, *cursor;
};

static void add_change(struct argp_state *state, struct arguments *a, const struct field *field,
                       const char *argument)
{
        struct aip_buf text = AIP_BUF_INIT(TEXT_MAX_BYTES);
        aip_value *value = NULL;
        int code;

        switch (field->kind) {
        case TEXT:
                if ((code = text_argument(argument, &text)) != EXIT_OK)
                        exit(code);
                value = text.n > 0 ? aip_value_string(aip_buf_str(&text)) : aip_value_null();
                break;
        case NUMBER:
                value = aip_value_double(text_number(state, field->option, argument));
                break;
        case BOOLEAN:
                if (strcmp(argument, "true") != 0 && strcmp(argument, "false") != 0)
                        argp_error(state, "--%s wants true or false, not '%s'", field->option,
                                   argument);
                value = aip_value_bool(strcmp(argument, "true") == 0);
                break;
        }
        aip_buf_deinit(&text);
        if (aip_value_object_set_cstr(&a->changes, field->member, value) < 0)
                argp_failure(state, EXIT_FAILED, 0, "out of memory");
}

static error_t parse_set(int key, char *argument, struct argp_state *state)
{
        struct arguments *a = state->input;

        if (key == ARGP_KEY_INIT) {
                state->child_inputs[0] = &a->common;
                return 0;
        }
        if (key == ARGP_KEY_ARG) {
                if (a->name)
                        argp_error(state, "one name only");
                a->name = argument;
                return 0;
        }
        if (key == ARGP_KEY_NO_ARGS)
                argp_error(state, "a name is wanted");
        for (size_t i = 0; i < a->kind->n_fields; i++)
                if (key == a->kind->fields[i].key) {
                        add_change(state, a, &a->kind->fields[i], argument);
                        return 0;
                }
        return ARGP_ERR_UNKNOWN;
}

static error_t parse_list(int key, char *argument, struct argp_state *state)
{
        struct arguments *a = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &a->common;
                return 0;
        case KEY_LIMIT:
                a->limit = argument;
                return 0;
        case KEY_CURSOR:
                a->cursor = argument;
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

/* ── calls ───────────────────────────────────────────────────────────────────────────────────── */

static int call(const struct arguments *a, const char *method, const aip_value *body,
                struct reply *ret_reply)
{
        struct aip_buf path = AIP_BUF_INIT(65536);
        struct call c = {a->common.url, method, {NULL, 0}, body, NULL, 0};
        aip_error *err = NULL;
        int r = aip_buf_append_cstr(&path, a->kind->path), code = EXIT_OK;

        if (r >= 0 && a->name && (r = aip_buf_append_char(&path, '/')) >= 0)
                r = client_escape(&path, aip_str_of(a->name));
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

static int show_reply(const struct arguments *a, const struct reply *reply)
{
        if (reply->status == 204)
                return EXIT_OK;
        if (reply->status != 200 && reply->status != 201)
                return client_refused(reply);
        if (a->common.is_json)
                output_json(aip_buf_str(&reply->body));
        else
                output_object(reply->value);
        return EXIT_OK;
}

static int list(const struct kind *kind, int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"limit", KEY_LIMIT, "N", 0, "So many at most, 1–1000 (100)", 0},
                {"cursor", KEY_CURSOR, "CURSOR", 0, "The next page: what the last one ended with",
                 0},
                {0}};
        static const struct argp argp = {options,         parse_list, NULL, "List them by name.",
                                         common_children, NULL,       NULL};
        struct arguments a = {COMMON_INIT, kind, NULL, NULL, NULL, NULL};
        struct aip_str cursor;
        struct reply reply;
        int code;

        command_parse(&argp, argc, argv, &a);
        if ((code = call(&a, "GET", NULL, &reply)) != EXIT_OK)
                return code;
        cursor = aip_value_as_string(aip_value_get_cstr(reply.value, "next_cursor"));
        if (reply.status != 200)
                code = client_refused(&reply);
        else if (a.common.is_json)
                output_json(aip_buf_str(&reply.body));
        else
                output_table(kind->columns, kind->n_columns,
                             aip_value_get_cstr(reply.value, kind->list_name));
        if (code == EXIT_OK && !a.common.is_json && cursor.p)
                fprintf(stderr, "there are more: --cursor %.*s\n", (int)cursor.n, cursor.p);
        reply_deinit(&reply);
        return code;
}

static int with_name(const struct kind *kind, const char *method, const char *doc, int argc,
                     char **argv)
{
        struct argp argp = {NULL, parse_set, "NAME", doc, common_children, NULL, NULL};
        struct kind no_fields = *kind;
        struct arguments a = {COMMON_INIT, &no_fields, NULL, NULL, NULL, NULL};
        struct reply reply;
        int code;

        no_fields.n_fields = 0;
        command_parse(&argp, argc, argv, &a);
        if ((code = call(&a, method, NULL, &reply)) != EXIT_OK)
                return code;
        code = show_reply(&a, &reply);
        reply_deinit(&reply);
        return code;
}

/* What is there already (an empty object when nothing is), with the changes on top. */
static int merged(struct arguments *a, aip_value **ret_body)
{
        struct reply reply;
        aip_value *body;
        struct aip_str name;
        int code = call(a, "GET", NULL, &reply);

        if (code != EXIT_OK)
                return code;
        if (reply.status != 200 && reply.status != 404)
                code = client_refused(&reply);
        body = reply.status == 200 ? aip_value_ref(reply.value) : aip_value_object();
        for (size_t i = 0; code == EXIT_OK && i < aip_value_size(a->changes); i++) {
                const aip_value *value = aip_value_member(a->changes, i, &name);

                if (aip_value_object_set(&body, name, aip_value_ref(value)) < 0)
                        code = EXIT_FAILED;
        }
        reply_deinit(&reply);
        *ret_body = body;
        return code;
}

static int set(const struct kind *kind, int argc, char **argv)
{
        struct argp_option options[N(config_fields) + 1] = {{0}};
        struct argp argp = {options, parse_set, "NAME", kind->set_doc, common_children, NULL, NULL};
        struct arguments a = {COMMON_INIT, kind, NULL, aip_value_object(), NULL, NULL};
        aip_value *body = NULL;
        struct reply reply;
        int code;

        for (size_t i = 0; i < kind->n_fields; i++) {
                const struct field *f = &kind->fields[i];

                options[i] = (struct argp_option){f->option, f->key, f->argument, 0, f->help, 0};
        }
        command_parse(&argp, argc, argv, &a);
        code = merged(&a, &body);
        if (code == EXIT_OK && (code = call(&a, "PUT", body, &reply)) == EXIT_OK) {
                code = show_reply(&a, &reply);
                reply_deinit(&reply);
        }
        aip_value_unref(body);
        aip_value_unref(a.changes);
        return code;
}

/* ── commands ────────────────────────────────────────────────────────────────────────────────── */

int cmd_config_list(int argc, char **argv)
{
        return list(&configs, argc, argv);
}

int cmd_config_show(int argc, char **argv)
{
        return with_name(&configs, "GET", "Show an LLM configuration.", argc, argv);
}

int cmd_config_set(int argc, char **argv)
{
        return set(&configs, argc, argv);
}

int cmd_config_delete(int argc, char **argv)
{
        return with_name(&configs, "DELETE", "Delete an LLM configuration.", argc, argv);
}

int cmd_template_list(int argc, char **argv)
{
        return list(&templates, argc, argv);
}

int cmd_template_show(int argc, char **argv)
{
        return with_name(&templates, "GET", "Show a prompt template.", argc, argv);
}

int cmd_template_set(int argc, char **argv)
{
        return set(&templates, argc, argv);
}

int cmd_template_delete(int argc, char **argv)
{
        return with_name(&templates, "DELETE", "Delete a prompt template.", argc, argv);
}
