/*
 * Places in documents (place.h): JSON pointers, errors that begin with one, and readers of members that
 * make such errors.
 */
#include "text/place.h"
#include "macros.h"
#include "text/text.h"
#include <stdio.h>

#define POINTER_MAX_BYTES 1024
#define MESSAGE_MAX_BYTES 1024

static int append_key(struct aip_buf *out, struct aip_str key)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < key.n; i++) {
                if (key.p[i] == '~')
                        r = aip_buf_append_cstr(out, "~0");
                else if (key.p[i] == '/')
                        r = aip_buf_append_cstr(out, "~1");
                else
                        r = aip_buf_append_char(out, key.p[i]);
        }
        return r;
}

int aip_place_print(const struct aip_place *place, struct aip_buf *out)
{
        const struct aip_place *path[96]; /* values are nested at most 64 deep */
        size_t n = 0;
        for (; place->up && n < AIP_ARRAY_SIZE(path); place = place->up)
                path[n++] = place;
        int r = place->key.p ? aip_buf_append(out, place->key) : 0;
        while (r == 0 && n > 0) {
                const struct aip_place *at = path[--n];
                r = aip_buf_append_char(out, '/');
                if (r == 0)
                        r = at->key.p ? append_key(out, at->key)
                                      : aip_buf_append_int(out, (int64_t)at->index);
        }
        return r;
}

/* A pointer that is too long is cut: the message still says what is wrong. */
static int print_for_message(const struct aip_place *place, struct aip_buf *out)
{
        int is_named = place->up || place->key.p;
        int r = is_named ? aip_place_print(place, out) : aip_buf_append_cstr(out, "document");
        return r == AIP_ELIMIT ? 0 : r;
}

int aip_place_vfail(const struct aip_place *place, int code, aip_error **err, const char *format,
                    va_list arguments)
{
        _cleanup_(aip_buf_deinit) struct aip_buf pointer = AIP_BUF_INIT(POINTER_MAX_BYTES);
        char message[MESSAGE_MAX_BYTES];
        if (print_for_message(place, &pointer) < 0)
                return aip_error_set_nomem(err);
        vsnprintf(message, sizeof(message), format, arguments);
        return aip_error_set(err, code, "%s: %s", pointer.p, message);
}

int aip_place_fail(const struct aip_place *place, int code, aip_error **err, const char *format,
                   ...)
{
        va_list arguments;
        va_start(arguments, format);
        int r = aip_place_vfail(place, code, err, format, arguments);
        va_end(arguments);
        return r;
}

int aip_place_wrap(const struct aip_place *place, aip_error *cause, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf pointer = AIP_BUF_INIT(POINTER_MAX_BYTES);
        int code = aip_error_code(cause);
        if (code == AIP_ENOMEM || print_for_message(place, &pointer) < 0) {
                aip_error_free(cause);
                return aip_error_set_nomem(err);
        }
        return aip_error_wrap(err, cause, code, "%s: %s", pointer.p, aip_error_message(cause));
}

const char *aip_place_a(enum aip_value_type type)
{
        switch (type) {
        case AIP_VALUE_NULL:
                return "null";
        case AIP_VALUE_BOOL:
                return "true or false";
        case AIP_VALUE_INT:
                return "an integer";
        case AIP_VALUE_DOUBLE:
                return "a number";
        case AIP_VALUE_STRING:
                return "a string";
        case AIP_VALUE_LIST:
                return "a list";
        case AIP_VALUE_OBJECT:
                return "an object";
        }
        return "a value";
}

int aip_place_type(const struct aip_place *at, const aip_value *value, enum aip_value_type type,
                   aip_error **err)
{
        enum aip_value_type has = aip_value_type(value);
        if (!value)
                return aip_place_fail(at, AIP_EINVAL, err, "is missing; it must be %s",
                                      aip_place_a(type));
        if (has == type)
                return 0;
        return aip_place_fail(at, AIP_EINVAL, err, "must be %s, not %s", aip_place_a(type),
                              aip_place_a(has));
}

int aip_place_string(const struct aip_place *at, const aip_value *object, const char *key,
                     struct aip_str *ret_text, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(object, key);
        struct aip_place here = aip_place_member(at, key);
        int r = value ? aip_place_type(&here, value, AIP_VALUE_STRING, err) : 0;
        if (r == 0 && value)
                *ret_text = aip_value_as_string(value);
        return r;
}

int aip_place_bool(const struct aip_place *at, const aip_value *object, const char *key,
                   int *ret_bool, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(object, key);
        struct aip_place here = aip_place_member(at, key);
        int r = value ? aip_place_type(&here, value, AIP_VALUE_BOOL, err) : 0;
        if (r == 0 && value)
                *ret_bool = aip_value_as_bool(value, 0);
        return r;
}

int aip_place_int(const struct aip_place *at, const aip_value *object, const char *key, int64_t min,
                  int64_t max, int64_t *ret_int, aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(object, key);
        struct aip_place here = aip_place_member(at, key);
        if (!value)
                return 0;
        int64_t i = aip_value_as_int(value, min);
        if (aip_value_type(value) == AIP_VALUE_INT && i >= min && i <= max) {
                *ret_int = i;
                return 0;
        }
        return aip_place_fail(&here, AIP_EINVAL, err, "must be an integer from %lld to %lld",
                              (long long)min, (long long)max);
}

static int is_among(const char *const *names, struct aip_str name)
{
        for (; names && *names; names++) {
                if (aip_str_eq(aip_str_of(*names), name))
                        return 1;
        }
        return 0;
}

static int list_names(struct aip_buf *out, const char *const *names)
{
        int r = 0;
        for (; r == 0 && names && *names; names++)
                r = aip_buf_printf(out, "%s%s", out->n ? ", " : "", *names);
        return r;
}

static int fail_member(const struct aip_place *at, struct aip_str key, const char *const *members,
                       const char *const *more, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf names = AIP_BUF_INIT(MESSAGE_MAX_BYTES - 100);
        struct aip_place here = {at, key, 0};
        int r = list_names(&names, members);
        if (r == 0)
                r = list_names(&names, more);
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        return aip_place_fail(&here, AIP_EINVAL, err, "there is no such member; there are: %s",
                              names.n ? names.p : "none");
}

int aip_place_members(const struct aip_place *at, const aip_value *object,
                      const char *const *members, const char *const *more, aip_error **err)
{
        size_t n = aip_value_size(object);
        for (size_t i = 0; i < n; i++) {
                struct aip_str key;
                aip_value_member(object, i, &key);
                if (!is_among(members, key) && !is_among(more, key))
                        return fail_member(at, key, members, more, err);
        }
        return 0;
}
