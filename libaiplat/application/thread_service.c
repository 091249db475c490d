/*
 * Threads as a whole (thread_service.h): reads go to the store as they come; a write is a small story of its own:
 *
 *     last ─► load ─► (whose graph? ─► fetch) ─► apply: the graph merges the values ─► store
 *
 * Called by the HTTP controllers and by C programs. It must run no node, and keep nothing between operations but
 * compiled graphs.
 */
#include <aiplat/thread_service.h>

#include "agent/graph_factory.h"
#include "checkpoint_image.h"
#include "macros.h"
#include "mem.h"

#define STATE_MAX_BYTES   (256u << 20)
#define AS_NODE_MAX_BYTES 255

struct aip_thread_service {
        struct aip_loop loop;
        struct aip_thread_repository threads;
        struct aip_checkpoint_store checkpoints;
        struct aip_job_repository jobs;
        aip_catalog_service *catalog;
        const aip_graph_registry *graphs;
        struct aip_graph_factory factory;
};

/* ── reading ─────────────────────────────────────────────────────────────────────────────────── */

void aip_thread_service_list(aip_thread_service *s, struct aip_thread_list *list)
{
        s->threads.ops->list(s->threads.self, list);
}

static void listed(struct aip_op *op)
{
        struct aip_thread_history *h = AIP_CONTAINER_OF(op, struct aip_thread_history, list.op);

        aip_op_finish(h->service->loop, &h->op, AIP_TAKE(op->err));
}

/* A job's own checkpoints have an owner too: only threads are looked into. */
static void looked(struct aip_op *op)
{
        struct aip_thread_history *h = AIP_CONTAINER_OF(op, struct aip_thread_history, look.op);
        aip_thread_service *s = h->service;

        h->ret_is_found = !op->err && h->look.ret_n > 0;
        if (!op->err)
                free(AIP_TAKE(h->look.ret_threads));
        if (!h->ret_is_found) {
                aip_op_finish(s->loop, &h->op, AIP_TAKE(op->err));
                return;
        }
        h->list.op = (struct aip_op){.done = listed, .deadline_ms = h->op.deadline_ms};
        s->checkpoints.ops->list(s->checkpoints.self, &h->list);
}

void aip_thread_service_history(aip_thread_service *s, struct aip_thread_history *h)
{
        h->service = s;
        h->look = (struct aip_thread_list){.op = {.done = looked}, .id = h->list.owner, .limit = 1};
        h->look.op.deadline_ms = h->op.deadline_ms;
        s->threads.ops->list(s->threads.self, &h->look);
}

/* What is known of a checkpoint when its texts are gone. */
static struct aip_checkpoint without_texts(struct aip_checkpoint checkpoint)
{
        checkpoint.ns = checkpoint.place = checkpoint.changes = aip_str_make("", 0);
        return checkpoint;
}

static void release_load(struct aip_checkpoint_load *load)
{
        free(AIP_TAKE(load->ret_checkpoints));
        free(AIP_TAKE(load->ret_tasks));
}

static void state_loaded(struct aip_op *op)
{
        struct aip_thread_state *state = AIP_CONTAINER_OF(op, struct aip_thread_state, load.op);
        struct aip_checkpoint_load *load = &state->load;
        aip_error *err = AIP_TAKE(op->err);

        state->ret_is_found = !err && load->ret_n > 0;
        if (state->ret_is_found) {
                state->ret_checkpoint = without_texts(load->ret_checkpoints[load->ret_n - 1]);
                aip_checkpoint_image(load, &state->ret_image, &err);
        }
        release_load(load);
        aip_op_finish(state->service->loop, &state->op, err);
}

static struct aip_checkpoint_load load_of(struct aip_id thread, int64_t checkpoint,
                                          int64_t deadline_ms, void (*done)(struct aip_op *op))
{
        return (struct aip_checkpoint_load){.op = {.done = done, .deadline_ms = deadline_ms},
                                            .owner = thread,
                                            .ns = {"", 0},
                                            .n = checkpoint};
}

void aip_thread_service_state(aip_thread_service *s, struct aip_thread_state *state)
{
        state->service = s;
        state->ret_image = NULL;
        state->load = load_of(state->id, state->checkpoint, state->op.deadline_ms, state_loaded);
        s->checkpoints.ops->load(s->checkpoints.self, &state->load);
}

/* ── writing ─────────────────────────────────────────────────────────────────────────────────── */

static void write_end(struct aip_thread_write *w, aip_error *err)
{
        release_load(&w->load);
        aip_value_unref(AIP_TAKE(w->image));
        aip_buf_deinit(&w->place);
        aip_buf_deinit(&w->changes);
        aip_op_finish(w->service->loop, &w->op, err);
}

