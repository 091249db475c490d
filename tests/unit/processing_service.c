/* The worker on memory adapters: from message to recorded outcome, and everything that may come
 * between: retries, cancels, lost leases, lost answers, draining, a store that is away. */
#include "one_node.h"

#define LEASE_MS     3000
#define HEARTBEAT_MS 1000

static struct one_node one;

static struct node_options options(void)
{
        return (struct node_options){.seed = 1,
                                     .has_worker = 1,
                                     .concurrency = 4,
                                     .lease_ms = LEASE_MS,
                                     .heartbeat_ms = HEARTBEAT_MS,
                                     .job_timeout_ms = 100000};
}

static void open_worker(void)
{
        one_node_open(&one, options());
}

static void close_worker(void)
{
        one_node_close(&one);
}

TestSuite(processing_service, .init = open_worker, .fini = close_worker);

static size_t running(void)
{
        return aip_processing_service_running(one.node.worker);
}

static void expect_result(const struct aip_id *id, const char *words)
{
        char *result = aip_str_dup(stored(&one, id)->result);

        expect_status(&one, id, AIP_JOB_COMPLETED);
        cr_expect_not_null(strstr(result, words), "%s", result);
        free(result);
}

static void expect_error(const struct aip_id *id, const char *code)
{
        expect_status(&one, id, AIP_JOB_FAILED);
        cr_expect(aip_str_eq(stored(&one, id)->error_code, aip_str_of(code)), "%.*s",
                  AIP_STR_ARG(stored(&one, id)->error_code));
}

/* ── the usual ───────────────────────────────────────────────────────────────────────────────── */

Test(processing_service, runs_a_job_and_records_its_answer)
{
        struct aip_id id = submit(&one, submit_of("what is it", "fast"));

        pass_ms(&one, 100);
        expect_result(&id, "what is it");
        cr_expect_eq(stored(&one, &id)->attempt, 1);
        cr_expect_eq(one.broker.n_acknowledged, 1u);
        cr_expect_eq(broker_events(&one.broker, "job.completed"), 1u);
        cr_expect_eq(one.memory->outbox.n, 0u);
        cr_expect_eq(running(), 0u);
}

Test(processing_service, the_message_is_acknowledged_before_the_job_ends)
{
        struct aip_id id = submit(&one, submit_of("p", "slow"));

        pass_ms(&one, 500);
        expect_status(&one, &id, AIP_JOB_PROCESSING);
        cr_expect_eq(one.broker.n_acknowledged, 1u);
        pass_ms(&one, 600);
        expect_status(&one, &id, AIP_JOB_COMPLETED);
}

Test(processing_service, the_cache_is_filled_with_what_has_ended)
{
        struct aip_id id = submit(&one, submit_of("p", "fast"));
        struct aip_job_view v = {.op.done = count_done, .id = id};
        unsigned n_fetches;

        pass_ms(&one, 100);
        n_fetches = one.node.jobs.n_calls[CALL_FETCH];
        aip_job_service_view(one.node.service, &v);
        await(&one, &v.op);
        cr_expect_not_null(strstr(v.ret_view.p, "COMPLETED"));
        cr_expect_eq(one.node.jobs.n_calls[CALL_FETCH], n_fetches);
        aip_buf_deinit(&v.ret_view);
}

Test(processing_service, no_more_at_once_than_it_may)
{
        struct aip_id ids[20];
        size_t most = 0;

        for (int i = 0; i < 20; i++)
                ids[i] = submit(&one, submit_of("p", "slow"));
        for (int i = 0; i < 700; i++) {
                pass_ms(&one, 10);
                most = AIP_MAX(most, running());
        }
        cr_expect_eq(most, 4u);
        for (int i = 0; i < 20; i++)
                expect_status(&one, &ids[i], AIP_JOB_COMPLETED);
        cr_expect_lt(now_ms(&one), 8000, "five rounds of a second");
}

/* ── one configuration's backlog, and the others ─────────────────────────────────────────────── */

