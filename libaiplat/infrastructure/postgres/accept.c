/*
 * Accepting jobs. One statement stores a batch: keys first (the unique key decides every race),
 * then the jobs whose key was won, then their outbox row. What it did not store, a repetition or a
 * key that somebody else has, is looked up by a second statement, whose snapshot sees the winner.
 */
#include "pg.h"
#include <endian.h>

static struct aip_job_create *create_of(struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, struct aip_job_create, op);
}

static const struct aip_id *id_of(const struct aip_op *op)
{
        const struct aip_job_create *create = AIP_CONTAINER_OF(op, const struct aip_job_create, op);
        return &aip_job_fields(create->job)->id;
}

static size_t bytes_of(const struct aip_op *op)
{
        const struct aip_job_create *create = AIP_CONTAINER_OF(op, const struct aip_job_create, op);
        const struct aip_job_fields *f = aip_job_fields(create->job);
        return f->prompt.n + f->variables_json.n + f->metadata_json.n + f->input_json.n + 512;
}

#define CREATE(if_it_is_there)                                                                     \
        "WITH input AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], "   \
        "$4::integer[], $5::integer[], $6::text[], $7::text[], $8::text[], $9::text[], "           \
        "$10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], "          \
        "$15::timestamptz[], $16::boolean[], $17::boolean[], $18::boolean[], $20::text[]) "      \
        "WITH ORDINALITY "                                                                         \
        "AS t(id, key, fingerprint, max_attempts, retry_delay_ms, prompt, config_name, "           \
        "template_name, graph_name, variables, metadata, trace_id, created_at, updated_at, "       \
        "run_at, is_delayed, is_streamed, is_relative, input, nth)), "                             \
        "won AS (INSERT INTO idempotency_keys (key, job_id, fingerprint) "                         \
        "SELECT key, id, fingerprint FROM input WHERE key IS NOT NULL ORDER BY key, nth "          \
        "ON CONFLICT (key) DO NOTHING RETURNING job_id), "                                         \
        "moved AS (INSERT INTO jobs (id, status, version, attempt, max_attempts, "                 \
        "retry_delay_ms, prompt, config_name, template_name, graph_name, variables, metadata, "    \
        "trace_id, created_at, updated_at, run_at, is_delayed, is_streamed, input) "               \
        "SELECT id, 'QUEUED', 1, 0, max_attempts, retry_delay_ms, prompt, config_name, "           \
        "template_name, graph_name, variables::jsonb, metadata::jsonb, trace_id, created_at, "     \
        "updated_at, CASE WHEN is_relative THEN now() + (run_at - created_at) ELSE run_at END, "   \
        "is_delayed, is_streamed, input.input::jsonb FROM input "                                  \
        "WHERE key IS NULL OR id IN (SELECT job_id FROM won) " if_it_is_there " "                  \
        "RETURNING id AS job_id, 1::bigint AS version, updated_at AS at, 'created' AS kind, "      \
        "status AS from_status, status AS to_status, 0 AS attempt, NOT is_delayed AS "             \
        "is_runnable, NULL::text AS error_code), " PG_POSTED(                                      \
                "$19::text[]") " SELECT job_id, " PG_POSTED_AS("$19::text[]") " FROM moved"

/* Ids are fresh: none is looked for before it is inserted. */
static const struct pg_statement create_statement = {PG_STATEMENT_CREATE, CREATE("")};

/* When one of them is there already: an answer was lost, or the caller repeats himself. */
static const struct pg_statement create_again_statement = {
        PG_STATEMENT_CREATE_AGAIN,
        CREATE("ON CONFLICT (id) DO NOTHING"),
};

static const struct pg_statement resolve_statement = {
        PG_STATEMENT_CREATE_RESOLVE,
        "WITH found AS MATERIALIZED (SELECT i.slot, i.id, k.job_id, k.fingerprint "
        "FROM unnest($1::integer[], $2::uuid[], $3::text[]) AS i(slot, id, key) "
        "LEFT JOIN idempotency_keys k ON k.key = i.key AND k.key = ANY ($3::text[])) "
        "SELECT f.slot, f.job_id, f.fingerprint, j.id, j.status FROM found f "
        "LEFT JOIN jobs j ON j.id = coalesce(f.job_id, f.id) "
        "AND j.id = ANY (ARRAY(SELECT coalesce(job_id, id) FROM found))",
};

