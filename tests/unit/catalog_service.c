/* The catalog service on a catalog that a test answers for: loads, reloads, failures, waits, and
 * closing with everything in flight. */
#include "macros.h"
#include "test_loop.h"
#include <aiplat/catalog_service.h>
#include <criterion/criterion.h>

static struct test_loop loop;
static aip_catalog_service *service;
static struct aip_store_watcher *watcher;

/* What the catalog was asked and has not answered. */
static struct aip_catalog_load *load;
static struct aip_config_put *put;
static struct aip_graph_put *graph_put;
static struct aip_catalog_delete *graph_delete;
static struct aip_op *revision_op;
static int64_t *ret_revision;
static int n_loads, n_revisions;

static void take_load(void *self, struct aip_catalog_load *asked)
{
        (void)self;
        cr_assert_null(load, "two loads at once");
        load = asked;
        n_loads++;
}

static void take_put(void *self, struct aip_config_put *asked)
{
        (void)self;
        put = asked;
}

static void take_graph_put(void *self, struct aip_graph_put *asked)
{
        (void)self;
        graph_put = asked;
}

static void take_graph_delete(void *self, struct aip_catalog_delete *asked)
{
        (void)self;
        graph_delete = asked;
}

static void take_revision(void *self, struct aip_op *op, int64_t *ret)
{
        (void)self;
        cr_assert_null(revision_op);
        revision_op = op;
        ret_revision = ret;
        n_revisions++;
}

static void watch(void *self, struct aip_store_watcher *w)
{
        (void)self;
        watcher = w;
}

static void unwatch(void *self, struct aip_store_watcher *w)
{
        (void)self;
        cr_assert_eq(w, watcher);
        watcher = NULL;
}

static void let_pass(int64_t ms)
{
        test_loop_pass_ms(&loop, ms);
}

static void answer_load(int64_t revision)
{
        struct aip_catalog_load *asked = AIP_TAKE(load);

        cr_assert_not_null(asked, "nothing was loaded");
        cr_assert_eq(aip_catalog_new(revision, NULL, 0, NULL, 0, NULL, 0, &asked->ret_catalog, NULL),
                     0);
        aip_op_finish(loop.port, &asked->op, NULL);
        let_pass(0);
}

static void fail_load(void)
{
        aip_error *err = NULL;

        cr_assert_not_null(load);
        aip_error_set(&err, AIP_EUNAVAILABLE, "away");
        aip_op_finish(loop.port, &AIP_TAKE(load)->op, err);
        let_pass(0);
}

static int64_t live_revision(void)
{
        const aip_catalog *current = aip_catalog_service_current(service);

        return current ? aip_catalog_revision(current) : -1;
}

static void open_service(void)
{
        static const struct aip_catalog_repository_ops catalog = {.self_size = sizeof(catalog),
                                                                  .name = "test",
                                                                  .load = take_load,
                                                                  .revision = take_revision,
                                                                  .put_config = take_put,
                                                                  .put_graph = take_graph_put,
                                                                  .delete_graph = take_graph_delete};
        static const struct aip_job_repository_ops jobs = {
                .self_size = sizeof(jobs), .name = "test", .watch = watch, .unwatch = unwatch};
        struct aip_catalog_service_options o = {.self_size = sizeof(o)};

        test_loop_open(&loop, 1);
        o.loop = loop.port;
        o.catalog.ops = &catalog;
        o.jobs.ops = &jobs;
        cr_assert_eq(aip_catalog_service_new(&o, &service, NULL), 0);
}

static void close_service(void)
{
        struct test_op op = {.op.done = test_op_done};

        aip_catalog_service_close(service, &op.op);
        let_pass(0);
        if (load)
                fail_load();
        cr_assert_eq(op.n_done, 1);
        cr_assert_null(watcher);
        cr_assert_eq(aip_sim_loop_step(loop.sim), 0, "something is left on the loop");
        test_loop_close(&loop);
}

TestSuite(catalog_service, .init = open_service, .fini = close_service);

Test(catalog_service, loads_when_started_and_not_before)
{
        watcher->on_connected(watcher);
        let_pass(10000);
        cr_expect_eq(n_loads, 0);
        aip_catalog_service_start(service);
        cr_expect_eq(n_loads, 1);
        cr_expect_eq(live_revision(), -1);
        answer_load(5);
        cr_expect_eq(live_revision(), 5);
}

static void start_with(int64_t revision)
{
        aip_catalog_service_start(service);
        answer_load(revision);
}

