/* Two stores on one database, as two processes would be: keys, claims, leases and hints. */
#include "postgres_case.h"

REQUIRE_ENV("AIPLAT_TEST_DATABASE_URL");

enum { N = 400 };

static void start_create(struct store_fixture *f, struct aip_store *store,
                         struct aip_job_create *create, const char *key, uint64_t fingerprint)
{
        create->job = job_make(f, "race", 0);
        create->idempotency_key = S(key);
        create->fingerprint[0] = fingerprint;
        START_ON(f, store->jobs, create, create);
}

/* Of every key exactly one job is stored; the other request is told of that very job. */
POSTGRES_CASE(postgres_races, keys)
{
        static struct aip_job_create mine[N], theirs[N];
        static char keys[N][16];
        struct aip_store second = postgres_store_open(f, NULL);
        PGconn *outside = postgres_schema_connect(&the_schema);

        for (int i = 0; i < N; i++) {
                snprintf(keys[i], sizeof(keys[i]), "key-%d", (i * 7919) % N);
                start_create(f, &f->store, &mine[i], keys[i], 1);
        }
        for (int i = 0; i < N; i++) /* in another order, half of them for another request */
                start_create(f, &second, &theirs[i], keys[N - 1 - i], i % 2 ? 1 : 2);
        for (int i = 0; i < N; i++) {
                op_await(f, &mine[i].op, 0);
                op_await(f, &theirs[i].op, 0);
        }
        for (int i = 0; i < N; i++) {
                struct aip_job_create *a = &mine[i], *b = &theirs[N - 1 - i];
                int is_same = a->fingerprint[0] == b->fingerprint[0];
                enum aip_create_outcome lost =
                        is_same ? AIP_CREATE_REPLAYED : AIP_CREATE_KEY_REUSED;
                cr_assert(aip_id_equal(&a->ret_job_id, &b->ret_job_id));
                cr_assert((a->ret_outcome == AIP_CREATE_CREATED && b->ret_outcome == lost) ||
                                  (b->ret_outcome == AIP_CREATE_CREATED && a->ret_outcome == lost),
                          "%d and %d", (int)a->ret_outcome, (int)b->ret_outcome);
                aip_job_free((aip_job *)a->job);
                aip_job_free((aip_job *)b->job);
        }
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM jobs"), N);
        cr_assert_eq(postgres_number(outside, "SELECT coalesce(sum(n), 0)::bigint FROM outbox"), N);
        PQfinish(outside);
        postgres_store_close(f, &second);
}

/* One key many times within one batch, and the same job again under its own key. */
POSTGRES_CASE(postgres_races, one_key_in_one_batch)
{
        static struct aip_job_create creates[64];
        int n_created = 0;

        for (int i = 0; i < 64; i++)
                start_create(f, &f->store, &creates[i], "only one", 5);
        for (int i = 0; i < 64; i++) {
                op_await(f, &creates[i].op, 0);
                n_created += creates[i].ret_outcome == AIP_CREATE_CREATED;
                cr_assert(aip_id_equal(&creates[i].ret_job_id, &creates[0].ret_job_id));
        }
        cr_assert_eq(n_created, 1);
        for (int i = 0; i < 64; i++) {
                if (creates[i].ret_outcome != AIP_CREATE_CREATED)
                        continue;
                DO(f, create, &creates[i]);
                cr_assert_eq(creates[i].ret_outcome, AIP_CREATE_CREATED);
        }
        for (int i = 0; i < 64; i++)
                aip_job_free((aip_job *)creates[i].job);
}

static size_t take(struct store_fixture *f, struct aip_job_claim *claim)
{
        size_t n = claim->ret_n;
        (void)f;
        free_jobs(claim->ret_jobs, n);
        free(claim->ret_transitions);
        return n;
}

/* Two sessions ask for the same ids at once, in many small claims: each job goes to one of them. */
POSTGRES_CASE(postgres_races, claims)
{
        static struct aip_id ids[N];
        static struct aip_job_claim claims[2][N];
        struct aip_store second = postgres_store_open(f, NULL);
        struct aip_id sessions[2] = {next_id(f), next_id(f)};
        PGconn *outside = postgres_schema_connect(&the_schema);
        size_t n = 0;

        for (int i = 0; i < N; i++)
                ids[i] = job_create(f, "p", 0);
        for (int i = 0; i < N; i++) {
                for (int who = 0; who < 2; who++) {
                        claims[who][i] = (struct aip_job_claim){.session = sessions[who],
                                                                .lease_ms = LEASE_LONG_MS,
                                                                .limit = 1,
                                                                .n_ids = 1,
                                                                .ids = &ids[who ? N - 1 - i : i]};
                        START_ON(f, who ? second.jobs : f->store.jobs, claim, &claims[who][i]);
                }
        }
        for (int i = 0; i < N; i++) {
                for (int who = 0; who < 2; who++) {
                        op_await(f, &claims[who][i].op, 0);
                        n += take(f, &claims[who][i]);
                }
        }
        cr_assert_eq(n, N);
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM jobs WHERE version = 2 "
                                              "AND attempt = 1 AND status = 'PROCESSING'"),
                     N);
        PQfinish(outside);
        postgres_store_close(f, &second);
}

