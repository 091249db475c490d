/*
 * Resuming interrupted jobs under their fence: answers and outbox row in one statement. What the fence
 * refused is looked up by a second one, which says how the job stands.
 */
#include "pg.h"

static struct aip_job_resumption *resumption_of(struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, struct aip_job_resumption, op);
}

static const struct aip_job_fields *fields_of(const struct aip_op *op)
{
        return aip_job_fields(AIP_CONTAINER_OF(op, const struct aip_job_resumption, op)->job);
}

static const struct aip_id *id_of(const struct aip_op *op)
{
        return &fields_of(op)->id;
}

static size_t bytes_of(const struct aip_op *op)
{
        return fields_of(op)->answers_json.n + 256;
}

static const struct pg_statement resume_statement = {
        PG_STATEMENT_RESUME,
        "WITH input AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], "
        "$4::timestamptz[]) AS t(id, version, answers, at)), "
        "held AS MATERIALIZED (SELECT j.id FROM jobs j WHERE j.id = ANY ($1::uuid[]) "
        "AND j.status = 'INTERRUPTED' ORDER BY j.id FOR UPDATE), "
        "moved AS (UPDATE jobs j SET status = 'QUEUED', version = i.version, "
        "attempt = j.attempt - 1, run_at = i.at, is_delayed = false, updated_at = i.at, "
        "questions = NULL, answers = i.answers FROM input i JOIN held h ON h.id = i.id "
        "WHERE j.id = i.id AND j.id = ANY ($1::uuid[]) AND j.version = i.version - 1 "
        "RETURNING j.id AS job_id, j.version, j.updated_at AS at, 'resumed' AS kind, "
        "'INTERRUPTED'::job_status AS from_status, j.status AS to_status, j.attempt, "
        "true AS is_runnable, NULL::text AS error_code), " PG_POSTED(
                "$5::text[]") " SELECT " PG_MOVED_COLUMNS("$5::text[]") " FROM moved",
};

static const struct pg_statement resolve_statement = {
        PG_STATEMENT_RESUME_RESOLVE,
        "SELECT j.id, j.status FROM jobs j WHERE j.id = ANY ($1::uuid[])",
};

#define COLUMN(params, type, batch, put_statement)                                                 \
        do {                                                                                       \
                pg_array(params, type);                                                            \
                for (size_t i_ = 0; i_ < (batch)->n_slots; i_++) {                                 \
                        const struct aip_job_fields *f = fields_of((batch)->slots[i_]);            \
                        put_statement;                                                             \
                }                                                                                  \
        } while (0)

static int send(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        COLUMN(p, PG_UUID, batch, pg_put_id(p, &f->id));
        if (batch->stage == 1)
                return pg_lane_send(lane, batch, &resolve_statement);
        COLUMN(p, PG_INT8, batch, pg_put_int8(p, f->version));
        COLUMN(p, PG_TEXT, batch, pg_put_text(p, f->answers_json));
        COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, f->updated_at_us));
        pg_put_silent(p, lane->connection.store->muted_events);
        return pg_lane_send(lane, batch, &resume_statement);
}

static void read_resumed(struct pg_store *store, struct pg_batch *batch, const PGresult *result)
{
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id id = pg_get_id(result, row, 2);
                int64_t slot = pg_slot_map_find(&store->map, &id);
                if (slot < 0)
                        continue;
                struct aip_job_resumption *r = resumption_of(batch->slots[slot]);
                aip_error *error = NULL;
                if (pg_get_transition(result, row, &r->transition, &error) == 0)
                        r->ret_outcome = AIP_RESUMPTION_RECORDED;
                pg_batch_finish(store, batch, (size_t)slot, error);
        }
}

static void refuse(struct pg_store *store, struct pg_batch *batch, size_t slot,
                   enum aip_job_status status)
{
        struct aip_job_resumption *r = resumption_of(batch->slots[slot]);
        r->ret_outcome = AIP_RESUMPTION_REFUSED;
        r->ret_status = status;
        pg_batch_finish(store, batch, slot, NULL);
}

static void read_refused(struct pg_store *store, struct pg_batch *batch, const PGresult *result)
{
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id id = pg_get_id(result, row, 0);
                int64_t slot = pg_slot_map_find(&store->map, &id);
                enum aip_job_status status = AIP_JOB_CANCELLED;
                (void)aip_job_status_parse(pg_get_text(result, row, 1), &status, NULL);
                if (slot >= 0)
                        refuse(store, batch, (size_t)slot, status);
        }
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (batch->slots[i])
                        refuse(store, batch, i, AIP_JOB_CANCELLED);
        }
}

static void answered(struct pg_store *store, struct pg_batch *batch)
{
        pg_slot_map_of(store, batch);
        if (batch->stage == 0)
                read_resumed(store, batch, batch->results[0]);
        else
                read_refused(store, batch, batch->results[0]);
        batch->stage = 1;
        batch->is_again = pg_batch_is_any_left(batch);
}

const struct pg_kind pg_resume_kind = {
        .lane = PG_WORK,
        .max_rows = AIP_STORE_BATCH_MAX,
        .bytes = bytes_of,
        .id = id_of,
        .send = send,
        .answered = answered,
};