Test(catalog_service, reloads_on_a_hint_and_on_a_new_connection)
{
        start_with(1);
        watcher->on_catalog_changed(watcher);
        answer_load(2);
        cr_expect_eq(live_revision(), 2);
        watcher->on_connected(watcher);
        answer_load(3);
        cr_expect_eq(live_revision(), 3);
}

Test(catalog_service, what_changes_while_it_loads_makes_one_more_load)
{
        start_with(1);
        watcher->on_catalog_changed(watcher);
        watcher->on_catalog_changed(watcher);
        watcher->on_catalog_changed(watcher);
        cr_expect_eq(n_loads, 2);
        answer_load(2);
        cr_expect_eq(n_loads, 3);
        answer_load(3);
        cr_expect_eq(n_loads, 3);
        cr_expect_eq(live_revision(), 3);
}

Test(catalog_service, a_load_that_fails_is_tried_again_and_the_old_snapshot_stays)
{
        start_with(1);
        watcher->on_catalog_changed(watcher);
        fail_load();
        cr_expect_eq(live_revision(), 1);
        let_pass(600);
        cr_assert_not_null(revision_op);
        *ret_revision = 2;
        aip_op_finish(loop.port, AIP_TAKE(revision_op), NULL);
        let_pass(0);
        answer_load(2);
        cr_expect_eq(live_revision(), 2);
}

Test(catalog_service, the_first_load_is_tried_until_it_works)
{
        aip_catalog_service_start(service);
        for (int i = 0; i < 5; i++) {
                fail_load();
                let_pass(500);
        }
        answer_load(9);
        cr_expect_eq(live_revision(), 9);
}

Test(catalog_service, compares_revisions_every_few_seconds)
{
        start_with(1);
        let_pass(5000);
        cr_assert_not_null(revision_op);
        *ret_revision = 1;
        aip_op_finish(loop.port, AIP_TAKE(revision_op), NULL);
        let_pass(4000);
        cr_expect_eq(n_loads, 1, "nothing has changed");
        let_pass(1000);
        cr_assert_not_null(revision_op);
        *ret_revision = 2;
        aip_op_finish(loop.port, AIP_TAKE(revision_op), NULL);
        let_pass(0);
        answer_load(2);
        cr_expect_eq(live_revision(), 2);
}

Test(catalog_service, waits_end_with_the_first_snapshot)
{
        struct test_op first = {.op.done = test_op_done}, late = {.op.done = test_op_done};

        aip_catalog_service_wait(service, &first.op);
        aip_catalog_service_start(service);
        let_pass(1000);
        cr_expect_eq(first.n_done, 0);
        answer_load(1);
        cr_expect_eq(first.n_done, 1);
        cr_expect_null(first.op.err);
        aip_catalog_service_wait(service, &late.op);
        cr_expect_eq(late.n_done, 0, "never within the call");
        let_pass(0);
        cr_expect_eq(late.n_done, 1);
}

Test(catalog_service, waits_have_a_deadline)
{
        struct test_op op = {.op = {.done = test_op_done, .deadline_ms = 700}};

        aip_catalog_service_start(service);
        aip_catalog_service_wait(service, &op.op);
        let_pass(699);
        cr_expect_eq(op.n_done, 0);
        let_pass(1);
        cr_expect_eq(op.n_done, 1);
        cr_expect_eq(aip_error_code(op.op.err), AIP_EUNAVAILABLE);
        aip_error_free(op.op.err);
        answer_load(1);
}

/* ── changes ─────────────────────────────────────────────────────────────────────────────────── */

struct put_op {
        struct aip_config_put put;
        int n_done;
};

static void put_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct put_op, put.op)->n_done++;
}

static void answer_put(int code)
{
        aip_error *err = NULL;

        cr_assert_not_null(put);
        put->ret_is_new = 1;
        if (code < 0)
                aip_error_set(&err, code, "refused");
        aip_op_finish(loop.port, &AIP_TAKE(put)->op, err);
        let_pass(0);
}

Test(catalog_service, a_change_is_done_when_it_is_live)
{
        struct put_op p = {.put.op.done = put_done};

        start_with(1);
        aip_catalog_service_put_config(service, &p.put);
        answer_put(0);
        cr_expect_eq(p.n_done, 0);
        answer_load(2);
        cr_expect_eq(p.n_done, 1);
        cr_expect_eq(p.put.ret_is_new, 1);
}

