/*
 * An MCP server that is a child process (see mcp_transport.h): a message a line, over its standard input and
 * output; what it writes to standard error goes to our log. It is left by closing its input; if it
 * does not end by that it is asked to, and then killed. It must never outlive us by our doing, and
 * never inherit more of our environment and descriptors than it is given.
 *
 *     open ──► [messages] ──► leave: input closed ──► (2 s) SIGTERM ──► (2 s) SIGKILL ──► reaped ──► on_down
 */
#include "macros.h"
#include "mem.h"
#include "tools/mcp_transport.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_BYTES     ((size_t)64 * 1024)
#define READS_A_TURN   16
#define LOG_LINE_BYTES 1000
#define LOOK_MS        20   /* between looks whether the child has ended */
#define PATIENCE_MS    2000 /* before it is asked, and before it is killed */
#define ARGUMENTS_MAX  256
#define COMPONENT      "mcp"

extern char **environ;

struct mcp_stdio {
        struct mcp_transport_options options;
        char **argv;
        char **variables; /* names of what the child gets of our environment; NULL at the end */
        pid_t pid;        /* 0: there is no child */
        struct aip_watch in, out, log; /* our ends; fd -1: closed */
        struct aip_buf unsent, line, log_line;
        size_t n_sent; /* of `unsent` */
        struct aip_timer timer;
        int64_t left_ms; /* when it was left; 0: it was not */
        int signals;     /* that it was sent */
        aip_error *why;  /* it was left */
        int is_at_end;   /* its output is; what its process ended with says why */
};

/* ── leaving ─────────────────────────────────────────────────────────────────────────────────── */

static void close_end(struct mcp_stdio *t, struct aip_watch *watch)
{
        if (watch->fd < 0)
                return;
        (void)aip_watch_set(t->options.loop, watch, 0, NULL);
        close(watch->fd);
        watch->fd = -1;
}

/* Consumes `why`. */
static void leave(struct mcp_stdio *t, aip_error *why)
{
        if (t->left_ms) {
                aip_error_free(why);
                return;
        }
        t->why = why;
        t->left_ms = aip_now_ms(t->options.loop);
        t->signals = 0;
        close_end(t, &t->in);
        close_end(t, &t->out);
        close_end(t, &t->log);
        aip_timer_set(t->options.loop, &t->timer, 0);
}

static void leave_because(struct mcp_stdio *t, const char *why)
{
        aip_error *err = NULL;

        aip_error_set(&err, AIP_EUNAVAILABLE, "MCP server %s: %s", t->options.name, why);
        aip_error_set_kind(err, "tool_unreachable");
        leave(t, err);
}

/* What it left as its last words. */
static aip_error *ended_error(const struct mcp_stdio *t, const siginfo_t *info)
{
        aip_error *err = NULL;

        if (info->si_code == CLD_EXITED)
                aip_error_set(&err, AIP_EUNAVAILABLE,
                              "MCP server %s: its process ended with status %d", t->options.name,
                              info->si_status);
        else
                aip_error_set(&err, AIP_EUNAVAILABLE,
                              "MCP server %s: its process was ended by signal %d", t->options.name,
                              info->si_status);
        aip_error_set_kind(err, "tool_unreachable");
        return err;
}

static void reaped(struct mcp_stdio *t, const siginfo_t *info)
{
        aip_error *why = AIP_TAKE(t->why);

        if (t->is_at_end && t->signals == 0) {
                aip_error_free(why);
                why = ended_error(t, info);
        }
        t->pid = 0;
        t->left_ms = 0;
        t->is_at_end = 0;
        t->options.host->on_down(t->options.host, why);
}

/* Its group too: programs that only start others end before them. Looked at before the child is reaped, as long
 * as the group cannot be anybody else's. */
static void look_whether_ended(struct aip_timer *timer)
{
        struct mcp_stdio *t = AIP_CONTAINER_OF(timer, struct mcp_stdio, timer);
        int64_t waited_ms = aip_now_ms(t->options.loop) - t->left_ms;
        siginfo_t info = {0};

        if (waitid(P_PID, (id_t)t->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == t->pid) {
                kill(-t->pid, SIGTERM);
                waitpid(t->pid, NULL, 0);
                reaped(t, &info);
                return;
        }
        if (waited_ms >= PATIENCE_MS * (t->signals + 1) && t->signals < 2)
                kill(-t->pid, t->signals++ ? SIGKILL : SIGTERM);
        aip_timer_set(t->options.loop, &t->timer, LOOK_MS);
}

/* ── reading ─────────────────────────────────────────────────────────────────────────────────── */

/* Some programs greet on standard output, which they must not; that is no reason to leave them. */
static void take_line(struct mcp_stdio *t, struct aip_str line)
{
        aip_error *err = NULL;

        while (line.n > 0 && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' '))
                line.n--;
        if (line.n > 0 && mcp_take_text(t->options.host, line, &err) < 0)
                aip_log_write(t->options.log, AIP_LOG_DEBUG, COMPONENT, "server %s: %s",
                              t->options.name, aip_error_message(err));
        aip_error_free(err);
}

