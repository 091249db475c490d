/*
 * The store contract, part 1: jobs are created, read, listed, cancelled, claimed and finished. Run
 * by every store's suite through store_contract.h.
 */
#include "store_fixture.h"

static struct aip_job_spec full_spec(struct store_fixture *f)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;

        spec.prompt = S("Write a haiku about “programming”\n\ttwo lines");
        spec.config_name = S("my config");
        spec.template_name = S("mein Täuschchen");
        spec.graph_name = S("pipeline");
        spec.is_streamed = 1;
        spec.variables_json = S("{\"b\": [1, 2.5, null], \"a\": {\"deep\": \"\\u20ac'\\\"\"}}");
        spec.metadata_json = S("{\"user\":\"u1\",\"big\":9007199254740991}");
        spec.input_json = S("{\"topics\":[\"a\",{\"b\":null}],\"n\":3}");
        spec.trace_id = S("0123456789abcdef0123456789abcdef");
        spec.max_attempts = 7;
        spec.retry_delay_ms = 1234;
        spec.run_at_us = wall_us(f) + INT64_C(3600000123);
        return spec;
}

void store_contract_create_stores_every_field(struct store_fixture *f)
{
        struct aip_job_spec spec = full_spec(f);
        aip_job *full = job_make_from(f, &spec), *bare = job_make(f, "p", 0), *stored;
        struct aip_job_create a = {.job = full}, b = {.job = bare};

        DO(f, create, &a);
        DO(f, create, &b);
        cr_assert_eq(a.ret_outcome, AIP_CREATE_CREATED);
        cr_assert(aip_id_equal(&a.ret_job_id, &aip_job_fields(full)->id));
        cr_assert_eq(a.ret_status, AIP_JOB_QUEUED);
        cr_assert_eq(a.ret_transition.kind, AIP_TRANSITION_CREATED);
        cr_assert_eq(a.ret_transition.is_runnable, 0);
        cr_assert_eq(b.ret_transition.is_runnable, 1);
        cr_assert_gt(a.ret_transition.outbox_id, 0);
        cr_assert_neq(a.ret_transition.outbox_id, b.ret_transition.outbox_id);
        stored = job_fetch(f, a.ret_job_id);
        expect_same_job(full, stored);
        aip_job_free(stored);
        stored = job_fetch(f, b.ret_job_id);
        expect_same_job(bare, stored);
        aip_job_free(stored);
        aip_job_free(full);
        aip_job_free(bare);
}

void store_contract_create_repeated_changes_nothing(struct store_fixture *f)
{
        aip_job *job = job_make(f, "again", 0);
        struct aip_job_create create = {
                .job = job, .idempotency_key = S("key-1"), .fingerprint = {1, 2}};
        struct aip_job_cancellation cancellation = {.id = aip_job_fields(job)->id};

        DO(f, create, &create);
        DO(f, create, &create);
        cr_assert_eq(create.ret_outcome, AIP_CREATE_CREATED);
        cr_assert_eq(create.ret_status, AIP_JOB_QUEUED);
        DO(f, cancel, &cancellation);
        DO(f, create, &create);
        cr_assert_eq(create.ret_outcome, AIP_CREATE_CREATED);
        cr_assert_eq(create.ret_status, AIP_JOB_CANCELLED);
        create.idempotency_key = S("");
        DO(f, create, &create);
        cr_assert_eq(create.ret_outcome, AIP_CREATE_CREATED);
        cr_assert(aip_id_equal(&create.ret_job_id, &aip_job_fields(job)->id));
        expect_job(f, aip_job_fields(job)->id, AIP_JOB_CANCELLED, 2, 0);
        cr_assert_eq(forget_all(f), 2, "created and cancelled, once each");
        aip_job_free(job);
}

