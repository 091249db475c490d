/*
 * Texts by key, at most so many bytes of them: the least recently used go first. For caches (the memory
 * cache, the near part of the Redis cache). Not safe for several threads. It never fails: what does not
 * fit, or finds no memory, is not kept.
 */
#ifndef AIPLAT_BASE_LRU_H
#define AIPLAT_BASE_LRU_H

#include <aiplat/str.h>

#include "hash_map.h"
#include "list.h"

struct aip_lru {
        size_t max_bytes, n_bytes; /* with what its own bookkeeping takes */
        struct aip_list used;      /* the most recent first */
        struct aip_hash_map by_key;
};

void aip_lru_init(struct aip_lru *lru, size_t max_bytes);
void aip_lru_deinit(struct aip_lru *lru);
/* 1 with the value, borrowed until the next call; 0 when there is none that is valid at now_ms. */
int aip_lru_get(struct aip_lru *lru, struct aip_str key, int64_t now_ms, struct aip_str *ret_value);
/* Replaces. Copies both. One that alone would take more than a quarter is not kept, nor what it replaces. */
void aip_lru_put(struct aip_lru *lru, struct aip_str key, struct aip_str value, int64_t expires_ms);

#endif
