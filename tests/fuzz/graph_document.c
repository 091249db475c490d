/*
 * Graph documents. The input is one, as JSON. What is refused says where it is wrong. What is accepted is
 * accepted again as it is printed, is drawn, and compiles with the node types of agents or is refused with a
 * pointer, too; and a graph of which no node waits for anything runs, to an end or to an error that says why.
 */
#include "agent/graph_factory.h"
#include "fuzz.h"
#include <aiplat/graph_document.h>
#include <aiplat/graph_run.h>
#include <string.h>

#define STEPS_MAX     8
#define RUN_MAX_BYTES 4096
#define ROOM_BYTES    (16u << 20)

/* `err` is consumed always. */
static void check_refusal(int r, aip_error *err)
{
        const char *message = aip_error_message(err);
        MUST(r == AIP_EINVAL || r == AIP_ELIMIT);
        MUST(message[0] == '/' || strncmp(message, "document: ", 10) == 0);
        MUST(aip_str_utf8_length(aip_str_of(message)) > 0);
        aip_error_free(err);
}

static void check_again(const aip_graph_document *document)
{
        struct aip_buf text = AIP_BUF_INIT(ROOM_BYTES);
        aip_graph_document *again = NULL;
        MUST(aip_value_print(aip_graph_document_value(document), &text, NULL) == 0);
        if (text.n <= AIP_GRAPH_DOCUMENT_MAX_BYTES) { /* escapes may have made it longer */
                MUST(aip_graph_document_parse(aip_str_of("again"), aip_buf_str(&text), &again,
                                              NULL) == 0);
                MUST(aip_value_equal(aip_graph_document_value(document),
                                     aip_graph_document_value(again)));
        }
        aip_graph_document_unref(again);
        aip_buf_deinit(&text);
}

static void check_picture(const aip_graph_document *document, enum aip_draw_format format)
{
        struct aip_buf picture = AIP_BUF_INIT(ROOM_BYTES);
        MUST(aip_graph_document_draw(document, format, &picture, NULL) == 0);
        MUST(aip_str_utf8_length(aip_buf_str(&picture)) > 0);
        aip_buf_deinit(&picture);
}

/* A run that ends in an error has said why; its result can be told, or not for a reason. */
static void run(const aip_graph_document *document, const aip_graph *graph)
{
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        struct aip_buf result = AIP_BUF_INIT(ROOM_BYTES);
        aip_value *input = NULL, *state = NULL;
        aip_error *err = NULL;
        options.step_limit = STEPS_MAX;
        int r = aip_graph_document_input(document, aip_str_of("a prompt"), NULL, &input, &err);
        if (r == 0)
                r = aip_graph_invoke(graph, input, &options, &state, &err);
        if (r == 0)
                r = aip_graph_document_result(document, state, &result, &err);
        MUST(r == 0 ? err == NULL : aip_error_message(err)[0] != '\0');
        aip_error_free(err);
        aip_value_unref(state);
        aip_value_unref(input);
        aip_buf_deinit(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct aip_graph_factory factory = {0};
        struct aip_str json = aip_str_make((const char *)data, n);
        aip_graph_document *document = NULL;
        aip_graph *graph = NULL;
        aip_error *err = NULL;
        int r = aip_graph_document_parse(aip_str_of("fuzz"), json, &document, &err);
        if (r < 0) {
                check_refusal(r, err);
                return 0;
        }
        check_again(document);
        check_picture(document, AIP_DRAW_MERMAID);
        check_picture(document, AIP_DRAW_GRAPHVIZ);
        r = aip_graph_factory_get(&factory, document, &graph, &err);
        if (r < 0)
                check_refusal(r, err);
        else if (n <= RUN_MAX_BYTES && aip_graph_is_synchronous(graph) && /* the others want a job */
                 !memmem(data, n, "range", 5)) /* long lists take long */
                run(document, graph);
        aip_graph_unref(graph);
        aip_graph_factory_deinit(&factory);
        aip_graph_document_unref(document);
        return 0;
}
