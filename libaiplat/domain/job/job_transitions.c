/*
 * What can happen to a job. Called by the services and by stores that move jobs themselves. Each
 * function first does everything that can fail, then moves the job through `move`, the one place
 * where status, version and times change; so a refused transition changes nothing.
 */
#include "job/job_impl.h"

static const char worker_lost_code[] = "internal_worker_lost";
static const char worker_lost_message[] = "the worker that ran the job was lost";

static int check_may_become(const aip_job *job, enum aip_job_status to, aip_error **err)
{
        if (aip_job_status_may_become(job->fields.status, to))
                return 0;
        char id[AIP_ID_TEXT_BYTES];
        return aip_error_set(err, AIP_ESTATE, "job %s is %s and cannot become %s",
                             aip_id_format(&job->fields.id, id),
                             aip_job_status_name(job->fields.status), aip_job_status_name(to));
}

/* For moves whose target may be reached from elsewhere, too. */
static int check_is(const aip_job *job, enum aip_job_status status, aip_error **err)
{
        char id[AIP_ID_TEXT_BYTES];

        if (job->fields.status == status)
                return 0;
        return aip_error_set(err, AIP_ESTATE, "job %s is %s, not %s",
                             aip_id_format(&job->fields.id, id),
                             aip_job_status_name(job->fields.status), aip_job_status_name(status));
}

/* Times of a job never run backwards, whatever the clocks of gateways and workers do. */
static int64_t time_of_move(const aip_job *job, int64_t now_us)
{
        return AIP_MIN(AIP_MAX(now_us, job->fields.updated_at_us), AIP_TIMESTAMP_MAX_US);
}

static struct aip_transition describe(const aip_job *job, enum aip_transition_kind kind,
                                      enum aip_job_status from)
{
        const struct aip_job_fields *f = &job->fields;
        struct aip_transition t = {
                .job_id = f->id,
                .version = f->version,
                .at_us = f->updated_at_us,
                .kind = kind,
                .from = from,
                .to = f->status,
                .attempt = f->attempt,
                .is_runnable = f->status == AIP_JOB_QUEUED && f->run_at_us <= f->updated_at_us,
        };
        if (kind == AIP_TRANSITION_RETRY || kind == AIP_TRANSITION_FAILED)
                memcpy(t.error_code, f->error_code.p,
                       AIP_MIN(f->error_code.n, AIP_JOB_ERROR_CODE_MAX_BYTES));
        return t;
}

static struct aip_transition move(aip_job *job, enum aip_transition_kind kind,
                                  enum aip_job_status to, int64_t at_us)
{
        enum aip_job_status from = job->fields.status;
        job->fields.status = to;
        job->fields.version++;
        job->fields.updated_at_us = at_us;
        if (aip_job_status_is_terminal(to))
                job->fields.finished_at_us = at_us;
        /* A question lasts until it is answered, an answer until the run that it is for is over. */
        if (to != AIP_JOB_INTERRUPTED)
                job->fields.questions_json = aip_str_make(NULL, 0);
        if (aip_job_status_is_at_rest(to))
                job->fields.answers_json = aip_str_make(NULL, 0);
        return describe(job, kind, from);
}

struct aip_transition aip_job_created(const aip_job *job)
{
        return describe(job, AIP_TRANSITION_CREATED, AIP_JOB_QUEUED);
}

int aip_job_start(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                  aip_error **err)
{
        int r = check_may_become(job, AIP_JOB_PROCESSING, err);
        if (r < 0)
                return r;
        int64_t at_us = time_of_move(job, now_us);
        if (at_us < job->fields.run_at_us) {
                char id[AIP_ID_TEXT_BYTES], due[AIP_TIMESTAMP_TEXT_BYTES];
                return aip_error_set(err, AIP_ESTATE, "job %s is not due before %s",
                                     aip_id_format(&job->fields.id, id),
                                     aip_timestamp_format(job->fields.run_at_us, due));
        }
        job->fields.attempt++;
        job->fields.started_at_us = at_us;
        *ret_transition = move(job, AIP_TRANSITION_STARTED, AIP_JOB_PROCESSING, at_us);
        return 0;
}

static int check_outcome(const struct aip_job_outcome *outcome, aip_error **err)
{
        int r = aip_text_check("result", outcome->result, AIP_JOB_RESULT_MAX_BYTES, err);
        if (r == 0)
                r = aip_text_check("provider", outcome->provider, AIP_NAME_MAX_BYTES, err);
        if (r == 0)
                r = aip_text_check("model_name", outcome->model_name, AIP_NAME_MAX_BYTES, err);
        if (r == 0 && (outcome->input_tokens < 0 || outcome->output_tokens < 0))
                r = aip_error_set(err, AIP_EINVAL, "tokens: a number of tokens is negative");
        return r;
}

