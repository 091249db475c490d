/*
 * The operating system's randomness, in blocks: one getrandom() per 256 bytes and thread, because
 * an id is made for every job. A forked child throws its parent's block away.
 */
#include <aiplat/ports/random.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BLOCK_BYTES 256 /* getrandom() never returns less than asked for up to this size */

struct block {
        unsigned char bytes[BLOCK_BYTES];
        size_t n_left;
        unsigned forks; /* value of `forks` when the block was drawn */
};

static _Thread_local struct block block;
static unsigned forks; /* counted up in a child; only ever written where one thread exists */
static pthread_once_t watch_forks_once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
        forks++;
}

static void watch_forks(void)
{
        if (pthread_atfork(NULL, NULL, count_fork) != 0)
                abort();
}

/* Fills at most BLOCK_BYTES. There is no way to go on without randomness. */
static void draw(void *bytes, size_t n)
{
        while (getrandom(bytes, n, 0) != (ssize_t)n)
                if (errno != EINTR)
                        abort();
}

static void refill(void)
{
        pthread_once(&watch_forks_once, watch_forks);
        draw(block.bytes, sizeof(block.bytes));
        block.n_left = sizeof(block.bytes);
        block.forks = forks;
}

/* Bytes handed out are wiped, so that they exist once. */
static void system_fill(void *self, void *bytes, size_t n)
{
        (void)self;
        for (unsigned char *p = bytes; n > 0;) {
                if (block.n_left == 0 || block.forks != forks)
                        refill();
                size_t part = n < block.n_left ? n : block.n_left;
                unsigned char *from = block.bytes + sizeof(block.bytes) - block.n_left;
                memcpy(p, from, part);
                memset(from, 0, part);
                block.n_left -= part;
                p += part;
                n -= part;
        }
}

struct aip_random aip_random_system(void)
{
        static const struct aip_random_ops ops = {
                .self_size = sizeof(ops),
                .fill = system_fill,
        };
        return (struct aip_random){&ops, NULL};
}

uint64_t aip_random_u64(struct aip_random random)
{
        uint64_t number;
        random.ops->fill(random.self, &number, sizeof(number));
        return number;
}
