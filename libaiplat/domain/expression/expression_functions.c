/*
 * Expressions: the functions, by name and number of arguments. Those on values compute from evaluated
 * arguments; those on closures run an argument themselves, once for each of something. Called by the
 * evaluator and, to find names, by the parser.
 */
#include "expression/expression_impl.h"
#include <math.h>

#define RANGE_STEP_BYTES 16 /* charged for each number of a range */

static const char *type_of(const aip_value *v)
{
        return aip_value_type_name(aip_value_type(v));
}

static int is(const aip_value *v, enum aip_value_type type)
{
        return aip_value_type(v) == type;
}

static int is_number(const aip_value *v)
{
        return is(v, AIP_VALUE_INT) || is(v, AIP_VALUE_DOUBLE);
}

static int give(struct expr_machine *m, aip_value *value, aip_value **ret_value)
{
        if (!value)
                return expr_nomem(m);
        *ret_value = value;
        return 0;
}

static int want(struct expr_machine *m, const aip_value *v, enum aip_value_type type,
                const char *what)
{
        return is(v, type) ? 0
                           : expr_fail(m, "%s wants %s, not %s", what, aip_value_type_name(type),
                                       type_of(v));
}

#define FUNCTION(name)                                                                             \
        static int name(struct expr_machine *m, const aip_value *input,                            \
                        const aip_value *const *args, aip_value **ret)

/* ── about one value ─────────────────────────────────────────────────────────────────────────── */

FUNCTION(f_length)
{
        (void)args;
        if (is_number(input))
                return give(m, expr_number(fabs(aip_value_as_double(input, 0))), ret);
        if (is(input, AIP_VALUE_BOOL))
                return expr_fail(m, "boolean has no length");
        int64_t n = is(input, AIP_VALUE_STRING) ? aip_str_utf8_length(aip_value_as_string(input))
                                                : (int64_t)aip_value_size(input);
        return give(m, aip_value_int(n), ret);
}

FUNCTION(f_utf8bytelength)
{
        (void)args;
        int r = want(m, input, AIP_VALUE_STRING, "utf8bytelength");
        return r < 0 ? r : give(m, aip_value_int((int64_t)aip_value_as_string(input).n), ret);
}

FUNCTION(f_not)
{
        (void)args;
        return give(m, aip_value_bool(!expr_is_true(input)), ret);
}

FUNCTION(f_type)
{
        static const char *const names[] = {"null",   "boolean", "number", "number",
                                            "string", "array",   "object"};
        (void)args;
        return give(m, aip_value_string(aip_str_of(names[aip_value_type(input)])), ret);
}

FUNCTION(f_keys)
{
        (void)args;
        _cleanup_(aip_value_unref_p) aip_value *list = aip_value_list();
        _cleanup_(aip_free_p) struct aip_str *keys = NULL;
        size_t n = aip_value_size(input);
        if (!is(input, AIP_VALUE_OBJECT) && !is(input, AIP_VALUE_LIST))
                return expr_fail(m, "%s has no keys", type_of(input));
        if (is(input, AIP_VALUE_OBJECT) && !(keys = expr_sorted_keys(input)))
                return expr_nomem(m);
        int r = list ? expr_charge(m, n * 32) : expr_nomem(m);
        for (size_t i = 0; r == 0 && i < n; i++)
                if (aip_value_list_append(&list, keys ? aip_value_string(keys[i])
                                                      : aip_value_int((int64_t)i)) < 0)
                        r = expr_nomem(m);
        return r < 0 ? r : give(m, AIP_TAKE(list), ret);
}

FUNCTION(f_add)
{
        (void)args;
        _cleanup_(aip_value_unref_p) aip_value *sum = aip_value_null();
        if (!is(input, AIP_VALUE_LIST) && !is(input, AIP_VALUE_OBJECT))
                return expr_fail(m, "add wants a list, not %s", type_of(input));
        for (size_t i = 0; i < aip_value_size(input); i++) {
                struct aip_str key;
                const aip_value *item = is(input, AIP_VALUE_LIST)
                                                ? aip_value_at(input, i)
                                                : aip_value_member(input, i, &key);
                aip_value *next = NULL;
                int r = expr_binary(m, EXPR_ADD, sum, item, &next);
                if (r < 0)
                        return r;
                aip_value_unref(sum);
                sum = next;
        }
        return give(m, AIP_TAKE(sum), ret);
}

/* Of a list, or the value of an object's member. */
static const aip_value *item_of(const aip_value *input, size_t i)
{
        struct aip_str key;
        return is(input, AIP_VALUE_LIST) ? aip_value_at(input, i)
                                         : aip_value_member(input, i, &key);
}

