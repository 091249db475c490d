/*
 * The operations on jobs: create, fetch, list, cancel, claim, finish, resume. Run by the store's threads
 * inside a transaction; all but fetch and list hold the write lock, so that reading a job, moving
 * it by the domain's method and saving it is one step. Must never answer before the commit: answers
 * stay in the request until `deliver`.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"

static struct aip_job_create *create_of(struct sqlite_request *rq)
{
        return AIP_CONTAINER_OF(rq->op, struct aip_job_create, op);
}

/* 1 when the key was used by another job: then the answer is there. */
static int find_key(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_job_create *create = create_of(rq);
        struct sqlite_answer *answer = &rq->answer;
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_KEY_FIND, &s, err), is_same;

        if (r < 0)
                return r;
        aip_sqlite_bind_text(s, 1, create->idempotency_key);
        r = aip_sqlite_step(db, s, err);
        if (r <= 0)
                return r;
        answer->job_id = aip_sqlite_id(s, 0);
        is_same = sqlite3_column_bytes(s, 1) == sizeof(create->fingerprint) &&
                  memcmp(sqlite3_column_blob(s, 1), create->fingerprint,
                         sizeof(create->fingerprint)) == 0;
        answer->outcome = is_same ? AIP_CREATE_REPLAYED : AIP_CREATE_KEY_REUSED;
        r = aip_job_status_parse(aip_sqlite_text(s, 2), &answer->status, err);
        sqlite3_reset(s);
        if (r < 0)
                return r;
        return !aip_id_equal(&answer->job_id, &aip_job_fields(create->job)->id);
}

static int insert_key(struct sqlite_db *db, const struct aip_job_create *create, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_KEY_INSERT, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_text(s, 1, create->idempotency_key);
        aip_sqlite_bind_id(s, 2, &aip_job_fields(create->job)->id);
        sqlite3_bind_blob(s, 3, create->fingerprint, sizeof(create->fingerprint), SQLITE_STATIC);
        sqlite3_bind_int64(s, 4, db->now_us);
        return aip_sqlite_step(db, s, err);
}

/* 1 and the job's status when it is there. */
static int find_status(struct sqlite_db *db, const struct aip_id *id,
                       enum aip_job_status *ret_status, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOB_STATUS, &s, err), found;

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, id);
        found = aip_sqlite_step(db, s, err);
        if (found <= 0)
                return found;
        r = aip_job_status_parse(aip_sqlite_text(s, 0), ret_status, err);
        sqlite3_reset(s);
        return r < 0 ? r : 1;
}

int aip_sqlite_thread_use(struct sqlite_db *db, const struct aip_id *thread_id, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_THREAD_USE, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, thread_id);
        sqlite3_bind_int64(s, 2, db->now_us);
        return aip_sqlite_step(db, s, err);
}

int aip_sqlite_thread_is_busy(struct sqlite_db *db, const struct aip_id *thread_id, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_THREAD_IS_BUSY, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, thread_id);
        r = aip_sqlite_step(db, s, err);
        sqlite3_reset(s);
        return r;
}

static int insert_job(struct sqlite_db *db, struct sqlite_request *rq, const aip_job *job,
                      aip_error **err)
{
        const struct aip_job_create *create = create_of(rq);
        struct aip_transition *created = &rq->answer.transition;
        int r;

        *created = aip_job_created(job);
        r = aip_sqlite_job_insert(db, job, !created->is_runnable, err);
        if (r >= 0 && !aip_str_is_empty(create->idempotency_key))
                r = insert_key(db, create, err);
        if (r >= 0)
                r = aip_sqlite_outbox_insert(db, created, err);
        return r;
}

