/*
 * Parses RABBITMQ_URL (see rabbitmq_settings.h). Called by the constructor of the queue. It must
 * never put the URL, which holds the password, into an error.
 */
#include "rabbitmq_settings.h"

#include "macros.h"
#include "mem.h"
#include "percent.h"

#include <stdio.h>

/* A frozen worker's unclaimed messages come back to the others when the broker has not heard it for two of
 * these: about when its lease has expired, too. */
#define DEFAULT_HEARTBEAT_S    4
#define DEFAULT_TASK_QUEUE     "ai_tasks"
#define DEFAULT_EVENT_EXCHANGE "ai_events"
#define SYSTEM_CA_FILE         "/etc/ssl/certs/ca-certificates.crt" /* Debian's */
#define NAME_MAX_BYTES         255                                  /* an AMQP short string */

static int set_heartbeat(struct rabbitmq_settings *settings, const char *text, aip_error **err)
{
        char *end;
        long seconds = strtol(text, &end, 10);
        if (end == text || *end || seconds < 1 || seconds > 600)
                return aip_error_set(err, AIP_EINVAL,
                                     "RabbitMQ URL: heartbeat must be 1 to 600 seconds");
        settings->heartbeat_s = (int)seconds;
        return 0;
}

static int set_option(struct rabbitmq_settings *settings, char *name, aip_error **err)
{
        char *value = strchr(name, '=');
        if (!value)
                return aip_error_set(err, AIP_EINVAL, "RabbitMQ URL: an option without a value");
        *value++ = '\0';
        if (percent_decode(value) < 0)
                return aip_error_set(err, AIP_EINVAL, "RabbitMQ URL: option %s is badly encoded",
                                     name);
        if (strcmp(name, "heartbeat") == 0)
                return set_heartbeat(settings, value, err);
        if (strcmp(name, "cacertfile") == 0)
                settings->ca_file = value;
        else if (strcmp(name, "certfile") == 0)
                settings->certificate_file = value;
        else if (strcmp(name, "keyfile") == 0)
                settings->key_file = value;
        else
                return aip_error_set(err, AIP_EINVAL, "RabbitMQ URL: unknown option %s", name);
        return 0;
}

static int parse_options(struct rabbitmq_settings *settings, char *options, aip_error **err)
{
        char *rest = options;
        for (char *name; (name = strsep(&rest, "&"));) {
                int r = *name ? set_option(settings, name, err) : 0;
                if (r < 0)
                        return r;
        }
        if (!settings->server.ssl && (settings->certificate_file || settings->key_file))
                return aip_error_set(err, AIP_EINVAL, "RabbitMQ URL: certificates need amqps://");
        if (!settings->certificate_file != !settings->key_file)
                return aip_error_set(err, AIP_EINVAL,
                                     "RabbitMQ URL: certfile and keyfile go together");
        return 0;
}

static int parse_url(struct rabbitmq_settings *settings, aip_error **err)
{
        char *options = strchr(settings->url, '?');
        if (options)
                *options++ = '\0';
        if (amqp_parse_url(settings->url, &settings->server) != AMQP_STATUS_OK)
                return aip_error_set(err, AIP_EINVAL,
                                     "not a RabbitMQ URL; it looks like "
                                     "amqp://user:password@host:5672/vhost");
        if (settings->server.port < 1 || settings->server.port > 65535 || !*settings->server.host)
                return aip_error_set(
                        err, AIP_EINVAL,
                        "RabbitMQ URL: no host, or a port that is not from 1 to 65535");
        /* "amqp://host/" means the default vhost to everybody but the letter of the URL's grammar.
         * */
        if (settings->server.vhost[0] == '\0')
                settings->server.vhost = (char *)"/";
        return options ? parse_options(settings, options, err) : 0;
}

static int copy_name(const char *what, const char *name, const char *otherwise, char **ret_name,
                     aip_error **err)
{
        name = name && *name ? name : otherwise;
        if (strlen(name) > NAME_MAX_BYTES)
                return aip_error_set(err, AIP_EINVAL, "the name of the %s is longer than %d bytes",
                                     what, NAME_MAX_BYTES);
        *ret_name = aip_strdup(name);
        return *ret_name ? 0 : aip_error_set_nomem(err);
}

static int format_address(struct rabbitmq_settings *settings, aip_error **err)
{
        const struct amqp_connection_info *server = &settings->server;
        const char *slash = server->vhost[0] == '/' ? "" : "/";
        if (asprintf(&settings->address, "%s:%d%s%s", server->host, server->port, slash,
                     server->vhost) >= 0)
                return 0;
        settings->address = NULL;
        return aip_error_set_nomem(err);
}

/* One node: `url` without those that follow it. */
static int init_node(struct rabbitmq_settings *settings, struct aip_str url, const char *task_queue,
                     const char *event_exchange, aip_error **err)
{
        const char *ca_file = getenv("SSL_CERT_FILE");
        *settings = (struct rabbitmq_settings){
                .heartbeat_s = DEFAULT_HEARTBEAT_S,
                .ca_file = ca_file && *ca_file ? ca_file : SYSTEM_CA_FILE,
        };
        settings->url = aip_str_dup(url);
        if (!settings->url)
                return aip_error_set_nomem(err);
        settings->url_bytes = url.n;
        int r = parse_url(settings, err);
        if (r == 0)
                r = copy_name("task queue", task_queue, DEFAULT_TASK_QUEUE, &settings->task_queue,
                              err);
        if (r == 0)
                r = copy_name("event exchange", event_exchange, DEFAULT_EVENT_EXCHANGE,
                              &settings->event_exchange, err);
        return r < 0 ? r : format_address(settings, err);
}

/* A comma ends a URL where another one follows it: passwords and options may hold commas too. */
static const char *end_of_url(const char *url)
{
        const char *plain = strstr(url, ",amqp://"), *secure = strstr(url, ",amqps://");
        if (plain && secure)
                return AIP_MIN(plain, secure);
        if (plain || secure)
                return plain ? plain : secure;
        return url + strlen(url);
}

int rabbitmq_settings_init(struct rabbitmq_settings *settings, const char *url,
                           const char *task_queue, const char *event_exchange, aip_error **err)
{
        struct rabbitmq_settings *node = settings;
        for (;;) {
                const char *end = end_of_url(url);
                int r = init_node(node, aip_str_make(url, (size_t)(end - url)), task_queue,
                                  event_exchange, err);
                if (r == 0 && *end == ',') {
                        node->next = aip_calloc(1, sizeof(*node));
                        r = node->next ? 0 : aip_error_set_nomem(err);
                }
                if (r < 0) {
                        rabbitmq_settings_deinit(settings);
                        return r;
                }
                if (*end == '\0')
                        return 0;
                url = end + 1;
                node = node->next;
        }
}

static void deinit_node(struct rabbitmq_settings *settings)
{
        if (settings->url)
                explicit_bzero(settings->url, settings->url_bytes);
        aip_free(settings->url);
        aip_free(settings->address);
        aip_free(settings->task_queue);
        aip_free(settings->event_exchange);
}

void rabbitmq_settings_deinit(struct rabbitmq_settings *settings)
{
        for (struct rabbitmq_settings *node = settings->next, *next; node; node = next) {
                next = node->next;
                deinit_node(node);
                aip_free(node);
        }
        deinit_node(settings);
        *settings = (struct rabbitmq_settings){0};
}
