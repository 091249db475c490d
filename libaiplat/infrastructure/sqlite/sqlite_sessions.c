/*
 * Worker sessions: heartbeat, release, recover, and the lease that a claim makes or renews. Run by
 * the write thread inside a transaction. Must never bring a lost session back: its row stays as a
 * tombstone for a day.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"

#define TOMBSTONE_US (INT64_C(24) * 60 * 60 * 1000000)

enum session_state { SESSION_UNKNOWN, SESSION_ACTIVE, SESSION_LOST };

static int find_state(struct sqlite_db *db, const struct aip_id *session,
                      enum session_state *ret_state, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_SESSION_STATE, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, session);
        r = aip_sqlite_step(db, s, err);
        if (r < 0)
                return r;
        *ret_state = SESSION_UNKNOWN;
        if (r > 0) {
                *ret_state = aip_str_eq(aip_sqlite_text(s, 0), AIP_STR("lost")) ? SESSION_LOST
                                                                                : SESSION_ACTIVE;
                sqlite3_reset(s);
        }
        return 0;
}

/* Run a statement whose first two parameters are a session and a time. */
static int run_on_session(struct sqlite_db *db, enum sqlite_sql sql, const struct aip_id *session,
                          int64_t time_us, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, sql, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, session);
        sqlite3_bind_int64(s, 2, time_us);
        if (sqlite3_bind_parameter_count(s) > 2)
                sqlite3_bind_int64(s, 3, db->now_us);
        return aip_sqlite_step(db, s, err);
}

int aip_sqlite_session_renew(struct sqlite_db *db, const struct aip_id *session, int64_t lease_ms,
                             aip_error **err)
{
        enum session_state state = SESSION_UNKNOWN;
        int r = find_state(db, session, &state, err);

        if (r < 0)
                return r;
        if (state == SESSION_LOST)
                return aip_error_set(err, AIP_ESTATE, "the worker's session was lost");
        return run_on_session(db, SQL_SESSION_RENEW, session, db->now_us + lease_ms * 1000, err);
}

static int list_owned(struct sqlite_db *db, const struct aip_id *session,
                      struct aip_fence **ret_fences, size_t *ret_n, aip_error **err)
{
        _cleanup_(aip_free_p) struct aip_fence *fences = NULL;
        size_t n = 0, capacity = 0;
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_FENCES_OF_SESSION, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, session);
        while ((r = aip_sqlite_step(db, s, err)) > 0) {
                if (n == capacity) {
                        struct aip_fence *grown =
                                aip_realloc_array(fences, 2 * capacity + 64, sizeof(*fences));
                        if (!grown) {
                                sqlite3_reset(s);
                                return aip_error_set_nomem(err);
                        }
                        fences = grown;
                        capacity = 2 * capacity + 64;
                }
                fences[n++] = (struct aip_fence){aip_sqlite_id(s, 0), sqlite3_column_int64(s, 1)};
        }
        if (r < 0)
                return r;
        *ret_fences = AIP_TAKE(fences);
        *ret_n = n;
        return 0;
}

static int run_heartbeat(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_heartbeat *beat = AIP_CONTAINER_OF(rq->op, struct aip_heartbeat, op);
        _cleanup_(aip_free_p) struct aip_fence *owned = NULL;
        enum session_state state = SESSION_UNKNOWN;
        size_t n_owned = 0;
        int r = find_state(db, &beat->session, &state, err);

        if (r < 0)
                return r;
        rq->answer.flag =
                state == SESSION_LOST || (state == SESSION_UNKNOWN && beat->n_running > 0);
        if (!rq->answer.flag) {
                r = run_on_session(db, SQL_SESSION_KEEP, &beat->session,
                                   db->now_us + beat->lease_ms * 1000, err);
                if (r >= 0)
                        r = list_owned(db, &beat->session, &owned, &n_owned, err);
                if (r < 0)
                        return r;
        }
        return aip_fences_diff(beat->running, beat->n_running, owned, n_owned, &rq->answer.fences,
                               err);
}

static void deliver_heartbeat(struct sqlite_request *rq)
{
        struct aip_heartbeat *beat = AIP_CONTAINER_OF(rq->op, struct aip_heartbeat, op);
        struct aip_fence_diff *diff = &rq->answer.fences;

        beat->ret_is_lost = rq->answer.flag;
        beat->ret_gone = AIP_TAKE(diff->gone);
        beat->ret_n_gone = diff->n_gone;
        beat->ret_unknown = AIP_TAKE(diff->unknown);
        beat->ret_n_unknown = diff->n_unknown;
}

const struct sqlite_call aip_sqlite_heartbeat = {1, run_heartbeat, deliver_heartbeat};

typedef int job_move(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                     aip_error **err);

