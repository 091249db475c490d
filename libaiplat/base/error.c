/*
 * Error objects (see aiplat/error.h). Everyone makes them, on failure only. One allocation holds an
 * error and its message; when that fails a static object stands in, so reporting never fails.
 */
#include "mem.h"
#include <aiplat/error.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

struct aip_error {
        int code;
        int is_retryable;
        int32_t provider_status;
        int64_t retry_after_ms;
        const char *kind;    /* static; NULL: the code's name */
        aip_error *cause;    /* owned */
        const char *message; /* behind the struct, in the same allocation */
};

static struct aip_error out_of_memory_error = {.code = AIP_ENOMEM, .message = "out of memory"};

static aip_error *out_of_memory(void)
{
        return &out_of_memory_error;
}

static int is_static(const aip_error *error)
{
        return error == &out_of_memory_error;
}

static AIP_PRINTF(2, 0) aip_error *new_error(int code, const char *format, va_list args)
{
        va_list again;
        va_copy(again, args);
        int n = vsnprintf(NULL, 0, format, again);
        va_end(again);
        if (n < 0)
                n = 0;
        aip_error *error = aip_calloc(1, sizeof(*error) + (size_t)n + 1);
        if (!error)
                return NULL;
        error->code = code;
        error->is_retryable = code == AIP_EUNAVAILABLE;
        char *message = (char *)(error + 1);
        vsnprintf(message, (size_t)n + 1, format, args);
        error->message = message;
        return error;
}

/* What the cause says about the peer holds for an error of the same code around it. */
static void adopt_cause(aip_error *error, aip_error *cause)
{
        error->cause = cause;
        if (!cause || cause->code != error->code)
                return;
        error->kind = cause->kind;
        error->is_retryable = cause->is_retryable;
        error->retry_after_ms = cause->retry_after_ms;
        error->provider_status = cause->provider_status;
}

int aip_error_set(aip_error **err, int code, const char *format, ...)
{
        assert(code < 0);
        if (!err)
                return code;
        assert(*err == NULL);
        va_list args;
        va_start(args, format);
        *err = new_error(code, format, args);
        va_end(args);
        return *err ? code : aip_error_set_nomem(err);
}

int aip_error_wrap(aip_error **err, aip_error *cause, int code, const char *format, ...)
{
        assert(code < 0);
        if (!err) {
                aip_error_free(cause);
                return code;
        }
        assert(*err == NULL);
        va_list args;
        va_start(args, format);
        *err = new_error(code, format, args);
        va_end(args);
        if (!*err) {
                aip_error_free(cause);
                return aip_error_set_nomem(err);
        }
        adopt_cause(*err, cause);
        return code;
}

int aip_error_set_nomem(aip_error **err)
{
        if (err)
                *err = out_of_memory();
        return AIP_ENOMEM;
}

int aip_error_propagate(aip_error **err, aip_error *from)
{
        if (!from)
                return 0;
        int code = from->code;
        if (err) {
                assert(*err == NULL);
                *err = from;
        } else {
                aip_error_free(from);
        }
        return code;
}

static aip_error *copy_one(const aip_error *error)
{
        size_t message_bytes = strlen(error->message) + 1;
        aip_error *copy = aip_alloc(sizeof(*copy) + message_bytes);
        if (!copy)
                return NULL;
        *copy = *error;
        copy->cause = NULL;
        copy->message = memcpy(copy + 1, error->message, message_bytes);
        return copy;
}

aip_error *aip_error_copy(const aip_error *error)
{
        aip_error *first = NULL;
        aip_error **end = &first;
        for (; error && !is_static(error); error = error->cause) {
                *end = copy_one(error);
                if (!*end) {
                        aip_error_free(first);
                        return out_of_memory();
                }
                end = &(*end)->cause;
        }
        if (error)
                *end = out_of_memory();
        return first;
}

void aip_error_free(aip_error *error)
{
        while (error && !is_static(error)) {
                aip_error *cause = error->cause;
                aip_free(error);
                error = cause;
        }
}

int aip_error_code(const aip_error *error)
{
        return error ? error->code : AIP_OK;
}

const char *aip_error_message(const aip_error *error)
{
        return error ? error->message : "";
}

const aip_error *aip_error_cause(const aip_error *error)
{
        return error ? error->cause : NULL;
}

static const char *const code_names[] = {
        [-AIP_OK] = "ok",
        [-AIP_ENOMEM] = "out_of_memory",
        [-AIP_EINVAL] = "invalid",
        [-AIP_ENOTFOUND] = "not_found",
        [-AIP_ECONFLICT] = "conflict",
        [-AIP_ESTATE] = "wrong_state",
        [-AIP_EUNAVAILABLE] = "unavailable",
        [-AIP_ETIMEOUT] = "timeout",
        [-AIP_ECANCELLED] = "cancelled",
        [-AIP_ELIMIT] = "limit_exceeded",
        [-AIP_EPROTOCOL] = "protocol_error",
        [-AIP_EUPSTREAM] = "upstream_error",
        [-AIP_EUNSUPPORTED] = "unsupported",
        [-AIP_EIO] = "io_error",
        [-AIP_EINTERNAL] = "internal_error",
};

const char *aip_error_code_name(int code)
{
        if (code > 0 || code < AIP_EINTERNAL)
                return "unknown";
        return code_names[-code];
}

const char *aip_error_kind(const aip_error *error)
{
        if (!error)
                return "";
        return error->kind ? error->kind : aip_error_code_name(error->code);
}

int aip_error_is_retryable(const aip_error *error)
{
        return error ? error->is_retryable : 0;
}

int64_t aip_error_retry_after_ms(const aip_error *error)
{
        return error ? error->retry_after_ms : 0;
}

int32_t aip_error_provider_status(const aip_error *error)
{
        return error ? error->provider_status : 0;
}

void aip_error_set_kind(aip_error *error, const char *kind)
{
        if (error && !is_static(error))
                error->kind = kind;
}

void aip_error_set_retryable(aip_error *error, int is_retryable, int64_t retry_after_ms)
{
        if (!error || is_static(error))
                return;
        error->is_retryable = is_retryable != 0;
        error->retry_after_ms = retry_after_ms;
}

void aip_error_set_provider_status(aip_error *error, int32_t http_status)
{
        if (error && !is_static(error))
                error->provider_status = http_status;
}
