/*
 * The assistant: the graph of a plain job, __start__ → agent → __end__. The agent renders the
 * prompt template, asks the model once, and writes the answer. Built once by the processing
 * service, shared by all its runs; what differs from run to run comes as the run's
 * context (agent_context.h).
 */
#ifndef AIPLAT_APPLICATION_ASSISTANT_GRAPH_H
#define AIPLAT_APPLICATION_ASSISTANT_GRAPH_H

#include <aiplat/graph.h>

#include "agent/agent_context.h"

/*
 * Channels of the state:
 *     prompt         string, the input
 *     messages       list of {role, content}: the rendered user message, then the answer
 *     answer         string
 *     input_tokens, output_tokens   summed over calls; what a provider does not tell counts as 0
 *     provider, model_name, finish_reason   of the last call
 */

/*
 * Runs of the graph fail with the provider's error (its code, kind and retry advice are kept), with
 * kind policy_refused when the provider's filter stopped the answer, with provider_bad_answer when
 * there is none, with AIP_EINVAL when the template's variables are missing.
 */
int aip_assistant_graph_new(aip_graph **ret_graph, aip_error **err);

#endif
