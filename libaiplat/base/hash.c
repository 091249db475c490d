/*
 * SipHash-1-3 with a secret of the process. See hash.h for who uses it and what it is not for.
 */
#include "hash.h"
#include <aiplat/ports/random.h>
#include <pthread.h>
#include <string.h>

static uint64_t secret[2];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void draw_secret(void)
{
        struct aip_random random = aip_random_system();
        random.ops->fill(random.self, secret, sizeof(secret));
}

static uint64_t rotate(uint64_t x, int bits)
{
        return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4])
{
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
}

/* The bytes after the last whole word, and the length in the top byte, as the algorithm says. */
static uint64_t last_word(const unsigned char *tail, size_t n)
{
        uint64_t word = (uint64_t)n << 56;
        for (size_t i = 0; i < n % 8; i++)
                word |= (uint64_t)tail[i] << (8 * i);
        return word;
}

static void absorb(uint64_t v[4], uint64_t word)
{
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
}

uint64_t aip_hash_bytes(const void *bytes, size_t n)
{
        pthread_once(&secret_once, draw_secret);
        uint64_t v[4] = {
                secret[0] ^ 0x736f6d6570736575u,
                secret[1] ^ 0x646f72616e646f6du,
                secret[0] ^ 0x6c7967656e657261u,
                secret[1] ^ 0x7465646279746573u,
        };
        const unsigned char *p = bytes;
        for (size_t i = 0; i < n / 8; i++) {
                uint64_t word;
                memcpy(&word, p + 8 * i, 8);
                absorb(v, word);
        }
        absorb(v, last_word(n ? p + (n & ~(size_t)7) : p, n));
        v[2] ^= 0xff;
        for (int i = 0; i < 3; i++)
                sip_round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}
