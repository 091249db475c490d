/*
 * Rows of jobs and of the outbox, read and written. Called by the operations, on the thread whose
 * connection it is. Must never write a job without its fence, nor one without its outbox row.
 */
#include "sqlite/sqlite_store.h"

#include "macros.h"
#include "mem.h"

static int32_t column_i32(sqlite3_stmt *row, int column)
{
        return (int32_t)AIP_MAX(INT32_MIN, AIP_MIN(INT32_MAX, sqlite3_column_int64(row, column)));
}

int aip_sqlite_job_read(sqlite3_stmt *row, aip_job **ret_job, aip_error **err)
{
        struct aip_job_fields f = {.self_size = sizeof(f)};
        int r = aip_job_status_parse(aip_sqlite_text(row, 1), &f.status, err);

        if (r < 0)
                return r;
        f.id = aip_sqlite_id(row, 0);
        f.version = sqlite3_column_int64(row, 2);
        f.attempt = column_i32(row, 3);
        f.max_attempts = column_i32(row, 4);
        f.retry_delay_ms = column_i32(row, 5);
        f.created_at_us = sqlite3_column_int64(row, 6);
        f.updated_at_us = sqlite3_column_int64(row, 7);
        f.run_at_us = sqlite3_column_int64(row, 8);
        f.started_at_us = sqlite3_column_int64(row, 9);
        f.finished_at_us = sqlite3_column_int64(row, 10);
        f.config_name = aip_sqlite_text(row, 11);
        f.template_name = aip_sqlite_text(row, 12);
        f.graph_name = aip_sqlite_text(row, 13);
        f.trace_id = aip_sqlite_text(row, 14);
        f.error_code = aip_sqlite_text(row, 15);
        f.provider = aip_sqlite_text(row, 16);
        f.model_name = aip_sqlite_text(row, 17);
        f.input_tokens = sqlite3_column_int64(row, 18);
        f.output_tokens = sqlite3_column_int64(row, 19);
        f.error_message = aip_sqlite_text(row, 20);
        f.variables_json = aip_sqlite_text(row, 21);
        f.metadata_json = aip_sqlite_text(row, 22);
        f.prompt = aip_sqlite_text(row, 23);
        f.result = aip_sqlite_text(row, 24);
        f.is_streamed = sqlite3_column_int(row, 25) != 0;
        f.input_json = aip_sqlite_text(row, 26);
        f.questions_json = aip_sqlite_text(row, 27);
        f.answers_json = aip_sqlite_text(row, 28);
        f.thread_id = aip_sqlite_id(row, 29);
        f.checkpoint = sqlite3_column_int64(row, 30);
        return aip_job_restore(&f, ret_job, err);
}

int aip_sqlite_job_insert(struct sqlite_db *db, const aip_job *job, int is_delayed, aip_error **err)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOB_INSERT, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, &f->id);
        aip_sqlite_bind_text(s, 2, aip_str_of(aip_job_status_name(f->status)));
        sqlite3_bind_int64(s, 3, f->version);
        sqlite3_bind_int(s, 4, f->attempt);
        sqlite3_bind_int(s, 5, f->max_attempts);
        sqlite3_bind_int(s, 6, f->retry_delay_ms);
        sqlite3_bind_int64(s, 7, f->created_at_us);
        sqlite3_bind_int64(s, 8, f->updated_at_us);
        sqlite3_bind_int64(s, 9, f->run_at_us);
        aip_sqlite_bind_time(s, 10, f->started_at_us);
        aip_sqlite_bind_time(s, 11, f->finished_at_us);
        aip_sqlite_bind_text(s, 12, f->config_name);
        aip_sqlite_bind_text(s, 13, f->template_name);
        aip_sqlite_bind_text(s, 14, f->graph_name);
        aip_sqlite_bind_text(s, 15, f->trace_id);
        aip_sqlite_bind_text(s, 16, f->error_code);
        aip_sqlite_bind_text(s, 17, f->provider);
        aip_sqlite_bind_text(s, 18, f->model_name);
        sqlite3_bind_int64(s, 19, f->input_tokens);
        sqlite3_bind_int64(s, 20, f->output_tokens);
        aip_sqlite_bind_text(s, 21, f->error_message);
        aip_sqlite_bind_text(s, 22, f->variables_json);
        aip_sqlite_bind_text(s, 23, f->metadata_json);
        aip_sqlite_bind_text(s, 24, f->prompt);
        aip_sqlite_bind_text(s, 25, f->result);
        sqlite3_bind_int(s, 26, f->is_streamed);
        aip_sqlite_bind_text(s, 27, f->input_json);
        sqlite3_bind_int(s, 28, is_delayed);
        aip_sqlite_bind_id(s, 29, aip_id_is_nil(&f->thread_id) ? NULL : &f->thread_id);
        sqlite3_bind_int64(s, 30, f->checkpoint);
        return aip_sqlite_step(db, s, err);
}

