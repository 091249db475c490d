/*
 * A fuzz target is one file that defines this function; libFuzzer calls it with made-up inputs
 * (option `fuzz`, clang), and driver.c calls it with the kept corpus in every build. It must return
 * 0, leave nothing behind, and stop the process when a promise is broken.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like assert(), but never compiled out. */
#define MUST(condition)                                                                            \
        do {                                                                                       \
                if (!(condition)) {                                                                \
                        fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__,         \
                                #condition);                                                       \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

#endif
