/*
 * Catalog service: keeps the current snapshot of configurations, templates and graphs. It loads when
 * it is started, again whenever the store says that something changed or that the connection is
 * new, and compares revisions every few seconds besides; the new snapshot replaces the old one at
 * once, and whoever holds the old one keeps it until he is done. Loop thread only.
 */
#ifndef AIPLAT_CATALOG_SERVICE_H
#define AIPLAT_CATALOG_SERVICE_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/log.h>
#include <aiplat/ports/catalog_repository.h>
#include <aiplat/ports/job_repository.h>
#include <aiplat/tool_registry.h>

AIP_BEGIN_DECLS

typedef struct aip_catalog_service aip_catalog_service;

struct aip_catalog_service_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_catalog_repository catalog;
        struct aip_job_repository jobs; /* its watch() tells of changes */
        int64_t reconcile_ms;           /* 0: 5,000 */
        aip_tool_registry *tools;       /* that graphs may name; borrowed; NULL: only their own */
};

AIP_API int aip_catalog_service_new(const struct aip_catalog_service_options *options,
                                    aip_catalog_service **ret_service, aip_error **err);
/* Begin to load: when the store's schema is there. */
AIP_API void aip_catalog_service_start(aip_catalog_service *service);
/* Stops watching and ends waits; `op` is done when nothing is in flight any more and the service is
 * freed. */
AIP_API void aip_catalog_service_close(aip_catalog_service *service, struct aip_op *op);

/* The current snapshot, borrowed until the loop's next turn (take a reference to keep it); NULL
 * until the first load. */
AIP_API const aip_catalog *aip_catalog_service_current(const aip_catalog_service *service);

/* Done when there is a snapshot (AIP_EUNAVAILABLE when op.deadline_ms passes first). */
AIP_API void aip_catalog_service_wait(aip_catalog_service *service, struct aip_op *op);

/* Done when a load that began after this call has ended, well or not: for those who miss something in
 * the snapshot that another process may have stored a moment ago. */
AIP_API void aip_catalog_service_refresh(aip_catalog_service *service, struct aip_op *op);

/* Changes go to the store (ports/catalog_repository.h) through these, and the snapshot is reloaded
 * before `done`, so that whoever changed something sees it. */
AIP_API void aip_catalog_service_put_config(aip_catalog_service *service,
                                            struct aip_config_put *put);
AIP_API void aip_catalog_service_delete_config(aip_catalog_service *service,
                                               struct aip_catalog_delete *del);
AIP_API void aip_catalog_service_put_template(aip_catalog_service *service,
                                              struct aip_template_put *put);
AIP_API void aip_catalog_service_delete_template(aip_catalog_service *service,
                                                 struct aip_catalog_delete *del);
/* AIP_ECONFLICT for creating a graph of a shipped one's name (replace it with AIP_PUT_UPSERT), and for
 * deleting one that only ships. */
AIP_API void aip_catalog_service_put_graph(aip_catalog_service *service,
                                           struct aip_graph_put *put);
AIP_API void aip_catalog_service_delete_graph(aip_catalog_service *service,
                                              struct aip_catalog_delete *del);

/* What must hold for a graph to be put, besides what a document checks of itself: whether its nodes can
 * be made. Refuses with AIP_EINVAL and a message that begins with a JSON pointer into the document. Until
 * this is called: the node types that the processing service has. NULL: every document passes. */
AIP_API void aip_catalog_service_check_graphs(aip_catalog_service *service,
                                              int (*check)(void *self,
                                                           const aip_graph_document *document,
                                                           aip_error **err),
                                              void *self);
/* The check alone, nothing is stored. */
AIP_API int aip_catalog_service_check_graph(const aip_catalog_service *service,
                                            const aip_graph_document *document, aip_error **err);

AIP_END_DECLS

#endif
