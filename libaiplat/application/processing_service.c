/*
 * The worker (processing_service.h): from the task message to the recorded outcome. This file takes
 * messages, claims jobs and keeps the lease; what happens to one claimed job is in job_run.c.
 *
 *     on_deliveries ──► [deliveries waiting]
 *                              │  a slot is free; no claim is in flight, or this one is large
 *                              ▼
 *                           claim ──► acknowledge ──► job_run_start ──► … ──► run_ended
 *                              ▲
 *     idle, nothing waiting ───┘  (look for due jobs in the store itself: the broker may be away,
 *                                  or may have lost its queue)
 *
 * A message is acknowledged once the claim is committed: from then on the lease stands in for it.
 * Ids that could not be claimed are duplicates or cancelled jobs, and are acknowledged and dropped.
 *
 * A slot is taken from the claim until the outcome is known. While outcomes are being recorded, the
 * next jobs are claimed and run, so that store and worker do not wait for each other.
 *
 * Messages do not say whose configuration a job is of, so a long backlog of one would keep all others
 * waiting behind it. Therefore one configuration gets no more than its share of the slots, and a worker
 * that can take no message for want of slots looks into the store, again and again, for due jobs of
 * configurations that hold less than an equal part. While there are such jobs, slots that become
 * free are theirs. Their messages, when they come, find nothing to claim.
 */
#include <aiplat/processing_service.h>

#include "fault_point.h"
#include "job_run.h"
#include "macros.h"
#include "mem.h"
#include "trouble.h"

#define CONCURRENCY 256
#define CLAIMS_MAX  2   /* in flight at once: while one is taken apart, the store is at the next */
#define LARGE_CLAIM 256 /* a further one waits until it is worth a transaction of its own */
#define RECORDING_MIN                                                                              \
        2048 /* outcomes may be on their way to the store: so many, or as many as slots */
#define LEASE_MS       10000
#define HEARTBEAT_MS   3000
#define CLAIM_RETRY_MS 500
#define IDLE_LOOK_MS   1000 /* between looks into the store while idle */
#define FAIR_LOOK_MS   250  /* between looks for other configurations' jobs while slots are short */
#define RESERVE_PART   20   /* a 20th of the slots is kept from any one configuration, */
#define RESERVE_MAX    32   /* but never more than these: enough for others to be noticed */
#define OVERDUE_MS     5000 /* with a broker at hand, a due job is given so long to come by message */
/* How long the store may take. Short of the lease, and such that a worker whose store is away still
 * leaves within seconds. */
#define STORE_WAIT_MS   3000
#define LEAVE_WAIT_MS   2000
#define CATALOG_WAIT_MS 200 /* then again; bounds what a close at that moment has to wait */

/* A claim in flight, or room for one. */
struct claim {
        struct aip_job_claim op;
        struct aip_processing_service *service;
        struct aip_delivery *deliveries; /* its messages, to be acknowledged */
        struct aip_id *ids;
        size_t n;     /* messages */
        size_t slots; /* taken for it */
        int is_sent;
        int is_fair; /* a look for jobs of other configurations */
};

struct aip_processing_service {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_job_repository jobs;
        struct aip_queue queue;
        struct aip_run_ports ports;
        int64_t lease_ms, heartbeat_ms;
        uint32_t concurrency;
        uint32_t share; /* slots that one configuration may hold */

        struct aip_id_source ids;
        struct aip_id session;

        /* messages that wait for a slot: a ring as large as the prefetch */
        struct aip_consumer consumer;
        struct aip_delivery *waiting;
        size_t first_waiting, n_waiting;
        uint32_t prefetch;

