/* Ids: version 7 layout, order, text form. */
#include "macros.h"
#include <aiplat/id.h>
#include <aiplat/loops.h>
#include <criterion/criterion.h>

static struct aip_id_source new_source(struct aip_seeded_random *generator)
{
        struct aip_id_source source;
        aip_id_source_init(&source, aip_random_seeded(generator, 42));
        return source;
}

Test(id, has_the_bits_of_rfc_9562)
{
        struct aip_seeded_random generator;
        struct aip_id_source source = new_source(&generator);
        /* the time of the RFC's own example: 2022-02-22 14:22:22 -05:00 */
        struct aip_id id = aip_id_next(&source, 0x017f22e279b0 * INT64_C(1000) + 999);
        char text[AIP_ID_TEXT_BYTES];
        aip_id_format(&id, text);
        cr_assert_eq(strncmp(text, "017f22e2-79b0-7", 15), 0, "%s", text);
        cr_assert(strchr("89ab", text[19]), "%s", text);
        cr_assert_eq(aip_id_time_us(&id), 0x017f22e279b0 * INT64_C(1000));
}

static void assert_increasing(struct aip_id_source *source, const int64_t *times_us, size_t n)
{
        struct aip_id last = aip_id_next(source, 0);
        for (size_t i = 0; i < n; i++) {
                struct aip_id id = aip_id_next(source, times_us[i]);
                cr_assert_lt(aip_id_compare(&last, &id), 0, "step %zu", i);
                last = id;
        }
}

Test(id, increases_though_the_clock_stands_still_or_steps_back)
{
        static int64_t times_us[30000];
        for (size_t i = 0; i < 10000; i++) {
                times_us[i] = 5000000;                            /* more than a counter holds */
                times_us[10000 + i] = 5000000 + (int64_t)i * 300; /* runs */
                times_us[20000 + i] = 4000000 - (int64_t)i * 100; /* steps back */
        }
        struct aip_seeded_random generator;
        struct aip_id_source source = new_source(&generator);
        assert_increasing(&source, times_us, AIP_ARRAY_SIZE(times_us));
}

Test(id, a_clock_that_stands_still_costs_little_time)
{
        struct aip_seeded_random generator;
        struct aip_id_source source = new_source(&generator);
        struct aip_id id = {{0}};
        for (int i = 0; i < 100000; i++)
                id = aip_id_next(&source, 1000);
        /* at least 2049 ids a millisecond */
        cr_assert_leq(aip_id_time_us(&id), 1000 + 100000 / 2049 * 1000 + 1000);
}

Test(id, system_ids_differ)
{
        struct aip_id_source a, b;
        aip_id_source_init(&a, aip_random_system());
        aip_id_source_init(&b, aip_random_system());
        struct aip_id x = aip_id_next(&a, 1000), y = aip_id_next(&b, 1000);
        cr_assert_not(aip_id_equal(&x, &y));
}

Test(id, text_goes_round)
{
        static const char text[] = "017F22e2-79b0-7cc3-98c4-dc0c0c07398f";
        struct aip_id id, again;
        char out[AIP_ID_TEXT_BYTES];
        cr_assert_eq(aip_id_parse(aip_str_of(text), &id, NULL), 0);
        cr_assert_str_eq(aip_id_format(&id, out), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        cr_assert_eq(aip_id_parse(aip_str_of(out), &again, NULL), 0);
        cr_assert(aip_id_equal(&id, &again));
        cr_assert_eq(aip_id_hash(&id), aip_id_hash(&again));
        cr_assert_eq(aip_id_time_us(&id), 1645557742000 * INT64_C(1000));
}

Test(id, refuses_other_text)
{
        static const struct aip_str texts[] = {
                {NULL, 0},
                {"", 0},
                {"017f22e2-79b0-7cc3-98c4-dc0c0c07398", 35},
                {"017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", 37},
                {"017f22e279b0-7cc3-98c4-dc0c0c07398f00", 37},
                {"017f22e2-79b0-7cc3-98c4-dc0c0c07398g", 36},
                {"017f22e2+79b0-7cc3-98c4-dc0c0c07398f", 36},
                {"017f22e27-9b0-7cc3-98c4-dc0c0c07398f", 36},
                {"{17f22e2-79b0-7cc3-98c4-dc0c0c07398}", 36},
                {"017f22e2-79b0-7cc3-98c4-dc0c0c0739\0f", 36},
                {"\xc3\xa9", 2},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(texts); i++) {
                struct aip_id id = {{7}};
                aip_error *err = NULL;
                cr_assert_eq(aip_id_parse(texts[i], &id, &err), AIP_EINVAL, "row %zu", i);
                cr_assert_eq(id.bytes[0], 7);
                cr_assert_eq(aip_error_code(err), AIP_EINVAL);
                aip_error_free(err);
        }
}

Test(id, nil_and_other_versions)
{
        struct aip_id nil = {{0}}, v4;
        cr_assert(aip_id_is_nil(&nil));
        cr_assert_eq(aip_id_time_us(&nil), 0);
        aip_id_parse(AIP_STR("919108f7-52d1-4320-9bac-f847db4148a8"), &v4, NULL);
        cr_assert_not(aip_id_is_nil(&v4));
        cr_assert_eq(aip_id_time_us(&v4), 0);
        cr_assert_lt(aip_id_compare(&nil, &v4), 0);
        cr_assert_gt(aip_id_compare(&v4, &nil), 0);
}
