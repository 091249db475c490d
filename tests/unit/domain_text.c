/* Text rules and time stamps of the domain. */
#include "../../libaiplat/domain/text/text.h"
#include "../../libaiplat/domain/text/timestamp.h"
#include "domain_support.h"
#include <time.h>

Test(text, white_space_is_unicodes)
{
        static const uint32_t spaces[] = {0x09,   0x0a,   0x0b,   0x0c,   0x0d,   0x20,   0x85,
                                          0xa0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004,
                                          0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028,
                                          0x2029, 0x202f, 0x205f, 0x3000};
        size_t n = 0;
        for (uint32_t c = 0; c <= 0x10ffff; c++)
                n += (size_t)aip_text_is_white_space(c);
        cr_expect_eq(n, AIP_ARRAY_SIZE(spaces));
        for (size_t i = 0; i < AIP_ARRAY_SIZE(spaces); i++)
                cr_expect(aip_text_is_white_space(spaces[i]), "U+%04X", spaces[i]);
}

Test(text, characters_of_every_length)
{
        struct aip_str text = AIP_STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf");
        static const uint32_t expected[] = {'a', 0xe9, 0x20ac, 0x1f600, 0x10ffff};
        size_t position = 0;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(expected); i++)
                cr_expect_eq(aip_text_next(text, &position), expected[i]);
        cr_expect_eq(position, text.n);
}

Test(text, trim)
{
        static const struct {
                const char *text, *trimmed;
        } cases[] = {
                {"", ""},
                {" ", ""},
                {"a", "a"},
                {" a b\t", "a b"},
                {"\xe3\x80\x80€\xc2\xa0", "€"},
                {"\xe3\x80\x80\xc2\xa0", ""},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++)
                cr_expect(str_is(aip_text_trim(aip_str_of(cases[i].text)), cases[i].trimmed));
}

Test(text, quoted)
{
        char *long_text = repeat("x", 81), *malformed = repeat("\xff", 81), *wide = repeat("€", 27);
        struct {
                const char *text;
                const char *head, *tail;
                size_t bytes;
        } cases[] = {
                {"", "\"\"", "\"\"", 2},
                {"é\x01\x7f\xc2\x85z", "\"é\\x01\\x7f\\xc2\\x85z\"", "z\"", 21},
                {long_text, "\"xxx", "xxx…\"", 85},
                {long_text + 1, "\"xxx", "xxx\"", 82},
                {malformed, "\"\\xff", "\\xff…\"", 325},
                {wide, "\"€", "€…\"", 2 + 26 * 3 + 3},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                char quoted[AIP_TEXT_QUOTED_BYTES];
                cr_expect_eq(aip_text_quote(aip_str_of(cases[i].text), quoted), quoted);
                cr_expect_eq(strlen(quoted), cases[i].bytes, "%zu: %s", i, quoted);
                cr_expect_eq(strncmp(quoted, cases[i].head, strlen(cases[i].head)), 0);
                cr_expect_str_eq(quoted + strlen(quoted) - strlen(cases[i].tail), cases[i].tail);
        }
        free(long_text);
        free(malformed);
        free(wide);
}

Test(timestamp, table)
{
        static const struct {
                int64_t at_us;
                const char *text;
        } cases[] = {
                {0, "1970-01-01T00:00:00.000000Z"},
                {1, "1970-01-01T00:00:00.000001Z"},
                {INT64_C(86399999999), "1970-01-01T23:59:59.999999Z"},
                {INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z"},
                {INT64_C(951868800000000), "2000-03-01T00:00:00.000000Z"},
                {INT64_C(1709164800000000), "2024-02-29T00:00:00.000000Z"},
                {INT64_C(4107542400000000), "2100-03-01T00:00:00.000000Z"},
                {AIP_TIMESTAMP_MAX_US, "9999-12-31T23:59:59.999999Z"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                char text[AIP_TIMESTAMP_TEXT_BYTES];
                cr_expect_str_eq(aip_timestamp_format(cases[i].at_us, text), cases[i].text);
        }
}

Test(timestamp, agrees_with_the_c_library_on_every_day)
{
        for (int64_t day = 0; day < 2932897; day++) {
                time_t seconds = (time_t)(day * 86400 + day % 86400);
                struct tm tm;
                char expected[64], text[AIP_TIMESTAMP_TEXT_BYTES];
                gmtime_r(&seconds, &tm);
                snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.000000Z",
                         tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                         tm.tm_sec);
                aip_timestamp_format((int64_t)seconds * 1000000, text);
                cr_assert_eq(strcmp(text, expected), 0, "%s instead of %s", text, expected);
        }
}
