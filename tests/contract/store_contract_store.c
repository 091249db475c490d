/*
 * The store contract, part 3: the outbox and its housekeeping, watchers, the catalog, and the store
 * as a whole (load, deadlines, closing). Run by every store's suite through store_contract.h.
 */
#include "store_fixture.h"

static int has_transition(const struct aip_transition *rows, size_t n, struct aip_id id,
                          enum aip_transition_kind kind, int64_t version)
{
        for (size_t i = 0; i < n; i++)
                if (aip_id_equal(&rows[i].job_id, &id) && rows[i].kind == kind &&
                    rows[i].version == version)
                        return 1;
        return 0;
}

void store_contract_outbox_tells_every_transition(struct store_fixture *f)
{
        struct aip_id completed = job_create(f, "a", 0), failed = job_create(f, "b", 0);
        struct aip_id cancelled = job_create(f, "c", 0), session = next_id(f);
        aip_job *a = job_claim(f, session, completed, LEASE_LONG_MS);
        aip_job *b = job_claim(f, session, failed, LEASE_LONG_MS);
        struct aip_job_cancellation cancellation = {.id = cancelled};
        struct aip_transition *rows = NULL;
        size_t n;

        job_complete(f, a, "r");
        job_fail(f, b, 0);
        DO(f, cancel, &cancellation);
        n = do_chore(f, CHORE_SWEEP, 100, 0, &rows, NULL);
        cr_assert_eq(n, 8);
        cr_assert(has_transition(rows, n, completed, AIP_TRANSITION_CREATED, 1));
        cr_assert(has_transition(rows, n, completed, AIP_TRANSITION_STARTED, 2));
        cr_assert(has_transition(rows, n, completed, AIP_TRANSITION_COMPLETED, 3));
        cr_assert(has_transition(rows, n, failed, AIP_TRANSITION_FAILED, 3));
        cr_assert(has_transition(rows, n, cancelled, AIP_TRANSITION_CANCELLED, 2));
        for (size_t i = 0; i < n; i++) {
                const struct aip_transition *t = &rows[i];
                cr_assert_gt(t->outbox_id, 0);
                cr_assert_neq(t->at_us, 0);
                if (t->kind == AIP_TRANSITION_FAILED) {
                        cr_assert_str_eq(t->error_code, "provider_overloaded");
                        cr_assert_eq(t->from, AIP_JOB_PROCESSING);
                        cr_assert_eq(t->to, AIP_JOB_FAILED);
                        cr_assert_eq(t->attempt, 1);
                } else {
                        cr_assert_str_eq(t->error_code, "");
                }
                cr_assert_eq(t->is_runnable, 0, "nobody needs a task for what has ended");
        }
        free(rows);
        aip_job_free(a);
        aip_job_free(b);
}

void store_contract_sweep_touches_and_forget_removes(struct store_fixture *f)
{
        struct aip_transition *rows = NULL;
        int64_t ids[3] = {0, INT64_MAX, -5};

        for (int i = 0; i < 3; i++)
                job_create(f, "p", 0);
        cr_assert_eq(count_chore(f, CHORE_SWEEP, 10, 60000), 0, "too young");
        run_for(f, 300);
        cr_assert_eq(count_chore(f, CHORE_SWEEP, 2, 250), 2);
        cr_assert_eq(count_chore(f, CHORE_SWEEP, 2, 250), 1, "touched rows are young again");
        cr_assert_eq(count_chore(f, CHORE_SWEEP, 2, 250), 0);
        cr_assert_eq(do_chore(f, CHORE_SWEEP, 10, 0, &rows, NULL), 3);
        ids[0] = rows[1].outbox_id;
        free(rows);
        forget(f, ids, 3);
        forget(f, ids, 3);
        forget(f, NULL, 0);
        cr_assert_eq(do_chore(f, CHORE_SWEEP, 10, 0, &rows, NULL), 2);
        cr_assert_neq(rows[0].outbox_id, ids[0]);
        cr_assert_neq(rows[1].outbox_id, ids[0]);
        free(rows);
        cr_assert_eq(forget_all(f), 2);
        cr_assert_eq(forget_all(f), 0);
}

void store_contract_sweep_wants_tasks_for_waiting_jobs_only(struct store_fixture *f)
{
        struct aip_id waiting = job_create(f, "waiting", 0), taken = job_create(f, "taken", 0);
        aip_job *job = job_claim(f, next_id(f), taken, LEASE_LONG_MS);
        struct aip_transition *rows = NULL;
        size_t n = do_chore(f, CHORE_SWEEP, 10, 0, &rows, NULL);

        cr_assert_eq(n, 3);
        for (size_t i = 0; i < n; i++)
                cr_assert_eq(rows[i].is_runnable, aip_id_equal(&rows[i].job_id, &waiting));
        free(rows);
        aip_job_free(job);
}

