/*
 * Following a job (job_feed.c): the stream in memory and a store of one job, on the virtual clock. Each
 * event once and in order, whichever of the two has it; hints, waits, holes, streams that are lost or
 * cannot be read, readers that stop and close at any moment, and no memory.
 */
#include "alloc_fail.h"
#include "domain_support.h"
#include "job_status_event.h"
#include "test_loop.h"
#include <aiplat/adapters.h>
#include <aiplat/job_feed.h>

#define MAX_EVENTS 200
#define PROCESSING 2 /* its version, and the run of what the worker tells */
#define ENDED      3

struct follower {
        struct aip_job_feed_next next;
        aip_job_feed *feed;
        int n_done, code;
        char text[8192]; /* "1-0 status, 2-0 status, …" */
        size_t n_events, n_gaps, n_most;
        struct aip_stream_id last;
        int is_over;
};

static struct test_loop loop;
static struct aip_events_handle handle;
static aip_job_feeds *feeds;
static struct follower f;

/* ── a store of one job ──────────────────────────────────────────────────────────────────────── */

static aip_job *stored;
static struct aip_store_watcher *watcher;
static int n_fetched, store_fails;

static void store_fetch(void *self, struct aip_job_fetch *fetch)
{
        aip_error *err = NULL;

        (void)self;
        n_fetched++;
        fetch->ret_job = NULL;
        if (store_fails)
                aip_error_set(&err, AIP_EUNAVAILABLE, "the store is away");
        else if (aip_id_equal(&fetch->id, &job_id))
                aip_job_copy(stored, &fetch->ret_job, &err);
        aip_op_finish(loop.port, &fetch->op, err);
}

static void store_watch(void *self, struct aip_store_watcher *one)
{
        (void)self;
        watcher = one;
}

static void store_unwatch(void *self, struct aip_store_watcher *one)
{
        (void)self;
        (void)one;
        watcher = NULL;
}

static const struct aip_job_repository_ops store_ops = {
        .self_size = sizeof(store_ops),
        .name = "one job",
        .fetch = store_fetch,
        .watch = store_watch,
        .unwatch = store_unwatch,
};

/* ── an event stream that may fail to read ───────────────────────────────────────────────────── */

static struct aip_event_stream_ops stream_ops;
static int stream_fails, n_reads;

static void stream_read(void *self, struct aip_stream_read *read)
{
        aip_error *err = NULL;

        n_reads++;
        if (!stream_fails) {
                handle.events.ops->read(self, read);
                return;
        }
        aip_error_set(&err, AIP_EUNAVAILABLE, "the stream is away");
        aip_op_finish(loop.port, &read->op, err);
}

/* ── what happens to the job ─────────────────────────────────────────────────────────────────── */

static void append(int64_t run, int64_t n, enum aip_stream_type type)
{
        const struct aip_stream_event event = {{run, n}, type, AIP_STR("{}")};

        cr_assert_eq(handle.events.ops->append(handle.events.self, &job_id, &event), 0);
}

static void append_tokens(int64_t from, int64_t to)
{
        for (int64_t n = from; n <= to; n++)
                append(PROCESSING, n, AIP_STREAM_TOKEN);
}

static int64_t now_us(void)
{
        return aip_wall_us(loop.port);
}

/* What the store says and what the stream is told of it come apart here. */
static void start_job(void)
{
        struct aip_transition t;

        cr_assert_eq(aip_job_start(stored, now_us(), &t, NULL), 0);
        cr_assert_eq(aip_job_fields(stored)->version, PROCESSING);
}

static void complete_job(void)
{
        const struct aip_job_outcome outcome = {.self_size = sizeof(outcome),
                                                .result = AIP_STR("done"),
                                                .provider = AIP_STR("simulated"),
                                                .model_name = AIP_STR("echo")};
        struct aip_transition t;

        cr_assert_eq(aip_job_complete(stored, &outcome, now_us(), &t, NULL), 0);
        cr_assert_eq(aip_job_fields(stored)->version, ENDED);
}

static void tell_status(void)
{
        aip_job_status_event_append(handle.events, stored);
}

