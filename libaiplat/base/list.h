/*
 * An intrusive doubly linked list: a ring through a head. Used wherever many objects are kept in
 * order and removed from the middle. The list owns nothing. A node that was zeroed or removed is
 * "not linked"; removing it again does nothing.
 */
#ifndef AIPLAT_BASE_LIST_H
#define AIPLAT_BASE_LIST_H

#include <aiplat/op.h>
#include <stddef.h>

struct aip_list {
        struct aip_list *next, *previous;
};

/* Also initialises statically: struct aip_list l = AIP_LIST_INIT(l); */
#define AIP_LIST_INIT(head)                                                                        \
        {                                                                                          \
                &(head), &(head)                                                                   \
        }

static inline void aip_list_init(struct aip_list *head)
{
        head->next = head->previous = head;
}

static inline int aip_list_is_empty(const struct aip_list *head)
{
        return head->next == head;
}

static inline int aip_list_is_linked(const struct aip_list *node)
{
        return node->next != NULL;
}

static inline void aip_list_insert_before(struct aip_list *position, struct aip_list *node)
{
        node->next = position;
        node->previous = position->previous;
        position->previous->next = node;
        position->previous = node;
}

static inline void aip_list_append(struct aip_list *head, struct aip_list *node)
{
        aip_list_insert_before(head, node);
}

static inline void aip_list_prepend(struct aip_list *head, struct aip_list *node)
{
        aip_list_insert_before(head->next, node);
}

static inline void aip_list_remove(struct aip_list *node)
{
        if (!node->next)
                return;
        node->next->previous = node->previous;
        node->previous->next = node->next;
        node->next = node->previous = NULL;
}

/* The first node, or NULL. */
static inline struct aip_list *aip_list_first(const struct aip_list *head)
{
        return head->next == head ? NULL : head->next;
}

/* Take the first node off; NULL when empty. */
static inline struct aip_list *aip_list_pop(struct aip_list *head)
{
        struct aip_list *node = aip_list_first(head);
        if (node)
                aip_list_remove(node);
        return node;
}

#define AIP_LIST_ENTRY(node, type, member) AIP_CONTAINER_OF(node, type, member)

/* Walk the nodes; the body may remove (and free) the node it is given, but no other. */
#define AIP_LIST_FOREACH(node, head)                                                               \
        for (struct aip_list *node = (head)->next, *node##_next_ = node->next; node != (head);     \
             node = node##_next_, node##_next_ = node->next)

#endif
