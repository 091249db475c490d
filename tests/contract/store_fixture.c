/*
 * The fixture of the store contract; see store_fixture.h. Must never depend on which store it has
 * before it.
 */
#include "store_fixture.h"

#define PATIENCE_MS 30000

struct op_state {
        struct store_fixture *f;
        int n_done;
};

static void op_done(struct aip_op *op)
{
        struct op_state *state = op->user;

        cr_assert(!state->f->is_calling, "done was called from inside the call");
        state->n_done++;
        state->f->n_awaited--;
        cr_assert_eq(state->n_done, 1, "done was called twice");
        if (state->f->uv)
                aip_uv_loop_stop(state->f->uv);
}

void op_begin(struct store_fixture *f, struct aip_op *op)
{
        struct op_state *state = calloc(1, sizeof(*state));

        cr_assert_not_null(state);
        state->f = f;
        op->user = state;
        op->done = op_done;
        op->err = NULL;
        f->n_awaited++;
}

int op_is_done(const struct aip_op *op)
{
        const struct op_state *state = op->user;

        return state->n_done;
}

struct alarm {
        struct aip_timer timer;
        struct store_fixture *f;
        int has_rung;
};

static void ring(struct aip_timer *timer)
{
        struct alarm *alarm = AIP_CONTAINER_OF(timer, struct alarm, timer);

        alarm->has_rung = 1;
        if (alarm->f->uv)
                aip_uv_loop_stop(alarm->f->uv);
}

/* One bit of progress: whatever stops the real loop, or one event of the virtual one. */
static void run_some(struct store_fixture *f)
{
        if (f->uv)
                aip_uv_loop_run(f->uv);
        else
                aip_sim_loop_step(f->sim);
}

void run_for(struct store_fixture *f, int64_t ms)
{
        struct alarm alarm = {{.fire = ring}, f, 0};

        aip_timer_set(f->loop, &alarm.timer, ms);
        while (!alarm.has_rung)
                run_some(f);
}

void run_until(struct store_fixture *f, const int *flag)
{
        int64_t until_ms = aip_now_ms(f->loop) + PATIENCE_MS;

        while (!*flag && aip_now_ms(f->loop) < until_ms)
                run_for(f, 5);
        cr_assert(*flag, "what was waited for did not happen");
}

void op_await(struct store_fixture *f, struct aip_op *op, int code)
{
        struct alarm alarm = {{.fire = ring}, f, 0};

        aip_timer_set(f->loop, &alarm.timer, PATIENCE_MS);
        while (!op_is_done(op) && !alarm.has_rung)
                run_some(f);
        aip_timer_clear(f->loop, &alarm.timer);
        cr_assert(op_is_done(op), "an operation was never done");
        cr_assert_eq(aip_error_code(op->err), code, "expected code %d, got %d: %s", code,
                     aip_error_code(op->err), aip_error_message(op->err));
        aip_error_free(op->err);
        op->err = NULL;
        free(op->user);
        op->user = NULL;
}

static void fixture_open(struct store_fixture *f)
{
        struct aip_store_options options = {.self_size = sizeof(options)};
        struct aip_op migrate = {0};
        aip_error *err = NULL;

        options.loop = f->loop;
        options.random = aip_random_seeded(&f->random, 42);
        aip_id_source_init(&f->ids, options.random);
        cr_assert_eq(f->maker.open(&f->maker, &options, &f->store, &err), 0, "open: %s",
                     aip_error_message(err));
        op_begin(f, &migrate);
        f->store.migrate(f->store.self, &migrate);
        op_await(f, &migrate, 0);
}

static void fixture_loop_init(struct store_fixture *f)
{
        aip_error *err = NULL;

        if (f->maker.is_virtual) {
                cr_assert_eq(aip_sim_loop_new(1700000000000000, &f->sim, &err), 0);
                f->loop = aip_sim_loop_port(f->sim);
        } else {
                cr_assert_eq(aip_uv_loop_new(&f->uv, &err), 0);
                f->loop = aip_uv_loop_port(f->uv);
        }
}