static void hint(void)
{
        watcher->on_jobs_ended(watcher, &job_id, 1);
}

/* A whole run, all of it told. */
static void run_job(int64_t n_tokens)
{
        start_job();
        tell_status();
        append_tokens(1, n_tokens);
        complete_job();
        tell_status();
}

/* ── a reader ────────────────────────────────────────────────────────────────────────────────── */

static void take(const struct aip_stream_event *event)
{
        char id[AIP_STREAM_ID_TEXT_BYTES];
        size_t n = strlen(f.text);

        cr_assert_leq(++f.n_events, (size_t)MAX_EVENTS);
        snprintf(f.text + n, sizeof(f.text) - n, "%s%s %s", n > 0 ? ", " : "",
                 aip_stream_id_format(event->id, id), aip_stream_type_name(event->type));
        if (event->type == AIP_STREAM_GAP) {
                f.n_gaps++;
                cr_assert_eq(aip_stream_id_compare(event->id, f.last), 0, "%s", f.text);
        } else {
                cr_assert_gt(aip_stream_id_compare(event->id, f.last), 0, "twice, or late: %s",
                             f.text);
        }
        f.last = event->id;
}

static void next_done(struct aip_op *op)
{
        f.n_done++;
        f.code = aip_error_code(op->err);
        aip_error_free(AIP_TAKE(op->err));
        for (size_t i = 0; f.code == 0 && i < f.next.ret_n; i++)
                take(&f.next.ret_events[i]);
        f.n_most = AIP_MAX(f.n_most, f.next.ret_n);
        f.is_over = f.next.ret_is_over;
}

static void ask(int64_t wait_ms)
{
        f.n_done = 0;
        f.next = (struct aip_job_feed_next){.op.done = next_done, .wait_ms = wait_ms};
        aip_job_feed_next(f.feed, &f.next);
        cr_assert_eq(f.n_done, 0, "done within the call");
}

static int next_is_done(void *user)
{
        (void)user;
        return f.n_done > 0;
}

static void await_next(void)
{
        cr_assert(test_loop_wait(&loop, 600, next_is_done, NULL), "never done; so far %s", f.text);
        cr_assert_eq(f.n_done, 1);
}

static void next(int64_t wait_ms)
{
        ask(wait_ms);
        await_next();
}

static void reopen(struct aip_stream_id after)
{
        aip_job_feed_close(f.feed);
        f = (struct follower){.last = after};
        f.feed = aip_job_feed_open(feeds, &job_id, after);
        cr_assert_not_null(f.feed);
}