void store_contract_promote_tells_delayed_jobs_once(struct store_fixture *f)
{
        struct aip_transition *rows = NULL;
        int64_t next_ms = -7;
        struct aip_job_cancellation cancellation = {0};
        struct aip_id soon[3], claimed;

        cr_assert_eq(do_chore(f, CHORE_PROMOTE, 10, 0, &rows, &next_ms), 0);
        free(rows);
        cr_assert_eq(next_ms, -1, "no delayed job is known");
        job_create(f, "now", 0);
        job_create(f, "tomorrow", 86400000);
        for (int i = 0; i < 3; i++)
                soon[i] = job_create(f, "soon", 700);
        claimed = job_create(f, "claimed first", 700);
        cancellation.id = job_create(f, "cancelled first", 700);
        DO(f, cancel, &cancellation);
        cr_assert_eq(do_chore(f, CHORE_PROMOTE, 10, 0, &rows, &next_ms), 0);
        free(rows);
        cr_assert(next_ms > 0 && next_ms <= 700, "%lld", (long long)next_ms);
        run_for(f, 800);
        cr_assert(job_can_be_claimed(f, claimed), "due jobs need not be promoted to be claimed");
        forget_all(f);
        cr_assert_eq(do_chore(f, CHORE_PROMOTE, 2, 0, &rows, &next_ms), 2);
        cr_assert_eq(next_ms, 0, "one more is due");
        for (int i = 0; i < 2; i++) {
                cr_assert_eq(rows[i].kind, AIP_TRANSITION_DUE);
                cr_assert_eq(rows[i].version, 1);
                cr_assert_eq(rows[i].from, AIP_JOB_QUEUED);
                cr_assert_eq(rows[i].to, AIP_JOB_QUEUED);
                cr_assert_eq(rows[i].is_runnable, 1);
                cr_assert_gt(rows[i].outbox_id, 0);
        }
        free(rows);
        cr_assert_eq(do_chore(f, CHORE_PROMOTE, 2, 0, &rows, &next_ms), 1);
        free(rows);
        cr_assert(next_ms > 80000000 && next_ms <= 86400000);
        cr_assert_eq(count_chore(f, CHORE_PROMOTE, 2, 0), 0);
        cr_assert_eq(forget_all(f), 3);
        for (int i = 0; i < 3; i++) {
                expect_job(f, soon[i], AIP_JOB_QUEUED, 1, 0);
                cr_assert(job_can_be_claimed(f, soon[i]));
        }
}

/* A watcher that counts. */
struct listener {
        struct aip_store_watcher watcher;
        struct store_fixture *f;
        struct aip_id waited_for;
        int n_connected, n_catalog, n_ended, n_cancelled; /* the last two: of waited_for only */
};

static int count_id(const struct listener *listener, const struct aip_id *ids, size_t n)
{
        int found = 0;

        cr_assert_not(listener->f->is_calling, "a watcher was called from inside a call");
        for (size_t i = 0; i < n; i++)
                found += aip_id_equal(&ids[i], &listener->waited_for);
        return found;
}

static void on_ended(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        struct listener *listener = AIP_CONTAINER_OF(watcher, struct listener, watcher);
        listener->n_ended += count_id(listener, ids, n);
}

static void on_cancelled(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        struct listener *listener = AIP_CONTAINER_OF(watcher, struct listener, watcher);
        listener->n_cancelled += count_id(listener, ids, n);
}

static void on_catalog(struct aip_store_watcher *watcher)
{
        struct listener *listener = AIP_CONTAINER_OF(watcher, struct listener, watcher);
        listener->n_catalog++;
}

static void on_connected(struct aip_store_watcher *watcher)
{
        struct listener *listener = AIP_CONTAINER_OF(watcher, struct listener, watcher);
        cr_assert_not(listener->f->is_calling, "a watcher was called from inside a call");
        listener->n_connected++;
}

static void listen_to(struct store_fixture *f, struct listener *listener)
{
        *listener = (struct listener){.watcher = {.on_jobs_ended = on_ended,
                                                  .on_jobs_cancelled = on_cancelled,
                                                  .on_catalog_changed = on_catalog,
                                                  .on_connected = on_connected},
                                      .f = f};
        f->is_calling = 1;
        f->store.jobs.ops->watch(f->store.jobs.self, &listener->watcher);
        f->is_calling = 0;
        run_until(f, &listener->n_connected);
}

static void unwatch(struct store_fixture *f, struct listener *listener)
{
        f->store.jobs.ops->unwatch(f->store.jobs.self, &listener->watcher);
}

