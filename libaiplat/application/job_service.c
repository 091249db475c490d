/*
 * Submit, read, wait, list, cancel, resume (job_service.h). Called by the HTTP controllers, by aiplatctl and
 * by C programs. Everything is checked here before the store sees it; what the store has committed is
 * handed to the outbox relay; ended jobs are answered from the cache.
 *
 * Waiting for a job: read it; when it has not ended, sleep until the store's watcher says that it
 * has, or a second has passed (a hint may get lost with a connection), and read it again. A hint that
 * comes while the job is being read makes it read once more, as the answer may be the older of both.
 */
#include <aiplat/job_service.h>
#include <aiplat/json_schema.h>

#include "admission.h"
#include "fault_point.h"
#include "job_status_event.h"
#include "job_view.h"
#include "macros.h"
#include "mem.h"

#define WAITER_BUCKETS  4096 /* a power of two */
#define WAIT_RECHECK_MS 1000
#define WAIT_MAX_MS     3600000
#define DELAY_MAX_MS    (366LL * 24 * 3600 * 1000) /* a job may be made to wait for a year */

enum read_state {
        READ_FETCHING,
        READ_FETCHING_HINTED, /* the job has come to rest since the store was asked */
        READ_WAITING,
        READ_OVER
};

/* How submissions end. */
enum submitted {
        SUBMITTED_ACCEPTED,
        SUBMITTED_REPLAYED,
        SUBMITTED_REFUSED, /* too many wait for the store */
        SUBMITTED_INVALID,
        SUBMITTED_UNSTORED, /* the store did not take it, or did not say so in time */
        N_SUBMITTED
};

struct aip_job_service {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_job_repository jobs;
        struct aip_cache cache;
        struct aip_event_stream events;
        aip_catalog_service *catalog;
        const aip_graph_registry *graphs;
        aip_outbox_relay *relay;
        int32_t cache_ttl_s;
        struct aip_id_source ids;
        struct aip_admission admission;
        struct aip_store_watcher watcher;
        aip_metrics *registry;
        struct aip_metrics_source metrics;
        uint64_t n_submitted[N_SUBMITTED], n_refused;
        struct aip_job_read *waiters[WAITER_BUCKETS]; /* reads that may wait, by job id */
};

/* ── submit ──────────────────────────────────────────────────────────────────────────────────── */

static int check_idempotency_key(struct aip_str key, aip_error **err)
{
        if (key.n > AIP_IDEMPOTENCY_KEY_MAX_BYTES)
                return aip_error_set(err, AIP_EINVAL, "Idempotency-Key: at most %d bytes",
                                     AIP_IDEMPOTENCY_KEY_MAX_BYTES);
        for (size_t i = 0; i < key.n; i++)
                if (key.p[i] < 0x20 || key.p[i] > 0x7e)
                        return aip_error_set(err, AIP_EINVAL,
                                             "Idempotency-Key: printable ASCII only");
        return 0;
}

/* Names every variable that the template requires and the job does not give. */
static int check_variables(const aip_prompt_template *template, struct aip_str variables_json,
                           aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *variables = NULL;
        _cleanup_(aip_buf_deinit) struct aip_buf missing = AIP_BUF_INIT(2 * AIP_TEMPLATE_MAX_BYTES);
        const struct aip_template_variable *wanted;
        size_t n = aip_prompt_template_variables(template, &wanted);
        int r;

        if (n == 0)
                return 0;
        if (variables_json.n > 0 && (r = aip_value_parse(variables_json, &variables, err)) < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                if (!wanted[i].is_required || aip_value_get(variables, wanted[i].name))
                        continue;
                r = aip_buf_printf(&missing, "%s%.*s", missing.n ? ", " : "", (int)wanted[i].name.n,
                                   wanted[i].name.p);
                if (r < 0)
                        return aip_error_set_nomem(err);
        }
        if (missing.n == 0)
                return 0;
        return aip_error_set(err, AIP_EINVAL, "variables: the template needs: %s", missing.p);
}

