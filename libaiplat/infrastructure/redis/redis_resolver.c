/* Looks a host name up without holding the loop (see redis_resolver.h). */
#include "redis_resolver.h"

#include <aiplat/op.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static unsigned count(const struct addrinfo *found)
{
        unsigned n = 0;
        for (; found; found = found->ai_next)
                n++;
        return n;
}

/* The n-th address, IPv4 before IPv6: a "localhost" that is both is more often served on the
 * former. */
static const struct addrinfo *pick(const struct addrinfo *found, unsigned n)
{
        const struct addrinfo *one;
        n %= count(found);
        for (one = found; one; one = one->ai_next)
                if (one->ai_family == AF_INET && n-- == 0)
                        return one;
        for (one = found; one; one = one->ai_next)
                if (one->ai_family != AF_INET && n-- == 0)
                        return one;
        return found;
}

static int look_up(struct redis_resolver *resolver)
{
        const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        int code = getaddrinfo(resolver->host, NULL, &hints, &found);
        if (code == 0) {
                const struct addrinfo *one = pick(found, resolver->attempts - 1);
                code = getnameinfo(one->ai_addr, one->ai_addrlen, resolver->address,
                                   sizeof(resolver->address), NULL, 0, NI_NUMERICHOST);
        }
        if (found)
                freeaddrinfo(found);
        return code;
}

static void *run(void *user)
{
        struct redis_resolver *resolver = user;
        resolver->code = look_up(resolver);
        aip_post(resolver->loop, &resolver->task);
        return NULL;
}

static void finish(struct redis_resolver *resolver)
{
        resolver->is_busy = 0;
        if (resolver->code == 0)
                resolver->done(resolver, resolver->address, NULL);
        else
                resolver->done(resolver, NULL, gai_strerror(resolver->code));
}

static void thread_done(struct aip_task *task)
{
        struct redis_resolver *resolver = AIP_CONTAINER_OF(task, struct redis_resolver, task);
        pthread_join(resolver->thread, NULL);
        finish(resolver);
}

static void address_done(struct aip_task *task)
{
        finish(AIP_CONTAINER_OF(task, struct redis_resolver, task));
}

static int is_address(const char *host)
{
        struct in6_addr ignored;
        return inet_pton(AF_INET, host, &ignored) == 1 || inet_pton(AF_INET6, host, &ignored) == 1;
}

void redis_resolver_start(struct redis_resolver *resolver)
{
        resolver->is_busy = 1;
        resolver->attempts++;
        resolver->task.run = thread_done;
        if (!is_address(resolver->host)) {
                if (pthread_create(&resolver->thread, NULL, run, resolver) == 0)
                        return;
                resolver->code = EAI_AGAIN;
        } else {
                snprintf(resolver->address, sizeof(resolver->address), "%s", resolver->host);
                resolver->code = 0;
        }
        resolver->task.run = address_done;
        aip_defer(resolver->loop, &resolver->task);
}