/* Move PROCESSING jobs and save them; their transitions are appended to the answer. */
static int move_jobs(struct sqlite_db *db, struct sqlite_answer *answer, aip_job **jobs, size_t n,
                     job_move *move, aip_error **err)
{
        for (size_t i = 0; i < n; i++) {
                struct aip_transition *transition = &answer->transitions[answer->n];
                int r = move(jobs[i], db->now_us, transition, err);
                if (r >= 0)
                        r = aip_sqlite_job_save(db, jobs[i], AIP_JOB_PROCESSING, NULL, transition,
                                                err);
                if (r < 0)
                        return r;
                answer->n += (size_t)r;
        }
        return 0;
}

static int is_listed(const struct aip_release *release, const aip_job *job)
{
        const struct aip_job_fields *f = aip_job_fields(job);

        for (size_t i = 0; i < release->n_fences; i++)
                if (aip_id_equal(&release->fences[i].job_id, &f->id) &&
                    release->fences[i].version == f->version)
                        return 1;
        return 0;
}

/* Drop the jobs that are not to be released. */
static void keep_listed(const struct aip_release *release, aip_job **jobs, size_t *n)
{
        size_t kept = 0;

        for (size_t i = 0; i < *n; i++) {
                if (release->is_leaving || is_listed(release, jobs[i]))
                        jobs[kept++] = jobs[i];
                else
                        aip_job_free(jobs[i]);
        }
        *n = kept;
}

static int run_release(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_release *release = AIP_CONTAINER_OF(rq->op, struct aip_release, op);
        aip_job **jobs = NULL;
        size_t n = 0;
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOBS_OF_SESSION, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, &release->session);
        r = aip_sqlite_jobs_read(db, s, &jobs, &n, err);
        if (r < 0)
                return r;
        keep_listed(release, jobs, &n);
        rq->answer.transitions = aip_calloc(n + 1, sizeof(struct aip_transition));
        r = rq->answer.transitions ? 0 : aip_error_set_nomem(err);
        if (r >= 0)
                r = move_jobs(db, &rq->answer, jobs, n, aip_job_release, err);
        if (r >= 0 && release->is_leaving)
                r = run_on_session(db, SQL_SESSION_LEAVE, &release->session, db->now_us, err);
        aip_sqlite_jobs_free(jobs, n);
        return r;
}

static void deliver_release(struct sqlite_request *rq)
{
        struct aip_release *release = AIP_CONTAINER_OF(rq->op, struct aip_release, op);

        release->ret_transitions = AIP_TAKE(rq->answer.transitions);
        release->ret_n = rq->answer.n;
}

const struct sqlite_call aip_sqlite_release = {1, run_release, deliver_release};

/* Run a statement whose only parameter is a number. */
static int run_with_number(struct sqlite_db *db, enum sqlite_sql sql, int64_t number,
                           aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, sql, &s, err);

        if (r < 0)
                return r;
        sqlite3_bind_int64(s, 1, number);
        return aip_sqlite_step(db, s, err);
}

static int take_away(struct sqlite_db *db, struct sqlite_answer *answer, size_t limit,
                     aip_error **err)
{
        aip_job **jobs = NULL;
        size_t n = 0;
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOBS_OF_LOST_SESSIONS, &s, err);

        if (r < 0)
                return r;
        sqlite3_bind_int64(s, 1, (int64_t)AIP_MIN(limit, (size_t)INT32_MAX));
        r = aip_sqlite_jobs_read(db, s, &jobs, &n, err);
        if (r < 0)
                return r;
        answer->transitions = aip_calloc(n + 1, sizeof(struct aip_transition));
        r = answer->transitions ? move_jobs(db, answer, jobs, n, aip_job_lose_worker, err)
                                : aip_error_set_nomem(err);
        aip_sqlite_jobs_free(jobs, n);
        return r;
}

static int run_recover(struct sqlite_db *db, struct sqlite_request *rq, aip_error **err)
{
        struct aip_chores *chores = AIP_CONTAINER_OF(rq->op, struct aip_chores, op);
        int r = run_with_number(db, SQL_SESSIONS_EXPIRE, db->now_us, err);

        if (r >= 0)
                r = take_away(db, &rq->answer, chores->limit, err);
        if (r >= 0)
                r = run_with_number(db, SQL_SESSIONS_PRUNE, db->now_us - TOMBSTONE_US, err);
        return r;
}

static void deliver_recover(struct sqlite_request *rq)
{
        struct aip_chores *chores = AIP_CONTAINER_OF(rq->op, struct aip_chores, op);

        chores->ret_transitions = AIP_TAKE(rq->answer.transitions);
        chores->ret_n = rq->answer.n;
}

const struct sqlite_call aip_sqlite_recover = {1, run_recover, deliver_recover};