/* What the job is to go on with must have been kept. */
static int check_goes_on(const struct aip_graph_entry *graph, aip_error **err)
{
        if (graph->version > 0 ||
            !aip_str_eq(aip_graph_document_name(graph->document), aip_str_of("assistant")))
                return 0;
        return aip_error_set(err, AIP_EINVAL,
                             "prompt: is required: the graph 'assistant' keeps no state to go on "
                             "with");
}

/* The same of a graph of the program's own. */
static int check_input_of_code(const struct aip_registered_graph *graph,
                               const struct aip_job_fields *f, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *input = NULL, *channels = NULL;
        int r;

        if (aip_job_fields_go_on(f))
                return !graph->is_unkept ? 0
                                         : aip_error_set(err, AIP_EINVAL,
                                                         "prompt: is required: the graph '%s' "
                                                         "keeps no state to go on with",
                                                         graph->name);
        r = f->input_json.n > 0 ? aip_value_parse(f->input_json, &input, err) : 0;
        return r < 0 ? r : aip_registered_graph_input(graph, f->prompt, input, &channels, err);
}

/* The graph is there, and takes what the job feeds it. */
static int check_input(const struct aip_job_service *s, const aip_catalog *catalog,
                       const struct aip_job_fields *f, aip_error **err)
{
        const struct aip_registered_graph *code = aip_graph_registry_find(s->graphs, f->graph_name);
        const struct aip_graph_entry *graph = aip_catalog_graph(catalog, f->graph_name);
        _cleanup_(aip_value_unref_p) aip_value *input = NULL, *channels = NULL;
        int r;

        if (code)
                return check_input_of_code(code, f, err);
        if (!graph)
                return aip_error_set(err, AIP_ENOTFOUND, "graph_name: no graph '%.*s'",
                                     (int)f->graph_name.n, f->graph_name.p);
        if (aip_job_fields_go_on(f))
                return check_goes_on(graph, err);
        if (graph->version == 0 && aip_str_eq(f->graph_name, aip_str_of("assistant")))
                return f->input_json.n == 0 ? 0
                                            : aip_error_set(err, AIP_EINVAL,
                                                            "input: the graph 'assistant' "
                                                            "takes the prompt alone");
        r = f->input_json.n > 0 ? aip_value_parse(f->input_json, &input, err) : 0;
        return r < 0 ? r
                     : aip_graph_document_input(graph->document, f->prompt, input, &channels, err);
}

/* The job must be able to run as things stand; what changes later is found out by the worker. */
static int check_names(const struct aip_job_service *s, const aip_catalog *catalog,
                       const struct aip_job_fields *f, aip_error **err)
{
        const aip_llm_config *config = aip_catalog_config(catalog, f->config_name);
        const aip_prompt_template *template = aip_catalog_template(catalog, f->template_name);
        int r;

        if (!config)
                return aip_error_set(err, AIP_ENOTFOUND, "config_name: no configuration '%.*s'",
                                     (int)f->config_name.n, f->config_name.p);
        if (!aip_llm_config_fields(config)->is_active)
                return aip_error_set(err, AIP_ENOTFOUND,
                                     "config_name: the configuration '%.*s' is not active",
                                     (int)f->config_name.n, f->config_name.p);
        if (!template)
                return aip_error_set(err, AIP_ENOTFOUND, "template_name: no template '%.*s'",
                                     (int)f->template_name.n, f->template_name.p);
        if ((r = check_input(s, catalog, f, err)) < 0)
                return r;
        return check_variables(template, f->variables_json, err);
}

