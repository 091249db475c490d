/*
 * The read cache on Redis, over the asynchronous API of hiredis on the loop. Redis may vanish,
 * freeze or forget at any moment and costs only speed: while there is no connection a get fails
 * at once and a put is dropped; a command that is not answered in time fails, and the connection
 * with it.
 *
 *                  ┌──────────────────────────── back-off, 0.1–5 s ◄───────────────┐
 *                  ▼                                                               │
 *     DOWN ── look the host up ──► CONNECTING ── AUTH, SELECT, PING answered ──► READY
 *                                      └── refused, or CONNECT_TIMEOUT_MS ── DOWN ─┘
 *
 * Commands are pipelined: whatever is asked in one turn of the loop leaves in one write. Loop
 * thread only, except for the look-up of the host's name (redis_resolver.h).
 */
#include <aiplat/adapters.h>

#include "macros.h"
#include "mem.h"
#include "redis_resolver.h"
#include "redis_url.h"

#include <hiredis/async.h>
#include <stdio.h>

#define COMPONENT          "redis"
#define CONNECT_TIMEOUT_MS 1000 /* until PING is answered: a frozen server accepts connections */
#define COMMAND_TIMEOUT_MS 200
#define BACKOFF_MIN_MS     100
#define BACKOFF_MAX_MS     5000
#define COMMANDS_MAX       1000               /* unanswered; beyond, gets fail, puts go */
#define PENDING_MAX_BYTES  ((size_t)16 << 20) /* of values on their way */
#define REASON_BYTES       200

enum state { DOWN = 0, CONNECTING, READY };

enum command_kind { COMMAND_GET, COMMAND_PUT, COMMAND_PING };

/* A command that waits for its answer; hiredis answers each exactly once, at the latest when the
 * connection ends. */
struct command {
        struct redis_cache *cache;
        struct aip_op *op; /* NULL: a put, or answered already */
        struct aip_timer timer;
        enum command_kind kind;
        int is_callers_deadline; /* it is the caller who has no time, not the server that is dead */
        size_t bytes;
};

struct redis_cache {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random;
        struct redis_url url;
        struct redis_resolver resolver;
        enum state state;
        redisAsyncContext *context; /* NULL: none */
        struct aip_watch watch;
        struct aip_timer timer; /* DOWN: the next try; CONNECTING: the end of this one */
        int64_t backoff_ms;
        size_t n_commands, n_bytes;
        int has_logged; /* the trouble, since it was last READY */
        char reason[REASON_BYTES];
        struct aip_op *closing;
};

static void connect_soon(struct redis_cache *cache);

static int unavailable(const struct redis_cache *cache, aip_error **err)
{
        int r = cache->closing
                        ? aip_error_set(err, AIP_ECANCELLED, "the cache was closed")
                        : aip_error_set(err, AIP_EUNAVAILABLE, "Redis %s:%d: %s", cache->url.host,
                                        cache->url.port, cache->reason);
        aip_error_set_retryable(*err, 1, 0);
        return r;
}

static void note_trouble(struct redis_cache *cache, const char *reason)
{
        snprintf(cache->reason, sizeof(cache->reason), "%s", reason);
        if (!cache->has_logged && !cache->closing)
                aip_log_write(cache->log, AIP_LOG_WARNING, COMPONENT, "%s:%d: %s; going on without",
                              cache->url.host, cache->url.port, cache->reason);
        cache->has_logged = 1;
}

/* ---- hiredis on the loop ---- */

static void watch_ready(struct aip_watch *watch, unsigned events)
{
        struct redis_cache *cache = AIP_CONTAINER_OF(watch, struct redis_cache, watch);
        if (cache->context && (events & AIP_READABLE))
                redisAsyncHandleRead(cache->context);
        if (cache->context && (events & AIP_WRITABLE))
                redisAsyncHandleWrite(cache->context);
}

/* A watch that cannot be set leaves the connection silent, and so to its timeouts. */
static void watch_for(struct redis_cache *cache, unsigned events)
{
        if (!cache->context || events == cache->watch.events)
                return;
        aip_error *err = NULL;
        if (aip_watch_set(cache->loop, &cache->watch, events, &err) < 0)
                aip_log_write(cache->log, AIP_LOG_ERROR, COMPONENT, "%s", aip_error_message(err));
        aip_error_free(err);
}

static void add_read(void *user)
{
        struct redis_cache *cache = user;
        watch_for(cache, cache->watch.events | AIP_READABLE);
}