void store_contract_create_with_a_used_key(struct store_fixture *f)
{
        static const struct {
                const char *key;
                uint64_t fingerprint[2];
                enum aip_create_outcome outcome;
        } rows[] = {
                {"key", {1, UINT64_MAX}, AIP_CREATE_CREATED},
                {"key", {1, UINT64_MAX}, AIP_CREATE_REPLAYED},
                {"key", {2, UINT64_MAX}, AIP_CREATE_KEY_REUSED},
                {"key", {1, 0}, AIP_CREATE_KEY_REUSED},
                {"Key", {1, UINT64_MAX}, AIP_CREATE_CREATED},
                {"ключ ✓", {3, 4}, AIP_CREATE_CREATED},
                {"ключ ✓", {3, 4}, AIP_CREATE_REPLAYED},
                {"", {3, 4}, AIP_CREATE_CREATED},
                {"", {3, 4}, AIP_CREATE_CREATED},
        };
        struct aip_id first = {{0}};

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                aip_job *job = job_make(f, "p", 0);
                struct aip_job_create create = {.job = job, .idempotency_key = S(rows[i].key)};
                memcpy(create.fingerprint, rows[i].fingerprint, sizeof(create.fingerprint));
                DO(f, create, &create);
                cr_assert_eq(create.ret_outcome, rows[i].outcome, "row %zu", i);
                if (create.ret_outcome == AIP_CREATE_CREATED)
                        first = aip_job_fields(job)->id;
                if (create.ret_outcome == AIP_CREATE_REPLAYED)
                        cr_assert(aip_id_equal(&create.ret_job_id, &first));
                if (create.ret_outcome != AIP_CREATE_CREATED) {
                        struct aip_job_fetch fetch = {.id = aip_job_fields(job)->id};
                        DO(f, fetch, &fetch);
                        cr_assert_null(fetch.ret_job, "a refused job was stored");
                        cr_assert_eq(create.ret_status, AIP_JOB_QUEUED);
                }
                aip_job_free(job);
        }
}

void store_contract_create_races_for_one_key(struct store_fixture *f)
{
        enum { N = 40 };
        static struct aip_job_create creates[N];
        int n_created = 0;
        struct aip_id winner = {{0}};

        for (int i = 0; i < N; i++) {
                creates[i] = (struct aip_job_create){.job = job_make(f, "race", 0),
                                                     .idempotency_key = S("one"),
                                                     .fingerprint = {1, 1}};
                START(f, create, &creates[i]);
        }
        for (int i = 0; i < N; i++) {
                op_await(f, &creates[i].op, 0);
                n_created += creates[i].ret_outcome == AIP_CREATE_CREATED;
                if (creates[i].ret_outcome == AIP_CREATE_CREATED)
                        winner = creates[i].ret_job_id;
        }
        cr_assert_eq(n_created, 1);
        for (int i = 0; i < N; i++) {
                cr_assert(aip_id_equal(&creates[i].ret_job_id, &winner));
                cr_assert_neq(creates[i].ret_outcome, AIP_CREATE_KEY_REUSED);
                aip_job_free((aip_job *)creates[i].job);
        }
        cr_assert_eq(forget_all(f), 1);
}

void store_contract_create_refuses_what_is_wrong(struct store_fixture *f)
{
        char long_key[AIP_IDEMPOTENCY_KEY_MAX_BYTES + 2];
        aip_job *job = job_make(f, "p", 0), *started = job_make(f, "p", 0);
        struct aip_job_create create = {.job = job};
        struct aip_transition transition;

        memset(long_key, 'k', sizeof(long_key));
        create.idempotency_key = aip_str_make(long_key, AIP_IDEMPOTENCY_KEY_MAX_BYTES + 1);
        DO_CODE(f, create, &create, AIP_EINVAL);
        create.idempotency_key = S("\xff");
        DO_CODE(f, create, &create, AIP_EINVAL);
        create.idempotency_key = aip_str_make("a\0b", 3);
        DO_CODE(f, create, &create, AIP_EINVAL);
        cr_assert_eq(aip_job_start(started, wall_us(f), &transition, NULL), 0);
        create = (struct aip_job_create){.job = started};
        DO_CODE(f, create, &create, AIP_EINVAL);
        create = (struct aip_job_create){.job = job};
        create.idempotency_key = aip_str_make(long_key, AIP_IDEMPOTENCY_KEY_MAX_BYTES);
        DO(f, create, &create);
        aip_job_free(job);
        aip_job_free(started);
}

/* `n` times `unit`; owned by caller. */
static char *repeated(const char *unit, size_t n)
{
        size_t bytes = strlen(unit);
        char *text = malloc(n * bytes + 1);

        cr_assert_not_null(text);
        for (size_t i = 0; i < n; i++)
                memcpy(text + i * bytes, unit, bytes);
        text[n * bytes] = '\0';
        return text;
}

