/*
 * A message broker in memory for several clients, which loses, doubles, delays and refuses messages
 * when told to: for the suites of the services and for the simulation. Each client is a queue port
 * with one consumer. It counts what was published, so that a suite can compare.
 */
#ifndef AIPLAT_TESTS_BROKER_H
#define AIPLAT_TESTS_BROKER_H

#include "hash_map.h"
#include "list.h"
#include <aiplat/loops.h>
#include <aiplat/ports/queue.h>

struct broker {
        struct aip_loop loop;
        struct aip_seeded_random generator;
        struct aip_random random;
        struct aip_list ready;   /* messages nobody has */
        struct aip_list clients;
        struct aip_task deliver_task;
        uint64_t n_tags;

        /* by chance, in thousandths */
        int lost_permille, doubled_permille, refused_permille;
        int64_t delay_ms; /* a confirm takes up to so long */
        int is_down;      /* publishing fails, nobody is connected */

        size_t n_tasks, n_acknowledged;
        struct aip_hash_map events; /* "routing key" → count, as a pointer's value */
};

struct broker_client {
        struct aip_list link;
        struct broker *broker;
        struct aip_consumer *consumer;
        struct aip_list unacknowledged;
        size_t n_unacknowledged;
        uint64_t generation;
        int is_cut_off;
        size_t n_publishing;
};

void broker_open(struct broker *broker, struct aip_loop loop, uint64_t seed);
void broker_close(struct broker *broker);
void broker_connect(struct broker *broker, struct broker_client *client);
/* The client's messages go back to the queue. No publish may be in flight. */
void broker_leave(struct broker_client *client);
struct aip_queue broker_port(struct broker_client *client);
/* A message of a test's own making. */
void broker_send(struct broker *broker, const struct aip_id *job_id);
/* The connection breaks and is there again: the consumer hears of it, its messages come again. */
void broker_break(struct broker_client *client);
/* Everything that waits is gone, as after a loss of the broker's disk. */
void broker_purge(struct broker *broker);
size_t broker_events(const struct broker *broker, const char *routing_key);

#endif