/* A row that somebody changed by hand into something that is no job must not stop the others. */
static int skip_damaged(struct sqlite_db *db, sqlite3_stmt *row, int code, aip_error *problem)
{
        char id_text[AIP_ID_TEXT_BYTES];
        struct aip_id id = aip_sqlite_id(row, 0);

        if (code == AIP_ENOMEM)
                return 0;
        aip_log_write(db->log, AIP_LOG_ERROR, "sqlite", "job %s is left out: %s",
                      aip_id_format(&id, id_text), aip_error_message(problem));
        aip_error_free(problem);
        return 1;
}

static int reserve_one(aip_job ***jobs, size_t n, size_t *capacity)
{
        aip_job **grown;

        if (n < *capacity)
                return 0;
        grown = aip_realloc_array(*jobs, 2 * *capacity + 8, sizeof(aip_job *));
        if (!grown)
                return AIP_ENOMEM;
        *jobs = grown;
        *capacity = 2 * *capacity + 8;
        return 0;
}

int aip_sqlite_jobs_read(struct sqlite_db *db, sqlite3_stmt *statement, aip_job ***ret_jobs,
                         size_t *ret_n, aip_error **err)
{
        aip_job **jobs = NULL;
        size_t n = 0, capacity = 0;
        int r;

        while ((r = aip_sqlite_step(db, statement, err)) > 0) {
                aip_error *problem = NULL;
                if (reserve_one(&jobs, n, &capacity) < 0) {
                        r = aip_error_set_nomem(err);
                        break;
                }
                r = aip_sqlite_job_read(statement, &jobs[n], &problem);
                if (r >= 0) {
                        n++;
                } else if (!skip_damaged(db, statement, r, problem)) {
                        aip_error_propagate(err, problem);
                        break;
                }
        }
        sqlite3_reset(statement);
        if (r < 0) {
                aip_sqlite_jobs_free(jobs, n);
                return r;
        }
        *ret_jobs = jobs;
        *ret_n = n;
        return 0;
}

void aip_sqlite_jobs_free(aip_job **jobs, size_t n)
{
        for (size_t i = 0; i < n; i++)
                aip_job_free(jobs[i]);
        aip_free(jobs);
}

