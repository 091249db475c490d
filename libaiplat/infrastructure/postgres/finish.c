/*
 * Recording the ends of attempts under the fence: result, outbox row and notification in one
 * statement. What the fence refused is looked up by a second one: a repetition whose first time
 * arrived answers RECORDED, anything else STALE.
 */
#include "pg.h"

static struct aip_job_finish *finish_of(struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, struct aip_job_finish, op);
}

static const struct aip_id *id_of(const struct aip_op *op)
{
        const struct aip_job_finish *finish = AIP_CONTAINER_OF(op, const struct aip_job_finish, op);
        return &aip_job_fields(finish->job)->id;
}

static size_t bytes_of(const struct aip_op *op)
{
        const struct aip_job_finish *finish = AIP_CONTAINER_OF(op, const struct aip_job_finish, op);
        const struct aip_job_fields *f = aip_job_fields(finish->job);
        return f->result.n + f->error_message.n + f->questions_json.n + 512;
}

#define TOLD PG_TOLD("aiplat_jobs_ended", "to_status <> 'QUEUED'")
#define RECORDED                                                                                   \
        " SELECT job_id, " PG_POSTED_AS("$21::text[]") ", (SELECT count(*) FROM told) FROM moved"

/* `found` is how jobs are looked for; see lane.c. */
#define FINISH(found)                                                                              \
        "WITH input AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], "  \
        "$4::integer[], $5::timestamptz[], $6::boolean[], $7::text[], $8::text[], $9::text[], "    \
        "$10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::timestamptz[], "             \
        "$15::timestamptz[], $16::text[], $17::boolean[], $18::text[], $19::timestamptz[], "        \
        "$20::text[]) "                                                                            \
        "AS t(id, version, status, attempt, run_at, is_delayed, result, error_code, "              \
        "error_message, provider, model_name, input_tokens, output_tokens, updated_at, "           \
        "finished_at, kind, "                                                                      \
        "is_runnable, outbox_error, at, questions) ORDER BY id), "                                            \
        PG_TURNS("$24::uuid[]") ", "                                                               \
        "moved AS (UPDATE jobs j SET status = h.status::job_status, version = h.version, "         \
        "attempt = h.attempt, run_at = CASE WHEN h.is_delayed THEN now() + (h.run_at - "           \
        "h.updated_at) ELSE h.run_at END, is_delayed = h.is_delayed, session = NULL, "             \
        "result = h.result, error_code = h.error_code, error_message = h.error_message, "          \
        "provider = h.provider, model_name = h.model_name, input_tokens = h.input_tokens, "        \
        "questions = h.questions, "                                                                \
        "answers = CASE WHEN h.status = 'QUEUED' THEN j.answers END, "                             \
        "output_tokens = h.output_tokens, updated_at = h.updated_at, finished_at = h.finished_at " \
        "FROM input h WHERE j.id = h.id AND " found " AND " PG_TURNS_HELD " "                      \
        "AND j.session IS NOT NULL "                                                               \
        "AND j.version = h.version - 1 "                                                           \
        "RETURNING j.id AS job_id, j.version, h.at, h.kind, "                                      \
        "'PROCESSING'::job_status AS from_status, j.status AS to_status, j.attempt, "              \
        "h.is_runnable, h.outbox_error AS error_code), " PG_POSTED(                                \
                "$21::text[]") ", " TOLD RECORDED

/* In the order of ids, whoever comes: no deadlocks. */
static const struct pg_statement finish_statement = {
        PG_STATEMENT_FINISH,
        FINISH("j.id = ANY ($1::uuid[]) AND " PG_SPAN("$22", "$23")),
};

/* The time tells a repetition from what another made of the same version: recovery, a cancel. */
static const struct pg_statement resolve_statement = {
        PG_STATEMENT_FINISH_RESOLVE,
        "SELECT i.id FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::timestamptz[]) "
        "AS i(id, version, status, updated_at) JOIN jobs j ON j.id = i.id "
        "WHERE j.id = ANY ($1::uuid[]) AND j.version = i.version AND j.status = "
        "i.status::job_status "
        "AND j.updated_at = i.updated_at",
};