void store_contract_watchers_hear_of_jobs(struct store_fixture *f)
{
        struct listener a, b;
        struct aip_store_watcher deaf = {0};
        struct aip_job_cancellation cancellation = {0};
        struct aip_id session = next_id(f), lost = next_id(f);
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        aip_job *job;

        listen_to(f, &a);
        f->store.jobs.ops->watch(f->store.jobs.self, &deaf);
        listen_to(f, &b);
        a.waited_for = b.waited_for = job_create(f, "completed", 0);
        job = job_claim(f, session, a.waited_for, LEASE_LONG_MS);
        cr_assert_eq(a.n_ended, 0);
        job_complete(f, job, "r");
        aip_job_free(job);
        run_until(f, &a.n_ended);
        run_until(f, &b.n_ended);
        cr_assert_eq(a.n_cancelled, 0);
        unwatch(f, &b);
        a.n_ended = 0;
        cancellation.id = a.waited_for = b.waited_for = job_create(f, "cancelled", 0);
        b.n_ended = 0;
        DO(f, cancel, &cancellation);
        run_until(f, &a.n_cancelled);
        run_until(f, &a.n_ended);
        cr_assert_eq(b.n_ended, 0, "unwatched");
        a.n_ended = a.n_cancelled = 0;
        a.waited_for = job_create(f, "failed", 0);
        job = job_claim(f, session, a.waited_for, LEASE_LONG_MS);
        job_fail(f, job, 0);
        aip_job_free(job);
        run_until(f, &a.n_ended);
        a.n_ended = 0;
        spec.prompt = S("its worker is lost");
        spec.max_attempts = 1;
        a.waited_for = job_create_from(f, &spec);
        aip_job_free(job_claim(f, lost, a.waited_for, LEASE_SHORT_MS));
        run_for(f, 3 * LEASE_SHORT_MS);
        cr_assert_eq(count_chore(f, CHORE_RECOVER, 10, 0), 1);
        run_until(f, &a.n_ended);
        cr_assert_eq(a.n_cancelled, 0);
        unwatch(f, &a);
        f->store.jobs.ops->unwatch(f->store.jobs.self, &deaf);
}

static aip_prompt_template *template_make(const char *name, const char *content)
{
        struct aip_prompt_template_fields fields = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        aip_prompt_template *made = NULL;

        fields.name = S(name);
        fields.content = S(content);
        fields.user_content = S("About {{topic|everything}}: {{prompt}}");
        fields.description = S("für’s Testen");
        cr_assert_eq(aip_prompt_template_new(&fields, &made, NULL), 0);
        return made;
}

/* Puts, with the code that is expected; what is stored is owned by caller. */
static aip_prompt_template *template_put(struct store_fixture *f, const char *name,
                                         const char *content, enum aip_put_mode mode, int code,
                                         int is_new)
{
        struct aip_template_put put = {.mode = mode};
        aip_prompt_template *made = template_make(name, content);

        put.prompt_template = made;
        DO_CATALOG_CODE(f, put_template, &put, code);
        aip_prompt_template_unref(made);
        if (code == 0)
                cr_assert_eq(put.ret_is_new, is_new);
        else
                cr_assert_null(put.ret_template);
        return put.ret_template;
}

/* So that a worker notices a change it has not heard of before it runs what was claimed after it. */
void store_contract_claim_tells_the_revision(struct store_fixture *f)
{
        struct aip_id ids[2] = {job_create(f, "before", 0), job_create(f, "after", 0)};
        int64_t before = catalog_revision(f), seen[2];

        for (int i = 0; i < 2; i++) {
                struct aip_job_claim claim = {.session = next_id(f), .lease_ms = LEASE_LONG_MS,
                                              .ids = &ids[i], .n_ids = 1, .limit = 1};

                DO(f, claim, &claim);
                seen[i] = claim.ret_catalog_revision;
                aip_job_free(claim.ret_jobs[0]);
                free(claim.ret_jobs);
                free(claim.ret_transitions);
                if (i == 0)
                        aip_prompt_template_unref(
                                template_put(f, "new", "Be new.", AIP_PUT_CREATE, 0, 1));
        }
        cr_assert_eq(seen[0], before);
        cr_assert_eq(seen[1], catalog_revision(f));
        cr_assert_gt(seen[1], before);
}

void store_contract_watchers_hear_of_the_catalog(struct store_fixture *f)
{
        struct listener listener;
        struct aip_catalog_delete del = {.name = S("mine")};

        listen_to(f, &listener);
        run_for(f, 50);
        listener.n_catalog = 0;
        aip_prompt_template_unref(template_put(f, "mine", "Be kind.", AIP_PUT_CREATE, 0, 1));
        run_until(f, &listener.n_catalog);
        run_for(f, 50);
        listener.n_catalog = 0;
        DO_CATALOG(f, delete_template, &del);
        run_until(f, &listener.n_catalog);
        unwatch(f, &listener);
}

