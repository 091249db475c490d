/*
 * HTTP client on libcurl's multi_socket interface (see http_client.h). Called by the adapters of
 * model providers and, through watches and one timer, by the loop. It must never block, never call
 * `done` from within aip_http_start() or aip_http_cancel(), and never touch a multi handle from
 * within one of its callbacks.
 *
 *     aip_http_start ──► [waiting in its origin's queue] ──► [transfer] ──► done
 *                              │ timer, cancel                 │ timer, cancel, watch failed
 *                              └──────────► ended ◄────────────┘
 *
 * Requests wait in a queue per origin (scheme, host, port) of ours, not in libcurl's: that one is
 * common to all hosts, so a host that hangs would hold up the others, and time spent there is not
 * counted against a transfer's time limit.
 *
 * An easy handle costs some 10 KB while in use; a bounded number is kept for the next requests.
 * Their options are set once, but for what differs from request to request.
 */
#include "llm/http_client.h"
#include "hash_map.h"
#include "llm/provider_error.h"
#include "llm/public_address.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/version.h>
#include <curl/curl.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>

#define HEADERS_MAX_BYTES  ((size_t)64 * 1024)
#define KEEP_BODY_BYTES    ((size_t)64 * 1024)
#define IDLE_TRANSFERS_MAX 2048
#define READ_BYTES         4096L  /* at once; libcurl has 16 KB for each transfer */
#define WRITE_BYTES        16384L /* the least; libcurl keeps so much for each call over HTTP/2 */
#define KEPT_ORIGINS_MAX   64
/* Streams that one HTTP/2 connection usually carries, with some room: servers offer 100 to 128. */
#define STREAMS_PER_CONNECTION 64
/* libcurl looks through all connections of a multi handle to a host, busy or not, to find a free one for
 * a transfer. */
#define POOL_TRANSFERS 64

/* A multi handle with its own connections. The first with room is taken, so that after a burst the
 * others have nothing to do and are closed. */
struct pool {
        aip_http_client *client;
        CURLM *multi;
        struct aip_timer timer;
        size_t n_transfers;
        struct aip_timer idle_timer; /* armed while there are none but there may be connections */
        struct aip_list link;
};

struct transfer {
        CURL *easy;
        struct pool *pool;                /* NULL while idle */
        struct aip_http_request *request; /* NULL while idle */
        struct curl_slist *headers;
        struct aip_buf response_headers, response_body;
        int is_too_large, is_refused; /* why a write callback broke off */
        int is_private;               /* an address was refused */
        struct aip_list link;         /* among the idle ones */
        char error_text[CURL_ERROR_SIZE];
};

/* A scheme, host and port. */
struct origin {
        struct aip_list waiting; /* requests, first come first served */
        size_t n_active, n_waiting, max_active;
        size_t key_bytes;
        char key[];
};

/* A socket of libcurl's that it wants to be told about. */
struct socket_watch {
        struct aip_watch watch;
        struct pool *pool;
};

struct aip_http_client {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_http_client_options options;
        char *ca_file;
        struct aip_list pools;
        CURLSH *share; /* TLS sessions and host names, which pools do not share by themselves */
        struct aip_hash_map origins;
        struct aip_list idle;
        size_t n_idle;
        struct aip_list failed; /* requests whose socket could not be watched */
        struct aip_task fail_task;
};

struct aip_loop aip_http_client_loop(const aip_http_client *client)
{
        return client->loop;
}

const struct aip_log *aip_http_client_log(const aip_http_client *client)
{
        return client->log;
}

/* ---- response headers ---- */

static struct aip_str trim(struct aip_str s)
{
        while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
                s = aip_str_make(s.p + 1, s.n - 1);
        while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]))
                s.n--;
        return s;
}

struct aip_str aip_http_header_find(const struct aip_http_response *response, const char *name)
{
        size_t n = strlen(name);
        struct aip_str rest = response->headers;
        while (rest.n > 0) {
                const char *end = memchr(rest.p, '\n', rest.n);
                size_t line = end ? (size_t)(end - rest.p) + 1 : rest.n;
                if (line > n && rest.p[n] == ':' && strncasecmp(rest.p, name, n) == 0)
                        return trim(aip_str_make(rest.p + n + 1, line - n - 1));
                rest = aip_str_make(rest.p + line, rest.n - line);
        }
        return (struct aip_str){NULL, 0};
}

