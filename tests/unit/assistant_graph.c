/* The assistant graph with a scripted model: what it sends, what it writes, how it fails, cancels.
 */
#include "agent/assistant_graph.h"
#include "alloc_fail.h"
#include "graph_fixture.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/graph_run.h>
#include <aiplat/loops.h>

/* A model that answers what the table says, after a while. */
struct script {
        const char *content; /* NULL: fail */
        const char *model_name;
        const char *provider;
        enum aip_llm_finish_reason finish_reason;
        int64_t input_tokens, output_tokens;
};

struct model {
        struct aip_loop loop;
        const struct script *script;
        struct aip_llm_call *call;
        struct aip_timer timer;
        int n_calls, n_cancels;
        char sent[200];
        int64_t deadline_ms;
        const struct aip_id *job_id;
        const char *trace_id;
};

static void model_end(struct model *model, aip_error *err)
{
        struct aip_llm_call *call = AIP_TAKE(model->call);
        aip_timer_clear(model->loop, &model->timer);
        aip_op_finish(model->loop, &call->op, err);
}

static int fill_answer(struct aip_llm_answer *answer, const struct script *script, aip_error **err)
{
        char *content = aip_strdup(script->content);
        char *model_name = script->model_name ? aip_strdup(script->model_name) : NULL;
        if (!content || (script->model_name && !model_name)) {
                aip_free(content);
                aip_free(model_name);
                return aip_error_set_nomem(err);
        }
        *answer = (struct aip_llm_answer){
                .content = content,
                .content_bytes = strlen(content),
                .model_name = model_name,
                .provider = script->provider,
                .finish_reason = script->finish_reason,
                .input_tokens = script->input_tokens,
                .output_tokens = script->output_tokens,
        };
        return 0;
}

static void model_answer(struct aip_timer *timer)
{
        struct model *model = AIP_CONTAINER_OF(timer, struct model, timer);
        aip_error *err = NULL;
        if (model->script->content) {
                fill_answer(&model->call->ret_answer, model->script, &err);
        } else {
                aip_error_set(&err, AIP_EUPSTREAM, "rate limited");
                aip_error_set_kind(err, AIP_LLM_PROVIDER_RATE_LIMITED);
                aip_error_set_retryable(err, 1, 2000);
        }
        model_end(model, err);
}

static void model_complete(void *self, struct aip_llm_call *call)
{
        struct model *model = self;
        model->call = call;
        model->n_calls++;
        model->deadline_ms = call->op.deadline_ms;
        model->job_id = call->job_id;
        model->trace_id = call->trace_id;
        size_t at = 0;
        for (size_t i = 0; i < call->n_messages; i++)
                at += (size_t)snprintf(model->sent + at, sizeof(model->sent) - at, "%s: %.*s\n",
                                       call->messages[i].role == AIP_LLM_SYSTEM ? "system" : "user",
                                       AIP_STR_ARG(call->messages[i].content));
        model->timer.fire = model_answer;
        aip_timer_set(model->loop, &model->timer, 100);
}

static void model_cancel(void *self, struct aip_llm_call *call)
{
        struct model *model = self;
        aip_error *err = NULL;
        model->n_cancels++;
        if (model->call != call)
                return;
        aip_error_set(&err, AIP_ECANCELLED, "cancelled");
        model_end(model, err);
}

static void model_free(void *self)
{
        (void)self;
}

static const struct aip_llm_ops model_ops = {
        .self_size = sizeof(model_ops),
        .name = "scripted",
        .complete = model_complete,
        .cancel = model_cancel,
        .free = model_free,
};

/* One job with everything around it. */
struct job {
        aip_sim_loop *sim;
        struct model model;
        aip_llm_config *config;
        aip_prompt_template *prompt_template;
        aip_value *input, *variables;
        struct aip_id id;
        struct aip_agent_context context;
        struct aip_graph_run run;
        int n_done;
};

static void job_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct job, run.op)->n_done++;
}

static void job_init(struct job *job, const struct script *script)
{
        struct aip_llm_config_fields config = AIP_LLM_CONFIG_FIELDS_INIT;
        struct aip_prompt_template_fields text = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        memset(job, 0, sizeof(*job));
        config.name = AIP_STR("c");
        config.provider = AIP_STR("scripted");
        config.model_name = AIP_STR("model-1");
        text.name = AIP_STR("t");
        text.content = AIP_STR("You are {{role}}.");
        text.user_content = AIP_STR("Say: {{prompt}}");
        cr_assert_eq(aip_llm_config_new(&config, &job->config, NULL), 0);
        cr_assert_eq(aip_prompt_template_new(&text, &job->prompt_template, NULL), 0);
        cr_assert_eq(aip_sim_loop_new(0, &job->sim, NULL), 0);
        job->model.loop = aip_sim_loop_port(job->sim);
        job->model.script = script;
        job->input = value_of("{\"prompt\":\"hello\"}");
        job->variables = value_of("{\"role\":\"a poet\"}");
        job->context = (struct aip_agent_context){
                .llm = {&model_ops, &job->model},
                .config = job->config,
                .prompt_template = job->prompt_template,
                .variables = job->variables,
                .job_id = &job->id,
                .trace_id = "0123456789abcdef0123456789abcdef",
        };
}