void store_contract_texts_of_every_size_and_script(struct store_fixture *f)
{
        static const struct {
                const char *unit;
                size_t n;
        } rows[] = {
                {"x", 1},
                {"x", AIP_PROMPT_MAX_CHARACTERS},
                {"𝄞", AIP_PROMPT_MAX_CHARACTERS},
                {"שלום ", 1000},
                {"'\"\\;--$1?%s{}\r\n\t\x01", 50},
                {"\xf4\x8f\xbf\xbf", 3},
                {"\xef\xbf\xbf", 2},
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char *text = repeated(rows[i].unit, rows[i].n);
                struct aip_id id = job_create(f, text, 0);
                aip_job *claimed = job_claim(f, next_id(f), id, LEASE_LONG_MS), *stored;
                cr_assert(aip_str_eq(aip_job_fields(claimed)->prompt, S(text)), "row %zu", i);
                cr_assert_eq(job_complete(f, claimed, text), AIP_FINISH_RECORDED);
                stored = job_fetch(f, id);
                expect_same_job(claimed, stored);
                aip_job_free(stored);
                aip_job_free(claimed);
                free(text);
        }
        char *huge = repeated("0123456789abcdef", AIP_JOB_RESULT_MAX_BYTES / 16);
        aip_job *claimed = job_claim(f, next_id(f), job_create(f, "big", 0), LEASE_LONG_MS),
                *stored;
        cr_assert_eq(job_complete(f, claimed, huge), AIP_FINISH_RECORDED);
        stored = job_fetch(f, aip_job_fields(claimed)->id);
        expect_same_job(claimed, stored);
        aip_job_free(stored);
        aip_job_free(claimed);
        free(huge);
}

void store_contract_fetch_unknown_is_no_error(struct store_fixture *f)
{
        struct aip_job_fetch fetch = {.id = next_id(f), .ret_job = (aip_job *)f};

        DO(f, fetch, &fetch);
        cr_assert_null(fetch.ret_job);
}

void store_contract_list_pages_newest_first(struct store_fixture *f)
{
        struct aip_id ids[7];
        struct aip_job_list list = {.limit = 3};
        size_t seen = 0;

        for (size_t i = 0; i < 7; i++)
                ids[i] = job_create(f, "p", 0);
        do {
                DO(f, list, &list);
                for (size_t i = 0; i < list.ret_n; i++, seen++)
                        cr_assert(aip_id_equal(&aip_job_fields(list.ret_jobs[i])->id,
                                               &ids[6 - seen]));
                cr_assert_eq(list.ret_has_more, seen < 7);
                list.before = ids[7 - seen];
                free_jobs(list.ret_jobs, list.ret_n);
        } while (list.ret_has_more);
        cr_assert_eq(seen, 7);
        list = (struct aip_job_list){.limit = 7};
        DO(f, list, &list);
        cr_assert_eq(list.ret_n, 7);
        cr_assert_not(list.ret_has_more);
        free_jobs(list.ret_jobs, list.ret_n);
        list = (struct aip_job_list){.limit = 7, .before = ids[0]};
        DO(f, list, &list);
        cr_assert_eq(list.ret_n, 0);
        free_jobs(list.ret_jobs, list.ret_n);
        list = (struct aip_job_list){.limit = 0};
        DO_CODE(f, list, &list, AIP_EINVAL);
        list = (struct aip_job_list){.limit = AIP_JOB_LIST_MAX + 1};
        DO_CODE(f, list, &list, AIP_EINVAL);
}

static size_t count_list(struct store_fixture *f, struct aip_job_list list)
{
        list.limit = AIP_JOB_LIST_MAX;
        DO(f, list, &list);
        free_jobs(list.ret_jobs, list.ret_n);
        return list.ret_n;
}

void store_contract_list_filters(struct store_fixture *f)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        struct aip_job_cancellation cancellation = {0};
        int64_t created_us;
        aip_job *job;

        spec.prompt = S("p");
        job_create_from(f, &spec);
        run_for(f, 3);
        spec.config_name = S("c'1");
        cancellation.id = job_create_from(f, &spec);
        DO(f, cancel, &cancellation);
        run_for(f, 3);
        spec.template_name = S("t\"1");
        job = job_fetch(f, job_create_from(f, &spec));
        created_us = aip_job_fields(job)->created_at_us;
        aip_job_free(job);
        const struct {
                struct aip_job_list list;
                size_t n;
        } rows[] = {
                {{.status_mask = 0}, 3},
                {{.status_mask = 1u << AIP_JOB_QUEUED}, 2},
                {{.status_mask = 1u << AIP_JOB_CANCELLED}, 1},
                {{.status_mask = 1u << AIP_JOB_CANCELLED | 1u << AIP_JOB_QUEUED}, 3},
                {{.status_mask = 1u << AIP_JOB_COMPLETED}, 0},
                {{.config_name = S("c'1")}, 2},
                {{.config_name = S("C'1")}, 0},
                {{.config_name = S("c'1"), .template_name = S("t\"1")}, 1},
                {{.config_name = S("c'1"), .status_mask = 1u << AIP_JOB_CANCELLED}, 1},
                {{.created_from_us = created_us}, 1},
                {{.created_from_us = created_us + 1}, 0},
                {{.created_until_us = created_us}, 2},
                {{.created_until_us = created_us + 1}, 3},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                cr_assert_eq(count_list(f, rows[i].list), rows[i].n, "row %zu", i);
}