static void fingerprint_bytes(const struct aip_job_create *create, uint64_t ret_bytes[2])
{
        ret_bytes[0] = htobe64(create->fingerprint[0]);
        ret_bytes[1] = htobe64(create->fingerprint[1]);
}

static struct aip_str key_of(const struct aip_job_create *create)
{
        return create->idempotency_key.n ? create->idempotency_key : aip_str_make(NULL, 0);
}

/* One column of the batch: a loop over its jobs. */
#define COLUMN(params, type, batch, put_statement)                                                 \
        do {                                                                                       \
                pg_array(params, type);                                                            \
                for (size_t i_ = 0; i_ < (batch)->n_slots; i_++) {                                 \
                        const struct aip_job_create *create = create_of((batch)->slots[i_]);       \
                        const struct aip_job_fields *f = aip_job_fields(create->job);              \
                        (void)f;                                                                   \
                        put_statement;                                                             \
                }                                                                                  \
        } while (0)

static void put_identity(struct pg_params *p, const struct pg_batch *batch)
{
        uint64_t print[2];
        COLUMN(p, PG_UUID, batch, pg_put_id(p, &f->id));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, key_of(create)));
        COLUMN(p, PG_BYTEA, batch,
               (fingerprint_bytes(create, print), pg_put_bytes(p, print, sizeof(print))));
        COLUMN(p, PG_INT4, batch, pg_put_int4(p, f->max_attempts));
        COLUMN(p, PG_INT4, batch, pg_put_int4(p, f->retry_delay_ms));
}

static void put_content(struct pg_params *p, const struct pg_batch *batch)
{
        COLUMN(p, PG_TEXT, batch, pg_put_text(p, f->prompt));
        COLUMN(p, PG_TEXT, batch, pg_put_text(p, f->config_name));
        COLUMN(p, PG_TEXT, batch, pg_put_text(p, f->template_name));
        COLUMN(p, PG_TEXT, batch, pg_put_text(p, f->graph_name));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->variables_json));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->metadata_json));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->trace_id));
}

static void put_times(struct pg_params *p, const struct pg_batch *batch)
{
        COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, f->created_at_us));
        COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, f->updated_at_us));
        COLUMN(p, PG_TIMESTAMPTZ, batch, pg_put_time(p, f->run_at_us));
        COLUMN(p, PG_BOOL, batch, pg_put_bool(p, !aip_job_created(create->job).is_runnable));
        COLUMN(p, PG_BOOL, batch, pg_put_bool(p, f->is_streamed));
        COLUMN(p, PG_BOOL, batch, pg_put_bool(p, create->is_delay));
}

/* Behind everything else: few jobs have one. */
static void put_input(struct pg_params *p, const struct pg_batch *batch)
{
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, f->input_json));
}

static int send_resolve(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        COLUMN(p, PG_INT4, batch, pg_put_int4(p, (int32_t)i_));
        COLUMN(p, PG_UUID, batch, pg_put_id(p, &f->id));
        COLUMN(p, PG_TEXT, batch, pg_put_text_or_null(p, key_of(create)));
        return pg_lane_send(lane, batch, &resolve_statement);
}

/* One at a time: what is true of a thread is known only when its row is locked. */
static const struct pg_statement in_thread_statement = {
        PG_STATEMENT_CREATE_IN_THREAD,
        "SELECT t.job_id, t.posted_id, t.posted_n, t.outcome, t.is_runnable "
        "FROM aiplat_create_in_thread($1::uuid, $2::text, $3::bytea, $4::integer, $5::integer, "
        "$6::text, $7::text, $8::text, $9::text, $10::text, $11::text, $12::text, "
        "$13::timestamptz, $14::boolean, $15::text, $16::uuid, $17::bigint, $18::integer, "
        "$19::text[]) AS t",
};

