/*
 * The event stream in this process's memory (ports/event_stream.h), for the embedded default, tests
 * and simulations. A job's events are kept until some time after their end; all jobs together hold at
 * most max_bytes, and the job that was written to least recently goes first. Loop thread only.
 */
#include <aiplat/adapters.h>

#include "events/stream_watches.h"
#include "hash_map.h"
#include "list.h"
#include "macros.h"
#include "mem.h"

#define DEFAULT_MAX_BYTES ((size_t)64 << 20)
#define DEFAULT_KEEP_S    3600

struct event {
        struct aip_list link;
        struct aip_stream_id id;
        enum aip_stream_type type;
        size_t bytes;
        char data[];
};

struct stream {
        struct aip_list link; /* by last use, the least recent first; or `ended`, by their time */
        struct aip_id job_id;
        struct aip_list events;
        size_t n_events, n_bytes;
        struct aip_stream_id last;
        int64_t expires_ms; /* 0: it has not ended */
};

struct memory_events {
        struct aip_loop loop;
        size_t max_bytes, n_bytes;
        int64_t keep_ms;
        struct aip_hash_map by_job;
        struct aip_list live, ended;
        struct stream_watches watches;
};

static void event_drop(struct memory_events *m, struct stream *stream, struct event *event)
{
        size_t bytes = sizeof(*event) + event->bytes;

        aip_list_remove(&event->link);
        stream->n_events--;
        stream->n_bytes -= bytes;
        m->n_bytes -= bytes;
        aip_free(event);
}

static void stream_drop(struct memory_events *m, struct stream *stream)
{
        AIP_LIST_FOREACH (node, &stream->events)
                event_drop(m, stream, AIP_LIST_ENTRY(node, struct event, link));
        aip_hash_map_remove_id(&m->by_job, &stream->job_id);
        aip_list_remove(&stream->link);
        m->n_bytes -= sizeof(*stream);
        aip_free(stream);
}

static void drop_expired(struct memory_events *m)
{
        int64_t now_ms = aip_now_ms(m->loop);
        struct aip_list *node;

        while ((node = aip_list_first(&m->ended))) {
                struct stream *stream = AIP_LIST_ENTRY(node, struct stream, link);

                if (stream->expires_ms > now_ms)
                        return;
                stream_drop(m, stream);
        }
}

/* Ended ones go before those that may still be written to. */
static void make_room(struct memory_events *m, size_t bytes, const struct stream *spared)
{
        struct aip_list *lists[] = {&m->ended, &m->live};

        for (size_t i = 0; i < AIP_ARRAY_SIZE(lists); i++) {
                AIP_LIST_FOREACH (node, lists[i]) {
                        struct stream *stream = AIP_LIST_ENTRY(node, struct stream, link);

                        if (m->n_bytes + bytes <= m->max_bytes)
                                return;
                        if (stream != spared)
                                stream_drop(m, stream);
                }
        }
}

static struct stream *stream_of(struct memory_events *m, const struct aip_id *job_id)
{
        struct stream *stream = aip_hash_map_get_id(&m->by_job, job_id);

        if (stream)
                return stream;
        stream = aip_calloc(1, sizeof(*stream));
        if (!stream)
                return NULL;
        stream->job_id = *job_id;
        aip_list_init(&stream->events);
        if (aip_hash_map_set_id(&m->by_job, job_id, stream, NULL) < 0) {
                aip_free(stream);
                return NULL;
        }
        m->n_bytes += sizeof(*stream);
        aip_list_append(&m->live, &stream->link);
        return stream;
}

static struct event *event_new(const struct aip_stream_event *from)
{
        struct event *event = aip_calloc(1, sizeof(*event) + from->data.n);

        if (!event)
                return NULL;
        event->id = from->id;
        event->type = from->type;
        event->bytes = from->data.n;
        if (from->data.n > 0)
                memcpy(event->data, from->data.p, from->data.n);
        return event;
}

static void stream_touch(struct memory_events *m, struct stream *stream, int is_end)
{
        aip_list_remove(&stream->link);
        if (is_end)
                stream->expires_ms = aip_now_ms(m->loop) + m->keep_ms;
        aip_list_append(stream->expires_ms ? &m->ended : &m->live, &stream->link);
}

