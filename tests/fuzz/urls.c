/* URLs and addresses of the settings, and the adapters' own parsers of them: taken or refused with a
 * message, never with the password in it. Where the password is "s3cret", that is looked for. */
#include "fuzz.h"
#include "rabbitmq/rabbitmq_settings.h"
#include "redis/redis_url.h"
#include <aiplat/settings.h>
#include <aiplat/str.h>
#include <string.h>

#define SECRET "s3cret"

static int has_secret; /* the input's password is SECRET, and SECRET stands nowhere else in it */

static int find_secret(const char *text)
{
        const char *begin = strstr(text, "://"), *end = begin ? strstr(begin, ":" SECRET "@") : NULL;
        if (!end || end < begin + 3 || strstr(end + 2, SECRET))
                return 0;
        return begin + 3 + strcspn(begin + 3, "/?#@") > end && !strstr(text, SECRET SECRET) &&
               strstr(text, SECRET) == end + 1;
}

static void check_refusal(int r, aip_error *err)
{
        MUST(r < 0 && aip_error_code(err) == r);
        MUST(*aip_error_message(err));
        MUST(!has_secret || !strstr(aip_error_message(err), SECRET));
        aip_error_free(err);
}

static void try_setting(const char *name, const char *value)
{
        static const char *const environment[] = {"HOME=/nowhere", NULL};
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        const char *overrides[2] = {NULL, NULL};
        aip_settings *settings = NULL;
        aip_error *err = NULL;
        struct aip_buf pair = AIP_BUF_INIT(1u << 20);
        int r;

        if (aip_buf_printf(&pair, "%s=%s", name, value) < 0)
                return;
        overrides[0] = pair.p;
        source.env_file = "";
        source.environ = environment;
        source.overrides = overrides;
        r = aip_settings_load(&source, &settings, &err);
        if (r < 0) {
                check_refusal(r, err);
        } else {
                const struct aip_settings_values *v = aip_settings_values(settings);
                MUST(v->database_url && v->rabbitmq_url && v->redis_url && v->listen_host);
                MUST(v->listen_port >= 0 && v->listen_port <= 65535);
        }
        aip_settings_free(settings);
        aip_buf_deinit(&pair);
}

static void try_redis(const char *text)
{
        struct redis_url url = {0};
        aip_error *err = NULL;
        int r = redis_url_parse(text, &url, &err);
        if (r < 0) {
                check_refusal(r, err);
                return;
        }
        MUST(url.host && *url.host && url.port > 0 && url.port <= 65535 && url.database >= 0);
        redis_url_deinit(&url);
}

static void try_rabbitmq(const char *text)
{
        struct rabbitmq_settings settings = {0};
        aip_error *err = NULL;
        int r = rabbitmq_settings_init(&settings, text, "tasks", "events", &err);
        if (r < 0) {
                check_refusal(r, err);
                return;
        }
        MUST(settings.server.host && *settings.server.host);
        MUST(settings.server.port > 0 && settings.server.port <= 65535);
        MUST(!has_secret || !strstr(settings.address, SECRET));
        rabbitmq_settings_deinit(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char *const names[] = {"DATABASE_URL",    "RABBITMQ_URL",       "REDIS_URL",
                                            "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "AIPLAT_LISTEN"};
        char *text = aip_str_dup(aip_str_make((const char *)data, size));
        MUST(text);
        has_secret = find_secret(text);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                try_setting(names[i], text);
        try_redis(text);
        try_rabbitmq(text);
        free(text);
        return 0;
}