/* Hand out the whole lines of `buf`; what they lead to may close our end. */
static void take_lines(struct mcp_stdio *t)
{
        size_t at = 0;
        const char *end;

        while (t->out.fd >= 0 && (end = memchr(t->line.p + at, '\n', t->line.n - at))) {
                size_t n = (size_t)(end - t->line.p) - at;
                take_line(t, aip_str_make(t->line.p + at, n));
                at += n + 1;
        }
        memmove(t->line.p, t->line.p + at, t->line.n - at);
        t->line.n -= at;
        t->line.p[t->line.n] = '\0';
}

/* Bytes read; 0: nothing now; -1: no more, ever; -2: the buffer is full. */
static ssize_t read_some(int fd, struct aip_buf *buf)
{
        ssize_t n;

        if (aip_buf_reserve(buf, READ_BYTES) < 0)
                return -2;
        n = read(fd, buf->p + buf->n, READ_BYTES);
        if (n > 0) {
                buf->n += (size_t)n;
                buf->p[buf->n] = '\0';
                return n;
        }
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void out_ready(struct aip_watch *watch, unsigned events)
{
        struct mcp_stdio *t = AIP_CONTAINER_OF(watch, struct mcp_stdio, out);
        ssize_t n = 1;

        (void)events;
        for (int i = 0; i < READS_A_TURN && n > 0 && t->out.fd >= 0; i++) {
                size_t before = t->line.n;
                n = read_some(t->out.fd, &t->line);
                if (n > 0 && memchr(t->line.p + before, '\n', (size_t)n))
                        take_lines(t);
        }
        if (n == -2 && t->out.fd >= 0)
                leave_because(t, "it sent a message of more than 16 MB");
        if (n == -1 && t->out.fd >= 0) {
                t->is_at_end = 1;
                leave_because(t, "it closed its output");
        }
}

static void log_lines(struct mcp_stdio *t)
{
        size_t at = 0;

        while (at < t->log_line.n) {
                const char *begin = t->log_line.p + at;
                const char *end = memchr(begin, '\n', t->log_line.n - at);
                size_t n = end ? (size_t)(end - begin) : t->log_line.n - at;
                if (n > 0)
                        aip_log_write(t->options.log, AIP_LOG_DEBUG, COMPONENT,
                                      "server %s says: %.*s", t->options.name,
                                      (int)AIP_MIN(n, (size_t)LOG_LINE_BYTES), begin);
                at += n + 1;
        }
        aip_buf_clear(&t->log_line);
}

static void log_ready(struct aip_watch *watch, unsigned events)
{
        struct mcp_stdio *t = AIP_CONTAINER_OF(watch, struct mcp_stdio, log);
        ssize_t n = read_some(t->log.fd, &t->log_line);

        (void)events;
        if (n > 0)
                log_lines(t);
        else if (n < 0)
                close_end(t, &t->log);
}

/* ── writing ─────────────────────────────────────────────────────────────────────────────────── */

static int write_some(struct mcp_stdio *t, aip_error **err)
{
        while (t->n_sent < t->unsent.n) {
                ssize_t n = send(t->in.fd, t->unsent.p + t->n_sent, t->unsent.n - t->n_sent,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n > 0)
                        t->n_sent += (size_t)n;
                else if (n < 0 && errno == EAGAIN)
                        return aip_watch_set(t->options.loop, &t->in, AIP_WRITABLE, err);
                else if (n >= 0 || errno != EINTR)
                        return aip_error_set(err, AIP_EUNAVAILABLE,
                                             "MCP server %s: it does not read any more",
                                             t->options.name);
        }
        aip_buf_clear(&t->unsent);
        t->n_sent = 0;
        return aip_watch_set(t->options.loop, &t->in, 0, err);
}

static void in_ready(struct aip_watch *watch, unsigned events)
{
        struct mcp_stdio *t = AIP_CONTAINER_OF(watch, struct mcp_stdio, in);
        aip_error *err = NULL;

        (void)events;
        if (write_some(t, &err) < 0)
                leave(t, err);
}

static int stdio_send(void *self, struct aip_str json, int64_t id, int64_t timeout_ms,
                      aip_error **err)
{
        struct mcp_stdio *t = self;
        aip_error *why = NULL;

        (void)id, (void)timeout_ms;
        if (t->in.fd < 0)
                return aip_error_set(err, AIP_EUNAVAILABLE, "MCP server %s: is being left",
                                     t->options.name);
        if (aip_buf_reserve(&t->unsent, json.n + 1) < 0)
                return aip_error_set(err, AIP_EUNAVAILABLE,
                                     "MCP server %s: it does not read what it is sent",
                                     t->options.name);
        if (aip_buf_append(&t->unsent, json) < 0 || aip_buf_append_char(&t->unsent, '\n') < 0)
                return aip_error_set_nomem(err);
        if (write_some(t, &why) < 0)
                leave(t, why); /* on_down tells of it */
        return 0;
}

/* An answer that comes all the same is nobody's. */
static void stdio_forget(void *self, int64_t id)
{
        (void)self, (void)id;
}

static void stdio_agreed(void *self, struct aip_str version)
{
        (void)self, (void)version;
}

static void stdio_close(void *self)
{
        struct mcp_stdio *t = self;
        aip_error *err = NULL;

        t->is_at_end = 0;
        aip_error_set(&err, AIP_ECANCELLED, "MCP server %s: was left", t->options.name);
        leave(t, err);
}

/* ── starting the child ──────────────────────────────────────────────────────────────────────── */

struct ends {
        int child[3], ours[3];
};

static void close_ends(struct ends *ends)
{
        for (int i = 0; i < 3; i++) {
                if (ends->child[i] >= 0)
                        close(ends->child[i]);
                if (ends->ours[i] >= 0)
                        close(ends->ours[i]);
        }
}

/* Its input is a socket, to which we can write without a signal when it is gone. */
static int open_ends(struct ends *ends)
{
        int pair[2];

        *ends = (struct ends){{-1, -1, -1}, {-1, -1, -1}};
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -1;
        ends->child[0] = pair[0], ends->ours[0] = pair[1];
        for (int i = 1; i < 3; i++) {
                if (pipe2(pair, O_CLOEXEC) < 0)
                        return -1;
                ends->ours[i] = pair[0], ends->child[i] = pair[1];
                if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
                        return -1;
        }
        return 0;
}

static int set_actions(posix_spawn_file_actions_t *actions, const struct ends *ends)
{
        int r = 0;

        for (int i = 0; r == 0 && i < 3; i++)
                r = posix_spawn_file_actions_adddup2(actions, ends->child[i], i);
        return r ? r : posix_spawn_file_actions_addclosefrom_np(actions, 3);
}

/* A group of its own, which signals of a terminal do not reach; signals as a program expects them. */
static int set_attributes(posix_spawnattr_t *attributes)
{
        sigset_t none, all;

        sigemptyset(&none);
        sigfillset(&all);
        return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                            POSIX_SPAWN_SETSIGDEF) ||
               posix_spawnattr_setpgroup(attributes, 0) ||
               posix_spawnattr_setsigmask(attributes, &none) ||
               posix_spawnattr_setsigdefault(attributes, &all);
}

