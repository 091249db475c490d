/*
 * The cases of the queue contract (see queue_contract.h), and what they stand on: a loop, a queue
 * of their own, publishes that remember how they ended, and a consumer that remembers what it
 * got.
 */
#include "queue_contract.h"

#include "test_loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S      20
#define QUIET_MS    400 /* real time in which something wrong would show */
#define MANY        5000
#define GOT_MAX     (4 * MANY)
#define NO_PREFETCH 1000

struct consumer {
        struct aip_consumer base;
        struct queue_fixture *f;
        struct aip_delivery got[GOT_MAX];
        size_t n, wanted;
        int acknowledges, stops_at_once, n_lost;
};

struct publish {
        struct aip_publish base;
        int n_done, code;
        char body[AIP_ID_TEXT_BYTES];
};

struct queue_fixture {
        const struct queue_maker *maker;
        struct test_loop loop;
        struct aip_queue_handle handle;
        struct aip_queue queue;
        struct aip_log log;
        struct aip_seeded_random random;
        struct aip_id_source ids;
        char task_queue[64], event_exchange[64];
        struct consumer consumer;
};

/* ---- what the cases stand on ---- */

static int is_connected(void *user)
{
        struct queue_fixture *f = user;
        return f->queue.ops->is_connected(f->queue.self);
}

static void publish_done(struct aip_op *op)
{
        struct publish *publish = AIP_CONTAINER_OF(op, struct publish, base.op);
        publish->n_done++;
        publish->code = aip_error_code(op->err);
        aip_error_free(op->err);
}

static int publish_is_done(void *user)
{
        return ((struct publish *)user)->n_done > 0;
}

static void publish_start(struct queue_fixture *f, struct publish *publish)
{
        publish->base.op.done = publish_done;
        f->queue.ops->publish(f->queue.self, &publish->base);
        cr_assert_eq(publish->n_done, 0, "done must come later");
}

static int publish_body(struct queue_fixture *f, const char *routing_key, struct aip_str body)
{
        struct publish publish = {.base = {.routing_key = routing_key,
                                           .body = body,
                                           .message_id = aip_str_of("an id")}};
        publish_start(f, &publish);
        cr_assert(test_loop_wait(&f->loop, WAIT_S, publish_is_done, &publish));
        cr_expect_eq(publish.base.ret_is_unbound, routing_key && publish.code == 0,
                     "nobody is bound to any event here");
        return publish.code;
}

static void set_body(struct queue_fixture *f, struct publish *publish, struct aip_id *ret_id)
{
        *ret_id = aip_id_next(&f->ids, aip_wall_us(f->loop.port));
        aip_id_format(ret_id, publish->body);
        publish->base.body = aip_str_make(publish->body, AIP_ID_TEXT_BYTES - 1);
        publish->base.message_id = publish->base.body;
}

static struct aip_id publish_task(struct queue_fixture *f)
{
        struct publish publish = {0};
        struct aip_id id;
        set_body(f, &publish, &id);
        cr_assert_eq(publish_body(f, NULL, publish.base.body), 0);
        return id;
}

static void on_deliveries(struct aip_consumer *base, const struct aip_delivery *deliveries,
                          size_t n)
{
        struct consumer *consumer = AIP_CONTAINER_OF(base, struct consumer, base);
        struct queue_fixture *f = consumer->f;
        cr_assert_leq(consumer->n + n, GOT_MAX);
        memcpy(consumer->got + consumer->n, deliveries, n * sizeof(*deliveries));
        consumer->n += n;
        if (consumer->acknowledges)
                f->queue.ops->acknowledge(f->queue.self, deliveries, n);
        if (consumer->stops_at_once)
                f->queue.ops->stop_consuming(f->queue.self, base);
}

static void on_lost(struct aip_consumer *base)
{
        AIP_CONTAINER_OF(base, struct consumer, base)->n_lost++;
}

static struct consumer *consume(struct queue_fixture *f, uint32_t prefetch, int acknowledges)
{
        f->consumer = (struct consumer){
                .base = {.on_deliveries = on_deliveries, .on_lost = on_lost, .prefetch = prefetch},
                .f = f,
                .acknowledges = acknowledges,
        };
        f->queue.ops->consume(f->queue.self, &f->consumer.base);
        return &f->consumer;
}

