/* The job service on memory adapters: what is accepted and refused, reads through the cache, waits
 * with hints and without, cut short, cancelled jobs. */
#include "one_node.h"

static struct one_node one;

static void open_gateway(void)
{
        one_node_open(&one, (struct node_options){.seed = 1});
        put_template(&one, "greeting", "Hello {{name}}, {{place}}, {{mood|fine}}, {{prompt}}");
        pass_ms(&one, 10);
}

static void close_gateway(void)
{
        one_node_close(&one);
}

TestSuite(job_service, .init = open_gateway, .fini = close_gateway);

/* ── submit ──────────────────────────────────────────────────────────────────────────────────── */

static void expect_refused(struct aip_job_submit request, int code, const char *words)
{
        memset(&request.ret_job_id, 0x5a, sizeof(request.ret_job_id));
        aip_job_service_submit(one.node.service, &request);
        cr_assert(!is_done(&request.op), "done within the call");
        await(&one, &request.op);
        cr_expect_eq(aip_error_code(request.op.err), code, "%s: %d", words,
                     aip_error_code(request.op.err));
        cr_expect_not_null(strstr(aip_error_message(request.op.err), words), "'%s' is not in '%s'",
                           words, aip_error_message(request.op.err));
        cr_expect_eq(request.ret_job_id.bytes[3], 0x5a, "touched on failure");
        aip_error_free(request.op.err);
}

Test(job_service, refuses_what_cannot_run_and_names_it)
{
        struct aip_job_submit s = submit_of("p", "fast");

        expect_refused(submit_of("  ", "fast"), AIP_EINVAL, "prompt");
        expect_refused(submit_of("p", "unheard-of"), AIP_ENOTFOUND, "unheard-of");
        expect_refused(submit_of("p", "off"), AIP_ENOTFOUND, "not active");
        s.spec.template_name = aip_str_of("no-such-template");
        expect_refused(s, AIP_ENOTFOUND, "no-such-template");
        s = submit_of("p", "fast");
        s.spec.graph_name = aip_str_of("no-such-graph");
        expect_refused(s, AIP_ENOTFOUND, "no-such-graph");
        s = submit_of("p", "fast");
        s.spec.max_attempts = 101;
        expect_refused(s, AIP_EINVAL, "max_attempts");
        cr_expect_eq(one.memory->n_jobs, 0u);
        cr_expect_eq(one.node.jobs.n_calls[CALL_CREATE], 0u);
}

Test(job_service, names_every_missing_variable)
{
        struct aip_job_submit s = submit_of("p", "fast");

        s.spec.template_name = aip_str_of("greeting");
        expect_refused(s, AIP_EINVAL, "name, place");
        s.spec.variables_json = aip_str_of("{\"name\":\"x\"}");
        expect_refused(s, AIP_EINVAL, "place");
        s.spec.variables_json = aip_str_of("{\"name\":\"x\",\"place\":\"y\"}");
        submit(&one, s);
}

Test(job_service, names_missing_variables_however_many_there_are)
{
        struct aip_buf text = AIP_BUF_INIT(1u << 20);
        struct aip_job_submit s = submit_of("p", "fast");

        for (int i = 0; i < 400; i++)
                cr_assert_eq(aip_buf_printf(&text, "{{a_rather_long_name_of_a_variable_%03d}}", i), 0);
        put_template(&one, "long", text.p);
        pass_ms(&one, 10);
        s.spec.template_name = aip_str_of("long");
        expect_refused(s, AIP_EINVAL, "a_rather_long_name_of_a_variable_399");
        aip_buf_deinit(&text);
}

Test(job_service, limits_delays)
{
        struct aip_job_submit s = submit_of("p", "fast");
        int64_t year_ms = 366LL * 24 * 3600 * 1000;
        struct aip_id id;

        s.delay_ms = -1;
        expect_refused(s, AIP_EINVAL, "delay");
        s.delay_ms = year_ms + 1;
        expect_refused(s, AIP_EINVAL, "delay");
        s.delay_ms = 0;
        s.spec.run_at_us = aip_wall_us(one.loop.port) + year_ms * 1000 + 1;
        expect_refused(s, AIP_EINVAL, "run_at");
        s.spec.run_at_us = 0;
        s.delay_ms = year_ms;
        id = submit(&one, s);
        cr_expect_eq(stored(&one, &id)->run_at_us, stored(&one, &id)->created_at_us + year_ms * 1000);
        s.delay_ms = 0;
        s.spec.run_at_us = 1; /* long past: at once */
        submit(&one, s);
}

