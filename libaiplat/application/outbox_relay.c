/*
 * Publishes what the store has committed, then removes the outbox rows (outbox_relay.h).
 *
 *     push ──► [tasks] ── publish the task ── confirmed ──► [events] ── publish ── confirmed ──► forget
 *       │                                                    ▲
 *       └──────────── a transition without a task ───────────┘
 *
 * What is not confirmed is dropped here; its row stays and is swept up later. Tasks go at once. Events
 * go in a small window, so that a burst of them does not take the broker's time from jobs; the window
 * opens as they wait longer, long before the sweep would take them for lost.
 *
 * A row may hold several transitions: it is removed when all of them are published, and left to the
 * sweep when one of them is not, or never came here.
 *
 * Events that nobody is bound to cost nothing: while it is not known that somebody is bound to a kind of
 * event, one of the kind is published and answers, by being returned or not, for all that wait by then.
 * They count as published when nobody is: each would have been dropped like it.
 *
 * What is held in memory is bounded; a transition that finds no room is simply left to the sweep, as
 * are those of a process that died. Nothing here decides whether a job is lost: the rows do.
 */
#include <aiplat/outbox_relay.h>

#include "fault_point.h"
#include "hash_map.h"
#include "list.h"
#include "macros.h"
#include "mem.h"
#include "trouble.h"

#define MAX_WAITING     20000
#define TASKS_IN_FLIGHT 1000 /* transitions handed to the queue and not confirmed yet */
/* Likewise with events: while the oldest that waits is young, is EVENTS_LATE_MS old, or twice that. */
#define EVENTS_IN_FLIGHT      64
#define EVENTS_LATE_IN_FLIGHT 200
#define EVENTS_DUE_IN_FLIGHT  400
#define EVENTS_LATE_MS        1000
#define FORGET_BATCH          512
#define FORGET_PAUSE_MS       20 /* rows that few jobs leave behind are gathered for so long */
#define TO_FORGET_MAX         65536
#define CHORE_BATCH           500
#define EVENT_MAX_BYTES       1024
#define EVENT_TYPES           AIP_JOB_EVENT_TYPES
#define PUBLISHES_MAX         (1 + AIP_JOB_EVENTS_PER_TRANSITION)
#define PUBLISH_WAIT_MS       5000
#define STORE_WAIT_MS         3000
#define SHORTEST_PAUSE_MS     10

struct entry;

struct message {
        struct aip_publish publish;
        struct entry *entry;
        struct route *route; /* of an event */
};

/* Whether anybody is bound to a kind of event. */
struct route {
        int is_bound;                 /* somebody was, by the last answer */
        const struct message *asking; /* it is not known: this event's answer will tell */
        uint64_t asked_upto;          /* the newest event that waited as it was published */
        uint64_t unbound_upto; /* nobody was bound after this event, so it need not be published */
};

/* An outbox row of several transitions, while some of them are here. */
struct row {
        struct aip_list link;
        int64_t outbox_id;
        int32_t n_to_come, n_here; /* transitions not pushed yet; pushed and not confirmed */
        int has_failed;
        int64_t since_ms;
};

/* A transition on its way. Entries are recycled through the free list. */
struct entry {
        struct aip_list link;
        struct aip_outbox_relay *relay;
        struct aip_transition transition;
        struct row *row; /* NULL: it has one of its own */
        struct message messages[PUBLISHES_MAX];
        unsigned n_unanswered;
        int is_task; /* what is on its way is the task, not the events */
        int has_failed;
        int64_t since_ms; /* it is in memory since then */
        uint64_t number;  /* in the order in which events began to wait */
        char job_id[AIP_ID_TEXT_BYTES];
        struct aip_buf bodies[AIP_JOB_EVENTS_PER_TRANSITION];
};

/* One kind of housekeeping: asks the store every so often and publishes what comes back. */
struct chore {
        struct aip_chores chores;
        struct aip_timer timer;
        struct aip_outbox_relay *relay;
        void (*ask)(void *self, struct aip_chores *chores);
        const char *what;
        int64_t every_ms;
        int is_running;
        int is_hurried;  /* it is to run soon, or soon again */
        int needs_queue; /* pointless while the broker is away */
};

enum { SWEEP, PROMOTE, RECOVER, N_CHORES };

