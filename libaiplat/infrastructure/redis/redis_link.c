/* One connection to Redis on the loop (see redis_link.h). It must never block it, and knows nothing of
 * what is sent. */
#include "redis_link.h"

#include "macros.h"

#include <stdio.h>

#define CONNECT_TIMEOUT_MS 1000 /* until PING is answered: a frozen server accepts connections */
#define BACKOFF_MIN_MS     100
#define BACKOFF_MAX_MS     5000

static void connect_soon(struct redis_link *link);

int redis_link_unavailable(const struct redis_link *link, aip_error **err)
{
        int r = link->is_closing ? aip_error_set(err, AIP_ECANCELLED, "the connection was closed")
                                 : aip_error_set(err, AIP_EUNAVAILABLE, "Redis %s:%d: %s",
                                                 link->url->host, link->url->port, link->reason);
        aip_error_set_retryable(*err, 1, 0);
        return r;
}

static void note_trouble(struct redis_link *link, const char *reason)
{
        snprintf(link->reason, sizeof(link->reason), "%s", reason);
        if (!link->has_logged && !link->is_closing)
                aip_log_write(link->log, AIP_LOG_WARNING, link->component,
                              "%s:%d: %s; going on without", link->url->host, link->url->port,
                              link->reason);
        link->has_logged = 1;
}

/* ---- hiredis on the loop ---- */

static void watch_ready(struct aip_watch *watch, unsigned events)
{
        struct redis_link *link = AIP_CONTAINER_OF(watch, struct redis_link, watch);
        if (link->context && (events & AIP_READABLE))
                redisAsyncHandleRead(link->context);
        if (link->context && (events & AIP_WRITABLE))
                redisAsyncHandleWrite(link->context);
}

/* A watch that cannot be set leaves the connection silent, and so to its timeouts. */
static void watch_for(struct redis_link *link, unsigned events)
{
        if (!link->context || events == link->watch.events)
                return;
        aip_error *err = NULL;
        if (aip_watch_set(link->loop, &link->watch, events, &err) < 0)
                aip_log_write(link->log, AIP_LOG_ERROR, link->component, "%s",
                              aip_error_message(err));
        aip_error_free(err);
}

static void add_read(void *user)
{
        struct redis_link *link = user;
        watch_for(link, link->watch.events | AIP_READABLE);
}

static void del_read(void *user)
{
        struct redis_link *link = user;
        watch_for(link, link->watch.events & ~AIP_READABLE);
}

static void add_write(void *user)
{
        struct redis_link *link = user;
        watch_for(link, link->watch.events | AIP_WRITABLE);
}

static void del_write(void *user)
{
        struct redis_link *link = user;
        watch_for(link, link->watch.events & ~AIP_WRITABLE);
}

static void become_down(struct redis_link *link)
{
        int was_ready = link->state == REDIS_READY;

        link->state = REDIS_DOWN;
        if (was_ready && link->down)
                link->down(link);
}

/* hiredis lets the descriptor go, whatever the reason; it may say so twice. */
static void cleanup(void *user)
{
        struct redis_link *link = user;
        if (!link->context)
                return;
        if (link->context->err)
                note_trouble(link, link->context->errstr);
        watch_for(link, 0);
        link->context = NULL;
        become_down(link);
        if (!link->is_closing)
                connect_soon(link);
}

static void attach(struct redis_link *link, redisAsyncContext *context)
{
        link->context = context;
        link->watch = (struct aip_watch){.ready = watch_ready, .fd = context->c.fd};
        context->data = link;
        context->ev.data = link;
        context->ev.addRead = add_read;
        context->ev.delRead = del_read;
        context->ev.addWrite = add_write;
        context->ev.delWrite = del_write;
        context->ev.cleanup = cleanup;
}

void redis_link_drop(struct redis_link *link, const char *reason)
{
        note_trouble(link, reason);
        become_down(link);
        if (link->context)
                redisAsyncFree(link->context);
}

/* ---- connecting ---- */

static void become_ready(struct redis_link *link)
{
        aip_timer_clear(link->loop, &link->timer);
        link->state = REDIS_READY;
        link->backoff_ms = BACKOFF_MIN_MS;
        link->has_logged = 0;
        snprintf(link->reason, sizeof(link->reason), "the connection was lost");
        aip_log_write(link->log, AIP_LOG_INFO, link->component, "connected to %s:%d",
                      link->url->host, link->url->port);
        if (link->ready)
                link->ready(link);
}

