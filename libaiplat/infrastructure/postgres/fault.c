/*
 * What a failed statement means for the operations that travelled with it. The only place that
 * knows SQLSTATEs; nothing above hears of them. Messages quote the server's primary text, never its
 * detail, which may hold what users wrote.
 */
#include "pg.h"

static int is_class(const char *state, const char *class)
{
        return strncmp(state, class, strlen(class)) == 0;
}

static const struct {
        const char *prefix;
        enum pg_fault fault;
} faults[] = {
        {"40", PG_FAULT_REPEAT},        /* serialization failure, deadlock */
        {"55P03", PG_FAULT_REPEAT},     /* lock not available */
        {"26000", PG_FAULT_CONNECTION}, /* our prepared statement is gone (a pooler, DISCARD) */
        {"0A000", PG_FAULT_CONNECTION}, /* a cached plan's result type changed: prepare anew */
        {"25", PG_FAULT_CONNECTION},    /* read-only: the server became a standby */
        {"08", PG_FAULT_CONNECTION},
        {"57P", PG_FAULT_CONNECTION}, /* shutting down, crashed, dropped by an administrator */
        {"57014", PG_FAULT_TIMEOUT},  /* statement_timeout */
        {"53", PG_FAULT_SERVER},      /* disk full, out of memory */
        {"58", PG_FAULT_SERVER},
        {"28", PG_FAULT_SERVER},
        {"3", PG_FAULT_SERVER},     /* no such database or schema */
        {"42501", PG_FAULT_SERVER}, /* insufficient privilege */
        {"42", PG_FAULT_SERVER},    /* no such table, column, function */
};

enum pg_fault pg_fault_of(const PGresult *failure)
{
        const char *state = PQresultErrorField(failure, PG_DIAG_SQLSTATE);
        if (!state)
                return PG_FAULT_CONNECTION;
        for (size_t i = 0; i < AIP_ARRAY_SIZE(faults); i++) {
                if (is_class(state, faults[i].prefix))
                        return faults[i].fault;
        }
        return PG_FAULT_ROW;
}

int pg_fault_is_duplicate(const PGresult *failure)
{
        const char *state = PQresultErrorField(failure, PG_DIAG_SQLSTATE);
        return state && strcmp(state, "23505") == 0;
}

static int is_schema_missing(const PGresult *failure)
{
        const char *state = PQresultErrorField(failure, PG_DIAG_SQLSTATE);
        return state && (strcmp(state, "42P01") == 0 || strcmp(state, "42704") == 0);
}

static int is_bad_input(const PGresult *failure)
{
        const char *state = PQresultErrorField(failure, PG_DIAG_SQLSTATE);
        return state && (is_class(state, "22") || is_class(state, "23") || is_class(state, "54"));
}

static void primary_message(const PGresult *failure, char *ret_line, size_t max_bytes)
{
        const char *primary = PQresultErrorField(failure, PG_DIAG_MESSAGE_PRIMARY);
        pg_one_line(primary ? primary : PQresultErrorMessage(failure), ret_line, max_bytes);
}

aip_error *pg_fault_error(const PGresult *failure)
{
        aip_error *error = NULL;
        char line[256];
        primary_message(failure, line, sizeof(line));
        switch (pg_fault_of(failure)) {
        case PG_FAULT_ROW:
                aip_error_set(&error, is_bad_input(failure) ? AIP_EINVAL : AIP_EINTERNAL,
                              "the database refused it: %s", line);
                return error;
        case PG_FAULT_TIMEOUT:
                aip_error_set(&error, AIP_ETIMEOUT, "the database took too long: %s", line);
                break;
        case PG_FAULT_REPEAT:
        case PG_FAULT_CONNECTION:
        case PG_FAULT_SERVER:
                aip_error_set(&error, AIP_EUNAVAILABLE, "the database cannot do it now: %s%s", line,
                              is_schema_missing(failure)
                                      ? " (run `aiplatctl migrate` to make the tables)"
                                      : "");
                break;
        }
        aip_error_set_retryable(error, 1, 0);
        return error;
}

void pg_one_line(const char *message, char *ret_line, size_t max_bytes)
{
        size_t n = 0;
        for (; message && *message && n + 1 < max_bytes; message++) {
                char c = *message == '\n' || *message == '\t' ? ' ' : *message;
                if (c != ' ' || (n > 0 && ret_line[n - 1] != ' '))
                        ret_line[n++] = c;
        }
        /* A character of several bytes that did not fit whole is left out. */
        if (message && ((unsigned char)*message & 0xC0) == 0x80) {
                while (n > 0 && ((unsigned char)ret_line[n - 1] & 0xC0) == 0x80)
                        n--;
                n -= n > 0;
        }
        while (n > 0 && ret_line[n - 1] == ' ')
                n--;
        ret_line[n] = '\0';
}
