/*
 * What is particular to the SQLite store: it survives kill -9 at any moment, several processes may
 * work on one file, and its troubles (a lock, a full disk, a strange or damaged file) are told
 * plainly. The contract itself is tests/contract/store_sqlite.c.
 */
#include "sqlite_files.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- kill -9 ------------------------------------------------------------------------------- */

#define IN_FLIGHT 64

struct report {
        struct aip_id id;
        int is_completed; /* else: created */
};

struct writing {
        struct store_fixture *f;
        int fd;
        struct writing_lane {
                struct writing *writing;
                struct aip_job_create create;
                struct aip_job_claim claim;
                struct aip_job_finish finish;
                struct aip_id id;
        } lanes[IN_FLIGHT];
};

static void lane_create(struct writing_lane *lane);

static void lane_report(struct writing_lane *lane, int is_completed)
{
        struct report report = {lane->id, is_completed};

        if (write(lane->writing->fd, &report, sizeof(report)) != sizeof(report))
                _exit(1);
}

static void on_finished(struct aip_op *op)
{
        struct writing_lane *lane = op->user;

        if (!op->err && lane->finish.ret_outcome == AIP_FINISH_RECORDED)
                lane_report(lane, 1);
        aip_job_free((aip_job *)lane->finish.job);
        lane_create(lane);
}

static void on_claimed(struct aip_op *op)
{
        struct writing_lane *lane = op->user;
        struct store_fixture *f = lane->writing->f;
        struct aip_job_outcome outcome = {.self_size = sizeof(outcome), .result = S("done")};
        aip_job *job;

        if (op->err || lane->claim.ret_n != 1)
                _exit(2);
        job = lane->claim.ret_jobs[0];
        free(lane->claim.ret_jobs);
        free(lane->claim.ret_transitions);
        lane->finish = (struct aip_job_finish){.op = {.done = on_finished, .user = lane}};
        lane->finish.job = job;
        if (aip_job_complete(job, &outcome, wall_us(f), &lane->finish.transition, NULL) < 0)
                _exit(3);
        f->store.jobs.ops->finish(f->store.jobs.self, &lane->finish);
}

static void on_created(struct aip_op *op)
{
        struct writing_lane *lane = op->user;
        struct store_fixture *f = lane->writing->f;

        if (op->err)
                _exit(4);
        lane_report(lane, 0);
        aip_job_free((aip_job *)lane->create.job);
        lane->claim = (struct aip_job_claim){.op = {.done = on_claimed, .user = lane},
                                             .session = lane->id,
                                             .lease_ms = LEASE_LONG_MS,
                                             .ids = &lane->id,
                                             .n_ids = 1,
                                             .limit = 1};
        f->store.jobs.ops->claim(f->store.jobs.self, &lane->claim);
}

static void lane_create(struct writing_lane *lane)
{
        struct store_fixture *f = lane->writing->f;
        aip_job *job = job_make(f, "written until killed", 0);

        lane->id = aip_job_fields(job)->id;
        lane->create =
                (struct aip_job_create){.op = {.done = on_created, .user = lane}, .job = job};
        f->store.jobs.ops->create(f->store.jobs.self, &lane->create);
}

static int report_fd;

static void write_for_ever(struct store_fixture *f)
{
        static struct writing writing;
        struct aip_random random = aip_random_system();

        aip_id_source_init(&f->ids, random); /* the seeded one would repeat the last child's ids */
        writing.f = f;
        writing.fd = report_fd;
        for (int i = 0; i < IN_FLIGHT; i++) {
                writing.lanes[i].writing = &writing;
                lane_create(&writing.lanes[i]);
        }
        run_for(f, 60000);
}

static void child_writes(const struct store_maker *maker, void *user)
{
        report_fd = *(int *)user;
        store_contract_run(maker, write_for_ever);
}

/* What the parent was told. */
static struct report *reports;
static size_t n_reports, reports_capacity;

