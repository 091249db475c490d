/*
 * One claimed job, from PROCESSING to its recorded outcome. In reading order:
 *
 *     start ──► prepare ──► go_on ──► graph ──► conclude ──► record ──► ended
 *      ▲  │        │                                ▲           │ ▲
 *      └──┘        └── cannot run ──────────────────┘           └─┘ the store is away: again, later
 *      once, when the snapshot lacks what the job names: it may be a moment behind
 *
 * `go_on` finds what an earlier claim of the job has kept of its run; a job that is claimed for the first
 * time, or whose graph's runs are not kept, does not look.
 *
 * `conclude` moves the job (complete, fail, hand back) by the domain's rules; `record` sends the move
 * to the store, whose fence has the last word: a stale outcome is dropped. Whatever happens to the
 * worker, nothing is recorded twice.
 */
#include "job_run.h"

#include <aiplat/llm_registry.h>

#include "fault_point.h"
#include "job_status_event.h"
#include "job_view.h"
#include "macros.h"
#include "mem.h"

#define JOB_TIMEOUT_MS  3600000
#define RECORD_FIRST_MS 200
#define NOT_RECORDED    "an outcome is not recorded yet"
#define RECORD_MAX_MS   5000
#define LOG_EVERY_MS    1000
#define CACHE_SPACE_MAX_BYTES (128u << 10)
#define LOGGED_MAX      100 /* lines of completed jobs in that time */

/* ── what all runs share ─────────────────────────────────────────────────────────────────────── */

static void log_second_over(struct aip_timer *timer)
{
        struct aip_run_ports *ports = AIP_CONTAINER_OF(timer, struct aip_run_ports, log_timer);

        if (ports->n_unlogged > 0)
                aip_log_write(ports->log, AIP_LOG_INFO, "worker",
                              "and %u more jobs completed in the same second", ports->n_unlogged);
        if (ports->n_unlogged_trouble > 0)
                aip_log_write(ports->log, AIP_LOG_WARNING, "worker",
                              "and %u more attempts failed or came too late in the same second",
                              ports->n_unlogged_trouble);
        ports->n_logged = ports->n_unlogged = 0;
        ports->n_logged_trouble = ports->n_unlogged_trouble = 0;
}

void aip_run_ports_init(struct aip_run_ports *ports, const struct aip_processing_service_options *o)
{
        ports->loop = o->loop;
        ports->log = o->log;
        ports->jobs = o->jobs;
        ports->cache = o->cache;
        ports->cache_ttl_s = o->cache_ttl_s > 0 ? o->cache_ttl_s : 3600;
        ports->catalog = o->catalog;
        ports->relay = o->relay;
        ports->llms = o->llms;
        ports->checkpoints = o->checkpoints;
        ports->factory.tools = o->tools;
        ports->graphs = o->graphs;
        ports->events = o->events;
        ports->log_timer.fire = log_second_over;
        aip_fair_share_init(&ports->shares);
        ports->job_timeout_ms = o->job_timeout_ms > 0 ? o->job_timeout_ms : JOB_TIMEOUT_MS;
}

int aip_run_ports_load_graphs(struct aip_run_ports *ports, aip_error **err)
{
        return aip_assistant_graph_new(&ports->assistant, err);
}

void aip_run_ports_deinit(struct aip_run_ports *ports)
{
        if (ports->log_timer.is_armed) {
                aip_timer_clear(ports->loop, &ports->log_timer);
                log_second_over(&ports->log_timer);
        }
        aip_graph_unref(ports->assistant);
        aip_graph_factory_deinit(&ports->factory);
        aip_hash_map_deinit(&ports->runs);
}

/* ── record: the outcome under the fence ─────────────────────────────────────────────────────── */

static void record(struct aip_job_run *run);

static void run_end(struct aip_job_run *run)
{
        /* A job that was taken away and claimed again has a newer run under its id. */
        if (aip_hash_map_get_id(&run->ports->runs, &run->fence.job_id) == run)
                aip_hash_map_remove_id(&run->ports->runs, &run->fence.job_id);
        aip_fair_share_leave(&run->ports->shares, AIP_TAKE(run->slot));
        run->ports->n_recording -= run->is_recording ? 1 : 0;
        run->is_recording = 0;
        run->ended(run->user, run);
}