struct aip_outbox_relay {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_job_repository jobs;
        struct aip_queue queue;
        size_t max_waiting;
        int64_t sweep_age_ms;
        uint32_t muted_events;

        struct aip_list tasks, events; /* transitions that wait */
        struct aip_list free_entries;
        size_t n_tasks, n_events, n_tasks_in_flight, n_events_in_flight, n_entries;
        struct route routes[EVENT_TYPES];
        uint64_t n_events_ever;
        struct aip_hash_map rows; /* outbox id → struct row */
        struct aip_list rows_by_age;
        struct aip_task pump_task;

        /* rows that are published: the batch being removed, and the next one */
        struct aip_op forget_op;
        struct aip_timer forget_timer;
        int64_t *forgetting, *to_forget;
        size_t n_forgetting, n_to_forget, to_forget_capacity;
        struct aip_trouble forget_trouble;

        struct chore chores[N_CHORES];
        struct aip_timer close_timer;
        struct aip_op *closing;
        int is_abandoning; /* the closing deadline has passed */

        aip_metrics *registry;
        struct aip_metrics_source metrics;
        uint64_t n_published[2], n_failed[2]; /* messages: events, tasks */
        uint64_t n_left;                      /* transitions that found no room */
        uint64_t n_found[N_CHORES], n_chores_failed[N_CHORES];
};

static void pump(struct aip_task *task);

/* ── entries ─────────────────────────────────────────────────────────────────────────────────── */

static struct entry *entry_get(struct aip_outbox_relay *r)
{
        struct aip_list *node = aip_list_pop(&r->free_entries);

        if (node)
                return AIP_LIST_ENTRY(node, struct entry, link);
        if (r->n_entries >= r->max_waiting)
                return NULL;
        struct entry *e = aip_calloc(1, sizeof(*e));
        if (!e)
                return NULL;
        r->n_entries++;
        e->relay = r;
        for (unsigned i = 0; i < AIP_JOB_EVENTS_PER_TRANSITION; i++)
                aip_buf_init(&e->bodies[i], EVENT_MAX_BYTES);
        return e;
}

static void entry_free(struct entry *e)
{
        for (unsigned i = 0; i < AIP_JOB_EVENTS_PER_TRANSITION; i++)
                aip_buf_deinit(&e->bodies[i]);
        aip_free(e);
}

static void free_entries(struct aip_list *list)
{
        struct aip_list *node;

        while ((node = aip_list_pop(list)) != NULL)
                entry_free(AIP_LIST_ENTRY(node, struct entry, link));
}

/* ── rows of several transitions ─────────────────────────────────────────────────────────────── */

static struct aip_str row_key(const int64_t *outbox_id)
{
        return aip_str_make((const char *)outbox_id, sizeof(*outbox_id));
}

/* Transitions that are still to come make a new one. */
static void row_detach(struct aip_outbox_relay *r, struct row *row)
{
        if (aip_hash_map_get(&r->rows, row_key(&row->outbox_id)) == row)
                (void)aip_hash_map_remove(&r->rows, row_key(&row->outbox_id));
}

static void row_free(struct aip_outbox_relay *r, struct row *row)
{
        row_detach(r, row);
        aip_list_remove(&row->link);
        aip_free(row);
}

static void rows_free(struct aip_outbox_relay *r)
{
        while (!aip_list_is_empty(&r->rows_by_age))
                row_free(r, AIP_LIST_ENTRY(aip_list_first(&r->rows_by_age), struct row, link));
        aip_hash_map_deinit(&r->rows);
}

/* It is swept again, hence published anew: what is here of its last time decides nothing any more. */
static void row_supersede(struct aip_outbox_relay *r, int64_t outbox_id)
{
        struct row *row = aip_hash_map_get(&r->rows, row_key(&outbox_id));

        if (!row)
                return;
        row->has_failed = 1;
        if (row->n_here == 0)
                row_free(r, row);
        else
                row_detach(r, row);
}

/* NULL: no room, it is swept later. */
static struct row *row_of(struct aip_outbox_relay *r, const struct aip_transition *t)
{
        struct row *row = aip_hash_map_get(&r->rows, row_key(&t->outbox_id));

