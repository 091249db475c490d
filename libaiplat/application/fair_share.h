/*
 * Which configurations hold how many of a worker's slots, and which of them hold more than their
 * share. For processing_service.c, which decides by it whose jobs to claim next, and job_run.c, which
 * gives a slot back. It knows no job and claims nothing. Loop thread only.
 */
#ifndef AIP_APPLICATION_FAIR_SHARE_H
#define AIP_APPLICATION_FAIR_SHARE_H

#include "list.h"
#include <aiplat/str.h>

struct aip_slot_holder {
        struct aip_list link;
        size_t n; /* slots; gone at 0 */
        size_t name_bytes;
        char name[];
};

struct aip_fair_share {
        struct aip_list holders; /* as many as there are configurations at work */
        size_t n_holders;
};

void aip_fair_share_init(struct aip_fair_share *shares);
/* One more slot. NULL: out of memory; the slot is then nobody's. */
struct aip_slot_holder *aip_fair_share_enter(struct aip_fair_share *shares, struct aip_str name);
/* One less. Accepts NULL. */
void aip_fair_share_leave(struct aip_fair_share *shares, struct aip_slot_holder *holder);
/* Slots of the one that has most. */
size_t aip_fair_share_most(const struct aip_fair_share *shares);
/*
 * The names of those that hold an equal part of `slots` (rounded up), or more, were one more to
 * come. `ret_names` is one block (aip_free(), owned by caller), NULL when there are none or no memory.
 */
size_t aip_fair_share_full(const struct aip_fair_share *shares, size_t slots,
                           struct aip_str **ret_names);

#endif
