/* See http_tool_spec.h. */
#include "tools/http_tool_spec.h"
#include "macros.h"
#include "mem.h"
#include "tools/tool_url.h"

#define TIMEOUT_MS     30000
#define MAX_TIMEOUT_MS 600000
#define MAX_BYTES      (1024 * 1024)
#define MOST_BYTES     (16 * 1024 * 1024)
#define URL_MAX_BYTES  8192

void http_tool_spec_deinit(struct http_tool_spec *spec)
{
        aip_free(spec->label);
        aip_free(spec->url);
        tool_headers_deinit(&spec->headers);
}

int http_tool_has_body(const struct http_tool_spec *spec)
{
        return strcmp(spec->method, "GET") != 0 && strcmp(spec->method, "DELETE") != 0;
}

static int check_members(const aip_value *fields, aip_error **err)
{
        static const char *const known[] = {"type", "description", "parameters", "method",
                                            "url",  "headers",     "timeout_ms", "max_bytes"};
        for (size_t i = 0; i < aip_value_size(fields); i++) {
                struct aip_str name;
                size_t k = 0;
                (void)aip_value_member(fields, i, &name);
                while (k < AIP_ARRAY_SIZE(known) && !aip_str_eq(aip_str_of(known[k]), name))
                        k++;
                if (k == AIP_ARRAY_SIZE(known))
                        return aip_error_set(err, AIP_EINVAL,
                                             "%.*s: an HTTP tool has no such member",
                                             AIP_STR_ARG(name));
        }
        return 0;
}

static int read_method(const aip_value *fields, struct http_tool_spec *spec, aip_error **err)
{
        static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
        const aip_value *value = aip_value_get_cstr(fields, "method");

        spec->method = methods[0];
        if (!value)
                return 0;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(methods); i++) {
                if (aip_str_eq(aip_value_as_string(value), aip_str_of(methods[i]))) {
                        spec->method = methods[i];
                        return 0;
                }
        }
        return aip_error_set(err, AIP_EINVAL, "method: must be GET, POST, PUT, PATCH or DELETE");
}

static int read_number(const aip_value *fields, const char *name, int64_t fallback, int64_t max,
                       int64_t *ret_number, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(fields, name);

        *ret_number = value ? aip_value_as_int(value, 0) : fallback;
        if (*ret_number >= 1 && *ret_number <= max)
                return 0;
        return aip_error_set(err, AIP_EINVAL, "%s: must be a whole number from 1 to %lld", name,
                             (long long)max);
}

static int read_limits(const aip_value *fields, struct http_tool_spec *spec, aip_error **err)
{
        int64_t timeout_ms = 0, max_bytes = 0;
        int r = read_number(fields, "timeout_ms", TIMEOUT_MS, MAX_TIMEOUT_MS, &timeout_ms, err);

        if (r == 0)
                r = read_number(fields, "max_bytes", MAX_BYTES, MOST_BYTES, &max_bytes, err);
        if (r < 0)
                return r;
        spec->timeout_ms = (int32_t)timeout_ms;
        spec->max_bytes = (size_t)max_bytes;
        return 0;
}

static int read_url(const struct aip_tool_spec *tool, const char *hosts,
                    struct http_tool_spec *spec, aip_error **err)
{
        struct aip_str url = aip_value_as_string(aip_value_get_cstr(tool->fields, "url"));

        if (url.n == 0 || url.n > URL_MAX_BYTES)
                return aip_error_set(err, AIP_EINVAL, "url: must be a string of 1 to %d bytes",
                                     URL_MAX_BYTES);
        if (!(spec->url = aip_str_dup(url)))
                return aip_error_set_nomem(err);
        return aip_tool_url_check(spec->url, aip_value_get_cstr(tool->fields, "parameters"), hosts,
                                  err);
}

int http_tool_spec_read(const struct aip_tool_spec *tool, const char *hosts,
                        struct http_tool_spec *ret_spec, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf label = AIP_BUF_INIT(256);
        int r = check_members(tool->fields, err);

        if (r == 0 && aip_buf_printf(&label, "tool %.*s", AIP_STR_ARG(tool->name)) == AIP_ENOMEM)
                r = aip_error_set_nomem(err);
        if (r == 0 && !(ret_spec->label = aip_buf_take(&label)))
                r = aip_error_set_nomem(err);
        if (r == 0)
                r = read_method(tool->fields, ret_spec, err);
        if (r == 0)
                r = read_limits(tool->fields, ret_spec, err);
        if (r == 0)
                r = read_url(tool, hosts, ret_spec, err);
        if (r < 0)
                return r;
        return tool_headers_read(aip_value_get_cstr(tool->fields, "headers"), &ret_spec->headers,
                                 err);
}