/* Everything that makes two requests the same, in one text, hashed (SHA-1, by way of a UUIDv5). */
static int fingerprint(const struct aip_job_submit *submit, const struct aip_job_fields *f,
                       uint64_t ret_fingerprint[2], aip_error **err)
{
        static const struct aip_id space = {{0xa1, 0x91, 0xa7}};
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(2u << 20);
        const struct aip_str parts[] = {f->prompt,     f->config_name,    f->template_name,
                                        f->graph_name, f->variables_json, f->metadata_json,
                                        f->input_json};
        char id[AIP_ID_TEXT_BYTES];
        struct aip_id hash;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < AIP_ARRAY_SIZE(parts); i++) {
                r = aip_buf_printf(&text, "%zu:", parts[i].n);
                if (r >= 0)
                        r = aip_buf_append(&text, parts[i]);
        }
        if (r >= 0)
                r = aip_buf_printf(&text, "%d,%d,%lld,%lld", f->max_attempts, f->retry_delay_ms,
                                   (long long)submit->spec.run_at_us, (long long)submit->delay_ms);
        if (r >= 0 && f->is_streamed)
                r = aip_buf_append_cstr(&text, ",stream");
        if (r >= 0 && !aip_id_is_nil(&f->thread_id))
                r = aip_buf_printf(&text, ",thread %s,%lld,%d", aip_id_format(&f->thread_id, id),
                                   (long long)f->checkpoint, (int)submit->strategy);
        if (r < 0)
                return aip_error_set(err, r, "no memory for the request's fingerprint");
        hash = aip_id_from_name(&space, aip_buf_str(&text));
        memcpy(ret_fingerprint, hash.bytes, sizeof(hash.bytes));
        return 0;
}

static int prepare(struct aip_job_service *s, struct aip_job_submit *submit, aip_error **err)
{
        const aip_catalog *catalog = aip_catalog_service_current(s->catalog);
        int64_t now_us = aip_wall_us(s->loop);
        struct aip_job_spec spec = submit->spec;
        int r;

        if (!catalog)
                return aip_error_set(err, AIP_EUNAVAILABLE,
                                     "the configurations have not been read yet");
        if (submit->delay_ms < 0 || submit->delay_ms > DELAY_MAX_MS ||
            spec.run_at_us > now_us + DELAY_MAX_MS * 1000)
                return aip_error_set(err, AIP_EINVAL,
                                     "%s: at most 366 days ahead, and not negative",
                                     submit->delay_ms ? "delay" : "run_at");
        if (!aip_id_is_nil(&spec.thread_id) && (spec.run_at_us != 0 || submit->delay_ms > 0))
                return aip_error_set(err, AIP_EINVAL,
                                     "thread_id: not with run_at or delay: the thread says when");
        if (spec.run_at_us == 0 && submit->delay_ms > 0)
                spec.run_at_us = now_us + submit->delay_ms * 1000;
        if ((r = check_idempotency_key(submit->idempotency_key, err)) < 0 ||
            (r = aip_job_new(aip_id_next(&s->ids, now_us), &spec, now_us, &submit->job, err)) < 0)
                return r;
        if ((r = check_names(s, catalog, aip_job_fields(submit->job), err)) < 0)
                return r;
        if (submit->idempotency_key.n == 0)
                return 0;
        return fingerprint(submit, aip_job_fields(submit->job), submit->create.fingerprint, err);
}

static enum submitted submitted_as(const struct aip_job_submit *submit, const aip_error *err)
{
        if (!err)
                return submit->ret_is_replay ? SUBMITTED_REPLAYED : SUBMITTED_ACCEPTED;
        switch (aip_error_code(err)) {
        case AIP_ELIMIT:
                return SUBMITTED_REFUSED;
        case AIP_EINVAL:
        case AIP_ENOTFOUND:
        case AIP_ECONFLICT:
                return SUBMITTED_INVALID;
        default:
                return SUBMITTED_UNSTORED;
        }
}

static void submit_end(struct aip_job_submit *submit, aip_error *err)
{
        submit->service->n_submitted[submitted_as(submit, err)]++;
        aip_job_free(AIP_TAKE(submit->job));
        aip_op_finish(submit->service->loop, &submit->op, err);
}

