/*
 * Claiming jobs for worker sessions. The session's lease is created or renewed first, in the same
 * statement: its row lock keeps recovery from taking away what is being claimed, and a session that
 * was lost is simply not there, so nothing is claimed for it.
 */
#include "pg.h"

static struct aip_job_claim *claim_of(struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, struct aip_job_claim, op);
}

static size_t rows_of(const struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, const struct aip_job_claim, op)->n_ids;
}

#define LIVE "WITH " LIVE_SESSIONS
#define LIVE_SESSIONS                                                                              \
        "live AS (INSERT INTO worker_sessions AS s (id, lease_until) "                        \
        "SELECT u.id, now() + u.lease_ms * interval '1 millisecond' "                              \
        "FROM unnest($1::uuid[], $2::bigint[]) AS u(id, lease_ms) ORDER BY u.id "                  \
        "ON CONFLICT (id) DO UPDATE SET lease_until = greatest(s.lease_until, "                    \
        "excluded.lease_until) WHERE s.state = 'active' RETURNING s.id), "

/* Due: told to be runnable, or its time has come by the server's clock. Written so that no index of
 * all queued jobs can answer it: the ids do. */
#define DUE "j.status < 'PROCESSING' AND (NOT j.is_delayed OR j.run_at <= now())"

/* Moves those of `wanted` that `condition` finds, in the order of ids. */
#define TAKE(found, silent)                                                                    \
        "moved AS (UPDATE jobs j SET status = 'PROCESSING', version = j.version + 1, "             \
        "attempt = j.attempt + 1, session = w.session, is_delayed = false, "                       \
        "started_at = greatest($3::timestamptz, j.updated_at, j.run_at), "                         \
        "updated_at = greatest($3::timestamptz, j.updated_at, j.run_at) "                          \
        "FROM wanted w WHERE j.id = w.id AND " found " AND " DUE " "              \
        "RETURNING w.slot, j.session, " PG_JOB_COLUMNS(                                            \
                "j") "), "                                                                         \
                     "posted AS (INSERT INTO outbox (n, transitions) SELECT count(*), "            \
                     "array_agg(ROW(id, "                                                          \
                     "version, updated_at, 'started', 'QUEUED', status, attempt, false, "          \
                     "NULL)::job_transition) FROM moved WHERE 'started' <> ALL (" silent ") "      \
                     "HAVING count(*) > 0 RETURNING id, n) "                                       \
                     "SELECT l.id, (SELECT id FROM posted), (SELECT n FROM posted), m.slot, "      \
                     "(SELECT revision FROM catalog_revision), " PG_JOB_COLUMNS(                   \
                             "m") " FROM live l LEFT JOIN moved m ON m.session = l.id"

/* Columns of the answer. A live session without jobs has one row, whose slot is null. */
enum { SESSION, OUTBOX_ID, OUTBOX_N, SLOT, REVISION, JOB };

/* `found` is how jobs are looked for; see lane.c. */
#define CLAIM(found)                                                                               \
        LIVE "wanted AS MATERIALIZED (SELECT w.id, w.slot, w.session "                             \
             "FROM unnest($4::uuid[], $5::integer[], $6::uuid[]) AS w(id, slot, session) "         \
             "JOIN live ON live.id = w.session ORDER BY w.id), " TAKE(found, "$7::text[]")

static const struct pg_statement claim_statement = {
        PG_STATEMENT_CLAIM,
        CLAIM("j.id = ANY ($4::uuid[]) AND " PG_SPAN("$8", "$9")),
};

/* For the one session of the claim; nothing when it is not alive. */
#define WANTED                                                                                     \
        "wanted AS MATERIALIZED (SELECT chosen.id, 0 AS slot, (SELECT id FROM live) AS session "   \
        "FROM chosen WHERE (SELECT id FROM live) IS NOT NULL ORDER BY chosen.id), "

/* Which of many ids, when more are named than may be taken. */
static const struct pg_statement claim_some_statement = {
        PG_STATEMENT_CLAIM_SOME,
        LIVE "chosen AS MATERIALIZED (SELECT j.id FROM jobs j WHERE j.id = ANY ($4::uuid[]) "
             "AND " DUE " ORDER BY j.id LIMIT $5::bigint FOR UPDATE), " WANTED TAKE("j.id = ANY ($4::uuid[])", "$6::text[]"),
};

