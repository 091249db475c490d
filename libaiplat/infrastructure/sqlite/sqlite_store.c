/*
 * The SQLite store, as the loop thread sees it: the ports, the requests that operations become,
 * their deadlines, watchers, and closing. The work is done by the write thread and the read thread
 * (sqlite_writer.c, sqlite_reader.c). Nothing here may block: the lock is only ever held for a few
 * instructions by either side.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"
#include "store/checks.h"
#include <sys/stat.h>
#include <time.h>

#define DEFAULT_DEADLINE_MS 5000

static const char url_prefix[] = "sqlite:///";

/* --- queues and requests ------------------------------------------------------------------- */

static void queue_push(struct sqlite_queue *queue, struct sqlite_request *rq)
{
        rq->previous = queue->last;
        if (queue->last)
                queue->last->next = rq;
        else
                queue->first = rq;
        queue->last = rq;
        queue->n++;
}

static void queue_remove(struct sqlite_queue *queue, struct sqlite_request *rq)
{
        if (rq->previous)
                rq->previous->next = rq->next;
        else
                queue->first = rq->next;
        if (rq->next)
                rq->next->previous = rq->previous;
        else
                queue->last = rq->previous;
        rq->next = rq->previous = NULL;
        queue->n--;
}

struct sqlite_request *aip_sqlite_queue_pop(struct sqlite_queue *queue)
{
        struct sqlite_request *rq = queue->first;

        if (rq)
                queue_remove(queue, rq);
        return rq;
}

static void add_ms(struct timespec *time, int64_t ms)
{
        time->tv_sec += ms / 1000;
        time->tv_nsec += (long)(ms % 1000) * 1000000;
        if (time->tv_nsec >= 1000000000) {
                time->tv_sec++;
                time->tv_nsec -= 1000000000;
        }
}

