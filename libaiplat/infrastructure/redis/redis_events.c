/*
 * The event stream in Redis (ports/event_stream.h): a Redis Stream a job, over the asynchronous API of
 * hiredis on the loop. Called by workers, which append, and by gateways, which read and watch.
 *
 *     append ──► XADD, PUBLISH ──► answered: forgotten
 *        │            └── connection lost: sent again on the next one, where Redis refuses what it has
 *        └── 16 MB wait already: lost
 *
 * Readers sleep on Pub/Sub (a connection of its own) and then ask for what is behind their last event.
 * A blocking XREAD over all that is watched would have to name each of its streams again after every
 * event, and to be interrupted for each new reader; a hint costs one small message. Jobs share 256
 * channels, which a gateway subscribes to as it needs them.
 *
 * Nothing here may ever make a run wait. Loop thread only; the connections are redis_link.h's.
 */
#include <aiplat/adapters.h>
#include <stdio.h>

#include "events/stream_watches.h"
#include "list.h"
#include "macros.h"
#include "mem.h"
#include "redis_link.h"
#include "trouble.h"

#define COMPONENT          "events"
#define KEY_BYTES          64
#define CHANNELS           256
#define COMMAND_TIMEOUT_MS 1000
#define READS_MAX          10000
#define ENTRIES_MAX        20000
#define PENDING_MAX_BYTES  ((size_t)16 << 20)
#define DEFAULT_KEEP_S     3600
#define RUNNING_KEEP_S     "86400" /* a job that never ends: a day after its last status */

struct redis_events {
        struct aip_loop loop;
        const struct aip_log *log;
        struct redis_url url;
        struct redis_link commands, hints;
        struct stream_watches watches;
        uint8_t is_subscribed[CHANNELS]; /* by this connection */
        uint8_t is_wanted[CHANNELS];
        struct aip_list entries; /* appended and not answered yet, in order */
        size_t n_entries, n_bytes, n_reads;
        struct aip_timer silence; /* armed while entries are on their way */
        struct aip_trouble trouble;
        char keep_s[16];
        struct aip_op *closing;
        int n_open; /* links */
};

struct entry {
        struct aip_list link;
        struct redis_events *events;
        struct aip_id job_id;
        struct aip_stream_id id;
        enum aip_stream_type type;
        int is_sent;
        size_t bytes;
        char data[];
};

/* One read on its way; hiredis answers it exactly once. */
struct reading {
        struct redis_events *events;
        struct aip_stream_read *read;
        struct aip_timer timer;
};

static void close_links(struct redis_events *e);

static void make_key(const struct aip_id *job_id, char ret_key[KEY_BYTES])
{
        char id[AIP_ID_TEXT_BYTES];

        snprintf(ret_key, KEY_BYTES, "aiplat:events:%s", aip_id_format(job_id, id));
}

/* The same in every process: the last byte of an id is random. */
static unsigned channel_of(const struct aip_id *job_id)
{
        return job_id->bytes[15];
}

static void make_channel(unsigned channel, char ret_name[KEY_BYTES])
{
        snprintf(ret_name, KEY_BYTES, "aiplat:events:wake:%u", channel);
}

/* ---- append ---- */

static void entry_free(struct entry *entry)
{
        struct redis_events *e = entry->events;

        aip_list_remove(&entry->link);
        e->n_entries--;
        e->n_bytes -= entry->bytes;
        aip_free(entry);
}

static void entries_moved(struct redis_events *e)
{
        if (aip_list_is_empty(&e->entries))
                aip_timer_clear(e->loop, &e->silence);
        else
                aip_timer_set(e->loop, &e->silence, COMMAND_TIMEOUT_MS);
        if (e->closing && aip_list_is_empty(&e->entries))
                close_links(e);
}

static int is_repetition(const redisReply *reply)
{
        return strstr(reply->str, "equal or smaller") != NULL;
}

