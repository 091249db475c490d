/*
 * Evaluates expressions for test_expressions.py. Reads lines: an expression and its input, with a tab
 * between; writes for each a line: the list of what it yields as JSON, or "error" and why.
 */
#include <aiplat/expression.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(struct aip_str text, struct aip_str json)
{
        struct aip_buf out = AIP_BUF_INIT(1 << 24);
        aip_expression *expression = NULL;
        aip_value *input = NULL, *list = NULL;
        aip_error *err = NULL;

        if (aip_value_parse(json, &input, &err) < 0 ||
            aip_expression_parse(text, NULL, 0, &expression, &err) < 0 ||
            aip_expression_list(expression, input, NULL, &list, &err) < 0 ||
            aip_value_print(list, &out, &err) < 0)
                printf("error %s\n", aip_error_message(err));
        else
                printf("%s\n", out.p);
        fflush(stdout);
        aip_error_free(err);
        aip_value_unref(input);
        aip_value_unref(list);
        aip_expression_unref(expression);
        aip_buf_deinit(&out);
}

int main(void)
{
        char *line = NULL;
        size_t capacity = 0;
        ssize_t n;

        while ((n = getline(&line, &capacity, stdin)) > 0) {
                char *tab = strchr(line, '\t');

                if (!tab)
                        continue;
                answer(aip_str_make(line, (size_t)(tab - line)),
                       aip_str_make(tab + 1, (size_t)(line + n - (line[n - 1] == '\n') - tab - 1)));
        }
        free(line);
        return 0;
}
