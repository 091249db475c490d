/*
 * A whole platform on a virtual clock, under random faults: one gateway, several workers, one store,
 * a broker that loses, doubles and refuses, store calls that fail, or happen and are reported as
 * failed, processes that are cut off, die, or are asked to leave. After every event the outbox rows
 * that the store has written are checked against what may follow what:
 *
 *     a version rises by one · a transition starts where the job stands · what has ended stays so ·
 *     a result is recorded once
 *
 * Then the faults stop, and everything that was accepted must end, be published and be answered.
 *
 *     simulation [--seed N] [--runs N] [--seconds N] [--twice] [--verbose]
 *
 * A seed gives the same run each time: --twice runs each seed two times and compares the hashes of all
 * that happened, step by step, line of log by line of log. An event is one step of the loop.
 */
#include "app/node.h"
#include "macros.h"
#include "memory/memory_store.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WALL_START_US INT64_C(1700000000000000)
#define NODES_MAX     64
#define WORKERS       3
#define SETTLE_MS     (3600 * 1000)
#define WATCHES_MAX   64

struct shadow {
        enum aip_job_status status;
        int64_t version;
        int n_completed;
        int is_accepted; /* a client was told so */
        int has_cancel;  /* a client was told that it is cancelled */
};

/* A client that posts a job, again and again with a key, once without. */
struct client {
        struct world *world;
        struct aip_job_submit submit;
        struct aip_timer timer;
        char prompt[32], key[32];
        int has_key;
        struct client *next;
};

struct canceller {
        struct world *world;
        struct aip_job_cancel cancel;
};

struct watcher {
        struct world *world;
        struct aip_job_view view;
};

struct world {
        uint64_t seed;
        int is_verbose;
        aip_sim_loop *sim;
        struct aip_loop loop;
        struct aip_seeded_random generator;
        struct aip_random random;
        struct aip_store store;
        struct memory_store *memory;
        struct broker broker;
        struct node nodes[NODES_MAX]; /* 0: the gateway */
        int n_nodes;
        struct aip_log log;

        struct aip_timer act_timer;
        int64_t faults_until_ms;
        int has_settled;
        int64_t seen_outbox_id;
        struct aip_hash_map shadows;
        struct aip_id *ids; /* accepted */
        size_t n_ids, ids_capacity;
        struct client *clients;
        size_t n_posted, n_unanswered, n_cancelled, n_views, n_watching;
        uint64_t hash; /* of everything that happened: the same seed, the same hash */
        uint64_t n_steps;
};

/* ── saying what went wrong ──────────────────────────────────────────────────────────────────── */

static _Noreturn void broken(const struct world *w, const struct aip_id *id, const char *what)
{
        char text[AIP_ID_TEXT_BYTES] = "-";

        if (id)
                aip_id_format(id, text);
        fflush(stdout);
        fprintf(stderr, "seed %llu at %lld ms: job %s: %s\n", (unsigned long long)w->seed,
                (long long)aip_now_ms(w->loop), text, what);
        abort();
}

/* As FNV-1a, a number at a time. */
static void hash_in(struct world *w, uint64_t what)
{
        w->hash = (w->hash ^ what) * UINT64_C(0x100000001b3);
}

static void hash_bytes_in(struct world *w, const void *bytes, size_t n)
{
        const unsigned char *p = bytes;

        for (size_t i = 0; i < n; i++)
                hash_in(w, p[i]);
}

static void note_log(void *self, const struct aip_log_record *record)
{
        struct world *w = self;
        char id[AIP_ID_TEXT_BYTES] = "";

        hash_bytes_in(w, record->message, strlen(record->message));
        if (!w->is_verbose)
                return;
        if (record->job_id)
                aip_id_format(record->job_id, id);
        printf("%8lld %s %s %s\n", (long long)aip_now_ms(w->loop), record->component, id, record->message);
}

static void say(struct world *w, const char *what, int node)
{
        if (w->is_verbose)
                printf("%8lld -- %s %d\n", (long long)aip_now_ms(w->loop), what, node);
}

