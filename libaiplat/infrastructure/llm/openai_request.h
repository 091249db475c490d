/* Requests of OpenAI Chat Completions, for openai_llm.c. Pure. */
#ifndef AIPLAT_LLM_OPENAI_REQUEST_H
#define AIPLAT_LLM_OPENAI_REQUEST_H

#include <aiplat/ports/llm.h>

/* See struct aip_chat_protocol. */
int aip_openai_append_body(struct aip_buf *out, const struct aip_llm_call *call,
                           int with_temperature, aip_error **err);
int aip_openai_takes_temperature(struct aip_str model_name);

#endif
