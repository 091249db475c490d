/*
 * Housekeeping: promoting delayed jobs, recovering those of dead workers, sweeping and forgetting
 * outbox rows. Safe in any number of processes at once: locked rows are skipped. Sweeping and
 * forgetting commit without waiting for the disk, because after a crash of the server the worst is
 * a message published twice.
 */
#include "pg.h"

static struct aip_chores *chores_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_chores, op);
}

static struct pg_request *request_of(struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, struct pg_request, op);
}

static void finish_chores(struct pg_store *store, struct pg_batch *batch, const PGresult *result,
                          int64_t next_ms)
{
        if (!batch->slots[0])
                return;
        struct aip_chores *chores = chores_of(batch);
        aip_error *error = NULL;
        if (pg_get_transitions(result, &chores->ret_transitions, &chores->ret_n, &error) == 0)
                chores->ret_next_ms = next_ms;
        pg_batch_finish(store, batch, 0, error);
}

/* ---- promote ---- */

static const struct pg_statement promote_statement = {
        PG_STATEMENT_PROMOTE,
        "WITH held AS MATERIALIZED (SELECT j.id FROM jobs j WHERE j.status = 'QUEUED' "
        "AND j.is_delayed AND j.run_at <= now() ORDER BY j.run_at LIMIT $1::bigint "
        "FOR UPDATE SKIP LOCKED), "
        "moved AS (UPDATE jobs j SET is_delayed = false "
        "WHERE j.id = ANY (ARRAY(SELECT id FROM held)) "
        "RETURNING j.id AS job_id, j.version, "
        "$2::timestamptz AS at, 'due' AS kind, j.status AS from_status, j.status AS to_status, "
        "j.attempt, true AS is_runnable, NULL::text AS error_code), " PG_POSTED(
                "$3::text[]") " SELECT " PG_MOVED_COLUMNS("$3::text[]") " FROM moved",
};

static const struct pg_statement next_delayed_statement = {
        PG_STATEMENT_NEXT_DELAYED,
        "SELECT greatest(ceil(extract(epoch FROM j.run_at - now()) * 1000), 0)::bigint FROM jobs j "
        "WHERE j.status = 'QUEUED' AND j.is_delayed ORDER BY j.run_at LIMIT 1",
};

static int send_promote(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        pg_scalar(p);
        pg_put_int8(p, (int64_t)chores_of(batch)->limit);
        pg_scalar(p);
        pg_put_time(p, aip_wall_us(lane->connection.store->loop));
        pg_put_silent(p, lane->connection.store->muted_events);
        int r = pg_lane_send(lane, batch, &promote_statement);
        return r < 0 ? r : pg_lane_send(lane, batch, &next_delayed_statement);
}

static void promote_answered(struct pg_store *store, struct pg_batch *batch)
{
        const PGresult *next = batch->results[1];
        finish_chores(store, batch, batch->results[0],
                      PQntuples(next) > 0 ? pg_get_int8(next, 0, 0) : -1);
}

/* A lost answer leaves the transitions in the outbox, where sweeping finds them; so for all chores.
 */
const struct pg_kind pg_promote_kind = {
        .lane = PG_CHORES,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_promote,
        .answered = promote_answered,
};

/* ---- recover: end sessions whose lease is over, move their jobs, bury the empty ones ---- */

static const struct pg_statement end_sessions_statement = {
        PG_STATEMENT_END_SESSIONS,
        "UPDATE worker_sessions s SET state = 'ending' FROM (SELECT id FROM worker_sessions "
        "WHERE state = 'active' AND lease_until <= now() ORDER BY id FOR UPDATE SKIP LOCKED) d "
        "WHERE s.id = d.id",
};

/* The rule of aip_job_lose_worker(); the stores' contract tests hold the two together. */
static const struct pg_statement recover_statement = {
        PG_STATEMENT_RECOVER,
        "WITH " PG_TURNS("ARRAY(SELECT j.thread_id FROM jobs j WHERE j.status = 'PROCESSING' "
        "AND j.session = ANY (ARRAY(SELECT id FROM worker_sessions WHERE state = 'ending')) "
        "AND j.attempt >= j.max_attempts AND j.thread_id IS NOT NULL "
        "ORDER BY j.id LIMIT $1::bigint)") ", "
        "held AS MATERIALIZED (SELECT j.id FROM jobs j "
        "WHERE " PG_TURNS_HELD " AND j.status = 'PROCESSING' "
        "AND j.session = ANY (ARRAY(SELECT id FROM worker_sessions WHERE state = 'ending')) "
        "ORDER BY j.id LIMIT $1::bigint FOR UPDATE SKIP LOCKED), "
        "moved AS (UPDATE jobs j SET "
        "status = CASE WHEN j.attempt < j.max_attempts THEN 'QUEUED' ELSE 'FAILED' "
        "END::job_status, "
        "version = j.version + 1, session = NULL, is_delayed = false, "
        "run_at = CASE WHEN j.attempt < j.max_attempts THEN greatest($2::timestamptz, "
        "j.updated_at) "
        "ELSE j.run_at END, "
        "error_code = 'internal_worker_lost', "
        "error_message = 'the worker that ran the job was lost', "
        "updated_at = greatest($2::timestamptz, j.updated_at), "
        "finished_at = CASE WHEN j.attempt >= j.max_attempts THEN greatest($2::timestamptz, "
        "j.updated_at) END "
        "WHERE j.id = ANY (ARRAY(SELECT id FROM held)) "
        "RETURNING j.id AS job_id, j.version, "
        "j.updated_at AS at, CASE WHEN j.status = 'QUEUED' THEN 'released' ELSE 'failed' END AS "
        "kind, "
        "'PROCESSING'::job_status AS from_status, j.status AS to_status, j.attempt, "
        "j.status = 'QUEUED' AS is_runnable, CASE WHEN j.status = 'FAILED' THEN j.error_code END "
        "AS "
        "error_code), " PG_POSTED("$3::text[]") ", " PG_TOLD(
                "aiplat_jobs_ended", "to_status = 'FAILED'") " " PG_MOVED_AND_TOLD("$3::text[]"),
};