static void follow_to_the_end(void)
{
        while (!f.is_over) {
                next(60000);
                cr_assert_eq(f.code, 0);
        }
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

static void open_with(int is_streamed, int has_stream)
{
        struct aip_events_options options = {.self_size = sizeof(options)};
        struct aip_job_feeds_options o = {.self_size = sizeof(o), .jobs = {&store_ops, NULL}};
        struct aip_job_spec spec = spec_of("tell me");

        test_loop_open(&loop, 1);
        spec.is_streamed = is_streamed;
        stored = job_of(&spec);
        n_fetched = store_fails = stream_fails = n_reads = 0;
        options.loop = o.loop = loop.port;
        cr_assert_eq(aip_memory_events_new(&options, &handle, NULL), 0);
        stream_ops = *handle.events.ops;
        stream_ops.read = stream_read;
        if (has_stream)
                o.events = (struct aip_event_stream){&stream_ops, handle.events.self};
        cr_assert_eq(aip_job_feeds_new(&o, &feeds, NULL), 0);
        tell_status();
        f = (struct follower){.feed = NULL};
        reopen((struct aip_stream_id){0, 0});
}

static void open_all(void)
{
        open_with(1, 1);
}

static void close_all(void)
{
        aip_job_feed_close(AIP_TAKE(f.feed));
        test_loop_pass_ms(&loop, 60000);
        aip_job_feeds_free(feeds);
        cr_assert_null(watcher);
        aip_job_free(stored);
        cr_assert(test_loop_close_with(&loop, handle.close, handle.self));
        cr_assert_eq(aip_sim_loop_step(loop.sim), 0, "something is left on the loop");
        test_loop_close(&loop);
}

TestSuite(job_feed, .init = open_all, .fini = close_all, .timeout = 60);

/* ── with a stream ───────────────────────────────────────────────────────────────────────────── */

static const char whole[] = "1-0 status, 2-0 status, 2-1 token, 2-2 token, 3-0 status, 3-1 end";

Test(job_feed, a_run_is_told_as_it_happens)
{
        int64_t began_ms = aip_now_ms(loop.port);

        next(0);
        cr_expect_str_eq(f.text, "1-0 status");
        ask(15000);
        test_loop_pass_ms(&loop, 100);
        cr_assert_eq(f.n_done, 0, "nothing has happened");
        start_job();
        tell_status();
        append_tokens(1, 1);
        test_loop_pass_ms(&loop, 0);
        cr_assert_eq(f.n_done, 1, "an event waited");
        ask(15000);
        test_loop_pass_ms(&loop, 0);
        append_tokens(2, 2);
        test_loop_pass_ms(&loop, 0);
        cr_assert_eq(f.n_done, 1, "a token waited");
        cr_assert_eq(aip_now_ms(loop.port) - began_ms, 100);
        complete_job();
        tell_status();
        follow_to_the_end();
        cr_expect_str_eq(f.text, whole);
        next(1000);
        cr_assert(f.code == 0 && f.is_over && f.next.ret_n == 0);
}

Test(job_feed, behind_any_event_comes_the_rest)
{
        static const struct aip_stream_id ids[] = {{1, 0}, {2, 0}, {2, 1}, {2, 2}, {3, 0}, {3, 1}};

        run_job(2);
        for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
                char id[AIP_STREAM_ID_TEXT_BYTES];
                const char *rest = strstr(whole, aip_stream_id_format(ids[i], id));
                cr_assert_not_null(rest);
                rest = strchr(rest, ',');
                reopen(ids[i]);
                follow_to_the_end();
                cr_expect_str_eq(f.text, rest ? rest + 2 : "", "behind %s", id);
        }
}

Test(job_feed, an_id_that_was_made_up_means_the_beginning)
{
        run_job(2);
        reopen((struct aip_stream_id){99, 5});
        f.last = (struct aip_stream_id){0, 0};
        follow_to_the_end();
        cr_expect_str_eq(f.text, whole);
}

Test(job_feed, a_slow_reader_holds_one_answer_and_misses_nothing)
{
        run_job(150);
        while (!f.is_over) {
                next(0);
                test_loop_pass_ms(&loop, 2000);
        }
        cr_expect_eq(f.n_most, (size_t)AIP_STREAM_READ_MAX);
        cr_expect_eq(f.n_events, 154u);
        cr_expect_eq(f.n_gaps, 0u);
}

Test(job_feed, nothing_is_read_for_a_reader_that_does_not_ask)
{
        int before;

        next(0);
        test_loop_pass_ms(&loop, 0);
        before = n_reads + n_fetched;
        run_job(100);
        hint();
        test_loop_pass_ms(&loop, 120000);
        cr_expect_eq(n_reads + n_fetched, before);
        follow_to_the_end();
        cr_expect_eq(f.n_events, 104u);
}

Test(job_feed, a_hole_is_told_where_it_is)
{
        start_job();
        tell_status();
        append_tokens(1, 1);
        append_tokens(4, 4);
        complete_job();
        tell_status();
        follow_to_the_end();
        cr_expect_str_eq(f.text, "1-0 status, 2-0 status, 2-1 token, 2-1 gap, 2-4 token, "
                                 "3-0 status, 3-1 end");
}

/* ── the store, where the stream does not tell ───────────────────────────────────────────────── */

Test(job_feed, a_stream_that_is_late_is_waited_for)
{
        next(0);
        start_job();
        tell_status();
        append_tokens(1, 2);
        next(0);
        ask(60000);
        complete_job();
        hint();
        test_loop_pass_ms(&loop, 250);
        cr_assert_eq(f.n_done, 0, "the stream was not waited for");
        tell_status();
        test_loop_pass_ms(&loop, 0);
        follow_to_the_end();
        cr_expect_str_eq(f.text, whole);
}

