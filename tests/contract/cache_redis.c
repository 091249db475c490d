/* The cache contract on a real Redis, when AIPLAT_TEST_REDIS_URL names one. */
#include "cache_contract.h"
#include "skip.h"

#include <criterion/criterion.h>

SKIP_SUITE_WITHOUT("AIPLAT_TEST_REDIS_URL")

static void run_case(cache_case *run)
{
        const struct cache_maker maker = {
                .open = aip_redis_cache_new,
                .url = getenv("AIPLAT_TEST_REDIS_URL"),
        };
        cache_contract_run(&maker, run);
}

#define CASE(name)                                                                                 \
        Test(cache_redis, name, .timeout = 60)                                                     \
        {                                                                                          \
                run_case(cache_contract_##name);                                                   \
        }
CACHE_CONTRACT(CASE)
