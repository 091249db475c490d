/*
 * The consuming half of the RabbitMQ queue: a thread with a connection of its own, which exists
 * while somebody consumes. Called by rabbitmq_queue.c, on the loop thread.
 */
#ifndef AIPLAT_RABBITMQ_CONSUMER_H
#define AIPLAT_RABBITMQ_CONSUMER_H

#include "rabbitmq_link.h"

#include <aiplat/ports/queue.h>

struct rabbitmq_consumer;

struct rabbitmq_consumer_options {
        struct aip_loop loop;
        const struct aip_log *log;
        const struct rabbitmq_settings *settings;
        uint64_t seed;
        void (*on_stopped)(void *user); /* after rabbitmq_consumer_stop(); free the consumer */
        void *user;
};

int rabbitmq_consumer_new(const struct rabbitmq_consumer_options *options,
                          struct rabbitmq_consumer **ret_consumer, aip_error **err);
/* `consumer` NULL: stop consuming. */
void rabbitmq_consumer_set(struct rabbitmq_consumer *self, struct aip_consumer *consumer);
struct aip_consumer *rabbitmq_consumer_get(struct rabbitmq_consumer *self);
void rabbitmq_consumer_acknowledge(struct rabbitmq_consumer *self,
                                   const struct aip_delivery *deliveries, size_t n);
/* Whether deliveries come, or nobody wants any; the reason if not. */
int rabbitmq_consumer_check(struct rabbitmq_consumer *self, aip_error **err);
void rabbitmq_consumer_watch(struct rabbitmq_consumer *self, int64_t limit_ms);
void rabbitmq_consumer_stop(struct rabbitmq_consumer *self);
void rabbitmq_consumer_free(struct rabbitmq_consumer *self);

#endif
