/* Texts and numbers from the command line (text.h). */
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static int read_stream(FILE *stream, const char *name, struct aip_buf *text)
{
        char block[65536];
        size_t n;

        while ((n = fread(block, 1, sizeof(block), stream)) > 0)
                if (aip_buf_append(text, aip_str_make(block, n)) < 0) {
                        fprintf(stderr, "%s: %s: more than %zu bytes\n",
                                program_invocation_short_name, name, text->max_bytes);
                        return EXIT_USAGE;
                }
        if (ferror(stream)) {
                fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, name,
                        strerror(errno));
                return EXIT_FAILED;
        }
        return EXIT_OK;
}

int text_file(const char *name, struct aip_buf *ret_text)
{
        FILE *file;
        int code;

        if (strcmp(name, "-") == 0)
                return read_stream(stdin, "standard input", ret_text);
        file = fopen(name, "re");
        if (!file) {
                fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, name,
                        strerror(errno));
                return EXIT_NOT_FOUND;
        }
        code = read_stream(file, name, ret_text);
        fclose(file);
        return code;
}

int text_argument(const char *argument, struct aip_buf *ret_text)
{
        if (strcmp(argument, "-") == 0)
                return text_file(argument, ret_text);
        if (argument[0] == '@')
                return text_file(strcmp(argument, "@-") == 0 ? "./-" : argument + 1, ret_text);
        return aip_buf_append_cstr(ret_text, argument) < 0 ? EXIT_USAGE : EXIT_OK;
}

int text_json_file(const char *file, aip_value **ret_value)
{
        struct aip_buf text = AIP_BUF_INIT(TEXT_MAX_BYTES);
        aip_error *err = NULL;
        int code = text_file(file, &text);

        if (code == EXIT_OK && aip_value_parse(aip_buf_str(&text), ret_value, &err) < 0) {
                fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, file,
                        aip_error_message(err));
                aip_error_free(err);
                code = EXIT_USAGE;
        }
        aip_buf_deinit(&text);
        return code;
}

double text_number(struct argp_state *state, const char *what, const char *argument)
{
        char *end;
        double number = strtod(argument, &end);

        if (end == argument || *end != '\0')
                argp_error(state, "%s wants a number, not '%s'", what, argument);
        return number;
}
