/*
 * Following a job (job_feed.h). Called by the HTTP controller of events and by C programs.
 *
 *     next ──► look into the store, when it is due ──► read the stream ──► events: done
 *                         ▲                                  │ none
 *                         │                 the store is ahead of the stream, and has been for
 *                         │                 SETTLE_MS: what it tells becomes events: done
 *                         │                                  │ it is not
 *                         └── hint of the store, time ── sleep ── hint of the stream ──► read
 *
 * Where there is no stream (of this job, at the moment, or with a worker that writes to it) the store
 * is looked at each second. A
 * status event has the same id in the stream and from the store (ports/event_stream.h), so it does not
 * matter which of them is first. Nothing here may hold what a reader has not asked for.
 */
#include <aiplat/job_feed.h>

#include "job_status_event.h"
#include "macros.h"
#include "mem.h"

#define BUCKETS        4096  /* a power of two */
#define LOOK_MS        1000  /* into the store, where it is all there is */
#define LOOK_STREAM_MS 15000 /* where there is a stream: a hint may get lost */
#define SETTLE_MS      300   /* the stream's events of a transition come after its commit */
#define STORE_WAIT_MS  5000
#define OWN_EVENTS     3 /* gap, status, end */
#define LOST           "{\"reason\":\"events were lost\"}"
#define UNREADABLE     "{\"reason\":\"the stream cannot be read; what follows is from the store\"}"

struct aip_job_feeds {
        struct aip_loop loop;
        struct aip_job_repository jobs;
        struct aip_event_stream events;
        struct aip_store_watcher watcher;
        aip_job_feed *buckets[BUCKETS];
};

/* They outlive a feed that is closed meanwhile. */
struct fetching {
        struct aip_job_fetch fetch;
        aip_job_feed *feed; /* NULL: closed */
};

struct reading {
        struct aip_stream_read read;
        aip_job_feed *feed;
};

struct aip_job_feed {
        aip_job_feeds *feeds;
        aip_job_feed *next_feed, *previous_feed; /* of the bucket */
        struct aip_id job_id;
        struct aip_stream_id cursor; /* the last event that was given */
        struct aip_stream_watch watch;
        struct aip_job_feed_next *next; /* under way */
        struct fetching *fetching;
        struct reading *reading;
        struct aip_timer timer;
        int64_t wait_until_ms, look_ms;

        aip_job *job;       /* as last seen; NULL: not yet */
        int64_t changed_ms; /* when its version was first seen */
        int wants_store, wants_stream;
        int is_unreadable, has_told_unreadable, is_over;
        int has_heard; /* the stream told of the present run; else nobody may be writing there */

        struct aip_stream_event *block; /* of the stream, for the reader */
        struct aip_stream_event *mixed; /* with gaps between */
        struct aip_stream_event own[OWN_EVENTS];
        struct aip_buf own_data;
};

static void advance(aip_job_feed *feed);

/* ── ending a `next` ─────────────────────────────────────────────────────────────────────────── */

static void next_end(aip_job_feed *feed, const struct aip_stream_event *events, size_t n,
                     aip_error *err)
{
        struct aip_job_feed_next *next = AIP_TAKE(feed->next);

        aip_timer_clear(feed->feeds->loop, &feed->timer);
        if (n > 0) {
                feed->cursor = events[n - 1].id;
                feed->is_over = events[n - 1].type == AIP_STREAM_END;
        }
        if (!err) {
                next->ret_events = events;
                next->ret_n = n;
                next->ret_is_over = feed->is_over;
        }
        aip_op_finish(feed->feeds->loop, &next->op, err);
}

static void forget_events(aip_job_feed *feed)
{
        free(AIP_TAKE(feed->block));
        aip_free(AIP_TAKE(feed->mixed));
        aip_buf_deinit(&feed->own_data);
}

/* ── events of the store ─────────────────────────────────────────────────────────────────────── */