void store_contract_cancel_outcomes(struct store_fixture *f)
{
        struct aip_id queued = job_create(f, "p", 0), running = job_create(f, "p", 0);
        struct aip_id done = job_create(f, "p", 0);
        aip_job *a = job_claim(f, next_id(f), running, LEASE_LONG_MS);
        aip_job *b = job_claim(f, next_id(f), done, LEASE_LONG_MS);

        cr_assert_eq(job_complete(f, b, "r"), AIP_FINISH_RECORDED);
        const struct {
                struct aip_id id;
                enum aip_cancel_outcome outcome;
                enum aip_job_status status, from;
                int64_t version;
        } rows[] = {
                {queued, AIP_CANCEL_CANCELLED, AIP_JOB_CANCELLED, AIP_JOB_QUEUED, 2},
                {queued, AIP_CANCEL_ALREADY_ENDED, AIP_JOB_CANCELLED, 0, 0},
                {running, AIP_CANCEL_CANCELLED, AIP_JOB_CANCELLED, AIP_JOB_PROCESSING, 3},
                {done, AIP_CANCEL_ALREADY_ENDED, AIP_JOB_COMPLETED, 0, 0},
                {next_id(f), AIP_CANCEL_NOT_FOUND, 0, 0, 0},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct aip_job_cancellation cancellation = {.id = rows[i].id};
                const struct aip_transition *t = &cancellation.ret_transition;
                DO(f, cancel, &cancellation);
                cr_assert_eq(cancellation.ret_outcome, rows[i].outcome, "row %zu", i);
                if (rows[i].outcome != AIP_CANCEL_NOT_FOUND)
                        cr_assert_eq(cancellation.ret_status, rows[i].status, "row %zu", i);
                if (rows[i].outcome != AIP_CANCEL_CANCELLED)
                        continue;
                cr_assert_eq(t->kind, AIP_TRANSITION_CANCELLED);
                cr_assert_eq(t->from, rows[i].from);
                cr_assert_eq(t->to, AIP_JOB_CANCELLED);
                cr_assert_eq(t->version, rows[i].version);
                cr_assert_gt(t->outbox_id, 0);
        }
        expect_job(f, running, AIP_JOB_CANCELLED, 3, 1);
        cr_assert_eq(job_complete(f, a, "late"), AIP_FINISH_STALE);
        expect_job(f, running, AIP_JOB_CANCELLED, 3, 1);
        cr_assert_not(job_can_be_claimed(f, queued));
        aip_job_free(a);
        aip_job_free(b);
}

void store_contract_claim_by_ids(struct store_fixture *f)
{
        struct aip_id a = job_create(f, "a", 0), b = job_create(f, "b", 0);
        struct aip_id later = job_create(f, "later", 3600000), gone = job_create(f, "gone", 0);
        struct aip_job_cancellation cancellation = {.id = gone};
        struct aip_id session = next_id(f), ids[] = {a, next_id(f), later, gone, b, a};
        struct aip_job_claim claim = {
                .session = session, .lease_ms = LEASE_LONG_MS, .ids = ids, .n_ids = 6, .limit = 10};

        DO(f, cancel, &cancellation);
        DO(f, claim, &claim);
        cr_assert_eq(claim.ret_n, 2);
        for (size_t i = 0; i < 2; i++) {
                const struct aip_job_fields *fields = aip_job_fields(claim.ret_jobs[i]);
                const struct aip_transition *t = &claim.ret_transitions[i];
                aip_job *stored = job_fetch(f, fields->id);
                expect_same_job(claim.ret_jobs[i], stored);
                aip_job_free(stored);
                cr_assert(aip_id_equal(&fields->id, &a) || aip_id_equal(&fields->id, &b));
                cr_assert_eq(fields->status, AIP_JOB_PROCESSING);
                cr_assert_eq(fields->attempt, 1);
                cr_assert_eq(fields->version, 2);
                cr_assert_neq(fields->started_at_us, 0);
                cr_assert(aip_id_equal(&t->job_id, &fields->id));
                cr_assert_eq(t->kind, AIP_TRANSITION_STARTED);
                cr_assert_eq(t->version, 2);
                cr_assert_eq(t->attempt, 1);
                cr_assert_eq(t->at_us, fields->updated_at_us);
                cr_assert_gt(t->outbox_id, 0);
        }
        free_jobs(claim.ret_jobs, claim.ret_n);
        free(claim.ret_transitions);
        DO(f, claim, &claim);
        cr_assert_eq(claim.ret_n, 0, "nothing is left to claim");
        free(claim.ret_jobs);
        free(claim.ret_transitions);
        expect_job(f, later, AIP_JOB_QUEUED, 1, 0);
}