static void got_added(redisAsyncContext *context, void *data, void *user)
{
        struct entry *entry = user;
        struct redis_events *e = entry->events;
        const redisReply *reply = data;

        (void)context;
        entry->is_sent = 0;
        if (!reply)
                return; /* the connection was lost: it waits for the next one */
        if (reply->type == REDIS_REPLY_ERROR && !is_repetition(reply))
                aip_trouble_occurred(&e->trouble, e->log, COMPONENT, aip_now_ms(e->loop),
                                     "Redis takes no events", reply->str);
        else
                aip_trouble_over(&e->trouble, e->log, COMPONENT, "Redis takes no events");
        entry_free(entry);
        entries_moved(e);
}

static void send_hint(struct redis_events *e, const struct entry *entry)
{
        char channel[KEY_BYTES], id[AIP_ID_TEXT_BYTES];

        make_channel(channel_of(&entry->job_id), channel);
        redisAsyncCommand(e->commands.context, NULL, NULL, "PUBLISH %s %s", channel,
                          aip_id_format(&entry->job_id, id));
}

static void send_entry(struct redis_events *e, struct entry *entry)
{
        char key[KEY_BYTES], id[AIP_STREAM_ID_TEXT_BYTES], most[16];
        const char *type = aip_stream_type_name(entry->type);

        make_key(&entry->job_id, key);
        aip_stream_id_format(entry->id, id);
        int n = snprintf(most, sizeof(most), "%d", AIP_STREAM_EVENTS_MAX);
        const char *argv[] = {"XADD", key, "MAXLEN", "~", most, id, "t", type, "d", entry->data};
        const size_t lengths[] = {4, strlen(key),  6, 1,           (size_t)n, strlen(id),
                                  1, strlen(type), 1, entry->bytes};

        if (redisAsyncCommandArgv(e->commands.context, got_added, entry, (int)AIP_ARRAY_SIZE(argv),
                                  argv, lengths) != REDIS_OK)
                return; /* the connection is closing: sent on the next one */
        entry->is_sent = 1;
        if (entry->type == AIP_STREAM_STATUS || entry->type == AIP_STREAM_END)
                redisAsyncCommand(e->commands.context, NULL, NULL, "EXPIRE %s %s", key,
                                  entry->type == AIP_STREAM_END ? e->keep_s : RUNNING_KEEP_S);
        send_hint(e, entry);
        if (!e->silence.is_armed)
                aip_timer_set(e->loop, &e->silence, COMMAND_TIMEOUT_MS);
}

static int redis_append(void *self, const struct aip_id *job_id,
                        const struct aip_stream_event *event)
{
        struct redis_events *e = self;
        struct entry *entry;

        if (event->data.n > AIP_STREAM_EVENT_MAX_BYTES || e->n_entries >= ENTRIES_MAX ||
            e->n_bytes + event->data.n > PENDING_MAX_BYTES)
                return AIP_ELIMIT;
        if (e->closing)
                return AIP_EUNAVAILABLE;
        entry = aip_alloc(sizeof(*entry) + event->data.n);
        if (!entry)
                return AIP_ENOMEM;
        *entry = (struct entry){.events = e, .job_id = *job_id, .id = event->id};
        entry->type = event->type;
        entry->bytes = event->data.n;
        if (event->data.n > 0)
                memcpy(entry->data, event->data.p, event->data.n);
        aip_list_append(&e->entries, &entry->link);
        e->n_entries++;
        e->n_bytes += entry->bytes;
        if (e->commands.state == REDIS_READY)
                send_entry(e, entry);
        return 0;
}

static void on_silence(struct aip_timer *timer)
{
        struct redis_events *e = AIP_CONTAINER_OF(timer, struct redis_events, silence);

        redis_link_drop(&e->commands, "an event was not taken in time");
        if (e->closing)
                close_links(e);
}

/* ---- read ---- */

static void reading_end(struct reading *reading, aip_error *err)
{
        struct redis_events *e = reading->events;

        aip_timer_clear(e->loop, &reading->timer);
        e->n_reads--;
        aip_op_finish(e->loop, &reading->read->op, err);
        aip_free(reading);
}

static void read_late(struct aip_timer *timer)
{
        struct reading *reading = AIP_CONTAINER_OF(timer, struct reading, timer);

        redis_link_drop(&reading->events->commands, "a read was not answered in time");
}