void store_contract_run(const struct store_maker *maker, store_case *run)
{
        struct store_fixture f = {.maker = *maker};
        struct aip_op close = {0};

        if (f.maker.prepare)
                f.maker.prepare(&f.maker);
        fixture_loop_init(&f);
        fixture_open(&f);
        run(&f);
        if (f.store.self) {
                op_begin(&f, &close);
                f.store.close(f.store.self, &close);
                op_await(&f, &close, 0);
        }
        cr_assert_eq(f.n_awaited, 0, "%d operations were never done", f.n_awaited);
        aip_uv_loop_free(f.uv);
        aip_sim_loop_free(f.sim);
        if (f.maker.dispose)
                f.maker.dispose(&f.maker);
}

struct aip_id next_id(struct store_fixture *f)
{
        return aip_id_next(&f->ids, wall_us(f));
}

int64_t wall_us(struct store_fixture *f)
{
        return aip_wall_us(f->loop);
}

aip_job *job_make_from(struct store_fixture *f, struct aip_job_spec *spec)
{
        aip_job *job = NULL;
        aip_error *err = NULL;
        int r = aip_job_new(next_id(f), spec, wall_us(f), &job, &err);

        cr_assert_eq(r, 0, "%s", aip_error_message(err));
        return job;
}

aip_job *job_make(struct store_fixture *f, const char *prompt, int64_t delay_ms)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;

        spec.prompt = S(prompt);
        spec.run_at_us = delay_ms > 0 ? wall_us(f) + delay_ms * 1000 : 0;
        return job_make_from(f, &spec);
}

static struct aip_id store_and_free(struct store_fixture *f, aip_job *job)
{
        struct aip_job_create create = {.job = job};

        DO(f, create, &create);
        cr_assert_eq(create.ret_outcome, AIP_CREATE_CREATED);
        aip_job_free(job);
        return create.ret_job_id;
}

struct aip_id job_create(struct store_fixture *f, const char *prompt, int64_t delay_ms)
{
        return store_and_free(f, job_make(f, prompt, delay_ms));
}

struct aip_id job_create_from(struct store_fixture *f, struct aip_job_spec *spec)
{
        return store_and_free(f, job_make_from(f, spec));
}

aip_job *job_fetch(struct store_fixture *f, struct aip_id id)
{
        struct aip_job_fetch fetch = {.id = id};

        DO(f, fetch, &fetch);
        cr_assert_not_null(fetch.ret_job, "the job is not there");
        return fetch.ret_job;
}

void expect_job(struct store_fixture *f, struct aip_id id, enum aip_job_status status,
                int64_t version, int attempt)
{
        aip_job *job = job_fetch(f, id);
        const struct aip_job_fields *fields = aip_job_fields(job);

        cr_assert_eq(fields->status, status, "expected %s, got %s", aip_job_status_name(status),
                     aip_job_status_name(fields->status));
        cr_assert_eq(fields->version, version, "expected version %lld, got %lld",
                     (long long)version, (long long)fields->version);
        cr_assert_eq(fields->attempt, attempt);
        aip_job_free(job);
}

static void expect_same_text(struct aip_str a, struct aip_str b, const char *what)
{
        cr_assert(aip_str_eq(a, b), "%s differs: \"%.*s\" and \"%.*s\"", what,
                  (int)(a.n < 100 ? a.n : 100), a.p ? a.p : "", (int)(b.n < 100 ? b.n : 100),
                  b.p ? b.p : "");
        cr_assert_eq(a.p == NULL, b.p == NULL, "%s is there in one only", what);
}

/* Stores may write JSON in their own way: it must mean the same. */
static void expect_same_json(struct aip_str a, struct aip_str b, const char *what)
{
        aip_value *x = NULL, *y = NULL;

        cr_assert_eq(a.n == 0, b.n == 0, "%s is there in one only", what);
        if (a.n == 0)
                return;
        cr_assert_eq(aip_value_parse(a, &x, NULL), 0);
        cr_assert_eq(aip_value_parse(b, &y, NULL), 0);
        cr_assert(aip_value_equal(x, y), "%s differs", what);
        aip_value_unref(x);
        aip_value_unref(y);
}

