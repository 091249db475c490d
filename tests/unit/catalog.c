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
                                (const aip_prompt_template *const *)templates, n, NULL, 0,
                                ret_catalog, err);
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
        expect_ok(aip_catalog_new(0, NULL, 0, NULL, 0, NULL, 0, &catalog, &err), &err);
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
        expect_refused(aip_catalog_new(1, NULL, 0, twins, 2, NULL, 0, &catalog, &err), &err,
                       AIP_EINVAL, "two templates have the name \"t\"");
        aip_prompt_template_unref(t);
}

static aip_graph_document *graph(const char *name)
{
        aip_error *err = NULL;
        aip_graph_document *made = NULL;
        expect_ok(aip_graph_document_parse(aip_str_of(name),
                                       AIP_STR("{\"nodes\":{\"n\":{\"type\":\"fail\"}},\"edges\":["
                                               "{\"from\":\"__start__\",\"to\":\"n\"},"
                                               "{\"from\":\"n\",\"to\":\"__end__\"}]}"),
                                       &made, &err),
                  &err);
        return made;
}

Test(catalog, graphs_of_the_store_and_shipped_ones)
{
        aip_graph_document *z = graph("z"), *assistant = graph("assistant");
        const struct aip_graph_entry rows[] = {{z, 7, 3, 1000, 2000}, {assistant, 8, 1, 0, 0}};
        const struct aip_graph_entry *all, *without_rows;
        aip_error *err = NULL;
        aip_catalog *catalog = NULL, *shipped = NULL;
        expect_ok(aip_catalog_new(1, NULL, 0, NULL, 0, NULL, 0, &shipped, &err), &err);
        expect_ok(aip_catalog_new(2, NULL, 0, NULL, 0, rows, 2, &catalog, &err), &err);
        size_t n = aip_catalog_graphs(shipped, &without_rows);
        cr_assert_gt(n, 0);
        cr_assert_eq(aip_catalog_graphs(catalog, &all), n + 1, "one takes a shipped one's place");
        for (size_t i = 0; i < n; i++) {
                struct aip_str name = aip_graph_document_name(without_rows[i].document);
                cr_expect_eq(without_rows[i].id, 0);
                cr_expect_eq(without_rows[i].version, 0);
                cr_expect_eq(aip_catalog_graph(shipped, name), &without_rows[i]);
                cr_expect_not_null(aip_catalog_graph(catalog, name));
        }
        cr_expect_eq(aip_catalog_graph(catalog, AIP_STR("assistant"))->document, assistant);
        cr_expect_eq(aip_catalog_graph(catalog, AIP_STR("z"))->version, 3);
        cr_expect_eq(aip_catalog_graph(catalog, AIP_STR("z"))->updated_at_us, 2000);
        cr_expect_eq(aip_catalog_graph(catalog, AIP_STR("z")), &all[n], "sorted by name");
        cr_expect_null(aip_catalog_graph(shipped, AIP_STR("z")));
        cr_expect_null(aip_catalog_graph(catalog, AIP_STR("")));
        aip_catalog_unref(shipped);
        shipped = NULL;
        const struct aip_graph_entry twins[] = {rows[0], rows[0]};
        expect_refused(aip_catalog_new(3, NULL, 0, NULL, 0, twins, 2, &shipped, &err), &err,
                       AIP_EINVAL, "two graphs have the name \"z\"");
        aip_graph_document_unref(z);
        aip_graph_document_unref(assistant);
        cr_expect_not_null(aip_catalog_graph(catalog, AIP_STR("z")), "it has its own references");
        aip_catalog_unref(catalog);
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
