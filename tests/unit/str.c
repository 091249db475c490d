/* Views: copies, equality, counting characters of UTF-8. */
#include "macros.h"
#include <aiplat/str.h>
#include <criterion/criterion.h>

Test(str, counts_characters_and_refuses_malformed_text)
{
        static const struct {
                struct aip_str text;
                int64_t characters;
        } table[] = {
                {{"", 0}, 0},
                {{"abc", 3}, 3},
                {{"\0a", 2}, 2},
                {{"\xc3\xa9", 2}, 1},
                {{"\xe2\x82\xac", 3}, 1},
                {{"\xf0\x9f\x98\x80", 4}, 1},
                {{"\xed\x9f\xbf", 3}, 1},     /* U+D7FF, before the surrogates */
                {{"\xee\x80\x80", 3}, 1},     /* U+E000, behind them */
                {{"\xf4\x8f\xbf\xbf", 4}, 1}, /* U+10FFFF */
                {{"\xc2\x80", 2}, 1},
                {{"\xe0\xa0\x80", 3}, 1},
                {{"\xf0\x90\x80\x80", 4}, 1},
                {{"\x80", 1}, -1}, /* continuation without a start */
                {{"\xc3", 1}, -1}, /* cut */
                {{"\xe2\x82", 2}, -1},
                {{"\xf0\x9f\x98", 3}, -1},
                {{"\xc0\x80", 2}, -1}, /* overlong */
                {{"\xc1\xbf", 2}, -1},
                {{"\xe0\x9f\xbf", 3}, -1},
                {{"\xf0\x8f\xbf\xbf", 4}, -1},
                {{"\xed\xa0\x80", 3}, -1}, /* surrogates */
                {{"\xed\xbf\xbf", 3}, -1},
                {{"\xf4\x90\x80\x80", 4}, -1}, /* beyond U+10FFFF */
                {{"\xf5\x80\x80\x80", 4}, -1},
                {{"\xff", 1}, -1},
                {{"\xc3\x28", 2}, -1},
                {{"\xe2\x28\xa1", 3}, -1},
                {{"\xe2\x82\x28", 3}, -1},
                {{"\xf0\x9f\x98\x28", 4}, -1},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++)
                cr_assert_eq(aip_str_utf8_length(table[i].text), table[i].characters, "row %zu", i);
}

Test(str, every_scalar_value_is_accepted_and_counted_as_one)
{
        for (uint32_t c = 0; c <= 0x10ffff; c++) {
                char b[4];
                size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
                static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
                for (size_t i = n; i-- > 1;)
                        b[i] = (char)(0x80 | ((c >> 6 * (n - 1 - i)) & 0x3f));
                b[0] = (char)(lead[n] | c >> 6 * (n - 1));
                int is_surrogate = c >= 0xd800 && c <= 0xdfff;
                if (aip_str_utf8_length(aip_str_make(b, n)) != (is_surrogate ? -1 : 1))
                        cr_assert_fail("U+%04X", c);
        }
}

Test(str, copies_are_terminated)
{
        char *copy = aip_str_dup(aip_str_make("abcdef", 3));
        cr_assert_str_eq(copy, "abc");
        free(copy);
        copy = aip_str_dup(aip_str_of(NULL));
        cr_assert_str_eq(copy, "");
        free(copy);
}

Test(str, equality_looks_at_all_bytes)
{
        cr_assert(aip_str_eq(aip_str_of("ab"), aip_str_make("abc", 2)));
        cr_assert_not(aip_str_eq(aip_str_of("ab"), aip_str_of("abc")));
        cr_assert_not(aip_str_eq(aip_str_make("a\0b", 3), aip_str_make("a\0c", 3)));
        cr_assert(aip_str_eq(aip_str_of(NULL), aip_str_of("")));
}
