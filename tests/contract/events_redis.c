/* The event stream contract on a real Redis, when AIPLAT_TEST_REDIS_URL names one. */
#include "events_contract.h"
#include "require_env.h"

#include <criterion/criterion.h>

REQUIRE_ENV("AIPLAT_TEST_REDIS_URL");

static void run_case(events_case *run)
{
        const struct events_maker maker = {
                .open = aip_redis_events_new,
                .url = getenv("AIPLAT_TEST_REDIS_URL"),
        };
        events_contract_run(&maker, run);
}

#define CASE(name)                                                                                 \
        Test(events_redis, name, .timeout = 60)                                                    \
        {                                                                                          \
                run_case(events_contract_##name);                                                  \
        }
EVENTS_CONTRACT(CASE)
