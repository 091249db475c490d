/*
 * The contract of ports/job_repository.h and ports/catalog_repository.h, as tests that every store
 * must pass. A store's own file (store_memory.c, store_sqlite.c …) says how a fresh one is made,
 * and lists the cases with STORE_CONTRACT, so that each is one Criterion test of that suite:
 *
 *     #define CASE(name) Test(sqlite, name) { store_contract_run(&maker, store_contract_##name); }
 *     STORE_CONTRACT(CASE)
 */
#ifndef TESTS_STORE_CONTRACT_H
#define TESTS_STORE_CONTRACT_H

#include <aiplat/adapters.h>

/* How to make the store under test. */
struct store_maker {
        int is_virtual;   /* run it on the virtual loop: it has no threads and no descriptors */
        int is_shareable; /* a second store can be opened on the same database */
        /* Make an empty database of its own for this test. Optional. */
        void (*prepare)(struct store_maker *maker);
        /* Open a store on it; called again for a second one. */
        int (*open)(struct store_maker *maker, const struct aip_store_options *options,
                    struct aip_store *ret_store, aip_error **err);
        void (*dispose)(struct store_maker *maker); /* optional */
        char place[512];                            /* the maker's: a folder, a schema … */
};

struct store_fixture;
typedef void store_case(struct store_fixture *f);

/* One case on a fresh database, migrated. */
void store_contract_run(const struct store_maker *maker, store_case *run);

#define STORE_CONTRACT(X)                                                                          \
        /* store_contract_jobs.c */                                                                \
        X(create_stores_every_field)                                                               \
        X(create_repeated_changes_nothing)                                                         \
        X(create_with_a_used_key)                                                                  \
        X(create_races_for_one_key)                                                                \
        X(create_refuses_what_is_wrong)                                                            \
        X(texts_of_every_size_and_script)                                                          \
        X(fetch_unknown_is_no_error)                                                               \
        X(list_pages_newest_first)                                                                 \
        X(list_filters)                                                                            \
        X(cancel_outcomes)                                                                         \
        X(claim_by_ids)                                                                            \
        X(claim_due_takes_the_longest_due)                                                         \
        X(claim_due_is_fair_to_configurations)                                                     \
        X(claim_due_leaves_out_configurations)                                                     \
        X(claims_never_share_a_job)                                                                \
        X(claim_refuses_what_is_wrong)                                                             \
        X(finish_records_once)                                                                     \
        X(finish_failure_and_retry)                                                                \
        X(finish_is_fenced)                                                                        \
        X(interrupted_jobs_rest_until_they_are_resumed)                                            \
        X(resume_is_refused_but_once)                                                              \
        X(answers_last_as_long_as_the_run)                                                         \
        X(interrupted_jobs_can_be_cancelled)                                                       \
        /* store_contract_threads.c */                                                             \
        X(threads_run_one_job_after_the_other)                                                     \
        X(threads_go_on_however_a_job_ends)                                                        \
        X(threads_refuse_what_would_not_wait)                                                      \
        X(threads_wait_for_an_interrupted_job)                                                     \
        X(threads_do_not_wait_for_each_other)                                                      \
        X(threads_keep_keys)                                                                       \
        X(threads_race_for_a_turn)                                                                 \
        X(threads_race_over_two_stores)                                                            \
        X(threads_interrupt)                                                                       \
        X(threads_roll_back)                                                                       \
        X(threads_tell_of_the_interrupted)                                                         \
        /* store_contract_thread_states.c */                                                       \
        X(threads_tell_how_they_stand)                                                             \
        X(threads_are_listed_in_pages)                                                             \
        X(threads_take_a_state)                                                                    \
        X(threads_refuse_what_is_wrong)                                                            \
        /* store_contract_sessions.c */                                                            \
        X(heartbeat_renews_and_reconciles)                                                         \
        X(heartbeat_of_an_idle_worker)                                                             \
        X(recover_takes_jobs_of_the_lost)                                                          \
        X(recover_spares_the_living)                                                               \
        X(recover_in_portions)                                                                     \
        X(lost_session_claims_nothing)                                                             \
        X(release_by_fence)                                                                        \
        X(release_when_leaving)                                                                    \
        /* store_contract_store.c */                                                               \
        X(outbox_tells_every_transition)                                                           \
        X(sweep_touches_and_forget_removes)                                                        \
        X(sweep_wants_tasks_for_waiting_jobs_only)                                                 \
        X(claim_tells_the_revision)                                                                \
        X(promote_tells_delayed_jobs_once)                                                         \
        X(watchers_hear_of_jobs)                                                                   \
        X(watchers_hear_of_the_catalog)                                                            \
        X(watchers_hear_of_other_stores)                                                           \
        X(catalog_is_shipped)                                                                      \
        X(config_put_modes)                                                                        \
        X(template_put_modes)                                                                      \
        X(graph_put_modes)                                                                         \
        X(graphs_are_kept_exactly)                                                                 \
        X(too_long_graphs_are_refused)                                                             \
        X(watchers_hear_of_graphs)                                                                 \
        X(many_at_once)                                                                            \
        X(too_many_are_refused)                                                                    \
        X(deadline_that_has_passed)                                                                \
        X(migrate_again_changes_nothing)                                                           \
        X(close_ends_everything_once)                                                              \
        /* store_contract_checkpoints.c */                                                         \
        X(checkpoints_are_kept_and_read)                                                           \
        X(checkpoints_are_listed_in_pages)                                                         \
        X(checkpoints_are_fenced)                                                                  \
        X(checkpoints_of_a_later_claim_replace)                                                    \
        X(checkpoints_of_many_at_once)                                                             \
        X(checkpoints_refuse_what_is_wrong)                                                        \
        /* store_contract_graph_runs.c */                                                          \
        X(runs_inside_runs_go_on_after_any_save)                                                   \
        X(runs_inside_runs_keep_their_questions)

#define STORE_CONTRACT_DECLARE(name) void store_contract_##name(struct store_fixture *f);
STORE_CONTRACT(STORE_CONTRACT_DECLARE)

#endif
