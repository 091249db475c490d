/*
 * Runs inside tasks (graph_subrun.h).
 *
 *     begin ─► the run inside … ─► done ─┬─► it has ended: output, or Commands ─► finish
 *                 │        ▲             ├─► it was interrupted: its questions ─► finish
 *                 ▼        │             └─► it has failed ─► finish
 *               save ─► the run around saves a piece
 *
 * What the run inside has to save becomes a piece of its task (graph_image.h), which the keeper of the run
 * around takes along; with durability exit it is kept here, for the one save at the end.
 */
#include "graph_subrun.h"

#include "graph/graph_image.h"
#include "macros.h"
#include "mem.h"

/* ── what is told and saved, outwards ────────────────────────────────────────────────────────── */

/* What is told of the run inside carries its name; what there is no memory for is not told. */
#define TELL(sub, method, node, id, ...)                                                           \
        do {                                                                                       \
                const struct aip_graph_observer *o_ = &(sub)->outer->observer;                     \
                aip_value *name_ = o_->ops->method                                                 \
                                           ? aip_graph_inside_name((sub)->task, aip_str_of(id))    \
                                           : NULL;                                                 \
                if (name_)                                                                         \
                        o_->ops->method(o_->self, node, aip_value_as_string(name_).p __VA_ARGS__); \
                aip_value_unref(name_);                                                            \
        } while (0)

static void task_started(void *self, const char *node, const char *task_id)
{
        struct aip_graph_subrun *sub = self;

        TELL(sub, task_started, node, task_id, );
}

static void task_ended(void *self, const char *node, const char *task_id, const aip_value *updates,
                       const aip_error *err)
{
        struct aip_graph_subrun *sub = self;

        TELL(sub, task_ended, node, task_id, , updates, err);
}

static void custom(void *self, const char *node, const char *task_id, const aip_value *value)
{
        struct aip_graph_subrun *sub = self;

        TELL(sub, custom, node, task_id, , value);
}

static const struct aip_graph_observer_ops observer_ops = {
        .self_size = sizeof(struct aip_graph_observer_ops),
        .task_started = task_started,
        .task_ended = task_ended,
        .custom = custom,
};

/* Owned by caller; NULL when out of memory. */
static aip_value *piece_of(const struct aip_graph_save *save)
{
        aip_value *piece = aip_value_object();
        int r = piece ? 0 : AIP_ENOMEM;

        if (r == 0 && save->kind == AIP_GRAPH_SAVE_TASKS)
                r = aip_value_object_set_cstr(&piece, "tasks", aip_value_ref(save->tasks));
        if (r == 0 && save->kind == AIP_GRAPH_SAVE_STEP)
                r = aip_value_object_set_cstr(&piece, "place", aip_value_ref(save->place));
        if (r == 0 && save->kind == AIP_GRAPH_SAVE_STEP)
                r = aip_value_object_set_cstr(&piece, "changes", aip_value_ref(save->changes));
        /* What was there before an input is of an attempt that has failed. */
        if (r == 0 && save->kind == AIP_GRAPH_SAVE_STEP && (save->is_whole || save->is_input))
                r = aip_value_object_set_cstr(&piece, "is_whole", aip_value_bool(1));
        if (r < 0)
                aip_value_unref(AIP_TAKE(piece));
        return piece;
}

static void end_save(struct aip_graph_subrun *sub, aip_error *err)
{
        struct aip_graph_save *save = AIP_TAKE(sub->save);

        aip_op_finish(aip_graph_task_loop(sub->task), &save->op, err);
}

static void save(void *self, struct aip_graph_save *save)
{
        struct aip_graph_subrun *sub = self;
        struct aip_graph_task *task = sub->task;
        struct aip_graph_inside *inside = aip_graph_inside_of(task);
        aip_value *piece = inside ? piece_of(save) : NULL;
        aip_error *err = NULL;

        sub->save = save;
        if (!piece) {
                aip_error_set_nomem(&err);
                end_save(sub, err);
        } else if (sub->outer->durability == AIP_GRAPH_EXIT) {
                (void)aip_graph_image_advance(&inside->image, piece, &err);
                aip_value_unref(piece);
                end_save(sub, err);
        } else {
                inside->piece = piece;
                inside->is_sent = 0;
                task->state->host->inside_came(task->state->host, task);
        }
}

