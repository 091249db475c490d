/*
 * The faulty job repository (faulty_jobs.h). Each call is copied, the copy is sent on, and its answer
 * is copied back or thrown away. Thrown away means freed: what the store did stays done.
 */
#include "faulty_jobs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WAIT_MS 5000 /* of a call without a deadline, as the stores have it */

union request {
        struct aip_op op;
        struct aip_job_create create;
        struct aip_job_fetch fetch;
        struct aip_job_list list;
        struct aip_job_cancellation cancellation;
        struct aip_job_resumption resumption;
        struct aip_job_claim claim;
        struct aip_job_finish finish;
        struct aip_heartbeat heartbeat;
        struct aip_release release;
        struct aip_chores chores;
};

struct call {
        struct faulty_jobs *faulty;
        enum job_call kind;
        enum fault fault;
        struct aip_op *callers;
        union request sent;
        struct aip_timer timer; /* before it is sent, then before it is answered */
        const int64_t *outbox_ids;
        size_t n_outbox_ids;
        int was_sent;
};

static size_t size_of(enum job_call kind)
{
        static const size_t sizes[N_JOB_CALLS] = {
                [CALL_CREATE] = sizeof(struct aip_job_create),
                [CALL_FETCH] = sizeof(struct aip_job_fetch),
                [CALL_LIST] = sizeof(struct aip_job_list),
                [CALL_CANCEL] = sizeof(struct aip_job_cancellation),
                [CALL_CLAIM] = sizeof(struct aip_job_claim),
                [CALL_FINISH] = sizeof(struct aip_job_finish),
                [CALL_RESUME] = sizeof(struct aip_job_resumption),
                [CALL_HEARTBEAT] = sizeof(struct aip_heartbeat),
                [CALL_RELEASE] = sizeof(struct aip_release),
                [CALL_PROMOTE] = sizeof(struct aip_chores),
                [CALL_RECOVER] = sizeof(struct aip_chores),
                [CALL_SWEEP] = sizeof(struct aip_chores),
                [CALL_FORGET] = sizeof(struct aip_op),
                [CALL_PING] = sizeof(struct aip_op),
        };
        return sizes[kind];
}

static void free_jobs(aip_job **jobs, size_t n)
{
        for (size_t i = 0; i < n; i++)
                aip_job_free(jobs[i]);
        free(jobs);
}

/* What the store answered and nobody will hear. */
static void throw_away(struct call *call)
{
        union request *sent = &call->sent;

        switch (call->kind) {
        case CALL_FETCH:
                aip_job_free(sent->fetch.ret_job);
                break;
        case CALL_LIST:
                free_jobs(sent->list.ret_jobs, sent->list.ret_n);
                break;
        case CALL_CLAIM:
                free_jobs(sent->claim.ret_jobs, sent->claim.ret_n);
                free(sent->claim.ret_transitions);
                break;
        case CALL_HEARTBEAT:
                free(sent->heartbeat.ret_gone);
                free(sent->heartbeat.ret_unknown);
                break;
        case CALL_RELEASE:
                free(sent->release.ret_transitions);
                break;
        case CALL_PROMOTE:
        case CALL_RECOVER:
        case CALL_SWEEP:
                free(sent->chores.ret_transitions);
                break;
        case CALL_CREATE:
        case CALL_CANCEL:
        case CALL_FINISH:
        case CALL_RESUME:
        case CALL_FORGET:
        case CALL_PING:
        case N_JOB_CALLS:
                break;
        }
}

static void set_error(const struct call *call, aip_error **err)
{
        if (call->fault == FAULT_NOMEM)
                aip_error_set_nomem(err);
        else if (call->was_sent && call->fault != FAULT_TOLD_FAILED)
                aip_error_set(err, AIP_ETIMEOUT, "made to fail");
        else
                aip_error_set(err, AIP_EUNAVAILABLE, "made to fail");
}

static void answer(struct call *call)
{
        struct aip_op kept = *call->callers;
        aip_error *err = call->sent.op.err;
        struct aip_loop loop = call->faulty->loop;

        if (!err && call->was_sent && call->fault == FAULT_NONE) {
                memcpy(call->callers, &call->sent, size_of(call->kind));
                *call->callers = kept;
        } else if (!err) {
                if (call->was_sent)
                        throw_away(call);
                set_error(call, &err);
        }
        call->faulty->n_in_flight--;
        aip_op_finish(loop, call->callers, err);
        free(call);
}

static void answer_now(struct aip_timer *timer)
{
        answer(AIP_CONTAINER_OF(timer, struct call, timer));
}

static int64_t some_delay(struct faulty_jobs *f)
{
        if (f->is_exact || f->delay_ms == 0)
                return f->delay_ms;
        return (int64_t)(aip_random_u64(f->random) % (uint64_t)(f->delay_ms + 1));
}

static void answer_later(struct call *call)
{
        call->timer.fire = answer_now;
        aip_timer_set(call->faulty->loop, &call->timer, some_delay(call->faulty));
}

