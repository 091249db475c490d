/*
 * Graphs as data, from the job that names one to its result: the node types of agents, on the whole service
 * with the simulated provider. What documents are and refuse by themselves is tested in graph_document.c.
 */
#include "graph_document_fixture.h"
#include "one_node.h"

#define LEASE_MS     3000
#define HEARTBEAT_MS 1000

static struct one_node one;
static aip_tool_registry *tools;
static int n_tool_calls;

/* The tool "add": a + b; it has no patience for thirteen. */
static int add(void *user, const aip_value *arguments, aip_value **ret_content, aip_error **err)
{
        int64_t sum = aip_value_as_int(aip_value_get_cstr(arguments, "a"), 0) +
                      aip_value_as_int(aip_value_get_cstr(arguments, "b"), 0);

        (void)user;
        n_tool_calls++;
        if (sum == 13)
                return aip_error_set(err, AIP_EINVAL, "thirteen is unlucky");
        *ret_content = aip_value_int(sum);
        return *ret_content ? 0 : aip_error_set_nomem(err);
}

#define ADD_PARAMETERS                                                                             \
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"                       \
        "\"b\":{\"type\":\"integer\"}},\"required\":[\"a\",\"b\"],\"additionalProperties\":false}"

/* The tool "hang": never answers. */
static void hang_call(void *self, struct aip_tool_call *call)
{
        (void)self, (void)call;
        n_tool_calls++;
}

static void hang_cancel(void *self, struct aip_tool_call *call)
{
        aip_error *err = NULL;

        (void)self;
        aip_error_set(&err, AIP_ECANCELLED, "cancelled");
        aip_op_finish(one.loop.port, &call->op, err);
}

static const struct aip_tool_ops hang_ops = {sizeof(hang_ops), hang_call, hang_cancel, NULL};

static void register_tools(void)
{
        struct aip_tool_options hang = {.self_size = sizeof(hang),
                                        .name = AIP_STR("hang"),
                                        .group = AIP_STR("bad"),
                                        .tool = {&hang_ops, NULL}};

        n_tool_calls = 0;
        cr_assert_eq(aip_tool_registry_new(one.loop.port, &tools, NULL), 0);
        cr_assert_eq(aip_tool_registry_add_function(tools, "add", "adds", ADD_PARAMETERS, add, NULL,
                                                    NULL, NULL),
                     0);
        cr_assert_eq(aip_tool_registry_add_function(tools, "sum", NULL, ADD_PARAMETERS, add, NULL,
                                                    NULL, NULL),
                     0);
        cr_assert_eq(aip_tool_registry_add(tools, &hang, NULL), 0);
}

static struct node_options options(uint64_t seed)
{
        return (struct node_options){.seed = seed,
                                     .has_worker = 1,
                                     .concurrency = 16,
                                     .lease_ms = LEASE_MS,
                                     .heartbeat_ms = HEARTBEAT_MS,
                                     .job_timeout_ms = 1000000,
                                     .log = &one.log,
                                     .tools = tools,
                                     .checkpoints = one.store.checkpoints};
}

static void open_world(void)
{
        struct node_options o = options(1);

        o.does_not_start = 1;
        one_node_open(&one, o);
        /* The store is there now, with its checkpoints. */
        node_begin_close(&one.node, 0);
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &one.node));
        node_free(&one.node);
        put_template(&one, "terse", "Be terse.");
        put_config(&one, "calls", "simulated,echo,call=add+sum,rounds=1", 1);
        register_tools();
        o = options(2);
        o.tools = tools;
        node_open(&one.node, one.loop.port, &one.store, &one.broker, &o);
        pass_ms(&one, 10);
}

static void close_world(void)
{
        /* The graphs, which have tools, go with the worker. */
        node_begin_close(&one.node, 0);
        cr_assert(test_loop_wait(&one.loop, 100, node_is_closed, &one.node));
        aip_tool_registry_free(tools);
        one_node_close(&one);
}

TestSuite(agent_graphs, .init = open_world, .fini = close_world, .timeout = 60);

/* ── words of the tests ──────────────────────────────────────────────────────────────────────── */

static int put_graph_of(const char *name, const char *text, aip_error **err)
{
        struct aip_graph_put put = {.op.done = count_done, .mode = AIP_PUT_UPSERT};
        aip_graph_document *document = NULL;
        char room[8192];
        int r = aip_graph_document_parse(aip_str_of(name), json_of(text, room, sizeof(room)),
                                         &document, err);

        if (r < 0)
                return r;
        put.document = document;
        aip_catalog_service_put_graph(one.node.catalog, &put);
        await(&one, &put.op);
        aip_graph_document_unref(document);
        aip_graph_document_unref((aip_graph_document *)put.ret_entry.document);
        return put.op.err ? aip_error_propagate(err, put.op.err) : 0;
}

