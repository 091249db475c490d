/*
 * The numbered migrations of sql/postgres and sql/sqlite as they were when the library was built
 * (made by sql/embed.py). Read by the stores' migrate; never changed at run time.
 */
#ifndef AIP_INFRASTRUCTURE_MIGRATIONS_H
#define AIP_INFRASTRUCTURE_MIGRATIONS_H

#include <stddef.h>

struct aip_migration {
        int version;      /* 1, 2, 3 … without a gap */
        const char *name; /* "jobs_and_catalog" */
        const char *sql;  /* any number of statements */
};

/* Each ends with an entry of zeroes that is not counted. */
extern const struct aip_migration aip_migrations_postgres[];
extern const size_t aip_migrations_postgres_n;
extern const struct aip_migration aip_migrations_sqlite[];
extern const size_t aip_migrations_sqlite_n;

#endif
