/*
 * The store contract: jobs of threads. One of a thread is active at a time, the next one's turn comes in
 * the transaction that ends it. Run by every store's file through STORE_CONTRACT.
 */
#include "store_fixture.h"

static struct aip_job_create begin_in(struct store_fixture *f, struct aip_id thread,
                                      enum aip_thread_strategy strategy)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;

        spec.prompt = S("in a thread");
        spec.thread_id = thread;
        return (struct aip_job_create){.job = job_make_from(f, &spec), .strategy = strategy};
}

static enum aip_create_outcome create_in(struct store_fixture *f, struct aip_id thread,
                                         enum aip_thread_strategy strategy, struct aip_id *ret_id,
                                         int *ret_is_runnable)
{
        struct aip_job_create create = begin_in(f, thread, strategy);

        DO(f, create, &create);
        *ret_id = aip_job_fields(create.job)->id;
        if (create.ret_outcome == AIP_CREATE_CREATED) {
                cr_assert(aip_id_equal(&create.ret_job_id, ret_id));
                cr_assert_eq(create.ret_status, AIP_JOB_QUEUED);
                cr_assert_eq(create.ret_transition.kind, AIP_TRANSITION_CREATED);
                *ret_is_runnable = create.ret_transition.is_runnable;
        }
        aip_job_free((aip_job *)create.job);
        return create.ret_outcome;
}

/* Expects it to be told as runnable, or as one that waits. */
static struct aip_id enqueue(struct store_fixture *f, struct aip_id thread, int is_runnable)
{
        struct aip_id id;
        int is_told_runnable = -1;

        cr_assert_eq(create_in(f, thread, AIP_THREAD_ENQUEUE, &id, &is_told_runnable),
                     AIP_CREATE_CREATED);
        cr_assert_eq(is_told_runnable, is_runnable);
        return id;
}

static int waits(struct store_fixture *f, struct aip_id id)
{
        aip_job *job = job_fetch(f, id);
        int is_waiting = aip_job_waits(job);

        aip_job_free(job);
        return is_waiting;
}

static void run_through(struct store_fixture *f, struct aip_id id)
{
        aip_job *job = job_claim(f, next_id(f), id, LEASE_LONG_MS);

        cr_assert_eq(job_complete(f, job, "done"), AIP_FINISH_RECORDED);
        aip_job_free(job);
}

static void cancel(struct store_fixture *f, struct aip_id id)
{
        struct aip_job_cancellation cancellation = {.id = id};

        DO(f, cancel, &cancellation);
        cr_assert_eq(cancellation.ret_outcome, AIP_CANCEL_CANCELLED);
}

void store_contract_threads_run_one_job_after_the_other(struct store_fixture *f)
{
        struct aip_id thread = next_id(f), ids[3];
        struct aip_job_list list = {.thread_id = thread, .limit = 10};
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;

        spec.prompt = S("of no thread");
        job_create_from(f, &spec);
        for (int i = 0; i < 3; i++)
                ids[i] = enqueue(f, thread, i == 0);
        DO(f, list, &list);
        cr_assert_eq(list.ret_n, 3);
        for (int i = 0; i < 3; i++) {
                const struct aip_job_fields *job = aip_job_fields(list.ret_jobs[i]);
                cr_assert(aip_id_equal(&job->id, &ids[2 - i]));
                cr_assert(aip_id_equal(&job->thread_id, &thread));
        }
        free_jobs(list.ret_jobs, list.ret_n);
        for (int i = 0; i < 3; i++) {
                for (int k = i + 1; k < 3; k++) {
                        cr_assert(waits(f, ids[k]));
                        cr_assert_not(job_can_be_claimed(f, ids[k]));
                }
                run_through(f, ids[i]);
                if (i < 2)
                        cr_assert_not(waits(f, ids[i + 1]));
                cr_assert_eq(count_chore(f, CHORE_PROMOTE, 10, 0), i < 2, "its turn is told once");
        }
        enqueue(f, thread, 1);
}

