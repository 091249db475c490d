/* See model_fixture.h. */
#include "model_fixture.h"
#include <criterion/criterion.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct model_fixture fixture;

/* ---- life ---- */

static void start(int32_t max_connections_per_host, const char *ca_file, int32_t idle_timeout_ms)
{
        const char *server = getenv("AIPLAT_TEST_MODEL_URL");
        struct aip_http_client_options options = AIP_HTTP_CLIENT_OPTIONS_INIT;
        char base_url[300];
        if (!server)
                cr_skip_test("AIPLAT_TEST_MODEL_URL is not set");
        setenv(KEY_VARIABLE, KEY, 1);
        snprintf(fixture.url, sizeof(fixture.url), "%s", server);
        snprintf(base_url, sizeof(base_url), "%s/v1", server);
        cr_assert_eq(aip_uv_loop_new(&fixture.uv, NULL), 0);
        fixture.loop = aip_uv_loop_port(fixture.uv);
        options.loop = fixture.loop;
        options.max_connections_per_host = max_connections_per_host;
        options.ca_file = ca_file;
        if (idle_timeout_ms > 0)
                options.idle_timeout_ms = idle_timeout_ms;
        cr_assert_eq(aip_http_client_new(&options, &fixture.client, NULL), 0);
        cr_assert_eq(aip_openai_llm_new(fixture.client, base_url, &fixture.openai, NULL), 0);
        cr_assert_eq(aip_anthropic_llm_new(fixture.client, server, &fixture.anthropic, NULL), 0);
}

void model_fixture_start_with(int32_t max_connections_per_host, const char *ca_file)
{
        start(max_connections_per_host, ca_file, 0);
}

void model_fixture_start_idle(int32_t idle_timeout_ms)
{
        start(256, NULL, idle_timeout_ms);
}

void model_fixture_start(void)
{
        model_fixture_start_with(256, NULL);
}

void model_fixture_stop(void)
{
        fixture.openai.ops->free(fixture.openai.self);
        fixture.anthropic.ops->free(fixture.anthropic.self);
        aip_http_client_free(fixture.client);
        aip_uv_loop_free(fixture.uv);
}

/* ---- the server's rules and log ---- */

static size_t collect(char *p, size_t size, size_t n, void *user)
{
        return aip_buf_append(user, aip_str_make(p, size * n)) == 0 ? size * n : 0;
}

/* A blocking request of its own, so that the client under test is not used to check itself. */
static char *control(const char *path, const char *post)
{
        char url[1024];
        struct aip_buf out = AIP_BUF_INIT(64 * 1024 * 1024);
        CURL *easy = curl_easy_init();
        snprintf(url, sizeof(url), "%s%s", fixture.url, path);
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &out);
        if (post)
                curl_easy_setopt(easy, CURLOPT_POSTFIELDS, post);
        cr_assert_eq(curl_easy_perform(easy), CURLE_OK);
        long status;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_cleanup(easy);
        cr_assert_eq(status, 200, "%s answered %ld: %s", path, status, out.p);
        return aip_buf_take(&out);
}

void model_rule(const char *prompt, const char *members)
{
        size_t bytes = strlen(prompt) + strlen(members) + 64;
        char *json = malloc(bytes);
        snprintf(json, bytes, "{\"contains\": \"%s\", %s}", prompt, members);
        free(control("/control", json));
        free(json);
}

const char *model_unique(const char *text)
{
        static char unique[256];
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(unique, sizeof(unique), "%s %lld.%09ld", text, (long long)now.tv_sec, now.tv_nsec);
        return unique;
}

char *model_log(const char *prompt)
{
        char path[512];
        char *escaped = curl_easy_escape(NULL, prompt, 0);
        snprintf(path, sizeof(path), "/control/log?contains=%s", escaped);
        curl_free(escaped);
        return control(path, NULL);
}

int model_seen(const char *prompt)
{
        char path[512];
        char *escaped = curl_easy_escape(NULL, prompt, 0);
        snprintf(path, sizeof(path), "/control/log?count=1&contains=%s", escaped);
        curl_free(escaped);
        char *answer = control(path, NULL);
        aip_value *value = NULL;
        cr_assert_eq(aip_value_parse(aip_str_of(answer), &value, NULL), 0);
        int n = (int)aip_value_as_int(aip_value_get_cstr(value, "count"), -1);
        aip_value_unref(value);
        free(answer);
        return n;
}

/* ---- calls ---- */

struct aip_llm_config_fields model_call_fields(const struct model_call *c)
{
        return *aip_llm_config_fields(c->config);
}

void model_call_configure(struct model_call *c, struct aip_llm_config_fields fields)
{
        aip_llm_config *config;
        aip_error *err = NULL;
        aip_llm_config_new(&fields, &config, &err);
        cr_assert_null(err, "%s", aip_error_message(err));
        aip_llm_config_unref(c->config);
        c->config = config;
        c->call.config = config;
}

static void called_back(struct aip_op *op)
{
        struct aip_llm_call *call = AIP_CONTAINER_OF(op, struct aip_llm_call, op);
        struct model_call *c = AIP_CONTAINER_OF(call, struct model_call, call);
        cr_assert(!c->is_done, "done came twice");
        c->is_done = 1;
        c->done_ms = aip_now_ms(fixture.loop);
        if (--fixture.n_waiting == 0)
                aip_uv_loop_stop(fixture.uv);
}

void model_call_init(struct model_call *c, struct aip_llm llm, const char *prompt)
{
        struct aip_llm_config_fields fields = AIP_LLM_CONFIG_FIELDS_INIT;
        *c = (struct model_call){.llm = llm};
        fields.name = aip_str_of("test");
        fields.provider = aip_str_of(llm.ops->name);
        fields.model_name = aip_str_of("test-model");
        fields.api_key_env = aip_str_of(KEY_VARIABLE);
        fields.timeout_ms = 20000;
        model_call_configure(c, fields);
        c->messages[0] = (struct aip_llm_message){.role = AIP_LLM_SYSTEM,
                                                  .content = aip_str_of("Be brief.")};
        c->messages[1] =
                (struct aip_llm_message){.role = AIP_LLM_USER, .content = aip_str_of(prompt)};
        c->call.messages = c->messages;
        c->call.n_messages = 2;
        c->call.op.done = called_back;
}

void model_call_begin(struct model_call *c)
{
        fixture.n_waiting++;
        c->llm.ops->complete(c->llm.self, &c->call);
        cr_assert(!c->is_done, "done came within the call");
}

void model_call_cancel(struct model_call *c)
{
        int was_done = c->is_done;
        c->llm.ops->cancel(c->llm.self, &c->call);
        cr_assert_eq(c->is_done, was_done, "done came within cancel");
}

void model_call_deinit(struct model_call *c)
{
        aip_llm_answer_deinit(&c->call.ret_answer);
        aip_error_free(c->call.op.err);
        aip_llm_config_unref(c->config);
}

void model_wait(void)
{
        if (fixture.n_waiting > 0)
                aip_uv_loop_run(fixture.uv);
        cr_assert_eq(fixture.n_waiting, 0u);
}

static void stop_loop(struct aip_timer *timer)
{
        (void)timer;
        aip_uv_loop_stop(fixture.uv);
}

void model_run_ms(int64_t ms)
{
        struct aip_timer timer = {.fire = stop_loop};
        fixture.n_waiting++; /* so that a call's end does not stop it early */
        aip_timer_set(fixture.loop, &timer, ms);
        aip_uv_loop_run(fixture.uv);
        fixture.n_waiting--;
}

void model_call_run(struct model_call *c)
{
        model_call_begin(c);
        model_wait();
}