/* ---- libcurl's callbacks for a transfer; nothing may be started or ended in them ---- */

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
        struct transfer *t = user;
        struct aip_str line = {p, size * n};
        if (line.n >= 5 && memcmp(line.p, "HTTP/", 5) == 0)
                aip_buf_clear(&t->response_headers); /* an interim answer came before */
        int r = aip_buf_append(&t->response_headers, line);
        t->is_too_large |= r == AIP_ELIMIT;
        return r < 0 ? 0 : line.n;
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
        struct transfer *t = user;
        struct aip_str piece = {p, size * n};
        if (t->request->on_body) {
                t->is_refused = t->request->on_body(t->request, piece) != 0;
                return t->is_refused ? 0 : piece.n;
        }
        int r = aip_buf_append(&t->response_body, piece);
        t->is_too_large |= r == AIP_ELIMIT;
        return r < 0 ? 0 : piece.n;
}

/* libcurl connects to the very address that it asks for a socket for, after names are resolved; so a name
 * cannot lead to another address than the one that is looked at here. */
static curl_socket_t open_public_socket(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
        struct transfer *t = user;
        (void)purpose;
        if (!aip_address_is_public(&a->addr)) {
                t->is_private = 1;
                return CURL_SOCKET_BAD;
        }
        return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- transfers: easy handles and what belongs to them ---- */

static void free_transfer(struct transfer *t)
{
        curl_easy_cleanup(t->easy);
        curl_slist_free_all(t->headers);
        aip_buf_deinit(&t->response_headers);
        aip_buf_deinit(&t->response_body);
        aip_free(t);
}
AIP_DEFINE_CLEANUP(struct transfer *, free_transfer);

/* How connections are made. */
static int set_connection_options(const aip_http_client *client, CURL *easy)
{
        int bad = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_PROXY, "") != CURLE_OK; /* not the environment's */
        bad |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                                (long)client->options.connect_timeout_ms) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_SHARE, client->share) != CURLE_OK;
        if (client->options.public_addresses_only)
                bad |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_public_socket) !=
                       CURLE_OK;
        if (client->ca_file)
                bad |= curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file) != CURLE_OK;
        /* Or the end of a transfer waits for the thread that resolves its host's name. */
        bad |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK;
        return bad;
}

static int set_transfer_options(struct transfer *t)
{
        CURL *easy = t->easy;
        int bad = curl_easy_setopt(easy, CURLOPT_PRIVATE, t) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error_text) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "aiplat/" AIPLAT_VERSION) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, t) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, t) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, READ_BYTES) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, WRITE_BYTES) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t) != CURLE_OK;
        return bad;
}

static struct transfer *new_transfer(const aip_http_client *client)
{
        _cleanup_(free_transfer_p) struct transfer *t = aip_calloc(1, sizeof(*t));
        if (!t)
                return NULL;
        t->easy = curl_easy_init();
        aip_buf_init(&t->response_headers, HEADERS_MAX_BYTES);
        if (!t->easy || set_connection_options(client, t->easy) || set_transfer_options(t))
                return NULL;
        return AIP_TAKE(t);
}

static struct transfer *take_transfer(aip_http_client *client)
{
        struct aip_list *node = aip_list_pop(&client->idle);
        if (!node)
                return new_transfer(client);
        client->n_idle--;
        return AIP_LIST_ENTRY(node, struct transfer, link);
}

static void release_transfer(aip_http_client *client, struct transfer *t)
{
        t->request = NULL;
        curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, NULL);
        curl_slist_free_all(AIP_TAKE(t->headers));
        if (t->response_body.capacity > KEEP_BODY_BYTES)
                aip_buf_deinit(&t->response_body);
        if (client->n_idle >= IDLE_TRANSFERS_MAX) {
                free_transfer(t);
                return;
        }
        aip_list_prepend(&client->idle, &t->link);
        client->n_idle++;
}

static int append_header(struct curl_slist **headers, const struct aip_http_header *header)
{
        _cleanup_(aip_buf_deinit) struct aip_buf line = AIP_BUF_INIT(64 * 1024);
        if (aip_buf_printf(&line, "%s: %s", header->name, header->value) < 0)
                return AIP_ENOMEM;
        struct curl_slist *more = curl_slist_append(*headers, line.p);
        if (!more)
                return AIP_ENOMEM;
        *headers = more;
        return 0;
}

