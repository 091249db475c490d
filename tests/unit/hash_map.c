/* The hash map, against a plain array that does the same. */
#include "hash_map.h"
#include "alloc_fail.h"
#include "macros.h"
#include <aiplat/loops.h>
#include <criterion/criterion.h>
#include <stdio.h>

#define N_KEYS 2000

static struct aip_str key_of(int i, char text[64])
{
        /* both sides of the 16 bytes that are kept in place */
        snprintf(text, 64, i % 2 ? "k%d" : "a rather longer key number %d", i);
        return aip_str_of(text);
}

Test(hash_map, zeroed_memory_is_an_empty_map)
{
        struct aip_hash_map map = {0};
        size_t cursor = 0;
        cr_assert_null(aip_hash_map_get(&map, AIP_STR("a")));
        cr_assert_null(aip_hash_map_remove(&map, AIP_STR("a")));
        cr_assert_null(aip_hash_map_next(&map, &cursor, NULL));
        aip_hash_map_deinit(&map);
        aip_hash_map_deinit(NULL);
}

Test(hash_map, keys_of_any_length_and_byte)
{
        struct aip_hash_map map = {0};
        char bytes[40];
        int values[40];
        memset(bytes, 0, sizeof(bytes));
        for (size_t n = 0; n < 40; n++)
                cr_assert_eq(aip_hash_map_set(&map, aip_str_make(bytes, n), &values[n], NULL), 0);
        for (size_t n = 0; n < 40; n++)
                cr_assert_eq(aip_hash_map_get(&map, aip_str_make(bytes, n)), &values[n]);
        cr_assert_eq(map.n, 40u);
        aip_hash_map_deinit(&map);
}

Test(hash_map, setting_again_replaces_and_tells)
{
        struct aip_hash_map map = {0};
        int a, b;
        void *previous = &b;
        cr_assert_eq(aip_hash_map_set(&map, AIP_STR("k"), &a, &previous), 0);
        cr_assert_null(previous);
        cr_assert_eq(aip_hash_map_set(&map, AIP_STR("k"), &b, &previous), 0);
        cr_assert_eq(previous, &a);
        cr_assert_eq(map.n, 1u);
        aip_hash_map_deinit(&map);
}

static void assert_agrees(const struct aip_hash_map *map, int *const *expected)
{
        size_t n = 0;
        char text[64];
        for (int i = 0; i < N_KEYS; i++) {
                cr_assert_eq(aip_hash_map_get(map, key_of(i, text)), expected[i]);
                n += expected[i] != NULL;
        }
        cr_assert_eq(map->n, n);
}

Test(hash_map, agrees_with_an_array_over_random_changes)
{
        static int values[N_KEYS];
        static int *expected[N_KEYS];
        struct aip_seeded_random generator;
        struct aip_random random = aip_random_seeded(&generator, 1);
        struct aip_hash_map map = {0};
        char text[64];
        for (int step = 0; step < 100000; step++) {
                uint64_t r = aip_random_u64(random);
                int i = (int)(r % N_KEYS);
                void *previous = NULL;
                if (r >> 32 & 1)
                        cr_assert_eq(aip_hash_map_set(&map, key_of(i, text), &values[i], &previous),
                                     0);
                else
                        previous = aip_hash_map_remove(&map, key_of(i, text));
                cr_assert_eq(previous, expected[i]);
                expected[i] = r >> 32 & 1 ? &values[i] : NULL;
                if (step % 9973 == 0)
                        assert_agrees(&map, expected);
        }
        assert_agrees(&map, expected);
        aip_hash_map_deinit(&map);
}

Test(hash_map, a_map_that_is_filled_and_emptied_does_not_grow)
{
        struct aip_hash_map map = {0};
        int value;
        char text[64];
        for (int i = 0; i < 100000; i++) {
                cr_assert_eq(aip_hash_map_set(&map, key_of(i, text), &value, NULL), 0);
                if (i >= 10)
                        cr_assert_eq(aip_hash_map_remove(&map, key_of(i - 10, text)), &value);
        }
        cr_assert_leq(map.slots_capacity, 64u);
        aip_hash_map_deinit(&map);
}

Test(hash_map, walks_in_insertion_order_and_may_remove_what_it_is_given)
{
        struct aip_hash_map map = {0};
        int values[100];
        char text[64];
        for (int i = 0; i < 100; i++)
                cr_assert_eq(aip_hash_map_set(&map, key_of(i, text), &values[i], NULL), 0);
        size_t cursor = 0;
        struct aip_str key;
        for (int i = 0; i < 100; i++) {
                cr_assert_eq(aip_hash_map_next(&map, &cursor, &key), &values[i]);
                cr_assert(aip_str_eq(key, key_of(i, text)));
                if (i % 3)
                        aip_hash_map_remove(&map, key_of(i, text));
        }
        cr_assert_null(aip_hash_map_next(&map, &cursor, NULL));
        cr_assert_eq(map.n, 34u);
        aip_hash_map_deinit(&map);
}

Test(hash_map, ids_are_keys)
{
        struct aip_hash_map map = {0};
        struct aip_seeded_random generator;
        struct aip_id_source source;
        static struct aip_id ids[1000];
        aip_id_source_init(&source, aip_random_seeded(&generator, 3));
        for (int i = 0; i < 1000; i++) {
                ids[i] = aip_id_next(&source, 1000000 * (int64_t)i);
                cr_assert_eq(aip_hash_map_set_id(&map, &ids[i], &ids[i], NULL), 0);
        }
        for (int i = 0; i < 1000; i++)
                cr_assert_eq(aip_hash_map_get_id(&map, &ids[i]), &ids[i]);
        for (int i = 0; i < 1000; i += 2)
                cr_assert_eq(aip_hash_map_remove_id(&map, &ids[i]), &ids[i]);
        for (int i = 0; i < 1000; i++)
                cr_assert_eq(aip_hash_map_get_id(&map, &ids[i]), i % 2 ? &ids[i] : NULL);
        aip_hash_map_deinit(&map);
}

static int fill(void *user, aip_error **err)
{
        (void)err;
        struct aip_hash_map map = {0};
        char text[64];
        int r = 0;
        size_t n = 0;
        for (int i = 0; i < 50 && r == 0; i++) {
                r = aip_hash_map_set(&map, key_of(i, text), user, NULL);
                n += r == 0;
        }
        cr_assert_eq(map.n, n);
        for (size_t i = 0; i < n; i++)
                cr_assert_eq(aip_hash_map_get(&map, key_of((int)i, text)), user);
        aip_hash_map_deinit(&map);
        return r;
}

Test(hash_map, survives_allocation_failure)
{
        int value;
        ASSERT_SURVIVES_ALLOC_FAILURE(fill, &value);
}
