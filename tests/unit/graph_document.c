/* Graph documents: what is read, what is refused and where it points, what they compile to. */
#include "alloc_fail.h"
#include "graph_document_fixture.h"

/* Run a document; the state it ends with, as a value, or the error. */
static int run_document(const char *text, const char *input, aip_value **ret_state, aip_error **err)
{
        aip_graph_document *document = NULL;
        aip_graph *graph = NULL;
        aip_value *fed = NULL, *channels = NULL;
        int r = document_of(text, &document, err);
        if (r == 0)
                r = compile_document(document, &graph, err);
        if (r == 0) {
                char room[1000];
                r = aip_value_parse(json_of(input, room, sizeof(room)), &fed, err);
        }
        if (r == 0)
                r = aip_graph_document_input(document, AIP_STR("the prompt"), fed, &channels, err);
        aip_graph_document_unref(document); /* the graph keeps what it needs */
        if (r == 0)
                r = aip_graph_invoke(graph, channels, NULL, ret_state, err);
        aip_value_unref(channels);
        aip_value_unref(fed);
        aip_graph_unref(graph);
        return r;
}

static void expect_state(const char *text, const char *input, const char *expected)
{
        aip_value *state = NULL;
        aip_error *err = NULL;
        char room[1000];
        struct aip_str json = json_of(expected, room, sizeof(room) - 1);
        room[json.n] = '\0';
        int r = run_document(text, input, &state, &err);
        cr_assert_eq(r, 0, "%s: %s", text, aip_error_message(err));
        assert_value(state, room, text);
}

Test(graph_document, a_chain)
{
        expect_state("{'state': {'a': {}, 'b': {}},"
                     "'nodes': {'x': {'type': 'set', 'write': {'a': '1'}},"
                     "          'y': {'type': 'set', 'write': {'b': '.a + 1'}}},"
                     "'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': 'y'},"
                     "          {'from': 'y', 'to': '__end__'}]}",
                     "{}", "{'a': 1, 'b': 2}");
}

Test(graph_document, fan_out_and_join)
{
        expect_state(
                "{'state': {'l': {'type': 'append'}, 'n': {}},"
                "'nodes': {'a': {'type': 'set', 'write': {'l': '\\'a\\''}},"
                "          'b': {'type': 'set', 'write': {'l': '\\'b\\''}},"
                "          'c': {'type': 'set', 'write': {'l': '\\'c\\''}},"
                "          'j': {'type': 'set', 'write': {'n': '.l | length'}}},"
                "'edges': [{'from': '__start__', 'to': ['a', 'b']}, {'from': 'a', 'to': 'c'},"
                "          {'from': ['b', 'c'], 'to': ['j']}, {'from': 'j', 'to': '__end__'}]}",
                "{}", "{'l': ['a', 'b', 'c'], 'n': 3}");
}

#define LOOP                                                                                       \
        "{'state': {'n': {'type': 'add', 'initial': 1}, 'big': {}},"                               \
        "'nodes': {'inc': {'type': 'set', 'write': {'n': '1'}},"                                   \
        "          'end': {'type': 'set', 'write': {'big': '.n > 5'}}},"                           \
        "'edges': [{'from': '__start__', 'to': 'inc'}, {'from': 'end', 'to': '__end__'},"          \
        "          {'from': 'inc', 'when': [{'if': '.n < 3', 'to': 'inc'},"                        \
        "                                   {'if': '.n < 10', 'to': ['end']}]}]}"

Test(graph_document, conditions)
{
        expect_state(LOOP, "{}", "{'n': 3, 'big': false}");
        expect_state(LOOP, "{'n': 20}", "{'n': 22}"); /* none holds, there is no else */
}

