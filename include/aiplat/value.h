/*
 * Values: the JSON data model (null, boolean, 64-bit integer, double, string, list, object) as
 * immutable reference-counted trees. They are the state of graphs, the variables of templates and
 * the bodies of messages; which JSON library reads and writes them is nobody's business but
 * libaiplat/base/json.c's. A value belongs to one thread at a time: counts are not atomic.
 *
 * Constructors return NULL when out of memory. Functions that take a child *consume it always* and
 * treat a NULL child as out of memory, so constructions nest without checks in between:
 *     aip_value *v = aip_value_object();
 *     if (aip_value_object_set(&v, aip_str_of("n"), aip_value_int(1)) < 0) …
 */
#ifndef AIPLAT_VALUE_H
#define AIPLAT_VALUE_H

#include <aiplat/str.h>

AIP_BEGIN_DECLS

typedef struct aip_value aip_value;

enum aip_value_type {
        AIP_VALUE_NULL = 0,
        AIP_VALUE_BOOL,
        AIP_VALUE_INT,
        AIP_VALUE_DOUBLE,
        AIP_VALUE_STRING,
        AIP_VALUE_LIST,
        AIP_VALUE_OBJECT
};

AIP_API aip_value *aip_value_null(void);
AIP_API aip_value *aip_value_bool(int b);
AIP_API aip_value *aip_value_int(int64_t i);
AIP_API aip_value *aip_value_double(double d);
AIP_API aip_value *aip_value_string(struct aip_str s);
AIP_API aip_value *aip_value_list(void);
AIP_API aip_value *aip_value_object(void);

AIP_API aip_value *aip_value_ref(const aip_value *value); /* NULL for NULL */
AIP_API void aip_value_unref(aip_value *value);           /* accepts NULL */

/* A deep copy that shares nothing with `value`, for another thread or to outlive it; NULL when out of
 * memory. */
AIP_API aip_value *aip_value_copy_deep(const aip_value *value);

AIP_API enum aip_value_type aip_value_type(const aip_value *value); /* NULL reads as null */
AIP_API const char *aip_value_type_name(enum aip_value_type type);

/* Readers answer the fallback when the value is NULL or of another type; int reads from a double
 * only when it is integral and in range; double reads from int. Results are borrowed. */
AIP_API int aip_value_as_bool(const aip_value *value, int fallback);
AIP_API int64_t aip_value_as_int(const aip_value *value, int64_t fallback);
AIP_API double aip_value_as_double(const aip_value *value, double fallback);
AIP_API struct aip_str aip_value_as_string(const aip_value *value); /* {NULL,0} if not a string */

/* Lists and objects. `size` is 0 for anything else. Objects keep insertion order; lookups are
 * linear up to 16 members and hashed beyond. */
AIP_API size_t aip_value_size(const aip_value *value);
AIP_API const aip_value *aip_value_at(const aip_value *list, size_t index);            /* or NULL */
AIP_API const aip_value *aip_value_get(const aip_value *object, struct aip_str key);   /* or NULL */
AIP_API const aip_value *aip_value_get_cstr(const aip_value *object, const char *key); /* or NULL */
AIP_API const aip_value *aip_value_member(const aip_value *object, size_t index,
                                          struct aip_str *ret_key); /* or NULL */

/* Changes. *value must be a list or object; when this is its only reference it changes in place,
 * in amortised constant time, else *value becomes a changed copy and the old reference is dropped.
 * `child` is consumed always. Returns 0 or AIP_ENOMEM (then *value is unchanged). */
AIP_API AIP_MUST_CHECK int aip_value_list_append(aip_value **value, aip_value *child);
AIP_API AIP_MUST_CHECK int aip_value_object_set(aip_value **value, struct aip_str key,
                                                aip_value *child);
AIP_API AIP_MUST_CHECK int aip_value_object_set_cstr(aip_value **value, const char *key,
                                                     aip_value *child);
AIP_API AIP_MUST_CHECK int aip_value_object_remove(aip_value **value, struct aip_str key);

/* Deep equality. 1 and 1.0 are equal, member order does not matter. */
AIP_API int aip_value_equal(const aip_value *a, const aip_value *b);

/*
 * Parse one JSON text (RFC 8259). Refused with AIP_EINVAL and a message that says where: invalid
 * syntax or UTF-8, NUL (raw or \u0000), duplicate member names, trailing bytes, depth over 64, numbers
 * of more than 63 characters or beyond the range of a double. Numbers that are whole are integers,
 * however they are written: 1.0 reads as 1.
 * Integers beyond ±2^53 are read as doubles.
 */
AIP_API int aip_value_parse(struct aip_str json, aip_value **ret_value, aip_error **err);

/* Append `value` as compact JSON. Fails with AIP_ENOMEM or AIP_ELIMIT (the buffer's maximum, or
 * nested more than 64 deep, which could not be read back); then the buffer is as it was.
 * Doubles that JSON cannot express (NaN, infinities) are written as null. */
AIP_API int aip_value_print(const aip_value *value, struct aip_buf *out, aip_error **err);

/* Append `s` as a quoted JSON string. `s` must be valid UTF-8. */
AIP_API AIP_MUST_CHECK int aip_json_append_string(struct aip_buf *out, struct aip_str s);

AIP_END_DECLS

#endif
