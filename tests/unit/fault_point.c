/* Fault points: what a specification does, and what is refused. Built in fault builds only. */
#include "fault_point.h"
#include "macros.h"
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The status of a child that passes `accept.committed` n times under the specification. */
static int pass(const char *specification, int n)
{
        pid_t pid = fork();
        int status = 0;

        cr_assert_geq(pid, 0);
        if (pid == 0) {
                if (aip_fault_points_set(specification, NULL) < 0)
                        _exit(99);
                for (int i = 0; i < n; i++)
                        AIP_FAULT_POINT("accept.committed");
                _exit(0);
        }
        cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
        if (WIFSTOPPED(status)) {
                kill(pid, SIGKILL);
                cr_assert_eq(waitpid(pid, NULL, 0), pid);
        }
        return status;
}

static int is_killed(int status)
{
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static int is_unhurt(int status)
{
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Test(fault_point, nothing_without_a_specification)
{
        cr_assert(is_unhurt(pass(NULL, 100)));
        cr_assert(is_unhurt(pass("", 100)));
        cr_assert(is_unhurt(pass("claim.committed=kill", 100)), "another point");
}

Test(fault_point, actions)
{
        cr_assert(is_killed(pass("accept.committed=kill", 1)));
        cr_assert(WIFSTOPPED(pass("accept.committed=stop", 1)));
        int status = pass("accept.committed=exit", 1);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 70);
}

Test(fault_point, sleep)
{
        struct timespec before, after;

        cr_assert_eq(aip_fault_points_set("accept.committed=sleep:50", NULL), 0);
        clock_gettime(CLOCK_MONOTONIC, &before);
        AIP_FAULT_POINT("accept.committed");
        clock_gettime(CLOCK_MONOTONIC, &after);
        double took = (double)(after.tv_sec - before.tv_sec) +
                      (double)(after.tv_nsec - before.tv_nsec) / 1e9;
        cr_assert_geq(took, 0.05);
        cr_assert_eq(aip_fault_points_set(NULL, NULL), 0);
}

Test(fault_point, the_nth_time_only)
{
        cr_assert(is_unhurt(pass("accept.committed=kill@3", 2)));
        cr_assert(is_killed(pass("accept.committed=kill@3", 3)));
        cr_assert(is_killed(pass("claim.committed=stop;accept.committed=kill@3;", 3)));
}

Test(fault_point, a_family_is_counted_together)
{
        cr_assert(is_killed(pass("accept.*=kill@3", 3)));
        cr_assert(is_unhurt(pass("accept.*=kill@3", 2)));
        cr_assert(is_unhurt(pass("claim.*=kill", 10)), "another family");
        cr_assert_eq(aip_fault_points_set("graph.*=sleep:0", NULL), 0);
        cr_redirect_stderr();
        AIP_FAULT_POINT("graph.saved");
        fflush(stderr);
        cr_assert_stderr_eq_str("fault point graph.saved\n");
        cr_assert_eq(aip_fault_points_set(NULL, NULL), 0);
}

Test(fault_point, with_a_probability)
{
        cr_assert(is_unhurt(pass("accept.committed=kill%0", 10000)));
        cr_assert(is_killed(pass("accept.committed=kill%1", 1)));
        cr_assert(is_killed(pass("accept.committed=kill%0.01", 10000)));
}

Test(fault_point, bad_specifications_name_what_is_wrong)
{
        static const char *const bad[][2] = {
                {"accept=kill", "'accept=kill': no such fault point"},
                {"*=kill", "no such fault point"},
                {"nothing.*=kill", "no such fault point"},
                {"accept.committed", "the action is"},
                {"accept.committed=die", "the action is"},
                {"accept.committed=sleep", "the action is"},
                {"accept.committed=sleep:-1", "the action is"},
                {"accept.committed=kill@0", "the condition is"},
                {"accept.committed=kill%2", "the condition is"},
                {"accept.committed=kill%", "the condition is"},
                {"sweep=stop;accept.committed=killed", "'accept.committed=killed': something"},
                {";", "no such fault point"},
        };

        for (size_t i = 0; i < AIP_ARRAY_SIZE(bad); i++) {
                _cleanup_(aip_error_free_p) aip_error *err = NULL;
                cr_assert_eq(aip_fault_points_set(bad[i][0], &err), AIP_EINVAL, "%s", bad[i][0]);
                cr_assert(strstr(aip_error_message(err), bad[i][1]), "%s", aip_error_message(err));
                cr_assert(strstr(aip_error_message(err), "AIPLAT_FAULT_POINTS"));
        }
}
