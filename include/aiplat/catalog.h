/*
 * Catalog snapshot: all configurations and templates as they stood at one revision. Immutable and
 * reference-counted (atomically); a job runs wholly on the snapshot it started with.
 */
#ifndef AIPLAT_CATALOG_H
#define AIPLAT_CATALOG_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/llm_config.h>
#include <aiplat/prompt_template.h>

AIP_BEGIN_DECLS

typedef struct aip_catalog aip_catalog;

/* Takes its own references. AIP_EINVAL on two of one name. */
AIP_API int aip_catalog_new(int64_t revision, const aip_llm_config *const *configs,
                            size_t n_configs, const aip_prompt_template *const *templates,
                            size_t n_templates, aip_catalog **ret_catalog, aip_error **err);
AIP_API aip_catalog *aip_catalog_ref(const aip_catalog *catalog);
AIP_API void aip_catalog_unref(aip_catalog *catalog);

AIP_API int64_t aip_catalog_revision(const aip_catalog *catalog);
/* By name; borrowed from the snapshot; NULL when there is none. */
AIP_API const aip_llm_config *aip_catalog_config(const aip_catalog *catalog, struct aip_str name);
AIP_API const aip_prompt_template *aip_catalog_template(const aip_catalog *catalog,
                                                        struct aip_str name);
/* All, sorted by name; borrowed. */
AIP_API size_t aip_catalog_configs(const aip_catalog *catalog,
                                   const aip_llm_config *const **ret_configs);
AIP_API size_t aip_catalog_templates(const aip_catalog *catalog,
                                     const aip_prompt_template *const **ret_templates);

AIP_END_DECLS

#endif