        if (row && row->n_to_come > 0)
                return row;
        if (row)
                row_supersede(r, t->outbox_id);
        if (r->rows.n >= r->max_waiting || !(row = aip_calloc(1, sizeof(*row))))
                return NULL;
        row->outbox_id = t->outbox_id;
        row->n_to_come = t->outbox_n;
        row->since_ms = aip_now_ms(r->loop);
        if (aip_hash_map_set(&r->rows, row_key(&row->outbox_id), row, NULL) < 0) {
                aip_free(row);
                return NULL;
        }
        aip_list_append(&r->rows_by_age, &row->link);
        return row;
}

/* One of its transitions has ended; 1 when the row is published. */
static int row_release(struct aip_outbox_relay *r, struct row *row, int has_failed)
{
        row->n_here--;
        row->has_failed |= has_failed;
        if (row->n_here > 0 || (row->n_to_come > 0 && !row->has_failed))
                return 0;
        int is_published = !row->has_failed;

        row_free(r, row);
        return is_published;
}

/* The rest of a row may never come: an operation that had given up before its answer arrived. By now
 * the sweep has it. */
static void rows_expire(struct aip_outbox_relay *r)
{
        int64_t before_ms = aip_now_ms(r->loop) - r->sweep_age_ms;

        for (struct aip_list *node = r->rows_by_age.next, *next; node != &r->rows_by_age;
             node = next) {
                struct row *row = AIP_LIST_ENTRY(node, struct row, link);

                next = node->next;
                if (row->since_ms > before_ms)
                        break;
                if (row->n_here == 0)
                        row_free(r, row);
        }
}

/* ── end of life ─────────────────────────────────────────────────────────────────────────────── */

static int is_busy(const struct aip_outbox_relay *r)
{
        for (unsigned i = 0; i < N_CHORES; i++)
                if (r->chores[i].is_running)
                        return 1;
        if (r->n_tasks_in_flight + r->n_events_in_flight + r->n_forgetting > 0)
                return 1;
        return !r->is_abandoning && r->n_tasks + r->n_events + r->n_to_forget > 0;
}

static void free_when_idle(struct aip_outbox_relay *r)
{
        if (!r->closing || is_busy(r))
                return;
        struct aip_op *closing = r->closing;
        struct aip_loop loop = r->loop;

        aip_timer_clear(loop, &r->close_timer);
        aip_timer_clear(loop, &r->forget_timer);
        aip_undefer(loop, &r->pump_task);
        free_entries(&r->tasks);
        free_entries(&r->events);
        free_entries(&r->free_entries);
        rows_free(r);
        aip_free(r->forgetting);
        aip_free(r->to_forget);
        aip_metrics_remove(r->registry, &r->metrics);
        aip_free(r);
        aip_op_finish(loop, closing, NULL);
}

static void close_deadline(struct aip_timer *timer)
{
        struct aip_outbox_relay *r = AIP_CONTAINER_OF(timer, struct aip_outbox_relay, close_timer);

        /* What is left in the outbox is swept by another process, or by the next start. */
        r->is_abandoning = 1;
        free_when_idle(r);
}

/* ── forgetting published rows: one removal in flight, the rest is the next batch ──────────────
 *
 * Nobody waits for it, so it is done for many at a time: a transaction for each would cost the database
 * as much as the job. */

static void forget_soon(struct aip_outbox_relay *r);

static void forget_done(struct aip_op *op)
{
        struct aip_outbox_relay *r = AIP_CONTAINER_OF(op, struct aip_outbox_relay, forget_op);

        if (op->err) /* The rows stay, are swept, published once more, and removed then. */
                aip_trouble_occurred(&r->forget_trouble, r->log, "outbox", aip_now_ms(r->loop),
                                     "published rows not removed", aip_error_message(op->err));
        else
                aip_trouble_over(&r->forget_trouble, r->log, "outbox",
                                 "published rows not removed");
        aip_error_free(AIP_TAKE(op->err));
        AIP_FAULT_POINT("outbox.forgotten");
        r->n_forgetting = 0;
        forget_soon(r);
        free_when_idle(r);
}

static void start_forget(struct aip_outbox_relay *r)
{
        size_t n = AIP_MIN(r->n_to_forget, (size_t)FORGET_BATCH);

        memcpy(r->forgetting, r->to_forget, n * sizeof(*r->forgetting));
        r->n_to_forget -= n;
        memmove(r->to_forget, r->to_forget + n, r->n_to_forget * sizeof(*r->to_forget));
        r->n_forgetting = n;
        r->forget_op = (struct aip_op){.done = forget_done};
        r->forget_op.deadline_ms = aip_now_ms(r->loop) + STORE_WAIT_MS;
        r->jobs.ops->forget(r->jobs.self, &r->forget_op, r->forgetting, n);
}

