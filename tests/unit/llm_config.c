/* LLMConfig and its value objects: defaults, limits, references. */
#include "domain_support.h"
#include <aiplat/llm_config.h>
#include <math.h>

static struct aip_llm_config_fields config_fields(void)
{
        struct aip_llm_config_fields f = AIP_LLM_CONFIG_FIELDS_INIT;
        f.name = AIP_STR("default-smart");
        f.provider = AIP_STR("openai");
        f.model_name = AIP_STR("gpt-4-turbo-preview");
        return f;
}

static void accept(const struct aip_llm_config_fields *f)
{
        aip_error *err = NULL;
        aip_llm_config *config = NULL;
        expect_ok(aip_llm_config_new(f, &config, &err), &err);
        aip_llm_config_unref(config);
}

static void refuse(const struct aip_llm_config_fields *f, const char *why)
{
        aip_error *err = NULL;
        aip_llm_config *config = NULL;
        expect_refused(aip_llm_config_new(f, &config, &err), &err, AIP_EINVAL, why);
        cr_expect_null(config);
}

Test(llm_config, defaults)
{
        struct aip_llm_config_fields f = config_fields();
        aip_error *err = NULL;
        aip_llm_config *config = NULL;
        expect_ok(aip_llm_config_new(&f, &config, &err), &err);
        const struct aip_llm_config_fields *g = aip_llm_config_fields(config);
        cr_expect(str_is(g->name, "default-smart"));
        cr_expect_neq(g->name.p, f.name.p);
        cr_expect(str_is(g->provider, "openai"));
        cr_expect_str_eq(g->model_name.p, "gpt-4-turbo-preview");
        cr_expect_str_eq(g->api_key_env.p, "");
        cr_expect_str_eq(g->base_url.p, "");
        cr_expect_eq(g->temperature, 0.7);
        cr_expect_eq(g->max_tokens, 4096);
        cr_expect_eq(g->timeout_ms, 120000);
        cr_expect_eq(g->is_active, 1);
        aip_llm_config_unref(config);
}

Test(llm_config, references)
{
        struct aip_llm_config_fields f = config_fields();
        aip_error *err = NULL;
        aip_llm_config *config = NULL;
        expect_ok(aip_llm_config_new(&f, &config, &err), &err);
        aip_llm_config *second = aip_llm_config_ref(config);
        cr_expect_eq(second, config);
        aip_llm_config_unref(config);
        cr_expect(str_is(aip_llm_config_fields(second)->provider, "openai"));
        aip_llm_config_unref(second);
        aip_llm_config_unref(NULL);
        cr_expect_null(aip_llm_config_ref(NULL));
}

Test(llm_config, older_callers_get_defaults)
{
        struct aip_llm_config_fields f = config_fields();
        f.timeout_ms = -1;
        f.self_size = offsetof(struct aip_llm_config_fields, timeout_ms);
        aip_error *err = NULL;
        aip_llm_config *config = NULL;
        expect_ok(aip_llm_config_new(&f, &config, &err), &err);
        cr_expect_eq(aip_llm_config_fields(config)->timeout_ms, 120000);
        aip_llm_config_unref(config);
}

Test(llm_config, temperatures)
{
        static const double good[] = {0.0, -0.0, 0.7, 1.0, 2.0};
        static const double bad[] = {-0.001, 2.0001, -1, 1e300, INFINITY, -INFINITY, NAN};
        aip_error *err = NULL;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(good); i++)
                expect_ok(aip_temperature_check(good[i], &err), &err);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++) {
                struct aip_llm_config_fields f = config_fields();
                f.temperature = bad[i];
                refuse(&f, "temperature: ");
        }
        expect_refused(aip_temperature_check(2.5, &err), &err, AIP_EINVAL,
                       "temperature: 2.5 is out of range; allowed are 0.0 to 2.0");
}

