/*
 * What happens in a run, as events (job_progress.c), read back from the stream in memory on the virtual
 * clock: order and numbers, pieces put together within a turn and never beyond it, bounds, and what is
 * left when there is no memory.
 */
#include "job_progress.h"
#include "alloc_fail.h"
#include "domain_support.h"
#include "test_loop.h"
#include <aiplat/adapters.h>

#define MAX_EVENTS 64

struct told {
        struct aip_stream_id id;
        enum aip_stream_type type;
        aip_value *data;
};

static struct test_loop loop;
static struct aip_events_handle handle;
static struct aip_job_progress *progress;
static struct told told[MAX_EVENTS];
static size_t n_told;

static aip_job *a_job(int is_streamed)
{
        struct aip_job_spec spec = spec_of("tell me");

        spec.is_streamed = is_streamed;
        return job_started(&spec);
}

static void open_all(void)
{
        struct aip_events_options options = {.self_size = sizeof(options)};
        _cleanup_job_ aip_job *job = a_job(1);

        test_loop_open(&loop, 1);
        options.loop = loop.port;
        cr_assert_eq(aip_memory_events_new(&options, &handle, NULL), 0);
        progress = aip_job_progress_new(loop.port, handle.events, job);
        cr_assert_not_null(progress);
}

static void forget(void)
{
        while (n_told > 0)
                aip_value_unref(told[--n_told].data);
}

static void close_all(void)
{
        forget();
        aip_job_progress_free(progress);
        cr_assert(test_loop_close_with(&loop, handle.close, handle.self));
        test_loop_close(&loop);
}

TestSuite(job_progress, .init = open_all, .fini = close_all);

static void take(const struct aip_stream_event *event)
{
        struct told *to = &told[n_told++];

        cr_assert_leq(n_told, (size_t)MAX_EVENTS);
        cr_assert_leq(event->data.n, (size_t)AIP_STREAM_EVENT_MAX_BYTES);
        *to = (struct told){.id = event->id, .type = event->type};
        cr_assert_eq(aip_value_parse(event->data, &to->data, NULL), 0, "no JSON");
}

static void read_done(struct aip_op *op)
{
        cr_assert_null(op->err);
}

/* All that the stream has by the end of this turn; no time passes. */
static void look(void)
{
        struct aip_stream_read read = {.max_events = AIP_STREAM_READ_MAX};

        test_loop_pass_ms(&loop, 0);
        forget();
        do {
                read.op = (struct aip_op){.done = read_done};
                read.job_id = job_id;
                handle.events.ops->read(handle.events.self, &read);
                test_loop_pass_ms(&loop, 0);
                for (size_t i = 0; i < read.ret_n; i++)
                        take(&read.ret_events[i]);
                if (read.ret_n > 0)
                        read.after = read.ret_events[read.ret_n - 1].id;
                free(read.ret_events);
        } while (read.ret_n > 0);
}

static struct aip_str text_of(size_t i, const char *member)
{
        return aip_value_as_string(aip_value_get_cstr(told[i].data, member));
}

static void expect(size_t i, enum aip_stream_type type, const char *member, const char *text)
{
        cr_assert_lt(i, n_told, "only %zu events", n_told);
        cr_expect_eq(told[i].id.n, (int64_t)i, "event %zu has another number", i);
        cr_expect_eq(told[i].type, type, "event %zu: %s", i, aip_stream_type_name(told[i].type));
        cr_expect_eq(aip_value_as_int(aip_value_get_cstr(told[i].data, "attempt"), -1), 1);
        cr_expect(str_is(text_of(i, member), text), "event %zu: %s is not '%s'", i, member, text);
}

static void say(const char *node, enum aip_llm_delta_kind kind, int32_t index, const char *text)
{
        const struct aip_llm_delta delta = {.kind = kind, .index = index, .text = aip_str_of(text)};

        aip_job_progress_delta(progress, node, &delta);
}

