/*
 * Expressions: from text to nodes, by recursive descent, a function a level of precedence. Called
 * once an expression. Nesting and the number of nodes are bounded, so that neither the parser nor the
 * evaluator can run out of stack.
 */
#include "expression/expression_impl.h"
#include "utf8.h"
#include <math.h>
#include <stdio.h>

#define DEPTH_MAX 100

struct parser {
        aip_expression *e;
        const char *p; /* the source, NUL-terminated */
        size_t n, i;
        int depth;
        struct {
                struct aip_str name;
        } scope[AIP_EXPRESSION_MAX_VARIABLES];
        uint32_t n_scope;
        aip_error **err;
};

/* Parsers return a node's index, or a negative code. */
typedef int64_t expr_at;

static expr_at parse_pipe(struct parser *p);
static expr_at parse_alternative(struct parser *p);
static expr_at parse_postfix(struct parser *p);

static expr_at fail_at(struct parser *p, size_t at, const char *what)
{
        uint32_t line, column;
        expr_place(p->e, at, &line, &column);
        return aip_error_set(p->err, AIP_EINVAL, "line %u, column %u: %s", line, column, what);
}

static expr_at fail(struct parser *p, const char *what)
{
        return fail_at(p, p->i, what);
}

static int grow(aip_expression *e)
{
        uint32_t capacity = e->capacity ? 2 * e->capacity : 8;
        struct expr_node *nodes = aip_realloc_array(e->nodes, capacity, sizeof(*nodes));
        if (!nodes)
                return AIP_ENOMEM;
        e->nodes = nodes;
        e->capacity = capacity;
        return 0;
}

static expr_at add(struct parser *p, enum expr_op op, size_t at, uint32_t a, uint32_t b, uint32_t c)
{
        aip_expression *e = p->e;
        if (e->n_nodes >= AIP_EXPRESSION_MAX_NODES)
                return aip_error_set(p->err, AIP_ELIMIT, "an expression has at most %d parts",
                                     AIP_EXPRESSION_MAX_NODES);
        if (e->n_nodes == e->capacity && grow(e) < 0)
                return aip_error_set_nomem(p->err);
        e->nodes[e->n_nodes] =
                (struct expr_node){.op = (uint8_t)op, .a = a, .b = b, .c = c, .at = (uint32_t)at};
        return e->n_nodes++;
}

static struct expr_node *node(struct parser *p, expr_at at)
{
        return &p->e->nodes[at];
}

/* ── words ───────────────────────────────────────────────────────────────────────────────────── */

static int is_space(char c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct parser *p)
{
        for (;;) {
                while (p->i < p->n && is_space(p->p[p->i]))
                        p->i++;
                if (p->p[p->i] != '#')
                        return;
                while (p->i < p->n && p->p[p->i] != '\n')
                        p->i++;
        }
}

