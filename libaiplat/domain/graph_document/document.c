/*
 * Graph documents: made, counted, asked (aiplat/graph_document.h). Called by the catalog, by whoever runs
 * graphs, and by the programs that check and draw them. Never changes a document once it is made, and
 * never hands out a reference to one of its values, whose counts are not atomic.
 */
#include "graph/channels.h"
#include "graph_document/document_impl.h"
#include "macros.h"
#include "mem.h"
#include "text/text.h"
#include <aiplat/job.h>

AIP_DEFINE_CLEANUP(aip_graph_document *, aip_graph_document_unref);

const struct aip_place aip_doc_root = {0};

static void document_free(aip_graph_document *d)
{
        for (uint32_t i = 0; d->edges && i < d->n_edges; i++)
                aip_doc_edge_deinit(&d->edges[i]);
        aip_free(d->edges);
        for (uint32_t i = 0; i < d->n_nodes; i++)
                aip_expression_unref(d->nodes[i].cache_key);
        aip_free(d->nodes);
        aip_free(d->channels);
        aip_free(d->interrupt_before.names);
        aip_free(d->interrupt_after.names);
        aip_expression_unref(d->result);
        aip_json_schema_unref(d->input_schema);
        aip_value_unref(d->value);
        aip_free(d->name);
        aip_free(d);
}

aip_graph_document *aip_graph_document_ref(const aip_graph_document *document)
{
        aip_graph_document *counted = (aip_graph_document *)document;
        if (counted)
                atomic_fetch_add_explicit(&counted->n_refs, 1, memory_order_relaxed);
        return counted;
}

void aip_graph_document_unref(aip_graph_document *document)
{
        if (document && atomic_fetch_sub_explicit(&document->n_refs, 1, memory_order_acq_rel) == 1)
                document_free(document);
}

/* `value` is the caller's alone, and consumed always; NULL: out of memory. */
static int make(struct aip_str name, aip_value *value, aip_graph_document **ret_document,
                aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *consumed = value;
        int r = aip_name_check("name", name, err);
        if (r < 0)
                return r;
        _cleanup_(aip_graph_document_unref_p) aip_graph_document *d = aip_calloc(1, sizeof(*d));
        if (!d || !consumed)
                return aip_error_set_nomem(err);
        atomic_init(&d->n_refs, 1);
        d->name = aip_alloc(name.n + 1);
        d->value = AIP_TAKE(consumed);
        if (!d->name)
                return aip_error_set_nomem(err);
        memcpy(d->name, name.p, name.n);
        d->name[name.n] = '\0';
        r = aip_doc_read(d, err);
        if (r == 0)
                *ret_document = AIP_TAKE(d);
        return r;
}

int aip_graph_document_new(struct aip_str name, const aip_value *value,
                           aip_graph_document **ret_document, aip_error **err)
{
        return make(name, aip_value_copy_deep(value), ret_document, err);
}

int aip_graph_document_parse(struct aip_str name, struct aip_str json,
                             aip_graph_document **ret_document, aip_error **err)
{
        aip_value *value = NULL;
        aip_error *cause = NULL;
        if (json.n > AIP_GRAPH_DOCUMENT_MAX_BYTES)
                return aip_place_fail(&aip_doc_root, AIP_ELIMIT, err, "has %zu bytes, more than %u",
                                      json.n, AIP_GRAPH_DOCUMENT_MAX_BYTES);
        if (aip_value_parse(json, &value, &cause) < 0)
                return aip_place_wrap(&aip_doc_root, cause, err);
        return make(name, value, ret_document, err);
}

struct aip_str aip_graph_document_name(const aip_graph_document *document)
{
        return aip_str_of(document->name);
}

struct aip_str aip_graph_document_description(const aip_graph_document *document)
{
        return aip_value_as_string(aip_value_get_cstr(document->value, "description"));
}

const aip_value *aip_graph_document_value(const aip_graph_document *document)
{
        return document->value;
}

const aip_value *aip_graph_document_tools(const aip_graph_document *document)
{
        return aip_value_get_cstr(document->value, "tools");
}

int32_t aip_graph_document_step_limit(const aip_graph_document *document)
{
        return document->step_limit;
}

const char *const *aip_graph_document_interrupt_before(const aip_graph_document *document,
                                                       size_t *ret_n)
{
        *ret_n = document->interrupt_before.n;
        return document->interrupt_before.names;
}

const char *const *aip_graph_document_interrupt_after(const aip_graph_document *document,
                                                      size_t *ret_n)
{
        *ret_n = document->interrupt_after.n;
        return document->interrupt_after.names;
}

uint32_t aip_graph_document_n_channels(const aip_graph_document *document)
{
        return document->n_channels;
}

uint32_t aip_graph_document_channel(const aip_graph_document *document, struct aip_str name)
{
        for (uint32_t i = 0; i < document->n_channels; i++) {
                if (aip_str_eq(document->channels[i].name, name))
                        return i;
        }
        return AIP_GRAPH_DOCUMENT_NO_CHANNEL;
}

const char *aip_graph_document_channel_name(const aip_graph_document *document, uint32_t channel)
{
        return channel < document->n_channels ? document->channels[channel].name.p : NULL;
}

enum aip_channel_kind aip_graph_document_channel_kind(const aip_graph_document *document,
                                                      uint32_t channel)
{
        return channel < document->n_channels ? document->channels[channel].kind
                                              : AIP_CHANNEL_LAST_VALUE;
}