static int update_job(struct sqlite_db *db, const aip_job *job, enum aip_job_status from,
                      const struct aip_id *session, int is_delayed, aip_error **err)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_JOB_SAVE, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, &f->id);
        aip_sqlite_bind_text(s, 2, aip_str_of(aip_job_status_name(from)));
        aip_sqlite_bind_text(s, 3, aip_str_of(aip_job_status_name(f->status)));
        sqlite3_bind_int64(s, 4, f->version);
        sqlite3_bind_int(s, 5, f->attempt);
        sqlite3_bind_int64(s, 6, f->updated_at_us);
        sqlite3_bind_int64(s, 7, f->run_at_us);
        aip_sqlite_bind_time(s, 8, f->started_at_us);
        aip_sqlite_bind_time(s, 9, f->finished_at_us);
        aip_sqlite_bind_text(s, 10, f->error_code);
        aip_sqlite_bind_text(s, 11, f->provider);
        aip_sqlite_bind_text(s, 12, f->model_name);
        sqlite3_bind_int64(s, 13, f->input_tokens);
        sqlite3_bind_int64(s, 14, f->output_tokens);
        aip_sqlite_bind_text(s, 15, f->error_message);
        aip_sqlite_bind_text(s, 16, f->result);
        sqlite3_bind_int(s, 17, is_delayed);
        aip_sqlite_bind_id(s, 18, session);
        aip_sqlite_bind_text(s, 19, f->questions_json);
        aip_sqlite_bind_text(s, 20, f->answers_json);
        r = aip_sqlite_step(db, s, err);
        return r < 0 ? r : sqlite3_changes(db->handle) > 0;
}

int aip_sqlite_job_save(struct sqlite_db *db, const aip_job *job, enum aip_job_status from,
                        const struct aip_id *session, struct aip_transition *transition,
                        aip_error **err)
{
        int is_delayed = transition->to == AIP_JOB_QUEUED && !transition->is_runnable;
        int r = update_job(db, job, from, session, is_delayed, err);

        if (r <= 0)
                return r;
        r = aip_sqlite_outbox_insert(db, transition, err);
        return r < 0 ? r : 1;
}

int aip_sqlite_outbox_insert(struct sqlite_db *db, struct aip_transition *t, aip_error **err)
{
        sqlite3_stmt *s = NULL;
        int r = aip_sqlite_prepare(db, SQL_OUTBOX_INSERT, &s, err);

        if (r < 0)
                return r;
        aip_sqlite_bind_id(s, 1, &t->job_id);
        sqlite3_bind_int64(s, 2, t->version);
        aip_sqlite_bind_text(s, 3, aip_str_of(aip_transition_kind_name(t->kind)));
        aip_sqlite_bind_text(s, 4, aip_str_of(aip_job_status_name(t->from)));
        aip_sqlite_bind_text(s, 5, aip_str_of(aip_job_status_name(t->to)));
        sqlite3_bind_int(s, 6, t->attempt);
        sqlite3_bind_int(s, 7, t->is_runnable);
        aip_sqlite_bind_text(s, 8, aip_str_of(t->error_code[0] ? t->error_code : NULL));
        sqlite3_bind_int64(s, 9, t->at_us);
        sqlite3_bind_int64(s, 10, db->now_us);
        r = aip_sqlite_step(db, s, err);
        if (r < 0)
                return r;
        t->outbox_id = sqlite3_last_insert_rowid(db->handle);
        aip_hints_note(&db->hints, t);
        return 0;
}

int aip_sqlite_outbox_read(sqlite3_stmt *row, struct aip_transition *ret_transition,
                           aip_error **err)
{
        struct aip_transition t = {.outbox_id = sqlite3_column_int64(row, 0)};
        struct aip_str error_code = aip_sqlite_text(row, 8);
        int r = aip_transition_kind_parse(aip_sqlite_text(row, 3), &t.kind, err);

        if (r >= 0)
                r = aip_job_status_parse(aip_sqlite_text(row, 4), &t.from, err);
        if (r >= 0)
                r = aip_job_status_parse(aip_sqlite_text(row, 5), &t.to, err);
        if (r < 0)
                return r;
        t.job_id = aip_sqlite_id(row, 1);
        t.version = sqlite3_column_int64(row, 2);
        t.attempt = column_i32(row, 6);
        t.is_runnable = sqlite3_column_int(row, 7) != 0;
        if (error_code.n > 0)
                memcpy(t.error_code, error_code.p, AIP_MIN(error_code.n, sizeof(t.error_code) - 1));
        t.at_us = sqlite3_column_int64(row, 9);
        *ret_transition = t;
        return 0;
}
