/* Settings, logs and exit codes of the three programs (program.h). */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void program_open_standard_streams(void)
{
        int fd;

        do
                fd = open("/dev/null", O_RDWR);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd >= 0)
                close(fd);
}

void program_override(struct program_overrides *overrides, const char *name, const char *value)
{
        size_t bytes = strlen(name) + strlen(value) + 2;
        char *entry = malloc(bytes);

        if (!entry || overrides->n == PROGRAM_OVERRIDES_MAX) {
                fprintf(stderr, "%s: too many settings on the command line\n",
                        program_invocation_short_name);
                exit(EXIT_USAGE);
        }
        snprintf(entry, bytes, "%s=%s", name, value);
        overrides->list[overrides->n++] = entry;
        overrides->list[overrides->n] = NULL;
}

void program_overrides_free(struct program_overrides *overrides)
{
        while (overrides->n > 0)
                free(overrides->list[--overrides->n]);
}

static int exit_code_of(int error_code)
{
        switch (error_code) {
        case AIP_EINVAL:
        case AIP_EUNSUPPORTED:
                return EXIT_USAGE;
        case AIP_ENOTFOUND:
                return EXIT_NOT_FOUND;
        case AIP_EUNAVAILABLE:
                return EXIT_UNAVAILABLE;
        case AIP_ETIMEOUT:
                return EXIT_TIMED_OUT;
        default:
                return EXIT_FAILED;
        }
}

int program_fail(aip_error *err)
{
        int code = exit_code_of(aip_error_code(err));

        fprintf(stderr, "%s: %s", program_invocation_short_name, aip_error_message(err));
        for (const aip_error *cause = aip_error_cause(err); cause; cause = aip_error_cause(cause))
                fprintf(stderr, ": %s", aip_error_message(cause));
        fputc('\n', stderr);
        aip_error_free(err);
        return code;
}

int program_load_settings(const struct program_overrides *overrides, aip_settings **ret_settings)
{
        struct aip_settings_source source = AIP_SETTINGS_SOURCE_INIT;
        aip_error *err = NULL;

        source.env_file = overrides->env_file;
        source.overrides = (const char *const *)overrides->list;
        if (aip_settings_load(&source, ret_settings, &err) < 0)
                return program_fail(err);
        return EXIT_OK;
}

struct aip_log program_log(const aip_settings *settings)
{
        const struct aip_settings_values *v = aip_settings_values(settings);

        switch (v->log_format) {
        case AIP_LOG_FORMAT_HUMAN:
                return aip_log_to_terminal(STDERR_FILENO, v->log_level);
        case AIP_LOG_FORMAT_JSON:
                return aip_log_to_json(STDERR_FILENO, v->log_level);
        case AIP_LOG_FORMAT_AUTO:
                break;
        }
        return isatty(STDERR_FILENO) ? aip_log_to_terminal(STDERR_FILENO, v->log_level)
                                     : aip_log_to_json(STDERR_FILENO, v->log_level);
}

void program_print_settings(void)
{
        const struct aip_setting_info *info;

        puts("Settings: from .env, from the environment, and by --set NAME=VALUE, the later "
             "winning.\n");
        for (size_t i = 0; (info = aip_setting_info(i)) != NULL; i++)
                printf("  %s (default: %s)\n      %s\n", info->name,
                       info->fallback && *info->fallback ? info->fallback : "none", info->help);
}
