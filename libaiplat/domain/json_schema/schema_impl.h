/*
 * JSON schemas between json_schema.c, which makes and checks them, and json_schema_check.c, which applies
 * them to values. A schema is kept as the JSON it was, and read as that: whoever applies it must be ready
 * for a $ref that leads to a place that is no schema.
 */
#ifndef AIPLAT_DOMAIN_SCHEMA_IMPL_H
#define AIPLAT_DOMAIN_SCHEMA_IMPL_H

#include "text/place.h"
#include <aiplat/json_schema.h>
#include <stdatomic.h>

struct aip_json_schema {
        atomic_uint n_refs;
        aip_value *root; /* ours alone */
};

/* Where a $ref leads; NULL: nowhere. */
const aip_value *aip_schema_resolve(const aip_value *root, struct aip_str reference);

/* The types that "type" may name; integer is a number, too. */
int aip_schema_is_type(struct aip_str name, const aip_value *value);
int aip_schema_is_type_name(struct aip_str name);

/* The same as aip_json_schema_new(), at a place of a larger document. */
int aip_schema_new_at(const struct aip_place *at, const aip_value *value,
                      aip_json_schema **ret_schema, aip_error **err);
/* Likewise aip_json_schema_check(), at a place of a larger document. */
int aip_schema_check_at(const aip_json_schema *schema, const struct aip_place *at,
                        const aip_value *value, aip_error **err);

#endif
