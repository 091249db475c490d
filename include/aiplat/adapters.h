/* Constructors of the adapters that come with the library. */
#ifndef AIPLAT_ADAPTERS_H
#define AIPLAT_ADAPTERS_H

#if defined(AIP_LAYER) && (AIP_LAYER < 4 || AIP_LAYER == 5)
#error "infrastructure: not for this layer"
#endif

#include <aiplat/log.h>
#include <aiplat/ports/cache.h>
#include <aiplat/ports/catalog_repository.h>
#include <aiplat/ports/checkpoint_store.h>
#include <aiplat/ports/event_stream.h>
#include <aiplat/ports/job_repository.h>
#include <aiplat/ports/llm.h>
#include <aiplat/ports/loop.h>
#include <aiplat/ports/queue.h>
#include <aiplat/ports/random.h>
#include <aiplat/ports/thread_repository.h>
#include <aiplat/tool_registry.h>

AIP_BEGIN_DECLS

/*
 * A store is a job repository and a catalog repository on one database. Constructors return at
 * once and connect in the background, again and again with back-off (0.1–5 s, jitter); operations
 * wait for the connection until their deadline (default 5 s) and then fail with AIP_EUNAVAILABLE.
 */
struct aip_store {
        struct aip_job_repository jobs;
        struct aip_catalog_repository catalog;
        /* Apply the migrations that are missing; safe when several processes do it at once. */
        void (*migrate)(void *self, struct aip_op *op);
        /* Ends every operation in flight (AIP_ECANCELLED) and the threads; then the loop may be freed.
         * `op` is done when nothing of the store is left on the loop; the object is freed. */
        void (*close)(void *self, struct aip_op *op);
        void *self;
        struct aip_checkpoint_store checkpoints;
        struct aip_thread_repository threads;
};

struct aip_store_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log; /* borrowed for the store's life; may be NULL */
        struct aip_random random;
        const char *url;
        /* 1u << aip_job_event_type: events that nobody publishes. What has no other either, and no task
         * message, needs no outbox row; 0: all are published. */
        uint32_t muted_events;
};

/* url: postgresql://… or a libpq connection string. Opens a few connections, one of them to LISTEN. */
AIP_API int aip_postgres_store_new(const struct aip_store_options *options,
                                   struct aip_store *ret_store, aip_error **err);
/* url: sqlite:///relative/path, sqlite:////absolute/path. WAL, synchronous=FULL; one write thread,
 * one read thread. Changes by other processes are noticed within 250 ms. */
AIP_API int aip_sqlite_store_new(const struct aip_store_options *options,
                                 struct aip_store *ret_store, aip_error **err);
/* Everything in this process's memory, gone with it: for tests, simulations and examples. */
AIP_API int aip_memory_store_new(const struct aip_store_options *options,
                                 struct aip_store *ret_store, aip_error **err);

struct aip_queue_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random;
        const char *url;
        const char *task_queue;
        const char *event_exchange;
};

struct aip_queue_handle {
        struct aip_queue queue;
        void (*close)(void *self, struct aip_op *op); /* as aip_store.close */
        void *self;
};

/* Declares the durable quorum queue and the durable topic exchange when it connects. */
AIP_API int aip_rabbitmq_queue_new(const struct aip_queue_options *options,
                                   struct aip_queue_handle *ret_queue, aip_error **err);
/* Tasks go to the consumer of the same process, through a bounded ring; events are dropped. */
AIP_API int aip_memory_queue_new(const struct aip_queue_options *options,
                                 struct aip_queue_handle *ret_queue, aip_error **err);

struct aip_cache_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random;
        const char *url;
        size_t max_bytes; /* memory cache only: least recently used entries go first; 0: 64 MiB */
        /* Redis only: so much of what was read lately is kept in this process, too, for up to a minute,
         * also beyond its time to live; 0: nothing. */
        size_t near_bytes;
};

struct aip_cache_handle {
        struct aip_cache cache;
        void (*close)(void *self, struct aip_op *op);
        void *self;
};

AIP_API int aip_redis_cache_new(const struct aip_cache_options *options,
                                struct aip_cache_handle *ret_cache, aip_error **err);
AIP_API int aip_memory_cache_new(const struct aip_cache_options *options,
                                 struct aip_cache_handle *ret_cache, aip_error **err);

struct aip_events_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random;
        const char *url;
        int32_t keep_s;   /* a job's events, after its end; 0: an hour */
        size_t max_bytes; /* memory only: of all jobs; 0: 64 MiB */
};

struct aip_events_handle {
        struct aip_event_stream events;
        void (*close)(void *self, struct aip_op *op);
        void *self;
};

AIP_API int aip_redis_events_new(const struct aip_events_options *options,
                                 struct aip_events_handle *ret_events, aip_error **err);
AIP_API int aip_memory_events_new(const struct aip_events_options *options,
                                  struct aip_events_handle *ret_events, aip_error **err);

