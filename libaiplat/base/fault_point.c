/*
 * Fault points (fault_point.h): reads the specification, and does at a point what it says. Part of
 * fault builds only; called by the runtime at its start and by the points themselves, from any
 * thread. It must never do anything that was not asked for: without a specification a point costs one
 * comparison.
 */
#include "fault_point.h"

#include "macros.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_RULES    64
#define MOST_SLEEP_MS 600000
#define EXIT_CODE     70
#define GOLDEN_GAMMA  0x9e3779b97f4a7c15u

static const char *const names[] = {
        "accept.committed",
        "publish.sent",
        "publish.confirmed",
        "claim.committed",
        "claim.acknowledged",
        "run.step",
        "finish.sent",
        "finish.committed",
        "outbox.forgotten",
        "heartbeat",
        "recover",
        "promote",
        "sweep",
        "release",
        "graph.step",
        "graph.task",
        "graph.save",
        "graph.sent",
        "graph.saved",
        "resume.committed",
};

enum action { ACTION_KILL, ACTION_STOP, ACTION_EXIT, ACTION_SLEEP };

struct rule {
        const char *name; /* one of `names`, or the first of a family */
        size_t n_name;    /* the bytes of it that count */
        enum action action;
        long sleep_ms;
        unsigned long nth;  /* 0: not by count */
        double probability; /* without `nth` */
        atomic_ulong n_passed;
};

static struct rule rules[MOST_RULES];
static size_t n_rules;
static atomic_ullong random_state;

/* ── reading ─────────────────────────────────────────────────────────────────────────────────── */

static int refuse(aip_error **err, struct aip_str entry, const char *what)
{
        return aip_error_set(err, AIP_EINVAL, AIP_FAULT_POINTS_VARIABLE ": '%.*s': %s",
                             AIP_STR_ARG(entry), what);
}

/* A whole name, or with `*` at its end the beginning of at least one. */
static int take_name(struct aip_str name, struct rule *rule)
{
        int is_family = name.n > 1 && name.p[name.n - 1] == '*';
        size_t n = is_family ? name.n - 1 : name.n;

        for (size_t i = 0; i < AIP_ARRAY_SIZE(names); i++) {
                if (strncmp(names[i], name.p, n) != 0 || (!is_family && names[i][n] != '\0'))
                        continue;
                rule->name = names[i];
                rule->n_name = is_family ? n : n + 1;
                return 1;
        }
        return 0;
}

/* Takes `word` off the front of the text. */
static int skip(const char **at, const char *word)
{
        size_t n = strlen(word);

        if (strncmp(*at, word, n) != 0)
                return 0;
        *at += n;
        return 1;
}

/* Takes a number from `min` to `max`. */
static int take_number(const char **at, long min, long max, long *ret_number)
{
        char *end = NULL;
        long number = strtol(*at, &end, 10);

        if (end == *at || number < min || number > max)
                return 0;
        *at = end;
        *ret_number = number;
        return 1;
}

static int take_action(const char **at, struct rule *rule)
{
        if (skip(at, "kill"))
                rule->action = ACTION_KILL;
        else if (skip(at, "stop"))
                rule->action = ACTION_STOP;
        else if (skip(at, "exit"))
                rule->action = ACTION_EXIT;
        else if (skip(at, "sleep:") && take_number(at, 0, MOST_SLEEP_MS, &rule->sleep_ms))
                rule->action = ACTION_SLEEP;
        else
                return 0;
        return 1;
}

static int take_condition(const char **at, struct rule *rule)
{
        long nth = 0;
        char *end = NULL;

        rule->probability = 1.0;
        if (skip(at, "@")) {
                int is_number = take_number(at, 1, INT32_MAX, &nth);

                rule->nth = (unsigned long)nth;
                return is_number;
        }
        if (!skip(at, "%"))
                return 1;
        rule->probability = strtod(*at, &end);
        if (end == *at || !(rule->probability >= 0.0 && rule->probability <= 1.0))
                return 0;
        *at = end;
        return 1;
}

/* One entry, which `at` is moved behind. */
static int read_rule(const char **at, struct rule *rule, aip_error **err)
{
        const char *begin = *at;
        struct aip_str entry = aip_str_make(begin, strcspn(begin, ";"));
        size_t name_bytes = strcspn(begin, "=;");

        *at = begin + name_bytes;
        if (!take_name(aip_str_make(begin, name_bytes), rule))
                return refuse(err, entry, "no such fault point");
        if (!skip(at, "=") || !take_action(at, rule))
                return refuse(err, entry, "the action is kill, stop, exit or sleep:MS");
        if (!take_condition(at, rule))
                return refuse(err, entry, "the condition is @N, from 1, or %P, from 0 to 1");
        if (*at != begin + entry.n)
                return refuse(err, entry, "something follows that is not understood");
        return 0;
}

int aip_fault_points_set(const char *specification, aip_error **err)
{
        struct rule read[MOST_RULES] = {0};
        size_t n = 0;

        for (const char *at = specification ? specification : ""; *at != '\0';) {
                int r = n < MOST_RULES ? read_rule(&at, &read[n++], err)
                                       : refuse(err, aip_str_of(at), "too many entries");
                if (r < 0)
                        return r;
                skip(&at, ";");
        }
        memcpy(rules, read, sizeof(rules));
        n_rules = n;
        atomic_store(&random_state, (unsigned long long)time(NULL) ^ (unsigned long long)getpid()
                                                                             << 32);
        return 0;
}

/* ── passing ─────────────────────────────────────────────────────────────────────────────────── */

/* From 0 to below 1 (splitmix64); several threads may draw at once. */
static double draw(void)
{
        uint64_t z = atomic_fetch_add(&random_state, GOLDEN_GAMMA) + GOLDEN_GAMMA;

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return (double)((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

static int applies(struct rule *rule)
{
        if (rule->nth)
                return atomic_fetch_add(&rule->n_passed, 1) + 1 == rule->nth;
        return rule->probability >= 1.0 || draw() < rule->probability;
}

static void act(const struct rule *rule, const char *name)
{
        struct timespec pause = {rule->sleep_ms / 1000, rule->sleep_ms % 1000 * 1000000};

        fprintf(stderr, "fault point %s\n", name);
        switch (rule->action) {
        case ACTION_KILL:
                kill(getpid(), SIGKILL);
                break;
        case ACTION_STOP:
                kill(getpid(), SIGSTOP);
                break;
        case ACTION_EXIT:
                _exit(EXIT_CODE);
        case ACTION_SLEEP:
                nanosleep(&pause, NULL);
                break;
        }
}

void aip_fault_point(const char *name)
{
        for (size_t i = 0; i < n_rules; i++)
                if (strncmp(rules[i].name, name, rules[i].n_name) == 0 && applies(&rules[i]))
                        act(&rules[i], name);
}
