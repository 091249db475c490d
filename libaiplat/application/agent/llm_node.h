/*
 * The node type "llm", in three parts: llm_node.c reads the node's members and makes the call, llm_prompt.c
 * puts together what the model is told, llm_answer.c makes of the answer what the node writes.
 */
#ifndef AIPLAT_APPLICATION_AGENT_LLM_NODE_H
#define AIPLAT_APPLICATION_AGENT_LLM_NODE_H

#include <aiplat/json_schema.h>

#include "agent/agent_node.h"

struct aip_llm_node {
        aip_graph_document *document;
        const char *name;
        /* A name, true for the job's, or a list of these of which the first that there is counts; NULL: as if
         * it were true, but see llm_prompt.c. The document's. */
        const aip_value *configs, *templates;
        uint32_t messages;                    /* the channel of the conversation, or NO_CHANNEL */
        uint32_t input_tokens, output_tokens; /* channels that sum them, or NO_CHANNEL */
        aip_expression *system, *prompt;      /* or NULL */
        const aip_value *output_schema;       /* the document's, or NULL */
        aip_json_schema *schema;              /* the same */
        aip_tool_set *tools;                  /* or NULL */
        enum aip_llm_tool_choice tool_choice;
        struct aip_str tool_choice_name; /* the document's */
        /* Of a node that asks where to go. */
        const char **targets; /* its choices; names are the document's */
        size_t n_targets;
        struct aip_buf instructions; /* behind the system message; empty: none */
        aip_value *own_schema;       /* output_schema, made of the choices */
        aip_graph_writes *writes;    /* or NULL */
};

/* One call: the task's memory. */
struct aip_llm_node_call {
        struct aip_llm_call call;
        struct aip_llm llm;
        const struct aip_llm_node *node;
        aip_graph_task *task;
        struct aip_node_sight sight;
        struct aip_llm_message *messages;     /* n of the call */
        aip_value *system_text, *prompt_text; /* what expressions gave */
        aip_value *tools;                     /* those offered, or NULL */
        struct aip_buf system, user;          /* what the template gave */
};

/* A node as `spec` has it: what "llm" and "router" have in common; owned by caller. */
int aip_llm_node_new(const struct aip_node_maker *maker, const struct aip_graph_node_spec *spec,
                     struct aip_llm_node **ret_node, aip_error **err);
void aip_llm_node_free(struct aip_llm_node *node);
/* Options with which it runs; `node` is theirs from then on. */
void aip_llm_node_options(struct aip_llm_node *node, struct aip_node_options *options);

/* Fill in what the model is told; it lives as long as the call. */
int aip_llm_node_tell(struct aip_llm_node_call *c, const struct aip_agent_context *context,
                      aip_error **err);

/* What the answer makes of the state, as the task's update; owned by caller. */
int aip_llm_node_take(struct aip_llm_node_call *c, aip_value **ret_update, aip_error **err);

#endif
