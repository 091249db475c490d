/* Prompt templates: syntax, what is refused and where, variables, rendering. */
#include "domain_support.h"
#include <aiplat/prompt_template.h>

AIP_DEFINE_CLEANUP(aip_prompt_template *, aip_prompt_template_unref);
#define _cleanup_template_ _cleanup_(aip_prompt_template_unref_p)

static int make(const char *content, const char *user_content, aip_prompt_template **ret_template,
                aip_error **err)
{
        struct aip_prompt_template_fields f = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        f.name = AIP_STR("t");
        f.content = aip_str_of(content);
        f.user_content = aip_str_of(user_content);
        return aip_prompt_template_new(&f, ret_template, err);
}

static aip_prompt_template *made(const char *content, const char *user_content)
{
        aip_error *err = NULL;
        aip_prompt_template *t = NULL;
        expect_ok(make(content, user_content, &t, &err), &err);
        return t;
}

static aip_value *json(const char *text)
{
        aip_error *err = NULL;
        aip_value *value = NULL;
        if (text)
                expect_ok(aip_value_parse(aip_str_of(text), &value, &err), &err);
        return value;
}

static void check(const char *content, const char *variables_json, const char *expected)
{
        aip_error *err = NULL;
        _cleanup_template_ aip_prompt_template *t = made(content, NULL);
        _cleanup_(aip_value_unref_p) aip_value *variables = json(variables_json);
        _cleanup_(aip_buf_deinit) struct aip_buf system = AIP_BUF_INIT(AIP_RENDERED_MAX_BYTES);
        _cleanup_(aip_buf_deinit) struct aip_buf user = AIP_BUF_INIT(AIP_RENDERED_MAX_BYTES);
        expect_ok(aip_prompt_template_render(t, AIP_STR("PROMPT"), variables, &system, &user, &err),
                  &err);
        cr_expect_str_eq(aip_buf_str(&system).p, expected, "%s: %s", content,
                         aip_buf_str(&system).p);
        cr_expect_str_eq(aip_buf_str(&user).p, "PROMPT");
}