/* A line a job costs more than the job when there are thousands in a second, and nobody reads them.
 * What goes wrong has its own allowance, so that it is not lost among what goes well. */
static int may_log(struct aip_run_ports *ports, uint32_t *n_logged, uint32_t *n_unlogged)
{
        if (!ports->log_timer.is_armed)
                aip_timer_set(ports->loop, &ports->log_timer, LOG_EVERY_MS);
        if (*n_logged < LOGGED_MAX) {
                ++*n_logged;
                return 1;
        }
        ++*n_unlogged;
        return 0;
}

static int may_log_trouble(struct aip_run_ports *ports)
{
        return may_log(ports, &ports->n_logged_trouble, &ports->n_unlogged_trouble);
}

static void log_completed(const struct aip_job_run *run, const struct aip_job_fields *f)
{
        int64_t took_ms = (f->updated_at_us - f->started_at_us) / 1000;

        if (may_log(run->ports, &run->ports->n_logged, &run->ports->n_unlogged))
                aip_log_job(run->ports->log, AIP_LOG_INFO, "worker", &f->id, run->trace_id,
                            "completed in %lld ms by %.*s, %lld + %lld tokens", (long long)took_ms,
                            AIP_STR_ARG(f->provider), (long long)f->input_tokens,
                            (long long)f->output_tokens);
}

static void log_failed(const struct aip_job_run *run, const struct aip_job_fields *f)
{
        if (may_log_trouble(run->ports))
                aip_log_job(run->ports->log, AIP_LOG_WARNING, "worker", &f->id, run->trace_id,
                            "attempt %d of %d failed%s: %.*s: %.*s", f->attempt, f->max_attempts,
                            run->transition.kind == AIP_TRANSITION_RETRY ? ", will be retried" : "",
                            AIP_STR_ARG(f->error_code), AIP_STR_ARG(f->error_message));
}

static void log_recorded(const struct aip_job_run *run)
{
        const struct aip_job_fields *f = aip_job_fields(run->job);

        switch (run->transition.kind) {
        case AIP_TRANSITION_COMPLETED:
                log_completed(run, f);
                break;
        case AIP_TRANSITION_FAILED:
        case AIP_TRANSITION_RETRY:
                log_failed(run, f);
                break;
        case AIP_TRANSITION_CREATED:
        case AIP_TRANSITION_DUE:
        case AIP_TRANSITION_STARTED:
        case AIP_TRANSITION_RELEASED:
        case AIP_TRANSITION_CANCELLED:
        case AIP_TRANSITION_INTERRUPTED:
        case AIP_TRANSITION_RESUMED:
                aip_log_job(run->ports->log, AIP_LOG_INFO, "worker", &f->id, run->trace_id, "%s",
                            aip_transition_kind_name(run->transition.kind));
                break;
        }
}

/* The job was one of a thread, in which another may have waited for it. */
static int has_turn_ended(const struct aip_job_run *run)
{
        const struct aip_job_fields *f = aip_job_fields(run->job);

        return !aip_id_is_nil(&f->thread_id) && aip_job_status_is_terminal(f->status);
}

static void take_recorded(struct aip_job_run *run)
{
        struct aip_run_ports *p = run->ports;

        aip_trouble_over(&p->record_trouble, p->log, "worker", NOT_RECORDED);
        switch (run->finish.ret_outcome) {
        case AIP_FINISH_RECORDED:
                AIP_FAULT_POINT("finish.committed");
                log_recorded(run);
                aip_worker_metrics_ended(&p->metrics, run->job, run->transition.kind);
                aip_outbox_relay_push(p->relay, &run->finish.transition);
                if (has_turn_ended(run))
                        aip_outbox_relay_promote_soon(p->relay);
                aip_job_cache_fill(p->cache, run->job, p->cache_ttl_s);
                aip_job_status_event_append(p->events, run->job);
                break;
        case AIP_FINISH_STALE:
                p->metrics.n_stale++;
                if (may_log_trouble(p))
                        aip_log_job(p->log, AIP_LOG_WARNING, "worker", &run->fence.job_id,
                                    run->trace_id, "the outcome came too late and was dropped");
                break;
        }
}

