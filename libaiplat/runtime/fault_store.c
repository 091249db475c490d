/*
 * "It happened, but the caller was told it did not", for whole processes of a fault build: puts the
 * faulty job repository of the suites (tests/support/app/faulty_jobs.h) around the store that the
 * settings ask for, as the environment says:
 *
 *     AIPLAT_FAULT_STORE="told_failed=0.01,told_timeout=0.005,refused=0.01"
 *
 * each with its probability, on every method of the port. Called by the runtime. Not part of other
 * builds.
 */
#include "fault_store.h"

#include "fault_point.h"
#include "faulty_jobs.h"
#include "macros.h"
#include "mem.h"

struct runtime_fault_store {
        struct faulty_jobs faulty;
};

static const struct {
        const char *name;
        enum fault fault;
} kinds[] = {
        {"told_failed", FAULT_TOLD_FAILED},
        {"told_timeout", FAULT_TOLD_TIMEOUT},
        {"refused", FAULT_BEFORE},
};

static int refuse(aip_error **err, struct aip_str entry)
{
        return aip_error_set(err, AIP_EINVAL,
                             AIP_FAULT_STORE_VARIABLE
                             ": '%.*s' is none of told_failed=P, told_timeout=P, refused=P with P "
                             "from 0 to 1",
                             AIP_STR_ARG(entry));
}

static int read_entry(struct aip_str entry, uint32_t chances[N_FAULTS], aip_error **err)
{
        for (size_t i = 0; i < AIP_ARRAY_SIZE(kinds); i++) {
                size_t n = strlen(kinds[i].name);
                char *end = NULL;

                if (entry.n <= n || strncmp(entry.p, kinds[i].name, n) != 0 || entry.p[n] != '=')
                        continue;
                double p = strtod(entry.p + n + 1, &end);
                if (end != entry.p + entry.n || end == entry.p + n + 1 || !(p >= 0.0 && p <= 1.0))
                        break;
                chances[kinds[i].fault] = (uint32_t)(p * FAULT_CHANCE_ALWAYS);
                return 0;
        }
        return refuse(err, entry);
}

static int read_chances(const char *text, uint32_t chances[N_FAULTS], aip_error **err)
{
        while (*text != '\0') {
                struct aip_str entry = aip_str_make(text, strcspn(text, ","));
                int r = read_entry(entry, chances, err);

                if (r < 0)
                        return r;
                text += entry.n;
                text += *text == ',';
        }
        return 0;
}

int runtime_fault_store_new(struct aip_loop loop, struct aip_job_repository *jobs,
                            runtime_fault_store **ret_store, aip_error **err)
{
        const char *text = getenv(AIP_FAULT_STORE_VARIABLE);
        uint32_t chances[N_FAULTS] = {0};
        int r = aip_fault_points_set(getenv(AIP_FAULT_POINTS_VARIABLE), err);

        if (r == 0)
                r = read_chances(text ? text : "", chances, err);
        if (r < 0)
                return r;
        if (!text || text[0] == '\0') {
                *ret_store = NULL;
                return 0;
        }
        runtime_fault_store *store = aip_calloc(1, sizeof(*store));
        if (!store)
                return aip_error_set_nomem(err);
        faulty_jobs_open(&store->faulty, loop, *jobs, aip_random_u64(aip_random_system()));
        memcpy(store->faulty.chances, chances, sizeof(chances));
        *jobs = faulty_jobs_port(&store->faulty);
        *ret_store = store;
        return 0;
}

void runtime_fault_store_free(runtime_fault_store *store)
{
        aip_free(store); /* a closed store calls no watcher */
}
