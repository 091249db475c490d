/*
 * Keeps the current snapshot of configurations, templates and graphs (catalog_service.h). One load is in
 * flight at most; what changes meanwhile makes the next one. Called by the job service, the
 * processing service and the HTTP controllers; it never blocks them and never hands out a snapshot
 * that is half one revision and half another.
 */
#include <aiplat/catalog_service.h>

#include "agent/graph_factory.h"
#include "list.h"
#include "macros.h"
#include "mem.h"
#include "trouble.h"

#define RECONCILE_MS  5000
#define RELOAD_MS     500 /* after a load that failed */
#define STORE_WAIT_MS 3000
#define INVALID_BYTES 16384

struct aip_catalog_service {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_catalog_repository catalog;
        struct aip_job_repository jobs;
        int64_t reconcile_ms;
        int (*check_graph)(void *self, const aip_graph_document *document, aip_error **err);
        void *check_graph_self;

        aip_catalog *current;

        struct aip_catalog_load load;
        struct aip_trouble load_trouble;
        int is_loading;
        int is_started;
        int is_stale; /* something changed since the load in flight began */

        struct aip_op revision_op;
        int64_t revision;
        int is_asking_revision;

        struct aip_store_watcher watcher;
        struct aip_timer timer; /* the next reconciliation, or the next try to load */

        struct aip_list waiters;          /* struct waiter: for the first snapshot */
        struct aip_op_queue on_this_load; /* changes that the load in flight will show */
        struct aip_op_queue on_next_load; /* changes stored after it began */
        size_t n_changes;                 /* puts and deletes at the store */
        struct aip_op *closing;
};

/* Waits for the first snapshot, with a deadline of its own. */
struct waiter {
        struct aip_list link;
        struct aip_timer timer;
        struct aip_op *op;
        struct aip_catalog_service *service;
};

static void start_load(struct aip_catalog_service *s);

static void waiter_end(struct waiter *w, aip_error *err)
{
        struct aip_catalog_service *s = w->service;

        aip_timer_clear(s->loop, &w->timer);
        aip_list_remove(&w->link);
        aip_op_finish(s->loop, w->op, err);
        aip_free(w);
}

static void free_when_idle(struct aip_catalog_service *s)
{
        if (!s->closing || s->is_loading || s->is_asking_revision || s->n_changes > 0)
                return;
        struct aip_op *closing = s->closing;
        struct aip_loop loop = s->loop;

        aip_catalog_unref(s->current);
        aip_free(s);
        aip_op_finish(loop, closing, NULL);
}

static void finish_queue(struct aip_catalog_service *s, struct aip_op_queue *queue)
{
        struct aip_op *op;

        while ((op = aip_op_queue_pop(queue)) != NULL)
                aip_op_finish(s->loop, op, NULL);
}

/* ── loading ─────────────────────────────────────────────────────────────────────────────────── */

static void take_snapshot(struct aip_catalog_service *s)
{
        struct aip_catalog_load *load = &s->load;

        if (load->ret_n_invalid > 0)
                aip_log_write(s->log, AIP_LOG_WARNING, "catalog", "%zu unusable rows left out: %s",
                              load->ret_n_invalid, load->ret_invalid.p ? load->ret_invalid.p : "");
        if (!s->current ||
            aip_catalog_revision(s->current) != aip_catalog_revision(load->ret_catalog))
                aip_log_write(s->log, AIP_LOG_INFO, "catalog", "revision %lld is live",
                              (long long)aip_catalog_revision(load->ret_catalog));
        aip_catalog_unref(s->current);
        s->current = AIP_TAKE(load->ret_catalog);
        AIP_LIST_FOREACH (node, &s->waiters)
                waiter_end(AIP_LIST_ENTRY(node, struct waiter, link), NULL);
}

