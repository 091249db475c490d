/*
 * Interrupts: what tasks ask, and the answers with which they run again. Called by nodes through graph.h
 * and by the runner when all tasks of a step have finished.
 */
#include "graph/graph_step.h"
#include "macros.h"
#include <stdio.h>

/* Questions. */

const aip_value *aip_graph_task_interrupt(aip_graph_task *task, const aip_value *question)
{
        uint32_t nth = task->n_asked++;
        const aip_value *answer = aip_value_at(task->answers, nth);
        if (answer || task->question)
                return answer;
        task->question = question ? aip_value_ref(question) : aip_value_null();
        if (!task->question && !task->err)
                aip_error_set_nomem(&task->err);
        return NULL;
}

int aip_graph_is_interrupted(const struct aip_graph_state *state)
{
        if (state->held)
                return 1;
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                if (state->tasks[i].question)
                        return 1;
        }
        return 0;
}

/* "TASK:NTH". */
static void question_id(const aip_graph_task *task, char ret_id[AIP_GRAPH_TASK_ID_BYTES])
{
        char id[AIP_GRAPH_TASK_ID_BYTES];
        aip_graph_task_id(task, id);
        snprintf(ret_id, AIP_GRAPH_TASK_ID_BYTES, "%.300s:%zu", id, aip_value_size(task->answers));
}

/* NULL when out of memory. */
static aip_value *question_object(const aip_graph_task *task)
{
        char id[AIP_GRAPH_TASK_ID_BYTES];
        question_id(task, id);
        aip_value *object = aip_value_object();
        const char *node = aip_graph_task_node(task);
        if (object &&
            aip_value_object_set_cstr(&object, "id", aip_value_string(aip_str_of(id))) == 0 &&
            aip_value_object_set_cstr(&object, "node", aip_value_string(aip_str_of(node))) == 0 &&
            aip_value_object_set_cstr(&object, "value", aip_value_ref(task->question)) == 0)
                return object;
        aip_value_unref(object);
        return NULL;
}

aip_value *aip_graph_questions(const struct aip_graph_state *state)
{
        aip_value *list = aip_value_list();
        if (list && state->held && aip_value_list_append(&list, aip_value_ref(state->held)) < 0)
                aip_value_unref(AIP_TAKE(list));
        for (uint32_t i = 0; list && i < state->n_tasks; i++) {
                const aip_graph_task *task = &state->tasks[i];
                if (!task->question)
                        continue;
                if (aip_graph_task_is_subgraph(task))
                        aip_graph_inside_add_questions(task, &list);
                else if (aip_value_list_append(&list, question_object(task)) < 0)
                        aip_value_unref(AIP_TAKE(list));
        }
        return list;
}

/* Answers. */

/* Whether the list of questions has one of this id. */
static int has_question(const aip_value *questions, struct aip_str id)
{
        for (size_t i = 0; i < aip_value_size(questions); i++) {
                const aip_value *asked = aip_value_get_cstr(aip_value_at(questions, i), "id");
                if (aip_str_eq(aip_value_as_string(asked), id))
                        return 1;
        }
        return 0;
}

static int asks(const aip_graph_task *task, struct aip_str id)
{
        char asked[AIP_GRAPH_TASK_ID_BYTES];
        struct aip_str inside;
        if (!task->question)
                return 0;
        if (aip_graph_task_is_subgraph(task))
                return aip_graph_is_inside_name(task, id, &inside) &&
                       has_question(task->question, inside);
        question_id(task, asked);
        return aip_str_eq(id, aip_str_of(asked));
}

static aip_graph_task *find_asking(struct aip_graph_state *state, struct aip_str id)
{
        uint32_t i = 0;
        while (i < state->n_tasks && !asks(&state->tasks[i], id))
                i++;
        return i < state->n_tasks ? &state->tasks[i] : NULL;
}

static uint32_t count_questions(const aip_graph_task *task)
{
        if (!task->question)
                return 0;
        return aip_graph_task_is_subgraph(task) ? (uint32_t)aip_value_size(task->question) : 1;
}

