/*
 * A suite that needs a server says so and is skipped, visibly, when it is not told of one: exit code
 * 77, which Meson counts as a skip. Used once in the file of such a suite.
 */
#ifndef AIPLAT_TESTS_SKIP_H
#define AIPLAT_TESTS_SKIP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SKIP_SUITE_WITHOUT(variable)                                                               \
        __attribute__((constructor)) static void skip_suite(void)                                  \
        {                                                                                          \
                if (getenv(variable))                                                              \
                        return;                                                                    \
                fputs("skipped: " variable " is not set\n", stderr);                               \
                _exit(77);                                                                         \
        }

#endif
