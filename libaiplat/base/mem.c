/* The one datum of mem.h: the hook by which tests make allocations fail. Nothing else belongs here.
 */
#include "mem.h"

int (*aip_mem_fail_hook)(size_t bytes);