static void stored(struct aip_op *op)
{
        struct aip_thread_write *w = AIP_CONTAINER_OF(op, struct aip_thread_write, update.op);
        aip_error *err = AIP_TAKE(op->err);

        if (!err && w->update.ret_outcome == AIP_THREAD_UPDATE_BUSY)
                aip_error_set(&err, AIP_ECONFLICT, "a job of the thread has not ended");
        else if (!err && w->update.ret_outcome == AIP_THREAD_UPDATE_CHANGED)
                aip_error_set(&err, AIP_ECONFLICT,
                              "the thread has changed meanwhile: look at it, and write again");
        else
                w->ret_checkpoint = w->update.checkpoint.n;
        write_end(w, err);
}

/* The one that was written to; NULL: there was none. */
static const struct aip_checkpoint *written_to(const struct aip_thread_write *w)
{
        return w->load.ret_n > 0 ? &w->load.ret_checkpoints[w->load.ret_n - 1] : NULL;
}

/* Whether what is stored must say all there is: it is the first, a fork, or reading would become long. */
static int is_base(const struct aip_thread_write *w)
{
        const struct aip_checkpoint_load *load = &w->load;
        size_t since = 0;

        if (load->ret_n == 0 || written_to(w)->n != w->top)
                return 1;
        for (size_t i = 1; i < load->ret_n; i++)
                since += aip_checkpoint_row_bytes(load->ret_checkpoints[i].changes);
        return aip_checkpoint_is_base_due(load->ret_checkpoints[0].changes.n, since);
}

static void store(struct aip_thread_write *w)
{
        aip_thread_service *s = w->service;
        const struct aip_checkpoint *from = written_to(w);

        w->update = (struct aip_thread_update){.op = {.done = stored}};
        w->update.op.deadline_ms = w->op.deadline_ms;
        w->update.checkpoint = (struct aip_checkpoint){
                .owner = w->id,
                .ns = {"", 0},
                .n = w->top + 1,
                .parent = from ? from->n : 0,
                .base = is_base(w) ? w->top + 1 : w->load.ret_checkpoints[0].n,
                .job_id = from ? from->job_id : (struct aip_id){{0}},
                .step = (int32_t)aip_value_as_int(aip_value_get_cstr(w->image, "step"), 0),
                .source = AIP_CHECKPOINT_UPDATE,
                .place = aip_buf_str(&w->place),
                .changes = aip_buf_str(&w->changes),
        };
        s->threads.ops->update(s->threads.self, &w->update);
}

/* The texts of what is stored: the image without its channels, and what has changed in these, or all. */
static int print_texts(struct aip_thread_write *w, const aip_value *changes, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *whole = aip_value_object();
        const aip_value *channels = aip_value_get_cstr(w->image, "channels");

        w->place.max_bytes = w->changes.max_bytes = STATE_MAX_BYTES;
        if (!whole || aip_value_object_set_cstr(&whole, "set", aip_value_ref(channels)) < 0)
                return aip_error_set_nomem(err);
        int r = aip_value_print(is_base(w) ? whole : changes, &w->changes, err);
        if (r < 0)
                return r;
        if (aip_value_object_remove(&w->image, AIP_STR("channels")) < 0)
                return aip_error_set_nomem(err);
        return aip_value_print(w->image, &w->place, err);
}

static int keeps_nothing(struct aip_str name, aip_error **err)
{
        return aip_error_set(err, AIP_EINVAL, "graph_name: the graph '%.*s' keeps no state",
                             AIP_STR_ARG(name));
}

/* Of several of one name, as the worker does. */
static int find_graph(const struct aip_thread_write *w, struct aip_str name, aip_graph **ret_graph,
                      void **ret_context, aip_error **err)
{
        aip_thread_service *s = w->service;
        const struct aip_registered_graph *code = aip_graph_registry_find(s->graphs, name);
        const aip_catalog *catalog = aip_catalog_service_current(s->catalog);
        const struct aip_graph_entry *entry = catalog ? aip_catalog_graph(catalog, name) : NULL;

        if (code && code->is_unkept)
                return keeps_nothing(name, err);
        if (code) {
                *ret_graph = aip_graph_ref(code->graph);
                *ret_context = code->context;
                return 0;
        }
        if (!catalog)
                return aip_error_set(err, AIP_EUNAVAILABLE, "the graphs have not been read yet");
        if (!entry)
                return aip_error_set(err, AIP_ENOTFOUND, "graph_name: no graph '%.*s'",
                                     AIP_STR_ARG(name));
        if (entry->version == 0 && aip_str_eq(name, AIP_STR("assistant")))
                return keeps_nothing(name, err);
        return aip_graph_factory_get(&s->factory, entry->document, ret_graph, err);
}