static void forget_gathered(struct aip_timer *timer)
{
        struct aip_outbox_relay *r = AIP_CONTAINER_OF(timer, struct aip_outbox_relay, forget_timer);

        if (r->n_forgetting == 0 && r->n_to_forget > 0)
                start_forget(r);
}

static void forget_soon(struct aip_outbox_relay *r)
{
        if (r->n_forgetting > 0 || r->n_to_forget == 0 || r->is_abandoning)
                return;
        if (r->closing || r->n_to_forget >= FORGET_BATCH)
                start_forget(r);
        else if (!r->forget_timer.is_armed)
                aip_timer_set(r->loop, &r->forget_timer, FORGET_PAUSE_MS);
}

static void remember_to_forget(struct aip_outbox_relay *r, int64_t outbox_id)
{
        if (r->n_to_forget == TO_FORGET_MAX)
                return; /* swept later */
        if (r->n_to_forget == r->to_forget_capacity) {
                size_t capacity = r->to_forget_capacity ? 2 * r->to_forget_capacity : FORGET_BATCH;
                int64_t *grown = aip_realloc_array(r->to_forget, capacity, sizeof(*grown));

                if (!grown)
                        return; /* swept later */
                r->to_forget = grown;
                r->to_forget_capacity = capacity;
        }
        r->to_forget[r->n_to_forget++] = outbox_id;
}

/* ── publishing ──────────────────────────────────────────────────────────────────────────────── */

static void entry_end(struct entry *e)
{
        struct aip_outbox_relay *r = e->relay;
        int is_published = e->row ? row_release(r, e->row, e->has_failed) : !e->has_failed;

        if (is_published) {
                remember_to_forget(r, e->transition.outbox_id);
                forget_soon(r);
        }
        aip_list_append(&r->free_entries, &e->link);
}

/* Events wait in at most half of the room, so that tasks always find some. */
static int has_room_for_events(const struct aip_outbox_relay *r)
{
        return r->n_events < r->max_waiting / 2;
}

static void wait_with_events(struct entry *e)
{
        struct aip_outbox_relay *r = e->relay;

        e->number = ++r->n_events_ever;
        aip_list_append(&r->events, &e->link);
        r->n_events++;
}

/* What was on its way has been answered. */
static void entry_answered(struct entry *e)
{
        struct aip_outbox_relay *r = e->relay;

        if (!e->is_task) {
                r->n_events_in_flight--;
                entry_end(e);
        } else {
                r->n_tasks_in_flight--;
                e->has_failed |= !has_room_for_events(r);
                if (e->has_failed)
                        entry_end(e);
                else
                        wait_with_events(e);
        }
        if (r->n_tasks + r->n_events > 0)
                aip_defer(r->loop, &r->pump_task);
}

static void route_answered(const struct message *m)
{
        struct route *route = m->route;
        int was_asking = route->asking == m;

        if (was_asking)
                route->asking = NULL;
        if (m->publish.op.err)
                return;
        route->is_bound = !m->publish.ret_is_unbound;
        if (was_asking && !route->is_bound)
                route->unbound_upto = route->asked_upto;
}

static void published(struct aip_op *op)
{
        struct message *m = AIP_CONTAINER_OF(op, struct message, publish.op);
        struct entry *e = m->entry;

        if (m->route)
                route_answered(m);
        e->relay->n_failed[e->is_task] += op->err != NULL;
        e->relay->n_published[e->is_task] += op->err == NULL;
        if (op->err)
                e->has_failed = 1;
        else
                AIP_FAULT_POINT("publish.confirmed");
        aip_error_free(AIP_TAKE(op->err));
        if (--e->n_unanswered == 0) {
                struct aip_outbox_relay *r = e->relay;

                entry_answered(e);
                free_when_idle(r);
        }
}

static struct message *add_message(struct entry *e, unsigned n, const char *routing_key,
                                   struct aip_str body)
{
        struct message *m = &e->messages[n];