static int has_stream(const aip_job_feed *feed)
{
        return feed->feeds->events.ops && aip_job_fields(feed->job)->is_streamed;
}

/* A worker would have told; of the others only the store tells, at times. */
static int is_of_worker(enum aip_job_status status)
{
        return status != AIP_JOB_QUEUED && status != AIP_JOB_CANCELLED;
}

/* Status and end from the job as the store has it, as far as they are behind the cursor. */
static void give_stored(aip_job_feed *feed)
{
        const struct aip_job_fields *f = aip_job_fields(feed->job);
        struct aip_stream_id status = {f->version, 0}, end = {f->version, 1};
        struct aip_str data;
        aip_error *err = NULL;
        size_t n = 0;

        aip_buf_init(&feed->own_data, AIP_STATUS_EVENT_MAX_BYTES);
        if (aip_job_status_event_print(f, &feed->own_data) < 0) {
                aip_error_set_nomem(&err);
                next_end(feed, NULL, 0, err);
                return;
        }
        data = aip_buf_str(&feed->own_data);
        feed->has_heard = 0;
        if (has_stream(feed) && is_of_worker(f->status) && !feed->has_told_unreadable &&
            aip_stream_id_compare(feed->cursor, status) < 0)
                feed->own[n++] =
                        (struct aip_stream_event){feed->cursor, AIP_STREAM_GAP, AIP_STR(LOST)};
        feed->has_told_unreadable = feed->is_unreadable;
        if (aip_stream_id_compare(feed->cursor, status) < 0)
                feed->own[n++] = (struct aip_stream_event){status, AIP_STREAM_STATUS, data};
        if (aip_job_status_is_terminal(f->status))
                feed->own[n++] = (struct aip_stream_event){end, AIP_STREAM_END, data};
        next_end(feed, feed->own, n, NULL);
}

/* What the store knows and the stream has not told. */
static int is_behind(const aip_job_feed *feed)
{
        const struct aip_job_fields *f = aip_job_fields(feed->job);
        int64_t n = aip_job_status_is_terminal(f->status) ? 1 : 0;

        return aip_stream_id_compare(feed->cursor, (struct aip_stream_id){f->version, n}) < 0;
}

static int is_settled(const aip_job_feed *feed)
{
        struct aip_loop loop = feed->feeds->loop;
        int64_t age_ms = (aip_wall_us(loop) - aip_job_fields(feed->job)->updated_at_us) / 1000;

        return !has_stream(feed) || feed->is_unreadable ||
               aip_now_ms(loop) - feed->changed_ms >= SETTLE_MS || age_ms > 10 * SETTLE_MS;
}

/* ── looking into the store ──────────────────────────────────────────────────────────────────── */

/* `job` is consumed. */
static void take_job(aip_job_feed *feed, aip_job *job)
{
        aip_job *old = feed->job;
        int64_t version = aip_job_fields(job)->version;

        if (!old || aip_job_fields(old)->version != version)
                feed->changed_ms = aip_now_ms(feed->feeds->loop);
        if (!old && feed->cursor.run > version)
                feed->cursor = (struct aip_stream_id){0, 0}; /* of another job, or made up */
        feed->job = job;
        aip_job_free(old);
        if (!old && has_stream(feed))
                feed->feeds->events.ops->watch(feed->feeds->events.self, &feed->watch);
}

static void fetched(struct aip_op *op)
{
        struct fetching *fetching = AIP_CONTAINER_OF(op, struct fetching, fetch.op);
        aip_job_feed *feed = fetching->feed;
        aip_error *err = AIP_TAKE(op->err);
        aip_job *job = err ? NULL : fetching->fetch.ret_job;

        aip_free(fetching);
        if (!feed) {
                aip_job_free(job);
                aip_error_free(err);
                return;
        }
        feed->fetching = NULL;
        feed->look_ms = aip_now_ms(feed->feeds->loop);
        if (job)
                take_job(feed, job);
        else if (!err)
                aip_error_set(&err, AIP_ENOTFOUND, "there is no such job");
        if (feed->next && err && (!feed->job || aip_error_code(err) == AIP_ENOTFOUND)) {
                next_end(feed, NULL, 0, err);
                return;
        }
        aip_error_free(err); /* what is known goes on; it is looked again */
        advance(feed);
}

