/* JobStatus: names, the whole matrix of transitions, what is final. */
#include "domain_support.h"

static const enum aip_job_status all[] = {AIP_JOB_QUEUED, AIP_JOB_PROCESSING, AIP_JOB_COMPLETED,
                                          AIP_JOB_FAILED, AIP_JOB_CANCELLED, AIP_JOB_INTERRUPTED};

Test(job_status, matrix)
{
        /* From the row to the column, in the order of the enum. */
        static const char *const may[] = {
                "-P--C-", /* QUEUED */
                "Q-DFCI", /* PROCESSING */
                "------", "------", "------",
                "Q---C-", /* INTERRUPTED */
        };
        for (size_t from = 0; from < AIP_ARRAY_SIZE(all); from++) {
                for (size_t to = 0; to < AIP_ARRAY_SIZE(all); to++)
                        cr_expect_eq(aip_job_status_may_become(all[from], all[to]),
                                     may[from][to] != '-', "%s to %s",
                                     aip_job_status_name(all[from]), aip_job_status_name(all[to]));
        }
}

Test(job_status, values_outside_the_enum_may_become_nothing)
{
        cr_expect_not(aip_job_status_may_become((enum aip_job_status)6, AIP_JOB_QUEUED));
        cr_expect_not(aip_job_status_may_become(AIP_JOB_QUEUED, (enum aip_job_status)99));
        cr_expect_not(aip_job_status_is_terminal((enum aip_job_status)99));
        cr_expect_str_eq(aip_job_status_name((enum aip_job_status)99), "UNKNOWN");
}

Test(job_status, final_ones)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(all); i++)
                cr_expect_eq(aip_job_status_is_terminal(all[i]),
                             all[i] >= AIP_JOB_COMPLETED && all[i] != AIP_JOB_INTERRUPTED);
}

Test(job_status, ones_at_rest)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(all); i++)
                cr_expect_eq(aip_job_status_is_at_rest(all[i]), all[i] >= AIP_JOB_COMPLETED);
}

Test(job_status, names_go_both_ways_in_either_case)
{
        static const char *const texts[] = {"QUEUED", "processing", "Completed", "fAILED",
                                            "CANCELLED", "Interrupted"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(texts); i++) {
                aip_error *err = NULL;
                enum aip_job_status status = (enum aip_job_status)77;
                expect_ok(aip_job_status_parse(aip_str_of(texts[i]), &status, &err), &err);
                cr_expect_eq(status, all[i]);
                cr_expect_eq(strcasecmp(aip_job_status_name(status), texts[i]), 0);
        }
}

Test(job_status, other_texts_are_refused_and_shown_safely)
{
        static const struct {
                struct aip_str text;
                const char *shown;
        } cases[] = {
                {{"", 0}, "\"\""},
                {{"QUEUE", 5}, "\"QUEUE\""},
                {{"QUEUED ", 7}, "\"QUEUED \""},
                {{"CANCELED", 8}, "\"CANCELED\""},
                {{"Q\0\xff", 3}, "\"Q\\x00\\xff\""},
                {{NULL, 0}, "\"\""},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_error *err = NULL;
                enum aip_job_status status = (enum aip_job_status)77;
                expect_refused(aip_job_status_parse(cases[i].text, &status, &err), &err, AIP_EINVAL,
                               cases[i].shown);
                cr_expect_eq(status, 77, "an output was touched on failure");
        }
}
