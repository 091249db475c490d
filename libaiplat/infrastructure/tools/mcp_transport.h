/*
 * How messages travel between us and an MCP server: to a child process over pipes (mcp_stdio.c), or to a URL
 * (mcp_http.c). A transport knows JSON, but nothing of what messages mean; mcp_server.c is its host.
 */
#ifndef AIPLAT_TOOLS_MCP_TRANSPORT_H
#define AIPLAT_TOOLS_MCP_TRANSPORT_H

#include "tools/tool_headers.h"
#include <aiplat/adapters.h>

#define MCP_MESSAGE_MAX_BYTES ((size_t)16 * 1024 * 1024)

/* Who is told, from the loop, never from within a call of the transport. Errors are consumed. */
struct mcp_host {
        void (*on_message)(struct mcp_host *host, const aip_value *message);
        /* No answer to this request will come. */
        void (*on_failed)(struct mcp_host *host, int64_t id, aip_error *err);
        /* The connection is gone, with all requests; the transport may be opened again. */
        void (*on_down)(struct mcp_host *host, aip_error *err);
};

struct mcp_transport_ops {
        /* Get ready to send. After a failure, or on_down, it may be called again. */
        int (*open)(void *self, aip_error **err);
        /* `id` is that of a request; 0: a message that is not answered. `json` is copied. */
        int (*send)(void *self, struct aip_str json, int64_t id, int64_t timeout_ms,
                    aip_error **err);
        /* The answer is not waited for any more. on_failed will not be called. */
        void (*forget)(void *self, int64_t id);
        /* What the server and we have agreed on. */
        void (*agreed)(void *self, struct aip_str version);
        /* Leave the server; on_down follows, with an error of code AIP_ECANCELLED. Not to be called when it is
         * not open. */
        void (*close)(void *self);
        void (*free)(void *self); /* it is not open */
};

struct mcp_transport {
        const struct mcp_transport_ops *ops;
        void *self;
};

/* `name` is that of the server, for messages; it, `log` and `host` live as long as the transport. */
struct mcp_transport_options {
        struct aip_loop loop;
        const struct aip_log *log;
        const char *name;
        struct mcp_host *host;
        aip_http_client *client;
};

/* `command` is a list of strings, `env` one of names of variables that the child gets besides the usual ones,
 * or NULL. */
int mcp_stdio_new(const struct mcp_transport_options *options, const aip_value *command,
                  const aip_value *env, struct mcp_transport *ret_transport, aip_error **err);
int mcp_http_new(const struct mcp_transport_options *options, struct aip_str url,
                 const aip_value *headers, struct mcp_transport *ret_transport, aip_error **err);

/* Parse a message, or a batch of them, and hand each to the host. AIP_EPROTOCOL: it is none. */
int mcp_take_text(struct mcp_host *host, struct aip_str json, aip_error **err);

#endif