static void read_reports(int fd)
{
        struct report report;

        while (read(fd, &report, sizeof(report)) == sizeof(report)) {
                if (n_reports == reports_capacity) {
                        reports_capacity = 2 * reports_capacity + 1024;
                        reports = realloc(reports, reports_capacity * sizeof(*reports));
                        cr_assert_not_null(reports);
                }
                reports[n_reports++] = report;
        }
}

/* Until the child is at work, however busy the machine is. */
static void wait_for_report(int fd)
{
        struct pollfd readable = {.fd = fd, .events = POLLIN};

        cr_assert_eq(poll(&readable, 1, 20000), 1, "the child wrote nothing");
}

static void check_reports(struct store_fixture *f)
{
        for (size_t i = 0; i < n_reports; i++) {
                aip_job *job = job_fetch(f, reports[i].id);
                if (reports[i].is_completed)
                        cr_assert_eq(aip_job_fields(job)->status, AIP_JOB_COMPLETED,
                                     "a recorded result is lost");
                aip_job_free(job);
        }
}

Test(sqlite_files, kill_9_loses_nothing_that_was_acknowledged, .timeout = 60)
{
        struct store_maker maker = files_new();

        for (int round = 0; round < 4; round++) {
                int ends[2];
                pid_t pid;
                cr_assert_eq(pipe(ends), 0);
                pid = child_start(child_writes, &maker, &ends[1]);
                close(ends[1]);
                wait_for_report(ends[0]);
                usleep(50000 + 37000 * (unsigned)round);
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                read_reports(ends[0]);
                close(ends[0]);
                cr_assert_gt(n_reports, 0, "the child wrote nothing");
                store_contract_run(&maker, check_reports);
                cr_assert_eq(files_number(&maker, "SELECT count(*) FROM pragma_integrity_check "
                                                  "WHERE integrity_check = 'ok'"),
                             1);
        }
        /* Every transition of every job has its row, and no row is without its job. */
        cr_assert_eq(files_number(&maker, "SELECT sum(version) FROM jobs"),
                     files_number(&maker, "SELECT count(*) FROM outbox"));
        free(reports);
        files_remove(&maker);
}

/* --- several processes --------------------------------------------------------------------- */

#define SHARED_JOBS 300

static struct aip_id session_of_process(struct store_fixture *f)
{
        aip_id_source_init(&f->ids, aip_random_system());
        return next_id(f);
}

/* Create, and claim whatever is there, until a number of jobs have been completed by this process
 * or there is nothing more to do. */
static void work_beside_others(struct store_fixture *f)
{
        struct aip_id session = session_of_process(f);
        int n_idle = 0;

        for (int i = 0; i < SHARED_JOBS; i++)
                job_create(f, "for anyone", 0);
        while (n_idle < 5) {
                struct aip_job_claim claim = {
                        .session = session, .lease_ms = LEASE_LONG_MS, .limit = 7};
                DO(f, claim, &claim);
                n_idle = claim.ret_n == 0 ? n_idle + 1 : 0;
                for (size_t i = 0; i < claim.ret_n; i++)
                        cr_assert_eq(job_complete(f, claim.ret_jobs[i], "r"), AIP_FINISH_RECORDED);
                free_jobs(claim.ret_jobs, claim.ret_n);
                free(claim.ret_transitions);
                if (n_idle > 0)
                        run_for(f, 20);
        }
}

/* In a child: all start at once, when the parent closes the pipe's writing end. */
static void wait_for_start(const int *ends)
{
        char byte;

        close(ends[1]);
        if (read(ends[0], &byte, 1) < 0)
                _exit(1);
}

static void child_works(const struct store_maker *maker, void *user)
{
        wait_for_start(user);
        store_contract_run(maker, work_beside_others);
}