static void put_graph(const char *text)
{
        aip_error *err = NULL;

        cr_assert_eq(put_graph_of("mine", text, &err), 0, "%s", aip_error_message(err));
}

static struct aip_job_submit job_of(const char *graph, const char *prompt, const char *input)
{
        static char room[4096];
        struct aip_job_submit request = submit_of(prompt, "fast");

        request.spec.graph_name = aip_str_of(graph);
        request.spec.max_attempts = 1;
        if (input)
                request.spec.input_json = json_of(input, room, sizeof(room));
        return request;
}

static int is_at_rest(void *id)
{
        return aip_job_status_is_at_rest(stored(&one, id)->status);
}

static const struct aip_job_fields *rest(struct aip_id *id, enum aip_job_status status)
{
        cr_assert(test_loop_wait(&one.loop, 100000, is_at_rest, id));
        expect_status(&one, id, status);
        return stored(&one, id);
}

static void expect_text(struct aip_str text, const char *expected)
{
        cr_expect(aip_str_eq(text, aip_str_of(expected)), "\n%.*s, but expected\n%s",
                  AIP_STR_ARG(text), expected);
}

static void expect_in(struct aip_str text, const char *part)
{
        char all[4096];

        snprintf(all, sizeof(all), "%.*s", AIP_STR_ARG(text));
        cr_expect_not_null(strstr(all, part), "\n%s, but expected in it\n%s", all, part);
}

static struct aip_id run_graph(const char *prompt, const char *input, enum aip_job_status status)
{
        struct aip_id id = submit(&one, job_of("mine", prompt, input));

        (void)rest(&id, status);
        return id;
}

static void expect_result(const char *prompt, const char *input, const char *expected)
{
        struct aip_id id = run_graph(prompt, input, AIP_JOB_COMPLETED);

        expect_text(stored(&one, &id)->result, expected);
}

static void expect_refused(struct aip_job_submit request, int code, const char *message)
{
        aip_job_service_submit(one.node.service, &request);
        await(&one, &request.op);
        cr_expect_eq(aip_error_code(request.op.err), code);
        cr_expect_not_null(strstr(aip_error_message(request.op.err), message), "%s",
                           aip_error_message(request.op.err));
        aip_error_free(request.op.err);
}

static void expect_bad(const char *text, const char *message)
{
        aip_error *err = NULL;

        cr_assert_eq(put_graph_of("mine", text, &err), AIP_EINVAL, "%s", text);
        cr_expect_eq(strncmp(aip_error_message(err), message, strlen(message)), 0,
                     "\n%s, but expected\n%s", aip_error_message(err), message);
        aip_error_free(err);
}

#define ONE_NODE "'edges': [{'from': '__start__', 'to': 'a'}, {'from': 'a', 'to': '__end__'}]"

/* ── transform, input, result ────────────────────────────────────────────────────────────────── */

Test(agent_graphs, transforms_compute_the_result)
{
        put_graph("{'state': {'n': {}, 'double': {}}, 'result': '.double',"
                  "'nodes': {'a': {'type': 'transform', 'write': {'double': '.n * 2'}}}," ONE_NODE
                  "}");
        expect_result("", "{'n': 21}", "42");
        expect_refused(job_of("mine", "", "{'m': 1}"), AIP_EINVAL, "input/m: ");
        expect_refused(job_of("nobodys", "p", NULL), AIP_ENOTFOUND, "graph_name: no graph");
}

Test(agent_graphs, without_a_result_the_answer_is_it_or_the_state)
{
        put_graph("{'state': {'answer': {}}, 'nodes': {'a': {'type': 'transform',"
                  "'write': {'answer': '\\'yes\\''}}}," ONE_NODE "}");
        expect_result("p", NULL, "yes");
        put_graph("{'state': {'prompt': {}, 'x': {}}, 'nodes': {'a': {'type': 'transform',"
                  "'write': {'x': '[1, .prompt]'}}}," ONE_NODE "}");
        expect_result("p", NULL, "{\"prompt\":\"p\",\"x\":[1,\"p\"]}");
}

