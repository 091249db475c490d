/* Values: reading, changing in place and by copy, sharing, equality, freeing deep trees. */
#include "alloc_fail.h"
#include "macros.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

Test(value, readers_answer_the_fallback_for_other_types)
{
        static const enum aip_value_type types[] = {
                AIP_VALUE_NULL,   AIP_VALUE_BOOL, AIP_VALUE_INT,    AIP_VALUE_DOUBLE,
                AIP_VALUE_STRING, AIP_VALUE_LIST, AIP_VALUE_OBJECT,
        };
        aip_value *values[] = {
                aip_value_null(),
                aip_value_bool(1),
                aip_value_int(5),
                aip_value_double(2.5),
                aip_value_string(AIP_STR("s")),
                aip_value_list(),
                aip_value_object(),
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(values); i++) {
                const aip_value *v = values[i];
                cr_assert_eq(aip_value_type(v), types[i]);
                cr_assert_eq(aip_value_as_bool(v, 7), types[i] == AIP_VALUE_BOOL ? 1 : 7);
                cr_assert_eq(aip_value_as_int(v, 7), types[i] == AIP_VALUE_INT ? 5 : 7);
                cr_assert_eq(aip_value_as_string(v).p != NULL, types[i] == AIP_VALUE_STRING);
                cr_assert_eq(aip_value_size(v), 0u);
                cr_assert_null(aip_value_at(v, 0));
                cr_assert_null(aip_value_get_cstr(v, "a"));
                cr_assert_null(aip_value_member(v, 0, NULL));
        }
        cr_assert_eq(aip_value_as_double(values[2], 0), 5.0);
        cr_assert_eq(aip_value_as_double(values[3], 0), 2.5);
        cr_assert_eq(aip_value_as_double(values[4], 9), 9.0);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(values); i++)
                aip_value_unref(values[i]);
}

Test(value, null_pointers_read_as_null)
{
        cr_assert_eq(aip_value_type(NULL), AIP_VALUE_NULL);
        cr_assert_eq(aip_value_as_int(NULL, 3), 3);
        cr_assert_null(aip_value_get_cstr(NULL, "a"));
        cr_assert_null(aip_value_ref(NULL));
        cr_assert(aip_value_equal(NULL, aip_value_null()));
        aip_value_unref(NULL);
}

Test(value, integers_are_read_from_integral_doubles_in_range)
{
        static const struct {
                double d;
                int64_t i;
        } table[] = {
                {3.0, 3},
                {-3.0, -3},
                {-0.0, 0},
                {3.5, 99},
                {-0x1p63, INT64_MIN},
                {0x1p63, 99},
                {-0x1.0000000000001p63, 99},
                {0x1.fffffffffffffp62, 0x7ffffffffffffc00},
                {1e300, 99},
                {(double)INFINITY, 99},
                {(double)NAN, 99},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                _cleanup_(aip_value_unref_p) aip_value *v = aip_value_double(table[i].d);
                cr_assert_eq(aip_value_as_int(v, 99), table[i].i, "row %zu", i);
        }
}

Test(value, strings_may_hold_any_byte)
{
        aip_value *v = aip_value_string(aip_str_make("a\0b", 3));
        cr_assert(aip_str_eq(aip_value_as_string(v), aip_str_make("a\0b", 3)));
        cr_assert_eq(aip_value_as_string(v).p[3], '\0');
        aip_value_unref(v);
}

Test(value, lists_append_in_place_when_nobody_else_holds_them)
{
        aip_value *list = aip_value_list();
        const aip_value *before = list;
        for (int i = 0; i < 1000; i++)
                cr_assert_eq(aip_value_list_append(&list, aip_value_int(i)), 0);
        cr_assert_eq(list, before);
        for (size_t i = 0; i < 1000; i++)
                cr_assert_eq(aip_value_as_int(aip_value_at(list, i), -1), (int64_t)i);
        cr_assert_null(aip_value_at(list, 1000));
        aip_value_unref(list);
}

Test(value, a_shared_list_is_copied_before_a_change)
{
        aip_value *list = aip_value_list();
        cr_assert_eq(aip_value_list_append(&list, aip_value_int(1)), 0);
        aip_value *other = aip_value_ref(list);
        cr_assert_eq(aip_value_list_append(&list, aip_value_int(2)), 0);
        cr_assert_neq(list, other);
        cr_assert_eq(aip_value_size(list), 2u);
        cr_assert_eq(aip_value_size(other), 1u);
        cr_assert_eq(aip_value_at(list, 0), aip_value_at(other, 0), "children are shared");
        aip_value_unref(list);
        aip_value_unref(other);
}

