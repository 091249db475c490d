/*
 * Applying a JSON schema to a value. Called on whatever thread has the value; the schema is only read.
 * Always ends: every schema that is applied and every comparison is a step, and steps are bounded; so is
 * the nesting, however $refs lead in circles.
 */
#include "json_schema/schema_impl.h"
#include "macros.h"
#include <math.h>

#define DEPTH_MAX 256

struct check {
        const aip_value *root; /* of the schema */
        uint32_t n_steps, depth;
};

/* One value that is being checked. With `err` NULL nobody asks why not. */
struct subject {
        struct check *check;
        const struct aip_place *at;
        const aip_value *value;
        const aip_value *schema; /* in which the keyword stands */
        aip_error **err;
};

static int apply(struct check *check, const struct aip_place *at, const aip_value *schema,
                 const aip_value *value, aip_error **err);

static int step(struct check *check, const struct aip_place *at, aip_error **err)
{
        if (++check->n_steps <= AIP_JSON_SCHEMA_MAX_STEPS)
                return 0;
        return aip_place_fail(at, AIP_ELIMIT, err, "takes more than %d steps to check",
                              AIP_JSON_SCHEMA_MAX_STEPS);
}

/* Types. */

static int is_integral(const aip_value *value)
{
        double d = aip_value_as_double(value, 0.5);
        return aip_value_type(value) == AIP_VALUE_INT || (isfinite(d) && floor(d) == d);
}

static const char *const type_names[] = {"null",   "boolean", "integer", "number",
                                         "string", "array",   "object",  NULL};

int aip_schema_is_type_name(struct aip_str name)
{
        for (const char *const *known = type_names; *known; known++) {
                if (aip_str_eq(aip_str_of(*known), name))
                        return 1;
        }
        return 0;
}

int aip_schema_is_type(struct aip_str name, const aip_value *value)
{
        switch (aip_value_type(value)) {
        case AIP_VALUE_NULL:
                return aip_str_eq(name, AIP_STR("null"));
        case AIP_VALUE_BOOL:
                return aip_str_eq(name, AIP_STR("boolean"));
        case AIP_VALUE_INT:
        case AIP_VALUE_DOUBLE:
                return aip_str_eq(name, AIP_STR("number")) ||
                       (aip_str_eq(name, AIP_STR("integer")) && is_integral(value));
        case AIP_VALUE_STRING:
                return aip_str_eq(name, AIP_STR("string"));
        case AIP_VALUE_LIST:
                return aip_str_eq(name, AIP_STR("array"));
        case AIP_VALUE_OBJECT:
                return aip_str_eq(name, AIP_STR("object"));
        }
        return 0;
}

static int check_type(const struct subject *s, const aip_value *wanted)
{
        _cleanup_(aip_buf_deinit) struct aip_buf names = AIP_BUF_INIT(200);
        int is_list = aip_value_type(wanted) == AIP_VALUE_LIST, r = 0;
        size_t n = is_list ? aip_value_size(wanted) : 1;
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_str name =
                        aip_value_as_string(is_list ? aip_value_at(wanted, i) : wanted);
                if (aip_schema_is_type(name, s->value))
                        return 0;
                r = aip_buf_printf(&names, "%s%.*s", i ? " or " : "", AIP_STR_ARG(name));
        }
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(s->err);
        return aip_place_fail(s->at, AIP_EINVAL, s->err, "must be of type %s, not %s",
                              names.n ? names.p : "none", aip_place_a(aip_value_type(s->value)));
}

/* Any value. */

static int check_enum(const struct subject *s, const aip_value *list)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(500);
        for (size_t i = 0; i < aip_value_size(list); i++) {
                int r = step(s->check, s->at, s->err);
                if (r < 0)
                        return r;
                if (aip_value_equal(aip_value_at(list, i), s->value))
                        return 0;
        }
        int r = aip_value_print(list, &text, NULL);
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(s->err);
        return aip_place_fail(s->at, AIP_EINVAL, s->err, "must be one of %s",
                              r == 0 ? text.p : "the values in enum");
}

static int check_const(const struct subject *s, const aip_value *wanted)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(500);
        if (aip_value_equal(wanted, s->value))
                return 0;
        int r = aip_value_print(wanted, &text, NULL);
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(s->err);
        return aip_place_fail(s->at, AIP_EINVAL, s->err, "must be %s",
                              r == 0 ? text.p : "the value in const");
}

