/* Parses REDIS_URL (see redis_url.h). It must never put the URL into an error. */
#include "redis_url.h"

#include "macros.h"
#include "mem.h"
#include "percent.h"

#define DEFAULT_PORT 6379
#define DATABASE_MAX 65535
#define PORT_MAX     65535

static int bad_url(aip_error **err)
{
        return aip_error_set(err, AIP_EINVAL,
                             "not a Redis URL; it looks like redis://:password@host:6379/0");
}

/* Digits only. */
static int parse_number(const char *text, long max, int *ret_number, aip_error **err)
{
        char *end;
        if (*text < '0' || *text > '9')
                return bad_url(err);
        long number = strtol(text, &end, 10);
        if (*end || number > max)
                return bad_url(err);
        *ret_number = (int)number;
        return 0;
}

static int parse_user(struct redis_url *url, char *user, aip_error **err)
{
        char *password = strchr(user, ':');
        if (!password)
                return aip_error_set(err, AIP_EINVAL,
                                     "Redis URL: a password stands behind a colon, as in "
                                     "redis://:password@host");
        *password++ = '\0';
        if (percent_decode(user) < 0 || percent_decode(password) < 0)
                return bad_url(err);
        url->user = *user ? user : NULL;
        url->password = password;
        return 0;
}

static int parse_host(struct redis_url *url, char *host, aip_error **err)
{
        char *port = strrchr(host, ':');
        if (*host == '[') {
                char *end = strchr(host++, ']');
                if (!end || (end[1] && end[1] != ':'))
                        return bad_url(err);
                port = end[1] ? end + 1 : NULL;
                *end = '\0';
        }
        if (port) {
                *port++ = '\0';
                int r = parse_number(port, PORT_MAX, &url->port, err);
                if (r < 0)
                        return r;
                if (url->port == 0)
                        return bad_url(err);
        }
        if (*host == '\0' || percent_decode(host) < 0)
                return bad_url(err);
        url->host = host;
        return 0;
}

static int parse(struct redis_url *url, aip_error **err)
{
        static const char scheme[] = "redis://";
        if (strncmp(url->memory, "rediss://", 9) == 0)
                return aip_error_set(err, AIP_EUNSUPPORTED,
                                     "rediss:// needs a hiredis with TLS, and this one has none; "
                                     "use redis:// in a private network or through a TLS tunnel");
        if (strncmp(url->memory, scheme, sizeof(scheme) - 1) != 0 || strpbrk(url->memory, "?#"))
                return bad_url(err);
        char *authority = url->memory + sizeof(scheme) - 1;
        char *database = strchr(authority, '/');
        if (database)
                *database++ = '\0';
        if (database && *database) {
                int r = parse_number(database, DATABASE_MAX, &url->database, err);
                if (r < 0)
                        return r;
        }
        char *at = strrchr(authority, '@');
        if (at) {
                *at = '\0';
                int r = parse_user(url, authority, err);
                if (r < 0)
                        return r;
        }
        return parse_host(url, at ? at + 1 : authority, err);
}

int redis_url_parse(const char *text, struct redis_url *ret_url, aip_error **err)
{
        struct redis_url url = {.port = DEFAULT_PORT, .memory = aip_strdup(text)};
        if (!url.memory)
                return aip_error_set_nomem(err);
        url.memory_bytes = strlen(text);
        int r = parse(&url, err);
        if (r < 0)
                redis_url_deinit(&url);
        else
                *ret_url = url;
        return r;
}

void redis_url_deinit(struct redis_url *url)
{
        if (url->memory)
                explicit_bzero(url->memory, url->memory_bytes);
        aip_free(url->memory);
        *url = (struct redis_url){0};
}
