/* Requests of Anthropic Messages, for anthropic_llm.c. Pure. */
#ifndef AIPLAT_LLM_ANTHROPIC_REQUEST_H
#define AIPLAT_LLM_ANTHROPIC_REQUEST_H

#include <aiplat/ports/llm.h>

/* The tool that the model is made to call when the answer is to be JSON. */
#define AIP_ANTHROPIC_OUTPUT_TOOL "structured_output"

/* See struct aip_chat_protocol. */
int aip_anthropic_append_body(struct aip_buf *out, const struct aip_llm_call *call,
                              int with_temperature, aip_error **err);
int aip_anthropic_takes_temperature(struct aip_str model_name);

#endif
