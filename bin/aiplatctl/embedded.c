/*
 * run, dev, migrate: commands that work on the store themselves, through the same runtime that the
 * gateway and the worker use. `run` and `dev` keep to the embedded queue and cache.
 */
#include <aiplat/runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "text.h"

#define READY_WAIT_MS 15000
#define PROGRESS_MS   100

enum {
        KEY_CONFIG = 'c',
        KEY_TEMPLATE = 't',
        KEY_LISTEN = 'l',
        KEY_ENV_FILE = 'e',
        KEY_SET = 's',
        KEY_VERBOSE = 'V',
        KEY_SETTINGS = 0x500
};

struct embedded {
        struct common common;
        struct program_overrides overrides;
        const char *prompt, *config, *template;
        int is_verbose;
        int takes_prompt;
};

static void set_any(struct argp_state *state, struct embedded *e, char *pair)
{
        char *equals = strchr(pair, '=');

        if (!equals || equals == pair)
                argp_error(state, "--set wants NAME=VALUE, not '%s'", pair);
        *equals = '\0';
        program_override(&e->overrides, pair, equals + 1);
        *equals = '=';
}

static error_t parse_embedded(int key, char *argument, struct argp_state *state)
{
        struct embedded *e = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &e->common;
                return 0;
        case KEY_CONFIG:
                e->config = argument;
                return 0;
        case KEY_TEMPLATE:
                e->template = argument;
                return 0;
        case KEY_LISTEN:
                program_override(&e->overrides, "AIPLAT_LISTEN", argument);
                return 0;
        case KEY_ENV_FILE:
                e->overrides.env_file = argument;
                return 0;
        case KEY_SET:
                set_any(state, e, argument);
                return 0;
        case KEY_VERBOSE:
                e->is_verbose = 1;
                return 0;
        case KEY_SETTINGS:
                program_print_settings();
                exit(EXIT_OK);
        case ARGP_KEY_ARG:
                if (e->prompt || !e->takes_prompt)
                        argp_error(state, "unexpected argument '%s'", argument);
                e->prompt = argument;
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static void drop(void *self, const struct aip_log_record *record)
{
        (void)self;
        if (record->level >= AIP_LOG_ERROR)
                fprintf(stderr, "aiplatctl: %s\n", record->message);
}

static int open_runtime(const struct embedded *e, const aip_settings *settings, int is_quiet,
                        aip_runtime **ret_runtime, aip_error **err)
{
        struct aip_runtime_options options = {.self_size = sizeof(options)};

        options.component = "aiplatctl";
        options.log = is_quiet && !e->is_verbose ? (struct aip_log){drop, NULL, AIP_LOG_ERROR}
                                                 : program_log(settings);
        return aip_runtime_new(settings, &options, ret_runtime, err);
}

/* The embedded store: the one that is set when it is embedded, else the default one. */
static int load_embedded(struct embedded *e, aip_settings **ret_settings)
{
        int code = program_load_settings(&e->overrides, ret_settings);
        const char *url;

        if (code != EXIT_OK)
                return code;
        url = aip_settings_values(*ret_settings)->database_url;
        if (strncmp(url, "sqlite:", 7) != 0 && strncmp(url, "memory:", 7) != 0) {
                fprintf(stderr,
                        "aiplatctl: this command works on an embedded store; DATABASE_URL names "
                        "another one: --set DATABASE_URL=sqlite:///aiplat.db\n");
                aip_settings_free(*ret_settings);
                *ret_settings = NULL;
                return EXIT_USAGE;
        }
        return EXIT_OK;
}

static void keep_embedded(struct embedded *e)
{
        program_override(&e->overrides, "RABBITMQ_URL", "memory:");
        program_override(&e->overrides, "REDIS_URL", "memory:");
}

/* ── run ─────────────────────────────────────────────────────────────────────────────────────── */

static int has_key(const aip_llm_config *config, void *user)
{
        const struct aip_llm_config_fields *f = aip_llm_config_fields(config);
        char *name = aip_str_dup(f->api_key_env);
        const char *value = name && *name ? getenv(name) : NULL;
        int is_usable = value && *value;

        (void)user;
        free(name);
        return is_usable;
}

/* The strongest configuration whose key is there; the default one, simulated, when none is. */
static struct aip_str choose_config(aip_runtime *runtime)
{
        const aip_llm_config *const *configs;
        const aip_catalog *catalog = aip_catalog_service_current(aip_runtime_catalog(runtime));
        size_t n = aip_catalog_configs(catalog, &configs);
        const aip_llm_config *best = aip_llm_select(configs, n, AIP_LLM_QUALITY, has_key, NULL);

        return best ? aip_llm_config_fields(best)->name : aip_str_of("default-smart");
}

struct progress {
        struct aip_timer timer;
        struct aip_loop loop;
        int64_t began_ms;
};

static void show_progress(struct aip_timer *timer)
{
        struct progress *p = AIP_CONTAINER_OF(timer, struct progress, timer);

        progress_show("running", (double)(aip_now_ms(p->loop) - p->began_ms) / 1000);
        aip_timer_set(p->loop, timer, PROGRESS_MS);
}

static int print_job(const struct embedded *e, const aip_job *job)
{
        const struct aip_job_fields *f = aip_job_fields(job);
        struct aip_buf view = AIP_BUF_INIT((size_t)256 << 20);

        if (e->common.is_json && aip_job_view_print(job, &view, NULL) == 0)
                output_json(aip_buf_str(&view));
        else if (f->status == AIP_JOB_COMPLETED)
                printf("%.*s\n", (int)f->result.n, f->result.p);
        aip_buf_deinit(&view);
        if (f->status == AIP_JOB_COMPLETED && aip_str_eq(f->provider, aip_str_of("simulated")))
                fprintf(stderr,
                        "\n(This answer is simulated: no model was asked. Set OPENAI_API_KEY or "
                        "ANTHROPIC_API_KEY for a real one.)\n");
        if (f->status != AIP_JOB_COMPLETED)
                fprintf(stderr, "aiplatctl: the job is %s: %.*s\n", aip_job_status_name(f->status),
                        (int)f->error_message.n, f->error_message.p ? f->error_message.p : "");
        return f->status == AIP_JOB_COMPLETED ? EXIT_OK : EXIT_FAILED;
}

static int wait_job(const struct embedded *e, aip_runtime *runtime, struct aip_id id)
{
        struct aip_job_read read = {.id = id};
        struct progress progress = {{.fire = show_progress}, aip_runtime_loop(runtime), 0};
        int code = EXIT_FAILED;

        progress.began_ms = aip_now_ms(progress.loop);
        aip_timer_set(progress.loop, &progress.timer, 3 * PROGRESS_MS);
        do {
                aip_job_free(read.ret_job);
                read = (struct aip_job_read){.id = id, .wait_ms = 3600000};
                aip_job_service_read(aip_runtime_jobs(runtime), &read);
                aip_runtime_run_until(runtime, &read.op);
        } while (!read.op.err && read.ret_job &&
                 !aip_job_status_is_at_rest(aip_job_fields(read.ret_job)->status));
        aip_timer_clear(progress.loop, &progress.timer);
        progress_end();
        if (read.op.err)
                code = program_fail(read.op.err);
        else if (read.ret_job)
                code = print_job(e, read.ret_job);
        aip_job_free(read.ret_job);
        return code;
}

static int run_prompt(const struct embedded *e, aip_runtime *runtime, struct aip_str prompt)
{
        struct aip_job_submit submit = {.spec = AIP_JOB_SPEC_INIT};

        submit.spec.prompt = prompt;
        submit.spec.config_name = e->config ? aip_str_of(e->config) : choose_config(runtime);
        submit.spec.template_name = aip_str_of(e->template);
        aip_job_service_submit(aip_runtime_jobs(runtime), &submit);
        aip_runtime_run_until(runtime, &submit.op);
        if (submit.op.err)
                return program_fail(submit.op.err);
        return wait_job(e, runtime, submit.ret_job_id);
}

static int run_in(const struct embedded *e, const aip_settings *settings, struct aip_str prompt)
{
        aip_runtime *runtime = NULL;
        aip_error *err = NULL;
        int code;

        if (open_runtime(e, settings, 1, &runtime, &err) < 0 ||
            aip_runtime_start_worker(runtime, &err) < 0 ||
            aip_runtime_wait_ready(runtime, READY_WAIT_MS, &err) < 0)
                code = program_fail(err);
        else
                code = run_prompt(e, runtime, prompt);
        aip_runtime_free(runtime);
        return code;
}

int cmd_run(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"config", KEY_CONFIG, "NAME", 0,
                 "LLM configuration (the strongest whose API key is set)", 0},
                {"template", KEY_TEMPLATE, "NAME", 0, "Prompt template (default-assistant)", 0},
                {"env-file", KEY_ENV_FILE, "FILE", 0, "Read settings from FILE instead of .env", 0},
                {"set", KEY_SET, "NAME=VALUE", 0, "Set a setting; may be repeated", 0},
                {"verbose", KEY_VERBOSE, NULL, 0, "Show the logs", 0},
                {0}};
        static const struct argp argp = {
                options,
                parse_embedded,
                "PROMPT|-",
                "Run one prompt in this process, on the embedded store and queue, "
                "and print the answer.",
                common_children,
                NULL,
                NULL};
        struct embedded e = {.takes_prompt = 1};
        struct aip_buf text = AIP_BUF_INIT(TEXT_MAX_BYTES);
        aip_settings *settings = NULL;
        int code;

        command_parse(&argp, argc, argv, &e);
        keep_embedded(&e);
        if (!e.prompt) {
                fprintf(stderr,
                        "aiplatctl: a prompt is wanted, or - to read it from standard input\n");
                code = EXIT_USAGE;
        } else {
                code = text_argument(e.prompt, &text);
        }
        if (code == EXIT_OK && (code = load_embedded(&e, &settings)) == EXIT_OK)
                code = run_in(&e, settings, aip_buf_str(&text));
        aip_buf_deinit(&text);
        aip_settings_free(settings);
        program_overrides_free(&e.overrides);
        return code;
}

