/* HTTP tools, called as nodes call them, against a server of a few lines on a thread. */
#include "macros.h"
#include "test_loop.h"
#include <aiplat/adapters.h>
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define VARIABLE "TOOL_TEST_TOKEN"
#define SECRET   "s3cr3t-token-value"

/* ── the server: one connection a request; answers by the path ───────────────────────────────── */

static struct {
        int fd, port;
        pthread_t thread;
        char seen[65536]; /* the last request */
} server;

static void answer(int fd)
{
        static char out[300000];
        const char *status = "200 OK", *type = "application/json", *extra = "",
                   *body = "{\"n\": 7}";
        size_t n;

        if (strstr(server.seen, " /text"))
                type = "text/plain", body = "h\xc3\xa9llo";
        else if (strstr(server.seen, " /binary"))
                type = "application/octet-stream", body = "\xff\xfe\x01";
        else if (strstr(server.seen, " /broken"))
                body = "{\"n\": ";
        else if (strstr(server.seen, " /none"))
                status = "204 No Content", body = "";
        else if (strstr(server.seen, " /missing"))
                status = "404 Not Found", body = "{\"error\": \"no such city\"}";
        else if (strstr(server.seen, " /moved"))
                status = "302 Found", extra = "Location: http://127.0.0.1:1/\r\n", body = "";
        else if (strstr(server.seen, " /busy"))
                status = "429 Too Many", extra = "Retry-After: 7\r\n", body = "";
        else if (strstr(server.seen, " /down"))
                status = "503 Unavailable", body = "";
        else if (strstr(server.seen, " /echo"))
                type = "text/plain", body = server.seen;
        else if (strstr(server.seen, " /big")) {
                memset(out, 'x', 200000);
                out[200000] = '\0';
                body = strdup(out);
        }
        n = (size_t)snprintf(out, sizeof(out),
                             "HTTP/1.1 %s\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\n"
                             "Connection: close\r\n\r\n%s",
                             status, type, extra, strlen(body), body);
        for (size_t at = 0; at < n;) {
                ssize_t w = send(fd, out + at, n - at, MSG_NOSIGNAL);
                if (w <= 0)
                        break;
                at += (size_t)w;
        }
        if (strstr(server.seen, " /big"))
                free((void *)(uintptr_t)body);
}

static size_t whole_length(const char *text)
{
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (!end)
                return SIZE_MAX;
        return (size_t)(end - text) + 4 +
               (length && length < end ? strtoul(length + 16, NULL, 10) : 0);
}

static void *serve(void *unused)
{
        (void)unused;
        for (;;) {
                int fd = accept(server.fd, NULL, NULL);
                size_t n = 0;
                ssize_t r;
                if (fd < 0)
                        return NULL;
                server.seen[0] = '\0';
                while (n < sizeof(server.seen) - 1 && n < whole_length(server.seen) &&
                       (r = recv(fd, server.seen + n, sizeof(server.seen) - 1 - n, 0)) > 0) {
                        n += (size_t)r;
                        server.seen[n] = '\0';
                }
                if (strstr(server.seen, " /hang"))
                        continue; /* the descriptor stays open until the process ends */
                answer(fd);
                close(fd);
        }
}

static void start_server(void)
{
        struct sockaddr_in address = {.sin_family = AF_INET};
        socklen_t n = sizeof(address);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        server.fd = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(bind(server.fd, (struct sockaddr *)&address, sizeof(address)), 0);
        cr_assert_eq(listen(server.fd, 16), 0);
        getsockname(server.fd, (struct sockaddr *)&address, &n);
        server.port = ntohs(address.sin_port);
        pthread_create(&server.thread, NULL, serve, NULL);
}

/* ── tools ───────────────────────────────────────────────────────────────────────────────────── */

static struct {
        struct test_loop loop;
        aip_http_client *client;
        aip_http_tools *tools;
        aip_tool_registry *registry;
} fixture;

static void open_with(int public_only)
{
        struct aip_http_client_options options = AIP_HTTP_CLIENT_OPTIONS_INIT;
        char hosts[64];
        setenv(VARIABLE, SECRET, 1);
        start_server();
        snprintf(hosts, sizeof(hosts), "127.0.0.1:%d, localhost:%d", server.port, server.port);
        test_loop_open(&fixture.loop, 0);
        options.loop = fixture.loop.port;
        options.public_addresses_only = public_only;
        cr_assert_eq(aip_http_client_new(&options, &fixture.client, NULL), 0);
        cr_assert_eq(aip_http_tools_new(fixture.client, hosts, &fixture.tools, NULL), 0);
        cr_assert_eq(aip_tool_registry_new(fixture.loop.port, &fixture.registry, NULL), 0);
        cr_assert_eq(aip_http_tools_register(fixture.tools, fixture.registry, NULL), 0);
}