/* any, all */
static int quantify(struct expr_machine *m, const aip_value *input, int wanted, aip_value **ret)
{
        if (!is(input, AIP_VALUE_LIST) && !is(input, AIP_VALUE_OBJECT))
                return expr_fail(m, "cannot iterate over %s", type_of(input));
        for (size_t i = 0; i < aip_value_size(input); i++)
                if (expr_is_true(item_of(input, i)) == wanted)
                        return give(m, aip_value_bool(wanted), ret);
        return give(m, aip_value_bool(!wanted), ret);
}

FUNCTION(f_any)
{
        (void)args;
        return quantify(m, input, 1, ret);
}

FUNCTION(f_all)
{
        (void)args;
        return quantify(m, input, 0, ret);
}

static int round_with(struct expr_machine *m, const aip_value *input, double (*with)(double),
                      aip_value **ret)
{
        if (!is_number(input))
                return expr_fail(m, "a number is wanted, not %s", type_of(input));
        return give(m, expr_number(with(aip_value_as_double(input, 0))), ret);
}

#define ROUNDING(name, with)                                                                       \
        FUNCTION(name)                                                                             \
        {                                                                                          \
                (void)args;                                                                        \
                return round_with(m, input, with, ret);                                            \
        }
ROUNDING(f_floor, floor)
ROUNDING(f_ceil, ceil)
ROUNDING(f_round, round)
ROUNDING(f_sqrt, sqrt)
ROUNDING(f_fabs, fabs)

FUNCTION(f_tostring)
{
        (void)args;
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
        int r = expr_to_text(m, input, &text);
        return r < 0 ? r : give(m, aip_value_string(aip_buf_str(&text)), ret);
}

FUNCTION(f_tojson)
{
        (void)args;
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
        int r = expr_convert(m, 1, input, &text);
        if (r == 0)
                r = expr_charge(m, text.n);
        return r < 0 ? r : give(m, aip_value_string(aip_buf_str(&text)), ret);
}

static int parse_json(struct expr_machine *m, struct aip_str text, aip_value **ret)
{
        aip_error *why = NULL;
        int r = expr_charge(m, 4 * text.n);
        if (r < 0)
                return r;
        r = aip_value_parse(text, ret, &why);
        if (r < 0)
                r = r == AIP_ENOMEM ? expr_nomem(m)
                                    : expr_fail(m, "not JSON: %s", aip_error_message(why));
        aip_error_free(why);
        return r;
}

FUNCTION(f_fromjson)
{
        (void)args;
        int r = want(m, input, AIP_VALUE_STRING, "fromjson");
        return r < 0 ? r : parse_json(m, aip_value_as_string(input), ret);
}

FUNCTION(f_tonumber)
{
        (void)args;
        if (is_number(input))
                return give(m, aip_value_ref(input), ret);
        int r = want(m, input, AIP_VALUE_STRING, "tonumber");
        if (r == 0)
                r = parse_json(m, aip_value_as_string(input), ret);
        if (r == 0 && !is_number(*ret)) {
                aip_value_unref(AIP_TAKE(*ret));
                r = expr_fail(m, "this text is no number");
        }
        return r;
}

static int change_case(struct expr_machine *m, const aip_value *input, char from, char to,
                       aip_value **ret)
{
        int r = want(m, input, AIP_VALUE_STRING, "a change of case");
        struct aip_str text = aip_value_as_string(input);
        if (r < 0 || (r = expr_charge(m, text.n)) < 0)
                return r;
        _cleanup_(aip_free_p) char *copy = aip_str_dup(text);
        for (size_t i = 0; copy && i < text.n; i++)
                if (copy[i] >= from && copy[i] <= from + 25)
                        copy[i] = (char)(copy[i] - from + to);
        return copy ? give(m, aip_value_string(aip_str_make(copy, text.n)), ret) : expr_nomem(m);
}

FUNCTION(f_ascii_downcase)
{
        (void)args;
        return change_case(m, input, 'A', 'a', ret);
}

FUNCTION(f_ascii_upcase)
{
        (void)args;
        return change_case(m, input, 'a', 'A', ret);
}

FUNCTION(f_trim)
{
        (void)args;
        int r = want(m, input, AIP_VALUE_STRING, "trim");
        return r < 0 ? r
                     : give(m, aip_value_string(aip_text_trim(aip_value_as_string(input))), ret);
}