static void recorded(struct aip_op *op)
{
        struct aip_job_run *run = AIP_CONTAINER_OF(op, struct aip_job_run, finish.op);
        _cleanup_(aip_error_free_p) aip_error *err = AIP_TAKE(op->err);

        if (!err) {
                take_recorded(run);
        } else if (run->stop == AIP_RUN_GOES_ON) {
                aip_trouble_occurred(&run->ports->record_trouble, run->ports->log, "worker",
                                     aip_now_ms(run->ports->loop), NOT_RECORDED,
                                     aip_error_message(err));
                aip_timer_set(run->ports->loop, &run->retry_timer, run->retry_ms);
                run->retry_ms = AIP_MIN(2 * run->retry_ms, (int64_t)RECORD_MAX_MS);
                return;
        }
        run_end(run);
}

static void record_again(struct aip_timer *timer)
{
        record(AIP_CONTAINER_OF(timer, struct aip_job_run, retry_timer));
}

static void record(struct aip_job_run *run)
{
        const struct aip_run_ports *p = run->ports;

        run->finish = (struct aip_job_finish){.op = {.done = recorded}, .job = run->job};
        run->finish.transition = run->transition;
        p->jobs.ops->finish(p->jobs.self, &run->finish);
        AIP_FAULT_POINT("finish.sent");
}

/* ── conclude: move the job by the domain's rules ────────────────────────────────────────────── */

/* A member of the state, or, where the graph keeps none, what the run itself has counted. */
static const aip_value *told(const aip_value *state, const char *member, const aip_value *else_)
{
        const aip_value *value = aip_value_get_cstr(state, member);

        return aip_value_type(value) == AIP_VALUE_NULL ? else_ : value;
}

static void tell_usage(const struct aip_job_run *run, const aip_value *state,
                       struct aip_job_outcome *outcome)
{
        const struct aip_agent_usage *usage = &run->agent.usage;

        outcome->provider = aip_value_as_string(told(state, "provider", usage->provider));
        outcome->model_name = aip_value_as_string(told(state, "model_name", usage->model_name));
        outcome->input_tokens =
                aip_value_as_int(aip_value_get_cstr(state, "input_tokens"), usage->input_tokens);
        outcome->output_tokens =
                aip_value_as_int(aip_value_get_cstr(state, "output_tokens"), usage->output_tokens);
}

/* What the run has come to, as the document says; of a graph of code the answer, or the whole state. */
static int print_result(const struct aip_job_run *run, const aip_value *state, struct aip_buf *out,
                        aip_error **err)
{
        return run->graph.document ? aip_graph_document_result(run->graph.document, state, out, err)
                                   : aip_value_print(state, out, err);
}

static int complete(struct aip_job_run *run, const aip_value *state, aip_error **err)
{
        struct aip_job_outcome outcome = {.self_size = sizeof(outcome)};
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_JOB_RESULT_MAX_BYTES);
        int r;

        if (!run->graph.document)
                outcome.result = aip_value_as_string(aip_value_get_cstr(state, "answer"));
        if (!run->graph.is_assistant && !outcome.result.p) {
                if ((r = print_result(run, state, &text, err)) < 0)
                        return r;
                outcome.result = aip_buf_str(&text);
        }
        tell_usage(run, state, &outcome);
        return aip_job_complete(run->job, &outcome, aip_wall_us(run->ports->loop), &run->transition,
                                err);
}

static int interrupt(struct aip_job_run *run, const aip_value *questions, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_JOB_QUESTIONS_MAX_BYTES);
        int r = aip_value_print(questions, &text, err);

        return r < 0 ? r
                     : aip_job_interrupt(run->job, aip_buf_str(&text),
                                         aip_wall_us(run->ports->loop), &run->transition, err);
}

/* What a run that did not fail has come to. */
static int settle(struct aip_job_run *run, const aip_value *state, aip_error **err)
{
        return run->graph_run.ret_questions ? interrupt(run, run->graph_run.ret_questions, err)
                                            : complete(run, state, err);
}

