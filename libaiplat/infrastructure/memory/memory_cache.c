/*
 * The read cache in this process's memory, for the embedded default, tests and simulations. It
 * holds at most max_bytes, counting what its own bookkeeping takes: the least recently used
 * entries go first, and an entry that alone would fill more than a quarter of it is not taken.
 * Entries end at their time to live by the loop's clock. Loop thread only.
 */
#include <aiplat/adapters.h>

#include "hash_map.h"
#include "list.h"
#include "macros.h"
#include "mem.h"

#define DEFAULT_MAX_BYTES ((size_t)64 << 20)
#define MAP_BYTES         64 /* of the hash map, an entry, about */
#define MAX_ENTRY_PART    4  /* an entry may take one part of this many */

struct entry {
        struct aip_list link; /* by use, the most recent first */
        int64_t expires_ms;
        size_t key_bytes, value_bytes;
        char bytes[]; /* key, value */
};

struct memory_cache {
        struct aip_loop loop;
        size_t max_bytes, n_bytes;
        struct aip_list used;
        struct aip_hash_map by_key;
};

static struct aip_str key_of(const struct entry *entry)
{
        return aip_str_make(entry->bytes, entry->key_bytes);
}

static struct aip_str value_of(const struct entry *entry)
{
        return aip_str_make(entry->bytes + entry->key_bytes, entry->value_bytes);
}

static size_t cost(size_t key_bytes, size_t value_bytes)
{
        return sizeof(struct entry) + MAP_BYTES + 2 * key_bytes + value_bytes;
}

static void drop(struct memory_cache *cache, struct entry *entry)
{
        aip_hash_map_remove(&cache->by_key, key_of(entry));
        aip_list_remove(&entry->link);
        cache->n_bytes -= cost(entry->key_bytes, entry->value_bytes);
        aip_free(entry);
}

static struct entry *least_used(struct memory_cache *cache)
{
        return AIP_LIST_ENTRY(cache->used.previous, struct entry, link);
}

static void make_room(struct memory_cache *cache, size_t bytes)
{
        while (cache->n_bytes + bytes > cache->max_bytes && !aip_list_is_empty(&cache->used))
                drop(cache, least_used(cache));
}

static struct entry *find(struct memory_cache *cache, struct aip_str key)
{
        struct entry *entry = aip_hash_map_get(&cache->by_key, key);
        if (!entry || entry->expires_ms > aip_now_ms(cache->loop))
                return entry;
        drop(cache, entry);
        return NULL;
}

static int read_entry(struct memory_cache *cache, struct aip_cache_get *get, aip_error **err)
{
        struct entry *entry = find(cache, get->key);
        if (!entry) {
                get->ret_is_hit = 0;
                return 0;
        }
        int r = aip_buf_append(&get->ret_value, value_of(entry));
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        if (r < 0)
                return aip_error_set(err, r, "the cached value is larger than the caller allows");
        aip_list_remove(&entry->link);
        aip_list_prepend(&cache->used, &entry->link);
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

static struct entry *entry_new(struct aip_str key, struct aip_str value)
{
        struct entry *entry = aip_alloc(sizeof(*entry) + key.n + value.n);
        if (!entry)
                return NULL;
        entry->key_bytes = key.n;
        entry->value_bytes = value.n;
        if (key.n > 0)
                memcpy(entry->bytes, key.p, key.n);
        if (value.n > 0)
                memcpy(entry->bytes + key.n, value.p, value.n);
        return entry;
}

/* Dropped silently when memory is out: a cache may. The old value goes in any case. */
static void memory_put(void *self, struct aip_str key, struct aip_str value, int32_t ttl_s)
{
        struct memory_cache *cache = self;
        struct entry *old = aip_hash_map_get(&cache->by_key, key);
        if (old)
                drop(cache, old);
        if (ttl_s <= 0 || cost(key.n, value.n) > cache->max_bytes / MAX_ENTRY_PART)
                return;
        make_room(cache, cost(key.n, value.n));
        struct entry *entry = entry_new(key, value);
        if (!entry)
                return;
        if (aip_hash_map_set(&cache->by_key, key_of(entry), entry, NULL) < 0) {
                aip_free(entry);
                return;
        }
        entry->expires_ms = aip_now_ms(cache->loop) + (int64_t)ttl_s * 1000;
        aip_list_prepend(&cache->used, &entry->link);
        cache->n_bytes += cost(key.n, value.n);
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
        while (!aip_list_is_empty(&cache->used))
                drop(cache, least_used(cache));
        aip_hash_map_deinit(&cache->by_key);
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
        cache->max_bytes = options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES;
        aip_list_init(&cache->used);
        ret_cache->cache.ops = &memory_cache_ops;
        ret_cache->cache.self = cache;
        ret_cache->close = memory_cache_close;
        ret_cache->self = cache;
        return 0;
}
