/*
 * The message queue in this process's memory, for the embedded default, tests and simulations: what
 * is published is handed to the consumer of the same process. It keeps nothing beyond the process;
 * the store is the truth and fills the queue again at the next start. Loop thread only; it knows no
 * time and no descriptor, so it runs on the virtual loop too.
 *
 * A task holds a slot from its publishing to its acknowledgement:
 *
 *     free ── publish ──► ready ── delivered ──► unacknowledged ── acknowledge ──► free
 *                           ▲                         │
 *                           └── the consumer stops ───┘   in the old order, marked redelivered
 *
 * There are at most MAX_TASKS slots; a task beyond is refused with AIP_ELIMIT. Slots grow only in
 * publish(), which can report that memory is out; delivering allocates nothing.
 */
#include <aiplat/adapters.h>

#include "macros.h"
#include "mem.h"
#include "trouble.h"

#define MAX_TASKS      65536u
#define MIN_SLOTS      64u
#define NONE           UINT32_MAX
#define DELIVERY_BATCH 64

enum slot_state { SLOT_FREE = 0, SLOT_READY, SLOT_UNACKNOWLEDGED };

struct slot {
        struct aip_id job_id;
        uint64_t tag; /* of the present delivery: an older delivery's tag acknowledges nothing */
        uint32_t next, previous;
        enum slot_state state;
        int is_redelivered;
};

/* First in, first out, linked by slot number. */
struct slot_list {
        uint32_t first, last;
};

struct memory_queue {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_trouble rubbish; /* messages that are no tasks */
        struct slot *slots;
        uint32_t n_slots;
        struct slot_list unused, ready, unacknowledged;
        uint32_t n_unacknowledged;
        uint64_t n_deliveries;
        uint64_t generation; /* of the consumer */
        struct aip_consumer *consumer;
        struct aip_task deliver_task;
};

/* ---- slots ---- */

static void list_append(struct memory_queue *queue, struct slot_list *list, uint32_t i)
{
        queue->slots[i].next = NONE;
        queue->slots[i].previous = list->last;
        if (list->last == NONE)
                list->first = i;
        else
                queue->slots[list->last].next = i;
        list->last = i;
}

static void list_remove(struct memory_queue *queue, struct slot_list *list, uint32_t i)
{
        const struct slot *slot = &queue->slots[i];
        if (slot->previous == NONE)
                list->first = slot->next;
        else
                queue->slots[slot->previous].next = slot->next;
        if (slot->next == NONE)
                list->last = slot->previous;
        else
                queue->slots[slot->next].previous = slot->previous;
}

/* `head` followed by `list`; `head` is left empty. */
static void list_prepend_all(struct memory_queue *queue, struct slot_list *list,
                             struct slot_list *head)
{
        if (head->first == NONE)
                return;
        queue->slots[head->last].next = list->first;
        if (list->first == NONE)
                list->last = head->last;
        else
                queue->slots[list->first].previous = head->last;
        list->first = head->first;
        head->first = head->last = NONE;
}

static int grow(struct memory_queue *queue, aip_error **err)
{
        if (queue->n_slots >= MAX_TASKS)
                return aip_error_set(err, AIP_ELIMIT, "the memory queue holds %u tasks already",
                                     MAX_TASKS);
        uint32_t n = AIP_MIN(AIP_MAX(queue->n_slots * 2, MIN_SLOTS), MAX_TASKS);
        struct slot *slots = aip_realloc_array(queue->slots, n, sizeof(*slots));
        if (!slots)
                return aip_error_set_nomem(err);
        memset(slots + queue->n_slots, 0, (n - queue->n_slots) * sizeof(*slots));
        queue->slots = slots;
        for (uint32_t i = queue->n_slots; i < n; i++)
                list_append(queue, &queue->unused, i);
        queue->n_slots = n;
        return 0;
}

static int add_task(struct memory_queue *queue, const struct aip_id *job_id, aip_error **err)
{
        if (queue->unused.first == NONE) {
                int r = grow(queue, err);
                if (r < 0)
                        return r;
        }
        uint32_t i = queue->unused.first;
        list_remove(queue, &queue->unused, i);
        queue->slots[i].job_id = *job_id;
        queue->slots[i].state = SLOT_READY;
        queue->slots[i].is_redelivered = 0;
        list_append(queue, &queue->ready, i);
        return 0;
}

static void free_slot(struct memory_queue *queue, uint32_t i)
{
        list_remove(queue, &queue->unacknowledged, i);
        queue->slots[i].state = SLOT_FREE;
        list_append(queue, &queue->unused, i);
        queue->n_unacknowledged--;
}

/* ---- consuming ---- */

static int can_deliver(const struct memory_queue *queue)
{
        return queue->consumer && queue->ready.first != NONE &&
               queue->n_unacknowledged < queue->consumer->prefetch;
}

static void deliver_soon(struct memory_queue *queue)
{
        if (can_deliver(queue))
                aip_defer(queue->loop, &queue->deliver_task);
}

