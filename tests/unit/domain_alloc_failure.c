/* Out of memory, at every allocation of the domain in turn: reported, nothing leaked, nothing half
 * done. */
#include "alloc_fail.h"
#include "domain_support.h"
#include <aiplat/catalog.h>

static int job_body(void *user, aip_error **err)
{
        (void)user;
        _cleanup_job_ aip_job *job = NULL;
        struct aip_job_spec spec = spec_of("prompt");
        spec.trace_id = AIP_STR("0123456789abcdef0123456789abcdef");
        spec.metadata_json = AIP_STR("{}");
        return aip_job_new(job_id, &spec, T0, &job, err);
}

Test(domain_alloc_failure, new_job)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(job_body, NULL);
}

static int restore_body(void *user, aip_error **err)
{
        _cleanup_job_ aip_job *job = NULL;
        return aip_job_restore(aip_job_fields(user), &job, err);
}

static int copy_body(void *user, aip_error **err)
{
        _cleanup_job_ aip_job *job = NULL;
        return aip_job_copy(user, &job, err);
}

Test(domain_alloc_failure, restore_and_copy)
{
        struct aip_job_spec spec = spec_of("x");
        _cleanup_job_ aip_job *job = job_started(&spec);
        ASSERT_SURVIVES_ALLOC_FAILURE(restore_body, job);
        ASSERT_SURVIVES_ALLOC_FAILURE(copy_body, job);
}

static int complete(aip_job *job, struct aip_transition *t, aip_error **err)
{
        struct aip_job_outcome outcome = {
                sizeof(outcome), AIP_STR("r"), AIP_STR("p"), AIP_STR("m"), 1, 2};
        return aip_job_complete(job, &outcome, T0 + 1, t, err);
}

static int fail(aip_job *job, struct aip_transition *t, aip_error **err)
{
        static const char kind[] = "provider_failed";
        aip_error *e = failure(AIP_EUPSTREAM, kind, 1, 0);
        if (aip_error_code(e) != AIP_EUPSTREAM) { /* the failure itself could not be made */
                aip_error_free(e);
                return aip_error_set_nomem(err);
        }
        int r = aip_job_fail(job, e, T0 + 1, t, err);
        aip_error_free(e);
        return r;
}

static int start_and(int (*act)(aip_job *, struct aip_transition *, aip_error **), aip_error **err)
{
        _cleanup_job_ aip_job *job = NULL;
        struct aip_job_spec spec = spec_of("x");
        struct aip_transition t;
        int r = aip_job_new(job_id, &spec, T0, &job, err);
        if (r == 0)
                r = aip_job_start(job, T0, &t, err);
        if (r < 0)
                return r;
        struct aip_job_fields before = *aip_job_fields(job);
        r = act(job, &t, err);
        if (r < 0)
                cr_assert_eq(memcmp(&before, aip_job_fields(job), sizeof(before)), 0,
                             "a transition that failed changed the job");
        return r;
}

static int complete_body(void *user, aip_error **err)
{
        (void)user;
        return start_and(complete, err);
}

static int fail_body(void *user, aip_error **err)
{
        (void)user;
        return start_and(fail, err);
}

Test(domain_alloc_failure, transitions)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(complete_body, NULL);
        ASSERT_SURVIVES_ALLOC_FAILURE(fail_body, NULL);
}

/* What must work when memory is short: a drain, a lost worker, a cancellation. */
Test(domain_alloc_failure, acts_that_allocate_nothing)
{
        struct aip_job_spec spec = spec_of("x");
        _cleanup_job_ aip_job *job = job_of(&spec);
        aip_error *err = NULL;
        struct aip_transition t;
        alloc_fail_arm(1);
        int r = aip_job_start(job, T0, &t, &err);
        r |= aip_job_release(job, T0, &t, &err);
        r |= aip_job_start(job, T0, &t, &err);
        r |= aip_job_lose_worker(job, T0, &t, &err);
        r |= aip_job_cancel(job, T0, &t, &err);
        int was_needed = alloc_fail_disarm();
        cr_expect_not(was_needed);
        expect_ok(r, &err);
}

static int event_body(void *user, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf out = AIP_BUF_INIT(4096);
        return aip_job_event_print(user, AIP_EVENT_JOB_FAILED, &out, err);
}