static int set_headers(struct transfer *t, const struct aip_http_request *request)
{
        /* Without this libcurl asks for leave (100-continue) before it sends a long body. */
        static const struct aip_http_header no_expect = {"Expect", ""};
        int r = append_header(&t->headers, &no_expect);
        for (size_t i = 0; r == 0 && i < request->n_headers; i++)
                r = append_header(&t->headers, &request->headers[i]);
        if (r == 0 && curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) != CURLE_OK)
                r = AIP_ENOMEM;
        return r;
}

static int is_https(const char *url)
{
        return strncasecmp(url, "https:", 6) == 0;
}

static int has_body(const char *method)
{
        return !method || (strcmp(method, "GET") != 0 && strcmp(method, "DELETE") != 0);
}

/* The handle may have carried another method before. */
static int set_method(CURL *easy, const struct aip_http_request *request)
{
        int bad = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL) != CURLE_OK;
        if (has_body(request->method)) {
                bad |= curl_easy_setopt(easy, CURLOPT_POST, 1L) != CURLE_OK;
                bad |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                                        (curl_off_t)request->body.n) != CURLE_OK;
                bad |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                                        request->body.p ? request->body.p : "") != CURLE_OK;
        } else {
                bad |= curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) != CURLE_OK;
        }
        if (request->method)
                bad |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) != CURLE_OK;
        return bad;
}

/* HTTP/2 is agreed upon while a TLS connection is set up, so waiting for a connection that may be
 * shared is worth it there; over plain HTTP it would mean to wait for a whole answer. */
static int set_request(struct transfer *t, struct aip_http_request *request)
{
        int https = is_https(request->url);
        long version = https ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1;
        CURL *easy = t->easy;
        t->request = request;
        t->is_too_large = t->is_refused = t->is_private = 0;
        t->error_text[0] = '\0';
        aip_buf_clear(&t->response_headers);
        aip_buf_clear(&t->response_body);
        t->response_body.max_bytes = request->max_response_bytes;
        int bad = curl_easy_setopt(easy, CURLOPT_URL, request->url) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version) != CURLE_OK;
        bad |= curl_easy_setopt(easy, CURLOPT_PIPEWAIT, (long)https) != CURLE_OK;
        bad |= set_method(easy, request);
        return bad ? AIP_ENOMEM : set_headers(t, request);
}

/* ---- pools ---- */

static int on_timer(CURLM *multi, long timeout_ms, void *user);
static void timer_fired(struct aip_timer *timer);
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user);

static int set_multi_options(struct pool *pool)
{
        CURLM *multi = pool->multi;
        int bad = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK;
        bad |= curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, pool) != CURLM_OK;
        bad |= curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK;
        bad |= curl_multi_setopt(multi, CURLMOPT_TIMERDATA, pool) != CURLM_OK;
        bad |= curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX) != CURLM_OK;
        bad |= curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)POOL_TRANSFERS) != CURLM_OK;
        return bad;
}

static void free_pool(struct pool *pool)
{
        curl_multi_cleanup(pool->multi); /* closes the kept connections */
        aip_timer_clear(pool->client->loop, &pool->timer);
        aip_timer_clear(pool->client->loop, &pool->idle_timer);
        aip_list_remove(&pool->link);
        aip_free(pool);
}
AIP_DEFINE_CLEANUP(struct pool *, free_pool);

/* libcurl looks for connections that are too old only when it needs one. */
static void idle_timer_fired(struct aip_timer *timer)
{
        free_pool(AIP_CONTAINER_OF(timer, struct pool, idle_timer));
}

static struct pool *new_pool(aip_http_client *client)
{
        _cleanup_(free_pool_p) struct pool *pool = aip_calloc(1, sizeof(*pool));
        if (!pool)
                return NULL;
        aip_list_init(&pool->link);
        pool->client = client;
        pool->timer.fire = timer_fired;
        pool->idle_timer.fire = idle_timer_fired;
        pool->multi = curl_multi_init();
        if (!pool->multi || set_multi_options(pool))
                return NULL;
        aip_list_append(&client->pools, &pool->link);
        return AIP_TAKE(pool);
}

