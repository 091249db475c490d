/*
 * A model server for benchmarks: answers OpenAI's Chat Completions with a short text, at once or
 * after a delay. One thread, one timer for all waiting calls, so that ten thousand of them cost
 * little and the figures are those of whoever calls. Not for tests of behaviour: it reads of a
 * request only its key and its model.
 *
 *     model_server --port N [--delay MS] [--cap CALLS]
 *
 *     POST …/chat/completions   the answer; 429 when --cap calls are open
 *     GET  /stats               {"requests", "answers", "refused", "dropped", "open", "most_open"}
 *     GET  /seen                [{"key", "model", "calls", "first_ns"}]: CLOCK_MONOTONIC of the first
 *                               call by this API key for this model, most recently called first
 *     POST /delay/MS            the delay from now on
 *     POST /reset               counts and /seen begin anew
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define NAME_BYTES  64
#define PAIRS_MAX   4096 /* beyond, /seen says nothing new and /stats counts "unseen" */
#define BODY_BYTES  1024 /* of each request that are kept, to find the model's name in */
#define CONNECTIONS 60000

static const char completion[] =
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,"
        "\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"Silent loops at night, a pointer finds its way home, no warnings remain.\"},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":45,\"completion_tokens\":18,"
        "\"total_tokens\":63}}";
static const char refusal[] =
        "{\"error\":{\"message\":\"too many calls at once\",\"type\":\"rate_limit_error\"}}";

struct call {
        struct MHD_Connection *connection;
        struct call *next;
        int64_t due_ms;
        int is_open, is_due;
        size_t body_n;
        char body[BODY_BYTES];
};

struct pair {
        char key[NAME_BYTES], model[NAME_BYTES];
        uint64_t calls;
        int64_t first_ns;
        struct pair *next; /* most recently called first */
};

static struct {
        struct MHD_Daemon *daemon;
        struct MHD_Response *answer, *refusal;
        int64_t delay_ms;
        uint64_t cap; /* 0: none */
        struct call *first, *last;
        uint64_t requests, answers, refused, dropped, open, most_open, unseen;
        struct pair pairs[PAIRS_MAX], *latest;
        size_t n_pairs;
} server;
static volatile sig_atomic_t is_ending;

static int64_t now_ns(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- who called for what ---- */

static struct pair *new_pair(const char *key, const char *model, size_t model_n)
{
        if (server.n_pairs == PAIRS_MAX)
                return NULL;
        struct pair *pair = &server.pairs[server.n_pairs++];
        *pair = (struct pair){.first_ns = now_ns()};
        snprintf(pair->key, sizeof(pair->key), "%s", key);
        snprintf(pair->model, sizeof(pair->model), "%.*s", (int)model_n, model);
        return pair;
}

static void count_pair(const char *key, const char *model, size_t model_n)
{
        struct pair *pair = NULL;
        for (struct pair **at = &server.latest; *at; at = &(*at)->next) {
                if (strncmp((*at)->model, model, model_n) != 0 || (*at)->model[model_n] ||
                    strcmp((*at)->key, key) != 0)
                        continue;
                pair = *at;
                *at = pair->next;
                break;
        }
        if (!pair)
                pair = new_pair(key, model, model_n);
        if (!pair) {
                server.unseen++;
                return;
        }
        pair->calls++;
        pair->next = server.latest;
        server.latest = pair;
}

static void note(struct call *call)
{
        static const char member[] = "\"model\":";
        char *p = memmem(call->body, call->body_n, member, sizeof(member) - 1);
        char *end = call->body + call->body_n;
        const char *key =
                MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Authorization");
        if (!p)
                return;
        for (p += sizeof(member) - 1; p < end && (*p == ' ' || *p == '"'); p++)
                continue;
        char *quote = memchr(p, '"', (size_t)(end - p));
        size_t n = quote ? (size_t)(quote - p) : 0;
        if (n == 0 || n >= NAME_BYTES)
                return;
        count_pair(key && strncmp(key, "Bearer ", 7) == 0 ? key + 7 : "", p, n);
}

/* ---- calls ---- */

static void close_call(struct call *call)
{
        if (!call->is_open)
                return;
        call->is_open = 0;
        server.open--;
}

static enum MHD_Result send_completion(struct call *call)
{
        close_call(call);
        server.answers++;
        return MHD_queue_response(call->connection, MHD_HTTP_OK, server.answer);
}

/* All of the request is here. */
static enum MHD_Result take_call(struct call *call)
{
        server.requests++;
        note(call);
        if (server.cap && server.open >= server.cap) {
                server.refused++;
                return MHD_queue_response(call->connection, MHD_HTTP_TOO_MANY_REQUESTS,
                                          server.refusal);
        }
        call->is_open = 1;
        if (++server.open > server.most_open)
                server.most_open = server.open;
        if (server.delay_ms == 0)
                return send_completion(call);
        call->due_ms = now_ns() / 1000000 + server.delay_ms;
        call->next = NULL;
        *(server.first ? &server.last->next : &server.first) = call;
        server.last = call;
        MHD_suspend_connection(call->connection);
        return MHD_YES;
}

/* Calls wait in the order they came: with one delay for all, that is the order they are due in. */
static void resume_due(void)
{
        int64_t now = now_ns() / 1000000;
        while (server.first && server.first->due_ms <= now) {
                struct call *call = server.first;
                server.first = call->next;
                call->is_due = 1;
                MHD_resume_connection(call->connection);
        }
}

/* ---- the rest of the interface ---- */

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status, char *text)
{
        struct MHD_Response *response =
                MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
        if (!response)
                return MHD_NO;
        enum MHD_Result result = MHD_queue_response(connection, status, response);
        MHD_destroy_response(response);
        return result;
}

