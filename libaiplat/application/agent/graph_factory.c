/* Graphs of documents, made and kept; see graph_factory.h. */
#include "agent/graph_factory.h"
#include "agent/agent_node.h"

/* Graphs kept at once; beyond that all are let go, and made again when they are next run. */
#define MADE_MAX 1000

struct made {
        aip_graph_document *document;
        aip_graph *graph;
};

static void made_free(struct made *made)
{
        aip_graph_document_unref(made->document);
        aip_graph_unref(made->graph);
        aip_free(made);
}

static int compile(aip_tool_registry *tools, const aip_graph_document *document,
                   aip_graph **ret_graph, aip_error **err)
{
        const struct aip_graph_node_type types[] = {
                aip_fail_node,      aip_http_node,     aip_human_node, aip_llm_node,
                aip_router_node,    aip_subgraph_node, aip_tool_node,  aip_tools_node,
                aip_transform_node, aip_wait_node};
        struct aip_node_maker maker = {tools};

        return aip_graph_document_compile(document, types, AIP_ARRAY_SIZE(types), &maker, ret_graph,
                                          err);
}

int aip_graph_factory_check(void *tools, const aip_graph_document *document, aip_error **err)
{
        aip_graph *graph = NULL;
        int r = compile(tools, document, &graph, err);

        aip_graph_unref(graph);
        return r;
}

/* Not kept when there is no memory for it: then it is only slower. */
static void keep(struct aip_graph_factory *factory, const aip_graph_document *document,
                 const aip_graph *graph)
{
        struct made *made = aip_calloc(1, sizeof(*made));
        void *previous = NULL;

        if (!made)
                return;
        if (factory->made.n >= MADE_MAX)
                aip_graph_factory_deinit(factory);
        made->document = aip_graph_document_ref(document);
        made->graph = aip_graph_ref(graph);
        if (aip_hash_map_set(&factory->made, aip_graph_document_name(document), made, &previous) <
            0)
                made_free(made);
        else if (previous)
                made_free(previous);
}

int aip_graph_factory_get(struct aip_graph_factory *factory, const aip_graph_document *document,
                          aip_graph **ret_graph, aip_error **err)
{
        const struct made *made =
                aip_hash_map_get(&factory->made, aip_graph_document_name(document));
        int r;

        if (made && made->document == document) {
                *ret_graph = aip_graph_ref(made->graph);
                return 0;
        }
        if ((r = compile(factory->tools, document, ret_graph, err)) == 0)
                keep(factory, document, *ret_graph);
        return r;
}

void aip_graph_factory_deinit(struct aip_graph_factory *factory)
{
        size_t cursor = 0;
        struct made *made;

        while ((made = aip_hash_map_next(&factory->made, &cursor, NULL)))
                made_free(made);
        aip_hash_map_deinit(&factory->made);
}
