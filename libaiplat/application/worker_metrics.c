/* What a worker counts; see worker_metrics.h. */
#include "worker_metrics.h"

void aip_worker_metrics_claimed(struct aip_worker_metrics *metrics, const aip_job *job)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        int64_t ready_us = f->run_at_us > f->created_at_us ? f->run_at_us : f->created_at_us;

        metrics->n_claimed++;
        aip_times_add(&metrics->waits, (f->started_at_us - ready_us) / 1000);
}

void aip_worker_metrics_ended(struct aip_worker_metrics *metrics, const aip_job *job,
                              enum aip_transition_kind kind)
{
        const struct aip_job_fields *f = aip_job_fields(job);

        metrics->n_ended[kind]++;
        aip_times_add(&metrics->attempts, (f->updated_at_us - f->started_at_us) / 1000);
        if (kind == AIP_TRANSITION_COMPLETED) {
                metrics->input_tokens += f->input_tokens;
                metrics->output_tokens += f->output_tokens;
        }
}

static void write_ends(const struct aip_worker_metrics *metrics, struct aip_metrics_writer *w)
{
        static const struct {
                enum aip_transition_kind kind;
                const char *outcome;
        } ends[] = {{AIP_TRANSITION_COMPLETED, "completed"},
                    {AIP_TRANSITION_FAILED, "failed"},
                    {AIP_TRANSITION_RETRY, "retry"},
                    {AIP_TRANSITION_RELEASED, "released"},
                    {AIP_TRANSITION_INTERRUPTED, "interrupted"}};

        aip_metrics_family(w, "aiplat_attempts_total", AIP_METRICS_COUNTER,
                           "Attempts at jobs whose outcome was recorded. stale: whose outcome came "
                           "too late, and was dropped.");
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
                aip_metrics_sample(w, (int64_t)metrics->n_ended[ends[i].kind],
                                   "aiplat_attempts_total{outcome=\"%s\"}", ends[i].outcome);
        aip_metrics_sample(w, (int64_t)metrics->n_stale,
                           "aiplat_attempts_total{outcome=\"stale\"}");
}

void aip_worker_metrics_write(const struct aip_worker_metrics *metrics,
                              struct aip_metrics_writer *w)
{
        aip_metrics_one(w, "aiplat_jobs_claimed_total", AIP_METRICS_COUNTER,
                        "Jobs that this worker has taken.", (int64_t)metrics->n_claimed);
        write_ends(metrics, w);
        aip_metrics_family(
                w, "aiplat_job_wait_seconds", AIP_METRICS_HISTOGRAM,
                "From when a job was to run until an attempt began. One that is tried again "
                "waits anew.");
        aip_metrics_times(w, "aiplat_job_wait_seconds", "", &metrics->waits);
        aip_metrics_family(w, "aiplat_attempt_seconds", AIP_METRICS_HISTOGRAM,
                           "From the beginning of an attempt until its outcome.");
        aip_metrics_times(w, "aiplat_attempt_seconds", "", &metrics->attempts);
        aip_metrics_family(w, "aiplat_tokens_total", AIP_METRICS_COUNTER,
                           "Tokens that completed jobs used, as the providers told.");
        aip_metrics_sample(w, metrics->input_tokens, "aiplat_tokens_total{kind=\"input\"}");
        aip_metrics_sample(w, metrics->output_tokens, "aiplat_tokens_total{kind=\"output\"}");
}
