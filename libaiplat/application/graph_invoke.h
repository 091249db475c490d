/* Invoking graphs that need a loop. The graph runner's, whose aip_graph_invoke() runs the others at once. */
#ifndef AIPLAT_APPLICATION_GRAPH_INVOKE_H
#define AIPLAT_APPLICATION_GRAPH_INVOKE_H

#include <aiplat/graph_run.h>

/* As aip_graph_invoke(), of a graph and options that were checked. */
int aip_graph_invoke_on_loop(const aip_graph *graph, const aip_value *input,
                             const struct aip_graph_invoke_options *options, aip_value **ret_state,
                             aip_error **err);
/* What an interrupted run fails with when its caller takes no questions. Returns AIP_ESTATE. */
int aip_graph_invoke_unexpected(aip_error **err);

#endif
