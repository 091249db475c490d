/*
 * Expressions: evaluation. Every node yields any number of values, one after the other, into a sink;
 * what stands behind a node runs inside its sink, so nothing is stored between the stages of a pipe.
 * Called by expression.c. Input values are borrowed, what goes into a sink is the sink's.
 */
#include "expression/expression_impl.h"
#include <stdarg.h>
#include <stdio.h>

#define MESSAGE_BYTES 512

int expr_nomem(struct expr_machine *m)
{
        aip_error_free(AIP_TAKE(m->err));
        return aip_error_set_nomem(&m->err);
}

int expr_fail(struct expr_machine *m, const char *format, ...)
{
        char text[MESSAGE_BYTES];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        aip_error_free(AIP_TAKE(m->err));
        return aip_error_set(&m->err, AIP_EINVAL, "%s", text);
}

static int too_much(struct expr_machine *m, const char *what)
{
        aip_error_free(AIP_TAKE(m->err));
        return aip_error_set(&m->err, AIP_ELIMIT, "the expression %s", what);
}

int expr_charge(struct expr_machine *m, size_t bytes)
{
        if (bytes > AIP_EXPRESSION_MAX_WORK - m->work)
                return too_much(m, "makes more than 64 MiB");
        m->work += bytes;
        return 0;
}

int expr_emit(struct expr_machine *m, struct expr_sink *out, aip_value *value)
{
        return value ? out->emit(out, m, value) : expr_nomem(m);
}

int expr_is_true(const aip_value *value)
{
        return aip_value_type(value) != AIP_VALUE_NULL && aip_value_as_bool(value, 1);
}

/* The failure of an access itself, when it is optional, is dropped; what it is of was evaluated before. */
static int forgive(struct expr_machine *m, const struct expr_node *node, int r)
{
        if (r != AIP_EINVAL || node->slot != EXPR_OPTIONAL)
                return r;
        aip_error_free(AIP_TAKE(m->err));
        return 0;
}

static const struct expr_node *node_at(const struct expr_machine *m, uint32_t node)
{
        return &m->expression->nodes[node];
}

/* ── two operands: every value of one with every value of the other ──────────────────────────── */

typedef int pair_function(struct expr_machine *m, const struct expr_node *node, const aip_value *a,
                          const aip_value *b, struct expr_sink *out);

struct pairs {
        struct expr_sink on_second, on_first;
        const struct expr_node *node;
        const aip_value *input, *second;
        struct expr_sink *out;
        pair_function *use;
};

static int pair_first(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct pairs *p = AIP_CONTAINER_OF(sink, struct pairs, on_first);
        int r = p->use(m, p->node, value, p->second, p->out);
        aip_value_unref(value);
        return r;
}

static int pair_second(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct pairs *p = AIP_CONTAINER_OF(sink, struct pairs, on_second);
        p->second = value;
        int r = expr_eval(m, p->node->a, p->input, &p->on_first);
        aip_value_unref(value);
        return r;
}

/* jq's order: the second operand is the outer loop. */
static int eval_pairs(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                      pair_function *use, struct expr_sink *out)
{
        struct pairs p = {{pair_second}, {pair_first}, node, input, NULL, out, use};
        return expr_eval(m, node->b, input, &p.on_second);
}

static int use_binary(struct expr_machine *m, const struct expr_node *node, const aip_value *a,
                      const aip_value *b, struct expr_sink *out)
{
        aip_value *value = NULL;
        int r = expr_binary(m, (enum expr_binary)node->function, a, b, &value);
        return r < 0 ? r : expr_emit(m, out, value);
}

static int use_index(struct expr_machine *m, const struct expr_node *node, const aip_value *a,
                     const aip_value *b, struct expr_sink *out)
{
        aip_value *value = NULL;
        int r = expr_index(m, a, b, &value);
        return r < 0 ? forgive(m, node, r) : expr_emit(m, out, value);
}

/* ── one operand ─────────────────────────────────────────────────────────────────────────────── */

/* A sink that knows its node and where things go on. */
struct stage {
        struct expr_sink sink;
        const struct expr_node *node;
        const aip_value *input;
        struct expr_sink *out;
        int has_yielded;    /* alternative: something true */
        int is_out_failing; /* try, alternative: the failure is not ours to swallow */
};

