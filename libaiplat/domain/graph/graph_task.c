/*
 * What a node may do with its task (graph.h): read the state as it was when the step began, write
 * channels, say where to go on, and finish. Everything it says is kept apart until the step is merged;
 * what it does wrong is kept too, and fails the task when it has finished.
 */
#include "graph/graph_step.h"
#include "graph/messages.h"
#include "macros.h"
#include "mem.h"
#include <stdio.h>

aip_graph_task aip_graph_task_make(struct aip_graph_state *state, uint32_t node, aip_value *input)
{
        return (struct aip_graph_task){.state = state, .node = node, .input = input};
}

/* Errors. */

int aip_graph_fail_at(const struct aip_graph_state *state, uint32_t node, aip_error *cause,
                      aip_error **err)
{
        int code = aip_error_code(cause);
        const char *message = aip_error_message(cause);
        if (node == state->graph->n_nodes)
                return aip_error_wrap(err, cause, code, "input: %s", message);
        return aip_error_wrap(err, cause, code, "node \"%s\": %s", state->graph->nodes[node].name,
                              message);
}

/* Keep the first thing that went wrong in a task. */
static void keep_error(aip_graph_task *task, aip_error *err)
{
        if (task->err)
                aip_error_free(err);
        else
                task->err = err;
}

static void keep_nomem(aip_graph_task *task)
{
        if (!task->err)
                aip_error_set_nomem(&task->err);
}

void aip_graph_fail_channel(const struct aip_graph_state *state, const char *channel,
                            uint32_t index, aip_error **err)
{
        if (*err)
                return;
        if (channel)
                aip_error_set(err, AIP_EINVAL, "the graph has no channel \"%s\"", channel);
        else
                aip_error_set(err, AIP_EINVAL, "the graph has no channel %u, it has %u", index,
                              state->graph->n_channels);
        aip_error_set_kind(*err, AIP_GRAPH_INVALID_UPDATE);
}

/* Reading. */

static uint32_t find(const struct aip_graph_state *state, const char *channel)
{
        return aip_graph_find_channel(state->graph, aip_str_of(channel), 0);
}

const aip_value *aip_graph_task_get_at(aip_graph_task *task, uint32_t channel)
{
        struct aip_graph_state *state = task->state;
        if (channel < state->graph->n_channels)
                return state->slots[channel].value;
        aip_graph_fail_channel(state, NULL, channel, &task->err);
        return NULL;
}

const aip_value *aip_graph_task_get(aip_graph_task *task, const char *channel)
{
        uint32_t index = find(task->state, channel);
        if (index != AIP_GRAPH_NO_INDEX)
                return task->state->slots[index].value;
        aip_graph_fail_channel(task->state, channel, 0, &task->err);
        return NULL;
}

void *aip_graph_task_context(const aip_graph_task *task)
{
        return task->state->context;
}

const char *aip_graph_task_node(const aip_graph_task *task)
{
        return aip_graph_source_name(task->state->graph, task->node);
}

int32_t aip_graph_task_step(const aip_graph_task *task)
{
        return task->state->step;
}

uint32_t aip_graph_task_attempt(const aip_graph_task *task)
{
        return task->n_attempts;
}

void *aip_graph_task_memory(const aip_graph_task *task)
{
        return task->memory;
}

struct aip_loop aip_graph_task_loop(const aip_graph_task *task)
{
        const struct aip_graph_host *host = task->state->host;
        return host ? host->loop : (struct aip_loop){NULL, NULL};
}

int64_t aip_graph_task_deadline_ms(const aip_graph_task *task)
{
        const struct aip_graph_host *host = task->state->host;
        return host ? host->deadline_ms : 0;
}

const aip_value *aip_graph_task_input(const aip_graph_task *task)
{
        return task->input;
}

/* Writing. */

/* `value` is consumed always. */
static void push_write(aip_graph_task *task, uint32_t channel, int is_overwrite, aip_value *value)
{
        struct aip_graph_state *state = task->state;
        struct aip_graph_write *writes =
                aip_graph_make_room(state->writes, state->n_writes, &state->writes_capacity,
                                    AIP_GRAPH_INLINE_WRITES, sizeof(*writes));
        if (writes)
                state->writes = writes;
        if (!value || !writes) {
                aip_value_unref(value);
                keep_nomem(task);
                return;
        }
        writes[state->n_writes++] = (struct aip_graph_write){
                .value = value, .channel = channel, .is_overwrite = is_overwrite != 0};
        if (task->last_write)
                writes[task->last_write - 1].next = state->n_writes;
        else
                task->first_write = state->n_writes;
        task->last_write = state->n_writes;
}

/* The same of a run inside another: its messages may come to be among those of the run around. */
static aip_value *name_inside(aip_graph_task *task, const char *prefix, aip_value *value,
                              aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf whole = AIP_BUF_INIT(1 << 16);
        aip_value *named = NULL;
        if (aip_buf_append_cstr(&whole, task->state->ns) < 0 ||
            aip_buf_append_cstr(&whole, prefix) < 0)
                aip_error_set_nomem(err);
        else
                (void)aip_messages_normalize(value, aip_buf_str(&whole).p, &named, err);
        return named;
}