static void created(struct aip_op *op)
{
        struct aip_job_submit *submit = AIP_CONTAINER_OF(op, struct aip_job_submit, create.op);
        struct aip_job_create *create = &submit->create;
        aip_error *err = AIP_TAKE(op->err);

        aip_admission_leave(&submit->service->admission, submit, !err,
                            aip_now_ms(submit->service->loop));
        if (!err && create->ret_outcome == AIP_CREATE_KEY_REUSED)
                aip_error_set(&err, AIP_ECONFLICT,
                              "Idempotency-Key: already used with a different request");
        if (!err && create->ret_outcome == AIP_CREATE_THREAD_BUSY)
                aip_error_set(&err, AIP_ECONFLICT, "thread_id: a job of the thread has not ended");
        if (err) {
                submit_end(submit, err);
                return;
        }
        AIP_FAULT_POINT("accept.committed");
        if (create->ret_outcome == AIP_CREATE_CREATED) {
                aip_outbox_relay_push(submit->service->relay, &create->ret_transition);
                aip_job_status_event_append(submit->service->events, submit->job);
        } else {
                submit->ret_is_replay = 1;
        }
        submit->ret_job_id = create->ret_job_id;
        submit->ret_status = create->ret_status;
        submit_end(submit, err);
}

/* Before anything else, as what is refused must cost as little as can be. */
int aip_job_service_admit(aip_job_service *s, aip_error **err)
{
        int64_t retry_ms = aip_admission_retry_ms(&s->admission, aip_now_ms(s->loop));
        int r;

        if (retry_ms == 0)
                return 0;
        s->n_refused++;
        r = aip_error_set(err, AIP_ELIMIT, "overloaded: what waits for the store takes it %lld ms",
                          (long long)retry_ms);
        if (err)
                aip_error_set_retryable(*err, 1, retry_ms);
        return r;
}

void aip_job_service_submit(aip_job_service *s, struct aip_job_submit *submit)
{
        aip_error *err = NULL;

        submit->service = s;
        submit->job = NULL;
        submit->ret_is_replay = 0;
        submit->create = (struct aip_job_create){.op = {.done = created}};
        if (aip_job_service_admit(s, &err) < 0 || prepare(s, submit, &err) < 0) {
                submit_end(submit, err);
                return;
        }
        submit->create.op.deadline_ms = submit->op.deadline_ms;
        submit->create.job = submit->job;
        submit->create.strategy = submit->strategy;
        submit->create.idempotency_key = submit->idempotency_key;
        submit->create.is_delay = submit->spec.run_at_us == 0 && submit->delay_ms > 0;
        aip_admission_enter(&s->admission, submit, aip_now_ms(s->loop));
        s->jobs.ops->create(s->jobs.self, &submit->create);
}

/* ── read and wait ───────────────────────────────────────────────────────────────────────────── */

static struct aip_job_read **bucket_of(struct aip_job_service *s, const struct aip_id *id)
{
        return &s->waiters[aip_id_hash(id) & (WAITER_BUCKETS - 1)];
}

static void waiter_add(struct aip_job_read *read)
{
        struct aip_job_read **bucket = bucket_of(read->service, &read->id);

        read->previous_waiter = NULL;
        read->next_waiter = *bucket;
        if (*bucket)
                (*bucket)->previous_waiter = read;
        *bucket = read;
}

static void waiter_remove(struct aip_job_read *read)
{
        if (read->next_waiter)
                read->next_waiter->previous_waiter = read->previous_waiter;
        if (read->previous_waiter)
                read->previous_waiter->next_waiter = read->next_waiter;
        else
                *bucket_of(read->service, &read->id) = read->next_waiter;
        read->next_waiter = read->previous_waiter = NULL;
}

static void read_end(struct aip_job_read *read, aip_error *err)
{
        if (read->wait_ms > 0)
                waiter_remove(read);
        aip_timer_clear(read->service->loop, &read->timer);
        read->state = READ_OVER;
        aip_op_finish(read->service->loop, &read->op, err);
}

static void read_fetched(struct aip_op *op);

static void read_fetch(struct aip_job_read *read)
{
        struct aip_job_service *s = read->service;

        aip_timer_clear(s->loop, &read->timer);
        read->state = READ_FETCHING;
        read->fetch = (struct aip_job_fetch){.op = {.done = read_fetched}, .id = read->id};
        read->fetch.op.deadline_ms = read->op.deadline_ms;
        s->jobs.ops->fetch(s->jobs.self, &read->fetch);
}