void store_contract_threads_go_on_however_a_job_ends(struct store_fixture *f)
{
        struct aip_id thread = next_id(f), ids[5];
        aip_job *job;

        for (int i = 0; i < 5; i++)
                ids[i] = enqueue(f, thread, i == 0);
        cancel(f, ids[1]);
        cr_assert(waits(f, ids[2]), "one that waited was cancelled: the first has not ended");
        cancel(f, ids[0]);
        cr_assert_not(waits(f, ids[2]));
        job = job_claim(f, next_id(f), ids[2], LEASE_LONG_MS);
        cr_assert_eq(job_fail(f, job, 1), AIP_FINISH_RECORDED);
        aip_job_free(job);
        cr_assert(waits(f, ids[3]), "one that is retried has not ended");
        cancel(f, ids[2]);
        job = job_claim(f, next_id(f), ids[3], LEASE_LONG_MS);
        cr_assert_eq(job_fail(f, job, 0), AIP_FINISH_RECORDED);
        aip_job_free(job);
        run_through(f, ids[4]);
}

void store_contract_threads_refuse_what_would_not_wait(struct store_fixture *f)
{
        struct aip_id thread = next_id(f), first, second, none;
        struct aip_job_fetch fetch = {0};
        int is_runnable = 0;

        cr_assert_eq(create_in(f, thread, AIP_THREAD_REJECT, &first, &is_runnable),
                     AIP_CREATE_CREATED);
        cr_assert(is_runnable);
        forget_all(f);
        cr_assert_eq(create_in(f, thread, AIP_THREAD_REJECT, &none, &is_runnable),
                     AIP_CREATE_THREAD_BUSY);
        cr_assert_eq(forget_all(f), 0, "what was refused wrote to the outbox");
        fetch.id = none;
        DO(f, fetch, &fetch);
        cr_assert_null(fetch.ret_job);
        run_through(f, first);
        cr_assert_eq(create_in(f, thread, AIP_THREAD_REJECT, &second, &is_runnable),
                     AIP_CREATE_CREATED);
        run_through(f, second);
}

void store_contract_threads_wait_for_an_interrupted_job(struct store_fixture *f)
{
        struct aip_id thread = next_id(f), first = enqueue(f, thread, 1),
                      second = enqueue(f, thread, 0);
        aip_job *job = job_claim(f, next_id(f), first, LEASE_LONG_MS);
        struct aip_job_finish finish = {.job = job};

        cr_assert_eq(aip_job_interrupt(job, S("[{\"id\":\"a:0\",\"node\":\"a\",\"value\":1}]"),
                                       wall_us(f), &finish.transition, NULL),
                     0);
        DO(f, finish, &finish);
        aip_job_free(job);
        cr_assert(waits(f, second));
        cancel(f, first);
        run_through(f, second);
}

void store_contract_threads_do_not_wait_for_each_other(struct store_fixture *f)
{
        struct aip_id a = enqueue(f, next_id(f), 1), b = enqueue(f, next_id(f), 1);

        run_through(f, b);
        run_through(f, a);
}

void store_contract_threads_keep_keys(struct store_fixture *f)
{
        struct aip_id thread = next_id(f);
        struct aip_job_create first = begin_in(f, thread, AIP_THREAD_REJECT);
        struct aip_job_create again = begin_in(f, thread, AIP_THREAD_REJECT);
        struct aip_job_create other = begin_in(f, thread, AIP_THREAD_REJECT);

        first.idempotency_key = again.idempotency_key = S("once");
        other.idempotency_key = S("refused");
        DO(f, create, &first);
        cr_assert_eq(first.ret_outcome, AIP_CREATE_CREATED);
        DO(f, create, &again);
        cr_assert_eq(again.ret_outcome, AIP_CREATE_REPLAYED, "a repetition is not refused as busy");
        cr_assert(aip_id_equal(&again.ret_job_id, &aip_job_fields(first.job)->id));
        DO(f, create, &first);
        cr_assert_eq(first.ret_outcome, AIP_CREATE_CREATED);
        DO(f, create, &other);
        cr_assert_eq(other.ret_outcome, AIP_CREATE_THREAD_BUSY);
        run_through(f, aip_job_fields(first.job)->id);
        DO(f, create, &other);
        cr_assert_eq(other.ret_outcome, AIP_CREATE_CREATED,
                     "what was refused has not used its key");
        aip_job_free((aip_job *)first.job);
        aip_job_free((aip_job *)again.job);
        aip_job_free((aip_job *)other.job);
}