static size_t claim_due(struct store_fixture *f, size_t limit, int64_t min_due_ms,
                        struct aip_id *ret_ids)
{
        struct aip_job_claim claim = {.session = next_id(f),
                                      .lease_ms = LEASE_LONG_MS,
                                      .limit = limit,
                                      .min_due_ms = min_due_ms};

        DO(f, claim, &claim);
        for (size_t i = 0; i < claim.ret_n; i++)
                ret_ids[i] = aip_job_fields(claim.ret_jobs[i])->id;
        free_jobs(claim.ret_jobs, claim.ret_n);
        free(claim.ret_transitions);
        return claim.ret_n;
}

static int is_among(struct aip_id id, const struct aip_id *ids, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (aip_id_equal(&id, &ids[i]))
                        return 1;
        return 0;
}

void store_contract_claim_due_takes_the_longest_due(struct store_fixture *f)
{
        struct aip_id a, b, c, got[10];

        job_create(f, "tomorrow", 86400000);
        a = job_create(f, "a", 0);
        run_for(f, 5);
        b = job_create(f, "b", 0);
        run_for(f, 5);
        c = job_create(f, "c", 0);
        cr_assert_eq(claim_due(f, 10, 60000, got), 0, "none has been due for a minute");
        cr_assert_eq(claim_due(f, 2, 0, got), 2);
        cr_assert(is_among(a, got, 2) && is_among(b, got, 2));
        cr_assert_eq(claim_due(f, 2, 0, got), 1);
        cr_assert(aip_id_equal(&got[0], &c));
        cr_assert_eq(claim_due(f, 2, 0, got), 0);
}

static struct aip_id job_create_for(struct store_fixture *f, const char *config_name)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;

        spec.prompt = S("fair");
        spec.config_name = S(config_name);
        return job_create_from(f, &spec);
}

/* A backlog of one configuration, and a few of others that came later. */
void store_contract_claim_due_is_fair_to_configurations(struct store_fixture *f)
{
        struct aip_id first = {{0}}, b[2], c[5], got[64];

        for (int i = 0; i < 40; i++) {
                struct aip_id id = job_create_for(f, "backlog");
                if (i == 0)
                        first = id;
        }
        run_for(f, 5);
        for (size_t i = 0; i < 2; i++)
                b[i] = job_create_for(f, "b");
        for (size_t i = 0; i < 5; i++)
                c[i] = job_create_for(f, "a longer name, in front of the others");
        run_for(f, 5);
        cr_assert_eq(claim_due(f, 9, 0, got), 9);
        cr_assert(is_among(b[0], got, 9) && is_among(b[1], got, 9), "all two of b");
        cr_assert(is_among(first, got, 9), "the longest due of the backlog");
        size_t n_c = 0;
        for (size_t i = 0; i < 5; i++)
                n_c += (size_t)is_among(c[i], got, 9);
        cr_assert(n_c == 3 || n_c == 4, "an even part: %zu", n_c);
        cr_assert_eq(claim_due(f, 64, 0, got), 38, "nothing is left behind");
        cr_assert_eq(claim_due(f, 64, 0, got), 0);
}

void store_contract_claim_due_leaves_out_configurations(struct store_fixture *f)
{
        struct aip_str without[] = {S("backlog"), S("nobody's")};
        struct aip_job_claim claim = {.session = next_id(f),
                                      .lease_ms = LEASE_LONG_MS,
                                      .limit = 10,
                                      .without_configs = without,
                                      .n_without_configs = 2};
        struct aip_id other, got[10];

        for (int i = 0; i < 5; i++)
                job_create_for(f, "backlog");
        other = job_create_for(f, "other");
        run_for(f, 5);
        DO(f, claim, &claim);
        cr_assert_eq(claim.ret_n, 1);
        cr_assert(aip_id_equal(&aip_job_fields(claim.ret_jobs[0])->id, &other));
        free_jobs(claim.ret_jobs, claim.ret_n);
        free(claim.ret_transitions);
        cr_assert_eq(claim_due(f, 10, 0, got), 5);
}