/* `failure` is consumed always. A run that has been told to stop is not judged by how it ended. */
static void conclude(struct aip_job_run *run, const aip_value *state, aip_error *failure)
{
        _cleanup_(aip_error_free_p) aip_error *why = failure;
        _cleanup_(aip_error_free_p) aip_error *err = NULL;
        int64_t now_us = aip_wall_us(run->ports->loop);
        int r = 0;

        if (run->stop == AIP_RUN_GONE) {
                aip_log_job(run->ports->log, AIP_LOG_INFO, "worker", &run->fence.job_id,
                            run->trace_id, "stopped: cancelled, or taken over");
                run_end(run);
                return;
        }
        if (run->stop == AIP_RUN_HAND_BACK && why)
                r = aip_job_release(run->job, now_us, &run->transition, &err);
        else if (why)
                r = aip_job_fail(run->job, why, now_us, &run->transition, &err);
        else if (settle(run, state, &err) < 0)
                r = aip_job_fail(run->job, err, now_us, &run->transition, NULL);
        if (r < 0) {
                /* Nothing can be recorded (out of memory): the lease brings the job back. */
                aip_log_job(run->ports->log, AIP_LOG_ERROR, "worker", &run->fence.job_id,
                            run->trace_id, "outcome lost, the job will run again");
                run_end(run);
                return;
        }
        aip_fair_share_leave(&run->ports->shares, AIP_TAKE(run->slot));
        run->is_recording = 1;
        run->ports->n_recording++;
        aip_defer(run->ports->loop, run->ports->slot_free);
        record(run);
}

/* There would be no run to go on when the answer comes. */
static void fail_asking(aip_error **err)
{
        aip_error_set(err, AIP_EUNSUPPORTED,
                      "the graph asks a question, and its runs are not kept");
        aip_error_set_kind(*err, "graph_interrupted");
}

/* A run that was told to stop has nothing to tell of its end. */
static void tell_end(struct aip_job_run *run, const aip_error *err)
{
        if (run->progress && err && run->stop == AIP_RUN_GOES_ON)
                aip_job_progress_error(run->progress, err);
        else if (run->progress && !err)
                aip_job_progress_event(run->progress, AIP_STREAM_VALUES, run->graph_run.ret_state);
        aip_job_progress_free(AIP_TAKE(run->progress));
}

static void graph_done(struct aip_op *op)
{
        struct aip_job_run *run = AIP_CONTAINER_OF(op, struct aip_job_run, graph_run.op);
        _cleanup_(aip_value_unref_p) aip_value *state = NULL;

        run->is_in_graph = 0;
        if (run->saver.is_stale)
                run->stop = AIP_RUN_GONE;
        if (!op->err && run->graph_run.ret_outcome == AIP_GRAPH_INTERRUPTED &&
            !run->saver.store.ops)
                fail_asking(&op->err);
        tell_end(run, op->err);
        aip_value_unref(AIP_TAKE(run->graph_run.ret_image));
        if (op->err)
                aip_value_unref(AIP_TAKE(run->graph_run.ret_state));
        else
                state = AIP_TAKE(run->graph_run.ret_state);
        conclude(run, state, AIP_TAKE(op->err));
}

/* ── prepare: config, template, graph, all of one snapshot ───────────────────────────────────── */

static int fail_for_good(aip_error **err, const char *kind, const char *what, struct aip_str name)
{
        aip_error_set(err, AIP_ENOTFOUND, "%s '%.*s'", what, AIP_STR_ARG(name));
        if (err)
                aip_error_set_kind(*err, kind);
        return AIP_ENOTFOUND;
}

static int prepare_agent(struct aip_job_run *run, aip_error **err)
{
        const struct aip_job_fields *f = aip_job_fields(run->job);
        struct aip_agent_context *agent = &run->agent;
        const aip_llm_config *config = aip_catalog_config(run->catalog, f->config_name);
        const aip_prompt_template *template = aip_catalog_template(run->catalog, f->template_name);

        if (!config)
                return fail_for_good(err, "caller_config_not_found", "no configuration",
                                     f->config_name);
        if (!aip_llm_config_fields(config)->is_active)
                return fail_for_good(err, "caller_config_not_active", "not active: configuration",
                                     f->config_name);
        if (!template)
                return fail_for_good(err, "caller_template_not_found", "no template",
                                     f->template_name);
        if (f->variables_json.n > 0 && aip_value_parse(f->variables_json, &run->variables, err) < 0)
                return AIP_EINVAL;
        agent->catalog = run->catalog;
        agent->llms = run->ports->llms;
        agent->factory = &run->ports->factory;
        agent->config = config;
        agent->prompt_template = template;
        agent->variables = run->variables;
        agent->job_id = &run->fence.job_id;
        agent->trace_id = run->trace_id;
        agent->deadline_ms = aip_now_ms(run->ports->loop) + run->ports->job_timeout_ms;
        return aip_llm_registry_find(run->ports->llms, config, &agent->llm, err);
}

