/* See http_tool_spec.h. */
#include "tools/http_tool_spec.h"
#include "macros.h"
#include "mem.h"
#include "tools/tool_url.h"
#include <aiplat/settings.h>
#include <strings.h>

#define TIMEOUT_MS     30000
#define MAX_TIMEOUT_MS 600000
#define MAX_BYTES      (1024 * 1024)
#define MOST_BYTES     (16 * 1024 * 1024)
#define URL_MAX_BYTES  8192
#define TEXT_MAX_BYTES 256

/* Letters, digits and what `more` has. */
static int is_word(struct aip_str text, const char *more)
{
        for (size_t i = 0; i < text.n; i++) {
                char c = text.p[i];
                if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      (c && strchr(more, c))))
                        return 0;
        }
        return text.n > 0 && text.n <= TEXT_MAX_BYTES;
}

void http_tool_spec_deinit(struct http_tool_spec *spec)
{
        aip_free(spec->label);
        aip_free(spec->url);
        for (size_t i = 0; i < spec->n_headers; i++) {
                aip_free(spec->headers[i].name);
                aip_free(spec->headers[i].variable);
                aip_free(spec->headers[i].prefix);
        }
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

/* ── headers ─────────────────────────────────────────────────────────────────────────────────── */

/* Of a token's characters; none that say how the request itself is carried. */
static int is_header_name(struct aip_str name)
{
        static const char *const ours[] = {
                "Host",         "Content-Length", "Transfer-Encoding", "Connection",
                "Content-Type", "Expect",         "Upgrade",           "TE",
                "Trailer",      "traceparent"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(ours); i++)
                if (name.n == strlen(ours[i]) && strncasecmp(name.p, ours[i], name.n) == 0)
                        return 0;
        return is_word(name, "-_");
}

/* Our own settings hold the passwords of database and broker; no tool's document may send them away. */
static int is_own_setting(struct aip_str name)
{
        const struct aip_setting_info *info;

        if (name.n >= 7 && memcmp(name.p, "AIPLAT_", 7) == 0)
                return 1;
        for (size_t i = 0; (info = aip_setting_info(i)); i++)
                if (aip_str_eq(aip_str_of(info->name), name))
                        return 1;
        return 0;
}

static int is_variable(struct aip_str name)
{
        return is_word(name, "_") && !(name.p[0] >= '0' && name.p[0] <= '9');
}

static int is_printable(struct aip_str text)
{
        for (size_t i = 0; i < text.n; i++)
                if (text.p[i] < ' ' || text.p[i] > '~')
                        return 0;
        return text.n <= TEXT_MAX_BYTES;
}

static int check_header(struct aip_str name, const aip_value *value, aip_error **err)
{
        const aip_value *prefix = aip_value_get_cstr(value, "prefix");
        struct aip_str variable = aip_value_as_string(aip_value_get_cstr(value, "env"));

        if (!is_header_name(name))
                return aip_error_set(err, AIP_EINVAL,
                                     "headers/%.*s: not a header that a tool may set",
                                     AIP_STR_ARG(name));
        if (aip_value_size(value) != (prefix ? 2u : 1u) || !is_variable(variable) ||
            (prefix && (aip_value_type(prefix) != AIP_VALUE_STRING ||
                        !is_printable(aip_value_as_string(prefix)))))
                return aip_error_set(err, AIP_EINVAL,
                                     "headers/%.*s: must be {\"env\": NAME of an environment "
                                     "variable, \"prefix\": text}",
                                     AIP_STR_ARG(name));
        if (is_own_setting(variable))
                return aip_error_set(
                        err, AIP_EINVAL,
                        "headers/%.*s/env: %.*s is a setting of this program, which no "
                        "tool gets to see",
                        AIP_STR_ARG(name), AIP_STR_ARG(variable));
        return 0;
}

static int read_header(struct aip_str name, const aip_value *value, struct http_tool_spec *spec,
                       aip_error **err)
{
        struct http_tool_header *header = &spec->headers[spec->n_headers];
        struct aip_str prefix = aip_value_as_string(aip_value_get_cstr(value, "prefix"));
        int r = check_header(name, value, err);

        if (r < 0)
                return r;
        spec->n_headers++;
        header->name = aip_str_dup(name);
        header->variable = aip_str_dup(aip_value_as_string(aip_value_get_cstr(value, "env")));
        header->prefix = aip_str_dup(prefix.p ? prefix : AIP_STR(""));
        return header->name && header->variable && header->prefix ? 0 : aip_error_set_nomem(err);
}

static int read_headers(const aip_value *fields, struct http_tool_spec *spec, aip_error **err)
{
        const aip_value *headers = aip_value_get_cstr(fields, "headers");
        size_t n = aip_value_size(headers);
        int r = 0;

        if (headers && (aip_value_type(headers) != AIP_VALUE_OBJECT || n > HTTP_TOOL_MAX_HEADERS))
                return aip_error_set(err, AIP_EINVAL, "headers: must be an object of at most %d",
                                     HTTP_TOOL_MAX_HEADERS);
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_str name;
                const aip_value *value = aip_value_member(headers, i, &name);
                r = read_header(name, value, spec, err);
        }
        return r;
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
        return r < 0 ? r : read_headers(tool->fields, ret_spec, err);
}
