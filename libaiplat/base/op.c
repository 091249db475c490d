/*
 * Intrusive asynchronous operations: finishing them, and first-in first-out queues of them. Called
 * by adapters. An operation's `done` never runs inside the call that finishes it.
 */
#include <aiplat/op.h>
#include <assert.h>

static void run_done(struct aip_task *task)
{
        struct aip_op *op = AIP_CONTAINER_OF(task, struct aip_op, task);
        op->done(op);
}

void aip_op_finish(struct aip_loop loop, struct aip_op *op, aip_error *err)
{
        assert(!op->task.is_queued);
        op->err = err;
        op->task.run = run_done;
        aip_defer(loop, &op->task);
}

void aip_op_finish_from_thread(struct aip_loop loop, struct aip_op *op, aip_error *err)
{
        op->err = err;
        op->task.run = run_done;
        aip_post(loop, &op->task);
}

void aip_op_queue_push(struct aip_op_queue *queue, struct aip_op *op)
{
        op->next = NULL;
        op->previous = queue->last;
        if (queue->last)
                queue->last->next = op;
        else
                queue->first = op;
        queue->last = op;
        queue->n++;
}

struct aip_op *aip_op_queue_pop(struct aip_op_queue *queue)
{
        struct aip_op *op = queue->first;
        if (op)
                aip_op_queue_remove(queue, op);
        return op;
}

void aip_op_queue_remove(struct aip_op_queue *queue, struct aip_op *op)
{
        if (op->previous)
                op->previous->next = op->next;
        else
                queue->first = op->next;
        if (op->next)
                op->next->previous = op->previous;
        else
                queue->last = op->previous;
        op->next = op->previous = NULL;
        queue->n--;
}
