/*
 * The syntax of `.env` files. Called by settings.c and by a fuzzer. It knows no setting and opens
 * no file.
 *
 *     # a comment                      names: letters, digits, _ ; `export ` before one is skipped
 *     NAME=value   # a comment         without quotes: up to " #", spaces around it dropped
 *     NAME='value'                     as it stands
 *     NAME="value"                     with \n \r \t \" \\ \$ ; may go on over several lines
 *
 * There is no interpolation: a `$` is a `$`, for it is common in passwords.
 */
#ifndef AIPLAT_BASE_ENV_FILE_H
#define AIPLAT_BASE_ENV_FILE_H

#include <aiplat/str.h>

struct aip_env_visitor {
        /* Strings are borrowed for the call. Not 0: stop; aip_env_parse() returns it as its own. */
        int (*visit)(void *user, const char *name, const char *value, int line, aip_error **err);
        void *user;
};

/* AIP_EINVAL with the line for what is not understood (NUL and invalid UTF-8 included), AIP_ENOMEM,
 * or what the visitor returned. */
int aip_env_parse(struct aip_str text, const struct aip_env_visitor *visitor, aip_error **err);

#endif