static const struct aip_graph_saver_ops saver_ops = {
        .self_size = sizeof(struct aip_graph_saver_ops),
        .save = save,
};

void aip_graph_subrun_saved(aip_graph_task *task, int has_failed)
{
        struct aip_graph_subrun *sub = task->memory;
        aip_error *err = NULL;

        aip_value_unref(AIP_TAKE(task->inside->piece));
        task->inside->is_sent = 0;
        if (has_failed)
                aip_error_set(&err, AIP_EUNAVAILABLE, "the run around could not be saved");
        end_save(sub, err);
}

void aip_graph_subrun_refuse_all(struct aip_graph_state *state)
{
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                const struct aip_graph_inside *inside = state->tasks[i].inside;
                if (inside && inside->piece && !inside->is_sent)
                        aip_graph_subrun_saved(&state->tasks[i], 1);
        }
}

/* ── the run ─────────────────────────────────────────────────────────────────────────────────── */

/* Give back what it was made of; the rest is the task's memory. */
static void end_subrun(struct aip_graph_subrun *sub, aip_value *update, aip_error *err)
{
        aip_graph_unref(AIP_TAKE(sub->subgraph.graph));
        aip_value_unref(AIP_TAKE(sub->ns));
        aip_value_unref(AIP_TAKE(sub->input));
        aip_value_unref(AIP_TAKE(sub->image));
        aip_value_unref(AIP_TAKE(sub->answers));
        aip_value_unref(AIP_TAKE(sub->ups));
        aip_value_unref(AIP_TAKE(sub->run.ret_state));
        aip_value_unref(AIP_TAKE(sub->run.ret_questions));
        aip_value_unref(AIP_TAKE(sub->run.ret_image));
        aip_graph_task_finish(sub->task, update, err);
}

/* A function of the node has failed, and may have forgotten to say why. */
static int check_error(int code, const char *what, aip_error **err)
{
        if (code == 0 || *err)
                return code;
        return aip_error_set(err, code < 0 ? code : AIP_EINTERNAL,
                             "the subgraph's %s failed with %d (%s)", what, code,
                             aip_error_code_name(code));
}

/* State out. */
static int take_output(struct aip_graph_subrun *sub, aip_value **ret_update, aip_error **err)
{
        const struct aip_node_options *o = &aip_graph_node_of(sub->task)->options;

        if (sub->ups) {
                aip_graph_take_ups(sub->task, sub->ups);
                return 0;
        }
        if (!o->leave)
                return 0;
        return check_error(o->leave(o->user, sub->task, sub->run.ret_state, ret_update, err),
                           "output", err);
}

static void done(struct aip_op *op)
{
        struct aip_graph_subrun *sub = AIP_CONTAINER_OF(op, struct aip_graph_subrun, run.op);
        aip_error *err = AIP_TAKE(op->err);
        aip_value *update = NULL;

        if (!err && sub->run.ret_outcome == AIP_GRAPH_INTERRUPTED)
                aip_graph_inside_ask(sub->task, AIP_TAKE(sub->run.ret_questions),
                                     AIP_TAKE(sub->run.ret_image));
        else if (!err && take_output(sub, &update, &err) < 0)
                aip_value_unref(AIP_TAKE(update));
        end_subrun(sub, update, err);
}

