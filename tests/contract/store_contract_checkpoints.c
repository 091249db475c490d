/*
 * The store contract, part 4: checkpoints of runs, their fence, and what is read of them. Run by every
 * store's suite through store_contract.h.
 */
#include "store_fixture.h"

#include "macros.h"
#include <stdio.h>

#define DO_CHECKPOINTS_CODE(f, method, request, code)                                              \
        do {                                                                                       \
                START_ON(f, (f)->store.checkpoints, method, request);                              \
                op_await((f), &(request)->op, (code));                                             \
        } while (0)
#define DO_CHECKPOINTS(f, method, request) DO_CHECKPOINTS_CODE(f, method, request, 0)

/* A checkpoint that follows the number below it; its changes are its number. */
static struct aip_checkpoint_save save_make(const aip_job *job, int64_t n, int64_t base)
{
        static char texts[2][32];
        static int turn;
        struct aip_checkpoint_save save = {.fence = fence_of(job), .ret_is_stale = -1};

        turn = !turn;
        snprintf(texts[turn], sizeof(texts[turn]), "{\"set\":{\"x\":%d}}", (int)n);
        save.checkpoint = (struct aip_checkpoint){.owner = save.fence.job_id,
                                                  .n = n,
                                                  .parent = n - 1,
                                                  .base = base,
                                                  .step = (int32_t)n + 10,
                                                  .source = AIP_CHECKPOINT_LOOP,
                                                  .place = S("{\"step\":1,\"next\":[\"ä\"]}"),
                                                  .changes = S(texts[turn])};
        return save;
}

/* Whether it was taken. */
static int save_step(struct store_fixture *f, const aip_job *job, int64_t n, int64_t base)
{
        struct aip_checkpoint_save save = save_make(job, n, base);

        DO_CHECKPOINTS(f, save, &save);
        return !save.ret_is_stale;
}

static int save_task(struct store_fixture *f, const aip_job *job, int64_t n, int32_t place,
                     const char *said)
{
        struct aip_checkpoint_save save = save_make(job, n, n);
        struct aip_checkpoint_task task = {place, S(said)};

        save.tasks = &task;
        save.n_tasks = 1;
        DO_CHECKPOINTS(f, save, &save);
        return !save.ret_is_stale;
}

static struct aip_checkpoint_load load(struct store_fixture *f, struct aip_id owner, int64_t n)
{
        struct aip_checkpoint_load load = {.owner = owner, .n = n};

        DO_CHECKPOINTS(f, load, &load);
        return load;
}

static void load_free(struct aip_checkpoint_load *load)
{
        free(load->ret_checkpoints);
        free(load->ret_tasks);
}

static void expect_range(struct store_fixture *f, struct aip_id owner, int64_t n, int64_t first,
                         int64_t last)
{
        struct aip_checkpoint_load found = load(f, owner, n);
        char text[32];

        cr_assert_eq(found.ret_n, (size_t)(last - first + 1), "%zu rows", found.ret_n);
        for (size_t i = 0; i < found.ret_n; i++) {
                const struct aip_checkpoint *c = &found.ret_checkpoints[i];
                cr_assert_eq(c->n, first + (int64_t)i);
                cr_assert_eq(c->parent, c->n - 1);
                cr_assert_eq(c->base, first);
                cr_assert_eq(c->step, (int32_t)c->n + 10);
                cr_assert_eq(c->source, AIP_CHECKPOINT_LOOP);
                cr_assert(aip_id_equal(&c->owner, &owner));
                cr_assert(aip_id_equal(&c->job_id, &owner));
                cr_assert_eq(c->ns.n, 0);
                cr_assert_gt(c->created_at_us, 0);
                cr_assert(aip_str_eq(c->place, S("{\"step\":1,\"next\":[\"ä\"]}")));
                snprintf(text, sizeof(text), "{\"set\":{\"x\":%d}}", (int)c->n);
                cr_assert(aip_str_eq(c->changes, S(text)), "%.*s", AIP_STR_ARG(c->changes));
        }
        load_free(&found);
}

static aip_job *claimed(struct store_fixture *f)
{
        return job_claim(f, next_id(f), job_create(f, "a", 0), LEASE_LONG_MS);
}