#define MAP                                                                                        \
        "{'state': {'words': {}, 'out': {'type': 'append'}, 'n': {}},"                             \
        "'nodes': {'split': {'type': 'set', 'write': {}},"                                         \
        "          'up': {'type': 'set', 'write': {'out': '$item | ascii_upcase'}},"               \
        "          'sum': {'type': 'set', 'write': {'n': '.out | length'}}},"                      \
        "'edges': [{'from': '__start__', 'to': 'split'}, {'from': 'up', 'to': 'sum'},"             \
        "          {'from': 'split', 'send': {'items': '.words', 'to': 'up'}, 'else': 'sum'},"     \
        "          {'from': 'sum', 'to': '__end__'}]}"

Test(graph_document, sends)
{
        expect_state(MAP, "{'words': ['a', 'b', 'c']}",
                     "{'words': ['a', 'b', 'c'], 'out': ['A', 'B', 'C'], 'n': 3}");
        expect_state(MAP, "{'words': []}", "{'words': [], 'out': [], 'n': 0}");
}

static void expect_run_error(const char *text, const char *input, int code, const char *message)
{
        aip_value *state = NULL;
        aip_error *err = NULL;
        int r = run_document(text, input, &state, &err);
        cr_assert_eq(r, code, "%s: %d %s", text, r, aip_error_message(err));
        assert_error(err, code, message, text);
}

Test(graph_document, errors_of_a_run_point_into_the_document)
{
        expect_run_error(MAP, "{'words': 7}", AIP_EINVAL,
                         "/edges/2/send/items: must give a list, not an integer");
        expect_run_error(LOOP, "{'n': 20, 'x': 1}", AIP_EINVAL,
                         "/input/x: the graph 'test' has no such channel");
        expect_run_error(
                "{'state': {'a/b': {}}, 'nodes': {'x~y': {'type': 'set',"
                "'write': {'a/b': '.c, 1'}}}, 'edges': [{'from': '__start__', 'to': 'x~y'},"
                "{'from': 'x~y', 'to': '__end__'}]}",
                "{}", AIP_EINVAL, "/nodes/x~0y/write/a~1b: several values");
        expect_run_error("{'state': {'a': {}}, 'nodes': {'x': {'type': 'set'}},"
                         "'edges': [{'from': '__start__', 'to': 'x'},"
                         "{'from': 'x', 'when': [{'if': '.a.b.c', 'to': 'x'}]}]}",
                         "{'a': 5}", AIP_EINVAL, "/edges/1/when/0/if: ");
}

Test(graph_document, input_and_prompt)
{
        expect_state("{'state': {'prompt': {}, 'a': {'type': 'append'}},"
                     "'nodes': {'x': {'type': 'set'}},"
                     "'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': '__end__'}]}",
                     "{'a': [1, 2]}", "{'prompt': 'the prompt', 'a': [1, 2]}");
}

Test(graph_document, input_schema)
{
        static const char document[] =
                "{'state': {'a': {}}, 'nodes': {'x': {'type': 'set'}},"
                "'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': '__end__'}],"
                "'input_schema': {'required': ['a'], 'properties': {'a': {'type': 'string'}}}}";
        expect_state(document, "{'a': 'b'}", "{'a': 'b'}");
        expect_run_error(document, "{}", AIP_EINVAL, "/input/a: is missing");
        expect_run_error(document, "{'a': 1}", AIP_EINVAL, "/input/a: must be of type string");
        expect_run_error(document, "[1]", AIP_EINVAL, "/input: must be an object, not a list");
}

/* Errors. */

/* x fails with what "fails" says; where it goes then stands in `on_error`. */
#define FAILING(on_error)                                                                          \
        "{'state': {'way': {'type': 'append'}, 'why': {}},"                                        \
        "'nodes': {'x': {'type': 'set', 'write': {'way': '\\'x\\''}, 'fails': '.why',"             \
        "                'on_error': " on_error "},"                                               \
        "          'y': {'type': 'set', 'write': {'way': '\\'y\\''}},"                             \
        "          'z': {'type': 'set', 'write': {'way': '\\'z\\''}}},"                            \
        "'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': 'y'},"                    \
        "          {'from': 'y', 'when': [{'if': '.way == []', 'to': 'z'}]},"                      \
        "          {'from': 'z', 'to': '__end__'}]}"

