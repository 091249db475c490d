/* Cases as graphs of the C engine (graph_case.h). langgraph/run.js says the same in JavaScript: a change
 * here is a change there. */
#include "graph_case.h"
#include "macros.h"
#include "mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 4

struct graph_case_node {
        const aip_value *spec;
        uint32_t salt;
};

/* A task that takes its time. */
struct waiting {
        struct aip_timer timer;
        aip_graph_task *task;
        struct graph_case_node *node;
};

static const char *text_of(const aip_value *object, const char *member)
{
        return aip_value_as_string(aip_value_get_cstr(object, member)).p;
}

/* ── digests ─────────────────────────────────────────────────────────────────────────────────── */

static uint32_t mix(uint32_t digest, const char *bytes, size_t n)
{
        for (size_t i = 0; i < n; i++)
                digest = (digest ^ (unsigned char)bytes[i]) * UINT32_C(16777619);
        return digest;
}

static uint32_t mix_text(uint32_t digest, const char *text)
{
        return mix(digest, text, strlen(text));
}

/* The member whose name is the least of those greater than `after`; -1: none. */
static ssize_t next_member(const aip_value *object, struct aip_str after)
{
        ssize_t found = -1;
        struct aip_str least = {NULL, 0}, key;

        for (size_t i = 0; i < aip_value_size(object); i++) {
                (void)aip_value_member(object, i, &key);
                if (after.p && strcmp(key.p, after.p) <= 0)
                        continue;
                if (found >= 0 && strcmp(key.p, least.p) > 0)
                        continue;
                found = (ssize_t)i;
                least = key;
        }
        return found;
}

static uint32_t mix_object(uint32_t digest, const aip_value *object)
{
        struct aip_str key = {NULL, 0};

        digest = mix_text(digest, "{");
        for (size_t i = 0; i < aip_value_size(object); i++) {
                ssize_t at = next_member(object, key);
                const aip_value *member = aip_value_member(object, (size_t)at, &key);
                digest = mix_text(mix(digest, key.p, key.n), ":");
                digest = mix_text(graph_case_digest(digest, member), ",");
        }
        return mix_text(digest, "}");
}

static uint32_t mix_list(uint32_t digest, const aip_value *list)
{
        digest = mix_text(digest, "[");
        for (size_t i = 0; i < aip_value_size(list); i++)
                digest = mix_text(graph_case_digest(digest, aip_value_at(list, i)), ",");
        return mix_text(digest, "]");
}

uint32_t graph_case_digest(uint32_t digest, const aip_value *value)
{
        char number[32];
        struct aip_str s;

        if (!value)
                return mix_text(digest, "~");
        switch (aip_value_type(value)) {
        case AIP_VALUE_OBJECT:
                return mix_object(digest, value);
        case AIP_VALUE_LIST:
                return mix_list(digest, value);
        case AIP_VALUE_STRING:
                s = aip_value_as_string(value);
                return mix_text(mix(mix_text(digest, "\""), s.p, s.n), "\"");
        case AIP_VALUE_INT:
                snprintf(number, sizeof(number), "%lld", (long long)aip_value_as_int(value, 0));
                return mix_text(digest, number);
        case AIP_VALUE_BOOL:
                return mix_text(digest, aip_value_as_bool(value, 0) ? "true" : "false");
        case AIP_VALUE_NULL:
                return mix_text(digest, "null");
        case AIP_VALUE_DOUBLE: /* cases have none */
                break;
        }
        abort();
}

/* ── values ──────────────────────────────────────────────────────────────────────────────────── */

static aip_value *value_of(const char *json)
{
        aip_value *value = NULL;

        return aip_value_parse(aip_str_of(json), &value, NULL) < 0 ? NULL : value;
}

