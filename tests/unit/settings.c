/* Settings: sources and their order, every kind of value, and messages that name what is wrong. */
#include "alloc_fail.h"
#include "macros.h"
#include <aiplat/settings.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

AIP_DEFINE_CLEANUP(aip_settings *, aip_settings_free);

#define N_ASSIGNMENTS 4

static int load(const char *env_file, const char *const *environment, const char *const *overrides,
                aip_settings **ret_settings, aip_error **err)
{
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        source.env_file = env_file;
        source.environ = environment;
        source.overrides = overrides;
        return aip_settings_load(&source, ret_settings, err);
}

static const char *const home[] = {"HOME=/home/u", NULL};

static void write_file(char path[32], const char *text)
{
        strcpy(path, "/tmp/aiplat-settings-XXXXXX");
        int fd = mkstemp(path);
        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
}

Test(settings, defaults)
{
        _cleanup_(aip_settings_free_p) aip_settings *settings = NULL;
        cr_assert_eq(load("", home, NULL, &settings, NULL), 0);
        const struct aip_settings_values *v = aip_settings_values(settings);
        cr_assert_eq(v->self_size, sizeof(*v));
        cr_assert_str_eq(v->database_url, "sqlite:////home/u/.local/share/aiplat/aiplat.db");
        cr_assert_str_eq(v->rabbitmq_url, "memory:");
        cr_assert_str_eq(v->redis_url, "memory:");
        cr_assert_eq(v->redis_job_ttl_s, 3600);
        cr_assert_str_eq(v->task_queue, "ai_tasks");
        cr_assert_str_eq(v->event_exchange, "ai_events");
        cr_assert_eq(v->log_level, AIP_LOG_INFO);
        cr_assert_eq(v->log_format, AIP_LOG_FORMAT_AUTO);
        cr_assert_str_eq(v->listen_host, "127.0.0.1");
        cr_assert_eq(v->listen_port, 8000);
        cr_assert_eq(v->max_body_bytes, 1048576);
        cr_assert_eq(v->concurrency, 256);
        cr_assert_eq(v->lease_ms, 10000);
        cr_assert_eq(v->heartbeat_ms, 3000);
        cr_assert_eq(v->migrate, 1);
        cr_assert_eq(v->retention_h, 720);
        cr_assert_eq(v->partition_h, 168);
        cr_assert_eq(v->idempotency_h, 72);
        cr_assert_eq(v->simulate_missing_keys, 1);
        cr_assert_str_eq(v->openai_base_url, "https://api.openai.com/v1");
        cr_assert_str_eq(v->anthropic_base_url, "https://api.anthropic.com");
        cr_assert_str_eq(v->tool_hosts, "");
        cr_assert_eq(v->tool_private_addresses, 0);
        cr_assert_str_eq(v->mcp_servers, "");
}

Test(settings, the_data_folder_follows_xdg)
{
        static const struct {
                const char *environment[3];
                const char *url; /* NULL: refused */
        } table[] = {
                {{"XDG_DATA_HOME=/data", "HOME=/h", NULL}, "sqlite:////data/aiplat/aiplat.db"},
                {{"XDG_DATA_HOME=data", "HOME=/h", NULL},
                 "sqlite:////h/.local/share/aiplat/aiplat.db"},
                {{"XDG_DATA_HOME=", "HOME=/h", NULL}, "sqlite:////h/.local/share/aiplat/aiplat.db"},
                {{"PATH=/bin", NULL, NULL}, NULL},
                {{"DATABASE_URL=sqlite:///x.db", NULL, NULL}, "sqlite:///x.db"},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                _cleanup_(aip_settings_free_p) aip_settings *settings = NULL;
                int r = load("", table[i].environment, NULL, &settings, NULL);
                cr_assert_eq(r, table[i].url ? 0 : AIP_EINVAL, "row %zu", i);
                if (r == 0)
                        cr_assert_str_eq(aip_settings_values(settings)->database_url, table[i].url);
        }
}

