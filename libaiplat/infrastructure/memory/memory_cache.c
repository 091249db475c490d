/*
 * The read cache in this process's memory, for the embedded default, tests and simulations: lru.h behind
 * the port. Entries end at their time to live by the loop's clock. Loop thread only.
 */
#include <aiplat/adapters.h>

#include "lru.h"
#include "mem.h"

#define DEFAULT_MAX_BYTES ((size_t)64 << 20)

struct memory_cache {
        struct aip_loop loop;
        struct aip_lru lru;
};

static int read_entry(struct memory_cache *cache, struct aip_cache_get *get, aip_error **err)
{
        struct aip_str value;
        int r;

        if (!aip_lru_get(&cache->lru, get->key, aip_now_ms(cache->loop), &value)) {
                get->ret_is_hit = 0;
                return 0;
        }
        r = aip_buf_append(&get->ret_value, value);
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        if (r < 0)
                return aip_error_set(err, r, "the cached value is larger than the caller allows");
        get->ret_is_hit = 1;
        return 0;
}

static void memory_get(void *self, struct aip_cache_get *get)
{
        struct memory_cache *cache = self;
        aip_error *err = NULL;
        read_entry(cache, get, &err);
        aip_op_finish(cache->loop, &get->op, err);
}

static void memory_put(void *self, struct aip_str key, struct aip_str value, int32_t ttl_s)
{
        struct memory_cache *cache = self;
        aip_lru_put(&cache->lru, key, value, aip_now_ms(cache->loop) + (int64_t)ttl_s * 1000);
}

static void memory_ping(void *self, struct aip_op *op)
{
        struct memory_cache *cache = self;
        aip_op_finish(cache->loop, op, NULL);
}

static void memory_cache_close(void *self, struct aip_op *op)
{
        struct memory_cache *cache = self;
        struct aip_loop loop = cache->loop;
        aip_lru_deinit(&cache->lru);
        aip_free(cache);
        aip_op_finish(loop, op, NULL);
}

static const struct aip_cache_ops memory_cache_ops = {
        .self_size = sizeof(memory_cache_ops),
        .name = "memory",
        .get = memory_get,
        .put = memory_put,
        .ping = memory_ping,
};

int aip_memory_cache_new(const struct aip_cache_options *options,
                         struct aip_cache_handle *ret_cache, aip_error **err)
{
        if (!options || !options->loop.ops || !ret_cache)
                return aip_error_set(err, AIP_EINVAL, "a memory cache needs a loop");
        struct memory_cache *cache = aip_calloc(1, sizeof(*cache));
        if (!cache)
                return aip_error_set_nomem(err);
        cache->loop = options->loop;
        aip_lru_init(&cache->lru, options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES);
        ret_cache->cache.ops = &memory_cache_ops;
        ret_cache->cache.self = cache;
        ret_cache->close = memory_cache_close;
        ret_cache->self = cache;
        return 0;
}