/*
 * Model providers over HTTP share one client: one libcurl multi handle, HTTP/2 where an https server
 * offers it, kept connections otherwise. Certificates are verified, redirects are not followed, and
 * proxies named in the environment (https_proxy …) are not used: a call goes where its configuration
 * says.
 */
typedef struct aip_http_client aip_http_client;
struct aip_http_client_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        int32_t connect_timeout_ms;       /* default 10,000 */
        int32_t max_connections_per_host; /* default 256; more calls wait for a free one */
        const char *ca_file;     /* PEM bundle of the authorities to trust; NULL: the system's */
        int32_t idle_timeout_ms; /* without any call: connections are closed; default 30,000 */
        /* Connect to addresses of the public Internet only; what counts is the address, not the name.
         * Default 0. */
        int32_t public_addresses_only;
};
#define AIP_HTTP_CLIENT_OPTIONS_INIT                                                               \
        {                                                                                          \
                sizeof(struct aip_http_client_options), {NULL, NULL}, NULL, 10000, 256, NULL,      \
                        30000, 0                                                                   \
        }
AIP_API int aip_http_client_new(const struct aip_http_client_options *options,
                                aip_http_client **ret_client, aip_error **err);
/* No call may be in flight. */
AIP_API void aip_http_client_free(aip_http_client *client);

/* base_url is used where a configuration has none. The client is borrowed. */
AIP_API int aip_openai_llm_new(aip_http_client *client, const char *base_url,
                               struct aip_llm *ret_llm, aip_error **err);
AIP_API int aip_anthropic_llm_new(aip_http_client *client, const char *base_url,
                                  struct aip_llm *ret_llm, aip_error **err);

/*
 * The simulated provider: deterministic, no network. Its answers begin with "[simulated] ". What it
 * does is told in the model name, as words joined by ",": "simulated", "echo" (answer the system
 * and user messages), "latency=250" (ms), "tokens=100" (of output), "fail=provider_overloaded" (a kind
 * of ports/llm.h), "failures=2" (only the first two calls of each job fail), "retry-after=50" (ms).
 * Streamed, it tells a word at a time: "pace=20" (ms between them), "after=5" (a failure comes after
 * five deltas). It calls tools that are offered when told "call", "call=NAME" or "call=NAME+NAME" (or
 * by tool_choice), with the JSON object in the user's last message for arguments, else some that fit
 * the schema, once after each message of the user ("rounds=3": three times). Structured output is
 * made from its schema.
 * Unknown words are ignored, so that any model's name may stand there.
 */
AIP_API int aip_simulated_llm_new(struct aip_loop loop, struct aip_llm *ret_llm, aip_error **err);

/*
 * HTTP tools, as graph documents describe them (docs/tools.md). `hosts` are those that they may call: "HOST",
 * "HOST:PORT", "*.DOMAIN" with commas between, or "*"; NULL or "": none. Give them a client of their own,
 * with public_addresses_only, unless private addresses may be called too. The client is borrowed.
 */
typedef struct aip_http_tools aip_http_tools;
AIP_API int aip_http_tools_new(aip_http_client *client, const char *hosts,
                               aip_http_tools **ret_tools, aip_error **err);
/* As the type "http". */
AIP_API int aip_http_tools_register(aip_http_tools *tools, aip_tool_registry *registry,
                                    aip_error **err);
/* Its tools are gone before. Accepts NULL. */
AIP_API void aip_http_tools_free(aip_http_tools *tools);

/*
 * MCP servers, as a file names them (docs/tools.md): child processes or URLs. Their tools are put into the
 * registry as "SERVER__TOOL", in the group SERVER, when they are connected, and stay there while a server
 * is away; a call then connects it again. All is borrowed for the servers' life.
 */
typedef struct aip_mcp_servers aip_mcp_servers;
struct aip_mcp_servers_options {
        size_t self_size;
        struct aip_loop loop;
        const struct aip_log *log;
        aip_http_client *client;
        aip_tool_registry *registry;
        const char *file; /* NULL or "": there are no servers */
};
/* Reads the file; connects to nobody yet. */
AIP_API int aip_mcp_servers_new(const struct aip_mcp_servers_options *options,
                                aip_mcp_servers **ret_servers, aip_error **err);
/* Connect, and again whenever a connection is lost. */
AIP_API void aip_mcp_servers_start(aip_mcp_servers *servers);
/* Done when each has been connected or has failed at it, or when op->deadline_ms has come; never fails. One
 * at a time. */
AIP_API void aip_mcp_servers_wait(aip_mcp_servers *servers, struct aip_op *op);
/* Ends the calls, ends the child processes. No tool may be called afterwards. */
AIP_API void aip_mcp_servers_close(aip_mcp_servers *servers, struct aip_op *op);
/* They were never started, or are closed; the registry is gone. Accepts NULL. */
AIP_API void aip_mcp_servers_free(aip_mcp_servers *servers);

AIP_END_DECLS

#endif