#define N_RACERS 40

/* Many at once into few threads, cancelled and finished at once: each is run in the end. */
void store_contract_threads_race_for_a_turn(struct store_fixture *f)
{
        struct aip_job_create creates[N_RACERS];
        struct aip_job_cancellation cancels[N_RACERS];
        struct aip_id threads[4], session = next_id(f);
        int n_left = N_RACERS / 2, rounds = 0;

        for (int i = 0; i < 4; i++)
                threads[i] = next_id(f);
        for (int i = 0; i < N_RACERS; i++)
                creates[i] = begin_in(f, threads[i % 4], AIP_THREAD_ENQUEUE);
        for (int i = 0; i < N_RACERS; i++)
                START(f, create, &creates[i]);
        for (int i = 0; i < N_RACERS; i++)
                op_await(f, &creates[i].op, 0);
        for (int i = 0; i < N_RACERS; i += 2) {
                cancels[i] = (struct aip_job_cancellation){.id = creates[i].ret_job_id};
                START(f, cancel, &cancels[i]);
        }
        for (int i = 0; i < N_RACERS; i += 2)
                op_await(f, &cancels[i].op, 0);
        while (n_left > 0 && rounds++ < N_RACERS) {
                struct aip_job_claim claim = {
                        .session = session, .lease_ms = LEASE_LONG_MS, .limit = N_RACERS};
                DO(f, claim, &claim);
                cr_assert_leq(claim.ret_n, 4, "more than one job of a thread was active");
                for (size_t i = 0; i < claim.ret_n; i++)
                        cr_assert_eq(job_complete(f, claim.ret_jobs[i], "x"), AIP_FINISH_RECORDED);
                n_left -= (int)claim.ret_n;
                free_jobs(claim.ret_jobs, claim.ret_n);
                free(claim.ret_transitions);
        }
        cr_assert_eq(n_left, 0);
        for (int i = 0; i < N_RACERS; i++)
                aip_job_free((aip_job *)creates[i].job);
}

static struct aip_store second_store(struct store_fixture *f)
{
        struct aip_store_options options = {sizeof(options), f->loop, NULL, {NULL, NULL}, NULL, 0};
        struct aip_store second;

        options.random = aip_random_seeded(&f->random, 47);
        cr_assert_eq(f->maker.open(&f->maker, &options, &second, NULL), 0);
        return second;
}

#define N_CROSSED 24 /* in 6 threads, forwards and backwards in turns: batches cross */
#define N_THREADS 6

static int crossed(int i)
{
        int nth = i % N_THREADS;

        return (i / N_THREADS) % 2 ? N_THREADS - 1 - nth : nth;
}

/* One store ends what is active, the other, at once, what waits; then somebody takes over one thread. */
static void end_crosswise(struct store_fixture *f, struct aip_store second)
{
        struct aip_store first = f->store;
        struct aip_job_create creates[N_CROSSED], over;
        struct aip_job_cancellation cancels[N_CROSSED];
        struct aip_job_finish finishes[N_THREADS];
        struct aip_job_outcome outcome = {.self_size = sizeof(outcome), .result = S("x")};
        struct aip_id threads[N_THREADS], session = next_id(f);
        aip_job *active[N_THREADS];

        for (int i = 0; i < N_THREADS; i++)
                threads[i] = next_id(f);
        for (int i = 0; i < N_CROSSED; i++) {
                creates[i] = begin_in(f, threads[crossed(i)], AIP_THREAD_ENQUEUE);
                DO(f, create, &creates[i]);
        }
        over = begin_in(f, threads[0], AIP_THREAD_INTERRUPT);
        for (int i = 0; i < N_THREADS; i++) {
                active[i] = job_claim(f, session, creates[i].ret_job_id, LEASE_LONG_MS);
                finishes[i] = (struct aip_job_finish){.job = active[i]};
                cr_assert_eq(aip_job_complete(active[i], &outcome, wall_us(f),
                                              &finishes[i].transition, NULL),
                             0);
        }
        for (int i = 0; i < N_THREADS; i++)
                START(f, finish, &finishes[i]);
        f->store = second;
        for (int i = N_THREADS; i < N_CROSSED; i++) {
                cancels[i] = (struct aip_job_cancellation){.id = creates[i].ret_job_id};
                if (i % 4 != 3)
                        START(f, cancel, &cancels[i]);
        }
        START(f, create, &over);
        f->store = first;
        for (int i = 0; i < N_THREADS; i++)
                op_await(f, &finishes[i].op, 0);
        for (int i = N_THREADS; i < N_CROSSED; i++) {
                if (i % 4 != 3)
                        op_await(f, &cancels[i].op, 0);
        }
        op_await(f, &over.op, 0);
        for (int i = 0; i < N_THREADS; i++)
                aip_job_free(active[i]);
        for (int i = 0; i < N_CROSSED; i++)
                aip_job_free((aip_job *)creates[i].job);
        aip_job_free((aip_job *)over.job);
}