#define WITH_WRITE                                                                                 \
        "{'to': 'z', 'write': {'why': '{kind: $error.kind, is_told: ($error.message | "            \
        "contains(\\'boo\\')), node: $error.node}'}}"

Test(graph_document, on_error_goes_elsewhere)
{
        expect_state(FAILING("'z'"), "{}", "{'way': ['x', 'y']}");
        expect_state(FAILING("'z'"), "{'why': 'boo'}", "{'why': 'boo', 'way': ['z']}");
        expect_state(FAILING("'y'"), "{'why': 'boo'}", "{'why': 'boo', 'way': ['y']}");
        expect_state(FAILING("{'to': 'z'}"), "{'why': 'boo'}", "{'why': 'boo', 'way': ['z']}");
        expect_state(
                FAILING(WITH_WRITE), "{'why': 'boo'}",
                "{'why': {'kind': 'upstream_error', 'is_told': true, 'node': 'x'}, 'way': ['z']}");
}

Test(graph_document, on_error_may_end_the_run)
{
        static const char document[] =
                "{'state': {'why': {}}, 'nodes': {'x': {'type': 'set', 'fails': '.why',"
                "'on_error': '__end__'}, 'y': {'type': 'set', 'write': {'why': '1'}}},"
                "'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': 'y'},"
                "          {'from': 'y', 'to': '__end__'}]}";
        expect_state(document, "{}", "{'why': 1}");
        expect_state(document, "{'why': 'boo'}", "{'why': 'boo'}");
}

/* One of the tasks that were sent fails: it alone goes elsewhere. */
Test(graph_document, on_error_of_sends_and_joins)
{
        static const char document[] =
                "{'state': {'l': {'type': 'append'}, 'w': {}},"
                "'nodes': {'s': {'type': 'set'},"
                "          'x': {'type': 'set', 'write': {'l': '$item'},"
                "                'fails': 'if $item == 2 then \\'two\\' else null end',"
                "                'on_error': {'to': 'z', 'write': {'l': '-$item'}}},"
                "          'z': {'type': 'set', 'write': {'l': '9'}},"
                "          'j': {'type': 'set', 'write': {'w': '.l | length'}}},"
                "'edges': [{'from': '__start__', 'to': 's'},"
                "          {'from': 's', 'send': {'items': '[1, 2, 3]', 'to': 'x'}},"
                "          {'from': 'x', 'to': '__end__'}, {'from': ['x', 'z'], 'to': 'j'},"
                "          {'from': 'j', 'to': '__end__'}]}";
        expect_state(document, "{}", "{'l': [1, -2, 3, 9], 'w': 4}");
}

Test(graph_document, on_error_fails_itself)
{
        expect_run_error(FAILING("{'to': 'z', 'write': {'why': '.way[0].a'}}"),
                         "{'why': 'boo', 'way': ['a']}", AIP_EINVAL,
                         "/nodes/x/on_error/write/why: ");
}

#define ONE_NODE(members)                                                                          \
        "{'state': {'a': {}, 'answer': {}}, 'nodes': {'x': {'type': 'set'}},"                      \
        "'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': '__end__'}]" members "}"

static void expect_result(const char *text, const char *state, const char *expected)
{
        aip_graph_document *document = NULL;
        aip_error *err = NULL;
        aip_value *value = value_of(state);
        struct aip_buf out = AIP_BUF_INIT(100);
        cr_assert_eq(document_of(text, &document, &err), 0, "%s", aip_error_message(err));
        cr_assert_eq(aip_graph_document_result(document, value, &out, &err), 0, "%s",
                     aip_error_message(err));
        cr_assert_str_eq(out.p, expected);
        aip_buf_deinit(&out);
        aip_value_unref(value);
        aip_graph_document_unref(document);
}

