/*
 * The store: its construction, the entry points of its two ports, deadlines, and its end. Called
 * through ports/job_repository.h, ports/catalog_repository.h and adapters.h. Never blocks.
 */
#include "pg.h"
#include "store/checkpoint_rows.h"
#include "store/checks.h"

/* Deadlines are looked at in one pass over everything that waits; not more often than this. */
#define DEADLINE_TICK_MS INT64_C(20)

const struct pg_kind *const pg_kinds[PG_N_KINDS] = {
        [PG_CREATE] = &pg_create_kind,
        [PG_CREATE_IN_THREAD] = &pg_create_in_thread_kind,
        [PG_FINISH] = &pg_finish_kind,
        [PG_CANCEL] = &pg_cancel_kind,
        [PG_RESUME] = &pg_resume_kind,
        [PG_RELEASE] = &pg_release_kind,
        [PG_CLAIM] = &pg_claim_kind,
        [PG_CLAIM_ONE] = &pg_claim_one_kind,
        [PG_HEARTBEAT] = &pg_heartbeat_kind,
        [PG_PUT_CONFIG] = &pg_put_config_kind,
        [PG_PUT_TEMPLATE] = &pg_put_template_kind,
        [PG_PUT_GRAPH] = &pg_put_graph_kind,
        [PG_DELETE_CONFIG] = &pg_delete_config_kind,
        [PG_DELETE_TEMPLATE] = &pg_delete_template_kind,
        [PG_DELETE_GRAPH] = &pg_delete_graph_kind,
        [PG_PROMOTE] = &pg_promote_kind,
        [PG_RECOVER] = &pg_recover_kind,
        [PG_SWEEP] = &pg_sweep_kind,
        [PG_FORGET] = &pg_forget_kind,
        [PG_PING] = &pg_ping_kind,
        [PG_FETCH] = &pg_fetch_kind,
        [PG_REVISION] = &pg_revision_kind,
        [PG_LOAD] = &pg_load_kind,
        [PG_LIST] = &pg_list_kind,
        [PG_SAVE] = &pg_save_kind,
        [PG_SAVE_TASKS] = &pg_save_tasks_kind,
        [PG_LOAD_CHECKPOINT] = &pg_load_checkpoint_kind,
        [PG_LIST_CHECKPOINTS] = &pg_list_checkpoints_kind,
        [PG_LIST_THREADS] = &pg_list_threads_kind,
        [PG_UPDATE_THREAD] = &pg_update_thread_kind,
};

/* ---- deadlines ---- */

static void look_at_deadlines_at(struct pg_store *store, int64_t at_ms)
{
        int64_t now_ms = aip_now_ms(store->loop);
        at_ms = AIP_MAX(at_ms, now_ms + DEADLINE_TICK_MS);
        if (store->deadlines.is_armed && store->deadlines_at_ms <= at_ms)
                return;
        store->deadlines_at_ms = at_ms;
        aip_timer_set(store->loop, &store->deadlines, at_ms - now_ms);
}

/* Why an operation of this kind has not been answered yet. */
static aip_error *overdue(const struct pg_store *store, enum pg_kind_name kind)
{
        const struct pg_connection *connection = &store->lanes[pg_kinds[kind]->lane].connection;
        aip_error *error = NULL;
        if (connection->state != PG_READY)
                return pg_connection_error(connection);
        aip_error_set(&error, AIP_ETIMEOUT, "the database did not answer in time");
        aip_error_set_retryable(error, 1, 0);
        return error;
}

static void expire_queue(struct pg_store *store, enum pg_kind_name kind, int64_t now_ms,
                         int64_t *next_ms)
{
        struct aip_op_queue *waiting = &store->queues[kind].waiting;
        for (struct aip_op *op = waiting->first, *next; op; op = next) {
                next = op->next;
                if (pg_deadline_ms(op) > now_ms) {
                        *next_ms = AIP_MIN(*next_ms, pg_deadline_ms(op));
                        continue;
                }
                aip_op_queue_remove(waiting, op);
                aip_op_finish(store->loop, op, overdue(store, kind));
        }
}

