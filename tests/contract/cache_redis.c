/* The cache contract on a real Redis, when AIPLAT_TEST_REDIS_URL names one. */
#include "cache_contract.h"
#include "require_env.h"

#include "test_loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

REQUIRE_ENV("AIPLAT_TEST_REDIS_URL");

static int open_with_near_part(const struct aip_cache_options *options,
                               struct aip_cache_handle *ret_cache, aip_error **err)
{
        struct aip_cache_options o = *options;
        o.near_bytes = 1 << 20;
        return aip_redis_cache_new(&o, ret_cache, err);
}

static void run_case(cache_case *run)
{
        struct cache_maker maker = {
                .open = aip_redis_cache_new,
                .url = getenv("AIPLAT_TEST_REDIS_URL"),
        };
        cache_contract_run(&maker, run);
        maker.open = open_with_near_part;
        if (run != cache_contract_entries_end_with_their_time) /* they may stay near for a minute */
                cache_contract_run(&maker, run);
}

#define CASE(name)                                                                                 \
        Test(cache_redis, name, .timeout = 60)                                                     \
        {                                                                                          \
                run_case(cache_contract_##name);                                                   \
        }
CACHE_CONTRACT(CASE)

struct near_get {
        struct aip_cache_get base;
        int is_done;
};

static void near_got(struct aip_op *op)
{
        cr_assert_null(op->err);
        AIP_CONTAINER_OF(op, struct near_get, base.op)->is_done = 1;
}

static int near_is_done(void *user)
{
        return ((struct near_get *)user)->is_done;
}

static int near_hit(struct test_loop *loop, struct aip_cache cache, struct aip_str key)
{
        struct near_get get = {.base = {.op.done = near_got, .key = key}};
        aip_buf_init(&get.base.ret_value, 100);
        cache.ops->get(cache.self, &get.base);
        cr_assert(test_loop_wait(loop, 10, near_is_done, &get));
        aip_buf_deinit(&get.base.ret_value);
        return get.base.ret_is_hit;
}

/* Redis has forgotten it meanwhile, and is not asked. */
Test(cache_redis_near, what_was_read_is_answered_from_here)
{
        struct test_loop loop;
        struct aip_cache_handle handle;
        char key[64];
        test_loop_open(&loop, 0);
        const struct aip_cache_options options = {.self_size = sizeof(options),
                                                  .loop = loop.port,
                                                  .url = getenv("AIPLAT_TEST_REDIS_URL")};
        cr_assert_eq(open_with_near_part(&options, &handle, NULL), 0);
        snprintf(key, sizeof(key), "aiplat-test:near:%d", (int)getpid());
        test_loop_pass_ms(&loop, 500); /* until it is connected */
        handle.cache.ops->put(handle.cache.self, aip_str_of(key), aip_str_of("v"), 1);
        cr_assert(near_hit(&loop, handle.cache, aip_str_of(key)));
        snprintf(key, sizeof(key), "aiplat-test:far:%d", (int)getpid());
        handle.cache.ops->put(handle.cache.self, aip_str_of(key), aip_str_of("v"), 1);
        test_loop_pass_ms(&loop, 1300);
        cr_assert_not(near_hit(&loop, handle.cache, aip_str_of(key)));
        snprintf(key, sizeof(key), "aiplat-test:near:%d", (int)getpid());
        cr_assert(near_hit(&loop, handle.cache, aip_str_of(key)));
        cr_assert(test_loop_close_with(&loop, handle.close, handle.self));
        test_loop_close(&loop);
}
