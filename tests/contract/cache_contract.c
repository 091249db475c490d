/* The cases of the cache contract (see cache_contract.h) and what they stand on. */
#include "cache_contract.h"

#include "test_loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S    10
#define TTL_S     60
#define MAX_BYTES ((size_t)4 << 20)

struct cache_fixture {
        struct test_loop loop;
        struct aip_cache_handle handle;
        struct aip_cache cache;
        char prefix[64];
};

struct get {
        struct aip_cache_get base;
        int n_done, code;
        char key[128];
};

/* ---- what the cases stand on ---- */

static void get_done(struct aip_op *op)
{
        struct get *get = AIP_CONTAINER_OF(op, struct get, base.op);
        get->n_done++;
        get->code = aip_error_code(op->err);
        aip_error_free(op->err);
}

static int get_is_done(void *user)
{
        return ((struct get *)user)->n_done > 0;
}

static void make_key(struct cache_fixture *f, const char *key, char ret_key[128])
{
        snprintf(ret_key, 128, "%s%s", f->prefix, key);
}

static void get_start(struct cache_fixture *f, struct get *get, const char *key, size_t max_bytes)
{
        *get = (struct get){.base = {.op.done = get_done, .ret_is_hit = -1}};
        make_key(f, key, get->key);
        get->base.key = aip_str_of(get->key);
        aip_buf_init(&get->base.ret_value, max_bytes);
        f->cache.ops->get(f->cache.self, &get->base);
        cr_assert_eq(get->n_done, 0, "done must come later");
}

static void get_wait(struct cache_fixture *f, struct get *get)
{
        cr_assert(test_loop_wait(&f->loop, WAIT_S, get_is_done, get));
        cr_assert_eq(get->n_done, 1);
}

static void put(struct cache_fixture *f, const char *key, struct aip_str value, int32_t ttl_s)
{
        char whole[128];
        make_key(f, key, whole);
        f->cache.ops->put(f->cache.self, aip_str_of(whole), value, ttl_s);
        memset(whole, 'x', sizeof(whole)); /* it must have copied what it needs */
}

static void expect_hit(struct cache_fixture *f, const char *key, struct aip_str value)
{
        struct get get;
        get_start(f, &get, key, MAX_BYTES);
        get_wait(f, &get);
        cr_assert_eq(get.code, 0);
        cr_assert_eq(get.base.ret_is_hit, 1, "%s", key);
        cr_assert(aip_str_eq(aip_buf_str(&get.base.ret_value), value));
        aip_buf_deinit(&get.base.ret_value);
}

static int is_miss(struct cache_fixture *f, const char *key)
{
        struct get get;
        get_start(f, &get, key, MAX_BYTES);
        get_wait(f, &get);
        cr_assert_eq(get.code, 0);
        int is_hit = get.base.ret_is_hit;
        cr_assert(is_hit == 0 || is_hit == 1);
        aip_buf_deinit(&get.base.ret_value);
        return !is_hit;
}

static int ping(struct cache_fixture *f)
{
        struct test_op op = {.op.done = test_op_done};
        f->cache.ops->ping(f->cache.self, &op.op);
        cr_assert_eq(op.n_done, 0);
        cr_assert(test_loop_wait(&f->loop, WAIT_S, test_op_is_done, &op));
        int code = aip_error_code(op.op.err);
        aip_error_free(op.op.err);
        return code;
}

static void fixture_open(struct cache_fixture *f, const struct cache_maker *maker)
{
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(f->prefix, sizeof(f->prefix), "test-%d-%ld-", getpid(), now.tv_nsec);
        test_loop_open(&f->loop, maker->is_virtual);
        const struct aip_cache_options options = {
                .self_size = sizeof(options),
                .loop = f->loop.port,
                .random = aip_random_system(),
                .url = maker->url,
                .max_bytes = 4 * MAX_BYTES,
        };
        cr_assert_eq(maker->open(&options, &f->handle, NULL), 0);
        f->cache = f->handle.cache;
        for (int i = 0; i < 100 && ping(f) != 0; i++)
                test_loop_pass_ms(&f->loop, 50);
        cr_assert_eq(ping(f), 0);
}