Test(llm_config, providers)
{
        char *longest = repeat("p", 100), *too_long = repeat("p", 101);
        const char *good[] = {"openai", "anthropic", "simulated", "a", "my-own_2", longest};
        const char *bad[] = {"",    "OpenAI", "2nd",   "-a",     "_a",     "a b",
                             "a.b", "openaí", "a\xff", too_long, " openai"};
        aip_error *err = NULL;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(good); i++)
                expect_ok(aip_provider_check(aip_str_of(good[i]), &err), &err);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++)
                expect_refused(aip_provider_check(aip_str_of(bad[i]), &err), &err, AIP_EINVAL,
                               "provider: ");
        expect_refused(aip_provider_check(aip_str_of("OpenAI"), &err), &err, AIP_EINVAL,
                       "\"OpenAI\"");
        free(longest);
        free(too_long);
}

Test(llm_config, model_names)
{
        aip_error *err = NULL;
        expect_ok(aip_model_name_check(AIP_STR("meta-llama/Llama-3-8b:free"), &err), &err);
        expect_ok(aip_model_name_check(AIP_STR("simulated,latency=250"), &err), &err);
        expect_refused(aip_model_name_check(AIP_STR(""), &err), &err, AIP_EINVAL, "model_name: ");
        expect_refused(aip_model_name_check(AIP_STR("a\n"), &err), &err, AIP_EINVAL,
                       "model_name: ");
        struct aip_llm_config_fields f = config_fields();
        f.model_name = AIP_STR(" ");
        refuse(&f, "model_name: ");
        f = config_fields();
        f.name = AIP_STR("");
        refuse(&f, "name: ");
        f = config_fields();
        f.provider = AIP_STR("X");
        refuse(&f, "provider: ");
}

Test(llm_config, numbers)
{
        static const struct {
                int32_t max_tokens, timeout_ms;
                const char *why;
        } cases[] = {
                {1, 1, NULL},
                {10000000, 3600000, NULL},
                {0, 1, "max_tokens: 0 is out of range; allowed are 1 to 10000000"},
                {-1, 1, "max_tokens: "},
                {10000001, 1, "max_tokens: "},
                {1, 0, "timeout_ms: 0 is out of range; allowed are 1 to 3600000"},
                {1, 3600001, "timeout_ms: "},
                {1, INT32_MIN, "timeout_ms: "},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                struct aip_llm_config_fields f = config_fields();
                f.max_tokens = cases[i].max_tokens;
                f.timeout_ms = cases[i].timeout_ms;
                if (cases[i].why)
                        refuse(&f, cases[i].why);
                else
                        accept(&f);
        }
}

Test(llm_config, names_of_environment_variables)
{
        char *too_long = repeat("K", 256);
        const char *bad[] = {"1KEY", "MY-KEY", "A B", "sk-secret-0123", "KÉY", "A=B", too_long};
        struct aip_llm_config_fields f = config_fields();
        f.api_key_env = AIP_STR("_My_KEY_2");
        accept(&f);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++) {
                aip_error *err = NULL;
                aip_llm_config *config = NULL;
                f.api_key_env = aip_str_of(bad[i]);
                cr_expect_eq(aip_llm_config_new(&f, &config, &err), AIP_EINVAL);
                cr_expect(strstr(aip_error_message(err), "api_key_env: "));
                cr_expect_null(strstr(aip_error_message(err), bad[i]),
                               "a key may have been pasted");
                aip_error_free(err);
        }
        free(too_long);
}

Test(llm_config, base_urls)
{
        char *too_long = repeat("http://a/", 300);
        const struct {
                const char *url;
                const char *why;
        } cases[] = {
                {"http://localhost:11434/v1", NULL},
                {"https://api.example.com", NULL},
                {"HTTPS://[::1]:8080/", NULL},
                {"http://h/a@b", NULL},
                {"localhost:11434", "http://"},
                {"ftp://x/", "http://"},
                {"file:///etc/passwd", "http://"},
                {"http:/x", "http://"},
                {"http://", "has no host"},
                {"http:///v1", "has no host"},
                {"http://:80/v1", "has no host"},
                {"http://a b/", "character"},
                {"http://a/\n", "character"},
                {"http://a/\xc3\xa9", "character"},
                {"http://user:pw@host/", "user or password"},
                {"http://host/?k=v", "query"},
                {"http://host/#f", "query"},
                {"http://host?k", "query"},
                {too_long, "at most 2048"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                struct aip_llm_config_fields f = config_fields();
                f.base_url = aip_str_of(cases[i].url);
                if (cases[i].why)
                        refuse(&f, cases[i].why);
                else
                        accept(&f);
        }
        free(too_long);
}
