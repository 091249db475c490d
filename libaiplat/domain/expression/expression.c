/*
 * Expressions: made, counted, evaluated (aiplat/expression.h). Called by whoever compiles and runs
 * graph documents. Must never keep a value beyond an evaluation.
 */
#include "expression/expression_impl.h"

int aip_expression_parse(struct aip_str text, const char *const *variables, size_t n_variables,
                         aip_expression **ret_expression, aip_error **err)
{
        int r = aip_text_check("expression", text, AIP_EXPRESSION_MAX_BYTES, err);
        if (r < 0)
                return r;
        aip_expression *e = aip_calloc(1, sizeof(*e));
        if (!e)
                return aip_error_set_nomem(err);
        atomic_init(&e->n_refs, 1);
        aip_buf_init(&e->texts, 2 * AIP_EXPRESSION_MAX_BYTES);
        e->source = aip_alloc(text.n + 1);
        if (!e->source) {
                aip_expression_unref(e);
                return aip_error_set_nomem(err);
        }
        if (text.n > 0)
                memcpy(e->source, text.p, text.n);
        e->source[text.n] = '\0';
        e->source_bytes = text.n;
        r = expr_parse(e, variables, n_variables, err);
        if (r < 0) {
                aip_expression_unref(e);
                return r;
        }
        *ret_expression = e;
        return 0;
}

aip_expression *aip_expression_ref(const aip_expression *expression)
{
        aip_expression *e = (aip_expression *)expression;
        if (e)
                atomic_fetch_add_explicit(&e->n_refs, 1, memory_order_relaxed);
        return e;
}

void aip_expression_unref(aip_expression *e)
{
        if (!e || atomic_fetch_sub_explicit(&e->n_refs, 1, memory_order_acq_rel) != 1)
                return;
        aip_free(e->source);
        aip_free(e->nodes);
        aip_buf_deinit(&e->texts);
        aip_free(e);
}

struct aip_str aip_expression_text(const aip_expression *e)
{
        return aip_str_make(e->source, e->source_bytes);
}

void expr_place(const aip_expression *e, size_t at, uint32_t *ret_line, uint32_t *ret_column)
{
        *ret_line = *ret_column = 1;
        for (size_t i = 0; i < at && i < e->source_bytes; i++) {
                if (e->source[i] == '\n') {
                        ++*ret_line;
                        *ret_column = 1;
                } else if ((e->source[i] & 0xc0) != 0x80) {
                        ++*ret_column;
                }
        }
}

static int run(const aip_expression *e, const aip_value *input, const aip_value *const *variables,
               struct expr_sink *sink, aip_error **err)
{
        const aip_value *slots[AIP_EXPRESSION_MAX_VARIABLES];
        struct expr_machine m = {.expression = e, .slots = slots};
        for (uint32_t i = 0; i < e->n_slots; i++)
                slots[i] = i < e->n_given ? variables[i] : NULL;
        int r = expr_eval(&m, e->root, input, sink);
        if (r < 0)
                return aip_error_propagate(err, m.err);
        return 0;
}

struct last {
        struct expr_sink sink;
        aip_value *value;
        int n;
};

static int keep_one(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct last *last = AIP_CONTAINER_OF(sink, struct last, sink);
        if (last->n++ == 0) {
                last->value = value;
                return 0;
        }
        aip_value_unref(value);
        return expr_fail(m, "several values where one is wanted: put [ ] around them");
}

int aip_expression_eval(const aip_expression *e, const aip_value *input,
                        const aip_value *const *variables, aip_value **ret_value, aip_error **err)
{
        struct last last = {{keep_one}, NULL, 0};
        int r = run(e, input, variables, &last.sink, err);
        if (r < 0) {
                aip_value_unref(last.value);
                return r;
        }
        if (last.n == 0 && !(last.value = aip_value_null()))
                return aip_error_set_nomem(err);
        *ret_value = last.value;
        return 0;
}

int aip_expression_test(const aip_expression *e, const aip_value *input,
                        const aip_value *const *variables, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        int r = aip_expression_eval(e, input, variables, &value, err);
        return r < 0 ? r : expr_is_true(value);
}

struct collector {
        struct expr_sink sink;
        aip_value *list;
};

static int collect(struct expr_sink *sink, struct expr_machine *m, aip_value *value)
{
        struct collector *c = AIP_CONTAINER_OF(sink, struct collector, sink);
        int r = expr_charge(m, sizeof(void *));
        if (r < 0) {
                aip_value_unref(value);
                return r;
        }
        return aip_value_list_append(&c->list, value) < 0 ? expr_nomem(m) : 0;
}

aip_value *expr_collect(struct expr_machine *m, uint32_t node, const aip_value *input)
{
        struct collector c = {{collect}, aip_value_list()};
        if (!c.list) {
                expr_nomem(m);
                return NULL;
        }
        if (expr_eval(m, node, input, &c.sink) < 0) {
                aip_value_unref(c.list);
                return NULL;
        }
        return c.list;
}

int aip_expression_list(const aip_expression *e, const aip_value *input,
                        const aip_value *const *variables, aip_value **ret_list, aip_error **err)
{
        struct collector c = {{collect}, aip_value_list()};
        if (!c.list)
                return aip_error_set_nomem(err);
        int r = run(e, input, variables, &c.sink, err);
        if (r < 0) {
                aip_value_unref(c.list);
                return r;
        }
        *ret_list = c.list;
        return 0;
}
