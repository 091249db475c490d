/*
 * Pictures of graph documents, as text for Mermaid and for Graphviz. Called by the programs that show
 * graphs. Everything in a document may be chosen by a stranger: names and expressions are quoted for the
 * format, and long ones are cut.
 */
#include "graph_document/document_impl.h"
#include "macros.h"
#include "text/text.h"
#include <stdio.h>

#define LABEL_MAX_BYTES 80

struct drawing {
        const aip_graph_document *document;
        struct aip_buf *out;
        int is_mermaid;
        int r; /* the first failure */
};

static void put(struct drawing *d, const char *text)
{
        if (d->r == 0)
                d->r = aip_buf_append_cstr(d->out, text);
}

static void put_bytes(struct drawing *d, const char *p, size_t n)
{
        if (d->r == 0)
                d->r = aip_buf_append(d->out, aip_str_make(p, n));
}

static void put_number(struct drawing *d, uint32_t number)
{
        if (d->r == 0)
                d->r = aip_buf_append_int(d->out, number);
}

static void put_byte(struct drawing *d, char c)
{
        if (d->is_mermaid && strchr("\"#<>&`\\", c)) {
                put(d, "#");
                put_number(d, (uint32_t)c);
                put(d, ";");
        } else {
                if (!d->is_mermaid && (c == '"' || c == '\\'))
                        put(d, "\\");
                put_bytes(d, &c, 1);
        }
}

/* Text within quotes: one line, cut where it is long. */
static void put_text(struct drawing *d, struct aip_str text)
{
        for (size_t i = 0; i < text.n;) {
                size_t at = i;
                uint32_t c = aip_text_next(text, &i);
                if (i > LABEL_MAX_BYTES) {
                        put(d, "…");
                        return;
                }
                if (c == 0 || aip_text_is_control(c))
                        put(d, " ");
                else if (c < 0x80)
                        put_byte(d, (char)c);
                else
                        put_bytes(d, text.p + at, i - at);
        }
}

/* A node's id in the picture. `boundary` stands for __start__ and __end__. */
static void put_id(struct drawing *d, const char *name, const char *boundary)
{
        uint32_t i = 0, n = d->document->n_nodes;
        while (i < n && strcmp(d->document->nodes[i].name.p, name) != 0)
                i++;
        if (i == n) {
                put(d, boundary);
                return;
        }
        put(d, "n");
        put_number(d, i);
}

static void put_node(struct drawing *d, uint32_t i)
{
        const struct aip_doc_node *node = &d->document->nodes[i];
        put(d, d->is_mermaid ? "    n" : "  n");
        put_number(d, i);
        put(d, d->is_mermaid ? "[\"" : " [label=\"");
        put_text(d, node->name);
        put(d, d->is_mermaid ? "<br/>" : "\\n");
        put_text(d, node->type);
        put(d, d->is_mermaid ? "\"]\n" : "\"];\n");
}

/* `label` is empty for an arrow that is always taken. */
static void put_arrow(struct drawing *d, const char *from, const char *to, struct aip_str label)
{
        int is_sure = label.n == 0;
        put(d, d->is_mermaid ? "    " : "  ");
        put_id(d, from, "start");
        if (d->is_mermaid) {
                put(d, is_sure ? " --> " : " -. \"");
                put_text(d, label);
                put(d, is_sure ? "" : "\" .-> ");
                put_id(d, to, "stop");
                put(d, "\n");
                return;
        }
        put(d, " -> ");
        put_id(d, to, "stop");
        put(d, is_sure ? "" : " [style=dashed, label=\"");
        put_text(d, label);
        put(d, is_sure ? ";\n" : "\"];\n");
}

static void put_range(struct drawing *d, const struct aip_doc_edge *edge,
                      struct aip_doc_range range, struct aip_str label)
{
        for (uint32_t i = range.first; i < range.first + range.n; i++)
                put_arrow(d, edge->from[0], edge->targets[i], label);
}

/* Every way to leave by an expression. */
static void put_choices(struct drawing *d, const struct aip_doc_edge *edge)
{
        for (uint32_t i = 0; i < edge->n_cases; i++)
                put_range(d, edge, edge->cases[i].to,
                          aip_expression_text(edge->cases[i].condition));
        if (edge->kind == AIP_DOC_EDGE_SEND) {
                char label[AIP_TEXT_QUOTED_BYTES];
                struct aip_str items = aip_expression_text(edge->items);
                int n = snprintf(label, sizeof(label), "each of %.*s",
                                 (int)AIP_MIN(items.n, sizeof(label) - 16), items.p);
                put_arrow(d, edge->from[0], edge->targets[0], aip_str_make(label, (size_t)n));
        }
        put_range(d, edge, edge->otherwise, AIP_STR("else"));
}

static void put_edge(struct drawing *d, const struct aip_doc_edge *edge)
{
        if (edge->kind == AIP_DOC_EDGE_WHEN || edge->kind == AIP_DOC_EDGE_SEND) {
                put_choices(d, edge);
                return;
        }
        for (uint32_t i = 0; i < edge->n_from; i++) {
                for (uint32_t j = 0; j < edge->n_targets; j++)
                        put_arrow(d, edge->from[i], edge->targets[j], (struct aip_str){NULL, 0});
        }
}

static void put_error_arrow(struct drawing *d, const struct aip_doc_node *node)
{
        if (node->on_error)
                put_arrow(d, node->name.p, node->on_error, AIP_STR("on error"));
}

static void put_frame(struct drawing *d)
{
        if (d->is_mermaid) {
                put(d, "flowchart TD\n    start([\"__start__\"])\n    stop([\"__end__\"])\n");
                return;
        }
        put(d, "digraph \"");
        put_text(d, aip_graph_document_name(d->document));
        put(d, "\" {\n  node [shape=box, style=rounded];\n"
               "  start [label=\"__start__\", shape=oval];\n"
               "  stop [label=\"__end__\", shape=oval];\n");
}

int aip_graph_document_draw(const aip_graph_document *document, enum aip_draw_format format,
                            struct aip_buf *out, aip_error **err)
{
        struct drawing d = {document, out, format == AIP_DRAW_MERMAID, 0};
        size_t before = out->n;
        put_frame(&d);
        for (uint32_t i = 0; i < document->n_nodes; i++)
                put_node(&d, i);
        for (uint32_t i = 0; i < document->n_edges; i++)
                put_edge(&d, &document->edges[i]);
        for (uint32_t i = 0; i < document->n_nodes; i++)
                put_error_arrow(&d, &document->nodes[i]);
        put(&d, d.is_mermaid ? "" : "}\n");
        if (d.r == 0)
                return 0;
        out->n = before;
        if (out->p)
                out->p[before] = '\0';
        return d.r == AIP_ENOMEM
                       ? aip_error_set_nomem(err)
                       : aip_error_set(err, d.r, "the picture of the graph '%s' is too large",
                                       document->name);
}
