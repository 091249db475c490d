/*
 * A PostgreSQL schema of one's own for a test, on the server that AIPLAT_TEST_DATABASE_URL names,
 * and a blocking connection beside the store's to look and to interfere. Needs criterion.
 */
#ifndef TESTS_SUPPORT_POSTGRES_SCHEMA_H
#define TESTS_SUPPORT_POSTGRES_SCHEMA_H

#include <libpq-fe.h>
#include <stddef.h>

struct postgres_schema {
        char name[48];
        char url[512]; /* for stores: with this schema as search path and application name */
};

/* Makes an empty schema with a name that no other test has. */
void postgres_schema_make(struct postgres_schema *schema);
void postgres_schema_drop(struct postgres_schema *schema);
/* A connection with this schema as search path. */
PGconn *postgres_schema_connect(const struct postgres_schema *schema);
/* Runs SQL that must succeed; the first column of the first row, or "", in ret_text (may be NULL).
 */
void postgres_run(PGconn *connection, const char *sql, char *ret_text, size_t max_bytes);
long postgres_number(PGconn *connection, const char *sql);

#endif