Test(job_service, an_idempotency_key_answers_with_the_first_job)
{
        struct aip_job_submit first = submit_of("p", "fast"), again, other;

        first.idempotency_key = aip_str_of("key");
        again = other = first;
        other.spec.prompt = aip_str_of("another");
        aip_job_service_submit(one.node.service, &first);
        await(&one, &first.op);
        cr_assert_null(first.op.err);
        cr_expect_eq(first.ret_is_replay, 0);
        aip_job_service_submit(one.node.service, &again);
        await(&one, &again.op);
        cr_assert_null(again.op.err);
        cr_expect_eq(again.ret_is_replay, 1);
        cr_expect(aip_id_equal(&again.ret_job_id, &first.ret_job_id));
        expect_refused(other, AIP_ECONFLICT, "Idempotency-Key");
        cr_expect_eq(one.memory->n_jobs, 1u);
}

Test(job_service, every_part_of_a_request_counts_for_its_key)
{
        struct aip_job_submit s = submit_of("p", "fast"), t;

        s.idempotency_key = aip_str_of("key");
        submit(&one, s);
        t = s;
        t.spec.config_name = aip_str_of("slow");
        expect_refused(t, AIP_ECONFLICT, "different");
        t = s;
        t.spec.max_attempts = 4;
        expect_refused(t, AIP_ECONFLICT, "different");
        t = s;
        t.delay_ms = 1;
        expect_refused(t, AIP_ECONFLICT, "different");
        t = s;
        t.spec.metadata_json = aip_str_of("{\"a\":1}");
        expect_refused(t, AIP_ECONFLICT, "different");
        t = s;
        t.spec.variables_json = aip_str_of("{\"a\":1}");
        expect_refused(t, AIP_ECONFLICT, "different");
}

Test(job_service, the_assistant_takes_no_input)
{
        struct aip_job_submit s = submit_of("p", "fast");

        s.spec.input_json = aip_str_of("{\"a\":1}");
        expect_refused(s, AIP_EINVAL, "input: ");
}

Test(job_service, checks_idempotency_keys)
{
        char key[257];
        struct aip_job_submit s = submit_of("p", "fast");

        memset(key, 'k', sizeof(key));
        s.idempotency_key = aip_str_make(key, 256);
        expect_refused(s, AIP_EINVAL, "Idempotency-Key");
        s.idempotency_key = aip_str_of("tab\there");
        expect_refused(s, AIP_EINVAL, "Idempotency-Key");
        s.idempotency_key = aip_str_of("\xc3\xa9");
        expect_refused(s, AIP_EINVAL, "Idempotency-Key");
        s.idempotency_key = aip_str_make(key, 255);
        submit(&one, s);
}

Test(job_service, hands_on_what_the_store_says)
{
        one.node.jobs.script[CALL_CREATE].fault = FAULT_BEFORE;
        one.node.jobs.script[CALL_CREATE].n = 1;
        expect_refused(submit_of("p", "fast"), AIP_EUNAVAILABLE, "made to fail");
        cr_expect_eq(one.memory->n_jobs, 0u);
}

Test(job_service, what_happened_in_spite_of_an_error_is_swept_up_and_published)
{
        struct aip_job_submit s = submit_of("p", "fast");

        one.node.jobs.script[CALL_CREATE].fault = FAULT_AFTER;
        one.node.jobs.script[CALL_CREATE].n = 1;
        expect_refused(s, AIP_ETIMEOUT, "made to fail");
        cr_expect_eq(one.memory->n_jobs, 1u);
        cr_expect_eq(one.broker.n_tasks, 0u);
        pass_ms(&one, 8000);
        cr_expect_eq(one.broker.n_tasks, 1u);
        cr_expect_eq(one.memory->outbox.n, 0u);
}

