/*
 * Subgraphs, as the run around them sees them: the names of what is inside a task, its questions and
 * answers, and the Commands that nodes inside have for the run around (graph.h). Called by the core and by
 * the runner, which runs what is inside (application/graph_subrun.c). Nothing runs here.
 *
 * A Command to the parent is a list: ["write", CHANNEL, VALUE], ["goto", NODE] or ["send", NODE, INPUT].
 */
#include "graph/graph_step.h"
#include "macros.h"
#include "mem.h"
#include <stdio.h>

struct aip_graph_inside *aip_graph_inside_of(aip_graph_task *task)
{
        if (!task->inside)
                task->inside = aip_calloc(1, sizeof(*task->inside));
        return task->inside;
}

void aip_graph_inside_free(aip_graph_task *task)
{
        struct aip_graph_inside *inside = AIP_TAKE(task->inside);
        if (!inside)
                return;
        aip_value_unref(inside->image);
        aip_value_unref(inside->answers);
        aip_value_unref(inside->piece);
        aip_free(inside);
}

/* Names. */

void aip_graph_namespace(const aip_graph_task *task, char ret_ns[AIP_GRAPH_NAMESPACE_BYTES])
{
        char id[AIP_GRAPH_TASK_ID_BYTES];
        aip_graph_task_id(task, id);
        snprintf(ret_ns, AIP_GRAPH_NAMESPACE_BYTES, "%.255s:%s", aip_graph_task_node(task), id);
}

aip_value *aip_graph_inside_name(const aip_graph_task *task, struct aip_str text)
{
        char ns[AIP_GRAPH_NAMESPACE_BYTES];
        _cleanup_(aip_buf_deinit) struct aip_buf name = AIP_BUF_INIT(1 << 16);
        aip_graph_namespace(task, ns);
        if (aip_buf_append_cstr(&name, ns) < 0 || aip_buf_append_char(&name, '|') < 0 ||
            aip_buf_append(&name, text) < 0)
                return NULL;
        return aip_value_string(aip_buf_str(&name));
}

int aip_graph_is_inside_name(const aip_graph_task *task, struct aip_str name,
                             struct aip_str *ret_text)
{
        char ns[AIP_GRAPH_NAMESPACE_BYTES];
        aip_graph_namespace(task, ns);
        size_t n = strlen(ns);
        if (name.n <= n || memcmp(name.p, ns, n) != 0 || name.p[n] != '|')
                return 0;
        *ret_text = aip_str_make(name.p + n + 1, name.n - n - 1);
        return 1;
}

/* Questions. */

void aip_graph_inside_ask(aip_graph_task *task, aip_value *questions, aip_value *image)
{
        struct aip_graph_inside *inside = aip_graph_inside_of(task);
        if (!inside || !questions || !image) {
                aip_value_unref(questions);
                aip_value_unref(image);
                if (!task->err)
                        aip_error_set_nomem(&task->err);
                return;
        }
        aip_value_unref(inside->image);
        inside->image = image;
        aip_value_unref(AIP_TAKE(inside->answers));
        task->question = questions;
}

int aip_graph_inside_answer(aip_graph_task *task, struct aip_str id, const aip_value *answer,
                            aip_error **err)
{
        struct aip_graph_inside *inside = aip_graph_inside_of(task);
        if (inside && !inside->answers)
                inside->answers = aip_value_object();
        if (!inside || !inside->answers)
                return aip_error_set_nomem(err);
        aip_value *owned = answer ? aip_value_ref(answer) : aip_value_null();
        return aip_value_object_set(&inside->answers, id, owned) < 0 ? aip_error_set_nomem(err) : 0;
}

/* The question as the run around tells it; NULL when out of memory. */
static aip_value *renamed(const aip_graph_task *task, const aip_value *question)
{
        aip_value *copy = aip_value_ref(question);
        struct aip_str id = aip_value_as_string(aip_value_get_cstr(question, "id"));
        if (aip_value_object_set_cstr(&copy, "id", aip_graph_inside_name(task, id)) < 0)
                aip_value_unref(AIP_TAKE(copy));
        return copy;
}

