/*
 * What a provider says when it refuses: the error bodies of OpenAI, Anthropic and the servers that
 * speak like them, read into one form, and the error made of it. Pure; shared by both adapters.
 */
#ifndef AIPLAT_LLM_PROVIDER_FAULT_H
#define AIPLAT_LLM_PROVIDER_FAULT_H

#include "llm/http_client.h"
#include <aiplat/ports/llm.h>
#include <aiplat/value.h>

/* One answer being read. Strings are borrowed. */
struct aip_provider_reply {
        const char *provider;
        const struct aip_http_response *response;
        struct aip_str secret; /* the API key, to keep out of texts */
};

struct aip_provider_fault {
        struct aip_str type, code, message; /* empty: not told */
        int64_t status; /* in the body, where llama.cpp and vLLM put it; 0: none */
};

/* Whether `root` is an error object, whatever the HTTP status; fills in ret_fault then. */
int aip_provider_fault_read(const aip_value *root, struct aip_provider_fault *ret_fault);

/* Whose fault it is. */
const char *aip_provider_fault_kind(const struct aip_provider_fault *fault, int32_t http_status);

/* How long the provider asks to wait: retry-after-ms, x-ms-retry-after-ms, Retry-After (seconds or
 * a date), and on 429 the reset times of those limits that are used up. 0: not told. At most a day.
 */
int64_t aip_provider_retry_after_ms(const struct aip_http_response *response);

/* Make the error for an answer whose status or body says it is a refusal; returns its code. `root`
 * is the parsed body, or NULL when it is no JSON. */
int aip_provider_refuse(const struct aip_provider_reply *reply, const aip_value *root,
                        aip_error **err);

/* Make an error of `kind` about an answer: our words, then the provider's (or none), then the
 * request id. */
int aip_provider_complain(const struct aip_provider_reply *reply, const char *kind,
                          const char *words, struct aip_str foreign, aip_error **err);

/* Make a provider_bad_answer error about a body that is no JSON. `parse_error` is consumed always.
 */
int aip_provider_complain_no_json(const struct aip_provider_reply *reply, aip_error *parse_error,
                                  aip_error **err);

/* Whether an API key is one that must be kept out of answers. */
int aip_provider_is_secret(struct aip_str secret);

/* Append text of the answer without the API key in it. */
AIP_MUST_CHECK int aip_provider_append_clean(struct aip_buf *out, struct aip_str text,
                                             struct aip_str secret);

/* A heap copy of a string of the answer without the API key in it; NULL when out of memory. */
char *aip_provider_copy(const struct aip_provider_reply *reply, struct aip_str text,
                        size_t *ret_bytes);

#endif
