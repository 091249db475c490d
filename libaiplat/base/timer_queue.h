/*
 * The timers of a loop: an intrusive pairing heap over struct aip_timer, ordered by due time, then
 * by the order in which they were armed. Shared by all loops. Arming allocates nothing; arm O(1),
 * remove and pop O(log n) amortised. It neither reads a clock nor fires anything.
 */
#ifndef AIPLAT_BASE_TIMER_QUEUE_H
#define AIPLAT_BASE_TIMER_QUEUE_H

#include <aiplat/ports/loop.h>

/* Zeroed memory is an empty queue. */
struct aip_timer_queue {
        struct aip_timer *root;
        uint64_t next_order;
};

/* Arm, or arm anew. */
void aip_timer_queue_set(struct aip_timer_queue *queue, struct aip_timer *timer, int64_t due_ms);
/* Does nothing when the timer is not armed. */
void aip_timer_queue_remove(struct aip_timer_queue *queue, struct aip_timer *timer);

/* The timer due first, still armed; NULL when there is none. */
static inline struct aip_timer *aip_timer_queue_first(const struct aip_timer_queue *queue)
{
        return queue->root;
}

/* Take off the first timer if it is due at `now_ms` and was armed before `order_limit` (take
 * queue->next_order when a turn begins: a timer that arms itself again with no delay then waits for
 * the next turn). NULL when there is none. */
struct aip_timer *aip_timer_queue_pop_due(struct aip_timer_queue *queue, int64_t now_ms,
                                          uint64_t order_limit);

#endif