/* The value that a write of this make has; NULL when out of memory. */
static aip_value *make_value(const char *make, uint32_t d)
{
        static const struct {
                const char *make, *format;
        } TEXTS[] = {
                {"list", "[%u,%u]"},
                {"text", "\"t%u\""},
                {"object", "{\"k%u\":%u}"},
                {"message", "{\"role\":\"user\",\"content\":\"c%u\",\"id\":\"m%u\"}"},
                {"messages", "[{\"role\":\"assistant\",\"content\":\"a%u\",\"id\":\"m%u\"},"
                             "{\"role\":\"user\",\"content\":\"b\",\"id\":\"m%u\"}]"},
                {"remove", "{\"role\":\"remove\",\"content\":\"\",\"id\":\"m%u\"}"},
                {"remove_all", "[{\"role\":\"remove\",\"content\":\"\",\"id\":\"__remove_all__\"},"
                               "{\"role\":\"user\",\"content\":\"c%u\",\"id\":\"m%u\"}]"},
                {"renew", "[{\"role\":\"remove\",\"content\":\"\",\"id\":\"m%u\"},"
                          "{\"role\":\"user\",\"content\":\"n%u\",\"id\":\"m%u\"}]"},
                {"null", "null"},
                {"empty", "[]"},
                {"none", "{}"},
                {"int", "%u"},
        };
        char json[160];
        /* A format takes as many of these as it wants. */
        uint32_t a = d % 100, b = (d >> 8) % 5, c = (d >> 16) % 5;
        size_t i = 0;

        if (strcmp(make, "object") == 0 || strcmp(make, "remove") == 0)
                a = d % 4;
        if (strcmp(make, "renew") == 0)
                a = b = c = d % 4;
        while (strcmp(TEXTS[i].make, make) != 0)
                i++;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(json, sizeof(json), TEXTS[i].format, a, b, c);
#pragma GCC diagnostic pop
        return value_of(json);
}

aip_value *graph_case_answer(const aip_value *question)
{
        return aip_value_int(graph_case_digest(GRAPH_CASE_DIGEST, question) % 1000);
}

/* ── nodes and routers ───────────────────────────────────────────────────────────────────────── */

static uint32_t digest_task(const struct graph_case_node *node, aip_graph_task *task)
{
        const aip_value *input = aip_graph_task_input(task);
        const aip_value *reads = aip_value_get_cstr(node->spec, "reads");
        uint32_t d = node->salt;

        if (input)
                return graph_case_digest(d, input);
        for (size_t i = 0; i < aip_value_size(reads); i++) {
                const char *name = aip_value_as_string(aip_value_at(reads, i)).p;
                d = graph_case_digest(d, aip_graph_task_get(task, name));
        }
        return d;
}

/* 1: answered, 0: it asks, negative: failed. */
static int ask_all(const struct graph_case_node *node, aip_graph_task *task, uint32_t *d,
                   aip_error **err)
{
        int64_t n = aip_value_as_int(aip_value_get_cstr(node->spec, "asks"), 0);

        for (int64_t i = 0; i < n; i++) {
                char json[64];
                snprintf(json, sizeof(json), "{\"n\":%d,\"q\":%u}", (int)i, *d % 1000);
                aip_value *question = value_of(json);
                if (!question)
                        return aip_error_set_nomem(err);
                const aip_value *answer = aip_graph_task_interrupt(task, question);
                aip_value_unref(question);
                if (!answer)
                        return 0;
                *d = graph_case_digest(*d, answer);
        }
        return 1;
}

static void write_all(const struct graph_case_node *node, aip_graph_task *task, uint32_t d)
{
        const aip_value *writes = aip_value_get_cstr(node->spec, "writes");

        for (size_t i = 0; i < aip_value_size(writes); i++) {
                const aip_value *write = aip_value_at(writes, i);
                const char *channel = text_of(write, "channel");
                aip_value *value = make_value(text_of(write, "make"), mix_text(d, channel));
                if (aip_value_as_bool(aip_value_get_cstr(write, "overwrite"), 0))
                        aip_graph_task_overwrite(task, channel, value);
                else
                        aip_graph_task_write(task, channel, value);
        }
}