static int is_word_start(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* A name at `i`; empty: there is none. */
static struct aip_str peek_word(const struct parser *p)
{
        size_t end = p->i;
        if (is_word_start(p->p[end]))
                while (is_word_start(p->p[end]) || is_digit(p->p[end]))
                        end++;
        return aip_str_make(p->p + p->i, end - p->i);
}

static int take_word(struct parser *p, const char *word)
{
        skip_space(p);
        if (!aip_str_eq(peek_word(p), aip_str_of(word)))
                return 0;
        p->i += strlen(word);
        return 1;
}

/* Punctuation; `not_before`: characters that would make it another sign. */
static int take_sign(struct parser *p, const char *sign, const char *not_before)
{
        size_t n = strlen(sign);
        skip_space(p);
        if (p->n - p->i < n || memcmp(p->p + p->i, sign, n) != 0)
                return 0;
        char next = p->p[p->i + n];
        if (not_before && next && strchr(not_before, next))
                return 0;
        p->i += n;
        return 1;
}

static int expect(struct parser *p, const char *sign)
{
        char what[64];
        if (take_sign(p, sign, NULL))
                return 0;
        snprintf(what, sizeof(what),
                 p->i < p->n ? "'%s' is expected here" : "'%s' is missing at the end", sign);
        return (int)fail(p, what);
}

static int is_keyword(struct aip_str word)
{
        static const char *const keywords[] = {
                "and",     "or",  "if",  "then",  "elif",  "else",   "end",     "as",     "reduce",
                "foreach", "def", "try", "catch", "label", "import", "include", "__loc__"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(keywords); i++)
                if (aip_str_eq(word, aip_str_of(keywords[i])))
                        return 1;
        return 0;
}

/* ── texts ───────────────────────────────────────────────────────────────────────────────────── */

static int hex4(const char *at)
{
        int unit = 0;
        for (int i = 0; i < 4; i++) {
                char c = at[i];
                if (is_digit(c))
                        unit = unit << 4 | (c - '0');
                else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
                        unit = unit << 4 | ((c | 0x20) - 'a' + 10);
                else
                        return -1;
        }
        return unit;
}

static int put_character(struct parser *p, uint32_t c)
{
        char bytes[4];
        size_t n = 1;
        if (c < 0x80) {
                bytes[0] = (char)c;
        } else if (c < 0x800) {
                bytes[0] = (char)(0xc0 | c >> 6);
                n = 2;
        } else if (c < 0x10000) {
                bytes[0] = (char)(0xe0 | c >> 12);
                n = 3;
        } else {
                bytes[0] = (char)(0xf0 | c >> 18);
                n = 4;
        }
        for (size_t k = 1; k < n; k++)
                bytes[k] = (char)(0x80 | ((c >> (6 * (n - 1 - k))) & 0x3f));
        return aip_buf_append(&p->e->texts, aip_str_make(bytes, n)) < 0
                       ? aip_error_set_nomem(p->err)
                       : 0;
}

/* Behind "\u". */
static int parse_unicode(struct parser *p)
{
        int unit = p->n - p->i >= 4 ? hex4(p->p + p->i) : -1, second;
        if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff))
                return (int)fail(p, "this is no character: four hexadecimal digits are wanted");
        p->i += 4;
        if (unit < 0xd800 || unit > 0xdbff)
                return put_character(p, (uint32_t)unit);
        second = p->n - p->i >= 6 && p->p[p->i] == '\\' && p->p[p->i + 1] == 'u'
                         ? hex4(p->p + p->i + 2)
                         : -1;
        if (second < 0xdc00 || second > 0xdfff)
                return (int)fail(p, "half of a surrogate pair");
        p->i += 6;
        return put_character(p, 0x10000 + (((uint32_t)unit & 0x3ff) << 10) +
                                        ((uint32_t)second & 0x3ff));
}

/* Behind a backslash that begins no interpolation. */
static int parse_escape(struct parser *p)
{
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        char c = p->p[p->i];
        const char *found = c ? strchr(from, c) : NULL;
        if (c == 'u') {
                p->i++;
                return parse_unicode(p);
        }
        if (!found)
                return (int)fail(p, "unknown escape in a text");
        p->i++;
        return put_character(p, (uint32_t)(unsigned char)to[found - from]);
}

/* Text up to a quote or an interpolation, into the block of texts. */
static int parse_run(struct parser *p)
{
        while (p->i < p->n && p->p[p->i] != '"') {
                int r = 0;
                if (p->p[p->i] == '\\') {
                        if (p->p[p->i + 1] == '(')
                                return 0;
                        p->i++;
                        r = parse_escape(p);
                } else if (aip_buf_append_char(&p->e->texts, p->p[p->i++]) < 0) {
                        r = aip_error_set_nomem(p->err);
                }
                if (r < 0)
                        return r;
        }
        return p->i < p->n ? 0 : (int)fail(p, "a text is not closed");
}

