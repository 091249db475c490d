/*
 * Catalog snapshot: configurations, templates and graphs at one revision (see aiplat/catalog.h). Made
 * by stores, held by every run until it ends. One allocation holds the struct and three arrays sorted
 * by name, so that listing is free and finding is a binary search.
 */
#include "catalog/shipped_graphs.h"
#include "macros.h"
#include "mem.h"
#include "text/text.h"
#include <aiplat/catalog.h>
#include <stdatomic.h>

struct aip_catalog {
        atomic_uint n_refs;
        int64_t revision;
        size_t n_configs, n_templates, n_graphs;
        const aip_llm_config **configs; /* sorted by name; references are ours */
        const aip_prompt_template **templates;
        struct aip_graph_entry *graphs;
};

static int compare_names(struct aip_str a, struct aip_str b)
{
        int order = memcmp(a.p, b.p, AIP_MIN(a.n, b.n));
        return order ? order : (a.n > b.n) - (a.n < b.n);
}

static struct aip_str config_name(const void *slot)
{
        return aip_llm_config_fields(*(const aip_llm_config *const *)slot)->name;
}

static struct aip_str template_name(const void *slot)
{
        return aip_prompt_template_fields(*(const aip_prompt_template *const *)slot)->name;
}

static struct aip_str graph_name(const void *entry)
{
        return aip_graph_document_name(((const struct aip_graph_entry *)entry)->document);
}

static int compare_configs(const void *a, const void *b)
{
        return compare_names(config_name(a), config_name(b));
}

static int compare_templates(const void *a, const void *b)
{
        return compare_names(template_name(a), template_name(b));
}

static int compare_graphs(const void *a, const void *b)
{
        return compare_names(graph_name(a), graph_name(b));
}

static int refuse_twins(const char *what, struct aip_str name, aip_error **err)
{
        char quoted[AIP_TEXT_QUOTED_BYTES];
        return aip_error_set(err, AIP_EINVAL, "catalog: two %s have the name %s", what,
                             aip_text_quote(name, quoted));
}

static int check_names_differ(const aip_catalog *c, aip_error **err)
{
        for (size_t i = 1; i < c->n_configs; i++) {
                if (compare_configs(&c->configs[i - 1], &c->configs[i]) == 0)
                        return refuse_twins("configurations", config_name(&c->configs[i]), err);
        }
        for (size_t i = 1; i < c->n_templates; i++) {
                if (compare_templates(&c->templates[i - 1], &c->templates[i]) == 0)
                        return refuse_twins("templates", template_name(&c->templates[i]), err);
        }
        for (size_t i = 1; i < c->n_graphs; i++) {
                if (compare_graphs(&c->graphs[i - 1], &c->graphs[i]) == 0)
                        return refuse_twins("graphs", graph_name(&c->graphs[i]), err);
        }
        return 0;
}

static aip_catalog *catalog_alloc(size_t n_configs, size_t n_templates, size_t n_graphs)
{
        size_t n, graphs_bytes, bytes;

        if (__builtin_add_overflow(n_configs, n_templates, &n) ||
            __builtin_mul_overflow(n, sizeof(void *), &bytes) ||
            __builtin_mul_overflow(n_graphs, sizeof(struct aip_graph_entry), &graphs_bytes) ||
            __builtin_add_overflow(bytes, graphs_bytes, &bytes) ||
            __builtin_add_overflow(bytes, sizeof(aip_catalog), &bytes))
                return NULL;
        aip_catalog *c = aip_alloc(bytes);
        if (!c)
                return NULL;
        atomic_init(&c->n_refs, 1);
        c->graphs = (struct aip_graph_entry *)(void *)(c + 1);
        c->configs = (const aip_llm_config **)(void *)(c->graphs + n_graphs);
        c->templates = (const aip_prompt_template **)(void *)(c->configs + n_configs);
        c->n_graphs = 0;
        return c;
}

static void fill(aip_catalog *c, const aip_llm_config *const *configs,
                 const aip_prompt_template *const *templates)
{
        for (size_t i = 0; i < c->n_configs; i++)
                c->configs[i] = aip_llm_config_ref(configs[i]);
        for (size_t i = 0; i < c->n_templates; i++)
                c->templates[i] = aip_prompt_template_ref(templates[i]);
        qsort(c->configs, c->n_configs, sizeof(c->configs[0]), compare_configs);
        qsort(c->templates, c->n_templates, sizeof(c->templates[0]), compare_templates);
}

static int has_graph(const struct aip_graph_entry *graphs, size_t n, struct aip_str name)
{
        for (size_t i = 0; i < n; i++)
                if (compare_names(graph_name(&graphs[i]), name) == 0)
                        return 1;
        return 0;
}