Test(catalog_service, a_load_that_began_before_the_change_does_not_count)
{
        struct put_op p = {.put.op.done = put_done};

        start_with(1);
        watcher->on_catalog_changed(watcher);
        aip_catalog_service_put_config(service, &p.put);
        answer_put(0);
        answer_load(1);
        cr_expect_eq(p.n_done, 0);
        answer_load(2);
        cr_expect_eq(p.n_done, 1);
}

Test(catalog_service, a_stored_change_is_no_failure_when_the_reload_fails)
{
        struct put_op p = {.put.op.done = put_done};

        start_with(1);
        aip_catalog_service_put_config(service, &p.put);
        answer_put(0);
        fail_load();
        cr_expect_eq(p.n_done, 1);
        cr_expect_null(p.put.op.err);
}

Test(catalog_service, a_refused_change_reloads_nothing)
{
        struct put_op p = {.put.op.done = put_done};

        start_with(1);
        aip_catalog_service_put_config(service, &p.put);
        answer_put(AIP_ECONFLICT);
        cr_expect_eq(p.n_done, 1);
        cr_expect_eq(aip_error_code(p.put.op.err), AIP_ECONFLICT);
        aip_error_free(p.put.op.err);
        cr_expect_eq(n_loads, 1);
}

/* ── graphs ──────────────────────────────────────────────────────────────────────────────────── */

static aip_graph_document *graph(const char *name)
{
        aip_graph_document *made = NULL;

        cr_assert_eq(aip_graph_document_parse(
                             aip_str_of(name),
                             AIP_STR("{\"nodes\":{\"n\":{\"type\":\"fail\"}},\"edges\":["
                                     "{\"from\":\"__start__\",\"to\":\"n\"},"
                                     "{\"from\":\"n\",\"to\":\"__end__\"}]}"),
                             &made, NULL),
                     0);
        return made;
}

struct graph_put_op {
        struct aip_graph_put put;
        int n_done;
};

static void graph_put_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct graph_put_op, put.op)->n_done++;
}

static void expect_graph_refused(struct graph_put_op *p, int code, const char *message)
{
        cr_expect_null(graph_put, "the store was asked");
        cr_expect_eq(p->n_done, 0, "never within the call");
        let_pass(0);
        cr_expect_eq(p->n_done, 1);
        cr_expect_eq(aip_error_code(p->put.op.err), code);
        cr_expect_not_null(strstr(aip_error_message(p->put.op.err), message), "%s",
                           aip_error_message(p->put.op.err));
        aip_error_free(p->put.op.err);
        cr_expect_eq(n_loads, 1);
}

static int check_refuses(void *self, const aip_graph_document *document, aip_error **err)
{
        return aip_error_set(err, AIP_EINVAL, "/nodes/%s: %.*s is wrong", (const char *)self,
                             AIP_STR_ARG(aip_graph_document_name(document)));
}

static int check_accepts(void *self, const aip_graph_document *document, aip_error **err)
{
        (void)document;
        (void)err;
        ++*(int *)self;
        return 0;
}

Test(catalog_service, a_graph_that_the_check_refuses_is_not_stored)
{
        aip_graph_document *document = graph("mine");
        struct graph_put_op p = {
                .put = {.op.done = graph_put_done, .document = document, .mode = AIP_PUT_UPSERT}};

        start_with(1);
        aip_catalog_service_check_graphs(service, check_refuses, (void *)(uintptr_t) "n");
        aip_catalog_service_put_graph(service, &p.put);
        expect_graph_refused(&p, AIP_EINVAL, "/nodes/n: mine is wrong");
        aip_graph_document_unref(document);
}

Test(catalog_service, a_checked_graph_is_live_when_its_put_is_done)
{
        aip_graph_document *document = graph("mine");
        struct graph_put_op p = {
                .put = {.op.done = graph_put_done, .document = document, .mode = AIP_PUT_CREATE}};
        int n_checked = 0;

        start_with(1);
        aip_catalog_service_check_graphs(service, check_accepts, &n_checked);
        aip_catalog_service_put_graph(service, &p.put);
        cr_expect_eq(n_checked, 1);
        cr_assert_not_null(graph_put);
        cr_expect_eq(graph_put->document, document);
        cr_expect_eq(graph_put->mode, AIP_PUT_CREATE);
        graph_put->ret_entry = (struct aip_graph_entry){document, 7, 2, 3, 4};
        graph_put->ret_is_new = 1;
        aip_op_finish(loop.port, &AIP_TAKE(graph_put)->op, NULL);
        let_pass(0);
        cr_expect_eq(p.n_done, 0);
        answer_load(2);
        cr_expect_eq(p.n_done, 1);
        cr_expect_eq(p.put.ret_entry.version, 2);
        cr_expect_eq(p.put.ret_is_new, 1);
        aip_graph_document_unref(document);
}

