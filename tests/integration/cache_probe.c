/*
 * The Redis cache behind a line of commands (see probe.h). Run by test_redis.py.
 *
 *     cache_probe URL
 *
 *     put KEY VALUE TTL
 *     get KEY              →  got MS hit VALUE | got MS miss | got MS CODE MESSAGE
 *     ping                 →  ping OUTCOME
 *     quit                 →  closed
 */
#include "probe.h"

struct cache_probe {
        struct probe probe;
        struct aip_cache_handle handle;
};

struct asked {
        struct aip_cache_get get;
        struct cache_probe *c;
        int64_t since_ms;
        char key[64];
};

static void got(struct aip_op *op)
{
        struct asked *asked = AIP_CONTAINER_OF(op, struct asked, get.op);
        struct aip_str value = aip_buf_str(&asked->get.ret_value);
        long long ms = (long long)(aip_now_ms(asked->c->probe.loop) - asked->since_ms);
        char text[512];
        if (op->err)
                say("got %lld %s", ms, outcome(op->err, text));
        else if (asked->get.ret_is_hit)
                say("got %lld hit %.*s", ms, (int)value.n, value.p);
        else
                say("got %lld miss", ms);
        aip_error_free(op->err);
        aip_buf_deinit(&asked->get.ret_value);
        free(asked);
}

static void get(struct cache_probe *c, const char *key)
{
        struct asked *asked = calloc(1, sizeof(*asked));
        if (!asked)
                exit(1);
        asked->c = c;
        asked->since_ms = aip_now_ms(c->probe.loop);
        snprintf(asked->key, sizeof(asked->key), "%s", key);
        asked->get.key = aip_str_of(asked->key);
        asked->get.op.done = got;
        aip_buf_init(&asked->get.ret_value, 1 << 20);
        c->handle.cache.ops->get(c->handle.cache.self, &asked->get);
}

static void pinged(struct aip_op *op)
{
        char text[512];
        say("ping %s", outcome(op->err, text));
        aip_error_free(op->err);
        free(op);
}

static void ping(struct cache_probe *c)
{
        struct aip_op *op = calloc(1, sizeof(*op));
        if (!op)
                exit(1);
        op->done = pinged;
        c->handle.cache.ops->ping(c->handle.cache.self, op);
}

static void obey(struct probe *probe, char *line)
{
        struct cache_probe *c = AIP_CONTAINER_OF(probe, struct cache_probe, probe);
        char key[64], value[64];
        int ttl_s;
        if (sscanf(line, "put %63s %63s %d", key, value, &ttl_s) == 3)
                c->handle.cache.ops->put(c->handle.cache.self, aip_str_of(key), aip_str_of(value),
                                         ttl_s);
        else if (sscanf(line, "get %63s", key) == 1)
                get(c, key);
        else if (strcmp(line, "ping") == 0)
                ping(c);
        else if (strcmp(line, "quit") == 0)
                c->handle.close(c->handle.self, &probe->closed);
        else
                say("unknown %s", line);
}

int main(int argc, char **argv)
{
        static struct cache_probe c;
        aip_error *err = NULL;
        if (argc != 2 || probe_open(&c.probe) < 0)
                return 2;
        c.probe.command = obey;
        const struct aip_cache_options options = {
                .self_size = sizeof(options),
                .loop = c.probe.loop,
                .log = &c.probe.log,
                .random = aip_random_system(),
                .url = argv[1],
        };
        if (aip_redis_cache_new(&options, &c.handle, &err) < 0) {
                say("refused %s", aip_error_message(err));
                aip_error_free(err);
                return 3;
        }
        return probe_run(&c.probe);
}
