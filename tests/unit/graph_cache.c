/* Nodes that are kept: what one has written under a key is written again instead of running it; on the virtual
 * clock, with the cache in memory. */
#include "graph_fixture.h"
#include "graph_waiting.h"
#include "macros.h"
#include <aiplat/adapters.h>
#include <aiplat/graph_run.h>
#include <aiplat/loops.h>

static int n_runs[3]; /* of "plain", "slow", "moody" */
static int is_moody;  /* "moody" fails */

static int run_plain(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        n_runs[0]++;
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of("plain")));
        aip_graph_task_goto(task, "last");
        return 0;
}

static int64_t take_100_ms(const aip_graph_task *task)
{
        (void)task;
        return 100;
}

static void write_slow(aip_graph_task *task, aip_error **err)
{
        (void)err;
        n_runs[1]++;
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of("slow")));
}

static const struct waiting_node slow = {take_100_ms, write_slow};

static int run_moody(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update;
        n_runs[2]++;
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of("moody")));
        return is_moody ? aip_error_set(err, AIP_EUPSTREAM, "not today") : 0;
}

static int rescue(void *user, aip_graph_task *task, const aip_error *error, aip_value **ret_update,
                  aip_error **err)
{
        (void)user, (void)error, (void)ret_update, (void)err;
        aip_graph_task_write(task, "log", aip_value_string(aip_str_of("rescued")));
        return 0;
}

/* "who" decides, "when" does not. */
static int key_of(void *user, aip_graph_task *task, struct aip_buf *key, aip_error **err)
{
        const aip_value *who = aip_graph_task_get(task, "who");
        (void)user;
        if (aip_value_type(who) == AIP_VALUE_NULL)
                return aip_error_set(err, AIP_EINVAL, "whose?");
        return aip_value_print(who, key, err);
}

/* plain, slow and moody side by side; plain goes to last. All but last are kept. */
static aip_graph *build(int has_key)
{
        static const char *const names[] = {"plain", "slow", "moody"}, *const targets[] = {"last"};
        struct aip_node_options options[3] = {AIP_NODE_OPTIONS_INIT, waiting_options(&slow),
                                              AIP_NODE_OPTIONS_INIT};
        aip_graph_builder *b = aip_graph_builder_new();
        options[0].run = run_plain;
        options[0].targets = targets;
        options[0].n_targets = 1;
        options[2].run = run_moody;
        options[2].on_error = rescue;
        aip_graph_builder_add_channel(b, "who", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "when", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        for (int i = 0; i < 3; i++) {
                options[i].cache.ttl_s = 60;
                options[i].cache.key = has_key ? key_of : NULL;
                aip_graph_builder_add_node(b, names[i], &options[i]);
                aip_graph_builder_add_edge(b, AIP_GRAPH_START, names[i]);
                if (i > 0)
                        aip_graph_builder_add_edge(b, names[i], AIP_GRAPH_END);
        }
        aip_graph_builder_add_function(b, "last", write_json, (void *)"{\"log\":\"last\"}");
        aip_graph_builder_add_edge(b, "last", AIP_GRAPH_END);
        return compile(b);
}

struct bench {
        aip_sim_loop *sim;
        struct aip_cache_handle cache;
        aip_graph *graph;
        struct aip_graph_run run;
        int n_done;
};

static void run_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct bench, run.op)->n_done++;
}

static void open_bench(struct bench *bench, int has_key)
{
        struct aip_cache_options options = {.self_size = sizeof(options)};
        *bench = (struct bench){.graph = build(has_key)};
        memset(n_runs, 0, sizeof(n_runs));
        is_moody = 0;
        cr_assert_eq(aip_sim_loop_new(1000, &bench->sim, NULL), 0);
        options.loop = aip_sim_loop_port(bench->sim);
        cr_assert_eq(aip_memory_cache_new(&options, &bench->cache, NULL), 0);
}

static void pass_ms(struct bench *bench, int64_t ms)
{
        aip_sim_loop_run_until(bench->sim, aip_now_ms(aip_sim_loop_port(bench->sim)) + ms);
}

static void closed(struct aip_op *op)
{
        (void)op;
}

static void close_bench(struct bench *bench)
{
        struct aip_op op = {.done = closed};
        bench->cache.close(bench->cache.self, &op);
        pass_ms(bench, 0);
        aip_sim_loop_free(bench->sim);
        aip_graph_unref(bench->graph);
}

