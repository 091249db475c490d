/*
 * The saver of a job's run (job_saver.h). A store that is away is tried again until it takes the save, or
 * the run is told to stop: what has run must not be lost to an outage that the lease outlives. A save that
 * the fence refuses ends the run, whose job is another's by then.
 */
#include "job_saver.h"

#include "checkpoint_image.h"
#include "fault_point.h"
#include "macros.h"
#include "mem.h"

#define RETRY_FIRST_MS 200
#define RETRY_MAX_MS   5000
#define TEXT_MAX_BYTES (256u << 20)

static void send_load(struct aip_job_saver *s);
static void send_save(struct aip_job_saver *s);
static void keep_fork(struct aip_job_saver *s);

/* ── the store is away ───────────────────────────────────────────────────────────────────────── */

static int may_pass(const aip_error *err)
{
        switch (aip_error_code(err)) {
        case AIP_EUNAVAILABLE:
        case AIP_ETIMEOUT:
        case AIP_ELIMIT:
        case AIP_ENOMEM:
                return 1;
        default:
                return 0;
        }
}

static int try_later(struct aip_job_saver *s, const aip_error *err)
{
        if (s->is_given_up || !may_pass(err))
                return 0;
        aip_timer_set(s->loop, &s->retry, s->retry_ms);
        s->retry_ms = AIP_MIN(2 * s->retry_ms, (int64_t)RETRY_MAX_MS);
        return 1;
}

static void retry_due(struct aip_timer *timer)
{
        struct aip_job_saver *s = AIP_CONTAINER_OF(timer, struct aip_job_saver, retry);

        if (s->is_loading)
                send_load(s);
        else
                send_save(s);
}

void aip_job_saver_give_up(struct aip_job_saver *s)
{
        s->is_given_up = 1;
        if (s->retry.is_armed)
                aip_timer_set(s->loop, &s->retry, 0); /* one last try decides */
}

/* ── loading ─────────────────────────────────────────────────────────────────────────────────── */

static void take_loaded(struct aip_job_saver *s, aip_error **err)
{
        const struct aip_checkpoint_load *load = &s->load;

        if (load->ret_n == 0 || aip_checkpoint_image(load, &s->image, err) < 0)
                return;
        s->n = load->ret_checkpoints[load->ret_n - 1].n;
        s->made_by = load->ret_checkpoints[load->ret_n - 1].job_id;
        s->top = AIP_MAX(s->top, s->n);
        s->base = load->ret_checkpoints[0].n;
        s->base_bytes = load->ret_checkpoints[0].changes.n;
        s->since_bytes = 0;
        for (size_t i = 1; i < load->ret_n; i++)
                s->since_bytes += aip_checkpoint_row_bytes(load->ret_checkpoints[i].changes);
}

int aip_job_saver_goes_on(const struct aip_job_saver *s)
{
        return s->image && aip_id_equal(&s->made_by, &s->fence.job_id);
}

int aip_job_saver_forks(const struct aip_job_saver *s)
{
        return s->n != s->top;
}

/* The last one is another job's: begin where this one was told to. */
static void load_fork(struct aip_job_saver *s)
{
        aip_value_unref(AIP_TAKE(s->image));
        s->n = s->base = 0;
        send_load(s);
}

static void refuse_fork(const struct aip_job_saver *s, aip_error **err)
{
        aip_error_set(err, AIP_ENOTFOUND, "the thread has no checkpoint %lld",
                      (long long)s->fork_n);
        aip_error_set_kind(*err, "caller_checkpoint_not_found");
}

static void load_done(struct aip_op *op)
{
        struct aip_job_saver *s = AIP_CONTAINER_OF(op, struct aip_job_saver, load.op);

        if (op->err && try_later(s, op->err)) {
                aip_error_free(AIP_TAKE(op->err));
                return;
        }
        if (!op->err) {
                take_loaded(s, &op->err);
                free(s->load.ret_checkpoints);
                free(s->load.ret_tasks);
        }
        if (!op->err && s->fork_n == AIP_JOB_NO_STATE && !aip_job_saver_goes_on(s)) {
                aip_value_unref(AIP_TAKE(s->image));
                s->n = s->base = 0;
        }
        if (!op->err && s->fork_n > 0 && !aip_job_saver_goes_on(s)) {
                if (s->load.n == 0 && s->fork_n != s->top) {
                        load_fork(s);
                        return;
                }
                if (s->n != s->fork_n)
                        refuse_fork(s, &op->err);
        }
        s->is_loading = 0;
        if (!op->err && s->is_to_go_on && s->image && aip_job_saver_forks(s))
                keep_fork(s);
        else
                s->loaded(s);
}