static int prepare_answers(struct aip_job_run *run, aip_error **err)
{
        struct aip_str answers = aip_job_fields(run->job)->answers_json;

        return answers.n > 0 ? aip_value_parse(answers, &run->answers, err) : 0;
}

/* The channels as the prompt and the input fill them. */
static int read_input(struct aip_job_run *run, aip_error **err)
{
        const struct aip_job_fields *f = aip_job_fields(run->job);
        _cleanup_(aip_value_unref_p) aip_value *input = NULL;
        int r = f->input_json.n > 0 ? aip_value_parse(f->input_json, &input, err) : 0;

        if (r < 0)
                return r;
        if (run->graph.code)
                return aip_registered_graph_input(run->graph.code, f->prompt, input, &run->input,
                                                  err);
        return aip_graph_document_input(run->graph.document, f->prompt, input, &run->input, err);
}

static int prepare_input(struct aip_job_run *run, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *input = NULL;

        run->goes_on = aip_job_fields_go_on(aip_job_fields(run->job));
        if (run->goes_on)
                return 0;
        if (!run->graph.is_assistant)
                return read_input(run, err);
        input = aip_value_object();
        if (!input ||
            aip_value_object_set_cstr(&input, "prompt",
                                      aip_value_string(aip_job_fields(run->job)->prompt)) < 0)
                return aip_error_set_nomem(err);
        run->input = AIP_TAKE(input);
        return 0;
}

/* ── find_graph ──────────────────────────────────────────────────────────────────────────────── */

/* Of several of one name: the program's, then the store's, then the one that ships. */
static int find_graph(struct aip_job_run *run, aip_error **err)
{
        struct aip_run_ports *p = run->ports;
        struct aip_str name = aip_job_fields(run->job)->graph_name;
        const struct aip_registered_graph *code = aip_graph_registry_find(p->graphs, name);
        const struct aip_graph_entry *entry = aip_catalog_graph(run->catalog, name);
        int is_shipped = entry && entry->version == 0;

        if (code) {
                run->graph = (struct aip_run_graph){.graph = aip_graph_ref(code->graph),
                                                    .code = code,
                                                    .is_kept = !code->is_unkept,
                                                    .durability = code->durability};
                return 0;
        }
        if (is_shipped && aip_str_eq(name, aip_str_of("assistant"))) {
                run->graph = (struct aip_run_graph){.graph = aip_graph_ref(p->assistant),
                                                    .is_assistant = 1};
                return 0;
        }
        if (!entry)
                return fail_for_good(err, "caller_graph_not_found", "no graph", name);
        run->graph = (struct aip_run_graph){.document = entry->document, .is_kept = 1};
        return aip_graph_factory_get(&p->factory, entry->document, &run->graph.graph, err);
}

/* Whether the snapshot lacks something that the job names. */
static int is_lacking(const struct aip_job_run *run)
{
        const struct aip_job_fields *f = aip_job_fields(run->job);
        const aip_llm_config *config = aip_catalog_config(run->catalog, f->config_name);

        return !config || !aip_llm_config_fields(config)->is_active ||
               !aip_catalog_template(run->catalog, f->template_name) ||
               !(aip_catalog_graph(run->catalog, f->graph_name) ||
                 aip_graph_registry_find(run->ports->graphs, f->graph_name));
}

static void refreshed(struct aip_op *op)
{
        struct aip_job_run *run = AIP_CONTAINER_OF(op, struct aip_job_run, refresh);

        aip_error_free(AIP_TAKE(op->err));
        aip_job_run_start(run);
}

/* Something was changed before the job was claimed, and we have not heard of it yet. */
static int is_behind(const struct aip_job_run *run)
{
        return aip_catalog_revision(run->catalog) < run->catalog_revision;
}

/* ── go_on: at __start__, or where an earlier claim has come to ──────────────────────────────── */