static int find_graph(struct aip_graph_subrun *sub, aip_error **err)
{
        const struct aip_node_options *o = &aip_graph_node_of(sub->task)->options;
        int r;

        sub->subgraph = o->subgraph;
        aip_graph_ref(sub->subgraph.graph);
        if (!o->find_subgraph)
                return 0;
        r = check_error(o->find_subgraph(o->user, sub->task, &sub->subgraph, err), "finder", err);
        if (r < 0)
                sub->subgraph.graph = NULL; /* nothing was given */
        else if (!sub->subgraph.graph)
                r = aip_error_set(err, AIP_EINTERNAL, "the subgraph's finder gave no graph");
        return r;
}

/* At its beginning, with state in, or where its image stands. */
static int find_place(struct aip_graph_subrun *sub, aip_error **err)
{
        const struct aip_node_options *o = &aip_graph_node_of(sub->task)->options;
        const struct aip_graph_inside *inside = sub->task->inside;
        int r;

        if (inside && inside->image) {
                sub->image = aip_value_ref(inside->image);
                sub->answers = aip_value_ref(inside->answers);
                return 0;
        }
        if (!o->enter)
                return 0;
        r = check_error(o->enter(o->user, sub->task, &sub->input, err), "input", err);
        return r;
}

static void fill_run(struct aip_graph_subrun *sub)
{
        const struct aip_graph_run *outer = sub->outer;
        struct aip_graph_run *run = &sub->run;

        *run = (struct aip_graph_run){.op = {.done = done, .deadline_ms = outer->op.deadline_ms},
                                      .self_size = sizeof(*run)};
        run->graph = sub->subgraph.graph;
        run->step_limit = sub->subgraph.step_limit;
        run->interrupt_before = sub->subgraph.interrupt_before;
        run->n_interrupt_before = sub->subgraph.n_interrupt_before;
        run->interrupt_after = sub->subgraph.interrupt_after;
        run->n_interrupt_after = sub->subgraph.n_interrupt_after;
        run->input = sub->input;
        run->image = sub->image;
        run->answers = sub->answers;
        run->passes_over_answers = 1;
        run->context = outer->context;
        run->random = outer->random;
        run->durability = outer->durability;
        if (outer->observer.ops)
                run->observer = (struct aip_graph_observer){&observer_ops, sub};
        if (outer->saver.ops)
                run->saver = (struct aip_graph_saver){&saver_ops, sub};
}

static int make_name(struct aip_graph_subrun *sub, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf whole = AIP_BUF_INIT(1 << 16);
        char ns[AIP_GRAPH_NAMESPACE_BYTES];
        const char *around = sub->task->state->ns;

        aip_graph_namespace(sub->task, ns);
        if (aip_buf_printf(&whole, "%s%s|", around ? around : "", ns) < 0 ||
            !(sub->ns = aip_value_string(aip_buf_str(&whole))))
                return aip_error_set_nomem(err);
        return 0;
}

static int check_depth(int depth, aip_error **err)
{
        if (depth <= AIP_GRAPH_MAX_DEPTH)
                return 0;
        return aip_error_set(err, AIP_ELIMIT, "subgraphs are nested deeper than %d levels",
                             AIP_GRAPH_MAX_DEPTH);
}

void aip_graph_subrun_begin(aip_graph_task *task, const struct aip_graph_run *outer, int depth)
{
        struct aip_graph_subrun *sub = aip_calloc(1, sizeof(*sub));
        aip_error *err = NULL;

        task->memory = sub;
        if (!sub) {
                aip_error_set_nomem(&err);
                aip_graph_task_finish(task, NULL, err);
                return;
        }
        sub->task = task;
        sub->outer = outer;
        sub->depth = depth;
        if (check_depth(depth, &err) < 0 || make_name(sub, &err) < 0 || find_graph(sub, &err) < 0 ||
            find_place(sub, &err) < 0) {
                end_subrun(sub, NULL, err);
                return;
        }
        fill_run(sub);
        aip_graph_run_start_inside(aip_graph_task_loop(task), sub);
}

void aip_graph_subrun_cancel(aip_graph_task *task)
{
        struct aip_graph_subrun *sub = task->memory;

        aip_graph_run_cancel(&sub->run);
}