void cache_contract_run(const struct cache_maker *maker, cache_case *run)
{
        struct cache_fixture f = {0};
        fixture_open(&f, maker);
        run(&f);
        if (f.handle.close)
                cr_assert(test_loop_close_with(&f.loop, f.handle.close, f.handle.self));
        test_loop_close(&f.loop);
}

/* ---- the cases ---- */

void cache_contract_what_was_put_is_got(struct cache_fixture *f)
{
        cr_assert(is_miss(f, "a"));
        put(f, "a", aip_str_of("one"), TTL_S);
        put(f, "a key that is longer than sixteen bytes", aip_str_of("two"), TTL_S);
        expect_hit(f, "a", aip_str_of("one"));
        expect_hit(f, "a", aip_str_of("one"));
        expect_hit(f, "a key that is longer than sixteen bytes", aip_str_of("two"));
        cr_assert(is_miss(f, "b"));
}

void cache_contract_the_last_value_counts(struct cache_fixture *f)
{
        put(f, "a", aip_str_of("one"), TTL_S);
        put(f, "a", aip_str_of("a longer one"), TTL_S);
        expect_hit(f, "a", aip_str_of("a longer one"));
}

void cache_contract_values_of_every_kind(struct cache_fixture *f)
{
        static char large[2 << 20];
        memset(large, 'v', sizeof(large));
        put(f, "empty", aip_str_of(""), TTL_S);
        put(f, "binary", aip_str_make("a\0b\r\n\xff", 6), TTL_S);
        put(f, "large", aip_str_make(large, sizeof(large)), TTL_S);
        put(f, "format %s %b %d", aip_str_of("%s"), TTL_S);
        expect_hit(f, "empty", aip_str_of(""));
        expect_hit(f, "binary", aip_str_make("a\0b\r\n\xff", 6));
        expect_hit(f, "large", aip_str_make(large, sizeof(large)));
        expect_hit(f, "format %s %b %d", aip_str_of("%s"));
}

void cache_contract_entries_end_with_their_time(struct cache_fixture *f)
{
        put(f, "short", aip_str_of("1"), 1);
        put(f, "long", aip_str_of("2"), TTL_S);
        expect_hit(f, "short", aip_str_of("1"));
        test_loop_pass_ms(&f->loop, 1200);
        cr_assert(is_miss(f, "short"));
        expect_hit(f, "long", aip_str_of("2"));
}

void cache_contract_a_value_too_large_for_the_caller(struct cache_fixture *f)
{
        struct get get;
        put(f, "a", aip_str_of("0123456789"), TTL_S);
        get_start(f, &get, "a", 5);
        get_wait(f, &get);
        cr_assert_eq(get.code, AIP_ELIMIT);
        cr_assert_eq(get.base.ret_is_hit, -1, "untouched on failure");
        aip_buf_deinit(&get.base.ret_value);
        expect_hit(f, "a", aip_str_of("0123456789"));
}

void cache_contract_many_at_once(struct cache_fixture *f)
{
        enum { N = 400 };
        static struct get gets[N];
        char key[16];
        for (int i = 0; i < N; i++) {
                snprintf(key, sizeof(key), "%d", i);
                put(f, key, aip_str_of(key), TTL_S);
        }
        for (int i = 0; i < N; i++) {
                snprintf(key, sizeof(key), "%d", i);
                get_start(f, &gets[i], key, MAX_BYTES);
        }
        for (int i = 0; i < N; i++) {
                get_wait(f, &gets[i]);
                snprintf(key, sizeof(key), "%d", i);
                cr_assert_eq(gets[i].base.ret_is_hit, 1);
                cr_assert(aip_str_eq(aip_buf_str(&gets[i].base.ret_value), aip_str_of(key)));
                aip_buf_deinit(&gets[i].base.ret_value);
        }
}

void cache_contract_close_ends_what_is_in_flight(struct cache_fixture *f)
{
        enum { N = 50 };
        static struct get gets[N];
        for (int i = 0; i < N; i++)
                get_start(f, &gets[i], "a", MAX_BYTES);
        cr_assert(test_loop_close_with(&f->loop, f->handle.close, f->handle.self));
        f->handle.close = NULL;
        test_loop_pass_ms(&f->loop, 100);
        for (int i = 0; i < N; i++) {
                cr_assert_eq(gets[i].n_done, 1);
                cr_assert(gets[i].code == 0 || gets[i].code == AIP_ECANCELLED);
        }
}
