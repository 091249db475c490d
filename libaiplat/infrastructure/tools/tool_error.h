/*
 * Names of what goes wrong with the requests of tools. The HTTP client speaks of model providers; called by those
 * that use it for tools.
 */
#ifndef AIPLAT_TOOLS_TOOL_ERROR_H
#define AIPLAT_TOOLS_TOOL_ERROR_H

#include <aiplat/error.h>

/* The client's kind of error as a tool's: "tool_unreachable" for "provider_unreachable". */
void tool_error_rename(aip_error *err);

#endif