static void read_again(struct aip_timer *timer)
{
        read_fetch(AIP_CONTAINER_OF(timer, struct aip_job_read, timer));
}

static void read_fetched(struct aip_op *op)
{
        struct aip_job_read *read = AIP_CONTAINER_OF(op, struct aip_job_read, fetch.op);
        struct aip_job_service *s = read->service;
        aip_job *job = op->err ? NULL : AIP_TAKE(read->fetch.ret_job);
        int64_t left_ms = read->wait_until_ms - aip_now_ms(s->loop);

        if (op->err || !job || aip_job_status_is_at_rest(aip_job_fields(job)->status) ||
            left_ms <= 0) {
                read->ret_job = job;
                read_end(read, AIP_TAKE(op->err));
                return;
        }
        aip_job_free(job);
        if (read->state == READ_FETCHING_HINTED) {
                read_fetch(read);
                return;
        }
        read->state = READ_WAITING;
        aip_timer_set(s->loop, &read->timer, AIP_MIN(left_ms, (int64_t)WAIT_RECHECK_MS));
}

void aip_job_service_read(aip_job_service *s, struct aip_job_read *read)
{
        int64_t wait_ms = AIP_MIN(read->wait_ms, (int64_t)WAIT_MAX_MS);

        read->service = s;
        read->ret_job = NULL;
        read->timer = (struct aip_timer){.fire = read_again};
        read->wait_until_ms = aip_now_ms(s->loop) + AIP_MAX(wait_ms, (int64_t)0);
        if (wait_ms > 0)
                waiter_add(read);
        read_fetch(read);
}

static void read_hinted(struct aip_job_read *read)
{
        if (read->state == READ_WAITING)
                read_fetch(read);
        else if (read->state == READ_FETCHING)
                read->state = READ_FETCHING_HINTED;
}

static void jobs_ended(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        struct aip_job_service *s = AIP_CONTAINER_OF(watcher, struct aip_job_service, watcher);

        for (size_t i = 0; i < n; i++) {
                struct aip_job_read *read = *bucket_of(s, &ids[i]), *next;

                for (; read; read = next) {
                        next = read->next_waiter;
                        if (aip_id_equal(&read->id, &ids[i]))
                                read_hinted(read);
                }
        }
}

static void for_all_waiters(struct aip_job_service *s, void (*call)(struct aip_job_read *read))
{
        for (size_t i = 0; i < WAITER_BUCKETS; i++) {
                struct aip_job_read *read = s->waiters[i], *next;

                for (; read; read = next) {
                        next = read->next_waiter;
                        call(read);
                }
        }
}

/* A sleep ends now, a read that is under way with what it answers. */
static void end_wait(struct aip_job_read *read)
{
        aip_error *err = NULL;

        read->wait_until_ms = 0;
        if (read->state != READ_WAITING)
                return;
        aip_error_set(&err, AIP_ECANCELLED, "the wait was given up");
        read_end(read, err);
}

void aip_job_service_end_waits(aip_job_service *s)
{
        for_all_waiters(s, end_wait);
}

/* ── view ────────────────────────────────────────────────────────────────────────────────────── */

static void view_end(struct aip_job_view *view, aip_error *err)
{
        aip_op_finish(view->service->loop, &view->op, err);
}

static void view_read(struct aip_op *op)
{
        struct aip_job_view *view = AIP_CONTAINER_OF(op, struct aip_job_view, read.op);
        struct aip_job_service *s = view->service;
        aip_error *err = AIP_TAKE(op->err);
        aip_job *job = err ? NULL : AIP_TAKE(view->read.ret_job);

        if (job) {
                view->ret_is_found = 1;
                aip_buf_clear(&view->ret_view);
                aip_job_view_print(job, &view->ret_view, &err);
                if (!err && s->cache.ops && aip_job_status_is_terminal(aip_job_fields(job)->status))
                        s->cache.ops->put(s->cache.self, aip_str_of(view->cache_key),
                                          aip_buf_str(&view->ret_view), s->cache_ttl_s);
        }
        aip_job_free(job);
        view_end(view, err);
}

