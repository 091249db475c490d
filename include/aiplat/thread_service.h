/*
 * Thread service: threads as a whole. Which there are, the state of one at any of its checkpoints, its history,
 * and writing to its state as a node of its graph. The gateway's /v1/threads is a thin layer over it. Loop
 * thread only; all operations follow op.h.
 */
#ifndef AIPLAT_THREAD_SERVICE_H
#define AIPLAT_THREAD_SERVICE_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/catalog_service.h>
#include <aiplat/graph_registry.h>
#include <aiplat/ports/thread_repository.h>

AIP_BEGIN_DECLS

typedef struct aip_thread_service aip_thread_service;

struct aip_thread_service_options {
        size_t self_size;
        struct aip_loop loop;
        struct aip_thread_repository threads;
        struct aip_checkpoint_store checkpoints;
        struct aip_job_repository jobs;
        aip_catalog_service *catalog; /* borrowed */
        aip_tool_registry *tools;     /* that graphs may name; borrowed; NULL: only their own */
        const aip_graph_registry *graphs; /* graphs of code; borrowed; NULL: none */
};

AIP_API int aip_thread_service_new(const struct aip_thread_service_options *options,
                                   aip_thread_service **ret_service, aip_error **err);
/* All operations must have ended before. Accepts NULL. */
AIP_API void aip_thread_service_free(aip_thread_service *service);

/* One (`id`) or a page of them: ports/thread_repository.h. */
AIP_API void aip_thread_service_list(aip_thread_service *service, struct aip_thread_list *list);

/* A page of a thread's checkpoints, newest first: list.owner is the thread. */
struct aip_thread_history {
        struct aip_op op;
        struct aip_checkpoint_list list;
        int ret_is_found; /* whether there is such a thread */
        struct aip_thread_list look; /* the service's, as is what follows */
        aip_thread_service *service;
};
AIP_API void aip_thread_service_history(aip_thread_service *service,
                                        struct aip_thread_history *history);

/* The state at a checkpoint. */
struct aip_thread_state {
        struct aip_op op;
        struct aip_id id;
        int64_t checkpoint; /* 0: the last */
        int ret_is_found;
        struct aip_checkpoint ret_checkpoint; /* without texts */
        aip_value *ret_image; /* owned by caller: an image (graph_run.h), whose "channels" are the values */
        struct aip_checkpoint_load load; /* the service's, as is what follows */
        aip_thread_service *service;
};
AIP_API void aip_thread_service_state(aip_thread_service *service, struct aip_thread_state *state);

/*
 * Write values to the state of a thread, as aip_graph_update_state() does, and keep what comes of it as its next
 * checkpoint: what was before stays readable, and another update, or a job, may begin at any. The graph is that
 * of the job which made the checkpoint, unless it is named. A thread that is not there comes into being; then the
 * graph must be named.
 *
 * AIP_ECONFLICT: a job of the thread has not ended, or another update came between; AIP_ENOTFOUND: there is no
 * such checkpoint or graph; AIP_EINVAL: the graph has no such node or channel, keeps no state, or must be named.
 */
struct aip_thread_write {
        struct aip_op op;
        struct aip_id id;
        int64_t checkpoint;      /* of the thread: write to this state; 0: to the last */
        const aip_value *values; /* an object, a member a channel; or NULL; borrowed, as are the names */
        struct aip_str as_node;  /* empty: what comes next stays */
        struct aip_str graph_name; /* empty: that of the job */
        int64_t ret_checkpoint;

        /* the service's */
        aip_thread_service *service;
        struct aip_checkpoint_list last;
        struct aip_checkpoint_load load;
        struct aip_job_fetch fetch;
        struct aip_thread_update update;
        aip_value *image;
        struct aip_buf place, changes;
        int64_t top;
};
AIP_API void aip_thread_service_write(aip_thread_service *service, struct aip_thread_write *write);

AIP_END_DECLS

#endif
