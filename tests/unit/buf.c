/* The growing buffer: appends, its maximum, taking the bytes. */
#include "alloc_fail.h"
#include "macros.h"
#include <criterion/criterion.h>
#include <stdio.h>

Test(buf, grows_and_stays_terminated)
{
        _cleanup_(aip_buf_deinit) struct aip_buf buf = AIP_BUF_INIT(100000);
        cr_assert_eq(aip_buf_str(&buf).n, 0u);
        for (int i = 0; i < 10000; i++) {
                cr_assert_eq(aip_buf_append_char(&buf, (char)('a' + i % 26)), 0);
                cr_assert_eq(buf.p[buf.n], '\0');
        }
        cr_assert_eq(aip_buf_append_cstr(&buf, "xyz"), 0);
        cr_assert_eq(aip_buf_printf(&buf, "%d-%s", 42, "q"), 0);
        cr_assert_eq(strcmp(buf.p + 10000, "xyz42-q"), 0);
        cr_assert_lt(buf.capacity, 100000u);
}

Test(buf, refuses_to_pass_its_maximum_and_keeps_the_content)
{
        _cleanup_(aip_buf_deinit) struct aip_buf buf = AIP_BUF_INIT(5);
        cr_assert_eq(aip_buf_append_cstr(&buf, "abc"), 0);
        cr_assert_eq(aip_buf_append_cstr(&buf, "def"), AIP_ELIMIT);
        cr_assert_eq(aip_buf_printf(&buf, "%d", 123), AIP_ELIMIT);
        cr_assert_eq(aip_buf_reserve(&buf, SIZE_MAX), AIP_ELIMIT);
        cr_assert_str_eq(buf.p, "abc");
        cr_assert_eq(aip_buf_append_cstr(&buf, "de"), 0);
        cr_assert_eq(aip_buf_append_char(&buf, 'f'), AIP_ELIMIT);
        cr_assert_str_eq(buf.p, "abcde");
        cr_assert_leq(buf.capacity, 6u);
}

Test(buf, a_huge_maximum_does_not_overflow)
{
        _cleanup_(aip_buf_deinit) struct aip_buf buf = AIP_BUF_INIT(SIZE_MAX);
        cr_assert_eq(aip_buf_append_cstr(&buf, "abc"), 0);
        cr_assert_eq(aip_buf_reserve(&buf, SIZE_MAX - 3), AIP_ELIMIT);
        cr_assert_str_eq(buf.p, "abc");
}

Test(buf, clear_keeps_the_memory)
{
        _cleanup_(aip_buf_deinit) struct aip_buf buf = AIP_BUF_INIT(1000);
        cr_assert_eq(aip_buf_append_cstr(&buf, "abc"), 0);
        char *p = buf.p;
        aip_buf_clear(&buf);
        cr_assert_eq(buf.n, 0u);
        cr_assert_eq(aip_buf_append_char(&buf, 'x'), 0);
        cr_assert_eq(buf.p, p);
}

Test(buf, taking_leaves_it_empty_and_usable)
{
        struct aip_buf buf = AIP_BUF_INIT(1000);
        char *text = aip_buf_take(&buf);
        cr_assert_str_eq(text, "");
        free(text);
        cr_assert_eq(aip_buf_append_cstr(&buf, "abc"), 0);
        text = aip_buf_take(&buf);
        cr_assert_str_eq(text, "abc");
        free(text);
        cr_assert_null(buf.p);
        cr_assert_eq(aip_buf_append_cstr(&buf, "d"), 0);
        cr_assert_str_eq(buf.p, "d");
        aip_buf_deinit(&buf);
        aip_buf_deinit(&buf);
        aip_buf_deinit(NULL);
}

Test(buf, printing_keeps_to_the_maximum_and_to_what_was_there)
{
        _cleanup_(aip_buf_deinit) struct aip_buf buf = AIP_BUF_INIT(70);
        char expected[71] = "";
        for (int i = 0; i < 7; i++) {
                cr_assert_eq(aip_buf_printf(&buf, "%s%05d", "abcde", i), 0);
                snprintf(expected + 10 * i, sizeof(expected) - 10 * (size_t)i, "abcde%05d", i);
                cr_assert_str_eq(buf.p, expected);
        }
        cr_assert_eq(buf.n, 70u);
        cr_assert_eq(aip_buf_printf(&buf, "%c", 'x'), AIP_ELIMIT);
        cr_assert_eq(aip_buf_printf(&buf, "%s", ""), 0);
        cr_assert_str_eq(buf.p, expected);
        buf.max_bytes = 1000;
        cr_assert_eq(aip_buf_printf(&buf, "%0200d", 7), 0);
        cr_assert_eq(buf.n, 270u);
        cr_assert_eq(strncmp(buf.p, expected, 70), 0);
        cr_assert_eq(strlen(buf.p), 270u);
}

static int fill(void *user, aip_error **err)
{
        (void)user;
        struct aip_buf buf = AIP_BUF_INIT(1 << 20);
        int r = 0;
        for (int i = 0; i < 2000 && r == 0; i++)
                r = aip_buf_printf(&buf, "%d", i);
        if (r < 0) {
                aip_buf_deinit(&buf);
                return aip_error_set_nomem(err);
        }
        free(aip_buf_take(&buf));
        char *empty = aip_buf_take(&buf);
        free(empty);
        return empty ? 0 : aip_error_set_nomem(err);
}

Test(buf, survives_allocation_failure)
{
        ASSERT_SURVIVES_ALLOC_FAILURE(fill, NULL);
}