static struct pool *pool_with_room(aip_http_client *client)
{
        AIP_LIST_FOREACH (node, &client->pools) {
                struct pool *pool = AIP_LIST_ENTRY(node, struct pool, link);
                if (pool->n_transfers < POOL_TRANSFERS)
                        return pool;
        }
        return new_pool(client);
}

static int enter_pool(aip_http_client *client, struct transfer *t)
{
        struct pool *pool = pool_with_room(client);
        if (!pool || curl_multi_add_handle(pool->multi, t->easy) != CURLM_OK)
                return AIP_ENOMEM;
        aip_timer_clear(client->loop, &pool->idle_timer);
        pool->n_transfers++;
        t->pool = pool;
        return 0;
}

static void leave_pool(struct transfer *t)
{
        struct pool *pool = AIP_TAKE(t->pool);
        curl_multi_remove_handle(pool->multi, t->easy);
        if (--pool->n_transfers == 0)
                aip_timer_set(pool->client->loop, &pool->idle_timer,
                              pool->client->options.idle_timeout_ms);
}

/* ---- origins ---- */

/* "https://host:port" of a URL. */
static struct aip_str origin_key(const char *url)
{
        const char *host = strstr(url, "://");
        host = host ? host + 3 : url;
        return aip_str_make(url, (size_t)(host - url) + strcspn(host, "/?#"));
}

static struct origin *new_origin(aip_http_client *client, struct aip_str key)
{
        _cleanup_(aip_free_p) struct origin *origin = aip_calloc(1, sizeof(*origin) + key.n);
        if (!origin)
                return NULL;
        aip_list_init(&origin->waiting);
        origin->max_active = (size_t)client->options.max_connections_per_host;
        origin->key_bytes = key.n;
        memcpy(origin->key, key.p, key.n);
        if (aip_hash_map_set(&client->origins, key, origin, NULL) < 0)
                return NULL;
        return AIP_TAKE(origin);
}

static struct origin *get_origin(aip_http_client *client, const char *url)
{
        struct aip_str key = origin_key(url);
        struct origin *origin = aip_hash_map_get(&client->origins, key);
        return origin ? origin : new_origin(client, key);
}

/* Origins are remembered while they are few: configurations may come and go for months. */
static void drop_origin_if_unused(aip_http_client *client, struct origin *origin)
{
        if (origin->n_active || origin->n_waiting || client->origins.n <= KEPT_ORIGINS_MAX)
                return;
        aip_hash_map_remove(&client->origins, aip_str_make(origin->key, origin->key_bytes));
        aip_free(origin);
}

/* ---- the life of a request ---- */

static int begin_transfer(struct aip_http_request *request)
{
        aip_http_client *client = request->client;
        struct transfer *t = take_transfer(client);
        if (!t)
                return AIP_ENOMEM;
        int r = set_request(t, request);
        if (r == 0)
                r = enter_pool(client, t);
        if (r < 0) {
                release_transfer(client, t);
                return r;
        }
        request->transfer = t;
        request->origin->n_active++;
        return 0;
}

static void fail_later(struct aip_http_request *request, aip_error *failure)
{
        aip_http_client *client = request->client;
        if (request->failure) {
                aip_error_free(failure);
                return;
        }
        request->failure = failure;
        aip_list_append(&client->failed, &request->link);
        aip_defer(client->loop, &client->fail_task);
}

static void enqueue(struct aip_http_request *request)
{
        aip_list_append(&request->origin->waiting, &request->link);
        request->is_waiting = 1;
        request->origin->n_waiting++;
}

/* Let those who wait go on while there is room. */
static void admit_waiting(struct origin *origin)
{
        struct aip_list *node;
        while (origin->n_active < origin->max_active && (node = aip_list_pop(&origin->waiting))) {
                struct aip_http_request *request =
                        AIP_LIST_ENTRY(node, struct aip_http_request, link);
                request->is_waiting = 0;
                origin->n_waiting--;
                if (begin_transfer(request) < 0) {
                        aip_error *err = NULL;
                        aip_error_set_nomem(&err);
                        fail_later(request, err);
                }
        }
}

/* Take a request out of wherever it is: it is its owner's again. Returns its transfer, if it had
 * one, which the caller releases. */
