/*
 * The store contract, part 2: worker sessions, their leases, and what becomes of the jobs of one
 * that dies or leaves. Run by every store's suite through store_contract.h.
 */
#include "store_fixture.h"

static struct aip_heartbeat beat(struct store_fixture *f, struct aip_id session,
                                 const struct aip_fence *running, size_t n)
{
        struct aip_heartbeat heartbeat = {
                .session = session, .lease_ms = LEASE_LONG_MS, .running = running, .n_running = n};

        DO(f, heartbeat, &heartbeat);
        return heartbeat;
}

static void beat_free(struct aip_heartbeat *heartbeat)
{
        free(heartbeat->ret_gone);
        free(heartbeat->ret_unknown);
}

static void release(struct store_fixture *f, struct aip_id session, const struct aip_fence *fences,
                    size_t n, int is_leaving, size_t n_expected)
{
        struct aip_release release = {
                .session = session, .fences = fences, .n_fences = n, .is_leaving = is_leaving};

        DO(f, release, &release);
        cr_assert_eq(release.ret_n, n_expected, "%zu released", release.ret_n);
        for (size_t i = 0; i < release.ret_n; i++) {
                const struct aip_transition *t = &release.ret_transitions[i];
                cr_assert_eq(t->kind, AIP_TRANSITION_RELEASED);
                cr_assert_eq(t->from, AIP_JOB_PROCESSING);
                cr_assert_eq(t->to, AIP_JOB_QUEUED);
                cr_assert_eq(t->is_runnable, 1);
                cr_assert_gt(t->outbox_id, 0);
        }
        free(release.ret_transitions);
}

void store_contract_heartbeat_renews_and_reconciles(struct store_fixture *f)
{
        struct aip_id session = next_id(f), answer_lost = job_create(f, "a", 0);
        aip_job *kept = job_claim(f, session, job_create(f, "b", 0), 500);
        aip_job *cancelled = job_claim(f, session, job_create(f, "c", 0), 500);
        aip_job *others = job_claim(f, next_id(f), job_create(f, "d", 0), LEASE_LONG_MS);
        struct aip_job_cancellation cancellation = {.id = aip_job_fields(cancelled)->id};
        struct aip_fence running[4] = {
                fence_of(kept), fence_of(cancelled), fence_of(others), {next_id(f), 2}};
        struct aip_heartbeat heartbeat;

        aip_job_free(job_claim(f, session, answer_lost, 500));
        DO(f, cancel, &cancellation);
        heartbeat = beat(f, session, running, 4);
        cr_assert_not(heartbeat.ret_is_lost);
        cr_assert_eq(heartbeat.ret_n_gone, 3);
        for (size_t i = 0; i < 3; i++)
                cr_assert_not(aip_id_equal(&heartbeat.ret_gone[i], &running[0].job_id));
        cr_assert_eq(heartbeat.ret_n_unknown, 1);
        cr_assert(aip_id_equal(&heartbeat.ret_unknown[0].job_id, &answer_lost));
        cr_assert_eq(heartbeat.ret_unknown[0].version, 2);
        beat_free(&heartbeat);
        run_for(f, 600);
        cr_assert_eq(count_chore(f, CHORE_RECOVER, 10, 0), 0, "the lease was renewed");
        running[0].version++;
        heartbeat = beat(f, session, running, 1);
        cr_assert_eq(heartbeat.ret_n_gone, 1, "another version is another claim");
        cr_assert_eq(heartbeat.ret_n_unknown, 2);
        beat_free(&heartbeat);
        aip_job_free(kept);
        aip_job_free(cancelled);
        aip_job_free(others);
}

void store_contract_heartbeat_of_an_idle_worker(struct store_fixture *f)
{
        struct aip_heartbeat heartbeat = beat(f, next_id(f), NULL, 0);
        struct aip_id session = next_id(f);

        cr_assert_not(heartbeat.ret_is_lost);
        cr_assert_eq(heartbeat.ret_n_gone, 0);
        cr_assert_eq(heartbeat.ret_n_unknown, 0);
        beat_free(&heartbeat);
        heartbeat = (struct aip_heartbeat){.session = session, .lease_ms = 0};
        DO_CODE(f, heartbeat, &heartbeat, AIP_EINVAL);
        heartbeat = beat(f, session, NULL, 0);
        beat_free(&heartbeat);
        aip_job_free(job_claim(f, session, job_create(f, "p", 0), LEASE_LONG_MS));
}