        struct claim claims[CLAIMS_MAX];
        unsigned n_claims;    /* in flight */
        size_t n_claim_slots; /* taken for them */
        int has_looked;       /* into the store for all that is due, to the end, since the start */
        int has_more;         /* the last look found as much as there were slots */
        struct aip_op catalog_op; /* waits for the first snapshot: no job can run without one */
        int is_waiting_for_catalog;
        struct aip_task pump_task;
        struct aip_timer look_timer;
        struct aip_trouble claim_trouble, heartbeat_trouble;
        struct aip_timer fair_timer;
        int is_fair_due;      /* the next slots are for others than these: */
        struct aip_str *full; /* they held an equal part when slots became short */
        size_t n_full;

        /* jobs in flight */
        struct aip_list runs;
        size_t n_running;

        /* lease */
        struct aip_heartbeat heartbeat;
        struct aip_fence *fences;  /* what the heartbeat in flight was told */
        struct aip_fence *unknown; /* of the last heartbeat: handed back when seen twice */
        size_t n_unknown;
        struct aip_timer heartbeat_timer;
        int is_beating;
        uint64_t n_beats;
        struct aip_release release;
        int is_releasing;

        struct aip_store_watcher watcher;
        aip_metrics *registry;
        struct aip_metrics_source metrics;

        struct aip_op *closing;
        struct aip_timer drain_timer;
        int is_leaving; /* the session is being ended */
};

static void pump(struct aip_task *task);
static void go_on_closing(struct aip_processing_service *s);

static uint32_t free_slots(const struct aip_processing_service *s)
{
        size_t n_taken = s->n_running - s->ports.n_recording + s->n_claim_slots;

        if (s->ports.n_recording >= AIP_MAX(s->concurrency, (uint32_t)RECORDING_MIN))
                return 0;
        return n_taken < s->concurrency ? s->concurrency - (uint32_t)n_taken : 0;
}

/* As much as may be claimed without knowing whose configuration it is. */
static uint32_t open_slots(const struct aip_processing_service *s)
{
        size_t n_taken = aip_fair_share_most(&s->ports.shares) + s->n_claim_slots;

        return n_taken < s->share ? AIP_MIN(free_slots(s), s->share - (uint32_t)n_taken) : 0;
}

static struct claim *free_claim(struct aip_processing_service *s)
{
        for (unsigned i = 0; i < CLAIMS_MAX; i++)
                if (!s->claims[i].is_sent)
                        return &s->claims[i];
        return NULL;
}

/* ── messages ────────────────────────────────────────────────────────────────────────────────── */

static void on_deliveries(struct aip_consumer *consumer, const struct aip_delivery *deliveries,
                          size_t n)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(consumer, struct aip_processing_service, consumer);

        for (size_t i = 0; i < n && s->n_waiting < s->prefetch; i++) {
                s->waiting[(s->first_waiting + s->n_waiting) % s->prefetch] = deliveries[i];
                s->n_waiting++;
        }
        aip_defer(s->loop, &s->pump_task);
}

static void on_lost(struct aip_consumer *consumer)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(consumer, struct aip_processing_service, consumer);

        /* They come again. Those of claims in flight, too: they can be neither acknowledged nor put
         * back, where they would take the place of their own second coming. */
        s->n_waiting = 0;
        for (unsigned i = 0; i < CLAIMS_MAX; i++)
                s->claims[i].n = 0;
}

/* ── claiming ────────────────────────────────────────────────────────────────────────────────── */

static void new_session(struct aip_processing_service *s)
{
        s->session = aip_id_next(&s->ids, aip_wall_us(s->loop));
        s->n_unknown = 0;
}

static void run_ended(void *user, struct aip_job_run *run)
{
        struct aip_processing_service *s = user;

        aip_list_remove(&run->link);
        s->n_running--;
        aip_job_run_free(run);
        aip_defer(s->loop, &s->pump_task);
        go_on_closing(s);
}

