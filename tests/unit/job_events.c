/* Transitions as names and as domain events. */
#include "domain_support.h"

static struct aip_transition transition(enum aip_transition_kind kind, enum aip_job_status from,
                                        enum aip_job_status to)
{
        struct aip_transition t = {.job_id = job_id,
                                   .version = 3,
                                   .at_us = T0 + 123456,
                                   .kind = kind,
                                   .from = from,
                                   .to = to,
                                   .attempt = 1};
        return t;
}

Test(job_events, which_are_published)
{
        static const struct {
                const char *text;
                int result;
                uint32_t muted;
        } rows[] = {
                {"all", 0, 0},
                {"none", 0, 31},
                {"job.completed", 0, 27},
                {" job.failed , job.completed", 0, 19},
                {"job.interrupted", 0, 15},
                {"job.created,job.nothing", AIP_EINVAL, 99},
                {"job.created,,job.failed", AIP_EINVAL, 99},
                {"All", AIP_EINVAL, 99},
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                uint32_t muted = 99;
                cr_expect_eq(aip_job_events_parse(aip_str_of(rows[i].text), &muted, NULL),
                             rows[i].result, "%s", rows[i].text);
                cr_expect_eq(muted, rows[i].muted, "%s", rows[i].text);
        }
}

Test(transition, names_go_both_ways)
{
        static const char *const names[] = {"created",  "due",       "started", "retry",
                                            "released", "completed", "failed",  "cancelled",
                                            "interrupted", "resumed"};
        for (unsigned i = 0; i < AIP_ARRAY_SIZE(names); i++) {
                aip_error *err = NULL;
                enum aip_transition_kind kind = (enum aip_transition_kind)77;
                cr_expect_str_eq(aip_transition_kind_name((enum aip_transition_kind)i), names[i]);
                expect_ok(aip_transition_kind_parse(aip_str_of(names[i]), &kind, &err), &err);
                cr_expect_eq(kind, i);
                expect_refused(aip_transition_kind_parse(aip_str_make(names[i], 2), &kind, &err),
                               &err, AIP_EINVAL, "transition kind: ");
        }
        cr_expect_str_eq(aip_transition_kind_name((enum aip_transition_kind)10), "unknown");
}

Test(transition, events_of_each_kind)
{
        static const struct {
                size_t n;
                enum aip_job_event_type types[AIP_JOB_EVENTS_PER_TRANSITION];
        } expected[] = {
                [AIP_TRANSITION_CREATED] = {1, {AIP_EVENT_JOB_CREATED}},
                [AIP_TRANSITION_DUE] = {0, {0}},
                [AIP_TRANSITION_STARTED] = {1, {AIP_EVENT_JOB_STATUS_CHANGED}},
                [AIP_TRANSITION_RETRY] = {1, {AIP_EVENT_JOB_STATUS_CHANGED}},
                [AIP_TRANSITION_RELEASED] = {1, {AIP_EVENT_JOB_STATUS_CHANGED}},
                [AIP_TRANSITION_COMPLETED] = {2,
                                              {AIP_EVENT_JOB_STATUS_CHANGED,
                                               AIP_EVENT_JOB_COMPLETED}},
                [AIP_TRANSITION_FAILED] = {2, {AIP_EVENT_JOB_STATUS_CHANGED, AIP_EVENT_JOB_FAILED}},
                [AIP_TRANSITION_CANCELLED] = {1, {AIP_EVENT_JOB_STATUS_CHANGED}},
                [AIP_TRANSITION_INTERRUPTED] = {2,
                                                {AIP_EVENT_JOB_STATUS_CHANGED,
                                                 AIP_EVENT_JOB_INTERRUPTED}},
                [AIP_TRANSITION_RESUMED] = {1, {AIP_EVENT_JOB_STATUS_CHANGED}},
        };
        for (unsigned i = 0; i < AIP_ARRAY_SIZE(expected); i++) {
                struct aip_transition t = transition((enum aip_transition_kind)i, 0, 0);
                enum aip_job_event_type types[AIP_JOB_EVENTS_PER_TRANSITION];
                size_t n = aip_transition_events(&t, types);
                cr_assert_eq(n, expected[i].n);
                for (size_t k = 0; k < n; k++)
                        cr_expect_eq(types[k], expected[i].types[k]);
        }
        struct aip_transition unknown = transition((enum aip_transition_kind)10, 0, 0);
        enum aip_job_event_type types[AIP_JOB_EVENTS_PER_TRANSITION];
        cr_expect_eq(aip_transition_events(&unknown, types), 0);
}

Test(job_event, routing_keys)
{
        cr_expect_str_eq(aip_job_event_name(AIP_EVENT_JOB_CREATED), "job.created");
        cr_expect_str_eq(aip_job_event_name(AIP_EVENT_JOB_STATUS_CHANGED), "job.status_changed");
        cr_expect_str_eq(aip_job_event_name(AIP_EVENT_JOB_COMPLETED), "job.completed");
        cr_expect_str_eq(aip_job_event_name(AIP_EVENT_JOB_FAILED), "job.failed");
        cr_expect_str_eq(aip_job_event_name(AIP_EVENT_JOB_INTERRUPTED), "job.interrupted");
        cr_expect_str_eq(aip_job_event_name((enum aip_job_event_type)5), "unknown");
}