static void send_load(struct aip_job_saver *s)
{
        s->load = (struct aip_checkpoint_load){.op = {.done = load_done}, .owner = s->owner};
        s->load.n = s->top > 0 ? s->fork_n : 0;
        s->store.ops->load(s->store.self, &s->load);
}

void aip_job_saver_load(struct aip_job_saver *s)
{
        s->is_loading = 1;
        s->retry_ms = RETRY_FIRST_MS;
        send_load(s);
}

/* ── saving ──────────────────────────────────────────────────────────────────────────────────── */

static void release_save(struct aip_job_saver *s)
{
        aip_buf_clear(&s->place);
        aip_buf_clear(&s->changes);
        aip_free(AIP_TAKE(s->tasks));
        s->n_tasks = 0;
}

/* A checkpoint is kept: count what reading will take. */
static void note_kept(struct aip_job_saver *s)
{
        s->n = s->top = s->op.checkpoint.n;
        if (s->op.checkpoint.base == s->n) {
                s->base = s->n;
                s->base_bytes = s->changes.n;
                s->since_bytes = 0;
        } else {
                s->since_bytes += aip_checkpoint_row_bytes(aip_buf_str(&s->changes));
        }
        s->save->wants_whole = aip_checkpoint_is_base_due(s->base_bytes, s->since_bytes);
}

static void end_save(struct aip_job_saver *s, aip_error *err)
{
        struct aip_graph_save *save = AIP_TAKE(s->save);

        release_save(s);
        aip_op_finish(s->loop, &save->op, err);
}

/* What the run begins with is this job's now. `err` is consumed always. */
static void end_fork(struct aip_job_saver *s, aip_error *err)
{
        if (!err) {
                s->n = s->top = s->base = s->op.checkpoint.n;
                s->base_bytes = s->changes.n;
                s->since_bytes = 0;
                s->made_by = s->fence.job_id;
        }
        s->is_forking = 0;
        release_save(s);
        s->load.op.err = err;
        s->loaded(s);
}

static void save_done(struct aip_op *op)
{
        struct aip_job_saver *s = AIP_CONTAINER_OF(op, struct aip_job_saver, op.op);
        aip_error *err = AIP_TAKE(op->err);

        if (err && try_later(s, err)) {
                aip_error_free(err);
                return;
        }
        if (!err && s->op.ret_is_stale) {
                s->is_stale = 1;
                aip_error_set(&err, AIP_ESTATE, "the job is another worker's, or was cancelled");
        }
        if (!err)
                AIP_FAULT_POINT("graph.saved");
        if (s->is_forking) {
                end_fork(s, err);
                return;
        }
        if (!err && s->n_tasks == 0)
                note_kept(s);
        end_save(s, err);
}

static void send_save(struct aip_job_saver *s)
{
        s->op.op = (struct aip_op){.done = save_done};
        AIP_FAULT_POINT("graph.save");
        s->store.ops->save(s->store.self, &s->op);
        AIP_FAULT_POINT("graph.sent");
}

/* The image as two texts: where the run stands, and all its channels. */
static int print_image(struct aip_job_saver *s, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *place = aip_value_ref(s->image);
        _cleanup_(aip_value_unref_p) aip_value *whole = aip_value_object();
        const aip_value *channels = aip_value_get_cstr(s->image, "channels");
        int r;

        if (!whole || aip_value_object_set_cstr(&whole, "set", aip_value_ref(channels)) < 0 ||
            aip_value_object_remove(&place, AIP_STR("channels")) < 0)
                return aip_error_set_nomem(err);
        if ((r = aip_value_print(place, &s->place, err)) < 0)
                return r;
        return aip_value_print(whole, &s->changes, err);
}

/* A run that begins at an older checkpoint without an input keeps it as its own first: what its tasks say must
 * not be taken for what those of the run that made it said. Nor is what they said its own. */