static int start_fetch(aip_job_feed *feed)
{
        aip_job_feeds *feeds = feed->feeds;
        struct fetching *fetching = aip_calloc(1, sizeof(*fetching));

        if (!fetching)
                return AIP_ENOMEM;
        feed->wants_store = 0;
        feed->fetching = fetching;
        fetching->feed = feed;
        fetching->fetch.op.done = fetched;
        fetching->fetch.op.deadline_ms = aip_now_ms(feeds->loop) + STORE_WAIT_MS;
        fetching->fetch.id = feed->job_id;
        feeds->jobs.ops->fetch(feeds->jobs.self, &fetching->fetch);
        return 0;
}

/* ── reading the stream ──────────────────────────────────────────────────────────────────────── */

static int is_gap(struct aip_stream_id before, struct aip_stream_id id)
{
        return id.n != (id.run == before.run ? before.n + 1 : 0);
}

static size_t count_gaps(const aip_job_feed *feed, size_t n)
{
        struct aip_stream_id before = feed->cursor;
        size_t n_gaps = 0;

        for (size_t i = 0; i < n; before = feed->block[i++].id)
                n_gaps += is_gap(before, feed->block[i].id);
        return n_gaps;
}

/* feed->block holds `n` events. */
static void give_streamed(aip_job_feed *feed, size_t n)
{
        size_t n_gaps = count_gaps(feed, n), to = 0;
        struct aip_stream_id before = feed->cursor;
        aip_error *err = NULL;

        if (n_gaps == 0) {
                next_end(feed, feed->block, n, NULL);
                return;
        }
        feed->mixed = aip_calloc(n + n_gaps, sizeof(*feed->mixed));
        if (!feed->mixed) {
                aip_error_set_nomem(&err);
                next_end(feed, NULL, 0, err);
                return;
        }
        for (size_t i = 0; i < n; before = feed->block[i++].id) {
                if (is_gap(before, feed->block[i].id))
                        feed->mixed[to++] =
                                (struct aip_stream_event){before, AIP_STREAM_GAP, AIP_STR(LOST)};
                feed->mixed[to++] = feed->block[i];
        }
        next_end(feed, feed->mixed, to, NULL);
}

static void give_unreadable(aip_job_feed *feed)
{
        feed->has_told_unreadable = 1;
        feed->own[0] = (struct aip_stream_event){feed->cursor, AIP_STREAM_GAP, AIP_STR(UNREADABLE)};
        next_end(feed, feed->own, 1, NULL);
}

static void was_read(struct aip_op *op)
{
        struct reading *reading = AIP_CONTAINER_OF(op, struct reading, read.op);
        aip_job_feed *feed = reading->feed;
        struct aip_stream_event *events = op->err ? NULL : reading->read.ret_events;
        size_t n = op->err ? 0 : reading->read.ret_n;
        int is_unreadable = op->err != NULL;

        aip_error_free(AIP_TAKE(op->err));
        aip_free(reading);
        if (!feed) {
                free(events);
                return;
        }
        feed->reading = NULL;
        feed->is_unreadable = is_unreadable;
        if (!is_unreadable)
                feed->has_told_unreadable = 0;
        if (!feed->next || n == 0) { /* stopped: it is read again */
                free(events);
                feed->wants_stream |= n > 0;
                advance(feed);
                return;
        }
        feed->block = events;
        feed->wants_stream = 1;
        feed->has_heard = events[n - 1].id.run > 1; /* of a worker, not only of a gateway */
        give_streamed(feed, n);
}