Test(graph_document, result)
{
        expect_result(ONE_NODE(""), "{\"a\":1,\"answer\":\"yes\"}", "yes");
        expect_result(ONE_NODE(""), "{\"a\":1,\"answer\":2}", "{\"a\":1,\"answer\":2}");
        expect_result(ONE_NODE(", 'result': '.a'"), "{\"a\":\"text\"}", "text");
        expect_result(ONE_NODE(", 'result': '[.a, .b]'"), "{\"a\":1}", "[1,null]");
}

/* Pictures. */

static void expect_picture(const char *text, enum aip_draw_format format, const char *expected)
{
        aip_graph_document *document = NULL;
        aip_error *err = NULL;
        struct aip_buf out = AIP_BUF_INIT(10000), small = AIP_BUF_INIT(20);
        cr_assert_eq(document_of(text, &document, &err), 0, "%s", aip_error_message(err));
        cr_assert_eq(aip_graph_document_draw(document, format, &out, &err), 0);
        cr_assert_str_eq(out.p, expected);
        cr_assert_eq(aip_graph_document_draw(document, format, &small, &err), AIP_ELIMIT);
        assert_error(err, AIP_ELIMIT, "the picture of the graph 'test' is too large", text);
        cr_assert_eq(small.n, 0u);
        aip_buf_deinit(&small);
        aip_buf_deinit(&out);
        aip_graph_document_unref(document);
}

#define DRAWN                                                                                      \
        "{'state': {'n': {}}, 'nodes': {'a <b>': {'type': 'set'}, 'c': {'type': 'set'},"           \
        "'d\\\\': {'type': 'set', 'on_error': 'c'}},"                                              \
        "'edges': [{'from': '__start__', 'to': ['a <b>', 'c']},"                                   \
        "{'from': 'a <b>', 'when': [{'if': '.n == \\'x\\'', 'to': 'c'}], 'else': 'd\\\\'},"        \
        "{'from': 'c', 'send': {'items': '.n', 'to': 'd\\\\'}},"                                   \
        "{'from': ['a <b>', 'c'], 'to': '__end__'}]}"

Test(graph_document, drawn_for_mermaid)
{
        expect_picture(DRAWN, AIP_DRAW_MERMAID,
                       "flowchart TD\n"
                       "    start([\"__start__\"])\n"
                       "    stop([\"__end__\"])\n"
                       "    n0[\"a #60;b#62;<br/>set\"]\n"
                       "    n1[\"c<br/>set\"]\n"
                       "    n2[\"d#92;<br/>set\"]\n"
                       "    start --> n0\n"
                       "    start --> n1\n"
                       "    n0 -. \".n == #34;x#34;\" .-> n1\n"
                       "    n0 -. \"else\" .-> n2\n"
                       "    n1 -. \"each of .n\" .-> n2\n"
                       "    n1 -. \"else\" .-> stop\n"
                       "    n0 --> stop\n"
                       "    n1 --> stop\n"
                       "    n2 -. \"on error\" .-> n1\n");
}

Test(graph_document, drawn_for_graphviz)
{
        expect_picture(DRAWN, AIP_DRAW_GRAPHVIZ,
                       "digraph \"test\" {\n"
                       "  node [shape=box, style=rounded];\n"
                       "  start [label=\"__start__\", shape=oval];\n"
                       "  stop [label=\"__end__\", shape=oval];\n"
                       "  n0 [label=\"a <b>\\nset\"];\n"
                       "  n1 [label=\"c\\nset\"];\n"
                       "  n2 [label=\"d\\\\\\nset\"];\n"
                       "  start -> n0;\n"
                       "  start -> n1;\n"
                       "  n0 -> n1 [style=dashed, label=\".n == \\\"x\\\"\"];\n"
                       "  n0 -> n2 [style=dashed, label=\"else\"];\n"
                       "  n1 -> n2 [style=dashed, label=\"each of .n\"];\n"
                       "  n1 -> stop [style=dashed, label=\"else\"];\n"
                       "  n0 -> stop;\n"
                       "  n1 -> stop;\n"
                       "  n2 -> n1 [style=dashed, label=\"on error\"];\n"
                       "}\n");
}

