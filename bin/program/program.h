/*
 * What the three programs have in common: settings from the command line, the log they write, and
 * how an error becomes a message and an exit code. Uses only libaiplat's public headers.
 */
#ifndef AIPLAT_PROGRAM_H
#define AIPLAT_PROGRAM_H

#include <aiplat/log.h>
#include <aiplat/settings.h>

/* Exit codes, as in sysexits.h where it has one. */
enum program_exit {
        EXIT_OK = 0,
        EXIT_FAILED = 1,       /* it was tried and did not work */
        EXIT_USAGE = 64,       /* wrong arguments or settings */
        EXIT_NOT_FOUND = 66,   /* the named thing does not exist */
        EXIT_UNAVAILABLE = 69, /* a server cannot be reached */
        EXIT_TIMED_OUT = 75    /* not over in the time given */
};

/*
 * First of all: give the standard streams we were started without to /dev/null. Otherwise the next
 * file we open, the database say, would get the number of standard output or error.
 */
void program_open_standard_streams(void);

#define PROGRAM_OVERRIDES_MAX 32

/* Settings named on the command line, as NAME=value, for aip_settings_load(). */
struct program_overrides {
        char *list[PROGRAM_OVERRIDES_MAX + 1];
        size_t n;
        const char *env_file;
};

/* Remember NAME=value. Exits with EXIT_USAGE when there are too many or memory is out. */
void program_override(struct program_overrides *overrides, const char *name, const char *value);
void program_overrides_free(struct program_overrides *overrides);

/* Load the settings or print what is wrong with them. Returns an exit code. */
int program_load_settings(const struct program_overrides *overrides, aip_settings **ret_settings);

/* Logs go to standard error, as people or as JSON lines, as the settings and the terminal say. */
struct aip_log program_log(const aip_settings *settings);

/* Print "program: message" with all causes, free the error, return the exit code for it. */
int program_fail(aip_error *err);

/* All settings with their defaults and help, for --help-settings. */
void program_print_settings(void);

#endif
