/* Expressions: what they yield, what they refuse and where, and that they end. */
#include "domain_support.h"
#include <aiplat/expression.h>
#include <stdio.h>

static aip_value *json_of(const char *text)
{
        aip_value *value = NULL;
        aip_error *err = NULL;

        expect_ok(aip_value_parse(aip_str_of(text), &value, &err), &err);
        return value;
}

static aip_expression *parsed(const char *text)
{
        static const char *const names[] = {"x", "list"};
        aip_expression *e = NULL;
        aip_error *err = NULL;
        int r = aip_expression_parse(aip_str_of(text), names, 2, &e, &err);

        cr_assert_eq(r, 0, "%s: %s", text, aip_error_message(err));
        return e;
}

/* All that `text` yields for `input`, as JSON; or the message of its failure. */
static char *yields(const char *text, const char *input)
{
        aip_value *in = json_of(input), *x = json_of("7"), *list = json_of("[1,2]"), *out = NULL;
        const aip_value *variables[] = {x, list};
        aip_expression *e = parsed(text);
        struct aip_buf buf = AIP_BUF_INIT(1 << 20);
        aip_error *err = NULL;

        if (aip_expression_list(e, in, variables, &out, &err) < 0)
                cr_assert_eq(aip_buf_append_cstr(&buf, aip_error_message(err)), 0);
        else
                cr_assert_eq(aip_value_print(out, &buf, NULL), 0);
        aip_error_free(err);
        aip_value_unref(in);
        aip_value_unref(x);
        aip_value_unref(list);
        aip_value_unref(out);
        aip_expression_unref(e);
        return aip_buf_take(&buf);
}

static void expect_all(const char *const (*cases)[3], size_t n)
{
        for (size_t i = 0; i < n; i++) {
                char *got = yields(cases[i][0], cases[i][1]);

                cr_expect_str_eq(got, cases[i][2], "%s for %s: %s, wanted %s", cases[i][0],
                                 cases[i][1], got, cases[i][2]);
                free(got);
        }
}

Test(expression, values_and_paths)
{
        static const char *const cases[][3] = {
                {".", "{\"a\":1}", "[{\"a\":1}]"},
                {".a.b", "{\"a\":{\"b\":[1]}}", "[[1]]"},
                {".a[\"b c\"]", "{\"a\":{\"b c\":2}}", "[2]"},
                {".\"a\"", "{\"a\":1}", "[1]"},
                {".a.b", "null", "[null]"},
                {".[1], .[-1], .[9]", "[1,2,3]", "[2,3,null]"},
                {".[1:], .[:-1], .[1:2]", "[1,2,3]", "[[2,3],[1,2],[2]]"},
                {".[1:3]", "\"äöüß\"", "[\"öü\"]"},
                {".[]", "{\"a\":1,\"b\":2}", "[1,2]"},
                {".a[].b", "{\"a\":[{\"b\":1},{\"b\":2}]}", "[1,2]"},
                {".a?", "3", "[]"},
                {"[.[] | .a?]", "[{\"a\":1},2]", "[[1]]"},
                {"$x, $list[0]", "null", "[7,1]"},
                {"1.5e1, -2, \"a\\u00e9\\n\", null, true, false", "null",
                 "[15,-2,\"aé\\n\",null,true,false]"},
                {"\"n=\\(.n) \\(\"a\" + \"b\")\"", "{\"n\":3}", "[\"n=3 ab\"]"},
                {"@uri \"http://x/?q=\\(.q)\"", "{\"q\":\"a b&c\"}", "[\"http://x/?q=a%20b%26c\"]"},
                {"@base64, @json", "\"hi\"", "[\"aGk=\",\"\\\"hi\\\"\"]"},
                {"# a comment\n.a # and more", "{\"a\":1}", "[1]"},
        };
        expect_all(cases, AIP_ARRAY_SIZE(cases));
}

