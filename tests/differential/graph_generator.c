/* Random cases (graph_case.h), from a seed: for the differential suite and the simulation of graphs. A case
 * that does not compile is thrown away and another is drawn, so what comes out always can be run. */
#include "graph_case.h"
#include "macros.h"
#include <aiplat/loops.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX (64u << 10)

struct generator {
        struct aip_seeded_random state;
        struct aip_random random;
        struct aip_buf text;
        int code; /* of what was appended */
        uint32_t n_channels, n_nodes;
        uint32_t n_joins; /* 0 or 1: node n_nodes is then where it leads, and nothing else leads there */
        int has_shared_join; /* leads to a node that is reached another way, too */
        int is_ours;      /* LangGraph.js need not do the same */
        int may_ask; /* else channels may be untracked: theirs forgets such writes of tasks that need not
                      * run again when a run goes on */
        int may_send; /* else nodes may be deferred: theirs do not wait for what was sent */
        const char *kinds[8];
        int has_initial[8];
};

static uint32_t below(struct generator *g, uint32_t n)
{
        return (uint32_t)(aip_random_u64(g->random) % n);
}

static int happens(struct generator *g, uint32_t percent)
{
        return below(g, 100) < percent;
}

AIP_PRINTF(2, 3) static void say(struct generator *g, const char *format, ...)
{
        char piece[256];
        va_list args;

        va_start(args, format);
        vsnprintf(piece, sizeof(piece), format, args);
        va_end(args);
        if (g->code == 0)
                g->code = aip_buf_append_cstr(&g->text, piece);
}

static void comma(struct generator *g, uint32_t nth)
{
        if (nth > 0)
                say(g, ",");
}

/* ── channels ────────────────────────────────────────────────────────────────────────────────── */

static const char *initial_of(struct generator *g, const char *kind)
{
        static const char *const NUMBERS[] = {"0", "7", "40"};

        if (strcmp(kind, "append") == 0)
                return "[1]";
        if (strcmp(kind, "merge") == 0)
                return "{\"k0\":5}";
        if (strcmp(kind, "add") == 0 || strcmp(kind, "min") == 0 || strcmp(kind, "max") == 0 ||
            strcmp(kind, "reducer") == 0)
                return NUMBERS[below(g, 3)];
        return NULL;
}

static void say_channels(struct generator *g)
{
        static const char *const KINDS[] = {"last_value", "last_value", "append",   "append",
                                            "add",        "add",        "min",      "max",
                                            "merge",      "merge",      "reducer",  "reducer",
                                            "messages",   "messages",   "topic",    "topic",
                                            "ephemeral",  "untracked"};

        g->n_channels = 1 + below(g, 6);
        say(g, "\"channels\":[");
        for (uint32_t i = 0; i < g->n_channels; i++) {
                /* What is untracked is lost with a process. */
                uint32_t n_kinds = AIP_ARRAY_SIZE(KINDS) - (g->may_ask || g->is_ours ? 1 : 0);
                const char *kind = g->kinds[i] = KINDS[below(g, n_kinds)];
                const char *initial = happens(g, 30) ? initial_of(g, kind) : NULL;
                comma(g, i);
                /* It never is NULL, but gcc 12 thinks so beneath sanitizers. */
                say(g, "{\"name\":\"c%u\",\"kind\":\"%s\"", i, kind ? kind : "");
                if (initial)
                        say(g, ",\"initial\":%s", initial);
                say(g, "}");
                g->has_initial[i] = initial || strcmp(kind, "append") == 0 ||
                                    strcmp(kind, "add") == 0 || strcmp(kind, "merge") == 0;
        }
        say(g, "]");
}

/* What can be written to a channel of this kind. */
static const char *make_of(struct generator *g, const char *kind)
{
        static const char *const ANY[] = {"int", "text", "list", "object", "null"};
        static const char *const LISTS[] = {"list", "list", "int", "text", "empty", "object"};
        static const char *const TOPICS[] = {"list", "int", "text", "object"};
        /* "renew" only in ours, a removal and its id anew in one write: ours puts the message last, theirs leaves it
         * where it was. */
        static const char *const MESSAGES[] = {"message",  "message",    "message", "messages",
                                               "messages", "remove_all", "remove",  "renew"};
        static const char *const OBJECTS[] = {"object", "object", "object", "none"};

        if (strcmp(kind, "append") == 0)
                return LISTS[below(g, AIP_ARRAY_SIZE(LISTS))];
        if (strcmp(kind, "topic") == 0)
                return TOPICS[below(g, AIP_ARRAY_SIZE(TOPICS))];
        if (strcmp(kind, "messages") == 0)
                return MESSAGES[below(g, AIP_ARRAY_SIZE(MESSAGES) - (g->is_ours ? 0 : 1))];
        if (strcmp(kind, "merge") == 0)
                return OBJECTS[below(g, AIP_ARRAY_SIZE(OBJECTS))];
        if (strcmp(kind, "last_value") == 0 || strcmp(kind, "ephemeral") == 0 ||
            strcmp(kind, "untracked") == 0)
                return ANY[below(g, AIP_ARRAY_SIZE(ANY))];
        return "int";
}