/* One run of text and the interpolation behind it, if there is one. */
static expr_at parse_part(struct parser *p, size_t at, unsigned format)
{
        uint32_t offset = (uint32_t)p->e->texts.n;
        uint32_t inner = EXPR_NONE;
        int r = parse_run(p);
        if (r < 0)
                return r;
        uint32_t bytes = (uint32_t)p->e->texts.n - offset;
        if (p->p[p->i] == '\\') {
                p->i += 2;
                expr_at value = parse_pipe(p);
                if (value < 0)
                        return value;
                if ((r = expect(p, ")")) < 0)
                        return r;
                inner = (uint32_t)value;
        }
        expr_at part = add(p, EXPR_FORMAT, at, EXPR_NONE, inner, EXPR_NONE);
        if (part < 0)
                return part;
        node(p, part)->function = (uint8_t)format;
        node(p, part)->u.text.offset = offset;
        node(p, part)->u.text.n = bytes;
        return part;
}

/* At the opening quote. */
static expr_at parse_text(struct parser *p, unsigned format)
{
        size_t at = p->i++;
        expr_at first = parse_part(p, at, format), last = first;
        while (last >= 0 && node(p, last)->b != EXPR_NONE) {
                expr_at next = parse_part(p, at, format);
                if (next < 0)
                        return next;
                node(p, last)->a = (uint32_t)next;
                last = next;
        }
        if (last < 0)
                return last;
        p->i++; /* the closing quote: parse_run() saw it */
        if (first == last)
                node(p, first)->op = EXPR_STRING;
        return first;
}

