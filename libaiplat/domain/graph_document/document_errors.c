/*
 * "on_error" of a graph document's nodes: when a node's last attempt has failed, the run goes on at another
 * node, in place of where the node's edges lead. Done by standing between the engine and what the node's
 * type has made: the type knows nothing of it. Never handles a lack of memory, which is the process's trouble
 * and not the node's: the run fails, and may be tried again elsewhere.
 */
#include "graph_document/document_impl.h"
#include "macros.h"
#include "mem.h"

struct guarded {
        struct aip_node_options inner; /* as the type has made them, but for `targets` */
        aip_graph_document *document;  /* a reference */
        const char *to;
        aip_graph_writes *writes;
        const char *targets[]; /* the node's own, and `to` */
};

static void guarded_free(void *user)
{
        struct guarded *g = user;
        if (g->inner.free_user)
                g->inner.free_user(g->inner.user);
        aip_graph_writes_free(g->writes);
        aip_graph_document_unref(g->document);
        aip_free(g);
}

static int run(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const struct guarded *g = user;
        return g->inner.run(g->inner.user, task, ret_update, err);
}

static void start(void *user, aip_graph_task *task)
{
        const struct guarded *g = user;
        g->inner.start(g->inner.user, task);
}

static void cancel(void *user, aip_graph_task *task)
{
        const struct guarded *g = user;
        g->inner.cancel(g->inner.user, task);
}

static int find_subgraph(void *user, aip_graph_task *task, struct aip_subgraph *ret_subgraph,
                         aip_error **err)
{
        const struct guarded *g = user;
        return g->inner.find_subgraph(g->inner.user, task, ret_subgraph, err);
}

static int enter(void *user, aip_graph_task *task, aip_value **ret_input, aip_error **err)
{
        const struct guarded *g = user;
        return g->inner.enter(g->inner.user, task, ret_input, err);
}

static int leave(void *user, aip_graph_task *task, const aip_value *state, aip_value **ret_update,
                 aip_error **err)
{
        const struct guarded *g = user;
        return g->inner.leave(g->inner.user, task, state, ret_update, err);
}

static int is_retryable(void *user, const aip_error *error)
{
        const struct guarded *g = user;
        return g->inner.retry.is_retryable(g->inner.user, error);
}

/* {"kind", "message", "node"}, owned by caller; NULL when out of memory. */
static aip_value *describe(const aip_graph_task *task, const aip_error *error)
{
        _cleanup_(aip_value_unref_p) aip_value *object = aip_value_object();
        const char *kind = aip_error_kind(error), *message = aip_error_message(error);
        if (!object ||
            aip_value_object_set_cstr(&object, "kind", aip_value_string(aip_str_of(kind))) < 0 ||
            aip_value_object_set_cstr(&object, "message", aip_value_string(aip_str_of(message))) <
                    0 ||
            aip_value_object_set_cstr(&object, "node",
                                      aip_value_string(aip_str_of(aip_graph_task_node(task)))) < 0)
                return NULL;
        return AIP_TAKE(object);
}

static int write_error(const struct guarded *g, aip_graph_task *task, const aip_error *error,
                       aip_value **update, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *description = describe(task, error);
        _cleanup_(aip_value_unref_p) aip_value *state = NULL;
        const aip_value *variables[] = {aip_graph_task_input(task), description};
        if (!description)
                return aip_error_set_nomem(err);
        int r = aip_graph_document_task_state(g->document, task, &state, err);
        return r < 0 ? r : aip_graph_writes_eval(g->writes, state, variables, update, err);
}

static int handle(void *user, aip_graph_task *task, const aip_error *error, aip_value **ret_update,
                  aip_error **err)
{
        const struct guarded *g = user;
        if (aip_error_code(error) == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        int r = g->writes ? write_error(g, task, error, ret_update, err) : 0;
        if (r == 0) {
                aip_graph_task_leave(task);
                aip_graph_task_goto(task, g->to);
        }
        return r;
}

static struct guarded *guarded_new(const aip_graph_document *document,
                                   const struct aip_doc_node *node,
                                   const struct aip_node_options *options)
{
        size_t n = options->n_targets;
        struct guarded *g = aip_calloc(1, sizeof(*g) + (n + 1) * sizeof(g->targets[0]));
        if (!g)
                return NULL;
        g->inner = *options;
        g->document = aip_graph_document_ref(document);
        g->to = node->on_error;
        for (size_t i = 0; i < n; i++)
                g->targets[i] = options->targets[i];
        g->targets[n] = node->on_error;
        return g;
}

int aip_doc_handle_errors(const aip_graph_document *document, const struct aip_doc_node *node,
                          struct aip_node_options *options, aip_error **err)
{
        static const char *const variables[] = {"error"};
        const struct aip_graph_node_spec spec = {node->name, node->type, node->fields, document};
        struct guarded *g = guarded_new(document, node, options);
        if (!g) {
                if (options->free_user)
                        options->free_user(options->user);
                return aip_error_set_nomem(err);
        }
        int r = aip_doc_read_writes(&spec, "on_error", "write", variables, 1, &g->writes, err);
        if (r < 0) {
                guarded_free(g);
                return r;
        }
        options->run = g->inner.run ? run : NULL;
        options->start = g->inner.start ? start : NULL;
        options->cancel = g->inner.cancel ? cancel : NULL;
        options->find_subgraph = g->inner.find_subgraph ? find_subgraph : NULL;
        options->enter = g->inner.enter ? enter : NULL;
        options->leave = g->inner.leave ? leave : NULL;
        options->retry.is_retryable = g->inner.retry.is_retryable ? is_retryable : NULL;
        options->on_error = handle;
        options->user = g;
        options->free_user = guarded_free;
        options->targets = g->targets;
        options->n_targets++;
        return 0;
}