static uint64_t dice(struct world *w, uint64_t sides)
{
        return aip_random_u64(w->random) % sides;
}

/* ── invariants ──────────────────────────────────────────────────────────────────────────────── */

static struct shadow *shadow_of(struct world *w, const struct aip_id *id)
{
        struct shadow *s = aip_hash_map_get_id(&w->shadows, id);

        if (!s) {
                s = calloc(1, sizeof(*s));
                if (!s || aip_hash_map_set_id(&w->shadows, id, s, NULL) < 0)
                        abort();
        }
        return s;
}

static void check_transition(struct world *w, const struct aip_transition *t)
{
        struct shadow *s = shadow_of(w, &t->job_id);
        const struct memory_job *known = aip_memory_job_find(w->memory, &t->job_id);

        hash_bytes_in(w, t->job_id.bytes, sizeof(t->job_id.bytes));
        hash_in(w, (uint64_t)t->at_us ^ ((uint64_t)t->kind << 56));
        hash_in(w, (uint64_t)t->version);
        if (!known)
                broken(w, &t->job_id, "a transition of a job that does not exist");
        if (t->kind == AIP_TRANSITION_DUE) {
                if (t->version != s->version || s->status != AIP_JOB_QUEUED)
                        broken(w, &t->job_id, "due, but not waiting");
                return;
        }
        if (t->version != s->version + 1)
                broken(w, &t->job_id, "a version did not rise by one");
        if (t->kind != AIP_TRANSITION_CREATED && t->from != s->status)
                broken(w, &t->job_id, "a transition from where the job was not");
        if (s->version > 0 && !aip_job_status_may_become(t->from, t->to))
                broken(w, &t->job_id, "a transition that is not allowed");
        if (aip_job_status_is_terminal(s->status) && s->version > 0)
                broken(w, &t->job_id, "moved after its end");
        if (t->to == AIP_JOB_COMPLETED && ++s->n_completed > 1)
                broken(w, &t->job_id, "completed twice");
        s->version = t->version;
        s->status = t->to;
}

static struct memory_outbox_row *outbox_row(struct world *w, int64_t id)
{
        return aip_hash_map_get(&w->memory->outbox, aip_str_make((const char *)&id, sizeof(id)));
}

/* Rows that were written since the last event. A number may be missing: it was never committed. */
static void check_new_rows(struct world *w)
{
        while (w->seen_outbox_id < w->memory->last_outbox_id) {
                struct memory_outbox_row *row = outbox_row(w, ++w->seen_outbox_id);

                if (row)
                        check_transition(w, &row->transition);
        }
}

/* ── clients ─────────────────────────────────────────────────────────────────────────────────── */

static aip_job_service *service_of(struct world *w)
{
        return w->nodes[0].service;
}

static void accepted(struct world *w, const struct aip_id *id)
{
        struct shadow *s = shadow_of(w, id);

        if (s->version == 0)
                broken(w, id, "accepted, but not stored");
        if (s->is_accepted)
                return;
        s->is_accepted = 1;
        if (w->n_ids == w->ids_capacity) {
                w->ids_capacity = AIP_MAX(2 * w->ids_capacity, (size_t)256);
                w->ids = realloc(w->ids, w->ids_capacity * sizeof(*w->ids));
                if (!w->ids)
                        abort();
        }
        w->ids[w->n_ids++] = *id;
}

static void post(struct aip_timer *timer)
{
        struct client *c = AIP_CONTAINER_OF(timer, struct client, timer);

        c->submit.op.deadline_ms = aip_now_ms(c->world->loop) + 5000;
        aip_job_service_submit(service_of(c->world), &c->submit);
}

static void posted(struct aip_op *op)
{
        struct client *c = AIP_CONTAINER_OF(op, struct client, submit.op);
        struct world *w = c->world;
        int code = aip_error_code(op->err);

        if (op->err && code != AIP_EUNAVAILABLE && code != AIP_ETIMEOUT)
                broken(w, NULL, aip_error_message(op->err));
        aip_error_free(AIP_TAKE(op->err));
        if (code < 0 && (c->has_key || aip_catalog_service_current(w->nodes[0].catalog) == NULL)) {
                aip_timer_set(w->loop, &c->timer, 200 + (int64_t)dice(w, 2000));
                return;
        }
        w->n_unanswered--;
        if (code == 0)
                accepted(w, &c->submit.ret_job_id);
}

