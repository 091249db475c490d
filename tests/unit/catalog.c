/* Catalog snapshots: lookup, order, twins, references. */
#include "domain_support.h"
#include <aiplat/catalog.h>

static aip_llm_config *config(const char *name)
{
        struct aip_llm_config_fields f = AIP_LLM_CONFIG_FIELDS_INIT;
        aip_error *err = NULL;
        aip_llm_config *made = NULL;
        f.name = aip_str_of(name);
        f.provider = AIP_STR("openai");
        f.model_name = AIP_STR("m");
        expect_ok(aip_llm_config_new(&f, &made, &err), &err);
        return made;
}

static aip_prompt_template *template_of(const char *name)
{
        struct aip_prompt_template_fields f = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        aip_error *err = NULL;
        aip_prompt_template *made = NULL;
        f.name = aip_str_of(name);
        f.content = AIP_STR("c");
        expect_ok(aip_prompt_template_new(&f, &made, &err), &err);
        return made;
}

static int make(const char *const *names, size_t n, aip_catalog **ret_catalog, aip_error **err)
{
        aip_llm_config **configs = calloc(n + 1, sizeof(*configs));
        aip_prompt_template **templates = calloc(n + 1, sizeof(*templates));
        for (size_t i = 0; i < n; i++) {
                configs[i] = config(names[i]);
                templates[i] = template_of(names[i]);
        }
        int r = aip_catalog_new(42, (const aip_llm_config *const *)configs, n,
                                (const aip_prompt_template *const *)templates, n, ret_catalog, err);
        for (size_t i = 0; i < n; i++) {
                aip_llm_config_unref(configs[i]);
                aip_prompt_template_unref(templates[i]);
        }
        free(configs);
        free(templates);
        return r;
}

Test(catalog, sorted_and_found)
{
        static const char *const names[] = {"b", "a", "ab", "é", "Z", "a b"};
        static const char *const sorted[] = {"Z", "a", "a b", "ab", "b", "é"};
        aip_error *err = NULL;
        aip_catalog *catalog = NULL;
        expect_ok(make(names, 6, &catalog, &err), &err);
        cr_expect_eq(aip_catalog_revision(catalog), 42);
        const aip_llm_config *const *configs;
        const aip_prompt_template *const *templates;
        cr_assert_eq(aip_catalog_configs(catalog, &configs), 6);
        cr_assert_eq(aip_catalog_templates(catalog, &templates), 6);
        for (size_t i = 0; i < 6; i++) {
                cr_expect(str_is(aip_llm_config_fields(configs[i])->name, sorted[i]));
                cr_expect(str_is(aip_prompt_template_fields(templates[i])->name, sorted[i]));
                cr_expect_eq(aip_catalog_config(catalog, aip_str_of(sorted[i])), configs[i]);
                cr_expect_eq(aip_catalog_template(catalog, aip_str_of(sorted[i])), templates[i]);
        }
        static const char *const absent[] = {"", "A", "aa", "b ", "zz"};
        for (size_t i = 0; i < 5; i++) {
                cr_expect_null(aip_catalog_config(catalog, aip_str_of(absent[i])));
                cr_expect_null(aip_catalog_template(catalog, aip_str_of(absent[i])));
        }
        cr_expect_null(aip_catalog_config(catalog, aip_str_make(NULL, 0)));
        cr_expect_not_null(aip_catalog_config(catalog, aip_str_make("abc", 2)));
        aip_catalog_unref(catalog);
}

Test(catalog, empty)
{
        aip_error *err = NULL;
        aip_catalog *catalog = NULL;
        expect_ok(aip_catalog_new(0, NULL, 0, NULL, 0, &catalog, &err), &err);
        const aip_llm_config *const *configs;
        cr_expect_eq(aip_catalog_configs(catalog, &configs), 0);
        cr_expect_null(aip_catalog_config(catalog, AIP_STR("a")));
        cr_expect_null(aip_catalog_template(catalog, AIP_STR("a")));
        aip_catalog_unref(catalog);
}

Test(catalog, twins_are_refused)
{
        static const char *const names[] = {"x", "y", "x"};
        aip_error *err = NULL;
        aip_catalog *catalog = NULL;
        expect_refused(make(names, 3, &catalog, &err), &err, AIP_EINVAL,
                       "two configurations have the name \"x\"");
        cr_expect_null(catalog);
        aip_prompt_template *t = template_of("t");
        const aip_prompt_template *twins[] = {t, t};
        expect_refused(aip_catalog_new(1, NULL, 0, twins, 2, &catalog, &err), &err, AIP_EINVAL,
                       "two templates have the name \"t\"");
        aip_prompt_template_unref(t);
}

Test(catalog, a_run_keeps_its_snapshot)
{
        static const char *const names[] = {"x"};
        aip_error *err = NULL;
        aip_catalog *catalog = NULL;
        expect_ok(make(names, 1, &catalog, &err), &err);
        aip_catalog *held = aip_catalog_ref(catalog);
        aip_catalog_unref(catalog);
        cr_expect_not_null(aip_catalog_config(held, AIP_STR("x")));
        aip_catalog_unref(held);
        aip_catalog_unref(NULL);
        cr_expect_null(aip_catalog_ref(NULL));
}