/* Every job that is left has its turn: nothing waits for nobody. */
static void run_what_is_left(struct store_fixture *f)
{
        struct aip_id session = next_id(f);
        struct aip_job_list list = {.status_mask = 1u << AIP_JOB_QUEUED, .limit = 100};
        size_t n_claimed;

        do {
                struct aip_job_claim claim = {
                        .session = session, .lease_ms = LEASE_LONG_MS, .limit = N_CROSSED};
                DO(f, claim, &claim);
                n_claimed = claim.ret_n;
                cr_assert_leq(n_claimed, N_THREADS, "more than one job of a thread was active");
                for (size_t i = 0; i < n_claimed; i++)
                        cr_assert_eq(job_complete(f, claim.ret_jobs[i], "x"), AIP_FINISH_RECORDED);
                free_jobs(claim.ret_jobs, n_claimed);
                free(claim.ret_transitions);
        } while (n_claimed > 0);
        DO(f, list, &list);
        cr_assert_eq(list.ret_n, 0, "%zu jobs wait for a turn that never comes", list.ret_n);
        free_jobs(list.ret_jobs, list.ret_n);
}

void store_contract_threads_race_over_two_stores(struct store_fixture *f)
{
        struct aip_store second;
        struct aip_op close = {0};

        if (!f->maker.is_shareable)
                cr_skip_test("one process's own");
        second = second_store(f);
        for (int round = 0; round < 8; round++) {
                end_crosswise(f, second);
                run_what_is_left(f);
        }
        op_begin(f, &close);
        second.close(second.self, &close);
        op_await(f, &close, 0);
}

static enum aip_job_status status_of(struct store_fixture *f, struct aip_id id)
{
        aip_job *job = job_fetch(f, id);
        enum aip_job_status status = aip_job_fields(job)->status;

        aip_job_free(job);
        return status;
}

static int64_t checkpoint_of(struct store_fixture *f, struct aip_id id)
{
        aip_job *job = job_fetch(f, id);
        int64_t checkpoint = aip_job_fields(job)->checkpoint;

        aip_job_free(job);
        return checkpoint;
}

/* A checkpoint of the thread by a job that is at work; whether it was taken. */
static int keep(struct store_fixture *f, struct aip_id thread, const aip_job *job, int64_t n)
{
        struct aip_checkpoint_save save = {.fence = fence_of(job)};

        save.checkpoint = (struct aip_checkpoint){.owner = thread,
                                                  .n = n,
                                                  .parent = n - 1,
                                                  .base = 1,
                                                  .place = S("{\"step\":1}"),
                                                  .changes = S("{}")};
        START_ON(f, f->store.checkpoints, save, &save);
        op_await(f, &save.op, 0);
        return !save.ret_is_stale;
}

static struct aip_id create_alone(struct store_fixture *f, struct aip_id thread,
                                  enum aip_thread_strategy strategy)
{
        struct aip_id id;
        int is_runnable = 0;

        cr_assert_eq(create_in(f, thread, strategy, &id, &is_runnable), AIP_CREATE_CREATED);
        cr_assert(is_runnable);
        cr_assert_not(waits(f, id));
        return id;
}

