/* Texts and numbers from the command line. */
#ifndef AIPLATCTL_TEXT_H
#define AIPLATCTL_TEXT_H

#include <aiplat/value.h>
#include <argp.h>

#define TEXT_MAX_BYTES ((size_t)16 << 20)

/* An argument as it is, standard input for "-", a file's content for "@file". Returns an exit code. */
int text_argument(const char *argument, struct aip_buf *ret_text);
/* A file's content, or standard input for "-". Returns an exit code. */
int text_file(const char *file, struct aip_buf *ret_text);
/* The JSON in it. What is wrong is told with the file's name. Returns an exit code. */
int text_json_file(const char *file, aip_value **ret_value);
/* A number, or argp_error(). */
double text_number(struct argp_state *state, const char *what, const char *argument);

#endif
