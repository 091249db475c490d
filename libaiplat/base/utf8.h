/* UTF-8 for the kernel's own parsers and sinks. Never allocates, never looks beyond `n`. */
#ifndef AIPLAT_BASE_UTF8_H
#define AIPLAT_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the well-formed sequence at `p` (Unicode 15, table 3-7); 0 when malformed. n ≥ 1. */
size_t aip_utf8_sequence_bytes(const char *p, size_t n);

#endif