static void expire_batches(struct pg_store *store, struct pg_batch_list *list, int64_t now_ms,
                           int64_t *next_ms)
{
        for (struct pg_batch *batch = list->first; batch; batch = batch->next) {
                for (size_t i = 0; i < batch->n_slots; i++) {
                        if (!batch->slots[i])
                                continue;
                        int64_t deadline_ms = pg_deadline_ms(batch->slots[i]);
                        if (deadline_ms > now_ms)
                                *next_ms = AIP_MIN(*next_ms, deadline_ms);
                        else
                                pg_batch_finish(store, batch, i, overdue(store, batch->kind));
                }
        }
}

static void on_deadlines(struct aip_timer *timer)
{
        struct pg_store *store = AIP_CONTAINER_OF(timer, struct pg_store, deadlines);
        int64_t now_ms = aip_now_ms(store->loop), next_ms = INT64_MAX;
        for (int kind = 0; kind < PG_N_KINDS; kind++) {
                expire_queue(store, (enum pg_kind_name)kind, now_ms, &next_ms);
                expire_batches(store, &store->queues[kind].again, now_ms, &next_ms);
        }
        for (int lane = 0; lane < PG_N_LANES; lane++)
                expire_batches(store, &store->lanes[lane].in_flight, now_ms, &next_ms);
        if (next_ms < INT64_MAX)
                look_at_deadlines_at(store, next_ms);
}

/* ---- submissions ---- */

static void refuse(struct pg_store *store, struct aip_op *op, int code, const char *why)
{
        aip_error *error = NULL;
        aip_error_set(&error, code, "%s", why);
        aip_op_finish(store->loop, op, error);
}

void pg_submit(struct pg_store *store, enum pg_kind_name kind, struct aip_op *op)
{
        struct pg_queue *queue = &store->queues[kind];
        if (store->close_op) {
                refuse(store, op, AIP_ECANCELLED, "the store was closed");
                return;
        }
        if (queue->waiting.n >= AIP_STORE_QUEUE_MAX) {
                refuse(store, op, AIP_ELIMIT, "too many operations wait for the database");
                return;
        }
        int64_t deadline_ms = op->deadline_ms ? op->deadline_ms
                                              : aip_now_ms(store->loop) + PG_DEFAULT_DEADLINE_MS;
        if (deadline_ms <= aip_now_ms(store->loop)) {
                refuse(store, op, AIP_ETIMEOUT, "the deadline has passed");
                return;
        }
        op->impl = (void *)(intptr_t)deadline_ms;
        aip_op_queue_push(&queue->waiting, op);
        look_at_deadlines_at(store, deadline_ms);
        pg_lane_wake(&store->lanes[pg_kinds[kind]->lane]);
}

/* `refusal` is what the check of the request had to say; consumed always. */
static void submit_checked(struct pg_store *store, enum pg_kind_name kind, struct aip_op *op,
                           aip_error *refusal)
{
        if (refusal)
                aip_op_finish(store->loop, op, refusal);
        else
                pg_submit(store, kind, op);
}

static void request_done(struct aip_op *op)
{
        struct pg_request *request = AIP_CONTAINER_OF(op, struct pg_request, op);
        struct aip_op *user = request->user;
        user->err = op->err;
        free(request);
        user->done(user);
}

static void submit_request(struct pg_store *store, enum pg_kind_name kind, struct aip_op *user,
                           const struct pg_request *template)
{
        struct pg_request *request = malloc(sizeof(*request));
        if (!request) {
                aip_error *error = NULL;
                aip_error_set_nomem(&error);
                aip_op_finish(store->loop, user, error);
                return;
        }
        *request = *template;
        request->user = user;
        request->op = (struct aip_op){.done = request_done, .deadline_ms = user->deadline_ms};
        pg_submit(store, kind, &request->op);
}

/* ---- the job repository ---- */

static void create(void *self, struct aip_job_create *create)
{
        aip_error *error = NULL;
        aip_store_check_create(create, &error);
        if (error || aip_id_is_nil(&aip_job_fields(create->job)->thread_id))
                submit_checked(self, PG_CREATE, &create->op, error);
        else
                submit_checked(self, PG_CREATE_IN_THREAD, &create->op, error);
}

static void fetch(void *self, struct aip_job_fetch *fetch)
{
        pg_submit(self, PG_FETCH, &fetch->op);
}

static void list(void *self, struct aip_job_list *list)
{
        aip_error *error = NULL;
        aip_store_check_list(list, &error);
        submit_checked(self, PG_LIST, &list->op, error);
}