/* Messages get their ids here, where it is known who writes them: of the task, the write and n. */
static aip_value *name_messages(aip_graph_task *task, aip_value *value)
{
        struct aip_graph_state *state = task->state;
        uint32_t nth = 0;
        for (uint32_t at = task->first_write; at; at = state->writes[at - 1].next)
                nth++;
        char id[AIP_GRAPH_TASK_ID_BYTES], prefix[AIP_GRAPH_TASK_ID_BYTES];
        aip_graph_task_id(task, id);
        snprintf(prefix, sizeof(prefix), "%.200s.%u", id, nth);
        aip_value *named = NULL;
        aip_error *err = NULL;
        if (task->state->ns)
                named = name_inside(task, prefix, value, &err);
        else
                (void)aip_messages_normalize(value, prefix, &named, &err);
        if (err)
                keep_error(task, err);
        aip_value_unref(value);
        return named;
}

/* `value` is consumed always. */
static void add_write(aip_graph_task *task, uint32_t channel, int is_overwrite, aip_value *value)
{
        if (value && task->state->graph->channels[channel].options.kind == AIP_CHANNEL_MESSAGES) {
                value = name_messages(task, value);
                if (!value)
                        return;
        }
        push_write(task, channel, is_overwrite, value);
}

/* The value that an overwrite written as an object has; NULL: it is none. */
static const aip_value *overwrite_of(const aip_value *value)
{
        return aip_value_type(value) == AIP_VALUE_OBJECT && aip_value_size(value) == 1
                       ? aip_value_get_cstr(value, AIP_GRAPH_OVERWRITE)
                       : NULL;
}

/* `value` is consumed always. */
static void write_any(aip_graph_task *task, uint32_t channel, aip_value *value)
{
        const aip_value *instead = overwrite_of(value);
        if (!instead) {
                add_write(task, channel, 0, value);
                return;
        }
        add_write(task, channel, 1, aip_value_ref(instead));
        aip_value_unref(value);
}

void aip_graph_task_write_at(aip_graph_task *task, uint32_t channel, aip_value *value)
{
        if (channel < task->state->graph->n_channels) {
                write_any(task, channel, value);
                return;
        }
        aip_value_unref(value);
        aip_graph_fail_channel(task->state, NULL, channel, &task->err);
}

void aip_graph_task_write(aip_graph_task *task, const char *channel, aip_value *value)
{
        uint32_t index = find(task->state, channel);
        if (index != AIP_GRAPH_NO_INDEX) {
                write_any(task, index, value);
                return;
        }
        aip_value_unref(value);
        aip_graph_fail_channel(task->state, channel, 0, &task->err);
}

void aip_graph_task_overwrite(aip_graph_task *task, const char *channel, aip_value *value)
{
        uint32_t index = find(task->state, channel);
        if (index != AIP_GRAPH_NO_INDEX) {
                add_write(task, index, 1, value);
                return;
        }
        aip_value_unref(value);
        aip_graph_fail_channel(task->state, channel, 0, &task->err);
}

static void fail_update_type(aip_graph_task *task, const aip_value *update)
{
        if (task->err)
                return;
        aip_error_set(&task->err, AIP_EINVAL,
                      "an update is an object with one member a channel, not a value of type %s",
                      aip_value_type_name(aip_value_type(update)));
        aip_error_set_kind(task->err, AIP_GRAPH_INVALID_UPDATE);
}

static void fail_update_channel(aip_graph_task *task, struct aip_str channel)
{
        if (task->err)
                return;
        aip_error_set(&task->err, AIP_EINVAL,
                      "the update has a member \"%.*s\", but the graph has no such channel",
                      AIP_STR_ARG(channel));
        aip_error_set_kind(task->err, AIP_GRAPH_INVALID_UPDATE);
}

/* An update object's members become writes, in order. */
void aip_graph_write_object(aip_graph_task *task, const aip_value *update)
{
        if (aip_value_type(update) != AIP_VALUE_OBJECT) {
                fail_update_type(task, update);
                return;
        }
        size_t n = aip_value_size(update);
        uint32_t hint = 0;
        for (size_t i = 0; i < n && !task->err; i++) {
                struct aip_str key;
                const aip_value *member = aip_value_member(update, i, &key);
                uint32_t channel = aip_graph_find_channel(task->state->graph, key, hint);
                if (channel == AIP_GRAPH_NO_INDEX)
                        fail_update_channel(task, key);
                else
                        write_any(task, channel, aip_value_ref(member));
                hint = channel + 1;
        }
}

