/*
 * Checks of what a store is asked; see checks.h. Called before an operation is queued. Must never
 * look at a database: a request is right or wrong by itself.
 */
#include "store/checks.h"
#include "store/checkpoint_rows.h"

#include "macros.h"

/* A lease longer than a day would leave jobs of a dead worker untouched for longer than anyone
 * waits. */
#define LEASE_MAX_MS (24 * 60 * 60 * 1000)

int aip_store_check_create(const struct aip_job_create *create, aip_error **err)
{
        const struct aip_job_fields *job = create->job ? aip_job_fields(create->job) : NULL;

        if (!job || job->status != AIP_JOB_QUEUED || job->version != 1)
                return aip_error_set(err, AIP_EINVAL, "create: a new job in QUEUED is required");
        if (create->idempotency_key.n > AIP_IDEMPOTENCY_KEY_MAX_BYTES)
                return aip_error_set(err, AIP_EINVAL, "idempotency key: at most %d bytes, got %zu",
                                     AIP_IDEMPOTENCY_KEY_MAX_BYTES, create->idempotency_key.n);
        if (aip_str_utf8_length(create->idempotency_key) < 0 ||
            (create->idempotency_key.n > 0 &&
             memchr(create->idempotency_key.p, 0, create->idempotency_key.n)))
                return aip_error_set(err, AIP_EINVAL, "idempotency key: not valid UTF-8 text");
        return 0;
}

int aip_store_check_list(const struct aip_job_list *list, aip_error **err)
{
        if (list->limit < 1 || list->limit > AIP_JOB_LIST_MAX)
                return aip_error_set(err, AIP_EINVAL, "list: limit must be 1–%d, got %u",
                                     AIP_JOB_LIST_MAX, list->limit);
        return 0;
}

static int check_lease(const char *what, const struct aip_id *session, int64_t lease_ms,
                       aip_error **err)
{
        if (aip_id_is_nil(session))
                return aip_error_set(err, AIP_EINVAL, "%s: a session is required", what);
        if (lease_ms < 1 || lease_ms > LEASE_MAX_MS)
                return aip_error_set(err, AIP_EINVAL, "%s: lease must be 1–%d ms, got %lld", what,
                                     LEASE_MAX_MS, (long long)lease_ms);
        return 0;
}

int aip_store_check_claim(const struct aip_job_claim *claim, aip_error **err)
{
        if (claim->limit < 1 || claim->limit > AIP_STORE_BATCH_MAX)
                return aip_error_set(err, AIP_EINVAL, "claim: limit must be 1–%d, got %zu",
                                     AIP_STORE_BATCH_MAX, claim->limit);
        return check_lease("claim", &claim->session, claim->lease_ms, err);
}

int aip_store_check_finish(const struct aip_job_finish *finish, aip_error **err)
{
        const struct aip_job_fields *job = finish->job ? aip_job_fields(finish->job) : NULL;

        if (!job || job->status == AIP_JOB_PROCESSING || job->version < 2)
                return aip_error_set(err, AIP_EINVAL,
                                     "finish: a job whose attempt has ended is required");
        return 0;
}

int aip_store_check_resumption(const struct aip_job_resumption *resumption, aip_error **err)
{
        const struct aip_job_fields *job = resumption->job ? aip_job_fields(resumption->job) : NULL;

        if (!job || job->status != AIP_JOB_QUEUED || job->answers_json.n == 0)
                return aip_error_set(err, AIP_EINVAL,
                                     "resume: a job in QUEUED, with answers, is required");
        return 0;
}

int aip_store_check_heartbeat(const struct aip_heartbeat *heartbeat, aip_error **err)
{
        return check_lease("heartbeat", &heartbeat->session, heartbeat->lease_ms, err);
}

int aip_store_check_chores(const struct aip_chores *chores, aip_error **err)
{
        if (chores->limit < 1 || chores->min_age_ms < 0)
                return aip_error_set(
                        err, AIP_EINVAL,
                        "housekeeping: limit must be positive, min_age_ms not negative");
        return 0;
}

int aip_store_check_threads(const struct aip_thread_list *list, aip_error **err)
{
        if (list->limit < 1 || list->limit > AIP_THREAD_LIST_MAX)
                return aip_error_set(err, AIP_EINVAL, "threads: limit must be 1–%d, got %u",
                                     AIP_THREAD_LIST_MAX, list->limit);
        return 0;
}

int aip_store_check_thread_update(const struct aip_thread_update *update, aip_error **err)
{
        const struct aip_checkpoint *c = &update->checkpoint;

        if (aip_id_is_nil(&c->owner) || c->ns.n > 0)
                return aip_error_set(err, AIP_EINVAL, "thread: a state is that of a thread itself");
        return aip_store_check_checkpoint(c, err);
}

int aip_store_check_retention(const struct aip_retention *retention, aip_error **err)
{
        if (retention->keep_jobs_ms < 0 || retention->keep_keys_ms < 0 ||
            retention->partition_ms < INT64_C(60000))
                return aip_error_set(err, AIP_EINVAL,
                                     "retention: times are not negative, and partitions at least a "
                                     "minute wide");
        return 0;
}
