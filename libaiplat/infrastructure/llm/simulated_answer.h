/*
 * What the simulated provider answers: words in a model's name become a plan, a plan and a call an
 * answer. For simulated_llm.c. Pure: the same call gets the same answer.
 */
#ifndef AIPLAT_LLM_SIMULATED_ANSWER_H
#define AIPLAT_LLM_SIMULATED_ANSWER_H

#include <aiplat/ports/llm.h>

#define AIP_SIMULATED_NAME  "simulated"
#define AIP_SIMULATED_LABEL "[simulated] "

/* What the model name asks for. */
struct aip_simulated_plan {
        int echo;
        int64_t latency_ms, retry_after_ms;
        int64_t pace_ms;       /* between deltas */
        int64_t tokens;        /* -1: as it comes */
        int64_t failures;      /* -1: all calls, if any */
        const char *fail_kind; /* NULL: no failure */
        int64_t deltas_before_failure;
        int is_calling;            /* tools, if any are offered */
        int64_t rounds;            /* this many times after each message of the user */
        struct aip_str tool_names; /* joined by '+'; empty: the first one offered */
};

struct aip_simulated_plan aip_simulated_plan_of(const struct aip_llm_call *call);

/* 0, AIP_ENOMEM, AIP_ELIMIT. */
AIP_MUST_CHECK int aip_simulated_answer(const struct aip_llm_call *call,
                                        const struct aip_simulated_plan *plan,
                                        struct aip_llm_answer *ret_answer);

/* A number that tells messages apart. */
uint64_t aip_simulated_hash(const struct aip_llm_call *call);

#endif
