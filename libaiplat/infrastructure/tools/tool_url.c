/* See tool_url.h. The URL is taken apart by libcurl, which also connects: one reading of it, not two. */
#include "tools/tool_url.h"
#include "macros.h"
#include "tools/tool_hosts.h"
#include <curl/curl.h>

/* ── reading the template ────────────────────────────────────────────────────────────────────── */

/* The next "{name}" from `text` on: where it begins, or NULL. *ret_name is what stands in it. */
static const char *next_name(const char *text, struct aip_str *ret_name)
{
        const char *open = strchr(text, '{');
        const char *close = open ? strchr(open, '}') : NULL;

        if (!close)
                return NULL;
        *ret_name = aip_str_make(open + 1, (size_t)(close - open) - 1);
        return open;
}

int aip_tool_url_names(const char *url, struct aip_str argument)
{
        struct aip_str name;

        while ((url = next_name(url, &name))) {
                if (aip_str_eq(name, argument))
                        return 1;
                url += name.n + 2;
        }
        return 0;
}

static int check_characters(const char *url, aip_error **err)
{
        for (const char *p = url; *p; p++)
                if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`|#", *p))
                        return aip_error_set(err, AIP_EINVAL,
                                             "url: character %d may not stand in it as it is",
                                             (int)(p - url) + 1);
        return 0;
}

static int check_names(const char *url, const aip_value *parameters, aip_error **err)
{
        const aip_value *known = aip_value_get_cstr(parameters, "properties");
        const char *rest = url, *at;
        struct aip_str name;

        while ((at = next_name(rest, &name))) {
                if (!aip_value_get(known, name))
                        return aip_error_set(err, AIP_EINVAL,
                                             "url: {%.*s} is none of the properties of parameters",
                                             AIP_STR_ARG(name));
                rest = at + name.n + 2;
        }
        if (strpbrk(rest, "{}"))
                return aip_error_set(err, AIP_EINVAL, "url: a brace without its other half");
        return 0;
}

/* The template with its names left out, which is a URL with the same host. */
static int append_without_names(const char *url, struct aip_buf *out)
{
        const char *at;
        struct aip_str name;
        int r = 0;

        while (r == 0 && (at = next_name(url, &name))) {
                r = aip_buf_append(out, aip_str_make(url, (size_t)(at - url)));
                if (r == 0)
                        r = aip_buf_append_char(out, '0');
                url = at + name.n + 2;
        }
        return r < 0 ? r : aip_buf_append_cstr(out, url);
}

static void curl_free_p(char **text)
{
        curl_free(*text);
}

static void free_url(CURLU **url)
{
        curl_url_cleanup(*url);
}

/* Names may not stand in the host, or in front of it. */
static int check_authority(const char *url, aip_error **err)
{
        const char *host = strstr(url, "://");
        size_t n = host ? strcspn(host + 3, "/?") : 0;

        if (!host || (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0))
                return aip_error_set(err, AIP_EINVAL, "url: must begin with http:// or https://");
        if (n == 0 || memchr(host + 3, '{', n) || memchr(host + 3, '@', n))
                return aip_error_set(err, AIP_EINVAL,
                                     "url: its host must be written out, without a user's name");
        return 0;
}

static int check_host(CURLU *parsed, const char *hosts, aip_error **err)
{
        _cleanup_(curl_free_p) char *host = NULL;
        _cleanup_(curl_free_p) char *port = NULL;
        _cleanup_(curl_free_p) char *scheme = NULL;
        struct aip_str name;
        int number, is_default;

        if (curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
                return aip_error_set_nomem(err);
        name = aip_str_of(host);
        if (name.n > 2 && name.p[0] == '[')
                name = aip_str_make(name.p + 1, name.n - 2);
        number = (int)strtol(port, NULL, 10);
        is_default = number == (strcmp(scheme, "https") == 0 ? 443 : 80);
        if (aip_tool_hosts_allow(hosts, name, number, is_default))
                return 0;
        return aip_error_set(err, AIP_EINVAL,
                             "url: the host %s, port %d, is not one that tools may call "
                             "(AIPLAT_TOOL_HOSTS)",
                             host, number);
}

int aip_tool_url_check(const char *url, const aip_value *parameters, const char *hosts,
                       aip_error **err)
{
        _cleanup_(free_url) CURLU *parsed = curl_url();
        _cleanup_(aip_buf_deinit) struct aip_buf plain = AIP_BUF_INIT(64 * 1024);
        CURLUcode code;
        int r;

        if ((r = check_characters(url, err)) < 0 || (r = check_authority(url, err)) < 0 ||
            (r = check_names(url, parameters, err)) < 0)
                return r;
        if (!parsed || append_without_names(url, &plain) < 0)
                return aip_error_set_nomem(err);
        code = curl_url_set(parsed, CURLUPART_URL, plain.p, CURLU_NON_SUPPORT_SCHEME);
        if (code == CURLUE_OUT_OF_MEMORY)
                return aip_error_set_nomem(err);
        if (code != CURLUE_OK)
                return aip_error_set(err, AIP_EINVAL, "url: %s", curl_url_strerror(code));
        return check_host(parsed, hosts, err);
}

/* ── filling it in ───────────────────────────────────────────────────────────────────────────── */

static int append_encoded(struct aip_buf *out, struct aip_str text)
{
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789-._~";
        int r = 0;

        for (size_t i = 0; r == 0 && i < text.n; i++) {
                char c = text.p[i];
                r = c && strchr(plain, c) ? aip_buf_append_char(out, c)
                                          : aip_buf_printf(out, "%%%02X", (unsigned char)c);
        }
        return r;
}

/* A string as it is, anything else as JSON; null is nothing. */
static int append_value(struct aip_buf *out, const aip_value *value)
{
        _cleanup_(aip_buf_deinit) struct aip_buf json = AIP_BUF_INIT(out->max_bytes);
        int r;

        if (aip_value_type(value) == AIP_VALUE_NULL)
                return 0;
        if (aip_value_type(value) == AIP_VALUE_STRING)
                return append_encoded(out, aip_value_as_string(value));
        r = aip_value_print(value, &json, NULL);
        return r < 0 ? r : append_encoded(out, aip_buf_str(&json));
}

static int append_parameter(struct aip_buf *out, struct aip_str name, const aip_value *value)
{
        int r = aip_buf_append_char(out, strchr(out->p, '?') ? '&' : '?');

        if (r == 0)
                r = append_encoded(out, name);
        if (r == 0)
                r = aip_buf_append_char(out, '=');
        return r < 0 ? r : append_value(out, value);
}

/* A list is its name once for each element. */
static int append_query(const char *url, const aip_value *arguments, struct aip_buf *out)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < aip_value_size(arguments); i++) {
                struct aip_str name;
                const aip_value *value = aip_value_member(arguments, i, &name);
                if (aip_value_type(value) == AIP_VALUE_NULL || aip_tool_url_names(url, name))
                        continue;
                if (aip_value_type(value) != AIP_VALUE_LIST)
                        r = append_parameter(out, name, value);
                else
                        for (size_t j = 0; r == 0 && j < aip_value_size(value); j++)
                                r = append_parameter(out, name, aip_value_at(value, j));
        }
        return r;
}

static int append_filled(const char *url, const aip_value *arguments, struct aip_buf *out)
{
        const char *at;
        struct aip_str name;
        int r = 0;

        while (r == 0 && (at = next_name(url, &name))) {
                r = aip_buf_append(out, aip_str_make(url, (size_t)(at - url)));
                if (r == 0)
                        r = append_value(out, aip_value_get(arguments, name));
                url = at + name.n + 2;
        }
        return r < 0 ? r : aip_buf_append_cstr(out, url);
}

/* "." and ".." as whole segments would lead out of where the template put them. */
static int has_dot_segment(const char *url)
{
        const char *path = strstr(url, "://") + 3;
        size_t end = strcspn(path, "?");

        for (size_t i = 0; i < end; i++) {
                size_t n = path[i] == '/' ? strcspn(path + i + 1, "/?") : 0;
                if ((n == 1 || n == 2) && strncmp(path + i + 1, "..", n) == 0)
                        return 1;
        }
        return 0;
}

int aip_tool_url_expand(const char *url, const aip_value *arguments, int is_query,
                        struct aip_buf *out, aip_error **err)
{
        int r = append_filled(url, arguments, out);

        if (r == 0 && is_query)
                r = append_query(url, arguments, out);
        if (r == AIP_ELIMIT)
                return aip_error_set(err, AIP_EINVAL, "the arguments are too long for a URL");
        if (r < 0)
                return aip_error_set_nomem(err);
        if (has_dot_segment(out->p))
                return aip_error_set(err, AIP_EINVAL,
                                     "an argument that is \".\" or \"..\" cannot stand in a path");
        return 0;
}
