/*
 * What a graph document says of an HTTP tool, read and checked:
 *     {"type": "http", "description": …, "parameters": JSON Schema, "method": "GET", "url": TEMPLATE,
 *      "headers": {"Authorization": {"env": "WEATHER_TOKEN", "prefix": "Bearer "}},
 *      "timeout_ms": 30000, "max_bytes": 1048576}
 * Documents come from people who are not the operator: what they may call and read is limited here.
 */
#ifndef AIPLAT_TOOLS_HTTP_TOOL_SPEC_H
#define AIPLAT_TOOLS_HTTP_TOOL_SPEC_H

#include "tools/tool_headers.h"
#include <aiplat/tool_registry.h>

struct http_tool_spec {
        char *label;        /* for messages */
        char *url;          /* a template */
        const char *method; /* static */
        struct tool_headers headers;
        int32_t timeout_ms;
        size_t max_bytes; /* of an answer's body */
};

/* `ret_spec` is zeroed by the caller, who deinits it also on failure. Refusals begin with a member's name. */
int http_tool_spec_read(const struct aip_tool_spec *tool, const char *hosts,
                        struct http_tool_spec *ret_spec, aip_error **err);
void http_tool_spec_deinit(struct http_tool_spec *spec);

/* GET and DELETE: arguments travel in the URL. */
int http_tool_has_body(const struct http_tool_spec *spec);

#endif
