/* MCP servers: a child process and a URL, both tests/support/mcp_server.py, which misbehaves on request. */
#include "macros.h"
#include "test_loop.h"
#include <aiplat/adapters.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
        struct test_loop loop;
        aip_http_client *client;
        aip_tool_registry *registry;
        aip_mcp_servers *servers;
        char file[64], url[128];
        int http_stdin, is_closed;
        pid_t http;
} fixture;

/* Writes to the file of servers; '…' for '"', URL and SCRIPT stand for themselves. */
static void write_servers(const char *json)
{
        FILE *f;
        strcpy(fixture.file, "/tmp/aiplat-mcp-XXXXXX");
        int fd = mkstemp(fixture.file);
        cr_assert_geq(fd, 0);
        f = fdopen(fd, "w");
        for (const char *p = json; *p; p++) {
                if (strncmp(p, "SCRIPT", 6) == 0)
                        fputs(MCP_SERVER_SCRIPT, f), p += 5;
                else if (strncmp(p, "URL", 3) == 0)
                        fputs(fixture.url, f), p += 2;
                else
                        fputc(*p == '\'' ? '"' : *p, f);
        }
        fclose(f);
}

static int new_servers(aip_error **err)
{
        struct aip_http_client_options http = AIP_HTTP_CLIENT_OPTIONS_INIT;
        struct aip_mcp_servers_options options = {.self_size = sizeof(options)};
        static struct aip_log log;
        int r;
        test_loop_open(&fixture.loop, 0);
        if (getenv("AIPLAT_TEST_LOG"))
                log = aip_log_to_json(2, AIP_LOG_DEBUG);
        http.loop = options.loop = fixture.loop.port;
        cr_assert_eq(aip_http_client_new(&http, &fixture.client, NULL), 0);
        cr_assert_eq(aip_tool_registry_new(fixture.loop.port, &fixture.registry, NULL), 0);
        options.log = getenv("AIPLAT_TEST_LOG") ? &log : NULL;
        options.client = fixture.client;
        options.registry = fixture.registry;
        options.file = fixture.file;
        r = aip_mcp_servers_new(&options, &fixture.servers, err);
        unlink(fixture.file);
        return r;
}

struct waited {
        struct aip_op op;
        int is_done;
};

static void waited_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct waited, op)->is_done = 1;
}

static int is_waited(void *user)
{
        return ((struct waited *)user)->is_done;
}

static void open_servers(const char *json)
{
        struct waited waited = {.op = {.done = waited_done}};
        aip_error *err = NULL;
        write_servers(json);
        cr_assert_eq(new_servers(&err), 0, "%s", aip_error_message(err));
        aip_mcp_servers_start(fixture.servers);
        waited.op.deadline_ms = aip_now_ms(fixture.loop.port) + 20000;
        aip_mcp_servers_wait(fixture.servers, &waited.op);
        cr_assert(test_loop_wait(&fixture.loop, 25, is_waited, &waited));
}

static void free_fixture(void)
{
        aip_tool_registry_free(fixture.registry);
        aip_mcp_servers_free(fixture.servers);
        aip_http_client_free(fixture.client);
        test_loop_close(&fixture.loop);
}

static void close_servers(void)
{
        struct waited waited = {.op = {.done = waited_done}};
        if (!fixture.is_closed) {
                aip_mcp_servers_close(fixture.servers, &waited.op);
                cr_assert(test_loop_wait(&fixture.loop, 25, is_waited, &waited));
        }
        free_fixture();
        cr_expect_eq(waitpid(-1, NULL, WNOHANG), fixture.http ? 0 : -1, "a child is left");
        if (fixture.http) {
                close(fixture.http_stdin);
                waitpid(fixture.http, NULL, 0);
        }
}

/* The same server behind a URL. */
static void start_http(void)
{
        int in[2], out[2];
        size_t n = 0;
        ssize_t r;
        setenv("MCP_TEST_TOKEN", "mcp-test-token", 1);
        cr_assert(pipe(in) == 0 && pipe(out) == 0);
        fixture.http = fork();
        if (fixture.http == 0) {
                dup2(in[0], 0), dup2(out[1], 1);
                close(in[1]), close(out[0]);
                execl("/usr/bin/python3", "python3", MCP_SERVER_SCRIPT, "--http", "0", NULL);
                _exit(127);
        }
        close(in[0]), close(out[1]);
        fixture.http_stdin = in[1];
        while (!strchr(fixture.url, '\n')) {
                r = read(out[0], fixture.url + n, sizeof(fixture.url) - 1 - n);
                cr_assert_gt(r, 0);
                n += (size_t)r;
        }
        fixture.url[strcspn(fixture.url, "\n")] = '\0';
        close(out[0]);
}

