/*
 * The read cache on Redis, over the asynchronous API of hiredis on the loop. Redis may vanish,
 * freeze or forget at any moment and costs only speed: while there is no connection a get fails
 * at once and a put is dropped; a command that is not answered in time fails, and the connection
 * with it.
 *
 * Commands are pipelined: whatever is asked in one turn of the loop leaves in one write. Loop
 * thread only; the connection is redis_link.h's.
 *
 * What was read lately is kept near, in this process (near_bytes): asking Redis costs as much as
 * answering the client, and those who ask for a job that has ended ask again. It can be no more stale
 * than the cache itself, which holds only what does not change.
 */
#include <aiplat/adapters.h>

#include "lru.h"
#include "macros.h"
#include "mem.h"
#include "redis_link.h"

#include <stdio.h>

#define COMPONENT          "redis"
#define COMMAND_TIMEOUT_MS 200
#define COMMANDS_MAX       1000               /* unanswered; beyond, gets fail, puts go */
#define PENDING_MAX_BYTES  ((size_t)16 << 20) /* of values on their way */
#define NEAR_MS            60000

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
        struct redis_url url;
        struct redis_link link;
        size_t n_commands, n_bytes;
        struct aip_lru near;
        struct aip_op *closing;
};

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
                redis_link_drop(&command->cache->link, "a command was not answered in time");
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

static void keep_near(struct redis_cache *cache, struct aip_str key, struct aip_str value,
                      int64_t ttl_ms)
{
        if (cache->near.max_bytes > 0)
                aip_lru_put(&cache->near, key, value,
                            aip_now_ms(cache->loop) + AIP_MIN(ttl_ms, (int64_t)NEAR_MS));
}

/* Who puts (a worker) need not be who reads: only what was read before is kept. */
static void replace_near(struct redis_cache *cache, struct aip_str key, struct aip_str value,
                         int64_t ttl_ms)
{
        struct aip_str old;
        if (aip_lru_get(&cache->near, key, aip_now_ms(cache->loop), &old))
                keep_near(cache, key, value, ttl_ms);
}

static int take_value(struct aip_cache_get *get, struct aip_str value, aip_error **err)
{
        int r = aip_buf_append(&get->ret_value, value);
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        if (r < 0)
                return aip_error_set(err, r, "the cached value is larger than the caller allows");
        get->ret_is_hit = 1;
        return 0;
}

static int read_value(struct redis_cache *cache, struct aip_cache_get *get, const redisReply *reply,
                      aip_error **err)
{
        if (reply->type == REDIS_REPLY_NIL) {
                get->ret_is_hit = 0;
                return 0;
        }
        if (reply->type != REDIS_REPLY_STRING)
                return aip_error_set(err, AIP_EPROTOCOL, "Redis did not answer with a text");
        struct aip_str value = aip_str_make(reply->str, (size_t)reply->len);
        keep_near(cache, get->key, value, NEAR_MS);
        return take_value(get, value, err);
}

static void read_reply(struct command *command, const redisReply *reply, aip_error **err)
{
        if (!reply)
                redis_link_unavailable(&command->cache->link, err);
        else if (reply->type == REDIS_REPLY_ERROR)
                aip_error_set(err, AIP_EUNAVAILABLE, "Redis answered: %s", reply->str);
        else if (command->kind == COMMAND_GET)
                read_value(command->cache, AIP_CONTAINER_OF(command->op, struct aip_cache_get, op),
                           reply, err);
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
        if (cache->link.state != REDIS_READY)
                return redis_link_unavailable(&cache->link, err);
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
        if (redisAsyncCommandArgv(cache->link.context, got_reply, command, argc, argv, lengths) !=
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
        struct aip_str value;
        if (aip_lru_get(&cache->near, get_op->key, aip_now_ms(cache->loop), &value)) {
                take_value(get_op, value, &err);
                aip_op_finish(cache->loop, &get_op->op, err);
                return;
        }
        if (send_command(cache, COMMAND_GET, &get_op->op, 2, argv, lengths, &err) < 0)
                aip_op_finish(cache->loop, &get_op->op, err);
}

static void put(void *self, struct aip_str key, struct aip_str value, int32_t ttl_s)
{
        struct redis_cache *cache = self;
        char seconds[16];
        if (ttl_s <= 0)
                return;
        replace_near(cache, key, value, (int64_t)ttl_s * 1000);
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

/* ---- life ---- */

static void link_closed(struct redis_link *link)
{
        struct redis_cache *cache = AIP_CONTAINER_OF(link, struct redis_cache, link);
        struct aip_loop loop = cache->loop;
        struct aip_op *op = cache->closing;
        redis_url_deinit(&cache->url);
        aip_lru_deinit(&cache->near);
        aip_free(cache);
        if (op)
                aip_op_finish(loop, op, NULL);
}

/* A look-up that is under way frees the cache when it ends: getaddrinfo() cannot be cancelled. */
static void cache_close(void *self, struct aip_op *op)
{
        struct redis_cache *cache = self;
        cache->closing = op;
        redis_link_close(&cache->link);
}

static const struct aip_cache_ops redis_cache_ops = {
        .self_size = sizeof(redis_cache_ops),
        .name = "redis",
        .get = get,
        .put = put,
        .ping = ping,
};

/* Callers that were built before the field was there do not have it. */
static size_t near_bytes_of(const struct aip_cache_options *options)
{
        struct aip_cache_options whole = {0};
        memcpy(&whole, options, AIP_MIN(options->self_size, sizeof(whole)));
        return whole.near_bytes;
}

int aip_redis_cache_new(const struct aip_cache_options *options, struct aip_cache_handle *ret_cache,
                        aip_error **err)
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
        aip_lru_init(&cache->near, near_bytes_of(options));
        cache->link = (struct redis_link){.loop = options->loop,
                                          .log = options->log,
                                          .component = COMPONENT,
                                          .url = &cache->url,
                                          .closed = link_closed};
        cache->link.random = options->random.ops ? options->random : aip_random_system();
        redis_link_start(&cache->link);
        ret_cache->cache.ops = &redis_cache_ops;
        ret_cache->cache.self = cache;
        ret_cache->close = cache_close;
        ret_cache->self = cache;
        return 0;
}