Test(settings, later_sources_win)
{
        char path[32];
        write_file(path, "AIPLAT_CONCURRENCY=1\nAIPLAT_LEASE_MS=20000\nREDIS_JOB_TTL=5\n");
        static const char *const environment[] = {"HOME=/h", "AIPLAT_CONCURRENCY=2",
                                                  "REDIS_JOB_TTL=6", NULL};
        static const char *const overrides[] = {"AIPLAT_CONCURRENCY=3", NULL};
        _cleanup_(aip_settings_free_p) aip_settings *settings = NULL;
        cr_assert_eq(load(path, environment, overrides, &settings, NULL), 0);
        unlink(path);
        cr_assert_eq(aip_settings_values(settings)->concurrency, 3);
        cr_assert_eq(aip_settings_values(settings)->redis_job_ttl_s, 6);
        cr_assert_eq(aip_settings_values(settings)->lease_ms, 20000);
}

Test(settings, urls)
{
        static const struct {
                const char *assignment, *url;
                int simulates;
        } table[] = {
                {"DATABASE_URL=postgresql+asyncpg://u:p@h:5432/d?a=b",
                 "postgresql://u:p@h:5432/d?a=b", 0},
                {"DATABASE_URL=postgresql://u:p+q@h/d", "postgresql://u:p+q@h/d", 0},
                {"DATABASE_URL=postgres://h/d", "postgres://h/d", 0},
                {"DATABASE_URL=sqlite+aiosqlite:////x/a+b.db", "sqlite:////x/a+b.db", 1},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                const char *environment[] = {table[i].assignment, NULL};
                _cleanup_(aip_settings_free_p) aip_settings *settings = NULL;
                cr_assert_eq(load("", environment, NULL, &settings, NULL), 0, "row %zu", i);
                cr_assert_str_eq(aip_settings_values(settings)->database_url, table[i].url);
                cr_assert_eq(aip_settings_values(settings)->simulate_missing_keys,
                             table[i].simulates);
        }
}

Test(settings, addresses_to_listen_on)
{
        static const struct {
                const char *assignment, *host;
                int port;
        } table[] = {
                {"AIPLAT_LISTEN=0.0.0.0:80", "0.0.0.0", 80},
                {"AIPLAT_LISTEN=[::1]:8000", "::1", 8000},
                {"AIPLAT_LISTEN=localhost:0", "localhost", 0},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                const char *environment[] = {"HOME=/h", table[i].assignment, NULL};
                _cleanup_(aip_settings_free_p) aip_settings *settings = NULL;
                cr_assert_eq(load("", environment, NULL, &settings, NULL), 0, "row %zu", i);
                cr_assert_str_eq(aip_settings_values(settings)->listen_host, table[i].host);
                cr_assert_eq(aip_settings_values(settings)->listen_port, table[i].port);
        }
}

Test(settings, booleans_levels_and_formats)
{
        static const char *const environment[] = {
                "HOME=/h",
                "AIPLAT_MIGRATE=Off",
                "AIPLAT_SIMULATE_MISSING_KEYS=no",
                "LOG_LEVEL=WARNING",
                "AIPLAT_LOG_FORMAT=JSON",
                "OPENAI_BASE_URL=http://h:1/v1//",
                NULL,
        };
        _cleanup_(aip_settings_free_p) aip_settings *settings = NULL;
        cr_assert_eq(load("", environment, NULL, &settings, NULL), 0);
        const struct aip_settings_values *v = aip_settings_values(settings);
        cr_assert_eq(v->migrate, 0);
        cr_assert_eq(v->simulate_missing_keys, 0);
        cr_assert_eq(v->log_level, AIP_LOG_WARNING);
        cr_assert_eq(v->log_format, AIP_LOG_FORMAT_JSON);
        cr_assert_str_eq(v->openai_base_url, "http://h:1/v1");
}