#define STDIO "{'servers': {'t': {'command': ['/usr/bin/python3', 'SCRIPT']}}}"
#define HTTP                                                                                       \
        "{'servers': {'t': {'url': 'URL', 'headers': {'Authorization': {'env': "                   \
        "'MCP_TEST_TOKEN', 'prefix': 'Bearer '}}}}}"

static void open_stdio(void)
{
        signal(SIGPIPE, SIG_DFL);
        open_servers(STDIO);
}

static void open_http(void)
{
        start_http();
        open_servers(HTTP);
}

/* ── calls ───────────────────────────────────────────────────────────────────────────────────── */

static aip_value *json_of(const char *text)
{
        char copy[4096];
        aip_value *value = NULL;
        snprintf(copy, sizeof(copy), "%s", text);
        for (char *p = copy; *p; p++)
                if (*p == '\'')
                        *p = '"';
        cr_assert_eq(aip_value_parse(aip_str_of(copy), &value, NULL), 0, "%s", copy);
        return value;
}

struct use {
        struct waited waited;
        struct aip_tool_call call;
        aip_tool_set *set;
        aip_value *names, *arguments;
};

static void use_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct use, call.op)->waited.is_done = 1;
}

static void start(struct use *use, const char *tool, const char *arguments)
{
        *use = (struct use){.call.op.done = use_done};
        use->names = json_of("['t:*']");
        use->arguments = json_of(arguments);
        use->call.arguments = use->arguments;
        cr_assert_eq(aip_tool_set_new(fixture.registry, use->names, NULL, &use->set, NULL), 0);
        aip_tool_set_call(use->set, fixture.loop.port, aip_str_of(tool), &use->call);
}

static void finish(struct use *use)
{
        cr_assert(test_loop_wait(&fixture.loop, 20, is_waited, &use->waited));
}

static void forget(struct use *use)
{
        aip_tool_set_free(use->set);
        aip_value_unref(use->call.ret_content);
        aip_error_free(use->call.op.err);
        aip_value_unref(use->names);
        aip_value_unref(use->arguments);
}

static void gives(const char *tool, const char *arguments, const char *expected, int is_error)
{
        struct use use;
        _cleanup_(aip_buf_deinit) struct aip_buf got = AIP_BUF_INIT(1000000);
        _cleanup_(aip_value_unref_p) aip_value *value = json_of(expected);
        start(&use, tool, arguments);
        finish(&use);
        cr_assert_null(use.call.op.err, "%s: %s", tool, aip_error_message(use.call.op.err));
        cr_assert_eq(aip_value_print(use.call.ret_content, &got, NULL), 0);
        cr_expect(aip_value_equal(use.call.ret_content, value), "%s: %s", tool, got.p);
        cr_expect_eq(use.call.ret_is_error, is_error);
        forget(&use);
}

static void fails(const char *tool, int code, const char *kind)
{
        struct use use;
        start(&use, tool, "{}");
        finish(&use);
        cr_assert_eq(aip_error_code(use.call.op.err), code, "%s",
                     aip_error_message(use.call.op.err));
        cr_expect_str_eq(aip_error_kind(use.call.op.err), kind);
        forget(&use);
}

static void expect_calls(void)
{
        gives("t__echo", "{'text': 'h\xc3\xa9 \\n'}", "'h\xc3\xa9 \\n'", 0);
        gives("t__sum_of-two", "{'a': '2', 'b': 3}", "{'sum': 5}", 0);
        gives("t__fail", "{}", "'it did not work'", 1);
        gives("t__refuse", "{}", "'no tool refuse here'", 1);
        gives("t__picture", "{}", "[{'type': 'image', 'data': 'AA==', 'mimeType': 'image/png'}]",
              0);
        gives("t__noise", "{}",
              "'[{\\\"code\\\": -32601, \\\"message\\\": \\\"Method not found\\\"}, {}]'", 0);
        fails("t__echo", AIP_EINVAL, "invalid"); /* by its schema, here */
}

/* All pages are there; what has no usable name is left out. */
static void expect_list(size_t n)
{
        _cleanup_(aip_value_unref_p) aip_value *names = json_of("['t:*']");
        const aip_value *list = NULL;
        aip_tool_set *set;
        cr_assert_eq(aip_tool_set_new(fixture.registry, names, NULL, &set, NULL), 0);
        cr_assert_eq(aip_tool_set_describe(set, &list, NULL), 0);
        cr_expect_eq(aip_value_size(list), n, "%zu", aip_value_size(list));
        cr_expect_eq(aip_value_size(aip_value_get_cstr(aip_value_at(list, 0), "parameters")), 3u);
        aip_tool_set_free(set);
}

