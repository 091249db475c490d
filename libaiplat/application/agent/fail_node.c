/*
 * "fail": ends the run with an error. {"message": EXPRESSION, "code": "…"}. The job's error code is `code`,
 * or graph_failed; it is not tried again.
 */
#include "agent/agent_node.h"

struct fail {
        aip_graph_document *document; /* holds the code, too */
        aip_expression *message;
        const char *code;
};

static int fail_run(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const struct fail *node = user;
        struct aip_node_sight sight = {0};
        _cleanup_(aip_value_unref_p) aip_value *message = NULL;
        int r = aip_node_look(node->document, task, &sight, err);

        (void)ret_update;
        if (r == 0)
                r = aip_node_eval_text(node->message, &sight, &message, err);
        aip_node_sight_deinit(&sight);
        if (r < 0)
                return r;
        aip_error_set(err, AIP_EUPSTREAM, "%.*s",
                      AIP_STR_ARG(message ? aip_value_as_string(message)
                                          : AIP_STR("the graph says no more")));
        if (err) {
                aip_error_set_kind(*err, node->code);
                aip_error_set_retryable(*err, 0, 0);
        }
        return AIP_EUPSTREAM;
}

static void fail_free(void *user)
{
        struct fail *node = user;

        aip_expression_unref(node->message);
        aip_graph_document_unref(node->document);
        aip_free(node);
}
AIP_DEFINE_CLEANUP(void *, fail_free);

static int check_code(const struct aip_graph_node_spec *spec, struct aip_str code, aip_error **err)
{
        size_t n = strspn(code.p, "abcdefghijklmnopqrstuvwxyz0123456789_");

        if (n == code.n && n > 0 && n <= 64)
                return 0;
        return aip_graph_spec_error(spec, "code", err,
                                    "must be 1 to 64 small letters, digits and underscores");
}

static int fail_make(void *self, const struct aip_graph_node_spec *spec,
                     struct aip_node_options *options, aip_error **err)
{
        struct fail *node = aip_calloc(1, sizeof(*node));
        _cleanup_(fail_free_p) void *kept = node;
        struct aip_str code = aip_str_of("graph_failed");
        int r;

        (void)self;
        if (!node)
                return aip_error_set_nomem(err);
        node->document = aip_graph_document_ref(spec->document);
        r = aip_graph_spec_expression(spec, "message", NULL, 0, &node->message, err);
        if (r == 0 && !node->message)
                r = aip_graph_spec_error(spec, "message", err, "is missing: why the run fails");
        if (r == 0 && (r = aip_node_text(spec, "code", &code, err)) == 0)
                r = check_code(spec, code, err);
        if (r < 0)
                return r;
        node->code = code.p;
        options->run = fail_run;
        options->free_user = fail_free;
        options->user = AIP_TAKE(kept);
        return 0;
}

static const char *const members[] = {"message", "code", NULL};

const struct aip_graph_node_type aip_fail_node = {"fail", fail_make, members};