static void open_fixture(void)
{
        open_with(0);
}

static void close_fixture(void)
{
        aip_tool_registry_free(fixture.registry);
        aip_http_tools_free(fixture.tools);
        aip_http_client_free(fixture.client);
        test_loop_close(&fixture.loop);
        shutdown(server.fd, SHUT_RDWR);
        pthread_join(server.thread, NULL);
        close(server.fd);
}

TestSuite(http_tool, .init = open_fixture, .fini = close_fixture, .timeout = 30);

/* JSON with '…' for '"', and PORT for the server's. */
static aip_value *json_of(const char *text)
{
        char out[4096];
        size_t n = 0;
        aip_value *value = NULL;
        for (const char *p = text; *p; p++) {
                if (strncmp(p, "PORT", 4) == 0)
                        n += (size_t)snprintf(out + n, sizeof(out) - n, "%d", server.port), p += 3;
                else
                        out[n++] = *p == '\'' ? '"' : *p;
        }
        cr_assert_eq(aip_value_parse(aip_str_make(out, n), &value, NULL), 0, "%.*s", (int)n, out);
        return value;
}

struct use {
        struct aip_tool_call call;
        aip_tool_set *set;
        aip_value *names, *described, *arguments;
        int is_done;
};

static void use_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct use, call.op)->is_done = 1;
}

static int is_done(void *user)
{
        return ((struct use *)user)->is_done;
}

/* `members` are those of a tool "t" beside its type. */
static int prepare(struct use *use, const char *members, aip_error **err)
{
        char text[2048];
        *use = (struct use){0};
        snprintf(text, sizeof(text), "{'t': {'type': 'http', %s}}", members);
        use->described = json_of(text);
        use->names = json_of("['t']");
        return aip_tool_set_new(fixture.registry, use->names, use->described, &use->set, err);
}

static void start(struct use *use, const char *arguments)
{
        use->arguments = json_of(arguments);
        use->call.op.done = use_done;
        use->call.arguments = use->arguments;
        use->call.trace_id = "0123456789abcdef0123456789abcdef";
        aip_tool_set_call(use->set, fixture.loop.port, AIP_STR("t"), &use->call);
}

static void finish(struct use *use)
{
        cr_assert(test_loop_wait(&fixture.loop, 20, is_done, use));
}

static void run(struct use *use, const char *members, const char *arguments)
{
        aip_error *err = NULL;
        cr_assert_eq(prepare(use, members, &err), 0, "%s", aip_error_message(err));
        start(use, arguments);
        finish(use);
}

static void forget(struct use *use)
{
        aip_tool_set_free(use->set);
        aip_value_unref(use->call.ret_content);
        aip_error_free(use->call.op.err);
        aip_value_unref(use->names);
        aip_value_unref(use->described);
        aip_value_unref(use->arguments);
}

static void expect_content(struct use *use, const char *expected, int is_error)
{
        aip_value *value = json_of(expected);
        struct aip_buf got = AIP_BUF_INIT(100000);
        cr_assert_null(use->call.op.err, "%s", aip_error_message(use->call.op.err));
        cr_assert_eq(aip_value_print(use->call.ret_content, &got, NULL), 0);
        cr_expect(aip_value_equal(value, use->call.ret_content), "%s", got.p);
        cr_expect_eq(use->call.ret_is_error, is_error);
        aip_buf_deinit(&got);
        aip_value_unref(value);
        forget(use);
}

static void expect_failure(struct use *use, int code, const char *kind, int is_retryable)
{
        cr_assert_eq(aip_error_code(use->call.op.err), code, "%s",
                     aip_error_message(use->call.op.err));
        cr_expect_str_eq(aip_error_kind(use->call.op.err), kind);
        cr_expect_eq(aip_error_is_retryable(use->call.op.err), is_retryable);
        cr_expect_null(use->call.ret_content);
        forget(use);
}

#define PARAMETERS                                                                                 \
        "'parameters': {'type': 'object', 'properties': {'a': {'type': 'string'}, 'b': {}}}"