FUNCTION(f_reverse)
{
        (void)args;
        /* As jq has it, nothing reversed is an empty list. */
        if (is(input, AIP_VALUE_NULL) ||
            (is(input, AIP_VALUE_STRING) && aip_value_as_string(input).n == 0))
                return give(m, aip_value_list(), ret);
        int r = want(m, input, AIP_VALUE_LIST, "reverse");
        _cleanup_(aip_value_unref_p) aip_value *list = r < 0 ? NULL : aip_value_list();
        if (r == 0)
                r = expr_charge(m, aip_value_size(input) * sizeof(void *));
        for (size_t i = aip_value_size(input); r == 0 && i-- > 0;)
                if (aip_value_list_append(&list, aip_value_ref(aip_value_at(input, i))) < 0)
                        r = expr_nomem(m);
        return r < 0 ? r : give(m, AIP_TAKE(list), ret);
}

FUNCTION(f_to_entries)
{
        (void)args;
        int is_list = is(input, AIP_VALUE_LIST);
        int r = is_list ? 0 : want(m, input, AIP_VALUE_OBJECT, "to_entries");
        _cleanup_(aip_value_unref_p) aip_value *list = r < 0 ? NULL : aip_value_list();
        for (size_t i = 0; r == 0 && i < aip_value_size(input); i++) {
                struct aip_str key = {NULL, 0};
                const aip_value *value =
                        is_list ? aip_value_at(input, i) : aip_value_member(input, i, &key);
                aip_value *entry = aip_value_object();
                r = expr_charge(m, 64 + key.n);
                if (r < 0 ||
                    aip_value_object_set_cstr(&entry, "key",
                                              is_list ? aip_value_int((int64_t)i)
                                                      : aip_value_string(key)) < 0 ||
                    aip_value_object_set_cstr(&entry, "value", aip_value_ref(value)) < 0) {
                        aip_value_unref(entry);
                        return r < 0 ? r : expr_nomem(m);
                }
                if (aip_value_list_append(&list, entry) < 0)
                        r = expr_nomem(m);
        }
        return r < 0 ? r : give(m, AIP_TAKE(list), ret);
}

static const aip_value *entry_member(const aip_value *entry, const char *a, const char *b)
{
        const aip_value *found = aip_value_get_cstr(entry, a);
        return found ? found : aip_value_get_cstr(entry, b);
}

FUNCTION(f_from_entries)
{
        (void)args;
        int r = want(m, input, AIP_VALUE_LIST, "from_entries");
        _cleanup_(aip_value_unref_p) aip_value *made = r < 0 ? NULL : aip_value_object();
        for (size_t i = 0; r == 0 && i < aip_value_size(input); i++) {
                const aip_value *entry = aip_value_at(input, i);
                const aip_value *key = entry_member(entry, "key", "name");
                const aip_value *value = aip_value_get_cstr(entry, "value");
                _cleanup_(aip_buf_deinit) struct aip_buf name =
                        AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
                r = !key ? expr_fail(m, "an entry needs a \"key\"") : expr_to_text(m, key, &name);
                if (r == 0 &&
                    aip_value_object_set(&made, aip_buf_str(&name),
                                         value ? aip_value_ref(value) : aip_value_null()) < 0)
                        r = expr_nomem(m);
        }
        return r < 0 ? r : give(m, AIP_TAKE(made), ret);
}

static int flatten_into(struct expr_machine *m, aip_value **list, const aip_value *from,
                        double depth)
{
        int r = expr_charge(m, (aip_value_size(from) + 1) * sizeof(void *));
        for (size_t i = 0; r == 0 && i < aip_value_size(from); i++) {
                const aip_value *item = item_of(from, i);
                if (is(item, AIP_VALUE_LIST) && depth > 0)
                        r = flatten_into(m, list, item, depth - 1);
                else if (aip_value_list_append(list, aip_value_ref(item)) < 0)
                        r = expr_nomem(m);
        }
        return r;
}

static int flatten(struct expr_machine *m, const aip_value *input, double depth, aip_value **ret)
{
        int r = is(input, AIP_VALUE_OBJECT) ? 0 : want(m, input, AIP_VALUE_LIST, "flatten");
        _cleanup_(aip_value_unref_p) aip_value *list = r < 0 ? NULL : aip_value_list();
        if (r == 0)
                r = flatten_into(m, &list, input, depth);
        return r < 0 ? r : give(m, AIP_TAKE(list), ret);
}

FUNCTION(f_flatten)
{
        (void)args;
        return flatten(m, input, AIP_EXPRESSION_MAX_NODES, ret);
}

FUNCTION(f_flatten_to)
{
        double depth = aip_value_as_double(args[0], -1);
        if (!is_number(args[0]) || depth < 0)
                return expr_fail(m, "flatten wants a depth that is not negative");
        return flatten(m, input, AIP_MIN(depth, (double)AIP_EXPRESSION_MAX_NODES), ret);
}

