/*
 * The store contract: threads as a whole. How each stands, in pages, and states that somebody writes to one. Run
 * by every store's file through STORE_CONTRACT.
 */
#include "store_fixture.h"

#include "macros.h"

#define DO_THREADS_CODE(f, method, request, code)                                                  \
        do {                                                                                       \
                START_ON(f, (f)->store.threads, method, request);                                  \
                op_await((f), &(request)->op, (code));                                             \
        } while (0)
#define DO_THREADS(f, method, request) DO_THREADS_CODE(f, method, request, 0)

static struct aip_id add_job(struct store_fixture *f, struct aip_id thread)
{
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;

        spec.prompt = S("in a thread");
        spec.thread_id = thread;
        return job_create_from(f, &spec);
}

static void run_through(struct store_fixture *f, struct aip_id id)
{
        aip_job *job = job_claim(f, next_id(f), id, LEASE_LONG_MS);

        cr_assert_eq(job_complete(f, job, "done"), AIP_FINISH_RECORDED);
        aip_job_free(job);
}

static struct aip_thread look(struct store_fixture *f, struct aip_id id)
{
        struct aip_thread_list list = {.id = id, .limit = 1};
        struct aip_thread thread;

        DO_THREADS(f, list, &list);
        cr_assert_eq(list.ret_n, 1);
        cr_assert_not(list.ret_has_more);
        thread = list.ret_threads[0];
        free(list.ret_threads);
        cr_assert(aip_id_equal(&thread.id, &id));
        cr_assert_gt(thread.created_at_us, 0);
        cr_assert_geq(thread.updated_at_us, thread.created_at_us);
        return thread;
}

static void expect(struct aip_thread thread, struct aip_id job, enum aip_job_status status,
                   int64_t n_waiting)
{
        cr_assert(aip_id_equal(&thread.job_id, &job));
        cr_assert_eq(thread.job_status, status, "%s", aip_job_status_name(thread.job_status));
        cr_assert_eq(thread.n_waiting, n_waiting);
}

void store_contract_threads_tell_how_they_stand(struct store_fixture *f)
{
        struct aip_thread_list none = {.id = next_id(f), .limit = 1};
        struct aip_id thread = next_id(f), first, second;

        DO_THREADS(f, list, &none);
        cr_assert_eq(none.ret_n, 0);
        free(none.ret_threads);
        first = add_job(f, thread);
        expect(look(f, thread), first, AIP_JOB_QUEUED, 0);
        second = add_job(f, thread);
        expect(look(f, thread), first, AIP_JOB_QUEUED, 1);
        run_through(f, first);
        expect(look(f, thread), second, AIP_JOB_QUEUED, 0);
        run_through(f, second);
        expect(look(f, thread), second, AIP_JOB_COMPLETED, 0);
        cr_assert_eq(look(f, thread).checkpoint, 0);
}

void store_contract_threads_are_listed_in_pages(struct store_fixture *f)
{
        struct aip_thread_list all = {.limit = AIP_THREAD_LIST_MAX}, page = {.limit = 2};
        size_t at = 0;

        for (int i = 0; i < 7; i++)
                add_job(f, next_id(f));
        DO_THREADS(f, list, &all);
        cr_assert_geq(all.ret_n, 7);
        do {
                DO_THREADS(f, list, &page);
                for (size_t i = 0; i < page.ret_n; i++, at++) {
                        cr_assert(aip_id_equal(&page.ret_threads[i].id, &all.ret_threads[at].id),
                                  "thread %zu", at);
                        page.before_created_us = page.ret_threads[i].created_at_us;
                        page.before_id = page.ret_threads[i].id;
                }
                free(page.ret_threads);
        } while (page.ret_has_more);
        cr_assert_eq(at, all.ret_n);
        for (size_t i = 1; i < all.ret_n; i++)
                cr_assert_leq(all.ret_threads[i].created_at_us,
                              all.ret_threads[i - 1].created_at_us);
        free(all.ret_threads);
}

static struct aip_thread_update update_make(struct aip_id thread, int64_t n, const char *changes)
{
        struct aip_thread_update update = {.ret_outcome = (enum aip_thread_update_outcome) - 1};

        update.checkpoint = (struct aip_checkpoint){.owner = thread,
                                                    .n = n,
                                                    .parent = n - 1,
                                                    .base = 1,
                                                    .step = 3,
                                                    .place = S("{\"step\":3}"),
                                                    .changes = S(changes)};
        return update;
}

static enum aip_thread_update_outcome update(struct store_fixture *f, struct aip_id thread,
                                             int64_t n, const char *changes)
{
        struct aip_thread_update update = update_make(thread, n, changes);

        DO_THREADS(f, update, &update);
        return update.ret_outcome;
}

void store_contract_threads_take_a_state(struct store_fixture *f)
{
        struct aip_id thread = next_id(f), job;
        struct aip_checkpoint_load load = {.owner = thread};

        cr_assert_eq(update(f, thread, 1, "{\"set\":{\"x\":1}}"), AIP_THREAD_UPDATED);
        expect(look(f, thread), (struct aip_id){{0}}, AIP_JOB_QUEUED, 0);
        cr_assert_eq(update(f, thread, 2, "{\"set\":{\"x\":2}}"), AIP_THREAD_UPDATED);
        cr_assert_eq(update(f, thread, 2, "{\"set\":{\"x\":2}}"), AIP_THREAD_UPDATED,
                     "the same again is harmless");
        cr_assert_eq(update(f, thread, 2, "{\"set\":{\"x\":3}}"), AIP_THREAD_UPDATE_CHANGED);
        cr_assert_eq(look(f, thread).checkpoint, 2);
        START_ON(f, f->store.checkpoints, load, &load);
        op_await(f, &load.op, 0);
        cr_assert_eq(load.ret_n, 2);
        cr_assert_eq(load.ret_checkpoints[1].source, AIP_CHECKPOINT_UPDATE);
        cr_assert_eq(load.ret_checkpoints[1].step, 3);
        cr_assert(aip_str_eq(load.ret_checkpoints[1].changes, S("{\"set\":{\"x\":2}}")));
        free(load.ret_checkpoints);
        job = add_job(f, thread);
        cr_assert_eq(update(f, thread, 3, "{}"), AIP_THREAD_UPDATE_BUSY);
        cr_assert_eq(look(f, thread).checkpoint, 2);
        run_through(f, job);
        cr_assert_eq(update(f, thread, 3, "{}"), AIP_THREAD_UPDATED);
}

void store_contract_threads_refuse_what_is_wrong(struct store_fixture *f)
{
        struct aip_thread_list list = {.limit = 0};
        struct aip_thread_update of_nobody = update_make((struct aip_id){{0}}, 1, "{}");
        struct aip_thread_update inside = update_make(next_id(f), 1, "{}");
        struct aip_thread_update below = update_make(next_id(f), 0, "{}");

        DO_THREADS_CODE(f, list, &list, AIP_EINVAL);
        list.limit = AIP_THREAD_LIST_MAX + 1;
        DO_THREADS_CODE(f, list, &list, AIP_EINVAL);
        inside.checkpoint.ns = S("a:1:a");
        DO_THREADS_CODE(f, update, &of_nobody, AIP_EINVAL);
        DO_THREADS_CODE(f, update, &inside, AIP_EINVAL);
        DO_THREADS_CODE(f, update, &below, AIP_EINVAL);
}