static int memory_append(void *self, const struct aip_id *job_id,
                         const struct aip_stream_event *from)
{
        struct memory_events *m = self;
        struct stream *stream;
        struct event *event;

        if (from->data.n > AIP_STREAM_EVENT_MAX_BYTES)
                return AIP_ELIMIT;
        drop_expired(m);
        stream = stream_of(m, job_id);
        if (!stream)
                return AIP_ENOMEM;
        if (aip_stream_id_compare(from->id, stream->last) <= 0)
                return 0; /* a repetition, or a worker that has lost the job */
        event = event_new(from);
        if (!event)
                return AIP_ENOMEM;
        make_room(m, sizeof(*event) + event->bytes, stream);
        if (stream->n_events >= AIP_STREAM_EVENTS_MAX)
                event_drop(m, stream, AIP_LIST_ENTRY(stream->events.next, struct event, link));
        aip_list_append(&stream->events, &event->link);
        stream->n_events++;
        stream->n_bytes += sizeof(*event) + event->bytes;
        m->n_bytes += sizeof(*event) + event->bytes;
        stream->last = event->id;
        stream_touch(m, stream, from->type == AIP_STREAM_END);
        stream_watches_changed(&m->watches, job_id);
        return 0;
}

/* Readers are near the end most of the time, so it is looked for from there. */
static struct aip_list *first_after(const struct stream *stream, struct aip_stream_id after)
{
        struct aip_list *node = stream->events.previous;

        while (node != &stream->events &&
               aip_stream_id_compare(AIP_LIST_ENTRY(node, struct event, link)->id, after) > 0)
                node = node->previous;
        return node->next;
}

static int read_events(struct stream *stream, struct aip_stream_read *read, aip_error **err)
{
        struct aip_list *first = first_after(stream, read->after);
        size_t n = 0, bytes = 0;
        struct aip_stream_event *events;
        char *data;

        for (struct aip_list *node = first; node != &stream->events && n < read->max_events;
             node = node->next, n++)
                bytes += AIP_LIST_ENTRY(node, struct event, link)->bytes;
        if (n == 0)
                return 0;
        events = aip_alloc(n * sizeof(*events) + bytes);
        if (!events)
                return aip_error_set_nomem(err);
        data = (char *)(events + n);
        for (size_t i = 0; i < n; i++, first = first->next) {
                const struct event *event = AIP_LIST_ENTRY(first, struct event, link);

                events[i] = (struct aip_stream_event){event->id, event->type,
                                                      aip_str_make(data, event->bytes)};
                memcpy(data, event->data, event->bytes);
                data += event->bytes;
        }
        read->ret_events = events;
        read->ret_n = n;
        return 0;
}

static void memory_read(void *self, struct aip_stream_read *read)
{
        struct memory_events *m = self;
        struct stream *stream;
        aip_error *err = NULL;

        drop_expired(m);
        read->ret_events = NULL;
        read->ret_n = 0;
        stream = aip_hash_map_get_id(&m->by_job, &read->job_id);
        if (stream)
                read_events(stream, read, &err);
        aip_op_finish(m->loop, &read->op, err);
}

static void memory_watch(void *self, struct aip_stream_watch *watch)
{
        struct memory_events *m = self;

        stream_watches_add(&m->watches, watch);
}

static void memory_unwatch(void *self, struct aip_stream_watch *watch)
{
        struct memory_events *m = self;

        stream_watches_remove(&m->watches, watch);
}

static void memory_ping(void *self, struct aip_op *op)
{
        struct memory_events *m = self;

        aip_op_finish(m->loop, op, NULL);
}

static void memory_close(void *self, struct aip_op *op)
{
        struct memory_events *m = self;
        struct aip_list *lists[] = {&m->ended, &m->live};
        struct aip_loop loop = m->loop;

        for (size_t i = 0; i < AIP_ARRAY_SIZE(lists); i++)
                AIP_LIST_FOREACH (node, lists[i])
                        stream_drop(m, AIP_LIST_ENTRY(node, struct stream, link));
        aip_hash_map_deinit(&m->by_job);
        stream_watches_deinit(&m->watches);
        aip_free(m);
        aip_op_finish(loop, op, NULL);
}

static const struct aip_event_stream_ops memory_events_ops = {
        .self_size = sizeof(memory_events_ops),
        .name = "memory",
        .append = memory_append,
        .read = memory_read,
        .watch = memory_watch,
        .unwatch = memory_unwatch,
        .ping = memory_ping,
};

int aip_memory_events_new(const struct aip_events_options *options,
                          struct aip_events_handle *ret_events, aip_error **err)
{
        struct memory_events *m;

        if (!options || !options->loop.ops || !ret_events)
                return aip_error_set(err, AIP_EINVAL, "an event stream in memory needs a loop");
        m = aip_calloc(1, sizeof(*m));
        if (!m)
                return aip_error_set_nomem(err);
        m->loop = options->loop;
        m->max_bytes = options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES;
        m->keep_ms = 1000LL * (options->keep_s > 0 ? options->keep_s : DEFAULT_KEEP_S);
        aip_list_init(&m->live);
        aip_list_init(&m->ended);
        stream_watches_init(&m->watches, m->loop);
        ret_events->events.ops = &memory_events_ops;
        ret_events->events.self = m;
        ret_events->close = memory_close;
        ret_events->self = m;
        return 0;
}
