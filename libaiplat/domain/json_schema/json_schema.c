/*
 * JSON schemas: made, counted, and checked as such (aiplat/json_schema.h). Called by whoever keeps one.
 * Must refuse what json_schema_check.c does not check.
 */
#include "json_schema/schema_impl.h"
#include "macros.h"
#include "mem.h"

AIP_DEFINE_CLEANUP(aip_json_schema *, aip_json_schema_unref);

aip_json_schema *aip_json_schema_ref(const aip_json_schema *schema)
{
        aip_json_schema *counted = (aip_json_schema *)schema;
        if (counted)
                atomic_fetch_add_explicit(&counted->n_refs, 1, memory_order_relaxed);
        return counted;
}

void aip_json_schema_unref(aip_json_schema *schema)
{
        if (!schema || atomic_fetch_sub_explicit(&schema->n_refs, 1, memory_order_acq_rel) != 1)
                return;
        aip_value_unref(schema->root);
        aip_free(schema);
}

/* What stands behind a keyword. */
enum shape {
        ANYTHING, /* nobody reads it */
        SCHEMA,
        SCHEMAS,    /* a list of at least one */
        SCHEMA_MAP, /* an object of them */
        NUMBER,
        POSITIVE, /* a number over 0 */
        COUNT,    /* an integer from 0 */
        FLAG,
        TEXT,
        LIST,
        NAMES, /* a list of strings */
        TYPE,
        REFERENCE
};

struct keyword {
        const char *name;
        enum shape shape;
};

static const struct keyword keywords[] = {
        {"type", TYPE},
        {"properties", SCHEMA_MAP},
        {"required", NAMES},
        {"description", TEXT},
        {"enum", LIST},
        {"items", SCHEMA},
        {"additionalProperties", SCHEMA},
        {"const", ANYTHING},
        {"minimum", NUMBER},
        {"maximum", NUMBER},
        {"exclusiveMinimum", NUMBER},
        {"exclusiveMaximum", NUMBER},
        {"multipleOf", POSITIVE},
        {"minLength", COUNT},
        {"maxLength", COUNT},
        {"minItems", COUNT},
        {"maxItems", COUNT},
        {"uniqueItems", FLAG},
        {"minProperties", COUNT},
        {"maxProperties", COUNT},
        {"anyOf", SCHEMAS},
        {"oneOf", SCHEMAS},
        {"allOf", SCHEMAS},
        {"not", SCHEMA},
        {"$ref", REFERENCE},
        {"$defs", SCHEMA_MAP},
        {"definitions", SCHEMA_MAP},
        {"$schema", TEXT},
        {"$id", TEXT},
        {"$comment", TEXT},
        {"title", TEXT},
        {"format", TEXT},
        {"default", ANYTHING},
        {"examples", ANYTHING},
        {"deprecated", FLAG},
        {"readOnly", FLAG},
        {"writeOnly", FLAG},
};

static int check_schema(const aip_value *root, const struct aip_place *at, const aip_value *schema,
                        aip_error **err);

static int check_schemas(const aip_value *root, const struct aip_place *at, const aip_value *list,
                         aip_error **err)
{
        int r = aip_place_type(at, list, AIP_VALUE_LIST, err);
        if (r == 0 && aip_value_size(list) == 0)
                return aip_place_fail(at, AIP_EINVAL, err, "must have at least one schema");
        for (size_t i = 0; r == 0 && i < aip_value_size(list); i++) {
                struct aip_place here = aip_place_element(at, i);
                r = check_schema(root, &here, aip_value_at(list, i), err);
        }
        return r;
}

static int check_map(const aip_value *root, const struct aip_place *at, const aip_value *map,
                     aip_error **err)
{
        int r = aip_place_type(at, map, AIP_VALUE_OBJECT, err);
        for (size_t i = 0; r == 0 && i < aip_value_size(map); i++) {
                struct aip_place here = {at, {NULL, 0}, 0};
                const aip_value *schema = aip_value_member(map, i, &here.key);
                r = check_schema(root, &here, schema, err);
        }
        return r;
}

static int check_number(const struct aip_place *at, const aip_value *value, enum shape shape,
                        aip_error **err)
{
        enum aip_value_type type = aip_value_type(value);
        if (type != AIP_VALUE_INT && (type != AIP_VALUE_DOUBLE || shape == COUNT))
                return aip_place_type(at, value, shape == COUNT ? AIP_VALUE_INT : AIP_VALUE_DOUBLE,
                                      err);
        double number = aip_value_as_double(value, 0);
        if (shape == POSITIVE && !(number > 0))
                return aip_place_fail(at, AIP_EINVAL, err, "must be greater than 0");
        if (shape == COUNT && number < 0)
                return aip_place_fail(at, AIP_EINVAL, err, "must not be negative");
        return 0;
}

static int check_names(const struct aip_place *at, const aip_value *list, aip_error **err)
{
        int r = aip_place_type(at, list, AIP_VALUE_LIST, err);
        for (size_t i = 0; r == 0 && i < aip_value_size(list); i++) {
                struct aip_place here = aip_place_element(at, i);
                r = aip_place_type(&here, aip_value_at(list, i), AIP_VALUE_STRING, err);
        }
        return r;
}

static int check_type_name(const struct aip_place *at, const aip_value *value, aip_error **err)
{
        int r = aip_place_type(at, value, AIP_VALUE_STRING, err);
        if (r < 0 || aip_schema_is_type_name(aip_value_as_string(value)))
                return r;
        return aip_place_fail(at, AIP_EINVAL, err,
                              "must be one of null, boolean, integer, number, string, array and "
                              "object");
}