Test(processing_service, free_slots_go_to_others_before_a_backlog)
{
        struct aip_id late[3];

        for (int i = 0; i < 100; i++)
                submit(&one, submit_of("p", "slow"));
        pass_ms(&one, 2500);
        cr_expect_eq(running(), 4u);
        for (int i = 0; i < 3; i++)
                late[i] = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 2000);
        for (int i = 0; i < 3; i++)
                expect_status(&one, &late[i], AIP_JOB_COMPLETED);
        pass_ms(&one, 25000);
        cr_expect_eq(broker_events(&one.broker, "job.completed"), 103u);
}

/* Each opens a worker with slots of its own number. */
TestSuite(processing_service_slots, .fini = close_worker);

Test(processing_service_slots, one_slot_is_shared_in_turn)
{
        struct node_options o = options();
        struct aip_id late[3];

        o.concurrency = 1;
        one_node_open(&one, o);
        for (int i = 0; i < 20; i++)
                submit(&one, submit_of("p", "slow"));
        pass_ms(&one, 1500);
        for (int i = 0; i < 3; i++)
                late[i] = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 5000);
        for (int i = 0; i < 3; i++)
                expect_status(&one, &late[i], AIP_JOB_COMPLETED);
        pass_ms(&one, 25000);
        cr_expect_eq(broker_events(&one.broker, "job.completed"), 23u);
}

Test(processing_service_slots, some_slots_are_never_one_configurations)
{
        struct node_options o = options();
        struct aip_id late;

        o.concurrency = 100;
        one_node_open(&one, o);
        put_config(&one, "hours", "simulated,echo,latency=30000", 1);
        pass_ms(&one, 10);
        for (int i = 0; i < 300; i++)
                submit(&one, submit_of("p", "hours"));
        pass_ms(&one, 7000);
        cr_expect_eq(running(), 95u);
        late = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 400);
        expect_status(&one, &late, AIP_JOB_COMPLETED);
        cr_expect_eq(running(), 95u);
}

/* ── failures ────────────────────────────────────────────────────────────────────────────────── */

Test(processing_service, retries_later_and_later)
{
        struct aip_job_submit s = submit_of("p", "flaky");
        struct aip_id id;

        put_config(&one, "flaky", "simulated,echo,failures=2", 1);
        pass_ms(&one, 10);
        s.spec.retry_delay_ms = 2000;
        id = submit(&one, s);
        pass_ms(&one, 100);
        expect_status(&one, &id, AIP_JOB_QUEUED);
        cr_expect_eq(stored(&one, &id)->attempt, 1);
        pass_ms(&one, 1800);
        cr_expect_eq(stored(&one, &id)->attempt, 1);
        pass_ms(&one, 200);
        cr_expect_eq(stored(&one, &id)->attempt, 2);
        pass_ms(&one, 3700);
        cr_expect_eq(stored(&one, &id)->attempt, 2);
        pass_ms(&one, 400);
        expect_result(&id, "p");
        cr_expect_eq(stored(&one, &id)->attempt, 3);
}

Test(processing_service, gives_up_after_the_last_attempt)
{
        struct aip_job_submit s = submit_of("p", "broken");
        struct aip_id id;

        put_config(&one, "broken", "simulated,fail=provider_overloaded", 1);
        pass_ms(&one, 10);
        s.spec.retry_delay_ms = 0;
        s.spec.max_attempts = 2;
        id = submit(&one, s);
        pass_ms(&one, 3000);
        expect_error(&id, "provider_overloaded");
        cr_expect_eq(stored(&one, &id)->attempt, 2);
        cr_expect_eq(broker_events(&one.broker, "job.failed"), 1u);
}

Test(processing_service, does_not_retry_what_is_the_caller_s_fault)
{
        struct aip_id id;

        put_config(&one, "refuses", "simulated,fail=caller_invalid_request", 1);
        pass_ms(&one, 10);
        id = submit(&one, submit_of("p", "refuses"));
        pass_ms(&one, 100);
        expect_error(&id, "caller_invalid_request");
        cr_expect_eq(stored(&one, &id)->attempt, 1);
}