FUNCTION(f_error)
{
        (void)args;
        (void)ret;
        struct aip_str text = aip_value_as_string(input);
        return expr_fail(m, "%.*s", (int)AIP_MIN(text.n, (size_t)400), text.p ? text.p : "error");
}

FUNCTION(f_error_with)
{
        (void)input;
        return f_error(m, args[0], NULL, ret);
}

/* ── with arguments ──────────────────────────────────────────────────────────────────────────── */

FUNCTION(f_has)
{
        if (is(input, AIP_VALUE_OBJECT) && is(args[0], AIP_VALUE_STRING))
                return give(
                        m,
                        aip_value_bool(aip_value_get(input, aip_value_as_string(args[0])) != NULL),
                        ret);
        if (is(input, AIP_VALUE_LIST) && is_number(args[0])) {
                double at = aip_value_as_double(args[0], -1);
                return give(m, aip_value_bool(at >= 0 && at < (double)aip_value_size(input)), ret);
        }
        return expr_fail(m, "%s cannot have %s as a key", type_of(input), type_of(args[0]));
}

static int contains(struct expr_machine *m, const aip_value *a, const aip_value *b, int *ret_is)
{
        *ret_is = 0;
        if (++m->steps > AIP_EXPRESSION_MAX_STEPS)
                return expr_charge(m, SIZE_MAX);
        if (is(a, AIP_VALUE_OBJECT) && is(b, AIP_VALUE_OBJECT)) {
                *ret_is = 1;
                for (size_t i = 0; *ret_is && i < aip_value_size(b); i++) {
                        struct aip_str key;
                        const aip_value *theirs = aip_value_member(b, i, &key),
                                        *ours = aip_value_get(a, key);
                        int r = ours ? contains(m, ours, theirs, ret_is) : 0;
                        *ret_is = *ret_is && ours;
                        if (r < 0)
                                return r;
                }
                return 0;
        }
        if (is(a, AIP_VALUE_LIST) && is(b, AIP_VALUE_LIST)) {
                *ret_is = 1;
                for (size_t i = 0; *ret_is && i < aip_value_size(b); i++) {
                        *ret_is = 0;
                        for (size_t k = 0; !*ret_is && k < aip_value_size(a); k++) {
                                const aip_value *x = aip_value_at(a, k), *y = aip_value_at(b, i);
                                int r = aip_value_type(x) == aip_value_type(y) ||
                                                        (is_number(x) && is_number(y))
                                                ? contains(m, x, y, ret_is)
                                                : 0;
                                if (r < 0)
                                        return r;
                        }
                }
                return 0;
        }
        if (is(a, AIP_VALUE_STRING) && is(b, AIP_VALUE_STRING)) {
                struct aip_str x = aip_value_as_string(a), y = aip_value_as_string(b);
                *ret_is = y.n == 0 || memmem(x.p, x.n, y.p, y.n) != NULL;
                return 0;
        }
        if (aip_value_type(a) != aip_value_type(b) && !(is_number(a) && is_number(b)))
                return expr_fail(m, "%s cannot contain %s", type_of(a), type_of(b));
        *ret_is = expr_compare(a, b) == 0;
        return 0;
}

FUNCTION(f_contains)
{
        int is_in, r = contains(m, input, args[0], &is_in);
        return r < 0 ? r : give(m, aip_value_bool(is_in), ret);
}

FUNCTION(f_inside)
{
        int is_in, r = contains(m, args[0], input, &is_in);
        return r < 0 ? r : give(m, aip_value_bool(is_in), ret);
}

static int begins(struct aip_str text, struct aip_str with)
{
        return text.n >= with.n && (with.n == 0 || memcmp(text.p, with.p, with.n) == 0);
}

static int ends(struct aip_str text, struct aip_str with)
{
        return text.n >= with.n &&
               (with.n == 0 || memcmp(text.p + text.n - with.n, with.p, with.n) == 0);
}

FUNCTION(f_startswith)
{
        if (!is(input, AIP_VALUE_STRING) || !is(args[0], AIP_VALUE_STRING))
                return expr_fail(m, "startswith wants texts");
        return give(
                m, aip_value_bool(begins(aip_value_as_string(input), aip_value_as_string(args[0]))),
                ret);
}

FUNCTION(f_endswith)
{
        if (!is(input, AIP_VALUE_STRING) || !is(args[0], AIP_VALUE_STRING))
                return expr_fail(m, "endswith wants texts");
        return give(m,
                    aip_value_bool(ends(aip_value_as_string(input), aip_value_as_string(args[0]))),
                    ret);
}