Test(agent_graphs, lists_are_mapped_and_joined)
{
        put_graph("{'state': {'words': {}, 'long': {'type': 'append'}, 'all': {}},"
                  "'nodes': {'split': {'type': 'transform', 'write': {'all': '.words | length'}},"
                  " 'each': {'type': 'transform', 'write': {'long': '[$item + \\'!\\']'}},"
                  " 'join': {'type': 'transform', 'defer': true,"
                  "          'write': {'all': '[.all, .long]'}}},"
                  "'edges': [{'from': '__start__', 'to': 'split'},"
                  " {'from': 'split', 'send': {'items': '.words', 'to': 'each'}},"
                  " {'from': 'each', 'to': 'join'}, {'from': 'join', 'to': '__end__'}],"
                  "'result': '.all'}");
        expect_result("", "{'words': ['a', 'b', 'c']}", "[3,[\"a!\",\"b!\",\"c!\"]]");
}

/* ── llm ─────────────────────────────────────────────────────────────────────────────────────── */

Test(agent_graphs, a_bare_llm_node_is_told_the_prompt_by_the_jobs_template)
{
        put_graph("{'state': {'prompt': {}, 'answer': {}},"
                  "'nodes': {'a': {'type': 'llm', 'write': {'answer': '$answer'}}}," ONE_NODE "}");
        struct aip_job_submit request = job_of("mine", "Why?", NULL);
        request.spec.template_name = AIP_STR("terse");
        struct aip_id id = submit(&one, request);
        const struct aip_job_fields *f = rest(&id, AIP_JOB_COMPLETED);
        expect_in(f->result, "Be terse.");
        expect_in(f->result, "Why?");
        expect_text(f->provider, "simulated");
        expect_text(f->model_name, "simulated,echo");
        cr_expect_gt(f->input_tokens, 0);
        cr_expect_gt(f->output_tokens, 0);
}

Test(agent_graphs, nodes_have_configurations_and_prompts_of_their_own)
{
        put_graph("{'state': {'prompt': {}, 'draft': {}, 'answer': {}, 'input_tokens': {'type': "
                  "'add'}},"
                  "'nodes': {'a': {'type': 'llm', 'config': ['missing', 'off', 'fast'],"
                  "                'system': '\\'Draft.\\'', 'prompt': '.prompt',"
                  "                'write': {'draft': '$answer'}},"
                  " 'b': {'type': 'llm', 'config': 'slow', 'template': 'terse',"
                  "       'prompt': '\\'Mend: \\' + .draft',"
                  "       'write': {'answer': '{$answer, $finish_reason} | tojson'}}},"
                  "'edges': [{'from': '__start__', 'to': 'a'}, {'from': 'a', 'to': 'b'},"
                  " {'from': 'b', 'to': '__end__'}]}");
        struct aip_id id = run_graph("Why?", NULL, AIP_JOB_COMPLETED);
        const struct aip_job_fields *f = stored(&one, &id);
        expect_in(f->result, "Draft.");
        expect_in(f->result, "Be terse.");
        expect_in(f->result, "Mend: [simulated]");
        expect_in(f->result, "\"finish_reason\":\"stop\"");
        expect_text(f->model_name, "simulated,echo,latency=1000");
        cr_expect_gt(f->input_tokens, 0);
}

Test(agent_graphs, a_conversation_goes_on_in_its_channel)
{
        put_graph("{'state': {'prompt': {}, 'messages': {'type': 'messages'}},"
                  "'nodes': {'a': {'type': 'llm', 'messages': 'messages', 'prompt': '.prompt'},"
                  " 'b': {'type': 'llm', 'messages': 'messages', 'prompt': '\\'And then?\\''}},"
                  "'edges': [{'from': '__start__', 'to': 'a'}, {'from': 'a', 'to': 'b'},"
                  " {'from': 'b', 'to': '__end__'}],"
                  "'result': '[.messages[] | .role] + [.messages[2].content]'}");
        expect_result("Why?", NULL,
                      "[\"user\",\"assistant\",\"user\",\"assistant\",\"And then?\"]");
}

Test(agent_graphs, structured_answers_steer_the_way)
{
        put_graph(
                "{'state': {'prompt': {}, 'grade': {}, 'answer': {}},"
                "'nodes': {'grade': {'type': 'llm', 'prompt': '.prompt',"
                "  'output_schema': {'type': 'object', 'required': ['score'],"
                "                    'properties': {'score': {'type': 'integer', 'minimum': 7}}},"
                "  'write': {'grade': '$value.score'}},"
                " 'good': {'type': 'transform', 'write': {'answer': '\\'good\\''}},"
                " 'bad': {'type': 'transform', 'write': {'answer': '\\'bad\\''}}},"
                "'edges': [{'from': '__start__', 'to': 'grade'},"
                " {'from': 'grade', 'when': [{'if': '.grade >= 7', 'to': 'good'}], 'else': 'bad'},"
                " {'from': ['good'], 'to': '__end__'}, {'from': 'bad', 'to': '__end__'}]}");
        expect_result("p", NULL, "good");
}

