/*
 * The read thread: takes the requests that only read, one after the other, on a connection of its
 * own, so that they never wait for a commit. Started by sqlite_store.c. Must never write.
 */
#include "sqlite/sqlite_store.h"

/* Wait for a request while the database is open; NULL when the store closes. */
static struct sqlite_request *next_request(struct sqlite_store *store)
{
        struct sqlite_request *rq = NULL;

        pthread_mutex_lock(&store->lock);
        while (!store->is_closing && !(store->is_open && store->reads.first))
                aip_sqlite_queue_wait(store, &store->reads, -1);
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

        while ((rq = next_request(store))) {
                int r = db.handle ? 0 : aip_sqlite_open(&db, &rq->err);
                if (r >= 0)
                        rq->call->run(&db, rq, &rq->err);
                aip_sqlite_request_end(store, rq);
        }
        aip_sqlite_close(&db);
        aip_sqlite_thread_ends(store);
        return NULL;
}