Test(sqlite_files, processes_share_one_file_and_migrate_at_once, .timeout = 60)
{
        struct store_maker maker = files_new();
        int ends[2];
        pid_t pids[3];

        cr_assert_eq(pipe(ends), 0);
        for (int i = 0; i < 3; i++)
                pids[i] = child_start(child_works, &maker, ends);
        close(ends[1]);
        for (int i = 0; i < 3; i++)
                child_expect_success(pids[i]);
        close(ends[0]);
        cr_assert_eq(files_number(&maker, "SELECT count(*) - max(version) FROM schema_migrations"),
                     0); /* each once */
        cr_assert_eq(files_number(&maker, "SELECT count(*) FROM llm_configs"), 5);
        cr_assert_eq(files_number(&maker, "SELECT count(*) FROM jobs WHERE status = 'COMPLETED' "
                                          "AND version = 3 AND attempt = 1"),
                     3 * SHARED_JOBS);
        files_remove(&maker);
}

#define OPENERS       6
#define OPENER_ROUNDS 10

static void only_open(struct store_fixture *f)
{
        session_of_process(f); /* ids of its own */
        job_create(f, "by whoever opened it", 0);
}

static void child_opens(const struct store_maker *maker, void *user)
{
        wait_for_start(user);
        store_contract_run(maker, only_open);
}

static void open_at_once(const struct store_maker *maker)
{
        int ends[2];
        pid_t pids[OPENERS];

        cr_assert_eq(pipe(ends), 0);
        for (int i = 0; i < OPENERS; i++)
                pids[i] = child_start(child_opens, maker, ends);
        close(ends[1]);
        for (int i = 0; i < OPENERS; i++)
                child_expect_success(pids[i]);
        close(ends[0]);
}

/* The test above works for long on few files; this one is about a file's first moments. */
Test(sqlite_files, a_new_file_is_opened_by_many_at_once, .timeout = 120)
{
        for (int round = 0; round < OPENER_ROUNDS; round++) {
                struct store_maker maker = files_new();

                open_at_once(&maker);
                cr_assert_eq(files_number(&maker,
                                          "SELECT count(*) - max(version) FROM schema_migrations"),
                             0);
                cr_assert_eq(files_number(&maker, "SELECT count(*) FROM jobs"), OPENERS);
                cr_assert_eq(files_number(&maker, "PRAGMA auto_vacuum"), 2, "not incremental");
                files_remove(&maker);
        }
}

struct catalog_listener {
        struct aip_store_watcher watcher;
        int n_changed, n_connected;
};

static void on_catalog_changed(struct aip_store_watcher *watcher)
{
        AIP_CONTAINER_OF(watcher, struct catalog_listener, watcher)->n_changed++;
}

static void on_connected(struct aip_store_watcher *watcher)
{
        AIP_CONTAINER_OF(watcher, struct catalog_listener, watcher)->n_connected++;
}

static void change_by_sql(struct store_fixture *f)
{
        struct catalog_listener listener = {.watcher = {.on_catalog_changed = on_catalog_changed,
                                                        .on_connected = on_connected}};
        int64_t begun_ms;
        aip_catalog *catalog;

        f->store.jobs.ops->watch(f->store.jobs.self, &listener.watcher);
        run_until(f, &listener.n_connected);
        run_for(f, 300);
        listener.n_changed = 0;
        files_exec(&f->maker, "UPDATE prompt_templates SET content = 'Be brief.' "
                              "WHERE name = 'default-assistant'");
        begun_ms = aip_now_ms(f->loop);
        run_until(f, &listener.n_changed);
        cr_assert_lt(aip_now_ms(f->loop) - begun_ms, 1000);
        catalog = catalog_load(f);
        cr_assert(aip_str_eq(
                aip_prompt_template_fields(aip_catalog_template(catalog, S("default-assistant")))
                        ->content,
                S("Be brief.")));
        aip_catalog_unref(catalog);
        f->store.jobs.ops->unwatch(f->store.jobs.self, &listener.watcher);
}

Test(sqlite_files, a_change_by_sql_is_noticed_in_time, .timeout = 60)
{
        struct store_maker maker = files_new();

        store_contract_run(&maker, change_by_sql);
        files_remove(&maker);
}