static int start_read(aip_job_feed *feed)
{
        struct aip_event_stream events = feed->feeds->events;
        struct reading *reading = aip_calloc(1, sizeof(*reading));

        if (!reading)
                return AIP_ENOMEM;
        feed->wants_stream = 0;
        feed->reading = reading;
        reading->feed = feed;
        reading->read.op.done = was_read;
        reading->read.job_id = feed->job_id;
        reading->read.after = feed->cursor;
        reading->read.max_events = AIP_STREAM_READ_MAX;
        events.ops->read(events.self, &reading->read);
        return 0;
}

/* ── what to do next ─────────────────────────────────────────────────────────────────────────── */

static void sleep_a_while(aip_job_feed *feed)
{
        int64_t now_ms = aip_now_ms(feed->feeds->loop);
        int is_alone = !has_stream(feed) || feed->is_unreadable || !feed->has_heard;
        int64_t due_ms = feed->look_ms + (is_alone ? LOOK_MS : LOOK_STREAM_MS);

        due_ms = AIP_MIN(due_ms,
                         is_behind(feed) ? feed->changed_ms + SETTLE_MS : feed->wait_until_ms);
        aip_timer_set(feed->feeds->loop, &feed->timer, AIP_MAX(due_ms - now_ms, (int64_t)0));
}

static void wake(struct aip_timer *timer)
{
        aip_job_feed *feed = AIP_CONTAINER_OF(timer, struct aip_job_feed, timer);

        if (aip_now_ms(feed->feeds->loop) >= feed->wait_until_ms && !is_behind(feed)) {
                next_end(feed, NULL, 0, NULL);
                return;
        }
        feed->wants_store = feed->wants_stream = 1;
        advance(feed);
}

/* Both have been looked at. */
static void decide(aip_job_feed *feed)
{
        const struct aip_job_fields *f = aip_job_fields(feed->job);

        if (feed->is_unreadable && !feed->has_told_unreadable && is_behind(feed) == 0)
                give_unreadable(feed);
        else if (is_behind(feed) && is_settled(feed))
                give_stored(feed);
        else if (aip_job_status_is_terminal(f->status) && !is_behind(feed)) {
                feed->is_over = 1; /* it had been given before the reader came back */
                next_end(feed, NULL, 0, NULL);
        } else if (feed->wait_until_ms <= aip_now_ms(feed->feeds->loop) && !is_behind(feed))
                next_end(feed, NULL, 0, NULL);
        else
                sleep_a_while(feed);
}

static void advance(aip_job_feed *feed)
{
        aip_error *err = NULL;
        int r = 0;

        if (!feed->next || feed->fetching || feed->reading)
                return;
        aip_timer_clear(feed->feeds->loop, &feed->timer);
        if (!feed->job || feed->wants_store)
                r = start_fetch(feed);
        else if (has_stream(feed) && feed->wants_stream)
                r = start_read(feed);
        else
                decide(feed);
        if (r < 0) {
                aip_error_set_nomem(&err);
                next_end(feed, NULL, 0, err);
        }
}

void aip_job_feed_next(aip_job_feed *feed, struct aip_job_feed_next *next)
{
        forget_events(feed);
        feed->next = next;
        next->impl = feed;
        next->ret_events = NULL;
        next->ret_n = 0;
        next->ret_is_over = 0;
        feed->wait_until_ms = aip_now_ms(feed->feeds->loop) + AIP_MAX(next->wait_ms, (int64_t)0);
        if (feed->is_over)
                next_end(feed, NULL, 0, NULL);
        else
                advance(feed);
}

void aip_job_feed_stop(aip_job_feed *feed)
{
        aip_error *err = NULL;

        if (!feed->next)
                return;
        aip_error_set(&err, AIP_ECANCELLED, "following the job was given up");
        next_end(feed, NULL, 0, err);
}

/* ── hints ───────────────────────────────────────────────────────────────────────────────────── */

