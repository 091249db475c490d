/* The broker in memory (broker.h). It never calls anybody from within a call to it. */
#include "broker.h"

#include <assert.h>
#include <stdlib.h>

struct message {
        struct aip_list link;
        struct aip_id job_id;
        uint64_t tag;
        int is_redelivered;
};

struct publishing {
        struct broker_client *client;
        struct aip_publish *publish;
        struct aip_timer timer;
        int is_refused;
};

static int chance(struct broker *b, int permille)
{
        return (int)(aip_random_u64(b->random) % 1000) < permille;
}

/* ── delivering ──────────────────────────────────────────────────────────────────────────────── */

static int can_take(const struct broker_client *c)
{
        return c->consumer && !c->is_cut_off && !c->broker->is_down &&
               c->n_unacknowledged < c->consumer->prefetch;
}

static struct broker_client *next_taker(struct broker *b)
{
        AIP_LIST_FOREACH (node, &b->clients) {
                struct broker_client *c = AIP_LIST_ENTRY(node, struct broker_client, link);

                if (!can_take(c))
                        continue;
                aip_list_remove(node); /* the next message is for another */
                aip_list_append(&b->clients, node);
                return c;
        }
        return NULL;
}

static void deliver(struct aip_task *task)
{
        struct broker *b = AIP_CONTAINER_OF(task, struct broker, deliver_task);
        struct aip_list *node = aip_list_first(&b->ready);
        struct broker_client *c = node ? next_taker(b) : NULL;

        if (!c)
                return;
        struct message *m = AIP_LIST_ENTRY(node, struct message, link);
        struct aip_delivery delivery = {m->job_id, ++b->n_tags, c->generation, m->is_redelivered};

        aip_list_remove(&m->link);
        m->tag = delivery.tag;
        aip_list_append(&c->unacknowledged, &m->link);
        c->n_unacknowledged++;
        aip_defer(b->loop, &b->deliver_task);
        c->consumer->on_deliveries(c->consumer, &delivery, 1);
}

void broker_send(struct broker *b, const struct aip_id *job_id)
{
        struct message *m = calloc(1, sizeof(*m));

        assert(m);
        m->job_id = *job_id;
        aip_list_append(&b->ready, &m->link);
        aip_defer(b->loop, &b->deliver_task);
}

static void give_back(struct broker_client *c)
{
        struct aip_list *node;

        while ((node = aip_list_pop(&c->unacknowledged)) != NULL) {
                AIP_LIST_ENTRY(node, struct message, link)->is_redelivered = 1;
                aip_list_append(&c->broker->ready, node);
        }
        c->n_unacknowledged = 0;
        c->generation++;
        aip_defer(c->broker->loop, &c->broker->deliver_task);
}

void broker_break(struct broker_client *c)
{
        give_back(c);
        if (c->consumer && c->consumer->on_lost)
                c->consumer->on_lost(c->consumer);
}

static void consume(void *self, struct aip_consumer *consumer)
{
        struct broker_client *c = self;

        assert(!c->consumer && consumer->prefetch > 0);
        c->consumer = consumer;
        c->generation++;
        aip_defer(c->broker->loop, &c->broker->deliver_task);
}

static void stop_consuming(void *self, struct aip_consumer *consumer)
{
        struct broker_client *c = self;

        if (c->consumer != consumer)
                return;
        c->consumer = NULL;
        give_back(c);
}

static void acknowledge_one(struct broker_client *c, const struct aip_delivery *delivery)
{
        AIP_LIST_FOREACH (node, &c->unacknowledged) {
                struct message *m = AIP_LIST_ENTRY(node, struct message, link);

                if (m->tag != delivery->tag)
                        continue;
                aip_list_remove(node);
                free(m);
                c->n_unacknowledged--;
                c->broker->n_acknowledged++;
                return;
        }
}

static void acknowledge(void *self, const struct aip_delivery *deliveries, size_t n)
{
        struct broker_client *c = self;

        for (size_t i = 0; i < n && !c->is_cut_off; i++)
                if (deliveries[i].generation == c->generation)
                        acknowledge_one(c, &deliveries[i]);
        aip_defer(c->broker->loop, &c->broker->deliver_task);
}

