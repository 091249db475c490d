/* Prompt and names: limits in characters and bytes, blank, malformed. */
#include "domain_support.h"

#define BYTES(literal)                                                                             \
        {                                                                                          \
                (literal), sizeof(literal) - 1                                                     \
        }

Test(prompt, accepted)
{
        static const struct aip_str cases[] = {
                BYTES("x"),
                BYTES(" x "),
                BYTES("Write a haiku about programming"),
                BYTES("\n\t\xe2\x80\x83"
                      "a"),                        /* EM SPACE before it */
                BYTES("\xf0\x9f\x98\x80"),         /* U+1F600 */
                BYTES("\xf4\x8f\xbf\xbf"),         /* U+10FFFF */
                BYTES("\xed\x9f\xbf\xee\x80\x80"), /* around the surrogates */
                BYTES("\x01"),                     /* a control character is not blank */
                BYTES("\xe2\x80\x8b"),             /* ZERO WIDTH SPACE is not White_Space */
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_error *err = NULL;
                expect_ok(aip_prompt_check(cases[i], &err), &err);
        }
}

Test(prompt, refused)
{
        static const struct {
                struct aip_str prompt;
                const char *why;
        } cases[] = {
                {{NULL, 0}, "prompt: must not be empty"},
                {{NULL, 3}, "prompt: "},
                {BYTES(""), "prompt: must not be empty"},
                {BYTES(" "), "prompt: must not be blank"},
                {BYTES(" \t\r\n\v\f"), "prompt: must not be blank"},
                {BYTES("\xc2\xa0\xc2\x85"), "prompt: must not be blank"}, /* NBSP, NEL */
                {BYTES("\xe3\x80\x80"), "prompt: must not be blank"},     /* ideographic space */
                {BYTES("\xe1\x9a\x80\xe2\x80\x80\xe2\x80\x8a\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaf"
                       "\xe2\x81\x9f"),
                 "prompt: must not be blank"},
                {BYTES("a\0b"), "NUL"},
                {BYTES("\0"), "NUL"},
                {BYTES("\xff"), "UTF-8"},
                {BYTES("a\x80"), "UTF-8"},            /* a lone continuation byte */
                {BYTES("\xc0\xaf"), "UTF-8"},         /* overlong '/' */
                {BYTES("\xe0\x80\xaf"), "UTF-8"},     /* overlong in three */
                {BYTES("\xf0\x80\x80\xaf"), "UTF-8"}, /* overlong in four */
                {BYTES("\xed\xa0\x80"), "UTF-8"},     /* a surrogate */
                {BYTES("\xed\xbf\xbf"), "UTF-8"},     /* the last one */
                {BYTES("\xf4\x90\x80\x80"), "UTF-8"}, /* beyond U+10FFFF */
                {BYTES("abc\xe2\x82"), "UTF-8"},      /* cut short */
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_error *err = NULL;
                expect_refused(aip_prompt_check(cases[i].prompt, &err), &err, AIP_EINVAL,
                               cases[i].why);
        }
}

Test(prompt, the_limit_counts_characters)
{
        static const char *const characters[] = {"a", "é", "€", "😀"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(characters); i++) {
                aip_error *err = NULL;
                size_t bytes = strlen(characters[i]);
                char *text = repeat(characters[i], AIP_PROMPT_MAX_CHARACTERS + 1);
                expect_ok(aip_prompt_check(aip_str_make(text, bytes * AIP_PROMPT_MAX_CHARACTERS),
                                           &err),
                          &err);
                expect_refused(aip_prompt_check(aip_str_of(text), &err), &err, AIP_EINVAL,
                               "prompt: has 100001 characters; at most 100000");
                free(text);
        }
}

Test(prompt, without_an_error_object_the_code_is_enough)
{
        cr_expect_eq(aip_prompt_check(aip_str_of(""), NULL), AIP_EINVAL);
        cr_expect_eq(aip_prompt_check(aip_str_of("x"), NULL), 0);
}

Test(name, table)
{
        static const struct {
                struct aip_str name;
                const char *why; /* NULL: accepted */
        } cases[] = {
                {BYTES("default-smart"), NULL},
                {BYTES("x"), NULL},
                {BYTES("with space inside"), NULL},
                {BYTES("naïve/Ü.1:2"), NULL},
                {BYTES(""), "config_name: must not be empty"},
                {{NULL, 2}, "config_name: "},
                {BYTES(" x"), "begin or end with white space"},
                {BYTES("x "), "\"x \" must not begin or end"},
                {BYTES("x\xe3\x80\x80"), "begin or end with white space"},
                {BYTES("a\nb"), "\"a\\x0a"
                                "b\" must not contain control"},
                {BYTES("a\x7f"), "control"},
                {BYTES("a\xc2\x80"), "control"},
                {BYTES("a\0"), "NUL"},
                {BYTES("\xed\xa0\x80"), "UTF-8"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_error *err = NULL;
                int r = aip_name_check("config_name", cases[i].name, &err);
                if (cases[i].why)
                        expect_refused(r, &err, AIP_EINVAL, cases[i].why);
                else
                        expect_ok(r, &err);
        }
}

Test(name, the_limit_counts_bytes)
{
        aip_error *err = NULL;
        char *text = repeat("n", AIP_NAME_MAX_BYTES + 1);
        expect_ok(aip_name_check("name", aip_str_make(text, AIP_NAME_MAX_BYTES), &err), &err);
        expect_refused(aip_name_check("name", aip_str_of(text), &err), &err, AIP_EINVAL,
                       "name: is 256 bytes long; at most 255");
        free(text);
}

/* Counting goes eight bytes at a time where it can: whatever stands at whatever place is seen. */
Test(prompt, characters_at_every_offset)
{
        static const struct {
                const char *bytes;
                int is_valid;
        } cases[] = {{"é", 1},    {"€", 1},        {"😀", 1},        {"\xff", 0},
                     {"\x80", 0}, {"\xc0\xaf", 0}, {"\xe2\x82", 0}, {"\xed\xa0\x80", 0}};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                for (size_t before = 0; before < 20; before++) {
                        for (size_t after = 0; after < 20; after++) {
                                char text[64] = "";
                                memset(text, 'a', before);
                                strcpy(text + before, cases[i].bytes);
                                memset(text + strlen(text), 'b', after);
                                int64_t expected =
                                        cases[i].is_valid ? (int64_t)(before + 1 + after) : -1;
                                cr_expect_eq(aip_str_utf8_length(aip_str_of(text)), expected,
                                             "%zu bytes, case %zu, %zu bytes", before, i, after);
                        }
                }
        }
}
