/*
 * What node types use to read their members (aiplat/graph_document.h): errors that point into the document,
 * expressions over the state, and objects of writes. Called while a document is compiled, and, for what
 * they evaluate, by nodes that run.
 */
#include "graph_document/document_impl.h"
#include "macros.h"
#include "mem.h"

#define ITEM "item"

/* The place of a node of a document. */
struct node_place {
        struct aip_place nodes, node;
};

static const struct aip_place *place_node(struct node_place *place, struct aip_str name)
{
        place->nodes = aip_place_member(&aip_doc_root, "nodes");
        place->node = (struct aip_place){&place->nodes, name, 0};
        return &place->node;
}

int aip_graph_spec_error(const struct aip_graph_node_spec *spec, const char *member_path,
                         aip_error **err, const char *format, ...)
{
        struct node_place place;
        const struct aip_place *at = place_node(&place, spec->name);
        struct aip_place steps[8];
        size_t n = 0;
        while (member_path && *member_path && n < AIP_ARRAY_SIZE(steps)) {
                size_t bytes = n + 1 < AIP_ARRAY_SIZE(steps) ? strcspn(member_path, "/")
                                                             : strlen(member_path);
                steps[n] = (struct aip_place){at, aip_str_make(member_path, bytes), 0};
                at = &steps[n++];
                member_path += bytes;
                member_path += *member_path == '/';
        }
        va_list arguments;
        va_start(arguments, format);
        int r = aip_place_vfail(at, AIP_EINVAL, err, format, arguments);
        va_end(arguments);
        return r;
}

/* $item, then the caller's. `names` has room for all that an expression may have. */
static int name_variables(const struct aip_place *at, const char *const *variables, size_t n,
                          const char *names[AIP_EXPRESSION_MAX_VARIABLES], aip_error **err)
{
        if (n >= AIP_EXPRESSION_MAX_VARIABLES)
                return aip_place_fail(at, AIP_ELIMIT, err, "has too many variables");
        names[0] = ITEM;
        for (size_t i = 0; i < n; i++)
                names[i + 1] = variables[i];
        return 0;
}

int aip_graph_spec_expression(const struct aip_graph_node_spec *spec, const char *member,
                              const char *const *variables, size_t n_variables,
                              aip_expression **ret_expression, aip_error **err)
{
        const char *names[AIP_EXPRESSION_MAX_VARIABLES];
        struct node_place place;
        const struct aip_place *at = place_node(&place, spec->name);
        if (!aip_value_get_cstr(spec->fields, member))
                return 0;
        int r = name_variables(at, variables, n_variables, names, err);
        if (r < 0)
                return r;
        return aip_doc_expression(at, spec->fields, member, names, n_variables + 1, ret_expression,
                                  err);
}

/* Writes. */

struct write {
        const char *channel; /* the document's */
        aip_expression *expression;
};

struct aip_graph_writes {
        aip_graph_document *document; /* a reference */
        const char *node;             /* its */
        const char *outer, *member; /* where they stand, static; outer: NULL: in the node itself */
        size_t n;
        struct write items[];
};

void aip_graph_writes_free(aip_graph_writes *writes)
{
        if (!writes)
                return;
        for (size_t i = 0; i < writes->n; i++)
                aip_expression_unref(writes->items[i].expression);
        aip_graph_document_unref(writes->document);
        aip_free(writes);
}

AIP_DEFINE_CLEANUP(aip_graph_writes *, aip_graph_writes_free);

static aip_graph_writes *writes_new(const struct aip_graph_node_spec *spec, const char *outer,
                                    const char *member, size_t n)
{
        aip_graph_writes *writes = aip_calloc(1, sizeof(*writes) + n * sizeof(writes->items[0]));
        if (!writes)
                return NULL;
        writes->document = aip_graph_document_ref(spec->document);
        writes->node = spec->name.p;
        writes->outer = outer;
        writes->member = member;
        writes->n = n;
        return writes;
}

/* The place of an object of writes. */
struct writes_place {
        struct node_place node;
        struct aip_place outer, here;
};

static const struct aip_place *place_writes(struct writes_place *place, struct aip_str node,
                                            const char *outer, const char *member)
{
        const struct aip_place *at = place_node(&place->node, node);
        place->outer = aip_place_member(at, outer);
        place->here = aip_place_member(outer ? &place->outer : at, member);
        return &place->here;
}

