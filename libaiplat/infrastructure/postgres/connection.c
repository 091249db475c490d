/*
 * One connection to the server: made in the background, set up, watched, made anew with back-off
 * and jitter when it is lost. Called by lanes, the listener and the migrator, which are told
 * through pg_connection_ops. Never blocks, with one exception that is libpq's: a host name (not an
 * address) is resolved by getaddrinfo() when an attempt begins.
 */
#include "pg.h"

static void on_watch(struct aip_watch *watch, unsigned events);
static void on_timer(struct aip_timer *timer);

void pg_connection_init(struct pg_connection *connection, struct pg_store *store, const char *name,
                        const char *setup, const struct pg_connection_ops *ops)
{
        *connection = (struct pg_connection){
                .ops = ops,
                .store = store,
                .name = name,
                .setup = setup,
                .watch = {.ready = on_watch},
                .timer = {.fire = on_timer},
        };
        strcpy(connection->reason, "not connected yet");
}

static void watch_nothing(struct pg_connection *connection)
{
        if (connection->events)
                (void)aip_watch_set(connection->store->loop, &connection->watch, 0, NULL);
        connection->events = 0;
}

static void discard(struct pg_connection *connection)
{
        watch_nothing(connection);
        aip_timer_clear(connection->store->loop, &connection->timer);
        PQfinish(AIP_TAKE(connection->pg));
}

static int64_t backoff_ms(struct pg_connection *connection)
{
        unsigned doublings = AIP_MIN(connection->failures - 1, 6u);
        int64_t limit =
                AIP_MIN((int64_t)PG_BACKOFF_MIN_MS << doublings, (int64_t)PG_BACKOFF_MAX_MS);
        uint64_t jitter = aip_random_u64(connection->store->random) % (uint64_t)(limit / 2 + 1);
        return limit / 2 + (int64_t)jitter;
}

static void log_loss(struct pg_connection *connection, int was_ready)
{
        enum aip_log_level level = connection->failures == 1 ? AIP_LOG_WARNING : AIP_LOG_DEBUG;
        aip_log_write(connection->store->log, level, "postgres", "%s (%s): %s; trying again",
                      was_ready ? "connection lost" : "cannot connect", connection->name,
                      connection->reason);
}

void pg_connection_drop(struct pg_connection *connection, const char *reason)
{
        int was_ready = connection->state == PG_READY;
        pg_one_line(reason ? reason : PQerrorMessage(connection->pg), connection->reason,
                    sizeof(connection->reason));
        discard(connection);
        connection->state = PG_WAITING;
        connection->failures++;
        log_loss(connection, was_ready);
        aip_timer_set(connection->store->loop, &connection->timer, backoff_ms(connection));
        if (was_ready)
                connection->ops->on_lost(connection);
        else if (connection->ops->on_failed)
                connection->ops->on_failed(connection);
}

/* 0, or -1 when the connection had to be dropped. */
static int watch_for(struct pg_connection *connection, unsigned events)
{
        connection->watch.fd = PQsocket(connection->pg);
        if (connection->events == events)
                return 0;
        _cleanup_(aip_error_free_p) aip_error *error = NULL;
        if (connection->watch.fd < 0 ||
            aip_watch_set(connection->store->loop, &connection->watch, events, &error) < 0) {
                pg_connection_drop(connection, error ? aip_error_message(error) : "no socket");
                return -1;
        }
        connection->events = events;
        return 0;
}

static void connected(struct pg_connection *connection)
{
        PGconn *pg = connection->pg;
        if (PQserverVersion(pg) < 120000) {
                pg_connection_drop(connection, "the server is older than PostgreSQL 12");
                return;
        }
        if (PQsetnonblocking(pg, 1) < 0 || !PQsendQuery(pg, connection->setup)) {
                pg_connection_drop(connection, NULL);
                return;
        }
        connection->state = PG_SETTING_UP;
        pg_connection_flush(connection);
}

/* libpq may open another socket (the next address) in here: the old one must not be watched then.
 */
