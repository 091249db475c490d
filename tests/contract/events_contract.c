/* The cases of the event stream contract (see events_contract.h) and what they stand on. */
#include "events_contract.h"

#include "test_loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define WAIT_S 10
#define KEEP_S 1

struct events_fixture {
        struct test_loop loop;
        struct aip_events_handle handle;
        struct aip_event_stream events;
        struct aip_id_source ids;
        struct aip_id job;
};

struct read {
        struct aip_stream_read base;
        int n_done, code;
};

struct watch {
        struct aip_stream_watch base;
        struct events_fixture *f;
        int n_changed, removes_itself;
};

/* ---- what the cases stand on ---- */

static void read_done(struct aip_op *op)
{
        struct read *read = AIP_CONTAINER_OF(op, struct read, base.op);

        read->n_done++;
        read->code = aip_error_code(op->err);
        aip_error_free(op->err);
}

static int read_is_done(void *user)
{
        return ((struct read *)user)->n_done > 0;
}

static void read_start(struct events_fixture *f, struct read *read, struct aip_stream_id after,
                       size_t max)
{
        *read = (struct read){.base = {.op.done = read_done, .job_id = f->job}};
        read->base.after = after;
        read->base.max_events = max;
        f->events.ops->read(f->events.self, &read->base);
        cr_assert_eq(read->n_done, 0, "done must come later");
}

static void read_all(struct events_fixture *f, struct read *read, struct aip_stream_id after,
                     size_t max)
{
        read_start(f, read, after, max);
        cr_assert(test_loop_wait(&f->loop, WAIT_S, read_is_done, read));
        cr_assert_eq(read->n_done, 1);
        cr_assert_eq(read->code, 0);
}

static int append(struct events_fixture *f, int64_t run, int64_t n, enum aip_stream_type type,
                  struct aip_str data)
{
        char copy[100];
        struct aip_stream_event event = {{run, n}, type, data};
        int r;

        if (data.n < sizeof(copy)) {
                memcpy(copy, data.p, data.n);
                event.data.p = copy;
        }
        r = f->events.ops->append(f->events.self, &f->job, &event);
        memset(copy, 'x', sizeof(copy)); /* it must have copied what it needs */
        return r;
}

static void tokens(struct events_fixture *f, int64_t run, int64_t from, int64_t until)
{
        char data[40];

        for (int64_t n = from; n < until; n++) {
                snprintf(data, sizeof(data), "{\"n\":%lld}", (long long)n);
                cr_assert_eq(append(f, run, n, AIP_STREAM_TOKEN, aip_str_of(data)), 0);
        }
}

static void expect_ids(struct events_fixture *f, struct aip_stream_id after, const char *expected)
{
        struct read read;
        char got[400] = "", id[AIP_STREAM_ID_TEXT_BYTES];

        read_all(f, &read, after, AIP_STREAM_READ_MAX);
        for (size_t i = 0; i < read.base.ret_n; i++) {
                strcat(got, i ? " " : "");
                strcat(got, aip_stream_id_format(read.base.ret_events[i].id, id));
        }
        cr_assert_str_eq(got, expected);
        free(read.base.ret_events);
}

static void changed(struct aip_stream_watch *base)
{
        struct watch *watch = AIP_CONTAINER_OF(base, struct watch, base);

        watch->n_changed++;
        if (watch->removes_itself)
                watch->f->events.ops->unwatch(watch->f->events.self, base);
}

static int is_changed(void *user)
{
        return ((struct watch *)user)->n_changed > 0;
}

static void watch_job(struct events_fixture *f, struct watch *watch)
{
        watch->f = f;
        watch->base.job_id = f->job;
        watch->base.changed = changed;
        f->events.ops->watch(f->events.self, &watch->base);
        test_loop_pass_ms(&f->loop, 100); /* until it is known wherever it has to be */
        watch->n_changed = 0;
}

static int ping(struct events_fixture *f)
{
        struct test_op op = {.op.done = test_op_done};
        int code;

        f->events.ops->ping(f->events.self, &op.op);
        cr_assert_eq(op.n_done, 0);
        cr_assert(test_loop_wait(&f->loop, WAIT_S, test_op_is_done, &op));
        code = aip_error_code(op.op.err);
        aip_error_free(op.op.err);
        return code;
}

static void fixture_open(struct events_fixture *f, const struct events_maker *maker)
{
        test_loop_open(&f->loop, maker->is_virtual);
        const struct aip_events_options options = {
                .self_size = sizeof(options),
                .loop = f->loop.port,
                .random = aip_random_system(),
                .url = maker->url,
                .keep_s = KEEP_S,
        };
        cr_assert_eq(maker->open(&options, &f->handle, NULL), 0);
        f->events = f->handle.events;
        aip_id_source_init(&f->ids, aip_random_system());
        f->job = aip_id_next(&f->ids, 1700000000000000);
        for (int i = 0; i < 100 && ping(f) != 0; i++)
                test_loop_pass_ms(&f->loop, 50);
        cr_assert_eq(ping(f), 0);
}