static struct aip_str some_config(struct world *w)
{
        static const char *const names[] = {"sim-fast",  "sim-fast",     "sim-slow",   "sim-flaky",
                                            "sim-long",  "sim-overload", "sim-refuses"};
        return aip_str_of(names[dice(w, AIP_ARRAY_SIZE(names))]);
}

static void post_new(struct world *w)
{
        struct client *c = calloc(1, sizeof(*c));

        if (!c)
                abort();
        c->world = w;
        c->next = w->clients;
        w->clients = c;
        c->timer.fire = post;
        snprintf(c->prompt, sizeof(c->prompt), "prompt-%zu.", ++w->n_posted);
        w->n_unanswered++;
        c->submit.op.done = posted;
        c->submit.spec = (struct aip_job_spec)AIP_JOB_SPEC_INIT;
        c->submit.spec.prompt = aip_str_of(c->prompt);
        c->submit.spec.config_name = some_config(w);
        c->submit.spec.retry_delay_ms = (int32_t)(dice(w, 4) * 400);
        c->submit.spec.max_attempts = 1 + (int32_t)dice(w, 5);
        c->submit.delay_ms = dice(w, 5) == 0 ? (int64_t)dice(w, 8000) : 0;
        c->has_key = dice(w, 3) > 0;
        if (c->has_key) {
                snprintf(c->key, sizeof(c->key), "key-%zu", w->n_posted);
                c->submit.idempotency_key = aip_str_of(c->key);
        }
        post(&c->timer);
}

static void cancel_answered(struct aip_op *op)
{
        struct canceller *c = AIP_CONTAINER_OF(op, struct canceller, cancel.op);
        struct world *w = c->world;

        if (!op->err && c->cancel.ret_outcome == AIP_CANCEL_NOT_FOUND)
                broken(w, &c->cancel.id, "accepted, and not found when it was cancelled");
        if (!op->err && c->cancel.ret_outcome == AIP_CANCEL_CANCELLED) {
                shadow_of(w, &c->cancel.id)->has_cancel = 1;
                w->n_cancelled++;
        }
        aip_error_free(op->err);
        w->n_watching--;
        free(c);
}

static void cancel_some(struct world *w)
{
        struct canceller *c = w->n_ids > 0 ? calloc(1, sizeof(*c)) : NULL;

        if (!c)
                return;
        c->world = w;
        c->cancel.op.done = cancel_answered;
        c->cancel.id = w->ids[w->n_ids - 1 - dice(w, AIP_MIN(w->n_ids, (size_t)40))];
        w->n_watching++;
        aip_job_service_cancel(service_of(w), &c->cancel);
}

/* What clients read is never ahead of the store, and an end that was told stays the end. */
static void viewed(struct aip_op *op)
{
        struct watcher *v = AIP_CONTAINER_OF(op, struct watcher, view.op);
        struct world *w = v->world;
        struct shadow *s = shadow_of(w, &v->view.id);
        char expected[64];

        if (!op->err) {
                if (!v->view.ret_is_found)
                        broken(w, &v->view.id, "accepted, and not found when it was read");
                snprintf(expected, sizeof(expected), "\"status\":\"%s\"", aip_job_status_name(s->status));
                if (aip_job_status_is_terminal(s->status) && v->view.wait_ms >= 30000 &&
                    !w->faults_until_ms && !strstr(v->view.ret_view.p, expected))
                        broken(w, &v->view.id, "waited for, has ended, and is told otherwise");
                for (int status = AIP_JOB_COMPLETED; status <= AIP_JOB_CANCELLED; status++) {
                        snprintf(expected, sizeof(expected), "\"status\":\"%s\"",
                                 aip_job_status_name((enum aip_job_status)status));
                        if (strstr(v->view.ret_view.p, expected) && s->status != (enum aip_job_status)status)
                                broken(w, &v->view.id, "told an end that is not the store's");
                }
                w->n_views++;
        }
        aip_error_free(op->err);
        aip_buf_deinit(&v->view.ret_view);
        w->n_watching--;
        free(v);
}

