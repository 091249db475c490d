/*
 * Following a job: everything that happens to it, in order, each event once, from any process. What is
 * told while it happens comes from the event stream; what the stream does not have (there is none, it
 * was lost, it has expired, nobody asked for it) is made up for by the store, as status events, so that
 * every feed ends with its job. Used by the HTTP interface and by C programs. Loop thread only.
 *
 *     aip_job_feed_open() ─► aip_job_feed_next() ─► events ─► next … ─► ret_is_over ─► close
 *
 * A reader that asks for no more holds up nothing and costs nothing.
 */
#ifndef AIPLAT_JOB_FEED_H
#define AIPLAT_JOB_FEED_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/log.h>
#include <aiplat/ports/event_stream.h>
#include <aiplat/ports/job_repository.h>

AIP_BEGIN_DECLS

/* All feeds of a process. */
typedef struct aip_job_feeds aip_job_feeds;

struct aip_job_feeds_options {
        size_t self_size;
        struct aip_loop loop;
        struct aip_job_repository jobs; /* borrowed, as is the following */
        struct aip_event_stream events; /* ops NULL: only what the store tells */
};

AIP_API int aip_job_feeds_new(const struct aip_job_feeds_options *options,
                              aip_job_feeds **ret_feeds, aip_error **err);
/* No feed may be open. */
AIP_API void aip_job_feeds_free(aip_job_feeds *feeds);

typedef struct aip_job_feed aip_job_feed;

/* The events of a job behind `after` ({0, 0}: from the beginning). NULL: out of memory. */
AIP_API aip_job_feed *aip_job_feed_open(aip_job_feeds *feeds, const struct aip_id *job_id,
                                        struct aip_stream_id after);
/* Accepts NULL. No `next` may be under way. */
AIP_API void aip_job_feed_close(aip_job_feed *feed);

struct aip_job_feed_next {
        struct aip_op op; /* AIP_ENOTFOUND: there is no such job; AIP_ECANCELLED: stopped */
        int64_t wait_ms;  /* no event by then: done with none; 0: does not wait */
        /* Borrowed until the next call on the feed. A GAP has no id of its own, but that of the event
         * before it. */
        const struct aip_stream_event *ret_events;
        size_t ret_n;
        int ret_is_over; /* the last of them is END, or END had been seen before */
        aip_job_feed *impl;
};
/* One at a time. */
AIP_API void aip_job_feed_next(aip_job_feed *feed, struct aip_job_feed_next *next);
/* Ends a `next` that is under way, with AIP_ECANCELLED. */
AIP_API void aip_job_feed_stop(aip_job_feed *feed);

AIP_END_DECLS

#endif