void expect_same_job(const aip_job *job_a, const aip_job *job_b)
{
        const struct aip_job_fields *a = aip_job_fields(job_a), *b = aip_job_fields(job_b);

        cr_assert(aip_id_equal(&a->id, &b->id));
        cr_assert_eq(a->status, b->status);
        cr_assert_eq(a->version, b->version);
        cr_assert_eq(a->attempt, b->attempt);
        cr_assert_eq(a->max_attempts, b->max_attempts);
        cr_assert_eq(a->retry_delay_ms, b->retry_delay_ms);
        expect_same_text(a->prompt, b->prompt, "prompt");
        expect_same_text(a->config_name, b->config_name, "config_name");
        expect_same_text(a->template_name, b->template_name, "template_name");
        expect_same_text(a->graph_name, b->graph_name, "graph_name");
        expect_same_json(a->variables_json, b->variables_json, "variables");
        expect_same_json(a->metadata_json, b->metadata_json, "metadata");
        expect_same_json(a->input_json, b->input_json, "input");
        expect_same_text(a->trace_id, b->trace_id, "trace_id");
        cr_expect_eq(a->is_streamed, b->is_streamed);
        expect_same_text(a->result, b->result, "result");
        expect_same_text(a->questions_json, b->questions_json, "questions");
        expect_same_text(a->answers_json, b->answers_json, "answers");
        expect_same_text(a->error_code, b->error_code, "error_code");
        expect_same_text(a->error_message, b->error_message, "error_message");
        expect_same_text(a->provider, b->provider, "provider");
        expect_same_text(a->model_name, b->model_name, "model_name");
        cr_assert_eq(a->input_tokens, b->input_tokens);
        cr_assert_eq(a->output_tokens, b->output_tokens);
        cr_assert_eq(a->created_at_us, b->created_at_us);
        cr_assert_eq(a->updated_at_us, b->updated_at_us);
        /* A retry's delay counts from the store's now. */
        cr_assert_lt(llabs((long long)(a->run_at_us - b->run_at_us)), 2000000);
        cr_assert_eq(a->started_at_us, b->started_at_us);
        cr_assert_eq(a->finished_at_us, b->finished_at_us);
        cr_assert(aip_id_equal(&a->thread_id, &b->thread_id));
        cr_assert_eq(a->checkpoint, b->checkpoint);
}

void free_jobs(aip_job **jobs, size_t n)
{
        for (size_t i = 0; i < n; i++)
                aip_job_free(jobs[i]);
        free(jobs);
}

aip_job *job_claim(struct store_fixture *f, struct aip_id session, struct aip_id id,
                   int64_t lease_ms)
{
        struct aip_job_claim claim = {
                .session = session, .lease_ms = lease_ms, .ids = &id, .n_ids = 1, .limit = 1};
        aip_job *job;

        DO(f, claim, &claim);
        cr_assert_eq(claim.ret_n, 1, "the job could not be claimed");
        job = claim.ret_jobs[0];
        free(claim.ret_jobs);
        free(claim.ret_transitions);
        return job;
}

int job_can_be_claimed(struct store_fixture *f, struct aip_id id)
{
        struct aip_job_claim claim = {.session = next_id(f),
                                      .lease_ms = LEASE_LONG_MS,
                                      .ids = &id,
                                      .n_ids = 1,
                                      .limit = 1};

        DO(f, claim, &claim);
        free_jobs(claim.ret_jobs, claim.ret_n);
        free(claim.ret_transitions);
        return claim.ret_n == 1;
}

struct aip_fence fence_of(const aip_job *job)
{
        return (struct aip_fence){aip_job_fields(job)->id, aip_job_fields(job)->version};
}

static enum aip_finish_outcome record(struct store_fixture *f, aip_job *job,
                                      struct aip_transition transition)
{
        struct aip_job_finish finish = {.job = job, .transition = transition};

