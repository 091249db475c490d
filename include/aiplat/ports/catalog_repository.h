/*
 * Port: where configurations, templates and graphs are kept. Same rules as job_repository.h; the same store
 * object usually implements both, and changes by anyone are told through aip_store_watcher.
 */
#ifndef AIPLAT_PORTS_CATALOG_REPOSITORY_H
#define AIPLAT_PORTS_CATALOG_REPOSITORY_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/catalog.h>
#include <aiplat/op.h>

AIP_BEGIN_DECLS

/* Everything, in one consistent read. A row that breaks the domain's rules (changed by hand) is left
 * out and counted, so that one bad row cannot take the others down. */
struct aip_catalog_load {
        struct aip_op op;
        aip_catalog *ret_catalog; /* owned by caller (unref) */
        size_t ret_n_invalid;
        struct aip_buf ret_invalid; /* one line each: kind, name, reason; caller inits and deinits it */
};

enum aip_put_mode {
        AIP_PUT_CREATE = 0, /* AIP_ECONFLICT when the name exists */
        AIP_PUT_REPLACE,    /* AIP_ENOTFOUND when it does not */
        AIP_PUT_UPSERT
};

struct aip_config_put {
        struct aip_op op;
        const aip_llm_config *config;
        enum aip_put_mode mode;
        aip_llm_config *ret_config; /* as stored, with id and times; owned by caller */
        int ret_is_new;
};

struct aip_template_put {
        struct aip_op op;
        const aip_prompt_template *prompt_template;
        enum aip_put_mode mode;
        aip_prompt_template *ret_template;
        int ret_is_new;
};

struct aip_graph_put {
        struct aip_op op;
        const aip_graph_document *document; /* AIP_EINVAL when longer than AIP_GRAPH_DOCUMENT_MAX_BYTES */
        enum aip_put_mode mode;
        struct aip_graph_entry ret_entry; /* as stored; its document is owned by caller */
        int ret_is_new;
};

struct aip_catalog_delete {
        struct aip_op op;
        struct aip_str name; /* AIP_ENOTFOUND when there is none */
};

struct aip_catalog_repository_ops {
        size_t self_size;
        const char *name;
        void (*load)(void *self, struct aip_catalog_load *load);
        /* The revision that load would answer: a cheap read for the periodic reconciliation. */
        void (*revision)(void *self, struct aip_op *op, int64_t *ret_revision);
        void (*put_config)(void *self, struct aip_config_put *put);
        void (*delete_config)(void *self, struct aip_catalog_delete *del);
        void (*put_template)(void *self, struct aip_template_put *put);
        void (*delete_template)(void *self, struct aip_catalog_delete *del);
        /* The store's own graphs; of those that ship with the library it knows nothing. */
        void (*put_graph)(void *self, struct aip_graph_put *put);
        void (*delete_graph)(void *self, struct aip_catalog_delete *del);
};

struct aip_catalog_repository {
        const struct aip_catalog_repository_ops *ops;
        void *self;
};

AIP_END_DECLS

#endif