static int merge(struct aip_thread_write *w, const aip_graph *graph, void *context, aip_error **err)
{
        struct aip_graph_update update = AIP_GRAPH_UPDATE_INIT;
        char as_node[AS_NODE_MAX_BYTES + 1] = "";
        int r;

        if (w->as_node.n > AS_NODE_MAX_BYTES ||
            (w->as_node.n > 0 && memchr(w->as_node.p, '\0', w->as_node.n)))
                return aip_error_set(err, AIP_EINVAL, "as_node: no node has such a name");
        memcpy(as_node, w->as_node.n ? w->as_node.p : "", w->as_node.n);
        update.image = w->image;
        update.values = w->values;
        update.context = context;
        update.as_node = w->as_node.n > 0 ? as_node : NULL;
        if ((r = aip_graph_update_state(graph, &update, err)) < 0)
                return r;
        aip_value_unref(w->image);
        w->image = update.ret_image;
        r = print_texts(w, update.ret_changes, err);
        aip_value_unref(update.ret_changes);
        return r;
}

static void apply(struct aip_thread_write *w, struct aip_str graph_name)
{
        aip_graph *graph = NULL;
        void *context = NULL;
        aip_error *err = NULL;
        int r = find_graph(w, graph_name, &graph, &context, &err);

        if (r == 0)
                r = merge(w, graph, context, &err);
        aip_graph_unref(graph);
        if (r < 0)
                write_end(w, err);
        else
                store(w);
}

static void must_be_named(struct aip_thread_write *w)
{
        aip_error *err = NULL;

        aip_error_set(&err, AIP_EINVAL,
                      "graph_name: must be given, the thread has no job that tells it");
        write_end(w, err);
}

static void fetched(struct aip_op *op)
{
        struct aip_thread_write *w = AIP_CONTAINER_OF(op, struct aip_thread_write, fetch.op);
        aip_job *job = op->err ? NULL : AIP_TAKE(w->fetch.ret_job);

        if (op->err)
                write_end(w, AIP_TAKE(op->err));
        else if (!job)
                must_be_named(w);
        else
                apply(w, aip_job_fields(job)->graph_name);
        aip_job_free(job);
}

/* Whose state it is. */
static void ask_for_graph(struct aip_thread_write *w)
{
        aip_thread_service *s = w->service;
        const struct aip_checkpoint *from = written_to(w);

        if (w->graph_name.n > 0) {
                apply(w, w->graph_name);
        } else if (!from || aip_id_is_nil(&from->job_id)) {
                must_be_named(w);
        } else {
                w->fetch = (struct aip_job_fetch){.op = {.done = fetched}, .id = from->job_id};
                w->fetch.op.deadline_ms = w->op.deadline_ms;
                s->jobs.ops->fetch(s->jobs.self, &w->fetch);
        }
}

static void loaded(struct aip_op *op)
{
        struct aip_thread_write *w = AIP_CONTAINER_OF(op, struct aip_thread_write, load.op);
        aip_error *err = AIP_TAKE(op->err);

        if (!err && w->load.ret_n == 0)
                aip_error_set(&err, AIP_ENOTFOUND, "checkpoint: the thread has no %lld",
                              (long long)w->checkpoint);
        if (err || aip_checkpoint_image(&w->load, &w->image, &err) < 0)
                write_end(w, err);
        else
                ask_for_graph(w);
}

static void found_last(struct aip_op *op)
{
        struct aip_thread_write *w = AIP_CONTAINER_OF(op, struct aip_thread_write, last.op);
        aip_thread_service *s = w->service;

        if (op->err) {
                write_end(w, AIP_TAKE(op->err));
                return;
        }
        w->top = w->last.ret_n > 0 ? w->last.ret_checkpoints[0].n : 0;
        free(AIP_TAKE(w->last.ret_checkpoints));
        if (w->top == 0 && w->checkpoint == 0) {
                ask_for_graph(w);
                return;
        }
        w->load = load_of(w->id, w->checkpoint > 0 ? w->checkpoint : w->top, w->op.deadline_ms,
                          loaded);
        s->checkpoints.ops->load(s->checkpoints.self, &w->load);
}

void aip_thread_service_write(aip_thread_service *s, struct aip_thread_write *w)
{
        w->service = s;
        w->load = (struct aip_checkpoint_load){0};
        w->image = NULL;
        w->place = w->changes = (struct aip_buf){0};
        w->last = (struct aip_checkpoint_list){
                .op = {.done = found_last}, .owner = w->id, .ns = {"", 0}, .limit = 1};
        w->last.op.deadline_ms = w->op.deadline_ms;
        s->checkpoints.ops->list(s->checkpoints.self, &w->last);
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

int aip_thread_service_new(const struct aip_thread_service_options *o,
                           aip_thread_service **ret_service, aip_error **err)
{
        aip_thread_service *s = aip_calloc(1, sizeof(*s));

        if (!s)
                return aip_error_set_nomem(err);
        s->loop = o->loop;
        s->threads = o->threads;
        s->checkpoints = o->checkpoints;
        s->jobs = o->jobs;
        s->catalog = o->catalog;
        s->factory.tools = o->tools;
        s->graphs = o->graphs;
        *ret_service = s;
        return 0;
}

void aip_thread_service_free(aip_thread_service *s)
{
        if (!s)
                return;
        aip_graph_factory_deinit(&s->factory);
        aip_free(s);
}
