/*
 * The in-memory store: everything in this process, gone with it. For tests, simulations, examples,
 * and DATABASE_URL=memory:. It is called through the ports only. It must never answer inside a
 * call, touch a clock but the loop's, or use a thread: it works on the virtual loop as on the real
 * one.
 */
#include "memory/memory_store.h"

#include "macros.h"
#include "mem.h"
#include "store/checkpoint_rows.h"
#include "store/checks.h"

static int is_overdue(const struct memory_store *store, const struct aip_op *op)
{
        return op->deadline_ms != 0 && aip_now_ms(store->loop) > op->deadline_ms;
}

static void run_op(struct memory_store *store, struct aip_op *op)
{
        const struct memory_call *call = op->impl;
        aip_error *err = NULL;

        if (is_overdue(store, op))
                aip_error_set(&err, AIP_ETIMEOUT, "memory store: the deadline has passed");
        else
                call->run(store, op, &err);
        aip_op_finish(store->loop, op, err);
}

static void tell(struct memory_store *store)
{
        struct aip_hints hints = store->hints;

        store->hints = (struct aip_hints){0};
        if (!aip_hints_is_empty(&hints))
                aip_watchers_tell(&store->watchers, &hints);
        aip_hints_deinit(&hints);
}

/* One turn: one batch, as a transaction would be. Hints come after it. */
static void run_turn(struct aip_task *task)
{
        struct memory_store *store = AIP_CONTAINER_OF(task, struct memory_store, turn);
        size_t n = AIP_MIN(store->waiting.n, (size_t)AIP_STORE_BATCH_MAX);

        for (; n > 0; n--)
                run_op(store, aip_op_queue_pop(&store->waiting));
        if (store->waiting.n > 0)
                aip_defer(store->loop, &store->turn);
        tell(store);
}

void aip_memory_submit(struct memory_store *store, struct aip_op *op,
                       const struct memory_call *call)
{
        if (store->waiting.n >= AIP_STORE_QUEUE_MAX) {
                aip_error *err = NULL;
                aip_error_set(&err, AIP_ELIMIT, "memory store: %d operations are waiting already",
                              AIP_STORE_QUEUE_MAX);
                aip_op_finish(store->loop, op, err);
                return;
        }
        op->impl = (void *)call;
        aip_op_queue_push(&store->waiting, op);
        aip_defer(store->loop, &store->turn);
}

void aip_memory_tell_later(struct memory_store *store)
{
        aip_defer(store->loop, &store->turn);
}

/* Queue a checked request: `refusal` (consumed always) is what the check had to say. */
static void submit_checked(struct memory_store *store, struct aip_op *op,
                           const struct memory_call *call, aip_error *refusal)
{
        if (refusal)
                aip_op_finish(store->loop, op, refusal);
        else
                aip_memory_submit(store, op, call);
}

static void create(void *self, struct aip_job_create *create)
{
        aip_error *err = NULL;

        aip_store_check_create(create, &err);
        submit_checked(self, &create->op, &aip_memory_create, err);
}

static void fetch(void *self, struct aip_job_fetch *fetch)
{
        aip_memory_submit(self, &fetch->op, &aip_memory_fetch);
}

static void list(void *self, struct aip_job_list *list)
{
        aip_error *err = NULL;

        aip_store_check_list(list, &err);
        submit_checked(self, &list->op, &aip_memory_list, err);
}

static void cancel(void *self, struct aip_job_cancellation *cancellation)
{
        aip_memory_submit(self, &cancellation->op, &aip_memory_cancel);
}

static void claim(void *self, struct aip_job_claim *claim)
{
        aip_error *err = NULL;

        aip_store_check_claim(claim, &err);
        submit_checked(self, &claim->op, &aip_memory_claim, err);
}

static void finish(void *self, struct aip_job_finish *finish)
{
        aip_error *err = NULL;

        aip_store_check_finish(finish, &err);
        submit_checked(self, &finish->op, &aip_memory_finish, err);
}

static void resume(void *self, struct aip_job_resumption *resumption)
{
        aip_error *err = NULL;

        aip_store_check_resumption(resumption, &err);
        submit_checked(self, &resumption->op, &aip_memory_resume, err);
}

static void heartbeat(void *self, struct aip_heartbeat *heartbeat)
{
        aip_error *err = NULL;

        aip_store_check_heartbeat(heartbeat, &err);
        submit_checked(self, &heartbeat->op, &aip_memory_heartbeat, err);
}

static void release(void *self, struct aip_release *release)
{
        aip_memory_submit(self, &release->op, &aip_memory_release);
}

static void submit_chores(struct memory_store *store, struct aip_chores *chores,
                          const struct memory_call *call)
{
        aip_error *err = NULL;

        aip_store_check_chores(chores, &err);
        submit_checked(store, &chores->op, call, err);
}

static void promote(void *self, struct aip_chores *chores)
{
        submit_chores(self, chores, &aip_memory_promote);
}

static void recover(void *self, struct aip_chores *chores)
{
        submit_chores(self, chores, &aip_memory_recover);
}

static void sweep(void *self, struct aip_chores *chores)
{
        submit_chores(self, chores, &aip_memory_sweep);
}

/* Rows are forgotten at once: nothing that is waiting can know of them, and so the ids need not be
 * kept until the operation's turn. */
static void forget(void *self, struct aip_op *op, const int64_t *outbox_ids, size_t n)
{
        struct memory_store *store = self;

        for (size_t i = 0; i < n; i++)
                aip_memory_outbox_forget(store, outbox_ids[i]);
        aip_op_finish(store->loop, op, NULL);
}

static int run_nothing(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        (void)store, (void)op, (void)err;
        return 0;
}

static const struct memory_call call_nothing = {run_nothing};

