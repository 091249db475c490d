/* LLM selector: who is chosen, and that the order of the list never matters. */
#include "domain_support.h"
#include <aiplat/llm_config.h>

static aip_llm_config *config(const char *name, const char *provider, const char *model,
                              int is_active)
{
        struct aip_llm_config_fields f = AIP_LLM_CONFIG_FIELDS_INIT;
        aip_error *err = NULL;
        aip_llm_config *made = NULL;
        f.name = aip_str_of(name);
        f.provider = aip_str_of(provider);
        f.model_name = aip_str_of(model);
        f.is_active = is_active;
        expect_ok(aip_llm_config_new(&f, &made, &err), &err);
        return made;
}

static const char *chosen(aip_llm_config **configs, size_t n, enum aip_llm_preference preference)
{
        const aip_llm_config *best =
                aip_llm_select((const aip_llm_config *const *)configs, n, preference, NULL, NULL);
        return best ? aip_llm_config_fields(best)->name.p : NULL;
}

static void reverse(aip_llm_config **configs, size_t n)
{
        for (size_t i = 0; i < n / 2; i++) {
                aip_llm_config *swap = configs[i];
                configs[i] = configs[n - 1 - i];
                configs[n - 1 - i] = swap;
        }
}

Test(llm_selector, the_shipped_configurations)
{
        aip_llm_config *configs[] = {
                config("default-smart", "openai", "gpt-4-turbo-preview", 1),
                config("default-fast", "openai", "gpt-3.5-turbo", 1),
                config("claude-opus", "anthropic", "claude-3-opus-20240229", 1),
                config("claude-sonnet", "anthropic", "claude-3-sonnet-20240229", 1),
        };
        for (int order = 0; order < 2; order++) {
                cr_expect_str_eq(chosen(configs, 4, AIP_LLM_FIRST), "claude-opus");
                cr_expect_str_eq(chosen(configs, 4, AIP_LLM_QUALITY), "claude-opus");
                cr_expect_str_eq(chosen(configs, 4, AIP_LLM_SPEED), "default-fast");
                reverse(configs, 4);
        }
        for (size_t i = 0; i < 4; i++)
                aip_llm_config_unref(configs[i]);
}

/* Each pair: the first beats the second. */
static void check_pairs(const char *const pairs[][2], size_t n, enum aip_llm_preference preference)
{
        for (size_t i = 0; i < n; i++) {
                /* The loser would win by name. */
                aip_llm_config *configs[] = {config("b", "openai", pairs[i][0], 1),
                                             config("a", "openai", pairs[i][1], 1)};
                cr_expect_str_eq(chosen(configs, 2, preference), "b", "%s against %s", pairs[i][0],
                                 pairs[i][1]);
                aip_llm_config_unref(configs[0]);
                aip_llm_config_unref(configs[1]);
        }
}

Test(llm_selector, quality)
{
        static const char *const pairs[][2] = {
                {"claude-3-opus", "claude-3-5-sonnet"},
                {"claude-3-5-sonnet", "gpt-4"},
                {"gpt-4", "gpt-3.5-turbo"},
                {"gpt-4o", "gpt-4o-mini"},
                {"gpt-4o", "gpt-4"},
                {"o1-preview", "o1-mini"},
                {"Claude-3-OPUS", "claude-3-haiku"},
                {"gemini-1.5-pro", "gemini-1.5-flash"}, /* no "mini" in "gemini" */
                {"llama3:70b", "phi3"},
                {"gpt-4", "something-of-my-own"},
                {"tiny", "something-of-my-own"},
                {"gpt-5", "foo1"}, /* no "o1" in "foo1" */
        };
        check_pairs(pairs, AIP_ARRAY_SIZE(pairs), AIP_LLM_QUALITY);
}

Test(llm_selector, speed)
{
        static const char *const pairs[][2] = {
                {"gpt-3.5-turbo", "gpt-4-turbo"}, {"claude-3-haiku", "claude-3-opus"},
                {"gpt-4o-mini", "gpt-4o"},        {"gemini-1.5-flash", "gemini-1.5-pro"},
                {"gpt-4", "something-of-my-own"},
        };
        check_pairs(pairs, AIP_ARRAY_SIZE(pairs), AIP_LLM_SPEED);
}

Test(llm_selector, unknown_models_go_by_name)
{
        aip_llm_config *configs[] = {config("b", "openai", "x", 1), config("ab", "openai", "y", 1),
                                     config("a", "openai", "z", 1)};
        static const enum aip_llm_preference preferences[] = {AIP_LLM_FIRST, AIP_LLM_QUALITY,
                                                              AIP_LLM_SPEED};
        for (size_t i = 0; i < 3; i++)
                cr_expect_str_eq(chosen(configs, 3, preferences[i]), "a");
        for (size_t i = 0; i < 3; i++)
                aip_llm_config_unref(configs[i]);
}

Test(llm_selector, simulated_ones_come_last)
{
        aip_llm_config *configs[] = {config("a", "simulated", "gpt-5", 1),
                                     config("b", "openai", "of-my-own", 1)};
        cr_expect_str_eq(chosen(configs, 2, AIP_LLM_QUALITY), "b");
        cr_expect_str_eq(chosen(configs, 2, AIP_LLM_SPEED), "b");
        cr_expect_str_eq(chosen(configs, 1, AIP_LLM_QUALITY), "a");
        aip_llm_config_unref(configs[0]);
        aip_llm_config_unref(configs[1]);
}

static int is_not_openai(const aip_llm_config *c, void *user)
{
        ++*(int *)user;
        return !str_is(aip_llm_config_fields(c)->provider, "openai");
}

Test(llm_selector, inactive_and_unusable_ones_are_passed_over)
{
        aip_llm_config *configs[] = {config("a", "anthropic", "opus", 0),
                                     config("b", "openai", "gpt-4", 1),
                                     config("c", "anthropic", "haiku", 1)};
        const aip_llm_config *const *list = (const aip_llm_config *const *)configs;
        int n_asked = 0;
        cr_expect_str_eq(chosen(configs, 3, AIP_LLM_QUALITY), "b");
        cr_expect_eq(aip_llm_select(list, 3, AIP_LLM_QUALITY, is_not_openai, &n_asked), configs[2]);
        cr_expect_eq(n_asked, 2, "inactive ones are not asked about");
        cr_expect_null(aip_llm_select(list, 2, AIP_LLM_FIRST, is_not_openai, &n_asked));
        cr_expect_null(aip_llm_select(list, 1, AIP_LLM_FIRST, NULL, NULL));
        cr_expect_null(aip_llm_select(NULL, 0, AIP_LLM_FIRST, NULL, NULL));
        for (size_t i = 0; i < 3; i++)
                aip_llm_config_unref(configs[i]);
}
