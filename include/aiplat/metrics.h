/*
 * Metrics: numbers that a service counts while it works, told in the text format that Prometheus reads
 * (version 0.0.4). A service keeps plain counters in its own struct, adds to them where things happen,
 * and is asked to write them when somebody scrapes: nothing is looked up by name, locked or allocated in
 * between. Loop thread only.
 *
 *     struct service { struct aip_metrics_source metrics; uint64_t n_done; … };
 *     service->metrics.write = write_metrics;
 *     aip_metrics_add(options->metrics, &service->metrics);
 *     service->n_done++;
 *     static void write_metrics(struct aip_metrics_source *source, struct aip_metrics_writer *w)
 *     {       aip_metrics_family(w, "service_done_total", AIP_METRICS_COUNTER, "Things done.");
 *             aip_metrics_sample(w, n_done, "service_done_total");     }
 */
#ifndef AIPLAT_METRICS_H
#define AIPLAT_METRICS_H

#include <aiplat/error.h>
#include <aiplat/str.h>

AIP_BEGIN_DECLS

/* What GET /metrics answers with. */
#define AIP_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef struct aip_metrics aip_metrics;

/* Where a source writes to. The first error is kept, and nothing is written behind it. */
struct aip_metrics_writer {
        struct aip_buf *out;
        int r;
};

/* A part of the program that has something to tell. The name of a family belongs to one source. */
struct aip_metrics_source {
        void (*write)(struct aip_metrics_source *source, struct aip_metrics_writer *writer);
        struct aip_metrics_source *next; /* the registry's */
        int is_added;
};

enum aip_metrics_type { AIP_METRICS_COUNTER = 0, AIP_METRICS_GAUGE, AIP_METRICS_HISTOGRAM };

/* Times, from 1 ms to 1 h. Zeroed it is empty. */
#define AIP_TIMES_BOUNDS 18
struct aip_times {
        uint64_t n[AIP_TIMES_BOUNDS + 1]; /* each bucket by itself; the last: longer than all bounds */
        uint64_t sum_ms;
};

/* Less than 0 (a clock was set back) counts as 0. */
AIP_API void aip_times_add(struct aip_times *times, int64_t ms);
AIP_API uint64_t aip_times_count(const struct aip_times *times);

/* Owned by caller; it tells of the process (process_*) by itself. */
AIP_API int aip_metrics_new(aip_metrics **ret_metrics, aip_error **err);
AIP_API void aip_metrics_free(aip_metrics *metrics); /* accepts NULL */

/* `source` stays the caller's and is asked until it is removed. `metrics` may be NULL: nobody is ever
 * asked. Removing what was not added does nothing. */
AIP_API void aip_metrics_add(aip_metrics *metrics, struct aip_metrics_source *source);
AIP_API void aip_metrics_remove(aip_metrics *metrics, struct aip_metrics_source *source);

/* Everything, as text. AIP_ELIMIT when `out` is too small for it. */
AIP_API AIP_MUST_CHECK int aip_metrics_print(aip_metrics *metrics, struct aip_buf *out);

/* For sources. The # HELP and # TYPE lines of a family; its samples follow at once. `help` is one line
 * without backslashes. */
AIP_API void aip_metrics_family(struct aip_metrics_writer *writer, const char *name,
                                enum aip_metrics_type type, const char *help);
/* One sample: its name and labels as Prometheus has them, `name{label="value"}`. Values of labels must
 * hold no quotes, backslashes or ends of lines. */
AIP_API void aip_metrics_sample(struct aip_metrics_writer *writer, int64_t value,
                                const char *format, ...) AIP_PRINTF(3, 4);
/* The same with a value given in thousandths: seconds, from milliseconds. */
AIP_API void aip_metrics_sample_ms(struct aip_metrics_writer *writer, int64_t ms,
                                   const char *format, ...) AIP_PRINTF(3, 4);
/* All samples of a histogram in seconds. `labels` as in `a="b",c="d"`; "": none. */
AIP_API void aip_metrics_times(struct aip_metrics_writer *writer, const char *name,
                               const char *labels, const struct aip_times *times);
/* A family of one sample without labels. */
AIP_API void aip_metrics_one(struct aip_metrics_writer *writer, const char *name,
                             enum aip_metrics_type type, const char *help, int64_t value);

AIP_END_DECLS

#endif
