/*
 * PromptTemplate: a checked, parsed, immutable template (see aiplat/prompt_template.h). Made by
 * stores when they load the catalog and by the catalog service when someone changes one, so that a
 * template that cannot be rendered is refused when it is written, not when a job needs it.
 */
#include "macros.h"
#include "mem.h"
#include "prompt/template_impl.h"
#include "text/text.h"
#include <aiplat/job.h>

static int check_part(const char *what, struct aip_str part, aip_error **err)
{
        int r = aip_text_check(what, part, AIP_TEMPLATE_MAX_BYTES, err);
        if (r == 0 && aip_text_is_blank(part))
                r = aip_error_set(err, AIP_EINVAL, "%s: must not be blank", what);
        return r;
}

static int check(const struct aip_prompt_template_fields *f, aip_error **err)
{
        int r = aip_name_check("name", f->name, err);
        if (r == 0)
                r = check_part("content", f->content, err);
        if (r == 0 && f->user_content.n)
                r = check_part("user_content", f->user_content, err);
        if (r == 0)
                r = aip_text_check("description", f->description, AIP_TEMPLATE_MAX_BYTES, err);
        return r;
}

static aip_prompt_template *pack(const struct aip_prompt_template_fields *fields)
{
        struct aip_prompt_template_fields f = *fields;
        struct aip_str *strings[] = {&f.name, &f.content, &f.user_content, &f.description};
        size_t bytes = sizeof(aip_prompt_template);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(strings); i++) {
                if (strings[i]->n == 0)
                        strings[i]->p = "";
                bytes += aip_text_packed_bytes(*strings[i]);
        }
        aip_prompt_template *t = aip_alloc(bytes);
        if (!t)
                return NULL;
        memset(t, 0, sizeof(*t));
        char *at = (char *)(t + 1);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(strings); i++)
                at = aip_text_pack(strings[i], at);
        atomic_init(&t->n_refs, 1);
        t->fields = f;
        return t;
}

static int parse_part(aip_prompt_template *t, const char *what, struct aip_str source,
                      struct aip_segments *segments, aip_error **err)
{
        struct aip_template_parse parse = {
                .what = what,
                .source = source,
                .segments = segments,
                .variables = &t->variables,
                .arena = &t->defaults,
        };
        return aip_template_parse(&parse, err);
}

static int parse(aip_prompt_template *t, aip_error **err)
{
        const struct aip_prompt_template_fields *f = &t->fields;
        t->defaults.capacity = f->content.n + f->user_content.n;
        int r = parse_part(t, "content", f->content, &t->system, err);
        if (r == 0)
                r = parse_part(t, "user_content", f->user_content, &t->user, err);
        aip_hash_map_deinit(&t->variables.index);
        return r;
}

int aip_prompt_template_new(const struct aip_prompt_template_fields *fields,
                            aip_prompt_template **ret_template, aip_error **err)
{
        struct aip_prompt_template_fields full = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        aip_fields_merge(&full, sizeof(full), fields);
        int r = check(&full, err);
        if (r < 0)
                return r;
        aip_prompt_template *t = pack(&full);
        if (!t)
                return aip_error_set_nomem(err);
        r = parse(t, err);
        if (r < 0) {
                aip_prompt_template_unref(t);
                return r;
        }
        *ret_template = t;
        return 0;
}

aip_prompt_template *aip_prompt_template_ref(const aip_prompt_template *prompt_template)
{
        aip_prompt_template *counted = (aip_prompt_template *)prompt_template;
        if (counted)
                atomic_fetch_add_explicit(&counted->n_refs, 1, memory_order_relaxed);
        return counted;
}

void aip_prompt_template_unref(aip_prompt_template *prompt_template)
{
        aip_prompt_template *t = prompt_template;
        if (!t || atomic_fetch_sub_explicit(&t->n_refs, 1, memory_order_acq_rel) != 1)
                return;
        aip_free(t->system.items);
        aip_free(t->user.items);
        aip_free(t->variables.items);
        aip_free(t->defaults.p);
        aip_free(t);
}

const struct aip_prompt_template_fields *
aip_prompt_template_fields(const aip_prompt_template *prompt_template)
{
        return &prompt_template->fields;
}

size_t aip_prompt_template_variables(const aip_prompt_template *prompt_template,
                                     const struct aip_template_variable **ret_variables)
{
        *ret_variables = prompt_template->variables.items;
        return prompt_template->variables.n;
}
