/*
 * Strings and buffers. `struct aip_str` is a borrowed view passed by value; `struct aip_buf` owns
 * its bytes, grows, and must be given a maximum when made: nothing in aiplat grows without a bound.
 */
#ifndef AIPLAT_STR_H
#define AIPLAT_STR_H

#include <aiplat/error.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

AIP_BEGIN_DECLS

/* A borrowed run of bytes, not NUL-terminated. {NULL, 0} means "none" where a field says so. */
struct aip_str {
        const char *p;
        size_t n;
};

/* A view of a NUL-terminated string; of NULL: {NULL, 0}. */
static inline struct aip_str aip_str_of(const char *text)
{
        struct aip_str s = {text, text ? strlen(text) : 0};
        return s;
}

static inline struct aip_str aip_str_make(const char *p, size_t n)
{
        struct aip_str s = {p, n};
        return s;
}

static inline int aip_str_is_empty(struct aip_str s)
{
        return s.n == 0;
}

static inline int aip_str_eq(struct aip_str a, struct aip_str b)
{
        return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* A NUL-terminated heap copy, owned by caller (free()); NULL when out of memory. */
AIP_API char *aip_str_dup(struct aip_str s);

/* Number of Unicode characters when `s` is valid UTF-8 (no surrogates, no overlong forms), else -1.
 * NUL counts as a character. */
AIP_API int64_t aip_str_utf8_length(struct aip_str s);

/* A growing byte buffer. Loop-less plain data; not thread-safe. `p` is always NUL-terminated at n. */
struct aip_buf {
        char *p;          /* NULL while nothing was ever appended */
        size_t n;         /* bytes in use */
        size_t capacity;  /* bytes allocated */
        size_t max_bytes; /* appends beyond this fail with AIP_ELIMIT */
};

#define AIP_BUF_INIT(max)                                                                          \
        {                                                                                          \
                NULL, 0, 0, (max)                                                                  \
        }

AIP_API void aip_buf_init(struct aip_buf *buf, size_t max_bytes);
/* Free the bytes; the buffer is empty and usable again afterwards. Accepts NULL. */
AIP_API void aip_buf_deinit(struct aip_buf *buf);
/* Forget the content, keep the memory. */
AIP_API void aip_buf_clear(struct aip_buf *buf);

/* Appends return 0, AIP_ENOMEM or AIP_ELIMIT; on failure the content is unchanged. */
AIP_API AIP_MUST_CHECK int aip_buf_reserve(struct aip_buf *buf, size_t more_bytes);
AIP_API AIP_MUST_CHECK int aip_buf_append(struct aip_buf *buf, struct aip_str s);
AIP_API AIP_MUST_CHECK int aip_buf_append_cstr(struct aip_buf *buf, const char *text);
AIP_API AIP_MUST_CHECK int aip_buf_append_char(struct aip_buf *buf, char c);
/* In decimal. */
AIP_API AIP_MUST_CHECK int aip_buf_append_int(struct aip_buf *buf, int64_t value);
AIP_API AIP_MUST_CHECK int aip_buf_printf(struct aip_buf *buf, const char *format, ...)
        AIP_PRINTF(2, 3);

/* The content as a view; valid until the next change. */
static inline struct aip_str aip_buf_str(const struct aip_buf *buf)
{
        struct aip_str s = {buf->p ? buf->p : "", buf->n};
        return s;
}

/* Give the bytes away as a NUL-terminated string, owned by caller (free()); the buffer is left
 * empty. Returns "" on the heap for an empty buffer, NULL when out of memory. */
AIP_API char *aip_buf_take(struct aip_buf *buf);

AIP_END_DECLS

#endif
