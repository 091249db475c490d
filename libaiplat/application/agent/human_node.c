/*
 * "human": asks, and goes on with the answer. {"question": EXPRESSION, "schema": JSON Schema, "write":
 * {CHANNEL: EXPRESSION over $answer}}. The run is interrupted, the job INTERRUPTED, until POST
 * /v1/jobs/{id}/resume. With "schema" the question is told as {"question", "schema"}, and an answer that is
 * not as it says is refused (job_service.c).
 */
#include <aiplat/json_schema.h>

#include "agent/agent_node.h"

struct human {
        aip_graph_document *document;
        aip_expression *question;
        const aip_value *schema; /* the document's, or NULL */
        aip_graph_writes *writes;
};

static int add_schema(const struct human *node, aip_value **question, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *whole = aip_value_object();

        if (!whole || aip_value_object_set_cstr(&whole, "question", AIP_TAKE(*question)) < 0 ||
            aip_value_object_set_cstr(&whole, "schema", aip_value_copy_deep(node->schema)) < 0)
                return aip_error_set_nomem(err);
        *question = AIP_TAKE(whole);
        return 0;
}

static int ask(const struct human *node, aip_graph_task *task, const struct aip_node_sight *sight,
               aip_value **ret_update, aip_error **err)
{
        const aip_value *variables[] = {sight->item, NULL};
        _cleanup_(aip_value_unref_p) aip_value *question = NULL;
        int r = aip_expression_eval(node->question, sight->state, variables, &question, err);

        if (r == 0 && node->schema)
                r = add_schema(node, &question, err);
        if (r < 0)
                return r;
        variables[1] = aip_graph_task_interrupt(task, question);
        return variables[1] ? aip_graph_writes_eval(node->writes, sight->state, variables,
                                                    ret_update, err)
                            : 0;
}

static int human_run(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const struct human *node = user;
        struct aip_node_sight sight = {0};
        int r = aip_node_look(node->document, task, &sight, err);

        if (r == 0)
                r = ask(node, task, &sight, ret_update, err);
        aip_node_sight_deinit(&sight);
        return r;
}

static void human_free(void *user)
{
        struct human *node = user;

        aip_expression_unref(node->question);
        aip_graph_writes_free(node->writes);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(void *, human_free);

static int human_make(void *self, const struct aip_graph_node_spec *spec,
                      struct aip_node_options *options, aip_error **err)
{
        static const char *const variables[] = {"answer"};
        struct human *node = aip_calloc(1, sizeof(*node));
        aip_json_schema *schema = NULL;
        _cleanup_(human_free_p) void *kept = node;
        int r;

        (void)self;
        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        r = aip_graph_spec_expression(spec, "question", NULL, 0, &node->question, err);
        if (r == 0 && !node->question)
                r = aip_graph_spec_error(spec, "question", err, "is missing: what is asked");
        if (r == 0)
                r = aip_node_schema(spec, "schema", &node->schema, &schema, err);
        aip_json_schema_unref(schema); /* the answer is checked by it before it comes here */
        if (r == 0)
                r = aip_graph_spec_writes(spec, "write", variables, AIP_ARRAY_SIZE(variables),
                                          &node->writes, err);
        if (r < 0)
                return r;
        options->run = human_run;
        options->free_user = human_free;
        options->user = AIP_TAKE(kept);
        return 0;
}

static const char *const members[] = {"question", "schema", "write", NULL};

const struct aip_graph_node_type aip_human_node = {"human", human_make, members};
