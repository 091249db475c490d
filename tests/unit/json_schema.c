/* JSON schemas: what they accept, what they refuse and where that points, and what is no schema. */
#include "alloc_fail.h"
#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/json_schema.h>

/* JSON with ' for ", so that it reads in C. */
static aip_value *json(const char *text)
{
        char room[1000];
        size_t n = 0;
        cr_assert_lt(strlen(text), sizeof(room));
        for (; text[n]; n++)
                room[n] = text[n] == '\'' ? '"' : text[n];
        room[n] = '\0';
        return value_of(room);
}

static int check(const char *schema_text, const char *value_text, aip_error **err)
{
        aip_value *source = json(schema_text), *value = json(value_text);
        aip_json_schema *schema = NULL;
        int r = aip_json_schema_new("schema", source, &schema, err);
        aip_value_unref(source);
        if (r == 0)
                r = aip_json_schema_check(schema, "v", value, err);
        aip_json_schema_unref(schema);
        aip_value_unref(value);
        return r;
}

struct schema_case {
        const char *schema, *value;
        const char *refusal; /* how the message begins; NULL: accepted */
};

static const struct schema_case cases[] = {
        {"true", "1", NULL},
        {"false", "1", "v: is not allowed"},
        {"{}", "[1]", NULL},
        {"{'type': 'string'}", "'a'", NULL},
        {"{'type': 'string'}", "1", "v: must be of type string, not an integer"},
        {"{'type': ['string', 'null']}", "null", NULL},
        {"{'type': ['string', 'null']}", "{}", "v: must be of type string or null, not an object"},
        {"{'type': 'integer'}", "3", NULL},
        {"{'type': 'integer'}", "3.0", NULL},
        {"{'type': 'integer'}", "1e300", NULL},
        {"{'type': 'integer'}", "3.5", "v: must be of type integer, not a number"},
        {"{'type': 'number'}", "3", NULL},
        {"{'type': 'number'}", "true", "v: must be of type number, not true or false"},
        {"{'type': 'boolean'}", "true", NULL},
        {"{'type': 'array'}", "[]", NULL},
        {"{'type': 'object'}", "[]", "v: must be of type object, not a list"},
        {"{'enum': [1, 'a', null]}", "null", NULL},
        {"{'enum': [1, 'a']}", "'b'", "v: must be one of [1,\"a\"]"},
        {"{'const': {'a': 1}}", "{'a': 1}", NULL},
        {"{'const': {'a': 1}}", "{'a': 2}", "v: must be {\"a\":1}"},
        {"{'properties': {'a': {'type': 'string'}}}", "{'a': 'x', 'b': 1}", NULL},
        {"{'properties': {'a': {'type': 'string'}}}", "7", NULL},
        {"{'properties': {'a': {'type': 'string'}}}", "{'a': 1}", "v/a: must be of type string"},
        {"{'properties': {'a': {'properties': {'b/c': false}}}}", "{'a': {'b/c': 1}}",
         "v/a/b~1c: is not allowed"},
        {"{'required': ['a', 'b']}", "{'a': 1, 'b': 2}", NULL},
        {"{'required': ['a', 'b']}", "{'a': 1}", "v/b: is missing"},
        {"{'required': ['a']}", "[]", NULL},
        {"{'properties': {'a': {}}, 'additionalProperties': false}", "{'a': 1}", NULL},
        {"{'properties': {'a': {}}, 'additionalProperties': false}", "{'a': 1, 'c': 1}",
         "v/c: there is no such member"},
        {"{'additionalProperties': {'type': 'integer'}}", "{'a': 1, 'b': 2}", NULL},
        {"{'additionalProperties': {'type': 'integer'}}", "{'a': 1, 'b': 'x'}",
         "v/b: must be of type integer"},
        {"{'additionalProperties': false}", "[1]", NULL},
        {"{'minProperties': 1, 'maxProperties': 2}", "{'a': 1}", NULL},
        {"{'minProperties': 1}", "{}", "v: must have at least 1 members"},
        {"{'maxProperties': 1}", "{'a': 1, 'b': 1}", "v: must have at most 1 members"},
        {"{'items': {'type': 'integer'}}", "[1, 2]", NULL},
        {"{'items': {'type': 'integer'}}", "[1, 'a']", "v/1: must be of type integer"},
        {"{'items': false}", "'a'", NULL},
        {"{'minItems': 2}", "[1, 2]", NULL},
        {"{'minItems': 2}", "[1]", "v: must have at least 2 elements"},
        {"{'maxItems': 2}", "[1, 2, 3]", "v: must have at most 2 elements"},
        {"{'uniqueItems': true}", "[1, '1', [1]]", NULL},
        {"{'uniqueItems': true}", "[1, 2, 1.0]", "v/2: equals element 0"},
        {"{'uniqueItems': false}", "[1, 1]", NULL},
        {"{'minLength': 2, 'maxLength': 3}", "'äö'", NULL},
        {"{'minLength': 3}", "'äö'", "v: must have at least 3 characters"},
        {"{'maxLength': 1}", "'äö'", "v: must have at most 1 characters"},
        {"{'minimum': 2, 'maximum': 3}", "2", NULL},
        {"{'minimum': 2}", "1.5", "v: must be at least 2"},
        {"{'maximum': 2.5}", "3", "v: must be at most 2.5"},
        {"{'exclusiveMinimum': 2}", "2", "v: must be greater than 2"},
        {"{'exclusiveMaximum': 2}", "2", "v: must be less than 2"},
        {"{'exclusiveMaximum': 2, 'exclusiveMinimum': 1}", "1.5", NULL},
        {"{'multipleOf': 3}", "9", NULL},
        {"{'multipleOf': 3}", "10", "v: must be a multiple of 3"},
        {"{'multipleOf': 0.1}", "0.3", NULL},
        {"{'multipleOf': 0.1}", "0.35", "v: must be a multiple of 0.1"},
        {"{'multipleOf': 2}", "'a'", NULL},
        {"{'anyOf': [{'type': 'string'}, {'minimum': 5}]}", "7", NULL},
        {"{'anyOf': [{'type': 'string'}, {'minimum': 5}]}", "3", "v: is as none of the schemas"},
        {"{'oneOf': [{'minimum': 3}, {'maximum': 5}]}", "7", NULL},
        {"{'oneOf': [{'minimum': 3}, {'maximum': 5}]}", "4", "v: is as more than one of the"},
        {"{'oneOf': [{'minimum': 3}, {'minimum': 5}]}", "1", "v: is as none of the schemas in one"},
        {"{'allOf': [{'minimum': 3}, {'maximum': 5}]}", "4", NULL},
        {"{'allOf': [{'minimum': 3}, {'maximum': 5}]}", "6", "v: must be at most 5"},
        {"{'not': {'type': 'string'}}", "1", NULL},
        {"{'not': {'type': 'string'}}", "'a'", "v: is what the schema in not excludes"},
        {"{'$ref': '#/$defs/a~1b', '$defs': {'a/b': {'type': 'null'}}}", "null", NULL},
        {"{'$ref': '#/$defs/a', '$defs': {'a': {'type': 'null'}}}", "1", "v: must be of type null"},
        {"{'properties': {'next': {'$ref': '#'}}, 'required': ['v']}",
         "{'v': 1, 'next': {'v': 2, 'next': {}}}", "v/next/next/v: is missing"},
        {"{'anyOf': [true, {'type': 'null'}], '$ref': '#/anyOf/1'}", "1",
         "v: must be of type null"},
        {"{'title': 'a', 'description': 'b', 'default': 1, 'examples': [], 'format': 'date',"
         "'$schema': 'c', '$id': 'd', '$comment': 'e', 'deprecated': true, 'readOnly': false}",
         "{}", NULL},
        {"{'$ref': '#'}", "1", "v: takes more than 256 schemas, nested"},
};

