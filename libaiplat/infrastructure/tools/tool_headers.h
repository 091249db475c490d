/*
 * Headers of a tool's requests: {"Authorization": {"env": "WEATHER_TOKEN", "prefix": "Bearer "}}. What a
 * document or a file of servers says is names of environment variables, never a value; values must not
 * get into a log, an error or an answer. Read when a tool or a server is made, used for each request.
 */
#ifndef AIPLAT_TOOLS_TOOL_HEADERS_H
#define AIPLAT_TOOLS_TOOL_HEADERS_H

#include <aiplat/value.h>

#define TOOL_HEADERS_MAX 16

struct tool_header {
        char *name, *variable, *prefix;
};

struct tool_headers {
        struct tool_header items[TOOL_HEADERS_MAX];
        size_t n;
};

/* `value` may be NULL: none. *ret_headers is zeroed by the caller, who deinits it also on failure. Refusals
 * begin with "headers". */
int tool_headers_read(const aip_value *value, struct tool_headers *ret_headers, aip_error **err);
void tool_headers_deinit(struct tool_headers *headers);

/* The header's value now, prefix included; `out` is made here, and owned by caller. AIP_ESTATE when the
 * variable is not set, or no value of a header. */
int tool_header_value(const struct tool_header *header, const char *label, struct aip_buf *out,
                      aip_error **err);

#endif