static void view_some(struct world *w)
{
        struct watcher *v = w->n_ids > 0 && w->n_watching < WATCHES_MAX ? calloc(1, sizeof(*v)) : NULL;

        if (!v)
                return;
        v->world = w;
        v->view.op.done = viewed;
        v->view.id = w->ids[w->n_ids - 1 - dice(w, AIP_MIN(w->n_ids, (size_t)40))];
        v->view.wait_ms = dice(w, 2) ? (int64_t)dice(w, 30000) : 0;
        w->n_watching++;
        aip_job_service_view(service_of(w), &v->view);
}

/* ── processes ───────────────────────────────────────────────────────────────────────────────── */

static void start_node(struct world *w, int has_worker)
{
        struct node_options o = {.seed = aip_random_u64(w->random), .has_worker = has_worker};

        if (w->n_nodes == NODES_MAX)
                return;
        o.concurrency = 1 + (uint32_t)dice(w, 12);
        o.lease_ms = 2000;
        o.heartbeat_ms = 600;
        o.job_timeout_ms = 60000;
        o.sweep_age_ms = 2000;
        o.relay_max_waiting = 600 + dice(w, 400);
        o.log = &w->log;
        node_open(&w->nodes[w->n_nodes], w->loop, &w->store, &w->broker, &o);
        say(w, "process starts", w->n_nodes);
        w->n_nodes++;
}

static void set_faults(struct world *w, struct node *n)
{
        int is_over = w->faults_until_ms == 0;

        n->jobs.chances[FAULT_BEFORE] = is_over ? 0 : (uint32_t)dice(w, 60) * 1000;
        n->jobs.chances[FAULT_AFTER] = is_over ? 0 : (uint32_t)dice(w, 60) * 1000;
        n->jobs.chances[FAULT_TOLD_FAILED] = is_over ? 0 : (uint32_t)dice(w, 20) * 1000;
        n->jobs.chances[FAULT_TOLD_TIMEOUT] = is_over ? 0 : (uint32_t)dice(w, 20) * 1000;
        n->jobs.lost_hints_permille = is_over ? 0 : (int)dice(w, 500);
        n->jobs.delay_ms = is_over ? 0 : (int64_t)dice(w, 80);
}

static struct node *some_worker(struct world *w, int *ret_index)
{
        for (int tries = 0; tries < 20 && w->n_nodes > 1; tries++) {
                int i = 1 + (int)dice(w, (uint64_t)w->n_nodes - 1);

                if (w->nodes[i].worker && !w->nodes[i].close_op.done) {
                        *ret_index = i;
                        return &w->nodes[i];
                }
        }
        return NULL;
}

static void cut_off(struct node *n, int is_cut_off)
{
        n->jobs.is_cut_off = is_cut_off;
        n->client.is_cut_off = is_cut_off;
        broker_break(&n->client);
}

/* The process is gone: it does nothing that anybody could see, for ever. */
static void kill_node(struct world *w, struct node *n, int index)
{
        say(w, "process dies", index);
        cut_off(n, 1);
        node_begin_close(n, 0);
}

static void disturb_worker(struct world *w)
{
        int index = 0;
        struct node *n = some_worker(w, &index);

        if (!n)
                return;
        switch (dice(w, 6)) {
        case 0:
                kill_node(w, n, index);
                start_node(w, 1);
                break;
        case 1:
                say(w, "process is asked to leave", index);
                node_begin_close(n, (int64_t)dice(w, 5000));
                start_node(w, 1);
                break;
        case 2:
                say(w, n->jobs.is_cut_off ? "process is back" : "process is cut off", index);
                cut_off(n, !n->jobs.is_cut_off);
                break;
        case 3:
                say(w, "connection to the broker breaks", index);
                broker_break(&n->client);
                break;
        default:
                set_faults(w, n);
                break;
        }
}

