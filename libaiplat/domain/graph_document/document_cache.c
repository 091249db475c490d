/*
 * "cache" of a graph document's nodes: the key under which what a node writes is kept is an expression over the
 * state. Called when a document is compiled, and by runs.
 */
#include "graph_document/document_impl.h"
#include "macros.h"
#include "mem.h"

struct cached {
        aip_graph_document *document; /* a reference */
        const struct aip_doc_node *node;
};

static void cached_free(void *user)
{
        struct cached *c = user;
        aip_graph_document_unref(c->document);
        aip_free(c);
}

/* null is no key. */
static int print_key(void *user, aip_graph_task *task, struct aip_buf *key, aip_error **err)
{
        const struct cached *c = user;
        const aip_value *variables[] = {aip_graph_task_input(task)};
        _cleanup_(aip_value_unref_p) aip_value *state = NULL;
        _cleanup_(aip_value_unref_p) aip_value *value = NULL;
        int r = aip_graph_document_task_state(c->document, task, &state, err);
        if (r == 0)
                r = aip_expression_eval(c->node->cache_key, state, variables, &value, err);
        if (r < 0 || aip_value_type(value) == AIP_VALUE_NULL)
                return r;
        return aip_value_print(value, key, err);
}

int aip_doc_cache(const aip_graph_document *document, const struct aip_doc_node *node,
                  struct aip_node_cache *cache, aip_error **err)
{
        struct cached *c = NULL;
        cache->ttl_s = node->cache_ttl_s;
        if (!node->cache_key)
                return 0;
        c = aip_calloc(1, sizeof(*c));
        if (!c)
                return aip_error_set_nomem(err);
        c->document = aip_graph_document_ref(document);
        c->node = node;
        cache->key = print_key;
        cache->user = c;
        cache->free_user = cached_free;
        return 0;
}
