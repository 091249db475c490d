/* Out of memory, at every allocation of the providers in turn: reported, and nothing leaked. */
#include "alloc_fail.h"
#include "llm_calls.h"
#include <aiplat/llm_registry.h>
#include <aiplat/llm_retry.h>

struct parse_case {
        const struct aip_chat_protocol *protocol;
        int32_t status;
        const char *body;
};

static const struct parse_case goods[] = {
        {&aip_openai_protocol, 200,
         "{\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"message\":{\"content\":\"a "
         "sk-secret-key\"},"
         "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}"},
        {&aip_anthropic_protocol, 200,
         "{\"id\":\"i\",\"model\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}"},
};

static const struct parse_case bads[] = {
        {&aip_openai_protocol, 200, "<html>sk-secret-key</html>"},
        {&aip_openai_protocol, 200, "{\"choices\":[]}"},
        {&aip_openai_protocol, 429, "{\"error\":{\"message\":\"no sk-secret-key\"}}"},
        {&aip_openai_protocol, 500, "<html>sk-secret-key</html>"},
        {&aip_anthropic_protocol, 200, "{\"content\":[],\"stop_reason\":\"refusal\"}"},
};

static int parse_body(void *user, aip_error **err)
{
        const struct parse_case *c = user;
        struct aip_http_response response = llm_response_of(c->status, "", c->body);
        struct aip_llm_answer answer = {0};
        struct aip_llm_call call = {0};
        int r = aip_chat_parse(c->protocol, &response, AIP_STR("sk-secret-key"), &call, &answer,
                               err);
        aip_llm_answer_deinit(&answer);
        return r;
}

Test(llm_alloc_failure, good_answers)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(goods); i++) {
                struct parse_case c = goods[i];
                ASSERT_SURVIVES_ALLOC_FAILURE(parse_body, &c);
        }
}

/* Here a failure may cost some words of the message, but never the error, nor does it tell the key.
 */
Test(llm_alloc_failure, bad_answers)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(bads); i++) {
                struct parse_case c = bads[i];
                int failed = 1;
                for (unsigned long n = 1; failed; n++) {
                        aip_error *err = NULL;
                        alloc_fail_arm(n);
                        int r = parse_body(&c, &err);
                        failed = alloc_fail_disarm();
                        cr_assert_lt(r, 0);
                        cr_assert_eq(aip_error_code(err), r);
                        cr_assert_null(strstr(aip_error_message(err), "secret"));
                        aip_error_free(err);
                }
        }
}

static int request_body(void *user, aip_error **err)
{
        static const struct aip_llm_message talk[] = {{.role = AIP_LLM_SYSTEM, .content = {"s", 1}},
                                                      {.role = AIP_LLM_USER, .content = {"u", 1}}};
        const struct aip_chat_protocol *protocol = user;
        aip_llm_config *config = NULL;
        struct aip_llm_config_fields fields = AIP_LLM_CONFIG_FIELDS_INIT;
        struct aip_buf body = AIP_BUF_INIT(65536);
        fields.name = fields.provider = fields.model_name = AIP_STR("x");
        int r = aip_llm_config_new(&fields, &config, err);
        struct aip_llm_call call = {.config = config, .messages = talk, .n_messages = 2};
        if (r == 0)
                r = protocol->append_body(&body, &call, 1, err);
        aip_buf_deinit(&body);
        aip_llm_config_unref(config);
        return r;
}

Test(llm_alloc_failure, requests)
{
        struct aip_chat_protocol openai = aip_openai_protocol, anthropic = aip_anthropic_protocol;
        ASSERT_SURVIVES_ALLOC_FAILURE(request_body, &openai);
        ASSERT_SURVIVES_ALLOC_FAILURE(request_body, &anthropic);
}

/* A whole call through the decorator, with a failure and a retry in it. */
static int call_body(void *user, aip_error **err)
{
        struct sim_call *c = user;
        struct aip_seeded_random generator;
        struct aip_llm simulated, llm;
        int r = aip_simulated_llm_new(loop, &simulated, err);
        if (r < 0)
                return r;
        r = aip_retrying_llm_new(simulated, loop, aip_random_seeded(&generator, 1), NULL, &llm,
                                 err);
        if (r < 0) {
                simulated.ops->free(simulated.self);
                return r;
        }
        sim_call_begin(c, llm);
        sim_run();
        llm.ops->free(llm.self);
        aip_llm_answer_deinit(&c->call.ret_answer);
        return aip_error_propagate(err, AIP_TAKE(c->call.op.err));
}

Test(llm_alloc_failure, calls, .init = sim_start, .fini = sim_stop)
{
        struct sim_call c;
        sim_call_init(&c, "simulated", "Hello");
        ASSERT_SURVIVES_ALLOC_FAILURE(call_body, &c);
        sim_call_deinit(&c);
}

static int registry_body(void *user, aip_error **err)
{
        aip_llm_registry *registry = NULL;
        struct aip_llm simulated, found;
        (void)user;
        int r = aip_simulated_llm_new(loop, &simulated, err);
        if (r < 0)
                return r;
        r = aip_llm_registry_new(NULL, &registry, err);
        if (r == 0)
                r = aip_llm_registry_add(registry, simulated, err);
        if (r < 0)
                simulated.ops->free(simulated.self);
        aip_llm_config *config = NULL;
        struct aip_llm_config_fields fields = AIP_LLM_CONFIG_FIELDS_INIT;
        fields.name = fields.model_name = AIP_STR("x");
        fields.provider = AIP_STR("simulated");
        if (r == 0)
                r = aip_llm_config_new(&fields, &config, err);
        if (r == 0)
                r = aip_llm_registry_find(registry, config, &found, err);
        aip_llm_config_unref(config);
        aip_llm_registry_free(registry);
        return r;
}

Test(llm_alloc_failure, registry, .init = sim_start, .fini = sim_stop)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(registry_body, NULL);
}
