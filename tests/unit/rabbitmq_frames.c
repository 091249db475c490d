/*
 * Messages as bytes: the same, to the last one, as librabbitmq writes for the same message, for all
 * lengths of names, ids and bodies, and bodies of more than one frame.
 */
#include "../../libaiplat/infrastructure/rabbitmq/rabbitmq_frames.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNEL 1

struct wire {
        amqp_connection_state_t connection;
        int far;
};

static struct wire open_wire(void)
{
        int pair[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        struct wire wire = {.connection = amqp_new_connection(), .far = pair[1]};
        amqp_socket_t *socket = amqp_tcp_socket_new(wire.connection);
        amqp_tcp_socket_set_sockfd(socket, pair[0]);
        return wire;
}

static void close_wire(struct wire *wire)
{
        amqp_destroy_connection(wire->connection);
        close(wire->far);
}

static amqp_bytes_t bytes_of(struct aip_str text)
{
        return (amqp_bytes_t){.len = text.n, .bytes = (void *)(uintptr_t)text.p};
}

static void publish(struct wire *wire, const struct rabbitmq_message *m)
{
        amqp_basic_properties_t properties = {
                ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                          (m->correlation_id.n ? AMQP_BASIC_CORRELATION_ID_FLAG : 0),
                .delivery_mode = AMQP_DELIVERY_PERSISTENT,
                .message_id = bytes_of(m->message_id),
                .correlation_id = bytes_of(m->correlation_id),
        };
        int status = amqp_basic_publish(wire->connection, CHANNEL, bytes_of(m->exchange),
                                        bytes_of(m->routing_key), m->is_mandatory, 0, &properties,
                                        bytes_of(m->body));
        cr_assert_eq(status, AMQP_STATUS_OK);
}

/* What librabbitmq begins with, before a broker has had its say: 65,536. */
static size_t frame_max_of(const struct wire *wire)
{
        return (size_t)amqp_get_frame_max(wire->connection);
}

static void check_same(struct wire *wire, const struct rabbitmq_message *m)
{
        static char expected[262144];
        struct aip_buf ours = AIP_BUF_INIT(sizeof(expected));
        publish(wire, m);
        cr_assert_eq(rabbitmq_frames_append(&ours, CHANNEL, frame_max_of(wire), m), 0);
        ssize_t n = recv(wire->far, expected, ours.n, MSG_WAITALL | MSG_DONTWAIT);
        cr_assert_eq(n, (ssize_t)ours.n, "%zu instead of %zd bytes", ours.n, n);
        cr_assert_eq(memcmp(ours.p, expected, ours.n), 0);
        cr_assert_eq(recv(wire->far, expected, 1, MSG_DONTWAIT), -1, "ours ends too early");
        aip_buf_deinit(&ours);
}

static struct aip_str some(const char *text, size_t limit)
{
        return aip_str_make(text, (size_t)rand() % (limit + 1));
}

Test(rabbitmq_frames, are_those_of_librabbitmq)
{
        static char text[9000];
        struct wire wire = open_wire();
        memset(text, 'x', sizeof(text));
        for (int round = 0; round < 500; round++) {
                struct rabbitmq_message m = {
                        .exchange = some(text, 255),
                        .routing_key = some(text, 255),
                        .message_id = some(text, 255),
                        .correlation_id = some(text, round % 2 ? 20 : 0),
                        .body = some(text, round % 3 ? 200 : sizeof(text)),
                        .is_mandatory = round % 2,
                };
                check_same(&wire, &m);
        }
        close_wire(&wire);
}

Test(rabbitmq_frames, bodies_of_no_of_one_and_of_several_frames)
{
        static char text[140000];
        struct wire wire = open_wire();
        const size_t frame = frame_max_of(&wire) - 8;
        const size_t lengths[] = {0, 1, frame - 1, frame, frame + 1, 2 * frame, 2 * frame + 1};
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
                struct rabbitmq_message m = {
                        .exchange = aip_str_of("events"),
                        .routing_key = aip_str_of("job.created"),
                        .message_id = aip_str_of("id"),
                        .body = aip_str_make(text, lengths[i]),
                };
                check_same(&wire, &m);
        }
        close_wire(&wire);
}

Test(rabbitmq_frames, a_full_buffer_is_left_as_it_was)
{
        struct aip_buf out = AIP_BUF_INIT(100);
        struct rabbitmq_message m = {.body = aip_str_of("x")};
        cr_assert_eq(aip_buf_append_cstr(&out, "before"), 0);
        cr_assert_eq(rabbitmq_frames_append(&out, CHANNEL, 0, &m), AIP_ELIMIT);
        cr_assert_str_eq(out.p, "before");
        aip_buf_deinit(&out);
}
