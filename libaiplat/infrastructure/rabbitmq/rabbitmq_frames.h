/*
 * Messages as the bytes of AMQP 0-9-1. librabbitmq sends the three frames of a message by a call to
 * the kernel each; the publisher encodes a batch into one buffer and writes it once, which costs a
 * tenth. Pure: no connection, no socket.
 */
#ifndef AIPLAT_RABBITMQ_FRAMES_H
#define AIPLAT_RABBITMQ_FRAMES_H

#include <aiplat/str.h>
#include <stdint.h>

/* A persistent message. All views are borrowed; names and ids have at most 255 bytes. */
struct rabbitmq_message {
        struct aip_str exchange, routing_key;
        struct aip_str message_id;
        struct aip_str correlation_id; /* none: absent */
        struct aip_str body;
        int is_mandatory;
};

/* Append basic.publish, its content header and its body, in frames of at most `frame_max` bytes (0:
 * no limit). AIP_ENOMEM or AIP_ELIMIT leave `out` as it was. */
int rabbitmq_frames_append(struct aip_buf *out, uint16_t channel, size_t frame_max,
                           const struct rabbitmq_message *message);

#endif
