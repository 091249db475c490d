/*
 * Settings: one table says each name, default, limits and place; the rest reads the sources in
 * order and converts (aiplat/settings.h). Called once at a program's start. No message quotes a URL
 * or a key: they hold secrets.
 */
#include "env_file.h"
#include "fault_point.h"
#include "macros.h"
#include "mem.h"
#include <aiplat/settings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENV_FILE_MAX_BYTES  (1024 * 1024)
#define AMQP_NAME_MAX_BYTES 255
#define DEFAULT_DATABASE    "sqlite:///$XDG_DATA_HOME/aiplat/aiplat.db"
#define DEPENDS_ON_DATABASE "true on a sqlite: database"
#define API_KEY_SUFFIX      "_API_KEY"
#define OWN_PREFIX          "AIPLAT_"
#define CLIENT_URL          "AIPLAT_URL" /* where aiplatctl finds the gateway: no server's setting */

struct spec;

/* One setting being converted. */
struct input {
        const struct spec *spec;
        size_t index; /* of the setting in the table */
        const char *text;
        const char *source; /* "the environment" …, for messages */
        aip_error **err;
};

struct spec {
        struct aip_setting_info info;
        int (*convert)(struct aip_settings *settings, const struct input *input);
        size_t offset; /* of the field in struct aip_settings_values */
        int32_t min, max;
};

#define FIELD(name) offsetof(struct aip_settings_values, name)

/* What the sources say about one setting, the last one heard. */
struct raw {
        char *text; /* owned; NULL: not set */
        const char *source;
};

/* An API key from the file, put into the environment when everything else is right. */
struct api_key {
        struct api_key *next;
        char *value; /* in the same allocation, behind the name */
        char name[];
};

#define N_SPECS 28

struct aip_settings {
        struct aip_settings_values values;
        char *owned[N_SPECS]; /* the strings that `values` points to, by number of the setting */
};

AIP_DEFINE_CLEANUP(aip_settings *, aip_settings_free);

/* ---- conversion ---- */

static int refuse(const struct input *input, const char *what)
{
        return aip_error_set(input->err, AIP_EINVAL, "%s (%s): %s", input->spec->info.name,
                             input->source, what);
}

static void *field_of(struct aip_settings *settings, const struct spec *spec)
{
        return (char *)&settings->values + spec->offset;
}

/* Consumes `text`; NULL is out of memory. */
static int keep(struct aip_settings *settings, const struct input *input, char *text)
{
        if (!text)
                return aip_error_set_nomem(input->err);
        char **owned = &settings->owned[input->index];
        aip_free(*owned);
        *owned = text;
        *(const char **)field_of(settings, input->spec) = text;
        return 0;
}

static int convert_int(struct aip_settings *settings, const struct input *input)
{
        const struct spec *spec = input->spec;
        char *end = NULL;
        errno = 0;
        long long number = strtoll(input->text, &end, 10);
        if (end == input->text || *end != '\0' || errno != 0 || number < spec->min ||
            number > spec->max)
                return aip_error_set(
                        input->err, AIP_EINVAL, "%s (%s): '%s' is not a whole number from %d to %d",
                        spec->info.name, input->source, input->text, spec->min, spec->max);
        *(int32_t *)field_of(settings, spec) = (int32_t)number;
        return 0;
}

static int parse_bool(const char *text, int32_t *ret_bool)
{
        static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
        for (size_t i = 0; i < AIP_ARRAY_SIZE(words); i++) {
                if (strcasecmp(text, words[i]) == 0) {
                        *ret_bool = i % 2 == 1;
                        return 0;
                }
        }
        return -1;
}

static int convert_bool(struct aip_settings *settings, const struct input *input)
{
        if (parse_bool(input->text, field_of(settings, input->spec)) == 0)
                return 0;
        return aip_error_set(input->err, AIP_EINVAL, "%s (%s): '%s' is neither true nor false",
                             input->spec->info.name, input->source, input->text);
}

