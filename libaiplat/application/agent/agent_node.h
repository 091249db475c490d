/*
 * What the node types of graph documents share (docs/graphs.md). Each type has a file here, which reads the
 * node's members when a document is compiled and does its work when a task runs. Nothing outside this
 * folder includes it.
 */
#ifndef AIPLAT_APPLICATION_AGENT_NODE_H
#define AIPLAT_APPLICATION_AGENT_NODE_H

#include <aiplat/graph_document.h>
#include <aiplat/json_schema.h>
#include <aiplat/tool_registry.h>

#include "agent/agent_context.h"
#include "macros.h"
#include "mem.h"

extern const struct aip_graph_node_type aip_fail_node, aip_human_node, aip_http_node, aip_llm_node,
        aip_router_node, aip_subgraph_node, aip_tool_node, aip_tools_node, aip_transform_node,
        aip_wait_node;

/* `self` of every type: what nodes are made with. */
struct aip_node_maker {
        aip_tool_registry *tools; /* or NULL */
};

/* The state that a task sees, and what was sent to it: what expressions are evaluated on. */
struct aip_node_sight {
        aip_value *state;
        const aip_value *item;
};

int aip_node_look(const aip_graph_document *document, aip_graph_task *task,
                  struct aip_node_sight *ret_sight, aip_error **err);
void aip_node_sight_deinit(struct aip_node_sight *sight);

/* A member that must be a string, as text of the document; *ret_text stays as it is when it is not there. */
int aip_node_text(const struct aip_graph_node_spec *spec, const char *member,
                  struct aip_str *ret_text, aip_error **err);

/* A member that must be a list of tools' names; `fallback` (or NULL) when it is not there. *ret_set is owned
 * by caller; NULL: there is no such member. */
int aip_node_tools(const struct aip_node_maker *maker, const struct aip_graph_node_spec *spec,
                   const char *member, const aip_value *fallback, aip_tool_set **ret_set,
                   aip_error **err);

/* A member that must be a JSON Schema; both stay as they are when it is not there. *ret_value is the
 * document's, *ret_schema owned by caller. */
int aip_node_schema(const struct aip_graph_node_spec *spec, const char *member,
                    const aip_value **ret_value, aip_json_schema **ret_schema, aip_error **err);

/* The channel of a conversation that a member names; NO_CHANNEL when it is not there. */
int aip_node_messages(const struct aip_graph_node_spec *spec, uint32_t *ret_channel,
                      aip_error **err);

/* The expression's value as text: a string as it is, anything else as JSON. *ret_text stays as it is when
 * the value is null, or `expression` NULL. */
int aip_node_eval_text(const aip_expression *expression, const struct aip_node_sight *sight,
                       aip_value **ret_text, aip_error **err);

/* AIP_ENOTFOUND: the catalog has none of `names`, a string or a list of them. */
int aip_node_fail_missing(aip_error **err, const char *kind, const char *what,
                          const aip_value *names);

#endif
