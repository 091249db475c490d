/*
 * Wall-clock times as RFC 3339 text, both ways. Called wherever a time meets a client. Knows no time
 * zone but the offset that a text carries, and no leap second but :60, which reads as the next second.
 */
#include <aiplat/job_service.h>

#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "macros.h"
#include "text/timestamp.h"

/* Before 1970 and after 9999. */
static int print_unusual(int64_t wall_us, struct aip_buf *out, aip_error **err)
{
        int64_t seconds = wall_us / 1000000, micros = wall_us % 1000000;
        time_t t;
        struct tm tm;
        int r;

        if (micros < 0) {
                micros += 1000000;
                seconds--;
        }
        t = (time_t)seconds;
        if (!gmtime_r(&t, &tm))
                return aip_error_set(err, AIP_EINVAL, "time out of range");
        r = aip_buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
                           tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                           (int)micros);
        return r < 0 ? aip_error_set(err, r, "no room for a time") : 0;
}

int aip_time_print(int64_t wall_us, struct aip_buf *out, aip_error **err)
{
        char text[AIP_TIMESTAMP_TEXT_BYTES];
        int r;

        if (wall_us < 0 || wall_us > AIP_TIMESTAMP_MAX_US)
                return print_unusual(wall_us, out, err);
        r = aip_buf_append_cstr(out, aip_timestamp_format(wall_us, text));
        return r < 0 ? aip_error_set(err, r, "no room for a time") : 0;
}

/* Exactly n digits at *p; moves on. -1 when they are not there. */
static int digits(const char **p, const char *end, int n)
{
        int value = 0;

        for (int i = 0; i < n; i++, (*p)++) {
                if (*p == end || !isdigit((unsigned char)**p))
                        return -1;
                value = value * 10 + (**p - '0');
        }
        return value;
}

static int separator(const char **p, const char *end, const char *any_of)
{
        if (*p == end || !strchr(any_of, **p) || **p == '\0')
                return -1;
        return *(*p)++;
}

/* .123456789 → microseconds; 0 when there is no fraction; -1 when it is malformed. */
static int64_t fraction_us(const char **p, const char *end)
{
        int64_t value = 0;
        int n = 0;

        if (*p == end || **p != '.')
                return 0;
        for ((*p)++; *p < end && isdigit((unsigned char)**p); (*p)++, n++)
                if (n < 6)
                        value = value * 10 + (**p - '0');
        if (n == 0 || n > 9)
                return -1;
        for (; n < 6; n++)
                value *= 10;
        return value;
}

/* Z or ±hh:mm in seconds; INT32_MIN when malformed. */
static int32_t offset_s(const char **p, const char *end)
{
        int sign = separator(p, end, "Zz+-"), h, m;

        if (sign < 0)
                return INT32_MIN;
        if (sign == 'Z' || sign == 'z')
                return 0;
        if ((h = digits(p, end, 2)) < 0 || separator(p, end, ":") < 0 ||
            (m = digits(p, end, 2)) < 0 || h > 23 || m > 59)
                return INT32_MIN;
        return (sign == '-' ? -1 : 1) * (h * 3600 + m * 60);
}

static int is_date(const struct tm *tm)
{
        static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        int year = tm->tm_year + 1900;
        int is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

        if (tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1)
                return 0;
        return tm->tm_mday <= days[tm->tm_mon] + (tm->tm_mon == 1 && is_leap);
}

static int parse(struct aip_str text, int64_t *ret_us)
{
        const char *p = text.p, *end = text.p + text.n;
        struct tm tm = {0};
        int64_t us;
        int32_t offset;

        tm.tm_year = digits(&p, end, 4) - 1900;
        if (tm.tm_year < -1900 || separator(&p, end, "-") < 0)
                return -1;
        tm.tm_mon = digits(&p, end, 2) - 1;
        if (separator(&p, end, "-") < 0)
                return -1;
        tm.tm_mday = digits(&p, end, 2);
        if (!is_date(&tm) || separator(&p, end, "Tt ") < 0)
                return -1;
        if ((tm.tm_hour = digits(&p, end, 2)) < 0 || separator(&p, end, ":") < 0 ||
            (tm.tm_min = digits(&p, end, 2)) < 0 || separator(&p, end, ":") < 0 ||
            (tm.tm_sec = digits(&p, end, 2)) < 0)
                return -1;
        if (tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
                return -1;
        us = fraction_us(&p, end);
        offset = offset_s(&p, end);
        if (us < 0 || offset == INT32_MIN || p != end)
                return -1;
        *ret_us = ((int64_t)timegm(&tm) - offset) * 1000000 + us;
        return 0;
}

int aip_time_parse(struct aip_str text, int64_t *ret_wall_us, aip_error **err)
{
        if (text.n > 64 || parse(text, ret_wall_us) < 0)
                return aip_error_set(err, AIP_EINVAL,
                                     "not an RFC 3339 time with an offset, such as "
                                     "2024-01-15T10:30:00Z: '%.*s'",
                                     (int)AIP_MIN(text.n, (size_t)64), text.p);
        return 0;
}