        *m = (struct message){.entry = e};
        m->publish.op.done = published;
        m->publish.op.deadline_ms = aip_now_ms(e->relay->loop) + PUBLISH_WAIT_MS;
        m->publish.routing_key = routing_key;
        m->publish.body = body;
        m->publish.message_id = aip_str_of(e->job_id);
        return m;
}

static void add_event(struct entry *e, unsigned n, enum aip_job_event_type type,
                      struct aip_str body)
{
        struct aip_outbox_relay *r = e->relay;
        struct route *route = &r->routes[type];
        struct message *m = add_message(e, n, aip_job_event_name(type), body);

        m->route = route;
        if (route->is_bound)
                return;
        route->asking = m;
        route->asked_upto = r->n_events_ever;
}

/* Those of its events that somebody may be bound to; returns how many. */
static size_t events_of(const struct entry *e,
                        enum aip_job_event_type ret_types[AIP_JOB_EVENTS_PER_TRANSITION])
{
        const struct aip_outbox_relay *r = e->relay;
        size_t n_events = aip_transition_events(&e->transition, ret_types), n = 0;

        for (size_t i = 0; i < n_events; i++) {
                const struct route *route = &r->routes[ret_types[i]];
                int is_unbound = !route->is_bound && e->number <= route->unbound_upto;

                if (!is_unbound && !(r->muted_events & 1u << ret_types[i]))
                        ret_types[n++] = ret_types[i];
        }
        return n;
}

/* One of its events is about to be told whether anybody is bound. */
static int must_wait(const struct entry *e)
{
        enum aip_job_event_type types[AIP_JOB_EVENTS_PER_TRANSITION];
        size_t n = events_of(e, types);

        for (size_t i = 0; i < n; i++) {
                const struct route *route = &e->relay->routes[types[i]];

                if (!route->is_bound && route->asking)
                        return 1;
        }
        return 0;
}

/* Fill e->messages with the events; returns how many. One that cannot be printed (no memory) fails the
 * entry. */
static unsigned add_events(struct entry *e)
{
        enum aip_job_event_type types[AIP_JOB_EVENTS_PER_TRANSITION];
        size_t n_events = events_of(e, types);
        unsigned n = 0;

        for (size_t i = 0; i < n_events; i++) {
                aip_buf_clear(&e->bodies[i]);
                if (aip_job_event_print(&e->transition, types[i], &e->bodies[i], NULL) < 0) {
                        e->has_failed = 1;
                        break;
                }
                add_event(e, n++, types[i], aip_buf_str(&e->bodies[i]));
        }
        return n;
}

static void publish_task(struct entry *e)
{
        struct aip_outbox_relay *r = e->relay;

        r->n_tasks--;
        r->n_tasks_in_flight++;
        e->is_task = 1;
        e->n_unanswered = 1;
        aip_id_format(&e->transition.job_id, e->job_id);
        add_message(e, 0, NULL, aip_str_of(e->job_id));
        r->queue.ops->publish(r->queue.self, &e->messages[0].publish);
}

static void publish_events(struct entry *e)
{
        struct aip_outbox_relay *r = e->relay;

        r->n_events--;
        e->is_task = 0;
        aip_id_format(&e->transition.job_id, e->job_id);
        unsigned n = add_events(e);
        if (n == 0) {
                entry_end(e);
                return;
        }
        r->n_events_in_flight++;
        e->n_unanswered = n;
        for (unsigned i = 0; i < n; i++)
                r->queue.ops->publish(r->queue.self, &e->messages[i].publish);
}

static struct entry *first_of(const struct aip_list *list)
{
        struct aip_list *node = aip_list_first(list);

        return node ? AIP_LIST_ENTRY(node, struct entry, link) : NULL;
}

static size_t events_window(const struct aip_outbox_relay *r)
{
        const struct entry *oldest = first_of(&r->events);
        int64_t age_ms = oldest ? aip_now_ms(r->loop) - oldest->since_ms : 0;

        if (age_ms < EVENTS_LATE_MS)
                return EVENTS_IN_FLIGHT;
        return age_ms < 2 * EVENTS_LATE_MS ? EVENTS_LATE_IN_FLIGHT : EVENTS_DUE_IN_FLIGHT;
}

