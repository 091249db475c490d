/*
 * Allocation for base, domain and application. Everything those layers allocate goes through these
 * functions, so that a test can make the n-th allocation fail (tests/support/alloc_fail.h). The
 * hook is one pointer that is NULL in every program: one predictable branch. What they return may
 * be freed with free() or aip_free().
 */
#ifndef AIPLAT_BASE_MEM_H
#define AIPLAT_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Set by tests only, before the first allocation of the code under test. Non-zero: fail this one.
 */
extern int (*aip_mem_fail_hook)(size_t bytes);

static inline int aip_mem_must_fail(size_t bytes)
{
        return __builtin_expect(aip_mem_fail_hook != NULL, 0) && aip_mem_fail_hook(bytes);
}

static inline __attribute__((malloc, warn_unused_result)) void *aip_alloc(size_t bytes)
{
        return aip_mem_must_fail(bytes) ? NULL : malloc(bytes);
}

/* `count` zeroed elements; NULL also when the product overflows. */
static inline __attribute__((malloc, warn_unused_result)) void *aip_calloc(size_t count,
                                                                           size_t bytes)
{
        return aip_mem_must_fail(bytes) ? NULL : calloc(count, bytes);
}

/* On failure the old block is untouched. */
static inline __attribute__((warn_unused_result)) void *aip_realloc(void *block, size_t bytes)
{
        return aip_mem_must_fail(bytes) ? NULL : realloc(block, bytes);
}

/* realloc to an array; NULL also when the product overflows. */
static inline __attribute__((warn_unused_result)) void *aip_realloc_array(void *block, size_t count,
                                                                          size_t bytes)
{
        return aip_mem_must_fail(bytes) ? NULL : reallocarray(block, count, bytes);
}

static inline __attribute__((malloc, warn_unused_result)) char *aip_strdup(const char *text)
{
        size_t bytes = strlen(text) + 1;
        char *copy = aip_alloc(bytes);
        return copy ? memcpy(copy, text, bytes) : NULL;
}

static inline void aip_free(void *block)
{
        free(block);
}

#endif
