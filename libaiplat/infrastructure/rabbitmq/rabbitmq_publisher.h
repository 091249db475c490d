/*
 * The publishing half of the RabbitMQ queue: a thread with a connection of its own. Called by
 * rabbitmq_queue.c, on the loop thread.
 */
#ifndef AIPLAT_RABBITMQ_PUBLISHER_H
#define AIPLAT_RABBITMQ_PUBLISHER_H

#include "rabbitmq_link.h"

#include <aiplat/ports/queue.h>

struct rabbitmq_publisher;

struct rabbitmq_publisher_options {
        struct aip_loop loop;
        const struct aip_log *log;
        const struct rabbitmq_settings *settings;
        uint64_t seed;
        /* The thread has ended after rabbitmq_publisher_stop(); free the publisher. */
        void (*on_stopped)(void *user);
        void *user;
};

int rabbitmq_publisher_new(const struct rabbitmq_publisher_options *options,
                           struct rabbitmq_publisher **ret_publisher, aip_error **err);
void rabbitmq_publisher_publish(struct rabbitmq_publisher *publisher, struct aip_publish *publish);
/* Whether a message published now would be confirmed soon, as far as is known; the reason if not.
 * */
int rabbitmq_publisher_check(struct rabbitmq_publisher *publisher, aip_error **err);
/* Break a send that hangs; to be called every second or so. */
void rabbitmq_publisher_watch(struct rabbitmq_publisher *publisher, int64_t limit_ms);
/* Ends every operation with AIP_ECANCELLED, then the thread. */
void rabbitmq_publisher_stop(struct rabbitmq_publisher *publisher);
void rabbitmq_publisher_free(struct rabbitmq_publisher *publisher);

#endif
