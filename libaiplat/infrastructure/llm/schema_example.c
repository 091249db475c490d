/* See schema_example.h. */
#include "llm/schema_example.h"
#include "llm/simulated_answer.h"
#include "macros.h"

/* Deeper, and where a schema refers to itself, stands null. */
#define DEPTH_MAX  12
#define LEAST_TEXT AIP_SIMULATED_LABEL "text"

static aip_value *example(const aip_value *root, const aip_value *schema, int depth);

static const aip_value *member(const aip_value *schema, const char *name)
{
        return aip_value_get_cstr(schema, name);
}

static int is_listed(const aip_value *list, struct aip_str name)
{
        for (size_t i = 0; i < aip_value_size(list); i++) {
                if (aip_str_eq(aip_value_as_string(aip_value_at(list, i)), name))
                        return 1;
        }
        return 0;
}

/* "#/$defs/name", "#/definitions/name": the schema there, or NULL. */
static const aip_value *find_reference(const aip_value *root, struct aip_str reference)
{
        const aip_value *found = root;
        if (reference.n < 2 || memcmp(reference.p, "#/", 2) != 0)
                return NULL;
        struct aip_str path = aip_str_make(reference.p + 2, reference.n - 2);
        while (path.n > 0) {
                const char *slash = memchr(path.p, '/', path.n);
                size_t n = slash ? (size_t)(slash - path.p) : path.n;
                size_t used = slash ? n + 1 : n;
                found = aip_value_get(found, aip_str_make(path.p, n));
                path = aip_str_make(path.p + used, path.n - used);
        }
        return found;
}

/* What is required; all there is where nothing is. */
static aip_value *example_object(const aip_value *root, const aip_value *schema, int depth)
{
        const aip_value *properties = member(schema, "properties");
        const aip_value *required = member(schema, "required");
        aip_value *object = aip_value_object();
        int r = object ? 0 : AIP_ENOMEM;
        for (size_t i = 0; r == 0 && i < aip_value_size(properties); i++) {
                struct aip_str name;
                const aip_value *property = aip_value_member(properties, i, &name);
                if (!required || is_listed(required, name))
                        r = aip_value_object_set(&object, name, example(root, property, depth + 1));
        }
        if (r == 0)
                return object;
        aip_value_unref(object);
        return NULL;
}

static aip_value *example_list(const aip_value *root, const aip_value *schema, int depth)
{
        aip_value *list = aip_value_list();
        int64_t n = AIP_MIN(aip_value_as_int(member(schema, "minItems"), 1), INT64_C(100));
        int r = list ? 0 : AIP_ENOMEM;
        for (int64_t i = 0; r == 0 && i < n; i++)
                r = aip_value_list_append(&list, example(root, member(schema, "items"), depth + 1));
        if (r == 0)
                return list;
        aip_value_unref(list);
        return NULL;
}

/* Of several types the first. */
static struct aip_str type_of(const aip_value *schema)
{
        const aip_value *type = member(schema, "type");
        struct aip_str name = aip_value_as_string(
                aip_value_type(type) == AIP_VALUE_LIST ? aip_value_at(type, 0) : type);
        if (name.n > 0)
                return name;
        return member(schema, "properties") ? AIP_STR("object") : AIP_STR("string");
}

static aip_value *example_of_type(const aip_value *root, const aip_value *schema, int depth)
{
        struct aip_str type = type_of(schema);
        const aip_value *minimum = member(schema, "minimum");
        if (aip_str_eq(type, AIP_STR("object")))
                return example_object(root, schema, depth);
        if (aip_str_eq(type, AIP_STR("array")))
                return example_list(root, schema, depth);
        if (aip_str_eq(type, AIP_STR("integer")) || aip_str_eq(type, AIP_STR("number")))
                return minimum ? aip_value_ref(minimum) : aip_value_int(1);
        if (aip_str_eq(type, AIP_STR("boolean")))
                return aip_value_bool(1);
        if (aip_str_eq(type, AIP_STR("null")))
                return aip_value_null();
        return aip_value_string(AIP_STR(LEAST_TEXT));
}

/* A value that the schema itself gives, or NULL. */
static const aip_value *given(const aip_value *schema)
{
        const aip_value *value = member(schema, "const");
        if (!value)
                value = member(schema, "default");
        if (!value)
                value = aip_value_at(member(schema, "examples"), 0);
        return value ? value : aip_value_at(member(schema, "enum"), 0);
}

/* The first of alternatives, or NULL. */
static const aip_value *first_choice(const aip_value *schema)
{
        const aip_value *choice = aip_value_at(member(schema, "anyOf"), 0);
        if (!choice)
                choice = aip_value_at(member(schema, "oneOf"), 0);
        return choice ? choice : aip_value_at(member(schema, "allOf"), 0);
}

static aip_value *example(const aip_value *root, const aip_value *schema, int depth)
{
        const aip_value *reference = member(schema, "$ref");
        const aip_value *value = given(schema);
        if (depth > DEPTH_MAX)
                return aip_value_null();
        if (reference)
                return example(root, find_reference(root, aip_value_as_string(reference)),
                               depth + 1);
        if (value)
                return aip_value_ref(value);
        if (first_choice(schema))
                return example(root, first_choice(schema), depth + 1);
        return example_of_type(root, schema, depth);
}

aip_value *aip_schema_example(const aip_value *schema)
{
        return schema ? example(schema, schema, 0) : aip_value_object();
}