static void start_run(struct aip_processing_service *s, aip_job *job,
                      const struct aip_transition *transition, int64_t catalog_revision)
{
        struct aip_job_run *run = aip_job_run_new(&s->ports, job, run_ended, s);

        aip_outbox_relay_push(s->ports.relay, transition);
        if (!run) {
                /* Out of memory: the lease runs out, or the next heartbeat finds the job unknown and
                 * hands it back. */
                aip_log_write(s->log, AIP_LOG_ERROR, "worker",
                              "out of memory: a claimed job is handed back");
                aip_job_free(job);
                return;
        }
        run->catalog_revision = catalog_revision;
        run->slot = aip_fair_share_enter(&s->ports.shares, aip_job_fields(job)->config_name);
        aip_list_append(&s->runs, &run->link);
        s->n_running++;
        aip_job_run_start(run);
        if (s->closing)
                aip_job_run_stop(run, AIP_RUN_HAND_BACK);
}

static void take_claimed(struct aip_processing_service *s, struct claim *claim)
{
        struct aip_job_claim *op = &claim->op;

        AIP_FAULT_POINT("claim.committed");
        if (claim->n > 0)
                s->queue.ops->acknowledge(s->queue.self, claim->deliveries, claim->n);
        AIP_FAULT_POINT("claim.acknowledged");
        for (size_t i = 0; i < op->ret_n; i++)
                start_run(s, op->ret_jobs[i], &op->ret_transitions[i], op->ret_catalog_revision);
        free(op->ret_jobs);
        free(op->ret_transitions);
}

/* The claim did not happen, or nobody knows: its messages go back to the head of the line. */
static void put_back(struct aip_processing_service *s, const struct claim *claim)
{
        size_t n = AIP_MIN(claim->n, (size_t)s->prefetch - s->n_waiting);

        for (size_t i = n; i > 0; i--) {
                s->first_waiting = (s->first_waiting + s->prefetch - 1) % s->prefetch;
                s->waiting[s->first_waiting] = claim->deliveries[i - 1];
                s->n_waiting++;
        }
}

static void note_full(struct aip_processing_service *s)
{
        aip_free(AIP_TAKE(s->full));
        s->n_full = aip_fair_share_full(&s->ports.shares, s->concurrency, &s->full);
}

/* While no message can be taken there may be others' jobs behind it. */
static void watch_fairness(struct aip_processing_service *s)
{
        if (open_slots(s) == 0 && s->n_claims == 0 && !s->is_fair_due && !s->closing &&
            !s->fair_timer.is_armed)
                aip_timer_set(s->loop, &s->fair_timer, FAIR_LOOK_MS);
}

static void fair_look_due(struct aip_timer *timer)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(timer, struct aip_processing_service, fair_timer);

        if (s->closing || open_slots(s) > 0)
                return;
        note_full(s);
        s->is_fair_due = 1;
        aip_defer(s->loop, &s->pump_task);
}

/* It found as much as was wanted: the next free slots are for these jobs, too. Who has to stand back is
 * judged anew only when all slots are taken again, not while some happen to be free. */
static void fair_look_over(struct aip_processing_service *s, const struct aip_job_claim *look,
                           int has_failed)
{
        s->is_fair_due = !has_failed && look->ret_n == look->limit;
        if (s->is_fair_due && free_slots(s) == 0)
                note_full(s);
        aip_defer(s->loop, &s->pump_task);
}

/* What a look into the store has told. */
static int take_look(struct aip_processing_service *s, const struct aip_job_claim *look)
{
        s->has_more = look->ret_n == look->limit;
        if (look->min_due_ms == 0 && !s->has_more)
                s->has_looked = 1;
        return s->has_more;
}

/* Most of these messages were for jobs that a look has taken before: what is due does come by message,
 * and to look on would only make more messages idle. */
static void take_message_claim(struct aip_processing_service *s, const struct aip_job_claim *op)
{
        if (op->ret_n * 2 >= op->n_ids)
                return;
        s->has_looked = 1;
        s->has_more = 0;
}