/* The names come step by step from the index (config_name, run_at), a probe each, however many jobs
 * one of them has. Candidates are read without locks, twice what is wanted so that something is left
 * where another worker claims at the same time, and locked in the order of their rank. */
static const struct pg_statement claim_due_statement = {
        PG_STATEMENT_CLAIM_DUE,
        "WITH RECURSIVE " LIVE_SESSIONS
             "names AS ((SELECT config_name FROM jobs WHERE status = 'QUEUED' "
             "ORDER BY config_name LIMIT 1) UNION ALL "
             "SELECT (SELECT j.config_name FROM jobs j WHERE j.status = 'QUEUED' "
             "AND j.config_name > n.config_name ORDER BY j.config_name LIMIT 1) "
             "FROM names n WHERE n.config_name IS NOT NULL), "
             "ranked AS MATERIALIZED (SELECT d.id, d.run_at, "
             "row_number() OVER (PARTITION BY n.config_name ORDER BY d.run_at) AS rank "
             "FROM names n CROSS JOIN LATERAL (SELECT j.id, j.run_at FROM jobs j "
             "WHERE j.status = 'QUEUED' AND j.config_name = n.config_name "
             "AND j.run_at <= now() - $4::bigint * interval '1 millisecond' "
             "ORDER BY j.run_at LIMIT 2 * $5::bigint) d "
             "WHERE n.config_name IS NOT NULL AND n.config_name <> ALL ($6::text[])), "
             "chosen AS MATERIALIZED (SELECT j.id FROM ranked r JOIN jobs j ON j.id = r.id "
             "WHERE j.id = ANY (ARRAY(SELECT id FROM ranked)) AND " DUE " "
             "ORDER BY r.rank, r.run_at LIMIT $5::bigint FOR UPDATE OF j SKIP LOCKED), " WANTED
                     TAKE("j.id = ANY (ARRAY(SELECT id FROM wanted))", "$7::text[]"),
};

static int is_first_of_session(const struct pg_batch *batch, size_t slot)
{
        for (size_t i = 0; i < slot; i++) {
                if (aip_id_equal(&claim_of(batch->slots[i])->session,
                                 &claim_of(batch->slots[slot])->session))
                        return 0;
        }
        return 1;
}

/* Each session once. Usually all claims of a process are for one. */
static void put_sessions(struct pg_lane *lane, const struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        pg_array(p, PG_UUID);
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (is_first_of_session(batch, i))
                        pg_put_id(p, &claim_of(batch->slots[i])->session);
        }
        pg_array(p, PG_INT8);
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (is_first_of_session(batch, i))
                        pg_put_int8(p, claim_of(batch->slots[i])->lease_ms);
        }
        pg_scalar(p);
        pg_put_time(p, aip_wall_us(lane->connection.store->loop));
}

static void put_ids(struct pg_params *p, const struct aip_job_claim *claim)
{
        for (size_t i = 0; i < claim->n_ids; i++)
                pg_put_id(p, &claim->ids[i]);
}

static int send_many(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        put_sessions(lane, batch);
        pg_array(p, PG_UUID);
        for (size_t i = 0; i < batch->n_slots; i++)
                put_ids(p, claim_of(batch->slots[i]));
        pg_array(p, PG_INT4);
        for (size_t i = 0; i < batch->n_slots; i++) {
                for (size_t k = 0; k < claim_of(batch->slots[i])->n_ids; k++)
                        pg_put_int4(p, (int32_t)i);
        }
        pg_array(p, PG_UUID);
        for (size_t i = 0; i < batch->n_slots; i++) {
                for (size_t k = 0; k < claim_of(batch->slots[i])->n_ids; k++)
                        pg_put_id(p, &claim_of(batch->slots[i])->session);
        }
        pg_put_silent(p, lane->connection.store->muted_events);
        pg_put_span(p, 4);
        return pg_lane_send(lane, batch, &claim_statement);
}

static int send_one(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_job_claim *claim = claim_of(batch->slots[0]);
        put_sessions(lane, batch);
        if (claim->n_ids > 0) {
                pg_array(p, PG_UUID);
                put_ids(p, claim);
        } else {
                pg_scalar(p);
                pg_put_int8(p, claim->min_due_ms);
        }
        pg_scalar(p);
        pg_put_int8(p, (int64_t)claim->limit);
        if (claim->n_ids == 0) {
                pg_array(p, PG_TEXT);
                for (size_t i = 0; i < claim->n_without_configs; i++)
                        pg_put_text(p, claim->without_configs[i]);
        }
        pg_put_silent(p, lane->connection.store->muted_events);
        return pg_lane_send(lane, batch,
                            claim->n_ids > 0 ? &claim_some_statement : &claim_due_statement);
}