static void stream_changed(struct aip_stream_watch *watch)
{
        aip_job_feed *feed = AIP_CONTAINER_OF(watch, struct aip_job_feed, watch);

        feed->wants_stream = 1;
        advance(feed);
}

static void look_again(aip_job_feed *feed)
{
        feed->wants_store = feed->wants_stream = 1;
        advance(feed);
}

static aip_job_feed **bucket_of(aip_job_feeds *feeds, const struct aip_id *id)
{
        return &feeds->buckets[aip_id_hash(id) & (BUCKETS - 1)];
}

static void jobs_ended(struct aip_store_watcher *watcher, const struct aip_id *ids, size_t n)
{
        aip_job_feeds *feeds = AIP_CONTAINER_OF(watcher, aip_job_feeds, watcher);

        for (size_t i = 0; i < n; i++)
                for (aip_job_feed *feed = *bucket_of(feeds, &ids[i]); feed; feed = feed->next_feed)
                        if (aip_id_equal(&feed->job_id, &ids[i]))
                                look_again(feed);
}

static void store_connected(struct aip_store_watcher *watcher)
{
        aip_job_feeds *feeds = AIP_CONTAINER_OF(watcher, aip_job_feeds, watcher);

        for (size_t i = 0; i < BUCKETS; i++)
                for (aip_job_feed *feed = feeds->buckets[i]; feed; feed = feed->next_feed)
                        look_again(feed);
}

/* ── life ────────────────────────────────────────────────────────────────────────────────────── */

aip_job_feed *aip_job_feed_open(aip_job_feeds *feeds, const struct aip_id *job_id,
                                struct aip_stream_id after)
{
        aip_job_feed *feed = aip_calloc(1, sizeof(*feed)), **bucket = bucket_of(feeds, job_id);

        if (!feed)
                return NULL;
        feed->feeds = feeds;
        feed->job_id = *job_id;
        feed->cursor = after;
        feed->wants_store = feed->wants_stream = 1;
        feed->watch.job_id = *job_id;
        feed->watch.changed = stream_changed;
        feed->timer.fire = wake;
        feed->next_feed = *bucket;
        if (*bucket)
                (*bucket)->previous_feed = feed;
        *bucket = feed;
        return feed;
}

static void unlink_feed(aip_job_feed *feed)
{
        if (feed->next_feed)
                feed->next_feed->previous_feed = feed->previous_feed;
        if (feed->previous_feed)
                feed->previous_feed->next_feed = feed->next_feed;
        else
                *bucket_of(feed->feeds, &feed->job_id) = feed->next_feed;
}

void aip_job_feed_close(aip_job_feed *feed)
{
        if (!feed)
                return;
        assert(!feed->next);
        unlink_feed(feed);
        if (feed->feeds->events.ops)
                feed->feeds->events.ops->unwatch(feed->feeds->events.self, &feed->watch);
        if (feed->fetching)
                feed->fetching->feed = NULL;
        if (feed->reading)
                feed->reading->feed = NULL;
        aip_timer_clear(feed->feeds->loop, &feed->timer);
        forget_events(feed);
        aip_job_free(feed->job);
        aip_free(feed);
}

int aip_job_feeds_new(const struct aip_job_feeds_options *o, aip_job_feeds **ret_feeds,
                      aip_error **err)
{
        aip_job_feeds *feeds = aip_calloc(1, sizeof(*feeds));

        if (!feeds)
                return aip_error_set_nomem(err);
        feeds->loop = o->loop;
        feeds->jobs = o->jobs;
        feeds->events = o->events;
        feeds->watcher.on_jobs_ended = jobs_ended;
        feeds->watcher.on_connected = store_connected;
        feeds->jobs.ops->watch(feeds->jobs.self, &feeds->watcher);
        *ret_feeds = feeds;
        return 0;
}

void aip_job_feeds_free(aip_job_feeds *feeds)
{
        if (!feeds)
                return;
        feeds->jobs.ops->unwatch(feeds->jobs.self, &feeds->watcher);
        aip_free(feeds);
}
