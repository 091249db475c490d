/*
 * Reading the members of a request's JSON object: each reader takes a member if it is there, refuses
 * a wrong type with a message that names the member, and counts what it took, so that unknown members
 * can be refused too. The first error is kept; readers after it do nothing.
 */
#ifndef AIPLAT_INTERFACE_HTTP_FIELDS_H
#define AIPLAT_INTERFACE_HTTP_FIELDS_H

#include <aiplat/id.h>
#include <aiplat/value.h>

#define FIELDS_MAX 24

struct fields {
        const aip_value *object; /* borrowed */
        const char *known[FIELDS_MAX];
        size_t n_known;
        int code; /* 0, or that of err */
        aip_error *err;
};

/* null counts as absent. Outputs keep their value when the member is absent. Strings are borrowed. */
void fields_string(struct fields *fields, const char *name, struct aip_str *ret);
void fields_int(struct fields *fields, const char *name, int64_t min, int64_t max, int64_t *ret);
void fields_double(struct fields *fields, const char *name, double *ret);
void fields_bool(struct fields *fields, const char *name, int32_t *ret);
/* Seconds, whole or not, as milliseconds. */
void fields_seconds(struct fields *fields, const char *name, int64_t max_ms, int64_t *ret_ms);
/* An RFC 3339 time as microseconds. */
void fields_time(struct fields *fields, const char *name, int64_t *ret_us);
/* A UUID. */
void fields_id(struct fields *fields, const char *name, struct aip_id *ret_id);
/* An object, printed into `text` (at most its maximum of bytes). */
void fields_document(struct fields *fields, const char *name, struct aip_buf *text);
/* A member that may be there but says nothing. */
void fields_ignore(struct fields *fields, const char *name);
/* Fails when `value` is empty. */
void fields_require(struct fields *fields, const char *name, struct aip_str value);

/* Refuse members that nobody asked for. Returns 0 or the code of the first error, given to *err. */
int fields_end(struct fields *fields, aip_error **err);

#endif
