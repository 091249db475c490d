/*
 * Registry of model providers (see aiplat/llm_registry.h). Filled by the composition root and by
 * programs that bring their own providers; asked by the processing service for each call.
 */
#include "macros.h"
#include "mem.h"
#include <aiplat/llm_registry.h>

#define SIMULATED "simulated"

/* A handful of providers at most, so they are looked for one by one. */
struct aip_llm_registry {
        struct aip_llm *llms;
        size_t n;
        int simulate_missing_keys;
};

int aip_llm_registry_new(const struct aip_llm_registry_options *options,
                         aip_llm_registry **ret_registry, aip_error **err)
{
        struct aip_llm_registry_options merged = AIP_LLM_REGISTRY_OPTIONS_INIT;
        if (options)
                memcpy(&merged, options, AIP_MIN(options->self_size, sizeof(merged)));
        aip_llm_registry *registry = aip_calloc(1, sizeof(*registry));
        if (!registry)
                return aip_error_set_nomem(err);
        registry->simulate_missing_keys = merged.simulate_missing_keys;
        *ret_registry = registry;
        return 0;
}

void aip_llm_registry_free(aip_llm_registry *registry)
{
        if (!registry)
                return;
        for (size_t i = 0; i < registry->n; i++)
                registry->llms[i].ops->free(registry->llms[i].self);
        aip_free(registry->llms);
        aip_free(registry);
}

static const struct aip_llm *lookup(const aip_llm_registry *registry, struct aip_str name)
{
        for (size_t i = 0; i < registry->n; i++) {
                if (aip_str_eq(aip_str_of(registry->llms[i].ops->name), name))
                        return &registry->llms[i];
        }
        return NULL;
}

static int check_llm(const aip_llm_registry *registry, struct aip_llm llm, aip_error **err)
{
        if (!llm.ops || !llm.ops->complete || !llm.ops->cancel || !llm.ops->free)
                return aip_error_set(err, AIP_EINVAL, "a model provider lacks a required method");
        struct aip_str name = aip_str_of(llm.ops->name);
        int r = aip_provider_check(name, err);
        if (r < 0)
                return r;
        if (lookup(registry, name))
                return aip_error_set(err, AIP_ECONFLICT,
                                     "model provider \"%s\" is registered already", llm.ops->name);
        return 0;
}

int aip_llm_registry_add(aip_llm_registry *registry, struct aip_llm llm, aip_error **err)
{
        int r = check_llm(registry, llm, err);
        if (r < 0)
                return r;
        struct aip_llm *more =
                aip_realloc_array(registry->llms, registry->n + 1, sizeof(*registry->llms));
        if (!more)
                return aip_error_set_nomem(err);
        registry->llms = more;
        registry->llms[registry->n++] = llm;
        return 0;
}

/* Environment variable names are at most AIP_NAME_MAX_BYTES long; they need not end in NUL here. */
static int is_key_missing(struct aip_str variable)
{
        if (aip_str_is_empty(variable))
                return 0;
        _cleanup_(aip_free_p) char *name = aip_str_dup(variable);
        const char *key = name ? getenv(name) : NULL;
        return name && (!key || !*key);
}

static int refuse(const aip_llm_registry *registry, struct aip_str provider, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf names = AIP_BUF_INIT(4096);
        for (size_t i = 0; i < registry->n; i++) {
                /* On ELIMIT the list in the message ends early; the error is what counts. */
                if (aip_buf_printf(&names, "%s%s", i ? ", " : "", registry->llms[i].ops->name) < 0)
                        break;
        }
        return aip_error_set(err, AIP_ENOTFOUND,
                             "no model provider \"%.*s\" is registered; there are: %s",
                             AIP_STR_ARG(provider), names.n ? names.p : "none");
}

int aip_llm_registry_find(const aip_llm_registry *registry, const aip_llm_config *config,
                          struct aip_llm *ret_llm, aip_error **err)
{
        const struct aip_llm_config_fields *fields = aip_llm_config_fields(config);
        const struct aip_llm *found = lookup(registry, fields->provider);
        const struct aip_llm *simulated = NULL;
        if (registry->simulate_missing_keys && is_key_missing(fields->api_key_env))
                simulated = lookup(registry, AIP_STR(SIMULATED));
        if (found && simulated)
                found = simulated;
        if (!found)
                return refuse(registry, fields->provider, err);
        *ret_llm = *found;
        return 0;
}
