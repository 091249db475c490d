/*
 * "wait": goes on after a while. {"seconds": EXPRESSION or a number}. The job keeps its slot meanwhile; one
 * whose worker dies waits again from the start.
 */
#include "agent/agent_node.h"

#define MAX_SECONDS (24 * 3600)

struct wait {
        aip_graph_document *document;
        aip_expression *seconds; /* or a number: */
        double fixed;
};

struct waiting {
        struct aip_timer timer;
        aip_graph_task *task;
};

static void over(struct aip_timer *timer)
{
        aip_graph_task_finish(AIP_CONTAINER_OF(timer, struct waiting, timer)->task, NULL, NULL);
}

static int seconds_of(const struct wait *node, aip_graph_task *task, double *ret_seconds,
                      aip_error **err)
{
        struct aip_node_sight sight = {0};
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        int r;

        *ret_seconds = node->fixed;
        if (!node->seconds)
                return 0;
        r = aip_node_look(node->document, task, &sight, err);
        if (r == 0) {
                const aip_value *variables[] = {sight.item};
                r = aip_expression_eval(node->seconds, sight.state, variables, &value, err);
        }
        aip_node_sight_deinit(&sight);
        *ret_seconds = aip_value_as_double(value, -1);
        return r;
}

static void wait_start(void *user, aip_graph_task *task)
{
        struct waiting *waiting = aip_graph_task_memory(task);
        aip_error *err = NULL;
        double seconds;

        waiting->task = task;
        if (seconds_of(user, task, &seconds, &err) == 0 &&
            !(seconds >= 0 && seconds <= MAX_SECONDS))
                aip_error_set(&err, AIP_EINVAL, "seconds must be a number from 0 to %d",
                              MAX_SECONDS);
        if (err) {
                aip_graph_task_finish(task, NULL, err);
                return;
        }
        waiting->timer.fire = over;
        aip_timer_set(aip_graph_task_loop(task), &waiting->timer, (int64_t)(seconds * 1000));
}

static void wait_cancel(void *user, aip_graph_task *task)
{
        struct waiting *waiting = aip_graph_task_memory(task);
        aip_error *err = NULL;

        (void)user;
        aip_timer_clear(aip_graph_task_loop(task), &waiting->timer);
        aip_error_set(&err, AIP_ECANCELLED, "cancelled while it waited");
        aip_graph_task_finish(task, NULL, err);
}

static void wait_free(void *user)
{
        struct wait *node = user;

        aip_expression_unref(node->seconds);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(void *, wait_free);

static int read_seconds(struct wait *node, const struct aip_graph_node_spec *spec, aip_error **err)
{
        const aip_value *seconds = aip_value_get_cstr(spec->fields, "seconds");

        if (aip_value_type(seconds) == AIP_VALUE_STRING)
                return aip_graph_spec_expression(spec, "seconds", NULL, 0, &node->seconds, err);
        node->fixed = aip_value_as_double(seconds, -1);
        if (node->fixed >= 0 && node->fixed <= MAX_SECONDS)
                return 0;
        return aip_graph_spec_error(spec, "seconds", err,
                                    "must be a number from 0 to %d, or an expression", MAX_SECONDS);
}

static int wait_make(void *self, const struct aip_graph_node_spec *spec,
                     struct aip_node_options *options, aip_error **err)
{
        struct wait *node = aip_calloc(1, sizeof(*node));
        _cleanup_(wait_free_p) void *kept = node;
        int r;

        (void)self;
        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        if ((r = read_seconds(node, spec, err)) < 0)
                return r;
        options->start = wait_start;
        options->cancel = wait_cancel;
        options->task_bytes = sizeof(struct waiting);
        options->free_user = wait_free;
        options->user = AIP_TAKE(kept);
        return 0;
}

static const char *const members[] = {"seconds", NULL};

const struct aip_graph_node_type aip_wait_node = {"wait", wait_make, members};
