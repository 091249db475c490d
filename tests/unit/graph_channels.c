/* Channels: how each kind takes writes, over steps and within one; what it refuses, and how it says
 * so. Writes go through a whole graph, for that is how users meet them. */
#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_run.h>

#define LAST      AIP_CHANNEL_LAST_VALUE
#define APPEND    AIP_CHANNEL_APPEND
#define ADD       AIP_CHANNEL_ADD
#define MIN       AIP_CHANNEL_MIN
#define MAX       AIP_CHANNEL_MAX
#define MERGE     AIP_CHANNEL_MERGE
#define MESSAGES  AIP_CHANNEL_MESSAGES
#define TOPIC     AIP_CHANNEL_TOPIC
#define EPHEMERAL AIP_CHANNEL_EPHEMERAL
#define UNTRACKED AIP_CHANNEL_UNTRACKED

/* One channel "x"; up to three nodes that each write it, one after the other or side by side. */
static int run(enum aip_channel_kind kind, const char *initial, const char *const writes[3],
               int side_by_side, aip_value **ret_state, aip_error **err)
{
        static const char *const names[] = {"a", "b", "c"};
        struct aip_channel_options options = AIP_CHANNEL_OPTIONS_INIT;
        aip_value *begin = initial ? value_of(initial) : NULL;
        options.kind = kind;
        options.initial = begin;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel_with(b, "x", &options);
        aip_value_unref(begin);
        for (int i = 0; i < 3; i++) {
                const char *write = writes[i] ? writes[i] : "{}";
                aip_graph_builder_add_function(b, names[i], write_json, (void *)write);
                const char *from = i == 0 || side_by_side ? AIP_GRAPH_START : names[i - 1];
                aip_graph_builder_add_edge(b, from, names[i]);
                if (i == 2 || side_by_side)
                        aip_graph_builder_add_edge(b, names[i], AIP_GRAPH_END);
        }
        aip_graph *graph = NULL;
        int code = aip_graph_compile(b, &graph, err);
        if (code == 0)
                code = aip_graph_invoke(graph, NULL, NULL, ret_state, err);
        aip_graph_unref(graph);
        return code;
}