Test(prompt_template, rendering)
{
        static const struct {
                const char *content, *variables, *expected;
        } cases[] = {
                /* plain text */
                {"You are helpful.", NULL, "You are helpful."},
                {"a { b } c", NULL, "a { b } c"},
                {"{\"a\":{\"b\":1}}", NULL, "{\"a\":{\"b\":1}}"},
                {"lone }} stays", NULL, "lone }} stays"},
                {"a\\b \\{ \\} \\", NULL, "a\\b \\{ \\} \\"},
                /* variables */
                {"{{x}}", "{\"x\":\"v\"}", "v"},
                {"<{{x}}>{{x}}{{y}}", "{\"x\":\"1\",\"y\":\"2\"}", "<1>12"},
                {"{{ x }}{{\tx\n}}{{\xc2\xa0x\xe3\x80\x80}}", "{\"x\":\"v\"}", "vvv"},
                {"{{_a.b-c9}}", "{\"_a.b-c9\":\"v\"}", "v"},
                {"{{a.b}}", "{\"a\":{\"b\":\"no\"},\"a.b\":\"yes\"}", "yes"},
                {"{{prompt}}!", NULL, "PROMPT!"},
                {"{{prompt}}", "{\"prompt\":\"forged\"}", "PROMPT"},
                {"{{prompt|nothing}}", NULL, "PROMPT"},
                {"{{Prompt|other}}", NULL, "other"},
                /* values that are not strings */
                {"{{x}}", "{\"x\":12}", "12"},
                {"{{x}}", "{\"x\":-0.5}", "-0.5"},
                {"{{x}}", "{\"x\":true}", "true"},
                {"{{x}}", "{\"x\":[1,\"a\",null]}", "[1,\"a\",null]"},
                {"{{x}}", "{\"x\":{\"k\":\"v\"}}", "{\"k\":\"v\"}"},
                {"<{{x}}>", "{\"x\":\"\"}", "<>"},
                {"{{x}}", "{\"x\":\"é€😀\"}", "é€😀"},
                /* defaults */
                {"{{x|d}}", NULL, "d"},
                {"{{x|d}}", "{}", "d"},
                {"{{x|d}}", "{\"x\":\"v\"}", "v"},
                {"{{x|d}}", "{\"x\":\"\"}", ""},
                {"{{x|d}}", "{\"x\":null}", "d"},
                {"<{{x|}}>", NULL, "<>"},
                {"<{{ x | a b }}>", NULL, "< a b >"},
                {"{{x|a|b}}", NULL, "a|b"},
                {"{{x|one}}{{x|two}}", NULL, "onetwo"},
                {"{{x|a\nb}}", NULL, "a\nb"},
                /* escapes */
                {"\\{{x\\}}", NULL, "{{x}}"},
                {"\\{{x}}", NULL, "{{x}}"},
                {"\\\\{{x}}", NULL, "\\{{x}}"},
                {"\\}}", NULL, "}}"},
                {"{{x|\\{{y\\}}}}", NULL, "{{y}}"},
                {"{{x|\\{{}}{{z|\\}}}}", NULL, "{{}}"},
                {"\\{{{{prompt}}\\}}", NULL, "{{PROMPT}}"},
                {"{{x|a\\b}}", NULL, "a\\b"},
                /* braces around and within */
                {"{{{x}}}", "{\"x\":\"v\"}", "{v}"},
                {"{{{{x}}}}", "{\"x\":\"v\"}", "{{v}}"},
                {"{ {{x}} }", "{\"x\":\"v\"}", "{ v }"},
                {"{{x|{b}}}", NULL, "{b}"},
                {"{{x|{\"k\":{\"l\":1}}}}", NULL, "{\"k\":{\"l\":1}}"},
                {"{{{x|d}}}", NULL, "{d}"},
                {"{{x|a}b}}", NULL, "a}b"},
                /* inserted text is never parsed */
                {"{{x}}", "{\"x\":\"{{y}} \\\\{{ {{prompt}}\"}", "{{y}} \\{{ {{prompt}}"},
                {"{{x}}{{y}}", "{\"x\":\"{{\",\"y\":\"y}}\"}", "{{y}}"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++)
                check(cases[i].content, cases[i].variables, cases[i].expected);
}

Test(prompt_template, prompts_are_never_parsed)
{
        aip_error *err = NULL;
        _cleanup_template_ aip_prompt_template *t = made("{{prompt}}", "<{{prompt}}>");
        _cleanup_(aip_buf_deinit) struct aip_buf system = AIP_BUF_INIT(100);
        _cleanup_(aip_buf_deinit) struct aip_buf user = AIP_BUF_INIT(100);
        expect_ok(aip_prompt_template_render(t, AIP_STR("{{secret}} \\{{"), NULL, &system, &user,
                                             &err),
                  &err);
        cr_expect_str_eq(system.p, "{{secret}} \\{{");
        cr_expect_str_eq(user.p, "<{{secret}} \\{{>");
}

Test(prompt_template, refused_syntax_says_where)
{
        static const struct {
                const char *content, *why;
        } cases[] = {
                {"{{", "content: line 1, column 1: this {{ is never closed"},
                {"a{{x", "line 1, column 2: this {{ is never closed"},
                {"{{x ", "line 1, column 1: this {{ is never closed"},
                {"{{x|abc", "line 1, column 1: this {{ is never closed"},
                {"{{x|abc}", "line 1, column 1: this {{ is never closed"},
                {"{{x|\\}}", "line 1, column 1: this {{ is never closed"},
                {"{{x|{}}", "single braces in a default must be in pairs"},
                {"one\ntwo é {{", "line 2, column 7: this {{ is never closed"},
                {"\xc3\xa9\n\n  {{x}} {{ 9 }}", "line 3, column 12: after {{ comes the name"},
                {"{{}}", "line 1, column 3: after {{ comes the name"},
                {"{{ }}", "line 1, column 4: after {{"},
                {"{{|d}}", "column 3: after {{"},
                {"{{9x}}", "column 3: after {{"},
                {"{{a b}}", "column 5: after {{"},
                {"{{a!}}", "column 4: after {{"},
                {"{{é}}", "column 3: after {{"},
                {"{{aé}}", "column 4: after {{"},
                {"{{.a}}", "column 3: after {{"},
                {"{{-a}}", "column 3: after {{"},
                {"{{x}", "column 4: after {{"},
                {"{{x} }", "column 4: after {{"},
                {"{{ {{x}} }}", "column 4: after {{"},
                {"{{x{{y}}}}", "column 4: after {{"},
                {"{{x|{{y}}}}", "column 5: a default cannot contain a placeholder"},
                {"{{x|a{{y|b}}c}}", "column 6: a default cannot contain a placeholder"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(cases); i++) {
                aip_error *err = NULL;
                aip_prompt_template *t = NULL;
                expect_refused(make(cases[i].content, NULL, &t, &err), &err, AIP_EINVAL,
                               cases[i].why);
                cr_expect_null(t);
        }
        aip_error *err = NULL;
        aip_prompt_template *t = NULL;
        expect_refused(make("fine", "x{{", &t, &err), &err, AIP_EINVAL,
                       "user_content: line 1, column 2");
}

Test(prompt_template, every_missing_variable_is_named_once)
{
        aip_error *err = NULL;
        _cleanup_template_ aip_prompt_template *t =
                made("{{a}} {{b|x}} {{c}} {{a}} {{prompt}}", "{{d}} {{c}} {{e|}} {{b}}");
        _cleanup_(aip_value_unref_p) aip_value *variables = json("{\"c\":1,\"d\":null}");
        _cleanup_(aip_buf_deinit) struct aip_buf system = AIP_BUF_INIT(100);
        _cleanup_(aip_buf_deinit) struct aip_buf user = AIP_BUF_INIT(100);
        expect_refused(aip_prompt_template_render(t, AIP_STR("p"), variables, &system, &user, &err),
                       &err, AIP_EINVAL, "variables: the template needs a, b, d");
        expect_refused(aip_prompt_template_render(t, AIP_STR("p"), NULL, &system, &user, &err),
                       &err, AIP_EINVAL, "variables: the template needs a, b, c, d");
}

Test(prompt_template, variables_must_be_an_object)
{
        static const char *const texts[] = {"[]", "1", "\"x\"", "null"};
        _cleanup_template_ aip_prompt_template *t = made("x", NULL);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(texts); i++) {
                aip_error *err = NULL;
                _cleanup_(aip_value_unref_p) aip_value *variables = json(texts[i]);
                _cleanup_(aip_buf_deinit) struct aip_buf system = AIP_BUF_INIT(100);
                _cleanup_(aip_buf_deinit) struct aip_buf user = AIP_BUF_INIT(100);
                expect_refused(aip_prompt_template_render(t, AIP_STR("p"), variables, &system,
                                                          &user, &err),
                               &err, AIP_EINVAL, "variables: must be an object");
        }
}

Test(prompt_template, list_of_variables)
{
        _cleanup_template_ aip_prompt_template *t =
                made("{{b}}{{prompt}}{{a|1}}{{b|x}}{{a|2}}", "{{c|\\{{}}{{a}}{{b|y}}");
        const struct aip_template_variable *v;
        cr_assert_eq(aip_prompt_template_variables(t, &v), 3);
        cr_expect(str_is(v[0].name, "b"));
        cr_expect(v[0].is_required);
        cr_expect(str_is(v[0].fallback, "x"));
        cr_expect(str_is(v[1].name, "a"));
        cr_expect(v[1].is_required, "it appears once without a default");
        cr_expect(str_is(v[1].fallback, "1"));
        cr_expect(str_is(v[2].name, "c"));
        cr_expect_not(v[2].is_required);
        cr_expect(str_is(v[2].fallback, "{{"));
        _cleanup_template_ aip_prompt_template *none = made("x {{prompt}}", NULL);
        cr_expect_eq(aip_prompt_template_variables(none, &v), 0);
}

Test(prompt_template, many_variables)
{
        _cleanup_(aip_buf_deinit) struct aip_buf content = AIP_BUF_INIT(AIP_TEMPLATE_MAX_BYTES);
        enum { N = 50000 };
        for (int i = 0; i < N; i++)
                cr_assert_eq(aip_buf_printf(&content, "{{v%d}}", i), 0);
        _cleanup_template_ aip_prompt_template *t = made(content.p, NULL);
        const struct aip_template_variable *v;
        cr_assert_eq(aip_prompt_template_variables(t, &v), N);
        cr_expect(str_is(v[N - 1].name, "v49999"));
        _cleanup_(aip_buf_deinit) struct aip_buf system = AIP_BUF_INIT(100);
        _cleanup_(aip_buf_deinit) struct aip_buf user = AIP_BUF_INIT(100);
        aip_error *err = NULL;
        expect_refused(aip_prompt_template_render(t, AIP_STR("p"), NULL, &system, &user, &err),
                       &err, AIP_EINVAL, ", v49999");
}

Test(prompt_template, parts)
{
        aip_error *err = NULL;
        _cleanup_template_ aip_prompt_template *t = made("S {{x}}", "U {{prompt}} {{x}}");
        _cleanup_(aip_value_unref_p) aip_value *variables = json("{\"x\":1,\"unused\":2}");
        _cleanup_(aip_buf_deinit) struct aip_buf system = AIP_BUF_INIT(100);
        _cleanup_(aip_buf_deinit) struct aip_buf user = AIP_BUF_INIT(100);
        expect_ok(aip_prompt_template_render(t, AIP_STR("p"), variables, &system, &user, &err),
                  &err);
        cr_expect_str_eq(system.p, "S 1");
        cr_expect_str_eq(user.p, "U p 1");
}

Test(prompt_template, a_part_that_becomes_too_long)
{
        aip_error *err = NULL;
        _cleanup_template_ aip_prompt_template *t = made("{{x}}", "{{x}}{{x}}");
        _cleanup_(aip_value_unref_p) aip_value *strings = json("{\"x\":\"12345\"}");
        _cleanup_(aip_value_unref_p) aip_value *lists = json("{\"x\":[1,2,3]}");
        _cleanup_(aip_buf_deinit) struct aip_buf four = AIP_BUF_INIT(4), nine = AIP_BUF_INIT(9),
                                                 more = AIP_BUF_INIT(100);
        expect_refused(aip_prompt_template_render(t, AIP_STR("p"), strings, &four, &more, &err),
                       &err, AIP_ELIMIT,
                       "the system part of the template becomes longer than 4 bytes");
        expect_refused(aip_prompt_template_render(t, AIP_STR("p"), strings, &more, &nine, &err),
                       &err, AIP_ELIMIT,
                       "the user part of the template becomes longer than 9 bytes");
        aip_buf_clear(&four);
        expect_refused(aip_prompt_template_render(t, AIP_STR("p"), lists, &four, &more, &err), &err,
                       AIP_ELIMIT, "system part");
        aip_buf_deinit(&nine);
        aip_buf_deinit(&four);
        aip_buf_deinit(&more);
}

static void refuse_fields(struct aip_prompt_template_fields f, const char *why)
{
        aip_error *err = NULL;
        aip_prompt_template *t = NULL;
        expect_refused(aip_prompt_template_new(&f, &t, &err), &err, AIP_EINVAL, why);
        cr_expect_null(t);
}

static struct aip_prompt_template_fields good_fields(void)
{
        struct aip_prompt_template_fields f = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        f.name = AIP_STR("code-assistant");
        f.content = AIP_STR("You write code.");
        f.description = AIP_STR("For programmers");
        return f;
}

#define REFUSE(member, text, why)                                                                  \
        do {                                                                                       \
                struct aip_prompt_template_fields f = good_fields();                               \
                f.member = text;                                                                   \
                refuse_fields(f, why);                                                             \
        } while (0)

Test(prompt_template, fields)
{
        REFUSE(name, AIP_STR(""), "name: ");
        REFUSE(name, AIP_STR(" x"), "name: ");
        REFUSE(content, AIP_STR(""), "content: must not be blank");
        REFUSE(content, AIP_STR(" \n"), "content: must not be blank");
        REFUSE(content, AIP_STR("a\0"), "content: must not contain the NUL");
        REFUSE(content, AIP_STR("{{\xff}}"), "content: is not valid UTF-8");
        REFUSE(content, aip_str_make(NULL, 5), "content: ");
        REFUSE(user_content, AIP_STR("\t"), "user_content: must not be blank");
        REFUSE(user_content, AIP_STR("\xc0\x80"), "user_content: is not valid UTF-8");
        REFUSE(description, AIP_STR("\xed\xa0\x80"), "description: is not valid UTF-8");
        char *large = repeat("x", AIP_TEMPLATE_MAX_BYTES + 1);
        REFUSE(content, aip_str_of(large), "content: is 1048577 bytes long; at most 1048576");
        REFUSE(user_content, aip_str_of(large), "user_content: is 1048577");
        REFUSE(description, aip_str_of(large), "description: is 1048577");
        free(large);
}

Test(prompt_template, fields_are_copied_and_counted)
{
        char content[] = "Hello {{name|you}}";
        struct aip_prompt_template_fields f = good_fields();
        f.content = aip_str_of(content);
        f.id = 7;
        f.created_at_us = 1;
        f.updated_at_us = 2;
        aip_error *err = NULL;
        aip_prompt_template *t = NULL;
        expect_ok(aip_prompt_template_new(&f, &t, &err), &err);
        memset(content, 'x', sizeof(content) - 1);
        aip_prompt_template *second = aip_prompt_template_ref(t);
        aip_prompt_template_unref(t);
        const struct aip_prompt_template_fields *g = aip_prompt_template_fields(second);
        cr_expect_str_eq(g->content.p, "Hello {{name|you}}");
        cr_expect_str_eq(g->user_content.p, "");
        cr_expect_str_eq(g->description.p, "For programmers");
        cr_expect_eq(g->id, 7);
        cr_expect_eq(g->updated_at_us, 2);
        const struct aip_template_variable *v;
        cr_assert_eq(aip_prompt_template_variables(second, &v), 1);
        cr_expect(str_is(v[0].fallback, "you"));
        aip_prompt_template_unref(second);
        aip_prompt_template_unref(NULL);
        cr_expect_null(aip_prompt_template_ref(NULL));
}