static void begin(struct bench *bench, const char *input, const char *space)
{
        static aip_value *in;
        aip_value_unref(in);
        in = value_of(input);
        bench->run = (struct aip_graph_run)AIP_GRAPH_RUN_INIT;
        bench->run.op.done = run_done;
        bench->run.graph = bench->graph;
        bench->run.input = in;
        bench->run.cache = bench->cache.cache;
        bench->run.cache_space = aip_str_of(space);
        bench->n_done = 0;
        aip_graph_run_start(aip_sim_loop_port(bench->sim), &bench->run);
}

static void expect_log(struct bench *bench, const char *log)
{
        cr_assert_eq(bench->n_done, 1);
        cr_assert_null(bench->run.op.err, "%s", aip_error_message(bench->run.op.err));
        assert_value(aip_value_ref(aip_value_get_cstr(bench->run.ret_state, "log")), log, "log");
        aip_value_unref(bench->run.ret_state);
}

static void run_through(struct bench *bench, const char *input, const char *space, const char *log)
{
        begin(bench, input, space);
        pass_ms(bench, 10000);
        expect_log(bench, log);
}

static void expect_runs(int plain, int slow_ones, int moody)
{
        cr_assert_eq(n_runs[0], plain, "plain ran %d times", n_runs[0]);
        cr_assert_eq(n_runs[1], slow_ones, "slow ran %d times", n_runs[1]);
        cr_assert_eq(n_runs[2], moody, "moody ran %d times", n_runs[2]);
}

#define WHOLE_LOG "[\"moody\",\"plain\",\"slow\",\"last\"]"

Test(graph_cache, what_is_kept_does_not_run)
{
        struct bench bench;
        open_bench(&bench, 1);
        run_through(&bench, "{\"who\":\"Ada\",\"when\":1}", "s", WHOLE_LOG);
        run_through(&bench, "{\"who\":\"Ada\",\"when\":2}", "s", WHOLE_LOG);
        expect_runs(1, 1, 1);
        run_through(&bench, "{\"who\":\"Bob\",\"when\":2}", "s", WHOLE_LOG);
        expect_runs(2, 2, 2);
        run_through(&bench, "{\"who\":\"Ada\"}", "another", WHOLE_LOG);
        expect_runs(3, 3, 3);
        close_bench(&bench);
}

Test(graph_cache, is_kept_for_so_long)
{
        struct bench bench;
        open_bench(&bench, 1);
        run_through(&bench, "{\"who\":\"Ada\"}", "s", WHOLE_LOG);
        pass_ms(&bench, 40000);
        run_through(&bench, "{\"who\":\"Ada\"}", "s", WHOLE_LOG);
        expect_runs(1, 1, 1);
        pass_ms(&bench, 61000);
        run_through(&bench, "{\"who\":\"Ada\"}", "s", WHOLE_LOG);
        expect_runs(2, 2, 2);
        close_bench(&bench);
}

Test(graph_cache, without_a_key_the_whole_state_counts)
{
        struct bench bench;
        open_bench(&bench, 0);
        run_through(&bench, "{\"who\":\"Ada\",\"when\":1}", "s", WHOLE_LOG);
        run_through(&bench, "{\"who\":\"Ada\",\"when\":1}", "s", WHOLE_LOG);
        expect_runs(1, 1, 1);
        run_through(&bench, "{\"who\":\"Ada\",\"when\":2}", "s", WHOLE_LOG);
        expect_runs(2, 2, 2);
        close_bench(&bench);
}

Test(graph_cache, a_key_that_fails_keeps_nothing)
{
        struct bench bench;
        open_bench(&bench, 1);
        run_through(&bench, "{\"when\":1}", "s", WHOLE_LOG);
        run_through(&bench, "{\"when\":1}", "s", WHOLE_LOG);
        expect_runs(2, 2, 2);
        close_bench(&bench);
}

Test(graph_cache, what_failed_is_not_kept)
{
        struct bench bench;
        open_bench(&bench, 1);
        is_moody = 1;
        run_through(&bench, "{\"who\":\"Ada\"}", "s", "[\"rescued\",\"plain\",\"slow\",\"last\"]");
        is_moody = 0;
        run_through(&bench, "{\"who\":\"Ada\"}", "s", WHOLE_LOG);
        expect_runs(1, 1, 2);
        close_bench(&bench);
}

