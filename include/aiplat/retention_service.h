/*
 * Retention service: lets what has been kept long enough leave the store, and room for what comes be
 * made ahead of time. Each process runs one; the store sees to it that one of them does it at a time.
 * Nothing of the platform waits for it, and a round that fails is simply followed by the next. Loop
 * thread only.
 */
#ifndef AIPLAT_RETENTION_SERVICE_H
#define AIPLAT_RETENTION_SERVICE_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/log.h>
#include <aiplat/ports/job_repository.h>
#include <aiplat/ports/random.h>

AIP_BEGIN_DECLS

typedef struct aip_retention_service aip_retention_service;

struct aip_retention_service_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random;
        struct aip_job_repository jobs;
        int64_t keep_jobs_ms; /* after their end; 0: for ever */
        int64_t keep_keys_ms; /* idempotency keys; 0: for ever */
        int64_t partition_ms; /* width of partitions; > 0 */
        int64_t every_ms;     /* a round on average; 0: 60,000 */
};

AIP_API int aip_retention_service_new(const struct aip_retention_service_options *options,
                                      aip_retention_service **ret_service, aip_error **err);

/* The first round at once, when the store's schema is there. */
AIP_API void aip_retention_service_start(aip_retention_service *service);

/* Ends and frees it: at once, or when the step that runs in the store has ended, at the latest when the
 * store is closed. `service` is consumed always; NULL does nothing. */
AIP_API void aip_retention_service_free(aip_retention_service *service);

AIP_END_DECLS

#endif
