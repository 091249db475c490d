/*
 * The growing byte buffer with a maximum (aiplat/str.h). Called by everyone who makes text. It
 * never grows beyond its maximum, and a failed append leaves the content as it was.
 */
#include "macros.h"
#include "mem.h"
#include <aiplat/str.h>
#include <stdarg.h>
#include <stdio.h>

#define SMALLEST_CAPACITY 64

void aip_buf_init(struct aip_buf *buf, size_t max_bytes)
{
        *buf = (struct aip_buf)AIP_BUF_INIT(max_bytes);
}

void aip_buf_deinit(struct aip_buf *buf)
{
        if (!buf)
                return;
        aip_free(buf->p);
        aip_buf_init(buf, buf->max_bytes);
}

void aip_buf_clear(struct aip_buf *buf)
{
        buf->n = 0;
        if (buf->p)
                buf->p[0] = '\0';
}

/* Twice the old capacity or what is needed, within the maximum and its NUL. */
static size_t next_capacity(const struct aip_buf *buf, size_t needed)
{
        size_t wanted = AIP_MAX(buf->capacity, (size_t)SMALLEST_CAPACITY / 2);
        wanted = wanted > SIZE_MAX / 2 ? needed : wanted * 2;
        if (wanted > buf->max_bytes && buf->max_bytes < SIZE_MAX)
                wanted = buf->max_bytes + 1;
        return AIP_MAX(wanted, needed);
}

int aip_buf_reserve(struct aip_buf *buf, size_t more_bytes)
{
        if (more_bytes > buf->max_bytes - buf->n || more_bytes > SIZE_MAX - 1 - buf->n)
                return AIP_ELIMIT;
        size_t needed = buf->n + more_bytes + 1;
        if (needed <= buf->capacity)
                return 0;
        size_t capacity = next_capacity(buf, needed);
        char *p = aip_realloc(buf->p, capacity);
        if (!p)
                return AIP_ENOMEM;
        if (!buf->p)
                p[0] = '\0';
        buf->p = p;
        buf->capacity = capacity;
        return 0;
}

int aip_buf_append(struct aip_buf *buf, struct aip_str s)
{
        int r = s.n < buf->capacity - buf->n && s.n <= buf->max_bytes - buf->n
                        ? 0
                        : aip_buf_reserve(buf, s.n);
        if (r < 0)
                return r;
        if (s.n)
                memcpy(buf->p + buf->n, s.p, s.n);
        buf->n += s.n;
        buf->p[buf->n] = '\0';
        return 0;
}

int aip_buf_append_cstr(struct aip_buf *buf, const char *text)
{
        return aip_buf_append(buf, aip_str_of(text));
}

int aip_buf_append_char(struct aip_buf *buf, char c)
{
        return aip_buf_append(buf, aip_str_make(&c, 1));
}

int aip_buf_append_int(struct aip_buf *buf, int64_t value)
{
        char text[24], *end = text + sizeof(text), *p = end;
        uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
        do
                *--p = (char)('0' + rest % 10);
        while ((rest /= 10) > 0);
        if (value < 0)
                *--p = '-';
        return aip_buf_append(buf, aip_str_make(p, (size_t)(end - p)));
}

/* What was allocated and may be used, with the NUL. */
static size_t spare(const struct aip_buf *buf)
{
        size_t allowed = buf->max_bytes - buf->n;
        size_t allocated = buf->capacity - buf->n;
        return allocated > allowed ? allowed + 1 : allocated;
}

/* Formats in place; once more only when that was too small. */
int aip_buf_printf(struct aip_buf *buf, const char *format, ...)
{
        va_list args;
        size_t room = buf->p ? spare(buf) : 0;
        va_start(args, format);
        int n = vsnprintf(room ? buf->p + buf->n : NULL, room, format, args);
        va_end(args);
        if (n >= 0 && (size_t)n < room) {
                buf->n += (size_t)n;
                return 0;
        }
        if (room)
                buf->p[buf->n] = '\0';
        int r = n < 0 ? AIP_EINVAL : aip_buf_reserve(buf, (size_t)n);
        if (r < 0)
                return r;
        va_start(args, format);
        vsnprintf(buf->p + buf->n, (size_t)n + 1, format, args);
        va_end(args);
        buf->n += (size_t)n;
        return 0;
}

char *aip_buf_take(struct aip_buf *buf)
{
        if (!buf->p)
                return aip_strdup("");
        char *text = AIP_TAKE(buf->p);
        buf->n = buf->capacity = 0;
        return text;
}