Test(job_feed, a_stream_that_stays_silent_is_made_up_for)
{
        next(0);
        start_job();
        tell_status();
        next(0);
        ask(60000);
        complete_job();
        hint();
        test_loop_pass_ms(&loop, 310);
        cr_assert_eq(f.n_done, 1, "it waited too long for the stream");
        cr_expect(f.is_over);
        cr_expect_str_eq(f.text, "1-0 status, 2-0 status, 2-0 gap, 3-0 status, 3-1 end");
}

Test(job_feed, a_lost_hint_costs_seconds_only)
{
        int64_t began_ms;

        next(0);
        start_job();
        tell_status();
        next(0);
        began_ms = aip_now_ms(loop.port);
        ask(60000);
        complete_job();
        await_next();
        cr_expect(f.is_over);
        cr_expect_leq(aip_now_ms(loop.port) - began_ms, 16000);
}

Test(job_feed, a_stream_that_cannot_be_read_is_said_once_and_goes_on)
{
        next(0);
        start_job();
        tell_status();
        append_tokens(1, 1);
        next(0);
        stream_fails = 1;
        append_tokens(2, 2);
        next(60000);
        cr_assert_eq(f.n_gaps, 1u);
        next(3000);
        cr_assert(f.next.ret_n == 0 && f.code == 0, "said again");
        stream_fails = 0;
        complete_job();
        tell_status();
        follow_to_the_end();
        cr_expect_str_eq(f.text, "1-0 status, 2-0 status, 2-1 token, 2-1 gap, 2-2 token, "
                                 "3-0 status, 3-1 end");
}

Test(job_feed, a_store_that_is_away_stops_nobody_who_reads)
{
        next(0);
        start_job();
        tell_status();
        next(0);
        store_fails = 1;
        hint();
        append_tokens(1, 2);
        next(60000);
        cr_assert_eq(f.code, 0);
        complete_job();
        tell_status();
        follow_to_the_end();
        cr_expect_str_eq(f.text, whole);
}

Test(job_feed, a_job_that_cannot_be_looked_up_is_said)
{
        struct aip_id other = {{1}};

        store_fails = 1;
        next(60000);
        cr_expect_eq(f.code, AIP_EUNAVAILABLE);
        store_fails = 0;
        next(0);
        cr_expect_str_eq(f.text, "1-0 status", "it is over with the feed");
        aip_job_feed_close(f.feed);
        f = (struct follower){.feed = aip_job_feed_open(feeds, &other, f.last)};
        next(60000);
        cr_expect_eq(f.code, AIP_ENOTFOUND);
}

static void without_stream(int is_streamed, int has_stream)
{
        close_all();
        open_with(is_streamed, has_stream);
        next(0);
        ask(60000);
        start_job();
        test_loop_pass_ms(&loop, 1000);
        cr_assert_eq(f.n_done, 1, "the store was not looked at");
        ask(60000);
        test_loop_pass_ms(&loop, 0);
        complete_job();
        hint();
        test_loop_pass_ms(&loop, 0);
        cr_assert_eq(f.n_done, 1, "the hint was not heard");
        cr_expect(f.is_over);
        cr_expect_str_eq(f.text, "1-0 status, 2-0 status, 3-0 status, 3-1 end");
        cr_expect_eq(n_reads, 0);
}

Test(job_feed, a_job_that_asked_for_no_stream_tells_its_status)
{
        without_stream(0, 1);
}

Test(job_feed, a_platform_without_stream_tells_the_status)
{
        without_stream(1, 0);
}

/* ── waiting, stopping, closing ──────────────────────────────────────────────────────────────── */

Test(job_feed, waits_as_long_as_it_was_told)
{
        int64_t began_ms;

        next(0);
        began_ms = aip_now_ms(loop.port);
        next(0);
        cr_assert(f.code == 0 && f.next.ret_n == 0);
        cr_expect_eq(aip_now_ms(loop.port), began_ms);
        next(2500);
        cr_assert(f.code == 0 && f.next.ret_n == 0 && !f.is_over);
        cr_expect_eq(aip_now_ms(loop.port) - began_ms, 2500);
}