static int cancel_job(struct sqlite_db *db, struct sqlite_answer *answer, aip_job *job,
                      aip_error **err)
{
        enum aip_job_status from = aip_job_fields(job)->status;
        int r;

        answer->status = from;
        answer->outcome = AIP_CANCEL_ALREADY_ENDED;
        if (aip_job_status_is_terminal(from))
                return 0;
        r = aip_job_cancel(job, db->now_us, &answer->transition, err);
        if (r < 0)
                return r;
        answer->status = AIP_JOB_CANCELLED;
        answer->outcome = AIP_CANCEL_CANCELLED;
        return aip_sqlite_job_save(db, job, from, NULL, &answer->transition, err);
}

/* All jobs of the thread that have not ended are cancelled; the number of the first checkpoint that one of them has
 * made, 0: none has. */
static int clear_thread(struct sqlite_db *db, const struct aip_id *thread_id, int64_t *ret_first,
                        aip_error **err)
{
        struct sqlite_answer ended = {0};
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_THREAD_FIRST_LIVE, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, thread_id);
        if ((r = aip_sqlite_step(db, s, err)) > 0)
                *ret_first = sqlite3_column_int64(s, 0);
        sqlite3_reset(s);
        if (r >= 0)
                r = aip_sqlite_prepare(db, SQL_THREAD_LIVE, &s, err);
        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, thread_id);
        r = aip_sqlite_jobs_read(db, s, &ended.jobs, &ended.n, err);
        for (size_t i = 0; r >= 0 && i < ended.n; i++)
                r = cancel_job(db, &ended, ended.jobs[i], err);
        aip_sqlite_jobs_free(ended.jobs, ended.n);
        return r;
}

/* The others of its thread end, then it is alone. */
static int insert_alone(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_job_create *create = create_of(rq);
        const struct aip_job_fields *f = aip_job_fields(create->job);
        aip_job *job = NULL;
        int64_t first = 0;
        int r = clear_thread(db, &f->thread_id, &first, err);

        if (r >= 0 && (create->strategy != AIP_THREAD_ROLLBACK || first == 0 || f->checkpoint != 0))
                return insert_job(db, rq, create->job, err);
        if (r >= 0)
                r = aip_job_copy(create->job, &job, err);
        if (r >= 0)
                r = aip_job_begin_at(job, first > 1 ? first - 1 : AIP_JOB_NO_STATE, err);
        if (r >= 0)
                r = insert_job(db, rq, job, err);
        aip_job_free(job);
        return r;
}

/* The job waits when another of its thread has not ended, or is refused, or ends the others. */
static int insert_into_thread(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_job_create *create = create_of(rq);
        const struct aip_id *thread_id = &aip_job_fields(create->job)->thread_id;
        aip_job *waiting = NULL;
        int is_busy = aip_sqlite_thread_is_busy(db, thread_id, err), r;

        if (is_busy < 0)
                return is_busy;
        if (is_busy && create->strategy == AIP_THREAD_REJECT) {
                rq->answer.outcome = AIP_CREATE_THREAD_BUSY;
                return 0;
        }
        r = aip_sqlite_thread_use(db, thread_id, err);
        if (r >= 0 && is_busy && create->strategy >= AIP_THREAD_INTERRUPT)
                return insert_alone(db, rq, err);
        if (r >= 0 && !is_busy)
                return insert_job(db, rq, create->job, err);
        if (r >= 0)
                r = aip_job_copy(create->job, &waiting, err);
        if (r >= 0)
                r = aip_job_hold(waiting, err);
        if (r >= 0)
                r = insert_job(db, rq, waiting, err);
        aip_job_free(waiting);
        return r;
}

static int run_create(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        const struct aip_job_create *create = create_of(rq);
        const struct aip_job_fields *fields = aip_job_fields(create->job);
        struct sqlite_answer *answer = &rq->answer;
        int r = 0;

        if (!aip_str_is_empty(create->idempotency_key))
                r = find_key(db, rq, err);
        if (r != 0)
                return r;
        answer->outcome = AIP_CREATE_CREATED;
        answer->job_id = fields->id;
        answer->transition = aip_job_created(create->job);
        r = find_status(db, &fields->id, &answer->status, err);
        if (r != 0)
                return r; /* it is there already: a repetition */
        answer->status = fields->status;
        if (!aip_id_is_nil(&fields->thread_id))
                return insert_into_thread(db, rq, err);
        return insert_job(db, rq, create->job, err);
}

