/*
 * The part of Criterion that our suites use, on fork() alone. Criterion's sandbox maps memory where
 * ThreadSanitizer wants to be, so a build with -Db_sanitize=thread takes this instead; the suites are
 * the same. Included by suites only, as <criterion/criterion.h>.
 */
#ifndef TESTS_SUPPORT_IN_PROCESS_CRITERION_H
#define TESTS_SUPPORT_IN_PROCESS_CRITERION_H

#pragma GCC system_header /* as the real one is: macros may be called without the optional message */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cr_options {
        void (*init)(void);
        void (*fini)(void);
        double timeout; /* seconds without the sanitizer */
        int disabled;
        const char *description;
};

struct cr_suite {
        const char *name;
        struct cr_options options;
        struct cr_suite *next;
};

struct cr_test {
        const char *suite, *name;
        void (*run)(void);
        struct cr_options options;
        struct cr_test *next;
};

void cr_register_suite(struct cr_suite *suite);
void cr_register_test(struct cr_test *test);
void cr_note_failure(const char *file, int line, const char *expression);
void cr_stop_test(int exit_status) __attribute__((noreturn));

#define CR_SKIPPED 77

#define TestSuite(Name, ...)                                                                       \
        static __attribute__((constructor)) void cr_add_suite_##Name(void)                         \
        {                                                                                          \
                static struct cr_suite suite = {.name = #Name, .options = {__VA_ARGS__}};          \
                cr_register_suite(&suite);                                                         \
        }                                                                                          \
        struct cr_suite

#define Test(Suite, Name, ...)                                                                     \
        static void cr_run_##Suite##_##Name(void);                                                 \
        static __attribute__((constructor)) void cr_add_##Suite##_##Name(void)                     \
        {                                                                                          \
                static struct cr_test test = {.suite = #Suite,                                     \
                                              .name = #Name,                                       \
                                              .run = cr_run_##Suite##_##Name,                      \
                                              .options = {__VA_ARGS__}};                           \
                cr_register_test(&test);                                                           \
        }                                                                                          \
        static void cr_run_##Suite##_##Name(void)

#define cr_log_info(...) fprintf(stderr, "  " __VA_ARGS__), fputc('\n', stderr)

#define CR_CHECK(is_fatal, condition, expression, ...)                                             \
        do {                                                                                       \
                if (!(condition)) {                                                                \
                        cr_note_failure(__FILE__, __LINE__, expression);                           \
                        fprintf(stderr, "  " __VA_ARGS__);                                         \
                        fputc('\n', stderr);                                                       \
                        if (is_fatal)                                                              \
                                cr_stop_test(1);                                                   \
                }                                                                                  \
        } while (0)

#define CR_IS_NULL(p) ((const void *)(p) == NULL)

#define cr_fatal(...) CR_CHECK(1, 0, "failed", __VA_ARGS__)
#define cr_assert_fail(...) CR_CHECK(1, 0, "failed", __VA_ARGS__)
#define cr_skip_test(...) (fprintf(stderr, "  skipped: " __VA_ARGS__), cr_stop_test(CR_SKIPPED))

#define cr_assert(c, ...)            CR_CHECK(1, (c), #c, __VA_ARGS__)
#define cr_assert_not(c, ...)        CR_CHECK(1, !(c), "not " #c, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)      CR_CHECK(1, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)     CR_CHECK(1, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)      CR_CHECK(1, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)     CR_CHECK(1, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)      CR_CHECK(1, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)     CR_CHECK(1, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_null(p, ...)       CR_CHECK(1, CR_IS_NULL(p), #p " is null", __VA_ARGS__)
#define cr_assert_not_null(p, ...)   CR_CHECK(1, !CR_IS_NULL(p), #p " is not null", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)  CR_CHECK(1, !strcmp((a), (b)), #a " reads " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) CR_CHECK(1, strcmp((a), (b)), #a " differs from " #b, __VA_ARGS__)
#define cr_assert_str_empty(a, ...)  CR_CHECK(1, !*(a), #a " is empty", __VA_ARGS__)
#define cr_assert_float_eq(a, b, e, ...)                                                           \
        CR_CHECK(1, fabs((double)(a) - (double)(b)) <= (e), #a " is about " #b, __VA_ARGS__)

#define cr_expect(c, ...)            CR_CHECK(0, (c), #c, __VA_ARGS__)
#define cr_expect_not(c, ...)        CR_CHECK(0, !(c), "not " #c, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)      CR_CHECK(0, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...)     CR_CHECK(0, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...)      CR_CHECK(0, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...)     CR_CHECK(0, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)      CR_CHECK(0, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...)     CR_CHECK(0, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_expect_null(p, ...)       CR_CHECK(0, CR_IS_NULL(p), #p " is null", __VA_ARGS__)
#define cr_expect_not_null(p, ...)   CR_CHECK(0, !CR_IS_NULL(p), #p " is not null", __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)  CR_CHECK(0, !strcmp((a), (b)), #a " reads " #b, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) CR_CHECK(0, strcmp((a), (b)), #a " differs from " #b, __VA_ARGS__)
#define cr_expect_str_empty(a, ...)  CR_CHECK(0, !*(a), #a " is empty", __VA_ARGS__)

#endif
