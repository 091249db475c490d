/* The queue contract on the in-memory queue, on the virtual loop and on the real one. */
#include "queue_contract.h"

#include <criterion/criterion.h>

static const struct queue_maker on_virtual_loop = {
        .is_virtual = 1,
        .open = aip_memory_queue_new,
        .bound = 65536,
};
static const struct queue_maker on_real_loop = {.open = aip_memory_queue_new, .bound = 65536};

#define ON_VIRTUAL_LOOP(name)                                                                      \
        Test(queue_memory, name, .timeout = 120)                                                   \
        {                                                                                          \
                queue_contract_run(&on_virtual_loop, queue_contract_##name);                       \
        }
QUEUE_CONTRACT(ON_VIRTUAL_LOOP)

#define ON_REAL_LOOP(name)                                                                         \
        Test(queue_memory_uv, name, .timeout = 120)                                                \
        {                                                                                          \
                queue_contract_run(&on_real_loop, queue_contract_##name);                          \
        }
QUEUE_CONTRACT(ON_REAL_LOOP)