Test(value, a_list_may_be_appended_to_itself)
{
        aip_value *list = aip_value_list();
        cr_assert_eq(aip_value_list_append(&list, aip_value_int(1)), 0);
        cr_assert_eq(aip_value_list_append(&list, aip_value_ref(list)), 0);
        cr_assert_eq(aip_value_size(list), 2u);
        cr_assert_eq(aip_value_size(aip_value_at(list, 1)), 1u);
        aip_value_unref(list);
}

Test(value, a_missing_child_is_out_of_memory)
{
        aip_value *list = aip_value_list(), *object = aip_value_object();
        cr_assert_eq(aip_value_list_append(&list, NULL), AIP_ENOMEM);
        cr_assert_eq(aip_value_object_set_cstr(&object, "a", NULL), AIP_ENOMEM);
        cr_assert_eq(aip_value_size(list) + aip_value_size(object), 0u);
        aip_value_unref(list);
        aip_value_unref(object);
}

static const char *name_of(int i, char text[16])
{
        snprintf(text, 16, "m%d", i);
        return text;
}

static aip_value *object_of(int n)
{
        char text[16];
        aip_value *object = aip_value_object();
        for (int i = 0; i < n; i++)
                cr_assert_eq(aip_value_object_set_cstr(&object, name_of(i, text), aip_value_int(i)),
                             0);
        return object;
}

static const int sizes[] = {0, 1, 2, 15, 16, 17, 18, 31, 32, 33, 64, 65, 1000};

Test(value, objects_of_every_size_find_their_members_in_order)
{
        char text[16];
        for (size_t s = 0; s < AIP_ARRAY_SIZE(sizes); s++) {
                aip_value *object = object_of(sizes[s]);
                cr_assert_eq(aip_value_size(object), (size_t)sizes[s]);
                for (int i = 0; i < sizes[s]; i++) {
                        struct aip_str key;
                        const aip_value *member = aip_value_member(object, (size_t)i, &key);
                        cr_assert(aip_str_eq(key, aip_str_of(name_of(i, text))));
                        cr_assert_eq(aip_value_get(object, key), member);
                        cr_assert_eq(aip_value_as_int(member, -1), i);
                }
                cr_assert_null(aip_value_get_cstr(object, "absent"));
                aip_value_unref(object);
        }
}

Test(value, replacing_keeps_the_place_and_removing_keeps_the_order)
{
        char text[16];
        for (size_t s = 3; s < AIP_ARRAY_SIZE(sizes); s++) {
                int n = sizes[s], next = 0;
                aip_value *object = object_of(n);
                cr_assert_eq(aip_value_object_set_cstr(&object, "m1", aip_value_int(-1)), 0);
                cr_assert_eq(aip_value_as_int(aip_value_member(object, 1, NULL), 0), -1);
                for (int i = 0; i < n; i += 2)
                        cr_assert_eq(aip_value_object_remove(&object, aip_str_of(name_of(i, text))),
                                     0);
                cr_assert_eq(aip_value_object_remove(&object, AIP_STR("absent")), 0);
                cr_assert_eq(aip_value_size(object), (size_t)n / 2);
                for (int i = 1; i < n; i += 2) {
                        struct aip_str key;
                        aip_value_member(object, (size_t)next++, &key);
                        cr_assert(aip_str_eq(key, aip_str_of(name_of(i, text))));
                        cr_assert_not_null(aip_value_get(object, key));
                        cr_assert_null(aip_value_get_cstr(object, name_of(i - 1, text)));
                }
                aip_value_unref(object);
        }
}

Test(value, a_shared_object_is_copied_before_a_change)
{
        for (size_t s = 1; s < AIP_ARRAY_SIZE(sizes); s++) {
                aip_value *object = object_of(sizes[s]);
                aip_value *other = aip_value_ref(object), *third = aip_value_ref(object);
                cr_assert_eq(aip_value_object_set_cstr(&object, "m0", aip_value_bool(1)), 0);
                cr_assert_eq(aip_value_object_remove(&third, AIP_STR("m0")), 0);
                cr_assert_eq(aip_value_as_bool(aip_value_get_cstr(object, "m0"), 0), 1);
                cr_assert_eq(aip_value_as_int(aip_value_get_cstr(other, "m0"), 7), 0);
                cr_assert_null(aip_value_get_cstr(third, "m0"));
                aip_value_unref(object);
                aip_value_unref(other);
                aip_value_unref(third);
        }
}