void store_contract_recover_takes_jobs_of_the_lost(struct store_fixture *f)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        struct aip_id session = next_id(f), retried = job_create(f, "p", 0), failed;
        aip_job *a, *b, *stored;
        struct aip_transition *transitions = NULL;

        spec.prompt = S("last attempt");
        spec.max_attempts = 1;
        failed = job_create_from(f, &spec);
        a = job_claim(f, session, retried, LEASE_SHORT_MS);
        b = job_claim(f, session, failed, LEASE_SHORT_MS);
        run_for(f, 3 * LEASE_SHORT_MS);
        cr_assert_eq(do_chore(f, CHORE_RECOVER, 10, 0, &transitions, NULL), 2);
        for (size_t i = 0; i < 2; i++) {
                int is_failed = aip_id_equal(&transitions[i].job_id, &failed);
                cr_assert_eq(transitions[i].from, AIP_JOB_PROCESSING);
                cr_assert_eq(transitions[i].to, is_failed ? AIP_JOB_FAILED : AIP_JOB_QUEUED);
                cr_assert_eq(transitions[i].kind,
                             is_failed ? AIP_TRANSITION_FAILED : AIP_TRANSITION_RELEASED);
                cr_assert_eq(transitions[i].is_runnable, !is_failed);
                cr_assert_eq(transitions[i].version, 3);
                cr_assert_gt(transitions[i].outbox_id, 0);
                if (is_failed)
                        cr_assert_str_eq(transitions[i].error_code, "internal_worker_lost");
        }
        free(transitions);
        expect_job(f, retried, AIP_JOB_QUEUED, 3, 1);
        expect_job(f, failed, AIP_JOB_FAILED, 3, 1);
        stored = job_fetch(f, failed);
        cr_assert(aip_str_eq(aip_job_fields(stored)->error_code, S("internal_worker_lost")));
        cr_assert_neq(aip_job_fields(stored)->finished_at_us, 0);
        aip_job_free(stored);
        cr_assert_eq(job_complete(f, a, "late"), AIP_FINISH_STALE);
        cr_assert_eq(job_complete(f, b, "late"), AIP_FINISH_STALE);
        cr_assert_eq(count_chore(f, CHORE_RECOVER, 10, 0), 0);
        aip_job_free(a);
        a = job_claim(f, next_id(f), retried, LEASE_LONG_MS);
        cr_assert_eq(aip_job_fields(a)->attempt, 2);
        aip_job_free(a);
        aip_job_free(b);
}

/* What the store makes of a lost worker is what the domain makes of it. */
static void expect_as_in_domain(struct store_fixture *f, aip_job *claimed)
{
        aip_job *stored = job_fetch(f, aip_job_fields(claimed)->id);
        struct aip_transition transition;
        int64_t at_us = aip_job_fields(stored)->updated_at_us;

        cr_assert_eq(aip_job_lose_worker(claimed, at_us, &transition, NULL), 0);
        expect_same_job(claimed, stored);
        aip_job_free(stored);
        aip_job_free(claimed);
}

void store_contract_recover_spares_the_living(struct store_fixture *f)
{
        struct aip_id living = next_id(f), dead = next_id(f);
        aip_job *a = job_claim(f, living, job_create(f, "a", 0), LEASE_SHORT_MS);
        aip_job *b = job_claim(f, dead, job_create(f, "b", 0), LEASE_SHORT_MS);
        struct aip_fence fence = fence_of(a);
        struct aip_heartbeat heartbeat;

        run_for(f, 3 * LEASE_SHORT_MS);
        heartbeat = beat(f, living, &fence, 1);
        cr_assert_not(heartbeat.ret_is_lost, "expired, but nobody had taken it away");
        cr_assert_eq(heartbeat.ret_n_gone, 0);
        beat_free(&heartbeat);
        cr_assert_eq(count_chore(f, CHORE_RECOVER, 10, 0), 1);
        expect_as_in_domain(f, b);
        cr_assert_eq(job_complete(f, a, "in time"), AIP_FINISH_RECORDED);
        aip_job_free(a);
}

