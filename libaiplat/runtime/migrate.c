/*
 * Migrating a store and nothing else: no queue, no services, so that it disturbs nobody who runs on
 * the same database (runtime.h). Called by aiplatctl migrate.
 */
#include <aiplat/runtime.h>

#include "adapters_by_url.h"
#include "macros.h"

static void ended(struct aip_op *op)
{
        aip_uv_loop_stop(op->user);
}

int aip_migrate(const aip_settings *settings, const struct aip_log *log, int64_t timeout_ms,
                aip_error **err)
{
        struct runtime_base base = {{NULL, NULL}, log, aip_random_system()};
        struct aip_op migrating = {.done = ended}, closing = {.done = ended};
        struct aip_store store;
        aip_uv_loop *uv = NULL;
        int r = aip_uv_loop_new(&uv, err);

        if (r < 0)
                return r;
        base.loop = aip_uv_loop_port(uv);
        r = runtime_make_store(aip_settings_values(settings), &base, &store, err);
        if (r == 0) {
                migrating.user = closing.user = uv;
                migrating.deadline_ms = aip_now_ms(base.loop) + timeout_ms;
                store.migrate(store.self, &migrating);
                aip_uv_loop_run(uv);
                store.close(store.self, &closing);
                aip_uv_loop_run(uv);
                r = aip_error_propagate(err, AIP_TAKE(migrating.err));
                aip_error_free(closing.err);
        }
        aip_uv_loop_free(uv);
        return r;
}
