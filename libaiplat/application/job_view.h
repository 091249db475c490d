/* How a job is shown and cached, for the services of this layer. */
#ifndef AIPLAT_APPLICATION_JOB_VIEW_H
#define AIPLAT_APPLICATION_JOB_VIEW_H

#include <aiplat/job_service.h>
#include <aiplat/ports/cache.h>

/* A result of 16 MiB whose every byte needs a \u escape, and the request beside it. */
#define AIP_JOB_VIEW_MAX_BYTES  (6u * AIP_JOB_RESULT_MAX_BYTES + (4u << 20))
#define AIP_JOB_CACHE_KEY_BYTES 48

struct aip_str aip_job_cache_key(const struct aip_id *id, char ret_key[AIP_JOB_CACHE_KEY_BYTES]);

/* Put an ended job into the cache; does nothing for others, and nothing without a cache. */
void aip_job_cache_fill(struct aip_cache cache, const aip_job *job, int32_t ttl_s);

#endif