static void view_from_store(struct aip_job_view *view)
{
        view->read = (struct aip_job_read){.op = {.done = view_read}, .id = view->id};
        view->read.op.deadline_ms = view->op.deadline_ms;
        view->read.wait_ms = view->wait_ms;
        aip_job_service_read(view->service, &view->read);
}

static void view_cached(struct aip_op *op)
{
        struct aip_job_view *view = AIP_CONTAINER_OF(op, struct aip_job_view, cache_get.op);
        int is_hit = !op->err && view->cache_get.ret_is_hit && view->cache_get.ret_value.n > 0;

        aip_error_free(AIP_TAKE(op->err));
        if (!is_hit) {
                aip_buf_deinit(&view->cache_get.ret_value);
                view_from_store(view);
                return;
        }
        view->ret_is_found = 1;
        view->ret_view = view->cache_get.ret_value;
        view_end(view, NULL);
}

void aip_job_service_view(aip_job_service *s, struct aip_job_view *view)
{
        struct aip_str key = aip_job_cache_key(&view->id, view->cache_key);

        view->service = s;
        view->ret_is_found = 0;
        aip_buf_init(&view->ret_view, AIP_JOB_VIEW_MAX_BYTES);
        view->read.state = READ_OVER;
        if (!s->cache.ops) {
                view_from_store(view);
                return;
        }
        view->cache_get = (struct aip_cache_get){.op = {.done = view_cached}, .key = key};
        aip_buf_init(&view->cache_get.ret_value, AIP_JOB_VIEW_MAX_BYTES);
        s->cache.ops->get(s->cache.self, &view->cache_get);
}

void aip_job_service_view_cancel(struct aip_job_view *view)
{
        view->wait_ms = 0; /* where the cache is being asked: the store is asked once, then */
        if (view->read.state != READ_OVER)
                end_wait(&view->read);
}

/* ── list and cancel ─────────────────────────────────────────────────────────────────────────── */

void aip_job_service_list(aip_job_service *s, struct aip_job_list *list)
{
        s->jobs.ops->list(s->jobs.self, list);
}

static void cancelled(struct aip_op *op)
{
        struct aip_job_cancel *cancel =
                AIP_CONTAINER_OF(op, struct aip_job_cancel, cancellation.op);
        struct aip_job_cancellation *c = &cancel->cancellation;
        aip_error *err = AIP_TAKE(op->err);

        if (!err) {
                cancel->ret_outcome = c->ret_outcome;
                cancel->ret_status = c->ret_status;
        }
        if (!err && c->ret_outcome == AIP_CANCEL_CANCELLED) {
                aip_outbox_relay_push(cancel->service->relay, &c->ret_transition);
                /* It may have been one of a thread, in which another waits for it. */
                aip_outbox_relay_promote_soon(cancel->service->relay);
        }
        aip_op_finish(cancel->service->loop, &cancel->op, err);
}

void aip_job_service_cancel(aip_job_service *s, struct aip_job_cancel *cancel)
{
        cancel->service = s;
        cancel->cancellation =
                (struct aip_job_cancellation){.op = {.done = cancelled}, .id = cancel->id};
        cancel->cancellation.op.deadline_ms = cancel->op.deadline_ms;
        s->jobs.ops->cancel(s->jobs.self, &cancel->cancellation);
}

/* ── resume ──────────────────────────────────────────────────────────────────────────────────── */

static void resume_end(struct aip_job_resume *resume, aip_error *err)
{
        aip_job_free(AIP_TAKE(resume->job));
        aip_op_finish(resume->service->loop, &resume->op, err);
}

static const aip_value *find_question(const aip_value *questions, struct aip_str id)
{
        for (size_t i = 0; i < aip_value_size(questions); i++) {
                const aip_value *question = aip_value_at(questions, i);
                if (aip_str_eq(aip_value_as_string(aip_value_get_cstr(question, "id")), id))
                        return question;
        }
        return NULL;
}