Test(agent_graphs, a_model_says_where_to_go)
{
        put_graph("{'state': {'prompt': {}, 'answer': {}},"
                  "'nodes': {'where': {'type': 'router', 'prompt': '.prompt',"
                  "  'choices': {'invoices': 'about money', 'cables': 'about wires'}},"
                  " 'invoices': {'type': 'transform', 'write': {'answer': '\\'paid\\''}},"
                  " 'cables': {'type': 'transform', 'write': {'answer': '\\'plugged\\''}}},"
                  "'edges': [{'from': '__start__', 'to': 'where'},"
                  " {'from': 'invoices', 'to': '__end__'}, {'from': 'cables', 'to': '__end__'}]}");
        expect_result("Where is my money?", NULL, "paid");
        expect_bad("{'state': {'x': {}}, 'nodes': {'a': {'type': 'router'}}, " ONE_NODE "}",
                   "/nodes/a/choices: must be an object");
        expect_bad("{'state': {'x': {}}, 'nodes': {'a': {'type': 'router', 'choices': {'b': "
                   "7}}}, " ONE_NODE "}",
                   "/nodes/a/choices: must be an object");
        expect_bad("{'state': {'x': {}}, 'nodes': {'a': {'type': 'router', 'choices': {'gone': "
                   "'x'}}}, " ONE_NODE "}",
                   "/edges: node \"a\" leads to \"gone\"");
}

Test(agent_graphs, an_llm_node_that_cannot_ask_fails_the_job_and_says_why)
{
        put_graph("{'state': {'answer': {}}, 'nodes': {'a': {'type': 'llm', 'config': 'gone',"
                  "'prompt': '\\'x\\'', 'write': {'answer': '$answer'}}}," ONE_NODE "}");
        struct aip_id id = run_graph("p", NULL, AIP_JOB_FAILED);
        expect_text(stored(&one, &id)->error_code, "caller_config_not_found");
        expect_in(stored(&one, &id)->error_message, "node \"a\": no active configuration \"gone\"");
        put_graph("{'state': {'m': {'type': 'append'}}, 'nodes': {'a': {'type': 'llm',"
                  "'messages': 'm'}}," ONE_NODE "}");
        id = run_graph("p", NULL, AIP_JOB_FAILED);
        expect_in(stored(&one, &id)->error_message, "nothing to ask");
        id = run_graph("p", "{'m': [{'role': 'wizard', 'content': 'x'}]}", AIP_JOB_FAILED);
        expect_in(stored(&one, &id)->error_message, "message 0 of the conversation: role");
}

/* ── fail, wait, human ───────────────────────────────────────────────────────────────────────── */

Test(agent_graphs, a_graph_fails_with_its_own_words)
{
        put_graph("{'state': {'prompt': {}}, 'nodes': {'a': {'type': 'fail',"
                  "'message': '\\'no \\' + .prompt', 'code': 'not_today'}}," ONE_NODE "}");
        struct aip_id id = run_graph("cats", NULL, AIP_JOB_FAILED);
        expect_text(stored(&one, &id)->error_code, "not_today");
        expect_in(stored(&one, &id)->error_message, "no cats");
}

Test(agent_graphs, a_graph_waits)
{
        put_graph("{'state': {'s': {}}, 'nodes': {'a': {'type': 'wait', 'seconds': '.s'}}," ONE_NODE
                  "}");
        int64_t from = now_ms(&one);
        (void)run_graph("", "{'s': 30}", AIP_JOB_COMPLETED);
        cr_expect_geq(now_ms(&one) - from, 30000);
        cr_expect_lt(now_ms(&one) - from, 40000);
        struct aip_id id = run_graph("", "{'s': -1}", AIP_JOB_FAILED);
        expect_in(stored(&one, &id)->error_message, "seconds must be");
        id = submit(&one, job_of("mine", "", "{'s': 3000}"));
        pass_ms(&one, 1000);
        cancel(&one, &id);
        pass_ms(&one, 1000 + HEARTBEAT_MS);
        cr_expect_eq(aip_processing_service_running(one.node.worker), 0u, "it still waits");
}

static int resume(const struct aip_id *id, const char *value, aip_error **err)
{
        struct aip_job_resume r = {.op.done = count_done, .id = *id};
        aip_value *parsed = NULL;

        cr_assert_eq(aip_value_parse(aip_str_of(value), &parsed, NULL), 0);
        r.value = parsed;
        aip_job_service_resume(one.node.service, &r);
        await(&one, &r.op);
        aip_value_unref(parsed);
        return r.op.err ? aip_error_propagate(err, r.op.err) : 0;
}

