/* Where an OpenAI-compatible server listens. Called by llm_config.c. */
#ifndef AIPLAT_DOMAIN_BASE_URL_H
#define AIPLAT_DOMAIN_BASE_URL_H

#include <aiplat/str.h>

/* http:// or https://, a host, perhaps a port and a path; at most 2,048 bytes of printable ASCII.
 * No user and password, which would end up in the store; no query or fragment, as adapters append
 * their path to it. */
int aip_base_url_check(struct aip_str base_url, aip_error **err);

#endif
