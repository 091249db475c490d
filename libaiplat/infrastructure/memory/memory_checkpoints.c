/*
 * Checkpoints in memory: what the other stores are measured against. An owner has a list in the order of
 * coming; within a namespace numbers in it only grow, but for one that a later claim replaces.
 */
#include "memory/memory_store.h"

#include "macros.h"
#include "mem.h"
#include "store/checkpoint_rows.h"

struct entry {
        struct aip_fence fence;
        struct aip_checkpoint *checkpoint; /* a block with its texts */
        struct task {
                struct aip_fence fence;
                int32_t place;
                struct aip_buf value;
        } * tasks;
        size_t n_tasks, tasks_capacity;
};

struct memory_owner {
        struct aip_id id;
        struct entry *entries;
        size_t n, capacity;
};

/* ── keeping ─────────────────────────────────────────────────────────────────────────────────── */

static void tasks_free(struct entry *entry)
{
        for (size_t i = 0; i < entry->n_tasks; i++)
                aip_buf_deinit(&entry->tasks[i].value);
        aip_free(AIP_TAKE(entry->tasks));
        entry->n_tasks = entry->tasks_capacity = 0;
}

static struct memory_owner *owner_make(struct memory_store *store, const struct aip_id *id)
{
        struct memory_owner *owner = aip_hash_map_get_id(&store->checkpoints, id);

        if (owner || !(owner = aip_calloc(1, sizeof(*owner))))
                return owner;
        owner->id = *id;
        if (aip_hash_map_set_id(&store->checkpoints, id, owner, NULL) < 0) {
                aip_free(owner);
                return NULL;
        }
        return owner;
}

static struct entry *find(const struct memory_owner *owner, struct aip_str ns, int64_t n)
{
        for (size_t i = owner ? owner->n : 0; i > 0; i--) {
                struct entry *entry = &owner->entries[i - 1];
                if (entry->checkpoint->n == n && aip_str_eq(entry->checkpoint->ns, ns))
                        return entry;
        }
        return NULL;
}

/* Whether the row was written by a later claim than this one. */
static int is_later(const struct aip_fence *row, const struct aip_fence *fence)
{
        int order = memcmp(row->job_id.bytes, fence->job_id.bytes, sizeof(fence->job_id.bytes));

        return order > 0 || (order == 0 && row->version > fence->version);
}

static struct entry *add_entry(struct memory_owner *owner)
{
        if (owner->n == owner->capacity) {
                struct entry *grown =
                        aip_realloc_array(owner->entries, 2 * owner->capacity + 8, sizeof(*grown));
                if (!grown)
                        return NULL;
                owner->entries = grown;
                owner->capacity = 2 * owner->capacity + 8;
        }
        owner->entries[owner->n] = (struct entry){0};
        return &owner->entries[owner->n++];
}

static int copy_of(const struct aip_checkpoint_save *save, int64_t now_us,
                   struct aip_checkpoint **ret_copy)
{
        struct aip_checkpoint_rows rows = {0};
        struct aip_checkpoint row = save->checkpoint;
        size_t n;

        row.created_at_us = now_us;
        row.job_id = save->fence.job_id;
        int r = aip_checkpoint_rows_add(&rows, &row);
        if (r == 0)
                r = aip_checkpoint_rows_take(&rows, ret_copy, &n);
        aip_checkpoint_rows_deinit(&rows);
        return r;
}

static int keep_step(struct memory_store *store, struct aip_checkpoint_save *save, aip_error **err)
{
        struct memory_owner *owner = owner_make(store, &save->checkpoint.owner);
        struct aip_checkpoint *copy = NULL;
        struct entry *entry = find(owner, save->checkpoint.ns, save->checkpoint.n);

        if (entry && is_later(&entry->fence, &save->fence)) {
                save->ret_is_stale = 1;
                return 0;
        }
        if (!owner || copy_of(save, aip_wall_us(store->loop), &copy) < 0 ||
            (!entry && !(entry = add_entry(owner)))) {
                free(copy);
                return aip_error_set_nomem(err);
        }
        free(entry->checkpoint);
        entry->checkpoint = copy;
        entry->fence = save->fence;
        return 0;
}

