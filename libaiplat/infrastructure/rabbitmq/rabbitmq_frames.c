/* Messages as the bytes of AMQP 0-9-1 (see rabbitmq_frames.h). Section numbers are those of the
 * specification. */
#include "rabbitmq_frames.h"

#include "macros.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <endian.h>

#define FRAME_OVERHEAD 8 /* 4.2.3: type, channel, size; the end octet */
#define FRAME_END      0xce
#define PERSISTENT     2
#define METHOD_BYTES   (4 + 2 + 1 + 255 + 1 + 255 + 1)
#define HEADER_BYTES   (2 + 2 + 8 + 2 + 1 + 2 * 256)

static char *put_8(char *to, unsigned value)
{
        *to = (char)(unsigned char)value;
        return to + 1;
}

static char *put_16(char *to, unsigned value)
{
        uint16_t bytes = htobe16((uint16_t)value);
        return mempcpy(to, &bytes, sizeof(bytes));
}

static char *put_32(char *to, uint32_t value)
{
        uint32_t bytes = htobe32(value);
        return mempcpy(to, &bytes, sizeof(bytes));
}

static char *put_64(char *to, uint64_t value)
{
        uint64_t bytes = htobe64(value);
        return mempcpy(to, &bytes, sizeof(bytes));
}

static char *put_bytes(char *to, struct aip_str bytes)
{
        return bytes.n ? mempcpy(to, bytes.p, bytes.n) : to;
}

static char *put_short_string(char *to, struct aip_str text)
{
        return put_bytes(put_8(to, (unsigned)text.n), text);
}

static char *open_frame(char *to, unsigned type, uint16_t channel, size_t payload_bytes)
{
        return put_32(put_16(put_8(to, type), channel), (uint32_t)payload_bytes);
}

static char *close_frame(char *to)
{
        return put_8(to, FRAME_END);
}

/* basic.publish */
static char *put_method(char *to, uint16_t channel, const struct rabbitmq_message *message)
{
        size_t payload_bytes = 4 + 2 + 1 + message->exchange.n + 1 + message->routing_key.n + 1;
        to = open_frame(to, AMQP_FRAME_METHOD, channel, payload_bytes);
        to = put_32(to, AMQP_BASIC_PUBLISH_METHOD);
        to = put_16(to, 0); /* a ticket, in former times */
        to = put_short_string(to, message->exchange);
        to = put_short_string(to, message->routing_key);
        to = put_8(to, message->is_mandatory ? 1 : 0);
        return close_frame(to);
}

/* 4.2.6.1: properties follow in the order of their flags, from the highest bit down. */
static char *put_header(char *to, uint16_t channel, const struct rabbitmq_message *message)
{
        int has_correlation = message->correlation_id.n > 0;
        size_t payload_bytes = 2 + 2 + 8 + 2 + 1 + 1 + message->message_id.n +
                               (has_correlation ? 1 + message->correlation_id.n : 0);
        unsigned flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                         (has_correlation ? AMQP_BASIC_CORRELATION_ID_FLAG : 0u);
        to = open_frame(to, AMQP_FRAME_HEADER, channel, payload_bytes);
        to = put_16(to, AMQP_BASIC_CLASS);
        to = put_16(to, 0); /* weight */
        to = put_64(to, message->body.n);
        to = put_16(to, flags);
        to = put_8(to, PERSISTENT);
        if (has_correlation)
                to = put_short_string(to, message->correlation_id);
        to = put_short_string(to, message->message_id);
        return close_frame(to);
}

static char *put_body(char *to, uint16_t channel, size_t piece_bytes, struct aip_str body)
{
        for (size_t at = 0; at < body.n; at += piece_bytes) {
                size_t n = AIP_MIN(piece_bytes, body.n - at);
                to = open_frame(to, AMQP_FRAME_BODY, channel, n);
                to = close_frame(put_bytes(to, aip_str_make(body.p + at, n)));
        }
        return to;
}

int rabbitmq_frames_append(struct aip_buf *out, uint16_t channel, size_t frame_max,
                           const struct rabbitmq_message *message)
{
        size_t body_bytes = message->body.n;
        size_t piece_bytes = frame_max > FRAME_OVERHEAD ? frame_max - FRAME_OVERHEAD : SIZE_MAX;
        size_t n_pieces = body_bytes / piece_bytes + 1;
        int r = aip_buf_reserve(out, METHOD_BYTES + HEADER_BYTES + body_bytes +
                                             (2 + n_pieces) * FRAME_OVERHEAD);
        if (r < 0)
                return r;
        char *to = put_method(out->p + out->n, channel, message);
        to = put_header(to, channel, message);
        to = put_body(to, channel, AIP_MIN(piece_bytes, body_bytes + 1), message->body);
        out->n = (size_t)(to - out->p);
        *to = '\0';
        return 0;
}
