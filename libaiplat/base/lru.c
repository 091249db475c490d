/* A hash map for the keys and a list for the order of use. See lru.h. */
#include "lru.h"

#include "macros.h"
#include "mem.h"

#define MAP_BYTES      64 /* of the hash map, an entry, about */
#define MAX_ENTRY_PART 4  /* an entry may take one part of this many */

struct entry {
        struct aip_list link;
        int64_t expires_ms;
        size_t key_bytes, value_bytes;
        char bytes[]; /* key, value */
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

static void drop(struct aip_lru *lru, struct entry *entry)
{
        aip_hash_map_remove(&lru->by_key, key_of(entry));
        aip_list_remove(&entry->link);
        lru->n_bytes -= cost(entry->key_bytes, entry->value_bytes);
        aip_free(entry);
}

static struct entry *least_used(struct aip_lru *lru)
{
        return AIP_LIST_ENTRY(lru->used.previous, struct entry, link);
}

static void make_room(struct aip_lru *lru, size_t bytes)
{
        while (lru->n_bytes + bytes > lru->max_bytes && !aip_list_is_empty(&lru->used))
                drop(lru, least_used(lru));
}

void aip_lru_init(struct aip_lru *lru, size_t max_bytes)
{
        *lru = (struct aip_lru){.max_bytes = max_bytes};
        aip_list_init(&lru->used);
}

void aip_lru_deinit(struct aip_lru *lru)
{
        while (!aip_list_is_empty(&lru->used))
                drop(lru, least_used(lru));
        aip_hash_map_deinit(&lru->by_key);
}

int aip_lru_get(struct aip_lru *lru, struct aip_str key, int64_t now_ms, struct aip_str *ret_value)
{
        struct entry *entry = aip_hash_map_get(&lru->by_key, key);

        if (!entry)
                return 0;
        if (entry->expires_ms <= now_ms) {
                drop(lru, entry);
                return 0;
        }
        aip_list_remove(&entry->link);
        aip_list_prepend(&lru->used, &entry->link);
        *ret_value = value_of(entry);
        return 1;
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

void aip_lru_put(struct aip_lru *lru, struct aip_str key, struct aip_str value, int64_t expires_ms)
{
        struct entry *old = aip_hash_map_get(&lru->by_key, key), *entry;

        if (old)
                drop(lru, old);
        if (cost(key.n, value.n) > lru->max_bytes / MAX_ENTRY_PART)
                return;
        make_room(lru, cost(key.n, value.n));
        entry = entry_new(key, value);
        if (!entry)
                return;
        if (aip_hash_map_set(&lru->by_key, key_of(entry), entry, NULL) < 0) {
                aip_free(entry);
                return;
        }
        entry->expires_ms = expires_ms;
        aip_list_prepend(&lru->used, &entry->link);
        lru->n_bytes += cost(key.n, value.n);
}