static void ping(void *self, struct aip_op *op)
{
        aip_memory_submit(self, op, &call_nothing);
}

static void watch(void *self, struct aip_store_watcher *watcher)
{
        struct memory_store *store = self;

        aip_watchers_add(&store->watchers, watcher);
        store->hints.must_look = 1;
        aip_memory_tell_later(store);
}

static void unwatch(void *self, struct aip_store_watcher *watcher)
{
        struct memory_store *store = self;

        aip_watchers_remove(&store->watchers, watcher);
}

static void load(void *self, struct aip_catalog_load *load)
{
        aip_memory_submit(self, &load->op, &aip_memory_load);
}

static void revision(void *self, struct aip_op *op, int64_t *ret_revision)
{
        struct memory_store *store = self;

        *ret_revision = store->catalog_revision;
        aip_op_finish(store->loop, op, NULL);
}

static void put_config(void *self, struct aip_config_put *put)
{
        aip_memory_submit(self, &put->op, &aip_memory_put_config);
}

static void delete_config(void *self, struct aip_catalog_delete *del)
{
        aip_memory_submit(self, &del->op, &aip_memory_delete_config);
}

static void put_template(void *self, struct aip_template_put *put)
{
        aip_memory_submit(self, &put->op, &aip_memory_put_template);
}

static void delete_template(void *self, struct aip_catalog_delete *del)
{
        aip_memory_submit(self, &del->op, &aip_memory_delete_template);
}

static void put_graph(void *self, struct aip_graph_put *put)
{
        aip_memory_submit(self, &put->op, &aip_memory_put_graph);
}

static void delete_graph(void *self, struct aip_catalog_delete *del)
{
        aip_memory_submit(self, &del->op, &aip_memory_delete_graph);
}

static void save_checkpoint(void *self, struct aip_checkpoint_save *save)
{
        aip_error *err = NULL;

        aip_store_check_save(save, &err);
        submit_checked(self, &save->op, &aip_memory_save, err);
}

static void load_checkpoint(void *self, struct aip_checkpoint_load *load)
{
        aip_memory_submit(self, &load->op, &aip_memory_load_checkpoint);
}

static void list_checkpoints(void *self, struct aip_checkpoint_list *list)
{
        aip_error *err = NULL;

        aip_store_check_checkpoints(list, &err);
        submit_checked(self, &list->op, &aip_memory_list_checkpoints, err);
}

static const struct aip_checkpoint_store_ops checkpoint_ops = {
        .self_size = sizeof(struct aip_checkpoint_store_ops),
        .save = save_checkpoint,
        .load = load_checkpoint,
        .list = list_checkpoints,
};

static void list_threads(void *self, struct aip_thread_list *list)
{
        aip_error *err = NULL;

        aip_store_check_threads(list, &err);
        submit_checked(self, &list->op, &aip_memory_list_threads, err);
}

static void update_thread(void *self, struct aip_thread_update *update)
{
        aip_error *err = NULL;

        aip_store_check_thread_update(update, &err);
        submit_checked(self, &update->op, &aip_memory_update_thread, err);
}

static const struct aip_thread_repository_ops thread_ops = {
        .self_size = sizeof(struct aip_thread_repository_ops),
        .list = list_threads,
        .update = update_thread,
};

/* There is nothing to migrate: the store begins with what the first migration ships. */
static void migrate(void *self, struct aip_op *op)
{
        aip_memory_submit(self, op, &call_nothing);
}

static void store_free(struct memory_store *store)
{
        aip_undefer(store->loop, &store->turn);
        aip_memory_jobs_deinit(store);
        aip_memory_sessions_deinit(store);
        aip_memory_outbox_deinit(store);
        aip_memory_catalog_deinit(store);
        aip_memory_checkpoints_deinit(store);
        aip_hints_deinit(&store->hints);
        aip_free(store);
}

static void close_store(void *self, struct aip_op *op)
{
        struct memory_store *store = self;
        struct aip_loop loop = store->loop;
        struct aip_op *waiting;

        while ((waiting = aip_op_queue_pop(&store->waiting))) {
                aip_error *err = NULL;
                aip_error_set(&err, AIP_ECANCELLED, "memory store: closed");
                aip_op_finish(loop, waiting, err);
        }
        store_free(store);
        aip_op_finish(loop, op, NULL);
}

static const struct aip_job_repository_ops job_ops = {
        .self_size = sizeof(struct aip_job_repository_ops),
        .name = "memory",
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

static const struct aip_catalog_repository_ops catalog_ops = {
        .self_size = sizeof(struct aip_catalog_repository_ops),
        .name = "memory",
        .load = load,
        .revision = revision,
        .put_config = put_config,
        .delete_config = delete_config,
        .put_template = put_template,
        .delete_template = delete_template,
        .put_graph = put_graph,
        .delete_graph = delete_graph,
};

int aip_memory_store_new(const struct aip_store_options *options, struct aip_store *ret_store,
                         aip_error **err)
{
        struct memory_store *store;
        int r;

        if (!options || !options->loop.ops || !ret_store)
                return aip_error_set(err, AIP_EINVAL, "memory store: a loop is required");
        store = aip_calloc(1, sizeof(*store));
        if (!store)
                return aip_error_set_nomem(err);
        store->loop = options->loop;
        store->turn.run = run_turn;
        aip_list_init(&store->outbox_order);
        r = aip_memory_catalog_init(store, err);
        if (r < 0) {
                store_free(store);
                return r;
        }
        *ret_store = (struct aip_store){
                .jobs = {&job_ops, store},
                .catalog = {&catalog_ops, store},
                .migrate = migrate,
                .close = close_store,
                .self = store,
                .checkpoints = {&checkpoint_ops, store},
                .threads = {&thread_ops, store},
        };
        return 0;
}