static int emit_iterated(struct expr_machine *m, const struct expr_node *node,
                         const aip_value *value, struct expr_sink *out)
{
        size_t n = aip_value_size(value);
        int is_list = aip_value_type(value) == AIP_VALUE_LIST, r = 0;
        if (!is_list && aip_value_type(value) != AIP_VALUE_OBJECT)
                return forgive(m, node,
                               expr_fail(m, "cannot iterate over %s",
                                         aip_value_type_name(aip_value_type(value))));
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_str key;
                const aip_value *item =
                        is_list ? aip_value_at(value, i) : aip_value_member(value, i, &key);
                r = expr_emit(m, out, aip_value_ref(item));
        }
        return r;
}

static int stage_iterate(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct stage *s = AIP_CONTAINER_OF(sink, struct stage, sink);
        int r = emit_iterated(m, s->node, value, s->out);
        aip_value_unref(value);
        return r;
}

static int stage_pipe(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct stage *s = AIP_CONTAINER_OF(sink, struct stage, sink);
        int r = expr_eval(m, s->node->b, value, s->out);
        aip_value_unref(value);
        return r;
}

static int stage_negate(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct stage *s = AIP_CONTAINER_OF(sink, struct stage, sink);
        _cleanup_(aip_value_unref_p) aip_value *zero = aip_value_int(0), *made = NULL;
        int is_number =
                aip_value_type(value) == AIP_VALUE_INT || aip_value_type(value) == AIP_VALUE_DOUBLE;
        int r = !zero        ? expr_nomem(m)
                : !is_number ? expr_fail(m, "%s cannot be negated",
                                         aip_value_type_name(aip_value_type(value)))
                             : expr_binary(m, EXPR_SUBTRACT, zero, value, &made);
        aip_value_unref(value);
        return r < 0 ? r : expr_emit(m, s->out, AIP_TAKE(made));
}

static int stage_if(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct stage *s = AIP_CONTAINER_OF(sink, struct stage, sink);
        uint32_t branch = expr_is_true(value) ? s->node->b : s->node->c;
        aip_value_unref(value);
        if (branch != EXPR_NONE)
                return expr_eval(m, branch, s->input, s->out);
        return expr_emit(m, s->out, s->input ? aip_value_ref(s->input) : aip_value_null());
}

static int stage_truth(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct stage *s = AIP_CONTAINER_OF(sink, struct stage, sink);
        int is_true = expr_is_true(value);
        aip_value_unref(value);
        return expr_emit(m, s->out, aip_value_bool(is_true));
}

static int stage_logic(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct stage *s = AIP_CONTAINER_OF(sink, struct stage, sink);
        int is_true = expr_is_true(value);
        aip_value_unref(value);
        if (is_true == (s->node->op == EXPR_OR))
                return expr_emit(m, s->out, aip_value_bool(is_true));
        struct stage second = {{stage_truth}, s->node, s->input, s->out, 0, 0};
        return expr_eval(m, s->node->b, s->input, &second.sink);
}

static int stage_bind(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct stage *s = AIP_CONTAINER_OF(sink, struct stage, sink);
        const aip_value *before = m->slots[s->node->slot];
        m->slots[s->node->slot] = value;
        int r = expr_eval(m, s->node->b, s->input, s->out);
        m->slots[s->node->slot] = before;
        aip_value_unref(value);
        return r;
}

/* Passes on, and remembers that a failure came from behind. */
static int stage_guarded(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct stage *s = AIP_CONTAINER_OF(sink, struct stage, sink);
        if (s->node->op == EXPR_ALTERNATIVE && !expr_is_true(value)) {
                aip_value_unref(value);
                return 0;
        }
        s->has_yielded = 1;
        int r = s->out->emit(s->out, m, value);
        s->is_out_failing = r != 0;
        return r;
}

