/*
 * Job service: the use cases of the jobs context. Submit, read, wait, list, cancel, resume. The gateway is a
 * thin HTTP layer over it, and a C program may use it directly (examples/submit_and_wait.c).
 * Loop thread only; all operations follow op.h.
 */
#ifndef AIPLAT_JOB_SERVICE_H
#define AIPLAT_JOB_SERVICE_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/catalog_service.h>
#include <aiplat/graph_registry.h>
#include <aiplat/log.h>
#include <aiplat/metrics.h>
#include <aiplat/outbox_relay.h>
#include <aiplat/ports/cache.h>
#include <aiplat/ports/event_stream.h>
#include <aiplat/ports/job_repository.h>
#include <aiplat/ports/random.h>

AIP_BEGIN_DECLS

typedef struct aip_job_service aip_job_service;

struct aip_job_service_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log; /* borrowed for the service's life; may be NULL */
        struct aip_random random;
        struct aip_job_repository jobs;
        struct aip_cache cache;       /* ops NULL: none */
        aip_catalog_service *catalog; /* borrowed */
        aip_outbox_relay *relay;      /* borrowed */
        int32_t cache_ttl_s;
        struct aip_event_stream events; /* for jobs that are followed; ops NULL: none */
        aip_metrics *metrics;           /* borrowed; NULL: nobody asks */
        /* Graphs of code that jobs may name, beside those of the catalog; borrowed; NULL: none */
        const aip_graph_registry *graphs;
};

AIP_API int aip_job_service_new(const struct aip_job_service_options *options,
                                aip_job_service **ret_service, aip_error **err);
/* Waiting reads end at once, with AIP_ECANCELLED or, where the store was just being asked, with the
 * job as it stands. */
AIP_API void aip_job_service_end_waits(aip_job_service *service);
/* All operations must have ended before. Accepts NULL. */
AIP_API void aip_job_service_free(aip_job_service *service);

/*
 * Accept a job. Errors: AIP_EINVAL (the field is named; so is every variable that the template needs
 * and that is missing), AIP_ENOTFOUND (an unknown or inactive configuration, an unknown template or
 * graph: named), AIP_ECONFLICT (the
 * idempotency key was used with another request), AIP_EUNAVAILABLE, AIP_ELIMIT (too much waits for the
 * store already: nothing happened, aip_error_retry_after_ms says when to try again). On success the job
 * is durable. After AIP_EUNAVAILABLE or AIP_ETIMEOUT it may or may not be: send it again with the same
 * idempotency key.
 */
struct aip_job_submit {
        struct aip_op op;
        struct aip_job_spec spec;       /* self_size and defaults by AIP_JOB_SPEC_INIT */
        struct aip_str idempotency_key; /* empty: none; at most 255 bytes, printable ASCII */
        int64_t delay_ms;               /* added to now when spec.run_at_us is 0 */
        enum aip_thread_strategy strategy; /* of a job with spec.thread_id; busy: AIP_ECONFLICT */
        struct aip_id ret_job_id;
        enum aip_job_status ret_status;
        int ret_is_replay; /* the key had been used for the same request: the first job's answer */
        /* the service's */
        struct aip_job_create create;
        aip_job *job;
        aip_job_service *service;
        struct aip_job_submit *next_waiting, *previous_waiting;
        int64_t since_ms;
};
/* Whether a submission would be let in just now: 0 or AIP_ELIMIT, as submit would have it. For callers
 * who can spare themselves the work that comes before a submission. */
AIP_API int aip_job_service_admit(aip_job_service *service, aip_error **err);
AIP_API void aip_job_service_submit(aip_job_service *service, struct aip_job_submit *submit);

/* Read a job from the store; with wait_ms > 0 hold the answer until it ends, or asks a question
 * (INTERRUPTED), or the time is over (then the answer is the job as it stands). */
