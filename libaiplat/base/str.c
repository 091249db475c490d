/* Views: copying them out, and counting characters. Called by everyone. */
#include "mem.h"
#include "utf8.h"
#include <aiplat/str.h>

char *aip_str_dup(struct aip_str s)
{
        char *copy = aip_alloc(s.n + 1);
        if (!copy)
                return NULL;
        if (s.n)
                memcpy(copy, s.p, s.n);
        copy[s.n] = '\0';
        return copy;
}

static int is_continuation(unsigned char c)
{
        return (c & 0xc0) == 0x80;
}

size_t aip_utf8_sequence_bytes(const char *text, size_t n)
{
        const unsigned char *p = (const unsigned char *)text;
        unsigned char c = p[0];
        if (c < 0x80)
                return 1;
        if (c < 0xc2 || c > 0xf4 || n < 2)
                return 0;
        if (c < 0xe0)
                return is_continuation(p[1]) ? 2 : 0;
        unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (p[1] < low || p[1] > high || n < 3 || !is_continuation(p[2]))
                return 0;
        if (c < 0xf0)
                return 3;
        return n >= 4 && is_continuation(p[3]) ? 4 : 0;
}

int64_t aip_str_utf8_length(struct aip_str s)
{
        int64_t characters = 0;
        for (size_t i = 0; i < s.n; characters++) {
                size_t bytes = aip_utf8_sequence_bytes(s.p + i, s.n - i);
                if (bytes == 0)
                        return -1;
                i += bytes;
        }
        return characters;
}