/* A name, or a list of them. */
static int check_types(const struct aip_place *at, const aip_value *value, aip_error **err)
{
        int r = 0;
        if (aip_value_type(value) != AIP_VALUE_LIST)
                return check_type_name(at, value, err);
        for (size_t i = 0; r == 0 && i < aip_value_size(value); i++) {
                struct aip_place here = aip_place_element(at, i);
                r = check_type_name(&here, aip_value_at(value, i), err);
        }
        return r;
}

static int check_reference(const aip_value *root, const struct aip_place *at,
                           const aip_value *value, aip_error **err)
{
        int r = aip_place_type(at, value, AIP_VALUE_STRING, err);
        if (r < 0)
                return r;
        const aip_value *target = aip_schema_resolve(root, aip_value_as_string(value));
        enum aip_value_type type = aip_value_type(target);
        if (type == AIP_VALUE_OBJECT || type == AIP_VALUE_BOOL)
                return 0;
        return aip_place_fail(at, AIP_EINVAL, err,
                              "must be \"#\" and a JSON pointer to a schema within this one");
}

static int check_keyword(const aip_value *root, const struct aip_place *at, enum shape shape,
                         const aip_value *value, aip_error **err)
{
        switch (shape) {
        case SCHEMA:
                return check_schema(root, at, value, err);
        case SCHEMAS:
                return check_schemas(root, at, value, err);
        case SCHEMA_MAP:
                return check_map(root, at, value, err);
        case NUMBER:
        case POSITIVE:
        case COUNT:
                return check_number(at, value, shape, err);
        case FLAG:
                return aip_place_type(at, value, AIP_VALUE_BOOL, err);
        case TEXT:
                return aip_place_type(at, value, AIP_VALUE_STRING, err);
        case LIST:
                return aip_place_type(at, value, AIP_VALUE_LIST, err);
        case NAMES:
                return check_names(at, value, err);
        case TYPE:
                return check_types(at, value, err);
        case REFERENCE:
                return check_reference(root, at, value, err);
        case ANYTHING:
                break;
        }
        return 0;
}

static int check_member(const aip_value *root, const struct aip_place *at, const aip_value *value,
                        aip_error **err)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(keywords); i++) {
                if (aip_str_eq(aip_str_of(keywords[i].name), at->key))
                        return check_keyword(root, at, keywords[i].shape, value, err);
        }
        return aip_place_fail(at, AIP_EINVAL, err, "this keyword is not checked, so it is refused");
}

static int check_schema(const aip_value *root, const struct aip_place *at, const aip_value *schema,
                        aip_error **err)
{
        if (aip_value_type(schema) == AIP_VALUE_BOOL)
                return 0;
        int r = aip_place_type(at, schema, AIP_VALUE_OBJECT, err);
        for (size_t i = 0; r == 0 && i < aip_value_size(schema); i++) {
                struct aip_place here = {at, {NULL, 0}, 0};
                const aip_value *value = aip_value_member(schema, i, &here.key);
                r = check_member(root, &here, value, err);
        }
        return r;
}

int aip_schema_new_at(const struct aip_place *at, const aip_value *value,
                      aip_json_schema **ret_schema, aip_error **err)
{
        _cleanup_(aip_json_schema_unref_p) aip_json_schema *schema = aip_calloc(1, sizeof(*schema));
        if (!schema)
                return aip_error_set_nomem(err);
        atomic_init(&schema->n_refs, 1);
        schema->root = aip_value_copy_deep(value);
        if (!schema->root)
                return aip_error_set_nomem(err);
        int r = check_schema(schema->root, at, schema->root, err);
        if (r == 0)
                *ret_schema = AIP_TAKE(schema);
        return r;
}

int aip_json_schema_new(const char *what, const aip_value *value, aip_json_schema **ret_schema,
                        aip_error **err)
{
        struct aip_place at = {NULL, aip_str_of(what), 0};
        return aip_schema_new_at(&at, value, ret_schema, err);
}

/* One step of a JSON pointer, unescaped into `room`. */
static int unescape(struct aip_str step, char *room, size_t bytes, struct aip_str *ret)
{
        size_t n = 0;
        for (size_t i = 0; i < step.n; i++) {
                if (n == bytes)
                        return -1;
                room[n++] = step.p[i];
                if (step.p[i] != '~')
                        continue;
                if (++i == step.n || (step.p[i] != '0' && step.p[i] != '1'))
                        return -1;
                room[n - 1] = step.p[i] == '0' ? '~' : '/';
        }
        *ret = aip_str_make(room, n);
        return 0;
}

static const aip_value *element_of(const aip_value *list, struct aip_str step)
{
        size_t index = 0;
        if (step.n == 0 || step.n > 9)
                return NULL;
        for (size_t i = 0; i < step.n; i++) {
                if (step.p[i] < '0' || step.p[i] > '9')
                        return NULL;
                index = index * 10 + (size_t)(step.p[i] - '0');
        }
        return aip_value_at(list, index);
}

const aip_value *aip_schema_resolve(const aip_value *root, struct aip_str reference)
{
        const aip_value *at = root;
        if (reference.n == 0 || reference.p[0] != '#')
                return NULL;
        const char *p = reference.p + 1, *end = reference.p + reference.n;
        while (at && p < end) {
                char room[256];
                struct aip_str step;
                if (*p++ != '/')
                        return NULL;
                const char *slash = memchr(p, '/', (size_t)(end - p));
                size_t bytes = (size_t)((slash ? slash : end) - p);
                if (unescape(aip_str_make(p, bytes), room, sizeof(room), &step) < 0)
                        return NULL;
                at = aip_value_type(at) == AIP_VALUE_LIST ? element_of(at, step)
                                                          : aip_value_get(at, step);
                p += bytes;
        }
        return at;
}
