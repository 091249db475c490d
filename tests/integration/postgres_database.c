/* The database itself: migrations, what operators do by hand, and the largest texts. */
#include "postgres_case.h"

REQUIRE_ENV("AIPLAT_TEST_DATABASE_URL");

static void migrated_by_four(struct store_fixture *f)
{
        struct aip_store stores[4];
        struct aip_op ops[4] = {{0}};
        PGconn *outside = postgres_schema_connect(&the_schema);

        for (int i = 0; i < 4; i++)
                stores[i] = postgres_store_open(f, NULL);
        for (int i = 0; i < 4; i++) {
                op_begin(f, &ops[i]);
                stores[i].migrate(stores[i].self, &ops[i]);
        }
        for (int i = 0; i < 4; i++)
                op_await(f, &ops[i], 0);
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM schema_migrations"),
                     postgres_number(outside, "SELECT max(version) FROM schema_migrations"));
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM llm_configs"), 5);
        for (int i = 0; i < 4; i++)
                postgres_store_close(f, &stores[i]);
        PQfinish(outside);
}

Test(postgres_database, migrated_by_four_at_once, .timeout = 60)
{
        postgres_case_run_bare(migrated_by_four);
}

static void used_before_migration(struct store_fixture *f)
{
        struct aip_op migrate = {0};

        f->store = postgres_store_open(f, NULL);
        struct aip_job_fetch fetch = {.id = next_id(f)};
        START(f, fetch, &fetch);
        while (!op_is_done(&fetch.op))
                run_for(f, 5);
        cr_assert_not_null(strstr(aip_error_message(fetch.op.err), "migrate"));
        op_await(f, &fetch.op, AIP_EUNAVAILABLE);
        op_begin(f, &migrate);
        f->store.migrate(f->store.self, &migrate);
        op_await(f, &migrate, 0);
        DO(f, fetch, &fetch);
        cr_assert_null(fetch.ret_job);
        postgres_store_close(f, &f->store);
}

Test(postgres_database, used_before_migration, .timeout = 60)
{
        postgres_case_run_bare(used_before_migration);
}

static void migration_waits(struct store_fixture *f)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_store store = postgres_store_open(f, NULL);
        struct aip_op migrate = {.deadline_ms = aip_now_ms(f->loop) + 20000};

        /* Once unhindered, so that the short deadline below is not spent on a slow server's start. */
        op_begin(f, &migrate);
        store.migrate(store.self, &migrate);
        op_await(f, &migrate, 0);
        postgres_run(outside, "SELECT pg_advisory_lock(7021958613417)", NULL, 0);
        migrate.deadline_ms = aip_now_ms(f->loop) + 1000;
        op_begin(f, &migrate);
        store.migrate(store.self, &migrate);
        op_await(f, &migrate, AIP_ETIMEOUT);
        migrate.deadline_ms = aip_now_ms(f->loop) + 20000;
        op_begin(f, &migrate);
        store.migrate(store.self, &migrate);
        run_for(f, 200);
        cr_assert(!op_is_done(&migrate));
        postgres_run(outside, "SELECT pg_advisory_unlock_all()", NULL, 0);
        op_await(f, &migrate, 0);
        postgres_store_close(f, &store);
        PQfinish(outside);
}

Test(postgres_database, migration_waits_for_another, .timeout = 60)
{
        postgres_case_run_bare(migration_waits);
}

/* Rows that break our rules in spite of the constraints: left out, counted, named. */
POSTGRES_CASE(postgres_database, bad_catalog_rows)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_catalog_load load = {.ret_invalid = AIP_BUF_INIT(10000)};
        const aip_llm_config *const *configs;

        postgres_run(outside,
                     "ALTER TABLE llm_configs DROP CONSTRAINT llm_configs_temperature_check; "
                     "UPDATE llm_configs SET temperature = 9 WHERE name = 'default-fast'; "
                     "UPDATE prompt_templates SET content = 'open {{brace' "
                     "WHERE name = 'creative-writer'; "
                     "INSERT INTO graphs (name, document) VALUES ('knot', '{\"nodes\": 7}')",
                     NULL, 0);
        DO_CATALOG(f, load, &load);
        cr_assert_eq(load.ret_n_invalid, 3);
        cr_assert_not_null(strstr(load.ret_invalid.p, "graph knot: /nodes"));
        cr_assert_not_null(strstr(load.ret_invalid.p, "default-fast"));
        cr_assert_not_null(strstr(load.ret_invalid.p, "creative-writer"));
        cr_assert_eq(aip_catalog_configs(load.ret_catalog, &configs), 4);
        aip_catalog_unref(load.ret_catalog);
        aip_buf_deinit(&load.ret_invalid);
        PQfinish(outside);
}

