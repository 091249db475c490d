/*
 * Port: the events of jobs that are followed while they run. Workers append, gateways read. Redis
 * Streams and memory implement it. It may lose what it holds at any moment; a run never waits for it
 * and a job's outcome never depends on it: readers fall back to the store.
 *
 * The id of an event is "RUN-N". RUN is the job's version: the one after the transition for what tells
 * of a transition, the one that a worker claimed for what happens in its run. N counts the run's
 * events from 0, without holes. So ids are the same whoever writes an event; an append that is not
 * behind all others of its job does nothing, which makes repeating one harmless and shuts out workers
 * whose job was taken away; and a reader sees by a hole that events were lost.
 */
#ifndef AIPLAT_PORTS_EVENT_STREAM_H
#define AIPLAT_PORTS_EVENT_STREAM_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/id.h>
#include <aiplat/op.h>
#include <aiplat/str.h>

AIP_BEGIN_DECLS

enum aip_stream_type {
        AIP_STREAM_STATUS = 0, /* always N 0: the job has come to this version */
        AIP_STREAM_STEP_STARTED,
        AIP_STREAM_STEP_ENDED,
        AIP_STREAM_UPDATE, /* what a node wrote */
        AIP_STREAM_VALUES, /* the state after a step */
        AIP_STREAM_TOKEN,
        AIP_STREAM_TOOL_CALL,
        AIP_STREAM_CUSTOM,
        AIP_STREAM_ERROR,
        AIP_STREAM_GAP, /* events were lost here; made by readers, never appended */
        AIP_STREAM_END, /* nothing follows */
        AIP_STREAM_N_TYPES
};

/* "status" …; static. */
AIP_API const char *aip_stream_type_name(enum aip_stream_type type);
/* AIP_EINVAL names what is none. */
AIP_API int aip_stream_type_parse(struct aip_str text, enum aip_stream_type *ret_type,
                                  aip_error **err);

struct aip_stream_id {
        int64_t run; /* 0: before everything */
        int64_t n;
};

#define AIP_STREAM_ID_TEXT_BYTES 44

/* "12-7". Returns `ret_text`. */
AIP_API char *aip_stream_id_format(struct aip_stream_id id,
                                   char ret_text[AIP_STREAM_ID_TEXT_BYTES]);
AIP_API int aip_stream_id_parse(struct aip_str text, struct aip_stream_id *ret_id, aip_error **err);
AIP_API int aip_stream_id_compare(struct aip_stream_id a, struct aip_stream_id b);

/* Of one event; larger ones are refused with AIP_ELIMIT. */
#define AIP_STREAM_EVENT_MAX_BYTES (64 * 1024)
/* Of one job that are kept, about: the oldest go first. */
#define AIP_STREAM_EVENTS_MAX 10000
/* Of one answer. */
#define AIP_STREAM_READ_MAX 32

struct aip_stream_event {
        struct aip_stream_id id;
        enum aip_stream_type type;
        struct aip_str data; /* a JSON object */
};

/* The events behind `after`, oldest first. None is no failure: there is nothing new, or nothing any
 * more. AIP_EUNAVAILABLE when the stream cannot be read. */
struct aip_stream_read {
        struct aip_op op;
        struct aip_id job_id;
        struct aip_stream_id after;
        size_t max_events; /* 1–AIP_STREAM_READ_MAX */
        struct aip_stream_event
                *ret_events; /* one block with all they hold; the caller's to free() */
        size_t ret_n;
};

/* Whoever waits for events of a job. The struct is the caller's and stays until unwatch. */
struct aip_stream_watch {
        struct aip_id job_id;
        /* There may be something new, or the stream may be readable again; in a later turn. */
        void (*changed)(struct aip_stream_watch *watch);
        /* the adapter's */
        struct aip_stream_watch *next, *previous;
        int is_linked, is_changed;
};

struct aip_event_stream_ops {
        size_t self_size;
        const char *name; /* "redis"; static */
        /* Fire and forget: copies what it needs. A negative code means that the event is lost. An event
         * of type END lets the job's events expire after the adapter's time. */
        int (*append)(void *self, const struct aip_id *job_id,
                      const struct aip_stream_event *event);
        void (*read)(void *self, struct aip_stream_read *read);
        void (*watch)(void *self, struct aip_stream_watch *watch);
        void (*unwatch)(void *self, struct aip_stream_watch *watch); /* idempotent */
        void (*ping)(void *self, struct aip_op *op);
};

struct aip_event_stream {
        const struct aip_event_stream_ops *ops; /* NULL: there is none */
        void *self;
};

AIP_END_DECLS

#endif