static void cancel(void *self, struct aip_job_cancellation *cancellation)
{
        pg_submit(self, PG_CANCEL, &cancellation->op);
}

static void claim(void *self, struct aip_job_claim *claim)
{
        aip_error *error = NULL;
        aip_store_check_claim(claim, &error);
        int is_batchable = claim->n_ids > 0 && claim->n_ids <= claim->limit;
        submit_checked(self, is_batchable ? PG_CLAIM : PG_CLAIM_ONE, &claim->op, error);
}

static void finish(void *self, struct aip_job_finish *finish)
{
        aip_error *error = NULL;
        aip_store_check_finish(finish, &error);
        submit_checked(self, PG_FINISH, &finish->op, error);
}

static void resume(void *self, struct aip_job_resumption *resumption)
{
        aip_error *error = NULL;
        aip_store_check_resumption(resumption, &error);
        submit_checked(self, PG_RESUME, &resumption->op, error);
}

static void heartbeat(void *self, struct aip_heartbeat *heartbeat)
{
        aip_error *error = NULL;
        aip_store_check_heartbeat(heartbeat, &error);
        submit_checked(self, PG_HEARTBEAT, &heartbeat->op, error);
}

static void release(void *self, struct aip_release *release)
{
        pg_submit(self, PG_RELEASE, &release->op);
}

static void submit_chores(struct pg_store *store, enum pg_kind_name kind, struct aip_chores *chores)
{
        aip_error *error = NULL;
        aip_store_check_chores(chores, &error);
        submit_checked(store, kind, &chores->op, error);
}

static void promote(void *self, struct aip_chores *chores)
{
        submit_chores(self, PG_PROMOTE, chores);
}

static void recover(void *self, struct aip_chores *chores)
{
        submit_chores(self, PG_RECOVER, chores);
}

static void sweep(void *self, struct aip_chores *chores)
{
        submit_chores(self, PG_SWEEP, chores);
}

static void forget(void *self, struct aip_op *op, const int64_t *outbox_ids, size_t n)
{
        struct pg_request request = {.outbox_ids = outbox_ids, .n = n};
        submit_request(self, PG_FORGET, op, &request);
}

static void ping(void *self, struct aip_op *op)
{
        struct pg_request request = {0};
        submit_request(self, PG_PING, op, &request);
}

static void watch(void *self, struct aip_store_watcher *watcher)
{
        pg_watch(self, watcher);
}

static void unwatch(void *self, struct aip_store_watcher *watcher)
{
        pg_unwatch(self, watcher);
}

static void retain(void *self, struct aip_retention *retention)
{
        struct pg_store *store = self;
        aip_error *error = NULL;
        if (store->close_op)
                refuse(store, &retention->op, AIP_ECANCELLED, "the store was closed");
        else if (aip_store_check_retention(retention, &error) < 0)
                aip_op_finish(store->loop, &retention->op, error);
        else
                pg_retain(store, retention);
}

/* ---- the checkpoint store ---- */

static void save_checkpoint(void *self, struct aip_checkpoint_save *save)
{
        aip_error *error = NULL;
        aip_store_check_save(save, &error);
        submit_checked(self, save->n_tasks > 0 ? PG_SAVE_TASKS : PG_SAVE, &save->op, error);
}

static void load_checkpoint(void *self, struct aip_checkpoint_load *load)
{
        pg_submit(self, PG_LOAD_CHECKPOINT, &load->op);
}

static void list_checkpoints(void *self, struct aip_checkpoint_list *list)
{
        aip_error *error = NULL;
        aip_store_check_checkpoints(list, &error);
        submit_checked(self, PG_LIST_CHECKPOINTS, &list->op, error);
}

static const struct aip_checkpoint_store_ops checkpoint_ops = {
        .self_size = sizeof(struct aip_checkpoint_store_ops),
        .save = save_checkpoint,
        .load = load_checkpoint,
        .list = list_checkpoints,
};

/* ---- the thread repository ---- */

static void list_threads(void *self, struct aip_thread_list *list)
{
        aip_error *error = NULL;
        aip_store_check_threads(list, &error);
        submit_checked(self, PG_LIST_THREADS, &list->op, error);
}

static void update_thread(void *self, struct aip_thread_update *update)
{
        aip_error *error = NULL;
        aip_store_check_thread_update(update, &error);
        submit_checked(self, PG_UPDATE_THREAD, &update->op, error);
}

