/* The event stream contract on the one in memory, on both loops, and what only that one promises. */
#include "events_contract.h"

#include "test_loop.h"

#include <criterion/criterion.h>

static const struct events_maker on_virtual_loop = {.is_virtual = 1, .open = aip_memory_events_new};
static const struct events_maker on_real_loop = {.open = aip_memory_events_new};

#define ON_VIRTUAL_LOOP(name)                                                                      \
        Test(events_memory, name, .timeout = 60)                                                   \
        {                                                                                          \
                events_contract_run(&on_virtual_loop, events_contract_##name);                     \
        }
EVENTS_CONTRACT(ON_VIRTUAL_LOOP)

#define ON_REAL_LOOP(name)                                                                         \
        Test(events_memory_uv, name, .timeout = 60)                                                \
        {                                                                                          \
                events_contract_run(&on_real_loop, events_contract_##name);                        \
        }
EVENTS_CONTRACT(ON_REAL_LOOP)

static void ignore(struct aip_op *op)
{
        cr_assert_null(op->err);
}

static size_t count(struct test_loop *loop, struct aip_event_stream events, uint8_t job)
{
        struct aip_stream_read read = {
                .op.done = ignore, .job_id = {{job}}, .max_events = AIP_STREAM_READ_MAX};

        events.ops->read(events.self, &read);
        test_loop_pass_ms(loop, 0);
        free(read.ret_events);
        return read.ret_n;
}

Test(events_memory_bound, jobs_go_when_all_hold_too_much)
{
        static const char data[10000];
        struct test_loop loop;
        struct aip_events_handle handle;

        test_loop_open(&loop, 1);
        const struct aip_events_options options = {
                .self_size = sizeof(options), .loop = loop.port, .max_bytes = 100000};
        cr_assert_eq(aip_memory_events_new(&options, &handle, NULL), 0);
        for (uint8_t job = 0; job < 12; job++) {
                const struct aip_id id = {{job}};
                const struct aip_stream_event event = {
                        {1, 0}, job == 5 ? AIP_STREAM_END : AIP_STREAM_TOKEN, {data, sizeof(data)}};
                cr_assert_eq(handle.events.ops->append(handle.events.self, &id, &event), 0);
        }
        cr_assert_eq(count(&loop, handle.events, 5), 0, "what has ended goes first");
        cr_assert_eq(count(&loop, handle.events, 0), 0);
        cr_assert_eq(count(&loop, handle.events, 11), 1);
        cr_assert_eq(count(&loop, handle.events, 4), 1);
        cr_assert(test_loop_close_with(&loop, handle.close, handle.self));
        test_loop_close(&loop);
}
