/*
 * What the cases of the store contract stand on: a loop, a store on a fresh database, and verbs
 * that start an operation, wait for it, and insist that `done` came once, later, and with the code
 * that was expected. Included by the store_contract_*.c files only.
 */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include "store_contract.h"
#include <aiplat/loops.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct store_fixture {
        struct store_maker maker;
        struct aip_loop loop;
        aip_uv_loop *uv;   /* or */
        aip_sim_loop *sim; /* when the maker is virtual */
        struct aip_store store;
        struct aip_seeded_random random;
        struct aip_id_source ids;
        int is_calling; /* inside a call to the store: nothing may be done now */
        int n_awaited;  /* of op_begin()s not done yet */
};

/* Prepare `op` for a call: its `done` then counts into op->user. */
void op_begin(struct store_fixture *f, struct aip_op *op);
int op_is_done(const struct aip_op *op);
/* Run the loop until `op` is done; its code must be `code` (0: success). Frees the error. */
void op_await(struct store_fixture *f, struct aip_op *op, int code);
void run_for(struct store_fixture *f, int64_t ms);
/* Run until *flag is not zero: at most some seconds, then the test fails. */
void run_until(struct store_fixture *f, const int *flag);

/* Start an operation of one of the two ports … */
#define START_ON(f, ops_and_self, method, request)                                                 \
        do {                                                                                       \
                op_begin((f), &(request)->op);                                                     \
                (f)->is_calling = 1;                                                               \
                (ops_and_self).ops->method((ops_and_self).self, (request));                        \
                (f)->is_calling = 0;                                                               \
        } while (0)
#define START(f, method, request)         START_ON(f, (f)->store.jobs, method, request)
#define START_CATALOG(f, method, request) START_ON(f, (f)->store.catalog, method, request)
/* … and wait for its success, or for a code. */
#define DO_CODE(f, method, request, code)                                                          \
        do {                                                                                       \
                START(f, method, request);                                                         \
                op_await((f), &(request)->op, (code));                                             \
        } while (0)
#define DO(f, method, request) DO_CODE(f, method, request, 0)
#define DO_CATALOG_CODE(f, method, request, code)                                                  \
        do {                                                                                       \
                START_CATALOG(f, method, request);                                                 \
                op_await((f), &(request)->op, (code));                                             \
        } while (0)
#define DO_CATALOG(f, method, request) DO_CATALOG_CODE(f, method, request, 0)

struct aip_id next_id(struct store_fixture *f);
int64_t wall_us(struct store_fixture *f);
/* A job with this prompt that is due after delay_ms. Owned by caller. */
aip_job *job_make(struct store_fixture *f, const char *prompt, int64_t delay_ms);
aip_job *job_make_from(struct store_fixture *f, struct aip_job_spec *spec);
/* Make and store one; its id. */
struct aip_id job_create(struct store_fixture *f, const char *prompt, int64_t delay_ms);
struct aip_id job_create_from(struct store_fixture *f, struct aip_job_spec *spec);
/* As stored; owned by caller; must be there. */
aip_job *job_fetch(struct store_fixture *f, struct aip_id id);
void expect_job(struct store_fixture *f, struct aip_id id, enum aip_job_status status,
                int64_t version, int attempt);
void expect_same_job(const aip_job *a, const aip_job *b);
void free_jobs(aip_job **jobs, size_t n);

/* A session with a long lease. Claims exactly one job, by id; owned by caller. */
aip_job *job_claim(struct store_fixture *f, struct aip_id session, struct aip_id id,
                   int64_t lease_ms);
/* 1 when the claim by id got the job (given back as it is: PROCESSING). */
int job_can_be_claimed(struct store_fixture *f, struct aip_id id);
struct aip_fence fence_of(const aip_job *job);
/* Moves `job` on by completing it, and records it. */
enum aip_finish_outcome job_complete(struct store_fixture *f, aip_job *job, const char *result);
enum aip_finish_outcome job_fail(struct store_fixture *f, aip_job *job, int is_retryable);

/* Runs one of promote, recover, sweep; the transitions are owned by caller. */
enum chore { CHORE_PROMOTE, CHORE_RECOVER, CHORE_SWEEP };
size_t do_chore(struct store_fixture *f, enum chore chore, size_t limit, int64_t min_age_ms,
                struct aip_transition **ret_transitions, int64_t *ret_next_ms);
/* The same when only the number matters. */
size_t count_chore(struct store_fixture *f, enum chore chore, size_t limit, int64_t min_age_ms);
void forget(struct store_fixture *f, const int64_t *outbox_ids, size_t n);
/* Empty the outbox; how many rows there were. */
size_t forget_all(struct store_fixture *f);

aip_catalog *catalog_load(struct store_fixture *f);
int64_t catalog_revision(struct store_fixture *f);

#define LEASE_LONG_MS  60000
#define LEASE_SHORT_MS 40
#define S(literal)     aip_str_of(literal)

#endif
