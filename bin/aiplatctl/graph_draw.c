/*
 * graph draw: the source of a picture, for Mermaid or Graphviz, of a graph that the gateway keeps or of a
 * document in a file.
 */
#include <aiplat/graph_document.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "output.h"
#include "text.h"

#define PATH_MAX_BYTES    65536
#define PICTURE_MAX_BYTES ((size_t)16 << 20)

enum { KEY_FILE = 0x400, KEY_FORMAT };

struct arguments {
        struct common common;
        const char *name, *file;
        enum aip_draw_format format;
};

static void parse_format(struct arguments *a, const char *argument, struct argp_state *state)
{
        if (strcmp(argument, "mermaid") == 0)
                a->format = AIP_DRAW_MERMAID;
        else if (strcmp(argument, "graphviz") == 0 || strcmp(argument, "dot") == 0)
                a->format = AIP_DRAW_GRAPHVIZ;
        else
                argp_error(state, "--format: mermaid or graphviz, not '%s'", argument);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
        struct arguments *a = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &a->common;
                return 0;
        case ARGP_KEY_ARG:
                if (a->name)
                        argp_error(state, "there is no use for '%s'", argument);
                a->name = argument;
                return 0;
        case ARGP_KEY_END:
                if (!a->name == !a->file)
                        argp_error(state, "a graph's NAME or --file=FILE, one of them");
                return 0;
        case KEY_FILE:
                a->file = argument;
                return 0;
        case KEY_FORMAT:
                parse_format(a, argument, state);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

/* The document of a graph that the gateway keeps. */
static int fetch_document(const struct arguments *a, aip_value **ret_value)
{
        struct aip_buf path = AIP_BUF_INIT(PATH_MAX_BYTES);
        struct call c = {a->common.url, "GET", {NULL, 0}, NULL, NULL, 0};
        struct reply reply;
        aip_error *err = NULL;
        int code = EXIT_OK;

        if (aip_buf_append_cstr(&path, "/v1/graphs/") < 0 ||
            client_escape(&path, aip_str_of(a->name)) < 0) {
                aip_buf_deinit(&path);
                return EXIT_FAILED;
        }
        c.path = aip_buf_str(&path);
        if (client_call(&c, &reply, &err) < 0)
                code = program_fail(err);
        aip_buf_deinit(&path);
        if (code != EXIT_OK)
                return code;
        if (reply.status == 200)
                *ret_value = aip_value_ref(aip_value_get_cstr(reply.value, "document"));
        else
                code = client_refused(&reply);
        reply_deinit(&reply);
        return code;
}

/* With --json as a member of an object. */
static void print(const struct arguments *a, struct aip_str picture)
{
        aip_value *object = a->common.is_json ? aip_value_object() : NULL;

        if (!object) {
                fwrite(picture.p, 1, picture.n, stdout);
                return;
        }
        if (aip_value_object_set_cstr(&object,
                                      a->format == AIP_DRAW_MERMAID ? "mermaid" : "graphviz",
                                      aip_value_string(picture)) >= 0)
                output_json_indented(object);
        aip_value_unref(object);
}

static int draw(const struct arguments *a, const aip_value *value)
{
        struct aip_buf picture = AIP_BUF_INIT(PICTURE_MAX_BYTES);
        aip_graph_document *document = NULL;
        aip_error *err = NULL;
        const char *name = a->name ? a->name : "graph";
        int r = aip_graph_document_new(aip_str_of(name), value, &document, &err);

        if (r == 0)
                r = aip_graph_document_draw(document, a->format, &picture, &err);
        if (r == 0)
                print(a, aip_buf_str(&picture));
        aip_graph_document_unref(document);
        aip_buf_deinit(&picture);
        if (r == 0)
                return EXIT_OK;
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, a->file ? a->file : name,
                aip_error_message(err));
        aip_error_free(err);
        return EXIT_USAGE;
}

int cmd_graph_draw(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"file", KEY_FILE, "FILE|-", 0, "Draw the document of a file, without a gateway",
                 0},
                {"format", KEY_FORMAT, "FORMAT", 0, "mermaid (the default) or graphviz", 0},
                {0}};
        static const struct argp argp = {
                options,         parse, "NAME", "Print the source of a picture of a graph.",
                common_children, NULL,  NULL};
        struct arguments a = {.format = AIP_DRAW_MERMAID};
        aip_value *value = NULL;
        int code;

        command_parse(&argp, argc, argv, &a);
        code = a.file ? text_json_file(a.file, &value) : fetch_document(&a, &value);
        if (code == EXIT_OK)
                code = draw(&a, value);
        aip_value_unref(value);
        return code;
}