static void stop(struct queue_fixture *f)
{
        f->queue.ops->stop_consuming(f->queue.self, &f->consumer.base);
}

static int has_wanted(void *user)
{
        struct consumer *consumer = user;
        return consumer->n >= consumer->wanted;
}

/* Wait until it got n, and make sure that no more come. */
static void expect_n(struct queue_fixture *f, size_t n)
{
        f->consumer.wanted = n;
        test_loop_wait(&f->loop, WAIT_S, has_wanted, &f->consumer);
        test_loop_pass_ms(&f->loop, QUIET_MS);
        cr_assert_eq(f->consumer.n, n, "%zu deliveries instead of %zu", f->consumer.n, n);
}

static void acknowledge(struct queue_fixture *f, size_t from, size_t n)
{
        f->queue.ops->acknowledge(f->queue.self, f->consumer.got + from, n);
}

static void write_nothing(void *self, const struct aip_log_record *record)
{
        (void)self;
        if (getenv("AIPLAT_TEST_VERBOSE"))
                fprintf(stderr, "%s: %s\n", record->component, record->message);
}

static void fixture_open(struct queue_fixture *f, const struct queue_maker *maker)
{
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        f->maker = maker;
        test_loop_open(&f->loop, maker->is_virtual);
        aip_id_source_init(&f->ids, aip_random_seeded(&f->random, (uint64_t)now.tv_nsec));
        snprintf(f->task_queue, sizeof(f->task_queue), "tasks-%d-%ld", getpid(), now.tv_nsec);
        snprintf(f->event_exchange, sizeof(f->event_exchange), "events-%d-%ld", getpid(),
                 now.tv_nsec);
        f->log = (struct aip_log){.write = write_nothing};
        const struct aip_queue_options options = {
                .self_size = sizeof(options),
                .loop = f->loop.port,
                .log = &f->log,
                .random = f->ids.random,
                .url = maker->url,
                .task_queue = f->task_queue,
                .event_exchange = f->event_exchange,
        };
        cr_assert_eq(maker->open(&options, &f->handle, NULL), 0);
        f->queue = f->handle.queue;
        cr_assert(test_loop_wait(&f->loop, WAIT_S, is_connected, f));
}

static void fixture_close(struct queue_fixture *f)
{
        if (f->handle.close)
                cr_assert(test_loop_close_with(&f->loop, f->handle.close, f->handle.self));
        if (f->maker->dispose)
                f->maker->dispose(f->maker->url, f->task_queue, f->event_exchange);
        test_loop_close(&f->loop);
}

void queue_contract_run(const struct queue_maker *maker, queue_case *run)
{
        struct queue_fixture *f = calloc(1, sizeof(*f));
        cr_assert(f);
        fixture_open(f, maker);
        run(f);
        fixture_close(f);
        free(f);
}

/* ---- the cases ---- */

void queue_contract_delivers_what_was_published(struct queue_fixture *f)
{
        consume(f, NO_PREFETCH, 1);
        struct aip_id ids[3];
        for (size_t i = 0; i < 3; i++)
                ids[i] = publish_task(f);
        expect_n(f, 3);
        for (size_t i = 0; i < 3; i++) {
                cr_assert(aip_id_equal(&f->consumer.got[i].job_id, &ids[i]), "in order");
                cr_assert_not(f->consumer.got[i].is_redelivered);
        }
        struct test_op ping = {.op.done = test_op_done};
        f->queue.ops->ping(f->queue.self, &ping.op);
        cr_assert_eq(ping.n_done, 0);
        cr_assert(test_loop_wait(&f->loop, WAIT_S, test_op_is_done, &ping));
        cr_assert_null(ping.op.err, "%s", aip_error_message(ping.op.err));
        cr_assert_eq(f->consumer.n_lost, 0);
}

void queue_contract_keeps_tasks_until_somebody_consumes(struct queue_fixture *f)
{
        struct aip_id first = publish_task(f), second = publish_task(f);
        test_loop_pass_ms(&f->loop, QUIET_MS);
        consume(f, NO_PREFETCH, 1);
        expect_n(f, 2);
        cr_assert(aip_id_equal(&f->consumer.got[0].job_id, &first));
        cr_assert(aip_id_equal(&f->consumer.got[1].job_id, &second));
}

