/*
 * A job repository that fails on purpose, around one that works: for the suites of the services,
 * for the simulation, and for the programs of a fault build (libaiplat/runtime/fault_store.c). What
 * goes wrong is told by a script (the next calls of one kind) or by chance
 * (seeded). It never changes what the store behind it does, only whether and when the caller hears.
 */
#ifndef AIPLAT_TESTS_FAULTY_JOBS_H
#define AIPLAT_TESTS_FAULTY_JOBS_H

#include <aiplat/loops.h>
#include <aiplat/ports/job_repository.h>

enum job_call {
        CALL_CREATE,
        CALL_FETCH,
        CALL_LIST,
        CALL_CANCEL,
        CALL_CLAIM,
        CALL_FINISH,
        CALL_RESUME,
        CALL_HEARTBEAT,
        CALL_RELEASE,
        CALL_PROMOTE,
        CALL_RECOVER,
        CALL_SWEEP,
        CALL_FORGET,
        CALL_PING,
        N_JOB_CALLS
};

enum fault {
        FAULT_NONE,
        FAULT_BEFORE, /* nothing happened: AIP_EUNAVAILABLE */
        FAULT_AFTER,  /* it happened, the caller is told AIP_ETIMEOUT, at once */
        FAULT_TOLD_FAILED,  /* it happened, the caller is told AIP_EUNAVAILABLE, at once */
        FAULT_TOLD_TIMEOUT, /* it happened, the caller hears nothing until its deadline passes */
        FAULT_NOMEM,        /* nothing happened: AIP_ENOMEM */
        N_FAULTS
};

#define FAULT_CHANCE_ALWAYS 1000000

struct faulty_jobs {
        struct aip_loop loop;
        struct aip_job_repository inner;
        struct aip_seeded_random generator;
        struct aip_random random;

        /* by script: the next `n` calls of a kind */
        struct {
                enum fault fault;
                int n;
        } script[N_JOB_CALLS];
        /* by chance, each in millionths; those of all faults together at most FAULT_CHANCE_ALWAYS */
        uint32_t chances[N_FAULTS];
        int lost_hints_permille;
        int64_t delay_ms; /* each call and each answer takes up to so long; exactly, with is_exact */
        int is_exact;
        int is_cut_off; /* nothing gets through in either direction; calls time out */

        unsigned n_calls[N_JOB_CALLS];
        size_t n_in_flight;

        struct aip_store_watcher watcher; /* on the inner store */
        struct aip_store_watcher *watchers;
};

void faulty_jobs_open(struct faulty_jobs *faulty, struct aip_loop loop,
                      struct aip_job_repository inner, uint64_t seed);
struct aip_job_repository faulty_jobs_port(struct faulty_jobs *faulty);
/* No call may be in flight. */
void faulty_jobs_close(struct faulty_jobs *faulty);

#endif
