/* Configurations, templates and graphs as JSON, both ways. */
#ifndef AIPLAT_INTERFACE_HTTP_CATALOG_SCHEMA_H
#define AIPLAT_INTERFACE_HTTP_CATALOG_SCHEMA_H

#include <aiplat/catalog.h>

int config_print(const aip_llm_config *config, struct aip_buf *out);
int template_print(const aip_prompt_template *prompt_template, struct aip_buf *out);
int graph_print(const struct aip_graph_entry *entry, struct aip_buf *out);
/* Without the document, for lists. */
int graph_print_head(const struct aip_graph_entry *entry, struct aip_buf *out);

/* `name` is that of the path and may be empty: then the body must have one; else they must agree. */
int config_read(const aip_value *body, struct aip_str name, aip_llm_config **ret_config,
                aip_error **err);
int template_read(const aip_value *body, struct aip_str name, aip_prompt_template **ret_template,
                  aip_error **err);
int graph_read(const aip_value *body, struct aip_str name, aip_graph_document **ret_document,
               aip_error **err);
/* So that what is wrong within a document is said as wrong within the body: "/nodes/a: …" becomes
 * "document/nodes/a: …". `err` is consumed always. */
aip_error *graph_error_in_body(aip_error *err);

#endif