static void pump(struct aip_task *task)
{
        struct aip_outbox_relay *r = AIP_CONTAINER_OF(task, struct aip_outbox_relay, pump_task);

        while (r->n_tasks_in_flight < TASKS_IN_FLIGHT && r->n_tasks > 0 && !r->is_abandoning)
                publish_task(AIP_LIST_ENTRY(aip_list_pop(&r->tasks), struct entry, link));
        size_t window = events_window(r);
        while (r->n_events_in_flight < window && r->n_events > 0 && !r->is_abandoning &&
               !must_wait(first_of(&r->events)))
                publish_events(AIP_LIST_ENTRY(aip_list_pop(&r->events), struct entry, link));
        free_when_idle(r); /* some may have had nothing to say */
}

void aip_outbox_relay_push(aip_outbox_relay *r, const struct aip_transition *transition)
{
        struct entry *e;
        struct row *row = NULL;

        if (transition->outbox_id == 0)
                return;
        r->n_left++;
        if (!transition->is_runnable && !has_room_for_events(r))
                return;
        if (transition->outbox_n > 1 && !(row = row_of(r, transition)))
                return;
        e = entry_get(r);
        if (!e)
                return;
        r->n_left--;
        if (row) {
                row->n_to_come--;
                row->n_here++;
        }
        e->row = row;
        e->transition = *transition;
        e->has_failed = 0;
        e->since_ms = aip_now_ms(r->loop);
        if (transition->is_runnable) {
                aip_list_append(&r->tasks, &e->link);
                r->n_tasks++;
        } else {
                wait_with_events(e);
        }
        aip_defer(r->loop, &r->pump_task);
}

size_t aip_outbox_relay_waiting(const aip_outbox_relay *r)
{
        return r->n_tasks + r->n_events + r->n_tasks_in_flight + r->n_events_in_flight;
}

/* ── chores ──────────────────────────────────────────────────────────────────────────────────── */

static int64_t next_pause_ms(const struct chore *c, int has_failed)
{
        if (!has_failed && c->chores.ret_n >= c->chores.limit)
                return 0; /* there is more */
        if (has_failed || c->chores.ret_next_ms < 0)
                return c->every_ms;
        /* Due and not ours to have: another process is at it. */
        return AIP_MIN(AIP_MAX(c->chores.ret_next_ms, (int64_t)SHORTEST_PAUSE_MS), c->every_ms);
}

static void chore_done(struct aip_op *op)
{
        struct chore *c = AIP_CONTAINER_OF(op, struct chore, chores.op);
        struct aip_outbox_relay *r = c->relay;
        int has_failed = op->err != NULL;

        AIP_FAULT_POINT(c->what);
        r->n_chores_failed[c - r->chores] += has_failed;
        r->n_found[c - r->chores] += has_failed ? 0 : c->chores.ret_n;
        if (has_failed)
                aip_log_write(r->log, AIP_LOG_DEBUG, "outbox", "%s failed: %s", c->what,
                              aip_error_message(op->err));
        else if (c->chores.ret_n > 0)
                aip_log_write(r->log, AIP_LOG_DEBUG, "outbox", "%s: %zu", c->what, c->chores.ret_n);
        aip_error_free(AIP_TAKE(op->err));
        for (size_t i = 0; !has_failed && i < c->chores.ret_n; i++) {
                const struct aip_transition *t = &c->chores.ret_transitions[i];

                if (i == 0 || t->outbox_id != t[-1].outbox_id)
                        row_supersede(r, t->outbox_id);
                aip_outbox_relay_push(r, t);
        }
        if (!has_failed)
                free(c->chores.ret_transitions);
        c->is_running = 0;
        if (r->closing)
                free_when_idle(r);
        else
                aip_timer_set(r->loop, &c->timer,
                              c->is_hurried ? SHORTEST_PAUSE_MS : next_pause_ms(c, has_failed));
}

static int is_young(const struct aip_outbox_relay *r, const struct entry *oldest)
{
        return !oldest || oldest->since_ms > aip_now_ms(r->loop) - r->sweep_age_ms / 2;
}

/* Whether a sweep would find what nobody else is about to publish: not without a broker, and not while
 * rows as old as those it looks for wait in this very process. */
