/* Tables, lists and progress (output.h). */
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void output_json(struct aip_str json)
{
        fwrite(json.p, 1, json.n, stdout);
        putchar('\n');
}

static void print_indented(const aip_value *value, int depth);

/* Short lists and objects stay on their line. */
static int print_inline(const aip_value *value, int depth)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 20);
        int is_short;

        is_short = aip_value_print(value, &text, NULL) >= 0 &&
                   (aip_value_size(value) == 0 || text.n + (size_t)(2 * depth) <= 88);
        if (is_short)
                fwrite(text.p, 1, text.n, stdout);
        aip_buf_deinit(&text);
        return is_short;
}

static void print_member(const aip_value *container, size_t index, int depth)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 20);
        const aip_value *child = aip_value_at(container, index);
        struct aip_str key;

        printf("%s%*s", index > 0 ? ",\n" : "\n", 2 * depth, "");
        if (!child) {
                child = aip_value_member(container, index, &key);
                if (aip_json_append_string(&text, key) >= 0)
                        printf("%.*s: ", (int)text.n, text.p);
                aip_buf_deinit(&text);
        }
        print_indented(child, depth);
}

static void print_indented(const aip_value *value, int depth)
{
        int is_list = aip_value_type(value) == AIP_VALUE_LIST;

        if (print_inline(value, depth))
                return;
        putchar(is_list ? '[' : '{');
        for (size_t i = 0; i < aip_value_size(value); i++)
                print_member(value, i, depth + 1);
        printf("\n%*s%c", 2 * depth, "", is_list ? ']' : '}');
}

void output_json_indented(const aip_value *value)
{
        print_indented(value, 0);
        putchar('\n');
}

/* A member as one line of text. */
static void cell_text(const aip_value *value, struct aip_buf *out)
{
        struct aip_str s = aip_value_as_string(value);
        int r;

        if (aip_value_type(value) == AIP_VALUE_NULL)
                r = aip_buf_append_cstr(out, "-");
        else if (aip_value_type(value) == AIP_VALUE_STRING)
                r = aip_buf_append(out, s);
        else
                r = aip_value_print(value, out, NULL);
        if (r < 0)
                return;
        /* Control characters of strangers' texts do not reach the terminal. */
        for (size_t i = 0; i < out->n; i++)
                if ((unsigned char)out->p[i] < 0x20 || out->p[i] == 0x7f)
                        out->p[i] = ' ';
}

static int columns_of(struct aip_str s)
{
        int64_t n = aip_str_utf8_length(s);

        return (int)(n < 0 ? (int64_t)s.n : n);
}

/* Bytes of the first `n` characters. */
static size_t bytes_of(struct aip_str s, int n)
{
        size_t i = 0;

        while (i < s.n && n-- > 0)
                for (i++; i < s.n && ((unsigned char)s.p[i] & 0xc0) == 0x80;)
                        i++;
        return i;
}

static int cell_width(const struct column *column, const aip_value *row)
{
        struct aip_buf text = AIP_BUF_INIT(1u << 20);
        int width;

        cell_text(aip_value_get_cstr(row, column->member), &text);
        width = columns_of(aip_buf_str(&text));
        aip_buf_deinit(&text);
        return width > column->max_width ? column->max_width : width;
}

static void print_padded(struct aip_str text, int width, int is_last)
{
        int length = columns_of(text);

        if (length > width)
                printf("%.*s…", (int)bytes_of(text, width - 1), text.p);
        else
                printf("%.*s%*s", (int)text.n, text.p, is_last ? 0 : width - length, "");
        fputs(is_last ? "\n" : "  ", stdout);
}

void output_table(const struct column *columns, size_t n_columns, const aip_value *rows)
{
        int widths[16] = {0};
        size_t n_rows = aip_value_size(rows);

        if (n_columns > 16)
                n_columns = 16;
        for (size_t c = 0; c < n_columns; c++) {
                widths[c] = (int)strlen(columns[c].title);
                for (size_t r = 0; r < n_rows; r++) {
                        int width = cell_width(&columns[c], aip_value_at(rows, r));

                        if (width > widths[c])
                                widths[c] = width;
                }
        }
        for (size_t c = 0; c < n_columns; c++)
                print_padded(aip_str_of(columns[c].title), widths[c], c + 1 == n_columns);
        for (size_t r = 0; r < n_rows; r++)
                for (size_t c = 0; c < n_columns; c++) {
                        struct aip_buf text = AIP_BUF_INIT(1u << 20);

                        cell_text(aip_value_get_cstr(aip_value_at(rows, r), columns[c].member),
                                  &text);
                        print_padded(aip_buf_str(&text), widths[c], c + 1 == n_columns);
                        aip_buf_deinit(&text);
                }
}

static int is_long(const aip_value *value)
{
        struct aip_str s = aip_value_as_string(value);

        return s.p && (s.n > 70 || memchr(s.p, '\n', s.n));
}

void output_object(const aip_value *object)
{
        struct aip_str name;

        for (size_t i = 0; i < aip_value_size(object); i++) {
                const aip_value *value = aip_value_member(object, i, &name);
                struct aip_buf text = AIP_BUF_INIT(1u << 20);

                if (is_long(value) || aip_value_type(value) == AIP_VALUE_NULL)
                        continue;
                cell_text(value, &text);
                printf("%-16.*s %s\n", (int)name.n, name.p, text.p ? text.p : "");
                aip_buf_deinit(&text);
        }
        for (size_t i = 0; i < aip_value_size(object); i++) {
                const aip_value *value = aip_value_member(object, i, &name);
                struct aip_str s = aip_value_as_string(value);

                if (is_long(value))
                        printf("\n%.*s:\n%.*s\n", (int)name.n, name.p, (int)s.n, s.p);
        }
}

void progress_show(const char *what, double seconds)
{
        if (!isatty(STDERR_FILENO))
                return;
        fprintf(stderr, "\r\033[K%s  %.1f s", what, seconds);
        fflush(stderr);
}

void progress_end(void)
{
        if (isatty(STDERR_FILENO))
                fputs("\r\033[K", stderr);
}