/* --- troubles ------------------------------------------------------------------------------ */

static void locked_by_another(struct store_fixture *f)
{
        sqlite3 *other = files_open(&f->maker);
        aip_job *job = job_make(f, "p", 0);
        struct aip_job_create create = {.job = job};
        struct aip_id known = job_create(f, "readable meanwhile", 0);
        int64_t begun_ms = aip_now_ms(f->loop);

        cr_assert_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
        create.op.deadline_ms = begun_ms + 600;
        START(f, create, &create);
        aip_job_free(job_fetch(f, known));
        op_await(f, &create.op, AIP_EUNAVAILABLE);
        cr_assert_lt(aip_now_ms(f->loop) - begun_ms, 5000, "the deadline was not kept");
        create.op.deadline_ms = 0;
        START(f, create, &create);
        run_for(f, 300);
        cr_assert_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
        op_await(f, &create.op, 0);
        sqlite3_close(other);
        aip_job_free(job);
}

Test(sqlite_files, a_lock_is_waited_for_until_the_deadline, .timeout = 60)
{
        struct store_maker maker = files_new();

        store_contract_run(&maker, locked_by_another);
        files_remove(&maker);
}

/* The second store opens its two connections, and reads, while another process holds the lock. */
static void opened_beside_a_lock(struct store_fixture *f)
{
        sqlite3 *other = files_open(&f->maker);
        struct aip_store_options options = {.self_size = sizeof(options), .loop = f->loop};
        struct aip_random random = aip_random_system();
        struct aip_op close_op = {0};
        struct aip_id known = job_create(f, "readable meanwhile", 0);
        struct aip_store first = f->store;

        options.random = random;
        cr_assert_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
        cr_assert_eq(f->maker.open(&f->maker, &options, &f->store, NULL), 0);
        aip_job_free(job_fetch(f, known));
        cr_assert_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(other);
        op_begin(f, &close_op);
        f->store.close(f->store.self, &close_op);
        op_await(f, &close_op, 0);
        f->store = first;
}

Test(sqlite_files, a_file_is_opened_beside_a_lock, .timeout = 60)
{
        struct store_maker maker = files_new();

        store_contract_run(&maker, opened_beside_a_lock);
        files_remove(&maker);
}

/* Nobody can open the file while somebody makes its first page: that, too, is a lock to wait for. */
Test(sqlite_files, opening_waits_for_a_lock_until_the_deadline, .timeout = 60)
{
        struct store_maker maker = files_new();
        struct store_fixture f = {.maker = maker};
        struct aip_store_options options = {.self_size = sizeof(options)};
        struct aip_op early = {0}, late = {0}, close_op = {0};
        sqlite3 *other = files_open(&maker);
        int64_t begun_ms;

        cr_assert_eq(aip_uv_loop_new(&f.uv, NULL), 0);
        options.loop = f.loop = aip_uv_loop_port(f.uv);
        options.random = aip_random_system();
        cr_assert_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
        cr_assert_eq(maker.open(&f.maker, &options, &f.store, NULL), 0);
        begun_ms = aip_now_ms(f.loop);
        op_begin(&f, &early);
        early.deadline_ms = begun_ms + 500;
        f.store.migrate(f.store.self, &early);
        op_begin(&f, &late);
        f.store.migrate(f.store.self, &late);
        op_await(&f, &early, AIP_EUNAVAILABLE);
        cr_assert_geq(aip_now_ms(f.loop) - begun_ms, 450, "it did not wait");
        cr_assert_lt(aip_now_ms(f.loop) - begun_ms, 5000, "the deadline was not kept");
        cr_assert_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
        op_await(&f, &late, 0);
        sqlite3_close(other);
        op_begin(&f, &close_op);
        f.store.close(f.store.self, &close_op);
        op_await(&f, &close_op, 0);
        aip_uv_loop_free(f.uv);
        files_remove(&maker);
}

