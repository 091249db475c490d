/*
 * Submit a job and wait for its answer, with the whole platform in one process: the runtime brings
 * the store, the queue and a worker. Settings come from the environment as for the programs; without
 * any, jobs live in the user's embedded database, and without an API key a simulated provider answers.
 *
 *     cc submit_and_wait.c $(pkg-config --cflags --libs aiplat) -o submit_and_wait
 *     ./submit_and_wait "Write a haiku about programming"
 */
#include <aiplat/aiplat.h>
#include <stdio.h>

static int fail(aip_error *err)
{
        fprintf(stderr, "submit_and_wait: %s\n", aip_error_message(err));
        aip_error_free(err);
        return 1;
}

/* Store the job, then hold the read until the job has ended. */
static int ask(aip_runtime *runtime, const char *prompt)
{
        struct aip_job_submit submit = {.spec = AIP_JOB_SPEC_INIT};
        struct aip_job_read read = {.wait_ms = 600000};
        const struct aip_job_fields *job;
        int code;

        submit.spec.prompt = aip_str_of(prompt);
        aip_job_service_submit(aip_runtime_jobs(runtime), &submit);
        aip_runtime_run_until(runtime, &submit.op);
        if (submit.op.err)
                return fail(submit.op.err);

        read.id = submit.ret_job_id;
        aip_job_service_read(aip_runtime_jobs(runtime), &read);
        aip_runtime_run_until(runtime, &read.op);
        if (read.op.err)
                return fail(read.op.err);

        job = aip_job_fields(read.ret_job);
        printf("%s: %.*s\n", aip_job_status_name(job->status), (int)job->result.n,
               job->result.p ? job->result.p : "");
        code = job->status == AIP_JOB_COMPLETED ? 0 : 1;
        aip_job_free(read.ret_job);
        return code;
}

int main(int argc, char **argv)
{
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        struct aip_runtime_options options = {.self_size = sizeof(options)};
        aip_settings *settings = NULL;
        aip_runtime *runtime = NULL;
        aip_error *err = NULL;
        int code;

        if (aip_settings_load(&source, &settings, &err) < 0)
                return fail(err);
        if (aip_runtime_new(settings, &options, &runtime, &err) < 0 ||
            aip_runtime_start_worker(runtime, &err) < 0 ||
            aip_runtime_wait_ready(runtime, 10000, &err) < 0)
                code = fail(err);
        else
                code = ask(runtime, argc > 1 ? argv[1] : "Write a haiku about programming");
        aip_runtime_free(runtime);
        aip_settings_free(settings);
        return code;
}
