/*
 * The MCP servers that the operator has named (aiplat/adapters.h), read from a file:
 *     {"servers": {"files": {"command": ["npx", "-y", "…"], "env": ["FILES_TOKEN"]},
 *                  "wiki": {"url": "https://…/mcp", "headers": {…}, "timeout_ms": 60000}}}
 * Made, started and closed by the runtime. No document can add to them.
 */
#include "macros.h"
#include "mem.h"
#include "tools/mcp_server.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define SERVERS_MAX    100
#define NAME_MAX_BYTES 32
#define TIMEOUT_MS     60000

struct aip_mcp_servers {
        struct aip_mcp_servers_options options;
        struct mcp_server *servers[SERVERS_MAX];
        size_t n, n_untried, n_open;
        struct aip_op *wait_op, *close_op;
        struct aip_timer wait_timer;
};

/* ── waiting, closing ────────────────────────────────────────────────────────────────────────── */

static void end_wait(struct aip_mcp_servers *servers)
{
        struct aip_op *op = AIP_TAKE(servers->wait_op);

        aip_timer_clear(servers->options.loop, &servers->wait_timer);
        if (op)
                aip_op_finish(servers->options.loop, op, NULL);
}

static void wait_timed_out(struct aip_timer *timer)
{
        end_wait(AIP_CONTAINER_OF(timer, struct aip_mcp_servers, wait_timer));
}

static void server_tried(void *user)
{
        struct aip_mcp_servers *servers = user;

        if (--servers->n_untried == 0)
                end_wait(servers);
}

static void server_closed(void *user)
{
        struct aip_mcp_servers *servers = user;

        if (--servers->n_open == 0)
                aip_op_finish(servers->options.loop, AIP_TAKE(servers->close_op), NULL);
}

void aip_mcp_servers_wait(aip_mcp_servers *servers, struct aip_op *op)
{
        int64_t now = aip_now_ms(servers->options.loop);

        servers->wait_op = op;
        if (servers->n_untried == 0)
                end_wait(servers);
        else if (op->deadline_ms)
                aip_timer_set(servers->options.loop, &servers->wait_timer,
                              AIP_MAX(op->deadline_ms - now, (int64_t)0));
}

void aip_mcp_servers_start(aip_mcp_servers *servers)
{
        for (size_t i = 0; i < servers->n; i++)
                mcp_server_start(servers->servers[i]);
}

void aip_mcp_servers_close(aip_mcp_servers *servers, struct aip_op *op)
{
        end_wait(servers);
        servers->close_op = op;
        servers->n_open = servers->n;
        if (servers->n == 0)
                aip_op_finish(servers->options.loop, AIP_TAKE(servers->close_op), NULL);
        for (size_t i = 0; i < servers->n; i++)
                mcp_server_close(servers->servers[i]);
}

void aip_mcp_servers_free(aip_mcp_servers *servers)
{
        if (!servers)
                return;
        aip_timer_clear(servers->options.loop, &servers->wait_timer);
        for (size_t i = 0; i < servers->n; i++)
                mcp_server_free(servers->servers[i]);
        aip_free(servers);
}
AIP_DEFINE_CLEANUP(aip_mcp_servers *, aip_mcp_servers_free);

/* ── reading the file ────────────────────────────────────────────────────────────────────────── */

static int read_all(int fd, const char *path, struct aip_buf *text, aip_error **err)
{
        for (;;) {
                int r = aip_buf_reserve(text, 4096);
                ssize_t n;
                if (r < 0)
                        return r == AIP_ENOMEM ? aip_error_set_nomem(err)
                                               : aip_error_set(err, AIP_EINVAL,
                                                               "%s: larger than a megabyte", path);
                n = read(fd, text->p + text->n, 4096);
                if (n == 0)
                        return 0;
                if (n > 0)
                        text->n += (size_t)n;
                else if (errno != EINTR)
                        return aip_error_set(err, AIP_EIO, "cannot read %s: %s", path,
                                             strerror(errno));
        }
}