/* Both drain what is due, without being told ids. */
POSTGRES_CASE(postgres_races, claims_of_what_is_due)
{
        struct aip_store second = postgres_store_open(f, NULL);
        struct aip_id sessions[2] = {next_id(f), next_id(f)};
        size_t n = 0, n_now;

        for (int i = 0; i < N; i++)
                job_create(f, "p", 0);
        do {
                struct aip_job_claim claims[2];
                n_now = 0;
                for (int who = 0; who < 2; who++) {
                        claims[who] = (struct aip_job_claim){
                                .session = sessions[who], .lease_ms = LEASE_LONG_MS, .limit = 37};
                        START_ON(f, who ? second.jobs : f->store.jobs, claim, &claims[who]);
                }
                for (int who = 0; who < 2; who++) {
                        op_await(f, &claims[who].op, 0);
                        n_now += take(f, &claims[who]);
                }
                n += n_now;
        } while (n_now > 0);
        cr_assert_eq(n, N);
        postgres_store_close(f, &second);
}

/* The fence: a worker that woke up late, a cancel and a recovery; one of them wins, always whole.
 */
POSTGRES_CASE(postgres_races, ends_of_one_job)
{
        struct aip_store second = postgres_store_open(f, NULL);
        PGconn *outside = postgres_schema_connect(&the_schema);

        for (int round = 0; round < 30; round++) {
                struct aip_id id = job_create(f, "p", 0);
                aip_job *job = job_claim(f, next_id(f), id, LEASE_LONG_MS);
                struct aip_job_outcome outcome = {.self_size = sizeof(outcome), .result = S("r")};
                struct aip_job_finish finish = {.job = job};
                struct aip_job_cancellation cancellation = {.id = id};
                aip_job_complete(job, &outcome, wall_us(f), &finish.transition, NULL);
                START(f, finish, &finish);
                START_ON(f, second.jobs, cancel, &cancellation);
                op_await(f, &finish.op, 0);
                op_await(f, &cancellation.op, 0);
                int is_recorded = finish.ret_outcome == AIP_FINISH_RECORDED;
                cr_assert_eq(is_recorded, cancellation.ret_outcome == AIP_CANCEL_ALREADY_ENDED);
                cr_assert_eq(cancellation.ret_status,
                             is_recorded ? AIP_JOB_COMPLETED : AIP_JOB_CANCELLED);
                expect_job(f, id, is_recorded ? AIP_JOB_COMPLETED : AIP_JOB_CANCELLED, 3, 1);
                aip_job_free(job);
        }
        cr_assert_eq(
                postgres_number(
                        outside,
                        "SELECT count(*) FROM outbox, unnest(transitions) t WHERE t.version = 3"),
                30);
        PQfinish(outside);
        postgres_store_close(f, &second);
}

/* A finish whose answer was lost is sent again: RECORDED, and nothing is there twice. */
POSTGRES_CASE(postgres_races, finish_again)
{
        struct aip_job_outcome outcome = {.self_size = sizeof(outcome), .result = S("r")};
        aip_job *job = job_claim(f, next_id(f), job_create(f, "p", 0), LEASE_LONG_MS);
        struct aip_job_finish first = {.job = job}, second = {.job = job};
        PGconn *outside = postgres_schema_connect(&the_schema);

        aip_job_complete(job, &outcome, wall_us(f), &first.transition, NULL);
        second.transition = first.transition;
        START(f, finish, &first); /* both in one batch's reach */
        START(f, finish, &second);
        op_await(f, &first.op, 0);
        op_await(f, &second.op, 0);
        cr_assert_eq(first.ret_outcome, AIP_FINISH_RECORDED);
        cr_assert_eq(second.ret_outcome, AIP_FINISH_RECORDED);
        DO(f, finish, &second);
        cr_assert_eq(second.ret_outcome, AIP_FINISH_RECORDED);
        cr_assert_eq(
                postgres_number(
                        outside,
                        "SELECT count(*) FROM outbox, unnest(transitions) t WHERE t.version = 3"),
                1);
        aip_job_free(job);
        PQfinish(outside);
}

/* Many recoverers at once: each lost job comes back once. */
POSTGRES_CASE(postgres_races, recovery)
{
        struct aip_store second = postgres_store_open(f, NULL);
        struct aip_id session = next_id(f);
        struct aip_chores chores[8];
        size_t n = 0;

        for (int i = 0; i < 100; i++)
                aip_job_free(job_claim(f, session, job_create(f, "p", 0), LEASE_SHORT_MS));
        run_for(f, LEASE_SHORT_MS + 20);
        for (int i = 0; i < 8; i++) {
                chores[i] = (struct aip_chores){.limit = 30};
                START_ON(f, i % 2 ? second.jobs : f->store.jobs, recover, &chores[i]);
        }
        for (int i = 0; i < 8; i++) {
                op_await(f, &chores[i].op, 0);
                n += chores[i].ret_n;
                free(chores[i].ret_transitions);
        }
        cr_assert_eq(n, 100);
        postgres_store_close(f, &second);
}

