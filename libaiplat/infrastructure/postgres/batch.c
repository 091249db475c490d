/*
 * Batches: gathered from the queue of one kind, repeated, halved, finished. Called by lane.c and by
 * the receivers of each kind. An operation is in exactly one place, its queue or one slot of one
 * batch, until it is finished, which empties that place.
 */
#include "pg.h"

void pg_batch_list_append(struct pg_batch_list *list, struct pg_batch *batch)
{
        batch->next = NULL;
        if (list->last)
                list->last->next = batch;
        else
                list->first = batch;
        list->last = batch;
}

struct pg_batch *pg_batch_list_pop(struct pg_batch_list *list)
{
        struct pg_batch *batch = list->first;
        if (!batch)
                return NULL;
        list->first = batch->next;
        if (!list->first)
                list->last = NULL;
        batch->next = NULL;
        return batch;
}

static void forget_answers(struct pg_batch *batch)
{
        for (int i = 0; i < batch->n_results; i++)
                PQclear(batch->results[i]);
        PQclear(AIP_TAKE(batch->failure));
        batch->n_results = batch->n_expected = batch->n_seen = 0;
        batch->is_planned_anew = 0;
        batch->is_again = 0;
}

static struct pg_batch *batch_new(enum pg_kind_name kind, size_t max_slots)
{
        struct pg_batch *batch = calloc(1, sizeof(*batch) + max_slots * sizeof(batch->slots[0]));
        if (batch)
                batch->kind = kind;
        return batch;
}

void pg_batch_free(struct pg_batch *batch)
{
        if (!batch)
                return;
        forget_answers(batch);
        free(batch);
}

/* Close the gaps that finished operations left. */
static void compact(struct pg_batch *batch)
{
        size_t n = 0;
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (batch->slots[i])
                        batch->slots[n++] = batch->slots[i];
        }
        batch->n_slots = n;
}

int pg_batch_is_any_left(const struct pg_batch *batch)
{
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (batch->slots[i])
                        return 1;
        }
        return 0;
}

static size_t rows_of(const struct pg_kind *kind, const struct aip_op *op)
{
        return kind->rows ? kind->rows(op) : 1;
}

static size_t bytes_of(const struct pg_kind *kind, const struct aip_op *op)
{
        return kind->bytes ? kind->bytes(op) : 0;
}

static void fill(struct pg_store *store, struct pg_batch *batch, struct aip_op_queue *waiting,
                 size_t max_slots)
{
        const struct pg_kind *kind = pg_kinds[batch->kind];
        size_t rows = 0, bytes = 0;
        if (kind->id)
                memset(&store->map, 0, sizeof(store->map));
        for (struct aip_op *op = waiting->first, *next; op && batch->n_slots < max_slots;
             op = next) {
                next = op->next;
                if (kind->id && !pg_slot_map_add(&store->map, kind->id(op), batch->n_slots))
                        continue;
                rows += rows_of(kind, op);
                bytes += bytes_of(kind, op);
                if (batch->n_slots > 0 && (rows > kind->max_rows || bytes > PG_BATCH_BYTES))
                        break;
                aip_op_queue_remove(waiting, op);
                batch->slots[batch->n_slots++] = op;
        }
}

static void fail_waiting(struct pg_store *store, struct aip_op_queue *waiting)
{
        for (struct aip_op *op; (op = aip_op_queue_pop(waiting));) {
                aip_error *error = NULL;
                aip_error_set_nomem(&error);
                aip_op_finish(store->loop, op, error);
        }
}

struct pg_batch *pg_batch_next(struct pg_store *store, enum pg_kind_name kind)
{
        struct pg_queue *queue = &store->queues[kind];
        for (struct pg_batch *batch; (batch = pg_batch_list_pop(&queue->again));) {
                compact(batch);
                if (batch->n_slots > 0)
                        return batch;
                pg_batch_free(batch);
        }
        size_t max_slots = AIP_MIN(queue->waiting.n, pg_kinds[kind]->max_rows);
        if (max_slots == 0)
                return NULL;
        struct pg_batch *batch = batch_new(kind, max_slots);
        if (batch)
                fill(store, batch, &queue->waiting, max_slots);
        else
                fail_waiting(store, &queue->waiting);
        return batch;
}

