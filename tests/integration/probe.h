/*
 * What the probes have in common. A probe is a small program around one adapter: it reads commands,
 * one a line, and writes what happens, one line each, so that a test in Python can kill, freeze and
 * restart the server meanwhile and look at the adapter through the port alone.
 */
#ifndef AIPLAT_TESTS_PROBE_H
#define AIPLAT_TESTS_PROBE_H

#include <aiplat/adapters.h>
#include <aiplat/loops.h>
#include <aiplat/op.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct probe {
        aip_uv_loop *uv;
        struct aip_loop loop;
        struct aip_log log;
        struct aip_watch input;
        char line[8192];
        size_t n;
        void (*command)(struct probe *probe, char *line);
        struct aip_op closed;
};

static inline void say(const char *format, ...) AIP_PRINTF(1, 2);
static inline void say(const char *format, ...)
{
        va_list arguments;
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        putchar('\n');
}

/* "ok", or the code's name and the message. */
static inline const char *outcome(const aip_error *err, char text[512])
{
        if (!err)
                return "ok";
        snprintf(text, 512, "%s %s", aip_error_code_name(aip_error_code(err)),
                 aip_error_message(err));
        return text;
}

static inline void probe_log(void *self, const struct aip_log_record *record)
{
        static const char *const names[] = {"debug", "info", "warning", "error"};
        (void)self;
        say("log %s %s", names[record->level], record->message);
}

static inline void probe_input(struct aip_watch *watch, unsigned events)
{
        struct probe *probe = AIP_CONTAINER_OF(watch, struct probe, input);
        (void)events;
        size_t room = sizeof(probe->line) - 1 - probe->n;
        ssize_t got = read(STDIN_FILENO, probe->line + probe->n, room);
        if (got <= 0)
                exit(got == 0 ? 0 : 1);
        probe->n += (size_t)got;
        probe->line[probe->n] = '\0';
        for (char *end; (end = strchr(probe->line, '\n'));) {
                *end = '\0';
                probe->command(probe, probe->line);
                probe->n -= (size_t)(end + 1 - probe->line);
                memmove(probe->line, end + 1, probe->n + 1);
        }
}

static inline int probe_open(struct probe *probe)
{
        setvbuf(stdout, NULL, _IOLBF, 65536);
        if (aip_uv_loop_new(&probe->uv, NULL) < 0)
                return -1;
        probe->loop = aip_uv_loop_port(probe->uv);
        probe->log = (struct aip_log){.write = probe_log};
        probe->input = (struct aip_watch){.ready = probe_input, .fd = STDIN_FILENO};
        return aip_watch_set(probe->loop, &probe->input, AIP_READABLE, NULL);
}

static inline void probe_closed(struct aip_op *op)
{
        struct probe *probe = AIP_CONTAINER_OF(op, struct probe, closed);
        say("closed");
        aip_watch_set(probe->loop, &probe->input, 0, NULL);
        aip_uv_loop_stop(probe->uv);
}

/* Until the adapter is closed. */
static inline int probe_run(struct probe *probe)
{
        probe->closed.done = probe_closed;
        aip_uv_loop_run(probe->uv);
        aip_uv_loop_free(probe->uv);
        return 0;
}

#endif
