/*
 * What a worker counts of the jobs that it runs: how attempts ended, how long they and their wait took, what
 * models used. job_run.c adds to it, processing_service.c tells it.
 */
#ifndef AIPLAT_APPLICATION_WORKER_METRICS_H
#define AIPLAT_APPLICATION_WORKER_METRICS_H

#include <aiplat/job.h>
#include <aiplat/metrics.h>

/* Zeroed it is empty. */
struct aip_worker_metrics {
        uint64_t n_claimed;
        uint64_t n_ended
                [AIP_TRANSITION_KINDS]; /* attempts whose outcome was recorded, by what it was */
        uint64_t n_stale;               /* whose outcome the fence refused */
        struct aip_times waits;         /* from when a job was to run until an attempt began */
        struct aip_times attempts;      /* from there until its outcome was recorded */
        int64_t input_tokens, output_tokens; /* of completed jobs */
};

/* `job` is PROCESSING, claimed just now. */
void aip_worker_metrics_claimed(struct aip_worker_metrics *metrics, const aip_job *job);
/* The outcome of its attempt, of this kind, is recorded. */
void aip_worker_metrics_ended(struct aip_worker_metrics *metrics, const aip_job *job,
                              enum aip_transition_kind kind);
void aip_worker_metrics_write(const struct aip_worker_metrics *metrics,
                              struct aip_metrics_writer *w);

#endif