Test(domain_alloc_failure, events)
{
        struct aip_transition t = {.job_id = job_id, .version = 1, .kind = AIP_TRANSITION_FAILED};
        strcpy(t.error_code, "provider_failed");
        ASSERT_SURVIVES_ALLOC_FAILURE(event_body, &t);
}

static int new_config(const char *name, aip_llm_config **ret_config, aip_error **err)
{
        struct aip_llm_config_fields f = AIP_LLM_CONFIG_FIELDS_INIT;
        f.name = aip_str_of(name);
        f.provider = AIP_STR("openai");
        f.model_name = AIP_STR("m");
        return aip_llm_config_new(&f, ret_config, err);
}

static int new_template(const char *name, aip_prompt_template **ret_template, aip_error **err)
{
        struct aip_prompt_template_fields f = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        f.name = aip_str_of(name);
        f.content =
                AIP_STR("{{a_name_that_is_longer_than_sixteen}} {{b|\\{{}} {{c}}{{d}}{{e}}{{f}}");
        f.user_content = AIP_STR("{{prompt}} {{g}} {{h|default}} {{i|\\}}}}");
        return aip_prompt_template_new(&f, ret_template, err);
}

#define GRAPH                                                                                      \
        "{\"nodes\":{\"n\":{\"type\":\"fail\"}},\"edges\":[{\"from\":\"__start__\",\"to\":\"n\"},"           \
        "{\"from\":\"n\",\"to\":\"__end__\"}]}"

static int catalog_body(void *user, aip_error **err)
{
        (void)user;
        aip_llm_config *config = NULL;
        aip_prompt_template *template = NULL;
        aip_catalog *catalog = NULL;
        struct aip_graph_entry graph = {0};
        aip_graph_document *document = NULL;
        int r = new_config("c", &config, err);
        if (r == 0)
                r = new_template("t", &template, err);
        if (r == 0) {
                const aip_llm_config *configs[] = {config};
                const aip_prompt_template *templates[] = {template};
                r = aip_graph_document_parse(AIP_STR("g"), AIP_STR(GRAPH), &document, err);
                graph.document = document;
                if (r == 0)
                        r = aip_catalog_new(1, configs, 1, templates, 1, &graph, 1, &catalog, err);
        }
        aip_graph_document_unref(document);
        aip_catalog_unref(catalog);
        aip_prompt_template_unref(template);
        aip_llm_config_unref(config);
        return r;
}

Test(domain_alloc_failure, catalog)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(catalog_body, NULL);
}

struct render_case {
        const aip_prompt_template *prompt_template;
        const aip_value *variables;
};

static int render(const struct render_case *c, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf system = AIP_BUF_INIT(AIP_RENDERED_MAX_BYTES);
        _cleanup_(aip_buf_deinit) struct aip_buf user = AIP_BUF_INIT(AIP_RENDERED_MAX_BYTES);
        return aip_prompt_template_render(c->prompt_template, AIP_STR("p"), c->variables, &system,
                                          &user, err);
}

static int render_body(void *user, aip_error **err)
{
        return render(user, err);
}

/* Here the refusal is the way through. */
static int missing_body(void *user, aip_error **err)
{
        aip_error *refusal = NULL;
        int r = render(user, &refusal);
        if (r == AIP_EINVAL) {
                aip_error_free(refusal);
                return 0;
        }
        return aip_error_propagate(err, refusal);
}

Test(domain_alloc_failure, render)
{
        aip_error *err = NULL;
        aip_prompt_template *t = NULL;
        aip_value *variables = NULL;
        expect_ok(new_template("t", &t, &err), &err);
        expect_ok(aip_value_parse(AIP_STR("{\"a_name_that_is_longer_than_sixteen\":[1,{\"x\":2.5}],"
                                          "\"c\":1,\"d\":true,\"e\":\"text\",\"f\":\"\",\"g\":2}"),
                                  &variables, &err),
                  &err);
        struct render_case c = {t, variables};
        ASSERT_SURVIVES_ALLOC_FAILURE(render_body, &c);
        c.variables = NULL;
        ASSERT_SURVIVES_ALLOC_FAILURE(missing_body, &c);
        aip_value_unref(variables);
        aip_prompt_template_unref(t);
}
