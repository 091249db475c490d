/*
 * LLMConfig: one checked, immutable configuration (see aiplat/llm_config.h). Made by stores when
 * they load the catalog and by the catalog service when someone changes it. It holds the name of
 * the variable that has the API key, never the key.
 */
#include "llm/base_url.h"
#include "macros.h"
#include "mem.h"
#include "text/text.h"
#include <aiplat/job.h>
#include <aiplat/llm_config.h>
#include <stdatomic.h>

#define MAX_TOKENS_MAX 10000000
#define TIMEOUT_MAX_MS 3600000

struct aip_llm_config {
        atomic_uint n_refs;
        struct aip_llm_config_fields fields; /* strings follow the struct */
};

static int check_range(const char *what, int32_t value, int32_t high, aip_error **err)
{
        if (value >= 1 && value <= high)
                return 0;
        return aip_error_set(err, AIP_EINVAL, "%s: %d is out of range; allowed are 1 to %d", what,
                             value, high);
}

static int is_letter(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int is_variable_name(struct aip_str text)
{
        if (!text.p || text.n > AIP_NAME_MAX_BYTES || !is_letter(text.p[0]))
                return 0;
        for (size_t i = 1; i < text.n; i++) {
                if (!is_letter(text.p[i]) && !(text.p[i] >= '0' && text.p[i] <= '9'))
                        return 0;
        }
        return 1;
}

/* The value is not repeated: people paste the key itself here. */
static int check_api_key_env(struct aip_str api_key_env, aip_error **err)
{
        if (api_key_env.n == 0 || is_variable_name(api_key_env))
                return 0;
        return aip_error_set(err, AIP_EINVAL,
                             "api_key_env: must be the name of an environment variable (letters, "
                             "digits and '_', at most %d), not the key itself",
                             AIP_NAME_MAX_BYTES);
}

static int check_names(const struct aip_llm_config_fields *f, aip_error **err)
{
        int r = aip_name_check("name", f->name, err);
        if (r == 0)
                r = aip_provider_check(f->provider, err);
        if (r == 0)
                r = aip_model_name_check(f->model_name, err);
        if (r == 0)
                r = check_api_key_env(f->api_key_env, err);
        if (r == 0 && f->base_url.n)
                r = aip_base_url_check(f->base_url, err);
        return r;
}

static int check_numbers(const struct aip_llm_config_fields *f, aip_error **err)
{
        int r = aip_temperature_check(f->temperature, err);
        if (r == 0)
                r = check_range("max_tokens", f->max_tokens, MAX_TOKENS_MAX, err);
        if (r == 0)
                r = check_range("timeout_ms", f->timeout_ms, TIMEOUT_MAX_MS, err);
        return r;
}

static aip_llm_config *pack(const struct aip_llm_config_fields *fields)
{
        struct aip_llm_config_fields f = *fields;
        struct aip_str *strings[] = {&f.name, &f.provider, &f.model_name, &f.api_key_env,
                                     &f.base_url};
        size_t bytes = sizeof(aip_llm_config);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(strings); i++) {
                if (strings[i]->n == 0)
                        strings[i]->p = "";
                bytes += aip_text_packed_bytes(*strings[i]);
        }
        aip_llm_config *config = aip_alloc(bytes);
        if (!config)
                return NULL;
        char *at = (char *)(config + 1);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(strings); i++)
                at = aip_text_pack(strings[i], at);
        f.is_active = f.is_active != 0;
        atomic_init(&config->n_refs, 1);
        config->fields = f;
        return config;
}

int aip_llm_config_new(const struct aip_llm_config_fields *fields, aip_llm_config **ret_config,
                       aip_error **err)
{
        struct aip_llm_config_fields full = AIP_LLM_CONFIG_FIELDS_INIT;
        aip_fields_merge(&full, sizeof(full), fields);
        int r = check_names(&full, err);
        if (r == 0)
                r = check_numbers(&full, err);
        if (r < 0)
                return r;
        aip_llm_config *config = pack(&full);
        if (!config)
                return aip_error_set_nomem(err);
        *ret_config = config;
        return 0;
}

aip_llm_config *aip_llm_config_ref(const aip_llm_config *config)
{
        aip_llm_config *counted = (aip_llm_config *)config;
        if (counted)
                atomic_fetch_add_explicit(&counted->n_refs, 1, memory_order_relaxed);
        return counted;
}

void aip_llm_config_unref(aip_llm_config *config)
{
        /* The last one must see what every other holder did before letting go. */
        if (config && atomic_fetch_sub_explicit(&config->n_refs, 1, memory_order_acq_rel) == 1)
                aip_free(config);
}

const struct aip_llm_config_fields *aip_llm_config_fields(const aip_llm_config *config)
{
        return &config->fields;
}