static int send(struct pg_lane *lane, struct pg_batch *batch)
{
        if (batch->stage == 1)
                return send_resolve(lane, batch);
        put_identity(&lane->params, batch);
        put_content(&lane->params, batch);
        put_times(&lane->params, batch);
        pg_put_silent(&lane->params, lane->connection.store->muted_events);
        put_input(&lane->params, batch);
        return pg_lane_send(lane, batch,
                            batch->tries > 0 ? &create_again_statement : &create_statement);
}

static void finish_created(struct pg_store *store, struct pg_batch *batch, size_t slot,
                           enum aip_job_status status, int64_t outbox_id, int32_t outbox_n)
{
        struct aip_job_create *create = create_of(batch->slots[slot]);
        create->ret_outcome = AIP_CREATE_CREATED;
        create->ret_job_id = aip_job_fields(create->job)->id;
        create->ret_status = status;
        create->ret_transition = aip_job_created(create->job);
        create->ret_transition.outbox_id = outbox_id;
        create->ret_transition.outbox_n = outbox_n;
        pg_batch_finish(store, batch, slot, NULL);
}

static void read_created(struct pg_store *store, struct pg_batch *batch, const PGresult *result)
{
        pg_slot_map_of(store, batch);
        for (int row = 0; row < PQntuples(result); row++) {
                struct aip_id id = pg_get_id(result, row, 0);
                int64_t slot = pg_slot_map_find(&store->map, &id);
                if (slot >= 0)
                        finish_created(store, batch, (size_t)slot, AIP_JOB_QUEUED,
                                       pg_get_int8(result, row, 1), pg_get_int4(result, row, 2));
        }
}

static void finish_key_taken(struct pg_store *store, struct pg_batch *batch, size_t slot,
                             const PGresult *result, int row, enum aip_job_status status)
{
        struct aip_job_create *create = create_of(batch->slots[slot]);
        uint64_t print[2];
        fingerprint_bytes(create, print);
        struct aip_str ours = aip_str_make((const char *)print, sizeof(print));
        int is_same = aip_str_eq(pg_get_text(result, row, 2), ours);
        create->ret_outcome = is_same ? AIP_CREATE_REPLAYED : AIP_CREATE_KEY_REUSED;
        create->ret_job_id = pg_get_id(result, row, 1);
        create->ret_status = status;
        pg_batch_finish(store, batch, slot, NULL);
}

static void resolve_row(struct pg_store *store, struct pg_batch *batch, const PGresult *result,
                        int row)
{
        size_t slot = (size_t)pg_get_int4(result, row, 0);
        if (slot >= batch->n_slots || !batch->slots[slot])
                return;
        struct aip_job_create *create = create_of(batch->slots[slot]);
        struct aip_id holder = pg_get_id(result, row, 1);
        struct aip_id stored = pg_get_id(result, row, 3);
        enum aip_job_status status = AIP_JOB_QUEUED;
        (void)aip_job_status_parse(pg_get_text(result, row, 4), &status, NULL);
        int is_ours = aip_id_equal(&stored, &aip_job_fields(create->job)->id);
        if (is_ours && (aip_id_is_nil(&holder) || aip_id_equal(&holder, &stored)))
                finish_created(store, batch, slot, status, 0, 0);
        else if (!aip_id_is_nil(&holder))
                finish_key_taken(store, batch, slot, result, row, status);
        /* else: what stood in the way has gone; it is sent again */
}

static void answered(struct pg_store *store, struct pg_batch *batch)
{
        const PGresult *result = batch->results[batch->n_results - 1];
        if (batch->stage == 0) {
                read_created(store, batch, result);
        } else {
                for (int row = 0; row < PQntuples(result); row++)
                        resolve_row(store, batch, result, row);
                batch->tries++;
        }
        batch->stage = !batch->stage;
        batch->is_again = pg_batch_is_any_left(batch) && batch->tries < PG_TRIES_MAX;
}

