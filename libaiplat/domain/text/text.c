/* Text rules shared by the entities (see text.h). Pure functions; nothing here keeps state. */
#include "text/text.h"
#include "macros.h"
#include "utf8.h"
#include <stdio.h>

#define QUOTED_MAX_BYTES 80 /* of the quoted text itself: four times that when all is escaped */

AIP_STATIC_ASSERT(AIP_TEXT_QUOTED_BYTES > 4 * QUOTED_MAX_BYTES + sizeof("\"…\""),
                  "the worst case of a quoted text fits");

uint32_t aip_text_next(struct aip_str text, size_t *position)
{
        static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
        const unsigned char *p = (const unsigned char *)text.p + *position;
        size_t bytes = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
        assert(*position + bytes <= text.n);
        uint32_t character = p[0] & lead_bits[bytes];
        for (size_t i = 1; i < bytes; i++)
                character = character << 6 | (p[i] & 0x3f);
        *position += bytes;
        return character;
}

int aip_text_is_white_space(uint32_t c)
{
        return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
               (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
               c == 0x205f || c == 0x3000;
}

int aip_text_is_control(uint32_t c)
{
        return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

static size_t leading_white_space(struct aip_str text)
{
        for (size_t position = 0, here = 0; position < text.n; here = position) {
                if (!aip_text_is_white_space(aip_text_next(text, &position)))
                        return here;
        }
        return text.n;
}

int aip_text_is_blank(struct aip_str text)
{
        return leading_white_space(text) == text.n;
}

static size_t last_character(struct aip_str text)
{
        size_t i = text.n - 1;
        while ((text.p[i] & 0xc0) == 0x80)
                i--;
        return i;
}

struct aip_str aip_text_trim(struct aip_str text)
{
        size_t leading = leading_white_space(text);
        if (leading == text.n)
                return aip_str_make(text.p, 0);
        text = aip_str_make(text.p + leading, text.n - leading);
        for (;;) {
                size_t last = last_character(text), position = last;
                if (!aip_text_is_white_space(aip_text_next(text, &position)))
                        return text;
                text.n = last;
        }
}

int aip_text_check(const char *what, struct aip_str text, size_t max_bytes, aip_error **err)
{
        if (text.n == 0)
                return 0;
        if (!text.p)
                return aip_error_set(err, AIP_EINVAL, "%s: no text at all, but a length", what);
        if (text.n > max_bytes)
                return aip_error_set(err, AIP_EINVAL,
                                     "%s: is %zu bytes long; at most %zu are allowed", what, text.n,
                                     max_bytes);
        if (memchr(text.p, '\0', text.n))
                return aip_error_set(err, AIP_EINVAL, "%s: must not contain the NUL character",
                                     what);
        if (aip_str_utf8_length(text) < 0)
                return aip_error_set(err, AIP_EINVAL, "%s: is not valid UTF-8", what);
        return 0;
}

/* The next character's bytes; 0 when they are malformed or not fit to be shown. */
static size_t showable_bytes(struct aip_str text, size_t at)
{
        size_t bytes = aip_utf8_sequence_bytes(text.p + at, text.n - at);
        size_t position = at;
        return bytes && !aip_text_is_control(aip_text_next(text, &position)) ? bytes : 0;
}

char *aip_text_quote(struct aip_str text, char ret_quoted[AIP_TEXT_QUOTED_BYTES])
{
        char *to = ret_quoted;
        size_t at = 0;
        *to++ = '"';
        while (at < text.n) {
                size_t bytes = showable_bytes(text, at);
                if (at + AIP_MAX(bytes, 1u) > QUOTED_MAX_BYTES)
                        break;
                if (bytes)
                        to = mempcpy(to, text.p + at, bytes);
                else
                        to += sprintf(to, "\\x%02x", (unsigned char)text.p[at]);
                at += AIP_MAX(bytes, 1u);
        }
        strcpy(to, at < text.n ? "…\"" : "\"");
        return ret_quoted;
}

/* The next character's bytes as they may be stored: malformed ones and NUL become U+FFFD. */
static struct aip_str clean_character(struct aip_str text, size_t *at)
{
        size_t bytes = text.p[*at] ? aip_utf8_sequence_bytes(text.p + *at, text.n - *at) : 0;
        struct aip_str clean = bytes ? aip_str_make(text.p + *at, bytes) : AIP_STR("\xef\xbf\xbd");
        *at += AIP_MAX(bytes, 1u);
        return clean;
}

/* How many bytes it would take. */
static size_t clean_bytes(struct aip_str text)
{
        size_t bytes = 0;
        for (size_t at = 0; at < text.n;)
                bytes += clean_character(text, &at).n;
        return bytes;
}

int aip_text_append_clean(struct aip_buf *out, struct aip_str text, size_t max_bytes)
{
        const struct aip_str ellipsis = AIP_STR("…");
        size_t room = max_bytes;
        size_t bytes = clean_bytes(text);
        int is_cut = bytes > max_bytes;
        if (is_cut)
                room -= ellipsis.n;
        int r = aip_buf_reserve(out, AIP_MIN(bytes, max_bytes));
        for (size_t at = 0; r == 0 && at < text.n;) {
                struct aip_str piece = clean_character(text, &at);
                if (piece.n > room)
                        break;
                room -= piece.n;
                r = aip_buf_append(out, piece);
        }
        return r == 0 && is_cut ? aip_buf_append(out, ellipsis) : r;
}

size_t aip_text_packed_bytes(struct aip_str text)
{
        return text.p ? text.n + 1 : 0;
}

char *aip_text_pack(struct aip_str *text, char *at)
{
        if (!text->p)
                return at;
        memcpy(at, text->p, text->n);
        at[text->n] = '\0';
        text->p = at;
        return at + text->n + 1;
}

void aip_fields_merge(void *to, size_t to_bytes, const void *from)
{
        size_t from_bytes;
        memcpy(&from_bytes, from, sizeof(from_bytes));
        memcpy(to, from, AIP_MIN(from_bytes, to_bytes));
        memcpy(to, &to_bytes, sizeof(to_bytes));
}
