/* The timer heap, against a sorted array. */
#include "timer_queue.h"
#include "macros.h"
#include <aiplat/loops.h>
#include <criterion/criterion.h>

#define N_TIMERS 500

static struct aip_timer *pop(struct aip_timer_queue *queue, int64_t now_ms)
{
        return aip_timer_queue_pop_due(queue, now_ms, UINT64_MAX);
}

Test(timer_queue, equal_times_fire_in_the_order_of_arming)
{
        struct aip_timer_queue queue = {0};
        struct aip_timer timers[20] = {{0}};
        for (int i = 0; i < 20; i++)
                aip_timer_queue_set(&queue, &timers[i], i % 2 ? 5 : 3);
        for (int i = 0; i < 20; i += 2)
                cr_assert_eq(pop(&queue, 10), &timers[i]);
        for (int i = 1; i < 20; i += 2)
                cr_assert_eq(pop(&queue, 10), &timers[i]);
        cr_assert_null(pop(&queue, 10));
}

Test(timer_queue, nothing_is_due_early)
{
        struct aip_timer_queue queue = {0};
        struct aip_timer timer = {0};
        aip_timer_queue_set(&queue, &timer, 5);
        cr_assert_null(pop(&queue, 4));
        cr_assert_eq(pop(&queue, 5), &timer);
        cr_assert_not(timer.is_armed);
}

Test(timer_queue, what_is_armed_during_a_turn_waits_for_the_next)
{
        struct aip_timer_queue queue = {0};
        struct aip_timer a = {0}, b = {0};
        aip_timer_queue_set(&queue, &a, 5);
        uint64_t limit = queue.next_order;
        cr_assert_eq(aip_timer_queue_pop_due(&queue, 5, limit), &a);
        aip_timer_queue_set(&queue, &b, 5);
        aip_timer_queue_set(&queue, &a, 5);
        cr_assert_null(aip_timer_queue_pop_due(&queue, 5, limit));
        cr_assert_eq(aip_timer_queue_pop_due(&queue, 5, queue.next_order), &b);
}

Test(timer_queue, arming_anew_moves_and_clearing_is_idempotent)
{
        struct aip_timer_queue queue = {0};
        struct aip_timer a = {0}, b = {0};
        aip_timer_queue_set(&queue, &a, 5);
        aip_timer_queue_set(&queue, &b, 6);
        aip_timer_queue_set(&queue, &a, 7);
        cr_assert_eq(aip_timer_queue_first(&queue), &b);
        aip_timer_queue_remove(&queue, &b);
        aip_timer_queue_remove(&queue, &b);
        cr_assert_eq(aip_timer_queue_first(&queue), &a);
        aip_timer_queue_remove(&queue, &a);
        cr_assert_null(aip_timer_queue_first(&queue));
}

static struct aip_timer *expected_first(struct aip_timer *timers)
{
        struct aip_timer *first = NULL;
        for (int i = 0; i < N_TIMERS; i++) {
                struct aip_timer *t = &timers[i];
                if (t->is_armed && (!first || t->due_ms < first->due_ms ||
                                    (t->due_ms == first->due_ms && t->order < first->order)))
                        first = t;
        }
        return first;
}

Test(timer_queue, agrees_with_a_search_over_random_changes)
{
        static struct aip_timer timers[N_TIMERS];
        struct aip_timer_queue queue = {0};
        struct aip_seeded_random generator;
        struct aip_random random = aip_random_seeded(&generator, 11);
        for (int step = 0; step < 50000; step++) {
                uint64_t r = aip_random_u64(random);
                struct aip_timer *timer = &timers[r % N_TIMERS];
                switch (r >> 60 & 3) {
                case 0:
                        aip_timer_queue_remove(&queue, timer);
                        break;
                case 1:
                        if (aip_timer_queue_first(&queue))
                                pop(&queue, INT64_MAX);
                        break;
                default:
                        aip_timer_queue_set(&queue, timer, (int64_t)(r >> 20 & 1023));
                }
                cr_assert_eq(aip_timer_queue_first(&queue), expected_first(timers), "step %d",
                             step);
        }
        for (struct aip_timer *expected; (expected = expected_first(timers));)
                cr_assert_eq(pop(&queue, INT64_MAX), expected);
        cr_assert_null(queue.root);
}
