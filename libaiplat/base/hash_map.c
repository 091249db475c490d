/*
 * The hash map of hash_map.h: `entries` holds members in insertion order, `slots` is an
 * open-addressing index into it with linear probing. A removed member leaves a hole in `entries`
 * that its slot still points at (so probing goes on past it); holes are squeezed out when the
 * tables are rebuilt.
 */
#include "hash_map.h"
#include "hash.h"
#include "macros.h"
#include "mem.h"

#define INLINE_KEY_BYTES  16
#define SMALLEST_CAPACITY 8
#define MEMBERS_MAX       ((size_t)1 << 31)

struct aip_hash_map_entry {
        void *value; /* NULL: a hole */
        uint64_t hash;
        size_t key_bytes;
        union {
                char bytes[INLINE_KEY_BYTES];
                char *heap; /* when key_bytes > INLINE_KEY_BYTES */
        } key;
};

static const char *key_of(const struct aip_hash_map_entry *entry)
{
        return entry->key_bytes <= INLINE_KEY_BYTES ? entry->key.bytes : entry->key.heap;
}

static void free_key(struct aip_hash_map_entry *entry)
{
        if (entry->key_bytes > INLINE_KEY_BYTES)
                aip_free(entry->key.heap);
}

static int set_key(struct aip_hash_map_entry *entry, struct aip_str key)
{
        entry->key_bytes = key.n;
        if (key.n <= INLINE_KEY_BYTES) {
                if (key.n)
                        memcpy(entry->key.bytes, key.p, key.n);
                return 0;
        }
        entry->key.heap = aip_str_dup(key);
        return entry->key.heap ? 0 : AIP_ENOMEM;
}

void aip_hash_map_deinit(struct aip_hash_map *map)
{
        if (!map)
                return;
        for (size_t i = 0; i < map->n_entries; i++)
                if (map->entries[i].value)
                        free_key(&map->entries[i]);
        aip_free(map->entries);
        aip_free(map->slots);
        *map = (struct aip_hash_map){0};
}

static struct aip_hash_map_entry *find(const struct aip_hash_map *map, struct aip_str key,
                                       uint64_t hash)
{
        if (map->n == 0)
                return NULL;
        size_t mask = map->slots_capacity - 1;
        for (size_t slot = hash & mask; map->slots[slot]; slot = (slot + 1) & mask) {
                struct aip_hash_map_entry *entry = &map->entries[map->slots[slot] - 1];
                if (entry->value && entry->hash == hash &&
                    aip_str_eq(aip_str_make(key_of(entry), entry->key_bytes), key))
                        return entry;
        }
        return NULL;
}

static void index_entry(uint32_t *slots, size_t capacity, uint64_t hash, size_t position)
{
        size_t mask = capacity - 1;
        size_t slot = hash & mask;
        while (slots[slot])
                slot = (slot + 1) & mask;
        slots[slot] = (uint32_t)position + 1;
}

/* Squeeze the holes out of `entries` and index what is left in `slots` (zeroed). */
static void rebuild(struct aip_hash_map *map, uint32_t *slots, size_t slots_capacity)
{
        size_t n = 0;
        for (size_t i = 0; i < map->n_entries; i++) {
                if (!map->entries[i].value)
                        continue;
                if (n != i)
                        map->entries[n] = map->entries[i];
                index_entry(slots, slots_capacity, map->entries[n].hash, n);
                n++;
        }
        map->n_entries = n;
        aip_free(map->slots);
        map->slots = slots;
        map->slots_capacity = slots_capacity;
}

/* Room for one more entry. The tables double when more than half of the entries are members; else
 * rebuilding them without the holes frees enough. */
static int make_room(struct aip_hash_map *map)
{
        if (map->n_entries < map->entries_capacity)
                return 0;
        if (map->n >= MEMBERS_MAX)
                return AIP_ELIMIT;
        size_t slots_capacity = AIP_MAX(map->slots_capacity, (size_t)SMALLEST_CAPACITY);
        if (map->n > map->entries_capacity / 2)
                slots_capacity *= 2;
        size_t entries_capacity = slots_capacity / 4 * 3;
        uint32_t *slots = aip_calloc(slots_capacity, sizeof(*slots));
        if (!slots)
                return AIP_ENOMEM;
        struct aip_hash_map_entry *entries =
                aip_realloc_array(map->entries, entries_capacity, sizeof(*entries));
        if (!entries) {
                aip_free(slots);
                return AIP_ENOMEM;
        }
        map->entries = entries;
        map->entries_capacity = entries_capacity;
        rebuild(map, slots, slots_capacity);
        return 0;
}

static int add(struct aip_hash_map *map, struct aip_str key, uint64_t hash, void *value)
{
        int r = make_room(map);
        if (r < 0)
                return r;
        struct aip_hash_map_entry *entry = &map->entries[map->n_entries];
        r = set_key(entry, key);
        if (r < 0)
                return r;
        entry->hash = hash;
        entry->value = value;
        index_entry(map->slots, map->slots_capacity, hash, map->n_entries);
        map->n_entries++;
        map->n++;
        return 0;
}

int aip_hash_map_set(struct aip_hash_map *map, struct aip_str key, void *value, void **ret_previous)
{
        assert(value);
        uint64_t hash = aip_hash_bytes(key.p, key.n);
        struct aip_hash_map_entry *entry = find(map, key, hash);
        void *previous = entry ? entry->value : NULL;
        if (entry) {
                entry->value = value;
        } else {
                int r = add(map, key, hash, value);
                if (r < 0)
                        return r;
        }
        if (ret_previous)
                *ret_previous = previous;
        return 0;
}

void *aip_hash_map_remove(struct aip_hash_map *map, struct aip_str key)
{
        struct aip_hash_map_entry *entry = find(map, key, aip_hash_bytes(key.p, key.n));
        if (!entry)
                return NULL;
        free_key(entry);
        map->n--;
        return AIP_TAKE(entry->value);
}

static struct aip_str id_key(const struct aip_id *id)
{
        return aip_str_make((const char *)id->bytes, sizeof(id->bytes));
}

void *aip_hash_map_get(const struct aip_hash_map *map, struct aip_str key)
{
        struct aip_hash_map_entry *entry = find(map, key, aip_hash_bytes(key.p, key.n));
        return entry ? entry->value : NULL;
}

void *aip_hash_map_get_id(const struct aip_hash_map *map, const struct aip_id *id)
{
        return aip_hash_map_get(map, id_key(id));
}

int aip_hash_map_set_id(struct aip_hash_map *map, const struct aip_id *id, void *value,
                        void **ret_previous)
{
        return aip_hash_map_set(map, id_key(id), value, ret_previous);
}

void *aip_hash_map_remove_id(struct aip_hash_map *map, const struct aip_id *id)
{
        return aip_hash_map_remove(map, id_key(id));
}

void *aip_hash_map_next(const struct aip_hash_map *map, size_t *cursor, struct aip_str *ret_key)
{
        while (*cursor < map->n_entries) {
                const struct aip_hash_map_entry *entry = &map->entries[(*cursor)++];
                if (!entry->value)
                        continue;
                if (ret_key)
                        *ret_key = aip_str_make(key_of(entry), entry->key_bytes);
                return entry->value;
        }
        return NULL;
}