#define URL(path) "'url': 'http://127.0.0.1:PORT" path "'"

Test(http_tool, gets)
{
        struct use use;
        run(&use, PARAMETERS "," URL("/x/{a}"), "{'a': 'o/k', 'b': 2}");
        cr_expect(strncmp(server.seen, "GET /x/o%2Fk?b=2 HTTP/1.1\r\n", 27) == 0, "%s",
                  server.seen);
        cr_expect(strstr(server.seen, "\r\ntraceparent: 00-0123456789abcdef0123456789abcdef-"));
        cr_expect_null(strstr(server.seen, "Content-Type"));
        expect_content(&use, "{'n': 7}", 0);
}

Test(http_tool, posts_what_the_url_does_not_hold)
{
        struct use use;
        run(&use, PARAMETERS "," URL("/x/{a}") ", 'method': 'POST'", "{'a': 'k', 'b': [2]}");
        cr_expect(strncmp(server.seen, "POST /x/k HTTP/1.1\r\n", 20) == 0, "%s", server.seen);
        cr_expect(strstr(server.seen, "\r\nContent-Type: application/json\r\n"));
        cr_expect(strstr(server.seen, "\r\n\r\n{\"b\":[2]}"), "%s", server.seen);
        expect_content(&use, "{'n': 7}", 0);
}

Test(http_tool, knows_the_methods)
{
        struct use use;
        run(&use, URL("/") ", 'method': 'PUT'", "{}");
        cr_expect(strncmp(server.seen, "PUT / ", 6) == 0 && strstr(server.seen, "\r\n\r\n{}"));
        forget(&use);
        run(&use, URL("/") ", 'method': 'DELETE'", "{}");
        cr_expect(strncmp(server.seen, "DELETE / ", 9) == 0, "%s", server.seen);
        forget(&use);
        run(&use, URL("/") ", 'method': 'PATCH'", "{}");
        cr_expect(strncmp(server.seen, "PATCH / ", 8) == 0, "%s", server.seen);
        forget(&use);
        run(&use, URL("/"), "{}"); /* on a handle that carried others before */
        cr_expect(strncmp(server.seen, "GET / ", 6) == 0, "%s", server.seen);
        forget(&use);
}

Test(http_tool, what_comes_back)
{
        struct use use;
        run(&use, URL("/text"), "{}");
        expect_content(&use, "'h\xc3\xa9llo'", 0);
        run(&use, URL("/broken"), "{}");
        expect_content(&use, "'{\\\"n\\\": '", 0);
        run(&use, URL("/none"), "{}");
        expect_content(&use, "null", 0);
        run(&use, URL("/missing"), "{}");
        expect_content(&use, "{'status': 404, 'body': '{\\\"error\\\": \\\"no such city\\\"}'}", 1);
        run(&use, URL("/moved"), "{}");
        expect_content(&use, "{'status': 302, 'body': ''}", 1);
}

Test(http_tool, what_fails)
{
        struct use use;
        run(&use, URL("/binary"), "{}");
        expect_failure(&use, AIP_EUPSTREAM, "tool_bad_answer", 0);
        run(&use, URL("/busy"), "{}");
        cr_expect_eq(aip_error_retry_after_ms(use.call.op.err), 7000);
        expect_failure(&use, AIP_EUNAVAILABLE, "tool_rate_limited", 1);
        run(&use, URL("/down"), "{}");
        expect_failure(&use, AIP_EUNAVAILABLE, "tool_failed", 1);
        run(&use, URL("/big") ", 'max_bytes': 1000", "{}");
        expect_failure(&use, AIP_EUPSTREAM, "tool_bad_answer", 0);
}

Test(http_tool, has_a_time_limit)
{
        struct use use;
        run(&use, URL("/hang") ", 'timeout_ms': 50", "{}");
        expect_failure(&use, AIP_ETIMEOUT, "tool_timeout", 1);
        cr_assert_eq(prepare(&use, URL("/hang"), NULL), 0);
        use.call.op.deadline_ms = aip_now_ms(fixture.loop.port) + 50;
        start(&use, "{}");
        finish(&use);
        expect_failure(&use, AIP_ETIMEOUT, "tool_timeout", 1);
}