static void disturb_broker(struct world *w)
{
        struct broker *b = &w->broker;

        b->lost_permille = (int)dice(w, 50);
        b->doubled_permille = (int)dice(w, 100);
        b->refused_permille = (int)dice(w, 100);
        b->delay_ms = (int64_t)dice(w, 50);
        b->is_down = dice(w, 6) == 0;
        if (dice(w, 10) == 0)
                broker_purge(b);
        aip_defer(w->loop, &b->deliver_task);
}

static void act(struct aip_timer *timer)
{
        struct world *w = AIP_CONTAINER_OF(timer, struct world, act_timer);
        uint64_t n = dice(w, 1000);

        if (aip_now_ms(w->loop) >= w->faults_until_ms)
                return;
        if (n < 500)
                for (uint64_t i = dice(w, 5); i > 0; i--)
                        post_new(w);
        else if (n < 600)
                cancel_some(w);
        else if (n < 850)
                view_some(w);
        else if (n < 900)
                disturb_broker(w);
        else if (n < 985)
                disturb_worker(w);
        else
                set_faults(w, &w->nodes[0]);
        aip_timer_set(w->loop, timer, (int64_t)dice(w, 200));
}

/* ── a run ───────────────────────────────────────────────────────────────────────────────────── */

static void put_done(struct aip_op *op)
{
        op->user = op;
}

static void put_config(struct world *w, const char *name, const char *model)
{
        struct aip_llm_config_fields f = AIP_LLM_CONFIG_FIELDS_INIT;
        struct aip_config_put put = {.op.done = put_done, .mode = AIP_PUT_CREATE};
        aip_llm_config *config = NULL;

        f.name = aip_str_of(name);
        f.provider = aip_str_of("simulated");
        f.model_name = aip_str_of(model);
        if (aip_llm_config_new(&f, &config, NULL) < 0)
                abort();
        put.config = config;
        w->store.catalog.ops->put_config(w->store.catalog.self, &put);
        while (!put.op.user)
                aip_sim_loop_step(w->sim);
        if (put.op.err)
                abort();
        aip_llm_config_unref(put.ret_config);
        aip_llm_config_unref(config);
}

static void world_open(struct world *w, uint64_t seed, int64_t seconds, int is_verbose)
{
        struct aip_store_options o = {.self_size = sizeof(o), .url = "memory:"};

        *w = (struct world){.seed = seed, .is_verbose = is_verbose};
        w->log = (struct aip_log){note_log, w, AIP_LOG_DEBUG};
        w->random = aip_random_seeded(&w->generator, seed);
        if (aip_sim_loop_new(WALL_START_US, &w->sim, NULL) < 0)
                abort();
        w->loop = o.loop = aip_sim_loop_port(w->sim);
        o.random = w->random;
        if (aip_memory_store_new(&o, &w->store, NULL) < 0)
                abort();
        w->memory = w->store.self;
        broker_open(&w->broker, w->loop, aip_random_u64(w->random));
        put_config(w, "sim-fast", "simulated,echo");
        put_config(w, "sim-slow", "simulated,echo,latency=700");
        put_config(w, "sim-long", "simulated,echo,latency=6000");
        put_config(w, "sim-flaky", "simulated,echo,latency=50,failures=1");
        put_config(w, "sim-overload", "simulated,echo,failures=3,retry-after=900");
        put_config(w, "sim-refuses", "simulated,fail=caller_invalid_request,latency=20");
        w->faults_until_ms = seconds * 1000;
        start_node(w, 0);
        for (int i = 0; i < WORKERS; i++)
                start_node(w, 1);
        for (int i = 0; i < w->n_nodes; i++)
                set_faults(w, &w->nodes[i]);
        w->act_timer.fire = act;
        aip_timer_set(w->loop, &w->act_timer, 0);
}

static int has_all_ended(const struct world *w)
{
        if (w->n_unanswered > 0 || w->n_watching > 0 || w->memory->outbox.n > 0)
                return 0;
        for (size_t i = 0; i < w->memory->n_jobs; i++)
                if (!aip_job_status_is_terminal(aip_job_fields(w->memory->jobs[i]->job)->status))
                        return 0;
        return 1;
}

