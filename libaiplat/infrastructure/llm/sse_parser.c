/* See sse_parser.h. Lines are collected until they are whole, for a piece may end anywhere: also
 * between a CR and its LF, or within the byte order mark. */
#include "llm/sse_parser.h"
#include "macros.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

void aip_sse_parser_init(struct aip_sse_parser *parser, size_t max_bytes,
                         int (*take)(void *user, const struct aip_sse_event *event), void *user)
{
        *parser = (struct aip_sse_parser){.take = take, .user = user};
        aip_buf_init(&parser->line, max_bytes);
        aip_buf_init(&parser->name, max_bytes);
        aip_buf_init(&parser->data, max_bytes);
}

void aip_sse_parser_deinit(struct aip_sse_parser *parser)
{
        aip_buf_deinit(&parser->line);
        aip_buf_deinit(&parser->name);
        aip_buf_deinit(&parser->data);
}

/* An event without data is none. */
static int dispatch(struct aip_sse_parser *parser, int is_unfinished)
{
        const struct aip_sse_event event = {aip_buf_str(&parser->name), aip_buf_str(&parser->data),
                                            is_unfinished};
        int r = parser->has_data ? parser->take(parser->user, &event) : 0;
        aip_buf_clear(&parser->name);
        aip_buf_clear(&parser->data);
        parser->has_data = 0;
        return r;
}

static int take_data(struct aip_sse_parser *parser, struct aip_str value)
{
        int r = parser->has_data ? aip_buf_append_char(&parser->data, '\n') : 0;
        parser->has_data = 1;
        return r < 0 ? r : aip_buf_append(&parser->data, value);
}

static int take_field(struct aip_sse_parser *parser, struct aip_str name, struct aip_str value)
{
        if (aip_str_eq(name, AIP_STR("data")))
                return take_data(parser, value);
        if (!aip_str_eq(name, AIP_STR("event")))
                return 0;
        aip_buf_clear(&parser->name);
        return aip_buf_append(&parser->name, value);
}

static int take_line(struct aip_sse_parser *parser, struct aip_str line)
{
        if (!parser->has_begun && line.n >= 3 && memcmp(line.p, BYTE_ORDER_MARK, 3) == 0)
                line = aip_str_make(line.p + 3, line.n - 3);
        parser->has_begun = 1;
        if (line.n == 0)
                return dispatch(parser, 0);
        const char *colon = memchr(line.p, ':', line.n);
        size_t n = colon ? (size_t)(colon - line.p) : line.n;
        size_t at = colon ? n + 1 : n;
        at += at < line.n && line.p[at] == ' ';
        /* a comment has no name */
        return take_field(parser, aip_str_make(line.p, n), aip_str_make(line.p + at, line.n - at));
}

/* A line's end was found: the line is what was kept of it and `rest`. */
static int end_line(struct aip_sse_parser *parser, struct aip_str rest)
{
        if (parser->line.n == 0)
                return take_line(parser, rest);
        int r = aip_buf_append(&parser->line, rest);
        if (r == 0)
                r = take_line(parser, aip_buf_str(&parser->line));
        aip_buf_clear(&parser->line);
        return r;
}

static size_t bytes_to_line_end(struct aip_str bytes)
{
        const char *lf = memchr(bytes.p, '\n', bytes.n);
        size_t n = lf ? (size_t)(lf - bytes.p) : bytes.n;
        const char *cr = memchr(bytes.p, '\r', n);
        return cr ? (size_t)(cr - bytes.p) : n;
}

int aip_sse_parser_feed(struct aip_sse_parser *parser, struct aip_str bytes)
{
        int r = 0;
        if (bytes.n > 0 && parser->is_after_cr) {
                if (bytes.p[0] == '\n')
                        bytes = aip_str_make(bytes.p + 1, bytes.n - 1);
                parser->is_after_cr = 0;
        }
        while (r == 0 && bytes.n > 0) {
                size_t n = bytes_to_line_end(bytes);
                if (n == bytes.n)
                        return aip_buf_append(&parser->line, bytes);
                int is_cr = bytes.p[n] == '\r';
                r = end_line(parser, aip_str_make(bytes.p, n));
                bytes = aip_str_make(bytes.p + n + 1, bytes.n - n - 1);
                if (is_cr && bytes.n == 0)
                        parser->is_after_cr = 1;
                else if (is_cr && bytes.p[0] == '\n')
                        bytes = aip_str_make(bytes.p + 1, bytes.n - 1);
        }
        return r;
}

int aip_sse_parser_end(struct aip_sse_parser *parser)
{
        int r = parser->line.n > 0 ? end_line(parser, AIP_STR("")) : 0;
        return r < 0 ? r : dispatch(parser, 1);
}