void store_contract_recover_in_portions(struct store_fixture *f)
{
        enum { N = 7 };
        struct aip_id session = next_id(f), ids[N];
        size_t n, total = 0;

        for (int i = 0; i < N; i++)
                ids[i] = job_create(f, "p", 0);
        for (int i = 0; i < N; i++)
                aip_job_free(job_claim(f, session, ids[i], LEASE_SHORT_MS));
        run_for(f, 3 * LEASE_SHORT_MS);
        for (int i = 0; i < N && (n = count_chore(f, CHORE_RECOVER, 3, 0)) > 0; i++)
                total += n;
        cr_assert_eq(total, N);
        for (int i = 0; i < N; i++)
                expect_job(f, ids[i], AIP_JOB_QUEUED, 3, 1);
}

void store_contract_lost_session_claims_nothing(struct store_fixture *f)
{
        struct aip_id session = next_id(f), id = job_create(f, "p", 0);
        aip_job *job = job_claim(f, session, id, LEASE_SHORT_MS);
        struct aip_fence fence = fence_of(job);
        struct aip_job_claim claim = {.session = session, .lease_ms = 1000, .limit = 1};
        struct aip_heartbeat heartbeat;

        run_for(f, 3 * LEASE_SHORT_MS);
        cr_assert_eq(count_chore(f, CHORE_RECOVER, 10, 0), 1);
        heartbeat = beat(f, session, &fence, 1);
        cr_assert(heartbeat.ret_is_lost);
        beat_free(&heartbeat);
        heartbeat = beat(f, session, NULL, 0);
        cr_assert(heartbeat.ret_is_lost);
        beat_free(&heartbeat);
        DO_CODE(f, claim, &claim, AIP_ESTATE);
        claim.ids = &id;
        claim.n_ids = 1;
        DO_CODE(f, claim, &claim, AIP_ESTATE);
        expect_job(f, id, AIP_JOB_QUEUED, 3, 1);
        aip_job_free(job);
}

void store_contract_release_by_fence(struct store_fixture *f)
{
        struct aip_id session = next_id(f), kept = job_create(f, "kept", 0);
        aip_job *a = job_claim(f, session, job_create(f, "a", 0), LEASE_LONG_MS);
        aip_job *b = job_claim(f, session, kept, LEASE_LONG_MS);
        struct aip_fence fences[] = {fence_of(a), fence_of(b), {next_id(f), 2}};

        fences[1].version--;
        release(f, session, fences, 3, 0, 1);
        release(f, session, fences, 3, 0, 0);
        expect_job(f, fences[0].job_id, AIP_JOB_QUEUED, 3, 0);
        expect_job(f, kept, AIP_JOB_PROCESSING, 2, 1);
        release(f, session, NULL, 0, 0, 0);
        aip_job_free(a);
        a = job_claim(f, session, fences[0].job_id, LEASE_LONG_MS);
        cr_assert_eq(aip_job_fields(a)->attempt, 1, "what was handed back is not counted");
        aip_job_free(a);
        aip_job_free(b);
}

void store_contract_release_when_leaving(struct store_fixture *f)
{
        struct aip_id session = next_id(f), listed = job_create(f, "a", 0);
        struct aip_id answer_lost = job_create(f, "b", 0);
        aip_job *a = job_claim(f, session, listed, LEASE_LONG_MS);
        aip_job *b = job_claim(f, session, answer_lost, LEASE_LONG_MS);
        struct aip_fence fence = fence_of(a);
        struct aip_job_claim claim = {.session = session, .lease_ms = 1000, .limit = 1};
        struct aip_heartbeat heartbeat;

        release(f, session, &fence, 1, 1, 2);
        expect_job(f, listed, AIP_JOB_QUEUED, 3, 0);
        expect_job(f, answer_lost, AIP_JOB_QUEUED, 3, 0);
        heartbeat = beat(f, session, &fence, 1);
        cr_assert(heartbeat.ret_is_lost);
        beat_free(&heartbeat);
        DO_CODE(f, claim, &claim, AIP_ESTATE);
        release(f, session, &fence, 1, 1, 0);
        release(f, next_id(f), NULL, 0, 1, 0);
        cr_assert_eq(count_chore(f, CHORE_RECOVER, 10, 0), 0);
        aip_job_free(a);
        aip_job_free(b);
}
