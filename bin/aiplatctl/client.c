/* The gateway's client (client.h), on libcurl. */
#include "client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "command.h"

#define TRIES 3

static size_t take_bytes(char *data, size_t size, size_t n, void *user)
{
        struct aip_buf *body = user;

        return aip_buf_append(body, aip_str_make(data, size * n)) < 0 ? 0 : size * n;
}

int client_escape(struct aip_buf *url, struct aip_str text)
{
        char *escaped = curl_easy_escape(NULL, text.p, (int)text.n);
        int r = escaped ? aip_buf_append_cstr(url, escaped) : AIP_ENOMEM;

        curl_free(escaped);
        return r;
}

static int set_up(CURL *curl, const struct call *call, struct aip_buf *url, struct aip_buf *body,
                  struct curl_slist **headers)
{
        char header[300];
        int r;

        if ((r = aip_buf_append_cstr(url, call->url)) < 0 ||
            (r = aip_buf_append(url, call->path)) < 0)
                return r;
        curl_easy_setopt(curl, CURLOPT_URL, url->p);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, call->timeout_s ? call->timeout_s : 30L);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
        if (call->idempotency_key) {
                snprintf(header, sizeof(header), "Idempotency-Key: %s", call->idempotency_key);
                *headers = curl_slist_append(*headers, header);
        }
        if (!call->body)
                return 0;
        if ((r = aip_value_print(call->body, body, NULL)) < 0)
                return r;
        *headers = curl_slist_append(*headers, "Content-Type: application/json");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->p);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body->n);
        return 0;
}

/* A call whose effect is the same once and twice. */
static int is_safe_to_repeat(const struct call *call)
{
        return call->idempotency_key || strcmp(call->method, "POST") != 0;
}

static CURLcode perform(CURL *curl, const struct call *call, struct reply *reply)
{
        CURLcode code = CURLE_OK;

        for (int try = 1; try <= TRIES; try++) {
                struct timespec pause = {0, 100000000L * try};

                aip_buf_clear(&reply->body);
                code = curl_easy_perform(curl);
                if (code == CURLE_OK || !is_safe_to_repeat(call) ||
                    code == CURLE_OPERATION_TIMEDOUT)
                        break;
                if (try < TRIES)
                        nanosleep(&pause, NULL);
        }
        return code;
}

int client_call(const struct call *call, struct reply *ret_reply, aip_error **err)
{
        struct aip_buf url = AIP_BUF_INIT(65536), body = AIP_BUF_INIT(CLIENT_MAX_BYTES);
        struct reply reply = {0, AIP_BUF_INIT(CLIENT_MAX_BYTES), NULL};
        struct curl_slist *headers = NULL;
        CURL *curl = curl_easy_init();
        CURLcode code;
        int r = curl ? set_up(curl, call, &url, &body, &headers) : AIP_ENOMEM;

        if (r < 0) {
                r = aip_error_set(err, r, "the request cannot be made");
        } else {
                curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
                curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
                curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
                code = perform(curl, call, &reply);
                curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
                if (code != CURLE_OK)
                        r = aip_error_set(err, AIP_EUNAVAILABLE, "no answer from %s: %s", call->url,
                                          curl_easy_strerror(code));
                else if (reply.body.n > 0)
                        aip_value_parse(aip_buf_str(&reply.body), &reply.value, NULL);
        }
        curl_slist_free_all(headers);
        curl_easy_cleanup(curl);
        aip_buf_deinit(&url);
        aip_buf_deinit(&body);
        if (r < 0)
                reply_deinit(&reply);
        else
                *ret_reply = reply;
        return r;
}

void reply_deinit(struct reply *reply)
{
        aip_buf_deinit(&reply->body);
        aip_value_unref(reply->value);
        reply->value = NULL;
}

int client_refused(const struct reply *reply)
{
        struct aip_str detail = aip_value_as_string(aip_value_get_cstr(reply->value, "detail"));

        fprintf(stderr, "%s: ", program_invocation_short_name);
        if (detail.p)
                fprintf(stderr, "%.*s\n", (int)detail.n, detail.p);
        else
                fprintf(stderr, "the gateway answered with status %ld\n", reply->status);
        switch (reply->status) {
        case 404:
                return EXIT_NOT_FOUND;
        case 400:
        case 422:
                return EXIT_USAGE;
        case 503:
                return EXIT_UNAVAILABLE;
        default:
                return EXIT_FAILED;
        }
}
