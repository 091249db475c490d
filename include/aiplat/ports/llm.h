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

enum aip_llm_role { AIP_LLM_SYSTEM = 0, AIP_LLM_USER, AIP_LLM_ASSISTANT, AIP_LLM_TOOL };

/* Zero what does not apply. */
struct aip_llm_message {
        enum aip_llm_role role;
        struct aip_str content;
        /* Of an assistant: the tools it called, as aip_llm_answer.tool_calls has them; or NULL. */
        const aip_value *tool_calls;
        /* Of a tool: which call this answers (required), the tool's name (or empty), and whether it
         * failed, which `content` then tells the model. */
        struct aip_str tool_call_id, tool_name;
        int is_error;
};

/* Whether the model calls tools. */
enum aip_llm_tool_choice {
        AIP_LLM_TOOLS_AUTO = 0, /* as it likes */
        AIP_LLM_TOOLS_NONE,     /* it may not, though earlier messages speak of them */
        AIP_LLM_TOOLS_REQUIRED, /* at least one */
        AIP_LLM_TOOLS_NAMED     /* the one in tool_choice_name */
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
#define AIP_LLM_CALLER_INVALID_REQUEST "caller_invalid_request" /* 400, 422 */
#define AIP_LLM_CALLER_AUTHENTICATION  "caller_authentication"  /* 401, or the key is not set */
#define AIP_LLM_CALLER_PERMISSION      "caller_permission"      /* 403 */
#define AIP_LLM_CALLER_NOT_FOUND       "caller_not_found"       /* 404: no such model */
#define AIP_LLM_CALLER_TOO_LARGE       "caller_too_large"       /* 413, context length */
#define AIP_LLM_CALLER_QUOTA           "caller_quota"   /* insufficient_quota: do not retry */
#define AIP_LLM_POLICY_REFUSED         "policy_refused" /* content filter, refusal */
#define AIP_LLM_PROVIDER_RATE_LIMITED  "provider_rate_limited" /* 429 */
#define AIP_LLM_PROVIDER_OVERLOADED    "provider_overloaded"   /* 503, 529 */
#define AIP_LLM_PROVIDER_FAILED        "provider_failed"       /* other 5xx, 408, 409 */
#define AIP_LLM_PROVIDER_UNREACHABLE   "provider_unreachable"  /* no connection, or it broke */
#define AIP_LLM_PROVIDER_TIMEOUT       "provider_timeout"      /* the time limit passed */
#define AIP_LLM_PROVIDER_BAD_ANSWER    "provider_bad_answer"   /* not understood, or empty */
#define AIP_LLM_INTERNAL_CANCELLED     "internal_cancelled"
#define AIP_LLM_INTERNAL_FAILED        "internal_failed"

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
        const char *provider;                    /* the adapter's name; static */
        /* The tools that the model calls, in its order: a list of
         *     {"id": string, "name": string, "arguments": object}
         * NULL: none, or none were offered. `content` may be empty beside them. What the model wrote
         * for arguments and is no JSON object comes as
         *     {"id": …, "name": …, "arguments_text": what it wrote, "arguments_error": why}
         * so that the error can be given back to it. */
        aip_value *tool_calls;
};

AIP_API void aip_llm_answer_deinit(struct aip_llm_answer *answer);

/* A piece of an answer that is on its way. */
enum aip_llm_delta_kind {
        AIP_LLM_DELTA_TEXT = 0,            /* more of `content` */
        AIP_LLM_DELTA_REASONING,           /* what the model thinks aloud; no part of the answer */
        AIP_LLM_DELTA_TOOL_CALL_BEGIN,     /* index, tool_call_id, tool_name */
        AIP_LLM_DELTA_TOOL_CALL_ARGUMENTS, /* index; `text` is more of the arguments' JSON text */
        /* All that came before is void: the call failed midway and begins again. */
        AIP_LLM_DELTA_RESTART
};

/* Borrowed for the call of on_delta. The text is valid UTF-8 by itself. */
struct aip_llm_delta {
        enum aip_llm_delta_kind kind;
        struct aip_str text;
        int32_t index; /* of the tool call in tool_calls, from 0 */
        struct aip_str tool_call_id, tool_name;
};

/* Zero it, then fill in what applies. */
struct aip_llm_call {
        struct aip_op op; /* op.deadline_ms bounds the call beside the configuration's timeout */
        /* set by the caller, borrowed until done */
        const aip_llm_config *config;
        const struct aip_llm_message *messages;
        size_t n_messages;
        const struct aip_id *job_id; /* for logs and the simulated provider; or NULL */
        const char *trace_id;        /* sent on as traceparent; or NULL */
        /* Tools the model may call: a list of {"name": [A-Za-z0-9_-]{1,64}, "description": string,
         * "parameters": JSON Schema of an object}; the latter two may be left out. NULL: none. */
        const aip_value *tools;
        enum aip_llm_tool_choice tool_choice;
        struct aip_str tool_choice_name;
        int is_serial; /* at most one tool call an answer */
        /* Structured output: `content` is to be JSON by this schema (of an object). NULL: text. The
         * adapter makes the provider keep to it as far as the provider can; content cut short by
         * max_tokens is no whole JSON. With tools beside it, an answer is calls of tools or it. */
        const aip_value *output_schema;
        /* Streaming: pieces as they arrive, in order, on the loop thread, from after `complete`
         * returned until `done`; the text deltas since the last RESTART make up `content`. It may
         * cancel the call and start others. NULL: the answer comes as a whole. What the answer is
         * does not depend on it. */
        void (*on_delta)(struct aip_llm_call *call, const struct aip_llm_delta *delta);
        /* Streaming: the longest pause between bytes once the answer has begun; 0: the adapter's. */
        int64_t idle_timeout_ms;
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