static int bad_reply(aip_error **err)
{
        return aip_error_set(err, AIP_EPROTOCOL, "Redis did not answer with events");
}

static int is_text(const redisReply *reply)
{
        return reply->type == REDIS_REPLY_STRING;
}

/* [id, ["t", type, "d", data]] */
static int read_event(const redisReply *reply, struct aip_stream_event *ret_event, aip_error **err)
{
        const redisReply *fields = reply->elements == 2 ? reply->element[1] : NULL;
        struct aip_stream_event event;
        int r;

        if (!fields || !is_text(reply->element[0]) || fields->type != REDIS_REPLY_ARRAY ||
            fields->elements != 4 || !is_text(fields->element[1]) || !is_text(fields->element[3]))
                return bad_reply(err);
        event.data = aip_str_make(fields->element[3]->str, (size_t)fields->element[3]->len);
        r = aip_stream_id_parse(
                aip_str_make(reply->element[0]->str, (size_t)reply->element[0]->len), &event.id,
                err);
        if (r < 0)
                return r;
        r = aip_stream_type_parse(
                aip_str_make(fields->element[1]->str, (size_t)fields->element[1]->len), &event.type,
                err);
        if (r == 0)
                *ret_event = event;
        return r;
}

/* What the events point to is moved into their block. */
static int keep_events(const redisReply *list, struct aip_stream_read *read, aip_error **err)
{
        size_t bytes = 0, n = list->elements;
        struct aip_stream_event *events;
        char *data;

        for (size_t i = 0; i < n; i++) {
                struct aip_stream_event event;
                int r = read_event(list->element[i], &event, err);

                if (r < 0)
                        return r;
                bytes += event.data.n;
        }
        events = aip_alloc(n * sizeof(*events) + bytes);
        if (!events)
                return aip_error_set_nomem(err);
        data = (char *)(events + n);
        for (size_t i = 0; i < n; i++) {
                (void)read_event(list->element[i], &events[i], NULL);
                memcpy(data, events[i].data.p, events[i].data.n);
                events[i].data.p = data;
                data += events[i].data.n;
        }
        read->ret_events = events;
        read->ret_n = n;
        return 0;
}

/* nil, or [[key, [event, …]]] */
static int read_reply(const redisReply *reply, struct aip_stream_read *read, aip_error **err)
{
        const redisReply *of_key;

        if (reply->type == REDIS_REPLY_ERROR)
                return aip_error_set(err, AIP_EUNAVAILABLE, "Redis answered: %s", reply->str);
        if (reply->type == REDIS_REPLY_NIL)
                return 0;
        of_key =
                reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 ? reply->element[0] : NULL;
        if (!of_key || of_key->type != REDIS_REPLY_ARRAY || of_key->elements != 2 ||
            of_key->element[1]->type != REDIS_REPLY_ARRAY || of_key->element[1]->elements == 0)
                return bad_reply(err);
        return keep_events(of_key->element[1], read, err);
}

static void got_events(redisAsyncContext *context, void *data, void *user)
{
        struct reading *reading = user;
        aip_error *err = NULL;

        (void)context;
        if (data)
                read_reply(data, reading->read, &err);
        else
                redis_link_unavailable(&reading->events->commands, &err);
        reading_end(reading, err);
}

static int read_start(struct redis_events *e, struct aip_stream_read *read, aip_error **err)
{
        char key[KEY_BYTES], after[AIP_STREAM_ID_TEXT_BYTES];
        struct reading *reading;

        if (e->commands.state != REDIS_READY)
                return redis_link_unavailable(&e->commands, err);
        if (e->n_reads >= READS_MAX)
                return aip_error_set(err, AIP_ELIMIT, "%zu reads wait for Redis already",
                                     e->n_reads);
        reading = aip_calloc(1, sizeof(*reading));
        if (!reading)
                return aip_error_set_nomem(err);
        reading->events = e;
        reading->read = read;
        reading->timer.fire = read_late;
        make_key(&read->job_id, key);
        aip_stream_id_format(read->after, after);
        if (redisAsyncCommand(e->commands.context, got_events, reading,
                              "XREAD COUNT %d STREAMS %s %s", (int)read->max_events, key,
                              after) != REDIS_OK) {
                aip_free(reading);
                return redis_link_unavailable(&e->commands, err);
        }
        e->n_reads++;
        aip_timer_set(e->loop, &reading->timer, COMMAND_TIMEOUT_MS);
        return 0;
}