/* AUTH, SELECT or PING was answered; a refusal is final for this connection. */
static void got_greeting(redisAsyncContext *context, void *data, void *user)
{
        struct redis_link *link = context->data;
        const redisReply *reply = data;
        if (link->state != REDIS_CONNECTING || link->context != context)
                return;
        if (!reply)
                return; /* the connection was lost */
        if (reply->type == REDIS_REPLY_ERROR)
                redis_link_drop(link, reply->str);
        else if (user)
                become_ready(link);
}

static void greet(struct redis_link *link)
{
        const struct redis_url *url = link->url;
        redisAsyncContext *context = link->context;
        if (url->password && url->user)
                redisAsyncCommand(context, got_greeting, NULL, "AUTH %s %s", url->user,
                                  url->password);
        else if (url->password)
                redisAsyncCommand(context, got_greeting, NULL, "AUTH %s", url->password);
        if (url->database != 0)
                redisAsyncCommand(context, got_greeting, NULL, "SELECT %d", url->database);
        redisAsyncCommand(context, got_greeting, link, "PING"); /* the last one makes it ready */
}

static void got_connection(const redisAsyncContext *context, int status)
{
        struct redis_link *link = context->data;
        if (status != REDIS_OK)
                return; /* hiredis cleans up by itself */
        redisEnableKeepAlive(&link->context->c);
        greet(link);
}

static void connect_late(struct aip_timer *timer)
{
        struct redis_link *link = AIP_CONTAINER_OF(timer, struct redis_link, timer);
        redis_link_drop(link, "the server did not answer when we connected");
}

static void got_address(struct redis_resolver *resolver, const char *address, const char *error);

static void try_now(struct aip_timer *timer)
{
        struct redis_link *link = AIP_CONTAINER_OF(timer, struct redis_link, timer);
        redis_resolver_start(&link->resolver);
}

/* Half to all of the present back-off, which doubles from try to try. */
static void connect_soon(struct redis_link *link)
{
        uint64_t half_ms = (uint64_t)link->backoff_ms / 2;
        int64_t delay_ms = (int64_t)(half_ms + aip_random_u64(link->random) % (half_ms + 1));
        link->backoff_ms = AIP_MIN(link->backoff_ms * 2, BACKOFF_MAX_MS);
        link->timer.fire = try_now;
        aip_timer_set(link->loop, &link->timer, delay_ms);
}

static void connect_to(struct redis_link *link, const char *address)
{
        redisAsyncContext *context = redisAsyncConnect(address, link->url->port);
        if (!context || context->err) {
                note_trouble(link, context ? context->errstr : "out of memory");
                if (context)
                        redisAsyncFree(context);
                connect_soon(link);
                return;
        }
        link->state = REDIS_CONNECTING;
        link->timer.fire = connect_late;
        aip_timer_set(link->loop, &link->timer, CONNECT_TIMEOUT_MS);
        attach(link, context);
        redisAsyncSetConnectCallback(context, got_connection); /* begins to watch for it */
}

static void got_address(struct redis_resolver *resolver, const char *address, const char *error)
{
        struct redis_link *link = AIP_CONTAINER_OF(resolver, struct redis_link, resolver);
        if (link->is_closing) {
                link->closed(link);
        } else if (address) {
                connect_to(link, address);
        } else {
                note_trouble(link, error);
                connect_soon(link);
        }
}

void redis_link_start(struct redis_link *link)
{
        link->backoff_ms = BACKOFF_MIN_MS;
        link->resolver.loop = link->loop;
        link->resolver.host = link->url->host;
        link->resolver.done = got_address;
        snprintf(link->reason, sizeof(link->reason), "not connected yet");
        redis_resolver_start(&link->resolver);
}

void redis_link_close(struct redis_link *link)
{
        link->is_closing = 1;
        aip_timer_clear(link->loop, &link->timer);
        if (link->context)
                redisAsyncFree(link->context);
        if (!link->resolver.is_busy)
                link->closed(link);
}
