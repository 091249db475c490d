/* The parser of `.env` files; env_file.h says what it reads. It looks at each byte once. */
#include "env_file.h"
#include "macros.h"
#include "mem.h"
#include <ctype.h>

struct parser {
        const char *p;
        const char *end;
        int line;
        struct aip_buf name;
        struct aip_buf value;
        aip_error **err;
};

static int refuse(struct parser *parser, int line, const char *mistake)
{
        return aip_error_set(parser->err, AIP_EINVAL, "line %d: %s", line, mistake);
}

/* The byte we are at; a newline at the end, as if the last line had one. */
static char peek(const struct parser *parser)
{
        return parser->p < parser->end ? *parser->p : '\n';
}

static int at_end(const struct parser *parser)
{
        return parser->p >= parser->end;
}

static void skip_blanks(struct parser *parser)
{
        while (peek(parser) == ' ' || peek(parser) == '\t' || peek(parser) == '\r')
                parser->p++;
}

static void skip_line(struct parser *parser)
{
        while (peek(parser) != '\n')
                parser->p++;
        parser->p++;
        parser->line++;
}

static int append(struct parser *parser, struct aip_buf *buf, char c)
{
        return aip_buf_append_char(buf, c) < 0 ? aip_error_set_nomem(parser->err) : 0;
}

static int is_name_byte(char c)
{
        return isalnum((unsigned char)c) || c == '_';
}

static int read_name(struct parser *parser)
{
        aip_buf_clear(&parser->name);
        while (is_name_byte(peek(parser))) {
                int r = append(parser, &parser->name, *parser->p++);
                if (r < 0)
                        return r;
        }
        struct aip_str name = aip_buf_str(&parser->name);
        if (name.n == 0 || isdigit((unsigned char)name.p[0]))
                return refuse(parser, parser->line, "a name is expected");
        return 0;
}

/* `export NAME=…` is what shells read; the word is a name only when `=` follows. */
static int read_name_after_export(struct parser *parser)
{
        int r = read_name(parser);
        skip_blanks(parser);
        if (r < 0 || peek(parser) == '=' ||
            !aip_str_eq(aip_buf_str(&parser->name), AIP_STR("export")))
                return r;
        r = read_name(parser);
        skip_blanks(parser);
        return r;
}

static int read_bare(struct parser *parser)
{
        char before = ' ';
        while (peek(parser) != '\n' &&
               !(peek(parser) == '#' && (before == ' ' || before == '\t'))) {
                before = *parser->p++;
                int r = append(parser, &parser->value, before);
                if (r < 0)
                        return r;
        }
        struct aip_buf *value = &parser->value;
        while (value->n > 0 && strchr(" \t\r", value->p[value->n - 1]))
                value->p[--value->n] = '\0';
        return 0;
}

/* Behind a backslash in double quotes. An unknown escape stands for itself. */
static int read_escape(struct parser *parser)
{
        static const char codes[] = "nrt\"\\$", meanings[] = "\n\r\t\"\\$";
        const char *code = at_end(parser) ? NULL : strchr(codes, *parser->p);
        if (!code || *code == '\0')
                return append(parser, &parser->value, '\\');
        parser->p++;
        return append(parser, &parser->value, meanings[code - codes]);
}

static int read_quoted(struct parser *parser)
{
        char quote = *parser->p++;
        int first_line = parser->line;
        while (at_end(parser) || *parser->p != quote) {
                if (at_end(parser))
                        return refuse(parser, first_line, "the closing quote is missing");
                char c = *parser->p++;
                parser->line += c == '\n';
                int r = c == '\\' && quote == '"' ? read_escape(parser)
                                                  : append(parser, &parser->value, c);
                if (r < 0)
                        return r;
        }
        parser->p++;
        skip_blanks(parser);
        if (peek(parser) != '\n' && peek(parser) != '#')
                return refuse(parser, parser->line, "text behind the closing quote");
        return 0;
}

static int read_value(struct parser *parser)
{
        aip_buf_clear(&parser->value);
        skip_blanks(parser);
        return peek(parser) == '"' || peek(parser) == '\'' ? read_quoted(parser)
                                                           : read_bare(parser);
}

static int read_assignment(struct parser *parser, const struct aip_env_visitor *visitor)
{
        int line = parser->line;
        int r = read_name_after_export(parser);
        if (r < 0)
                return r;
        if (peek(parser) != '=')
                return refuse(parser, line, "'=' is expected behind the name");
        parser->p++;
        r = read_value(parser);
        if (r < 0)
                return r;
        return visitor->visit(visitor->user, parser->name.p, parser->value.p ? parser->value.p : "",
                              line, parser->err);
}

static int read_lines(struct parser *parser, const struct aip_env_visitor *visitor)
{
        while (!at_end(parser)) {
                skip_blanks(parser);
                if (peek(parser) != '\n' && peek(parser) != '#') {
                        int r = read_assignment(parser, visitor);
                        if (r != 0)
                                return r;
                }
                skip_line(parser);
        }
        return 0;
}

static int check_bytes(struct aip_str text, aip_error **err)
{
        int line = 1;
        for (size_t start = 0; start < text.n; line++) {
                const char *newline = memchr(text.p + start, '\n', text.n - start);
                size_t end = newline ? (size_t)(newline - text.p) + 1 : text.n;
                struct aip_str one = aip_str_make(text.p + start, end - start);
                if (memchr(one.p, '\0', one.n))
                        return aip_error_set(err, AIP_EINVAL, "line %d: NUL is not allowed", line);
                if (aip_str_utf8_length(one) < 0)
                        return aip_error_set(err, AIP_EINVAL, "line %d: invalid UTF-8", line);
                start = end;
        }
        return 0;
}

int aip_env_parse(struct aip_str text, const struct aip_env_visitor *visitor, aip_error **err)
{
        int r = check_bytes(text, err);
        if (r < 0)
                return r;
        struct parser parser = {
                .p = text.p,
                .end = text.p + text.n,
                .line = 1,
                .name = AIP_BUF_INIT(text.n),
                .value = AIP_BUF_INIT(text.n),
                .err = err,
        };
        r = read_lines(&parser, visitor);
        aip_buf_deinit(&parser.name);
        aip_buf_deinit(&parser.value);
        return r;
}