void pg_batch_finish(struct pg_store *store, struct pg_batch *batch, size_t slot, aip_error *err)
{
        aip_op_finish(store->loop, AIP_TAKE(batch->slots[slot]), err);
}

void pg_batch_finish_all(struct pg_store *store, struct pg_batch *batch, aip_error *err)
{
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (batch->slots[i])
                        pg_batch_finish(store, batch, i, aip_error_copy(err));
        }
        aip_error_free(err);
}

void pg_batch_again(struct pg_store *store, struct pg_batch *batch)
{
        forget_answers(batch);
        pg_batch_list_append(&store->queues[batch->kind].again, batch);
}

static void again_or_finish(struct pg_store *store, struct pg_batch *batch, aip_error *err)
{
        if (++batch->tries < PG_TRIES_MAX) {
                aip_error_free(err);
                pg_batch_again(store, batch);
                return;
        }
        pg_batch_finish_all(store, batch, err);
        pg_batch_free(batch);
}

/* One of many rows is refused: find it by halving, so that the others are not. */
static void halve(struct pg_store *store, struct pg_batch *batch)
{
        size_t n_left = batch->n_slots / 2, n_right = batch->n_slots - n_left;
        struct pg_batch *right = batch_new(batch->kind, n_right);
        if (!right) {
                aip_error *error = NULL;
                aip_error_set_nomem(&error);
                pg_batch_finish_all(store, batch, error);
                pg_batch_free(batch);
                return;
        }
        memcpy(right->slots, batch->slots + n_left, n_right * sizeof(right->slots[0]));
        right->n_slots = n_right;
        right->stage = batch->stage;
        batch->n_slots = n_left;
        pg_batch_again(store, batch);
        pg_batch_again(store, right);
}

void pg_batch_failed(struct pg_store *store, struct pg_batch *batch)
{
        enum pg_fault fault = pg_fault_of(batch->failure);
        aip_error *error = pg_fault_error(batch->failure);
        compact(batch);
        if (pg_kinds[batch->kind]->is_repeated_when_there && batch->tries == 0 &&
            pg_fault_is_duplicate(batch->failure)) {
                again_or_finish(store, batch, error);
        } else if (fault == PG_FAULT_ROW && batch->n_slots > 1) {
                aip_error_free(error);
                halve(store, batch);
        } else if (fault == PG_FAULT_REPEAT || fault == PG_FAULT_CONNECTION) {
                again_or_finish(store, batch, error);
        } else {
                pg_batch_finish_all(store, batch, error);
                pg_batch_free(batch);
        }
}

void pg_batch_lost(struct pg_store *store, struct pg_batch *batch,
                   const struct pg_connection *connection)
{
        aip_error *error = pg_connection_error(connection);
        if (pg_kinds[batch->kind]->is_repeatable) {
                again_or_finish(store, batch, error);
                return;
        }
        pg_batch_finish_all(store, batch, error);
        pg_batch_free(batch);
}

static size_t first_entry(const struct pg_slot_map *map, const struct aip_id *id)
{
        return (size_t)(aip_id_hash(id) % AIP_ARRAY_SIZE(map->entries));
}

int pg_slot_map_add(struct pg_slot_map *map, const struct aip_id *id, size_t slot)
{
        size_t at = first_entry(map, id);
        while (map->entries[at].slot) {
                if (aip_id_equal(&map->entries[at].id, id))
                        return 0;
                at = (at + 1) % AIP_ARRAY_SIZE(map->entries);
        }
        map->entries[at] = (struct pg_entry){*id, (uint32_t)slot + 1};
        return 1;
}

int64_t pg_slot_map_find(const struct pg_slot_map *map, const struct aip_id *id)
{
        size_t at = first_entry(map, id);
        while (map->entries[at].slot) {
                if (aip_id_equal(&map->entries[at].id, id))
                        return (int64_t)map->entries[at].slot - 1;
                at = (at + 1) % AIP_ARRAY_SIZE(map->entries);
        }
        return -1;
}

void pg_slot_map_of(struct pg_store *store, const struct pg_batch *batch)
{
        memset(&store->map, 0, sizeof(store->map));
        for (size_t i = 0; i < batch->n_slots; i++) {
                if (batch->slots[i])
                        (void)pg_slot_map_add(&store->map,
                                              pg_kinds[batch->kind]->id(batch->slots[i]), i);
        }
}
