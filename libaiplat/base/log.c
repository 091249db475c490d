/*
 * Log records and the two sinks that write them to a descriptor (aiplat/log.h). Called from any
 * thread. A sink writes each record with one write(), so lines of several threads do not mix, and
 * it never fails: there is nobody left to tell.
 */
#include "macros.h"
#include "mem.h"
#include "utf8.h"
#include <aiplat/log.h>
#include <aiplat/value.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define SHORT_MESSAGE_BYTES 512
#define LINE_MAX_BYTES      (256 * 1024)
#define TIME_TEXT_BYTES     40

/* ---- making records ---- */

static AIP_PRINTF(3, 0) void hand_over(const struct aip_log *log, struct aip_log_record *record,
                                       const char *format, va_list args)
{
        char text[SHORT_MESSAGE_BYTES];
        va_list again;
        va_copy(again, args);
        int n = vsnprintf(text, sizeof(text), format, again);
        va_end(again);
        if (n < 0)
                return;
        char *longer = (size_t)n < sizeof(text) ? NULL : aip_alloc((size_t)n + 1);
        if (longer)
                vsnprintf(longer, (size_t)n + 1, format, args);
        else if ((size_t)n >= sizeof(text))
                memcpy(text + sizeof(text) - 5, " ...", 5); /* out of memory: say that it is cut */
        record->message = longer ? longer : text;
        log->write(log->self, record);
        aip_free(longer);
}

static int is_wanted(const struct aip_log *log, enum aip_log_level level)
{
        return log && log->write && level >= log->level;
}

void aip_log_write(const struct aip_log *log, enum aip_log_level level, const char *component,
                   const char *format, ...)
{
        if (!is_wanted(log, level))
                return;
        struct aip_log_record record = {
                .self_size = sizeof(record),
                .level = level,
                .component = component,
        };
        va_list args;
        va_start(args, format);
        hand_over(log, &record, format, args);
        va_end(args);
}

void aip_log_job(const struct aip_log *log, enum aip_log_level level, const char *component,
                 const struct aip_id *job_id, const char *trace_id, const char *format, ...)
{
        if (!is_wanted(log, level))
                return;
        struct aip_log_record record = {
                .self_size = sizeof(record),
                .level = level,
                .component = component,
                .job_id = job_id,
                .trace_id = trace_id,
        };
        va_list args;
        va_start(args, format);
        hand_over(log, &record, format, args);
        va_end(args);
}

int aip_log_level_parse(struct aip_str text, enum aip_log_level *ret_level, aip_error **err)
{
        static const struct {
                const char *name;
                enum aip_log_level level;
        } levels[] = {
                {"debug", AIP_LOG_DEBUG},  {"info", AIP_LOG_INFO},   {"warning", AIP_LOG_WARNING},
                {"warn", AIP_LOG_WARNING}, {"error", AIP_LOG_ERROR}, {"critical", AIP_LOG_ERROR},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(levels); i++) {
                if (text.n != strlen(levels[i].name) ||
                    strncasecmp(text.p, levels[i].name, text.n) != 0)
                        continue;
                *ret_level = levels[i].level;
                return 0;
        }
        return aip_error_set(err, AIP_EINVAL,
                             "not a log level: '%.*s' (debug, info, warning or error)",
                             AIP_STR_ARG(text));
}

/* ---- sinks ---- */

static const char *level_name(enum aip_log_level level)
{
        static const char *const names[] = {"debug", "info", "warning", "error"};
        return (size_t)level < AIP_ARRAY_SIZE(names) ? names[level] : "error";
}

static void write_line(int fd, const struct aip_buf *line)
{
        size_t written = 0;
        while (written < line->n) {
                ssize_t n = write(fd, line->p + written, line->n - written);
                if (n < 0 && errno != EINTR)
                        return;
                written += n > 0 ? (size_t)n : 0;
        }
}

/* Human: local time. JSON: RFC 3339 UTC. Both to the millisecond. */
static const char *format_time(int is_utc, char ret_text[TIME_TEXT_BYTES])
{
        struct timespec now;
        struct tm parts;
        clock_gettime(CLOCK_REALTIME, &now);
        if (is_utc)
                gmtime_r(&now.tv_sec, &parts);
        else
                localtime_r(&now.tv_sec, &parts);
        size_t n = strftime(ret_text, TIME_TEXT_BYTES, is_utc ? "%Y-%m-%dT%H:%M:%S" : "%H:%M:%S",
                            &parts);
        snprintf(ret_text + n, TIME_TEXT_BYTES - n, ".%03ld%s", now.tv_nsec / 1000000,
                 is_utc ? "Z" : "");
        return ret_text;
}

/* Whatever reached a message: what is not UTF-8 becomes U+FFFD, control characters spaces, so that
 * a line stays one line and a terminal obeys nobody. */
