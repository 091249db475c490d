/*
 * Plans that are kept (lane.c) are made while the tables are empty and serve tables with any number of
 * rows: looking for a job must cost a probe, not a walk through an index or through all partitions.
 */
#include "postgres_case.h"
#include <unistd.h>

REQUIRE_ENV("AIPLAT_TEST_DATABASE_URL");

enum {
        BATCH = 20,
        N_LARGE = 60000,
        N_DAYS = 20,
        ROUNDS = 10,
        /* What one job may cost the indexes from creation to end: 7 seen; 24 when one statement probes all
         * partitions, thousands when one walks. */
        READS_MAX = 12,
};

/* Everything that looks for jobs, alone and many at a time. */
static void live_some_jobs(struct store_fixture *f, int n)
{
        struct aip_id ids[BATCH];
        struct aip_job_fetch fetches[BATCH];
        struct aip_job_finish finishes[BATCH];
        struct aip_id session = next_id(f);
        struct aip_job_claim claim = {.session = session,
                                      .ids = ids,
                                      .n_ids = (size_t)n,
                                      .limit = (size_t)n,
                                      .lease_ms = 600000};

        for (int i = 0; i < n; i++)
                ids[i] = job_create(f, "planned", 0);
        DO(f, claim, &claim);
        cr_assert_eq(claim.ret_n, n);
        for (int i = 0; i < n; i++) {
                fetches[i] = (struct aip_job_fetch){.id = ids[i]};
                START(f, fetch, &fetches[i]);
        }
        for (int i = 0; i < n; i++) {
                struct aip_job_outcome outcome = {.self_size = sizeof(outcome),
                                                  .result = S("r"),
                                                  .provider = S("simulated"),
                                                  .model_name = S("m")};
                op_await(f, &fetches[i].op, 0);
                aip_job_free(fetches[i].ret_job);
                finishes[i] = (struct aip_job_finish){.job = claim.ret_jobs[i]};
                cr_assert_eq(aip_job_complete(claim.ret_jobs[i], &outcome, aip_wall_us(f->loop),
                                              &finishes[i].transition, NULL),
                             0);
                START(f, finish, &finishes[i]);
        }
        for (int i = 0; i < n; i++) {
                op_await(f, &finishes[i].op, 0);
                cr_assert_eq(finishes[i].ret_outcome, AIP_FINISH_RECORDED);
        }
        free_jobs(claim.ret_jobs, claim.ret_n);
        free(claim.ret_transitions);
}

/* Old and new jobs in every state, over many partitions. No statistics are gathered: the server would
 * throw kept plans away by itself. */
static void make_large(PGconn *outside)
{
        char sql[4096];
        snprintf(
                sql, sizeof(sql),
                "SELECT aiplat_make_partition(t, t + interval '1 day') FROM generate_series("
                "date_trunc('day', now()) - interval '%d days', "
                "(SELECT aiplat_id_time(min(from_id::text)::uuid) FROM aiplat_partitions()) - "
                "interval '1 day', interval '1 day') t; "
                "INSERT INTO jobs (id, status, version, attempt, max_attempts, retry_delay_ms, "
                "prompt, config_name, template_name, graph_name, created_at, updated_at, run_at, "
                "session, started_at, finished_at, result, provider, model_name) "
                "SELECT overlay(aiplat_id_floor(now() - n %% %d * interval '1 day')::text PLACING "
                "'7000-8000-' || lpad(to_hex(n), 12, '0') FROM 15)::uuid, "
                "s, 3, 1, 3, 0, 'p', 'simulated', 'default-assistant', 'assistant', now(), now(), "
                "now(), CASE WHEN s = 'PROCESSING' THEN gen_random_uuid() END, now(), "
                "CASE WHEN s = 'COMPLETED' THEN now() END, CASE WHEN s = 'COMPLETED' THEN 'r' END, "
                "CASE WHEN s = 'COMPLETED' THEN 'simulated' END, CASE WHEN s = 'COMPLETED' THEN "
                "'m' END "
                "FROM generate_series(1, %d) n, LATERAL (SELECT ((ARRAY['QUEUED', 'PROCESSING', "
                "'COMPLETED'])[1 + n %% 3])::job_status AS s) AS t",
                N_DAYS, N_DAYS, N_LARGE);
        postgres_run(outside, sql, NULL, 0);
}

static long index_reads(PGconn *outside)
{
        usleep(1500000); /* a session tells of its counts once a second, when it has something to do */
        return postgres_number(outside, "SELECT sum(idx_scan + idx_tup_read)::bigint FROM "
                                        "pg_stat_user_indexes WHERE schemaname = current_schema()");
}

POSTGRES_CASE(postgres_plans, those_made_on_empty_tables_probe_large_ones)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        postgres_run(outside,
                     "SELECT format('ALTER TABLE %I SET (autovacuum_enabled = off)', name) "
                     "FROM aiplat_partitions()",
                     NULL, 0);
        live_some_jobs(f, 1);
        live_some_jobs(f, BATCH);
        make_large(outside);
        live_some_jobs(f, 1);
        (void)index_reads(outside);
        live_some_jobs(f, 1);
        long before = index_reads(outside);
        for (int i = 0; i < ROUNDS; i++) {
                live_some_jobs(f, 1);
                live_some_jobs(f, BATCH);
        }
        usleep(1100000);
        live_some_jobs(f, 1);
        long n = index_reads(outside) - before, jobs = ROUNDS * (1 + BATCH) + 1;
        cr_assert_lt(n, READS_MAX * jobs, "%ld reads of indexes for %ld jobs", n, jobs);
        PQfinish(outside);
}