static void run_ms(int64_t ms)
{
        int64_t end = aip_now_ms(fixture.loop.port) + ms;
        struct waited never = {0};
        fixture.loop.is_reached = is_waited;
        fixture.loop.user = &never;
        fixture.loop.give_up_ms = end;
        fixture.loop.tick.fire = test_loop_tick;
        aip_timer_set(fixture.loop.port, &fixture.loop.tick, 1);
        aip_uv_loop_run(fixture.loop.uv);
}

static void expect_cancel(void)
{
        struct use use;
        start(&use, "t__slow", "{}");
        run_ms(100);
        cr_assert(!use.waited.is_done);
        aip_tool_call_cancel(&use.call);
        finish(&use);
        cr_expect_eq(aip_error_code(use.call.op.err), AIP_ECANCELLED);
        forget(&use);
        run_ms(100);
        start(&use, "t__cancelled", "{}");
        finish(&use);
        cr_expect_gt(aip_value_as_string(use.call.ret_content).n, 2u, "the server was not told");
        forget(&use);
}

static void expect_timeout(void)
{
        struct use use;
        start(&use, "t__slow", "{}");
        aip_tool_call_cancel(&use.call);
        finish(&use);
        forget(&use);
        use = (struct use){.call.op.done = use_done};
        use.names = json_of("['t:*']");
        use.call.op.deadline_ms = aip_now_ms(fixture.loop.port) + 100;
        cr_assert_eq(aip_tool_set_new(fixture.registry, use.names, NULL, &use.set, NULL), 0);
        aip_tool_set_call(use.set, fixture.loop.port, AIP_STR("t__slow"), &use.call);
        finish(&use);
        cr_expect_eq(aip_error_code(use.call.op.err), AIP_ETIMEOUT);
        cr_expect_str_eq(aip_error_kind(use.call.op.err), "tool_timeout");
        forget(&use);
}

TestSuite(mcp_stdio, .init = open_stdio, .fini = close_servers, .timeout = 60);

Test(mcp_stdio, lists_and_calls)
{
        expect_list(11);
        expect_calls();
}

Test(mcp_stdio, cancels)
{
        expect_cancel();
        expect_timeout();
}

Test(mcp_stdio, the_list_may_change)
{
        gives("t__change", "{}", "'changed'", 0);
        run_ms(300);
        expect_list(12);
        gives("t__new", "{}", "'new indeed'", 0);
}

Test(mcp_stdio, a_dead_server_is_started_again)
{
        fails("t__die", AIP_EUNAVAILABLE, "tool_unreachable");
        expect_list(11); /* as it was */
        gives("t__echo", "{'text': 'again'}", "'again'", 0);
}

Test(mcp_stdio, large_messages)
{
        enum { N = 3000000 };
        struct use use;
        char *text = malloc(N);
        struct aip_value *object = aip_value_object();
        memset(text, 'x', N);
        cr_assert_eq(
                aip_value_object_set_cstr(&object, "text", aip_value_string(aip_str_make(text, N))),
                0);
        use = (struct use){.call.op.done = use_done, .arguments = object};
        use.names = json_of("['t:*']");
        use.call.arguments = object;
        cr_assert_eq(aip_tool_set_new(fixture.registry, use.names, NULL, &use.set, NULL), 0);
        aip_tool_set_call(use.set, fixture.loop.port, AIP_STR("t__echo"), &use.call);
        finish(&use);
        cr_assert_null(use.call.op.err, "%s", aip_error_message(use.call.op.err));
        cr_expect_eq(aip_value_as_string(use.call.ret_content).n, (size_t)N);
        forget(&use);
        free(text);
}

/* No secret of ours, and no descriptor. */
Test(mcp_stdio, children_get_little)
{
        struct use use;
        _cleanup_(aip_value_unref_p) aip_value *got = NULL;
        start(&use, "t__environment", "{}");
        finish(&use);
        cr_assert_eq(aip_value_parse(aip_value_as_string(use.call.ret_content), &got, NULL), 0);
        cr_expect_null(aip_value_get_cstr(aip_value_at(got, 0), "MCP_TEST_SECRET"));
        cr_expect_not_null(aip_value_get_cstr(aip_value_at(got, 0), "PATH"));
        cr_expect_leq(aip_value_as_int(aip_value_at(got, 1), 100), 4);
        forget(&use);
}

