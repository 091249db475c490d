/*
 * Partitions and retention of the PostgreSQL store: partitions are made ahead of time, one that is
 * dropped takes only jobs that have ended, lists and pages go across partitions, and traffic goes on
 * meanwhile.
 */
#include "postgres_case.h"

REQUIRE_ENV("AIPLAT_TEST_DATABASE_URL");

#define HOUR_MS INT64_C(3600000)

/* Rows of the past, in partitions of the past: a day each, from `days` ago to 2 days ago; `per_day` jobs
 * each, the first of each day still QUEUED. */
static void make_past(PGconn *outside, int days, int per_day)
{
        char sql[2048];
        snprintf(sql, sizeof(sql),
                 "SELECT aiplat_make_partition(t, t + interval '1 day') FROM generate_series("
                 "date_trunc('day', now()) - interval '%d days', "
                 "(SELECT aiplat_id_time(min(from_id::text)::uuid) FROM aiplat_partitions()) - "
                 "interval '1 day', interval '1 day') t; "
                 "INSERT INTO jobs (id, status, version, attempt, max_attempts, retry_delay_ms, "
                 "prompt, config_name, template_name, graph_name, created_at, updated_at, run_at, "
                 "started_at, finished_at, result, provider, model_name) "
                 "SELECT overlay(aiplat_id_floor(t)::text PLACING "
                 "'7000-8000-' || lpad(to_hex(n), 12, '0') FROM 15)::uuid, "
                 "CASE WHEN n = 1 THEN 'QUEUED' ELSE 'COMPLETED' END::job_status, "
                 "CASE WHEN n = 1 THEN 1 ELSE 3 END, CASE WHEN n = 1 THEN 0 ELSE 1 END, 3, 0, 'p', "
                 "'simulated', 'default-assistant', 'assistant', t, t, t, CASE WHEN n > 1 THEN t "
                 "END, "
                 "CASE WHEN n > 1 THEN t END, CASE WHEN n > 1 THEN 'r' END, "
                 "CASE WHEN n > 1 THEN 'simulated' END, CASE WHEN n > 1 THEN 'm' END "
                 "FROM generate_series(date_trunc('day', now()) - interval '%d days', "
                 "date_trunc('day', now()) - interval '2 days', interval '1 day') t, "
                 "generate_series(1, %d) n",
                 days, days, per_day);
        postgres_run(outside, sql, NULL, 0);
}

static struct aip_retention retention_of(int64_t keep_hours, int is_dry_run)
{
        return (struct aip_retention){.keep_jobs_ms = keep_hours * HOUR_MS,
                                      .keep_keys_ms = 24 * HOUR_MS,
                                      .partition_ms = 24 * HOUR_MS,
                                      .is_dry_run = is_dry_run};
}

static size_t outcomes(const struct aip_retention *retention, const char *outcome)
{
        size_t n = 0;
        for (size_t i = 0; i < retention->ret_n; i++)
                n += strcmp(retention->ret_entries[i].outcome, outcome) == 0;
        return n;
}

POSTGRES_CASE(retention, partitions_are_made_ahead)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_retention dry = retention_of(0, 1), wet = retention_of(0, 0), again;
        dry.partition_ms = wet.partition_ms = HOUR_MS * 24 * 30; /* wider than what is there */
        again = wet;
        DO(f, retain, &dry);
        cr_assert_geq(outcomes(&dry, "make"), 1);
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM aiplat_partitions()"), 2);
        DO(f, retain, &wet);
        cr_assert_eq(outcomes(&wet, "made"), outcomes(&dry, "make"));
        cr_assert_eq(postgres_number(outside,
                                     "SELECT (aiplat_id_time(max(until_id::text)::uuid) > now() "
                                     "+ interval '60 days')::int FROM aiplat_partitions()"),
                     1);
        DO(f, retain, &again);
        cr_assert_eq(outcomes(&again, "made"), 0);
        free(dry.ret_entries);
        free(wet.ret_entries);
        free(again.ret_entries);
        PQfinish(outside);
}