static void poll_connecting(struct pg_connection *connection)
{
        watch_nothing(connection);
        switch (PQconnectPoll(connection->pg)) {
        case PGRES_POLLING_READING:
                (void)watch_for(connection, AIP_READABLE);
                break;
        case PGRES_POLLING_WRITING:
                (void)watch_for(connection, AIP_WRITABLE);
                break;
        case PGRES_POLLING_OK:
                connected(connection);
                break;
        case PGRES_POLLING_FAILED:
        case PGRES_POLLING_ACTIVE:
        default:
                pg_connection_drop(connection, NULL);
                break;
        }
}

/* libpq's own writes to stderr. */
static void ignore_notice(void *user, const PGresult *notice)
{
        (void)user;
        (void)notice;
}

static void begin(struct pg_connection *connection)
{
        struct pg_store *store = connection->store;
        connection->state = PG_CONNECTING;
        connection->pg = PQconnectStartParams((const char *const *)store->keywords,
                                              (const char *const *)store->values, 0);
        if (!connection->pg) {
                pg_connection_drop(connection, "out of memory");
                return;
        }
        if (PQstatus(connection->pg) == CONNECTION_BAD) {
                pg_connection_drop(connection, NULL);
                return;
        }
        PQsetNoticeReceiver(connection->pg, ignore_notice, NULL);
        aip_timer_set(store->loop, &connection->timer, PG_CONNECT_MS);
        (void)watch_for(connection, AIP_WRITABLE);
}

void pg_connection_start(struct pg_connection *connection)
{
        if (connection->state == PG_OFF)
                begin(connection);
}

void pg_connection_stop(struct pg_connection *connection)
{
        discard(connection);
        connection->state = PG_OFF;
}

static void on_timer(struct aip_timer *timer)
{
        struct pg_connection *connection = AIP_CONTAINER_OF(timer, struct pg_connection, timer);
        if (connection->state == PG_WAITING)
                begin(connection);
        else
                pg_connection_drop(connection, "the server did not answer in time");
}

static void become_ready(struct pg_connection *connection)
{
        if (connection->is_pipelined && !PQenterPipelineMode(connection->pg)) {
                pg_connection_drop(connection, NULL);
                return;
        }
        aip_timer_clear(connection->store->loop, &connection->timer);
        if (connection->failures > 0)
                aip_log_write(connection->store->log, AIP_LOG_INFO, "postgres",
                              "connected again (%s)", connection->name);
        connection->failures = 0;
        connection->state = PG_READY;
        connection->ops->on_ready(connection);
}

static void read_setup(struct pg_connection *connection)
{
        while (!PQisBusy(connection->pg)) {
                PGresult *result = PQgetResult(connection->pg);
                if (!result) {
                        become_ready(connection);
                        return;
                }
                ExecStatusType status = PQresultStatus(result);
                char line[256];
                pg_one_line(PQresultErrorMessage(result), line, sizeof(line));
                PQclear(result);
                if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
                        pg_connection_drop(connection, line);
                        return;
                }
        }
}

void pg_connection_flush(struct pg_connection *connection)
{
        if (connection->state != PG_READY && connection->state != PG_SETTING_UP)
                return;
        int left = PQflush(connection->pg);
        if (left < 0)
                pg_connection_drop(connection, NULL);
        else
                (void)watch_for(connection, AIP_READABLE | (left ? AIP_WRITABLE : 0));
}

static void on_watch(struct aip_watch *watch, unsigned events)
{
        struct pg_connection *connection = AIP_CONTAINER_OF(watch, struct pg_connection, watch);
        if (connection->state == PG_CONNECTING) {
                poll_connecting(connection);
                return;
        }
        if ((events & AIP_READABLE) && !PQconsumeInput(connection->pg)) {
                pg_connection_drop(connection, NULL);
                return;
        }
        if (connection->state == PG_SETTING_UP)
                read_setup(connection);
        else if (connection->state == PG_READY && (events & AIP_READABLE))
                connection->ops->on_input(connection);
        pg_connection_flush(connection);
}

aip_error *pg_connection_error(const struct pg_connection *connection)
{
        aip_error *error = NULL;
        aip_error_set(&error, AIP_EUNAVAILABLE, "PostgreSQL cannot be reached: %s",
                      connection->reason);
        aip_error_set_retryable(error, 1, 0);
        return error;
}
