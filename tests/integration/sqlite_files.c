/* Temporary SQLite files and child processes; see sqlite_files.h. */
#include "sqlite_files.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const char *files_path(const struct store_maker *maker)
{
        static char path[600];

        snprintf(path, sizeof(path), "%s/aiplat.db", maker->place);
        return path;
}

static int open_store(struct store_maker *maker, const struct aip_store_options *options,
                      struct aip_store *ret_store, aip_error **err)
{
        struct aip_store_options with_url = *options;
        char url[700];

        snprintf(url, sizeof(url), "sqlite:///%s", files_path(maker));
        with_url.url = url;
        return aip_sqlite_store_new(&with_url, ret_store, err);
}

struct store_maker files_new(void)
{
        struct store_maker maker = {.is_shareable = 1, .open = open_store};

        snprintf(maker.place, sizeof(maker.place), "%s/aiplat-sqlite-XXXXXX",
                 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        cr_assert_not_null(mkdtemp(maker.place));
        return maker;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
        (void)status, (void)type, (void)walk;
        return remove(path);
}

void files_remove(const struct store_maker *maker)
{
        nftw(maker->place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

sqlite3 *files_open(const struct store_maker *maker)
{
        sqlite3 *handle = NULL;

        cr_assert_eq(sqlite3_open(files_path(maker), &handle), SQLITE_OK);
        sqlite3_busy_timeout(handle, 5000);
        return handle;
}

void files_exec(const struct store_maker *maker, const char *sql)
{
        sqlite3 *handle = files_open(maker);
        int rc = sqlite3_exec(handle, sql, NULL, NULL, NULL);

        cr_assert_eq(rc, SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(handle));
        sqlite3_close(handle);
}

int64_t files_number(const struct store_maker *maker, const char *sql)
{
        sqlite3 *handle = files_open(maker);
        sqlite3_stmt *statement = NULL;
        int64_t number;

        cr_assert_eq(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
        cr_assert_eq(sqlite3_step(statement), SQLITE_ROW);
        number = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        sqlite3_close(handle);
        return number;
}

#define CHILD_PATIENCE_S 50 /* less than the tests' own .timeout */

pid_t child_start(void (*work)(const struct store_maker *maker, void *user),
                  const struct store_maker *maker, void *user)
{
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0) {
                /* a failed assertion would wait for Criterion, which knows nothing of this process */
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                alarm(CHILD_PATIENCE_S);
                work(maker, user);
                _exit(0);
        }
        return pid;
}

void child_expect_success(pid_t pid)
{
        int status = -1;

        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed: %d", status);
}
