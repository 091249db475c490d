/*
 * The parser of templates (see template_parser.h). One pass, no recursion, no copying:
 *
 *     template    = { text | placeholder }
 *     placeholder = "{{" space name space [ "|" default ] "}}"
 *
 * Of a run of three or more "{" the last two open a placeholder and the others are text, so that
 * `{{{name}}}` is a value in braces. Single braces in a default come in pairs, so that a default
 * may be a JSON object. A placeholder inside a default is refused: what somebody may have meant by
 * it is not what would happen.
 */
#include "prompt/template_parser.h"
#include "macros.h"
#include "mem.h"
#include "text/text.h"

static int refuse(const struct aip_template_parse *p, size_t where, const char *why,
                  aip_error **err)
{
        size_t line = 1, column = 1;
        for (size_t i = 0; i < where;) {
                int is_line_end = p->source.p[i] == '\n';
                aip_text_next(p->source, &i);
                line += (size_t)is_line_end;
                column = is_line_end ? 1 : column + 1;
        }
        return aip_error_set(err, AIP_EINVAL, "%s: line %zu, column %zu: %s", p->what, line, column,
                             why);
}

static int has_pair(const struct aip_template_parse *p, size_t at, char c)
{
        return at + 1 < p->source.n && p->source.p[at] == c && p->source.p[at + 1] == c;
}

/* \{{ or \}} */
static int has_escape(const struct aip_template_parse *p, size_t at)
{
        return p->source.p[at] == '\\' && (has_pair(p, at + 1, '{') || has_pair(p, at + 1, '}'));
}

/* Opens a placeholder: a pair of braces that no third one follows. */
static int has_opening(const struct aip_template_parse *p, size_t at)
{
        return has_pair(p, at, '{') && !has_pair(p, at + 1, '{');
}

static int append_segment(struct aip_segments *segments, struct aip_segment segment,
                          aip_error **err)
{
        if (segments->n == segments->capacity) {
                size_t capacity = AIP_MAX(segments->capacity * 2, (size_t)4);
                void *grown = aip_realloc_array(segments->items, capacity, sizeof(segment));
                if (!grown)
                        return aip_error_set_nomem(err);
                segments->items = grown;
                segments->capacity = capacity;
        }
        segments->items[segments->n++] = segment;
        return 0;
}

static int append_text(struct aip_template_parse *p, size_t from, size_t until, aip_error **err)
{
        if (from == until)
                return 0;
        struct aip_segment text = {.kind = AIP_SEGMENT_TEXT,
                                   .text = {p->source.p + from, until - from}};
        return append_segment(p->segments, text, err);
}

/* Up to the next placeholder or the end. */
static int parse_text(struct aip_template_parse *p, aip_error **err)
{
        size_t from = p->at;
        int r = 0;
        while (r == 0 && p->at < p->source.n && !has_opening(p, p->at)) {
                if (has_escape(p, p->at)) {
                        r = append_text(p, from, p->at, err);
                        from = p->at + 1; /* the braces, without the backslash */
                        p->at += 3;
                } else {
                        p->at++;
                }
        }
        return r == 0 ? append_text(p, from, p->at, err) : r;
}

static int new_variable(struct aip_template_variables *variables, struct aip_str name,
                        aip_error **err)
{
        if (variables->n == variables->capacity) {
                size_t capacity = AIP_MAX(variables->capacity * 2, (size_t)4);
                void *grown =
                        aip_realloc_array(variables->items, capacity, sizeof(variables->items[0]));
                if (!grown)
                        return aip_error_set_nomem(err);
                variables->items = grown;
                variables->capacity = capacity;
        }
        void *position = (void *)(uintptr_t)(variables->n + 1);
        if (aip_hash_map_set(&variables->index, name, position, NULL) < 0)
                return aip_error_set_nomem(err);
        variables->items[variables->n++] = (struct aip_template_variable){.name = name};
        return 0;
}

static int find_variable(struct aip_template_variables *variables, struct aip_str name,
                         uint32_t *ret_variable, aip_error **err)
{
        uintptr_t position = (uintptr_t)aip_hash_map_get(&variables->index, name);
        if (position == 0) {
                int r = new_variable(variables, name, err);
                if (r < 0)
                        return r;
                position = variables->n;
        }
        *ret_variable = (uint32_t)(position - 1);
        return 0;
}

static void skip_white_space(struct aip_template_parse *p)
{
        for (size_t next = p->at; next < p->source.n; p->at = next) {
                if (!aip_text_is_white_space(aip_text_next(p->source, &next)))
                        return;
        }
}