struct refusal {
        const char *document, *message;
        int code; /* 0: AIP_EINVAL */
};

static const struct refusal refusals[] = {
        {"[]", "document: must be an object, not a list", 0},
        {"{", "document: ", 0},
        {"{}", "/nodes: is missing; it must be an object", 0},
        {"{'nodes': {}, 'edges': []}", "/nodes: must have at least one node", 0},
        {"{'nodes': {'x': {'type': 'set'}}}", "/edges: is missing; it must be a list", 0},
        {ONE_NODE(", 'results': 1"), "/results: there is no such member; there are: $schema", 0},
        {ONE_NODE(", 'result': 1"), "/result: must be a string, not an integer", 0},
        {ONE_NODE(", 'result': '.a +'"), "/result: line 1, column 5", 0},
        {ONE_NODE(", 'description': 1"), "/description: must be a string", 0},
        {ONE_NODE(", 'step_limit': 0"), "/step_limit: must be an integer from 1 to 1000000", 0},
        {ONE_NODE(", 'interrupt_before': 'x'"), "/interrupt_before: must be \"*\" or a list", 0},
        {ONE_NODE(", 'interrupt_after': ['x', 'y']"), "/interrupt_after/1: there is no node \"y\"",
         0},
        {ONE_NODE(", 'input_schema': {'type': 'any'}"), "/input_schema/type: must be one of", 0},
        {ONE_NODE(", 'input_schema': {'properties': {'a': {'pattern': 'x'}}}"),
         "/input_schema/properties/a/pattern: this keyword is not checked", 0},
        {ONE_NODE(", 'tools': {'t': 1}"), "/tools/t: must be an object", 0},
        {ONE_NODE(", 'tools': {'t': {'description': 1}}"), "/tools/t/description: must be", 0},
        {"{'state': [], 'nodes': {'x': {'type': 'set'}}, 'edges': []}",
         "/state: must be an object, not a list", 0},
        {"{'state': {'__a': {}}, 'nodes': {}, 'edges': []}",
         "/state/__a: the name begins with \"__\", which is reserved", 0},
        {"{'state': {'a': {'type': 'queue'}}, 'nodes': {}, 'edges': []}",
         "/state/a/type: must be one of last_value, append,", 0},
        {"{'state': {'a': {'kind': 'add'}}, 'nodes': {}, 'edges': []}",
         "/state/a/kind: there is no such member; there are: type, initial, description", 0},
        {"{'state': {'a': {'type': 'add', 'initial': []}}, 'nodes': {}, 'edges': []}",
         "/state/a/initial: must be numbers, not a list", 0},
        {"{'nodes': {'x:y': {'type': 'set'}}, 'edges': []}", "/nodes/x:y: the name has ':'", 0},
        {"{'nodes': {'x': 7}, 'edges': []}", "/nodes/x: must be an object, not an integer", 0},
        {"{'nodes': {'x': {}}, 'edges': []}", "/nodes/x/type: is missing; it must be a string", 0},
};

Test(graph_document, refusals)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(refusals); i++) {
                const struct refusal *c = &refusals[i];
                aip_graph_document *document = NULL;
                aip_error *err = NULL;
                int r = document_of(c->document, &document, &err);
                cr_assert_lt(r, 0, "%s: not refused", c->document);
                assert_error(err, c->code ? c->code : AIP_EINVAL, c->message, c->document);
                cr_assert_null(document);
        }
}

