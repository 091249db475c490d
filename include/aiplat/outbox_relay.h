/*
 * Outbox relay: takes transitions that the store has committed, publishes their task message and
 * domain events, and removes the outbox rows once the broker has confirmed. It also does the
 * housekeeping that any process may do: sweeping rows whose publisher died, promoting delayed jobs
 * whose time has come, and recovering the jobs of dead workers. Loop thread only.
 */
#ifndef AIPLAT_OUTBOX_RELAY_H
#define AIPLAT_OUTBOX_RELAY_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/log.h>
#include <aiplat/metrics.h>
#include <aiplat/ports/job_repository.h>
#include <aiplat/ports/queue.h>

AIP_BEGIN_DECLS

typedef struct aip_outbox_relay aip_outbox_relay;

struct aip_outbox_relay_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_job_repository jobs;
        struct aip_queue queue;
        size_t max_waiting;      /* transitions in memory; beyond, they are left to the sweep; 0: 20,000 */
        int64_t sweep_age_ms;    /* rows untouched for this long are swept; 0: 5,000 */
        int64_t sweep_every_ms;  /* 0: 1,000 */
        int64_t promote_every_ms; /* at most; sooner when the next is known to be due; 0: 500 */
        int64_t recover_every_ms; /* 0: 1,000 */
        uint32_t muted_events; /* as the store's: 1u << aip_job_event_type; 0: all are published */
        aip_metrics *metrics;  /* borrowed; NULL: nobody asks */
};

AIP_API int aip_outbox_relay_new(const struct aip_outbox_relay_options *options,
                                 aip_outbox_relay **ret_relay, aip_error **err);

/* Begin the chores: when the store's schema is there. */
AIP_API void aip_outbox_relay_start(aip_outbox_relay *relay);

/* Publish a committed transition soon. Copies it. Never fails: what cannot be held is swept later. */
AIP_API void aip_outbox_relay_push(aip_outbox_relay *relay,
                                   const struct aip_transition *transition);

/* A job of a thread has ended, and another one's turn may have come: look for what is due within some
 * milliseconds, and not at the next regular time. */
AIP_API void aip_outbox_relay_promote_soon(aip_outbox_relay *relay);

/* Transitions in memory that are not confirmed yet. */
AIP_API size_t aip_outbox_relay_waiting(const aip_outbox_relay *relay);

/* Stop the chores, let what is in flight end (until op.deadline_ms), free the relay; then `op`. */
AIP_API void aip_outbox_relay_close(aip_outbox_relay *relay, struct aip_op *op);

AIP_END_DECLS

#endif
