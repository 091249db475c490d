/*
 * Hearing what other processes (and this one) did: a connection that only LISTENs. Called by
 * store.c. Notifications are hints: after every new connection the watchers are told to look at
 * everything.
 */
#include "pg.h"

#define ID_DIGITS 32

static int digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_id(const char *text, struct aip_id *ret_id)
{
        for (size_t i = 0; i < sizeof(ret_id->bytes); i++) {
                int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
                if (high < 0 || low < 0)
                        return -1;
                ret_id->bytes[i] = (uint8_t)(high << 4 | low);
        }
        return 0;
}

/* Anybody may NOTIFY anything: what is not a list of ids means "look". */
static void note_ids(struct aip_hints *hints, const char *payload, enum aip_job_status to)
{
        size_t n = strlen(payload);
        struct aip_transition transition = {.to = to};
        if (n % ID_DIGITS != 0) {
                hints->must_look = 1;
                return;
        }
        for (size_t at = 0; at < n; at += ID_DIGITS) {
                if (parse_id(payload + at, &transition.job_id) < 0)
                        hints->must_look = 1;
                else
                        aip_hints_note(hints, &transition);
        }
}

static void note(struct aip_hints *hints, const PGnotify *notification)
{
        if (strcmp(notification->relname, "aiplat_catalog") == 0)
                hints->is_catalog_changed = 1;
        else if (strcmp(notification->relname, "aiplat_jobs_ended") == 0)
                note_ids(hints, notification->extra, AIP_JOB_COMPLETED);
        else if (strcmp(notification->relname, "aiplat_jobs_cancelled") == 0)
                note_ids(hints, notification->extra, AIP_JOB_CANCELLED);
}

static void tell_soon(struct pg_store *store)
{
        if (!aip_hints_is_empty(&store->hints))
                aip_defer(store->loop, &store->tell);
}

static void run_tell(struct aip_task *task)
{
        struct pg_store *store = AIP_CONTAINER_OF(task, struct pg_store, tell);
        struct aip_hints hints = store->hints;
        store->hints = (struct aip_hints){0};
        aip_watchers_tell(&store->watchers, &hints);
        aip_hints_deinit(&hints);
}

static void on_ready(struct pg_connection *connection)
{
        connection->store->hints.must_look = 1;
        tell_soon(connection->store);
}

static void on_input(struct pg_connection *connection)
{
        for (PGnotify *n; (n = PQnotifies(connection->pg));) {
                note(&connection->store->hints, n);
                PQfreemem(n);
        }
        tell_soon(connection->store);
}

static void on_lost(struct pg_connection *connection)
{
        (void)connection; /* it connects anew; then on_ready */
}

void pg_listener_init(struct pg_store *store)
{
        static const struct pg_connection_ops ops = {
                .on_ready = on_ready, .on_input = on_input, .on_lost = on_lost};
        pg_connection_init(&store->listener, store, "listen",
                           "LISTEN aiplat_catalog; LISTEN aiplat_jobs_ended; "
                           "LISTEN aiplat_jobs_cancelled",
                           &ops);
        store->tell.run = run_tell;
}

void pg_watch(struct pg_store *store, struct aip_store_watcher *watcher)
{
        aip_watchers_add(&store->watchers, watcher);
        pg_connection_start(&store->listener);
        if (store->listener.state == PG_READY)
                on_ready(&store->listener);
}

void pg_unwatch(struct pg_store *store, struct aip_store_watcher *watcher)
{
        aip_watchers_remove(&store->watchers, watcher);
}
