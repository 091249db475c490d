/* Port: randomness. The system's in production, a seeded generator in tests and simulations. */
#ifndef AIPLAT_PORTS_RANDOM_H
#define AIPLAT_PORTS_RANDOM_H

#include <aiplat/visibility.h>
#include <stddef.h>
#include <stdint.h>

AIP_BEGIN_DECLS

struct aip_random_ops {
        size_t self_size;
        /* Required. Fill `n` bytes. Cannot fail; loop thread only. */
        void (*fill)(void *self, void *bytes, size_t n);
};

struct aip_random {
        const struct aip_random_ops *ops;
        void *self;
};

/* The operating system's generator (getrandom), read in blocks. Static; thread-safe. */
AIP_API struct aip_random aip_random_system(void);

/* A uniform 64-bit number. */
AIP_API uint64_t aip_random_u64(struct aip_random random);

AIP_END_DECLS

#endif