/* From here on nothing fails. Those that were cut off come back; the dead stay dead. */
static void stop_faults(struct world *w)
{
        int n_workers = 0;

        say(w, "faults stop", 0);
        w->faults_until_ms = 0;
        w->broker.lost_permille = w->broker.doubled_permille = w->broker.refused_permille = 0;
        w->broker.is_down = 0;
        w->broker.delay_ms = 0;
        for (int i = 0; i < w->n_nodes; i++) {
                struct node *n = &w->nodes[i];

                set_faults(w, n);
                if (n->close_op.done)
                        continue;
                n_workers += n->worker != NULL;
                if (n->jobs.is_cut_off)
                        cut_off(n, 0);
        }
        if (n_workers == 0 && w->n_nodes == NODES_MAX)
                broken(w, NULL, "no worker is left: fewer seconds, please");
        if (n_workers == 0)
                start_node(w, 1);
        aip_defer(w->loop, &w->broker.deliver_task);
}

static void check_job(struct world *w, const aip_job *job)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        const struct shadow *s = shadow_of(w, &f->id);
        char *result = aip_str_dup(f->result), *prompt = aip_str_dup(f->prompt);

        if (f->status != s->status || f->version != s->version)
                broken(w, &f->id, "is not what its transitions made it");
        if (f->attempt > f->max_attempts)
                broken(w, &f->id, "was tried too often");
        if (s->has_cancel && f->status != AIP_JOB_CANCELLED)
                broken(w, &f->id, "was cancelled and is not any more");
        if (f->status == AIP_JOB_COMPLETED && (!result || !prompt || !strstr(result, prompt)))
                broken(w, &f->id, "has the answer of another");
        if (f->status == AIP_JOB_FAILED && f->error_code.n == 0)
                broken(w, &f->id, "failed for no reason");
        free(result);
        free(prompt);
}

