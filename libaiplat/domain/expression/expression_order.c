/*
 * Expressions: jq's order of values (null, false, true, numbers, texts, lists, objects), and stable
 * sorting by it. Called by comparisons and by the functions that sort and group.
 */
#include "expression/expression_impl.h"

static int rank(const aip_value *value)
{
        switch (aip_value_type(value)) {
        case AIP_VALUE_NULL:
                return 0;
        case AIP_VALUE_BOOL:
                return 1 + aip_value_as_bool(value, 0);
        case AIP_VALUE_INT:
        case AIP_VALUE_DOUBLE:
                return 3;
        case AIP_VALUE_STRING:
                return 4;
        case AIP_VALUE_LIST:
                return 5;
        case AIP_VALUE_OBJECT:
                break;
        }
        return 6;
}

static int compare_texts(struct aip_str a, struct aip_str b)
{
        size_t n = AIP_MIN(a.n, b.n);
        int order = n ? memcmp(a.p, b.p, n) : 0;
        return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_numbers(const aip_value *a, const aip_value *b)
{
        if (aip_value_type(a) == AIP_VALUE_INT && aip_value_type(b) == AIP_VALUE_INT) {
                int64_t x = aip_value_as_int(a, 0), y = aip_value_as_int(b, 0);
                return (x > y) - (x < y);
        }
        double x = aip_value_as_double(a, 0), y = aip_value_as_double(b, 0);
        return (x > y) - (x < y);
}

static int compare_lists(const aip_value *a, const aip_value *b)
{
        size_t n_a = aip_value_size(a), n_b = aip_value_size(b);
        for (size_t i = 0; i < n_a && i < n_b; i++) {
                int order = expr_compare(aip_value_at(a, i), aip_value_at(b, i));
                if (order)
                        return order;
        }
        return (n_a > n_b) - (n_a < n_b);
}

static int order_of_keys(const void *a, const void *b)
{
        return compare_texts(*(const struct aip_str *)a, *(const struct aip_str *)b);
}

struct aip_str *expr_sorted_keys(const aip_value *object)
{
        size_t n = aip_value_size(object);
        struct aip_str *keys = aip_calloc(n + 1, sizeof(*keys));
        for (size_t i = 0; keys && i < n; i++)
                aip_value_member(object, i, &keys[i]);
        if (keys && n > 1)
                qsort(keys, n, sizeof(*keys), order_of_keys);
        return keys;
}

/* The sorted names first, then the values by name. Without memory for the names: equal. */
static int compare_objects(const aip_value *a, const aip_value *b)
{
        _cleanup_(aip_free_p) struct aip_str *keys_a = expr_sorted_keys(a);
        _cleanup_(aip_free_p) struct aip_str *keys_b = expr_sorted_keys(b);
        size_t n_a = aip_value_size(a), n_b = aip_value_size(b);
        int order = 0;
        if (!keys_a || !keys_b)
                return 0;
        for (size_t i = 0; order == 0 && i < n_a && i < n_b; i++)
                order = compare_texts(keys_a[i], keys_b[i]);
        if (order == 0)
                order = (n_a > n_b) - (n_a < n_b);
        for (size_t i = 0; order == 0 && i < n_a; i++)
                order = expr_compare(aip_value_get(a, keys_a[i]), aip_value_get(b, keys_a[i]));
        return order;
}

int expr_compare(const aip_value *a, const aip_value *b)
{
        int rank_a = rank(a), rank_b = rank(b);
        if (rank_a != rank_b)
                return rank_a < rank_b ? -1 : 1;
        switch (rank_a) {
        case 3:
                return compare_numbers(a, b);
        case 4:
                return compare_texts(aip_value_as_string(a), aip_value_as_string(b));
        case 5:
                return compare_lists(a, b);
        case 6:
                return compare_objects(a, b);
        default:
                return 0;
        }
}

static int order_of_sorted(const void *a, const void *b)
{
        const struct expr_sorted *x = a, *y = b;
        int order = expr_compare(x->key, y->key);
        return order ? order : (x->nth > y->nth) - (x->nth < y->nth);
}

struct expr_sorted *expr_sort(const aip_value *list, const aip_value *keys)
{
        size_t n = aip_value_size(list);
        struct expr_sorted *sorted = aip_calloc(n + 1, sizeof(*sorted));
        for (size_t i = 0; sorted && i < n; i++) {
                sorted[i].item = aip_value_at(list, i);
                sorted[i].key = keys ? aip_value_at(keys, i) : sorted[i].item;
                sorted[i].nth = i;
        }
        if (sorted && n > 1)
                qsort(sorted, n, sizeof(*sorted), order_of_sorted);
        return sorted;
}
