/*
 * Small helpers of the shared kernel: cleanup attributes, ownership transfer, bounds. Included by
 * every layer's sources, never by a public header. No macro here hides a `return`.
 */
#ifndef AIPLAT_BASE_MACROS_H
#define AIPLAT_BASE_MACROS_H

#include <aiplat/error.h>
#include <aiplat/op.h>
#include <aiplat/str.h>
#include <aiplat/value.h>
#include <assert.h>
#include <stdlib.h>

/* Compile-time checks. */
#define AIP_STATIC_ASSERT(condition, text) _Static_assert(condition, text)

/* The pointer's value; the variable itself becomes NULL, so that its cleanup does nothing. */
#define AIP_TAKE(pointer)                                                                          \
        (__extension__({                                                                           \
                __typeof__(pointer) *aip_take_from_ = &(pointer);                                  \
                __typeof__(pointer) aip_taken_ = *aip_take_from_;                                  \
                *aip_take_from_ = NULL;                                                            \
                aip_taken_;                                                                        \
        }))

#define AIP_MIN(a, b)                                                                              \
        (__extension__({                                                                           \
                __typeof__(a) aip_min_a_ = (a);                                                    \
                __typeof__(b) aip_min_b_ = (b);                                                    \
                aip_min_a_ < aip_min_b_ ? aip_min_a_ : aip_min_b_;                                 \
        }))

#define AIP_MAX(a, b)                                                                              \
        (__extension__({                                                                           \
                __typeof__(a) aip_max_a_ = (a);                                                    \
                __typeof__(b) aip_max_b_ = (b);                                                    \
                aip_max_a_ > aip_max_b_ ? aip_max_a_ : aip_max_b_;                                 \
        }))

#define AIP_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* A string literal as a view, usable in static initialisers. */
#define AIP_STR(literal)                                                                           \
        (struct aip_str)                                                                           \
        {                                                                                          \
                (literal), sizeof(literal) - 1                                                     \
        }

/* For printf-like functions: "%.*s" with AIP_STR_ARG(s). */
#define AIP_STR_ARG(s) (int)AIP_MIN((s).n, (size_t)INT32_MAX), ((s).p ? (s).p : "")

/*
 * Cleanup on leaving the scope:
 *     _cleanup_(aip_free_p) char *text = NULL;
 *     _cleanup_(aip_error_free_p) aip_error *e = NULL;
 * Always initialise the variable. Give the content away with AIP_TAKE().
 */
#define _cleanup_(function) __attribute__((cleanup(function)))

/* Defines `function`_p for a function that frees a pointer and accepts NULL. */
#define AIP_DEFINE_CLEANUP(type, function)                                                         \
        static inline __attribute__((unused)) void function##_p(type *pointer)                     \
        {                                                                                          \
                if (*pointer)                                                                      \
                        function(*pointer);                                                        \
        }                                                                                          \
        struct aip_swallow_semicolon_

AIP_DEFINE_CLEANUP(aip_error *, aip_error_free);
AIP_DEFINE_CLEANUP(aip_value *, aip_value_unref);

static inline void aip_free_p(void *pointer)
{
        free(*(void **)pointer);
}

/* For structs: `_cleanup_(aip_buf_deinit) struct aip_buf b = AIP_BUF_INIT(…);` works as it stands.
 */

#endif
