/* Reading jobs, and the ping. Single jobs are read many at a time; lists have a connection of their
 * own, because a filter that matches little reads much. */
#include "pg.h"

/* A page ends early when its prompts and results are this large in all; the next goes on there. */
#define LIST_MAX_BYTES "33554432"

static struct aip_job_fetch *fetch_of(struct aip_op *op)
{
        return AIP_CONTAINER_OF(op, struct aip_job_fetch, op);
}

/* `found` is how jobs are looked for; see lane.c. */
#define FETCH(found)                                                                               \
        "SELECT i.slot, " PG_JOB_COLUMNS(                                                          \
                "j") " FROM unnest($1::integer[], $2::uuid[]) "                                    \
                     "AS i(slot, id) JOIN jobs j ON j.id = i.id AND " found

static const struct pg_statement fetch_statement = {
        PG_STATEMENT_FETCH,
        FETCH("j.id = ANY ($2::uuid[]) AND " PG_SPAN("$3", "$4")),
};

static int send_fetch(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        pg_array(p, PG_INT4);
        for (size_t i = 0; i < batch->n_slots; i++)
                pg_put_int4(p, (int32_t)i);
        pg_array(p, PG_UUID);
        for (size_t i = 0; i < batch->n_slots; i++)
                pg_put_id(p, &fetch_of(batch->slots[i])->id);
        pg_put_span(p, 2);
        return pg_lane_send(lane, batch, &fetch_statement);
}

static void fetch_answered(struct pg_store *store, struct pg_batch *batch)
{
        const PGresult *result = batch->results[batch->n_results - 1];
        for (int row = 0; row < PQntuples(result); row++) {
                size_t slot = (size_t)pg_get_int4(result, row, 0);
                if (slot >= batch->n_slots || !batch->slots[slot])
                        continue;
                aip_error *error = NULL;
                pg_get_job(result, row, 1, &fetch_of(batch->slots[slot])->ret_job, &error);
                pg_batch_finish(store, batch, slot, error);
        }
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (!batch->slots[i])
                        continue;
                fetch_of(batch->slots[i])->ret_job = NULL;
                pg_batch_finish(store, batch, i, NULL);
        }
}

/* Few at a time, because each may have a result of 16 MiB. */
const struct pg_kind pg_fetch_kind = {
        .lane = PG_READ,
        .max_rows = 16,
        .is_repeatable = 1,
        .send = send_fetch,
        .answered = fetch_answered,
};

/* ---- list ---- */

static const struct pg_statement list_statement = {
        PG_STATEMENT_LIST,
        "WITH page AS (SELECT j.id, octet_length(j.prompt) + coalesce(octet_length(j.result), 0) "
        "AS bytes FROM jobs j WHERE j.id < $1::uuid AND j.status = ANY ($2::text[]::job_status[]) "
        "AND ($3::text IS NULL OR j.config_name = $3::text) "
        "AND ($4::text IS NULL OR j.template_name = $4::text) "
        "AND ($5::timestamptz IS NULL OR j.created_at >= $5::timestamptz) "
        "AND ($6::timestamptz IS NULL OR j.created_at < $6::timestamptz) "
        "AND ($8::uuid IS NULL OR j.thread_id = $8::uuid) "
        "ORDER BY j.id DESC LIMIT $7::bigint + 1), "
        "sized AS (SELECT id, row_number() OVER newest AS nth, sum(bytes) OVER newest AS total, "
        "count(*) OVER () AS n FROM page WINDOW newest AS (ORDER BY id DESC)) "
        "SELECT s.n, " PG_JOB_COLUMNS(
                "j") " FROM sized s JOIN jobs j ON j.id = s.id "
                     "WHERE j.id = ANY (ARRAY(SELECT id FROM sized)) AND s.nth <= $7::bigint AND "
                     "(s.nth = 1 OR s.total <= " LIST_MAX_BYTES ") "
                     "ORDER BY s.nth",
};

static struct aip_job_list *list_of(struct pg_batch *batch)
{
        return AIP_CONTAINER_OF(batch->slots[0], struct aip_job_list, op);
}

