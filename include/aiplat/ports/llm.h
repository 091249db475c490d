/*
 * Port: a language model provider. Adapters for OpenAI-compatible servers, Anthropic and a simulated
 * provider come with the library; write your own by filling in aip_llm_ops (examples/own_llm.c).
 * Decorators (retry) are ports that wrap ports.
 */
#ifndef AIPLAT_PORTS_LLM_H
#define AIPLAT_PORTS_LLM_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/id.h>
#include <aiplat/llm_config.h>
#include <aiplat/op.h>
#include <aiplat/value.h>

AIP_BEGIN_DECLS

enum aip_llm_role {
        AIP_LLM_SYSTEM = 0,
        AIP_LLM_USER,
        AIP_LLM_ASSISTANT,
        AIP_LLM_TOOL
};

struct aip_llm_message {
        enum aip_llm_role role;
        struct aip_str content;
};

enum aip_llm_finish_reason {
        AIP_LLM_FINISH_STOP = 0,
        AIP_LLM_FINISH_LENGTH,
        AIP_LLM_FINISH_TOOL_CALLS,
        AIP_LLM_FINISH_CONTENT_FILTER,
        AIP_LLM_FINISH_OTHER
};

/* The closed set of error kinds (aip_error_kind() of an AIP_EUPSTREAM, AIP_ETIMEOUT … error of a
 * call); the prefix says whose fault it is. Static strings. */
#define AIP_LLM_CALLER_INVALID_REQUEST  "caller_invalid_request"  /* 400, 422 */
#define AIP_LLM_CALLER_AUTHENTICATION   "caller_authentication"   /* 401, or the key is not set */
#define AIP_LLM_CALLER_PERMISSION       "caller_permission"       /* 403 */
#define AIP_LLM_CALLER_NOT_FOUND        "caller_not_found"        /* 404: no such model */
#define AIP_LLM_CALLER_TOO_LARGE        "caller_too_large"        /* 413, context length */
#define AIP_LLM_CALLER_QUOTA            "caller_quota"            /* insufficient_quota: do not retry */
#define AIP_LLM_POLICY_REFUSED          "policy_refused"          /* content filter, refusal */
#define AIP_LLM_PROVIDER_RATE_LIMITED   "provider_rate_limited"   /* 429 */
#define AIP_LLM_PROVIDER_OVERLOADED     "provider_overloaded"     /* 503, 529 */
#define AIP_LLM_PROVIDER_FAILED         "provider_failed"         /* other 5xx, 408, 409 */
#define AIP_LLM_PROVIDER_UNREACHABLE    "provider_unreachable"    /* no connection, or it broke */
#define AIP_LLM_PROVIDER_TIMEOUT        "provider_timeout"        /* the time limit passed */
#define AIP_LLM_PROVIDER_BAD_ANSWER     "provider_bad_answer"     /* not understood, or empty */
#define AIP_LLM_INTERNAL_CANCELLED      "internal_cancelled"
#define AIP_LLM_INTERNAL_FAILED         "internal_failed"

/* What came back. Strings are owned (malloc) by the call; aip_llm_answer_deinit() frees them. */
struct aip_llm_answer {
        char *content; /* NUL-terminated valid UTF-8 */
        size_t content_bytes;
        char *response_id; /* or NULL; not unique with every server */
        char *model_name;  /* that answered, or NULL */
        enum aip_llm_finish_reason finish_reason;
        int64_t input_tokens;  /* the whole prompt, cached parts included; -1: not told */
        int64_t output_tokens; /* -1: not told */
        int64_t cached_tokens, reasoning_tokens; /* parts of the above; -1: not told */
        const char *provider; /* the adapter's name; static */
};

AIP_API void aip_llm_answer_deinit(struct aip_llm_answer *answer);

struct aip_llm_call {
        struct aip_op op; /* op.deadline_ms bounds the call beside the configuration's timeout */
        /* set by the caller, borrowed until done */
        const aip_llm_config *config;
        const struct aip_llm_message *messages;
        size_t n_messages;
        const struct aip_id *job_id; /* for logs and the simulated provider; or NULL */
        const char *trace_id;        /* sent on as traceparent; or NULL */
        /* result */
        struct aip_llm_answer ret_answer;
        int32_t ret_tries; /* requests sent */
        /* the adapter's, from the call until `done` */
        void *impl;
        struct aip_timer timer;
};

struct aip_llm_ops {
        size_t self_size;
        const char *name; /* provider name as configurations have it; static */
        void (*complete)(void *self, struct aip_llm_call *call); /* required */
        /* Required. Idempotent; the call still ends through `done`, with AIP_ECANCELLED unless it had
         * ended already. Never called after done. */
        void (*cancel)(void *self, struct aip_llm_call *call);
        void (*free)(void *self); /* required; no call is in flight */
};

struct aip_llm {
        const struct aip_llm_ops *ops;
        void *self;
};

AIP_END_DECLS

#endif
