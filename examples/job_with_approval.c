/*
 * A job of a graph of code, from its submission to its end and beyond: its events as they come, the
 * question at which it rests, the answer, the state of its thread, and a second job that goes on from a state
 * somebody has written. All of it is kept in the store of the settings, and survives this program.
 *
 *     __start__ → draft → ask → publish → __end__
 *
 *     cc job_with_approval.c $(pkg-config --cflags --libs aiplat) -o job_with_approval
 *     ./job_with_approval "the river"
 */
#include <aiplat/aiplat.h>
#include <stdio.h>

/* ---- the graph ---- */

static int draft(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        char text[200];
        struct aip_str prompt = aip_value_as_string(aip_graph_task_get(task, "prompt"));

        (void)user, (void)ret_update, (void)err;
        snprintf(text, sizeof(text), "A text on %.*s", (int)prompt.n, prompt.p);
        aip_graph_task_write(task, "text", aip_value_string(aip_str_of(text)));
        return 0;
}

static int ask(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const aip_value *answer = aip_graph_task_interrupt(task, aip_graph_task_get(task, "text"));

        (void)user, (void)ret_update, (void)err;
        if (answer)
                aip_graph_task_write(task, "approved_by", aip_value_ref(answer));
        return 0;
}

/* The job's result is its channel "answer". */
static int publish(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        char text[300];
        struct aip_str draft = aip_value_as_string(aip_graph_task_get(task, "text"));
        struct aip_str who = aip_value_as_string(aip_graph_task_get(task, "approved_by"));

        (void)user, (void)ret_update, (void)err;
        snprintf(text, sizeof(text), "%.*s, approved by %.*s", (int)draft.n, draft.p, (int)who.n,
                 who.p);
        aip_graph_task_write(task, "answer", aip_value_string(aip_str_of(text)));
        return 0;
}

static int add_graph(aip_runtime *runtime, aip_error **err)
{
        static const char *const channels[] = {"prompt", "text", "approved_by", "answer"};
        struct aip_registered_graph own = AIP_REGISTERED_GRAPH_INIT;
        aip_graph_builder *b = aip_graph_builder_new();
        aip_graph *graph = NULL;

        for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++)
                aip_graph_builder_add_channel(b, channels[i], AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_function(b, "draft", draft, NULL);
        aip_graph_builder_add_function(b, "ask", ask, NULL);
        aip_graph_builder_add_function(b, "publish", publish, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "draft");
        aip_graph_builder_add_edge(b, "draft", "ask");
        aip_graph_builder_add_edge(b, "ask", "publish");
        aip_graph_builder_add_edge(b, "publish", AIP_GRAPH_END);
        int code = aip_graph_compile(b, &graph, err);
        own.name = "publisher";
        own.graph = graph;
        if (code == 0)
                code = aip_graph_registry_add(aip_runtime_graphs(runtime), &own, err);
        aip_graph_unref(graph);
        return code;
}

/* ---- operations, each waited for; errors go to the caller ---- */

static int wait_for(aip_runtime *runtime, struct aip_op *op, aip_error **err)
{
        aip_runtime_run_until(runtime, op);
        *err = op->err;
        return aip_error_code(*err);
}

/* With a prompt it begins anew in the thread, without it goes on where the thread stands. */
static int submit_job(aip_runtime *runtime, const char *prompt, struct aip_id *ret_id,
                      aip_error **err)
{
        struct aip_job_submit submit = {.spec = AIP_JOB_SPEC_INIT};

        submit.spec.graph_name = aip_str_of("publisher");
        submit.spec.prompt = aip_str_of(prompt);
        submit.spec.thread_id = *ret_id;
        submit.spec.is_streamed = 1;
        aip_job_service_submit(aip_runtime_jobs(runtime), &submit);
        if (wait_for(runtime, &submit.op, err) == 0)
                *ret_id = submit.ret_job_id;
        return aip_error_code(*err);
}

static int is_question(const struct aip_stream_event *event)
{
        aip_value *data = NULL;
        int is_it = 0;

        if (event->type == AIP_STREAM_STATUS && aip_value_parse(event->data, &data, NULL) == 0)
                is_it = aip_str_eq(aip_value_as_string(aip_value_get_cstr(data, "status")),
                                   aip_str_of(aip_job_status_name(AIP_JOB_INTERRUPTED)));
        aip_value_unref(data);
        return is_it;
}

/* Everything that happens until the job rests: it has ended, or asks. */
static int follow(aip_runtime *runtime, const struct aip_id *id, aip_error **err)
{
        aip_job_feed *feed =
                aip_job_feed_open(aip_runtime_feeds(runtime), id, (struct aip_stream_id){0, 0});
        int is_resting = 0, code = feed ? 0 : aip_error_set_nomem(err);

        while (code == 0 && !is_resting) {
                struct aip_job_feed_next next = {.wait_ms = 10000};
                aip_job_feed_next(feed, &next);
                code = wait_for(runtime, &next.op, err);
                for (size_t i = 0; code == 0 && i < next.ret_n; i++) {
                        const struct aip_stream_event *event = &next.ret_events[i];
                        printf("  %s %.*s\n", aip_stream_type_name(event->type), (int)event->data.n,
                               event->data.p);
                        is_resting |= is_question(event);
                }
                is_resting |= next.ret_is_over;
        }
        aip_job_feed_close(feed);
        return code;
}