Test(json_schema, values)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_error *err = NULL;
                int r = check(cases[i].schema, cases[i].value, &err);
                const char *said = r < 0 ? aip_error_message(err) : "";
                const char *wanted = cases[i].refusal ? cases[i].refusal : "";
                cr_assert_eq(r < 0, cases[i].refusal != NULL, "%s %s: %s", cases[i].schema,
                             cases[i].value, said);
                cr_assert_eq(strncmp(said, wanted, strlen(wanted)), 0, "%s %s: %s", cases[i].schema,
                             cases[i].value, said);
                aip_error_free(err);
        }
}

static const struct schema_case no_schemas[] = {
        {"1", "1", "schema: must be an object, not an integer"},
        {"{'typ': 'string'}", "1", "schema/typ: this keyword is not checked"},
        {"{'pattern': 'a'}", "1", "schema/pattern: this keyword is not checked"},
        {"{'type': 'text'}", "1", "schema/type: must be one of null, boolean"},
        {"{'type': ['string', 1]}", "1", "schema/type/1: must be a string"},
        {"{'properties': []}", "1", "schema/properties: must be an object"},
        {"{'properties': {'a': 1}}", "1", "schema/properties/a: must be an object"},
        {"{'properties': {'a': {'x': 1}}}", "1", "schema/properties/a/x: this keyword"},
        {"{'required': 'a'}", "1", "schema/required: must be a list"},
        {"{'required': [1]}", "1", "schema/required/0: must be a string"},
        {"{'enum': 1}", "1", "schema/enum: must be a list"},
        {"{'items': [{}]}", "1", "schema/items: must be an object, not a list"},
        {"{'anyOf': []}", "1", "schema/anyOf: must have at least one schema"},
        {"{'anyOf': [true, 1]}", "1", "schema/anyOf/1: must be an object"},
        {"{'minimum': '1'}", "1", "schema/minimum: must be a number, not a string"},
        {"{'minLength': 1.5}", "1", "schema/minLength: must be an integer, not a number"},
        {"{'minLength': -1}", "1", "schema/minLength: must not be negative"},
        {"{'multipleOf': 0}", "1", "schema/multipleOf: must be greater than 0"},
        {"{'uniqueItems': 1}", "1", "schema/uniqueItems: must be true or false"},
        {"{'title': 1}", "1", "schema/title: must be a string"},
        {"{'$ref': '#/$defs/a'}", "1", "schema/$ref: must be \"#\" and a JSON pointer"},
        {"{'$ref': 'http://a/b'}", "1", "schema/$ref: must be \"#\" and a JSON pointer"},
        {"{'$ref': '#/title', 'title': 'x'}", "1", "schema/$ref: must be"},
        {"{'$ref': '#/~2'}", "1", "schema/$ref: must be"},
        {"{'$ref': '#/~'}", "1", "schema/$ref: must be"},
        {"{'$ref': '#/anyOf/9', 'anyOf': [true]}", "1", "schema/$ref: must be"},
        {"{'$ref': '#/anyOf/x', 'anyOf': [true]}", "1", "schema/$ref: must be"},
};

