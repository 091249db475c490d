/*
 * A seeded generator (xoshiro256**, seeded by splitmix64) for reproducible runs. Used by
 * simulations and tests; never for anything that must not be guessed.
 */
#include <aiplat/loops.h>
#include <string.h>

static uint64_t splitmix64(uint64_t *state)
{
        uint64_t z = *state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
}

static uint64_t rotate(uint64_t x, int bits)
{
        return (x << bits) | (x >> (64 - bits));
}

static uint64_t next(struct aip_seeded_random *generator)
{
        uint64_t *s = generator->state;
        uint64_t result = rotate(s[1] * 5, 7) * 9;
        uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotate(s[3], 45);
        return result;
}

static void seeded_fill(void *self, void *bytes, size_t n)
{
        for (unsigned char *p = bytes; n > 0;) {
                uint64_t number = next(self);
                size_t part = n < sizeof(number) ? n : sizeof(number);
                memcpy(p, &number, part);
                p += part;
                n -= part;
        }
}

struct aip_random aip_random_seeded(struct aip_seeded_random *generator, uint64_t seed)
{
        static const struct aip_random_ops ops = {
                .self_size = sizeof(ops),
                .fill = seeded_fill,
        };
        for (int i = 0; i < 4; i++)
                generator->state[i] = splitmix64(&seed);
        return (struct aip_random){&ops, generator};
}
