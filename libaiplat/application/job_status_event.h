/*
 * The events of a job's stream that tell of its status. They are the same wherever they are made: by
 * who moved the job, and by readers that have it from the store alone.
 */
#ifndef AIPLAT_APPLICATION_JOB_STATUS_EVENT_H
#define AIPLAT_APPLICATION_JOB_STATUS_EVENT_H

#include <aiplat/job.h>
#include <aiplat/ports/event_stream.h>

/* Messages of errors are cut to this, so that an event always has room for them. */
#define AIP_STATUS_EVENT_ERROR_BYTES 2048
/* Questions longer than this are left out: the job has them. */
#define AIP_STATUS_EVENT_QUESTIONS_BYTES (32 * 1024)
#define AIP_STATUS_EVENT_MAX_BYTES       (48 * 1024)

/* {"status", "attempt", "version", "at"}, "questions" of an interrupted job, and "error", "error_code" of a
 * failed attempt. */
int aip_job_status_event_print(const struct aip_job_fields *job, struct aip_buf *out);

/* STATUS, and END when the job has ended; does nothing without a stream and for jobs whose run is not
 * told. What cannot be appended is made up for by readers. */
void aip_job_status_event_append(struct aip_event_stream events, const aip_job *job);

#endif