static void claim_failed(struct aip_processing_service *s, const struct claim *claim,
                         const aip_error *err)
{
        put_back(s, claim);
        if (aip_error_code(err) == AIP_ESTATE && aip_id_equal(&claim->op.session, &s->session))
                new_session(s);
        aip_trouble_occurred(&s->claim_trouble, s->log, "worker", aip_now_ms(s->loop),
                             "claim failed", aip_error_message(err));
}

static void claim_done(struct aip_op *op)
{
        struct claim *claim = AIP_CONTAINER_OF(op, struct claim, op.op);
        struct aip_processing_service *s = claim->service;
        _cleanup_(aip_error_free_p) aip_error *err = AIP_TAKE(op->err);

        claim->is_sent = 0;
        s->n_claims--;
        s->n_claim_slots -= claim->slots;
        if (!err) {
                int has_more = claim->op.n_ids == 0 && !claim->is_fair && take_look(s, &claim->op);

                aip_trouble_over(&s->claim_trouble, s->log, "worker", "claim failed");
                if (claim->op.n_ids > 0)
                        take_message_claim(s, &claim->op);
                take_claimed(s, claim);
                if (s->n_waiting > 0 || has_more)
                        aip_defer(s->loop, &s->pump_task);
        } else {
                claim_failed(s, claim, err);
        }
        if (claim->is_fair)
                fair_look_over(s, &claim->op, err != NULL);
        watch_fairness(s);
        if (!s->closing && s->n_claims == 0)
                aip_timer_set(s->loop, &s->look_timer, err ? CLAIM_RETRY_MS : IDLE_LOOK_MS);
        go_on_closing(s);
}

static void send_claim(struct aip_processing_service *s, struct claim *claim, size_t n_ids,
                       int64_t min_due_ms, uint32_t limit)
{
        struct aip_job_claim *op = &claim->op;

        aip_timer_clear(s->loop, &s->look_timer);
        *op = (struct aip_job_claim){.op = {.done = claim_done}};
        op->op.deadline_ms = aip_now_ms(s->loop) + STORE_WAIT_MS;
        op->session = s->session;
        op->lease_ms = s->lease_ms;
        op->ids = claim->ids;
        op->n_ids = n_ids;
        op->min_due_ms = min_due_ms;
        op->limit = AIP_MIN(limit, (uint32_t)AIP_STORE_BATCH_MAX);
        if (claim->is_fair) {
                op->without_configs = s->full;
                op->n_without_configs = s->n_full;
        }
        claim->n = n_ids;
        claim->slots = n_ids > 0 ? n_ids : op->limit;
        claim->is_sent = 1;
        s->n_claims++;
        s->n_claim_slots += claim->slots;
        s->jobs.ops->claim(s->jobs.self, op);
}

/* At the start for all that is due, so that what waited for a restart does not wait for the broker
 * too; also while the broker is away; else only for what is overdue, which is what a lost queue looks
 * like. One look at a time, and no other claim beside it. */
static void claim_from_store(struct aip_processing_service *s)
{
        int is_connected = s->queue.ops->is_connected(s->queue.self);

        struct claim *claim = free_claim(s);

        claim->is_fair = 0;
        send_claim(s, claim, 0, s->has_looked && is_connected ? OVERDUE_MS : 0, open_slots(s));
}

/* Those that are not left out hold less than a half: together with that it stays within the share. */
static void claim_fairly(struct aip_processing_service *s)
{
        struct claim *claim = free_claim(s);
        uint32_t limit = s->share > s->concurrency / 2 ? s->share - s->concurrency / 2 : 1;

        claim->is_fair = 1;
        send_claim(s, claim, 0, 0, AIP_MIN(free_slots(s), limit));
}

static void claim_waiting(struct aip_processing_service *s, size_t n)
{
        struct claim *claim = free_claim(s);

        for (size_t i = 0; i < n; i++) {
                claim->deliveries[i] = s->waiting[s->first_waiting];
                claim->ids[i] = claim->deliveries[i].job_id;
                s->first_waiting = (s->first_waiting + 1) % s->prefetch;
        }
        s->n_waiting -= n;
        claim->is_fair = 0;
        send_claim(s, claim, n, 0, (uint32_t)n);
}