void events_contract_run(const struct events_maker *maker, events_case *run)
{
        struct events_fixture f = {0};

        fixture_open(&f, maker);
        run(&f);
        if (f.handle.close)
                cr_assert(test_loop_close_with(&f.loop, f.handle.close, f.handle.self));
        test_loop_close(&f.loop);
}

static const struct aip_stream_id start = {0, 0};

/* ---- the cases ---- */

void events_contract_what_was_appended_is_read_in_order(struct events_fixture *f)
{
        struct read read;

        expect_ids(f, start, "");
        cr_assert_eq(append(f, 1, 0, AIP_STREAM_STATUS, aip_str_of("{\"status\":\"QUEUED\"}")), 0);
        tokens(f, 2, 0, 3);
        cr_assert_eq(append(f, 3, 1, AIP_STREAM_END, aip_str_of("{}")), 0);
        expect_ids(f, start, "1-0 2-0 2-1 2-2 3-1");
        read_all(f, &read, start, AIP_STREAM_READ_MAX);
        cr_assert_eq(read.base.ret_events[0].type, AIP_STREAM_STATUS);
        cr_assert(aip_str_eq(read.base.ret_events[0].data, aip_str_of("{\"status\":\"QUEUED\"}")));
        cr_assert_eq(read.base.ret_events[2].type, AIP_STREAM_TOKEN);
        cr_assert(aip_str_eq(read.base.ret_events[2].data, aip_str_of("{\"n\":1}")));
        cr_assert_eq(read.base.ret_events[4].type, AIP_STREAM_END);
        free(read.base.ret_events);
}

void events_contract_reading_goes_on_behind_an_id(struct events_fixture *f)
{
        tokens(f, 2, 0, 12);
        tokens(f, 12, 0, 2);
        expect_ids(f, (struct aip_stream_id){2, 9}, "2-10 2-11 12-0 12-1");
        expect_ids(f, (struct aip_stream_id){2, 11}, "12-0 12-1");
        expect_ids(f, (struct aip_stream_id){2, 5000}, "12-0 12-1");
        expect_ids(f, (struct aip_stream_id){11, 7}, "12-0 12-1");
        expect_ids(f, (struct aip_stream_id){12, 1}, "");
        expect_ids(f, (struct aip_stream_id){99, 0}, "");
}

void events_contract_an_answer_has_so_many_events(struct events_fixture *f)
{
        struct aip_stream_id after = start;
        struct read read;
        int64_t n = 0;

        tokens(f, 1, 0, 100);
        do {
                read_all(f, &read, after, 7);
                cr_assert_leq(read.base.ret_n, 7);
                for (size_t i = 0; i < read.base.ret_n; i++)
                        cr_assert_eq(read.base.ret_events[i].id.n, n++);
                if (read.base.ret_n > 0)
                        after = read.base.ret_events[read.base.ret_n - 1].id;
                free(read.base.ret_events);
        } while (read.base.ret_n > 0);
        cr_assert_eq(n, 100);
}

void events_contract_repetitions_and_stale_runs_do_nothing(struct events_fixture *f)
{
        tokens(f, 2, 0, 3);
        tokens(f, 2, 1, 3);
        tokens(f, 4, 0, 1);
        tokens(f, 2, 3, 5);
        tokens(f, 4, 1, 2);
        expect_ids(f, start, "2-0 2-1 2-2 4-0 4-1");
}

void events_contract_data_of_every_kind(struct events_fixture *f)
{
        static char large[AIP_STREAM_EVENT_MAX_BYTES];
        struct read read;

        memset(large, 'v', sizeof(large));
        append(f, 1, 0, AIP_STREAM_CUSTOM, aip_str_of("{\"a\":\"%s %b\\r\\n\\u0000\xc3\xa4\"}"));
        append(f, 1, 1, AIP_STREAM_VALUES, aip_str_make(large, sizeof(large)));
        append(f, 1, 2, AIP_STREAM_UPDATE, aip_str_of("{}"));
        read_all(f, &read, start, 3);
        cr_assert_eq(read.base.ret_n, 3);
        cr_assert(aip_str_eq(read.base.ret_events[0].data,
                             aip_str_of("{\"a\":\"%s %b\\r\\n\\u0000\xc3\xa4\"}")));
        cr_assert(aip_str_eq(read.base.ret_events[1].data, aip_str_make(large, sizeof(large))));
        cr_assert(aip_str_eq(read.base.ret_events[2].data, aip_str_of("{}")));
        free(read.base.ret_events);
}

