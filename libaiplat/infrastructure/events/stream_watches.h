/*
 * Who waits for events of which job, in this process. Shared by the adapters of
 * ports/event_stream.h. Watches are told in a later turn, once however often their job changed
 * meanwhile, and may be removed by anybody at any time. Loop thread only.
 */
#ifndef AIPLAT_EVENTS_STREAM_WATCHES_H
#define AIPLAT_EVENTS_STREAM_WATCHES_H

#include <aiplat/ports/event_stream.h>

#define STREAM_WATCH_BUCKETS 1024 /* a power of two */

struct stream_watches {
        struct aip_loop loop;
        struct aip_task task;
        struct aip_stream_watch *buckets[STREAM_WATCH_BUCKETS];
        struct aip_stream_watch *changed; /* to be told; not in their buckets meanwhile */
};

void stream_watches_init(struct stream_watches *watches, struct aip_loop loop);
void stream_watches_deinit(struct stream_watches *watches);
void stream_watches_add(struct stream_watches *watches, struct aip_stream_watch *watch);
void stream_watches_remove(struct stream_watches *watches, struct aip_stream_watch *watch);
void stream_watches_changed(struct stream_watches *watches, const struct aip_id *job_id);
void stream_watches_all_changed(struct stream_watches *watches);

#endif