static void job_deinit(struct job *job)
{
        aip_value_unref(job->run.ret_state);
        aip_error_free(job->run.op.err);
        aip_value_unref(job->input);
        aip_value_unref(job->variables);
        aip_llm_config_unref(job->config);
        aip_prompt_template_unref(job->prompt_template);
        aip_sim_loop_free(job->sim);
}

static void job_start(struct job *job, const aip_graph *graph)
{
        struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
        job->run = run;
        job->run.op.done = job_done;
        job->run.graph = graph;
        job->run.input = job->input;
        job->run.context = &job->context;
        job->n_done = 0;
        aip_graph_run_start(job->model.loop, &job->run);
}

static void job_run(struct job *job)
{
        aip_graph *graph = NULL;
        cr_assert_eq(aip_assistant_graph_new(&graph, NULL), 0);
        job_start(job, graph);
        while (aip_sim_loop_step(job->sim))
                ;
        cr_assert_eq(job->n_done, 1);
        aip_graph_unref(graph);
}

static const struct script good = {
        "Hello, I say", "model-1-2026", "scripted", AIP_LLM_FINISH_STOP, 12, 3};

Test(assistant_graph, asks_the_model_and_writes_its_answer)
{
        struct job job;
        job_init(&job, &good);
        job_run(&job);
        cr_assert_null(job.run.op.err, "%s", aip_error_message(job.run.op.err));
        cr_assert_str_eq(job.model.sent, "system: You are a poet.\nuser: Say: hello\n");
        cr_assert_eq(job.model.job_id, &job.id);
        cr_assert_str_eq(job.model.trace_id, "0123456789abcdef0123456789abcdef");
        cr_assert_eq(job.run.ret_steps, 1);
        assert_value(AIP_TAKE(job.run.ret_state),
                     "{\"prompt\":\"hello\",\"messages\":[{\"role\":\"user\",\"content\":"
                     "\"Say: hello\"},{\"role\":\"assistant\",\"content\":\"Hello, I say\"}],"
                     "\"answer\":\"Hello, I say\",\"input_tokens\":12,\"output_tokens\":3,"
                     "\"provider\":\"scripted\",\"model_name\":\"model-1-2026\","
                     "\"finish_reason\":\"stop\"}",
                     "state");
        job_deinit(&job);
}

Test(assistant_graph, fills_in_what_the_provider_does_not_tell)
{
        static const struct script terse = {"yes", NULL, NULL, AIP_LLM_FINISH_LENGTH, -1, -1};
        struct job job;
        job_init(&job, &terse);
        job_run(&job);
        const aip_value *state = job.run.ret_state;
        cr_assert_eq(aip_value_as_int(aip_value_get_cstr(state, "input_tokens"), -7), 0);
        cr_assert_eq(aip_value_as_int(aip_value_get_cstr(state, "output_tokens"), -7), 0);
        assert_value(aip_value_ref(aip_value_get_cstr(state, "provider")), "\"scripted\"", "p");
        assert_value(aip_value_ref(aip_value_get_cstr(state, "model_name")), "\"model-1\"", "m");
        assert_value(aip_value_ref(aip_value_get_cstr(state, "finish_reason")), "\"length\"", "f");
        job_deinit(&job);
}

