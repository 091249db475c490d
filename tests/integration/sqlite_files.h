/*
 * Temporary SQLite files, stores on them, and child processes that work on them, for
 * store_sqlite.c. It stands on the fixture of the store contract.
 */
#ifndef TESTS_SQLITE_FILES_H
#define TESTS_SQLITE_FILES_H

#include "../contract/store_fixture.h"
#include <sqlite3.h>
#include <sys/types.h>

/* A maker whose stores are on one file in a new temporary folder. */
struct store_maker files_new(void);
/* Remove the folder. */
void files_remove(const struct store_maker *maker);
/* Where the file is; static. */
const char *files_path(const struct store_maker *maker);
/* Run SQL on the file, as a stranger with the sqlite3 shell would. */
void files_exec(const struct store_maker *maker, const char *sql);
int64_t files_number(const struct store_maker *maker, const char *sql);
sqlite3 *files_open(const struct store_maker *maker);

/* Run `work` in a child process, which then exits with 0. A failed assertion there, which is told on
 * stderr, ends it in another way, after a while. It does not outlive the test. */
pid_t child_start(void (*work)(const struct store_maker *maker, void *user),
                  const struct store_maker *maker, void *user);
/* Wait for it; it must have exited with 0. */
void child_expect_success(pid_t pid);

#endif