/* Claim what messages announce, as much as there are slots; without messages, what the store had more
 * of. */
static void pump(struct aip_task *task)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(task, struct aip_processing_service, pump_task);

        if (s->is_fair_due && !s->closing) {
                if (s->n_claims == 0 && free_slots(s) > 0)
                        claim_fairly(s);
                return;
        }
        while (s->n_claims < CLAIMS_MAX && !s->closing) {
                size_t n = AIP_MIN((size_t)open_slots(s), s->n_waiting);

                n = AIP_MIN(n, (size_t)AIP_STORE_BATCH_MAX);
                if (n == 0 || (s->n_claims > 0 && n < LARGE_CLAIM))
                        break;
                claim_waiting(s, n);
        }
        if (s->n_claims == 0 && !s->closing && s->has_more && s->n_waiting == 0 &&
            open_slots(s) > 0)
                claim_from_store(s);
        watch_fairness(s);
}

/* Nothing has come by message for a while. */
static void look(struct aip_timer *timer)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(timer, struct aip_processing_service, look_timer);

        if (s->n_claims > 0 || s->closing)
                return;
        if (s->n_waiting == 0 && open_slots(s) > 0 && !s->is_fair_due) {
                claim_from_store(s);
                return;
        }
        if (s->n_waiting > 0 || s->is_fair_due)
                aip_defer(s->loop, &s->pump_task);
        aip_timer_set(s->loop, &s->look_timer, IDLE_LOOK_MS);
}

/* ── the lease ───────────────────────────────────────────────────────────────────────────────── */

static struct aip_job_run *find_run(struct aip_processing_service *s, const struct aip_id *job_id)
{
        return aip_hash_map_get_id(&s->ports.runs, job_id);
}

/* What the last heartbeat said to be gone. A job that was claimed anew since is another run, of which
 * it said nothing. */
static void stop_gone(struct aip_processing_service *s)
{
        for (size_t i = 0; i < s->heartbeat.ret_n_gone; i++) {
                struct aip_job_run *run = find_run(s, &s->heartbeat.ret_gone[i]);

                if (run && run->beat == s->n_beats)
                        aip_job_run_stop(run, AIP_RUN_GONE);
        }
}

static void stop_all(struct aip_processing_service *s, enum aip_run_stop why)
{
        AIP_LIST_FOREACH (node, &s->runs)
                aip_job_run_stop(AIP_LIST_ENTRY(node, struct aip_job_run, link), why);
}

static void release_done(struct aip_op *op)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(op, struct aip_processing_service, release.op);

        AIP_FAULT_POINT("release");
        s->is_releasing = 0;
        if (!op->err) {
                for (size_t i = 0; i < s->release.ret_n; i++)
                        aip_outbox_relay_push(s->ports.relay, &s->release.ret_transitions[i]);
                free(s->release.ret_transitions);
        }
        aip_error_free(AIP_TAKE(op->err));
        go_on_closing(s);
}

static void send_release(struct aip_processing_service *s, int is_leaving)
{
        s->is_releasing = 1;
        s->release = (struct aip_release){.op = {.done = release_done}, .session = s->session};
        s->release.op.deadline_ms =
                aip_now_ms(s->loop) + (is_leaving ? LEAVE_WAIT_MS : STORE_WAIT_MS);
        s->release.fences = s->unknown;
        s->release.n_fences = is_leaving ? 0 : s->n_unknown;
        s->release.is_leaving = is_leaving;
        s->jobs.ops->release(s->jobs.self, &s->release);
}

static int was_unknown(const struct aip_processing_service *s, const struct aip_fence *fence)
{
        for (size_t i = 0; i < s->n_unknown; i++)
                if (s->unknown[i].version == fence->version &&
                    aip_id_equal(&s->unknown[i].job_id, &fence->job_id))
                        return 1;
        return 0;
}

