/* completion: scripts for bash and zsh, made from the table of commands. */
#include <stdio.h>
#include <string.h>

#include "command.h"

static error_t parse(int key, char *argument, struct argp_state *state)
{
        const char **shell = state->input;

        switch (key) {
        case ARGP_KEY_ARG:
                *shell = argument;
                return 0;
        case ARGP_KEY_NO_ARGS:
                argp_error(state, "bash or zsh is wanted");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

/* First words (group NULL) or the words after a group's, each once. */
static void print_words(const char *group)
{
        const char *last = "";

        for (size_t i = 0; i < n_commands; i++) {
                const char *words = commands[i].words, *space = strchr(words, ' ');
                size_t first = space ? (size_t)(space - words) : strlen(words);

                if (group) {
                        if (space && strncmp(words, group, first) == 0)
                                printf("%s ", space + 1);
                } else if (strncmp(last, words, first) != 0 || strlen(last) < first) {
                        printf("%.*s ", (int)first, words);
                        last = words;
                }
        }
}

static void print_bash(void)
{
        fputs("_aiplatctl() {\n"
              "        local word=\"${COMP_WORDS[COMP_CWORD]}\" words\n"
              "        case \"$COMP_CWORD:${COMP_WORDS[1]}\" in\n"
              "        1:*) words=\"",
              stdout);
        print_words(NULL);
        fputs("\" ;;\n        2:config) words=\"", stdout);
        print_words("config");
        fputs("\" ;;\n        2:template) words=\"", stdout);
        print_words("template");
        fputs("\" ;;\n        2:graph) words=\"", stdout);
        print_words("graph");
        fputs("\" ;;\n        2:thread) words=\"", stdout);
        print_words("thread");
        fputs("\" ;;\n        2:completion) words=\"bash zsh\" ;;\n"
              "        *) words=$(${COMP_WORDS[@]:0:2} --help 2>/dev/null | grep -o -- "
              "'--[a-z-]*') ;;\n"
              "        esac\n"
              "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
              "}\n"
              "complete -F _aiplatctl aiplatctl\n",
              stdout);
}

int cmd_completion(int argc, char **argv)
{
        static const struct argp argp = {
                NULL,       parse,
                "bash|zsh", "Print a completion script: source <(aiplatctl completion bash)",
                NULL,       NULL,
                NULL};
        const char *shell = NULL;

        command_parse(&argp, argc, argv, &shell);
        if (strcmp(shell, "zsh") == 0) {
                puts("autoload -U +X bashcompinit && bashcompinit");
        } else if (strcmp(shell, "bash") != 0) {
                fprintf(stderr, "aiplatctl: completion for bash and zsh, not for '%s'\n", shell);
                return EXIT_USAGE;
        }
        print_bash();
        return EXIT_OK;
}
