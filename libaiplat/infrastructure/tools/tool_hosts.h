/*
 * The hosts that HTTP tools of graph documents may call: what the operator allows (AIPLAT_TOOL_HOSTS). Asked
 * once for each tool, when it is made. Nothing is allowed that is not named.
 */
#ifndef AIPLAT_TOOLS_TOOL_HOSTS_H
#define AIPLAT_TOOLS_TOOL_HOSTS_H

#include <aiplat/str.h>

/*
 * Commas between: "api.example.com" (the scheme's own port), "api.example.com:8443", "*.example.com" (any host
 * below it), "[::1]:80", or "*" for every host and port. NULL or "": none. Whether the text is such a list.
 */
int aip_tool_hosts_check(const char *hosts, aip_error **err);

/* Whether a host (an IPv6 address without brackets) may be called. `is_default` says that the port is the
 * scheme's own. */
int aip_tool_hosts_allow(const char *hosts, struct aip_str host, int port, int is_default);

#endif
