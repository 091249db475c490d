/* Paging of every list: ?limit= and an opaque ?cursor=. */
#ifndef AIPLAT_INTERFACE_HTTP_PAGING_H
#define AIPLAT_INTERFACE_HTTP_PAGING_H

#include "request.h"

/* ?limit=, 1 to `max`; `fallback` when absent. */
int paging_limit(const struct http_request *request, uint32_t fallback, uint32_t max,
                 uint32_t *ret_limit, aip_error **err);

/* Cursors: after this id, or after this name. What they look like is nobody's business. */
int paging_print_id(const struct aip_id *id, struct aip_buf *out);
int paging_parse_id(struct aip_str cursor, struct aip_id *ret_id, aip_error **err);
int paging_print_name(struct aip_str name, struct aip_buf *out);
int paging_parse_name(struct aip_str cursor, struct aip_buf *ret_name, aip_error **err);

#endif