Test(settings, what_is_wrong_is_named)
{
        static const char *const assignments[] = {
                "DATABASE_URL=",
                "DATABASE_URL=mysql://h",
                "DATABASE_URL=sqlite:///",
                "RABBITMQ_URL=memory",
                "RABBITMQ_URL=http://h",
                "REDIS_URL=",
                "REDIS_JOB_TTL=0",
                "REDIS_JOB_TTL=1.5",
                "REDIS_JOB_TTL=99999999999999999999",
                "REDIS_JOB_TTL= ",
                "RABBITMQ_TASK_QUEUE=",
                "RABBITMQ_EVENT_EXCHANGE=amq.topic",
                "LOG_LEVEL=loud",
                "AIPLAT_LOG_FORMAT=xml",
                "AIPLAT_LISTEN=8000",
                "AIPLAT_LISTEN=:8000",
                "AIPLAT_LISTEN=h:",
                "AIPLAT_LISTEN=h:65536",
                "AIPLAT_LISTEN=h:8a",
                "AIPLAT_LISTEN=::1:8000",
                "AIPLAT_LISTEN=[::1:8000",
                "AIPLAT_CONCURRENCY=-1",
                "AIPLAT_MIGRATE=maybe",
                "AIPLAT_SIMULATE_MISSING_KEYS=2",
                "OPENAI_BASE_URL=api.openai.com",
                "ANTHROPIC_BASE_URL=",
                "AIPLAT_HEARTBEAT_MS=5000",
                "AIPLAT_UNHEARD_OF=1",
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(assignments); i++) {
                const char *environment[] = {"HOME=/h", assignments[i], NULL};
                aip_settings *settings = NULL;
                _cleanup_(aip_error_free_p) aip_error *err = NULL;
                cr_assert_eq(load("", environment, NULL, &settings, &err), AIP_EINVAL, "%s",
                             assignments[i]);
                cr_assert_null(settings);
                char name[64];
                snprintf(name, sizeof(name), "%.*s", (int)strcspn(assignments[i], "="),
                         assignments[i]);
                cr_assert_not_null(strstr(aip_error_message(err), name), "%s",
                                   aip_error_message(err));
        }
}

Test(settings, messages_do_not_tell_secrets)
{
        static const char *const names[] = {"DATABASE_URL", "RABBITMQ_URL", "REDIS_URL"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(names); i++) {
                char assignment[64];
                snprintf(assignment, sizeof(assignment), "%s=bad://u:SECRET@h", names[i]);
                const char *environment[] = {"HOME=/h", assignment, NULL};
                aip_settings *settings = NULL;
                _cleanup_(aip_error_free_p) aip_error *err = NULL;
                cr_assert_eq(load("", environment, NULL, &settings, &err), AIP_EINVAL);
                cr_assert_null(strstr(aip_error_message(err), "SECRET"));
        }
}

Test(settings, unknown_names_are_refused_in_the_file_and_on_the_command_line_only)
{
        char path[32];
        static const char *const overrides[] = {"COLOUR=blue", NULL};
        static const char *const environment[] = {"HOME=/h", "COLOUR=blue", "NOEQUALS", NULL};
        aip_settings *settings = NULL;
        aip_error *err = NULL;
        write_file(path, "# fine\nCOLOUR=blue\n");
        cr_assert_eq(load(path, home, NULL, &settings, &err), AIP_EINVAL);
        unlink(path);
        cr_assert_not_null(strstr(aip_error_message(err), "line 2: unknown setting COLOUR"));
        cr_assert_not_null(strstr(aip_error_message(err), path));
        aip_error_free(AIP_TAKE(err));
        cr_assert_eq(load("", home, overrides, &settings, &err), AIP_EINVAL);
        aip_error_free(err);
        cr_assert_eq(load("", environment, NULL, &settings, NULL), 0);
        aip_settings_free(settings);
}

Test(settings, the_clients_variable_is_let_through)
{
        char path[32];
        static const char *const environment[] = {"HOME=/h", "AIPLAT_URL=http://h:1", NULL};
        aip_settings *settings = NULL;
        write_file(path, "AIPLAT_URL=http://h:1\n");
        cr_assert_eq(load(path, environment, NULL, &settings, NULL), 0);
        unlink(path);
        aip_settings_free(settings);
}