FUNCTION(f_ltrimstr)
{
        struct aip_str text = aip_value_as_string(input), cut = aip_value_as_string(args[0]);
        if (!text.p || !cut.p || !begins(text, cut))
                return give(m, input ? aip_value_ref(input) : aip_value_null(), ret);
        return give(m, aip_value_string(aip_str_make(text.p + cut.n, text.n - cut.n)), ret);
}

FUNCTION(f_rtrimstr)
{
        struct aip_str text = aip_value_as_string(input), cut = aip_value_as_string(args[0]);
        if (!text.p || !cut.p || !ends(text, cut))
                return give(m, input ? aip_value_ref(input) : aip_value_null(), ret);
        return give(m, aip_value_string(aip_str_make(text.p, text.n - cut.n)), ret);
}

FUNCTION(f_split)
{
        if (!is(input, AIP_VALUE_STRING) || !is(args[0], AIP_VALUE_STRING))
                return expr_fail(m, "split wants texts");
        return expr_binary(m, EXPR_DIVIDE, input, args[0], ret);
}

FUNCTION(f_join)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
        int r = want(m, input, AIP_VALUE_LIST, "join");
        if (r == 0)
                r = want(m, args[0], AIP_VALUE_STRING, "join");
        for (size_t i = 0; r == 0 && i < aip_value_size(input); i++) {
                const aip_value *item = aip_value_at(input, i);
                if (is(item, AIP_VALUE_LIST) || is(item, AIP_VALUE_OBJECT))
                        return expr_fail(m, "%s cannot be joined", type_of(item));
                if (i > 0)
                        r = expr_to_text(m, args[0], &text);
                if (r == 0 && !is(item, AIP_VALUE_NULL))
                        r = expr_to_text(m, item, &text);
        }
        return r < 0 ? r : give(m, aip_value_string(aip_buf_str(&text)), ret);
}

FUNCTION(f_getpath)
{
        _cleanup_(aip_value_unref_p) aip_value *at =
                input ? aip_value_ref(input) : aip_value_null();
        int r = want(m, args[0], AIP_VALUE_LIST, "getpath");
        for (size_t i = 0; r == 0 && i < aip_value_size(args[0]); i++) {
                aip_value *next = NULL;
                r = expr_index(m, at, aip_value_at(args[0], i), &next);
                if (r == 0) {
                        aip_value_unref(at);
                        at = next;
                }
        }
        return r < 0 ? r : give(m, AIP_TAKE(at), ret);
}

/* ── on closures ─────────────────────────────────────────────────────────────────────────────── */

#define CLOSURE(name)                                                                              \
        static int name(struct expr_machine *m, const struct expr_node *node,                      \
                        const aip_value *input, struct expr_sink *out)

CLOSURE(c_empty)
{
        (void)m, (void)node, (void)input, (void)out;
        return 0;
}

/* Runs the first argument for each item; `out` gets what it yields. */
static int for_each(struct expr_machine *m, uint32_t closure, const aip_value *input,
                    struct expr_sink *out)
{
        int r = 0;
        if (!is(input, AIP_VALUE_LIST) && !is(input, AIP_VALUE_OBJECT))
                return expr_fail(m, "cannot iterate over %s", type_of(input));
        for (size_t i = 0; r == 0 && i < aip_value_size(input); i++) {
                struct aip_str key;
                const aip_value *item = is(input, AIP_VALUE_LIST)
                                                ? aip_value_at(input, i)
                                                : aip_value_member(input, i, &key);
                r = expr_eval(m, closure, item, out);
        }
        return r;
}

struct gather {
        struct expr_sink sink;
        aip_value *list;
};

static int gather(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct gather *g = AIP_CONTAINER_OF(sink, struct gather, sink);
        int r = expr_charge(m, sizeof(void *));
        if (r < 0) {
                aip_value_unref(value);
                return r;
        }
        return aip_value_list_append(&g->list, value) < 0 ? expr_nomem(m) : 0;
}

CLOSURE(c_map)
{
        struct gather g = {{gather}, aip_value_list()};
        int r = g.list ? for_each(m, node->a, input, &g.sink) : expr_nomem(m);
        if (r != 0) {
                aip_value_unref(g.list);
                return r;
        }
        return out->emit(out, m, g.list);
}

struct keep_first {
        struct expr_sink sink;
        aip_value *value;
};

static int keep_first(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct keep_first *k = AIP_CONTAINER_OF(sink, struct keep_first, sink);
        (void)m;
        k->value = value;
        return EXPR_ENOUGH;
}