void aip_sqlite_queue_wait(struct sqlite_store *store, struct sqlite_queue *queue, int64_t ms)
{
        struct timespec until;

        if (ms < 0) {
                pthread_cond_wait(&queue->changed, &store->lock);
                return;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        add_ms(&until, ms);
        pthread_cond_timedwait(&queue->changed, &store->lock, &until);
}

void aip_sqlite_answer_discard(struct sqlite_answer *answer)
{
        if (answer->jobs)
                aip_sqlite_jobs_free(answer->jobs, answer->n);
        aip_free(answer->transitions);
        aip_free(answer->fences.gone);
        aip_free(answer->fences.unknown);
        aip_catalog_unref(answer->catalog);
        aip_buf_deinit(&answer->invalid);
        aip_llm_config_unref(answer->config);
        aip_prompt_template_unref(answer->prompt_template);
        aip_graph_document_unref((aip_graph_document *)answer->graph.document);
        aip_checkpoint_rows_deinit(&answer->checkpoints);
        free(answer->threads);
        *answer = (struct sqlite_answer){0};
}

void aip_sqlite_request_end(struct sqlite_store *store, struct sqlite_request *rq)
{
        struct aip_op *op = rq->op;
        aip_error *err;

        if (!rq->err && rq->call->deliver)
                rq->call->deliver(rq);
        err = rq->err;
        aip_sqlite_answer_discard(&rq->answer);
        aip_free(rq);
        aip_op_finish_from_thread(store->loop, op, err);
}

void aip_sqlite_queue_fail(struct sqlite_store *store, struct sqlite_queue *queue,
                           const aip_error *error)
{
        struct sqlite_request *rq;

        do {
                pthread_mutex_lock(&store->lock);
                rq = aip_sqlite_queue_pop(queue);
                pthread_mutex_unlock(&store->lock);
                if (rq) {
                        rq->err = aip_error_copy(error);
                        aip_sqlite_request_end(store, rq);
                }
        } while (rq);
}

/* --- deadlines ----------------------------------------------------------------------------- */

/* Requests that nobody took in time. Returns when the next one's time is over; 0: none waits. */
static int64_t collect_overdue(struct sqlite_store *store, struct sqlite_queue *queue,
                               int64_t now_ms, struct sqlite_queue *overdue)
{
        int64_t next_ms = 0;
        struct sqlite_request *rq = queue->first, *following;

        for (; rq; rq = following) {
                following = rq->next;
                if (rq->deadline_ms <= now_ms) {
                        queue_remove(queue, rq);
                        rq->err = aip_error_copy(store->problem);
                        queue_push(overdue, rq);
                } else if (next_ms == 0 || rq->deadline_ms < next_ms) {
                        next_ms = rq->deadline_ms;
                }
        }
        return next_ms;
}

static void end_overdue(struct sqlite_store *store, struct sqlite_queue *overdue)
{
        struct sqlite_request *rq;

        while ((rq = aip_sqlite_queue_pop(overdue))) {
                if (!rq->err)
                        aip_error_set(&rq->err, AIP_ETIMEOUT,
                                      "database %s: not reached within the deadline", store->path);
                aip_sqlite_request_end(store, rq);
        }
}

static void arm_deadline(struct sqlite_store *store, int64_t deadline_ms)
{
        if (store->deadline_timer.is_armed && store->deadline_timer.due_ms <= deadline_ms)
                return;
        aip_timer_set(store->loop, &store->deadline_timer,
                      AIP_MAX(0, deadline_ms - aip_now_ms(store->loop)));
}

static void on_deadline(struct aip_timer *timer)
{
        struct sqlite_store *store = AIP_CONTAINER_OF(timer, struct sqlite_store, deadline_timer);
        struct sqlite_queue overdue = {.n = 0};
        int64_t now_ms = aip_now_ms(store->loop), writes_ms, reads_ms;

        pthread_mutex_lock(&store->lock);
        writes_ms = collect_overdue(store, &store->writes, now_ms, &overdue);
        reads_ms = collect_overdue(store, &store->reads, now_ms, &overdue);
        pthread_mutex_unlock(&store->lock);
        end_overdue(store, &overdue);
        if (writes_ms != 0)
                arm_deadline(store, writes_ms);
        if (reads_ms != 0)
                arm_deadline(store, reads_ms);
}

/* --- submitting ---------------------------------------------------------------------------- */

/* 0, and the request is the threads' own; or why it may not wait with the others. */
static int enqueue(struct sqlite_store *store, struct sqlite_request *rq, aip_error **err)
{
        struct sqlite_queue *queue = rq->call->is_write ? &store->writes : &store->reads;
        int64_t deadline_ms = rq->deadline_ms;
        int is_full;

        pthread_mutex_lock(&store->lock);
        is_full = queue->n >= AIP_STORE_QUEUE_MAX;
        if (!is_full) {
                queue_push(queue, rq);
                pthread_cond_signal(&queue->changed);
                if (!store->is_open)
                        pthread_cond_signal(&store->writes.changed);
        }
        pthread_mutex_unlock(&store->lock);
        if (is_full)
                return aip_error_set(err, AIP_ELIMIT,
                                     "database %s: %d operations are waiting already", store->path,
                                     AIP_STORE_QUEUE_MAX);
        arm_deadline(store, deadline_ms);
        return 0;
}

static int new_request(struct sqlite_store *store, struct aip_op *op,
                       const struct sqlite_call *call, struct sqlite_request **ret_request,
                       aip_error **err)
{
        int64_t now_ms = aip_now_ms(store->loop);
        struct sqlite_request *rq;

        if (op->deadline_ms != 0 && op->deadline_ms <= now_ms)
                return aip_error_set(err, AIP_ETIMEOUT, "database %s: the deadline has passed",
                                     store->path);
        rq = aip_calloc(1, sizeof(*rq));
        if (!rq)
                return aip_error_set_nomem(err);
        rq->op = op;
        rq->call = call;
        rq->deadline_ms = op->deadline_ms != 0 ? op->deadline_ms : now_ms + DEFAULT_DEADLINE_MS;
        *ret_request = rq;
        return 0;
}

/* `details` (may be NULL) holds the inputs that are not in the operation; `refusal` (consumed
 * always) is what a check had to say. */
static void submit(struct sqlite_store *store, struct aip_op *op, const struct sqlite_call *call,
                   const struct sqlite_request *details, aip_error *refusal)
{
        aip_error *err = refusal;
        struct sqlite_request *rq = NULL;

        if (!err && new_request(store, op, call, &rq, &err) >= 0) {
                if (details) {
                        rq->outbox_ids = details->outbox_ids;
                        rq->n_outbox_ids = details->n_outbox_ids;
                        rq->ret_revision = details->ret_revision;
                }
                if (enqueue(store, rq, &err) < 0)
                        aip_free(rq);
        }
        if (err)
                aip_op_finish(store->loop, op, err);
}

/* --- the ports ----------------------------------------------------------------------------- */

static void create(void *self, struct aip_job_create *create)
{
        aip_error *err = NULL;

        aip_store_check_create(create, &err);
        submit(self, &create->op, &aip_sqlite_create, NULL, err);
}

static void fetch(void *self, struct aip_job_fetch *fetch)
{
        submit(self, &fetch->op, &aip_sqlite_fetch, NULL, NULL);
}

static void list(void *self, struct aip_job_list *list)
{
        aip_error *err = NULL;

        aip_store_check_list(list, &err);
        submit(self, &list->op, &aip_sqlite_list, NULL, err);
}

static void cancel(void *self, struct aip_job_cancellation *cancellation)
{
        submit(self, &cancellation->op, &aip_sqlite_cancel, NULL, NULL);
}

static void claim(void *self, struct aip_job_claim *claim)
{
        aip_error *err = NULL;

        aip_store_check_claim(claim, &err);
        submit(self, &claim->op, &aip_sqlite_claim, NULL, err);
}

static void finish(void *self, struct aip_job_finish *finish)
{
        aip_error *err = NULL;

        aip_store_check_finish(finish, &err);
        submit(self, &finish->op, &aip_sqlite_finish, NULL, err);
}

static void resume(void *self, struct aip_job_resumption *resumption)
{
        aip_error *err = NULL;

        aip_store_check_resumption(resumption, &err);
        submit(self, &resumption->op, &aip_sqlite_resume, NULL, err);
}

static void heartbeat(void *self, struct aip_heartbeat *heartbeat)
{
        aip_error *err = NULL;

        aip_store_check_heartbeat(heartbeat, &err);
        submit(self, &heartbeat->op, &aip_sqlite_heartbeat, NULL, err);
}

static void release(void *self, struct aip_release *release)
{
        submit(self, &release->op, &aip_sqlite_release, NULL, NULL);
}

static void submit_chores(struct sqlite_store *store, struct aip_chores *chores,
                          const struct sqlite_call *call)
{
        aip_error *err = NULL;

        aip_store_check_chores(chores, &err);
        submit(store, &chores->op, call, NULL, err);
}

static void promote(void *self, struct aip_chores *chores)
{
        submit_chores(self, chores, &aip_sqlite_promote);
}

static void recover(void *self, struct aip_chores *chores)
{
        submit_chores(self, chores, &aip_sqlite_recover);
}

static void sweep(void *self, struct aip_chores *chores)
{
        submit_chores(self, chores, &aip_sqlite_sweep);
}

static void retain(void *self, struct aip_retention *retention)
{
        aip_error *err = NULL;

        aip_store_check_retention(retention, &err);
        submit(self, &retention->op, &aip_sqlite_retain, NULL, err);
}

static void forget(void *self, struct aip_op *op, const int64_t *outbox_ids, size_t n)
{
        struct sqlite_request details = {.outbox_ids = outbox_ids, .n_outbox_ids = n};

        submit(self, op, &aip_sqlite_forget, &details, NULL);
}

static void ping(void *self, struct aip_op *op)
{
        submit(self, op, &aip_sqlite_ping, NULL, NULL);
}

/* The write thread greets: it must have begun to look before anyone may rely on hearing. */
static void watch(void *self, struct aip_store_watcher *watcher)
{
        struct sqlite_store *store = self;

        aip_watchers_add(&store->watchers, watcher);
        pthread_mutex_lock(&store->lock);
        store->is_watched = store->must_greet = 1;
        pthread_cond_signal(&store->writes.changed);
        pthread_mutex_unlock(&store->lock);
}

static void unwatch(void *self, struct aip_store_watcher *watcher)
{
        struct sqlite_store *store = self;

        aip_watchers_remove(&store->watchers, watcher);
        pthread_mutex_lock(&store->lock);
        store->is_watched = store->watchers.first != NULL;
        pthread_mutex_unlock(&store->lock);
}

static void load(void *self, struct aip_catalog_load *load)
{
        submit(self, &load->op, &aip_sqlite_load, NULL, NULL);
}

static void revision(void *self, struct aip_op *op, int64_t *ret_revision)
{
        struct sqlite_request details = {.ret_revision = ret_revision};

        submit(self, op, &aip_sqlite_revision, &details, NULL);
}

static void put_config(void *self, struct aip_config_put *put)
{
        submit(self, &put->op, &aip_sqlite_put_config, NULL, NULL);
}

static void delete_config(void *self, struct aip_catalog_delete *del)
{
        submit(self, &del->op, &aip_sqlite_delete_config, NULL, NULL);
}

static void put_template(void *self, struct aip_template_put *put)
{
        submit(self, &put->op, &aip_sqlite_put_template, NULL, NULL);
}

static void delete_template(void *self, struct aip_catalog_delete *del)
{
        submit(self, &del->op, &aip_sqlite_delete_template, NULL, NULL);
}

static void put_graph(void *self, struct aip_graph_put *put)
{
        submit(self, &put->op, &aip_sqlite_put_graph, NULL, NULL);
}

static void delete_graph(void *self, struct aip_catalog_delete *del)
{
        submit(self, &del->op, &aip_sqlite_delete_graph, NULL, NULL);
}

static void save_checkpoint(void *self, struct aip_checkpoint_save *save)
{
        aip_error *err = NULL;

        aip_store_check_save(save, &err);
        submit(self, &save->op, &aip_sqlite_save, NULL, err);
}

static void load_checkpoint(void *self, struct aip_checkpoint_load *load)
{
        submit(self, &load->op, &aip_sqlite_load_checkpoint, NULL, NULL);
}

static void list_checkpoints(void *self, struct aip_checkpoint_list *list)
{
        aip_error *err = NULL;

        aip_store_check_checkpoints(list, &err);
        submit(self, &list->op, &aip_sqlite_list_checkpoints, NULL, err);
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
        submit(self, &list->op, &aip_sqlite_list_threads, NULL, err);
}

static void update_thread(void *self, struct aip_thread_update *update)
{
        aip_error *err = NULL;

        aip_store_check_thread_update(update, &err);
        submit(self, &update->op, &aip_sqlite_update_thread, NULL, err);
}

static const struct aip_thread_repository_ops thread_ops = {
        .self_size = sizeof(struct aip_thread_repository_ops),
        .list = list_threads,
        .update = update_thread,
};

static void migrate(void *self, struct aip_op *op)
{
        submit(self, op, &aip_sqlite_migrate, NULL, NULL);
}

/* --- hints --------------------------------------------------------------------------------- */

void aip_sqlite_tell(struct sqlite_store *store, struct aip_hints *hints)
{
        int must_post = 0;

        if (aip_hints_is_empty(hints))
                return;
        pthread_mutex_lock(&store->lock);
        aip_hints_move(&store->hints, hints);
        if (!store->is_telling)
                must_post = store->is_telling = 1;
        pthread_mutex_unlock(&store->lock);
        if (must_post)
                aip_post(store->loop, &store->tell_task);
}

static void tell_watchers(struct aip_task *task)
{
        struct sqlite_store *store = AIP_CONTAINER_OF(task, struct sqlite_store, tell_task);
        struct aip_hints hints;

        pthread_mutex_lock(&store->lock);
        hints = store->hints;
        store->hints = (struct aip_hints){0};
        store->is_telling = 0;
        pthread_mutex_unlock(&store->lock);
        aip_watchers_tell(&store->watchers, &hints);
        aip_hints_deinit(&hints);
}

/* --- closing ------------------------------------------------------------------------------- */

static void store_free(struct sqlite_store *store)
{
        pthread_cond_destroy(&store->writes.changed);
        pthread_cond_destroy(&store->reads.changed);
        pthread_mutex_destroy(&store->lock);
        aip_hints_deinit(&store->hints);
        aip_error_free(store->problem);
        aip_free(store->path);
        aip_free(store);
}

/* On the loop, after the last thread's last word. The threads do nothing any more but return. */
static void on_threads_gone(struct aip_task *task)
{
        struct sqlite_store *store = AIP_CONTAINER_OF(task, struct sqlite_store, gone_task);
        struct aip_loop loop = store->loop;
        struct aip_op *close_op = store->close_op;

        pthread_join(store->writer, NULL);
        pthread_join(store->reader, NULL);
        aip_timer_clear(loop, &store->deadline_timer);
        aip_undefer(loop, &store->tell_task);
        store_free(store);
        aip_op_finish(loop, close_op, NULL);
}

void aip_sqlite_thread_ends(struct sqlite_store *store)
{
        int is_last;

        pthread_mutex_lock(&store->lock);
        is_last = --store->n_threads == 0;
        pthread_mutex_unlock(&store->lock);
        if (is_last)
                aip_post(store->loop, &store->gone_task);
}

static void close_store(void *self, struct aip_op *op)
{
        struct sqlite_store *store = self;
        aip_error *err = NULL;

        store->close_op = op;
        store->watchers.first = NULL;
        pthread_mutex_lock(&store->lock);
        store->is_closing = 1;
        pthread_cond_broadcast(&store->writes.changed);
        pthread_cond_broadcast(&store->reads.changed);
        pthread_mutex_unlock(&store->lock);
        aip_error_set(&err, AIP_ECANCELLED, "database %s: closed", store->path);
        aip_sqlite_queue_fail(store, &store->writes, err);
        aip_sqlite_queue_fail(store, &store->reads, err);
        aip_error_free(err);
}

/* --- opening ------------------------------------------------------------------------------- */

static int parse_url(const char *url, char **ret_path, aip_error **err)
{
        const char *path = url ? url + strlen(url_prefix) : NULL;

        if (!url || strncmp(url, url_prefix, strlen(url_prefix)) != 0)
                return aip_error_set(err, AIP_EINVAL,
                                     "\"%s\": an SQLite URL looks like sqlite:///relative/path or "
                                     "sqlite:////absolute/path",
                                     url ? url : "");
        if (!*path || path[strlen(path) - 1] == '/' || strcmp(path, ":memory:") == 0)
                return aip_error_set(err, AIP_EINVAL, "\"%s\": the name of a file is missing", url);
        *ret_path = aip_strdup(path);
        return *ret_path ? 0 : aip_error_set_nomem(err);
}

/* SQLite would only say "unable to open database file". */
static int check_folder(const char *path, aip_error **err)
{
        _cleanup_(aip_free_p) char *folder = aip_strdup(path);
        struct stat status;
        char *slash;

        if (!folder)
                return aip_error_set_nomem(err);
        slash = strrchr(folder, '/');
        if (!slash || slash == folder)
                return 0;
        *slash = '\0';
        if (stat(folder, &status) < 0)
                return aip_error_set(err, AIP_ENOTFOUND,
                                     "database %s: the folder %s does not exist", path, folder);
        if (!S_ISDIR(status.st_mode))
                return aip_error_set(err, AIP_EINVAL, "database %s: %s is not a folder", path,
                                     folder);
        return 0;
}

/* Waits are measured on the clock that does not jump. */
static void init_locks(struct sqlite_store *store)
{
        pthread_condattr_t monotonic;

        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_mutex_init(&store->lock, NULL);
        pthread_cond_init(&store->writes.changed, &monotonic);
        pthread_cond_init(&store->reads.changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
}

/* Both threads or none. */
static int start_threads(struct sqlite_store *store, aip_error **err)
{
        store->n_threads = 2;
        if (pthread_create(&store->writer, NULL, aip_sqlite_writer_main, store) != 0)
                return aip_error_set(err, AIP_EIO, "database %s: no thread to be had", store->path);
        if (pthread_create(&store->reader, NULL, aip_sqlite_reader_main, store) == 0)
                return 0;
        pthread_mutex_lock(&store->lock);
        store->is_closing = 1;
        pthread_cond_broadcast(&store->writes.changed);
        pthread_mutex_unlock(&store->lock);
        pthread_join(store->writer, NULL);
        return aip_error_set(err, AIP_EIO, "database %s: no thread to be had", store->path);
}

static const struct aip_job_repository_ops job_ops = {
        .self_size = sizeof(struct aip_job_repository_ops),
        .name = "sqlite",
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
        .name = "sqlite",
        .load = load,
        .revision = revision,
        .put_config = put_config,
        .delete_config = delete_config,
        .put_template = put_template,
        .delete_template = delete_template,
        .put_graph = put_graph,
        .delete_graph = delete_graph,
};

int aip_sqlite_store_new(const struct aip_store_options *options, struct aip_store *ret_store,
                         aip_error **err)
{
        _cleanup_(aip_free_p) char *path = NULL;
        struct sqlite_store *store;
        int r;

        if (!options || !options->loop.ops || !ret_store)
                return aip_error_set(err, AIP_EINVAL, "SQLite store: a loop is required");
        r = parse_url(options->url, &path, err);
        if (r >= 0)
                r = check_folder(path, err);
        if (r < 0)
                return r;
        store = aip_calloc(1, sizeof(*store));
        if (!store)
                return aip_error_set_nomem(err);
        store->loop = options->loop;
        store->log = options->log;
        store->path = AIP_TAKE(path);
        store->deadline_timer.fire = on_deadline;
        store->tell_task.run = tell_watchers;
        store->gone_task.run = on_threads_gone;
        init_locks(store);
        r = start_threads(store, err);
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