/* One small job and many that need more room than there is, all in flight at once. Whatever is said
 * to be stored is there, and nothing else is; how many were stored. */
static int store_until_full(struct store_fixture *f)
{
        enum { N = 20 };
        static struct aip_job_create creates[N];
        char *prompt = malloc(90001);
        int n_stored = 0;

        cr_assert_not_null(prompt);
        memset(prompt, 'x', 90000);
        prompt[90000] = '\0';
        for (int i = 0; i < N; i++) {
                creates[i] = (struct aip_job_create){.job = job_make(f, i ? prompt : "tiny", 0)};
                START(f, create, &creates[i]);
        }
        for (int i = 0; i < N; i++) {
                struct aip_job_fetch fetch = {.id = aip_job_fields(creates[i].job)->id};
                while (!op_is_done(&creates[i].op))
                        run_for(f, 5);
                int code = aip_error_code(creates[i].op.err);
                cr_assert(code == 0 || code == AIP_EUNAVAILABLE, "%d: %s", code,
                          aip_error_message(creates[i].op.err));
                op_await(f, &creates[i].op, code);
                n_stored += code == 0;
                DO(f, fetch, &fetch);
                cr_assert_eq(fetch.ret_job != NULL, code == 0, "the answer was a lie");
                aip_job_free(fetch.ret_job);
                aip_job_free((aip_job *)creates[i].job);
        }
        cr_assert_lt(n_stored, N);
        free(prompt);
        return n_stored;
}

static void files_may_not_grow(struct store_fixture *f)
{
        struct rlimit limit = {0};

        files_exec(&f->maker, "PRAGMA wal_checkpoint(TRUNCATE)");
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &limit);
        limit.rlim_cur = 600000;
        setrlimit(RLIMIT_FSIZE, &limit);
        store_until_full(f);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_FSIZE, &limit);
        job_create(f, "there is room again", 0);
}

Test(sqlite_files, a_failing_write_is_told_and_passes, .timeout = 60)
{
        struct store_maker maker = files_new();

        store_contract_run(&maker, files_may_not_grow);
        cr_assert_eq(files_number(&maker, "SELECT count(*) FROM jobs"),
                     files_number(&maker, "SELECT count(*) FROM outbox"));
        files_remove(&maker);
}

/* The batch is divided until those that fit have been stored. */
static void disk_is_full(struct store_fixture *f)
{
        cr_assert_gt(store_until_full(f), 3);
}

static void child_fills_a_disk(const struct store_maker *maker, void *user)
{
        (void)user;
        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", maker->place, "tmpfs", 0, "size=1500k") < 0)
                return; /* not allowed here: the test above has to do */
        store_contract_run(maker, disk_is_full);
}

/* On a small disk of its own, which is gone with the child. */
Test(sqlite_files, a_full_disk_takes_what_fits, .timeout = 60)
{
        struct store_maker maker = files_new();

        child_expect_success(child_start(child_fills_a_disk, &maker, NULL));
        files_remove(&maker);
}