static void del_read(void *user)
{
        struct redis_cache *cache = user;
        watch_for(cache, cache->watch.events & ~AIP_READABLE);
}

static void add_write(void *user)
{
        struct redis_cache *cache = user;
        watch_for(cache, cache->watch.events | AIP_WRITABLE);
}

static void del_write(void *user)
{
        struct redis_cache *cache = user;
        watch_for(cache, cache->watch.events & ~AIP_WRITABLE);
}

/* hiredis lets the descriptor go, whatever the reason; it may say so twice. */
static void cleanup(void *user)
{
        struct redis_cache *cache = user;
        if (!cache->context)
                return;
        if (cache->context->err)
                note_trouble(cache, cache->context->errstr);
        watch_for(cache, 0);
        cache->context = NULL;
        cache->state = DOWN;
        if (!cache->closing)
                connect_soon(cache);
}

static void attach(struct redis_cache *cache, redisAsyncContext *context)
{
        cache->context = context;
        cache->watch = (struct aip_watch){.ready = watch_ready, .fd = context->c.fd};
        context->data = cache;
        context->ev.data = cache;
        context->ev.addRead = add_read;
        context->ev.delRead = del_read;
        context->ev.addWrite = add_write;
        context->ev.delWrite = del_write;
        context->ev.cleanup = cleanup;
}

/* ---- losing the connection ---- */

/* The commands in flight are answered before, or as soon as, this returns. */
static void drop_connection(struct redis_cache *cache, const char *reason)
{
        note_trouble(cache, reason);
        cache->state = DOWN;
        if (cache->context)
                redisAsyncFree(cache->context);
}

/* ---- commands ---- */

static struct command *command_new(struct redis_cache *cache, enum command_kind kind,
                                   struct aip_op *op, size_t bytes)
{
        struct command *command = aip_calloc(1, sizeof(*command));
        if (!command)
                return NULL;
        command->cache = cache;
        command->kind = kind;
        command->op = op;
        command->bytes = bytes;
        cache->n_commands++;
        cache->n_bytes += bytes;
        return command;
}

static void command_free(struct command *command)
{
        struct redis_cache *cache = command->cache;
        aip_timer_clear(cache->loop, &command->timer);
        cache->n_commands--;
        cache->n_bytes -= command->bytes;
        aip_free(command);
}

static void answer(struct command *command, aip_error *err)
{
        struct aip_op *op = AIP_TAKE(command->op);
        if (op)
                aip_op_finish(command->cache->loop, op, err);
        else
                aip_error_free(err);
}

static void command_late(struct aip_timer *timer)
{
        struct command *command = AIP_CONTAINER_OF(timer, struct command, timer);
        if (!command->is_callers_deadline) {
                drop_connection(command->cache, "a command was not answered in time");
                return;
        }
        aip_error *err = NULL;
        aip_error_set(&err, AIP_ETIMEOUT, "Redis did not answer in time");
        answer(command, err);
        command->is_callers_deadline = 0;
        aip_timer_set(command->cache->loop, timer, COMMAND_TIMEOUT_MS);
}

static void arm(struct command *command, const struct aip_op *op)
{
        struct redis_cache *cache = command->cache;
        int64_t limit_ms = COMMAND_TIMEOUT_MS;
        if (op && op->deadline_ms) {
                int64_t left_ms = op->deadline_ms - aip_now_ms(cache->loop);
                command->is_callers_deadline = left_ms < limit_ms;
                limit_ms = AIP_MIN(left_ms, limit_ms);
        }
        command->timer.fire = command_late;
        aip_timer_set(cache->loop, &command->timer, AIP_MAX(limit_ms, 0));
}

static int read_value(struct aip_cache_get *get, const redisReply *reply, aip_error **err)
{
        if (reply->type == REDIS_REPLY_NIL) {
                get->ret_is_hit = 0;
                return 0;
        }
        if (reply->type != REDIS_REPLY_STRING)
                return aip_error_set(err, AIP_EPROTOCOL, "Redis did not answer with a text");
        int r = aip_buf_append(&get->ret_value, aip_str_make(reply->str, (size_t)reply->len));
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        if (r < 0)
                return aip_error_set(err, r, "the cached value is larger than the caller allows");
        get->ret_is_hit = 1;
        return 0;
}

static void read_reply(struct command *command, const redisReply *reply, aip_error **err)
{
        if (!reply)
                unavailable(command->cache, err);
        else if (reply->type == REDIS_REPLY_ERROR)
                aip_error_set(err, AIP_EUNAVAILABLE, "Redis answered: %s", reply->str);
        else if (command->kind == COMMAND_GET)
                read_value(AIP_CONTAINER_OF(command->op, struct aip_cache_get, op), reply, err);
}