static void delete_config(const char *name)
{
        struct aip_catalog_delete del = {.op.done = count_done, .name = aip_str_of(name)};

        one.store.catalog.ops->delete_config(one.store.catalog.self, &del);
        await(&one, &del.op);
        cr_assert_null(del.op.err);
}

Test(processing_service, a_configuration_that_is_gone_fails_the_job)
{
        struct aip_job_submit s = submit_of("p", "fast");
        struct aip_id id;

        s.delay_ms = 5000;
        id = submit(&one, s);
        delete_config("fast");
        pass_ms(&one, 6000);
        expect_error(&id, "caller_config_not_found");
}

Test(processing_service, a_configuration_that_was_made_just_now_is_found)
{
        struct aip_id id;

        /* The worker has not heard of it: hints get lost, and the next comparison is seconds away. */
        one.node.jobs.lost_hints_permille = 1000;
        put_config(&one, "brand-new", "simulated,echo", 1);
        struct aip_job_create create = {.op.done = count_done};
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        aip_job *job = NULL;

        spec.prompt = aip_str_of("p");
        spec.config_name = aip_str_of("brand-new");
        cr_assert_eq(aip_job_new((struct aip_id){{7}}, &spec, aip_wall_us(one.loop.port), &job, NULL), 0);
        id = aip_job_fields(job)->id;
        create.job = job;
        one.store.jobs.ops->create(one.store.jobs.self, &create);
        await(&one, &create.op);
        aip_job_free(job);
        broker_send(&one.broker, &id);
        pass_ms(&one, 100);
        expect_result(&id, "p");
}

Test(processing_service, a_change_applies_to_every_job_that_is_claimed_after_it)
{
        struct aip_id id;

        one.node.jobs.lost_hints_permille = 1000;
        put_config(&one, "fast", "fail=caller_permission", 1);
        id = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 100);
        expect_error(&id, "caller_permission");
}

/* ── cancelling ──────────────────────────────────────────────────────────────────────────────── */

Test(processing_service, a_cancel_stops_the_call_in_flight)
{
        struct aip_id id = submit(&one, submit_of("p", "endless"));

        pass_ms(&one, 100);
        cr_expect_eq(running(), 1u);
        cancel(&one, &id);
        pass_ms(&one, 1);
        cr_expect_eq(running(), 0u);
        expect_status(&one, &id, AIP_JOB_CANCELLED);
}

Test(processing_service, a_cancel_whose_hint_is_lost_is_seen_by_the_next_heartbeat)
{
        struct aip_id id = submit(&one, submit_of("p", "endless"));

        pass_ms(&one, 100);
        one.node.jobs.lost_hints_permille = 1000;
        cancel(&one, &id);
        pass_ms(&one, HEARTBEAT_MS + 10);
        cr_expect_eq(running(), 0u);
        expect_status(&one, &id, AIP_JOB_CANCELLED);
}

Test(processing_service, a_job_that_was_cancelled_before_is_acknowledged_and_dropped)
{
        struct aip_job_submit s = submit_of("p", "fast");
        struct aip_id id;

        s.delay_ms = 100000;
        id = submit(&one, s);
        cancel(&one, &id);
        broker_send(&one.broker, &id);
        pass_ms(&one, 100);
        cr_expect_eq(one.broker.n_acknowledged, 1u);
        expect_status(&one, &id, AIP_JOB_CANCELLED);
}

Test(processing_service, duplicates_and_strangers_are_acknowledged_and_dropped)
{
        struct aip_id id = submit(&one, submit_of("p", "slow")), stranger = {{3}};

        for (int i = 0; i < 5; i++)
                broker_send(&one.broker, &id);
        broker_send(&one.broker, &stranger);
        pass_ms(&one, 3000);
        expect_status(&one, &id, AIP_JOB_COMPLETED);
        cr_expect_eq(stored(&one, &id)->attempt, 1);
        cr_expect_eq(one.broker.n_acknowledged, 7u);
}

/* ── the lease ───────────────────────────────────────────────────────────────────────────────── */

