/*
 * Asks the store, once a minute, to let go of what was kept long enough (retention_service.h). Called
 * by the runtime. Must never do anything that a job could depend on: it may not run for days.
 */
#include <aiplat/retention_service.h>

#include "macros.h"
#include "mem.h"

#define EVERY_MS      60000
#define MORE_PAUSE_MS 50     /* between the batches of a store that asks to be called again */
#define ROUND_MS      300000 /* the longest */

struct aip_retention_service {
        struct aip_retention_service_options o;
        struct aip_retention round;
        struct aip_timer timer;
        int is_running;
        int is_freed;
};

static void report(const struct aip_retention_service *s, const struct aip_retention_entry *entry)
{
        if (strcmp(entry->outcome, "made") == 0)
                aip_log_write(s->o.log, AIP_LOG_INFO, "retention",
                              "made a partition ahead of time");
        else if (strcmp(entry->outcome, "dropped") == 0)
                aip_log_write(s->o.log, AIP_LOG_INFO, "retention",
                              "dropped partition %s; %lld jobs that had not ended moved out of it",
                              entry->name, (long long)entry->n);
        else if (strcmp(entry->outcome, "crowded") == 0)
                aip_log_write(s->o.log, AIP_LOG_WARNING, "retention",
                              "%s stays: too many jobs would have to be moved", entry->name);
        else if (entry->n > 0)
                aip_log_write(s->o.log, AIP_LOG_INFO, "retention", "%s: %lld deleted", entry->name,
                              (long long)entry->n);
}

static int64_t pause_ms(const struct aip_retention_service *s, int has_more)
{
        uint64_t jitter = aip_random_u64(s->o.random) % (uint64_t)s->o.every_ms;

        return has_more ? MORE_PAUSE_MS : s->o.every_ms / 2 + (int64_t)jitter;
}

static void round_done(struct aip_op *op)
{
        struct aip_retention_service *s =
                AIP_CONTAINER_OF(op, struct aip_retention_service, round.op);
        _cleanup_(aip_error_free_p) aip_error *err = AIP_TAKE(op->err);

        s->is_running = 0;
        if (err)
                aip_log_write(s->o.log, AIP_LOG_DEBUG, "retention", "not done: %s",
                              aip_error_message(err));
        for (size_t i = 0; !err && i < s->round.ret_n; i++)
                report(s, &s->round.ret_entries[i]);
        if (!err)
                free(s->round.ret_entries);
        if (s->is_freed)
                aip_free(s);
        else
                aip_timer_set(s->o.loop, &s->timer, pause_ms(s, !err && s->round.ret_has_more));
}

static void start_round(struct aip_timer *timer)
{
        struct aip_retention_service *s =
                AIP_CONTAINER_OF(timer, struct aip_retention_service, timer);

        s->is_running = 1;
        s->round = (struct aip_retention){
                .op = {.done = round_done, .deadline_ms = aip_now_ms(s->o.loop) + ROUND_MS},
                .keep_jobs_ms = s->o.keep_jobs_ms,
                .keep_keys_ms = s->o.keep_keys_ms,
                .partition_ms = s->o.partition_ms,
        };
        s->o.jobs.ops->retain(s->o.jobs.self, &s->round);
}

static int is_able(const struct aip_job_repository *jobs)
{
        return jobs->ops->self_size > offsetof(struct aip_job_repository_ops, retain) &&
               jobs->ops->retain;
}

int aip_retention_service_new(const struct aip_retention_service_options *options,
                              aip_retention_service **ret_service, aip_error **err)
{
        struct aip_retention_service *s = aip_calloc(1, sizeof(*s));

        if (!s)
                return aip_error_set_nomem(err);
        s->o = *options;
        if (s->o.every_ms <= 0)
                s->o.every_ms = EVERY_MS;
        s->timer.fire = start_round;
        *ret_service = s;
        return 0;
}

void aip_retention_service_start(aip_retention_service *s)
{
        if (is_able(&s->o.jobs))
                aip_timer_set(s->o.loop, &s->timer, 0);
}

void aip_retention_service_free(aip_retention_service *s)
{
        if (!s)
                return;
        aip_timer_clear(s->o.loop, &s->timer);
        s->is_freed = 1;
        if (!s->is_running)
                aip_free(s);
}
