/*
 * URL templates of HTTP tools: "https://api.example.com/v1/cities/{city}?units={units}". An argument's value
 * takes the place of its name, percent-encoded, so that it stays within the path segment or the query's value
 * that it stands in; the scheme, host and port are always the template's. Called when a tool is made and
 * for each of its calls.
 */
#ifndef AIPLAT_TOOLS_TOOL_URL_H
#define AIPLAT_TOOLS_TOOL_URL_H

#include <aiplat/value.h>

/* Whether `url` is a template, calls a host that `hosts` allow (tool_hosts.h), and names only members of
 * `parameters` (a JSON Schema, or NULL). Refusals begin with "url: ". */
int aip_tool_url_check(const char *url, const aip_value *parameters, const char *hosts,
                       aip_error **err);

/* Append the URL. With `is_query`, arguments (an object) that the template does not name become the query's
 * parameters. AIP_EINVAL when the arguments make no URL of it: what they say is for the model to read. */
int aip_tool_url_expand(const char *url, const aip_value *arguments, int is_query,
                        struct aip_buf *out, aip_error **err);

/* Whether the template names the argument. */
int aip_tool_url_names(const char *url, struct aip_str argument);

#endif
