/*
 * Expressions: how graph documents compute (conditions, transforms, prompts). The syntax and meaning
 * are jq's for what there is (docs/internals/expressions.md lists it); there are no definitions, no
 * recursion, no assignments, no regular expressions, no clock and no environment. So an expression
 * always ends: besides, its steps and the memory it makes are bounded.
 *
 * An expression is compiled once, is immutable then, and may be shared by threads.
 */
#ifndef AIPLAT_EXPRESSION_H
#define AIPLAT_EXPRESSION_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/value.h>

AIP_BEGIN_DECLS

typedef struct aip_expression aip_expression;

#define AIP_EXPRESSION_MAX_BYTES     16384
#define AIP_EXPRESSION_MAX_NODES     1000
#define AIP_EXPRESSION_MAX_VARIABLES 64         /* at once in scope, those of the caller included */
#define AIP_EXPRESSION_MAX_STEPS     1000000    /* of one evaluation */
#define AIP_EXPRESSION_MAX_WORK      (64u << 20) /* bytes of texts, lists and objects made by it */

/* `variables` are names without their $, borrowed during the call: what the expression may read as
 * $name. AIP_EINVAL tells line and column; AIP_ELIMIT when it is too large. */
AIP_API int aip_expression_parse(struct aip_str text, const char *const *variables,
                                 size_t n_variables, aip_expression **ret_expression,
                                 aip_error **err);
AIP_API aip_expression *aip_expression_ref(const aip_expression *expression); /* NULL for NULL */
AIP_API void aip_expression_unref(aip_expression *expression);                /* accepts NULL */
AIP_API struct aip_str aip_expression_text(const aip_expression *expression); /* borrowed */

/*
 * The value for `input` (borrowed; NULL reads as null) and the values of the variables, in the order
 * of their names (borrowed; NULL reads as null). An expression that yields nothing is null; one that
 * yields several values fails with AIP_EINVAL, as does one that jq would fail. *ret_value is owned by
 * caller.
 */
AIP_API int aip_expression_eval(const aip_expression *expression, const aip_value *input,
                                const aip_value *const *variables, aip_value **ret_value,
                                aip_error **err);
/* The same as a condition: null, false and nothing are 0, anything else is 1. Negative on failure. */
AIP_API int aip_expression_test(const aip_expression *expression, const aip_value *input,
                                const aip_value *const *variables, aip_error **err);
/* Every value that it yields, as a list. */
AIP_API int aip_expression_list(const aip_expression *expression, const aip_value *input,
                                const aip_value *const *variables, aip_value **ret_list,
                                aip_error **err);

AIP_END_DECLS

#endif