static int answer(aip_runtime *runtime, const struct aip_id *id, const char *text, aip_error **err)
{
        struct aip_job_resume resume = {.id = *id};
        aip_value *value = aip_value_string(aip_str_of(text));

        resume.value = value; /* of several questions: resume.answers, an object by their ids */
        aip_job_service_resume(aip_runtime_jobs(runtime), &resume);
        int code = wait_for(runtime, &resume.op, err);
        if (code == 0 && resume.ret_outcome != AIP_RESUME_RESUMED)
                code = aip_error_set(err, AIP_ESTATE, "the job does not ask");
        aip_value_unref(value);
        return code;
}

static int print_job(aip_runtime *runtime, const struct aip_id *id, aip_error **err)
{
        struct aip_job_read read = {.id = *id, .wait_ms = 10000}; /* until it rests */

        aip_job_service_read(aip_runtime_jobs(runtime), &read);
        if (wait_for(runtime, &read.op, err) < 0)
                return aip_error_code(*err);
        const struct aip_job_fields *job = aip_job_fields(read.ret_job);
        struct aip_str said = job->result.p ? job->result : job->questions_json;
        printf("%s: %.*s\n", aip_job_status_name(job->status), (int)said.n, said.p ? said.p : "");
        aip_job_free(read.ret_job);
        return 0;
}

/* ---- the state of the thread ---- */

static int print_state(aip_runtime *runtime, const struct aip_id *thread, aip_error **err)
{
        struct aip_thread_state state = {.id = *thread}; /* .checkpoint: an older one */
        struct aip_buf text = AIP_BUF_INIT(1 << 20);

        aip_thread_service_state(aip_runtime_threads(runtime), &state);
        int code = wait_for(runtime, &state.op, err);
        if (code == 0)
                code = aip_value_print(aip_value_get_cstr(state.ret_image, "channels"), &text, err);
        if (code == 0)
                printf("checkpoint %d: %s\n", (int)state.ret_checkpoint.n, text.p);
        aip_buf_deinit(&text);
        aip_value_unref(state.ret_image);
        return code;
}

/* As if "draft" had written it: what comes after "draft" is next. */
static int rewrite(aip_runtime *runtime, const struct aip_id *thread, const char *text,
                   aip_error **err)
{
        struct aip_thread_write write = {.id = *thread, .as_node = aip_str_of("draft")};
        aip_value *values = aip_value_object();

        if (!values ||
            aip_value_object_set_cstr(&values, "text", aip_value_string(aip_str_of(text))) < 0) {
                aip_value_unref(values);
                return aip_error_set_nomem(err);
        }
        write.values = values;
        aip_thread_service_write(aip_runtime_threads(runtime), &write);
        int code = wait_for(runtime, &write.op, err);
        aip_value_unref(values);
        return code;
}

/* ---- the program ---- */

static int play(aip_runtime *runtime, const char *prompt, aip_error **err)
{
        struct aip_id_source ids;
        int code;

        aip_id_source_init(&ids, aip_random_system());
        struct aip_id thread = aip_id_next(&ids, aip_wall_us(aip_runtime_loop(runtime)));
        struct aip_id first = thread, second = thread;
        if ((code = submit_job(runtime, prompt, &first, err)) < 0 ||
            (code = follow(runtime, &first, err)) < 0 ||
            (code = print_job(runtime, &first, err)) < 0 ||
            (code = answer(runtime, &first, "Ann", err)) < 0 ||
            (code = print_job(runtime, &first, err)) < 0 ||
            (code = print_state(runtime, &thread, err)) < 0)
                return code;
        if ((code = rewrite(runtime, &thread, "A better text", err)) < 0 ||
            (code = submit_job(runtime, "", &second, err)) < 0 ||
            (code = print_job(runtime, &second, err)) < 0 ||
            (code = answer(runtime, &second, "Bob", err)) < 0)
                return code;
        return print_job(runtime, &second, err);
}

int main(int argc, char **argv)
{
        static const char *const defaults[] = {"LOG_LEVEL=error", NULL};
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        struct aip_runtime_options options = {.self_size = sizeof(options)};
        aip_settings *settings = NULL;
        aip_runtime *runtime = NULL;
        aip_error *err = NULL;

        source.overrides = defaults;
        if (aip_settings_load(&source, &settings, &err) == 0 &&
            aip_runtime_new(settings, &options, &runtime, &err) == 0 &&
            add_graph(runtime, &err) == 0 && aip_runtime_start_worker(runtime, &err) == 0 &&
            aip_runtime_wait_ready(runtime, 10000, &err) == 0)
                play(runtime, argc > 1 ? argv[1] : "the river", &err);
        int is_good = err == NULL;
        if (err)
                fprintf(stderr, "job_with_approval: %s\n", aip_error_message(err));
        aip_error_free(err);
        aip_runtime_free(runtime);
        aip_settings_free(settings);
        return is_good ? 0 : 1;
}
