/* Results in PostgreSQL's binary format, and the domain's objects made from them. Called by the
 * receivers of each kind. */
#include "pg.h"
#include <endian.h>

#define PG_EPOCH_US INT64_C(946684800000000)

int pg_get_bool(const PGresult *result, int row, int column)
{
        return PQgetlength(result, row, column) == 1 && *PQgetvalue(result, row, column) != 0;
}

int32_t pg_get_int4(const PGresult *result, int row, int column)
{
        uint32_t big = 0;
        if (PQgetlength(result, row, column) == sizeof(big))
                memcpy(&big, PQgetvalue(result, row, column), sizeof(big));
        return (int32_t)be32toh(big);
}

int64_t pg_get_int8(const PGresult *result, int row, int column)
{
        uint64_t big = 0;
        if (PQgetlength(result, row, column) == sizeof(big))
                memcpy(&big, PQgetvalue(result, row, column), sizeof(big));
        return (int64_t)be64toh(big);
}

double pg_get_float8(const PGresult *result, int row, int column)
{
        int64_t bits = pg_get_int8(result, row, column);
        double d;
        memcpy(&d, &bits, sizeof(d));
        return d;
}

int64_t pg_get_time(const PGresult *result, int row, int column)
{
        if (PQgetisnull(result, row, column))
                return 0;
        return pg_get_int8(result, row, column) + PG_EPOCH_US;
}

struct aip_str pg_get_text(const PGresult *result, int row, int column)
{
        if (PQgetisnull(result, row, column))
                return aip_str_make(NULL, 0);
        return aip_str_make(PQgetvalue(result, row, column),
                            (size_t)PQgetlength(result, row, column));
}

struct aip_id pg_get_id(const PGresult *result, int row, int column)
{
        struct aip_id id = {{0}};
        if (PQgetlength(result, row, column) == sizeof(id.bytes))
                memcpy(id.bytes, PQgetvalue(result, row, column), sizeof(id.bytes));
        return id;
}

static void get_texts(const PGresult *result, int row, int first, struct aip_job_fields *f)
{
        struct aip_str *texts[] = {&f->prompt,        &f->config_name,    &f->template_name,
                                   &f->graph_name,    &f->variables_json, &f->metadata_json,
                                   &f->trace_id,      &f->result,         &f->error_code,
                                   &f->error_message, &f->provider,       &f->model_name};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(texts); i++)
                *texts[i] = pg_get_text(result, row, first + 6 + (int)i);
}

static void get_times(const PGresult *result, int row, int first, struct aip_job_fields *f)
{
        int64_t *times[] = {&f->created_at_us, &f->updated_at_us, &f->run_at_us, &f->started_at_us,
                            &f->finished_at_us};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(times); i++)
                *times[i] = pg_get_time(result, row, first + 20 + (int)i);
}

int pg_get_job(const PGresult *result, int row, int first, aip_job **ret_job, aip_error **err)
{
        struct aip_job_fields f = {.self_size = sizeof(f)};
        int r = aip_job_status_parse(pg_get_text(result, row, first + 1), &f.status, err);
        if (r < 0)
                return r;
        f.id = pg_get_id(result, row, first);
        f.version = pg_get_int8(result, row, first + 2);
        f.attempt = pg_get_int4(result, row, first + 3);
        f.max_attempts = pg_get_int4(result, row, first + 4);
        f.retry_delay_ms = pg_get_int4(result, row, first + 5);
        get_texts(result, row, first, &f);
        f.input_tokens = pg_get_int8(result, row, first + 18);
        f.output_tokens = pg_get_int8(result, row, first + 19);
        get_times(result, row, first, &f);
        f.is_streamed = pg_get_bool(result, row, first + 25);
        f.input_json = pg_get_text(result, row, first + 26);
        f.questions_json = pg_get_text(result, row, first + 27);
        f.answers_json = pg_get_text(result, row, first + 28);
        f.thread_id = pg_get_id(result, row, first + 29);
        f.checkpoint = pg_get_int8(result, row, first + 30);
        return aip_job_restore(&f, ret_job, err);
}

int pg_get_transition(const PGresult *result, int row, struct aip_transition *ret_transition,
                      aip_error **err)
{
        struct aip_transition t = {0};
        t.outbox_id = pg_get_int8(result, row, 0);
        t.outbox_n = pg_get_int4(result, row, 1);
        t.job_id = pg_get_id(result, row, 2);
        t.version = pg_get_int8(result, row, 3);
        t.at_us = pg_get_time(result, row, 4);
        int r = aip_transition_kind_parse(pg_get_text(result, row, 5), &t.kind, err);
        if (r == 0)
                r = aip_job_status_parse(pg_get_text(result, row, 6), &t.from, err);
        if (r == 0)
                r = aip_job_status_parse(pg_get_text(result, row, 7), &t.to, err);
        if (r < 0)
                return r;
        t.attempt = pg_get_int4(result, row, 8);
        t.is_runnable = pg_get_bool(result, row, 9);
        struct aip_str code = pg_get_text(result, row, 10);
        memcpy(t.error_code, code.n ? code.p : "", AIP_MIN(code.n, sizeof(t.error_code) - 1));
        *ret_transition = t;
        return 0;
}

int pg_get_transitions(const PGresult *result, struct aip_transition **ret_transitions,
                       size_t *ret_n, aip_error **err)
{
        int n = PQntuples(result);
        _cleanup_(aip_free_p) struct aip_transition *transitions = NULL;
        if (n > 0) {
                transitions = calloc((size_t)n, sizeof(*transitions));
                if (!transitions)
                        return aip_error_set_nomem(err);
        }
        for (int row = 0; row < n; row++) {
                int r = pg_get_transition(result, row, &transitions[row], err);
                if (r < 0)
                        return r;
        }
        *ret_transitions = AIP_TAKE(transitions);
        *ret_n = (size_t)n;
        return 0;
}