static int read_write(const aip_graph_document *document, const struct aip_place *at,
                      const aip_value *value, const char *const *names, size_t n_names,
                      struct write *write, aip_error **err)
{
        uint32_t channel = aip_graph_document_channel(document, at->key);
        aip_error *cause = NULL;
        if (channel == AIP_GRAPH_DOCUMENT_NO_CHANNEL)
                return aip_place_fail(at, AIP_EINVAL, err, "there is no channel \"%.*s\"",
                                      AIP_STR_ARG(at->key));
        write->channel = document->channels[channel].name.p;
        int r = aip_place_type(at, value, AIP_VALUE_STRING, err);
        if (r < 0)
                return r;
        r = aip_expression_parse(aip_value_as_string(value), names, n_names, &write->expression,
                                 &cause);
        return r < 0 ? aip_place_wrap(at, cause, err) : 0;
}

int aip_doc_read_writes(const struct aip_graph_node_spec *spec, const char *outer,
                        const char *member, const char *const *variables, size_t n_variables,
                        aip_graph_writes **ret_writes, aip_error **err)
{
        const char *names[AIP_EXPRESSION_MAX_VARIABLES];
        struct writes_place place;
        const struct aip_place *here = place_writes(&place, spec->name, outer, member);
        const aip_value *from = outer ? aip_value_get_cstr(spec->fields, outer) : spec->fields;
        const aip_value *object = aip_value_get_cstr(from, member);
        size_t n = aip_value_size(object);
        if (!object)
                return 0;
        int r = aip_place_type(here, object, AIP_VALUE_OBJECT, err);
        if (r == 0)
                r = name_variables(here, variables, n_variables, names, err);
        if (r < 0)
                return r;
        _cleanup_(aip_graph_writes_free_p) aip_graph_writes *writes =
                writes_new(spec, outer, member, n);
        if (!writes)
                return aip_error_set_nomem(err);
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_place each = {here, {NULL, 0}, 0};
                const aip_value *value = aip_value_member(object, i, &each.key);
                r = read_write(spec->document, &each, value, names, n_variables + 1,
                               &writes->items[i], err);
        }
        if (r == 0)
                *ret_writes = AIP_TAKE(writes);
        return r;
}

int aip_graph_spec_writes(const struct aip_graph_node_spec *spec, const char *member,
                          const char *const *variables, size_t n_variables,
                          aip_graph_writes **ret_writes, aip_error **err)
{
        return aip_doc_read_writes(spec, NULL, member, variables, n_variables, ret_writes, err);
}

static int fail_write(const aip_graph_writes *writes, const struct write *write, aip_error *cause,
                      aip_error **err)
{
        struct writes_place place;
        const struct aip_place *at =
                place_writes(&place, aip_str_of(writes->node), writes->outer, writes->member);
        struct aip_place here = aip_place_member(at, write->channel);
        if (cause)
                return aip_place_wrap(&here, cause, err);
        return aip_place_fail(&here, AIP_EINVAL, err,
                              "several values where one is wanted: put [ ] around them");
}

static int write_one(const aip_graph_writes *writes, const struct write *write,
                     const aip_value *state, const aip_value *const *variables, aip_value **update,
                     aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *list = NULL;
        aip_error *cause = NULL;
        int r = aip_expression_list(write->expression, state, variables, &list, &cause);
        if (r < 0)
                return fail_write(writes, write, cause, err);
        if (aip_value_size(list) > 1)
                return fail_write(writes, write, NULL, err);
        if (aip_value_size(list) == 0)
                return 0;
        r = aip_value_object_set_cstr(update, write->channel, aip_value_ref(aip_value_at(list, 0)));
        return r < 0 ? aip_error_set_nomem(err) : 0;
}

int aip_graph_writes_eval(const aip_graph_writes *writes, const aip_value *state,
                          const aip_value *const *variables, aip_value **update, aip_error **err)
{
        int r = 0;
        if (!*update && !(*update = aip_value_object()))
                return aip_error_set_nomem(err);
        for (size_t i = 0; r == 0 && writes && i < writes->n; i++)
                r = write_one(writes, &writes->items[i], state, variables, update, err);
        return r;
}
