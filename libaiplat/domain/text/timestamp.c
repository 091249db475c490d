/* RFC 3339 without the C library's time zones: pure arithmetic (see timestamp.h). */
#include "text/timestamp.h"
#include "macros.h"

#define US_PER_SECOND INT64_C(1000000)
#define SECONDS_A_DAY 86400
#define DAYS_AN_ERA   146097 /* 400 years: the period of the Gregorian calendar */

struct date {
        int year, month, day;
};

/* Years are counted from March, so that the leap day is the last of its year; day 0 is 0000-03-01.
 * (H. Hinnant, "chrono-compatible low-level date algorithms") */
static struct date date_of_day(int64_t days_since_1970)
{
        int64_t days = days_since_1970 + 719468;
        int64_t era = days / DAYS_AN_ERA;
        int64_t day_of_era = days % DAYS_AN_ERA;
        int64_t year_of_era =
                (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        int64_t day_of_year =
                day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        int64_t month_from_march = (5 * day_of_year + 2) / 153;
        struct date date = {
                .year = (int)(era * 400 + year_of_era + (month_from_march >= 10)),
                .month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9),
                .day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        };
        return date;
}

static char *put(char *to, int digits, int64_t value, char behind)
{
        for (int i = digits - 1; i >= 0; i--, value /= 10)
                to[i] = (char)('0' + value % 10);
        to[digits] = behind;
        return to + digits + 1;
}

/* By hand rather than with snprintf: every job that is read or told of has several of these. */
char *aip_timestamp_format(int64_t at_us, char ret_text[AIP_TIMESTAMP_TEXT_BYTES])
{
        at_us = AIP_MIN(AIP_MAX(at_us, INT64_C(0)), AIP_TIMESTAMP_MAX_US);
        int64_t seconds = at_us / US_PER_SECOND;
        struct date date = date_of_day(seconds / SECONDS_A_DAY);
        int64_t second = seconds % SECONDS_A_DAY;
        char *to = ret_text;
        to = put(to, 4, date.year, '-');
        to = put(to, 2, date.month, '-');
        to = put(to, 2, date.day, 'T');
        to = put(to, 2, second / 3600, ':');
        to = put(to, 2, second / 60 % 60, ':');
        to = put(to, 2, second % 60, '.');
        to = put(to, 6, at_us % US_PER_SECOND, 'Z');
        *to = '\0';
        return ret_text;
}
