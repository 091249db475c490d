/* Limits and cursors of lists (paging.h): hexadecimal, so that they need no escaping in a URL. */
#include "paging.h"

#include "macros.h"

int paging_limit(const struct http_request *request, uint32_t fallback, uint32_t max,
                 uint32_t *ret_limit, aip_error **err)
{
        struct aip_str text = http_query(request, "limit");
        uint32_t limit = 0;

        *ret_limit = fallback;
        if (!text.p)
                return 0;
        for (size_t i = 0; i < text.n; i++) {
                if (text.p[i] < '0' || text.p[i] > '9' || i > 8)
                        return aip_error_set(err, AIP_EINVAL, "limit: must be from 1 to %u", max);
                limit = limit * 10 + (uint32_t)(text.p[i] - '0');
        }
        if (limit < 1 || limit > max)
                return aip_error_set(err, AIP_EINVAL, "limit: must be from 1 to %u", max);
        *ret_limit = limit;
        return 0;
}

static int print_hex(struct aip_str bytes, struct aip_buf *out)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < bytes.n; i++)
                r = aip_buf_printf(out, "%02x", (unsigned char)bytes.p[i]);
        return r;
}

static int nibble(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_hex(struct aip_str cursor, struct aip_buf *out, aip_error **err)
{
        int r = cursor.n % 2 == 0 && cursor.n > 0 ? 0 : AIP_EINVAL;

        for (size_t i = 0; r >= 0 && i < cursor.n; i += 2) {
                int high = nibble(cursor.p[i]), low = nibble(cursor.p[i + 1]);

                r = high < 0 || low < 0 ? AIP_EINVAL
                                        : aip_buf_append_char(out, (char)(high << 4 | low));
        }
        return r < 0 ? aip_error_set(err, AIP_EINVAL, "cursor: not one of ours") : 0;
}

int paging_print_id(const struct aip_id *id, struct aip_buf *out)
{
        return print_hex(aip_str_make((const char *)id->bytes, sizeof(id->bytes)), out);
}

int paging_parse_id(struct aip_str cursor, struct aip_id *ret_id, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf bytes = AIP_BUF_INIT(sizeof(ret_id->bytes));
        int r = parse_hex(cursor, &bytes, err);

        if (r < 0)
                return r;
        if (bytes.n != sizeof(ret_id->bytes))
                return aip_error_set(err, AIP_EINVAL, "cursor: not one of ours");
        memcpy(ret_id->bytes, bytes.p, sizeof(ret_id->bytes));
        return 0;
}

int paging_print_name(struct aip_str name, struct aip_buf *out)
{
        return print_hex(name, out);
}

int paging_parse_name(struct aip_str cursor, struct aip_buf *ret_name, aip_error **err)
{
        return parse_hex(cursor, ret_name, err);
}
