/* Configurations and templates as JSON, both ways. */
#ifndef AIPLAT_INTERFACE_HTTP_CATALOG_SCHEMA_H
#define AIPLAT_INTERFACE_HTTP_CATALOG_SCHEMA_H

#include <aiplat/catalog.h>

int config_print(const aip_llm_config *config, struct aip_buf *out);
int template_print(const aip_prompt_template *prompt_template, struct aip_buf *out);

/* `name` is that of the path and may be empty: then the body must have one; else they must agree. */
int config_read(const aip_value *body, struct aip_str name, aip_llm_config **ret_config,
                aip_error **err);
int template_read(const aip_value *body, struct aip_str name, aip_prompt_template **ret_template,
                  aip_error **err);

#endif
