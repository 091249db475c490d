/*
 * The messages of the Model Context Protocol that we send and read: JSON-RPC 2.0. Built and read by
 * mcp_server.c. Revisions of the protocol: 2025-06-18, 2025-03-26, 2024-11-05.
 */
#ifndef AIPLAT_TOOLS_MCP_MESSAGE_H
#define AIPLAT_TOOLS_MCP_MESSAGE_H

#include <aiplat/value.h>

#define MCP_VERSION "2025-06-18" /* the latest that we speak */

/* Append a message. `params` (NULL: none) is consumed always; as an argument, NULL from an allocation that
 * failed is to be refused by the caller. */
AIP_MUST_CHECK int mcp_print_request(struct aip_buf *out, int64_t id, const char *method,
                                     aip_value *params);
AIP_MUST_CHECK int mcp_print_notification(struct aip_buf *out, const char *method,
                                          aip_value *params);
/* The answer to a server's request; `result` NULL: that there is no such method here. Consumed always. */
AIP_MUST_CHECK int mcp_print_answer(struct aip_buf *out, const aip_value *id, aip_value *result);

/* Parameters; NULL when out of memory. */
aip_value *mcp_initialize_params(void);
aip_value *mcp_list_params(struct aip_str cursor);
aip_value *mcp_call_params(struct aip_str tool, const aip_value *arguments);
aip_value *mcp_cancel_params(int64_t id, const char *reason);

int mcp_is_version_known(struct aip_str version);

/* What a tool gave: its structured content if it has that, else its text, else the list of its contents as it
 * is. Owned by caller; NULL when out of memory. */
aip_value *mcp_call_content(const aip_value *result);

#endif