/* Until the deadline: a network that swallows everything says nothing, either. */
static void let_time_out(struct call *call)
{
        struct aip_loop loop = call->faulty->loop;
        int64_t left_ms = call->callers->deadline_ms ? call->callers->deadline_ms - aip_now_ms(loop)
                                                     : DEFAULT_WAIT_MS;

        if (call->fault == FAULT_NONE)
                call->fault = call->was_sent ? FAULT_AFTER : FAULT_BEFORE;
        call->timer.fire = answer_now;
        aip_timer_set(loop, &call->timer, left_ms > 0 ? left_ms : 0);
}

static void inner_done(struct aip_op *op)
{
        struct call *call = AIP_CONTAINER_OF(op, struct call, sent.op);

        if (call->faulty->is_cut_off || (call->fault == FAULT_TOLD_TIMEOUT && !op->err))
                let_time_out(call);
        else if (call->faulty->delay_ms > 0)
                answer_later(call);
        else
                answer(call);
}

static void send_on(struct call *call)
{
        struct aip_job_repository inner = call->faulty->inner;
        union request *r = &call->sent;

        call->was_sent = 1;
        switch (call->kind) {
        case CALL_CREATE:
                inner.ops->create(inner.self, &r->create);
                break;
        case CALL_FETCH:
                inner.ops->fetch(inner.self, &r->fetch);
                break;
        case CALL_LIST:
                inner.ops->list(inner.self, &r->list);
                break;
        case CALL_CANCEL:
                inner.ops->cancel(inner.self, &r->cancellation);
                break;
        case CALL_CLAIM:
                inner.ops->claim(inner.self, &r->claim);
                break;
        case CALL_FINISH:
                inner.ops->finish(inner.self, &r->finish);
                break;
        case CALL_RESUME:
                inner.ops->resume(inner.self, &r->resumption);
                break;
        case CALL_HEARTBEAT:
                inner.ops->heartbeat(inner.self, &r->heartbeat);
                break;
        case CALL_RELEASE:
                inner.ops->release(inner.self, &r->release);
                break;
        case CALL_PROMOTE:
                inner.ops->promote(inner.self, &r->chores);
                break;
        case CALL_RECOVER:
                inner.ops->recover(inner.self, &r->chores);
                break;
        case CALL_SWEEP:
                inner.ops->sweep(inner.self, &r->chores);
                break;
        case CALL_FORGET:
                inner.ops->forget(inner.self, &r->op, call->outbox_ids, call->n_outbox_ids);
                break;
        case CALL_PING:
        case N_JOB_CALLS:
                inner.ops->ping(inner.self, &r->op);
                break;
        }
}

static void send_now(struct aip_timer *timer)
{
        struct call *call = AIP_CONTAINER_OF(timer, struct call, timer);

        if (call->faulty->is_cut_off)
                let_time_out(call);
        else
                send_on(call);
}

static enum fault choose(struct faulty_jobs *f, enum job_call kind)
{
        uint64_t dice = aip_random_u64(f->random) % FAULT_CHANCE_ALWAYS;

        if (f->script[kind].n > 0) {
                f->script[kind].n--;
                return f->script[kind].fault;
        }
        for (enum fault fault = FAULT_BEFORE; fault < N_FAULTS; fault++) {
                if (dice < f->chances[fault])
                        return fault;
                dice -= f->chances[fault];
        }
        return FAULT_NONE;
}

/* NULL without memory, which the caller then hears. */
static struct call *call_new(struct faulty_jobs *f, enum job_call kind, struct aip_op *callers)
{
        struct call *call = calloc(1, sizeof(*call));
        aip_error *err = NULL;

        if (!call) {
                aip_error_set_nomem(&err);
                aip_op_finish(f->loop, callers, err);
                return NULL;
        }
        call->faulty = f;
        call->kind = kind;
        call->callers = callers;
        call->fault = choose(f, kind);
        memcpy(&call->sent, callers, size_of(kind));
        call->sent.op = (struct aip_op){.done = inner_done, .deadline_ms = callers->deadline_ms};
        f->n_calls[kind]++;
        f->n_in_flight++;
        return call;
}

static void go(struct call *call)
{
        if (call->faulty->is_cut_off) {
                let_time_out(call);
        } else if (call->fault == FAULT_BEFORE || call->fault == FAULT_NOMEM) {
                answer_later(call);
        } else if (call->faulty->delay_ms > 0) {
                call->timer.fire = send_now;
                aip_timer_set(call->faulty->loop, &call->timer, some_delay(call->faulty));
        } else {
                send_on(call);
        }
}

#define DEFINE_CALL(name, kind, type)                                                              \
        static void name(void *self, type *request)                                                \
        {                                                                                          \
                struct call *call = call_new(self, kind, (struct aip_op *)request);                \
                                                                                                   \
                if (call)                                                                          \
                        go(call);                                                                  \
        }                                                                                          \
        struct swallow_semicolon_##name