/* Members of the node x, and what is refused when it is made or compiled. */
static const struct refusal node_refusals[] = {
        {"'type': 'sett'", "/nodes/x/type: must be one of set, refused, deep", 0},
        {"'type': 'refused'", "/nodes/x: no such thing", 0},
        {"'type': 'deep'", "/nodes/x/a/b: must be 7", 0},
        {"'type': 'set', 'x': 1", "/nodes/x/x: there is no such member; there are: type,", 0},
        {"'type': 'set', 'write': 1", "/nodes/x/write: must be an object", 0},
        {"'type': 'set', 'write': {'b': '1'}", "/nodes/x/write/b: there is no channel \"b\"", 0},
        {"'type': 'set', 'write': {'a': 1}", "/nodes/x/write/a: must be a string", 0},
        {"'type': 'set', 'write': {'a': '.b | foo'}", "/nodes/x/write/a: line 1, column 6", 0},
        {"'type': 'set', 'write': {'a': '$y'}", "/nodes/x/write/a: ", 0},
        {"'type': 'set', 'fails': []", "/nodes/x/fails: must be a string, not a list", 0},
        {"'type': 'set', 'timeout_ms': 5", "/nodes/x/timeout_ms: a node of type set cannot", 0},
        {"'type': 'set', 'idle_timeout_ms': 5", "/nodes/x/idle_timeout_ms: a node of type", 0},
        {"'type': 'set', 'timeout_ms': -5", "/nodes/x/timeout_ms: must be an integer from 1", 0},
        {"'type': 'set', 'defer': 1", "/nodes/x/defer: must be true or false, not an integer", 0},
        {"'type': 'set', 'cache': 1", "/nodes/x/cache: must be an object", 0},
        {"'type': 'set', 'cache': {}", "/nodes/x/cache: needs ttl_s", 0},
        {"'type': 'set', 'cache': {'ttl_s': 0}", "/nodes/x/cache/ttl_s: must be an integer from 1",
         0},
        {"'type': 'set', 'cache': {'ttl_s': 1, 'key': '. |'}", "/nodes/x/cache/key: line 1", 0},
        {"'type': 'set', 'on_error': 1", "/nodes/x/on_error: must be a string, not an integer", 0},
        {"'type': 'set', 'on_error': 'z'", "/nodes/x/on_error: there is no node \"z\"", 0},
        {"'type': 'set', 'on_error': {}", "/nodes/x/on_error/to: is missing", 0},
        {"'type': 'set', 'on_error': {'to': 'z'}", "/nodes/x/on_error/to: there is no node", 0},
        {"'type': 'set', 'on_error': {'to': 'x', 'do': 1}",
         "/nodes/x/on_error/do: there is no such member; there are: to, write", 0},
        {"'type': 'set', 'on_error': {'to': 'x', 'write': 1}",
         "/nodes/x/on_error/write: must be an object", 0},
        {"'type': 'set', 'on_error': {'to': 'x', 'write': {'b': '1'}}",
         "/nodes/x/on_error/write/b: there is no channel", 0},
        {"'type': 'set', 'on_error': {'to': 'x', 'write': {'a': '$err'}}",
         "/nodes/x/on_error/write/a: ", 0},
        {"'type': 'set', 'description': 1", "/nodes/x/description: must be a string", 0},
        {"'type': 'set', 'retry': 3", "/nodes/x/retry: must be an object, not an integer", 0},
        {"'type': 'set', 'retry': {'max': 3}", "/nodes/x/retry/max: there is no such member", 0},
        {"'type': 'set', 'retry': {'max_attempts': 0}", "/nodes/x/retry/max_attempts: must be", 0},
        {"'type': 'set', 'retry': {'initial_ms': 'a'}", "/nodes/x/retry/initial_ms: must be", 0},
        {"'type': 'set', 'retry': {'factor': 0.5}",
         "/nodes/x/retry/factor: must be a number from 1 to 100", 0},
};

