/* Runs the tests that criterion.h beside it registers, each in a child of its own. Linked in place
 * of Criterion in builds with sanitizers and for valgrind. An argument runs only tests whose suite/name
 * contains it; --filter PATTERN, as Criterion has it, those that match. That no test does is a failure.
 */
#include <criterion/criterion.h>
#include <fnmatch.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOWNESS          10 /* of the sanitizer, for timeouts */
#define DEFAULT_TIMEOUT_S 300

static struct cr_suite *suites;
static struct cr_test *tests, **tests_end = &tests;
static int has_failed; /* in the child */

void cr_register_suite(struct cr_suite *suite)
{
        suite->next = suites;
        suites = suite;
}

void cr_register_test(struct cr_test *test)
{
        *tests_end = test;
        tests_end = &test->next;
}

void cr_note_failure(const char *file, int line, const char *expression)
{
        has_failed = 1;
        fprintf(stderr, "%s:%d: not true: %s\n", file, line, expression);
}

void cr_stop_test(int exit_status)
{
        fflush(NULL);
        _exit(exit_status);
}

static const struct cr_options *options_of_suite(const struct cr_test *test)
{
        static const struct cr_options none;
        for (const struct cr_suite *suite = suites; suite; suite = suite->next)
                if (strcmp(suite->name, test->suite) == 0)
                        return &suite->options;
        return &none;
}

static void call(void (*own)(void), void (*of_suite)(void))
{
        if (own)
                own();
        else if (of_suite)
                of_suite();
}

/* In the child. exit() lets the sanitizer have the last word. */
static void run_test(const struct cr_test *test)
{
        const struct cr_options *suite = options_of_suite(test);
        double timeout = test->options.timeout > 0 ? test->options.timeout : suite->timeout;
        alarm(timeout > 0 ? (unsigned)(timeout * SLOWNESS) : DEFAULT_TIMEOUT_S);
        call(test->options.init, suite->init);
        test->run();
        call(test->options.fini, suite->fini);
        exit(has_failed);
}

static int wait_for(pid_t child)
{
        int status;
        while (waitpid(child, &status, 0) != child)
                ;
        return status;
}

static int is_wanted(const char *name, int argc, char **argv)
{
        if (argc > 2 && strcmp(argv[1], "--filter") == 0)
                return fnmatch(argv[2], name, FNM_EXTMATCH) == 0;
        return argc < 2 || strstr(name, argv[1]);
}

int main(int argc, char **argv)
{
        int n_run = 0, n_failed = 0, n_skipped = 0;
        for (const struct cr_test *test = tests; test; test = test->next) {
                char name[256];
                snprintf(name, sizeof(name), "%s/%s", test->suite, test->name);
                if (test->options.disabled || !is_wanted(name, argc, argv))
                        continue;
                n_run++;
                fflush(NULL);
                pid_t child = fork();
                if (child == 0)
                        run_test(test);
                int status = wait_for(child);
                if (WIFEXITED(status) && WEXITSTATUS(status) == CR_SKIPPED) {
                        n_skipped++;
                } else if (status != 0) {
                        n_failed++;
                        printf("FAIL %s (wait status %d)\n", name, status);
                }
        }
        printf("Tested: %d | Failing: %d | Skipped: %d\n", n_run, n_failed, n_skipped);
        return n_failed > 0 || (n_run == 0 && argc > 1);
}
