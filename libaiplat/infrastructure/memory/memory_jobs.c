/*
 * Jobs of the in-memory store: a table sorted by id with two heaps over it, and the methods that
 * read and move them. Called by memory_store.c; memory_sessions.c moves jobs through
 * aip_memory_job_move(). Must never change a job but through the domain's methods, nor without its
 * outbox row.
 */
#include "macros.h"
#include "mem.h"
#include "memory/memory_store.h"

/* Where `id` is, or belongs. */
static size_t position_of(const struct memory_store *store, const struct aip_id *id)
{
        size_t low = 0, high = store->n_jobs;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (aip_id_compare(&aip_job_fields(store->jobs[middle]->job)->id, id) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

struct memory_job *aip_memory_job_find(const struct memory_store *store, const struct aip_id *id)
{
        size_t at = position_of(store, id);

        if (at == store->n_jobs || !aip_id_equal(&aip_job_fields(store->jobs[at]->job)->id, id))
                return NULL;
        return store->jobs[at];
}

static int reserve_job(struct memory_store *store)
{
        size_t capacity = AIP_MAX(2 * store->jobs_capacity, (size_t)64);
        struct memory_job **grown;

        if (store->n_jobs < store->jobs_capacity)
                return 0;
        grown = aip_realloc_array(store->jobs, capacity, sizeof(struct memory_job *));
        if (!grown)
                return AIP_ENOMEM;
        store->jobs = grown;
        store->jobs_capacity = capacity;
        return 0;
}

static void insert_job(struct memory_store *store, struct memory_job *known)
{
        size_t at = position_of(store, &aip_job_fields(known->job)->id);

        memmove(store->jobs + at + 1, store->jobs + at,
                (store->n_jobs - at) * sizeof(struct memory_job *));
        store->jobs[at] = known;
        store->n_jobs++;
}

static struct memory_job *in_thread(struct aip_list *node)
{
        return node ? AIP_CONTAINER_OF(node, struct memory_job, in_thread) : NULL;
}

/* A job of the thread has ended: the next one is due. */
static void give_turn(struct memory_store *store, struct memory_thread *thread)
{
        struct memory_job *next = in_thread(aip_list_first(&thread->live));
        int64_t run_at_us;

        if (!next || aip_memory_thread_active(thread) ||
            aip_job_take_turn(next->job, aip_wall_us(store->loop), NULL) < 0)
                return;
        run_at_us = aip_job_fields(next->job)->run_at_us;
        aip_timer_queue_set(&next->backlog->queued, &next->by_run_at, run_at_us);
        aip_timer_queue_set(&store->delayed, &next->by_due_time, run_at_us);
}

/* Bring every index in line with the job after `transition`, and tell who waits for it. */
static void job_moved(struct memory_store *store, struct memory_job *known,
                      struct memory_session *session, const struct aip_transition *transition)
{
        int64_t run_at_us = aip_job_fields(known->job)->run_at_us;

        aip_timer_queue_remove(&known->backlog->queued, &known->by_run_at);
        aip_timer_queue_remove(&store->delayed, &known->by_due_time);
        aip_list_remove(&known->in_session);
        known->session = session;
        if (session)
                aip_list_append(&session->jobs, &known->in_session);
        if (transition->to == AIP_JOB_QUEUED)
                aip_timer_queue_set(&known->backlog->queued, &known->by_run_at, run_at_us);
        if (transition->to == AIP_JOB_QUEUED && !transition->is_runnable)
                aip_timer_queue_set(&store->delayed, &known->by_due_time, run_at_us);
        aip_hints_note(&store->hints, transition);
        if (known->thread && aip_job_status_is_terminal(transition->to)) {
                aip_list_remove(&known->in_thread);
                give_turn(store, known->thread);
        }
}

int aip_memory_job_move(struct memory_store *store, struct memory_job *known, aip_memory_move *move,
                        struct memory_session *session, struct aip_transition *ret_transition,
                        aip_error **err)
{
        struct memory_outbox_row *row = NULL;
        struct aip_transition transition;
        int r;

        r = aip_memory_outbox_prepare(store, &row, err);
        if (r < 0)
                return r;
        r = move(known->job, aip_wall_us(store->loop), &transition, err);
        if (r < 0) {
                aip_memory_outbox_drop(store, row);
                return r;
        }
        aip_memory_outbox_commit(store, row, &transition);
        job_moved(store, known, session, &transition);
        *ret_transition = transition;
        return 0;
}

static void job_free(struct memory_job *known)
{
        if (known)
                aip_job_free(known->job);
        aip_free(known);
}

static struct memory_backlog *backlog_of(struct memory_store *store, struct aip_str config_name)
{
        struct memory_backlog *backlog = aip_hash_map_get(&store->backlogs, config_name);

        if (backlog)
                return backlog;
        backlog = aip_calloc(1, sizeof(*backlog) + config_name.n + 1);
        if (!backlog)
                return NULL;
        memcpy(backlog->name, config_name.p, config_name.n);
        if (aip_hash_map_set(&store->backlogs, config_name, backlog, NULL) < 0) {
                aip_free(backlog);
                return NULL;
        }
        return backlog;
}

/* A copy of the job joins its thread, and waits when others have not ended. */
static int join_thread(struct memory_store *store, struct memory_job *known, aip_error **err)
{
        const struct aip_id *id = &aip_job_fields(known->job)->thread_id;

        if (aip_id_is_nil(id))
                return 0;
        known->thread = aip_memory_thread_make(store, id);
        if (!known->thread)
                return aip_error_set_nomem(err);
        return aip_list_is_empty(&known->thread->live) ? 0 : aip_job_hold(known->job, err);
}

/* In the order of ids. */
static void enter_thread(const struct memory_store *store, struct memory_job *known)
{
        const struct aip_id *id = &aip_job_fields(known->job)->id;
        struct aip_list *at;

        if (!known->thread)
                return;
        for (at = &known->thread->live; at->previous != &known->thread->live; at = at->previous)
                if (aip_id_compare(&aip_job_fields(in_thread(at->previous)->job)->id, id) < 0)
                        break;
        aip_list_insert_before(at, &known->in_thread);
        known->thread->updated_at_us = aip_wall_us(store->loop);
        if (!known->thread->last ||
            aip_id_compare(&aip_job_fields(known->thread->last->job)->id, id) < 0)
                known->thread->last = known;
}

static int job_new(struct memory_store *store, const aip_job *job, struct memory_job **ret_known,
                   aip_error **err)
{
        struct memory_job *known = aip_calloc(1, sizeof(*known));
        int r;

        if (known)
                known->backlog = backlog_of(store, aip_job_fields(job)->config_name);
        if (!known || !known->backlog) {
                aip_free(known);
                return aip_error_set_nomem(err);
        }
        r = aip_job_copy(job, &known->job, err);
        if (r >= 0)
                r = join_thread(store, known, err);
        if (r < 0) {
                job_free(known);
                return r;
        }
        *ret_known = known;
        return 0;
}

static int remember_key(struct memory_store *store, const struct aip_job_create *create)
{
        struct memory_key *key;

        if (aip_str_is_empty(create->idempotency_key))
                return 0;
        key = aip_calloc(1, sizeof(*key));
        if (!key)
                return AIP_ENOMEM;
        key->job_id = aip_job_fields(create->job)->id;
        memcpy(key->fingerprint, create->fingerprint, sizeof(key->fingerprint));
        if (aip_hash_map_set(&store->keys, create->idempotency_key, key, NULL) < 0) {
                aip_free(key);
                return AIP_ENOMEM;
        }
        return 0;
}

static int add_job(struct memory_store *store, struct aip_job_create *create, aip_error **err)
{
        const struct aip_job_fields *fields = aip_job_fields(create->job);
        struct aip_transition created;
        struct memory_outbox_row *row = NULL;
        struct memory_job *known = NULL;
        int r;

        r = job_new(store, create->job, &known, err);
        if (r < 0)
                return r;
        created = aip_job_created(known->job);
        r = aip_memory_outbox_prepare(store, &row, err);
        if (r < 0) {
                job_free(known);
                return r;
        }
        if (reserve_job(store) < 0 || remember_key(store, create) < 0) {
                aip_memory_outbox_drop(store, row);
                job_free(known);
                return aip_error_set_nomem(err);
        }
        insert_job(store, known);
        enter_thread(store, known);
        aip_memory_outbox_commit(store, row, &created);
        job_moved(store, known, NULL, &created);
        create->ret_outcome = AIP_CREATE_CREATED;
        create->ret_job_id = fields->id;
        create->ret_status = fields->status;
        create->ret_transition = created;
        return 0;
}

static void answer_used_key(struct memory_store *store, struct aip_job_create *create,
                            const struct memory_key *key)
{
        const struct memory_job *first = aip_memory_job_find(store, &key->job_id);
        int is_same = memcmp(key->fingerprint, create->fingerprint, sizeof(key->fingerprint)) == 0;

        create->ret_outcome = is_same ? AIP_CREATE_REPLAYED : AIP_CREATE_KEY_REUSED;
        create->ret_job_id = key->job_id;
        create->ret_status = aip_job_fields(first->job)->status;
}

static void answer_repeated(struct aip_job_create *create, const struct memory_job *known)
{
        create->ret_outcome = AIP_CREATE_CREATED;
        create->ret_job_id = aip_job_fields(create->job)->id;
        create->ret_status = aip_job_fields(known->job)->status;
        create->ret_transition = aip_job_created(create->job);
}

static int is_thread_busy(const struct memory_store *store, const aip_job *job)
{
        const struct memory_thread *thread =
                aip_hash_map_get_id(&store->threads, &aip_job_fields(job)->thread_id);

        return thread && !aip_list_is_empty(&thread->live);
}

/* The others of the job's thread end. What they did to its state is not to count when it rolls back: then a copy
 * of the job, owned by caller, begins before them. */
static int clear_thread(struct memory_store *store, const struct aip_job_create *create,
                        aip_job **ret_job, aip_error **err)
{
        const struct aip_job_fields *f = aip_job_fields(create->job);
        struct memory_thread *thread = aip_hash_map_get_id(&store->threads, &f->thread_id);
        struct aip_transition cancelled;
        struct memory_job *other;
        int64_t first = 0;

        /* Last first, so that none is given a turn. */
        while (thread && !aip_list_is_empty(&thread->live)) {
                other = in_thread(thread->live.previous);
                int64_t n = aip_memory_checkpoint_first(store, &f->thread_id,
                                                        &aip_job_fields(other->job)->id);
                int r = aip_memory_job_move(store, other, aip_job_cancel, NULL, &cancelled, err);
                if (r < 0)
                        return r;
                first = n > 0 && (first == 0 || n < first) ? n : first;
        }
        if (create->strategy != AIP_THREAD_ROLLBACK || first == 0 || f->checkpoint != 0)
                return 0;
        int r = aip_job_copy(create->job, ret_job, err);
        return r < 0 ? r
                     : aip_job_begin_at(*ret_job, first > 1 ? first - 1 : AIP_JOB_NO_STATE, err);
}

static int add_alone(struct memory_store *store, struct aip_job_create *create, aip_error **err)
{
        const aip_job *given = create->job;
        aip_job *job = NULL;
        int r = clear_thread(store, create, &job, err);

        if (r >= 0) {
                create->job = job ? job : given;
                r = add_job(store, create, err);
                create->job = given;
        }
        aip_job_free(job);
        return r;
}

static int run_create(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_job_create *create = AIP_CONTAINER_OF(op, struct aip_job_create, op);
        const struct aip_id *id = &aip_job_fields(create->job)->id;
        const struct memory_job *known = aip_memory_job_find(store, id);
        const struct memory_key *key = NULL;

        if (!aip_str_is_empty(create->idempotency_key))
                key = aip_hash_map_get(&store->keys, create->idempotency_key);
        if (key && !aip_id_equal(&key->job_id, id))
                answer_used_key(store, create, key);
        else if (known)
                answer_repeated(create, known);
        else if (create->strategy == AIP_THREAD_REJECT && is_thread_busy(store, create->job))
                create->ret_outcome = AIP_CREATE_THREAD_BUSY;
        else if (create->strategy >= AIP_THREAD_INTERRUPT)
                return add_alone(store, create, err);
        else
                return add_job(store, create, err);
        return 0;
}

const struct memory_call aip_memory_create = {run_create};

static int run_fetch(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_job_fetch *fetch = AIP_CONTAINER_OF(op, struct aip_job_fetch, op);
        struct memory_job *known = aip_memory_job_find(store, &fetch->id);

        if (known)
                return aip_job_copy(known->job, &fetch->ret_job, err);
        fetch->ret_job = NULL;
        return 0;
}

const struct memory_call aip_memory_fetch = {run_fetch};

static int is_wanted(const struct aip_job_list *list, const struct aip_job_fields *job)
{
        if (list->status_mask != 0 && !(list->status_mask & 1u << job->status))
                return 0;
        if (!aip_str_is_empty(list->config_name) &&
            !aip_str_eq(list->config_name, job->config_name))
                return 0;
        if (!aip_str_is_empty(list->template_name) &&
            !aip_str_eq(list->template_name, job->template_name))
                return 0;
        if (!aip_id_is_nil(&list->thread_id) && !aip_id_equal(&list->thread_id, &job->thread_id))
                return 0;
        if (list->created_from_us != 0 && job->created_at_us < list->created_from_us)
                return 0;
        return list->created_until_us == 0 || job->created_at_us < list->created_until_us;
}

static void free_jobs(aip_job **jobs, size_t n)
{
        for (size_t i = 0; i < n; i++)
                aip_job_free(jobs[i]);
        aip_free(jobs);
}

static int run_list(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_job_list *list = AIP_CONTAINER_OF(op, struct aip_job_list, op);
        size_t at =
                aip_id_is_nil(&list->before) ? store->n_jobs : position_of(store, &list->before);
        aip_job **found = aip_calloc(list->limit, sizeof(aip_job *));
        size_t n = 0;

        if (!found)
                return aip_error_set_nomem(err);
        for (; at > 0; at--) {
                const aip_job *job = store->jobs[at - 1]->job;
                int r;
                if (!is_wanted(list, aip_job_fields(job)))
                        continue;
                if (n == list->limit)
                        break;
                r = aip_job_copy(job, &found[n], err);
                if (r < 0) {
                        free_jobs(found, n);
                        return r;
                }
                n++;
        }
        list->ret_jobs = found;
        list->ret_n = n;
        list->ret_has_more = at > 0;
        return 0;
}

const struct memory_call aip_memory_list = {run_list};

static int run_cancel(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_job_cancellation *cancel = AIP_CONTAINER_OF(op, struct aip_job_cancellation, op);
        struct memory_job *known = aip_memory_job_find(store, &cancel->id);
        int r;

        if (!known) {
                cancel->ret_outcome = AIP_CANCEL_NOT_FOUND;
                return 0;
        }
        if (aip_job_status_is_terminal(aip_job_fields(known->job)->status)) {
                cancel->ret_outcome = AIP_CANCEL_ALREADY_ENDED;
                cancel->ret_status = aip_job_fields(known->job)->status;
                return 0;
        }
        r = aip_memory_job_move(store, known, aip_job_cancel, NULL, &cancel->ret_transition, err);
        if (r < 0)
                return r;
        cancel->ret_outcome = AIP_CANCEL_CANCELLED;
        cancel->ret_status = AIP_JOB_CANCELLED;
        return 0;
}

const struct memory_call aip_memory_cancel = {run_cancel};

/* Where a claim is: among its ids, or among the backlogs. */
struct claim_walk {
        size_t next_id;
        size_t cursor; /* in the map of backlogs, which is walked again and again … */
        int has_found; /* … as long as a round has found something */
};

static struct memory_job *next_named(struct memory_store *store, const struct aip_job_claim *claim,
                                     struct claim_walk *walk)
{
        int64_t now_us = aip_wall_us(store->loop);

        while (walk->next_id < claim->n_ids) {
                struct memory_job *known = aip_memory_job_find(store, &claim->ids[walk->next_id++]);
                if (known && known->by_run_at.is_armed && known->by_run_at.due_ms <= now_us)
                        return known;
        }
        return NULL;
}

static int is_without(const struct aip_job_claim *claim, const char *config_name)
{
        for (size_t i = 0; i < claim->n_without_configs; i++)
                if (aip_str_eq(claim->without_configs[i], aip_str_of(config_name)))
                        return 1;
        return 0;
}

/* One of each configuration in turn. */
static struct memory_job *next_due(struct memory_store *store, const struct aip_job_claim *claim,
                                   struct claim_walk *walk)
{
        int64_t until_us = aip_wall_us(store->loop) - claim->min_due_ms * 1000;

        for (;;) {
                struct memory_backlog *backlog =
                        aip_hash_map_next(&store->backlogs, &walk->cursor, NULL);
                struct aip_timer *first = backlog ? aip_timer_queue_first(&backlog->queued) : NULL;

                if (!backlog && !walk->has_found)
                        return NULL;
                if (!backlog)
                        *walk = (struct claim_walk){0};
                if (!first || first->due_ms > until_us || is_without(claim, backlog->name))
                        continue;
                walk->has_found = 1;
                return AIP_CONTAINER_OF(first, struct memory_job, by_run_at);
        }
}

/* The next job that this claim may take, or NULL. */
static struct memory_job *next_claimable(struct memory_store *store,
                                         const struct aip_job_claim *claim, struct claim_walk *walk)
{
        return claim->n_ids > 0 ? next_named(store, claim, walk) : next_due(store, claim, walk);
}

/* Start one job and copy it for the claimer. A job that was started but could not be copied stays
 * claimed: the next heartbeat shows it as unknown, and it is handed back. */
static int claim_one(struct memory_store *store, struct aip_job_claim *claim,
                     struct memory_session *session, struct memory_job *known, aip_error **err)
{
        size_t n = claim->ret_n;
        int r = aip_memory_job_move(store, known, aip_job_start, session,
                                    &claim->ret_transitions[n], err);

        if (r >= 0)
                r = aip_job_copy(known->job, &claim->ret_jobs[n], err);
        if (r >= 0)
                claim->ret_n++;
        return r;
}

static int run_claim(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_job_claim *claim = AIP_CONTAINER_OF(op, struct aip_job_claim, op);
        struct memory_session *session = NULL;
        struct memory_job *known = NULL;
        struct claim_walk walk = {0};
        int r;

        struct aip_job_claim answer = *claim;
        r = aip_memory_session_renew(store, &claim->session, claim->lease_ms, &session, err);
        if (r < 0)
                return r;
        answer.ret_n = 0;
        answer.ret_jobs = aip_calloc(claim->limit, sizeof(aip_job *));
        answer.ret_transitions = aip_calloc(claim->limit, sizeof(struct aip_transition));
        if (!answer.ret_jobs || !answer.ret_transitions)
                r = aip_error_set_nomem(err);
        while (r >= 0 && answer.ret_n < claim->limit &&
               (known = next_claimable(store, claim, &walk)))
                r = claim_one(store, &answer, session, known, err);
        if (r < 0) {
                free_jobs(answer.ret_jobs, answer.ret_n);
                aip_free(answer.ret_transitions);
                return r;
        }
        claim->ret_jobs = answer.ret_jobs;
        claim->ret_transitions = answer.ret_transitions;
        claim->ret_n = answer.ret_n;
        claim->ret_catalog_revision = store->catalog_revision;
        return 0;
}

const struct memory_call aip_memory_claim = {run_claim};

/* Put a moved copy of the job in the place of the known one. */
static int replace_job(struct memory_store *store, struct memory_job *known, const aip_job *moved,
                       struct aip_transition *transition, aip_error **err)
{
        struct memory_outbox_row *row = NULL;
        aip_job *copy = NULL;
        int r = aip_job_copy(moved, &copy, err);

        if (r < 0)
                return r;
        r = aip_memory_outbox_prepare(store, &row, err);
        if (r < 0) {
                aip_job_free(copy);
                return r;
        }
        aip_job_free(known->job);
        known->job = copy;
        aip_memory_outbox_commit(store, row, transition);
        job_moved(store, known, NULL, transition);
        return 0;
}

/* The fence: only what the finished job started from may be replaced by it. */
static int is_fence_open(const struct memory_job *known, const struct aip_job_fields *finished)
{
        const struct aip_job_fields *f = known ? aip_job_fields(known->job) : NULL;

        return f && f->status == AIP_JOB_PROCESSING && f->version == finished->version - 1;
}

static int run_finish(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_job_finish *finish = AIP_CONTAINER_OF(op, struct aip_job_finish, op);
        const struct aip_job_fields *fields = aip_job_fields(finish->job);
        struct memory_job *known = aip_memory_job_find(store, &fields->id);
        int r;

        if (!is_fence_open(known, fields)) {
                finish->ret_outcome = AIP_FINISH_STALE;
                return 0;
        }
        r = replace_job(store, known, finish->job, &finish->transition, err);
        if (r < 0)
                return r;
        finish->ret_outcome = AIP_FINISH_RECORDED;
        return 0;
}

const struct memory_call aip_memory_finish = {run_finish};

static int run_resume(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_job_resumption *resume = AIP_CONTAINER_OF(op, struct aip_job_resumption, op);
        const struct aip_job_fields *fields = aip_job_fields(resume->job);
        struct memory_job *known = aip_memory_job_find(store, &fields->id);
        const struct aip_job_fields *f = known ? aip_job_fields(known->job) : NULL;
        int r;

        if (!f || f->status != AIP_JOB_INTERRUPTED || f->version != fields->version - 1) {
                resume->ret_outcome = AIP_RESUMPTION_REFUSED;
                resume->ret_status = f ? f->status : AIP_JOB_CANCELLED;
                return 0;
        }
        r = replace_job(store, known, resume->job, &resume->transition, err);
        if (r < 0)
                return r;
        resume->ret_outcome = AIP_RESUMPTION_RECORDED;
        return 0;
}

const struct memory_call aip_memory_resume = {run_resume};

void aip_memory_jobs_deinit(struct memory_store *store)
{
        struct memory_key *key;
        struct memory_backlog *backlog;
        struct memory_thread *thread;
        size_t cursor = 0;

        for (size_t i = 0; i < store->n_jobs; i++)
                job_free(store->jobs[i]);
        aip_free(store->jobs);
        while ((key = aip_hash_map_next(&store->keys, &cursor, NULL)))
                aip_free(key);
        aip_hash_map_deinit(&store->keys);
        cursor = 0;
        while ((thread = aip_hash_map_next(&store->threads, &cursor, NULL)))
                aip_free(thread);
        aip_hash_map_deinit(&store->threads);
        cursor = 0;
        while ((backlog = aip_hash_map_next(&store->backlogs, &cursor, NULL)))
                aip_free(backlog);
        aip_hash_map_deinit(&store->backlogs);
}