static int make_and_compile(const char *text, aip_error **err)
{
        aip_graph_document *document = NULL;
        aip_graph *graph = NULL;
        int r = document_of(text, &document, err);
        if (r == 0)
                r = compile_document(document, &graph, err);
        aip_graph_document_unref(document);
        aip_graph_unref(graph);
        return r;
}

static void expect_refusals(const struct refusal *cases, size_t n, const char *before,
                            const char *after)
{
        for (size_t i = 0; i < n; i++) {
                char text[2000];
                aip_error *err = NULL;
                snprintf(text, sizeof(text), "%s%s%s", before, cases[i].document, after);
                cr_assert_lt(make_and_compile(text, &err), 0, "%s: not refused", text);
                assert_error(err, cases[i].code ? cases[i].code : AIP_EINVAL, cases[i].message,
                             text);
        }
}

Test(graph_document, refusals_of_nodes)
{
        expect_refusals(node_refusals, AIP_ARRAY_SIZE(node_refusals),
                        "{'state': {'a': {}}, 'nodes': {'x': {",
                        "}}, 'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': "
                        "'__end__'}]}");
}

/* Nodes and edges that the core refuses to compile. */
static const struct refusal path_refusals[] = {
        {"'y': {'type': 'set'}}, 'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': "
         "'__end__'}, {'from': 'y', 'to': '__end__'}",
         "/nodes/y: node \"y\" cannot be reached from __start__", 0},
        {"'a/b': {'type': 'set'}, 'c': {'type': 'set'}}, 'edges': [{'from': '__start__', 'to': ["
         "'x', 'c', 'a/b']}, {'from': 'x', 'to': '__end__'}, {'from': 'a/b', 'to': 'c'}, {'from': "
         "'c', 'to': 'a/b'}",
         "/nodes/a~1b: nodes \"a/b\", \"c\" can never get to __end__: add an edge", 0},
        {"'y': {'type': 'set'}}, 'edges': [{'from': 'x', 'to': '__end__'}",
         "/edges: no edge leads from __start__ to a node", 0},
        {"'y': {'type': 'set', 'on_error': 'x'}}, 'edges': [{'from': '__start__', 'to': 'y'}, "
         "{'from': 'x', 'to': 'y'}",
         "/nodes/x: nodes \"x\", \"y\" can never get to __end__", 0},
};

Test(graph_document, refusals_of_paths)
{
        expect_refusals(path_refusals, AIP_ARRAY_SIZE(path_refusals),
                        "{'nodes': {'x': {'type': 'set'}, ", "]}");
}

