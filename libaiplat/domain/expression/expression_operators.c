/*
 * Expressions: operators between values, access by name, place and range, and the conversions of
 * "@uri" and its like. Called by the evaluator and the functions. jq's rules; integers stay integers
 * as long as they fit.
 */
#include "expression/expression_impl.h"
#include <math.h>

#define EXACT_MAX 0x1p53

static int is_number(const aip_value *v)
{
        return aip_value_type(v) == AIP_VALUE_INT || aip_value_type(v) == AIP_VALUE_DOUBLE;
}

static const char *type_of(const aip_value *v)
{
        return aip_value_type_name(aip_value_type(v));
}

aip_value *expr_number(double d)
{
        if (d == floor(d) && fabs(d) <= EXACT_MAX)
                return aip_value_int((int64_t)d);
        return aip_value_double(d);
}

static int give(struct expr_machine *m, aip_value *value, aip_value **ret_value)
{
        if (!value)
                return expr_nomem(m);
        *ret_value = value;
        return 0;
}

static int full(struct expr_machine *m, int r)
{
        return r == AIP_ELIMIT ? expr_charge(m, SIZE_MAX) : expr_nomem(m);
}

/* ── lists, texts, objects ───────────────────────────────────────────────────────────────────── */

/* As in jq, + and * join what is text; the buffer is charged before it is filled. */
static int join_texts(struct expr_machine *m, struct aip_str a, struct aip_str b,
                      aip_value **ret_value)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
        int r = expr_charge(m, a.n + b.n);
        if (r < 0)
                return r;
        if ((r = aip_buf_reserve(&text, a.n + b.n + 1)) < 0 || (r = aip_buf_append(&text, a)) < 0 ||
            (r = aip_buf_append(&text, b)) < 0)
                return full(m, r);
        return give(m, aip_value_string(aip_buf_str(&text)), ret_value);
}

static int append_all(struct expr_machine *m, aip_value **list, const aip_value *more)
{
        int r = expr_charge(m, aip_value_size(more) * sizeof(void *));
        for (size_t i = 0; r == 0 && i < aip_value_size(more); i++)
                if (aip_value_list_append(list, aip_value_ref(aip_value_at(more, i))) < 0)
                        r = expr_nomem(m);
        return r;
}

static int join_lists(struct expr_machine *m, const aip_value *a, const aip_value *b,
                      aip_value **ret_value)
{
        /* A reference: the first append copies it, the later ones do not. */
        _cleanup_(aip_value_unref_p) aip_value *list = aip_value_ref(a);
        int r = expr_charge(m, aip_value_size(a) * sizeof(void *));
        if (r == 0)
                r = append_all(m, &list, b);
        return r < 0 ? r : give(m, AIP_TAKE(list), ret_value);
}

static int merge_deep(struct expr_machine *m, const aip_value *a, const aip_value *b,
                      aip_value **ret_value);

static int merge(struct expr_machine *m, const aip_value *a, const aip_value *b, int is_deep,
                 aip_value **ret_value)
{
        _cleanup_(aip_value_unref_p) aip_value *made = aip_value_ref(a);
        int r = expr_charge(m, (aip_value_size(a) + aip_value_size(b)) * 3 * sizeof(void *));
        for (size_t i = 0; r == 0 && i < aip_value_size(b); i++) {
                struct aip_str key;
                const aip_value *theirs = aip_value_member(b, i, &key),
                                *ours = aip_value_get(made, key);
                aip_value *member = NULL;
                if (is_deep && aip_value_type(ours) == AIP_VALUE_OBJECT &&
                    aip_value_type(theirs) == AIP_VALUE_OBJECT)
                        r = merge_deep(m, ours, theirs, &member);
                else
                        member = aip_value_ref(theirs);
                if (r == 0 && aip_value_object_set(&made, key, member) < 0)
                        r = expr_nomem(m);
        }
        return r < 0 ? r : give(m, AIP_TAKE(made), ret_value);
}