static void call_begins(const char *node, int32_t index, const char *id, const char *name)
{
        const struct aip_llm_delta delta = {.kind = AIP_LLM_DELTA_TOOL_CALL_BEGIN,
                                            .index = index,
                                            .tool_call_id = aip_str_of(id),
                                            .tool_name = aip_str_of(name)};

        aip_job_progress_delta(progress, node, &delta);
}

Test(job_progress, only_jobs_that_asked_have_one)
{
        _cleanup_job_ aip_job *silent = a_job(0), *streamed = a_job(1);
        const struct aip_event_stream none = {NULL, NULL};

        cr_assert_null(aip_job_progress_new(loop.port, handle.events, silent));
        cr_assert_null(aip_job_progress_new(loop.port, none, streamed));
        aip_job_progress_free(NULL);
}

Test(job_progress, begins_with_the_status_and_has_the_claimed_version)
{
        _cleanup_job_ aip_job *job = a_job(1);

        say("main", AIP_LLM_DELTA_TEXT, 0, "Hello");
        look();
        cr_assert_eq(n_told, 2u);
        expect(0, AIP_STREAM_STATUS, "status", "PROCESSING");
        expect(1, AIP_STREAM_TOKEN, "text", "Hello");
        expect(1, AIP_STREAM_TOKEN, "node", "main");
        for (size_t i = 0; i < n_told; i++)
                cr_expect_eq(told[i].id.run, aip_job_fields(job)->version);
}

Test(job_progress, pieces_of_a_turn_are_one_event_and_wait_for_no_more)
{
        int64_t began_ms = aip_now_ms(loop.port);

        say("main", AIP_LLM_DELTA_TEXT, 0, "Hel");
        say("main", AIP_LLM_DELTA_TEXT, 0, "lo, ");
        look();
        say("main", AIP_LLM_DELTA_TEXT, 0, "world");
        look();
        cr_assert_eq(n_told, 3u);
        expect(1, AIP_STREAM_TOKEN, "text", "Hello, ");
        expect(2, AIP_STREAM_TOKEN, "text", "world");
        cr_expect_eq(aip_now_ms(loop.port), began_ms, "a token waited");
}

Test(job_progress, pieces_of_different_things_stay_apart_and_in_order)
{
        static const char *const main_node = "main", *const other = "other";

        say(main_node, AIP_LLM_DELTA_REASONING, 0, "hm");
        say(main_node, AIP_LLM_DELTA_TEXT, 0, "a");
        say(other, AIP_LLM_DELTA_TEXT, 0, "b");
        say(main_node, AIP_LLM_DELTA_TEXT, 0, "c");
        call_begins(main_node, 0, "call_1", "search");
        say(main_node, AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS, 0, "{\"q\"");
        say(main_node, AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS, 0, ":1}");
        say(main_node, AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS, 1, "{}");
        say(main_node, AIP_LLM_DELTA_RESTART, 0, "");
        say(main_node, AIP_LLM_DELTA_TEXT, 0, "again");
        look();
        cr_assert_eq(n_told, 10u);
        expect(1, AIP_STREAM_TOKEN, "reasoning", "hm");
        expect(2, AIP_STREAM_TOKEN, "text", "a");
        expect(3, AIP_STREAM_TOKEN, "text", "b");
        expect(3, AIP_STREAM_TOKEN, "node", "other");
        expect(4, AIP_STREAM_TOKEN, "text", "c");
        expect(5, AIP_STREAM_TOOL_CALL, "id", "call_1");
        expect(5, AIP_STREAM_TOOL_CALL, "name", "search");
        expect(6, AIP_STREAM_TOOL_CALL, "arguments", "{\"q\":1}");
        expect(7, AIP_STREAM_TOOL_CALL, "arguments", "{}");
        cr_expect_eq(aip_value_as_int(aip_value_get_cstr(told[7].data, "index"), -1), 1);
        cr_expect_not_null(aip_value_get_cstr(told[8].data, "restart"));
        expect(9, AIP_STREAM_TOKEN, "text", "again");
}

