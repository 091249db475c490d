/* See base_url.h. Looks at the form only: whether the host exists is found out by calling it. */
#include "llm/base_url.h"
#include "macros.h"
#include "text/text.h"
#include <strings.h>

#define BASE_URL_MAX_BYTES 2048

static int refuse(const char *why, aip_error **err)
{
        /* The value is not repeated: what was mistyped may hold a password. */
        return aip_error_set(err, AIP_EINVAL, "base_url: %s", why);
}

static int skip_scheme(struct aip_str *rest)
{
        static const char *const schemes[] = {"http://", "https://"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(schemes); i++) {
                size_t n = strlen(schemes[i]);
                if (rest->n >= n && strncasecmp(rest->p, schemes[i], n) == 0) {
                        *rest = aip_str_make(rest->p + n, rest->n - n);
                        return 1;
                }
        }
        return 0;
}

static int has_only_url_characters(struct aip_str text)
{
        for (size_t i = 0; i < text.n; i++) {
                if (text.p[i] <= ' ' || text.p[i] == 0x7f || strchr("\"<>\\^`{|}", text.p[i]))
                        return 0;
        }
        return 1;
}

int aip_base_url_check(struct aip_str base_url, aip_error **err)
{
        int r = aip_text_check("base_url", base_url, BASE_URL_MAX_BYTES, err);
        if (r < 0)
                return r;
        struct aip_str rest = base_url;
        if (!skip_scheme(&rest))
                return refuse("must begin with http:// or https://", err);
        if (!has_only_url_characters(rest))
                return refuse("contains a character that a URL cannot have", err);
        const char *slash = memchr(rest.p, '/', rest.n);
        struct aip_str authority = aip_str_make(rest.p, slash ? (size_t)(slash - rest.p) : rest.n);
        if (authority.n == 0 || authority.p[0] == ':')
                return refuse("has no host", err);
        if (memchr(authority.p, '@', authority.n))
                return refuse("must not hold a user or password; name the key in api_key_env", err);
        if (memchr(rest.p, '?', rest.n) || memchr(rest.p, '#', rest.n))
                return refuse("must not have a query or fragment", err);
        return 0;
}