struct claimed {
        aip_job **jobs;
        struct aip_transition *transitions;
        size_t n;
};

static void claimed_deinit(struct claimed *claimed)
{
        for (size_t i = 0; i < claimed->n; i++)
                aip_job_free(claimed->jobs[i]);
        free(claimed->jobs);
        free(claimed->transitions);
}

static struct aip_transition started(const aip_job *job, int64_t outbox_id, int32_t outbox_n)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        return (struct aip_transition){
                .outbox_id = outbox_id,
                .outbox_n = outbox_n,
                .job_id = f->id,
                .version = f->version,
                .at_us = f->updated_at_us,
                .kind = AIP_TRANSITION_STARTED,
                .from = AIP_JOB_QUEUED,
                .to = AIP_JOB_PROCESSING,
                .attempt = f->attempt,
        };
}

/* A row that no job can have (changed by hand) stays claimed and is reported; the others go on. */
static int take_row(struct pg_store *store, struct claimed *claimed, const PGresult *result,
                    int row, aip_error **err)
{
        aip_job *job = NULL;
        aip_error *error = NULL;
        int r = pg_get_job(result, row, JOB, &job, &error);
        if (r == AIP_ENOMEM)
                return aip_error_propagate(err, error);
        if (r < 0) {
                aip_log_write(store->log, AIP_LOG_ERROR, "postgres",
                              "a claimed row cannot be run: %s", aip_error_message(error));
                aip_error_free(error);
                return 0;
        }
        claimed->jobs[claimed->n] = job;
        claimed->transitions[claimed->n++] = started(job, pg_get_int8(result, row, OUTBOX_ID),
                                                     pg_get_int4(result, row, OUTBOX_N));
        return 0;
}

static int is_row_of(const PGresult *result, int row, size_t slot)
{
        return !PQgetisnull(result, row, SLOT) && (size_t)pg_get_int4(result, row, SLOT) == slot;
}

static int is_live(const PGresult *result, const struct aip_id *session)
{
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id id = pg_get_id(result, row, SESSION);
                if (aip_id_equal(&id, session))
                        return 1;
        }
        return 0;
}

static int read_claim(struct pg_store *store, struct aip_job_claim *claim, size_t slot,
                      const PGresult *result, aip_error **err)
{
        _cleanup_(claimed_deinit) struct claimed claimed = {0};
        if (!is_live(result, &claim->session))
                return aip_error_set(err, AIP_ESTATE, "the worker's session was lost");
        size_t max = (size_t)PQntuples(result);
        claimed.jobs = calloc(max, sizeof(aip_job *));
        claimed.transitions = calloc(max, sizeof(claimed.transitions[0]));
        if (!claimed.jobs || !claimed.transitions)
                return aip_error_set_nomem(err);
        for (int row = 0; row < PQntuples(result); row++) {
                int r = is_row_of(result, row, slot) ? take_row(store, &claimed, result, row, err)
                                                     : 0;
                if (r < 0)
                        return r;
        }
        claim->ret_jobs = AIP_TAKE(claimed.jobs);
        claim->ret_transitions = AIP_TAKE(claimed.transitions);
        claim->ret_n = claimed.n;
        claim->ret_catalog_revision = pg_get_int8(result, 0, REVISION);
        claimed.n = 0;
        return 0;
}

static void answered(struct pg_store *store, struct pg_batch *batch)
{
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (!batch->slots[i])
                        continue;
                aip_error *error = NULL;
                read_claim(store, claim_of(batch->slots[i]), i, batch->results[batch->n_results - 1],
                           &error);
                pg_batch_finish(store, batch, i, error);
        }
}

const struct pg_kind pg_claim_kind = {
        .lane = PG_WORK,
        .max_rows = AIP_STORE_BATCH_MAX,
        .rows = rows_of,
        .send = send_many,
        .answered = answered,
};

const struct pg_kind pg_claim_one_kind = {
        .lane = PG_WORK,
        .max_rows = 1,
        .send = send_one,
        .answered = answered,
};
