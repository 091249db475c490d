/* JSON: whatever is accepted is printed as JSON that reads back as an equal value, and printed
 * again the same. Refusals carry a message. */
#include "fuzz.h"
#include <aiplat/value.h>
#include <string.h>

static aip_value *parse_own(struct aip_str text)
{
        aip_value *value = NULL;
        MUST(aip_value_parse(text, &value, NULL) == 0);
        return value;
}

static void check_round_trip(const aip_value *value)
{
        struct aip_buf once = AIP_BUF_INIT(64 << 20), twice = AIP_BUF_INIT(64 << 20);
        MUST(aip_value_print(value, &once, NULL) == 0);
        aip_value *again = parse_own(aip_buf_str(&once));
        MUST(aip_value_equal(value, again));
        MUST(aip_value_print(again, &twice, NULL) == 0);
        MUST(aip_str_eq(aip_buf_str(&once), aip_buf_str(&twice)));
        aip_value_unref(again);
        aip_buf_deinit(&once);
        aip_buf_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        aip_value *value = NULL;
        aip_error *err = NULL;
        struct aip_str text = aip_str_make((const char *)data, size);
        int r = aip_value_parse(text, &value, &err);
        if (r == 0) {
                MUST(aip_str_utf8_length(text) >= 0);
                MUST(!memchr(data, 0, size));
                check_round_trip(value);
        } else {
                MUST(r == AIP_EINVAL && aip_error_code(err) == r && !value);
                MUST(strncmp(aip_error_message(err), "invalid JSON at line ", 21) == 0);
        }
        aip_value_unref(value);
        aip_error_free(err);
        return 0;
}
