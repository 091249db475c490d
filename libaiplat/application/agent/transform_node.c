/* "transform": sets channels to what expressions give. {"write": {CHANNEL: EXPRESSION, …}} */
#include "agent/agent_node.h"

struct transform {
        aip_graph_document *document;
        aip_graph_writes *writes;
};

static int transform_run(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const struct transform *node = user;
        struct aip_node_sight sight = {0};
        int r = aip_node_look(node->document, task, &sight, err);

        if (r == 0) {
                const aip_value *variables[] = {sight.item};
                r = aip_graph_writes_eval(node->writes, sight.state, variables, ret_update, err);
        }
        aip_node_sight_deinit(&sight);
        return r;
}

static void transform_free(void *user)
{
        struct transform *node = user;

        aip_graph_writes_free(node->writes);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(void *, transform_free);

static int transform_make(void *self, const struct aip_graph_node_spec *spec,
                          struct aip_node_options *options, aip_error **err)
{
        struct transform *node = aip_calloc(1, sizeof(*node));
        _cleanup_(transform_free_p) void *kept = node;
        int r;

        (void)self;
        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        r = aip_graph_spec_writes(spec, "write", NULL, 0, &node->writes, err);
        if (r == 0 && !node->writes)
                r = aip_graph_spec_error(spec, "write", err, "is missing: the channels to set");
        if (r < 0)
                return r;
        options->run = transform_run;
        options->free_user = transform_free;
        options->user = AIP_TAKE(kept);
        return 0;
}

static const char *const members[] = {"write", NULL};

const struct aip_graph_node_type aip_transform_node = {"transform", transform_make, members};