/* A question told as {"question", "schema"} takes only answers of its schema. */
static int check_answer(const aip_value *question, const char *what, const aip_value *answer,
                        aip_error **err)
{
        const aip_value *value = aip_value_get_cstr(question, "value");
        const aip_value *rules = aip_value_get_cstr(value, "schema");
        aip_json_schema *schema = NULL;
        int r;

        if (aip_value_size(value) != 2 || !rules || !aip_value_get_cstr(value, "question"))
                return 0;
        r = aip_json_schema_new("schema", rules, &schema, err);
        if (r == 0)
                r = aip_json_schema_check(schema, what, answer, err);
        aip_json_schema_unref(schema);
        return r;
}

static int check_answers(const aip_value *questions, const aip_value *answers, aip_error **err)
{
        size_t n = aip_value_size(answers);

        if (aip_value_type(answers) != AIP_VALUE_OBJECT || n == 0)
                return aip_error_set(err, AIP_EINVAL,
                                     "answers: must be an object, an answer under the id of each "
                                     "question");
        for (size_t i = 0; i < n; i++) {
                struct aip_str id;
                const aip_value *answer = aip_value_member(answers, i, &id);
                const aip_value *question = find_question(questions, id);
                int r;

                if (!question)
                        return aip_error_set(err, AIP_EINVAL,
                                             "answers: the job has no open question '%.*s'",
                                             (int)AIP_MIN(id.n, (size_t)300), id.p);
                if ((r = check_answer(question, "answers", answer, err)) < 0)
                        return r;
        }
        return 0;
}

/* An object with the one value under the id of the one question. */
static int answer_only(const aip_value *questions, const aip_value *value, aip_value **ret_answers,
                       aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *answers = NULL;
        struct aip_str id =
                aip_value_as_string(aip_value_get_cstr(aip_value_at(questions, 0), "id"));
        int r;

        if (aip_value_size(questions) != 1)
                return aip_error_set(err, AIP_EINVAL,
                                     "value: %zu questions are open; give answers, an object with "
                                     "an answer under the id of each",
                                     aip_value_size(questions));
        if ((r = check_answer(aip_value_at(questions, 0), "value", value, err)) < 0)
                return r;
        if (!(answers = aip_value_object()) ||
            aip_value_object_set(&answers, id, value ? aip_value_ref(value) : aip_value_null()) < 0)
                return aip_error_set_nomem(err);
        *ret_answers = AIP_TAKE(answers);
        return 0;
}

static int move_resumed(struct aip_job_resume *resume, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *questions = NULL, *answers = NULL;
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_JOB_QUESTIONS_MAX_BYTES);
        int r = aip_value_parse(aip_job_fields(resume->job)->questions_json, &questions, err);

        if (r < 0)
                return r;
        if (resume->answers)
                r = check_answers(questions, resume->answers, err);
        else
                r = answer_only(questions, resume->value, &answers, err);
        if (r < 0)
                return r;
        if (aip_value_print(resume->answers ? resume->answers : answers, &text, NULL) < 0)
                return aip_error_set(err, AIP_EINVAL, "answers: at most %u bytes of JSON",
                                     AIP_JOB_QUESTIONS_MAX_BYTES);
        return aip_job_resume(resume->job, aip_buf_str(&text), aip_wall_us(resume->service->loop),
                              &resume->resumption.transition, err);
}

static void resumed(struct aip_op *op)
{
        struct aip_job_resume *resume = AIP_CONTAINER_OF(op, struct aip_job_resume, resumption.op);
        struct aip_job_service *s = resume->service;
        aip_error *err = AIP_TAKE(op->err);

        if (!err && resume->resumption.ret_outcome == AIP_RESUMPTION_RECORDED) {
                AIP_FAULT_POINT("resume.committed");
                resume->ret_outcome = AIP_RESUME_RESUMED;
                resume->ret_status = aip_job_fields(resume->job)->status;
                aip_outbox_relay_push(s->relay, &resume->resumption.transition);
                aip_job_status_event_append(s->events, resume->job);
        } else if (!err) {
                /* Somebody was faster by a hair. */
                resume->ret_outcome = AIP_RESUME_NOT_INTERRUPTED;
                resume->ret_status = resume->resumption.ret_status;
        }
        resume_end(resume, err);
}

