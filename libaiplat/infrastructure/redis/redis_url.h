/*
 * Where the Redis server is: a parsed REDIS_URL. Called by the constructor of the cache. The
 * password in it goes to the server and nowhere else.
 *
 *     redis://[[user]:password@]host[:port][/database]
 */
#ifndef AIPLAT_REDIS_URL_H
#define AIPLAT_REDIS_URL_H

#include <aiplat/error.h>
#include <stddef.h>

struct redis_url {
        const char *user;     /* NULL: the default one */
        const char *password; /* NULL: none is asked for */
        const char *host;
        int port;
        int database;
        char *memory; /* behind the pointers above */
        size_t memory_bytes;
};

/* AIP_EINVAL, and AIP_EUNSUPPORTED for rediss://: the client library of Debian 12 has no TLS. */
int redis_url_parse(const char *text, struct redis_url *ret_url, aip_error **err);
/* Wipes the password. */
void redis_url_deinit(struct redis_url *url);

#endif