/* Whether it says the same, and was not made by a run either. */
static int is_same(const struct entry *entry, const struct aip_checkpoint *checkpoint)
{
        return entry->fence.version == 0 &&
               aip_str_eq(entry->checkpoint->place, checkpoint->place) &&
               aip_str_eq(entry->checkpoint->changes, checkpoint->changes);
}

int aip_memory_checkpoint_add(struct memory_store *store, const struct aip_checkpoint *checkpoint,
                              int *ret_is_there, aip_error **err)
{
        struct aip_checkpoint_save save = {.fence = {.job_id = checkpoint->job_id},
                                           .checkpoint = *checkpoint};
        const struct entry *entry =
                find(aip_hash_map_get_id(&store->checkpoints, &checkpoint->owner), checkpoint->ns,
                     checkpoint->n);

        *ret_is_there = entry && !is_same(entry, checkpoint);
        return entry ? 0 : keep_step(store, &save, err);
}

static struct task *task_make(struct entry *entry, int32_t place)
{
        for (size_t i = 0; i < entry->n_tasks; i++)
                if (entry->tasks[i].place == place)
                        return &entry->tasks[i];
        if (entry->n_tasks == entry->tasks_capacity) {
                struct task *grown = aip_realloc_array(entry->tasks, 2 * entry->tasks_capacity + 4,
                                                       sizeof(*grown));
                if (!grown)
                        return NULL;
                entry->tasks = grown;
                entry->tasks_capacity = 2 * entry->tasks_capacity + 4;
        }
        entry->tasks[entry->n_tasks] = (struct task){.place = place};
        return &entry->tasks[entry->n_tasks++];
}

static int keep_task(struct entry *entry, const struct aip_fence *fence,
                     const struct aip_checkpoint_task *said, int *ret_is_stale, aip_error **err)
{
        struct task *task = task_make(entry, said->place);

        if (!task)
                return aip_error_set_nomem(err);
        if (is_later(&task->fence, fence)) {
                *ret_is_stale = 1;
                return 0;
        }
        task->fence = *fence;
        aip_buf_clear(&task->value);
        task->value.max_bytes = said->value.n + 1;
        return aip_buf_append(&task->value, said->value) < 0 ? aip_error_set_nomem(err) : 0;
}

/* Those of a checkpoint that is not there belong to nothing. */
static int keep_tasks(struct memory_store *store, struct aip_checkpoint_save *save, aip_error **err)
{
        const struct aip_checkpoint *c = &save->checkpoint;
        struct entry *entry =
                find(aip_hash_map_get_id(&store->checkpoints, &c->owner), c->ns, c->n);
        int r = 0;

        for (size_t i = 0; entry && r == 0 && i < save->n_tasks; i++)
                r = keep_task(entry, &save->fence, &save->tasks[i], &save->ret_is_stale, err);
        return r;
}

static int run_save(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_checkpoint_save *save = AIP_CONTAINER_OF(op, struct aip_checkpoint_save, op);
        const struct memory_job *known = aip_memory_job_find(store, &save->fence.job_id);
        const struct aip_job_fields *f = known ? aip_job_fields(known->job) : NULL;

        save->ret_is_stale =
                !f || f->status != AIP_JOB_PROCESSING || f->version != save->fence.version;
        if (save->ret_is_stale)
                return 0;
        return save->n_tasks > 0 ? keep_tasks(store, save, err) : keep_step(store, save, err);
}

const struct memory_call aip_memory_save = {run_save};

/* ── reading ─────────────────────────────────────────────────────────────────────────────────── */

static struct entry *find_last(const struct memory_owner *owner, struct aip_str ns)
{
        for (size_t i = owner ? owner->n : 0; i > 0; i--)
                if (aip_str_eq(owner->entries[i - 1].checkpoint->ns, ns))
                        return &owner->entries[i - 1];
        return NULL;
}

static int collect(const struct memory_owner *owner, const struct entry *last,
                   struct aip_checkpoint_rows *rows)
{
        const struct aip_checkpoint *top = last->checkpoint;
        int r = 0;