static struct transfer *detach(struct aip_http_request *request)
{
        aip_http_client *client = request->client;
        struct origin *origin = request->origin;
        struct transfer *t = AIP_TAKE(request->transfer);
        aip_timer_clear(client->loop, &request->timer);
        if (t) {
                leave_pool(t);
                origin->n_active--;
        }
        origin->n_waiting -= request->is_waiting ? 1 : 0;
        aip_list_remove(&request->link);
        aip_error_free(AIP_TAKE(request->failure));
        request->client = NULL;
        request->origin = NULL;
        admit_waiting(origin);
        drop_origin_if_unused(client, origin);
        return t;
}

/* End a request from the loop. `err` is consumed always. */
static void fail(struct aip_http_request *request, aip_error *err)
{
        static const struct aip_http_response none = {0};
        aip_http_client *client = request->client;
        struct transfer *t = detach(request);
        if (t)
                release_transfer(client, t);
        request->done(request, &none, err);
}

static void fail_task_run(struct aip_task *task)
{
        aip_http_client *client = AIP_CONTAINER_OF(task, aip_http_client, fail_task);
        struct aip_list *node;
        while ((node = aip_list_first(&client->failed))) {
                struct aip_http_request *request =
                        AIP_LIST_ENTRY(node, struct aip_http_request, link);
                fail(request, AIP_TAKE(request->failure));
        }
}

static void time_out(struct aip_timer *timer)
{
        struct aip_http_request *request = AIP_CONTAINER_OF(timer, struct aip_http_request, timer);
        aip_error *err = NULL;
        aip_llm_error_set(&err, AIP_LLM_PROVIDER_TIMEOUT, "%s: no whole answer within %lld ms%s",
                          request->label, (long long)request->timeout_ms,
                          request->transfer ? "" : ", all of it waiting for a free connection");
        fail(request, err);
}

void aip_http_head(const struct aip_http_request *request, struct aip_http_response *ret_head)
{
        const struct transfer *t = request->transfer;
        long status = 0;
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        *ret_head = (struct aip_http_response){
                .status = (int32_t)status,
                .headers = aip_buf_str(&t->response_headers),
                .wall_us = aip_wall_us(request->client->loop),
        };
}

static int check_request(const struct aip_http_request *request, aip_error **err)
{
        const char *url = request->url;
        if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
                return aip_llm_error_set(err, AIP_LLM_CALLER_INVALID_REQUEST,
                                         "%s: base_url must begin with http:// or https://",
                                         request->label);
        return 0;
}

int aip_http_start(aip_http_client *client, struct aip_http_request *request, aip_error **err)
{
        int r = check_request(request, err);
        if (r < 0)
                return r;
        request->client = client;
        request->transfer = NULL;
        request->is_waiting = 0;
        request->failure = NULL;
        request->origin = get_origin(client, request->url);
        if (!request->origin)
                return aip_error_set_nomem(err);
        if (request->origin->n_active >= request->origin->max_active) {
                enqueue(request);
        } else if (begin_transfer(request) < 0) {
                drop_origin_if_unused(client, request->origin);
                return aip_error_set_nomem(err);
        }
        request->timer.fire = time_out;
        aip_timer_set(client->loop, &request->timer, request->timeout_ms);
        return 0;
}

void aip_http_cancel(struct aip_http_request *request)
{
        aip_http_client *client = request->client;
        struct transfer *t = detach(request);
        if (t)
                release_transfer(client, t);
}

/* ---- how transfers end ---- */

static const char *kind_of_curl_code(const struct transfer *t, CURLcode code)
{
        long bytes_sent = 0;
        switch ((int)code) {
        case CURLE_URL_MALFORMAT:
                return AIP_LLM_CALLER_INVALID_REQUEST;
        case CURLE_UNSUPPORTED_PROTOCOL: /* what libcurl says when the answer is no HTTP */
                curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &bytes_sent);
                return bytes_sent ? AIP_LLM_PROVIDER_BAD_ANSWER : AIP_LLM_CALLER_INVALID_REQUEST;
        case CURLE_WRITE_ERROR:
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_BAD_CONTENT_ENCODING:
                return AIP_LLM_PROVIDER_BAD_ANSWER;
        default:
                return AIP_LLM_PROVIDER_UNREACHABLE;
        }
}

static int will_pass(const struct transfer *t, CURLcode code)
{
        if (t->is_too_large || t->is_private)
                return 0;
        switch ((int)code) {
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
                return 0;
        default:
                return 1;
        }
}

