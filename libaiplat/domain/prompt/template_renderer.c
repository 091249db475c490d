/* Rendering: from a template, a prompt and variables to the texts of two messages. Called once or
 * more per job by the agent node. Inserted text is copied, never parsed: what a stranger writes
 * into a variable stays text. */
#include "macros.h"
#include "prompt/template_impl.h"

struct render {
        const aip_prompt_template *prompt_template;
        struct aip_str prompt;
        const aip_value *variables;
};

/* NULL when it was not given. A JSON null is nothing given. */
static const aip_value *given(const struct render *r, uint32_t variable)
{
        const struct aip_template_variable *v = &r->prompt_template->variables.items[variable];
        const aip_value *value = aip_value_get(r->variables, v->name);
        return aip_value_type(value) == AIP_VALUE_NULL ? NULL : value;
}

static int append_value(const aip_value *value, struct aip_buf *out)
{
        if (aip_value_type(value) == AIP_VALUE_STRING)
                return aip_buf_append(out, aip_value_as_string(value));
        return aip_value_print(value, out, NULL);
}

static int append_segment(const struct render *r, const struct aip_segment *segment,
                          struct aip_buf *out)
{
        switch (segment->kind) {
        case AIP_SEGMENT_TEXT:
                return aip_buf_append(out, segment->text);
        case AIP_SEGMENT_PROMPT:
                return aip_buf_append(out, r->prompt);
        case AIP_SEGMENT_VARIABLE:
                break;
        }
        const aip_value *value = given(r, segment->variable);
        return value ? append_value(value, out) : aip_buf_append(out, segment->text);
}

static int append_segments(const struct render *r, const struct aip_segments *segments,
                           struct aip_buf *out)
{
        for (size_t i = 0; i < segments->n; i++) {
                int result = append_segment(r, &segments->items[i], out);
                if (result < 0)
                        return result;
        }
        return 0;
}

static int explain(int result, const char *part, const struct aip_buf *out, aip_error **err)
{
        if (result == AIP_ELIMIT)
                return aip_error_set(err, AIP_ELIMIT,
                                     "the %s part of the template becomes longer than %zu bytes",
                                     part, out->max_bytes);
        return result < 0 ? aip_error_set_nomem(err) : 0;
}

static int append_missing(const struct render *r, struct aip_buf *names)
{
        const struct aip_template_variables *variables = &r->prompt_template->variables;
        for (uint32_t i = 0; i < variables->n; i++) {
                if (!variables->items[i].is_required || given(r, i))
                        continue;
                if (names->n && aip_buf_append_cstr(names, ", ") < 0)
                        return AIP_ENOMEM;
                if (aip_buf_append(names, variables->items[i].name) < 0)
                        return AIP_ENOMEM;
        }
        return 0;
}

static int check_missing(const struct render *r, aip_error **err)
{
        /* Each name costs its template at least its own length and four braces. */
        _cleanup_(aip_buf_deinit) struct aip_buf names = AIP_BUF_INIT(2 * AIP_TEMPLATE_MAX_BYTES);
        if (append_missing(r, &names) < 0)
                return aip_error_set_nomem(err);
        if (names.n == 0)
                return 0;
        return aip_error_set(err, AIP_EINVAL, "variables: the template needs %.*s",
                             AIP_STR_ARG(aip_buf_str(&names)));
}

int aip_prompt_template_render(const aip_prompt_template *prompt_template, struct aip_str prompt,
                               const aip_value *variables, struct aip_buf *ret_system,
                               struct aip_buf *ret_user, aip_error **err)
{
        struct render r = {prompt_template, prompt, variables};
        if (variables && aip_value_type(variables) != AIP_VALUE_OBJECT)
                return aip_error_set(err, AIP_EINVAL, "variables: must be an object");
        int result = check_missing(&r, err);
        if (result < 0)
                return result;
        result = explain(append_segments(&r, &prompt_template->system, ret_system), "system",
                         ret_system, err);
        if (result < 0)
                return result;
        if (prompt_template->fields.user_content.n == 0)
                result = aip_buf_append(ret_user, prompt);
        else
                result = append_segments(&r, &prompt_template->user, ret_user);
        return explain(result, "user", ret_user, err);
}
