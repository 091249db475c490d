/*
 * Expressions, seen from inside: shared by the files of this folder, no one else's. A compiled
 * expression is an array of nodes that name each other by index; texts stand in one block. It holds
 * no aip_value, whose counts are not atomic: constants are made anew for every evaluation.
 */
#ifndef AIPLAT_DOMAIN_EXPRESSION_IMPL_H
#define AIPLAT_DOMAIN_EXPRESSION_IMPL_H

#include "macros.h"
#include "mem.h"
#include "text/text.h"
#include <aiplat/expression.h>
#include <stdatomic.h>

enum expr_op {
        EXPR_IDENTITY,
        EXPR_NULL,
        EXPR_TRUE,
        EXPR_FALSE,
        EXPR_INT,    /* integer */
        EXPR_DOUBLE, /* real */
        EXPR_STRING, /* text */
        EXPR_FORMAT, /* text: a chain of parts (a: next), each text and then b, converted as `function` */
        EXPR_VARIABLE, /* slot */
        EXPR_INDEX,    /* a[b] */
        EXPR_SLICE,    /* a[b:c]; NONE: open */
        EXPR_ITERATE,  /* a[] */
        EXPR_TRY,      /* a? */
        EXPR_PIPE,
        EXPR_COMMA,
        EXPR_ALTERNATIVE, /* a // b */
        EXPR_OR,
        EXPR_AND,
        EXPR_BINARY, /* `function`: enum expr_binary */
        EXPR_NEGATE, /* -a */
        EXPR_IF,     /* a then b else c (NONE: .) */
        EXPR_LIST,   /* [a]; NONE: [] */
        EXPR_OBJECT, /* a chain of EXPR_MEMBER; NONE: {} */
        EXPR_MEMBER, /* a: key, b: value, c: next or NONE */
        EXPR_BIND,   /* a as $slot | b */
        EXPR_REDUCE, /* reduce a as $slot (b; c) */
        EXPR_CALL    /* `function`: index of expr_functions; a, b, c: arguments or NONE */
};

enum expr_binary {
        EXPR_EQ,
        EXPR_NE,
        EXPR_LT,
        EXPR_LE,
        EXPR_GT,
        EXPR_GE,
        EXPR_ADD,
        EXPR_SUBTRACT,
        EXPR_MULTIPLY,
        EXPR_DIVIDE,
        EXPR_REMAINDER
};

#define EXPR_NONE UINT32_MAX
#define EXPR_OPTIONAL                                                                              \
        1 /* slot of an index, slice, iteration: what it does not fit yields nothing */

struct expr_node {
        uint8_t op;
        uint8_t function;
        uint16_t slot;
        uint32_t a, b, c;
        uint32_t at; /* in the source, for messages */
        union {
                int64_t integer;
                double real;
                struct {
                        uint32_t offset, n; /* in the block of texts */
                } text;
        } u;
};

struct aip_expression {
        atomic_uint n_refs;
        char *source;
        size_t source_bytes;
        struct expr_node *nodes;
        uint32_t n_nodes, capacity;
        uint32_t root;
        struct aip_buf texts;
        uint32_t n_slots; /* variables: the caller's first */
        uint32_t n_given;
};

/* "line 1, column 7" of a place in the source. */
void expr_place(const aip_expression *expression, size_t at, uint32_t *ret_line,
                uint32_t *ret_column);

/* ---- expression_parser.c ---- */

int expr_parse(aip_expression *expression, const char *const *variables, size_t n_variables,
               aip_error **err);

/* ---- expression_eval.c ---- */

/* One evaluation. */
struct expr_machine {
        const aip_expression *expression;
        const aip_value **slots; /* values of variables, borrowed or owned by their frame */
        uint32_t steps;
        size_t work;
        aip_error *err; /* why it failed */
};

/* Where values go. `emit` consumes `value` always; negative: failed, EXPR_ENOUGH: wants no more. */
#define EXPR_ENOUGH 1
struct expr_sink {
        int (*emit)(struct expr_sink *sink, struct expr_machine *m, aip_value *value);
};

int expr_eval(struct expr_machine *m, uint32_t node, const aip_value *input, struct expr_sink *out);
/* All that a node yields, as a list; NULL: failed. */
aip_value *expr_collect(struct expr_machine *m, uint32_t node, const aip_value *input);

/* Count what is made; negative: too much. */
int expr_charge(struct expr_machine *m, size_t bytes);
int expr_fail(struct expr_machine *m, const char *format, ...) AIP_PRINTF(2, 3);
int expr_nomem(struct expr_machine *m);
/* Hand a new value on; NULL: out of memory. */
int expr_emit(struct expr_machine *m, struct expr_sink *out, aip_value *value);
int expr_is_true(const aip_value *value);

/* ---- expression_functions.c ---- */

/* What is computed from values alone. Returns 0 and an owned value, or what expr_fail() says. */
typedef int expr_value_function(struct expr_machine *m, const aip_value *input,
                                const aip_value *const *args, aip_value **ret_value);
/* What needs its arguments unevaluated. */
typedef int expr_closure_function(struct expr_machine *m, const struct expr_node *node,
                                  const aip_value *input, struct expr_sink *out);

struct expr_function {
        const char *name;
        uint8_t n_args;
        expr_value_function *on_values;
        expr_closure_function *on_closures;
};

extern const struct expr_function expr_functions[];
extern const size_t expr_n_functions;
/* Index of the function, or -1. */
int expr_function_find(struct aip_str name, unsigned n_args);

int expr_binary(struct expr_machine *m, enum expr_binary op, const aip_value *a, const aip_value *b,
                aip_value **ret_value);
aip_value *expr_number(double d); /* integers where it is one */
int expr_to_text(struct expr_machine *m, const aip_value *value, struct aip_buf *out);
int expr_index(struct expr_machine *m, const aip_value *value, const aip_value *key,
               aip_value **ret_value);
int expr_slice(struct expr_machine *m, const aip_value *value, const aip_value *from,
               const aip_value *to, aip_value **ret_value);
int expr_convert(struct expr_machine *m, unsigned format, const aip_value *value,
                 struct aip_buf *out);
/* "@uri" …: number of a conversion, or -1. */
int expr_format_find(struct aip_str name);

/* ---- expression_order.c ---- */

/* jq's order of all values. */
int expr_compare(const aip_value *a, const aip_value *b);
/* A list sorted by the keys beside it (same size; NULL: by itself); stable. NULL: out of memory. */
struct expr_sorted {
        const aip_value *item, *key;
        size_t nth;
};
struct expr_sorted *expr_sort(const aip_value *list, const aip_value *keys);
/* Sorted names of an object's members, owned (free()); NULL when out of memory. */
struct aip_str *expr_sorted_keys(const aip_value *object);

#endif