static void deliver_create(struct sqlite_request *rq)
{
        struct aip_job_create *create = create_of(rq);

        create->ret_outcome = (enum aip_create_outcome)rq->answer.outcome;
        create->ret_job_id = rq->answer.job_id;
        create->ret_status = rq->answer.status;
        if (create->ret_outcome == AIP_CREATE_CREATED)
                create->ret_transition = rq->answer.transition;
}

const struct sqlite_call aip_sqlite_create = {1, run_create, deliver_create};

/* 1 and the job, owned by caller, when it is there; also its session (nil: none). */
static int fetch_job(struct sqlite_db *db, const struct aip_id *id, aip_job **ret_job,
                     aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOB_FETCH, &s, err), found;

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, id);
        found = aip_sqlite_step(db, s, err);
        if (found <= 0)
                return found;
        r = aip_sqlite_job_read(s, ret_job, err);
        sqlite3_reset(s);
        return r < 0 ? r : 1;
}

static int hold_one(struct sqlite_answer *answer, aip_job *job, aip_error **err)
{
        answer->jobs = aip_calloc(1, sizeof(aip_job *));
        if (!answer->jobs) {
                aip_job_free(job);
                return aip_error_set_nomem(err);
        }
        answer->jobs[0] = job;
        answer->n = 1;
        return 0;
}

static int run_fetch(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_job_fetch *fetch = AIP_CONTAINER_OF(rq->op, struct aip_job_fetch, op);
        aip_job *job = NULL;
        int found = fetch_job(db, &fetch->id, &job, err);

        return found <= 0 ? found : hold_one(&rq->answer, job, err);
}

static void deliver_fetch(struct sqlite_request *rq)
{
        struct aip_job_fetch *fetch = AIP_CONTAINER_OF(rq->op, struct aip_job_fetch, op);

        fetch->ret_job = rq->answer.n > 0 ? AIP_TAKE(rq->answer.jobs[0]) : NULL;
}

const struct sqlite_call aip_sqlite_fetch = {0, run_fetch, deliver_fetch};

/* ",QUEUED,FAILED," for the statuses of `mask`. */
static int print_statuses(uint32_t mask, struct aip_buf *out)
{
        int r = aip_buf_append_char(out, ',');

        for (unsigned status = 0; r >= 0 && status < AIP_JOB_STATUSES; status++)
                if (mask & 1u << status)
                        r = aip_buf_printf(out, "%s,",
                                           aip_job_status_name((enum aip_job_status)status));
        return r;
}

static void bind_filter(sqlite3_stmt *s, int at, struct aip_str text)
{
        if (!aip_str_is_empty(text))
                aip_sqlite_bind_text(s, at, text);
}

/* Longer than an id, and so greater than the greatest. */
static const uint8_t beyond_every_id[17] = {255, 255, 255, 255, 255, 255, 255, 255, 255,
                                            255, 255, 255, 255, 255, 255, 255, 255};

