/* Following a job, for the commands that do. */
#ifndef AIPLATCTL_WATCH_H
#define AIPLATCTL_WATCH_H

#include "command.h"

/* Shows what happens until the job has ended; the exit code is 0 only when it completed. */
int watch_job(const struct common *common, const char *job_id);

#endif
