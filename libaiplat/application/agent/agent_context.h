/*
 * What differs from run to run of an agent's graph: the context that its nodes are given
 * (aip_graph_run.context), and what they have used so far. Filled in by job_run.c. Below it, what all
 * nodes that ask a model do alike with its answer.
 */
#ifndef AIPLAT_APPLICATION_AGENT_CONTEXT_H
#define AIPLAT_APPLICATION_AGENT_CONTEXT_H

#include <aiplat/catalog.h>
#include <aiplat/llm_registry.h>
#include <aiplat/ports/llm.h>

#include "job_progress.h"

/* Of all model calls of a run that have ended well. */
struct aip_agent_usage {
        int64_t input_tokens, output_tokens; /* what a provider does not tell counts as 0 */
        aip_value *provider, *model_name;    /* of the last; owned, NULL: none yet */
};

/* Borrowed until the run is done. */
struct aip_agent_context {
        const aip_catalog *catalog; /* the snapshot that the run is wholly on */
        const aip_llm_registry *llms;
        struct aip_graph_factory *factory; /* for graphs within graphs */
        /* What the job names, for nodes that name nothing themselves. */
        struct aip_llm llm;
        const aip_llm_config *config;
        const aip_prompt_template *prompt_template;
        const aip_value *variables; /* an object, or NULL */
        const struct aip_id *job_id;
        const char *trace_id;              /* or NULL */
        int64_t deadline_ms;               /* of model calls; 0: the run's own */
        struct aip_job_progress *progress; /* told of answers as they come; or NULL */
        struct aip_agent_usage usage;
};

/* `call` has ended well. */
int aip_agent_usage_add(struct aip_agent_usage *usage, const struct aip_llm_call *call,
                        aip_error **err);
void aip_agent_usage_deinit(struct aip_agent_usage *usage);

/* As it is told to users: "stop", "length", … */
const char *aip_finish_reason_name(enum aip_llm_finish_reason reason);
/* Who answered: as the answer says, else as the configuration does. Borrowed from either. */
struct aip_str aip_answer_provider(const struct aip_llm_call *call);
struct aip_str aip_answer_model(const struct aip_llm_call *call);

/* An answer that cannot be used is an error: the content filter stopped it, or there is nothing in it. */
int aip_answer_check(const struct aip_llm_answer *answer, aip_error **err);
/* A message of a conversation; NULL when out of memory. `tool_calls` may be NULL. */
aip_value *aip_message(const char *role, struct aip_str content, const aip_value *tool_calls);
/* The sooner of two deadlines, of which 0 is none. */
int64_t aip_sooner(int64_t a, int64_t b);

#endif