void queue_contract_delivers_no_more_than_the_prefetch(struct queue_fixture *f)
{
        for (int i = 0; i < 10; i++)
                publish_task(f);
        consume(f, 4, 0);
        expect_n(f, 4);
        acknowledge(f, 1, 2); /* not the first: the window must move all the same */
        expect_n(f, 6);
        acknowledge(f, 0, 1);
        acknowledge(f, 3, 3);
        expect_n(f, 10);
}

void queue_contract_redelivers_when_a_consumer_stops(struct queue_fixture *f)
{
        struct aip_id ids[5];
        for (size_t i = 0; i < 5; i++)
                ids[i] = publish_task(f);
        consume(f, NO_PREFETCH, 0);
        expect_n(f, 5);
        acknowledge(f, 1, 1);
        stop(f);
        expect_n(f, 5);
        struct aip_delivery stale = f->consumer.got[0];
        consume(f, NO_PREFETCH, 0);
        expect_n(f, 4);
        static const size_t left[] = {0, 2, 3, 4};
        for (size_t i = 0; i < 4; i++) {
                cr_assert(aip_id_equal(&f->consumer.got[i].job_id, &ids[left[i]]), "in order");
                cr_assert(f->consumer.got[i].is_redelivered);
        }
        f->queue.ops->acknowledge(f->queue.self, &stale, 1); /* of an older generation: nothing */
        stop(f);
        consume(f, NO_PREFETCH, 1);
        expect_n(f, 4);
}

void queue_contract_forgets_what_was_acknowledged(struct queue_fixture *f)
{
        for (int i = 0; i < 20; i++)
                publish_task(f);
        consume(f, NO_PREFETCH, 1);
        expect_n(f, 20);
        stop(f); /* at once: acknowledgements on their way must not be lost */
        consume(f, NO_PREFETCH, 1);
        expect_n(f, 0);
}

void queue_contract_ignores_odd_acknowledgements(struct queue_fixture *f)
{
        for (int i = 0; i < 3; i++)
                publish_task(f);
        consume(f, NO_PREFETCH, 0);
        expect_n(f, 3);
        struct aip_delivery unknown = f->consumer.got[2];
        unknown.tag += 1000000;
        f->queue.ops->acknowledge(f->queue.self, &unknown, 1);
        acknowledge(f, 0, 0);
        acknowledge(f, 2, 1);
        acknowledge(f, 2, 1);
        acknowledge(f, 0, 3);
        acknowledge(f, 0, 3);
        test_loop_pass_ms(&f->loop, QUIET_MS);
        cr_assert_eq(f->consumer.n_lost, 0);
        publish_task(f);
        expect_n(f, 4);
        stop(f);
        consume(f, NO_PREFETCH, 1);
        expect_n(f, 1);
}

void queue_contract_consumer_stops_in_its_callback(struct queue_fixture *f)
{
        consume(f, 1, 0)->stops_at_once = 1;
        publish_task(f);
        publish_task(f);
        expect_n(f, 1);
        consume(f, NO_PREFETCH, 1);
        expect_n(f, 2);
}

void queue_contract_consumer_starts_again_at_once(struct queue_fixture *f)
{
        publish_task(f);
        for (int i = 0; i < 20; i++) {
                consume(f, NO_PREFETCH, 1);
                stop(f);
        }
        consume(f, NO_PREFETCH, 1);
        expect_n(f, 1);
        publish_task(f);
        expect_n(f, 2);
}

void queue_contract_drops_what_is_no_job_id(struct queue_fixture *f)
{
        char large[AIP_MESSAGE_MAX_BYTES];
        memset(large, 'a', sizeof(large));
        consume(f, 2, 1);
        for (int i = 0; i < 5; i++)
                cr_assert_eq(publish_body(f, NULL, aip_str_of("rubbish")), 0);
        cr_assert_eq(publish_body(f, NULL, aip_str_of("")), 0);
        cr_assert_eq(publish_body(f, NULL, aip_str_make(large, sizeof(large))), 0);
        struct aip_id id = publish_task(f);
        expect_n(f, 1);
        cr_assert(aip_id_equal(&f->consumer.got[0].job_id, &id));
        cr_assert_eq(f->consumer.n_lost, 0);
}

