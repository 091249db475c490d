/* See postgres_schema.h. */
#include "postgres_schema.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static PGconn *connect_to(const char *url)
{
        PGconn *connection = PQconnectdb(url);
        cr_assert_eq(PQstatus(connection), CONNECTION_OK, "%s", PQerrorMessage(connection));
        return connection;
}

void postgres_run(PGconn *connection, const char *sql, char *ret_text, size_t max_bytes)
{
        PGresult *result = PQexec(connection, sql);
        ExecStatusType status = PQresultStatus(result);
        cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql,
                  PQerrorMessage(connection));
        if (ret_text)
                snprintf(ret_text, max_bytes, "%s",
                         PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
        PQclear(result);
}

long postgres_number(PGconn *connection, const char *sql)
{
        char text[64];
        postgres_run(connection, sql, text, sizeof(text));
        return strtol(text, NULL, 10);
}

static void run_on_server(const char *sql)
{
        PGconn *connection = connect_to(getenv("AIPLAT_TEST_DATABASE_URL"));
        postgres_run(connection, "SET client_min_messages = warning", NULL, 0);
        postgres_run(connection, sql, NULL, 0);
        PQfinish(connection);
}

void postgres_schema_make(struct postgres_schema *schema)
{
        const char *url = getenv("AIPLAT_TEST_DATABASE_URL");
        struct timespec now;
        char sql[128];
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(schema->name, sizeof(schema->name), "test_%ld_%lld_%ld", (long)getpid(),
                 (long long)now.tv_sec, now.tv_nsec);
        snprintf(schema->url, sizeof(schema->url),
                 "%s%soptions=-csearch_path%%3D%s&application_name=%s", url,
                 strchr(url, '?') ? "&" : "?", schema->name, schema->name);
        snprintf(sql, sizeof(sql), "CREATE SCHEMA %s", schema->name);
        run_on_server(sql);
}

void postgres_schema_drop(struct postgres_schema *schema)
{
        char sql[128];
        snprintf(sql, sizeof(sql), "DROP SCHEMA IF EXISTS %s CASCADE", schema->name);
        run_on_server(sql);
}

PGconn *postgres_schema_connect(const struct postgres_schema *schema)
{
        return connect_to(schema->url);
}
