/*
 * Where in a document something stands, and errors that say so. Places are links on the stack of whoever
 * reads the document: they cost nothing until an error is made of one. Called by
 * domain/graph_document and domain/json_schema.
 */
#ifndef AIPLAT_DOMAIN_PLACE_H
#define AIPLAT_DOMAIN_PLACE_H

#include <aiplat/value.h>
#include <stdarg.h>

struct aip_place {
        const struct aip_place *up; /* NULL: the whole document */
        struct aip_str key;         /* of a member; {NULL, 0}: an element; of the whole: what it is called
                                     * in front of the pointer, or nothing */
        size_t index;
};

static inline struct aip_place aip_place_member(const struct aip_place *up, const char *key)
{
        return (struct aip_place){up, aip_str_of(key), 0};
}

static inline struct aip_place aip_place_element(const struct aip_place *up, size_t index)
{
        return (struct aip_place){up, {NULL, 0}, index};
}

/* Append the JSON pointer; nothing for the whole. 0, AIP_ENOMEM or AIP_ELIMIT. */
AIP_MUST_CHECK int aip_place_print(const struct aip_place *place, struct aip_buf *out);

/* Return `code` with the error "POINTER: …". */
int aip_place_fail(const struct aip_place *place, int code, aip_error **err, const char *format,
                   ...) AIP_PRINTF(4, 5);
int aip_place_vfail(const struct aip_place *place, int code, aip_error **err, const char *format,
                    va_list arguments) AIP_PRINTF(4, 0);
/* The same for what somebody else has refused; its kind and retryability stay. `cause` is consumed always. */
int aip_place_wrap(const struct aip_place *place, aip_error *cause, aip_error **err);

/*
 * Members of objects. A reader whose member is absent leaves *ret as it is and returns 0; one that is of
 * the wrong type or out of range is refused.
 */
int aip_place_string(const struct aip_place *at, const aip_value *object, const char *key,
                     struct aip_str *ret_text, aip_error **err);
int aip_place_bool(const struct aip_place *at, const aip_value *object, const char *key,
                   int *ret_bool, aip_error **err);
int aip_place_int(const struct aip_place *at, const aip_value *object, const char *key, int64_t min,
                  int64_t max, int64_t *ret_int, aip_error **err);

/* Refuse `value` unless it is of the type. */
int aip_place_type(const struct aip_place *at, const aip_value *value, enum aip_value_type type,
                   aip_error **err);
/* Refuse a member that is in neither list; lists end with NULL, `more` may be NULL. */
int aip_place_members(const struct aip_place *at, const aip_value *object,
                      const char *const *members, const char *const *more, aip_error **err);
/* "a string", "an object", … */
const char *aip_place_a(enum aip_value_type type);

#endif