static struct aip_delivery take_ready(struct memory_queue *queue)
{
        uint32_t i = queue->ready.first;
        struct slot *slot = &queue->slots[i];
        list_remove(queue, &queue->ready, i);
        list_append(queue, &queue->unacknowledged, i);
        queue->n_unacknowledged++;
        slot->state = SLOT_UNACKNOWLEDGED;
        slot->tag = queue->n_deliveries++ * MAX_TASKS + i;
        return (struct aip_delivery){
                .job_id = slot->job_id,
                .tag = slot->tag,
                .generation = queue->generation,
                .is_redelivered = slot->is_redelivered,
        };
}

/* The consumer may do anything in its callback, so nothing is touched after it but through self. */
static void deliver(struct aip_task *task)
{
        struct memory_queue *queue = AIP_CONTAINER_OF(task, struct memory_queue, deliver_task);
        struct aip_delivery batch[DELIVERY_BATCH];
        size_t n = 0;
        while (n < DELIVERY_BATCH && can_deliver(queue))
                batch[n++] = take_ready(queue);
        deliver_soon(queue);
        if (n > 0)
                queue->consumer->on_deliveries(queue->consumer, batch, n);
}

static void memory_consume(void *self, struct aip_consumer *consumer)
{
        struct memory_queue *queue = self;
        assert(!queue->consumer && "one consumer at a time");
        assert(consumer->prefetch > 0);
        queue->consumer = consumer;
        queue->generation++;
        deliver_soon(queue);
}

static void memory_stop_consuming(void *self, struct aip_consumer *consumer)
{
        struct memory_queue *queue = self;
        if (queue->consumer != consumer)
                return;
        queue->consumer = NULL;
        queue->generation++;
        for (uint32_t i = queue->unacknowledged.first; i != NONE; i = queue->slots[i].next) {
                queue->slots[i].state = SLOT_READY;
                queue->slots[i].is_redelivered = 1;
        }
        queue->n_unacknowledged = 0;
        list_prepend_all(queue, &queue->ready, &queue->unacknowledged);
        aip_undefer(queue->loop, &queue->deliver_task);
}

static void memory_acknowledge(void *self, const struct aip_delivery *deliveries, size_t n)
{
        struct memory_queue *queue = self;
        for (size_t k = 0; k < n; k++) {
                uint32_t i = (uint32_t)(deliveries[k].tag % MAX_TASKS);
                if (deliveries[k].generation != queue->generation || i >= queue->n_slots)
                        continue;
                const struct slot *slot = &queue->slots[i];
                if (slot->state == SLOT_UNACKNOWLEDGED && slot->tag == deliveries[k].tag)
                        free_slot(queue, i);
        }
        deliver_soon(queue);
}

/* ---- publishing ---- */

static int publish_task(struct memory_queue *queue, struct aip_str body, aip_error **err)
{
        struct aip_id job_id;
        if (aip_id_parse(body, &job_id, NULL) < 0) {
                aip_trouble_occurred(&queue->rubbish, queue->log, "memory-queue",
                                     aip_now_ms(queue->loop), "dropped a task message",
                                     "it holds no job id");
                return 0;
        }
        return add_task(queue, &job_id, err);
}

static void memory_publish(void *self, struct aip_publish *publish)
{
        struct memory_queue *queue = self;
        aip_error *err = NULL;
        if (publish->body.n > AIP_MESSAGE_MAX_BYTES)
                aip_error_set(&err, AIP_ELIMIT, "a message of %zu bytes; %d are allowed",
                              publish->body.n, AIP_MESSAGE_MAX_BYTES);
        else if (!publish->routing_key)
                publish_task(queue, publish->body, &err);
        else
                publish->ret_is_unbound = 1; /* nobody can be */
        aip_op_finish(queue->loop, &publish->op, err);
        deliver_soon(queue);
}

static int memory_is_connected(void *self)
{
        (void)self;
        return 1;
}

static void memory_ping(void *self, struct aip_op *op)
{
        struct memory_queue *queue = self;
        aip_op_finish(queue->loop, op, NULL);
}

/* ---- life ---- */

static void memory_queue_close(void *self, struct aip_op *op)
{
        struct memory_queue *queue = self;
        struct aip_loop loop = queue->loop;
        aip_undefer(loop, &queue->deliver_task);
        aip_free(queue->slots);
        aip_free(queue);
        aip_op_finish(loop, op, NULL);
}

static const struct aip_queue_ops memory_queue_ops = {
        .self_size = sizeof(memory_queue_ops),
        .name = "memory",
        .publish = memory_publish,
        .consume = memory_consume,
        .stop_consuming = memory_stop_consuming,
        .acknowledge = memory_acknowledge,
        .is_connected = memory_is_connected,
        .ping = memory_ping,
};

int aip_memory_queue_new(const struct aip_queue_options *options,
                         struct aip_queue_handle *ret_queue, aip_error **err)
{
        if (!options || !options->loop.ops || !ret_queue)
                return aip_error_set(err, AIP_EINVAL, "a memory queue needs a loop");
        struct memory_queue *queue = aip_calloc(1, sizeof(*queue));
        if (!queue)
                return aip_error_set_nomem(err);
        queue->loop = options->loop;
        queue->log = options->log;
        queue->unused = queue->ready = queue->unacknowledged = (struct slot_list){NONE, NONE};
        queue->deliver_task.run = deliver;
        ret_queue->queue.ops = &memory_queue_ops;
        ret_queue->queue.self = queue;
        ret_queue->close = memory_queue_close;
        ret_queue->self = queue;
        return 0;
}