static const struct {
        struct script script;
        const char *input, *variables;
        int code;
        const char *kind;
        int is_retryable;
        const char *message;
        int n_calls;
} failures[] = {
        {{"no", NULL, NULL, AIP_LLM_FINISH_CONTENT_FILTER, 1, 1},
         NULL,
         NULL,
         AIP_EUPSTREAM,
         AIP_LLM_POLICY_REFUSED,
         0,
         "node \"agent\": the provider's content filter",
         1},
        {{"", NULL, NULL, AIP_LLM_FINISH_STOP, 1, 0},
         NULL,
         NULL,
         AIP_EUPSTREAM,
         AIP_LLM_PROVIDER_BAD_ANSWER,
         1,
         "node \"agent\": the provider answered without any text",
         1},
        {{NULL, NULL, NULL, AIP_LLM_FINISH_STOP, 0, 0},
         NULL,
         NULL,
         AIP_EUPSTREAM,
         AIP_LLM_PROVIDER_RATE_LIMITED,
         1,
         "node \"agent\": rate limited",
         1},
        {{"x", NULL, NULL, AIP_LLM_FINISH_STOP, 0, 0},
         NULL,
         "{}",
         AIP_EINVAL,
         "invalid",
         0,
         "role",
         0},
        {{"x", NULL, NULL, AIP_LLM_FINISH_STOP, 0, 0},
         "{}",
         NULL,
         AIP_EINVAL,
         "invalid",
         0,
         "prompt must be a string, not of type null",
         0},
        {{"x", NULL, NULL, AIP_LLM_FINISH_STOP, 0, 0},
         "{\"prompt\":3}",
         NULL,
         AIP_EINVAL,
         "invalid",
         0,
         "prompt must be a string, not of type integer",
         0},
};

Test(assistant_graph, fails_with_whose_fault_it_is)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(failures); i++) {
                char what[32];
                struct job job;
                snprintf(what, sizeof(what), "row %zu", i);
                job_init(&job, &failures[i].script);
                if (failures[i].input) {
                        aip_value_unref(job.input);
                        job.input = value_of(failures[i].input);
                }
                if (failures[i].variables) {
                        aip_value_unref(job.variables);
                        job.context.variables = job.variables = value_of(failures[i].variables);
                }
                job_run(&job);
                cr_assert_str_eq(aip_error_kind(job.run.op.err), failures[i].kind, "%s", what);
                cr_assert_eq(aip_error_is_retryable(job.run.op.err), failures[i].is_retryable, "%s",
                             what);
                assert_error(AIP_TAKE(job.run.op.err), failures[i].code, failures[i].message, what);
                cr_assert_eq(job.model.n_calls, failures[i].n_calls, "%s", what);
                job_deinit(&job);
        }
}

Test(assistant_graph, cancels_the_call)
{
        struct job job;
        aip_graph *graph = NULL;
        job_init(&job, &good);
        cr_assert_eq(aip_assistant_graph_new(&graph, NULL), 0);
        job_start(&job, graph);
        while (job.model.n_calls == 0)
                aip_sim_loop_step(job.sim);
        aip_graph_run_cancel(&job.run);
        while (aip_sim_loop_step(job.sim))
                ;
        cr_assert_eq(job.n_done, 1);
        cr_assert_eq(job.model.n_cancels, 1);
        cr_assert_eq(aip_error_code(job.run.op.err), AIP_ECANCELLED);
        cr_assert_lt(aip_now_ms(job.model.loop), 100);
        aip_graph_unref(graph);
        job_deinit(&job);
}

/* The sooner deadline, the run's or the context's, bounds the call. */
Test(assistant_graph, bounds_the_call)
{
        static const struct {
                int64_t run, context, call;
        } table[] = {{0, 0, 0}, {500, 0, 500}, {0, 700, 700}, {500, 700, 500}, {900, 700, 700}};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                struct job job;
                aip_graph *graph = NULL;
                job_init(&job, &good);
                cr_assert_eq(aip_assistant_graph_new(&graph, NULL), 0);
                job.context.deadline_ms = table[i].context;
                struct aip_graph_run run = AIP_GRAPH_RUN_INIT;
                job.run = run;
                job.run.op.done = job_done;
                job.run.op.deadline_ms = table[i].run;
                job.run.graph = graph;
                job.run.input = job.input;
                job.run.context = &job.context;
                aip_graph_run_start(job.model.loop, &job.run);
                while (aip_sim_loop_step(job.sim))
                        ;
                cr_assert_eq(job.model.deadline_ms, table[i].call);
                cr_assert_null(job.run.op.err);
                aip_graph_unref(graph);
                job_deinit(&job);
        }
}

/* Build the graph and run a job on it; every allocation fails once. */
static int build_and_run(void *user, aip_error **err)
{
        struct job *job = user;
        aip_graph *graph = NULL;
        int code = aip_assistant_graph_new(&graph, err);
        if (code < 0)
                return code;
        job_start(job, graph);
        while (aip_sim_loop_step(job->sim))
                ;
        cr_assert_eq(job->n_done, 1);
        aip_value_unref(AIP_TAKE(job->run.ret_state));
        aip_graph_unref(graph);
        return aip_error_propagate(err, AIP_TAKE(job->run.op.err));
}

Test(assistant_graph, survives_allocation_failure)
{
        struct job job;
        job_init(&job, &good);
        ASSERT_SURVIVES_ALLOC_FAILURE(build_and_run, &job);
        job_deinit(&job);
}