static void damaged_rows(struct store_fixture *f)
{
        struct aip_catalog_load load = {.ret_invalid = AIP_BUF_INIT(10000)};
        struct aip_job_claim claim = {
                .session = next_id(f), .lease_ms = LEASE_LONG_MS, .limit = 10};
        struct aip_id good;

        job_create(f, "to be damaged", 0);
        files_exec(&f->maker, "PRAGMA ignore_check_constraints = ON; "
                              "UPDATE jobs SET prompt = '  '; "
                              "UPDATE llm_configs SET temperature = 9 WHERE name = 'simulated'; "
                              "UPDATE prompt_templates SET content = 'open {{' "
                              "WHERE name = 'code-assistant'; "
                              "INSERT INTO graphs (name, document) VALUES "
                              "('knot', '{\"nodes\": 7}'), ('torn', '{\"nodes\": {')");
        good = job_create(f, "a good one", 0);
        DO(f, claim, &claim);
        cr_assert_eq(claim.ret_n, 1);
        cr_assert(aip_id_equal(&aip_job_fields(claim.ret_jobs[0])->id, &good));
        free_jobs(claim.ret_jobs, claim.ret_n);
        free(claim.ret_transitions);
        DO_CATALOG(f, load, &load);
        cr_assert_eq(load.ret_n_invalid, 4);
        cr_assert_not_null(strstr(load.ret_invalid.p, "graph knot: /nodes"));
        cr_assert_not_null(strstr(load.ret_invalid.p, "graph torn: "));
        cr_assert_not_null(strstr(load.ret_invalid.p, "simulated"));
        cr_assert_not_null(strstr(load.ret_invalid.p, "code-assistant"));
        cr_assert_null(aip_catalog_config(load.ret_catalog, S("simulated")));
        cr_assert_not_null(aip_catalog_config(load.ret_catalog, S("default-smart")));
        aip_buf_deinit(&load.ret_invalid);
        aip_catalog_unref(load.ret_catalog);
}

Test(sqlite_files, rows_damaged_by_hand_do_not_stop_the_others, .timeout = 60)
{
        struct store_maker maker = files_new();

        store_contract_run(&maker, damaged_rows);
        files_remove(&maker);
}

/* Open a store, ask for one thing, and tell the code and the message of the answer. */
static int ask(const struct store_maker *maker, int is_migration, char *ret_message, size_t n)
{
        struct store_fixture f = {.maker = *maker};
        struct aip_store_options options = {.self_size = sizeof(options)};
        struct aip_op op = {0}, close_op = {0};
        int code;

        cr_assert_eq(aip_uv_loop_new(&f.uv, NULL), 0);
        options.loop = f.loop = aip_uv_loop_port(f.uv);
        options.random = aip_random_system();
        cr_assert_eq(maker->open(&f.maker, &options, &f.store, NULL), 0);
        op_begin(&f, &op);
        if (is_migration) {
                f.store.migrate(f.store.self, &op);
        } else {
                static int64_t revision;
                f.store.catalog.ops->revision(f.store.catalog.self, &op, &revision);
        }
        while (!op_is_done(&op))
                run_for(&f, 5);
        code = aip_error_code(op.err);
        snprintf(ret_message, n, "%s", aip_error_message(op.err));
        op_await(&f, &op, code);
        op_begin(&f, &close_op);
        f.store.close(f.store.self, &close_op);
        op_await(&f, &close_op, 0);
        aip_uv_loop_free(f.uv);
        return code;
}

Test(sqlite_files, strange_files_are_told_plainly, .timeout = 60)
{
        struct store_maker maker = files_new();
        char message[1000];
        FILE *file;

        cr_assert_eq(ask(&maker, 0, message, sizeof(message)), AIP_ESTATE);
        cr_assert_not_null(strstr(message, "migrations"), "%s", message);
        cr_assert_eq(ask(&maker, 1, message, sizeof(message)), 0);
        cr_assert_eq(ask(&maker, 0, message, sizeof(message)), 0);
        file = fopen(files_path(&maker), "w");
        for (int i = 0; i < 1000; i++)
                fputs("this is no database\n", file);
        fclose(file);
        cr_assert_eq(ask(&maker, 0, message, sizeof(message)), AIP_EIO);
        cr_assert_not_null(strstr(message, "not an SQLite database"), "%s", message);
        cr_assert_not_null(strstr(message, files_path(&maker)), "%s", message);
        files_remove(&maker);
}

static void child_may_only_read(const struct store_maker *maker, void *user)
{
        char message[1000];

        (void)user;
        if (setgid(65534) < 0 || setuid(65534) < 0)
                _exit(0); /* not the superuser: permissions as they are were tested by `ask` above
                           */
        if (ask(maker, 1, message, sizeof(message)) != AIP_EUNAVAILABLE ||
            !strstr(message, files_path(maker)))
                _exit(1);
}

