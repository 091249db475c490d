/*
 * Worker sessions of the in-memory store: their leases, and what happens to the jobs of one that
 * leaves or dies. Called by memory_store.c, and by memory_jobs.c when a claim renews a lease. Must
 * never let a session claim again once it was lost: its worker may believe things that are over.
 */
#include "macros.h"
#include "mem.h"
#include "memory/memory_store.h"
#include "store/fences.h"

#define TOMBSTONE_MS (24 * 60 * 60 * 1000) /* how long a lost session is remembered */

static struct memory_session *session_new(struct memory_store *store, const struct aip_id *id)
{
        struct memory_session *session = aip_calloc(1, sizeof(*session));

        if (!session)
                return NULL;
        session->id = *id;
        aip_list_init(&session->jobs);
        if (aip_hash_map_set_id(&store->sessions, id, session, NULL) < 0) {
                aip_free(session);
                return NULL;
        }
        return session;
}

int aip_memory_session_renew(struct memory_store *store, const struct aip_id *id, int64_t lease_ms,
                             struct memory_session **ret_session, aip_error **err)
{
        struct memory_session *session = aip_hash_map_get_id(&store->sessions, id);

        if (session && session->is_lost)
                return aip_error_set(err, AIP_ESTATE, "the worker's session was lost");
        if (!session)
                session = session_new(store, id);
        if (!session)
                return aip_error_set_nomem(err);
        session->lease_until_ms = aip_now_ms(store->loop) + lease_ms;
        *ret_session = session;
        return 0;
}

static struct memory_job *job_of(struct aip_list *node)
{
        return AIP_LIST_ENTRY(node, struct memory_job, in_session);
}

static size_t count_jobs(const struct memory_session *session)
{
        size_t n = 0;

        if (session)
                AIP_LIST_FOREACH (node, &session->jobs)
                        n++;
        return n;
}

/* The fences of all jobs under `session` (may be NULL). */
static int list_owned(const struct memory_session *session, struct aip_fence **ret_fences,
                      size_t *ret_n, aip_error **err)
{
        size_t n = 0;
        struct aip_fence *owned = aip_calloc(count_jobs(session) + 1, sizeof(*owned));

        if (!owned)
                return aip_error_set_nomem(err);
        if (session)
                AIP_LIST_FOREACH (node, &session->jobs) {
                        const struct aip_job_fields *f = aip_job_fields(job_of(node)->job);
                        owned[n++] = (struct aip_fence){f->id, f->version};
                }
        *ret_fences = owned;
        *ret_n = n;
        return 0;
}

static int run_heartbeat(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_heartbeat *beat = AIP_CONTAINER_OF(op, struct aip_heartbeat, op);
        struct memory_session *session = aip_hash_map_get_id(&store->sessions, &beat->session);
        int is_lost = session ? session->is_lost : beat->n_running > 0;
        _cleanup_(aip_free_p) struct aip_fence *owned = NULL;
        struct aip_fence_diff diff = {0};
        size_t n_owned = 0;
        int r;

        r = list_owned(is_lost ? NULL : session, &owned, &n_owned, err);
        if (r < 0)
                return r;
        r = aip_fences_diff(beat->running, beat->n_running, owned, n_owned, &diff, err);
        if (r < 0)
                return r;
        if (session && !is_lost)
                session->lease_until_ms = aip_now_ms(store->loop) + beat->lease_ms;
        beat->ret_is_lost = is_lost;
        beat->ret_gone = diff.gone;
        beat->ret_n_gone = diff.n_gone;
        beat->ret_unknown = diff.unknown;
        beat->ret_n_unknown = diff.n_unknown;
        return 0;
}

const struct memory_call aip_memory_heartbeat = {run_heartbeat};

static struct memory_job *find_fenced(struct memory_store *store,
                                      const struct memory_session *session,
                                      const struct aip_fence *fence)
{
        struct memory_job *known = aip_memory_job_find(store, &fence->job_id);

        if (!known || known->session != session)
                return NULL;
        return aip_job_fields(known->job)->version == fence->version ? known : NULL;
}

