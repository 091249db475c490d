/*
 * Picks the adapters by the schemes of DATABASE_URL, RABBITMQ_URL and REDIS_URL (adapters_by_url.h).
 * The one place that knows all of them.
 */
#include "adapters_by_url.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "macros.h"
#include "mem.h"

#define NEAR_BYTES ((size_t)8 << 20) /* of ended jobs that clients of this process ask for again */

static int has_scheme(const char *url, const char *scheme)
{
        return strncmp(url, scheme, strlen(scheme)) == 0;
}

/* The folders of the default database, made as far as they are missing. A folder that somebody named
 * is not made: a typing error should be told. */
static int make_default_folders(const char *url, aip_error **err)
{
        _cleanup_(aip_free_p) char *path = aip_strdup(url + strlen("sqlite:///"));

        if (!path)
                return aip_error_set_nomem(err);
        for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                if (mkdir(path, 0700) < 0 && errno != EEXIST)
                        return aip_error_set(err, AIP_EIO, "the folder %s cannot be made: %s", path,
                                             strerror(errno));
                *slash = '/';
        }
        return 0;
}

int runtime_make_store(const struct aip_settings_values *settings, const struct runtime_base *base,
                       struct aip_store *ret_store, aip_error **err)
{
        const char *url = settings->database_url;
        struct aip_store_options o = {sizeof(o), base->loop, base->log, base->random, url, 0};
        int r = aip_job_events_parse(aip_str_of(settings->events), &o.muted_events, err);

        if (r < 0)
                return r;
        if (settings->is_default_database && make_default_folders(url, err) < 0)
                return AIP_EIO;
        if (has_scheme(url, "sqlite:"))
                return aip_sqlite_store_new(&o, ret_store, err);
        if (has_scheme(url, "postgresql:") || has_scheme(url, "postgres:"))
                return aip_postgres_store_new(&o, ret_store, err);
        if (has_scheme(url, "memory:"))
                return aip_memory_store_new(&o, ret_store, err);
        return aip_error_set(err, AIP_EINVAL,
                             "DATABASE_URL: begins with none of sqlite:, postgresql:, memory:");
}

int runtime_make_queue(const struct aip_settings_values *settings, const struct runtime_base *base,
                       struct aip_queue_handle *ret_queue, aip_error **err)
{
        const char *url = settings->rabbitmq_url;
        struct aip_queue_options o = {sizeof(o),
                                      base->loop,
                                      base->log,
                                      base->random,
                                      url,
                                      settings->task_queue,
                                      settings->event_exchange};

        if (has_scheme(url, "memory:"))
                return aip_memory_queue_new(&o, ret_queue, err);
        if (has_scheme(url, "amqp:") || has_scheme(url, "amqps:"))
                return aip_rabbitmq_queue_new(&o, ret_queue, err);
        return aip_error_set(err, AIP_EINVAL,
                             "RABBITMQ_URL: begins with none of amqp:, amqps:, memory:");
}

int runtime_make_cache(const struct aip_settings_values *settings, const struct runtime_base *base,
                       struct aip_cache_handle *ret_cache, aip_error **err)
{
        const char *url = settings->redis_url;
        struct aip_cache_options o = {.self_size = sizeof(o), .url = url};

        o.loop = base->loop;
        o.log = base->log;
        o.random = base->random;
        if (has_scheme(url, "memory:"))
                return aip_memory_cache_new(&o, ret_cache, err);
        o.near_bytes = NEAR_BYTES;
        if (has_scheme(url, "redis:") || has_scheme(url, "rediss:"))
                return aip_redis_cache_new(&o, ret_cache, err);
        return aip_error_set(err, AIP_EINVAL,
                             "REDIS_URL: begins with none of redis:, rediss:, memory:");
}

/* Where the cache is; its URL has been checked with it. */
int runtime_make_events(const struct aip_settings_values *settings, const struct runtime_base *base,
                        struct aip_events_handle *ret_events, aip_error **err)
{
        const char *url = settings->redis_url;
        struct aip_events_options o = {.self_size = sizeof(o), .url = url};

        o.loop = base->loop;
        o.log = base->log;
        o.random = base->random;
        o.keep_s = settings->redis_job_ttl_s;
        if (has_scheme(url, "memory:"))
                return aip_memory_events_new(&o, ret_events, err);
        return aip_redis_events_new(&o, ret_events, err);
}