static int compare_text(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* However often a job was sent: it is there once. */
static void check_prompts(struct world *w)
{
        size_t n = w->memory->n_jobs;
        char **prompts = calloc(n + 1, sizeof(*prompts));

        if (!prompts)
                abort();
        for (size_t i = 0; i < n; i++)
                prompts[i] = aip_str_dup(aip_job_fields(w->memory->jobs[i]->job)->prompt);
        qsort(prompts, n, sizeof(*prompts), compare_text);
        for (size_t i = 1; i < n; i++)
                if (strcmp(prompts[i - 1], prompts[i]) == 0)
                        broken(w, NULL, "one request made two jobs");
        for (size_t i = 0; i < n; i++)
                free(prompts[i]);
        free(prompts);
}

static void check_end(struct world *w)
{
        size_t n_ended[AIP_JOB_CANCELLED + 1] = {0};

        for (size_t i = 0; i < w->memory->n_jobs; i++) {
                check_job(w, w->memory->jobs[i]->job);
                n_ended[aip_job_fields(w->memory->jobs[i]->job)->status]++;
        }
        check_prompts(w);
        if (broker_events(&w->broker, "job.created") < w->memory->n_jobs ||
            broker_events(&w->broker, "job.completed") < n_ended[AIP_JOB_COMPLETED] ||
            broker_events(&w->broker, "job.failed") < n_ended[AIP_JOB_FAILED])
                broken(w, NULL, "events are missing");
        printf("seed %llu: %zu accepted of %zu posted, %zu completed, %zu failed, %zu cancelled, "
               "%d processes, %zu reads, %lld s, %016llx\n",
               (unsigned long long)w->seed, w->n_ids, w->n_posted, n_ended[AIP_JOB_COMPLETED],
               n_ended[AIP_JOB_FAILED], n_ended[AIP_JOB_CANCELLED], w->n_nodes, w->n_views,
               (long long)aip_now_ms(w->loop) / 1000, (unsigned long long)w->hash);
        fflush(stdout);
}

static void step(struct world *w)
{
        if (!aip_sim_loop_step(w->sim))
                broken(w, NULL, "nothing is left to happen");
        w->n_steps++;
        hash_in(w, (uint64_t)aip_now_ms(w->loop));
        check_new_rows(w);
}

static void close_node(struct world *w, struct node *n)
{
        int64_t until_ms = aip_now_ms(w->loop) + 60000;

        if (!n->close_op.done)
                node_begin_close(n, 1000);
        while (!node_is_closed(n)) {
                step(w);
                if (aip_now_ms(w->loop) > until_ms)
                        broken(w, NULL, "a process does not end");
        }
        node_free(n);
}

static void world_close(struct world *w)
{
        struct aip_op closing = {.done = put_done};
        struct shadow *s;
        size_t cursor = 0;

        for (int i = w->n_nodes - 1; i >= 0; i--)
                close_node(w, &w->nodes[i]);
        broker_close(&w->broker);
        w->store.close(w->store.self, &closing);
        while (!closing.user)
                aip_sim_loop_step(w->sim);
        aip_timer_clear(w->loop, &w->act_timer);
        if (aip_sim_loop_step(w->sim))
                broken(w, NULL, "something happens after the end");
        aip_sim_loop_free(w->sim);
        while ((s = aip_hash_map_next(&w->shadows, &cursor, NULL)) != NULL)
                free(s);
        aip_hash_map_deinit(&w->shadows);
        while (w->clients) {
                struct client *c = w->clients;

                w->clients = c->next;
                free(c);
        }
        free(w->ids);
}

/* What a run came to. */
struct trace {
        uint64_t hash, n_steps;
};

static struct trace run(uint64_t seed, int64_t seconds, int is_verbose)
{
        struct world *w = malloc(sizeof(*w));
        struct trace trace;

        if (!w)
                abort();
        world_open(w, seed, seconds, is_verbose);
        while (aip_now_ms(w->loop) < w->faults_until_ms)
                step(w);
        stop_faults(w);
        int64_t until_ms = aip_now_ms(w->loop) + SETTLE_MS;

        while (!has_all_ended(w)) {
                for (int i = 0; i < 100; i++)
                        step(w);
                if (aip_now_ms(w->loop) > until_ms)
                        broken(w, NULL, "not everything has ended an hour after the last fault");
        }
        check_end(w);
        world_close(w);
        trace = (struct trace){w->hash, w->n_steps};
        free(w);
        return trace;
}

static uint64_t run_twice(uint64_t seed, int64_t seconds, int is_verbose)
{
        struct trace first = run(seed, seconds, is_verbose), again = run(seed, seconds, is_verbose);

        if (first.hash == again.hash && first.n_steps == again.n_steps)
                return first.n_steps + again.n_steps;
        fprintf(stderr, "seed %llu: two runs differ\n", (unsigned long long)seed);
        abort();
}

static double seconds_now(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                                {"runs", required_argument, NULL, 'r'},
                                                {"seconds", required_argument, NULL, 't'},
                                                {"twice", no_argument, NULL, '2'},
                                                {"verbose", no_argument, NULL, 'v'},
                                                {0}};
        unsigned long long seed = 1, runs = 1;
        long seconds = 60;
        int is_verbose = 0, is_twice = 0, key;
        uint64_t n_events = 0;
        double began = seconds_now(), took;

        while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (key == 's')
                        seed = strtoull(optarg, NULL, 0);
                else if (key == 'r')
                        runs = strtoull(optarg, NULL, 0);
                else if (key == 't')
                        seconds = strtol(optarg, NULL, 0);
                else if (key == '2')
                        is_twice = 1;
                else if (key == 'v')
                        is_verbose = 1;
                else
                        return 64;
        }
        for (unsigned long long i = 0; i < runs; i++)
                n_events += is_twice ? run_twice(seed + i, seconds, is_verbose)
                                     : run(seed + i, seconds, is_verbose).n_steps;
        took = seconds_now() - began;
        printf("%llu events, %.0f a second\n", (unsigned long long)n_events, (double)n_events / took);
        return 0;
}