/* Pieces of `n` times `piece` must make it up again, each of them whole characters. */
static void check_long(const char *piece, size_t n)
{
        char *text = repeat(piece, n);
        struct aip_buf joined = AIP_BUF_INIT(SIZE_MAX / 4);

        say("main", AIP_LLM_DELTA_TEXT, 0, "x");
        say("main", AIP_LLM_DELTA_TEXT, 0, text);
        look();
        cr_assert_gt(n_told, 2u);
        for (size_t i = 1; i < n_told; i++) {
                struct aip_str one = text_of(i, "text");
                cr_assert(one.n > 0 && one.n <= 8192);
                cr_assert_geq(aip_str_utf8_length(one), 0, "a character was cut");
                cr_assert_eq(aip_buf_append(&joined, one), 0);
        }
        cr_assert_eq(joined.n, strlen(text) + 1);
        cr_assert(aip_str_eq(aip_str_make(joined.p + 1, joined.n - 1), aip_str_of(text)));
        aip_buf_deinit(&joined);
        free(text);
}

Test(job_progress, long_pieces_are_cut_between_characters)
{
        check_long("\xe2\x82\xac", 10000);
}

Test(job_progress, text_that_grows_when_written_fits_into_an_event)
{
        check_long("\x01", 20000);
}

Test(job_progress, what_is_held_goes_before_other_events_and_at_the_end)
{
        aip_value *members = NULL;

        cr_assert_eq(aip_value_parse(AIP_STR("{\"answer\":\"42\"}"), &members, NULL), 0);
        say("main", AIP_LLM_DELTA_TEXT, 0, "first");
        aip_job_progress_event(progress, AIP_STREAM_VALUES, members);
        aip_job_progress_event(progress, AIP_STREAM_CUSTOM, NULL);
        say("main", AIP_LLM_DELTA_TEXT, 0, "last");
        aip_job_progress_free(AIP_TAKE(progress));
        look();
        cr_assert_eq(n_told, 5u);
        expect(1, AIP_STREAM_TOKEN, "text", "first");
        expect(2, AIP_STREAM_VALUES, "answer", "42");
        cr_expect_eq(told[3].type, AIP_STREAM_CUSTOM);
        expect(4, AIP_STREAM_TOKEN, "text", "last");
        aip_value_unref(members);
}

Test(job_progress, what_is_too_large_says_so)
{
        char *text = repeat("many words ", AIP_STREAM_EVENT_MAX_BYTES / 10);
        aip_value *members = aip_value_object();

        cr_assert_eq(aip_value_object_set_cstr(&members, "all", aip_value_string(aip_str_of(text))),
                     0);
        aip_job_progress_event(progress, AIP_STREAM_VALUES, members);
        look();
        cr_assert_eq(n_told, 2u);
        cr_expect_eq(told[1].type, AIP_STREAM_VALUES);
        cr_expect_eq(aip_value_size(told[1].data), 2u);
        cr_expect_not_null(aip_value_get_cstr(told[1].data, "too_large"));
        aip_value_unref(members);
        free(text);
}

Test(job_progress, an_error_is_told_in_so_many_bytes)
{
        char *text = repeat("\xe2\x82\xac", 5000);
        aip_error *err = NULL;

        aip_error_set(&err, AIP_EUPSTREAM, "%s", text);
        aip_error_set_kind(err, "PROVIDER_ERROR");
        aip_job_progress_error(progress, err);
        look();
        expect(1, AIP_STREAM_ERROR, "error_code", "PROVIDER_ERROR");
        cr_expect_leq(text_of(1, "error").n, 2048u);
        cr_expect_geq(text_of(1, "error").n, 300u);
        cr_expect_geq(aip_str_utf8_length(text_of(1, "error")), 0);
        aip_error_free(err);
        free(text);
}

