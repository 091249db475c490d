/*
 * How provider adapters say what went wrong: one closed set of error kinds, each with its code and
 * with whether it passes, and the provider's own words in a form that is safe to log and to store.
 * Included by everything in this folder; knows nothing of any protocol.
 */
#ifndef AIPLAT_LLM_PROVIDER_ERROR_H
#define AIPLAT_LLM_PROVIDER_ERROR_H

#include <aiplat/ports/llm.h>
#include <aiplat/str.h>

/* The static string equal to `kind`, or NULL when it is none of ports/llm.h. */
const char *aip_llm_kind_find(struct aip_str kind);

/* Make an error of `kind` (one of ports/llm.h) and return its code. */
int aip_llm_error_set(aip_error **err, const char *kind, const char *format, ...) AIP_PRINTF(3, 4);

/* The kind that an HTTP status means by itself. */
const char *aip_llm_kind_of_status(int32_t status);

/* Append `text` with every occurrence of `secret` (none when empty) replaced by "[redacted]". */
AIP_MUST_CHECK int aip_llm_append_redacted(struct aip_buf *out, struct aip_str text,
                                           struct aip_str secret);

/* Append at most max_bytes of foreign text: the secret redacted, control characters as spaces,
 * malformed UTF-8 as '?', cut at a character and then ended with "…". Fails like an append. */
AIP_MUST_CHECK int aip_llm_append_foreign(struct aip_buf *out, struct aip_str text,
                                          size_t max_bytes, struct aip_str secret);

#endif