/* Triggers keep the times and the revision, whoever writes. */
POSTGRES_CASE(postgres_database, changes_by_hand)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        int64_t before = catalog_revision(f);

        postgres_run(outside,
                     "UPDATE llm_configs SET timeout_seconds = 2.5, created_at = 'epoch' "
                     "WHERE name = 'simulated'",
                     NULL, 0);
        cr_assert_eq(catalog_revision(f), before + 1);
        aip_catalog *catalog = catalog_load(f);
        const struct aip_llm_config_fields *c =
                aip_llm_config_fields(aip_catalog_config(catalog, S("simulated")));
        cr_assert_eq(c->timeout_ms, 2500);
        cr_assert_gt(c->created_at_us, 0);
        cr_assert_gt(c->updated_at_us, c->created_at_us);
        aip_catalog_unref(catalog);
        postgres_run(outside, "DELETE FROM llm_configs WHERE name = 'nobody'", NULL, 0);
        cr_assert_eq(catalog_revision(f), before + 1);
        postgres_run(outside, "TRUNCATE prompt_templates", NULL, 0);
        cr_assert_eq(catalog_revision(f), before + 2);
        PQfinish(outside);
}

/* The largest prompts there are, more than one batch takes, and a large result. */
POSTGRES_CASE(postgres_database, largest_texts)
{
        enum { N = 40, BYTES = 4 * AIP_PROMPT_MAX_CHARACTERS, RESULT = 15 << 20 };
        static struct aip_job_create creates[N];
        char *prompt = malloc(BYTES + 1), *result = malloc(RESULT + 1);

        for (int i = 0; i < BYTES; i += 4)
                memcpy(prompt + i, "\xF0\x9F\x8C\x8A", 4);
        prompt[BYTES] = '\0';
        memset(result, 'r', RESULT);
        result[RESULT] = '\0';
        for (int i = 0; i < N; i++) {
                creates[i].job = job_make(f, prompt, 0);
                creates[i].op.deadline_ms = aip_now_ms(f->loop) + 25000;
                START(f, create, &creates[i]);
        }
        for (int i = 0; i < N; i++)
                op_await(f, &creates[i].op, 0);
        aip_job *job = job_fetch(f, creates[N - 1].ret_job_id);
        expect_same_job(job, creates[N - 1].job);
        aip_job_free(job);
        job = job_claim(f, next_id(f), creates[0].ret_job_id, LEASE_LONG_MS);
        cr_assert_eq(job_complete(f, job, result), AIP_FINISH_RECORDED);
        aip_job *stored = job_fetch(f, creates[0].ret_job_id);
        expect_same_job(stored, job);
        aip_job_free(stored);
        aip_job_free(job);
        for (int i = 0; i < N; i++)
                aip_job_free((aip_job *)creates[i].job);
        free(prompt);
        free(result);
}

/* A page of many large jobs ends early, and the next goes on where it ended. */
POSTGRES_CASE(postgres_database, pages_are_bounded_in_bytes)
{
        enum { N = 100, BYTES = 4 * AIP_PROMPT_MAX_CHARACTERS };
        char *prompt = malloc(BYTES + 1);
        struct aip_job_list list = {.limit = 1000};
        size_t n = 0, n_pages = 0;

        for (int i = 0; i < BYTES; i += 4)
                memcpy(prompt + i, "\xF0\x9F\x8C\x8A", 4);
        prompt[BYTES] = '\0';
        for (int i = 0; i < N; i++)
                job_create(f, prompt, 0);
        do {
                DO(f, list, &list);
                cr_assert_gt(list.ret_n, 0);
                n += list.ret_n;
                n_pages++;
                list.before = aip_job_fields(list.ret_jobs[list.ret_n - 1])->id;
                free_jobs(list.ret_jobs, list.ret_n);
        } while (list.ret_has_more);
        cr_assert_eq(n, N);
        cr_assert_eq(n_pages, 2);
        free(prompt);
}

/* A worker whose clock is behind, and a gateway whose clock is ahead of the server's: what was told
 * to be runnable is claimed. */
POSTGRES_CASE(postgres_database, clocks_that_disagree)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        aip_job *job = NULL;

        spec.prompt = S("p");
        cr_assert_eq(aip_job_new(next_id(f), &spec, wall_us(f) + 3600000000, &job, NULL), 0);
        struct aip_job_create create = {.job = job};
        DO(f, create, &create);
        cr_assert(create.ret_transition.is_runnable);
        aip_job *claimed = job_claim(f, next_id(f), create.ret_job_id, LEASE_LONG_MS);
        cr_assert_geq(aip_job_fields(claimed)->started_at_us, aip_job_fields(job)->run_at_us);
        aip_job_free(claimed);
        aip_job_free(job);
}