Test(json_schema, refused)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(no_schemas); i++) {
                aip_error *err = NULL;
                cr_assert_eq(check(no_schemas[i].schema, "1", &err), AIP_EINVAL, "%s",
                             no_schemas[i].schema);
                assert_error(err, AIP_EINVAL, no_schemas[i].refusal, no_schemas[i].schema);
        }
}

/* A list of distinct numbers costs a square of comparisons: the check gives up. */
Test(json_schema, bounded)
{
        aip_value *source = json("{'uniqueItems': true}"), *list = aip_value_list();
        aip_json_schema *schema = NULL;
        aip_error *err = NULL;
        for (int i = 0; i < 3000; i++)
                cr_assert_eq(aip_value_list_append(&list, aip_value_int(i)), 0);
        cr_assert_eq(aip_json_schema_new("schema", source, &schema, &err), 0);
        cr_assert_eq(aip_json_schema_check(schema, "v", list, &err), AIP_ELIMIT);
        assert_error(err, AIP_ELIMIT, "v: takes more than 1000000 steps to check", "3000 elements");
        aip_json_schema_unref(schema);
        aip_value_unref(source);
        aip_value_unref(list);
}

static const char all[] =
        "{'type': ['object', 'null'], 'enum': [{'a': [1, 'x']}], 'required': ['a'],"
        "'properties': {'a': {'items': {'anyOf': [{'type': 'integer'}, {'minLength': 1}]},"
        "'not': {'maxItems': 1}}}, 'additionalProperties': false}";

/* The strings are made outside: only what is tested may run out of memory. */
struct texts {
        aip_value *schema, *value;
};

static int body(void *user, aip_error **err)
{
        const struct texts *t = user;
        aip_json_schema *schema = NULL;
        int r = aip_json_schema_new("schema", t->schema, &schema, err);
        if (r == 0)
                r = aip_json_schema_check(schema, "v", t->value, err);
        aip_json_schema_unref(schema);
        return r;
}

Test(json_schema, survives_allocation_failure)
{
        struct texts t = {json(all), json("{'a': [1, 'x']}")};
        ASSERT_SURVIVES_ALLOC_FAILURE(body, &t);
        aip_value_unref(t.schema);
        aip_value_unref(t.value);
}
