/*
 * Configurations, templates and graphs as JSON (catalog_schema.h). Called by the catalog controller. Types
 * are checked here, ranges and syntax by the domain.
 */
#include "catalog_schema.h"

#include <aiplat/job_service.h>

#include "fields.h"
#include "macros.h"

static int put_string(struct aip_buf *out, const char *name, struct aip_str value)
{
        int r = aip_buf_append_cstr(out, name);

        if (r < 0)
                return r;
        return value.n > 0 ? aip_json_append_string(out, value) : aip_buf_append_cstr(out, "null");
}

static int put_times(struct aip_buf *out, int64_t created_at_us, int64_t updated_at_us)
{
        int r;

        if ((r = aip_buf_append_cstr(out, ",\"created_at\":\"")) < 0 ||
            (r = aip_time_print(created_at_us, out, NULL)) < 0 ||
            (r = aip_buf_append_cstr(out, "\",\"updated_at\":\"")) < 0 ||
            (r = aip_time_print(updated_at_us, out, NULL)) < 0)
                return r;
        return aip_buf_append_cstr(out, "\"}");
}

int config_print(const aip_llm_config *config, struct aip_buf *out)
{
        const struct aip_llm_config_fields *f = aip_llm_config_fields(config);
        aip_value *temperature = aip_value_double(f->temperature);
        int r;

        if ((r = put_string(out, "{\"name\":", f->name)) >= 0 &&
            (r = put_string(out, ",\"provider\":", f->provider)) >= 0 &&
            (r = put_string(out, ",\"model_name\":", f->model_name)) >= 0 &&
            (r = put_string(out, ",\"api_key_env\":", f->api_key_env)) >= 0 &&
            (r = put_string(out, ",\"base_url\":", f->base_url)) >= 0 &&
            (r = aip_buf_append_cstr(out, ",\"temperature\":")) >= 0 &&
            (r = aip_value_print(temperature, out, NULL)) >= 0 &&
            (r = aip_buf_printf(out, ",\"max_tokens\":%d,\"timeout_seconds\":%d,\"is_active\":%s",
                                f->max_tokens, f->timeout_ms / 1000,
                                f->is_active ? "true" : "false")) >= 0)
                r = put_times(out, f->created_at_us, f->updated_at_us);
        aip_value_unref(temperature);
        return r;
}

static int put_variables(const aip_prompt_template *prompt_template, struct aip_buf *out)
{
        const struct aip_template_variable *variables;
        size_t n = aip_prompt_template_variables(prompt_template, &variables);
        int r = aip_buf_append_cstr(out, ",\"variables\":[");

        for (size_t i = 0; r >= 0 && i < n; i++) {
                if ((r = put_string(out, i ? ",{\"name\":" : "{\"name\":", variables[i].name)) <
                            0 ||
                    (r = aip_buf_printf(out, ",\"required\":%s,\"default\":",
                                        variables[i].is_required ? "true" : "false")) < 0)
                        return r;
                r = variables[i].fallback.p ? aip_json_append_string(out, variables[i].fallback)
                                            : aip_buf_append_cstr(out, "null");
                if (r >= 0)
                        r = aip_buf_append_char(out, '}');
        }
        return r < 0 ? r : aip_buf_append_char(out, ']');
}

int template_print(const aip_prompt_template *prompt_template, struct aip_buf *out)
{
        const struct aip_prompt_template_fields *f = aip_prompt_template_fields(prompt_template);
        int r;

        if ((r = put_string(out, "{\"name\":", f->name)) < 0 ||
            (r = put_string(out, ",\"content\":", f->content)) < 0 ||
            (r = put_string(out, ",\"user_content\":", f->user_content)) < 0 ||
            (r = put_string(out, ",\"description\":", f->description)) < 0 ||
            (r = put_variables(prompt_template, out)) < 0)
                return r;
        return put_times(out, f->created_at_us, f->updated_at_us);
}

static int put_graph_head(const struct aip_graph_entry *entry, struct aip_buf *out)
{
        const aip_value *value = aip_graph_document_value(entry->document);
        int r;

        if ((r = put_string(out, "{\"name\":", aip_graph_document_name(entry->document))) < 0 ||
            (r = put_string(out, ",\"description\":",
                            aip_value_as_string(aip_value_get_cstr(value, "description")))) < 0)
                return r;
        return aip_buf_printf(out, ",\"version\":%lld,\"is_shipped\":%s",
                              (long long)entry->version, entry->id ? "false" : "true");
}

static int put_graph_times(const struct aip_graph_entry *entry, struct aip_buf *out)
{
        if (entry->id == 0)
                return aip_buf_append_cstr(out, ",\"created_at\":null,\"updated_at\":null}");
        return put_times(out, entry->created_at_us, entry->updated_at_us);
}

int graph_print_head(const struct aip_graph_entry *entry, struct aip_buf *out)
{
        int r = put_graph_head(entry, out);

        return r < 0 ? r : put_graph_times(entry, out);
}