static int run_list(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_job_list *list = AIP_CONTAINER_OF(rq->op, struct aip_job_list, op);
        _cleanup_(aip_buf_deinit) struct aip_buf statuses = AIP_BUF_INIT(100);
        struct sqlite_answer *answer = &rq->answer;
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOB_LIST, &s, err);

        if (r < 0)
                return r;
        if (print_statuses(list->status_mask, &statuses) < 0)
                return aip_error_set_nomem(err);
        if (aip_id_is_nil(&list->before))
                sqlite3_bind_blob(s, 1, beyond_every_id, sizeof(beyond_every_id), SQLITE_STATIC);
        else
                aip_sqlite_bind_id(s, 1, &list->before);
        if (list->status_mask != 0)
                aip_sqlite_bind_text(s, 2, aip_buf_str(&statuses));
        bind_filter(s, 3, list->config_name);
        bind_filter(s, 4, list->template_name);
        aip_sqlite_bind_time(s, 5, list->created_from_us);
        aip_sqlite_bind_time(s, 6, list->created_until_us);
        sqlite3_bind_int64(s, 7, (int64_t)list->limit + 1);
        if (!aip_id_is_nil(&list->thread_id))
                aip_sqlite_bind_id(s, 8, &list->thread_id);
        r = aip_sqlite_jobs_read(db, s, &answer->jobs, &answer->n, err);
        sqlite3_clear_bindings(s);
        if (r < 0)
                return r;
        answer->flag = answer->n > list->limit;
        if (answer->flag)
                aip_job_free(AIP_TAKE(answer->jobs[--answer->n]));
        return 0;
}

static void deliver_list(struct sqlite_request *rq)
{
        struct aip_job_list *list = AIP_CONTAINER_OF(rq->op, struct aip_job_list, op);

        list->ret_jobs = AIP_TAKE(rq->answer.jobs);
        list->ret_n = rq->answer.n;
        list->ret_has_more = rq->answer.flag;
}

const struct sqlite_call aip_sqlite_list = {0, run_list, deliver_list};

static int run_cancel(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_job_cancellation *cancel =
                AIP_CONTAINER_OF(rq->op, struct aip_job_cancellation, op);
        aip_job *job = NULL;
        int r = fetch_job(db, &cancel->id, &job, err);

        rq->answer.outcome = AIP_CANCEL_NOT_FOUND;
        if (r > 0)
                r = cancel_job(db, &rq->answer, job, err);
        aip_job_free(job);
        return r;
}

static void deliver_cancel(struct sqlite_request *rq)
{
        struct aip_job_cancellation *cancel =
                AIP_CONTAINER_OF(rq->op, struct aip_job_cancellation, op);

        cancel->ret_outcome = (enum aip_cancel_outcome)rq->answer.outcome;
        if (cancel->ret_outcome != AIP_CANCEL_NOT_FOUND)
                cancel->ret_status = rq->answer.status;
        if (cancel->ret_outcome == AIP_CANCEL_CANCELLED)
                cancel->ret_transition = rq->answer.transition;
}

const struct sqlite_call aip_sqlite_cancel = {1, run_cancel, deliver_cancel};

/* Start a queued, due job for the claim's session; `job` is consumed always. */
static int start_job(struct sqlite_db *db, const struct aip_job_claim *claim,
                     struct sqlite_answer *answer, aip_job *job, aip_error **err)
{
        struct aip_transition *transition = &answer->transitions[answer->n];
        int r = aip_job_start(job, db->now_us, transition, err);

        if (r >= 0)
                r = aip_sqlite_job_save(db, job, AIP_JOB_QUEUED, &claim->session, transition, err);
        if (r <= 0) {
                aip_job_free(job);
                return r;
        }
        answer->jobs[answer->n++] = job;
        return 0;
}

static int claim_ids(struct sqlite_db *db, const struct aip_job_claim *claim,
                     struct sqlite_answer *answer, aip_error **err)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < claim->n_ids && answer->n < claim->limit; i++) {
                sqlite3_stmt *s = NULL;
                aip_job **found = NULL;
                size_t n = 0;
                r = aip_sqlite_prepare(db, SQL_JOB_FETCH_QUEUED, &s, err);
                if (r < 0)
                        return r;
                aip_sqlite_bind_id(s, 1, &claim->ids[i]);
                sqlite3_bind_int64(s, 2, db->now_us);
                r = aip_sqlite_jobs_read(db, s, &found, &n, err);
                if (r >= 0 && n > 0)
                        r = start_job(db, claim, answer, found[0], err);
                aip_free(found);
        }
        return r;
}