/* Jobs that the store thinks we have: the answer to a claim got lost. A claim that is just being
 * answered looks the same, so a job is handed back only when two heartbeats in a row find it. */
static void hand_back_unknown(struct aip_processing_service *s)
{
        struct aip_heartbeat *beat = &s->heartbeat;
        size_t n = 0;

        if (s->is_releasing)
                return;
        for (size_t i = 0; i < beat->ret_n_unknown; i++) {
                const struct aip_fence *fence = &beat->ret_unknown[i];

                if (!find_run(s, &fence->job_id) && was_unknown(s, fence))
                        beat->ret_unknown[n++] = *fence;
        }
        if (n > 0) {
                aip_log_write(s->log, AIP_LOG_WARNING, "worker",
                              "handing back %zu jobs whose claim was never answered", n);
                aip_free(s->unknown);
                s->unknown = AIP_TAKE(beat->ret_unknown);
                s->n_unknown = n;
                send_release(s, 0);
        }
}

static void take_heartbeat(struct aip_processing_service *s)
{
        struct aip_heartbeat *beat = &s->heartbeat;

        if (beat->ret_is_lost) {
                aip_log_write(s->log, AIP_LOG_WARNING, "worker",
                              "the lease was lost: stopping %zu jobs", s->n_running);
                stop_all(s, AIP_RUN_GONE);
                new_session(s);
        } else {
                stop_gone(s);
                hand_back_unknown(s);
                if (!s->is_releasing) {
                        aip_free(s->unknown);
                        s->unknown = AIP_TAKE(beat->ret_unknown);
                        s->n_unknown = beat->ret_n_unknown;
                }
        }
        free(beat->ret_gone);
        free(beat->ret_unknown);
}

static void heartbeat_done(struct aip_op *op)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(op, struct aip_processing_service, heartbeat.op);

        AIP_FAULT_POINT("heartbeat");
        s->is_beating = 0;
        if (op->err) {
                aip_trouble_occurred(&s->heartbeat_trouble, s->log, "worker", aip_now_ms(s->loop),
                                     "heartbeat failed", aip_error_message(op->err));
        } else {
                aip_trouble_over(&s->heartbeat_trouble, s->log, "worker", "heartbeat failed");
                take_heartbeat(s);
        }
        aip_error_free(AIP_TAKE(op->err));
        aip_free(AIP_TAKE(s->fences));
        if (!s->is_leaving)
                aip_timer_set(s->loop, &s->heartbeat_timer, s->heartbeat_ms);
        go_on_closing(s);
}

static void beat(struct aip_timer *timer)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(timer, struct aip_processing_service, heartbeat_timer);
        size_t n = 0;

        s->fences = aip_calloc(s->n_running + 1, sizeof(*s->fences));
        if (!s->fences) {
                aip_timer_set(s->loop, &s->heartbeat_timer, s->heartbeat_ms / 4);
                return;
        }
        s->n_beats++;
        AIP_LIST_FOREACH (node, &s->runs) {
                struct aip_job_run *run = AIP_LIST_ENTRY(node, struct aip_job_run, link);

                if (!aip_job_run_holds_claim(run))
                        continue;
                run->beat = s->n_beats;
                s->fences[n++] = run->fence;
        }
        s->is_beating = 1;
        s->heartbeat = (struct aip_heartbeat){.op = {.done = heartbeat_done}};
        s->heartbeat.op.deadline_ms = aip_now_ms(s->loop) + STORE_WAIT_MS;
        s->heartbeat.session = s->session;
        s->heartbeat.lease_ms = s->lease_ms;
        s->heartbeat.running = s->fences;
        s->heartbeat.n_running = n;
        s->jobs.ops->heartbeat(s->jobs.self, &s->heartbeat);
}

static void jobs_cancelled(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(watcher, struct aip_processing_service, watcher);

        for (size_t i = 0; i < n; i++) {
                struct aip_job_run *run = find_run(s, &ids[i]);

                if (run)
                        aip_job_run_stop(run, AIP_RUN_GONE);
        }
}

