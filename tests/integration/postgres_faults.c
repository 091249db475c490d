/* What goes wrong between us and the server: backends ended, frozen, refused; rows it refuses. */
#include "postgres_case.h"
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

REQUIRE_ENV("AIPLAT_TEST_DATABASE_URL");

/* The backends of this test's stores. */
#define OUR_BACKENDS                                                                               \
        " FROM pg_stat_activity WHERE application_name = current_schema() AND "                    \
        "pid <> pg_backend_pid()"

/* Under load, with every connection ended again and again: nothing is lost, nothing is there twice.
 */
POSTGRES_CASE(postgres_faults, backends_ended_under_load)
{
        enum { N = 3000 };
        static struct aip_job_create creates[N];
        PGconn *outside = postgres_schema_connect(&the_schema);

        for (int i = 0; i < N; i++) {
                creates[i].job = job_make(f, "p", 0);
                creates[i].op.deadline_ms = aip_now_ms(f->loop) + 60000;
                START(f, create, &creates[i]);
                if (i % 500 == 499) {
                        run_for(f, 3);
                        postgres_run(outside, "SELECT pg_terminate_backend(pid)" OUR_BACKENDS, NULL,
                                     0);
                }
        }
        for (int i = 0; i < N; i++) {
                op_await(f, &creates[i].op, 0);
                cr_assert_eq(creates[i].ret_outcome, AIP_CREATE_CREATED);
                aip_job_free((aip_job *)creates[i].job);
        }
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM jobs"), N);
        cr_assert_eq(postgres_number(outside, "SELECT coalesce(sum(n), 0)::bigint FROM outbox"), N);
        PQfinish(outside);
}

/* What a worker does, with its connections ended: every finish that was answered is recorded once.
 */
POSTGRES_CASE(postgres_faults, backends_ended_under_work)
{
        enum { N = 300 };
        static struct aip_job_finish finishes[N];
        struct aip_id session = next_id(f);
        PGconn *outside = postgres_schema_connect(&the_schema);

        for (int i = 0; i < N; i++)
                job_create(f, "p", 0);
        struct aip_job_claim claim = {
                .session = session, .lease_ms = LEASE_LONG_MS, .limit = AIP_STORE_BATCH_MAX};
        DO(f, claim, &claim);
        cr_assert_eq(claim.ret_n, N);
        for (int i = 0; i < N; i++) {
                struct aip_job_outcome outcome = {.self_size = sizeof(outcome), .result = S("r")};
                finishes[i].job = claim.ret_jobs[i];
                finishes[i].op.deadline_ms = aip_now_ms(f->loop) + 60000;
                aip_job_complete(claim.ret_jobs[i], &outcome, wall_us(f), &finishes[i].transition,
                                 NULL);
                START(f, finish, &finishes[i]);
                if (i % 60 == 59)
                        postgres_run(outside, "SELECT pg_terminate_backend(pid)" OUR_BACKENDS, NULL,
                                     0);
                if (i % 60 == 30)
                        run_for(f, 1);
        }
        for (int i = 0; i < N; i++) {
                op_await(f, &finishes[i].op, 0);
                cr_assert_eq(finishes[i].ret_outcome, AIP_FINISH_RECORDED);
        }
        cr_assert_eq(postgres_number(outside,
                                     "SELECT count(*) FROM jobs WHERE status = 'COMPLETED' "
                                     "AND version = 3"),
                     N);
        cr_assert_eq(
                postgres_number(
                        outside,
                        "SELECT count(*) FROM outbox, unnest(transitions) t WHERE t.version = 3"),
                N);
        free_jobs(claim.ret_jobs, claim.ret_n);
        free(claim.ret_transitions);
        PQfinish(outside);
}

struct heard {
        struct aip_store_watcher watcher;
        int n_connected;
};

static void on_connected(struct aip_store_watcher *watcher)
{
        AIP_CONTAINER_OF(watcher, struct heard, watcher)->n_connected++;
}

/* The listener comes back by itself and says that everything is to be looked at. */
POSTGRES_CASE(postgres_faults, listener_comes_back)
{
        struct heard heard = {.watcher = {.on_connected = on_connected}};
        PGconn *outside = postgres_schema_connect(&the_schema);

        f->store.jobs.ops->watch(f->store.jobs.self, &heard.watcher);
        run_until(f, &heard.n_connected);
        heard.n_connected = 0;
        postgres_run(outside, "SELECT pg_terminate_backend(pid)" OUR_BACKENDS, NULL, 0);
        run_until(f, &heard.n_connected);
        f->store.jobs.ops->unwatch(f->store.jobs.self, &heard.watcher);
        PQfinish(outside);
}

/* A server that is frozen while it owes an answer: the caller hears at its deadline, the connection
 * is given up after some seconds, and the next call has a new one. */
POSTGRES_CASE(postgres_faults, frozen_backend)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_op ping = {0};
        aip_job *job = job_make(f, "p", 0);
        struct aip_job_create create = {.job = job};
        int64_t begun_ms;
        pid_t backend;

        job_create(f, "p", 0); /* connects */
        backend = (pid_t)postgres_number(outside, "SELECT pid" OUR_BACKENDS
                                                  " AND query LIKE '%idempotency_keys%'");
        cr_assert_gt(backend, 1);
        if (kill(backend, SIGSTOP) < 0)
                cr_skip_test("the server's processes are not ours to stop");
        begun_ms = aip_now_ms(f->loop);
        create.op.deadline_ms = begun_ms + 500;
        DO_CODE(f, create, &create, AIP_ETIMEOUT);
        cr_assert_lt(aip_now_ms(f->loop) - begun_ms, 2000);
        op_begin(f, &ping); /* other connections go on meanwhile */
        f->store.jobs.ops->ping(f->store.jobs.self, &ping);
        op_await(f, &ping, 0);
        create.op.deadline_ms = begun_ms + 25000;
        DO(f, create, &create);
        cr_assert_eq(create.ret_outcome, AIP_CREATE_CREATED);
        kill(backend, SIGCONT);
        aip_job_free(job);
        PQfinish(outside);
}

