/*
 * Allocation-failure injection. A body is run again and again while its first, second, … n-th
 * allocation fails, until it gets through without a failure. Each failure must come out as
 * AIP_ENOMEM, and under AddressSanitizer nothing may have leaked at the end.
 *
 *     static int body(void *user, aip_error **err) { …; return 0 or the negative code … }
 *     Test(value, survives_allocation_failure) { ASSERT_SURVIVES_ALLOC_FAILURE(body, NULL); }
 *
 * The body must release what it made, whether or not it succeeded. It hooks what goes through mem.h
 * and cJSON; what libuv, curl and others allocate for themselves is theirs.
 */
#ifndef TESTS_SUPPORT_ALLOC_FAIL_H
#define TESTS_SUPPORT_ALLOC_FAIL_H

#include <aiplat/error.h>

typedef int (*alloc_fail_body)(void *user, aip_error **err);

struct alloc_fail_report {
        unsigned long n_failures; /* allocations that were made to fail, one a run */
        char problem[256];        /* empty when all is well */
};

/* Returns 0 when the body behaved, else -1 and says why in report->problem. */
int alloc_fail_each(alloc_fail_body body, void *user, struct alloc_fail_report *report);

/* For bodies that do not fit: from now on the n-th allocation (from 1) fails, once. */
void alloc_fail_arm(unsigned long n);
/* Ends it; 1 when an allocation was made to fail. */
int alloc_fail_disarm(void);

/* Needs criterion.h. */
#define ASSERT_SURVIVES_ALLOC_FAILURE(body, user)                                                  \
        do {                                                                                       \
                struct alloc_fail_report report_;                                                  \
                cr_assert_eq(alloc_fail_each((body), (user), &report_), 0, "%s", report_.problem); \
                cr_assert_gt(report_.n_failures, 0u, "the body allocates nothing");                \
        } while (0)

#endif
