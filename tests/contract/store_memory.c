/* The store contract on the in-memory store, on the virtual loop and on the real one. */
#include "store_contract.h"
#include <criterion/criterion.h>

static int open_store(struct store_maker *maker, const struct aip_store_options *options,
                      struct aip_store *ret_store, aip_error **err)
{
        (void)maker;
        return aip_memory_store_new(options, ret_store, err);
}

static const struct store_maker on_virtual_loop = {.is_virtual = 1, .open = open_store};
static const struct store_maker on_real_loop = {.open = open_store};

#define ON_VIRTUAL_LOOP(name)                                                                      \
        Test(store_memory, name, .timeout = 60)                                                    \
        {                                                                                          \
                store_contract_run(&on_virtual_loop, store_contract_##name);                       \
        }
STORE_CONTRACT(ON_VIRTUAL_LOOP)

#define ON_REAL_LOOP(name)                                                                         \
        Test(store_memory_uv, name, .timeout = 60)                                                 \
        {                                                                                          \
                store_contract_run(&on_real_loop, store_contract_##name);                          \
        }
STORE_CONTRACT(ON_REAL_LOOP)
