/*
 * Retention by hand: one round on the store of the settings, and nothing else (runtime.h). Called by
 * aiplatctl retention.
 */
#include <aiplat/runtime.h>

#include "adapters_by_url.h"
#include "macros.h"

#define HOUR_MS INT64_C(3600000)

static void ended(struct aip_op *op)
{
        aip_uv_loop_stop(op->user);
}

static int refuse(const struct aip_store *store, aip_error **err)
{
        return aip_error_set(err, AIP_EINVAL, "the %s store keeps everything until it ends",
                             store->jobs.ops->name);
}

void aip_retention_of_settings(const aip_settings *settings, struct aip_retention *ret_retention)
{
        const struct aip_settings_values *values = aip_settings_values(settings);

        ret_retention->keep_jobs_ms = values->retention_h * HOUR_MS;
        ret_retention->keep_keys_ms = values->idempotency_h * HOUR_MS;
        ret_retention->partition_ms = values->partition_h * HOUR_MS;
}

static int run(aip_uv_loop *uv, const struct aip_store *store, struct aip_retention *retention,
               int64_t timeout_ms, aip_error **err)
{
        if (!store->jobs.ops->retain)
                return refuse(store, err);
        retention->op = (struct aip_op){.done = ended, .user = uv};
        retention->op.deadline_ms = aip_now_ms(aip_uv_loop_port(uv)) + timeout_ms;
        store->jobs.ops->retain(store->jobs.self, retention);
        aip_uv_loop_run(uv);
        return aip_error_propagate(err, AIP_TAKE(retention->op.err));
}

int aip_retain(const aip_settings *settings, const struct aip_log *log, int64_t timeout_ms,
               struct aip_retention *retention, aip_error **err)
{
        struct runtime_base base = {{NULL, NULL}, log, aip_random_system()};
        struct aip_op closing = {.done = ended};
        struct aip_store store;
        aip_uv_loop *uv = NULL;
        int r = aip_uv_loop_new(&uv, err);

        if (r < 0)
                return r;
        base.loop = aip_uv_loop_port(uv);
        r = runtime_make_store(aip_settings_values(settings), &base, &store, err);
        if (r == 0) {
                r = run(uv, &store, retention, timeout_ms, err);
                closing.user = uv;
                store.close(store.self, &closing);
                aip_uv_loop_run(uv);
                aip_error_free(closing.err);
        }
        aip_uv_loop_free(uv);
        return r;
}