static int check_ref(const struct subject *s, const aip_value *reference)
{
        const aip_value *schema =
                aip_schema_resolve(s->check->root, aip_value_as_string(reference));
        return apply(s->check, s->at, schema, s->value, s->err);
}

static int check_all_of(const struct subject *s, const aip_value *schemas)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < aip_value_size(schemas); i++)
                r = apply(s->check, s->at, aip_value_at(schemas, i), s->value, s->err);
        return r;
}

/* How many of the schemas hold, at most `enough`; negative for an error that is no refusal. */
static int count_holding(const struct subject *s, const aip_value *schemas, int enough)
{
        int n = 0;
        for (size_t i = 0; n < enough && i < aip_value_size(schemas); i++) {
                aip_error *why = NULL;
                int r = apply(s->check, s->at, aip_value_at(schemas, i), s->value, &why);
                if (r < 0 && r != AIP_EINVAL)
                        return aip_error_propagate(s->err, why);
                aip_error_free(why);
                n += r == 0;
        }
        return n;
}

static int check_any_of(const struct subject *s, const aip_value *schemas)
{
        int n = count_holding(s, schemas, 1);
        if (n != 0)
                return n < 0 ? n : 0;
        return aip_place_fail(s->at, AIP_EINVAL, s->err, "is as none of the schemas in anyOf says");
}

static int check_one_of(const struct subject *s, const aip_value *schemas)
{
        int n = count_holding(s, schemas, 2);
        if (n < 0 || n == 1)
                return n < 0 ? n : 0;
        return aip_place_fail(s->at, AIP_EINVAL, s->err, "is as %s of the schemas in oneOf says",
                              n == 0 ? "none" : "more than one");
}

static int check_not(const struct subject *s, const aip_value *schema)
{
        aip_error *why = NULL;
        int r = apply(s->check, s->at, schema, s->value, &why);
        if (r == 0)
                return aip_place_fail(s->at, AIP_EINVAL, s->err,
                                      "is what the schema in not excludes");
        if (r != AIP_EINVAL)
                return aip_error_propagate(s->err, why);
        aip_error_free(why);
        return 0;
}

/* Numbers. */

static int is_number(const aip_value *value)
{
        enum aip_value_type type = aip_value_type(value);
        return type == AIP_VALUE_INT || type == AIP_VALUE_DOUBLE;
}

/* <0, 0, >0 as the value is less than, equal to or greater than `limit`; 0 for what is no number. */
static int compare(const aip_value *value, const aip_value *limit)
{
        if (aip_value_type(value) == AIP_VALUE_INT && aip_value_type(limit) == AIP_VALUE_INT) {
                int64_t i = aip_value_as_int(value, 0), j = aip_value_as_int(limit, 0);
                return (i > j) - (i < j);
        }
        double x = aip_value_as_double(value, 0), y = aip_value_as_double(limit, 0);
        return (x > y) - (x < y);
}

static int fail_limit(const struct subject *s, const char *how, const aip_value *limit)
{
        return aip_place_fail(s->at, AIP_EINVAL, s->err, "must be %s %.17g", how,
                              aip_value_as_double(limit, 0));
}

static int check_minimum(const struct subject *s, const aip_value *limit)
{
        int is_fine = !is_number(s->value) || compare(s->value, limit) >= 0;
        return is_fine ? 0 : fail_limit(s, "at least", limit);
}

static int check_maximum(const struct subject *s, const aip_value *limit)
{
        int is_fine = !is_number(s->value) || compare(s->value, limit) <= 0;
        return is_fine ? 0 : fail_limit(s, "at most", limit);
}

static int check_exclusive_minimum(const struct subject *s, const aip_value *limit)
{
        int is_fine = !is_number(s->value) || compare(s->value, limit) > 0;
        return is_fine ? 0 : fail_limit(s, "greater than", limit);
}

static int check_exclusive_maximum(const struct subject *s, const aip_value *limit)
{
        int is_fine = !is_number(s->value) || compare(s->value, limit) < 0;
        return is_fine ? 0 : fail_limit(s, "less than", limit);
}