/* Changes through another store on the same database, as another process would make them. */
void store_contract_watchers_hear_of_other_stores(struct store_fixture *f)
{
        struct aip_store_options options = {sizeof(options), f->loop, NULL, {NULL, NULL}, NULL, 0};
        struct aip_store first = f->store, second;
        struct aip_job_cancellation cancellation = {0};
        struct listener listener;
        struct aip_op close = {0};
        int was_told;

        if (!f->maker.is_shareable)
                cr_skip_test("one process's own");
        options.random = aip_random_seeded(&f->random, 43);
        cr_assert_eq(f->maker.open(&f->maker, &options, &second, NULL), 0);
        cancellation.id = job_create(f, "p", 0);
        listen_to(f, &listener);
        run_for(f, 300);
        listener.waited_for = cancellation.id;
        listener.n_catalog = listener.n_connected = 0;
        f->store = second;
        aip_prompt_template_unref(template_put(f, "theirs", "Be brief.", AIP_PUT_CREATE, 0, 1));
        run_until(f, &listener.n_catalog);
        run_for(f, 300);
        listener.n_connected = 0;
        DO(f, cancel, &cancellation);
        for (was_told = 0; !was_told;) {
                int64_t turn = 5;
                run_for(f, turn);
                was_told = listener.n_connected || (listener.n_cancelled && listener.n_ended);
        }
        op_begin(f, &close);
        second.close(second.self, &close);
        op_await(f, &close, 0);
        f->store = first;
        expect_job(f, cancellation.id, AIP_JOB_CANCELLED, 2, 0);
        unwatch(f, &listener);
}

void store_contract_catalog_is_shipped(struct store_fixture *f)
{
        static const struct {
                const char *name, *provider, *model_name, *api_key_env;
        } configs[] = {
                {"claude-opus", "anthropic", "claude-3-opus-20240229", "ANTHROPIC_API_KEY"},
                {"claude-sonnet", "anthropic", "claude-3-5-sonnet-20241022", "ANTHROPIC_API_KEY"},
                {"default-fast", "openai", "gpt-3.5-turbo", "OPENAI_API_KEY"},
                {"default-smart", "openai", "gpt-4-turbo-preview", "OPENAI_API_KEY"},
                {"simulated", "simulated", "simulated", ""},
        };
        static const char *const templates[] = {"code-assistant", "creative-writer",
                                                "default-assistant"};
        aip_catalog *catalog = catalog_load(f);
        const aip_llm_config *const *all;
        const aip_prompt_template *const *all_templates;

        cr_assert_eq(aip_catalog_configs(catalog, &all), 5);
        for (size_t i = 0; i < 5; i++) {
                const struct aip_llm_config_fields *c = aip_llm_config_fields(all[i]);
                cr_assert(aip_str_eq(c->name, S(configs[i].name)));
                cr_assert(aip_str_eq(c->provider, S(configs[i].provider)));
                cr_assert(aip_str_eq(c->model_name, S(configs[i].model_name)));
                cr_assert(aip_str_eq(c->api_key_env, S(configs[i].api_key_env)));
                cr_assert_eq(c->base_url.n, 0);
                cr_assert_float_eq(c->temperature, 0.7, 1e-9);
                cr_assert_eq(c->max_tokens, 4096);
                cr_assert_eq(c->timeout_ms, 120000);
                cr_assert(c->is_active);
                cr_assert_neq(c->created_at_us, 0);
        }
        cr_assert_eq(aip_catalog_templates(catalog, &all_templates), 3);
        for (size_t i = 0; i < 3; i++) {
                const struct aip_prompt_template_fields *t =
                        aip_prompt_template_fields(all_templates[i]);
                cr_assert(aip_str_eq(t->name, S(templates[i])));
                cr_assert_gt(t->content.n, 40);
                cr_assert_gt(t->description.n, 5);
                cr_assert_eq(t->user_content.n, 0);
        }
        cr_assert_eq(aip_catalog_revision(catalog), catalog_revision(f));
        aip_catalog_unref(catalog);
}

static struct aip_llm_config_fields odd_config(void)
{
        struct aip_llm_config_fields fields = AIP_LLM_CONFIG_FIELDS_INIT;

        fields.name = S("mine’s");
        fields.provider = S("my_provider-2");
        fields.model_name = S("vendor/model:v1 'q'");
        fields.api_key_env = S("MY_KEY");
        fields.base_url = S("http://127.0.0.1:11434/v1");
        fields.temperature = 1.0 / 3.0;
        fields.max_tokens = 10000000;
        fields.timeout_ms = 90000;
        fields.is_active = 0;
        return fields;
}

static void expect_same_config(const aip_llm_config *config,
                               const struct aip_llm_config_fields *expected)
{
        const struct aip_llm_config_fields *c = aip_llm_config_fields(config);

        cr_assert(aip_str_eq(c->name, expected->name));
        cr_assert(aip_str_eq(c->provider, expected->provider));
        cr_assert(aip_str_eq(c->model_name, expected->model_name));
        cr_assert(aip_str_eq(c->api_key_env, expected->api_key_env));
        cr_assert(aip_str_eq(c->base_url, expected->base_url));
        cr_assert(c->temperature == expected->temperature, "doubles are kept exactly");
        cr_assert_eq(c->max_tokens, expected->max_tokens);
        cr_assert_eq(c->timeout_ms, expected->timeout_ms);
        cr_assert_eq(c->is_active, expected->is_active);
}

