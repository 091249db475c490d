/* The registry: who answers for which configuration. */
#include "llm_calls.h"
#include <aiplat/llm_registry.h>

#define VARIABLE "AIPLAT_TEST_REGISTRY_KEY"

static int n_freed;

static void ignore(void *self, struct aip_llm_call *call)
{
        (void)self;
        (void)call;
}

static void count_free(void *self)
{
        (void)self;
        n_freed++;
}

static const struct aip_llm_ops openai = {sizeof(openai), "openai", ignore, ignore, count_free};
static const struct aip_llm_ops fake = {sizeof(fake), "simulated", ignore, ignore, count_free};

static aip_llm_registry *registry_of(int simulate_missing_keys)
{
        struct aip_llm_registry_options options = AIP_LLM_REGISTRY_OPTIONS_INIT;
        aip_llm_registry *registry;
        options.simulate_missing_keys = simulate_missing_keys;
        cr_assert_eq(aip_llm_registry_new(&options, &registry, NULL), 0);
        cr_assert_eq(aip_llm_registry_add(registry, (struct aip_llm){&openai, NULL}, NULL), 0);
        return registry;
}

static aip_llm_config *config_of(const char *provider, const char *variable)
{
        struct aip_llm_config_fields fields = AIP_LLM_CONFIG_FIELDS_INIT;
        aip_llm_config *config;
        fields.name = AIP_STR("test");
        fields.provider = aip_str_of(provider);
        fields.model_name = AIP_STR("m");
        fields.api_key_env = aip_str_of(variable);
        cr_assert_eq(aip_llm_config_new(&fields, &config, NULL), 0);
        return config;
}

/* Name of the provider that answers, or NULL. */
static const char *answering(const aip_llm_registry *registry, const char *provider,
                             const char *variable)
{
        _cleanup_(aip_llm_config_unref_p) aip_llm_config *config = config_of(provider, variable);
        struct aip_llm found = {NULL, NULL};
        aip_llm_registry_find(registry, config, &found, NULL);
        return found.ops ? found.ops->name : NULL;
}

Test(llm_registry, finds_by_provider)
{
        aip_llm_registry *registry = registry_of(0);
        unsetenv(VARIABLE);
        cr_expect_str_eq(answering(registry, "openai", VARIABLE), "openai");
        cr_expect_null(answering(registry, "anthropic", VARIABLE));
        aip_llm_registry_free(registry);
        cr_expect_eq(n_freed, 1);
        aip_llm_registry_free(NULL);
}

Test(llm_registry, an_unknown_provider_is_named)
{
        aip_llm_registry *registry = registry_of(0);
        _cleanup_(aip_llm_config_unref_p) aip_llm_config *config = config_of("mistral", "");
        struct aip_llm found;
        aip_error *err = NULL;
        cr_expect_eq(aip_llm_registry_find(registry, config, &found, &err), AIP_ENOTFOUND);
        cr_expect_not_null(strstr(aip_error_message(err), "mistral"));
        cr_expect_not_null(strstr(aip_error_message(err), "openai"));
        aip_error_free(err);
        aip_llm_registry_free(registry);
}

Test(llm_registry, missing_keys_are_simulated_when_asked_for)
{
        aip_llm_registry *registry = registry_of(1);
        unsetenv(VARIABLE);
        cr_expect_str_eq(answering(registry, "openai", VARIABLE), "openai"); /* none registered */
        cr_assert_eq(aip_llm_registry_add(registry, (struct aip_llm){&fake, NULL}, NULL), 0);
        cr_expect_str_eq(answering(registry, "openai", VARIABLE), "simulated");
        cr_expect_str_eq(answering(registry, "openai", ""), "openai");
        cr_expect_str_eq(answering(registry, "simulated", VARIABLE), "simulated");
        cr_expect_null(answering(registry, "mistral", VARIABLE));
        setenv(VARIABLE, "", 1);
        cr_expect_str_eq(answering(registry, "openai", VARIABLE), "simulated");
        setenv(VARIABLE, "sk", 1);
        cr_expect_str_eq(answering(registry, "openai", VARIABLE), "openai");
        aip_llm_registry_free(registry);
}

Test(llm_registry, missing_keys_are_not_simulated_otherwise)
{
        aip_llm_registry *registry = registry_of(0);
        unsetenv(VARIABLE);
        cr_assert_eq(aip_llm_registry_add(registry, (struct aip_llm){&fake, NULL}, NULL), 0);
        cr_expect_str_eq(answering(registry, "openai", VARIABLE), "openai");
        aip_llm_registry_free(registry);
}

Test(llm_registry, what_cannot_be_registered)
{
        static const struct aip_llm_ops unnamed = {sizeof(unnamed), "No Name", ignore, ignore,
                                                   count_free};
        static const struct aip_llm_ops lacking = {sizeof(lacking), "x", ignore, NULL, count_free};
        aip_llm_registry *registry = registry_of(0);
        cr_expect_eq(aip_llm_registry_add(registry, (struct aip_llm){&openai, NULL}, NULL),
                     AIP_ECONFLICT);
        cr_expect_eq(aip_llm_registry_add(registry, (struct aip_llm){&unnamed, NULL}, NULL),
                     AIP_EINVAL);
        cr_expect_eq(aip_llm_registry_add(registry, (struct aip_llm){&lacking, NULL}, NULL),
                     AIP_EINVAL);
        aip_llm_registry_free(registry);
        cr_expect_eq(n_freed, 1, "what was refused belongs to the caller");
}