/* try: what fails within is dropped; limits and a lack of memory are not. */
static int eval_guarded(struct expr_machine *m, const struct expr_node *node,
                        const aip_value *input, struct expr_sink *out)
{
        struct stage s = {{stage_guarded}, node, input, out, 0, 0};
        int r = expr_eval(m, node->a, input, &s.sink);
        if (r == AIP_EINVAL && node->op == EXPR_TRY && !s.is_out_failing) {
                aip_error_free(AIP_TAKE(m->err));
                r = 0;
        }
        if (r == 0 && node->op == EXPR_ALTERNATIVE && !s.has_yielded)
                r = expr_eval(m, node->b, input, out);
        return r;
}

/* ── making values ───────────────────────────────────────────────────────────────────────────── */

static struct aip_str text_of(const struct expr_machine *m, const struct expr_node *node)
{
        return aip_str_make(m->expression->texts.p ? m->expression->texts.p + node->u.text.offset
                                                   : "",
                            node->u.text.n);
}

/* "a\(b)c": for every value of b, then what follows it. */
struct format {
        struct expr_sink sink;
        const struct expr_node *part;
        const aip_value *input;
        struct expr_sink *out;
        struct aip_str before; /* what stands in front of the part */
};

static int format_part(struct expr_machine *m, const struct expr_node *part, const aip_value *input,
                       struct aip_str before, struct expr_sink *out);

static int format_value(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct format *f = AIP_CONTAINER_OF(sink, struct format, sink);
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
        int r = aip_buf_append(&text, f->before);
        if (r == 0)
                r = aip_buf_append(&text, text_of(m, f->part));
        r = r < 0 ? (r == AIP_ELIMIT ? too_much(m, "makes more than 64 MiB") : expr_nomem(m))
                  : expr_convert(m, f->part->function, value, &text);
        aip_value_unref(value);
        if (r == 0)
                r = expr_charge(m, text.n);
        return r < 0 ? r
                     : format_part(m, node_at(m, f->part->a), f->input, aip_buf_str(&text), f->out);
}

static int format_part(struct expr_machine *m, const struct expr_node *part, const aip_value *input,
                       struct aip_str before, struct expr_sink *out)
{
        if (part->b != EXPR_NONE) {
                struct format f = {{format_value}, part, input, out, before};
                return expr_eval(m, part->b, input, &f.sink);
        }
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(AIP_EXPRESSION_MAX_WORK);
        int r = aip_buf_append(&text, before);
        if (r == 0)
                r = aip_buf_append(&text, text_of(m, part));
        if (r < 0)
                return r == AIP_ELIMIT ? too_much(m, "makes more than 64 MiB") : expr_nomem(m);
        return expr_emit(m, out, aip_value_string(aip_buf_str(&text)));
}

/* Objects: member by member, all combinations of keys and values. */
struct object {
        struct expr_sink on_key, on_value;
        const struct expr_node *member;
        const aip_value *input, *made, *key;
        struct expr_sink *out;
};

static int object_member(struct expr_machine *m, uint32_t member, const aip_value *input,
                         const aip_value *made, struct expr_sink *out);

static int object_value(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct object *o = AIP_CONTAINER_OF(sink, struct object, on_value);
        _cleanup_(aip_value_unref_p) aip_value *grown = aip_value_ref(o->made);
        int r = expr_charge(m, (aip_value_size(grown) + 1) * sizeof(void *));
        if (r < 0) {
                aip_value_unref(value);
                return r;
        }
        if (aip_value_object_set(&grown, aip_value_as_string(o->key), value) < 0)
                return expr_nomem(m);
        return object_member(m, o->member->c, o->input, grown, o->out);
}

static int object_key(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct object *o = AIP_CONTAINER_OF(sink, struct object, on_key);
        int r;
        if (aip_value_type(value) != AIP_VALUE_STRING) {
                r = expr_fail(m, "%s is no name of a member",
                              aip_value_type_name(aip_value_type(value)));
        } else {
                o->key = value;
                r = expr_eval(m, o->member->b, o->input, &o->on_value);
        }
        aip_value_unref(value);
        return r;
}

static int object_member(struct expr_machine *m, uint32_t member, const aip_value *input,
                         const aip_value *made, struct expr_sink *out)
{
        if (member == EXPR_NONE)
                return expr_emit(m, out, aip_value_ref(made));
        struct object o = {{object_key}, {object_value}, node_at(m, member), input, made, NULL,
                           out};
        return expr_eval(m, o.member->a, input, &o.on_key);
}

