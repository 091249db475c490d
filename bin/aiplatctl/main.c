/*
 * aiplatctl: the command line of the platform. This file knows which commands there are; each lives
 * in the file of its subject.
 */
#include <aiplat/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../program/program.h"
#include "command.h"

#define DEFAULT_URL "http://127.0.0.1:8000"

const struct command commands[] = {
        {"run", "run one prompt in this process, without any server, and print the answer",
         cmd_run},
        {"dev", "gateway and worker in one process, on an embedded store", cmd_dev},
        {"submit", "submit a job to the gateway", cmd_submit},
        {"status", "show a job", cmd_status},
        {"wait", "wait for the end of a job and print its answer", cmd_wait},
        {"watch", "follow a job: its answer as it is written", cmd_watch},
        {"list", "list jobs, newest first", cmd_list},
        {"cancel", "cancel a job", cmd_cancel},
        {"resume", "answer what an interrupted job asks", cmd_resume},
        {"config list", "list the LLM configurations", cmd_config_list},
        {"config show", "show an LLM configuration", cmd_config_show},
        {"config set", "create or change an LLM configuration", cmd_config_set},
        {"config delete", "delete an LLM configuration", cmd_config_delete},
        {"template list", "list the prompt templates", cmd_template_list},
        {"template show", "show a prompt template", cmd_template_show},
        {"template set", "create or change a prompt template", cmd_template_set},
        {"template delete", "delete a prompt template", cmd_template_delete},
        {"graph ls", "list the graphs", cmd_graph_ls},
        {"graph get", "print a graph's document", cmd_graph_get},
        {"graph put", "create or change a graph", cmd_graph_put},
        {"graph rm", "delete a graph", cmd_graph_rm},
        {"graph check", "say whether a document is a graph", cmd_graph_check},
        {"graph draw", "print a picture of a graph, for Mermaid or Graphviz", cmd_graph_draw},
        {"thread list", "list the threads, newest first", cmd_thread_list},
        {"thread show", "show how a thread stands", cmd_thread_show},
        {"thread state", "print a thread's state", cmd_thread_state},
        {"thread update", "write to a thread's state", cmd_thread_update},
        {"thread history", "list a thread's checkpoints", cmd_thread_history},
        {"migrate", "apply the migrations that the database lacks", cmd_migrate},
        {"retention", "drop what was kept long enough, or show it with --dry-run", cmd_retention},
        {"health", "ask the gateway how it and its servers are", cmd_health},
        {"completion", "print a completion script for bash or zsh", cmd_completion},
};
const size_t n_commands = sizeof(commands) / sizeof(commands[0]);

/* ── options of every command ────────────────────────────────────────────────────────────────── */

static const struct argp_option common_options[] = {
        {"json", KEY_JSON, NULL, 0, "Print JSON", 10},
        {"url", KEY_URL, "URL", 0, "The gateway (AIPLAT_URL, else " DEFAULT_URL ")", 10},
        {0}};

static error_t parse_common(int key, char *argument, struct argp_state *state)
{
        struct common *common = state->input;

        switch (key) {
        case ARGP_KEY_INIT:
                common->url = getenv("AIPLAT_URL");
                if (!common->url || !*common->url)
                        common->url = DEFAULT_URL;
                return 0;
        case KEY_JSON:
                common->is_json = 1;
                return 0;
        case KEY_URL:
                common->url = argument;
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

const struct argp common_argp = {common_options, parse_common, NULL, NULL, NULL, NULL, NULL};
const struct argp_child common_children[2] = {{&common_argp, 0, NULL, 0}, {0}};

void command_parse(const struct argp *argp, int argc, char **argv, void *input)
{
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(argp, argc, argv, 0, NULL, input);
}

/* ── finding the command ─────────────────────────────────────────────────────────────────────── */

static void print_help(FILE *out)
{
        fprintf(out, "Usage: aiplatctl COMMAND [ARGUMENTS…]\n\n");
        for (size_t i = 0; i < n_commands; i++)
                fprintf(out, "  %-16s %s\n", commands[i].words, commands[i].summary);
        fprintf(out,
                "\n'aiplatctl COMMAND --help' tells more. Exit codes: 0 done, 1 failed, 64 wrong\n"
                "usage or settings, 66 not found, 69 a server cannot be reached, 75 not over in "
                "time.\n");
}

/* How many of the arguments the command's words take; 0: it is another command. */
static int words_match(const char *words, int argc, char **argv)
{
        const char *space = strchr(words, ' ');
        size_t first = space ? (size_t)(space - words) : strlen(words);

        if (argc < 2 || strlen(argv[1]) != first || strncmp(argv[1], words, first) != 0)
                return 0;
        if (!space)
                return 1;
        return argc >= 3 && strcmp(argv[2], space + 1) == 0 ? 2 : 0;
}

static int is_group(const char *word)
{
        return strcmp(word, "config") == 0 || strcmp(word, "template") == 0 ||
               strcmp(word, "graph") == 0;
}

static void print_group(const char *word, FILE *out)
{
        for (size_t i = 0; i < n_commands; i++)
                if (strncmp(commands[i].words, word, strlen(word)) == 0)
                        fprintf(out, "  %-16s %s\n", commands[i].words, commands[i].summary);
}

static int run_command(const struct command *command, int n_words, int argc, char **argv)
{
        char name[64];

        /* argp shows argv[0] in its usage. */
        snprintf(name, sizeof(name), "aiplatctl %s", command->words);
        argv[n_words] = name;
        return command->run(argc - n_words, argv + n_words);
}

int main(int argc, char **argv)
{
        program_open_standard_streams();
        if (argc < 2) {
                print_help(stderr);
                return EXIT_USAGE;
        }
        if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0 ||
            strcmp(argv[1], "-h") == 0) {
                print_help(stdout);
                return EXIT_OK;
        }
        if (strcmp(argv[1], "--version") == 0) {
                printf("aiplatctl %s\n", aip_version());
                return EXIT_OK;
        }
        for (size_t i = 0; i < n_commands; i++) {
                int n_words = words_match(commands[i].words, argc, argv);

                if (n_words > 0)
                        return run_command(&commands[i], n_words, argc, argv);
        }
        if (is_group(argv[1])) {
                int is_help = argc > 2 && strcmp(argv[2], "--help") == 0;

                print_group(argv[1], is_help ? stdout : stderr);
                return is_help ? EXIT_OK : EXIT_USAGE;
        }
        fprintf(stderr, "aiplatctl: there is no command '%s'; see aiplatctl --help\n", argv[1]);
        return EXIT_USAGE;
}