static aip_value *parsed(const char *json)
{
        aip_value *value = NULL;
        cr_assert_eq(aip_value_parse(aip_str_of(json), &value, NULL), 0, "%s", json);
        return value;
}

Test(value, equality_is_deep)
{
        static const struct {
                const char *a, *b;
                int is_equal;
        } table[] = {
                {"1", "1", 1},
                {"1", "2", 0},
                {"1e20", "1e20", 1},
                {"1.5", "1", 0},
                {"\"a\"", "\"a\"", 1},
                {"\"a\"", "\"b\"", 0},
                {"\"1\"", "1", 0},
                {"true", "false", 0},
                {"true", "1", 0},
                {"null", "false", 0},
                {"[]", "{}", 0},
                {"[1,[2]]", "[1,[2]]", 1},
                {"[1,2]", "[2,1]", 0},
                {"[1]", "[1,1]", 0},
                {"{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1}", 1},
                {"{\"a\":1}", "{\"b\":1}", 0},
                {"{\"a\":1}", "{\"a\":1,\"b\":1}", 0},
                {"{\"a\":null}", "{\"b\":null}", 0},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                aip_value *a = parsed(table[i].a), *b = parsed(table[i].b);
                cr_assert_eq(aip_value_equal(a, b), table[i].is_equal, "row %zu", i);
                cr_assert_eq(aip_value_equal(b, a), table[i].is_equal, "row %zu", i);
                cr_assert(aip_value_equal(a, a));
                aip_value_unref(a);
                aip_value_unref(b);
        }
}

Test(value, numbers_are_equal_across_their_two_types_exactly)
{
        static const struct {
                int64_t i;
                double d;
                int is_equal;
        } table[] = {
                {1, 1.0, 1},
                {1, 1.5, 0},
                {INT64_MIN, -0x1p63, 1},
                {INT64_MAX, 0x1p63, 0},
                {(INT64_C(1) << 53) + 1, 0x1p53, 0},
                {0, -0.0, 1},
                {0, (double)NAN, 0},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                aip_value *a = aip_value_int(table[i].i), *b = aip_value_double(table[i].d);
                cr_assert_eq(aip_value_equal(a, b), table[i].is_equal, "row %zu", i);
                cr_assert_eq(aip_value_equal(b, a), table[i].is_equal, "row %zu", i);
                aip_value_unref(a);
                aip_value_unref(b);
        }
}

Test(value, a_very_deep_tree_is_freed_without_a_deep_stack)
{
        aip_value *value = aip_value_list();
        for (int i = 0; i < 1000000; i++) {
                aip_value *outer = i % 2 ? aip_value_object() : aip_value_list();
                if (i % 2)
                        cr_assert_eq(aip_value_object_set_cstr(&outer, "v", value), 0);
                else
                        cr_assert_eq(aip_value_list_append(&outer, value), 0);
                value = outer;
        }
        aip_value_unref(value);
}

Test(value, types_have_names)
{
        cr_assert_str_eq(aip_value_type_name(AIP_VALUE_OBJECT), "object");
        cr_assert_str_eq(aip_value_type_name((enum aip_value_type)99), "unknown");
}

/* Changes that fail leave the value as it was. */
static int change_shared(void *user, aip_error **err)
{
        (void)user;
        char text[16];
        _cleanup_(aip_value_unref_p) aip_value *object = aip_value_object();
        _cleanup_(aip_value_unref_p) aip_value *list = aip_value_list();
        if (!object || !list)
                return aip_error_set_nomem(err);
        for (int i = 0; i < 40; i++) {
                size_t n = aip_value_size(object);
                _cleanup_(aip_value_unref_p) aip_value *held = i % 5 ? NULL : aip_value_ref(object);
                (void)held;
                if (aip_value_object_set_cstr(&object, name_of(i, text), aip_value_ref(list)) < 0) {
                        cr_assert_eq(aip_value_size(object), n);
                        return aip_error_set_nomem(err);
                }
                n = aip_value_size(list);
                if (aip_value_list_append(&list, aip_value_string(aip_str_of(text))) < 0) {
                        cr_assert_eq(aip_value_size(list), n);
                        return aip_error_set_nomem(err);
                }
        }
        _cleanup_(aip_value_unref_p) aip_value *held = aip_value_ref(object);
        (void)held;
        return aip_value_object_remove(&object, AIP_STR("m3")) < 0 ? aip_error_set_nomem(err) : 0;
}

Test(value, survives_allocation_failure)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(change_shared, NULL);
}