static void keep_fork(struct aip_job_saver *s)
{
        aip_error *err = NULL;

        s->is_forking = 1;
        s->retry_ms = RETRY_FIRST_MS;
        if (aip_value_object_remove(&s->image, AIP_STR("pending")) < 0)
                aip_error_set_nomem(&err);
        if (err || print_image(s, &err) < 0) {
                end_fork(s, err);
                return;
        }
        s->op = (struct aip_checkpoint_save){.fence = s->fence};
        s->op.checkpoint = (struct aip_checkpoint){
                .owner = s->owner,
                .n = s->top + 1,
                .parent = s->n,
                .base = s->top + 1,
                .job_id = s->fence.job_id,
                .step = (int32_t)aip_value_as_int(aip_value_get_cstr(s->image, "step"), 0),
                .source = AIP_CHECKPOINT_FORK,
                .place = aip_buf_str(&s->place),
                .changes = aip_buf_str(&s->changes),
        };
        send_save(s);
}

static enum aip_checkpoint_source source_of(const struct aip_job_saver *s,
                                            const struct aip_graph_save *save)
{
        if (!save->is_input)
                return AIP_CHECKPOINT_LOOP;
        return aip_job_saver_forks(s) ? AIP_CHECKPOINT_FORK : AIP_CHECKPOINT_INPUT;
}

static int write_step(struct aip_job_saver *s, const struct aip_graph_save *save, aip_error **err)
{
        int is_base = save->is_whole || s->n == 0;
        int r = aip_value_print(save->place, &s->place, err);

        if (r == 0)
                r = aip_value_print(save->changes, &s->changes, err);
        if (r < 0)
                return r;
        s->op.checkpoint.n = s->top + 1;
        s->op.checkpoint.parent = s->n;
        s->op.checkpoint.base = is_base ? s->top + 1 : s->base;
        s->op.checkpoint.step = save->step;
        s->op.checkpoint.source = source_of(s, save);
        s->op.checkpoint.place = aip_buf_str(&s->place);
        s->op.checkpoint.changes = aip_buf_str(&s->changes);
        return 0;
}

/* Their texts stand in one buffer, so that they are pointed at when all are there. */
static int write_tasks(struct aip_job_saver *s, const struct aip_graph_save *save, aip_error **err)
{
        size_t n = aip_value_size(save->tasks), at = 0;
        int r = 0;

        if (!(s->tasks = aip_calloc(n, sizeof(*s->tasks))))
                return aip_error_set_nomem(err);
        for (size_t i = 0; r == 0 && i < n; i++) {
                const aip_value *pair = aip_value_at(save->tasks, i);
                s->tasks[i].place = (int32_t)aip_value_as_int(aip_value_at(pair, 0), 0);
                r = aip_value_print(aip_value_at(pair, 1), &s->place, err);
                s->tasks[i].value.n = s->place.n - at;
                at = s->place.n;
        }
        at = 0;
        for (size_t i = 0; r == 0 && i < n; i++) {
                s->tasks[i].value.p = aip_buf_str(&s->place).p + at;
                at += s->tasks[i].value.n;
        }
        s->n_tasks = n;
        s->op.checkpoint.n = s->n;
        s->op.tasks = s->tasks;
        return r;
}

static void save(void *self, struct aip_graph_save *save)
{
        struct aip_job_saver *s = self;
        int is_step = save->kind == AIP_GRAPH_SAVE_STEP;
        aip_error *err = NULL;
        int r;

        s->save = save;
        s->retry_ms = RETRY_FIRST_MS;
        s->op = (struct aip_checkpoint_save){.fence = s->fence};
        s->op.checkpoint.owner = s->owner;
        s->op.checkpoint.job_id = s->fence.job_id;
        r = is_step ? write_step(s, save, &err) : write_tasks(s, save, &err);
        if (r < 0) {
                end_save(s, err);
                return;
        }
        s->op.n_tasks = s->n_tasks;
        send_save(s);
}

static const struct aip_graph_saver_ops saver_ops = {
        .self_size = sizeof(struct aip_graph_saver_ops),
        .save = save,
};

struct aip_graph_saver aip_job_saver_port(struct aip_job_saver *s)
{
        return (struct aip_graph_saver){&saver_ops, s};
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

void aip_job_saver_init(struct aip_job_saver *s, struct aip_loop loop,
                        struct aip_checkpoint_store store, const struct aip_fence *fence,
                        const struct aip_id *owner)
{
        s->loop = loop;
        s->store = store;
        s->fence = *fence;
        s->owner = *owner;
        s->retry.fire = retry_due;
        s->place.max_bytes = s->changes.max_bytes = TEXT_MAX_BYTES;
}

void aip_job_saver_deinit(struct aip_job_saver *s)
{
        aip_value_unref(AIP_TAKE(s->image));
        aip_buf_deinit(&s->place);
        aip_buf_deinit(&s->changes);
        aip_free(AIP_TAKE(s->tasks));
}