Test(job_service, refuses_submissions_while_the_store_is_behind)
{
        static struct aip_job_submit s[AIP_STORE_BATCH_MAX], last;

        one.node.jobs.delay_ms = 2000; /* each way */
        one.node.jobs.is_exact = 1;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(s); i++) {
                s[i] = submit_of("p", "fast");
                s[i].op.deadline_ms = now_ms(&one) + 60000;
                aip_job_service_submit(one.node.service, &s[i]);
                if (i == 0)
                        pass_ms(&one, 1000); /* nobody is turned away for one that takes long */
        }
        cr_expect_eq(aip_job_service_admit(one.node.service, NULL), AIP_ELIMIT);
        last = submit_of("p", "fast");
        aip_job_service_submit(one.node.service, &last);
        await(&one, &last.op);
        cr_assert_eq(aip_error_code(last.op.err), AIP_ELIMIT);
        cr_expect_eq(aip_error_retry_after_ms(last.op.err), 1000);
        cr_expect_not_null(strstr(aip_error_message(last.op.err), "takes it 1000 ms"));
        aip_error_free(last.op.err);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(s); i++) {
                await(&one, &s[i].op);
                cr_assert_null(s[i].op.err);
        }
        one.node.jobs.delay_ms = 0;
        submit(&one, submit_of("p", "fast"));
        cr_expect_eq(one.memory->n_jobs, AIP_STORE_BATCH_MAX + 1u);
}

/* ── view ────────────────────────────────────────────────────────────────────────────────────── */

static struct aip_job_view view_of(const struct aip_id *id, int64_t wait_ms)
{
        return (struct aip_job_view){.op.done = count_done, .id = *id, .wait_ms = wait_ms};
}

static void view(struct aip_job_view *request)
{
        aip_job_service_view(one.node.service, request);
        await(&one, &request->op);
        cr_assert_null(request->op.err, "%s", aip_error_message(request->op.err));
}

Test(job_service, views_come_from_the_store_then_from_the_cache)
{
        struct aip_id id = submit(&one, submit_of("p", "fast"));
        struct aip_job_view v = view_of(&id, 0);
        unsigned n_fetches = one.node.jobs.n_calls[CALL_FETCH];

        view(&v);
        cr_expect_not_null(strstr(v.ret_view.p, "\"status\":\"QUEUED\""));
        aip_buf_deinit(&v.ret_view);
        cr_expect_eq(one.node.jobs.n_calls[CALL_FETCH], n_fetches + 1);
        cancel(&one, &id);
        for (int i = 0; i < 3; i++) {
                v = view_of(&id, 0);
                view(&v);
                cr_expect_eq(v.ret_is_found, 1);
                cr_expect_not_null(strstr(v.ret_view.p, "\"status\":\"CANCELLED\""));
                aip_buf_deinit(&v.ret_view);
        }
        cr_expect_eq(one.node.jobs.n_calls[CALL_FETCH], n_fetches + 2, "an ended job is read once");
}

Test(job_service, a_view_of_nothing_is_found_out)
{
        struct aip_id id = {{1}};
        struct aip_job_view v = view_of(&id, 5000);

        view(&v);
        cr_expect_eq(v.ret_is_found, 0);
        cr_expect_eq(now_ms(&one), 20, "nobody waits for a job that is not there");
        aip_buf_deinit(&v.ret_view);
}

static void failing_get(void *self, struct aip_cache_get *get)
{
        aip_error *err = NULL;

        (void)self;
        aip_error_set(&err, AIP_EUNAVAILABLE, "no connection");
        aip_op_finish(one.loop.port, &get->op, err);
}

static void dropping_put(void *self, struct aip_str key, struct aip_str value, int32_t ttl_s)
{
        (void)self, (void)key, (void)value, (void)ttl_s;
}