#define NAMES_MAX_BYTES (64u << 20)

/* Names of configurations with jobs in the queue, each ended by a zero byte. */
struct names {
        struct aip_buf text;
        size_t n;
};

static int is_without(const struct aip_job_claim *claim, struct aip_str config_name)
{
        for (size_t i = 0; i < claim->n_without_configs; i++)
                if (aip_str_eq(claim->without_configs[i], config_name))
                        return 1;
        return 0;
}

static int add_name(struct names *names, struct aip_str name, aip_error **err)
{
        if (aip_buf_append(&names->text, name) < 0 || aip_buf_append_char(&names->text, '\0') < 0)
                return aip_error_set_nomem(err);
        names->n++;
        return 0;
}

/* Replace `last` by the next name; 0 when there is none. */
static int next_name(struct sqlite_db *db, struct aip_buf *last, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOBS_NEXT_CONFIG, &s, err);

        if (r < 0)
                return r;
        sqlite3_bind_text(s, 1, last->p ? last->p : "", (int)last->n, SQLITE_TRANSIENT);
        r = aip_sqlite_step(db, s, err);
        if (r > 0) {
                last->n = 0;
                if (aip_buf_append(last, aip_sqlite_text(s, 0)) < 0)
                        r = aip_error_set_nomem(err);
        }
        sqlite3_reset(s);
        return r;
}

static int read_names(struct sqlite_db *db, const struct aip_job_claim *claim, struct names *names,
                      aip_error **err)
{
        struct aip_buf last = AIP_BUF_INIT(NAMES_MAX_BYTES);
        int r;

        while ((r = next_name(db, &last, err)) > 0) {
                if (!is_without(claim, aip_buf_str(&last)))
                        r = add_name(names, aip_buf_str(&last), err);
                if (r < 0)
                        break;
        }
        aip_buf_deinit(&last);
        return r;
}

/* At most `limit` jobs of one configuration, the longest due first. */
static int claim_due_of(struct sqlite_db *db, const struct aip_job_claim *claim,
                        struct aip_str config_name, size_t limit, struct sqlite_answer *answer,
                        aip_error **err)
{
        sqlite3_stmt *s = NULL;
        aip_job **found = NULL;
        size_t n = 0;
        int r = aip_sqlite_prepare(db, SQL_JOBS_DUE, &s, err);

        if (r < 0)
                return r;
        sqlite3_bind_int64(s, 1, db->now_us - claim->min_due_ms * 1000);
        sqlite3_bind_int64(s, 2, (int64_t)limit);
        sqlite3_bind_text(s, 3, config_name.p, (int)config_name.n, SQLITE_STATIC);
        r = aip_sqlite_jobs_read(db, s, &found, &n, err);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = start_job(db, claim, answer, AIP_TAKE(found[i]), err);
        aip_sqlite_jobs_free(found, n);
        return r;
}

/* One round over the names: an equal part of what is left for each. Names that had less are dropped. */
static int claim_round(struct sqlite_db *db, const struct aip_job_claim *claim, struct names *names,
                       struct sqlite_answer *answer, aip_error **err)
{
        struct names left = {.text = AIP_BUF_INIT(NAMES_MAX_BYTES)};
        const char *name = names->text.p;
        int r = 0;

        for (size_t i = names->n; r >= 0 && i > 0 && answer->n < claim->limit; i--) {
                size_t part = (claim->limit - answer->n + i - 1) / i, had = answer->n;

                r = claim_due_of(db, claim, aip_str_of(name), part, answer, err);
                if (r >= 0 && answer->n - had == part)
                        r = add_name(&left, aip_str_of(name), err);
                name += strlen(name) + 1;
        }
        aip_buf_deinit(&names->text);
        *names = left;
        return r;
}

static int claim_due(struct sqlite_db *db, const struct aip_job_claim *claim,
                     struct sqlite_answer *answer, aip_error **err)
{
        struct names names = {.text = AIP_BUF_INIT(NAMES_MAX_BYTES)};
        int r = read_names(db, claim, &names, err);