Test(expression, operators)
{
        static const char *const cases[][3] = {
                {"1 + 2 * 3 - 4 / 2", "null", "[5]"},
                {"7 % 3, -7 % 3, 1 / 4", "null", "[1,-1,0.25]"},
                {"(1,2) + (10,20)", "null", "[11,12,21,22]"},
                {"\"a\" + \"b\", [1] + [2], {a:1} + {b:2}, null + 1", "null",
                 "[\"ab\",[1,2],{\"a\":1,\"b\":2},1]"},
                {"[1,2,1,3] - [1]", "null", "[[2,3]]"},
                {"{a:{b:1}} * {a:{c:2}}", "null", "[{\"a\":{\"b\":1,\"c\":2}}]"},
                {"\"ab\" * 3, \"a,b\" / \",\"", "null", "[\"ababab\",[\"a\",\"b\"]]"},
                {"1 < 2, \"a\" < \"b\", [1] == [1.0], {} > [], null < false", "null",
                 "[true,true,true,true,true]"},
                {"true and false, true or error, false and error, (null | not)", "null",
                 "[false,true,false,true]"},
                {".a // \"d\"", "{}", "[\"d\"]"},
                {".a // 1 // 2", "{\"a\":false}", "[1]"},
                {"[.[] // 9]", "[null,1,false,2]", "[[1,2]]"},
                {"if . > 1 then \"big\" elif . == 1 then \"one\" else \"small\" end", "1",
                 "[\"one\"]"},
                {"if . then 1 end", "false", "[false]"},
                {"-(.a)", "{\"a\":3}", "[-3]"},
                {". as $y | [$y, $x]", "1", "[[1,7]]"},
                {"reduce .[] as $n (0; . + $n)", "[1,2,3]", "[6]"},
                {"[.[] as $n | $n * 2]", "[1,2]", "[[2,4]]"},
                {"{a, \"b\": 2, (\"c\" + \"d\"): 3, $x}", "{\"a\":1}",
                 "[{\"a\":1,\"b\":2,\"cd\":3,\"x\":7}]"},
                {"{a: (1,2)}", "null", "[{\"a\":1},{\"a\":2}]"},
        };
        expect_all(cases, AIP_ARRAY_SIZE(cases));
}

Test(expression, functions)
{
        static const char *const cases[][3] = {
                {"map(. + 1)", "[1,2]", "[[2,3]]"},
                {"map(select(.n > 1) | .n)", "[{\"n\":1},{\"n\":2}]", "[[2]]"},
                {"length, (.[0] | length), (.[1] | length)", "[\"äb\",null]", "[2,2,0]"},
                {"keys, to_entries", "{\"b\":1,\"a\":2}",
                 "[[\"a\",\"b\"],[{\"key\":\"b\",\"value\":1},{\"key\":\"a\",\"value\":2}]]"},
                {"with_entries(select(.value > 1))", "{\"a\":1,\"b\":2}", "[{\"b\":2}]"},
                {"map_values(. * 2)", "{\"a\":1}", "[{\"a\":2}]"},
                {"sort, unique, min, max, reverse, add", "[3,1,3]",
                 "[[1,3,3],[1,3],1,3,[3,1,3],7]"},
                {"sort_by(.a) | map(.b)", "[{\"a\":2,\"b\":1},{\"a\":1,\"b\":2}]", "[[2,1]]"},
                {"group_by(.a) | map(length)", "[{\"a\":2},{\"a\":1},{\"a\":2}]", "[[1,2]]"},
                {"first, last, first(.[] | . * 2), [limit(2; .[])]", "[1,2,3]", "[1,3,2,[1,2]]"},
                {"[range(3)], [range(1; 3)]", "null", "[[0,1,2],[1,2]]"},
                {"contains([\"b\"]), (.[0] | startswith(\"f\"), endswith(\"o\"))",
                 "[\"foo\",\"bar\"]", "[true,true,true]"},
                {"contains({a: [1]})", "{\"a\":[1,2]}", "[true]"},
                {"split(\",\"), (split(\",\") | join(\"-\"))", "\"a,b,\"",
                 "[[\"a\",\"b\",\"\"],\"a-b-\"]"},
                {"ltrimstr(\"a\"), rtrimstr(\"c\"), ascii_upcase, trim", "\"abc\"",
                 "[\"bc\",\"ab\",\"ABC\",\"abc\"]"},
                {"has(\"a\"), has(\"b\"), type", "{\"a\":null}", "[true,false,\"object\"]"},
                {"any, all, any(. > 2), all(. > 0)", "[1,2]", "[true,true,false,true]"},
                {"tostring, tojson, (tojson | fromjson)", "[1,\"a\"]",
                 "[\"[1,\\\"a\\\"]\",\"[1,\\\"a\\\"]\",[1,\"a\"]]"},
                {"tonumber", "\"1.50\"", "[1.5]"},
                {"flatten, flatten(1)", "[1,[2,[3]]]", "[[1,2,3],[1,2,[3]]]"},
                {"getpath([\"a\",0])", "{\"a\":[5]}", "[5]"},
                {"floor, ceil, round", "2.5", "[2,3,3]"},
                {"empty", "1", "[]"},
        };
        expect_all(cases, AIP_ARRAY_SIZE(cases));
}