void queue_contract_refuses_too_large_a_message(struct queue_fixture *f)
{
        char large[AIP_MESSAGE_MAX_BYTES + 1];
        memset(large, 'a', sizeof(large));
        struct aip_str whole = aip_str_make(large, sizeof(large));
        cr_assert_eq(publish_body(f, "job.created", whole), AIP_ELIMIT);
        whole.n--;
        cr_assert_eq(publish_body(f, "job.created", whole), 0);
}

void queue_contract_event_without_listener_is_published(struct queue_fixture *f)
{
        cr_assert_eq(publish_body(f, "job.created", aip_str_of("{}")), 0);
        consume(f, NO_PREFETCH, 1);
        expect_n(f, 0);
}

static int all_are_done(void *user)
{
        struct publish *publishes = user;
        return publishes[0].n_done > 0 && publishes[MANY - 1].n_done > 0;
}

static int compare_ids(const void *a, const void *b)
{
        return aip_id_compare(a, b);
}

void queue_contract_many_tasks_arrive_once_each(struct queue_fixture *f)
{
        static struct publish publishes[MANY];
        static struct aip_id sent[MANY], got[MANY];
        consume(f, 100, 1);
        for (size_t i = 0; i < MANY; i++) {
                set_body(f, &publishes[i], &sent[i]);
                publish_start(f, &publishes[i]);
        }
        cr_assert(test_loop_wait(&f->loop, 4 * WAIT_S, all_are_done, publishes));
        expect_n(f, MANY);
        for (size_t i = 0; i < MANY; i++) {
                cr_assert_eq(publishes[i].n_done, 1);
                cr_assert_eq(publishes[i].code, 0);
                got[i] = f->consumer.got[i].job_id;
        }
        qsort(got, MANY, sizeof(*got), compare_ids);
        qsort(sent, MANY, sizeof(*sent), compare_ids);
        cr_assert_eq(memcmp(got, sent, sizeof(got)), 0);
}

struct flood {
        struct publish *publishes;
        size_t n;
};

static int flood_is_done(void *user)
{
        const struct flood *flood = user;
        for (size_t i = flood->n; i > 0; i--)
                if (flood->publishes[i - 1].n_done == 0)
                        return 0;
        return 1;
}

void queue_contract_is_bounded(struct queue_fixture *f)
{
        struct flood flood = {.n = f->maker->bound + 100};
        flood.publishes = calloc(flood.n, sizeof(*flood.publishes));
        cr_assert(flood.publishes);
        struct aip_id id;
        for (size_t i = 0; i < flood.n; i++) {
                set_body(f, &flood.publishes[i], &id);
                publish_start(f, &flood.publishes[i]);
        }
        cr_assert(test_loop_wait(&f->loop, 4 * WAIT_S, flood_is_done, &flood));
        for (size_t i = 0; i < flood.n; i++) {
                cr_assert_eq(flood.publishes[i].n_done, 1);
                int code = flood.publishes[i].code;
                if (i >= f->maker->bound)
                        cr_assert_eq(code, AIP_ELIMIT);
                else
                        cr_assert(code == 0 || code == AIP_ETIMEOUT || code == AIP_EUNAVAILABLE);
        }
        free(flood.publishes);
}

void queue_contract_close_ends_what_is_in_flight(struct queue_fixture *f)
{
        static struct publish publishes[500];
        struct aip_id id;
        consume(f, 10, 0);
        for (size_t i = 0; i < 500; i++) {
                set_body(f, &publishes[i], &id);
                publish_start(f, &publishes[i]);
        }
        cr_assert(test_loop_close_with(&f->loop, f->handle.close, f->handle.self));
        f->handle.close = NULL;
        test_loop_pass_ms(&f->loop, QUIET_MS);
        for (size_t i = 0; i < 500; i++) {
                cr_assert_eq(publishes[i].n_done, 1);
                cr_assert(publishes[i].code == 0 || publishes[i].code == AIP_ECANCELLED);
        }
}
