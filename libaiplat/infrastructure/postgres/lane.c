/*
 * A lane: one connection in pipeline mode, on which batches of several kinds travel, each ending in
 * a sync and hence one transaction. One batch of a kind is in flight at a time; what arrives
 * meanwhile is its next batch. Batches of different kinds follow each other without waiting for
 * answers, so no kind starves and none pays for another's round trip.
 *
 * Called by store.c (submissions) and by the connection. A server that is silent for PG_SILENCE_MS
 * while it owes an answer is given up.
 */
#include "pg.h"

/*
 * Every statement of ours can and must go through an index, whatever the statistics say, hence the
 * switches. Jobs are looked for by `id = ANY (array)`, never by a join alone; and nested loops are
 * off, for what is known of the newest rows is always out of date, and a loop that runs the wrong way
 * round compares everything with everything (seen: 400 ms instead of 2 for 200 jobs).
 *
 * Planning takes as long as running for all but the largest batches. The plan of a statement that only
 * one index can answer is kept (keeps_plan[]): it is right whatever the tables hold. Such a statement
 * gives the lowest and the highest id beside the array, for a kept plan can leave partitions out by
 * those, and not by an array; and it says nothing that a partial index would do for, or a plan that is
 * made while the tables are nearly empty walks that index as a whole for ever. All others are planned
 * anew each time.
 */
static const char session_setup[] =
        "SET statement_timeout = '8s'; SET lock_timeout = 0; "
        "SET idle_in_transaction_session_timeout = 0; SET TimeZone = 'UTC'; SET jit = off; "
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "
        "SET enable_nestloop = off; SET enable_mergejoin = off; SET enable_bitmapscan = off; "
        "SET default_transaction_isolation = 'read committed'; "
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'";

static const char *const lane_names[PG_N_LANES] = {
        [PG_ACCEPT] = "accept", [PG_RESULTS] = "results", [PG_WORK] = "work",
        [PG_CHORES] = "chores", [PG_READ] = "read",       [PG_BROWSE] = "browse",
};

static struct pg_lane *lane_of(struct pg_connection *connection)
{
        return AIP_CONTAINER_OF(connection, struct pg_lane, connection);
}

static int has_work(const struct pg_lane *lane)
{
        for (int kind = 0; kind < PG_N_KINDS; kind++) {
                const struct pg_queue *queue = &lane->connection.store->queues[kind];
                if (pg_kinds[kind]->lane == lane->name && (queue->waiting.n || queue->again.first))
                        return 1;
        }
        return 0;
}

struct wire_params {
        const char *values[PG_PARAMS_MAX];
        int lengths[PG_PARAMS_MAX], formats[PG_PARAMS_MAX];
};

static void encode(const struct pg_params *params, struct wire_params *ret)
{
        for (int i = 0; i < params->n; i++) {
                const struct pg_param *param = &params->params[i];
                int is_null = param->n_elements < 0 && param->is_null;
                ret->values[i] = is_null ? NULL : aip_buf_str(&param->bytes).p;
                ret->lengths[i] = (int)param->bytes.n;
                ret->formats[i] = 1;
        }
}

static int prepare(struct pg_lane *lane, struct pg_batch *batch,
                   const struct pg_statement *statement, const char *name)
{
        if (lane->is_prepared[statement->name])
                return 0;
        if (!PQsendPrepare(lane->connection.pg, name, statement->sql, 0, NULL))
                return AIP_EUNAVAILABLE;
        lane->is_prepared[statement->name] = 1;
        batch->expected[batch->n_expected++] = (int16_t)(-1 - (int)statement->name);
        return 0;
}

static int execute(struct pg_lane *lane, struct pg_batch *batch,
                   const struct pg_statement *statement, const struct pg_params *params)
{
        struct wire_params wire;
        char name[16];
        snprintf(name, sizeof(name), "aip_%d", (int)statement->name);
        int r = prepare(lane, batch, statement, name);
        if (r < 0)
                return r;
        encode(params, &wire);
        if (!PQsendQueryPrepared(lane->connection.pg, name, params->n, wire.values, wire.lengths,
                                 wire.formats, 1))
                return AIP_EUNAVAILABLE;
        return 0;
}

/* For the rest of this transaction. */
static const struct pg_statement plan_anew_statement = {
        PG_STATEMENT_PLAN_ANEW,
        "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)",
};