Test(agent_graphs, a_person_is_asked_and_the_answer_is_checked)
{
        aip_error *err = NULL;

        put_graph("{'state': {'prompt': {}, 'is_good': {}},"
                  "'nodes': {'a': {'type': 'human', 'question': '\\'Is this good: \\' + .prompt',"
                  "                'schema': {'type': 'boolean'}, 'write': {'is_good': "
                  "'$answer'}}}," ONE_NODE ", 'result': '.is_good'}");
        struct aip_id id = run_graph("cake", NULL, AIP_JOB_INTERRUPTED);
        expect_in(stored(&one, &id)->questions_json, "\"value\":{\"question\":\"Is this good: "
                                                     "cake\",\"schema\":{\"type\":\"boolean\"}}");
        cr_expect_eq(resume(&id, "\"perhaps\"", &err), AIP_EINVAL);
        cr_expect_not_null(strstr(aip_error_message(err), "value: must be"), "%s",
                           aip_error_message(err));
        aip_error_free(err);
        expect_status(&one, &id, AIP_JOB_INTERRUPTED);
        cr_expect_eq(resume(&id, "true", NULL), 0);
        expect_text(rest(&id, AIP_JOB_COMPLETED)->result, "true");
}

Test(agent_graphs, a_graph_halts_where_its_document_says)
{
        put_graph("{'state': {'l': {'type': 'append'}}, 'interrupt_before': ['b'],"
                  "'interrupt_after': ['c'],"
                  "'nodes': {'a': {'type': 'transform', 'write': {'l': '1'}},"
                  " 'b': {'type': 'transform', 'write': {'l': '2'}},"
                  " 'c': {'type': 'transform', 'write': {'l': '3'}}},"
                  "'edges': [{'from': '__start__', 'to': 'a'}, {'from': 'a', 'to': 'b'},"
                  " {'from': 'b', 'to': 'c'}, {'from': 'c', 'to': '__end__'}], 'result': '.l'}");
        struct aip_id id = run_graph("p", NULL, AIP_JOB_INTERRUPTED);
        expect_in(stored(&one, &id)->questions_json, "\"interrupt\":\"before\",\"nodes\":[\"b\"]");
        cr_expect_eq(resume(&id, "null", NULL), 0);
        expect_in(rest(&id, AIP_JOB_INTERRUPTED)->questions_json,
                  "\"interrupt\":\"after\",\"nodes\":[\"c\"]");
        cr_expect_eq(resume(&id, "null", NULL), 0);
        expect_text(rest(&id, AIP_JOB_COMPLETED)->result, "[1,2,3]");
}

static void put_named(const char *name, const char *text)
{
        aip_error *err = NULL;

        cr_assert_eq(put_graph_of(name, text, &err), 0, "%s", aip_error_message(err));
}

Test(agent_graphs, a_graph_runs_another_which_asks)
{
        put_graph("{'state': {'n': {}, 'x': {}}, 'nodes': {'a': {'type': 'subgraph', 'graph': 'asks',"
                  "'input': '{n: .n + 1}', 'write': {'x': '[$result.n, $result.said]'}}}," ONE_NODE
                  ", 'result': '.x'}");
        struct aip_id id = run_graph("p", "{'n': 4}", AIP_JOB_FAILED);
        expect_text(stored(&one, &id)->error_code, "caller_graph_not_found");
        put_named("asks", "{'state': {'n': {}, 'said': {}}, 'nodes': {'a': {'type': 'human',"
                          "'question': '.n', 'write': {'said': '$answer'}}}," ONE_NODE "}");
        id = run_graph("p", "{'n': 4}", AIP_JOB_INTERRUPTED);
        expect_in(stored(&one, &id)->questions_json,
                  "{\"id\":\"a:1:a|1:a:0\",\"node\":\"a\",\"value\":5}");
        cr_expect_eq(resume(&id, "\"yes\"", NULL), 0);
        expect_text(rest(&id, AIP_JOB_COMPLETED)->result, "[5,\"yes\"]");
}

Test(agent_graphs, a_graph_that_runs_itself_comes_to_an_end)
{
        put_graph("{'state': {'prompt': {}}, 'nodes': {'a': {'type': 'subgraph', 'graph': 'mine',"
                  "'input': '.prompt'}}," ONE_NODE "}");
        struct aip_id id = run_graph("p", NULL, AIP_JOB_FAILED);
        expect_in(stored(&one, &id)->error_message, "nested deeper than 8 levels");
}

/* ── the catalog ─────────────────────────────────────────────────────────────────────────────── */