POSTGRES_CASE(retention, a_new_partition_takes_its_rows_out_of_the_default_one)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_retention wet = retention_of(0, 0);
        postgres_run(outside,
                     "DO $$ BEGIN EXECUTE (SELECT 'DROP TABLE ' || name FROM "
                     "aiplat_partitions() WHERE from_id IS NOT NULL); END $$",
                     NULL, 0);
        struct aip_id id = job_create(f, "nobody made room for it", 0);
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM jobs_default"), 1);
        DO(f, retain, &wet);
        cr_assert_geq(outcomes(&wet, "made"), 2);
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM jobs_default"), 0);
        expect_job(f, id, AIP_JOB_QUEUED, 1, 0);
        free(wet.ret_entries);
        PQfinish(outside);
}

POSTGRES_CASE(retention, what_is_dropped_has_ended)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_retention wet = retention_of(24 * 10, 0);
        make_past(outside, 20, 5);
        long before = postgres_number(outside, "SELECT count(*) FROM jobs WHERE status = 'QUEUED'");
        DO(f, retain, &wet);
        cr_assert_geq(outcomes(&wet, "dropped"), 9);
        cr_assert_eq(outcomes(&wet, "busy") + outcomes(&wet, "crowded"), 0);
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM jobs WHERE status = 'QUEUED'"),
                     before);
        cr_assert_geq(postgres_number(outside, "SELECT count(*) FROM jobs_default"), 9);
        cr_assert_eq(postgres_number(outside,
                                     "SELECT count(*) FROM jobs WHERE finished_at < now() - "
                                     "interval '12 days'"),
                     0);
        /* Those that were moved run like any other, … */
        struct aip_id session = next_id(f);
        struct aip_job_claim claim = {.session = session, .lease_ms = LEASE_LONG_MS, .limit = 3};
        DO(f, claim, &claim);
        cr_assert_eq(claim.ret_n, 3);
        struct aip_id id = aip_job_fields(claim.ret_jobs[0])->id;
        cr_assert_eq(job_complete(f, claim.ret_jobs[0], "late"), AIP_FINISH_RECORDED);
        expect_job(f, id, AIP_JOB_COMPLETED, 3, 1);
        /* … and are kept from their end on, whenever they began. */
        free(wet.ret_entries);
        wet = retention_of(24 * 10, 0);
        DO(f, retain, &wet);
        expect_job(f, id, AIP_JOB_COMPLETED, 3, 1);
        postgres_run(outside,
                     "UPDATE jobs_default SET finished_at = now() - interval '11 days' "
                     "WHERE finished_at IS NOT NULL",
                     NULL, 0);
        free(wet.ret_entries);
        wet = retention_of(24 * 10, 0);
        DO(f, retain, &wet);
        struct aip_job_fetch fetch = {.id = id};
        DO(f, fetch, &fetch);
        cr_assert_null(fetch.ret_job);
        free(wet.ret_entries);
        free_jobs(claim.ret_jobs, claim.ret_n);
        free(claim.ret_transitions);
        PQfinish(outside);
}

POSTGRES_CASE(retention, keys_are_forgotten)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_retention wet = retention_of(0, 0);
        postgres_run(outside,
                     "INSERT INTO idempotency_keys (key, job_id, fingerprint, created_at) "
                     "SELECT 'k' || n, gen_random_uuid(), '\\x00000000000000000000000000000000'"
                     ", now() - n * interval '1 minute' FROM generate_series(1, 5000) n",
                     NULL, 0);
        DO(f, retain, &wet);
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM idempotency_keys"), 1439);
        free(wet.ret_entries);
        PQfinish(outside);
}

POSTGRES_CASE(retention, lists_go_across_partitions_newest_first)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        make_past(outside, 20, 4);
        for (int i = 0; i < 5; i++)
                (void)job_create(f, "new", 0);
        long n = postgres_number(outside, "SELECT count(*) FROM jobs"), seen = 0;
        struct aip_job_list list = {.limit = 7};
        struct aip_id before = {{0}};
        do {
                list = (struct aip_job_list){.limit = 7, .before = before};
                DO(f, list, &list);
                for (size_t i = 0; i < list.ret_n; i++) {
                        struct aip_id id = aip_job_fields(list.ret_jobs[i])->id;
                        cr_assert(seen == 0 || memcmp(id.bytes, before.bytes, 16) < 0);
                        before = id;
                        seen++;
                }
                int has_more = list.ret_has_more;
                free_jobs(list.ret_jobs, list.ret_n);
                if (!has_more)
                        break;
        } while (seen <= n);
        cr_assert_eq(seen, n);
        char plan[65536] = "";
        postgres_run(outside, "EXPLAIN (FORMAT JSON) SELECT id FROM jobs ORDER BY id DESC LIMIT 10",
                     plan, sizeof(plan));
        cr_assert_not_null(strstr(plan, "Index"), "%s", plan);
        PQfinish(outside);
}