/* Values nest 64 deep at most when they come from outside; what is made here is bounded by work. */
static int merge_deep(struct expr_machine *m, const aip_value *a, const aip_value *b,
                      aip_value **ret_value)
{
        return merge(m, a, b, 1, ret_value);
}

static int without(struct expr_machine *m, const aip_value *a, const aip_value *b,
                   aip_value **ret_value)
{
        _cleanup_(aip_value_unref_p) aip_value *list = aip_value_list();
        int r = list ? expr_charge(m, aip_value_size(a) * sizeof(void *)) : expr_nomem(m);
        for (size_t i = 0; r == 0 && i < aip_value_size(a); i++) {
                const aip_value *item = aip_value_at(a, i);
                size_t k = 0, n = aip_value_size(b);
                while (k < n && expr_compare(item, aip_value_at(b, k)) != 0)
                        k++;
                m->steps += (uint32_t)AIP_MIN(k, (size_t)AIP_EXPRESSION_MAX_STEPS);
                if (m->steps > AIP_EXPRESSION_MAX_STEPS)
                        r = expr_charge(m, SIZE_MAX);
                else if (k == n && aip_value_list_append(&list, aip_value_ref(item)) < 0)
                        r = expr_nomem(m);
        }
        return r < 0 ? r : give(m, AIP_TAKE(list), ret_value);
}

static int repeat(struct expr_machine *m, struct aip_str text, double times, aip_value **ret_value)
{
        _cleanup_(aip_buf_deinit) struct aip_buf made = AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
        if (!(times > 0))
                return give(m, aip_value_null(), ret_value);
        double n = times < 1 ? 1 : ceil(times - 1e-9);
        int r = n * (double)text.n > AIP_EXPRESSION_MAX_WORK ? expr_charge(m, SIZE_MAX)
                                                             : expr_charge(m, (size_t)n * text.n);
        for (size_t i = 0; r == 0 && text.n > 0 && i < (size_t)n; i++)
                if ((r = aip_buf_append(&made, text)) < 0)
                        r = full(m, r);
        return r < 0 ? r : give(m, aip_value_string(aip_buf_str(&made)), ret_value);
}

static int split_text(struct expr_machine *m, struct aip_str text, struct aip_str by,
                      aip_value **ret_value)
{
        _cleanup_(aip_value_unref_p) aip_value *list = aip_value_list();
        int r = list ? expr_charge(m, text.n * (by.n ? 1 : 16)) : expr_nomem(m);
        size_t from = 0;
        while (r == 0 && text.n > 0) {
                size_t end = from, next;
                if (by.n == 0) { /* every character */
                        aip_text_next(text, &end);
                        next = end;
                } else {
                        const char *found = memmem(text.p + from, text.n - from, by.p, by.n);
                        end = found ? (size_t)(found - text.p) : text.n;
                        next = end + by.n;
                }
                if (aip_value_list_append(
                            &list, aip_value_string(aip_str_make(text.p + from, end - from))) < 0)
                        r = expr_nomem(m);
                if (by.n == 0 ? next >= text.n : end >= text.n)
                        break;
                from = next;
        }
        return r < 0 ? r : give(m, AIP_TAKE(list), ret_value);
}

/* ── numbers ─────────────────────────────────────────────────────────────────────────────────── */

static int whole(enum expr_binary op, int64_t a, int64_t b, int64_t *ret)
{
        if (op == EXPR_ADD)
                return !__builtin_add_overflow(a, b, ret);
        if (op == EXPR_SUBTRACT)
                return !__builtin_sub_overflow(a, b, ret);
        if (op == EXPR_MULTIPLY)
                return !__builtin_mul_overflow(a, b, ret);
        if (b == 0 || b == -1 || a % b != 0)
                return 0;
        *ret = a / b;
        return 1;
}

