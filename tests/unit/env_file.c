/* The syntax of .env files. */
#include "env_file.h"
#include "alloc_fail.h"
#include "macros.h"
#include <criterion/criterion.h>

static int note(void *user, const char *name, const char *value, int line, aip_error **err)
{
        (void)err;
        return aip_buf_printf(user, "%d:%s=%s|", line, name, value);
}

static int parse(struct aip_str text, struct aip_buf *out, aip_error **err)
{
        struct aip_env_visitor visitor = {note, out};
        return aip_env_parse(text, &visitor, err);
}

Test(env_file, reads)
{
        static const char *const table[][2] = {
                {"", ""},
                {"\n\n  # only a comment\n", ""},
                {"A=1", "1:A=1|"},
                {"A=1\nB=2\n", "1:A=1|2:B=2|"},
                {"A=1\r\nB=2\r\n", "1:A=1|2:B=2|"},
                {"  A = 1  \n", "1:A=1|"},
                {"A=", "1:A=|"},
                {"A=\nB=1", "1:A=|2:B=1|"},
                {"export A=1\nexport=2\nexport =3", "1:A=1|2:export=2|3:export=3|"},
                {"A=a b # comment\n", "1:A=a b|"},
                {"A=a#b\n", "1:A=a#b|"},
                {"A=#b\n", "1:A=|"},
                {"A=postgresql+asyncpg://u:p$w@h:5432/d?x=y&z=1",
                 "1:A=postgresql+asyncpg://u:p$w@h:5432/d?x=y&z=1|"},
                {"A='a # b'  # c\n", "1:A=a # b|"},
                {"A='a\\nb'", "1:A=a\\nb|"},
                {"A=\"a\\n\\t\\\"\\\\\\$\\q\"", "1:A=a\n\t\"\\$\\q|"},
                {"A=\"x\ny\"\nB=1", "1:A=x\ny|3:B=1|"},
                {"A=\"\"", "1:A=|"},
                {"A=it's", "1:A=it's|"},
                {"A=\xc3\xa9", "1:A=\xc3\xa9|"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(1000);
                cr_assert_eq(parse(aip_str_of(table[i][0]), &out, NULL), 0, "row %zu", i);
                cr_assert_str_eq(out.p ? out.p : "", table[i][1]);
        }
}

Test(env_file, refuses_and_says_the_line)
{
        static const struct {
                struct aip_str text;
                const char *message;
        } table[] = {
#define ROW(literal, message) {{literal, sizeof(literal) - 1}, message}
                ROW("A", "line 1: '=' is expected behind the name"),
                ROW("A=1\nB C=2", "line 2: '=' is expected behind the name"),
                ROW("=1", "line 1: a name is expected"),
                ROW("1A=1", "line 1: a name is expected"),
                ROW("A-B=1", "line 1: '=' is expected behind the name"),
                ROW("export 1=1", "line 1: a name is expected"),
                ROW("\n\nA=\"x\ny", "line 3: the closing quote is missing"),
                ROW("A='x", "line 1: the closing quote is missing"),
                ROW("A='x'y", "line 1: text behind the closing quote"),
                ROW("A=\"x\\", "line 1: the closing quote is missing"),
                ROW("A=1\nB=\xff\n", "line 2: invalid UTF-8"),
                ROW("A=1\nB=\0\n", "line 2: NUL is not allowed"),
#undef ROW
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(1000);
                _cleanup_(aip_error_free_p) aip_error *err = NULL;
                cr_assert_eq(parse(table[i].text, &out, &err), AIP_EINVAL, "row %zu", i);
                cr_assert_str_eq(aip_error_message(err), table[i].message);
        }
}

static int refuse(void *user, const char *name, const char *value, int line, aip_error **err)
{
        (void)user;
        (void)name;
        (void)value;
        (void)line;
        return aip_error_set(err, AIP_ESTATE, "no");
}

Test(env_file, the_visitor_may_stop_it)
{
        struct aip_env_visitor visitor = {refuse, NULL};
        aip_error *err = NULL;
        cr_assert_eq(aip_env_parse(AIP_STR("A=1\n?"), &visitor, &err), AIP_ESTATE);
        aip_error_free(err);
}

static int read_some(void *user, aip_error **err)
{
        (void)user;
        _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(1000);
        int r = parse(AIP_STR("NAME=value\nQ=\"\\n\"\n"), &out, err);
        return r;
}

Test(env_file, survives_allocation_failure)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(read_some, NULL);
}
