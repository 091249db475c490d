/* Admission control: a store of a given rate, clients that offer more, a millisecond at a time. */
#include "admission.h"

#include "macros.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define SECONDS 60

struct trial {
        struct aip_admission admission;
        struct aip_job_submit *submits;
        size_t n_submits;
        int64_t n_served, n_refused, longest_wait_ms, shortest_retry_ms, longest_retry_ms;
        size_t most;
};

static void arrive(struct trial *t, int64_t now_ms)
{
        int64_t retry_ms = aip_admission_retry_ms(&t->admission, now_ms);

        if (retry_ms == 0) {
                aip_admission_enter(&t->admission, &t->submits[t->n_submits++], now_ms);
                t->most = AIP_MAX(t->most, t->admission.n);
                return;
        }
        t->n_refused++;
        t->shortest_retry_ms = AIP_MIN(t->shortest_retry_ms, retry_ms);
        t->longest_retry_ms = AIP_MAX(t->longest_retry_ms, retry_ms);
}

static void serve(struct trial *t, int64_t n, int64_t now_ms)
{
        for (struct aip_job_submit *s; n > 0 && (s = t->admission.oldest) != NULL; n--) {
                t->longest_wait_ms = AIP_MAX(t->longest_wait_ms, now_ms - s->since_ms);
                aip_admission_leave(&t->admission, s, 1, now_ms);
                t->n_served++;
        }
}

/* Whole numbers a tick; the store serves `per_turn` every `turn_ms`, the clients offer `offered` each
 * millisecond. */
static struct trial *try(int64_t per_turn, int64_t turn_ms, int64_t offered)
{
        struct trial *t = calloc(1, sizeof(*t));

        cr_assert_not_null(t);
        t->shortest_retry_ms = INT64_MAX;
        t->submits = calloc((size_t)(offered * SECONDS * 1000), sizeof(*t->submits));
        cr_assert_not_null(t->submits);
        for (int64_t now_ms = 1; now_ms <= SECONDS * 1000; now_ms++) {
                for (int64_t i = 0; i < offered; i++)
                        arrive(t, now_ms);
                if (now_ms % turn_ms == 0)
                        serve(t, per_turn, now_ms);
        }
        return t;
}

static void end(struct trial *t)
{
        free(t->submits);
        free(t);
}

Test(admission, keeps_a_store_busy_and_waits_short_whatever_is_offered)
{
        static const struct {
                int64_t per_turn, turn_ms, offered; /* and so capacity in jobs a millisecond */
        } stores[] = {{20, 10, 6},   {100, 10, 30}, {512, 256, 6},
                      {512, 512, 3}, {20, 20, 3},   {40, 20, 20}};

        for (size_t i = 0; i < AIP_ARRAY_SIZE(stores); i++) {
                int64_t per_s = stores[i].per_turn * 1000 / stores[i].turn_ms;
                /* ten times as much: the burst that is let in takes ten times its time, once */
                int64_t burst_ms = AIP_ADMISSION_BURST_MS * stores[i].offered * 1000 / per_s;
                int64_t bound_ms =
                        AIP_MAX((int64_t)AIP_ADMISSION_TARGET_MS, burst_ms) + 2 * stores[i].turn_ms;
                struct trial *t = try(stores[i].per_turn, stores[i].turn_ms, stores[i].offered);

                cr_expect(t->n_served >= per_s * (SECONDS - 1), "%zu: %lld served", i,
                          (long long)t->n_served);
                cr_expect(t->longest_wait_ms <= bound_ms, "%zu: waited %lld ms", i,
                          (long long)t->longest_wait_ms);
                cr_expect(t->most <=
                          AIP_MAX((size_t)(per_s * bound_ms / 1000), (size_t)AIP_ADMISSION_FREE));
                cr_expect(t->n_refused > 0 && t->shortest_retry_ms > 0);
                cr_expect(t->longest_retry_ms <= 8000, "%lld", (long long)t->longest_retry_ms);
                end(t);
        }
}

Test(admission, refuses_nobody_below_capacity)
{
        struct trial *t = try(100, 50, 1);

        cr_expect_eq(t->n_refused, 0);
        cr_expect_eq(t->n_served, SECONDS * 1000);
        end(t);
}

Test(admission, a_store_that_stops_refuses_all_but_the_next_transaction)
{
        struct trial *t = try(0, 1, 1);

        cr_expect_eq(t->admission.n, (size_t)AIP_ADMISSION_FREE);
        serve(t, AIP_ADMISSION_FREE, SECONDS * 1000);
        cr_expect_null(t->admission.oldest);
        cr_expect_null(t->admission.newest);
        cr_expect_eq(aip_admission_retry_ms(&t->admission, SECONDS * 1000), 0);
        end(t);
}

/* Nobody has measured yet what the store can do: a burst that it gets through in time passes. */
Test(admission, lets_a_burst_pass)
{
        struct aip_admission a = {.n = 0};
        static struct aip_job_submit s[4000];

        for (size_t i = 0; i < AIP_ARRAY_SIZE(s); i++) {
                cr_expect_eq(aip_admission_retry_ms(&a, 1000), 0);
                aip_admission_enter(&a, &s[i], 1000);
        }
        cr_expect_eq(aip_admission_retry_ms(&a, 1000 + AIP_ADMISSION_BURST_MS), 0);
        cr_expect_gt(aip_admission_retry_ms(&a, 1001 + AIP_ADMISSION_BURST_MS), 0);
        for (size_t i = 0; i < 2500; i++)
                aip_admission_leave(&a, &s[i], 1, 1200);
        cr_expect_eq(aip_admission_retry_ms(&a, 1200), 0);
}

Test(admission, submissions_may_leave_in_any_order)
{
        struct aip_admission a = {.n = 0};
        struct aip_job_submit s[4];

        for (int i = 0; i < 4; i++)
                aip_admission_enter(&a, &s[i], i);
        aip_admission_leave(&a, &s[1], 1, 4);
        cr_expect_eq(a.oldest, &s[0]);
        aip_admission_leave(&a, &s[0], 0, 4);
        cr_expect_eq(a.oldest, &s[2]);
        aip_admission_leave(&a, &s[3], 1, 5);
        cr_expect_eq(a.newest, &s[2]);
        aip_admission_leave(&a, &s[2], 1, 5);
        cr_expect(a.n == 0 && !a.oldest && !a.newest && a.n_served == 3);
}