static void resume_fetched(struct aip_op *op)
{
        struct aip_job_resume *resume = AIP_CONTAINER_OF(op, struct aip_job_resume, fetch.op);
        struct aip_job_service *s = resume->service;
        aip_error *err = AIP_TAKE(op->err);

        resume->job = err ? NULL : AIP_TAKE(resume->fetch.ret_job);
        resume->ret_outcome = AIP_RESUME_NOT_FOUND;
        if (resume->job) {
                resume->ret_status = aip_job_fields(resume->job)->status;
                resume->ret_outcome = AIP_RESUME_NOT_INTERRUPTED;
        }
        if (err || !resume->job || resume->ret_status != AIP_JOB_INTERRUPTED ||
            move_resumed(resume, &err) < 0) {
                resume_end(resume, err);
                return;
        }
        resume->resumption.op = (struct aip_op){.done = resumed};
        resume->resumption.op.deadline_ms = resume->op.deadline_ms;
        resume->resumption.job = resume->job;
        s->jobs.ops->resume(s->jobs.self, &resume->resumption);
}

void aip_job_service_resume(aip_job_service *s, struct aip_job_resume *resume)
{
        resume->service = s;
        resume->job = NULL;
        resume->resumption = (struct aip_job_resumption){.job = NULL};
        resume->fetch = (struct aip_job_fetch){.op = {.done = resume_fetched}, .id = resume->id};
        resume->fetch.op.deadline_ms = resume->op.deadline_ms;
        s->jobs.ops->fetch(s->jobs.self, &resume->fetch);
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

static void write_metrics(struct aip_metrics_source *source, struct aip_metrics_writer *w)
{
        static const char *const results[N_SUBMITTED] = {"accepted", "replayed", "refused",
                                                         "invalid", "unstored"};
        struct aip_job_service *s = AIP_CONTAINER_OF(source, struct aip_job_service, metrics);

        aip_metrics_family(w, "aiplat_submissions_total", AIP_METRICS_COUNTER,
                           "Jobs that were submitted, by what became of the submission.");
        for (int i = 0; i < N_SUBMITTED; i++)
                aip_metrics_sample(w, (int64_t)s->n_submitted[i],
                                   "aiplat_submissions_total{result=\"%s\"}", results[i]);
        aip_metrics_one(w, "aiplat_admission_refusals_total", AIP_METRICS_COUNTER,
                        "Submissions that were refused as too many wait for the store, those "
                        "whose body was never read included.",
                        (int64_t)s->n_refused);
        aip_metrics_one(w, "aiplat_admission_waiting", AIP_METRICS_GAUGE,
                        "Submissions that wait for the store.", (int64_t)s->admission.n);
}

int aip_job_service_new(const struct aip_job_service_options *o, aip_job_service **ret_service,
                        aip_error **err)
{
        struct aip_job_service *s = aip_calloc(1, sizeof(*s));

        if (!s)
                return aip_error_set_nomem(err);
        s->loop = o->loop;
        s->log = o->log;
        s->jobs = o->jobs;
        s->cache = o->cache;
        s->events = o->events;
        s->catalog = o->catalog;
        s->graphs = o->graphs;
        s->relay = o->relay;
        s->cache_ttl_s = o->cache_ttl_s > 0 ? o->cache_ttl_s : 3600;
        aip_id_source_init(&s->ids, o->random);
        s->watcher.on_jobs_ended = jobs_ended;
        s->jobs.ops->watch(s->jobs.self, &s->watcher);
        s->registry = o->metrics;
        s->metrics.write = write_metrics;
        aip_metrics_add(s->registry, &s->metrics);
        *ret_service = s;
        return 0;
}

void aip_job_service_free(aip_job_service *s)
{
        if (!s)
                return;
        aip_metrics_remove(s->registry, &s->metrics);
        s->jobs.ops->unwatch(s->jobs.self, &s->watcher);
        aip_free(s);
}