static char *print_seen(void)
{
        char *text = NULL;
        size_t n = 0;
        const char *comma = "";
        FILE *out = open_memstream(&text, &n);
        if (!out)
                return NULL;
        fputc('[', out);
        for (struct pair *pair = server.latest; pair; pair = pair->next, comma = ",")
                fprintf(out,
                        "%s{\"key\":\"%s\",\"model\":\"%s\",\"calls\":%" PRIu64
                        ",\"first_ns\":%" PRId64 "}",
                        comma, pair->key, pair->model, pair->calls, pair->first_ns);
        fputc(']', out);
        fclose(out);
        return text;
}

static char *print_stats(void)
{
        char *text = NULL;
        if (asprintf(&text,
                     "{\"requests\":%" PRIu64 ",\"answers\":%" PRIu64 ",\"refused\":%" PRIu64
                     ",\"dropped\":%" PRIu64 ",\"unseen\":%" PRIu64 ",\"open\":%" PRIu64
                     ",\"most_open\":%" PRIu64 "}",
                     server.requests, server.answers, server.refused, server.dropped, server.unseen,
                     server.open, server.most_open) < 0)
                return NULL;
        return text;
}

static void reset(void)
{
        server.requests = server.answers = server.refused = server.dropped = server.unseen = 0;
        server.most_open = server.open;
        server.latest = NULL;
        server.n_pairs = 0;
}

static enum MHD_Result control(struct MHD_Connection *connection, const char *url)
{
        unsigned status = MHD_HTTP_OK;
        char *text;
        if (strcmp(url, "/stats") == 0)
                text = print_stats();
        else if (strcmp(url, "/seen") == 0)
                text = print_seen();
        else if (strncmp(url, "/delay/", 7) == 0)
                server.delay_ms = atoll(url + 7), text = strdup("{}");
        else if (strcmp(url, "/reset") == 0)
                reset(), text = strdup("{}");
        else
                status = MHD_HTTP_NOT_FOUND, text = strdup("{}");
        return text ? answer_text(connection, status, text) : MHD_NO;
}

/* ---- libmicrohttpd's callbacks ---- */

static int is_completion(const char *url)
{
        static const char tail[] = "/chat/completions";
        size_t n = strlen(url);
        return n >= sizeof(tail) - 1 && strcmp(url + n - (sizeof(tail) - 1), tail) == 0;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **state)
{
        (void)user, (void)method, (void)version;
        struct call *call = *state;
        if (!call) {
                *state = call = calloc(1, sizeof(*call));
                if (!call)
                        return MHD_NO;
                call->connection = connection;
                return MHD_YES;
        }
        if (*n > 0) {
                size_t room = BODY_BYTES - call->body_n, part = *n < room ? *n : room;
                memcpy(call->body + call->body_n, data, part);
                call->body_n += part;
                *n = 0;
                return MHD_YES;
        }
        if (call->is_due)
                return send_completion(call);
        return is_completion(url) ? take_call(call) : control(connection, url);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
        (void)user, (void)connection;
        struct call *call = *state;
        if (call && code != MHD_REQUEST_TERMINATED_COMPLETED_OK)
                server.dropped++;
        if (call)
                close_call(call);
        free(call);
        *state = NULL;
}

static void on_signal(int signal_number)
{
        (void)signal_number;
        is_ending = 1;
}

/* ---- main ---- */

static void serve(void)
{
        const union MHD_DaemonInfo *info =
                MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_EPOLL_FD);
        struct pollfd watch = {.fd = info->epoll_fd, .events = POLLIN};
        while (!is_ending) {
                MHD_UNSIGNED_LONG_LONG wants;
                int64_t timeout = 1000;
                if (MHD_get_timeout(server.daemon, &wants) == MHD_YES && (int64_t)wants < timeout)
                        timeout = (int64_t)wants;
                if (server.first) {
                        int64_t left = server.first->due_ms - now_ns() / 1000000;
                        timeout = left < timeout ? left : timeout;
                }
                poll(&watch, 1, timeout < 0 ? 0 : (int)timeout);
                resume_due();
                MHD_run(server.daemon);
        }
}

static struct MHD_Response *make_response(const char *text)
{
        struct MHD_Response *response = MHD_create_response_from_buffer(
                strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
        if (response)
                MHD_add_response_header(response, "Content-Type", "application/json");
        return response;
}

static int start(uint16_t port)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        server.answer = make_response(completion);
        server.refusal = make_response(refusal);
        if (!server.answer || !server.refusal)
                return -1;
        MHD_add_response_header(server.refusal, "Retry-After", "1");
        server.daemon = MHD_start_daemon(
                MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                on_request, NULL, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_NOTIFY_COMPLETED,
                on_completed, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192,
                MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, MHD_OPTION_LISTEN_BACKLOG_SIZE, 4096,
                MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_END);
        return server.daemon ? 0 : -1;
}

int main(int argc, char **argv)
{
        static const struct option names[] = {{"port", required_argument, NULL, 'p'},
                                              {"delay", required_argument, NULL, 'd'},
                                              {"cap", required_argument, NULL, 'c'},
                                              {0}};
        struct rlimit limit;
        int option;
        long port = 0;

        while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
                if (option == 'p')
                        port = atol(optarg);
                else if (option == 'd')
                        server.delay_ms = atoll(optarg);
                else if (option == 'c')
                        server.cap = strtoull(optarg, NULL, 10);
                else
                        return 64;
        }
        signal(SIGPIPE, SIG_IGN);
        signal(SIGTERM, on_signal);
        signal(SIGINT, on_signal);
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
        if (start((uint16_t)port) < 0) {
                fprintf(stderr, "model_server: port %ld: %s\n", port, strerror(errno));
                return 1;
        }
        serve();
        return 0;
}