Test(catalog_service, a_shipped_graph_is_replaced_and_not_created)
{
        aip_graph_document *document = graph("assistant");
        struct graph_put_op p = {
                .put = {.op.done = graph_put_done, .document = document, .mode = AIP_PUT_CREATE}};

        start_with(1);
        aip_catalog_service_check_graphs(service, NULL, NULL);
        aip_catalog_service_put_graph(service, &p.put);
        expect_graph_refused(&p, AIP_ECONFLICT, "ships with the platform");
        p = (struct graph_put_op){.put = {.op.done = graph_put_done,
                                          .document = document,
                                          .mode = AIP_PUT_UPSERT}};
        aip_catalog_service_put_graph(service, &p.put);
        cr_assert_not_null(graph_put);
        aip_op_finish(loop.port, &AIP_TAKE(graph_put)->op, NULL);
        let_pass(0);
        answer_load(2);
        cr_expect_eq(p.n_done, 1);
        aip_graph_document_unref(document);
}

struct delete_op {
        struct aip_catalog_delete del;
        int n_done;
};

static void delete_done(struct aip_op *op)
{
        AIP_CONTAINER_OF(op, struct delete_op, del.op)->n_done++;
}

/* What the service makes of a store that has no such row. */
static int delete_of(const char *name)
{
        struct delete_op d = {.del = {.op.done = delete_done, .name = aip_str_of(name)}};
        aip_error *err = NULL;
        int code;

        aip_catalog_service_delete_graph(service, &d.del);
        cr_assert_not_null(graph_delete);
        aip_error_set(&err, AIP_ENOTFOUND, "none");
        aip_op_finish(loop.port, &AIP_TAKE(graph_delete)->op, err);
        let_pass(0);
        cr_assert_eq(d.n_done, 1);
        code = aip_error_code(d.del.op.err);
        aip_error_free(d.del.op.err);
        return code;
}

Test(catalog_service, a_shipped_graph_cannot_be_deleted)
{
        start_with(1);
        cr_expect_eq(delete_of("assistant"), AIP_ECONFLICT);
        cr_expect_eq(delete_of("nobody"), AIP_ENOTFOUND);
}

/* ── closing ─────────────────────────────────────────────────────────────────────────────────── */

TestSuite(catalog_service_closing, .init = open_service);

Test(catalog_service_closing, closes_with_everything_in_flight)
{
        struct put_op stored = {.put.op.done = put_done}, sent = {.put.op.done = put_done};
        struct test_op closing = {.op.done = test_op_done};

        start_with(1);
        let_pass(5000);
        cr_assert_not_null(revision_op);
        aip_catalog_service_put_config(service, &stored.put);
        answer_put(0); /* waits for a load */
        cr_assert_not_null(load);
        aip_catalog_service_put_config(service, &sent.put);
        aip_catalog_service_close(service, &closing.op);
        let_pass(10);
        cr_expect_eq(closing.n_done, 0);
        aip_op_finish(loop.port, AIP_TAKE(revision_op), NULL);
        let_pass(10);
        cr_expect_eq(closing.n_done, 0);
        answer_put(0);
        cr_expect_eq(sent.n_done, 1);
        cr_expect_eq(closing.n_done, 0);
        answer_load(2);
        cr_expect_eq(stored.n_done, 1);
        cr_expect_eq(closing.n_done, 1);
        cr_expect_null(watcher);
        cr_expect_eq(aip_sim_loop_step(loop.sim), 0);
        test_loop_close(&loop);
}

Test(catalog_service_closing, closing_ends_waits)
{
        struct test_op wait = {.op.done = test_op_done}, closing = {.op.done = test_op_done};

        aip_catalog_service_wait(service, &wait.op);
        aip_catalog_service_close(service, &closing.op);
        let_pass(0);
        cr_expect_eq(aip_error_code(wait.op.err), AIP_ECANCELLED);
        aip_error_free(wait.op.err);
        cr_expect_eq(closing.n_done, 1);
        test_loop_close(&loop);
}
