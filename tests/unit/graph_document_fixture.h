/* What the tests of graph documents share: node types that need no service. Needs criterion.h. */
#ifndef TESTS_UNIT_GRAPH_DOCUMENT_FIXTURE_H
#define TESTS_UNIT_GRAPH_DOCUMENT_FIXTURE_H

#include "graph_fixture.h"
#include "macros.h"
#include <aiplat/graph_document.h>
#include <aiplat/graph_run.h>

/* "set": {"write": {CHANNEL: EXPR}, "say": EXPR}: sets channels, at once. */
struct set_node {
        aip_graph_document *document;
        aip_graph_writes *writes;
        aip_expression *fails; /* with what it gives, if it is not null */
};

static inline int set_run(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const struct set_node *node = user;
        aip_value *state = NULL, *failure = NULL;
        const aip_value *variables[] = {aip_graph_task_input(task)};
        int r = aip_graph_document_task_state(node->document, task, &state, err);
        if (r == 0 && node->fails)
                r = aip_expression_eval(node->fails, state, variables, &failure, err);
        if (r == 0 && aip_value_type(failure) != AIP_VALUE_NULL) {
                struct aip_str text = aip_value_as_string(failure);
                r = aip_error_set(err, AIP_EUPSTREAM, "%.*s", AIP_STR_ARG(text));
        }
        if (r == 0)
                r = aip_graph_writes_eval(node->writes, state, variables, ret_update, err);
        aip_value_unref(failure);
        aip_value_unref(state);
        return r;
}

static inline void set_free(void *user)
{
        struct set_node *node = user;
        aip_graph_writes_free(node->writes);
        aip_expression_unref(node->fails);
        aip_graph_document_unref(node->document);
        free(node);
}

static inline int set_make(void *self, const struct aip_graph_node_spec *spec,
                           struct aip_node_options *options, aip_error **err)
{
        (void)self;
        struct set_node *node = calloc(1, sizeof(*node));
        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        int r = aip_graph_spec_writes(spec, "write", NULL, 0, &node->writes, err);
        if (r == 0)
                r = aip_graph_spec_expression(spec, "fails", NULL, 0, &node->fails, err);
        if (r < 0) {
                set_free(node);
                return r;
        }
        options->run = set_run;
        options->user = node;
        options->free_user = set_free;
        return 0;
}

/* "refused": its make says no, without saying where. */
static inline int refused_make(void *self, const struct aip_graph_node_spec *spec,
                               struct aip_node_options *options, aip_error **err)
{
        (void)self;
        (void)spec;
        (void)options;
        return aip_error_set(err, AIP_EINVAL, "no such thing");
}

/* "deep": refuses a member of a member. */
static inline int deep_make(void *self, const struct aip_graph_node_spec *spec,
                            struct aip_node_options *options, aip_error **err)
{
        (void)self;
        (void)options;
        return aip_graph_spec_error(spec, "a/b", err, "must be %d", 7);
}

static const char *const set_members[] = {"write", "fails", NULL};

static const struct aip_graph_node_type test_types[] = {
        {"set", set_make, set_members},
        {"refused", refused_make, NULL},
        {"deep", deep_make, NULL},
};

/* JSON with ' for ", so that it reads in C. */
static inline struct aip_str json_of(const char *text, char *room, size_t bytes)
{
        cr_assert_lt(strlen(text), bytes);
        size_t n = 0;
        for (; text[n]; n++)
                room[n] = text[n] == '\'' ? '"' : text[n];
        return aip_str_make(room, n);
}

static inline int document_of(const char *text, aip_graph_document **ret, aip_error **err)
{
        char room[8192];
        return aip_graph_document_parse(AIP_STR("test"), json_of(text, room, sizeof(room)), ret,
                                        err);
}

static inline int compile_document(const aip_graph_document *document, aip_graph **ret,
                                   aip_error **err)
{
        return aip_graph_document_compile(document, test_types, AIP_ARRAY_SIZE(test_types), NULL,
                                          ret, err);
}

#endif