#define COLUMN(params, type, batch, put_statement)                                                 \
        do {                                                                                       \
                pg_array(params, type);                                                            \
                for (size_t i_ = 0; i_ < (batch)->n_slots; i_++) {                                 \
                        const struct aip_job_finish *finish = finish_of((batch)->slots[i_]);       \
                        const struct aip_job_fields *f = aip_job_fields(finish->job);              \
                        const struct aip_transition *t = &finish->transition;                      \
                        (void)f, (void)t;                                                          \
                        put_statement;                                                             \
                }                                                                                  \
        } while (0)

static void put_fence(struct pg_params *p, const struct pg_batch *batch)
{
        COLUMN(p, PG_UUID, batch, pg_put_id(p, &f->id));
        COLUMN(p, PG_INT8, batch, pg_put_int8(p, f->version));
        COLUMN(p, PG_TEXT, batch, pg_put_text(p, aip_str_of(aip_job_status_name(f->status))));
}

static void put_outcome(struct pg_params *p, const struct pg_batch *batch)
{
        COLUMN(p, PG_INT4, batch, pg_put_int4(p, f->attempt));
        COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, f->run_at_us));
        COLUMN(p, PG_BOOL, batch, pg_put_bool(p, f->status == AIP_JOB_QUEUED && !t->is_runnable));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->result));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->error_code));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->error_message));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->provider));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->model_name));
        COLUMN(p, PG_INT8, batch, pg_put_int8(p, f->input_tokens));
        COLUMN(p, PG_INT8, batch, pg_put_int8(p, f->output_tokens));
        COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, f->updated_at_us));
        COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, f->finished_at_us));
}

static void put_transition(struct pg_params *p, const struct pg_batch *batch)
{
        COLUMN(p, PG_TEXT, batch, pg_put_text(p, aip_str_of(aip_transition_kind_name(t->kind))));
        COLUMN(p, PG_BOOL, batch, pg_put_bool(p, t->is_runnable));
        COLUMN(p, PG_TEXT, batch,
               pg_put_text_or_null(p, aip_str_of(t->error_code[0] ? t->error_code : NULL)));
        COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, t->at_us));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->questions_json));
}

/* The threads whose job ends: of most batches none. */
static void put_turns(struct pg_params *p, const struct pg_batch *batch)
{
        pg_array(p, PG_UUID);
        for (size_t i = 0; i < batch->n_slots; i++) {
                const struct aip_job_fields *f = aip_job_fields(finish_of(batch->slots[i])->job);
                if (!aip_id_is_nil(&f->thread_id) && aip_job_status_is_terminal(f->status))
                        pg_put_id(p, &f->thread_id);
        }
}

static int send(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        put_fence(p, batch);
        if (batch->stage == 1) {
                COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, f->updated_at_us));
                return pg_lane_send(lane, batch, &resolve_statement);
        }
        put_outcome(p, batch);
        put_transition(p, batch);
        pg_put_silent(p, lane->connection.store->muted_events);
        pg_put_span(p, 1);
        put_turns(p, batch);
        return pg_lane_send(lane, batch, &finish_statement);
}

static void finish_as(struct pg_store *store, struct pg_batch *batch, size_t slot,
                      enum aip_finish_outcome outcome)
{
        finish_of(batch->slots[slot])->ret_outcome = outcome;
        pg_batch_finish(store, batch, slot, NULL);
}

static void read_recorded(struct pg_store *store, struct pg_batch *batch, const PGresult *result)
{
        pg_slot_map_of(store, batch);
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id id = pg_get_id(result, row, 0);
                int64_t slot = pg_slot_map_find(&store->map, &id);
                if (slot < 0)
                        continue;
                struct aip_transition *t = &finish_of(batch->slots[slot])->transition;
                if (batch->stage == 0) {
                        t->outbox_id = pg_get_int8(result, row, 1);
                        t->outbox_n = pg_get_int4(result, row, 2);
                }
                finish_as(store, batch, (size_t)slot, AIP_FINISH_RECORDED);
        }
}

static void answered(struct pg_store *store, struct pg_batch *batch)
{
        read_recorded(store, batch, batch->results[batch->n_results - 1]);
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (!batch->slots[i])
                        continue;
                if (batch->stage == 0)
                        batch->is_again = 1;
                else
                        finish_as(store, batch, i, AIP_FINISH_STALE);
        }
        batch->stage = 1;
}

const struct pg_kind pg_finish_kind = {
        .lane = PG_RESULTS,
        .max_rows = AIP_STORE_BATCH_MAX,
        .is_repeatable = 1,
        .bytes = bytes_of,
        .id = id_of,
        .send = send,
        .answered = answered,
};