static void check_json(const struct aip_transition *t, enum aip_job_event_type type,
                       const char *expected)
{
        aip_error *err = NULL;
        _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(4096);
        expect_ok(aip_job_event_print(t, type, &out, &err), &err);
        cr_expect_str_eq(out.p, expected);
        aip_value *parsed = NULL;
        expect_ok(aip_value_parse(aip_buf_str(&out), &parsed, &err), &err);
        aip_value_unref(parsed);
}

/* The ids were computed with Python: uuid.uuid5(job_id, "3:job.failed") and so on. */
Test(job_event, json)
{
        struct aip_transition t =
                transition(AIP_TRANSITION_FAILED, AIP_JOB_PROCESSING, AIP_JOB_FAILED);
        strcpy(t.error_code, "provider_failed");
        check_json(&t, AIP_EVENT_JOB_FAILED,
                   "{\"event_id\":\"a6e3dde1-6d00-5120-811d-6653b7a928ae\",\"type\":\"job.failed\","
                   "\"job_id\":\"018bcfe5-6800-7001-8001-020304050607\",\"sequence\":3,"
                   "\"occurred_at\":\"2023-11-14T22:13:20.123456Z\",\"attempt\":1,"
                   "\"status\":\"FAILED\",\"previous_status\":\"PROCESSING\","
                   "\"error_code\":\"provider_failed\"}");
        t = transition(AIP_TRANSITION_CREATED, AIP_JOB_QUEUED, AIP_JOB_QUEUED);
        t.version = 1;
        t.attempt = 0;
        check_json(
                &t, AIP_EVENT_JOB_CREATED,
                "{\"event_id\":\"845ce4ef-0b4c-5e7e-ba5c-043271a85c2d\",\"type\":\"job.created\","
                "\"job_id\":\"018bcfe5-6800-7001-8001-020304050607\",\"sequence\":1,"
                "\"occurred_at\":\"2023-11-14T22:13:20.123456Z\",\"attempt\":0,"
                "\"status\":\"QUEUED\"}");
}

Test(job_event, a_strange_error_code_stays_json)
{
        struct aip_transition t =
                transition(AIP_TRANSITION_RETRY, AIP_JOB_PROCESSING, AIP_JOB_QUEUED);
        strcpy(t.error_code, "a\"b\\c\n");
        aip_error *err = NULL;
        _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(4096);
        expect_ok(aip_job_event_print(&t, AIP_EVENT_JOB_STATUS_CHANGED, &out, &err), &err);
        aip_value *parsed = NULL;
        expect_ok(aip_value_parse(aip_buf_str(&out), &parsed, &err), &err);
        cr_expect(
                str_is(aip_value_as_string(aip_value_get_cstr(parsed, "error_code")), "a\"b\\c\n"));
        aip_value_unref(parsed);
}

static void id_of(const struct aip_transition *t, enum aip_job_event_type type,
                  char ret_id[AIP_ID_TEXT_BYTES])
{
        aip_error *err = NULL;
        _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(4096);
        expect_ok(aip_job_event_print(t, type, &out, &err), &err);
        memcpy(ret_id, out.p + strlen("{\"event_id\":\""), AIP_ID_TEXT_BYTES - 1);
        ret_id[AIP_ID_TEXT_BYTES - 1] = '\0';
}

Test(job_event, ids_repeat_for_the_same_event_only)
{
        struct aip_transition t =
                transition(AIP_TRANSITION_FAILED, AIP_JOB_PROCESSING, AIP_JOB_FAILED);
        char first[AIP_ID_TEXT_BYTES], second[AIP_ID_TEXT_BYTES];
        id_of(&t, AIP_EVENT_JOB_FAILED, first);
        t.at_us++;
        t.outbox_id = 9;
        id_of(&t, AIP_EVENT_JOB_FAILED, second);
        cr_expect_str_eq(first, second);
        id_of(&t, AIP_EVENT_JOB_STATUS_CHANGED, second);
        cr_expect_str_neq(first, second);
        t.version++;
        id_of(&t, AIP_EVENT_JOB_FAILED, second);
        cr_expect_str_neq(first, second);
        t.version--;
        t.job_id.bytes[15]++;
        id_of(&t, AIP_EVENT_JOB_FAILED, second);
        cr_expect_str_neq(first, second);
}

Test(job_event, a_full_buffer_is_reported)
{
        struct aip_transition t =
                transition(AIP_TRANSITION_FAILED, AIP_JOB_PROCESSING, AIP_JOB_FAILED);
        strcpy(t.error_code, "provider_failed");
        _cleanup_(aip_buf_deinit) struct aip_buf whole = AIP_BUF_INIT(4096);
        aip_error *err = NULL;
        expect_ok(aip_job_event_print(&t, AIP_EVENT_JOB_FAILED, &whole, &err), &err);
        for (size_t max = 0; max < whole.n; max++) {
                _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(max);
                expect_refused(aip_job_event_print(&t, AIP_EVENT_JOB_FAILED, &out, &err), &err,
                               AIP_ELIMIT, "buffer");
        }
}
