/*
 * Admission control of the job service: whether one more submission may wait for the store. Called by
 * job_service.c alone. It keeps the submissions that wait, in the order in which they came, and reads
 * the clock it is given; it must never end a submission itself.
 */
#ifndef AIPLAT_ADMISSION_H
#define AIPLAT_ADMISSION_H

#include <aiplat/job_service.h>

#define AIP_ADMISSION_TARGET_MS 500
#define AIP_ADMISSION_BURST_MS  100
#define AIP_ADMISSION_FREE      AIP_STORE_BATCH_MAX /* so many may always wait */
#define AIP_ADMISSION_SLOTS     10                  /* that the target is divided into */

struct aip_admission {
        struct aip_job_submit *oldest, *newest; /* borrowed; by next_waiting, previous_waiting */
        size_t n;
        /* what the store has answered within the target, in slots of time */
        int64_t slot;
        size_t served[AIP_ADMISSION_SLOTS], n_served;
};

/* 0: may enter. Otherwise after how many milliseconds it makes sense to ask again. */
int64_t aip_admission_retry_ms(struct aip_admission *admission, int64_t now_ms);
/* `submit` stays the caller's, and must leave before it ends. */
void aip_admission_enter(struct aip_admission *admission, struct aip_job_submit *submit,
                         int64_t now_ms);
void aip_admission_leave(struct aip_admission *admission, struct aip_job_submit *submit,
                         int is_served, int64_t now_ms);

#endif
