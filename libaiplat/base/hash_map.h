/*
 * A hash map from short byte strings (a struct aip_str, or the 16 bytes of an aip_id) to pointers,
 * for lookups of the domain and of adapters. Open addressing over a dense array of entries, at most
 * 3/4 full; walks go in insertion order, so that runs are reproducible. Keys are hashed with a
 * secret of the process: strangers may choose them. The map copies string keys longer than 16 bytes
 * and keeps shorter ones in place; it does not own the values. One thread at a time.
 */
#ifndef AIPLAT_BASE_HASH_MAP_H
#define AIPLAT_BASE_HASH_MAP_H

#include <aiplat/id.h>
#include <aiplat/str.h>

struct aip_hash_map_entry;

/* Zeroed memory is an empty map. */
struct aip_hash_map {
        struct aip_hash_map_entry *entries; /* in insertion order, with holes */
        uint32_t *slots;                    /* position in `entries` plus 1; 0: free */
        size_t n;                           /* members */
        size_t n_entries;                   /* members and holes */
        size_t entries_capacity;
        size_t slots_capacity; /* a power of two, or 0 */
};

/* Free the map's own memory. Accepts NULL; the map is empty and usable afterwards. */
void aip_hash_map_deinit(struct aip_hash_map *map);

/* Borrowed; NULL when absent. */
void *aip_hash_map_get(const struct aip_hash_map *map, struct aip_str key);
void *aip_hash_map_get_id(const struct aip_hash_map *map, const struct aip_id *id);

/* Set, adding or replacing; `ret_previous` (may be NULL) receives what was there, or NULL.
 * `value` must not be NULL. 0, AIP_ENOMEM or AIP_ELIMIT (2^31 members), and no change. */
AIP_MUST_CHECK int aip_hash_map_set(struct aip_hash_map *map, struct aip_str key, void *value,
                                    void **ret_previous);
AIP_MUST_CHECK int aip_hash_map_set_id(struct aip_hash_map *map, const struct aip_id *id,
                                       void *value, void **ret_previous);

/* Remove; returns what was there, or NULL. */
void *aip_hash_map_remove(struct aip_hash_map *map, struct aip_str key);
void *aip_hash_map_remove_id(struct aip_hash_map *map, const struct aip_id *id);

/* Walk in insertion order: start with *cursor = 0; NULL at the end. The member just returned may be
 * removed while walking; nothing may be added. `ret_key` (may be NULL) is borrowed. */
void *aip_hash_map_next(const struct aip_hash_map *map, size_t *cursor, struct aip_str *ret_key);

#endif