static int keep_last(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct keep_first *k = AIP_CONTAINER_OF(sink, struct keep_first, sink);
        (void)m;
        aip_value_unref(k->value);
        k->value = value;
        return 0;
}

/* The first value of a closure, NULL for none. */
static int first_of(struct expr_machine *m, uint32_t closure, const aip_value *input, int is_last,
                    aip_value **ret)
{
        struct keep_first k = {{is_last ? keep_last : keep_first}, NULL};
        int r = expr_eval(m, closure, input, &k.sink);
        if (r < 0) {
                aip_value_unref(k.value);
                return r;
        }
        *ret = k.value;
        return 0;
}

/* Objects, each member by the first value of the closure; a list as map does. */
CLOSURE(c_map_values)
{
        int is_object = is(input, AIP_VALUE_OBJECT), r = 0;
        _cleanup_(aip_value_unref_p) aip_value *made =
                is_object ? aip_value_object() : aip_value_list();
        if (!made)
                return expr_nomem(m);
        if (!is_object && !is(input, AIP_VALUE_LIST))
                return expr_fail(m, "cannot iterate over %s", type_of(input));
        for (size_t i = 0; i < aip_value_size(input); i++) {
                struct aip_str key = {NULL, 0};
                const aip_value *item =
                        is_object ? aip_value_member(input, i, &key) : aip_value_at(input, i);
                aip_value *value = NULL;
                if ((r = first_of(m, node->a, item, 0, &value)) < 0 ||
                    (r = expr_charge(m, 32)) < 0) {
                        aip_value_unref(value);
                        return r;
                }
                if (value && (is_object ? aip_value_object_set(&made, key, value)
                                        : aip_value_list_append(&made, value)) < 0)
                        return expr_nomem(m);
        }
        return out->emit(out, m, AIP_TAKE(made));
}

struct select {
        struct expr_sink sink;
        const aip_value *input;
        struct expr_sink *out;
};

static int select_if(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct select *s = AIP_CONTAINER_OF(sink, struct select, sink);
        int is_true = expr_is_true(value);
        aip_value_unref(value);
        if (!is_true)
                return 0;
        return expr_emit(m, s->out, s->input ? aip_value_ref(s->input) : aip_value_null());
}

CLOSURE(c_select)
{
        struct select s = {{select_if}, input, out};
        return expr_eval(m, node->a, input, &s.sink);
}

CLOSURE(c_first)
{
        aip_value *value = NULL;
        int r = first_of(m, node->a, input, 0, &value);
        return r < 0 || !value ? r : out->emit(out, m, value);
}

CLOSURE(c_last)
{
        aip_value *value = NULL;
        int r = first_of(m, node->a, input, 1, &value);
        return r < 0 || !value ? r : out->emit(out, m, value);
}

struct limited {
        struct expr_sink sink;
        int64_t room;
        struct expr_sink *out;
        int is_full;
};

static int pass_limited(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct limited *l = AIP_CONTAINER_OF(sink, struct limited, sink);
        int r = l->out->emit(l->out, m, value);
        if (r != 0)
                return r;
        l->is_full = --l->room <= 0;
        return l->is_full ? EXPR_ENOUGH : 0;
}

CLOSURE(c_limit)
{
        _cleanup_(aip_value_unref_p) aip_value *n = NULL;
        int r = first_of(m, node->a, input, 0, &n);
        if (r < 0)
                return r;
        struct limited l = {{pass_limited}, aip_value_as_int(n, 0), out, 0};
        if (l.room <= 0)
                return 0;
        r = expr_eval(m, node->b, input, &l.sink);
        return r == EXPR_ENOUGH && l.is_full ? 0 : r;
}

static int quantified(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                      int wanted, struct expr_sink *out)
{
        struct gather g = {{gather}, aip_value_list()};
        int r = g.list ? for_each(m, node->a, input, &g.sink) : expr_nomem(m);
        aip_value *value = NULL;
        if (r == 0)
                r = quantify(m, g.list, wanted, &value);
        aip_value_unref(g.list);
        return r != 0 ? r : out->emit(out, m, value);
}

CLOSURE(c_any)
{
        return quantified(m, node, input, 1, out);
}

CLOSURE(c_all)
{
        return quantified(m, node, input, 0, out);
}

/* Numbers from a to b, exclusive. */
static int count_up(struct expr_machine *m, double from, double to, struct expr_sink *out)
{
        int r = 0;
        for (double d = from; r == 0 && d < to; d += 1) {
                if (++m->steps > AIP_EXPRESSION_MAX_STEPS)
                        return expr_charge(m, SIZE_MAX);
                if ((r = expr_charge(m, RANGE_STEP_BYTES)) == 0)
                        r = expr_emit(m, out, expr_number(d));
        }
        return r;
}

