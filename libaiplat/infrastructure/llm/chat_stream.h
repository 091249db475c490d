/*
 * A streamed answer being read: Server-Sent Events in, deltas out, and at the end the answer that
 * would have come as a whole. chat_llm.c feeds it from the network. Pure, but for what the call's
 * on_delta does; after that cancelled the call, mute the draft and feed no more.
 */
#ifndef AIPLAT_LLM_CHAT_STREAM_H
#define AIPLAT_LLM_CHAT_STREAM_H

#include "llm/chat_llm.h"
#include "llm/sse_parser.h"

struct aip_chat_stream {
        const struct aip_chat_protocol *protocol;
        struct aip_chat_draft draft;
        struct aip_sse_parser sse;
        struct aip_provider_reply reply; /* what is being read, during a feed */
        aip_error **err;                 /* where take_event puts it, during a feed */
        int is_failed;
};

/* `secret` is borrowed until deinit. */
void aip_chat_stream_init(struct aip_chat_stream *stream, const struct aip_chat_protocol *protocol,
                          struct aip_llm_call *call, struct aip_str secret);
void aip_chat_stream_deinit(struct aip_chat_stream *stream);

/* Take the next bytes of the body. `head`: status and headers. Negative: an error of ports/llm.h's
 * kinds; feed no more then. */
int aip_chat_stream_feed(struct aip_chat_stream *stream, const struct aip_http_response *head,
                         struct aip_str bytes, aip_error **err);

/* Nothing is left to come but what does not matter. */
int aip_chat_stream_is_complete(const struct aip_chat_stream *stream);

/* The body is over, well or not: make the answer of what came if that is one, else the error.
 * `failure` says what ended it, NULL if it just ended; consumed always. */
int aip_chat_stream_end(struct aip_chat_stream *stream, const struct aip_http_response *head,
                        aip_error *failure, struct aip_llm_answer *ret_answer, aip_error **err);

/* Whether an answer of this head is such a stream. `body` is what there is of it so far. */
int aip_chat_is_stream(const struct aip_http_response *head, struct aip_str body);

#endif
