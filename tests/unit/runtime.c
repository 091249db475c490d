/* The composition root: what it makes, that it leaves soon whatever is away, and that nothing is left
 * behind. On the real loop. */
#include "macros.h"
#include <aiplat/runtime.h>
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct stopper {
        struct aip_timer timer;
        aip_runtime *runtime;
};

static void stop(struct aip_timer *timer)
{
        aip_runtime_stop(AIP_CONTAINER_OF(timer, struct stopper, timer)->runtime);
}

static aip_settings *settings_of(const char *database)
{
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        static const char *const environment[] = {"HOME=/nowhere", NULL};
        const char *overrides[] = {database, "AIPLAT_LISTEN=127.0.0.1:0", "AIPLAT_DRAIN_TIMEOUT_MS=1000", NULL};
        aip_settings *settings = NULL;
        aip_error *err = NULL;

        source.env_file = "";
        source.environ = environment;
        source.overrides = overrides;
        cr_assert_eq(aip_settings_load(&source, &settings, &err), 0, "%s", aip_error_message(err));
        return settings;
}

static aip_runtime *runtime_of(const aip_settings *settings)
{
        struct aip_runtime_options options = {.self_size = sizeof(options)};
        aip_runtime *runtime = NULL;

        cr_assert_eq(aip_runtime_new(settings, &options, &runtime, NULL), 0);
        return runtime;
}

/* Run for `ms`, then leave; how long leaving took. */
static int64_t leave_after(aip_runtime *runtime, int64_t ms)
{
        struct stopper stopper = {{.fire = stop}, runtime};
        struct aip_loop loop = aip_runtime_loop(runtime);
        int64_t began_ms = aip_now_ms(loop);
        aip_error *err = NULL;

        aip_timer_set(loop, &stopper.timer, ms);
        cr_expect_eq(aip_runtime_run(runtime, &err), 0, "%s", aip_error_message(err));
        aip_error_free(err);
        return aip_now_ms(loop) - began_ms - ms;
}

Test(runtime, leaves_at_once_when_nothing_is_going_on, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);

        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_start_gateway(runtime, NULL), 0);
        cr_expect_gt(aip_runtime_gateway_port(runtime), 0);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        cr_expect_lt(leave_after(runtime, 100), 1000);
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}

Test(runtime, leaves_soon_when_the_database_was_never_there, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=postgresql://u:p@127.0.0.1:1/d");
        aip_runtime *runtime = runtime_of(settings);
        int64_t took_ms;

        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_start_gateway(runtime, NULL), 0);
        took_ms = leave_after(runtime, 300);
        cr_expect_lt(took_ms, 5000, "%lld ms", (long long)took_ms);
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}

Test(runtime, is_freed_at_any_point, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);

        aip_runtime_free(runtime);
        runtime = runtime_of(settings);
        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        aip_runtime_free(runtime);
        runtime = runtime_of(settings);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        aip_runtime_free(runtime);
        aip_runtime_free(NULL);
        aip_settings_free(settings);
}

Test(runtime, runs_a_job_in_process, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);
        struct aip_job_submit submit = {.spec = AIP_JOB_SPEC_INIT};
        struct aip_job_read read = {.wait_ms = 10000};

        /* Without a key it fails, which is an end as well. */
        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        submit.spec.prompt = aip_str_of("p");
        aip_job_service_submit(aip_runtime_jobs(runtime), &submit);
        aip_runtime_run_until(runtime, &submit.op);
        cr_assert_null(submit.op.err, "%s", aip_error_message(submit.op.err));
        read.id = submit.ret_job_id;
        aip_job_service_read(aip_runtime_jobs(runtime), &read);
        aip_runtime_run_until(runtime, &read.op);
        cr_assert_null(read.op.err);
        cr_expect(aip_job_status_is_terminal(aip_job_fields(read.ret_job)->status));
        aip_job_free(read.ret_job);
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}

/* ── graphs of code ──────────────────────────────────────────────────────────────────────────── */

/* Adds its run's context to what it was given, and says so. */
static int add(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const int64_t *by = aip_graph_task_context(task);
        int64_t n = aip_value_as_int(aip_graph_task_get(task, "n"), 0);

        (void)user, (void)ret_update, (void)err;
        aip_graph_task_write(task, "n", aip_value_int(n + *by));
        return 0;
}

