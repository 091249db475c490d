/* What the tests of graphs share: JSON literals as values, comparison by JSON. Needs criterion.h.
 */
#ifndef TESTS_SUPPORT_GRAPH_FIXTURE_H
#define TESTS_SUPPORT_GRAPH_FIXTURE_H

#include <aiplat/graph.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Owned by caller. */
static inline aip_value *value_of(const char *json)
{
        aip_value *value = NULL;
        aip_error *err = NULL;
        cr_assert_eq(aip_value_parse(aip_str_of(json), &value, &err), 0, "%s: %s", json,
                     aip_error_message(err));
        return value;
}

/* `value` is consumed always. */
static inline void assert_value(aip_value *value, const char *json, const char *what)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 20);
        aip_value *expected = value_of(json);
        cr_assert_eq(aip_value_print(value, &text, NULL), 0);
        cr_assert(aip_value_equal(value, expected), "%s: got %s, expected %s", what, text.p, json);
        aip_buf_deinit(&text);
        aip_value_unref(expected);
        aip_value_unref(value);
}

/* `err` is consumed always. Its code is `code` and its message contains `text`. */
static inline void assert_error(aip_error *err, int code, const char *text, const char *what)
{
        cr_assert_not_null(err, "%s: no error, expected: %s", what, text);
        cr_assert_eq(aip_error_code(err), code, "%s: code %d, expected %d: %s", what,
                     aip_error_code(err), code, aip_error_message(err));
        cr_assert_not_null(strstr(aip_error_message(err), text), "%s: says \"%s\", expected \"%s\"",
                           what, aip_error_message(err), text);
        aip_error_free(err);
}

/* A node that writes the JSON object given as its user pointer. */
static inline int write_json(void *user, aip_graph_task *task, aip_value **ret_update,
                             aip_error **err)
{
        (void)task;
        return aip_value_parse(aip_str_of(user), ret_update, err);
}

static inline int do_nothing(void *user, aip_graph_task *task, aip_value **ret_update,
                             aip_error **err)
{
        (void)user;
        (void)task;
        (void)ret_update;
        (void)err;
        return 0;
}

/* A router that goes where its user pointer says. */
static inline int go_to(void *user, aip_graph_route *route, aip_error **err)
{
        (void)err;
        aip_graph_route_to(route, user);
        return 0;
}

/* add_router with up to two targets. */
static inline void add_router(aip_graph_builder *builder, const char *from, aip_graph_router route,
                              void *user, const char *first, const char *second)
{
        const char *targets[] = {first, second};
        struct aip_router_options options = AIP_ROUTER_OPTIONS_INIT;
        options.route = route;
        options.user = user;
        options.targets = targets;
        options.n_targets = second ? 2 : 1;
        aip_graph_builder_add_router(builder, from, &options);
}

/* Must compile. */
static inline aip_graph *compile(aip_graph_builder *builder)
{
        aip_graph *graph = NULL;
        aip_error *err = NULL;
        cr_assert_eq(aip_graph_compile(builder, &graph, &err), 0, "%s", aip_error_message(err));
        return graph;
}

#endif