static int plan_anew(struct pg_lane *lane, struct pg_batch *batch)
{
        static const struct pg_params none;
        int r = execute(lane, batch, &plan_anew_statement, &none);
        if (r == 0)
                batch->expected[batch->n_expected++] = -1 - PG_STATEMENT_PLAN_ANEW;
        batch->is_planned_anew = 1;
        return r;
}

/* Those that one index alone can answer, or that look for nothing. */
static const char keeps_plan[PG_N_STATEMENTS] = {
        [PG_STATEMENT_CREATE] = 1, [PG_STATEMENT_CREATE_AGAIN] = 1,
        [PG_STATEMENT_CLAIM] = 1,  [PG_STATEMENT_FINISH] = 1,
        [PG_STATEMENT_SAVE] = 1,   [PG_STATEMENT_SAVE_TASKS] = 1,
        [PG_STATEMENT_FETCH] = 1,  [PG_STATEMENT_REVISION] = 1,
        [PG_STATEMENT_PING] = 1,   [PG_STATEMENT_LAZY_COMMIT] = 1,
        [PG_STATEMENT_FORGET] = 1,
};

/* An UPDATE leaves partitions out when it runs, not only when it is planned, since PostgreSQL 14. */
static int needs_new_plan(const struct pg_lane *lane, const struct pg_statement *statement)
{
        return !keeps_plan[statement->name] || PQserverVersion(lane->connection.pg) < 140000;
}

int pg_lane_send(struct pg_lane *lane, struct pg_batch *batch, const struct pg_statement *statement)
{
        int r = lane->params.is_out_of_memory ? AIP_ENOMEM : 0;
        if (r == 0 && !batch->is_planned_anew && needs_new_plan(lane, statement))
                r = plan_anew(lane, batch);
        if (r == 0)
                r = execute(lane, batch, statement, &lane->params);
        if (r == 0)
                batch->expected[batch->n_expected++] = (int16_t)statement->name;
        pg_params_clear(&lane->params);
        return r;
}

static void remove_last(struct pg_batch_list *list)
{
        struct pg_batch *batch = list->first;
        if (batch == list->last) {
                list->first = list->last = NULL;
                return;
        }
        while (batch->next != list->last)
                batch = batch->next;
        batch->next = NULL;
        list->last = batch;
}

/* 0, or -1 when the connection is lost by it. */
static int send_batch(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_store *store = lane->connection.store;
        struct pg_queue *queue = &store->queues[batch->kind];
        queue->is_in_flight = 1;
        pg_batch_list_append(&lane->in_flight, batch);
        int r = pg_kinds[batch->kind]->send(lane, batch);
        if (r == AIP_ENOMEM && batch->n_expected == 0) {
                queue->is_in_flight = 0;
                remove_last(&lane->in_flight);
                aip_error *error = NULL;
                aip_error_set_nomem(&error);
                pg_batch_finish_all(store, batch, error);
                pg_batch_free(batch);
                return 0;
        }
        if (r < 0 || !PQpipelineSync(lane->connection.pg)) {
                pg_connection_drop(&lane->connection, r == AIP_ENOMEM ? "out of memory" : NULL);
                return -1;
        }
        if (!lane->watchdog.is_armed)
                aip_timer_set(store->loop, &lane->watchdog, PG_SILENCE_MS);
        return 0;
}

static void pump(struct pg_lane *lane)
{
        struct pg_store *store = lane->connection.store;
        if (store->close_op || !has_work(lane))
                return;
        pg_connection_start(&lane->connection);
        for (int kind = 0; kind < PG_N_KINDS && lane->connection.state == PG_READY; kind++) {
                if (pg_kinds[kind]->lane != lane->name || store->queues[kind].is_in_flight)
                        continue;
                struct pg_batch *batch = pg_batch_next(store, (enum pg_kind_name)kind);
                if (batch && send_batch(lane, batch) < 0)
                        return;
        }
        pg_connection_flush(&lane->connection);
}

static void run_pump(struct aip_task *task)
{
        pump(AIP_CONTAINER_OF(task, struct pg_lane, pump));
}

void pg_lane_wake(struct pg_lane *lane)
{
        aip_defer(lane->connection.store->loop, &lane->pump);
}

static void finish_unanswered(struct pg_store *store, struct pg_batch *batch)
{
        aip_error *error = NULL;
        aip_error_set(&error, AIP_EPROTOCOL, "the database's answer does not mention it");
        pg_batch_finish_all(store, batch, error);
        pg_batch_free(batch);
}