static void redis_read(void *self, struct aip_stream_read *read)
{
        struct redis_events *e = self;
        aip_error *err = NULL;

        read->ret_events = NULL;
        read->ret_n = 0;
        if (read_start(e, read, &err) < 0)
                aip_op_finish(e->loop, &read->op, err);
}

/* ---- ping ---- */

static void got_pong(redisAsyncContext *context, void *data, void *user)
{
        struct redis_link *link = context->data;
        struct aip_op *op = user;
        const redisReply *reply = data;
        aip_error *err = NULL;

        if (!reply)
                redis_link_unavailable(link, &err);
        else if (reply->type == REDIS_REPLY_ERROR)
                aip_error_set(&err, AIP_EUNAVAILABLE, "Redis answered: %s", reply->str);
        aip_op_finish(link->loop, op, err);
}

static void redis_ping(void *self, struct aip_op *op)
{
        struct redis_events *e = self;
        aip_error *err = NULL;

        if (e->commands.state == REDIS_READY && e->hints.state == REDIS_READY &&
            redisAsyncCommand(e->commands.context, got_pong, op, "PING") == REDIS_OK)
                return;
        redis_link_unavailable(e->commands.state == REDIS_READY ? &e->hints : &e->commands, &err);
        aip_op_finish(e->loop, op, err);
}

/* ---- watch ---- */

/* ["message", channel, job id]; also ["subscribe", …], from when on nothing is missed. */
static void got_hint(redisAsyncContext *context, void *data, void *user)
{
        struct redis_link *link = context->data;
        struct redis_events *e = AIP_CONTAINER_OF(link, struct redis_events, hints);
        const redisReply *reply = data;
        struct aip_id job_id;

        (void)user;
        if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
                return;
        if (strcmp(reply->element[0]->str, "subscribe") == 0)
                stream_watches_all_changed(&e->watches);
        else if (is_text(reply->element[2]) &&
                 aip_id_parse(aip_str_make(reply->element[2]->str, (size_t)reply->element[2]->len),
                              &job_id, NULL) == 0)
                stream_watches_changed(&e->watches, &job_id);
}

static void subscribe(struct redis_events *e, unsigned channel)
{
        char name[KEY_BYTES];

        e->is_wanted[channel] = 1;
        if (e->is_subscribed[channel] || e->hints.state != REDIS_READY)
                return;
        make_channel(channel, name);
        if (redisAsyncCommand(e->hints.context, got_hint, NULL, "SUBSCRIBE %s", name) == REDIS_OK)
                e->is_subscribed[channel] = 1;
}

static void redis_watch(void *self, struct aip_stream_watch *watch)
{
        struct redis_events *e = self;

        stream_watches_add(&e->watches, watch);
        subscribe(e, channel_of(&watch->job_id));
}

static void redis_unwatch(void *self, struct aip_stream_watch *watch)
{
        struct redis_events *e = self;

        stream_watches_remove(&e->watches, watch);
}

/* ---- the connections ---- */

static void commands_ready(struct redis_link *link)
{
        struct redis_events *e = AIP_CONTAINER_OF(link, struct redis_events, commands);

        AIP_LIST_FOREACH (node, &e->entries) {
                struct entry *entry = AIP_LIST_ENTRY(node, struct entry, link);

                if (!entry->is_sent)
                        send_entry(e, entry);
        }
        stream_watches_all_changed(&e->watches);
}

static void hints_ready(struct redis_link *link)
{
        struct redis_events *e = AIP_CONTAINER_OF(link, struct redis_events, hints);

        memset(e->is_subscribed, 0, sizeof(e->is_subscribed));
        for (unsigned channel = 0; channel < CHANNELS; channel++)
                if (e->is_wanted[channel])
                        subscribe(e, channel);
}

