/*
 * Settings: what a program is told at its start. Sources, the later winning: built-in defaults, the
 * file `.env` in the working folder (or the one named), the environment, the command line.
 *
 * A value that cannot be understood, an unknown name in the file, and an unknown name that starts
 * with AIPLAT_ in the environment stop the start with an error that names the setting. Names ending
 * in _API_KEY may stand in the file whatever they are: configurations refer to them. AIPLAT_URL, by
 * which clients find the gateway, is let through and not read.
 */
#ifndef AIPLAT_SETTINGS_H
#define AIPLAT_SETTINGS_H

#include <aiplat/log.h>

AIP_BEGIN_DECLS

typedef struct aip_settings aip_settings;

enum aip_log_format {
        AIP_LOG_FORMAT_AUTO = 0, /* human on a terminal, JSON lines otherwise */
        AIP_LOG_FORMAT_HUMAN,
        AIP_LOG_FORMAT_JSON
};

/* Every setting, typed. Strings are borrowed from the settings object. */
struct aip_settings_values {
        size_t self_size;
        const char *database_url;   /* DATABASE_URL: sqlite:///path, postgresql://…, memory:; a driver suffix such
                                     * as postgresql+asyncpg:// is accepted and dropped. Default:
                                     * aiplat/aiplat.db in $XDG_DATA_HOME, else in
                                     * $HOME/.local/share; the folder need not exist yet */
        const char *rabbitmq_url;   /* RABBITMQ_URL: memory:, amqp://…, amqps://… */
        const char *redis_url;      /* REDIS_URL: memory:, redis://…; rediss://… is understood here, and
                                     * refused by the adapter, whose client library has no TLS */
        int32_t redis_job_ttl_s;    /* REDIS_JOB_TTL, default 3600 */
        const char *task_queue;     /* RABBITMQ_TASK_QUEUE, default ai_tasks */
        const char *event_exchange; /* RABBITMQ_EVENT_EXCHANGE, default ai_events */
        const char *events;         /* AIPLAT_EVENTS, default all; see aip_job_events_parse() */
        enum aip_log_level log_level;   /* LOG_LEVEL, default info */
        enum aip_log_format log_format; /* AIPLAT_LOG_FORMAT: auto, human, json */
        const char *listen_host;        /* AIPLAT_LISTEN, default 127.0.0.1:8000; [::1]:8000 works */
        int32_t listen_port;
        const char *monitor_host;       /* AIPLAT_MONITOR_LISTEN, default empty: nothing of its own */
        int32_t monitor_port;
        int32_t max_body_bytes;         /* AIPLAT_MAX_BODY_BYTES, default 1048576 */
        int32_t max_connections;        /* AIPLAT_MAX_CONNECTIONS, default 10000 */
        int32_t request_timeout_ms;     /* AIPLAT_REQUEST_TIMEOUT_MS, default 30000: a slow client's */
        int32_t concurrency;            /* AIPLAT_CONCURRENCY, default 256: jobs at once in a worker */
        int32_t lease_ms;               /* AIPLAT_LEASE_MS, default 10000 */
        int32_t heartbeat_ms;           /* AIPLAT_HEARTBEAT_MS, default 3000; below a half of the lease */
        int32_t drain_timeout_ms;       /* AIPLAT_DRAIN_TIMEOUT_MS, default 30000 */
        int32_t migrate;                /* AIPLAT_MIGRATE, default true: apply migrations at start */
        int32_t simulate_missing_keys;  /* AIPLAT_SIMULATE_MISSING_KEYS: answer by the simulated provider
                                         * where a configuration's API key is not set; default true
                                         * on a sqlite: database, false otherwise */
        const char *openai_base_url;    /* OPENAI_BASE_URL, default https://api.openai.com/v1 */
        const char *anthropic_base_url; /* ANTHROPIC_BASE_URL, default https://api.anthropic.com */
        const char *tool_hosts;         /* AIPLAT_TOOL_HOSTS, default none; see aip_http_tools_new() */
        int32_t tool_private_addresses; /* AIPLAT_TOOL_PRIVATE_ADDRESSES, default false */
        const char *mcp_servers;        /* AIPLAT_MCP_SERVERS, default none: a file; see aip_mcp_servers_new() */
        int32_t retention_h;   /* AIPLAT_RETENTION_HOURS, default 720: ended jobs are kept; 0: for ever */
        int32_t partition_h;   /* AIPLAT_PARTITION_HOURS, default 168: width of partitions of jobs */
        int32_t idempotency_h; /* AIPLAT_IDEMPOTENCY_HOURS, default 72; not above retention_h */
        int32_t is_default_database;    /* database_url is the default: its folder may have to be made */
};

struct aip_settings_source {
        size_t self_size;
        const char *env_file;       /* NULL: `.env` if it exists; "": none; a name must exist */
        const char *const *environ; /* NULL-terminated NAME=value; NULL: the process's own */
        const char *const *overrides; /* NULL-terminated NAME=value, from the command line; or NULL */
};

#define AIP_SETTINGS_SOURCE_INIT                                                                   \
        {                                                                                          \
                sizeof(struct aip_settings_source), NULL, NULL, NULL                               \
        }

/* Read and check everything. *ret_settings is owned by caller. Errors: AIP_EINVAL, AIP_EIO,
 * AIP_ENOMEM. Values in the file that name API keys are put into the process's environment unless
 * they are set there. Not thread-safe against getenv. */
AIP_API int aip_settings_load(const struct aip_settings_source *source, aip_settings **ret_settings,
                              aip_error **err);
AIP_API const struct aip_settings_values *aip_settings_values(const aip_settings *settings);
AIP_API void aip_settings_free(aip_settings *settings);

/* Name, default and a line of help of setting number `index`, for --help and for documents; NULL at
 * the end. Static. */
struct aip_setting_info {
        const char *name;
        const char *fallback;
        const char *help;
};
AIP_API const struct aip_setting_info *aip_setting_info(size_t index);

AIP_END_DECLS

#endif