/* By division, as decimal fractions are no exact doubles: 0.3 is a multiple of 0.1. */
static int check_multiple_of(const struct subject *s, const aip_value *of)
{
        int64_t n = aip_value_as_int(s->value, 0), m = aip_value_as_int(of, 0);
        if (!is_number(s->value))
                return 0;
        if (aip_value_type(s->value) == AIP_VALUE_INT && aip_value_type(of) == AIP_VALUE_INT)
                return m > 0 && n % m == 0 ? 0 : fail_limit(s, "a multiple of", of);
        double ratio = aip_value_as_double(s->value, 0) / aip_value_as_double(of, 1);
        int is_fine = isfinite(ratio) && fabs(ratio - round(ratio)) <= 1e-9 * fmax(1, fabs(ratio));
        return is_fine ? 0 : fail_limit(s, "a multiple of", of);
}

/* Texts, lists and objects: how many. */

static int check_least(const struct subject *s, enum aip_value_type type, int64_t n,
                       const aip_value *least, const char *what)
{
        int64_t limit = aip_value_as_int(least, 0);
        if (aip_value_type(s->value) != type || n >= limit)
                return 0;
        return aip_place_fail(s->at, AIP_EINVAL, s->err, "must have at least %lld %s",
                              (long long)limit, what);
}

static int check_most(const struct subject *s, enum aip_value_type type, int64_t n,
                      const aip_value *most, const char *what)
{
        int64_t limit = aip_value_as_int(most, 0);
        if (aip_value_type(s->value) != type || n <= limit)
                return 0;
        return aip_place_fail(s->at, AIP_EINVAL, s->err, "must have at most %lld %s",
                              (long long)limit, what);
}

static int64_t characters(const struct subject *s)
{
        return aip_str_utf8_length(aip_value_as_string(s->value));
}

static int check_min_length(const struct subject *s, const aip_value *n)
{
        return check_least(s, AIP_VALUE_STRING, characters(s), n, "characters");
}

static int check_max_length(const struct subject *s, const aip_value *n)
{
        return check_most(s, AIP_VALUE_STRING, characters(s), n, "characters");
}

static int check_min_items(const struct subject *s, const aip_value *n)
{
        return check_least(s, AIP_VALUE_LIST, (int64_t)aip_value_size(s->value), n, "elements");
}

static int check_max_items(const struct subject *s, const aip_value *n)
{
        return check_most(s, AIP_VALUE_LIST, (int64_t)aip_value_size(s->value), n, "elements");
}

static int check_min_properties(const struct subject *s, const aip_value *n)
{
        return check_least(s, AIP_VALUE_OBJECT, (int64_t)aip_value_size(s->value), n, "members");
}

static int check_max_properties(const struct subject *s, const aip_value *n)
{
        return check_most(s, AIP_VALUE_OBJECT, (int64_t)aip_value_size(s->value), n, "members");
}

/* Lists. */

static int check_items(const struct subject *s, const aip_value *schema)
{
        int r = 0;
        if (aip_value_type(s->value) != AIP_VALUE_LIST)
                return 0;
        for (size_t i = 0; r == 0 && i < aip_value_size(s->value); i++) {
                struct aip_place here = aip_place_element(s->at, i);
                r = apply(s->check, &here, schema, aip_value_at(s->value, i), s->err);
        }
        return r;
}

/* Whether no element before the n-th equals it. */
static int check_new(const struct subject *s, size_t nth)
{
        struct aip_place here = aip_place_element(s->at, nth);
        int r = 0;
        for (size_t i = 0; r == 0 && i < nth; i++) {
                r = step(s->check, s->at, s->err);
                if (r == 0 &&
                    aip_value_equal(aip_value_at(s->value, i), aip_value_at(s->value, nth)))
                        r = aip_place_fail(&here, AIP_EINVAL, s->err, "equals element %zu", i);
        }
        return r;
}

static int check_unique_items(const struct subject *s, const aip_value *wanted)
{
        int r = 0;
        if (aip_value_type(s->value) != AIP_VALUE_LIST || !aip_value_as_bool(wanted, 0))
                return 0;
        for (size_t i = 1; r == 0 && i < aip_value_size(s->value); i++)
                r = check_new(s, i);
        return r;
}

/* Objects. */

