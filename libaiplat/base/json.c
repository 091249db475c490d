/*
 * JSON text to values and back (aiplat/value.h). The only file that knows cJSON.
 *
 * cJSON reads more than JSON (unescaped control characters, several number forms, duplicate names)
 * and says little about where it stopped. So the text is first checked here against RFC 8259 and
 * our limits, with the place of the first mistake; what cJSON then sees is known to be right, and a
 * failure of cJSON can only be a lack of memory. cJSON's own global error record is written with
 * the same constants by every thread and never read.
 */
#include "macros.h"
#include "mem.h"
#include "utf8.h"
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

#define DEPTH_MAX         64
#define NUMBER_BYTES_MAX  63 /* cJSON copies a number into 64 bytes and would cut a longer one */
#define EXACT_INTEGER_MAX 0x1p53
#define DOUBLE_TEXT_BYTES 32
#define NOWHERE           SIZE_MAX

/* ---- checking ---- */

struct checker {
        const char *p;
        size_t n;
        size_t i;            /* where we are */
        int depth;           /* of containers open around us */
        const char *mistake; /* static; NULL while all is well */
        size_t mistake_at;
        /* Names and values are numbered in the order in which they stand in the text, so that the
         * converter, which sees no places, can ask for the place of one. */
        size_t n_tokens;
        size_t wanted_token; /* or NOWHERE */
        size_t wanted_at;
};

static int fail_at(struct checker *c, size_t at, const char *mistake)
{
        c->mistake = mistake;
        c->mistake_at = at;
        return -1;
}

static int fail(struct checker *c, const char *mistake)
{
        return fail_at(c, c->i, mistake);
}

/* The byte we are at; 0 at the end (a NUL in the text is refused wherever it stands). */
static char peek(const struct checker *c)
{
        return c->i < c->n ? c->p[c->i] : '\0';
}

static int at_end(const struct checker *c)
{
        return c->i >= c->n;
}

static int is_space(char c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct checker *c)
{
        while (!at_end(c) && is_space(c->p[c->i]))
                c->i++;
}

