/*
 * HTTP requests on the loop, over one libcurl multi handle: what the adapters of model providers and
 * of tools stand on. Private to this layer; programs see only its constructor (aiplat/adapters.h). It
 * knows nothing of models, and no type of libcurl appears here.
 *
 * What it promises: certificates are verified; redirects, proxies of the environment, cookies and
 * .netrc are not used; only http and https are spoken; names are resolved without blocking the
 * loop, also when a request is cancelled meanwhile. On a kept connection that the server closed
 * without a byte of answer, libcurl sends the request once more on a new one.
 */
#ifndef AIPLAT_LLM_HTTP_CLIENT_H
#define AIPLAT_LLM_HTTP_CLIENT_H

#include "list.h"
#include <aiplat/adapters.h>
#include <aiplat/str.h>

struct aip_http_header {
        const char *name;
        const char *value; /* no control characters: the caller has checked */
};

/* What came back. Borrowed from the request. */
struct aip_http_response {
        int32_t status;
        struct aip_str headers; /* of the last answer, lines "Name: value\r\n" */
        struct aip_str body;    /* empty when on_body is set */
        int64_t wall_us;        /* when its end arrived */
};

/* The value of the first header of this name, without blanks around it; {NULL, 0} when absent. */
struct aip_str aip_http_header_find(const struct aip_http_response *response, const char *name);

/* A request. Intrusive: zero it, fill in the first part, start it, keep it in place until `done`. */
struct aip_http_request {
        /* set by the caller; borrowed until done */
        const char *label; /* who is asked, for messages: the provider's name */
        const char *url;
        const struct aip_http_header *headers;
        size_t n_headers;
        struct aip_str body;
        const char *method;        /* NULL: POST; GET and DELETE send no body */
        int64_t timeout_ms;        /* in all, waiting for a free connection included; > 0 */
        size_t max_response_bytes; /* of the body */

        /* For streams: take a piece of the body as it arrives; not 0 ends the request with an
         * error. NULL: the body is collected. It must neither start nor cancel anything.
         * max_response_bytes does not apply. */
        int (*on_body)(struct aip_http_request *request, struct aip_str piece);

        /* On the loop thread, from the loop. `err` (NULL: an answer came, of whatever status) is
         * owned by the callee; the response is gone when it returns. */
        void (*done)(struct aip_http_request *request, const struct aip_http_response *response,
                     aip_error *err);

        /* the client's, from start to done */
        aip_http_client *client;
        struct origin *origin;
        struct transfer *transfer; /* NULL while there is none yet */
        int is_waiting;            /* for its turn */
        struct aip_timer timer;    /* the time limit */
        struct aip_list link;      /* in the origin's queue, or among those that failed */
        aip_error *failure;
};

/* 0: `done` will be called later. Negative: it will not. */
int aip_http_start(aip_http_client *client, struct aip_http_request *request, aip_error **err);

/* Status and headers of an answer whose body has begun to arrive, borrowed until `done` returns or
 * the request is cancelled. */
void aip_http_head(const struct aip_http_request *request, struct aip_http_response *ret_head);

/* Break it off now; `done` will not be called. Not to be called from on_body. */
void aip_http_cancel(struct aip_http_request *request);

struct aip_loop aip_http_client_loop(const aip_http_client *client);
const struct aip_log *aip_http_client_log(const aip_http_client *client);

#endif