/* Edges beside those that make x and y a chain. */
static const struct refusal edge_refusals[] = {
        {"7", "/edges/3: must be an object, not an integer", 0},
        {"{}", "/edges/3: must have exactly one of to, when and send", 0},
        {"{'to': 'x'}", "/edges/3/from: is missing", 0},
        {"{'from': 'x', 'to': 'y', 'via': 1}", "/edges/3/via: there is no such member", 0},
        {"{'from': 'x', 'to': 'y', 'description': 1}", "/edges/3/description: must be", 0},
        {"{'from': 'x', 'when': [{'if': '.a', 'to': 'x', 'description': 1}]}",
         "/edges/3/when/0/description: must be a string", 0},
        {"{'from': 'x', 'to': 'z'}", "/edges/3/to: there is no node \"z\"", 0},
        {"{'from': 'z', 'to': 'x'}", "/edges/3/from: there is no node \"z\"", 0},
        {"{'from': 1, 'to': 'x'}", "/edges/3/from: must be a string, not an integer", 0},
        {"{'from': '__end__', 'to': 'x'}", "/edges/3/from: there is no node \"__end__\"", 0},
        {"{'from': 'x', 'to': '__start__'}", "/edges/3/to: there is no node \"__start__\"", 0},
        {"{'from': 'x', 'to': []}", "/edges/3/to: must name a node or \"__end__\"", 0},
        {"{'from': 'x', 'to': ['y', 'z']}", "/edges/3/to/1: there is no node \"z\"", 0},
        {"{'from': [], 'to': 'x'}", "/edges/3/from: must name a node", 0},
        {"{'from': ['x', '__start__'], 'to': 'x'}",
         "/edges/3/from/1: a join cannot begin at __start__", 0},
        {"{'from': ['x'], 'when': []}", "/edges/3/from: must be one node's name", 0},
        {"{'from': 'x', 'to': 'y', 'else': 'x'}", "/edges/3/else: stands only beside when", 0},
        {"{'from': 'x', 'to': 'y', 'when': []}", "/edges/3: must have exactly one of", 0},
        {"{'from': 'x', 'when': 1}", "/edges/3/when: must be a list, not an integer", 0},
        {"{'from': 'x', 'when': []}", "/edges/3/when: must have at least one condition", 0},
        {"{'from': 'x', 'when': [1]}", "/edges/3/when/0: must be an object", 0},
        {"{'from': 'x', 'when': [{'if': '.a'}]}", "/edges/3/when/0/to: is missing", 0},
        {"{'from': 'x', 'when': [{'to': 'x'}]}", "/edges/3/when/0/if: is missing", 0},
        {"{'from': 'x', 'when': [{'if': '.a', 'to': 'x'}, {'if': '(', 'to': 'x'}]}",
         "/edges/3/when/1/if: line 1", 0},
        {"{'from': 'x', 'when': [{'if': '$item', 'to': 'x'}]}", "/edges/3/when/0/if: ", 0},
        {"{'from': 'x', 'when': [{'if': '.a', 'to': 'x'}], 'else': 'z'}",
         "/edges/3/else: there is no node \"z\"", 0},
        {"{'from': 'x', 'when': [{'if': '.a', 'to': 'x', 'then': 1}]}",
         "/edges/3/when/0/then: there is no such member", 0},
        {"{'from': 'x', 'send': 'y'}", "/edges/3/send: must be an object", 0},
        {"{'from': 'x', 'send': {'to': 'y'}}", "/edges/3/send/items: is missing", 0},
        {"{'from': 'x', 'send': {'items': '.a'}}", "/edges/3/send/to: is missing", 0},
        {"{'from': 'x', 'send': {'items': '.a', 'to': '__end__'}}",
         "/edges/3/send/to: must be a node: nothing can be sent to __end__", 0},
        {"{'from': 'x', 'send': {'items': '.a', 'to': 'y', 'each': 1}}",
         "/edges/3/send/each: there is no such member", 0},
};

Test(graph_document, refusals_of_edges)
{
        expect_refusals(edge_refusals, AIP_ARRAY_SIZE(edge_refusals),
                        "{'state': {'a': {}}, 'nodes': {'x': {'type': 'set'}, 'y': {'type': "
                        "'set'}}, 'edges': [{'from': '__start__', 'to': 'x'}, {'from': 'x', 'to': "
                        "'y'}, {'from': 'y', 'to': '__end__'}, ",
                        "]}");
}

/* Out of memory. */

static int make_body(void *user, aip_error **err)
{
        return make_and_compile(user, err);
}

static int run_body(void *user, aip_error **err)
{
        aip_value *state = NULL;
        int r = run_document(user, "{\"words\": [\"a\", \"b\"]}", &state, err);
        aip_value_unref(state);
        return r;
}

static int fail_body(void *user, aip_error **err)
{
        aip_value *state = NULL;
        int r = run_document(user, "{\"why\": \"boo\"}", &state, err);
        aip_value_unref(state);
        return r;
}

Test(graph_document, survives_allocation_failure)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(make_body, (char *)LOOP);
        ASSERT_SURVIVES_ALLOC_FAILURE(run_body, (char *)MAP);
        ASSERT_SURVIVES_ALLOC_FAILURE(make_body, (char *)FAILING(WITH_WRITE));
        ASSERT_SURVIVES_ALLOC_FAILURE(fail_body, (char *)FAILING(WITH_WRITE));
}
