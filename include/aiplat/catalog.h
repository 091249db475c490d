/*
 * Catalog snapshot: all configurations, templates and graphs as they stood at one revision. Immutable
 * and reference-counted (atomically); a job runs wholly on the snapshot it started with. The graphs
 * that ship with the library are in every snapshot; one of the store's takes the place of a shipped
 * one of the same name.
 */
#ifndef AIPLAT_CATALOG_H
#define AIPLAT_CATALOG_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/graph_document.h>
#include <aiplat/llm_config.h>
#include <aiplat/prompt_template.h>

AIP_BEGIN_DECLS

typedef struct aip_catalog aip_catalog;

/* A graph with what the store knows of it. */
struct aip_graph_entry {
        const aip_graph_document *document;
        int64_t id;      /* the store's; 0: it ships with the library */
        int64_t version; /* 1, raised with every change; 0: it ships with the library */
        int64_t created_at_us, updated_at_us;
};

/* Takes its own references. AIP_EINVAL on two of one name. */
AIP_API int aip_catalog_new(int64_t revision, const aip_llm_config *const *configs,
                            size_t n_configs, const aip_prompt_template *const *templates,
                            size_t n_templates, const struct aip_graph_entry *graphs,
                            size_t n_graphs, aip_catalog **ret_catalog, aip_error **err);
AIP_API aip_catalog *aip_catalog_ref(const aip_catalog *catalog);
AIP_API void aip_catalog_unref(aip_catalog *catalog);

AIP_API int64_t aip_catalog_revision(const aip_catalog *catalog);
/* By name; borrowed from the snapshot; NULL when there is none. */
AIP_API const aip_llm_config *aip_catalog_config(const aip_catalog *catalog, struct aip_str name);
AIP_API const aip_prompt_template *aip_catalog_template(const aip_catalog *catalog,
                                                        struct aip_str name);
AIP_API const struct aip_graph_entry *aip_catalog_graph(const aip_catalog *catalog,
                                                        struct aip_str name);
/* All, sorted by name; borrowed. */
AIP_API size_t aip_catalog_configs(const aip_catalog *catalog,
                                   const aip_llm_config *const **ret_configs);
AIP_API size_t aip_catalog_templates(const aip_catalog *catalog,
                                     const aip_prompt_template *const **ret_templates);
AIP_API size_t aip_catalog_graphs(const aip_catalog *catalog,
                                  const struct aip_graph_entry **ret_graphs);

/* Append the text that stores keep of a graph; AIP_EINVAL when it is longer than
 * AIP_GRAPH_DOCUMENT_MAX_BYTES. aip_graph_document_parse() reads it. */
AIP_API int aip_graph_text_print(const aip_graph_document *document, struct aip_buf *out,
                                 aip_error **err);

AIP_END_DECLS

#endif