/* The task runs again, with one answer more. */
static int answer_task(aip_graph_task *task, const aip_value *answer, aip_error **err)
{
        if (!task->answers && !(task->answers = aip_value_list()))
                return aip_error_set_nomem(err);
        aip_value *owned = answer ? aip_value_ref(answer) : aip_value_null();
        if (aip_value_list_append(&task->answers, owned) < 0)
                return aip_error_set_nomem(err);
        aip_graph_task_reset(task);
        return 0;
}

/* Whether each member of the object is the id of an open question. */
static int are_by_id(struct aip_graph_state *state, const aip_value *answers)
{
        size_t n = aip_value_size(answers);
        if (aip_value_type(answers) != AIP_VALUE_OBJECT || n == 0)
                return 0;
        for (size_t i = 0; i < n; i++) {
                struct aip_str id;
                (void)aip_value_member(answers, i, &id);
                if (!find_asking(state, id))
                        return 0;
        }
        return 1;
}

/* The same for the question of this id, which the task, or what runs inside it, asks. A subgraph that asks
 * several is answered several times before it runs again. */
static int answer_question(aip_graph_task *task, struct aip_str id, const aip_value *answer,
                           aip_error **err)
{
        struct aip_str inside;
        if (!aip_graph_task_is_subgraph(task))
                return answer_task(task, answer, err);
        return aip_graph_is_inside_name(task, id, &inside)
                       ? aip_graph_inside_answer(task, inside, answer, err)
                       : 0;
}

/* Those that got answers run again. */
static void plan_answered(struct aip_graph_state *state)
{
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                aip_graph_task *task = &state->tasks[i];
                if (!task->question || !task->inside || !task->inside->answers)
                        continue;
                aip_value_unref(AIP_TAKE(task->question));
                task->phase = AIP_TASK_PLANNED;
                task->is_saved = 0;
        }
}

static int answer_by_id(struct aip_graph_state *state, const aip_value *answers, aip_error **err)
{
        size_t n = aip_value_size(answers);
        int code = 0;
        for (size_t i = 0; code == 0 && i < n; i++) {
                struct aip_str id;
                const aip_value *answer = aip_value_member(answers, i, &id);
                if (aip_graph_is_halted_by(state, id)) {
                        aip_value_unref(AIP_TAKE(state->held));
                        continue;
                }
                aip_graph_task *task = find_asking(state, id);
                code = task ? answer_question(task, id, answer, err) : 0;
        }
        plan_answered(state);
        return code;
}

int aip_graph_answer_open(struct aip_graph_state *state, const aip_value *answers, aip_error **err)
{
        if (aip_value_type(answers) != AIP_VALUE_OBJECT)
                return aip_error_set(err, AIP_EINVAL, "answers by id are an object");
        return answer_by_id(state, answers, err);
}

/* The only question of a task. */
static int answer_only(struct aip_graph_state *state, aip_graph_task *task, const aip_value *answer,
                       aip_error **err)
{
        if (!aip_graph_task_is_subgraph(task))
                return answer_task(task, answer, err);
        const aip_value *id = aip_value_get_cstr(aip_value_at(task->question, 0), "id");
        int code = aip_graph_inside_answer(task, aip_value_as_string(id), answer, err);
        plan_answered(state);
        return code;
}

int aip_graph_answer(struct aip_graph_state *state, const aip_value *answers, aip_error **err)
{
        aip_graph_task *only = NULL;
        uint32_t n = 0;
        if (state->held) { /* between two steps no task asks */
                aip_value_unref(AIP_TAKE(state->held));
                return 0;
        }
        for (uint32_t i = 0; i < state->n_tasks; i++) {
                uint32_t n_asked = count_questions(&state->tasks[i]);
                if (n_asked > 0 && n == 0)
                        only = &state->tasks[i];
                n += n_asked;
        }
        if (n == 0)
                return aip_error_set(err, AIP_ESTATE, "the run waits for no answer");
        if (are_by_id(state, answers))
                return answer_by_id(state, answers, err);
        if (n == 1)
                return answer_only(state, only, answers, err);
        return aip_error_set(err, AIP_EINVAL,
                             "%u questions are open: give an object with an answer for each, under "
                             "the question's id",
                             n);
}
