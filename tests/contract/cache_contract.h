/*
 * The contract of ports/cache.h, as tests that every cache must pass. A cache's own file
 * (cache_memory.c, cache_redis.c) says how one is opened and lists the cases with CACHE_CONTRACT.
 */
#ifndef AIPLAT_TESTS_CACHE_CONTRACT_H
#define AIPLAT_TESTS_CACHE_CONTRACT_H

#include <aiplat/adapters.h>

struct cache_maker {
        int is_virtual; /* run on the virtual loop: no threads and no descriptors */
        int (*open)(const struct aip_cache_options *options, struct aip_cache_handle *ret_cache,
                    aip_error **err);
        const char *url;
};

struct cache_fixture;
typedef void cache_case(struct cache_fixture *f);

/* One case on a cache of its own (its keys are its own, if the server is shared). */
void cache_contract_run(const struct cache_maker *maker, cache_case *run);

#define CACHE_CONTRACT(X)                                                                          \
        X(what_was_put_is_got)                                                                     \
        X(the_last_value_counts)                                                                   \
        X(values_of_every_kind)                                                                    \
        X(entries_end_with_their_time)                                                             \
        X(a_value_too_large_for_the_caller)                                                        \
        X(many_at_once)                                                                            \
        X(close_ends_what_is_in_flight)

#define CACHE_CONTRACT_DECLARE(name) cache_case cache_contract_##name;
CACHE_CONTRACT(CACHE_CONTRACT_DECLARE)

#endif
