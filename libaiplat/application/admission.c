/*
 * Whether one more submission may wait for the store (admission.h).
 *
 * The rule: as many may wait as the store has answered in the last 500 ms. By Little's law (waiting =
 * rate × wait) the last of them is then answered within 500 ms, whatever is offered and however fast
 * the store is just now; a bound on the number alone would be nothing to a store that commits 20,000
 * jobs a second and ten seconds to one that commits 2,000. The store is never without work, as those
 * beyond are refused and the queue is not emptied.
 *
 * A store that had little to do has answered little, so the rule waits for the sign of a queue that
 * stands: the oldest has waited for 100 ms. As in CoDel (Nichols & Jacobson, "Controlling Queue Delay",
 * ACM Queue 10(5), 2012) a burst that is gone by then passes. And as many as the store takes in one
 * transaction may always wait: behind one slow commit they wait for that commit alone.
 */
#include "admission.h"

#include "macros.h"

#define SLOT_MS      (AIP_ADMISSION_TARGET_MS / AIP_ADMISSION_SLOTS)
#define RETRY_MAX_MS 60000

/* What was served longer ago than the target is forgotten. */
static void advance(struct aip_admission *a, int64_t now_ms)
{
        int64_t slot = now_ms / SLOT_MS;

        a->slot = AIP_MAX(a->slot, slot - AIP_ADMISSION_SLOTS);
        while (a->slot < slot) {
                size_t *oldest = &a->served[++a->slot % AIP_ADMISSION_SLOTS];

                a->n_served -= *oldest;
                *oldest = 0;
        }
}

int64_t aip_admission_retry_ms(struct aip_admission *a, int64_t now_ms)
{
        int64_t waited_ms = a->oldest ? now_ms - a->oldest->since_ms : 0;

        if (a->n < AIP_ADMISSION_FREE || waited_ms <= AIP_ADMISSION_BURST_MS)
                return 0;
        advance(a, now_ms);
        if (a->n < a->n_served)
                return 0;
        if (a->n_served == 0)
                return waited_ms; /* it stands still: it may do so for as long again */
        return (int64_t)AIP_MIN(a->n * AIP_ADMISSION_TARGET_MS / a->n_served, (size_t)RETRY_MAX_MS);
}

void aip_admission_enter(struct aip_admission *a, struct aip_job_submit *submit, int64_t now_ms)
{
        submit->since_ms = now_ms;
        submit->next_waiting = NULL;
        submit->previous_waiting = a->newest;
        if (a->newest)
                a->newest->next_waiting = submit;
        else
                a->oldest = submit;
        a->newest = submit;
        a->n++;
}

void aip_admission_leave(struct aip_admission *a, struct aip_job_submit *submit, int is_served,
                         int64_t now_ms)
{
        if (submit->previous_waiting)
                submit->previous_waiting->next_waiting = submit->next_waiting;
        else
                a->oldest = submit->next_waiting;
        if (submit->next_waiting)
                submit->next_waiting->previous_waiting = submit->previous_waiting;
        else
                a->newest = submit->previous_waiting;
        a->n--;
        if (!is_served)
                return;
        advance(a, now_ms);
        a->served[a->slot % AIP_ADMISSION_SLOTS]++;
        a->n_served++;
}