static int starts_with(const char *text, const char *prefix)
{
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int convert_simulate(struct aip_settings *settings, const struct input *input)
{
        if (strcmp(input->text, DEPENDS_ON_DATABASE) != 0)
                return convert_bool(settings, input);
        settings->values.simulate_missing_keys =
                starts_with(settings->values.database_url, "sqlite:");
        return 0;
}

static int convert_level(struct aip_settings *settings, const struct input *input)
{
        aip_error *cause = NULL;
        if (aip_log_level_parse(aip_str_of(input->text), field_of(settings, input->spec), &cause) ==
            0)
                return 0;
        refuse(input, aip_error_message(cause));
        aip_error_free(cause);
        return AIP_EINVAL;
}

/* Which names there are is the domain's to know: aip_job_events_parse(). */
static int convert_text(struct aip_settings *settings, const struct input *input)
{
        return keep(settings, input, aip_strdup(input->text));
}

static int convert_format(struct aip_settings *settings, const struct input *input)
{
        static const char *const names[] = {
                [AIP_LOG_FORMAT_AUTO] = "auto",
                [AIP_LOG_FORMAT_HUMAN] = "human",
                [AIP_LOG_FORMAT_JSON] = "json",
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(names); i++) {
                if (strcasecmp(input->text, names[i]) == 0) {
                        settings->values.log_format = (enum aip_log_format)i;
                        return 0;
                }
        }
        return refuse(input, "must be auto, human or json");
}

static int convert_amqp_name(struct aip_settings *settings, const struct input *input)
{
        size_t bytes = strlen(input->text);
        if (bytes == 0 || bytes > AMQP_NAME_MAX_BYTES || starts_with(input->text, "amq."))
                return refuse(input,
                              "must be a name of 1 to 255 bytes that does not begin with amq.");
        return keep(settings, input, aip_strdup(input->text));
}

/* `scheme+driver://rest` as `scheme://rest`, what SQLAlchemy users write. */
static char *without_driver(const char *url)
{
        char *copy = aip_strdup(url);
        char *plus = copy ? strpbrk(copy, "+:") : NULL;
        char *colon = plus && *plus == '+' ? strchr(plus, ':') : NULL;
        if (colon)
                memmove(plus, colon, strlen(colon) + 1);
        return copy;
}

static int convert_database(struct aip_settings *settings, const struct input *input)
{
        _cleanup_(aip_free_p) char *url = without_driver(input->text);
        if (!url)
                return aip_error_set_nomem(input->err);
        if (starts_with(url, "sqlite:///") && url[strlen("sqlite:///")] != '\0')
                return keep(settings, input, AIP_TAKE(url));
        if (starts_with(url, "postgresql://") || starts_with(url, "postgres://"))
                return keep(settings, input, AIP_TAKE(url));
        if (strcmp(url, "memory:") == 0)
                return keep(settings, input, AIP_TAKE(url));
        return refuse(input, "must be sqlite:///PATH, postgresql://… or memory:");
}

static int convert_rabbitmq(struct aip_settings *settings, const struct input *input)
{
        if (strcmp(input->text, "memory:") != 0 && !starts_with(input->text, "amqp://") &&
            !starts_with(input->text, "amqps://"))
                return refuse(input, "must be memory:, amqp://… or amqps://…");
        for (const char *comma = input->text; (comma = strchr(comma, ',')); comma++)
                if (comma[1] == '\0' || starts_with(comma + 1, "memory:"))
                        return refuse(input,
                                      "a list must name amqp://… or amqps://… behind each comma");
        return keep(settings, input, aip_strdup(input->text));
}

static int convert_redis(struct aip_settings *settings, const struct input *input)
{
        if (strcmp(input->text, "memory:") != 0 && !starts_with(input->text, "redis://") &&
            !starts_with(input->text, "rediss://"))
                return refuse(input, "must be memory:, redis://… or rediss://…");
        return keep(settings, input, aip_strdup(input->text));
}

static int convert_http_url(struct aip_settings *settings, const struct input *input)
{
        struct aip_str url = aip_str_of(input->text);
        while (url.n > 0 && url.p[url.n - 1] == '/')
                url.n--;
        if (!starts_with(input->text, "http://") && !starts_with(input->text, "https://"))
                return refuse(input, "must begin with http:// or https://");
        return keep(settings, input, aip_str_dup(url));
}

/* HOST:PORT or [IPV6]:PORT */
static int convert_address(struct aip_settings *settings, const struct input *input,
                           int32_t *ret_port)
{
        struct aip_str host = aip_str_of(input->text);
        const char *colon = strrchr(input->text, ':');
        char *end = NULL;
        long port = colon ? strtol(colon + 1, &end, 10) : -1;
        if (!colon || colon == input->text || colon[1] < '0' || colon[1] > '9' || *end != '\0' ||
            port > 65535)
                return refuse(input, "must be HOST:PORT or [IPV6]:PORT");
        host.n = (size_t)(colon - input->text);
        if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
                host = aip_str_make(host.p + 1, host.n - 2);
        else if (memchr(host.p, ':', host.n) || memchr(host.p, '[', host.n))
                return refuse(input, "an IPv6 address must stand in brackets: [::1]:8000");
        *ret_port = (int32_t)port;
        return keep(settings, input, aip_str_dup(host));
}

static int convert_listen(struct aip_settings *settings, const struct input *input)
{
        return convert_address(settings, input, &settings->values.listen_port);
}

static int convert_monitor(struct aip_settings *settings, const struct input *input)
{
        if (input->text[0] == '\0')
                return convert_text(settings, input);
        return convert_address(settings, input, &settings->values.monitor_port);
}

/* clang-format off */
static const struct spec specs[] = {
        /* first, for AIPLAT_SIMULATE_MISSING_KEYS depends on it */
        {{"DATABASE_URL", DEFAULT_DATABASE, "where jobs live: sqlite:///PATH, postgresql://…, or memory: (gone with the process)"},
         convert_database, FIELD(database_url), 0, 0},
        {{"RABBITMQ_URL", "memory:", "how jobs reach workers: memory:, amqp://… or amqps://…, several nodes separated by commas"},
         convert_rabbitmq, FIELD(rabbitmq_url), 0, 0},
        {{"REDIS_URL", "memory:", "read cache of jobs: memory:, redis://… or rediss://…"},
         convert_redis, FIELD(redis_url), 0, 0},
        {{"REDIS_JOB_TTL", "3600", "seconds a job stays in the cache"},
         convert_int, FIELD(redis_job_ttl_s), 1, INT32_MAX},
        {{"RABBITMQ_TASK_QUEUE", "ai_tasks", "queue of jobs to be done"},
         convert_amqp_name, FIELD(task_queue), 0, 0},
        {{"RABBITMQ_EVENT_EXCHANGE", "ai_events", "topic exchange of domain events"},
         convert_amqp_name, FIELD(event_exchange), 0, 0},
        {{"AIPLAT_EVENTS", "all", "domain events that are published: all, none, or names with commas between"},
         convert_text, FIELD(events), 0, 0},
        {{"LOG_LEVEL", "info", "debug, info, warning or error"},
         convert_level, FIELD(log_level), 0, 0},
        {{"AIPLAT_LOG_FORMAT", "auto", "auto (human on a terminal, else json), human or json"},
         convert_format, FIELD(log_format), 0, 0},
        {{"AIPLAT_LISTEN", "127.0.0.1:8000", "address and port of the gateway"},
         convert_listen, FIELD(listen_host), 0, 0},
        {{"AIPLAT_MONITOR_LISTEN", "", "address and port of /health, /ready and /metrics alone, of gateway or worker; empty: none"},
         convert_monitor, FIELD(monitor_host), 0, 0},
        {{"AIPLAT_MAX_BODY_BYTES", "1048576", "largest request body"},
         convert_int, FIELD(max_body_bytes), 1024, 1 << 30},
        {{"AIPLAT_MAX_CONNECTIONS", "10000", "client connections at once"},
         convert_int, FIELD(max_connections), 1, 1000000},
        {{"AIPLAT_REQUEST_TIMEOUT_MS", "30000", "time a client has to send its request"},
         convert_int, FIELD(request_timeout_ms), 1, INT32_MAX},
        {{"AIPLAT_CONCURRENCY", "256", "jobs at once in a worker"},
         convert_int, FIELD(concurrency), 1, 1000000},
        {{"AIPLAT_LEASE_MS", "10000", "how long a worker may be silent before its job is given away"},
         convert_int, FIELD(lease_ms), 100, 3600000},
        {{"AIPLAT_HEARTBEAT_MS", "3000", "how often a worker renews its leases; below half of them"},
         convert_int, FIELD(heartbeat_ms), 10, 1800000},
        {{"AIPLAT_DRAIN_TIMEOUT_MS", "30000", "time to finish what is in flight when told to stop"},
         convert_int, FIELD(drain_timeout_ms), 0, INT32_MAX},
        {{"AIPLAT_MIGRATE", "true", "apply migrations of the database at start"},
         convert_bool, FIELD(migrate), 0, 0},
        {{"AIPLAT_SIMULATE_MISSING_KEYS", DEPENDS_ON_DATABASE,
          "answer by the simulated provider where an API key is not set"},
         convert_simulate, FIELD(simulate_missing_keys), 0, 0},
        {{"OPENAI_BASE_URL", "https://api.openai.com/v1", "base of the OpenAI-compatible API"},
         convert_http_url, FIELD(openai_base_url), 0, 0},
        {{"ANTHROPIC_BASE_URL", "https://api.anthropic.com", "base of the Anthropic API"},
         convert_http_url, FIELD(anthropic_base_url), 0, 0},
        {{"AIPLAT_TOOL_HOSTS", "", "hosts that HTTP tools of graphs may call: HOST, HOST:PORT, *.DOMAIN, with commas between, or *"},
         convert_text, FIELD(tool_hosts), 0, 0},
        {{"AIPLAT_TOOL_PRIVATE_ADDRESSES", "false", "HTTP tools may connect to private addresses, too"},
         convert_bool, FIELD(tool_private_addresses), 0, 0},
        {{"AIPLAT_MCP_SERVERS", "", "a JSON file that names MCP servers, whose tools graphs may call"},
         convert_text, FIELD(mcp_servers), 0, 0},
        {{"AIPLAT_RETENTION_HOURS", "720", "how long ended jobs are kept; 0: for ever"},
         convert_int, FIELD(retention_h), 0, 1000000},
        {{"AIPLAT_PARTITION_HOURS", "168", "time that one partition of the table of jobs covers (PostgreSQL)"},
         convert_int, FIELD(partition_h), 1, 100000},
        {{"AIPLAT_IDEMPOTENCY_HOURS", "72", "how long an Idempotency-Key is remembered; 0: for ever"},
         convert_int, FIELD(idempotency_h), 0, 1000000},
};
/* clang-format on */
AIP_STATIC_ASSERT(AIP_ARRAY_SIZE(specs) == N_SPECS, "one owned string a setting");

const struct aip_setting_info *aip_setting_info(size_t index)
{
        return index < N_SPECS ? &specs[index].info : NULL;
}

/* ---- reading the sources ---- */

struct loader {
        const char *const *environment;
        struct raw raws[N_SPECS];
        struct api_key *api_keys; /* the last of the file first */
};

static void loader_deinit(struct loader *loader)
{
        for (size_t i = 0; i < N_SPECS; i++)
                aip_free(loader->raws[i].text);
        while (loader->api_keys) {
                struct api_key *key = loader->api_keys;
                loader->api_keys = key->next;
                aip_free(key);
        }
}

static int find_spec(struct aip_str name)
{
        for (int i = 0; i < N_SPECS; i++)
                if (aip_str_eq(name, aip_str_of(specs[i].info.name)))
                        return i;
        return -1;
}

static int set_raw(struct loader *loader, int index, const char *value, const char *source,
                   aip_error **err)
{
        char *text = aip_strdup(value);
        if (!text)
                return aip_error_set_nomem(err);
        struct raw *raw = &loader->raws[index];
        aip_free(raw->text);
        raw->text = text;
        raw->source = source;
        return 0;
}

static int is_api_key(struct aip_str name)
{
        size_t n = strlen(API_KEY_SUFFIX);
        return name.n > n && memcmp(name.p + name.n - n, API_KEY_SUFFIX, n) == 0;
}

static int note_api_key(struct loader *loader, const char *name, const char *value, aip_error **err)
{
        size_t name_bytes = strlen(name) + 1, value_bytes = strlen(value) + 1;
        struct api_key *key = aip_alloc(sizeof(*key) + name_bytes + value_bytes);
        if (!key)
                return aip_error_set_nomem(err);
        memcpy(key->name, name, name_bytes);
        key->value = memcpy(key->name + name_bytes, value, value_bytes);
        key->next = loader->api_keys;
        loader->api_keys = key;
        return 0;
}

static int take_from_file(void *user, const char *name, const char *value, int line,
                          aip_error **err)
{
        struct loader *loader = user;
        int index = find_spec(aip_str_of(name));
        if (index >= 0)
                return set_raw(loader, index, value, "the .env file", err);
        if (strcmp(name, CLIENT_URL) == 0)
                return 0;
        if (is_api_key(aip_str_of(name)))
                return note_api_key(loader, name, value, err);
        return aip_error_set(err, AIP_EINVAL, "line %d: unknown setting %s", line, name);
}

static int read_all(int fd, const char *path, struct aip_buf *text, aip_error **err)
{
        for (;;) {
                int r = aip_buf_reserve(text, 4096);
                if (r == AIP_ENOMEM)
                        return aip_error_set_nomem(err);
                if (r < 0)
                        return aip_error_set(err, AIP_EINVAL, "%s: larger than a megabyte", path);
                ssize_t n = read(fd, text->p + text->n, 4096);
                if (n == 0)
                        return 0;
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return aip_error_set(err, AIP_EIO, "cannot read %s: %s", path,
                                             strerror(errno));
                text->n += (size_t)n;
        }
}

static int parse_env_file(struct loader *loader, const char *path, struct aip_str text,
                          aip_error **err)
{
        struct aip_env_visitor visitor = {take_from_file, loader};
        aip_error *cause = NULL;
        int r = aip_env_parse(text, &visitor, &cause);
        if (r == 0 || r == AIP_ENOMEM)
                return aip_error_propagate(err, cause);
        aip_error_set(err, r, "%s, %s", path, aip_error_message(cause));
        aip_error_free(cause);
        return r;
}

static int load_env_file(struct loader *loader, const char *named, aip_error **err)
{
        const char *path = named ? named : ".env";
        if (path[0] == '\0')
                return 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT && !named)
                return 0;
        if (fd < 0)
                return aip_error_set(err, AIP_EIO, "cannot open %s: %s", path, strerror(errno));
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(ENV_FILE_MAX_BYTES + 4096);
        int r = read_all(fd, path, &text, err);
        close(fd);
        return r < 0 ? r : parse_env_file(loader, path, aip_buf_str(&text), err);
}

