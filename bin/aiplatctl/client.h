/* Calls to the gateway, one after the other. */
#ifndef AIPLATCTL_CLIENT_H
#define AIPLATCTL_CLIENT_H

#include <aiplat/value.h>

#define CLIENT_MAX_BYTES ((size_t)256 << 20)

struct reply {
        long status;
        struct aip_buf body;
        aip_value *value; /* the body, when it is JSON; or NULL */
};

struct call {
        const char *url; /* of the gateway */
        const char *method;
        struct aip_str path; /* escaped, with its query */
        const aip_value *body;
        const char *idempotency_key;
        long timeout_s; /* 0: 30 */
};

/* Send and wait for the answer. AIP_EUNAVAILABLE when there was none; whatever the gateway answered
 * is no error here. Connection failures are tried again, three times in all, when that is safe. */
int client_call(const struct call *call, struct reply *ret_reply, aip_error **err);
void reply_deinit(struct reply *reply);

/* Print what the gateway refused, with its reason; returns the exit code for it. */
int client_refused(const struct reply *reply);

/* Append `text` to a URL. */
int client_escape(struct aip_buf *url, struct aip_str text);

#endif