/* What the document says of every run of it. */
static void take_limits(const aip_graph_document *document, struct aip_graph_run *run)
{
        run->step_limit = aip_graph_document_step_limit(document);
        run->interrupt_before =
                aip_graph_document_interrupt_before(document, &run->n_interrupt_before);
        run->interrupt_after =
                aip_graph_document_interrupt_after(document, &run->n_interrupt_after);
}

/* What the program says of every run of its graph. */
static void take_terms(const struct aip_registered_graph *code, struct aip_graph_run *run)
{
        run->context = code->context;
        run->step_limit = code->step_limit;
        run->interrupt_before = code->interrupt_before;
        run->n_interrupt_before = code->n_interrupt_before;
        run->interrupt_after = code->interrupt_after;
        run->n_interrupt_after = code->n_interrupt_after;
}

/* What a node reads beside the state: any change of the catalog begins anew. Without it nothing is kept. */
static int has_cache(struct aip_job_run *run)
{
        const struct aip_job_fields *f = aip_job_fields(run->job);

        if (run->graph.is_assistant || !run->ports->cache.ops)
                return 0;
        aip_buf_init(&run->cache_space, CACHE_SPACE_MAX_BYTES);
        return aip_buf_printf(&run->cache_space, "%.*s\n%.*s\n%.*s\n%lld\n",
                              AIP_STR_ARG(f->graph_name), AIP_STR_ARG(f->config_name),
                              AIP_STR_ARG(f->template_name),
                              (long long)aip_catalog_revision(run->catalog)) >= 0 &&
               aip_buf_append(&run->cache_space, f->variables_json) >= 0;
}

static void start_graph(struct aip_job_run *run)
{
        run->is_in_graph = 1;
        run->progress = aip_job_progress_new(run->ports->loop, run->ports->events, run->job);
        run->agent.progress = run->progress;
        run->graph_run = (struct aip_graph_run){.op = {.done = graph_done},
                                                .self_size = sizeof(run->graph_run)};
        run->graph_run.op.deadline_ms = run->agent.deadline_ms;
        run->graph_run.graph = run->graph.graph;
        if (run->graph.document)
                take_limits(run->graph.document, &run->graph_run);
        if (has_cache(run)) {
                run->graph_run.cache = run->ports->cache;
                run->graph_run.cache_space = aip_buf_str(&run->cache_space);
        }
        run->graph_run.context = &run->agent;
        if (run->graph.code)
                take_terms(run->graph.code, &run->graph_run);
        if (run->progress)
                run->graph_run.observer = aip_job_progress_observer(run->progress);
        run->graph_run.image = run->saver.image;
        if (run->goes_on || aip_job_saver_goes_on(&run->saver))
                run->graph_run.answers = run->answers;
        else
                run->graph_run.input = run->input;
        run->graph_run.passes_over_answers = 1;
        run->graph_run.first_save_is_whole = aip_job_saver_forks(&run->saver);
        if (run->saver.store.ops) {
                run->graph_run.saver = aip_job_saver_port(&run->saver);
                run->graph_run.durability = run->graph.durability;
        }
        aip_graph_run_start(run->ports->loop, &run->graph_run);
}

static void fail_goes_on(aip_error **err)
{
        aip_error_set(err, AIP_ESTATE, "the thread has no state to go on with");
        aip_error_set_kind(*err, "caller_thread_has_no_state");
}

static void loaded(struct aip_job_saver *saver)
{
        struct aip_job_run *run = AIP_CONTAINER_OF(saver, struct aip_job_run, saver);
        aip_error *err = AIP_TAKE(saver->load.op.err);

        if (saver->is_stale)
                run->stop = AIP_RUN_GONE;
        if (!err && run->stop != AIP_RUN_GOES_ON)
                aip_error_set(&err, AIP_ECANCELLED, "stopped before it went on");
        if (!err && run->goes_on && !saver->image)
                fail_goes_on(&err);
        if (err)
                conclude(run, NULL, err);
        else
                start_graph(run);
}

/* Its graph keeps nothing, or there is nowhere to keep it. */
static void fail_unkept(struct aip_job_run *run)
{
        aip_error *err = NULL;

        fail_goes_on(&err);
        conclude(run, NULL, err);
}