        while (r >= 0 && names.n > 0 && answer->n < claim->limit)
                r = claim_round(db, claim, &names, answer, err);
        aip_buf_deinit(&names.text);
        return r;
}

static int run_claim(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_job_claim *claim = AIP_CONTAINER_OF(rq->op, struct aip_job_claim, op);
        struct sqlite_answer *answer = &rq->answer;
        int r;

        answer->jobs = aip_calloc(claim->limit, sizeof(aip_job *));
        answer->transitions = aip_calloc(claim->limit, sizeof(struct aip_transition));
        if (!answer->jobs || !answer->transitions)
                return aip_error_set_nomem(err);
        r = aip_sqlite_session_renew(db, &claim->session, claim->lease_ms, err);
        if (r < 0)
                return r;
        r = aip_sqlite_read_int(db, SQL_REVISION, &answer->number, err);
        if (r < 0)
                return r;
        return claim->n_ids > 0 ? claim_ids(db, claim, answer, err)
                                : claim_due(db, claim, answer, err);
}

static void deliver_claim(struct sqlite_request *rq)
{
        struct aip_job_claim *claim = AIP_CONTAINER_OF(rq->op, struct aip_job_claim, op);

        claim->ret_jobs = AIP_TAKE(rq->answer.jobs);
        claim->ret_transitions = AIP_TAKE(rq->answer.transitions);
        claim->ret_n = rq->answer.n;
        claim->ret_catalog_revision = rq->answer.number;
}

const struct sqlite_call aip_sqlite_claim = {1, run_claim, deliver_claim};

static int run_finish(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_job_finish *finish = AIP_CONTAINER_OF(rq->op, struct aip_job_finish, op);
        struct sqlite_answer *answer = &rq->answer;
        int r;

        answer->transition = finish->transition;
        r = aip_sqlite_job_save(db, finish->job, AIP_JOB_PROCESSING, NULL, &answer->transition,
                                err);
        answer->outcome = r > 0 ? AIP_FINISH_RECORDED : AIP_FINISH_STALE;
        return r;
}

static void deliver_finish(struct sqlite_request *rq)
{
        struct aip_job_finish *finish = AIP_CONTAINER_OF(rq->op, struct aip_job_finish, op);

        finish->ret_outcome = (enum aip_finish_outcome)rq->answer.outcome;
        if (finish->ret_outcome == AIP_FINISH_RECORDED)
                finish->transition.outbox_id = rq->answer.transition.outbox_id;
}

const struct sqlite_call aip_sqlite_finish = {1, run_finish, deliver_finish};

static int run_resume(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_job_resumption *resume = AIP_CONTAINER_OF(rq->op, struct aip_job_resumption, op);
        struct sqlite_answer *answer = &rq->answer;
        int r;

        answer->transition = resume->transition;
        answer->outcome = AIP_RESUMPTION_RECORDED;
        r = aip_sqlite_job_save(db, resume->job, AIP_JOB_INTERRUPTED, NULL, &answer->transition,
                                err);
        if (r != 0)
                return r;
        answer->outcome = AIP_RESUMPTION_REFUSED;
        answer->status = AIP_JOB_CANCELLED;
        return find_status(db, &aip_job_fields(resume->job)->id, &answer->status, err);
}

static void deliver_resume(struct sqlite_request *rq)
{
        struct aip_job_resumption *resume = AIP_CONTAINER_OF(rq->op, struct aip_job_resumption, op);

        resume->ret_outcome = (enum aip_resumption_outcome)rq->answer.outcome;
        if (resume->ret_outcome == AIP_RESUMPTION_REFUSED)
                resume->ret_status = rq->answer.status;
        else
                resume->transition.outbox_id = rq->answer.transition.outbox_id;
}

const struct sqlite_call aip_sqlite_resume = {1, run_resume, deliver_resume};