void store_contract_claims_never_share_a_job(struct store_fixture *f)
{
        enum { JOBS = 60, CLAIMS = 8 };
        static struct aip_job_claim claims[CLAIMS];
        struct aip_id seen[JOBS], ids[JOBS];
        size_t n = 0;

        for (int i = 0; i < JOBS; i++)
                ids[i] = job_create(f, "p", 0);
        for (int i = 0; i < CLAIMS; i++) {
                claims[i] = (struct aip_job_claim){
                        .session = next_id(f), .lease_ms = LEASE_LONG_MS, .limit = 20};
                if (i % 2) {
                        claims[i].ids = ids;
                        claims[i].n_ids = JOBS;
                }
                START(f, claim, &claims[i]);
        }
        for (int i = 0; i < CLAIMS; i++) {
                op_await(f, &claims[i].op, 0);
                for (size_t j = 0; j < claims[i].ret_n; j++) {
                        struct aip_id id = aip_job_fields(claims[i].ret_jobs[j])->id;
                        cr_assert_not(is_among(id, seen, n), "two claims got one job");
                        seen[n++] = id;
                }
                free_jobs(claims[i].ret_jobs, claims[i].ret_n);
                free(claims[i].ret_transitions);
        }
        n += claim_due(f, JOBS, 0, seen);
        cr_assert_eq(n, JOBS);
}

void store_contract_claim_refuses_what_is_wrong(struct store_fixture *f)
{
        struct aip_id session = next_id(f);
        struct aip_job_claim rows[] = {
                {.session = session, .lease_ms = 1000, .limit = 0},
                {.session = session, .lease_ms = 1000, .limit = AIP_STORE_BATCH_MAX + 1},
                {.session = session, .lease_ms = 0, .limit = 1},
                {.lease_ms = 1000, .limit = 1},
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                DO_CODE(f, claim, &rows[i], AIP_EINVAL);
}

void store_contract_finish_records_once(struct store_fixture *f)
{
        struct aip_id id = job_create(f, "p", 0);
        aip_job *job = job_claim(f, next_id(f), id, LEASE_LONG_MS), *stored;
        struct aip_job_finish again = {.job = job};

        cr_assert_eq(job_complete(f, job, "the answer"), AIP_FINISH_RECORDED);
        stored = job_fetch(f, id);
        expect_same_job(job, stored);
        cr_assert_eq(aip_job_fields(stored)->status, AIP_JOB_COMPLETED);
        cr_assert(aip_str_eq(aip_job_fields(stored)->result, S("the answer")));
        aip_job_free(stored);
        forget_all(f);
        DO(f, finish, &again);
        expect_job(f, id, AIP_JOB_COMPLETED, 3, 1);
        cr_assert_eq(forget_all(f), 0, "the repetition wrote to the outbox");
        aip_job_free(job);
        job = job_make(f, "never claimed", 0);
        again = (struct aip_job_finish){.job = job};
        DO_CODE(f, finish, &again, AIP_EINVAL);
        aip_job_free(job);
}

void store_contract_finish_failure_and_retry(struct store_fixture *f)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        struct aip_id id, session = next_id(f);
        aip_job *job, *stored;

        spec.prompt = S("p");
        spec.max_attempts = 2;
        spec.retry_delay_ms = 400;
        id = job_create_from(f, &spec);
        job = job_claim(f, session, id, LEASE_LONG_MS);
        cr_assert_eq(job_fail(f, job, 1), AIP_FINISH_RECORDED);
        stored = job_fetch(f, id);
        expect_same_job(job, stored);
        cr_assert_eq(aip_job_fields(stored)->status, AIP_JOB_QUEUED);
        cr_assert(aip_str_eq(aip_job_fields(stored)->error_code, S("provider_overloaded")));
        aip_job_free(stored);
        aip_job_free(job);
        cr_assert_not(job_can_be_claimed(f, id), "a retry must wait for its time");
        run_for(f, 500);
        cr_assert_eq(count_chore(f, CHORE_PROMOTE, 10, 0), 1, "a retry is a delayed job");
        job = job_claim(f, session, id, LEASE_LONG_MS);
        cr_assert_eq(aip_job_fields(job)->attempt, 2);
        cr_assert_eq(aip_job_fields(job)->version, 4);
        cr_assert_eq(job_fail(f, job, 1), AIP_FINISH_RECORDED);
        stored = job_fetch(f, id);
        expect_same_job(job, stored);
        cr_assert_eq(aip_job_fields(stored)->status, AIP_JOB_FAILED);
        cr_assert_neq(aip_job_fields(stored)->finished_at_us, 0);
        aip_job_free(stored);
        aip_job_free(job);
}