Test(settings, a_named_file_must_exist_and_the_default_one_need_not)
{
        char folder[] = "/tmp/aiplat-settings-XXXXXX";
        cr_assert_not_null(mkdtemp(folder));
        cr_assert_eq(chdir(folder), 0);
        aip_settings *settings = NULL;
        cr_assert_eq(load("/nonexistent/.env", home, NULL, &settings, NULL), AIP_EIO);
        cr_assert_eq(load(".", home, NULL, &settings, NULL), AIP_EIO);
        cr_assert_eq(load(NULL, home, NULL, &settings, NULL), 0);
        aip_settings_free(settings);
        FILE *file = fopen(".env", "w");
        fputs("AIPLAT_CONCURRENCY=9\n", file);
        fclose(file);
        cr_assert_eq(load(NULL, home, NULL, &settings, NULL), 0);
        cr_assert_eq(aip_settings_values(settings)->concurrency, 9);
        aip_settings_free(settings);
        unlink(".env");
        cr_assert_eq(chdir("/"), 0);
        rmdir(folder);
}

Test(settings, api_keys_of_the_file_reach_the_environment_unless_set)
{
        char path[32];
        unsetenv("MINE_API_KEY");
        unsetenv("EMPTY_API_KEY");
        setenv("SET_API_KEY", "outside", 1);
        write_file(path, "MINE_API_KEY=a\nMINE_API_KEY=b\nEMPTY_API_KEY=\nSET_API_KEY=file\n");
        aip_settings *settings = NULL;
        cr_assert_eq(load(path, home, NULL, &settings, NULL), 0);
        aip_settings_free(settings);
        cr_assert_str_eq(getenv("MINE_API_KEY"), "b");
        cr_assert_str_eq(getenv("SET_API_KEY"), "outside");
        cr_assert_null(getenv("EMPTY_API_KEY"));
        unlink(path);
}

Test(settings, a_failed_load_exports_nothing)
{
        char path[32];
        unsetenv("LATE_API_KEY");
        write_file(path, "LATE_API_KEY=a\nAIPLAT_CONCURRENCY=x\n");
        aip_settings *settings = NULL;
        cr_assert_eq(load(path, home, NULL, &settings, NULL), AIP_EINVAL);
        cr_assert_null(getenv("LATE_API_KEY"));
        unlink(path);
}

Test(settings, every_default_it_names_can_be_set)
{
        size_t n = 0;
        for (const struct aip_setting_info *info; (info = aip_setting_info(n)); n++) {
                cr_assert_not_null(info->help);
                if (n == 0)
                        continue; /* the path of DATABASE_URL depends on the user */
                char assignment[256];
                snprintf(assignment, sizeof(assignment), "%s=%s", info->name, info->fallback);
                const char *environment[] = {"HOME=/h", assignment, NULL};
                aip_settings *settings = NULL;
                cr_assert_eq(load("", environment, NULL, &settings, NULL), 0, "%s", assignment);
                aip_settings_free(settings);
        }
        cr_assert_eq(n, 28u);
}

static int load_all(void *user, aip_error **err)
{
        static const char *const environment[] = {"HOME=/h", "LOG_LEVEL=debug", NULL};
        static const char *const overrides[] = {"AIPLAT_LISTEN=[::1]:1", NULL};
        aip_settings *settings = NULL;
        int r = load(user, environment, overrides, &settings, err);
        aip_settings_free(settings);
        return r;
}

Test(settings, survives_allocation_failure)
{
        char path[32];
        write_file(path, "A_API_KEY=k\nAIPLAT_CONCURRENCY=\"12\"\n");
        ASSERT_SURVIVES_ALLOC_FAILURE(load_all, path);
        unlink(path);
}

Test(settings, keys_do_not_outlive_their_jobs)
{
        static const struct {
                const char *overrides[3];
                int code;
        } table[] = {
                {{"AIPLAT_RETENTION_HOURS=24", NULL, NULL}, AIP_EINVAL},
                {{"AIPLAT_RETENTION_HOURS=24", "AIPLAT_IDEMPOTENCY_HOURS=24", NULL}, 0},
                {{"AIPLAT_RETENTION_HOURS=24", "AIPLAT_IDEMPOTENCY_HOURS=0", NULL}, AIP_EINVAL},
                {{"AIPLAT_RETENTION_HOURS=0", "AIPLAT_IDEMPOTENCY_HOURS=0", NULL}, 0},
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(table); i++) {
                _cleanup_(aip_settings_free_p) aip_settings *settings = NULL;
                cr_assert_eq(load("", home, table[i].overrides, &settings, NULL), table[i].code,
                             "row %zu", i);
        }
}
