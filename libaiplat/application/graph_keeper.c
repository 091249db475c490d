/*
 * Observer and saver of a run (graph_keeper.h). Values are made here and nowhere else, so that a run that
 * nobody watches or keeps makes none.
 */
#include "graph_keeper.h"

#include "graph/graph_image.h"
#include "graph_subrun.h"
#include "macros.h"
#include "mem.h"

/* One method of the observer, if it has it. */
#define TELL(keeper, method, ...)                                                                  \
        do {                                                                                       \
                const struct aip_graph_observer *o_ = &(keeper)->run->observer;                    \
                if (o_->ops && o_->ops->method)                                                    \
                        o_->ops->method(o_->self, __VA_ARGS__);                                    \
        } while (0)

static void release_save(struct aip_graph_keeper *k)
{
        aip_value_unref(AIP_TAKE(k->place));
        aip_value_unref(AIP_TAKE(k->changes));
        aip_value_unref(AIP_TAKE(k->tasks));
}

void aip_graph_keeper_init(struct aip_graph_keeper *k, struct aip_loop loop,
                           struct aip_graph_run *run, struct aip_graph_state *state)
{
        k->loop = loop;
        k->run = run;
        k->state = state;
        k->is_needed = run->observer.ops || run->saver.ops;
        k->save.wants_whole = run->first_save_is_whole;
}

void aip_graph_keeper_deinit(struct aip_graph_keeper *k)
{
        release_save(k);
        aip_error_free(AIP_TAKE(k->err));
}

/* ── telling ─────────────────────────────────────────────────────────────────────────────────── */

int aip_graph_keeper_tell_started(struct aip_graph_keeper *k, aip_error **err)
{
        const struct aip_graph_state *state = k->state;
        char id[AIP_GRAPH_TASK_ID_BYTES];
        size_t n = 0;

        if (!k->run->observer.ops)
                return 0;
        _cleanup_(aip_free_p) void *memory = aip_calloc(state->n_tasks + 1u, sizeof(char *));
        const char **nodes = memory;
        if (!nodes)
                return aip_error_set_nomem(err);
        for (uint32_t i = 0; i < state->n_tasks; i++)
                if (state->tasks[i].phase == AIP_TASK_PLANNED)
                        nodes[n++] = aip_graph_task_node(&state->tasks[i]);
        TELL(k, step_started, state->step, nodes, n);
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                if (state->tasks[i].phase != AIP_TASK_PLANNED)
                        continue;
                aip_graph_task_id(&state->tasks[i], id);
                TELL(k, task_started, aip_graph_task_node(&state->tasks[i]), id);
        }
        return 0;
}

int aip_graph_keeper_tell_ended(struct aip_graph_keeper *k, const aip_graph_task *task,
                                aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *updates = NULL;
        char id[AIP_GRAPH_TASK_ID_BYTES];

        if (!k->run->observer.ops)
                return 0;
        if (!task->err && !task->question && !(updates = aip_graph_image_updates(task)))
                return aip_error_set_nomem(err);
        aip_graph_task_id(task, id);
        TELL(k, task_ended, aip_graph_task_node(task), id, updates, task->err);
        return 0;
}

void aip_graph_keeper_tell_custom(struct aip_graph_keeper *k, const aip_graph_task *task,
                                  const aip_value *value)
{
        char id[AIP_GRAPH_TASK_ID_BYTES];

        aip_graph_task_id(task, id);
        TELL(k, custom, aip_graph_task_node(task), id, value);
}

/* ── saving ──────────────────────────────────────────────────────────────────────────────────── */

static void save_done(struct aip_op *op)
{
        struct aip_graph_keeper *k = AIP_CONTAINER_OF(op, struct aip_graph_keeper, save.op);

        k->is_saving = 0;
        release_save(k);
        if (!k->err)
                k->err = AIP_TAKE(op->err);
        aip_error_free(AIP_TAKE(op->err));
        for (uint32_t i = 0; i < k->state->n_tasks; i++)
                if (k->state->tasks[i].inside && k->state->tasks[i].inside->is_sent)
                        aip_graph_subrun_saved(&k->state->tasks[i], k->err != NULL);
        k->saved(k);
}

static void send(struct aip_graph_keeper *k, enum aip_graph_save_kind kind)
{
        int wants_whole = k->save.wants_whole && kind != AIP_GRAPH_SAVE_STEP;

        k->is_saving = 1;
        k->save.op = (struct aip_op){.done = save_done};
        k->save.kind = kind;
        k->save.place = k->place;
        k->save.changes = k->changes;
        k->save.tasks = k->tasks;
        k->save.wants_whole = wants_whole;
        k->run->saver.ops->save(k->run->saver.self, &k->save);
}