/* What jq does: of the whole parts, with the sign of the first. */
static int remainder_of(struct expr_machine *m, double a, double b, aip_value **ret_value)
{
        if (isnan(a) || isnan(b) || fabs(a) >= 0x1p63 || fabs(b) >= 0x1p63)
                return expr_fail(m, "too large for a remainder");
        int64_t x = (int64_t)a, y = (int64_t)b;
        if (y == 0)
                return expr_fail(m, "division by zero");
        y = y < 0 ? -y : y;
        return give(m, aip_value_int(x < 0 ? -(-x % y) : x % y), ret_value);
}

static int arithmetic(struct expr_machine *m, enum expr_binary op, const aip_value *a,
                      const aip_value *b, aip_value **ret_value)
{
        double x = aip_value_as_double(a, 0), y = aip_value_as_double(b, 0);
        int64_t exact;
        if (op == EXPR_REMAINDER)
                return remainder_of(m, x, y, ret_value);
        if (op == EXPR_DIVIDE && y == 0)
                return expr_fail(m, "division by zero");
        if (aip_value_type(a) == AIP_VALUE_INT && aip_value_type(b) == AIP_VALUE_INT &&
            whole(op, aip_value_as_int(a, 0), aip_value_as_int(b, 0), &exact))
                return give(m, aip_value_int(exact), ret_value);
        double made = op == EXPR_ADD        ? x + y
                      : op == EXPR_SUBTRACT ? x - y
                      : op == EXPR_MULTIPLY ? x * y
                                            : x / y;
        return give(m, expr_number(made), ret_value);
}

static int is_comparison(enum expr_binary op)
{
        return op <= EXPR_GE;
}

static int compare(struct expr_machine *m, enum expr_binary op, const aip_value *a,
                   const aip_value *b, aip_value **ret_value)
{
        int order = expr_compare(a, b);
        const int truths[] = {[EXPR_EQ] = order == 0,
                              [EXPR_NE] = order != 0,
                              [EXPR_LT] = order<0, [EXPR_LE] = order <= 0, [EXPR_GT] = order> 0,
                              [EXPR_GE] = order >= 0};
        return give(m, aip_value_bool(truths[op]), ret_value);
}

static int mixed(struct expr_machine *m, enum expr_binary op, const aip_value *a,
                 const aip_value *b, aip_value **ret_value)
{
        if (op == EXPR_ADD && aip_value_type(a) == AIP_VALUE_NULL)
                return give(m, b ? aip_value_ref(b) : aip_value_null(), ret_value);
        if (op == EXPR_ADD && aip_value_type(b) == AIP_VALUE_NULL)
                return give(m, aip_value_ref(a), ret_value);
        if (op == EXPR_MULTIPLY && aip_value_type(a) == AIP_VALUE_STRING && is_number(b))
                return repeat(m, aip_value_as_string(a), aip_value_as_double(b, 0), ret_value);
        if (op == EXPR_MULTIPLY && aip_value_type(b) == AIP_VALUE_STRING && is_number(a))
                return repeat(m, aip_value_as_string(b), aip_value_as_double(a, 0), ret_value);
        static const char *const verbs[] = {[EXPR_ADD] = "added",
                                            [EXPR_SUBTRACT] = "subtracted",
                                            [EXPR_MULTIPLY] = "multiplied",
                                            [EXPR_DIVIDE] = "divided",
                                            [EXPR_REMAINDER] = "divided"};
        return expr_fail(m, "%s and %s cannot be %s", type_of(a), type_of(b), verbs[op]);
}

