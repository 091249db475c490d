/*
 * Graphs as the text that stores keep of them (aiplat/catalog.h). Called by every store, so that all
 * of them take and refuse the same.
 */
#include "macros.h"
#include <aiplat/catalog.h>

int aip_graph_text_print(const aip_graph_document *document, struct aip_buf *out, aip_error **err)
{
        size_t before = out->n;
        int r = aip_value_print(aip_graph_document_value(document), out, NULL);

        if (r == AIP_ENOMEM)
                return aip_error_set_nomem(err);
        if (r < 0 || out->n - before > AIP_GRAPH_DOCUMENT_MAX_BYTES) {
                out->n = before;
                return aip_error_set(err, AIP_EINVAL, "document: may have %u bytes, as JSON",
                                     AIP_GRAPH_DOCUMENT_MAX_BYTES);
        }
        return 0;
}