DEFINE_CALL(create, CALL_CREATE, struct aip_job_create);
DEFINE_CALL(fetch, CALL_FETCH, struct aip_job_fetch);
DEFINE_CALL(list, CALL_LIST, struct aip_job_list);
DEFINE_CALL(cancel, CALL_CANCEL, struct aip_job_cancellation);
DEFINE_CALL(resume, CALL_RESUME, struct aip_job_resumption);
DEFINE_CALL(claim, CALL_CLAIM, struct aip_job_claim);
DEFINE_CALL(finish, CALL_FINISH, struct aip_job_finish);
DEFINE_CALL(heartbeat, CALL_HEARTBEAT, struct aip_heartbeat);
DEFINE_CALL(release, CALL_RELEASE, struct aip_release);
DEFINE_CALL(promote, CALL_PROMOTE, struct aip_chores);
DEFINE_CALL(recover, CALL_RECOVER, struct aip_chores);
DEFINE_CALL(sweep, CALL_SWEEP, struct aip_chores);
DEFINE_CALL(ping, CALL_PING, struct aip_op);

static void forget(void *self, struct aip_op *op, const int64_t *outbox_ids, size_t n)
{
        struct call *call = call_new(self, CALL_FORGET, op);

        if (!call)
                return;
        call->outbox_ids = outbox_ids;
        call->n_outbox_ids = n;
        go(call);
}

/* ── watchers ────────────────────────────────────────────────────────────────────────────────── */

static int is_hint_lost(struct faulty_jobs *f)
{
        return f->is_cut_off || (int)(aip_random_u64(f->random) % 1000) < f->lost_hints_permille;
}

static struct faulty_jobs *faulty_of(struct aip_store_watcher *watcher)
{
        return AIP_CONTAINER_OF(watcher, struct faulty_jobs, watcher);
}

static void jobs_ended(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        struct faulty_jobs *f = faulty_of(watcher);

        if (is_hint_lost(f))
                return;
        for (struct aip_store_watcher *w = f->watchers; w; w = w->next)
                if (w->on_jobs_ended)
                        w->on_jobs_ended(w, ids, n);
}

static void jobs_cancelled(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        struct faulty_jobs *f = faulty_of(watcher);

        if (is_hint_lost(f))
                return;
        for (struct aip_store_watcher *w = f->watchers; w; w = w->next)
                if (w->on_jobs_cancelled)
                        w->on_jobs_cancelled(w, ids, n);
}

static void catalog_changed(struct aip_store_watcher *watcher)
{
        struct faulty_jobs *f = faulty_of(watcher);

        if (is_hint_lost(f))
                return;
        for (struct aip_store_watcher *w = f->watchers; w; w = w->next)
                if (w->on_catalog_changed)
                        w->on_catalog_changed(w);
}

static void connected(struct aip_store_watcher *watcher)
{
        struct faulty_jobs *f = faulty_of(watcher);

        if (is_hint_lost(f))
                return;
        for (struct aip_store_watcher *w = f->watchers; w; w = w->next)
                if (w->on_connected)
                        w->on_connected(w);
}

static void watch(void *self, struct aip_store_watcher *watcher)
{
        struct faulty_jobs *f = self;

        watcher->next = f->watchers;
        f->watchers = watcher;
}

static void unwatch(void *self, struct aip_store_watcher *watcher)
{
        struct faulty_jobs *f = self;

        for (struct aip_store_watcher **link = &f->watchers; *link; link = &(*link)->next)
                if (*link == watcher) {
                        *link = watcher->next;
                        return;
                }
}

static const struct aip_job_repository_ops ops = {
        .self_size = sizeof(ops),
        .name = "faulty",
        .create = create,
        .fetch = fetch,
        .list = list,
        .cancel = cancel,
        .claim = claim,
        .finish = finish,
        .resume = resume,
        .heartbeat = heartbeat,
        .release = release,
        .promote = promote,
        .recover = recover,
        .sweep = sweep,
        .forget = forget,
        .ping = ping,
        .watch = watch,
        .unwatch = unwatch,
};

void faulty_jobs_open(struct faulty_jobs *f, struct aip_loop loop, struct aip_job_repository inner,
                      uint64_t seed)
{
        *f = (struct faulty_jobs){.loop = loop, .inner = inner};
        f->random = aip_random_seeded(&f->generator, seed);
        f->watcher.on_jobs_ended = jobs_ended;
        f->watcher.on_jobs_cancelled = jobs_cancelled;
        f->watcher.on_catalog_changed = catalog_changed;
        f->watcher.on_connected = connected;
        inner.ops->watch(inner.self, &f->watcher);
}

struct aip_job_repository faulty_jobs_port(struct faulty_jobs *f)
{
        return (struct aip_job_repository){&ops, f};
}

void faulty_jobs_close(struct faulty_jobs *f)
{
        assert(f->n_in_flight == 0);
        f->inner.ops->unwatch(f->inner.self, &f->watcher);
}
