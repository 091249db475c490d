/*
 * Prompt templates. The input is a content, a NUL, a user part, a NUL, and variables as JSON.
 * Whatever is accepted renders: without variables it fails exactly when one is required and names
 * each of those, with all of them it succeeds. And any text at all can be written as a template.
 */
#include "fuzz.h"
#include <aiplat/prompt_template.h>
#include <string.h>

#define OUTPUT_MAX_BYTES (1u << 20)

static struct aip_str take_part(struct aip_str *rest)
{
        const char *end = rest->n ? memchr(rest->p, '\0', rest->n) : NULL;
        struct aip_str part = aip_str_make(rest->p, end ? (size_t)(end - rest->p) : rest->n);
        size_t used = end ? part.n + 1 : part.n;
        *rest = aip_str_make(used ? rest->p + used : rest->p, rest->n - used);
        return part;
}

static aip_prompt_template *make(struct aip_str content, struct aip_str user_content)
{
        struct aip_prompt_template_fields fields = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        aip_prompt_template *t = NULL;
        aip_error *err = NULL;
        fields.name = aip_str_of("t");
        fields.content = content;
        fields.user_content = user_content;
        int r = aip_prompt_template_new(&fields, &t, &err);
        MUST(r == 0 || r == AIP_EINVAL);
        MUST(r == 0 || strncmp(aip_error_message(err), "content: ", 9) == 0 ||
             strncmp(aip_error_message(err), "user_content: ", 14) == 0);
        MUST(r == 0 || aip_str_utf8_length(aip_str_of(aip_error_message(err))) > 0);
        aip_error_free(err);
        return t;
}

struct rendered {
        struct aip_buf system, user;
};

static int render(const aip_prompt_template *t, const aip_value *variables, struct rendered *to,
                  aip_error **err)
{
        aip_buf_init(&to->system, OUTPUT_MAX_BYTES);
        aip_buf_init(&to->user, OUTPUT_MAX_BYTES);
        return aip_prompt_template_render(t, aip_str_of("the {{prompt}}"), variables, &to->system,
                                          &to->user, err);
}

static void rendered_deinit(struct rendered *rendered)
{
        aip_buf_deinit(&rendered->system);
        aip_buf_deinit(&rendered->user);
}

static int has_name(const char *message, struct aip_str name)
{
        return memmem(message, strlen(message), name.p, name.n) != NULL;
}

static void check_without_variables(const aip_prompt_template *t)
{
        const struct aip_template_variable *variables;
        size_t n = aip_prompt_template_variables(t, &variables), n_required = 0;
        struct rendered rendered;
        aip_error *err = NULL;
        int r = render(t, NULL, &rendered, &err);
        for (size_t i = 0; i < n; i++) {
                n_required += variables[i].is_required != 0;
                MUST(!variables[i].is_required ||
                     has_name(aip_error_message(err), variables[i].name));
                MUST(variables[i].is_required || variables[i].fallback.p);
        }
        MUST(r == (n_required ? AIP_EINVAL : 0));
        aip_error_free(err);
        rendered_deinit(&rendered);
}

static void check_with_all_variables(const aip_prompt_template *t)
{
        const struct aip_template_variable *variables;
        size_t n = aip_prompt_template_variables(t, &variables);
        aip_value *values = aip_value_object();
        struct rendered rendered;
        for (size_t i = 0; i < n; i++)
                MUST(aip_value_object_set(&values, variables[i].name,
                                          aip_value_string(aip_str_of("{{x}}"))) == 0);
        MUST(render(t, values, &rendered, NULL) == 0);
        MUST(aip_str_utf8_length(aip_buf_str(&rendered.system)) >= 0);
        MUST(aip_str_utf8_length(aip_buf_str(&rendered.user)) >= 0);
        rendered_deinit(&rendered);
        aip_value_unref(values);
}

static void check_with_variables(const aip_prompt_template *t, struct aip_str json)
{
        aip_value *variables = NULL;
        struct rendered rendered;
        if (aip_value_parse(json, &variables, NULL) < 0)
                return;
        int r = render(t, variables, &rendered, NULL);
        MUST(r == 0 || r == AIP_EINVAL || r == AIP_ELIMIT);
        rendered_deinit(&rendered);
        aip_value_unref(variables);
}

static void append_escaped(struct aip_buf *out, struct aip_str text)
{
        for (size_t i = 0; i < text.n;) {
                int is_pair = i + 1 < text.n && text.p[i] == text.p[i + 1] &&
                              (text.p[i] == '{' || text.p[i] == '}');
                if (is_pair)
                        MUST(aip_buf_append_char(out, '\\') == 0);
                MUST(aip_buf_append(out, aip_str_make(text.p + i, is_pair ? 2 : 1)) == 0);
                i += is_pair ? 2 : 1;
        }
}

/* "x" around it, so that it is not blank. */
static void check_escapes(struct aip_str text)
{
        struct aip_buf source = AIP_BUF_INIT(OUTPUT_MAX_BYTES),
                       plain = AIP_BUF_INIT(OUTPUT_MAX_BYTES);
        MUST(aip_buf_append_char(&source, 'x') == 0 && aip_buf_append_char(&plain, 'x') == 0);
        append_escaped(&source, text);
        MUST(aip_buf_append(&plain, text) == 0);
        aip_prompt_template *t = make(aip_buf_str(&source), aip_str_of(""));
        MUST(t);
        struct rendered rendered;
        MUST(render(t, NULL, &rendered, NULL) == 0);
        MUST(aip_str_eq(aip_buf_str(&rendered.system), aip_buf_str(&plain)));
        rendered_deinit(&rendered);
        aip_prompt_template_unref(t);
        aip_buf_deinit(&source);
        aip_buf_deinit(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct aip_str rest = aip_str_make((const char *)data, size);
        struct aip_str content = take_part(&rest), user_content = take_part(&rest);
        aip_prompt_template *t = make(content, user_content);
        if (t) {
                check_without_variables(t);
                check_with_all_variables(t);
                check_with_variables(t, rest);
        }
        aip_prompt_template_unref(t);
        if (aip_str_utf8_length(content) >= 0 && content.n < 4096)
                check_escapes(content);
        return 0;
}