/* A port where nobody listens, and one where somebody accepts and says nothing. */
POSTGRES_CASE(postgres_faults, no_server)
{
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
        socklen_t n = sizeof(address);
        int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char url[128];

        cr_assert_eq(bind(silent, (struct sockaddr *)&address, sizeof(address)), 0);
        cr_assert_eq(getsockname(silent, (struct sockaddr *)&address, &n), 0);
        for (int is_listening = 0; is_listening < 2; is_listening++) {
                snprintf(url, sizeof(url), "postgresql://u:secret@127.0.0.1:%d/d",
                         ntohs(address.sin_port));
                if (is_listening)
                        cr_assert_eq(listen(silent, 8), 0);
                struct aip_store store = postgres_store_open(f, url);
                struct aip_job_fetch fetch = {.id = next_id(f)};
                fetch.op.deadline_ms = aip_now_ms(f->loop) + 400;
                START_ON(f, store.jobs, fetch, &fetch);
                while (!op_is_done(&fetch.op))
                        run_for(f, 5);
                cr_assert_eq(aip_error_code(fetch.op.err), AIP_EUNAVAILABLE);
                cr_assert(aip_error_is_retryable(fetch.op.err));
                cr_assert_null(strstr(aip_error_message(fetch.op.err), "secret"));
                op_await(f, &fetch.op, AIP_EUNAVAILABLE);
                postgres_store_close(f, &store);
        }
        close(silent);
}

Test(postgres_faults, bad_url)
{
        aip_uv_loop *uv = NULL;
        struct aip_store_options options = {.self_size = sizeof(options)};
        struct aip_store store;
        aip_error *err = NULL;

        cr_assert_eq(aip_uv_loop_new(&uv, NULL), 0);
        options.loop = aip_uv_loop_port(uv);
        options.random = aip_random_system();
        options.url = "postgresql://u:s3cret@[::1/d";
        cr_assert_eq(aip_postgres_store_new(&options, &store, &err), AIP_EINVAL);
        cr_assert_null(strstr(aip_error_message(err), "s3cret"));
        aip_error_free(err);
        aip_uv_loop_free(uv);
}

/* Rows that only the server can refuse, among many that it should not. (Callers check JSON; this is
 * what happens if one does not.) */
POSTGRES_CASE(postgres_faults, one_bad_row_spoils_no_other)
{
        enum { N = 300 };
        static struct aip_job_create creates[N];
        static const char *const bad[] = {"{\"a\": \"\\u0000\"}", "{not json", "{\"a\": 1"};
        PGconn *outside = postgres_schema_connect(&the_schema);
        long n_good = 0;

        for (int i = 0; i < N; i++) {
                struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
                spec.prompt = S("p");
                spec.metadata_json = S(i % 97 == 13 ? bad[i / 97 % 3] : "{\"n\": [1, 2.5, \"x\"]}");
                creates[i].job = job_make_from(f, &spec);
                START(f, create, &creates[i]);
        }
        for (int i = 0; i < N; i++) {
                int is_bad = i % 97 == 13;
                op_await(f, &creates[i].op, is_bad ? AIP_EINVAL : 0);
                n_good += !is_bad;
                aip_job_free((aip_job *)creates[i].job);
        }
        cr_assert_eq(postgres_number(outside, "SELECT count(*) FROM jobs"), n_good);
        cr_assert_eq(postgres_number(outside, "SELECT coalesce(sum(n), 0)::bigint FROM outbox"),
                     n_good);
        PQfinish(outside);
}

/* The server gives a statement up (statement_timeout, here an administrator): nothing happened. */
POSTGRES_CASE(postgres_faults, statement_cancelled)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_id id = job_create(f, "p", 0);
        struct aip_job_cancellation cancellation = {.id = id};
        char sql[256], text[AIP_ID_TEXT_BYTES];

        snprintf(sql, sizeof(sql), "BEGIN; SELECT 1 FROM jobs WHERE id = '%s' FOR UPDATE",
                 aip_id_format(&id, text));
        postgres_run(outside, sql, NULL, 0);
        START(f, cancel, &cancellation);
        run_for(f, 200);
        postgres_run(outside,
                     "SELECT pg_cancel_backend(pid)" OUR_BACKENDS " AND wait_event_type = 'Lock'",
                     NULL, 0);
        op_await(f, &cancellation.op, AIP_ETIMEOUT);
        postgres_run(outside, "ROLLBACK", NULL, 0);
        DO(f, cancel, &cancellation);
        cr_assert_eq(cancellation.ret_outcome, AIP_CANCEL_CANCELLED);
        PQfinish(outside);
}

/* Prepared statements that vanish under us (DISCARD by a pooler) cost one reconnect, no answer. */
POSTGRES_CASE(postgres_faults, schema_changed_underneath)
{
        PGconn *outside = postgres_schema_connect(&the_schema);
        struct aip_id id = job_create(f, "p", 0);

        aip_job_free(job_fetch(f, id));
        postgres_run(outside, "ALTER TABLE jobs ALTER COLUMN attempt TYPE bigint", NULL, 0);
        postgres_run(outside, "ALTER TABLE jobs ALTER COLUMN attempt TYPE integer", NULL, 0);
        aip_job_free(job_fetch(f, id));
        job_create(f, "p", 0);
        PQfinish(outside);
}
