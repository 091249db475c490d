/* See tool_headers.h. Values are looked up for each request: they may change while the program runs. */
#include "tools/tool_headers.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/settings.h>
#include <strings.h>

#define TEXT_MAX_BYTES  256
#define VALUE_MAX_BYTES ((size_t)16 * 1024)

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

static int read_header(struct aip_str name, const aip_value *value, struct tool_headers *headers,
                       aip_error **err)
{
        struct tool_header *header = &headers->items[headers->n];
        struct aip_str prefix = aip_value_as_string(aip_value_get_cstr(value, "prefix"));
        int r = check_header(name, value, err);

        if (r < 0)
                return r;
        headers->n++;
        header->name = aip_str_dup(name);
        header->variable = aip_str_dup(aip_value_as_string(aip_value_get_cstr(value, "env")));
        header->prefix = aip_str_dup(prefix.p ? prefix : AIP_STR(""));
        return header->name && header->variable && header->prefix ? 0 : aip_error_set_nomem(err);
}

int tool_headers_read(const aip_value *value, struct tool_headers *ret_headers, aip_error **err)
{
        size_t n = aip_value_size(value);
        int r = 0;

        if (value && (aip_value_type(value) != AIP_VALUE_OBJECT || n > TOOL_HEADERS_MAX))
                return aip_error_set(err, AIP_EINVAL, "headers: must be an object of at most %d",
                                     TOOL_HEADERS_MAX);
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_str name;
                const aip_value *header = aip_value_member(value, i, &name);
                r = read_header(name, header, ret_headers, err);
        }
        return r;
}

void tool_headers_deinit(struct tool_headers *headers)
{
        for (size_t i = 0; i < headers->n; i++) {
                aip_free(headers->items[i].name);
                aip_free(headers->items[i].variable);
                aip_free(headers->items[i].prefix);
        }
        headers->n = 0;
}

int tool_header_value(const struct tool_header *header, const char *label, struct aip_buf *out,
                      aip_error **err)
{
        const char *value = getenv(header->variable);
        int is_good = value && *value;

        for (const char *p = value; is_good && *p; p++)
                is_good = ((unsigned char)*p >= ' ' && *p != 0x7f) || *p == '\t';
        if (!is_good) {
                int r = aip_error_set(err, AIP_ESTATE, "%s: the environment variable %s is %s",
                                      label, header->variable,
                                      value && *value ? "no value of a header" : "not set");
                if (err)
                        aip_error_set_kind(*err, "caller_tool_key_missing");
                return r;
        }
        aip_buf_init(out, VALUE_MAX_BYTES);
        return aip_buf_printf(out, "%s%s", header->prefix, value) < 0 ? aip_error_set_nomem(err)
                                                                      : 0;
}