static void commands_down(struct redis_link *link)
{
        struct redis_events *e = AIP_CONTAINER_OF(link, struct redis_events, commands);

        aip_timer_clear(e->loop, &e->silence);
        stream_watches_all_changed(&e->watches);
}

/* ---- life ---- */

static void events_free(struct redis_events *e)
{
        struct aip_loop loop = e->loop;
        struct aip_op *op = e->closing;

        aip_timer_clear(loop, &e->silence);
        AIP_LIST_FOREACH (node, &e->entries)
                entry_free(AIP_LIST_ENTRY(node, struct entry, link));
        stream_watches_deinit(&e->watches);
        redis_url_deinit(&e->url);
        aip_free(e);
        if (op)
                aip_op_finish(loop, op, NULL);
}

static void link_closed(struct redis_events *e)
{
        if (--e->n_open == 0)
                events_free(e);
}

static void commands_closed(struct redis_link *link)
{
        link_closed(AIP_CONTAINER_OF(link, struct redis_events, commands));
}

static void hints_closed(struct redis_link *link)
{
        link_closed(AIP_CONTAINER_OF(link, struct redis_events, hints));
}

static void close_in_a_turn(struct aip_timer *timer)
{
        struct redis_events *e = AIP_CONTAINER_OF(timer, struct redis_events, silence);

        redis_link_close(&e->hints);
        redis_link_close(&e->commands);
}

/* Not from within hiredis. */
static void close_links(struct redis_events *e)
{
        e->silence.fire = close_in_a_turn;
        aip_timer_set(e->loop, &e->silence, 0);
}

/* What was appended is waited for, as long as for any answer. */
static void redis_close(void *self, struct aip_op *op)
{
        struct redis_events *e = self;

        e->closing = op;
        if (aip_list_is_empty(&e->entries) || e->commands.state != REDIS_READY)
                close_links(e);
}

static const struct aip_event_stream_ops redis_events_ops = {
        .self_size = sizeof(redis_events_ops),
        .name = "redis",
        .append = redis_append,
        .read = redis_read,
        .watch = redis_watch,
        .unwatch = redis_unwatch,
        .ping = redis_ping,
};

static void events_start(struct redis_events *e, const struct aip_events_options *options)
{
        const struct redis_link link = {
                .loop = options->loop,
                .random = options->random.ops ? options->random : aip_random_system(),
                .component = COMPONENT,
                .url = &e->url,
        };

        e->commands = link;
        e->commands.log = options->log;
        e->commands.ready = commands_ready;
        e->commands.down = commands_down;
        e->commands.closed = commands_closed;
        e->hints = link;
        e->hints.ready = hints_ready;
        e->hints.closed = hints_closed;
        e->n_open = 2;
        redis_link_start(&e->commands);
        redis_link_start(&e->hints);
}

int aip_redis_events_new(const struct aip_events_options *options,
                         struct aip_events_handle *ret_events, aip_error **err)
{
        struct redis_events *e;
        int r;

        if (!options || !options->loop.ops || !options->url || !ret_events)
                return aip_error_set(err, AIP_EINVAL, "events in Redis need a loop and a URL");
        e = aip_calloc(1, sizeof(*e));
        if (!e)
                return aip_error_set_nomem(err);
        r = redis_url_parse(options->url, &e->url, err);
        if (r < 0) {
                aip_free(e);
                return r;
        }
        e->loop = options->loop;
        e->log = options->log;
        e->silence.fire = on_silence;
        snprintf(e->keep_s, sizeof(e->keep_s), "%d",
                 options->keep_s > 0 ? options->keep_s : DEFAULT_KEEP_S);
        aip_list_init(&e->entries);
        stream_watches_init(&e->watches, e->loop);
        events_start(e, options);
        ret_events->events.ops = &redis_events_ops;
        ret_events->events.self = e;
        ret_events->close = redis_close;
        ret_events->self = e;
        return 0;
}