static int append_clean(struct aip_buf *out, struct aip_str s)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < s.n;) {
                size_t bytes = aip_utf8_sequence_bytes(s.p + i, s.n - i);
                unsigned char byte = (unsigned char)s.p[i];
                if (bytes == 0)
                        r = aip_buf_append_cstr(out, "\xef\xbf\xbd");
                else if (byte < 0x20 || byte == 0x7f)
                        r = aip_buf_append_char(out, ' ');
                else
                        r = aip_buf_append(out, aip_str_make(s.p + i, bytes));
                i += bytes ? bytes : 1;
        }
        return r;
}

static int append_json_field(struct aip_buf *line, const char *name, const char *text)
{
        struct aip_buf clean = AIP_BUF_INIT(LINE_MAX_BYTES);
        int r = append_clean(&clean, aip_str_of(text));
        if (r == 0)
                r = aip_buf_printf(line, "%s\"%s\":", line->n > 1 ? "," : "", name);
        if (r == 0)
                r = aip_json_append_string(line, aip_buf_str(&clean));
        aip_buf_deinit(&clean);
        return r;
}

static int append_json_record(struct aip_buf *line, const struct aip_log_record *record)
{
        char time_text[TIME_TEXT_BYTES], id_text[AIP_ID_TEXT_BYTES];
        int r = aip_buf_append_char(line, '{');
        if (r == 0)
                r = append_json_field(line, "time", format_time(1, time_text));
        if (r == 0)
                r = append_json_field(line, "level", level_name(record->level));
        if (r == 0)
                r = append_json_field(line, "component", record->component);
        if (r == 0 && record->job_id)
                r = append_json_field(line, "job_id", aip_id_format(record->job_id, id_text));
        if (r == 0 && record->trace_id)
                r = append_json_field(line, "trace_id", record->trace_id);
        if (r == 0)
                r = append_json_field(line, "message", record->message);
        return r < 0 ? r : aip_buf_append_cstr(line, "}\n");
}

static int append_human_record(struct aip_buf *line, const struct aip_log_record *record,
                               int is_coloured)
{
        static const char *const colours[] = {"\x1b[2m", "", "\x1b[33m", "\x1b[31m"};
        const char *colour = is_coloured && (size_t)record->level < AIP_ARRAY_SIZE(colours)
                                     ? colours[record->level]
                                     : "";
        char time_text[TIME_TEXT_BYTES], id_text[AIP_ID_TEXT_BYTES];
        int r = aip_buf_printf(line, "%s%s %-7s %s: ", colour, format_time(0, time_text),
                               level_name(record->level), record->component);
        if (r == 0)
                r = append_clean(line, aip_str_of(record->message));
        if (r == 0 && record->job_id)
                r = aip_buf_printf(line, " job=%s", aip_id_format(record->job_id, id_text));
        if (r == 0 && record->trace_id)
                r = aip_buf_printf(line, " trace=%s", record->trace_id);
        return r < 0 ? r : aip_buf_append_cstr(line, *colour ? "\x1b[0m\n" : "\n");
}

/* A record that cannot be formatted (no memory, or longer than any line may be) is not passed over
 * in silence: this line stands in its place. */
static void finish_line(int fd, struct aip_buf *line, int r, int is_json)
{
        static char human[] = "(a log record was too long or memory ran out)\n";
        static char json[] = "{\"level\":\"error\",\"component\":\"log\",\"message\":"
                             "\"a log record was too long or memory ran out\"}\n";
        struct aip_buf instead = {.p = is_json ? json : human};
        instead.n = strlen(instead.p);
        write_line(fd, r < 0 ? &instead : line);
        aip_buf_deinit(line);
}

/* A sink's `self` is its descriptor, and for the human one whether to use colours. */
static void *pack(int fd, int is_coloured)
{
        return (void *)((intptr_t)fd * 2 + is_coloured);
}

static void write_json(void *self, const struct aip_log_record *record)
{
        struct aip_buf line = AIP_BUF_INIT(LINE_MAX_BYTES);
        int r = append_json_record(&line, record);
        finish_line((int)((intptr_t)self / 2), &line, r, 1);
}

static void write_human(void *self, const struct aip_log_record *record)
{
        struct aip_buf line = AIP_BUF_INIT(LINE_MAX_BYTES);
        int r = append_human_record(&line, record, (intptr_t)self % 2 != 0);
        finish_line((int)((intptr_t)self / 2), &line, r, 0);
}

struct aip_log aip_log_to_terminal(int fd, enum aip_log_level level)
{
        int is_coloured = isatty(fd) && !getenv("NO_COLOR");
        return (struct aip_log){write_human, pack(fd, is_coloured), level};
}

struct aip_log aip_log_to_json(int fd, enum aip_log_level level)
{
        return (struct aip_log){write_json, pack(fd, 0), level};
}
