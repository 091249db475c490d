/*
 * Errors. A fallible function returns 0 or one of the negative AIP_E… codes below and, through its
 * last argument, an error object that says more. The object is made only on failure; callers who
 * only need the code pass NULL. Errors are plain heap objects without thread affinity: they may be
 * handed from one thread to another, but not used by two at once.
 */
#ifndef AIPLAT_ERROR_H
#define AIPLAT_ERROR_H

#include <aiplat/visibility.h>
#include <stdint.h>

AIP_BEGIN_DECLS

enum aip_error_code {
        AIP_OK = 0,
        AIP_ENOMEM = -1,       /* out of memory */
        AIP_EINVAL = -2,       /* the caller's argument or input is wrong */
        AIP_ENOTFOUND = -3,    /* the named thing does not exist */
        AIP_ECONFLICT = -4,    /* exists already, or was changed meanwhile */
        AIP_ESTATE = -5,       /* not allowed in the present state */
        AIP_EUNAVAILABLE = -6, /* a server cannot be reached now; try again later */
        AIP_ETIMEOUT = -7,     /* the deadline passed; whether it happened is unknown */
        AIP_ECANCELLED = -8,   /* cancelled by the caller */
        AIP_ELIMIT = -9,       /* a stated limit would be exceeded */
        AIP_EPROTOCOL = -10,   /* a peer answered something that cannot be understood */
        AIP_EUPSTREAM = -11,   /* a model provider refused or failed; see aip_error_kind() */
        AIP_EUNSUPPORTED = -12,/* a valid request for something this build or adapter cannot do */
        AIP_EIO = -13,         /* the operating system failed us */
        AIP_EINTERNAL = -14    /* a bug of ours */
};

typedef struct aip_error aip_error;

/*
 * Make an error in *err and return `code`, so that `return aip_error_set(err, …)` reads well.
 * err == NULL: nothing is made. *err must be NULL before; a second error is not stacked by accident.
 * When memory is out, *err becomes a static object with code AIP_ENOMEM, and AIP_ENOMEM is returned.
 */
AIP_API int aip_error_set(aip_error **err, int code, const char *format, ...) AIP_PRINTF(3, 4);

/* The same with a cause. `cause` is consumed always (it may be NULL). When it has the same code, its
 * kind, retryability, retry_after_ms and provider_status hold for the new error too. */
AIP_API int aip_error_wrap(aip_error **err, aip_error *cause, int code, const char *format, ...)
        AIP_PRINTF(4, 5);

/* Out of memory, without allocating. Returns AIP_ENOMEM. */
AIP_API int aip_error_set_nomem(aip_error **err);

/* Hand an error up: *err takes `from` (consumed always), or frees it when err is NULL.
 * Returns the code of `from`, 0 when `from` is NULL. */
AIP_API int aip_error_propagate(aip_error **err, aip_error *from);

/* A deep copy, owned by caller; NULL for NULL. Falls back to the static out-of-memory object. */
AIP_API aip_error *aip_error_copy(const aip_error *error);

/* Free an error. Accepts NULL and the static object. */
AIP_API void aip_error_free(aip_error *error);

/* Readers. All accept NULL (code 0, empty strings, zero). Strings are borrowed from the error. */
AIP_API int aip_error_code(const aip_error *error);
AIP_API const char *aip_error_message(const aip_error *error);
AIP_API const aip_error *aip_error_cause(const aip_error *error);
/* Name of a code: "not_found" for AIP_ENOTFOUND. Static. */
AIP_API const char *aip_error_code_name(int code);
/* Whose fault and what: a static name such as "provider_rate_limited"; defaults to the code's name. */
AIP_API const char *aip_error_kind(const aip_error *error);
/* Unless somebody said otherwise: AIP_EUNAVAILABLE is, the others are not. */
AIP_API int aip_error_is_retryable(const aip_error *error);
/* How long the peer asked us to wait before a retry, 0 when it did not say. */
AIP_API int64_t aip_error_retry_after_ms(const aip_error *error);
/* HTTP status of the provider's answer, 0 when there was none. */
AIP_API int32_t aip_error_provider_status(const aip_error *error);

/* Writers for those who make errors. No effect on NULL and on the static object.
 * `kind` must be a string with static storage. */
AIP_API void aip_error_set_kind(aip_error *error, const char *kind);
AIP_API void aip_error_set_retryable(aip_error *error, int is_retryable, int64_t retry_after_ms);
AIP_API void aip_error_set_provider_status(aip_error *error, int32_t http_status);

AIP_END_DECLS

#endif