static aip_error *error_of_curl_code(const struct transfer *t, CURLcode code)
{
        const struct aip_http_request *request = t->request;
        const char *why = t->error_text[0] ? t->error_text : curl_easy_strerror(code);
        aip_error *err = NULL;
        if (code == CURLE_OUT_OF_MEMORY ||
            (code == CURLE_WRITE_ERROR && !t->is_too_large && !t->is_refused)) {
                aip_error_set_nomem(&err);
                return err;
        }
        if (t->is_too_large)
                aip_llm_error_set(&err, AIP_LLM_PROVIDER_BAD_ANSWER,
                                  "%s: the answer is larger than the limit (%zu bytes of body, "
                                  "%zu of headers)",
                                  request->label, request->max_response_bytes, HEADERS_MAX_BYTES);
        else if (t->is_private)
                aip_llm_error_set(&err, AIP_LLM_CALLER_PERMISSION,
                                  "%s: the host has a private address, which is not allowed here",
                                  request->label);
        else
                aip_llm_error_set(&err, kind_of_curl_code(t, code), "%s: %s", request->label, why);
        aip_error_set_retryable(err, will_pass(t, code), 0);
        return err;
}

/* HTTP/2 carries many requests on one connection, so many more may be on their way at once. */
static void learn_version(const struct transfer *t, struct origin *origin,
                          const aip_http_client *client)
{
        long version = 0;
        curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &version);
        size_t n = (size_t)client->options.max_connections_per_host;
        if (version != 0)
                origin->max_active =
                        version >= CURL_HTTP_VERSION_2_0 ? n * STREAMS_PER_CONNECTION : n;
}

static void end_transfer(aip_http_client *client, struct transfer *t, CURLcode code)
{
        struct aip_http_request *request = t->request;
        struct aip_http_response response = {0};
        aip_error *err = NULL;
        long status = 0;
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        learn_version(t, request->origin, client);
        if (code != CURLE_OK)
                err = error_of_curl_code(t, code);
        response.status = (int32_t)status;
        response.headers = aip_buf_str(&t->response_headers);
        response.body = aip_buf_str(&t->response_body);
        response.wall_us = aip_wall_us(client->loop);
        detach(request);
        request->done(request, &response, err);
        release_transfer(client, t);
}

static void read_messages(struct pool *pool)
{
        int n_left;
        CURLMsg *message;
        while ((message = curl_multi_info_read(pool->multi, &n_left))) {
                struct transfer *t = NULL;
                CURLcode code = message->data.result;
                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
                end_transfer(pool->client, t, code);
        }
}

/* ---- the loop and libcurl ---- */

static void act(struct pool *pool, curl_socket_t fd, int events)
{
        int n_running;
        curl_multi_socket_action(pool->multi, fd, events, &n_running);
        read_messages(pool);
}

static void socket_ready(struct aip_watch *watch, unsigned events)
{
        struct socket_watch *w = AIP_CONTAINER_OF(watch, struct socket_watch, watch);
        act(w->pool, watch->fd,
            (events & AIP_READABLE ? CURL_CSELECT_IN : 0) |
                    (events & AIP_WRITABLE ? CURL_CSELECT_OUT : 0));
}

