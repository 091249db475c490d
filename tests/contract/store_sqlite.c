/* The store contract on the SQLite store, each case on a file of its own in a temporary folder. */
#include "store_contract.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static void prepare(struct store_maker *maker)
{
        snprintf(maker->place, sizeof(maker->place), "%s/aiplat-sqlite-XXXXXX",
                 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        cr_assert_not_null(mkdtemp(maker->place));
}

static int open_store(struct store_maker *maker, const struct aip_store_options *options,
                      struct aip_store *ret_store, aip_error **err)
{
        struct aip_store_options with_url = *options;
        char url[600];

        snprintf(url, sizeof(url), "sqlite:///%s/aiplat.db", maker->place);
        with_url.url = url;
        return aip_sqlite_store_new(&with_url, ret_store, err);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
        (void)status, (void)type, (void)walk;
        return remove(path);
}

static void dispose(struct store_maker *maker)
{
        nftw(maker->place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const struct store_maker maker = {
        .is_shareable = 1, .prepare = prepare, .open = open_store, .dispose = dispose};

#define ON_SQLITE(name)                                                                            \
        Test(store_sqlite, name, .timeout = 60)                                                    \
        {                                                                                          \
                store_contract_run(&maker, store_contract_##name);                                 \
        }
STORE_CONTRACT(ON_SQLITE)
