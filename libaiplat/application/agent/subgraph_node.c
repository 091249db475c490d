/*
 * "subgraph": runs another graph of the catalog. {"graph": NAME, "input": EXPRESSION, "write": {CHANNEL:
 * EXPRESSION over $result}}. The input is an object of the graph's channels, or a string, which is its prompt;
 * $result is the state it ended with. Which graph has the name is looked up when the node begins, in the
 * snapshot that the run is on: so a graph may be stored before those it runs, and may run itself, so deep as
 * subgraphs go.
 */
#include "agent/agent_node.h"
#include "agent/graph_factory.h"

struct subgraph {
        aip_graph_document *document;
        const aip_value *graph;   /* a name, the document's */
        aip_expression *input;    /* or NULL */
        aip_graph_writes *writes; /* or NULL */
};

/* Borrowed from the run's snapshot. */
static const aip_graph_document *find_document(const struct subgraph *node,
                                               const aip_graph_task *task, aip_error **err)
{
        const struct aip_agent_context *context = aip_graph_task_context(task);
        const struct aip_graph_entry *entry =
                aip_catalog_graph(context->catalog, aip_value_as_string(node->graph));

        if (!entry)
                (void)aip_node_fail_missing(err, "caller_graph_not_found", "no graph", node->graph);
        return entry ? entry->document : NULL;
}

static int subgraph_find(void *user, aip_graph_task *task, struct aip_subgraph *ret_subgraph,
                         aip_error **err)
{
        const struct aip_agent_context *context = aip_graph_task_context(task);
        const aip_graph_document *document = find_document(user, task, err);
        struct aip_subgraph found = {0};
        int r = document ? aip_graph_factory_get(context->factory, document, &found.graph, err)
                         : AIP_ENOTFOUND;

        if (r < 0)
                return r;
        found.step_limit = aip_graph_document_step_limit(document);
        found.interrupt_before =
                aip_graph_document_interrupt_before(document, &found.n_interrupt_before);
        found.interrupt_after =
                aip_graph_document_interrupt_after(document, &found.n_interrupt_after);
        *ret_subgraph = found;
        return 0;
}

static int subgraph_enter(void *user, aip_graph_task *task, aip_value **ret_input, aip_error **err)
{
        const struct subgraph *node = user;
        const aip_graph_document *document = find_document(node, task, err);
        _cleanup_(aip_value_unref_p) aip_value *input = NULL;
        struct aip_node_sight sight = {0};
        struct aip_str prompt = {NULL, 0};
        int r = document ? aip_node_look(node->document, task, &sight, err) : AIP_ENOTFOUND;

        if (r == 0 && node->input) {
                const aip_value *variables[] = {sight.item};
                r = aip_expression_eval(node->input, sight.state, variables, &input, err);
        }
        aip_node_sight_deinit(&sight);
        if (r < 0)
                return r;
        if (aip_value_type(input) == AIP_VALUE_STRING)
                prompt = aip_value_as_string(input);
        return aip_graph_document_input(
                document, prompt,
                prompt.p || aip_value_type(input) == AIP_VALUE_NULL ? NULL : input, ret_input, err);
}

static int subgraph_leave(void *user, aip_graph_task *task, const aip_value *state,
                          aip_value **ret_update, aip_error **err)
{
        const struct subgraph *node = user;
        struct aip_node_sight sight = {0};
        int r = aip_node_look(node->document, task, &sight, err);

        if (r == 0) {
                const aip_value *variables[] = {sight.item, state};
                r = aip_graph_writes_eval(node->writes, sight.state, variables, ret_update, err);
        }
        aip_node_sight_deinit(&sight);
        return r;
}

static void subgraph_free(void *user)
{
        struct subgraph *node = user;

        aip_expression_unref(node->input);
        aip_graph_writes_free(node->writes);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(void *, subgraph_free);

static int read_graph(struct subgraph *node, const struct aip_graph_node_spec *spec,
                      aip_error **err)
{
        struct aip_str name = {NULL, 0};
        int r = aip_node_text(spec, "graph", &name, err);

        if (r == 0 && name.n == 0)
                r = aip_graph_spec_error(spec, "graph", err, "is missing: a graph's name");
        node->graph = aip_value_get_cstr(spec->fields, "graph");
        return r;
}

static int subgraph_make(void *self, const struct aip_graph_node_spec *spec,
                         struct aip_node_options *options, aip_error **err)
{
        static const char *const variables[] = {"result"};
        struct subgraph *node = aip_calloc(1, sizeof(*node));
        _cleanup_(subgraph_free_p) void *kept = node;
        int r;

        (void)self;
        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        r = read_graph(node, spec, err);
        if (r == 0)
                r = aip_graph_spec_expression(spec, "input", NULL, 0, &node->input, err);
        if (r == 0)
                r = aip_graph_spec_writes(spec, "write", variables, AIP_ARRAY_SIZE(variables),
                                          &node->writes, err);
        if (r < 0)
                return r;
        options->find_subgraph = subgraph_find;
        options->enter = subgraph_enter;
        options->leave = subgraph_leave;
        options->free_user = subgraph_free;
        options->user = AIP_TAKE(kept);
        return 0;
}

static const char *const members[] = {"graph", "input", "write", NULL};

const struct aip_graph_node_type aip_subgraph_node = {"subgraph", subgraph_make, members};
