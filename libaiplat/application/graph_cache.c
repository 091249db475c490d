/* What nodes have written, kept for the next time (graph_cache.h). */
#include "graph_cache.h"
#include "graph/graph_image.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/id.h>
#include <stdio.h>

#define KEY_MAX_BYTES   (64u << 20) /* before it is hashed */
#define VALUE_MAX_BYTES (1u << 20)  /* of one task; longer ones are not kept */
#define LOOK_MS         500

#define PREFIX    "aiplat:node:"
#define KEY_BYTES (sizeof(PREFIX) - 1 + AIP_ID_TEXT_BYTES)

struct aip_graph_lookup {
        struct aip_graph_cache *all;
        aip_graph_task *task;
        struct aip_cache_get get;
        char key[KEY_BYTES]; /* "": the task is not kept */
        int is_found;
};

static const struct aip_node_cache *policy_of(const aip_graph_task *task)
{
        return &aip_graph_node_of(task)->options.cache;
}

/* ── keys ────────────────────────────────────────────────────────────────────────────────────── */

/* All that a node can read. */
static int print_input(const aip_graph_task *task, struct aip_buf *out, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *whole = aip_graph_image_whole(task->state);
        int r = whole ? aip_value_print(whole, out, err) : aip_error_set_nomem(err);

        return r < 0 || !task->input ? r : aip_value_print(task->input, out, err);
}

static int print_key(const struct aip_graph_cache *all, aip_graph_task *task, struct aip_buf *out)
{
        const struct aip_node_cache *policy = policy_of(task);
        _cleanup_(aip_error_free_p) aip_error *err = NULL;
        size_t at;
        int r = aip_buf_printf(out, "%.*s%c%s%c", AIP_STR_ARG(all->space), 0,
                               aip_graph_task_node(task), 0);

        at = out->n;
        if (r >= 0)
                r = policy->key ? policy->key(policy->user, task, out, &err)
                                : print_input(task, out, &err);
        return r < 0 || task->err || out->n == at ? AIP_EINVAL : 0;
}

/* The space and the node's key, hashed. */
static int make_key(struct aip_graph_lookup *look)
{
        static const struct aip_id space = {{0xa1, 0x91, 0xca}};
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(KEY_MAX_BYTES);
        char id[AIP_ID_TEXT_BYTES];
        struct aip_id hash;

        int r = print_key(look->all, look->task, &text);

        /* A key that reads what there is not is no failure of the task. */
        aip_error_free(AIP_TAKE(look->task->err));
        if (r < 0)
                return r;
        hash = aip_id_from_name(&space, aip_buf_str(&text));
        snprintf(look->key, sizeof(look->key), PREFIX "%s", aip_id_format(&hash, id));
        return 0;
}

/* ── looking ─────────────────────────────────────────────────────────────────────────────────── */

/* What cannot be used is as if it had not been found. */
static int use(struct aip_graph_lookup *look)
{
        _cleanup_(aip_value_unref_p) aip_value *said = NULL;

        return look->get.ret_is_hit &&
               aip_value_parse(aip_buf_str(&look->get.ret_value), &said, NULL) == 0 &&
               aip_value_type(said) == AIP_VALUE_OBJECT &&
               aip_graph_image_say(look->task, said, NULL) == 0;
}

static void answered(struct aip_op *op)
{
        struct aip_graph_lookup *look = AIP_CONTAINER_OF(op, struct aip_graph_lookup, get.op);

        look->is_found = !op->err && use(look);
        aip_error_free(AIP_TAKE(op->err));
        aip_buf_deinit(&look->get.ret_value);
        look->all->looked(look->all, look->task);
}

int aip_graph_cache_plan(struct aip_graph_cache *all, const struct aip_graph_state *state,
                         aip_error **err)
{
        int is_any = 0;

        for (uint32_t i = 0; all->cache.ops && i < state->n_tasks && !is_any; i++)
                is_any = policy_of(&state->tasks[i])->ttl_s > 0;
        if (!is_any)
                return 0;
        all->list = aip_calloc(state->n_tasks, sizeof(*all->list));
        if (!all->list)
                return aip_error_set_nomem(err);
        all->n = state->n_tasks;
        for (uint32_t i = 0; i < all->n; i++)
                all->list[i] = (struct aip_graph_lookup){.all = all, .task = &state->tasks[i]};
        return 0;
}

