/* See tool_hosts.h. Names are compared without regard to case, and never resolved here. */
#include "tools/tool_hosts.h"
#include "macros.h"
#include <strings.h>

/* One entry of the list, cut into its parts. */
struct pattern {
        struct aip_str host; /* "": every host below `domain`, or, if that is empty, every host */
        struct aip_str domain;
        int port; /* 0: the scheme's own */
        int is_any;
};

static struct aip_str trimmed(struct aip_str s)
{
        while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
                s = aip_str_make(s.p + 1, s.n - 1);
        while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
                s.n--;
        return s;
}

/* The next entry of what is left of the list; 0 at the end. */
static int next_entry(const char **rest, struct aip_str *ret_entry)
{
        if (!*rest || !**rest)
                return 0;
        size_t n = strcspn(*rest, ",");
        *ret_entry = trimmed(aip_str_make(*rest, n));
        *rest += n + ((*rest)[n] == ',' ? 1 : 0);
        return 1;
}

static int is_host(struct aip_str host)
{
        for (size_t i = 0; i < host.n; i++)
                if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:",
                            host.p[i]))
                        return 0;
        return host.n > 0 && host.n < 254;
}

static int read_port(struct aip_str text, int *ret_port)
{
        int port = 0;
        for (size_t i = 0; i < text.n; i++) {
                if (text.p[i] < '0' || text.p[i] > '9' || port > 6553)
                        return -1;
                port = port * 10 + (text.p[i] - '0');
        }
        *ret_port = port;
        return port > 0 && port < 65536 ? 0 : -1;
}

/* HOST, HOST:PORT, [IPV6], [IPV6]:PORT */
static int split_port(struct aip_str entry, struct pattern *pattern)
{
        int is_bracketed = entry.n > 0 && entry.p[0] == '[';
        const char *close = is_bracketed ? memchr(entry.p, ']', entry.n) : NULL;
        const char *from = close ? close : entry.p;
        const char *colon = memchr(from, ':', entry.n - (size_t)(from - entry.p));
        size_t n = colon ? (size_t)(colon - entry.p) : entry.n;

        if (is_bracketed && (!close || (size_t)(close - entry.p) + 1 != n))
                return -1;
        pattern->host = is_bracketed ? aip_str_make(entry.p + 1, n - 2) : aip_str_make(entry.p, n);
        if (!colon)
                return 0;
        return read_port(aip_str_make(colon + 1, entry.n - n - 1), &pattern->port);
}

static int read_pattern(struct aip_str entry, struct pattern *ret_pattern)
{
        *ret_pattern = (struct pattern){.is_any = aip_str_eq(entry, AIP_STR("*"))};
        if (ret_pattern->is_any)
                return 0;
        if (split_port(entry, ret_pattern) < 0)
                return -1;
        if (ret_pattern->host.n > 2 && memcmp(ret_pattern->host.p, "*.", 2) == 0) {
                ret_pattern->domain =
                        aip_str_make(ret_pattern->host.p + 1, ret_pattern->host.n - 1);
                ret_pattern->host = (struct aip_str){NULL, 0};
                return is_host(ret_pattern->domain) ? 0 : -1;
        }
        return is_host(ret_pattern->host) ? 0 : -1;
}

int aip_tool_hosts_check(const char *hosts, aip_error **err)
{
        struct aip_str entry;
        struct pattern pattern;

        while (next_entry(&hosts, &entry))
                if (read_pattern(entry, &pattern) < 0)
                        return aip_error_set(err, AIP_EINVAL,
                                             "AIPLAT_TOOL_HOSTS: '%.*s' is not HOST, HOST:PORT, "
                                             "*.DOMAIN or *",
                                             AIP_STR_ARG(entry));
        return 0;
}

static int is_same(struct aip_str a, struct aip_str b)
{
        return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static int matches(const struct pattern *pattern, struct aip_str host, int port, int is_default)
{
        struct aip_str end = host;

        if (pattern->is_any)
                return 1;
        if (pattern->port ? pattern->port != port : !is_default)
                return 0;
        if (pattern->host.n > 0)
                return is_same(pattern->host, host);
        if (host.n <= pattern->domain.n)
                return 0;
        end.p += host.n - pattern->domain.n;
        end.n = pattern->domain.n;
        return is_same(pattern->domain, end);
}

int aip_tool_hosts_allow(const char *hosts, struct aip_str host, int port, int is_default)
{
        struct aip_str entry;
        struct pattern pattern;

        while (next_entry(&hosts, &entry))
                if (read_pattern(entry, &pattern) == 0 && matches(&pattern, host, port, is_default))
                        return 1;
        return 0;
}