/* As template_put. Also checks that what is stored is what was put. */
static aip_llm_config *config_put(struct store_fixture *f,
                                  const struct aip_llm_config_fields *fields,
                                  enum aip_put_mode mode, int code, int is_new)
{
        struct aip_config_put put = {.mode = mode};
        aip_llm_config *made = NULL;

        cr_assert_eq(aip_llm_config_new(fields, &made, NULL), 0);
        put.config = made;
        DO_CATALOG_CODE(f, put_config, &put, code);
        aip_llm_config_unref(made);
        if (code == 0) {
                cr_assert_eq(put.ret_is_new, is_new);
                expect_same_config(put.ret_config, fields);
        }
        return put.ret_config;
}

void store_contract_config_put_modes(struct store_fixture *f)
{
        struct aip_llm_config_fields fields = odd_config();
        int64_t revision = catalog_revision(f), id, created_us;
        struct aip_catalog_delete del = {.name = fields.name};
        aip_catalog *catalog;
        aip_llm_config *c;

        config_put(f, &fields, AIP_PUT_REPLACE, AIP_ENOTFOUND, 0);
        cr_assert_eq(catalog_revision(f), revision, "a refused change is no change");
        c = config_put(f, &fields, AIP_PUT_CREATE, 0, 1);
        id = aip_llm_config_fields(c)->id;
        created_us = aip_llm_config_fields(c)->created_at_us;
        cr_assert_gt(id, 0);
        cr_assert_neq(created_us, 0);
        aip_llm_config_unref(c);
        cr_assert_gt(catalog_revision(f), revision);
        revision = catalog_revision(f);
        config_put(f, &fields, AIP_PUT_CREATE, AIP_ECONFLICT, 0);
        run_for(f, 5);
        fields.temperature = 0;
        fields.base_url = S("");
        fields.api_key_env = S("");
        fields.is_active = 1;
        c = config_put(f, &fields, AIP_PUT_REPLACE, 0, 0);
        cr_assert_eq(aip_llm_config_fields(c)->id, id);
        cr_assert_eq(aip_llm_config_fields(c)->created_at_us, created_us);
        cr_assert_gt(aip_llm_config_fields(c)->updated_at_us, created_us);
        aip_llm_config_unref(c);
        cr_assert_gt(catalog_revision(f), revision);
        fields.temperature = 2;
        aip_llm_config_unref(config_put(f, &fields, AIP_PUT_UPSERT, 0, 0));
        catalog = catalog_load(f);
        expect_same_config(aip_catalog_config(catalog, fields.name), &fields);
        aip_catalog_unref(catalog);
        DO_CATALOG(f, delete_config, &del);
        DO_CATALOG_CODE(f, delete_config, &del, AIP_ENOTFOUND);
        catalog = catalog_load(f);
        cr_assert_null(aip_catalog_config(catalog, fields.name));
        aip_catalog_unref(catalog);
        c = config_put(f, &fields, AIP_PUT_UPSERT, 0, 1);
        cr_assert_neq(aip_llm_config_fields(c)->id, id, "ids are not used twice");
        aip_llm_config_unref(c);
}

void store_contract_template_put_modes(struct store_fixture *f)
{
        int64_t revision = catalog_revision(f), id;
        struct aip_catalog_delete del = {.name = S("mine")};
        const struct aip_prompt_template_fields *fields;
        aip_prompt_template *t;
        aip_catalog *catalog;

        template_put(f, "mine", "a", AIP_PUT_REPLACE, AIP_ENOTFOUND, 0);
        t = template_put(f, "mine", "a {{x}} \\{{y\\}}", AIP_PUT_CREATE, 0, 1);
        id = aip_prompt_template_fields(t)->id;
        aip_prompt_template_unref(t);
        template_put(f, "mine", "b", AIP_PUT_CREATE, AIP_ECONFLICT, 0);
        run_for(f, 5);
        t = template_put(f, "mine", "b", AIP_PUT_REPLACE, 0, 0);
        cr_assert_eq(aip_prompt_template_fields(t)->id, id);
        aip_prompt_template_unref(t);
        t = template_put(f, "mine", "c ✓", AIP_PUT_UPSERT, 0, 0);
        aip_prompt_template_unref(t);
        cr_assert_geq(catalog_revision(f), revision + 3);
        catalog = catalog_load(f);
        fields = aip_prompt_template_fields(aip_catalog_template(catalog, S("mine")));
        cr_assert(aip_str_eq(fields->content, S("c ✓")));
        cr_assert(aip_str_eq(fields->user_content, S("About {{topic|everything}}: {{prompt}}")));
        cr_assert(aip_str_eq(fields->description, S("für’s Testen")));
        cr_assert_gt(fields->updated_at_us, fields->created_at_us);
        aip_catalog_unref(catalog);
        DO_CATALOG(f, delete_template, &del);
        DO_CATALOG_CODE(f, delete_template, &del, AIP_ENOTFOUND);
        aip_prompt_template_unref(template_put(f, "mine", "d", AIP_PUT_UPSERT, 0, 1));
}