int aip_graph_cache_look(struct aip_graph_cache *all, aip_graph_task *task)
{
        struct aip_graph_lookup *look = all->list && policy_of(task)->ttl_s > 0
                                                ? &all->list[task - task->state->tasks]
                                                : NULL;

        /* One that goes on with an answer, or inside, has something else to say. */
        if (!look || task->answers || task->inside || make_key(look) < 0)
                return 0;
        look->get = (struct aip_cache_get){.op = {.done = answered}, .key = aip_str_of(look->key)};
        look->get.op.deadline_ms = aip_now_ms(all->loop) + LOOK_MS;
        aip_buf_init(&look->get.ret_value, VALUE_MAX_BYTES);
        all->cache.ops->get(all->cache.self, &look->get);
        return 1;
}

/* ── keeping ─────────────────────────────────────────────────────────────────────────────────── */

static int is_messages(const aip_graph_task *task, const aip_value *name)
{
        const aip_graph *graph = task->state->graph;
        uint32_t channel = aip_graph_find_channel(graph, aip_value_as_string(name), 0);

        return channel != AIP_GRAPH_NO_INDEX &&
               graph->channels[channel].options.kind == AIP_CHANNEL_MESSAGES;
}

static int begins_with(const aip_value *text, struct aip_str prefix)
{
        struct aip_str s = aip_value_as_string(text);

        return s.n > prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

/* Messages without the ids that the task has given them: written again they are new ones. NULL: out of memory. */
static aip_value *nameless(const aip_value *messages, struct aip_str prefix)
{
        _cleanup_(aip_value_unref_p) aip_value *list = aip_value_list();

        for (size_t i = 0; i < aip_value_size(messages); i++) {
                aip_value *message = aip_value_ref(aip_value_at(messages, i));
                if (begins_with(aip_value_get_cstr(message, "id"), prefix) &&
                    aip_value_object_remove(&message, AIP_STR("id")) < 0) {
                        aip_value_unref(message);
                        return NULL;
                }
                if (aip_value_list_append(&list, message) < 0)
                        return NULL;
        }
        return AIP_TAKE(list);
}

/* One write, [channel, value]; NULL: out of memory. */
static aip_value *new_write(const aip_graph_task *task, const aip_value *write,
                            struct aip_str prefix)
{
        const aip_value *name = aip_value_at(write, 0), *value = aip_value_at(write, 1);
        _cleanup_(aip_value_unref_p) aip_value *pair = NULL;

        if (!is_messages(task, name) || aip_value_type(value) != AIP_VALUE_LIST)
                return aip_value_ref(write);
        pair = aip_value_list();
        if (aip_value_list_append(&pair, aip_value_ref(name)) < 0 ||
            aip_value_list_append(&pair, nameless(value, prefix)) < 0)
                return NULL;
        return AIP_TAKE(pair);
}

/* What a task has said, good for another task of its node. */
static int generalize(const aip_graph_task *task, aip_value **said)
{
        const aip_value *writes = aip_value_get_cstr(*said, "writes");
        _cleanup_(aip_value_unref_p) aip_value *list = aip_value_list();
        char id[AIP_GRAPH_TASK_ID_BYTES + 1];

        aip_graph_task_id(task, id);
        strcat(id, ".");
        for (size_t i = 0; i < aip_value_size(writes); i++)
                if (aip_value_list_append(
                            &list, new_write(task, aip_value_at(writes, i), aip_str_of(id))) < 0)
                        return AIP_ENOMEM;
        if (aip_value_object_set_cstr(said, "writes", AIP_TAKE(list)) < 0)
                return AIP_ENOMEM;
        return aip_value_object_remove(said, AIP_STR("input"));
}

static int print_said(const aip_graph_task *task, struct aip_buf *out)
{
        _cleanup_(aip_value_unref_p) aip_value *said = aip_graph_image_task(task);

        if (!said || generalize(task, &said) < 0)
                return AIP_ENOMEM;
        return aip_value_print(said, out, NULL);
}

void aip_graph_cache_keep(struct aip_graph_cache *all, const aip_graph_task *task)
{
        const struct aip_graph_lookup *look =
                all->list ? &all->list[task - task->state->tasks] : NULL;
        _cleanup_(aip_buf_deinit) struct aip_buf said = AIP_BUF_INIT(VALUE_MAX_BYTES);

        if (!look || !look->key[0] || look->is_found || task->err || task->question ||
            task->n_asked > 0 || print_said(task, &said) < 0)
                return;
        all->cache.ops->put(all->cache.self, look->get.key, aip_buf_str(&said),
                            policy_of(task)->ttl_s);
}

void aip_graph_cache_release(struct aip_graph_cache *all)
{
        aip_free(AIP_TAKE(all->list));
        all->n = 0;
}