Test(graph_cache, without_a_cache_all_run)
{
        struct bench bench;
        open_bench(&bench, 1);
        bench.cache.cache = (struct aip_cache){NULL, NULL};
        run_through(&bench, "{\"who\":\"Ada\"}", "s", WHOLE_LOG);
        run_through(&bench, "{\"who\":\"Ada\"}", "s", WHOLE_LOG);
        expect_runs(2, 2, 2);
        close_bench(&bench);
}

Test(graph_cache, a_cancel_while_it_is_looked_up)
{
        struct bench bench;
        open_bench(&bench, 1);
        begin(&bench, "{\"who\":\"Ada\"}", "s");
        aip_graph_run_cancel(&bench.run);
        pass_ms(&bench, 10000);
        cr_assert_eq(bench.n_done, 1);
        cr_assert_eq(aip_error_code(bench.run.op.err), AIP_ECANCELLED);
        aip_error_free(bench.run.op.err);
        expect_runs(0, 0, 0);
        close_bench(&bench);
}

static int say(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user;
        n_runs[0]++;
        aip_graph_task_write(task, "n", aip_value_int(1));
        return aip_value_parse(aip_str_of("{\"messages\": \"hello\"}"), ret_update, err);
}

static int same_key(void *user, aip_graph_task *task, struct aip_buf *key, aip_error **err)
{
        (void)user, (void)task, (void)err;
        return aip_buf_append_cstr(key, "k");
}

static int twice(void *user, aip_graph_route *route, aip_error **err)
{
        (void)user, (void)err;
        aip_graph_route_to(route, aip_value_as_int(aip_graph_route_get(route, "n"), 0) < 2
                                          ? "say"
                                          : AIP_GRAPH_END);
        return 0;
}

/* In a loop: what was kept is another message each time, not the same again. */
Test(graph_cache, messages_are_new_ones)
{
        struct bench bench;
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        open_bench(&bench, 1);
        aip_graph_unref(bench.graph);
        options.run = say;
        options.cache.ttl_s = 60;
        options.cache.key = same_key;
        aip_graph_builder_add_channel(b, "n", AIP_CHANNEL_ADD);
        aip_graph_builder_add_channel(b, "messages", AIP_CHANNEL_MESSAGES);
        aip_graph_builder_add_node(b, "say", &options);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "say");
        add_router(b, "say", twice, NULL, "say", AIP_GRAPH_END);
        bench.graph = compile(b);
        begin(&bench, "{}", "s");
        pass_ms(&bench, 10000);
        cr_assert_null(bench.run.op.err, "%s", aip_error_message(bench.run.op.err));
        assert_value(bench.run.ret_state,
                     "{\"n\":2,\"messages\":["
                     "{\"role\":\"user\",\"content\":\"hello\",\"id\":\"1:say.1.0\"},"
                     "{\"role\":\"user\",\"content\":\"hello\",\"id\":\"2:say.1.0\"}]}",
                     "state");
        cr_assert_eq(n_runs[0], 1, "it ran %d times", n_runs[0]);
        close_bench(&bench);
}

static int no_such_key(void *user, aip_graph_task *task, struct aip_buf *key, aip_error **err)
{
        (void)user, (void)err;
        return aip_value_print(aip_graph_task_get(task, "nothing"), key, NULL);
}

Test(graph_cache, a_key_that_reads_what_there_is_not)
{
        struct bench bench;
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        open_bench(&bench, 1);
        aip_graph_unref(bench.graph);
        options.run = run_moody;
        options.cache.ttl_s = 60;
        options.cache.key = no_such_key;
        aip_graph_builder_add_channel(b, "log", AIP_CHANNEL_APPEND);
        aip_graph_builder_add_node(b, "moody", &options);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "moody");
        aip_graph_builder_add_edge(b, "moody", AIP_GRAPH_END);
        bench.graph = compile(b);
        run_through(&bench, "{}", "s", "[\"moody\"]");
        run_through(&bench, "{}", "s", "[\"moody\"]");
        cr_assert_eq(n_runs[2], 2);
        close_bench(&bench);
}