Test(mcp_stdio, closing_ends_calls)
{
        struct use use;
        struct waited waited = {.op = {.done = waited_done}};
        start(&use, "t__slow", "{}");
        run_ms(50);
        aip_mcp_servers_close(fixture.servers, &waited.op);
        finish(&use);
        cr_expect_eq(aip_error_code(use.call.op.err), AIP_EUNAVAILABLE);
        forget(&use);
        cr_assert(test_loop_wait(&fixture.loop, 25, is_waited, &waited));
        fixture.is_closed = 1;
}

TestSuite(mcp_http, .init = open_http, .fini = close_servers, .timeout = 60);

Test(mcp_http, lists_and_calls)
{
        expect_list(12);
        expect_calls();
}

Test(mcp_http, cancels)
{
        expect_cancel();
        expect_timeout();
}

Test(mcp_http, an_answer_need_not_be_the_end)
{
        int64_t before = aip_now_ms(fixture.loop.port);
        gives("t__echo", "{'text': 'x', 'linger': 15}", "'x'", 0);
        cr_expect_lt(aip_now_ms(fixture.loop.port) - before, 10000);
}

/* A new session, and the call once more; the second time it is told. */
Test(mcp_http, sessions_may_end)
{
        fails("t__forget-session", AIP_ESTATE, "tool_unreachable");
        gives("t__echo", "{'text': 'x'}", "'x'", 0);
}

Test(mcp_alone, stubborn_servers_are_killed, .timeout = 60)
{
        setenv("MCP_TEST_STUBBORN", "1", 1);
        open_servers("{'servers': {'t': {'command': ['/usr/bin/python3', 'SCRIPT'],"
                     "'env': ['MCP_TEST_STUBBORN']}}}");
        expect_list(11);
        close_servers();
}

Test(mcp_alone, servers_that_cannot_be_had_do_not_hold_up_others, .timeout = 60)
{
        unsetenv("MCP_TEST_NONE");
        setenv("MCP_TEST_VERSION", "1999-01-01", 1);
        open_servers(
                "{'servers': {'a': {'command': ['/nonexistent/program']},"
                "'b': {'command': ['/bin/false']},"
                "'c': {'url': 'http://127.0.0.1:1/mcp'},"
                "'d': {'command': ['/bin/cat'], 'env': ['MCP_TEST_NONE']},"
                "'e': {'command': ['/usr/bin/python3', 'SCRIPT'], 'env': ['MCP_TEST_VERSION']},"
                "'t': {'command': ['/usr/bin/python3', 'SCRIPT']}}}");
        expect_list(11);
        gives("t__echo", "{'text': 'x'}", "'x'", 0);
        close_servers();
}

Test(mcp_alone, the_list_changes_while_it_is_read, .timeout = 60)
{
        setenv("MCP_TEST_LATE", "1", 1);
        open_servers("{'servers': {'t': {'command': ['/usr/bin/python3', 'SCRIPT'],"
                     "'env': ['MCP_TEST_LATE']}}}");
        run_ms(300);
        expect_list(13);
        close_servers();
}

Test(mcp_alone, without_authorization, .timeout = 60)
{
        start_http();
        setenv("MCP_TEST_TOKEN", "wrong", 1);
        open_servers(HTTP);
        fails("t__echo", AIP_ENOTFOUND, "caller_tool_not_found");
        close_servers();
}

static void refuses(const char *json, const char *message)
{
        _cleanup_(aip_error_free_p) aip_error *err = NULL;
        write_servers(json);
        cr_expect_eq(new_servers(&err), AIP_EINVAL, "%s", json);
        cr_expect(strstr(aip_error_message(err), message), "%s", aip_error_message(err));
        fixture.servers = NULL;
        free_fixture();
}

Test(mcp_alone, files_are_checked)
{
        refuses("{'servers': ", "/tmp/aiplat-mcp-");
        refuses("{'server': {}}", "must be {\"servers\"");
        refuses("{'servers': {'a/b': {}}}", "/servers/a/b: must be");
        refuses("{'servers': {'a': {}}}", "/servers/a/command: must be a list");
        refuses("{'servers': {'a': {'command': []}}}", "/servers/a/command: must be a list");
        refuses("{'servers': {'a': {'command': ['x', 1]}}}", "/servers/a/command: must be a list");
        refuses("{'servers': {'a': {'command': ['x'], 'url': 'http://x'}}}",
                "/servers/a/command: does not belong");
        refuses("{'servers': {'a': {'url': 'ftp://x'}}}", "/servers/a/url: must begin");
        refuses("{'servers': {'a': {'url': 'http://x', 'timeout_ms': 0}}}",
                "/servers/a/timeout_ms");
        refuses("{'servers': {'a': {'url': 'http://x', 'headers': {'X': 'y'}}}}",
                "/servers/a/headers/X: must be");
}
