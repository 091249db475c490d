/*
 * One connection to Redis on the loop, made again and again: hiredis' asynchronous API, the look-up of
 * the host, AUTH and SELECT, back-off, and one warning for each trouble. Used by the cache and by the
 * event stream; what is sent, and how long an answer may take, is theirs. Loop thread only.
 *
 *                  ┌──────────────────────────── back-off, 0.1–5 s ◄───────────────┐
 *                  ▼                                                               │
 *     DOWN ── look the host up ──► CONNECTING ── AUTH, SELECT, PING answered ──► READY
 *                                      └── refused, or CONNECT_TIMEOUT_MS ── DOWN ─┘
 */
#ifndef AIPLAT_REDIS_LINK_H
#define AIPLAT_REDIS_LINK_H

#include <aiplat/log.h>
#include <aiplat/op.h>
#include <aiplat/ports/random.h>
#include <hiredis/async.h>

#include "redis_resolver.h"
#include "redis_url.h"

#define REDIS_REASON_BYTES 200

enum redis_state { REDIS_DOWN = 0, REDIS_CONNECTING, REDIS_READY };

struct redis_link {
        /* set by the caller */
        struct aip_loop loop;
        const struct aip_log *log; /* NULL: says nothing (another link to the same server does) */
        struct aip_random random;
        const char *component;
        const struct redis_url *url;
        void (*ready)(struct redis_link *link);  /* may be NULL */
        void (*down)(struct redis_link *link);   /* it was READY; may be NULL */
        void (*closed)(struct redis_link *link); /* after redis_link_close; may free the link */

        /* the link's; the caller reads state, context and reason */
        enum redis_state state;
        redisAsyncContext *context; /* NULL: none; its data is the link */
        char reason[REDIS_REASON_BYTES];
        struct redis_resolver resolver;
        struct aip_watch watch;
        struct aip_timer timer; /* DOWN: the next try; CONNECTING: the end of this one */
        int64_t backoff_ms;
        int has_logged; /* the trouble, since it was last READY */
        int is_closing;
};

void redis_link_start(struct redis_link *link);
/* Let the connection go, and make another. The commands in flight are answered (with NULL) before, or
 * as soon as, this returns. */
void redis_link_drop(struct redis_link *link, const char *reason);
/* Answers what is in flight; then `closed`, at once or later (a look-up cannot be cancelled). */
void redis_link_close(struct redis_link *link);
/* Why nothing can be asked: AIP_EUNAVAILABLE, or AIP_ECANCELLED while it closes; retryable. */
int redis_link_unavailable(const struct redis_link *link, aip_error **err);

#endif
