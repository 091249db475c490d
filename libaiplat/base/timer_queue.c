/*
 * The pairing heap of timer_queue.h. `child` is a node's first child, `sibling` the next one in its
 * parent's list, `previous` the sibling before it, or the parent for a first child, NULL for the
 * root.
 */
#include "timer_queue.h"

static int is_before(const struct aip_timer *a, const struct aip_timer *b)
{
        if (a->due_ms != b->due_ms)
                return a->due_ms < b->due_ms;
        return a->order < b->order;
}

static void add_child(struct aip_timer *parent, struct aip_timer *child)
{
        child->previous = parent;
        child->sibling = parent->child;
        if (parent->child)
                parent->child->previous = child;
        parent->child = child;
}

/* Join two heaps whose roots have neither siblings nor a parent. */
static struct aip_timer *meld(struct aip_timer *a, struct aip_timer *b)
{
        if (!a)
                return b;
        if (!b)
                return a;
        if (is_before(b, a)) {
                struct aip_timer *earlier = b;
                b = a;
                a = earlier;
        }
        add_child(a, b);
        return a;
}

static struct aip_timer *detach(struct aip_timer *node)
{
        node->previous = node->sibling = NULL;
        return node;
}

/* Join a list of siblings: pairs from left to right, the pairs from right to left. Iterative, for a
 * list may hold every timer there is. */
static struct aip_timer *meld_siblings(struct aip_timer *list)
{
        struct aip_timer *pairs = NULL;
        while (list) {
                struct aip_timer *a = list;
                struct aip_timer *b = a->sibling;
                list = b ? b->sibling : NULL;
                detach(a);
                struct aip_timer *pair = meld(a, b ? detach(b) : NULL);
                pair->sibling = pairs;
                pairs = pair;
        }
        struct aip_timer *root = NULL;
        while (pairs) {
                struct aip_timer *pair = pairs;
                pairs = pair->sibling;
                root = meld(root, detach(pair));
        }
        return root;
}

static void cut(struct aip_timer *node)
{
        if (node->previous->child == node)
                node->previous->child = node->sibling;
        else
                node->previous->sibling = node->sibling;
        if (node->sibling)
                node->sibling->previous = node->previous;
        detach(node);
}

void aip_timer_queue_set(struct aip_timer_queue *queue, struct aip_timer *timer, int64_t due_ms)
{
        aip_timer_queue_remove(queue, timer);
        timer->child = timer->sibling = timer->previous = NULL;
        timer->due_ms = due_ms;
        timer->order = queue->next_order++;
        timer->is_armed = 1;
        queue->root = meld(queue->root, timer);
}

void aip_timer_queue_remove(struct aip_timer_queue *queue, struct aip_timer *timer)
{
        if (!timer->is_armed)
                return;
        timer->is_armed = 0;
        struct aip_timer *children = meld_siblings(timer->child);
        timer->child = NULL;
        if (queue->root == timer) {
                queue->root = children;
                return;
        }
        cut(timer);
        queue->root = meld(queue->root, children);
}

struct aip_timer *aip_timer_queue_pop_due(struct aip_timer_queue *queue, int64_t now_ms,
                                          uint64_t order_limit)
{
        struct aip_timer *first = queue->root;
        if (!first || first->due_ms > now_ms || first->order >= order_limit)
                return NULL;
        aip_timer_queue_remove(queue, first);
        return first;
}