static int read_file(const char *path, aip_value **ret_value, aip_error **err)
{
        _cleanup_(aip_buf_deinit) struct aip_buf text = AIP_BUF_INIT(FILE_MAX_BYTES);
        int fd = open(path, O_RDONLY | O_CLOEXEC), r;
        aip_error *cause = NULL;

        if (fd < 0)
                return aip_error_set(err, AIP_EIO, "cannot open %s: %s", path, strerror(errno));
        r = read_all(fd, path, &text, err);
        close(fd);
        if (r < 0)
                return r;
        if ((r = aip_value_parse(aip_buf_str(&text), ret_value, &cause)) == 0)
                return 0;
        return aip_error_wrap(err, cause, r, "%s: %s", path, aip_error_message(cause));
}

static int is_name(struct aip_str name)
{
        for (size_t i = 0; i < name.n; i++)
                if (!name.p[i] || !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789-_",
                                          name.p[i]))
                        return 0;
        return name.n > 0 && name.n <= NAME_MAX_BYTES;
}

static int add_server(aip_mcp_servers *servers, struct aip_str name, const aip_value *spec,
                      aip_error **err)
{
        struct mcp_server_options options = {.registry = servers->options.registry};
        char text[NAME_MAX_BYTES + 1];
        aip_error *cause = NULL;
        int r;

        if (!is_name(name) || aip_value_type(spec) != AIP_VALUE_OBJECT)
                return aip_error_set(
                        err, AIP_EINVAL,
                        "%s: /servers/%.*s: must be an object, under a name of 1 to %d "
                        "letters, digits, '_' and '-'",
                        servers->options.file, AIP_STR_ARG(name), NAME_MAX_BYTES);
        snprintf(text, sizeof(text), "%.*s", AIP_STR_ARG(name));
        options.transport = (struct mcp_transport_options){
                servers->options.loop, servers->options.log, text, NULL, servers->options.client};
        options.timeout_ms = TIMEOUT_MS;
        options.tried = server_tried;
        options.closed = server_closed;
        options.user = servers;
        r = mcp_server_new(&options, spec, &servers->servers[servers->n], &cause);
        if (r < 0) {
                r = aip_error_wrap(err, cause, r, "%s: /servers/%s/%s", servers->options.file, text,
                                   aip_error_message(cause));
                return r;
        }
        servers->n++;
        servers->n_untried++;
        return 0;
}

static int add_servers(aip_mcp_servers *servers, const aip_value *root, aip_error **err)
{
        const aip_value *all = aip_value_get_cstr(root, "servers");
        size_t n = aip_value_size(all);
        int r = 0;

        if (aip_value_size(root) != 1 || aip_value_type(all) != AIP_VALUE_OBJECT || n > SERVERS_MAX)
                return aip_error_set(err, AIP_EINVAL,
                                     "%s: must be {\"servers\": {NAME: …}}, of %d at most",
                                     servers->options.file, SERVERS_MAX);
        for (size_t i = 0; r == 0 && i < n; i++) {
                struct aip_str name;
                const aip_value *spec = aip_value_member(all, i, &name);
                r = add_server(servers, name, spec, err);
        }
        return r;
}

int aip_mcp_servers_new(const struct aip_mcp_servers_options *options,
                        aip_mcp_servers **ret_servers, aip_error **err)
{
        _cleanup_(aip_mcp_servers_free_p) aip_mcp_servers *servers =
                aip_calloc(1, sizeof(*servers));
        _cleanup_(aip_value_unref_p) aip_value *root = NULL;
        int r;

        if (!servers)
                return aip_error_set_nomem(err);
        memcpy(&servers->options, options, AIP_MIN(options->self_size, sizeof(*options)));
        servers->wait_timer.fire = wait_timed_out;
        if (servers->options.file && servers->options.file[0]) {
                r = read_file(servers->options.file, &root, err);
                if (r == 0)
                        r = add_servers(servers, root, err);
                if (r < 0)
                        return r;
        }
        *ret_servers = AIP_TAKE(servers);
        return 0;
}