static int may_sweep(const struct aip_outbox_relay *r)
{
        if (!r->queue.ops->is_connected(r->queue.self) ||
            r->n_events + AIP_MIN((size_t)CHORE_BATCH, r->max_waiting / 4) > r->max_waiting / 2 ||
            aip_outbox_relay_waiting(r) + CHORE_BATCH > r->max_waiting)
                return 0;
        return is_young(r, first_of(&r->tasks)) && is_young(r, first_of(&r->events));
}

static void chore_start(struct aip_timer *timer)
{
        struct chore *c = AIP_CONTAINER_OF(timer, struct chore, timer);
        struct aip_outbox_relay *r = c->relay;

        if (c->needs_queue)
                rows_expire(r);
        if (c->needs_queue && !may_sweep(r)) {
                aip_timer_set(r->loop, &c->timer, c->every_ms);
                return;
        }
        c->is_running = 1;
        c->is_hurried = 0;
        c->chores = (struct aip_chores){.op = {.done = chore_done}, .ret_next_ms = -1};
        c->chores.limit = CHORE_BATCH;
        c->chores.min_age_ms = r->sweep_age_ms;
        c->chores.op.deadline_ms = aip_now_ms(r->loop) + STORE_WAIT_MS;
        c->ask(r->jobs.self, &c->chores);
}

