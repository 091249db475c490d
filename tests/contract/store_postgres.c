/* The store contract on PostgreSQL: each case in a schema of its own. */
#include "postgres_schema.h"
#include "require_env.h"
#include "store_contract.h"
#include <criterion/criterion.h>

static struct postgres_schema schema; /* each test is a process of its own */

static void prepare(struct store_maker *maker)
{
        (void)maker;
        postgres_schema_make(&schema);
}

static int open_store(struct store_maker *maker, const struct aip_store_options *options,
                      struct aip_store *ret_store, aip_error **err)
{
        struct aip_store_options here = *options;
        (void)maker;
        here.url = schema.url;
        return aip_postgres_store_new(&here, ret_store, err);
}

static void dispose(struct store_maker *maker)
{
        (void)maker;
        postgres_schema_drop(&schema);
}

static const struct store_maker maker = {
        .is_shareable = 1,
        .prepare = prepare,
        .open = open_store,
        .dispose = dispose,
};

#define CASE(name)                                                                                 \
        Test(store_postgres, name, .timeout = 60)                                                  \
        {                                                                                          \
                store_contract_run(&maker, store_contract_##name);                                 \
        }
STORE_CONTRACT(CASE)

REQUIRE_ENV("AIPLAT_TEST_DATABASE_URL");
