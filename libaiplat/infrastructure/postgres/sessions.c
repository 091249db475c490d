/*
 * Worker sessions: heartbeats, which renew one row and reconcile what the worker runs with what the
 * store has under its session, and handing jobs back.
 */
#include "pg.h"
#include "store/fences.h"

static struct aip_heartbeat *heartbeat_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_heartbeat, op);
}

static struct aip_release *release_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_release, op);
}

static const struct pg_statement renew_statement = {
        PG_STATEMENT_RENEW,
        "WITH renewed AS (UPDATE worker_sessions SET lease_until = greatest(lease_until, "
        "now() + $2::bigint * interval '1 millisecond') WHERE id = $1::uuid AND state = 'active' "
        "RETURNING id) SELECT EXISTS (SELECT 1 FROM renewed), "
        "EXISTS (SELECT 1 FROM worker_sessions WHERE id = $1::uuid)",
};

static const struct pg_statement mine_statement = {
        PG_STATEMENT_MINE,
        "SELECT id, version FROM jobs WHERE status = 'PROCESSING' AND session = $1::uuid",
};

static int send_heartbeat(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_heartbeat *beat = heartbeat_of(batch);
        pg_scalar(p);
        pg_put_id(p, &beat->session);
        pg_scalar(p);
        pg_put_int8(p, beat->lease_ms);
        int r = pg_lane_send(lane, batch, &renew_statement);
        if (r < 0)
                return r;
        pg_scalar(p);
        pg_put_id(p, &beat->session);
        return pg_lane_send(lane, batch, &mine_statement);
}

static int read_heartbeat(struct aip_heartbeat *beat, struct pg_batch *batch, aip_error **err)
{
        int is_renewed = pg_get_bool(batch->results[0], 0, 0);
        int is_known = pg_get_bool(batch->results[0], 0, 1);
        int is_lost = is_known ? !is_renewed : !is_renewed && beat->n_running > 0;
        size_t n = is_lost ? 0 : (size_t)PQntuples(batch->results[1]);
        _cleanup_(aip_free_p) struct aip_fence *owned = calloc(n + 1, sizeof(*owned));
        struct aip_fence_diff diff = {0};
        if (!owned)
                return aip_error_set_nomem(err);
        for (size_t i = 0; i < n; i++) {
                owned[i].job_id = pg_get_id(batch->results[1], (int)i, 0);
                owned[i].version = pg_get_int8(batch->results[1], (int)i, 1);
        }
        int r = aip_fences_diff(beat->running, beat->n_running, owned, n, &diff, err);
        if (r < 0)
                return r;
        beat->ret_is_lost = is_lost;
        beat->ret_gone = diff.gone;
        beat->ret_n_gone = diff.n_gone;
        beat->ret_unknown = diff.unknown;
        beat->ret_n_unknown = diff.n_unknown;
        return 0;
}

static void heartbeat_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0] || batch->n_results < 2)
                return;
        aip_error *error = NULL;
        read_heartbeat(heartbeat_of(batch), batch, &error);
        pg_batch_finish(store, batch, 0, error);
}

const struct pg_kind pg_heartbeat_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_heartbeat,
        .answered = heartbeat_answered,
};

/* First, so that its lock orders it against claims and recovery. */
static const struct pg_statement leave_statement = {
        PG_STATEMENT_LEAVE,
        "INSERT INTO worker_sessions AS s (id, state, lease_until) VALUES ($1::uuid, 'lost', "
        "now()) "
        "ON CONFLICT (id) DO UPDATE SET state = 'lost', lease_until = now() "
        "WHERE s.state = 'active'",
};

static const struct pg_statement release_statement = {
        PG_STATEMENT_RELEASE,
        "WITH held AS MATERIALIZED ("
        "SELECT j.id FROM jobs j WHERE j.status = 'PROCESSING' AND j.session = $1::uuid "
        "AND ($2::boolean OR (j.id, j.version) IN (SELECT * FROM unnest($3::uuid[], "
        "$4::bigint[]))) "
        "ORDER BY j.id FOR UPDATE OF j), "
        "moved AS (UPDATE jobs j SET status = 'QUEUED', version = j.version + 1, "
        "attempt = j.attempt - 1, session = NULL, is_delayed = false, "
        "run_at = greatest($5::timestamptz, j.updated_at), "
        "updated_at = greatest($5::timestamptz, j.updated_at) "
        "WHERE j.id = ANY (ARRAY(SELECT id FROM held)) "
        "RETURNING j.id AS job_id, j.version, "
        "j.updated_at AS at, 'released' AS kind, 'PROCESSING'::job_status AS from_status, "
        "j.status AS to_status, j.attempt, true AS is_runnable, NULL::text AS "
        "error_code), " PG_POSTED("$6::text[]") " SELECT " PG_MOVED_COLUMNS(
                "$6::text[]") " FROM moved",
};

static int send_leave(struct pg_lane *lane, struct pg_batch *batch)
{
        pg_scalar(&lane->params);
        pg_put_id(&lane->params, &release_of(batch)->session);
        return pg_lane_send(lane, batch, &leave_statement);
}

static int send_release(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_release *release = release_of(batch);
        int r = release->is_leaving ? send_leave(lane, batch) : 0;
        if (r < 0)
                return r;
        pg_scalar(p);
        pg_put_id(p, &release->session);
        pg_scalar(p);
        pg_put_bool(p, release->is_leaving);
        pg_array(p, PG_UUID);
        for (size_t i = 0; i < release->n_fences; i++)
                pg_put_id(p, &release->fences[i].job_id);
        pg_array(p, PG_INT8);
        for (size_t i = 0; i < release->n_fences; i++)
                pg_put_int8(p, release->fences[i].version);
        pg_scalar(p);
        pg_put_time(p, aip_wall_us(lane->connection.store->loop));
        pg_put_silent(p, lane->connection.store->muted_events);
        return pg_lane_send(lane, batch, &release_statement);
}

static void release_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0] || batch->n_results < 1)
                return;
        struct aip_release *release = release_of(batch);
        aip_error *error = NULL;
        pg_get_transitions(batch->results[batch->n_results - 1], &release->ret_transitions,
                           &release->ret_n, &error);
        pg_batch_finish(store, batch, 0, error);
}

/* Repeating it is harmless: what the lost answer told of waits in the outbox. */
const struct pg_kind pg_release_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_release,
        .answered = release_answered,
};