        for (size_t i = 0; r == 0 && i < owner->n; i++) {
                const struct aip_checkpoint *c = owner->entries[i].checkpoint;
                if (c->n >= top->base && c->n <= top->n && aip_str_eq(c->ns, top->ns))
                        r = aip_checkpoint_rows_add(rows, c);
        }
        for (size_t i = 0; r == 0 && i < last->n_tasks; i++)
                if (!is_later(&last->fence, &last->tasks[i].fence))
                        r = aip_checkpoint_rows_add_task(rows, last->tasks[i].place,
                                                         aip_buf_str(&last->tasks[i].value));
        return r;
}

static int run_load(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_checkpoint_load *load = AIP_CONTAINER_OF(op, struct aip_checkpoint_load, op);
        const struct memory_owner *owner = aip_hash_map_get_id(&store->checkpoints, &load->owner);
        const struct entry *last =
                load->n > 0 ? find(owner, load->ns, load->n) : find_last(owner, load->ns);
        struct aip_checkpoint_rows rows = {0};
        int r = last ? collect(owner, last, &rows) : 0;

        load->ret_checkpoints = NULL;
        if (r == 0)
                r = aip_checkpoint_rows_take(&rows, &load->ret_checkpoints, &load->ret_n);
        if (r == 0)
                r = aip_checkpoint_rows_take_tasks(&rows, &load->ret_tasks, &load->ret_n_tasks);
        if (r < 0) {
                free(AIP_TAKE(load->ret_checkpoints));
                aip_error_set_nomem(err);
        }
        aip_checkpoint_rows_deinit(&rows);
        return r;
}

const struct memory_call aip_memory_load_checkpoint = {run_load};

static int run_list(struct memory_store *store, struct aip_op *op, aip_error **err)
{
        struct aip_checkpoint_list *list = AIP_CONTAINER_OF(op, struct aip_checkpoint_list, op);
        const struct memory_owner *owner = aip_hash_map_get_id(&store->checkpoints, &list->owner);
        struct aip_checkpoint_rows rows = {0};
        int r = 0;

        list->ret_has_more = 0;
        for (size_t i = owner ? owner->n : 0; r == 0 && i > 0; i--) {
                struct aip_checkpoint c = *owner->entries[i - 1].checkpoint;
                if (!aip_str_eq(c.ns, list->ns) || (list->before > 0 && c.n >= list->before))
                        continue;
                if (rows.n == list->limit) {
                        list->ret_has_more = 1;
                        break;
                }
                c.changes = aip_str_make("", 0);
                r = aip_checkpoint_rows_add(&rows, &c);
        }
        if (r == 0)
                r = aip_checkpoint_rows_take(&rows, &list->ret_checkpoints, &list->ret_n);
        aip_checkpoint_rows_deinit(&rows);
        return r < 0 ? aip_error_set_nomem(err) : 0;
}

const struct memory_call aip_memory_list_checkpoints = {run_list};

int64_t aip_memory_checkpoint_first(const struct memory_store *store, const struct aip_id *owner,
                                    const struct aip_id *job_id)
{
        const struct memory_owner *found = aip_hash_map_get_id(&store->checkpoints, owner);

        for (size_t i = 0; found && i < found->n; i++) {
                const struct aip_checkpoint *c = found->entries[i].checkpoint;
                if (c->ns.n == 0 && aip_id_equal(&c->job_id, job_id))
                        return c->n;
        }
        return 0;
}

int64_t aip_memory_checkpoint_last(const struct memory_store *store, const struct aip_id *owner)
{
        const struct entry *last =
                find_last(aip_hash_map_get_id(&store->checkpoints, owner), aip_str_make("", 0));

        return last ? last->checkpoint->n : 0;
}

void aip_memory_checkpoints_deinit(struct memory_store *store)
{
        struct memory_owner *owner;
        size_t cursor = 0;

        while ((owner = aip_hash_map_next(&store->checkpoints, &cursor, NULL))) {
                for (size_t i = 0; i < owner->n; i++) {
                        tasks_free(&owner->entries[i]);
                        free(owner->entries[i].checkpoint);
                }
                aip_free(owner->entries);
                aip_free(owner);
        }
        aip_hash_map_deinit(&store->checkpoints);
}
