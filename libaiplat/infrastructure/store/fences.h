/*
 * Reconciling what a worker believes it is running with what the store has under its session: the
 * second half of a heartbeat, the same for every store.
 */
#ifndef AIPLAT_STORE_FENCES_H
#define AIPLAT_STORE_FENCES_H

#include <aiplat/ports/job_repository.h>

struct aip_fence_diff {
        struct aip_id *gone; /* owned by caller (free()); NULL when there are none */
        size_t n_gone;
        struct aip_fence *unknown; /* owned by caller (free()); NULL when there are none */
        size_t n_unknown;
};

/* `owned` (what the store has; sorted in place) against `running` (borrowed). 0 or AIP_ENOMEM, then
 * ret_diff is untouched. */
int aip_fences_diff(const struct aip_fence *running, size_t n_running, struct aip_fence *owned,
                    size_t n_owned, struct aip_fence_diff *ret_diff, aip_error **err);

#endif