static int spawn(struct mcp_stdio *t, const struct ends *ends, char **environment)
{
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        int r;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return ENOMEM;
        if (posix_spawnattr_init(&attributes) != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return ENOMEM;
        }
        r = set_actions(&actions, ends);
        if (r == 0)
                r = set_attributes(&attributes);
        if (r == 0)
                r = posix_spawnp(&t->pid, t->argv[0], &actions, &attributes, t->argv, environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                t->pid = 0;
        return r;
}

/* "NAME=value" of our environment, borrowed; NULL: not set. */
static char *find_variable(const char *name)
{
        size_t n = strlen(name);

        for (char **at = environ; at && *at; at++)
                if (strncmp(*at, name, n) == 0 && (*at)[n] == '=')
                        return *at;
        return NULL;
}

static const char *const usual[] = {"PATH", "HOME", "USER",   "LOGNAME", "SHELL",
                                    "TERM", "LANG", "LC_ALL", "TMPDIR",  "TZ"};

/* *ret_environment is an array of borrowed strings; the caller frees the array. */
static int make_environment(const struct mcp_stdio *t, char ***ret_environment, aip_error **err)
{
        size_t n = 0, max = AIP_ARRAY_SIZE(usual) + 1;
        char **environment, *found;

        for (size_t i = 0; t->variables[i]; i++)
                max++;
        if (!(environment = aip_calloc(max, sizeof(*environment))))
                return aip_error_set_nomem(err);
        for (size_t i = 0; i < AIP_ARRAY_SIZE(usual); i++)
                if ((found = find_variable(usual[i])))
                        environment[n++] = found;
        for (size_t i = 0; t->variables[i]; i++) {
                if (!(found = find_variable(t->variables[i]))) {
                        aip_free(environment);
                        return aip_error_set(err, AIP_ESTATE,
                                             "MCP server %s: the environment variable %s is not "
                                             "set",
                                             t->options.name, t->variables[i]);
                }
                environment[n++] = found;
        }
        *ret_environment = environment;
        return 0;
}

static int watch_ends(struct mcp_stdio *t, struct ends *ends, aip_error **err)
{
        t->in.fd = ends->ours[0];
        t->out.fd = ends->ours[1];
        t->log.fd = ends->ours[2];
        for (int i = 0; i < 3; i++)
                ends->ours[i] = -1;
        int r = aip_watch_set(t->options.loop, &t->out, AIP_READABLE, err);
        return r < 0 ? r : aip_watch_set(t->options.loop, &t->log, AIP_READABLE, err);
}

static int stdio_open(void *self, aip_error **err)
{
        struct mcp_stdio *t = self;
        struct ends ends;
        char **environment = NULL;
        int failure = 0, r = make_environment(t, &environment, err);

        if (r < 0)
                return r;
        if (open_ends(&ends) < 0 || (failure = spawn(t, &ends, environment)) != 0) {
                r = aip_error_set(err, AIP_EUNAVAILABLE, "MCP server %s: cannot start %s: %s",
                                  t->options.name, t->argv[0], strerror(failure ? failure : errno));
                aip_free(environment);
                close_ends(&ends);
                return r;
        }
        aip_free(environment);
        aip_buf_clear(&t->unsent);
        aip_buf_clear(&t->line);
        aip_buf_clear(&t->log_line);
        t->n_sent = 0;
        if (watch_ends(t, &ends, NULL) < 0)
                leave_because(t, "its output cannot be watched"); /* on_down tells of it */
        close_ends(&ends);
        return 0;
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

static void free_strings(char **strings)
{
        for (size_t i = 0; strings && strings[i]; i++)
                aip_free(strings[i]);
        aip_free(strings);
}

static void stdio_free(void *self)
{
        struct mcp_stdio *t = self;

        aip_timer_clear(t->options.loop, &t->timer);
        free_strings(t->argv);
        free_strings(t->variables);
        aip_buf_deinit(&t->unsent);
        aip_buf_deinit(&t->line);
        aip_buf_deinit(&t->log_line);
        aip_free(t);
}
AIP_DEFINE_CLEANUP(void *, stdio_free);

static const struct mcp_transport_ops ops = {stdio_open,   stdio_send,  stdio_forget,
                                             stdio_agreed, stdio_close, stdio_free};

static int copy_strings(const char *what, const aip_value *list, size_t min, char ***ret_strings,
                        aip_error **err)
{
        size_t n = aip_value_size(list);
        int is_good = (!list && min == 0) ||
                      (aip_value_type(list) == AIP_VALUE_LIST && n >= min && n <= ARGUMENTS_MAX);

        if (is_good && !(*ret_strings = aip_calloc(n + 1, sizeof(**ret_strings))))
                return aip_error_set_nomem(err);
        for (size_t i = 0; is_good && i < n; i++) {
                struct aip_str text = aip_value_as_string(aip_value_at(list, i));
                is_good = text.p && !memchr(text.p, '\0', text.n);
                if (is_good && !((*ret_strings)[i] = aip_str_dup(text)))
                        return aip_error_set_nomem(err);
        }
        return is_good ? 0 : aip_error_set(err, AIP_EINVAL, "%s: must be a list of strings", what);
}

int mcp_stdio_new(const struct mcp_transport_options *options, const aip_value *command,
                  const aip_value *env, struct mcp_transport *ret_transport, aip_error **err)
{
        struct mcp_stdio *t = aip_calloc(1, sizeof(*t));
        _cleanup_(stdio_free_p) void *kept = t;
        int r;

        if (!t)
                return aip_error_set_nomem(err);
        t->options = *options;
        t->in = (struct aip_watch){.ready = in_ready, .fd = -1};
        t->out = (struct aip_watch){.ready = out_ready, .fd = -1};
        t->log = (struct aip_watch){.ready = log_ready, .fd = -1};
        t->timer.fire = look_whether_ended;
        aip_buf_init(&t->unsent, MCP_MESSAGE_MAX_BYTES * 2);
        aip_buf_init(&t->line, MCP_MESSAGE_MAX_BYTES + READ_BYTES);
        aip_buf_init(&t->log_line, READ_BYTES);
        if ((r = copy_strings("command", command, 1, &t->argv, err)) < 0 ||
            (r = copy_strings("env", env, 0, &t->variables, err)) < 0)
                return r;
        *ret_transport = (struct mcp_transport){&ops, AIP_TAKE(kept)};
        return 0;
}