/* Releases what is listed; all else, too, when the worker leaves. A failure in the middle leaves
 * whole jobs behind on either side: repeating the call does the rest. */
static int release_jobs(struct memory_store *store, const struct aip_release *release,
                        struct memory_session *session, struct aip_transition *transitions,
                        size_t *n, aip_error **err)
{
        struct memory_job *known = NULL;
        struct aip_list *node;
        int r;

        for (size_t i = 0; i < release->n_fences; i++) {
                known = find_fenced(store, session, &release->fences[i]);
                if (!known)
                        continue;
                r = aip_memory_job_move(store, known, aip_job_release, NULL, &transitions[*n], err);
                if (r < 0)
                        return r;
                (*n)++;
        }
        while (release->is_leaving && (node = aip_list_first(&session->jobs))) {
                r = aip_memory_job_move(store, job_of(node), aip_job_release, NULL,
                                        &transitions[*n], err);
                if (r < 0)
                        return r;
                (*n)++;
        }
        return 0;
}

static int run_release(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_release *release = AIP_CONTAINER_OF(op, struct aip_release, op);
        struct memory_session *session = aip_hash_map_get_id(&store->sessions, &release->session);
        _cleanup_(aip_free_p) struct aip_transition *transitions = NULL;
        size_t n = 0;
        int r;

        transitions = aip_calloc(count_jobs(session) + 1, sizeof(*transitions));
        if (!transitions)
                return aip_error_set_nomem(err);
        if (session) {
                r = release_jobs(store, release, session, transitions, &n, err);
                if (r < 0)
                        return r;
        }
        if (session && release->is_leaving && !session->is_lost) {
                session->is_lost = 1;
                session->lease_until_ms = aip_now_ms(store->loop);
        }
        release->ret_transitions = AIP_TAKE(transitions);
        release->ret_n = n;
        return 0;
}

const struct memory_call aip_memory_release = {run_release};

/* Takes the jobs of a dead session away, as far as there is room. */
static int take_away(struct memory_store *store, struct memory_session *session,
                     struct aip_transition *transitions, size_t *n, size_t n_max, aip_error **err)
{
        struct aip_list *node;

        while (*n < n_max && (node = aip_list_first(&session->jobs))) {
                int r = aip_memory_job_move(store, job_of(node), aip_job_lose_worker, NULL,
                                            &transitions[*n], err);
                if (r < 0)
                        return r;
                (*n)++;
        }
        return 0;
}

static int is_forgotten(const struct memory_session *session, int64_t now_ms)
{
        return session->is_lost && aip_list_is_empty(&session->jobs) &&
               session->lease_until_ms < now_ms - TOMBSTONE_MS;
}

static int run_recover(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_chores *chores = AIP_CONTAINER_OF(op, struct aip_chores, op);
        size_t n_max = AIP_MIN(chores->limit, store->n_jobs), n = 0, cursor = 0;
        _cleanup_(aip_free_p) struct aip_transition *transitions = NULL;
        int64_t now_ms = aip_now_ms(store->loop);
        struct memory_session *session = NULL;

        transitions = aip_calloc(n_max + 1, sizeof(*transitions));
        if (!transitions)
                return aip_error_set_nomem(err);
        while ((session = aip_hash_map_next(&store->sessions, &cursor, NULL))) {
                if (session->lease_until_ms <= now_ms)
                        session->is_lost = 1;
                if (session->is_lost) {
                        int r = take_away(store, session, transitions, &n, n_max, err);
                        if (r < 0)
                                return r;
                }
                if (is_forgotten(session, now_ms)) {
                        aip_hash_map_remove_id(&store->sessions, &session->id);
                        aip_free(session);
                }
        }
        chores->ret_transitions = AIP_TAKE(transitions);
        chores->ret_n = n;
        return 0;
}

const struct memory_call aip_memory_recover = {run_recover};

void aip_memory_sessions_deinit(struct memory_store *store)
{
        struct memory_session *session = NULL;
        size_t cursor = 0;

        while ((session = aip_hash_map_next(&store->sessions, &cursor, NULL)))
                aip_free(session);
        aip_hash_map_deinit(&store->sessions);
}
