/*
 * Keeps the run of a claimed job in the checkpoint store, and finds what an earlier claim of it has kept:
 * between the graph runner's saver port and the store's. For job_run.c; loop thread only.
 */
#ifndef AIPLAT_APPLICATION_JOB_SAVER_H
#define AIPLAT_APPLICATION_JOB_SAVER_H

#include <aiplat/graph_run.h>
#include <aiplat/ports/checkpoint_store.h>

struct aip_job_saver {
        struct aip_loop loop;
        struct aip_checkpoint_store store;
        struct aip_fence fence;
        struct aip_id owner;
        /* What was loaded has come: `image` is where to go on, NULL: nowhere yet. Never from within a
         * call. */
        void (*loaded)(struct aip_job_saver *saver);

        aip_value *image; /* owned */
        int64_t n, base;  /* of the checkpoint that the run stands on; 0: none */
        int64_t top;      /* the last there is: its number */
        int64_t fork_n;   /* begin at this one (AIP_JOB_NO_STATE: at none), unless this job has begun; 0: at the last */
        struct aip_id made_by; /* whose run made the image */
        size_t base_bytes, since_bytes;
        int is_stale;  /* the store has refused: the job is not ours any more */
        int is_given_up; /* what the store does not take now is not tried again */
        int is_loading;
        int is_to_go_on; /* where the image stands, whoever made it: the job brings no input */
        int is_forking;  /* what it begins with is being kept as its own */

        struct aip_checkpoint_load load;
        struct aip_checkpoint_save op;
        struct aip_graph_save *save; /* in flight; NULL: none */
        struct aip_buf place, changes;
        struct aip_checkpoint_task *tasks;
        size_t n_tasks;
        struct aip_timer retry;
        int64_t retry_ms;
};

void aip_job_saver_init(struct aip_job_saver *saver, struct aip_loop loop,
                        struct aip_checkpoint_store store, const struct aip_fence *fence,
                        const struct aip_id *owner);
/* Nothing may be in flight. Works on zeroed memory. */
void aip_job_saver_deinit(struct aip_job_saver *saver);

/* Find the last checkpoint; `loaded` comes once, also after give_up (then without an image, perhaps). */
void aip_job_saver_load(struct aip_job_saver *saver);
/* The image is one that this job has made, not the state in which its thread was before. */
int aip_job_saver_goes_on(const struct aip_job_saver *saver);
/* What was loaded is not the last: what is saved next must not build on what is between. */
int aip_job_saver_forks(const struct aip_job_saver *saver);
struct aip_graph_saver aip_job_saver_port(struct aip_job_saver *saver);
/* The run is to stop: what waits to be tried again is not. */
void aip_job_saver_give_up(struct aip_job_saver *saver);

#endif