static const aip_value *choose(const aip_value *spec, uint32_t d)
{
        const aip_value *choices = aip_value_get_cstr(spec, "choices");

        return choices ? aip_value_at(choices, (d >> 4) % aip_value_size(choices)) : NULL;
}

static void go_on(const struct graph_case_node *node, aip_graph_task *task, uint32_t d)
{
        const aip_value *choice = choose(node->spec, d);

        for (size_t i = 0; i < aip_value_size(choice); i++) {
                const char *to = text_of(aip_value_at(choice, i), "to");
                const char *send = text_of(aip_value_at(choice, i), "send");
                if (to)
                        aip_graph_task_goto(task, to);
                else
                        aip_graph_task_send(task, send, aip_value_int((d + i) % 10));
        }
}

static int run_node(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        struct graph_case_node *node = user;
        uint32_t d = digest_task(node, task);
        int64_t fails = aip_value_as_int(aip_value_get_cstr(node->spec, "fails"), 0);
        int code = ask_all(node, task, &d, err);

        (void)ret_update;
        if (code <= 0)
                return code;
        if (fails && d % (uint32_t)fails == 0) {
                code = aip_error_set(err, AIP_EINVAL, "it fails");
                aip_error_set_kind(*err, "node");
                return code;
        }
        write_all(node, task, d);
        go_on(node, task, d);
        return 0;
}

static void end_wait(struct aip_timer *timer)
{
        struct waiting *w = AIP_CONTAINER_OF(timer, struct waiting, timer);
        const struct graph_case_world *world = aip_graph_task_context(w->task);
        aip_error *err = NULL;

        if (aip_graph_task_attempt(w->task) < ATTEMPTS &&
            aip_random_u64(world->random) % 100 < (uint64_t)world->failure_percent) {
                write_all(w->node, w->task, 0); /* does not count */
                aip_error_set(&err, AIP_EUNAVAILABLE, "it fails in passing");
                aip_error_set_kind(err,
                                   "node"); /* may be the run's, when a neighbour fails for good */
                aip_error_set_retryable(err, 1, 0);
        } else {
                (void)run_node(w->node, w->task, NULL, &err);
        }
        aip_graph_task_finish(w->task, NULL, err);
}

static void start_wait(void *user, aip_graph_task *task)
{
        struct graph_case_world *world = aip_graph_task_context(task);
        struct waiting *w = aip_graph_task_memory(task);

        *w = (struct waiting){.timer.fire = end_wait, .task = task, .node = user};
        aip_timer_set(aip_graph_task_loop(task), &w->timer,
                      (int64_t)(aip_random_u64(world->random) % (uint64_t)(world->longest_ms + 1)));
        if (world->started)
                world->started(world, task);
}

static void cancel_wait(void *user, aip_graph_task *task)
{
        struct waiting *w = aip_graph_task_memory(task);
        aip_error *err = NULL;

        (void)user;
        aip_timer_clear(aip_graph_task_loop(task), &w->timer);
        aip_error_set(&err, AIP_ECANCELLED, "cancelled");
        aip_graph_task_finish(task, NULL, err);
}

static int run_router(void *user, aip_graph_route *route, aip_error **err)
{
        struct graph_case_node *router = user;
        const aip_value *reads = aip_value_get_cstr(router->spec, "reads"), *choice;
        uint32_t d = router->salt;

        (void)err;
        for (size_t i = 0; i < aip_value_size(reads); i++) {
                const char *name = aip_value_as_string(aip_value_at(reads, i)).p;
                d = graph_case_digest(d, aip_graph_route_get(route, name));
        }
        choice = choose(router->spec, d);
        if (aip_value_size(choice) == 0)
                aip_graph_route_nowhere(route);
        for (size_t i = 0; i < aip_value_size(choice); i++) {
                const char *to = text_of(aip_value_at(choice, i), "to");
                const char *send = text_of(aip_value_at(choice, i), "send");
                if (to)
                        aip_graph_route_to(route, to);
                else
                        aip_graph_route_send(route, send, aip_value_int((d + i) % 10));
        }
        return 0;
}