static void load_done(struct aip_op *op)
{
        struct aip_catalog_service *s = AIP_CONTAINER_OF(op, struct aip_catalog_service, load.op);
        _cleanup_(aip_error_free_p) aip_error *err = AIP_TAKE(op->err);

        s->is_loading = 0;
        if (err) {
                aip_trouble_occurred(&s->load_trouble, s->log, "catalog", aip_now_ms(s->loop),
                                     "not loaded", aip_error_message(err));
        } else {
                aip_trouble_over(&s->load_trouble, s->log, "catalog", "not loaded");
                take_snapshot(s);
        }
        aip_buf_deinit(&s->load.ret_invalid);
        /* A change is stored even when the snapshot could not be read again just now. */
        finish_queue(s, &s->on_this_load);
        if (s->closing)
                free_when_idle(s);
        else if (s->is_stale)
                start_load(s);
        else
                aip_timer_set(s->loop, &s->timer, err ? RELOAD_MS : s->reconcile_ms);
}

static void start_load(struct aip_catalog_service *s)
{
        s->is_stale = 1;
        if (s->is_loading || s->closing || !s->is_started)
                return;
        s->is_loading = 1;
        s->is_stale = 0;
        s->on_this_load = s->on_next_load;
        s->on_next_load = (struct aip_op_queue){0};
        aip_timer_clear(s->loop, &s->timer);
        s->load = (struct aip_catalog_load){.op = {.done = load_done}};
        s->load.op.deadline_ms = aip_now_ms(s->loop) + STORE_WAIT_MS;
        aip_buf_init(&s->load.ret_invalid, INVALID_BYTES);
        s->catalog.ops->load(s->catalog.self, &s->load);
}

static void revision_done(struct aip_op *op)
{
        struct aip_catalog_service *s =
                AIP_CONTAINER_OF(op, struct aip_catalog_service, revision_op);
        int is_same = !op->err && s->current && aip_catalog_revision(s->current) == s->revision;

        aip_error_free(AIP_TAKE(op->err));
        s->is_asking_revision = 0;
        if (s->closing)
                free_when_idle(s);
        else if (is_same)
                aip_timer_set(s->loop, &s->timer, s->reconcile_ms);
        else
                start_load(s);
}

static void reconcile(struct aip_timer *timer)
{
        struct aip_catalog_service *s = AIP_CONTAINER_OF(timer, struct aip_catalog_service, timer);

        if (!s->current) {
                start_load(s);
                return;
        }
        if (s->is_asking_revision)
                return;
        s->is_asking_revision = 1;
        s->revision_op = (struct aip_op){.done = revision_done};
        s->revision_op.deadline_ms = aip_now_ms(s->loop) + STORE_WAIT_MS;
        s->catalog.ops->revision(s->catalog.self, &s->revision_op, &s->revision);
}