Test(processing_service, a_lease_is_kept_as_long_as_the_job_runs)
{
        struct aip_id id;

        put_config(&one, "long", "simulated,echo,latency=30000", 1);
        pass_ms(&one, 10);
        id = submit(&one, submit_of("p", "long"));
        pass_ms(&one, 31000);
        expect_status(&one, &id, AIP_JOB_COMPLETED);
        cr_expect_eq(stored(&one, &id)->attempt, 1);
}

Test(processing_service, a_lost_lease_stops_everything_and_a_new_session_goes_on)
{
        struct aip_id id = submit(&one, submit_of("p", "endless"));

        pass_ms(&one, 100);
        one.node.jobs.script[CALL_HEARTBEAT].fault = one.node.jobs.script[CALL_CLAIM].fault = FAULT_BEFORE;
        one.node.jobs.script[CALL_HEARTBEAT].n = 4; /* claims renew the lease as well */
        one.node.jobs.script[CALL_CLAIM].n = 8;
        pass_ms(&one, 8000);
        cr_expect_geq(stored(&one, &id)->attempt, 2, "claimed again under a new session: %s, %d, %s",
                      aip_job_status_name(stored(&one, &id)->status), stored(&one, &id)->attempt,
                      one.last_warning);
        expect_status(&one, &id, AIP_JOB_PROCESSING);
        cr_expect_eq(running(), 1u);
}

Test(processing_service, an_outcome_that_comes_too_late_is_dropped)
{
        struct aip_id id = submit(&one, submit_of("p", "slow"));
        int64_t version;

        pass_ms(&one, 100);
        one.node.jobs.lost_hints_permille = 1000;
        cancel(&one, &id);
        version = stored(&one, &id)->version;
        put_config(&one, "slow", "simulated,echo,latency=1000", 1);
        pass_ms(&one, 3000);
        expect_status(&one, &id, AIP_JOB_CANCELLED);
        cr_expect_eq(stored(&one, &id)->version, version);
        cr_expect_eq(running(), 0u);
}

Test(processing_service, claims_whose_answer_got_lost_are_handed_back_by_the_second_heartbeat)
{
        struct aip_id id;

        one.node.jobs.script[CALL_CLAIM].fault = FAULT_AFTER;
        one.node.jobs.script[CALL_CLAIM].n = 1;
        id = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 100);
        expect_status(&one, &id, AIP_JOB_PROCESSING);
        cr_expect_eq(running(), 0u);
        pass_ms(&one, 3 * HEARTBEAT_MS);
        expect_status(&one, &id, AIP_JOB_COMPLETED);
        cr_expect_eq(stored(&one, &id)->attempt, 1, "a claim that nobody worked on does not count");
}

/* The run of a job's second attempt is not stopped because the first one is over. */
Test(processing_service, a_heartbeat_speaks_of_the_attempt_it_was_told_of)
{
        struct aip_job_submit s = submit_of("p", "twice");
        struct aip_id id;

        put_config(&one, "twice", "simulated,echo,failures=1,latency=1000", 1);
        pass_ms(&one, 10);
        /* The heartbeat leaves while the first attempt runs and arrives when the second does. */
        s.spec.retry_delay_ms = 0;
        id = submit(&one, s);
        one.node.jobs.is_exact = 1;
        pass_ms(&one, 950 - (now_ms(&one) - 10) % 1000);
        for (int i = 0; i < 40 && stored(&one, &id)->attempt == 1; i++) {
                one.node.jobs.delay_ms = one.node.jobs.n_calls[CALL_HEARTBEAT] % 2 ? 0 : 40;
                pass_ms(&one, 25);
        }
        one.node.jobs.delay_ms = 0;
        pass_ms(&one, 2500);
        expect_status(&one, &id, AIP_JOB_COMPLETED);
        cr_expect_eq(stored(&one, &id)->attempt, 2);
}

/* ── the broker ──────────────────────────────────────────────────────────────────────────────── */

Test(processing_service, without_a_broker_due_jobs_are_found_in_the_store)
{
        struct aip_id id;

        one.broker.is_down = 1;
        id = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 1100);
        expect_status(&one, &id, AIP_JOB_COMPLETED);
}