Test(sqlite_files, a_file_that_may_not_be_written_is_told, .timeout = 60)
{
        struct store_maker maker = files_new();
        char message[1000], command[700];

        cr_assert_eq(ask(&maker, 1, message, sizeof(message)), 0);
        snprintf(command, sizeof(command), "chmod 755 %s; chmod 644 %s", maker.place,
                 files_path(&maker));
        cr_assert_eq(system(command), 0);
        child_expect_success(child_start(child_may_only_read, &maker, NULL));
        files_remove(&maker);
}

Test(sqlite_files, urls_and_folders_are_checked_when_opening, .timeout = 60)
{
        static const struct {
                const char *url, *says;
                int code;
        } rows[] = {
                {NULL, "sqlite:///", AIP_EINVAL},
                {"postgresql://x/y", "sqlite:///", AIP_EINVAL},
                {"sqlite://x.db", "sqlite:///", AIP_EINVAL},
                {"sqlite:///", "name of a file", AIP_EINVAL},
                {"sqlite:////tmp/", "name of a file", AIP_EINVAL},
                {"sqlite:///:memory:", "name of a file", AIP_EINVAL},
                {"sqlite:////no/such/folder/a.db", "/no/such/folder", AIP_ENOTFOUND},
                {"sqlite:////etc/passwd/a.db", "/etc/passwd", AIP_EINVAL},
        };
        struct aip_store_options options = {.self_size = sizeof(options)};
        aip_uv_loop *uv = NULL;
        struct aip_store store;

        cr_assert_eq(aip_uv_loop_new(&uv, NULL), 0);
        options.loop = aip_uv_loop_port(uv);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                aip_error *err = NULL;
                int code;
                options.url = rows[i].url;
                code = aip_sqlite_store_new(&options, &store, &err);
                cr_assert_eq(code, rows[i].code, "row %zu: %d", i, code);
                cr_assert_not_null(strstr(aip_error_message(err), rows[i].says), "%s",
                                   aip_error_message(err));
                aip_error_free(err);
        }
        aip_uv_loop_free(uv);
}

/* --- retention ----------------------------------------------------------------------------- */

#define N_OLD  700 /* more than one batch */
#define N_LIVE 5

static void retain_old_jobs(struct store_fixture *f)
{
        struct aip_id live[N_LIVE], ended = {{0}}, session = next_id(f);
        struct aip_retention retention;
        int64_t n_deleted = 0;

        for (int i = 0; i < N_LIVE; i++)
                live[i] = job_create(f, "lives", i % 2 ? 3600000 : 0);
        for (int i = 0; i < N_OLD; i++) {
                ended = job_create(f, "ends", 0);
                aip_job *job = job_claim(f, session, ended, LEASE_LONG_MS);
                cr_assert_eq(job_complete(f, job, "done"), AIP_FINISH_RECORDED);
                aip_job_free(job);
        }
        run_for(f, 50);
        do {
                retention = (struct aip_retention){
                        .keep_jobs_ms = 1, .keep_keys_ms = 1, .partition_ms = 3600000};
                DO(f, retain, &retention);
                n_deleted += retention.ret_entries[0].n;
                free(retention.ret_entries);
        } while (retention.ret_has_more);
        cr_assert_eq(n_deleted, N_OLD);
        for (int i = 0; i < N_LIVE; i++)
                expect_job(f, live[i], AIP_JOB_QUEUED, 1, 0);
        struct aip_job_fetch fetch = {.id = ended};
        DO(f, fetch, &fetch);
        cr_assert_null(fetch.ret_job);
}

Test(sqlite_files, retention_deletes_what_has_ended_and_gives_the_room_back, .timeout = 120)
{
        struct store_maker maker = files_new();

        store_contract_run(&maker, retain_old_jobs);
        cr_assert_eq(files_number(&maker, "SELECT count(*) FROM jobs"), N_LIVE);
        cr_assert_eq(files_number(&maker, "PRAGMA freelist_count"), 0);
        files_remove(&maker);
}