static const struct {
        enum aip_channel_kind kind;
        const char *initial;
        const char *writes[3];
        const char *expected; /* of the whole state */
} chains[] = {
        {LAST, NULL, {NULL}, "{}"},
        {LAST, "1", {NULL}, "{\"x\":1}"},
        {LAST, "1", {"{\"x\":2}", "{\"x\":\"three\"}"}, "{\"x\":\"three\"}"},
        {LAST, NULL, {"{\"x\":null}"}, "{\"x\":null}"},
        {APPEND, NULL, {NULL}, "{\"x\":[]}"},
        {APPEND, NULL, {"{\"x\":1}", "{\"x\":[2,3]}", "{\"x\":[[4]]}"}, "{\"x\":[1,2,3,[4]]}"},
        {APPEND, "[0]", {"{\"x\":[]}", "{\"x\":null}"}, "{\"x\":[0,null]}"},
        {APPEND, NULL, {"{\"x\":[1]}", "{\"x\":2}", "{\"x\":[3]}"}, "{\"x\":[1,2,3]}"},
        {ADD, NULL, {NULL}, "{\"x\":0}"},
        {ADD, NULL, {"{\"x\":2}", "{\"x\":-5}"}, "{\"x\":-3}"},
        {ADD, "10", {"{\"x\":0.5}", "{\"x\":1}"}, "{\"x\":11.5}"},
        {MIN, NULL, {NULL}, "{}"},
        {MIN, NULL, {"{\"x\":3}", "{\"x\":1.5}", "{\"x\":2}"}, "{\"x\":1.5}"},
        {MIN, "0", {"{\"x\":3}"}, "{\"x\":0}"},
        {MAX,
         NULL,
         {"{\"x\":-3}", "{\"x\":9007199254740993}", "{\"x\":2.5}"},
         "{\"x\":9007199254740993}"},
        {MAX, "4", {"{\"x\":3}"}, "{\"x\":4}"},
        {MERGE, NULL, {NULL}, "{\"x\":{}}"},
        {MERGE,
         NULL,
         {"{\"x\":{\"a\":1}}", "{\"x\":{\"b\":2}}", "{\"x\":{\"a\":[3]}}"},
         "{\"x\":{\"a\":[3],\"b\":2}}"},
        {MERGE, "{\"k\":0}", {"{\"x\":{}}"}, "{\"x\":{\"k\":0}}"},
        {UNTRACKED, "1", {"{\"x\":2}"}, "{\"x\":2}"},
        {EPHEMERAL, NULL, {"{\"x\":1}"}, "{}"},
        {EPHEMERAL, NULL, {"{\"x\":1}", "{}", "{\"x\":2}"}, "{\"x\":2}"},
        {TOPIC, NULL, {NULL}, "{}"},
        {TOPIC, NULL, {"{\"x\":1}", "{\"x\":[2,3]}"}, "{}"},
        {TOPIC, NULL, {"{\"x\":1}", "{}", "{\"x\":[2,3]}"}, "{\"x\":[2,3]}"},
        {MESSAGES, NULL, {NULL}, "{\"x\":[]}"},
        {MESSAGES,
         NULL,
         {"{\"x\":\"hi\"}", "{\"x\":[{\"id\":\"m\",\"role\":\"assistant\"}]}"},
         "{\"x\":[{\"role\":\"user\",\"content\":\"hi\",\"id\":\"1:a.0.0\"},"
         "{\"id\":\"m\",\"role\":\"assistant\"}]}"},
        {MESSAGES,
         "[{\"id\":\"1\"},{\"id\":\"2\"},{\"id\":\"3\"}]",
         {"{\"x\":[{\"id\":\"2\",\"n\":2},{\"id\":\"4\"}]}",
          "{\"x\":{\"role\":\"remove\",\"id\":\"1\"}}"},
         "{\"x\":[{\"id\":\"2\",\"n\":2},{\"id\":\"3\"},{\"id\":\"4\"}]}"},
        {MESSAGES,
         "[{\"id\":\"1\"}]",
         {"{\"x\":[{\"id\":\"2\"},{\"type\":\"remove\",\"id\":\"__remove_all__\"},{\"id\":\"3\"}]"
          "}"},
         "{\"x\":[{\"id\":\"3\"}]}"},
        {APPEND,
         "[1]",
         {"{\"x\":2}", "{\"x\":{\"__overwrite__\":[9]}}", "{\"x\":3}"},
         "{\"x\":[9,3]}"},
        {ADD, NULL, {"{\"x\":2}", "{\"x\":{\"__overwrite__\":7}}"}, "{\"x\":7}"},
        {LAST, NULL, {"{\"x\":{\"__overwrite__\":{\"a\":1}}}"}, "{\"x\":{\"a\":1}}"},
        {LAST,
         NULL,
         {"{\"x\":{\"__overwrite__\":1,\"b\":2}}"},
         "{\"x\":{\"__overwrite__\":1,\"b\":2}}"},
};

Test(graph_channels, take_writes_over_steps)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(chains); i++) {
                char what[32];
                aip_value *state = NULL;
                aip_error *err = NULL;
                snprintf(what, sizeof(what), "row %zu", i);
                cr_assert_eq(
                        run(chains[i].kind, chains[i].initial, chains[i].writes, 0, &state, &err),
                        0, "%s: %s", what, aip_error_message(err));
                assert_value(state, chains[i].expected, what);
        }
}

static const struct {
        enum aip_channel_kind kind;
        const char *writes[3];
        const char *expected;
} fans[] = {
        {LAST, {"{\"x\":1}", NULL, NULL}, "{\"x\":1}"},
        {APPEND,
         {"{\"x\":\"a\"}", "{\"x\":[\"b1\",\"b2\"]}", "{\"x\":\"c\"}"},
         "{\"x\":[\"a\",\"b1\",\"b2\",\"c\"]}"},
        {ADD, {"{\"x\":1}", "{\"x\":20}", "{\"x\":300}"}, "{\"x\":321}"},
        {MIN, {"{\"x\":2}", "{\"x\":1}", "{\"x\":3}"}, "{\"x\":1}"},
        {MAX, {"{\"x\":2}", "{\"x\":1}", "{\"x\":3}"}, "{\"x\":3}"},
        {MERGE,
         {"{\"x\":{\"k\":1}}", "{\"x\":{\"k\":2,\"l\":0}}", "{\"x\":{\"k\":3}}"},
         "{\"x\":{\"k\":3,\"l\":0}}"},
        {TOPIC, {"{\"x\":1}", "{\"x\":[2,3]}", "{\"x\":[[4]]}"}, "{\"x\":[1,2,3,[4]]}"},
        {MESSAGES,
         {"{\"x\":{\"id\":\"m\",\"n\":1}}", "{\"x\":\"hi\"}", "{\"x\":{\"id\":\"m\",\"n\":2}}"},
         "{\"x\":[{\"id\":\"m\",\"n\":2},{\"role\":\"user\",\"content\":\"hi\",\"id\":\"1:b.0.0\"}"
         "]}"},
        {APPEND, {"{\"x\":1}", "{\"x\":{\"__overwrite__\":[2]}}", "{\"x\":3}"}, "{\"x\":[2]}"},
        {LAST, {"{\"x\":1}", "{\"x\":{\"__overwrite__\":2}}", NULL}, "{\"x\":2}"},
};

