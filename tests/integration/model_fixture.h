/*
 * What the integration suites of the model providers share: a loop, an HTTP client, both adapters,
 * and the model server's rules. The server is named by AIPLAT_TEST_MODEL_URL
 * (tests/support/servers.py run
 * --models starts it); without it the tests are skipped. Suites run side by side against one
 * server, so each test steers it by rules that apply to its own prompt only.
 */
#ifndef TESTS_INTEGRATION_MODEL_FIXTURE_H
#define TESTS_INTEGRATION_MODEL_FIXTURE_H

#include <aiplat/adapters.h>
#include <aiplat/loops.h>

#define KEY_VARIABLE "AIPLAT_TEST_LLM_KEY"
#define KEY          "sk-test-0123456789abcdef"

struct model_fixture {
        aip_uv_loop *uv;
        struct aip_loop loop;
        aip_http_client *client;
        struct aip_llm openai, anthropic;
        char url[256];
        size_t n_waiting; /* calls begun and not done */
};

/* One call and what it needs. */
struct model_call {
        struct model_fixture *fixture;
        struct aip_llm_call call;
        struct aip_llm llm;
        aip_llm_config *config;
        struct aip_llm_message messages[2];
        int is_done;
        int64_t done_ms;
};

extern struct model_fixture fixture;

void model_fixture_start(void); /* for TestSuite(.init); skips the test without a server */
void model_fixture_start_with(int32_t max_connections_per_host, const char *ca_file);
void model_fixture_start_idle(int32_t idle_timeout_ms); /* 256 connections a host */
void model_fixture_stop(void);

/* Put a rule in front of the others: JSON, with '…' for '"'. `contains` binds it to a prompt. */
void model_rule(const char *prompt, const char *members);
/* A prompt that no other run on the same server uses; valid until the next is made. */
const char *model_unique(const char *text);
/* Requests the server has seen with this text in the prompt. */
int model_seen(const char *prompt);
/* The server's log of them, as JSON text; owned by caller. */
char *model_log(const char *prompt);

void model_call_init(struct model_call *c, struct aip_llm llm, const char *prompt);
/* Change the configuration before it is begun. */
void model_call_configure(struct model_call *c, struct aip_llm_config_fields fields);
struct aip_llm_config_fields model_call_fields(const struct model_call *c);
void model_call_begin(struct model_call *c);
void model_call_cancel(struct model_call *c);
void model_call_deinit(struct model_call *c);
/* Run the loop until every call is done. */
void model_wait(void);
/* Run the loop for a while. */
void model_run_ms(int64_t ms);
/* begin and wait */
void model_call_run(struct model_call *c);

#endif
