/*
 * One HTTP request as the controllers see it: what was asked, and how to answer. Loop thread only.
 */
#ifndef AIPLAT_INTERFACE_HTTP_REQUEST_H
#define AIPLAT_INTERFACE_HTTP_REQUEST_H

#include <aiplat/http_server.h>

#include "list.h"

struct MHD_Connection;
struct http_request;

/* A route: method, path pattern ("/v1/jobs/{}/cancel": {} is one segment), and its controller. The
 * controller answers with http_answer…(), at once or later, exactly once. */
struct http_route {
        const char *method;
        const char *pattern;
        void (*handle)(struct http_request *request);
        int takes_body;
};

struct http_answer {
        unsigned status; /* 0: not answered yet */
        struct aip_buf body;
        const char *content_type; /* static */
        const char *allow;        /* Allow header, or NULL; static */
        char location[64];        /* Location header, or "" */
        int32_t retry_after_s;    /* Retry-After header when > 0 */
        int is_replay;            /* Idempotency-Replayed header */
};

struct http_request {
        struct aip_list link, turn_link; /* the server's */
        aip_http_server *server;
        struct MHD_Connection *connection;
        const struct http_route *route;
        int has_begun; /* its headers have arrived */
        int is_suspended;

        char *path;             /* as it was sent, but for the segment; NUL-terminated */
        struct aip_str segment; /* what {} matched, decoded; in place of what was sent */
        struct aip_buf body;
        char trace_id[AIP_TRACE_ID_BYTES];
        int64_t began_ms;
        int is_to_wait; /* the client asked for a late answer: how late says nothing of us */

        struct http_answer answer;
        size_t answer_bytes; /* once it is being sent */
        /* A streamed answer (http_answer_stream): the piece that is being sent. */
        struct aip_buf piece;
        size_t piece_at;
        int is_last_piece;
        void (*more)(struct http_request *request);

        /* the controller's */
        void *work;
        void (*free_work)(void *work);
        /* The client has gone, or the server closes: end soon. NULL: it ends soon by itself. */
        void (*hurry)(struct http_request *request);
};

/* What the server was wired with. */
const struct aip_http_server_options *http_options(const struct http_request *request);

/* Zeroed memory that lives as long as the request; NULL (and answered with 503) when out of memory.
 * `free_work` (may be NULL) is called with it before it is freed. */
void *http_work_new(struct http_request *request, size_t bytes, void (*free_work)(void *work));

/* Query argument and header by name; {NULL, 0} when absent. Borrowed for the request's life. */
struct aip_str http_query(const struct http_request *request, const char *name);
struct aip_str http_header(const struct http_request *request, const char *name);

/* Answers. `body` (JSON) is emptied. */
void http_answer_json(struct http_request *request, unsigned status, struct aip_buf *body);
void http_answer_text(struct http_request *request, const char *content_type, struct aip_str text);
void http_answer_empty(struct http_request *request, unsigned status);
/* A problem document (RFC 9457) that also carries `code`. */
void http_answer_problem(struct http_request *request, unsigned status, const char *code,
                         const char *format, ...) AIP_PRINTF(4, 5);
/* The problem that an error of the application is to a client; `err` is consumed always. */
void http_answer_error(struct http_request *request, aip_error *err);
/* The same where the thing named in the body does not exist: 422 in place of 404. */
void http_answer_unprocessable(struct http_request *request, aip_error *err);

/* Status 200 with a body that comes in pieces, until one is the last. Put the first into
 * request->piece. `more` is called when a piece has gone to the client: it puts the next one there,
 * within the call or later; then http_piece_ready(). So a client that does not read is asked for
 * nothing. `content_type` is static. */
void http_answer_stream(struct http_request *request, const char *content_type,
                        void (*more)(struct http_request *request));
void http_piece_ready(struct http_request *request);
/* The server is closing: what is streamed should end. */
int http_is_closing(const struct http_request *request);

/* The body as a JSON object, owned by caller; NULL when it is none (and answered with 4xx). */
aip_value *http_body_object(struct http_request *request);

#endif
