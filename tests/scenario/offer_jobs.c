/*
 * Offers jobs to a gateway faster than open_loop.py can, for tests at the speed that the product
 * really has.  Run by test_overload.py:
 *
 *     offer_jobs PORT SECONDS CONNECTIONS RATE
 *
 * RATE jobs a second are due, whatever the gateway makes of them; one that is due goes out on a
 * connection that is free, and its time runs from then.  With RATE 0 every connection
 * posts again as soon as it has its answer: what comes back is the capacity.  Prints one JSON line.
 * It must never retry, and it counts an answer that it does not expect as broken.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINK_BYTES   4096
#define MOST_EVENTS  512
#define GRACE_NS     (15 * INT64_C(1000000000)) /* for answers, after the last request */
#define NS_A_SECOND  INT64_C(1000000000)
#define LATENCY_BINS 20000 /* of a millisecond each; the last takes the rest */

struct link {
        int fd;
        bool is_open, is_busy;
        int64_t sent_ns;
        size_t n_heard;
        struct link *next_free;
        char heard[LINK_BYTES];
};

static struct {
        int epoll;
        struct link *links, *free;
        int64_t n_links, rate, began_ns, end_ns;
        int64_t n_sent, n_accepted, n_refused, n_broken, n_without_retry_after;
        int64_t latency[LATENCY_BINS];
} load;

static int64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * NS_A_SECOND + now.tv_nsec;
}

static void fail(const char *what)
{
        fprintf(stderr, "offer_jobs: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void open_link(struct link *link, uint16_t port)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
        int one = 1;

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (link->fd < 0)
                fail("socket");
        if (connect(link->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                fail("connect");
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (fcntl(link->fd, F_SETFL, O_NONBLOCK) < 0 ||
            epoll_ctl(load.epoll, EPOLL_CTL_ADD, link->fd, &event) < 0)
                fail("a connection");
        link->is_open = true;
}

/* A request is small enough for an idle connection's buffer, so it goes out in one piece. */
static void send_job(struct link *link)
{
        char body[64], request[256];
        int n_body =
                snprintf(body, sizeof(body), "{\"prompt\":\"offered %" PRId64 "\"}", load.n_sent);
        int n = snprintf(request, sizeof(request),
                         "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         "Content-Length: %d\r\n\r\n%s",
                         n_body, body);

        load.n_sent++;
        link->is_busy = true;
        link->sent_ns = now_ns();
        link->n_heard = 0;
        if (send(link->fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
                load.n_broken++;
                link->is_busy = false;
                link->is_open = false;
                close(link->fd);
        }
}

static void lose(struct link *link)
{
        if (link->is_busy)
                load.n_broken++;
        link->is_busy = false;
        link->is_open = false;
        close(link->fd);
}

static void count_answer(struct link *link)
{
        int status = atoi(link->heard + strlen("HTTP/1.1 "));
        int64_t ms = (now_ns() - link->sent_ns) / 1000000;
        const char *retry = strcasestr(link->heard, "\r\nRetry-After: ");

        if (status == 201) {
                load.n_accepted++;
                load.latency[ms < LATENCY_BINS ? ms : LATENCY_BINS - 1]++;
        } else if (status == 429 || status == 503) {
                load.n_refused++;
                if (!retry || atoi(retry + strlen("\r\nRetry-After: ")) < 1)
                        load.n_without_retry_after++;
        } else {
                load.n_broken++;
        }
}

static bool is_whole(const struct link *link)
{
        const char *end = strstr(link->heard, "\r\n\r\n");
        const char *length = end ? strcasestr(link->heard, "\r\nContent-Length: ") : NULL;
        size_t n_head = end ? (size_t)(end - link->heard) + 4 : 0;

        return length && length < end &&
               link->n_heard >= n_head + (size_t)atol(length + strlen("\r\nContent-Length: "));
}

static void hear(struct link *link)
{
        ssize_t n = recv(link->fd, link->heard + link->n_heard, LINK_BYTES - 1 - link->n_heard, 0);

        if (n < 0 && errno == EAGAIN)
                return;
        if (n <= 0) {
                lose(link);
                return;
        }
        link->n_heard += (size_t)n;
        link->heard[link->n_heard] = '\0';
        if (!link->is_busy || !is_whole(link))
                return;
        count_answer(link);
        link->is_busy = false;
        link->next_free = load.free;
        load.free = link;
}

static struct link *take_free(void)
{
        struct link *link;

        do {
                link = load.free;
                if (link)
                        load.free = link->next_free;
        } while (link && !link->is_open);
        return link;
}

/* Sends what is due by now, as far as connections are free for it; the rest stays due. */
static void send_due(int64_t now)
{
        struct link *link;
        int64_t due_ns;

        for (;;) {
                due_ns = load.rate ? load.began_ns + (int64_t)((double)load.n_sent * 1e9 /
                                                               (double)load.rate)
                                   : now;
                if (due_ns > now)
                        return;
                link = take_free();
                if (!link)
                        return;
                send_job(link);
        }
}

static void hear_all(int timeout_ms)
{
        struct epoll_event events[MOST_EVENTS];
        int n = epoll_wait(load.epoll, events, MOST_EVENTS, timeout_ms);

        for (int i = 0; i < n; i++)
                hear(events[i].data.ptr);
}

static int64_t n_answered(void)
{
        return load.n_accepted + load.n_refused + load.n_broken;
}

static void offer(void)
{
        int64_t now = load.began_ns = now_ns();

        while (now < load.end_ns) {
                send_due(now);
                hear_all(1);
                now = now_ns();
        }
        while (n_answered() < load.n_sent && now_ns() < load.end_ns + GRACE_NS)
                hear_all(20);
}

static int64_t percentile_ms(int percent)
{
        int64_t before = 0, ms = 0;

        while (ms < LATENCY_BINS - 1 &&
               (before += load.latency[ms]) * 100 < load.n_accepted * percent)
                ms++;
        return ms;
}

static void start(int argc, char **argv)
{
        struct rlimit files;

        if (argc != 5) {
                fprintf(stderr, "usage: offer_jobs PORT SECONDS CONNECTIONS RATE\n");
                exit(2);
        }
        if (!getrlimit(RLIMIT_NOFILE, &files)) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
        load.n_links = atol(argv[3]);
        load.rate = atol(argv[4]);
        load.epoll = epoll_create1(EPOLL_CLOEXEC);
        load.links = calloc((size_t)load.n_links, sizeof(*load.links));
        if (load.epoll < 0 || !load.links)
                fail("start");
        for (int64_t i = 0; i < load.n_links; i++) {
                open_link(&load.links[i], (uint16_t)atoi(argv[1]));
                load.links[i].next_free = load.free;
                load.free = &load.links[i];
        }
        load.end_ns = now_ns() + (int64_t)(atof(argv[2]) * 1e9);
}

int main(int argc, char **argv)
{
        start(argc, argv);
        offer();
        printf("{\"sent\": %" PRId64 ", \"accepted\": %" PRId64 ", \"refused\": %" PRId64
               ", \"broken\": %" PRId64 ", \"unanswered\": %" PRId64
               ", \"without_retry_after\": %" PRId64 ", \"p50_ms\": %" PRId64
               ", \"p99_ms\": %" PRId64 "}\n",
               load.n_sent, load.n_accepted, load.n_refused, load.n_broken,
               load.n_sent - n_answered(), load.n_without_retry_after, percentile_ms(50),
               percentile_ms(99));
        free(load.links);
        return 0;
}