/* Stopped after so many steps of the loop, wherever it is by then. */
Test(job_feed, stopped_at_any_moment_it_goes_on_with_nothing_missing)
{
        run_job(2);
        for (int n = 0; n < 8; n++) {
                reopen((struct aip_stream_id){0, 0});
                for (int i = 0; i < 3; i++) {
                        ask(60000);
                        for (int step = 0; step < n && f.n_done == 0; step++)
                                aip_sim_loop_step(loop.sim);
                        aip_job_feed_stop(f.feed);
                        await_next();
                        cr_assert(f.code == 0 || f.code == AIP_ECANCELLED);
                }
                follow_to_the_end();
                cr_expect_str_eq(f.text, whole, "%d steps", n);
        }
}

Test(job_feed, closed_at_any_moment_nothing_is_left)
{
        run_job(2);
        for (int n = 0; n < 8; n++) {
                reopen((struct aip_stream_id){0, 0});
                ask(60000);
                for (int step = 0; step < n && f.n_done == 0; step++)
                        aip_sim_loop_step(loop.sim);
                aip_job_feed_stop(f.feed);
                await_next();
                aip_job_feed_close(AIP_TAKE(f.feed)); /* what it looked up or read may still come */
                test_loop_pass_ms(&loop, 10);
        }
}

Test(job_feed, several_readers_of_a_job_do_not_know_of_each_other)
{
        aip_job_feed *others[3];

        for (int i = 0; i < 3; i++)
                others[i] = aip_job_feed_open(feeds, &job_id, f.last);
        aip_job_feed_close(others[1]);
        run_job(2);
        hint();
        follow_to_the_end();
        cr_expect_str_eq(f.text, whole);
        aip_job_feed_close(others[0]);
        aip_job_feed_close(others[2]);
}

/* ── without memory ──────────────────────────────────────────────────────────────────────────── */

/* Follows to the end, asking again after each failure. */
static void follow_through_failures(unsigned long n)
{
        for (int i = 0; !f.is_over; i++) {
                cr_assert_lt(i, 20, "allocation %lu: no end", n);
                next(60000);
                cr_assert(f.code == 0 || f.code == AIP_ENOMEM, "allocation %lu: %d", n, f.code);
        }
}

/* One failure is told to the asker, or by a gap; then all goes on, with nothing twice. */
static void check_without_memory(void (*run)(void))
{
        int has_failed = 1;

        for (unsigned long n = 1; has_failed; n++) {
                close_all();
                open_all();
                run();
                alloc_fail_arm(n);
                follow_through_failures(n);
                has_failed = alloc_fail_disarm();
                cr_assert_eq(f.last.run, ENDED, "allocation %lu", n);
                cr_assert(f.n_gaps > 0 || strcmp(f.text, whole) == 0, "allocation %lu: %s", n,
                          f.text);
                cr_assert(has_failed || n > 3, "it allocates nothing");
        }
}

static void told_run(void)
{
        run_job(2);
}

static void run_with_a_hole(void)
{
        start_job();
        tell_status();
        append_tokens(2, 2);
        complete_job();
        tell_status();
}

static void silent_run(void)
{
        start_job();
        complete_job();
}

Test(job_feed, without_memory_nothing_is_missing_unsaid)
{
        check_without_memory(told_run);
        check_without_memory(run_with_a_hole);
        check_without_memory(silent_run);
}

Test(job_feed, there_is_none_without_memory_for_it)
{
        struct aip_job_feeds_options o = {
                .self_size = sizeof(o), .loop = loop.port, .jobs = {&store_ops, NULL}};
        aip_job_feeds *none = NULL;
        aip_error *err = NULL;

        alloc_fail_arm(1);
        cr_expect_null(aip_job_feed_open(feeds, &job_id, f.last));
        alloc_fail_arm(1);
        cr_expect_eq(aip_job_feeds_new(&o, &none, &err), AIP_ENOMEM);
        alloc_fail_disarm();
        cr_expect_null(none);
        aip_error_free(err);
}