CLOSURE(c_range)
{
        _cleanup_(aip_value_unref_p) aip_value *a = NULL, *b = NULL;
        int r = first_of(m, node->a, input, 0, &a);
        if (r == 0 && node->b != EXPR_NONE)
                r = first_of(m, node->b, input, 0, &b);
        if (r < 0)
                return r;
        if (!is_number(a) || (b && !is_number(b)))
                return expr_fail(m, "range wants numbers");
        return b ? count_up(m, aip_value_as_double(a, 0), aip_value_as_double(b, 0), out)
                 : count_up(m, 0, aip_value_as_double(a, 0), out);
}

/* ── by order ────────────────────────────────────────────────────────────────────────────────── */

/* For each item the list of what the closure yields for it; NULL: failed. */
static aip_value *keys_of(struct expr_machine *m, uint32_t closure, const aip_value *list)
{
        aip_value *keys = aip_value_list();
        for (size_t i = 0; keys && i < aip_value_size(list); i++) {
                aip_value *key = expr_collect(m, closure, aip_value_at(list, i));
                if (!key || aip_value_list_append(&keys, key) < 0) {
                        if (key)
                                expr_nomem(m);
                        aip_value_unref(keys);
                        return NULL;
                }
        }
        if (!keys)
                expr_nomem(m);
        return keys;
}

/* What to make of the sorted items. */
enum arrangement { SORTED, UNIQUE, GROUPED, LEAST, GREATEST };

static int add_to(struct expr_machine *m, aip_value **list, aip_value *value)
{
        return aip_value_list_append(list, value) < 0 ? expr_nomem(m) : 0;
}

static int arrange_sorted(struct expr_machine *m, const struct expr_sorted *sorted, size_t n,
                          enum arrangement how, aip_value **made)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < n; i++) {
                int is_same = i > 0 && how != SORTED &&
                              expr_compare(sorted[i - 1].key, sorted[i].key) == 0;
                if (how != GROUPED) {
                        if (!is_same)
                                r = add_to(m, made, aip_value_ref(sorted[i].item));
                        continue;
                }
                if (is_same)
                        continue;
                aip_value *group = aip_value_list();
                for (size_t k = i;
                     r == 0 && k < n && expr_compare(sorted[k].key, sorted[i].key) == 0; k++)
                        r = add_to(m, &group, aip_value_ref(sorted[k].item));
                if (r == 0)
                        r = add_to(m, made, group);
                else
                        aip_value_unref(group);
        }
        return r;
}

/* `keys` is consumed; NULL: the items themselves. */
static int arrange(struct expr_machine *m, const aip_value *input, aip_value *keys,
                   enum arrangement how, struct expr_sink *out)
{
        _cleanup_(aip_value_unref_p) aip_value *by = keys, *made = NULL;
        size_t n = aip_value_size(input);
        int r = expr_charge(m, n * sizeof(struct expr_sorted));
        if (r < 0)
                return r;
        _cleanup_(aip_free_p) struct expr_sorted *sorted = expr_sort(input, by);
        if (!sorted)
                return expr_nomem(m);
        if (how == LEAST || how == GREATEST) {
                size_t at = how == LEAST ? 0 : n - 1;
                return expr_emit(m, out, n ? aip_value_ref(sorted[at].item) : aip_value_null());
        }
        made = aip_value_list();
        r = made ? arrange_sorted(m, sorted, n, how, &made) : expr_nomem(m);
        return r < 0 ? r : expr_emit(m, out, AIP_TAKE(made));
}

static int arrange_by(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                      enum arrangement how, struct expr_sink *out)
{
        aip_value *keys = NULL;
        int r = want(m, input, AIP_VALUE_LIST, "sorting");
        if (r < 0)
                return r;
        if (node->a != EXPR_NONE && !(keys = keys_of(m, node->a, input)))
                return aip_error_code(m->err);
        return arrange(m, input, keys, how, out);
}

CLOSURE(c_sort)
{
        return arrange_by(m, node, input, SORTED, out);
}

CLOSURE(c_unique)
{
        return arrange_by(m, node, input, UNIQUE, out);
}

CLOSURE(c_group)
{
        return arrange_by(m, node, input, GROUPED, out);
}

CLOSURE(c_min)
{
        return arrange_by(m, node, input, LEAST, out);
}

CLOSURE(c_max)
{
        return arrange_by(m, node, input, GREATEST, out);
}