static void timer_fired(struct aip_timer *timer)
{
        act(AIP_CONTAINER_OF(timer, struct pool, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer(CURLM *multi, long timeout_ms, void *user)
{
        (void)multi;
        struct pool *pool = user;
        if (timeout_ms < 0)
                aip_timer_clear(pool->client->loop, &pool->timer);
        else
                aip_timer_set(pool->client->loop, &pool->timer, timeout_ms);
        return 0;
}

static struct socket_watch *new_socket_watch(struct pool *pool, curl_socket_t fd)
{
        struct socket_watch *w = aip_calloc(1, sizeof(*w));
        if (!w)
                return NULL;
        w->pool = pool;
        w->watch.fd = fd;
        w->watch.ready = socket_ready;
        curl_multi_assign(pool->multi, fd, w);
        return w;
}

static void drop_socket_watch(struct pool *pool, curl_socket_t fd, struct socket_watch *w)
{
        if (!w)
                return;
        aip_watch_set(pool->client->loop, &w->watch, 0, NULL);
        curl_multi_assign(pool->multi, fd, NULL);
        aip_free(w);
}

/* A socket that cannot be watched is the end of the transfer it was opened for, and of no other:
 * libcurl would give up the whole multi handle if this answered -1. */
static void refuse_socket(CURL *easy, aip_error *err)
{
        struct transfer *t = NULL;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
        if (t && t->request)
                fail_later(t->request, err);
        else
                aip_error_free(err);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
        struct pool *pool = user;
        struct socket_watch *w = socket_user;
        aip_error *err = NULL;
        if (what == CURL_POLL_REMOVE) {
                drop_socket_watch(pool, fd, w);
                return 0;
        }
        unsigned events = (what & CURL_POLL_IN ? AIP_READABLE : 0) |
                          (what & CURL_POLL_OUT ? AIP_WRITABLE : 0);
        if (!w)
                w = new_socket_watch(pool, fd);
        int r = w ? aip_watch_set(pool->client->loop, &w->watch, events, &err)
                  : aip_error_set_nomem(&err);
        if (r < 0)
                refuse_socket(easy, err);
        return 0;
}

/* ---- constructor ---- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_init_result;

/* Never undone: other parts of the program may use libcurl too. */
static void init_curl(void)
{
        curl_init_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int check_options(const struct aip_http_client_options *options, aip_error **err)
{
        if (!options->loop.ops)
                return aip_error_set(err, AIP_EINVAL, "http client: a loop is required");
        if (options->connect_timeout_ms < 1)
                return aip_error_set(err, AIP_EINVAL, "connect_timeout_ms: %d is not positive",
                                     options->connect_timeout_ms);
        if (options->max_connections_per_host < 1)
                return aip_error_set(err, AIP_EINVAL,
                                     "max_connections_per_host: %d is not positive",
                                     options->max_connections_per_host);
        if (options->idle_timeout_ms < 1)
                return aip_error_set(err, AIP_EINVAL, "idle_timeout_ms: %d is not positive",
                                     options->idle_timeout_ms);
        return 0;
}

static int set_share_options(CURLSH *share)
{
        return curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) !=
                       CURLSHE_OK ||
               curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) != CURLSHE_OK;
}

static int set_up(aip_http_client *client)
{
        client->loop = client->options.loop;
        client->log = client->options.log;
        client->fail_task.run = fail_task_run;
        aip_list_init(&client->pools);
        aip_list_init(&client->idle);
        aip_list_init(&client->failed);
        if (client->options.ca_file && !(client->ca_file = aip_strdup(client->options.ca_file)))
                return AIP_ENOMEM;
        client->options.ca_file = client->ca_file;
        client->share = curl_share_init();
        if (!client->share || set_share_options(client->share))
                return AIP_ENOMEM;
        return 0;
}

int aip_http_client_new(const struct aip_http_client_options *options, aip_http_client **ret_client,
                        aip_error **err)
{
        struct aip_http_client_options merged = AIP_HTTP_CLIENT_OPTIONS_INIT;
        memcpy(&merged, options, AIP_MIN(options->self_size, sizeof(merged)));
        int r = check_options(&merged, err);
        if (r < 0)
                return r;
        pthread_once(&curl_once, init_curl);
        if (curl_init_result != CURLE_OK)
                return aip_error_set(err, AIP_EINTERNAL, "libcurl does not start: %s",
                                     curl_easy_strerror(curl_init_result));
        aip_http_client *client = aip_calloc(1, sizeof(*client));
        if (!client)
                return aip_error_set_nomem(err);
        client->options = merged;
        if (set_up(client) < 0) {
                aip_http_client_free(client);
                return aip_error_set_nomem(err);
        }
        *ret_client = client;
        return 0;
}

static void free_origins(aip_http_client *client)
{
        size_t cursor = 0;
        struct origin *origin;
        while ((origin = aip_hash_map_next(&client->origins, &cursor, NULL)))
                aip_free(origin);
        aip_hash_map_deinit(&client->origins);
}

void aip_http_client_free(aip_http_client *client)
{
        if (!client)
                return;
        struct aip_list *node;
        while ((node = aip_list_pop(&client->idle)))
                free_transfer(AIP_LIST_ENTRY(node, struct transfer, link));
        while ((node = aip_list_first(&client->pools)))
                free_pool(AIP_LIST_ENTRY(node, struct pool, link));
        curl_share_cleanup(client->share);
        aip_undefer(client->loop, &client->fail_task);
        free_origins(client);
        aip_free(client->ca_file);
        aip_free(client);
}