static const struct pg_statement bury_statement = {
        PG_STATEMENT_BURY_SESSIONS,
        "WITH forgotten AS (DELETE FROM worker_sessions WHERE state = 'lost' "
        "AND lease_until < now() - interval '1 day') "
        "UPDATE worker_sessions s SET state = 'lost' FROM (SELECT e.id FROM worker_sessions e "
        "WHERE e.state = 'ending' ORDER BY e.id FOR UPDATE SKIP LOCKED) d "
        "WHERE s.id = d.id AND (SELECT 1 FROM jobs j "
        "WHERE j.status = 'PROCESSING' AND j.session = s.id LIMIT 1) IS NULL",
};

static int send_recover(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        int r = pg_lane_send(lane, batch, &end_sessions_statement);
        if (r < 0)
                return r;
        pg_scalar(p);
        pg_put_int8(p, (int64_t)chores_of(batch)->limit);
        pg_scalar(p);
        pg_put_time(p, aip_wall_us(lane->connection.store->loop));
        pg_put_silent(p, lane->connection.store->muted_events);
        r = pg_lane_send(lane, batch, &recover_statement);
        return r < 0 ? r : pg_lane_send(lane, batch, &bury_statement);
}

static void recover_answered(struct pg_store *store, struct pg_batch *batch)
{
        finish_chores(store, batch, batch->results[1], -1);
}

const struct pg_kind pg_recover_kind = {
        .lane = PG_CHORES,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_recover,
        .answered = recover_answered,
};

/* ---- sweep and forget ---- */

static const struct pg_statement lazy_commit_statement = {
        PG_STATEMENT_LAZY_COMMIT,
        "SELECT set_config('synchronous_commit', 'off', true)", /* true: this transaction only */
};

static const struct pg_statement sweep_statement = {
        PG_STATEMENT_SWEEP,
        "WITH stale AS MATERIALIZED (SELECT o.id, o.n FROM outbox o "
        "WHERE o.touched_at <= now() - $1::bigint * interval '1 millisecond' "
        "ORDER BY o.touched_at LIMIT $2::bigint FOR UPDATE SKIP LOCKED), "
        /* whole rows, until they hold that many transitions */
        "held AS MATERIALIZED (SELECT id FROM (SELECT id, sum(n) OVER (ORDER BY id) - n AS before "
        "FROM stale) AS summed WHERE before < $2::bigint), "
        "touched AS (UPDATE outbox o SET touched_at = now() "
        "WHERE o.id = ANY (ARRAY(SELECT id FROM held)) "
        "RETURNING o.*) "
        "SELECT o.id, o.n, t.job_id, t.version, t.at, t.kind, t.from_status, t.to_status, "
        "t.attempt, t.is_runnable AND coalesce((SELECT j.status = 'QUEUED' FROM jobs j "
        "WHERE j.id = t.job_id), false), t.error_code "
        "FROM touched o CROSS JOIN LATERAL unnest(o.transitions) AS t ORDER BY o.id",
};

static int send_sweep(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        int r = pg_lane_send(lane, batch, &lazy_commit_statement);
        if (r < 0)
                return r;
        pg_scalar(p);
        pg_put_int8(p, chores_of(batch)->min_age_ms);
        pg_scalar(p);
        pg_put_int8(p, (int64_t)chores_of(batch)->limit);
        return pg_lane_send(lane, batch, &sweep_statement);
}

static void sweep_answered(struct pg_store *store, struct pg_batch *batch)
{
        finish_chores(store, batch, batch->results[1], -1);
}

const struct pg_kind pg_sweep_kind = {
        .lane = PG_CHORES,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_sweep,
        .answered = sweep_answered,
};

static const struct pg_statement forget_statement = {
        PG_STATEMENT_FORGET,
        "DELETE FROM outbox WHERE id = ANY ($1::bigint[])",
};

static size_t forget_rows(const struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, const struct pg_request, op)->n;
}

static int send_forget(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        int r = pg_lane_send(lane, batch, &lazy_commit_statement);
        if (r < 0)
                return r;
        pg_array(p, PG_INT8);
        for (size_t i = 0; i < batch->n_slots; i++) {
                const struct pg_request *request = request_of(batch->slots[i]);
                for (size_t k = 0; k < request->n; k++)
                        pg_put_int8(p, request->outbox_ids[k]);
        }
        return pg_lane_send(lane, batch, &forget_statement);
}

static void forget_answered(struct pg_store *store, struct pg_batch *batch)
{
        pg_batch_finish_all(store, batch, NULL);
}

const struct pg_kind pg_forget_kind = {
        .lane = PG_CHORES,
        .max_rows = 8 * AIP_STORE_BATCH_MAX,
        .is_repeatable = 1,
        .rows = forget_rows,
        .send = send_forget,
        .answered = forget_answered,
};