/* Order shows: what it makes of the same writes in another order is another number. */
static int fold(void *user, aip_value **value, const aip_value *update, aip_error **err)
{
        (void)user;
        aip_value *folded =
                *value ? aip_value_int((aip_value_as_int(*value, 0) * 31 +
                                        aip_value_as_int(update, 0)) % 10007)
                       : aip_value_ref(update);
        if (!folded)
                return aip_error_set_nomem(err);
        aip_value_unref(*value);
        *value = folded;
        return 0;
}

/* ── the graph ───────────────────────────────────────────────────────────────────────────────── */

static void add_channel(aip_graph_builder *b, const aip_value *spec)
{
        static const char *const KINDS[] = {"last_value", "append",  "add",      "min",
                                            "max",        "merge",   "reducer",  "messages",
                                            "topic",      "ephemeral", "untracked"};
        struct aip_channel_options options = AIP_CHANNEL_OPTIONS_INIT;
        int kind = 0;

        while (strcmp(KINDS[kind], text_of(spec, "kind")) != 0)
                kind++;
        options.kind = kind;
        options.initial = aip_value_get_cstr(spec, "initial");
        options.reduce = kind == AIP_CHANNEL_REDUCER ? fold : NULL;
        aip_graph_builder_add_channel_with(b, text_of(spec, "name"), &options);
}

/* Every name that the choices have, each once; owned by the caller, the names borrowed. */
static const char **targets_of(const aip_value *choices, size_t *ret_n)
{
        size_t n = 0, most = 1;

        for (size_t i = 0; i < aip_value_size(choices); i++)
                most += aip_value_size(aip_value_at(choices, i));
        const char **targets = aip_calloc(most, sizeof(*targets));
        for (size_t i = 0; targets && i < aip_value_size(choices); i++) {
                const aip_value *choice = aip_value_at(choices, i);
                for (size_t j = 0; j < aip_value_size(choice); j++) {
                        const aip_value *go = aip_value_at(choice, j);
                        const char *name = text_of(go, "to") ? text_of(go, "to") : text_of(go, "send");
                        size_t k = 0;
                        while (k < n && strcmp(targets[k], name) != 0)
                                k++;
                        targets[k] = name;
                        n += k == n;
                }
        }
        *ret_n = n;
        return targets;
}

static void add_node(aip_graph_builder *b, struct graph_case_node *node, int is_async)
{
        struct aip_node_options options = AIP_NODE_OPTIONS_INIT;
        const char **targets =
                targets_of(aip_value_get_cstr(node->spec, "choices"), &options.n_targets);

        options.targets = targets;
        options.user = node;
        options.is_deferred = aip_value_as_bool(aip_value_get_cstr(node->spec, "defer"), 0);
        if (is_async) {
                options.start = start_wait;
                options.cancel = cancel_wait;
                options.task_bytes = sizeof(struct waiting);
                options.retry.max_attempts = ATTEMPTS;
        } else {
                options.run = run_node;
        }
        aip_graph_builder_add_node(b, text_of(node->spec, "name"), &options);
        aip_free(targets);
}

static void add_router(aip_graph_builder *b, struct graph_case_node *router)
{
        struct aip_router_options options = AIP_ROUTER_OPTIONS_INIT;
        const char **targets =
                targets_of(aip_value_get_cstr(router->spec, "choices"), &options.n_targets);

        options.route = run_router;
        options.user = router;
        options.targets = targets;
        aip_graph_builder_add_router(b, text_of(router->spec, "from"), &options);
        aip_free(targets);
}

static void add_join(aip_graph_builder *b, const aip_value *spec)
{
        const aip_value *from = aip_value_get_cstr(spec, "from");
        const char *names[8];
        size_t n = AIP_MIN(aip_value_size(from), AIP_ARRAY_SIZE(names));

        for (size_t i = 0; i < n; i++)
                names[i] = aip_value_as_string(aip_value_at(from, i)).p;
        aip_graph_builder_add_join(b, names, n, text_of(spec, "to"));
}

