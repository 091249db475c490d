/* The intrusive list. */
#include "list.h"
#include <criterion/criterion.h>

struct item {
        int number;
        struct aip_list node;
};

static int sum_in_order(const struct aip_list *head)
{
        int digits = 0;
        AIP_LIST_FOREACH (node, head)
                digits = digits * 10 + AIP_LIST_ENTRY(node, struct item, node)->number;
        return digits;
}

Test(list, keeps_order_and_removes_anywhere)
{
        struct aip_list head = AIP_LIST_INIT(head);
        struct item items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
        cr_assert(aip_list_is_empty(&head));
        cr_assert_null(aip_list_pop(&head));
        aip_list_append(&head, &items[1].node);
        aip_list_append(&head, &items[2].node);
        aip_list_prepend(&head, &items[0].node);
        aip_list_append(&head, &items[3].node);
        cr_assert_eq(sum_in_order(&head), 1234);
        aip_list_remove(&items[1].node);
        aip_list_remove(&items[1].node);
        cr_assert_not(aip_list_is_linked(&items[1].node));
        cr_assert_eq(sum_in_order(&head), 134);
        cr_assert_eq(aip_list_pop(&head), &items[0].node);
        cr_assert_eq(aip_list_first(&head), &items[2].node);
}

Test(list, the_body_of_a_walk_may_remove_its_node)
{
        struct aip_list head = AIP_LIST_INIT(head);
        struct item items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
        for (int i = 0; i < 4; i++)
                aip_list_append(&head, &items[i].node);
        AIP_LIST_FOREACH (node, &head)
                if (AIP_LIST_ENTRY(node, struct item, node)->number % 2 == 0)
                        aip_list_remove(node);
        cr_assert_eq(sum_in_order(&head), 13);
}