/* Everything in one allocation; the views of `outcome` then point into it. */
static int copy_outcome(struct aip_job_outcome *outcome, char **ret_text, aip_error **err)
{
        if (!outcome->result.p)
                outcome->result.p = "";
        struct aip_str *strings[] = {&outcome->result, &outcome->provider, &outcome->model_name};
        size_t bytes = 0;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(strings); i++) {
                if (i > 0 && strings[i]->n == 0)
                        strings[i]->p = NULL;
                bytes += aip_text_packed_bytes(*strings[i]);
        }
        char *text = aip_alloc(bytes);
        if (!text)
                return aip_error_set_nomem(err);
        char *at = text;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(strings); i++)
                at = aip_text_pack(strings[i], at);
        *ret_text = text;
        return 0;
}

int aip_job_complete(aip_job *job, const struct aip_job_outcome *outcome, int64_t now_us,
                     struct aip_transition *ret_transition, aip_error **err)
{
        struct aip_job_outcome full = {0};
        aip_fields_merge(&full, sizeof(full), outcome);
        char *text = NULL;
        int r = check_may_become(job, AIP_JOB_COMPLETED, err);
        if (r == 0)
                r = check_outcome(&full, err);
        if (r == 0)
                r = copy_outcome(&full, &text, err);
        if (r < 0)
                return r;
        job->outcome_text = text;
        job->fields.result = full.result;
        job->fields.provider = full.provider;
        job->fields.model_name = full.model_name;
        job->fields.input_tokens = full.input_tokens;
        job->fields.output_tokens = full.output_tokens;
        *ret_transition =
                move(job, AIP_TRANSITION_COMPLETED, AIP_JOB_COMPLETED, time_of_move(job, now_us));
        return 0;
}

/* What the failure is called; every failure is called something. */
static struct aip_str name_of(const aip_error *failure)
{
        const char *kind = aip_error_kind(failure);
        return aip_str_of(kind[0] ? kind : aip_error_code_name(aip_error_code(failure)));
}

/* Messages may quote a peer's bytes, so they are cleaned before anyone stores or shows them. */
static int record_error(aip_job *job, const aip_error *failure, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text =
                AIP_BUF_INIT(AIP_JOB_ERROR_CODE_MAX_BYTES + AIP_JOB_ERROR_MESSAGE_MAX_BYTES + 1);
        if (aip_text_append_clean(&text, name_of(failure), AIP_JOB_ERROR_CODE_MAX_BYTES) < 0)
                return aip_error_set_nomem(err);
        size_t code_bytes = text.n;
        if (aip_buf_append_char(&text, '\0') < 0 ||
            aip_text_append_clean(&text, aip_str_of(aip_error_message(failure)),
                                  AIP_JOB_ERROR_MESSAGE_MAX_BYTES) < 0)
                return aip_error_set_nomem(err);
        size_t message_bytes = text.n - code_bytes - 1;
        char *block = aip_buf_take(&text);
        if (!block)
                return aip_error_set_nomem(err);
        aip_free(job->error_text);
        job->error_text = block;
        job->fields.error_code = aip_str_make(block, code_bytes);
        job->fields.error_message = aip_str_make(block + code_bytes + 1, message_bytes);
        return 0;
}

static void queue_again(aip_job *job, int64_t run_at_us)
{
        job->fields.run_at_us = AIP_MIN(run_at_us, AIP_TIMESTAMP_MAX_US);
}

static int64_t retry_at(const aip_job *job, const aip_error *failure, int64_t at_us)
{
        int64_t delay_ms = aip_job_retry_delay_ms(job->fields.retry_delay_ms, job->fields.attempt,
                                                  aip_error_retry_after_ms(failure));
        return at_us + AIP_MIN(delay_ms, AIP_TIMESTAMP_MAX_US / 1000) * 1000;
}

static int has_attempts_left(const aip_job *job)
{
        return job->fields.attempt < job->fields.max_attempts;
}

int aip_job_fail(aip_job *job, const aip_error *failure, int64_t now_us,
                 struct aip_transition *ret_transition, aip_error **err)
{
        if (!failure)
                return aip_error_set(err, AIP_EINVAL,
                                     "failure: a job cannot fail without an error");
        int r = check_may_become(job, AIP_JOB_FAILED, err);
        if (r == 0)
                r = record_error(job, failure, err);
        if (r < 0)
                return r;
        int64_t at_us = time_of_move(job, now_us);
        if (aip_error_is_retryable(failure) && has_attempts_left(job)) {
                queue_again(job, retry_at(job, failure, at_us));
                *ret_transition = move(job, AIP_TRANSITION_RETRY, AIP_JOB_QUEUED, at_us);
        } else {
                *ret_transition = move(job, AIP_TRANSITION_FAILED, AIP_JOB_FAILED, at_us);
        }
        return 0;
}