/* Replacing all at once; where the value was none before, the two engines count overwrites differently. */
static const char *overwrite_of(struct generator *g, uint32_t channel)
{
        static const char *const NO = NULL;

        if (!(g->has_initial[channel] || g->is_ours) || !happens(g, 10))
                return NO;
        if (strcmp(g->kinds[channel], "append") == 0 || strcmp(g->kinds[channel], "topic") == 0)
                return "list";
        if (strcmp(g->kinds[channel], "messages") == 0)
                return "messages";
        return strcmp(g->kinds[channel], "merge") == 0 ? "object" : "int";
}

/* Theirs hides from a router what its node has just written to a channel of a passing kind. */
static void say_reads(struct generator *g, int is_router)
{
        uint32_t n = 0;

        say(g, "\"reads\":[");
        for (uint32_t i = 0; i < g->n_channels; i++) {
                int is_passing = strcmp(g->kinds[i], "topic") == 0 ||
                                 strcmp(g->kinds[i], "ephemeral") == 0;
                if (happens(g, 40) && !(is_router && is_passing && !g->is_ours)) {
                        comma(g, n++);
                        say(g, "\"c%u\"", i);
                }
        }
        say(g, "]");
}

static void say_writes(struct generator *g)
{
        uint32_t n = 0, percent = 20 + below(g, 50);

        say(g, "\"writes\":[");
        for (uint32_t i = 0; i < g->n_channels; i++) {
                if (!happens(g, percent))
                        continue;
                const char *overwrite = overwrite_of(g, i);
                comma(g, n++);
                say(g, "{\"channel\":\"c%u\",\"make\":\"%s\"%s}", i,
                    overwrite ? overwrite : make_of(g, g->kinds[i]),
                    overwrite ? ",\"overwrite\":true" : "");
        }
        say(g, "]");
}

/* ── where it goes ───────────────────────────────────────────────────────────────────────────── */

/* A node or the end, mostly one further on. */
static void say_target(struct generator *g, uint32_t from)
{
        uint32_t n = g->n_nodes;
        uint32_t to = happens(g, 75) ? from + 1 + below(g, n - from) : below(g, n + 1);

        if (to >= n)
                say(g, "\"__end__\"");
        else
                say(g, "\"n%u\"", to);
}

static void say_choices(struct generator *g, uint32_t from)
{
        uint32_t n = 1 + below(g, 3);

        say(g, "\"choices\":[");
        for (uint32_t i = 0; i < n; i++) {
                uint32_t n_targets = below(g, 4);
                comma(g, i);
                say(g, "[");
                for (uint32_t j = 0; j < n_targets; j++) {
                        comma(g, j);
                        if (g->may_send && happens(g, 35)) {
                                say(g, "{\"send\":\"n%u\"}", below(g, g->n_nodes));
                        } else {
                                say(g, "{\"to\":");
                                say_target(g, from);
                                say(g, "}");
                        }
                }
                say(g, "]");
        }
        say(g, "]");
}

static void say_nodes(struct generator *g)
{
        int may_fail = happens(g, 15);

        say(g, "\"nodes\":[");
        for (uint32_t i = 0; i < g->n_nodes + g->n_joins; i++) {
                comma(g, i);
                say(g, "{\"name\":\"n%u\",", i);
                say_reads(g, 0);
                say(g, ",");
                say_writes(g);
                if ((!g->may_send || g->is_ours) && happens(g, 25))
                        say(g, ",\"defer\":true");
                if (may_fail && happens(g, 30))
                        say(g, ",\"fails\":%u", 2 + below(g, 4));
                if (g->may_ask && happens(g, 30))
                        say(g, ",\"asks\":%u", 1 + below(g, 2));
                if (i < g->n_nodes && happens(g, 20)) {
                        say(g, ",");
                        say_choices(g, i);
                }
                say(g, "}");
        }
        say(g, "]");
}

