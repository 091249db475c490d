/* Between the server and the rest of the HTTP interface. */
#ifndef AIPLAT_INTERFACE_HTTP_SERVER_H
#define AIPLAT_INTERFACE_HTTP_SERVER_H

#include "request.h"

/* The route for a method and path. NULL: none; then *ret_allow (static) tells the methods that the
 * path has, or is NULL when there is no such path. `ret_segment` is a view of `path`. With
 * `is_monitor` only routes for monitoring are there. */
const struct http_route *http_route_find(const char *method, const char *path, int is_monitor,
                                         struct aip_str *ret_segment, const char **ret_allow);

/* All of them, by number. */
size_t http_route_count(void);
const struct http_route *http_route_at(size_t index);
size_t http_route_index(const struct http_route *route);

/* request->answer is complete: it is sent in a later turn of the loop. */
void http_answered(struct http_request *request);

/* Undo %-escapes in place; AIP_EINVAL when one is malformed or stands for NUL. */
int http_decode_segment(struct aip_str *segment);

#endif