Test(job_service, a_failing_cache_costs_nothing_but_speed)
{
        static const struct aip_cache_ops failing = {
                .self_size = sizeof(failing), .name = "failing", .get = failing_get, .put = dropping_put};
        struct aip_job_service_options o = {.self_size = sizeof(o)};
        struct aip_id id = submit(&one, submit_of("p", "fast"));
        struct aip_job_view v = view_of(&id, 0);
        aip_job_service *service = NULL;

        o.loop = one.loop.port;
        o.random = one.node.random;
        o.jobs = faulty_jobs_port(&one.node.jobs);
        o.catalog = one.node.catalog;
        o.relay = one.node.relay;
        for (int has_cache = 0; has_cache < 2; has_cache++) {
                o.cache.ops = has_cache ? &failing : NULL;
                cr_assert_eq(aip_job_service_new(&o, &service, NULL), 0);
                v = view_of(&id, 0);
                aip_job_service_view(service, &v);
                await(&one, &v.op);
                cr_assert_null(v.op.err);
                cr_expect_eq(v.ret_is_found, 1);
                aip_buf_deinit(&v.ret_view);
                aip_job_service_free(service);
        }
}

Test(job_service, a_view_hands_on_the_store_s_error)
{
        struct aip_id id = submit(&one, submit_of("p", "fast"));
        struct aip_job_view v = view_of(&id, 5000);

        one.node.jobs.script[CALL_FETCH].fault = FAULT_BEFORE;
        one.node.jobs.script[CALL_FETCH].n = 1;
        aip_job_service_view(one.node.service, &v);
        await(&one, &v.op);
        cr_expect_eq(aip_error_code(v.op.err), AIP_EUNAVAILABLE);
        aip_error_free(v.op.err);
        aip_buf_deinit(&v.ret_view);
}

/* ── waiting ─────────────────────────────────────────────────────────────────────────────────── */

/* The only job there is. */
static void cancel_later(struct aip_timer *timer)
{
        static struct aip_job_cancellation request;
        struct aip_job_repository direct = one.store.jobs;

        (void)timer;
        request = (struct aip_job_cancellation){.op.done = count_done};
        request.id = aip_job_fields(one.memory->jobs[0]->job)->id;
        direct.ops->cancel(direct.self, &request);
}

static int64_t wait_while_cancelled_after(int64_t ms)
{
        struct aip_id id = submit(&one, submit_of("p", "fast"));
        struct aip_job_view v = view_of(&id, 60000);
        struct aip_timer timer = {.fire = cancel_later};
        int64_t began_ms = now_ms(&one);

        aip_timer_set(one.loop.port, &timer, ms);
        view(&v);
        cr_expect_not_null(strstr(v.ret_view.p, "CANCELLED"));
        aip_buf_deinit(&v.ret_view);
        return now_ms(&one) - began_ms - ms;
}

Test(job_service, a_hint_ends_a_wait_at_once)
{
        cr_expect_eq(wait_while_cancelled_after(10500), 0);
}

Test(job_service, without_hints_a_wait_ends_within_a_second)
{
        int64_t late_ms;

        one.node.jobs.lost_hints_permille = 1000;
        late_ms = wait_while_cancelled_after(10300);
        cr_expect(late_ms > 0 && late_ms <= 1000, "%lld", (long long)late_ms);
}

Test(job_service, a_hint_that_comes_while_the_job_is_being_read_is_not_lost)
{
        int64_t late_ms;

        /* Reading takes 40 ms there and 40 back; the job ends in the middle of the way back. */
        one.node.jobs.delay_ms = 40;
        one.node.jobs.is_exact = 1;
        late_ms = wait_while_cancelled_after(60);
        cr_expect(late_ms < 300, "%lld ms late", (long long)late_ms);
}

Test(job_service, a_wait_ends_with_the_job_as_it_stands)
{
        struct aip_id id = submit(&one, submit_of("p", "fast"));
        struct aip_job_view v = view_of(&id, 3500);
        int64_t began_ms = now_ms(&one);

        view(&v);
        cr_expect_eq(now_ms(&one) - began_ms, 3500);
        cr_expect_not_null(strstr(v.ret_view.p, "QUEUED"));
        aip_buf_deinit(&v.ret_view);
}