/* with_entries(f): to_entries | map(f) | from_entries */
CLOSURE(c_with_entries)
{
        _cleanup_(aip_value_unref_p) aip_value *entries = NULL;
        aip_value *made = NULL;
        struct gather g = {{gather}, aip_value_list()};
        int r = g.list ? f_to_entries(m, input, NULL, &entries) : expr_nomem(m);
        if (r == 0)
                r = for_each(m, node->a, entries, &g.sink);
        if (r == 0)
                r = f_from_entries(m, g.list, NULL, &made);
        aip_value_unref(g.list);
        return r != 0 ? r : out->emit(out, m, made);
}

/* ── names ───────────────────────────────────────────────────────────────────────────────────── */

FUNCTION(f_first)
{
        (void)args;
        _cleanup_(aip_value_unref_p) aip_value *zero = aip_value_int(0);
        return zero ? expr_index(m, input, zero, ret) : expr_nomem(m);
}

FUNCTION(f_last)
{
        (void)args;
        _cleanup_(aip_value_unref_p) aip_value *minus_one = aip_value_int(-1);
        return minus_one ? expr_index(m, input, minus_one, ret) : expr_nomem(m);
}

const struct expr_function expr_functions[] = {
        {"length", 0, f_length, NULL},
        {"utf8bytelength", 0, f_utf8bytelength, NULL},
        {"not", 0, f_not, NULL},
        {"type", 0, f_type, NULL},
        {"keys", 0, f_keys, NULL},
        {"add", 0, f_add, NULL},
        {"any", 0, f_any, NULL},
        {"all", 0, f_all, NULL},
        {"any", 1, NULL, c_any},
        {"all", 1, NULL, c_all},
        {"floor", 0, f_floor, NULL},
        {"ceil", 0, f_ceil, NULL},
        {"round", 0, f_round, NULL},
        {"sqrt", 0, f_sqrt, NULL},
        {"fabs", 0, f_fabs, NULL},
        {"tostring", 0, f_tostring, NULL},
        {"tonumber", 0, f_tonumber, NULL},
        {"tojson", 0, f_tojson, NULL},
        {"fromjson", 0, f_fromjson, NULL},
        {"ascii_downcase", 0, f_ascii_downcase, NULL},
        {"ascii_upcase", 0, f_ascii_upcase, NULL},
        {"trim", 0, f_trim, NULL},
        {"reverse", 0, f_reverse, NULL},
        {"to_entries", 0, f_to_entries, NULL},
        {"from_entries", 0, f_from_entries, NULL},
        {"with_entries", 1, NULL, c_with_entries},
        {"flatten", 0, f_flatten, NULL},
        {"flatten", 1, f_flatten_to, NULL},
        {"error", 0, f_error, NULL},
        {"error", 1, f_error_with, NULL},
        {"has", 1, f_has, NULL},
        {"contains", 1, f_contains, NULL},
        {"inside", 1, f_inside, NULL},
        {"startswith", 1, f_startswith, NULL},
        {"endswith", 1, f_endswith, NULL},
        {"ltrimstr", 1, f_ltrimstr, NULL},
        {"rtrimstr", 1, f_rtrimstr, NULL},
        {"split", 1, f_split, NULL},
        {"join", 1, f_join, NULL},
        {"getpath", 1, f_getpath, NULL},
        {"empty", 0, NULL, c_empty},
        {"map", 1, NULL, c_map},
        {"map_values", 1, NULL, c_map_values},
        {"select", 1, NULL, c_select},
        {"first", 0, f_first, NULL},
        {"last", 0, f_last, NULL},
        {"first", 1, NULL, c_first},
        {"last", 1, NULL, c_last},
        {"limit", 2, NULL, c_limit},
        {"range", 1, NULL, c_range},
        {"range", 2, NULL, c_range},
        {"sort", 0, NULL, c_sort},
        {"sort_by", 1, NULL, c_sort},
        {"unique", 0, NULL, c_unique},
        {"unique_by", 1, NULL, c_unique},
        {"group_by", 1, NULL, c_group},
        {"min", 0, NULL, c_min},
        {"max", 0, NULL, c_max},
        {"min_by", 1, NULL, c_min},
        {"max_by", 1, NULL, c_max},
};
const size_t expr_n_functions = AIP_ARRAY_SIZE(expr_functions);

int expr_function_find(struct aip_str name, unsigned n_args)
{
        for (size_t i = 0; i < expr_n_functions; i++)
                if (expr_functions[i].n_args == n_args &&
                    aip_str_eq(name, aip_str_of(expr_functions[i].name)))
                        return (int)i;
        return -1;
}