/* Whether a variable of our prefix is somebody else's to read. */
static int is_others(struct aip_str name)
{
        static const char *const others[] = {
                CLIENT_URL,
#ifdef AIP_FAULT_POINTS
                AIP_FAULT_POINTS_VARIABLE,
                AIP_FAULT_STORE_VARIABLE,
#endif
        };
        for (size_t i = 0; i < AIP_ARRAY_SIZE(others); i++)
                if (aip_str_eq(name, aip_str_of(others[i])))
                        return 1;
        return 0;
}

static int take_assignment(struct loader *loader, const char *assignment, const char *source,
                           int must_know, aip_error **err)
{
        const char *equals = strchr(assignment, '=');
        struct aip_str name = aip_str_of(assignment);
        name.n = equals ? (size_t)(equals - assignment) : name.n;
        int index = equals ? find_spec(name) : -1;
        if (index >= 0)
                return set_raw(loader, index, equals + 1, source, err);
        if (!must_know &&
            (strncmp(assignment, OWN_PREFIX, strlen(OWN_PREFIX)) != 0 || is_others(name)))
                return 0;
        return aip_error_set(err, AIP_EINVAL, "unknown setting %.*s (%s)", AIP_STR_ARG(name),
                             source);
}

static int load_assignments(struct loader *loader, const char *const *assignments,
                            const char *source, int must_know, aip_error **err)
{
        for (; assignments && *assignments; assignments++) {
                int r = take_assignment(loader, *assignments, source, must_know, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int load_sources(struct loader *loader, const struct aip_settings_source *source,
                        aip_error **err)
{
        int r = load_env_file(loader, source->env_file, err);
        if (r == 0)
                r = load_assignments(loader, loader->environment, "the environment", 0, err);
        if (r == 0)
                r = load_assignments(loader, source->overrides, "the command line", 1, err);
        return r;
}

/* ---- putting together ---- */

static const char *find_env(const char *const *environment, const char *name)
{
        size_t n = strlen(name);
        for (; *environment; environment++)
                if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
                        return *environment + n + 1;
        return NULL;
}

/* The place for a user's data of the XDG base directory specification; a relative one is ignored.
 */
static int default_database(struct loader *loader, aip_error **err)
{
        const char *base = find_env(loader->environment, "XDG_DATA_HOME");
        const char *below = "";
        if (!base || base[0] != '/') {
                base = find_env(loader->environment, "HOME");
                below = "/.local/share";
        }
        if (!base || base[0] != '/')
                return aip_error_set(err, AIP_EINVAL,
                                     "DATABASE_URL must be set where there is no HOME");
        struct aip_buf url = AIP_BUF_INIT(SIZE_MAX / 2);
        if (aip_buf_printf(&url, "sqlite:///%s%s/aiplat/aiplat.db", base, below) < 0)
                return aip_error_set_nomem(err);
        loader->raws[0].text = aip_buf_take(&url);
        loader->raws[0].source = "the default";
        return 0;
}

static int convert_all(struct aip_settings *settings, const struct loader *loader, aip_error **err)
{
        for (size_t i = 0; i < N_SPECS; i++) {
                const struct raw *raw = &loader->raws[i];
                struct input input = {
                        .spec = &specs[i],
                        .index = i,
                        .text = raw->text ? raw->text : specs[i].info.fallback,
                        .source = raw->text ? raw->source : "the default",
                        .err = err,
                };
                int r = specs[i].convert(settings, &input);
                if (r < 0)
                        return r;
        }
        if (settings->values.heartbeat_ms * 2 >= settings->values.lease_ms)
                return aip_error_set(err, AIP_EINVAL,
                                     "AIPLAT_HEARTBEAT_MS (%d) must be below half of "
                                     "AIPLAT_LEASE_MS (%d)",
                                     settings->values.heartbeat_ms, settings->values.lease_ms);
        /* A key that outlives its job would let a late repetition be answered with a job that is
         * not there. */
        if (settings->values.retention_h > 0 &&
            (settings->values.idempotency_h == 0 ||
             settings->values.idempotency_h > settings->values.retention_h))
                return aip_error_set(err, AIP_EINVAL,
                                     "AIPLAT_IDEMPOTENCY_HOURS (%d) must not keep keys longer than "
                                     "AIPLAT_RETENTION_HOURS (%d) keeps jobs",
                                     settings->values.idempotency_h, settings->values.retention_h);
        return 0;
}

/* Of several lines for one key the last counts, and it comes first here. An empty value is what
 * .env.example has: no key. */
static int export_api_keys(const struct loader *loader, aip_error **err)
{
        for (const struct api_key *key = loader->api_keys; key; key = key->next)
                if (key->value[0] != '\0' && setenv(key->name, key->value, 0) != 0)
                        return aip_error_set_nomem(err);
        return 0;
}

static int build(struct aip_settings *settings, struct loader *loader,
                 const struct aip_settings_source *source, aip_error **err)
{
        int r = load_sources(loader, source, err);
        settings->values.is_default_database = r == 0 && !loader->raws[0].text;
        if (settings->values.is_default_database)
                r = default_database(loader, err);
        if (r == 0)
                r = convert_all(settings, loader, err);
        return r < 0 ? r : export_api_keys(loader, err);
}

int aip_settings_load(const struct aip_settings_source *source, aip_settings **ret_settings,
                      aip_error **err)
{
        struct aip_settings_source known = AIP_SETTINGS_SOURCE_INIT;
        if (source)
                memcpy(&known, source, AIP_MIN(source->self_size, sizeof(known)));
        _cleanup_(aip_settings_free_p) struct aip_settings *settings =
                aip_calloc(1, sizeof(*settings));
        if (!settings)
                return aip_error_set_nomem(err);
        settings->values.self_size = sizeof(settings->values);
        struct loader loader = {
                .environment = known.environ ? known.environ : (const char *const *)environ,
        };
        int r = build(settings, &loader, &known, err);
        loader_deinit(&loader);
        if (r < 0)
                return r;
        *ret_settings = AIP_TAKE(settings);
        return 0;
}

const struct aip_settings_values *aip_settings_values(const aip_settings *settings)
{
        return &settings->values;
}

void aip_settings_free(aip_settings *settings)
{
        if (!settings)
                return;
        for (size_t i = 0; i < N_SPECS; i++)
                aip_free(settings->owned[i]);
        aip_free(settings);
}