static void got_reply(redisAsyncContext *context, void *data, void *user)
{
        (void)context;
        struct command *command = user;
        aip_error *err = NULL;
        if (command->op)
                read_reply(command, data, &err);
        answer(command, err);
        command_free(command);
}

static int may_send(struct redis_cache *cache, size_t bytes, aip_error **err)
{
        if (cache->state != READY)
                return unavailable(cache, err);
        if (cache->n_commands >= COMMANDS_MAX || cache->n_bytes + bytes > PENDING_MAX_BYTES)
                return aip_error_set(err, AIP_ELIMIT, "%zu commands wait for Redis already",
                                     cache->n_commands);
        return 0;
}

static int send_command(struct redis_cache *cache, enum command_kind kind, struct aip_op *op,
                        int argc, const char **argv, const size_t *lengths, aip_error **err)
{
        size_t bytes = 0;
        for (int i = 0; i < argc; i++)
                bytes += lengths[i];
        int r = may_send(cache, bytes, err);
        if (r < 0)
                return r;
        struct command *command = command_new(cache, kind, op, bytes);
        if (!command)
                return aip_error_set_nomem(err);
        if (redisAsyncCommandArgv(cache->context, got_reply, command, argc, argv, lengths) !=
            REDIS_OK) {
                command_free(command);
                return aip_error_set(err, AIP_EUNAVAILABLE, "Redis: the connection is closing");
        }
        arm(command, op);
        return 0;
}

static void get(void *self, struct aip_cache_get *get_op)
{
        struct redis_cache *cache = self;
        const char *argv[] = {"GET", get_op->key.p};
        const size_t lengths[] = {3, get_op->key.n};
        aip_error *err = NULL;
        if (send_command(cache, COMMAND_GET, &get_op->op, 2, argv, lengths, &err) < 0)
                aip_op_finish(cache->loop, &get_op->op, err);
}

static void put(void *self, struct aip_str key, struct aip_str value, int32_t ttl_s)
{
        struct redis_cache *cache = self;
        char seconds[16];
        if (ttl_s <= 0)
                return;
        int n = snprintf(seconds, sizeof(seconds), "%d", ttl_s);
        const char *argv[] = {"SET", key.p, value.p ? value.p : "", "EX", seconds};
        const size_t lengths[] = {3, key.n, value.n, 2, (size_t)n};
        aip_error *err = NULL;
        if (send_command(cache, COMMAND_PUT, NULL, 5, argv, lengths, &err) < 0)
                aip_error_free(err); /* dropped, as it may be */
}

static void ping(void *self, struct aip_op *op)
{
        struct redis_cache *cache = self;
        const char *argv[] = {"PING"};
        const size_t lengths[] = {4};
        aip_error *err = NULL;
        if (send_command(cache, COMMAND_PING, op, 1, argv, lengths, &err) < 0)
                aip_op_finish(cache->loop, op, err);
}

/* ---- connecting ---- */

static void become_ready(struct redis_cache *cache)
{
        aip_timer_clear(cache->loop, &cache->timer);
        cache->state = READY;
        cache->backoff_ms = BACKOFF_MIN_MS;
        cache->has_logged = 0;
        snprintf(cache->reason, sizeof(cache->reason), "the connection was lost");
        aip_log_write(cache->log, AIP_LOG_INFO, COMPONENT, "connected to %s:%d", cache->url.host,
                      cache->url.port);
}

/* AUTH, SELECT or PING was answered; a refusal is final for this connection. */
static void got_greeting(redisAsyncContext *context, void *data, void *user)
{
        struct redis_cache *cache = context->data;
        const redisReply *reply = data;
        if (cache->state != CONNECTING || cache->context != context)
                return;
        if (!reply)
                return; /* the connection was lost */
        if (reply->type == REDIS_REPLY_ERROR)
                drop_connection(cache, reply->str);
        else if (user)
                become_ready(cache);
}

static void greet(struct redis_cache *cache)
{
        const struct redis_url *url = &cache->url;
        redisAsyncContext *context = cache->context;
        if (url->password && url->user)
                redisAsyncCommand(context, got_greeting, NULL, "AUTH %s %s", url->user,
                                  url->password);
        else if (url->password)
                redisAsyncCommand(context, got_greeting, NULL, "AUTH %s", url->password);
        if (url->database != 0)
                redisAsyncCommand(context, got_greeting, NULL, "SELECT %d", url->database);
        redisAsyncCommand(context, got_greeting, cache, "PING"); /* the last one makes it ready */
}

