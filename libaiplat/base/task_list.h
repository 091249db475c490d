/*
 * First-in first-out lists of intrusive tasks, shared by all loops. `is_queued` is changed
 * atomically, because a task may be posted by one thread while another looks at it; the list itself
 * is guarded by its owner.
 */
#ifndef AIPLAT_BASE_TASK_LIST_H
#define AIPLAT_BASE_TASK_LIST_H

#include <aiplat/ports/loop.h>

/* Zeroed memory is an empty list. */
struct task_list {
        struct aip_task *first, *last;
};

/* Mark as queued; 0 when it was queued already. */
static inline int task_claim(struct aip_task *task)
{
        return !__atomic_exchange_n(&task->is_queued, 1, __ATOMIC_ACQ_REL);
}

static inline void task_release(struct aip_task *task)
{
        __atomic_store_n(&task->is_queued, 0, __ATOMIC_RELEASE);
}

static inline void task_list_append(struct task_list *list, struct aip_task *task)
{
        task->next = NULL;
        if (list->last)
                list->last->next = task;
        else
                list->first = task;
        list->last = task;
}

static inline struct aip_task *task_list_pop(struct task_list *list)
{
        struct aip_task *task = list->first;
        if (task) {
                list->first = task->next;
                if (!list->first)
                        list->last = NULL;
        }
        return task;
}

/* Append all of `from`, which becomes empty. */
static inline void task_list_append_all(struct task_list *to, struct task_list *from)
{
        if (!from->first)
                return;
        if (to->last)
                to->last->next = from->first;
        else
                to->first = from->first;
        to->last = from->last;
        from->first = from->last = NULL;
}

/* 1 when it was there. Linear: tasks are taken back rarely, when something is torn down. */
static inline int task_list_remove(struct task_list *list, struct aip_task *task)
{
        struct aip_task *previous = NULL;
        for (struct aip_task *t = list->first; t; previous = t, t = t->next) {
                if (t != task)
                        continue;
                if (previous)
                        previous->next = t->next;
                else
                        list->first = t->next;
                if (list->last == t)
                        list->last = previous;
                return 1;
        }
        return 0;
}

#endif
