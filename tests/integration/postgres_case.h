/*
 * What the PostgreSQL suites share: a test is a function on a store of its own, in a schema of its
 * own, with the verbs of the store contract's fixture, and a blocking connection to look from
 * outside and to interfere.
 */
#ifndef TESTS_POSTGRES_CASE_H
#define TESTS_POSTGRES_CASE_H

#include "postgres_schema.h"
#include "require_env.h"
#include "store_fixture.h"

extern struct postgres_schema the_schema; /* of this test's process */

void postgres_case_run(store_case *run);
/* The same on a schema without tables: nothing has been migrated. */
void postgres_case_run_bare(store_case *run);
/* One more store on the same schema; `url` NULL: the schema's. */
struct aip_store postgres_store_open(struct store_fixture *f, const char *url);
void postgres_store_close(struct store_fixture *f, struct aip_store *store);

#define POSTGRES_CASE(suite, name)                                                                 \
        static void suite##_##name(struct store_fixture *f);                                       \
        Test(suite, name, .timeout = 120)                                                          \
        {                                                                                          \
                postgres_case_run(suite##_##name);                                                 \
        }                                                                                          \
        static void suite##_##name(struct store_fixture *f)

#endif