/* A result that was made under a claim which is over must change nothing. */
void store_contract_finish_is_fenced(struct store_fixture *f)
{
        struct aip_id id = job_create(f, "p", 0), session = next_id(f);
        aip_job *stale = job_claim(f, session, id, LEASE_LONG_MS), *fresh;
        struct aip_fence fence = fence_of(stale);
        struct aip_release release = {.session = session, .fences = &fence, .n_fences = 1};

        DO(f, release, &release);
        cr_assert_eq(release.ret_n, 1);
        free(release.ret_transitions);
        cr_assert_eq(job_complete(f, stale, "handed back"), AIP_FINISH_STALE);
        expect_job(f, id, AIP_JOB_QUEUED, 3, 0);
        fresh = job_claim(f, next_id(f), id, LEASE_LONG_MS);
        forget_all(f);
        struct aip_job_finish finish = {.job = stale};
        DO(f, finish, &finish);
        cr_assert_eq(finish.ret_outcome, AIP_FINISH_STALE, "taken over by another worker");
        expect_job(f, id, AIP_JOB_PROCESSING, 4, 1);
        cr_assert_eq(forget_all(f), 0);
        cr_assert_eq(job_complete(f, fresh, "mine"), AIP_FINISH_RECORDED);
        aip_job_free(stale);
        aip_job_free(fresh);
        stale = job_claim(f, session, job_create(f, "q", 0), LEASE_LONG_MS);
        struct aip_job_fields unknown = *aip_job_fields(stale);
        unknown.id = next_id(f);
        cr_assert_eq(aip_job_restore(&unknown, &fresh, NULL), 0);
        cr_assert_eq(job_complete(f, fresh, "of a job that never was"), AIP_FINISH_STALE);
        aip_job_free(stale);
        aip_job_free(fresh);
}

/* ── interrupted jobs ────────────────────────────────────────────────────────────────────────── */

#define QUESTIONS "[{\"id\":\"a:0\",\"node\":\"a\",\"value\":{\"ask\":\"go on, “please”?\"}}]"
#define ANSWERS   "{\"a:0\":[\"yes\",\"ключ ✓\"]}"

/* PROCESSING → INTERRUPTED; `job` is as stored then. */
static void interrupt(struct store_fixture *f, aip_job *job)
{
        struct aip_job_finish finish = {.job = job};

        cr_assert_eq(aip_job_interrupt(job, S(QUESTIONS), wall_us(f), &finish.transition, NULL), 0);
        DO(f, finish, &finish);
        cr_assert_eq(finish.ret_outcome, AIP_FINISH_RECORDED);
        cr_assert_gt(finish.transition.outbox_id, 0);
}

static enum aip_resumption_outcome resume(struct store_fixture *f, aip_job *job,
                                          enum aip_job_status *ret_status)
{
        struct aip_job_resumption resumption = {.job = job, .ret_status = AIP_JOB_QUEUED};

        cr_assert_eq(aip_job_resume(job, S(ANSWERS), wall_us(f), &resumption.transition, NULL), 0);
        DO(f, resume, &resumption);
        if (resumption.ret_outcome == AIP_RESUMPTION_RECORDED) {
                cr_assert_gt(resumption.transition.outbox_id, 0);
                cr_assert_eq(resumption.transition.kind, AIP_TRANSITION_RESUMED);
                cr_assert_eq(resumption.transition.is_runnable, 1);
        }
        *ret_status = resumption.ret_status;
        return resumption.ret_outcome;
}

static aip_job *interrupted_job(struct store_fixture *f)
{
        aip_job *job = job_claim(f, next_id(f), job_create(f, "ask", 0), LEASE_LONG_MS);

        interrupt(f, job);
        return job;
}

static void expect_stored(struct store_fixture *f, const aip_job *job)
{
        aip_job *stored = job_fetch(f, aip_job_fields(job)->id);

        expect_same_job(job, stored);
        aip_job_free(stored);
}

