/*
 * Reconciling fences; see fences.h. Called by the stores' heartbeats, on whatever thread runs them.
 * Must never touch a store: it compares two arrays.
 */
#include "store/fences.h"

#include "macros.h"
#include "mem.h"

static int compare(const void *a, const void *b)
{
        const struct aip_fence *x = a, *y = b;
        int by_id = aip_id_compare(&x->job_id, &y->job_id);

        if (by_id != 0)
                return by_id;
        return x->version < y->version ? -1 : x->version > y->version;
}

static int is_in(const struct aip_fence *fence, const struct aip_fence *sorted, size_t n)
{
        return n > 0 && bsearch(fence, sorted, n, sizeof(*sorted), compare) != NULL;
}

int aip_fences_diff(const struct aip_fence *running, size_t n_running, struct aip_fence *owned,
                    size_t n_owned, struct aip_fence_diff *ret_diff, aip_error **err)
{
        _cleanup_(aip_free_p) struct aip_id *gone = NULL;
        _cleanup_(aip_free_p) struct aip_fence *unknown = NULL;
        _cleanup_(aip_free_p) struct aip_fence *sorted = NULL;
        size_t n_gone = 0, n_unknown = 0;

        gone = aip_calloc(n_running + 1, sizeof(*gone));
        unknown = aip_calloc(n_owned + 1, sizeof(*unknown));
        sorted = aip_calloc(n_running + 1, sizeof(*sorted));
        if (!gone || !unknown || !sorted)
                return aip_error_set_nomem(err);
        if (n_running > 0)
                memcpy(sorted, running, n_running * sizeof(*running));
        qsort(sorted, n_running, sizeof(*sorted), compare);
        if (n_owned > 0)
                qsort(owned, n_owned, sizeof(*owned), compare);
        for (size_t i = 0; i < n_running; i++)
                if (!is_in(&running[i], owned, n_owned))
                        gone[n_gone++] = running[i].job_id;
        for (size_t i = 0; i < n_owned; i++)
                if (!is_in(&owned[i], sorted, n_running))
                        unknown[n_unknown++] = owned[i];
        ret_diff->gone = n_gone > 0 ? AIP_TAKE(gone) : NULL;
        ret_diff->n_gone = n_gone;
        ret_diff->unknown = n_unknown > 0 ? AIP_TAKE(unknown) : NULL;
        ret_diff->n_unknown = n_unknown;
        return 0;
}
