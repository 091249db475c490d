/*
 * JSON Schema, the part of draft 2020-12 that needs no regular expressions and no other documents: what
 * graphs take as input, what tools take as arguments, what models and people shall answer.
 *
 * Checked: type, enum, const, properties, required, additionalProperties, minProperties, maxProperties,
 * items, minItems, maxItems, uniqueItems, minLength, maxLength, minimum, maximum, exclusiveMinimum,
 * exclusiveMaximum, multipleOf, anyOf, oneOf, allOf, not, and $ref to a place in the same schema ("#/$defs/…").
 * Read over: $schema, $id, $comment, $defs, definitions, title, description, default, examples, format,
 * deprecated, readOnly, writeOnly. Any other keyword is refused when the schema is made, so that nobody
 * relies on what is not checked.
 */
#ifndef AIPLAT_JSON_SCHEMA_H
#define AIPLAT_JSON_SCHEMA_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/value.h>

AIP_BEGIN_DECLS

typedef struct aip_json_schema aip_json_schema;

#define AIP_JSON_SCHEMA_MAX_STEPS                                                                  \
        1000000 /* of one check: schemas applied to values, values compared */

/* `schema` is borrowed, and copied. AIP_EINVAL: it is no schema, or has a keyword that is not checked; the
 * message is `what`, a JSON pointer into the schema, and what is wrong there. */
AIP_API int aip_json_schema_new(const char *what, const aip_value *schema,
                                aip_json_schema **ret_schema, aip_error **err);
/* Immutable, counted atomically: any thread. */
AIP_API aip_json_schema *aip_json_schema_ref(const aip_json_schema *schema); /* NULL for NULL */
AIP_API void aip_json_schema_unref(aip_json_schema *schema);                 /* accepts NULL */

/* Whether `value` (borrowed) is as the schema says. If not: AIP_EINVAL, and a message that is `what`, a
 * JSON pointer into the value, and what is wrong: "arguments/city: must be a string, not null".
 * AIP_ELIMIT: the check takes too many steps. */
AIP_API int aip_json_schema_check(const aip_json_schema *schema, const char *what,
                                  const aip_value *value, aip_error **err);

AIP_END_DECLS

#endif
