/*
 * Keyed hashing of bytes (SipHash-1-3 with a secret drawn once per process), so that nobody outside
 * can choose keys that collide. Called by hash_map.c and value.c. Never stored or sent: the values
 * differ from run to run.
 */
#ifndef AIPLAT_BASE_HASH_H
#define AIPLAT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t aip_hash_bytes(const void *bytes, size_t n);

#endif
