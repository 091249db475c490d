/*
 * For suites that need a server: the program says so and exits with 77 (which Meson counts as
 * skipped, never as passed) when the variable that names the server is not set. A constructor rather
 * than a main() of our own, because Criterion's test processes begin anew in its main().
 *
 *     REQUIRE_ENV("AIPLAT_TEST_DATABASE_URL");
 */
#ifndef TESTS_SUPPORT_REQUIRE_ENV_H
#define TESTS_SUPPORT_REQUIRE_ENV_H

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE_ENV(name)                                                                          \
        static __attribute__((constructor)) void require_env(void)                                 \
        {                                                                                          \
                if (getenv(name) && *getenv(name))                                                 \
                        return;                                                                    \
                puts("skipped: set " name " or run ./check");                                      \
                exit(77);                                                                          \
        }                                                                                          \
        struct require_env_swallows_semicolon

#endif