Test(agent_graphs, a_job_runs_wholly_on_the_graph_it_began_with)
{
        static const char text[] =
                "{'state': {'n': {'type': 'add'}}, 'nodes': {'a': {'type': 'wait', 'seconds': 5},"
                "'b': {'type': 'transform', 'write': {'n': '%d'}}},"
                "'edges': [{'from': '__start__', 'to': 'a'}, {'from': 'a', 'to': 'b'},"
                "{'from': 'b', 'to': '__end__'}], 'result': '.n'}";
        char changed[500];

        snprintf(changed, sizeof(changed), text, 1);
        put_graph(changed);
        struct aip_id first = submit(&one, job_of("mine", "p", NULL));
        pass_ms(&one, 1000);
        snprintf(changed, sizeof(changed), text, 2);
        put_graph(changed);
        struct aip_id second = submit(&one, job_of("mine", "p", NULL));
        expect_text(rest(&first, AIP_JOB_COMPLETED)->result, "1");
        expect_text(rest(&second, AIP_JOB_COMPLETED)->result, "2");
}

Test(agent_graphs, the_assistant_can_be_replaced)
{
        aip_error *err = NULL;

        expect_refused(job_of("assistant", "p", "{'prompt': 'x'}"), AIP_EINVAL, "prompt alone");
        cr_assert_eq(
                put_graph_of("assistant",
                             "{'state': {'prompt': {}, 'answer': {}}, 'nodes': {'a': {'type':"
                             "'transform', 'write': {'answer': '\\'my \\' + .prompt'}}}," ONE_NODE
                             "}",
                             &err),
                0);
        struct aip_id id = submit(&one, job_of("assistant", "own", NULL));
        expect_text(rest(&id, AIP_JOB_COMPLETED)->result, "my own");
}

Test(agent_graphs, what_cannot_run_is_not_stored)
{
        static const struct {
                const char *node, *message;
        } cases[] = {
                {"{'type': 'magic'}", "/nodes/a/type: must be one of fail, http, human, llm"},
                {"{'type': 'transform'}", "/nodes/a/write: is missing"},
                {"{'type': 'transform', 'write': {'y': '1'}}",
                 "/nodes/a/write/y: there is no channel"},
                {"{'type': 'transform', 'write': {'x': '1 +'}}", "/nodes/a/write/x: "},
                {"{'type': 'transform', 'write': {'x': '1'}, 'wride': 1}", "/nodes/a/wride: "},
                {"{'type': 'llm'}", "/nodes/a: nothing is done with the answer"},
                {"{'type': 'llm', 'config': 7, 'write': {'x': '1'}}",
                 "/nodes/a/config: must be a name"},
                {"{'type': 'llm', 'template': ['t', 7], 'write': {'x': '1'}}",
                 "/nodes/a/template: must be a name"},
                {"{'type': 'llm', 'messages': 'y'}", "/nodes/a/messages: there is no channel"},
                {"{'type': 'llm', 'messages': 'x'}", "/nodes/a/messages: the channel must be"},
                {"{'type': 'llm', 'write': {'x': '1'}, 'output_schema': {'type': 'wizard'}}",
                 "/nodes/a/output_schema: "},
                {"{'type': 'subgraph'}", "/nodes/a/graph: is missing"},
                {"{'type': 'subgraph', 'graph': 7}", "/nodes/a/graph: must be a string"},
                {"{'type': 'fail'}", "/nodes/a/message: is missing"},
                {"{'type': 'fail', 'message': '1', 'code': 'No!'}", "/nodes/a/code: "},
                {"{'type': 'wait'}", "/nodes/a/seconds: must be a number"},
                {"{'type': 'wait', 'seconds': 100000}", "/nodes/a/seconds: must be a number"},
                {"{'type': 'human'}", "/nodes/a/question: is missing"},
                {"{'type': 'human', 'question': '1', 'schema': 7}", "/nodes/a/schema: "},
        };
        char text[1000];

        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                snprintf(text, sizeof(text),
                         "{'state': {'x': {}}, 'nodes': {'a': %s}, " ONE_NODE "}", cases[i].node);
                expect_bad(text, cases[i].message);
        }
}

Test(agent_graphs, all_graphs_that_ship_can_run)
{
        const aip_catalog *catalog = aip_catalog_service_current(one.node.catalog);
        const struct aip_graph_entry *entries;
        size_t n = aip_catalog_graphs(catalog, &entries);

        cr_assert_gt(n, 0u);
        for (size_t i = 0; i < n; i++) {
                aip_error *err = NULL;
                cr_expect_eq(aip_catalog_service_check_graph(one.node.catalog, entries[i].document,
                                                             &err),
                             0, "%.*s: %s",
                             AIP_STR_ARG(aip_graph_document_name(entries[i].document)),
                             aip_error_message(err));
                aip_error_free(err);
        }
}