static expr_at parse_number(struct parser *p)
{
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        size_t at = p->i, end = at;
        while (is_digit(p->p[end]))
                end++;
        if (p->p[end] == '.' && is_digit(p->p[end + 1]))
                for (end++; is_digit(p->p[end]);)
                        end++;
        if (p->p[end] == 'e' || p->p[end] == 'E') {
                size_t k = end + 1;
                k += p->p[k] == '+' || p->p[k] == '-';
                if (is_digit(p->p[k]))
                        for (end = k; is_digit(p->p[end]);)
                                end++;
        }
        int r = aip_value_parse(aip_str_make(p->p + at, end - at), &value, NULL);
        if (r < 0)
                return r == AIP_ENOMEM ? aip_error_set_nomem(p->err)
                                       : fail(p, "this is no number that JSON knows");
        p->i = end;
        int is_int = aip_value_type(value) == AIP_VALUE_INT;
        expr_at number =
                add(p, is_int ? EXPR_INT : EXPR_DOUBLE, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
        if (number >= 0 && is_int)
                node(p, number)->u.integer = aip_value_as_int(value, 0);
        else if (number >= 0)
                node(p, number)->u.real = aip_value_as_double(value, 0);
        return number;
}

/* ── variables ───────────────────────────────────────────────────────────────────────────────── */

static expr_at parse_variable(struct parser *p)
{
        size_t at = p->i++;
        struct aip_str name = peek_word(p);
        char quoted[AIP_TEXT_QUOTED_BYTES], what[AIP_TEXT_QUOTED_BYTES + 64];
        for (uint32_t i = p->n_scope; name.n > 0 && i-- > 0;) {
                if (!aip_str_eq(p->scope[i].name, name))
                        continue;
                p->i += name.n;
                expr_at variable = add(p, EXPR_VARIABLE, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
                if (variable >= 0)
                        node(p, variable)->slot = (uint16_t)i;
                return variable;
        }
        snprintf(what, sizeof(what), "there is no variable $%s",
                 name.n ? aip_text_quote(name, quoted) : "");
        return fail_at(p, at, what);
}

/* "$name" behind `as`; returns its slot. */
static int declare(struct parser *p)
{
        skip_space(p);
        if (p->p[p->i] != '$')
                return (int)fail(p, "a variable ($name) is expected here");
        p->i++;
        struct aip_str name = peek_word(p);
        if (name.n == 0)
                return (int)fail(p, "a variable needs a name");
        if (p->n_scope == AIP_EXPRESSION_MAX_VARIABLES)
                return aip_error_set(p->err, AIP_ELIMIT, "at most %d variables at once",
                                     AIP_EXPRESSION_MAX_VARIABLES);
        p->i += name.n;
        p->scope[p->n_scope].name = name;
        p->n_scope++;
        p->e->n_slots = AIP_MAX(p->e->n_slots, p->n_scope);
        return (int)p->n_scope - 1;
}

/* ── terms ───────────────────────────────────────────────────────────────────────────────────── */

static expr_at parse_if(struct parser *p, size_t at)
{
        expr_at condition = parse_pipe(p), then, otherwise = EXPR_NONE;
        if (condition < 0)
                return condition;
        if (!take_word(p, "then"))
                return fail(p, "'then' is expected here");
        if ((then = parse_pipe(p)) < 0)
                return then;
        skip_space(p);
        size_t elif_at = p->i;
        if (take_word(p, "elif")) {
                if ((otherwise = parse_if(p, elif_at)) < 0)
                        return otherwise;
        } else {
                if (take_word(p, "else") && (otherwise = parse_pipe(p)) < 0)
                        return otherwise;
                if (!take_word(p, "end"))
                        return fail(p, "'end' is expected here");
        }
        return add(p, EXPR_IF, at, (uint32_t)condition, (uint32_t)then, (uint32_t)otherwise);
}

static expr_at parse_reduce(struct parser *p, size_t at)
{
        expr_at source = parse_postfix(p), begin, update;
        int slot, r;
        if (source < 0)
                return source;
        if (!take_word(p, "as"))
                return fail(p, "'as' is expected here");
        if ((slot = declare(p)) < 0)
                return slot;
        /* The first value does not see the variable; jq's does not either. */
        if ((r = expect(p, "(")) < 0)
                return r;
        if ((begin = parse_pipe(p)) < 0)
                return begin;
        if ((r = expect(p, ";")) < 0)
                return r;
        if ((update = parse_pipe(p)) < 0)
                return update;
        if ((r = expect(p, ")")) < 0)
                return r;
        p->n_scope--;
        expr_at reduce =
                add(p, EXPR_REDUCE, at, (uint32_t)source, (uint32_t)begin, (uint32_t)update);
        if (reduce >= 0)
                node(p, reduce)->slot = (uint16_t)slot;
        return reduce;
}

/* The key of a member, and whether it may stand without a value. */
static expr_at parse_key(struct parser *p, int *ret_may_stand_alone)
{
        skip_space(p);
        size_t at = p->i;
        struct aip_str word = peek_word(p);
        *ret_may_stand_alone = 1;
        if (p->p[at] == '"')
                return parse_text(p, 0);
        if (p->p[at] == '(') {
                p->i++;
                *ret_may_stand_alone = 0;
                expr_at key = parse_pipe(p);
                int r = key < 0 ? 0 : expect(p, ")");
                return r < 0 ? r : key;
        }
        if (p->p[at] == '$') {
                p->i++;
                word = peek_word(p);
        }
        if (word.n == 0)
                return fail(p, "a name of a member, or '}', is expected here");
        p->i += word.n;
        expr_at key = add(p, EXPR_STRING, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
        if (key < 0)
                return key;
        node(p, key)->u.text.offset = (uint32_t)p->e->texts.n;
        node(p, key)->u.text.n = (uint32_t)word.n;
        return aip_buf_append(&p->e->texts, word) < 0 ? aip_error_set_nomem(p->err) : key;
}

/* {a} is {a: .a}, {$x} is {x: $x}. */
static expr_at parse_implied_value(struct parser *p, size_t at, expr_at key)
{
        if (p->p[at] == '$') {
                size_t behind = p->i;
                p->i = at;
                expr_at value = parse_variable(p);
                p->i = behind;
                return value;
        }
        expr_at self = add(p, EXPR_IDENTITY, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
        return self < 0 ? self : add(p, EXPR_INDEX, at, (uint32_t)self, (uint32_t)key, EXPR_NONE);
}

/* What a member's value may be: anything but a comma. */
static expr_at parse_member_value(struct parser *p)
{
        expr_at left = parse_alternative(p);
        skip_space(p);
        size_t at = p->i;
        if (left < 0 || !take_sign(p, "|", "="))
                return left;
        if (++p->depth > DEPTH_MAX)
                return fail(p, "nested too deeply");
        expr_at right = parse_member_value(p);
        p->depth--;
        return right < 0 ? right
                         : add(p, EXPR_PIPE, at, (uint32_t)left, (uint32_t)right, EXPR_NONE);
}

static expr_at parse_member(struct parser *p)
{
        int may_stand_alone, r;
        skip_space(p);
        size_t at = p->i;
        expr_at key = parse_key(p, &may_stand_alone), value;
        if (key < 0)
                return key;
        if (may_stand_alone && !take_sign(p, ":", NULL))
                value = parse_implied_value(p, at, key);
        else if (!may_stand_alone && (r = expect(p, ":")) < 0)
                value = r;
        else
                value = parse_member_value(p);
        return value < 0 ? value
                         : add(p, EXPR_MEMBER, at, (uint32_t)key, (uint32_t)value, EXPR_NONE);
}

static expr_at parse_object(struct parser *p, size_t at)
{
        expr_at first = EXPR_NONE, last = EXPR_NONE;
        int r;
        if (!take_sign(p, "}", NULL)) {
                do {
                        expr_at member = parse_member(p);
                        if (member < 0)
                                return member;
                        if (first == EXPR_NONE)
                                first = member;
                        else
                                node(p, last)->c = (uint32_t)member;
                        last = member;
                } while (take_sign(p, ",", NULL));
                if ((r = expect(p, "}")) < 0)
                        return r;
        }
        return add(p, EXPR_OBJECT, at, (uint32_t)first, EXPR_NONE, EXPR_NONE);
}

static expr_at parse_list(struct parser *p, size_t at)
{
        expr_at inner = EXPR_NONE;
        int r;
        if (!take_sign(p, "]", NULL)) {
                if ((inner = parse_pipe(p)) < 0)
                        return inner;
                if ((r = expect(p, "]")) < 0)
                        return r;
        }
        return add(p, EXPR_LIST, at, (uint32_t)inner, EXPR_NONE, EXPR_NONE);
}

static expr_at unknown_function(struct parser *p, size_t at, struct aip_str name, unsigned n_args)
{
        char what[128];
        snprintf(what, sizeof(what), "there is no function %.*s/%u",
                 (int)AIP_MIN(name.n, (size_t)64), name.p, n_args);
        return fail_at(p, at, what);
}

static expr_at parse_call(struct parser *p, struct aip_str name)
{
        static const struct {
                const char *name;
                enum expr_op op;
        } constants[] = {{"null", EXPR_NULL}, {"true", EXPR_TRUE}, {"false", EXPR_FALSE}};
        uint32_t args[3] = {EXPR_NONE, EXPR_NONE, EXPR_NONE};
        unsigned n_args = 0;
        size_t at = p->i;
        int r;
        p->i += name.n;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(constants); i++)
                if (aip_str_eq(name, aip_str_of(constants[i].name)))
                        return add(p, constants[i].op, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
        if (take_sign(p, "(", NULL)) {
                do {
                        expr_at arg = n_args < 3 ? parse_pipe(p) : fail(p, "too many arguments");
                        if (arg < 0)
                                return arg;
                        args[n_args++] = (uint32_t)arg;
                } while (take_sign(p, ";", NULL));
                if ((r = expect(p, ")")) < 0)
                        return r;
        }
        int function = expr_function_find(name, n_args);
        if (function < 0)
                return unknown_function(p, at, name, n_args);
        expr_at call = add(p, EXPR_CALL, at, args[0], args[1], args[2]);
        if (call >= 0)
                node(p, call)->function = (uint8_t)function;
        return call;
}

static expr_at parse_word(struct parser *p)
{
        struct aip_str word = peek_word(p);
        size_t at = p->i;
        if (take_word(p, "if"))
                return parse_if(p, at);
        if (take_word(p, "reduce"))
                return parse_reduce(p, at);
        if (take_word(p, "try")) {
                expr_at inner = parse_postfix(p);
                return inner < 0 ? inner
                                 : add(p, EXPR_TRY, at, (uint32_t)inner, EXPR_NONE, EXPR_NONE);
        }
        if (is_keyword(word))
                return fail(p, "this word is not expected here");
        return parse_call(p, word);
}

/* "@uri", "@uri \"…\(…)…\"". */
static expr_at parse_format(struct parser *p)
{
        size_t at = p->i++;
        struct aip_str name = peek_word(p);
        int format = expr_format_find(name);
        if (format < 0)
                return fail_at(p, at, "no such format: @text, @json, @uri and @base64 are there");
        p->i += name.n;
        skip_space(p);
        if (p->p[p->i] == '"')
                return parse_text(p, (unsigned)format);
        /* Alone, it converts its input. */
        expr_at self = add(p, EXPR_IDENTITY, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
        expr_at end = self < 0 ? self : add(p, EXPR_FORMAT, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
        expr_at part =
                end < 0 ? end : add(p, EXPR_FORMAT, at, (uint32_t)end, (uint32_t)self, EXPR_NONE);
        if (part >= 0)
                node(p, part)->function = node(p, end)->function = (uint8_t)format;
        return part;
}

static expr_at parse_term(struct parser *p)
{
        skip_space(p);
        size_t at = p->i;
        char c = p->p[at];
        int r;
        if (c == '"')
                return parse_text(p, 0);
        if (c == '@')
                return parse_format(p);
        if (c == '$')
                return parse_variable(p);
        if (is_digit(c))
                return parse_number(p);
        if (c == '.')
                return add(p, EXPR_IDENTITY, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
        if (is_word_start(c))
                return parse_word(p);
        p->i++;
        if (c == '[')
                return parse_list(p, at);
        if (c == '{')
                return parse_object(p, at);
        if (c == '(') {
                expr_at inner = parse_pipe(p);
                r = inner < 0 ? 0 : expect(p, ")");
                return r < 0 ? r : inner;
        }
        p->i = at;
        return fail(p, at < p->n ? "a value is expected here" : "a value is missing at the end");
}

/* ── what may follow a term ──────────────────────────────────────────────────────────────────── */

/* Behind "[": [], [i], [a:b]. */
static expr_at parse_bracket(struct parser *p, expr_at term, size_t at)
{
        expr_at from = EXPR_NONE, to = EXPR_NONE;
        int r;
        if (take_sign(p, "]", NULL))
                return add(p, EXPR_ITERATE, at, (uint32_t)term, EXPR_NONE, EXPR_NONE);
        if (!take_sign(p, ":", NULL)) {
                if ((from = parse_pipe(p)) < 0)
                        return from;
                if (take_sign(p, "]", NULL))
                        return add(p, EXPR_INDEX, at, (uint32_t)term, (uint32_t)from, EXPR_NONE);
                if ((r = expect(p, ":")) < 0)
                        return r;
        }
        skip_space(p);
        if (p->p[p->i] != ']' && (to = parse_pipe(p)) < 0)
                return to;
        if (from == EXPR_NONE && to == EXPR_NONE)
                return fail(p, "a slice has a beginning or an end");
        if ((r = expect(p, "]")) < 0)
                return r;
        return add(p, EXPR_SLICE, at, (uint32_t)term, (uint32_t)from, (uint32_t)to);
}

/* Behind ".": a name, a text, or a bracket. */
static expr_at parse_field(struct parser *p, expr_at term, size_t at)
{
        struct aip_str word = peek_word(p);
        expr_at key;
        if (p->p[p->i] == '[') {
                p->i++;
                return parse_bracket(p, term, at);
        }
        if (p->p[p->i] == '"') {
                key = parse_text(p, 0);
        } else {
                if (word.n == 0)
                        return fail(p, "a name is expected behind the dot");
                p->i += word.n;
                key = add(p, EXPR_STRING, at, EXPR_NONE, EXPR_NONE, EXPR_NONE);
                if (key < 0)
                        return key;
                node(p, key)->u.text.offset = (uint32_t)p->e->texts.n;
                node(p, key)->u.text.n = (uint32_t)word.n;
                if (aip_buf_append(&p->e->texts, word) < 0)
                        return aip_error_set_nomem(p->err);
        }
        return key < 0 ? key : add(p, EXPR_INDEX, at, (uint32_t)term, (uint32_t)key, EXPR_NONE);
}

/* A first "." is the term itself: what follows it directly needs no second one. */
static int is_field_of_dot(const struct parser *p)
{
        char c = p->p[p->i];
        return is_word_start(c) || c == '"' || c == '[';
}

static expr_at parse_suffixes(struct parser *p)
{
        skip_space(p);
        int is_dot = p->p[p->i] == '.';
        expr_at term = parse_term(p);
        int is_access = 0; /* what stands last is a name or a bracket: "?" is for it alone */
        if (term >= 0 && is_dot) {
                size_t at = p->i++;
                is_access = is_field_of_dot(p);
                if (is_access)
                        term = parse_field(p, term, at);
        }
        while (term >= 0) {
                skip_space(p);
                size_t at = p->i;
                if (p->p[at] == '?') {
                        p->i++;
                        if (is_access) {
                                node(p, term)->slot = EXPR_OPTIONAL;
                                continue;
                        }
                        term = add(p, EXPR_TRY, at, (uint32_t)term, EXPR_NONE, EXPR_NONE);
                } else if (p->p[at] == '[') {
                        p->i++;
                        is_access = 1;
                        term = parse_bracket(p, term, at);
                } else if (p->p[at] == '.') {
                        p->i++;
                        is_access = 1;
                        term = parse_field(p, term, at);
                } else {
                        break;
                }
        }
        return term;
}

static expr_at parse_postfix(struct parser *p)
{
        if (++p->depth > DEPTH_MAX)
                return fail(p, "nested too deeply");
        expr_at term = parse_suffixes(p);
        p->depth--;
        return term;
}

/* ── operators, by precedence ────────────────────────────────────────────────────────────────── */

static expr_at parse_bound(struct parser *p, expr_at source, size_t at)
{
        int slot = declare(p);
        if (slot < 0)
                return slot;
        int r = expect(p, "|");
        if (r < 0)
                return r;
        expr_at body = parse_pipe(p);
        if (body < 0)
                return body;
        p->n_scope--;
        expr_at bind = add(p, EXPR_BIND, at, (uint32_t)source, (uint32_t)body, EXPR_NONE);
        if (bind >= 0)
                node(p, bind)->slot = (uint16_t)slot;
        return bind;
}

static expr_at parse_unary(struct parser *p)
{
        skip_space(p);
        size_t at = p->i;
        if (take_sign(p, "-", "=")) {
                if (++p->depth > DEPTH_MAX)
                        return fail(p, "nested too deeply");
                expr_at inner = parse_unary(p);
                p->depth--;
                return inner < 0 ? inner
                                 : add(p, EXPR_NEGATE, at, (uint32_t)inner, EXPR_NONE, EXPR_NONE);
        }
        expr_at term = parse_postfix(p);
        return term >= 0 && take_word(p, "as") ? parse_bound(p, term, at) : term;
}

static expr_at binary(struct parser *p, enum expr_binary what, size_t at, expr_at a, expr_at b)
{
        if (b < 0)
                return b;
        expr_at made = add(p, EXPR_BINARY, at, (uint32_t)a, (uint32_t)b, EXPR_NONE);
        if (made >= 0)
                node(p, made)->function = (uint8_t)what;
        return made;
}

static expr_at parse_product(struct parser *p)
{
        expr_at left = parse_unary(p);
        while (left >= 0) {
                skip_space(p);
                size_t at = p->i;
                if (take_sign(p, "*", "="))
                        left = binary(p, EXPR_MULTIPLY, at, left, parse_unary(p));
                else if (take_sign(p, "/", "=/"))
                        left = binary(p, EXPR_DIVIDE, at, left, parse_unary(p));
                else if (take_sign(p, "%", "="))
                        left = binary(p, EXPR_REMAINDER, at, left, parse_unary(p));
                else
                        break;
        }
        return left;
}

static expr_at parse_sum(struct parser *p)
{
        expr_at left = parse_product(p);
        while (left >= 0) {
                skip_space(p);
                size_t at = p->i;
                if (take_sign(p, "+", "="))
                        left = binary(p, EXPR_ADD, at, left, parse_product(p));
                else if (take_sign(p, "-", "="))
                        left = binary(p, EXPR_SUBTRACT, at, left, parse_product(p));
                else
                        break;
        }
        return left;
}

static expr_at parse_comparison(struct parser *p)
{
        static const struct {
                const char *sign;
                enum expr_binary what;
        } signs[] = {{"==", EXPR_EQ}, {"!=", EXPR_NE}, {"<=", EXPR_LE},
                     {">=", EXPR_GE}, {"<", EXPR_LT},  {">", EXPR_GT}};
        expr_at left = parse_sum(p);
        skip_space(p);
        size_t at = p->i;
        for (size_t i = 0; left >= 0 && i < AIP_ARRAY_SIZE(signs); i++)
                if (take_sign(p, signs[i].sign, NULL))
                        return binary(p, signs[i].what, at, left, parse_sum(p));
        return left;
}

static expr_at parse_and(struct parser *p)
{
        expr_at left = parse_comparison(p);
        while (left >= 0 && take_word(p, "and")) {
                size_t at = p->i;
                expr_at right = parse_comparison(p);
                left = right < 0 ? right
                                 : add(p, EXPR_AND, at, (uint32_t)left, (uint32_t)right, EXPR_NONE);
        }
        return left;
}

static expr_at parse_or(struct parser *p)
{
        expr_at left = parse_and(p);
        while (left >= 0 && take_word(p, "or")) {
                size_t at = p->i;
                expr_at right = parse_and(p);
                left = right < 0 ? right
                                 : add(p, EXPR_OR, at, (uint32_t)left, (uint32_t)right, EXPR_NONE);
        }
        return left;
}

static expr_at parse_alternative(struct parser *p)
{
        expr_at left = parse_or(p);
        skip_space(p);
        size_t at = p->i;
        if (left < 0 || !take_sign(p, "//", "="))
                return left;
        if (++p->depth > DEPTH_MAX)
                return fail(p, "nested too deeply");
        expr_at right = parse_alternative(p);
        p->depth--;
        return right < 0 ? right
                         : add(p, EXPR_ALTERNATIVE, at, (uint32_t)left, (uint32_t)right, EXPR_NONE);
}

static expr_at parse_comma(struct parser *p)
{
        expr_at left = parse_alternative(p);
        while (left >= 0) {
                skip_space(p);
                size_t at = p->i;
                if (!take_sign(p, ",", NULL))
                        break;
                expr_at right = parse_alternative(p);
                left = right < 0
                               ? right
                               : add(p, EXPR_COMMA, at, (uint32_t)left, (uint32_t)right, EXPR_NONE);
        }
        return left;
}

static expr_at parse_pipe(struct parser *p)
{
        if (++p->depth > DEPTH_MAX)
                return fail(p, "nested too deeply");
        expr_at left = parse_comma(p);
        skip_space(p);
        size_t at = p->i;
        if (left >= 0 && take_sign(p, "|", "=")) {
                expr_at right = parse_pipe(p);
                left = right < 0
                               ? right
                               : add(p, EXPR_PIPE, at, (uint32_t)left, (uint32_t)right, EXPR_NONE);
        }
        p->depth--;
        return left;
}

int expr_parse(aip_expression *e, const char *const *variables, size_t n_variables, aip_error **err)
{
        struct parser p = {.e = e, .p = e->source, .n = e->source_bytes, .err = err};
        if (n_variables > AIP_EXPRESSION_MAX_VARIABLES)
                return aip_error_set(err, AIP_ELIMIT, "at most %d variables at once",
                                     AIP_EXPRESSION_MAX_VARIABLES);
        for (size_t i = 0; i < n_variables; i++)
                p.scope[p.n_scope++].name = aip_str_of(variables[i]);
        e->n_given = e->n_slots = p.n_scope;
        expr_at root = parse_pipe(&p);
        if (root < 0)
                return (int)root;
        skip_space(&p);
        if (p.i < p.n)
                return (int)fail(&p, "this is not expected here");
        e->root = (uint32_t)root;
        return 0;
}