static void say_edges(struct generator *g)
{
        say(g, "\"edges\":[[\"__start__\",\"n0\"]");
        if (g->n_nodes > 1 && happens(g, 40))
                say(g, ",[\"__start__\",\"n%u\"]", 1 + below(g, g->n_nodes - 1));
        for (uint32_t i = 0; i < g->n_nodes; i++) {
                uint32_t n = happens(g, 70) ? 1 + below(g, 2) : 0;
                uint32_t first = i + 1 + below(g, g->n_nodes - i);
                for (uint32_t j = 0; j < n && first + j <= g->n_nodes; j++) {
                        if (first + j < g->n_nodes)
                                say(g, ",[\"n%u\",\"n%u\"]", i, first + j);
                        else
                                say(g, ",[\"n%u\",\"__end__\"]", i);
                }
        }
        if (g->n_joins > 0 && happens(g, 50))
                say(g, ",[\"n%u\",\"n%u\"]", g->n_nodes, below(g, g->n_nodes));
        say(g, "]");
}

static void say_routers(struct generator *g)
{
        uint32_t n = 0;

        say(g, "\"routers\":[");
        for (uint32_t i = 0; i < g->n_nodes; i++) {
                if (!happens(g, 30))
                        continue;
                comma(g, n++);
                if (i == 0 && happens(g, 30))
                        say(g, "{\"from\":\"__start__\",");
                else
                        say(g, "{\"from\":\"n%u\",", i);
                say_reads(g, 1);
                say(g, ",");
                say_choices(g, i);
                say(g, "}");
        }
        say(g, "]");
}

/* To a node of its own; or to any, which the suite compares only until theirs is known to do otherwise. */
static void say_joins(struct generator *g)
{
        uint32_t a = below(g, g->n_nodes);
        uint32_t b = g->n_nodes > 1 ? (a + 1 + below(g, g->n_nodes - 1)) % g->n_nodes : a;
        uint32_t to = below(g, g->n_nodes);

        say(g, "\"joins\":[");
        if (g->n_joins > 0)
                say(g, "{\"from\":[\"n%u\",\"n%u\"],\"to\":\"n%u\"}", a, b, g->n_nodes);
        if (g->has_shared_join) {
                comma(g, g->n_joins);
                say(g, "{\"from\":[\"n%u\",\"n%u\"],\"to\":\"n%u\"}", b,
                    g->n_joins > 0 ? g->n_nodes : a, to);
        }
        say(g, "]");
}

static void say_input(struct generator *g)
{
        uint32_t n = 0;

        say(g, "\"input\":{");
        for (uint32_t i = 0; i < g->n_channels; i++) {
                const char *kind = g->kinds[i];
                if (!happens(g, 50))
                        continue;
                comma(g, n++);
                say(g, "\"c%u\":", i);
                if (strcmp(kind, "merge") == 0)
                        say(g, "{\"in\":%u}", below(g, 9));
                else if (strcmp(kind, "messages") == 0)
                        say(g, "[{\"role\":\"user\",\"content\":\"hello\",\"id\":\"m%u\"}]",
                            below(g, 5));
                else
                        say(g, "%u", below(g, 9));
        }
        say(g, "}");
}

static void say_case(struct generator *g, uint64_t seed)
{
        aip_buf_clear(&g->text);
        g->may_ask = happens(g, g->is_ours ? 50 : 25);
        say(g, "{\"seed\":%llu,", (unsigned long long)seed);
        say_channels(g);
        say(g, ",");
        g->n_nodes = 1 + below(g, 7);
        g->n_joins = g->n_nodes > 2 && happens(g, 40);
        g->has_shared_join = g->n_nodes > 2 && happens(g, 25) && (g->is_ours || g->n_joins == 0);
        g->may_send = happens(g, 60);
        say_nodes(g);
        say(g, ",");
        say_edges(g);
        say(g, ",");
        say_joins(g);
        say(g, ",");
        say_routers(g);
        say(g, ",");
        say_input(g);
        say(g, ",\"step_limit\":%u}", 4 + below(g, 9));
}

static int compiles(const aip_value *spec)
{
        struct graph_case c;
        int code = graph_case_init(&c, spec, 0, NULL);

        graph_case_deinit(&c);
        return code == 0;
}

aip_value *graph_case_generate(uint64_t seed, int is_ours)
{
        struct generator g = {.is_ours = is_ours};
        aip_value *spec = NULL;

        g.random = aip_random_seeded(&g.state, seed);
        g.text = (struct aip_buf)AIP_BUF_INIT(TEXT_MAX);
        do {
                aip_value_unref(AIP_TAKE(spec));
                say_case(&g, seed);
                if (g.code == 0)
                        g.code = aip_value_parse(aip_str_make(g.text.p, g.text.n), &spec, NULL);
        } while (g.code == 0 && !compiles(spec));
        aip_buf_deinit(&g.text);
        return spec;
}