Test(http_tool, can_be_cancelled)
{
        struct use use;
        cr_assert_eq(prepare(&use, URL("/hang"), NULL), 0);
        start(&use, "{}");
        aip_tool_call_cancel(&use.call);
        aip_tool_call_cancel(&use.call);
        cr_expect(!use.is_done);
        finish(&use);
        expect_failure(&use, AIP_ECANCELLED, "cancelled", 0);
}

Test(http_tool, arguments_that_cannot_be_sent_are_told)
{
        struct use use;
        run(&use, PARAMETERS "," URL("/{a}"), "{'a': '..'}");
        expect_content(&use, "'an argument that is \\\".\\\" or \\\"..\\\" cannot stand in a path'",
                       1);
}

Test(http_tool, headers_come_from_the_environment_and_stay_secret)
{
#define HEADER ", 'headers': {'Authorization': {'env': '" VARIABLE "', 'prefix': 'Bearer '}}"
        struct use use;
        run(&use, URL("/echo") HEADER, "{}");
        cr_expect(strstr(server.seen, "\r\nAuthorization: Bearer " SECRET "\r\n"), "%s",
                  server.seen);
        cr_assert_null(use.call.op.err);
        cr_expect(strstr(aip_value_as_string(use.call.ret_content).p, "Bearer [redacted]"));
        cr_expect_null(strstr(aip_value_as_string(use.call.ret_content).p, SECRET));
        forget(&use);
        setenv(VARIABLE, "a\r\nX-Evil: 1", 1);
        run(&use, URL("/echo") HEADER, "{}");
        expect_failure(&use, AIP_ESTATE, "caller_tool_key_missing", 0);
        unsetenv(VARIABLE);
        run(&use, URL("/echo") HEADER, "{}");
        expect_failure(&use, AIP_ESTATE, "caller_tool_key_missing", 0);
}

static void refuses(const char *members, const char *message)
{
        struct use use;
        _cleanup_(aip_error_free_p) aip_error *err = NULL;
        cr_expect_eq(prepare(&use, members, &err), AIP_EINVAL, "%s", members);
        cr_expect(strncmp(aip_error_message(err), message, strlen(message)) == 0, "%s",
                  aip_error_message(err));
        aip_value_unref(use.names);
        aip_value_unref(use.described);
}

Test(http_tool, documents_are_checked)
{
        refuses("'url': 'https://other.example/'",
                "/tools/t/url: the host other.example, port 443");
        refuses("'method': 'GET'", "/tools/t/url: must be a string");
        refuses(URL("/{c}"), "/tools/t/url: {c} is none of");
        refuses(URL("/") ", 'method': 'TRACE'", "/tools/t/method: ");
        refuses(URL("/") ", 'timeout_ms': 0", "/tools/t/timeout_ms: ");
        refuses(URL("/") ", 'max_bytes': 'x'", "/tools/t/max_bytes: ");
        refuses(URL("/") ", 'body': 'x'", "/tools/t/body: an HTTP tool has no such member");
        refuses(URL("/") ", 'headers': {'X': 'literal'}", "/tools/t/headers/X: must be");
        refuses(URL("/") ", 'headers': {'Host': {'env': 'A'}}",
                "/tools/t/headers/Host: not a header");
        refuses(URL("/") ", 'headers': {'A\\r\\nB': {'env': 'A'}}", "/tools/t/headers/A");
        refuses(URL("/") ", 'headers': {'X': {'env': 'DATABASE_URL'}}",
                "/tools/t/headers/X/env: DATABASE_URL is a setting");
        refuses(URL("/") ", 'headers': {'X': {'env': 'AIPLAT_ANYTHING'}}",
                "/tools/t/headers/X/env: ");
        refuses(URL("/") ", 'headers': {'X': {'env': 'A', 'prefix': 'a\\nb'}}",
                "/tools/t/headers/X: must be");
}

static void open_public(void)
{
        open_with(1);
}

TestSuite(http_tool_private, .init = open_public, .fini = close_fixture, .timeout = 30);

/* Whatever the name says: what counts is where the connection would go. */
Test(http_tool_private, private_addresses_are_refused)
{
        struct use use;
        run(&use, URL("/"), "{}");
        expect_failure(&use, AIP_EUPSTREAM, "caller_tool_not_allowed", 0);
        run(&use, "'url': 'http://localhost:PORT/'", "{}");
        expect_failure(&use, AIP_EUPSTREAM, "caller_tool_not_allowed", 0);
        cr_expect_str_eq(server.seen, "");
}