/* ── dev ─────────────────────────────────────────────────────────────────────────────────────── */

static int dev_in(const struct embedded *e, const aip_settings *settings)
{
        aip_runtime *runtime = NULL;
        aip_error *err = NULL;
        int r = open_runtime(e, settings, 0, &runtime, &err);

        if (r == 0)
                r = aip_runtime_start_worker(runtime, &err);
        if (r == 0)
                r = aip_runtime_start_gateway(runtime, &err);
        if (r == 0 && isatty(STDERR_FILENO))
                fprintf(stderr,
                        "aiplat on http://%s:%d – Ctrl-C ends it. Try:\n"
                        "  aiplatctl submit --wait \"Write a haiku about programming\"\n",
                        aip_settings_values(settings)->listen_host,
                        aip_runtime_gateway_port(runtime));
        if (r == 0)
                r = aip_runtime_run(runtime, &err);
        aip_runtime_free(runtime);
        return r < 0 ? program_fail(err) : EXIT_OK;
}

int cmd_dev(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"listen", KEY_LISTEN, "HOST:PORT", 0, "Listen there (127.0.0.1:8000)", 0},
                {"env-file", KEY_ENV_FILE, "FILE", 0, "Read settings from FILE instead of .env", 0},
                {"set", KEY_SET, "NAME=VALUE", 0, "Set a setting; may be repeated", 0},
                {"help-settings", KEY_SETTINGS, NULL, 0, "List all settings with their defaults",
                 0},
                {0}};
        static const struct argp argp = {
                options,
                parse_embedded,
                NULL,
                "Gateway and worker in one process, on the embedded store and queue.",
                common_children,
                NULL,
                NULL};
        struct embedded e = {.prompt = NULL};
        aip_settings *settings = NULL;
        int code;

        command_parse(&argp, argc, argv, &e);
        keep_embedded(&e);
        code = load_embedded(&e, &settings);
        if (code == EXIT_OK)
                code = dev_in(&e, settings);
        aip_settings_free(settings);
        program_overrides_free(&e.overrides);
        return code;
}