static const struct aip_thread_repository_ops thread_ops = {
        .self_size = sizeof(struct aip_thread_repository_ops),
        .list = list_threads,
        .update = update_thread,
};

/* ---- the catalog repository ---- */

static void load(void *self, struct aip_catalog_load *load)
{
        pg_submit(self, PG_LOAD, &load->op);
}

static void revision(void *self, struct aip_op *op, int64_t *ret_revision)
{
        struct pg_request request = {.ret_revision = ret_revision};
        submit_request(self, PG_REVISION, op, &request);
}

static void submit_put(struct pg_store *store, enum pg_kind_name kind, enum aip_put_mode mode,
                       struct aip_op *op)
{
        if ((unsigned)mode > AIP_PUT_UPSERT)
                refuse(store, op, AIP_EINVAL, "put: unknown mode");
        else
                pg_submit(store, kind, op);
}

static void put_config(void *self, struct aip_config_put *put)
{
        submit_put(self, PG_PUT_CONFIG, put->mode, &put->op);
}

static void delete_config(void *self, struct aip_catalog_delete *del)
{
        pg_submit(self, PG_DELETE_CONFIG, &del->op);
}

static void put_template(void *self, struct aip_template_put *put)
{
        submit_put(self, PG_PUT_TEMPLATE, put->mode, &put->op);
}

static void delete_template(void *self, struct aip_catalog_delete *del)
{
        pg_submit(self, PG_DELETE_TEMPLATE, &del->op);
}

static void put_graph(void *self, struct aip_graph_put *put)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text =
                AIP_BUF_INIT(AIP_GRAPH_DOCUMENT_MAX_BYTES + 1);
        aip_error *error = NULL;
        if (aip_graph_text_print(put->document, &text, &error) < 0)
                submit_checked(self, PG_PUT_GRAPH, &put->op, error);
        else
                submit_put(self, PG_PUT_GRAPH, put->mode, &put->op);
}

static void delete_graph(void *self, struct aip_catalog_delete *del)
{
        pg_submit(self, PG_DELETE_GRAPH, &del->op);
}

static void migrate(void *self, struct aip_op *op)
{
        struct pg_store *store = self;
        if (store->close_op)
                refuse(store, op, AIP_ECANCELLED, "the store was closed");
        else
                pg_migrate(store, op);
}

/* ---- the end ---- */

static void cancel_batches(struct pg_store *store, struct pg_batch_list *list, const aip_error *why)
{
        for (struct pg_batch *batch; (batch = pg_batch_list_pop(list));) {
                pg_batch_finish_all(store, batch, aip_error_copy(why));
                pg_batch_free(batch);
        }
}

static void cancel_everything(struct pg_store *store)
{
        _cleanup_(aip_error_free_p) aip_error *why = NULL;
        aip_error_set(&why, AIP_ECANCELLED, "the store was closed");
        for (int kind = 0; kind < PG_N_KINDS; kind++) {
                struct pg_queue *queue = &store->queues[kind];
                for (struct aip_op *op; (op = aip_op_queue_pop(&queue->waiting));)
                        aip_op_finish(store->loop, op, aip_error_copy(why));
                cancel_batches(store, &queue->again, why);
        }
        for (int lane = 0; lane < PG_N_LANES; lane++)
                cancel_batches(store, &store->lanes[lane].in_flight, why);
        pg_migrate_stop_all(store);
        pg_retain_stop(store);
}

static void free_strings(char **strings)
{
        for (size_t i = 0; strings && strings[i]; i++)
                free(strings[i]);
        free(strings);
}

static void store_free(struct pg_store *store)
{
        free_strings(store->keywords);
        free_strings(store->values);
        aip_hints_deinit(&store->hints);
        free(store);
}

/* On a stack of its own, because close may be called from inside a watcher's or an operation's
 * callback. Operations that end here are done before `close_op`, in the loop's order. */
static void run_close(struct aip_task *task)
{
        struct pg_store *store = AIP_CONTAINER_OF(task, struct pg_store, close_task);
        struct aip_loop loop = store->loop;
        struct aip_op *op = store->close_op;
        cancel_everything(store);
        for (int lane = 0; lane < PG_N_LANES; lane++)
                pg_lane_stop(&store->lanes[lane]);
        pg_connection_stop(&store->listener);
        aip_timer_clear(loop, &store->deadlines);
        aip_undefer(loop, &store->tell);
        store_free(store);
        aip_op_finish(loop, op, NULL);
}

