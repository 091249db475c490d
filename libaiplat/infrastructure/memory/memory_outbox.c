/*
 * The outbox of the in-memory store: rows in the order in which they were last touched, and the
 * promotion of delayed jobs. Called by memory_store.c and by the moves of memory_jobs.c. Must never
 * hold a row whose job did not move.
 */
#include "macros.h"
#include "mem.h"
#include "memory/memory_store.h"

static struct aip_str key_of(const int64_t *outbox_id)
{
        return aip_str_make((const char *)outbox_id, sizeof(*outbox_id));
}

int aip_memory_outbox_prepare(struct memory_store *store, struct memory_outbox_row **ret_row,
                              aip_error **err)
{
        struct memory_outbox_row *row = aip_calloc(1, sizeof(*row));
        int64_t id = store->last_outbox_id + 1;

        if (!row || aip_hash_map_set(&store->outbox, key_of(&id), row, NULL) < 0) {
                aip_free(row);
                return aip_error_set_nomem(err);
        }
        store->last_outbox_id = row->transition.outbox_id = id;
        *ret_row = row;
        return 0;
}

void aip_memory_outbox_drop(struct memory_store *store, struct memory_outbox_row *row)
{
        aip_hash_map_remove(&store->outbox, key_of(&row->transition.outbox_id));
        aip_free(row);
}

static void touch(struct memory_store *store, struct memory_outbox_row *row)
{
        row->touched_at_ms = aip_now_ms(store->loop);
        aip_list_remove(&row->node);
        aip_list_append(&store->outbox_order, &row->node);
}

void aip_memory_outbox_commit(struct memory_store *store, struct memory_outbox_row *row,
                              struct aip_transition *transition)
{
        transition->outbox_id = row->transition.outbox_id;
        row->transition = *transition;
        touch(store, row);
}

void aip_memory_outbox_forget(struct memory_store *store, int64_t outbox_id)
{
        struct memory_outbox_row *row = aip_hash_map_remove(&store->outbox, key_of(&outbox_id));

        if (!row)
                return;
        aip_list_remove(&row->node);
        aip_free(row);
}

static struct memory_outbox_row *stalest(const struct memory_store *store, int64_t min_age_ms)
{
        struct aip_list *node = aip_list_first(&store->outbox_order);
        struct memory_outbox_row *row =
                node ? AIP_LIST_ENTRY(node, struct memory_outbox_row, node) : NULL;

        if (row && row->touched_at_ms <= aip_now_ms(store->loop) - min_age_ms)
                return row;
        return NULL;
}

static int is_queued(const struct memory_store *store, const struct aip_id *id)
{
        const struct memory_job *job = aip_memory_job_find(store, id);

        return job && aip_job_fields(job->job)->status == AIP_JOB_QUEUED;
}

static int run_sweep(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_chores *chores = AIP_CONTAINER_OF(op, struct aip_chores, op);
        size_t n_max = AIP_MIN(chores->limit, store->outbox.n);
        struct aip_transition *found = aip_calloc(n_max + 1, sizeof(*found));
        size_t n = 0;

        if (!found)
                return aip_error_set_nomem(err);
        for (; n < n_max; n++) {
                struct memory_outbox_row *row = stalest(store, chores->min_age_ms);
                if (!row)
                        break;
                touch(store, row);
                found[n] = row->transition;
                found[n].is_runnable &= is_queued(store, &row->transition.job_id);
        }
        chores->ret_transitions = found;
        chores->ret_n = n;
        return 0;
}

const struct memory_call aip_memory_sweep = {run_sweep};

/* What a job's time having come looks like in the outbox: a task to publish, no move of the job. */
static struct aip_transition due_transition(const struct aip_job_fields *job, int64_t now_us)
{
        return (struct aip_transition){
                .job_id = job->id,
                .version = job->version,
                .at_us = now_us,
                .kind = AIP_TRANSITION_DUE,
                .from = AIP_JOB_QUEUED,
                .to = AIP_JOB_QUEUED,
                .attempt = job->attempt,
                .is_runnable = 1,
        };
}

static struct memory_job *first_due(struct memory_store *store, int64_t now_us)
{
        struct aip_timer *node = aip_timer_queue_first(&store->delayed);

        if (!node || node->due_ms > now_us)
                return NULL;
        return AIP_CONTAINER_OF(node, struct memory_job, by_due_time);
}

static int64_t ms_until_next(struct memory_store *store, int64_t now_us)
{
        struct aip_timer *node = aip_timer_queue_first(&store->delayed);

        if (!node)
                return -1;
        return node->due_ms <= now_us ? 0 : (node->due_ms - now_us + 999) / 1000;
}

static int run_promote(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_chores *chores = AIP_CONTAINER_OF(op, struct aip_chores, op);
        int64_t now_us = aip_wall_us(store->loop);
        _cleanup_(aip_free_p) struct aip_transition *due = NULL;
        size_t n_max = AIP_MIN(chores->limit, store->n_jobs), n = 0;
        struct memory_job *known = NULL;

        due = aip_calloc(n_max + 1, sizeof(*due));
        if (!due)
                return aip_error_set_nomem(err);
        while (n < n_max && (known = first_due(store, now_us))) {
                struct memory_outbox_row *row = NULL;
                int r = aip_memory_outbox_prepare(store, &row, n == 0 ? err : NULL);
                if (r < 0 && n == 0)
                        return r;
                if (r < 0)
                        break; /* those that were promoted are told; the others stay delayed */
                due[n] = due_transition(aip_job_fields(known->job), now_us);
                aip_memory_outbox_commit(store, row, &due[n++]);
                aip_timer_queue_remove(&store->delayed, &known->by_due_time);
        }
        chores->ret_next_ms = ms_until_next(store, now_us);
        chores->ret_transitions = AIP_TAKE(due);
        chores->ret_n = n;
        return 0;
}

const struct memory_call aip_memory_promote = {run_promote};

void aip_memory_outbox_deinit(struct memory_store *store)
{
        struct memory_outbox_row *row = NULL;
        size_t cursor = 0;

        while ((row = aip_hash_map_next(&store->outbox, &cursor, NULL)))
                aip_free(row);
        aip_hash_map_deinit(&store->outbox);
}