struct aip_job_read {
        struct aip_op op;
        struct aip_id id;
        int64_t wait_ms;  /* 0–3,600,000 */
        aip_job *ret_job; /* owned by caller; NULL: no such job */
        /* the service's */
        struct aip_job_fetch fetch;
        struct aip_timer timer;
        int64_t wait_until_ms;
        struct aip_job_read *next_waiter, *previous_waiter;
        aip_job_service *service;
        int state;
};
AIP_API void aip_job_service_read(aip_job_service *service, struct aip_job_read *read);

/* The same as the JSON document that HTTP clients get; ended jobs come from the cache when it has
 * them. ret_view is initialised by the service and deinitialised by the caller, also on failure. */
struct aip_job_view {
        struct aip_op op;
        struct aip_id id;
        int64_t wait_ms;
        int ret_is_found;
        struct aip_buf ret_view;
        /* the service's */
        struct aip_job_read read;
        struct aip_cache_get cache_get;
        char cache_key[48];
        aip_job_service *service;
};
AIP_API void aip_job_service_view(aip_job_service *service, struct aip_job_view *view);
/* Give up waiting (the client has gone): the operation ends soon, with AIP_ECANCELLED or its answer. */
AIP_API void aip_job_service_view_cancel(struct aip_job_view *view);

/* List and cancel go to the store as they are; see ports/job_repository.h. */
AIP_API void aip_job_service_list(aip_job_service *service, struct aip_job_list *list);

struct aip_job_cancel {
        struct aip_op op;
        struct aip_id id;
        enum aip_cancel_outcome ret_outcome;
        enum aip_job_status ret_status;
        /* the service's */
        struct aip_job_cancellation cancellation;
        aip_job_service *service;
};
AIP_API void aip_job_service_cancel(aip_job_service *service, struct aip_job_cancel *cancel);

/*
 * Answer the questions of an INTERRUPTED job, which is then QUEUED and goes on where it asked. Exactly one of
 * `value` and `answers`. Questions without an answer stay open: the job asks them again. AIP_EINVAL when the
 * answers do not fit the questions. A job is resumed once for what it asks: the second gets NOT_INTERRUPTED, as
 * does, perhaps, who repeats it after AIP_EUNAVAILABLE or AIP_ETIMEOUT.
 */
enum aip_resume_outcome { AIP_RESUME_RESUMED = 0, AIP_RESUME_NOT_INTERRUPTED, AIP_RESUME_NOT_FOUND };

struct aip_job_resume {
        struct aip_op op;
        struct aip_id id;
        const aip_value *value;   /* to the only question */
        const aip_value *answers; /* an object: an answer under the id of each question; or NULL */
        enum aip_resume_outcome ret_outcome;
        enum aip_job_status ret_status; /* unless NOT_FOUND */
        /* the service's */
        struct aip_job_fetch fetch;
        struct aip_job_resumption resumption;
        aip_job *job;
        aip_job_service *service;
};
AIP_API void aip_job_service_resume(aip_job_service *service, struct aip_job_resume *resume);

/*
 * The job as JSON: job_id, status, result, error, questions, created_at, updated_at as the first API had them,
 * and prompt, config_name, template_name, graph_name, variables, metadata, input, attempt, max_attempts,
 * stream,
 * error_code, provider, model_name, usage {input_tokens, output_tokens}, run_at, started_at,
 * finished_at, trace_id. Times are RFC 3339 UTC with microseconds. Members without a value are null.
 */
AIP_API int aip_job_view_print(const aip_job *job, struct aip_buf *out, aip_error **err);

/* Append a wall-clock time as RFC 3339 UTC: 2024-01-15T10:30:00.000000Z; and read any RFC 3339 time
 * (offset required, up to nine fraction digits). */
AIP_API int aip_time_print(int64_t wall_us, struct aip_buf *out, aip_error **err);
AIP_API int aip_time_parse(struct aip_str text, int64_t *ret_wall_us, aip_error **err);

AIP_END_DECLS

#endif