static int eval_object(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                       struct expr_sink *out)
{
        _cleanup_(aip_value_unref_p) aip_value *empty = aip_value_object();
        return empty ? object_member(m, node->a, input, empty, out) : expr_nomem(m);
}

static int eval_list(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                     struct expr_sink *out)
{
        if (node->a == EXPR_NONE)
                return expr_emit(m, out, aip_value_list());
        aip_value *list = expr_collect(m, node->a, input);
        return list ? out->emit(out, m, list) : aip_error_code(m->err);
}

/* a[b:c]: the bounds are evaluated first, all combinations of the first value of each. */
static int eval_slice(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                      struct expr_sink *out)
{
        _cleanup_(aip_value_unref_p) aip_value *values = NULL, *from = NULL, *to = NULL;
        int r = 0;
        if (!(values = expr_collect(m, node->a, input)) ||
            (node->b != EXPR_NONE && !(from = expr_collect(m, node->b, input))) ||
            (node->c != EXPR_NONE && !(to = expr_collect(m, node->c, input))))
                return aip_error_code(m->err);
        for (size_t i = 0; r == 0 && i < AIP_MAX(aip_value_size(to), (size_t)!to); i++)
                for (size_t j = 0; r == 0 && j < AIP_MAX(aip_value_size(from), (size_t)!from); j++)
                        for (size_t k = 0; r == 0 && k < aip_value_size(values); k++) {
                                aip_value *slice = NULL;
                                r = expr_slice(m, aip_value_at(values, k), aip_value_at(from, j),
                                               aip_value_at(to, i), &slice);
                                r = r < 0 ? forgive(m, node, r) : expr_emit(m, out, slice);
                        }
        return r;
}

/* ── reduce ──────────────────────────────────────────────────────────────────────────────────── */

struct reduction {
        struct expr_sink on_item, on_result;
        const struct expr_node *node;
        aip_value *state, *next;
};

static int reduce_result(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct reduction *d = AIP_CONTAINER_OF(sink, struct reduction, on_result);
        (void)m;
        aip_value_unref(d->next); /* of several the last counts */
        d->next = value;
        return 0;
}

static int reduce_item(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct reduction *d = AIP_CONTAINER_OF(sink, struct reduction, on_item);
        const aip_value *before = m->slots[d->node->slot];
        m->slots[d->node->slot] = value;
        int r = expr_eval(m, d->node->c, d->state, &d->on_result);
        m->slots[d->node->slot] = before;
        aip_value_unref(value);
        aip_value_unref(d->state);
        d->state = AIP_TAKE(d->next); /* none: null */
        return r;
}

struct reduce_begin {
        struct expr_sink sink;
        const struct expr_node *node;
        const aip_value *input;
        struct expr_sink *out;
};

static int reduce_begun(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct reduce_begin *b = AIP_CONTAINER_OF(sink, struct reduce_begin, sink);
        struct reduction d = {{reduce_item}, {reduce_result}, b->node, value, NULL};
        int r = expr_eval(m, b->node->a, b->input, &d.on_item);
        aip_value_unref(d.next);
        if (r != 0) {
                aip_value_unref(d.state);
                return r;
        }
        return expr_emit(m, b->out, d.state ? d.state : aip_value_null());
}

/* ── calls ───────────────────────────────────────────────────────────────────────────────────── */

struct call {
        struct expr_sink sink;
        const struct expr_node *node;
        const struct expr_function *function;
        const aip_value *input;
        const aip_value *args[3];
        unsigned n;
        struct expr_sink *out;
};

static int call_next(struct expr_machine *m, struct call *c)
{
        if (c->n < c->function->n_args) {
                uint32_t arg = c->n == 0 ? c->node->a : c->n == 1 ? c->node->b : c->node->c;
                return expr_eval(m, arg, c->input, &c->sink);
        }
        aip_value *value = NULL;
        int r = c->function->on_values(m, c->input, c->args, &value);
        return r < 0 ? r : expr_emit(m, c->out, value);
}

