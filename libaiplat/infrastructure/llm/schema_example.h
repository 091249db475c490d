/*
 * A small value that fits a JSON Schema, for the simulated provider's tool calls and structured
 * output. Pure; the same schema gives the same value. It follows what schemas of tools are made of
 * (types, properties, items, enum, const, references within the document) and passes over the rest,
 * so the value need not fit a schema with patterns or conditions.
 */
#ifndef AIPLAT_LLM_SCHEMA_EXAMPLE_H
#define AIPLAT_LLM_SCHEMA_EXAMPLE_H

#include <aiplat/value.h>

/* Owned by caller. NULL schema: an empty object. NULL: out of memory. */
aip_value *aip_schema_example(const aip_value *schema);

#endif