static void got_connection(const redisAsyncContext *context, int status)
{
        struct redis_cache *cache = context->data;
        if (status != REDIS_OK)
                return; /* hiredis cleans up by itself */
        redisEnableKeepAlive(&cache->context->c);
        greet(cache);
}

static void connect_late(struct aip_timer *timer)
{
        struct redis_cache *cache = AIP_CONTAINER_OF(timer, struct redis_cache, timer);
        drop_connection(cache, "the server did not answer when we connected");
}

static void got_address(struct redis_resolver *resolver, const char *address, const char *error);

static void try_now(struct aip_timer *timer)
{
        struct redis_cache *cache = AIP_CONTAINER_OF(timer, struct redis_cache, timer);
        redis_resolver_start(&cache->resolver);
}

/* Half to all of the present back-off, which doubles from try to try. */
static void connect_soon(struct redis_cache *cache)
{
        uint64_t half_ms = (uint64_t)cache->backoff_ms / 2;
        int64_t delay_ms = (int64_t)(half_ms + aip_random_u64(cache->random) % (half_ms + 1));
        cache->backoff_ms = AIP_MIN(cache->backoff_ms * 2, BACKOFF_MAX_MS);
        cache->timer.fire = try_now;
        aip_timer_set(cache->loop, &cache->timer, delay_ms);
}

static void connect_to(struct redis_cache *cache, const char *address)
{
        redisAsyncContext *context = redisAsyncConnect(address, cache->url.port);
        if (!context || context->err) {
                note_trouble(cache, context ? context->errstr : "out of memory");
                if (context)
                        redisAsyncFree(context);
                connect_soon(cache);
                return;
        }
        cache->state = CONNECTING;
        cache->timer.fire = connect_late;
        aip_timer_set(cache->loop, &cache->timer, CONNECT_TIMEOUT_MS);
        attach(cache, context);
        redisAsyncSetConnectCallback(context, got_connection); /* begins to watch for it */
}

/* ---- life ---- */

static void cache_free(struct redis_cache *cache)
{
        struct aip_loop loop = cache->loop;
        struct aip_op *op = cache->closing;
        redis_url_deinit(&cache->url);
        aip_free(cache);
        if (op)
                aip_op_finish(loop, op, NULL);
}

static void got_address(struct redis_resolver *resolver, const char *address, const char *error)
{
        struct redis_cache *cache = AIP_CONTAINER_OF(resolver, struct redis_cache, resolver);
        if (cache->closing) {
                cache_free(cache);
        } else if (address) {
                connect_to(cache, address);
        } else {
                note_trouble(cache, error);
                connect_soon(cache);
        }
}

/* A look-up that is under way frees the cache when it ends: getaddrinfo() cannot be cancelled. */
static void cache_close(void *self, struct aip_op *op)
{
        struct redis_cache *cache = self;
        cache->closing = op;
        aip_timer_clear(cache->loop, &cache->timer);
        if (cache->context)
                redisAsyncFree(cache->context);
        if (!cache->resolver.is_busy)
                cache_free(cache);
}

static const struct aip_cache_ops redis_cache_ops = {
        .self_size = sizeof(redis_cache_ops),
        .name = "redis",
        .get = get,
        .put = put,
        .ping = ping,
};

int aip_redis_cache_new(const struct aip_cache_options *options,
                        struct aip_cache_handle *ret_cache, aip_error **err)
{
        if (!options || !options->loop.ops || !options->url || !ret_cache)
                return aip_error_set(err, AIP_EINVAL, "a Redis cache needs a loop and a URL");
        struct redis_cache *cache = aip_calloc(1, sizeof(*cache));
        if (!cache)
                return aip_error_set_nomem(err);
        int r = redis_url_parse(options->url, &cache->url, err);
        if (r < 0) {
                aip_free(cache);
                return r;
        }
        cache->loop = options->loop;
        cache->log = options->log;
        cache->random = options->random.ops ? options->random : aip_random_system();
        cache->backoff_ms = BACKOFF_MIN_MS;
        cache->resolver.loop = options->loop;
        cache->resolver.host = cache->url.host;
        cache->resolver.done = got_address;
        snprintf(cache->reason, sizeof(cache->reason), "not connected yet");
        redis_resolver_start(&cache->resolver);
        ret_cache->cache.ops = &redis_cache_ops;
        ret_cache->cache.self = cache;
        ret_cache->close = cache_close;
        ret_cache->self = cache;
        return 0;
}
