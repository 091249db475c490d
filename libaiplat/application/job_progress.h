/*
 * What happens in the run of one job, as events of its stream. The run reports, this numbers, puts
 * what comes in one turn of the loop together, and appends. Only jobs that asked for it have one. It
 * must never make the run wait, or fail.
 */
#ifndef AIPLAT_APPLICATION_JOB_PROGRESS_H
#define AIPLAT_APPLICATION_JOB_PROGRESS_H

#include <aiplat/graph_run.h>
#include <aiplat/job.h>
#include <aiplat/ports/event_stream.h>
#include <aiplat/ports/llm.h>
#include <aiplat/value.h>

struct aip_job_progress;

/* For a job that has just become PROCESSING; its status is the first event. NULL: the job did not ask
 * for it, there is no stream, or no memory. */
struct aip_job_progress *aip_job_progress_new(struct aip_loop loop, struct aip_event_stream events,
                                              const aip_job *job);
/* What is still held goes out. Accepts NULL. */
void aip_job_progress_free(struct aip_job_progress *progress);

/* What a run of a graph is to be observed by: step_started, update (a node's), step_ended, custom. */
struct aip_graph_observer aip_job_progress_observer(struct aip_job_progress *progress);
/* A piece of a model's answer, for `node`; the name is borrowed for as long as the progress lives. */
void aip_job_progress_delta(struct aip_job_progress *progress, const char *node,
                            const struct aip_llm_delta *delta);
/* An event with members of its own beside "attempt": `members` is an object, or NULL. What is larger
 * than an event may be becomes {"attempt", "too_large": true}. */
void aip_job_progress_event(struct aip_job_progress *progress, enum aip_stream_type type,
                            const aip_value *members);
/* The attempt failed. */
void aip_job_progress_error(struct aip_job_progress *progress, const aip_error *error);

#endif