/* ── publishing ──────────────────────────────────────────────────────────────────────────────── */

static void count_event(struct broker *b, const char *key)
{
        size_t n = (size_t)aip_hash_map_get(&b->events, aip_str_of(key));
        int r = aip_hash_map_set(&b->events, aip_str_of(key), (void *)(n + 1), NULL);

        assert(r >= 0);
        (void)r;
}

size_t broker_events(const struct broker *b, const char *routing_key)
{
        return (size_t)aip_hash_map_get(&b->events, aip_str_of(routing_key));
}

static void take(struct broker *b, const struct aip_publish *publish)
{
        struct aip_id id;

        if (publish->routing_key) {
                count_event(b, publish->routing_key);
                return;
        }
        b->n_tasks++;
        if (aip_id_parse(publish->body, &id, NULL) < 0 || chance(b, b->lost_permille))
                return;
        broker_send(b, &id);
        if (chance(b, b->doubled_permille))
                broker_send(b, &id);
}

static void confirm(struct aip_timer *timer)
{
        struct publishing *p = AIP_CONTAINER_OF(timer, struct publishing, timer);
        aip_error *err = NULL;

        if (p->is_refused)
                aip_error_set(&err, AIP_EUNAVAILABLE, "made to fail");
        p->client->n_publishing--;
        aip_op_finish(p->client->broker->loop, &p->publish->op, err);
        free(p);
}

static void publish(void *self, struct aip_publish *publish)
{
        struct broker_client *c = self;
        struct broker *b = c->broker;
        struct publishing *p = calloc(1, sizeof(*p));
        int64_t delay_ms = b->delay_ms ? (int64_t)(aip_random_u64(b->random) % (uint64_t)b->delay_ms) : 0;

        assert(p);
        *p = (struct publishing){c, publish, {.fire = confirm}, 0};
        p->is_refused = b->is_down || c->is_cut_off || chance(b, b->refused_permille);
        /* Refused is not absent: some of those arrive all the same. */
        if (!p->is_refused || (!b->is_down && !c->is_cut_off && chance(b, 500)))
                take(b, publish);
        c->n_publishing++;
        aip_timer_set(b->loop, &p->timer, delay_ms);
}

static int is_connected(void *self)
{
        struct broker_client *c = self;

        return !c->broker->is_down && !c->is_cut_off;
}

static void ping(void *self, struct aip_op *op)
{
        struct broker_client *c = self;
        aip_error *err = NULL;

        if (!is_connected(c))
                aip_error_set(&err, AIP_EUNAVAILABLE, "not connected");
        aip_op_finish(c->broker->loop, op, err);
}

static const struct aip_queue_ops ops = {
        .self_size = sizeof(ops),
        .name = "broker",
        .publish = publish,
        .consume = consume,
        .stop_consuming = stop_consuming,
        .acknowledge = acknowledge,
        .is_connected = is_connected,
        .ping = ping,
};

struct aip_queue broker_port(struct broker_client *client)
{
        return (struct aip_queue){&ops, client};
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

void broker_open(struct broker *b, struct aip_loop loop, uint64_t seed)
{
        *b = (struct broker){.loop = loop};
        b->random = aip_random_seeded(&b->generator, seed);
        b->deliver_task.run = deliver;
        aip_list_init(&b->ready);
        aip_list_init(&b->clients);
}

void broker_purge(struct broker *b)
{
        struct aip_list *node;

        while ((node = aip_list_pop(&b->ready)) != NULL)
                free(AIP_LIST_ENTRY(node, struct message, link));
}

void broker_close(struct broker *b)
{
        assert(aip_list_is_empty(&b->clients));
        broker_purge(b);
        aip_undefer(b->loop, &b->deliver_task);
        aip_hash_map_deinit(&b->events);
}

void broker_connect(struct broker *b, struct broker_client *c)
{
        *c = (struct broker_client){.broker = b};
        aip_list_init(&c->unacknowledged);
        aip_list_append(&b->clients, &c->link);
}

void broker_leave(struct broker_client *c)
{
        assert(c->n_publishing == 0);
        give_back(c);
        aip_list_remove(&c->link);
}
