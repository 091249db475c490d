/*
 * Makes graphs of graph documents, with the node types of agents (docs/graphs.md), and keeps what it has
 * made: a document is compiled when it is first run. One factory a service; loop thread only.
 */
#ifndef AIPLAT_APPLICATION_AGENT_GRAPH_FACTORY_H
#define AIPLAT_APPLICATION_AGENT_GRAPH_FACTORY_H

#include <aiplat/graph_document.h>
#include <aiplat/tool_registry.h>

#include "hash_map.h"

/* Zeroed memory is a factory. */
struct aip_graph_factory {
        aip_tool_registry *tools; /* borrowed; NULL: documents have only their own */
        struct aip_hash_map made; /* by the document's name */
};

void aip_graph_factory_deinit(struct aip_graph_factory *factory);

/* *ret_graph is owned by caller. */
int aip_graph_factory_get(struct aip_graph_factory *factory, const aip_graph_document *document,
                          aip_graph **ret_graph, aip_error **err);

/* Whether a document can be compiled: for aip_catalog_service_check_graphs(). `tools` is a registry, or NULL. */
int aip_graph_factory_check(void *tools, const aip_graph_document *document, aip_error **err);

#endif
