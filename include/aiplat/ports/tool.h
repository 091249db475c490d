/*
 * Port: a tool that models and graphs call. HTTP tools come with the library; write your own by filling in
 * aip_tool_ops, or hand over a function (tool_registry.h).
 */
#ifndef AIPLAT_PORTS_TOOL_H
#define AIPLAT_PORTS_TOOL_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/id.h>
#include <aiplat/op.h>
#include <aiplat/value.h>

AIP_BEGIN_DECLS

/* One call. Zero it, then fill in what applies. */
struct aip_tool_call {
        struct aip_op op; /* op.deadline_ms bounds the call beside the tool's own limit */
        /* set by the caller, borrowed until done */
        const aip_value *arguments;  /* an object; NULL: an empty one */
        const struct aip_id *job_id; /* or NULL */
        const char *trace_id;        /* sent on as traceparent; or NULL */
        /* result */
        aip_value *ret_content; /* a string, or any value, which is told to models as JSON */
        int ret_is_error;       /* the tool itself says that it failed; `ret_content` says how */
        /* the registry's and the tool's, from the call until `done` */
        void *entry, *impl;
        struct aip_timer timer;
};

struct aip_tool_ops {
        size_t self_size;
        void (*call)(void *self, struct aip_tool_call *call); /* required */
        /* Required. Idempotent; the call still ends through `done`, with AIP_ECANCELLED unless it had
         * ended already. Never called after done. */
        void (*cancel)(void *self, struct aip_tool_call *call);
        void (*free)(void *self); /* or NULL; no call is in flight */
};

struct aip_tool {
        const struct aip_tool_ops *ops;
        void *self;
};

AIP_END_DECLS

#endif