static void catalog_changed(struct aip_store_watcher *watcher)
{
        start_load(AIP_CONTAINER_OF(watcher, struct aip_catalog_service, watcher));
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

int aip_catalog_service_new(const struct aip_catalog_service_options *options,
                            aip_catalog_service **ret_service, aip_error **err)
{
        struct aip_catalog_service *s = aip_calloc(1, sizeof(*s));

        if (!s)
                return aip_error_set_nomem(err);
        s->loop = options->loop;
        s->log = options->log;
        s->catalog = options->catalog;
        s->jobs = options->jobs;
        s->reconcile_ms = options->reconcile_ms > 0 ? options->reconcile_ms : RECONCILE_MS;
        s->check_graph = aip_graph_factory_check;
        s->check_graph_self = options->tools;
        s->timer.fire = reconcile;
        aip_list_init(&s->waiters);
        s->watcher.on_catalog_changed = catalog_changed;
        s->watcher.on_connected = catalog_changed;
        s->jobs.ops->watch(s->jobs.self, &s->watcher);
        *ret_service = s;
        return 0;
}

void aip_catalog_service_start(aip_catalog_service *s)
{
        s->is_started = 1;
        start_load(s);
}

void aip_catalog_service_close(aip_catalog_service *s, struct aip_op *op)
{
        s->closing = op;
        s->jobs.ops->unwatch(s->jobs.self, &s->watcher);
        aip_timer_clear(s->loop, &s->timer);
        AIP_LIST_FOREACH (node, &s->waiters) {
                aip_error *err = NULL;

                aip_error_set(&err, AIP_ECANCELLED, "shutting down");
                waiter_end(AIP_LIST_ENTRY(node, struct waiter, link), err);
        }
        finish_queue(s, &s->on_next_load);
        free_when_idle(s);
}

const aip_catalog *aip_catalog_service_current(const aip_catalog_service *s)
{
        return s->current;
}

static void wait_timed_out(struct aip_timer *timer)
{
        struct waiter *w = AIP_CONTAINER_OF(timer, struct waiter, timer);
        aip_error *err = NULL;

        aip_error_set(&err, AIP_EUNAVAILABLE, "the store could not be read in time");
        waiter_end(w, err);
}

void aip_catalog_service_wait(aip_catalog_service *s, struct aip_op *op)
{
        struct waiter *w = s->current ? NULL : aip_calloc(1, sizeof(*w));
        aip_error *err = NULL;

        if (!w) {
                if (!s->current)
                        aip_error_set_nomem(&err);
                aip_op_finish(s->loop, op, err);
                return;
        }
        w->op = op;
        w->service = s;
        w->timer.fire = wait_timed_out;
        aip_list_append(&s->waiters, &w->link);
        if (op->deadline_ms > 0)
                aip_timer_set(s->loop, &w->timer,
                              AIP_MAX(op->deadline_ms - aip_now_ms(s->loop), (int64_t)0));
}

void aip_catalog_service_refresh(aip_catalog_service *s, struct aip_op *op)
{
        if (s->closing) {
                aip_op_finish(s->loop, op, NULL);
                return;
        }
        aip_op_queue_push(&s->on_next_load, op);
        start_load(s);
}

/* ── changes ─────────────────────────────────────────────────────────────────────────────────── */

/* A change on its way through the store: the caller's request is kept, a copy of it is sent, so that
 * the caller's `done` can wait for the reload. */
struct change {
        struct aip_catalog_service *service;
        struct aip_op *callers;
        void (*take_result)(struct change *change);
        void (*explain)(struct change *change, aip_error **err); /* what the store refused; or NULL */
        union {
                struct aip_op op;
                struct aip_config_put config;
                struct aip_template_put prompt_template;
                struct aip_graph_put graph;
                struct aip_catalog_delete del;
        } sent;
};

static void change_done(struct aip_op *op)
{
        struct change *c = AIP_CONTAINER_OF(op, struct change, sent.op);
        struct aip_catalog_service *s = c->service;

        s->n_changes--;
        if (op->err) {
                if (c->explain)
                        c->explain(c, &op->err);
                aip_op_finish(s->loop, c->callers, AIP_TAKE(op->err));
        } else {
                if (c->take_result)
                        c->take_result(c);
                if (s->closing)
                        aip_op_finish(s->loop, c->callers, NULL);
                else
                        aip_op_queue_push(&s->on_next_load, c->callers);
                start_load(s);
        }
        aip_free(c);
        free_when_idle(s);
}

static struct change *change_new(struct aip_catalog_service *s, struct aip_op *callers)
{
        struct change *c = aip_calloc(1, sizeof(*c));
        aip_error *err = NULL;

        if (!c) {
                aip_error_set_nomem(&err);
                aip_op_finish(s->loop, callers, err);
                return NULL;
        }
        c->service = s;
        c->callers = callers;
        c->sent.op.done = change_done;
        c->sent.op.deadline_ms = callers->deadline_ms;
        s->n_changes++;
        return c;
}

static void take_config(struct change *c)
{
        struct aip_config_put *put = AIP_CONTAINER_OF(c->callers, struct aip_config_put, op);

        put->ret_config = c->sent.config.ret_config;
        put->ret_is_new = c->sent.config.ret_is_new;
}

static void take_template(struct change *c)
{
        struct aip_template_put *put = AIP_CONTAINER_OF(c->callers, struct aip_template_put, op);

        put->ret_template = c->sent.prompt_template.ret_template;
        put->ret_is_new = c->sent.prompt_template.ret_is_new;
}

void aip_catalog_service_put_config(aip_catalog_service *s, struct aip_config_put *put)
{
        struct change *c = change_new(s, &put->op);

        if (!c)
                return;
        c->take_result = take_config;
        c->sent.config.config = put->config;
        c->sent.config.mode = put->mode;
        s->catalog.ops->put_config(s->catalog.self, &c->sent.config);
}

void aip_catalog_service_put_template(aip_catalog_service *s, struct aip_template_put *put)
{
        struct change *c = change_new(s, &put->op);

        if (!c)
                return;
        c->take_result = take_template;
        c->sent.prompt_template.prompt_template = put->prompt_template;
        c->sent.prompt_template.mode = put->mode;
        s->catalog.ops->put_template(s->catalog.self, &c->sent.prompt_template);
}

void aip_catalog_service_delete_config(aip_catalog_service *s, struct aip_catalog_delete *del)
{
        struct change *c = change_new(s, &del->op);

        if (!c)
                return;
        c->sent.del.name = del->name;
        s->catalog.ops->delete_config(s->catalog.self, &c->sent.del);
}

void aip_catalog_service_delete_template(aip_catalog_service *s, struct aip_catalog_delete *del)
{
        struct change *c = change_new(s, &del->op);

        if (!c)
                return;
        c->sent.del.name = del->name;
        s->catalog.ops->delete_template(s->catalog.self, &c->sent.del);
}

/* ── graphs ──────────────────────────────────────────────────────────────────────────────────── */

void aip_catalog_service_check_graphs(aip_catalog_service *s,
                                      int (*check)(void *self, const aip_graph_document *document,
                                                   aip_error **err),
                                      void *self)
{
        s->check_graph = check;
        s->check_graph_self = self;
}

int aip_catalog_service_check_graph(const aip_catalog_service *s,
                                    const aip_graph_document *document, aip_error **err)
{
        return s->check_graph ? s->check_graph(s->check_graph_self, document, err) : 0;
}

/* Whether what the snapshot has under this name came with the library. */
static int is_shipped(const struct aip_catalog_service *s, struct aip_str name)
{
        const struct aip_graph_entry *entry = s->current ? aip_catalog_graph(s->current, name)
                                                         : NULL;

        return entry && entry->id == 0;
}

static void take_graph(struct change *c)
{
        struct aip_graph_put *put = AIP_CONTAINER_OF(c->callers, struct aip_graph_put, op);

        put->ret_entry = c->sent.graph.ret_entry;
        put->ret_is_new = c->sent.graph.ret_is_new;
}

void aip_catalog_service_put_graph(aip_catalog_service *s, struct aip_graph_put *put)
{
        struct aip_str name = aip_graph_document_name(put->document);
        aip_error *err = NULL;
        struct change *c;

        if (put->mode == AIP_PUT_CREATE && is_shipped(s, name))
                aip_error_set(&err, AIP_ECONFLICT,
                              "graph \"%.*s\" ships with the platform; it can be replaced",
                              AIP_STR_ARG(name));
        if (err || aip_catalog_service_check_graph(s, put->document, &err) < 0) {
                aip_op_finish(s->loop, &put->op, err);
                return;
        }
        if (!(c = change_new(s, &put->op)))
                return;
        c->take_result = take_graph;
        c->sent.graph.document = put->document;
        c->sent.graph.mode = put->mode;
        s->catalog.ops->put_graph(s->catalog.self, &c->sent.graph);
}

static void explain_shipped(struct change *c, aip_error **err)
{
        struct aip_str name = c->sent.del.name;

        if (aip_error_code(*err) != AIP_ENOTFOUND || !is_shipped(c->service, name))
                return;
        aip_error_free(AIP_TAKE(*err));
        aip_error_set(err, AIP_ECONFLICT,
                      "graph \"%.*s\" ships with the platform; it can be replaced, not deleted",
                      AIP_STR_ARG(name));
}

void aip_catalog_service_delete_graph(aip_catalog_service *s, struct aip_catalog_delete *del)
{
        struct change *c = change_new(s, &del->op);

        if (!c)
                return;
        c->explain = explain_shipped;
        c->sent.del.name = del->name;
        s->catalog.ops->delete_graph(s->catalog.self, &c->sent.del);
}