/* Cancellations may have been missed while nobody listened: ask at once. */
static void store_connected(struct aip_store_watcher *watcher)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(watcher, struct aip_processing_service, watcher);

        if (!s->is_beating && s->n_running > 0 && !s->is_leaving)
                aip_timer_set(s->loop, &s->heartbeat_timer, 0);
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

static void drain_over(struct aip_timer *timer)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(timer, struct aip_processing_service, drain_timer);

        aip_log_write(s->log, AIP_LOG_WARNING, "worker",
                      "handing back %zu jobs that did not end in time", s->n_running);
        stop_all(s, AIP_RUN_HAND_BACK);
}

static void service_free(struct aip_processing_service *s)
{
        s->jobs.ops->unwatch(s->jobs.self, &s->watcher);
        aip_metrics_remove(s->registry, &s->metrics);
        aip_run_ports_deinit(&s->ports);
        aip_free(s->waiting);
        for (unsigned i = 0; i < CLAIMS_MAX; i++) {
                aip_free(s->claims[i].deliveries);
                aip_free(s->claims[i].ids);
        }
        aip_free(s->unknown);
        aip_free(s->full);
        aip_free(s);
}

/* Closing goes on whenever something has ended: first the claim and the runs, then the session. */
static void go_on_closing(struct aip_processing_service *s)
{
        if (!s->closing || s->n_claims > 0 || s->n_running > 0 || s->is_beating ||
            s->is_releasing || s->is_waiting_for_catalog)
                return;
        if (!s->is_leaving) {
                s->is_leaving = 1;
                aip_timer_clear(s->loop, &s->heartbeat_timer);
                send_release(s, 1);
                return;
        }
        struct aip_op *closing = s->closing;
        struct aip_loop loop = s->loop;

        aip_timer_clear(loop, &s->drain_timer);
        aip_undefer(loop, &s->pump_task);
        service_free(s);
        aip_op_finish(loop, closing, NULL);
}

void aip_processing_service_close(aip_processing_service *s, struct aip_op *op)
{
        s->closing = op;
        s->queue.ops->stop_consuming(s->queue.self, &s->consumer);
        s->n_waiting = 0;
        aip_timer_clear(s->loop, &s->look_timer);
        aip_timer_clear(s->loop, &s->fair_timer);
        aip_timer_set(s->loop, &s->drain_timer,
                      AIP_MAX(op->deadline_ms - aip_now_ms(s->loop), (int64_t)0));
        go_on_closing(s);
}

static void begin(struct aip_processing_service *s)
{
        s->consumer.on_deliveries = on_deliveries;
        s->consumer.on_lost = on_lost;
        s->consumer.prefetch = s->prefetch;
        s->queue.ops->consume(s->queue.self, &s->consumer);
        aip_timer_set(s->loop, &s->look_timer, 0);
        aip_timer_set(s->loop, &s->heartbeat_timer, s->heartbeat_ms);
}

static void catalog_waited(struct aip_op *op)
{
        struct aip_processing_service *s =
                AIP_CONTAINER_OF(op, struct aip_processing_service, catalog_op);

        s->is_waiting_for_catalog = 0;
        aip_error_free(AIP_TAKE(op->err));
        if (s->closing)
                go_on_closing(s);
        else if (aip_catalog_service_current(s->ports.catalog))
                begin(s);
        else
                aip_processing_service_start(s);
}

void aip_processing_service_start(aip_processing_service *s)
{
        s->is_waiting_for_catalog = 1;
        s->catalog_op = (struct aip_op){.done = catalog_waited};
        s->catalog_op.deadline_ms = aip_now_ms(s->loop) + CATALOG_WAIT_MS;
        aip_catalog_service_wait(s->ports.catalog, &s->catalog_op);
}

size_t aip_processing_service_running(const aip_processing_service *s)
{
        return s->n_running;
}