/* The sync of the oldest batch arrived. -1 when the connection is lost by it. */
static int complete(struct pg_lane *lane)
{
        struct pg_store *store = lane->connection.store;
        struct pg_batch *batch = pg_batch_list_pop(&lane->in_flight);
        store->queues[batch->kind].is_in_flight = 0;
        if (batch->failure) {
                int is_useless = pg_fault_of(batch->failure) == PG_FAULT_CONNECTION;
                pg_batch_failed(store, batch);
                if (is_useless)
                        pg_connection_drop(&lane->connection,
                                           "the session cannot be used any more");
                return is_useless ? -1 : 0;
        }
        pg_kinds[batch->kind]->answered(store, batch);
        if (batch->is_again)
                pg_batch_again(store, batch);
        else
                finish_unanswered(store, batch);
        return 0;
}

/* One result of one statement of the oldest batch; taken. */
static void take_result(struct pg_lane *lane, struct pg_batch *batch, PGresult *result)
{
        ExecStatusType status = PQresultStatus(result);
        int is_good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
        int what = batch->n_seen < batch->n_expected ? batch->expected[batch->n_seen++] : 0;
        if (what < 0 && !is_good)
                lane->is_prepared[-1 - what] = 0;
        if (what >= 0 && is_good && batch->n_results < PG_RESULTS_MAX)
                batch->results[batch->n_results++] = result;
        else if (status == PGRES_FATAL_ERROR && !batch->failure)
                batch->failure = result;
        else
                PQclear(result);
}

static void watch_silence(struct pg_lane *lane)
{
        struct aip_loop loop = lane->connection.store->loop;
        if (lane->in_flight.first)
                aip_timer_set(loop, &lane->watchdog, PG_SILENCE_MS);
        else
                aip_timer_clear(loop, &lane->watchdog);
}

static void on_input(struct pg_connection *connection)
{
        struct pg_lane *lane = lane_of(connection);
        int nulls = 0; /* one ends each statement; more in a row mean that nothing is left */
        while (lane->in_flight.first && nulls < 3 && !PQisBusy(connection->pg)) {
                PGresult *result = PQgetResult(connection->pg);
                nulls = result ? 0 : nulls + 1;
                if (!result)
                        continue;
                if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
                        take_result(lane, lane->in_flight.first, result);
                        continue;
                }
                PQclear(result);
                if (complete(lane) < 0)
                        return;
        }
        if (PQstatus(connection->pg) == CONNECTION_BAD) {
                pg_connection_drop(connection, NULL);
                return;
        }
        watch_silence(lane);
        pump(lane);
}

static void on_ready(struct pg_connection *connection)
{
        struct pg_lane *lane = lane_of(connection);
        memset(lane->is_prepared, 0, sizeof(lane->is_prepared));
        pump(lane);
}

static void on_lost(struct pg_connection *connection)
{
        struct pg_lane *lane = lane_of(connection);
        aip_timer_clear(connection->store->loop, &lane->watchdog);
        for (struct pg_batch *batch; (batch = pg_batch_list_pop(&lane->in_flight));) {
                connection->store->queues[batch->kind].is_in_flight = 0;
                pg_batch_lost(connection->store, batch, connection);
        }
}

static void on_silence(struct aip_timer *timer)
{
        struct pg_lane *lane = AIP_CONTAINER_OF(timer, struct pg_lane, watchdog);
        pg_connection_drop(&lane->connection, "the server owes an answer and is silent");
}

void pg_lane_init(struct pg_lane *lane, struct pg_store *store, enum pg_lane_name name)
{
        static const struct pg_connection_ops ops = {
                .on_ready = on_ready, .on_input = on_input, .on_lost = on_lost};
        pg_connection_init(&lane->connection, store, lane_names[name], session_setup, &ops);
        lane->connection.is_pipelined = 1;
        lane->name = name;
        lane->watchdog.fire = on_silence;
        lane->pump.run = run_pump;
}

void pg_lane_stop(struct pg_lane *lane)
{
        struct aip_loop loop = lane->connection.store->loop;
        aip_timer_clear(loop, &lane->watchdog);
        aip_undefer(loop, &lane->pump);
        pg_connection_stop(&lane->connection);
        pg_params_deinit(&lane->params);
}