void store_contract_checkpoints_are_kept_and_read(struct store_fixture *f)
{
        aip_job *job = claimed(f), *other = claimed(f);
        struct aip_id id = aip_job_fields(job)->id;
        struct aip_checkpoint_load found;

        found = load(f, id, 0);
        cr_assert_eq(found.ret_n, 0);
        cr_assert_null(found.ret_checkpoints);
        cr_assert_null(found.ret_tasks);
        for (int64_t n = 1; n <= 7; n++)
                cr_assert(save_step(f, job, n, n < 4 ? 1 : 4));
        cr_assert(save_step(f, other, 1, 1));
        expect_range(f, id, 0, 4, 7);
        expect_range(f, id, 5, 4, 5);
        expect_range(f, id, 3, 1, 3);
        expect_range(f, id, 1, 1, 1);
        found = load(f, id, 8);
        cr_assert_eq(found.ret_n, 0, "there is no such checkpoint");
        load_free(&found);
        /* What tasks say belongs to one checkpoint; saying it again changes nothing. */
        cr_assert(save_task(f, job, 7, 3, "[3]"));
        cr_assert(save_task(f, job, 7, 1, "[1]"));
        cr_assert(save_task(f, job, 7, 3, "[3]"));
        cr_assert(save_task(f, job, 6, 2, "[2]"));
        found = load(f, id, 7);
        cr_assert_eq(found.ret_n_tasks, 2);
        for (size_t i = 0; i < 2; i++)
                cr_assert(aip_str_eq(found.ret_tasks[i].value,
                                     found.ret_tasks[i].place == 3 ? S("[3]") : S("[1]")));
        load_free(&found);
        /* A repetition is harmless. */
        cr_assert(save_step(f, job, 7, 4));
        expect_range(f, id, 0, 4, 7);
        aip_job_free(job);
        aip_job_free(other);
}

void store_contract_checkpoints_are_listed_in_pages(struct store_fixture *f)
{
        aip_job *job = claimed(f);
        struct aip_checkpoint_list list = {.owner = aip_job_fields(job)->id, .limit = 4};
        int64_t expected = 10;

        for (int64_t n = 1; n <= 10; n++)
                cr_assert(save_step(f, job, n, 1));
        do {
                DO_CHECKPOINTS(f, list, &list);
                for (size_t i = 0; i < list.ret_n; i++) {
                        cr_assert_eq(list.ret_checkpoints[i].n, expected--);
                        cr_assert_eq(list.ret_checkpoints[i].changes.n, 0);
                }
                cr_assert_eq(list.ret_has_more, expected > 0);
                list.before = expected + 1;
                free(list.ret_checkpoints);
        } while (list.ret_has_more);
        cr_assert_eq(expected, 0);
        list = (struct aip_checkpoint_list){.owner = next_id(f), .limit = 4};
        DO_CHECKPOINTS(f, list, &list);
        cr_assert_eq(list.ret_n, 0);
        cr_assert_null(list.ret_checkpoints);
        aip_job_free(job);
}

void store_contract_checkpoints_are_fenced(struct store_fixture *f)
{
        aip_job *job = claimed(f), *cancelled = claimed(f), *done = claimed(f);
        struct aip_job_cancellation cancellation = {.id = aip_job_fields(cancelled)->id};
        struct aip_checkpoint_save save = save_make(job, 1, 1);
        struct aip_checkpoint_save late = save_make(done, 1, 1);

        save.fence.version++;
        DO_CHECKPOINTS(f, save, &save);
        cr_assert_eq(save.ret_is_stale, 1, "another version");
        save = save_make(job, 1, 1);
        save.fence.job_id = next_id(f);
        DO_CHECKPOINTS(f, save, &save);
        cr_assert_eq(save.ret_is_stale, 1, "no such job");
        DO(f, cancel, &cancellation);
        cr_assert_not(save_step(f, cancelled, 1, 1));
        cr_assert_not(save_task(f, cancelled, 1, 1, "[]"));
        job_complete(f, done, "r");
        DO_CHECKPOINTS(f, save, &late);
        cr_assert_eq(late.ret_is_stale, 1, "it has ended");
        cr_assert_eq(load(f, aip_job_fields(job)->id, 0).ret_n, 0);
        cr_assert_eq(load(f, aip_job_fields(cancelled)->id, 0).ret_n, 0);
        cr_assert(save_step(f, job, 1, 1));
        aip_job_free(job);
        aip_job_free(cancelled);
        aip_job_free(done);
}