void store_contract_interrupted_jobs_rest_until_they_are_resumed(struct store_fixture *f)
{
        aip_job *job = interrupted_job(f);
        struct aip_id id = aip_job_fields(job)->id;
        struct aip_job_list list = {.status_mask = 1u << AIP_JOB_INTERRUPTED, .limit = 10};
        enum aip_job_status status;

        expect_stored(f, job);
        DO(f, list, &list);
        cr_assert_eq(list.ret_n, 1);
        expect_same_job(list.ret_jobs[0], job);
        free_jobs(list.ret_jobs, list.ret_n);
        cr_assert_not(job_can_be_claimed(f, id));
        cr_assert_eq(count_chore(f, CHORE_RECOVER, 10, 0), 0);
        cr_assert_eq(count_chore(f, CHORE_PROMOTE, 10, 0), 0);
        cr_assert_eq(resume(f, job, &status), AIP_RESUMPTION_RECORDED);
        expect_stored(f, job);
        expect_job(f, id, AIP_JOB_QUEUED, 4, 0);
        cr_assert_eq(forget_all(f), 4, "created, started, interrupted, resumed");
        aip_job_free(job);
        job = job_claim(f, next_id(f), id, LEASE_LONG_MS);
        cr_assert(aip_str_eq(aip_job_fields(job)->answers_json, S(ANSWERS)));
        cr_assert_eq(aip_job_fields(job)->attempt, 1);
        aip_job_free(job);
}

void store_contract_resume_is_refused_but_once(struct store_fixture *f)
{
        aip_job *job = interrupted_job(f), *second = NULL, *other = NULL;
        struct aip_job_fields unknown = *aip_job_fields(job);
        enum aip_job_status status;

        unknown.id = next_id(f);
        cr_assert_eq(aip_job_restore(&unknown, &other, NULL), 0);
        cr_assert_eq(aip_job_copy(job, &second, NULL), 0);
        cr_assert_eq(resume(f, job, &status), AIP_RESUMPTION_RECORDED);
        forget_all(f);
        cr_assert_eq(resume(f, second, &status), AIP_RESUMPTION_REFUSED);
        cr_assert_eq(status, AIP_JOB_QUEUED);
        cr_assert_eq(forget_all(f), 0, "what was refused wrote to the outbox");
        expect_stored(f, job);
        cr_assert_eq(resume(f, other, &status), AIP_RESUMPTION_REFUSED);
        cr_assert_eq(status, AIP_JOB_CANCELLED);
        struct aip_job_resumption wrong = {.job = NULL};
        DO_CODE(f, resume, &wrong, AIP_EINVAL);
        aip_job_free(job);
        aip_job_free(second);
        aip_job_free(other);
}

void store_contract_answers_last_as_long_as_the_run(struct store_fixture *f)
{
        aip_job *job = interrupted_job(f);
        struct aip_id id = aip_job_fields(job)->id, session = next_id(f);
        struct aip_release release = {.session = session, .n_fences = 1};
        struct aip_fence fence;
        enum aip_job_status status;

        cr_assert_eq(resume(f, job, &status), AIP_RESUMPTION_RECORDED);
        aip_job_free(job);
        job = job_claim(f, session, id, LEASE_LONG_MS);
        fence = fence_of(job);
        release.fences = &fence;
        DO(f, release, &release);
        free(release.ret_transitions);
        aip_job_free(job);
        job = job_claim(f, session, id, LEASE_LONG_MS);
        cr_assert(aip_str_eq(aip_job_fields(job)->answers_json, S(ANSWERS)));
        cr_assert_eq(job_fail(f, job, 1), AIP_FINISH_RECORDED);
        cr_assert(aip_str_eq(aip_job_fields(job)->answers_json, S(ANSWERS)));
        expect_stored(f, job);
        aip_job_free(job);
        job = job_claim(f, session, job_create(f, "again", 0), LEASE_LONG_MS);
        interrupt(f, job);
        cr_assert_eq(resume(f, job, &status), AIP_RESUMPTION_RECORDED);
        id = aip_job_fields(job)->id;
        aip_job_free(job);
        job = job_claim(f, session, id, LEASE_LONG_MS);
        interrupt(f, job);
        cr_assert_null(aip_job_fields(job)->answers_json.p);
        expect_stored(f, job);
        aip_job_free(job);
}

void store_contract_interrupted_jobs_can_be_cancelled(struct store_fixture *f)
{
        aip_job *job = interrupted_job(f);
        struct aip_job_cancellation cancel = {.id = aip_job_fields(job)->id};
        enum aip_job_status status;
        aip_job *stored;

        DO(f, cancel, &cancel);
        cr_assert_eq(cancel.ret_outcome, AIP_CANCEL_CANCELLED);
        cr_assert_eq(cancel.ret_transition.from, AIP_JOB_INTERRUPTED);
        expect_job(f, cancel.id, AIP_JOB_CANCELLED, 4, 1);
        stored = job_fetch(f, cancel.id);
        cr_assert_null(aip_job_fields(stored)->questions_json.p);
        cr_assert_eq(resume(f, job, &status), AIP_RESUMPTION_REFUSED);
        cr_assert_eq(status, AIP_JOB_CANCELLED);
        aip_job_free(stored);
        aip_job_free(job);
}
