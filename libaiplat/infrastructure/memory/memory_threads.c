/*
 * Threads as a whole in the in-memory store: what job_repository.h makes of them is memory_jobs.c, what runs
 * leave behind memory_checkpoints.c.
 */
#include "macros.h"
#include "mem.h"
#include "memory/memory_store.h"
#include <stdlib.h>

struct memory_thread *aip_memory_thread_make(struct memory_store *store, const struct aip_id *id)
{
        struct memory_thread *thread = aip_hash_map_get_id(&store->threads, id);

        if (thread)
                return thread;
        thread = aip_calloc(1, sizeof(*thread));
        if (!thread)
                return NULL;
        thread->id = *id;
        thread->created_at_us = thread->updated_at_us = aip_wall_us(store->loop);
        aip_list_init(&thread->live);
        if (aip_hash_map_set_id(&store->threads, id, thread, NULL) < 0) {
                aip_free(thread);
                return NULL;
        }
        return thread;
}

static struct memory_job *job_of(struct aip_list *node)
{
        return AIP_CONTAINER_OF(node, struct memory_job, in_thread);
}

struct memory_job *aip_memory_thread_active(const struct memory_thread *thread)
{
        for (struct aip_list *node = thread->live.next; node != &thread->live; node = node->next)
                if (!aip_job_waits(job_of(node)->job))
                        return job_of(node);
        return NULL;
}

/* ── list ────────────────────────────────────────────────────────────────────────────────────── */

static struct aip_thread describe(const struct memory_store *store,
                                  const struct memory_thread *thread)
{
        const struct memory_job *active = aip_memory_thread_active(thread);
        const struct memory_job *told = active ? active : thread->last;
        struct aip_thread t = {
                .id = thread->id,
                .created_at_us = thread->created_at_us,
                .updated_at_us = thread->updated_at_us,
                .checkpoint = aip_memory_checkpoint_last(store, &thread->id),
        };

        if (told) {
                t.job_id = aip_job_fields(told->job)->id;
                t.job_status = aip_job_fields(told->job)->status;
        }
        for (struct aip_list *node = thread->live.next; node != &thread->live; node = node->next)
                t.n_waiting += aip_job_waits(job_of(node)->job);
        return t;
}

/* Newest first. */
static int compare(const void *left, const void *right)
{
        const struct aip_thread *a = left, *b = right;

        if (a->created_at_us != b->created_at_us)
                return a->created_at_us < b->created_at_us ? 1 : -1;
        return -aip_id_compare(&a->id, &b->id);
}

static int is_wanted(const struct aip_thread_list *list, const struct memory_thread *thread)
{
        struct aip_thread before = {.id = list->before_id,
                                    .created_at_us = list->before_created_us};
        struct aip_thread this = {.id = thread->id, .created_at_us = thread->created_at_us};

        if (!aip_id_is_nil(&list->id))
                return aip_id_equal(&list->id, &thread->id);
        return list->before_created_us == 0 || compare(&before, &this) < 0;
}

static int run_list(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_thread_list *list = AIP_CONTAINER_OF(op, struct aip_thread_list, op);
        struct aip_thread *found = aip_calloc(store->threads.n + 1, sizeof(*found));
        struct memory_thread *thread;
        size_t cursor = 0, n = 0;

        if (!found)
                return aip_error_set_nomem(err);
        while ((thread = aip_hash_map_next(&store->threads, &cursor, NULL)))
                if (is_wanted(list, thread))
                        found[n++] = describe(store, thread);
        qsort(found, n, sizeof(*found), compare);
        list->ret_has_more = n > list->limit;
        list->ret_n = AIP_MIN(n, (size_t)list->limit);
        list->ret_threads = found;
        return 0;
}

const struct memory_call aip_memory_list_threads = {run_list};

/* ── update ──────────────────────────────────────────────────────────────────────────────────── */

static int run_update(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_thread_update *update = AIP_CONTAINER_OF(op, struct aip_thread_update, op);
        struct aip_checkpoint checkpoint = update->checkpoint;
        struct memory_thread *thread = aip_memory_thread_make(store, &checkpoint.owner);
        int is_there = 0, r;

        if (!thread)
                return aip_error_set_nomem(err);
        if (!aip_list_is_empty(&thread->live)) {
                update->ret_outcome = AIP_THREAD_UPDATE_BUSY;
                return 0;
        }
        checkpoint.source = AIP_CHECKPOINT_UPDATE;
        r = aip_memory_checkpoint_add(store, &checkpoint, &is_there, err);
        if (r < 0)
                return r;
        thread->updated_at_us = aip_wall_us(store->loop);
        update->ret_outcome = is_there ? AIP_THREAD_UPDATE_CHANGED : AIP_THREAD_UPDATED;
        return 0;
}

const struct memory_call aip_memory_update_thread = {run_update};