Test(graph_channels, merge_the_writes_of_one_step_in_the_order_of_names)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(fans); i++) {
                char what[32];
                aip_value *state = NULL;
                aip_error *err = NULL;
                snprintf(what, sizeof(what), "row %zu", i);
                cr_assert_eq(run(fans[i].kind, NULL, fans[i].writes, 1, &state, &err), 0, "%s: %s",
                             what, aip_error_message(err));
                assert_value(state, fans[i].expected, what);
        }
}

static const struct {
        enum aip_channel_kind kind;
        const char *initial;
        const char *writes[3];
        int side_by_side;
        int code;
        const char *kind_name;
        const char *message;
} refused[] = {
        {LAST,
         NULL,
         {"{\"x\":1}", NULL, "{\"x\":2}"},
         1,
         AIP_ESTATE,
         AIP_GRAPH_INVALID_CONCURRENT_UPDATE,
         "INVALID_CONCURRENT_GRAPH_UPDATE: channel \"x\" takes one value a step, but step 1 wrote "
         "it "
         "twice: node \"a\" and node \"c\""},
        {ADD,
         NULL,
         {NULL, "{\"x\":\"1\"}"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "node \"b\": channel \"x\" takes numbers, not a value of type string"},
        {MIN, NULL, {"{\"x\":null}"}, 0, AIP_EINVAL, AIP_GRAPH_INVALID_UPDATE, "takes numbers"},
        {MERGE,
         NULL,
         {"{\"x\":[]}"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "node \"a\": channel \"x\" takes objects, not a value of type list"},
        {LAST,
         NULL,
         {NULL, "{\"y\":1}"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "node \"b\": the update has a member \"y\", but the graph has no such channel"},
        {LAST,
         NULL,
         {"[1]"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "node \"a\": an update is an object with one member a channel, not a value of type list"},
        {EPHEMERAL,
         NULL,
         {"{\"x\":1}", NULL, "{\"x\":2}"},
         1,
         AIP_ESTATE,
         AIP_GRAPH_INVALID_CONCURRENT_UPDATE,
         "channel \"x\" takes one value a step"},
        {APPEND,
         NULL,
         {"{\"x\":{\"__overwrite__\":[1]}}", "{\"x\":{\"__overwrite__\":[2]}}"},
         1,
         AIP_ESTATE,
         AIP_GRAPH_INVALID_UPDATE,
         "node \"b\": channel \"x\" was overwritten twice in step 1"},
        {APPEND,
         NULL,
         {"{\"x\":{\"__overwrite__\":1}}"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "node \"a\": channel \"x\" takes a list, not a value of type integer"},
        {MESSAGES,
         NULL,
         {"{\"x\":[1]}"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "node \"a\": a message is an object or a string"},
        {MESSAGES,
         NULL,
         {"{\"x\":{\"id\":7}}"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "has an id that is not a string"},
        {MESSAGES,
         NULL,
         {"{\"x\":{\"role\":\"remove\"}}"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "needs that one's id"},
        {MESSAGES,
         NULL,
         {NULL, "{\"x\":{\"role\":\"remove\",\"id\":\"z\"}}"},
         0,
         AIP_EINVAL,
         AIP_GRAPH_INVALID_UPDATE,
         "node \"b\": there is no message with the id \"z\" to remove"},
        {MESSAGES, "[{}]", {NULL}, 0, AIP_EINVAL, "invalid", "must be a list of messages with ids"},
        {APPEND,
         "{}",
         {NULL},
         0,
         AIP_EINVAL,
         "invalid",
         "channel \"x\": its initial value must be a list, not of type object"},
        {ADD, "\"0\"", {NULL}, 0, AIP_EINVAL, "invalid", "must be numbers, not of type string"},
        {AIP_CHANNEL_REDUCER, NULL, {NULL}, 0, AIP_EINVAL, "invalid", "needs a reducer function"},
        {(enum aip_channel_kind)77, NULL, {NULL}, 0, AIP_EINVAL, "invalid", "no such kind: 77"},
};

Test(graph_channels, refuse_what_does_not_fit_and_say_who_wrote_it)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(refused); i++) {
                char what[32];
                aip_value *state = NULL;
                aip_error *err = NULL;
                snprintf(what, sizeof(what), "row %zu", i);
                cr_assert_lt(run(refused[i].kind, refused[i].initial, refused[i].writes,
                                 refused[i].side_by_side, &state, &err),
                             0, "%s passed", what);
                cr_assert_null(state, "%s", what);
                cr_assert_str_eq(aip_error_kind(err), refused[i].kind_name, "%s", what);
                assert_error(err, refused[i].code, refused[i].message, what);
        }
}

static int write_near_the_end(void *user, aip_graph_task *task, aip_value **ret_update,
                              aip_error **err)
{
        (void)user;
        (void)ret_update;
        (void)err;
        aip_graph_task_write(task, "x", aip_value_int(INT64_MAX));
        aip_graph_task_write(task, "x", aip_value_int(1));
        return 0;
}

Test(graph_channels, refuse_a_sum_beyond_integers)
{
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel(b, "x", ADD);
        aip_graph_builder_add_function(b, "n", write_near_the_end, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "n");
        aip_graph_builder_add_edge(b, "n", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        aip_value *state = NULL;
        aip_error *err = NULL;
        cr_assert_lt(aip_graph_invoke(graph, NULL, NULL, &state, &err), 0);
        assert_error(err, AIP_ELIMIT, "node \"n\": channel \"x\": the sum passes the range", "sum");
        aip_graph_unref(graph);
}

/* Strings joined by what `user` points to; refuses anything else. */
static int join(void *user, aip_value **value, const aip_value *update, aip_error **err)
{
        struct aip_str text = aip_value_as_string(update);
        if (!text.p)
                return aip_error_set(err, AIP_EINVAL, "only strings can be joined");
        struct aip_buf joined = AIP_BUF_INIT(1 << 16);
        int code = 0;
        if (*value) {
                code |= aip_buf_append(&joined, aip_value_as_string(*value));
                code |= aip_buf_append_cstr(&joined, user);
        }
        code |= aip_buf_append(&joined, text);
        aip_value *next = code < 0 ? NULL : aip_value_string(aip_buf_str(&joined));
        aip_buf_deinit(&joined);
        if (!next)
                return aip_error_set_nomem(err);
        aip_value_unref(*value);
        *value = next;
        return 0;
}

static void count_free(void *user)
{
        ((char *)user)[1]++;
}

static int run_join(const char *last_write, aip_value **ret_state, aip_error **err, char *separator)
{
        struct aip_channel_options options = AIP_CHANNEL_OPTIONS_INIT;
        options.kind = AIP_CHANNEL_REDUCER;
        options.reduce = join;
        options.user = separator;
        options.free_user = count_free;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph_builder_add_channel_with(b, "x", &options);
        aip_graph_builder_add_function(b, "a", write_json, (void *)"{\"x\":\"one\"}");
        aip_graph_builder_add_function(b, "b", write_json, (void *)last_write);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "a");
        aip_graph_builder_add_edge(b, "a", "b");
        aip_graph_builder_add_edge(b, "b", AIP_GRAPH_END);
        aip_graph *graph = compile(b);
        int code = aip_graph_invoke(graph, NULL, NULL, ret_state, err);
        cr_assert_eq(separator[1], 0);
        aip_graph_unref(graph);
        cr_assert_eq(separator[1], 1, "free_user ran %d times", separator[1]);
        return code;
}

Test(graph_channels, ask_the_users_reducer)
{
        char separator[2] = {'-', 0};
        aip_value *state = NULL;
        cr_assert_eq(run_join("{\"x\":\"two\"}", &state, NULL, separator), 0);
        assert_value(state, "{\"x\":\"one-two\"}", "joined");
}

Test(graph_channels, pass_on_the_users_reducers_error)
{
        char separator[2] = {'-', 0};
        aip_value *state = NULL;
        aip_error *err = NULL;
        cr_assert_eq(run_join("{\"x\":2}", &state, &err, separator), AIP_EINVAL);
        assert_error(err, AIP_EINVAL,
                     "node \"b\": the reducer of channel \"x\" failed: only strings can be joined",
                     "reducer");
}
