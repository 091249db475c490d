/* Bodies of the HTTP interface: whatever JSON object comes, the readers take it or refuse it with a
 * message that a client can be shown; what they take is within its limits, and what the domain makes
 * of it is printed as JSON again. */
#include "fuzz.h"
#include "http/catalog_schema.h"
#include "http/job_schema.h"
#include <aiplat/job_service.h>
#include <string.h>

#define NOW_US INT64_C(1700000000000000)

static void check_refusal(int r, aip_error *err)
{
        struct aip_str message = aip_str_of(aip_error_message(err));
        MUST(r == AIP_EINVAL && aip_error_code(err) == r);
        MUST(message.n > 0);
        aip_error_free(err);
}

static void check_json(struct aip_buf *text)
{
        aip_value *value = NULL;
        MUST(aip_value_parse(aip_buf_str(text), &value, NULL) == 0);
        aip_value_unref(value);
        aip_buf_deinit(text);
}

static void make_job(const struct job_body *body)
{
        struct aip_buf text = AIP_BUF_INIT(8u << 20);
        aip_job *job = NULL;
        aip_error *err = NULL;
        int r = aip_job_new((struct aip_id){{1}}, &body->spec, NOW_US, &job, &err);
        if (r < 0) {
                check_refusal(r, err);
                return;
        }
        MUST(aip_job_view_print(job, &text, NULL) == 0);
        check_json(&text);
        aip_job_free(job);
}

static void read_job(const aip_value *value)
{
        struct job_body body;
        aip_error *err = NULL;
        int r = job_body_read(value, &body, &err);
        if (r < 0) {
                check_refusal(r, err);
        } else {
                MUST(body.spec.prompt.p);
                MUST(body.spec.max_attempts >= 1 && body.spec.max_attempts <= AIP_JOB_MAX_ATTEMPTS);
                MUST(body.spec.retry_delay_ms >= 0 && body.spec.retry_delay_ms <= 300000);
                MUST(body.delay_ms >= 0 && body.delay_ms <= JOB_DELAY_MAX_MS);
                MUST(body.spec.run_at_us == 0 || body.delay_ms == 0);
                make_job(&body);
        }
        job_body_deinit(&body);
}

static void read_config(const aip_value *value)
{
        struct aip_buf text = AIP_BUF_INIT(8u << 20);
        aip_llm_config *config = NULL;
        aip_error *err = NULL;
        int r = config_read(value, aip_str_make(NULL, 0), &config, &err);
        if (r < 0) {
                check_refusal(r, err);
                return;
        }
        MUST(config_print(config, &text) == 0);
        check_json(&text);
        aip_llm_config_unref(config);
}

static void read_template(const aip_value *value)
{
        struct aip_buf text = AIP_BUF_INIT(32u << 20);
        aip_prompt_template *prompt_template = NULL;
        aip_error *err = NULL;
        int r = template_read(value, aip_str_make("n", 1), &prompt_template, &err);
        if (r < 0) {
                check_refusal(r, err);
                return;
        }
        MUST(template_print(prompt_template, &text) == 0);
        check_json(&text);
        aip_prompt_template_unref(prompt_template);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        aip_value *value = NULL;
        if (aip_value_parse(aip_str_make((const char *)data, size), &value, NULL) < 0)
                return 0;
        if (aip_value_type(value) == AIP_VALUE_OBJECT) {
                read_job(value);
                read_config(value);
                read_template(value);
        }
        aip_value_unref(value);
        return 0;
}
