/*
 * PromptTemplate: the aggregate of the engine context that turns a job into messages for a model.
 * Immutable and reference-counted (atomically); parsed once, when made.
 *
 * Syntax of both parts:
 *     {{name}}            the variable `name`: [A-Za-z_][A-Za-z0-9_.-]*, white space around it ignored
 *     {{name|default}}    the text after the bar when the variable is not given (may be empty)
 *     \{{  and  \}}       literal braces; a backslash elsewhere is itself
 * {{prompt}} is always the job's prompt. An unclosed {{ or a bad name is refused when the template is
 * made, with line and column. Braces that are not doubled are plain text, and so is a }} that closes
 * nothing. Of three or more { the last two open: {{{name}}} is the value in braces. A default may
 * contain single braces in pairs ({{user|{"role":"guest"}}}), and escapes, but no placeholder.
 *
 * Any text becomes a template that renders to itself when a backslash is put before each {{ and }}.
 */
#ifndef AIPLAT_PROMPT_TEMPLATE_H
#define AIPLAT_PROMPT_TEMPLATE_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/value.h>

AIP_BEGIN_DECLS

typedef struct aip_prompt_template aip_prompt_template;

#define AIP_TEMPLATE_MAX_BYTES (1u << 20)
#define AIP_RENDERED_MAX_BYTES (16u << 20)

struct aip_prompt_template_fields {
        size_t self_size;
        int64_t id;                  /* the store's; 0: not stored */
        struct aip_str name;         /* unique */
        struct aip_str content;      /* the system part; not blank */
        struct aip_str user_content; /* the user part; empty: the prompt alone */
        struct aip_str description;  /* may be empty */
        int64_t created_at_us, updated_at_us;
};

#define AIP_PROMPT_TEMPLATE_FIELDS_INIT                                                            \
        {                                                                                          \
                sizeof(struct aip_prompt_template_fields), 0, {0, 0}, {0, 0}, {0, 0}, {0, 0}, 0, 0 \
        }

AIP_API int aip_prompt_template_new(const struct aip_prompt_template_fields *fields,
                                    aip_prompt_template **ret_template, aip_error **err);
AIP_API aip_prompt_template *aip_prompt_template_ref(const aip_prompt_template *prompt_template);
AIP_API void aip_prompt_template_unref(aip_prompt_template *prompt_template);
AIP_API const struct aip_prompt_template_fields *
aip_prompt_template_fields(const aip_prompt_template *prompt_template);

/* Variables in order of first appearance, each once, without `prompt`. */
struct aip_template_variable {
        struct aip_str name;
        int32_t is_required;        /* it appears at least once without a default */
        struct aip_str fallback;    /* of its first appearance with a default */
};
AIP_API size_t aip_prompt_template_variables(const aip_prompt_template *prompt_template,
                                             const struct aip_template_variable **ret_variables);

/*
 * Render both parts. `variables` is an object or NULL; strings are inserted as they are, numbers and
 * booleans as JSON writes them, lists and objects as JSON; null counts as not given. The text of a
 * variable is never parsed again. AIP_EINVAL names every missing variable; AIP_ELIMIT when a part passes its buffer's maximum.
 * On failure the buffers' content is undefined.
 */
AIP_API int aip_prompt_template_render(const aip_prompt_template *prompt_template,
                                       struct aip_str prompt, const aip_value *variables,
                                       struct aip_buf *ret_system, struct aip_buf *ret_user,
                                       aip_error **err);

AIP_END_DECLS

#endif
