/*
 * Submits jobs through libaiplat's public API, as a C program that embeds it does: the benchmark
 * submit-library, and the quickest way to fill a queue with an exact number of jobs.
 *
 *     submit_jobs --jobs N [--group G] [--in-flight F] [--rate R] [--config NAME]
 *
 * A caller submits a group of G jobs at once and the next group when the last of them is durable; F
 * callers do so side by side. G = 1 is one call a job. With --rate, R jobs a second are submitted
 * evenly, however long each takes. A submission that is refused because too many wait is made again
 * when the refusal says, as clients do; its time goes on. Settings come from the environment, as for the programs. Prints
 * one line of JSON when all jobs are stored, then goes on publishing their messages until SIGTERM.
 */
#include <aiplat/aiplat.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROMPT_BYTES 96

struct job {
        struct aip_job_submit submit;
        struct caller *caller;
        int64_t began_ns;
        struct aip_timer retry;
        char prompt[PROMPT_BYTES];
};

struct caller {
        struct job *jobs; /* of the group in flight */
        int64_t n_open;
};

static struct {
        aip_runtime *runtime;
        struct aip_str config;
        int64_t n_jobs, group, in_flight, rate;
        int64_t n_begun, n_done, n_errors, n_refused;
        int64_t began_ns, ended_ns;
        int64_t *latencies_ns; /* one a job */
        struct caller *callers;
        struct aip_timer tick;
        struct aip_op over; /* done when all jobs are */
        char error[256];
} run;

static int64_t now_ns(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what, aip_error *err)
{
        fprintf(stderr, "submit_jobs: %s: %s\n", what, err ? aip_error_message(err) : "");
        exit(1);
}

/* ---- jobs ---- */

static void begin_group(struct caller *caller);

static void submitted(struct aip_op *op)
{
        struct job *job = op->user;
        if (aip_error_code(op->err) == AIP_ELIMIT) {
                int64_t wait_ms = aip_error_retry_after_ms(op->err);
                run.n_refused++;
                aip_error_free(op->err);
                aip_timer_set(aip_runtime_loop(run.runtime), &job->retry, wait_ms > 0 ? wait_ms : 100);
                return;
        }
        if (op->err) {
                snprintf(run.error, sizeof(run.error), "%s", aip_error_message(op->err));
                aip_error_free(op->err);
                run.n_errors++;
        }
        run.latencies_ns[run.n_done++] = now_ns() - job->began_ns;
        if (run.n_done == run.n_jobs) {
                run.ended_ns = now_ns();
                aip_op_finish(aip_runtime_loop(run.runtime), &run.over, NULL);
        }
        if (--job->caller->n_open == 0 && run.rate == 0)
                begin_group(job->caller);
}

static void submit(struct job *job)
{
        job->submit = (struct aip_job_submit){.spec = AIP_JOB_SPEC_INIT};
        job->submit.op.done = submitted;
        job->submit.op.user = job;
        job->submit.op.deadline_ms = aip_now_ms(aip_runtime_loop(run.runtime)) + 60000;
        job->submit.spec.prompt = aip_str_make(job->prompt, strlen(job->prompt));
        job->submit.spec.config_name = run.config;
        aip_job_service_submit(aip_runtime_jobs(run.runtime), &job->submit);
}

static void retry(struct aip_timer *timer)
{
        submit((struct job *)((char *)timer - offsetof(struct job, retry)));
}

static void begin_job(struct job *job)
{
        snprintf(job->prompt, PROMPT_BYTES, "Write a haiku about programming, number %" PRId64,
                 run.n_begun++);
        job->retry.fire = retry;
        job->began_ns = now_ns();
        submit(job);
}

static void begin_group(struct caller *caller)
{
        int64_t left = run.n_jobs - run.n_begun;
        caller->n_open = left < run.group ? left : run.group;
        for (int64_t i = 0, n = caller->n_open; i < n; i++)
                begin_job(&caller->jobs[i]);
}

