/* The store of a fault build, which sometimes lies: see fault_store.c. For the runtime only. */
#ifndef AIPLAT_RUNTIME_FAULT_STORE_H
#define AIPLAT_RUNTIME_FAULT_STORE_H

#ifdef AIP_FAULT_POINTS

#include <aiplat/ports/job_repository.h>

typedef struct runtime_fault_store runtime_fault_store;

/* Reads both fault variables of the environment. With AIPLAT_FAULT_STORE, `*jobs` becomes a decorator
 * of itself, which lives until runtime_fault_store_free(); else *ret_store is NULL. AIP_EINVAL says
 * what is wrong with a variable. */
int runtime_fault_store_new(struct aip_loop loop, struct aip_job_repository *jobs,
                            runtime_fault_store **ret_store, aip_error **err);
/* After the store behind it was closed. Accepts NULL. */
void runtime_fault_store_free(runtime_fault_store *store);

#endif

#endif
