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

/* How many bytes of ASCII there are before anything else; eight at a time, as most text is nothing
 * else and every prompt and result is counted more than once. */
static size_t ascii_bytes(const char *p, size_t n)
{
        size_t i = 0;
        uint64_t eight;
        for (; i + sizeof(eight) <= n; i += sizeof(eight)) {
                memcpy(&eight, p + i, sizeof(eight));
                if (eight & UINT64_C(0x8080808080808080))
                        break;
        }
        while (i < n && (unsigned char)p[i] < 0x80)
                i++;
        return i;
}

int64_t aip_str_utf8_length(struct aip_str s)
{
        int64_t characters = 0;
        for (size_t i = 0; i < s.n;) {
                size_t n_ascii = ascii_bytes(s.p + i, s.n - i);
                i += n_ascii;
                characters += (int64_t)n_ascii;
                if (i == s.n)
                        break;
                size_t bytes = aip_utf8_sequence_bytes(s.p + i, s.n - i);
                if (bytes == 0)
                        return -1;
                i += bytes;
                characters++;
        }
        return characters;
}
