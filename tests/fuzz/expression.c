/*
 * Expressions. The input is an expression, a NUL, and its input as JSON. Whatever is accepted is
 * evaluated, and ends: with a value, or with an error that says why; what is refused says where.
 */
#include "fuzz.h"
#include <aiplat/expression.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        static const char *const names[] = {"x"};
        struct aip_str text = aip_str_make((const char *)data, n), json = {"null", 4};
        const char *end = n ? memchr(data, 0, n) : NULL;
        aip_expression *e = NULL;
        aip_value *input = NULL, *list = NULL;
        aip_error *err = NULL;

        if (end) {
                text.n = (size_t)(end - text.p);
                json = aip_str_make(end + 1, n - text.n - 1);
        }
        int r = aip_expression_parse(text, names, 1, &e, &err);
        MUST(r == 0 || (r == AIP_EINVAL && aip_error_message(err)[0]) || r == AIP_ELIMIT);
        aip_error_free(err);
        if (r < 0)
                return 0;
        err = NULL;
        (void)aip_value_parse(json, &input, NULL);
        const aip_value *variables[] = {input};
        r = aip_expression_list(e, input, variables, &list, &err);
        MUST(r == 0 ? aip_value_type(list) == AIP_VALUE_LIST
                    : (r == AIP_EINVAL || r == AIP_ELIMIT) && err != NULL);
        aip_error_free(err);
        aip_value_unref(list);
        aip_value_unref(input);
        aip_expression_unref(e);
        return 0;
}
