/*
 * A command of aiplatctl. main.c finds it by its words ("config set"), argp reads its arguments with
 * its own --help, and its exit code is the program's.
 */
#ifndef AIPLATCTL_COMMAND_H
#define AIPLATCTL_COMMAND_H

#include <aiplat/value.h>
#include <argp.h>
#include <stddef.h>

#include "../program/program.h"

struct command {
        const char *words;   /* "config set" */
        const char *summary; /* one line */
        int (*run)(int argc, char **argv);
};

extern const struct command commands[];
extern const size_t n_commands;

/* Options that every command has. */
struct common {
        int is_json;
        const char *url; /* of the gateway */
};

enum { KEY_JSON = 0x200, KEY_URL };

/* For struct argp_child: --json and --url, into state->child_inputs[0] (a struct common). */
extern const struct argp common_argp;
extern const struct argp_child common_children[2];
#define COMMON_INIT                                                                                \
        {                                                                                          \
                0, NULL                                                                            \
        }

/* Parse with the common options as the first child. */
void command_parse(const struct argp *argp, int argc, char **argv, void *input);

/* jobs.c */
int cmd_submit(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_cancel(int argc, char **argv);
int cmd_resume(int argc, char **argv);
/* watch.c */
int cmd_watch(int argc, char **argv);
/* embedded.c */
int cmd_run(int argc, char **argv);
int cmd_dev(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
/* retention.c */
int cmd_retention(int argc, char **argv);
/* catalog.c */
int cmd_config_list(int argc, char **argv);
int cmd_config_show(int argc, char **argv);
int cmd_config_set(int argc, char **argv);
int cmd_config_delete(int argc, char **argv);
int cmd_template_list(int argc, char **argv);
int cmd_template_show(int argc, char **argv);
int cmd_template_set(int argc, char **argv);
int cmd_template_delete(int argc, char **argv);
/* graph.c */
int cmd_graph_ls(int argc, char **argv);
int cmd_graph_get(int argc, char **argv);
int cmd_graph_put(int argc, char **argv);
int cmd_graph_rm(int argc, char **argv);
int cmd_graph_check(int argc, char **argv);
/* graph_draw.c */
int cmd_graph_draw(int argc, char **argv);
/* thread.c */
int cmd_thread_list(int argc, char **argv);
int cmd_thread_show(int argc, char **argv);
int cmd_thread_state(int argc, char **argv);
int cmd_thread_update(int argc, char **argv);
int cmd_thread_history(int argc, char **argv);
/* health.c */
int cmd_health(int argc, char **argv);
/* completion.c */
int cmd_completion(int argc, char **argv);

#endif
