/*
 * One MCP server, as we see it: connected when it can be, its tools in the registry, their calls on the way.
 * Made by mcp_servers.c for each server that the operator has named.
 */
#ifndef AIPLAT_TOOLS_MCP_SERVER_H
#define AIPLAT_TOOLS_MCP_SERVER_H

#include "list.h"
#include "tools/mcp_transport.h"
#include <aiplat/tool_registry.h>

struct mcp_server;

struct mcp_server_options {
        struct mcp_transport_options transport; /* name, log and loop are used; host is not */
        aip_tool_registry *registry;
        int64_t timeout_ms; /* of a call */
        /* The first attempt to connect has ended, well or not; called once, from the loop. */
        void (*tried)(void *user);
        /* After mcp_server_close(). */
        void (*closed)(void *user);
        void *user;
};

/* `spec` is the server's object in the file (borrowed); refusals begin with a member's name. */
int mcp_server_new(const struct mcp_server_options *options, const aip_value *spec,
                   struct mcp_server **ret_server, aip_error **err);
void mcp_server_start(struct mcp_server *server);
/* Ends the calls, leaves the server; `closed` comes later. */
void mcp_server_close(struct mcp_server *server);
/* It was never started, or is closed; none of its tools is left. Accepts NULL. */
void mcp_server_free(struct mcp_server *server);

#endif
