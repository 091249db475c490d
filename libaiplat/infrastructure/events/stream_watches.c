/* Who waits for events of which job (see stream_watches.h). It must never call a watch within the
 * call that changed its job. */
#include "stream_watches.h"

static struct aip_stream_watch **bucket_of(struct stream_watches *watches, const struct aip_id *id)
{
        return &watches->buckets[aip_id_hash(id) & (STREAM_WATCH_BUCKETS - 1)];
}

static void link_to(struct aip_stream_watch **head, struct aip_stream_watch *watch)
{
        watch->previous = NULL;
        watch->next = *head;
        if (*head)
                (*head)->previous = watch;
        *head = watch;
        watch->is_linked = 1;
}

static void unlink_from(struct aip_stream_watch **head, struct aip_stream_watch *watch)
{
        if (watch->next)
                watch->next->previous = watch->previous;
        if (watch->previous)
                watch->previous->next = watch->next;
        else
                *head = watch->next;
        watch->next = watch->previous = NULL;
        watch->is_linked = 0;
}

static void mark(struct stream_watches *watches, struct aip_stream_watch *watch)
{
        unlink_from(bucket_of(watches, &watch->job_id), watch);
        link_to(&watches->changed, watch);
        watch->is_changed = 1;
        aip_defer(watches->loop, &watches->task);
}

/* A watch that appends within its call is told again, so it must not do so each time. */
static void tell(struct aip_task *task)
{
        struct stream_watches *watches = AIP_CONTAINER_OF(task, struct stream_watches, task);
        struct aip_stream_watch *watch;

        while ((watch = watches->changed)) {
                unlink_from(&watches->changed, watch);
                watch->is_changed = 0;
                link_to(bucket_of(watches, &watch->job_id), watch);
                watch->changed(watch);
        }
}

void stream_watches_init(struct stream_watches *watches, struct aip_loop loop)
{
        watches->loop = loop;
        watches->task.run = tell;
}

void stream_watches_deinit(struct stream_watches *watches)
{
        aip_undefer(watches->loop, &watches->task);
}

void stream_watches_add(struct stream_watches *watches, struct aip_stream_watch *watch)
{
        watch->is_changed = 0;
        link_to(bucket_of(watches, &watch->job_id), watch);
}

void stream_watches_remove(struct stream_watches *watches, struct aip_stream_watch *watch)
{
        if (!watch->is_linked)
                return;
        unlink_from(watch->is_changed ? &watches->changed : bucket_of(watches, &watch->job_id),
                    watch);
        watch->is_changed = 0;
}

void stream_watches_changed(struct stream_watches *watches, const struct aip_id *job_id)
{
        struct aip_stream_watch *watch = *bucket_of(watches, job_id), *next;

        for (; watch; watch = next) {
                next = watch->next;
                if (aip_id_equal(&watch->job_id, job_id))
                        mark(watches, watch);
        }
}

void stream_watches_all_changed(struct stream_watches *watches)
{
        for (size_t i = 0; i < STREAM_WATCH_BUCKETS; i++)
                while (watches->buckets[i])
                        mark(watches, watches->buckets[i]);
}