static aip_graph_document *graph_make(const char *name, const char *json)
{
        aip_graph_document *made = NULL;
        aip_value *value = NULL;

        cr_assert_eq(aip_value_parse(S(json), &value, NULL), 0);
        cr_assert_eq(aip_graph_document_new(S(name), value, &made, NULL), 0);
        aip_value_unref(value);
        return made;
}

/* A document whose description differs. */
static aip_graph_document *graph_described(const char *name, const char *description)
{
        struct aip_buf json = AIP_BUF_INIT(2 * AIP_GRAPH_DOCUMENT_MAX_BYTES);
        aip_graph_document *made;

        cr_assert_eq(aip_buf_printf(&json, "{\"description\":\"%s\",\"nodes\":{\"end\":"
                                           "{\"type\":\"fail\",\"message\":\"\\\"no\\\"\"}},"
                                           "\"edges\":[{\"from\":\"__start__\",\"to\":\"end\"},"
                                           "{\"from\":\"end\",\"to\":\"__end__\"}]}",
                                    description),
                     0);
        made = graph_make(name, json.p);
        aip_buf_deinit(&json);
        return made;
}

/* Puts, with the code that is expected; the entry's document is owned by caller. */
static struct aip_graph_entry graph_put(struct store_fixture *f, aip_graph_document *document,
                                        enum aip_put_mode mode, int code, int is_new)
{
        struct aip_graph_put put = {.mode = mode, .document = document};

        DO_CATALOG_CODE(f, put_graph, &put, code);
        if (code != 0) {
                cr_assert_null(put.ret_entry.document);
                return put.ret_entry;
        }
        cr_assert_eq(put.ret_is_new, is_new);
        cr_assert(aip_str_eq(aip_graph_document_name(put.ret_entry.document),
                             aip_graph_document_name(document)));
        cr_assert(aip_value_equal(aip_graph_document_value(put.ret_entry.document),
                                  aip_graph_document_value(document)));
        aip_graph_document_unref((aip_graph_document *)put.ret_entry.document);
        return put.ret_entry;
}

void store_contract_graph_put_modes(struct store_fixture *f)
{
        aip_graph_document *a = graph_described("mine", "a"), *b = graph_described("mine", "b ✓");
        struct aip_catalog_delete del = {.name = S("mine")};
        int64_t revision = catalog_revision(f);
        struct aip_graph_entry first, later;
        const struct aip_graph_entry *loaded;
        aip_catalog *catalog;

        graph_put(f, a, AIP_PUT_REPLACE, AIP_ENOTFOUND, 0);
        cr_assert_eq(catalog_revision(f), revision, "a refused change is no change");
        first = graph_put(f, a, AIP_PUT_CREATE, 0, 1);
        cr_assert_gt(first.id, 0);
        cr_assert_eq(first.version, 1);
        cr_assert_neq(first.created_at_us, 0);
        graph_put(f, b, AIP_PUT_CREATE, AIP_ECONFLICT, 0);
        run_for(f, 5);
        later = graph_put(f, b, AIP_PUT_REPLACE, 0, 0);
        cr_assert_eq(later.id, first.id);
        cr_assert_eq(later.version, 2);
        cr_assert_eq(later.created_at_us, first.created_at_us);
        cr_assert_gt(later.updated_at_us, first.updated_at_us);
        cr_assert_eq(graph_put(f, b, AIP_PUT_UPSERT, 0, 0).version, 3);
        cr_assert_geq(catalog_revision(f), revision + 3);
        catalog = catalog_load(f);
        loaded = aip_catalog_graph(catalog, S("mine"));
        cr_assert_eq(loaded->id, first.id);
        cr_assert_eq(loaded->version, 3);
        cr_assert(aip_value_equal(aip_graph_document_value(loaded->document),
                                  aip_graph_document_value(b)));
        aip_catalog_unref(catalog);
        revision = catalog_revision(f);
        DO_CATALOG(f, delete_graph, &del);
        cr_assert_gt(catalog_revision(f), revision);
        DO_CATALOG_CODE(f, delete_graph, &del, AIP_ENOTFOUND);
        later = graph_put(f, a, AIP_PUT_UPSERT, 0, 1);
        cr_assert_neq(later.id, first.id, "ids are not used twice");
        cr_assert_eq(later.version, 1);
        aip_graph_document_unref(a);
        aip_graph_document_unref(b);
}

/* The order of members, numbers to the last bit, odd text: what comes back prints the same. A shipped
 * graph gives way to a row of its name, and is back when the row is gone. */
