/*
 * Where the broker is and what is declared there: the parsed RABBITMQ_URL and the names of queue
 * and exchange. Made once by the constructor, then read by both broker threads. The password in
 * it is given to the broker and to nobody else: no log, no error.
 *
 *     amqp[s]://[user[:password]@]host[:port][/vhost][?option=value&…]
 *
 * Options, as RabbitMQ's own clients name them: heartbeat (seconds), cacertfile, certfile, keyfile
 * (amqps only). An unknown option is an error. Several URLs, separated by commas, are the nodes of one
 * cluster: each is complete in itself, and they are tried in turn.
 */
#ifndef AIPLAT_RABBITMQ_SETTINGS_H
#define AIPLAT_RABBITMQ_SETTINGS_H

#include <aiplat/error.h>
#include <amqp.h>

struct rabbitmq_settings {
        struct amqp_connection_info server; /* points into `url` */
        const char *ca_file;                /* amqps: PEM file of trusted authorities */
        const char *certificate_file;       /* or NULL */
        const char *key_file;               /* or NULL */
        int heartbeat_s;
        char *address; /* "host:port/vhost", for logs */
        char *task_queue;
        char *event_exchange;
        char *url; /* the memory behind the pointers above */
        size_t url_bytes;
        struct rabbitmq_settings *next; /* the next node, with the same names; NULL: the last */
};

int rabbitmq_settings_init(struct rabbitmq_settings *settings, const char *url,
                           const char *task_queue, const char *event_exchange, aip_error **err);
/* Wipes the password. Works on a half-built object. */
void rabbitmq_settings_deinit(struct rabbitmq_settings *settings);

#endif
