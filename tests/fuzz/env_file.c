/* .env files: names that come out are names, values hold no NUL, lines count up, refusals say a
 * line. */
#include "env_file.h"
#include "fuzz.h"
#include <string.h>

static int check(void *user, const char *name, const char *value, int line, aip_error **err)
{
        int *last_line = user;
        (void)err;
        MUST(name[0] != '\0' && !(name[0] >= '0' && name[0] <= '9'));
        MUST(strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") ==
             strlen(name));
        MUST(aip_str_utf8_length(aip_str_of(value)) >= 0);
        MUST(line > *last_line);
        *last_line = line;
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        int last_line = 0;
        struct aip_env_visitor visitor = {check, &last_line};
        aip_error *err = NULL;
        int r = aip_env_parse(aip_str_make((const char *)data, size), &visitor, &err);
        MUST(r == 0 || r == AIP_EINVAL);
        MUST(r == 0 || strncmp(aip_error_message(err), "line ", 5) == 0);
        aip_error_free(err);
        return 0;
}