static void chore_init(struct aip_outbox_relay *r, int which, const char *what,
                       void (*ask)(void *self, struct aip_chores *chores), int64_t every_ms)
{
        struct chore *c = &r->chores[which];

        c->relay = r;
        c->what = what;
        c->ask = ask;
        c->every_ms = every_ms;
        c->timer.fire = chore_start;
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

static int64_t age_ms(const struct aip_outbox_relay *r, const struct entry *oldest)
{
        return oldest ? aip_now_ms(r->loop) - oldest->since_ms : 0;
}

static void write_depths(struct aip_outbox_relay *r, struct aip_metrics_writer *w)
{
        aip_metrics_family(w, "aiplat_outbox_waiting", AIP_METRICS_GAUGE,
                           "Committed transitions in this process that are to be published.");
        aip_metrics_sample(w, (int64_t)r->n_tasks, "aiplat_outbox_waiting{kind=\"task\"}");
        aip_metrics_sample(w, (int64_t)r->n_events, "aiplat_outbox_waiting{kind=\"event\"}");
        aip_metrics_family(w, "aiplat_outbox_unconfirmed", AIP_METRICS_GAUGE,
                           "Those that the queue was given and has not confirmed.");
        aip_metrics_sample(w, (int64_t)r->n_tasks_in_flight,
                           "aiplat_outbox_unconfirmed{kind=\"task\"}");
        aip_metrics_sample(w, (int64_t)r->n_events_in_flight,
                           "aiplat_outbox_unconfirmed{kind=\"event\"}");
        aip_metrics_family(w, "aiplat_outbox_oldest_seconds", AIP_METRICS_GAUGE,
                           "How long the first of those that wait has waited.");
        aip_metrics_sample_ms(w, age_ms(r, first_of(&r->tasks)),
                              "aiplat_outbox_oldest_seconds{kind=\"task\"}");
        aip_metrics_sample_ms(w, age_ms(r, first_of(&r->events)),
                              "aiplat_outbox_oldest_seconds{kind=\"event\"}");
        aip_metrics_one(w, "aiplat_outbox_unremoved", AIP_METRICS_GAUGE,
                        "Published rows that are to be removed from the store.",
                        (int64_t)(r->n_to_forget + r->n_forgetting));
}

static void write_messages(struct aip_outbox_relay *r, struct aip_metrics_writer *w)
{
        static const char *const kinds[2] = {"event", "task"};

        aip_metrics_family(w, "aiplat_messages_published_total", AIP_METRICS_COUNTER,
                           "Messages that the queue has confirmed.");
        for (int i = 0; i < 2; i++)
                aip_metrics_sample(w, (int64_t)r->n_published[i],
                                   "aiplat_messages_published_total{kind=\"%s\"}", kinds[i]);
        aip_metrics_family(w, "aiplat_messages_failed_total", AIP_METRICS_COUNTER,
                           "Messages that it has not taken or confirmed; they are sent again.");
        for (int i = 0; i < 2; i++)
                aip_metrics_sample(w, (int64_t)r->n_failed[i],
                                   "aiplat_messages_failed_total{kind=\"%s\"}", kinds[i]);
        aip_metrics_one(w, "aiplat_outbox_left_total", AIP_METRICS_COUNTER,
                        "Transitions that found no room in memory and were left to the sweep.",
                        (int64_t)r->n_left);
}

static void write_metrics(struct aip_metrics_source *source, struct aip_metrics_writer *w)
{
        struct aip_outbox_relay *r = AIP_CONTAINER_OF(source, struct aip_outbox_relay, metrics);

        write_depths(r, w);
        write_messages(r, w);
        aip_metrics_family(w, "aiplat_chore_transitions_total", AIP_METRICS_COUNTER,
                           "What housekeeping found: transitions nobody had published (sweep), "
                           "delayed jobs that were due (promote), jobs of lost workers (recover).");
        for (unsigned i = 0; i < N_CHORES; i++)
                aip_metrics_sample(w, (int64_t)r->n_found[i],
                                   "aiplat_chore_transitions_total{chore=\"%s\"}",
                                   r->chores[i].what);
        aip_metrics_family(w, "aiplat_chore_failures_total", AIP_METRICS_COUNTER,
                           "Rounds of housekeeping that the store did not answer.");
        for (unsigned i = 0; i < N_CHORES; i++)
                aip_metrics_sample(w, (int64_t)r->n_chores_failed[i],
                                   "aiplat_chore_failures_total{chore=\"%s\"}", r->chores[i].what);
}

int aip_outbox_relay_new(const struct aip_outbox_relay_options *o, aip_outbox_relay **ret_relay,
                         aip_error **err)
{
        struct aip_outbox_relay *r = aip_calloc(1, sizeof(*r));

        if (!r)
                return aip_error_set_nomem(err);
        r->forgetting = aip_calloc(FORGET_BATCH, sizeof(*r->forgetting));
        if (!r->forgetting) {
                aip_free(r);
                return aip_error_set_nomem(err);
        }
        r->loop = o->loop;
        r->log = o->log;
        r->jobs = o->jobs;
        r->queue = o->queue;
        r->max_waiting = o->max_waiting ? o->max_waiting : MAX_WAITING;
        r->sweep_age_ms = o->sweep_age_ms ? o->sweep_age_ms : 5000;
        r->muted_events = o->muted_events;
        r->pump_task.run = pump;
        r->close_timer.fire = close_deadline;
        r->forget_timer.fire = forget_gathered;
        aip_list_init(&r->tasks);
        aip_list_init(&r->events);
        aip_list_init(&r->free_entries);
        aip_list_init(&r->rows_by_age);
        chore_init(r, SWEEP, "sweep", r->jobs.ops->sweep,
                   o->sweep_every_ms ? o->sweep_every_ms : 1000);
        r->chores[SWEEP].needs_queue = 1;
        chore_init(r, PROMOTE, "promote", r->jobs.ops->promote,
                   o->promote_every_ms ? o->promote_every_ms : 500);
        chore_init(r, RECOVER, "recover", r->jobs.ops->recover,
                   o->recover_every_ms ? o->recover_every_ms : 1000);
        r->registry = o->metrics;
        r->metrics.write = write_metrics;
        aip_metrics_add(r->registry, &r->metrics);
        *ret_relay = r;
        return 0;
}

void aip_outbox_relay_start(aip_outbox_relay *r)
{
        for (unsigned i = 0; i < N_CHORES; i++)
                aip_timer_set(r->loop, &r->chores[i].timer, 0);
}

void aip_outbox_relay_promote_soon(aip_outbox_relay *r)
{
        struct chore *c = &r->chores[PROMOTE];

        if (r->closing || c->is_hurried || !(c->is_running || c->timer.is_armed))
                return;
        c->is_hurried = 1;
        if (!c->is_running)
                aip_timer_set(r->loop, &c->timer, SHORTEST_PAUSE_MS);
}

void aip_outbox_relay_close(aip_outbox_relay *r, struct aip_op *op)
{
        r->closing = op;
        for (unsigned i = 0; i < N_CHORES; i++)
                aip_timer_clear(r->loop, &r->chores[i].timer);
        if (op->deadline_ms > 0)
                aip_timer_set(r->loop, &r->close_timer,
                              AIP_MAX(op->deadline_ms - aip_now_ms(r->loop), (int64_t)0));
        forget_soon(r);
        free_when_idle(r);
}