void aip_graph_take_back(aip_graph_task *task)
{
        task->first_write = task->last_write = task->first_jump = task->last_jump = 0;
        task->is_leaving = 0;
        aip_value_unref(AIP_TAKE(task->up));
        aip_error_free(AIP_TAKE(task->err));
}

/* The node is done with its task. `update` and `err` are consumed always. */
static void conclude(aip_graph_task *task, aip_value *update, aip_error *err)
{
        task->phase = AIP_TASK_FINISHED;
        if (task->question) {
                aip_graph_take_back(task);
                aip_error_free(err);
        } else if (err)
                keep_error(task, err);
        else if (update)
                aip_graph_write_object(task, update);
        aip_value_unref(update);
}

int aip_graph_task_is_async(const aip_graph_task *task)
{
        return aip_graph_node_of(task)->options.run == NULL;
}

void aip_graph_task_run(aip_graph_task *task)
{
        const struct aip_node_options *options = &aip_graph_node_of(task)->options;
        aip_value *update = NULL;
        aip_error *err = NULL;
        if (options->task_bytes) {
                task->memory = aip_calloc(1, options->task_bytes);
                if (!task->memory)
                        aip_error_set_nomem(&err);
        }
        task->phase = AIP_TASK_RUNNING;
        task->n_attempts++;
        int code = err ? 0 : options->run(options->user, task, &update, &err);
        if (code != 0 && !err)
                aip_error_set(&err, code < 0 ? code : AIP_EINTERNAL,
                              "the function failed with %d (%s)", code, aip_error_code_name(code));
        conclude(task, update, err);
}

void aip_graph_task_begin(aip_graph_task *task)
{
        const struct aip_node_options *options = &aip_graph_node_of(task)->options;
        task->phase = AIP_TASK_RUNNING;
        task->n_attempts++;
        if (options->task_bytes) {
                task->memory = aip_calloc(1, options->task_bytes);
                if (!task->memory) {
                        aip_error *err = NULL;
                        aip_error_set_nomem(&err);
                        aip_graph_task_finish(task, NULL, err);
                        return;
                }
        }
        if (options->start)
                options->start(options->user, task);
        else
                task->state->host->begin_inside(task->state->host, task);
}

void aip_graph_task_finish(aip_graph_task *task, aip_value *update, aip_error *err)
{
        if (task->phase != AIP_TASK_RUNNING || !aip_graph_task_is_async(task)) {
                aip_value_unref(update);
                aip_error_free(err);
                return;
        }
        conclude(task, update, err);
        task->state->host->finished(task->state->host, task);
}

void aip_graph_task_cancel(aip_graph_task *task)
{
        if (task->phase != AIP_TASK_RUNNING || task->is_cancelled)
                return;
        task->is_cancelled = 1;
        const struct aip_node_options *options = &aip_graph_node_of(task)->options;
        if (options->cancel)
                options->cancel(options->user, task);
        else
                task->state->host->cancel_inside(task->state->host, task);
}

void aip_graph_task_progress(aip_graph_task *task)
{
        struct aip_graph_host *host = task->state->host;
        if (host && task->phase == AIP_TASK_RUNNING)
                host->progressed(host, task);
}

void aip_graph_task_emit(aip_graph_task *task, const aip_value *value)
{
        struct aip_graph_host *host = task->state->host;
        if (host && host->emitted && task->phase == AIP_TASK_RUNNING)
                host->emitted(host, task, value);
}

void aip_graph_task_reset(aip_graph_task *task)
{
        aip_graph_take_back(task);
        aip_value_unref(AIP_TAKE(task->question));
        aip_free(AIP_TAKE(task->memory));
        aip_graph_inside_free(task);
        task->n_asked = 0;
        task->phase = AIP_TASK_PLANNED;
        task->is_cancelled = task->is_saved = 0;
}

void aip_graph_task_handle_error(aip_graph_task *task)
{
        const struct aip_node_options *options = &aip_graph_node_of(task)->options;
        if (!task->err || !options->on_error)
                return;
        aip_error *failure = AIP_TAKE(task->err), *err = NULL;
        aip_value *update = NULL;
        aip_graph_take_back(task);
        int code = options->on_error(options->user, task, failure, &update, &err);
        if (code != 0 && !err)
                aip_error_set(&err, code < 0 ? code : AIP_EINTERNAL,
                              "the error handler failed with %d (%s)", code,
                              aip_error_code_name(code));
        conclude(task, update, err);
        aip_error_free(failure);
}

void aip_graph_task_id(const aip_graph_task *task, char ret_id[AIP_GRAPH_TASK_ID_BYTES])
{
        const struct aip_graph_state *state = task->state;
        const char *node = aip_graph_source_name(state->graph, task->node);
        if (task->input)
                snprintf(ret_id, AIP_GRAPH_TASK_ID_BYTES, "%d:%s:%u", state->step, node,
                         (unsigned)(task - state->tasks));
        else
                snprintf(ret_id, AIP_GRAPH_TASK_ID_BYTES, "%d:%s", state->step, node);
}