int graph_case_init(struct graph_case *c, const aip_value *spec, int is_async, aip_error **err)
{
        const aip_value *channels = aip_value_get_cstr(spec, "channels");
        const aip_value *nodes = aip_value_get_cstr(spec, "nodes");
        const aip_value *edges = aip_value_get_cstr(spec, "edges");
        const aip_value *joins = aip_value_get_cstr(spec, "joins");
        const aip_value *routers = aip_value_get_cstr(spec, "routers");
        size_t n_nodes = aip_value_size(nodes), n_routers = aip_value_size(routers);
        aip_graph_builder *b = aip_graph_builder_new();

        *c = (struct graph_case){.spec = spec};
        c->nodes = aip_calloc(n_nodes + n_routers + 1, sizeof(*c->nodes));
        if (!c->nodes) {
                aip_graph_builder_free(b);
                return aip_error_set_nomem(err);
        }
        for (size_t i = 0; i < aip_value_size(channels); i++)
                add_channel(b, aip_value_at(channels, i));
        for (size_t i = 0; i < n_nodes; i++) {
                c->nodes[i].spec = aip_value_at(nodes, i);
                c->nodes[i].salt = mix_text(GRAPH_CASE_DIGEST, text_of(c->nodes[i].spec, "name"));
                add_node(b, &c->nodes[i], is_async);
        }
        for (size_t i = 0; i < aip_value_size(edges); i++) {
                const aip_value *edge = aip_value_at(edges, i);
                aip_graph_builder_add_edge(b, aip_value_as_string(aip_value_at(edge, 0)).p,
                                           aip_value_as_string(aip_value_at(edge, 1)).p);
        }
        for (size_t i = 0; i < aip_value_size(joins); i++)
                add_join(b, aip_value_at(joins, i));
        for (size_t i = 0; i < n_routers; i++) {
                struct graph_case_node *router = &c->nodes[n_nodes + i];
                router->spec = aip_value_at(routers, i);
                router->salt = mix_text(GRAPH_CASE_DIGEST, "router") + (uint32_t)i;
                add_router(b, router);
        }
        return aip_graph_compile(b, &c->graph, err);
}

void graph_case_deinit(struct graph_case *c)
{
        aip_graph_unref(c->graph);
        aip_free(c->nodes);
        *c = (struct graph_case){0};
}

int32_t graph_case_step_limit(const struct graph_case *c)
{
        return (int32_t)aip_value_as_int(aip_value_get_cstr(c->spec, "step_limit"), 10);
}

const aip_value *graph_case_input(const struct graph_case *c)
{
        return aip_value_get_cstr(c->spec, "input");
}

static aip_value *initial_of(const aip_value *channel)
{
        static const struct {
                const char *kind, *json;
        } STANDARD[] = {{"append", "[]"}, {"messages", "[]"}, {"add", "0"}, {"merge", "{}"}};
        const aip_value *own = aip_value_get_cstr(channel, "initial");

        for (size_t i = 0; !own && i < AIP_ARRAY_SIZE(STANDARD); i++)
                if (strcmp(text_of(channel, "kind"), STANDARD[i].kind) == 0)
                        return value_of(STANDARD[i].json);
        return own ? aip_value_ref(own) : NULL;
}

aip_value *graph_case_initial(const struct graph_case *c)
{
        const aip_value *channels = aip_value_get_cstr(c->spec, "channels");
        aip_value *all = aip_value_object();

        for (size_t i = 0; all && i < aip_value_size(channels); i++) {
                const aip_value *channel = aip_value_at(channels, i);
                aip_value *value = initial_of(channel);
                if (value && aip_value_object_set_cstr(&all, text_of(channel, "name"), value) < 0)
                        aip_value_unref(AIP_TAKE(all));
        }
        return all;
}
