/*
 * LLMConfig: the aggregate of the engine context that says which model answers, and how. Immutable
 * and reference-counted; a change is a new object in the next catalog snapshot. Counts are atomic.
 */
#ifndef AIPLAT_LLM_CONFIG_H
#define AIPLAT_LLM_CONFIG_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/str.h>

AIP_BEGIN_DECLS

typedef struct aip_llm_config aip_llm_config;

struct aip_llm_config_fields {
        size_t self_size;
        int64_t id;                 /* the store's; 0: not stored */
        struct aip_str name;        /* unique */
        struct aip_str provider;    /* openai, anthropic, simulated, or one registered by the program:
                                     * [a-z][a-z0-9_-]{0,99} */
        struct aip_str model_name;  /* 1–255 bytes */
        struct aip_str api_key_env; /* name of an environment variable, [A-Za-z_][A-Za-z0-9_]*; empty:
                                     * no key is sent */
        struct aip_str base_url;    /* http:// or https://, host, perhaps port and path, at most 2,048
                                     * bytes; no user or password, no query; empty: the provider's
                                     * own */
        double temperature;         /* 0.0–2.0; default 0.7 */
        int32_t max_tokens;         /* 1–10,000,000; default 4096 */
        int32_t timeout_ms;         /* 1–3,600,000, one call in all; default 120,000 */
        int32_t is_active;          /* jobs may not use an inactive one */
        int64_t created_at_us, updated_at_us;
};

#define AIP_LLM_CONFIG_FIELDS_INIT                                                                 \
        {                                                                                          \
                sizeof(struct aip_llm_config_fields), 0, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0},   \
                        0.7, 4096, 120000, 1, 0, 0                                                 \
        }

/* Checks everything (AIP_EINVAL names the field, the value and the range) and copies the strings. */
AIP_API int aip_llm_config_new(const struct aip_llm_config_fields *fields,
                               aip_llm_config **ret_config, aip_error **err);
AIP_API aip_llm_config *aip_llm_config_ref(const aip_llm_config *config);
AIP_API void aip_llm_config_unref(aip_llm_config *config);
AIP_API const struct aip_llm_config_fields *aip_llm_config_fields(const aip_llm_config *config);

/* Value objects, checkable alone. */
AIP_API int aip_temperature_check(double temperature, aip_error **err);
AIP_API int aip_provider_check(struct aip_str provider, aip_error **err);
AIP_API int aip_model_name_check(struct aip_str model_name, aip_error **err);

/* LLM selector: picks among the active configurations. */
enum aip_llm_preference {
        AIP_LLM_FIRST = 0, /* the first by name */
        AIP_LLM_QUALITY,   /* the strongest model family known, then the first by name */
        AIP_LLM_SPEED      /* the fastest model family known, then the first by name */
};

/* Families are recognised by words in the model's name ("opus", "gpt-4o", "mini"); for QUALITY and
 * SPEED unknown ones come after known ones, and the simulated provider comes last. */

/* `is_usable` (may be NULL) can rule configurations out, for example those whose key is not set.
 * Returns a borrowed configuration, or NULL when none fits. */
AIP_API const aip_llm_config *aip_llm_select(const aip_llm_config *const *configs, size_t n_configs,
                                             enum aip_llm_preference preference,
                                             int (*is_usable)(const aip_llm_config *config,
                                                              void *user),
                                             void *user);

AIP_END_DECLS

#endif