const struct pg_kind pg_create_kind = {
        .lane = PG_ACCEPT,
        .max_rows = AIP_STORE_BATCH_MAX,
        .is_repeatable = 1,
        .is_repeated_when_there = 1,
        .bytes = bytes_of,
        .id = id_of,
        .send = send,
        .answered = answered,
};

/* ---- into a thread ---- */

static void put_scalar_text(struct pg_params *p, struct aip_str text)
{
        pg_scalar(p);
        pg_put_text_or_null(p, text);
}

static void put_scalar_int4(struct pg_params *p, int32_t i)
{
        pg_scalar(p);
        pg_put_int4(p, i);
}

static void put_threads_identity(struct pg_params *p, const struct aip_job_create *create)
{
        const struct aip_job_fields *f = aip_job_fields(create->job);
        uint64_t print[2];

        fingerprint_bytes(create, print);
        pg_scalar(p);
        pg_put_id(p, &f->id);
        put_scalar_text(p, key_of(create));
        pg_scalar(p);
        pg_put_bytes(p, print, sizeof(print));
        put_scalar_int4(p, f->max_attempts);
        put_scalar_int4(p, f->retry_delay_ms);
}

static void put_threads_content(struct pg_params *p, const struct aip_job_fields *f)
{
        const struct aip_str names[] = {f->prompt, f->config_name, f->template_name, f->graph_name};

        for (size_t i = 0; i < AIP_ARRAY_SIZE(names); i++) {
                pg_scalar(p);
                pg_put_text(p, names[i]);
        }
        put_scalar_text(p, f->variables_json);
        put_scalar_text(p, f->metadata_json);
        put_scalar_text(p, f->trace_id);
        pg_scalar(p);
        pg_put_time(p, f->created_at_us);
        pg_scalar(p);
        pg_put_bool(p, f->is_streamed);
        put_scalar_text(p, f->input_json);
}

static int send_in_thread(struct pg_lane *lane, struct pg_batch *batch)
{
        const struct aip_job_create *create = create_of(batch->slots[0]);
        const struct aip_job_fields *f = aip_job_fields(create->job);
        struct pg_params *p = &lane->params;

        if (batch->stage == 1)
                return send_resolve(lane, batch);
        put_threads_identity(p, create);
        put_threads_content(p, f);
        pg_scalar(p);
        pg_put_id(p, &f->thread_id);
        pg_scalar(p);
        pg_put_int8(p, f->checkpoint);
        pg_scalar(p);
        pg_put_int4(p, (int32_t)create->strategy);
        pg_put_silent(p, lane->connection.store->muted_events);
        return pg_lane_send(lane, batch, &in_thread_statement);
}

static void read_created_in_thread(struct pg_store *store, struct pg_batch *batch,
                                   const PGresult *result)
{
        struct aip_job_create *create = create_of(batch->slots[0]);
        int is_runnable = pg_get_bool(result, 0, 4);

        if (pg_get_int4(result, 0, 3) == AIP_CREATE_THREAD_BUSY) {
                create->ret_outcome = AIP_CREATE_THREAD_BUSY;
                pg_batch_finish(store, batch, 0, NULL);
                return;
        }
        finish_created(store, batch, 0, AIP_JOB_QUEUED, pg_get_int8(result, 0, 1),
                       pg_get_int4(result, 0, 2));
        create->ret_transition.is_runnable = is_runnable;
}

static void answered_in_thread(struct pg_store *store, struct pg_batch *batch)
{
        const PGresult *result = batch->results[batch->n_results - 1];

        if (batch->stage == 0 && PQntuples(result) > 0)
                read_created_in_thread(store, batch, result);
        else if (batch->stage == 1)
                answered(store, batch);
        else
                batch->stage = 1;
        batch->is_again = pg_batch_is_any_left(batch) && batch->tries < PG_TRIES_MAX;
}

const struct pg_kind pg_create_in_thread_kind = {
        .lane = PG_ACCEPT,
        .max_rows = 1,
        .is_repeatable = 1,
        .bytes = bytes_of,
        .id = id_of,
        .send = send_in_thread,
        .answered = answered_in_thread,
};