static void go_on(struct aip_job_run *run)
{
        const struct aip_run_ports *p = run->ports;
        const struct aip_job_fields *f = aip_job_fields(run->job);
        int has_thread = !aip_id_is_nil(&f->thread_id);

        if (run->graph.is_kept && p->checkpoints.ops) {
                aip_job_saver_init(&run->saver, p->loop, p->checkpoints, &run->fence,
                                   has_thread ? &f->thread_id : &f->id);
                run->saver.loaded = loaded;
                run->saver.fork_n = f->checkpoint;
                run->saver.is_to_go_on = run->goes_on;
        }
        /* Created, then claimed: nothing of its own can have been kept yet. */
        if (run->saver.store.ops && (has_thread || run->fence.version > 2))
                aip_job_saver_load(&run->saver);
        else if (run->goes_on)
                fail_unkept(run);
        else
                start_graph(run);
}

static void start(struct aip_task *task)
{
        struct aip_job_run *run = AIP_CONTAINER_OF(task, struct aip_job_run, task);
        aip_error *err = NULL;

        aip_catalog_unref(run->catalog);
        run->catalog = aip_catalog_ref(aip_catalog_service_current(run->ports->catalog));
        if (run->stop == AIP_RUN_GOES_ON && !run->has_refreshed &&
            (is_behind(run) || is_lacking(run))) {
                run->has_refreshed = 1;
                run->refresh = (struct aip_op){.done = refreshed};
                aip_catalog_service_refresh(run->ports->catalog, &run->refresh);
                return;
        }
        if (run->stop != AIP_RUN_GOES_ON)
                aip_error_set(&err, AIP_ECANCELLED, "stopped before it began");
        if (err || find_graph(run, &err) < 0 || prepare_agent(run, &err) < 0 ||
            prepare_input(run, &err) < 0 || prepare_answers(run, &err) < 0) {
                conclude(run, NULL, err);
                return;
        }
        go_on(run);
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

struct aip_job_run *aip_job_run_new(struct aip_run_ports *ports, aip_job *job,
                                    void (*ended)(void *user, struct aip_job_run *run), void *user)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        struct aip_job_run *run = aip_calloc(1, sizeof(*run));

        if (!run)
                return NULL;
        run->fence.job_id = f->id;
        run->fence.version = f->version;
        if (aip_hash_map_set_id(&ports->runs, &f->id, run, NULL) < 0) {
                aip_free(run);
                return NULL;
        }
        if (f->trace_id.n == AIP_TRACE_ID_BYTES - 1)
                run->trace_id = memcpy(run->trace_id_text, f->trace_id.p, f->trace_id.n);
        aip_worker_metrics_claimed(&ports->metrics, job);
        run->ports = ports;
        run->job = job;
        run->ended = ended;
        run->user = user;
        run->task.run = start;
        run->retry_timer.fire = record_again;
        run->retry_ms = RECORD_FIRST_MS;
        return run;
}

void aip_job_run_start(struct aip_job_run *run)
{
        aip_defer(run->ports->loop, &run->task);
}

void aip_job_run_stop(struct aip_job_run *run, enum aip_run_stop why)
{
        if (run->stop >= why)
                return;
        run->stop = why;
        if (run->saver.store.ops)
                aip_job_saver_give_up(&run->saver);
        if (run->is_in_graph) {
                aip_graph_run_cancel(&run->graph_run);
        } else if (run->retry_timer.is_armed) {
                /* Its outcome could not be recorded so far; one last try decides. */
                aip_timer_set(run->ports->loop, &run->retry_timer, 0);
        }
}

int aip_job_run_holds_claim(const struct aip_job_run *run)
{
        return aip_job_fields(run->job)->version == run->fence.version;
}

void aip_job_run_free(struct aip_job_run *run)
{
        aip_job_saver_deinit(&run->saver);
        aip_buf_deinit(&run->cache_space);
        aip_job_progress_free(run->progress);
        aip_value_unref(run->variables);
        aip_value_unref(run->input);
        aip_value_unref(run->answers);
        aip_value_unref(run->graph_run.ret_questions);
        aip_graph_unref(run->graph.graph);
        aip_agent_usage_deinit(&run->agent.usage);
        aip_catalog_unref(run->catalog);
        aip_job_free(run->job);
        aip_free(run);
}
