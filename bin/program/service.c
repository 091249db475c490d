/* The gateway's and the worker's common main (service.h). */
#include "service.h"

#include <aiplat/version.h>
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
        KEY_LISTEN = 'l',
        KEY_CONCURRENCY = 'c',
        KEY_ENV_FILE = 'e',
        KEY_SET = 's',
        KEY_SETTINGS = 0x100
};

static const struct argp_option options[] = {
        {"listen", KEY_LISTEN, "HOST:PORT", 0, "Listen there (AIPLAT_LISTEN)", 0},
        {"concurrency", KEY_CONCURRENCY, "N", 0, "Jobs in flight at once (AIPLAT_CONCURRENCY)", 0},
        {"env-file", KEY_ENV_FILE, "FILE", 0, "Read settings from FILE instead of .env", 0},
        {"set", KEY_SET, "NAME=VALUE", 0, "Set a setting; may be repeated", 0},
        {"help-settings", KEY_SETTINGS, NULL, 0, "List all settings with their defaults", 0},
        {0}};

static void set_any(struct program_overrides *overrides, const char *pair, struct argp_state *state)
{
        const char *equals = strchr(pair, '=');
        char *name;

        if (!equals || equals == pair)
                argp_error(state, "--set wants NAME=VALUE, not '%s'", pair);
        name = strndup(pair, (size_t)(equals - pair));
        if (!name)
                argp_failure(state, EXIT_FAILED, 0, "out of memory");
        program_override(overrides, name, equals + 1);
        free(name);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
        struct program_overrides *overrides = state->input;

        switch (key) {
        case KEY_LISTEN:
                program_override(overrides, "AIPLAT_LISTEN", argument);
                return 0;
        case KEY_CONCURRENCY:
                program_override(overrides, "AIPLAT_CONCURRENCY", argument);
                return 0;
        case KEY_ENV_FILE:
                overrides->env_file = argument;
                return 0;
        case KEY_SET:
                set_any(overrides, argument, state);
                return 0;
        case KEY_SETTINGS:
                program_print_settings();
                exit(EXIT_OK);
        case ARGP_KEY_ARG:
                argp_error(state, "unexpected argument '%s'", argument);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static void print_version(FILE *stream, struct argp_state *state)
{
        (void)state;
        fprintf(stream, "aiplat %s\n", aip_version());
}

static int run(const struct service *service, const aip_settings *settings)
{
        struct aip_runtime_options runtime_options = {.self_size = sizeof(runtime_options)};
        aip_runtime *runtime = NULL;
        aip_error *err = NULL;
        int r;

        runtime_options.log = program_log(settings);
        runtime_options.component = service->component;
        r = aip_runtime_new(settings, &runtime_options, &runtime, &err);
        if (r == 0)
                r = service->start(runtime, &err);
        if (r == 0)
                r = aip_runtime_run(runtime, &err);
        aip_runtime_free(runtime);
        return r < 0 ? program_fail(err) : EXIT_OK;
}

/* A connection a client, a connection a model call: as many descriptors as the system allows us. What
 * it does not allow is met where a descriptor is wanted, and reported there. */
static void raise_descriptor_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}

int service_main(const struct service *service, int argc, char **argv)
{
        struct program_overrides overrides = {.n = 0};
        struct argp argp = {options, parse_option, NULL, service->description, NULL, NULL, NULL};
        aip_settings *settings = NULL;
        int code;

        program_open_standard_streams();
        raise_descriptor_limit();
        argp_program_version_hook = print_version;
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, &overrides);
        code = program_load_settings(&overrides, &settings);
        if (code == EXIT_OK)
                code = run(service, settings);
        aip_settings_free(settings);
        program_overrides_free(&overrides);
        return code;
}
