/*
 * Registry of model providers: which port answers for the provider a configuration names. Loop
 * thread only.
 */
#ifndef AIPLAT_LLM_REGISTRY_H
#define AIPLAT_LLM_REGISTRY_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/ports/llm.h>

AIP_BEGIN_DECLS

typedef struct aip_llm_registry aip_llm_registry;

struct aip_llm_registry_options {
        size_t self_size;
        /* Answer by the provider "simulated", if it is registered, where a configuration of another
         * provider names an environment variable for its key that is not set or empty. Such answers
         * are labelled by their own field `provider`, which then reads "simulated". */
        int32_t simulate_missing_keys;
};

#define AIP_LLM_REGISTRY_OPTIONS_INIT                                                              \
        {                                                                                          \
                sizeof(struct aip_llm_registry_options), 0                                         \
        }

/* options NULL: the defaults. */
AIP_API int aip_llm_registry_new(const struct aip_llm_registry_options *options,
                                 aip_llm_registry **ret_registry, aip_error **err);

/* Register a port under its ops->name. `llm` is consumed on success. AIP_ECONFLICT when the name is
 * taken, AIP_EINVAL when it is no provider name or a required method is missing. */
AIP_API int aip_llm_registry_add(aip_llm_registry *registry, struct aip_llm llm, aip_error **err);

/* The port that answers for this configuration; *ret_llm is borrowed from the registry.
 * AIP_ENOTFOUND names the provider and those that are registered. */
AIP_API int aip_llm_registry_find(const aip_llm_registry *registry, const aip_llm_config *config,
                                  struct aip_llm *ret_llm, aip_error **err);

/* Frees the ports too; no call may be in flight. Accepts NULL. */
AIP_API void aip_llm_registry_free(aip_llm_registry *registry);

AIP_END_DECLS

#endif
