/*
 * The contract of ports/queue.h, as tests that every queue must pass. A queue's own file
 * (queue_memory.c, queue_rabbitmq.c) says how one is opened and lists the cases with
 * QUEUE_CONTRACT.
 */
#ifndef AIPLAT_TESTS_QUEUE_CONTRACT_H
#define AIPLAT_TESTS_QUEUE_CONTRACT_H

#include <aiplat/adapters.h>

struct queue_maker {
        int is_virtual; /* run on the virtual loop: no threads and no descriptors */
        int (*open)(const struct aip_queue_options *options, struct aip_queue_handle *ret_queue,
                    aip_error **err);
        const char *url;
        void (*dispose)(const char *url, const char *task_queue, const char *event_exchange);
        size_t bound; /* unanswered or undelivered tasks that are taken; then AIP_ELIMIT */
};

struct queue_fixture;
typedef void queue_case(struct queue_fixture *f);

/* One case on a queue of its own. */
void queue_contract_run(const struct queue_maker *maker, queue_case *run);

#define QUEUE_CONTRACT(X)                                                                          \
        X(delivers_what_was_published)                                                             \
        X(keeps_tasks_until_somebody_consumes)                                                     \
        X(delivers_no_more_than_the_prefetch)                                                      \
        X(redelivers_when_a_consumer_stops)                                                        \
        X(forgets_what_was_acknowledged)                                                           \
        X(ignores_odd_acknowledgements)                                                            \
        X(consumer_stops_in_its_callback)                                                          \
        X(consumer_starts_again_at_once)                                                           \
        X(drops_what_is_no_job_id)                                                                 \
        X(refuses_too_large_a_message)                                                             \
        X(event_without_listener_is_published)                                                     \
        X(many_tasks_arrive_once_each)                                                             \
        X(is_bounded)                                                                              \
        X(close_ends_what_is_in_flight)

#define QUEUE_CONTRACT_DECLARE(name) queue_case queue_contract_##name;
QUEUE_CONTRACT(QUEUE_CONTRACT_DECLARE)

#endif
