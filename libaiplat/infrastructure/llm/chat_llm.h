/*
 * What the adapters of chat protocols over HTTP have in common: the key, the request's headers, its
 * life and its end. A protocol is a table of what differs, all of it pure.
 */
#ifndef AIPLAT_LLM_CHAT_LLM_H
#define AIPLAT_LLM_CHAT_LLM_H

#include "llm/chat_draft.h"
#include "llm/http_client.h"

struct aip_chat_protocol {
        const char *name; /* the provider's */
        /* Appended to the base URL; not `version` if it ends in that. */
        const char *version, *path;
        const char *key_header, *key_prefix;
        struct aip_http_header extra_header; /* name NULL: none */

        /* Append the request's body. Without `with_temperature` none is sent; with on_delta set, a
         * stream is asked for. Errors: a kind of ports/llm.h, AIP_ENOMEM. */
        int (*append_body)(struct aip_buf *out, const struct aip_llm_call *call,
                           int with_temperature, aip_error **err);
        /* Whether this model is known to take a temperature. */
        int (*takes_temperature)(struct aip_str model_name);
        /* Read an answer of status 2xx that came as a whole. `root` is an object that is no error. */
        int (*take_answer)(struct aip_chat_draft *draft, const struct aip_provider_reply *reply,
                           const aip_value *root, aip_error **err);
        /* Read an event of a streamed one, that is no error. Fails like an append. */
        int (*take_event)(struct aip_chat_draft *draft, const aip_value *root);
};

extern const struct aip_chat_protocol aip_openai_protocol, aip_anthropic_protocol;

/* Read any answer to `call` that came as a whole: refusals become errors, the rest goes to
 * protocol->take_answer. */
int aip_chat_parse(const struct aip_chat_protocol *protocol,
                   const struct aip_http_response *response, struct aip_str secret,
                   struct aip_llm_call *call, struct aip_llm_answer *ret_answer, aip_error **err);
/* The same through a draft of the caller's, who may mute it meanwhile. */
int aip_chat_parse_into(const struct aip_chat_protocol *protocol,
                        const struct aip_http_response *response, struct aip_chat_draft *draft,
                        struct aip_llm_answer *ret_answer, aip_error **err);

/* Append the address to call: base_url with the protocol's path; a query stays at the end. */
AIP_MUST_CHECK int aip_chat_append_url(const struct aip_chat_protocol *protocol,
                                       struct aip_str base_url, struct aip_buf *out);

/* Refuse what no provider could take: no messages (with_system: those of role system count),
 * answers of tools without the id of their call, lists of tools that are none. */
int aip_chat_check_call(const struct aip_llm_call *call, int with_system, const char *provider,
                        aip_error **err);

/* Append `,"temperature":n`. Fails like an append. */
AIP_MUST_CHECK int aip_chat_append_temperature(struct aip_buf *out,
                                               const struct aip_llm_call *call);

/* A count of tokens, or -1 when it is missing or nonsense. */
int64_t aip_chat_tokens(const aip_value *usage, const char *name);

/* Nothing, or white space alone: no answer. */
int aip_chat_is_blank(struct aip_str text);

/* An answer without text: make the error that says why. */
int aip_chat_complain_empty(const struct aip_provider_reply *reply,
                            enum aip_llm_finish_reason reason, int wants_tools, aip_error **err);

/* Turn a failed append (AIP_ENOMEM, AIP_ELIMIT) into an error. */
int aip_chat_append_failed(int code, const char *provider, aip_error **err);

int aip_chat_llm_new(const struct aip_chat_protocol *protocol, aip_http_client *client,
                     const char *base_url, struct aip_llm *ret_llm, aip_error **err);

#endif
