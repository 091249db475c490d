/* The queue contract on a real RabbitMQ, when AIPLAT_TEST_RABBITMQ_URL names one. */
#include "queue_contract.h"
#include "require_env.h"

#include <amqp_tcp_socket.h>
#include <criterion/criterion.h>
#include <string.h>

/* Leave nothing behind on the broker. It was reachable a moment ago, so nothing is checked. */
static void dispose(const char *url, const char *task_queue, const char *event_exchange)
{
        char *copy = strdup(url);
        struct amqp_connection_info info;
        amqp_parse_url(copy, &info);
        amqp_connection_state_t connection = amqp_new_connection();
        amqp_socket_t *socket = amqp_tcp_socket_new(connection);
        if (amqp_socket_open(socket, info.host, info.port) == AMQP_STATUS_OK) {
                amqp_login(connection, *info.vhost ? info.vhost : "/", 0, 131072, 0,
                           AMQP_SASL_METHOD_PLAIN, info.user, info.password);
                amqp_channel_open(connection, 1);
                amqp_queue_delete(connection, 1, amqp_cstring_bytes(task_queue), 0, 0);
                amqp_exchange_delete(connection, 1, amqp_cstring_bytes(event_exchange), 0);
                amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
        }
        amqp_destroy_connection(connection);
        free(copy);
}

REQUIRE_ENV("AIPLAT_TEST_RABBITMQ_URL");

static void run_case(queue_case *run)
{
        const struct queue_maker maker = {
                .open = aip_rabbitmq_queue_new,
                .url = getenv("AIPLAT_TEST_RABBITMQ_URL"),
                .dispose = dispose,
                .bound = 10000,
        };
        queue_contract_run(&maker, run);
}

#define CASE(name)                                                                                 \
        Test(queue_rabbitmq, name, .timeout = 120)                                                 \
        {                                                                                          \
                run_case(queue_contract_##name);                                                \
        }
QUEUE_CONTRACT(CASE)
