/*
 * The deliveries of one channel that wait for their acknowledgement, and how to acknowledge them
 * in few frames: those at the front that are all acknowledged go in one frame ("all up to this
 * tag"), others one by one. Called by rabbitmq_consumer.c. It knows tags and nothing of the
 * broker; a tag that is unknown, or acknowledged twice, is ignored, for the broker would close
 * the channel over it.
 */
#ifndef AIPLAT_RABBITMQ_OUTSTANDING_H
#define AIPLAT_RABBITMQ_OUTSTANDING_H

#include <stddef.h>
#include <stdint.h>

struct rabbitmq_outstanding_tag {
        uint64_t tag;
        int is_acknowledged; /* and the broker told */
};

struct rabbitmq_outstanding {
        struct rabbitmq_outstanding_tag *tags; /* [first, end), increasing */
        size_t first, end, capacity;
};

/* Room for `n` unacknowledged tags. 0 or AIP_ENOMEM. */
int rabbitmq_outstanding_init(struct rabbitmq_outstanding *outstanding, size_t n);
void rabbitmq_outstanding_deinit(struct rabbitmq_outstanding *outstanding);
/* `tag` must be larger than every tag before. 0, or AIP_ELIMIT when there are `n` already. */
int rabbitmq_outstanding_add(struct rabbitmq_outstanding *outstanding, uint64_t tag);
/* Sorts `tags`. Calls `send` with what is to be told to the broker; a negative answer ends it and
 * is returned. */
int rabbitmq_outstanding_acknowledge(struct rabbitmq_outstanding *outstanding, uint64_t *tags,
                                     size_t n,
                                     int (*send)(void *user, uint64_t tag, int is_multiple),
                                     void *user);

#endif