/* With a rate: as many as are due by now, by callers that are free. One caller is one job. */
static void tick(struct aip_timer *timer)
{
        int64_t due = (now_ns() - run.began_ns) * run.rate / 1000000000;
        int64_t i = 0;
        while (run.n_begun < run.n_jobs && run.n_begun < due) {
                while (i < run.in_flight && run.callers[i].n_open > 0)
                        i++;
                if (i == run.in_flight)
                        break; /* all busy: the rate is not reached, and the time taken says so */
                begin_group(&run.callers[i]);
        }
        if (run.n_begun < run.n_jobs)
                aip_timer_set(aip_runtime_loop(run.runtime), timer, 1);
}

static void begin_all(void)
{
        run.began_ns = now_ns();
        if (run.rate > 0) {
                run.tick.fire = tick;
                aip_timer_set(aip_runtime_loop(run.runtime), &run.tick, 1);
                return;
        }
        for (int64_t i = 0; i < run.in_flight; i++)
                begin_group(&run.callers[i]);
}

static void make_callers(void)
{
        if (run.rate > 0)
                run.group = 1;
        run.latencies_ns = calloc((size_t)run.n_jobs, sizeof(*run.latencies_ns));
        run.callers = calloc((size_t)run.in_flight, sizeof(*run.callers));
        if (!run.latencies_ns || !run.callers)
                die("memory", NULL);
        for (int64_t i = 0; i < run.in_flight; i++) {
                struct caller *caller = &run.callers[i];
                caller->jobs = calloc((size_t)run.group, sizeof(*caller->jobs));
                if (!caller->jobs)
                        die("memory", NULL);
                for (int64_t k = 0; k < run.group; k++)
                        caller->jobs[k].caller = caller;
        }
}

/* ---- the result ---- */

static int compare(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
        return (x > y) - (x < y);
}

static double quantile_ms(double q)
{
        return (double)run.latencies_ns[(int64_t)(q * (double)(run.n_done - 1))] / 1e6;
}

static void print_result(void)
{
        qsort(run.latencies_ns, (size_t)run.n_done, sizeof(*run.latencies_ns), compare);
        printf("{\"jobs\":%" PRId64 ",\"errors\":%" PRId64 ",\"error\":\"%s\",\"seconds\":%.6f,"
               "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"refused\":%" PRId64 "}\n",
               run.n_done, run.n_errors, run.error, (double)(run.ended_ns - run.began_ns) / 1e9,
               quantile_ms(0.5), quantile_ms(0.99), run.n_refused);
        fflush(stdout);
}

/* ---- main ---- */

static int read_options(int argc, char **argv)
{
        static const struct option names[] = {{"jobs", required_argument, NULL, 'n'},
                                              {"group", required_argument, NULL, 'g'},
                                              {"in-flight", required_argument, NULL, 'f'},
                                              {"rate", required_argument, NULL, 'r'},
                                              {"config", required_argument, NULL, 'c'},
                                              {0}};
        int option;
        run.group = 1;
        run.in_flight = 64;
        run.config = aip_str_of("simulated");
        while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
                if (option == 'n')
                        run.n_jobs = atoll(optarg);
                else if (option == 'g')
                        run.group = atoll(optarg);
                else if (option == 'f')
                        run.in_flight = atoll(optarg);
                else if (option == 'r')
                        run.rate = atoll(optarg);
                else if (option == 'c')
                        run.config = aip_str_of(optarg);
                else
                        return 64;
        }
        return run.n_jobs > 0 && run.group > 0 && run.in_flight > 0 && run.rate >= 0 ? 0 : 64;
}

int main(int argc, char **argv)
{
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        struct aip_runtime_options options = {.self_size = sizeof(options)};
        aip_settings *settings = NULL;
        aip_error *err = NULL;
        int code = read_options(argc, argv);

        if (code)
                return code;
        options.component = "submit_jobs";
        if (aip_settings_load(&source, &settings, &err) < 0 ||
            aip_runtime_new(settings, &options, &run.runtime, &err) < 0 ||
            aip_runtime_wait_ready(run.runtime, 30000, &err) < 0)
                die("start", err);
        make_callers();
        begin_all();
        aip_runtime_run_until(run.runtime, &run.over);
        print_result();
        if (aip_runtime_run(run.runtime, &err) < 0)
                die("end", err);
        aip_runtime_free(run.runtime);
        aip_settings_free(settings);
        return run.n_errors ? 1 : 0;
}
