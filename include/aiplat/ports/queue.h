/*
 * Port: the message queue between gateways and workers, and the exchange of domain events. RabbitMQ
 * and memory implement it. Delivery is at least once; nothing here is trusted over the store.
 */
#ifndef AIPLAT_PORTS_QUEUE_H
#define AIPLAT_PORTS_QUEUE_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/id.h>
#include <aiplat/op.h>

AIP_BEGIN_DECLS

#define AIP_MESSAGE_MAX_BYTES 4096

/*
 * Publish one message; done when the broker has confirmed it (success) or when it certainly or
 * possibly was not taken (AIP_EUNAVAILABLE, AIP_ETIMEOUT, AIP_ELIMIT when too many wait). A task goes
 * to the task queue, an event to the event exchange under its routing key. An event nobody is bound
 * to counts as published; a task that could not be routed does not.
 */
struct aip_publish {
        struct aip_op op;
        const char *routing_key; /* NULL: a task */
        struct aip_str body;
        struct aip_str message_id; /* borrowed like everything else */
        int32_t ret_is_unbound;    /* an event, published: nobody was bound to its key */
};

/* A message that waits for its acknowledgement. Plain data; loop thread only. */
struct aip_delivery {
        struct aip_id job_id;
        uint64_t tag;        /* the adapter's */
        uint64_t generation; /* of the connection: acknowledging an older one does nothing */
        int32_t is_redelivered;
};

struct aip_consumer {
        /* set by the caller */
        void (*on_deliveries)(struct aip_consumer *consumer, const struct aip_delivery *deliveries,
                              size_t n); /* borrowed for the call */
        /* The connection was lost: every delivery not yet acknowledged will come again. */
        void (*on_lost)(struct aip_consumer *consumer);
        uint32_t prefetch; /* deliveries that may wait unacknowledged */
        void *impl;        /* the adapter's */
};

struct aip_queue_ops {
        size_t self_size;
        const char *name; /* "rabbitmq"; static */
        void (*publish)(void *self, struct aip_publish *publish);
        /* One consumer at a time; consuming survives reconnections until stopped. Messages whose body
         * is no job id are acknowledged, dropped and logged. */
        void (*consume)(void *self, struct aip_consumer *consumer);
        /* No delivery comes after this returns; unacknowledged ones go back to the queue. */
        void (*stop_consuming)(void *self, struct aip_consumer *consumer);
        void (*acknowledge)(void *self, const struct aip_delivery *deliveries, size_t n);
        /* Whether publishing, and consuming if it was asked for, works at this moment. */
        int (*is_connected)(void *self);
        /* Succeeds when connected and not blocked by the broker, else AIP_EUNAVAILABLE with the reason. */
        void (*ping)(void *self, struct aip_op *op);
};

struct aip_queue {
        const struct aip_queue_ops *ops;
        void *self;
};

AIP_END_DECLS

#endif
