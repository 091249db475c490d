/*
 * An answer in the making: what a provider says, whole or piece by piece, is put in here by the
 * protocols; pieces go on to the call's on_delta at once, without the API key; at the end it
 * becomes the answer, or the error that says why it is none. So a streamed answer and one that came
 * as a whole are made by the same rules. Pure, but for what on_delta does.
 *
 * What appends returns 0, AIP_ENOMEM, or AIP_ELIMIT for more than an answer may hold.
 */
#ifndef AIPLAT_LLM_CHAT_DRAFT_H
#define AIPLAT_LLM_CHAT_DRAFT_H

#include "llm/provider_fault.h"
#include <aiplat/ports/llm.h>

#define AIP_CHAT_ANSWER_MAX_BYTES ((size_t)16 * 1024 * 1024)

/* A tool call in the making. */
struct aip_chat_tool_draft {
        int64_t key;  /* the provider's */
        int is_begun; /* its name is known and was passed on */
        struct aip_buf id, name, arguments;
};

/* Counts of tokens, -1: not told. */
struct aip_chat_usage {
        int64_t input, output, reasoning;
        int64_t cached;        /* of the prompt, read from the provider's cache */
        int64_t cache_written; /* not within `input` */
        int is_cached_apart;   /* nor is `cached` */
};

struct aip_chat_draft {
        struct aip_llm_call *call; /* whose answer it becomes; its result is not touched */
        struct aip_str secret;
        struct aip_buf content, refusal, response_id, model_name;
        struct aip_buf aside; /* text that is the answer only if nothing else is */
        struct aip_chat_tool_draft *tools;
        size_t n_tools, tools_capacity;
        struct aip_chat_usage usage;
        enum aip_llm_finish_reason finish_reason;
        int has_finish_reason; /* it was told */
        int64_t output_key;    /* of the tool that stands for structured output; -1: none */
        int has_output;        /* that tool was used */
        int is_complete;       /* streams: the provider said that this is all */
        int is_muted;          /* no more deltas: the call was cancelled */
        /* What looks like the beginning of the key at the end of the deltas so far: held back. */
        enum aip_llm_delta_kind held_kind;
        int32_t held_index;
        size_t n_held;
        struct aip_buf scratch, clean;
};

void aip_chat_draft_init(struct aip_chat_draft *draft, struct aip_llm_call *call,
                         struct aip_str secret);
void aip_chat_draft_deinit(struct aip_chat_draft *draft);

AIP_MUST_CHECK int aip_chat_draft_text(struct aip_chat_draft *draft, struct aip_str text);
AIP_MUST_CHECK int aip_chat_draft_aside(struct aip_chat_draft *draft, struct aip_str text);
AIP_MUST_CHECK int aip_chat_draft_reasoning(struct aip_chat_draft *draft, struct aip_str text);
AIP_MUST_CHECK int aip_chat_draft_refusal(struct aip_chat_draft *draft, struct aip_str text);

/* Some of a tool call that the provider knows by `key`. The first fragment of a key begins it, and
 * so does another id with a name; what repeats is passed over. */
AIP_MUST_CHECK int aip_chat_draft_tool(struct aip_chat_draft *draft, int64_t key, struct aip_str id,
                                       struct aip_str name);
/* More arguments of the latest tool call of this key; without one, nothing happens. */
AIP_MUST_CHECK int aip_chat_draft_arguments(struct aip_chat_draft *draft, int64_t key,
                                            struct aip_str text);

/* The members `id` and `model`, the first time they are told. */
AIP_MUST_CHECK int aip_chat_draft_identity(struct aip_chat_draft *draft, const aip_value *root);

/* Put a count from `usage` in place of the one before, if it is there and no nonsense. */
void aip_chat_draft_count(int64_t *count, const aip_value *usage, const char *name);

/* Why the model stopped: the provider's word, and the table of its words, which ends with NULL.
 * Nothing happens when it was not told. */
struct aip_chat_reason {
        const char *name;
        enum aip_llm_finish_reason reason;
};
void aip_chat_draft_reason(struct aip_chat_draft *draft, const struct aip_chat_reason *table,
                           const aip_value *word);

/* Tools were offered, so that calls of them are an answer. */
int aip_chat_offers_tools(const struct aip_llm_call *call);

/* Pass on what was held back, then make the answer. Negative: an error of ports/llm.h's kinds. */
int aip_chat_draft_finish(struct aip_chat_draft *draft, const struct aip_provider_reply *reply,
                          struct aip_llm_answer *ret_answer, aip_error **err);

/* Turn a failed append into an error. */
int aip_chat_draft_failed(int code, const struct aip_provider_reply *reply, aip_error **err);

#endif
