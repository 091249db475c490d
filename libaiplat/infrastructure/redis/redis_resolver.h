/*
 * Looks a host name up on a thread of its own, because getaddrinfo() blocks, for many seconds when
 * a name server is away, and hiredis would call it on the loop. Called by redis_cache.c.
 */
#ifndef AIPLAT_REDIS_RESOLVER_H
#define AIPLAT_REDIS_RESOLVER_H

#include <aiplat/ports/loop.h>
#include <arpa/inet.h>
#include <pthread.h>

struct redis_resolver {
        /* set by the caller */
        struct aip_loop loop;
        const char *host;
        /* Loop thread, once for each start. `address` NULL: `error` says why. */
        void (*done)(struct redis_resolver *resolver, const char *address, const char *error);

        /* the resolver's */
        int is_busy;       /* loop thread */
        unsigned attempts; /* a host with several addresses is given them in turn */
        pthread_t thread;
        struct aip_task task;
        char address[INET6_ADDRSTRLEN];
        int code;
};

/* May call `done` later only. An address needs no thread. Not while it is busy. */
void redis_resolver_start(struct redis_resolver *resolver);

#endif
