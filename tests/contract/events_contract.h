/*
 * The contract of ports/event_stream.h, as tests that every event stream must pass. A stream's own
 * file (events_memory.c, events_redis.c) says how one is opened and lists the cases.
 */
#ifndef AIPLAT_TESTS_EVENTS_CONTRACT_H
#define AIPLAT_TESTS_EVENTS_CONTRACT_H

#include <aiplat/adapters.h>

struct events_maker {
        int is_virtual; /* run on the virtual loop: no threads and no descriptors */
        int (*open)(const struct aip_events_options *options, struct aip_events_handle *ret_events,
                    aip_error **err);
        const char *url;
};

struct events_fixture;
typedef void events_case(struct events_fixture *f);

/* One case on streams of its own (its job ids are its own, if the server is shared). */
void events_contract_run(const struct events_maker *maker, events_case *run);

#define EVENTS_CONTRACT(X)                                                                         \
        X(what_was_appended_is_read_in_order)                                                      \
        X(reading_goes_on_behind_an_id)                                                            \
        X(an_answer_has_so_many_events)                                                            \
        X(repetitions_and_stale_runs_do_nothing)                                                   \
        X(data_of_every_kind)                                                                      \
        X(an_event_too_large_is_refused)                                                           \
        X(watches_are_told_of_their_job)                                                           \
        X(a_watch_may_be_removed_at_any_time)                                                      \
        X(events_expire_after_the_end)                                                             \
        X(the_oldest_go_first)                                                                     \
        X(close_ends_what_is_in_flight)

#define EVENTS_CONTRACT_DECLARE(name) events_case events_contract_##name;
EVENTS_CONTRACT(EVENTS_CONTRACT_DECLARE)

#endif
