/* Points in time as text: RFC 3339, UTC, microseconds. Called by the domain events. No clock. */
#ifndef AIPLAT_DOMAIN_TIMESTAMP_H
#define AIPLAT_DOMAIN_TIMESTAMP_H

#include <stdint.h>

/* 9999-12-31T23:59:59.999999Z, the last time that RFC 3339 can write. */
#define AIP_TIMESTAMP_MAX_US INT64_C(253402300799999999)

#define AIP_TIMESTAMP_TEXT_BYTES 28 /* 27 characters and NUL */

/* `at_us`: 0 – AIP_TIMESTAMP_MAX_US, microseconds since 1970. Returns `ret_text`. */
char *aip_timestamp_format(int64_t at_us, char ret_text[AIP_TIMESTAMP_TEXT_BYTES]);

#endif