void store_contract_graphs_are_kept_exactly(struct store_fixture *f)
{
        static const char json[] =
                "{\"state\":{\"z\":{\"type\":\"add\",\"initial\":0.1},"
                "\"a\":{\"initial\":[9007199254740992,-1.5e-300,null,\"ü\\n\\\"\\u0001\"]}},"
                "\"nodes\":{\"end\":{\"type\":\"fail\",\"message\":\"\\\"no\\\"\"}},"
                "\"edges\":[{\"from\":\"__start__\",\"to\":\"end\"},"
                "{\"from\":\"end\",\"to\":\"__end__\"}]}";
        struct aip_catalog_delete del = {.name = S("assistant")};
        aip_graph_document *document = graph_make("assistant", json);
        struct aip_buf text = AIP_BUF_INIT(AIP_GRAPH_DOCUMENT_MAX_BYTES);
        const struct aip_graph_entry *entry, *all;
        aip_catalog *catalog = catalog_load(f);
        size_t n = aip_catalog_graphs(catalog, &all);

        entry = aip_catalog_graph(catalog, S("assistant"));
        cr_assert_not_null(entry, "it ships");
        cr_assert_eq(entry->id, 0);
        cr_assert_eq(entry->version, 0);
        aip_catalog_unref(catalog);
        graph_put(f, document, AIP_PUT_CREATE, 0, 1);
        catalog = catalog_load(f);
        cr_assert_eq(aip_catalog_graphs(catalog, &all), n);
        entry = aip_catalog_graph(catalog, S("assistant"));
        cr_assert_eq(entry->version, 1);
        cr_assert_eq(aip_graph_text_print(entry->document, &text, NULL), 0);
        cr_assert_str_eq(text.p, json);
        aip_catalog_unref(catalog);
        aip_buf_deinit(&text);
        DO_CATALOG(f, delete_graph, &del);
        catalog = catalog_load(f);
        cr_assert_eq(aip_catalog_graph(catalog, S("assistant"))->version, 0);
        aip_catalog_unref(catalog);
        DO_CATALOG_CODE(f, delete_graph, &del, AIP_ENOTFOUND);
        aip_graph_document_unref(document);
}

void store_contract_too_long_graphs_are_refused(struct store_fixture *f)
{
        char *description = malloc(AIP_GRAPH_DOCUMENT_MAX_BYTES + 1);
        aip_graph_document *document = graph_described("long", "");
        struct aip_buf text = AIP_BUF_INIT(AIP_GRAPH_DOCUMENT_MAX_BYTES);
        size_t n;

        cr_assert_eq(aip_graph_text_print(document, &text, NULL), 0);
        n = AIP_GRAPH_DOCUMENT_MAX_BYTES - text.n;
        aip_graph_document_unref(document);
        memset(description, 'x', n + 1);
        description[n + 1] = '\0';
        document = graph_described("long", description);
        graph_put(f, document, AIP_PUT_UPSERT, AIP_EINVAL, 0);
        aip_graph_document_unref(document);
        description[n] = '\0';
        document = graph_described("long", description);
        graph_put(f, document, AIP_PUT_UPSERT, 0, 1);
        aip_graph_document_unref(document);
        aip_buf_deinit(&text);
        free(description);
}

void store_contract_watchers_hear_of_graphs(struct store_fixture *f)
{
        aip_graph_document *document = graph_described("mine", "");
        struct aip_catalog_delete del = {.name = S("mine")};
        struct listener listener;

        listen_to(f, &listener);
        run_for(f, 50);
        listener.n_catalog = 0;
        graph_put(f, document, AIP_PUT_CREATE, 0, 1);
        run_until(f, &listener.n_catalog);
        run_for(f, 50);
        listener.n_catalog = 0;
        DO_CATALOG(f, delete_graph, &del);
        run_until(f, &listener.n_catalog);
        unwatch(f, &listener);
        aip_graph_document_unref(document);
}

void store_contract_many_at_once(struct store_fixture *f)
{
        enum { N = 3 * AIP_STORE_BATCH_MAX + 7 };
        struct aip_job_create *creates = calloc(N, sizeof(*creates));
        struct aip_job_fetch *fetches = calloc(N, sizeof(*fetches));

        for (size_t i = 0; i < N; i++) {
                creates[i].job = job_make(f, "one of many", 0);
                START(f, create, &creates[i]);
        }
        for (size_t i = 0; i < N; i++) {
                op_await(f, &creates[i].op, 0);
                fetches[i].id = creates[i].ret_job_id;
                START(f, fetch, &fetches[i]);
        }
        for (size_t i = 0; i < N; i++) {
                op_await(f, &fetches[i].op, 0);
                cr_assert_not_null(fetches[i].ret_job);
                expect_same_job(fetches[i].ret_job, creates[i].job);
                aip_job_free(fetches[i].ret_job);
                aip_job_free((aip_job *)creates[i].job);
        }
        cr_assert_eq(forget_all(f), N);
        free(creates);
        free(fetches);
}