void store_contract_threads_interrupt(struct store_fixture *f)
{
        struct aip_id thread = next_id(f), first = enqueue(f, thread, 1);
        struct aip_id second = enqueue(f, thread, 0), elsewhere = enqueue(f, next_id(f), 1), alone;
        aip_job *job = job_claim(f, next_id(f), first, LEASE_LONG_MS);

        cr_assert(keep(f, thread, job, 1));
        alone = create_alone(f, thread, AIP_THREAD_INTERRUPT);
        cr_assert_eq(status_of(f, first), AIP_JOB_CANCELLED);
        cr_assert_eq(status_of(f, second), AIP_JOB_CANCELLED, "what waited is cancelled too");
        cr_assert_eq(status_of(f, elsewhere), AIP_JOB_QUEUED, "that of another thread is not");
        cr_assert_eq(checkpoint_of(f, alone), 0, "it goes on from the last state");
        cr_assert_not(keep(f, thread, job, 2), "who ran it can keep nothing any more");
        cr_assert_eq(job_complete(f, job, "late"), AIP_FINISH_STALE);
        aip_job_free(job);
        run_through(f, alone);
        /* nobody is there to be interrupted */
        run_through(f, create_alone(f, thread, AIP_THREAD_INTERRUPT));
}

void store_contract_threads_roll_back(struct store_fixture *f)
{
        struct aip_id thread = next_id(f), first = enqueue(f, thread, 1), alone;
        aip_job *job = job_claim(f, next_id(f), first, LEASE_LONG_MS);

        cr_assert(keep(f, thread, job, 1));
        alone = create_alone(f, thread, AIP_THREAD_ROLLBACK);
        cr_assert_eq(checkpoint_of(f, alone), AIP_JOB_NO_STATE, "there was nothing before");
        aip_job_free(job);
        job = job_claim(f, next_id(f), alone, LEASE_LONG_MS);
        cr_assert(keep(f, thread, job, 2));
        cr_assert(keep(f, thread, job, 3));
        cr_assert_eq(job_complete(f, job, "done"), AIP_FINISH_RECORDED);
        aip_job_free(job);
        first = enqueue(f, thread, 1);
        job = job_claim(f, next_id(f), first, LEASE_LONG_MS);
        cr_assert(keep(f, thread, job, 4));
        cr_assert(keep(f, thread, job, 5));
        alone = create_alone(f, thread, AIP_THREAD_ROLLBACK);
        cr_assert_eq(status_of(f, first), AIP_JOB_CANCELLED);
        cr_assert_eq(checkpoint_of(f, alone), 3);
        aip_job_free(job);
        /* that has not kept anything: there is nothing to roll back */
        alone = create_alone(f, thread, AIP_THREAD_ROLLBACK);
        cr_assert_eq(checkpoint_of(f, alone), 0);
        run_through(f, alone);
}

void store_contract_threads_tell_of_the_interrupted(struct store_fixture *f)
{
        struct aip_id thread = next_id(f), session = next_id(f), first = enqueue(f, thread, 1);
        aip_job *job = job_claim(f, session, first, LEASE_LONG_MS);
        struct aip_job_create again = begin_in(f, thread, AIP_THREAD_INTERRUPT);

        forget_all(f);
        again.idempotency_key = S("interrupts");
        DO(f, create, &again);
        cr_assert_eq(again.ret_outcome, AIP_CREATE_CREATED);
        cr_assert_eq(forget_all(f), 2, "that it was cancelled, and that one was created");
        aip_job_free(job);
        job = job_claim(f, session, aip_job_fields(again.job)->id, LEASE_LONG_MS);
        struct aip_job_create repeated = begin_in(f, thread, AIP_THREAD_INTERRUPT);
        repeated.idempotency_key = S("interrupts");
        DO(f, create, &repeated);
        cr_assert_eq(repeated.ret_outcome, AIP_CREATE_REPLAYED);
        cr_assert_eq(status_of(f, aip_job_fields(again.job)->id), AIP_JOB_PROCESSING,
                     "a repetition interrupts nobody");
        aip_job_free(job);
        aip_job_free((aip_job *)again.job);
        aip_job_free((aip_job *)repeated.job);
}
