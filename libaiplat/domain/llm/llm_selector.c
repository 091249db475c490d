/* LLM selector: which configuration takes a job that names none, or a node that asks for "the best"
 * or "the fastest". Called by the services. Deterministic: the same catalog, the same choice. */
#include "llm/model_family.h"
#include "macros.h"
#include <aiplat/llm_config.h>

/* Simulated answers are nobody's preference while anything else is there. */
#define RANK_SIMULATED (-1)

static int rank(const aip_llm_config *config, enum aip_llm_preference preference)
{
        const struct aip_llm_config_fields *f = aip_llm_config_fields(config);
        if (preference == AIP_LLM_FIRST)
                return 0;
        if (aip_str_eq(f->provider, AIP_STR("simulated")))
                return RANK_SIMULATED;
        struct aip_model_rank known = aip_model_rank(f->model_name);
        return preference == AIP_LLM_QUALITY ? known.quality : known.speed;
}

static int name_is_before(const aip_llm_config *a, const aip_llm_config *b)
{
        struct aip_str x = aip_llm_config_fields(a)->name, y = aip_llm_config_fields(b)->name;
        int order = memcmp(x.p, y.p, AIP_MIN(x.n, y.n));
        return order != 0 ? order < 0 : x.n < y.n;
}

static int is_better(const aip_llm_config *a, const aip_llm_config *b,
                     enum aip_llm_preference preference)
{
        int rank_a = rank(a, preference), rank_b = rank(b, preference);
        return rank_a != rank_b ? rank_a > rank_b : name_is_before(a, b);
}

const aip_llm_config *aip_llm_select(const aip_llm_config *const *configs, size_t n_configs,
                                     enum aip_llm_preference preference,
                                     int (*is_usable)(const aip_llm_config *config, void *user),
                                     void *user)
{
        const aip_llm_config *best = NULL;
        for (size_t i = 0; i < n_configs; i++) {
                const aip_llm_config *config = configs[i];
                if (!aip_llm_config_fields(config)->is_active)
                        continue;
                if (is_usable && !is_usable(config, user))
                        continue;
                if (!best || is_better(config, best, preference))
                        best = config;
        }
        return best;
}