static void take_options(struct aip_processing_service *s,
                         const struct aip_processing_service_options *o)
{
        s->loop = o->loop;
        s->log = o->log;
        s->jobs = o->jobs;
        s->queue = o->queue;
        s->concurrency = o->concurrency ? o->concurrency : CONCURRENCY;
        s->share = s->concurrency - AIP_MIN(s->concurrency / RESERVE_PART, (uint32_t)RESERVE_MAX);
        s->lease_ms = o->lease_ms ? o->lease_ms : LEASE_MS;
        s->heartbeat_ms = o->heartbeat_ms ? o->heartbeat_ms : HEARTBEAT_MS;
        /* Enough that the next claim is full while those in flight commit. */
        s->prefetch = AIP_MIN(2 * s->concurrency, (CLAIMS_MAX + 1u) * AIP_STORE_BATCH_MAX);
        aip_id_source_init(&s->ids, o->random);
        aip_run_ports_init(&s->ports, o);
        s->ports.slot_free = &s->pump_task;
}

static int make_claims(struct aip_processing_service *s)
{
        for (unsigned i = 0; i < CLAIMS_MAX; i++) {
                struct claim *claim = &s->claims[i];

                claim->service = s;
                claim->deliveries = aip_calloc(AIP_STORE_BATCH_MAX, sizeof(*claim->deliveries));
                claim->ids = aip_calloc(AIP_STORE_BATCH_MAX, sizeof(*claim->ids));
                if (!claim->deliveries || !claim->ids)
                        return AIP_ENOMEM;
        }
        return 0;
}

static void write_metrics(struct aip_metrics_source *source, struct aip_metrics_writer *w)
{
        const struct aip_processing_service *s =
                AIP_CONTAINER_OF(source, struct aip_processing_service, metrics);

        aip_metrics_one(w, "aiplat_jobs_running", AIP_METRICS_GAUGE, "Jobs in this worker.",
                        (int64_t)s->n_running);
        aip_metrics_one(w, "aiplat_jobs_running_max", AIP_METRICS_GAUGE,
                        "Jobs that it runs at once.", s->concurrency);
        aip_metrics_one(w, "aiplat_deliveries_waiting", AIP_METRICS_GAUGE,
                        "Messages that it holds and has no room for yet.", (int64_t)s->n_waiting);
        aip_metrics_one(w, "aiplat_outcomes_unrecorded", AIP_METRICS_GAUGE,
                        "Attempts that have ended, and whose outcome is on its way to the store.",
                        (int64_t)s->ports.n_recording);
        aip_worker_metrics_write(&s->ports.metrics, w);
}

int aip_processing_service_new(const struct aip_processing_service_options *o,
                               aip_processing_service **ret_service, aip_error **err)
{
        struct aip_processing_service *s = aip_calloc(1, sizeof(*s));
        int r;

        if (!s)
                return aip_error_set_nomem(err);
        take_options(s, o);
        aip_list_init(&s->runs);
        s->pump_task.run = pump;
        s->look_timer.fire = look;
        s->fair_timer.fire = fair_look_due;
        s->heartbeat_timer.fire = beat;
        s->drain_timer.fire = drain_over;
        s->watcher.on_jobs_cancelled = jobs_cancelled;
        s->watcher.on_connected = store_connected;
        s->jobs.ops->watch(s->jobs.self, &s->watcher);
        s->waiting = aip_calloc(s->prefetch, sizeof(*s->waiting));
        if (!s->waiting || make_claims(s) < 0) {
                service_free(s);
                return aip_error_set_nomem(err);
        }
        if ((r = aip_run_ports_load_graphs(&s->ports, err)) < 0) {
                service_free(s);
                return r;
        }
        new_session(s);
        s->registry = o->metrics;
        s->metrics.write = write_metrics;
        aip_metrics_add(s->registry, &s->metrics);
        *ret_service = s;
        return 0;
}