Test(job_service, many_wait_for_one_job_and_for_others)
{
        struct aip_id id = submit(&one, submit_of("p", "fast")), other = submit(&one, submit_of("q", "fast"));
        struct aip_job_view views[50];
        int64_t began_ms;

        for (int i = 0; i < 50; i++) {
                views[i] = view_of(i % 5 ? &id : &other, 30000);
                aip_job_service_view(one.node.service, &views[i]);
        }
        pass_ms(&one, 5500);
        began_ms = now_ms(&one);
        cancel(&one, &id);
        for (int i = 0; i < 50; i++)
                if (i % 5) {
                        await(&one, &views[i].op);
                        aip_buf_deinit(&views[i].ret_view);
                }
        cr_expect_eq(now_ms(&one), began_ms);
        cancel(&one, &other);
        for (int i = 0; i < 50; i += 5) {
                await(&one, &views[i].op);
                aip_buf_deinit(&views[i].ret_view);
        }
        cr_expect_eq(now_ms(&one), began_ms);
}

Test(job_service, a_wait_can_be_given_up_at_any_point)
{
        struct aip_id id = submit(&one, submit_of("p", "fast"));

        one.node.jobs.delay_ms = 20;
        one.node.jobs.is_exact = 1;
        for (int64_t after_ms = 0; after_ms < 100; after_ms += 5) {
                struct aip_job_view v = view_of(&id, 30000);
                int64_t began_ms = now_ms(&one);

                aip_job_service_view(one.node.service, &v);
                pass_ms(&one, after_ms);
                aip_job_service_view_cancel(&v);
                await(&one, &v.op);
                cr_expect(now_ms(&one) - began_ms <= after_ms + 80, "given up after %lld: %lld ms",
                          (long long)after_ms, (long long)(now_ms(&one) - began_ms));
                cr_expect(!v.op.err || aip_error_code(v.op.err) == AIP_ECANCELLED);
                aip_error_free(v.op.err);
                aip_buf_deinit(&v.ret_view);
        }
}

Test(job_service, ending_all_waits_reaches_those_that_are_reading)
{
        struct aip_id id = submit(&one, submit_of("p", "fast"));

        one.node.jobs.delay_ms = 20;
        one.node.jobs.is_exact = 1;
        for (int64_t after_ms = 5; after_ms < 100; after_ms += 10) {
                struct aip_job_read read = {.op.done = count_done, .id = id, .wait_ms = 30000};
                int64_t began_ms = now_ms(&one);

                aip_job_service_read(one.node.service, &read);
                pass_ms(&one, after_ms);
                aip_job_service_end_waits(one.node.service);
                await(&one, &read.op);
                cr_expect(now_ms(&one) - began_ms <= after_ms + 40, "%lld", (long long)after_ms);
                aip_job_free(read.ret_job);
                aip_error_free(read.op.err);
        }
}

/* ── cancel and list ─────────────────────────────────────────────────────────────────────────── */

Test(job_service, cancelling_answers_what_became_of_it)
{
        struct aip_id id = submit(&one, submit_of("p", "fast"));
        struct aip_job_cancel again = {.op.done = count_done, .id = id};
        struct aip_job_cancel nothing = {.op.done = count_done, .id = {{9}}};

        cancel(&one, &id);
        aip_job_service_cancel(one.node.service, &again);
        await(&one, &again.op);
        cr_expect_eq(again.ret_outcome, AIP_CANCEL_ALREADY_ENDED);
        cr_expect_eq(again.ret_status, AIP_JOB_CANCELLED);
        aip_job_service_cancel(one.node.service, &nothing);
        await(&one, &nothing.op);
        cr_expect_eq(nothing.ret_outcome, AIP_CANCEL_NOT_FOUND);
}

Test(job_service, lists_what_the_store_lists)
{
        struct aip_job_list list = {.op.done = count_done, .limit = 10};

        submit(&one, submit_of("p", "fast"));
        submit(&one, submit_of("q", "slow"));
        list.config_name = aip_str_of("slow");
        aip_job_service_list(one.node.service, &list);
        await(&one, &list.op);
        cr_assert_eq(list.ret_n, 1u);
        cr_expect(aip_str_eq(aip_job_fields(list.ret_jobs[0])->prompt, aip_str_of("q")));
        aip_job_free(list.ret_jobs[0]);
        free(list.ret_jobs);
}