static int call_argument(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct call *c = AIP_CONTAINER_OF(sink, struct call, sink);
        c->args[c->n++] = value;
        int r = call_next(m, c);
        c->n--;
        aip_value_unref(value);
        return r;
}

static int eval_call(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                     struct expr_sink *out)
{
        const struct expr_function *function = &expr_functions[node->function];
        if (function->on_closures)
                return function->on_closures(m, node, input, out);
        struct call c = {{call_argument}, node, function, input, {NULL}, 0, out};
        return call_next(m, &c);
}

/* ── dispatch ────────────────────────────────────────────────────────────────────────────────── */

/* Nodes whose operand runs first and whose work is a sink. */
static int eval_stage(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                      struct expr_sink *out)
{
        struct stage s = {{NULL}, node, input, out, 0, 0};
        switch (node->op) {
        case EXPR_ITERATE:
                s.sink.emit = stage_iterate;
                break;
        case EXPR_NEGATE:
                s.sink.emit = stage_negate;
                break;
        case EXPR_IF:
                s.sink.emit = stage_if;
                break;
        case EXPR_OR:
        case EXPR_AND:
                s.sink.emit = stage_logic;
                break;
        case EXPR_BIND:
                s.sink.emit = stage_bind;
                break;
        default:
                s.sink.emit = stage_pipe;
                break;
        }
        return expr_eval(m, node->a, input, &s.sink);
}

static aip_value *constant(const struct expr_machine *m, const struct expr_node *node,
                           const aip_value *input)
{
        switch (node->op) {
        case EXPR_IDENTITY:
                return input ? aip_value_ref(input) : aip_value_null();
        case EXPR_TRUE:
                return aip_value_bool(1);
        case EXPR_FALSE:
                return aip_value_bool(0);
        case EXPR_INT:
                return aip_value_int(node->u.integer);
        case EXPR_DOUBLE:
                return aip_value_double(node->u.real);
        case EXPR_STRING:
                return aip_value_string(text_of(m, node));
        case EXPR_VARIABLE:
                return m->slots[node->slot] ? aip_value_ref(m->slots[node->slot])
                                            : aip_value_null();
        default:
                return aip_value_null();
        }
}

static int eval_compound(struct expr_machine *m, const struct expr_node *node,
                         const aip_value *input, struct expr_sink *out)
{
        switch (node->op) {
        case EXPR_FORMAT:
                return format_part(m, node, input, aip_str_make("", 0), out);
        case EXPR_INDEX:
                return eval_pairs(m, node, input, use_index, out);
        case EXPR_BINARY:
                return eval_pairs(m, node, input, use_binary, out);
        case EXPR_SLICE:
                return eval_slice(m, node, input, out);
        case EXPR_TRY:
        case EXPR_ALTERNATIVE:
                return eval_guarded(m, node, input, out);
        case EXPR_LIST:
                return eval_list(m, node, input, out);
        case EXPR_OBJECT:
                return eval_object(m, node, input, out);
        case EXPR_CALL:
                return eval_call(m, node, input, out);
        default:
                return eval_stage(m, node, input, out);
        }
}

static int eval_reduce(struct expr_machine *m, const struct expr_node *node, const aip_value *input,
                       struct expr_sink *out)
{
        struct reduce_begin b = {{reduce_begun}, node, input, out};
        return expr_eval(m, node->b, input, &b.sink);
}

int expr_eval(struct expr_machine *m, uint32_t at, const aip_value *input, struct expr_sink *out)
{
        const struct expr_node *node = node_at(m, at);
        if (++m->steps > AIP_EXPRESSION_MAX_STEPS)
                return too_much(m, "takes more than 1,000,000 steps");
        if (node->op <= EXPR_STRING || node->op == EXPR_VARIABLE)
                return expr_emit(m, out, constant(m, node, input));
        if (node->op == EXPR_COMMA) {
                int r = expr_eval(m, node->a, input, out);
                return r != 0 ? r : expr_eval(m, node->b, input, out);
        }
        if (node->op == EXPR_REDUCE)
                return eval_reduce(m, node, input, out);
        return eval_compound(m, node, input, out);
}