/* ── tools ───────────────────────────────────────────────────────────────────────────────────── */

#define REACT(tools)                                                                               \
        "{'state': {'prompt': {}, 'messages': {'type': 'messages'}},"                              \
        "'nodes': {'agent': {'type': 'llm', 'messages': 'messages', 'config': 'calls',"            \
        "  'prompt': 'if (.messages | length) == 0 then .prompt else null end', 'tools': " tools   \
        "},"                                                                                       \
        " 'tools': {'type': 'tools', 'messages': 'messages', 'tools': " tools "}},"                \
        "'edges': [{'from': '__start__', 'to': 'agent'},"                                          \
        " {'from': 'agent', 'when': [{'if': '.messages[-1].tool_calls', 'to': 'tools'}],"          \
        "  'else': '__end__'}, {'from': 'tools', 'to': 'agent'}],"                                 \
        "'result': '[.messages[] | select(.role == \\'tool\\') | {content, name, is_error}]'}"

Test(agent_graphs, a_model_calls_tools_until_it_is_done)
{
        put_graph(REACT("['add', 'sum']"));
        expect_result("{\"a\":3,\"b\":4}", NULL,
                      "[{\"content\":\"7\",\"name\":\"add\",\"is_error\":null},"
                      "{\"content\":\"7\",\"name\":\"sum\",\"is_error\":null}]");
        cr_expect_eq(n_tool_calls, 2);
}

Test(agent_graphs, what_tools_fail_with_is_told_to_the_model)
{
        put_graph(REACT("['add', 'sum']"));
        struct aip_id id = run_graph("{\"a\":6,\"b\":7}", NULL, AIP_JOB_COMPLETED);
        expect_in(stored(&one, &id)->result,
                  "thirteen is unlucky\",\"name\":\"add\",\"is_error\":true");
        id = run_graph("{\"a\":6,\"b\":\"x\"}", NULL, AIP_JOB_COMPLETED);
        expect_in(stored(&one, &id)->result, "arguments/b: must be");
        cr_expect_eq(n_tool_calls, 2, "called with wrong arguments");
}

Test(agent_graphs, tools_that_are_not_there_fail_the_job)
{
        put_graph(REACT("['subtract']"));
        struct aip_id id = run_graph("p", NULL, AIP_JOB_FAILED);
        expect_text(stored(&one, &id)->error_code, "caller_tool_not_found");
        expect_in(stored(&one, &id)->error_message, "there is no tool \"subtract\" here");
        expect_bad("{'state': {'m': {'type': 'messages'}}, 'tools': {'t': {'type': 'magic'}},"
                   "'nodes': {'a': {'type': 'tools', 'messages': 'm'}}," ONE_NODE "}",
                   "/tools/t/type: there are no tools of type \"magic\"");
        expect_bad("{'state': {'x': {}}, 'nodes': {'a': {'type': 'llm', 'tools': 'add',"
                   "'write': {'x': '1'}}}," ONE_NODE "}",
                   "/nodes/a/tools: must be a list");
        expect_bad("{'state': {'x': {}}, 'nodes': {'a': {'type': 'llm', 'tool_choice': 'none',"
                   "'write': {'x': '1'}}}," ONE_NODE "}",
                   "/nodes/a/tool_choice: there are no");
        expect_bad("{'state': {'x': {}}, 'nodes': {'a': {'type': 'tool'}}," ONE_NODE "}",
                   "/nodes/a/tool: is missing");
        expect_bad("{'state': {'x': {}}, 'nodes': {'a': {'type': 'tools'}}," ONE_NODE "}",
                   "/nodes/a/messages: is missing");
}

Test(agent_graphs, a_graph_calls_one_tool)
{
        put_graph("{'state': {'n': {}, 'sum': {}}, 'nodes': {'a': {'type': 'tool', 'tool': 'add',"
                  "'arguments': '{a: .n, b: 2}', 'write': {'sum': '$result * 10'}}}," ONE_NODE
                  ", 'result': '.sum'}");
        expect_result("", "{'n': 1}", "30");
        struct aip_id id = run_graph("", "{'n': 11}", AIP_JOB_FAILED);
        expect_in(stored(&one, &id)->error_message, "thirteen is unlucky");
        id = run_graph("", "{'n': 'x'}", AIP_JOB_FAILED);
        expect_in(stored(&one, &id)->error_message, "arguments/a: must be");
}