/* Operations beyond the queue's length end at once with AIP_ELIMIT; nobody waits for ever. */
void store_contract_too_many_are_refused(struct store_fixture *f)
{
        enum { N = AIP_STORE_QUEUE_MAX + 2 * AIP_STORE_BATCH_MAX };
        struct aip_job_cancellation *ops = calloc(N, sizeof(*ops));
        size_t n_refused = 0;

        for (size_t i = 0; i < N; i++) {
                ops[i].id = next_id(f);
                ops[i].op.deadline_ms = aip_now_ms(f->loop) + 25000;
                START(f, cancel, &ops[i]);
        }
        for (size_t i = 0; i < N; i++) {
                while (!op_is_done(&ops[i].op))
                        run_for(f, 5);
                n_refused += aip_error_code(ops[i].op.err) == AIP_ELIMIT;
                op_await(f, &ops[i].op, aip_error_code(ops[i].op.err));
        }
        cr_assert_lt(n_refused, 2 * AIP_STORE_BATCH_MAX + 1);
        if (f->maker.is_virtual)
                cr_assert_eq(n_refused, 2 * AIP_STORE_BATCH_MAX);
        free(ops);
}

void store_contract_deadline_that_has_passed(struct store_fixture *f)
{
        aip_job *job = job_make(f, "too late", 0);
        struct aip_job_create create = {.job = job};
        struct aip_job_fetch fetch = {.id = aip_job_fields(job)->id};
        int code;

        run_for(f, 20);
        create.op.deadline_ms = aip_now_ms(f->loop) - 10;
        START(f, create, &create);
        while (!op_is_done(&create.op))
                run_for(f, 1);
        code = aip_error_code(create.op.err);
        cr_assert(code == AIP_ETIMEOUT || code == AIP_EUNAVAILABLE, "got %d", code);
        op_await(f, &create.op, code);
        DO(f, fetch, &fetch);
        aip_job_free(fetch.ret_job);
        create.op.deadline_ms = aip_now_ms(f->loop) + 20000;
        DO(f, create, &create);
        cr_assert_eq(create.ret_outcome, AIP_CREATE_CREATED, "it may be repeated safely");
        aip_job_free(job);
}

void store_contract_migrate_again_changes_nothing(struct store_fixture *f)
{
        struct aip_id id = job_create(f, "p", 0);
        int64_t revision;
        struct aip_op ops[4] = {{0}}, ping = {0};

        aip_prompt_template_unref(template_put(f, "default-assistant", "Changed by the operator.",
                                               AIP_PUT_REPLACE, 0, 0));
        revision = catalog_revision(f);
        for (int i = 0; i < 4; i++) {
                op_begin(f, &ops[i]);
                f->store.migrate(f->store.self, &ops[i]);
        }
        for (int i = 0; i < 4; i++)
                op_await(f, &ops[i], 0);
        expect_job(f, id, AIP_JOB_QUEUED, 1, 0);
        cr_assert_eq(catalog_revision(f), revision);
        op_begin(f, &ping);
        f->store.jobs.ops->ping(f->store.jobs.self, &ping);
        op_await(f, &ping, 0);
}

/* Everything that is in flight ends once, done or AIP_ECANCELLED, and then `close` itself. */
void store_contract_close_ends_everything_once(struct store_fixture *f)
{
        enum { N = 1000 };
        static struct aip_job_create creates[N];
        static struct aip_job_fetch fetches[N];
        struct aip_catalog_load load = {.ret_invalid = AIP_BUF_INIT(1000)};
        struct aip_op close = {0};
        int n_left;

        for (int i = 0; i < N; i++) {
                creates[i].job = job_make(f, "in flight", 0);
                START(f, create, &creates[i]);
                fetches[i].id = aip_job_fields(creates[i].job)->id;
                START(f, fetch, &fetches[i]);
        }
        START_CATALOG(f, load, &load);
        op_begin(f, &close);
        f->store.close(f->store.self, &close);
        op_await(f, &close, 0);
        f->store = (struct aip_store){0};
        for (n_left = 1; n_left > 0 && f->n_awaited > 0; n_left = f->n_awaited)
                run_for(f, 5);
        for (int i = 0; i < N; i++) {
                int code = aip_error_code(creates[i].op.err);
                cr_assert(code == 0 || code == AIP_ECANCELLED, "got %d", code);
                op_await(f, &creates[i].op, code);
                op_await(f, &fetches[i].op, aip_error_code(fetches[i].op.err));
                aip_job_free(fetches[i].ret_job);
                aip_job_free((aip_job *)creates[i].job);
        }
        op_await(f, &load.op, aip_error_code(load.op.err));
        aip_catalog_unref(load.ret_catalog);
        aip_buf_deinit(&load.ret_invalid);
}
