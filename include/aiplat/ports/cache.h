/*
 * Port: the read cache. Redis and memory implement it. A miss, a failure and a lie of omission all
 * mean "ask the store", or "run the node": what is put there holds for as long as it is there. That is
 * ended jobs, which cannot change any more, and what nodes have written that are to be kept (graph.h).
 */
#ifndef AIPLAT_PORTS_CACHE_H
#define AIPLAT_PORTS_CACHE_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/op.h>
#include <aiplat/str.h>

AIP_BEGIN_DECLS

struct aip_cache_get {
        struct aip_op op; /* fails quickly (AIP_EUNAVAILABLE) while there is no connection */
        struct aip_str key;
        int ret_is_hit;
        struct aip_buf ret_value; /* caller inits (with a maximum) and deinits it */
};

struct aip_cache_ops {
        size_t self_size;
        const char *name; /* "redis"; static */
        void (*get)(void *self, struct aip_cache_get *get);
        /* Fire and forget: copies what it needs, drops it under pressure. ttl_s > 0. */
        void (*put)(void *self, struct aip_str key, struct aip_str value, int32_t ttl_s);
        void (*ping)(void *self, struct aip_op *op);
};

struct aip_cache {
        const struct aip_cache_ops *ops;
        void *self;
};

AIP_END_DECLS

#endif
