/* See chat_stream.h. */
#include "llm/chat_stream.h"
#include "macros.h"
#include <strings.h>

#define NO_WORDS ((struct aip_str){NULL, 0})

/* An event that is a JSON text. */
static int take_root(struct aip_chat_stream *stream, const aip_value *root, aip_error **err)
{
        struct aip_provider_fault fault;
        if (aip_provider_fault_read(root, &fault))
                return aip_provider_refuse(&stream->reply, root, err);
        int r = stream->protocol->take_event(&stream->draft, root);
        return r < 0 ? aip_chat_draft_failed(r, &stream->reply, err) : 0;
}

static int complain_no_json(struct aip_chat_stream *stream, struct aip_str data,
                            aip_error *parse_error, aip_error **err)
{
        struct aip_http_response response = *stream->reply.response;
        struct aip_provider_reply reply = stream->reply;
        response.body = data;
        reply.response = &response;
        return aip_provider_complain_no_json(&reply, parse_error, err);
}

static int take_event(void *user, const struct aip_sse_event *event)
{
        struct aip_chat_stream *stream = user;
        _cleanup_(aip_value_unref_p) aip_value *root = NULL;
        aip_error *parse_error = NULL;
        if (stream->draft.is_complete || stream->draft.is_muted || aip_chat_is_blank(event->data))
                return 0;
        if (aip_str_eq(event->data, AIP_STR("[DONE]"))) {
                stream->draft.is_complete = 1;
                return 0;
        }
        int r = aip_value_parse(event->data, &root, &parse_error);
        if (r == 0)
                return take_root(stream, root, stream->err);
        if (r != AIP_ENOMEM && event->is_unfinished) {
                aip_error_free(parse_error); /* cut off; the end tells */
                return 0;
        }
        return complain_no_json(stream, event->data, parse_error, stream->err);
}

void aip_chat_stream_init(struct aip_chat_stream *stream, const struct aip_chat_protocol *protocol,
                          struct aip_llm_call *call, struct aip_str secret)
{
        *stream = (struct aip_chat_stream){.protocol = protocol};
        stream->reply = (struct aip_provider_reply){protocol->name, NULL, secret};
        aip_chat_draft_init(&stream->draft, call, secret);
        aip_sse_parser_init(&stream->sse, AIP_CHAT_ANSWER_MAX_BYTES, take_event, stream);
}

void aip_chat_stream_deinit(struct aip_chat_stream *stream)
{
        aip_chat_draft_deinit(&stream->draft);
        aip_sse_parser_deinit(&stream->sse);
}

/* The parser's own failures have no error yet. */
static int feed_failed(struct aip_chat_stream *stream, int code, aip_error **err)
{
        stream->is_failed = 1;
        return *err ? code : aip_chat_draft_failed(code, &stream->reply, err);
}

int aip_chat_stream_feed(struct aip_chat_stream *stream, const struct aip_http_response *head,
                         struct aip_str bytes, aip_error **err)
{
        aip_error *failure = NULL;
        stream->reply.response = head;
        stream->err = &failure;
        int r = aip_sse_parser_feed(&stream->sse, bytes);
        if (r < 0) {
                feed_failed(stream, r, &failure);
                r = aip_error_propagate(err, failure);
        }
        return r;
}

int aip_chat_stream_is_complete(const struct aip_chat_stream *stream)
{
        return stream->draft.is_complete;
}

static int broke_off(const struct aip_chat_stream *stream, aip_error *failure, aip_error **err)
{
        if (failure)
                return aip_error_propagate(err, failure);
        return aip_provider_complain(&stream->reply, AIP_LLM_PROVIDER_UNREACHABLE,
                                     "the stream ended before the answer did", NO_WORDS, err);
}

int aip_chat_stream_end(struct aip_chat_stream *stream, const struct aip_http_response *head,
                        aip_error *failure, struct aip_llm_answer *ret_answer, aip_error **err)
{
        aip_error *last = NULL;
        assert(!stream->is_failed);
        stream->reply.response = head;
        stream->err = &last;
        int r = aip_sse_parser_end(&stream->sse);
        if (r < 0) {
                feed_failed(stream, r, &last);
                aip_error_free(failure);
                return aip_error_propagate(err, last);
        }
        /* Why the model stopped is the last that matters; not all servers send the end mark. */
        if (!stream->draft.is_complete && !stream->draft.has_finish_reason)
                return broke_off(stream, failure, err);
        aip_error_free(failure);
        return aip_chat_draft_finish(&stream->draft, &stream->reply, ret_answer, err);
}

static int has_prefix(struct aip_str text, const char *prefix)
{
        size_t n = strlen(prefix);
        return text.n >= n && strncasecmp(text.p, prefix, n) == 0;
}

int aip_chat_is_stream(const struct aip_http_response *head, struct aip_str body)
{
        struct aip_str type = aip_http_header_find(head, "content-type");
        if (has_prefix(type, "text/event-stream"))
                return 1;
        if (has_prefix(type, "application/json"))
                return 0;
        size_t i = 0;
        while (i < body.n && strchr(" \t\r\n", body.p[i]) && body.p[i])
                i++;
        return i < body.n && body.p[i] != '{' && body.p[i] != '<';
}