static void put_statuses(struct pg_params *p, uint32_t mask)
{
        pg_array(p, PG_TEXT);
        for (unsigned status = AIP_JOB_QUEUED; status < AIP_JOB_STATUSES; status++) {
                if (mask == 0 || (mask & 1u << status))
                        pg_put_text(p,
                                    aip_str_of(aip_job_status_name((enum aip_job_status)status)));
        }
}

static void put_filter(struct pg_params *p, struct aip_str name)
{
        pg_scalar(p);
        pg_put_text_or_null(p, name.n ? name : aip_str_make(NULL, 0));
}

static int send_list(struct pg_lane *lane, struct pg_batch *batch)
{
        struct pg_params *p = &lane->params;
        const struct aip_job_list *list = list_of(batch);
        struct aip_id before = list->before;
        if (aip_id_is_nil(&before))
                memset(before.bytes, 0xFF, sizeof(before.bytes));
        pg_scalar(p);
        pg_put_id(p, &before);
        put_statuses(p, list->status_mask);
        put_filter(p, list->config_name);
        put_filter(p, list->template_name);
        pg_scalar(p);
        pg_put_time(p, list->created_from_us);
        pg_scalar(p);
        pg_put_time(p, list->created_until_us);
        pg_scalar(p);
        pg_put_int8(p, list->limit);
        pg_scalar(p);
        if (aip_id_is_nil(&list->thread_id))
                pg_put_null(p);
        else
                pg_put_id(p, &list->thread_id);
        return pg_lane_send(lane, batch, &list_statement);
}

static void free_jobs(aip_job **jobs, size_t n)
{
        for (size_t i = 0; i < n; i++)
                aip_job_free(jobs[i]);
        free(jobs);
}

/* A row that no job can have (changed by hand) must not hide the others: it is left out. */
static int read_listed(struct pg_store *store, const PGresult *result, aip_job **jobs, size_t *n,
                       aip_error **err)
{
        for (int row = 0; row < PQntuples(result); row++) {
                aip_error *error = NULL;
                int r = pg_get_job(result, row, 1, &jobs[*n], &error);
                if (r == AIP_ENOMEM)
                        return aip_error_propagate(err, error);
                if (r < 0)
                        aip_log_write(store->log, AIP_LOG_ERROR, "postgres",
                                      "a row cannot be listed: %s", aip_error_message(error));
                else
                        (*n)++;
                aip_error_free(error);
        }
        return 0;
}

static int read_list(struct pg_store *store, struct aip_job_list *list, const PGresult *result,
                     aip_error **err)
{
        int rows = PQntuples(result);
        aip_job **jobs = calloc((size_t)rows + 1, sizeof(aip_job *));
        size_t n = 0;
        int r = jobs ? read_listed(store, result, jobs, &n, err) : aip_error_set_nomem(err);
        if (r < 0) {
                free_jobs(jobs, n);
                return r;
        }
        list->ret_jobs = jobs;
        list->ret_n = n;
        list->ret_has_more = rows > 0 && pg_get_int8(result, 0, 0) > rows;
        return 0;
}

static void list_answered(struct pg_store *store, struct pg_batch *batch)
{
        if (!batch->slots[0])
                return;
        aip_error *error = NULL;
        read_list(store, list_of(batch), batch->results[0], &error);
        pg_batch_finish(store, batch, 0, error);
}

const struct pg_kind pg_list_kind = {
        .lane = PG_BROWSE,
        .max_rows = 1,
        .is_repeatable = 1,
        .send = send_list,
        .answered = list_answered,
};

/* ---- ping ---- */

static const struct pg_statement ping_statement = {PG_STATEMENT_PING, "SELECT 1"};

static int send_ping(struct pg_lane *lane, struct pg_batch *batch)
{
        return pg_lane_send(lane, batch, &ping_statement);
}

static void ping_answered(struct pg_store *store, struct pg_batch *batch)
{
        pg_batch_finish_all(store, batch, NULL);
}

const struct pg_kind pg_ping_kind = {
        .lane = PG_READ,
        .max_rows = AIP_STORE_BATCH_MAX,
        .is_repeatable = 1,
        .send = send_ping,
        .answered = ping_answered,
};