int graph_print(const struct aip_graph_entry *entry, struct aip_buf *out)
{
        int r;

        if ((r = put_graph_head(entry, out)) < 0 ||
            (r = aip_buf_append_cstr(out, ",\"document\":")) < 0 ||
            (r = aip_value_print(aip_graph_document_value(entry->document), out, NULL)) < 0)
                return r;
        return put_graph_times(entry, out);
}

/* The name of the path, or of the body; when both are there they must be the same. */
static void take_name(struct fields *f, struct aip_str path_name, struct aip_str *ret_name)
{
        struct aip_str body_name = {NULL, 0};

        fields_string(f, "name", &body_name);
        if (f->code == 0 && path_name.n > 0 && body_name.p && !aip_str_eq(path_name, body_name))
                f->code = aip_error_set(&f->err, AIP_EINVAL,
                                        "name: must be that of the path, or be left out");
        *ret_name = path_name.n > 0 ? path_name : body_name;
        fields_require(f, "name", *ret_name);
}

int config_read(const aip_value *body, struct aip_str name, aip_llm_config **ret_config,
                aip_error **err)
{
        struct fields f = {.object = body};
        struct aip_llm_config_fields c = AIP_LLM_CONFIG_FIELDS_INIT;
        int64_t max_tokens = c.max_tokens, timeout_s = c.timeout_ms / 1000;
        int r;

        take_name(&f, name, &c.name);
        fields_string(&f, "provider", &c.provider);
        fields_string(&f, "model_name", &c.model_name);
        fields_string(&f, "api_key_env", &c.api_key_env);
        fields_string(&f, "base_url", &c.base_url);
        fields_double(&f, "temperature", &c.temperature);
        fields_int(&f, "max_tokens", 1, 10000000, &max_tokens);
        fields_int(&f, "timeout_seconds", 1, 3600, &timeout_s);
        fields_bool(&f, "is_active", &c.is_active);
        /* So that what GET answered can be sent back changed. */
        fields_ignore(&f, "created_at");
        fields_ignore(&f, "updated_at");
        fields_require(&f, "provider", c.provider);
        fields_require(&f, "model_name", c.model_name);
        if ((r = fields_end(&f, err)) < 0)
                return r;
        c.max_tokens = (int32_t)max_tokens;
        c.timeout_ms = (int32_t)timeout_s * 1000;
        return aip_llm_config_new(&c, ret_config, err);
}

int template_read(const aip_value *body, struct aip_str name, aip_prompt_template **ret_template,
                  aip_error **err)
{
        struct fields f = {.object = body};
        struct aip_prompt_template_fields t = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        int r;

        take_name(&f, name, &t.name);
        fields_string(&f, "content", &t.content);
        fields_string(&f, "user_content", &t.user_content);
        fields_string(&f, "description", &t.description);
        fields_ignore(&f, "created_at");
        fields_ignore(&f, "updated_at");
        fields_ignore(&f, "variables"); /* they follow from the content */
        fields_require(&f, "content", t.content);
        if ((r = fields_end(&f, err)) < 0)
                return r;
        return aip_prompt_template_new(&t, ret_template, err);
}

aip_error *graph_error_in_body(aip_error *err)
{
        const char *message = aip_error_message(err);
        aip_error *told = NULL;

        if (aip_error_code(err) != AIP_EINVAL || message[0] != '/')
                return err;
        aip_error_set(&told, AIP_EINVAL, "document%s", message);
        aip_error_free(err);
        return told;
}

int graph_read(const aip_value *body, struct aip_str name, aip_graph_document **ret_document,
               aip_error **err)
{
        struct fields f = {.object = body};
        const aip_value *document = aip_value_get_cstr(body, "document");
        aip_error *error = NULL, *told = NULL;
        int r;

        take_name(&f, name, &name);
        /* So that what GET answered can be sent back changed. */
        fields_ignore(&f, "document");
        fields_ignore(&f, "description");
        fields_ignore(&f, "version");
        fields_ignore(&f, "is_shipped");
        fields_ignore(&f, "created_at");
        fields_ignore(&f, "updated_at");
        if ((r = fields_end(&f, err)) < 0)
                return r;
        if ((r = aip_name_check("name", name, err)) < 0)
                return r;
        if (aip_value_type(document) != AIP_VALUE_OBJECT)
                return aip_error_set(err, AIP_EINVAL, "document: must be an object, not %s",
                                     aip_value_type_name(aip_value_type(document)));
        r = aip_graph_document_new(name, document, ret_document, &error);
        if (r == AIP_ELIMIT) { /* of the document: nobody is overloaded */
                aip_error_set(&told, AIP_EINVAL, "%s", aip_error_message(error));
                aip_error_free(error);
                error = told;
        }
        return r < 0 ? aip_error_propagate(err, graph_error_in_body(error)) : 0;
}
