/*
 * The graphs that the library ships: the files of libaiplat/graphs, compiled in (libaiplat/graphs/
 * embed.py makes shipped_graphs.c). Read by catalog.c, which puts them into every snapshot.
 */
#ifndef AIPLAT_DOMAIN_CATALOG_SHIPPED_GRAPHS_H
#define AIPLAT_DOMAIN_CATALOG_SHIPPED_GRAPHS_H

#include <stddef.h>

struct aip_shipped_graph {
        const char *name; /* the file's, without .json */
        const char *json;
        size_t n;
};

extern const struct aip_shipped_graph aip_shipped_graphs[];
extern const size_t aip_n_shipped_graphs;

#endif
