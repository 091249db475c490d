/*
 * The store alone, through its public ports: how many jobs a second it accepts, takes through claim
 * and fenced completion, and forgets from the outbox. For whoever changes a statement or an index:
 *
 *     build/bench/store URL [--jobs N] [--window W] [--batch B] [--claims K] [--keys] [--server PID]
 *
 * One phase after another, each on all jobs, answered as one line of JSON. `--server PID` adds the
 * CPU seconds of a server's process and its children (the postmaster). It must be given a database
 * of its own, and never one that somebody needs: it migrates it and fills it.
 */
#include <aiplat/adapters.h>
#include <aiplat/loops.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CLAIMS_MAX 64

struct agent;

struct creation {
        struct aip_job_create create;
        struct bench *bench;
        char key[AIP_ID_TEXT_BYTES];
};

struct finish {
        struct aip_job_finish finish;
        struct agent *agent;
};

/* Claims a batch by its ids, finishes each job of it, and begins anew. */
struct agent {
        struct aip_job_claim claim;
        struct finish finishes[AIP_STORE_BATCH_MAX];
        struct bench *bench;
        size_t n_unfinished;
};

struct bench {
        /* settings */
        const char *url;
        size_t n_jobs, window, batch, n_claims;
        int has_keys;
        long server;

        aip_uv_loop *uv;
        struct aip_loop loop;
        struct aip_store store;
        struct aip_id_source ids;
        struct aip_id session;

        struct aip_id *jobs; /* [n_jobs], in the order in which they were made */
        int64_t *outbox_ids; /* [3 * n_jobs] at most, with repetitions */
        size_t n_outbox_ids;
        size_t n_started, n_done; /* of this phase */
        struct agent agents[CLAIMS_MAX];
};

struct usage {
        double wall, own, server;
};

/* ── measuring ───────────────────────────────────────────────────────────────────────────────── */

static void give_up(const char *what, const aip_error *err)
{
        fprintf(stderr, "store: %s: %s\n", what, err ? aip_error_message(err) : "not as expected");
        exit(1);
}