static aip_graph *build_adder(void)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph *graph = NULL;
        aip_error *err = NULL;

        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_function(b, "add", add, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "add");
        aip_graph_builder_add_edge(b, "add", AIP_GRAPH_END);
        cr_assert_eq(aip_graph_compile(b, &graph, &err), 0, "%s", aip_error_message(err));
        return graph;
}

/* "adder", and "forgetful", whose runs are not kept. */
static void register_adders(aip_runtime *runtime, int64_t *by)
{
        struct aip_registered_graph own = AIP_REGISTERED_GRAPH_INIT;
        aip_graph *graph = build_adder();

        own.name = "adder";
        own.graph = graph;
        own.context = by;
        cr_assert_eq(aip_graph_registry_add(aip_runtime_graphs(runtime), &own, NULL), 0);
        cr_expect_eq(aip_graph_registry_add(aip_runtime_graphs(runtime), &own, NULL),
                     AIP_ECONFLICT);
        own.name = "forgetful";
        own.is_unkept = 1;
        cr_assert_eq(aip_graph_registry_add(aip_runtime_graphs(runtime), &own, NULL), 0);
        own.name = " ";
        cr_expect_eq(aip_graph_registry_add(aip_runtime_graphs(runtime), &own, NULL), AIP_EINVAL);
        own.name = "none";
        own.graph = NULL;
        cr_expect_eq(aip_graph_registry_add(aip_runtime_graphs(runtime), &own, NULL), AIP_EINVAL);
        aip_graph_unref(graph);
}

static struct aip_job_submit submit(aip_runtime *runtime, const char *graph, const char *input,
                                    struct aip_id thread)
{
        struct aip_job_submit submit = {.spec = AIP_JOB_SPEC_INIT};

        submit.spec.graph_name = aip_str_of(graph);
        submit.spec.input_json = aip_str_of(input);
        submit.spec.thread_id = thread;
        aip_job_service_submit(aip_runtime_jobs(runtime), &submit);
        aip_runtime_run_until(runtime, &submit.op);
        return submit;
}

static void expect_refused(aip_runtime *runtime, const char *graph, const char *input, int code,
                           const char *why)
{
        struct aip_job_submit refused = submit(runtime, graph, input, (struct aip_id){{7}});

        cr_expect_eq(aip_error_code(refused.op.err), code);
        cr_expect_str_eq(aip_error_message(refused.op.err), why);
        aip_error_free(refused.op.err);
}

static void expect_result(aip_runtime *runtime, struct aip_job_submit accepted, const char *result)
{
        struct aip_job_read read = {.wait_ms = 10000, .id = accepted.ret_job_id};

        cr_assert_null(accepted.op.err, "%s", aip_error_message(accepted.op.err));
        aip_job_service_read(aip_runtime_jobs(runtime), &read);
        aip_runtime_run_until(runtime, &read.op);
        cr_assert_null(read.op.err);
        const struct aip_job_fields *f = aip_job_fields(read.ret_job);
        cr_expect_str_eq(aip_job_status_name(f->status), "COMPLETED", "%.*s",
                         AIP_STR_ARG(f->error_message));
        cr_expect(aip_str_eq(f->result, aip_str_of(result)), "%.*s", AIP_STR_ARG(f->result));
        aip_job_free(read.ret_job);
}

/* Without a worker nothing runs: the names alone count. */
Test(runtime, only_known_graphs_and_channels_are_taken, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);
        int64_t by = 1;

        register_adders(runtime, &by);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        expect_refused(runtime, "subtracter", "{\"n\": 1}", AIP_ENOTFOUND,
                       "graph_name: no graph 'subtracter'");
        expect_refused(runtime, "adder", "{\"m\": 1}", AIP_EINVAL,
                       "input: the graph 'adder' has no channel 'm'");
        expect_refused(runtime, "adder", "[1]", AIP_EINVAL, "input: must be an object");
        expect_refused(runtime, "forgetful", "", AIP_EINVAL,
                       "prompt: is required: the graph 'forgetful' keeps no state to go on with");
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}