/* The store's, and those shipped ones whose place none of them takes. */
static int fill_graphs(aip_catalog *c, const struct aip_graph_entry *graphs, size_t n,
                       aip_error **err)
{
        for (size_t i = 0; i < n; i++) {
                struct aip_graph_entry *entry = &c->graphs[c->n_graphs++];

                *entry = graphs[i];
                entry->document = aip_graph_document_ref(graphs[i].document);
        }
        for (size_t i = 0; i < aip_n_shipped_graphs; i++) {
                const struct aip_shipped_graph *shipped = &aip_shipped_graphs[i];
                struct aip_str name = aip_str_of(shipped->name);
                aip_graph_document *document = NULL;
                int r;

                if (has_graph(graphs, n, name))
                        continue;
                r = aip_graph_document_parse(name, aip_str_make(shipped->json, shipped->n), &document,
                                         err);
                if (r < 0)
                        return r;
                c->graphs[c->n_graphs++] = (struct aip_graph_entry){.document = document};
        }
        if (c->n_graphs > 0)
                qsort(c->graphs, c->n_graphs, sizeof(c->graphs[0]), compare_graphs);
        return 0;
}

int aip_catalog_new(int64_t revision, const aip_llm_config *const *configs, size_t n_configs,
                    const aip_prompt_template *const *templates, size_t n_templates,
                    const struct aip_graph_entry *graphs, size_t n_graphs,
                    aip_catalog **ret_catalog, aip_error **err)
{
        aip_catalog *c = n_graphs > SIZE_MAX - aip_n_shipped_graphs
                                 ? NULL
                                 : catalog_alloc(n_configs, n_templates,
                                                 n_graphs + aip_n_shipped_graphs);
        if (!c)
                return aip_error_set_nomem(err);
        c->revision = revision;
        c->n_configs = n_configs;
        c->n_templates = n_templates;
        fill(c, configs, templates);
        int r = fill_graphs(c, graphs, n_graphs, err);
        if (r == 0)
                r = check_names_differ(c, err);
        if (r < 0) {
                aip_catalog_unref(c);
                return r;
        }
        *ret_catalog = c;
        return 0;
}

aip_catalog *aip_catalog_ref(const aip_catalog *catalog)
{
        aip_catalog *counted = (aip_catalog *)catalog;
        if (counted)
                atomic_fetch_add_explicit(&counted->n_refs, 1, memory_order_relaxed);
        return counted;
}

void aip_catalog_unref(aip_catalog *catalog)
{
        if (!catalog || atomic_fetch_sub_explicit(&catalog->n_refs, 1, memory_order_acq_rel) != 1)
                return;
        for (size_t i = 0; i < catalog->n_configs; i++)
                aip_llm_config_unref((aip_llm_config *)catalog->configs[i]);
        for (size_t i = 0; i < catalog->n_templates; i++)
                aip_prompt_template_unref((aip_prompt_template *)catalog->templates[i]);
        for (size_t i = 0; i < catalog->n_graphs; i++)
                aip_graph_document_unref((aip_graph_document *)catalog->graphs[i].document);
        aip_free(catalog);
}

int64_t aip_catalog_revision(const aip_catalog *catalog)
{
        return catalog->revision;
}

static int compare_name_to_config(const void *name, const void *slot)
{
        return compare_names(*(const struct aip_str *)name, config_name(slot));
}

static int compare_name_to_template(const void *name, const void *slot)
{
        return compare_names(*(const struct aip_str *)name, template_name(slot));
}

static int compare_name_to_graph(const void *name, const void *entry)
{
        return compare_names(*(const struct aip_str *)name, graph_name(entry));
}

const aip_llm_config *aip_catalog_config(const aip_catalog *catalog, struct aip_str name)
{
        if (name.n == 0)
                return NULL;
        const aip_llm_config **slot = bsearch(&name, catalog->configs, catalog->n_configs,
                                              sizeof(catalog->configs[0]), compare_name_to_config);
        return slot ? *slot : NULL;
}

const aip_prompt_template *aip_catalog_template(const aip_catalog *catalog, struct aip_str name)
{
        if (name.n == 0)
                return NULL;
        const aip_prompt_template **slot =
                bsearch(&name, catalog->templates, catalog->n_templates,
                        sizeof(catalog->templates[0]), compare_name_to_template);
        return slot ? *slot : NULL;
}

const struct aip_graph_entry *aip_catalog_graph(const aip_catalog *catalog, struct aip_str name)
{
        if (name.n == 0 || catalog->n_graphs == 0)
                return NULL;
        return bsearch(&name, catalog->graphs, catalog->n_graphs, sizeof(catalog->graphs[0]),
                       compare_name_to_graph);
}

size_t aip_catalog_configs(const aip_catalog *catalog, const aip_llm_config *const **ret_configs)
{
        *ret_configs = catalog->configs;
        return catalog->n_configs;
}

size_t aip_catalog_templates(const aip_catalog *catalog,
                             const aip_prompt_template *const **ret_templates)
{
        *ret_templates = catalog->templates;
        return catalog->n_templates;
}

size_t aip_catalog_graphs(const aip_catalog *catalog, const struct aip_graph_entry **ret_graphs)
{
        *ret_graphs = catalog->graphs;
        return catalog->n_graphs;
}