Test(processing_service, a_lost_queue_is_noticed_after_seconds)
{
        struct aip_id id;

        one.broker.lost_permille = 1000;
        id = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 4000);
        expect_status(&one, &id, AIP_JOB_QUEUED);
        pass_ms(&one, 2100);
        expect_status(&one, &id, AIP_JOB_COMPLETED);
}

Test(processing_service, a_lost_connection_in_the_middle_of_failing_claims_blocks_nothing)
{
        struct aip_id ids[30];

        one.node.jobs.delay_ms = 300;
        one.node.jobs.is_exact = 1;
        for (int round = 0; round < 5; round++) {
                one.node.jobs.script[CALL_CLAIM].fault = FAULT_BEFORE;
                one.node.jobs.script[CALL_CLAIM].n = 1;
                for (int i = 0; i < 6; i++)
                        ids[6 * round + i] = submit(&one, submit_of("p", "slow"));
                pass_ms(&one, 50);
                broker_break(&one.node.client); /* the claim is on its way */
        }
        one.node.jobs.delay_ms = 0;
        pass_ms(&one, 30000);
        for (int i = 0; i < 30; i++)
                expect_status(&one, &ids[i], AIP_JOB_COMPLETED);
        cr_expect_eq(one.node.client.n_unacknowledged, 0u, "%zu messages are held for ever",
                     one.node.client.n_unacknowledged);
}

/* ── a store that is away ────────────────────────────────────────────────────────────────────── */

Test(processing_service, an_outcome_is_kept_until_the_store_is_back)
{
        struct aip_id id;

        one.node.jobs.script[CALL_FINISH].fault = FAULT_BEFORE;
        one.node.jobs.script[CALL_FINISH].n = 3;
        id = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 500);
        expect_status(&one, &id, AIP_JOB_PROCESSING);
        cr_expect_eq(running(), 1u);
        pass_ms(&one, 2000);
        expect_result(&id, "p");
        cr_expect_eq(stored(&one, &id)->attempt, 1);
}

Test(processing_service, an_outcome_that_was_recorded_in_spite_of_an_error_is_recorded_once)
{
        struct aip_id id;

        one.node.jobs.script[CALL_FINISH].fault = FAULT_AFTER;
        one.node.jobs.script[CALL_FINISH].n = 2;
        id = submit(&one, submit_of("p", "fast"));
        pass_ms(&one, 2000);
        expect_result(&id, "p");
        cr_expect_eq(stored(&one, &id)->version, 3);
        cr_expect_eq(running(), 0u);
        pass_ms(&one, 8000);
        cr_expect_eq(broker_events(&one.broker, "job.completed"), 1u);
}

Test(processing_service, the_first_look_is_repeated_until_the_store_has_answered_it)
{
        struct aip_id id = {{7}};

        one_node_close(&one);
        struct node_options o = options();
        o.does_not_start = 1;
        one_node_open(&one, o);
        /* Waits since a moment before the restart; its message was lost with the process. */
        struct aip_job_create create = {.op.done = count_done};
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        aip_job *job = NULL;

        spec.prompt = aip_str_of("p");
        spec.config_name = aip_str_of("fast");
        cr_assert_eq(aip_job_new(id, &spec, aip_wall_us(one.loop.port), &job, NULL), 0);
        create.job = job;
        one.store.jobs.ops->create(one.store.jobs.self, &create);
        await(&one, &create.op);
        aip_job_free(job);
        one.node.jobs.script[CALL_CLAIM].fault = FAULT_BEFORE;
        one.node.jobs.script[CALL_CLAIM].n = 2;
        aip_catalog_service_start(one.node.catalog);
        aip_processing_service_start(one.node.worker);
        pass_ms(&one, 1500);
        expect_status(&one, &id, AIP_JOB_COMPLETED);
}

static void store_jobs(int n)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;

        spec.prompt = aip_str_of("p");
        spec.config_name = aip_str_of("fast");
        for (int i = 0; i < n; i++) {
                struct aip_job_create create = {.op.done = count_done};
                struct aip_id id = {{1, (unsigned char)(i >> 8), (unsigned char)i}};
                aip_job *job = NULL;

                cr_assert_eq(aip_job_new(id, &spec, aip_wall_us(one.loop.port), &job, NULL), 0);
                create.job = job;
                one.store.jobs.ops->create(one.store.jobs.self, &create);
                await(&one, &create.op);
                aip_job_free(job);
        }
}