/* A worker is lost after step 2, and another goes on from step 1. */
void store_contract_checkpoints_of_a_later_claim_replace(struct store_fixture *f)
{
        struct aip_id id = job_create(f, "a", 0), session = next_id(f);
        aip_job *first = job_claim(f, session, id, LEASE_LONG_MS), *second;
        struct aip_fence fence = fence_of(first);
        struct aip_release release = {.session = session, .fences = &fence, .n_fences = 1};
        struct aip_checkpoint_save save;
        struct aip_checkpoint_load found;

        cr_assert(save_step(f, first, 1, 1));
        cr_assert(save_task(f, first, 1, 0, "[\"kept\"]"));
        cr_assert(save_step(f, first, 2, 1));
        cr_assert(save_task(f, first, 2, 0, "[\"old\"]"));
        DO(f, release, &release);
        free(release.ret_transitions);
        second = job_claim(f, next_id(f), id, LEASE_LONG_MS);
        cr_assert_not(save_step(f, first, 3, 1), "the first has lost it");
        found = load(f, id, 1);
        cr_assert_eq(found.ret_n_tasks, 1);
        load_free(&found);
        save = save_make(second, 2, 2);
        save.checkpoint.changes = S("{\"set\":{\"x\":\"new\"}}");
        DO_CHECKPOINTS(f, save, &save);
        cr_assert_eq(save.ret_is_stale, 0);
        found = load(f, id, 0);
        cr_assert_eq(found.ret_n, 1);
        cr_assert(aip_str_eq(found.ret_checkpoints[0].changes, S("{\"set\":{\"x\":\"new\"}}")));
        cr_assert_eq(found.ret_n_tasks, 0, "what the first said there is of no use any more");
        load_free(&found);
        cr_assert(save_task(f, second, 2, 0, "[\"new\"]"));
        found = load(f, id, 2);
        cr_assert_eq(found.ret_n_tasks, 1);
        cr_assert(aip_str_eq(found.ret_tasks[0].value, S("[\"new\"]")));
        load_free(&found);
        aip_job_free(first);
        aip_job_free(second);
}

#define MANY 100

void store_contract_checkpoints_of_many_at_once(struct store_fixture *f)
{
        static struct aip_checkpoint_save saves[MANY];
        static struct aip_checkpoint_task tasks[MANY][3];
        aip_job *jobs[MANY];
        struct aip_checkpoint_load found;

        for (int i = 0; i < MANY; i++)
                jobs[i] = claimed(f);
        for (int64_t n = 1; n <= 3; n++) {
                for (int i = 0; i < MANY; i++) {
                        saves[i] = save_make(jobs[i], n, 1);
                        saves[i].checkpoint.changes = S("{}");
                        saves[i].fence.version += i % 10 == 9; /* refused */
                        for (int t = 0; n == 3 && t < 3; t++)
                                tasks[i][t] = (struct aip_checkpoint_task){t, S("[]")};
                        saves[i].checkpoint.n = n == 3 ? 2 : n;
                        saves[i].checkpoint.parent = saves[i].checkpoint.n - 1;
                        saves[i].tasks = tasks[i];
                        saves[i].n_tasks = n == 3 ? 3 : 0;
                        START_ON(f, f->store.checkpoints, save, &saves[i]);
                }
                for (int i = 0; i < MANY; i++) {
                        op_await(f, &saves[i].op, 0);
                        cr_assert_eq(saves[i].ret_is_stale, i % 10 == 9);
                }
        }
        for (int i = 0; i < MANY; i++) {
                found = load(f, aip_job_fields(jobs[i])->id, 0);
                cr_assert_eq(found.ret_n, i % 10 == 9 ? 0 : 2);
                cr_assert_eq(found.ret_n_tasks, i % 10 == 9 ? 0 : 3);
                load_free(&found);
                aip_job_free(jobs[i]);
        }
}

void store_contract_checkpoints_refuse_what_is_wrong(struct store_fixture *f)
{
        aip_job *job = claimed(f);
        struct aip_checkpoint_save save = save_make(job, 0, 0);
        struct aip_checkpoint_list list = {.owner = next_id(f), .limit = 0};

        DO_CHECKPOINTS_CODE(f, save, &save, AIP_EINVAL);
        save = save_make(job, 3, 4);
        DO_CHECKPOINTS_CODE(f, save, &save, AIP_EINVAL);
        save = save_make(job, 3, 1);
        save.checkpoint.parent = 1;
        DO_CHECKPOINTS_CODE(f, save, &save, AIP_EINVAL);
        save = save_make(job, 3, 3);
        save.checkpoint.parent = 1;
        DO_CHECKPOINTS(f, save, &save);
        cr_assert_eq(save.ret_is_stale, 0, "a fork is a base");
        DO_CHECKPOINTS_CODE(f, list, &list, AIP_EINVAL);
        list.limit = AIP_CHECKPOINT_LIST_MAX + 1;
        DO_CHECKPOINTS_CODE(f, list, &list, AIP_EINVAL);
        aip_job_free(job);
}
