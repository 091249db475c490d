/* The cache contract on the in-memory cache, on both loops, and what only that cache promises. */
#include "cache_contract.h"

#include "test_loop.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const struct cache_maker on_virtual_loop = {.is_virtual = 1, .open = aip_memory_cache_new};
static const struct cache_maker on_real_loop = {.open = aip_memory_cache_new};

#define ON_VIRTUAL_LOOP(name)                                                                      \
        Test(cache_memory, name, .timeout = 60)                                                    \
        {                                                                                          \
                cache_contract_run(&on_virtual_loop, cache_contract_##name);                       \
        }
CACHE_CONTRACT(ON_VIRTUAL_LOOP)

#define ON_REAL_LOOP(name)                                                                         \
        Test(cache_memory_uv, name, .timeout = 60)                                                 \
        {                                                                                          \
                cache_contract_run(&on_real_loop, cache_contract_##name);                          \
        }
CACHE_CONTRACT(ON_REAL_LOOP)

/* 1 or 0: hit or miss. The virtual loop answers within the turn that is run. */
static void ignore(struct aip_op *op)
{
        cr_assert_null(op->err);
}

static int is_hit(struct test_loop *loop, struct aip_cache cache, int number)
{
        char key[16];
        snprintf(key, sizeof(key), "%d", number);
        struct aip_cache_get get = {.op.done = ignore, .key = aip_str_of(key), .ret_is_hit = -1};
        aip_buf_init(&get.ret_value, 100000);
        cache.ops->get(cache.self, &get);
        test_loop_pass_ms(loop, 0);
        aip_buf_deinit(&get.ret_value);
        return get.ret_is_hit;
}

static void put(struct aip_cache cache, int number, size_t bytes)
{
        static const char value[100000];
        char key[16];
        snprintf(key, sizeof(key), "%d", number);
        cache.ops->put(cache.self, aip_str_of(key), aip_str_make(value, bytes), 60);
}

Test(cache_memory_bound, least_recently_used_go_first)
{
        struct test_loop loop;
        struct aip_cache_handle handle;
        test_loop_open(&loop, 1);
        const struct aip_cache_options options = {
                .self_size = sizeof(options), .loop = loop.port, .max_bytes = 100000};
        cr_assert_eq(aip_memory_cache_new(&options, &handle, NULL), 0);
        for (int i = 0; i < 9; i++) /* about 10,000 bytes each with what goes along with them */
                put(handle.cache, i, 9800);
        cr_assert(is_hit(&loop, handle.cache, 0)); /* used now: 1 is the oldest */
        put(handle.cache, 9, 9800);
        put(handle.cache, 10, 9800);
        cr_assert(is_hit(&loop, handle.cache, 0));
        cr_assert_not(is_hit(&loop, handle.cache, 1));
        cr_assert(is_hit(&loop, handle.cache, 3));
        cr_assert(is_hit(&loop, handle.cache, 10));
        put(handle.cache, 0, 30000); /* more than a quarter: not kept, and the old value goes */
        cr_assert_not(is_hit(&loop, handle.cache, 0));
        cr_assert(is_hit(&loop, handle.cache, 10));
        for (int i = 0; i < 100000; i++)
                put(handle.cache, i, 10);
        cr_assert_not(is_hit(&loop, handle.cache, 98000));
        cr_assert(is_hit(&loop, handle.cache, 99999));
        cr_assert(test_loop_close_with(&loop, handle.close, handle.self));
        test_loop_close(&loop);
}