struct heard {
        struct aip_store_watcher watcher;
        const struct aip_job_cancellation *ours; /* 1,000: the server's other users are heard too */
        size_t n_ended, n_cancelled, n_catalog;
        int is_connected;
};

static size_t count_ours(const struct heard *heard, const struct aip_id *ids, size_t n)
{
        size_t n_ours = 0;
        for (size_t i = 0; i < n; i++) {
                for (size_t k = 0; k < 1000; k++)
                        n_ours += (size_t)aip_id_equal(&ids[i], &heard->ours[k].id);
        }
        return n_ours;
}

static void on_ended(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        struct heard *heard = AIP_CONTAINER_OF(watcher, struct heard, watcher);
        heard->n_ended += count_ours(heard, ids, n);
}

static void on_cancelled(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        struct heard *heard = AIP_CONTAINER_OF(watcher, struct heard, watcher);
        heard->n_cancelled += count_ours(heard, ids, n);
}

static void on_catalog(struct aip_store_watcher *watcher)
{
        AIP_CONTAINER_OF(watcher, struct heard, watcher)->n_catalog++;
}

static void on_connected(struct aip_store_watcher *watcher)
{
        AIP_CONTAINER_OF(watcher, struct heard, watcher)->is_connected = 1;
}

/* More ids than one payload holds, through another store's connection; and a change by hand. */
POSTGRES_CASE(postgres_races, hints)
{
        static struct aip_job_cancellation cancellations[1000];
        struct aip_store second = postgres_store_open(f, NULL);
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct heard heard = {.watcher = {on_ended, on_cancelled, on_catalog, on_connected, NULL},
                              .ours = cancellations};

        second.jobs.ops->watch(second.jobs.self, &heard.watcher);
        run_until(f, &heard.is_connected);
        for (int i = 0; i < 1000; i++)
                cancellations[i].id = job_create(f, "p", 60000);
        for (int i = 0; i < 1000; i++)
                START(f, cancel, &cancellations[i]);
        for (int i = 0; i < 1000; i++)
                op_await(f, &cancellations[i].op, 0);
        int64_t until_ms = aip_now_ms(f->loop) + 5000;
        while (heard.n_ended < 1000 && aip_now_ms(f->loop) < until_ms)
                run_for(f, 5);
        cr_assert_eq(heard.n_ended, 1000);
        cr_assert_eq(heard.n_cancelled, 1000);
        heard.n_catalog = 0;
        until_ms = aip_now_ms(f->loop) + 1000;
        postgres_run(outside,
                     "UPDATE prompt_templates SET content = 'Be brief.' "
                     "WHERE name = 'default-assistant'",
                     NULL, 0);
        while (heard.n_catalog == 0 && aip_now_ms(f->loop) < until_ms)
                run_for(f, 2);
        cr_assert_geq(heard.n_catalog, 1, "within a second");
        second.jobs.ops->unwatch(second.jobs.self, &heard.watcher);
        PQfinish(outside);
        postgres_store_close(f, &second);
}

/* ── clocks ──────────────────────────────────────────────────────────────────────────────────── */

#define AHEAD_US INT64_C(300000000)

static int64_t seconds_until_due(PGconn *outside)
{
        return postgres_number(outside,
                               "SELECT ceil(extract(epoch FROM run_at - now()))::bigint FROM jobs");
}

/* A writer whose clock is five minutes ahead does not make a job wait for five minutes more. */
POSTGRES_CASE(postgres_races, delays_follow_the_clock_of_the_store)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        struct aip_job_finish finish = {0};
        aip_error *failure = NULL;
        struct aip_job_create create = {.is_delay = 1};
        struct aip_id session = next_id(f);
        PGconn *outside = postgres_schema_connect(&the_schema);
        int64_t theirs_us = wall_us(f) + AHEAD_US;
        aip_job *job = NULL;

        spec.prompt = S("later");
        spec.max_attempts = 2;
        spec.retry_delay_ms = 30000;
        spec.run_at_us = theirs_us + 1000000;
        cr_assert_eq(aip_job_new(next_id(f), &spec, theirs_us, &job, NULL), 0);
        create.job = job;
        DO(f, create, &create);
        cr_assert_leq(seconds_until_due(outside), 1);
        aip_job_free(job);
        run_for(f, 1100);
        job = job_claim(f, session, create.ret_job_id, LEASE_LONG_MS);
        aip_error_set(&failure, AIP_EUPSTREAM, "overloaded");
        aip_error_set_retryable(failure, 1, 0);
        cr_assert_eq(aip_job_fail(job, failure, theirs_us + 2000000, &finish.transition, NULL), 0);
        finish.job = job;
        DO(f, finish, &finish);
        cr_assert_eq(finish.ret_outcome, AIP_FINISH_RECORDED);
        cr_assert_leq(seconds_until_due(outside), 30);
        cr_assert_geq(seconds_until_due(outside), 28);
        aip_error_free(failure);
        aip_job_free(job);
        PQfinish(outside);
}