void aip_graph_inside_add_questions(const aip_graph_task *task, aip_value **list)
{
        for (size_t i = 0; *list && i < aip_value_size(task->question); i++) {
                const aip_value *question = aip_value_at(task->question, i);
                if (aip_value_type(question) != AIP_VALUE_OBJECT)
                        continue; /* of a node that was no subgraph then: nobody can answer it */
                if (aip_value_list_append(list, renamed(task, question)) < 0)
                        aip_value_unref(AIP_TAKE(*list));
        }
}

/* Commands to the parent. */

/* `value` is consumed always; NULL is out of memory, unless there is to be none. */
static void say_up(aip_graph_task *task, const char *what, const char *name, int has_value,
                   aip_value *value)
{
        if (!task->state->ns) {
                aip_value_unref(value);
                if (!task->err) {
                        aip_error_set(&task->err, AIP_EINVAL,
                                      "it has a Command for the parent graph, and there is none");
                        aip_error_set_kind(task->err, AIP_GRAPH_INVALID_ROUTE);
                }
                return;
        }
        aip_value *up = aip_value_list();
        int code = up ? aip_value_list_append(&up, aip_value_string(aip_str_of(what))) : AIP_ENOMEM;
        if (code == 0)
                code = aip_value_list_append(&up, aip_value_string(aip_str_of(name)));
        if (code == 0 && has_value)
                code = aip_value_list_append(&up, AIP_TAKE(value));
        if (code == 0 && !task->up && !(task->up = aip_value_list()))
                code = AIP_ENOMEM;
        if (code == 0)
                code = aip_value_list_append(&task->up, AIP_TAKE(up));
        if (code < 0 && !task->err)
                aip_error_set_nomem(&task->err);
        aip_value_unref(up);
        aip_value_unref(value);
}

void aip_graph_task_parent_write(aip_graph_task *task, const char *channel, aip_value *value)
{
        say_up(task, "write", channel, 1, value);
}

void aip_graph_task_parent_goto(aip_graph_task *task, const char *target)
{
        say_up(task, "goto", target, 0, NULL);
}

void aip_graph_task_parent_send(aip_graph_task *task, const char *target, aip_value *input)
{
        say_up(task, "send", target, 1, input);
}

int aip_graph_gather_ups(struct aip_graph_state *state, aip_error **err)
{
        int code = 0;
        for (uint32_t i = 0; code == 0 && i < state->n_tasks; i++) {
                const aip_value *up = state->tasks[i].up;
                if (up && !state->ups && !(state->ups = aip_value_list()))
                        code = AIP_ENOMEM;
                for (size_t j = 0; code == 0 && j < aip_value_size(up); j++)
                        code = aip_value_list_append(&state->ups,
                                                     aip_value_ref(aip_value_at(up, j)));
        }
        return code < 0 ? aip_error_set_nomem(err) : 0;
}

void aip_graph_take_ups(aip_graph_task *task, const aip_value *ups)
{
        char name[256];
        for (size_t i = 0; i < aip_value_size(ups) && !task->err; i++) {
                const aip_value *up = aip_value_at(ups, i), *value = aip_value_at(up, 2);
                struct aip_str what = aip_value_as_string(aip_value_at(up, 0));
                struct aip_str to = aip_value_as_string(aip_value_at(up, 1));
                snprintf(name, sizeof(name), "%.*s", AIP_STR_ARG(to));
                if (aip_str_eq(what, AIP_STR("write")))
                        aip_graph_task_write(task, name, aip_value_ref(value));
                else if (aip_str_eq(what, AIP_STR("send")))
                        aip_graph_task_send(task, name, aip_value_ref(value));
                else
                        aip_graph_task_goto(task, name);
        }
}