/* `changes` are consumed always; NULL is out of memory. */
static int send_step(struct aip_graph_keeper *k, aip_value *changes, int is_input, aip_error **err)
{
        int is_whole = k->save.wants_whole || k->is_incomplete;

        if (is_whole && changes) {
                aip_value_unref(changes);
                changes = aip_graph_image_whole(k->state);
        }
        k->changes = changes;
        k->place = aip_graph_image_place(k->state);
        if (!k->place || !k->changes) {
                release_save(k);
                return aip_error_set_nomem(err);
        }
        k->has_unsaved = k->is_incomplete = 0;
        k->save.step = k->state->step;
        k->save.is_input = is_input;
        k->save.is_whole = is_whole;
        send(k, AIP_GRAPH_SAVE_STEP);
        return 0;
}

int aip_graph_keeper_step(struct aip_graph_keeper *k, int is_input, aip_error **err)
{
        int saves_now = k->run->saver.ops && k->run->durability != AIP_GRAPH_EXIT;
        aip_value *changes;

        if (!saves_now && k->run->saver.ops)
                k->has_unsaved = 1;
        if (!saves_now && (is_input || !k->run->observer.ops))
                return 0;
        changes = aip_graph_image_changes(k->state);
        if (!changes)
                return aip_error_set_nomem(err);
        if (!is_input)
                TELL(k, step_ended, k->state->step, changes);
        if (saves_now)
                return send_step(k, changes, is_input, err);
        k->is_incomplete = 1;
        aip_value_unref(changes);
        return 0;
}

static int is_unsaved(const aip_graph_task *task)
{
        return task->phase == AIP_TASK_FINISHED && !task->err && !task->is_saved;
}

static int has_piece(const aip_graph_task *task)
{
        return task->inside && task->inside->piece && !task->inside->is_sent;
}

static void mark_tasks(struct aip_graph_keeper *k)
{
        for (uint32_t i = 0; i < k->state->n_tasks; i++) {
                aip_graph_task *task = &k->state->tasks[i];
                task->is_saved |= is_unsaved(task) != 0;
                if (has_piece(task))
                        task->inside->is_sent = 1;
        }
}

/* A run that has begun in mid-step may end in the same step, having merged nothing: then what its tasks have
 * said since, or ask, is all there is to save. */
static int is_last_due(const struct aip_graph_keeper *k)
{
        return k->has_unsaved ||
               (k->run->durability == AIP_GRAPH_EXIT && aip_graph_keeper_has_tasks(k));
}

/* A place in mid-step says what its tasks have said, too. */
int aip_graph_keeper_last(struct aip_graph_keeper *k, aip_error **err)
{
        if (!k->run->saver.ops || !is_last_due(k))
                return 0;
        mark_tasks(k);
        return send_step(k, aip_graph_image_changes(k->state), 0, err);
}

int aip_graph_keeper_has_tasks(const struct aip_graph_keeper *k)
{
        for (uint32_t i = 0; i < k->state->n_tasks; i++)
                if (is_unsaved(&k->state->tasks[i]) || has_piece(&k->state->tasks[i]))
                        return 1;
        return 0;
}

/* `said` is consumed always. */
static int add_said(aip_value **list, int64_t key, aip_value *said)
{
        aip_value *pair = aip_value_list();
        int r = pair ? aip_value_list_append(&pair, aip_value_int(key)) : AIP_ENOMEM;

        if (r == 0)
                r = aip_value_list_append(&pair, AIP_TAKE(said));
        if (r == 0)
                return aip_value_list_append(list, pair);
        aip_value_unref(said);
        aip_value_unref(pair);
        return AIP_ENOMEM;
}

/* A task is kept under its place, what came from inside one under numbers beyond: all of it counts. */
static int add_task(struct aip_graph_keeper *k, uint32_t place)
{
        const aip_graph_task *task = &k->state->tasks[place];
        int r = is_unsaved(task) ? add_said(&k->tasks, place, aip_graph_image_task(task)) : 0;

        if (r == 0 && has_piece(task))
                r = add_said(&k->tasks, (int64_t)k->state->n_tasks + k->state->n_pieces++,
                             aip_graph_image_piece(task));
        return r;
}

int aip_graph_keeper_tasks(struct aip_graph_keeper *k, aip_error **err)
{
        if (k->is_saving || !aip_graph_keeper_has_tasks(k))
                return 0;
        k->tasks = aip_value_list();
        int code = k->tasks ? 0 : AIP_ENOMEM;
        for (uint32_t i = 0; code == 0 && i < k->state->n_tasks; i++)
                code = add_task(k, i);
        if (code < 0) {
                release_save(k);
                return aip_error_set_nomem(err);
        }
        mark_tasks(k);
        send(k, AIP_GRAPH_SAVE_TASKS);
        return 0;
}
