/* Server-Sent Events: what counts as an event, whatever the pieces it comes in. */
#include "llm/sse_parser.h"
#include "macros.h"
#include <criterion/criterion.h>

/* Events as text: name|data|mark, each ended by a semicolon. */
static int note(void *user, const struct aip_sse_event *event)
{
        struct aip_buf *seen = user;
        return aip_buf_printf(seen, "%.*s|%.*s%s;", AIP_STR_ARG(event->name),
                              AIP_STR_ARG(event->data), event->is_unfinished ? "|cut" : "");
}

static void feed_split(struct aip_sse_parser *parser, struct aip_str text, size_t a, size_t b)
{
        cr_assert_eq(aip_sse_parser_feed(parser, aip_str_make(text.p, a)), 0);
        cr_assert_eq(aip_sse_parser_feed(parser, aip_str_make(text.p + a, b - a)), 0);
        cr_assert_eq(aip_sse_parser_feed(parser, aip_str_make(text.p + b, text.n - b)), 0);
}

static void expect_one(struct aip_str text, size_t a, size_t b, const char *expected)
{
        struct aip_buf seen = AIP_BUF_INIT(1 << 16);
        struct aip_sse_parser parser;
        aip_sse_parser_init(&parser, 1000, note, &seen);
        feed_split(&parser, text, a, b);
        cr_assert_eq(aip_sse_parser_end(&parser), 0);
        cr_assert_str_eq(aip_buf_str(&seen).p, expected, "split at %zu and %zu: %s", a, b, text.p);
        aip_sse_parser_deinit(&parser);
        aip_buf_deinit(&seen);
}

/* In all splits into three pieces. */
static void expect(const char *stream, const char *expected)
{
        struct aip_str text = aip_str_of(stream);
        for (size_t a = 0; a <= text.n; a++) {
                for (size_t b = a; b <= text.n; b++)
                        expect_one(text, a, b, expected);
        }
}

Test(sse_parser, events)
{
        expect("", "");
        expect("data: a\n\n", "|a;");
        expect("data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;");
        expect("data: a\r\rdata: b\r\r", "|a;|b;");
        expect("data: a\n\r\ndata: b\r\n\n", "|a;|b;");
        expect("data:a\ndata:  b\ndata\n\n", "|a\n b\n;");
        expect("event: x\ndata: a\n\ndata: b\n\n", "x|a;|b;");
        expect("event: x\nevent: y\ndata: a\n\n", "y|a;");
        expect("event: x\n\ndata: a\n\n", "|a;");
        expect(": comment\n:\ndata: a\n: another\n\n", "|a;");
        expect("id: 7\nretry: 10\nother: z\ndatas: 1\ndata: a:b\n\n", "|a:b;");
        expect("\n\n\r\n\r\rdata: a\n\n\n\n", "|a;");
        expect("data\n\n", "|;");
}

Test(sse_parser, byte_order_mark)
{
        expect("\xef\xbb\xbf"
               "data: a\n\n\xef\xbb\xbf"
               "data: b\n\n",
               "|a;");
        expect("\xef\xbb\xbf\ndata: a\n\n", "|a;");
}

Test(sse_parser, the_end_of_a_stream)
{
        expect("data: a\n\ndata: b\n", "|a;|b|cut;");
        expect("data: a\n\ndata: b", "|a;|b|cut;");
        expect("data: a\r", "|a|cut;");
        expect("event: x\n", "");
        expect("dat", "");
}

Test(sse_parser, limits)
{
        char line[300];
        memset(line, 'x', sizeof(line));
        struct aip_buf seen = AIP_BUF_INIT(1 << 16);
        struct aip_sse_parser parser;
        int r = 0;
        aip_sse_parser_init(&parser, 250, note, &seen);
        cr_expect_eq(aip_sse_parser_feed(&parser, aip_str_make(line, sizeof(line))), AIP_ELIMIT);
        aip_sse_parser_deinit(&parser);
        aip_sse_parser_init(&parser, 250, note, &seen);
        for (int i = 0; i < 30 && r == 0; i++)
                r = aip_sse_parser_feed(&parser, AIP_STR("data: 12345678901234567890\n"));
        cr_expect_eq(r, AIP_ELIMIT);
        aip_sse_parser_deinit(&parser);
        aip_buf_deinit(&seen);
}

static int refuse(void *user, const struct aip_sse_event *event)
{
        (void)event;
        *(int *)user += 1;
        return AIP_EUPSTREAM;
}

Test(sse_parser, the_taker_can_end_it)
{
        int n = 0;
        struct aip_sse_parser parser;
        aip_sse_parser_init(&parser, 250, refuse, &n);
        cr_expect_eq(aip_sse_parser_feed(&parser, AIP_STR("data: a\n\ndata: b\n\n")),
                     AIP_EUPSTREAM);
        cr_expect_eq(n, 1);
        aip_sse_parser_deinit(&parser);
}