static int begins_name(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int continues_name(char c)
{
        return begins_name(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

/* The name and the white space around it. */
static int parse_name(struct aip_template_parse *p, size_t opening, struct aip_str *ret_name,
                      aip_error **err)
{
        skip_white_space(p);
        size_t from = p->at;
        if (from < p->source.n && begins_name(p->source.p[from])) {
                while (p->at < p->source.n && continues_name(p->source.p[p->at]))
                        p->at++;
        }
        size_t until = p->at;
        skip_white_space(p);
        if (p->at == p->source.n)
                return refuse(p, opening, "this {{ is never closed; write \\{{ for literal braces",
                              err);
        if (until == from || (p->source.p[p->at] != '|' && !has_pair(p, p->at, '}')))
                return refuse(p, p->at,
                              "after {{ comes the name of a variable (letters, digits, '_', '.', "
                              "'-', first a letter or '_'), then }} or |; write \\{{ for literal "
                              "braces",
                              err);
        *ret_name = aip_str_make(p->source.p + from, until - from);
        return 0;
}

static int arena_prepare(struct aip_template_arena *arena, aip_error **err)
{
        if (!arena->p)
                arena->p = aip_alloc(arena->capacity);
        return arena->p ? 0 : aip_error_set_nomem(err);
}

/* A default without the backslashes of its escapes; a piece of the source when it has none. */
static int unescape(struct aip_template_parse *p, size_t from, size_t until,
                    struct aip_str *ret_text, aip_error **err)
{
        int r = arena_prepare(p->arena, err);
        if (r < 0)
                return r;
        char *begin = p->arena->p + p->arena->n, *to = begin;
        for (size_t i = from; i < until;) {
                if (has_escape(p, i)) {
                        to = mempcpy(to, p->source.p + i + 1, 2);
                        i += 3;
                } else {
                        *to++ = p->source.p[i++];
                }
        }
        p->arena->n += (size_t)(to - begin);
        assert(p->arena->n <= p->arena->capacity);
        *ret_text = aip_str_make(begin, (size_t)(to - begin));
        return 0;
}

/* Where the default that begins here ends: at the first pair of braces that does not close a single
 * brace within it. Moves there; 0 when there is no such place or a placeholder begins before it. */
static int find_end_of_default(struct aip_template_parse *p, int *ret_has_escapes)
{
        size_t depth = 0;
        while (p->at < p->source.n) {
                char c = p->source.p[p->at];
                if (has_escape(p, p->at)) {
                        *ret_has_escapes = 1;
                        p->at += 2;
                } else if (depth == 0 && has_pair(p, p->at, '}')) {
                        return 1;
                } else if (has_pair(p, p->at, '{')) {
                        return 0;
                } else if (c == '{') {
                        depth++;
                } else if (c == '}' && depth > 0) {
                        depth--;
                }
                p->at++;
        }
        return 0;
}

/* After the bar, up to the closing braces. */
static int parse_default(struct aip_template_parse *p, size_t opening, struct aip_str *ret_default,
                         aip_error **err)
{
        size_t from = p->at;
        int has_escapes = 0;
        if (!find_end_of_default(p, &has_escapes)) {
                if (p->at < p->source.n)
                        return refuse(p, p->at,
                                      "a default cannot contain a placeholder; write \\{{ for "
                                      "literal braces",
                                      err);
                return refuse(p, opening,
                              "this {{ is never closed (single braces in a default must be in "
                              "pairs); write \\{{ for literal braces",
                              err);
        }
        if (has_escapes)
                return unescape(p, from, p->at, ret_default, err);
        *ret_default = aip_str_make(p->source.p + from, p->at - from);
        return 0;
}

static int append_placeholder(struct aip_template_parse *p, struct aip_str name,
                              const struct aip_str *fallback, aip_error **err)
{
        struct aip_segment segment = {.kind = AIP_SEGMENT_PROMPT};
        if (aip_str_eq(name, AIP_STR("prompt")))
                return append_segment(p->segments, segment, err);
        int r = find_variable(p->variables, name, &segment.variable, err);
        if (r < 0)
                return r;
        struct aip_template_variable *variable = &p->variables->items[segment.variable];
        segment.kind = AIP_SEGMENT_VARIABLE;
        if (fallback) {
                segment.has_default = 1;
                segment.text = *fallback;
                if (!variable->fallback.p)
                        variable->fallback = *fallback;
        } else {
                variable->is_required = 1;
        }
        return append_segment(p->segments, segment, err);
}

static int parse_placeholder(struct aip_template_parse *p, aip_error **err)
{
        size_t opening = p->at;
        struct aip_str name = {NULL, 0}, fallback = {NULL, 0};
        p->at += 2;
        int r = parse_name(p, opening, &name, err);
        if (r < 0)
                return r;
        int has_default = p->source.p[p->at] == '|';
        if (has_default) {
                p->at++;
                r = parse_default(p, opening, &fallback, err);
                if (r < 0)
                        return r;
        }
        p->at += 2;
        return append_placeholder(p, name, has_default ? &fallback : NULL, err);
}

int aip_template_parse(struct aip_template_parse *p, aip_error **err)
{
        while (p->at < p->source.n) {
                int r = parse_text(p, err);
                if (r == 0 && p->at < p->source.n)
                        r = parse_placeholder(p, err);
                if (r < 0)
                        return r;
        }
        return 0;
}