void events_contract_an_event_too_large_is_refused(struct events_fixture *f)
{
        static char large[AIP_STREAM_EVENT_MAX_BYTES + 1];

        tokens(f, 1, 0, 1);
        cr_assert_eq(append(f, 1, 1, AIP_STREAM_VALUES, aip_str_make(large, sizeof(large))),
                     AIP_ELIMIT);
        expect_ids(f, start, "1-0");
}

void events_contract_watches_are_told_of_their_job(struct events_fixture *f)
{
        struct watch first = {0}, second = {0}, other = {0};
        const struct aip_id mine = f->job;

        watch_job(f, &first);
        watch_job(f, &second);
        f->job = aip_id_next(&f->ids, 1700000000000000);
        watch_job(f, &other);
        first.n_changed = second.n_changed = 0;
        f->job = mine;
        tokens(f, 1, 0, 1);
        cr_assert_eq(first.n_changed, 0, "not within the call");
        cr_assert(test_loop_wait(&f->loop, WAIT_S, is_changed, &first));
        cr_assert(test_loop_wait(&f->loop, WAIT_S, is_changed, &second));
        test_loop_pass_ms(&f->loop, 50);
        cr_assert_eq(other.n_changed, 0);
        first.n_changed = 0;
        tokens(f, 1, 1, 2);
        cr_assert(test_loop_wait(&f->loop, WAIT_S, is_changed, &first));
        f->events.ops->unwatch(f->events.self, &first.base);
        f->events.ops->unwatch(f->events.self, &second.base);
        f->events.ops->unwatch(f->events.self, &other.base);
        first.n_changed = 0;
        tokens(f, 1, 2, 3);
        test_loop_pass_ms(&f->loop, 100);
        cr_assert_eq(first.n_changed, 0);
}

void events_contract_a_watch_may_be_removed_at_any_time(struct events_fixture *f)
{
        struct watch watches[3] = {{.n_changed = 0}};

        for (int i = 0; i < 3; i++)
                watch_job(f, &watches[i]);
        for (int i = 0; i < 3; i++) {
                watches[i].n_changed = 0; /* it may be told for nothing */
                watches[i].removes_itself = i < 2;
        }
        tokens(f, 1, 0, 2);
        f->events.ops->unwatch(f->events.self, &watches[2].base);
        f->events.ops->unwatch(f->events.self, &watches[2].base);
        cr_assert(test_loop_wait(&f->loop, WAIT_S, is_changed, &watches[0]));
        cr_assert(test_loop_wait(&f->loop, WAIT_S, is_changed, &watches[1]));
        tokens(f, 1, 2, 3);
        test_loop_pass_ms(&f->loop, 100);
        cr_assert_eq(watches[0].n_changed, 1);
        cr_assert_eq(watches[1].n_changed, 1);
        cr_assert_eq(watches[2].n_changed, 0);
}

void events_contract_events_expire_after_the_end(struct events_fixture *f)
{
        tokens(f, 1, 0, 2);
        test_loop_pass_ms(&f->loop, 1000 * KEEP_S + 300);
        expect_ids(f, start, "1-0 1-1");
        cr_assert_eq(append(f, 2, 0, AIP_STREAM_END, aip_str_of("{}")), 0);
        expect_ids(f, start, "1-0 1-1 2-0");
        test_loop_pass_ms(&f->loop, 1000 * KEEP_S + 300);
        expect_ids(f, start, "");
}

void events_contract_the_oldest_go_first(struct events_fixture *f)
{
        enum { MANY = AIP_STREAM_EVENTS_MAX + 2000 };
        struct read read;

        tokens(f, 1, 0, MANY);
        read_all(f, &read, start, 1);
        cr_assert_eq(read.base.ret_n, 1);
        cr_assert_gt(read.base.ret_events[0].id.n, 0);
        cr_assert_leq(read.base.ret_events[0].id.n, MANY - AIP_STREAM_EVENTS_MAX);
        free(read.base.ret_events);
        expect_ids(f, (struct aip_stream_id){1, MANY - 2}, "1-11999");
}

void events_contract_close_ends_what_is_in_flight(struct events_fixture *f)
{
        enum { N = 50 };
        static struct read reads[N];

        tokens(f, 1, 0, 1);
        for (int i = 0; i < N; i++)
                read_start(f, &reads[i], start, 1);
        cr_assert(test_loop_close_with(&f->loop, f->handle.close, f->handle.self));
        f->handle.close = NULL;
        test_loop_pass_ms(&f->loop, 100);
        for (int i = 0; i < N; i++) {
                cr_assert_eq(reads[i].n_done, 1);
                cr_assert(reads[i].code == 0 || reads[i].code == AIP_ECANCELLED);
                if (reads[i].code == 0)
                        free(reads[i].base.ret_events);
        }
}