int expr_binary(struct expr_machine *m, enum expr_binary op, const aip_value *a, const aip_value *b,
                aip_value **ret_value)
{
        enum aip_value_type type = aip_value_type(a);
        if (is_comparison(op))
                return compare(m, op, a, b, ret_value);
        if (is_number(a) && is_number(b))
                return arithmetic(m, op, a, b, ret_value);
        if (type != aip_value_type(b))
                return mixed(m, op, a, b, ret_value);
        if (type == AIP_VALUE_STRING && op == EXPR_ADD)
                return join_texts(m, aip_value_as_string(a), aip_value_as_string(b), ret_value);
        if (type == AIP_VALUE_STRING && op == EXPR_DIVIDE)
                return split_text(m, aip_value_as_string(a), aip_value_as_string(b), ret_value);
        if (type == AIP_VALUE_LIST && op == EXPR_ADD)
                return join_lists(m, a, b, ret_value);
        if (type == AIP_VALUE_LIST && op == EXPR_SUBTRACT)
                return without(m, a, b, ret_value);
        if (type == AIP_VALUE_OBJECT && (op == EXPR_ADD || op == EXPR_MULTIPLY))
                return merge(m, a, b, op == EXPR_MULTIPLY, ret_value);
        return mixed(m, op, a, b, ret_value);
}

/* ── access ──────────────────────────────────────────────────────────────────────────────────── */

int expr_index(struct expr_machine *m, const aip_value *value, const aip_value *key,
               aip_value **ret_value)
{
        enum aip_value_type type = aip_value_type(value), by = aip_value_type(key);
        const aip_value *found = NULL;
        if (type == AIP_VALUE_OBJECT && by == AIP_VALUE_STRING) {
                found = aip_value_get(value, aip_value_as_string(key));
        } else if (type == AIP_VALUE_LIST && is_number(key)) {
                double at = floor(aip_value_as_double(key, 0)), n = (double)aip_value_size(value);
                at = at < 0 ? at + n : at;
                found = at >= 0 && at < n ? aip_value_at(value, (size_t)at) : NULL;
        } else if (type != AIP_VALUE_NULL ||
                   !(by == AIP_VALUE_STRING || by == AIP_VALUE_NULL || is_number(key))) {
                if (by == AIP_VALUE_STRING)
                        return expr_fail(m, "%s has no member \"%.*s\"", type_of(value),
                                         (int)AIP_MIN(aip_value_as_string(key).n, (size_t)100),
                                         aip_value_as_string(key).p);
                return expr_fail(m, "%s cannot be indexed with %s", type_of(value), type_of(key));
        }
        return give(m, found ? aip_value_ref(found) : aip_value_null(), ret_value);
}

/* Bounds of a slice of n items. */
static int bounds(struct expr_machine *m, const aip_value *from, const aip_value *to, size_t n,
                  size_t *ret_from, size_t *ret_to)
{
        double f = 0, t = (double)n;
        if ((aip_value_type(from) != AIP_VALUE_NULL && !is_number(from)) ||
            (aip_value_type(to) != AIP_VALUE_NULL && !is_number(to)))
                return expr_fail(m, "the bounds of a slice are numbers");
        if (is_number(from))
                f = floor(aip_value_as_double(from, 0));
        if (is_number(to))
                t = ceil(aip_value_as_double(to, 0));
        f = f < 0 ? f + (double)n : f;
        t = t < 0 ? t + (double)n : t;
        f = AIP_MAX(0.0, AIP_MIN(f, (double)n));
        t = AIP_MAX(f, AIP_MIN(t, (double)n));
        *ret_from = (size_t)f;
        *ret_to = (size_t)t;
        return 0;
}

static int slice_text(struct expr_machine *m, struct aip_str text, const aip_value *from,
                      const aip_value *to, aip_value **ret_value)
{
        size_t first, last, at = 0, begin;
        int r = bounds(m, from, to, (size_t)AIP_MAX(aip_str_utf8_length(text), (int64_t)0), &first,
                       &last);
        if (r < 0)
                return r;
        for (size_t i = 0; i < first; i++)
                aip_text_next(text, &at);
        begin = at;
        for (size_t i = first; i < last; i++)
                aip_text_next(text, &at);
        if ((r = expr_charge(m, at - begin)) < 0)
                return r;
        return give(m, aip_value_string(aip_str_make(text.p + begin, at - begin)), ret_value);
}