/* Only a running job can be handed back. */
int aip_job_release(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                    aip_error **err)
{
        int r = check_is(job, AIP_JOB_PROCESSING, err);
        if (r < 0)
                return r;
        int64_t at_us = time_of_move(job, now_us);
        job->fields.attempt--;
        queue_again(job, at_us);
        *ret_transition = move(job, AIP_TRANSITION_RELEASED, AIP_JOB_QUEUED, at_us);
        return 0;
}

int aip_job_lose_worker(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                        aip_error **err)
{
        int r = check_is(job, AIP_JOB_PROCESSING, err);
        if (r < 0)
                return r;
        int64_t at_us = time_of_move(job, now_us);
        aip_free(AIP_TAKE(job->error_text));
        job->fields.error_code = AIP_STR(worker_lost_code);
        job->fields.error_message = AIP_STR(worker_lost_message);
        if (has_attempts_left(job)) {
                queue_again(job, at_us);
                *ret_transition = move(job, AIP_TRANSITION_RELEASED, AIP_JOB_QUEUED, at_us);
        } else {
                *ret_transition = move(job, AIP_TRANSITION_FAILED, AIP_JOB_FAILED, at_us);
        }
        return 0;
}

int aip_job_cancel(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                   aip_error **err)
{
        int r = check_may_become(job, AIP_JOB_CANCELLED, err);
        if (r < 0)
                return r;
        *ret_transition =
                move(job, AIP_TRANSITION_CANCELLED, AIP_JOB_CANCELLED, time_of_move(job, now_us));
        return 0;
}

/* A copy of `text` in place of the questions or answers that were there. */
static int keep_dialogue(aip_job *job, const char *what, struct aip_str *text, aip_error **err)
{
        if (text->n > AIP_JOB_QUESTIONS_MAX_BYTES)
                return aip_error_set(err, AIP_ELIMIT, "%s: at most %u bytes of JSON", what,
                                     AIP_JOB_QUESTIONS_MAX_BYTES);
        int r = aip_text_check(what, *text, AIP_JOB_QUESTIONS_MAX_BYTES, err);
        if (r == 0 && text->n == 0)
                r = aip_error_set(err, AIP_EINVAL, "%s: there are none", what);
        if (r < 0)
                return r;
        char *copy = aip_alloc(aip_text_packed_bytes(*text));
        if (!copy)
                return aip_error_set_nomem(err);
        (void)aip_text_pack(text, copy);
        aip_free(job->dialogue_text);
        job->dialogue_text = copy;
        return 0;
}

int aip_job_interrupt(aip_job *job, struct aip_str questions_json, int64_t now_us,
                      struct aip_transition *ret_transition, aip_error **err)
{
        int r = check_may_become(job, AIP_JOB_INTERRUPTED, err);
        if (r == 0)
                r = keep_dialogue(job, "questions", &questions_json, err);
        if (r < 0)
                return r;
        job->fields.questions_json = questions_json;
        *ret_transition = move(job, AIP_TRANSITION_INTERRUPTED, AIP_JOB_INTERRUPTED,
                               time_of_move(job, now_us));
        return 0;
}

/* The table knows another way to QUEUED, which is not for answers. */
int aip_job_resume(aip_job *job, struct aip_str answers_json, int64_t now_us,
                   struct aip_transition *ret_transition, aip_error **err)
{
        int r = check_is(job, AIP_JOB_INTERRUPTED, err);
        if (r == 0)
                r = keep_dialogue(job, "answers", &answers_json, err);
        if (r < 0)
                return r;
        int64_t at_us = time_of_move(job, now_us);
        job->fields.attempt--;
        job->fields.answers_json = answers_json;
        queue_again(job, at_us);
        *ret_transition = move(job, AIP_TRANSITION_RESUMED, AIP_JOB_QUEUED, at_us);
        return 0;
}

int aip_job_waits(const aip_job *job)
{
        return job->fields.status == AIP_JOB_QUEUED && job->fields.run_at_us == AIP_JOB_WAITS_US;
}

int aip_job_hold(aip_job *job, aip_error **err)
{
        int r = check_is(job, AIP_JOB_QUEUED, err);
        if (r == 0)
                job->fields.run_at_us = AIP_JOB_WAITS_US;
        return r;
}

int aip_job_begin_at(aip_job *job, int64_t checkpoint, aip_error **err)
{
        int r = check_is(job, AIP_JOB_QUEUED, err);
        if (r == 0 && (job->fields.version != 1 || job->fields.checkpoint != 0))
                r = aip_error_set(err, AIP_ESTATE, "the job knows where to begin");
        if (r == 0)
                job->fields.checkpoint = checkpoint;
        return r;
}

int aip_job_take_turn(aip_job *job, int64_t now_us, aip_error **err)
{
        if (!aip_job_waits(job))
                return aip_error_set(err, AIP_ESTATE, "the job does not wait for its turn");
        job->fields.run_at_us = time_of_move(job, now_us);
        return 0;
}
