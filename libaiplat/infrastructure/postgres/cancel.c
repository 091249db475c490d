/* Cancelling jobs. What the first statement did not move has ended or never was: a second one,
 * whose snapshot is newer, tells which. */
#include "pg.h"

static struct aip_job_cancellation *cancellation_of(struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, struct aip_job_cancellation, op);
}

static const struct aip_id *id_of(const struct aip_op *op)
{
        return &AIP_CONTAINER_OF(op, const struct aip_job_cancellation, op)->id;
}

static const struct pg_statement cancel_statement = {
        PG_STATEMENT_CANCEL,
        "WITH " PG_TURNS("ARRAY(SELECT j.thread_id FROM jobs j WHERE j.id = ANY ($1::uuid[]) "
                         "AND j.thread_id IS NOT NULL)") ", "
        "held AS MATERIALIZED (SELECT j.id, j.status FROM jobs j "
        "WHERE " PG_TURNS_HELD " AND j.id = ANY ($1::uuid[]) AND j.status IN ('QUEUED', 'PROCESSING', 'INTERRUPTED') ORDER BY j.id "
        "FOR UPDATE), "
        "moved AS (UPDATE jobs j SET status = 'CANCELLED', version = j.version + 1, "
        "session = NULL, is_delayed = false, questions = NULL, answers = NULL, updated_at = greatest($2::timestamptz, j.updated_at), "
        "finished_at = greatest($2::timestamptz, j.updated_at) FROM held h WHERE j.id = h.id "
        "AND j.id = ANY ($1::uuid[]) "
        "RETURNING j.id AS job_id, j.version, "
        "j.updated_at AS at, 'cancelled' AS kind, h.status AS from_status, j.status AS to_status, "
        "j.attempt, false AS is_runnable, NULL::text AS error_code), " PG_POSTED(
                "$3::text[]") ", " PG_TOLD("aiplat_jobs_cancelled",
                                           "true") " " PG_MOVED_AND_TOLD("$3::text[]"),
};

static const struct pg_statement resolve_statement = {
        PG_STATEMENT_CANCEL_RESOLVE,
        "SELECT j.id, j.status FROM jobs j WHERE j.id = ANY ($1::uuid[])",
};

static int send(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        pg_array(p, PG_UUID);
        for (size_t i = 0; i < batch->n_slots; i++)
                pg_put_id(p, &cancellation_of(batch->slots[i])->id);
        if (batch->stage == 1)
                return pg_lane_send(lane, batch, &resolve_statement);
        pg_scalar(p);
        pg_put_time(p, aip_wall_us(lane->connection.store->loop));
        pg_put_silent(p, lane->connection.store->muted_events);
        return pg_lane_send(lane, batch, &cancel_statement);
}

static void read_cancelled(struct pg_store *store, struct pg_batch *batch, const PGresult *result)
{
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id id = pg_get_id(result, row, 2);
                int64_t slot = pg_slot_map_find(&store->map, &id);
                if (slot < 0)
                        continue;
                struct aip_job_cancellation *c = cancellation_of(batch->slots[slot]);
                aip_error *error = NULL;
                if (pg_get_transition(result, row, &c->ret_transition, &error) == 0) {
                        c->ret_outcome = AIP_CANCEL_CANCELLED;
                        c->ret_status = AIP_JOB_CANCELLED;
                }
                pg_batch_finish(store, batch, (size_t)slot, error);
        }
}

static void read_ended(struct pg_store *store, struct pg_batch *batch, const PGresult *result)
{
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id id = pg_get_id(result, row, 0);
                int64_t slot = pg_slot_map_find(&store->map, &id);
                enum aip_job_status status = AIP_JOB_QUEUED;
                (void)aip_job_status_parse(pg_get_text(result, row, 1), &status, NULL);
                /* One that can be cancelled after all (it was created meanwhile) is tried again. */
                if (slot < 0 || !aip_job_status_is_terminal(status))
                        continue;
                struct aip_job_cancellation *c = cancellation_of(batch->slots[slot]);
                c->ret_outcome = AIP_CANCEL_ALREADY_ENDED;
                c->ret_status = status;
                pg_batch_finish(store, batch, (size_t)slot, NULL);
        }
}

static int is_among(const PGresult *result, const struct aip_id *id)
{
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id other = pg_get_id(result, row, 0);
                if (aip_id_equal(&other, id))
                        return 1;
        }
        return 0;
}

static void finish_unknown(struct pg_store *store, struct pg_batch *batch, const PGresult *result)
{
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (!batch->slots[i] || is_among(result, &cancellation_of(batch->slots[i])->id))
                        continue;
                cancellation_of(batch->slots[i])->ret_outcome = AIP_CANCEL_NOT_FOUND;
                pg_batch_finish(store, batch, i, NULL);
        }
}

static void answered(struct pg_store *store, struct pg_batch *batch)
{
        pg_slot_map_of(store, batch);
        if (batch->stage == 0) {
                read_cancelled(store, batch, batch->results[0]);
        } else {
                read_ended(store, batch, batch->results[0]);
                finish_unknown(store, batch, batch->results[0]);
                batch->tries++;
        }
        batch->stage = !batch->stage;
        batch->is_again = pg_batch_is_any_left(batch) && batch->tries < PG_TRIES_MAX;
}

const struct pg_kind pg_cancel_kind = {
        .lane = PG_WORK,
        .max_rows = AIP_STORE_BATCH_MAX,
        .id = id_of,
        .send = send,
        .answered = answered,
};