int expr_slice(struct expr_machine *m, const aip_value *value, const aip_value *from,
               const aip_value *to, aip_value **ret_value)
{
        _cleanup_(aip_value_unref_p) aip_value *list = NULL;
        size_t first, last;
        int r;
        if (aip_value_type(value) == AIP_VALUE_NULL)
                return give(m, aip_value_null(), ret_value);
        if (aip_value_type(value) == AIP_VALUE_STRING)
                return slice_text(m, aip_value_as_string(value), from, to, ret_value);
        if (aip_value_type(value) != AIP_VALUE_LIST)
                return expr_fail(m, "%s cannot be sliced", type_of(value));
        if ((r = bounds(m, from, to, aip_value_size(value), &first, &last)) < 0 ||
            (r = expr_charge(m, (last - first) * sizeof(void *))) < 0)
                return r;
        list = aip_value_list();
        for (size_t i = first; list && i < last; i++)
                if (aip_value_list_append(&list, aip_value_ref(aip_value_at(value, i))) < 0)
                        return expr_nomem(m);
        return give(m, AIP_TAKE(list), ret_value);
}

/* ── conversions ─────────────────────────────────────────────────────────────────────────────── */

static const char *const formats[] = {"text", "json", "uri", "base64"};

int expr_format_find(struct aip_str name)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(formats); i++)
                if (aip_str_eq(name, aip_str_of(formats[i])))
                        return (int)i;
        return -1;
}

int expr_to_text(struct expr_machine *m, const aip_value *value, struct aip_buf *out)
{
        size_t before = out->n;
        int r = aip_value_type(value) == AIP_VALUE_STRING
                        ? aip_buf_append(out, aip_value_as_string(value))
                        : aip_value_print(value, out, NULL);
        if (r < 0)
                return r == AIP_ELIMIT ? expr_fail(m, "too large or too deep to be written as JSON")
                                       : expr_nomem(m);
        return expr_charge(m, out->n - before);
}

static int put_uri(struct aip_str text, struct aip_buf *out)
{
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789-_.~";
        int r = 0;
        for (size_t i = 0; r == 0 && i < text.n; i++)
                r = text.p[i] && strchr(plain, text.p[i])
                            ? aip_buf_append_char(out, text.p[i])
                            : aip_buf_printf(out, "%%%02X", (unsigned char)text.p[i]);
        return r;
}

static int put_base64(struct aip_str text, struct aip_buf *out)
{
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        int r = 0;
        for (size_t i = 0; r == 0 && i < text.n; i += 3) {
                size_t n = AIP_MIN(text.n - i, (size_t)3);
                uint32_t bits = 0;
                char quad[4] = {'=', '=', '=', '='};
                for (size_t k = 0; k < n; k++)
                        bits |= (uint32_t)(unsigned char)text.p[i + k] << (16 - 8 * k);
                for (size_t k = 0; k <= n; k++)
                        quad[k] = digits[(bits >> (18 - 6 * k)) & 0x3f];
                r = aip_buf_append(out, aip_str_make(quad, 4));
        }
        return r;
}

int expr_convert(struct expr_machine *m, unsigned format, const aip_value *value,
                 struct aip_buf *out)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
        int r;
        if (format == 0)
                return expr_to_text(m, value, out);
        if (format == 1) {
                r = aip_value_print(value, out, NULL);
                return r == 0            ? 0
                       : r == AIP_ENOMEM ? expr_nomem(m)
                                         : expr_fail(m, "too large or too deep for JSON");
        }
        if ((r = expr_to_text(m, value, &text)) < 0 || (r = expr_charge(m, 3 * text.n)) < 0)
                return r;
        r = format == 2 ? put_uri(aip_buf_str(&text), out) : put_base64(aip_buf_str(&text), out);
        return r < 0 ? full(m, r) : 0;
}
