/*
 * Fault points: named places where a process of a fault build can be told to die, stop or be slow.
 * Placed by the services and adapters after what the delivery promises hang on, and ruled by the
 * environment of the fault tests:
 *
 *     AIPLAT_FAULT_POINTS="accept.committed=kill@3;claim.committed=stop%0.01;finish.committed=sleep:200"
 *
 * NAME=ACTION, then `@N` (the Nth time in this process only) or `%P` (with probability P), else each
 * time. Actions: `kill` (SIGKILL to itself), `stop` (SIGSTOP to itself, until somebody continues it),
 * `exit` (at once, without any clean-up), `sleep:MS` (the thread that came by). Of several entries for
 * one point each is looked at. A NAME that ends with `*` is every point that begins like it, counted
 * together: `graph.*=kill@N` is the Nth boundary of the steps of graphs.
 *
 * Without the meson option fault_points a point is nothing at all, not even its name.
 */
#ifndef AIPLAT_BASE_FAULT_POINT_H
#define AIPLAT_BASE_FAULT_POINT_H

#ifdef AIP_FAULT_POINTS

#include <aiplat/error.h>

#define AIP_FAULT_POINTS_VARIABLE "AIPLAT_FAULT_POINTS"
#define AIP_FAULT_STORE_VARIABLE  "AIPLAT_FAULT_STORE"

/* Replaces what is in force by `specification`; NULL and "" are none. AIP_EINVAL says what is wrong
 * with it, and nothing changes. Before other threads come by a point. */
int aip_fault_points_set(const char *specification, aip_error **err);

/* What AIP_FAULT_POINT calls; from any thread. */
void aip_fault_point(const char *name);

#define AIP_FAULT_POINT(name) aip_fault_point(name)

#else

#define AIP_FAULT_POINT(name) ((void)0)

#endif

#endif