static void close_store(void *self, struct aip_op *op)
{
        struct pg_store *store = self;
        store->close_op = op;
        aip_defer(store->loop, &store->close_task);
}

/* ---- construction ---- */

static const struct {
        const char *keyword, *value;
        int is_forced;
} connection_defaults[] = {
        {"client_encoding", "UTF8", 1},
        {"fallback_application_name", "aiplat", 0},
        /* A peer that vanished without a word is noticed within some 20 seconds, */
        {"keepalives_idle", "10", 0},
        {"keepalives_interval", "3", 0},
        {"keepalives_count", "3", 0},
        /* … or 10 when it owes us an acknowledgement. */
        {"tcp_user_timeout", "10000", 0},
};

static int add_parameter(struct pg_store *store, size_t n, const char *keyword, const char *value)
{
        store->keywords[n] = strdup(keyword);
        store->values[n] = strdup(value);
        return store->keywords[n] && store->values[n] ? 0 : AIP_ENOMEM;
}

static const char *default_of(const char *keyword, const char *given)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(connection_defaults); i++) {
                if (strcmp(connection_defaults[i].keyword, keyword) == 0 &&
                    (!given || connection_defaults[i].is_forced))
                        return connection_defaults[i].value;
        }
        return given;
}

static int copy_parameters(struct pg_store *store, const PQconninfoOption *options)
{
        size_t n = 0, n_options = 0;
        while (options[n_options].keyword)
                n_options++;
        store->keywords = calloc(n_options + 1, sizeof(char *));
        store->values = calloc(n_options + 1, sizeof(char *));
        if (!store->keywords || !store->values)
                return AIP_ENOMEM;
        for (size_t i = 0; i < n_options; i++) {
                const char *value = default_of(options[i].keyword, options[i].val);
                if (value && add_parameter(store, n++, options[i].keyword, value) < 0)
                        return AIP_ENOMEM;
        }
        return 0;
}

/* libpq's message may quote the string, and with it a password: it is not passed on. */
static int parse_url(struct pg_store *store, const char *url, aip_error **err)
{
        char *message = NULL;
        PQconninfoOption *options = PQconninfoParse(url, &message);
        PQfreemem(message);
        if (!options)
                return aip_error_set(err, AIP_EINVAL,
                                     "the database's address is neither a URL like "
                                     "postgresql://user@host:5432/name nor a libpq connection "
                                     "string");
        int r = copy_parameters(store, options);
        PQconninfoFree(options);
        return r < 0 ? aip_error_set_nomem(err) : 0;
}

static const struct aip_job_repository_ops job_ops = {
        .self_size = sizeof(struct aip_job_repository_ops),
        .name = "postgres",
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
        .retain = retain,
};

static const struct aip_catalog_repository_ops catalog_ops = {
        .self_size = sizeof(struct aip_catalog_repository_ops),
        .name = "postgres",
        .load = load,
        .revision = revision,
        .put_config = put_config,
        .delete_config = delete_config,
        .put_template = put_template,
        .delete_template = delete_template,
        .put_graph = put_graph,
        .delete_graph = delete_graph,
};

int aip_postgres_store_new(const struct aip_store_options *options, struct aip_store *ret_store,
                           aip_error **err)
{
        if (!options || !options->loop.ops || !options->random.ops || !options->url || !ret_store)
                return aip_error_set(err, AIP_EINVAL,
                                     "postgres store: a loop, a random source and a url are "
                                     "required");
        struct pg_store *store = calloc(1, sizeof(*store));
        if (!store)
                return aip_error_set_nomem(err);
        store->loop = options->loop;
        store->log = options->log;
        store->random = options->random;
        store->muted_events = options->muted_events;
        store->deadlines.fire = on_deadlines;
        store->close_task.run = run_close;
        int r = parse_url(store, options->url, err);
        if (r < 0) {
                store_free(store);
                return r;
        }
        for (int lane = 0; lane < PG_N_LANES; lane++)
                pg_lane_init(&store->lanes[lane], store, (enum pg_lane_name)lane);
        pg_listener_init(store);
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