Test(processing_service, what_waited_for_a_restart_goes_through_at_full_speed)
{
        one_node_close(&one);
        struct node_options o = options();
        o.does_not_start = 1;
        one_node_open(&one, o);
        store_jobs(2000);
        aip_catalog_service_start(one.node.catalog);
        aip_processing_service_start(one.node.worker);
        pass_ms(&one, 300);
        for (size_t i = 0; i < one.memory->n_jobs; i++)
                cr_assert_eq(aip_job_fields(one.memory->jobs[i]->job)->status, AIP_JOB_COMPLETED, "%zu", i);
}

/* ── draining ────────────────────────────────────────────────────────────────────────────────── */

static void close_within(int64_t drain_ms, int timeout_s)
{
        node_begin_close(&one.node, drain_ms);
        cr_assert(test_loop_wait(&one.loop, timeout_s, node_is_closed, &one.node), "it does not close");
}

Test(processing_service, draining_lets_jobs_end_and_takes_no_more)
{
        struct aip_id id = submit(&one, submit_of("p", "slow")), late;

        pass_ms(&one, 100);
        node_begin_close(&one.node, 5000);
        late = submit(&one, submit_of("q", "fast"));
        cr_assert(test_loop_wait(&one.loop, 3, node_is_closed, &one.node));
        expect_status(&one, &id, AIP_JOB_COMPLETED);
        expect_status(&one, &late, AIP_JOB_QUEUED);
        cr_expect_eq(now_ms(&one) / 1000, 1, "no longer than the job");
}

Test(processing_service, what_does_not_end_in_time_is_handed_back_uncounted)
{
        struct aip_id id = submit(&one, submit_of("p", "endless"));

        pass_ms(&one, 100);
        close_within(500, 3);
        expect_status(&one, &id, AIP_JOB_QUEUED);
        cr_expect_eq(stored(&one, &id)->attempt, 0);
        cr_expect_eq(one.memory->outbox.n, 0u, "and is announced");
        cr_expect_eq(one.broker.n_tasks, 2u);
}

Test(processing_service, claims_that_arrive_while_leaving_are_handed_back)
{
        struct aip_id id;

        one.node.jobs.delay_ms = 200;
        one.node.jobs.is_exact = 1;
        id = submit(&one, submit_of("p", "endless"));
        pass_ms(&one, 100);
        close_within(60000, 5);
        expect_status(&one, &id, AIP_JOB_QUEUED);
        cr_expect_eq(stored(&one, &id)->attempt, 0);
}

Test(processing_service, leaving_ends_also_without_a_store)
{
        struct aip_id id = submit(&one, submit_of("p", "endless"));

        pass_ms(&one, 100);
        one.node.jobs.is_cut_off = 1;
        close_within(1000, 30);
        expect_status(&one, &id, AIP_JOB_PROCESSING);
}

Test(processing_service, closes_at_any_moment)
{
        one_node_close(&one);
        for (int64_t after_ms = 0; after_ms < 120; after_ms += 3) {
                one_node_open(&one, options());
                one.node.jobs.delay_ms = 10;
                one.node.jobs.is_exact = 1;
                for (int i = 0; i < 6; i++) {
                        struct aip_job_submit s = submit_of("p", i % 2 ? "fast" : "endless");

                        submit(&one, s);
                }
                pass_ms(&one, after_ms);
                close_within(20, 20);
                for (size_t i = 0; i < one.memory->n_jobs; i++)
                        cr_expect_neq(aip_job_fields(one.memory->jobs[i]->job)->status,
                                      AIP_JOB_PROCESSING, "after %lld ms", (long long)after_ms);
                one_node_close(&one);
        }
        one_node_open(&one, options());
}

Test(processing_service, closes_before_it_has_started)
{
        one_node_close(&one);
        struct node_options o = options();
        o.does_not_start = 1;
        one_node_open(&one, o);
}
