/* Readers of request members (fields.h). Called by the schemas; they check types, never meaning. */
#include "fields.h"

#include <aiplat/job_service.h>
#include <math.h>

#include "macros.h"

static const aip_value *take(struct fields *f, const char *name)
{
        const aip_value *value;

        assert(f->n_known < FIELDS_MAX);
        f->known[f->n_known++] = name;
        if (f->code < 0)
                return NULL;
        value = aip_value_get_cstr(f->object, name);
        return aip_value_type(value) == AIP_VALUE_NULL ? NULL : value;
}

static void wrong_type(struct fields *f, const char *name, const char *wanted,
                       const aip_value *value)
{
        f->code = aip_error_set(&f->err, AIP_EINVAL, "%s: must be %s, not a %s", name, wanted,
                                aip_value_type_name(aip_value_type(value)));
}

void fields_string(struct fields *f, const char *name, struct aip_str *ret)
{
        const aip_value *value = take(f, name);

        if (!value)
                return;
        if (aip_value_type(value) != AIP_VALUE_STRING)
                wrong_type(f, name, "a string", value);
        else
                *ret = aip_value_as_string(value);
}

static int is_number(const aip_value *value)
{
        return aip_value_type(value) == AIP_VALUE_INT || aip_value_type(value) == AIP_VALUE_DOUBLE;
}

void fields_int(struct fields *f, const char *name, int64_t min, int64_t max, int64_t *ret)
{
        const aip_value *value = take(f, name);
        double number;

        if (!value)
                return;
        number = aip_value_as_double(value, 0);
        if (!is_number(value) || number != floor(number))
                wrong_type(f, name, "a whole number", value);
        else if (number < (double)min || number > (double)max)
                f->code = aip_error_set(&f->err, AIP_EINVAL,
                                        "%s: must be from %lld to %lld, not %.17g", name,
                                        (long long)min, (long long)max, number);
        else
                *ret = (int64_t)number;
}

void fields_double(struct fields *f, const char *name, double *ret)
{
        const aip_value *value = take(f, name);

        if (!value)
                return;
        if (!is_number(value))
                wrong_type(f, name, "a number", value);
        else
                *ret = aip_value_as_double(value, 0);
}

void fields_bool(struct fields *f, const char *name, int32_t *ret)
{
        const aip_value *value = take(f, name);

        if (!value)
                return;
        if (aip_value_type(value) != AIP_VALUE_BOOL)
                wrong_type(f, name, "true or false", value);
        else
                *ret = aip_value_as_bool(value, 0);
}

void fields_seconds(struct fields *f, const char *name, int64_t max_ms, int64_t *ret_ms)
{
        double seconds = -1, max_s = (double)max_ms / 1000;
        const aip_value *value = aip_value_get_cstr(f->object, name);

        fields_double(f, name, &seconds);
        if (f->code < 0 || aip_value_type(value) == AIP_VALUE_NULL)
                return;
        if (!(seconds >= 0 && seconds <= max_s))
                f->code = aip_error_set(&f->err, AIP_EINVAL,
                                        "%s: must be from 0 to %.0f seconds, not %.17g", name,
                                        max_s, seconds);
        else
                *ret_ms = (int64_t)llround(seconds * 1000);
}

void fields_time(struct fields *f, const char *name, int64_t *ret_us)
{
        struct aip_str text = {NULL, 0};
        aip_error *why = NULL;

        fields_string(f, name, &text);
        if (f->code < 0 || !text.p)
                return;
        if (aip_time_parse(text, ret_us, &why) < 0)
                f->code = aip_error_wrap(&f->err, why, AIP_EINVAL,
                                         "%s: must be an RFC 3339 time with an offset, "
                                         "such as 2024-01-15T10:30:00Z",
                                         name);
}

void fields_id(struct fields *f, const char *name, struct aip_id *ret_id)
{
        struct aip_str text = {NULL, 0};
        struct aip_id id;

        fields_string(f, name, &text);
        if (f->code < 0 || !text.p)
                return;
        if (aip_id_parse(text, &id, NULL) < 0 || aip_id_is_nil(&id))
                f->code = aip_error_set(&f->err, AIP_EINVAL, "%s: must be a UUID, not nil", name);
        else
                *ret_id = id;
}

void fields_document(struct fields *f, const char *name, struct aip_buf *text)
{
        const aip_value *value = take(f, name);
        int r;

        if (!value)
                return;
        if (aip_value_type(value) != AIP_VALUE_OBJECT) {
                wrong_type(f, name, "an object", value);
                return;
        }
        r = aip_value_print(value, text, NULL);
        if (r == AIP_ELIMIT)
                f->code = aip_error_set(&f->err, AIP_EINVAL, "%s: at most %zu bytes of JSON", name,
                                        text->max_bytes);
        else if (r < 0)
                f->code = aip_error_set_nomem(&f->err);
}

void fields_ignore(struct fields *f, const char *name)
{
        take(f, name);
}

void fields_require(struct fields *f, const char *name, struct aip_str value)
{
        if (f->code == 0 && value.n == 0)
                f->code = aip_error_set(&f->err, AIP_EINVAL, "%s: is required", name);
}

static int is_known(const struct fields *f, struct aip_str name)
{
        for (size_t i = 0; i < f->n_known; i++)
                if (aip_str_eq(name, aip_str_of(f->known[i])))
                        return 1;
        return 0;
}

int fields_end(struct fields *f, aip_error **err)
{
        for (size_t i = 0; f->code == 0 && i < aip_value_size(f->object); i++) {
                struct aip_str name = {NULL, 0};

                aip_value_member(f->object, i, &name);
                if (!is_known(f, name))
                        f->code = aip_error_set(&f->err, AIP_EINVAL, "there is no member '%.*s'",
                                                (int)AIP_MIN(name.n, (size_t)100), name.p);
        }
        if (f->code < 0)
                aip_error_propagate(err, AIP_TAKE(f->err));
        return f->code;
}