/* ── migrate ─────────────────────────────────────────────────────────────────────────────────── */

static int migrate_in(const struct embedded *e, const aip_settings *settings)
{
        struct aip_log log =
                e->is_verbose ? program_log(settings) : (struct aip_log){drop, NULL, AIP_LOG_ERROR};
        aip_error *err = NULL;
        int code = EXIT_OK;

        if (aip_migrate(settings, &log, READY_WAIT_MS, &err) < 0)
                code = program_fail(err);
        if (code == EXIT_OK)
                puts(e->common.is_json ? "{\"status\":\"up to date\"}"
                                       : "the database is up to date");
        return code;
}

int cmd_migrate(int argc, char **argv)
{
        static const struct argp_option options[] = {
                {"env-file", KEY_ENV_FILE, "FILE", 0, "Read settings from FILE instead of .env", 0},
                {"set", KEY_SET, "NAME=VALUE", 0, "Set a setting; may be repeated", 0},
                {"verbose", KEY_VERBOSE, NULL, 0, "Show the logs", 0},
                {0}};
        static const struct argp argp = {
                options,
                parse_embedded,
                NULL,
                "Apply the migrations that the database of DATABASE_URL lacks.",
                common_children,
                NULL,
                NULL};
        struct embedded e = {.prompt = NULL};
        aip_settings *settings = NULL;
        int code;

        command_parse(&argp, argc, argv, &e);
        code = program_load_settings(&e.overrides, &settings);
        if (code == EXIT_OK)
                code = migrate_in(&e, settings);
        aip_settings_free(settings);
        program_overrides_free(&e.overrides);
        return code;
}