        DO(f, finish, &finish);
        if (finish.ret_outcome == AIP_FINISH_RECORDED)
                cr_assert_gt(finish.transition.outbox_id, 0);
        return finish.ret_outcome;
}

enum aip_finish_outcome job_complete(struct store_fixture *f, aip_job *job, const char *result)
{
        struct aip_job_outcome outcome = {.self_size = sizeof(outcome)};
        struct aip_transition transition;

        outcome.result = S(result);
        outcome.provider = S("simulated");
        outcome.model_name = S("tiny");
        outcome.input_tokens = 7;
        outcome.output_tokens = INT64_C(5000000000);
        cr_assert_eq(aip_job_complete(job, &outcome, wall_us(f), &transition, NULL), 0);
        return record(f, job, transition);
}

enum aip_finish_outcome job_fail(struct store_fixture *f, aip_job *job, int is_retryable)
{
        struct aip_transition transition;
        aip_error *failure = NULL;

        aip_error_set(&failure, AIP_EUPSTREAM, "the model is “overloaded”");
        aip_error_set_kind(failure, "provider_overloaded");
        aip_error_set_retryable(failure, is_retryable, 0);
        cr_assert_eq(aip_job_fail(job, failure, wall_us(f), &transition, NULL), 0);
        aip_error_free(failure);
        return record(f, job, transition);
}

size_t do_chore(struct store_fixture *f, enum chore chore, size_t limit, int64_t min_age_ms,
                struct aip_transition **ret_transitions, int64_t *ret_next_ms)
{
        struct aip_chores chores = {.limit = limit, .min_age_ms = min_age_ms};

        switch (chore) {
        case CHORE_PROMOTE:
                DO(f, promote, &chores);
                break;
        case CHORE_RECOVER:
                DO(f, recover, &chores);
                break;
        case CHORE_SWEEP:
                DO(f, sweep, &chores);
                break;
        }
        cr_assert_leq(chores.ret_n, limit);
        *ret_transitions = chores.ret_transitions;
        if (ret_next_ms)
                *ret_next_ms = chores.ret_next_ms;
        return chores.ret_n;
}

size_t count_chore(struct store_fixture *f, enum chore chore, size_t limit, int64_t min_age_ms)
{
        struct aip_transition *transitions = NULL;
        size_t n = do_chore(f, chore, limit, min_age_ms, &transitions, NULL);

        free(transitions);
        return n;
}

void forget(struct store_fixture *f, const int64_t *outbox_ids, size_t n)
{
        struct aip_op op = {0};

        op_begin(f, &op);
        f->is_calling = 1;
        f->store.jobs.ops->forget(f->store.jobs.self, &op, outbox_ids, n);
        f->is_calling = 0;
        op_await(f, &op, 0);
}

size_t forget_all(struct store_fixture *f)
{
        struct aip_transition *rows = NULL;
        size_t n = do_chore(f, CHORE_SWEEP, 10000, 0, &rows, NULL);
        int64_t *ids = calloc(n + 1, sizeof(*ids));

        for (size_t i = 0; i < n; i++)
                ids[i] = rows[i].outbox_id;
        forget(f, ids, n);
        free(ids);
        free(rows);
        return n;
}

aip_catalog *catalog_load(struct store_fixture *f)
{
        struct aip_catalog_load load = {.ret_invalid = AIP_BUF_INIT(10000)};

        DO_CATALOG(f, load, &load);
        cr_assert_eq(load.ret_n_invalid, 0, "%s", aip_buf_str(&load.ret_invalid).p);
        aip_buf_deinit(&load.ret_invalid);
        return load.ret_catalog;
}

int64_t catalog_revision(struct store_fixture *f)
{
        struct aip_op op = {0};
        int64_t revision = -1;

        op_begin(f, &op);
        f->store.catalog.ops->revision(f->store.catalog.self, &op, &revision);
        op_await(f, &op, 0);
        return revision;
}