Test(runtime, jobs_run_graphs_of_code, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);
        int64_t by = 10;

        register_adders(runtime, &by);
        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        expect_result(runtime, submit(runtime, "adder", "{\"n\": 1}", (struct aip_id){{0}}),
                      "{\"n\":11}");
        expect_result(runtime, submit(runtime, "forgetful", "{}", (struct aip_id){{0}}),
                      "{\"n\":10}");
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}

static struct aip_thread_write write_n(aip_runtime *runtime, struct aip_id thread,
                                       const char *graph, int64_t n)
{
        struct aip_thread_write write = {.id = thread, .as_node = AIP_STR("__start__")};
        aip_value *values = aip_value_object();

        cr_assert_eq(aip_value_object_set_cstr(&values, "n", aip_value_int(n)), 0);
        write.values = values;
        write.graph_name = aip_str_of(graph);
        aip_thread_service_write(aip_runtime_threads(runtime), &write);
        aip_runtime_run_until(runtime, &write.op);
        aip_value_unref(values);
        return write;
}

Test(runtime, a_thread_of_a_graph_of_code_is_written_to_and_goes_on, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);
        struct aip_id thread = {{7}};
        int64_t by = 10;

        register_adders(runtime, &by);
        cr_assert_eq(aip_runtime_start_worker(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        expect_result(runtime, submit(runtime, "adder", "{\"n\": 1}", thread), "{\"n\":11}");
        struct aip_thread_write unkept = write_n(runtime, thread, "forgetful", 5);
        cr_expect_str_eq(aip_error_message(unkept.op.err),
                         "graph_name: the graph 'forgetful' keeps no state");
        aip_error_free(unkept.op.err);
        struct aip_thread_write written = write_n(runtime, thread, "", 100);
        cr_assert_null(written.op.err, "%s", aip_error_message(written.op.err));
        expect_result(runtime, submit(runtime, "adder", "", thread), "{\"n\":110}");
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}

/* ── and over HTTP, by a gateway in the same program ─────────────────────────────────────────── */

/* A client in a thread of its own: sends one request, and keeps the answer. */
struct client {
        struct aip_op op;
        struct aip_loop loop;
        int32_t port;
        const char *body;
        char answer[4000];
        pthread_t thread;
};

static void *ask_gateway(void *user)
{
        struct client *c = user;
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)c->port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        size_t n = 0;
        ssize_t got = 0;

        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
                dprintf(fd,
                        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        strlen(c->body), c->body);
        while ((got = read(fd, c->answer + n, sizeof(c->answer) - 1 - n)) > 0)
                n += (size_t)got;
        close(fd);
        aip_op_finish_from_thread(c->loop, &c->op, NULL);
        return NULL;
}

static void expect_answer(aip_runtime *runtime, const char *body, const char *status,
                          const char *said)
{
        struct client c = {.loop = aip_runtime_loop(runtime),
                           .port = aip_runtime_gateway_port(runtime),
                           .body = body};

        cr_assert_eq(pthread_create(&c.thread, NULL, ask_gateway, &c), 0);
        aip_runtime_run_until(runtime, &c.op);
        pthread_join(c.thread, NULL);
        cr_expect_eq(strncmp(c.answer, status, strlen(status)), 0, "%s", c.answer);
        cr_expect_not_null(strstr(c.answer, said), "%s", c.answer);
}

Test(runtime, its_gateway_takes_jobs_of_graphs_of_code, .timeout = 30)
{
        aip_settings *settings = settings_of("DATABASE_URL=memory:");
        aip_runtime *runtime = runtime_of(settings);
        int64_t by = 1;

        register_adders(runtime, &by);
        cr_assert_eq(aip_runtime_start_gateway(runtime, NULL), 0);
        cr_assert_eq(aip_runtime_wait_ready(runtime, 5000, NULL), 0);
        expect_answer(runtime, "{\"graph_name\": \"adder\", \"input\": {\"n\": 1}}", "HTTP/1.1 2",
                      "\"job_id\"");
        expect_answer(runtime, "{\"graph_name\": \"adder\", \"input\": {\"m\": 1}}", "HTTP/1.1 4",
                      "the graph 'adder' has no channel 'm'");
        expect_answer(runtime, "{\"graph_name\": \"other\", \"input\": {}}", "HTTP/1.1 4",
                      "no graph 'other'");
        aip_runtime_free(runtime);
        aip_settings_free(settings);
}
