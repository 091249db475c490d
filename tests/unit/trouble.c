/* Troubles in the log: the first is said, the rest once a minute, the end once. */
#include "trouble.h"

#include <criterion/criterion.h>
#include <stdio.h>

static int n_warnings, n_infos;
static char last[200];

static void note(void *self, const struct aip_log_record *record)
{
        (void)self;
        n_warnings += record->level == AIP_LOG_WARNING;
        n_infos += record->level == AIP_LOG_INFO;
        snprintf(last, sizeof(last), "%s", record->message);
}

static const struct aip_log sink = {note, NULL, AIP_LOG_INFO};

static void occur(struct aip_trouble *t, int64_t now_ms)
{
        aip_trouble_occurred(t, &sink, "x", now_ms, "asking failed", "nobody there");
}

Test(trouble, a_trouble_of_ten_minutes_has_a_line_a_minute)
{
        struct aip_trouble t = {.n = 0};

        for (int64_t now_ms = 0; now_ms < 600000; now_ms += 500) {
                occur(&t, now_ms);
                if (now_ms == 0)
                        cr_expect_str_eq(last, "asking failed: nobody there");
                cr_expect_eq(n_warnings, 1 + now_ms / 60000);
        }
        cr_expect_not_null(strstr(last, "119 times"), "%s", last);
        aip_trouble_over(&t, &sink, "x", "asking failed");
        aip_trouble_over(&t, &sink, "x", "asking failed");
        cr_expect_eq(n_infos, 1);
        cr_expect_str_eq(last, "over after 1200 times: asking failed");
}

Test(trouble, each_new_trouble_is_said)
{
        struct aip_trouble t = {.n = 0};

        for (int i = 0; i < 10; i++) {
                occur(&t, i * AIP_TROUBLE_FLAP_MS);
                aip_trouble_over(&t, &sink, "x", "asking failed");
        }
        cr_expect_eq(n_warnings, 10);
        cr_expect_eq(n_infos, 10);
}

Test(trouble, one_that_comes_and_goes_is_said_each_5_seconds)
{
        struct aip_trouble t = {.n = 0};

        for (int64_t now_ms = 0; now_ms < 60000; now_ms += 10) {
                occur(&t, now_ms);
                aip_trouble_over(&t, &sink, "x", "asking failed");
        }
        cr_expect_eq(n_warnings, 12);
        cr_expect_eq(n_infos, 12);
        cr_expect_eq(t.n_unsaid, 499u, "the count of what was not said is kept");
}

Test(trouble, no_trouble_has_no_line)
{
        struct aip_trouble t = {.n = 0};

        aip_trouble_over(&t, &sink, "x", "asking failed");
        cr_expect_eq(n_warnings + n_infos, 0);
}

Test(trouble, needs_no_log)
{
        struct aip_trouble t = {.n = 0};

        aip_trouble_occurred(&t, NULL, "x", 1, "asking failed", "nobody there");
        aip_trouble_over(&t, NULL, "x", "asking failed");
}