static void count_token(struct checker *c)
{
        if (c->n_tokens++ == c->wanted_token)
                c->wanted_at = c->i;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at `at`; -1 when they are not there. */
static int hex4(const struct checker *c, size_t at)
{
        int unit = 0;
        for (size_t k = at; k < at + 4; k++) {
                int digit = k < c->n ? hex_digit(c->p[k]) : -1;
                if (digit < 0)
                        return -1;
                unit = unit << 4 | digit;
        }
        return unit;
}

/* At the `u` of an escape. */
static int check_unicode_escape(struct checker *c)
{
        int unit = hex4(c, c->i + 1);
        if (unit < 0)
                return fail(c, "\\u without four hexadecimal digits");
        if (unit == 0)
                return fail(c, "\\u0000 is not allowed");
        if (unit >= 0xdc00 && unit <= 0xdfff)
                return fail(c, "second half of a surrogate pair without the first");
        c->i += 5;
        if (unit < 0xd800 || unit > 0xdbff)
                return 0;
        int second = peek(c) == '\\' && c->i + 1 < c->n && c->p[c->i + 1] == 'u' ? hex4(c, c->i + 2)
                                                                                 : -1;
        if (second < 0xdc00 || second > 0xdfff)
                return fail(c, "first half of a surrogate pair without the second");
        c->i += 6;
        return 0;
}

/* Behind a backslash. */
static int check_escape(struct checker *c)
{
        if (at_end(c))
                return fail(c, "text ends inside a string");
        if (peek(c) == 'u')
                return check_unicode_escape(c);
        if (peek(c) == '\0' || !strchr("\"\\/bfnrt", peek(c)))
                return fail(c, "unknown escape in a string");
        c->i++;
        return 0;
}

static int check_character(struct checker *c)
{
        unsigned char byte = (unsigned char)c->p[c->i];
        if (byte == 0)
                return fail(c, "NUL is not allowed");
        if (byte < 0x20)
                return fail(c, "control character in a string; it must be escaped");
        size_t bytes = aip_utf8_sequence_bytes(c->p + c->i, c->n - c->i);
        if (bytes == 0)
                return fail(c, "invalid UTF-8");
        c->i += bytes;
        return 0;
}

static int check_string(struct checker *c)
{
        c->i++;
        while (peek(c) != '"') {
                if (at_end(c))
                        return fail(c, "text ends inside a string");
                int is_escape = peek(c) == '\\';
                c->i += (size_t)is_escape;
                if ((is_escape ? check_escape(c) : check_character(c)) < 0)
                        return -1;
        }
        c->i++;
        return 0;
}

/* One digit or more. */
static int check_digits(struct checker *c)
{
        size_t first = c->i;
        while (peek(c) >= '0' && peek(c) <= '9')
                c->i++;
        return c->i > first ? 0 : fail(c, "a digit is missing in a number");
}

static int check_exponent(struct checker *c)
{
        if (peek(c) != 'e' && peek(c) != 'E')
                return 0;
        c->i++;
        if (peek(c) == '+' || peek(c) == '-')
                c->i++;
        return check_digits(c);
}

static int check_number(struct checker *c)
{
        size_t first = c->i;
        if (peek(c) == '-')
                c->i++;
        int leads_with_zero = peek(c) == '0';
        size_t digits = c->i;
        if (check_digits(c) < 0)
                return -1;
        if (leads_with_zero && c->i > digits + 1)
                return fail_at(c, digits, "a number must not begin with 0");
        if (peek(c) == '.') {
                c->i++;
                if (check_digits(c) < 0)
                        return -1;
        }
        if (check_exponent(c) < 0)
                return -1;
        if (c->i - first > NUMBER_BYTES_MAX)
                return fail_at(c, first, "a number of more than 63 characters");
        return 0;
}

static int check_word(struct checker *c)
{
        static const char *const words[] = {"null", "true", "false"};
        for (size_t k = 0; k < AIP_ARRAY_SIZE(words); k++) {
                size_t bytes = strlen(words[k]);
                if (c->n - c->i >= bytes && memcmp(c->p + c->i, words[k], bytes) == 0) {
                        c->i += bytes;
                        return 0;
                }
        }
        return fail(c, at_end(c) ? "text ends where a value is expected" : "a value is expected");
}

static int check_value(struct checker *c);

static int check_name(struct checker *c)
{
        skip_space(c);
        if (peek(c) != '"')
                return fail(c, "a member name in quotes is expected");
        count_token(c);
        if (check_string(c) < 0)
                return -1;
        skip_space(c);
        if (peek(c) != ':')
                return fail(c, "':' is expected");
        c->i++;
        return 0;
}

/* From the opening bracket to behind the closing one. */
static int check_container(struct checker *c, char close)
{
        if (c->depth == DEPTH_MAX)
                return fail(c, "nested more than 64 deep");
        c->depth++;
        c->i++;
        skip_space(c);
        int is_first = 1;
        while (peek(c) != close || !is_first) {
                if (close == '}' && check_name(c) < 0)
                        return -1;
                if (check_value(c) < 0)
                        return -1;
                if (peek(c) == close)
                        break;
                if (peek(c) != ',')
                        return fail(c, close == '}' ? "',' or '}' is expected"
                                                    : "',' or ']' is expected");
                c->i++;
                is_first = 0;
        }
        c->i++;
        c->depth--;
        return 0;
}

static int check_bare_value(struct checker *c)
{
        char first = peek(c);
        if (first == '{' || first == '[')
                return check_container(c, first == '{' ? '}' : ']');
        if (first == '"')
                return check_string(c);
        if (first == '-' || (first >= '0' && first <= '9'))
                return check_number(c);
        return check_word(c);
}

/* A value with the space around it. */
static int check_value(struct checker *c)
{
        skip_space(c);
        count_token(c);
        if (check_bare_value(c) < 0)
                return -1;
        skip_space(c);
        return 0;
}

static int check_text(struct checker *c)
{
        if (check_value(c) < 0)
                return -1;
        return at_end(c) ? 0 : fail(c, "more text behind the value");
}

static struct checker checker_of(struct aip_str json, size_t wanted_token)
{
        return (struct checker){
                .p = json.p,
                .n = json.n,
                .wanted_token = wanted_token,
                .wanted_at = NOWHERE,
        };
}

static int refuse(struct aip_str json, size_t at, aip_error **err, const char *mistake)
{
        size_t line = 1, line_start = 0;
        for (size_t i = 0; i < at && i < json.n; i++) {
                if (json.p[i] == '\n') {
                        line++;
                        line_start = i + 1;
                }
        }
        return aip_error_set(err, AIP_EINVAL, "invalid JSON at line %zu, column %zu (byte %zu): %s",
                             line, at - line_start + 1, at, mistake);
}

/* ---- converting what cJSON read ---- */

struct converter {
        struct aip_str json;
        size_t n_tokens; /* counted as the checker counts */
        aip_error **err;
};

static int refuse_token(struct converter *c, size_t token, const char *mistake)
{
        struct checker again = checker_of(c->json, token);
        check_text(&again);
        return refuse(c->json, again.wanted_at, c->err, mistake);
}

static int convert(struct converter *c, const cJSON *item, aip_value **ret_value);

static int give(struct converter *c, aip_value *value, aip_value **ret_value)
{
        if (!value)
                return aip_error_set_nomem(c->err);
        *ret_value = value;
        return 0;
}

static int convert_number(struct converter *c, double d, aip_value **ret_value)
{
        if (!isfinite(d))
                return refuse_token(c, c->n_tokens - 1, "a number beyond the range of a double");
        int is_integer = fabs(d) <= EXACT_INTEGER_MAX && d == trunc(d) && !(d == 0 && signbit(d));
        return give(c, is_integer ? aip_value_int((int64_t)d) : aip_value_double(d), ret_value);
}

static int convert_list(struct converter *c, const cJSON *item, aip_value **ret_value)
{
        _cleanup_(aip_value_unref_p) aip_value *list = aip_value_list();
        if (!list)
                return aip_error_set_nomem(c->err);
        for (const cJSON *child = item->child; child; child = child->next) {
                aip_value *value = NULL;
                int r = convert(c, child, &value);
                if (r < 0)
                        return r;
                if (aip_value_list_append(&list, value) < 0)
                        return aip_error_set_nomem(c->err);
        }
        return give(c, AIP_TAKE(list), ret_value);
}

static int convert_member(struct converter *c, const cJSON *child, aip_value **object)
{
        struct aip_str name = aip_str_of(child->string);
        if (aip_value_get(*object, name))
                return refuse_token(c, c->n_tokens, "the member name occurs twice in one object");
        c->n_tokens++;
        aip_value *value = NULL;
        int r = convert(c, child, &value);
        if (r < 0)
                return r;
        return aip_value_object_set(object, name, value) < 0 ? aip_error_set_nomem(c->err) : 0;
}

static int convert_object(struct converter *c, const cJSON *item, aip_value **ret_value)
{
        _cleanup_(aip_value_unref_p) aip_value *object = aip_value_object();
        if (!object)
                return aip_error_set_nomem(c->err);
        for (const cJSON *child = item->child; child; child = child->next) {
                int r = convert_member(c, child, &object);
                if (r < 0)
                        return r;
        }
        return give(c, AIP_TAKE(object), ret_value);
}

/* Recursion is bounded by the depth that was checked. */
static int convert(struct converter *c, const cJSON *item, aip_value **ret_value)
{
        c->n_tokens++;
        if (cJSON_IsObject(item))
                return convert_object(c, item, ret_value);
        if (cJSON_IsArray(item))
                return convert_list(c, item, ret_value);
        if (cJSON_IsString(item))
                return give(c, aip_value_string(aip_str_of(item->valuestring)), ret_value);
        if (cJSON_IsNumber(item))
                return convert_number(c, item->valuedouble, ret_value);
        return give(c, cJSON_IsNull(item) ? aip_value_null() : aip_value_bool(cJSON_IsTrue(item)),
                    ret_value);
}

int aip_value_parse(struct aip_str json, aip_value **ret_value, aip_error **err)
{
        struct checker checker = checker_of(json, NOWHERE);
        if (check_text(&checker) < 0)
                return refuse(json, checker.mistake_at, err, checker.mistake);
        cJSON *root = cJSON_ParseWithLength(json.p, json.n);
        if (!root)
                return aip_error_set_nomem(err);
        struct converter converter = {.json = json, .err = err};
        int r = convert(&converter, root, ret_value);
        cJSON_Delete(root);
        return r;
}

/* ---- printing ---- */

static int append_escape(struct aip_buf *out, unsigned char byte)
{
        switch (byte) {
        case '"':
                return aip_buf_append_cstr(out, "\\\"");
        case '\\':
                return aip_buf_append_cstr(out, "\\\\");
        case '\b':
                return aip_buf_append_cstr(out, "\\b");
        case '\f':
                return aip_buf_append_cstr(out, "\\f");
        case '\n':
                return aip_buf_append_cstr(out, "\\n");
        case '\r':
                return aip_buf_append_cstr(out, "\\r");
        case '\t':
                return aip_buf_append_cstr(out, "\\t");
        default:
                return aip_buf_printf(out, "\\u%04x", byte);
        }
}

static int needs_escape(unsigned char byte)
{
        return byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7f;
}

static int append_string_body(struct aip_buf *out, struct aip_str s)
{
        for (size_t i = 0; i < s.n;) {
                size_t first = i;
                while (i < s.n && !needs_escape((unsigned char)s.p[i]))
                        i++;
                int r = aip_buf_append(out, aip_str_make(s.p + first, i - first));
                if (r == 0 && i < s.n)
                        r = append_escape(out, (unsigned char)s.p[i++]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int aip_json_append_string(struct aip_buf *out, struct aip_str s)
{
        size_t n_before = out->n;
        int r = aip_buf_append_char(out, '"');
        if (r == 0)
                r = append_string_body(out, s);
        if (r == 0)
                r = aip_buf_append_char(out, '"');
        if (r < 0 && out->p) {
                out->n = n_before;
                out->p[n_before] = '\0';
        }
        return r;
}

/* A locale may write another decimal separator, of one byte or several. */
static void use_decimal_point(char *text)
{
        size_t n_number = strspn(text, "+-0123456789eE");
        if (text[n_number] == '\0')
                return;
        size_t n_separator = strcspn(text + n_number, "+-0123456789eE");
        text[n_number] = '.';
        memmove(text + n_number + 1, text + n_number + n_separator,
                strlen(text + n_number + n_separator) + 1);
}

/* The shortest of 15 to 17 digits that reads back as the same double. */
static int append_double(struct aip_buf *out, double d)
{
        if (!isfinite(d))
                return aip_buf_append_cstr(out, "null");
        char text[DOUBLE_TEXT_BYTES];
        for (int digits = 15; digits <= 17; digits++) {
                snprintf(text, sizeof(text), "%.*g", digits, d);
                if (strtod(text, NULL) == d)
                        break;
        }
        use_decimal_point(text);
        int r = aip_buf_append_cstr(out, text);
        return r == 0 && !strpbrk(text, ".e") ? aip_buf_append_cstr(out, ".0") : r;
}

static int append_value(struct aip_buf *out, const aip_value *value, int depth);

static int append_list(struct aip_buf *out, const aip_value *list, int depth)
{
        int r = aip_buf_append_char(out, '[');
        for (size_t i = 0; r == 0 && i < aip_value_size(list); i++) {
                if (i > 0)
                        r = aip_buf_append_char(out, ',');
                if (r == 0)
                        r = append_value(out, aip_value_at(list, i), depth);
        }
        return r < 0 ? r : aip_buf_append_char(out, ']');
}

static int append_object(struct aip_buf *out, const aip_value *object, int depth)
{
        int r = aip_buf_append_char(out, '{');
        for (size_t i = 0; r == 0 && i < aip_value_size(object); i++) {
                struct aip_str name;
                const aip_value *value = aip_value_member(object, i, &name);
                if (i > 0)
                        r = aip_buf_append_char(out, ',');
                if (r == 0)
                        r = aip_json_append_string(out, name);
                if (r == 0)
                        r = aip_buf_append_char(out, ':');
                if (r == 0)
                        r = append_value(out, value, depth);
        }
        return r < 0 ? r : aip_buf_append_char(out, '}');
}

/* `depth`: containers open around the value. What is printed can be read again. */
static int append_value(struct aip_buf *out, const aip_value *value, int depth)
{
        switch (aip_value_type(value)) {
        case AIP_VALUE_NULL:
                return aip_buf_append_cstr(out, "null");
        case AIP_VALUE_BOOL:
                return aip_buf_append_cstr(out, aip_value_as_bool(value, 0) ? "true" : "false");
        case AIP_VALUE_INT:
                return aip_buf_append_int(out, aip_value_as_int(value, 0));
        case AIP_VALUE_DOUBLE:
                return append_double(out, aip_value_as_double(value, 0));
        case AIP_VALUE_STRING:
                return aip_json_append_string(out, aip_value_as_string(value));
        case AIP_VALUE_LIST:
                return depth == DEPTH_MAX ? AIP_EINVAL : append_list(out, value, depth + 1);
        case AIP_VALUE_OBJECT:
                return depth == DEPTH_MAX ? AIP_EINVAL : append_object(out, value, depth + 1);
        }
        return AIP_EINTERNAL;
}

int aip_value_print(const aip_value *value, struct aip_buf *out, aip_error **err)
{
        size_t n_before = out->n;
        int r = append_value(out, value, 0);
        if (r == 0)
                return 0;
        if (out->p) {
                out->n = n_before;
                out->p[n_before] = '\0';
        }
        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        if (r == AIP_EINVAL)
                return aip_error_set(err, AIP_ELIMIT, "nested more than %d deep", DEPTH_MAX);
        return aip_error_set(err, AIP_ELIMIT, "JSON text of more than %zu bytes",
                             out->max_bytes - n_before);
}
