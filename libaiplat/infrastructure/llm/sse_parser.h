/*
 * Server-Sent Events, the receiving side (WHATWG HTML, "parsing an event stream"): bytes in pieces
 * of any size become events. Used by streamed answers of model providers; knows nothing of what the
 * events say. Fields `id` and `retry` and comments are passed over: nobody here resumes a stream.
 */
#ifndef AIPLAT_LLM_SSE_PARSER_H
#define AIPLAT_LLM_SSE_PARSER_H

#include <aiplat/str.h>

struct aip_sse_event {
        struct aip_str name; /* of field `event`; empty: none */
        struct aip_str data; /* its data lines, joined by line feeds */
        int is_unfinished;   /* the stream ended in the middle of it */
};

struct aip_sse_parser {
        /* Takes an event, which is borrowed. Negative ends the parsing; the feed answers it. */
        int (*take)(void *user, const struct aip_sse_event *event);
        void *user;
        /* the parser's */
        struct aip_buf line, name, data;
        int has_data, has_begun, is_after_cr;
};

/* `max_bytes`: of a line, and of an event's data. */
void aip_sse_parser_init(struct aip_sse_parser *parser, size_t max_bytes,
                         int (*take)(void *user, const struct aip_sse_event *event), void *user);
void aip_sse_parser_deinit(struct aip_sse_parser *parser);

/* 0, AIP_ENOMEM, AIP_ELIMIT, or what `take` answered. After a failure the parser is of no use. */
AIP_MUST_CHECK int aip_sse_parser_feed(struct aip_sse_parser *parser, struct aip_str bytes);

/* The stream is over. What stands there of an event is given out too, marked as unfinished: the
 * standard drops it, but some servers leave out the last line's end. */
AIP_MUST_CHECK int aip_sse_parser_end(struct aip_sse_parser *parser);

#endif