static int check_properties(const struct subject *s, const aip_value *properties)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < aip_value_size(properties); i++) {
                struct aip_place here = {s->at, {NULL, 0}, 0};
                const aip_value *schema = aip_value_member(properties, i, &here.key);
                const aip_value *member = aip_value_get(s->value, here.key);
                if (member)
                        r = apply(s->check, &here, schema, member, s->err);
        }
        return r;
}

static int check_required(const struct subject *s, const aip_value *names)
{
        if (aip_value_type(s->value) != AIP_VALUE_OBJECT)
                return 0;
        for (size_t i = 0; i < aip_value_size(names); i++) {
                struct aip_place here = {s->at, aip_value_as_string(aip_value_at(names, i)), 0};
                if (here.key.p && !aip_value_get(s->value, here.key))
                        return aip_place_fail(&here, AIP_EINVAL, s->err, "is missing");
        }
        return 0;
}

static int check_additional(const struct subject *s, const aip_value *schema)
{
        const aip_value *properties = aip_value_get_cstr(s->schema, "properties");
        int is_refused = aip_value_type(schema) == AIP_VALUE_BOOL && !aip_value_as_bool(schema, 1);
        int r = 0;
        if (aip_value_type(s->value) != AIP_VALUE_OBJECT)
                return 0;
        for (size_t i = 0; r == 0 && i < aip_value_size(s->value); i++) {
                struct aip_place here = {s->at, {NULL, 0}, 0};
                const aip_value *member = aip_value_member(s->value, i, &here.key);
                if (aip_value_get(properties, here.key))
                        continue;
                r = is_refused
                            ? aip_place_fail(&here, AIP_EINVAL, s->err, "there is no such member")
                            : apply(s->check, &here, schema, member, s->err);
        }
        return r;
}

struct keyword {
        const char *name;
        int (*check)(const struct subject *s, const aip_value *keyword);
};

static const struct keyword keywords[] = {
        {"type", check_type},
        {"properties", check_properties},
        {"required", check_required},
        {"additionalProperties", check_additional},
        {"enum", check_enum},
        {"const", check_const},
        {"items", check_items},
        {"minimum", check_minimum},
        {"maximum", check_maximum},
        {"exclusiveMinimum", check_exclusive_minimum},
        {"exclusiveMaximum", check_exclusive_maximum},
        {"multipleOf", check_multiple_of},
        {"minLength", check_min_length},
        {"maxLength", check_max_length},
        {"minItems", check_min_items},
        {"maxItems", check_max_items},
        {"uniqueItems", check_unique_items},
        {"minProperties", check_min_properties},
        {"maxProperties", check_max_properties},
        {"anyOf", check_any_of},
        {"oneOf", check_one_of},
        {"allOf", check_all_of},
        {"not", check_not},
        {"$ref", check_ref},
};

static int apply_keywords(struct check *check, const struct aip_place *at, const aip_value *schema,
                          const aip_value *value, aip_error **err)
{
        const struct subject subject = {check, at, value, schema, err};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(keywords); i++) {
                const aip_value *keyword = aip_value_get_cstr(schema, keywords[i].name);
                int r = keyword ? keywords[i].check(&subject, keyword) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int apply(struct check *check, const struct aip_place *at, const aip_value *schema,
                 const aip_value *value, aip_error **err)
{
        int r = step(check, at, err);
        if (r < 0)
                return r;
        if (aip_value_type(schema) == AIP_VALUE_BOOL && !aip_value_as_bool(schema, 1))
                return aip_place_fail(at, AIP_EINVAL, err, "is not allowed");
        if (check->depth == DEPTH_MAX)
                return aip_place_fail(at, AIP_ELIMIT, err, "takes more than %d schemas, nested",
                                      DEPTH_MAX);
        check->depth++;
        r = apply_keywords(check, at, schema, value, err);
        check->depth--;
        return r;
}

int aip_schema_check_at(const aip_json_schema *schema, const struct aip_place *at,
                        const aip_value *value, aip_error **err)
{
        struct check check = {schema->root, 0, 0};
        return apply(&check, at, schema->root, value, err);
}

int aip_json_schema_check(const aip_json_schema *schema, const char *what, const aip_value *value,
                          aip_error **err)
{
        struct aip_place at = {NULL, aip_str_of(what), 0};
        return aip_schema_check_at(schema, &at, value, err);
}