static double seconds(struct timeval t)
{
        return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* CPU seconds of a process that is `pid` or a child of it; 0 for any other. */
static double cpu_of(const char *entry, long pid)
{
        char path[64], line[1024];
        unsigned long user = 0, system = 0;
        long parent = 0;

        snprintf(path, sizeof(path), "/proc/%.20s/stat", entry);
        FILE *file = fopen(path, "r");
        if (!file)
                return 0;
        const char *rest = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
        fclose(file);
        if (!rest || sscanf(rest, ") %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &parent,
                            &user, &system) != 3)
                return 0;
        if (parent != pid && strtol(entry, NULL, 10) != pid)
                return 0;
        return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double server_cpu(long pid)
{
        double sum = 0;
        DIR *proc = pid ? opendir("/proc") : NULL;

        for (struct dirent *entry; proc && (entry = readdir(proc));)
                if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
                        sum += cpu_of(entry->d_name, pid);
        if (proc)
                closedir(proc);
        return sum;
}

static struct usage usage_now(const struct bench *b)
{
        struct timespec wall;
        struct rusage own;

        clock_gettime(CLOCK_MONOTONIC, &wall);
        getrusage(RUSAGE_SELF, &own);
        return (struct usage){
                .wall = (double)wall.tv_sec + (double)wall.tv_nsec / 1e9,
                .own = seconds(own.ru_utime) + seconds(own.ru_stime),
                .server = server_cpu(b->server),
        };
}

static void phase(struct bench *b, const char *name, size_t n, void (*start)(struct bench *b))
{
        struct usage before = usage_now(b), after;

        b->n_started = b->n_done = 0;
        start(b);
        aip_uv_loop_run(b->uv);
        after = usage_now(b);
        double wall = after.wall - before.wall, each = 1e6 / (double)b->n_jobs;
        printf("%s{\"phase\": \"%s\", \"per_s\": %.0f, \"seconds\": %.3f, \"rows\": %zu, "
               "\"own_us_per_job\": %.1f",
               strcmp(name, "create") ? ", " : "", name, (double)n / wall, wall, n,
               (after.own - before.own) * each);
        if (b->server)
                printf(", \"server_us_per_job\": %.1f", (after.server - before.server) * each);
        printf("}");
}

static void note_outbox_id(struct bench *b, int64_t outbox_id)
{
        if (outbox_id)
                b->outbox_ids[b->n_outbox_ids++] = outbox_id;
}

/* ── create ──────────────────────────────────────────────────────────────────────────────────── */

static void create_next(struct creation *c);

static void created(struct aip_op *op)
{
        struct creation *c = AIP_CONTAINER_OF(op, struct creation, create.op);
        struct bench *b = c->bench;

        if (op->err || c->create.ret_outcome != AIP_CREATE_CREATED)
                give_up("create", op->err);
        note_outbox_id(b, c->create.ret_transition.outbox_id);
        aip_job_free((aip_job *)c->create.job);
        if (++b->n_done == b->n_jobs)
                aip_uv_loop_stop(b->uv);
        if (b->n_started < b->n_jobs)
                create_next(c);
        else
                free(c);
}

static void create_next(struct creation *c)
{
        struct bench *b = c->bench;
        struct aip_job_spec spec = AIP_JOB_SPEC_INIT;
        struct aip_id id = aip_id_next(&b->ids, aip_wall_us(b->loop));
        aip_job *job = NULL;
        aip_error *err = NULL;

        spec.prompt = aip_str_of("Write a haiku about programming, and make it a good one.");
        if (aip_job_new(id, &spec, aip_wall_us(b->loop), &job, &err) < 0)
                give_up("create", err);
        c->create = (struct aip_job_create){.op = {.done = created}, .job = job};
        aip_id_format(&id, c->key);
        if (b->has_keys)
                c->create.idempotency_key = aip_str_of(c->key);
        b->jobs[b->n_started++] = id;
        b->store.jobs.ops->create(b->store.jobs.self, &c->create);
}

static void start_creating(struct bench *b)
{
        for (size_t i = 0; i < b->window && b->n_started < b->n_jobs; i++) {
                struct creation *c = calloc(1, sizeof(*c));
                if (!c)
                        give_up("out of memory", NULL);
                c->bench = b;
                create_next(c);
        }
}

/* ── claim and finish ────────────────────────────────────────────────────────────────────────── */

static void claim_next(struct agent *a);

static void finished(struct aip_op *op)
{
        struct finish *f = AIP_CONTAINER_OF(op, struct finish, finish.op);
        struct agent *a = f->agent;
        struct bench *b = a->bench;

        if (op->err || f->finish.ret_outcome != AIP_FINISH_RECORDED)
                give_up("finish", op->err);
        note_outbox_id(b, f->finish.transition.outbox_id);
        aip_job_free((aip_job *)f->finish.job);
        if (++b->n_done == b->n_jobs)
                aip_uv_loop_stop(b->uv);
        if (--a->n_unfinished == 0)
                claim_next(a);
}

static void finish_one(struct agent *a, size_t i, aip_job *job)
{
        struct bench *b = a->bench;
        struct finish *f = &a->finishes[i];
        struct aip_job_outcome outcome = {.self_size = sizeof(outcome)};
        aip_error *err = NULL;

        outcome.result = aip_str_of("Semicolons fall / like rain on the quiet stack / a leak, then "
                                    "a core");
        outcome.provider = outcome.model_name = aip_str_of("simulated");
        *f = (struct finish){.agent = a, .finish = {.op = {.done = finished}, .job = job}};
        if (aip_job_complete(job, &outcome, aip_wall_us(b->loop), &f->finish.transition, &err) < 0)
                give_up("finish", err);
        b->store.jobs.ops->finish(b->store.jobs.self, &f->finish);
}

static void claimed(struct aip_op *op)
{
        struct agent *a = AIP_CONTAINER_OF(op, struct agent, claim.op);

        if (op->err || a->claim.ret_n != a->claim.n_ids)
                give_up("claim", op->err);
        a->n_unfinished = a->claim.ret_n;
        for (size_t i = 0; i < a->claim.ret_n; i++) {
                note_outbox_id(a->bench, a->claim.ret_transitions[i].outbox_id);
                finish_one(a, i, a->claim.ret_jobs[i]);
        }
        free(a->claim.ret_jobs);
        free(a->claim.ret_transitions);
}

static void claim_next(struct agent *a)
{
        struct bench *b = a->bench;
        size_t n = b->n_jobs - b->n_started < b->batch ? b->n_jobs - b->n_started : b->batch;

        if (n == 0)
                return;
        a->claim = (struct aip_job_claim){
                .op = {.done = claimed},
                .session = b->session,
                .lease_ms = 600000,
                .ids = b->jobs + b->n_started,
                .n_ids = n,
                .limit = n,
        };
        b->n_started += n;
        b->store.jobs.ops->claim(b->store.jobs.self, &a->claim);
}

static void start_claiming(struct bench *b)
{
        for (size_t i = 0; i < b->n_claims; i++) {
                b->agents[i].bench = b;
                claim_next(&b->agents[i]);
        }
}

/* ── forget ──────────────────────────────────────────────────────────────────────────────────── */

static void start_forgetting(struct bench *b);

static void forgotten(struct aip_op *op)
{
        struct bench *b = op->user;

        if (op->err)
                give_up("forget", op->err);
        free(op);
        start_forgetting(b);
}

static void start_forgetting(struct bench *b)
{
        size_t n = b->n_outbox_ids - b->n_started < 512 ? b->n_outbox_ids - b->n_started : 512;
        struct aip_op *op = calloc(1, sizeof(*op));

        if (!op)
                give_up("out of memory", NULL);
        *op = (struct aip_op){.done = forgotten, .user = b};
        if (n == 0) {
                free(op);
                aip_uv_loop_stop(b->uv);
                return;
        }
        b->store.jobs.ops->forget(b->store.jobs.self, op, b->outbox_ids + b->n_started, n);
        b->n_started += n;
}

static int compare_ids(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
        return x < y ? -1 : x > y;
}

/* One row may hold several transitions. */
static void keep_each_once(struct bench *b)
{
        size_t n = 0;

        qsort(b->outbox_ids, b->n_outbox_ids, sizeof(b->outbox_ids[0]), compare_ids);
        for (size_t i = 0; i < b->n_outbox_ids; i++)
                if (n == 0 || b->outbox_ids[i] != b->outbox_ids[n - 1])
                        b->outbox_ids[n++] = b->outbox_ids[i];
        b->n_outbox_ids = n;
}

/* ── the program ─────────────────────────────────────────────────────────────────────────────── */

static void stop(struct aip_op *op)
{
        if (op->err)
                give_up("store", op->err);
        aip_uv_loop_stop(op->user);
}

static void open_store(struct bench *b)
{
        struct aip_op op = {.done = stop, .user = NULL};
        aip_error *err = NULL;
        int r = aip_uv_loop_new(&b->uv, &err);

        if (r < 0)
                give_up("loop", err);
        b->loop = aip_uv_loop_port(b->uv);
        struct aip_store_options o = {.self_size = sizeof(o),
                                      .loop = b->loop,
                                      .random = aip_random_system(),
                                      .url = b->url};
        if (strncmp(b->url, "memory:", 7) == 0)
                r = aip_memory_store_new(&o, &b->store, &err);
        else if (strncmp(b->url, "sqlite:", 7) == 0)
                r = aip_sqlite_store_new(&o, &b->store, &err);
        else
                r = aip_postgres_store_new(&o, &b->store, &err);
        if (r < 0)
                give_up(b->url, err);
        op.user = b->uv;
        b->store.migrate(b->store.self, &op);
        aip_uv_loop_run(b->uv);
}

static void close_store(struct bench *b)
{
        struct aip_op op = {.done = stop, .user = b->uv};

        b->store.close(b->store.self, &op);
        aip_uv_loop_run(b->uv);
        aip_uv_loop_free(b->uv);
        free(b->jobs);
        free(b->outbox_ids);
}

static size_t *setting(struct bench *b, const char *name)
{
        if (strcmp(name, "--jobs") == 0)
                return &b->n_jobs;
        if (strcmp(name, "--window") == 0)
                return &b->window;
        if (strcmp(name, "--batch") == 0)
                return &b->batch;
        return strcmp(name, "--claims") == 0 ? &b->n_claims : NULL;
}

static int read_arguments(struct bench *b, int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                size_t *number = setting(b, argv[i]);
                if (strcmp(argv[i], "--keys") == 0)
                        b->has_keys = 1;
                else if (strcmp(argv[i], "--server") == 0 && i + 1 < argc)
                        b->server = strtol(argv[++i], NULL, 10);
                else if (number && i + 1 < argc)
                        *number = strtoul(argv[++i], NULL, 10);
                else if (argv[i][0] != '-' && !b->url)
                        b->url = argv[i];
                else
                        return -1;
        }
        return b->url && b->n_jobs && b->window && b->batch && b->batch <= AIP_STORE_BATCH_MAX &&
                               b->n_claims && b->n_claims <= CLAIMS_MAX
                       ? 0
                       : -1;
}

int main(int argc, char **argv)
{
        static struct bench b = {.n_jobs = 50000, .window = 1024, .batch = 250, .n_claims = 4};

        if (read_arguments(&b, argc, argv) < 0) {
                fprintf(stderr, "usage: store URL [--jobs N] [--window W] [--batch 1-512] "
                                "[--claims 1-64] [--keys] [--server PID]\n");
                return 2;
        }
        b.jobs = calloc(b.n_jobs, sizeof(b.jobs[0]));
        b.outbox_ids = calloc(3 * b.n_jobs, sizeof(b.outbox_ids[0]));
        if (!b.jobs || !b.outbox_ids)
                give_up("out of memory", NULL);
        open_store(&b);
        aip_id_source_init(&b.ids, aip_random_system());
        b.session = aip_id_next(&b.ids, aip_wall_us(b.loop));
        printf("{\"store\": \"%s\", \"jobs\": %zu, \"window\": %zu, \"batch\": %zu, \"claims\": "
               "%zu, \"phases\": [",
               b.store.jobs.ops->name, b.n_jobs, b.window, b.batch, b.n_claims);
        phase(&b, "create", b.n_jobs, start_creating);
        phase(&b, "claim_and_finish", b.n_jobs, start_claiming);
        keep_each_once(&b);
        phase(&b, "forget", b.n_outbox_ids, start_forgetting);
        printf("]}\n");
        close_store(&b);
        return 0;
}
