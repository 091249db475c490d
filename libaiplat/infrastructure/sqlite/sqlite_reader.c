/*
 * The read thread: takes the requests that only read, one after the other, on a connection of its
 * own, so that they never wait for a commit. Started by sqlite_store.c. Must never write.
 */
#include "sqlite/sqlite_store.h"

#define RELOCK_MS 5 /* between attempts to open, each of SQLITE_STORE_BUSY_MS */

/* Wait until the database is open and has something to read; 0 when the store closes. */
static int wait_for_request(struct sqlite_store *store)
{
        int has_request;

        pthread_mutex_lock(&store->lock);
        while (!store->is_closing && !(store->is_open && store->reads.first))
                aip_sqlite_queue_wait(store, &store->reads, -1);
        has_request = !store->is_closing;
        pthread_mutex_unlock(&store->lock);
        return has_request;
}

/* Before a request is taken, so that it stays under its deadline while another has the file locked.
 * Anything else that is wrong is told to all who wait. */
static int open_database(struct sqlite_store *store, struct sqlite_db *db)
{
        aip_error *err = NULL;

        if (aip_sqlite_open(db, &err) >= 0)
                return 1;
        if (!aip_sqlite_is_locked(db))
                aip_sqlite_queue_fail(store, &store->reads, err);
        aip_error_free(err);
        pthread_mutex_lock(&store->lock);
        if (!store->is_closing)
                aip_sqlite_queue_wait(store, &store->reads, RELOCK_MS);
        pthread_mutex_unlock(&store->lock);
        return 0;
}

/* NULL: its deadline came first, or the store closes. */
static struct sqlite_request *take_request(struct sqlite_store *store)
{
        struct sqlite_request *rq = NULL;

        pthread_mutex_lock(&store->lock);
        if (!store->is_closing)
                rq = aip_sqlite_queue_pop(&store->reads);
        pthread_mutex_unlock(&store->lock);
        return rq;
}

void *aip_sqlite_reader_main(void *arg)
{
        struct sqlite_store *store = arg;
        struct sqlite_db db = {.path = store->path, .log = store->log};
        struct sqlite_request *rq;

        while (wait_for_request(store)) {
                if (!db.handle && !open_database(store, &db))
                        continue;
                rq = take_request(store);
                if (!rq)
                        continue;
                rq->call->run(&db, rq, &rq->err);
                aip_sqlite_request_end(store, rq);
        }
        aip_sqlite_close(&db);
        aip_sqlite_thread_ends(store);
        return NULL;
}