/* Jobs are made, claimed and finished by one store while another drops 40 partitions and makes new
 * ones: nothing fails, and no operation waits long. */
POSTGRES_CASE(retention, traffic_goes_on)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_store other = postgres_store_open(f, NULL);
        struct aip_retention wet = retention_of(24 * 10, 0);
        int64_t longest_ms = 0;
        int n = 0;
        make_past(outside, 50, 500);
        op_begin(f, &wet.op);
        other.jobs.ops->retain(other.jobs.self, &wet);
        while (!op_is_done(&wet.op) || n < 50) {
                int64_t began_ms = aip_now_ms(f->loop);
                struct aip_id id = job_create(f, "while partitions go", 0);
                aip_job *job = job_claim(f, next_id(f), id, LEASE_LONG_MS);
                cr_assert_eq(job_complete(f, job, "done"), AIP_FINISH_RECORDED);
                aip_job_free(job);
                int64_t took_ms = aip_now_ms(f->loop) - began_ms;
                longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
                n++;
        }
        op_await(f, &wet.op, 0);
        cr_assert_geq(outcomes(&wet, "dropped") + outcomes(&wet, "busy"), 35);
        cr_assert_geq(outcomes(&wet, "dropped"), 20, "%zu", outcomes(&wet, "dropped"));
        cr_assert_lt(longest_ms, 1500, "%lld ms", (long long)longest_ms);
        cr_assert_eq(postgres_number(outside,
                                     "SELECT count(*) FROM jobs WHERE status = 'COMPLETED' AND "
                                     "result = 'done'"),
                     n);
        free(wet.ret_entries);
        postgres_store_close(f, &other);
        PQfinish(outside);
}

/* A job of the thread that has ended, with a checkpoint. */
static struct aip_id turn_of(struct store_fixture *f, struct aip_id thread)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        struct aip_checkpoint_save save = {0};
        struct aip_id id;
        aip_job *job;

        spec.prompt = S("in a thread");
        spec.thread_id = thread;
        id = job_create_from(f, &spec);
        job = job_claim(f, next_id(f), id, LEASE_LONG_MS);
        save.fence = fence_of(job);
        save.checkpoint = (struct aip_checkpoint){
                .owner = thread, .n = 1, .base = 1, .place = S("{}"), .changes = S("{}")};
        START_ON(f, f->store.checkpoints, save, &save);
        op_await(f, &save.op, 0);
        cr_assert_not(save.ret_is_stale);
        cr_assert_eq(job_complete(f, job, "done"), AIP_FINISH_RECORDED);
        aip_job_free(job);
        return id;
}

static void retain_once(struct store_fixture *f)
{
        struct aip_retention wet = retention_of(24 * 10, 0);

        DO(f, retain, &wet);
        free(wet.ret_entries);
}

POSTGRES_CASE(retention, a_thread_goes_when_it_is_old_and_its_jobs_are_gone)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        const char *const states = "SELECT count(*) FROM checkpoints";
        const char *const threads = "SELECT count(*) FROM threads";

        turn_of(f, next_id(f));
        turn_of(f, next_id(f));
        postgres_run(outside, "UPDATE threads SET updated_at = now() - interval '11 days'", NULL, 0);
        retain_once(f);
        cr_assert_eq(postgres_number(outside, threads), 2, "their jobs are there");
        postgres_run(outside, "DELETE FROM jobs", NULL, 0);
        postgres_run(outside, "UPDATE threads SET updated_at = now() WHERE id = "
                              "(SELECT id FROM threads ORDER BY id LIMIT 1)", NULL, 0);
        retain_once(f);
        cr_assert_eq(postgres_number(outside, threads), 1, "one was used lately");
        cr_assert_eq(postgres_number(outside, states), 1, "and keeps its state");
        postgres_run(outside, "UPDATE threads SET updated_at = now() - interval '11 days'", NULL, 0);
        retain_once(f);
        cr_assert_eq(postgres_number(outside, threads), 0);
        cr_assert_eq(postgres_number(outside, states), 0);
        PQfinish(outside);
}
