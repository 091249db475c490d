/* Logging: levels, records, and the lines of the two sinks. */
#include "alloc_fail.h"
#include "macros.h"
#include <aiplat/log.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <regex.h>
#include <unistd.h>

static int ends[2];

static void open_pipe(void)
{
        cr_assert_eq(pipe(ends), 0);
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

static void close_pipe(void)
{
        close(ends[0]);
        close(ends[1]);
}

TestSuite(log, .init = open_pipe, .fini = close_pipe);

static const char *written(void)
{
        static char text[60000];
        ssize_t n = read(ends[0], text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = '\0';
        return text;
}

static void assert_matches(const char *text, const char *pattern)
{
        regex_t regex;
        cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
        cr_assert_eq(regexec(&regex, text, 0, NULL, 0), 0, "%s", text);
        regfree(&regex);
}

Test(log, levels_are_parsed)
{
        static const struct {
                const char *text;
                int level; /* -1: refused */
        } table[] = {
                {"debug", AIP_LOG_DEBUG},
                {"INFO", AIP_LOG_INFO},
                {"Warning", AIP_LOG_WARNING},
                {"WARN", AIP_LOG_WARNING},
                {"error", AIP_LOG_ERROR},
                {"CRITICAL", AIP_LOG_ERROR},
                {"", -1},
                {"loud", -1},
                {"infos", -1},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                enum aip_log_level level = AIP_LOG_DEBUG;
                int r = aip_log_level_parse(aip_str_of(table[i].text), &level, NULL);
                cr_assert_eq(r, table[i].level < 0 ? AIP_EINVAL : 0, "%s", table[i].text);
                if (r == 0)
                        cr_assert_eq((int)level, table[i].level);
        }
}

Test(log, records_below_the_level_and_without_a_sink_are_dropped)
{
        struct aip_log log = aip_log_to_json(ends[1], AIP_LOG_WARNING), none = {0};
        aip_log_write(&log, AIP_LOG_INFO, "test", "hidden");
        aip_log_write(&none, AIP_LOG_ERROR, "test", "hidden");
        aip_log_write(NULL, AIP_LOG_ERROR, "test", "hidden");
        cr_assert_str_eq(written(), "");
        aip_log_write(&log, AIP_LOG_WARNING, "test", "shown");
        cr_assert_str_neq(written(), "");
}

Test(log, json_lines)
{
        struct aip_log log = aip_log_to_json(ends[1], AIP_LOG_DEBUG);
        struct aip_id id;
        aip_id_parse(AIP_STR("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), &id, NULL);
        aip_log_job(&log, AIP_LOG_ERROR, "worker", &id, "0123456789abcdef0123456789abcdef",
                    "say \"%s\"", "a\nb\xff\\");
        const char *line = written();
        assert_matches(line, "^\\{\"time\":\"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z\"");
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        cr_assert_eq(aip_value_parse(aip_str_of(line), &value, NULL), 0, "%s", line);
        static const char *const fields[][2] = {
                {"level", "error"},
                {"component", "worker"},
                {"job_id", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"},
                {"trace_id", "0123456789abcdef0123456789abcdef"},
                {"message", "say \"a b\xef\xbf\xbd\\\""},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(fields); i++)
                cr_assert_str_eq(aip_value_as_string(aip_value_get_cstr(value, fields[i][0])).p,
                                 fields[i][1]);
        cr_assert_eq(aip_value_size(value), 6u);
}

Test(log, human_lines_have_no_colour_off_a_terminal_and_stay_one_line)
{
        struct aip_log log = aip_log_to_terminal(ends[1], AIP_LOG_DEBUG);
        aip_log_write(&log, AIP_LOG_INFO, "gateway", "listening on %d\n\x1b[31m", 8000);
        assert_matches(written(),
                       "^[0-9:]{8}\\.[0-9]{3} info    gateway: listening on 8000  \\[31m\n$");
        struct aip_id id = {{1}};
        aip_log_job(&log, AIP_LOG_WARNING, "worker", &id, "ab", "slow");
        assert_matches(written(), "warning worker: slow job=01000000-0[-0]*0 trace=ab\n$");
}

Test(log, long_messages_are_kept)
{
        struct aip_log log = aip_log_to_json(ends[1], AIP_LOG_DEBUG);
        static char message[30001];
        memset(message, 'x', sizeof(message) - 1);
        aip_log_write(&log, AIP_LOG_INFO, "test", "%s", message);
        cr_assert_not_null(strstr(written(), message));
}

Test(log, a_message_longer_than_any_line_leaves_a_trace)
{
        struct aip_log log = aip_log_to_json(ends[1], AIP_LOG_DEBUG);
        static char message[300000];
        memset(message, 'x', sizeof(message) - 1);
        aip_log_write(&log, AIP_LOG_INFO, "test", "%s", message);
        cr_assert_not_null(strstr(written(), "too long"));
}

Test(log, no_memory_still_leaves_a_line)
{
        struct aip_log sinks[] = {aip_log_to_json(ends[1], AIP_LOG_DEBUG),
                                  aip_log_to_terminal(ends[1], AIP_LOG_DEBUG)};
        static char message[2000];
        memset(message, 'x', sizeof(message) - 1);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(sinks); i++) {
                int has_failed = 1;
                for (unsigned long n = 1; has_failed; n++) {
                        alloc_fail_arm(n);
                        aip_log_write(&sinks[i], AIP_LOG_INFO, "test", "%s", message);
                        has_failed = alloc_fail_disarm();
                        const char *line = written();
                        cr_assert_eq(line[strlen(line) - 1], '\n');
                }
        }
}

Test(log, a_broken_descriptor_is_borne)
{
        struct aip_log log = aip_log_to_json(-1, AIP_LOG_DEBUG);
        aip_log_write(&log, AIP_LOG_INFO, "test", "nobody hears");
}
