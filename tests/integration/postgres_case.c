/* See postgres_case.h. */
#include "postgres_case.h"

struct postgres_schema the_schema;

static void prepare(struct store_maker *maker)
{
        (void)maker;
        postgres_schema_make(&the_schema);
}

static int open_store(struct store_maker *maker, const struct aip_store_options *options,
                      struct aip_store *ret_store, aip_error **err)
{
        struct aip_store_options here = *options;
        (void)maker;
        here.url = the_schema.url;
        return aip_postgres_store_new(&here, ret_store, err);
}

static void dispose(struct store_maker *maker)
{
        (void)maker;
        postgres_schema_drop(&the_schema);
}

static const struct store_maker maker = {
        .is_shareable = 1,
        .prepare = prepare,
        .open = open_store,
        .dispose = dispose,
};

void postgres_case_run(store_case *run)
{
        store_contract_run(&maker, run);
}

void postgres_case_run_bare(store_case *run)
{
        struct store_fixture f = {0};
        postgres_schema_make(&the_schema);
        cr_assert_eq(aip_uv_loop_new(&f.uv, NULL), 0);
        f.loop = aip_uv_loop_port(f.uv);
        aip_id_source_init(&f.ids, aip_random_seeded(&f.random, 7));
        run(&f);
        cr_assert_eq(f.n_awaited, 0);
        aip_uv_loop_free(f.uv);
        postgres_schema_drop(&the_schema);
}

struct aip_store postgres_store_open(struct store_fixture *f, const char *url)
{
        struct aip_store_options options = {.self_size = sizeof(options), .loop = f->loop};
        struct aip_store store;
        aip_error *err = NULL;
        options.random = aip_random_system();
        options.url = url ? url : the_schema.url;
        cr_assert_eq(aip_postgres_store_new(&options, &store, &err), 0, "%s",
                     aip_error_message(err));
        return store;
}

void postgres_store_close(struct store_fixture *f, struct aip_store *store)
{
        struct aip_op close = {0};
        op_begin(f, &close);
        store->close(store->self, &close);
        op_await(f, &close, 0);
}
