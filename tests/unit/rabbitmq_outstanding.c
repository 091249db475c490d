/*
 * Acknowledgements gathered into few frames: tables, and random runs against a broker that
 * behaves as RabbitMQ does, which closes the channel over a tag that is not unacknowledged.
 */
#include "../../libaiplat/infrastructure/rabbitmq/rabbitmq_outstanding.h"

#include <aiplat/error.h>
#include <aiplat/loops.h>
#include <criterion/criterion.h>
#include <string.h>

#define TAGS     5000
#define PREFETCH 40

struct broker {
        char is_unacknowledged[TAGS];
        size_t n_unacknowledged;
        int n_frames;
        int has_closed;
};

static int receive(void *user, uint64_t tag, int is_multiple)
{
        struct broker *broker = user;
        broker->n_frames++;
        if (tag == 0 || tag >= TAGS || !broker->is_unacknowledged[tag]) {
                broker->has_closed = 1;
                return -1;
        }
        for (uint64_t t = is_multiple ? 1 : tag; t <= tag; t++) {
                broker->n_unacknowledged -= (size_t)broker->is_unacknowledged[t];
                broker->is_unacknowledged[t] = 0;
        }
        return 0;
}

static void deliver(struct broker *broker, struct rabbitmq_outstanding *outstanding, uint64_t tag)
{
        broker->is_unacknowledged[tag] = 1;
        broker->n_unacknowledged++;
        cr_assert_eq(rabbitmq_outstanding_add(outstanding, tag), 0);
}

static int acknowledge(struct broker *broker, struct rabbitmq_outstanding *outstanding,
                       const uint64_t *tags, size_t n)
{
        uint64_t copy[64];
        memcpy(copy, tags, n * sizeof(*tags));
        broker->n_frames = 0;
        cr_assert_geq(rabbitmq_outstanding_acknowledge(outstanding, copy, n, receive, broker), 0);
        cr_assert_not(broker->has_closed);
        return broker->n_frames;
}

Test(rabbitmq_outstanding, a_front_goes_in_one_frame)
{
        static struct broker broker;
        struct rabbitmq_outstanding outstanding;
        cr_assert_eq(rabbitmq_outstanding_init(&outstanding, 8), 0);
        for (uint64_t tag = 1; tag <= 8; tag++)
                deliver(&broker, &outstanding, tag);
        cr_assert_eq(rabbitmq_outstanding_acknowledge(&outstanding, (uint64_t[]){0}, 0, receive,
                                                      &broker), 0);
        cr_assert_eq(acknowledge(&broker, &outstanding, (uint64_t[]){3, 1, 2}, 3), 1);
        cr_assert_eq(broker.n_unacknowledged, 5);
        cr_assert_eq(acknowledge(&broker, &outstanding, (uint64_t[]){6, 8}, 2), 2);
        cr_assert_eq(acknowledge(&broker, &outstanding, (uint64_t[]){6, 1, 999}, 3), 0);
        cr_assert_eq(acknowledge(&broker, &outstanding, (uint64_t[]){5, 4}, 2), 1);
        cr_assert_eq(broker.n_unacknowledged, 1);
        cr_assert_eq(acknowledge(&broker, &outstanding, (uint64_t[]){7}, 1), 1);
        cr_assert_eq(broker.n_unacknowledged, 0);
        rabbitmq_outstanding_deinit(&outstanding);
}

Test(rabbitmq_outstanding, no_more_than_the_prefetch)
{
        static struct broker broker;
        struct rabbitmq_outstanding outstanding;
        cr_assert_eq(rabbitmq_outstanding_init(&outstanding, 1), 0);
        deliver(&broker, &outstanding, 1);
        deliver(&broker, &outstanding, 2); /* its room is twice that, for holes */
        cr_assert_eq(rabbitmq_outstanding_add(&outstanding, 3), AIP_ELIMIT);
        rabbitmq_outstanding_deinit(&outstanding);
}

/* One tag stays unacknowledged for most of each run, so that holes pile up behind it. */
static void run_randomly(uint64_t seed)
{
        struct broker broker = {0};
        struct aip_seeded_random generator;
        struct aip_random random = aip_random_seeded(&generator, seed);
        struct rabbitmq_outstanding outstanding;
        cr_assert_eq(rabbitmq_outstanding_init(&outstanding, PREFETCH), 0);
        uint64_t next = 1, kept = 1 + aip_random_u64(random) % 100;
        while (next < TAGS || broker.n_unacknowledged > 1) {
                while (next < TAGS && broker.n_unacknowledged < PREFETCH)
                        deliver(&broker, &outstanding, next++);
                uint64_t tags[16];
                size_t n = 0;
                for (uint64_t t = 1; t < next && n < 16; t++)
                        if (broker.is_unacknowledged[t] && t != kept &&
                            aip_random_u64(random) % 3 == 0)
                                tags[n++] = t;
                acknowledge(&broker, &outstanding, tags, n);
                for (size_t i = 0; i < n; i++)
                        cr_assert_not(broker.is_unacknowledged[tags[i]]);
        }
        acknowledge(&broker, &outstanding, &kept, 1);
        cr_assert_eq(broker.n_unacknowledged, 0);
        rabbitmq_outstanding_deinit(&outstanding);
}

Test(rabbitmq_outstanding, random_runs)
{
        for (uint64_t seed = 1; seed <= 20; seed++)
                run_randomly(seed);
}