Test(agent_graphs, a_tool_that_hangs_can_be_cancelled)
{
        put_graph("{'state': {'x': {}}, 'nodes': {'a': {'type': 'tool', 'tool': 'hang',"
                  "'write': {'x': '1'}}}," ONE_NODE "}");
        struct aip_id id = submit(&one, job_of("mine", "p", NULL));
        pass_ms(&one, 1000);
        cr_expect_eq(n_tool_calls, 1);
        cancel(&one, &id);
        pass_ms(&one, 1000 + HEARTBEAT_MS);
        cr_expect_eq(aip_processing_service_running(one.node.worker), 0u, "it still waits");
}

Test(agent_graphs, tools_have_groups)
{
        aip_tool_set *set = NULL;
        const aip_value *list = NULL;
        aip_value *names = NULL;

        cr_assert_eq(aip_value_parse(AIP_STR("[\"bad:*\"]"), &names, NULL), 0);
        cr_assert_eq(aip_tool_set_new(tools, names, NULL, &set, NULL), 0);
        cr_assert_eq(aip_tool_set_describe(set, &list, NULL), 0);
        assert_value(aip_value_ref(list),
                     "[{\"name\":\"hang\",\"parameters\":{\"type\":\"object\"}}]", "one");
        aip_tool_registry_remove_group(tools, AIP_STR("bad"));
        cr_assert_eq(aip_tool_set_describe(set, &list, NULL), 0);
        assert_value(aip_value_ref(list), "[]", "gone");
        aip_tool_set_free(set);
        aip_value_unref(names);
}

/* ── each of them ────────────────────────────────────────────────────────────────────────────── */

static const struct aip_job_fields *run_shipped(const char *graph, const char *prompt,
                                                const char *input, struct aip_id *ret_id,
                                                enum aip_job_status status)
{
        *ret_id = submit(&one, job_of(graph, prompt, input));
        return rest(ret_id, status);
}

Test(agent_graphs, approve_drafts_until_a_person_is_content)
{
        struct aip_id id;
        const struct aip_job_fields *f =
                run_shipped("approve", "An ode", NULL, &id, AIP_JOB_INTERRUPTED);

        expect_in(f->questions_json, "An ode");
        cr_expect_eq(resume(&id, "{\"remarks\":\"longer\"}", NULL), AIP_EINVAL);
        cr_expect_eq(resume(&id, "{\"approved\":false,\"remarks\":\"longer\"}", NULL), 0);
        f = rest(&id, AIP_JOB_INTERRUPTED);
        expect_in(f->questions_json, "sent it back: longer");
        cr_expect_eq(resume(&id, "{\"approved\":true}", NULL), 0);
        f = rest(&id, AIP_JOB_COMPLETED);
        expect_in(f->result, "sent it back: longer");
        cr_expect_eq(f->attempt, 1);
}

Test(agent_graphs, moderated_assistant_answers_what_passes)
{
        struct aip_id id;
        const struct aip_job_fields *f =
                run_shipped("moderated-assistant", "Why?", NULL, &id, AIP_JOB_COMPLETED);

        expect_in(f->result, "Why?");
        cr_expect_gt(f->input_tokens, 0);
}

Test(agent_graphs, map_reduce_summary_makes_one_of_many)
{
        char texts[2000] = "{'texts': [";
        struct aip_id id;

        for (int i = 0; i < 23; i++)
                snprintf(texts + strlen(texts), sizeof(texts) - strlen(texts), "%s'text %d'",
                         i ? "," : "", i);
        strcat(texts, "]}");
        const struct aip_job_fields *f =
                run_shipped("map-reduce-summary", "", texts, &id, AIP_JOB_COMPLETED);
        expect_in(f->result, "text 0");
        expect_in(f->result, "text 9\n\n");
        expect_in(f->result, "text 22");
        expect_refused(job_of("map-reduce-summary", "p", NULL), AIP_EINVAL, "input");
}

Test(agent_graphs, plan_and_execute_comes_to_an_answer)
{
        struct aip_id id;
        const struct aip_job_fields *f =
                run_shipped("plan-and-execute", "Find out", NULL, &id, AIP_JOB_COMPLETED);

        cr_expect_gt(f->result.n, 0u);
        cr_expect_gt(f->output_tokens, 0);
}

Test(agent_graphs, react_agent_uses_its_tools_and_answers)
{
        struct aip_job_submit request = job_of("react-agent", "{\"a\":3,\"b\":4}", NULL);

        aip_tool_registry_remove_group(tools, AIP_STR("bad"));
        request.spec.config_name = AIP_STR("calls");
        struct aip_id id = submit(&one, request);
        expect_in(rest(&id, AIP_JOB_COMPLETED)->result, "[simulated] ");
        cr_expect_eq(n_tool_calls, 2, "%d", n_tool_calls);
}