Test(expression, failures_say_why)
{
        static const char *const cases[][3] = {
                {".a", "[]", "list has no member \"a\""},
                {"1 + \"a\"", "null", "integer and string cannot be added"},
                {".[]", "3", "cannot iterate over integer"},
                {"error(\"broken\")", "null", "broken"},
                {"1 / 0", "null", "division by zero"},
                {"{(1): 2}", "null", "integer is no name of a member"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                char *got = yields(cases[i][0], cases[i][1]);

                cr_expect_str_eq(got, cases[i][2], "%s", cases[i][0]);
                free(got);
        }
}

Test(expression, refusals_tell_the_place)
{
        static const struct {
                const char *text, *message;
        } cases[] = {
                {"", "line 1, column 1: a value is missing at the end"},
                {".a +", "line 1, column 5: a value is missing at the end"},
                {".a\n  | nosuch(1)", "line 2, column 5: there is no function nosuch/1"},
                {"$nope", "line 1, column 1: there is no variable $\"nope\""},
                {"\"abc", "line 1, column 5: a text is not closed"},
                {"[1, 2", "line 1, column 6: ']' is missing at the end"},
                {".a b", "line 1, column 4: this is not expected here"},
                {"if 1 then 2", "line 1, column 12: 'end' is expected here"},
                {"\"ä\" ]", "line 1, column 5: this is not expected here"},
                {"def f: 1; f", "line 1, column 1: this word is not expected here"},
                {"1 as $y | 2) | $y", "line 1, column 12: this is not expected here"},
                {"\"\\q\"", "line 1, column 3: unknown escape in a text"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_expression *e = NULL;
                aip_error *err = NULL;

                cr_expect_eq(aip_expression_parse(aip_str_of(cases[i].text), NULL, 0, &e, &err),
                             AIP_EINVAL);
                cr_expect_str_eq(aip_error_message(err), cases[i].message, "%s", cases[i].text);
                aip_error_free(err);
        }
}

static int evaluates(const char *text)
{
        aip_expression *e = parsed(text);
        const aip_value *variables[2] = {NULL, NULL};
        aip_value *value = NULL;
        aip_error *err = NULL;
        int r = aip_expression_eval(e, NULL, variables, &value, &err);

        aip_error_free(err);
        aip_value_unref(value);
        aip_expression_unref(e);
        return r;
}

Test(expression, always_ends)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 16);

        cr_expect_eq(evaluates("[range(10000000)]"), AIP_ELIMIT);
        cr_expect_eq(evaluates("[range(100000)] | map(. as $a | [range(100000)] | length)"),
                     AIP_ELIMIT);
        cr_expect_eq(evaluates("reduce range(100) as $i (\"ab\"; . + .)"), AIP_ELIMIT);
        cr_expect_eq(evaluates("reduce range(100) as $i ([1]; . + .)"), AIP_ELIMIT);
        cr_expect_eq(evaluates("\"x\" * 1000000000"), AIP_ELIMIT);
        cr_expect_eq(evaluates("1, 2"), AIP_EINVAL);
        for (int i = 0; i < 300; i++)
                cr_assert_eq(aip_buf_append_cstr(&text, "[("), 0);
        aip_expression *e = NULL;
        cr_expect_lt(aip_expression_parse(aip_buf_str(&text), NULL, 0, &e, NULL), 0);
        aip_buf_clear(&text);
        for (int i = 0; i < 2000; i++)
                cr_assert_eq(aip_buf_append_cstr(&text, "1+"), 0);
        cr_assert_eq(aip_buf_append_cstr(&text, "1"), 0);
        cr_expect_eq(aip_expression_parse(aip_buf_str(&text), NULL, 0, &e, NULL), AIP_ELIMIT);
        aip_buf_deinit(&text);
}

Test(expression, conditions)
{
        aip_expression *e = parsed(".a > 1");
        const aip_value *variables[2] = {NULL, NULL};
        aip_value *input = json_of("{\"a\":2}");

        cr_expect_eq(aip_expression_test(e, input, variables, NULL), 1);
        aip_value_unref(input);
        input = json_of("{\"a\":0}");
        cr_expect_eq(aip_expression_test(e, input, variables, NULL), 0);
        aip_value_unref(input);
        cr_expect(aip_str_eq(aip_expression_text(e), AIP_STR(".a > 1")));
        aip_expression_unref(aip_expression_ref(e));
        aip_expression_unref(e);
}