Test(job_progress, steps_of_a_graph_are_told_by_its_observer)
{
        static const char *const nodes[] = {"a", "b"};
        struct aip_graph_observer o = aip_job_progress_observer(progress);
        _cleanup_(aip_value_unref_p) aip_value *updates = aip_value_object(),
                                               *value = aip_value_int(7);
        aip_error *err = failure(AIP_EUPSTREAM, NULL, 1, 0);

        o.ops->step_started(o.self, 3, nodes, 2);
        o.ops->custom(o.self, "a", "t1", value);
        o.ops->task_ended(o.self, "a", "t1", updates, NULL);
        o.ops->task_ended(o.self, "b", "t2", NULL, NULL); /* asks a question */
        o.ops->task_ended(o.self, "b", "t3", NULL, err);
        o.ops->step_ended(o.self, 3, updates);
        look();
        cr_assert_eq(n_told, 6u);
        cr_expect_eq(told[1].type, AIP_STREAM_STEP_STARTED);
        cr_expect_eq(aip_value_size(aip_value_get_cstr(told[1].data, "nodes")), 2u);
        expect(2, AIP_STREAM_CUSTOM, "task_id", "t1");
        expect(3, AIP_STREAM_UPDATE, "node", "a");
        cr_expect_not_null(aip_value_get_cstr(told[3].data, "updates"));
        expect(4, AIP_STREAM_UPDATE, "error", "the model did not answer");
        cr_expect_eq(told[5].type, AIP_STREAM_STEP_ENDED);
        cr_expect_eq(aip_value_as_int(aip_value_get_cstr(told[5].data, "step"), -1), 3);
        aip_error_free(err);
}

/* ── without memory ──────────────────────────────────────────────────────────────────────────── */

static const aip_value *no_members;

static void one_run(void)
{
        struct aip_graph_observer o = aip_job_progress_observer(progress);
        static const char *const nodes[] = {"main"};

        o.ops->step_started(o.self, 1, nodes, 1);
        say("main", AIP_LLM_DELTA_TEXT, 0, "one");
        test_loop_pass_ms(&loop, 0);
        call_begins("main", 0, "call_1", "search");
        say("main", AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS, 0, "{}");
        test_loop_pass_ms(&loop, 0);
        o.ops->task_ended(o.self, "main", "t1", no_members, NULL);
        o.ops->step_ended(o.self, 1, NULL);
}

/* Whatever allocation fails, what is missing has left its number behind, and nothing else suffers. */
Test(job_progress, without_memory_an_event_is_lost_and_leaves_a_hole)
{
        static const enum aip_stream_type types[] = {AIP_STREAM_STATUS,    AIP_STREAM_STEP_STARTED,
                                                     AIP_STREAM_TOKEN,     AIP_STREAM_TOOL_CALL,
                                                     AIP_STREAM_TOOL_CALL, AIP_STREAM_UPDATE,
                                                     AIP_STREAM_STEP_ENDED};
        _cleanup_(aip_value_unref_p) aip_value *updates = aip_value_object();
        int has_failed = 1, n_holes = 0;

        no_members = updates;
        close_all();
        for (unsigned long n = 1; has_failed; n++) {
                open_all();
                alloc_fail_arm(n);
                one_run();
                has_failed = alloc_fail_disarm();
                aip_job_progress_event(progress, AIP_STREAM_CUSTOM, NULL);
                look();
                cr_assert(n_told == 8 || (has_failed && n_told == 7), "allocation %lu: %zu", n,
                          n_told);
                n_holes += n_told == 7;
                cr_assert_eq(told[n_told - 1].id.n, 7, "allocation %lu", n);
                for (size_t i = 0; i + 1 < n_told; i++)
                        cr_assert_eq(told[i].type, types[told[i].id.n], "allocation %lu", n);
                close_all();
        }
        cr_assert_gt(n_holes, 10);
        open_all();
}

static void make_one_without(unsigned long n)
{
        _cleanup_job_ aip_job *job = a_job(1);
        struct aip_job_progress *one;

        alloc_fail_arm(n);
        one = aip_job_progress_new(loop.port, handle.events, job);
        alloc_fail_disarm();
        cr_assert((one != NULL) == (n > 1), "allocation %lu", n);
        aip_job_progress_free(one);
}

Test(job_progress, there_is_none_without_memory_for_it)
{
        for (unsigned long n = 1; n < 6; n++)
                make_one_without(n);
}
